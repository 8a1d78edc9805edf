"""Hints are data: each face has words for every placeholder, and no hint on a terminal is Python."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

import versioning
from versioning.cli.words import WORDS
from versioning.errors import OUTSIDE, PYTHON, ModelNotFoundError, VersioningError, verbatim, worded

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE: Final = Path(versioning.__file__).parent
CALL: Final = re.compile(r"\w\(|pathlib|\bpass a Path")
PLACEHOLDER: Final = re.compile(r"\{([a-z_]+)\}")
FACES: Final = {"Python": PYTHON, "the command line": WORDS, "a client of a service": OUTSIDE}


def _literals(node: ast.AST) -> Iterator[str]:
    """The constant texts in an expression; of an f-string, its constant parts."""
    yield from (part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str))


def _takes_hint(tree: ast.Module) -> dict[str, int]:
    """The functions that take a hint by place, and in which one."""
    places = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            names = [one.arg for one in node.args.args]
            if "hint" in names:
                places[node.name] = names.index("hint") - (names[0] in {"self", "cls"})
    return places


def hints_in(path: Path) -> Iterator[str]:
    """Every literal of a file that becomes a hint: by keyword, by place, or by way of a name that says so."""
    tree = ast.parse(path.read_text())
    places = _takes_hint(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            values = [one.value for one in node.keywords if one.arg == "hint"]
            values += node.args[places[function] :][:1] if function in places else []
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [getattr(one, "id", getattr(one, "attr", "")).lower() for one in targets]
            is_hint = any("hint" in name or name in {"_sentences", "_examples"} for name in names)
            values = [node.value] if is_hint else []
        elif isinstance(node, ast.FunctionDef):
            given = node.args.args[len(node.args.args) - len(node.args.defaults) :]
            values = [value for one, value in zip(given, node.args.defaults, strict=True) if one.arg == "hint"]
        else:
            continue
        for value in values:
            yield from _literals(value)


HINTS: Final = {
    str(path.relative_to(PACKAGE)): found for path in sorted(PACKAGE.rglob("*.py")) if (found := list(hints_in(path)))
}
USED: Final = {name for found in HINTS.values() for hint in found for name in PLACEHOLDER.findall(hint)}


def test_the_hints_of_the_package_are_found() -> None:
    assert {"errors.py", "limits.py", "reading/questions.py", "cli/commands.py", "store/sqlite.py"} <= HINTS.keys()
    assert sum(map(len, HINTS.values())) > 100


@pytest.mark.parametrize("face", FACES)
def test_every_placeholder_has_words_and_every_word_a_placeholder(face: str) -> None:
    assert FACES[face].keys() == USED
    assert all(FACES[face].values())


@pytest.mark.parametrize("path", HINTS)
def test_no_hint_names_a_call_but_by_a_placeholder(path: str) -> None:
    assert [hint for hint in HINTS[path] if CALL.search(hint)] == []


@pytest.mark.parametrize("face", [WORDS, OUTSIDE], ids=["the command line", "a client of a service"])
def test_the_words_of_other_faces_are_no_python(face: dict[str, str]) -> None:
    assert [words for words in face.values() if CALL.search(words) or PLACEHOLDER.search(words)] == []


def test_the_words_of_python_are_calls_of_it() -> None:
    assert (PYTHON["models"], PYTHON["versions"]) == ("models()", "versions(model_name)")


def test_a_hint_is_worded_for_each_face() -> None:
    error = ModelNotFoundError("There is no model 'x'.")
    assert error.hint == "Names are case-sensitive and belong to one workspace; models() lists them."
    assert error.hint_in(WORDS) == "Names are case-sensitive and belong to one workspace; `ls` lists them."
    assert error.to_dict()["hint"] == error.hint_in(OUTSIDE)
    assert error.to_dict(PYTHON)["hint"] == error.hint
    assert error.to_dict(WORDS)["hint"] == error.hint_in(WORDS)
    assert str(error).endswith(error.hint)


def test_what_a_caller_wrote_is_no_placeholder() -> None:
    error = VersioningError("No.", hint=f"Did you mean {verbatim('{models}')}? {{models}} lists them.")
    assert error.hint == "Did you mean {models}? models() lists them."


def test_braces_that_are_no_placeholder_stay() -> None:
    assert worded("""--metadata '{"auc": 0.91}' {nobody} {}""", PYTHON) == """--metadata '{"auc": 0.91}' {nobody} {}"""
