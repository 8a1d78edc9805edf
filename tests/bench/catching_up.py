"""How fast does a kept view catch up with the log? Against a projection of the framework that keeps a row a model."""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING, Any

from eventsourcing.persistence import InfrastructureFactory, Tracking
from eventsourcing.projection import Projection
from eventsourcing.sqlite import SQLiteTrackingRecorder
from eventsourcing.utils import Environment

from tests.bench.contenders import NOT_INSTALLED, Plain, has, plain_on
from tests.bench.filling import fill, names
from tests.bench.measure import OURS, Absent, Benchmark, Contender, compare
from tests.postgres_server import PostgresServer, the_server
from versioning import ModelRegistry
from versioning.reading.views import MODELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.bench.measure import Run, Table


class SQLiteRows(SQLiteTrackingRecorder):
    """A row a model, and the position, in one transaction."""

    def construct_create_table_statements(self) -> list[str]:
        made = super().construct_create_table_statements()
        return [*made, "CREATE TABLE IF NOT EXISTS models (id TEXT PRIMARY KEY, versions INTEGER, facts TEXT)"]

    def keep(self, model_id: str, facts: str, tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(KEEP.format("?,1,?", model="models"), (model_id, facts))


KEEP = (
    "INSERT INTO {model} VALUES ({0}) ON CONFLICT (id) DO UPDATE SET versions={model}.versions+1,facts=excluded.facts"
)


class RowsProjection(Projection[Any]):
    """What changes the rows."""

    name = "rows"
    topics = ()

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:  # noqa: ANN401 - whatever happened
        facts = {key: value for key, value in vars(domain_event).items() if isinstance(value, str)}
        self.view.keep(domain_event.originator_id.hex, json.dumps(facts), tracking)


def _ours(registry: ModelRegistry, events: int) -> Callable[[int], float]:
    views = registry._views

    def go(_: int) -> float:
        registry._store.drop_view(MODELS.name)
        began = time.perf_counter()
        reached = views.catch_up(MODELS)
        seconds = time.perf_counter() - began
        assert reached == events, "the view did not catch up"
        return seconds / events

    return go


def _polled(plain: Plain, env: dict[str, str], chunk: int) -> Callable[[int], float]:
    """Do what the runner does, which can't on SQLite: each event with its position, one after the other."""
    factory: InfrastructureFactory[Any] = InfrastructureFactory.construct(Environment("rows", env))
    view: Any = factory.tracking_recorder(SQLiteRows)
    projection, app = RowsProjection(view), plain.app

    def go(_: int) -> float:
        began = time.perf_counter()
        start = (view.max_tracking_id(app.name) or 0) + 1
        found = app.recorder.select_notifications(start, chunk)
        for one in found:
            projection.process_event(app.mapper.to_domain_event(one), Tracking(app.name, one.id))
        return (time.perf_counter() - began) / len(found)

    return go


def server_of(run: Run) -> PostgresServer:
    """Start a server that syncs to the disk; where nothing is measured, the one of the test run does."""
    return the_server() if run.size == "tiny" else run.open(PostgresServer(durable=True))


def _sqlite(run: Run) -> Iterator[Table]:
    models, versions, rounds, chunk = run.pick((3, 3, 1, 10), (100, 10, 5, 100), (1_000, 10, 10, 300))
    registry = run.open(ModelRegistry(run.folder / "ours.db"))
    events = fill(registry._store, names(models), versions)
    plain = run.closing(plain_on(run.folder / "plain.db"))
    for name in names(models // 5 + 1):
        plain.grow(name, versions)
    env = {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(run.folder / "plain.db")}
    yield compare(
        f"a view of models catches up with {events:,} events, SQLite FULL, an event each",
        Contender(OURS, _ours(registry, events)),
        [Contender("eventsourcing, a projection", _polled(plain, env, chunk), 35)],
        rounds=rounds,
        seconds_max=run.pick(1.0, 4.0, 20.0),
    )


def plain_env(server: PostgresServer) -> dict[str, str]:
    """Give the framework's settings for a server."""
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": "models",
        "POSTGRES_HOST": str(server.folder),
        "POSTGRES_PORT": str(server.port),
        "POSTGRES_USER": "postgres",
        "POSTGRES_PASSWORD": "unused",
    }


def _postgres(run: Run) -> Iterator[Table]:
    models, versions, rounds = run.pick((3, 3, 1), (100, 10, 3), (1_000, 10, 5))
    server = server_of(run)
    registry = run.open(ModelRegistry(server.fresh_url()))
    events = fill(registry._store, names(models), versions)
    env = plain_env(server)
    ours, title = Contender(OURS, _ours(registry, events)), "eventsourcing, its runner"
    seconds_max = run.pick(1.0, 5.0, 30.0)
    other: Contender | Absent = Absent(title, NOT_INSTALLED)
    if has("psycopg_pool"):
        other = Contender(title, _runner(run, env, models // 20 + 1, versions), 40)
    about = f"a view of models catches up with {events:,} events, PostgreSQL with fsync, an event each"
    yield compare(about, ours, [other], rounds=rounds, seconds_max=seconds_max)


def _runner(run: Run, env: dict[str, str], models: int, versions: int) -> Callable[[int], float]:
    from tests.bench.postgres_rows import Running  # noqa: PLC0415 - needs psycopg_pool

    plain = run.closing(Plain(env))
    grown = 0

    def theirs(number: int) -> float:
        """Let the runner take in what is new since the last round."""
        nonlocal grown
        for name in names((number + 1) * models)[number * models :]:
            plain.grow(name, versions)
        last = plain.app.recorder.max_notification_id() or 0
        began = time.perf_counter()
        with contextlib.closing(Running(env)) as running:
            running.runner.wait(last, timeout=60)
            seconds = time.perf_counter() - began
        count, grown = last - grown, last
        return seconds / count

    return theirs


BENCHMARKS = {
    "views": Benchmark("a kept view catches up, SQLite", _sqlite),
    "views-pg": Benchmark("a kept view catches up, PostgreSQL", _postgres),
}
