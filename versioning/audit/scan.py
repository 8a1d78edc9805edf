"""What reading every row of the log again shows: which chains hold, where rows are not there, what can't be read.

The law of this room: **the log is read once, in order, and never held**: of each stream its last link and what it
amounts to are kept, of each row nothing. What was done to a stream that does not hold is for `diagnosis.py`, which
looks at its rows one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from versioning.aggregate import ModelAggregate
from versioning.audit.checkpoints import BATCH_EVENTS, RunningHead, mark_of
from versioning.audit.diagnose import Fault, streams_of
from versioning.errors import CorruptLogError, NewerFormatError
from versioning.ids import stream_of
from versioning.projections import LEDGER_EVENTS, evolve_ledger
from versioning.store.format import NO_LINK, Fact, body_of, computed_link, read

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from versioning.audit.checkpoints import Progress
    from versioning.events import Event
    from versioning.projections import VersionLedger
    from versioning.store.contract import LogRow, Snapshot, Store
    from versioning.store.format import Envelope

UNKEPT_EVENTS_MAX: Final = 100_000
"""Up to how many events a log is replayed of which no view is kept: for nothing but to see that events follow."""


class Thread:
    """A stream as far as it was read."""

    __slots__ = (
        "aggregate",
        "broke_at",
        "first_position",
        "is_ours",
        "link",
        "name",
        "position",
        "sequence",
        "workspace",
    )

    def __init__(self, workspace: str, name: str, aggregate: ModelAggregate | None) -> None:
        """Start before its first row."""
        self.workspace = workspace
        self.name = name
        self.is_ours = aggregate is not None
        self.aggregate = aggregate
        """What it amounts to; None in other workspaces, and from where something is wrong on."""
        self.sequence = 0
        self.first_position = self.position = 0
        """Of its first and of its last row."""
        self.link = NO_LINK
        self.broke_at = 0
        """Position of the first row that does not follow from the one before it; 0 while all do."""


class Part(NamedTuple):
    """A row as a part of what was recorded together."""

    position: int
    stream: str
    sequence: int
    command_id: str
    place: int
    """Counted from 0."""
    parts: int

    def is_followed_by(self, then: Part) -> bool:
        """Say whether a row is the next part of the same append."""
        return (then.stream, then.command_id, then.place) == (self.stream, self.command_id, self.place + 1)


class Rereading:
    """One reading of the whole log, from one snapshot."""

    def __init__(self, store: Store, snapshot: Snapshot, workspace: str, stops: Iterable[int]) -> None:
        """Start before the first row; `head` remembers what it was at the stops."""
        self.head = RunningHead(stops)
        self.position = 0
        self.threads: dict[str, Thread] = {}
        self.ledgers: dict[str, VersionLedger] = {}
        """What every version of this workspace used, while `keeps_ledgers`."""
        self.keeps_ledgers = False
        self.keeps_views = False
        """Whether there is anything that is kept, so that a replay is compared with it."""
        self.replayed_upto: int | None = None
        """The position up to which the log was replayed; None where it is all of it."""
        self.latest_us = 0
        """The latest timestamp."""
        self.faults: list[Fault] = []
        """What is wrong with rows that can be read, in streams whose chains hold."""
        self.unreadable: dict[int, object] = {}
        """Of each row that can't be read, the stream that it says."""
        self.undecodable: list[int] = []
        """Positions of rows that the database itself can't give."""
        self.torn: set[object] = set()
        """The streams that do not hold, and those that a row which can't be read may be of."""
        self.gaps: list[range] = []
        """Positions without a row, up to the last row."""
        self.parted: list[Part] = []
        """Rows whose append should go on with the next row, and does not."""
        self.loose: list[Part] = []
        """Rows that go on with an append which is not the one of the row before them."""
        self.part: Part | None = None
        """The last row, where its append should go on."""
        self._store = store
        self._snapshot = snapshot
        self._workspace = workspace
        self._fact = Fact()
        self._wall: int | None = None
        """The position of the next row that the database can't give, where it is known."""

    def read_upto(self, place: int, progress: Progress | None = None) -> None:
        """Read on, up to a position."""
        while rows := self._next_rows(place):
            self._take(rows)
            self.position = rows[-1][0]
            if progress is not None:
                progress("verify", self.position, max(self.position, self._store.head()))

    def rows_of(self, streams: set[object]) -> Iterator[LogRow]:
        """Read rows of a few streams again."""
        position = 0
        for end in [*self.undecodable, None]:
            while rows := self._snapshot.log(position, BATCH_EVENTS, None if end is None else end - 1):
                position = rows[-1][0]
                yield from (row for row in rows if row[1] in streams)
            position = position if end is None else end

    def _next_rows(self, place: int) -> list[LogRow]:
        """Give the next rows up to a place; what the database itself can't give is noted and passed over."""
        while True:
            wall = self._wall
            try:
                rows = self._snapshot.log(self.position, BATCH_EVENTS, place if wall is None else min(place, wall - 1))
            except CorruptLogError as error:
                self._wall = self._find_wall(error, place)
                continue
            if rows or wall is None or wall > place:
                return rows
            self._note_gap(wall)
            self.undecodable.append(wall)
            self.head.take([wall], [f"{wall} ?\n"])
            self.position, self._wall = wall, None

    def _find_wall(self, error: CorruptLogError, place: int) -> int:
        """Say which of the next rows it is that can't be given; the error names the first one of the whole log."""
        if error.position is not None and self.position < error.position <= place:
            return error.position
        low, high = self.position, place
        while high - low > 1:
            middle = (low + high) // 2
            try:
                self._snapshot.log(self.position, BATCH_EVENTS, middle)
                low = middle
            except CorruptLogError:
                high = middle
        return high

    def _note_gap(self, position: int) -> None:
        if position > self.position + 1:
            self.gaps.append(range(self.position + 1, position))

    def _take(self, rows: list[LogRow]) -> None:  # noqa: C901 - one loop, run for every row there is: no calls to spare
        """Take in the next rows."""
        threads, ledgers, fact, marks, before = self.threads, self.ledgers, self._fact, list[str](), self.position
        keeps_ledgers, replays = self.keeps_ledgers, self._replays()
        for row in rows:
            position, stream, sequence, topic, state = row
            if position != before + 1:
                self.gaps.append(range(before + 1, position))
            before = position
            try:
                envelope = read(position, stream, sequence, topic, state)
            except (CorruptLogError, NewerFormatError):
                self._take_unreadable(row)
                marks.append(mark_of(row))
                continue
            thread = threads.get(stream) or self._thread(position, stream, envelope)
            event, chain = envelope.payload, envelope.chain
            self.latest_us = max(self.latest_us, event.at_us)
            link = computed_link(thread.link, stream, sequence, topic, body_of(state))
            if link.hex() != chain or sequence != thread.sequence + 1:
                self._tear(position, stream, thread)
                link = bytes.fromhex(chain)
            elif envelope.model_name != thread.name or envelope.workspace != thread.workspace:
                self._misnamed(position, stream, sequence, thread)
            elif thread.aggregate is not None:
                if replays:
                    try:
                        thread.aggregate.evolve(event, envelope.actor)
                        if keeps_ledgers and type(event) in LEDGER_EVENTS:
                            fact.position, fact.stream, fact.envelope, fact.event = position, stream, envelope, event
                            version_id = event.version_id  # type: ignore[union-attr]  # of these events
                            ledgers[version_id] = evolve_ledger(ledgers.get(version_id), fact)  # type: ignore[assignment]  # a known one has one
                    except (LookupError, TypeError, ValueError):
                        self._does_not_follow(position, stream, sequence, thread)
                if envelope.idempotency_key is not None and envelope.index == 0:
                    self._check_key(position, stream, sequence, envelope.idempotency_key)
            thread.link, thread.sequence, thread.position = link, sequence, position
            marks.append(f"{position} {stream} {sequence} {chain}\n")  # as mark_of would, which is slower
            if envelope.count > 1 or self.part is not None:
                self._take_part(Part(position, stream, sequence, envelope.command_id, envelope.index, envelope.count))
        self.head.take([row[0] for row in rows], marks)

    def _replays(self) -> bool:
        """Say whether the next rows are to be replayed; where nothing is kept to compare with, only so many are."""
        if self.keeps_views or self.head.count < UNKEPT_EVENTS_MAX:
            return True
        self.replayed_upto = self.position if self.replayed_upto is None else self.replayed_upto
        return False

    # What is unusual in a row.

    def _take_unreadable(self, row: LogRow) -> None:
        self.unreadable[row[0]] = row[1]
        for stream in streams_of(row):
            self.torn.add(stream)
            if isinstance(stream, str) and stream in self.threads:
                self.threads[stream].aggregate = None

    def _thread(self, position: int, stream: str, envelope: Envelope[Event]) -> Thread:
        """Begin a stream."""
        workspace, name = envelope.workspace, envelope.model_name
        aggregate = ModelAggregate(stream, workspace, name) if workspace == self._workspace else None
        if aggregate is not None:
            aggregate.begin_folding()  # nobody else sees it
        thread = self.threads[stream] = Thread(workspace, name, aggregate)
        thread.first_position = position
        if stream in self.torn:
            thread.aggregate = None
        if stream_of(workspace, name) != stream:
            self.faults.append(
                Fault("rewritten", "stands in a stream that is not the one of its model's name", position, stream, None)
            )
        return thread

    def _tear(self, position: int, stream: str, thread: Thread) -> None:
        thread.broke_at = thread.broke_at or position
        thread.aggregate = None
        self.torn.add(stream)

    def _misnamed(self, position: int, stream: str, sequence: int, thread: Thread) -> None:
        said = "names another model than the events before it"
        self.faults.append(Fault("rewritten", said, position, stream, sequence, alters=False))
        thread.aggregate = None

    def _does_not_follow(self, position: int, stream: str, sequence: int, thread: Thread) -> None:
        self.faults.append(
            Fault("unreadable", "does not follow from the events before it", position, stream, sequence, alters=False)
        )
        thread.aggregate = None

    def _check_key(self, position: int, stream: str, sequence: int, key: str) -> None:
        """See that the index of idempotency keys leads to the append that has the key."""
        try:
            found = self._store.find_key(stream, key)
        except CorruptLogError:
            found = None
        if found is None or found[0] != position:
            self.faults.append(
                Fault("changed", "is not found by its idempotency key", position, stream, sequence, alters=False)
            )

    def _take_part(self, part: Part) -> None:
        """See that what was recorded together stands together."""
        before = self.part
        if before is None or not (before.is_followed_by(part) and part.position == before.position + 1):
            self.parted += [] if before is None else [before]
            self.loose += [part] if part.place else []
        self.part = part if part.place + 1 < part.parts else None
