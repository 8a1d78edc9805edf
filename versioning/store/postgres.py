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
import functools
import hashlib
import math
import os
import queue
import re
import selectors
import struct
import threading
import time
import weakref
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, cast
from urllib.parse import unquote_to_bytes

import eventsourcing.persistence as framework
from eventsourcing.persistence import ApplicationRecorder, Notification, StoredEvent

from versioning.errors import InvalidArgumentError, NewerFormatError, StoreError, shown
from versioning.store.contract import INTEGER_MAX, LIVE, AppendConflict, KeptRow, LogRow, Row, TailRow, ViewPosition
from versioning.store.format import originator_of, stream_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import TypeVar
    from uuid import UUID

    from eventsourcing.persistence import Subscription

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
GRACE_S: Final = 2.0
"""How much longer than its own timeout the server may take to say that a statement took too long."""
RETRY_S: Final = 0.05
"""How often a server that was there before, and is not now, is tried again."""
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
HOT_S: Final = 0.1
"""How long a listener looks by itself after a notification: for what the writers did not notify again."""
POLL_S: Final = 0.01
LOOK_S: Final = 0.5
"""How often a listener looks whatever it hears, because a notification can be lost."""
SLICE_S: Final = 0.05
"""How long a waiter takes at most to see that it was closed."""
CLOCK_S: Final = 60.0
"""How often the server's clock is asked for."""
CLOCK_STEP_S: Final = 0.1
"""How far this machine's clock moves by itself before the server's is asked for again."""
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


# The URL.


class Settings(NamedTuple):
    """What a URL says."""

    conninfo: _Secret
    where: str
    """The database as errors name it: without user and password."""
    schema: str
    connections: int
    connect_timeout_s: float
    lock_timeout_s: float
    statement_timeout_s: float


class _Secret:
    """A text that is shown nowhere."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return "<secret>"


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
        conninfo=_Secret(_conninfo({"application_name": "versioning"} | params | _fixed(statement_timeout_s))),
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


# Errors.

_SENTENCES: Final = {
    "08": ("can't be reached", "Look whether the server is running, and at the network."),
    "08006": ("closed the connection", "Look whether the server is running, and at the network."),
    "22021": ("can't hold a text of this form", "Leave out NUL characters."),
    "25006": ("can only be read", "Name the primary server, or look at default_transaction_read_only."),
    "28": ("refused the user or the password", "Look at the user and the password in the URL, and at pg_hba.conf."),
    "3D": ("does not exist", "Make it with CREATE DATABASE, or name another one."),
    "3F": ("has no such schema any more", "Open the store again, which makes it."),
    "40": ("could not order what several clients did at once", "Try again."),
    "42501": ("does not allow this user what is needed", "Grant it, or let the owner run `migrate` first."),
    "42P01": ("has no tables of ours any more", "Open the store again, which makes them."),
    "53": ("is out of memory or of another resource", "Look at the server's log."),
    "53100": ("can't grow: the disk is full", "Make room; nothing was recorded."),
    "53300": ("has no connection left", "Raise max_connections, or let fewer processes connect."),
    "55P03": (
        "kept this waiting for somebody else's lock",
        "Try again; lock_timeout_s in the URL says how long to wait.",
    ),
    "57": ("is stopping or starting", "Try again in a moment."),
    "57014": ("took too long", "Try again; statement_timeout_s in the URL says how long a statement may take."),
    "58": ("can't be read or written", "Look at the server's disk and at its log."),
    "XX": ("is damaged", "Keep a copy of it, look at the server's log, and restore a backup."),
}
"""By SQLSTATE, or by its class."""
_REACHED: Final = (
    (re.compile("too many (?:clients|connections)|remaining connection slots"), "53300"),
    (re.compile("permission denied"), "42501"),
    (
        re.compile(
            'password authentication failed|no password supplied|no pg_hba.conf entry|role ".*" (?:does|is) not'
        ),
        "28",
    ),
    (re.compile('database ".*" does not exist'), "3D"),
    (re.compile("the database system is"), "57"),
    (re.compile("server is in hot standby mode"), "25006"),
)
"""While connecting, libpq gives the server's words only."""


def _store_error(where: str, state: str, message: str = "", constraint: str | None = None) -> StoreError:
    known = _SENTENCES.get(state) or _SENTENCES.get(state[:2])
    sentence, hint = known or (f"failed: {shown(message)}", None)
    return StoreError(f"{where} {sentence}.", hint=hint, sqlstate=state, constraint=constraint)


def _closed(where: str) -> StoreError:
    return StoreError(f"{where} is closed.", hint="Open it again.")


@functools.cache
def _psycopg() -> Any:  # noqa: ANN401 - the module, which is an extra
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
_NOW: Final = "(extract(epoch FROM clock_timestamp())*1000000)::bigint"

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
    "last": _OF_STREAM + "ORDER BY originator_version DESC LIMIT 1",
    "of_key": _OF_STREAM + "AND idempotency_key=$2::text",
    "log": _LOG,
    # NULL: no position is missing; else who may still fill the gaps, which is looked at behind the rows.
    "head": "SELECT position, CASE WHEN position=$1::bigint OR position>$1 AND position-$1<=$2::bigint AND "
    "position-$1=(SELECT count(*) FROM {s}.stored_events WHERE position>$1) THEN NULL ELSE (" + _HOLDERS + ") END "
    "FROM (SELECT coalesce(max(position),0) AS position FROM {s}.stored_events) AS head",
    "holders": _HOLDERS,
    "forward": _BETWEEN + " LIMIT $4::bigint",
    "backward": _BETWEEN + " DESC LIMIT $4::bigint",
    "of_topics": _LOG.replace("ORDER", "AND topic=ANY($4::text[]) ORDER"),
    "view": "SELECT view,position,latest_us FROM {s}.kept_views WHERE name=$1::text",
    "rows": _KEPT + "WHERE view=$1::bigint AND key=ANY($2::text[])",
    "page_live": _PAGE.replace("{live}", "true") + _PAGE_END,
    # Each half has the limit, so that no plan sorts them whole.
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
    "clock": "SELECT " + _NOW,
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
_BEGIN_SNAPSHOT: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


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


_TEXT, _BYTEA, _BIGINT, _BOOLEAN = 25, 17, 20, 16
"""Types, as PostgreSQL numbers them for ever."""
_bigint: Final = struct.Struct("!q").pack
_BINARY: Final[dict[type, Callable[[Any], bytes | None]]] = {
    str: str.encode,
    int: _bigint,
    bytes: bytes,
    bool: lambda value: b"\1" if value else b"\0",
    type(None): lambda _: None,
}


def _array(kind: int, items: Sequence[object]) -> bytes:
    """Give an array as PostgreSQL takes it: one dimension, counted from 1."""
    parts = [struct.pack("!iiIii", 1, 1, kind, len(items), 1)]
    for item in items:
        value = _BINARY[type(item)](item)
        parts.append(b"\xff\xff\xff\xff" if value is None else struct.pack("!i", len(value)) + value)
    return b"".join(parts) if items else struct.pack("!iiI", 0, 0, kind)


# Connections.


class _Connection:
    """One connection, which asks prepared statements; nothing that it asks takes longer than its deadline."""

    def __init__(self, settings: Settings, statements: dict[str, bytes], clock: _Clock) -> None:
        """Connect, within the time that the settings give."""
        psycopg = _psycopg()
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
                    raise self._unreachable(pg.get_error_message("utf-8"))  # noqa: TRY301 - it closes what was begun
                with _Selector() as selector:
                    selector.register(
                        pg.socket, selectors.EVENT_READ if status == polling.READING else selectors.EVENT_WRITE
                    )
                    if not selector.select(max(0.0, deadline - time.monotonic())):
                        raise self._silent()  # noqa: TRY301 - the same
                status = pg.connect_poll()
        except BaseException:
            pg.finish()
            raise
        pg.nonblocking = 1
        return pg

    def _unreachable(self, message: str) -> StoreError:
        for words, state in _REACHED:
            if words.search(message):
                return _store_error(self._where, state)
        sentence, hint = _SENTENCES["08"]
        told = shown(" ".join(message.split()))
        return StoreError(f"{self._where} {sentence}: {told}.", hint=hint, sqlstate="08001")

    def _silent(self) -> StoreError:
        msg = f"{self._where} did not answer within {self._answer_s:g} s."
        return StoreError(msg, hint=_SENTENCES["08"][1])

    def _set_up(self, clock: _Clock) -> None:
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
        before_us = _now_us()
        ((server_us, self.backend, *_),) = self.ask_text(
            f"SELECT {_NOW},pid || '/' || backend_start,CASE current_setting('synchronous_commit') "
            f"WHEN 'off' THEN set_config('synchronous_commit','on',false) END,{calls} "
            "FROM pg_stat_activity WHERE pid=pg_backend_pid()"
        )
        clock.set(server_us, before_us, _now_us())

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

    def begin_snapshot(self, settled: int) -> tuple[int, str | None]:
        """Begin a transaction that stands still, and ask `head` in it, all on one way to the server and back."""
        if "head" not in self._prepared:
            self._prepare("head")
        text = f"{_BEGIN_SNAPSHOT}; EXECUTE head({settled},{COUNTED_MAX})"
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
            raise _store_error(self._where, "08006") from error
        finally:
            if not is_done:
                self.is_broken = True
        return self._rows(result)

    def _wait(self, deadline: float) -> None:
        if not self._selector.select(max(0.0, deadline - time.monotonic())):
            raise self._silent()

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
        raise _store_error(self._where, state or "08006", message, constraint or None)

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
            raise _store_error(self._where, "08006") from error
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


class _Pool:
    """A few connections, each used by one thread at a time."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.settled = 0
        """No position up to here will become visible any more."""
        self._statements = _statements(settings.schema)
        self._closed: StoreError | None = None
        self._was_reached = False
        self._begin()
        _FORKED.add(self)

    def _begin(self) -> None:
        self.free: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(self.settings.connections):
            self.free.put(None)
        self._idle: list[_Connection] = []
        self._open: weakref.WeakSet[_Connection] = weakref.WeakSet()
        self.clock = _Clock()

    def check(self) -> None:
        """Refuse, once the store is closed."""
        if self._closed is not None:
            raise self._closed

    def connect(self, *, patient: bool) -> _Connection:
        """Open a connection; `patient`: wait for a server that was there before, and may be starting again."""
        deadline = time.monotonic() + self.settings.connect_timeout_s
        while True:
            try:
                connection = _Connection(self.settings, self._statements, self.clock)
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

    def use(self) -> _Use:
        """Give a connection for as long as a block lasts."""
        return _Use(self)

    def take(self) -> _Connection:
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

    def give(self, connection: _Connection) -> None:
        """Take a connection back."""
        if connection.is_idle:
            self._idle.append(connection)
        else:
            connection.finish()
        if connection.was_lost or self._closed is not None:
            self.drop_idle()  # where one was ended, the others were too

    def close(self) -> None:
        """Close what is idle now, and the rest when it is given back."""
        self._closed = self._closed or _closed(self.settings.where)
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


class _Use:
    """A connection of a pool, until the block ends."""

    __slots__ = ("_connection", "_free", "_pool")

    def __init__(self, pool: _Pool) -> None:
        self._pool = pool

    def __enter__(self) -> _Connection:
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


_FORKED: Final[weakref.WeakSet[_Pool | _Listener]] = weakref.WeakSet()
"""What must know when this process is forked."""


def _after_fork_in_child() -> None:
    for held in list(_FORKED):
        held.after_fork_in_child()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no fork
    os.register_at_fork(after_in_child=_after_fork_in_child)


class _Clock:
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


def _now_us() -> int:
    return time.time_ns() // 1_000


# The recorder.


class Snapshot:
    """The log and the kept views as of one moment."""

    def __init__(self, connection: _Connection, where: str, settled: int) -> None:
        """Read from a connection that is inside a transaction; behind `settled` the log is not read."""
        self._connection: _Connection | None = connection
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
        return [KeptRow(*row) for row in self._ask("rows", found[0], _array(_TEXT, keys))]

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
        return self._ask("tails", _array(_TEXT, streams), *after, end, limit)


class PostgresRecorder(ApplicationRecorder):
    """The log and the kept views in one schema of a PostgreSQL database.

    Raises:
        InvalidArgumentError: the URL has another form.
        StoreError: the database can't be reached, or is not ours.
        NewerFormatError: a newer release wrote it.
    """

    path: None = None
    leaves_gaps: bool = True
    """There is no file beside which artifacts could lie."""

    def __init__(self, settings: Settings) -> None:
        """Connect, and make the tables where they are missing."""
        self._pool = _Pool(settings)
        self._where = settings.where
        self._channel = f"versioning_{_digest(settings.schema)}"
        self._notified_s = -math.inf
        self._listener = _Listener(self._pool, self._channel)
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

    def _reading(self, question: Callable[[_Connection], Answer]) -> Answer:
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

    def _end(self, lost: _Connection) -> None:
        """See that what was sent on a lost connection is over: what the stream then holds, it came to."""
        with contextlib.suppress(StoreError), self._pool.use() as connection:
            connection.ask("end", lost.backend)

    def _appended(self, connection: _Connection, rows: Sequence[Row]) -> int | None:
        """Append, and give the first position; None where the first row is there already."""
        if len(rows) == 1:
            found = connection.ask("append", *rows[0])
            return found[0][0] if found else None
        kinds = (_TEXT, _BIGINT, _TEXT, _BYTEA, _TEXT)
        columns = [_array(kind, column) for kind, column in zip(kinds, zip(*rows, strict=True), strict=True)]
        for alone in [False] * (DRAWS_MAX if len(rows) <= INTERLEAVED_MAX else 0) + [True]:
            ((taken, first),) = connection.ask("append_all", *columns, alone)
            if taken or first is not None:
                return cast("int | None", first)
        msg = f"{self._where} gives positions that do not follow each other."
        raise StoreError(msg, hint="Let the sequence stored_positions count in steps of 1.")

    def _notify(self, connection: _Connection) -> None:
        """Tell listeners that something was recorded: a hint, so that nothing depends on it."""
        now_s = time.monotonic()
        if now_s - self._notified_s >= NOTIFY_S:
            self._notified_s = now_s
            with contextlib.suppress(StoreError):
                connection.ask("notify", self._channel)

    def _settle(self, connection: _Connection) -> int:
        """Give the position of the last row; what is missing up to there will never come.

        Raises:
            StoreError: a transaction that appends takes too long.
        """
        ((position, holders),) = connection.ask("head", self._pool.settled, COUNTED_MAX)
        if holders:
            self._await_writers(connection, set(holders.split(",")))
        self._pool.settled = position
        return cast("int", position)

    def _await_writers(self, connection: _Connection, writers: set[str]) -> None:
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

    def _log(self, connection: _Connection, name: str, after: int, upto: int, limit: int, *values: object) -> list[Any]:
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
        arrays = (_array(kind, column) for kind, column in zip((_TEXT, _BIGINT, _BIGINT), columns, strict=True))
        return self._read("ranges", *arrays)

    def last(self, stream: str) -> TailRow | None:
        """Give the last row of a stream, if it has one."""
        rows: list[TailRow] = self._read("last", stream)
        return rows[0] if rows else None

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
        return _now_us() + self.server_offset_us()

    def server_offset_us(self) -> int:
        """Say how far the server's clock is ahead of this machine's; 0 where they can't be told apart.

        It is looked at with every connection, once a minute, and when this machine's clock was set.
        """
        if self._pool.clock.is_stale():
            self._reading(self._look_at_clock)
        return self._pool.clock.offset_us

    def _look_at_clock(self, connection: _Connection) -> None:
        before_us = _now_us()
        ((server_us,),) = connection.ask("clock")
        self._pool.clock.set(server_us, before_us, _now_us())

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

    def _begun(self, stack: contextlib.ExitStack) -> tuple[_Connection, int]:
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

    def _begin(self, connection: _Connection) -> int:
        position, holders = connection.begin_snapshot(self._pool.settled)
        if holders is None:
            self._pool.settled = position
            return position
        connection.run("ROLLBACK")  # what is missing may be there by now, and would not be seen
        settled = self._settle(connection)
        connection.begin_snapshot(settled)
        return settled

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[_Connection]:
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
                kinds = (_TEXT, _TEXT, _TEXT, _BOOLEAN, _BYTEA, _BIGINT, _BIGINT, _BIGINT, _BIGINT)
                columns = [_array(kind, column) for kind, column in zip(kinds, zip(*latest, strict=True), strict=True)]
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

    def _lock_views(self, connection: _Connection, *names: str) -> None:
        for lock in sorted({self._view_lock(name) for name in names}):
            connection.ask("lock_view", *lock)

    def _drop(self, connection: _Connection, name: str) -> None:
        connection.ask("drop_rows", name)
        connection.ask("drop_view", name)

    # The framework's contract, with the framework's errors.

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: object) -> Sequence[int]:
        """Record all events or none; give their positions."""
        rows = [
            Row(stream_text(one.originator_id), one.originator_version, one.topic, one.state, getattr(one, "key", None))
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
        stream = stream_text(originator_id)
        low, high = -INTEGER_MAX if gt is None else gt, INTEGER_MAX if lte is None else lte
        with _as_framework():
            rows = self._read("backward" if desc else "forward", stream, low, high, limit)
        return [StoredEvent(originator_of(stream), sequence, topic, state) for _, sequence, topic, state in rows]

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
        end = INTEGER_MAX if stop is None else stop

        def question(connection: _Connection) -> list[Any]:
            if not topics:
                return self._log(connection, "log", after, end, limit)
            settled = self._settle(connection)  # among chosen rows, nobody sees what is missing
            return connection.ask("of_topics", after, min(end, settled), limit, _array(_TEXT, topics))

        with _as_framework():
            rows = self._reading(question)
        return [
            Notification(originator_of(stream), sequence, topic, state, position)
            for position, stream, sequence, topic, state in rows
        ]

    def max_notification_id(self) -> int | None:
        """Give the position of the last event, if there is one."""
        with _as_framework():
            return self.head() or None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[ApplicationRecorder]:
        """Refuse: `waiter` serves followers."""
        msg = f"The {type(self).__qualname__} recorder does not support subscriptions"
        raise NotImplementedError(msg)


@contextlib.contextmanager
def _as_framework() -> Iterator[None]:
    """Raise what callers of the framework's contract expect."""
    try:
        yield
    except AppendConflict as error:
        raise framework.IntegrityError(str(error)) from error
    except StoreError as error:
        raise framework.OperationalError(str(error)) from error


# Waiting.


class _Listener:
    """The one connection of a store that listens, for all who wait: whoever waits first listens for the others too."""

    def __init__(self, pool: _Pool, channel: str) -> None:
        self.pool = pool
        self.heard = 0
        """How often something may have been recorded, as far as is known."""
        self.waiters: set[Waiter] = set()
        self._channel = channel
        self._turn = threading.Lock()
        self._connection: _Connection | None = None
        self._hot_until_s = 0.0
        """0 when there was no notification lately."""
        self._looked_s = 0.0
        self._newest = 0
        _FORKED.add(self)

    def after_fork_in_child(self) -> None:
        """Begin anew: the connection is the parent's."""
        if self._connection is not None:
            self._connection.abandon()
        self._turn, self._connection = threading.Lock(), None

    def listen(self, timeout_s: float) -> bool:
        """Listen for a while, unless somebody else does; say whether it was done."""
        if not self._turn.acquire(blocking=False):
            return False
        try:
            if self._has_news(timeout_s):
                self.heard += 1
        except StoreError:
            self._hang_up()
            time.sleep(min(SLICE_S, timeout_s))
            self.heard += 1  # who waits looks for himself then, and is told what is wrong
        finally:
            self._turn.release()
            self.hang_up_if_unused()
        return True

    def _has_news(self, timeout_s: float) -> bool:
        if self._connection is None:
            self._connection = self.pool.connect(patient=False)
            self._connection.run(f"LISTEN {self._channel}")
            self._hot_until_s = time.monotonic() + HOT_S
            return True  # whatever was recorded and told before went unheard
        now_s = time.monotonic()
        if self._hot_until_s:
            if self._connection.heard(min(POLL_S, timeout_s)):
                self._hot_until_s = now_s + HOT_S
            elif now_s > self._hot_until_s:
                self._hot_until_s = 0.0
            return True
        if now_s > self._looked_s + LOOK_S:
            self._looked_s = now_s
            seen, ((self._newest,),) = self._newest, self._connection.ask("newest")
            return self._newest != seen
        if self._connection.heard(timeout_s):
            self._hot_until_s = time.monotonic() + HOT_S
            return True
        return False

    def hang_up_if_unused(self) -> None:
        """Close the connection when nobody waits any more."""
        if not self.waiters and self._turn.acquire(blocking=False):
            self._hang_up()
            self._turn.release()

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.finish()


class Waiter:
    """Waits until something may have been recorded, by whomever."""

    def __init__(self, listener: _Listener) -> None:
        """Begin now: what is recorded from here on is noticed by the first `wait`."""
        self._listener = listener
        self._seen = listener.heard
        self._closed = threading.Event()
        listener.waiters.add(self)

    def wait(self, timeout_s: float) -> bool:
        """Say whether something may have been recorded since the last call; wait for it at most so long."""
        listener = self._listener
        deadline = time.monotonic() + timeout_s
        while not self._closed.is_set():
            listener.pool.check()
            if listener.heard != self._seen:
                self._seen = listener.heard
                return True
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                break
            if not listener.listen(min(SLICE_S, left_s)):
                self._closed.wait(min(POLL_S, left_s))
        return False

    def close(self) -> None:
        """End the waiting, also from another thread."""
        self._closed.set()
        self._listener.waiters.discard(self)
        self._listener.hang_up_if_unused()


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
    connection = _Connection(settings, _statements(settings.schema), _Clock())
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
    connection = _Connection(settings, _statements(settings.schema), _Clock())
    try:
        return _version(connection, settings) is not None
    finally:
        connection.finish()


def _migrate(connection: _Connection, settings: Settings) -> None:
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


def _version(connection: _Connection, settings: Settings) -> int | None:
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


def _make_tables(connection: _Connection, settings: Settings) -> None:
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
