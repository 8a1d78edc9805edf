"""Group commit: threads that append to one file at the same time share a transaction, and so one sync of the disk.

The law of this room: **nobody is told of a success before the commit, and whoever gives up stands in nobody's way.**

*Why.* With `durability=commit` an append is over when the disk has synced, which takes much longer than the statement.
The writing lock would let each thread pay for a sync of its own.

*The protocol.* The first thread that comes while nobody leads becomes the *leader*; those that come while it works
queue up, each behind a lock of its own (`PendingAppend.woken`). When the leader holds the writing connection, it takes
the whole queue and runs one statement for each append in one transaction. After the commit it tells each thread what
its append came to. Then it hands the lead to the first thread that queued up meanwhile, or to nobody.

    gate free, nobody leads    -> lead: one statement, which commits by itself
    somebody leads             -> queue -> woken as done: return the position, or raise
                                        -> woken as the leader: commit for all who queued up meanwhile
                                        -> waited too long: leave the queue, and raise

A thread that is alone pays nothing for this: it commits alone, in one statement, without a transaction around it.

*Failures.* Each append is one statement, so it is all or nothing by itself: one that conflicts is told so and does not
touch the others. If the transaction fails as a whole, everybody in it is told so; what the stream then holds is for
each of them to look up, as always after a StoreError. If the leader is interrupted (Ctrl-C), the others get an error
and the lead goes on. A thread that has waited for its timeout leaves the queue, and then its append was certainly not
recorded; if it is being committed just then, it waits on, twice as long, and after that the outcome is unknown.

To change the protocol, start with `GroupCommit.append`; `test_group_commit.py` holds each of its turns.
"""

from __future__ import annotations

import collections
import sqlite3
import threading
from typing import TYPE_CHECKING

from versioning.errors import StoreError
from versioning.store.contract import AppendConflict
from versioning.store.sqlite_errors import held_up, told

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager


class PendingAppend:
    """An append that waits for a commit, and its outcome."""

    __slots__ = ("error", "insert", "is_done", "leads", "position", "woken")

    def __init__(self, insert: Callable[[sqlite3.Connection], int]) -> None:
        self.insert = insert
        self.position = 0
        self.error: BaseException | None = None
        self.is_done = False
        self.leads = False
        self.woken = threading.Lock()
        """Lock that is held until the append is done or its thread leads."""


class GroupCommit:
    """Appends of several threads, in one transaction."""

    def __init__(self, where: str, session: Callable[[], AbstractContextManager[sqlite3.Connection]]) -> None:
        """Commit through the sessions of a writer that `session` opens; `where` names the database in errors."""
        self._where = where
        self._session = session
        self._gate = threading.Lock()
        self._waiting: collections.deque[PendingAppend] = collections.deque()
        self._is_led = False

    def append(self, insert: Callable[[sqlite3.Connection], int], timeout_s: float) -> int:
        """Run one statement that inserts, and return its last position once it is committed.

        Raises:
            AppendConflict: somebody else was first; nothing was recorded.
            StoreError: anything else; whether it was recorded may not be known.
        """
        ours = PendingAppend(insert)
        with self._gate:
            ours.leads = not self._is_led
            self._is_led = True
            if not ours.leads:
                ours.woken.acquire()
                self._waiting.append(ours)
        if not ours.leads:
            self._await(ours, timeout_s)
        if not ours.is_done:
            self._lead(ours)
        if ours.error is not None:
            raise ours.error
        return ours.position

    def _await(self, ours: PendingAppend, timeout_s: float) -> None:
        """Wait until somebody has committed the append or hands the lead over."""
        try:
            if ours.woken.acquire(timeout=timeout_s):
                return
            with self._gate:
                was_waiting = ours in self._waiting
                if was_waiting:  # and so it is certainly not recorded
                    self._waiting.remove(ours)
            if not was_waiting and ours.woken.acquire(timeout=2 * timeout_s):  # it was being committed
                return
        except BaseException:
            self._leave(ours)
            raise
        self._leave(ours)
        raise held_up(self._where, timeout_s) if was_waiting else _unknown(self._where)

    def _leave(self, ours: PendingAppend) -> None:
        with self._gate:
            if ours in self._waiting:
                self._waiting.remove(ours)
        if ours.leads:
            self._hand_over()

    def _lead(self, ours: PendingAppend) -> None:
        """Commit for all who wait, and hand the lead over."""
        group = [ours]
        try:
            with self._session() as writer:
                with self._gate:
                    group += self._waiting
                    self._waiting.clear()
                if len(group) == 1:
                    ours.position = ours.insert(writer)
                else:
                    self._commit(writer, group)
        except (AppendConflict, StoreError) as error:
            for one in group:
                one.error = error if one is ours else _copied(error)
        except BaseException:
            for one in group:
                one.error = _interrupted(self._where)
            raise
        finally:
            for one in group[1:]:
                one.is_done = True
                one.woken.release()
            self._hand_over()

    def _commit(self, writer: sqlite3.Connection, group: list[PendingAppend]) -> None:
        writer.execute("BEGIN IMMEDIATE")
        for one in group:
            try:
                one.position = one.insert(writer)
            except sqlite3.Error as error:
                if not writer.in_transaction:  # SQLite rolled it back as a whole
                    raise
                one.error = told(error, self._where)
                one.error.__cause__ = error
            except Exception as error:  # noqa: BLE001 - a value of this one can't be bound: its own thread is told
                one.error = error
        writer.execute("COMMIT")

    def _hand_over(self) -> None:
        with self._gate:
            if self._waiting:
                following = self._waiting.popleft()
                following.leads = True
                following.woken.release()
            else:
                self._is_led = False


def _copied(error: AppendConflict | StoreError) -> AppendConflict | StoreError:
    """Return a copy for another thread, because raising an error changes it."""
    copy = (
        StoreError(error.sentence, hint=error.hint_text)
        if isinstance(error, StoreError)
        else AppendConflict(*error.args)
    )
    copy.__cause__ = error.__cause__
    return copy


def _unknown(where: str) -> StoreError:
    msg = f"{where} did not say in time whether it committed what another thread wrote along with this."
    return StoreError(msg, hint="It may be recorded: look first, or ask again with the same idempotency key.")


def _interrupted(where: str) -> StoreError:
    msg = f"{where} was being written to by a thread that was interrupted."
    return StoreError(msg, hint="Try again.")
