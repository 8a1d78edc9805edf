"""What was done to a stream whose chain is broken, and where.

The law of this room: **a row belongs where its link says.** A link covers the link before it, the stream, the sequence
and the topic, so contents that were moved still prove their own place. What can't be proven either way is reported as
the least that must have been done, and rows that have nothing left to be checked against are listed apart.

How a diagnosis goes:

*Strays first.* Of all rows of the broken streams, those that do not fit behind the row before them are strays: their
contents may belong somewhere else. Up to `STRAYS_MAX` of them are searched wherever an event is looked for.

*A walk through each stream*, from its first event, number by number. A *number* is the true place of an event in its
stream, a *label* the sequence that a row carries. `_shift` is the number minus the label: other than 0 after rows that
were inserted or removed, where everything behind them was numbered anew. `_link` is the link of the event before, or
None where it is lost. At each number:

1. No row carries the label (`_pass_hole`): a stray fits there, so its row was moved; or events are missing.
2. A row fits behind the link (`_place`): it is the event.
3. The row behind it fits in its place (`_is_inserted`): it was inserted, and the rest numbered anew.
4. A stray fits there: contents were swapped, or a column of the very row was changed (`_swap`).
5. Nothing fits (`_report_misfit`): the row is a copy (doubled), or holds something else (changed, unreadable). What the
   next row was chained to tells which: the row's contents were changed, or only its link, or events before it were
   removed and the rest numbered anew (`_report_changed`, `_count_removed`).

Further rows with the same label are doubled. Streams with no readable row come last: of those, perhaps a column was
changed and there never was such a stream.

*After the walks*, missing events are placed into the gaps between the rows around them, one fault a position is kept,
and events whose positions are not in the order of their numbers were swapped.

Searches are bounded by `SEARCHES_MAX` in all streams, so that a log in which every row was changed is reported in time.
"""

from __future__ import annotations

import contextlib
import re
from bisect import bisect_right
from collections import Counter
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

import attrs

from versioning.aggregate import NO_LINK
from versioning.errors import CorruptLogError, NewerFormatError
from versioning.events import EVENTS
from versioning.ids import is_stream
from versioning.limits import INTEGER_MAX
from versioning.store.format import body_of, computed_link, link_of, read

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from versioning.store.contract import LogRow

Kind: TypeAlias = Literal[
    "changed", "swapped", "missing", "doubled", "truncated", "rewritten", "unreadable", "view", "ahead"
]

STRAYS_MAX: Final = 300
"""Number of rows that do not fit where they stand and are searched for contents that belong elsewhere."""
SHIFT_MAX: Final = 100
"""Number of neighbouring events that may be removed, and the rest numbered anew, and still be recognized as that."""
RUN_MAX: Final = 100
"""Number of neighbouring missing events that are reported one by one."""
SEARCHES_MAX: Final = 1_000
"""Number of searches for where contents belong, in all streams together; beyond it, rows are only reported."""
_RANKS: Final[tuple[Kind, ...]] = ("swapped", "doubled", "changed", "unreadable", "missing")
"""Which of several faults at one position is kept: the one that explains most."""
_NAMED: Final = re.compile(rb'"(?:ver|act|mdl)_([0-9a-f]{32})_')


class Fault(NamedTuple):
    """Something that is wrong with a row, or a row that is missing."""

    kind: Kind
    said: str
    position: int | None
    stream: str | None
    sequence: int | None
    alters: bool = True
    """Whether it changes the head: not where position, stream, sequence and link are what they were."""


class Diagnosis(NamedTuple):
    """What was found in broken streams."""

    faults: list[Fault]
    unproven: list[int]
    """Positions of rows that may be intact, but have lost what they would be checked against."""
    gaps_reported: set[int]
    """Positions without a row that are reported as missing events."""


@attrs.define(eq=False)
class FoundRow:
    """A row as it was found, with columns of any type."""

    position: int
    stream: Any
    sequence: Any
    topic: Any
    link: bytes | None
    """Link that the row carries; None where it has none."""
    body: bytes | None
    problem: str | None
    """Why it can't be read; None where it can."""
    used: bool = False
    """Whether it is known where its contents belong."""

    @property
    def moved(self) -> Kind:
        """Kind of fault where a column was changed and the contents still prove their place."""
        return "changed" if self.has_place and self.topic in EVENTS else "unreadable"

    @property
    def has_place(self) -> bool:
        """Whether its columns name a place that an event can have."""
        return is_stream(self.stream) and type(self.sequence) is int and 1 <= self.sequence <= INTEGER_MAX

    def fits(self, link: bytes | None, stream: str, number: int, *, any_topic: bool = False) -> bool:
        """Return whether these contents were recorded as an event of a stream, behind a link."""
        if link is None or self.body is None or self.link is None:
            return False
        topics = EVENTS if any_topic else (self.topic,) if type(self.topic) is str else ()
        return any(computed_link(link, stream, number, topic, self.body) == self.link for topic in topics)


def streams_of(row: LogRow) -> set[object]:
    """Return the stream that a row is said to belong to, and those that its contents name."""
    _, stream, _, _, state = row
    named = _NAMED.findall(state) if type(state) is bytes else []
    return {stream, *(one.decode() for one in named)}


def found_row(row: LogRow) -> FoundRow:
    """Decode a row as far as possible."""
    position, stream, sequence, topic, state = row
    problem = None
    try:
        read(*row)
    except (CorruptLogError, NewerFormatError) as error:
        problem = error.facts.get("reason") or error.sentence
    link: bytes | None = None
    body: bytes | None = None
    with contextlib.suppress(AttributeError, TypeError, ValueError):
        link, body = link_of(state), body_of(state)
    if link is None or len(link) != len(NO_LINK):
        link = body = None
    return FoundRow(position, stream, sequence, topic, link, body, None if problem is None else str(problem))


def diagnose(rows: Iterable[LogRow], gaps: Iterable[range]) -> Diagnosis:
    """Return what was done to broken streams.

    Args:
        rows: all rows of the broken streams, and all that can't be read, in the order of their positions.
        gaps: positions without a row.
    """
    rows_found: list[FoundRow] = []
    streams: dict[str, list[FoundRow]] = {}
    for row in rows:
        rows_found.append(found_row(row))
        for stream in streams_of(row):
            if is_stream(stream):
                streams.setdefault(stream, [])
    for found in rows_found:
        if found.has_place:
            streams[found.stream].append(found)
    strays = [found for found in rows_found if not found.has_place]
    for stream, held in streams.items():
        strays += _strays(stream, held)
    strays.sort(key=lambda found: found.position)
    budget = Budget(SEARCHES_MAX)
    walks = [StreamWalk(stream, held, strays[:STRAYS_MAX], budget) for stream, held in streams.items()]
    walks.sort(key=lambda walk: not walk.is_known)  # of the others, it may be that only a column was changed
    for walk in walks:
        walk.go()
    faults = [fault for walk in walks for fault in walk.faults]
    faults += [
        Fault("unreadable", f"can't be read: {found.problem}", found.position, None, None)
        for found in rows_found
        if not found.has_place and not found.used
    ]
    missing, reported = _located([lost for walk in walks for lost in walk.lost], gaps)
    return Diagnosis(_foremost(faults) + missing, sorted({one for walk in walks for one in walk.unproven}), reported)


def _strays(stream: str, held: list[FoundRow]) -> Iterable[FoundRow]:
    """Return the rows of a stream that do not fit behind the row before them."""
    carried = {found.sequence: found.link for found in held} | {0: NO_LINK}
    return [found for found in held if not found.fits(carried.get(found.sequence - 1), stream, found.sequence)]


def _foremost(faults: list[Fault]) -> list[Fault]:
    """Return one fault for each position."""
    kept: dict[int | None, Fault] = {}
    for fault in sorted(faults, key=lambda one: _RANKS.index(one.kind)):
        kept.setdefault(fault.position, fault)
    return list(kept.values())


class LostEvents(NamedTuple):
    """Events of a stream that were not found anywhere."""

    stream: str
    numbers: range
    behind: int
    """Position of the row of the stream before them."""
    before: int
    """Position of the row of the stream after them."""


def _located(losses: list[LostEvents], gaps: Iterable[range]) -> tuple[list[Fault], set[int]]:
    """Place missing events in the gaps between the rows around them, in order."""
    free = sorted(gaps, key=lambda gap: gap.start)
    reported: set[int] = set()
    faults: list[Fault] = []
    for lost in sorted(losses, key=lambda one: one.before):
        open_places = (place for place in _between(free, lost.behind, lost.before) if place not in reported)
        places = list(islice(open_places, len(lost.numbers)))
        reported.update(places)
        if len(lost.numbers) > RUN_MAX:
            said = f"and all up to event {lost.numbers[-1]} are missing"
            faults.append(Fault("missing", said, places[0] if places else lost.before, lost.stream, lost.numbers[0]))
            continue
        for number, place in zip_longest(lost.numbers, places):
            said = "is missing: it stood before this row" if place is None else "is missing"
            faults.append(Fault("missing", said, lost.before if place is None else place, lost.stream, number))
    return faults, reported


def _between(gaps: list[range], behind: int, before: int) -> Iterator[int]:
    """Yield the positions in gaps that lie between two rows."""
    for gap in gaps[bisect_right(gaps, behind, key=lambda gap: gap.stop - 1) :]:
        if gap.start >= before:
            return
        yield from gap


@attrs.define
class Budget:
    """Searches that are left, shared by all walks."""

    left: int


class StreamWalk:
    """The walk through one stream, from its first event to its last."""

    def __init__(self, stream: str, held: Sequence[FoundRow], strays: Sequence[FoundRow], budget: Budget) -> None:
        """Start before the first event."""
        self._budget = budget
        self.faults: list[Fault] = []
        self.lost: list[LostEvents] = []
        self.unproven: list[int] = []
        self._stream = stream
        self._strays = strays
        self.is_known = not held or any(found.problem is None for found in held)
        """Whether there is such a stream; else a column may have been changed, and nothing is missing before it."""
        self._labels: dict[int, list[FoundRow]] = {}
        """Rows by label."""
        for found in held:
            self._labels.setdefault(found.sequence, []).append(found)
        self._copies = Counter(found.link for found in held)
        """Number of rows that carry each link."""
        self._link: bytes | None = NO_LINK
        """Link of the event before; None where it is lost."""
        self._shift = 0
        """Number of an event minus the label of its row."""
        self._inserted: set[int] = set()
        """Labels of rows that were inserted and are reported already."""
        self._places: list[tuple[int, int]] = []
        """Number and position of each event, in the order of the numbers."""

    def go(self) -> None:
        """Walk to the last row whose place is not known yet, and on to contents that stand elsewhere."""
        order = sorted(self._labels)
        end, behind = len(order), 0
        for index, label in enumerate(order):
            while end > index and all(found.used for found in self._labels[order[end - 1]]):
                end -= 1
            if end == index:
                break
            self._pass_hole(range(behind + 1, label), self._labels[label][0].position)
            if label not in self._inserted:
                self._step(label)
            behind = label
        while (stray := self._stray(behind + 1 + self._shift)) is not None:
            behind += 1
            if behind in self._labels:
                self._swap(behind + self._shift, self._labels[behind][0], stray)
            else:
                self._move(behind + self._shift, stray)
        self._check_order()

    def _add(self, kind: Kind, said: str, found: FoundRow, *, alters: bool = True) -> None:
        self.faults.append(Fault(kind, said, found.position, self._stream, found.sequence, alters))

    def _place(self, number: int, found: FoundRow) -> None:
        """Accept a row as an event."""
        found.used = True
        self._link = found.link
        self._places.append((number, found.position))

    def _lose(self, numbers: range, before: int) -> None:
        self.lost.append(LostEvents(self._stream, numbers, self._places[-1][1] if self._places else 0, before))

    def _stray(self, number: int) -> FoundRow | None:
        """Return the stray whose contents were recorded as this event, if there is one."""
        if self._link is None or self._budget.left == 0:
            return None
        self._budget.left -= 1
        unused = (found for found in self._strays if not found.used)
        return next((one for one in unused if one.fits(self._link, self._stream, number, any_topic=True)), None)

    def _pass_hole(self, hole: range, before: int) -> None:
        """Pass over labels that no row carries."""
        for label in hole:
            number = label + self._shift
            stray = self._stray(number)
            if stray is None:
                if self.is_known:
                    self._lose(range(number, hole.stop + self._shift), before)
                self._link = None
                return
            self._move(number, stray)

    def _move(self, number: int, stray: FoundRow) -> None:
        """Accept contents as an event that no row stands for; their row names another place."""
        self._add(stray.moved, f"belongs, by its link, at event {number} of the stream {self._stream}", stray)
        self._place(number, stray)

    def _swap(self, number: int, here: FoundRow, stray: FoundRow) -> None:
        """Accept contents as an event whose row holds others."""
        self._add("swapped", f"holds other contents; its own are at position {stray.position}", here)
        stray.used = True
        self._link = stray.link
        self._places.append((number, here.position))

    def _step(self, label: int) -> None:
        """Decide which row is the event at a label that one row carries, or several."""
        held, number = self._labels[label], label + self._shift
        unused = [found for found in held if not found.used]
        fit = next((found for found in unused if found.fits(self._link, self._stream, number)), None)
        if fit is not None:
            self._place(number, fit)
            if fit.problem is not None:
                self._add("unreadable", f"can't be read: {fit.problem}", fit, alters=False)
        elif unused and self._is_inserted(label, number, unused[0]):
            return
        elif (stray := self._stray(number)) is not None:
            fit = next((found for found in held if found is stray), held[0])
            if fit is stray:
                self._add(stray.moved, "has a topic that its link was not made from", stray, alters=False)
                self._place(number, stray)
            else:
                self._swap(number, fit, stray)
        elif unused:
            fit = unused[0]
            self._report_misfit(label, number, fit)
        else:
            self._add("changed", "holds the contents of another row, and its own are lost", held[0])
            self._link = None
        for other in unused:
            if other is not fit and not other.used:
                other.used = True
                self._add("doubled", "repeats an event that another row stands for", other)

    def _following(self, label: int) -> FoundRow | None:
        """Return a row that carries a label, if it is not known to belong elsewhere."""
        return next((found for found in self._labels.get(label, ()) if not found.used), None)

    def _report_misfit(self, label: int, number: int, here: FoundRow) -> None:
        """Report what was done to a row that does not fit and whose own contents are nowhere else."""
        if self._link is None:
            self._accept_unproven(number, here)
        elif here.link is not None and self._copies[here.link] > 1:
            self._add("doubled", "holds the contents of another row of its stream", here)
            self._place(number, here)
            self._link = None
        else:
            self._report_changed(number, here, self._following(label + 1))

    def _accept_unproven(self, number: int, here: FoundRow) -> None:
        """Go on from a row that has nothing left to be checked against."""
        if here.problem is None:
            self.unproven.append(here.position)
        else:
            self._add("unreadable", f"can't be read: {here.problem}", here)
        self._place(number, here)

    def _is_inserted(self, label: int, number: int, here: FoundRow) -> bool:
        """Report rows that were inserted here, with those behind them numbered anew; return whether there are any."""
        before = here
        for count in range(1, 1 + min(SHIFT_MAX, self._budget.left)):
            following = self._following(label + count)
            if following is None:
                return False
            if following.fits(self._link, self._stream, number):
                if here.fits(following.link if before is here else before.link, self._stream, number + count):
                    return False  # the two have changed places
                self._inserted.update(range(label, label + count))
                for one in range(label, label + count):
                    for found in self._labels[one]:
                        kind: Kind = "doubled" if self._copies[found.link] > 1 else "changed"
                        self._add(kind, "is no event of the stream: it was inserted", found)
                        found.used = True
                self._shift -= count
                return True
            if following.fits(before.link, self._stream, number + count):
                return False  # the rows from there on are where they were
            before = following
        return False

    def _report_changed(self, number: int, here: FoundRow, following: FoundRow | None) -> None:
        """Report what was changed, judging by what the row behind was chained to."""
        kind: Kind = "changed" if here.problem is None else "unreadable"
        said = "is not what its link was made from" if here.problem is None else f"can't be read: {here.problem}"
        own = None
        if here.body is not None and type(here.topic) is str and self._link is not None:
            own = computed_link(self._link, self._stream, number, here.topic, here.body)
        if following is None or following.fits(here.link, self._stream, number + 1):
            self._add(kind, said, here, alters=following is None)
            self._place(number, here)
        elif following.fits(own, self._stream, number + 1):
            self._add("changed", "has another link than it was recorded with", here)
            self._place(number, here)
            self._link = own
        elif (count := self._count_removed(number, here, following)) > 0:
            self._lose(range(number, number + count), here.position)
            self._shift += count
            self._place(number + count, here)
        else:
            hedge = "" if here.problem else ", or the row before it was given a new link"
            self._add(kind, said + hedge, here)
            self._place(number, here)
            self._link = here.link if here.problem is None else None

    def _count_removed(self, number: int, here: FoundRow, following: FoundRow) -> int:
        """Return how many events before this row were removed, with the rest numbered anew; 0 where none were."""
        counts = range(1, SHIFT_MAX + 1)
        return next((one for one in counts if following.fits(here.link, self._stream, number + 1 + one)), 0)

    def _check_order(self) -> None:
        """Report events of the stream that do not stand in the log in their order."""
        in_order = sorted(position for _, position in self._places)
        for (number, position), place in zip(self._places, in_order, strict=True):
            if position != place:
                self.faults.append(Fault("swapped", "stands out of order", position, self._stream, number))
