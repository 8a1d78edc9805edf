"""What is known of a name: the laws of its fold, the list of primaries, the lives."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, get_args

import attrs
import pytest
import semver
from hypothesis import given as hypothesis_given
from hypothesis import settings
from hypothesis import strategies as st

from tests.stories import AWAITED, everything, stories
from versioning.aggregate import _EVOLVE, ModelAggregate, evolve
from versioning.events import (
    EPOCH,
    EVENTS,
    TOPICS,
    ArtifactRef,
    Event,
    Meta,
    ModelDeleted,
    PrimaryCleared,
    Recorded,
    VersionDeployed,
    VersionPromoted,
    microseconds_of,
    moment_of,
)
from versioning.ids import model_id_of, parse_version_id, stream_of
from versioning.numbers import parts_of
from versioning.rules import Policy
from versioning.testing import (
    Step,
    Story,
    activate,
    deactivate,
    delete,
    delete_model,
    deploy,
    fails,
    given,
    promote,
    publish,
    ready,
    recorded,
    rollback,
)

META = Meta("default", "model", 1, "command", actor="ada")
A = VersionDeployed("a", "0.1.0", ArtifactRef("memory:a"), published=True, claims=True, at_us=1)
B = VersionDeployed("b", "0.2.0", ArtifactRef("memory:b"), published=True, claims=True, at_us=2)


def folded(log: list[Recorded], state: ModelAggregate | None = None) -> ModelAggregate:
    state = state or ModelAggregate(stream_of("default", "model"), "default", "model")
    for fact in log:
        evolve(state, fact.event, fact.actor)
    return state


class TestTheFold:
    @hypothesis_given(stories())
    @settings(max_examples=25)
    def test_all_at_once_is_a_prefix_and_the_rest_for_every_prefix(self, story: Story) -> None:
        log, whole = story.log, everything(story.state)
        for position in range(len(log) + 1):
            assert everything(folded(log[position:], folded(log[:position]))) == whole

    @hypothesis_given(stories())
    def test_every_prefix_shows_a_primary_only_that_is_active_published_and_not_deleted(self, story: Story) -> None:
        state = folded([])
        for fact in story.log:
            evolve(state, fact.event)
            shown = [version.version_id for version in state.versions.values() if version.is_primary]
            assert shown == ([state.primary] if state.primary else [])
            assert state.primary is None or state.versions[state.primary].is_serving
            assert set(state.published) | set(state.claims) <= set(state.left)
            assert list(state.claims.values()) == sorted(state.claims.values())

    @hypothesis_given(stories())
    def test_where_an_append_ends_there_is_one_if_it_can_be_and_a_model_if_a_version_is_left(
        self, story: Story
    ) -> None:
        state, falls_back = folded([]), story.policy.losing_primary == "fall_back"
        for fact in story.log:
            evolve(state, fact.event)
            if fact.ends_append:
                serving = [version for version in state.versions.values() if version.is_serving]
                assert not (falls_back and serving) or state.primary is not None
                assert state.exists == bool(state.left)

    @hypothesis_given(stories())
    def test_previous_is_what_was_primary_before_the_append(self, story: Story) -> None:
        state, before = folded([]), None
        for fact in story.log:
            if fact.index == 0:
                before = state.primary
            if isinstance(fact.event, VersionPromoted | PrimaryCleared):
                assert fact.event.previous == before
            evolve(state, fact.event)

    @hypothesis_given(stories())
    def test_numbers_rise_in_each_life_and_ids_are_given_once(self, story: Story) -> None:
        versions = list(story.state.versions.values())
        assert [parse_version_id(each.version_id) for each in versions] == [
            (story.stream, ordinal, f"{ordinal:08x}") for ordinal in range(1, len(versions) + 1)
        ]
        for earlier, later in pairwise(versions):
            same_life = earlier.model_id == later.model_id
            assert parts_of(earlier.number) < parts_of(later.number) if same_life else later.number == "0.1.0"

    @hypothesis_given(stories())
    def test_timestamps_and_sequences_never_go_back(self, story: Story) -> None:
        assert [fact.sequence for fact in story.log] == list(range(1, len(story.log) + 1))
        assert all(earlier.event.at_us <= later.event.at_us for earlier, later in pairwise(story.log))
        assert story.state.sequence == len(story.log)

    @hypothesis_given(stories())
    def test_deleted_is_final(self, story: Story) -> None:
        state, gone = folded([]), set[str]()
        for fact in story.log:
            evolve(state, fact.event)
            now = {each.version_id for each in state.versions.values() if each.status == "deleted"}
            assert gone <= now
            gone = now

    def test_it_hands_out_frozen_values_that_stay_as_they_were(self) -> None:
        state = folded(recorded(A))
        before, model = state.versions["a"], state.model()
        evolve(state, VersionPromoted("a", None, "published", at_us=2))
        assert (before.is_primary, model.primary) == (False, None)
        assert state.versions["a"].is_primary
        held: Any = before
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            held.number = "9.9.9"

    def test_it_gives_the_same_aggregate_back(self) -> None:
        state = folded([])
        assert evolve(state, A, "ada") is state
        assert (state.last_at_us, state.sequence, state.versions["a"].deployed_by) == (1, 1, "ada")

    def test_it_never_refuses_what_a_rule_would(self) -> None:
        state = folded(recorded(attrs.evolve(A, published=False), VersionPromoted("a", None, "requested", at_us=0)))
        assert state.primary == "a"

    def test_each_event_has_its_topic_and_its_branch(self) -> None:
        assert set(get_args(Event)) == set(EVENTS.values()) == set(TOPICS) == set(_EVOLVE)
        assert len(TOPICS) == len(EVENTS)


class TestVersions:
    story = given(
        deploy("a", metadata={"tags": ["x"]}).at("10:00").by("ada"),
        publish("a").at("11:00"),
        deploy("b"),
        deactivate("b"),
    )

    def test_what_a_version_tells(self) -> None:
        version = self.story.version("a")
        assert version.semver == semver.Version(0, 1, 0)
        assert version.deployed_at == datetime(2026, 1, 1, 10, tzinfo=UTC)
        assert version.published_at == datetime(2026, 1, 1, 11, tzinfo=UTC)
        assert (version.deployed_by, version.workspace, version.model_name) == ("ada", "default", "model")
        assert (version.is_billable, version.is_serving, version.is_primary) == (True, True, True)

    def test_a_draft_was_never_published(self) -> None:
        version = self.story.version("b")
        assert version.published_at is None
        assert (version.is_billable, version.is_serving) == (False, False)

    def test_its_metadata_is_a_copy_each_time(self) -> None:
        version = self.story.version("a")
        version.metadata["tags"].append("y")
        assert version.metadata == {"tags": ["x"]}

    def test_a_failure_is_told_until_the_next_start(self) -> None:
        story = given(deploy("a"), policy=AWAITED)
        assert story.given(fails("a", "no memory")).version("a").failure == "no memory"
        assert story.given(fails("a"), activate("a")).version("a").failure is None
        assert story.given(fails("a"), activate("a"), ready("a")).version("a").attempts == 2

    def test_waits_are_counted(self) -> None:
        instant = given(deploy("a"), deactivate("a"))
        assert instant.version("a").attempts == 0
        story = instant.under(AWAITED).given(activate("a"))
        assert (story.version("a").attempts, story.version("a").activation_id) == (1, story.wait("a", 1))

    def test_since_when_it_is_waited_for(self) -> None:
        story = given(deploy("a").at("10:00"), policy=AWAITED)
        assert story.version("a").waiting_since == datetime(2026, 1, 1, 10, tzinfo=UTC)
        for ending in (ready("a"), fails("a"), deactivate("a"), delete("a")):
            assert story.given(ending).version("a").waiting_since is None
        again = story.given(fails("a"), activate("a").at("11:00"), deploy("b"))
        assert again.version("a").waiting_since == datetime(2026, 1, 1, 11, tzinfo=UTC)

    def test_an_activation_that_nobody_waited_for_ends_a_failure_too(self) -> None:
        story = given(deploy("a"), fails("a"), policy=AWAITED)
        assert story.under(Policy()).given(activate("a")).version("a").failure is None


class TestModels:
    def test_it_shows_what_is_left_in_the_order_of_numbers(self) -> None:
        story = given(deploy("a"), deploy("b", publish=True), deploy("c"), deactivate("a"), delete("c"))
        model = story.model
        assert model is not None
        assert [version.number for version in model.versions] == ["0.1.0", "0.2.0"]
        assert [version.number for version in model.active] == ["0.2.0"]
        assert model.primary == story.version("b")
        assert (model.name, model.workspace, model.deleted_at) == ("model", "default", None)
        assert model.deployed_at == datetime(2026, 1, 1, 9, tzinfo=UTC)

    def test_a_life_that_ended_is_told_by_its_generation(self) -> None:
        story = given(deploy("a").at("10:00"), delete("a").at("11:00"), deploy("b", publish=True).at("12:00"))
        first, second = story.state.model(1), story.state.model()
        assert first.deleted_at == datetime(2026, 1, 1, 11, tzinfo=UTC)
        assert (first.versions, first.primary) == ((), None)
        assert first.model_id == model_id_of(story.stream, 1) == story.version("a").model_id
        assert second.model_id == story.state.model_id == story.version("b").model_id
        assert (second.deployed_at.hour, second.primary) == (12, story.version("b"))

    def test_a_number_is_looked_up_in_the_present_life(self) -> None:
        story = given(deploy("a"), deploy("b"), delete("a"), delete("b"), deploy("c"), deploy("d"), delete("c"))
        assert story.state.by_number == {"0.1.0": story.id("c"), "0.2.0": story.id("d")}

    def test_the_last_life_is_told_after_its_end(self) -> None:
        story = given(deploy("a"), delete("a"))
        assert (story.state.exists, story.state.generation, story.model) == (False, 1, None)
        assert story.state.model().deleted_at is not None

    def test_nothing_of_a_life_is_carried_over(self) -> None:
        story = given(deploy("a", publish=True), deploy("b", publish=True), rollback(), delete_model())
        fresh = ModelAggregate(story.stream)
        for name in ("left", "by_number", "highest", "published", "claims", "undone", "primary", "cleared", "trail"):
            assert getattr(story.state, name) == getattr(fresh, name), name
        assert (story.state.cursor, story.state.claims_made) == (0, 0)
        assert list(story.state.versions) == [story.id("a"), story.id("b")]


class TestTheListOfPrimaries:
    """R13, as a list and a cursor."""

    def trail(self, *steps: Step) -> tuple[str, str | None]:
        """The list up to the cursor, a bar, and what lies after it; and where a rollback would go."""
        story = given(*(deploy(label, publish=True) for label in "abc"), *steps)
        state = story.state
        names = [story.name(version_id) for version_id in state.trail]
        index = state.rollback_index()
        return "".join([*names[: state.cursor], "|", *names[state.cursor :]]), None if index is None else names[index]

    @pytest.mark.parametrize(
        ("steps", "expected"),
        [
            ([], ("abc|", "b")),
            ([rollback()], ("ab|c", "a")),
            ([rollback(), rollback()], ("a|bc", None)),
            ([rollback(), promote("c")], ("abc|", "b")),
            ([rollback(), rollback(), promote("c")], ("ac|", "a")),
            ([promote("a")], ("abca|", "c")),
            ([promote("a"), promote("c")], ("abcac|", "a")),
            ([deactivate("b")], ("abc|", "a")),
            ([deactivate("c")], ("abcb|", "a")),
            ([deactivate("c"), activate("c")], ("abcb|", "c")),
            ([rollback(), deactivate("b")], ("aba|", None)),
            ([delete("a"), delete("b")], ("abc|", None)),
            ([promote("c")], ("abc|", "b")),
        ],
        ids=str,
    )
    def test_the_list_and_where_a_rollback_would_go(self, steps: list[Step], expected: tuple[str, str | None]) -> None:
        assert self.trail(*steps) == expected

    def test_where_there_is_no_primary_the_one_that_was_last_comes_first(self) -> None:
        log = recorded(
            A,
            VersionPromoted("a", None, "published", at_us=1),
            B,
            VersionPromoted("b", "a", "published", at_us=2),
            PrimaryCleared("b", at_us=3),
        )
        state = folded(log)
        assert (state.trail, state.cursor, state.rollback_index(), state.cleared) == (["a", "b"], 2, 1, True)
        evolve(state, VersionPromoted("b", None, "rollback", at_us=4))
        assert (state.trail, state.cursor, state.rollback_index(), state.cleared) == (["a", "b"], 2, 0, False)
        assert state.undone == set()

    def test_rolling_back_goes_to_the_nearest_entry_and_remembers_what_it_left(self) -> None:
        story = given(*(deploy(label, publish=True) for label in "abc"), promote("a"), deactivate("c"), rollback())
        assert (story.primary, story.state.cursor) == ("b", 2)
        assert story.state.undone == {story.id("a")}
        assert story.state.claim_of(story.id("a")) == 0 < story.state.claim_of(story.id("b"))
        assert story.state.claim_of(None) == 0
        assert story.given(promote("a")).state.undone == set()
        assert story.given(delete("a")).state.undone == set()


class TestRecorded:
    def test_what_a_recorded_fact_tells(self) -> None:
        first, second, last = recorded(
            [A, VersionPromoted("a", None, "published", at_us=1)], ModelDeleted(at_us=2_000_000), actor="ada", after=7
        )
        assert (first.position, second.position, last.position) == (8, 9, 10)
        assert (first.version_id, second.version_id, last.version_id) == ("a", "a", None)
        assert (first.ends_append, second.ends_append, last.ends_append) == (False, True, True)
        assert first.event_id == f"{first.command_id}.0"
        assert second.event_id == f"{first.command_id}.1"
        assert (last.stream, last.sequence) == (stream_of("default", "model"), 3)
        assert last.model_id == model_id_of(last.stream, 1)
        assert last.timestamp == EPOCH + timedelta(seconds=2)
        assert last.actor == "ada"

    @hypothesis_given(st.datetimes(timezones=st.just(UTC)))
    def test_moments_are_kept_to_the_microsecond(self, moment: datetime) -> None:
        assert moment_of(microseconds_of(moment)) == moment
