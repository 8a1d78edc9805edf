"""What the package itself offers."""

import subprocess
import sys
from pathlib import Path

import pytest

import versioning
from versioning import public


def test_the_package_has_the_public_names() -> None:
    assert set(public.__all__) <= set(dir(versioning))
    assert [name for name in public.__all__ if getattr(versioning, name) is not getattr(public, name)] == []


def test_a_star_import_gives_them() -> None:
    names: dict[str, object] = {}
    exec("from versioning import *", names)  # noqa: S102 - what a notebook does
    assert set(public.__all__) <= set(names)


@pytest.mark.parametrize("name", ["nothing_like_that", "_defaults", "atexit"])
def test_nothing_else(name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        getattr(versioning, name)


PACKAGE = Path(public.__file__).parent
ROOMS = sorted({path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"} | {"testing"})


@pytest.mark.parametrize("room", ROOMS)
def test_each_room_can_be_the_first_that_is_imported(room: str) -> None:
    subprocess.run([sys.executable, "-c", f"import versioning.{room}"], check=True, cwd=PACKAGE.parent)


def test_a_room_is_there_without_an_import_of_its_own() -> None:
    subprocess.run(
        [sys.executable, "-c", "import versioning; versioning.errors.StoreError"], check=True, cwd=PACKAGE.parent
    )
