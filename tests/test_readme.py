"""README.md is true: its blocks run as they stand, in order, and print what stands behind them.

What a statement of a ```python block prints stands behind it as a comment (`pages.py`). The commands of the ```console
block run on a terminal, on the month that `cli_tools.incident` records. What they print, and every part of the page
between `<!-- made: NAME -->` and `<!-- end -->`, is made anew by `.venv/bin/python -m tests.test_readme`.
"""

from __future__ import annotations

import re
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import versioning
from tests.cli_tools import incident, terminal
from tests.pages import run_page
from versioning import ModelRegistry, rules
from versioning.cli.ending import EXIT_CODES
from versioning.commands import NAMES
from versioning.output.explain import short_rules
from versioning.rules import NOTHING, TRANSITIONS, Transition

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pytest

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PACKAGE = Path(versioning.__file__).parent
MAKE = "run .venv/bin/python -m tests.test_readme"

STATUSES = ("activating", "active", "inactive", "deleted")
CONDITIONS: Final[Mapping[object, str]] = {
    rules.always: "",
    rules.a_draft: "a draft: ",
    rules.already_published: "already published: ",
    rules.primary_unrivalled: "the primary, and no newer claim is held: ",
    rules.claim_pending: "it failed to start and holds a claim: ",
    rules.awaited: "activation is awaited: ",
    rules.answers_open_wait: "the answer names the current wait: ",
}
"""The guards in the words of a reader who does not know `rules.py`."""
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$\s*", re.MULTILINE | re.DOTALL)
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MADE_PART = re.compile(r"(^<!-- made: (\w+) -->\n)(.*?)(^<!-- end -->$)", re.MULTILINE | re.DOTALL)


def transition_table() -> str:
    """Tabulate what each command does to a version of each status."""
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
    return CONDITIONS[row.guard] + facts + (f" → {row.becomes}" if row.becomes != row.status else "")


def state_diagram() -> str:
    """Draw which command leads from status to status."""
    edges: dict[tuple[str, str], list[str]] = {}
    for row in TRANSITIONS:
        if row.records != NOTHING and row.becomes != row.status:
            commands = edges.setdefault((row.status, row.becomes), [])
            commands.append(NAMES[row.command] + (", awaited" if row.guard is rules.awaited else ""))
    first = ["[*] --> active : deploy", "[*] --> activating : deploy, awaited"]
    drawn = [f"{status} --> {becomes} : {' / '.join(commands)}" for (status, becomes), commands in edges.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", *(f"    {line}" for line in first + drawn), "```"])


def exit_codes() -> str:
    """Tabulate what the command line ends with."""
    return "\n".join(
        ["| code | meaning |", "|---|---|", *(f"| {code} | {said} |" for code, said in EXIT_CODES.items())]
    )


def short_rules_table() -> str:
    """Tabulate the rules, each in one sentence."""
    return "\n".join(
        ["| rule | in short |", "|---|---|", *(f"| {one} | {said} |" for one, said in short_rules().items())]
    )


PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "state_diagram": state_diagram,
    "transition_table": transition_table,
    "rules": short_rules_table,
    "exit_codes": exit_codes,
}


def printed_by(commands: list[str], folder: Path) -> str:
    """Run commands on a terminal, on the month of the incident; return them and what appears."""
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
    """Return the page with what its commands print."""
    (found,) = CONSOLE.finditer(readme)
    commands = [line.removeprefix("$ ") for line in found[1].splitlines() if line.startswith("$ ")]
    return readme[: found.start(1)] + printed_by(commands, folder) + readme[found.end(1) :]


def with_parts_made(readme: str) -> str:
    return MADE_PART.sub(lambda found: f"{found[1]}{PARTS[found[2]]()}\n{found[4]}", readme)


def test_every_part_is_made_from_data() -> None:
    readme = README.read_text(encoding="utf-8")
    assert [found[2] for found in MADE_PART.finditer(readme)] == list(PARTS)
    assert readme == with_parts_made(readme), MAKE


def test_the_incident_is_read_in_five_commands_that_print_what_stands_there(tmp_path: Path) -> None:
    readme = README.read_text(encoding="utf-8")
    assert readme == with_commands_run(readme, tmp_path), MAKE
    assert readme.count("\n$ versioning ") == 5


def test_the_python_blocks_print_what_stands_behind_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VERSIONING_URL", raising=False)
    readme = README.read_text(encoding="utf-8")
    namespace: dict[str, object] = {"__name__": "__main__"}
    blocks = [block for block in BLOCK.finditer(readme) if block[1] == "python"]
    assert len(blocks) > 10
    for block in blocks:
        run_page(block[2], README.name, namespace, readme.count("\n", 0, block.start(2)))
    registry = namespace["registry"]
    assert isinstance(registry, ModelRegistry)
    registry.close()
    versioning.default_registry().close()


def test_all_files_that_are_named_are_there() -> None:
    named = re.findall(r"\]\(([^)#]+)\)", README.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_example_is_named() -> None:
    examples = {path.name for path in (ROOT / "examples").glob("*.py")} - {"__main__.py"}
    assert examples == set(re.findall(r"\]\(examples/(\w+\.py)\)", README.read_text(encoding="utf-8")))


def test_every_environment_variable_is_named() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    readme = README.read_text(encoding="utf-8")
    variables = set(re.findall(r"\bVERSIONING_[A-Z_]+\b", source))
    assert variables >= {"VERSIONING_URL", "VERSIONING_ACTOR"}
    assert {name for name in variables if f"`{name}`" not in readme} == set()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made_in:
        page = with_commands_run(README.read_text(encoding="utf-8"), Path(made_in))
    README.write_text(with_parts_made(page), encoding="utf-8")
