"""What every store promises, whatever engine it is: each test here runs on all of them.

What one engine alone can do stands in `test_sqlite*.py` and `test_postgres*.py`. To add a store: its line in
`stores.STORES`, and this file says what is missing.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import postgres_server, stores
from tests.side_by_side import Task, ended_well, in_child, until
from tests.stores import OTHER, STREAM, Kind, in_threads, linked, positions, row, rows
from versioning.errors import StoreError
from versioning.ids import stream_of
from versioning.limits import INTEGER_MAX
from versioning.store import recorder as shared
from versioning.store.contract import EVERY, LAST_KEY, LIVE, AppendConflict, KeptRow, Row, RowFilter, ViewPosition
from versioning.store.opening import open_store
from versioning.store.recorder import Recorder, statements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from versioning.store.contract import Waiter

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")


class Place:
    """Where a fresh store of a kind is, and the stores that a test opens there."""

    def __init__(self, kind: Kind, folder: Path) -> None:
        self.kind = kind
        self.url = kind.url(folder) + kind.hurried
        self._opened = contextlib.ExitStack()

    def open(self) -> Recorder:
        """Open the store, or open it once more."""
        opened = open_store(self.url)
        assert isinstance(opened, Recorder)
        return self._opened.enter_context(contextlib.closing(opened))

    def close(self) -> None:
        self._opened.close()


def _place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with contextlib.closing(Place(request.param, tmp_path)) as place:
        yield place


place = pytest.fixture(params=stores.STORES, ids=str)(_place)
"""Where a fresh store of every kind is."""
shared_place = pytest.fixture(params=[kind for kind in stores.STORES if kind.shared], ids=str)(_place)
"""The same, of the kinds that several processes can open."""


@pytest.fixture
def store(place: Place) -> Recorder:
    return place.open()


def kept(model_name: str, *, live: bool = True, workspace: str = "w", state: bytes = b"") -> KeptRow:
    return KeptRow(workspace, model_name, f"key of {model_name}", live, state)


def view_position(store: Recorder, name: str) -> ViewPosition | None:
    with store.snapshot() as snapshot:
        return snapshot.view_position(name)


def view_states(store: Recorder, name: str) -> dict[str, bytes]:
    """Return the states of a kept view by the names of their models."""
    with store.snapshot() as snapshot:
        return {one.model_name: one.state for one in snapshot.view_page(name, "w", EVERY)}


def quiet(waiter: Waiter) -> Waiter:
    """Return a waiter when it has reported all that was recorded so far."""
    until(lambda: not waiter.wait(0.02))
    return waiter


class TestOpening:
    def test_a_fresh_one_is_empty(self, store: Recorder) -> None:
        assert store.head() == 0
        assert store.log(0, 10) == []
        assert store.tail(STREAM, 0) == []
        assert view_position(store, "v") is None

    def test_what_was_recorded_is_there_when_it_is_opened_again(self, shared_place: Place) -> None:
        store = shared_place.open()
        store.append([row(1, key="k"), row(2)])
        store.write_view("v", 0, 2, 9, [kept("a", state=b"1")])
        log = store.log(0, 10)
        store.close()
        again = shared_place.open()
        assert again.log(0, 10) == log
        assert again.find_key(STREAM, "k") == (1, 1, "deleted.1", b"{}")
        assert view_position(again, "v") == ViewPosition(2, 9)
        assert view_states(again, "v") == {"a": b"1"}
        assert again.append([row(3)])[0] > 2

    def test_it_knows_its_file_if_it_is_one(self, place: Place) -> None:
        path = place.open().path
        assert path == (None if place.kind.name != "sqlite" else Path(path or "").parent / "models.db")

    @needs_fork
    @pytest.mark.parametrize("present", [False, True])
    def test_eight_processes_open_it_at_once(
        self, shared_place: Place, tmp_path_factory: pytest.TempPathFactory, *, present: bool
    ) -> None:
        for _ in range(4):
            place = Place(shared_place.kind, tmp_path_factory.mktemp("fresh"))
            if present:
                place.open().close()
            gate, opened = os.pipe()

            def work(number: int, place: Place = place, gate: int = gate, opened: int = opened) -> None:
                os.close(opened)
                os.read(gate, 1)  # the end of the pipe: all begin at once
                place.url = place.url.removesuffix(place.kind.hurried)
                place.open().append([row(1, f"{number:032x}")])

            children = [in_child(partial(work, number)) for number in range(8)]
            os.close(gate)
            os.close(opened)
            assert ended_well(*children)
            with contextlib.closing(place):
                assert len(place.open().log(0, 100)) == 8


class TestAppending:
    def test_positions_follow_each_other(self, store: Recorder) -> None:
        assert store.append([]) == range(0)
        assert store.append(rows(1)) == range(1, 2)
        assert store.append(rows(3, OTHER)) == range(2, 5)
        assert store.append(rows(250, OTHER, after=3)) == range(5, 255)
        assert store.append(rows(1_001, STREAM, after=1)) == range(255, 1_256)
        assert store.head() == 1_255
        assert store.log(0, 2_000) == [
            (1, STREAM, 1, "deleted.1", b"{}"),
            *((at, OTHER, at - 1, "deleted.1", b"{}") for at in range(2, 255)),
            *((at, STREAM, at - 253, "deleted.1", b"{}") for at in range(255, 1_256)),
        ]

    @pytest.mark.parametrize("count", [1, 2, 100, 101, 300, 1_001])
    def test_an_append_is_all_or_nothing(self, place: Place, count: int) -> None:
        store = place.open()
        store.append([row(count)])
        store.append([row(1, OTHER)])
        for stream in (STREAM, OTHER):  # the last row is there already, and the first one
            with pytest.raises(AppendConflict):
                store.append(rows(count, stream))
            assert len(store.tail(stream, 0)) == 1
        found = store.append(rows(count, stream_of("default", "o")))
        assert len(found) == count
        assert found[0] == 3 or not place.kind.gapless
        assert positions(store.log(0, INTEGER_MAX)) == [1, 2, *found]

    def test_a_key_is_used_once_in_a_stream(self, store: Recorder) -> None:
        store.append([row(1, key="k"), row(2)])
        for again in ([row(3, key="k")], [row(3, key="k"), row(4)]):
            with pytest.raises(AppendConflict):
                store.append(again)
        assert [sequence for _, sequence, *_ in store.tail(STREAM, 0)] == [1, 2]
        store.append([row(3, key="K")])
        store.append([row(1, OTHER, key="k")])
        assert store.find_key(STREAM, "k") == (1, 1, "deleted.1", b"{}")
        found = store.find_key(OTHER, "k")
        assert found is not None
        assert found[1:] == (1, "deleted.1", b"{}")
        assert store.find_key(STREAM, "other") is store.find_key("f" * 32, "k") is None

    @pytest.mark.parametrize("count", [1, 200])
    def test_what_a_row_can_not_hold_is_an_error_and_no_conflict(self, store: Recorder, count: int) -> None:
        broken = Row(STREAM, 1_000, "t", None)  # type: ignore[arg-type]
        with pytest.raises(StoreError, match=r"(?i)null"):
            store.append([*rows(count - 1), broken])
        assert store.head() == 0
        assert store.tail(STREAM, 0) == []
        assert len(store.append(rows(1))) == 1

    @pytest.mark.parametrize("count", [1, 2, 100, 101, 1_001])
    def test_an_append_follows_the_very_row_that_it_names(self, store: Recorder, count: int) -> None:
        there, elsewhere, more = b"a" * 64, b"b" * 64, rows(count - 1, stream_of("default", "o"))
        store.append([row(1, state=linked(there)), row(1, OTHER, state=linked(elsewhere))])
        for wrong in (row(2, follows=elsewhere), row(3, follows=there), row(2, follows=b""), row(1, follows=there)):
            for together in ([wrong, *more], [*more, wrong]):
                with pytest.raises(AppendConflict):
                    store.append(together)
        assert positions(store.log(0, 10)) == [1, 2]
        one, two = row(2, follows=there), row(2, OTHER, follows=elsewhere)
        assert len(store.append([one, *more, two, row(3), row(3, OTHER)])) == count + 3
        assert [one[1] for one in store.tail(STREAM, 0)] == [1, 2, 3]

    def test_states_and_texts_come_back_as_they_were(self, store: Recorder) -> None:
        wanted = [
            Row(STREAM, 1, "deleted.1", b"", "Ä 'k\" \\ %s $1 {q} 😀"),
            Row(STREAM, 2, "größe; DROP", bytes(range(256)) * 20),
            Row(STREAM, INTEGER_MAX, "deleted.1", os.urandom(3_000_000)),
        ]
        store.append(wanted)
        assert [one[1:] for one in store.log(0, 10)] == [tuple(one[:4]) for one in wanted]
        found = store.find_key(STREAM, wanted[0].key or "")
        assert found is not None
        assert found[1:] == (1, "deleted.1", b"")

    def test_who_was_first_elsewhere_makes_it_a_conflict(self, shared_place: Place) -> None:
        store, other = shared_place.open(), shared_place.open()
        other.append([row(1, key="k", state=b"theirs")])
        for sequence, key in ((1, None), (2, "k")):
            with pytest.raises(AppendConflict):
                store.append([row(sequence, key=key, state=b"ours")])
        assert store.tail(STREAM, 0) == [(1, 1, "deleted.1", b"theirs")]
        store.append([row(2, state=b"ours")])
        assert [one[1:] for one in other.tail(STREAM, 1)] == [(2, "deleted.1", b"ours")]

    def test_several_threads_append_to_one_stream(self, store: Recorder) -> None:
        taken: list[range] = []

        def work() -> None:
            for _ in range(15):
                while True:
                    with contextlib.suppress(AppendConflict):
                        known = store.tail(STREAM, 0)
                        taken.append(store.append(rows(random.choice((1, 2)), after=known[-1][1] if known else 0)))
                        break

        in_threads(*[work] * 4)
        found = store.tail(STREAM, 0)
        assert [sequence for _, sequence, *_ in found] == list(range(1, len(found) + 1))
        assert positions(found) == sorted(position for one in taken for position in one)

    @needs_fork
    def test_several_processes_append_to_one_stream(self, shared_place: Place) -> None:
        def work() -> None:
            shared_place.url = shared_place.url.removesuffix(shared_place.kind.hurried)
            store = shared_place.open()
            for _ in range(20):
                while True:
                    with contextlib.suppress(AppendConflict):
                        known = store.tail(STREAM, 0)
                        store.append(rows(random.choice((1, 2)), after=known[-1][1] if known else 0))
                        break
            store.close()

        shared_place.open().close()
        assert ended_well(*[in_child(work) for _ in range(4)])
        found = shared_place.open().tail(STREAM, 0)
        assert [sequence for _, sequence, *_ in found] == list(range(1, len(found) + 1))
        assert positions(found) == sorted(positions(found))
        assert 80 <= len(found) <= 160


class TestReading:
    def test_a_tail_is_what_lies_between_two_sequences(self, store: Recorder) -> None:
        store.append(rows(3))
        store.append(rows(1, OTHER))
        store.append(rows(2, after=3))
        assert [found[:2] for found in store.tail(STREAM, 2)] == [(3, 3), (5, 4), (6, 5)]
        assert [sequence for _, sequence, *_ in store.tail(STREAM, 1, 4)] == [2, 3, 4]
        assert [sequence for _, sequence, *_ in store.tail(STREAM, 1, 4, 2)] == [2, 3]
        assert [sequence for _, sequence, *_ in store.tail(STREAM, 1, None, 2)] == [2, 3]
        assert store.tail(STREAM, 0)[-1] == (6, 5, "deleted.1", b"{}")
        assert store.tail(STREAM, 5) == store.tail(STREAM, 2, 2) == store.tail("f" * 32, 0) == []

    def test_ranges_of_several_streams_come_at_once_stream_by_stream(self, store: Recorder) -> None:
        store.append(rows(3))
        store.append(rows(2, OTHER))
        store.append(rows(2, after=3))
        spans = {STREAM: (1, 4), OTHER: (0, INTEGER_MAX), stream_of("x", "y"): (0, 5)}
        expected = [
            (found[0], stream, *found[1:]) for stream in sorted(spans) for found in store.tail(stream, *spans[stream])
        ]
        assert store.ranges(spans) == expected
        assert len(expected) == 5
        assert store.ranges({}) == []

    def test_ranges_of_many_streams_come_at_once(self, store: Recorder) -> None:
        streams = [f"{number:032x}" for number in range(2_000)]
        store.append([row(1, stream) for stream in streams])
        assert [found[1] for found in store.ranges(dict.fromkeys(streams, (0, 9)))] == streams

    def test_the_log_is_what_lies_between_two_positions(self, store: Recorder) -> None:
        store.append(rows(4))
        store.append(rows(1, OTHER))
        assert positions(store.log(1, 10)) == [2, 3, 4, 5]
        assert positions(store.log(1, 2)) == [2, 3]
        assert positions(store.log(0, 10, 2)) == [1, 2]
        assert positions(store.log(1, INTEGER_MAX, INTEGER_MAX)) == [2, 3, 4, 5]
        assert store.log(4, 1) == [(5, OTHER, 1, "deleted.1", b"{}")]
        assert store.log(5, 10) == store.log(3, 10, 3) == store.log(7, 10, 9) == []

    def test_the_log_and_its_head_are_those_that_everybody_has(self, shared_place: Place) -> None:
        store, other = shared_place.open(), shared_place.open()
        store.append(rows(5))
        assert positions(other.log(3, 10)) == [4, 5]
        assert other.head() == 5

    def test_the_time_is_that_of_today(self, store: Recorder) -> None:
        assert abs(store.now_us() - time.time_ns() // 1_000) < 5_000_000


class TestKeptViews:
    def test_rows_and_position_are_kept_together(self, store: Recorder) -> None:
        with store.snapshot() as snapshot:
            assert snapshot.view_position("v") is None
            assert snapshot.view_rows("v", ["key of a"]) == snapshot.view_page("v", "w", EVERY) == []
        assert store.write_view("v", 0, 7, 70, [kept("a", state=b"1"), kept("b")])
        assert store.write_view("v", 7, 9, 90, [kept("a", live=False, state=b"2")])
        with store.snapshot() as snapshot:
            assert snapshot.view_position("v") == ViewPosition(9, 90)
            assert snapshot.view_rows("v", ["key of a", "key of z"]) == [kept("a", live=False, state=b"2")]
            assert snapshot.view_rows("v", []) == []
            assert snapshot.view_position("w") is None
        assert store.write_view("w", 0, 1, 1, [])
        with store.snapshot() as snapshot:
            assert snapshot.view_page("w", "w", EVERY) == snapshot.view_rows("w", ["key of a"]) == []

    def test_of_several_rows_with_one_key_the_last_one_is_kept(self, store: Recorder) -> None:
        assert store.write_view("v", 0, 1, 1, [kept("a", state=b"1"), kept("b", state=b"1"), kept("a", state=b"2")])
        assert view_states(store, "v") == {"a": b"2", "b": b"1"}

    @pytest.mark.parametrize(("expected", "there"), [(6, 7), (0, 7), (8, 7), (1, None)])
    def test_nothing_is_kept_on_top_of_another_position(
        self, store: Recorder, expected: int, there: int | None
    ) -> None:
        if there is not None:
            assert store.write_view("v", 0, there, 70, [])
        assert not store.write_view("v", expected, 9, 90, [kept("a")])
        assert view_position(store, "v") == (None if there is None else ViewPosition(there, 70))
        assert view_states(store, "v") == {}

    def test_of_two_who_go_on_from_one_position_one_is_told(self, shared_place: Place) -> None:
        store, other = shared_place.open(), shared_place.open()
        assert store.write_view("v", 0, 5, 50, [kept("a", state=b"mine")])
        assert not other.write_view("v", 0, 6, 60, [kept("a", state=b"theirs")])
        assert other.write_view("v", 5, 6, 60, [kept("b", state=b"theirs")])
        assert view_states(store, "v") == {"a": b"mine", "b": b"theirs"}

    def test_nobody_waits_for_a_lock_to_keep_a_view(self, shared_place: Place) -> None:
        store, other = shared_place.open(), shared_place.open()
        patient = Place(shared_place.kind, Path())
        patient.url = shared_place.url.removesuffix(shared_place.kind.hurried)
        with contextlib.closing(patient), other.view_session("v", waits=True):
            begun = time.monotonic()
            assert not patient.open().write_view("v", 0, 1, 1, [])
            assert time.monotonic() - begun < 2
            with pytest.raises(StoreError, match="lock"):
                store.swap_view("w", "v")
            with pytest.raises(StoreError, match="lock"):
                store.drop_view("v")
        assert store.write_view("v", 0, 1, 1, [])

    def test_a_trouble_while_keeping_a_view_keeps_nothing(self, store: Recorder) -> None:
        broken: Any = KeptRow("w", "m", "k", live=True, state=None)  # type: ignore[arg-type]
        with pytest.raises(StoreError, match=r"(?i)null"):
            store.write_view("v", 0, 1, 1, [kept("a"), broken])
        assert view_position(store, "v") is None
        assert store.write_view("v", 0, 1, 1, [kept("a")])

    def test_many_rows_are_found_at_once(self, store: Recorder) -> None:
        names = [f"m{number}" for number in range(40_000)]
        assert store.write_view("v", 0, 1, 1, [kept(name) for name in names])
        with store.snapshot() as snapshot:
            found = snapshot.view_rows("v", [f"key of {name}" for name in names])
        assert {one.model_name for one in found} == set(names)

    def test_pages_are_in_the_order_of_code_points(self, store: Recorder) -> None:
        names = ["", " ", "A", "Z", "a", "a\u0301", "b c", "bb", "é", "ﬀ", "\ue000", "\uffff", "\U00010000", "日本"]
        shuffled = [kept(name, live=index % 3 > 0) for index, name in enumerate(names)]
        random.Random(1).shuffle(shuffled)
        assert store.write_view("v", 0, 1, 1, [*shuffled, kept("b", workspace="other")])
        assert store.write_view("u", 0, 1, 1, [kept("b")])
        in_order = sorted(names)
        live = [name for name in in_order if names.index(name) % 3 > 0]
        with store.snapshot() as snapshot:

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

    def test_a_page_goes_on_behind_a_key_and_has_those_that_can_matter_to_a_cut(self, store: Recorder) -> None:
        wanted = [
            KeptRow("w", "m", "a", True, b"", 1, 10, 9, 90),  # noqa: FBT003 - a column
            KeptRow("w", "m", "b", False, b"", 2, 20, 4, 40),  # noqa: FBT003 - a column
            KeptRow("w", "m", "c", False, b"", 3, 30, 8, 30),  # noqa: FBT003 - a column
            KeptRow("w", "n", "d", True, b"", 4, 40, 4, 40),  # noqa: FBT003 - a column
        ]
        assert store.write_view("v", 0, 9, 90, wanted)
        with store.snapshot() as snapshot:

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

    def test_nothing_is_kept_of_a_log_that_is_not_there_any_more(self, store: Recorder) -> None:
        store.append([row(1, state=linked(b"a" * 64))])
        assert not store.write_view("v", 0, 1, 10, [kept("a")], link=b"b" * 64)
        assert not store.write_view("v", 0, 2, 10, [kept("a")], link=b"a" * 64)
        assert view_position(store, "v") is None
        assert store.write_view("v", 0, 1, 10, [kept("a")], link=b"a" * 64)
        assert view_position(store, "v") == ViewPosition(1, 10, b"a" * 64)

    def test_a_view_that_was_built_beside_takes_the_name(self, store: Recorder) -> None:
        assert store.write_view("v", 0, 5, 5, [kept("old")])
        assert store.write_view("v+1", 0, 6, 6, [kept("new")])
        store.swap_view("v+1", "v")
        store.swap_view("v+2", "v")  # there is none: nothing changes
        assert view_position(store, "v") == ViewPosition(6, 6)
        assert view_position(store, "v+1") is None
        assert list(view_states(store, "v")) == ["new"]
        store.drop_view("v")
        store.drop_view("v")
        assert view_position(store, "v") is None
        assert store.write_view("v", 0, 1, 1, [])
        assert view_states(store, "v") == {}


class TestSnapshots:
    def test_what_is_recorded_meanwhile_is_not_seen(self, shared_place: Place) -> None:
        store = shared_place.open()
        store.append(rows(1))
        with store.snapshot() as snapshot:
            assert len(snapshot.log(0, 10)) == 1
            store.append(rows(1, after=1))
            assert store.write_view("v", 0, 1, 1, [])
            assert len(snapshot.log(0, 10)) == len(snapshot.tails([STREAM], ("", 0), 10, None)) == 1
            assert snapshot.view_position("v") is None
            assert len(store.log(0, 10)) == 2
        assert view_position(store, "v") == ViewPosition(1, 1)

    def test_it_reads_the_log_between_two_positions(self, store: Recorder) -> None:
        store.append(rows(4))
        with store.snapshot() as snapshot:
            assert snapshot.log(0, 10) == store.log(0, 10)
            assert positions(snapshot.log(1, 2)) == [2, 3]
            assert positions(snapshot.log(1, 10, 3)) == [2, 3]
            assert snapshot.log(4, 10) == snapshot.log(2, 10, 2) == []

    def test_rows_of_streams_come_in_their_order_up_to_a_position(self, store: Recorder) -> None:
        for stream in (OTHER, STREAM, OTHER):
            store.append(rows(2, stream, after=len(store.tail(stream, 0))))
        one, two = sorted((STREAM, OTHER))
        with store.snapshot() as snapshot:

            def places(after: tuple[str, int], limit: int, upto: int | None, *streams: str) -> list[tuple[str, int]]:
                return [found[1:3] for found in snapshot.tails(streams, after, limit, upto)]

            whole = sorted((stream, found[1]) for stream in (one, two) for found in store.tail(stream, 0))
            assert places(("", 0), 9, None, two, one) == whole
            assert places(whole[1], 3, None, one, two) == whole[2:5]
            assert places(("", 0), 9, 4, one, two) == [found for found in whole if found[1] <= 2]
            assert places(("", 0), 9, None, OTHER) == [found for found in whole if found[0] == OTHER]
            assert places(("", 0), 9, None) == []

    def test_several_at_once_do_not_disturb_each_other(self, store: Recorder) -> None:
        store.append(rows(2))
        with store.snapshot() as one, store.snapshot() as two:
            assert one.log(0, 10) == two.log(0, 10) == store.log(0, 10)
        assert store.append(rows(1, after=2)) == range(3, 4)

    def test_after_its_end_it_answers_nothing(self, store: Recorder) -> None:
        with store.snapshot() as snapshot:
            pass
        for question in (
            lambda: snapshot.log(0, 1),
            lambda: snapshot.tails([STREAM], ("", 0), 1, None),
            lambda: snapshot.view_position("v"),
        ):
            with pytest.raises(StoreError, match="a snapshot that has ended"):
                question()

    def test_an_error_inside_ends_it(self, store: Recorder) -> None:
        def ask() -> None:
            with store.snapshot() as snapshot:
                snapshot.log(0, 1)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            ask()
        assert store.append(rows(1)) == range(1, 2)
        assert store.head() == 1


class TestWaiting:
    def test_what_is_recorded_is_noticed(self, store: Recorder) -> None:
        waiter = quiet(store.waiter())
        store.append(rows(1))
        assert waiter.wait(1)
        assert not quiet(waiter).wait(0.05)

    def test_what_is_recorded_elsewhere_is_noticed(self, shared_place: Place) -> None:
        waiter = quiet(shared_place.open().waiter())
        shared_place.open().append(rows(1))
        assert waiter.wait(5)

    def test_what_is_recorded_while_it_waits_is_noticed_soon(self, store: Recorder) -> None:
        waiter = quiet(store.waiter())
        waiting = Task(lambda: waiter.wait(15))
        time.sleep(0.02)
        store.append(rows(1))
        begun = time.monotonic()
        assert waiting.result() is True
        assert time.monotonic() - begun < 5

    def test_several_wait_at_once(self, store: Recorder) -> None:
        waiters = [quiet(store.waiter()) for _ in range(3)]
        store.append(rows(1))
        assert all(waiter.wait(5) for waiter in waiters)

    def test_it_waits_no_longer_than_it_was_told_to(self, store: Recorder) -> None:
        waiter = quiet(store.waiter())
        begun = time.monotonic()
        assert waiter.wait(0.05) is False
        assert 0.05 <= time.monotonic() - begun < 2

    def test_closing_it_elsewhere_ends_the_waiting(self, store: Recorder) -> None:
        waiter = quiet(store.waiter())
        waiting = Task(lambda: waiter.wait(15))
        time.sleep(0.02)
        waiter.close()
        waiter.close()
        begun = time.monotonic()
        assert waiting.result() is False
        assert time.monotonic() - begun < 5
        store.append(rows(1))
        assert waiter.wait(15) is False


class TestClosing:
    def test_after_it_everything_is_an_error_and_a_second_time_is_fine(self, store: Recorder) -> None:
        store.append(rows(1))
        store.head()
        waiter = store.waiter()
        store.close()
        store.close()
        questions: list[Callable[[], object]] = [
            lambda: store.append(rows(1)),
            lambda: store.tail(STREAM, 0),
            lambda: store.ranges({STREAM: (0, 1)}),
            lambda: store.log(0, 1),
            store.head,
            lambda: store.find_key(STREAM, "k"),
            store.waiter,
            lambda: waiter.wait(1),
            lambda: store.snapshot().__enter__(),
            lambda: store.write_view("v", 0, 1, 1, []),
            lambda: store.swap_view("a", "b"),
            lambda: store.drop_view("a"),
        ]
        for question in questions:
            with pytest.raises(StoreError, match="is closed"):
                question()

    @needs_fork
    def test_parent_and_child_go_on_with_connections_of_their_own(self, shared_place: Place) -> None:
        store = shared_place.open()
        store.append(rows(1))
        waiter = quiet(store.waiter())

        def use() -> None:
            store.append(rows(1, OTHER))
            assert store.head() == 2
            assert waiter.wait(5)
            assert store.write_view("v", 0, 2, 2, [kept("a")])

        assert ended_well(in_child(use))
        assert waiter.wait(5)
        assert len(store.log(0, 10)) == 2
        assert store.append(rows(1, after=1)) == range(3, 4)
        assert view_position(store, "v") == ViewPosition(2, 2)
        waiter.close()


class TestWhatItTells:
    def test_its_repr_names_the_place_and_no_secret(self, place: Place) -> None:
        store = place.open()
        expected = {
            "memory": "SQLiteRecorder(memory)",
            "sqlite": f"SQLiteRecorder({str(store.path)!r})",
            "postgresql": f"PostgresRecorder('{postgres_server.DATABASE}' at ",
        }
        assert repr(store).startswith(expected[place.kind.name])
        assert "s3cr" not in repr(store)

    def test_it_warns_of_what_it_does_not_promise(self, place: Place) -> None:
        told = {warning.about: warning for warning in place.open().warnings()}
        assert ("store" in told) == (place.kind.name == "sqlite")  # which the tests open with durability=checkpoint
        assert [about for about, warning in told.items() if not (warning.sentence and warning.hint)] == []


OWN = {
    "sqlite": {"all_texts", "first_id", "last_row"},
    "postgres": {
        "append_all", "clock", "create_schema_version", "end_session", "has_version", "holders", "lease", "lock_view",
        "may_write", "mend_sequence", "notify", "sequence", "sequence_start", "settle", "settle_standby",
        "try_lock_view", "version",
    },
}  # fmt: skip
"""Names of what one engine alone is asked."""


class TestStatements:
    """A question has one name, and under it a statement of each engine."""

    def test_both_engines_have_the_same_names_in_the_same_order(self) -> None:
        common = {engine: [name for name in statements(engine) if name not in own] for engine, own in OWN.items()}
        assert common["sqlite"] == common["postgres"]
        assert {engine: own - set(statements(engine)) for engine, own in OWN.items()} == {
            engine: set() for engine in OWN
        }

    def test_every_name_is_asked_for_and_what_all_are_asked_is_shared(self) -> None:
        room = Path(shared.__file__).parent
        source = "".join(path.read_text() for path in room.glob("*.py"))
        asked = set(re.findall(r'"(\w+)"', source))
        for engine in OWN:
            assert [name for name in statements(engine) if name not in asked and not name.startswith("create_")] == []
        shared_names = set(re.findall(r'\bask\(\s*"(\w+)"', Path(shared.__file__).read_text()))
        assert shared_names >= {"tail", "log", "find_key", "view", "page", "move_view"}
        assert [name for name in shared_names for engine in OWN if name not in statements(engine)] == []

    @pytest.mark.parametrize("engine", OWN)
    def test_each_says_what_it_does_and_ends_with_a_semicolon(self, engine: str) -> None:
        text = (Path(shared.__file__).parent / "sql" / f"{engine}.sql").read_text()
        parts = re.split(r"^-- name: ", text, flags=re.MULTILINE)[1:]
        assert len(parts) == len(statements(engine)), "a name stands twice"
        for part in parts:
            assert re.match(r"\w+\n-- [A-Z][^\n]+\n", part), part
            assert part.rstrip().endswith((";", ".")), part
            assert ";" in part, part
