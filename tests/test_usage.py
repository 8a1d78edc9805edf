"""What was used, and what is to be billed (R18, R19)?"""

from __future__ import annotations

import itertools
from datetime import timedelta, timezone

import pytest

from tests import registry_tools, stores
from tests.registry_tools import DAY, NAME, NOT_TEXT, deploy, refused, serving
from tests.stores import START, Store
from versioning import InvalidArgumentError, ModelRegistry, Version

store = stores.store
registry = registry_tools.registry
awaited = registry_tools.awaited


class TestR18Billable:
    """A version is billing-eligible while it is active or activating."""

    def test_neither_inactive_nor_deleted_versions_count(self, awaited: ModelRegistry) -> None:
        active, waiting, stopped, gone = serving(awaited), deploy(awaited), serving(awaited), serving(awaited)
        awaited.deactivate(stopped.version_id)
        awaited.delete(gone.version_id)
        other = deploy(awaited, "other")
        assert [version.version_id for version in awaited.billable(NAME)] == [active.version_id, waiting.version_id]
        assert [version.version_id for version in awaited.active(NAME)] == [active.version_id]
        assert awaited.billable() == (*awaited.billable(NAME), other)
        assert awaited.active() == awaited.active(NAME)
        assert awaited.model(NAME).billable == awaited.billable(NAME)
        assert awaited.model(NAME).active == awaited.active(NAME)
        assert waiting.is_billable
        assert not awaited.version(stopped.version_id).is_billable


class TestR19Usage:
    """Usage over `[start, end)` is made of half-open intervals in UTC, in whole microseconds."""

    @pytest.fixture
    def day(self, registry: ModelRegistry, store: Store) -> dict[str, Version]:
        """9:00 a is deployed, 10:00 published, 11:00 b, 12:00 a is stopped, 13:00 model c is deployed and deleted."""
        clock, hour = store.clock, 3_600
        a = deploy(registry)
        clock.tick(hour)
        registry.publish(a.version_id)
        clock.tick(hour)
        b = deploy(registry, publish=True)
        clock.tick(hour)
        registry.deactivate(a.version_id)
        clock.tick(hour)
        c = deploy(registry, "c")
        clock.tick(0.000_001)
        registry.delete_model("c")
        clock.tick(hour)
        return {"a": a, "b": b, "c": c}

    def test_lines_cite_what_opens_and_closes_them_and_split_where_the_stage_changes(
        self, registry: ModelRegistry, day: dict[str, Version]
    ) -> None:
        usage = registry.usage(START, START + DAY)
        hours = [
            (line.version_id, line.stage, (line.start - START) / timedelta(hours=1), line.opened_by, line.closed_by)
            for line in usage.lines
        ]
        a, b, c = (day[name].version_id for name in "abc")
        assert hours == [
            (c, "draft", 4.0, 7, 8),
            (a, "draft", 0.0, 1, 2),
            (a, "published", 1.0, 2, 6),
            (b, "published", 2.0, 4, None),
        ]
        assert usage.lines[0].microseconds == 1
        assert usage.position == 9
        assert usage.total_microseconds == 1 + 3_600_000_000 * (1 + 2 + 3) + 1

    def test_a_model_s_usage_is_its_part_of_the_whole_over_all_its_lives(
        self, registry: ModelRegistry, day: dict[str, Version]
    ) -> None:
        deploy(registry, "c")
        whole = registry.usage(START, START + DAY)
        for name in (NAME, "c"):
            part = registry.usage(START, START + DAY, name)
            assert part.lines == tuple(line for line in whole.lines if line.model_name == name)
            assert part.position == whole.position
        assert {line.model_id for line in registry.usage(START, START + DAY, "c").lines} == {day["c"].model_id}

    def test_the_parts_of_a_partition_add_up_to_the_whole(
        self, registry: ModelRegistry, day: dict[str, Version]
    ) -> None:
        assert day
        cuts = [START + timedelta(minutes=minutes) for minutes in (-30, 0, 7, 60, 61, 119, 200, 240, 300, 1440)]
        parts = [registry.usage(start, end) for start, end in itertools.pairwise(cuts)]
        whole = registry.usage(cuts[0], cuts[-1])
        assert sum(part.total_microseconds for part in parts) == whole.total_microseconds
        assert all(line.closed_by is None for line in parts[3].lines)

    def test_a_past_bill_asked_again_as_of_its_position_is_the_same(
        self, registry: ModelRegistry, store: Store, day: dict[str, Version]
    ) -> None:
        end = START + timedelta(hours=4)
        bill, part = registry.usage(START, end), registry.usage(START, end, NAME)
        assert bill.until == part.until == end
        store.clock.tick(3_600)
        registry.delete(day["b"].version_id)
        deploy(registry)
        assert registry.at(bill.position).usage(START, end) == bill
        assert registry.at(part.position).usage(START, end, NAME) == part

    def test_the_bill_of_a_running_period_stays_the_same_however_late_it_is_drawn_again(
        self, registry: ModelRegistry, store: Store, day: dict[str, Version]
    ) -> None:
        """Drawn on the 10th, and asked again on the 20th and next year, when later events have closed its lines."""
        period = START, START + 30 * DAY
        store.clock.tick(9 * 86_400)
        bill, part = registry.usage(*period), registry.usage(*period, NAME)
        assert bill.until == part.until == store.clock.now
        store.clock.tick(10 * 86_400)

        def again() -> bool:
            whole = registry.at(bill.position).usage(*period, until=bill.until)
            return (whole, registry.at(part.position).usage(*period, NAME, until=part.until)) == (bill, part)

        assert again()
        longer = registry.at(bill.position).usage(*period)
        assert longer.total_microseconds == bill.total_microseconds + 10 * 24 * 3_600_000_000
        registry.delete(day["b"].version_id)
        deploy(registry, publish=True)
        assert again()
        store.clock.tick(365 * 86_400)
        registry.rebuild()
        assert again()

    def test_a_line_that_its_bill_cuts_has_no_event_that_closes_it(
        self, registry: ModelRegistry, store: Store, day: dict[str, Version]
    ) -> None:
        stopped_at = store.clock.tick(3_600)
        registry.deactivate(day["b"].version_id)
        store.clock.tick(3_600)
        part = registry.usage(START, stopped_at, NAME)
        assert [(line.end, line.closed_by) for line in part.lines if line.version_id == day["b"].version_id] == [
            (stopped_at, 10)
        ]
        part = registry.usage(START, stopped_at - timedelta(microseconds=1), NAME)
        assert [line.closed_by for line in part.lines if line.version_id == day["b"].version_id] == [None]
        part = registry.at(9).usage(START, START + DAY, NAME, until=stopped_at)
        assert [(line.end, line.closed_by) for line in part.lines if line.version_id == day["b"].version_id] == [
            (stopped_at, None)
        ]

    def test_a_period_that_has_not_begun_has_a_bill_that_stays_the_same_too(
        self, registry: ModelRegistry, store: Store, day: dict[str, Version]
    ) -> None:
        assert day
        period = START + 5 * DAY, START + 6 * DAY
        bill = registry.usage(*period)
        assert (bill.lines, bill.until) == ((), period[0])
        assert registry.at(bill.position).usage(*period, until=bill.until) == bill
        store.clock.tick(10 * 86_400)
        assert registry.at(bill.position).usage(*period, until=bill.until) == bill

    def test_up_to_a_moment_behind_the_period_is_up_to_its_end(
        self, registry: ModelRegistry, store: Store, day: dict[str, Version]
    ) -> None:
        assert day
        end = START + timedelta(hours=2)
        assert registry.usage(START, end, until=store.clock.now) == registry.usage(START, end)

    def test_parts_that_are_drawn_up_to_the_same_moment_add_up(
        self, registry: ModelRegistry, store: Store, day: dict[str, Version]
    ) -> None:
        assert day
        until = store.clock.now - timedelta(minutes=17)
        store.clock.tick(86_400)
        cuts = [START + timedelta(minutes=minutes) for minutes in (-30, 7, 60, 119, 200, 240, 283, 1440)]
        parts = [registry.usage(start, end, until=until) for start, end in itertools.pairwise(cuts)]
        whole = registry.usage(cuts[0], cuts[-1], until=until)
        assert sum(part.total_microseconds for part in parts) == whole.total_microseconds
        assert whole.until == until

    def test_a_bill_is_not_drawn_up_to_the_future_nor_to_before_its_period(
        self, registry: ModelRegistry, store: Store, day: dict[str, Version]
    ) -> None:
        assert day
        with refused(registry, InvalidArgumentError, "R19"):
            registry.usage(START, START + DAY, until=START - timedelta(microseconds=1))
        with refused(registry, InvalidArgumentError, "R19"):
            registry.usage(START, START + DAY, until=store.clock.now + timedelta(microseconds=1))
        with refused(registry, InvalidArgumentError, "R19"):
            registry.at(START + timedelta(hours=1)).usage(START, START + DAY, until=store.clock.now)
        with refused(registry, InvalidArgumentError, "R23"):
            registry.usage(START, START + DAY, until=START.replace(tzinfo=None))
        with refused(registry, InvalidArgumentError, "R23"):
            registry.usage(START, START + DAY, until=NOT_TEXT)

    def test_a_bill_that_a_faster_clock_drew_can_be_drawn_again_up_to_what_it_recorded(
        self, registry: ModelRegistry, store: Store
    ) -> None:
        store.clock.tick(60)
        deploy(registry)
        store.clock.tick(60)
        deploy(registry)
        bill = registry.usage(START, START + DAY)
        store.clock.tick(-90)
        assert registry.at(bill.position).usage(START, START + DAY, until=bill.until) == bill

    def test_what_is_open_ends_now_and_there_are_no_empty_lines(self, registry: ModelRegistry, store: Store) -> None:
        deploy(registry)
        assert registry.usage(START, START + DAY).lines == ()
        store.clock.tick(5)
        (line,) = registry.usage(START, START + DAY).lines
        assert (line.end, line.microseconds, line.closed_by) == (store.clock.now, 5_000_000, None)
        assert registry.usage(START - DAY, START).lines == ()
        assert registry.usage(START, START).lines == ()

    def test_periods_are_aware_and_run_forward(self, registry: ModelRegistry) -> None:
        with refused(registry, InvalidArgumentError, "R23"):
            registry.usage(START.replace(tzinfo=None), START)
        with refused(registry, InvalidArgumentError, "R23"):
            registry.usage(START, NOT_TEXT)
        with refused(registry, InvalidArgumentError, "R19"):
            registry.usage(START, START - timedelta(microseconds=1))
        east = timezone(timedelta(hours=5, minutes=30))
        assert registry.usage(START.astimezone(east), START + DAY).start == START
