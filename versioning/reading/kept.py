"""How a kept view is read, caught up and rebuilt: the machinery behind every question across models.

The law of this room: **a kept row saves work, and is never believed beyond its position.** In the store, a view is a
row for each key (a stream, or a version), the position up to which all of its rows hold, and the link of the event
there.

**The present.** One snapshot of the database gives the kept rows, their position, and the rest of the log behind it.
The rest is folded in memory, on top of those rows that it touches; every other row is read as it is kept. So an answer
never lags, however far the view does. What was made of the rest stays in memory (`_Ahead`), and the next reading folds
only what was recorded since.

**Catching up.** When the rest has grown to a batch, the reader writes it back before it answers: the changed rows and
the new position in one transaction, which counts only if the position is still the one that was read. Nobody waits for
the writer's lock: if it is taken, or another process was faster, this reading folds the rest in memory as usual, and a
later one tries again. So any process may catch up at any time, and there is no daemon.

**Another log.** An older copy of the log may take its place while a process runs. What is in memory is dropped where
the event at its position no longer has its link. A kept view is in the same database, and usually goes back with the
log. Where it did not, since only rows of the log are gone, it stops: it holds what the log does not, and who took that
away is for a person to find out (`verify` says so too). A rebuild mends it. In the same way a view stops in
front of an event whose predecessor in its stream is not there, or is another one than the event was chained to.

**A past.** A kept row remembers its first and its last event. These tell which rows belong to a past at all, and which
hold nothing later: such a row is as it was then. Any other row is taken back, by itself if its state can tell
(`View.as_of`), or else by folding its own stream from the log. So a page of the past costs what is on it, whatever the
length of the log.

**Rebuilding** fills a second view beside the kept one and swaps the two in one transaction, so that readers never see
half of it. One at a time does so, of all threads and processes: a lease of the store says who. It ends with its holder,
so that what a killed one left is taken over at once.

**An event that can't be read or folded** stops a view in front of it. Commands go on, and so do questions about one
model of another stream; questions across models are errors, until somebody allows the views to pass over this one
event (`skip`). Who did so and why is kept.
"""

from __future__ import annotations

import bisect
import contextlib
import heapq
import itertools
import time
from typing import TYPE_CHECKING, Any, Final, Generic

import attrs
import msgspec

from versioning import laws
from versioning.errors import (
    ConcurrencyError,
    CorruptLogError,
    InvalidArgumentError,
    NewerFormatError,
    StoreError,
    VersioningError,
)
from versioning.events import EARLIEST_US, Value, moment_of
from versioning.reading.views import MODELS, PRESENT, Past, State, View, _encoder, _nothing
from versioning.store.contract import EVERY, LAST_KEY, KeptRow, Row, RowFilter, Snapshot, ViewPosition
from versioning.store.format import Envelope, Fact, is_chained, read, stored_link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from versioning.aggregate import ModelAggregate
    from versioning.events import Event
    from versioning.store.contract import LogRow, Store

BATCH_EVENTS: Final = 1_000
"""Most events in the rest of the log before it is written back."""
WRITES_TRIED_MAX: Final = 200
WRITE_PAUSE_S: Final = 0.01
"""Pause before another try to write. A view never waits for the writer's lock; the tries take up to 2 s in all."""
REBUILD: Final = "rebuild"
"""Name of the right to build a view anew."""
REBUILD_EVENTS: Final = 50_000
"""Most events that are folded and written back at once: so many that a row is seldom written twice."""
SLICE_EVENTS: Final = 1_000
"""Number of them that are decoded before they are folded."""
PAGE: Final = 1_000
"""Most kept rows that are read at once."""


@attrs.frozen
class ViewStatus(Value):
    """How far a kept view is."""

    name: str
    position: int
    """Position of the last event that the view holds."""
    behind: int
    """Number of positions by which the log is further: at least the number of events that are missing."""
    stopped_by: int | None = None
    """Position of the event that it can't pass, or None: commands work, but questions across models are errors."""
    problem: str | None = None


@attrs.frozen
class Skipped(Value):
    """An event that the views pass over, because somebody said so."""

    _MEMBERS = ("position", "skipped_at", "actor", "reason")

    position: int
    at_us: int
    """Moment at which it was skipped, in microseconds since 1970 UTC."""
    actor: str | None = None
    reason: str | None = None

    @property
    def skipped_at(self) -> datetime:
        """Moment at which it was skipped, in UTC."""
        return moment_of(self.at_us)


_SKIPPED: Final = "skipped.1"
_skipped_decoder = msgspec.msgpack.Decoder(Skipped)


def pages_of(  # noqa: PLR0917 - what view_page takes, and how long the first page is
    snapshot: Snapshot,
    name: str,
    workspace: str,
    among: RowFilter,
    after: tuple[str, str] = ("", ""),
    first: int = PAGE,
) -> Iterator[list[KeptRow]]:
    """Yield the kept rows of a workspace page by page, so that only one page is held in memory."""
    most = min(first, PAGE)
    while rows := snapshot.view_page(name, workspace, among, after, most):
        yield rows
        if len(rows) < most:
            return
        after, most = (rows[-1].model_name, rows[-1].key), min(4 * most, PAGE)


@attrs.frozen
class Reading(Generic[State]):
    """A view as of a past: the kept rows, and on top what the rest of the log made of those that it touches.

    For a past, a kept row that holds nothing later is as it was then. Any other row is taken back, by itself if its
    state can tell, or else by folding its own stream from the log. So a page costs what is on it.
    """

    view: View[State]
    snapshot: Snapshot
    past: Past
    over: dict[str, State]
    position: int
    """Position of the last event that counts."""

    def live(self, workspace: str, *, after: str = "", limit: int | None = None) -> Iterator[State]:
        """Return the live states of a workspace with a model's name after `after`, in the order of names."""
        return (self._state(one) for _, one in self._live(workspace, after, limit))

    def names(self, workspace: str, limit: int) -> list[str]:
        """Return the first names that are in use in a workspace."""
        return [name for name, _ in self._live(workspace, "", limit)]

    def within(self, workspace: str, start_us: int, end_us: int) -> Iterator[State]:
        """Return the states of a workspace, except those that ended before `start_us` or began at `end_us` or later."""
        among = self.past.among
        among = among._replace(upto_us=min(among.upto_us, end_us - 1), behind_us=start_us)
        return (self._state(one) for _, _, one in self._found(workspace, among))

    def latest_us(self, workspace: str) -> int:
        """Return the latest moment of a workspace; the earliest that there can be if it has no events."""
        found = self._found(workspace, EVERY)
        return max(
            (one.last_us if isinstance(one, KeptRow) else self.view.span(one)[3] for _, _, one in found),
            default=EARLIEST_US,
        )

    def latest_position(self, workspace: str) -> int:
        """Return the position of the last event of a workspace; 0 if there is none."""
        found = self._found(workspace, EVERY)
        return max(
            (one.last_position if isinstance(one, KeptRow) else self.view.span(one)[2] for _, _, one in found),
            default=0,
        )

    def _state(self, one: State | KeptRow) -> State:
        return self.view.read(one) if isinstance(one, KeptRow) else one

    def _live(self, workspace: str, after: str, limit: int | None) -> Iterator[tuple[str, State | KeptRow]]:
        found = self._found(workspace, self.past.among, after, PAGE if limit is None else limit)
        live = ((name, one) for name, _, one in found if isinstance(one, KeptRow) or self.view.is_live(one))
        return itertools.islice(live, limit)

    def _found(
        self, workspace: str, among: RowFilter, after: str = "", first: int = PAGE
    ) -> Iterator[tuple[str, str, State | KeptRow]]:
        """Yield kept rows that hold nothing later as they are, and states for the rest, by name and key."""
        over: list[tuple[str, str, State | KeptRow]] = []
        for key, state in self.over.items():
            space, name = self.view.name_of(state)
            if space == workspace and name > after:
                over.append((name, key, state))
        kept = self._kept(workspace, among, after, first)
        return heapq.merge(kept, sorted(over, key=_place), key=_place) if over else kept

    def _kept(
        self, workspace: str, among: RowFilter, after: str, first: int
    ) -> Iterator[tuple[str, str, State | KeptRow]]:
        past, over = self.past, self.over
        for page in pages_of(
            self.snapshot, self.view.name, workspace, among, (after, LAST_KEY if after else ""), first
        ):
            late = {
                row.key: row for row in page if row.key not in over and not past.holds(row.last_position, row.last_us)
            }
            then = self._taken_back(late) if late else {}
            for row in page:
                if row.key in late:
                    if row.key in then:
                        yield row.model_name, row.key, then[row.key]
                elif row.key not in over:
                    yield row.model_name, row.key, row

    def _taken_back(self, late: dict[str, KeptRow]) -> dict[str, State]:
        """Return states as of the past for rows that hold later events; a row that began later has none."""
        if self.view.as_of is not None:
            return {key: self.view.as_of(self.view.read(row), self.past) for key, row in late.items()}
        fold = _Fold(self.view, self.snapshot, None, self.past)
        streams, after = sorted(late), ("", 0)
        while rows := self.snapshot.tails(streams, after, REBUILD_EVENTS, self.past.position):
            fold.take_in(rows)
            after = rows[-1][1], rows[-1][2]
            streams = streams[bisect.bisect_left(streams, after[0]) :]
        return fold.over


def _place(found: tuple[str, str, object]) -> tuple[str, str]:
    return found[:2]


@attrs.frozen
class _Ahead:
    """What readings have made of the rest of the log, on top of what is kept; its states are never changed."""

    kept: ViewPosition | None
    last: int
    link: bytes
    """Link of the row at the position `last`, as its state holds it."""
    over: dict[str, Any]


class Views:
    """The views of one store."""

    def __init__(self, store: Store, *, batch_events: int = BATCH_EVENTS) -> None:
        """Answer from a store's log and kept rows."""
        self._store = store
        self._batch_events = batch_events
        self._ahead: dict[str, _Ahead] = {}
        """Result of the last reading of each view; the next one folds only what was recorded since."""

    @contextlib.contextmanager
    def reading(self, view: View[State], past: Past = PRESENT) -> Iterator[Reading[State]]:
        """Read a view as of now, of a position or of a moment, all from one snapshot."""
        end = self._store.head() if past.position is None else past.position
        if not self._store.read_only and end - self._position(view) > self._batch_events:
            # A full disk must not stop reading; an event that can't be read does below, if it counts.
            with contextlib.suppress(StoreError, CorruptLogError, NewerFormatError):
                self.catch_up(view)
        with self._store.snapshot() as snapshot:
            fold = _Fold(view, snapshot, view.name, past)
            kept, last, link, rows = self._begun(fold)
            while rows:
                fold.take_in(rows)
                last, link = rows[-1][0], stored_link(rows[-1][-1])
                rows = snapshot.log(last, REBUILD_EVENTS, past.position)
            if past == PRESENT:
                self._ahead[view.name] = _Ahead(kept, last, link, fold.over)
            yield Reading(view, snapshot, past, fold.over, last if past.position is None else past.position)

    def _begun(self, fold: _Fold[Any]) -> tuple[ViewPosition | None, int, bytes, list[LogRow]]:
        """Begin a fold with what is known, if the log still holds it.

        Return how far the kept view is, the position and the link of the last row that is known, and the next rows.
        """
        view, snapshot, past = fold.view, fold.snapshot, fold.past
        kept = snapshot.view_position(view.name)
        ahead = self._ahead.get(view.name) if past == PRESENT else None
        if ahead is not None and ahead.kept == kept:
            rows = _behind(snapshot, ahead.last, ahead.link, None)
            if rows is not None:
                fold.go_on_from(ahead.over)
                return kept, ahead.last, ahead.link, rows
        last, link = (0, b"") if kept is None else (kept.position, kept.link)
        rows = _behind(snapshot, last, link, past.position)
        if rows is None:
            raise _of_another_log(view.name, last)
        return kept, last, link, rows

    def kept_model(self, stream: str, past: Past) -> ModelAggregate | None:
        """Return the kept state of a stream if it is readable and holds nothing later; it may be of another history."""
        with contextlib.suppress(StoreError), self._store.snapshot() as snapshot:
            for row in snapshot.view_rows(MODELS.name, [stream]):
                state = MODELS.read(row)
                return state if past.holds(state.position, state.last_at_us) else None
        return None

    def _position(self, view: View[Any]) -> int:
        with self._store.snapshot() as snapshot:
            kept = snapshot.view_position(view.name)
            return 0 if kept is None else kept.position

    def catch_up(self, view: View[Any]) -> int:
        """Fold the rest of the log and write it back; return the position reached, which a busy writer may keep low."""
        position = -1
        while (reached := self._advance(view, view.name)) > position:
            position = reached
        return reached

    def _advance(self, view: View[Any], name: str) -> int:
        """Fold one batch into the view that is kept under a name; return its position afterwards.

        An event that can't be read or folded ends the batch before it; if it is the first one, it is an error.
        """
        with self._store.snapshot() as snapshot:
            kept = snapshot.view_position(name)
            position, latest_us, link = ViewPosition(0, 0) if kept is None else kept
            rows = _behind(snapshot, position, link, None)
            if rows is None:
                raise _of_another_log(view.name, position)
            if not rows:
                return position
            fold = _Fold(view, snapshot, name, PRESENT, is_private=True)
            try:
                fold.take_in(rows)
            except (CorruptLogError, NewerFormatError) as error:
                rows = [row for row in rows if error.position is not None and row[0] < error.position]
                if not rows:
                    raise
                fold = _Fold(view, snapshot, name, PRESENT, is_private=True)
                fold.take_in(rows)
        latest_us = max(latest_us, fold.latest_us)
        changed = [view.row(key, state) for key, state in fold.over.items()]
        reached, link = rows[-1][0], stored_link(rows[-1][-1])
        return reached if self._store.write_view(name, position, reached, latest_us, changed, link=link) else position

    def status(self, view: View[Any]) -> ViewStatus:
        """Return how far a view is after it has caught up as far as it can, and what stopped it.

        Where the store is only read, it stays where it is, and what would stop it is found all the same.
        """
        problem: VersioningError | None = None
        try:
            if self._store.read_only:
                with self.reading(view):  # folds the rest in memory, and finds what stops it
                    pass
            else:
                self.catch_up(view)
        except (CorruptLogError, NewerFormatError) as error:
            problem = error
        position, head = self._position(view), self._store.head()
        if problem is None:
            return ViewStatus(view.name, position, head - position)
        return ViewStatus(view.name, position, head - position, getattr(problem, "position", None), problem.sentence)

    def skip(self, skipped: Skipped) -> None:
        """Allow the views to pass over an event that they can't read or fold; keep who said so and why.

        Raises:
            InvalidArgumentError: there is no event at this position.
            StoreError: the store was busy all the time.
        """
        if skipped.position == 0 or not self._store.log(skipped.position - 1, 1, skipped.position):
            msg = f"There is no event at position {skipped.position}."
            raise InvalidArgumentError(msg, hint="{views} names the event that stops a view.", argument="position")
        place = str(skipped.position)
        row = KeptRow("", f"{place:0>19}", place, live=True, state=_encoder.encode(skipped))
        self._write(_SKIPPED, lambda count: count + 1, [row])

    def skipped(self) -> tuple[Skipped, ...]:
        """Return the events that the views pass over, in the order of their positions."""
        with self._store.snapshot() as snapshot:
            rows = snapshot.view_page(_SKIPPED, "", EVERY)
        return tuple(_skipped_decoder.decode(row.state) for row in rows)

    def _write(self, name: str, moved: Callable[[int], int], rows: list[KeptRow]) -> None:
        """Keep rows under a name, even if others write to it, too."""
        for _ in range(WRITES_TRIED_MAX):
            with self._store.snapshot() as snapshot:
                kept = snapshot.view_position(name)
            position = 0 if kept is None else kept.position
            if self._store.write_view(name, position, moved(position), 0, rows):
                return
            time.sleep(WRITE_PAUSE_S)
        msg = f"The store was too busy to keep what belongs to {name}."
        raise StoreError(msg, hint="Try again.")

    def rebuild(self, view: View[Any], progress: Callable[[str, int, int], None] | None = None) -> int:
        """Build a view anew beside the kept one, from the first event, and swap them; return the position reached.

        Raises:
            ConcurrencyError: somebody else is building a view of this store.
            CorruptLogError, NewerFormatError: an event can't be read; the kept view stays as it is.
        """
        beside, lease = f"{view.name}+rebuild", self._store.lease(REBUILD)
        if lease is None:
            msg = "The kept views of this store are being built anew by somebody else."
            raise ConcurrencyError(msg, hint="Let it finish, or try again in a moment.")
        try:
            self._store.drop_view(beside)
            idle_tries = position = 0
            while position < (head := self._store.head()):
                reached = self._advance(view, beside)
                lease.check()
                idle_tries = 0 if reached > position else idle_tries + 1
                if idle_tries == WRITES_TRIED_MAX:
                    msg = f"The store was too busy to build {view.name} anew."
                    raise StoreError(msg, hint="Try again; the kept view stays as it was.")
                if idle_tries:
                    time.sleep(WRITE_PAUSE_S)
                position = reached
                if progress is not None:
                    progress(view.name, position, head)
            self._store.swap_view(beside, view.name)
        finally:
            try:
                self._store.drop_view(beside)
            finally:
                lease.close()
        return position


def _behind(snapshot: Snapshot, position: int, link: bytes, upto: int | None) -> list[LogRow] | None:
    """Return the first rows behind a position, or None if the row there does not have this link."""
    if not position:
        return snapshot.log(0, REBUILD_EVENTS, upto)
    rows = snapshot.log(position - 1, REBUILD_EVENTS + 1, upto)
    if rows and rows[0][0] == position:
        return rows[1:] if stored_link(rows[0][-1]) == link else None
    # A past may end before the position, and so may what is settled for this snapshot.
    return [] if is_in_log(snapshot, ViewPosition(position, 0, link)) else None


def is_in_log(snapshot: Snapshot, at: ViewPosition) -> bool:
    """Return whether the log has the row up to which a view was read."""
    row = snapshot.row(at.position)
    return row is not None and stored_link(row[-1]) == at.link


def _of_another_log(name: str, position: int) -> CorruptLogError:
    msg = (
        f"The kept view {name} has seen an event at position {position} that the log does not hold: "
        "an older copy of the log took its place, or somebody changed it."
    )
    hint = "Find out who did that, and compare the log with a backup. Then {rebuild} builds the views from it again."
    return CorruptLogError(msg, hint=hint, position=position)


class _Fold(Generic[State]):
    """A fold of log rows on top of kept ones."""

    def __init__(
        self, view: View[State], snapshot: Snapshot, kept: str | None, past: Past, *, is_private: bool = False
    ) -> None:
        self.over: dict[str, State] = {}
        """States that the rows touch, by key."""
        self.latest_us = 0
        """Latest timestamp so far."""
        self._shared: set[str] = set()
        self._ends: dict[str, int] = {}
        """Last sequence of each stream that the rows touch; an event has to follow it."""
        self.view = view
        self.snapshot = snapshot
        self._kept = kept
        self.past = past
        self._fact = Fact()
        self._own = view.own if is_private else _nothing
        """Marks a state as private, if nobody but this fold will see it: it is written, and then forgotten."""

    def go_on_from(self, over: dict[str, State]) -> None:
        """Begin with states that others read, too; those that change are copied first."""
        self.over, self._shared = dict(over), set(over)

    def take_in(self, rows: list[LogRow]) -> None:
        """Fold rows on top of the kept states.

        Raises:
            CorruptLogError, NewerFormatError: an event can't be read, or does not follow, and nobody skipped it.
        """
        for start in range(0, len(rows), SLICE_EVENTS):
            self._take_in(self._touching(rows[start : start + SLICE_EVENTS]))

    def _touching(self, rows: list[LogRow]) -> list[tuple[str, int, str, Envelope[Event]]]:
        """Return the events that count: the key of the state that each touches, its position, stream and content."""
        fact, key_of, past, touching = self._fact, self.view.key, self.past, []
        ends, before = self._ends, self._before(rows)
        for row in rows:
            end, ends[row[1]] = ends.get(row[1], 0), row[2]
            try:
                envelope = read(*row)
                if row[2] - 1 != end:
                    self._check_joint(row, before.get(row[1]))
            except (CorruptLogError, NewerFormatError):
                if not self._is_skipped(row[0]):
                    raise
                continue
            fact.position, fact.stream, fact.envelope, fact.event = row[0], row[1], envelope, envelope.payload
            at_us = fact.event.at_us
            self.latest_us = max(self.latest_us, at_us)
            key = key_of(fact)
            if key is not None and (past is PRESENT or past.holds(row[0], at_us)):
                touching.append((key, row[0], row[1], envelope))
        return touching

    def _before(self, rows: list[LogRow]) -> dict[str, LogRow]:
        """Return, for each stream that is new to this fold, the row of the log right before its first one here."""
        first: dict[str, int] = {}
        for _, stream, sequence, *_ in rows:
            if stream not in self._ends:
                first.setdefault(stream, sequence)
        spans = {
            stream: (sequence - 2, sequence - 1)
            for stream, sequence in first.items()
            if type(stream) is str and type(sequence) is int and sequence > 1  # SQLite holds what somebody put there
        }
        return {row[1]: row for row in self.snapshot.ranges(spans)} if spans else {}

    def _check_joint(self, row: LogRow, before: LogRow | None) -> None:
        """Check that a row is chained to the one right before it in its stream, unless that one is passed over.

        Raises:
            CorruptLogError: it is chained to another one, or there is none.
        """
        position, stream, sequence, *_ = row
        if before is None or before[2] != sequence - 1:
            raise laws.missing(sequence - 1, stream, position)
        if not (is_chained(Row(*row[1:]), stored_link(before[-1])) or self._is_skipped(before[0])):
            raise laws.unchained(sequence, stream, position)

    def _take_in(self, touching: list[tuple[str, int, str, Envelope[Event]]]) -> None:
        view, over, fact = self.view, self.over, self._fact
        keys = dict.fromkeys(key for key, *_ in touching)
        if self._kept is not None:
            missing = [key for key in keys if key not in over]
            for row in self.snapshot.view_rows(self._kept, missing):
                over[row.key] = view.read(row)
                self._own(over[row.key])
        self._make_own(keys)
        evolve = view.evolve
        for key, fact.position, fact.stream, envelope in touching:
            fact.envelope, fact.event = envelope, envelope.payload
            before = over.get(key)
            try:
                state = evolve(before, fact)
            except laws.UNFOLDABLE as error:
                if self._is_skipped(fact.position):
                    continue
                raise laws.unfoldable(fact.position) from error
            if state is not None and state is not before:
                over[key] = state
                self._own(state)

    def _make_own(self, keys: Iterable[str]) -> None:
        for key in self._shared.intersection(keys):
            self.over[key] = self.view.copy(self.over[key])
            self._shared.remove(key)

    def _is_skipped(self, position: int) -> bool:
        return bool(self.snapshot.view_rows(_SKIPPED, [str(position)]))
