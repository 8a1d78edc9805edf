"""The connections to a PostgreSQL database: one, a pool of them, and the server's clock.

The law of this room: **every statement has a deadline here**, besides the server's own timeouts, so that a silent
server can't hang a caller; what goes wrong is a StoreError with a sentence and a hint, and never a psycopg.Error.
After a fork the child lets go of the parent's connections without a word to the server, and opens its own.
"""

# ruff: noqa: S608 - statements are put together from our own constants, and from the quoted name of the schema

from __future__ import annotations

import contextlib
import functools
import math
import os
import queue
import selectors
import struct
import time
import weakref
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, cast

from versioning.errors import StoreError, shown
from versioning.store.postgres_errors import closed, silent, store_error, unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

GRACE_S: Final = 2.0
"""How much longer than its own timeout the server may take to say that a statement took too long."""
RETRY_S: Final = 0.05
"""How often a server that was there before, and is not now, is tried again."""
CLOCK_S: Final = 60.0
"""How often the server's clock is asked for."""
CLOCK_STEP_S: Final = 0.1
"""How far this machine's clock moves by itself before the server's is asked for again."""


class Settings(NamedTuple):
    """What a URL says, in the form that connections need."""

    conninfo: Secret
    where: str
    """The database as errors name it: without user and password."""
    schema: str
    connections: int
    connect_timeout_s: float
    lock_timeout_s: float
    statement_timeout_s: float


class Secret:
    """A text that is shown nowhere."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return "<secret>"


def settings_of(
    libpq: Mapping[str, str],
    *,
    schema: str,
    connections: int,
    connect_timeout_s: float,
    lock_timeout_s: float,
    statement_timeout_s: float,
) -> Settings:
    """Return settings from libpq's parameters and our own options."""
    fixed = {  # libpq's environment must not change these
        "client_encoding": "UTF8",
        "options": "",
        "target_session_attrs": "primary",
        "keepalives": "1",  # a peer that is gone is noticed by TCP itself
        "keepalives_idle": "10",
        "keepalives_interval": "5",
        "keepalives_count": "3",
        "tcp_user_timeout": str(int((statement_timeout_s + GRACE_S) * 1_000)),
    }
    params = {"application_name": "versioning", **libpq, **fixed}
    quoted = {name: value.replace("\\", "\\\\").replace("'", "\\'") for name, value in params.items()}
    at = f" at {shown(libpq['host'])[1:-1]}" if "host" in libpq else ""
    return Settings(
        Secret(" ".join(f"{name}='{value}'" for name, value in quoted.items())),
        f"The PostgreSQL database {shown(libpq['dbname'])}{at}",
        schema,
        connections,
        connect_timeout_s,
        lock_timeout_s,
        statement_timeout_s,
    )


@functools.cache
def load_psycopg() -> Any:  # noqa: ANN401 - the module, which is an extra
    """Load psycopg, which only users of PostgreSQL have.

    Raises:
        StoreError: it is not installed.
    """
    try:
        import psycopg  # noqa: PLC0415 - an extra: `import versioning` must work without it
        import psycopg.adapt  # noqa: PLC0415
    except ImportError as error:
        msg = "PostgreSQL needs psycopg, which is not installed or can't be loaded."
        raise StoreError(msg, hint='pip install "model-versioning[postgres]"') from error
    return psycopg


NOW: Final = "(extract(epoch FROM clock_timestamp())*1000000)::bigint"
_BEGIN_SNAPSHOT: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


TEXT, BYTEA, BIGINT, BOOLEAN = 25, 17, 20, 16
"""Types, as PostgreSQL numbers them for ever."""
_bigint: Final = struct.Struct("!q").pack
_BINARY: Final[dict[type, Callable[[Any], bytes | None]]] = {
    str: str.encode,
    int: _bigint,
    bytes: bytes,
    bool: lambda value: b"\1" if value else b"\0",
    type(None): lambda _: None,
}


def array(kind: int, items: Sequence[object]) -> bytes:
    """Give an array as PostgreSQL takes it: one dimension, counted from 1."""
    parts = [struct.pack("!iiIii", 1, 1, kind, len(items), 1)]
    for item in items:
        value = _BINARY[type(item)](item)
        parts.append(b"\xff\xff\xff\xff" if value is None else struct.pack("!i", len(value)) + value)
    return b"".join(parts) if items else struct.pack("!iiI", 0, 0, kind)


# Connections.


class Connection:
    """One connection, which asks prepared statements; nothing that it asks takes longer than its deadline."""

    def __init__(self, settings: Settings, statements: Mapping[str, bytes], clock: Clock) -> None:
        """Connect, within the time that the settings give."""
        psycopg = load_psycopg()
        self._pq = psycopg.pq
        self._error: type[Exception] = psycopg.Error
        self._settings = settings
        self._where = settings.where
        self._statements = statements
        self._prepared: set[str] = set()
        self._loader = psycopg.adapt.Transformer()
        self.is_broken = False
        """Whether it can't be used any more."""
        self.was_lost = False
        """Whether that is because it was ended from outside, and not because the server was silent."""
        self._answer_s = settings.connect_timeout_s
        self.pg = self._connected(time.monotonic() + self._answer_s)
        self._selector = _Selector()
        self._selector.register(self.pg.socket, selectors.EVENT_READ)
        try:
            self._set_up(clock)
        except BaseException:
            self.finish()
            raise
        self._answer_s = settings.statement_timeout_s + GRACE_S

    def _connected(self, deadline: float) -> Any:  # noqa: ANN401 - a PGconn of psycopg
        polling = self._pq.PollingStatus
        pg = self._pq.PGconn.connect_start(self._settings.conninfo.text.encode())
        try:
            status = polling.WRITING
            while status != polling.OK:
                if status == polling.FAILED or pg.status == self._pq.ConnStatus.BAD:
                    raise unreachable(self._where, pg.get_error_message("utf-8"))  # noqa: TRY301 - it closes what was begun
                with _Selector() as selector:
                    selector.register(
                        pg.socket, selectors.EVENT_READ if status == polling.READING else selectors.EVENT_WRITE
                    )
                    if not selector.select(max(0.0, deadline - time.monotonic())):
                        raise silent(self._where, self._answer_s)  # noqa: TRY301 - the same
                status = pg.connect_poll()
        except BaseException:
            pg.finish()
            raise
        pg.nonblocking = 1
        return pg

    def _set_up(self, clock: Clock) -> None:
        """Say how this session behaves, whatever the server, the database or the user have as their defaults."""
        if (encoding := self.pg.parameter_status(b"server_encoding")) != b"UTF8":
            msg = f"{self._where} is not UTF-8, but {encoding.decode()}."
            raise StoreError(msg, hint="Make a database with ENCODING 'UTF8', or name another one.")
        settings = {
            "search_path": "pg_catalog",
            "lock_timeout": _milliseconds(self._settings.lock_timeout_s),
            "statement_timeout": _milliseconds(self._settings.statement_timeout_s),
            "default_transaction_isolation": "read committed",
            "default_transaction_deferrable": "off",
        }
        calls = ",".join(f"set_config('{name}','{value}',false)" for name, value in settings.items())
        before_us = now_us()
        ((server_us, self.backend, *_),) = self.ask_text(
            f"SELECT {NOW},pid || '/' || backend_start,CASE current_setting('synchronous_commit') "
            f"WHEN 'off' THEN set_config('synchronous_commit','on',false) END,{calls} "
            "FROM pg_stat_activity WHERE pid=pg_backend_pid()"
        )
        clock.set(server_us, before_us, now_us())

    # Asking.

    def ask(self, name: str, *values: object) -> list[Any]:
        """Ask a prepared statement; give its rows.

        Raises:
            StoreError: anything that goes wrong.
        """
        params = [_BINARY[type(value)](value) for value in values]
        if name not in self._prepared:
            self._prepare(name)
        return self._exchange(self.pg.send_query_prepared, name.encode(), params, [1] * len(params), 1)

    def _prepare(self, name: str) -> None:
        self._exchange(self.pg.send_prepare, name.encode(), self._statements[name])
        self._prepared.add(name)

    def ask_text(self, text: str) -> list[Any]:
        """Ask one statement that is not prepared."""
        return self._exchange(self.pg.send_query_params, text.encode(), None, None, None, 1)

    def begin_snapshot(self, settled: int, counted_max: int) -> tuple[int, str | None]:
        """Begin a transaction that stands still, and ask `settle` in it, all on one way to the server and back."""
        if "settle" not in self._prepared:
            self._prepare("settle")
        text = f"{_BEGIN_SNAPSHOT}; EXECUTE settle({settled},{counted_max})"
        (found,) = self._exchange(self.pg.send_query, text.encode())
        return cast("tuple[int, str | None]", found)

    def run(self, text: str) -> None:
        """Run statements without values and rows, one or several."""
        self._exchange(self.pg.send_query, text.encode())

    def roll_back(self) -> None:
        """End a transaction without effect, as losing the connection also does."""
        if not self.is_broken:
            with contextlib.suppress(StoreError):
                self.run("ROLLBACK")

    def _exchange(self, send: Callable[..., None], *values: object) -> list[Any]:
        pg, result, is_done = self.pg, None, False
        deadline = time.monotonic() + self._answer_s
        try:
            send(*values)
            while pg.flush():
                self._flush(deadline)
            while True:
                while pg.is_busy():
                    self._wait(deadline)
                    pg.consume_input()
                answer = pg.get_result()
                if answer is None:
                    break
                result = answer  # of several statements the last one, or the one that failed
            is_done = True
        except self._error as error:
            self.was_lost = True
            raise store_error(self._where, "08006") from error
        finally:
            if not is_done:
                self.is_broken = True
        return self._rows(result)

    def _wait(self, deadline: float) -> None:
        if not self._selector.select(max(0.0, deadline - time.monotonic())):
            raise silent(self._where, self._answer_s)

    def _flush(self, deadline: float) -> None:
        """Let a large statement out, and take in meanwhile what the server says."""
        self._selector.modify(self.pg.socket, selectors.EVENT_READ | selectors.EVENT_WRITE)
        try:
            self._wait(deadline)
            self.pg.consume_input()
        finally:
            self._selector.modify(self.pg.socket, selectors.EVENT_READ)

    def _rows(self, result: Any) -> list[Any]:  # noqa: ANN401 - a PGresult of psycopg
        if result.status == self._pq.ExecStatus.TUPLES_OK:
            self._loader.set_pgresult(result)
            rows: list[Any] = self._loader.load_rows(0, result.ntuples, tuple)
            return rows
        if result.status == self._pq.ExecStatus.COMMAND_OK:
            return []
        field = self._pq.DiagnosticField
        severity, state, message, constraint = (
            (result.error_field(code) or b"").decode(errors="replace")
            for code in (field.SEVERITY_NONLOCALIZED, field.SQLSTATE, field.MESSAGE_PRIMARY, field.CONSTRAINT_NAME)
        )
        if severity in {"FATAL", "PANIC"} or not state:
            self.is_broken = self.was_lost = True
        raise store_error(self._where, state or "08006", message, constraint or None)

    # Its life.

    @property
    def is_idle(self) -> bool:
        """Whether the next one who needs a connection can use it."""
        return not self.is_broken and bool(self.pg.transaction_status == self._pq.TransactionStatus.IDLE)

    def is_alive(self) -> bool:
        """Say whether the server has not ended it while it was idle: then there would be something to read."""
        return not self._selector.select(0)

    def heard(self, timeout_s: float) -> bool:
        """Say whether there was a notification; wait for it at most so long."""
        self._selector.select(timeout_s)
        try:
            self.pg.consume_input()
        except self._error as error:
            raise store_error(self._where, "08006") from error
        some = False
        while self.pg.notifies() is not None:
            some = True
        return some

    def finish(self) -> None:
        """End it."""
        self.is_broken = True
        self._selector.close()
        self.pg.finish()

    def abandon(self) -> None:
        """Let go of what was inherited through a fork, without a word to the server: it is the parent's."""
        self.is_broken = True
        with contextlib.suppress(self._error):  # it had no socket any more
            socket = self.pg.socket
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, socket)
            os.close(nowhere)


def _milliseconds(seconds: float) -> str:
    return f"{max(1, int(seconds * 1_000))}ms"


_Selector: Final = getattr(selectors, "PollSelector", selectors.SelectSelector)
"""Without a file of its own, which forks would share; Windows has the second only."""


class Pool:
    """A few connections, each used by one thread at a time."""

    def __init__(self, settings: Settings, statements: Mapping[str, bytes]) -> None:
        self.settings = settings
        self.settled = 0
        """No position up to here will become visible any more."""
        self._statements = statements
        self._closed: StoreError | None = None
        self._was_reached = False
        self._begin()
        FORKABLES.add(self)

    def _begin(self) -> None:
        self.free: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(self.settings.connections):
            self.free.put(None)
        self._idle: list[Connection] = []
        self._open: weakref.WeakSet[Connection] = weakref.WeakSet()
        self.clock = Clock()

    def check(self) -> None:
        """Refuse, once the store is closed."""
        if self._closed is not None:
            raise self._closed

    def connect(self, *, patient: bool) -> Connection:
        """Open a connection; `patient`: wait for a server that was there before, and may be starting again."""
        deadline = time.monotonic() + self.settings.connect_timeout_s
        while True:
            try:
                connection = Connection(self.settings, self._statements, self.clock)
            except StoreError as error:
                state = str(error.facts.get("sqlstate"))
                again = patient and self._was_reached and state[:2] in {"08", "57"}
                if not again or time.monotonic() + RETRY_S > deadline:
                    raise
                time.sleep(RETRY_S)
                continue
            self._was_reached = True
            self.settled = 0  # it may be another server than before, which took over from it
            self._open.add(connection)
            return connection

    def use(self) -> Use:
        """Give a connection for as long as a block lasts."""
        return Use(self)

    def take(self) -> Connection:
        """Give a connection that nobody else uses."""
        while True:
            self.check()
            try:
                connection = self._idle.pop()
            except IndexError:
                return self.connect(patient=True)
            if connection.is_alive():
                return connection
            connection.finish()

    def give(self, connection: Connection) -> None:
        """Take a connection back."""
        if connection.is_idle:
            self._idle.append(connection)
        else:
            connection.finish()
        if connection.was_lost or self._closed is not None:
            self.drop_idle()  # where one was ended, the others were too

    def close(self) -> None:
        """Close what is idle now, and the rest when it is given back."""
        self._closed = self._closed or closed(self.settings.where)
        self.drop_idle()

    def drop_idle(self) -> None:
        """End the connections that nobody uses just now."""
        while self._idle:
            with contextlib.suppress(IndexError):  # another thread was faster
                self._idle.pop().finish()

    def after_fork_in_child(self) -> None:
        """Begin anew: with connections of this process."""
        for connection in list(self._open):
            connection.abandon()
        self._begin()


class Use:
    """A connection of a pool, until the block ends."""

    __slots__ = ("_connection", "_free", "_pool")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def __enter__(self) -> Connection:
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
        if self._free is self._pool.free:  # else it was inherited from the parent process, and abandoned
            self._pool.give(self._connection)
            self._free.put(None)


class Forkable(Protocol):
    """What holds a connection, and so can't be used as it is in a forked child."""

    def after_fork_in_child(self) -> None:
        """Begin anew, without the parent's connection."""


FORKABLES: Final[weakref.WeakSet[Forkable]] = weakref.WeakSet()
"""All that must know when this process was forked."""


def _after_fork_in_child() -> None:
    for held in list(FORKABLES):
        held.after_fork_in_child()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no fork
    os.register_at_fork(after_in_child=_after_fork_in_child)


class Clock:
    """The server's clock: this machine's, and by how much that is wrong."""

    def __init__(self) -> None:
        self.offset_us = 0
        """How far the server's clock is ahead; 0 where it can't be told from this machine's."""
        self._checked_s = -math.inf
        self._ahead_s = 0.0
        """Of the clock that nobody sets, when the server's was looked at."""

    def set(self, server_us: int, before_us: int, after_us: int) -> None:
        """Take in what the server's clock said between two moments of this machine's."""
        is_right = before_us <= server_us <= after_us
        self.offset_us = 0 if is_right else server_us - (before_us + after_us) // 2
        self._checked_s = time.monotonic()
        self._ahead_s = time.time() - self._checked_s

    def is_stale(self) -> bool:
        """Say whether it is long ago, or this machine was asleep or its clock set meanwhile."""
        now_s = time.monotonic()
        return now_s - self._checked_s > CLOCK_S or abs(time.time() - now_s - self._ahead_s) > CLOCK_STEP_S


def now_us() -> int:
    """Return this machine's time, in microseconds since 1970."""
    return time.time_ns() // 1_000
