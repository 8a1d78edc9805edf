"""ARCHITECTURE.md is true: the arrows between the rooms, the errors, the tests that hold the invariants."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from versioning import errors

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "versioning"
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()

# What a room may import of ours, without what is only for the type checker. The order is that of ARCHITECTURE.md.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "ids": {"errors"},
    "events": {"ids"},
    "commands": {"events"},
    "numbers": {"errors"},
    "limits": {"errors", "ids", "events", "commands"},
    "aggregate": {"ids", "events"},
    "rules": {"errors", "ids", "events", "commands", "numbers", "aggregate"},
    "projections": {"events", "aggregate"},
    "sentences": {"events"},
    "timeline": {"events", "aggregate", "projections", "sentences"},
    "persistence": {"errors", "ids", "events"},
    "connections": {"errors", "persistence"},
    "sqlite": {"errors", "persistence", "connections"},
    "postgres": {"errors", "persistence"},
    "stores": {"sqlite"},
    "artifacts": {"errors", "events"},
    "views": {"errors", "events", "aggregate", "persistence", "projections", "stores"},
    "changes": {"errors", "events", "aggregate", "sentences"},
    "checkpoints": {"errors", "events", "persistence"},
    "diagnosis": {"errors", "events", "persistence"},
    "rereading": {"errors", "ids", "events", "aggregate", "projections", "persistence", "checkpoints", "diagnosis"},
    "audit": {
        "errors", "aggregate", "persistence", "sentences", "checkpoints", "diagnosis", "rereading", "views",
    },
    "transfer": {"errors", "ids", "events", "limits", "aggregate", "persistence", "changes"},
    "feeds": {"events", "sentences"},
    "questions": {
        "errors", "ids", "events", "commands", "numbers", "limits", "aggregate", "rules", "projections", "persistence",
        "sentences", "changes", "feeds", "timeline", "views",
    },
    "registry": {
        "errors", "ids", "events", "commands", "numbers", "limits", "aggregate", "rules", "persistence", "stores",
        "artifacts", "views", "changes", "checkpoints", "audit", "transfer", "questions",
    },
    "public": {
        "errors", "events", "aggregate", "rules", "projections", "changes", "checkpoints", "audit", "transfer",
        "questions", "registry",
    },
    "addresses": {"errors", "ids", "numbers"},
    "presentation": {"feeds", "sentences"},
    "doctor": {"errors", "artifacts", "registry", "sqlite", "stores"},
    "completion": {"addresses", "registry", "stores"},
    "calling": {
        "errors", "rules", "sentences", "audit", "stores", "registry", "addresses", "completion", "presentation",
    },
    "cli": {
        "errors", "ids", "events", "limits", "artifacts", "changes", "checkpoints", "feeds", "stores", "addresses",
        "presentation", "doctor", "calling",
    },
    "__main__": set(),
}  # fmt: skip
PURE = ["errors", "ids", "events", "commands", "numbers", "limits", "aggregate", "rules", "projections"]


def imports_at_run_time(path: Path) -> set[str]:
    """Full names of the modules that a file imports, but for those under TYPE_CHECKING."""
    found: set[str] = set()

    def look(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(names if node.module == "versioning" else {node.module})
        for child in ast.iter_child_nodes(node):
            look(child)

    look(ast.parse(path.read_text()))
    return found


def ours(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imports_at_run_time(path) if name.startswith("versioning.")}


def test_every_room_is_on_the_map() -> None:
    rooms = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert rooms == set(MAY_IMPORT)
    assert [room for room in rooms if f"| `{room}.py` |" not in ARCHITECTURE] == []


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_what_the_map_allows(room: str) -> None:
    assert ours(PACKAGE / f"{room}.py") <= MAY_IMPORT[room]


def test_nobody_imports_the_test_kit_or_the_command_line() -> None:
    assert [path.name for path in PACKAGE.glob("*.py") if ours(path) & {"testing", "cli"}] == []


@pytest.mark.parametrize("room", PURE)
def test_the_core_is_attrs_semver_and_the_standard_library(room: str) -> None:
    tops = {name.split(".")[0] for name in imports_at_run_time(PACKAGE / f"{room}.py")}
    assert tops - set(sys.stdlib_module_names) <= {"attrs", "semver", "versioning"}


def every_error() -> list[type[errors.VersioningError]]:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    return [kind for kind in kinds if issubclass(kind, errors.VersioningError)]


def test_every_error_code_is_documented_with_its_branch() -> None:
    rows = re.findall(r"^\| `(\w+)` [45].*\| ([^|]+) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    documented = {name: set(re.findall(r"`([a-z-]+)`", codes)) for name, codes in rows}
    branches = errors.VersioningError.__subclasses__()
    assert documented == {one.__name__: {kind.code for kind in one.__subclasses__()} for one in branches}


def test_the_class_of_a_code_is_told_by_its_words() -> None:
    named = {kind.code: kind.__name__ for kind in every_error() if kind is not errors.VersioningError}
    assert named == {code: code.replace("-", " ").title().replace(" ", "") + "Error" for code in named}


def test_every_error_without_children_is_raised_somewhere() -> None:
    source = "\n".join(path.read_text() for path in PACKAGE.glob("*.py") if path.stem != "errors")
    leaves = [kind.__name__ for kind in every_error() if not kind.__subclasses__()]
    assert [name for name in leaves if not re.search(rf"\b{name}\(", source)] == []


def test_the_tests_that_hold_the_invariants_are_there() -> None:
    named = set(re.findall(r"`(test_\w+\.py)`", ARCHITECTURE))
    assert {name for name in named if not (ROOT / "tests" / name).exists()} == set()


def test_the_map_is_short() -> None:
    assert len(ARCHITECTURE.splitlines()) <= 180


def test_importing_the_library_imports_nothing_optional() -> None:
    code = (
        "import sys, versioning; versioning.ModelRegistry; optional = {'hypothesis', 'psycopg', 'cryptography', "
        "'sklearn', 'skops', 'numpy', 'click', 'rich'}; print(sorted(optional & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    assert shown.stdout.strip() == "[]"


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    return set(shown.stdout.split())


def test_the_package_imports_its_rooms_when_they_are_asked_for() -> None:
    assert {name for name in loaded_by("import versioning") if name.startswith("versioning.")} == set()
    assert "versioning.registry" in loaded_by("import versioning; versioning.deploy")


@pytest.mark.parametrize("room", PURE)
def test_the_core_is_used_without_the_framework(room: str) -> None:
    assert loaded_by(f"import versioning.{room}") & {"eventsourcing", "msgspec", "sqlite3"} == set()
