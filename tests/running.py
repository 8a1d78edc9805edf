"""`python3 tests`: the whole suite, on all cores; all of versioning/ must be covered.

A first word chooses something else:

- `campaign NAME`: what takes too long for the suite (tests/campaign.py).
- `bench NAME`: the benchmarks (tests/bench), with the extra `bench`.
- `bounds`: the fast part of the suite with every dependency at its lowest, on the newest Python, and on the built wheel
  (tests/bounds.py).

Any other arguments go to pytest: coverage is not asked for then (`--cov` shows it), and named files run in one process
(`-n 2` spreads them). What installs something else has an environment of its own inside .venv, and so has each Python
that is not the one of .venv: `python3.13 tests`.

What the tests need and pip does not bring, tests/provision.py finds or fetches. These variables decide:

- VERSIONING_TEST_CHROMIUM: the Chromium that opens the pages.
- VERSIONING_TEST_NO_BROWSER=1: skip what needs one.
- VERSIONING_TEST_PGBOUNCER: the PgBouncer that stands before PostgreSQL.
- VERSIONING_TEST_NO_PGBOUNCER=1: skip what needs one.
- VERSIONING_TEST_UWSGI: the program of uWSGI, made for this Python.
- VERSIONING_TEST_NO_UWSGI=1: skip what needs it.
- VERSIONING_TEST_PG_BIN: the folder of PostgreSQL's programs.
- VERSIONING_TEST_NO_PG=1: skip what needs PostgreSQL.
- HYPOTHESIS_PROFILE: `dev`, `ci` or `nightly`, how hard counterexamples are looked for.
- CI: what could not be had is an error.

To add one: a function that takes the arguments and returns a `Run`, and a line in `RUNS`.
"""

import os
import sys
from pathlib import Path
from typing import NamedTuple

from tests.__main__ import ROOT, VENV, python_with

COVERED = ["--cov", "--cov-report=term-missing:skip-covered", "--cov-fail-under=100"]
QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""What a container may use: so many microseconds of each period, or `max`."""


class Run(NamedTuple):
    """What is run, with which Python and in which folder."""

    python: str
    arguments: list[str]
    folder: Path = ROOT


def suite(arguments: list[str]) -> Run:
    """Run what pytest's arguments choose, or everything."""
    return pytest(sys.executable, arguments or COVERED)


def pytest(python: str, arguments: list[str], folder: Path = ROOT) -> Run:
    """Run pytest, on all cores unless files are named, or a debugger is to stop."""
    alone = "--pdb" in arguments or any(Path(each.partition("::")[0]).is_file() for each in arguments)
    spread = [] if alone else ["-n", str(cores()), "--dist", "worksteal"]
    return Run(python, ["-m", "pytest", *spread, *arguments], folder)


def cores() -> int:
    """Return how many cores this process may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = QUOTA.read_text().partition(" ") if QUOTA.exists() else ("max", "", "")
    return usable if quota == "max" else max(1, min(usable, round(int(quota) / int(period))))


def campaign(arguments: list[str]) -> Run:
    """Run what takes too long for the suite."""
    return Run(sys.executable, ["-m", "tests.campaign", *arguments])


def bench(arguments: list[str]) -> Run:
    """Run benchmarks, with what we compare ourselves with."""
    return Run(python_with(VENV / "bench", "bench"), ["-m", "tests.bench", *arguments])


def bounds(arguments: list[str]) -> Run:
    """Run the fast part of the suite with what else we promise to work with."""
    return Run(sys.executable, ["-m", "tests.bounds", *arguments])


RUNS = {"campaign": campaign, "bench": bench, "bounds": bounds}


def main(arguments: list[str]) -> None:
    """Replace this process with what the arguments choose."""
    chosen = RUNS.get(arguments[0]) if arguments else None
    run = chosen(arguments[1:]) if chosen else suite(arguments)
    os.execv(run.python, [run.python, *run.arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
