"""The PostgreSQL store, and what it alone can do: positions that are drawn, one connection that listens, the time."""

from __future__ import annotations

import contextlib
import os
import time
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from tests import postgres_tools
from tests.postgres_tools import begin_append, execute, schema_of
from tests.side_by_side import Task, ended_well, in_child, until
from tests.stores import STREAM, postgres_recorder, row, rows
from versioning.errors import StoreError
from versioning.store import postgres as room
from versioning.store import postgres_connections as lines
from versioning.store import postgres_libpq as libpq
from versioning.store.contract import AppendConflict, KeptRow

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from tests.postgres_server import PostgresServer
    from versioning.store.postgres import PostgresRecorder
    from versioning.store.postgres_listener import Waiter

server = postgres_tools.server
url = postgres_tools.url
recorder = postgres_tools.recorder
raw = postgres_tools.raw
proxy = postgres_tools.proxy


class TestAppending:
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
        with pytest.raises(StoreError, match="behind its log"):
            recorder.append(rows(1, after=1))

    def test_a_large_append_goes_through(self, recorder: PostgresRecorder) -> None:
        large = [row(1, state=os.urandom(20_000_000)), row(2, state=b"")]
        recorder.append(large)
        assert [one[3] for one in recorder.tail(STREAM, 0)] == [one.state for one in large]


class TestKeptViews:
    def test_a_view_is_kept_under_a_lock_of_its_own(
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

    def test_a_text_that_the_server_can_not_hold_keeps_nothing(self, recorder: PostgresRecorder) -> None:
        with pytest.raises(StoreError, match="can't hold a text of this form"):
            recorder.write_view("v", 0, 1, 0, [KeptRow("w", "m\0", "k", True, b"")])  # noqa: FBT003 - a column
        assert recorder.write_view("v", 0, 1, 0, [])


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

    def test_the_connection_that_listens_ends_with_the_last_who_waits(self, server: PostgresServer, url: str) -> None:
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
