"""The SQLite store, and what it alone can do: columns of any type, full and locked disks, threads, closing."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import sqlite3
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests import sqlite_tools
from tests.side_by_side import Task
from tests.sqlite_tools import connections, kept, writer
from tests.stores import OTHER, STREAM, row, rows
from versioning.errors import CorruptLogError, StoreError
from versioning.store import sqlite as room
from versioning.store import sqlite_connections as lines
from versioning.store.contract import KeptRow
from versioning.store.format import decode
from versioning.store.sqlite import SQLiteRecorder

if TYPE_CHECKING:
    from pathlib import Path

path = sqlite_tools.path
file = sqlite_tools.file
recorder = sqlite_tools.recorder
raw = sqlite_tools.raw


class TestAppending:
    def test_an_interrupted_append_leaves_nothing_behind(self, recorder: SQLiteRecorder) -> None:
        def interrupted() -> None:
            connections = recorder._connections
            with connections.session() as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(lines.SQL["append"], row(1))
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert recorder.head() == 0
        assert list(recorder.append(rows(1))) == [1]


class TestReading:
    @pytest.mark.parametrize(
        "columns",
        [
            "NULL, 1, 'deleted.1', x''",
            "x'00', 1, 'deleted.1', x''",
            "7, 1, 'deleted.1', x''",
            f"'{STREAM}', 'one', 'deleted.1', x''",
            f"'{STREAM}', 1.5, 'deleted.1', x''",
            f"'{STREAM}', x'01', 'deleted.1', x''",
            f"'{STREAM}', 1, 8, x''",
            f"'{STREAM}', 1, x'ff', x''",
            f"'{STREAM}', 1, 'deleted.1', 'text'",
            f"'{STREAM}', 1, 'deleted.1', 1",
            f"'{STREAM}', 1, 'deleted.1', 1.5",
        ],
    )
    def test_a_column_of_any_type_is_a_located_error(self, recorder: SQLiteRecorder, columns: str) -> None:
        recorder.append(rows(4, OTHER))
        table = recorder._connections.take_writer()
        table.execute("PRAGMA ignore_check_constraints=ON")
        with contextlib.suppress(sqlite3.IntegrityError):  # NULL: a column of ours can't hold it
            table.execute(f"INSERT INTO stored_events VALUES (5, {columns}, NULL)")
        recorder._connections.give_writer()
        for found in recorder.log(4, 10):
            with pytest.raises(CorruptLogError) as caught:
                decode(*found)
            assert caught.value.position == 5

    @pytest.mark.parametrize(
        "columns",
        [
            "CAST(x'ff' AS TEXT), 1, 'deleted.1', x''",
            f"'{STREAM}', CAST(x'ff' AS TEXT), 'deleted.1', x''",
            f"'{STREAM}', 1, CAST(x'61ff' AS TEXT), x''",
            f"'{STREAM}', 1, 'deleted.1', CAST(x'ff' AS TEXT)",
        ],
    )
    def test_a_text_that_is_not_utf_8_is_a_located_error(
        self, file: SQLiteRecorder, raw: sqlite3.Connection, columns: str
    ) -> None:
        file.append(rows(4, OTHER))
        raw.execute(f"INSERT INTO stored_events VALUES (5, {columns}, NULL)")
        with pytest.raises(CorruptLogError, match="UTF-8") as caught:
            file.log(0, 10)
        assert caught.value.position == 5
        assert len(file.log(0, 4)) == 4

    def test_readings_need_as_many_connections_as_there_are_at_once(self, file: SQLiteRecorder) -> None:
        for _ in range(20):
            Task(file.head).result()
        assert len(connections(file)._readers) == 1
        with file.snapshot(), file.snapshot():
            assert file.head() == 0
        assert len(connections(file)._readers) == 3

    def test_a_reading_cannot_write(self, file: SQLiteRecorder) -> None:
        with pytest.raises(StoreError):
            file.ask("drop_view", "x")

    def test_a_connection_that_failed_is_not_used_again(self, file: SQLiteRecorder) -> None:
        file.head()
        connections(file)._idle[0].close()
        with pytest.raises(StoreError):
            file.head()
        assert file.head() == 0
        assert len(connections(file)._readers) == 1


class TestTrouble:
    def test_a_locked_database_is_an_error_in_time_and_the_next_write_works(
        self, file: SQLiteRecorder, raw: sqlite3.Connection
    ) -> None:
        for count in (1, 200):
            raw.execute("BEGIN IMMEDIATE")
            begun = time.monotonic()
            with pytest.raises(StoreError, match="locked by another process"):
                file.append(rows(count))
            assert time.monotonic() - begun < 2
            assert file.head() == 0
            raw.execute("ROLLBACK")
        assert list(file.append(rows(200))) == list(range(1, 201))

    def test_a_full_disk_is_an_error_while_reads_go_on_and_writes_resume(self, file: SQLiteRecorder) -> None:
        (pages,) = writer(file).execute("PRAGMA page_count").fetchone()
        writer(file).execute(f"PRAGMA max_page_count={pages + 2}")
        big = os.urandom(3_000)

        def fill() -> None:
            for sequence in range(1, 20):
                file.append([row(sequence, state=big)])

        with pytest.raises(StoreError, match="the disk is full"):
            fill()
        head = file.head()
        with pytest.raises(StoreError, match="the disk is full"):
            file.append([row(sequence, OTHER, state=big) for sequence in range(1, 200)])
        with pytest.raises(StoreError, match="the disk is full"):
            file.write_view("v", 0, 1, 1, [KeptRow("w", "m", "k", live=True, state=big * 10)])
        assert head > 0
        assert len(file.log(0, 100)) == file.head() == head
        writer(file).execute(f"PRAGMA max_page_count={pages + 1_000}")
        assert list(file.append([row(head + 1, state=big)])) == [head + 1]

    def test_a_damaged_file_is_said(self, path: Path) -> None:
        with contextlib.closing(SQLiteRecorder(path)) as recorder:
            recorder.append(rows(300))
        content = bytearray(path.read_bytes())
        content[4_096:] = random.Random(1).randbytes(len(content) - 4_096)
        path.write_bytes(content)
        with contextlib.closing(SQLiteRecorder(path)) as recorder, pytest.raises(StoreError, match="damaged"):
            recorder.log(0, 1_000)

    @pytest.mark.parametrize("begin", [False, True])
    def test_a_connection_that_broke_while_writing_is_replaced(self, file: SQLiteRecorder, *, begin: bool) -> None:
        lost = sqlite3.OperationalError("disk I/O error")
        lost.sqlite_errorcode = sqlite3.SQLITE_IOERR
        before = writer(file)

        def write() -> None:
            with file._connections.session() as connection:
                if begin:
                    connection.execute("BEGIN IMMEDIATE")
                raise lost

        with pytest.raises(StoreError, match="can't be read or written"):
            write()
        assert list(file.append(rows(1))) == [1]
        assert writer(file) is not before

    def test_a_connection_that_cannot_roll_back_is_replaced(self, file: SQLiteRecorder) -> None:
        writer(file).close()
        with pytest.raises(StoreError):
            file.append(rows(1))
        assert list(file.append(rows(1))) == [1]

    def test_a_failed_connection_leaves_the_lock_free(self, file: SQLiteRecorder, path: Path) -> None:
        """In the framework's pool, every later write timed out."""
        file.append(rows(1))
        connections(file)._close_writer()
        path.rename(path.with_suffix(".away"))
        for question in (file.head, lambda: file.append(rows(1, OTHER)), file.waiter):
            with pytest.raises(StoreError, match="can't be opened"):
                question()
        path.with_suffix(".away").rename(path)
        assert list(file.append(rows(1, OTHER))) == [2]
        assert file.head() == 2

    def test_a_thread_that_writes_for_too_long_is_an_error(self, recorder: SQLiteRecorder) -> None:
        recorder._connections.take_writer()
        with pytest.raises(StoreError, match="in use by another thread"):
            Task(lambda: recorder.append(rows(1))).result()
        recorder._connections.give_writer()
        assert list(recorder.append(rows(1))) == [1]


class TestClosing:
    def test_nothing_stays_open(self, file: SQLiteRecorder, path: Path) -> None:
        file.append(rows(1))
        file.head()
        file.waiter()
        file.close()
        assert connections(file)._readers == set()
        assert os.listdir(path.parent) == [path.name]  # noqa: PTH208 - the last connection takes the write-ahead log along

    def test_a_reading_and_a_writing_of_other_threads_end_first(self, file: SQLiteRecorder, path: Path) -> None:
        file.append(rows(1))
        with file.snapshot() as snapshot:
            file._connections.take_writer()
            Task(file.close).result()
            assert len(snapshot.log(0, 10)) == 1
            file._connections.give_writer()
        assert os.listdir(path.parent) == [path.name]  # noqa: PTH208 - as above

    def test_a_memory_that_a_thread_holds_is_closed_for_the_others(self) -> None:
        recorder = SQLiteRecorder(None, timeout_s=0.01)
        with recorder.snapshot() as snapshot:
            Task(recorder.close).result()
            assert snapshot.log(0, 1) == []
            recorder.close()
            with pytest.raises(StoreError):
                snapshot.log(0, 1)

    def test_a_recorder_that_is_dropped_leaves_one_file(self, path: Path) -> None:
        recorder = SQLiteRecorder(path)
        recorder.append(rows(1))
        kept = recorder._connections
        del recorder
        gc.collect()
        with pytest.raises(StoreError, match="closed"):
            kept.take_reader()
        assert os.listdir(path.parent) == [path.name]  # noqa: PTH208 - as above


class TestKeptViews:
    def test_nobody_waits_for_the_file_to_keep_a_view(
        self, file: SQLiteRecorder, raw: sqlite3.Connection, path: Path
    ) -> None:
        with contextlib.closing(SQLiteRecorder(path, timeout_s=60)) as patient:
            patient._connections.take_writer()
            assert not patient.write_view("v", 0, 1, 1, [])
            patient._connections.give_writer()
            raw.execute("BEGIN IMMEDIATE")
            assert not patient.write_view("v", 0, 1, 1, [])
            raw.execute("ROLLBACK")
            assert patient.write_view("v", 0, 1, 1, [])
            assert writer(patient).execute("PRAGMA busy_timeout").fetchone() == (60_000,)
        assert not file.write_view("v", 0, 1, 1, [])

    def test_nobody_waits_for_the_memory_to_keep_a_view(self) -> None:
        with contextlib.closing(SQLiteRecorder(None)) as recorder, recorder.snapshot():
            assert Task(lambda: recorder.write_view("v", 0, 1, 1, [])).result() is False

    def test_a_trouble_while_keeping_a_view_leaves_the_connection_usable(self, file: SQLiteRecorder) -> None:
        writer(file).execute("BEGIN")
        with pytest.raises(StoreError, match="transaction"):
            file.write_view("v", 0, 1, 1, [])
        broken: Any = KeptRow("w", "m", "k", live=True, state=None)  # type: ignore[arg-type]
        with pytest.raises(StoreError, match="NOT NULL"):
            file.write_view("v", 0, 1, 1, [broken])
        assert file.write_view("v", 0, 1, 1, [kept("a")])

    def test_a_page_reads_no_more_than_it_gives(self, file: SQLiteRecorder, raw: sqlite3.Connection) -> None:
        for statement, values in ((lines.SQL["page_live"], 7), (lines.SQL["page"], 9)):
            plan = [detail for *_, detail in raw.execute(f"EXPLAIN QUERY PLAN {statement}", (1,) * values)]
            searches = [detail for detail in plan if "kept_rows" in detail]
            assert all("USING INDEX kept_rows_by_name" in detail for detail in searches)
            assert not any("TEMP B-TREE" in detail for detail in plan)
        assert file.head() == 0

    def test_a_kept_text_that_is_not_utf_8_is_an_error(self, file: SQLiteRecorder, raw: sqlite3.Connection) -> None:
        assert file.write_view("v", 0, 1, 1, [kept("a")])
        raw.execute("UPDATE kept_rows SET model_name=CAST(x'ff' AS TEXT)")
        with file.snapshot() as snapshot, pytest.raises(StoreError, match="Build the views anew"):
            snapshot.view_rows("v", ["key of a"])


class TestSnapshots:
    def test_a_memory_stands_still_for_the_others(self) -> None:
        with contextlib.closing(SQLiteRecorder(None, timeout_s=0.05)) as recorder:
            with recorder.snapshot() as snapshot:
                with pytest.raises(StoreError):
                    Task(lambda: recorder.append(rows(1))).result()
                assert snapshot.log(0, 10, 5) == []
            Task(lambda: recorder.append(rows(1))).result()

    def test_one_that_can_not_begin_leaves_nothing_behind(self, file: SQLiteRecorder) -> None:
        file.head()
        connections(file)._idle[0].close()
        with pytest.raises(StoreError), file.snapshot():
            pass
        assert connections(file)._readers == set()
        assert file.head() == 0

    def test_a_broken_connection_is_given_up(self, file: SQLiteRecorder) -> None:
        with file.snapshot() as snapshot:
            (connection,) = connections(file)._readers
            connection.close()
            with pytest.raises(StoreError):
                snapshot.log(0, 1)
        assert connections(file)._readers == set()


class TestWaiting:
    def test_what_is_recorded_is_noticed_once(self, recorder: SQLiteRecorder) -> None:
        waiter = recorder.waiter()
        assert not waiter.wait(0)
        recorder.append(rows(1))
        assert waiter.wait(1)
        assert not waiter.wait(0.02)

    def test_a_connection_that_broke_is_replaced(self, file: SQLiteRecorder) -> None:
        waiter = file.waiter()
        watch = connections(file)._watch
        assert watch is not None
        watch.close()
        with pytest.raises(StoreError):
            waiter.wait(0)
        file.append(rows(1))
        assert waiter.wait(1)


class TestTheWarningAboutOldReleasesOfSQLite:
    """SQLite before 3.51.3 can lose a commit when several connections write; `test_leases.py` sees that it is said."""

    @pytest.fixture(autouse=True)
    def _not_yet_warned(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(room, "_warned", set())

    @pytest.mark.parametrize(("release", "path"), [((3, 51, 3), "models.db"), ((3, 40, 1), None)])
    def test_a_newer_release_and_a_memory_are_quiet(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        release: tuple[int, int, int],
        path: str | None,
    ) -> None:
        monkeypatch.setattr(sqlite3, "sqlite_version_info", release)
        recorder = SQLiteRecorder(None if path is None else tmp_path / path)
        recorder.notice_other_writer()
        recorder.close()
        assert caplog.messages == []


def test_a_connection_that_can_not_be_looked_at_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.closing(SQLiteRecorder(tmp_path / "models.db")) as recorder:
        recorder._connections._close_writer()  # type: ignore[union-attr]  # a file's
        with monkeypatch.context() as broken:
            broken.setattr(lines, "_commits_of_others", _disk_error)
            with pytest.raises(StoreError):
                recorder.append(rows(1))
        assert recorder.append(rows(1)) == range(1, 2)


def _disk_error(_: object) -> int:
    msg = "disk I/O error"
    raise sqlite3.OperationalError(msg)
