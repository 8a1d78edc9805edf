"""Each error code names its class, is documented and explained, and is raised somewhere."""

import inspect
import re
from pathlib import Path

from versioning import errors
from versioning.errors import VersioningError
from versioning.output.explain import explain, subjects

PACKAGE = Path(errors.__file__).parent
README = Path(__file__).resolve().parent.parent / "README.md"
EVERY_ERROR = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, VersioningError)]


def test_every_error_code_is_documented_with_its_branch() -> None:
    rows = re.findall(r"^\| `(\w+)` [45].*\| ([^|]+) \|$", README.read_text(), re.MULTILINE)
    documented = {name: set(re.findall(r"`([a-z-]+)`", codes)) for name, codes in rows}
    branches = VersioningError.__subclasses__()
    assert documented == {one.__name__: {kind.code for kind in one.__subclasses__()} for one in branches}


def test_the_class_of_a_code_is_told_by_its_words() -> None:
    named = {kind.code: kind.__name__ for kind in EVERY_ERROR if kind is not VersioningError}
    assert named == {code: code.replace("-", " ").title().replace(" ", "") + "Error" for code in named}


def test_every_error_without_children_is_raised_somewhere() -> None:
    source = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py") if path.name != "errors.py")
    leaves = [kind.__name__ for kind in EVERY_ERROR if not kind.__subclasses__()]
    assert [name for name in leaves if not re.search(rf"\b{name}\(", source)] == []


def test_every_error_code_is_explained_by_its_own_words() -> None:
    assert {one.word for one in subjects() if one.kind == "error"} == {kind.code for kind in EVERY_ERROR}
    for kind in EVERY_ERROR:
        assert explain(kind.code) == explain(kind.__name__) == explain(f"urn:model-versioning:error:{kind.code}")
        assert explain(kind.code).title == (kind.__doc__ or "").split("\n", 1)[0].rstrip(".")
        assert kind.__name__ in explain(kind.code).text
    assert explain("primary-moved").see == ("R22",)
    assert "model-not-found" in explain("not-found").see
