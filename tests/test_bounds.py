"""What `python3 tests bounds` installs, where it finds the newest Python, and what it says at the end."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

from tests import bounds
from tests.bounds import lower_bounds, main, newest, outcome, requirements
from tests.provision import NotHadError
from tests.running import Run

if TYPE_CHECKING:
    from pathlib import Path

WELL = Run(sys.executable, ["-c", "import sys; assert sys.argv[1:] == ['-x']"])
BADLY = Run(sys.executable, ["-c", "raise SystemExit(3)"])
NOT_RUN = "missing: not run, because no example could be had: it is one"


def missing() -> Run:
    reason = "no example could be had: it is one"
    raise NotHadError(reason)


def test_every_direct_dependency_has_a_lower_bound_that_is_allowed() -> None:
    lowest = {Requirement(each).name: each.partition("==")[2] for each in lower_bounds()}
    required = [Requirement(each) for each in requirements()]
    assert {each.name for each in required} - {"model-versioning"} == set(lowest)
    assert [str(each) for each in required if each.name in lowest and lowest[each.name] not in each.specifier] == []


class TestTheNewestPython:
    @pytest.fixture(name="pythons")
    def _pythons(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The only folder of the PATH, on a machine whose pyenv has no Python."""
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
        (tmp_path / "bin").mkdir()
        return tmp_path / "bin"

    def python(self, place: Path, exit_code: int = 0) -> str:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"#!/bin/sh\nexit {exit_code}\n")
        place.chmod(0o755)
        return str(place)

    def test_that_of_the_path_comes_first(self, pythons: Path) -> None:
        of_pyenv = self.python(pythons.parent / "pyenv" / "versions" / "3.13.0" / "bin" / "python3.13")
        assert newest().python == of_pyenv
        assert self.python(pythons / "python3.13") == newest().python

    def test_one_that_does_not_start_is_none(self, pythons: Path) -> None:
        self.python(pythons / "python3.13", exit_code=127)
        self.python(pythons / "python3.12")
        with pytest.raises(NotHadError, match=r"^no python3.13 could be had: "):
            newest()


class TestWhatIsSaidAtTheEnd:
    def test_what_came_of_each(self) -> None:
        assert outcome(lambda: WELL, ["-x"]) == "passed"
        assert outcome(lambda: BADLY, []) == "failed, with exit code 3"
        assert outcome(missing, []) == "not run, because no example could be had: it is one"

    @pytest.mark.parametrize(
        ("asked", "ci", "code", "said"),
        [
            (["well", "-x"], "true", 0, ["well: passed"]),
            (["-x"], "", 1, ["well: passed", NOT_RUN, "badly: failed, with exit code 3"]),
            (["missing"], "", 0, [NOT_RUN]),
            (["missing"], "true", 1, [NOT_RUN]),
        ],
    )
    def test_names_choose_and_what_was_not_run_is_an_error_where_nobody_reads_it(
        self, asked: list[str], ci: str, code: int, said: list[str], *,
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        monkeypatch.setattr(bounds, "PROMISES", {"well": lambda: WELL, "missing": missing, "badly": lambda: BADLY})
        monkeypatch.setenv("CI", ci)
        assert (main(asked), capsys.readouterr().out.splitlines()) == (code, said)
