"""Does a follower miss an event, or keep one that is gone, when an older copy of the log takes its place beneath it?

Three processes write all the time, and some of what they append rolls back. Again and again a copy is made, they write
on, and the copy takes over. On SQLite a backup is restored into the file. On PostgreSQL the rows behind it are deleted;
sometimes their positions are given again, and then all sessions end, as when a standby is promoted, or none does.

One follower runs all the time; another begins again behind its bookmark now and then. Both do what a user does: keep
what they get, and on a `LogRewoundError` forget what lies behind the last position in common, and go on from there. In
the end each has to hold exactly the log.
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from tests.faults import followers
from tests.faults.arena import Arena, Ledger, Report, dice_of, plant
from tests.faults.failing_calls import schema_of
from versioning import LogRewoundError
from versioning.reading import bookmarks, follower

if TYPE_CHECKING:
    import random

    from versioning import Follower, ModelRegistry, Recorded

WRITERS: Final = 3
WITHOUT_END: Final = 1_000_000_000
PAUSE_S_MAX: Final = 0.05
"""Longest time that the writers have before a copy takes over, and after it."""
CATCH_UP_S: Final = 60.0
MISTAKEN_S: Final = 1.0
"""How long a follower with a planted bug has to catch up: it may wait for ever."""
POLL_S: Final = 0.005
NAMED: Final = f"rewound-{secrets.token_hex(4)}"
"""Name of the sessions that are ended."""
BUGS: Final = ("believes a position",)


class Reader:
    """Somebody who keeps what a follower gave."""

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry
        self._kept: list[tuple[int, str]] = []
        """Positions and bookmarks."""
        self._follower: Follower | None = None
        self.told = 0
        """How often it was told that the log is another one."""
        self.wrong: list[str] = []
        self.is_over = False

    def _begun(self) -> Follower:
        """Begin behind the last event that is kept."""
        self._follower = self._registry.follow(self._kept[-1][1] if self._kept else 0, POLL_S)
        return self._follower

    def read_to(self, position: int) -> None:
        """Read up to a position that has an event, in a log that stands still or grows."""
        while not self._read(position):
            """It was told that the log is another one, so it begins again."""

    def _read(self, upto: int | None) -> bool:
        """Begin again, and read; return whether it came to its end."""
        try:
            with self._begun() as found:
                while not self.is_over and (upto is None or found.position < upto):
                    self._keep(next(found))
        except LogRewoundError as error:
            self._forget(error)
            return False
        except StopIteration:
            """It was closed."""
        return True

    def run(self) -> None:
        """Read until it is over, in a thread."""
        try:
            while not self.is_over:
                self._read(None)
        except Exception as error:  # noqa: BLE001 - a finding, whatever it is
            self.wrong.append(f"a follower ended by {error!r}")

    def end(self) -> None:
        """Let the thread come to an end."""
        self.is_over = True
        if self._follower is not None:
            self._follower.close()

    def _keep(self, recorded: Recorded) -> None:
        self._kept.append((recorded.position, recorded.bookmark))

    def _forget(self, error: LogRewoundError) -> None:
        self.told += 1
        common = error.last_common or 0
        while self._kept and self._kept[-1][0] > common:
            self._kept.pop()

    def has_reached(self, end: tuple[int, str]) -> bool:
        """Say whether the last event that it has is the last of the log."""
        return self._kept[-1:] == [end]

    def judged(self, who: str, log: list[tuple[int, str]]) -> list[str]:
        """Say what is wrong with what it has."""
        wrong = list(self.wrong)
        missed, gone = set(log) - set(self._kept), set(self._kept) - set(log)
        if missed:
            wrong.append(f"the follower that {who} missed {len(missed)} events, the first at position {min(missed)[0]}")
        if gone:
            wrong.append(f"the follower that {who} keeps {len(gone)} events that are gone, the first at {min(gone)[0]}")
        if not wrong and self._kept != log:
            wrong.append(f"the follower that {who} got an event twice, or in another order")
        return wrong


# The copies.


class File:
    """Copies of a SQLite file, restored into it beneath everybody."""

    def __init__(self, arena: Arena, registry: ModelRegistry) -> None:
        self._registry = registry
        self._file = arena.file
        self._copy = arena.folder / "copy.db"

    def take(self) -> None:
        self._copy.unlink(missing_ok=True)
        self._registry.backup(self._copy)

    def restore(self, *, again: bool) -> None:  # noqa: ARG002 - a file knows no other way
        with (
            contextlib.closing(sqlite3.connect(self._copy)) as copy,
            contextlib.closing(sqlite3.connect(self._file, timeout=CATCH_UP_S)) as file,
        ):
            copy.backup(file)


class Server:
    """A place in the log of a PostgreSQL server, behind which all is deleted."""

    def __init__(self, arena: Arena, connection: Any) -> None:  # noqa: ANN401 - of psycopg
        self._connection = connection
        self._schema = schema_of(arena.url)
        self._position = 0

    def take(self) -> None:
        ((self._position,),) = self._connection.execute(
            f"SELECT coalesce(max(position),0) FROM {self._schema}.stored_events"
        ).fetchall()

    def restore(self, *, again: bool) -> None:
        """Delete what lies behind it; `again`: give these positions again, and now and then end all other sessions."""
        table = f"{self._schema}.stored_events"
        with self._connection.transaction():
            self._connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            self._connection.execute(f"DELETE FROM {table} WHERE position>{self._position}")
            if again and self._position:
                self._connection.execute(f"SELECT setval('{self._schema}.stored_positions',{self._position})")
            if again and self._position % 2:
                self._connection.execute(
                    "SELECT pg_terminate_backend(pid,5000) FROM pg_stat_activity "
                    f"WHERE application_name='{NAMED}' AND pid<>pg_backend_pid()"
                )


# The campaign.


def run(rounds: int, seed: int, store: str, bug: str | None = None) -> Report:
    """Let a copy take over so many times."""
    ledger = Ledger("rewound followers", store, seed, bug)
    options = (
        {"durability": "checkpoint", "timeout_s": 60}
        if store == "sqlite"
        else {"connections": 3, "application_name": NAMED}
    )
    follows = bookmarks.follows
    try:
        if bug is not None:
            for room in (bookmarks, follower):
                plant(room, follows=lambda *_: True)
        with Arena(store, options, in_memory=True) as arena, contextlib.ExitStack() as opened:
            registry = arena.open()
            copies: File | Server = File(arena, registry)
            if store == "postgresql":
                copies = Server(arena, opened.enter_context(arena.server.connect()))
                arena.server.admin(followers.TROUBLE.format(s=schema_of(arena.url)))
            readers = _beneath(arena, copies, rounds, dice_of(seed, "copies"))
            _judge(registry, readers, ledger, CATCH_UP_S if bug is None else MISTAKEN_S)
            ledger.count("copies that took over", rounds)
    finally:
        for room in (bookmarks, follower):
            plant(room, follows=follows)
    return ledger.report(rounds)


def _beneath(
    arena: Arena, copies: File | Server, rounds: int, dice: random.Random
) -> tuple[Reader, Reader, threading.Thread]:
    """Let copies take over beneath those who write and read; give those who read, when nobody writes any more."""
    children = [arena.start(followers.write, dice.randrange(2**32), each, WITHOUT_END) for each in range(WRITERS)]
    for child in children:
        child.hear()
        child.tell("go")
    registry = arena.open()
    runs, stops = Reader(arena.open()), Reader(registry)
    thread = threading.Thread(target=runs.run, daemon=True)
    thread.start()
    for _ in range(rounds):
        time.sleep(dice.uniform(0, PAUSE_S_MAX))
        copies.take()
        time.sleep(dice.uniform(0, PAUSE_S_MAX))
        if dice.random() < 0.5:
            stops.read_to(registry.position())
        copies.restore(again=dice.random() < 0.5)
    for child in children:
        child.kill()
    arena.end_children()
    return runs, stops, thread


def _judge(
    registry: ModelRegistry, readers: tuple[Reader, Reader, threading.Thread], ledger: Ledger, catch_up_s: float
) -> None:
    """Let both read to the end, and compare what they have with the log."""
    runs, stops, thread = readers
    log = [(one.position, one.bookmark) for one in registry.history()]
    stops.read_to(log[-1][0])
    deadline = time.monotonic() + catch_up_s
    while not runs.has_reached(log[-1]) and not runs.wrong and time.monotonic() < deadline:
        time.sleep(POLL_S)
    runs.end()
    thread.join(CATCH_UP_S)
    ledger.count("events in the end", len(log))
    ledger.count("times that a follower was told", runs.told + stops.told)
    ledger.find(*runs.judged("ran", log), *stops.judged("began again", log))
