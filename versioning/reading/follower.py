"""Events as they come: none missed, none twice.

The law of this room: **a follower never passes over an event.** Its place is the position of the last event that it
looked at, and an event that it can't read stays in front of it.
"""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Final, Self

from versioning.store.format import decode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from versioning.events import Recorded
    from versioning.store.contract import LogRow, Store, Waiter

FOLLOWED_EVENTS: Final = 1_000
"""Most events that a follower reads at once."""


class Follower:
    """An endless iterator over the events of a workspace, oldest first."""

    def __init__(self, store: Store, workspace: str, after: int, poll_s: float) -> None:
        """Start after a position; without a signal of the store, look again after `poll_s` seconds."""
        self.position = after
        """Position of the last event that was looked at; another follower can continue from there."""
        self._workspace = workspace
        self._store = store
        self._waiter: Waiter = store.waiter()
        self._poll_s = poll_s
        self._rows: collections.deque[LogRow] = collections.deque()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Recorded]:
        return self

    def __next__(self) -> Recorded:
        """Wait for the next event; after `close`, there is none."""
        while not self._closed:
            while self._rows:
                recorded = decode(*self._rows[0])  # a row that can't be read stays, and what lies before it has come
                self._rows.popleft()
                self.position = recorded.position
                if recorded.workspace == self._workspace:
                    return recorded
            self._rows.extend(self._store.log(self.position, FOLLOWED_EVENTS))
            if not self._rows:
                self._waiter.wait(self._poll_s)
        raise StopIteration

    def close(self) -> None:
        """End the iteration; it may be called from another thread."""
        self._closed = True
        self._waiter.close()
