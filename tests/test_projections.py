"""The folds of the log: primary, active, billing-eligible, and what they used (R12, R18, R19), on plain iterables."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import attrs
import pytest
from hypothesis import given as hypothesis_given
from hypothesis import settings
from hypothesis import strategies as st

from tests.stories import AWAITED, LEAVE_NONE, ROWS, asked_in, stories, worked_day
from versioning.aggregate import ModelAggregate, evolve
from versioning.events import (
    ArtifactRef,
    Recorded,
    VersionActivated,
    VersionDeactivated,
    VersionDeployed,
    VersionPromoted,
    VersionPublished,
    microseconds_of,
    moment_of,
)
from versioning.projections import (
    ActiveVersions,
    BillableVersions,
    PrimaryVersions,
    Usage,
    UsageLedger,
    UsageLine,
    _Fold,
    evolve_ledger,
)
from versioning.testing import (
    Story,
    activate,
    deactivate,
    delete,
    delete_model,
    deploy,
    fails,
    given,
    merged,
    publish,
    ready,
    recorded,
)

NAME = ("default", "model")
LONG_AFTER_US = microseconds_of(datetime(2026, 1, 3, tzinfo=UTC))
DAY = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))


def at(clock: str) -> datetime:
    return datetime.fromisoformat(f"2026-01-01T{clock}Z")


def bill(log: list[Recorded], start: datetime = DAY[0], end: datetime = DAY[1], now_us: int = LONG_AFTER_US) -> Usage:
    return UsageLedger().fold(log).usage(microseconds_of(start), microseconds_of(end), now_us)


def told(story: Story, *period: str, now: str = "23:59") -> list[str]:
    """The lines of a bill, in a row each: version, stage, from, to, and the positions that open and close it."""
    start, end = (at(clock) for clock in (period or ("00:00", "23:59")))
    usage = bill(story.log, start, end, microseconds_of(at(now)))
    return [
        f"{story.name(line.version_id)} {line.stage} {line.start:%H:%M}-{line.end:%H:%M} "
        f"{line.opened_by}-{line.closed_by or ''}"
        for line in usage.lines
    ]


class TestPrimaryVersions:
    def test_promoting_moves_it_and_its_end_ends_it(self) -> None:
        story = given(deploy("a", publish=True), deploy("b", publish=True))
        primary = PrimaryVersions().fold(story.log)
        assert primary.current == {NAME: story.id("b")}
        ending = story.when(delete("b")).events
        assert PrimaryVersions().fold(story.given(ending[0]).log).current == {}
        assert PrimaryVersions().fold(story.given(*ending).log).current == {NAME: story.id("a")}

    def test_the_end_of_another_version_moves_nothing(self) -> None:
        story = given(deploy("a", publish=True), deploy("b", publish=True), deactivate("a"))
        assert PrimaryVersions().fold(story.log).current == {NAME: story.id("b")}

    def test_a_name_without_one_is_absent(self) -> None:
        story = given(deploy("a", publish=True), deactivate("a"), policy=LEAVE_NONE)
        assert PrimaryVersions().fold(story.log).current == {}
        assert PrimaryVersions().fold(given(deploy("a")).log).current == {}


class TestActiveVersions:
    def test_instant_awaited_stopped_and_deleted(self) -> None:
        story = given(deploy("a"), deploy("b"), deploy("c"), deactivate("b"), delete("c"))
        assert ActiveVersions().fold(story.log).current == {NAME: (story.id("a"),)}
        story = given(deploy("a"), deploy("b"), ready("b"), deploy("c"), fails("c"), policy=AWAITED)
        assert ActiveVersions().fold(story.log).current == {NAME: (story.id("b"),)}

    def test_a_name_without_any_is_absent(self) -> None:
        assert ActiveVersions().fold(given(deploy("a"), delete_model()).log).current == {}


class TestBillableVersions:
    def test_a_start_counts_a_failed_start_does_not(self) -> None:
        story = given(deploy("a"), fails("a"), deploy("b"), policy=AWAITED)
        assert BillableVersions().fold(story.log).current == {NAME: (story.id("b"),)}
        story = story.given(activate("a"))
        assert BillableVersions().fold(story.log).current == {NAME: (story.id("b"), story.id("a"))}
        story = story.given(delete("a"), deactivate("b"))
        assert BillableVersions().fold(story.log).current == {}


class TestEveryProjection:
    def test_several_workspaces_in_one_log_do_not_mix(self) -> None:
        mine = given(deploy("a", publish=True), model_name="m")
        theirs = given(deploy("a", publish=True), deploy("b", publish=True), workspace="acme", model_name="m")
        log = merged(mine.log, theirs.log)
        assert PrimaryVersions().fold(log).current == {("default", "m"): mine.id("a"), ("acme", "m"): theirs.id("b")}
        assert {name: len(ids) for name, ids in ActiveVersions().fold(log).current.items()} == {
            ("default", "m"): 1,
            ("acme", "m"): 2,
        }
        assert Counter(line.workspace for line in bill(log).lines) == {"default": 1, "acme": 2}

    @hypothesis_given(stories())
    @settings(max_examples=25)
    def test_it_shows_at_every_prefix_what_the_aggregate_shows(self, story: Story) -> None:
        state = ModelAggregate(story.stream, *NAME)
        primary, active, billable = PrimaryVersions(), ActiveVersions(), BillableVersions()
        for fact in story.log:
            evolve(state, fact.event)
            for projection in (primary, active, billable):
                projection.evolve(fact)
            left = [state.versions[version_id] for version_id in state.left]
            assert primary.current.get(NAME) == state.primary
            assert set(active.current.get(NAME, ())) == {each.version_id for each in left if each.status == "active"}
            assert set(billable.current.get(NAME, ())) == {each.version_id for each in left if each.is_billable}
            assert set(active.current.get(NAME, ())) <= set(billable.current.get(NAME, ()))
            assert all(ids for projection in (active, billable) for ids in projection.current.values())

    def test_a_fold_without_evolve_is_none(self) -> None:
        with pytest.raises(NotImplementedError):
            _Fold().fold(given(deploy("a")).log)

    def test_the_worked_day(self) -> None:
        story = given(policy=AWAITED)
        for clock, words, _, *expected in ROWS:
            story = story.when(asked_in(words).at(clock)).after
            number = {version.version_id: version.number for version in story.state.versions.values()}
            primary = PrimaryVersions().fold(story.log).current.get(NAME)
            sets = [kind().fold(story.log).current.get(NAME, ()) for kind in (ActiveVersions, BillableVersions)]
            shown = [[number[primary]] if primary else [], *([number[each] for each in ids] for ids in sets)]
            assert [" ".join(sorted(each)) or "–" for each in shown] == expected


class TestR19Usage:
    """Usage over `[start, end)` is made of half-open intervals in UTC, in whole microseconds, each citing the
    positions of the events that open and close it, split where the stage changes."""

    day = given(
        deploy("a").at("10:00"),
        publish("a").at("11:00"),
        deactivate("a").at("12:00"),
        activate("a").at("13:00"),
        delete("a").at("14:00"),
        deploy("b").at("15:00"),
    )
    # positions: 1 deployed, 2 published, 3 promoted, 4 deactivated, 5 cleared, 6 activated, 7 promoted, 8 deleted, …

    def test_it_is_split_where_the_stage_changes_and_cites_its_events(self) -> None:
        assert told(self.day)[:3] == [
            "a draft 10:00-11:00 1-2",
            "a published 11:00-12:00 2-4",
            "a published 13:00-14:00 6-8",
        ]

    @pytest.mark.parametrize(
        ("start", "end", "lines"),
        [
            ("10:30", "11:30", ["a draft 10:30-11:00 1-2", "a published 11:00-11:30 2-"]),
            ("10:00", "11:00", ["a draft 10:00-11:00 1-2"]),
            ("09:00", "10:00", []),
            ("11:00", "12:00", ["a published 11:00-12:00 2-4"]),
            ("12:00", "13:00", []),
            ("11:59", "13:01", ["a published 11:59-12:00 2-4", "a published 13:00-13:01 6-"]),
            ("13:10", "13:20", ["a published 13:10-13:20 6-"]),
            ("14:00", "15:00", []),
            ("13:00", "13:00", []),
        ],
    )
    def test_a_period_is_half_open_and_cuts(self, start: str, end: str, lines: list[str]) -> None:
        assert told(self.day, start, end) == lines

    def test_what_is_still_open_ends_now(self) -> None:
        assert told(self.day, "15:00", "16:00", now="15:20") == ["b draft 15:00-15:20 11-"]

    def test_or_at_the_end_if_that_is_earlier(self) -> None:
        assert told(self.day, "15:00", "16:00", now="16:20") == ["b draft 15:00-16:00 11-"]

    def test_nothing_is_used_in_the_future(self) -> None:
        assert told(self.day, "16:00", "17:00", now="15:30") == []
        assert told(self.day, "15:00", "17:00", now="14:30") == []

    def test_a_start_counts_from_the_request_and_a_failed_one_to_its_failure(self) -> None:
        story = given(
            deploy("a").at("10:00"),
            fails("a").at("10:05"),
            activate("a").at("11:00"),
            ready("a").at("11:10"),
            deactivate("a").at("12:00"),
            policy=AWAITED,
        )
        assert told(story) == ["a draft 10:00-10:05 1-2", "a draft 11:00-12:00 3-5"]

    def test_becoming_active_or_primary_splits_nothing(self) -> None:
        story = given(deploy("a", publish=True).at("10:00"), ready("a").at("10:10"), policy=AWAITED)
        assert told(story, now="11:00") == ["a published 10:00-11:00 1-"]

    def test_publishing_while_it_starts_splits(self) -> None:
        story = given(deploy("a").at("10:00"), publish("a").at("10:10"), fails("a").at("10:20"), policy=AWAITED)
        assert told(story) == ["a draft 10:00-10:10 1-2", "a published 10:10-10:20 2-3"]

    def test_no_empty_lines(self) -> None:
        story = given(deploy("a").at("10:00"), publish("a").at("10:00"), deactivate("a").at("10:00"))
        assert told(story) == []
        story = given(deploy("a").at("10:00"), publish("a").at("10:00"), deactivate("a").at("10:01"))
        assert told(story) == ["a published 10:00-10:01 2-4"]

    def test_a_stop_and_a_start_at_one_moment_are_two_lines(self) -> None:
        story = given(deploy("a").at("10:00"), deactivate("a").at("11:00"), activate("a").at("11:00"))
        assert told(story, "10:00", "12:00") == ["a draft 10:00-11:00 1-2", "a draft 11:00-12:00 3-"]

    def test_a_draft_has_its_own_lines(self) -> None:
        assert {line.stage for line in bill(given(deploy("a")).log).lines} == {"draft"}

    def test_deleted_models_stay_in_past_periods(self) -> None:
        story = given(deploy("a").at("10:00"), delete_model().at("11:00"), deploy("b").at("12:00"))
        lines = bill(story.log).lines
        assert [(line.number, line.model_id) for line in lines] == [
            ("0.1.0", story.version("a").model_id),
            ("0.1.0", story.version("b").model_id),
        ]
        assert lines[0].model_id != lines[1].model_id

    def test_publishing_what_is_stopped_changes_the_stage_of_later_lines_only(self) -> None:
        log = recorded(
            VersionDeployed("a", "0.1.0", ArtifactRef("memory:a"), at_us=0),
            VersionDeactivated("a", at_us=10),
            VersionPublished("a", at_us=20),
            VersionActivated("a", at_us=30),
        )
        lines = UsageLedger().fold(log).usage(0, 100, 100).lines
        assert [(line.stage, line.microseconds, line.opened_by, line.closed_by) for line in lines] == [
            ("draft", 10, 1, 2),
            ("published", 70, 4, None),
        ]

    def test_a_line_tells_all_that_a_bill_needs(self) -> None:
        usage = bill(self.day.log, *DAY)
        assert usage.lines[0] == UsageLine(
            workspace="default",
            model_name="model",
            model_id=self.day.version("a").model_id,
            version_id=self.day.id("a"),
            number="0.1.0",
            stage="draft",
            start=at("10:00"),
            end=at("11:00"),
            microseconds=3_600_000_000,
            opened_by=1,
            closed_by=2,
        )
        assert (usage.start, usage.end, usage.position) == (*DAY, 11)
        assert usage.total_microseconds == 12 * 3_600_000_000  # 3 hours of a, and 9 of b

    def test_lines_come_by_name_and_then_by_time(self) -> None:
        first = given(deploy("a").at("10:00"), deploy("b").at("09:58"), model_name="y")
        second = given(deploy("c").at("11:00"), model_name="x")
        lines = bill(merged(first.log, second.log)).lines
        assert [(line.model_name, line.number) for line in lines] == [("x", "0.1.0"), ("y", "0.1.0"), ("y", "0.2.0")]

    def test_the_beginning_of_a_log_may_be_missing(self) -> None:
        log = self.day.log
        assert evolve_ledger(None, log[1]) is None
        assert UsageLedger().position == 0
        ledger = UsageLedger().fold(log[1:8])
        assert (ledger.ledgers, ledger.position) == ({}, 8)

    def test_asked_again_as_of_its_position_it_is_the_same(self) -> None:
        story = self.day
        drawn = bill(story.log, *DAY, now_us=microseconds_of(at("15:30")))
        later = story.given(deactivate("b").at("16:00"), delete("b").at("17:00"))
        as_of = [fact for fact in later.log if fact.position <= drawn.position]
        assert bill(as_of, *DAY, now_us=microseconds_of(at("15:30"))) == drawn
        assert bill(later.log, *DAY) != drawn

    def test_facts_that_open_and_close_nothing_are_not_cited(self) -> None:
        ledger = UsageLedger().fold(given(deploy("a", publish=True), delete("a")).log)
        assert ledger.position == 5
        (only,) = ledger.ledgers.values()
        assert (len(only.stretches), only.is_open, only.stage) == (1, False, "published")

    @hypothesis_given(stories(), st.lists(st.integers(-200, 400), min_size=2, max_size=5), st.integers(-200, 400))
    def test_the_parts_of_any_partition_add_up_exactly_to_the_whole(
        self, story: Story, cuts_s: list[int], now_s: int
    ) -> None:
        first_us = microseconds_of(at("09:00"))
        cuts = sorted(first_us + seconds * 1_000_000 + seconds for seconds in cuts_s)
        now_us = max([first_us + now_s * 1_000_000, *(fact.event.at_us for fact in story.log)])
        ledger = UsageLedger().fold(story.log)
        whole = ledger.usage(cuts[0], cuts[-1], now_us)
        parts = [ledger.usage(start, end, now_us) for start, end in pairwise(cuts)]
        assert sums(whole) == sum(map(sums, parts), Counter[tuple[str, str]]())
        assert whole.total_microseconds == sum(part.total_microseconds for part in parts)
        assert sums(whole) == replayed(story.log, cuts[0], cuts[-1], now_us)

    @hypothesis_given(stories())
    def test_lines_of_one_version_never_overlap_and_cite_what_opens_and_closes_them(self, story: Story) -> None:
        usage, at_position = bill(story.log), {fact.position: fact for fact in story.log}
        by_version: dict[str, list[UsageLine]] = {}
        for line in usage.lines:
            by_version.setdefault(line.version_id, []).append(line)
            assert line.start < line.end
            assert line.microseconds * timedelta(microseconds=1) == line.end - line.start
            assert at_position[line.opened_by].timestamp == line.start
            assert at_position[line.opened_by].version_id == line.version_id
            if line.closed_by is None:
                assert line.end == DAY[1]
            else:
                assert at_position[line.closed_by].timestamp == line.end
                assert at_position[line.closed_by].version_id == line.version_id
        for lines in by_version.values():
            assert all(earlier.end <= later.start for earlier, later in pairwise(lines))

    def test_the_worked_day_adds_up(self) -> None:
        story = worked_day()
        start_us, end_us = map(microseconds_of, DAY)
        assert sums(bill(story.log)) == replayed(story.log, start_us, end_us, LONG_AFTER_US)
        assert sums(bill(story.log))[story.id("c"), "published"] == (60 + 170) * 60_000_000


def sums(usage: Usage) -> Counter[tuple[str, str]]:
    """The microseconds of each version in each stage."""
    counter = Counter[tuple[str, str]]()
    for line in usage.lines:
        counter[line.version_id, line.stage] += line.microseconds
    return counter


def replayed(log: list[Recorded], start_us: int, end_us: int, now_us: int) -> Counter[tuple[str, str]]:
    """The same by brute force: who is eligible between each event and the next."""
    state, counter = ModelAggregate("0" * 32), Counter[tuple[str, str]]()
    ends_us = [*(fact.event.at_us for fact in log), now_us][1:]
    for fact, until_us in zip(log, ends_us, strict=True):
        evolve(state, fact.event)
        length_us = min(until_us, end_us) - max(fact.event.at_us, start_us)
        for version in state.versions.values():
            if version.is_billable and length_us > 0:
                counter[version.version_id, version.stage] += length_us
    return counter


def test_a_promotion_names_its_version_and_opens_nothing() -> None:
    (deployed,) = recorded(VersionDeployed("a", "0.1.0", ArtifactRef("memory:a"), at_us=0))
    ledger = evolve_ledger(None, deployed)
    promoted = attrs.evolve(deployed, event=VersionPromoted("a", None, "requested", at_us=5), position=2)
    assert evolve_ledger(ledger, promoted) is ledger
    assert ledger is not None
    assert ledger.is_open
    assert moment_of(ledger.stretches[0].start_us) == moment_of(0)
