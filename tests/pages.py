"""How the code on a page is run, and compared with what the page says about it.

What a `print` shows stands behind it as a comment; what a loop prints stands on the lines right below it. A statement
that raises has the name of the error behind it. `…` in a comment stands for any text. All other comments are free.
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
        first, last = statement.lineno, statement.end_lineno or statement.lineno
        module = ast.increment_lineno(ast.Module([statement], []), above)  # a traceback names the page's own lines
        printed, raised = io.StringIO(), ""
        try:
            with contextlib.redirect_stdout(printed):
                exec(compile(module, name, "exec"), namespace)  # noqa: S102 - running it is the test
        except VersioningError as error:
            raised = f"{type(error).__name__}\n"
        shown = (printed.getvalue() + raised).splitlines()
        said = said_of(lines[first - 1 : last], lines[last : last + len(shown)])
        agrees = not shown or matches("\n".join(said), "\n".join(shown))
        assert agrees, f"{name}, line {above + last}: it shows {shown}, and the page says {said}"


def said_of(lines: list[str], below: list[str]) -> list[str]:
    """Return the comments behind the prints of a statement, or behind its last line, or else those below it."""
    printing = [found[1] for line in lines if (found := re.search(r"\bprint\(.*\)  # (.*)$", line))]
    ending = re.search(r"  # (.*)$", lines[-1])
    return printing or ([ending[1]] if ending else [line.removeprefix("#").removeprefix(" ") for line in below])


def matches(said: str, shown: str) -> bool:
    """Return whether the output is what the page says."""
    return re.fullmatch(".*?".join(map(re.escape, said.split("…"))), shown, re.DOTALL) is not None
