"""Does a large registry still answer at once? Each question in a process of its own, which begins with an empty cache.

    python3 -m tests.bench.large PATH QUESTION MODELS

prints one line of JSON: the seconds of each time that it was asked, and the most memory that the process had.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench.filling import START_US, fill, name_of, names
from tests.bench.measure import Benchmark, Table, limits
from versioning import ModelRegistry
from versioning.events import moment_of
from versioning.reading.views import VIEWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.bench.measure import Run

EVENTS = 100_000
VERSIONS = 3
EVENTS_A_MODEL = 9
YEAR_US = 365 * 86_400 * 1_000_000
PAGE = 100
TIMES = 5


def questions(registry: ModelRegistry, models: int) -> dict[str, tuple[Callable[[], Any], int]]:
    """Give what is asked, and how often."""
    first, last, half = name_of(0), name_of(models - 1), name_of(models // 2)
    middle = moment_of(START_US + YEAR_US // 2)

    def build() -> None:
        for view in VIEWS:
            registry._views.catch_up(view)

    def near() -> object:
        return registry.at(registry.position()).models(limit=PAGE)

    return {
        "build": (build, 1),
        "page": (lambda: registry.models(after_name=half, limit=PAGE), TIMES),
        "all": (registry.models, 1),
        "cold": (lambda: registry.at(middle).models(limit=PAGE), 1),
        "near": (near, TIMES),
        "one": (lambda: registry.at(middle).model(first), TIMES),
        "usage": (lambda: registry.usage(middle, middle + timedelta(days=30)), 1),
        "history": (lambda: list(registry.history(last)), TIMES),
    }


def ask(path: str, question: str, models: int) -> dict[str, Any]:
    """Ask in this process."""
    took: list[float] = []
    began = time.perf_counter()
    with ModelRegistry(Path(path)) as registry:
        if question == "open":
            registry.resolve(name_of(models - 1))
            took.append(time.perf_counter() - began)
        else:
            work, times = questions(registry, models)[question]
            for _ in range(times):
                began = time.perf_counter()
                work()
                took.append(time.perf_counter() - began)
    return {"took": took, "rss_mb": memory_mb()}


def memory_mb() -> float:
    """Give the most memory that this process ever had; what `resource` says is inherited from the parent."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return float("nan")


def _told(path: Path, question: str, models: int) -> tuple[list[float], float]:
    """Ask in this process, only to see that it can be asked."""
    found = ask(str(path), question, models)
    return found["took"], found["rss_mb"]


def _asked(path: Path, question: str, models: int) -> tuple[list[float], float]:
    command = [sys.executable, "-m", "tests.bench.large", str(path), question, str(models)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    return found["took"], found["rss_mb"]


def _large(run: Run) -> Iterator[Table]:
    wanted = run.pick(300, 20_000, run.options.events or EVENTS)
    models = max(10, wanted // 10)
    path = run.folder / "large.db"
    began = time.perf_counter()
    with ModelRegistry(path) as registry:
        events = fill(registry._store, names(models), VERSIONS, step_us=YEAR_US // (models * EVENTS_A_MODEL))
    filled_s = time.perf_counter() - began
    asked = [
        ("open and first answer", "open", 0.05), ("build both views, once", "build", None),
        (f"models(limit={PAGE})", "page", 0.02), ("models(), all", "all", None),
        ("at(moment).models(…), half a year back", "cold", 3.0),
        ("at(position).models(…), near the kept view", "near", 0.1),
        ("at(moment).model(name)", "one", None), ("usage of a month, all models", "usage", 2.0),
        ("history(name)", "history", None),
    ]  # fmt: skip
    rows: list[tuple[str, list[float], float | None, str]] = []
    sizes: list[tuple[str, list[float], float | None, str]] = []
    for shown, question, most_s in asked:
        took, size_mb = (_told if run.size == "tiny" else _asked)(path, question, models)
        rows.append((shown, [seconds * 1e3 for seconds in took], None if most_s is None else most_s * 1e3, "ms"))
        sizes.append((f"memory: {shown}", [size_mb], 300.0, "MB"))
    title = f"a registry of {events:,} events, {models:,} models, SQLite"
    notes = [f"filled in {filled_s:.0f} s; the file has {path.stat().st_size / 2**20:.0f} MB"]
    yield limits(title, rows + sizes, notes)


BENCHMARKS = {"large": Benchmark("questions to a registry of 10^5 or 10^6 events (--events)", _large)}

if __name__ == "__main__":
    print(json.dumps(ask(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
