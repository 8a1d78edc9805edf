"""Gaps in the positions of a PostgreSQL log: which of them will be filled, and which never.

The law of this room: **no reader passes over a position that can still become visible.**

*Why there are gaps.* A position is drawn from a sequence when a row is inserted, and the row becomes visible when its
transaction commits. Transactions commit in any order, so a reader may see position 8 before position 7. A transaction
that rolls back never shows its position at all. A follower that took 7 for rolled back, and went on behind 8, would
miss an event for ever.

*Telling the two apart.* Whoever inserts holds the writers' advisory lock, shared with the other writers, from before
the position is drawn until the transaction is over. So a position that is missing while nobody holds the lock was
rolled back. The statement `settle` looks at the rows first and at the holders of the lock afterwards: whoever could
fill a gap that those rows show drew its position before, and so either is a holder or was over when the holders were
looked at. It answers in one of two ways:

    (position, None)      no position is missing up to there, or there is nothing new: all of it is settled
    (position, holders)   some are missing, and only these transactions can fill them (an empty text: nobody can)

*Waiting.* A reader waits for exactly the transactions that it was told of (`_await_writers`). Those that began later
draw positions behind what it saw. It queues for no lock, so no writer ever waits for a reader; it asks again, at first
after half a millisecond. An append that is not over after `lock_timeout_s` is a StoreError which names the processes.
When all are over, what is still missing was rolled back.

*Remembering.* `Pool.settled` is the position up to which this was found out, so old gaps are not looked at again. It
goes back to 0 with every new connection, which may lead to another server than before. Where an older copy of the log
was restored, positions are given again, and old ones say nothing about gaps. So it is believed only where the row at
that position is still the one that was seen there, by its link.

*Reading.* `log` reads first. Where as many rows came as there are positions, nothing is missing and nothing else is
asked, which is so nearly always. Only otherwise it settles, and reads again up to the settled position. Rows that were
picked by anything but their position can't show gaps: settle on the whole log first.

*A snapshot* must see everything up to the position that it hands out. It settles inside its own transaction; if
somebody could still fill a gap, that row would not be seen by this transaction even after it came. So the transaction
is given up, the writers are waited for, and another one begins, which stops at the settled position.

*A standby* sees the rows of the primary server in the order of their commits, and none of its locks. So nobody can tell
there whether a gap will be filled, and answers stop before the first one. What a kept view has read was settled on the
primary server, in a transaction that came after all those rows: up to there, gaps count as settled on the standby too.
An append that was rolled back therefore holds a standby up until some view is written back on the primary server.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, Final, cast

from versioning.errors import StoreError
from versioning.limits import INTEGER_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from versioning.store.contract import LogRow
    from versioning.store.postgres_connections import Pool
    from versioning.store.postgres_libpq import Connection

PAUSE_S_MAX: Final = 0.02
"""Longest pause of a reader between two looks at the writers that it waits for."""
LINK_BYTES: Final = 80
"""Length of the beginning of a state that has its link."""
COUNTED_MAX: Final = 1_000
"""Most rows that are counted to see that none is missing; if there are more, the writers are looked at instead."""


class Gaps:
    """The settled part of one log, and how it grows."""

    def __init__(self, pool: Pool, where: str) -> None:
        """Begin with nothing settled; `where` names the database in errors."""
        self._pool = pool
        self._where = where

    def settle(self, connection: Connection) -> int:
        """Return the last position below which no transaction can still commit.

        Raises:
            StoreError: a transaction that appends takes too long.
        """
        if connection.is_standby:
            return self._settle_standby(connection)
        pool = self._pool
        ((position, holders, link, _),) = connection.ask("settle", pool.settled, COUNTED_MAX, pool.settled_link)
        if holders:
            self._await_writers(connection, set(holders.split(",")))
        pool.settled, pool.settled_link = position, link
        return cast("int", position)

    def _settle_standby(self, connection: Connection) -> int:
        ((position,),) = connection.ask("settle_standby", self._pool.settled)
        self._pool.settled, self._pool.settled_link = position, b""  # what a row says of gaps is no matter there
        return cast("int", position)

    def _await_writers(self, connection: Connection, writers: set[str]) -> None:
        """Wait until these transactions are over; those that began later do not matter."""
        timeout_s = self._pool.settings.lock_timeout_s
        deadline = time.monotonic() + timeout_s
        pause_s = 0.000_5
        while writers:
            if time.monotonic() > deadline:
                msg = f"{self._where} has an append that is not over after {timeout_s:g} s."
                hint = f"Look at pg_stat_activity for the processes {', '.join(sorted(writers))} (pid/transaction)."
                raise StoreError(msg, hint=hint)
            time.sleep(pause_s)
            pause_s = min(PAUSE_S_MAX, pause_s * 2)
            ((holders,),) = connection.ask("holders")
            writers &= set(holders.split(","))

    def log(self, connection: Connection, after: int, upto: int, limit: int) -> list[Any]:
        """Read the log, without passing over a row that may still come."""
        settled = self._pool.settled
        rows = connection.ask("log", after, upto, limit)
        end = rows[-1][0] if rows else after
        is_open = settled < upto < INTEGER_MAX and len(rows) < limit  # more may come, up to a place that is given
        start = max(after, settled)
        behind = bisect_right(rows, start, key=lambda row: row[0])
        if not is_open and len(rows) - behind == max(0, end - start):
            if len(rows) == end - after:
                if after <= settled < end and self._is_there(rows[:behind]):
                    self._pool.settled, self._pool.settled_link = end, rows[-1][4][:LINK_BYTES]
                return rows
            if self._is_there(rows[:behind]) or self._is_there(connection.ask("log", settled - 1, settled, 1)):
                return rows
        return connection.ask("log", after, min(upto, self.settle(connection)), limit)

    def _is_there(self, rows: Sequence[LogRow]) -> bool:
        """Return whether rows end with the one up to which all was settled, or nothing was settled yet."""
        pool = self._pool
        if not pool.settled:
            return True
        return bool(rows) and rows[-1][0] == pool.settled and rows[-1][4][:LINK_BYTES] == pool.settled_link

    def begin_snapshot(self, connection: Connection) -> int:
        """Begin a transaction that stands still, and return the position up to which it sees everything."""
        pool = self._pool
        if connection.is_standby:
            connection.begin_snapshot(pool.settled, COUNTED_MAX, pool.settled_link)
            return self._settle_standby(connection)
        position, holders, link = connection.begin_snapshot(pool.settled, COUNTED_MAX, pool.settled_link)
        if holders is None:
            pool.settled, pool.settled_link = position, link
            return position
        connection.run("ROLLBACK")  # what is missing may be there by now, and would not be seen
        settled = self.settle(connection)
        connection.begin_snapshot(settled, COUNTED_MAX, pool.settled_link)
        return settled
