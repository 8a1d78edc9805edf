"""`python3 tests`: the whole suite, on all cores; all of versioning/ must be covered.

A first word chooses something else:

- `campaign NAME`: what takes too long for the suite (tests/campaign.py).
- `bench NAME`: the benchmarks (tests/bench), with the extra `bench`.
- `lowest`: the fast part of the suite, with each direct dependency at the lowest release that pyproject.toml allows.
- `wheel`: the fast part of the suite on the wheel, in a folder without the source of the package.

Any other arguments go to pytest: coverage is not asked for then (`--cov` shows it), and named files run in one process
(`-n 2` spreads them). The last three have environments of their own inside .venv, so that what they install decides
nothing for the others, and each works on any Python that we support: `python3.13 tests`, `python3.13 tests lowest`.

What the tests need and pip does not bring, tests/provision.py finds or fetches. These variables decide:

- VERSIONING_TEST_CHROMIUM: the Chromium that opens the pages.
- VERSIONING_TEST_NO_BROWSER=1: skip what needs one.
- VERSIONING_TEST_PG_BIN: the folder of PostgreSQL's programs.
- VERSIONING_TEST_NO_PG=1: skip what needs PostgreSQL.
- HYPOTHESIS_PROFILE: `dev`, `ci` or `nightly`, how hard counterexamples are looked for.
- CI: what could not be had is an error.

To add one: a function that takes the arguments and returns a `Run`, and a line in `RUNS`.
"""

import itertools
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

from tests.__main__ import ROOT, VENV, python_with

COVERED = ["--cov", "--cov-report=term-missing:skip-covered", "--cov-fail-under=100"]
QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""What a container may use: so many microseconds of each period, or `max`."""
HOUSE = ["tests", "examples", "pyproject.toml", "README.md", "ARCHITECTURE.md", "CHANGELOG.md", "LICENSE"]
"""What the tests of a wheel have beside them: all but the package."""
LOWER_BOUND = re.compile(r"^([\w.-]+)(?:\[[\w,-]+\])?>=([\w.]+)")


class Run(NamedTuple):
    """What is run, with which Python and from which folder."""

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


def lowest(arguments: list[str]) -> Run:
    """Run the fast part of the suite with every direct dependency at its lower bound."""
    bounds = VENV / "lowest.txt"
    bounds.write_text("".join(f"{bound}\n" for bound in lower_bounds()))
    python = python_with(VENV / "lowest", "test", "--constraint", str(bounds))
    return pytest(python, ["-m", "not slow", *arguments])


def lower_bounds() -> list[str]:
    """Return the lowest release of each direct dependency, as constraints for pip; pip has no option for that."""
    found = [LOWER_BOUND.match(each) for each in requirements()]
    return sorted({f"{bound[1]}=={bound[2]}" for bound in found if bound})


def requirements() -> list[str]:
    """Return the direct dependencies, but for those of the benchmarks."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [extra for name, extra in project["optional-dependencies"].items() if name != "bench"]
    return [*project["dependencies"], *itertools.chain(*extras)]


def wheel(arguments: list[str]) -> Run:
    """Build the wheel and run the fast part of the suite on it, where the source of the package is out of sight."""
    python, built, house = python_with(VENV / "wheel", "test"), VENV / "wheel" / "built", VENV / "wheel" / "house"
    for folder in (built, house):
        shutil.rmtree(folder, ignore_errors=True)
    pip = [python, "-m", "pip"]
    subprocess.run([*pip, "wheel", "-qq", "--no-deps", "--wheel-dir", built, ROOT], check=True)
    subprocess.run([*pip, "install", "-qq", "--no-deps", "--force-reinstall", *built.glob("*.whl")], check=True)
    house.mkdir()
    for name in HOUSE:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, house / name)
    return pytest(python, ["-m", "not slow", *arguments], house)


RUNS = {"campaign": campaign, "bench": bench, "lowest": lowest, "wheel": wheel}


def main(arguments: list[str]) -> None:
    """Replace this process with what the arguments choose."""
    chosen = RUNS.get(arguments[0]) if arguments else None
    run = chosen(arguments[1:]) if chosen else suite(arguments)
    os.chdir(run.folder)
    os.execv(run.python, [run.python, *run.arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
