"""README.md is true: its blocks run as they stand, in order, and print what stands under them.

A ```text block right under a ```python block is what that one prints. The commands of a ```console block run on a
terminal, on the month that `cli_tools.incident` records. What they print, the exit codes, and the table and the diagram
of a version's life can be made anew: `.venv/bin/python -m tests.test_readme`.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import versioning
from tests.cli_tools import incident, terminal
from versioning.audit.verify import EXIT_CODES as FOUND
from versioning.cli.options import EXIT_CODES
from versioning.commands import NAMES
from versioning.rules import NOTHING, TRANSITIONS, Transition, always

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
LINES_MAX: Final = 275
WIDTH: Final = 134

BEGIN = "<!-- made from rules.TRANSITIONS by `.venv/bin/python -m tests.test_readme` -->"
END = "<!-- end of what is made -->"
STATUSES = ("activating", "active", "inactive", "deleted")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$\s*", re.MULTILINE | re.DOTALL)


def transition_table() -> str:
    """Say what each command does to a version of each status."""
    lines = ["| command | " + " | ".join(STATUSES) + " |", "|---" * (len(STATUSES) + 1) + "|"]
    for command in dict.fromkeys(row.command for row in TRANSITIONS):
        cells = [
            "<br>".join(in_words(row) for row in TRANSITIONS if (row.command, row.status) == (command, status))
            for status in STATUSES
        ]
        lines.append(f"| `{NAMES[command]}` | " + " | ".join(cell or "refused" for cell in cells) + " |")
    return "\n".join(lines)


def in_words(row: Transition) -> str:
    facts = ", ".join(event.__name__ for event in row.records) or "nothing"
    condition = "" if row.guard is always else f"{row.guard.__name__.replace('_', ' ')}: "
    return condition + facts + (f" → {row.becomes}" if row.becomes != row.status else "")


def state_diagram() -> str:
    """Draw which command leads from status to status."""
    edges: dict[tuple[str, str], list[str]] = {}
    for row in TRANSITIONS:
        if row.records != NOTHING and row.becomes != row.status:
            commands = edges.setdefault((row.status, row.becomes), [])
            commands.append(NAMES[row.command] + (", awaited" if row.guard.__name__ == "awaited" else ""))
    first = ["[*] --> active : deploy", "[*] --> activating : deploy, awaited"]
    drawn = [f"{status} --> {becomes} : {' / '.join(commands)}" for (status, becomes), commands in edges.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", *(f"    {line}" for line in first + drawn), "```"])


def exit_codes() -> str:
    """Say what the command line ends with; the kinds of findings in one go."""
    found = ", ".join(f"`{code}` {kind}" for kind, code in FOUND.items())
    says = [f"`{code}` {meaning}" for code, meaning in EXIT_CODES.items() if code not in FOUND.values()]
    said = (
        f"- It ends with {'; '.join(says[:-2])}; of `verify` with its first finding: {found}; {'; '.join(says[-2:])}."
    )
    return textwrap.fill(said, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def printed_by(commands: list[str], folder: Path) -> str:
    """Run commands on a terminal, on the month of the incident; give them and what appears."""
    url = f"sqlite:///{folder}/models.db"
    key, pem = Ed25519PrivateKey.generate(), serialization.Encoding.PEM
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "ops.pem").write_bytes(public)
    with incident(url) as registry:
        registry.checkpoint().signed(key).write(folder / "then.json")
    lines = []
    for command in commands:
        name, *words = shlex.split(command)
        code, seen = terminal(*words, cwd=folder, NO_COLOR="1", COLUMNS="120", VERSIONING_URL=url)
        assert (name, code) == ("versioning", 0), seen
        lines.append(f"$ {command}\n{seen}")
    return "".join(lines)


def with_commands_run(readme: str, folder: Path) -> str:
    """Give the page with what its commands print."""
    found = re.search(r"^```console\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert found, "README.md has no console block"
    commands = [line.removeprefix("$ ") for line in found[1].splitlines() if line.startswith("$ ")]
    return readme[: found.start(1)] + printed_by(commands, folder) + readme[found.end(1) :]


def with_what_is_made(readme: str) -> str:
    readme = re.sub(r"^- It ends with .*(\n  .*)*", lambda _: exit_codes(), readme, flags=re.MULTILINE)
    made = f"{BEGIN}\n{state_diagram()}\n\n{transition_table()}\n{END}"
    before, found, rest = readme.partition(BEGIN)
    assert found, f"README.md has no line {BEGIN}"
    return before + made + rest.partition(END)[2]


def test_the_table_and_the_diagram_are_those_of_the_rules() -> None:
    readme = README.read_text(encoding="utf-8")
    assert readme == with_what_is_made(readme), "run .venv/bin/python -m tests.test_readme"


def test_the_incident_is_read_in_five_commands_that_print_what_stands_there(tmp_path: Path) -> None:
    readme = README.read_text(encoding="utf-8")
    assert readme == with_commands_run(readme, tmp_path), "run .venv/bin/python -m tests.test_readme"
    assert readme.count("\n$ versioning ") == 5


def test_the_python_blocks_print_what_stands_under_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VERSIONING_URL", raising=False)
    readme = README.read_text(encoding="utf-8")
    blocks = list(BLOCK.finditer(readme))
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        if block[1] != "python":
            continue
        above = readme.count("\n", 0, block.start(2))
        code = compile("\n" * above + block[2], README.name, "exec")  # so that a traceback names README's own lines
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, namespace)  # noqa: S102 - running it is the test
        expected = following[2] if following and following[1] == "text" and following.start() == block.end() else ""
        assert printed.getvalue() == expected, f"README.md, line {above}"
    versioning.default_registry().close()


def test_all_files_that_are_named_are_there() -> None:
    named = re.findall(r"\]\(([^)#]+)\)", README.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_example_is_named() -> None:
    examples = {path.name for path in (ROOT / "examples").glob("*.py")} - {"__main__.py"}
    assert examples == set(re.findall(r"\]\(examples/(\w+\.py)\)", README.read_text(encoding="utf-8")))


def test_it_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= LINES_MAX


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made_in:
        page = with_commands_run(README.read_text(encoding="utf-8"), Path(made_in))
    README.write_text(with_what_is_made(page), encoding="utf-8")
