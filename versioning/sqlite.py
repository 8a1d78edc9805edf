"""The SQLite store: one file, or one memory, that holds the log and the kept views.

The law of this room: every statement that writes is atomic, leaves the connection usable when it fails, and waits for a
bounded time only; what goes wrong is a StoreError with a sentence and a hint, and never a raw sqlite3.Error.

One connection writes, under a lock. Readings take a connection from a stack of idle ones and put it back: there are as
many as readings at the same time, whatever threads come and go, and a snapshot keeps its own. A memory store has one
connection for everything, under a lock.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import random
import re
import sqlite3
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypedDict, cast
from urllib.parse import unquote_to_bytes
from uuid import UUID

import eventsourcing.persistence as framework
from eventsourcing.persistence import ApplicationRecorder, Notification, StoredEvent

from versioning.errors import (
    CorruptLogError,
    InvalidArgumentError,
    NewerFormatError,
    StoreError,
    VersioningError,
    shown,
)
from versioning.persistence import (
    INTEGER_MAX,
    AppendConflict,
    KeptRow,
    LogRow,
    Row,
    TailRow,
    ViewPosition,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from eventsourcing.persistence import Subscription

Durability: TypeAlias = Literal["commit", "checkpoint"]
"""When what was recorded survives a power cut: from the commit, or from the next checkpoint of the write-ahead log."""

APPLICATION_ID: Final = 0x4D56_4552
"""Marks our files in their header: "MVER"."""
SCHEMA: Final = 1
"""Of the tables, kept as the file's user_version."""
TIMEOUT_S: Final = 5.0
TIMEOUT_S_MAX: Final = 86_400.0
STATEMENTS_CACHED: Final = 256
POLL_S: Final = 0.005
"""How often a waiter looks: 3 µs each."""
ROWS_AT_ONCE: Final = 100
"""Of five values: half of the 999 variables that the oldest SQLite takes."""
FORK_WAIT_S: Final = 1.0
"""How long a fork waits for what other threads are doing in the store."""

_TABLES: Final = {
    "stored_events": """CREATE TABLE stored_events (
    rowid INTEGER PRIMARY KEY,
    originator_id TEXT NOT NULL,
    originator_version INTEGER NOT NULL,
    topic TEXT NOT NULL,
    state BLOB NOT NULL,
    idempotency_key TEXT,
    UNIQUE (originator_id, originator_version)
)""",
    "stored_events_by_key": """CREATE UNIQUE INDEX stored_events_by_key
ON stored_events (originator_id, idempotency_key) WHERE idempotency_key IS NOT NULL""",
    "kept_views": """CREATE TABLE kept_views (
    view INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    position INTEGER NOT NULL,
    latest_us INTEGER NOT NULL
)""",
    "kept_rows": """CREATE TABLE kept_rows (
    view INTEGER NOT NULL,
    key TEXT NOT NULL,
    workspace TEXT NOT NULL,
    model_name TEXT NOT NULL,
    live INTEGER NOT NULL,
    state BLOB NOT NULL,
    PRIMARY KEY (view, key)
)""",
    "kept_rows_by_name": "CREATE INDEX kept_rows_by_name ON kept_rows (view, workspace, live, model_name, key)",
}

_VALUES: Final = "(?,?,?,?,?)"
_INSERT: Final = "INSERT INTO stored_events (originator_id,originator_version,topic,state,idempotency_key) VALUES "
_INSERT_ONE: Final = _INSERT + _VALUES
_HEAD: Final = "SELECT max(rowid) FROM stored_events"
_LOG: Final = (
    "SELECT rowid,originator_id,originator_version,topic,state FROM stored_events "
    "WHERE rowid>? AND rowid<=? ORDER BY rowid LIMIT ?"
)
_OF_STREAM: Final = "SELECT rowid,originator_version,topic,state FROM stored_events WHERE originator_id=? "
_TAIL: Final = _OF_STREAM + "AND originator_version>? AND originator_version<=? ORDER BY originator_version"
_LAST: Final = _OF_STREAM + "ORDER BY originator_version DESC LIMIT 1"
_OF_KEY: Final = _OF_STREAM + "AND idempotency_key=?"
_VIEW: Final = "SELECT view,position,latest_us FROM kept_views WHERE name=?"
_NEW_VIEW: Final = "INSERT INTO kept_views (name,position,latest_us) VALUES (?,0,0)"
_KEPT: Final = "SELECT workspace,model_name,key,live,state FROM kept_rows "
_KEPT_OF: Final = _KEPT + "WHERE view=? AND key IN (SELECT value FROM json_each(?))"  # noqa: S608 - constants only
_PAGE: Final = _KEPT + "WHERE view=? AND workspace=? AND live={} AND model_name>? "
_PAGE_LIVE: Final = _PAGE.format(1) + "ORDER BY model_name,key LIMIT ?"
_PAGE_ALL: Final = _PAGE.format(0) + "UNION ALL " + _PAGE.format(1) + "ORDER BY model_name,key LIMIT ?"
_KEEP: Final = (
    "INSERT INTO kept_rows (view,workspace,model_name,key,live,state) VALUES (?,?,?,?,?,?) ON CONFLICT (view,key) DO "
    "UPDATE SET workspace=excluded.workspace,model_name=excluded.model_name,live=excluded.live,state=excluded.state"
)

_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_SENTENCES: Final = {
    sqlite3.SQLITE_BUSY: ("is locked by another process or connection", "Try again, or look who holds it."),
    sqlite3.SQLITE_LOCKED: ("is locked by another connection", "Try again, or look who holds it."),
    sqlite3.SQLITE_FULL: ("can't grow: the disk is full", "Make room; nothing was recorded."),
    sqlite3.SQLITE_READONLY: ("can't be written to", "Look at the rights on the file and on its folder."),
    sqlite3.SQLITE_IOERR: ("can't be read or written", "Look at the disk and at the system's log."),
    sqlite3.SQLITE_CORRUPT: ("is damaged", "Keep a copy of the file and restore a backup."),
    sqlite3.SQLITE_NOTADB: ("is not an SQLite database", "Name another file."),
    sqlite3.SQLITE_CANTOPEN: ("can't be opened", "Look at the rights on the file and on its folder."),
}
_LOST: Final = frozenset(
    {
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
    }
)
"""After these, the connection is given up and another one opened."""


def _primary_code(error: BaseException | None) -> int:
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def _store_error(error: sqlite3.Error, where: str) -> StoreError:
    sentence, hint = _SENTENCES.get(_primary_code(error), (f"failed: {shown(str(error))}", None))
    return StoreError(f"{where} {sentence}.", hint=hint)


# The file's header and tables.


def migrate(connection: sqlite3.Connection, where: str) -> None:
    """Make our tables in an empty file; several processes may do so at the same time.

    Raises:
        NewerFormatError: a newer release made them.
        StoreError: the file belongs to another application.
        sqlite3.Error: the database can't be read or written.
    """
    if _is_ours(connection, where):
        return
    connection.execute("BEGIN IMMEDIATE")
    if not _is_ours(connection, where):
        there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        for name, statement in _TABLES.items():
            if name not in there:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={SCHEMA}")
    connection.execute("COMMIT")


def _is_ours(connection: sqlite3.Connection, where: str) -> bool:
    """Say whether our tables are there; a file restored from a dump has the tables without the marks of the header."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    if application == APPLICATION_ID and schema > SCHEMA:
        msg = f"{where} was written by a newer release: its tables have version {schema}, and {SCHEMA} is known here."
        raise NewerFormatError(msg)
    if application == APPLICATION_ID and schema == SCHEMA:
        return True
    tables = connection.execute("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
    foreign = [name for name, statement in tables if _TABLES.get(name) != statement]
    if (application, schema) != (0, 0) or foreign:
        of = f", for example {shown(foreign[0])}" if foreign else ""
        msg = f"{where} holds the data of another application{of}."
        raise StoreError(msg, hint="Give the store a file of its own.")
    return False


def _check_mode(journal_mode: str, where: str) -> None:
    if journal_mode != "wal":
        msg = f"{where} can't have a write-ahead log there."
        raise StoreError(msg, hint="Put it on a local disk: a network file system can't share it.")


# The connections.


class _File:
    """The connections to one file: one that writes, under a lock, idle ones that read, and one that watches."""

    def __init__(self, path: Path, timeout_s: float, durability: Durability) -> None:
        self.where = f"The database {shown(str(path))}"
        self._path = path
        self._timeout_s = timeout_s
        self._synchronous = "FULL" if durability == "commit" else "NORMAL"
        self._lost: Callable[[str], StoreError] | None = None
        """What says why there are no connections any more."""
        self._writing = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._opening = threading.Lock()
        self._readers: set[sqlite3.Connection] = set()
        self._idle: collections.deque[sqlite3.Connection] = collections.deque()
        self._watching = threading.Lock()
        self._watch: sqlite3.Connection | None = None
        self._watches = 0
        """How many connections have watched so far: the counts of two can't be compared."""
        self._held: list[threading.Lock] = []
        self._writer = self._create()
        _STORES.add(self)

    def _connect(self, mode: str) -> sqlite3.Connection:
        """Open the file of exactly this name; `mode` is SQLite's `rw` or `rwc`."""
        if _INHERITED_FILES and _identity(self._path) in _INHERITED_FILES:
            raise _forked(self.where)
        connection = sqlite3.connect(
            f"{self._path.as_uri()}?mode={mode}",
            timeout=self._timeout_s,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=STATEMENTS_CACHED,
            uri=True,
        )
        try:
            connection.execute(f"PRAGMA synchronous={self._synchronous}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _create(self) -> sqlite3.Connection:
        """Open the file, or make it; give the connection that writes."""
        if not self._path.parent.is_dir():
            msg = f"The folder of {shown(str(self._path))} does not exist."
            raise StoreError(msg, hint="Make the folder first, or name another file.")
        if self._path.is_dir():
            msg = f"{shown(str(self._path))} is a folder."
            raise StoreError(msg, hint="Name a file.")
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                return self._prepared()
            except sqlite3.Error as error:
                # SQLite does not wait by itself where several switch to the write-ahead log at the same time.
                if _primary_code(error) not in _BUSY or time.monotonic() > deadline:
                    raise _store_error(error, self.where) from error
            time.sleep(random.uniform(0.001, 0.01))  # noqa: S311 - keeps no secret

    def _prepared(self) -> sqlite3.Connection:
        connection = self._connect("rwc")
        try:
            migrate(connection, self.where)
            (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
            _check_mode(mode, self.where)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_open(self) -> None:
        if self._lost is not None:
            raise self._lost(self.where)

    def take_writer(self) -> sqlite3.Connection:
        """Give the connection that writes, to nobody else until it is given back."""
        if not self._writing.acquire(timeout=self._timeout_s):
            raise _held_up(self.where, self._timeout_s)
        return self._taken_writer()

    def try_writer(self) -> sqlite3.Connection | None:
        """Give the connection that writes, or None where that means waiting."""
        return self._taken_writer() if self._writing.acquire(blocking=False) else None

    def _taken_writer(self) -> sqlite3.Connection:
        try:
            self._check_open()
            if self._writer is None:
                self._writer = self._connect("rw")
        except sqlite3.Error as error:
            self._writing.release()
            raise _store_error(error, self.where) from error
        except BaseException:
            self._writing.release()
            raise
        return self._writer

    def give_writer(self, *, broken: bool = False) -> None:
        """Take the connection back; close it where it is broken, or the store was closed in between."""
        if broken or self._lost is not None:
            self._close_writer()
        self._writing.release()

    def _close_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def take_reader(self) -> sqlite3.Connection:
        """Give a connection that nobody else uses until it is given back."""
        try:
            return self._idle.pop()
        except IndexError:
            pass
        with self._opening:
            self._check_open()
            try:
                connection = self._connect("rw")
                connection.execute("PRAGMA query_only=ON")
            except sqlite3.Error as error:
                raise _store_error(error, self.where) from error
            self._readers.add(connection)
        return connection

    def give_reader(self, connection: sqlite3.Connection, *, broken: bool = False) -> None:
        """Take a connection back; close it where it is broken, or the store was closed in between."""
        if connection not in self._readers:
            return  # of the parent process
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            broken = True
        if broken:
            connection.close()
            self._readers.discard(connection)
        else:
            self._idle.append(connection)
        if self._lost is not None:
            self._close_idle()

    def has(self, connection: sqlite3.Connection) -> bool:
        """Say whether a connection that was taken is still good: it is not in a forked child."""
        return connection in self._readers

    def _close_idle(self) -> None:
        while self._idle:
            with contextlib.suppress(IndexError):  # another thread was faster
                connection = self._idle.pop()
                connection.close()
                self._readers.discard(connection)

    def version(self) -> object:
        """Give what is another one after every commit, by whomever."""
        with self._watching:
            self._check_open()
            try:
                if self._watch is None:
                    self._watch = self._connect("rw")
                    self._watches += 1
                (count,) = self._watch.execute("PRAGMA data_version").fetchone()
            except sqlite3.Error as error:
                self._close_watch()
                raise _store_error(error, self.where) from error
            return self._watches, count

    def _close_watch(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()

    def close(self) -> None:
        """Close what is idle now, and the rest when it is given back."""
        self._lost = self._lost or _closed
        with self._watching:
            self._close_watch()
        self._close_idle()
        if self._writing.acquire(timeout=self._timeout_s):
            self._close_writer()
            self._writing.release()

    # A fork. SQLite can't be carried across one: locks on files stay with the parent, while what SQLite remembers of
    # them is inherited, so that even a connection opened anew in the child would be without the locks that it believes
    # to hold. So nothing is open while this process is forked.

    def before_fork(self) -> None:
        """Close everything, and keep it closed; where another thread is busy, wait for it for a bounded time."""
        deadline = time.monotonic() + FORK_WAIT_S
        for lock in self._locks():
            if lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
                self._held.append(lock)
        while self._readers and time.monotonic() < deadline:
            self._close_idle()
            if self._readers:
                time.sleep(0.001)
        if self._writing in self._held:
            self._close_writer()
        if self._watching in self._held:
            self._close_watch()

    def _locks(self) -> list[threading.Lock]:
        return [self._writing, self._opening, self._watching]

    def after_fork(self) -> None:
        """Let things be opened anew."""
        while self._held:
            self._held.pop().release()

    def after_fork_in_child(self) -> None:
        """Open anew what the parent closed; where the parent could not close everything, refuse."""
        if self._held == self._locks() and not self._readers:
            self.after_fork()
            return
        self._lost = _forked
        _keep_for_ever([self._writer, self._watch, *self._readers])
        _INHERITED_FILES.add(_identity(self._path))
        self._held, self._writer, self._watch = [], None, None
        self._readers, self._idle = set(), collections.deque()
        self._writing, self._opening, self._watching = threading.Lock(), threading.Lock(), threading.Lock()


class _Memory:
    """The one connection to a private memory, under a lock that a thread may take again."""

    where = "The store in memory"

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._lost: Callable[[str], StoreError] | None = None
        self._using = threading.RLock()
        self._connection = sqlite3.connect(
            ":memory:", isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS_CACHED
        )
        self._writes = 0
        migrate(self._connection, self.where)
        _STORES.add(self)

    def take_writer(self) -> sqlite3.Connection:
        if not self._using.acquire(timeout=self._timeout_s):
            raise _held_up(self.where, self._timeout_s)
        return self._taken()

    def try_writer(self) -> sqlite3.Connection | None:
        return self._taken() if self._using.acquire(blocking=False) else None

    def _taken(self) -> sqlite3.Connection:
        if self._lost is not None:
            self._using.release()
            raise self._lost(self.where)
        return self._connection

    def give_writer(self, *, broken: bool = False) -> None:  # noqa: ARG002 - another connection were another memory
        self._writes += 1
        self._using.release()

    def take_reader(self) -> sqlite3.Connection:
        return self.take_writer()

    def give_reader(self, connection: sqlite3.Connection, *, broken: bool = False) -> None:  # noqa: ARG002 - the same
        if self.has(connection):
            self._using.release()

    def has(self, connection: sqlite3.Connection) -> bool:  # noqa: ARG002 - there is one
        return self._lost is not _forked

    def version(self) -> object:
        if self._lost is not None:
            raise self._lost(self.where)
        return self._writes

    def close(self) -> None:
        self._lost = self._lost or _closed
        if self._lost is not _forked and self._using.acquire(timeout=self._timeout_s):
            self._connection.close()
            self._using.release()

    def before_fork(self) -> None:
        """Do nothing: the child can't have the memory, whatever state it is in."""

    def after_fork(self) -> None:
        """Do nothing."""

    def after_fork_in_child(self) -> None:
        self._lost = _forked
        self._using = threading.RLock()
        _keep_for_ever([self._connection])


_STORES: Final[weakref.WeakSet[_File | _Memory]] = weakref.WeakSet()
_INHERITED_FILES: Final[set[tuple[int, int] | None]] = set()


def _identity(path: Path) -> tuple[int, int] | None:
    """Say which file it is, as SQLite tells files apart."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _keep_for_ever(connections: list[sqlite3.Connection | None]) -> None:
    """Never let Python close these, not even when the process ends: SQLite would change files that the parent uses."""
    import ctypes  # noqa: PLC0415 - hardly any process needs it

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connections))


def _forked(where: str) -> StoreError:
    msg = f"{where} was in use while this process was forked, so it can't be used here."
    hint = "Fork before it is opened, or while no thread reads or writes; what is in memory can't be shared at all."
    return StoreError(msg, hint=hint)


def _closed(where: str) -> StoreError:
    return StoreError(f"{where} is closed.", hint="Open it again.")


def _held_up(where: str, timeout_s: float) -> StoreError:
    return StoreError(f"{where} is in use by another thread for more than {timeout_s:g} s.", hint="Try again.")


def _before_fork() -> None:
    for store in list(_STORES):
        store.before_fork()


def _after_fork() -> None:
    for store in list(_STORES):
        store.after_fork()


def _after_fork_in_child() -> None:
    for store in list(_STORES):
        store.after_fork_in_child()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no fork
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)


# What is asked of the connections.


def _fetch(connection: sqlite3.Connection, where: str, statement: str, values: Sequence[Any]) -> list[Any]:
    """Read rows.

    Raises:
        CorruptLogError: a text in the log is not UTF-8.
        StoreError: anything else.
    """
    try:
        return connection.execute(statement, values).fetchall()
    except sqlite3.Error as error:
        if str(error).startswith("Could not decode to UTF-8"):
            raise _undecodable(connection, where) from error
        raise _store_error(error, where) from error


def _undecodable(connection: sqlite3.Connection, where: str) -> VersioningError:
    """Find the row whose text is not UTF-8."""
    texts = connection.execute(
        "SELECT rowid,CAST(originator_id AS BLOB),CAST(originator_version AS BLOB),CAST(topic AS BLOB),"
        "CASE typeof(state) WHEN 'text' THEN CAST(state AS BLOB) ELSE x'' END FROM stored_events ORDER BY rowid"
    )
    for position, *columns in texts:
        try:
            b"\n".join(columns).decode()
        except UnicodeDecodeError:
            msg = f"The row at position {position} is not readable: it has a text that is not UTF-8."
            return CorruptLogError(msg, position=position, reason="a text is not UTF-8")
    return StoreError(f"{where} has a kept view with a text that is not UTF-8.", hint="Build the views anew.")


class _Writing:
    """The connection that writes, given back when the block ends; what failed is rolled back, and told as ours."""

    __slots__ = ("_connections", "_writer")

    def __init__(self, connections: _File | _Memory, writer: sqlite3.Connection) -> None:
        """Take charge of a connection that was taken."""
        self._connections = connections
        self._writer = writer

    def __enter__(self) -> sqlite3.Connection:
        return self._writer

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            self._connections.give_writer()
            return
        broken = _primary_code(error) in _LOST
        try:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
        except sqlite3.Error:
            broken = True
        finally:
            self._connections.give_writer(broken=broken)
        if isinstance(error, sqlite3.Error):
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_CONSTRAINT_UNIQUE:
                msg = "Somebody else was first."
                raise AppendConflict(msg) from error
            raise _store_error(error, self._connections.where) from error


class Snapshot:
    """The log and the kept views as of one moment."""

    def __init__(self, connections: _File | _Memory, connection: sqlite3.Connection) -> None:
        """Read from a connection that is inside a transaction."""
        self._connections = connections
        self._connection: sqlite3.Connection | None = connection

    def end(self) -> None:
        """Let go of the connection."""
        self._connection = None

    def _fetch(self, statement: str, values: Sequence[Any]) -> list[Any]:
        where = self._connections.where
        if self._connection is None:
            msg = f"{where} was asked through a snapshot that has ended."
            raise StoreError(msg, hint="Take another one.")
        if not self._connections.has(self._connection):
            raise _forked(where)
        return _fetch(self._connection, where, statement, values)

    def _view(self, name: str) -> tuple[int, int, int] | None:
        rows: list[tuple[int, int, int]] = self._fetch(_VIEW, (name,))
        return rows[0] if rows else None

    def view_position(self, name: str) -> ViewPosition | None:
        """Say how far a kept view has come, if there is one."""
        found = self._view(name)
        return None if found is None else ViewPosition(*found[1:])

    def view_rows(self, name: str, keys: Sequence[str]) -> list[KeptRow]:
        """Give the rows of these keys, those that are there."""
        found = self._view(name)
        if found is None or not keys:
            return []
        return _kept(self._fetch(_KEPT_OF, (found[0], json.dumps(keys))))

    def view_page(
        self,
        name: str,
        workspace: str,
        after_model_name: str,
        limit: int | None,
        live_only: bool,  # noqa: FBT001 - the last column of the question
    ) -> list[KeptRow]:
        """Give the rows of a workspace behind a model's name, in the order of the names' code points."""
        found = self._view(name)
        if found is None:
            return []
        place = (found[0], workspace, after_model_name)
        values = place if live_only else (*place, *place)
        return _kept(self._fetch(_PAGE_LIVE if live_only else _PAGE_ALL, (*values, -1 if limit is None else limit)))

    def log(self, after: int, limit: int, upto: int | None = None) -> list[LogRow]:
        """Give the rows at the positions `after` < position <= `upto`, oldest first."""
        return self._fetch(_LOG, (after, INTEGER_MAX if upto is None else upto, limit))


def _kept(rows: list[tuple[str, str, str, int, bytes]]) -> list[KeptRow]:
    return [KeptRow(workspace, name, key, bool(live), state) for workspace, name, key, live, state in rows]


class Waiter:
    """Waits until something may have been recorded, by whomever."""

    def __init__(self, version: Callable[[], object]) -> None:
        """Begin now: what is recorded from here on is noticed by the first `wait`."""
        self._version = version
        self._seen = version()
        self._closed = threading.Event()

    def wait(self, timeout_s: float) -> bool:
        """Say whether something may have been recorded since the last call; wait for it at most so long."""
        deadline = time.monotonic() + timeout_s
        while not self._closed.is_set():
            version = self._version()
            if version != self._seen:
                self._seen = version
                return True
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                break
            self._closed.wait(min(POLL_S, left_s))
        return False

    def close(self) -> None:
        """End the waiting, also from another thread."""
        self._closed.set()


class SQLiteRecorder(ApplicationRecorder):
    """The log and the kept views in one SQLite file, or in memory.

    Args:
        path: the file, taken literally; None for a private memory.
        timeout_s: how long to wait for whoever else writes.
        durability: `commit`: what was recorded survives a power cut; `checkpoint`: the last seconds may be lost, and
            the rest is intact.

    Raises:
        StoreError: the file can't be opened, or is not ours.
        NewerFormatError: a newer release wrote it.
    """

    def __init__(self, path: Path | None, *, timeout_s: float = TIMEOUT_S, durability: Durability = "commit") -> None:
        """Open the file, and make it where it is missing."""
        self.path: Path | None = None if path is None else Path(os.path.abspath(path))  # noqa: PTH100 - keeps links
        self._connections: _File | _Memory = (
            _Memory(timeout_s) if self.path is None else _File(self.path, timeout_s, durability)
        )
        self._timeout_s = timeout_s
        weakref.finalize(self, self._connections.close)

    def close(self) -> None:
        """Close the store; a second time is fine, anything else afterwards is a StoreError."""
        self._connections.close()

    # The log.

    def append(self, rows: Sequence[Row]) -> range:
        """Record all rows or none; give their positions.

        Raises:
            AppendConflict: somebody else was first, or the key was used; nothing was recorded.
            StoreError: anything else; whether it was recorded may not be known.
        """
        count = len(rows)
        if not count:
            return range(0)
        connections = self._connections
        with _Writing(connections, connections.take_writer()) as writer:
            last: Any
            if count == 1:
                last = writer.execute(_INSERT_ONE, rows[0]).lastrowid
            elif count <= ROWS_AT_ONCE:
                statement = _INSERT + ",".join([_VALUES] * count)
                last = writer.execute(statement, [value for row in rows for value in row]).lastrowid
            else:
                writer.execute("BEGIN IMMEDIATE")
                writer.executemany(_INSERT_ONE, rows)
                (last,) = writer.execute(_HEAD).fetchone()
                writer.execute("COMMIT")
        end: int = last + 1
        return range(end - count, end)

    def _read(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        connection = self._connections.take_reader()
        broken = True
        try:
            rows = _fetch(connection, self._connections.where, statement, values)
            broken = False
        finally:
            self._connections.give_reader(connection, broken=broken)
        return rows

    def tail(self, stream: str, after: int, upto: int | None = None) -> list[TailRow]:
        """Give the rows of a stream at the sequences `after` < sequence <= `upto`, oldest first."""
        return self._read(_TAIL, (stream, after, INTEGER_MAX if upto is None else upto))

    def last(self, stream: str) -> TailRow | None:
        """Give the last row of a stream, if it has one."""
        rows: list[TailRow] = self._read(_LAST, (stream,))
        return rows[0] if rows else None

    def log(self, after: int, limit: int, upto: int | None = None) -> list[LogRow]:
        """Give the rows at the positions `after` < position <= `upto`, oldest first."""
        return self._read(_LOG, (after, INTEGER_MAX if upto is None else upto, limit))

    def head(self) -> int:
        """Give the position of the last row, 0 where there is none."""
        ((position,),) = self._read(_HEAD)
        return position or 0

    def find_key(self, stream: str, key: str) -> TailRow | None:
        """Give the first row of the append with this idempotency key, if there is one."""
        rows: list[TailRow] = self._read(_OF_KEY, (stream, key))
        return rows[0] if rows else None

    def waiter(self) -> Waiter:
        """Give what a follower waits with."""
        return Waiter(self._connections.version)

    # The kept views.

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Give the log and the kept views as of one moment, whatever is recorded meanwhile.

        A memory store stands still meanwhile, except for this thread.
        """
        connection = self._connections.take_reader()
        snapshot = Snapshot(self._connections, connection)
        try:
            if self.path is not None:
                connection.execute("BEGIN")  # it is the first question that takes the snapshot
            yield snapshot
        finally:
            snapshot.end()
            self._connections.give_reader(connection)

    def write_view(
        self, name: str, expected_position: int, new_position: int, latest_us: int, rows: Sequence[KeptRow]
    ) -> bool:
        """Keep rows and the position that they make the view reach, together.

        Nothing is kept, and False given, where that would mean waiting, or where the view is no longer at the expected
        position (0: it is not there).
        """
        writer = self._connections.try_writer()
        if writer is None:
            return False
        with _Writing(self._connections, writer):
            if not self._begun(writer):
                return False
            found = writer.execute(_VIEW, (name,)).fetchone() or (None, 0, 0)
            if found[1] != expected_position:
                writer.execute("ROLLBACK")
                return False
            view = writer.execute(_NEW_VIEW, (name,)).lastrowid if found[0] is None else found[0]
            writer.executemany(_KEEP, [(view, *row) for row in rows])
            writer.execute("UPDATE kept_views SET position=?,latest_us=? WHERE view=?", (new_position, latest_us, view))
            writer.execute("COMMIT")
        return True

    def _begun(self, writer: sqlite3.Connection) -> bool:
        """Begin a transaction, unless another process writes just now."""
        writer.execute("PRAGMA busy_timeout=0")
        try:
            writer.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            if _primary_code(error) in _BUSY:
                return False
            raise
        finally:
            writer.execute(f"PRAGMA busy_timeout={int(self._timeout_s * 1_000)}")
        return True

    def swap_view(self, beside: str, name: str) -> None:
        """Let a view that was built under another name take this name; what had it is dropped."""
        with _Writing(self._connections, self._connections.take_writer()) as writer:
            writer.execute("BEGIN IMMEDIATE")
            if writer.execute(_VIEW, (beside,)).fetchone():
                _drop(writer, name)
                writer.execute("UPDATE kept_views SET name=? WHERE name=?", (name, beside))
            writer.execute("COMMIT")

    def drop_view(self, name: str) -> None:
        """Keep nothing under this name any more."""
        with _Writing(self._connections, self._connections.take_writer()) as writer:
            writer.execute("BEGIN IMMEDIATE")
            _drop(writer, name)
            writer.execute("COMMIT")

    # The framework's contract, with the framework's errors.

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: object) -> Sequence[int]:
        """Record all events or none; give their positions."""
        rows = [
            Row(_text(one.originator_id), one.originator_version, one.topic, one.state, getattr(one, "key", None))
            for one in stored_events
        ]
        with _as_framework():
            return list(self.append(rows))

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """Give events of one stream."""
        order = "ORDER BY originator_version DESC LIMIT ?" if desc else "ORDER BY originator_version LIMIT ?"
        low, high = -INTEGER_MAX if gt is None else gt, INTEGER_MAX if lte is None else lte
        stream = _text(originator_id)
        statement = _OF_STREAM + "AND originator_version>? AND originator_version<=? " + order
        with _as_framework():
            rows = self._read(statement, (stream, low, high, -1 if limit is None else limit))
        return [StoredEvent(_originator(stream), sequence, topic, state) for _, sequence, topic, state in rows]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Give events of the whole log."""
        after = 0 if start is None else start - inclusive_of_start
        named = f"AND topic IN ({','.join('?' * len(topics))}) " if topics else ""
        statement = _LOG.replace("ORDER BY", named + "ORDER BY")
        with _as_framework():
            rows = self._read(statement, (after, INTEGER_MAX if stop is None else stop, *topics, limit))
        return [
            Notification(_originator(stream), sequence, topic, state, position)
            for position, stream, sequence, topic, state in rows
        ]

    def max_notification_id(self) -> int | None:
        """Give the position of the last event, if there is one."""
        with _as_framework():
            return self.head() or None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[ApplicationRecorder]:
        """Refuse, as the framework's own recorder for SQLite does: `waiter` serves followers."""
        msg = f"The {type(self).__qualname__} recorder does not support subscriptions"
        raise NotImplementedError(msg)


def _drop(writer: sqlite3.Connection, name: str) -> None:
    writer.execute("DELETE FROM kept_rows WHERE view=(SELECT view FROM kept_views WHERE name=?)", (name,))
    writer.execute("DELETE FROM kept_views WHERE name=?", (name,))


def _text(originator_id: UUID | str) -> str:
    return originator_id.hex if isinstance(originator_id, UUID) else originator_id


def _originator(stream: str) -> UUID | str:
    """Give a stream as the framework names it; its own tests use streams that are no UUIDs of ours."""
    try:
        return UUID(stream)
    except (ValueError, AttributeError, TypeError):
        return stream


_FRAMEWORK_ERRORS: Final[dict[type[BaseException | None], type[framework.PersistenceError]]] = {
    sqlite3.InterfaceError: framework.InterfaceError,
    sqlite3.DataError: framework.DataError,
    sqlite3.OperationalError: framework.OperationalError,
    sqlite3.IntegrityError: framework.IntegrityError,
    sqlite3.InternalError: framework.InternalError,
    sqlite3.ProgrammingError: framework.ProgrammingError,
    sqlite3.NotSupportedError: framework.NotSupportedError,
    sqlite3.DatabaseError: framework.DatabaseError,
}


@contextlib.contextmanager
def _as_framework() -> Iterator[None]:
    """Raise what callers of the framework's contract expect."""
    try:
        yield
    except (AppendConflict, StoreError, CorruptLogError) as error:
        kind = _FRAMEWORK_ERRORS.get(type(error.__cause__), framework.OperationalError)
        raise kind(str(error)) from error


# Which store a URL means.


def open_recorder(place: str | Path) -> SQLiteRecorder:
    """Open the store that a URL or a path means.

    Args:
        place: `memory:`, `sqlite:///relative.db`, `sqlite:////absolute.db`, both percent-decoded and with the options
            `?durability=checkpoint&timeout_s=…`, or a Path to a SQLite file, taken literally.

    Raises:
        InvalidArgumentError: it has another form.
        StoreError: the store can't be opened, or is not supported.
        NewerFormatError: a newer release wrote it.
    """
    if isinstance(place, Path):
        return SQLiteRecorder(_checked_path(place))
    scheme, colon, rest = _checked_url(place).partition(":")
    if place == "memory:":
        return SQLiteRecorder(None)
    if scheme == "sqlite" and colon:
        path, options = _parsed(rest)
        return SQLiteRecorder(path, **options)
    if scheme in {"postgresql", "postgres"} and colon:
        msg = "PostgreSQL is not supported by this release yet."
        raise StoreError(msg, hint="Use a SQLite file.")
    known = colon and _SCHEME.fullmatch(scheme)
    msg = f"The scheme {scheme}: is not one of a store." if known else "The URL of the store has no scheme."
    raise _invalid(msg)


class _Options(TypedDict, total=False):
    durability: Durability
    timeout_s: float


def _invalid(sentence: str, hint: str = "") -> InvalidArgumentError:
    return InvalidArgumentError(sentence, hint=hint or _URL_HINT, argument="url")


def _checked_url(place: object) -> str:
    if not isinstance(place, str):
        msg = f"The place of the store is a URL or a Path, not {shown(place)}."
        raise _invalid(msg)
    return place


def _parsed(rest: str) -> tuple[Path, _Options]:
    """Take what follows `sqlite:` apart."""
    if not rest.startswith("///"):
        msg = "The URL of a SQLite file begins with sqlite:/// and then the path."
        raise _invalid(msg, "Use sqlite:///relative.db or sqlite:////absolute.db.")
    if "#" in rest:
        msg = "The URL of a SQLite file has a #, which is not part of a path."
        raise _invalid(msg, "Write it as %23, or pass a Path.")
    text, _, query = rest[3:].partition("?")
    path = _decoded(text)
    if path == ":memory:":
        msg = "The URL names a file :memory:."
        raise _invalid(msg, 'A store in memory is "memory:"; for a file of that name, pass a Path.')
    options: _Options = {}
    for item in query.split("&") if query else []:
        name, _, value = (_decoded(part) for part in item.partition("="))
        if name in options:
            msg = f"The URL's option {name} is given twice."
            raise _invalid(msg)
        if name == "durability" and value in {"commit", "checkpoint"}:
            options["durability"] = cast("Durability", value)
        elif name == "timeout_s" and _SECONDS.fullmatch(value) and 0 < float(value) <= TIMEOUT_S_MAX:
            options["timeout_s"] = float(value)
        else:
            msg = f"The URL's option {shown(name)} is not known, or has a value that can't be."
            raise _invalid(msg, "Options are durability=commit or checkpoint, and timeout_s=5.")
    return _checked_path(path), options


def _decoded(text: str) -> str:
    try:
        if _ESCAPED.fullmatch(text):
            return unquote_to_bytes(text).decode()
    except UnicodeError:
        pass
    msg = "The URL of the store is not percent-encoded UTF-8."
    raise _invalid(msg, "Write % as %25, or pass a Path.")


def _checked_path(path: str | Path) -> Path:
    if not str(path):
        msg = "The URL of the store names no file."
        raise _invalid(msg)
    try:
        os.fsencode(path)
    except UnicodeError:
        msg = f"The path of the store can't be the name of a file: {shown(str(path))}."
        raise _invalid(msg) from None
    if "\0" in str(path):
        msg = f"The path of the store has a NUL: {shown(str(path))}."
        raise _invalid(msg)
    return Path(path)


_URL_HINT: Final = "Use memory:, sqlite:///relative.db, sqlite:////absolute.db, or a pathlib.Path."
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,20}")
_ESCAPED: Final = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*", re.DOTALL)
_SECONDS: Final = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6})?")
