"""Every example runs, shows what its docstring promises, and leaves behind what it says it does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from examples import (
    audit_replay,
    billing_report,
    embed_in_a_service,
    property_test_your_rules,
    quickstart,
    whole_life,
)
from versioning import ModelNotFoundError, ModelRegistry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Run = "Callable[[Callable[[], None]], str]"


@pytest.fixture(name="run")
def _run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[Callable[[], None]], str]:
    """Run an example in an empty folder and give what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VERSIONING_URL", raising=False)

    def run(main: Callable[[], None]) -> str:
        main()
        return capsys.readouterr().out

    return run
