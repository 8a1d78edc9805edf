"""Every question, and what its answer looks like elsewhere: rows, CloudEvents, sentences, pictures.

The law of this room: **what draws and formats is imported when it is asked for**, so that a service that only resolves
and deploys does not pay for it. `ModelRegistry` answers as of now, `AsOf` as of a past.

To add a face: a room in `output/`, and a method here.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from versioning.errors import InvalidArgumentError, shown
from versioning.events import Recorded, moment_of
from versioning.ids import is_version_id
from versioning.limits import checked_limit
from versioning.reading.questions import Questions
from versioning.sentences import sentence_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from versioning.output.rows import Scalar
    from versioning.output.timeline.page import Timeline
    from versioning.reading.streams import Streams
    from versioning.rules import Policy

EVENTS_DRAWN_MAX: Final = 2_000
"""Most events of a history that a notebook shows as a picture; `timeline` draws any number."""
EVENTS_LISTED_MAX: Final = 200
"""Most events that a notebook shows as a table."""
_PICTURES: Final = (b"<!doctype html>", b"<svg ")
"""Beginnings of the files that `timeline` writes."""


class Answers(Questions):
    """Every question, and its answers as rows, CloudEvents, sentences and pictures."""

    def history(
        self, name_model_id_or_version_id: str | None = None, after: int | str = 0, limit: int | None = None
    ) -> History:
        """Return the recorded events after a position, oldest first (R26).

        The model or version is looked up immediately; the events are read as they are taken. A notebook shows the
        history of a model as a picture, and any other as a table.

        Args:
            name_model_id_or_version_id: a model's name (all its lives), a model_id, or a version_id (with the events
                that name it as `previous`); without it, the whole workspace.
            after: the position, or better the bookmark, of the last event that was seen.
            limit: the most events to return; without it, all.

        Raises:
            ModelNotFoundError, VersionNotFoundError: there never was one.
            LogRewoundError: the log ends before that event, or has another one there.
        """
        about, ask = name_model_id_or_version_id, super().history
        behind, most = self._behind(after), checked_limit(limit)
        first = ask(about, behind, most)
        is_whole = about is not None and not is_version_id(about) and behind == 0 and most is None
        return History(first, lambda: ask(about, behind, most), self._timeline if is_whole else None)

    def timeline(
        self,
        name_model_id_or_version_id: str,
        path: str | Path | None = None,
        *,
        format: Literal["html", "svg"] = "html",  # noqa: A002 - the word that users know
    ) -> str:
        """Draw a history, and return the picture; it is also written to `path`, if one is given.

        Args:
            name_model_id_or_version_id: a model's name (all its lives), a model_id, or a version_id for its model.
            path: the file to write, in UTF-8; a picture that `timeline` wrote before is replaced, and nothing else.
            format: `html` for a page in one file, with a table, filters and a slider; `svg` for the drawing alone.

        Raises:
            ModelNotFoundError, VersionNotFoundError: there never was one.
            InvalidArgumentError: it is another format, or the file is not a picture of ours.
            OSError: the file can't be written.
        """
        chosen: object = format
        if chosen not in ("html", "svg"):  # no set: what can't be hashed is refused too
            msg = f"format is html or svg, not {shown(format)}."
            raise InvalidArgumentError(msg, hint="For example {svg}.", argument="format")
        about = name_model_id_or_version_id
        if is_version_id(about):
            about = self.version(about).model_id
        timeline = self._timeline(self._events_of(about))
        drawn = timeline.svg() if chosen == "svg" else timeline.html()
        if path is not None:
            _write_picture(Path(path), drawn)
        return drawn

    def _timeline(self, read: Callable[[], Iterator[Recorded]]) -> Timeline:
        """Draw a history up to one position, or up to the moment that is asked about."""
        from versioning.output.timeline.page import Timeline  # noqa: PLC0415 - the law of this room
        from versioning.output.timeline.svg import said_moment  # noqa: PLC0415 - the same

        position, past = self.position(), self._streams.past
        if past.position is not None:
            until_us, ending = 0, f"position {past.position}"
        else:
            until_us = self._now_us()
            ending = "now" if past.at_us is None else said_moment(moment_of(until_us))
        events = (recorded for recorded in read() if recorded.position <= position)
        return Timeline(events, until_us=until_us, position=position, ending=ending)

    def sentence(self, recorded: Recorded, *, named: bool = False) -> str:
        """Return an event of this registry as one English sentence of printable characters.

        Args:
            recorded: the event.
            named: whether the sentence names its model too.
        """
        return sentence_of(recorded, self._numbers(), named=named)

    def rows(
        self, name_model_id_or_version_id: str | None = None, after: int | str = 0, limit: int | None = None
    ) -> Iterator[dict[str, Scalar]]:
        """Return events as flat rows, which pandas and polars take as they are; the arguments are those of `history`.

        All rows have the same columns, each of one type; an absent text is empty. `csv_lines` of
        `versioning.output.rows` turns them into CSV that is safe to open in a spreadsheet.
        """
        from versioning.output.rows import flat_row  # noqa: PLC0415 - the law of this room

        number_of = self._numbers()
        return (flat_row(one, number_of) for one in self.history(name_model_id_or_version_id, after, limit))

    def cloud_events(
        self, name_model_id_or_version_id: str | None = None, after: int | str = 0, limit: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """Return events as CloudEvents 1.0, each a dict of JSON types; the arguments are those of `history`."""
        from versioning.output.cloudevents import cloud_event_of  # noqa: PLC0415 - the law of this room

        return (cloud_event_of(one) for one in self.history(name_model_id_or_version_id, after, limit))


class AsOf(Answers):
    """A registry as it was: the same questions, answered from a prefix of the log, or of every stream (R25)."""

    def __init__(self, streams: Streams, policy: Policy, at_us: int) -> None:
        """Answer from streams as of a past.

        Args:
            streams: those of the past.
            policy: the registry's policy.
            at_us: the moment up to which open usage is counted, in microseconds since 1970.
        """
        super().__init__(streams, policy, lambda: at_us)


class History(Iterator[Recorded]):
    """Recorded events, oldest first, read as they are taken; a notebook shows them without taking any."""

    def __init__(
        self,
        events: Iterator[Recorded],
        read: Callable[[], Iterator[Recorded]],
        draw: Callable[[Callable[[], Iterator[Recorded]]], Timeline] | None,
    ) -> None:
        """Return events that are being read.

        Args:
            events: the events.
            read: reads the same events once more, from the beginning.
            draw: draws their picture, if they are all the events of a model.
        """
        self._events = events
        self._read = read
        self._draw = draw

    def __next__(self) -> Recorded:
        return next(self._events)

    def _repr_html_(self) -> str:
        from versioning.output.timeline.page import table_of  # noqa: PLC0415 - the law of this room

        if self._draw is not None:
            seen = sum(1 for _ in itertools.islice(self._read(), EVENTS_DRAWN_MAX + 1))
            if seen <= EVENTS_DRAWN_MAX:
                return self._draw(self._read).frame()
        return table_of(self._read(), EVENTS_LISTED_MAX)


def _write_picture(path: Path, drawn: str) -> None:
    """Replace a picture, but never another file, such as a database that was named by mistake."""
    if path.is_file():
        with path.open("rb") as file:
            beginning = file.read(len(_PICTURES[0]))
        if beginning and not beginning.startswith(_PICTURES):
            msg = f"The file {shown(str(path))} is not a picture of ours, so it is not replaced."
            hint, outside = "Name another file, or remove it first.", "The file is not a picture of ours."
            raise InvalidArgumentError(msg, hint=hint, outside=outside, argument="path")
    path.write_text(drawn, encoding="utf-8", newline="\n")
