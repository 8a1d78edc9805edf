"""A backup is whole, whatever others write meanwhile; it is there as a whole or not at all."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import stores
from versioning import CorruptLogError, InvalidArgumentError, LogRewoundError, ModelRegistry, StoreError
from versioning.store import sqlite
from versioning.store.sqlite import SQLiteRecorder
from versioning.store.sqlite_wal import COMPANIONS

if TYPE_CHECKING:
    from tests.stores import Store

shared_store = stores.shared_store
ROOT = Path(__file__).resolve().parent.parent
WRITERS = 2
COPIES = 6
WRITER = """
import sys
from pathlib import Path
from versioning import ModelRegistry

with ModelRegistry(Path(sys.argv[1])) as registry:
    for count in range(1_000_000):
        registry.deploy("s3://x", model_name=f"{sys.argv[2]}-{count % 50}", metadata={"much": "x" * 2_000})
        print(registry.position(), flush=True)
"""


@pytest.fixture
def original(tmp_path: Path) -> Path:
    return tmp_path / "models.db"


def rows_of(registry: ModelRegistry, upto: int) -> list[object]:
    return list(registry._store.log(0, 1_000_000, upto))


def beside(path: Path) -> set[str]:
    return {each.name for each in path.parent.iterdir()}


class TestItIsWhole:
    def test_what_it_holds(self, original: Path, tmp_path: Path) -> None:
        with ModelRegistry(original) as registry, ModelRegistry(original, workspace="acme") as other:
            registry.deploy("s3://x", model_name="fraud", publish=True, idempotency_key="k")
            other.deploy("s3://y", model_name="churn")
            registry.models()
            done = registry.backup(tmp_path / "copy.db")
            assert (done.file, done.position, done.count) == (str(tmp_path / "copy.db"), 3, 3)
            assert done.checkpoint.head == registry.checkpoint().head
            assert json.loads(json.dumps(done.to_dict()))["checkpoint"]["position"] == 3
            before = rows_of(registry, 9), registry.models(), other.models()
        with (
            ModelRegistry(tmp_path / "copy.db") as copy,
            ModelRegistry(tmp_path / "copy.db", workspace="acme") as other,
        ):
            assert (rows_of(copy, 9), copy.models(), other.models()) == before
            assert copy.deploy("s3://x", model_name="fraud", publish=True, idempotency_key="k").repeated
            verification = copy.verify(done.checkpoint)
            assert (verification.ok, verification.position) == (True, 3)

    def test_a_reader_goes_on_behind_its_bookmark_in_the_original_and_in_the_copy(
        self, original: Path, tmp_path: Path
    ) -> None:
        with ModelRegistry(original) as registry:
            registry.deploy("s3://x", model_name="fraud")
            done = registry.backup(tmp_path / "copy.db")
            later = registry.deploy("s3://y", model_name="fraud").recorded[-1]
            assert [one.position for one in registry.history(after=done.bookmark or "")] == [2]
        with ModelRegistry(tmp_path / "copy.db") as copy:
            assert list(copy.history(after=done.bookmark or "")) == []
            with pytest.raises(LogRewoundError):
                copy.history(after=later.bookmark)

    def test_an_event_that_nobody_can_read_is_copied_too(self, original: Path, tmp_path: Path) -> None:
        with ModelRegistry(original) as registry:
            registry.deploy("s3://x", model_name="fraud")
            with closing(sqlite3.connect(original, isolation_level=None)) as raw:
                raw.execute("UPDATE stored_events SET topic='unknown.1'")
            done = registry.backup(tmp_path / "copy.db")
        assert (done.position, done.bookmark) == (1, None)

    def test_what_is_only_in_the_write_ahead_log_is_in_it(self, original: Path, tmp_path: Path) -> None:
        with ModelRegistry(original) as registry:
            registry.deploy("s3://x", model_name="fraud")
            assert Path(f"{original}-wal").stat().st_size > 0
            assert registry.backup(str(tmp_path / "copy.db")).position == 1
        assert beside(original) == {"models.db", "copy.db"}

    def test_a_memory_and_an_empty_store_have_one_too(self, original: Path, tmp_path: Path) -> None:
        with ModelRegistry("memory:") as registry:
            registry.deploy("s3://x", model_name="fraud")
            assert registry.backup(tmp_path / "memory.db").position == 1
        with ModelRegistry(original) as registry:
            done = registry.backup(tmp_path / "empty.db")
            assert (done.position, done.bookmark) == (0, None)
        for name, models in (("memory.db", 1), ("empty.db", 0)):
            with ModelRegistry(tmp_path / name) as copy:
                assert len(copy.models()) == models

    @pytest.mark.slow
    def test_others_write_on_meanwhile(self, original: Path, tmp_path: Path) -> None:
        """Each copy is a prefix of the log, and has every command that was acknowledged before it began."""
        registry = ModelRegistry(original)
        command = [sys.executable, "-c", WRITER, str(original)]
        writers = [
            subprocess.Popen([*command, f"w{number}"], stdout=subprocess.PIPE, text=True, cwd=ROOT)
            for number in range(WRITERS)
        ]
        done, acknowledged = [], []
        try:
            for number in range(COPIES):
                heard = [next(writer.stdout) for writer in writers for _ in range(30) if writer.stdout is not None]
                acknowledged.append(max(int(line) for line in heard))
                done.append(registry.backup(tmp_path / f"copy-{number}.db"))
            assert [writer.poll() for writer in writers] == [None] * WRITERS
        finally:
            for writer in writers:
                writer.send_signal(signal.SIGKILL)
                writer.communicate()
        with registry:
            assert registry.verify([each.checkpoint for each in done]).ok
            for each, least in zip(done, acknowledged, strict=True):
                assert each.position >= least
                with ModelRegistry(Path(each.file)) as copy:
                    assert rows_of(copy, 1_000_000) == rows_of(registry, each.position)
                    assert copy.verify(each.checkpoint).ok
        assert len({each.position for each in done}) == COPIES

    def test_what_is_recorded_while_it_runs_does_not_make_it_begin_again(
        self, original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite, "PAGES_AT_ONCE", 1)
        with ModelRegistry(original) as registry, ModelRegistry(original) as other:
            other.deploy("s3://x", model_name="fraud")
            steps = []

            def record(what: str, done: int, pages: int) -> None:
                steps.append((what, done, pages))
                assert len(steps) <= 100
                other.deploy("s3://x", model_name="fraud")

            assert registry.backup(tmp_path / "copy.db", progress=record).position == 1
            assert registry.position() == len(steps) + 1
        (*copied, read) = steps
        assert copied == [("backup", done, len(copied)) for done in range(1, len(copied) + 1)]
        assert read == ("checkpoint", 1, 1)

    def test_it_says_how_far_it_is(self, original: Path, tmp_path: Path) -> None:
        told: list[tuple[str, int, int]] = []
        with ModelRegistry(original) as registry:
            registry.deploy("s3://x", model_name="fraud")
            registry.backup(tmp_path / "copy.db", progress=lambda *each: told.append(each))
        pages = (tmp_path / "copy.db").stat().st_size // 4_096
        assert told == [("backup", pages, pages), ("checkpoint", 1, 1)]

    def test_it_survives_a_loss_of_power(self, original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        synced, fsync = [], os.fsync

        def noted(descriptor: int) -> None:
            synced.append(os.fstat(descriptor).st_ino)
            fsync(descriptor)

        with ModelRegistry(original) as registry:
            registry.deploy("s3://x", model_name="fraud")
            monkeypatch.setattr(os, "fsync", noted)
            registry.backup(tmp_path / "copy.db")
        assert synced == [(tmp_path / "copy.db").stat().st_ino, tmp_path.stat().st_ino]

    @pytest.mark.parametrize("rights", [0o600, 0o640])
    def test_nobody_may_read_it_who_may_not_read_the_original(
        self, original: Path, tmp_path: Path, rights: int
    ) -> None:
        with ModelRegistry(original) as registry:
            original.chmod(rights)
            registry.backup(tmp_path / "copy.db")
        assert (tmp_path / "copy.db").stat().st_mode & 0o777 == rights


class TestNothingIsReplaced:
    @pytest.mark.parametrize("end", ["", *COMPANIONS])
    def test_a_place_that_is_taken_or_has_a_leftover_is_refused(self, original: Path, tmp_path: Path, end: str) -> None:
        """SQLite would take the pages of an old write-ahead log into the copy."""
        (tmp_path / f"copy.db{end}").write_text("mine", encoding="utf-8")
        with ModelRegistry(original) as registry, pytest.raises(InvalidArgumentError, match="exists already"):
            registry.backup(tmp_path / "copy.db")
        assert beside(original) == {"models.db", f"copy.db{end}"}
        assert (tmp_path / f"copy.db{end}").read_text(encoding="utf-8") == "mine"

    def test_a_link_to_nowhere_is_taken_too(self, original: Path, tmp_path: Path) -> None:
        (tmp_path / "copy.db").symlink_to("nowhere.db")
        with ModelRegistry(original) as registry, pytest.raises(InvalidArgumentError, match="exists already"):
            registry.backup(tmp_path / "copy.db")
        assert beside(original) == {"models.db", "copy.db"}

    def test_so_is_what_somebody_puts_there_meanwhile(self, original: Path, tmp_path: Path) -> None:
        def put(*_: object) -> None:
            (tmp_path / "copy.db").write_text("theirs", encoding="utf-8")

        with ModelRegistry(original) as registry, pytest.raises(InvalidArgumentError, match="exists already"):
            registry.backup(tmp_path / "copy.db", progress=put)
        assert beside(original) == {"models.db", "copy.db"}
        assert (tmp_path / "copy.db").read_text(encoding="utf-8") == "theirs"

    def test_a_file_system_without_links_does(
        self, original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def without(*_: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", without)
        with ModelRegistry(original) as registry:
            registry.backup(tmp_path / "copy.db")
        assert beside(original) == {"models.db", "copy.db"}


class TestItFailsAsAWhole:
    def test_an_interruption_leaves_nothing(self, original: Path, tmp_path: Path) -> None:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        with ModelRegistry(original) as registry:
            registry.deploy("s3://x", model_name="fraud")
            with pytest.raises(KeyboardInterrupt):
                registry.backup(tmp_path / "copy.db", progress=interrupt)
            assert registry.deploy("s3://x", model_name="fraud").number == "0.2.0"
        assert beside(original) == {"models.db"}

    def test_a_folder_that_is_not_there(self, original: Path, tmp_path: Path) -> None:
        with ModelRegistry(original) as registry, pytest.raises(StoreError, match="can't be written"):
            registry.backup(tmp_path / "nowhere" / "copy.db")

    @pytest.mark.parametrize("file", ["", None, 7, b"copy.db"])
    def test_what_is_no_path(self, file: object) -> None:
        with ModelRegistry("memory:") as registry, pytest.raises(InvalidArgumentError, match="file must be a path"):
            registry.backup(file)  # type: ignore[arg-type]

    def test_a_path_that_no_file_can_have(self) -> None:
        with ModelRegistry("memory:") as registry, pytest.raises(StoreError, match="can't be written"):
            registry.backup("a\0b")

    def test_a_copy_that_can_not_be_read_is_none(self, original: Path, tmp_path: Path) -> None:
        with ModelRegistry(original) as registry:
            registry.deploy("s3://x", model_name="fraud", publish=True)
        with closing(sqlite3.connect(original, isolation_level=None)) as raw:
            raw.execute("UPDATE stored_events SET topic=CAST(x'ff' AS TEXT) WHERE rowid=2")
        with ModelRegistry(original) as registry, pytest.raises(CorruptLogError):
            registry.backup(tmp_path / "copy.db")
        assert beside(original) == {"models.db"}

    def test_a_file_that_went_away_meanwhile(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="can't be opened"):
            SQLiteRecorder(None).copy_to(tmp_path / "nowhere.db")

    @pytest.mark.parametrize("shared_store", stores.WITH_GAPS, indirect=True)
    def test_postgresql_has_a_tool_of_its_own(self, shared_store: Store, tmp_path: Path) -> None:
        with shared_store() as registry, pytest.raises(InvalidArgumentError, match="own tools") as refused:
            registry.backup(tmp_path / "copy.db")
        assert "pg_dump --format=custom with --schema=" in refused.value.hint
        assert 'explain("restoring")' in refused.value.hint
        assert "--schema" not in refused.value.to_dict()["hint"]
        assert list(tmp_path.iterdir()) == []
