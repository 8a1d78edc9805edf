"""A guard that is gone is noticed: each test that `planted.py` names fails without its guard."""

import re
import subprocess
import sys
from pathlib import Path

from tests.planted import GUARDS

ROOT = Path(__file__).resolve().parent.parent


def test_each_test_fails_without_its_guard() -> None:
    quiet = ["-q", "-n", "0", "-p", "no:cacheprovider", "-p", "tests.planted", "-rpE", "--tb=no"]
    command = [sys.executable, "-m", "pytest", *quiet, *GUARDS]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    failed = re.search(r"^([0-9]+) failed in ", run.stdout, re.MULTILINE)  # and nothing else, not even an error
    assert failed is not None, run.stdout + run.stderr
    assert int(failed[1]) >= len(GUARDS)
