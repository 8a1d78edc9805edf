"""Events as they come: none missed, none twice.

The law of this room: **a follower never passes over an event.** Its place is the position of the last event that it
looked at, and an event that it can't read stays in front of it. Each time it reads, the first row has to be that very
event, by its link: a log that was restored to an older copy is noticed, however far it has grown since.
"""

from __future__ import annotations

import collections
import contextlib
from typing import TYPE_CHECKING, Final, Self

from versioning.errors import CorruptLogError, NewerFormatError
from versioning.ids import Bookmark, bookmark_of
from versioning.reading.bookmarks import check_place, follows, last_common, rewound
from versioning.store.format import decode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from versioning.errors import LogRewoundError
    from versioning.events import Recorded
    from versioning.store.contract import LogRow, Store, Waiter

FOLLOWED_EVENTS: Final = 1_000
"""Most events that a follower reads at once."""
REMEMBERED_EVENTS: Final = 1_000
"""Number of events whose places a follower remembers, to find what a log that was restored has in common with them."""


class Follower:
    """An endless iterator over the events of a workspace, oldest first."""

    def __init__(self, store: Store, workspace: str, after: Bookmark, poll_s: float) -> None:
        """Start after a place; without a signal of the store, look again after `poll_s` seconds.

        Raises:
            LogRewoundError: the log does not have this place.
        """
        self.position = after.position
        """Position of the last event that was looked at."""
        self._workspace = workspace
        self._store = store
        self._waiter: Waiter = store.waiter()
        self._poll_s = poll_s
        self._rows: collections.deque[LogRow] = collections.deque()
        self._read: collections.deque[Bookmark] = collections.deque(maxlen=REMEMBERED_EVENTS)
        self._closed = False
        if after.position:
            check_place(store, after, store.head())
            self._remember(after)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Recorded]:
        return self

    def __next__(self) -> Recorded:
        """Wait for the next event; after `close`, there is none.

        Raises:
            LogRewoundError: the log no longer has the last event that was looked at; each further call says so again.
        """
        while not self._closed:
            while self._rows:
                recorded = decode(*self._rows[0])  # a row that can't be read stays, and what lies before it has come
                self._rows.popleft()
                self.position = recorded.position
                self._read.append(Bookmark(recorded.position, recorded.chain))
                if recorded.workspace == self._workspace:
                    return recorded
            self._rows.extend(self._next_rows())
            if not self._rows:
                self._waiter.wait(self._poll_s)
        raise StopIteration

    @property
    def bookmark(self) -> str | None:
        """Place of the last event that was looked at, from which another follower can go on; None before the first."""
        return bookmark_of(*self._read[-1]) if self._read else None

    def close(self) -> None:
        """End the iteration; it may be called from another thread."""
        self._closed = True
        self._waiter.close()

    def _remember(self, after: Bookmark) -> None:
        """Remember the event at the place where this begins; a bare position may have none, in a gap of PostgreSQL.

        One that can't be read is not remembered: whoever goes on behind it does so on purpose.
        """
        with contextlib.suppress(CorruptLogError, NewerFormatError):
            for row in self._store.log(after.position - 1, 1, after.position):
                self._read.append(Bookmark(after.position, decode(*row).chain))

    def _next_rows(self) -> list[LogRow]:
        """Read on behind the last event that was looked at, which has to be there."""
        if not self._read:
            rows = self._store.log(self.position, FOLLOWED_EVENTS)
            if not rows and self.position and self._store.head() < self.position:
                raise self._rewound()
            return rows
        rows = self._store.log(self.position - 1, FOLLOWED_EVENTS + 1)
        if not follows(rows, self._read[-1]):
            raise self._rewound()
        return rows[1:]

    def _rewound(self) -> LogRewoundError:
        end = self._store.head()
        common = last_common(self._store, self._read)
        return rewound(self.position, end if end < self.position else None, common)
