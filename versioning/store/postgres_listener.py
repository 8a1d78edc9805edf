"""What a follower of a PostgreSQL store waits with: one connection that listens, for all who wait.

The law of this room: **a notification is a hint**, which can be lost or late; so the listener also looks by itself, and
nothing is missed where it hears nothing.
"""

from __future__ import annotations

import threading
import time
from typing import Final

from versioning.errors import StoreError
from versioning.store.postgres_connections import FORKABLES, Connection, Pool

HOT_S: Final = 0.1
"""How long a listener looks by itself after a notification: for what the writers did not notify again."""
POLL_S: Final = 0.01
LOOK_S: Final = 0.5
"""How often a listener looks whatever it hears, because a notification can be lost."""
SLICE_S: Final = 0.05
"""How long a waiter takes at most to see that it was closed."""


class Listener:
    """The one connection of a store that listens, for all who wait: whoever waits first listens for the others too."""

    def __init__(self, pool: Pool, channel: str) -> None:
        self.pool = pool
        self.heard = 0
        """How often something may have been recorded, as far as is known."""
        self.waiters: set[Waiter] = set()
        self._channel = channel
        self._turn = threading.Lock()
        self._connection: Connection | None = None
        self._hot_until_s = 0.0
        """0 when there was no notification lately."""
        self._looked_s = 0.0
        self._newest = 0
        FORKABLES.add(self)

    def after_fork_in_child(self) -> None:
        """Begin anew: the connection is the parent's."""
        if self._connection is not None:
            self._connection.abandon()
        self._turn, self._connection = threading.Lock(), None

    def listen(self, timeout_s: float) -> bool:
        """Listen for a while, unless somebody else does; say whether it was done."""
        if not self._turn.acquire(blocking=False):
            return False
        try:
            if self._has_news(timeout_s):
                self.heard += 1
        except StoreError:
            self._hang_up()
            time.sleep(min(SLICE_S, timeout_s))
            self.heard += 1  # who waits looks for himself then, and is told what is wrong
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
            seen, ((self._newest,),) = self._newest, self._connection.ask("newest")
            return self._newest != seen
        if self._connection.heard(timeout_s):
            self._hot_until_s = time.monotonic() + HOT_S
            return True
        return False

    def hang_up_if_unused(self) -> None:
        """Close the connection when nobody waits any more."""
        if not self.waiters and self._turn.acquire(blocking=False):
            self._hang_up()
            self._turn.release()

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.finish()


class Waiter:
    """Waits until something may have been recorded, by whomever."""

    def __init__(self, listener: Listener) -> None:
        """Begin now: what is recorded from here on is noticed by the first `wait`."""
        self._listener = listener
        self._seen = listener.heard
        self._closed = threading.Event()
        listener.waiters.add(self)

    def wait(self, timeout_s: float) -> bool:
        """Say whether something may have been recorded since the last call; wait for it at most so long."""
        listener = self._listener
        deadline = time.monotonic() + timeout_s
        while not self._closed.is_set():
            listener.pool.check()
            if listener.heard != self._seen:
                self._seen = listener.heard
                return True
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                break
            if not listener.listen(min(SLICE_S, left_s)):
                self._closed.wait(min(POLL_S, left_s))
        return False

    def close(self) -> None:
        """End the waiting, also from another thread."""
        self._closed.set()
        self._listener.waiters.discard(self)
        self._listener.hang_up_if_unused()
