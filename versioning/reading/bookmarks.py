"""Where to go on reading: whether a log still has the event behind which somebody wants to read.

The law of this room: **a place is believed by its link.** A position alone says nothing of what was read there: a
backup may have been restored, a server that lagged may have been promoted, and others may have recorded something else
since.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from versioning.errors import ConcurrencyError, LogRewoundError
from versioning.ids import Bookmark
from versioning.store.format import decode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from versioning.store.contract import LogRow, Store


def check_place(store: Store, place: Bookmark, end: int) -> None:
    """Check that a log has a place, where it ends at a position.

    Raises:
        LogRewoundError: the place lies behind the end, or its event is another one.
        ConcurrencyError: it lies behind what a standby has reached.
        CorruptLogError, NewerFormatError: the event there can't be read.
    """
    if place.position > end:
        if store.lags and place.position > (reached := store.head()):
            raise lagging(place.position, reached)
        raise rewound(place.position, end)
    if place.link and not _has(store, place):
        raise rewound(place.position)


def follows(rows: Sequence[LogRow], place: Bookmark) -> bool:
    """Return whether rows begin with the event of a place.

    Raises:
        CorruptLogError, NewerFormatError: the event there can't be read.
    """
    return bool(rows) and rows[0][0] == place.position and decode(*rows[0]).chain.startswith(place.link)


class LogMarks:
    """What a store tells of its log to the folder of contents: which log it is, and how far it has come."""

    def __init__(self, store: Store) -> None:
        """Tell of the log in a store."""
        self._store = store

    def ids(self) -> list[str]:
        """Return the ids of the store: its own first."""
        return self._store.ids()

    def add_id(self, new: str) -> None:
        """Add an id to those of the store."""
        self._store.add_id(new)

    def last(self) -> Bookmark:
        """Return the place of the last event; a log without events has position 0."""
        rows = self._store.log(max(0, self._store.head() - 1), 1)
        return Bookmark(rows[0][0], decode(*rows[0]).chain[:32]) if rows else Bookmark(0)

    def has(self, place: Bookmark) -> bool:
        """Return whether the log has the event of a place, or the place is before all events."""
        return not place.position or _has(self._store, place)


def _has(store: Store, place: Bookmark) -> bool:
    return follows(store.log(place.position - 1, 1, place.position), place)


def last_common(store: Store, read: Sequence[Bookmark]) -> int | None:
    """Return the last of the places that a log still has, None where it has none of them; oldest first.

    A log that was restored has a beginning in common with what was read, so the places are halved.
    """
    lost = bisect_left(read, x=True, key=lambda place: not _has(store, place))
    return read[lost - 1].position if lost else None


def lagging(position: int, reached: int) -> ConcurrencyError:
    """Return the error for a position that a standby has not reached."""
    msg = f"This copy of the log has reached position {reached}, and not {position} yet."
    return ConcurrencyError(msg, rule="R25", hint="Try again in a moment, or ask the primary server.")


def rewound(position: int, end: int | None = None, common: int | None = None) -> LogRewoundError:
    """Return the error for a place that the log does not have.

    Args:
        position: the position behind which it should be read.
        end: the position at which the log ends, if that is before.
        common: the last position that is known to be common.
    """
    msg = f"The event at position {position} of the log is not the one that was read there."
    if end is not None:
        msg = f"The log ends at position {end}, so nothing can be read behind position {position}."
    return LogRewoundError(msg, position=position, last_common=common)
