"""`python3 tests` makes .venv, installs the extra `test`, and hands over to tests/running.py, which says the rest.

Standard library only, and no import of a sibling: this also runs before the install. Another Python than the one that
made .venv gets an environment of its own inside it (`python3.13 tests`).
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = f"lib/python{sys.version_info.major}.{sys.version_info.minor}"
VENV = ROOT / ".venv"
if any(VENV.glob("lib/python*")) and not (VENV / LIBRARY).exists():
    VENV /= Path(LIBRARY).name


def python_with(venv: Path, extra: str, *options: str) -> str:
    """Make a virtual environment with an extra of ours, where it is missing or older; return its Python."""
    python, installed = str(venv / "bin" / "python"), venv / f"installed-{extra}"
    if not (Path(python).exists() and (venv / "bin" / "pip").exists()):
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
    wanted = bytes(ROOT) + b"\n" + (ROOT / "pyproject.toml").read_bytes()
    if not installed.exists() or installed.read_bytes() != wanted:
        print(f"Installing into {venv.relative_to(ROOT)}, once for each pyproject.toml ...", file=sys.stderr)
        pip = [python, "-m", "pip", "install", "-qq", "--no-compile", *options]  # what is imported, Python compiles
        subprocess.run([*pip, "--editable", f"{ROOT}[{extra}]"], check=True)
        installed.write_bytes(wanted)
    return python


if __name__ == "__main__":
    os.chdir(ROOT)
    PYTHON = python_with(VENV, "test")
    os.execv(PYTHON, [PYTHON, "-m", "tests.running", *sys.argv[1:]])
