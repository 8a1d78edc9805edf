"""Who else keeps models? The same commands, each with its whole history and its metadata, done by other means.

All do three commands on a name: deploy a draft with metadata, publish the last one, promote the last one; each commits
once and writes down who and why. `verbs` gives them in the order in which all take their turns.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import secrets
import sqlite3
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol
from uuid import NAMESPACE_URL, UUID, uuid5

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from tests.bench.filling import ACTOR, ARTIFACT, METADATA, REASON
from tests.bench.measure import Absent, Contender
from versioning import ModelRegistry
from versioning.ids import stream_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.bench.measure import Run

METADATA_DICT: dict[str, Any] = json.loads(METADATA)
VERBS = ("deploy", "publish", "promote")
CACHED = 4_096
"""As many models as our registry keeps."""


class Keeper(Protocol):
    """Who does the commands."""

    def deploy(self, name: str) -> None: ...

    def publish(self, name: str) -> None: ...

    def promote(self, name: str) -> None: ...

    def close(self) -> None: ...


def verbs(model_names: Sequence[str], versions: int) -> Iterator[tuple[str, str]]:
    """Give the commands: each version of all models, before the next version."""
    return ((verb, name) for _ in range(versions) for verb in VERBS for name in model_names)


def in_turns(
    name: str, keeper: Keeper, commands: Iterator[tuple[str, str]], chunk: int, target: float | None = None
) -> Contender:
    """Let a keeper do the next commands in each round."""

    def go(_: int) -> float:
        calls = [(getattr(keeper, verb), model) for verb, model in itertools.islice(commands, chunk)]
        began = time.perf_counter()
        for call, model in calls:
            call(model)
        return (time.perf_counter() - began) / len(calls)

    return Contender(name, go, target)


class Ours:
    """This library."""

    def __init__(self, url: str | Path) -> None:
        self.registry = ModelRegistry(url)
        self._last: dict[str, str] = {}
        self.close = self.registry.close

    def deploy(self, name: str) -> None:
        version = self.registry.deploy(ARTIFACT, model_name=name, metadata=METADATA_DICT, actor=ACTOR, reason=REASON)
        self._last[name] = version.version_id

    def publish(self, name: str) -> None:
        self.registry.publish(self._last[name], promote=False, actor=ACTOR, reason=REASON)

    def promote(self, name: str) -> None:
        self.registry.promote(self._last[name], actor=ACTOR, reason=REASON)


def ours_on(path: Path, *, durable: bool = True) -> Ours:
    """Open a file of ours."""
    return Ours(f"sqlite:///{path}" + ("" if durable else "?durability=checkpoint"))


def next_number(highest: str | None) -> str:
    """Give the next MINOR number, as somebody writes it by hand."""
    major, minor, _ = (0, 0, 0) if highest is None else (int(part) for part in highest.split("."))
    return f"{major}.{minor + 1}.0"


TABLES = """
CREATE TABLE models (
    name TEXT PRIMARY KEY, highest TEXT NOT NULL, primary_id TEXT, created_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE versions (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, number TEXT NOT NULL, stage TEXT NOT NULL, status TEXT NOT NULL,
    is_primary INTEGER NOT NULL, uri TEXT NOT NULL, metadata TEXT NOT NULL, deployed_at TEXT NOT NULL,
    published_at TEXT,
    UNIQUE (name, number)
) WITHOUT ROWID;
CREATE TABLE audit (
    id INTEGER PRIMARY KEY, at TEXT NOT NULL, actor TEXT, reason TEXT, action TEXT NOT NULL, name TEXT NOT NULL,
    version_id TEXT NOT NULL, facts TEXT NOT NULL
);
CREATE INDEX audit_of ON audit (name, id);
"""
_AUDIT = "INSERT INTO audit (at,actor,reason,action,name,version_id,facts) VALUES (?,?,?,?,?,?,?)"


class Handwritten:
    """Tables for what is, and an audit table beside them for what was, through sqlite3."""

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        self._db.executescript(TABLES)
        self._lock = threading.Lock()
        self._last: dict[str, str] = {}
        self.close = self._db.close

    def deploy(self, name: str) -> None:
        ours, now, execute = secrets.token_hex(16), datetime.now(UTC).isoformat(), self._db.execute
        with self._lock:
            execute("BEGIN IMMEDIATE")
            found = execute("SELECT highest FROM models WHERE name=?", (name,)).fetchone()
            number = next_number(found and found[0])
            if found is None:
                execute("INSERT INTO models VALUES (?,?,NULL,?)", (name, number, now))
            else:
                execute("UPDATE models SET highest=? WHERE name=?", (number, name))
            execute(
                "INSERT INTO versions VALUES (?,?,?,'draft','active',0,?,?,?,NULL)",
                (ours, name, number, ARTIFACT, json.dumps(METADATA_DICT), now),
            )
            facts = json.dumps({"number": number, "uri": ARTIFACT, "metadata": METADATA_DICT})
            execute(_AUDIT, (now, ACTOR, REASON, "deployed", name, ours, facts))
            execute("COMMIT")
        self._last[name] = ours

    def publish(self, name: str) -> None:
        ours, now, execute = self._last[name], datetime.now(UTC).isoformat(), self._db.execute
        with self._lock:
            execute("BEGIN IMMEDIATE")
            stage, status = execute("SELECT stage,status FROM versions WHERE id=?", (ours,)).fetchone()
            _check(status)
            execute("UPDATE versions SET stage='published',published_at=? WHERE id=?", (now, ours))
            execute(
                _AUDIT, (now, ACTOR, REASON, "published", name, ours, json.dumps({"from": stage, "to": "published"}))
            )
            execute("COMMIT")

    def promote(self, name: str) -> None:
        ours, now, execute = self._last[name], datetime.now(UTC).isoformat(), self._db.execute
        with self._lock:
            execute("BEGIN IMMEDIATE")
            (status,) = execute("SELECT status FROM versions WHERE id=?", (ours,)).fetchone()
            _check(status)
            (before,) = execute("SELECT primary_id FROM models WHERE name=?", (name,)).fetchone()
            execute("UPDATE versions SET is_primary=0 WHERE id=?", (before,))
            execute("UPDATE versions SET is_primary=1 WHERE id=?", (ours,))
            execute("UPDATE models SET primary_id=? WHERE name=?", (ours, name))
            execute(_AUDIT, (now, ACTOR, REASON, "promoted", name, ours, json.dumps({"from": before, "to": ours})))
            execute("COMMIT")


def _check(status: str) -> None:
    if status != "active":
        msg = f"The version is {status}."
        raise ValueError(msg)


class _Mapped:
    """A row of a table, for SQLAlchemy to map."""

    def __init__(self, **columns: object) -> None:
        for name, value in columns.items():
            setattr(self, name, value)


def _sqlalchemy() -> Any:  # noqa: ANN401 - a module of the extra `bench`
    import sqlalchemy.orm  # noqa: PLC0415 - an extra

    return sqlalchemy


class Orm:
    """The same tables, through the objects and sessions of SQLAlchemy."""

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        sa = self._sa = _sqlalchemy()
        self._engine = sa.create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False})
        mode = "FULL" if durable else "NORMAL"

        def connected(connection: sqlite3.Connection, _: object) -> None:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"PRAGMA synchronous={mode}")

        sa.event.listen(self._engine, "connect", connected)
        with sqlite3.connect(path) as db:
            db.executescript(TABLES)
        db.close()
        mappers, metadata = sa.orm.registry(), sa.MetaData()
        self._model, self._version, self._audit = (
            type(name.title(), (_Mapped,), {}) for name in ("models", "versions", "audit")
        )
        for mapped, name in ((self._model, "models"), (self._version, "versions"), (self._audit, "audit")):
            mappers.map_imperatively(mapped, sa.Table(name, metadata, autoload_with=self._engine))
        self._sessions = sa.orm.sessionmaker(self._engine)
        self._last: dict[str, str] = {}
        self.close = self._engine.dispose

    def _write_down(self, session: Any, action: str, version: tuple[str, str], now: str, facts: object) -> None:  # noqa: ANN401 - a session
        text, (name, ours) = json.dumps(facts), version
        session.add(
            self._audit(at=now, actor=ACTOR, reason=REASON, action=action, name=name, version_id=ours, facts=text)
        )

    def deploy(self, name: str) -> None:
        ours, now = secrets.token_hex(16), datetime.now(UTC).isoformat()
        with self._sessions.begin() as session:
            model = session.get(self._model, name)
            number = next_number(model and model.highest)
            if model is None:
                session.add(self._model(name=name, highest=number, created_at=now))
            else:
                model.highest = number
            session.add(
                self._version(
                    id=ours, name=name, number=number, stage="draft", status="active", is_primary=0, uri=ARTIFACT,
                    metadata=json.dumps(METADATA_DICT), deployed_at=now,
                )
            )  # fmt: skip
            self._write_down(session, "deployed", (name, ours), now, {"number": number, "metadata": METADATA_DICT})
        self._last[name] = ours

    def publish(self, name: str) -> None:
        ours, now = self._last[name], datetime.now(UTC).isoformat()
        with self._sessions.begin() as session:
            version = session.get(self._version, ours)
            _check(version.status)
            facts = {"from": version.stage, "to": "published"}
            version.stage, version.published_at = "published", now
            self._write_down(session, "published", (name, ours), now, facts)

    def promote(self, name: str) -> None:
        ours, now = self._last[name], datetime.now(UTC).isoformat()
        with self._sessions.begin() as session:
            version, model = session.get(self._version, ours), session.get(self._model, name)
            _check(version.status)
            before = model.primary_id
            if before is not None:
                session.get(self._version, before).is_primary = 0
            version.is_primary, model.primary_id = 1, ours
            self._write_down(session, "promoted", (name, ours), now, {"from": before, "to": ours})


class PlainModel(Aggregate):
    """A model as the documentation of eventsourcing writes aggregates."""

    @event("Registered")
    def __init__(self, name: str) -> None:
        self.name = name
        self.versions: dict[str, dict[str, Any]] = {}
        self.primary: str | None = None
        self.highest: str | None = None

    @event("Deployed")
    def deploy(self, version_id: str, uri: str, metadata: dict[str, Any], actor: str, reason: str) -> None:
        self.highest = next_number(self.highest)
        self.versions[version_id] = {
            "number": self.highest, "stage": "draft", "status": "active", "uri": uri, "metadata": metadata,
            "by": actor, "reason": reason,
        }  # fmt: skip

    @event("Published")
    def publish(self, version_id: str, actor: str, reason: str) -> None:  # noqa: ARG002 - they are kept in the event
        _check(self.versions[version_id]["status"])
        self.versions[version_id]["stage"] = "published"

    @event("Promoted")
    def promote(self, version_id: str, actor: str, reason: str) -> None:  # noqa: ARG002 - the same
        _check(self.versions[version_id]["status"])
        self.primary = version_id


class Models(Application[UUID]):
    """The application; its name is that of its table."""


class Plain:
    """The framework alone: its application, its `@event` aggregate, its recorder."""

    def __init__(self, env: dict[str, str], *, cached: bool = False, durable: bool = True) -> None:
        given = env | ({"AGGREGATE_CACHE_MAXSIZE": str(CACHED)} if cached else {})
        self.app = Models(given)
        if not durable:
            self._relax()
        self._last: dict[str, str] = {}
        self.close = self.app.close

    def _relax(self) -> None:
        factory: Any = self.app.factory
        pool = factory.datastore.pool
        make = pool._create_connection

        def relaxed(connection: Any) -> Any:  # noqa: ANN401 - the framework's
            connection._sqlite_conn.execute("PRAGMA synchronous=NORMAL")
            return connection

        pool._create_connection = lambda: relaxed(make())
        for connection in pool._pool:
            relaxed(connection)

    def load(self, name: str) -> PlainModel:
        found: PlainModel = self.app.repository.get(uuid5(NAMESPACE_URL, name))
        return found

    def deploy(self, name: str) -> None:
        ours = secrets.token_hex(16)
        model = self.load(name) if name in self._last else _registered(name)
        model.deploy(ours, ARTIFACT, METADATA_DICT, ACTOR, REASON)
        self.app.save(model)
        self._last[name] = ours

    def publish(self, name: str) -> None:
        model = self.load(name)
        model.publish(self._last[name], ACTOR, REASON)
        self.app.save(model)

    def promote(self, name: str) -> None:
        model = self.load(name)
        model.promote(self._last[name], ACTOR, REASON)
        self.app.save(model)

    def grow(self, name: str, versions: int) -> None:
        """Add versions, all saved at once."""
        model = self.load(name) if name in self._last else _registered(name)
        for _ in range(versions):
            self._last[name] = ours = secrets.token_hex(16)
            model.deploy(ours, ARTIFACT, METADATA_DICT, ACTOR, REASON)
            model.publish(ours, ACTOR, REASON)
            model.promote(ours, ACTOR, REASON)
        self.app.save(model)


class _Named(PlainModel):
    """Its id is made of its name."""

    @staticmethod
    def create_id(name: str) -> UUID:
        return uuid5(NAMESPACE_URL, name)


def _registered(name: str) -> PlainModel:
    return _Named(name)


def plain_on(path: Path, *, cached: bool = False, durable: bool = True) -> Plain:
    """Open a SQLite file of the framework."""
    env = {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(path)}
    return Plain(env, cached=cached, durable=durable)


def has(module: str) -> bool:
    """Say whether something of the extra `bench` is installed."""
    return importlib.util.find_spec(module) is not None


NOT_INSTALLED = "not installed here (the extra `bench`)"
PYTHON_TOO_OLD = "needs Python 3.13 and `eventsource-py[sqlite]`"


def maybe(available: bool, why: str, name: str, make: Callable[[], Contender]) -> Contender | Absent:
    """Let somebody take part, if that is possible here."""
    return make() if available else Absent(name, why)


def keepers(run: Run, *, durable: bool, cached: bool = True) -> dict[str, Callable[[], Keeper] | None]:
    """Name who keeps models in SQLite beside us; None for who is not installed."""
    folder = run.folder
    eventsource = None
    if has("eventsource") and has("aiosqlite"):
        from tests.bench.eventsource_py import EventsourcePy  # noqa: PLC0415 - needs Python 3.13

        eventsource = EventsourcePy
    made: dict[str, Callable[[], Keeper] | None] = {
        "sqlite3 CRUD + audit": lambda: Handwritten(folder / "crud.db", durable=durable),
        "SQLAlchemy CRUD + audit": (lambda: Orm(folder / "orm.db", durable=durable)) if has("sqlalchemy") else None,
        "eventsourcing": lambda: plain_on(folder / "plain.db", durable=durable),
        "eventsourcing, cached": (lambda: plain_on(folder / "cached.db", cached=True, durable=durable))
        if cached
        else None,
        "eventsource-py": None if eventsource is None else lambda: eventsource(folder / "es.db", durable=durable),
    }
    return made


INSERT = (
    "INSERT INTO stored_events (originator_id,originator_version,topic,state,idempotency_key) VALUES (?,?,?,?,NULL)"
)


class Insert:
    """The limit: one raw INSERT of a row like ours, committed."""

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        with ModelRegistry(path):
            pass  # makes our tables
        self._db = sqlite3.connect(path, isolation_level=None, cached_statements=256)
        self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        self._sequences: dict[str, int] = {}
        self.close = self._db.close

    def deploy(self, name: str) -> None:
        sequence = self._sequences[name] = self._sequences.get(name, 0) + 1
        self._db.execute(
            INSERT,
            (stream_of("default", name), sequence, "deployed.1", STATE),
        )

    publish = promote = deploy


STATE = b"x" * 700
"""About as long as the state of a deployment with its metadata."""
