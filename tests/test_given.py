"""The test kit's ground floor: stories, their endings, and what a failing one tells."""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any, get_args

import pytest

from versioning.commands import Command, Deactivate, Deploy, Promote, Rollback
from versioning.errors import ModelNotFoundError, VersionNotFoundError
from versioning.events import (
    ArtifactRef,
    ModelDeleted,
    NothingChanged,
    PrimaryCleared,
    Unneeded,
    VersionActivationFailed,
    VersionDeactivated,
    VersionDeployed,
    VersionPromoted,
)
from versioning.ids import stream_of, version_id_of
from versioning.projections import PrimaryVersions
from versioning.rules import Policy
from versioning.testing import (
    Step,
    Story,
    activate,
    deactivate,
    delete,
    deploy,
    fails,
    given,
    merged,
    promote,
    publish,
    ready,
    recorded,
    rollback,
)

AWAITED = Policy(activation="awaited")
TWO = given(deploy("a", publish=True), deploy("b", publish=True))
A = VersionDeployed("ver_a", "0.1.0", ArtifactRef("memory:a"), published=True, at_us=1_000_000)


def failing(ending: Callable[[], object]) -> str:
    """What an ending that does not hold tells."""
    with pytest.raises(AssertionError) as failed:
        ending()
    return str(failed.value)


class TestThen:
    @pytest.mark.parametrize(
        "fact",
        [
            "VersionPromoted",
            "VersionPromoted a",
            "VersionPromoted (requested)",
            "VersionPromoted a requested, was b",
            "VersionPromoted a, was b, requested",
            "VersionPromoted was  b",
        ],
    )
    def test_what_is_left_out_is_not_compared(self, fact: str) -> None:
        TWO.when(promote("a")).then(fact)

    @pytest.mark.parametrize(
        "fact",
        [
            "",
            "Version",
            "promoted a",
            "VersionPublished a",
            "VersionPromoted b",
            "VersionPromoted a fallback",
            "VersionPromoted was a",
            "VersionPromoted a requested, was none",
            "a VersionPromoted",
        ],
    )
    def test_what_is_said_must_hold(self, fact: str) -> None:
        assert "expected these facts" in failing(lambda: TWO.when(promote("a")).then(fact))

    def test_an_event_is_compared_exactly(self) -> None:
        decision = TWO.when(promote("a").at("10:00"))
        (promoted,) = decision.events
        decision.then(promoted)
        assert isinstance(promoted, VersionPromoted)
        other = VersionPromoted(promoted.version_id, promoted.previous, promoted.cause, at_us=promoted.at_us + 1)
        assert "VersionPromoted a requested, was b" in failing(lambda: decision.then(other))

    def test_all_facts_must_be_told_in_their_order(self) -> None:
        decision = TWO.when(delete("b"))
        decision.then("VersionDeleted b", "VersionPromoted a")
        for facts in (["VersionDeleted b"], ["VersionPromoted a", "VersionDeleted b"], ["VersionDeleted b"] * 3):
            assert failing(partial(decision.then, *facts))

    def test_a_refusal_is_no_fact(self) -> None:
        decision = TWO.given(deactivate("a")).when(promote("a"))
        assert "refused, VersionNotActiveError" in failing(lambda: decision.then("VersionPromoted a"))

    def test_every_fact_in_all_its_words(self) -> None:
        story = given(deploy("a", publish=True), policy=AWAITED)
        story = story.given(fails("a", 'no "memory" left'), activate("a"), ready("a"), deploy(), deactivate("a"))
        story = story.given(publish("0.2.0", promote=False), delete("a"), delete("0.2.0"))
        assert [story.tell(fact.event) for fact in story.log] == [
            "VersionDeployed a 0.1.0, published with claim, activating",
            'VersionActivationFailed a "no \\"memory\\" left"',
            "VersionActivationRequested a",
            "VersionActivated a",
            "VersionPromoted a published, was none",
            "VersionDeployed 0.2.0, draft, activating",
            "VersionDeactivated a",
            "PrimaryCleared lost, was a",
            "VersionPublished 0.2.0 without claim",
            "VersionDeleted a",
            "VersionDeleted 0.2.0",
            "ModelDeleted",
        ]
        again = given(deploy("a", publish=True), policy=AWAITED).when(fails("a", 'no "memory" left'))
        again.then('VersionActivationFailed a "no \\"memory\\" left"')


class TestKeyed:
    def test_what_is_so_already_keeps_the_key(self) -> None:
        kept = TWO.when(publish("a").keyed()).then("NothingChanged a, publish")
        assert (kept.log[-1].idempotency_key, kept.log[-1].version_id) == (f"key {len(kept.log)}", kept.id("a"))
        assert "NothingChanged a publish" in str(kept)
        assert "expected these facts" in failing(
            lambda: TWO.when(publish("a").keyed()).then("NothingChanged a, promote")
        )

    def test_what_changes_something_has_the_key_too(self) -> None:
        promoted = TWO.when(promote("a").keyed().by("ada")).then("VersionPromoted a").log[-1]
        assert (promoted.idempotency_key, promoted.actor) == (f"key {len(TWO.log) + 1}", "ada")

    def test_a_stale_answer_keeps_none(self) -> None:
        TWO.when(ready("a").keyed()).nothing_happened()

    def test_a_plain_event_has_a_key_of_its_own(self) -> None:
        story = TWO.given(NothingChanged("publish", TWO.id("a"), at_us=TWO.now_us))
        assert story.log[-1].idempotency_key is not None
        assert story.primary == TWO.primary

    @pytest.mark.parametrize("command", get_args(Unneeded))
    def test_a_command_is_no_label(self, command: str) -> None:
        with pytest.raises(ValueError, match="none that facts are told with"):
            deploy(command)


class TestNothingHappened:
    def test_it_holds_of_what_is_so_already(self) -> None:
        assert TWO.when(publish("a")).nothing_happened().primary == "b"

    def test_facts_and_refusals_are_something(self) -> None:
        assert "expected that nothing happens" in failing(TWO.when(promote("a")).nothing_happened)
        assert "expected that nothing happens" in failing(given().when(rollback()).nothing_happened)


class TestRefused:
    @pytest.mark.parametrize("why", ["R24", "model-not-found", ModelNotFoundError])
    def test_by_its_rule_its_code_or_its_class(self, why: str) -> None:
        story = given().when(rollback()).refused(why)
        assert story.log == []

    @pytest.mark.parametrize("why", ["R8", "version-not-found", VersionNotFoundError, "model", ""])
    def test_another_refusal_is_not_it(self, why: str) -> None:
        assert "expected a refusal" in failing(lambda: given().when(rollback()).refused(why))

    def test_facts_and_nothing_are_no_refusal(self) -> None:
        assert "expected a refusal, R8" in failing(lambda: TWO.when(promote("a")).refused("R8"))
        assert "expected a refusal, R8" in failing(lambda: TWO.when(promote("b")).refused("R8"))

    def test_what_was_recorded_before_a_refusal_counts(self) -> None:
        decision = TWO.when(lambda _story: [deactivate("a"), promote("a")])
        assert "VersionDeactivated a" in failing(lambda: decision.refused("R8"))


class TestWhatAFailureTells:
    def test_the_whole_story(self) -> None:
        story = given(deploy("a", publish=True).by("ada", "first try"), policy=AWAITED, model_name="My model")
        story = story.given(ready("a").at("09:04").by("service"), publish("a"))
        decision = story.given(deactivate("a")).when(promote("a", expected_primary=None).at("10:00"))
        told = failing(lambda: decision.then("VersionPromoted a", PrimaryCleared(story.id("a"), at_us=0)))
        assert told.split("\n") == [
            "promote a, expecting none to be primary: expected these facts.",
            "      VersionPromoted a",
            "      PrimaryCleared lost, was a",
            "Got:",
            f"      refused, VersionNotActiveError: {decision.error}",
            "The story:",
            f"My model in default, under {AWAITED}",
            "  2026-01-01 09:00:00  deploy a, publish (by ada: first try)",
            "      VersionDeployed a 0.1.0, published with claim, activating",
            "      primary: none",
            "  2026-01-01 09:04:00  a is ready (by service)",
            "      VersionActivated a",
            "      VersionPromoted a published, was none",
            "      primary: a",
            "  2026-01-01 09:04:01  publish a",
            "      nothing happened",
            "      primary: a",
            "  2026-01-01 09:04:02  deactivate a",
            "      VersionDeactivated a",
            "      PrimaryCleared lost, was a",
            "      primary: none",
            "  2026-01-01 10:00:00  promote a, expecting none to be primary",
            f"      refused, VersionNotActiveError: {decision.error}",
            "      primary: none",
        ]

    def test_what_is_given_must_be_possible(self) -> None:
        told = failing(lambda: given(deploy("a"), deactivate("a"), promote("a")))
        assert told.startswith("promote a: given, and refused.\nGot:\n      refused, VersionNotActiveError")

    def test_that_nothing_was_asked(self) -> None:
        assert "nothing was asked: expected these facts." in failing(
            lambda: TWO.when(lambda _story: None).then("ModelDeleted")
        )

    @pytest.mark.parametrize(
        ("step", "words"),
        [
            (deploy(), "deploy"),
            (deploy("a", bump="PATCH", publish=True, promote=False), "deploy a, PATCH, publish, promote=False"),
            (publish("a", promote=True), "publish a, promote=True"),
            (rollback(expected_primary="b"), "rollback, expecting b to be primary"),
            (deactivate("0.1.0"), "deactivate 0.1.0"),
            (ready("a", attempt=2), "a is ready, answering wait 2"),
            (fails("a", activation_id="act_x"), "a fails to start, answering act_x"),
        ],
    )
    def test_steps_are_told_in_words(self, step: Step, words: str) -> None:
        assert step.words == words


class TestWhatIsAsked:
    def test_plain_commands(self) -> None:
        story = given(Deploy(ArtifactRef("memory:a"), "00000000", publish=True))
        assert story.primary == "0.1.0"
        story = story.when(Deactivate(story.id("0.1.0"))).then("VersionDeactivated 0.1.0", "PrimaryCleared was 0.1.0")
        assert [chapter.words for chapter in story.chapters] == ["deploy", "deactivate 0.1.0"]
        story.when(Rollback()).refused("R13")

    def test_a_service_that_asks_for_one_command(self) -> None:
        def retire_the_oldest(story: Story) -> Command | None:
            assert story.model is not None
            oldest, *others = story.model.active
            return Deactivate(oldest.version_id) if others else None

        story = TWO.when(retire_the_oldest).then("VersionDeactivated a")
        story.when(retire_the_oldest).nothing_happened()

    def test_a_service_that_asks_for_several(self) -> None:
        def replace(story: Story) -> Iterable[Command | Step]:
            yield deploy("c")
            yield Promote(story.id("a"))
            yield promote("c", expected_primary="a")

        story = TWO.when(replace).then(
            "VersionDeployed c 0.3.0", "VersionPromoted a", "VersionPublished c", "VersionPromoted c, was a"
        )
        assert len({fact.command_id for fact in story.log[-4:]}) == 3

    def test_after_a_refusal_a_service_asks_for_nothing_more(self) -> None:
        story = TWO.when(lambda _story: [promote("a", expected_primary="a"), delete("a")]).refused("R22")
        assert story.active == ("a", "b")

    def test_given_takes_them_too(self) -> None:
        assert TWO.given(lambda _story: [deactivate("a"), deactivate("b")]).active == ()

    def test_arguments_are_checked_as_the_registry_checks_them(self) -> None:
        given().when(deploy("a", metadata={"x": float("nan")})).refused("R28")
        wrong: Any = 1
        given().when(deploy("a", publish=wrong)).refused("invalid-argument")
        TWO.when(publish("a", promote=wrong)).refused("invalid-argument")
        assert given(deploy("a", metadata={"b": 1, "a": 2})).version("a").metadata_json == '{"a":2,"b":1}'


class TestWhatHappened:
    def test_plain_events(self) -> None:
        story = given(A, VersionPromoted("ver_a", None, "published", at_us=2_000_000))
        assert (story.primary, story.version("0.1.0").version_id, story.now_us) == ("0.1.0", "ver_a", 3_000_000)
        story.when(deactivate("0.1.0")).then("VersionDeactivated 0.1.0", "PrimaryCleared was 0.1.0")

    def test_a_real_history_under_another_policy(self) -> None:
        history = recorded(
            A,
            VersionPromoted("ver_a", None, "published", at_us=2),
            workspace="acme",
            model_name="m",
            actor="ada",
            after=9,
        )
        story = given(*history, policy=Policy(losing_primary="refuse"))
        assert (story.workspace, story.model_name, story.stream) == ("acme", "m", stream_of("acme", "m"))
        assert story.log == history
        assert (story.version("0.1.0").workspace, story.version("0.1.0").deployed_by) == ("acme", "ada")
        story = story.given(deploy("b", publish=True))
        assert [fact.position for fact in story.log] == [10, 11, 12, 13]
        story.when(delete("b")).refused("R11")

    def test_a_story_is_of_one_name(self) -> None:
        with pytest.raises(ValueError, match=re.escape("'model', not 'other'")):
            given(*recorded(A), *recorded(A, model_name="other"))

    def test_a_story_is_never_changed(self) -> None:
        before = str(TWO)
        TWO.given(delete("a")).when(delete("b")).then("VersionDeleted b", "PrimaryCleared was b", "ModelDeleted")
        TWO.when(delete("a")).then("VersionDeleted a")
        assert (str(TWO), TWO.active) == (before, ("a", "b"))

    def test_another_policy_from_here_on(self) -> None:
        story = TWO.under(Policy(losing_primary="leave_none"))
        story.when(deactivate("b")).then("VersionDeactivated b", "PrimaryCleared was b")
        TWO.when(deactivate("b")).then("VersionDeactivated b", "VersionPromoted a fallback")


class TestTheClock:
    def test_it_goes_on_by_a_second_a_command(self) -> None:
        story = given(deploy("a"), activate("a"), deploy("b").at("10:20"), deploy("c"))
        assert [f"{fact.timestamp:%H:%M:%S}" for fact in story.log] == ["09:00:00", "10:20:00", "10:20:01"]

    def test_it_can_be_set(self) -> None:
        story = given(deploy("a")).at("11:30:15").given(deploy("b"))
        assert story.log[-1].timestamp == datetime(2026, 1, 1, 11, 30, 15, tzinfo=UTC)
        story = story.given(deploy("c").at(datetime(2027, 3, 4, tzinfo=UTC)))
        assert story.log[-1].timestamp == datetime(2027, 3, 4, tzinfo=UTC)

    def test_it_can_be_set_back(self) -> None:
        story = given(deploy("a").at("10:00"), deploy("b").at("09:57"))
        assert story.log[1].timestamp == story.log[0].timestamp


class TestNames:
    def test_a_version_is_spoken_of_by_label_number_or_id(self) -> None:
        version_id = TWO.id("b")
        assert TWO.id("0.2.0") == TWO.id(version_id) == version_id
        assert (TWO.name(version_id), TWO.name(None)) == ("b", "none")
        assert TWO.primary == "b"

    def test_a_number_is_of_the_present_life_or_else_of_the_last(self) -> None:
        story = given(deploy(), deploy(), delete("0.1.0"), delete("0.2.0"), deploy())
        first, second, third = story.state.versions
        assert (story.id("0.1.0"), story.id("0.2.0")) == (third, second)
        assert (story.name(first), story.name(second), story.name(third)) == (first, "0.2.0", "0.1.0")

    def test_an_id_that_nobody_knows_stays_what_it_is(self) -> None:
        unknown = version_id_of("0" * 32, 1, "00000000")
        assert TWO.id(unknown) == TWO.name(unknown) == unknown
        TWO.when(ready(unknown)).refused(VersionNotFoundError)

    def test_what_is_not_in_the_story_is_the_tests_mistake(self) -> None:
        with pytest.raises(LookupError, match=re.escape("called 'c'; there is a (0.1.0), b (0.2.0).")):
            TWO.when(promote("c"))
        with pytest.raises(LookupError, match="there is nothing"):
            given().id("a")

    @pytest.mark.parametrize("label", ["", "two words", "0.1.0", "published", "VersionDeployed", "none", "a,b", "é"])
    def test_a_label_tells_versions_apart_in_facts(self, label: str) -> None:
        with pytest.raises(ValueError, match="A label is one word"):
            deploy(label)

    def test_a_label_is_given_once(self) -> None:
        with pytest.raises(ValueError, match="Another version is called 'a'"):
            TWO.given(deploy("a"))

    def test_waits_are_counted(self) -> None:
        story = given(deploy("a"), fails("a"), activate("a"), policy=AWAITED)
        assert story.wait("a") == story.wait("a", 2) != story.wait("a", 1)
        assert TWO.wait("a") == TWO.wait("a", 1)


class TestPlainLogs:
    def test_recorded_counts_positions_sequences_lives_and_appends(self) -> None:
        ended = VersionActivationFailed("ver_a", "act", "x", at_us=2)
        log = recorded(A, [VersionDeactivated("ver_a", at_us=2), ModelDeleted(at_us=2)], A, ended, after=5)
        assert [fact.position for fact in log] == [6, 7, 8, 9, 10]
        assert [fact.sequence for fact in log] == [1, 2, 3, 4, 5]
        assert [fact.generation for fact in log] == [1, 1, 1, 2, 2]
        assert [(fact.index, fact.count) for fact in log] == [(0, 1), (0, 2), (1, 2), (0, 1), (0, 1)]
        assert len({fact.event_id for fact in log}) == 5
        assert {(fact.workspace, fact.model_name, fact.stream) for fact in log} == {
            ("default", "model", stream_of("default", "model"))
        }

    def test_a_story_records_the_same_way(self) -> None:
        log = TWO.log
        assert [fact.event_id for fact in log] == [f"{TWO.stream}.{place}" for place in ("1.0", "1.1", "3.0", "3.1")]
        appends = [[fact.event for fact in log[:2]], [fact.event for fact in log[2:]]]
        assert recorded(*appends) == log

    def test_merged_keeps_appends_together_in_the_order_of_time(self) -> None:
        early = given(deploy("a", publish=True).at("08:00"), model_name="early").log
        late = given(deploy("a").at("12:00"), model_name="late").log
        log = merged(late, early, TWO.log)
        assert [fact.position for fact in log] == list(range(1, 8))
        assert [fact.model_name for fact in log] == ["early"] * 2 + ["model"] * 4 + ["late"]
        assert set(PrimaryVersions().fold(log).current) == {("default", "early"), ("default", "model")}
