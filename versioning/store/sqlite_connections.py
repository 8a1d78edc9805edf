"""The connections to a SQLite file or memory: how they are opened, shared among threads, forked and closed.

The law of this room: whatever goes wrong, **no lock stays taken, and no connection stays in the middle of something.**
What went wrong is a StoreError with a sentence and a hint, never a raw sqlite3.Error.

*A file.* One connection writes, under a lock. Threads that append at the same time share one transaction, and so one
sync of the disk (`group_commit.py`). A reader takes a connection from a stack of idle ones and puts it back, so there
are as many as there were readers at one time, however many threads come and go; a snapshot keeps its own. One more
connection watches the file for followers.

*A memory.* One connection does everything, under a lock.

*A fork.* SQLite can't be carried across one. Locks on files stay with the parent, while the child inherits what SQLite
remembers of them; so even a connection that the child opens anew would lack the locks that it believes it holds, and
the child could take the write-ahead log away from others. What SQLite remembers of a file is forgotten with the last
connection to it. So there are two ways:

- `os.fork` runs a hook: `before_fork` waits for a bounded time for what other threads do, closes everything and keeps
  the locks; afterwards parent and child each open what they need.
- A server that forks in C runs none, and the child inherits open connections. Its first look (`processes.py`) closes
  them, without what closing else does to a file: the last connection would bring the log into the database and delete
  it. For that it is told to let the log be (`_let_go`). The parent's locks are its own, and stay.

Where a thread was busy in the store at the moment of the fork, neither way is open. The parent goes on undisturbed, and
the child is refused: it must never use what it inherited, nor open that file, nor even close it (`_keep_for_ever`).
"""

from __future__ import annotations

import collections
import contextlib
import os
import random
import secrets
import sqlite3
import struct
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from versioning.errors import CorruptLogError, NewerFormatError, StoreError, VersioningError, shown
from versioning.processes import inherited_by, look
from versioning.store.group_commit import GroupCommit
from versioning.store.recorder import statements
from versioning.store.sqlite_errors import BUSY, LOST, closed, forked, held_up, primary_code, store_error, told

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

if sys.platform != "win32":  # pragma: no branch - Windows has no fork
    import fcntl

Durability: TypeAlias = Literal["commit", "checkpoint"]
"""When what was recorded survives a power cut: from the commit, or from the next checkpoint of the write-ahead log."""

APPLICATION_ID: Final = 0x4D56_4552
"""Marks our files in their header: "MVER"."""
SCHEMA: Final = 1
"""Version of the tables, kept as the file's user_version."""
STATEMENTS_CACHED: Final = 256
FORK_WAIT_S: Final = 1.0
"""Longest time that a fork waits for what other threads do in the store."""
SHARED_LOCK: Final = (0x4000_0002, 510)
"""Where in the file every connection holds a lock, and how many bytes; a part of SQLite's file format."""

SQL: Final = statements("sqlite")
TABLES: Final = {
    name.removeprefix("create_"): statement for name, statement in SQL.items() if name.startswith("create_")
}
"""Statements that make our tables, by table or index, letter by letter as SQLite keeps them."""


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
        for name, statement in TABLES.items():
            if name not in there:
                connection.execute(statement)
        connection.execute(SQL["first_id"], (secrets.token_hex(16),))
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={SCHEMA}")
    connection.execute("COMMIT")


def check_tables(connection: sqlite3.Connection, where: str) -> None:
    """Check that our tables are there, in the form of this release; nothing is made.

    Raises:
        NewerFormatError: a newer release made them.
        StoreError: there are none, or those of an older release or another application.
        sqlite3.Error: the database can't be read.
    """
    if _is_ours(connection, where):
        return
    there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if not there.issuperset(TABLES):
        msg = f"{where} has no tables of ours."
        raise StoreError(msg, hint="Check the URL for a typo: {migrate} makes them, where the file may be written to.")


def _is_ours(connection: sqlite3.Connection, where: str) -> bool:
    """Return whether our tables are there. A file restored from a dump has them without the marks in the header."""
    begins = not connection.in_transaction
    if begins:  # else two questions could see half of what another process is just making
        connection.execute("BEGIN")
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    if begins:
        connection.execute("COMMIT")
    if application == APPLICATION_ID and schema > SCHEMA:
        msg = f"{where} was written by a newer release: its tables have version {schema}, and {SCHEMA} is known here."
        raise NewerFormatError(msg)
    if application == APPLICATION_ID and schema == SCHEMA:
        return True
    if application == APPLICATION_ID:
        msg = f"{where} was written by an older release: its tables have version {schema}, and {SCHEMA} is needed here."
        raise StoreError(msg, hint="Let {migrate} of this release bring them up to date, where it may be written to.")
    tables = connection.execute("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
    foreign = [name for name, statement in tables if TABLES.get(name) != statement]
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


class FileConnections:
    """The connections to one file: one that writes, under a lock, idle ones that read, and one that watches."""

    def __init__(self, path: Path, timeout_s: float, durability: Durability) -> None:
        self.where = f"The database {shown(str(path))}"
        self._path = path
        self._timeout_s = timeout_s
        self._synchronous = "FULL" if durability == "commit" else "NORMAL"
        self._lost: Callable[[str], StoreError] | None = None
        """Makes the error that says why there are no connections any more; None while there are."""
        self._writer: sqlite3.Connection | None = None
        self._watches = 0
        """Number of connections that have watched so far, because the counts of two can't be compared."""
        self._seen = 0
        """Count of the commits of others, as the connection that writes had it when it was opened."""
        self.is_shared = False
        """Whether this process has opened the file a second time meanwhile."""
        self._begin()
        inherited_by(self)
        _STORES.add(self)
        with self._writing:  # a fork meanwhile finds it busy
            self._writer = self._create()  # a file that is only read has none
        for one in list(_STORES):
            if one is not self and one.means(_identity(path)):
                one.is_shared = self.is_shared = True

    def _begin(self) -> None:
        """Begin with no connection, and with locks of this process."""
        self._writing, self._writer = threading.Lock(), None
        self._opening = threading.Lock()
        self._readers: set[sqlite3.Connection] = set()
        self._idle: collections.deque[sqlite3.Connection] = collections.deque()
        self._watching = threading.Lock()
        self._watch: sqlite3.Connection | None = None
        self._held: list[threading.Lock] = []
        """Locks that a fork holds just now."""
        self.group = GroupCommit(self.where, self.session)
        """Appends of several threads, in one transaction."""

    def _connect(self, mode: str) -> sqlite3.Connection:
        """Open the file of exactly this name, in SQLite's mode `rw` or `rwc`."""
        if _INHERITED_FILES and _identity(self._path) in _INHERITED_FILES:
            raise forked(self.where)
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

    def _create(self) -> sqlite3.Connection | None:
        """Open the file, or make it, and return the connection that writes."""
        try:
            has_folder, is_folder = self._path.parent.is_dir(), self._path.is_dir()
        except OSError as error:  # a name that is too long, for example
            msg = f"{shown(str(self._path))} can't be opened: {error.strerror}."
            raise StoreError(msg, hint="Name another file.") from error
        if not has_folder:
            msg = f"The folder of {shown(str(self._path))} does not exist."
            raise StoreError(msg, hint="Make the folder first, or name another file.")
        if is_folder:
            msg = f"{shown(str(self._path))} is a folder."
            raise StoreError(msg, hint="Name a file.")
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                return self._prepared()
            except sqlite3.Error as error:
                # SQLite itself does not wait when several switch to the write-ahead log at the same time.
                if primary_code(error) not in BUSY or time.monotonic() > deadline:
                    raise store_error(error, self.where) from error
            time.sleep(random.SystemRandom().uniform(0.001, 0.01))  # forked processes must not pause alike

    def _prepared(self) -> sqlite3.Connection:
        connection = self._connect("rwc")
        try:
            migrate(connection, self.where)
            (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
            _check_mode(mode, self.where)
            self._seen = _commits_of_others(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_open(self) -> None:
        if self._lost is not None:
            raise self._lost(self.where)

    def session(self) -> WriterSession:
        """Take the connection that writes, for the length of a block."""
        return WriterSession(self, self.take_writer())

    def take_writer(self) -> sqlite3.Connection:
        """Return the connection that writes; nobody else gets it until it is given back."""
        look()
        if not self._writing.acquire(timeout=self._timeout_s):
            raise held_up(self.where, self._timeout_s)
        return self._taken_writer()

    def try_writer(self) -> sqlite3.Connection | None:
        """Return the connection that writes, or None if that would mean waiting."""
        look()
        return self._taken_writer() if self._writing.acquire(blocking=False) else None

    def _taken_writer(self) -> sqlite3.Connection:
        try:
            self._check_open()
            if self._writer is None:
                self._writer = self._connected_again()
        except sqlite3.Error as error:
            self._writing.release()
            raise store_error(error, self.where) from error
        except BaseException:
            self._writing.release()
            raise
        return self._writer

    def _connected_again(self) -> sqlite3.Connection:
        writer = self._connect("rw")
        try:
            self._seen = _commits_of_others(writer)
        except BaseException:
            writer.close()
            raise
        return writer

    def give_writer(self, *, broken: bool = False) -> None:
        """Take the connection back, and close it if it is broken or the store was closed meanwhile."""
        if broken or self._lost is not None:
            self._close_writer()
        self._writing.release()

    def _close_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def take_reader(self) -> sqlite3.Connection:
        """Return a connection that nobody else uses until it is given back."""
        look()
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
                raise store_error(error, self.where) from error
            self._readers.add(connection)
        return connection

    def give_reader(self, connection: sqlite3.Connection, *, broken: bool = False) -> None:
        """Take a connection back, and close it if it is broken or the store was closed meanwhile."""
        if connection not in self._readers:
            return  # it belongs to the parent process
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            broken = True
        if broken:
            self._readers.discard(connection)
            self._forget(connection)
        else:
            self._idle.append(connection)
        if self._lost is not None:
            self._close_idle()

    def has(self, connection: sqlite3.Connection) -> bool:
        """Return whether a connection that was taken belongs to this process, and not to its parent."""
        look()
        return connection in self._readers

    def means(self, identity: tuple[int, int] | None) -> bool:
        """Return whether this is an open store on the file of an identity."""
        return self._lost is None and _identity(self._path) == identity

    def other_writers(self) -> str | None:
        """Return who else has written to the file, in words; None if nobody has, or if that can't be told now."""
        look()
        if not self._writing.acquire(blocking=False):
            return None  # there will be another occasion
        try:
            if self._writer is None or _commits_of_others(self._writer) == self._seen:
                return None
        except sqlite3.Error:
            return None  # whoever writes next is told
        finally:
            self._writing.release()
        return "Several registries of this process" if self.is_shared else "Several processes"

    def _close_idle(self) -> None:
        with contextlib.suppress(IndexError):  # until there is none
            while True:
                connection = self._idle.pop()
                self._readers.discard(connection)
                self._forget(connection)

    def _forget(self, connection: sqlite3.Connection) -> None:
        connection.close()

    def check(self, connection: sqlite3.Connection) -> None:
        """Check that what was just read is true: so it is, wherever SQLite's locks are held."""

    def version(self) -> object:
        """Return a value that is another one after every commit, whoever made it."""
        look()
        with self._watching:
            self._check_open()
            try:
                if self._watch is None:
                    self._watch = self._connect("rw")
                    self._watches += 1
                (count,) = self._watch.execute("PRAGMA data_version").fetchone()
            except sqlite3.Error as error:
                self._close_watch()
                raise store_error(error, self.where) from error
            return self._watches, count

    def _close_watch(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()

    def close(self) -> None:
        """Close what is idle now, and everything else when it is given back."""
        look()
        self._lost = self._lost or closed
        if self._watching.acquire(timeout=self._timeout_s):
            self._close_watch()
            self._watching.release()
        self._close_idle()
        if self._writing.acquire(timeout=self._timeout_s):
            self._close_writer()
            self._writing.release()

    # A fork: see the head of this file.

    def before_fork(self) -> None:
        """Close everything and keep it closed; wait for busy threads for a bounded time."""
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
        """Allow connections to be opened again."""
        while self._held:
            self._held.pop().release()

    def begin_in_child(self) -> None:
        """Close what the parent had open, and open nothing yet; refuse for ever where a thread of it was busy."""
        inherited = [one for one in (self._writer, self._watch, *self._readers) if one is not None]
        if self._was_busy() or not (not inherited or _let_go(self._path, inherited)):
            self._lost = forked
            _keep_for_ever(inherited)
            _INHERITED_FILES.add(_identity(self._path))
        self._begin()

    def _was_busy(self) -> bool:
        """Return whether a thread of the parent used a connection, or was opening one, when this process was forked."""
        taken = [lock for lock in self._locks() if lock.locked() and lock not in self._held]
        return bool(taken) or len(self._idle) < len(self._readers)


class MemoryConnections:
    """The one connection to a private memory, under a lock that a thread may take again."""

    where = "The store in memory"
    group: None = None
    """None: nothing is synced, so grouping commits gains nothing."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._lost: Callable[[str], StoreError] | None = None
        self._using = threading.RLock()
        self._connection = sqlite3.connect(
            ":memory:", isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS_CACHED
        )
        self._writes = 0
        migrate(self._connection, self.where)
        inherited_by(self)

    def session(self) -> WriterSession:
        return WriterSession(self, self.take_writer())

    def take_writer(self) -> sqlite3.Connection:
        look()
        if not self._using.acquire(timeout=self._timeout_s):
            raise held_up(self.where, self._timeout_s)
        return self._taken()

    def try_writer(self) -> sqlite3.Connection | None:
        look()
        return self._taken() if self._using.acquire(blocking=False) else None

    def _taken(self) -> sqlite3.Connection:
        if self._lost is not None:
            self._using.release()
            raise self._lost(self.where)
        return self._connection

    def give_writer(self, *, broken: bool = False) -> None:  # noqa: ARG002 - a second connection would be a second memory
        self._writes += 1
        self._using.release()

    def take_reader(self) -> sqlite3.Connection:
        return self.take_writer()

    def give_reader(self, connection: sqlite3.Connection, *, broken: bool = False) -> None:  # noqa: ARG002 - the same
        if self.has(connection):
            self._using.release()

    def has(self, connection: sqlite3.Connection) -> bool:  # noqa: ARG002 - there is one
        look()
        return self._lost is not forked

    def check(self, connection: sqlite3.Connection) -> None:
        """Do nothing: nobody else can change a memory."""

    def version(self) -> object:
        look()
        if self._lost is not None:
            raise self._lost(self.where)
        return self._writes

    def other_writers(self) -> str | None:
        return None

    def close(self) -> None:
        look()
        self._lost = self._lost or closed
        if self._lost is not forked and self._using.acquire(timeout=self._timeout_s):
            self._connection.close()
            self._using.release()

    def begin_in_child(self) -> None:
        """Refuse everything: the child can't have the memory, whatever state it is in."""
        self._lost = forked
        self._using = threading.RLock()
        _keep_for_ever([self._connection])


Connections: TypeAlias = FileConnections | MemoryConnections


def _commits_of_others(connection: sqlite3.Connection) -> int:
    """Return a value that is another one after every commit of another connection to the file."""
    (count,) = connection.execute("PRAGMA data_version").fetchone()
    return cast("int", count)


# A fork.

_STORES: Final[weakref.WeakSet[FileConnections]] = weakref.WeakSet()
_INHERITED_FILES: Final[set[tuple[int, int] | None]] = set()


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what SQLite tells files apart by."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _let_go(path: Path, connections: Sequence[sqlite3.Connection]) -> bool:
    """Close connections that the parent opened and nobody used, and leave its files as they are.

    Returns:
        Whether that can be done here.
    """
    try:
        _hold_back(path, connections)
        for connection in connections:
            connection.close()
    except (AttributeError, OSError, sqlite3.Error):
        return False
    return True


def _hold_back(path: Path, connections: Sequence[sqlite3.Connection]) -> None:
    """Keep these connections from bringing the log into the database, and deleting it, when they are closed.

    SQLite has a setting for it, which Python can reach since 3.12. Before, there is another way: the last connection
    does so only where nobody else holds the shared lock. On Linux, an open file can hold one against the very process
    that opened it (F_OFD_SETLKW). It is never closed, since that would end all other locks of this process on the file.

    Raises:
        AttributeError, OSError: neither is to be had here.
    """
    if sys.version_info >= (3, 12):  # pragma: no cover - covered by the newer releases
        for connection in connections:
            connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE)
    else:  # pragma: no cover - covered by release 3.11
        shared = struct.pack("hhqqi0q", fcntl.F_RDLCK, os.SEEK_SET, *SHARED_LOCK, 0)
        fcntl.fcntl(os.open(path, os.O_RDONLY | os.O_CLOEXEC), fcntl.F_OFD_SETLKW, shared)


def _keep_for_ever(connections: list[sqlite3.Connection]) -> None:
    """Keep Python from closing these, even when the process ends: SQLite would change files that the parent uses."""
    import ctypes  # noqa: PLC0415 - hardly any process needs it

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connections))


def _before_fork() -> None:
    look()
    for store in list(_STORES):
        store.before_fork()


def _after_fork() -> None:
    for store in list(_STORES):
        store.after_fork()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no fork
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork)


# What is asked of the connections.


def fetch(connection: sqlite3.Connection, where: str, statement: str, values: Sequence[Any]) -> list[Any]:
    """Run a statement that reads, and return its rows.

    Raises:
        CorruptLogError: a text in the log is not UTF-8.
        StoreError: anything else.
    """
    try:
        return connection.execute(statement, values).fetchall()
    except sqlite3.Error as error:
        if str(error).startswith("Could not decode to UTF-8"):
            raise _undecodable(connection, where) from error
        raise store_error(error, where) from error


def _undecodable(connection: sqlite3.Connection, where: str) -> VersioningError:
    """Return the error that names the row whose text is not UTF-8."""
    texts = connection.execute(SQL["all_texts"])
    for position, *columns in texts:
        try:
            b"\n".join(columns).decode()
        except UnicodeDecodeError:
            msg = f"The row at position {position} is not readable: it has a text that is not UTF-8."
            return CorruptLogError(msg, position=position, reason="a text is not UTF-8")
    return StoreError(f"{where} has a kept view with a text that is not UTF-8.", hint="Build the views anew.")


class WriterSession:
    """The connection that writes, for one block; if that fails, it is rolled back, and the error is one of ours."""

    __slots__ = ("_connections", "_writer")

    def __init__(self, connections: Connections, writer: sqlite3.Connection) -> None:
        """Take charge of a connection that was taken from these connections."""
        self._connections = connections
        self._writer = writer

    def __enter__(self) -> sqlite3.Connection:
        return self._writer

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            self._connections.give_writer()
            return
        broken = primary_code(error) in LOST
        try:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
        except sqlite3.Error:
            broken = True
        finally:
            self._connections.give_writer(broken=broken)
        if isinstance(error, sqlite3.Error):
            raise told(error, self._connections.where) from error
