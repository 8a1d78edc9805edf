"""Whether anybody has touched the log: every row is read again, and what is found is located.

The law of this room: **what is reported is there, and what could not be proven is said in words.** Nothing is written,
nothing is repaired, and a log that nobody touched never gives a finding.

Found by the chains alone, and found only with a checkpoint that covers the row:

| kind | exit code | by the chains alone, and the kept views | only with a checkpoint |
|---|---|---|---|
| changed | 10 | any row, unless its link, and all links behind it in its stream, were made anew | |
| swapped | 11 | rows of one stream; contents of any two rows; positions inside an append | positions of two streams' rows |
| missing | 12 | any row with a later one in its stream; where positions have no gaps (SQLite), any row with a later one | a stream's last row, where others were moved up |
| doubled | 13 | any row | a copy with a link of its own |
| truncated | 14 | the end of an append; what a kept view has seen | any row |
| rewritten | 15 | a stream that is not the one of its name, an append that is not whole | any row |
| unreadable | 16 | any row | |
| view | 17 | any kept row that a replay does not give, of this workspace | |

With a checkpoint, what was done to rows that no chain explains is located by the checkpoint's marks: to the row in logs
of up to 1,000 rows, else to a thousandth of the log.

What is found in rows of other workspaces is reported by position only (R27).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import attrs

from versioning.aggregate import ModelAggregate
from versioning.checkpoints import MARK_CHARACTERS, MARKS_MAX, Checkpoint, Key, RunningHead, Stop, linked_mark, mark_of
from versioning.diagnosis import Kind, diagnose, is_stream
from versioning.errors import CorruptLogError, InvalidArgumentError, NewerFormatError, StoreError, shown
from versioning.events import moment_of
from versioning.ids import model_id_of, stream_of
from versioning.persistence import INTEGER_MAX, NO_LINK, body_of, computed_link, link_of, read
from versioning.projections import VersionLedger, evolve_ledger
from versioning.sentences import plain
from versioning.sqlite import SQLiteRecorder
from versioning.views import LEDGERS, MODELS, VIEWS, View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from versioning.events import Event
    from versioning.persistence import Envelope, KeptRow, LogRow, ViewPosition
    from versioning.stores import Snapshot, Store

Progress: TypeAlias = "Callable[[str, int, int], None]"
"""Is called now and then with what is being done, how far it has come, and how far it will go."""
Given: TypeAlias = Checkpoint | str | Path
"""A checkpoint, or the file that it is in."""

EXIT_CODES: Final[dict[Kind, int]] = {
    "changed": 10,
    "swapped": 11,
    "missing": 12,
    "doubled": 13,
    "truncated": 14,
    "rewritten": 15,
    "unreadable": 16,
    "view": 17,
}
"""What a command line ends with."""
BATCH_EVENTS: Final = 5_000
"""How many rows are read at once."""
DIAGNOSED_MAX: Final = 100_000
"""How many rows of streams that do not hold are looked at one by one; of more, only the first fault is told."""
FINDINGS_MAX: Final = 1_000
SAID_MAX: Final = 10
"""How many positions a sentence names."""
PAGE: Final = 1_000
CANDIDATES_MAX: Final = 1_000
"""How many rows behind the first that a checkpoint does not know are tried in its place."""
_NOT_UTF_8: Final = "holds a text that is not UTF-8"


@attrs.frozen
class Finding:
    """One thing that is wrong, and where."""

    kind: Kind
    sentence: str
    position: int | None = None
    """Where it stands in the log; of a row that is not there, where it stood or what it stood before, if that is known."""
    stream: str | None = None
    sequence: int | None = None
    model_name: str | None = None
    """Where it is known, and of this workspace."""

    @property
    def exit_code(self) -> int:
        """What a command line ends with where this is the first finding."""
        return EXIT_CODES[self.kind]


@attrs.frozen
class Verification:
    """What came of reading every row again."""

    position: int
    """Of the last row."""
    count: int
    """How many rows were read."""
    findings: tuple[Finding, ...]
    """In the order of their positions."""
    not_proven: tuple[str, ...]
    """In words, what may be so although nothing was found."""

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def exit_code(self) -> int:
        """What a command line ends with: 0, or that of the first finding."""
        return 0 if self.ok else self.findings[0].exit_code


# Checkpoints.


def take_checkpoint(store: Store, now_us: int, progress: Progress | None = None) -> Checkpoint:
    """Read the whole log, and say what it is; whether it holds is for `verify`.

    Raises:
        CorruptLogError: a row can't even be read from the database.
    """
    last = store.head()
    step = max(1, -(-last // MARKS_MAX))
    head, position = RunningHead(range(step, last, step)), 0
    while rows := store.log(position, BATCH_EVENTS, last):
        position = rows[-1][0]
        head.take([row[0] for row in rows], [mark_of(row) for row in rows])
        if progress is not None:
            progress("checkpoint", position, last)
    marks = {stop.position: stop.head[:MARK_CHARACTERS] for stop in head.stops.values() if 0 < stop.position < position}
    return Checkpoint(head.position, head.count, head.head, moment_of(now_us), tuple(sorted(marks.items())))


def given_checkpoints(given: object, public_key: Key | None) -> tuple[Checkpoint, ...]:
    """Give the checkpoints that somebody handed over, read from files where they are, in the order of positions.

    Raises:
        InvalidArgumentError: one is none, or its signature is not by the key.
    """
    alone = given is None or isinstance(given, Checkpoint | str | Path) or not isinstance(given, Iterable)
    handed: list[object] = [given] if alone else list(given)  # type: ignore[call-overload]  # an Iterable, see above
    if given is None:
        if public_key is not None:
            msg = "public_key is for the signature of a checkpoint, and none is given."
            raise InvalidArgumentError(msg, hint="Pass checkpoint= as well.", argument="public_key")
        return ()
    checkpoints = []
    for one in handed:
        checkpoint = Checkpoint.read(one) if isinstance(one, str | Path) else one
        if not isinstance(checkpoint, Checkpoint):
            msg = f"checkpoint is a Checkpoint, the file of one, or several of these, not {shown(given)}."
            raise InvalidArgumentError(msg, hint="Take one with checkpoint().", argument="checkpoint")
        if public_key is not None:
            checkpoint.check_signature(public_key)
        checkpoints.append(checkpoint)
    return tuple(sorted(checkpoints, key=lambda one: one.position))


# Reading every row again.


class _Thread:
    """A stream as far as it was read."""

    __slots__ = ("aggregate", "broke_at", "is_ours", "link", "name", "sequence", "workspace")

    def __init__(self, workspace: str, name: str, aggregate: ModelAggregate | None) -> None:
        self.workspace = workspace
        self.name = name
        self.is_ours = aggregate is not None
        self.aggregate = aggregate
        """What it amounts to; None in other workspaces, and from where something is wrong on."""
        self.sequence = 0
        self.link = NO_LINK
        self.broke_at = 0
        """Position of the first row that its chain does not hold at; 0 while it holds."""


class _Fact:
    """What a ledger takes of an event."""

    __slots__ = ("event", "generation", "model_name", "position", "stream", "workspace")

    event: Event
    generation: int
    model_name: str
    position: int
    stream: str
    workspace: str

    @property
    def model_id(self) -> str:
        return model_id_of(self.stream, self.generation)


class _Begun(NamedTuple):
    """An append of which more is to come."""

    position: int
    stream: str
    sequence: int
    command_id: str
    index: int
    count: int

    def goes_on(self, then: _Begun) -> bool:
        """Say whether a row is the next one of this append."""
        return (then.stream, then.command_id, then.index) == (self.stream, self.command_id, self.index + 1)


class _Kept:
    """A kept view, and what a replay up to its position gives."""

    def __init__(self, view: View[Any], kept: ViewPosition) -> None:
        self.view = view
        self.position = kept.position
        self.latest_us = kept.latest_us
        self.is_met = False


class Verifier:
    """One reading of the whole log, from one snapshot."""

    def __init__(self, store: Store, snapshot: Snapshot, workspace: str, checkpoints: Sequence[Checkpoint]) -> None:
        """Start before the first row."""
        self._store = store
        self._snapshot = snapshot
        self._workspace = workspace
        self._checkpoints = checkpoints
        stops = {one.position for one in checkpoints} | {mark[0] for one in checkpoints for mark in one.marks}
        self._head = RunningHead(stops)
        self._position = 0
        self._threads: dict[str, _Thread] = {}
        self._ledgers: dict[str, VersionLedger] = {}
        self._fact = _Fact()
        self._latest_us = 0
        self._unreadable: dict[int, object] = {}
        """Of each row that can't be read, its stream."""
        self._undecodable: list[int] = []
        """Positions of rows that the database itself can't give."""
        self._wall: int | None = None
        """The position of the next of them, where it is known."""
        self._gaps: list[range] = []
        self._begun: _Begun | None = None
        self._torn: list[_Begun] = []
        """Appends that did not go on with the next row."""
        self._loose: list[_Begun] = []
        """Rows that go on with an append which is not the one before them."""
        self._findings: list[Finding] = []
        self._not_proven: list[str] = []
        held = [(view, snapshot.view_position(view.name)) for view in VIEWS]
        self._views = [_Kept(view, kept) for view, kept in held if kept is not None]

    def run(self, *, is_signed: bool, progress: Progress | None) -> Verification:
        """Read, compare, and say what was found."""
        for place in sorted({kept.position for kept in self._views}):
            self._read_upto(place, progress)
            for kept in self._views:
                if kept.position == place:
                    self._meet_view(kept)
        self._read_upto(INTEGER_MAX, progress)
        self._head.end()
        self._find_faults()
        self._check_heads()
        self._word_scope(is_signed=is_signed)
        findings = sorted(self._findings, key=lambda one: (one.position is None, one.position or 0))
        if len(findings) > FINDINGS_MAX:
            self._not_proven.insert(0, f"{len(findings) - FINDINGS_MAX:,} more findings are left out here.")
        told = tuple(findings[:FINDINGS_MAX])
        return Verification(self._head.position, self._head.count, told, tuple(self._not_proven))

    def _read_upto(self, place: int, progress: Progress | None) -> None:
        while rows := self._next_rows(place):
            self._take(rows)
            self._position = rows[-1][0]
            if progress is not None:
                progress("verify", self._position, max(self._position, self._store.head()))

    def _next_rows(self, place: int) -> list[LogRow]:
        """Give the next rows up to a place; what the database itself can't give is noted and passed over."""
        while True:
            wall = self._wall
            try:
                rows = self._snapshot.log(self._position, BATCH_EVENTS, place if wall is None else min(place, wall - 1))
            except CorruptLogError as error:
                self._wall = self._find_wall(error, place)
                continue
            if rows or wall is None or wall > place:
                return rows
            self._note_gap(wall)
            self._undecodable.append(wall)
            self._head.take([wall], [b"%d ?\n" % wall])
            self._position, self._wall = wall, None

    def _find_wall(self, error: CorruptLogError, place: int) -> int:
        """Say which of the next rows it is that can't be given; the error names the first one of the whole log."""
        if error.position is not None and self._position < error.position <= place:
            return error.position
        low, high = self._position, place
        while high - low > 1:
            middle = (low + high) // 2
            try:
                self._snapshot.log(self._position, BATCH_EVENTS, middle)
                low = middle
            except CorruptLogError:
                high = middle
        return high

    def _note_gap(self, position: int) -> None:
        if position > self._position + 1:
            self._gaps.append(range(self._position + 1, position))

    def _take(self, rows: list[LogRow]) -> None:
        """Take in the next rows. One loop without calls that can be spared: it is run for every row there is."""
        threads, ledgers, fact, marks, before = self._threads, self._ledgers, self._fact, [], self._position
        keeps_ledgers = any(kept.view is LEDGERS and not kept.is_met for kept in self._views)
        for row in rows:
            position, stream, sequence, topic, state = row
            if position != before + 1:
                self._gaps.append(range(before + 1, position))
            before = position
            try:
                envelope = read(position, stream, sequence, topic, state)
            except (CorruptLogError, NewerFormatError):
                self._unreadable[position] = stream
                marks.append(mark_of(row))
                continue
            thread = threads.get(stream) or self._thread(position, stream, envelope)
            event = envelope.payload
            if event.at_us > self._latest_us:
                self._latest_us = event.at_us
            link = computed_link(thread.link, stream, sequence, topic, body_of(state))
            if link.hex() != envelope.chain or sequence != thread.sequence + 1:
                thread.broke_at = thread.broke_at or position
                thread.aggregate = None
                link = bytes.fromhex(envelope.chain)
            elif envelope.model_name != thread.name or envelope.workspace != thread.workspace:
                self._misnamed(position, stream, sequence, thread)
            elif thread.aggregate is not None:
                try:
                    thread.aggregate.evolve(event, envelope.actor)
                except (LookupError, TypeError, ValueError):
                    self._does_not_follow(position, stream, sequence, thread)
                if keeps_ledgers and (version_id := getattr(event, "version_id", None)) is not None:
                    fact.event, fact.position, fact.stream, fact.generation = (
                        event,
                        position,
                        stream,
                        envelope.generation,
                    )
                    fact.workspace, fact.model_name = envelope.workspace, envelope.model_name
                    ledgers[version_id] = evolve_ledger(ledgers.get(version_id), fact)
            thread.link = link
            thread.sequence = sequence
            marks.append(linked_mark(position, stream, sequence, link))
            if envelope.count > 1 or self._begun is not None:
                self._take_append(
                    _Begun(position, stream, sequence, envelope.command_id, envelope.index, envelope.count)
                )
            if envelope.idempotency_key is not None and envelope.index == 0 and thread.is_ours:
                self._check_key(position, stream, sequence, envelope.idempotency_key)
        self._head.take([row[0] for row in rows], marks)

    # What is unusual in a row.

    def _thread(self, position: int, stream: str, envelope: Envelope[Event]) -> _Thread:
        """Begin a stream."""
        workspace, name = envelope.workspace, envelope.model_name
        aggregate = ModelAggregate(stream, workspace, name) if workspace == self._workspace else None
        thread = self._threads[stream] = _Thread(workspace, name, aggregate)
        if stream_of(workspace, name) != stream:
            self._add("rewritten", "stands in a stream that is not the one of its model's name", position, stream, None)
        return thread

    def _add(self, kind: Kind, said: str, position: int | None, stream: object, sequence: object) -> None:
        """Report a row; of other workspaces, its position only (R27)."""
        thread = self._threads.get(stream) if isinstance(stream, str) else None
        at = "" if position is None else f"At position {position}, "
        if thread is not None and not thread.is_ours:
            self._findings.append(Finding(kind, _sentence(f"{at}a row of another workspace {said}."), position))
            return
        if len(self._findings) >= FINDINGS_MAX * 2:
            return
        name = None if thread is None else thread.name
        known = isinstance(stream, str) and is_stream(stream)
        number = sequence if type(sequence) is int else None
        what = "a row" if number is None else f"event {number}"
        of = f" of {plain(name)}" if name is not None else f" of the stream {stream}" if known else ""
        place = (str(stream) if known else None, number, name)
        self._findings.append(Finding(kind, _sentence(f"{at}{what}{of} {said}."), position, *place))

    def _misnamed(self, position: int, stream: str, sequence: int, thread: _Thread) -> None:
        if thread.aggregate is not None:
            self._add("rewritten", "names another model than the events before it", position, stream, sequence)
        thread.aggregate = None

    def _does_not_follow(self, position: int, stream: str, sequence: int, thread: _Thread) -> None:
        self._add("unreadable", "does not follow from the events before it", position, stream, sequence)
        thread.aggregate = None

    def _check_key(self, position: int, stream: str, sequence: int, key: str) -> None:
        """See that the index of idempotency keys leads to the append that has the key."""
        try:
            found = self._store.find_key(stream, key)
        except CorruptLogError:
            found = None
        if found is None or found[0] != position:
            self._add("changed", "is not found by its idempotency key", position, stream, sequence)

    def _take_append(self, row: _Begun) -> None:
        """See that an append stands in one piece."""
        begun = self._begun
        if begun is not None and begun.goes_on(row) and row.position == begun.position + 1:
            self._begun = row if row.index + 1 < row.count else None
            return
        if begun is not None:
            self._torn.append(begun)
        if row.index > 0:
            self._loose.append(row)
        self._begun = row if row.index + 1 < row.count else None

    # Kept views.

    def _meet_view(self, kept: _Kept) -> None:
        """Compare a kept view, now that as much was read as it holds."""
        kept.is_met = True
        if self._position < kept.position and not self._snapshot.log(self._position, 1, None):
            if self._store.head() < kept.position:
                said = (
                    f"The kept view {kept.view.name} has seen events up to position {kept.position}, and the log ends"
                )
                sentence = f"{said} at {self._position}: its end was cut off."
                self._findings.append(Finding("truncated", sentence, self._position + 1))
            self._not_proven.append(f"The kept view {kept.view.name} was not compared: it is ahead of the log.")
            return
        if kept.latest_us != self._latest_us and not self._unreadable and not self._undecodable:
            said = (
                f"The kept view {kept.view.name} has another latest moment than the log up to position {kept.position}."
            )
            self._findings.append(Finding("view", said, kept.position))
        expected = self._states(kept.view)
        try:
            for row in _rows_of(self._snapshot, kept.view, self._workspace):
                self._compare(kept, row, expected.pop(row.key, None))
        except (StoreError, CorruptLogError) as error:
            said = f"The kept view {kept.view.name} can't be read: {error.sentence}"
            self._findings.append(Finding("view", said, kept.position))
            return
        for key in expected:
            self._differ(kept, key, "is missing")

    def _states(self, view: View[Any]) -> dict[str, Any]:
        """Give what a replay makes of each stream of this workspace that holds."""
        good = {stream: thread for stream, thread in self._threads.items() if thread.aggregate is not None}
        if view is not MODELS:
            return {key: ledger for key, ledger in self._ledgers.items() if key[4:36] in good}
        for thread in good.values():
            thread.aggregate.link = thread.link
        return {stream: thread.aggregate for stream, thread in good.items()}

    def _compare(self, kept: _Kept, row: KeptRow, state: Any) -> None:  # noqa: ANN401 - of whatever the view keeps
        """Compare a kept row with what a replay gives; where the log itself is wrong, that is told already."""
        thread = self._threads.get(_stream_of(kept.view, row.key))
        if thread is not None and thread.aggregate is None:
            return
        try:
            seen = kept.view.read(row)
        except StoreError:
            self._differ(kept, row.key, "is not readable")
            return
        if kept.view is MODELS and seen.sequence > (thread.sequence if thread else 0):
            number = thread.sequence + 1 if thread else 1
            self._findings.append(
                Finding(
                    "truncated",
                    f"Event {number} of {plain(row.model_name)}, which the kept view {kept.view.name} has seen, is not"
                    " there: the end of its stream was cut off.",
                    None, row.key, number, row.model_name,
                )
            )  # fmt: skip
            if thread is not None:
                thread.aggregate = None
        elif state is None:
            self._differ(kept, row.key, "is of nothing in the log")
        elif row != kept.view.row(row.key, state) and (
            row[:4] != kept.view.row(row.key, state)[:4] or _known(seen) != _known(state)
        ):
            self._differ(kept, row.key, "is not what a replay of the log gives")

    def _differ(self, kept: _Kept, key: str, said: str) -> None:
        stream = _stream_of(kept.view, key)
        thread = self._threads.get(stream)
        of = shown(key) if thread is None else plain(thread.name) + ("" if key == stream else f" ({key})")
        sentence = f"In the kept view {kept.view.name}, the row of {of} {said}."
        name, number = (None, None) if thread is None else (thread.name, thread.sequence)
        self._findings.append(Finding("view", sentence, kept.position, stream, number, name))

    # What the rows amount to.

    def _find_faults(self) -> None:
        """Say what was done to the streams that do not hold, and to the order of the log."""
        torn = {one for one, thread in self._threads.items() if thread.broke_at} | set(self._unreadable.values())
        told: set[int] = set()
        if torn:
            undecodable = [range(position, position + 1) for position in self._undecodable]
            diagnosis = diagnose(self._rows_of(torn), [*self._gaps, *undecodable])
            told = diagnosis.gaps_told
            for fault in diagnosis.faults:
                if fault.kind == "missing" and fault.position in self._undecodable:
                    self._add("unreadable", _NOT_UTF_8, *fault[2:])
                else:
                    self._add(*fault)
            if diagnosis.unproven:
                some = ", ".join(str(position) for position in diagnosis.unproven[:SAID_MAX])
                self._not_proven.append(
                    f"What the rows at the positions {some}{' …' * (len(diagnosis.unproven) > SAID_MAX)} would be checked"
                    " against is lost, so they may have been changed too."
                )
        for position in self._undecodable:
            if position not in told:
                self._add("unreadable", _NOT_UTF_8, position, None, None)
        self._check_appends(torn, told)
        if isinstance(self._store, SQLiteRecorder):  # elsewhere, what was rolled back leaves gaps
            for gap in self._gaps:
                self._tell_gap([position for position in gap if position not in told])

    def _rows_of(self, torn: set[object]) -> Iterator[LogRow]:
        """Read the rows of streams once more; where they are too many, tell only where the rest of them breaks."""
        chosen: set[object] = set()
        count = 0
        by_place = sorted(self._threads.items(), key=lambda one: one[1].broke_at)
        for stream in [*(one for one, _ in by_place if one in torn), *(torn - self._threads.keys())]:
            count += self._threads[stream].sequence if isinstance(stream, str) and stream in self._threads else 1
            if count <= DIAGNOSED_MAX:
                chosen.add(stream)
            elif isinstance(stream, str) and stream in self._threads and self._threads[stream].broke_at:
                self._add("changed", "and its row do not go together", self._threads[stream].broke_at, stream, None)
        for position, stream in self._unreadable.items():
            if stream not in chosen:
                self._add("unreadable", "can't be read", position, stream, None)
        position = 0
        for wall in [*sorted(self._undecodable), INTEGER_MAX]:
            while rows := self._snapshot.log(position, BATCH_EVENTS, wall - 1):
                position = rows[-1][0]
                yield from (row for row in rows if row[1] in chosen)
            position = wall

    def _check_appends(self, torn: set[object], told: set[int]) -> None:
        """Say where an append does not stand in one piece; in streams that do not hold, that is told already."""
        loose = {(one.stream, one.command_id, one.index): one for one in self._loose}
        for begun in [*self._torn, *([self._begun] if self._begun else [])]:
            if begun.stream in torn or begun.position + 1 in told or begun.position + 1 in self._undecodable:
                continue
            place = begun.position + 1
            found = loose.pop((begun.stream, begun.command_id, begun.index + 1), None)
            if found is not None:
                self._add("swapped", "stands in an append that it is no part of", place, None, None)
                self._add("swapped", "stands apart from what it was recorded with", *found[:3])
            else:
                kind: Kind = "truncated" if begun.position == self._head.position else "missing"
                said = "is not there, though it was recorded with the one before it"
                self._add(kind, said, place, begun.stream, begun.sequence + 1)
            told.add(place)
        for one in loose.values():
            if one.stream not in torn:
                self._add("rewritten", "goes on with an append that is not there", *one[:3])

    def _tell_gap(self, positions: list[int]) -> None:
        if positions:
            upto = "" if len(positions) == 1 else f", and up to position {positions[-1]} none"
            self._add("missing", f"is not there{upto}", positions[0], None, None)

    # Checkpoints.

    def _check_heads(self) -> None:
        """Compare the log with what the checkpoints have seen."""
        proven = 0
        for checkpoint in self._checkpoints:
            stop = self._head.stops[checkpoint.position]
            if (stop.position, stop.count, stop.head) == (checkpoint.position, checkpoint.count, checkpoint.head):
                proven = checkpoint.position
                continue
            if self._head.position < checkpoint.position:
                until = f"a checkpoint of {checkpoint.moment.isoformat()} has seen position {checkpoint.position}"
                said = f"The log ends at position {self._head.position}, and {until}: its end was cut off."
                self._findings.append(Finding("truncated", said, self._head.position + 1))
            split = self._split(checkpoint, proven)
            if split is None:
                seen = (mark[0] for mark in checkpoint.marks if mark[0] <= self._head.position)
                proven = max(proven, *seen, 0)
            else:
                self._tell_split(checkpoint, *split)
                proven = split[0].position
                break
        self._word_proven(proven)

    def _split(self, checkpoint: Checkpoint, proven: int) -> tuple[Stop, tuple[int, str]] | None:
        """Say up to where log and checkpoint are the same, and the first mark that is not; None where all are."""
        good = self._head.stops.get(proven, self._head.start)
        for mark in [*checkpoint.marks, (checkpoint.position, checkpoint.head[:MARK_CHARACTERS])]:
            if good.position < mark[0] <= self._head.position:
                stop = self._head.stops[mark[0]]
                if stop.position != mark[0] or stop.head[:MARK_CHARACTERS] != mark[1]:
                    return good, mark
                good = stop
        return None

    def _tell_split(self, checkpoint: Checkpoint, good: Stop, mark: tuple[int, str]) -> None:
        """Tell what lies behind the last mark that holds, up to the first one that does not."""
        high = mark[0]
        if any(good.position < (one.position or 0) <= high and one.kind != "view" for one in self._findings):
            return
        rows = self._snapshot.log(good.position, CANDIDATES_MAX, None)
        between = [row for row in rows if row[0] <= high]
        if not between or (len(between) < len(rows) and between[-1][0] != high):
            self._add("missing", "is not there, though a checkpoint has seen it", high, None, None)
            return
        position, stream, sequence = between[0][:3]
        if len(between) == 1:
            for row in rows[1:]:
                if good.followed_by(linked_mark(high, row[1], row[2], link_of(row[4]))).startswith(mark[1]):
                    self._add("swapped", "stands where a checkpoint has seen another row", position, stream, sequence)
                    self._add("swapped", f"stood at position {high} when a checkpoint was taken", *row[:3])
                    return
        fewer = checkpoint.count - self._head.stops[checkpoint.position].count
        kind: Kind = "rewritten"
        said = "is not what a checkpoint has seen there"
        if fewer and checkpoint.position <= self._head.position:
            kind = "missing" if fewer > 0 else "doubled"
            said += f": {abs(fewer)} rows were {'taken out' if fewer > 0 else 'put in'}"
        if len(between) > 1:
            said = f"or one of the rows behind it up to position {high} {said}"
        self._add(kind, said, position, stream, sequence)

    # In words.

    def _word_proven(self, proven: int) -> None:
        """Say what the chains alone can't prove of the rows that no checkpoint covers."""
        behind = self._head.position > proven
        if not self._checkpoints:
            whose = "No checkpoint was given, so of no row is it"
        elif behind:
            whose = f"Of the rows behind position {proven} it is not"
        else:
            return
        self._not_proven.append(
            f"{whose} proven that nobody who can write the database recorded, changed or took it out and made the links"
            " behind it in its stream anew; that no stream and not the log was cut at its end; and that rows of different"
            " streams stand in their order."
        )

    def _word_scope(self, *, is_signed: bool) -> None:
        """Say what was not looked at."""
        if self._checkpoints and not is_signed:
            self._not_proven.append(
                "Whose checkpoint it is was not looked at, as no public key was given: it proves as much as the place"
                " where it was kept."
            )
        if any(not thread.is_ours for thread in self._threads.values()):
            self._not_proven.append("Of other workspaces, the chains were read, and the kept views were not.")
        self._not_proven.append("The contents of artifacts were not read: load() compares them with their digests.")


def verify(
    store: Store,
    workspace: str,
    checkpoints: Sequence[Checkpoint] = (),
    *,
    is_signed: bool = False,
    progress: Progress | None = None,
) -> Verification:
    """Read every row again, from one snapshot, and compare it with its chain, the kept views and checkpoints.

    Args:
        store: whose log.
        workspace: whose rows may be named.
        checkpoints: in the order of their positions.
        is_signed: whether the signatures of the checkpoints were checked.
        progress: is called after each batch.
    """
    with store.snapshot() as snapshot:
        return Verifier(store, snapshot, workspace, checkpoints).run(is_signed=is_signed, progress=progress)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _stream_of(view: View[Any], key: str) -> str:
    """Say which stream a kept row is of: the views keep rows by stream, or by version_id."""
    return key if view is MODELS else key[4:36]


def _rows_of(snapshot: Snapshot, view: View[Any], workspace: str) -> Iterator[KeptRow]:
    """Give the kept rows of a workspace, a page at a time; a page ends between two names."""
    after, limit = "", PAGE
    while True:
        rows = snapshot.view_page(view.name, workspace, after, limit, live_only=False)
        if len(rows) < limit:
            yield from rows
            return
        whole = [row for row in rows if row.model_name != rows[-1].model_name]
        if whole:
            yield from whole
            after, limit = whole[-1].model_name, PAGE
        else:
            limit *= 2


def _known(state: object) -> object:
    """Give what a kept state knows, to be compared; the order in which it is kept counts."""
    if not isinstance(state, ModelAggregate):
        return state
    held = {name: getattr(state, name) for name in ModelAggregate.__slots__ if name != "_pending"}
    return {name: list(one.items()) if isinstance(one, dict) else one for name, one in held.items()}
