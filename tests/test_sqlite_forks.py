"""A process that has a SQLite store open is forked."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import sqlite_tools
from tests.forking import answer_of_child, become_a_child, each_fork, fork_in_c, needs_fork
from tests.sqlite_tools import connections
from tests.stores import rows
from versioning.errors import StoreError
from versioning.store import sqlite_connections as lines
from versioning.store.sqlite import SQLiteRecorder

if TYPE_CHECKING:
    from collections.abc import Callable

path = sqlite_tools.path
file = sqlite_tools.file
recorder = sqlite_tools.recorder
raw = sqlite_tools.raw

ROOT = Path(__file__).resolve().parent.parent


def _fails(*_: object) -> None:
    raise OSError


@needs_fork
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
class TestForking:
    @each_fork
    def test_the_child_opens_everything_anew(self, file: SQLiteRecorder, fork: Callable[[], int]) -> None:
        file.append(rows(1))
        file.head()
        waiter = file.waiter()

        def task() -> str:
            return f"{list(file.append(rows(1, after=1)))} {file.head()} {waiter.wait(0)}"

        assert answer_of_child(task, fork) == "[2] 2 True"
        assert waiter.wait(1)
        assert list(file.append(rows(1, after=2))) == [3]
        assert file.head() == 3

    @pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system does not tell what is open")
    def test_no_file_is_inherited(self, file: SQLiteRecorder, path: Path) -> None:
        file.append(rows(1))
        file.head()
        file.waiter()

        def opened() -> list[str]:
            found = []
            for number in os.listdir("/proc/self/fd"):  # noqa: PTH208 - they vanish while one looks
                with contextlib.suppress(OSError):
                    found.append(os.readlink(f"/proc/self/fd/{number}"))  # noqa: PTH115 - the text, as it is
            return [name for name in found if name.startswith(str(path))]

        assert opened() != []
        assert answer_of_child(opened) == "[]"

    @pytest.mark.parametrize("how", ["os.fork()", "ctypes.PyDLL(None).fork()"])
    def test_what_the_child_recorded_survives_its_parent(self, tmp_path: Path, how: str) -> None:
        """A lock that only seems to be inherited would let others take the write-ahead log away."""
        path = tmp_path / "models.db"
        code = (
            "import ctypes, os, pathlib, sys\n"
            "from versioning.store.format import Row\n"
            "from versioning.store.sqlite import SQLiteRecorder\n"
            "def append(recorder, sequence):\n"
            "    recorder.append([Row('0' * 32, sequence, 'deleted.1', b'')])\n"
            "path = pathlib.Path(sys.argv[1])\n"
            "recorder = SQLiteRecorder(path)\n"
            "append(recorder, 1)\n"
            "recorder.head()\n"
            "opened, tell = os.pipe()\n"
            "gone, end = os.pipe()\n"
            f"if {how}:\n"
            "    os.read(opened, 1)\n"
            "    recorder.close()\n"
            "    os._exit(0)\n"
            "os.close(end)\n"
            "append(recorder, 2)\n"
            "os.write(tell, b'.')\n"
            "os.read(gone, 1)\n"
            "append(recorder, 3)\n"
            "print(recorder.head(), flush=True)\n"
            "os._exit(0)\n"  # as if it was killed: only what is in the file counts
        )
        command = [sys.executable, "-W", "ignore", "-c", code, str(path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert (done.stdout, done.stderr) == ("3\n", "")
        with contextlib.closing(SQLiteRecorder(path)) as recorder:
            assert recorder.head() == 3

    @each_fork
    def test_a_memory_belongs_to_one_process(self, fork: Callable[[], int]) -> None:
        with contextlib.closing(SQLiteRecorder(None)) as recorder:
            waiter = recorder.waiter()
            for task in (recorder.head, lambda: recorder.append(rows(1)), lambda: waiter.wait(0)):
                answer = answer_of_child(task, fork)
                assert "StoreError: The store in memory was in use while this process was forked" in answer
            assert answer_of_child(recorder.close, fork) == "None"
            with recorder.snapshot() as snapshot:
                assert "forked" in answer_of_child(lambda: snapshot.log(0, 1), fork)
            assert list(recorder.append(rows(1))) == [1]

    @each_fork
    def test_a_child_of_a_process_that_was_busy_is_refused_and_the_parent_goes_on(
        self, file: SQLiteRecorder, path: Path, monkeypatch: pytest.MonkeyPatch, fork: Callable[[], int]
    ) -> None:
        monkeypatch.setattr(lines, "FORK_WAIT_S", 0.02)
        file.append(rows(1))
        with contextlib.closing(SQLiteRecorder(path)) as idle, file.snapshot() as snapshot:
            assert len(snapshot.log(0, 10)) == 1

            def snapshot_in_child() -> str:
                with contextlib.suppress(StoreError):
                    snapshot.log(0, 10)
                    return "it was used"
                file.close()
                return "it was not used"

            for task in (
                file.head,
                lambda: file.append(rows(1, after=1)),
                file.waiter,
                lambda: SQLiteRecorder(path),
                idle.head,
                lambda: snapshot.log(0, 1),
            ):
                assert "StoreError" in (answer := answer_of_child(task, fork))
                assert "forked" in answer
            assert answer_of_child(snapshot_in_child, fork) == "it was not used"
            assert len(snapshot.log(0, 10)) == 1
            assert list(file.append(rows(1, after=1))) == [2]
            assert list(idle.append(rows(1, after=2))) == [3]
        assert file.head() == 3

    @pytest.mark.parametrize("how", ["os.fork()", "ctypes.PyDLL(None).fork()"])
    def test_a_child_that_ends_with_inherited_connections_closes_none(self, tmp_path: Path, how: str) -> None:
        code = (
            "import ctypes, os, pathlib, sys\n"
            "from versioning.store import sqlite, sqlite_connections as connections\n"
            "from versioning.store.format import Row\n"
            "connections.FORK_WAIT_S = 0.01\n"
            "recorder = sqlite.SQLiteRecorder(pathlib.Path(sys.argv[1]))\n"
            "memory = sqlite.SQLiteRecorder(None)\n"
            "memory.append([Row('0' * 32, 1, 'deleted.1', b'')])\n"
            "with recorder.snapshot() as snapshot:\n"
            "    snapshot.log(0, 1)\n"
            f"    pid = {how}\n"
            "if pid:\n"
            "    status = os.waitpid(pid, 0)[1]\n"
            "    recorder.append([Row('0' * 32, 1, 'deleted.1', b'')])\n"
            "    print(status, recorder.head(), memory.head())\n"
        )
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code, str(tmp_path / "models.db")],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert (done.stdout, done.stderr) == ("0 1 1\n", "")

    def test_a_fork_waits_for_what_other_threads_do(self, file: SQLiteRecorder) -> None:
        file.append(rows(1))
        entered, leave = threading.Event(), threading.Event()

        def read() -> None:
            with file.snapshot() as snapshot:
                snapshot.log(0, 1)
                entered.set()
                leave.wait(10)

        thread = threading.Thread(target=read)
        thread.start()
        entered.wait(10)
        threading.Timer(0.05, leave.set).start()
        assert answer_of_child(file.head) == "1"
        thread.join()

    def test_a_child_in_c_leaves_the_log_of_others_alone(self, file: SQLiteRecorder, path: Path) -> None:
        """Closing what it inherited as one closes else would delete what a process that was killed has committed."""
        append = (
            "import os, pathlib, sys; from versioning.store.format import Row; from versioning.store.sqlite import "
            "SQLiteRecorder; recorder = SQLiteRecorder(pathlib.Path(sys.argv[1])); "
            "recorder.append([Row('0' * 32, 1, 'deleted.1', b'')]); os._exit(0)"
        )
        file.append(rows(1))
        file.head()
        seen, see = os.pipe()

        def task() -> str:
            os.read(seen, 1)
            return f"{file.head()} {Path(f'{path}-wal').exists()}"

        def parent() -> int:
            pid = fork_in_c()
            if pid:
                file.close()
                subprocess.run([sys.executable, "-c", append, str(path)], cwd=ROOT, check=True)
                os.write(see, b".")
            return pid

        assert answer_of_child(task, parent) == "2 True"
        os.close(seen)
        os.close(see)

    def test_a_thread_that_was_opening_the_store_makes_it_busy(self, file: SQLiteRecorder, path: Path) -> None:
        entered, leave = threading.Event(), threading.Event()

        class Slow(lines.FileConnections):
            def _create(self) -> sqlite3.Connection | None:
                entered.set()
                leave.wait(10)
                return super()._create()

        thread = threading.Thread(target=lambda: Slow(path, 1, "commit").close())
        thread.start()
        entered.wait(10)
        answer = answer_of_child(file.head, fork_in_c)
        leave.set()
        thread.join()
        assert "forked" in answer
        assert file.head() == 0


class TestBecomingAChild:
    """The same in this process, where coverage sees it."""

    def test_what_was_idle_is_closed_and_opened_anew(
        self, file: SQLiteRecorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file.append(rows(1))
        file.head()
        file.waiter()
        found = connections(file)
        inherited = [found._writer, found._watch, *found._readers]
        become_a_child(monkeypatch, found)
        assert list(file.append(rows(1, after=1))) == [2]
        assert len(inherited) == 3
        for one in inherited:
            assert one is not None
            with pytest.raises(sqlite3.ProgrammingError, match="closed"):
                one.execute("SELECT 1")

    def test_after_a_fork_by_python_nothing_is_open(
        self, file: SQLiteRecorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file.append(rows(1))
        lines._before_fork()
        become_a_child(monkeypatch, connections(file))
        assert list(file.append(rows(1, after=1))) == [2]

    def test_what_was_in_use_is_refused(
        self, file: SQLiteRecorder, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lines, "_INHERITED_FILES", set())
        monkeypatch.setattr(lines, "FORK_WAIT_S", 0.01)
        file.waiter()
        with file.snapshot() as snapshot:
            for lock in connections(file)._locks():
                lock.acquire()
            lines._before_fork()
            become_a_child(monkeypatch, connections(file))
            with pytest.raises(StoreError, match="forked"):
                snapshot.log(0, 1)
        with pytest.raises(StoreError, match="forked"):
            file.head()
        with pytest.raises(StoreError, match="forked"):
            SQLiteRecorder(path)

    def test_what_cannot_be_closed_without_harm_is_refused(
        self, file: SQLiteRecorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lines, "_INHERITED_FILES", set())
        monkeypatch.setattr(lines, "_hold_back", _fails)
        become_a_child(monkeypatch, connections(file))
        with pytest.raises(StoreError, match="forked"):
            file.append(rows(1))

    def test_a_memory_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        recorder = SQLiteRecorder(None)
        with recorder.snapshot():
            become_a_child(monkeypatch, recorder._connections)
        with pytest.raises(StoreError, match="forked"):
            recorder.head()
        recorder.close()

    def test_what_a_thread_keeps_is_closed_by_it(self, file: SQLiteRecorder) -> None:
        """A thread that ended while it looked must not keep others from closing the store."""
        found = connections(file)
        file.waiter()
        assert found._watching.acquire()
        file.close()
        assert found._watch is not None
        found._watch.close()

    def test_a_file_that_is_gone_is_no_inherited_one(self, tmp_path: Path) -> None:
        assert lines._identity(tmp_path / "missing") is None
