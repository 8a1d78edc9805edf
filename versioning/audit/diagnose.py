"""What was done to a stream whose chain does not hold, and where.

The law of this room: **a row belongs where its link says.** A link covers the link before it, the stream, the sequence
and the topic, so contents that stand elsewhere still prove their own place. What can't be proven either way is named
after the least that must have been done, and the rows that nothing is left to check against are told apart.

Each stream is walked from its first event. At each place: the row that fits there; or contents that fit there and stand
elsewhere (swapped, or the row's own columns were changed); or the row is a copy (doubled), holds something else
(changed, unreadable), or is not there (missing). Rows that were numbered anew around one that was put in or taken out
fit again from there on, shifted by as many.
"""

from __future__ import annotations

import contextlib
import re
from bisect import bisect_right
from collections import Counter
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias, TypeGuard

import attrs

from versioning.errors import CorruptLogError, NewerFormatError
from versioning.events import EVENTS
from versioning.store.contract import INTEGER_MAX
from versioning.store.format import NO_LINK, body_of, computed_link, link_of, read

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from versioning.store.contract import LogRow

Kind: TypeAlias = Literal["changed", "swapped", "missing", "doubled", "truncated", "rewritten", "unreadable", "view"]

STRAYS_MAX: Final = 300
"""How many rows that do not fit where they stand are looked through for contents that belong elsewhere."""
SHIFT_MAX: Final = 100
"""How many events in a row may have been taken out, and the rest numbered anew, so that this is told as such."""
RUN_MAX: Final = 100
"""How many missing events in a row are told one by one."""
SEARCHES_MAX: Final = 1_000
"""How many rows that do not fit are looked into further, in all streams; of more, each is only told."""
_RANKS: Final[tuple[Kind, ...]] = ("swapped", "doubled", "changed", "unreadable", "missing")
"""Which of several explanations of one row counts: the one that explains most."""
_STREAM: Final = re.compile(r"[0-9a-f]{32}")


_NAMED: Final = re.compile(rb'"(?:ver|act|mdl)_([0-9a-f]{32})_')


def is_stream(value: object) -> TypeGuard[str]:
    """Say whether a value is a text of the form of a stream."""
    return type(value) is str and _STREAM.fullmatch(value) is not None


class Fault(NamedTuple):
    """Something that is wrong with a row, or that a row is not there."""

    kind: Kind
    said: str
    position: int | None
    stream: str | None
    sequence: int | None
    alters: bool = True
    """Whether the head is another one by it: not where position, stream, sequence and link are what they were."""


class Diagnosis(NamedTuple):
    """What was found in the streams that do not hold."""

    faults: list[Fault]
    unproven: list[int]
    """Positions of rows that may be as they were, but what they would be checked against is lost."""
    gaps_told: set[int]
    """Positions without a row, where a missing event was."""


@attrs.define(eq=False)
class Piece:
    """A row as it was found, of whatever types."""

    position: int
    stream: Any
    sequence: Any
    topic: Any
    link: bytes | None
    """The one that it carries."""
    body: bytes | None
    problem: str | None
    """Why it can't be read, if so."""
    used: bool = False
    """Whether it is known where its contents belong."""

    @property
    def moved(self) -> Kind:
        """What to call it where one of its columns was changed, and its contents still tell their place."""
        return "changed" if self.has_place and self.topic in EVENTS else "unreadable"

    @property
    def has_place(self) -> bool:
        """Whether its columns name a place that an event can have."""
        return is_stream(self.stream) and type(self.sequence) is int and 1 <= self.sequence <= INTEGER_MAX

    def fits(self, link: bytes | None, stream: str, number: int, *, any_topic: bool = False) -> bool:
        """Say whether these contents were recorded as an event of a stream, behind a link."""
        if link is None or self.body is None or self.link is None:
            return False
        topics = EVENTS if any_topic else (self.topic,) if type(self.topic) is str else ()
        return any(computed_link(link, stream, number, topic, self.body) == self.link for topic in topics)


def streams_of(row: LogRow) -> set[object]:
    """Give the stream that a row says it is of, and those that its contents name."""
    _, stream, _, _, state = row
    named = _NAMED.findall(state) if type(state) is bytes else []
    return {stream, *(one.decode() for one in named)}


def piece_of(row: LogRow) -> Piece:
    """Take a row apart as far as it goes."""
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
    return Piece(position, stream, sequence, topic, link, body, None if problem is None else str(problem))


def diagnose(rows: Iterable[LogRow], gaps: Iterable[range]) -> Diagnosis:
    """Say what was done to streams.

    Args:
        rows: all rows of the streams that do not hold, and all that can't be read, in the order of their positions.
        gaps: the positions without a row.
    """
    pieces: list[Piece] = []
    streams: dict[str, list[Piece]] = {}
    for row in rows:
        pieces.append(piece_of(row))
        for stream in streams_of(row):
            if is_stream(stream):
                streams.setdefault(stream, [])
    for piece in pieces:
        if piece.has_place:
            streams[piece.stream].append(piece)
    strays = [piece for piece in pieces if not piece.has_place]
    for stream, held in streams.items():
        strays += _strays(stream, held)
    strays.sort(key=lambda piece: piece.position)
    budget = Budget(SEARCHES_MAX)
    walks = [Walk(stream, held, strays[:STRAYS_MAX], budget) for stream, held in streams.items()]
    walks.sort(key=lambda walk: not walk.is_known)  # of the others, it may be that only a column was changed
    for walk in walks:
        walk.go()
    faults = [fault for walk in walks for fault in walk.faults]
    faults += [
        Fault("unreadable", f"can't be read: {piece.problem}", piece.position, None, None)
        for piece in pieces
        if not piece.has_place and not piece.used
    ]
    missing, told = _located([lost for walk in walks for lost in walk.lost], gaps)
    return Diagnosis(_foremost(faults) + missing, sorted({one for walk in walks for one in walk.unproven}), told)


def _strays(stream: str, held: list[Piece]) -> Iterable[Piece]:
    """Give the rows of a stream that do not fit behind the row before them."""
    carried = {piece.sequence: piece.link for piece in held} | {0: NO_LINK}
    return [piece for piece in held if not piece.fits(carried.get(piece.sequence - 1), stream, piece.sequence)]


def _foremost(faults: list[Fault]) -> list[Fault]:
    """Keep one fault a position."""
    kept: dict[int | None, Fault] = {}
    for fault in sorted(faults, key=lambda one: _RANKS.index(one.kind)):
        kept.setdefault(fault.position, fault)
    return list(kept.values())


class Lost(NamedTuple):
    """Events of a stream that are nowhere."""

    stream: str
    numbers: range
    behind: int
    """Position of the row of the stream that stands before them."""
    before: int
    """Position of the one behind them."""


def _located(losses: list[Lost], gaps: Iterable[range]) -> tuple[list[Fault], set[int]]:
    """Say where the missing events were: in the gaps between the rows around them, in order."""
    free = sorted(gaps, key=lambda gap: gap.start)
    told: set[int] = set()
    faults: list[Fault] = []
    for lost in sorted(losses, key=lambda one: one.before):
        open_places = (place for place in _between(free, lost.behind, lost.before) if place not in told)
        places = list(islice(open_places, len(lost.numbers)))
        told.update(places)
        if len(lost.numbers) > RUN_MAX:
            said = f"and those up to event {lost.numbers[-1]} are not there"
            faults.append(Fault("missing", said, places[0] if places else lost.before, lost.stream, lost.numbers[0]))
            continue
        for number, place in zip_longest(lost.numbers, places):
            said = "is not there: it stood before this row" if place is None else "is not there"
            faults.append(Fault("missing", said, lost.before if place is None else place, lost.stream, number))
    return faults, told


def _between(gaps: list[range], behind: int, before: int) -> Iterator[int]:
    """Give the positions in gaps that lie between two rows."""
    for gap in gaps[bisect_right(gaps, behind, key=lambda gap: gap.stop - 1) :]:
        if gap.start >= before:
            return
        yield from gap


@attrs.define
class Budget:
    """How many searches there may still be."""

    left: int


class Walk:
    """One stream, from its first event to its last."""

    def __init__(self, stream: str, held: Sequence[Piece], strays: Sequence[Piece], budget: Budget) -> None:
        """Start before the first event."""
        self._budget = budget
        self.faults: list[Fault] = []
        self.lost: list[Lost] = []
        self.unproven: list[int] = []
        self._stream = stream
        self._strays = strays
        self.is_known = not held or any(piece.problem is None for piece in held)
        """Whether there is such a stream: else a column may have been changed, and nothing is missing before it."""
        self._labels: dict[int, list[Piece]] = {}
        for piece in held:
            self._labels.setdefault(piece.sequence, []).append(piece)
        self._copies = Counter(piece.link for piece in held)
        self._link: bytes | None = NO_LINK
        """Of the event before; None where it is lost."""
        self._shift = 0
        """How much greater the number of an event is than the sequence that its row carries."""
        self._put_in: set[int] = set()
        """Sequences of rows that were put in, and are told already."""
        self._places: list[tuple[int, int]] = []
        """The number and the position of each event, in the order of the numbers."""

    def go(self) -> None:
        """Walk to the last row whose place is not known yet, and on to contents that stand elsewhere."""
        order = sorted(self._labels)
        end, behind = len(order), 0
        for index, label in enumerate(order):
            while end > index and all(piece.used for piece in self._labels[order[end - 1]]):
                end -= 1
            if end == index:
                break
            self._cross(range(behind + 1, label), self._labels[label][0].position)
            if label not in self._put_in:
                self._step(label)
            behind = label
        while (stray := self._stray(behind + 1 + self._shift)) is not None:
            behind += 1
            if behind in self._labels:
                self._swap(behind + self._shift, self._labels[behind][0], stray)
            else:
                self._move(behind + self._shift, stray)
        self._check_order()

    def _tell(self, kind: Kind, said: str, piece: Piece, *, alters: bool = True) -> None:
        self.faults.append(Fault(kind, said, piece.position, self._stream, piece.sequence, alters))

    def _stand(self, number: int, piece: Piece) -> None:
        """Take a row for an event."""
        piece.used = True
        self._link = piece.link
        self._places.append((number, piece.position))

    def _lose(self, numbers: range, before: int) -> None:
        self.lost.append(Lost(self._stream, numbers, self._places[-1][1] if self._places else 0, before))

    def _stray(self, number: int) -> Piece | None:
        """Find contents that were recorded as this event, wherever they stand."""
        if self._link is None or self._budget.left == 0:
            return None
        self._budget.left -= 1
        unused = (piece for piece in self._strays if not piece.used)
        return next((one for one in unused if one.fits(self._link, self._stream, number, any_topic=True)), None)

    def _cross(self, hole: range, before: int) -> None:
        """Pass sequences that no row carries."""
        for label in hole:
            number = label + self._shift
            stray = self._stray(number)
            if stray is None:
                if self.is_known:
                    self._lose(range(number, hole.stop + self._shift), before)
                self._link = None
                return
            self._move(number, stray)

    def _move(self, number: int, stray: Piece) -> None:
        """Take contents for an event that no row stands for; their row says another place."""
        self._tell(stray.moved, f"is by its link event {number} of the stream {self._stream}", stray)
        self._stand(number, stray)

    def _swap(self, number: int, here: Piece, stray: Piece) -> None:
        """Take contents for an event whose row holds others."""
        self._tell("swapped", f"holds other contents: its own stand at position {stray.position}", here)
        stray.used = True
        self._link = stray.link
        self._places.append((number, here.position))

    def _step(self, label: int) -> None:
        """Come to a sequence that a row carries, or several."""
        held, number = self._labels[label], label + self._shift
        unused = [piece for piece in held if not piece.used]
        fit = next((piece for piece in unused if piece.fits(self._link, self._stream, number)), None)
        if fit is not None:
            self._stand(number, fit)
            if fit.problem is not None:
                self._tell("unreadable", f"can't be read: {fit.problem}", fit, alters=False)
        elif unused and self._is_put_in(label, number, unused[0]):
            return
        elif (stray := self._stray(number)) is not None:
            fit = next((piece for piece in held if piece is stray), held[0])
            if fit is stray:
                self._tell(stray.moved, "has another topic than its link was made of", stray, alters=False)
                self._stand(number, stray)
            else:
                self._swap(number, fit, stray)
        elif unused:
            fit = unused[0]
            self._judge(label, number, fit)
        else:
            self._tell("changed", "holds the contents of another row, and its own are lost", held[0])
            self._link = None
        for other in unused:
            if other is not fit and not other.used:
                other.used = True
                self._tell("doubled", "stands for an event that another row stands for", other)

    def _following(self, label: int) -> Piece | None:
        """Give a row that carries a sequence, where it is not known to belong elsewhere."""
        return next((piece for piece in self._labels.get(label, ()) if not piece.used), None)

    def _judge(self, label: int, number: int, here: Piece) -> None:
        """Say what was done to a row that does not fit, and whose own contents are nowhere else."""
        if self._link is None:
            self._accept(number, here)
        elif here.link is not None and self._copies[here.link] > 1:
            self._tell("doubled", "holds what another row of the stream holds", here)
            self._stand(number, here)
            self._link = None
        else:
            self._compare(number, here, self._following(label + 1))

    def _accept(self, number: int, here: Piece) -> None:
        """Go on from a row that nothing is left to check against."""
        if here.problem is None:
            self.unproven.append(here.position)
        else:
            self._tell("unreadable", f"can't be read: {here.problem}", here)
        self._stand(number, here)

    def _is_put_in(self, label: int, number: int, here: Piece) -> bool:
        """Look whether rows from here on were put in, and those behind them numbered anew."""
        before = here
        for count in range(1, 1 + min(SHIFT_MAX, self._budget.left)):
            following = self._following(label + count)
            if following is None:
                return False
            if following.fits(self._link, self._stream, number):
                if here.fits(following.link if before is here else before.link, self._stream, number + count):
                    return False  # the two have changed places
                self._put_in.update(range(label, label + count))
                for one in range(label, label + count):
                    for piece in self._labels[one]:
                        kind: Kind = "doubled" if self._copies[piece.link] > 1 else "changed"
                        self._tell(kind, "is no event of the stream: it was put in", piece)
                        piece.used = True
                self._shift -= count
                return True
            if following.fits(before.link, self._stream, number + count):
                return False  # the rows from there on are where they were
            before = following
        return False

    def _compare(self, number: int, here: Piece, following: Piece | None) -> None:
        """Tell what was changed by what the row behind was chained to."""
        kind: Kind = "changed" if here.problem is None else "unreadable"
        said = "is not what its link was made of" if here.problem is None else f"can't be read: {here.problem}"
        own = None
        if here.body is not None and type(here.topic) is str and self._link is not None:
            own = computed_link(self._link, self._stream, number, here.topic, here.body)
        if following is None or following.fits(here.link, self._stream, number + 1):
            self._tell(kind, said, here, alters=following is None)
            self._stand(number, here)
        elif following.fits(own, self._stream, number + 1):
            self._tell("changed", "has another link than it had", here)
            self._stand(number, here)
            self._link = own
        elif (count := self._taken_out(number, here, following)) > 0:
            self._lose(range(number, number + count), here.position)
            self._shift += count
            self._stand(number + count, here)
        else:
            hedge = "" if here.problem else ", or the row before it was given a new link"
            self._tell(kind, said + hedge, here)
            self._stand(number, here)
            self._link = here.link if here.problem is None else None

    def _taken_out(self, number: int, here: Piece, following: Piece) -> int:
        """Say how many events before this row were taken out, and the rest numbered anew; 0 where they were not."""
        counts = range(1, SHIFT_MAX + 1)
        return next((one for one in counts if following.fits(here.link, self._stream, number + 1 + one)), 0)

    def _check_order(self) -> None:
        """See that the events of the stream stand in the log in their order."""
        in_order = sorted(position for _, position in self._places)
        for (number, position), place in zip(self._places, in_order, strict=True):
            if position != place:
                self.faults.append(Fault("swapped", "stands out of order", position, self._stream, number))
