"""One connection to PostgreSQL: what is sent to libpq, what comes back, and how long that may take.

The law of this room: **every exchange has a deadline here**, besides the server's own timeouts, so that a silent server
can't hang a caller. What goes wrong is a StoreError with a sentence and a hint, and never a psycopg.Error. A connection
whose exchange was cut short, by silence or by Ctrl-C, is broken and is not used again.

Why psycopg's own `Connection` and cursors don't do this: a command was to keep at least 0.9 of its speed with them, and
keeps less wherever the disk is not what it waits for. Speed kept by psycopg's cursors, and in brackets by its cursors
and `psycopg_pool` together, where this loop and our pool are 1.00:

                              with fsync                  without fsync               CPU time
    processes                 1             4             1             4             in all four
    promote                   0.97 (0.91)   0.99 (0.94)   0.84 (0.78)   0.98 (0.90)   0.80-0.85 (0.74-0.76)
    deploy                    0.93 (0.89)   0.96 (0.94)   0.84 (0.68)   0.88 (0.79)   0.80-0.82 (0.72-0.75)
    deploy, publish, promote  1.00 (0.97)   0.98 (0.87)   0.60 (0.41)   0.87 (0.80)   0.79-0.82 (0.66-0.74)
    resolve                   1.03 (0.66)   0.89 (0.68)   0.88 (0.66)   0.90 (0.74)   0.76-0.84 (0.59-0.63)

Measured on 30 November 2026 by `python3 tests bench cursors`, which measures it again: medians of 221 to 11,768 calls
in turns, on two busy cores (so times on the clock vary by 0.1 and more between runs, CPU times by 0.05); psycopg 3.3.9
with its binary libpq, psycopg_pool 3.3.3, PostgreSQL 18, Python 3.11. Besides, psycopg's cursors

- know a deadline since release 3.3.6 only, and connect within whole seconds, two at least;
- wait for 5 s after Ctrl-C, if the server is silent, to cancel the statement;
- drop every prepared statement after a ROLLBACK.

The steps below the cursors (`psycopg.generators`, `psycopg.waiting`) are as fast as this loop, but in no documentation,
and their arguments changed between 3.3.4 and 3.3.6. This file uses `psycopg.pq`, which is documented.

To add a type of value: its line in `_BINARY`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import selectors
import struct
import time
from typing import TYPE_CHECKING, Any, Final

from versioning.errors import StoreError
from versioning.processes import look
from versioning.store.postgres_errors import ended, forked, pooled, silent, store_error, unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from versioning.store.postgres_errors import Rights

OURS: Final = "\0"
"""Stands in a statement for the condition that it runs in our session; no name of a schema can hold it."""
NOT_OURS: Final = "not_a_session_of_versioning"
"""Stands in the server's words about a statement that found itself in somebody else's session."""
_BEGIN_SNAPSHOT: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_NOT_PREPARED, _PREPARED_ALREADY = "26000", "42P05"


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


class Secret:
    """A text that no representation shows."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return "<secret>"


# Values.

TEXT, BYTEA, BIGINT, BOOLEAN = 25, 17, 20, 16
"""Object identifiers of PostgreSQL's types, which never change."""
_BINARY: Final[dict[type, Callable[[Any], bytes | None]]] = {
    str: str.encode,
    int: struct.Struct("!q").pack,
    bytes: bytes,
    bool: lambda value: b"\1" if value else b"\0",
    type(None): lambda _: None,
}
"""How a value is sent, by its type; an `int` is a bigint."""


def array(kind: int, items: Sequence[object]) -> bytes:
    """Return an array in PostgreSQL's binary form: one dimension, counted from 1."""
    parts = [struct.pack("!iiIii", 1, 1, kind, len(items), 1)]
    for item in items:
        value = _BINARY[type(item)](item)
        parts.append(b"\xff\xff\xff\xff" if value is None else struct.pack("!i", len(value)) + value)
    return b"".join(parts) if items else struct.pack("!iiI", 0, 0, kind)


# The connection.


def _told(pq: Any, result: Any) -> Iterator[str]:  # noqa: ANN401 - a module and a PGresult of psycopg
    """Yield severity, SQLSTATE, words and constraint of an error or a notice."""
    field = pq.DiagnosticField
    for code in (field.SEVERITY_NONLOCALIZED, field.SQLSTATE, field.MESSAGE_PRIMARY, field.CONSTRAINT_NAME):
        yield (result.error_field(code) or b"").decode(errors="replace")


def _keep_fatal(pq: Any, fatals: list[tuple[str, str]], result: Any) -> None:  # noqa: ANN401 - the same
    """Keep what the server said when it ended the connection; of a crash it only warns."""
    severity, state, message, _ = _told(pq, result)
    if severity in {"FATAL", "PANIC"} or state.startswith("57P"):
        fatals.append((state, message))


_Selector: Final = getattr(selectors, "PollSelector", selectors.SelectSelector)
"""A selector without a file descriptor, which forks would share; Windows has the second one only."""


class Connection:
    """One connection to a server, which answers each statement in time or is broken.

    Args:
        conninfo: how to connect, in libpq's words.
        where: the database as errors name it.
        statements: what can be prepared, by name.
        answer_s: time within which the server must accept the connection, and afterwards answer each statement.
    """

    def __init__(self, conninfo: Secret, where: str, statements: Mapping[str, bytes], answer_s: float) -> None:
        psycopg = load_psycopg()
        self._pq = psycopg.pq
        self._error: type[Exception] = psycopg.Error
        self._where = where
        self._statements = statements
        self._token = os.urandom(8).hex()
        """Part of the name of whatever is prepared here, so that a pooler can't mix it up with that of others."""
        self.mark = f"/*{self._token}*/"
        """What every statement begins with, so that a process of the server can be seen to serve this connection."""
        self._prepared: dict[str, bytes] = {}
        self._fatals: list[tuple[str, str]] = []
        """SQLSTATE and words with which the server ended the connection while nothing was asked."""
        self._loader = psycopg.adapt.Transformer()
        self.backend = ""
        """Process that serves it on the server and when it started; "" until the session is set up."""
        self.pid = 0
        """Process that serves it on the server, 0 until the session is set up."""
        self.ours = "false"
        """Condition, in SQL, that a statement runs in the session that was set up."""
        self.is_shared = False
        """Whether it was found that a pooler gives the process that serves it to others, too."""
        self.is_standby = False
        """Whether the server is a copy that follows another one, and takes no commands."""
        self.rights: Rights | None = None
        """What the user may need a right to, for the error that says which one is missing."""
        self.answer_s = answer_s
        """Seconds within which the server must answer a statement."""
        self.is_broken = False
        """Whether the connection can no longer be used."""
        self.was_lost = False
        """Whether it broke because it was ended from outside, and not because the server was silent."""
        self._is_inherited = False
        self.pg = self._connected(conninfo)
        self._selector = _Selector()
        self._selector.register(self.pg.socket, selectors.EVENT_READ)

    def _connected(self, conninfo: Secret) -> Any:  # noqa: ANN401 - a PGconn of psycopg
        deadline = time.monotonic() + self.answer_s
        polling = self._pq.PollingStatus
        pg = self._pq.PGconn.connect_start(conninfo.text.encode())
        try:
            status = polling.WRITING
            while status != polling.OK:
                if status == polling.FAILED or pg.status == self._pq.ConnStatus.BAD:
                    raise unreachable(self._where, pg.get_error_message("utf-8"))  # noqa: TRY301 - what was begun is closed below
                with _Selector() as selector:
                    selector.register(
                        pg.socket, selectors.EVENT_READ if status == polling.READING else selectors.EVENT_WRITE
                    )
                    if not selector.select(max(0.0, deadline - time.monotonic())):
                        raise silent(self._where, self.answer_s)  # noqa: TRY301 - the same
                status = pg.connect_poll()
        except BaseException:
            pg.finish()
            raise
        pg.nonblocking = 1
        pg.notice_handler = functools.partial(_keep_fatal, self._pq, self._fatals)
        return pg

    # Asking.

    def ask(self, name: str, *values: object) -> list[Any]:
        """Run a prepared statement and return its rows.

        Raises:
            StoreError: anything that goes wrong.
        """
        params = [_BINARY[type(value)](value) for value in values]
        prepared = self._prepared.get(name) or self._prepare(name)
        return self._exchange(self.pg.send_query_prepared, prepared, params, [1] * len(params), 1)

    def _prepare(self, name: str) -> bytes:
        prepared = f"{name}_{self._token}".encode()
        text = self._statements[name].replace(OURS.encode(), self.ours.encode())
        self._exchange(self.pg.send_prepare, prepared, self.mark.encode() + text)
        self._prepared[name] = prepared
        return prepared

    def ask_text(self, text: str) -> list[Any]:
        """Run one statement that is not prepared, and return its rows."""
        return self._exchange(self.pg.send_query_params, (self.mark + text).encode(), None, None, None, 1)

    def begin_snapshot(self, settled: int, counted_max: int, link: bytes) -> tuple[int, str | None, bytes]:
        """Begin a transaction that sees one moment, and run `settle` in it, in one round trip."""
        prepared = (self._prepared.get("settle") or self._prepare("settle")).decode()
        text = f"{_BEGIN_SNAPSHOT}; EXECUTE {prepared}({settled},{counted_max},'\\x{link.hex()}')"
        ((position, holders, found, pid),) = self.run(text)
        if pid != self.pid:
            raise self._shared()
        return position, holders, found

    def run(self, text: str) -> list[Any]:
        """Run one or more statements that take no values, and return the rows of the last one."""
        return self._exchange(self.pg.send_query, (self.mark + text).encode())

    def roll_back(self) -> None:
        """Roll back, unless the connection is broken: then the server does."""
        if not self.is_broken:
            with contextlib.suppress(StoreError):
                self.run("ROLLBACK")

    def _exchange(self, send: Callable[..., None], *values: object) -> list[Any]:
        look()
        if self._is_inherited:
            raise forked(self._where)
        pg, result, is_done = self.pg, None, False
        deadline = time.monotonic() + self.answer_s
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
            if result is None or result.status != self._pq.ExecStatus.FATAL_ERROR:  # else it said why before it went
                raise self._ended() from error
        finally:
            if not is_done:
                self.is_broken = True
        return self._rows(result)

    def _wait(self, deadline: float) -> None:
        if not self._selector.select(max(0.0, deadline - time.monotonic())):
            raise silent(self._where, self.answer_s)

    def _flush(self, deadline: float) -> None:
        """Send the rest of a large statement, and read meanwhile what the server says."""
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
        severity, state, message, constraint = _told(self._pq, result)
        if severity in {"FATAL", "PANIC"} or not state:
            self.is_broken = self.was_lost = True
            raise ended(self._where, state, message) if state else self._ended()
        if state in {_NOT_PREPARED, _PREPARED_ALREADY} or NOT_OURS in message:
            raise self._shared()
        by = result.error_field(self._pq.DiagnosticField.SOURCE_FUNCTION)
        if (
            state == "42501" and self.rights is not None and by != b"check_enable_rls"
        ):  # a policy hides rows: no grant helps
            raise self.rights.denied(self._where, message, (self.pg.user or b"").decode(errors="replace"))
        raise store_error(self._where, state, message, constraint or None)

    def _ended(self) -> StoreError:
        """Return why the connection is over: what the server said last, if it said anything."""
        with contextlib.suppress(self._error):
            while not self.pg.is_busy() and (result := self.pg.get_result()) is not None:
                _keep_fatal(self._pq, self._fatals, result)
        return ended(self._where, *(self._fatals[-1] if self._fatals else ("08006", "")))

    def _shared(self) -> StoreError:
        """Return the error of a session that is not ours alone, and use it no more."""
        self.is_broken = self.is_shared = True
        return pooled(self._where)

    # Its state and its end.

    @property
    def is_idle(self) -> bool:
        """Whether it is outside a transaction and can run the next statement."""
        return not self.is_broken and bool(self.pg.transaction_status == self._pq.TransactionStatus.IDLE)

    def is_alive(self) -> bool:
        """Return whether the server has left it open while it was idle: ending it would have left something to read."""
        return not self._selector.select(0)

    def heard(self, timeout_s: float) -> bool:
        """Wait for a notification, and return whether there was one."""
        self._selector.select(timeout_s)
        try:
            self.pg.consume_input()
        except self._error as error:
            raise self._ended() from error
        some = False
        while self.pg.notifies() is not None:
            some = True
        return some

    def finish(self) -> None:
        """Close the connection."""
        look()
        self.is_broken = True
        self._selector.close()
        self.pg.finish()

    def abandon(self) -> None:
        """Drop a connection inherited through a fork without a word to the server: it belongs to the parent."""
        self.is_broken = self._is_inherited = True
        with contextlib.suppress(self._error):  # it has no socket any more
            socket = self.pg.socket
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, socket)
            os.close(nowhere)
