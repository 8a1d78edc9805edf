"""The SQLite store: one file, or one memory, that holds the log and the kept views.

The law of this room: every statement that writes is atomic, and waits for a bounded time only; what goes wrong is a
StoreError with a sentence and a hint.

The position of an event is the column `rowid`, a real one: dumps and VACUUM keep it. Rows are never deleted, so
positions are contiguous. Kept views have tables of their own; what is in them can always be built anew.
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
from typing import TYPE_CHECKING, Any, Final, TypedDict, cast
from urllib.parse import unquote_to_bytes

from versioning.errors import InvalidArgumentError, StoreError, shown
from versioning.store.contract import INTEGER_MAX, LIVE, KeptRow, LogRow, Row, TailRow, ViewPosition
from versioning.store.sqlite_connections import Connections, FileConnections, MemoryConnections, WriterSession, fetch
from versioning.store.sqlite_errors import BUSY, forked, primary_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from versioning.store.contract import Among
    from versioning.store.sqlite_connections import Durability

TIMEOUT_S: Final = 5.0
TIMEOUT_S_MAX: Final = 86_400.0
WAL_RESET_MENDED: Final = (3, 51, 3)
"""The first SQLite whose reset of the write-ahead log loses nothing that another connection commits just then."""
POLL_S: Final = 0.005
"""How often a waiter looks: 3 µs each."""
ROWS_AT_ONCE: Final = 100
"""Of five values: half of the 999 variables that the oldest SQLite takes."""

_VALUES: Final = "(?,?,?,?,?)"
_INSERT: Final = "INSERT INTO stored_events (originator_id,originator_version,topic,state,idempotency_key) VALUES "
_INSERT_ONE: Final = _INSERT + _VALUES
_HEAD: Final = "SELECT max(rowid) FROM stored_events"
_LOG: Final = (
    "SELECT rowid,originator_id,originator_version,topic,state FROM stored_events "
    "WHERE rowid>? AND rowid<=? ORDER BY rowid LIMIT ?"
)
_OF_STREAM: Final = "SELECT rowid,originator_version,topic,state FROM stored_events WHERE originator_id=? "
_TAIL: Final = _OF_STREAM + "AND originator_version>? AND originator_version<=? ORDER BY originator_version LIMIT ?"
_RANGES: Final = (
    "SELECT rowid,originator_id,originator_version,topic,state FROM json_each(?) AS span CROSS JOIN stored_events "
    "ON originator_id=span.key AND originator_version>json_extract(span.value,'$[0]') "
    "AND originator_version<=json_extract(span.value,'$[1]') ORDER BY originator_id,originator_version"
)
_OF_KEY: Final = _OF_STREAM + "AND idempotency_key=?"
_TAILS: Final = (
    "SELECT rowid,originator_id,originator_version,topic,state FROM stored_events "
    "WHERE originator_id IN (SELECT value FROM json_each(?)) AND (originator_id,originator_version)>(?,?) "
    "AND rowid<=? ORDER BY originator_id,originator_version LIMIT ?"
)
_VIEW: Final = "SELECT view,position,latest_us FROM kept_views WHERE name=?"
_NEW_VIEW: Final = "INSERT INTO kept_views (name,position,latest_us) VALUES (?,0,0)"
_KEPT: Final = (
    "SELECT workspace,model_name,key,live,state,first_position,first_us,last_position,last_us FROM kept_rows "
)
_KEPT_OF: Final = _KEPT + "WHERE view=? AND key IN (SELECT value FROM json_each(?))"  # noqa: S608 - constants only
_PAGE: Final = _KEPT + (
    "WHERE view=?1 AND workspace=?2 AND live={} AND (model_name,key)>(?3,?4) AND first_position<=?6 AND first_us<=?7 "
)
_PAGE_END: Final = "ORDER BY model_name,key LIMIT ?5"
_PAGE_LIVE: Final = _PAGE.format(1) + _PAGE_END
_PAGE_ALL: Final = _PAGE.format(0) + "AND (last_position>?8 OR last_us>?9) UNION ALL " + _PAGE.format(1) + _PAGE_END
_KEEP: Final = (
    "INSERT INTO kept_rows "
    "(view,workspace,model_name,key,live,state,first_position,first_us,last_position,last_us) "
    "VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT (view,key) DO UPDATE SET workspace=excluded.workspace,"
    "model_name=excluded.model_name,live=excluded.live,state=excluded.state,first_position=excluded.first_position,"
    "first_us=excluded.first_us,last_position=excluded.last_position,last_us=excluded.last_us"
)

_warned: Final = threading.Event()


class Snapshot:
    """The log and the kept views as of one moment."""

    def __init__(self, connections: Connections, connection: sqlite3.Connection) -> None:
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
            raise forked(where)
        return fetch(self._connection, where, statement, values)

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
        self, name: str, workspace: str, among: Among, after: tuple[str, str] = ("", ""), limit: int | None = None
    ) -> list[KeptRow]:
        """Give rows of a workspace behind a model's name and a key, in the order of both, by code points."""
        found = self._view(name)
        if found is None:
            return []
        values = (found[0], workspace, *after, -1 if limit is None else limit, *among)
        if among[2:] == LIVE[2:]:
            return _kept(self._fetch(_PAGE_LIVE, values[:7]))
        return _kept(self._fetch(_PAGE_ALL, values))

    def log(self, after: int, limit: int, upto: int | None = None) -> list[LogRow]:
        """Give the rows at the positions `after` < position <= `upto`, oldest first."""
        return self._fetch(_LOG, (after, INTEGER_MAX if upto is None else upto, limit))

    def tails(self, streams: Sequence[str], after: tuple[str, int], limit: int, upto: int | None) -> list[LogRow]:
        """Give rows of these streams up to a position, in the order of streams and sequences, from behind a place."""
        return self._fetch(_TAILS, (json.dumps(streams), *after, INTEGER_MAX if upto is None else upto, limit))


def _kept(rows: list[Any]) -> list[KeptRow]:
    return [KeptRow._make(row) for row in rows]  # live is 0 or 1, which is as good


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


class SQLiteRecorder:
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

    leaves_gaps: bool = False

    def __init__(self, path: Path | None, *, timeout_s: float = TIMEOUT_S, durability: Durability = "commit") -> None:
        """Open the file, and make it where it is missing."""
        self.path: Path | None = None if path is None else Path(os.path.abspath(path))  # noqa: PTH100 - keeps links
        self._connections: Connections = (
            MemoryConnections(timeout_s) if self.path is None else FileConnections(self.path, timeout_s, durability)
        )
        self.durability = durability
        """When what was recorded survives a power cut."""
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
        if count <= ROWS_AT_ONCE and connections.group is not None:
            end = 1 + connections.group.append(functools.partial(_insert, rows), self._timeout_s)
            return range(end - count, end)
        with connections.session() as writer:
            if count <= ROWS_AT_ONCE:
                last = _insert(rows, writer)
            else:
                writer.execute("BEGIN IMMEDIATE")
                writer.executemany(_INSERT_ONE, rows)
                (last,) = writer.execute(_HEAD).fetchone()
                writer.execute("COMMIT")
        return range(last + 1 - count, last + 1)

    def _read(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        connection = self._connections.take_reader()
        broken = True
        try:
            rows = fetch(connection, self._connections.where, statement, values)
            broken = False
        finally:
            self._connections.give_reader(connection, broken=broken)
        return rows

    def tail(self, stream: str, after: int, upto: int | None = None, limit: int | None = None) -> list[TailRow]:
        """Give the rows of a stream at the sequences `after` < sequence <= `upto`, oldest first, `limit` at most."""
        return self._read(_TAIL, (stream, after, INTEGER_MAX if upto is None else upto, -1 if limit is None else limit))

    def ranges(self, spans: Mapping[str, tuple[int, int]]) -> list[LogRow]:
        """Give the rows of several streams, each at its sequences after the one and up to the other, by streams."""
        return self._read(_RANGES, (json.dumps(spans),))

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

    def now_us(self) -> int:
        """Give this machine's time, in microseconds since 1970."""
        return time.time_ns() // 1_000

    def notice_other_writer(self) -> None:
        """Warn, once a process, where several connections write to a file and SQLite is older than 3.51.3.

        Those releases can, very rarely, lose commits when a write-ahead log is reset while another connection writes.
        """
        if self.path is not None and sqlite3.sqlite_version_info < WAL_RESET_MENDED and not _warned.is_set():
            _warned.set()
            logging.getLogger("versioning").warning(
                "Several processes write to %s through SQLite %s: releases before 3.51.3 can, very rarely, lose a "
                "commit when the write-ahead log is reset. Use a newer SQLite, or PostgreSQL.",
                self.path,
                sqlite3.sqlite_version,
            )

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
        with WriterSession(self._connections, writer):
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
            if primary_code(error) in BUSY:
                return False
            raise
        finally:
            writer.execute(f"PRAGMA busy_timeout={int(self._timeout_s * 1_000)}")
        return True

    def swap_view(self, beside: str, name: str) -> None:
        """Let a view that was built under another name take this name; what had it is dropped."""
        with self._connections.session() as writer:
            writer.execute("BEGIN IMMEDIATE")
            if writer.execute(_VIEW, (beside,)).fetchone():
                _drop(writer, name)
                writer.execute("UPDATE kept_views SET name=? WHERE name=?", (name, beside))
            writer.execute("COMMIT")

    def drop_view(self, name: str) -> None:
        """Keep nothing under this name any more."""
        with self._connections.session() as writer:
            writer.execute("BEGIN IMMEDIATE")
            _drop(writer, name)
            writer.execute("COMMIT")


def _insert(rows: Sequence[Row], writer: sqlite3.Connection) -> int:
    """Insert rows by one statement, which inserts all or none; give the last position."""
    last: Any
    if len(rows) == 1:
        last = writer.execute(_INSERT_ONE, rows[0]).lastrowid
    else:
        statement = _INSERT + ",".join([_VALUES] * len(rows))
        last = writer.execute(statement, [value for row in rows for value in row]).lastrowid
    return cast("int", last)


def _drop(writer: sqlite3.Connection, name: str) -> None:
    writer.execute("DELETE FROM kept_rows WHERE view=(SELECT view FROM kept_views WHERE name=?)", (name,))
    writer.execute("DELETE FROM kept_views WHERE name=?", (name,))


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
    path, options = _placed(place)
    return SQLiteRecorder(path, **options)


def _placed(place: str | Path) -> tuple[Path | None, _Options]:
    """Give the file, or None for memory, and the options."""
    if isinstance(place, Path):
        return _checked_path(place), {}
    scheme, colon, rest = _checked_url(place).partition(":")
    if place == "memory:":
        return None, {}
    if scheme == "sqlite" and colon:
        return _parsed(rest)
    known = colon and _SCHEME.fullmatch(scheme)
    msg = f"The scheme {scheme}: is not one of a store." if known else "The URL of the store has no scheme."
    raise _invalid(msg)


def holds_store(place: str | Path) -> bool:
    """Say whether opening this finds a file with something in it, rather than making one.

    Raises:
        InvalidArgumentError: it has another form.
    """
    path, _ = _placed(place)
    try:
        return path is not None and path.stat().st_size > 0
    except OSError:
        return False


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


_URL_HINT: Final = (
    "Use memory:, sqlite:///relative.db, sqlite:////absolute.db, "
    "postgresql://user:password@host/database, or a pathlib.Path."
)
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,20}")
_ESCAPED: Final = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*", re.DOTALL)
_SECONDS: Final = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6})?")
