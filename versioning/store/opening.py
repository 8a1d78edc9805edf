"""Which store a URL or a path means: from a place to a location, and from a location to a store.

The law of this room: **what a URL says is checked here, once, before anything is opened**, and no error repeats a part
of it that could be one of a password.

To add an option: its line in the table of its engine, or in `_OPTIONS` if every store takes it. To add a store: its
form of a location, and its branch in `location_of`, `open_store` and `access_to`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias
from urllib.parse import unquote_to_bytes

from versioning.errors import InvalidArgumentError, shown
from versioning.limits import SECONDS_MAX, checked_clock_skew
from versioning.store.sqlite import TIMEOUT_S, SQLiteRecorder
from versioning.store.sqlite_wal import foreign_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from versioning.store.contract import Store
    from versioning.store.postgres_connections import Settings
    from versioning.store.sqlite_connections import Durability
    from versioning.store.sqlite_wal import ForeignLog

SCHEMA_NAME: Final = "versioning"
"""Schema of the tables if the URL names none: not `public`, where eventsourcing has a table of the same name, and where
since PostgreSQL 15 only the owner of the database may make tables."""
CONNECTIONS: Final = 3
"""Largest number of connections that a registry opens; a follower listens on one more."""
CONNECT_TIMEOUT_S: Final = 5.0
DEFAULT_URL: Final = "sqlite:///versioning.db"
"""Store that is used when no URL is given."""
LOCK_TIMEOUT_S: Final = 5.0
STATEMENT_TIMEOUT_S: Final = 30.0
TIMEOUT_S_MIN: Final = 0.001
TIMEOUT_S_MAX: Final = 86_400.0
SCHEMA_BYTES_MAX: Final = 63
"""Longest name of a schema: PostgreSQL's NAMEDATALEN, less one."""

_URL_HINT: Final = "Use {stores}."
_POSTGRES_HINT: Final = "Use postgresql://user:password@host:5432/database?schema=versioning, percent-encoded."
_is_escaped: Final = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*", re.DOTALL).fullmatch
_is_scheme: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,20}").fullmatch
_is_name: Final = re.compile(r"[a-z_]{1,40}").fullmatch
_is_seconds: Final = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6})?").fullmatch
_is_limit: Final = re.compile(r"[0-9]{1,10}(?:\.[0-9]{1,6})?").fullmatch
_is_count: Final = re.compile(r"[1-9][0-9]{0,2}").fullmatch
_host_and_port: Final = re.compile(
    r"(?:\[(?P<literal>[0-9A-Fa-f:.]+)\]|(?P<name>[^:\[\],]*))(?::(?P<port>[0-9]{1,5}))?"
).fullmatch


class SQLiteLocation(NamedTuple):
    """A file, or a memory of its own."""

    path: Path | None
    """Path of the file, or None for a memory."""
    timeout_s: float = TIMEOUT_S
    durability: Durability = "commit"


Location: TypeAlias = "SQLiteLocation | Settings"
Access: TypeAlias = Literal["read", "write"]
"""What may be done with a store: to read it, or to write to it too."""


def open_store(place: str | Path, *, read_only: bool = False) -> Store:
    """Open the store that a URL or a path means; what PostgreSQL needs is imported for its URLs only.

    Args:
        read_only: whether the store is only read. It has to be there then; nothing is made, mended or written.
        place: `memory:`, `sqlite:///relative.db`, `sqlite:////absolute.db`, `postgresql://user:password@host/database`,
            percent-decoded and with options such as `?timeout_s=5`, or a Path to a SQLite file, taken literally.

    Raises:
        InvalidArgumentError: it has another form.
        StoreError: the store can't be opened.
        NewerFormatError: a newer release wrote it.
    """
    location = location_of(place, read_only=read_only)
    if isinstance(location, SQLiteLocation):
        if read_only and location.path is None:
            msg = "A store in memory begins empty, so there is nothing to read."
            raise InvalidArgumentError(msg, hint="Name a file or a database.", argument="read_only")
        return SQLiteRecorder(
            location.path, timeout_s=location.timeout_s, durability=location.durability, read_only=read_only
        )
    from versioning.store import postgres  # noqa: PLC0415 - for its URLs only

    return postgres.PostgresRecorder(location)


def access_to(place: str | Path) -> Access | None:
    """Return whether `open_store` could write there, or only read; None if it would make a store. Nothing is made.

    Raises:
        InvalidArgumentError: it has another form.
        StoreError: the database can't be reached.
        NewerFormatError: a newer release wrote it.
    """
    location = location_of(place, read_only=True)
    if isinstance(location, SQLiteLocation):
        return None if location.path is None else _access_to_file(location.path)
    from versioning.store import postgres  # noqa: PLC0415 - for its URLs only

    return postgres.access_to(location)


def _access_to_file(path: Path) -> Access | None:
    try:
        if path.stat().st_size == 0:
            return None
    except OSError:
        return None
    may_write = functools.partial(os.access, effective_ids=os.access in os.supports_effective_ids)
    folder = Path(os.path.realpath(path)).parent  # where SQLite has the files beside it
    return "write" if may_write(path, os.W_OK) and may_write(folder, os.W_OK) else "read"


def holds_store(place: str | Path) -> bool:
    """Return whether `open_store` would find a store there, rather than make one; nothing is made.

    Raises:
        InvalidArgumentError: it has another form.
        StoreError: the database can't be reached.
        NewerFormatError: a newer release wrote it.
    """
    return access_to(place) is not None


def foreign_log_at(place: str | Path) -> ForeignLog | None:
    """Return what speaks against the write-ahead log that lies beside a SQLite file, or None; nothing is taken in.

    Raises:
        InvalidArgumentError: the place has another form.
    """
    location = location_of(place)
    if not isinstance(location, SQLiteLocation) or location.path is None:
        return None
    return foreign_log(location.path)


def clock_skew_in(place: str | Path) -> int | None:
    """Return what the URL of a store says of a registry's limit `clock_skew_max_s`, in microseconds (R23).

    Args:
        place: a place that `open_store` takes.

    Returns:
        None if it says nothing, and the largest number if it says that there is no limit.
    """
    if isinstance(place, Path):
        return None
    _, _, query = place.partition("?")
    said = next((text for name, text in _items(query) if name == CLOCK_SKEW), None)
    return None if said is None else read_clock_skew(said)


def with_clock_skew(url: str, text: str) -> str:
    """Return a URL that says `text` of the limit `clock_skew_max_s`, whatever it said before."""
    before, _, query = url.partition("?")
    others = [item for item in query.split("&") if item and item.partition("=")[0] != CLOCK_SKEW]
    return f"{before}?{'&'.join([*others, f'{CLOCK_SKEW}={text}'])}"


def read_clock_skew(text: str) -> int:
    """Return the limit that a text means, in microseconds: seconds, or `none`.

    Raises:
        ValueError: it means none.
    """
    if text == "none":
        return checked_clock_skew(None)
    if not _is_limit(text) or float(text) > SECONDS_MAX:
        raise ValueError
    return checked_clock_skew(float(text))


def is_memory(place: str | Path) -> bool:
    """Return whether a place is a store in memory."""
    return isinstance(place, str) and place.partition("?")[0] == "memory:"


def is_postgres(place: str | Path) -> bool:
    """Return whether a place is the URL of a PostgreSQL database."""
    return isinstance(place, str) and place.startswith(("postgresql:", "postgres:"))


def location_of(place: object, *, read_only: bool = False) -> Location:
    """Return what a URL or a path says; `read_only` is for a database that is only read.

    Raises:
        InvalidArgumentError: it has another form, or an option that is not known.
    """
    if isinstance(place, Path):
        return SQLiteLocation(_checked_path(place))
    if not isinstance(place, str):
        msg = f"The place of the store is a URL or a Path, not {shown(place)}."
        raise _invalid(msg)
    url = str.__str__(place)
    scheme, colon, rest = url.partition(":")
    if scheme == "memory" and colon and (not rest or rest.startswith("?")):
        _options(rest[1:], {})
        return SQLiteLocation(None)
    if scheme == "sqlite" and colon:
        return _sqlite_location(rest)
    if scheme in {"postgresql", "postgres"} and colon:
        return _postgres_location(rest, read_only=read_only)
    is_named = colon and _is_scheme(scheme)
    msg = f"The scheme {scheme}: is not one of a store." if is_named else "The URL of the store has no scheme."
    raise _invalid(msg)


def _invalid(sentence: str, hint: str = _URL_HINT) -> InvalidArgumentError:
    return InvalidArgumentError(sentence, hint=hint, outside="The URL of the store can't be accepted.", argument="url")


# Options.


class _Option(NamedTuple):
    """An option of a URL."""

    read: Callable[[str], Any]
    """Function from the text to the value; raises ValueError if it can't be."""
    values: str
    """Values that it can have, in words."""
    example: str


def _read_seconds(text: str) -> float:
    if not _is_seconds(text) or not TIMEOUT_S_MIN <= float(text) <= TIMEOUT_S_MAX:
        raise ValueError
    return float(text)


def _read_count(text: str) -> int:
    if not _is_count(text):
        raise ValueError
    return int(text)


def _read_durability(text: str) -> str:
    if text not in {"commit", "checkpoint"}:
        raise ValueError
    return text


def _read_schema(text: str) -> str:
    if len(text.encode()) > SCHEMA_BYTES_MAX or text.startswith("pg_") or text == "information_schema":
        raise ValueError
    return text


def _seconds(example: float) -> _Option:
    return _Option(_read_seconds, f"a time in seconds from {TIMEOUT_S_MIN:g} to {TIMEOUT_S_MAX:g}", f"{example:g}")


CLOCK_SKEW: Final = "clock_skew_max_s"
"""Option of every URL; it is the registry's, and no store looks at it."""
CLOCK_SKEW_VALUES: Final = f"a time in seconds from 0 to {SECONDS_MAX}, or none"
_OPTIONS: Final[Mapping[str, _Option]] = {CLOCK_SKEW: _Option(read_clock_skew, CLOCK_SKEW_VALUES, "none")}
"""Options of every store."""
_SQLITE_OPTIONS: Final[Mapping[str, _Option]] = {
    "durability": _Option(_read_durability, "commit or checkpoint", "commit"),
    "timeout_s": _seconds(TIMEOUT_S),
}
_LIBPQ_OPTIONS: Final[tuple[str, ...]] = (
    "application_name", "channel_binding", "host", "require_auth", "sslcert", "sslkey", "sslmode", "sslrootcert",
)  # fmt: skip
"""Options that libpq gets as they are."""
_POSTGRES_DEFAULTS: Final[dict[str, Any]] = {
    "schema": SCHEMA_NAME,
    "connections": CONNECTIONS,
    "connect_timeout_s": CONNECT_TIMEOUT_S,
    "lock_timeout_s": LOCK_TIMEOUT_S,
    "statement_timeout_s": STATEMENT_TIMEOUT_S,
}
_POSTGRES_OPTIONS: Final[Mapping[str, _Option]] = {
    "schema": _Option(
        _read_schema, f"a name of at most {SCHEMA_BYTES_MAX} bytes that does not begin with pg_", SCHEMA_NAME
    ),
    "connections": _Option(_read_count, "a number from 1 to 999", str(CONNECTIONS)),
    "connect_timeout_s": _seconds(CONNECT_TIMEOUT_S),
    "lock_timeout_s": _seconds(LOCK_TIMEOUT_S),
    "statement_timeout_s": _seconds(STATEMENT_TIMEOUT_S),
    **{name: _Option(str, "a text", "…") for name in _LIBPQ_OPTIONS},
}


def _items(query: str) -> Iterator[tuple[str, str]]:
    """Yield the names and texts of what follows the question mark of a URL."""
    for item in query.split("&") if query else []:
        name, _, text = (_decoded(part) for part in item.partition("="))
        yield name, text


def _options(query: str, engine: Mapping[str, _Option]) -> dict[str, Any]:
    """Read what follows the question mark of a URL; return the options of its engine."""
    options: dict[str, Any] = {}
    known = {**engine, **_OPTIONS}
    for name, text in _items(query):
        option = known.get(name)
        if option is None or not text:
            which = f"the option {name}" if _is_name(name) else "an option"
            msg = f"The URL of the store has {which}, which is not known or has no value."
            raise _invalid(msg, f"Options are {', '.join(sorted(known))}.")
        if name in options:
            msg = f"The URL's option {name} is given twice."
            raise _invalid(msg)
        try:
            options[name] = option.read(text)
        except ValueError:
            msg = f"The URL's option {name} is {option.values}, not {shown(text)}."
            raise _invalid(msg, f"Use for example {name}={option.example}.") from None
    return {name: value for name, value in options.items() if name not in _OPTIONS}


def _decoded(text: str, *, printable: bool = True) -> str:
    """Return a part of a URL without its percent-encoding."""
    with contextlib.suppress(UnicodeError):
        if _is_escaped(text):
            plain = unquote_to_bytes(text).decode()
            if plain.isprintable() or not printable:
                return plain
    msg = f"The URL of the store is not percent-encoded UTF-8{' without control characters' if printable else ''}."
    raise _invalid(msg, "Write % as %25, {literally}.")


# SQLite.


def _sqlite_location(rest: str) -> SQLiteLocation:
    """Read what follows `sqlite:`."""
    if not rest.startswith("///"):
        msg = "The URL of a SQLite file begins with sqlite:/// and then the path."
        raise _invalid(msg, "Use sqlite:///relative.db or sqlite:////absolute.db.")
    if "#" in rest:
        msg = "The URL of a SQLite file has a #, which is not part of a path."
        raise _invalid(msg, "Write it as %23, {literally}.")
    text, _, query = rest[3:].partition("?")
    path = _decoded(text, printable=False)
    if path == ":memory:":
        msg = "The URL names a file :memory:."
        raise _invalid(msg, 'A store in memory is "memory:"; give a file another name.')
    return SQLiteLocation(_checked_path(path), **_options(query, _SQLITE_OPTIONS))


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


# PostgreSQL.


def _postgres_location(rest: str, *, read_only: bool) -> Settings:
    """Read what follows `postgresql:`."""
    from versioning.store.postgres_connections import settings_of  # noqa: PLC0415 - for its URLs only

    invalid = functools.partial(_invalid, hint=_POSTGRES_HINT)
    if not rest.startswith("//"):
        msg = "The URL of a PostgreSQL store begins with postgresql://."
        raise invalid(msg)
    hierarchy, _, query = rest[2:].partition("?")
    authority, _, path = hierarchy.partition("/")
    if "#" in rest or "@" in path + query or "/" in path:
        msg = "The URL of the store has a #, an @ or a / where none can be."
        raise _invalid(msg, "Percent-encode the user, the password and the options: # is %23, / is %2F, @ is %40.")
    who, _, place = authority.rpartition("@")
    user, _, password = who.partition(":")
    found = _host_and_port(place)
    if found is None:
        msg = "The URL of the store has no host and port of the form host:5432."
        raise invalid(msg)
    options = _options(query, _POSTGRES_OPTIONS)
    libpq = {name: options.pop(name) for name in _LIBPQ_OPTIONS if name in options}
    host = found["literal"] or _decoded(found["name"])
    if host and "host" in libpq:
        msg = "The URL of the store names the host twice."
        raise invalid(msg)
    named = {
        "host": host,
        "port": found["port"],
        "dbname": _decoded(path),
        "user": _decoded(user),
        "password": _decoded(password),
    }
    libpq |= {name: value for name, value in named.items() if value}
    if "dbname" not in libpq:
        msg = "The URL of the store names no database."
        raise invalid(msg)
    return settings_of(libpq, **_POSTGRES_DEFAULTS | options, read_only=read_only)
