"""Gaps in the positions of a PostgreSQL log: waited for where they can be filled, and passed over where not."""

from __future__ import annotations

import contextlib
import random
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests import postgres_tools
from tests.postgres_tools import begin_append, execute, schema_of
from tests.side_by_side import Task, ended_well, in_child
from tests.stores import OTHER, STREAM, positions, postgres_recorder, row, rows
from versioning.errors import StoreError
from versioning.store import postgres_gaps
from versioning.store import postgres_libpq as libpq
from versioning.store.contract import AppendConflict
from versioning.store.framework import LogRecorder
from versioning.store.postgres import PostgresRecorder

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from tests.postgres_server import PostgresServer

server = postgres_tools.server
url = postgres_tools.url
recorder = postgres_tools.recorder
raw = postgres_tools.raw
proxy = postgres_tools.proxy


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

    def test_an_old_gap_is_not_looked_at_again(self, recorder: PostgresRecorder, raw: psycopg.Connection[Any]) -> None:
        recorder.append(rows(1))
        execute(raw, f"SELECT nextval('{schema_of(recorder)}.stored_positions')")
        recorder.append(rows(3, after=1))
        with contextlib.closing(PostgresRecorder(recorder._pool.settings)) as another:
            assert (positions(another.log(3, 10)), another.log(5, 10), another._pool.settled) == ([4, 5], [], 0)
        assert recorder.head() == 5
        begin_append(raw, recorder, 1)
        recorder._pool.settings = recorder._pool.settings._replace(lock_timeout_s=0)  # nobody is waited for
        assert positions(recorder.log(0, 2)) == [1, 3]
        assert positions(recorder.log(0, 10)) == [1, 3, 4, 5]
        raw.rollback()

    @pytest.mark.parametrize("question", ["log", "head", "snapshot"])
    def test_where_positions_are_given_again_what_was_settled_is_not_believed(
        self, recorder: PostgresRecorder, raw: psycopg.Connection[Any], question: str
    ) -> None:
        """An older copy was restored, and the log has grown beyond what was settled before."""
        states = [row(sequence, state=b"before %d" % sequence) for sequence in range(1, 6)]
        recorder.append(states)
        assert (recorder.head(), recorder._pool.settled) == (5, 5)
        table, sequence = f"{schema_of(recorder)}.stored_events", f"{schema_of(recorder)}.stored_positions"
        execute(raw, f"DELETE FROM {table} WHERE position>2")
        execute(raw, f"SELECT setval('{sequence}',2)")
        begin_append(raw, recorder, 1)
        with contextlib.closing(PostgresRecorder(recorder._pool.settings)) as another:
            another.append(rows(4, after=2))

        def ask() -> list[int]:
            if question == "snapshot":
                with recorder.snapshot() as snapshot:
                    return positions(snapshot.log(2, 10))
            if question == "head":
                recorder.head()
            return positions(recorder.log(2, 10))

        answer = Task(ask)
        time.sleep(0.05)
        assert not answer.is_over
        raw.commit()
        assert answer.result() == [3, 4, 5, 6, 7]

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

        def be_late(
            self: libpq.Connection, settled: int, counted_max: int, link: bytes
        ) -> tuple[int, str | None, bytes]:
            begun.append(settled)
            if len(begun) == 2:  # between the settling and the snapshot
                begin_append(raw, recorder, 1)
                with contextlib.closing(PostgresRecorder(recorder._pool.settings)) as another:
                    another.append(rows(1, after=2))
            return begin(self, settled, counted_max, link)

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
