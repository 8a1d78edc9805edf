"""README.md is true: its Python blocks run as they stand, in order, and print what stands under them.

A ```text block right under a ```python block is what that one prints. The table and the diagram of a version's life are
made from `rules.TRANSITIONS`; to make them anew: `.venv/bin/python -m tests.test_readme`.
"""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import versioning
from versioning.commands import NAMES
from versioning.rules import NOTHING, TRANSITIONS, Transition, always

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
LINES_MAX: Final = 245

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


def with_what_is_made(readme: str) -> str:
    made = f"{BEGIN}\n{state_diagram()}\n\n{transition_table()}\n{END}"
    before, found, rest = readme.partition(BEGIN)
    assert found, f"README.md has no line {BEGIN}"
    return before + made + rest.partition(END)[2]


def test_the_table_and_the_diagram_are_those_of_the_rules() -> None:
    readme = README.read_text(encoding="utf-8")
    assert readme == with_what_is_made(readme), "run .venv/bin/python -m tests.test_readme"


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
    README.write_text(with_what_is_made(README.read_text(encoding="utf-8")), encoding="utf-8")
