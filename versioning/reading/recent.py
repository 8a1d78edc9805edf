"""Answers of `resolve` that may be a little old, for services that ask thousands of times a second.

The law of this room: **what this registry recorded is never missing from an answer.** An answer comes from memory only
if the state that it came from still ends with the same event, by its link, and the answer is young enough. All that a
registry records, by whatever call, goes into that one state before the call returns.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from versioning.limits import SECONDS_MAX, checked_staleness
from versioning.processes import inherited_by
from versioning.resolving import wanted_of

if TYPE_CHECKING:
    from versioning.aggregate import Version
    from versioning.reading.streams import CachedStream, CachedStreams
    from versioning.resolving import VersionWanted

NAMES_KEPT_MAX: Final = 4_096
"""Most names with answers in memory."""
ANSWERS_MAX: Final = 64
"""Most answers in memory for one name: one for each number or range that was asked for."""
_NUMBERS: Final = frozenset({int, float})


class RecentAnswers:
    """Latest answers of `resolve`, by name and by what was asked for."""

    def __init__(self, streams: CachedStreams) -> None:
        """Answer from the streams of a registry."""
        self._streams = streams
        self.begin_in_child()
        inherited_by(self)

    def begin_in_child(self) -> None:
        """Begin with no answers: those of the parent come from states that commands of this process do not go into."""
        self._answers: dict[str, tuple[CachedStream, dict[VersionWanted, tuple[Version, bytes, float]]]] = {}
        """Versions, each with the link of the last event and the time at which it was right."""

    def resolve(self, model_name: str, version: VersionWanted, max_staleness_s: float) -> Version:
        """Return an answer that is at most so many seconds old, or else the present one (R24)."""
        try:
            cached, answers = self._answers[model_name]
            answer, link, read_s = answers[version]
            if (
                type(max_staleness_s) in _NUMBERS
                and time.monotonic() - read_s <= max_staleness_s <= SECONDS_MAX
                and cached.aggregate.link == link
            ):
                return answer
        except (KeyError, TypeError):  # not known, or not of a type that it could be known by
            pass
        return self._look(model_name, version, checked_staleness(max_staleness_s))

    def _look(self, model_name: str, version: VersionWanted, max_staleness_s: float) -> Version:
        """Ask the store, and keep the answer with what shows its age: the link of the last event and the time."""
        ref, wanted = self._streams.ref(model_name), wanted_of(version)
        read_s = time.monotonic()
        answer, link = self._streams.ask_model(ref, lambda state: (wanted.find(state), state.link))
        if max_staleness_s > 0:
            cached = self._streams.shared(ref.stream)
            if len(self._answers) >= NAMES_KEPT_MAX:
                self._answers.clear()
            known, answers = self._answers.get(model_name, (cached, {}))
            if known is not cached or len(answers) >= ANSWERS_MAX:
                answers = {}
            answers[version] = answer, link, read_s
            self._answers[model_name] = cached, answers
        return answer

    def clear(self) -> None:
        """Forget all answers, because the store was closed."""
        self._answers.clear()
