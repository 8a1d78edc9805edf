"""The PostgreSQL store: one schema of a database that many processes on many machines share.

The law of this room: **nothing is guessed and nothing is sent twice.** If a connection is lost during an append, the
store ends that session on the server, so that nothing of it can come later; the registry then looks up in the stream
whether the append was recorded.

Statements stand in `sql/postgres.sql`. Why a reader never passes over an event that is committed late:
`postgres_gaps.py`. Connections with their deadlines and the server's clock: `postgres_connections.py`. How followers
wait: `postgres_listener.py`.

The connections are those of a session. A pooler between here and the server that gives each transaction to another
session (PgBouncer's modes transaction and statement) is refused on opening (`_check_pooler`). One that is noticed
later ends the store: what is prepared has a name of its own in each session, and an append, a snapshot and a lease look
at the process that serves them, in the same statement, so that nothing is recorded by another one.

What the URL leaves out (user, password, certificates), libpq takes from its environment variables and its password file
as always; what the URL says, and what is set here, they can't change.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import secrets
import time
import weakref
from typing import TYPE_CHECKING, Any, Final, cast

from versioning.errors import InvalidArgumentError, NewerFormatError, ReadOnlyError, StoreError, shown, verbatim
from versioning.limits import INTEGER_MAX
from versioning.store import recorder
from versioning.store.contract import AppendConflict
from versioning.store.postgres_connections import Clock, Pool, connect, now_us
from versioning.store.postgres_errors import quoted
from versioning.store.postgres_gaps import Gaps
from versioning.store.postgres_libpq import BIGINT, BOOLEAN, BYTEA, NOT_OURS, OURS, TEXT, array
from versioning.store.postgres_listener import Listener, Waiter
from versioning.store.recorder import Recorder, WouldWaitError, read_only, snapshot_ended, statements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import TypeVar

    from versioning.store.contract import KeptRow, Lease, LogRow, Row
    from versioning.store.opening import Access
    from versioning.store.postgres_connections import Settings
    from versioning.store.postgres_libpq import Connection

    Answer = TypeVar("Answer")

SQL: Final = statements("postgres")
SCHEMA: Final = 1
"""Version of the tables, kept in schema_version."""
INTERLEAVED_MAX: Final = 1_000
"""Most events of an append beside other writers; a larger append has the log for itself."""
DRAWS_MAX: Final = 20
"""Attempts to draw consecutive positions beside other writers, before an append has the log for itself."""
NOTIFY_S: Final = 0.02
"""Shortest time between two notifications of listeners by one process."""
END_S: Final = 1.0
"""Longest time to wait for the end of a session that was told to end."""
END_PAUSE_S: Final = 0.005
"""Pause between two looks whether it has ended."""
IDLE_TIMEOUT_S: Final = 60.0
"""Longest time that a process which hangs may hold the lock of a view or of a migration."""

_WRITERS: Final = 0x4D56_4501
_MIGRATION: Final = 0x4D56_4502
_VIEWS: Final = 0x4D56_4503
_LEASES: Final = 0x4D56_4504
"""Advisory locks in a database that others use too; the second key of each is a digest of names."""
_BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
_CONFLICT: Final = "Somebody else was first."
_LOG_COLUMNS: Final = (TEXT, BIGINT, TEXT, BYTEA, TEXT, BYTEA)
_KEPT_COLUMNS: Final = (TEXT, TEXT, TEXT, BOOLEAN, BYTEA, BIGINT, BIGINT, BIGINT, BIGINT)


def _arrays(kinds: Sequence[int], rows: Sequence[Sequence[object]]) -> list[bytes]:
    """Return the columns of rows, as arrays."""
    return [array(kind, column) for kind, column in zip(kinds, zip(*rows, strict=True), strict=True)]


def _spans(spans: Mapping[str, tuple[int, int]]) -> list[bytes]:
    """Return streams with two sequences each, as arrays."""
    columns = (list(spans), *zip(*spans.values(), strict=True)) if spans else ((), (), ())
    return [array(kind, column) for kind, column in zip((TEXT, BIGINT, BIGINT), columns, strict=True)]


def _digest(*names: str) -> int:
    """Return a key for an advisory lock: 31 bits of the names."""
    text = b"".join(b"%d:%b" % (len(name.encode()), name.encode()) for name in names)
    return int.from_bytes(hashlib.sha256(text).digest()[:4], "big") >> 1


def _statements(schema: str) -> dict[str, bytes]:
    """Return the statements on the tables of a schema."""
    place, key = quoted(schema), _digest(schema)
    # A function that is not stable, so that no planner tries it. What it sets can't be set, as the name has no dot.
    checked = f"CASE WHEN {OURS} THEN %s ELSE set_config('{NOT_OURS}','',true)::integer END"
    words = {
        "schema": place,
        "schema_text": place.replace("'", "''"),
        "writers": f"{checked % _WRITERS},{key}",
        "lease": checked % _LEASES,
        "writers_lock": f"classid={_WRITERS} AND objid={key} AND objsubid=2",
    }
    return {name: text.format_map(words).encode() for name, text in SQL.items()}


class Snapshot(recorder.Snapshot):
    """A transaction that sees one moment, on a connection of its own."""

    def __init__(self, where: str, connection: Connection, settled: int) -> None:
        """Read up to a settled position; `where` names the database in errors."""
        super().__init__(settled)
        self._where = where
        self._connection: Connection | None = connection

    def end(self) -> None:
        """Answer nothing from here on."""
        self._connection = None
        self._end = INTEGER_MAX  # so that every question comes to `ask`, which refuses

    def ask(self, name: str, *values: object) -> list[Any]:
        if self._connection is None:
            raise snapshot_ended(self._where)
        return self._connection.ask(name, *values)

    def texts(self, texts: Sequence[str]) -> object:
        return array(TEXT, texts)

    def spans(self, spans: Mapping[str, tuple[int, int]]) -> Sequence[object]:
        return _spans(spans)


class _ViewSession:
    """A connection inside a transaction that changes views."""

    def __init__(self, connection: Connection) -> None:
        self.ask = connection.ask

    def keep(self, view: int, rows: Sequence[KeptRow]) -> None:
        latest = list({row.key: row for row in rows}.values())  # one statement can't change a row twice
        self.ask("keep", view, *_arrays(_KEPT_COLUMNS, latest))


class _SessionLease:
    """A lock of a session of its own: the server ends it with the session, and so with its holder."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.close = connection.finish

    def check(self) -> None:
        self._connection.ask_text("SELECT 1")


class PostgresRecorder(Recorder):
    """The log and the kept views in one schema of a PostgreSQL database.

    Raises:
        StoreError: the database can't be reached, or is not ours, or its sequence is behind the log.
        NewerFormatError: a newer release wrote it.
    """

    path: Path | None = None
    """None: a database is no file beside which artifacts could lie."""
    leaves_gaps: bool = True

    def __init__(self, settings: Settings) -> None:
        """Connect, and make the tables if they are missing, unless they are only read."""
        self.read_only = settings.read_only
        self._pool = Pool(settings, _statements(settings.schema))
        self._where = settings.where
        self._gaps = Gaps(self._pool, self._where)
        self._channel = f"versioning_{_digest(settings.schema)}"
        self._notified_s = -math.inf
        self._listener = Listener(self._pool, self._channel)
        weakref.finalize(self, self._pool.close)
        try:
            with self._pool.use() as connection:
                if self.read_only:
                    _check_tables(connection, settings)
                else:
                    _migrate(connection, settings)
                    _check_sequence(connection, settings)
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        settings = self._pool.settings
        return f"PostgresRecorder({settings.database}, schema {shown(settings.schema)})"

    def close(self) -> None:
        self._pool.close()

    @property
    def lags(self) -> bool:
        return self._pool.lags

    # Asking.

    def _reading(self, question: Callable[[Connection], Answer]) -> Answer:
        """Ask something that changes nothing; if the connection was lost, ask again on another one."""
        connection = None
        try:
            with self._pool.use() as connection:
                return question(connection)
        except StoreError:
            if connection is None or not connection.was_lost:
                raise
        with self._pool.use() as connection:
            return question(connection)

    def ask(self, name: str, *values: object) -> list[Any]:
        return self._reading(lambda connection: connection.ask(name, *values))

    def spans(self, spans: Mapping[str, tuple[int, int]]) -> Sequence[object]:
        return _spans(spans)

    # The log.

    def append(self, rows: Sequence[Row]) -> range:
        if not rows:
            return range(0)
        if self.read_only:
            raise read_only(self._where)
        connection = None
        try:
            with self._pool.use() as connection:
                first = self._appended(connection, rows)
                if first is not None:
                    self._notify(connection)
        except StoreError as error:
            if error.facts.get("constraint") in {"stored_events_by_sequence", "stored_events_by_key"}:
                raise AppendConflict(_CONFLICT) from error
            if error.facts.get("constraint") == "stored_events_pkey":
                raise _behind(self._pool.settings) from error
            if connection is not None and connection.is_broken:
                self._end(connection)
            raise
        if first is None:
            raise AppendConflict(_CONFLICT)
        return range(first, first + len(rows))

    def _end(self, lost: Connection) -> None:
        """End the session of a lost connection, so that the stream then shows for good what the append came to.

        Behind a pooler its process may serve somebody else by now: then the last that it ran is not ours.
        """
        deadline = time.monotonic() + END_S
        with contextlib.suppress(StoreError), self._pool.use() as connection:
            while connection.ask("end_session", lost.backend, lost.mark) and time.monotonic() < deadline:
                time.sleep(END_PAUSE_S)

    def _appended(self, connection: Connection, rows: Sequence[Row]) -> int | None:
        """Append, and return the first position, or None if others were first or what a row follows is not there."""
        if len(rows) == 1:
            found = connection.ask("append", *rows[0])
            return found[0][0] if found else None
        columns = _arrays(_LOG_COLUMNS, rows)
        for alone in [False] * (DRAWS_MAX if len(rows) <= INTERLEAVED_MAX else 0) + [True]:
            ((taken, first),) = connection.ask("append_all", *columns, alone)
            if taken or first is not None:
                return cast("int | None", first)
        msg = f"{self._where} gives positions that do not follow each other."
        raise StoreError(msg, hint="Let the sequence stored_positions count in steps of 1.")

    def _notify(self, connection: Connection) -> None:
        """Notify listeners that something was recorded. It is a hint: nothing depends on it."""
        now_s = time.monotonic()
        if now_s - self._notified_s >= NOTIFY_S:
            self._notified_s = now_s
            with contextlib.suppress(StoreError):
                connection.ask("notify", self._channel)

    def log(self, after: int, limit: int, upto: int | None = None) -> list[LogRow]:
        end = INTEGER_MAX if upto is None else upto
        return self._reading(lambda connection: self._gaps.log(connection, after, end, limit))

    def head(self) -> int:
        return self._reading(self._gaps.settle)

    def waiter(self) -> Waiter:
        self._pool.check()
        if self.lags:
            msg = f"{self._where} is a standby, where nobody can tell which gaps in the positions will be filled."
            raise ReadOnlyError(msg, hint="Follow the log on the primary server.")
        return Waiter(self._listener)

    # The time.

    def now_us(self) -> int:
        """Return the server's time, in microseconds since 1970.

        So one process whose clock is wrong can't pin a model in the future.
        """
        return now_us() + self.server_offset_us()

    def server_offset_us(self) -> int:
        """Return by how much the server's clock is ahead of this machine's, 0 if they can't be told apart.

        It is looked at with every connection, once a minute, and when this machine's clock was set.
        """
        if self._pool.clock.is_stale():
            self._reading(self._look_at_clock)
        return self._pool.clock.offset_us

    def _look_at_clock(self, connection: Connection) -> None:
        before_us = now_us()
        ((server_us,),) = connection.ask("clock")
        self._pool.clock.set(server_us, before_us, now_us())

    def copy_to(self, file: Path, progress: Callable[[str, int, int], None] | None = None) -> None:  # noqa: ARG002 - the contract's
        msg = "A PostgreSQL database is backed up by PostgreSQL's own tools."
        schema = verbatim(shown(self._pool.settings.schema))
        hint = (
            f"Use pg_dump --format=custom with --schema={schema}, or your provider's backups. {{restoring}} says more."
        )
        outside = "This store is backed up by the tools of its database."
        raise InvalidArgumentError(msg, hint=hint, outside=outside, argument="file")

    # The kept views.

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        with contextlib.ExitStack() as stack:
            connection, settled = self._begun(stack)
            snapshot = Snapshot(self._where, connection, settled)
            try:
                yield snapshot
            finally:
                snapshot.end()
                connection.roll_back()

    def _begun(self, stack: contextlib.ExitStack) -> tuple[Connection, int]:
        """Begin a transaction that sees everything up to the position returned; retry once on a lost connection."""
        connection = stack.enter_context(self._pool.use())
        try:
            return connection, self._gaps.begin_snapshot(connection)
        except StoreError:
            if not connection.was_lost:
                raise
        stack.close()
        connection = stack.enter_context(self._pool.use())
        return connection, self._gaps.begin_snapshot(connection)

    @contextlib.contextmanager
    def view_session(self, *names: str, waits: bool) -> Iterator[_ViewSession]:
        if self.read_only:
            raise read_only(self._where)
        with self._pool.use() as connection:
            connection.run(_BEGIN)
            try:
                for lock in sorted({self._view_lock(name) for name in names}):
                    ((is_ours, _),) = connection.ask("lock_view" if waits else "try_lock_view", *lock)
                    if is_ours is False:
                        raise WouldWaitError  # noqa: TRY301 - it rolls back
                yield _ViewSession(connection)
                connection.run("COMMIT")
            except BaseException:
                connection.roll_back()
                raise

    def lease(self, name: str) -> Lease | None:
        if self.read_only:
            raise read_only(self._where)
        key = _digest(self._pool.settings.schema, name)
        connection = self._pool.connect(patient=True)
        try:
            ((is_ours,),) = connection.ask("lease", key)
        except BaseException:
            connection.finish()
            raise
        if is_ours:
            return _SessionLease(connection)
        connection.finish()
        return None

    def _view_lock(self, name: str) -> tuple[int, int, str]:
        return _VIEWS, _digest(self._pool.settings.schema, name), f"{int(IDLE_TIMEOUT_S * 1_000)}ms"


# The sequence of the positions.


def _check_sequence(connection: Connection, settings: Settings) -> None:
    """Check that no position before the last one will be given again.

    Backups of single tables and logical replicas do not carry a sequence. Its next position is then one that is taken,
    or one in an old gap, which readers have passed.

    Raises:
        StoreError: the sequence is behind the log.
    """
    if _is_behind(connection):
        raise _behind(settings)


def _is_behind(connection: Connection) -> bool:
    ((drawn, head, may_look),) = connection.ask("sequence")
    if drawn is None:  # nobody has drawn yet; only who may look knows where it begins
        ((drawn,),) = connection.ask("sequence_start") if may_look else ((0,),)
    return bool(drawn < head)


def _behind(settings: Settings) -> StoreError:
    mend = " ".join(_statements(settings.schema)["mend_sequence"].decode().split())
    msg = (
        f"{settings.where} has a sequence stored_positions that is behind its log, as after a restore of tables alone."
    )
    return StoreError(msg, hint=f"While nothing else writes, let the owner of the tables run: {verbatim(mend)}")


# The tables.


def migrate(settings: Settings) -> None:
    """Make the schema and its tables if they are missing, or bring them to the form of this release.

    Opening a store does the same. Called beforehand by the owner of the database, it lets others open the store who may
    only read and write the tables.

    Raises:
        StoreError: the database can't be reached, or does not allow it.
        NewerFormatError: a newer release wrote it.
    """
    connection = connect(settings, _statements(settings.schema), Clock())
    try:
        _migrate(connection, settings)
    finally:
        connection.finish()


def access_to(settings: Settings) -> Access | None:
    """Return whether this user may keep views there, or only read; None if our tables are not there.

    A logical replica, whose sequence stays behind, is to be read only, too.

    Raises:
        StoreError: the database can't be reached.
        NewerFormatError: a newer release wrote it.
    """
    connection = connect(settings, _statements(settings.schema), Clock())
    try:
        if _version(connection, settings) is None:
            return None
        ((may_write,),) = connection.ask("may_write")
        is_copy = connection.is_standby or _is_behind(connection)
        return "write" if may_write and not is_copy else "read"
    finally:
        connection.finish()


def _check_tables(connection: Connection, settings: Settings) -> None:
    """Check that our tables are there; nothing is made.

    Raises:
        StoreError: there are none, or those of an older release.
        NewerFormatError: a newer release made them.
    """
    if _version(connection, settings) is None:
        msg = f"{settings.where} has no tables of ours in the schema {shown(settings.schema)}."
        raise StoreError(msg, hint="Check the URL for a typo: {migrate} makes them, where it may write.")


def _migrate(connection: Connection, settings: Settings) -> None:
    if _version(connection, settings) == SCHEMA:
        return
    connection.run(_BEGIN)
    try:
        connection.ask_text(
            f"SELECT pg_advisory_xact_lock({_MIGRATION},{_digest(settings.schema)}),"
            f"set_config('idle_in_transaction_session_timeout','{int(IDLE_TIMEOUT_S * 1_000)}ms',true)"
        )
        if _version(connection, settings) is None:  # nobody else was faster
            _make_tables(connection, settings)
        connection.run("COMMIT")
    except BaseException:
        connection.roll_back()
        raise


def _version(connection: Connection, settings: Settings) -> int | None:
    """Return the version of the tables, or None if there are none.

    Raises:
        NewerFormatError: it is one of a newer release.
        StoreError: it is one of an older release.
    """
    ((_, is_there),) = connection.ask("has_version", settings.schema)
    if not is_there:
        return None
    ((version,),) = connection.ask("version")
    if version is None or version < SCHEMA:
        msg = f"{settings.where} has tables of an older release in the schema {shown(settings.schema)}."
        raise StoreError(msg, hint="Let {migrate} of this release bring them up to date, where it may write.")
    if version != SCHEMA:
        there = f"tables of version {version} in the schema {shown(settings.schema)}"
        msg = f"{settings.where} has {there}; this release knows version {SCHEMA}."
        raise NewerFormatError(msg)
    return cast("int", version)


def _make_tables(connection: Connection, settings: Settings) -> None:
    ((has_schema, _),) = connection.ask("has_version", settings.schema)
    if not has_schema:
        connection.run(f"CREATE SCHEMA {quoted(settings.schema)}")
    made = _statements(settings.schema)
    try:
        connection.run(";".join(made[name].decode() for name in SQL if name.startswith("create_")))
        connection.ask("add_id", secrets.token_hex(16))
    except StoreError as error:
        if error.facts.get("sqlstate") != "42P07":
            raise
        msg = f"{settings.where} has other tables in the schema {shown(settings.schema)}."
        raise StoreError(msg, hint="Name another schema in the URL: ?schema=…") from error
