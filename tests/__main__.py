"""`python3 tests` makes .venv, installs the extra `test`, and runs everything; all of versioning/ must be covered.

Arguments go to pytest, and coverage is then not asked for (`--cov` shows it); a first word `campaign` runs
tests/campaign.py with the rest. Standard library only, and no import of a sibling: this also runs before the install.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = str(VENV / "bin" / "python")
INSTALLED = VENV / "installed-test"
EVERYTHING = ["--cov", "--cov-report=term-missing:skip-covered", "--cov-fail-under=100"]

if __name__ == "__main__":
    if not (Path(PYTHON).exists() and (VENV / "bin" / "pip").exists()):
        subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
    wanted = bytes(ROOT) + b"\n" + (ROOT / "pyproject.toml").read_bytes()
    if not INSTALLED.exists() or INSTALLED.read_bytes() != wanted:
        print("Installing into .venv, once for each pyproject.toml ...", file=sys.stderr)
        subprocess.run([PYTHON, "-m", "pip", "install", "-qq", "--editable", f"{ROOT}[test]"], check=True)
        INSTALLED.write_bytes(wanted)
    os.chdir(ROOT)
    if sys.argv[1:2] == ["campaign"]:
        os.execv(PYTHON, [PYTHON, "-m", "tests.campaign", *sys.argv[2:]])
    os.execv(PYTHON, [PYTHON, "-m", "pytest", *(sys.argv[1:] or EVERYTHING)])
