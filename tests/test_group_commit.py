"""Appends of several threads share one transaction; each of them is told what became of its own."""

import functools
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.stores import STREAM, linked, row
from versioning.errors import StoreError
from versioning.store import group_commit
from versioning.store.contract import AppendConflict
from versioning.store.sqlite import SQLiteRecorder
from versioning.store.sqlite_connections import FileConnections


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[SQLiteRecorder]:
    opened = SQLiteRecorder(tmp_path / "models.db", timeout_s=2)
    yield opened
    opened.close()


def files(recorder: SQLiteRecorder) -> FileConnections:
    assert isinstance(recorder._connections, FileConnections)
    return recorder._connections


def until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def _is_there(connections: FileConnections, place: int) -> bool:
    return connections.group._is_led and len(connections.group._waiting) == place


@contextmanager
def together(recorder: SQLiteRecorder, *tasks: Callable[[], object]) -> Iterator[list[Any]]:
    """Start threads one after the other while nobody can write, so that the first one leads the rest."""
    connections, outcomes = files(recorder), [None] * len(tasks)

    def run(place: int) -> None:
        try:
            outcomes[place] = tasks[place]()  # type: ignore[call-overload]
        except BaseException as error:  # noqa: BLE001 - it is looked at by the test
            outcomes[place] = error  # type: ignore[call-overload]

    threads = [threading.Thread(target=run, args=(place,), daemon=True) for place in range(len(tasks))]
    writer = connections.take_writer()
    for place, thread in enumerate(threads):
        thread.start()
        until(functools.partial(_is_there, connections, place))
    yield outcomes
    assert writer is connections._writer
    connections.give_writer()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert not connections.group._is_led
    assert not connections.group._waiting


def test_they_share_one_transaction(recorder: SQLiteRecorder) -> None:
    statements: list[str] = []
    with together(recorder, *(lambda n=n: recorder.append([row(1, stream=f"{n:032x}")]) for n in range(8))) as outcomes:
        writer = files(recorder)._writer
        assert writer is not None
        writer.set_trace_callback(statements.append)
    assert sorted(outcome[0] for outcome in outcomes) == list(range(1, 9))
    assert [statement for statement in statements if statement.startswith(("BEGIN", "COMMIT"))] == [
        "BEGIN IMMEDIATE",
        "COMMIT",
    ]
    assert [one[0] for one in recorder.log(0, 99)] == list(range(1, 9))


def test_who_is_alone_commits_alone(recorder: SQLiteRecorder) -> None:
    writer = files(recorder)._writer
    assert writer is not None
    statements: list[str] = []
    writer.set_trace_callback(statements.append)
    recorder.append([row(1)])
    assert [statement[:11] for statement in statements] == ["INSERT INTO"]


def test_a_conflict_of_one_does_not_touch_the_others(recorder: SQLiteRecorder) -> None:
    first, second = [row(1), row(2)], [row(2), row(3)]
    tasks = [lambda: recorder.append(first), lambda: recorder.append(second), lambda: recorder.append([row(3)])]
    with together(recorder, *tasks) as outcomes:
        pass
    assert outcomes[0] == range(1, 3)
    assert type(outcomes[1]) is AppendConflict
    assert outcomes[2] == range(3, 4)
    assert [one[1] for one in recorder.tail(STREAM, 0)] == [1, 2, 3]


def test_who_follows_what_is_not_there_does_not_touch_the_others(recorder: SQLiteRecorder) -> None:
    recorder.append([row(1, state=linked(b"a" * 64))])
    wrong, right = row(2, follows=b"b" * 64), row(2, follows=b"a" * 64)
    tasks = [lambda: recorder.append([wrong]), lambda: recorder.append([right]), lambda: recorder.append([wrong])]
    with together(recorder, *tasks) as outcomes:
        pass
    assert [type(outcome) for outcome in outcomes] == [AppendConflict, range, AppendConflict]
    assert [one[1] for one in recorder.tail(STREAM, 0)] == [1, 2]


def test_a_value_that_cannot_be_bound_is_the_error_of_its_own_thread(recorder: SQLiteRecorder) -> None:
    bad = row(1, stream="\ud800")
    tasks = [lambda: recorder.append([row(1)]), lambda: recorder.append([bad]), lambda: recorder.append([row(2)])]
    with together(recorder, *tasks) as outcomes:
        pass
    assert (outcomes[0], outcomes[2]) == (range(1, 2), range(2, 3))
    assert isinstance(outcomes[1], UnicodeEncodeError)


def test_where_the_commit_fails_all_are_told(recorder: SQLiteRecorder) -> None:
    with together(recorder, *(lambda n=n: recorder.append([row(1, stream=f"{n:032x}")]) for n in range(3))) as outcomes:
        writer = files(recorder)._writer
        assert writer is not None
        writer.set_authorizer(lambda action, name, *_: sqlite3.SQLITE_DENY if (action, name) == (22, "COMMIT") else 0)
    assert [type(outcome) for outcome in outcomes] == [StoreError] * 3
    assert len({id(outcome) for outcome in outcomes}) == 3
    writer.set_authorizer(None)
    assert recorder.log(0, 99) == []
    assert recorder.append([row(1)]) == range(1, 2)


def test_where_the_transaction_is_rolled_back_in_between_all_are_told(recorder: SQLiteRecorder) -> None:
    with together(recorder, *(lambda n=n: recorder.append([row(1, stream=f"{n:032x}")]) for n in range(3))) as outcomes:
        writer = files(recorder)._writer
        assert writer is not None
        writer.execute(
            f"CREATE TEMP TRIGGER failing BEFORE INSERT ON main.stored_events WHEN new.originator_id='{1:032x}' "
            "BEGIN SELECT RAISE(ROLLBACK, 'full'); END"
        )
    assert [type(outcome) for outcome in outcomes] == [StoreError] * 3
    assert recorder.log(0, 99) == []


def test_where_the_leader_is_interrupted_the_others_are_told_and_the_store_goes_on(
    recorder: SQLiteRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with together(recorder, *(lambda n=n: recorder.append([row(1, stream=f"{n:032x}")]) for n in range(2))) as outcomes:
        monkeypatch.setattr(files(recorder).group, "_commit", interrupted)
    assert [type(outcome) for outcome in outcomes] == [KeyboardInterrupt, StoreError]
    monkeypatch.undo()
    assert recorder.append([row(1)]) == range(1, 2)


def interrupted_while_waiting(recorder: SQLiteRecorder, at_once: Callable[[], object]) -> None:
    """Append in this thread while another one leads, and get a Ctrl-C."""

    def interrupt(*_: object) -> None:
        at_once()
        raise KeyboardInterrupt

    files(recorder).group._is_led = True
    was = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(KeyboardInterrupt):
            recorder.append([row(1)])
    finally:
        signal.signal(signal.SIGALRM, was)


def test_who_is_interrupted_while_waiting_is_not_waited_for(recorder: SQLiteRecorder) -> None:
    group = files(recorder).group
    interrupted_while_waiting(recorder, lambda: None)
    assert not group._waiting
    group._hand_over()
    assert recorder.append([row(1)]) == range(1, 2)


def test_who_is_interrupted_when_the_lead_comes_hands_it_on(recorder: SQLiteRecorder) -> None:
    interrupted_while_waiting(recorder, files(recorder).group._hand_over)
    assert recorder.append([row(1)]) == range(1, 2)


def test_waiting_is_bounded(tmp_path: Path) -> None:
    recorder = SQLiteRecorder(tmp_path / "models.db", timeout_s=0.2)
    with together(recorder, lambda: recorder.append([row(1)]), lambda: recorder.append([row(2)])) as outcomes:
        until(lambda: all(outcomes))
    assert [type(outcome) for outcome in outcomes] == [StoreError] * 2
    assert recorder.append([row(1)]) == range(1, 2)
    recorder.close()


def test_who_gives_up_before_its_turn_is_not_recorded(recorder: SQLiteRecorder) -> None:
    group = files(recorder).group
    group._is_led = True
    with pytest.raises(StoreError, match="in use by another thread"):
        group.append(lambda _: 1, 0.01)
    assert not group._waiting
    group._hand_over()
    assert recorder.append([row(1)]) == range(1, 2)


def test_a_commit_that_does_not_end_is_not_waited_for_for_ever(recorder: SQLiteRecorder) -> None:
    group = files(recorder).group
    group._is_led = True

    def take() -> None:
        until(lambda: group._waiting)
        group._waiting.clear()

    stuck = threading.Thread(target=take, daemon=True)
    stuck.start()
    with pytest.raises(StoreError, match="did not say in time"):
        group.append(lambda _: 1, 0.05)
    stuck.join()


def test_who_is_being_committed_when_its_time_is_over_waits_for_the_answer(
    recorder: SQLiteRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = files(recorder).group
    group._is_led = True

    class Late:
        """Is not to be had in time; the leader has taken the append in, and then it is done."""

        waits = 0

        def acquire(self, timeout: float | None = None) -> bool:
            self.waits += timeout is not None
            if self.waits == 1:
                taken = group._waiting.popleft()
                taken.position, taken.is_done = 7, True
            return self.waits != 1

    class Waiting(group_commit.PendingAppend):
        def __init__(self, insert: Callable[[sqlite3.Connection], int]) -> None:
            super().__init__(insert)
            self.woken: Any = Late()

    monkeypatch.setattr(group_commit, "PendingAppend", Waiting)
    assert group.append(lambda _: 1, 1) == 7
