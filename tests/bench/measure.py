"""How is it measured? Contenders take turns in one run, round by round, and only ratios between them count.

The law of this room: **a benchmark never asserts**, and is bounded in count and in time. Machines are shared, so each
round gives one ratio, and what is shown is the median of these with the quartiles around it. A contender that can't run
here has a row that says so.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypeVar

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Size: TypeAlias = Literal["tiny", "quick", "full"]
"""Tiny proves that a benchmark runs; quick is for work on the code; full is what is reported."""

Opened = TypeVar("Opened")
Chosen = TypeVar("Chosen")

OURS = "versioning"
US = 1e6


class Contender(NamedTuple):
    """Who takes part."""

    name: str
    go: Callable[[int], float]
    """Do the round of this number; give seconds an operation."""
    target: float | None = None
    """How many times as fast as this one we are to be."""


class Absent(NamedTuple):
    """Who can't take part here, and why."""

    name: str
    why: str


@attrs.define
class Table:
    """What a benchmark shows."""

    title: str
    heads: Sequence[str]
    rows: list[Sequence[str]] = attrs.Factory(list)
    notes: list[str] = attrs.Factory(list)

    def __str__(self) -> str:
        lines = [self.heads, *self.rows]
        columns = zip(*(line for line in lines if len(line) == len(self.heads)), strict=True)
        widths = [max(map(len, column)) for column in columns]
        shown = [self.title]
        for line in lines:
            if len(line) == len(widths):
                cells = [line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]
                shown.append("  " + "  ".join(cells).rstrip())
            else:
                shown.append("  " + line[0].ljust(widths[0]) + "  " + " ".join(line[1:]))
        return "\n".join(shown + ["  " + note for note in self.notes])


@attrs.define
class Run:
    """One benchmark on its way: how large, where, and what is closed when it ends."""

    size: Size
    folder: Path
    stack: contextlib.ExitStack
    options: argparse.Namespace

    def pick(self, tiny: Chosen, quick: Chosen, full: Chosen) -> Chosen:
        """Give what belongs to the size of this run."""
        return {"tiny": tiny, "quick": quick, "full": full}[self.size]

    def open(self, opened: contextlib.AbstractContextManager[Opened]) -> Opened:
        """Enter something that is left when the run ends."""
        return self.stack.enter_context(opened)

    def closing(self, opened: Any) -> Any:  # noqa: ANN401 - whatever has a close()
        """Keep something that is closed when the run ends."""
        self.stack.callback(opened.close)
        return opened


class Benchmark(NamedTuple):
    """What a name on the command line stands for."""

    about: str
    run: Callable[[Run], Iterable[Table]]


def seconds_each(count: int, work: Callable[[], object]) -> float:
    """Give the seconds that each of the operations took which the work is made of."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) / count


def each(count: int, question: Callable[[], object]) -> float:
    """Ask so often; give the seconds that each took."""
    repeated = range(count)
    began = time.perf_counter()
    for _ in repeated:
        question()
    return (time.perf_counter() - began) / count


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Give the quartiles: lower, median, upper."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return lower, median, upper


def interleaved(contenders: Sequence[Contender], rounds: int, seconds_max: float) -> list[list[float]]:
    """Let all take turns, beginning with another one each round; give the seconds an operation, by contender."""
    results: list[list[float]] = [[] for _ in contenders]
    deadline = time.monotonic() + seconds_max
    for number in range(rounds):
        for turn in range(len(contenders)):
            place = (turn + number) % len(contenders)
            results[place].append(contenders[place].go(number))
        if time.monotonic() > deadline:
            break
    return results


def compare(
    title: str,
    ours: Contender,
    others: Sequence[Contender | Absent],
    *,
    rounds: int,
    seconds_max: float,
) -> Table:
    """Race; the last columns say how many times as fast we are, and whether that is the target."""
    present = [ours, *(other for other in others if isinstance(other, Contender))]
    results = dict(zip((one.name for one in present), interleaved(present, rounds, seconds_max), strict=True))
    first = results[ours.name]
    table = Table(
        f"{title} ({len(first)} rounds)", ["", "µs each", "quartiles", "we are ×", "quartiles", "target", "verdict"]
    )
    for one in (ours, *others):
        if isinstance(one, Absent):
            table.rows.append((one.name, f"does not take part: {one.why}"))
            continue
        lower, median, upper = (microseconds(value) for value in spread(results[one.name]))
        ratios = spread([theirs / our for theirs, our in zip(results[one.name], first, strict=True)])
        ratio = ["", "", "", ""] if one is ours else _verdict(ratios, one.target)
        table.rows.append((one.name, median, f"{lower}–{upper}", *ratio))
    return table


def _verdict(ratios: tuple[float, float, float], target: float | None) -> list[str]:
    lower, median, upper = ratios
    shown = [f"{median:.2f}", f"{lower:.2f}–{upper:.2f}"]
    return [*shown, *(["", ""] if target is None else [f"≥ {target:g}", verdict(median >= target, upper >= target)])]


def verdict(met: bool, within_spread: bool = False) -> str:  # noqa: FBT002 - two facts of one row
    """Say whether a target is met."""
    return "met" if met else "within the spread" if within_spread else "MISSED"


def microseconds(seconds: float) -> str:
    """Show a time with three digits."""
    value = seconds * US
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def limits(
    title: str, rows: Iterable[tuple[str, Sequence[float], float | None, str]], notes: Sequence[str] = ()
) -> Table:
    """Show measured values against the most that they may be."""
    table = Table(title, ["", "median", "quartiles", "at most", "verdict"], notes=list(notes))
    for name, values, most, unit in rows:
        lower, median, upper = spread(values)
        target = ("", "") if most is None else (f"{most:g} {unit}", verdict(median <= most, lower <= most))
        table.rows.append((name, f"{median:.3g} {unit}", f"{lower:.3g}–{upper:.3g}", *target))
    return table


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Give the power of the size with which a cost grows: the slope of the line through the logarithms."""
    xs, ys = [math.log(size) for size in sizes], [math.log(cost) for cost in costs]
    return statistics.linear_regression(xs, ys).slope
