"""What if one database is not enough? Models spread over several stores by their streams: at what cost?

Streams are independent, and every id holds its stream, so that a service finds the store of any call by arithmetic:
nothing is looked up, and no command needs two stores. The first table is a simulation: real streams, and traffic in
which the k-th model gets 1/k of what the first one gets (Zipf). The second one measures what is asked of all stores.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from typing import TYPE_CHECKING

from tests.bench.filling import fill, names
from tests.bench.measure import Benchmark, Contender, Table, each, interleaved, microseconds, spread
from versioning import ModelRegistry
from versioning.ids import stream_of
from versioning.reading.views import VIEWS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.bench.measure import Run
    from versioning import Model

PAGE = 100
SEED = 1


def store_of(stream: str, stores: int) -> int:
    """Give the number of the store of a stream: jump consistent hashing (Lamping and Veach, 2014).

    Where one store is added to n, 1/(n+1) of the streams move, and all of them to the new one.
    """
    key, store, following = int(stream[:16], 16), -1, 0
    while following < stores:
        store = following
        key = (key * 2_862_933_555_777_941_757 + 1) % 2**64
        following = int((store + 1) * (2**31 / ((key >> 33) + 1)))
    return store


def _simulated(run: Run) -> Table:
    models = run.pick(200, 10_000, 100_000)
    streams = [stream_of("default", name) for name in names(models)]
    random.Random(SEED).shuffle(streams)  # which model is the busiest is chance
    traffic = [1 / place for place in range(1, models + 1)]
    table = Table(
        f"{models:,} models over n stores, simulated; 1 is what one store carries",
        ["stores", "most models, × mean", "carries, even traffic", "carries, Zipf", "moved by one store more"],
    )
    for stores in run.pick((1, 2), (1, 2, 4, 16), (1, 2, 4, 8, 16, 64)):
        places = [store_of(stream, stores) for stream in streams]
        held, busy = Counter(places), dict.fromkeys(range(stores), 0.0)
        for place, share in zip(places, traffic, strict=True):
            busy[place] += share
        moved = sum(place != store_of(stream, stores + 1) for place, stream in zip(places, streams, strict=True))
        most = max(held.values())
        cells = (most * stores / models, models / most, sum(traffic) / max(busy.values()), moved / models)
        table.rows.append((str(stores), *(f"{cell:.2f}" for cell in cells)))
    busiest = traffic[0] / sum(traffic)
    table.notes.append(f"one model stays on one store, and the busiest one has {busiest:.0%} of Zipf's traffic:")
    table.notes.append(f"no number of stores carries more than {1 / busiest:.1f} of it")
    return table


def page_of(registries: Sequence[ModelRegistry], limit: int) -> list[Model]:
    """Give the first models of all stores together: each is asked for a whole page."""
    pages = [registry.models(limit=limit) for registry in registries]
    return list(itertools.islice(heapq.merge(*pages, key=lambda model: model.name), limit))


def _asked_of_all(run: Run) -> Table:
    models, counts = run.pick(20, 2_000, 20_000), run.pick((1, 2), (1, 2, 4), (1, 2, 4, 8))
    groups: dict[int, list[ModelRegistry]] = {}
    for stores in counts:
        groups[stores] = [
            run.open(ModelRegistry(f"sqlite:///{run.folder}/{stores}-{place}.db?durability=checkpoint"))
            for place in range(stores)
        ]
        for place, registry in enumerate(groups[stores]):
            held = [name for name in names(models) if store_of(stream_of("default", name), stores) == place]
            fill(registry._store, held, 1)
            for view in VIEWS:
                registry._views.catch_up(view)
    last = names(models)[-1]

    def resolve(stores: int) -> object:
        return groups[stores][store_of(stream_of("default", last), stores)].resolve(last)

    table = Table(f"{models:,} models over n SQLite files, asked from one thread, µs", ["", *map(str, counts)])
    rounds, seconds_max = run.pick(1, 5, 15), run.pick(0.5, 3.0, 15.0)
    for name, question in (
        ("resolve(name): one store", resolve),
        (f"a page of {PAGE} of all models: all stores, merged", lambda stores: page_of(groups[stores], PAGE)),
        ("active(): all stores", lambda stores: [one for registry in groups[stores] for one in registry.active()]),
    ):
        turns = [
            Contender(str(stores), lambda _, question=question, stores=stores: each(3, lambda: question(stores)))  # type: ignore[misc]
            for stores in counts
        ]
        results = interleaved(turns, rounds, seconds_max)
        table.rows.append((name, *(microseconds(spread(result)[1]) for result in results)))
    return table


def _spread(run: Run) -> Iterator[Table]:
    yield _simulated(run)
    yield _asked_of_all(run)


BENCHMARKS = {"spreading": Benchmark("models over several stores: a simulation, and what is asked of all", _spread)}
