"""How fast do many versions come in at once? Against one executemany of the same rows in one transaction."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Any

from tests.bench.contenders import METADATA_DICT
from tests.bench.filling import ACTOR, ARTIFACT, REASON, fill, names
from tests.bench.measure import OURS, Absent, Benchmark, Contender, compare
from versioning import ModelRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.bench.measure import Run, Table

ROWS = "SELECT originator_id,originator_version,topic,state,idempotency_key FROM stored_events ORDER BY rowid"
INSERT = "INSERT INTO stored_events (originator_id,originator_version,topic,state,idempotency_key) VALUES (?,?,?,?,?)"


def _bulk(run: Run) -> Iterator[Table]:
    models, rounds = run.pick(5, 100, 1_000), run.pick(1, 5, 12)
    folder = run.folder
    with ModelRegistry(folder / "rows.db") as source:
        events = fill(source._recorder, names(models), 1)
    db = sqlite3.connect(folder / "rows.db")
    rows = db.execute(ROWS).fetchall()
    db.close()

    def executemany(number: int) -> float:
        path = folder / f"raw{number}.db"
        with ModelRegistry(path):
            pass  # makes the tables
        raw = sqlite3.connect(path, isolation_level=None)
        raw.execute("PRAGMA synchronous=FULL")
        began = time.perf_counter()
        raw.execute("BEGIN IMMEDIATE")
        raw.executemany(INSERT, rows)
        raw.execute("COMMIT")
        seconds = time.perf_counter() - began
        raw.close()
        return seconds / events

    def filled(number: int) -> float:
        with ModelRegistry(folder / f"filled{number}.db") as registry:
            began = time.perf_counter()
            fill(registry._recorder, names(models), 1)
            return (time.perf_counter() - began) / events

    def one_by_one(number: int) -> float:
        with ModelRegistry(folder / f"single{number}.db") as registry:
            began = time.perf_counter()
            for name in names(models // 10 + 1):
                registry.deploy(ARTIFACT, model_name=name, metadata=METADATA_DICT, actor=ACTOR, reason=REASON)
            return (time.perf_counter() - began) / (models // 10 + 1)

    many = _deploy_many(run, models)
    raw = Contender("sqlite3 executemany", executemany, 0.5)
    title = f"{events:,} events at once, SQLite FULL, an event each"
    others: list[Contender | Absent] = [raw, Contender("deploy, one by one", one_by_one)]
    if many is None:
        others.append(
            Absent("deploy_many", "is not there yet; the first row is what rules, format and append alone take")
        )
    ours = Contender(f"{OURS}, encoded and appended" if many is None else f"{OURS}, deploy_many", many or filled)
    yield compare(title, ours, others, rounds=rounds, seconds_max=run.pick(1.0, 5.0, 25.0))


def _deploy_many(run: Run, models: int) -> Callable[[int], float] | None:
    if not hasattr(ModelRegistry, "deploy_many"):
        return None

    def go(number: int) -> float:
        """Let as many models get a published version as the rows have: a row each for deploying and the primary."""
        asked: list[dict[str, Any]] = [
            {"model_or_reference": ARTIFACT, "model_name": name, "publish": True, "metadata": METADATA_DICT}
            for name in names(models)
        ]
        with ModelRegistry(run.folder / f"many{number}.db") as opened:
            registry: Any = opened
            began = time.perf_counter()
            registry.deploy_many(asked, actor=ACTOR, reason=REASON)
            seconds = time.perf_counter() - began
            return seconds / opened.position()

    return go


BENCHMARKS = {"bulk": Benchmark("many versions at once", _bulk)}
