"""What can be asked of a registry, as of now, of a position or of a moment: the same questions, the same answers (R25).

The law of this room: nothing here records anything. `Questions` knows how each answer is made; where the states come
from is for its two children: `ModelRegistry`, which asks the present, and `AsOf`, which asks a past.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import itertools
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeVar

from versioning import laws
from versioning.aggregate import Model, ModelAggregate, Version
from versioning.commands import (
    NAMES,
    Activate,
    Command,
    CompleteActivation,
    Deactivate,
    Delete,
    FailActivation,
    Promote,
    Publish,
)
from versioning.errors import (
    CorruptLogError,
    InvalidArgumentError,
    ModelNotFoundError,
    NewerFormatError,
    RefusedError,
    VersioningError,
    VersionNotFoundError,
    shown,
    verbatim,
)
from versioning.events import Recorded, moment_of
from versioning.ids import checked_version_id, model_id_of, parse_model_id, parse_version_id, stream_of
from versioning.limits import checked_flag, checked_limit, checked_moment, checked_name, checked_position
from versioning.numbers import exact_number
from versioning.output.cloudevents import cloud_event_of
from versioning.output.rows import flat_row
from versioning.output.timeline.page import Timeline, table_of
from versioning.output.timeline.svg import said_moment
from versioning.projections import Usage, UsageLedger, draw_usage
from versioning.reading.replay import Replayed, replayed
from versioning.reading.views import LEDGERS, MODELS, Cut
from versioning.resolving import numbered, wanted_of
from versioning.rules import Policy, decide
from versioning.sentences import sentence_of
from versioning.store.contract import INTEGER_MAX
from versioning.store.format import decode, read

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from versioning.output.rows import Scalar
    from versioning.reading.kept import Views
    from versioning.store.contract import Store, TailRow

Answer = TypeVar("Answer")

TARGETS_KEPT = 4_096
"""How many names are known by heart: at most 4 KB each."""
FIRST_EVENTS = 100
"""How many events of the log are read at first; then more and more, because who reads on reads it all."""
FURTHER_EVENTS: Final = 10_000
"""How many of them are read at once at most."""
_PICTURES: Final = (b"<!doctype html>", b"<svg ")
"""How what `timeline` draws begins."""
NAMES_COMPARED_MAX = 2_000
"""How many names are looked through for one that looks alike."""
EVENTS_DRAWN_MAX: Final = 2_000
"""How many events of a history a notebook shows as a picture; `timeline` draws any number."""
EVENTS_LISTED_MAX: Final = 200
"""How many events it shows as a table."""


class Target(NamedTuple):
    """Which stream a question or command is about, and how the caller named it."""

    stream: str
    name: str | None = None
    """The model's name, where the caller gave it."""


@functools.lru_cache(maxsize=TARGETS_KEPT)
def _target(workspace: str, model_name: str) -> Target:
    """Give the place of a name that was looked at, and keep it: the same names are asked for again and again."""
    name = checked_name(model_name)
    return Target(stream_of(workspace, name), name)


class Questions:
    """Every question, over states that a child provides."""

    workspace: str
    policy: Policy
    _recorder: Store
    _views: Views
    _cut: Cut

    # What the children provide.

    def _ask(self, stream: str, question: Callable[[ModelAggregate], Answer]) -> Answer:
        """Put a question to the state of a stream, which must not be changed or kept."""
        raise NotImplementedError  # pragma: no cover - each child has its own

    def _now_us(self) -> int:
        """The moment up to which open usage is counted."""
        raise NotImplementedError  # pragma: no cover - each child has its own

    # How a state is found, and that it is ours.

    def _state_of(self, stream: str, cut: Cut, fold: Callable[[ModelAggregate, list[TailRow]], None]) -> ModelAggregate:
        """Give the state of a stream: of a long one, from where a kept row has come to, and else from its first event.

        A kept row is a start and no truth: where anything about it is odd, it is as if there were none.
        """
        rows = self._recorder.tail(stream, 0, None, FIRST_EVENTS)
        if len(rows) == FIRST_EVENTS:
            state = self._views.kept_model(stream, cut)
            if state is not None and 0 < state.sequence <= INTEGER_MAX:
                behind = self._recorder.tail(stream, state.sequence - 1)
                if behind and _is_last_of(state, stream, behind[0]):
                    with contextlib.suppress(VersioningError):
                        fold(state, behind[1:])
                        return state
            rows += self._recorder.tail(stream, rows[-1][1])
        state = ModelAggregate(stream)
        fold(state, rows)
        return state

    def _named(self, model_name: object) -> Target:
        if type(model_name) is str:
            return _target(self.workspace, model_name)
        name = checked_name(model_name)
        return Target(stream_of(self.workspace, name), name)

    def _is_ours(self, state: ModelAggregate, target: Target) -> bool:
        """R27: say whether the stream has a history here; the digest of two names may never coincide."""
        if not state.sequence or (target.name is None and state.workspace != self.workspace):
            return False
        if (state.workspace, state.model_name) != (self.workspace, target.name or state.model_name):
            msg = f"The stream of {shown(target.name)} holds another model: two names have the same digest."
            raise CorruptLogError(msg, stream=target.stream)
        return True

    def _ask_model(self, target: Target, question: Callable[[ModelAggregate], Answer]) -> Answer:
        """Put a question about a model that is there."""

        def ask(state: ModelAggregate) -> Answer:
            if not (self._is_ours(state, target) and state.exists):
                msg = f"There is no model {shown(target.name)} in the workspace {shown(self.workspace)}."
                raise ModelNotFoundError(msg, model_name=target.name)
            return question(state)

        try:
            return self._ask(target.stream, ask)
        except ModelNotFoundError as error:
            raise self._with_suggestions(error) from None

    def _ask_version(self, version_id: object, question: Callable[[ModelAggregate, Version], Answer]) -> Answer:
        """Put a question about a version that was deployed here, deleted or not."""
        text = checked_version_id(version_id)
        target = Target(text[4:36])

        def ask(state: ModelAggregate) -> Answer:
            version = state.versions.get(text) if self._is_ours(state, target) else None
            if version is None:
                msg = f"There is no version {text} in the workspace {shown(self.workspace)}."
                raise VersionNotFoundError(msg, version_id=text)
            return question(state, version)

        return self._ask(target.stream, ask)

    def _with_suggestions(self, error: ModelNotFoundError) -> ModelNotFoundError:
        """Say which names that are there look alike, where they can be told."""
        name = str(error.facts["model_name"])
        try:
            with self._views.reading(MODELS, self._cut) as reading:
                names = reading.names(self.workspace, NAMES_COMPARED_MAX)
        except VersioningError:  # a trouble elsewhere in the log must not hide this answer
            return error
        known = {known.casefold(): known for known in names}
        alike = tuple(known[found] for found in difflib.get_close_matches(name.casefold(), known, n=3, cutoff=0.7))
        if not alike:
            return error
        meant = " or ".join(verbatim(shown(found)) for found in alike)
        hint = f"Did you mean {meant}? {ModelNotFoundError.hint_text}"
        return ModelNotFoundError(error.sentence, model_name=name, hint=hint, suggestions=alike)

    # Models and versions.

    def model(self, name_or_model_id: str) -> Model:
        """Give a model by its name, or by its model_id, which finds deleted models too.

        Raises:
            ModelNotFoundError: there is none (any more).
            InvalidNameError: the text can be no model's name.
        """
        address = parse_model_id(name_or_model_id)
        if address is None:
            return self._ask_model(self._named(name_or_model_id), ModelAggregate.model)

        def ask(state: ModelAggregate) -> Model:
            if self._is_ours(state, Target(address.stream)) and address.generation <= state.generation:
                return state.model(address.generation)
            model_id = model_id_of(*address)
            msg = f"There is no model {model_id} in the workspace {shown(self.workspace)}."
            raise ModelNotFoundError(msg, model_id=model_id)

        return self._ask(address.stream, ask)

    def models(self, after: str | None = None, limit: int | None = None) -> tuple[Model, ...]:
        """Give the models of the workspace in the order of their names, from behind `after`, `limit` at most."""
        behind = "" if after is None else checked_name(after)
        with self._views.reading(MODELS, self._cut) as reading:
            return tuple(
                state.model() for state in reading.live(self.workspace, after=behind, limit=checked_limit(limit))
            )

    def version(self, version_id: str, number: str | None = None) -> Version:
        """Give a version by its id, or by its model's name and its number; deleted ones too, while the model is there.

        Raises:
            VersionNotFoundError: it was never deployed here.
            ModelNotFoundError: a name without a model.
        """
        if number is None:
            return self._ask_version(version_id, lambda _, version: version)
        target = self._named(version_id)
        wanted: object = number
        exact = exact_number(str.__str__(wanted)) if isinstance(wanted, str) else None
        if exact is None:
            msg = f"number is not a semantic version: {shown(number)}."
            raise InvalidArgumentError(msg, rule="R24", hint='Numbers look like "1.2.0".', argument="number")
        return self._ask_model(target, lambda state: numbered(state, exact))

    def versions(self, model_name: str, include_deleted: bool = False) -> tuple[Version, ...]:  # noqa: FBT001, FBT002 - promised so
        """Give the versions of a model in the order of their numbers.

        Raises:
            ModelNotFoundError: there is no such model.
        """
        everything = checked_flag(include_deleted, "include_deleted")

        def ask(state: ModelAggregate) -> tuple[Version, ...]:
            wanted = state.by_number.values() if everything else state.left
            return tuple(state.versions[version_id] for version_id in wanted)

        return self._ask_model(self._named(model_name), ask)

    def primary(self, model_name: str) -> Version | None:
        """Give the primary version of a model, or None where it has none.

        Raises:
            ModelNotFoundError: there is no such model.
        """
        return self._ask_model(
            self._named(model_name), lambda state: None if state.primary is None else state.versions[state.primary]
        )

    def active(self, model_name: str | None = None) -> tuple[Version, ...]:
        """Give the active versions of a model, or of all models, in the order of names and numbers."""
        if model_name is not None:
            return self._ask_model(self._named(model_name), ModelAggregate.model).active
        return tuple(version for model in self.models() for version in model.active)

    def billable(self, model_name: str | None = None) -> tuple[Version, ...]:
        """Give the billing-eligible versions of a model, or of all models, in the order of names and numbers (R18)."""
        if model_name is not None:
            return self._ask_model(self._named(model_name), ModelAggregate.model).billable
        return tuple(version for model in self.models() for version in model.billable)

    def pending_activations(self, older_than: timedelta = timedelta(0)) -> tuple[Version, ...]:
        """Give the versions of all models whose serving environment is waited for, in the order of names and numbers.

        A service that died while it started one finds it here, with the `activation_id` to answer with (R14).

        Args:
            older_than: how long they have waited at least.
        """
        age: object = older_than
        if not isinstance(age, timedelta):
            msg = f"older_than is a timedelta, not {shown(older_than)}."
            raise InvalidArgumentError(msg, hint="For example {ten_minutes}.", argument="older_than")
        since_us = self._now_us() - age // timedelta(microseconds=1)
        versions = (version for model in self.models() for version in model.versions)
        return tuple(one for one in versions if one.waiting_since_us is not None and one.waiting_since_us <= since_us)

    def resolve(self, model_name: str, version: str | None = None) -> Version:
        """Give the version to invoke: the primary, or the one that a number, a version_id or a range names (R24).

        Raises:
            NoPrimaryVersionError: none is named, and there is no primary.
            VersionNotFoundError: there is no such version, or none inside the range.
            VersionNotActiveError, VersionDeletedError: the version that was named exactly can't answer.
            ModelNotFoundError: there is no such model.
        """
        return self._ask_model(self._named(model_name), wanted_of(version).find)

    def allowed(self, version_id: str) -> tuple[str, ...]:
        """Give the commands on a version that would not be refused now: a host's menu.

        An answer to an activation is offered only while one is waited for.
        """

        def ask(state: ModelAggregate, version: Version) -> tuple[str, ...]:
            ours = version.version_id
            commands: list[Command] = [Publish(ours), Promote(ours), Deactivate(ours), Activate(ours), Delete(ours)]
            if version.activation_id is not None:
                commands.append(CompleteActivation(ours, version.activation_id))
                commands.append(FailActivation(ours, version.activation_id, ""))
            return tuple(NAMES[type(command)] for command in commands if _would_do(state, command, self.policy))

        return self._ask_version(version_id, ask)

    # The log, and what it amounts to.

    def history(self, about: str | None = None, after: int = 0, limit: int | None = None) -> History:
        """Give the recorded events from behind the position `after`, oldest first, `limit` at most (R26).

        Of the workspace, of a model's name (all its lives), of a model_id, or of a version_id (with the events that
        name it as `previous`). What is asked about is looked up at once, the events are read as they are taken.
        A notebook shows the picture of a model's history, and a table of any other.

        Raises:
            ModelNotFoundError, VersionNotFoundError: there never was one.
        """
        behind, most = checked_position(after, "after"), checked_limit(limit)
        read = functools.partial(self._log, behind) if about is None else self._events_of(about)
        is_whole = about is not None and parse_version_id(about) is None and behind == 0 and most is None

        def taken() -> Iterator[Recorded]:
            return itertools.islice((seen for seen in read() if seen.position > behind), most)

        return History(taken, self._timeline if is_whole else None)

    def _events_of(self, about: str) -> Callable[[], Iterator[Recorded]]:
        """Look up what a history is about; give what reads its events."""
        if (address := parse_model_id(about)) is not None:
            model = self.model(about)
            return lambda: (seen for seen in self._stream(address.stream) if seen.model_id == model.model_id)
        if (version := parse_version_id(about)) is not None:
            named = self._ask_version(about, lambda _, version: version.version_id)
            return lambda: (seen for seen in self._stream(version.stream) if named in _names(seen))
        target = self._named(about)
        self._require_history(target)
        return lambda: self._stream(target.stream)

    def _require_history(self, target: Target) -> None:
        if not self._ask(target.stream, lambda state: self._is_ours(state, target)):
            self._ask_model(target, lambda _: None)

    def usage(self, start: datetime, end: datetime, model_name: str | None = None) -> Usage:
        """Give what was used in `[start, end)`: of the workspace, or of all lives of a name (R19).

        Raises:
            InvalidArgumentError: a moment without a time zone, or an end before the start.
            ModelNotFoundError: there never was a model of this name.
        """
        start_us, end_us = checked_moment(start, "start"), checked_moment(end, "end")
        if end_us < start_us:
            msg = "The period ends before it starts."
            raise InvalidArgumentError(msg, rule="R19", hint="Swap start and end.", argument="end")
        if model_name is None:
            now_us = self._now_us()
            with self._views.reading(LEDGERS, self._cut) as reading:
                ledgers = reading.within(self.workspace, start_us, end_us)
                return draw_usage(ledgers, start_us, end_us, now_us, reading.position)
        target = self._named(model_name)
        self._require_history(target)
        position = self.position()
        ledger = UsageLedger().fold(self._stream(target.stream, Cut(position, self._cut.at_us)))
        return draw_usage(ledger.ledgers.values(), start_us, end_us, self._now_us(), position)

    def timeline(self, about: str, path: str | Path | None = None, *, format: Literal["html", "svg"] = "html") -> str:  # noqa: A002 - what users call it
        """Draw a history, of a model's name (all its lives) or of a model_id; give the picture, and write it to `path`.

        Args:
            about: whose history.
            path: a file to write it to, in UTF-8; a picture that was there is replaced, and nothing else.
            format: `html`: a page of one file, with a table, filters and a slider; `svg`: the drawing alone.

        Raises:
            ModelNotFoundError: there never was one.
            InvalidArgumentError: another format, or a file that is no picture.
            OSError: the file can't be written.
        """
        chosen: object = format
        if chosen not in ("html", "svg"):  # no set: what can't be hashed is refused too
            msg = f"format is html or svg, not {shown(format)}."
            raise InvalidArgumentError(msg, hint="For example {svg}.", argument="format")
        timeline = self._timeline(self._events_of(self._model_of(about)))
        drawn = timeline.svg() if chosen == "svg" else timeline.html()
        if path is not None:
            _write_picture(Path(path), drawn)
        return drawn

    def _model_of(self, about: str) -> str:
        """Give what is drawn: for a version_id, the model that the version belongs to."""
        return about if parse_version_id(about) is None else self.version(about).model_id

    def _timeline(self, read: Callable[[], Iterator[Recorded]]) -> Timeline:
        """Draw a history up to one position, or up to the moment that is asked about."""
        position = self.position()
        if self._cut.position is not None:
            until_us, ending = 0, f"position {self._cut.position}"
        else:
            until_us = self._now_us()
            ending = "now" if self._cut.at_us is None else said_moment(moment_of(until_us))
        events = (recorded for recorded in read() if recorded.position <= position)
        return Timeline(events, until_us=until_us, position=position, ending=ending)

    def replay(self, about: str | None = None) -> Iterator[Replayed]:
        """Give each event with the model before and after it, and a sentence: "raj promoted 1.0.0 to primary, …".

        Args:
            about: whose events, as in `history`; without it, those of the workspace, in sentences that name the model.

        Raises:
            ModelNotFoundError, VersionNotFoundError: there never was one.
        """
        if about is None:
            return replayed(self._log(0), lambda _: True, named=True)
        asked = {recorded.position for recorded in self._events_of(about)()}
        address = parse_model_id(about) or parse_version_id(about)
        stream = self._named(about).stream if address is None else address.stream
        return replayed(self._stream(stream), lambda recorded: recorded.position in asked, named=False)

    def sentence(self, recorded: Recorded, *, named: bool = False) -> str:
        """Say an event of this registry in one English sentence of printable characters.

        Args:
            recorded: the event.
            named: name its model too.
        """
        return sentence_of(recorded, self._numbers(), named=named)

    def rows(self, about: str | None = None, after: int = 0, limit: int | None = None) -> Iterator[dict[str, Scalar]]:
        """Give events as flat rows, which pandas and polars take as they are; see `history` for what is asked about.

        All rows have the same columns, each of one type; a text that there is none of is empty. `csv_lines` of
        `versioning.output.rows` makes CSV of them that is safe to open in a spreadsheet.
        """
        number_of = self._numbers()
        return (flat_row(recorded, number_of) for recorded in self.history(about, after, limit))

    def cloud_events(
        self, about: str | None = None, after: int = 0, limit: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """Give events as CloudEvents 1.0, each a dict to be written as JSON; see `history` for what is asked about."""
        return (cloud_event_of(recorded) for recorded in self.history(about, after, limit))

    def _numbers(self) -> Callable[[str], str | None]:
        """Give what says the number of a version of this workspace, and remembers it."""
        known: dict[str, str] = {}

        def ask(state: ModelAggregate) -> dict[str, str]:
            ours = self._is_ours(state, Target(state.stream))
            return {one.version_id: one.number for one in state.versions.values()} if ours else {}

        def number_of(version_id: str) -> str | None:
            if version_id not in known:
                known.update(self._ask(version_id[4:36], ask))
            return known.get(version_id)

        return number_of

    def position(self) -> int:
        """Give the position of the last event of the log that counts; 0 where there is none."""
        head = self._recorder.head()
        return head if self._cut.position is None else min(head, self._cut.position)

    def _stream(self, stream: str, cut: Cut | None = None) -> Iterator[Recorded]:
        yield from self._recorded(stream, self._recorder.tail(stream, 0), cut or self._cut)

    @staticmethod
    def _recorded(stream: str, rows: list[TailRow], cut: Cut) -> Iterator[Recorded]:
        for row in rows:
            recorded = decode(row[0], stream, *row[1:])
            if cut.holds(recorded.position, recorded.event.at_us):
                yield recorded

    def _log(self, after: int) -> Iterator[Recorded]:
        most = FIRST_EVENTS
        while rows := self._recorder.log(after, most, self._cut.position):
            after, most = rows[-1][0], min(most * 4, FURTHER_EVENTS)
            for row in rows:
                recorded = decode(*row)
                if recorded.workspace == self.workspace and self._cut.holds(recorded.position, recorded.event.at_us):
                    yield recorded


def _is_last_of(state: ModelAggregate, stream: str, row: TailRow) -> bool:
    """Say whether a row of the log is the last event that a kept state holds: its link stands for all before it."""
    position, sequence, topic, kept = row
    try:
        envelope = read(position, stream, sequence, topic, kept)
    except (CorruptLogError, NewerFormatError):
        return False
    there = (sequence, envelope.chain, envelope.workspace, envelope.model_name)
    return there == (state.sequence, state.link.hex(), state.workspace, state.model_name) and state.stream == stream


def _names(recorded: Recorded) -> tuple[str | None, str | None]:
    """R26: the versions that an event is about: the one that it names, and the one that was primary before."""
    return recorded.version_id, getattr(recorded.event, "previous", None)


def _write_picture(path: Path, drawn: str) -> None:
    """Write over a picture, but never over a database, say, that was named by a slip."""
    if path.is_file():
        with path.open("rb") as file:
            beginning = file.read(len(_PICTURES[0]))
        if beginning and not beginning.startswith(_PICTURES):
            msg = f"The file {shown(str(path))} is no picture of ours, and is not written over."
            raise InvalidArgumentError(msg, hint="Name another file, or remove it first.", argument="path")
    path.write_text(drawn, encoding="utf-8", newline="\n")


def _would_do(state: ModelAggregate, command: Command, policy: Policy) -> bool:
    try:
        decide(state, command, policy, 0)
    except RefusedError:
        return False
    return True


class AsOf(Questions):
    """A registry as it was: the same questions, answered from a prefix of the log, or of every stream (R25)."""

    def __init__(self, now: Questions, cut: Cut, now_us: int) -> None:
        """Share the store of a registry."""
        self.workspace = now.workspace
        self.policy = now.policy
        self._recorder = now._recorder  # noqa: SLF001 - the past of a registry is its own
        self._views = now._views  # noqa: SLF001 - the same
        self._cut = cut
        self._moment_us = now_us

    def _ask(self, stream: str, question: Callable[[ModelAggregate], Answer]) -> Answer:
        return question(self._state_of(stream, self._cut, self._fold))

    def _fold(self, state: ModelAggregate, rows: list[TailRow]) -> None:
        state.begin_folding()  # nothing is handed out before the question
        for recorded in self._recorded(state.stream, rows, self._cut):
            state.workspace, state.model_name = recorded.workspace, recorded.model_name
            laws.apply(state, recorded)
        state.end_folding()

    def _now_us(self) -> int:
        return self._moment_us


class History(Iterator[Recorded]):
    """Recorded events, oldest first, read as they are taken; a notebook shows them, and takes none for it."""

    def __init__(
        self,
        read: Callable[[], Iterator[Recorded]],
        draw: Callable[[Callable[[], Iterator[Recorded]]], Timeline] | None,
    ) -> None:
        """Begin to read; what draws them is given where they are all that there is of a model."""
        self._read = read
        self._draw = draw
        self._events = read()

    def __next__(self) -> Recorded:
        return next(self._events)

    def _repr_html_(self) -> str:
        if self._draw is not None:
            seen = sum(1 for _ in itertools.islice(self._read(), EVENTS_DRAWN_MAX + 1))
            if seen <= EVENTS_DRAWN_MAX:
                return self._draw(self._read).frame()
        return table_of(self._read(), EVENTS_LISTED_MAX)


def cut_of(moment_or_position: object, head: int, now_us: int, last_at_us: Callable[[], int]) -> Cut:
    """Turn what `at` was given into a cut.

    Raises:
        InvalidArgumentError: a moment without a time zone, or anything that lies in the future (R25).
    """
    if isinstance(moment_or_position, int):
        position = checked_position(moment_or_position, "moment_or_position")
        if position > head:
            msg = f"The log ends at position {head}, so nothing is known as of {position}."
            raise InvalidArgumentError(msg, rule="R25", hint="Ask as of a position up to the last.")
        return Cut(position=position)
    at_us = checked_moment(moment_or_position, "moment_or_position")
    if at_us > now_us and at_us > last_at_us():
        msg = "The moment lies in the future, so nothing is known as of then."
        raise InvalidArgumentError(msg, rule="R25", hint="Ask as of now or earlier.")
    return Cut(at_us=at_us)
