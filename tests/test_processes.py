"""A child uses nothing of its parent's, whoever forked it."""

from __future__ import annotations

import functools
import mmap
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import versioning
from tests import forking, stores
from tests.forking import answer_of_child, become_a_child, each_fork, fork_in_c, needs_fork, started
from tests.stores import Store, in_threads
from versioning import ModelRegistry, defaults, processes
from versioning.errors import ArtifactNotFoundError
from versioning.store.file_lease import FileLease

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [needs_fork, pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")]

shared_store = stores.shared_store

ROOT = Path(versioning.__file__).resolve().parent.parent
URI = "s3://model"


class TestTheSign:
    @pytest.mark.parametrize("made", [processes.sign_of, processes.Pid], ids=["page", "pid"])
    def test_it_is_true_here_and_false_in_every_child_until_that_has_begun(
        self, made: Callable[[], mmap.mmap | processes.Pid]
    ) -> None:
        sign = made()
        sign[0] = 1

        def in_child() -> list[bool]:
            found = [bool(sign[0])]
            sign[0] = 1
            return [*found, bool(sign[0]), answer_of_child(lambda: bool(sign[0]), fork_in_c) == "True"]

        assert answer_of_child(in_child, fork_in_c) == "[False, True, False]"
        assert sign[0]
        sign[0] = 0
        assert not sign[0]

    def test_where_a_page_cannot_be_wiped_the_pid_is_asked_for(self) -> None:
        class Old(mmap.mmap):
            def madvise(self, *_: int) -> None:
                raise OSError

        assert isinstance(processes.sign_of(Old), processes.Pid)


class TestAChild:
    @each_fork
    def test_it_records_and_sees_what_its_parent_recorded_and_the_other_way_round(
        self, shared_store: Store, fork: Callable[[], int]
    ) -> None:
        registry = shared_store()
        registry.deploy(URI, model_name="m", publish=True)
        registry.models()

        def task() -> str:
            registry.deploy(URI, model_name="m", publish=True)
            return f"{registry.model('m').primary} {len(registry.models())} {registry.version('m@0.1.0').number}"

        assert "0.2.0" in answer_of_child(task, fork)
        assert registry.deploy(URI, model_name="m").number == "0.3.0"
        assert len(registry.model("m").versions) == 3
        assert registry.verify().ok

    @each_fork
    def test_children_side_by_side_lose_nothing(self, shared_store: Store, fork: Callable[[], int]) -> None:
        """Each connection is used by one process: nobody reads what another one asked for."""
        registry = shared_store()
        registry.deploy(URI, model_name="m", publish=True)
        registry.models()
        gate, opening = os.pipe()

        def work(name: str) -> str:
            os.close(opening)
            os.read(gate, 1)
            for count in range(1, 21):
                version = registry.deploy(URI, model_name=name, publish=True)
                assert version.number == f"0.{count}.0"
                assert registry.version(version.version_id).is_primary
            return f"{name} has {len(registry.model(name).versions)}"

        children = [started(functools.partial(work, f"n{number}"), fork) for number in range(3)]
        os.close(opening)
        assert [answered() for answered in children] == ["n0 has 20", "n1 has 20", "n2 has 20"]
        os.close(gate)
        assert [model.name for model in registry.models()] == ["m", "n0", "n1", "n2"]
        assert registry.verify().ok

    @each_fork
    def test_locks_that_threads_of_the_parent_held_block_nobody(
        self, shared_store: Store, fork: Callable[[], int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        registry = shared_store(serializer="pickle")
        registry.deploy(URI, model_name="m", publish=True)
        monkeypatch.setattr(defaults, "_defaults", {(shared_store.url, str(Path.cwd())): registry})
        monkeypatch.setenv("VERSIONING_URL", shared_store.url)
        streams, objects = registry._streams, registry._objects
        (cached,) = streams._cached.values()
        held = [streams._lock, cached.lock, cached.turn, objects._lock]
        held.append(defaults._locks.setdefault(os.getpid(), threading.Lock()))
        for lock in held:
            lock.acquire()
        monkeypatch.setattr(forking, "PATIENCE_S", 5)

        def task() -> str:
            with pytest.raises(ArtifactNotFoundError):
                registry.invoke("m", 1)
            return versioning.deploy(URI, model_name="m").number

        answer = answer_of_child(task, fork)
        for lock in held:
            lock.release()
        assert answer == "0.2.0"

    @each_fork
    def test_a_follower_that_the_parent_opened_goes_on_in_both(
        self, shared_store: Store, fork: Callable[[], int]
    ) -> None:
        registry = shared_store()
        registry.deploy(URI, model_name="m")
        with registry.follow() as follower:
            assert next(follower).model_name == "m"

            def task() -> str:
                registry.deploy(URI, model_name="n")
                return str(next(follower).model_name)

            assert answer_of_child(task, fork) == "n"
            assert next(follower).model_name == "n"

    @each_fork
    def test_a_memory_is_refused_with_what_to_do(self, fork: Callable[[], int]) -> None:
        with ModelRegistry("memory:") as registry:
            answer = answer_of_child(lambda: registry.deploy(URI, model_name="m"), fork)
            assert answer.startswith("StoreError: The store in memory was in use while this process was forked")
            assert "Fork before it is opened" in answer
            assert registry.deploy(URI, model_name="m").number == "0.1.0"

    @each_fork
    def test_objects_that_are_loaded_are_shared(self, tmp_path: Path, fork: Callable[[], int]) -> None:
        with ModelRegistry(f"sqlite:///{tmp_path}/models.db") as registry:
            registry.deploy(str.upper, model_name="m", publish=True)
            assert registry.invoke("m", "a", trusted=True) == "A"
            for contents in (tmp_path / "models.db.artifacts").rglob("*"):
                if contents.is_file():
                    contents.write_bytes(b"gone")
            assert answer_of_child(lambda: registry.invoke("m", "b", trusted=True), fork) == "B"

    def test_a_child_that_ends_takes_nothing_from_its_parent(self, shared_store: Store) -> None:
        """At its end Python closes what is open; the log of a file, and a server, would take that for the parent's."""
        code = (
            "import ctypes, os, sys\n"
            "from versioning import ModelRegistry\n"
            "registry = ModelRegistry(sys.argv[1])\n"
            "registry.deploy('s3://m', model_name='m')\n"
            "registry.models()\n"
            "before = [one.backend for one in registry._store._pool._idle] if 'post' in sys.argv[1] else []\n"
            "if ctypes.PyDLL(None).fork() == 0:\n"
            "    sys.exit()\n"
            "print(os.wait()[1], registry.deploy('s3://m', model_name='m').number)\n"
            "after = [one.backend for one in registry._store._pool._idle] if 'post' in sys.argv[1] else []\n"
            "print(before == after)\n"
        )
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code, shared_store.url],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.stdout, done.stderr) == ("0 0.2.0\nTrue\n", "")


class TestTheFirstLook:
    def test_it_is_over_before_any_thread_goes_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Slow:
            begun = 0

            def begin_in_child(self) -> None:
                entered.set()
                threading.Event().wait(0.05)
                self.begun += 1

        entered, heir = threading.Event(), Slow()
        become_a_child(monkeypatch, heir)

        def first() -> None:
            processes.look()
            assert heir.begun == 1

        def second() -> None:
            entered.wait(10)
            processes.look()
            assert heir.begun == 1

        in_threads(first, second)

    def test_what_could_not_begin_is_begun_by_the_next_look(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Interrupted:
            begun = 0

            def begin_in_child(self) -> None:
                self.begun += 1
                if self.begun == 1:
                    raise KeyboardInterrupt

        heir = Interrupted()
        become_a_child(monkeypatch, heir)
        with pytest.raises(KeyboardInterrupt):
            processes.look()
        processes.look()
        processes.look()
        assert heir.begun == 2

    def test_a_lease_is_closed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        lease = FileLease.taken(tmp_path / "lease", 0o600)
        assert lease is not None

        def in_child() -> object:
            processes.look()
            return lease._descriptor

        assert answer_of_child(in_child, fork_in_c) == "None"
        assert FileLease.taken(tmp_path / "lease", 0o600) is None  # the parent's lock is its own
        become_a_child(monkeypatch, lease)
        processes.look()
        assert lease._descriptor is None

    def test_objects_keep_what_is_loaded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The same in this process, where coverage sees it: what another thread was loading is loaded again."""
        with ModelRegistry(f"sqlite:///{tmp_path}/models.db") as registry:
            registry.deploy(str.upper, model_name="m", publish=True)
            registry.deploy(str.lower, model_name="n", publish=True)
            assert registry.invoke("m", "a", trusted=True) == "A"
            assert registry.invoke("n", "A", trusted=True) == "a"
            loaded, loading = registry._objects._held.values()
            loading.call = None
            loading.lock.acquire()
            become_a_child(monkeypatch, registry._objects)
            assert registry.invoke("n", "A", trusted=True) == "a"
            assert next(iter(registry._objects._held.values())) is loaded
