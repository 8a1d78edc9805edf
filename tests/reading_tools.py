"""Every question at once, in Python and on the command line, for tests of stores that are only read."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING

import pytest

from tests.stores import START
from versioning.cli import cli

if TYPE_CHECKING:
    from versioning import ModelRegistry


def answers(registry: ModelRegistry) -> list[str]:
    """Ask every question, and those of the proof."""
    exported = io.BytesIO()
    registry.export(exported)
    return [
        str(registry.models()),
        str(registry.resolve("m")),
        str(registry.allowed(registry.resolve("m"))),
        str(list(registry.history())),
        str(registry.usage(START, START.replace(year=2027)).lines),
        str(registry.at(2).models()),
        str(list(registry.replay("m"))),
        str(registry.diff(1)),
        str(len(registry.timeline("m", format="svg")) > 0),
        str(registry.verify().ok),
        str(registry.checkpoint().head),
        str([view.problem for view in registry.views()]),
        str(registry.pending_activations()),
        str(exported.getvalue().count(b"\n")),
    ]


def told(*words: str) -> str:
    """Return what a call of the command line writes, and its exit code."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
        cli.main(list(words))
    return f"{out.getvalue()}{err.getvalue()}exit {ended.value.code}"
