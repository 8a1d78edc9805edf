"""What the package itself offers."""

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
