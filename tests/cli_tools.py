"""How the command line is called in the tests: in this process, as a process of its own, or on a terminal.

What needs no process is called in this one, which is quick and covered; what is about pipes, signals and terminals is a
real process, on a real pseudo-terminal where it says so.
"""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from click.testing import CliRunner

from tests.stores import START, Clock, facts
from versioning import ModelRegistry
from versioning.cli import cli

ROOT: Final = Path(__file__).resolve().parent.parent
NAME: Final = "fraud"
URI: Final = "s3://bucket/model"
PLACE: Final = "sqlite:///models.db?durability=checkpoint"
_PYTHON: Final = re.compile(r"\w\(|pathlib|\{[a-z_]+\}")
"""What no hint on a terminal says: a call of Python, or a placeholder that nobody worded."""
TERMINAL: Final = {"TERM": "xterm-256color", "COLUMNS": "160"}


class Ran(NamedTuple):
    """What came of a call."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever was printed
        return json.loads(self.out)

    @property
    def lines(self) -> list[list[str]]:
        """The cells of the lines of a pipe."""
        return [line.split("\t") for line in self.out.splitlines()]


def run(*words: str, stdin: str | bytes | None = None, **env: str | None) -> Ran:
    """Call the command line in this process, as in a pipe."""
    given = CliRunner().invoke(cli, list(words), input=stdin, env=env)
    if given.exception is not None and not isinstance(given.exception, SystemExit):
        raise given.exception
    ran = Ran(given.exit_code, given.stdout, given.stderr)
    hints = [line for line in ran.err.splitlines() if line.startswith("Hint: ")]
    assert not any(_PYTHON.search(line) for line in hints), hints
    return ran


def done(*words: str, **how: Any) -> Ran:  # noqa: ANN401 - as run takes it
    """The same, of what is to be done."""
    ran = run(*words, **how)
    assert ran.code == 0, ran
    return ran


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder of its own, and a store that VERSIONING_URL names and that does not exist yet."""
    for name in [name for name in os.environ if name.startswith("VERSIONING_") and "TEST" not in name]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VERSIONING_URL", PLACE)
    return PLACE


def opened(**how: Any) -> ModelRegistry:  # noqa: ANN401 - as ModelRegistry takes it
    return ModelRegistry(PLACE, **how)


def happened() -> list[str]:
    with opened() as registry:
        return facts(registry.history())


def deployed(*words: str) -> str:
    """Deploy; give the version_id."""
    return str(done("deploy", NAME, URI, *words, "--json").json["version_id"])


def refused(ran: Ran, code: int, *said: str) -> None:
    """See an exit code, one sentence with its code and a hint on stderr, and nothing on stdout."""
    assert (ran.code, ran.out) == (code, ""), ran
    assert ran.err.startswith("Error: ")
    assert all(one in ran.err for one in said), ran.err
    assert "Hint: " in ran.err
    assert "Traceback" not in ran.err


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VERSIONING_", "NO_COLOR"))}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def process(*words: str, stdin: bytes | None = None, cwd: Path | None = None, **env: str) -> Ran:
    """Run it as a process, in pipes."""
    how: Any = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    command = [sys.executable, "-m", "versioning", *words]
    ran = subprocess.run(command, capture_output=True, cwd=cwd, env=environment(**env), check=False, timeout=60, **how)
    return Ran(ran.returncode, ran.stdout.decode(), ran.stderr.decode())


def terminal(*words: str, typed: bytes = b"", cwd: Path | None = None, **env: str) -> tuple[int, str]:
    """Run it on a terminal of its own; give the code and what appears there."""
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "versioning", *words]
    everything = environment(**(TERMINAL | env))
    with subprocess.Popen(command, stdin=child, stdout=child, stderr=child, cwd=cwd, env=everything) as running:
        os.close(child)
        if typed:
            os.write(parent, typed)
        seen = b""
        while chunk := _read(parent):
            seen += chunk
        code = running.wait(60)
    os.close(parent)
    return code, seen.decode().replace("\r\n", "\n")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # on Linux, that is how a terminal ends
        return b""


def incident(url: str) -> ModelRegistry:
    """Record the month of the incident that README tells of; the registry is open."""
    clock = Clock(START.replace(year=2025, month=3, day=2, hour=8))
    registry = ModelRegistry(url, clock=clock)
    good = registry.deploy(f"{URI}/7", model_name=NAME, publish=True, actor="u-17", reason="AUC 0.91")
    clock.now = START.replace(year=2025, month=3, day=14, hour=13, minute=20)
    bad = registry.deploy(f"{URI}/8", model_name=NAME, actor="u-17", reason="retrained")
    clock.now = START.replace(year=2025, month=3, day=14, hour=13, minute=58)
    registry.promote(bad.version_id, actor="u-08", reason="ticket 4711")
    clock.now = START.replace(year=2025, month=3, day=14, hour=14, minute=21)
    registry.rollback(NAME, actor="u-17", reason="ticket 4720")
    registry.deactivate(bad.version_id, actor="u-17", reason="ticket 4720")
    assert good.number == "0.1.0"
    return registry
