"""The SQLite store: conflicts, processes, foreign files, full and locked disks, forks."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock
from urllib.parse import quote

import pytest

from versioning.errors import CorruptLogError, InvalidArgumentError, NewerFormatError, StoreError
from versioning.ids import stream_of
from versioning.store import sqlite as room
from versioning.store import sqlite_connections as lines
from versioning.store.contract import EVERY, LAST_KEY, LIVE, AppendConflict, KeptRow, Row, RowFilter
from versioning.store.format import decode
from versioning.store.opening import open_store
from versioning.store.sqlite import SQLiteRecorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent
STREAM = stream_of("default", "m")
OTHER = stream_of("default", "n")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")


def row(sequence: int, stream: str = STREAM, key: str | None = None, state: bytes = b"{}") -> Row:
    return Row(stream, sequence, "deleted.1", state, key)


def rows(count: int, stream: str = STREAM, after: int = 0) -> list[Row]:
    return [row(sequence, stream) for sequence in range(after + 1, after + count + 1)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "models.db"


@pytest.fixture
def file(path: Path) -> Iterator[SQLiteRecorder]:
    with contextlib.closing(SQLiteRecorder(path, timeout_s=0.05)) as recorder:
        yield recorder


@pytest.fixture(params=["file", "memory"])
def recorder(request: pytest.FixtureRequest, path: Path) -> Iterator[SQLiteRecorder]:
    place = path if request.param == "file" else None
    with contextlib.closing(SQLiteRecorder(place, timeout_s=0.05)) as recorder:
        yield recorder


@pytest.fixture
def raw(path: Path) -> Iterator[sqlite3.Connection]:
    """Somebody else's connection to the same file."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=0.05)) as connection:
        yield connection


def connections(recorder: SQLiteRecorder) -> lines.FileConnections:
    found = recorder._connections
    assert isinstance(found, lines.FileConnections)
    return found


def writer(recorder: SQLiteRecorder) -> sqlite3.Connection:
    found = connections(recorder)._writer
    assert found is not None
    return found


def in_thread(task: Callable[[], object]) -> None:
    """Run a task in another thread; raise what it raised."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            task()
        except BaseException as failure:  # noqa: BLE001 - it is raised again below
            failures.append(failure)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    if failures:
        raise failures[0]


class TestAppending:
    def test_positions_are_contiguous_from_1(self, recorder: SQLiteRecorder) -> None:
        assert recorder.head() == 0
        assert list(recorder.append([])) == []
        assert list(recorder.append(rows(1))) == [1]
        assert list(recorder.append(rows(3, OTHER))) == [2, 3, 4]
        assert list(recorder.append(rows(250, OTHER, after=3))) == list(range(5, 255))
        assert list(recorder.append(rows(1, after=1))) == [255]
        assert recorder.head() == 255
        assert [position for position, *_ in recorder.log(0, 1_000)] == list(range(1, 256))

    @pytest.mark.parametrize("count", [1, 2, 100, 101, 300])
    def test_an_append_is_all_or_nothing(self, recorder: SQLiteRecorder, count: int) -> None:
        recorder.append([row(count)])
        with pytest.raises(AppendConflict):
            recorder.append(rows(count))
        assert recorder.head() == 1
        assert list(recorder.append(rows(count, OTHER))) == list(range(2, count + 2))

    def test_a_key_is_used_once_in_a_stream(self, recorder: SQLiteRecorder) -> None:
        recorder.append([row(1, key="k"), row(2)])
        with pytest.raises(AppendConflict):
            recorder.append([row(3, key="k")])
        recorder.append([row(3, key="K")])
        recorder.append([row(1, OTHER, key="k")])
        assert recorder.find_key(STREAM, "k") == (1, 1, "deleted.1", b"{}")
        assert recorder.find_key(OTHER, "k") == (4, 1, "deleted.1", b"{}")
        assert recorder.find_key(STREAM, "other") is None

    def test_another_process_that_was_first_is_a_conflict(self, file: SQLiteRecorder, path: Path) -> None:
        code = (
            "import pathlib, sys\n"
            "from versioning.store.format import Row\n"
            "from versioning.store.sqlite import SQLiteRecorder\n"
            f"SQLiteRecorder(pathlib.Path(sys.argv[1])).append([Row({STREAM!r}, 1, 'deleted.1', b'theirs', 'k')])"
        )
        subprocess.run([sys.executable, "-c", code, str(path)], check=True, cwd=ROOT)
        with pytest.raises(AppendConflict):
            file.append([row(1, state=b"ours")])
        with pytest.raises(AppendConflict):
            file.append([row(2, key="k", state=b"ours")])
        assert file.tail(STREAM, 0) == [(1, 1, "deleted.1", b"theirs")]
        assert list(file.append([row(2, state=b"ours")])) == [2]

    @pytest.mark.parametrize("count", [1, 200])
    def test_what_the_table_refuses_otherwise_is_an_error_and_no_conflict(
        self, recorder: SQLiteRecorder, count: int
    ) -> None:
        broken = Row(STREAM, 1_000, "t", None)  # type: ignore[arg-type]
        with pytest.raises(StoreError, match="NOT NULL"):
            recorder.append([*rows(count - 1), broken])
        assert recorder.head() == 0
        assert list(recorder.append(rows(1))) == [1]

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
    def test_a_tail_is_what_lies_between_two_sequences(self, recorder: SQLiteRecorder) -> None:
        recorder.append(rows(3))
        recorder.append(rows(1, OTHER))
        recorder.append(rows(2, after=3))
        assert [(position, sequence) for position, sequence, _, _ in recorder.tail(STREAM, 2)] == [
            (3, 3),
            (5, 4),
            (6, 5),
        ]
        assert [sequence for _, sequence, _, _ in recorder.tail(STREAM, 1, 4)] == [2, 3, 4]
        assert recorder.tail(STREAM, 5) == []
        assert recorder.tail(STREAM, 0)[-1] == (6, 5, "deleted.1", b"{}")
        assert recorder.tail(stream_of("x", "y"), 0) == []

    def test_ranges_of_several_streams_come_at_once_stream_by_stream(self, recorder: SQLiteRecorder) -> None:
        recorder.append(rows(3))
        recorder.append(rows(2, OTHER))
        recorder.append(rows(2, after=3))
        spans = {STREAM: (1, 4), OTHER: (0, 2**63 - 1), stream_of("x", "y"): (0, 5)}
        expected = [
            (row[0], stream, *row[1:]) for stream in sorted(spans) for row in recorder.tail(stream, *spans[stream])
        ]
        assert recorder.ranges(spans) == expected
        assert len(expected) == 5
        assert recorder.ranges({}) == []

    def test_the_log_is_what_lies_between_two_positions(self, recorder: SQLiteRecorder) -> None:
        recorder.append(rows(3))
        recorder.append(rows(1, OTHER))
        assert [position for position, *_ in recorder.log(1, 10)] == [2, 3, 4]
        assert [position for position, *_ in recorder.log(0, 10, 2)] == [1, 2]
        assert recorder.log(3, 1) == [(4, OTHER, 1, "deleted.1", b"{}")]

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
            in_thread(file.head)
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

    @pytest.mark.parametrize(
        "name",
        ["a?b.db", "a?mode=memory", "a#b", "a%20b", "a b", "größe", ":memory:", "file:x", "'q\"", "a&b;c", "%", "\n"],
    )
    def test_a_path_is_taken_literally(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        places: list[Path | str] = [tmp_path / name, Path(name), f"sqlite:///{tmp_path}/{quote(name)}"]
        if name != ":memory:":  # as a relative URL it is refused
            places.append(f"sqlite:///{quote(name)}")
        monkeypatch.chdir(tmp_path)
        for count, place in enumerate(places, 1):
            with contextlib.closing(open_store(place)) as recorder:
                monkeypatch.chdir("/")  # what was relative stays where it was
                assert recorder.append(rows(1, stream_of("", str(count))))[-1] == count
                assert recorder.head() == count
                assert recorder.path == tmp_path / name
                monkeypatch.chdir(tmp_path)
            assert os.listdir(tmp_path) == [name]  # noqa: PTH208 - names, whatever a path makes of them

    def test_a_missing_folder_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="Make the folder first"):
            SQLiteRecorder(tmp_path / "missing" / "models.db")
        with pytest.raises(StoreError, match="is a folder"):
            SQLiteRecorder(tmp_path)

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
                assert snapshot.view_position("v") == (2, 9)
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

    def test_tables_that_another_process_made_meanwhile_are_taken(self, path: Path) -> None:
        """Between looking and locking, somebody else made them."""
        SQLiteRecorder(path).close()
        with (
            contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection,
            mock.patch.object(lines, "_is_ours", side_effect=[False, True]),
        ):
            lines.migrate(connection, "It")
            assert not connection.in_transaction

    def test_eight_processes_open_a_new_file_at_once(self, tmp_path: Path) -> None:
        count, rounds = 8, 6
        code = (
            "import pathlib, sys\n"
            "from versioning.store.format import Row\n"
            "from versioning.store.sqlite import SQLiteRecorder\n"
            "print('ready', flush=True)\n"
            "for line in sys.stdin:\n"
            "    try:\n"
            "        recorder = SQLiteRecorder(pathlib.Path(line.rstrip()), durability='checkpoint')\n"
            "        recorder.append([Row(sys.argv[1] * 32, 1, 'deleted.1', b'')])\n"
            "        print(recorder.head() > 0, flush=True)\n"
            "        recorder.close()\n"
            "    except Exception as error:\n"
            "        print(repr(error), flush=True)\n"
        )
        with contextlib.ExitStack() as stack:
            processes = []
            for number in range(count):
                process = subprocess.Popen(
                    [sys.executable, "-c", code, str(number)],
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                processes.append(stack.enter_context(process))
                assert process.stdin is not None
                stack.callback(process.stdin.close)
            for process in processes:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
            for number in range(rounds):
                path = tmp_path / f"{number}.db"
                for process in processes:
                    assert process.stdin is not None
                    process.stdin.write(f"{path}\n")
                    process.stdin.flush()
                answers = [process.stdout.readline() for process in processes if process.stdout]
                assert answers == ["True\n"] * count
                with contextlib.closing(SQLiteRecorder(path)) as recorder:
                    assert recorder.head() == count


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
            in_thread(lambda: recorder.append(rows(1)))
        recorder._connections.give_writer()
        assert list(recorder.append(rows(1))) == [1]


class TestClosing:
    def test_after_it_everything_is_an_error_and_a_second_time_is_fine(self, recorder: SQLiteRecorder) -> None:
        recorder.append(rows(1))
        recorder.head()
        waiter = recorder.waiter()
        recorder.close()
        recorder.close()
        questions: list[Callable[[], object]] = [
            lambda: recorder.append(rows(1)),
            lambda: recorder.tail(STREAM, 0),
            lambda: recorder.ranges({STREAM: (0, 1)}),
            lambda: recorder.log(0, 1),
            recorder.head,
            lambda: recorder.find_key(STREAM, "k"),
            recorder.waiter,
            lambda: waiter.wait(1),
            lambda: recorder.snapshot().__enter__(),
            lambda: recorder.write_view("v", 0, 1, 1, []),
            lambda: recorder.swap_view("a", "b"),
            lambda: recorder.drop_view("a"),
        ]
        for question in questions:
            with pytest.raises(StoreError, match="closed"):
                question()

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
            in_thread(file.close)
            assert len(snapshot.log(0, 10)) == 1
            file._connections.give_writer()
        assert os.listdir(path.parent) == [path.name]  # noqa: PTH208 - as above

    def test_a_memory_that_a_thread_holds_is_closed_for_the_others(self) -> None:
        recorder = SQLiteRecorder(None, timeout_s=0.01)
        with recorder.snapshot() as snapshot:
            in_thread(recorder.close)
            assert snapshot.log(0, 1) == []
            recorder.close()
            with pytest.raises(StoreError):
                snapshot.log(0, 1)

    def test_a_recorder_that_is_dropped_is_closed(self, path: Path) -> None:
        recorder = SQLiteRecorder(path)
        recorder.append(rows(1))
        kept = recorder._connections
        del recorder
        gc.collect()
        with pytest.raises(StoreError, match="closed"):
            kept.take_reader()
        assert os.listdir(path.parent) == [path.name]  # noqa: PTH208 - as above


def kept(model_name: str, *, live: bool = True, workspace: str = "w", state: bytes = b"") -> KeptRow:
    return KeptRow(workspace, model_name, f"key of {model_name}", live, state)


class TestKeptViews:
    def test_rows_and_position_are_kept_together(self, recorder: SQLiteRecorder) -> None:
        with recorder.snapshot() as snapshot:
            assert snapshot.view_position("v") is None
            assert snapshot.view_rows("v", ["key of a"]) == []
            assert snapshot.view_page("v", "w", EVERY) == []
        assert recorder.write_view("v", 0, 7, 70, [kept("a", state=b"1"), kept("b")])
        assert recorder.write_view("v", 7, 9, 90, [kept("a", live=False, state=b"2")])
        with recorder.snapshot() as snapshot:
            position = snapshot.view_position("v")
            assert position is not None
            assert (position.position, position.latest_us) == (9, 90)
            assert snapshot.view_rows("v", ["key of a", "key of z"]) == [kept("a", live=False, state=b"2")]
            assert snapshot.view_rows("v", []) == []
            assert snapshot.view_position("w") is None

    @pytest.mark.parametrize(("expected", "there"), [(6, 7), (0, 7), (8, 7), (1, None)])
    def test_nothing_is_kept_on_top_of_another_position(
        self, recorder: SQLiteRecorder, expected: int, there: int | None
    ) -> None:
        if there is not None:
            assert recorder.write_view("v", 0, there, 70, [])
        assert not recorder.write_view("v", expected, 9, 90, [kept("a")])
        with recorder.snapshot() as snapshot:
            assert snapshot.view_position("v") == (None if there is None else (there, 70))
            assert snapshot.view_rows("v", ["key of a"]) == []

    def test_nobody_waits_for_a_lock_to_keep_a_view(
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
            in_thread(lambda: recorder.write_view("v", 0, 1, 1, []) and pytest.fail("it waited"))

    def test_a_trouble_while_keeping_a_view_leaves_the_connection_usable(self, file: SQLiteRecorder) -> None:
        writer(file).execute("BEGIN")
        with pytest.raises(StoreError, match="transaction"):
            file.write_view("v", 0, 1, 1, [])
        broken: Any = KeptRow("w", "m", "k", live=True, state=None)  # type: ignore[arg-type]
        with pytest.raises(StoreError, match="NOT NULL"):
            file.write_view("v", 0, 1, 1, [broken])
        assert file.write_view("v", 0, 1, 1, [kept("a")])

    def test_many_rows_are_found_at_once(self, recorder: SQLiteRecorder) -> None:
        names = [f"m{number}" for number in range(40_000)]
        assert recorder.write_view("v", 0, 1, 1, [kept(name) for name in names])
        with recorder.snapshot() as snapshot:
            found = snapshot.view_rows("v", [f"key of {name}" for name in names])
        assert {one.model_name for one in found} == set(names)

    def test_pages_are_in_the_order_of_code_points(self, recorder: SQLiteRecorder) -> None:
        names = ["", " ", "Z", "a", "a\u0301", "é", "ﬀ", "\ue000", "\uffff", "\U00010000", "日本"]
        shuffled = [kept(name, live=index % 3 > 0) for index, name in enumerate(names)]
        random.Random(1).shuffle(shuffled)
        assert recorder.write_view("v", 0, 1, 1, [*shuffled, kept("b", workspace="other")])
        assert recorder.write_view("u", 0, 1, 1, [kept("b")])
        in_order = sorted(names)
        live = [name for name in in_order if names.index(name) % 3 > 0]
        with recorder.snapshot() as snapshot:

            def page(after: str, limit: int | None, *, live_only: bool) -> list[str]:
                among = LIVE if live_only else EVERY
                return [one.model_name for one in snapshot.view_page("v", "w", among, (after, LAST_KEY), limit)]

            assert page("", None, live_only=False) == in_order[1:]
            assert page("", None, live_only=True) == live
            assert page("", 2, live_only=False) == in_order[1:3]
            assert [one.model_name for one in snapshot.view_page("v", "w", EVERY)] == in_order
            for after in in_order:
                behind = in_order[in_order.index(after) + 1 :]
                assert page(after, 4, live_only=False) == behind[:4]
                assert page(after, 2, live_only=True) == [name for name in behind if name in live][:2]

    def test_a_page_goes_on_behind_a_key_and_has_those_that_can_matter_to_a_cut(self, recorder: SQLiteRecorder) -> None:
        wanted = [
            KeptRow("w", "m", "a", True, b"", 1, 10, 9, 90),  # noqa: FBT003 - a column
            KeptRow("w", "m", "b", False, b"", 2, 20, 4, 40),  # noqa: FBT003 - a column
            KeptRow("w", "m", "c", False, b"", 3, 30, 8, 30),  # noqa: FBT003 - a column
            KeptRow("w", "n", "d", True, b"", 4, 40, 4, 40),  # noqa: FBT003 - a column
        ]
        assert recorder.write_view("v", 0, 9, 90, wanted)
        with recorder.snapshot() as snapshot:

            def keys(among: RowFilter, after: tuple[str, str] = ("", ""), limit: int | None = None) -> str:
                return "".join(one.key for one in snapshot.view_page("v", "w", among, after, limit))

            assert keys(EVERY) == "abcd"
            assert keys(EVERY, ("m", "a")) == "bcd"
            assert keys(EVERY, ("m", "a"), 1) == "b"
            assert keys(LIVE) == "ad"
            assert keys(RowFilter(upto_position=3)) == keys(RowFilter(upto_us=39)) == "a"
            assert keys(RowFilter(behind_position=4)) == "acd"
            assert keys(RowFilter(behind_us=30)) == "abd"
            assert keys(RowFilter(2, 19, 0, 0)) == "a"

    def test_rows_of_streams_come_in_their_order_up_to_a_position(self, recorder: SQLiteRecorder) -> None:
        for stream in (OTHER, STREAM, OTHER):
            recorder.append(rows(2, stream, after=len(recorder.tail(stream, 0))))
        one, two = sorted((STREAM, OTHER))
        with recorder.snapshot() as snapshot:

            def places(after: tuple[str, int], limit: int, upto: int | None, *streams: str) -> list[tuple[str, int]]:
                return [row[1:3] for row in snapshot.tails(streams, after, limit, upto)]

            whole = sorted((stream, row[1]) for stream in (one, two) for row in recorder.tail(stream, 0))
            assert places(("", 0), 9, None, two, one) == whole
            assert places(whole[1], 3, None, one, two) == whole[2:5]
            assert places(("", 0), 9, 4, one, two) == [place for place in whole if place[1] <= 2]
            assert places(("", 0), 9, None, OTHER) == [place for place in whole if place[0] == OTHER]
            assert places(("", 0), 9, None) == []

    def test_a_page_reads_no_more_than_it_gives(self, file: SQLiteRecorder, raw: sqlite3.Connection) -> None:
        for statement, values in ((lines.SQL["page_live"], 7), (lines.SQL["page"], 9)):
            plan = [detail for *_, detail in raw.execute(f"EXPLAIN QUERY PLAN {statement}", (1,) * values)]
            searches = [detail for detail in plan if "kept_rows" in detail]
            assert all("USING INDEX kept_rows_by_name" in detail for detail in searches)
            assert not any("TEMP B-TREE" in detail for detail in plan)
        assert file.head() == 0

    def test_a_view_that_was_built_beside_takes_the_name(self, recorder: SQLiteRecorder) -> None:
        assert recorder.write_view("v", 0, 5, 5, [kept("old")])
        assert recorder.write_view("v+1", 0, 6, 6, [kept("new")])
        recorder.swap_view("v+1", "v")
        recorder.swap_view("v+2", "v")  # there is none: nothing changes
        with recorder.snapshot() as snapshot:
            assert snapshot.view_position("v") == (6, 6)
            assert snapshot.view_position("v+1") is None
            assert [one.model_name for one in snapshot.view_page("v", "w", EVERY)] == ["new"]
        recorder.drop_view("v")
        recorder.drop_view("v")
        with recorder.snapshot() as snapshot:
            assert snapshot.view_position("v") is None
        assert recorder.write_view("u", 0, 1, 1, [])
        with recorder.snapshot() as snapshot:
            assert snapshot.view_page("u", "w", EVERY) == []

    def test_a_kept_text_that_is_not_utf_8_is_an_error(self, file: SQLiteRecorder, raw: sqlite3.Connection) -> None:
        assert file.write_view("v", 0, 1, 1, [kept("a")])
        raw.execute("UPDATE kept_rows SET model_name=CAST(x'ff' AS TEXT)")
        with file.snapshot() as snapshot, pytest.raises(StoreError, match="Build the views anew"):
            snapshot.view_rows("v", ["key of a"])


class TestSnapshots:
    def test_what_is_recorded_meanwhile_is_not_seen(self, file: SQLiteRecorder) -> None:
        file.append(rows(1))
        with file.snapshot() as snapshot:
            assert len(snapshot.log(0, 10)) == 1
            file.append(rows(1, after=1))
            assert file.write_view("v", 0, 1, 1, [])
            assert len(snapshot.log(0, 10)) == 1
            assert snapshot.view_position("v") is None
            assert len(file.log(0, 10)) == 2

    def test_a_memory_stands_still_for_the_others(self) -> None:
        with contextlib.closing(SQLiteRecorder(None, timeout_s=0.05)) as recorder:
            with recorder.snapshot() as snapshot:
                with pytest.raises(StoreError):
                    in_thread(lambda: recorder.append(rows(1)))
                assert snapshot.log(0, 10, 5) == []
            in_thread(lambda: recorder.append(rows(1)))

    def test_after_its_end_it_answers_nothing(self, recorder: SQLiteRecorder) -> None:
        with recorder.snapshot() as snapshot:
            pass
        with pytest.raises(StoreError, match="ended"):
            snapshot.log(0, 1)

    def test_an_error_inside_ends_it(self, recorder: SQLiteRecorder) -> None:
        def ask() -> None:
            with recorder.snapshot() as snapshot:
                snapshot.log(0, 1)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            ask()
        assert list(recorder.append(rows(1))) == [1]
        assert recorder.head() == 1

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

    def test_what_another_recorder_records_is_noticed(self, file: SQLiteRecorder, path: Path) -> None:
        with contextlib.closing(SQLiteRecorder(path)) as other:
            waiter = file.waiter()
            other.append(rows(1))
            assert waiter.wait(1)

    def test_what_is_recorded_while_it_waits_is_noticed_soon(self, recorder: SQLiteRecorder) -> None:
        waiter = recorder.waiter()
        threading.Timer(0.02, recorder.append, [rows(1)]).start()
        begun = time.monotonic()
        assert waiter.wait(10)
        assert time.monotonic() - begun < 5

    def test_several_wait_at_once(self, recorder: SQLiteRecorder) -> None:
        waiters = [recorder.waiter() for _ in range(3)]
        recorder.append(rows(1))
        assert all(waiter.wait(1) for waiter in waiters)

    def test_closing_it_elsewhere_ends_the_waiting(self, recorder: SQLiteRecorder) -> None:
        waiter = recorder.waiter()
        threading.Timer(0.02, waiter.close).start()
        begun = time.monotonic()
        assert not waiter.wait(10)
        assert time.monotonic() - begun < 5
        recorder.append(rows(1))
        assert not waiter.wait(0)

    def test_a_connection_that_broke_is_replaced(self, file: SQLiteRecorder) -> None:
        waiter = file.waiter()
        watch = connections(file)._watch
        assert watch is not None
        watch.close()
        with pytest.raises(StoreError):
            waiter.wait(0)
        file.append(rows(1))
        assert waiter.wait(1)


def in_child(task: Callable[[], object]) -> str:
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

        assert in_child(task) == "[2] 2 True"
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
        assert in_child(opened) == "[]"

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
                assert "StoreError: The store in memory was in use while this process was forked" in in_child(task)
            assert in_child(recorder.close) == "None"
            with recorder.snapshot() as snapshot:
                assert "forked" in in_child(lambda: snapshot.log(0, 1))
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
                assert "StoreError" in (answer := in_child(task))
                assert "forked" in answer
            assert in_child(snapshot_in_child) == "it was not used"
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
        assert in_child(file.head) == "1"
        thread.join()

    # What runs in a child, once more in this process, where it is measured.

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


class TestPlaces:
    @pytest.mark.parametrize(
        ("place", "durability", "timeout_ms"),
        [
            ("sqlite:///x.db", 2, 5_000),
            ("sqlite:///x.db?", 2, 5_000),
            ("sqlite:///x.db?durability=commit", 2, 5_000),
            ("sqlite:///x.db?durability=checkpoint&timeout_s=0.25", 1, 250),
            ("sqlite:///x.db?timeout_s=86400", 2, 86_400_000),
        ],
    )
    def test_a_url_of_a_file_has_options(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, durability: int, timeout_ms: int
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with contextlib.closing(open_store(place)) as recorder:
            assert isinstance(recorder, SQLiteRecorder)
            assert recorder.path == tmp_path / "x.db"
            assert writer(recorder).execute("PRAGMA synchronous").fetchone() == (durability,)
            assert writer(recorder).execute("PRAGMA busy_timeout").fetchone() == (timeout_ms,)

    def test_a_memory_has_no_path(self) -> None:
        with contextlib.closing(open_store("memory:")) as recorder:
            assert recorder.path is None

    @pytest.mark.parametrize(
        "place",
        [
            "",
            " ",
            "models.db",
            "/abs/models.db",
            "memory",
            "memory:x",
            "memory:?timeout_s=1",
            "MEMORY:",
            "sqlite:",
            "sqlite:x.db",
            "sqlite://x.db",
            "sqlite://user:secret@host/x.db",
            "sqlite:///",
            "sqlite:///?timeout_s=1",
            "sqlite:///:memory:",
            "sqlite:///%3Amemory%3A",
            "sqlite:///a#b",
            "sqlite:///a%",
            "sqlite:///a%zz",
            "sqlite:///a%00b",
            "sqlite:///a\0b",
            "sqlite:///a%ff",
            "sqlite:///a\ud800",
            "sqlite:///a?timeout_s=%ff",
            "sqlite:///a?timeout_s=0",
            "sqlite:///a?timeout_s=-1",
            "sqlite:///a?timeout_s=nan",
            "sqlite:///a?timeout_s=1e3",
            "sqlite:///a?timeout_s=86401",
            "sqlite:///a?timeout_s=1&timeout_s=1",
            "sqlite:///a?durability=none",
            "sqlite:///a?durability=",
            "sqlite:///a?password=secret",
            "sqlite:///a?mode=memory",
            "sqlite:///a?&",
            "mysql://user:secret@host/db",
            "user:secret@host",
            "file:///x.db",
            "\ud800:secret",
            "\0",
            ":" * 10_000,
            None,
            7,
            b"memory:",
            Path("a\0b"),
            Path("a\ud800"),
        ],
    )
    def test_another_form_is_refused_and_no_password_is_shown(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        place: Any,  # noqa: ANN401 - of any type
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(InvalidArgumentError) as caught:
            open_store(place)
        assert "secret" not in f"{caught.value} {caught.value.to_dict()}"
        assert caught.value.hint
        assert len(str(caught.value)) < 500
        assert str(caught.value).encode()
        assert os.listdir(tmp_path) == []  # noqa: PTH208 - nothing was made


class TestTheWarningAboutOldReleasesOfSQLite:
    """SQLite before 3.51.3 can lose a commit when several connections write: it is said once, in the log."""

    @pytest.fixture(autouse=True)
    def _not_yet_warned(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(room, "_warned", threading.Event())

    def test_an_old_release_is_named_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 2))
        recorder = SQLiteRecorder(tmp_path / "models.db")
        recorder.notice_other_writer()
        recorder.notice_other_writer()
        recorder.close()
        assert len(caplog.messages) == 1
        assert "3.51.3" in caplog.messages[0]

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
