"""The connections of a PostgreSQL store: how a session is set up, a pool of them, and the server's clock.

The law of this room: **whoever asks for a connection gets one that works, or the reason in time.** An idle connection
that the server has ended is replaced unnoticed. A server that was there before is tried again until `connect_timeout_s`
is over; then the error of the last attempt is raised. A child drops its parent's connections without a word to the
server, and opens its own: at its first look (`processes.py`), and at once where `os.fork` runs a hook, so that the
server sees when the parent dies.

Why `psycopg_pool` doesn't do this: lending a connection of it costs a `resolve` a quarter of its speed (the table is in
`postgres_libpq.py`), and it opens connections in threads of its own, four for each pool. Tried in release 3.3.3:

- Threads don't survive a fork. A child goes on with the parent's socket, or waits for a connection that nobody opens;
  and since Python 3.12 every `os.fork` of the application warns.
- The reason why connecting failed goes to a log. The caller gets a PoolTimeout when the whole time is over, even if
  only the password is wrong.
- After a failed attempt it waits for 1 s, then 2, 4, 8... The idle connections that a restart of the server ended
  count as failed attempts: with three of them the next caller waited for 3.2 s, here for 0.01 s. Without a `check`
  the caller gets a dead connection.
"""

# ruff: noqa: S608 - statements are put together from our own constants, and from the quoted name of the schema

from __future__ import annotations

import contextlib
import math
import os
import queue
import time
import weakref
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from versioning.errors import StoreError, shown
from versioning.processes import inherited_by, look
from versioning.store.postgres_errors import Rights, closed, pooled
from versioning.store.postgres_libpq import Connection, Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

GRACE_S: Final = 2.0
"""Time that the server has, beyond its own timeout, to report that a statement took too long."""
RETRY_S: Final = 0.05
"""Pause between attempts to reach a server that was there before."""
CLOCK_S: Final = 60.0
"""Age at which a reading of the server's clock is stale."""
CLOCK_STEP_S: Final = 0.1
"""Jump of this machine's clock that makes a reading of the server's clock stale."""


class Settings(NamedTuple):
    """What a URL says, in the form that connections need."""

    conninfo: Secret
    database: str
    """Name of the database and its host, quoted; no user and no password."""
    schema: str
    connections: int
    connect_timeout_s: float
    lock_timeout_s: float
    statement_timeout_s: float
    read_only: bool = False
    """Whether the database is only read, so that a standby is as good as the primary server."""

    @property
    def where(self) -> str:
        """Database as errors name it."""
        return f"The PostgreSQL database {self.database}"


def settings_of(
    libpq: Mapping[str, str],
    *,
    schema: str,
    connections: int,
    connect_timeout_s: float,
    lock_timeout_s: float,
    statement_timeout_s: float,
    read_only: bool = False,
) -> Settings:
    """Return settings from libpq's parameters and our own options."""
    fixed = {  # libpq's environment must not change these
        "client_encoding": "UTF8",
        "options": "",
        "target_session_attrs": "any" if read_only else "primary",
        "keepalives": "1",  # a peer that is gone is noticed by TCP itself
        "keepalives_idle": "10",
        "keepalives_interval": "5",
        "keepalives_count": "3",
        "tcp_user_timeout": str(int((statement_timeout_s + GRACE_S) * 1_000)),
    }
    params = {"application_name": "versioning", **libpq, **fixed}
    quoted = {name: value.replace("\\", "\\\\").replace("'", "\\'") for name, value in params.items()}
    at = f" at {shown(libpq['host'])[1:-1]}" if "host" in libpq else ""
    database = f"{shown(libpq['dbname'])}{at}"
    return Settings(
        Secret(" ".join(f"{name}='{value}'" for name, value in quoted.items())),
        database,
        schema,
        connections,
        connect_timeout_s,
        lock_timeout_s,
        statement_timeout_s,
        read_only,
    )


_WANTED: Final = {
    "search_path": "pg_catalog",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "transaction_timeout": "0",  # a question about the whole log may take long; release 17 and later
    "idle_in_transaction_session_timeout": "0",  # a reader folds what it read before it reads on
    "idle_session_timeout": "0",  # a lease is a session that stands still; release 14 and later
    "standard_conforming_strings": "on",  # the name of a schema may have a backslash
    "row_security": "off",  # a row that a policy hides is an error, and no hole in the log
    "exit_on_error": "off",  # a conflict is an error of the server, and everyday's work
    "plan_cache_mode": "auto",
    "jit": "off",  # compiling takes longer than any statement of ours
}
"""How a session behaves, whatever the server, the database or the user has as a default; lock_timeout and
statement_timeout come from the URL. A release that does not know a setting leaves it out. Two defaults are kept:
synchronous_commit where it is not off, and default_transaction_read_only, by which an administrator stops writers."""
SECOND_S: Final = 1.0
"""Time that a second connection through a pooler may take, when the first is looked at."""


def connect(settings: Settings, statements: Mapping[str, bytes], clock: Clock, *, is_known: bool = False) -> Connection:
    """Open a connection, set up its session, and set the clock by it.

    Args:
        settings: how to connect.
        statements: what can be prepared, by name.
        clock: what learns the server's time.
        is_known: whether a connection of these settings was looked at before: a pooler on the way keeps to sessions.

    Raises:
        StoreError: the server can't be reached in time, refuses, or has an encoding other than UTF-8; or a pooler on
            the way does not keep to a session.
    """
    connection = Connection(settings.conninfo, settings.where, statements, settings.connect_timeout_s)
    connection.rights = Rights(settings.schema, settings.read_only)
    try:
        _set_up(connection, settings, clock, is_known=is_known)
    except BaseException:
        connection.finish()
        raise
    connection.answer_s = settings.statement_timeout_s + GRACE_S
    return connection


def _set_up(connection: Connection, settings: Settings, clock: Clock, *, is_known: bool) -> None:
    """Set how the session behaves, in one round trip.

    A pooler tells its client of another process than the one that serves it. Nothing is set then, until it is seen
    that it keeps to a session: what is set in the session of others would stay there.
    """
    if (encoding := connection.pg.parameter_status(b"server_encoding")) != b"UTF8":
        msg = f"{settings.where} is not UTF-8, but {encoding.decode()}."
        raise StoreError(msg, hint="Make a database with ENCODING 'UTF8', or name another one.")
    wanted = {
        "statement_timeout": _milliseconds(settings.statement_timeout_s),
        "lock_timeout": _milliseconds(settings.lock_timeout_s),
        **_WANTED,
    }
    if settings.read_only:
        wanted["default_transaction_read_only"] = "on"
    calls = ",".join(
        f"CASE WHEN {_value_of(name)} IS NOT NULL THEN pg_catalog.set_config('{name}','{value}',false) END"
        for name, value in wanted.items()
    )
    kept = f"replace({_value_of('synchronous_commit')},'off','on')"
    calls += f",pg_catalog.set_config('synchronous_commit',{kept},false)"  # kept too, where the server changes it
    if _tried(connection, calls, connection.pg.backend_pid, clock):
        return
    if not is_known:
        _check_pooler(connection, settings)
    if not _tried(connection, calls, connection.pid, clock):
        raise pooled(settings.where)
    connection.ours += " AND current_setting('synchronous_commit')<>'off'"  # others could be in between, and set it


def _tried(connection: Connection, calls: str, served_by: int, clock: Clock) -> bool:
    """Set up the session if this process serves it, and return whether it does."""
    before_us = now_us()
    # The settings first, in a statement of their own: until then the user's time limits are those of the session.
    ((connection.pid, connection.backend, server_us, connection.is_standby),) = connection.run(
        f"SELECT CASE WHEN pg_catalog.pg_backend_pid()={served_by} THEN pg_catalog.concat({calls}) END;"
        f"SELECT pid,pid || '/' || {_microseconds('backend_start')},{_microseconds('clock_timestamp()')},"
        "pg_catalog.pg_is_in_recovery() FROM pg_catalog.pg_stat_activity WHERE pid=pg_catalog.pg_backend_pid()"
    )
    connection.ours = f"pg_backend_pid()={connection.pid}"
    clock.set(server_us, before_us, now_us())
    return connection.pid == served_by


def _value_of(setting: str) -> str:
    return f"pg_catalog.current_setting('{setting}',true)"


def _microseconds(moment: str) -> str:
    return f"(extract(epoch FROM {moment})*1000000)::bigint"


def _check_pooler(connection: Connection, settings: Settings) -> None:
    """Check that a pooler on the way keeps to a session: a second client does not get what serves the first.

    A pooler of transactions has the process of the first one to spare, and gives it to the second, or takes turns and
    gives another one to the first. If others grab it in between, this is not seen here, but with the first append.

    Raises:
        StoreError: it does not keep to a session.
    """
    if _served_by(connection) != connection.pid:
        raise pooled(settings.where)
    with contextlib.suppress(StoreError):  # a pooler of sessions may have none left
        second = Connection(settings.conninfo, settings.where, {}, min(SECOND_S, settings.connect_timeout_s))
        try:
            other = _served_by(second)
        finally:
            second.finish()
        connection.is_shared = other == connection.pid
    if connection.is_shared:
        raise pooled(settings.where)


def _served_by(connection: Connection) -> int:
    ((pid,),) = connection.ask_text("SELECT pg_catalog.pg_backend_pid()")
    return cast("int", pid)


def _milliseconds(seconds: float) -> str:
    return f"{max(1, int(seconds * 1_000))}ms"


class Pool:
    """The connections of one store, each used by one thread at a time."""

    def __init__(self, settings: Settings, statements: Mapping[str, bytes]) -> None:
        self.settings = settings
        self.settled = 0
        """Position up to which no other row can still become visible."""
        self.settled_link = b""
        """Beginning of the state there, which has its link; empty at position 0."""
        self.lags = False
        """Whether the server that was reached last is a standby."""
        self._statements = statements
        self._closed: StoreError | None = None
        self._was_reached = False
        self._begin()
        inherited_by(self)
        _POOLS.add(self)

    def _begin(self) -> None:
        self.free: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(self.settings.connections):
            self.free.put(None)
        self._idle: list[Connection] = []
        self._open: weakref.WeakSet[Connection] = weakref.WeakSet()
        self.clock = Clock()

    def check(self) -> None:
        """Raise StoreError once the store is closed."""
        if self._closed is not None:
            raise self._closed

    def connect(self, *, patient: bool, is_known: bool = False) -> Connection:
        """Open a connection; `patient` waits for a server that was there before and may be starting again.

        A pooler on the way is looked at, unless it `is_known`. Where a lock or a LISTEN is left in the session, it is
        looked at every time; anything else notices by itself when the pooler has changed its ways.
        """
        deadline = time.monotonic() + self.settings.connect_timeout_s
        while True:
            try:
                connection = connect(self.settings, self._statements, self.clock, is_known=is_known)
            except StoreError as error:
                state = str(error.facts.get("sqlstate"))
                again = patient and self._was_reached and state[:2] in {"08", "57"}
                if not again or time.monotonic() + RETRY_S > deadline:
                    raise
                time.sleep(RETRY_S)
                continue
            self._was_reached = True
            self.lags = connection.is_standby
            self.settled = 0  # it may be another server than before, which took over from it
            self._open.add(connection)
            return connection

    def use(self) -> Use:
        """Return a context manager that lends a connection to its block."""
        return Use(self)

    def take(self) -> Connection:
        """Return a connection that nobody else uses."""
        while True:
            self.check()
            try:
                connection = self._idle.pop()
            except IndexError:
                return self.connect(patient=True, is_known=self._was_reached)
            if connection.is_alive():
                return connection
            connection.finish()

    def give(self, connection: Connection) -> None:
        """Keep a connection for the next user, or close it where it can't be used again."""
        if connection.is_idle:
            self._idle.append(connection)
        else:
            connection.finish()
        if connection.is_shared:
            self._closed = pooled(self.settings.where)  # what it was set up for does not hold
        if connection.was_lost or self._closed is not None:
            self.drop_idle()  # where the server ended one, it ended the others too

    def close(self) -> None:
        """Close the idle connections now, and the others when they come back."""
        look()
        self._closed = self._closed or closed(self.settings.where)
        self.drop_idle()

    def drop_idle(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle:
            with contextlib.suppress(IndexError):  # another thread was faster
                self._idle.pop().finish()

    def abandon(self) -> None:
        """Drop the connections of the parent process without a word to the server."""
        for connection in list(self._open):
            connection.abandon()

    def begin_in_child(self) -> None:
        """Begin with connections, and places for them, of this process."""
        self.abandon()
        self._begin()


class Use:
    """Lends a connection of a pool to a block."""

    __slots__ = ("_connection", "_free", "_pool")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def __enter__(self) -> Connection:
        look()
        pool = self._pool
        self._free = pool.free
        timeout_s = pool.settings.lock_timeout_s
        try:
            self._free.get(timeout=timeout_s)
        except queue.Empty:
            msg = f"{pool.settings.where} is in use by other threads for more than {timeout_s:g} s."
            raise StoreError(msg, hint="Try again, or raise the URL's option connections.") from None
        try:
            self._connection = pool.take()
        except BaseException:
            self._free.put(None)
            raise
        return self._connection

    def __exit__(self, *_: object) -> None:
        look()
        if self._free is self._pool.free:  # else it was inherited through a fork, and dropped
            self._pool.give(self._connection)
            self._free.put(None)


_POOLS: Final[weakref.WeakSet[Pool]] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for pool in list(_POOLS):
        pool.abandon()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no fork
    os.register_at_fork(after_in_child=_after_fork_in_child)


class Clock:
    """The server's clock, as this machine's clock and an offset."""

    def __init__(self) -> None:
        self.offset_us = 0
        """Microseconds by which the server's clock is ahead; 0 where the two can't be told apart."""
        self._checked_s = -math.inf
        self._ahead_s = 0.0
        """Wall clock minus monotonic clock, when the server's clock was last read."""

    def set(self, server_us: int, before_us: int, after_us: int) -> None:
        """Record what the server's clock showed between two moments of this machine's."""
        is_right = before_us <= server_us <= after_us
        self.offset_us = 0 if is_right else server_us - (before_us + after_us) // 2
        self._checked_s = time.monotonic()
        self._ahead_s = time.time() - self._checked_s

    def is_stale(self) -> bool:
        """Return whether the last reading is old, or this machine slept or had its clock set since."""
        now_s = time.monotonic()
        return now_s - self._checked_s > CLOCK_S or abs(time.time() - now_s - self._ahead_s) > CLOCK_STEP_S


def now_us() -> int:
    """Return this machine's time, in microseconds since 1970."""
    return time.time_ns() // 1_000
