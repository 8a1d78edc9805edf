"""A SQLite file is opened: ours, foreign, locked, damaged, restored from a dump."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from tests import sqlite_tools
from tests.sqlite_tools import writer
from tests.stores import STREAM, row, rows
from versioning.errors import NewerFormatError, StoreError
from versioning.store import sqlite_connections as lines
from versioning.store.contract import KeptRow, ViewPosition
from versioning.store.sqlite import SQLiteRecorder

if TYPE_CHECKING:
    from pathlib import Path

path = sqlite_tools.path
file = sqlite_tools.file
recorder = sqlite_tools.recorder
raw = sqlite_tools.raw


class TestOpening:
    def test_the_file_is_marked_as_ours_and_writes_are_durable(
        self, file: SQLiteRecorder, raw: sqlite3.Connection
    ) -> None:
        assert raw.execute("PRAGMA application_id").fetchone() == (0x4D564552,)
        assert raw.execute("PRAGMA user_version").fetchone() == (1,)
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert writer(file).execute("PRAGMA synchronous").fetchone() == (2,)
        assert writer(file).execute("PRAGMA busy_timeout").fetchone() == (50,)

    def test_durability_at_the_checkpoint_is_asked_for(self, path: Path) -> None:
        with contextlib.closing(SQLiteRecorder(path, durability="checkpoint")) as recorder:
            assert writer(recorder).execute("PRAGMA synchronous").fetchone() == (1,)
            assert writer(recorder).execute("PRAGMA busy_timeout").fetchone() == (5_000,)

    def test_a_connection_that_is_opened_again_is_as_durable(self, file: SQLiteRecorder) -> None:
        writer(file).execute("PRAGMA query_only=ON")
        with pytest.raises(StoreError, match="can't be written"):
            file.append(rows(1))
        assert list(file.append(rows(1))) == [1]
        assert writer(file).execute("PRAGMA synchronous").fetchone() == (2,)

    def test_a_missing_folder_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="Make the folder first"):
            SQLiteRecorder(tmp_path / "missing" / "models.db")
        with pytest.raises(StoreError, match="is a folder"):
            SQLiteRecorder(tmp_path)

    def test_a_name_that_is_too_long_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="can't be opened: File name too long"):
            SQLiteRecorder(tmp_path / ("x" * 5_000) / "models.db")

    def test_a_file_that_is_no_database_is_left_alone(self, path: Path) -> None:
        path.write_bytes(b"not a database, but somebody's text " * 100)
        before = path.read_bytes()
        with pytest.raises(StoreError, match="is not an SQLite database"):
            SQLiteRecorder(path)
        assert path.read_bytes() == before

    @pytest.mark.parametrize(
        "statement",
        [
            "CREATE TABLE users (name TEXT)",
            "CREATE TABLE stored_events (a)",
            "CREATE TABLE kept_rows (a)",
            "CREATE VIEW kept_views AS SELECT 1",
            "PRAGMA application_id=7",
            "PRAGMA user_version=7",
            "CREATE TABLE stored_events (originator_id TEXT, originator_version INTEGER, topic TEXT, state BLOB)",
        ],
    )
    def test_another_applications_file_is_left_alone(self, path: Path, raw: sqlite3.Connection, statement: str) -> None:
        raw.execute(statement)
        before = path.read_bytes()
        with pytest.raises(StoreError, match="another application"):
            SQLiteRecorder(path)
        assert path.read_bytes() == before
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("delete",)

    def test_a_newer_releases_file_is_left_alone(self, path: Path, raw: sqlite3.Connection) -> None:
        raw.execute(f"PRAGMA application_id={lines.APPLICATION_ID}")
        raw.execute("PRAGMA user_version=2")
        with pytest.raises(NewerFormatError, match="Upgrade"):
            SQLiteRecorder(path)

    def test_a_file_restored_from_a_dump_is_ours_and_keeps_its_positions(
        self, file: SQLiteRecorder, tmp_path: Path, raw: sqlite3.Connection
    ) -> None:
        file.append([row(1, key="k"), row(2)])
        assert file.write_view("v", 0, 2, 9, [KeptRow("w", "m", STREAM, live=True, state=b"x")])
        restored = tmp_path / "restored.db"
        with contextlib.closing(sqlite3.connect(restored)) as connection:
            connection.executescript("\n".join(raw.iterdump()))
        with contextlib.closing(SQLiteRecorder(restored)) as recorder:
            assert recorder.log(0, 10) == file.log(0, 10)
            assert recorder.find_key(STREAM, "k") == (1, 1, "deleted.1", b"{}")
            with recorder.snapshot() as snapshot:
                assert snapshot.view_position("v") == ViewPosition(2, 9)
            assert list(recorder.append([row(3)])) == [3]

    def test_positions_survive_a_vacuum(self, file: SQLiteRecorder, raw: sqlite3.Connection) -> None:
        file.append(rows(3))
        before = file.log(0, 10)
        raw.execute("VACUUM")
        assert file.log(0, 10) == before

    def test_a_database_that_is_locked_is_an_error_in_time(self, path: Path, raw: sqlite3.Connection) -> None:
        raw.execute("BEGIN EXCLUSIVE")
        begun = time.monotonic()
        with pytest.raises(StoreError, match="locked"):
            SQLiteRecorder(path, timeout_s=0.05)
        assert time.monotonic() - begun < 2
        raw.execute("ROLLBACK")
        SQLiteRecorder(path, timeout_s=0.05).close()

    def test_others_that_open_it_at_the_same_moment_are_waited_for(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        busy = sqlite3.OperationalError("database is locked")
        busy.sqlite_errorcode = sqlite3.SQLITE_BUSY
        monkeypatch.setattr(lines, "migrate", mock.Mock(side_effect=[busy, busy, None]))
        SQLiteRecorder(path).close()
        monkeypatch.setattr(lines, "migrate", mock.Mock(side_effect=busy))
        with pytest.raises(StoreError, match="locked"):
            SQLiteRecorder(path, timeout_s=0.01)

    def test_a_file_system_without_shared_memory_is_refused(self) -> None:
        with pytest.raises(StoreError, match="local disk"):
            lines._check_mode("delete", "It")

    def test_tables_that_somebody_makes_between_looking_and_locking_are_taken(self, path: Path) -> None:
        SQLiteRecorder(path).close()
        with (
            contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection,
            mock.patch.object(lines, "_is_ours", side_effect=[False, True]),
        ):
            lines.migrate(connection, "It")
            assert not connection.in_transaction
