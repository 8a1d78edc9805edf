"""`python3 tests bounds`: the fast part of the suite, once for each promise of what it can be installed with.

- `lowest`: each direct dependency at the lowest release that pyproject.toml allows.
- `newest`: the newest Python that pyproject.toml names, found on the PATH or among those of pyenv.
- `wheel`: the built wheel, in a folder without the source of the package.

Without a name all of them run, one after the other; names choose (`python3 tests bounds lowest wheel`), and what
follows goes to pytest. Each has an environment of its own inside .venv. The last lines say what passed, what failed,
and what was not run and why; with `CI` set, that is an error too. `lowest` and `wheel` take the Python that they are
called with: `python3.13 tests bounds lowest`.

To add one: a function that returns a `Run`, or raises `NotHadError`, and a line in `PROMISES`.
"""

import itertools
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from tests.__main__ import ROOT, VENV, python_with
from tests.provision import NOT_HAD, NotHadError, starts
from tests.running import Run, pytest

FAST: Final = ("-m", "not slow")
HOUSE: Final = (
    "tests",
    "examples",
    "pyproject.toml",
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
)
"""What the tests of a wheel have beside them: all but the package."""
LOWER_BOUND: Final = re.compile(r"^([\w.-]+)(?:\[[\w,-]+\])?>=([\w.]+)")
SUPPORTED: Final = re.compile(r"Programming Language :: Python :: 3\.(\d+)")


def project() -> dict[str, Any]:
    """Return what pyproject.toml says of the project."""
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return found


def requirements() -> list[str]:
    """Return the direct dependencies, but for those of the benchmarks."""
    extras = [extra for name, extra in project()["optional-dependencies"].items() if name != "bench"]
    return [*project()["dependencies"], *itertools.chain(*extras)]


def lower_bounds() -> list[str]:
    """Return the lowest release of each direct dependency, as constraints for pip; pip has no option for that."""
    found = [LOWER_BOUND.match(each) for each in requirements()]
    return sorted({f"{bound[1]}=={bound[2]}" for bound in found if bound})


def lowest() -> Run:
    bounds = VENV / "lowest.txt"
    bounds.write_text("".join(f"{bound}\n" for bound in lower_bounds()))
    return pytest(python_with(VENV / "lowest", "test", "--constraint", str(bounds)), [*FAST])


def newest() -> Run:
    return Run(newest_python(), ["tests", *FAST])


def newest_python() -> str:
    """Return a Python of the newest release that we support and that starts."""
    name = f"python3.{max(int(found[1]) for found in map(SUPPORTED.match, project()['classifiers']) if found)}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    places = [shutil.which(name), *map(str, pyenv.glob(f"versions/*/bin/{name}"))]
    for place in filter(None, places):
        if starts(place):
            return place
    msg = f"no {name} {NOT_HAD}: there is none on the PATH, nor among those of pyenv"
    raise NotHadError(msg)


def wheel() -> Run:
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
    return pytest(python, [*FAST], house)


PROMISES: Final[dict[str, Callable[[], Run]]] = {"lowest": lowest, "newest": newest, "wheel": wheel}


def outcome(promise: Callable[[], Run], arguments: Sequence[str]) -> str:
    """Run one of them; return what came of it in words."""
    try:
        run = promise()
    except NotHadError as missing:
        return f"not run, because {missing}"
    done = subprocess.run([run.python, *run.arguments, *arguments], check=False, cwd=run.folder)
    return f"failed, with exit code {done.returncode}" if done.returncode else "passed"


def main(arguments: Sequence[str]) -> int:
    """Run what is named, or all; return 0 if nothing failed."""
    names = list(itertools.takewhile(PROMISES.__contains__, arguments))
    outcomes = {name: outcome(PROMISES[name], arguments[len(names) :]) for name in names or PROMISES}
    for name, words in outcomes.items():
        print(f"{name}: {words}")
    good = ["passed"] if os.environ.get("CI") else ["passed", "not run"]
    return 0 if all(words.startswith(tuple(good)) for words in outcomes.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
