"""The scan: every row of a log is read, and judged by the rows before it.

The law of this room: **the log is read once, in order, and never held.** Of each stream its last link and its state are
kept, of each row nothing. What was done to a stream that is broken is for `diagnose`, which reads its rows again.

`ScannedStream` and `AppendOrder` judge a row, for both who scan: `LogScan` reads a whole store for `verify`, notes what
is wrong and reads on; `LogCheck` (see `log_check`) reads a file, or what becomes one, and ends at the first wrong row.

How a row is judged:

*Streams.* Each row is hashed behind the last link of its stream. It has to carry that hash as its own link, and the
next sequence. From the first row that does not, the stream is *broken*, and no more of it is folded. Rows that fit are
folded into the state of their stream (`laws.apply`), if the rules could have recorded them (`laws.broken`).

*Appends.* Facts that were recorded together stand at neighbouring positions. A row whose append should go on with the
next row and doesn't is *unfinished*. A row that goes on with an append which isn't that of the row before it is
*orphaned*. `verify` pairs the two.

What `LogScan` does besides:

*Ledgers.* Rows that fit are folded into the ledgers of their versions too. `verify` compares states and ledgers with
the kept views.

*Unreadable rows.* Nobody knows where such a row belongs. So the stream that its column names is broken, and so are the
streams that its contents name.

*Rows that the database can't return.* SQLite keeps text that is not UTF-8, and then refuses the whole batch. The scan
finds the position by bisection, reads up to it, passes over it and goes on behind it.

*Gaps.* Positions without a row are noted. In SQLite they mean that rows are missing; in PostgreSQL a transaction that
was rolled back leaves one.

*The head.* A running hash over all rows (see `checkpoints`), remembered at each position that a checkpoint names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from versioning import laws
from versioning.aggregate import NO_LINK, ModelAggregate
from versioning.audit.checkpoints import BATCH_EVENTS, RunningHead, head_line
from versioning.audit.diagnose import Fault, streams_of
from versioning.errors import CorruptLogError, NewerFormatError
from versioning.ids import stream_of
from versioning.limits import INTEGER_MAX
from versioning.projections import LEDGER_EVENTS, evolve_ledger
from versioning.store.format import Fact, body_of, computed_link, read

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from versioning.audit.checkpoints import Progress
    from versioning.audit.diagnose import Kind
    from versioning.events import Event, Recorded
    from versioning.projections import VersionLedger
    from versioning.store.contract import LogRow, Snapshot, Store
    from versioning.store.format import Envelope

AHEAD_MAX: Final = 20
"""Number of events ahead of now that are kept one by one; of more, only their number and the last one's position."""


class Misfit(NamedTuple):
    """What can be wrong with a row that was read, judged by the rows of its stream before it."""

    kind: Kind
    said: str
    breaks_chain: bool = False
    """Whether the row is not the one that was recorded there; else it is, but should never have been."""


OUT_OF_SEQUENCE: Final = Misfit("changed", "is not the next one of its stream", breaks_chain=True)
UNLINKED: Final = Misfit("changed", "is not what its link was made from", breaks_chain=True)
MISNAMED: Final = Misfit("rewritten", "names another model than the events before it")
UNFOLDABLE: Final = Misfit("unreadable", "does not follow from the events before it")


class ScannedStream:
    """A stream as far as it has been scanned."""

    __slots__ = (
        "broke_at",
        "first_position",
        "is_ours",
        "led_by",
        "link",
        "name",
        "position",
        "sequence",
        "state",
        "workspace",
    )

    def __init__(self, workspace: str, name: str, state: ModelAggregate | None) -> None:
        """Start before its first row."""
        self.workspace = workspace
        self.name = name
        self.is_ours = state is not None
        self.state = state
        """State that its rows fold to; None in other workspaces, and once something is wrong."""
        self.led_by: str | None = None
        """Primary before the append of the last row."""
        self.sequence = 0
        self.first_position = self.position = 0
        """Positions of its first and its last row."""
        self.link = NO_LINK
        self.broke_at = 0
        """Position of the first row that does not follow from the one before it; 0 while all do."""

    def take(self, fact: Fact | Recorded, topic: str, state: bytes) -> Misfit | None:
        """Judge the next row, and go on behind it; return what is wrong with it, or None.

        Args:
            fact: the row as it was read.
            topic: its topic.
            state: its state, as bytes.
        """
        misfit, sequence = None, fact.sequence
        link = computed_link(self.link, fact.stream, sequence, topic, body_of(state))
        if sequence != self.sequence + 1:
            misfit = OUT_OF_SEQUENCE
        elif link.hex() != fact.chain:
            misfit = UNLINKED
        elif self.state is not None:
            misfit = self._fold(self.state, fact)
        elif not self._is_named_by(fact):
            misfit = MISNAMED
        if misfit is not None:
            self.state = None
            if misfit.breaks_chain:
                self.broke_at = self.broke_at or fact.position
                link = bytes.fromhex(fact.chain)
        self.link, self.sequence, self.position = link, sequence, fact.position
        return misfit

    def _fold(self, state: ModelAggregate, fact: Fact | Recorded) -> Misfit | None:
        """Fold a row that fits, and return what is wrong with it, or None."""
        if not fact.index:
            self.led_by = state.primary
        if not self._is_named_by(fact):
            return MISNAMED
        said = laws.broken(state, fact, self.led_by)
        if said is None:
            try:
                laws.apply(state, fact)
            except CorruptLogError:
                return UNFOLDABLE
            said = laws.unended(state) if fact.ends_append else None
        return None if said is None else Misfit("rewritten", said)

    def _is_named_by(self, fact: Fact | Recorded) -> bool:
        return fact.model_name == self.name and fact.workspace == self.workspace


class AppendRow(NamedTuple):
    """A row as one of those that were recorded together."""

    position: int
    stream: str
    sequence: int
    command_id: str
    place: int
    """Place in the append, counted from 0."""
    length: int
    """Number of rows in the append."""

    @property
    def ends_append(self) -> bool:
        """Whether it is the last row of its append."""
        return self.place + 1 == self.length

    def is_followed_by(self, then: AppendRow) -> bool:
        """Return whether a row is the next one of the same append, and stands right behind."""
        position, stream, sequence, command_id, place, length = self
        return then == (position + 1, stream, sequence + 1, command_id, place + 1, length)


class AppendOrder:
    """Follows the rows of a log, and knows which append is not at its end yet."""

    def __init__(self) -> None:
        """Start before the first row."""
        self.open: AppendRow | None = None
        """Last row, if its append should go on."""

    def take(self, row: AppendRow) -> tuple[AppendRow | None, AppendRow | None]:
        """Go on behind a row; return the row before it if that is unfinished, and the row itself if it is orphaned."""
        before = self.open
        self.open = None if row.ends_append else row
        if before is not None and before.is_followed_by(row):
            return None, None
        return before, row if row.place else None


class AheadEvent(NamedTuple):
    """An event that lies too far ahead of now."""

    position: int
    stream: str
    sequence: int
    at_us: int
    actor: str | None


class LogScan:
    """One reading of the whole log, from one snapshot."""

    def __init__(
        self, store: Store, snapshot: Snapshot, workspace: str, stops: Iterable[int], believed_us: int = INTEGER_MAX
    ) -> None:
        """Start before the first row; `head` is remembered at the stops, and what is later than a moment in `ahead`."""
        self.head = RunningHead(stops)
        self.position = 0
        self.streams: dict[str, ScannedStream] = {}
        self.ledgers: dict[str, VersionLedger] = {}
        """Ledger of each version of this workspace, by version_id; filled while `keeps_ledgers`."""
        self.keeps_ledgers = False
        self.latest_us = 0
        """Latest timestamp read, in microseconds since 1970 UTC."""
        self.ahead: list[AheadEvent] = []
        """First events that are later than the moment up to which events are believed (R23)."""
        self.ahead_unkept = self.ahead_upto = 0
        """Number of the others, and position of the last of them."""
        self.faults: list[Fault] = []
        """Faults of readable rows in streams whose chains hold."""
        self.unreadable: dict[int, object] = {}
        """Stream named by each row that can't be read, by position."""
        self.undecodable: list[int] = []
        """Positions of rows that the database itself can't return."""
        self.broken: set[object] = set()
        """Streams whose chains do not hold, and those that an unreadable row may belong to."""
        self.gaps: list[range] = []
        """Positions without a row, up to the last row."""
        self.unfinished: list[AppendRow] = []
        """Rows whose append should go on with the next row, and does not."""
        self.orphaned: list[AppendRow] = []
        """Rows that go on with an append which is not the one of the row before them."""
        self.order = AppendOrder()
        self._store = store
        self._snapshot = snapshot
        self._workspace = workspace
        self._fact = Fact()
        self._believed_us = believed_us
        self._wall: int | None = None
        """Position of the next row that the database can't return, where it is known."""

    def read_upto(self, place: int, progress: Progress | None = None) -> None:
        """Scan on, up to and including a position."""
        while rows := self._next_rows(place):
            self._scan(rows)
            self.position = rows[-1][0]
            if progress is not None:
                progress("verify", self.position, max(self.position, self._store.head()))

    def rows_of(self, streams: set[object]) -> Iterator[LogRow]:
        """Yield the rows of a few streams again."""
        position = 0
        for end in [*self.undecodable, None]:
            while rows := self._snapshot.log(position, BATCH_EVENTS, None if end is None else end - 1):
                position = rows[-1][0]
                yield from (row for row in rows if row[1] in streams)
            position = position if end is None else end

    def _next_rows(self, place: int) -> list[LogRow]:
        """Return the next rows up to a position; note and pass over what the database itself can't return."""
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
            self.head.extend([wall], [f"{wall} ?\n"])
            self.position, self._wall = wall, None

    def _find_wall(self, error: CorruptLogError, place: int) -> int:
        """Return the position of the next row that can't be returned; the error names the first of the whole log."""
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

    def _scan(self, rows: list[LogRow]) -> None:
        """Scan the next rows."""
        streams, fact, lines, before = self.streams, self._fact, list[str](), self.position
        for row in rows:
            position, stream, sequence, topic, state = row
            if position != before + 1:
                self.gaps.append(range(before + 1, position))
            before = position
            try:
                envelope = read(position, stream, sequence, topic, state)
            except (CorruptLogError, NewerFormatError):
                self._note_unreadable(row)
                lines.append(head_line(row))
                continue
            fact.position, fact.stream, fact.sequence, fact.envelope = position, stream, sequence, envelope
            fact.event = event = envelope.payload
            scanned = streams.get(stream) or self._begin_stream(position, stream, envelope)
            self.latest_us = max(self.latest_us, event.at_us)
            if event.at_us > self._believed_us:
                self._note_ahead(fact)
            misfit = scanned.take(fact, topic, state)
            if misfit is not None:
                self._note(misfit, fact)
            elif scanned.state is not None:
                if self.keeps_ledgers and type(event) in LEDGER_EVENTS:
                    self._keep_ledger(fact, event.version_id)  # type: ignore[union-attr,arg-type]  # of these events
                if envelope.idempotency_key is not None and envelope.index == 0:
                    self._check_key(fact, envelope.idempotency_key)
            lines.append(f"{position} {stream} {sequence} {envelope.chain}\n")  # as head_line would, which is slower
            if envelope.count > 1 or self.order.open is not None:
                index, count = envelope.index, envelope.count
                self._check_append(AppendRow(position, stream, sequence, envelope.command_id, index, count))
        self.head.extend([row[0] for row in rows], lines)

    def _keep_ledger(self, fact: Fact, version_id: str) -> None:
        """Fold an event that its stream's state accepted, so that its version has a ledger or gets one."""
        self.ledgers[version_id] = evolve_ledger(self.ledgers.get(version_id), fact)  # type: ignore[assignment]  # see above

    # What is unusual in a row.

    def _note_ahead(self, fact: Fact) -> None:
        if len(self.ahead) < AHEAD_MAX:
            actor = fact.envelope.actor
            self.ahead.append(AheadEvent(fact.position, fact.stream, fact.sequence, fact.event.at_us, actor))
        else:
            self.ahead_unkept, self.ahead_upto = self.ahead_unkept + 1, fact.position

    def _note_unreadable(self, row: LogRow) -> None:
        self.unreadable[row[0]] = row[1]
        for stream in streams_of(row):
            self.broken.add(stream)
            if isinstance(stream, str) and stream in self.streams:
                self.streams[stream].state = None

    def _begin_stream(self, position: int, stream: str, envelope: Envelope[Event]) -> ScannedStream:
        workspace, name = envelope.workspace, envelope.model_name
        state = ModelAggregate(stream, workspace, name) if workspace == self._workspace else None
        if state is not None:
            state.begin_folding()  # nobody else sees it
        scanned = self.streams[stream] = ScannedStream(workspace, name, state)
        scanned.first_position = position
        if stream in self.broken:
            scanned.state = None
        if stream_of(workspace, name) != stream:
            self.faults.append(
                Fault(
                    "rewritten", "stands in a stream that does not belong to its model's name", position, stream, None
                )
            )
        return scanned

    def _note(self, misfit: Misfit, fact: Fact) -> None:
        if misfit.breaks_chain:
            self.broken.add(fact.stream)
        else:
            place = (fact.position, fact.stream, fact.sequence)
            self.faults.append(Fault(misfit.kind, misfit.said, *place, alters=False))

    def _check_key(self, fact: Fact, key: str) -> None:
        """Check that the index of idempotency keys leads to the append that has the key."""
        try:
            found = self._store.find_key(fact.stream, key)
        except CorruptLogError:
            found = None
        if found is None or found[0] != fact.position:
            said = "is not found by its idempotency key"
            self.faults.append(Fault("changed", said, fact.position, fact.stream, fact.sequence, alters=False))

    def _check_append(self, row: AppendRow) -> None:
        """Check that rows recorded together stand together."""
        unfinished, orphaned = self.order.take(row)
        self.unfinished += [] if unfinished is None else [unfinished]
        self.orphaned += [] if orphaned is None else [orphaned]
