"""Docstrings say what a native engineer would say first: *Return*, *Check*, *Raise*; what an attribute holds is a noun.

An editor shows the first line alone, so it has to make sense by itself.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import versioning

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(versioning.__file__).parent
ROOMS = sorted(PACKAGE.rglob("*.py"))
UNIDIOMATIC = re.compile(r"(Give|Gives|Say|Says|See that|Let|Take in|Of|By|Since|As of) ")
"""First words of docstrings that have to be read twice."""


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """The line and the text of every docstring of a file, those of attributes and constants too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        body = getattr(node, "body", ())
        for statement in body if isinstance(body, list) else ():
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                yield statement.lineno, str(statement.value.value)


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_docstring_begins_with_a_word_that_has_to_be_read_twice(path: Path) -> None:
    found = list(docstrings(path))
    assert [(line, text) for line, text in found if UNIDIOMATIC.match(text)] == []


def test_docstrings_of_functions_and_of_attributes_are_found() -> None:
    first_lines = [text.partition("\n")[0] for _, text in docstrings(PACKAGE / "limits.py")]
    assert len(first_lines) > 20
