"""Connections to PostgreSQL are lost, cut, counted, closed and forked."""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import signal
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from tests import postgres_tools
from tests.forking import answer_of_child, become_a_child, each_fork
from tests.postgres_tools import Proxy, begin_append
from tests.side_by_side import Task, ended_well, in_child, until
from tests.stores import OTHER, STREAM, positions, postgres_recorder, row, rows
from versioning import ModelRegistry
from versioning.errors import StoreError
from versioning.limits import INTEGER_MAX
from versioning.store import postgres_connections as lines
from versioning.store import postgres_libpq as libpq

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from tests.postgres_server import PostgresServer
    from versioning.store.postgres import PostgresRecorder

server = postgres_tools.server
url = postgres_tools.url
recorder = postgres_tools.recorder
raw = postgres_tools.raw
proxy = postgres_tools.proxy


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

    def test_what_is_in_use_when_it_is_closed_is_closed_afterwards(self, server: PostgresServer, url: str) -> None:
        recorder = postgres_recorder(url + "&application_name=closing")
        with recorder.snapshot() as snapshot:
            recorder.close()
            assert snapshot.log(0, 1) == []
        until(lambda: server.connections("closing") == [])

    def test_a_recorder_that_is_dropped_ends_its_connections(self, server: PostgresServer, url: str) -> None:
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
    @each_fork
    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
    def test_parent_and_child_go_on_with_connections_of_their_own(
        self, server: PostgresServer, recorder: PostgresRecorder, fork: Callable[[], int]
    ) -> None:
        recorder.append(rows(1))
        waiter = recorder.waiter()
        waiter.wait(0.01)
        before = set(server.connections())

        def use() -> None:
            recorder.append(rows(1, OTHER))
            assert recorder.head() == 2
            waiter.wait(0.01)
            assert not before & {connection.pg.backend_pid for connection in recorder._pool._open}
            gc.collect()

        assert answer_of_child(use, fork) == "None"
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

    @each_fork
    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
    def test_a_connection_in_use_during_the_fork_is_the_parents(
        self, recorder: PostgresRecorder, fork: Callable[[], int]
    ) -> None:
        with recorder.snapshot() as snapshot:
            assert snapshot.view_position("v") is None

            def use() -> None:
                with pytest.raises(StoreError, match="belongs to the parent process"):
                    snapshot.view_position("other")
                recorder.append(rows(1))

            assert answer_of_child(use, fork) == "None"
            assert snapshot.view_position("third") is None
        assert recorder.head() == 1

    @each_fork
    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
    def test_a_child_that_leaves_a_block_of_its_parent_ends_nothing(
        self, recorder: PostgresRecorder, fork: Callable[[], int]
    ) -> None:
        with contextlib.ExitStack() as stack:
            snapshot = stack.enter_context(recorder.snapshot())

            def leave() -> None:
                stack.close()
                recorder.close()

            assert answer_of_child(leave, fork) == "None"
            assert snapshot.view_position("v") is None

    def test_what_the_child_does_with_what_it_inherited_is_nothing(
        self, recorder: PostgresRecorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
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
            become_a_child(monkeypatch, pool, recorder._listener)
            with pytest.raises(StoreError, match="belongs to the parent process"):
                connection.run("SELECT 1")
            assert pool.free is not free
        assert pool._idle == []
        connection.finish()
        recorder.append(rows(1))
        waiter.close()
