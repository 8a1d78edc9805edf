"""ARCHITECTURE.md is true: its two tables say what each wing may import, and the code is held to them.

The tests that hold the invariants are there, too.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import versioning

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path(versioning.__file__).parent
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()


def names_in(cell: str, above: Iterable[str]) -> set[str]:
    """Wings that a cell of the map names; `all above` are those of the rows above it."""
    return set(above) if "all above" in cell else set(re.findall(r"`(\w+)`", cell))


def wings() -> dict[str, tuple[set[str], set[str]]]:
    """What each wing may import while it is imported, and what besides when it is asked for, as the map says."""
    table = ARCHITECTURE.partition("\n## The wings\n")[2].partition("\nThe core from bottom to top")[0]
    found: dict[str, tuple[set[str], set[str]]] = {}
    for wing, allowed in re.findall(r"^\| `(\w+)`[^|]*\|[^|]*\|([^|]*)\|$", table, re.MULTILINE):
        now, _, later = allowed.partition(";")
        found[wing] = names_in(now, found), names_in(later, found)
    return found


WINGS = wings()
CORE_TABLE = ARCHITECTURE.partition("\nThe core from bottom to top")[2].partition("\n## ")[0]
CORE = tuple(re.findall(r"^\| `(\w+)` \|", CORE_TABLE, re.MULTILINE))
"""The rooms of the core, in the order in which they may import each other."""


def imports_at_run_time(path: Path, *, in_functions: bool = True) -> set[str]:
    """Full names that a file imports, modules and their members, but for those under TYPE_CHECKING."""
    found: set[str] = set()

    def look(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.FunctionDef) and not in_functions:
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


def ours(path: Path, *, in_functions: bool = True) -> set[str]:
    """Full names of our modules that a file imports at run time."""
    found = {
        name for name in imports_at_run_time(path, in_functions=in_functions) if name.partition(".")[0] == "versioning"
    }
    return {name if name in MODULES else name.rpartition(".")[0] for name in found}


def wing_of(module: str) -> str:
    """The wing that a module belongs to."""
    top = module.split(".")[1] if "." in module else "__init__"
    return "core" if top in CORE else top


@pytest.mark.parametrize("module", MODULES)
def test_a_room_imports_what_its_wing_may(module: str) -> None:
    wing, path = wing_of(module), MODULES[module]
    now, later = WINGS[wing]
    for allowed, imported in ((now, ours(path, in_functions=False)), (now | later, ours(path))):
        beyond = {name for name in imported if not {wing, *allowed} & {wing_of(name), name.removeprefix("versioning.")}}
        assert beyond == set()


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
    assert {path.stem for path in PACKAGE.glob("*.py")} - set(WINGS) == set(CORE)


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
