"""A process that has a SQLite store open is forked."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import sqlite_tools
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
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")


def answer_of_child(task: Callable[[], object]) -> str:
    """Fork, run a task in the child, and give what it answered or raised."""
    receive, send = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = str(task())
        except BaseException as error:  # noqa: BLE001 - the parent looks at it
            answer = f"{type(error).__name__}: {error}"
        os.write(send, answer.encode())
        os._exit(0)
    os.close(send)
    with os.fdopen(receive) as answers:
        answer = answers.read()
    os.waitpid(pid, 0)
    return answer


@needs_fork
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
class TestForking:
    def test_the_child_opens_everything_anew(self, file: SQLiteRecorder) -> None:
        file.append(rows(1))
        file.head()
        waiter = file.waiter()

        def task() -> str:
            return f"{list(file.append(rows(1, after=1)))} {file.head()} {waiter.wait(0)}"

        assert answer_of_child(task) == "[2] 2 True"
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

    def test_what_the_child_recorded_survives_its_parent(self, tmp_path: Path) -> None:
        """A lock that only seems to be inherited would let others take the write-ahead log away."""
        path = tmp_path / "models.db"
        code = (
            "import os, pathlib, sys\n"
            "from versioning.store.format import Row\n"
            "from versioning.store.sqlite import SQLiteRecorder\n"
            "def append(recorder, sequence):\n"
            "    recorder.append([Row('0' * 32, sequence, 'deleted.1', b'')])\n"
            "path = pathlib.Path(sys.argv[1])\n"
            "recorder = SQLiteRecorder(path)\n"
            "append(recorder, 1)\n"
            "opened, tell = os.pipe()\n"
            "gone, end = os.pipe()\n"
            "if os.fork():\n"
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

    def test_a_memory_belongs_to_one_process(self) -> None:
        with contextlib.closing(SQLiteRecorder(None)) as recorder:
            waiter = recorder.waiter()
            for task in (recorder.head, lambda: recorder.append(rows(1)), lambda: waiter.wait(0)):
                assert "StoreError: The store in memory was in use while this process was forked" in answer_of_child(
                    task
                )
            assert answer_of_child(recorder.close) == "None"
            with recorder.snapshot() as snapshot:
                assert "forked" in answer_of_child(lambda: snapshot.log(0, 1))
            assert list(recorder.append(rows(1))) == [1]

    def test_a_child_of_a_process_that_was_busy_is_refused_and_the_parent_goes_on(
        self, file: SQLiteRecorder, path: Path, monkeypatch: pytest.MonkeyPatch
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
                assert "StoreError" in (answer := answer_of_child(task))
                assert "forked" in answer
            assert answer_of_child(snapshot_in_child) == "it was not used"
            assert len(snapshot.log(0, 10)) == 1
            assert list(file.append(rows(1, after=1))) == [2]
            assert list(idle.append(rows(1, after=2))) == [3]
        assert file.head() == 3

    def test_a_child_that_ends_with_inherited_connections_closes_none(self, tmp_path: Path) -> None:
        code = (
            "import os, pathlib, sys\n"
            "from versioning.store import sqlite, sqlite_connections as connections\n"
            "from versioning.store.format import Row\n"
            "connections.FORK_WAIT_S = 0.01\n"
            "recorder = sqlite.SQLiteRecorder(pathlib.Path(sys.argv[1]))\n"
            "memory = sqlite.SQLiteRecorder(None)\n"
            "memory.append([Row('0' * 32, 1, 'deleted.1', b'')])\n"
            "with recorder.snapshot() as snapshot:\n"
            "    snapshot.log(0, 1)\n"
            "    pid = os.fork()\n"
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

    def test_after_a_fork_in_which_nothing_was_open(self, file: SQLiteRecorder) -> None:
        file.append(rows(1))
        file.head()
        found = connections(file)
        found.before_fork()
        found.after_fork_in_child()
        assert list(file.append(rows(1, after=1))) == [2]

    def test_after_a_fork_in_which_much_was_open(
        self, file: SQLiteRecorder, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lines, "FORK_WAIT_S", 0.01)
        monkeypatch.setattr(lines, "_INHERITED_FILES", set())
        file.waiter()
        found = connections(file)
        with file.snapshot() as snapshot:
            for lock in found._locks():
                lock.acquire()
            found.before_fork()
            found.after_fork_in_child()
            with pytest.raises(StoreError, match="forked"):
                snapshot.log(0, 1)
        with pytest.raises(StoreError, match="forked"):
            file.head()
        with pytest.raises(StoreError, match="forked"):
            SQLiteRecorder(path)

    def test_after_a_fork_of_a_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        recorder = SQLiteRecorder(None)
        with recorder.snapshot():
            monkeypatch.setattr(lines, "_STORES", [recorder._connections])
            lines._after_fork_in_child()
        with pytest.raises(StoreError, match="forked"):
            recorder.head()
        recorder.close()

    def test_a_file_that_is_gone_is_no_inherited_one(self, tmp_path: Path) -> None:
        assert lines._identity(tmp_path / "missing") is None
