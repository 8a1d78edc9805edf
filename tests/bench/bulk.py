"""How fast do many versions come in at once? Against one executemany of the same rows in one transaction.

Each is deployed published, so that two events are recorded for it. What the stored format alone takes (JSON, SHA-256,
and the same rows inserted) is shown beside it: nothing that records these rows can be faster.
"""

from __future__ import annotations

import itertools
import sqlite3
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.bench.contenders import METADATA_DICT
from tests.bench.filling import ACTOR, ARTIFACT, REASON, names
from tests.bench.measure import OURS, Benchmark, Contender, compare, seconds_each
from versioning import ModelRegistry
from versioning.aggregate import NO_LINK
from versioning.audit.log_file import check_log
from versioning.events import Meta
from versioning.store.format import decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.bench.measure import Run, Table
    from versioning import Deployment
    from versioning.events import Event

ROWS = "SELECT originator_id,originator_version,topic,state,idempotency_key FROM stored_events ORDER BY rowid"
INSERT = "INSERT INTO stored_events (originator_id,originator_version,topic,state,idempotency_key) VALUES (?,?,?,?,?)"
APPENDED = 1_000
"""As many rows as `deploy_many` records at once."""
PART = 10
"""One by one, only so many times fewer are deployed."""


class _Log(NamedTuple):
    """The same events, in each form in which they can come in."""

    deployments: list[Deployment]
    rows: Sequence[tuple[object, ...]]
    appends: list[tuple[str, list[Event], Meta]]
    exported: Path


def _log(run: Run, models: int) -> _Log:
    path, exported = run.folder / "rows.db", run.folder / "exported.ndjson"
    deployments: list[Deployment] = [
        {"model_or_reference": ARTIFACT, "model_name": name, "publish": True, "metadata": METADATA_DICT}
        for name in names(models)
    ]
    with ModelRegistry(path) as registry:
        registry.deploy_many(deployments, actor=ACTOR, reason=REASON)
        registry.export(exported)
        appends: list[tuple[str, list[Event], Meta]] = []
        for row in registry._store.log(0, models * 2):
            one = decode(*row)
            if one.index == 0:
                meta = Meta(one.workspace, one.model_name, one.generation, one.command_id, one.actor, one.reason)
                appends.append((one.stream, [], meta))
            appends[-1][1].append(one.event)
    db = sqlite3.connect(path)
    rows = db.execute(ROWS).fetchall()
    db.close()
    return _Log(deployments, rows, appends, exported)


def _executemany(path: Path, log: _Log) -> float:
    with ModelRegistry(path):
        pass  # makes the tables
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("PRAGMA synchronous=FULL")
    began = time.perf_counter()
    raw.execute("BEGIN IMMEDIATE")
    raw.executemany(INSERT, log.rows)
    raw.execute("COMMIT")
    seconds = time.perf_counter() - began
    raw.close()
    return seconds / len(log.rows)


def _encoded(registry: ModelRegistry, log: _Log) -> None:
    rows = []
    for stream, events, meta in log.appends:
        rows += encode(stream, 0, NO_LINK, events, meta)
        if len(rows) == APPENDED:
            registry._store.append(rows)
            rows = []
    registry._store.append(rows)


def _one_by_one(registry: ModelRegistry, log: _Log) -> None:
    for deployment in log.deployments[::PART]:
        how: dict[str, Any] = {**deployment, "actor": ACTOR, "reason": REASON}
        registry.deploy(**how)


def _bulk(run: Run) -> Iterator[Table]:
    log = _log(run, run.pick(10, 100, 1_000))
    count, numbers = len(log.rows), itertools.count()

    def on_a_new_file(work: Callable[[ModelRegistry], object], events: int = count) -> Callable[[int], float]:
        def go(_: int) -> float:
            with ModelRegistry(run.folder / f"{next(numbers)}.db") as registry:
                return seconds_each(events, lambda: work(registry))

        return go

    def race(title: str, ours: Contender, *others: Contender) -> Table:
        raw = Contender(
            "sqlite3 executemany", lambda _: _executemany(run.folder / f"{next(numbers)}.db", log), target=0.5
        )
        rounds, seconds_max = run.pick(1, 9, 15), run.pick(1.0, 5.0, 25.0)
        title = f"{count:,} events {title}, SQLite FULL, an event each"
        return compare(title, ours, [raw, *others], rounds=rounds, seconds_max=seconds_max)

    yield race(
        "deployed at once",
        Contender(
            f"{OURS}, deploy_many",
            on_a_new_file(lambda registry: registry.deploy_many(log.deployments, actor=ACTOR, reason=REASON)),
        ),
        Contender("the stored format alone", on_a_new_file(lambda registry: _encoded(registry, log))),
        Contender("deploy, one by one", on_a_new_file(lambda registry: _one_by_one(registry, log), count // PART)),
    )
    yield race(
        "imported",
        Contender(f"{OURS}, import_log", on_a_new_file(lambda registry: registry.import_log(log.exported))),
        Contender("checking the file alone", lambda _: seconds_each(count, lambda: check_log(log.exported))),
    )


BENCHMARKS = {"bulk": Benchmark("many versions at once: deployed, and imported", _bulk)}
