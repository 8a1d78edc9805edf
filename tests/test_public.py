"""What the package itself offers."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import versioning
from versioning import ModelRegistry, Preview, errors
from versioning.errors import VersioningError
from versioning.events import EVENTS

PACKAGE = Path(versioning.__file__).parent


def typed_names() -> dict[str, str]:
    """Return the public names and their rooms, as a type checker reads them."""
    homes: dict[str, str] = {}
    for statement in ast.walk(ast.parse((PACKAGE / "__init__.py").read_text())):
        if isinstance(statement, ast.ImportFrom) and str(statement.module).startswith("versioning."):
            homes |= {str(name.asname): str(statement.module).removeprefix("versioning.") for name in statement.names}
    return homes


def test_the_names_are_where_a_type_checker_finds_them() -> None:
    assert typed_names() == versioning._HOME_OF


def test_each_public_name_is_there() -> None:
    assert set(versioning.__all__) <= set(dir(versioning))
    rooms = {name: importlib.import_module(f"versioning.{room}") for name, room in versioning._HOME_OF.items()}
    assert [name for name, room in rooms.items() if getattr(versioning, name) is not getattr(room, name)] == []


def public_methods(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_a_checker_is_asked_for_the_type_of_each_method() -> None:
    asked: dict[str, set[str]] = {"registry": set(), "preview": set()}
    for node in ast.walk(ast.parse((Path(__file__).parent / "public_surface.py").read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in asked:
            asked[node.value.id].add(node.attr)
    assert public_methods(ModelRegistry) - asked["registry"] == set()
    assert public_methods(Preview) - asked["preview"] == set()


ERRORS = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, VersioningError)}


def test_the_events_and_the_errors_are_public() -> None:
    assert {kind.__name__ for kind in EVENTS.values()} | ERRORS <= set(versioning.__all__)


def test_a_star_import_gives_them() -> None:
    names: dict[str, object] = {}
    exec("from versioning import *", names)  # noqa: S102 - what a notebook does
    assert set(versioning.__all__) <= set(names)


@pytest.mark.parametrize("name", ["nothing_like_that", "_defaults", "atexit"])
def test_nothing_else(name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        getattr(versioning, name)


ROOMS = sorted({path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"} | {"testing"})


@pytest.mark.parametrize("room", ROOMS)
def test_each_room_can_be_the_first_that_is_imported(room: str) -> None:
    subprocess.run([sys.executable, "-c", f"import versioning.{room}"], check=True, cwd=PACKAGE.parent)


def test_a_room_is_there_without_an_import_of_its_own() -> None:
    subprocess.run(
        [sys.executable, "-c", "import versioning; versioning.errors.StoreError"], check=True, cwd=PACKAGE.parent
    )
