"""ARCHITECTURE.md is true: the arrows between the rooms, the tests that hold the invariants."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import versioning

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path(versioning.__file__).parent
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()

CORE = (
    "errors", "ids", "events", "commands", "numbers", "limits", "aggregate", "rules", "projections", "sentences",
    "resolving", "addresses", "laws",
)  # fmt: skip
"""The rooms of the core, in the order in which they may import each other."""
BELOW_THE_REGISTRY = {"core", "store", "artifacts", "reading", "commanding", "audit", "answers"}
WINGS: dict[str, set[str]] = {
    "core": {"core"},
    "store": {"core"},
    "output": {"core"},
    "artifacts": {"errors", "events", "limits"},
    "reading": {"core", "store"},
    "commanding": {"core", "store", "reading"},
    "audit": {"core", "store", "reading"},
    "answers": {"core", "store", "reading", "output"},
    "registry": BELOW_THE_REGISTRY,
    "defaults": {"registry"},
    "__init__": set(),
    "__main__": set(),
    "cli": BELOW_THE_REGISTRY | {"output", "registry", "defaults", "__init__"},
    "testing": BELOW_THE_REGISTRY | {"registry"},
}
"""What each wing may import, besides itself, while it is imported; inside a wing there are no circles."""


def imports_at_run_time(path: Path) -> set[str]:
    """Full names that a file imports, modules and their members, but for those under TYPE_CHECKING."""
    found: set[str] = set()

    def look(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            look(child)

    look(ast.parse(path.read_text()))
    return found


ROOMS = sorted(path for path in PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    """The full name of the module that a file is."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in ROOMS}


def ours(path: Path) -> set[str]:
    """Full names of our modules that a file imports at run time."""
    found = {name for name in imports_at_run_time(path) if name.partition(".")[0] == "versioning"}
    return {name if name in MODULES else name.rpartition(".")[0] for name in found}


def wing_of(module: str) -> str:
    """The wing that a module belongs to."""
    top = module.split(".")[1] if "." in module else "__init__"
    return "core" if top in CORE else top


@pytest.mark.parametrize("module", MODULES)
def test_a_room_imports_what_its_wing_may(module: str) -> None:
    wing = wing_of(module)
    beyond = {name for name in ours(MODULES[module]) if wing_of(name) != wing}
    allowed = WINGS[wing]
    assert {name for name in beyond if wing_of(name) not in allowed and name.split(".")[-1] not in allowed} == set()


def test_the_core_imports_downwards_only() -> None:
    places = {f"versioning.{name}": place for place, name in enumerate(CORE)}
    upwards = [(name, other) for name in places for other in ours(MODULES[name]) if places[other] >= places[name]]
    assert upwards == []


def test_nothing_imports_in_a_circle() -> None:
    arrows = {module: ours(path) - {module} for module, path in MODULES.items()}
    while ends := {module for module, found in arrows.items() if not found & arrows.keys()}:
        arrows = {module: found for module, found in arrows.items() if module not in ends}
    assert arrows == {}


def test_every_wing_is_on_the_map() -> None:
    assert {wing_of(module) for module in MODULES} == set(WINGS)
    assert [wing for wing in WINGS if f"| `{wing}" not in ARCHITECTURE] == []


@pytest.mark.parametrize("room", CORE)
def test_the_core_is_attrs_semver_and_the_standard_library(room: str) -> None:
    tops = {name.split(".")[0] for name in imports_at_run_time(PACKAGE / f"{room}.py")}
    assert tops - set(sys.stdlib_module_names) <= {"attrs", "semver", "versioning"}


def test_no_test_module_imports_another() -> None:
    sources = {path.name: path.read_text() for path in (ROOT / "tests").glob("test_*.py")}
    assert [
        name for name, text in sources.items() if re.search(r"^(from|import) tests\.test_", text, re.MULTILINE)
    ] == []


def test_the_tests_that_hold_the_invariants_are_there() -> None:
    named = set(re.findall(r"`(test_\w+\.py)`", ARCHITECTURE))
    assert {name for name in named if not (ROOT / "tests" / name).exists()} == set()


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


@pytest.mark.parametrize("room", CORE)
def test_the_core_is_used_without_the_framework(room: str) -> None:
    assert loaded_by(f"import versioning.{room}") & {"eventsourcing", "msgspec", "sqlite3"} == set()
