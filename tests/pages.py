"""How the code on a page is run, and compared with what the page says about it.

What a statement prints stands behind it as a comment: on its last line, or on the lines right below it. A statement
that raises has the name of the error there. `…` in a comment stands for any text. All other comments are free.
"""

from __future__ import annotations

import ast
import contextlib
import io
import re

from versioning.errors import VersioningError


def run_page(code: str, name: str, namespace: dict[str, object], above: int = 0) -> None:
    """Run the statements of a block one by one; `above` is the number of lines before it in the file `name`."""
    lines = code.splitlines()
    for statement in ast.parse(code).body:
        printed = io.StringIO()
        module = ast.increment_lineno(ast.Module([statement], []), above)  # a traceback names the page's own lines
        end = statement.end_lineno or statement.lineno
        try:
            with contextlib.redirect_stdout(printed):
                exec(compile(module, name, "exec"), namespace)  # noqa: S102 - running it is the test
        except VersioningError as error:
            shown = type(error).__name__
            assert printed.getvalue() == "", f"{name}, line {end}: {shown} after some output"
        else:
            shown = printed.getvalue().removesuffix("\n")
        said = said_behind(lines, end - above, shown.count("\n") + 1)
        assert not shown or matches(said, shown), f"{name}, line {end}: {shown!r}, but the page says {said!r}"


def said_behind(lines: list[str], end: int, count: int) -> str:
    """Return the comment behind a line, or else the `count` lines of comment below it."""
    behind = re.search(r"  # (.*)$", lines[end - 1])
    if behind:
        return behind[1]
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines[end : end + count])


def matches(said: str, shown: str) -> bool:
    """Return whether the output is what the page says."""
    return re.fullmatch(".*?".join(map(re.escape, said.split("…"))), shown, re.DOTALL) is not None
