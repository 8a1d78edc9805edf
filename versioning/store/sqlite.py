"""The SQLite store: one file, or one memory, that holds the log and the kept views.

The law of this room: **every statement that writes is atomic and waits for a bounded time only**; what goes wrong is a
StoreError with a sentence and a hint.

The position of an event is the column `rowid`, a real one: dumps and VACUUM keep it. Rows are never deleted, so
positions are contiguous. Kept views have tables of their own; what is in them can always be built anew. Statements
stand in `sql/sqlite.sql`, connections and forks in `sqlite_connections.py`, appends of several threads in
`group_commit.py`.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import re
import sqlite3
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, cast

from versioning.errors import shown
from versioning.processes import look
from versioning.store import recorder
from versioning.store.contract import Row, StoreWarning
from versioning.store.file_lease import FileLease
from versioning.store.recorder import Recorder, WouldWaitError, read_only, snapshot_ended
from versioning.store.sqlite_connections import (
    SQL,
    Connections,
    FileConnections,
    MemoryConnections,
    WriterSession,
    fetch,
)
from versioning.store.sqlite_errors import BUSY, forked, primary_code, store_error
from versioning.store.sqlite_reading import ReadingConnections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from versioning.store.contract import KeptRow, Lease
    from versioning.store.sqlite_connections import Durability

TIMEOUT_S: Final = 5.0
WAL_RESET_MENDED: Final = (3, 51, 3)
"""First SQLite that loses no commit of another connection when it resets the write-ahead log."""
POLL_S: Final = 0.005
"""Pause between two looks of a waiter. A look takes 3 µs."""
PAGES_AT_ONCE: Final = 1_000
"""Most pages of one step of a copy: 4 MB, a few milliseconds."""
ROWS_AT_ONCE: Final = 100
"""Most rows of one statement. They have six values each, of the 999 that the oldest SQLite takes."""

_APPEND: Final = SQL["append"]

_warned: Final[set[Path | None]] = set()
"""Files of which a warning was logged: one, since it is about all of them."""


class Waiter(recorder.Waiter):
    """A waiter that asks SQLite for its count of commits."""

    def __init__(self, version: Callable[[], object]) -> None:
        """Start: the first `wait` notices what is recorded from here on."""
        super().__init__()
        self._version = version
        self._seen = version()

    def look(self) -> bool:
        version = self._version()
        if version == self._seen:
            return False
        self._seen = version
        return True

    def pause(self, left_s: float) -> None:
        time.sleep(min(POLL_S, left_s))


class Snapshot(recorder.Snapshot):
    """A transaction that reads, on a connection of its own. A memory stands still meanwhile, except for this thread."""

    def __init__(self, connections: Connections, *, begins: bool) -> None:
        """Prepare; entering takes a connection, and begins a transaction on it if `begins`."""
        super().__init__()
        self._connections = connections
        self._begins = begins
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        self._connection = connection = self._connections.take_reader()
        try:
            if self._begins:  # it is the first question that takes the snapshot
                fetch(connection, self._connections.where, "BEGIN", ())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        look()
        connection, self._connection = self._connection, None
        self._connections.give_reader(cast("sqlite3.Connection", connection))

    def ask(self, name: str, *values: object) -> list[Any]:
        connection, connections = self._connection, self._connections
        if connection is None:
            raise snapshot_ended(connections.where)
        if not connections.has(connection):
            raise forked(connections.where)
        rows = fetch(connection, connections.where, SQL[name], values)
        connections.check(connection)
        return rows

    def texts(self, texts: Sequence[str]) -> object:
        return json.dumps(texts)

    def spans(self, spans: Mapping[str, tuple[int, int]]) -> Sequence[object]:
        return (json.dumps(spans),)

    def copy_to(self, file: Path, progress: Callable[[str, int, int], None] | None) -> None:
        """Write the database, as it is in this snapshot, to an empty file.

        It is written page by page. Each step ends soon, so Ctrl-C is heard; and the snapshot keeps what others write
        from making the copy begin again.
        """
        self.ask("head")  # the first question takes the snapshot

        def tell(_: int, left: int, pages: int) -> None:
            if progress is not None:
                progress("backup", pages - left, pages)

        try:
            with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True)) as copy:
                copy.execute("PRAGMA journal_mode=OFF")  # a copy that is not whole is thrown away
                copy.execute("PRAGMA synchronous=OFF")
                cast("sqlite3.Connection", self._connection).backup(copy, pages=PAGES_AT_ONCE, progress=tell)
            self._connections.check(cast("sqlite3.Connection", self._connection))
        except sqlite3.Error as error:
            raise store_error(error, f"The copy {shown(str(file))}") from error


class _ViewSession:
    """The connection that writes, inside a transaction that changes views."""

    def __init__(self, writer: sqlite3.Connection) -> None:
        self._writer = writer

    def ask(self, name: str, *values: object) -> list[Any]:
        return self._writer.execute(SQL[name], cast("Sequence[Any]", values)).fetchall()

    def keep(self, view: int, rows: Sequence[KeptRow]) -> None:
        self._writer.executemany(SQL["keep"], [(view, *row) for row in rows])


class _MemoryLease:
    """A name that one thread at a time has."""

    def __init__(self, names: set[str], name: str) -> None:
        self._names = names
        self._name = name

    def check(self) -> None:
        """Do nothing: it can't be lost."""

    def close(self) -> None:
        self._names.discard(self._name)


class SQLiteRecorder(Recorder):
    """The log and the kept views in one SQLite file, or in memory.

    Args:
        path: the file, taken literally; None for a private memory.
        timeout_s: how long to wait while others write.
        durability: `commit`: what was recorded survives a power cut; `checkpoint`: the last seconds may be lost, and
            the rest is intact.
        read_only: whether the file is only read; it has to be there then.

    Raises:
        StoreError: the file can't be opened, or is not ours.
        NewerFormatError: a newer release wrote it.
    """

    leaves_gaps: bool = False

    def __init__(
        self,
        path: Path | None,
        *,
        timeout_s: float = TIMEOUT_S,
        durability: Durability = "commit",
        read_only: bool = False,
    ) -> None:
        """Open the file, and make it if it is missing."""
        self.path: Path | None = None if path is None else Path(os.path.abspath(path))  # noqa: PTH100 - keeps links
        self.read_only = read_only
        self._connections: Connections
        if self.path is None:
            self._connections = MemoryConnections(timeout_s)
        elif read_only:
            self._connections = ReadingConnections(self.path, timeout_s)
        else:
            self._connections = FileConnections(self.path, timeout_s, durability)
        self.durability = durability
        """Moment from which what was recorded survives a power cut: `commit` or `checkpoint`."""
        self._timeout_s = timeout_s
        self._leased: set[str] = set()
        """Names of the leases on a memory."""
        self._leasing = threading.Lock()
        weakref.finalize(self, self._connections.close)

    def __repr__(self) -> str:
        return f"SQLiteRecorder({'memory' if self.path is None else shown(str(self.path))})"

    def close(self) -> None:
        self._connections.close()

    def append(self, rows: Sequence[Row]) -> range:
        count = len(rows)
        if not count:
            return range(0)
        look()
        connections = self._connections
        if self.read_only:
            raise read_only(connections.where)
        if count <= ROWS_AT_ONCE and connections.group is not None:
            end = 1 + connections.group.append(functools.partial(_insert, rows), self._timeout_s)
            return range(end - count, end)
        with WriterSession(connections, connections.take_writer()) as writer:
            if count <= ROWS_AT_ONCE:
                last = _insert(rows, writer)
            else:
                writer.execute("BEGIN IMMEDIATE")
                writer.executemany(_APPEND, rows)
                (last,) = writer.execute(SQL["head"]).fetchone()
                writer.execute("COMMIT")
        return range(last + 1 - count, last + 1)

    def ask(self, name: str, *values: object) -> list[Any]:
        connections = self._connections
        connection = connections.take_reader()
        broken = True
        try:
            rows = fetch(connection, connections.where, SQL[name], values)
            connections.check(connection)
            broken = False
        finally:
            connections.give_reader(connection, broken=broken)
        return rows

    def spans(self, spans: Mapping[str, tuple[int, int]]) -> Sequence[object]:
        return (json.dumps(spans),)

    def now_us(self) -> int:
        return time.time_ns() // 1_000

    def waiter(self) -> Waiter:
        return Waiter(self._connections.version)

    def snapshot(self) -> Snapshot:
        return Snapshot(self._connections, begins=self.path is not None)

    def copy_to(self, file: Path, progress: Callable[[str, int, int], None] | None = None) -> None:
        with self.snapshot() as snapshot:
            snapshot.copy_to(file, progress)

    @contextlib.contextmanager
    def view_session(self, *_names: str, waits: bool) -> Iterator[_ViewSession]:
        connections = self._connections
        writer = connections.take_writer() if waits else connections.try_writer()
        if writer is None:
            raise WouldWaitError
        with WriterSession(connections, writer):
            if waits:
                writer.execute("BEGIN IMMEDIATE")
            else:
                self._begin_at_once(writer)
            yield _ViewSession(writer)
            writer.execute("COMMIT")

    def _begin_at_once(self, writer: sqlite3.Connection) -> None:
        """Begin a transaction, unless another process writes just now."""
        writer.execute("PRAGMA busy_timeout=0")
        try:
            writer.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            if primary_code(error) in BUSY:
                raise WouldWaitError from error
            raise
        finally:
            writer.execute(f"PRAGMA busy_timeout={int(self._timeout_s * 1_000)}")

    def lease(self, name: str) -> Lease | None:
        if self.read_only:
            raise read_only(self._connections.where)
        if self.path is not None:
            real = os.path.realpath(self.path)  # whoever came by a link means the same file
            return FileLease.taken(Path(f"{real}-{name}"), self.path.stat().st_mode & 0o777)
        with self._leasing:
            if name in self._leased:
                return None
            self._leased.add(name)
            return _MemoryLease(self._leased, name)

    # What an operator should know.

    def notice_other_writer(self) -> None:
        """Log a warning, once a process, if several connections write to a file and SQLite is older than 3.51.3.

        Those releases can, very rarely, lose commits when a write-ahead log is reset while another connection writes.
        The threads of one registry share the connection that writes.
        """
        if sqlite3.sqlite_version_info >= WAL_RESET_MENDED or _warned:
            return
        who = self._connections.other_writers()
        if who is not None and not _warned:
            _warned.add(self.path)
            logging.getLogger("versioning").warning(
                "%s write to %s through SQLite %s: releases before 3.51.3 can, very rarely, lose a commit when the "
                "write-ahead log is reset. Use a newer SQLite, or PostgreSQL.",
                who,
                self.path,
                sqlite3.sqlite_version,
            )

    def warnings(self) -> tuple[StoreWarning, ...]:
        found = []
        if self.path is not None and sqlite3.sqlite_version_info < WAL_RESET_MENDED:
            version = sqlite3.sqlite_version
            old = f"{version}: releases before 3.51.3 can, very rarely, lose a commit of several processes."
            hint = "Use a newer SQLite, or PostgreSQL, where several processes write."
            found.append(StoreWarning("sqlite", old, hint))
        if self.durability == "checkpoint":
            lossy = "durability=checkpoint: a loss of power may take the latest commands."
            hint = "Leave ?durability=checkpoint out of the URL where that must not be."
            found.append(StoreWarning("store", lossy, hint))
        return tuple(found)


def _insert(rows: Sequence[Row], writer: sqlite3.Connection) -> int:
    """Insert rows by one statement, which inserts all or none, and return the last position."""
    last: Any
    if len(rows) == 1:
        last = writer.execute(_APPEND, rows[0]).lastrowid
    else:
        last = writer.execute(_append_of(len(rows)), [value for row in rows for value in row]).lastrowid
    return cast("int", last)


@functools.cache
def _append_of(count: int) -> str:
    """Return the statement that records so many rows: a list of values for each."""
    start = _APPEND.index("VALUES (") + len("VALUES ")
    width = len(Row._fields)
    lists = [re.sub(r"\?(\d)", lambda n: f"?{int(n[1]) + place * width}", _APPEND[start:]) for place in range(count)]  # noqa: B023 - run at once
    return _APPEND[:start] + ",".join(lists)
