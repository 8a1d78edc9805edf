"""`python3 examples` makes .venv, installs the extra `examples`, and runs the main job, whole_life.py.

It imports the standard library only and no sibling, because it also runs before the installation.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = str(VENV / "bin" / "python")
MAIN_JOB = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from examples.whole_life import main; sys.exit(main())"

if __name__ == "__main__":
    if not (Path(PYTHON).exists() and (VENV / "bin" / "pip").exists()):
        subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
    wanted = bytes(ROOT) + b"\n" + (ROOT / "pyproject.toml").read_bytes()
    # The extra `test` includes this one, so an environment made by `python3 tests` is good enough.
    if wanted not in [installed.read_bytes() for installed in VENV.glob("installed-*")]:
        print("Installing into .venv, once for each pyproject.toml ...", file=sys.stderr)
        pip = [PYTHON, "-m", "pip", "install", "-qq", "--no-compile"]  # what is imported, Python compiles
        subprocess.run([*pip, "--editable", f"{ROOT}[examples]"], check=True)
        (VENV / "installed-examples").write_bytes(wanted)
    os.execv(PYTHON, [PYTHON, "-c", MAIN_JOB, *sys.argv[1:]])
