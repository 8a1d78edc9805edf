"""How long does a command take? Against other ways to keep the same, by threads, and in models with many versions."""

from __future__ import annotations

import itertools
import threading
import time
from typing import TYPE_CHECKING

from tests.bench.contenders import (
    NOT_INSTALLED,
    PYTHON_TOO_OLD,
    Handwritten,
    Insert,
    Keeper,
    Ours,
    Plain,
    in_turns,
    keepers,
    ours_on,
    plain_on,
    verbs,
)
from tests.bench.filling import fill, names
from tests.bench.measure import (
    OURS,
    US,
    Absent,
    Benchmark,
    Contender,
    Table,
    compare,
    each,
    interleaved,
    spread,
    verdict,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.bench.measure import Run

THREADS = 16


def _commands(run: Run, *, durable: bool, targets: dict[str, float]) -> Iterator[Table]:
    models, versions, chunk = run.pick((4, 2, 12), (100, 5, 50), (1_000, 5, 100))
    model_names = names(models)

    def turn(name: str, keeper: Keeper) -> Contender:
        return in_turns(name, run.closing(keeper), verbs(model_names, versions), chunk, targets.get(name))

    others: list[Contender | Absent] = [turn("sqlite3 INSERT", Insert(run.folder / "insert.db", durable=durable))]
    for name, make in keepers(run, durable=durable).items():
        why = PYTHON_TOO_OLD if name == "eventsource-py" else NOT_INSTALLED
        others.append(Absent(name, why) if make is None else turn(name, make()))
    yield compare(
        f"a command, SQLite {'FULL' if durable else 'durability=checkpoint'}, {models:,} models × {versions} versions",
        turn(OURS, ours_on(run.folder / "ours.db", durable=durable)),
        others,
        rounds=models * versions * 3 // chunk,
        seconds_max=run.pick(1.0, 8.0, 60.0),
    )


def _full(run: Run) -> Iterator[Table]:
    return _commands(run, durable=True, targets={"sqlite3 CRUD + audit": 0.95, "eventsourcing": 3.5})


def _checkpoint(run: Run) -> Iterator[Table]:
    return _commands(run, durable=False, targets={"sqlite3 CRUD + audit": 0.75, "eventsourcing": 9})


# Threads.


def _abreast(keeper: Keeper, threads: int, chunk: int) -> Callable[[int], float]:
    """Let threads do commands side by side, each on models of its own."""

    def one(number: int, thread: int, gate: threading.Barrier) -> None:
        calls = [(getattr(keeper, verb), name) for verb, name in verbs([f"model {number}-{thread}"], chunk // 3)]
        gate.wait()
        for call, name in calls:
            call(name)
        gate.wait()

    def go(number: int) -> float:
        gate = threading.Barrier(threads + 1)
        workers = [threading.Thread(target=one, args=(number, place, gate), daemon=True) for place in range(threads)]
        for worker in workers:
            worker.start()
        gate.wait()
        began = time.perf_counter()
        gate.wait()
        seconds = time.perf_counter() - began
        for worker in workers:
            worker.join()
        return seconds / (threads * (chunk // 3) * 3)

    return go


def _threads(run: Run) -> Iterator[Table]:
    chunk = run.pick(3, 6, 12)
    for durable in (True, False):
        ours, crud = (
            [
                run.closing(make(run.folder / f"{kind}{threads}{durable}.db", durable=durable))
                for threads in (THREADS, 1)
            ]
            for kind, make in (("ours", ours_on), ("crud", Handwritten))
        )
        many, one = f"{THREADS} threads", "one thread"
        yield compare(
            f"a command, SQLite {'FULL' if durable else 'durability=checkpoint'}, {THREADS} threads",
            Contender(f"{OURS}, {many}", _abreast(ours[0], THREADS, chunk)),
            [
                Contender(f"{OURS}, {one}", _abreast(ours[1], 1, chunk * 8), 3.0 if durable else None),
                Contender(f"sqlite3 CRUD + audit, {many}", _abreast(crud[0], THREADS, chunk)),
                Contender(f"sqlite3 CRUD + audit, {one}", _abreast(crud[1], 1, chunk * 8)),
            ],
            rounds=run.pick(2, 8, 40),
            seconds_max=run.pick(1.0, 4.0, 20.0),
        )


# Many versions of one model.


def _sampled(name: str, plain: Plain, chunk: int, timed: int, target: float | None) -> Contender:
    """Let the framework do a few of the commands, and let the rest be saved at once: it would take hours otherwise."""

    def go(number: int) -> float:
        plain.grow("fraud", chunk // 3 - (number > 0) * timed // 3 or 1)
        calls = [(getattr(plain, verb), name) for verb, name in verbs(["fraud"], timed // 3)]
        began = time.perf_counter()
        for call, model in calls:
            call(model)
        return (time.perf_counter() - began) / len(calls)

    return Contender(name, go, target)


def _one_model(run: Run) -> Iterator[Table]:
    versions, chunk = run.pick((10, 15), (200, 60), (1_000, 150))
    folder, timed = run.folder, run.pick(3, 3, 6)
    plain, cached = (run.closing(plain_on(folder / f"{cached}.db", cached=cached)) for cached in (False, True))
    yield compare(
        f"a command, SQLite FULL, one model × {versions:,} versions, {versions * 3:,} commands",
        in_turns(OURS, run.closing(ours_on(folder / "ours.db")), verbs(["fraud"], versions), chunk),
        [
            in_turns(
                "sqlite3 CRUD + audit",
                run.closing(Handwritten(folder / "crud.db")),
                verbs(["fraud"], versions),
                chunk,
                0.9,
            ),
            _sampled("eventsourcing", plain, chunk, timed, 50),
            _sampled("eventsourcing, cached", cached, chunk, timed, None),
        ],
        rounds=versions * 3 // chunk,
        seconds_max=run.pick(1.0, 10.0, 60.0),
    )


def _deploy_and_publish(ours: Ours, name: str) -> None:
    ours.deploy(name)
    ours.publish(name)


def _questions(ours: Ours, name: str) -> dict[str, Callable[[], object]]:
    """Give commands that can be repeated on a model with two versions or more, and a question."""
    registry = ours.registry
    first, second = (version.version_id for version in registry.versions(name)[-2:])
    turns = itertools.cycle((first, second))
    swings = itertools.cycle((registry.deactivate, registry.activate))
    return {
        "deploy, publish": lambda: _deploy_and_publish(ours, name),
        "promote": lambda: registry.promote(next(turns)),
        "deactivate, activate": lambda: next(swings)(second),
        "resolve": lambda: registry.resolve(name),
        'resolve "^0.1.0"': lambda: registry.resolve(name, "^0.1.0"),
    }


def _long_model(run: Run) -> Iterator[Table]:
    short, long = 10, run.pick(100, 2_000, 10_000)
    ours = run.closing(ours_on(run.folder / "ours.db", durable=False))
    for name, versions in (("short", short), ("long", long)):
        fill(ours.registry._store, [name], versions)
        ours.registry.resolve(name)
    table = Table(
        f"a command on a model of {long:,} versions against one of {short}, durability=checkpoint",
        ["", f"µs at {short}", f"µs at {long:,}", "ratio", "quartiles", "target", "verdict"],
    )
    asked = [_questions(ours, name) for name in ("short", "long")]
    count = run.pick(2, 5, 10)
    for verb in asked[0]:
        contenders = [
            Contender(name, _each(count, questions[verb]))
            for name, questions in zip(("short", "long"), asked, strict=True)
        ]
        results = interleaved(contenders, run.pick(2, 20, 40), run.pick(0.3, 1.0, 5.0))
        few, many = (spread(result)[1] * US for result in results)
        lower, median, upper = spread([slow / fast for fast, slow in zip(*results, strict=True)])
        met = verdict(median <= 1.2, lower <= 1.2)
        table.rows.append(
            (verb, f"{few:.1f}", f"{many:.1f}", f"{median:.2f}", f"{lower:.2f}–{upper:.2f}", "≤ 1.2", met)
        )
    yield table


def _each(count: int, question: Callable[[], object]) -> Callable[[int], float]:
    return lambda _: each(count, question)


BENCHMARKS = {
    "command": Benchmark("a command, synced at every commit, against CRUD, SQLAlchemy and event sourcing", _full),
    "checkpoint": Benchmark("the same, synced at checkpoints only", _checkpoint),
    "threads": Benchmark("commands of 16 threads against those of one", _threads),
    "one-model": Benchmark("commands on one model that gets a thousand versions", _one_model),
    "long-model": Benchmark("a command on a model of 10,000 versions against one of 10", _long_model),
}
