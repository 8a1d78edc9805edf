"""A write-ahead log that does not belong to the file beside it is noticed before anybody takes it in.

Every file here is one that SQLite wrote. A process that was killed leaves what `left` copies of a living one.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.cli_tools import run
from versioning import ModelRegistry
from versioning.cli.doctor import examine
from versioning.store import sqlite_wal
from versioning.store.sqlite_wal import COMPANIONS, ForeignLog, foreign_log

if TYPE_CHECKING:
    from pathlib import Path

MUCH = {"much": "x" * 2_000}


def deploys(place: Path, count: int) -> ModelRegistry:
    """Open a registry, and record so many events of 2 KB."""
    registry = ModelRegistry(place)
    for _ in range(count):
        registry.deploy("s3://x", model_name="fraud", metadata=MUCH)
    return registry


def wal(place: Path) -> Path:
    return place.with_name(f"{place.name}-wal")


def left(place: Path, folder: Path) -> Path:
    """Copy the file and then its write-ahead log to another folder, as if their process were killed now."""
    folder.mkdir(exist_ok=True)
    copy = folder / place.name
    shutil.copyfile(place, copy)
    shutil.copyfile(wal(place), wal(copy))
    return copy


def checkpointed(place: Path, mode: str = "TRUNCATE") -> None:
    """Let SQLite write the log into the file, and begin a new log."""
    with closing(sqlite3.connect(place, isolation_level=None)) as raw:
        raw.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()


def restored(backup: Path, place: Path, *, keeps_times: bool = False) -> None:
    """Copy a backup over the file of a store, and forget the log beside it."""
    (shutil.copy2 if keeps_times else shutil.copyfile)(backup, place)
    while place.stat().st_ctime_ns <= wal(place).stat().st_ctime_ns:  # clocks of files are coarse: one tick at most
        place.chmod(0o644) if keeps_times else place.touch()


def problem_of(place: Path) -> tuple[bool, str]:
    """Return what speaks against the log; and check that looking changed neither file."""
    before = place.read_bytes(), wal(place).read_bytes()
    found = foreign_log(place)
    assert (place.read_bytes(), wal(place).read_bytes()) == before
    assert isinstance(found, ForeignLog), found
    return found.certain, found.sentence


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "models.db"


class TestALogThatBelongs:
    def test_that_of_a_store_in_use(self, place: Path) -> None:
        with deploys(place, 3):
            assert foreign_log(place) is None

    def test_that_of_a_process_that_was_killed(self, place: Path, tmp_path: Path) -> None:
        with deploys(place, 3):
            copy = left(place, tmp_path / "killed")
        assert foreign_log(copy) is None
        with ModelRegistry(copy) as registry:
            assert registry.position() == 3

    def test_that_which_the_file_has_taken_in_already(self, place: Path, tmp_path: Path) -> None:
        with deploys(place, 3):
            checkpointed(place, "PASSIVE")
            copy = left(place, tmp_path / "killed")
        copy.touch()
        assert wal(copy).stat().st_size > 0
        assert foreign_log(copy) is None

    def test_one_that_begins_again_over_an_older_one(self, place: Path, tmp_path: Path) -> None:
        with deploys(place, 3) as registry:
            checkpointed(place, "RESTART")
            registry.deploy("s3://x", model_name="fraud")
            copy = left(place, tmp_path / "killed")
        assert foreign_log(copy) is None
        with ModelRegistry(copy) as registry:
            assert registry.position() == 4

    @pytest.mark.parametrize("contents", [b"", b"short", b"\0" * 8_000, None])
    def test_one_that_sqlite_ignores(self, place: Path, contents: bytes | None) -> None:
        deploys(place, 3).close()
        if contents is not None:
            wal(place).write_bytes(contents)
        assert foreign_log(place) is None
        with ModelRegistry(place) as registry:
            assert registry.position() == 3

    def test_one_whose_only_commit_is_not_whole(self, place: Path, tmp_path: Path) -> None:
        with deploys(place, 1) as registry:
            checkpointed(place)
            registry.deploy("s3://x", model_name="fraud", metadata=MUCH)
            copy = left(place, tmp_path / "killed")
        with wal(copy).open("r+b") as file:
            file.truncate(32 + 24 + 4_096)
        assert foreign_log(copy) is None


class TestALogThatDoesNot:
    @pytest.mark.parametrize("keeps_times", [False, True])
    def test_a_restored_file_whose_log_goes_on_is_only_likely(
        self, place: Path, tmp_path: Path, *, keeps_times: bool
    ) -> None:
        """The pages are the same as after a checkpoint that a reader kept from its end; only the times tell."""
        with deploys(place, 2) as registry:
            registry.backup(tmp_path / "backup.db")
            registry.deploy("s3://x", model_name="fraud", metadata=MUCH)
            copy = left(place, tmp_path / "killed")
        restored(tmp_path / "backup.db", copy, keeps_times=keeps_times)
        certain, said = problem_of(copy)
        assert (certain, said.endswith("has events that the file lacks: 1.")) == (False, True)
        with ModelRegistry(copy) as registry:
            assert registry.position() == 3, "SQLite undoes the restore, so this has to be noticed before"

    def test_a_file_to_which_the_log_lacks_pages(self, place: Path, tmp_path: Path) -> None:
        with deploys(place, 2) as registry:
            registry.backup(tmp_path / "backup.db")
            with deploys(place, 50):
                checkpointed(place)
            registry.deploy("s3://x", model_name="fraud", metadata=MUCH)
            copy = left(place, tmp_path / "killed")
        restored(tmp_path / "backup.db", copy)
        certain, said = problem_of(copy)
        assert certain
        assert said.startswith("The -wal beside the file does not belong to it: page ")
        assert said.endswith(" is in neither.")

    def test_a_log_that_is_older_than_the_file(self, place: Path, tmp_path: Path) -> None:
        with deploys(place, 1) as registry:
            checkpointed(place)
            registry.deploy("s3://x", model_name="other")
            copy = left(place, tmp_path / "killed")
            registry.deploy("s3://x", model_name="fraud")
            registry.deploy("s3://x", model_name="fraud")
        restored(place, copy)
        certain, said = problem_of(copy)
        assert (certain, "with it, the event of the file at position 4 is lost" in said) == (True, True)

    def test_a_log_with_which_the_database_is_damaged(self, place: Path, tmp_path: Path) -> None:
        with deploys(place, 1):
            copy = left(place, tmp_path / "killed")
        deploys(place, 60).close()
        restored(place, copy)
        certain, said = problem_of(copy)
        assert (certain, said.endswith("with it, the database is damaged.")) == (True, True), said

    def test_a_log_of_another_size_of_pages(self, place: Path, tmp_path: Path) -> None:
        with closing(sqlite3.connect(place)) as raw:
            raw.execute("PRAGMA page_size=8192")
            raw.execute("VACUUM")
        deploys(place, 1).close()
        with deploys(tmp_path / "other.db", 1):
            shutil.copyfile(tmp_path / "other.db-wal", wal(place))
        certain, said = problem_of(place)
        assert (certain, "its pages have 4,096 bytes, and those of the file 8,192" in said) == (True, True)


class TestNothingIsSaid:
    def test_of_files_that_change_meanwhile(self, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with deploys(place, 2) as registry:
            registry.backup(tmp_path / "backup.db")
            registry.deploy("s3://x", model_name="fraud", metadata=MUCH)
            copy = left(place, tmp_path / "killed")
        restored(tmp_path / "backup.db", copy)
        assert foreign_log(copy) is not None
        read = sqlite_wal._read

        def reading(log: Path) -> object:
            found = read(log)
            wal(copy).touch()
            return found

        monkeypatch.setattr(sqlite_wal, "_read", reading)
        assert foreign_log(copy) is None

    def test_of_what_is_no_database_or_not_ours(self, place: Path, tmp_path: Path) -> None:
        with deploys(tmp_path / "other.db", 1):
            place.write_text("text " * 1_000, encoding="utf-8")
            shutil.copyfile(tmp_path / "other.db-wal", wal(place))
            assert foreign_log(place) is None
            place.unlink()
            assert foreign_log(place) is None

    def test_of_a_database_that_can_not_be_read_now(self, place: Path, tmp_path: Path) -> None:
        """Whoever opens it next says what is wrong."""
        with deploys(place, 2):
            copy = left(place, tmp_path / "killed")
        copy.with_name("models.db-shm").symlink_to(tmp_path / "nowhere" / "models.db-shm")
        assert foreign_log(copy) is None


class TestTheDoctor:
    @pytest.fixture
    def undone(self, place: Path, tmp_path: Path) -> Path:
        """A restored file with a log beside it that would undo the restore."""
        with deploys(place, 2) as registry:
            registry.backup(tmp_path / "backup.db")
            registry.deploy("s3://x", model_name="fraud", metadata=MUCH)
            copy = left(place, tmp_path / "killed")
        restored(tmp_path / "backup.db", copy)
        return copy

    def test_it_warns_and_leaves_all_as_it_is(self, undone: Path) -> None:
        before = undone.read_bytes(), wal(undone).read_bytes()
        (*_, last) = examine(undone, "default")
        assert (last.verdict, last.about, "explain restoring" in last.hint) == ("warn", "wal", True)
        assert (undone.read_bytes(), wal(undone).read_bytes()) == before
        for words in ((), ("--adopt-artifacts",)):
            ran = run("doctor", "--url", f"sqlite:///{undone}", *words)
            assert (ran.code, "has events that the file lacks: 1." in ran.out) == (0, True)
            assert (undone.read_bytes(), wal(undone).read_bytes()) == before

    def test_it_fails_where_it_is_certain(self, undone: Path, place: Path) -> None:
        with deploys(place, 50):
            checkpointed(place)
        with deploys(place, 1):
            shutil.copyfile(wal(place), wal(undone))
        ran = run("doctor", "--url", f"sqlite:///{undone}")
        assert (ran.code, "does not belong to it" in ran.out) == (6, True)

    def test_what_it_says_helps(self, undone: Path) -> None:
        for end in COMPANIONS:
            undone.with_name(undone.name + end).unlink(missing_ok=True)
        assert [one for one in examine(undone, "default") if one.about == "wal"] == []
        with ModelRegistry(undone) as registry:
            assert (registry.position(), registry.verify().ok) == (2, True)

    def test_what_it_says_of_a_crash_is_true(self, undone: Path) -> None:
        assert run("ls", "--url", f"sqlite:///{undone}").code == 0
        assert [one for one in examine(undone, "default") if one.about == "wal"] == []
        with ModelRegistry(undone) as registry:
            assert (registry.position(), registry.verify().ok) == (3, True)

    def test_a_store_in_use_is_left_in_peace(self, place: Path) -> None:
        with deploys(place, 2):
            assert [one for one in examine(place, "default") if one.verdict == "fail" or one.about == "wal"] == []
