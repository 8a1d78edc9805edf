"""How long does reading take: from rows to states, to typed events, and to the version that is to be invoked?"""

from __future__ import annotations

import inspect
import sqlite3
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, uuid5

from tests.bench.contenders import plain_on
from tests.bench.filling import fill, names
from tests.bench.measure import OURS, US, Benchmark, Contender, Table, compare, each, interleaved, limits, seconds_each
from versioning import ModelRegistry
from versioning.ids import stream_of
from versioning.limits import INTEGER_MAX
from versioning.reading.views import MODELS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.bench.measure import Run

# What the store itself asks, so that the limit is the time of the same rows.
TAIL = (
    "SELECT rowid,originator_version,topic,state FROM stored_events WHERE originator_id=? "
    "AND originator_version>? AND originator_version<=? ORDER BY originator_version"
)
LOG = (
    "SELECT rowid,originator_id,originator_version,topic,state FROM stored_events "
    "WHERE rowid>? AND rowid<=? ORDER BY rowid LIMIT ?"
)
BATCH = 10_000


def _raw(run: Run, path: Path) -> sqlite3.Connection:
    connection: sqlite3.Connection = run.closing(
        sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    )
    return connection


def _replay(run: Run) -> Iterator[Table]:
    models, versions = run.pick((2, 5), (4, 200), (10, 1_000))
    model_names, path = names(models), run.folder / "ours.db"
    registry = run.open(ModelRegistry(path))
    events = fill(registry._store, model_names, versions)
    raw, streams = _raw(run, path), [stream_of("default", name) for name in model_names]
    plain = run.closing(plain_on(run.folder / "plain.db"))
    for name in model_names:
        plain.grow(name, versions)

    def ours() -> None:
        registry._streams._cached.clear()  # as in a process that begins
        for stream in streams:
            registry._streams.current(stream)

    def select() -> None:
        for stream in streams:
            raw.execute(TAIL, (stream, 0, INTEGER_MAX)).fetchall()

    def theirs() -> None:
        for name in model_names:
            plain.app.repository.get(uuid5(NAMESPACE_URL, name))

    for start in ("the log alone", "kept rows"):
        if start == "kept rows":
            registry._views.catch_up(MODELS)
        yield compare(
            f"states of {models} models of {events // models:,} events from {start}, an event each",
            Contender(OURS, lambda _: seconds_each(events, ours)),
            [
                Contender("sqlite3 SELECT", lambda _: seconds_each(events, select), 0.45),
                Contender("eventsourcing", lambda _: seconds_each(models * (versions * 3 + 1), theirs), 12),
            ],
            rounds=run.pick(1, 7, 15),
            seconds_max=run.pick(1.0, 6.0, 40.0),
        )


def _log(run: Run) -> Iterator[Table]:
    models, versions = run.pick((3, 3), (200, 10), (1_000, 30))
    model_names, path = names(models), run.folder / "ours.db"
    registry = run.open(ModelRegistry(path))
    events = fill(registry._store, model_names, versions)
    raw = _raw(run, path)
    plain = run.closing(plain_on(run.folder / "plain.db"))
    for name in model_names[: models // 5 + 1]:
        plain.grow(name, versions)
    theirs = (models // 5 + 1) * (versions * 3 + 1)

    def ours() -> None:
        for _ in registry.history():
            pass

    def select() -> None:
        after = 0
        while rows := raw.execute(LOG, (after, INTEGER_MAX, BATCH)).fetchall():
            after = rows[-1][0]

    def notifications() -> None:
        mapper, start = plain.app.mapper, 1
        while found := plain.app.recorder.select_notifications(start, BATCH):
            for one in found:
                mapper.to_domain_event(one)
            start = found[-1].id + 1

    yield compare(
        f"a log of {events:,} events to typed events, an event each",
        Contender(OURS, lambda _: seconds_each(events, ours)),
        [
            Contender("sqlite3 SELECT", lambda _: seconds_each(events, select), 0.45),
            Contender("eventsourcing", lambda _: seconds_each(theirs, notifications)),
        ],
        rounds=run.pick(1, 7, 15),
        seconds_max=run.pick(1.0, 6.0, 40.0),
    )


def _resolve(run: Run) -> Iterator[Table]:
    path, name, count = run.folder / "ours.db", "model 000000", run.pick(5, 200, 1_000)
    registry = run.open(ModelRegistry(path))
    fill(registry._store, [name], 5)
    raw, stream = _raw(run, path), stream_of("default", name)
    sequence = len(list(registry.history()))
    has_staleness = "max_staleness_s" in inspect.signature(registry.resolve).parameters
    stale = {"max_staleness_s": 60.0}

    def select() -> None:
        raw.execute(TAIL, (stream, sequence, INTEGER_MAX)).fetchall()

    contenders = [
        Contender("resolve", lambda _: each(count, lambda: registry.resolve(name))),
        Contender("SELECT", lambda _: each(count, select)),
        Contender("nothing", lambda _: each(count, lambda: None)),
    ]
    if has_staleness:
        resolve = registry.resolve
        contenders.append(Contender("stale", lambda _: each(count, lambda: resolve(name, **stale))))  # type: ignore[arg-type]
    resolved, selected, nothing, *rest = interleaved(contenders, run.pick(2, 30, 100), run.pick(0.3, 3.0, 10.0))
    beyond = [(ours - theirs) * US for ours, theirs in zip(resolved, selected, strict=True)]
    rows = [
        ("resolve(name)", [value * US for value in resolved], None, "µs"),
        ("the store's own SELECT", [value * US for value in selected], None, "µs"),
        ("resolve(name) beyond it", beyond, 6.0, "µs"),
    ]
    if has_staleness:
        alone = [(ours - empty) * US for ours, empty in zip(rest[0], nothing, strict=True)]
        rows.append(("resolve(name, max_staleness_s=60)", alone, 0.6, "µs"))
    notes = [] if has_staleness else ["resolve(name, max_staleness_s=…) is not there yet: target ≤ 0.6 µs"]
    yield limits("resolving a name whose model is in the cache", rows, notes)


BENCHMARKS = {
    "replay": Benchmark("states of models from their events", _replay),
    "log": Benchmark("typed events from the whole log", _log),
    "resolve": Benchmark("the version to invoke, from a warm cache", _resolve),
}
