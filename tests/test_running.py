"""What `python3 tests` runs, on how many cores, with which dependencies; and how a run ends that could not try all."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests import provision, running
from tests.__main__ import ROOT
from tests.running import Run, cores, suite

if TYPE_CHECKING:
    from pathlib import Path

SPREAD = ["-m", "pytest", "-n", str(cores()), "--dist", "worksteal"]


class TestTheSuite:
    def test_without_arguments_it_is_spread_and_all_must_be_covered(self) -> None:
        assert suite([]) == Run(sys.executable, [*SPREAD, *running.COVERED])

    @pytest.mark.parametrize("arguments", [["-k", "rollback"], ["tests"], ["tests/faults", "-x"]])
    def test_arguments_go_to_pytest(self, arguments: list[str]) -> None:
        assert suite(arguments).arguments == [*SPREAD, *arguments]

    @pytest.mark.parametrize("arguments", [["tests/test_ids.py", "-q"], ["tests/test_ids.py::test_that"], ["--pdb"]])
    def test_what_is_looked_at_closely_is_not_spread(self, arguments: list[str]) -> None:
        assert suite(arguments).arguments == ["-m", "pytest", *arguments]

    def test_the_last_word_is_the_users(self) -> None:
        code = "import pytest; pytest.console_main()"
        asked = ["-n", "1", "--dist", "no", "-n", "0", "--collect-only", "-q", "tests/test_running.py"]
        subprocess.run([sys.executable, "-c", code, *asked], check=True, capture_output=True, cwd=ROOT)


class TestCores:
    @pytest.mark.parametrize(
        ("quota", "expected"),
        [("max 100000", 8), ("200000 100000\n", 2), ("50000 100000", 1), ("1600000 100000", 8), (None, 8)],
    )
    def test_a_container_may_use_fewer(
        self, quota: str | None, expected: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
        monkeypatch.setattr(running, "QUOTA", tmp_path / "cpu.max")
        if quota is not None:
            (tmp_path / "cpu.max").write_text(quota)
        assert cores() == expected


class TestHowARunEnds:
    REASON = f"no example {provision.NOT_HAD}: it is one"

    def run(self, folder: Path, reason: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        lines = ["import pytest, versioning.errors", "def test_a(): pytest.skip(REASON)", "test_b = test_a"]
        (folder / "test_example.py").write_text("\n".join(lines).replace("REASON", repr(reason)))
        without_ci = {name: value for name, value in os.environ.items() if name not in {"CI", "PYTEST_ADDOPTS"}}
        covered = ["-p", "tests.conftest", "--cov=versioning", "--cov-report=", "--cov-fail-under=100"]
        return subprocess.run(
            [sys.executable, "-m", "pytest", *covered, *options, folder / "test_example.py"],
            env=without_ci | {"COVERAGE_FILE": str(folder / "coverage")} | environment,
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def test_the_last_line_says_what_was_not_run_and_no_coverage_is_asked_for(self, tmp_path: Path) -> None:
        done = self.run(tmp_path, self.REASON)
        assert done.stdout.splitlines()[-1] == f"Not run: 2 tests, because {self.REASON}."
        assert "hypothesis seed: " in done.stdout
        assert done.returncode == 0

    def test_that_is_an_error_where_nobody_reads_it(self, tmp_path: Path) -> None:
        done = self.run(tmp_path, self.REASON, "-n", "1", CI="true")
        assert done.stdout.splitlines()[-1] == f"Not run (an error, as CI is set): 2 tests, because {self.REASON}."
        assert done.returncode == 1

    def test_what_is_skipped_for_another_reason_is_no_excuse(self, tmp_path: Path) -> None:
        done = self.run(tmp_path, "VERSIONING_TEST_NO_PG=1", "--no-cov", CI="true")
        assert done.stdout.splitlines()[-1] == "Not run: 2 tests, because VERSIONING_TEST_NO_PG=1."
        assert done.returncode == 0
        assert self.run(tmp_path, "VERSIONING_TEST_NO_PG=1").returncode == 1
