"""The PostgreSQL store: one schema of a database that many processes on many machines share.

The law of this room: **no reader passes over a position that can still become visible.** Positions are drawn before the
commit, so they become visible in any order. Whoever draws one holds a shared advisory lock from before the drawing
until its transaction is over. A reader that meets a gap looks, once, who holds that lock, and waits for exactly those
transactions: then whatever is missing was rolled back, for ever. It queues for no lock, so that no writer ever waits
for a reader, and the position up to which all is settled is remembered.

Every statement has a deadline here besides the server's own timeouts, so that a server which is silent can't hang a
caller; what goes wrong is a StoreError with a sentence and a hint, and never a psycopg.Error. What an append came to
when its connection was lost is not guessed: nothing is sent twice, and the registry reads the stream, where nothing can
come any more, because what was left of the append was ended first.

The connections are those of a session: a pooler between here and the server has to be in session mode.

What the URL leaves out (user, password, certificates), libpq takes from its environment variables and its password file
as always; what the URL says, and what is set here, they can't change.
"""

# ruff: noqa: S608 - statements are put together from our own constants, and from the quoted name of the schema

from __future__ import annotations

import contextlib
import hashlib
import math
import re
import time
import weakref
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, Final, Self, cast
from urllib.parse import unquote_to_bytes

from versioning.errors import InvalidArgumentError, NewerFormatError, StoreError, shown
from versioning.store.contract import INTEGER_MAX, LIVE, AppendConflict, KeptRow, LogRow, Row, TailRow, ViewPosition
from versioning.store.postgres_connections import (
    BIGINT,
    BOOLEAN,
    BYTEA,
    GRACE_S,
    NOW,
    TEXT,
    Clock,
    Connection,
    Pool,
    Secret,
    Settings,
    array,
    now_us,
)
from versioning.store.postgres_listener import Listener, Waiter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import TypeVar

    from versioning.store.contract import Among

    Answer = TypeVar("Answer")

SCHEMA: Final = 1
"""Of the tables, kept in schema_version."""
SCHEMA_NAME: Final = "versioning"
"""Where the tables are if the URL names no schema: not `public`, where eventsourcing has a table of the same name, and
where since PostgreSQL 15 only the owner of the database may make tables."""
CONNECTIONS: Final = 3
"""How many connections a registry opens at most; a follower listens on one more."""
CONNECT_TIMEOUT_S: Final = 5.0
LOCK_TIMEOUT_S: Final = 5.0
STATEMENT_TIMEOUT_S: Final = 30.0
TIMEOUT_S_MIN: Final = 0.001
TIMEOUT_S_MAX: Final = 86_400.0
PAUSE_S_MAX: Final = 0.02
"""How often a reader at a gap looks at most whether the writers that it waits for are done."""
COUNTED_MAX: Final = 1_000
"""How many rows are counted to see that none is missing; behind more, the writers are looked at instead."""
INTERLEAVED_MAX: Final = 1_000
"""How many events are appended beside other writers; an append of more has the log for itself."""
DRAWS_MAX: Final = 20
"""How often the positions of one append are drawn before it has the log for itself: others may draw between its own."""
NOTIFY_S: Final = 0.02
"""How often one process tells listeners at most that something was recorded."""
IDLE_TIMEOUT_S: Final = 60.0
"""How long a process that stands still may hold the lock of a view or of a migration."""

_WRITERS: Final = 0x4D56_4501
_MIGRATION: Final = 0x4D56_4502
_VIEWS: Final = 0x4D56_4503
"""The advisory locks, in a database that others use too; the second key is a digest of the names."""

_OPTIONS: Final = frozenset({"schema", "connections", "connect_timeout_s", "lock_timeout_s", "statement_timeout_s"})
_LIBPQ_OPTIONS: Final = frozenset(
    {"host", "sslmode", "sslrootcert", "sslcert", "sslkey", "channel_binding", "require_auth", "application_name"}
)
_URL_HINT: Final = "Use postgresql://user:password@host:5432/database?schema=versioning, percent-encoded."


def _invalid(sentence: str, hint: str = _URL_HINT) -> InvalidArgumentError:
    """Refuse a URL: without repeating any part of it that could be one of the password."""
    return InvalidArgumentError(sentence, hint=hint, argument="url")


_ESCAPED: Final = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*", re.DOTALL)
_PLACE: Final = re.compile(r"(?:\[(?P<literal>[0-9A-Fa-f:.]+)\]|(?P<name>[^:\[\],]*))(?::(?P<port>[0-9]{1,5}))?")
_NAME: Final = re.compile(r"[a-z_]{1,40}")
_SECONDS: Final = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6})?")
_COUNT: Final = re.compile(r"[1-9][0-9]{0,2}")


def _decoded(text: str) -> str:
    with contextlib.suppress(UnicodeError):
        if _ESCAPED.fullmatch(text) and (plain := unquote_to_bytes(text).decode()).isprintable():
            return plain
    msg = "The URL of the store is not percent-encoded UTF-8 without control characters."
    raise _invalid(msg, "Write % as %25.")


def parse_url(url: str) -> Settings:
    """Take a `postgresql://` URL apart.

    Raises:
        InvalidArgumentError: it has another form, or an option that is not known.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in {"postgresql", "postgres"}:
        msg = "The URL of a PostgreSQL store begins with postgresql://."
        raise _invalid(msg)
    hierarchy, _, query = rest.partition("?")
    authority, _, path = hierarchy.partition("/")
    if "#" in rest or "@" in path + query or "/" in path:
        msg = "The URL of the store has a #, an @ or a / where none can be."
        raise _invalid(msg, "Percent-encode the user, the password and the options: # is %23, / is %2F, @ is %40.")
    who, _, place = authority.rpartition("@")
    user, _, password = who.partition(":")
    found = _PLACE.fullmatch(place)
    if found is None:
        msg = "The URL of the store has no host and port of the form host:5432."
        raise _invalid(msg)
    options = _options(query)
    params = {name: options.pop(name) for name in _LIBPQ_OPTIONS & options.keys()}
    host = found["literal"] or _decoded(found["name"])
    if host and "host" in params:
        msg = "The URL of the store names the host twice."
        raise _invalid(msg)
    given = {
        "host": host,
        "port": found["port"],
        "dbname": _decoded(path),
        "user": _decoded(user),
        "password": _decoded(password),
    }
    params |= {name: value for name, value in given.items() if value}
    if "dbname" not in params:
        msg = "The URL of the store names no database."
        raise _invalid(msg)
    at = f" at {shown(params['host'])[1:-1]}" if "host" in params else ""
    schema = _checked_schema(options.get("schema", SCHEMA_NAME))
    statement_timeout_s = _seconds(options, "statement_timeout_s", STATEMENT_TIMEOUT_S)
    return Settings(
        conninfo=Secret(_conninfo({"application_name": "versioning"} | params | _fixed(statement_timeout_s))),
        where=f"The PostgreSQL database {shown(params['dbname'])}{at}",
        schema=schema,
        connections=_connections(options),
        connect_timeout_s=_seconds(options, "connect_timeout_s", CONNECT_TIMEOUT_S),
        lock_timeout_s=_seconds(options, "lock_timeout_s", LOCK_TIMEOUT_S),
        statement_timeout_s=statement_timeout_s,
    )


def _options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for item in query.split("&") if query else []:
        name, _, value = (_decoded(part) for part in item.partition("="))
        if name not in _OPTIONS | _LIBPQ_OPTIONS or not value:
            which = f"the option {name}" if _NAME.fullmatch(name) else "an option"
            msg = f"The URL of the store has {which}, which is not known or has no value."
            raise _invalid(msg, f"Options are {', '.join(sorted(_OPTIONS | _LIBPQ_OPTIONS))}.")
        if name in options:
            msg = f"The URL's option {name} is given twice."
            raise _invalid(msg)
        options[name] = value
    return options


def _seconds(options: dict[str, str], name: str, default_s: float) -> float:
    text = options.get(name)
    if text is None:
        return default_s
    if not _SECONDS.fullmatch(text) or not TIMEOUT_S_MIN <= float(text) <= TIMEOUT_S_MAX:
        times = f"from {TIMEOUT_S_MIN:g} to {TIMEOUT_S_MAX:g}"
        msg = f"The URL's option {name} is a time in seconds {times}, not {shown(text)}."
        raise _invalid(msg, f"Use for example {name}={default_s:g}.")
    return float(text)


def _connections(options: dict[str, str]) -> int:
    text = options.get("connections", str(CONNECTIONS))
    if not _COUNT.fullmatch(text):
        msg = f"The URL's option connections is a number from 1 to 999, not {shown(text)}."
        raise _invalid(msg, f"Use for example connections={CONNECTIONS}.")
    return int(text)


def _checked_schema(name: str) -> str:
    if len(name.encode()) > 63 or name.startswith("pg_") or name == "information_schema":  # noqa: PLR2004 - NAMEDATALEN
        msg = f"The schema can't be named {shown(name)}."
        raise _invalid(msg, "A name has at most 63 bytes, and does not begin with pg_.")
    return name


def _fixed(statement_timeout_s: float) -> dict[str, str]:
    """What libpq's environment must not change; and a peer that is gone is noticed by TCP itself."""
    return {
        "client_encoding": "UTF8",
        "options": "",
        "target_session_attrs": "primary",
        "keepalives": "1",
        "keepalives_idle": "10",
        "keepalives_interval": "5",
        "keepalives_count": "3",
        "tcp_user_timeout": str(int((statement_timeout_s + GRACE_S) * 1_000)),
    }


def _conninfo(params: dict[str, str]) -> str:
    quoted = {name: value.replace("\\", "\\\\").replace("'", "\\'") for name, value in params.items()}
    return " ".join(f"{name}='{value}'" for name, value in quoted.items())


# The statements. `{s}` is the schema, `{w}` the lock of writers.

_TABLES: Final = """
CREATE TABLE {s}.schema_version (version integer NOT NULL);
CREATE TABLE {s}.stored_events (
    position bigint GENERATED BY DEFAULT AS IDENTITY (SEQUENCE NAME {s}.stored_positions) PRIMARY KEY,
    originator_id text COLLATE "C" NOT NULL,
    originator_version bigint NOT NULL,
    topic text NOT NULL,
    state bytea NOT NULL,
    idempotency_key text COLLATE "C",
    CONSTRAINT stored_events_by_sequence UNIQUE (originator_id, originator_version)
);
CREATE UNIQUE INDEX stored_events_by_key ON {s}.stored_events (originator_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE TABLE {s}.kept_views (
    view bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    position bigint NOT NULL,
    latest_us bigint NOT NULL
);
CREATE TABLE {s}.kept_rows (
    view bigint NOT NULL,
    key text COLLATE "C" NOT NULL,
    workspace text COLLATE "C" NOT NULL,
    model_name text COLLATE "C" NOT NULL,
    live boolean NOT NULL,
    first_position bigint NOT NULL,
    first_us bigint NOT NULL,
    last_position bigint NOT NULL,
    last_us bigint NOT NULL,
    state bytea NOT NULL,
    PRIMARY KEY (view, key)
);
CREATE INDEX kept_rows_by_name ON {s}.kept_rows (view, workspace, live, model_name, key);
INSERT INTO {s}.schema_version VALUES (1);
"""

_COLUMNS: Final = "originator_id,originator_version,topic,state,idempotency_key"
_OF_STREAM: Final = (
    "SELECT position,originator_version,topic,state FROM {s}.stored_events WHERE originator_id=$1::text "
)
_BETWEEN: Final = (
    _OF_STREAM + "AND originator_version>$2::bigint AND originator_version<=$3::bigint ORDER BY originator_version"
)
_LOG: Final = (
    "SELECT position,originator_id,originator_version,topic,state FROM {s}.stored_events "
    "WHERE position>$1::bigint AND position<=$2::bigint ORDER BY position LIMIT $3::bigint"
)
_HOLDERS: Final = (
    "SELECT coalesce(string_agg(pid || '/' || virtualtransaction, ','), '') FROM pg_locks "
    "WHERE locktype='advisory' AND granted AND {w} "
    "AND database=(SELECT oid FROM pg_database WHERE datname=current_database())"
)
_SPAN: Final = "first_position,first_us,last_position,last_us"
_KEPT: Final = f"SELECT workspace,model_name,key,live,state,{_SPAN} FROM {{s}}.kept_rows "
_PAGE: Final = _KEPT + (
    "WHERE view=$1::bigint AND workspace=$2::text AND live={live} AND (model_name,key)>($3::text,$4::text) "
    "AND first_position<=$6::bigint AND first_us<=$7::bigint "
)
_PAGE_END: Final = "ORDER BY model_name,key LIMIT $5::bigint"

_STATEMENTS: Final = {
    # The lock comes before the position, because no row passes the condition without it.
    "append": "INSERT INTO {s}.stored_events (" + _COLUMNS + ") SELECT $1::text,$2::bigint,$3::text,$4::bytea,$5::text "
    "WHERE pg_advisory_xact_lock_shared({k}) IS NOT NULL "
    "ON CONFLICT (originator_id,originator_version) DO NOTHING RETURNING position",
    # Positions that others drew in between are given up, and drawn again by the next try.
    "append_all": """WITH taken AS MATERIALIZED (
    SELECT EXISTS (
        SELECT FROM {s}.stored_events WHERE originator_id=($1::text[])[1] AND originator_version=($2::bigint[])[1]
    )
), gate AS MATERIALIZED (
    SELECT WHERE NOT (SELECT * FROM taken)
    AND CASE WHEN $6::boolean THEN pg_advisory_xact_lock({k}) ELSE pg_advisory_xact_lock_shared({k}) END IS NOT NULL
), drawn AS MATERIALIZED (
    SELECT array_agg(nextval('{q}.stored_positions')) AS positions FROM gate, generate_series(1,cardinality($1))
), appended AS (
    INSERT INTO {s}.stored_events (position,""" + _COLUMNS + """)
    SELECT positions[place],one,two,three,four,five
    FROM drawn, unnest($1,$2,$3::text[],$4::bytea[],$5::text[]) WITH ORDINALITY AS row (one,two,three,four,five,place)
    WHERE positions[cardinality($1)]-positions[1]=cardinality($1)-1
    ORDER BY place RETURNING position
) SELECT (SELECT * FROM taken), (SELECT min(position) FROM appended)""",
    "tails": "SELECT position,originator_id,originator_version,topic,state FROM {s}.stored_events "
    "WHERE originator_id=ANY($1::text[]) AND (originator_id,originator_version)>($2::text,$3::bigint) "
    "AND position<=$4::bigint ORDER BY originator_id,originator_version LIMIT $5::bigint",
    "ranges": "SELECT position,originator_id,originator_version,topic,state "
    "FROM unnest($1::text[],$2::bigint[],$3::bigint[]) AS span (stream,low,high) JOIN {s}.stored_events "
    "ON originator_id=stream AND originator_version>low AND originator_version<=high "
    "ORDER BY originator_id,originator_version",
    "of_key": _OF_STREAM + "AND idempotency_key=$2::text",
    "log": _LOG,
    # NULL: no position is missing; else who may still fill the gaps, which is looked at behind the rows.
    "head": "SELECT position, CASE WHEN position=$1::bigint OR position>$1 AND position-$1<=$2::bigint AND "
    "position-$1=(SELECT count(*) FROM {s}.stored_events WHERE position>$1) THEN NULL ELSE (" + _HOLDERS + ") END "
    "FROM (SELECT coalesce(max(position),0) AS position FROM {s}.stored_events) AS head",
    "holders": _HOLDERS,
    "forward": _BETWEEN + " LIMIT $4::bigint",
    "view": "SELECT view,position,latest_us FROM {s}.kept_views WHERE name=$1::text",
    "rows": _KEPT + "WHERE view=$1::bigint AND key=ANY($2::text[])",
    "page_live": _PAGE.replace("{live}", "true") + _PAGE_END,
    # Each half has the limit, so that no plan sorts them whole.
    "page": "SELECT * FROM ((" + _PAGE.replace("{live}", "false")
    + "AND (last_position>$8::bigint OR last_us>$9::bigint) " + _PAGE_END
    + ") UNION ALL (" + _PAGE.replace("{live}", "true") + _PAGE_END + ")) AS page " + _PAGE_END,
    "try_view": "SELECT pg_try_advisory_xact_lock($1::bigint::integer,$2::bigint::integer),"
    "set_config('idle_in_transaction_session_timeout',$3::text,true)",
    "lock_view": "SELECT pg_advisory_xact_lock($1::bigint::integer,$2::bigint::integer),"
    "set_config('idle_in_transaction_session_timeout',$3::text,true)",
    "new_view": "INSERT INTO {s}.kept_views (name,position,latest_us) VALUES ($1::text,0,0) RETURNING view",
    "move_view": "UPDATE {s}.kept_views SET position=$2::bigint,latest_us=$3::bigint WHERE view=$1::bigint",
    "keep": "INSERT INTO {s}.kept_rows (view,workspace,model_name,key,live,state," + _SPAN + ") "
    "SELECT $1::bigint,* FROM unnest($2::text[],$3::text[],$4::text[],$5::boolean[],$6::bytea[],"
    "$7::bigint[],$8::bigint[],$9::bigint[],$10::bigint[]) ON CONFLICT (view,key) DO UPDATE "
    "SET workspace=excluded.workspace,model_name=excluded.model_name,live=excluded.live,state=excluded.state,"
    "first_position=excluded.first_position,first_us=excluded.first_us,last_position=excluded.last_position,"
    "last_us=excluded.last_us",
    "drop_rows": "DELETE FROM {s}.kept_rows WHERE view=(SELECT view FROM {s}.kept_views WHERE name=$1::text)",
    "drop_view": "DELETE FROM {s}.kept_views WHERE name=$1::text",
    "name_view": "UPDATE {s}.kept_views SET name=$2::text WHERE name=$1::text",
    "clock": "SELECT " + NOW,
    "newest": "SELECT coalesce(max(position),0) FROM {s}.stored_events",
    # A commit of its own, which nobody waits for; in the append's, it would let only one commit at a time.
    "notify": "SELECT set_config('synchronous_commit','off',true),set_config('lock_timeout','50ms',true),"
    "pg_notify($1::text,'')",
    "end": "SELECT pg_terminate_backend(pid,1000) FROM pg_stat_activity WHERE pid || '/' || backend_start=$1::text",
    "has_version": "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname=$1::text), EXISTS (SELECT FROM pg_class "
    "JOIN pg_namespace ON pg_namespace.oid=relnamespace WHERE nspname=$1 AND relname='schema_version')",
    "version": "SELECT max(version) FROM {s}.schema_version",
}  # fmt: skip

_CONFLICT: Final = "Somebody else was first."
_BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"


def _digest(*names: str) -> int:
    """Give a key for an advisory lock: 31 bits of the names."""
    text = b"".join(b"%d:%b" % (len(name.encode()), name.encode()) for name in names)
    return int.from_bytes(hashlib.sha256(text).digest()[:4], "big") >> 1


def _statements(schema: str) -> dict[str, bytes]:
    quoted = '"' + schema.replace('"', '""') + '"'
    key = _digest(schema)
    words = {
        "{s}": quoted,
        "{q}": quoted.replace("'", "''"),
        "{k}": f"{_WRITERS},{key}",
        "{w}": f"classid={_WRITERS} AND objid={key} AND objsubid=2",
    }
    return {name: _filled(text, words).encode() for name, text in _STATEMENTS.items()}


def _filled(text: str, words: dict[str, str]) -> str:
    return re.sub(r"\{[skqw]\}", lambda found: words[found[0]], text)


# The recorder.


class Snapshot:
    """The log and the kept views as of one moment."""

    def __init__(self, connection: Connection, where: str, settled: int) -> None:
        """Read from a connection that is inside a transaction; behind `settled` the log is not read."""
        self._connection: Connection | None = connection
        self._where = where
        self._settled = settled
        self._views: dict[str, tuple[int, int, int] | None] = {}

    def end(self) -> None:
        """Let go of the connection."""
        self._connection = None

    def _ask(self, name: str, *values: object) -> list[Any]:
        if self._connection is None:
            msg = f"{self._where} was asked through a snapshot that has ended."
            raise StoreError(msg, hint="Take another one.")
        return self._connection.ask(name, *values)

    def _view(self, name: str) -> tuple[int, int, int] | None:
        if name not in self._views:
            found = self._ask("view", name)
            self._views[name] = found[0] if found else None
        return self._views[name]

    def view_position(self, name: str) -> ViewPosition | None:
        """Say how far a kept view has come, if there is one."""
        found = self._view(name)
        return None if found is None else ViewPosition(*found[1:])

    def view_rows(self, name: str, keys: Sequence[str]) -> list[KeptRow]:
        """Give the rows of these keys, those that are there."""
        found = self._view(name)
        if found is None or not keys:
            return []
        return [KeptRow(*row) for row in self._ask("rows", found[0], array(TEXT, keys))]

    def view_page(
        self, name: str, workspace: str, among: Among, after: tuple[str, str] = ("", ""), limit: int | None = None
    ) -> list[KeptRow]:
        """Give rows of a workspace behind a model's name and a key, in the order of both, by code points."""
        found = self._view(name)
        if found is None:
            return []
        values = (found[0], workspace, *after, limit, *among)
        rows = self._ask("page_live", *values[:7]) if among[2:] == LIVE[2:] else self._ask("page", *values)
        return [KeptRow(*row) for row in rows]

    def log(self, after: int, limit: int, upto: int | None = None) -> list[LogRow]:
        """Give the rows at the positions `after` < position <= `upto`, oldest first."""
        end = self._settled if upto is None else min(upto, self._settled)
        return self._ask("log", after, end, limit) if after < end else []

    def tails(self, streams: Sequence[str], after: tuple[str, int], limit: int, upto: int | None) -> list[LogRow]:
        """Give rows of these streams up to a position, in the order of streams and sequences, from behind a place."""
        end = self._settled if upto is None else min(upto, self._settled)
        return self._ask("tails", array(TEXT, streams), *after, end, limit)


class PostgresRecorder:
    """The log and the kept views in one schema of a PostgreSQL database.

    Raises:
        InvalidArgumentError: the URL has another form.
        StoreError: the database can't be reached, or is not ours.
        NewerFormatError: a newer release wrote it.
    """

    path: Path | None = None
    """None: there is no file beside which artifacts could lie."""
    leaves_gaps: bool = True

    def __init__(self, settings: Settings) -> None:
        """Connect, and make the tables where they are missing."""
        self._pool = Pool(settings, _statements(settings.schema))
        self._where = settings.where
        self._channel = f"versioning_{_digest(settings.schema)}"
        self._notified_s = -math.inf
        self._listener = Listener(self._pool, self._channel)
        weakref.finalize(self, self._pool.close)
        try:
            with self._pool.use() as connection:
                _migrate(connection, settings)
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls, url: str) -> Self:
        """Open the store that a URL means: `postgresql://user:password@host:5432/database?schema=versioning`.

        User, password and options are percent-encoded. Further options: `connect_timeout_s`, `lock_timeout_s` and
        `statement_timeout_s`, in seconds; `connections`, how many are opened at most; and libpq's `host` (a folder
        means the socket in it), `sslmode`, `sslrootcert`, `sslcert`, `sslkey`, `channel_binding`, `require_auth` and
        `application_name`.
        """
        return cls(parse_url(url))

    def close(self) -> None:
        """Close the store; a second time is fine, anything else afterwards is a StoreError."""
        self._pool.close()

    # Asking.

    def _reading(self, question: Callable[[Connection], Answer]) -> Answer:
        """Ask something that changes nothing; on a second connection, where the first one was lost."""
        connection = None
        try:
            with self._pool.use() as connection:
                return question(connection)
        except StoreError:
            if connection is None or not connection.was_lost:
                raise
        with self._pool.use() as connection:
            return question(connection)

    def _read(self, name: str, *values: object) -> list[Any]:
        return self._reading(lambda connection: connection.ask(name, *values))

    # The log.

    def append(self, rows: Sequence[Row]) -> range:
        """Record all rows or none; give their positions.

        Raises:
            AppendConflict: somebody else was first, or the key was used; nothing was recorded.
            StoreError: anything else; whether it was recorded may not be known.
        """
        if not rows:
            return range(0)
        connection = None
        try:
            with self._pool.use() as connection:
                first = self._appended(connection, rows)
                if first is not None:
                    self._notify(connection)
        except StoreError as error:
            if error.facts.get("constraint") in {"stored_events_by_sequence", "stored_events_by_key"}:
                raise AppendConflict(_CONFLICT) from error
            if connection is not None and connection.is_broken:
                self._end(connection)
            raise
        if first is None:
            raise AppendConflict(_CONFLICT)
        return range(first, first + len(rows))

    def _end(self, lost: Connection) -> None:
        """See that what was sent on a lost connection is over: what the stream then holds, it came to."""
        with contextlib.suppress(StoreError), self._pool.use() as connection:
            connection.ask("end", lost.backend)

    def _appended(self, connection: Connection, rows: Sequence[Row]) -> int | None:
        """Append, and give the first position; None where the first row is there already."""
        if len(rows) == 1:
            found = connection.ask("append", *rows[0])
            return found[0][0] if found else None
        kinds = (TEXT, BIGINT, TEXT, BYTEA, TEXT)
        columns = [array(kind, column) for kind, column in zip(kinds, zip(*rows, strict=True), strict=True)]
        for alone in [False] * (DRAWS_MAX if len(rows) <= INTERLEAVED_MAX else 0) + [True]:
            ((taken, first),) = connection.ask("append_all", *columns, alone)
            if taken or first is not None:
                return cast("int | None", first)
        msg = f"{self._where} gives positions that do not follow each other."
        raise StoreError(msg, hint="Let the sequence stored_positions count in steps of 1.")

    def _notify(self, connection: Connection) -> None:
        """Tell listeners that something was recorded: a hint, so that nothing depends on it."""
        now_s = time.monotonic()
        if now_s - self._notified_s >= NOTIFY_S:
            self._notified_s = now_s
            with contextlib.suppress(StoreError):
                connection.ask("notify", self._channel)

    def _settle(self, connection: Connection) -> int:
        """Give the position of the last row; what is missing up to there will never come.

        Raises:
            StoreError: a transaction that appends takes too long.
        """
        ((position, holders),) = connection.ask("head", self._pool.settled, COUNTED_MAX)
        if holders:
            self._await_writers(connection, set(holders.split(",")))
        self._pool.settled = position
        return cast("int", position)

    def _await_writers(self, connection: Connection, writers: set[str]) -> None:
        """Wait until these transactions are over; others that began later do not matter."""
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

    def _log(self, connection: Connection, name: str, after: int, upto: int, limit: int, *values: object) -> list[Any]:
        """Read the log, and see that nothing is missing that may still come."""
        settled = self._pool.settled
        rows = connection.ask(name, after, upto, limit, *values)
        end = rows[-1][0] if rows else after
        is_open = settled < upto < INTEGER_MAX and len(rows) < limit  # more may come, up to a place that is given
        if end <= settled and not is_open:
            return rows
        start = max(after, settled)
        if not is_open and len(rows) - bisect_right(rows, start, key=lambda row: row[0]) == end - start:
            if after <= settled:
                self._pool.settled = end
            return rows
        return connection.ask(name, after, min(upto, self._settle(connection)), limit, *values)

    def tail(self, stream: str, after: int, upto: int | None = None, limit: int | None = None) -> list[TailRow]:
        """Give the rows of a stream at the sequences `after` < sequence <= `upto`, oldest first, `limit` at most."""
        return self._read("forward", stream, after, INTEGER_MAX if upto is None else upto, limit)

    def ranges(self, spans: Mapping[str, tuple[int, int]]) -> list[LogRow]:
        """Give the rows of several streams, each at its sequences after the one and up to the other, by streams."""
        columns = (list(spans), *zip(*spans.values(), strict=True)) if spans else ((), (), ())
        arrays = (array(kind, column) for kind, column in zip((TEXT, BIGINT, BIGINT), columns, strict=True))
        return self._read("ranges", *arrays)

    def log(self, after: int, limit: int, upto: int | None = None) -> list[LogRow]:
        """Give the rows at the positions `after` < position <= `upto`, oldest first."""
        end = INTEGER_MAX if upto is None else upto
        return self._reading(lambda connection: self._log(connection, "log", after, end, limit))

    def head(self) -> int:
        """Give the position of the last row, 0 where there is none."""
        return self._reading(self._settle)

    def find_key(self, stream: str, key: str) -> TailRow | None:
        """Give the first row of the append with this idempotency key, if there is one."""
        rows: list[TailRow] = self._read("of_key", stream, key)
        return rows[0] if rows else None

    def notice_other_writer(self) -> None:
        """Do nothing: that is what the server is for."""

    def waiter(self) -> Waiter:
        """Give what a follower waits with."""
        self._pool.check()
        return Waiter(self._listener)

    # The time.

    def now_us(self) -> int:
        """Give the present, in microseconds since 1970, by the server's clock.

        So that one process whose clock is wrong can't pin a model in the future.
        """
        return now_us() + self.server_offset_us()

    def server_offset_us(self) -> int:
        """Say how far the server's clock is ahead of this machine's; 0 where they can't be told apart.

        It is looked at with every connection, once a minute, and when this machine's clock was set.
        """
        if self._pool.clock.is_stale():
            self._reading(self._look_at_clock)
        return self._pool.clock.offset_us

    def _look_at_clock(self, connection: Connection) -> None:
        before_us = now_us()
        ((server_us,),) = connection.ask("clock")
        self._pool.clock.set(server_us, before_us, now_us())

    # The kept views.

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Give the log and the kept views as of one moment, whatever is recorded meanwhile."""
        with contextlib.ExitStack() as stack:
            connection, settled = self._begun(stack)
            snapshot = Snapshot(connection, self._where, settled)
            try:
                yield snapshot
            finally:
                snapshot.end()
                connection.roll_back()

    def _begun(self, stack: contextlib.ExitStack) -> tuple[Connection, int]:
        """Begin a transaction that sees all up to the position given; a second time, where the connection was lost."""
        connection = stack.enter_context(self._pool.use())
        try:
            return connection, self._begin(connection)
        except StoreError:
            if not connection.was_lost:
                raise
        stack.close()
        connection = stack.enter_context(self._pool.use())
        return connection, self._begin(connection)

    def _begin(self, connection: Connection) -> int:
        position, holders = connection.begin_snapshot(self._pool.settled, COUNTED_MAX)
        if holders is None:
            self._pool.settled = position
            return position
        connection.run("ROLLBACK")  # what is missing may be there by now, and would not be seen
        settled = self._settle(connection)
        connection.begin_snapshot(settled, COUNTED_MAX)
        return settled

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._pool.use() as connection:
            connection.run(_BEGIN)
            try:
                yield connection
                connection.run("COMMIT")
            except BaseException:
                connection.roll_back()
                raise

    def _view_lock(self, name: str) -> tuple[int, int, str]:
        return _VIEWS, _digest(self._pool.settings.schema, name), f"{int(IDLE_TIMEOUT_S * 1_000)}ms"

    def write_view(
        self, name: str, expected_position: int, new_position: int, latest_us: int, rows: Sequence[KeptRow]
    ) -> bool:
        """Keep rows and the position that they make the view reach, together.

        Nothing is kept, and False given, where that would mean waiting, or where the view is no longer at the expected
        position (0: it is not there).
        """
        with self._transaction() as connection:
            ((is_ours, _),) = connection.ask("try_view", *self._view_lock(name))
            if not is_ours:
                return False
            ((view, position, _),) = connection.ask("view", name) or [(None, 0, 0)]
            if position != expected_position:
                return False
            if view is None:
                ((view,),) = connection.ask("new_view", name)
            if rows:
                latest = {row.key: row for row in rows}.values()  # one statement can't change a row twice
                kinds = (TEXT, TEXT, TEXT, BOOLEAN, BYTEA, BIGINT, BIGINT, BIGINT, BIGINT)
                columns = [array(kind, column) for kind, column in zip(kinds, zip(*latest, strict=True), strict=True)]
                connection.ask("keep", view, *columns)
            connection.ask("move_view", view, new_position, latest_us)
        return True

    def swap_view(self, beside: str, name: str) -> None:
        """Let a view that was built under another name take this name; what had it is dropped."""
        with self._transaction() as connection:
            self._lock_views(connection, beside, name)
            if connection.ask("view", beside):
                self._drop(connection, name)
                connection.ask("name_view", beside, name)

    def drop_view(self, name: str) -> None:
        """Keep nothing under this name any more."""
        with self._transaction() as connection:
            self._lock_views(connection, name)
            self._drop(connection, name)

    def _lock_views(self, connection: Connection, *names: str) -> None:
        for lock in sorted({self._view_lock(name) for name in names}):
            connection.ask("lock_view", *lock)

    def _drop(self, connection: Connection, name: str) -> None:
        connection.ask("drop_rows", name)
        connection.ask("drop_view", name)


# The tables.


def migrate(url: str) -> None:
    """Make the schema and its tables where they are missing, or bring them to the form of this release.

    Opening a store does the same. Called beforehand by the owner of the database, it lets others open the store who may
    only read and write the tables.

    Raises:
        StoreError: the database can't be reached, or does not allow it.
        NewerFormatError: a newer release wrote it.
    """
    settings = parse_url(url)
    connection = Connection(settings, _statements(settings.schema), Clock())
    try:
        _migrate(connection, settings)
    finally:
        connection.finish()


def holds_store(url: str) -> bool:
    """Say whether opening this finds our tables, rather than making them.

    Raises:
        StoreError: the database can't be reached.
        NewerFormatError: a newer release wrote it.
    """
    settings = parse_url(url)
    connection = Connection(settings, _statements(settings.schema), Clock())
    try:
        return _version(connection, settings) is not None
    finally:
        connection.finish()


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
    """Give the version of the tables, None where there are none.

    Raises:
        NewerFormatError: it is one of a newer release.
    """
    ((_, is_there),) = connection.ask("has_version", settings.schema)
    if not is_there:
        return None
    ((version,),) = connection.ask("version")
    if version != SCHEMA:
        there = f"tables of version {version} in the schema {shown(settings.schema)}"
        msg = f"{settings.where} has {there}; this release knows version {SCHEMA}."
        raise NewerFormatError(msg)
    return cast("int", version)


def _make_tables(connection: Connection, settings: Settings) -> None:
    quoted = '"' + settings.schema.replace('"', '""') + '"'
    ((has_schema, _),) = connection.ask("has_version", settings.schema)
    if not has_schema:
        connection.run(f"CREATE SCHEMA {quoted}")
    try:
        connection.run(_filled(_TABLES, {"{s}": quoted}))
    except StoreError as error:
        if error.facts.get("sqlstate") != "42P07":
            raise
        msg = f"{settings.where} has other tables in the schema {shown(settings.schema)}."
        raise StoreError(msg, hint="Name another schema in the URL: ?schema=…") from error
