"""How followers of a PostgreSQL store wait: one connection listens for all of them.

The law of this room: **a notification is a hint**, which can be lost or late. So the listener also looks by itself, and
nothing is missed if it hears nothing.

Whoever waits first takes the turn and listens for all; the others look whether its count of news has grown. Writers
notify at most every 20 ms, so after a notification the listener is *hot* for a while: it reports news at each look, as
what followed within those milliseconds was not notified again. When nothing was heard for long, it reads the position
of the last row now and then. An error is reported as news: the follower then asks the store itself, and gets the error.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from versioning.errors import StoreError
from versioning.processes import inherited_by, look
from versioning.store import recorder

if TYPE_CHECKING:
    from versioning.store.postgres_connections import Pool
    from versioning.store.postgres_libpq import Connection

HOT_S: Final = 0.1
"""Time after a notification in which the listener looks by itself, for what writers did not notify again."""
POLL_S: Final = 0.01
"""Pause between two looks of a hot listener, and of those for whom another one listens."""
LOOK_S: Final = 0.5
"""Pause between two looks at the log itself, because a notification can be lost."""
SLICE_S: Final = 0.05
"""Longest time until a waiter notices that it was closed."""


class Listener:
    """The one connection of a store that listens, for all who wait."""

    def __init__(self, pool: Pool, channel: str) -> None:
        self.pool = pool
        self.heard = 0
        """Number of times that something may have been recorded, as far as is known."""
        self.waiters: set[Waiter] = set()
        self._channel = channel
        self.begin_in_child()
        self._hot_until_s = 0.0
        """End of the hot time, 0 if there was no notification lately."""
        self._looked_s = 0.0
        self._newest = 0
        inherited_by(self)

    def begin_in_child(self) -> None:
        """Begin without a connection; that of a parent is dropped with all others of its pool."""
        self._turn = threading.Lock()
        self._connection: Connection | None = None

    def listen(self, timeout_s: float) -> bool:
        """Listen for a while, unless somebody else does, and return whether that was done."""
        look()
        if not self._turn.acquire(blocking=False):
            return False
        try:
            if self._has_news(timeout_s):
                self.heard += 1
        except StoreError:
            self._hang_up()
            time.sleep(min(SLICE_S, timeout_s))
            self.heard += 1
        finally:
            self._turn.release()
            self.hang_up_if_unused()
        return True

    def _has_news(self, timeout_s: float) -> bool:
        if self._connection is None:
            self._connection = self.pool.connect(patient=False)
            self._connection.run(f"LISTEN {self._channel}")
            self._hot_until_s = time.monotonic() + HOT_S
            return True  # whatever was recorded and told before went unheard
        now_s = time.monotonic()
        if self._hot_until_s:
            if self._connection.heard(min(POLL_S, timeout_s)):
                self._hot_until_s = now_s + HOT_S
            elif now_s > self._hot_until_s:
                self._hot_until_s = 0.0
            return True
        if now_s > self._looked_s + LOOK_S:
            self._looked_s = now_s
            seen, ((self._newest,),) = self._newest, self._connection.ask("head")
            return self._newest != seen
        if self._connection.heard(timeout_s):
            self._hot_until_s = time.monotonic() + HOT_S
            return True
        return False

    def hang_up_if_unused(self) -> None:
        """Close the connection when nobody waits any more."""
        look()
        if not self.waiters and self._turn.acquire(blocking=False):
            self._hang_up()
            self._turn.release()

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.finish()


class Waiter(recorder.Waiter):
    """A waiter that waits for the listener, and listens itself while nobody else does."""

    def __init__(self, listener: Listener) -> None:
        """Start: the first `wait` notices what is recorded from here on."""
        super().__init__()
        self._listener = listener
        self._seen = listener.heard
        listener.waiters.add(self)

    def look(self) -> bool:
        self._listener.pool.check()
        heard = self._listener.heard
        if heard == self._seen:
            return False
        self._seen = heard
        return True

    def pause(self, left_s: float) -> None:
        if not self._listener.listen(min(SLICE_S, left_s)):
            time.sleep(min(POLL_S, left_s))

    def close(self) -> None:
        super().close()
        self._listener.waiters.discard(self)
        self._listener.hang_up_if_unused()
