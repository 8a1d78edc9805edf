"""The rules of SPEC.md but for those of the primary role, one class each.

The docstring of a class is the sentence, its tests are what follows from it. R7 to R13 are in
test_rules_of_the_primary.py. Those that need a registry (R21, R24 to R28, the retries of R22) are tested with it, the
folds of R18 and R19 with the projections, and the form of arguments with `limits.py`.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st

from tests.stories import AWAITED, CLAIMLESS, LEAVE_NONE, POLICIES, ROWS, asked_in, everything, worked_day
from versioning.commands import Expect
from versioning.errors import (
    InvalidArgumentError,
    InvalidBumpError,
    PrimaryMovedError,
    VersionDeletedError,
    VersionNotFoundError,
)
from versioning.events import VersionDeployed
from versioning.ids import parse_model_id, parse_version_id, stream_of
from versioning.limits import checked_name
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
    rollback,
)


class TestR1FirstNumber:
    """The first version of a model is `0.1.0`, whatever bump is asked."""

    @pytest.mark.parametrize("bump", ["MAJOR", "MINOR", "PATCH"])
    def test_whatever_bump_is_asked(self, bump: str) -> None:
        given().when(deploy("a", bump=bump)).then("VersionDeployed a 0.1.0")


class TestR2Numbers:
    """Later numbers bump the highest number ever allocated in this model (deleted, inactive and failed count): `MINOR`
    by default, or `MAJOR`, `PATCH`. Lower parts reset. A number is never used twice. Bumps are exactly these three
    words (any case); anything else is an error before anything happens."""

    def test_minor_is_the_default(self) -> None:
        given(deploy("a")).when(deploy("b")).then("VersionDeployed b 0.2.0")

    @pytest.mark.parametrize(
        ("bump", "number"),
        [("PATCH", "1.2.4"), ("MINOR", "1.3.0"), ("MAJOR", "2.0.0"), ("patch", "1.2.4"), ("Minor", "1.3.0")],
    )
    def test_lower_parts_reset(self, bump: str, number: str) -> None:
        happened = [deploy(bump=each) for each in ["MAJOR", "MAJOR", "MINOR", "MINOR", *["PATCH"] * 3]]
        given(*happened).when(deploy("z", bump=bump)).then(f"VersionDeployed z {number}")

    @pytest.mark.parametrize(
        "gone", [[delete("b")], [ready("b"), deactivate("b")], [fails("b")]], ids=["deleted", "inactive", "failed"]
    )
    def test_the_highest_number_counts_even_when_its_version_is_gone(self, gone: list[Step]) -> None:
        story = given(deploy("a"), deploy("b"), *gone, policy=AWAITED)
        story.when(deploy("c", bump="PATCH")).then("VersionDeployed c 0.2.1")

    @pytest.mark.parametrize("bump", ["HUGE", "", " MINOR", "m\u0131nor", "MINOR\n", "\uff2dINOR"])
    def test_anything_else_is_an_error_before_anything_happens(self, bump: str) -> None:
        given(deploy("a")).when(deploy("b", bump=bump)).refused(InvalidBumpError)

    @hypothesis_given(st.lists(st.tuples(st.sampled_from(["MAJOR", "MINOR", "PATCH"]), st.booleans()), max_size=8))
    def test_a_number_is_never_used_twice(self, deployments: list[tuple[str, bool]]) -> None:
        story = given(deploy("kept"))
        for index, (bump, deletes) in enumerate(deployments):
            story = story.given(deploy(f"v{index}", bump=bump), *([delete(f"v{index}")] if deletes else []))
        numbers = [parts_of(fact.event.number) for fact in story.log if isinstance(fact.event, VersionDeployed)]
        assert all(earlier < later for earlier, later in pairwise(numbers))


class TestR3DraftsKeepTheirNumber:
    """A draft takes its number when it is deployed and keeps number and `version_id` when it is published."""

    def test_publishing_keeps_the_number_even_after_later_deployments(self) -> None:
        story = given(deploy("a"), deploy("b"))
        before, after = story.version("a"), story.given(publish("a")).version("a")
        assert (before.number, before.version_id) == (after.number, after.version_id)
        assert (before.stage, after.stage) == ("draft", "published")


class TestR4Names:
    """The name is the identity: case-sensitive, fixed for ever (no rename), brought to NFC when it comes in (stored,
    compared and given back so)."""

    def test_the_same_name_written_otherwise_is_the_same_stream(self) -> None:
        composed, decomposed = checked_name("caf\u00e9"), checked_name("cafe\u0301")
        assert composed == decomposed == "caf\u00e9"

    def test_another_case_is_another_name(self) -> None:
        assert stream_of("default", "Model") != stream_of("default", "model")


class TestR5VersionIds:
    """A `version_id` alone is enough to find its model: commands take the `version_id` and nothing else. It needs no
    look-up table, so that it works on every store."""

    def test_the_version_id_holds_the_stream_and_the_ordinal(self) -> None:
        story = given(deploy("a"), deploy("b"), model_name="My model", workspace="acme")
        address = parse_version_id(story.id("b"))
        assert address is not None
        assert (address.stream, address.ordinal) == (stream_of("acme", "My model"), 2)

    @pytest.mark.parametrize(
        "asked", [publish, promote, deactivate, activate, ready, fails, delete], ids=lambda asked: asked.__name__
    )
    def test_an_id_of_another_store_is_not_found(self, asked: Callable[..., Step]) -> None:
        other = given(deploy("b"), deploy("b2")).id("b2")
        given(deploy("a")).when(asked(other)).refused(VersionNotFoundError)


class TestR6NewLife:
    """After a model is deleted its name is free: the next deployment is a new model, a new `model_id`, again at
    `0.1.0`. No `version_id` or `model_id` is ever given twice. The old model's history stays readable."""

    once = given(deploy("a", bump="MAJOR", publish=True), deploy("b", publish=True), delete_model())

    def test_the_next_deployment_is_a_new_model_at_the_first_number(self) -> None:
        story = self.once.when(deploy("c")).then("VersionDeployed c 0.1.0, draft")
        assert [fact.generation for fact in story.log][-2:] == [1, 2]
        ids = [parse_model_id(story.version(label).model_id) for label in "abc"]
        assert [each and each.generation for each in ids] == [1, 1, 2]

    def test_no_id_is_given_twice(self) -> None:
        story = self.once.given(deploy("c"), delete("c"), deploy("d"))
        assert len({story.id(label) for label in "abcd"}) == 4
        assert len({story.version(label).model_id for label in "acd"}) == 3

    def test_nothing_of_the_old_life_reaches_into_the_new_one(self) -> None:
        story = self.once.given(deploy("c", publish=True, promote=False))
        story.when(rollback()).refused("R13")
        story.when(deactivate("c")).then("VersionDeactivated c", "PrimaryCleared was c")

    def test_the_old_versions_stay_readable(self) -> None:
        story = self.once.given(deploy("c"))
        assert (story.version("b").number, story.version("b").status) == ("0.2.0", "deleted")
        assert story.state.model(1).deleted_at is not None

    def test_what_was_cleared_in_the_old_life_is_open_in_the_new_one(self) -> None:
        story = given(deploy("a", publish=True), delete("a"), policy=LEAVE_NONE)
        story.when(deploy("b", publish=True, promote=False)).then("VersionDeployed", "VersionPromoted b (default)")


class TestR14Activation:
    """Activation is `instant` or `awaited`. Awaited applies to deploying and to re-activating. When instant,
    `VersionDeployed` itself means active; when awaited, it carries the `activation_id` to answer with."""

    def test_when_instant_deploying_means_active(self) -> None:
        story = given().when(deploy("a")).then("VersionDeployed a active")
        assert (story.version("a").status, story.version("a").activation_id) == ("active", None)

    def test_when_awaited_it_carries_the_id_to_answer_with(self) -> None:
        story = given(policy=AWAITED).when(deploy("a", publish=True)).then("VersionDeployed a activating")
        assert story.version("a").activation_id == story.wait("a")
        assert story.primary is None

    def test_reactivating_is_instant_or_awaited_too(self) -> None:
        story = given(deploy("a"), deactivate("a"))
        story.when(activate("a")).then("VersionActivated a")
        story.under(AWAITED).when(activate("a")).then("VersionActivationRequested a")


class TestR15StaleAnswers:
    """Each wait has a fresh `activation_id`. An answer with another id, or to a version that is no longer activating,
    is stale: nothing recorded, no error (a malformed id is an error). A failure text beyond its limit is cut, with a
    mark: an answer is never refused for its length."""

    second = given(deploy("a"), fails("a"), activate("a"), policy=AWAITED)

    def test_each_wait_has_a_fresh_id(self) -> None:
        assert self.second.wait("a", 1) != self.second.wait("a") == self.second.version("a").activation_id

    @pytest.mark.parametrize("answer", [ready("a", attempt=1), fails("a", attempt=1), ready("a", attempt=3)])
    def test_an_answer_with_another_id_is_stale(self, answer: Step) -> None:
        self.second.when(answer).nothing_happened()

    @pytest.mark.parametrize("answer", [ready("a"), fails("a")], ids=str)
    @pytest.mark.parametrize("ending", [ready("a"), fails("a"), deactivate("a"), delete("a")], ids=str)
    def test_an_answer_to_what_no_longer_starts_is_stale(self, ending: Step, answer: Step) -> None:
        self.second.given(deploy("b"), ending).when(answer).nothing_happened()

    def test_an_answer_with_the_id_of_another_version_is_stale(self) -> None:
        story = self.second.given(deploy("b"))
        story.when(ready("a", activation_id=story.wait("b"))).nothing_happened()

    @pytest.mark.parametrize("malformed", ["", "1", "act_", "ver_" + "0" * 32 + "_1_00000000"])
    def test_a_malformed_id_is_an_error(self, malformed: str) -> None:
        self.second.when(ready("a", activation_id=malformed)).refused("R15")
        self.second.when(fails("a", activation_id=malformed)).refused(InvalidArgumentError)

    def test_a_long_failure_text_is_cut_with_a_mark(self) -> None:
        story = self.second.given(fails("a", "x" * 9_000))
        assert story.version("a").failure == "x" * 7_999 + "…"


class TestR16Immediately:
    """Deactivation and deletion are immediate, in any status, and end a wait."""

    @pytest.mark.parametrize(("ending", "fact"), [(deactivate, "VersionDeactivated"), (delete, "VersionDeleted")])
    def test_while_it_starts(self, ending: Callable[..., Step], fact: str) -> None:
        story = given(deploy("a"), deploy("b"), policy=AWAITED).when(ending("b")).then(f"{fact} b")
        assert story.version("b").activation_id is None
        story.when(ready("b")).nothing_happened()

    @pytest.mark.parametrize(("ending", "fact"), [(deactivate, "VersionDeactivated"), (delete, "VersionDeleted")])
    def test_while_it_is_active(self, ending: Callable[..., Step], fact: str) -> None:
        given(deploy("a"), deploy("b")).when(ending("b")).then(f"{fact} b")

    def test_deleting_what_is_inactive(self) -> None:
        given(deploy("a"), deploy("b"), deactivate("b")).when(delete("b")).then("VersionDeleted b")


class TestR17Deletion:
    """Deletion is for ever: no command on a deleted version succeeds. (A late activation answer is stale, R15, not a
    command.) Deleting the only version left (drafts, inactive and failed count as left) deletes the model in the same
    append. A model needs no active version."""

    @pytest.mark.parametrize(
        "asked", [publish, promote, deactivate, activate, delete], ids=lambda asked: asked.__name__
    )
    @pytest.mark.parametrize("last", [False, True])
    def test_no_command_on_a_deleted_version_succeeds(self, asked: Callable[..., Step], last: bool) -> None:
        story = given(deploy("a"), *([] if last else [deploy("b")]), delete("a"))
        story.when(asked("a")).refused(VersionDeletedError)

    def test_also_when_a_new_life_began(self) -> None:
        given(deploy("a"), delete("a"), deploy("b")).when(activate("a")).refused("R17")

    @pytest.mark.parametrize(
        "left",
        [[ready("b")], [ready("b"), deactivate("b")], [fails("b")], []],
        ids=["draft", "inactive", "failed", "-"],
    )
    def test_any_version_counts_as_left(self, left: list[Step]) -> None:
        story = given(deploy("a", publish=True), ready("a"), deploy("b"), *left, policy=AWAITED)
        story = story.when(delete("a")).then("VersionDeleted a", "PrimaryCleared was a")
        story.when(delete("b")).then("VersionDeleted b", "ModelDeleted")

    def test_the_last_version_takes_the_model_with_it(self) -> None:
        story = given(deploy("a", publish=True)).when(delete("a"))
        assert story.then("VersionDeleted a", "PrimaryCleared was a", "ModelDeleted").model is None

    def test_a_model_needs_no_active_version(self) -> None:
        story = given(deploy("a"), deactivate("a"))
        assert story.model is not None
        assert (story.model.active, len(story.model.versions)) == ((), 1)

    def test_delete_model_deletes_each_version_left_in_the_order_of_their_numbers(self) -> None:
        story = given(deploy("a"), deploy("b", publish=True), deploy("c"), delete("a"), deactivate("c"))
        story.when(delete_model()).then("VersionDeleted b", "VersionDeleted c", "PrimaryCleared was b", "ModelDeleted")

    def test_delete_model_clears_no_role_that_nobody_has(self) -> None:
        given(deploy("a")).when(delete_model()).then("VersionDeleted a", "ModelDeleted")

    @pytest.mark.parametrize("story", [given(), given(deploy("a"), delete_model())])
    def test_deleting_a_model_that_is_not_there_is_an_error(self, story: Story) -> None:
        story.when(delete_model()).refused("R24")


class TestR18Billing:
    """A version is billing-eligible while it is `active` or `activating`: neither inactive nor deleted versions
    count."""

    def test_activating_and_active_count_drafts_too(self) -> None:
        story = given(deploy("a"), deploy("b"), ready("b"), deploy("c"), fails("c"), policy=AWAITED)
        story = story.given(deploy("d"), deactivate("d"), deploy("e"), delete("e"))
        assert story.billable == ("a", "b")
        assert [story.version(label).is_billable for label in "abcde"] == [True, True, False, False, False]
        assert story.model is not None
        assert [version.number for version in story.model.billable] == ["0.1.0", "0.2.0"]


class TestR20Repeats:
    """A command that asks for what is already so (publish a published, promote the primary, deactivate an inactive,
    activate an active or activating version) succeeds and records nothing. Two exceptions: promoting the primary while
    another version holds a newer claim (it is starting, or failed to start) renews the primary's claim
    (`VersionPromoted`, `previous` itself, cause `requested`); and R10's withdrawal. Deleting the deleted is R17's
    error."""

    primary = given(deploy("a", publish=True), ready("a"), policy=AWAITED)

    @pytest.mark.parametrize("again", [publish("a"), publish("a", promote=True), promote("a"), activate("a")], ids=str)
    def test_what_is_so_already_records_nothing(self, again: Step) -> None:
        self.primary.when(again).nothing_happened()

    def test_publishing_again_claims_nothing(self) -> None:
        story = given(deploy("a", publish=True), deploy("b", publish=True))
        story.when(publish("a", promote=True)).nothing_happened()

    def test_publishing_what_is_published_and_inactive(self) -> None:
        self.primary.given(deactivate("a")).when(publish("a")).nothing_happened()

    def test_deactivating_what_is_inactive(self) -> None:
        self.primary.given(deactivate("a")).when(deactivate("a")).nothing_happened()

    def test_activating_what_is_starting(self) -> None:
        given(deploy("a"), policy=AWAITED).when(activate("a")).nothing_happened()

    @pytest.mark.parametrize("state", [[], [fails("b")]], ids=["starting", "failed"])
    def test_promoting_the_primary_beside_a_newer_claim_renews_its_own(self, state: list[Step]) -> None:
        story = self.primary.given(deploy("b", publish=True), *state)
        story = story.when(promote("a")).then("VersionPromoted a requested, was a")
        story = story.when(promote("a")).nothing_happened()
        assert (story.primary, len(story.state.trail)) == ("a", 1)
        story.given(activate("b")).when(ready("b")).then("VersionActivated b")

    def test_a_primary_without_a_claim_is_not_renewed_where_nobody_holds_one(self) -> None:
        given(deploy("a", publish=True), policy=CLAIMLESS).when(promote("a")).nothing_happened()

    def test_deleting_the_deleted_is_an_error(self) -> None:
        self.primary.given(delete("a")).when(delete("a")).refused("R17")


class TestR22ExpectedPrimary:
    """`expected_primary=` on promote, rollback, deactivate and delete is looked at right after the key (R21), before
    R20 and the rules, and refuses when someone moved the primary first; left out, nothing is expected; `None` expects
    that there is none."""

    two = given(deploy("a", publish=True), deploy("b", publish=True))

    @pytest.mark.parametrize("asked", [promote, deactivate, delete], ids=lambda asked: asked.__name__)
    def test_it_refuses_when_someone_moved_the_primary_first(self, asked: Callable[..., Step]) -> None:
        story = self.two.given(rollback())
        error = story.when(asked("a", expected_primary="b")).refused("primary-moved").chapters[-1].error
        assert isinstance(error, PrimaryMovedError)
        assert (error.expected, error.actual) == (story.id("b"), story.id("a"))

    def test_the_refusal_says_which_it_is(self) -> None:
        error = self.two.when(promote("a", expected_primary=None)).error
        assert error is not None
        assert error.sentence == f"The primary is {self.two.id('b')}, but none was expected."
        story = given(deploy("a"))
        error = story.when(promote("a", expected_primary="a")).error
        assert error is not None
        assert error.sentence == f"The primary is none, but {story.id('a')} was expected."

    def test_it_lets_pass_what_is_as_expected(self) -> None:
        self.two.when(promote("a", expected_primary="b")).then("VersionPromoted a requested, was b")
        self.two.when(deactivate("a", expected_primary="b")).then("VersionDeactivated a")
        self.two.when(delete("a", expected_primary="b")).then("VersionDeleted a")
        self.two.when(rollback(expected_primary="b")).then("VersionPromoted a")

    def test_none_expects_that_there_is_none(self) -> None:
        self.two.when(promote("a", expected_primary=None)).refused(PrimaryMovedError)
        given(deploy("a")).when(promote("a", expected_primary=None)).then("VersionPublished a", "VersionPromoted a")

    def test_left_out_nothing_is_expected(self) -> None:
        self.two.when(promote("a", expected_primary=Expect.ANYTHING)).then("VersionPromoted a requested, was b")

    def test_it_is_looked_at_before_what_is_so_already(self) -> None:
        self.two.when(promote("b", expected_primary="a")).refused("R22")

    def test_it_is_looked_at_before_the_rules(self) -> None:
        story = self.two.given(deactivate("a"))
        story.when(promote("a", expected_primary="a")).refused("R22")
        self.two.given(delete("a")).when(delete("a", expected_primary="a")).refused("R22")

    def test_a_deleted_model_has_no_primary_even_when_its_name_has_one(self) -> None:
        story = given(deploy("a", publish=True), delete("a"), deploy("b", publish=True))
        story.when(delete("a", expected_primary="b")).refused("R22")
        story.when(delete("a", expected_primary=None)).refused("R17")

    def test_it_is_the_id_of_a_version(self) -> None:
        name = parse_model_id(self.two.version("a").model_id)
        assert name is not None
        self.two.when(promote("a", expected_primary=self.two.version("a").model_id)).refused("R5")


class TestR23Time:
    """Timestamps are aware UTC and never go back within a stream, even when the clock does (the last one is used
    again)."""

    def test_the_last_timestamp_is_used_again_when_the_clock_goes_back(self) -> None:
        story = given(deploy("a").at("10:00"), deploy("b").at("09:55"), deploy("c").at("10:00:01"))
        assert [f"{fact.timestamp:%H:%M:%S%z}" for fact in story.log] == [
            "10:00:00+0000", "10:00:00+0000", "10:00:01+0000"
        ]  # fmt: skip

    def test_also_over_the_lives_of_a_name(self) -> None:
        story = given(deploy("a").at("10:00"), delete("a"), deploy("b").at("09:56"))
        assert story.log[-1].timestamp == story.log[-2].timestamp

    def test_a_clock_that_is_further_behind_refuses_what_would_be_recorded(self) -> None:
        story = given(deploy("a", publish=True).at("10:00"), deploy("b"), deactivate("b")).at("09:55")
        story.when(deactivate("a")).refused("R23")
        story.when(promote("a")).nothing_happened()
        story.when(promote("b")).refused("R8")
        story.when(promote("a", expected_primary="b")).refused("R22")
        story.at("09:55:02").when(deactivate("a")).then("VersionDeactivated a", "PrimaryCleared was a")

    def test_the_limit_can_be_another_one_or_none(self) -> None:
        story = given(deploy("a").at("10:00"), deploy("b").at("00:00"), clock_skew_max_s=None)
        assert len({fact.timestamp for fact in story.log}) == 1
        given(deploy("a").at("10:00"), clock_skew_max_s=0.5).when(deploy("b").at("09:59:59")).refused("R23")

    def test_the_facts_of_one_append_are_of_one_moment(self) -> None:
        story = given(deploy("a", publish=True), delete_model())
        assert len({fact.event.at_us for fact in story.log[2:]}) == 1


def test_a_worked_day() -> None:
    story = given(policy=AWAITED)
    for clock, words, records, primary, active, billable in ROWS:
        decision = story.when(asked_in(words).at(clock))
        if records == "refused":
            story = decision.refused("R17" if story.version(words[-1]).status == "deleted" else "R8")
        elif records == "nothing":
            story = decision.nothing_happened()
        else:
            story = decision.then(*records.split(", "))
        assert all(f"{fact.timestamp:%H:%M}" == clock for fact in story.chapters[-1].facts)
        shown = story.primary and story.version(story.primary).number
        sets = [" ".join(story.version(label).number for label in labels) for labels in (story.active, story.billable)]
        assert [shown or "–", *(each or "–" for each in sets)] == [primary, active, billable], str(story)
    assert story.version("h").model_id != story.version("g").model_id


class TestPolicy:
    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            ({"losing_primary": "panic"}, "losing_primary"),
            ({"losing_primary": None}, "losing_primary"),
            ({"losing_primary": ["fall_back"]}, "losing_primary"),
            ({"activation": "INSTANT"}, "activation"),
            ({"publishing_claims": 1}, "publishing_claims"),
            ({"publishing_claims": "no"}, "publishing_claims"),
        ],
    )
    def test_a_word_that_is_not_listed_is_refused(self, arguments: dict[str, Any], named: str) -> None:
        with pytest.raises(InvalidArgumentError) as refused:
            Policy(**arguments)
        assert refused.value.facts == {"argument": named}
        assert refused.value.hint in {f"Pass {named}={good!r}." for good in ("fall_back", "instant", True)}

    def test_the_log_never_depends_on_it(self) -> None:
        story = worked_day()
        assert all(everything(story.under(policy).state) == everything(story.state) for policy in POLICIES)
