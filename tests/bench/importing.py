"""What does `import versioning` cost? In processes of their own, one after the other by turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.bench.measure import Benchmark, Contender, Table, interleaved, spread, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.measure import Run

OPTIONAL = ("psycopg", "hypothesis", "sklearn", "skops", "numpy", "sqlalchemy", "mlflow", "pytest", "joblib")
PROGRAM = """
import json, sys, time
began = time.perf_counter()
{statement}
took = time.perf_counter() - began
modules = list(sys.modules)
size_kb = 0
with open("/proc/self/status") as status:
    size_kb = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
print(json.dumps([took, size_kb, len(modules), [name for name in {optional!r} if name in modules]]))
"""
OURS = ("import versioning", "from versioning import ModelRegistry")
"""What a process pays that only handles errors, say, and one that opens a registry."""
FRAMEWORK = "import eventsourcing.application"
STATEMENTS = {name: name for name in (*OURS, FRAMEWORK, "import sqlite3, json")} | {"nothing": "pass"}


def _imports(run: Run) -> Iterator[Table]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(run.folder)  # compiled once for all, as an installation does
    seen: dict[str, list[tuple[int, int, list[str]]]] = {name: [] for name in STATEMENTS}

    def contender(name: str) -> Contender:
        program = PROGRAM.format(statement=STATEMENTS[name], optional=OPTIONAL)

        def go(_: int) -> float:
            done = subprocess.run(
                [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
            )
            seconds, *facts = json.loads(done.stdout)
            seen[name].append((facts[0], facts[1], facts[2]))
            return float(seconds)

        go(0)
        return Contender(name, go)

    results = interleaved([contender(name) for name in STATEMENTS], run.pick(1, 7, 25), run.pick(1.0, 8.0, 30.0))
    table = Table(
        f"importing, in a new process ({len(results[0])} rounds)",
        ["", "ms", "quartiles", "MB", "modules", f"× {FRAMEWORK.rpartition('.')[2]}", "target", "verdict"],
    )
    theirs = results[list(STATEMENTS).index(FRAMEWORK)]
    for name, result in zip(STATEMENTS, results, strict=True):
        lower, median, upper = (1e3 * value for value in spread(result))
        size_mb, modules = seen[name][0][0] / 1024, seen[name][0][1]
        ratio = spread([one / other for one, other in zip(result, theirs, strict=True)])
        goal = ("≤ 1.3", verdict(ratio[1] <= 1.3, ratio[0] <= 1.3)) if name in OURS else ("", "")
        cells = (f"{median:.1f}", f"{lower:.1f}–{upper:.1f}", f"{size_mb:.0f}", f"{modules}", f"{ratio[1]:.2f}")
        table.rows.append((name, *cells, *goal))
    optional = seen[OURS[1]][0][2]
    table.notes.append(
        f"nothing optional is imported: {verdict(not optional)}{' ' if optional else ''}{', '.join(optional)}"
    )
    yield table


BENCHMARKS = {"import": Benchmark("time and size of the import", _imports)}
