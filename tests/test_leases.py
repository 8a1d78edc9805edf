"""Is a dead holder told apart from a living one, at once, and is a neighbour one only if it is there?

A lease is the right to build the views anew. Whoever dies loses it; whoever lives keeps it, in another process, another
registry of the same process, and another thread.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests import postgres_tools, stores
from tests.registry_tools import deploy
from tests.side_by_side import Task, in_child, until
from tests.stores import Store, in_threads
from versioning import ConcurrencyError, ModelRegistry, StoreError
from versioning.reading.kept import REBUILD
from versioning.reading.views import MODELS
from versioning.store import file_lease
from versioning.store import postgres as postgres_room
from versioning.store import sqlite as sqlite_room
from versioning.store.opening import open_store
from versioning.store.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.postgres_server import PostgresServer
    from versioning.store.postgres import PostgresRecorder

store = stores.store
shared_store = stores.shared_store
server = postgres_tools.server
url = postgres_tools.url
recorder = postgres_tools.recorder

_BUILDS = """
import sys
from versioning import ModelRegistry
from versioning.reading import kept
kept.REBUILD_EVENTS = 4

def stand_still(name, position, head):
    print(position, flush=True)
    sys.stdin.readline()

with ModelRegistry(sys.argv[1]) as registry:
    registry.rebuild(stand_still)
"""


@contextlib.contextmanager
def builder(url: str) -> Iterator[subprocess.Popen[str]]:
    """Another process, in the middle of a rebuild."""
    command = [sys.executable, "-c", _BUILDS, url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == "4\n"
            yield running
        finally:
            running.kill()


def opened(url: str) -> Recorder:
    store = open_store(url)
    assert isinstance(store, Recorder)
    return store


class TestARebuild:
    """Of views, by one at a time."""

    def test_one_that_was_killed_keeps_nobody_off(self, shared_store: Store) -> None:
        registry = shared_store()
        for _ in range(6):
            deploy(registry)
        right = registry.models()
        with builder(shared_store.url) as running:
            with pytest.raises(ConcurrencyError, match="by somebody else"):
                registry.rebuild()
            os.kill(running.pid, signal.SIGKILL)
            running.wait()
            assert registry.rebuild() == 6
        with registry._store.snapshot() as snapshot:
            assert snapshot.view_position(f"{MODELS.name}+rebuild") is None  # what the dead one left is gone
        assert registry.models() == right

    def test_one_that_goes_on_refuses_another_process_until_it_is_done(self, shared_store: Store) -> None:
        registry = shared_store()
        for _ in range(6):
            deploy(registry)
        with builder(shared_store.url) as running:
            with pytest.raises(ConcurrencyError):
                registry.rebuild()
            assert running.communicate("\n" * 10, timeout=30)[0].endswith("6\n")
            assert running.returncode == 0
        assert registry.rebuild() == 6

    def test_another_thread_is_refused_meanwhile(self, store: Store) -> None:
        registry = store()
        deploy(registry)
        refused: list[ConcurrencyError] = []

        def meanwhile(*_: object) -> None:
            with pytest.raises(ConcurrencyError) as caught:
                Task(registry.rebuild).result()
            refused.append(caught.value)

        if registry._store.path is None and not registry._store.leaves_gaps:
            meanwhile_held = registry._store.lease(REBUILD)  # a memory stands still while a view is written
            assert meanwhile_held is not None
            meanwhile()
            meanwhile_held.close()
        else:
            registry.rebuild(meanwhile)
        assert refused
        assert registry.rebuild() == 1

    def test_it_ends_when_its_lease_is_lost(self, recorder: PostgresRecorder, server: PostgresServer) -> None:
        lease = recorder.lease(REBUILD)
        assert lease is not None
        lease.check()
        server.terminate_backends()
        with pytest.raises(StoreError, match="connection"):
            lease.check()
        lease.close()


class TestALease:
    """On every store."""

    def test_one_has_it_until_it_is_given_back(self, store: Store) -> None:
        held = opened(store.url)
        with contextlib.closing(held):
            for _ in range(3):
                lease = held.lease("a")
                assert lease is not None
                lease.check()
                assert held.lease("a") is None
                other = held.lease("b")
                assert other is not None
                other.close()
                lease.close()

    def test_of_many_at_once_one_has_it(self, shared_store: Store) -> None:
        here = [opened(shared_store.url) for _ in range(2)]
        taken: list[Any] = []
        in_threads(*[lambda one=one: taken.append(one.lease("a")) for one in here * 4])
        held = [one for one in taken if one is not None]
        assert len(held) == 1
        held[0].close()
        for one in here:
            one.close()

    def test_a_session_that_may_not_be_idle_for_long_keeps_it(self, url: str, server: PostgresServer) -> None:
        if server.release < 14:
            pytest.skip("no session is ended for that before release 14")
        server.admin("ALTER ROLE ada SET idle_session_timeout='50ms'")
        try:
            with contextlib.closing(stores.postgres_recorder(url)) as recorder:
                lease = recorder.lease("a")
                assert isinstance(lease, postgres_room._SessionLease)
                pid = lease._connection.backend.partition("/")[0]
                until(lambda: _was_idle(server, pid))
                lease.check()
                lease.close()
        finally:
            server.admin("ALTER ROLE ada RESET idle_session_timeout")

    def test_a_statement_that_fails_leaves_no_session(
        self, recorder: PostgresRecorder, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = len(server.connections())
        monkeypatch.setitem(recorder._pool._statements, "lease", b"SELECT 1/0")
        with pytest.raises(StoreError):
            recorder.lease("a")
        until(lambda: len(server.connections()) <= before)


def _was_idle(server: PostgresServer, pid: str) -> bool:
    """Return whether a session has been idle for 200 ms, or has ended."""
    rows = server.admin(f"SELECT clock_timestamp()-state_change>'200ms' FROM pg_stat_activity WHERE pid={pid}")
    return rows in ([], [(True,)])


class TestTheFile:
    """What stands beside a database while somebody holds a lease."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "models.db-rebuild"

    def test_it_goes_with_its_holder_and_one_that_was_left_is_taken_over(self, path: Path) -> None:
        path.touch()
        lease = file_lease.FileLease.taken(path, 0o600)
        assert lease is not None
        assert path.exists()
        lease.close()
        lease.close()
        assert not path.exists()

    def test_those_who_come_by_a_link_mean_the_same_file(self, tmp_path: Path) -> None:
        (tmp_path / "link.db").symlink_to(tmp_path / "models.db")
        with contextlib.closing(opened(f"sqlite:///{tmp_path}/models.db")) as here:
            held = here.lease("a")
            assert held is not None
            with contextlib.closing(opened(f"sqlite:///{tmp_path}/link.db")) as there:
                assert there.lease("a") is None
            held.close()

    def test_it_may_be_used_by_those_who_may_use_the_database(self, tmp_path: Path) -> None:
        with contextlib.closing(opened(f"sqlite:///{tmp_path}/models.db")) as here:
            (tmp_path / "models.db").chmod(0o640)
            held = here.lease("a")
            assert held is not None
            assert (tmp_path / "models.db-a").stat().st_mode & 0o777 == 0o640
            held.close()

    def test_a_lock_on_a_file_that_was_removed_is_none(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        real, left = file_lease._lock, [3]

        def removed_just_then(descriptor: int) -> bool:
            if left[0]:
                left[0] -= 1
                path.unlink()
            return real(descriptor)

        monkeypatch.setattr(file_lease, "_lock", removed_just_then)
        lease = file_lease.FileLease.taken(path, 0o600)
        assert lease is not None
        assert path.exists()
        assert file_lease.FileLease.taken(path, 0o600) is None
        lease.close()
        left[0] = file_lease.OPENED_MAX
        assert file_lease.FileLease.taken(path, 0o600) is None

    def test_a_folder_where_none_can_be_made_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="can't be made"):
            file_lease.FileLease.taken(tmp_path / "nowhere" / "models.db-rebuild", 0o600)

    def test_an_interrupt_while_it_is_locked_leaves_nothing_open(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(_: int) -> bool:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(file_lease, "_lock", interrupted)
            with pytest.raises(KeyboardInterrupt):
                file_lease.FileLease.taken(path, 0o600)
        lease = file_lease.FileLease.taken(path, 0o600)
        assert lease is not None
        lease.close()

    def test_a_child_neither_keeps_it_nor_gives_it_back(self, path: Path) -> None:
        lease = file_lease.FileLease.taken(path, 0o600)
        assert lease is not None
        read_end, write_end = os.pipe()

        def inherit() -> None:
            lease.close()
            os.write(write_end, b"x" if file_lease.FileLease.taken(path, 0o600) is None else b"-")

        child = in_child(inherit)
        assert os.waitpid(child, 0)[1] == 0
        assert os.read(read_end, 1) == b"x"
        os.close(read_end)
        os.close(write_end)
        assert file_lease.FileLease.taken(path, 0o600) is None
        lease.close()

    @pytest.mark.parametrize("is_told", [False, True], ids=["by a hook", "by its first look"])
    def test_what_a_child_inherits_is_only_closed(self, path: Path, is_told: bool) -> None:
        lease = file_lease.FileLease.taken(path, 0o600)
        assert lease is not None
        lease._pid = os.getppid()  # as in a child, but where coverage sees it
        if is_told:
            lease.begin_in_child()
        else:
            file_lease._after_fork_in_child()
        assert lease._descriptor is None
        assert path.exists()


class TestTheWarningOfSeveralWriters:
    """SQLite before 3.51.3 can lose a commit when several connections write: said once, and only when it is so."""

    @pytest.fixture(autouse=True)
    def _old_and_not_yet_warned(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sqlite_room, "_warned", set())
        monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 2))

    @pytest.fixture
    def registry(self, tmp_path: Path) -> Iterator[ModelRegistry]:
        with ModelRegistry(tmp_path / "models.db") as registry:
            deploy(registry)
            yield registry

    def test_the_threads_of_one_registry_are_one_writer(
        self, registry: ModelRegistry, caplog: pytest.LogCaptureFixture
    ) -> None:
        in_threads(*[lambda: [deploy(registry) for _ in range(5)] for _ in range(16)])
        registry._store.notice_other_writer()
        assert caplog.messages == []

    def test_two_registries_of_one_process_are_not_several_processes(
        self, registry: ModelRegistry, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with ModelRegistry(tmp_path / "models.db") as second:
            deploy(second)
            deploy(registry)
            deploy(second)
        (told,) = caplog.messages
        assert told.startswith("Several registries of this process write to ")
        assert "3.51.3" in told

    def test_another_process_is_one(
        self, registry: ModelRegistry, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        code = "import sys, versioning; versioning.ModelRegistry(sys.argv[1]).deploy('s3://m', model_name='m')"
        subprocess.run([sys.executable, "-c", code, f"sqlite:///{tmp_path}/models.db"], check=True, timeout=60)
        deploy(registry)
        registry._store.notice_other_writer()
        (told,) = caplog.messages
        assert told.startswith("Several processes write to ")

    def test_a_store_that_can_not_tell_now_says_nothing(
        self, registry: ModelRegistry, caplog: pytest.LogCaptureFixture
    ) -> None:
        recorder = registry._store
        assert isinstance(recorder, sqlite_room.SQLiteRecorder)
        with recorder.view_session(waits=True):
            Task(recorder.notice_other_writer).result()
        writer = recorder._connections.take_writer()
        recorder._connections.give_writer()
        writer.close()
        recorder.notice_other_writer()
        recorder._connections._close_writer()  # type: ignore[union-attr]
        recorder.notice_other_writer()
        registry.close()
        recorder.notice_other_writer()
        assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []
