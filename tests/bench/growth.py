"""How do costs grow? Each question at several sizes, with the exponent of the best power law, as tables and SVG.

An exponent of 0 is flat and 1 is linear. Nothing is to grow faster than linear, and only what reads all of something
is to grow with it.
"""

from __future__ import annotations

import itertools
from math import ceil, floor, log10
from typing import TYPE_CHECKING, NamedTuple

from tests.bench import processing
from tests.bench.contenders import Ours, ours_on
from tests.bench.filling import START_US, fill, names
from tests.bench.measure import US, Benchmark, Contender, Table, each, exponent, interleaved, microseconds, spread
from versioning import ModelRegistry
from versioning.events import moment_of
from versioning.reading.views import VIEWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.bench.measure import Run

FLAT, LINEAR = 0.2, 1.1
"""The exponents that still count as flat and as linear: what the noise of a shared machine makes of 0 and 1."""


class Question(NamedTuple):
    """What is asked, and how it may grow."""

    ask: Callable[[], object]
    most: float


class Curve(NamedTuple):
    """What a question cost at each size."""

    over: str
    name: str
    sizes: Sequence[int]
    seconds: Sequence[float]
    most: float


def _curves(run: Run, over: str, sizes: Sequence[int], prepared: Sequence[dict[str, Question]]) -> list[Curve]:
    """Ask the same at all sizes by turns."""
    curves = []
    count = run.pick(1, 3, 5)
    for name, first in prepared[0].items():
        turns = [
            Contender(str(size), _each(count, asked[name].ask)) for size, asked in zip(sizes, prepared, strict=True)
        ]
        results = interleaved(turns, run.pick(1, 5, 9), run.pick(0.2, 0.7, 4.0))
        curves.append(Curve(over, name, sizes, [spread(result)[1] for result in results], first.most))
    return curves


def _each(count: int, question: Callable[[], object]) -> Callable[[int], float]:
    return lambda _: each(count, question)


def _commands(ours: Ours, name: str) -> dict[str, Question]:
    registry = ours.registry
    first, second = (version.version_id for version in registry.versions(name)[-2:])
    turns = itertools.cycle((first, second))
    swings = itertools.cycle((registry.deactivate, registry.activate))
    numbers = [version.number for version in registry.versions(name)]
    return {
        "deploy": Question(lambda: ours.deploy(name), FLAT),
        "promote": Question(lambda: registry.promote(next(turns)), FLAT),
        "deactivate, activate": Question(lambda: next(swings)(second), FLAT),
        "resolve": Question(lambda: registry.resolve(name), FLAT),
        "resolve a range with one old version": Question(lambda: registry.resolve(name, f"~{numbers[0]}"), FLAT),
        "version(name@number)": Question(lambda: registry.version(f"{name}@{numbers[0]}"), FLAT),
    }


def _events(run: Run) -> list[Curve]:
    """Grow the log and the number of models together."""
    sizes = run.pick((5, 20), (100, 1_000), (100, 1_000, 10_000))
    return _curves(run, "models (10 events each)", sizes, [_asked_of_models(run, models) for models in sizes])


def _filled(run: Run, what: str, model_names: Sequence[str], versions: int) -> Ours:
    ours: Ours = run.closing(ours_on(run.folder / f"{what}.db", durable=False))
    fill(ours.registry._store, model_names, versions)
    _catch_up(ours.registry)
    return ours


def _catch_up(registry: ModelRegistry) -> None:
    for view in VIEWS:
        registry._views.catch_up(view)


def _asked_of_models(run: Run, models: int) -> dict[str, Question]:
    ours = _filled(run, f"models{models}", names(models), 3)
    registry, last = ours.registry, names(models)[-1]
    middle = registry.position() // 2
    return {
        "open, resolve": Question(lambda: _opened(run.folder / f"models{models}.db", last), FLAT),
        **_commands(ours, last),
        "models(limit=20)": Question(lambda: registry.models(limit=20), FLAT),
        "models()": Question(registry.models, LINEAR),
        "history(name)": Question(lambda: list(registry.history(last)), FLAT),
        "history(limit=20)": Question(lambda: list(registry.history(limit=20)), FLAT),
        "at(position).model(name)": Question(lambda: registry.at(registry.position()).model(last), FLAT),
        "at(half).models(limit=20)": Question(lambda: registry.at(middle).models(limit=20), LINEAR),
        "usage of a name": Question(lambda: _usage(registry, last), FLAT),
        "usage of all": Question(lambda: _usage(registry, None), LINEAR),
    }


def _opened(path: Path, name: str) -> None:
    with ModelRegistry(f"sqlite:///{path}?durability=checkpoint") as registry:
        registry.resolve(name)


def _usage(registry: ModelRegistry, name: str | None) -> object:
    return registry.usage(moment_of(START_US), moment_of(START_US + 10**12), name)


def _versions(run: Run) -> list[Curve]:
    sizes = run.pick((5, 20), (10, 1_000), (10, 100, 1_000, 10_000))
    return _curves(run, "versions of one model", sizes, [_asked_of_versions(run, versions) for versions in sizes])


def _asked_of_versions(run: Run, versions: int) -> dict[str, Question]:
    name = "fraud"
    ours = _filled(run, f"versions{versions}", [name], versions)
    registry = ours.registry

    def replay() -> None:
        registry._streams._cached.clear()
        registry.resolve(name)

    def take_in() -> None:
        ours.deploy(name)
        _catch_up(registry)

    return {
        **_commands(ours, name),
        "replay": Question(replay, LINEAR),
        "model(name)": Question(lambda: registry.model(name), LINEAR),
        "usage of a name": Question(lambda: _usage(registry, name), LINEAR),
        "the views take in one event": Question(take_in, LINEAR),
    }


def _workspaces(run: Run) -> list[Curve]:
    sizes = run.pick((1, 3), (1, 30), (1, 10, 100))
    return _curves(run, "workspaces in one store", sizes, [_asked_of_workspaces(run, count) for count in sizes])


def _asked_of_workspaces(run: Run, workspaces: int) -> dict[str, Question]:
    """Put the workspace that asks behind all others in the log."""
    url = f"sqlite:///{run.folder}/workspaces{workspaces}.db?durability=checkpoint"
    registry = run.open(ModelRegistry(url, workspace="team 0"))
    for number in reversed(range(workspaces)):
        fill(registry._store, names(20), 3, workspace=f"team {number}")
    _catch_up(registry)
    return {
        "resolve": Question(lambda: registry.resolve("model 000000"), FLAT),
        "models()": Question(registry.models, FLAT),
        "usage of all": Question(lambda: _usage(registry, None), FLAT),
        "history(limit=20)": Question(lambda: list(registry.history(limit=20)), LINEAR),
    }


def _processes(run: Run) -> list[Curve]:
    processes, costs = processing.throughput(run)
    return [Curve("processes on one PostgreSQL", "a command, of all together", processes, costs, FLAT)]


def _growth(run: Run) -> Iterator[Table]:
    every: list[Curve] = []
    for made in (_events, _versions, _workspaces, _processes):
        curves = made(run)
        every += curves
        table = Table(
            f"cost against {curves[0].over}, µs",
            ["", *(f"{size:,}" for size in curves[0].sizes), "exponent", "at most", "verdict"],
        )
        for curve in curves:
            fitted = exponent(curve.sizes, curve.seconds)
            kind = "flat" if curve.most == FLAT else "linear"
            met = "met" if fitted <= curve.most else "MISSED"
            table.rows.append((curve.name, *map(microseconds, curve.seconds), f"{fitted:.2f}", kind, met))
        yield table
    run.options.svg.write_text(plot(every))
    yield Table(f"plotted to {run.options.svg}", [""])


# The plot: a panel for each way to grow, both axes logarithmic.

WIDTH, HEIGHT, MARGIN = 420, 340, 60
COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf")


def plot(curves: Sequence[Curve]) -> str:
    """Draw all curves."""
    panels: dict[str, list[Curve]] = {}
    for curve in curves:
        panels.setdefault(curve.over, []).append(curve)
    lines = max(map(len, panels.values()))
    height = HEIGHT + 16 * lines + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{(WIDTH + MARGIN) * len(panels) + MARGIN}" height="{height}">',
        '<g font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>',
    ]
    for place, (over, drawn) in enumerate(panels.items()):
        parts.append(
            f'<g transform="translate({MARGIN + (WIDTH + MARGIN) * place},{MARGIN})">{_panel(over, drawn)}</g>'
        )
    return "\n".join([*parts, "</g></svg>\n"])


def _panel(over: str, curves: Sequence[Curve]) -> str:
    costs = [second * US for curve in curves for second in curve.seconds]
    low, high = floor(log10(min(costs))), ceil(log10(max(costs)))
    left, right = log10(curves[0].sizes[0]), log10(curves[0].sizes[-1])

    def x(size: float) -> float:
        return (log10(size) - left) / (right - left) * WIDTH

    def y(cost_us: float) -> float:
        return HEIGHT - (log10(cost_us) - low) / (high - low or 1) * HEIGHT

    parts = [f'<text x="0" y="-20" font-weight="bold">µs against {over}</text>']
    for power in range(low, high + 1):
        at = y(10.0**power)
        parts.append(
            f'<path d="M0 {at:.1f}H{WIDTH}" stroke="#ddd"/>'
            f'<text x="-8" y="{at + 4:.1f}" text-anchor="end">{10.0**power:g}</text>'
        )
    parts += [
        f'<text x="{x(size):.1f}" y="{HEIGHT + 18}" text-anchor="middle">{size:,}</text>' for size in curves[0].sizes
    ]
    for place, curve in enumerate(curves):
        colour = COLOURS[place % len(COLOURS)]
        dashes = ' stroke-dasharray="6 3"' if place >= len(COLOURS) else ""
        points = " ".join(
            f"{x(size):.1f},{y(cost * US):.1f}" for size, cost in zip(curve.sizes, curve.seconds, strict=True)
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
        under = HEIGHT + 40 + 16 * place
        legend = f"{curve.name}: exponent {exponent(curve.sizes, curve.seconds):.2f}"
        parts.append(
            f'<path d="M0 {under - 4}h24" stroke="{colour}" stroke-width="2"{dashes}/>'
            f'<text x="30" y="{under}">{legend}</text>'
        )
    return "".join(parts)


BENCHMARKS = {"growth": Benchmark("costs against events, models, versions, workspaces and processes", _growth)}
