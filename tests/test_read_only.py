"""Do questions need no right to write: on a file of somebody else, in a folder that is sealed, beside a living writer?

Where a test needs rights that bind, a child of this process gives up those of root. The same is asked here before: so
nothing has to be loaded there, from where it might not be readable.
"""

from __future__ import annotations

import contextlib
import io
import os
import pwd
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import stores
from tests.reading_tools import answers, told
from tests.registry_tools import DAY
from tests.registry_tools import deploy as deploy_on
from tests.side_by_side import Task, in_child
from tests.stores import START, Clock, Store, facts, row
from versioning import (
    InvalidArgumentError,
    ModelRegistry,
    NewerFormatError,
    ReadOnlyError,
    Recorded,
    StoreError,
    Version,
    VersioningError,
)
from versioning.reading.views import VIEWS
from versioning.store import sqlite_reading
from versioning.store.opening import access_to, open_store
from versioning.store.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

shared_store = stores.shared_store


def deploy(registry: ModelRegistry, name: str = "m", *, publish: bool = False) -> Version:
    return deploy_on(registry, name, publish=publish)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user of this machine may look into."""
    with tempfile.TemporaryDirectory(prefix="versioning-") as name:
        made = Path(name)
        made.chmod(0o755)
        yield made
        made.chmod(0o755)


def filled(path: Path) -> None:
    """Make a store with three versions of one model, which nobody has open."""
    with ModelRegistry(path) as registry:
        for _ in range(3):
            deploy(registry, publish=True)


def sealed(folder: Path, *left: str) -> Path:
    """Make a store that nobody may write to, with what a killed writer may leave beside it, and return its file."""
    (folder / "source").mkdir()
    (folder / "sealed").mkdir()
    made, path = folder / "source" / "models.db", folder / "sealed" / "models.db"
    with ModelRegistry(made, clock=Clock()) as registry:
        for _ in range(3):
            deploy(registry, publish=True)
        if left:
            for suffix in ("", *left):
                shutil.copy(f"{made}{suffix}", f"{path}{suffix}")
    if not left:
        shutil.copy(made, path)
    seal(path.parent)
    return path


def seal(folder: Path) -> None:
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def as_other_user(task: Callable[[], str]) -> str:
    """Do something here, and then in a child for which the modes of files bind; return what it gives there."""
    task()
    read_end, write_end = os.pipe()

    def without_rights() -> None:
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.setgroups([])
            os.setgid(nobody.pw_gid)
            os.setuid(nobody.pw_uid)
        try:
            said = task()
        except Exception as error:  # noqa: BLE001 - it is told to the parent
            said = f"{type(error).__name__}: {error}"
        os.write(write_end, said.encode())

    child = in_child(without_rights)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as told:
        said = told.read().decode()
    assert os.waitpid(child, 0)[1] == 0
    return said


ASKED = (
    ("ls",), ("show", "m"), ("resolve", "m@^0.1"), ("log",), ("replay", "m"), ("usage", "--month", "2026-01"),
    ("diff", "1"), ("verify",), ("checkpoint",), ("export", "--nl"), ("timeline", "m", "--json"),
    ("promote", "m@0.1.0", "--dry-run"), ("rebuild", "--dry-run"),
)  # fmt: skip


class TestAFile:
    """Of SQLite, which may not be written to, in a folder that may not be written to either."""

    @pytest.mark.parametrize("left", [(), ("-wal", "-shm")], ids=["alone", "with a log that a killed writer left"])
    def test_it_answers_every_question_and_nothing_is_made(self, folder: Path, left: tuple[str, ...]) -> None:
        path = sealed(folder, *left)
        before = names(path.parent)
        later = Clock(START + DAY)
        with ModelRegistry(folder / "source" / "models.db", clock=later) as registry:
            expected = answers(registry)

        def ask() -> str:
            with ModelRegistry(path, clock=later, read_only=True) as registry:
                return "\n".join(answers(registry))

        assert as_other_user(ask).splitlines() == "\n".join(expected).splitlines()
        assert names(path.parent) == before

    def test_an_empty_log_that_was_left_alone_says_nothing(self, folder: Path) -> None:
        path = sealed(folder)
        path.parent.chmod(0o755)
        Path(f"{path}-wal").touch()
        seal(path.parent)

        def ask() -> str:
            with ModelRegistry(path, read_only=True) as registry:
                return str(registry.position())

        assert as_other_user(ask) == "6"

    def test_a_log_without_its_index_is_an_error_that_says_so(self, folder: Path) -> None:
        path = sealed(folder, "-wal")

        def ask() -> str:
            with ModelRegistry(path, read_only=True) as registry:
                return str(registry.position())

        said = as_other_user(ask) if os.geteuid() else _here_first(ask, path, folder)
        assert "StoreError: " in said
        assert "has a write-ahead log beside it, but no -shm" in said
        assert "Copy the file and its -wal" in said

    def test_the_command_line_asks_so_by_itself(self, folder: Path) -> None:
        path = sealed(folder)
        url = f"sqlite:///{path}"

        def ask() -> str:
            said = [told(words[0], "--url", url, *words[1:]) for words in ASKED]
            assert access_to(url) == ("write" if os.geteuid() == 0 else "read")
            return "\n".join(said)

        said = as_other_user(ask)
        assert "Error" not in said
        assert said.count("exit 0") == len(ASKED) - 1
        assert said.count("exit 5") == 1  # verify, without a checkpoint

        def look() -> str:
            return told("doctor", "--url", url)

        assert "6 positions, may only be read here" in as_other_user(look)

        def command() -> str:
            return told("deploy", "--url", url, "m", "s3://models/9") if os.geteuid() else ""

        if os.geteuid() == 0:
            assert "exit 6" in as_other_user(command)

    def test_a_writer_beside_it_is_seen(self, folder: Path) -> None:
        filled(folder / "models.db")
        with ModelRegistry(folder / "models.db") as writer:
            deploy(writer)
            with ModelRegistry(folder / "models.db", read_only=True) as reader:
                assert reader.position() == 7
                deploy(writer)
                assert reader.position() == 8
                assert len(reader.versions("m")) == 5

    def test_a_writer_that_comes_is_seen_and_so_is_its_end(self, folder: Path) -> None:
        path = folder / "models.db"
        filled(path)
        with ModelRegistry(path, read_only=True) as reader:
            assert names(folder) == ["models.db"]
            assert len(reader.models()[0].versions) == 3
            with ModelRegistry(path) as writer:
                deploy(writer)
                assert len(reader.models()[0].versions) == 4
            assert len(reader.models()[0].versions) == 4
        filled(path)
        with ModelRegistry(path, read_only=True) as reader:
            assert len(reader.models()[0].versions) == 7

    def test_what_changes_while_it_is_read_is_an_error_and_is_read_anew_afterwards(self, folder: Path) -> None:
        path = folder / "models.db"
        filled(path)
        with ModelRegistry(path, read_only=True) as reader:
            with reader._store.snapshot() as snapshot:
                assert len(snapshot.log(0, 10)) == 6
                filled(path)
                with pytest.raises(StoreError, match="was changed while it was read"):
                    snapshot.log(0, 10)
            assert reader.position() == 12

    def test_a_connection_that_was_lent_when_it_changed_is_not_lent_again(self, folder: Path) -> None:
        path = folder / "models.db"
        filled(path)
        with ModelRegistry(path, read_only=True) as reader:
            with reader._store.snapshot():
                filled(path)
            assert reader.position() == 12
            assert len(reader.models()[0].versions) == 6

    def test_followers_hear_of_a_writer_that_comes(self, folder: Path) -> None:
        path = folder / "models.db"
        filled(path)
        with ModelRegistry(path, read_only=True) as reader, reader.follow(after=6, poll_s=20) as follower:

            def heard() -> Recorded:
                for _ in range(10):  # who looks at the very moment when a writer comes is told to try again
                    with contextlib.suppress(StoreError):
                        return next(follower)
                return next(follower)

            next_one = Task(heard)
            with ModelRegistry(path) as writer:
                deploy(writer)
                assert next_one.result().position == 7
                again = Task(heard)
                deploy(writer)
                assert again.result().position == 8
            last = Task(heard)
            with ModelRegistry(path) as writer:
                deploy(writer)
            assert last.result().position == 9

    def test_it_can_be_backed_up(self, folder: Path) -> None:
        path = sealed(folder)
        with ModelRegistry(path, read_only=True) as registry:
            assert registry.backup(folder / "copy.db").position == 6
            with pytest.raises(StoreError, match="was changed"):
                registry.backup(folder / "second.db", progress=lambda *_: os.utime(path))
        with ModelRegistry(folder / "copy.db") as copy:
            assert copy.verify().ok

    def test_a_file_that_was_restored_from_a_dump_is_read(self, folder: Path) -> None:
        filled(folder / "models.db")
        with contextlib.closing(sqlite3.connect(folder / "models.db")) as source:
            dump = "\n".join(source.iterdump())
        with contextlib.closing(sqlite3.connect(folder / "restored.db")) as target:
            target.executescript(dump)
        with ModelRegistry(folder / "restored.db", read_only=True) as reader:
            assert reader.position() == 6

    def test_the_index_and_the_log_of_a_name_with_odd_characters_are_found(self, folder: Path) -> None:
        path = folder / "a?b#c%d.db"
        filled(path)
        with ModelRegistry(path) as writer, ModelRegistry(path, read_only=True) as reader:
            deploy(writer)
            assert reader.position() == 7


def _here_first(ask: Callable[[], str], path: Path, folder: Path) -> str:
    """Load what is needed with another file: here, root may make what is missing."""
    other = folder / "other.db"
    filled(other)
    with ModelRegistry(other, read_only=True) as registry:
        registry.position()

    def there() -> str:
        return ask() if os.geteuid() else ""

    said = as_other_user(there)
    assert not Path(f"{path}-shm").exists()
    return said


class TestWhatIsNotThere:
    """Nothing is made, and the error says what is missing."""

    def test_no_file(self, folder: Path) -> None:
        for path in (folder / "models.db", folder / "nowhere" / "models.db", folder):
            with pytest.raises(StoreError, match="There is no file"):
                ModelRegistry(path, read_only=True)
        assert names(folder) == []

    def test_a_file_that_may_not_be_read(self, folder: Path) -> None:
        filled(folder / "models.db")
        (folder / "models.db").chmod(0)

        def ask() -> str:
            with ModelRegistry(folder / "models.db", read_only=True) as registry:
                return str(registry.position())

        if os.geteuid() == 0:
            assert "can't be opened. Look at the rights" in as_other_user(ask)
        else:
            with pytest.raises(StoreError, match="can't be opened"):
                ask()

    def test_no_tables_of_ours(self, folder: Path) -> None:
        (folder / "empty.db").touch()
        with pytest.raises(StoreError, match=r"has no tables of ours. Check the URL"):
            ModelRegistry(folder / "empty.db", read_only=True)
        with contextlib.closing(sqlite3.connect(folder / "other.db")) as other:
            other.execute("CREATE TABLE mine (a)")
        with pytest.raises(StoreError, match="another application"):
            ModelRegistry(folder / "other.db", read_only=True)
        (folder / "text.db").write_text("no database" * 100)
        with pytest.raises(StoreError, match="is not an SQLite database"):
            ModelRegistry(folder / "text.db", read_only=True)
        assert names(folder) == ["empty.db", "other.db", "text.db"]

    def test_tables_of_a_newer_or_an_older_release(self, folder: Path) -> None:
        filled(folder / "models.db")
        for version, kind, said in ((99, NewerFormatError, "newer release"), (0, StoreError, "older release")):
            with contextlib.closing(sqlite3.connect(folder / "models.db")) as raw:
                raw.execute(f"PRAGMA user_version={version}")
            with pytest.raises(kind, match=said):
                ModelRegistry(folder / "models.db", read_only=True)

    def test_a_memory(self) -> None:
        with pytest.raises(InvalidArgumentError, match="begins empty"):
            ModelRegistry("memory:", read_only=True)
        with pytest.raises(InvalidArgumentError, match="read_only"):
            ModelRegistry("memory:", read_only=1)  # type: ignore[arg-type]


def changes(registry: ModelRegistry, version: str) -> dict[str, Callable[[], Any]]:
    """Name every call that would change something."""
    return {
        "deploy": lambda: registry.deploy(b"contents", model_name="m"),
        "deploy_many": lambda: registry.deploy_many([{"model_or_reference": "s3://m", "model_name": "m"}]),
        "publish": lambda: registry.publish(version),
        "promote": lambda: registry.promote(version, idempotency_key="k"),
        "clear_primary": lambda: registry.clear_primary("m"),
        "rollback": lambda: registry.rollback("m"),
        "deactivate": lambda: registry.deactivate(version),
        "activate": lambda: registry.activate(version),
        "delete": lambda: registry.delete(version),
        "delete_model": lambda: registry.delete_model("m"),
        "rebuild": registry.rebuild,
        "skip": lambda: registry.skip(1),
        "collect_artifacts": registry.collect_artifacts,
        "adopt_artifacts": registry.adopt_artifacts,
        "import_log": lambda: registry.import_log(io.BytesIO()),
    }


class TestWhatChangesSomething:
    """Is refused, on every store, by an error that says why."""

    def test_each_call_is_refused_and_leaves_nothing(self, shared_store: Store, tmp_path: Path) -> None:
        writer = shared_store()
        version = deploy(writer, publish=True).version_id
        before = list(writer.history())
        reader = shared_store(read_only=True, artifacts=tmp_path / "contents")
        for name, call in changes(reader, version).items():
            with pytest.raises(ReadOnlyError, match="read_only") as caught:
                call()
            assert caught.value.code == "read-only", name
            assert caught.value.to_dict()["detail"] == "The service only reads here."
        assert not (tmp_path / "contents").exists()
        assert list(writer.history()) == before

    def test_the_store_refuses_by_itself(self, shared_store: Store) -> None:
        deploy(shared_store())
        with contextlib.closing(open_store(shared_store.url, read_only=True)) as store:
            assert isinstance(store, Recorder)
            assert store.read_only
            assert store.append([]) == range(0)
            for call in (
                lambda: store.append([row(9)]),
                lambda: store.write_view("v", 0, 1, 1, []),
                lambda: store.swap_view("v", "w"),
                lambda: store.drop_view("v"),
                lambda: store.lease("a"),
            ):
                with pytest.raises(ReadOnlyError, match="read_only"):
                    call()

    def test_what_only_looks_goes_on(self, shared_store: Store) -> None:
        writer = shared_store()
        deploy(writer)
        reader = shared_store(read_only=True)
        exported = io.BytesIO()
        writer.export(exported)
        exported.seek(0)
        assert reader.import_log(exported, dry_run=True).imported == 0
        preview = reader.preview.promote("m@0.1.0")
        assert [type(event).__name__ for event in preview] == ["VersionPublished", "VersionPromoted"]

    def test_kept_views_are_used_and_stay_as_they_are(self, shared_store: Store) -> None:
        writer = shared_store()
        writer._views._batch_events = 0
        for _ in range(3):
            deploy(writer)
        expected = writer.models()
        kept = [view.position for view in writer.views()]
        deploy(writer, "n")
        reader = shared_store(read_only=True)
        reader._views._batch_events = 0
        assert reader.models()[:1] == expected
        assert [(view.position, view.behind) for view in reader.views()] == [(position, 1) for position in kept]
        assert [view.position for view in reader.views()] == [3] * len(VIEWS)

    def test_an_event_that_stops_the_views_is_named(self, shared_store: Store) -> None:
        writer = shared_store()
        deploy(writer)
        deploy(writer)
        shared_store.change(2, topic="unknown.9")
        reader = shared_store(read_only=True)
        assert [view.stopped_by for view in reader.views()] == [2] * len(VIEWS)

    def test_followers_hear_of_others(self, shared_store: Store) -> None:
        writer = shared_store()
        deploy(writer)
        reader = shared_store(read_only=True)
        with reader.follow(after=1, poll_s=20) as follower:
            coming = Task(lambda: next(follower))
            deploy(writer)
            assert facts([coming.result()]) == ["VersionDeployed"]


def test_the_moment_of_a_change_is_told_by_each_file_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "models.db"
    seen = [sqlite_reading._stamp(path)]
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{path}{suffix}").touch()
        seen.append(sqlite_reading._stamp(path))
    assert len(set(seen)) == len(seen)
    assert [sqlite_reading._is_still(stamp) for stamp in seen[1:]] == [True, True, False, False]


def test_only_a_log_without_its_index_is_named_as_the_cause(tmp_path: Path) -> None:
    filled(tmp_path / "models.db")
    connections = sqlite_reading.ReadingConnections(tmp_path / "models.db", 1)
    with pytest.raises(sqlite3.OperationalError) as caught:
        sqlite3.connect(f"file:{tmp_path}/nowhere/models.db?mode=ro", uri=True)
    assert "can't be opened" in connections._told(caught.value).sentence
    (tmp_path / "models.db-wal").touch()
    assert "but no -shm" in connections._told(caught.value).sentence  # as in the child above, where coverage sees it
    connections.close()


def test_it_is_an_error_of_whoever_runs_the_service() -> None:
    assert issubclass(ReadOnlyError, VersioningError)
