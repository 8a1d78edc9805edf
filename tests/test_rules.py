"""The rules of SPEC.md, one class each: its docstring is the sentence, its tests are what follows from it.

Those that need a registry (R21, R24 to R28, the retries of R22) are tested with it, the folds of R18 and R19 with the
projections, and the form of arguments with `limits.py`.
"""

import copy
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any, get_args

import attrs
import pytest
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st

from versioning import rules
from versioning.aggregate import ModelAggregate, Status
from versioning.commands import NAMES, Expect, VersionCommand
from versioning.errors import (
    InvalidArgumentError,
    InvalidBumpError,
    ModelNotFoundError,
    NothingToRollBackToError,
    PrimaryMovedError,
    PrimaryProtectedError,
    VersionDeletedError,
    VersionNotActiveError,
    VersionNotFoundError,
)
from versioning.events import VersionDeployed
from versioning.ids import parse_model_id, parse_version_id, stream_of
from versioning.limits import checked_name
from versioning.numbers import parts_of
from versioning.rules import TRANSITIONS, Policy, Transition
from versioning.testing import (
    Decision,
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

AWAITED = Policy(activation="awaited")
LEAVE_NONE = Policy(losing_primary="leave_none")
REFUSE = Policy(losing_primary="refuse")
CLAIMLESS = Policy(publishing_claims=False)
POLICIES = [
    Policy(losing, claims, activation)
    for losing in ("fall_back", "leave_none", "refuse")
    for claims in (True, False)
    for activation in ("instant", "awaited")
]


def everything(state: ModelAggregate) -> dict[str, object]:
    """All that a state holds, to compare it with itself later."""
    return {name: copy.deepcopy(getattr(state, name)) for name in ModelAggregate.__slots__}


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


class TestR7Claims:
    """A claim on the primary role is made by publishing a version, by promoting it and by rolling back to it, and by
    nothing else (`fallback` and `default` promotions make none). Claims are ordered by when they were recorded; a
    version without one counts as older than any. `promote=False` on deploy or publish publishes without a claim;
    policy `publishing_claims=False` makes that the default, and `promote=True` overrides it. `promote=True` without
    `publish=True` is an error."""

    def test_publishing_claims(self) -> None:
        given(deploy("a", publish=True), deploy("b")).when(publish("b")).then(
            "VersionPublished b with claim", "VersionPromoted b published, was a"
        )

    def test_deploying_published_claims(self) -> None:
        given(deploy("a", publish=True)).when(deploy("b", publish=True)).then(
            "VersionDeployed b 0.2.0, published with claim, active", "VersionPromoted b published, was a"
        )

    def test_a_draft_claims_nothing(self) -> None:
        given(deploy("a", publish=True)).when(deploy("b")).then("VersionDeployed b 0.2.0, draft, active")

    @pytest.mark.parametrize("policy", POLICIES)
    def test_promote_false_publishes_without_a_claim(self, policy: Policy) -> None:
        story = given(deploy("a", publish=True, promote=True), deploy("b"), policy=policy)
        story.when(publish("b", promote=False)).then("VersionPublished b without claim")
        story.when(deploy("c", publish=True, promote=False)).then("VersionDeployed c published without claim")

    def test_a_policy_makes_that_the_default(self) -> None:
        story = given(deploy("a", publish=True), deploy("b"), policy=CLAIMLESS)
        story.when(publish("b")).then("VersionPublished b without claim")
        story.when(deploy("c", publish=True)).then("VersionDeployed c published without claim")

    def test_promote_true_overrides_the_policy(self) -> None:
        story = given(deploy("a", publish=True), deploy("b"), policy=CLAIMLESS)
        story.when(publish("b", promote=True)).then("VersionPublished b with claim", "VersionPromoted b (published)")
        story.when(deploy("c", publish=True, promote=True)).then(
            "VersionDeployed c published with claim", "VersionPromoted c published, was a"
        )

    def test_promote_true_without_publish_is_an_error(self) -> None:
        given().when(deploy("a", promote=True)).refused("R7")

    def test_promote_false_without_publish_is_none(self) -> None:
        given().when(deploy("a", promote=False)).then("VersionDeployed a draft")

    def test_a_newer_publication_beats_an_older_one_whoever_is_ready_first(self) -> None:
        story = given(deploy("a", publish=True), deploy("b", publish=True), ready("b"), policy=AWAITED)
        story.when(ready("a")).then("VersionActivated a")

    def test_promoting_claims(self) -> None:
        story = given(deploy("a", publish=True), ready("a"), deploy("b", publish=True), ready("b"), policy=AWAITED)
        story = story.given(deploy("c", publish=True), promote("a"))
        story.when(ready("c")).then("VersionActivated c")

    def test_rolling_back_claims(self) -> None:
        story = given(deploy("a", publish=True), ready("a"), deploy("b", publish=True), ready("b"), policy=AWAITED)
        story = story.given(deploy("c", publish=True), rollback())
        story.when(ready("c")).then("VersionActivated c")

    def test_falling_back_makes_no_claim(self) -> None:
        story = given(deploy("a", publish=True), ready("a"), deploy("b", publish=True), ready("b"), policy=AWAITED)
        story = story.given(deploy("c", publish=True), deactivate("b"))
        assert story.primary == "a"
        story.when(ready("c")).then("VersionActivated c", "VersionPromoted c published, was a")

    def test_a_default_makes_no_claim(self) -> None:
        story = given(deploy("b", publish=True), deploy("a", publish=True, promote=False), policy=AWAITED)
        story = story.given(ready("a"))
        assert story.primary == "a"
        story.when(ready("b")).then("VersionActivated b", "VersionPromoted b published, was a")

    def test_between_two_without_a_claim_the_primary_stays(self) -> None:
        given(deploy("a", publish=True), policy=CLAIMLESS).when(deploy("b", publish=True)).then("VersionDeployed b")


class TestR8OnlyActiveAndPublished:
    """The primary is always `active` and published. A draft is never primary; promoting an active draft publishes it
    first, in the same append (`VersionPublished`, then `VersionPromoted` with cause `requested`). Promoting what is
    not active is refused."""

    @pytest.mark.parametrize("policy", POLICIES)
    def test_a_draft_is_never_primary(self, policy: Policy) -> None:
        story = given(deploy("a"), ready("a"), policy=policy)
        assert (story.active, story.primary) == (("a",), None)

    def test_promoting_an_active_draft_publishes_it_first(self) -> None:
        decision = given(deploy("a", publish=True), deploy("b")).when(promote("b"))
        story = decision.then("VersionPublished b without claim", "VersionPromoted b requested, was a")
        assert story.log[-1].command_id == story.log[-2].command_id

    def test_promoting_an_activating_version_is_refused(self) -> None:
        given(deploy("a", publish=True), policy=AWAITED).when(promote("a")).refused(VersionNotActiveError)

    def test_promoting_an_inactive_version_is_refused(self) -> None:
        given(deploy("a", publish=True), deactivate("a")).when(promote("a")).refused("R8")

    def test_promoting_a_failed_version_is_refused(self) -> None:
        given(deploy("a"), fails("a"), policy=AWAITED).when(promote("a")).refused("version-not-active")

    def test_publishing_an_inactive_draft_is_refused(self) -> None:
        given(deploy("a"), deactivate("a")).when(publish("a")).refused("R8")


class TestR9NewestClaim:
    """At the moment when a published version becomes active, or an active one is published, it takes the primary role
    if its claim is newer than the primary's, or if there is no primary (cause `published` with a claim, `default`
    without). Under `leave_none`, a role that was cleared is taken by a claim only. So a slow start takes over when it
    is ready, unless a newer claim came in between, and a plain re-activation never moves traffic away from a working
    primary."""

    def test_a_slow_start_takes_over_when_it_is_ready(self) -> None:
        story = given(deploy("a", publish=True), ready("a"), deploy("b", publish=True), policy=AWAITED)
        story.when(ready("b")).then("VersionActivated b", "VersionPromoted b published, was a")

    def test_unless_a_newer_claim_came_in_between(self) -> None:
        story = given(deploy("a", publish=True), ready("a"), deploy("b", publish=True), promote("a"), policy=AWAITED)
        story.when(ready("b")).then("VersionActivated b")

    def test_a_draft_that_is_published_while_it_starts_takes_over_when_it_is_ready(self) -> None:
        story = given(deploy("a", publish=True), ready("a"), deploy("b"), policy=AWAITED)
        story = story.when(publish("b")).then("VersionPublished b with claim")
        story.when(ready("b")).then("VersionActivated b", "VersionPromoted b published, was a")

    def test_a_draft_that_becomes_active_takes_nothing(self) -> None:
        given(deploy("a"), policy=AWAITED).when(ready("a")).then("VersionActivated a")

    @pytest.mark.parametrize("policy", [Policy(), AWAITED])
    def test_a_plain_reactivation_moves_no_traffic(self, policy: Policy) -> None:
        story = given(deploy("a", publish=True), ready("a"), deploy("b", publish=True), ready("b"), policy=policy)
        story = story.given(deactivate("a"), activate("a"), ready("a"))
        assert (story.primary, story.active) == ("b", ("a", "b"))

    def test_where_there_is_no_primary_a_reactivation_takes_the_role_by_default(self) -> None:
        given(deploy("a", publish=True), deactivate("a")).when(activate("a")).then(
            "VersionActivated a", "VersionPromoted a default, was none"
        )

    def test_where_there_is_no_primary_publishing_without_a_claim_takes_it_by_default(self) -> None:
        given(deploy("a")).when(publish("a", promote=False)).then(
            "VersionPublished a without claim", "VersionPromoted a default, was none"
        )

    def test_with_a_claim_the_cause_is_published_even_where_there_is_no_primary(self) -> None:
        given().when(deploy("a", publish=True)).then("VersionDeployed a", "VersionPromoted a published, was none")

    def test_under_leave_none_a_role_never_given_is_taken_without_a_claim(self) -> None:
        given(policy=LEAVE_NONE).when(deploy("a", publish=True, promote=False)).then(
            "VersionDeployed a", "VersionPromoted a default, was none"
        )

    def test_under_leave_none_a_cleared_role_is_not_taken_without_a_claim(self) -> None:
        story = given(deploy("a", publish=True), deactivate("a"), policy=LEAVE_NONE)
        story.when(activate("a")).then("VersionActivated a")
        story.when(deploy("b", publish=True, promote=False)).then("VersionDeployed b")

    def test_under_leave_none_a_cleared_role_is_taken_by_a_claim(self) -> None:
        story = given(deploy("a", publish=True), deploy("b"), deactivate("a"), policy=LEAVE_NONE)
        story.when(publish("b")).then("VersionPublished b", "VersionPromoted b published, was none")

    def test_under_leave_none_the_oldest_claim_of_all_is_one(self) -> None:
        story = given(deploy("a", publish=True), deploy("b", publish=True), ready("b"), policy=AWAITED)
        story = story.under(Policy("leave_none", activation="awaited")).given(deactivate("b"))
        story.when(ready("a")).then("VersionActivated a", "VersionPromoted a published, was none")

    @pytest.mark.parametrize("losing", ["fall_back", "refuse"])
    def test_under_the_other_policies_a_cleared_role_is_open(self, losing: str) -> None:
        policy = REFUSE if losing == "refuse" else Policy()
        given(deploy("a", publish=True), deactivate("a"), policy=policy).when(activate("a")).then(
            "VersionActivated a", "VersionPromoted a default, was none"
        )

    def test_a_role_that_was_filled_again_is_not_cleared_any_more(self) -> None:
        story = given(deploy("a", publish=True), deactivate("a"), deploy("b", publish=True), policy=LEAVE_NONE)
        assert not story.state.cleared
        assert story.given(deactivate("b")).state.cleared


class TestR10ForfeitingClaims:
    """Deactivating forfeits the claim, and so does being rolled back from. A failed start keeps it, so that a retry
    that succeeds does what was asked for; deactivating the failed version withdraws it (recorded as
    `VersionDeactivated`, although it was inactive already)."""

    failed = given(deploy("a", publish=True), ready("a"), deploy("b", publish=True), fails("b"), policy=AWAITED)

    def test_deactivating_forfeits_the_claim(self) -> None:
        story = given(deploy("a", publish=True), ready("a"), deploy("b", publish=True), policy=AWAITED)
        story = story.given(deactivate("b"), activate("b"))
        story.when(ready("b")).then("VersionActivated b")

    def test_being_rolled_back_from_forfeits_the_claim(self) -> None:
        story = given(deploy("a", publish=True), deploy("b", publish=True), rollback())
        assert story.id("b") not in story.state.claims

    def test_a_failed_start_keeps_it_so_that_a_retry_does_what_was_asked_for(self) -> None:
        story = self.failed.given(activate("b"))
        story.when(ready("b")).then("VersionActivated b", "VersionPromoted b published, was a")

    def test_deactivating_the_failed_version_withdraws_it(self) -> None:
        story = self.failed.when(deactivate("b")).then("VersionDeactivated b")
        story = story.when(deactivate("b")).nothing_happened()
        story.given(activate("b")).when(ready("b")).then("VersionActivated b")

    def test_deactivating_what_failed_without_a_claim_is_so_already(self) -> None:
        story = given(deploy("a", publish=True, promote=False), fails("a"), policy=AWAITED)
        story.when(deactivate("a")).nothing_happened()


class TestR11LosingThePrimary:
    """When the primary is deactivated or deleted, policy `losing_primary` says what follows. `fall_back` (default):
    the active published version with the newest claim (`VersionPromoted`, cause `fallback`); among those without a
    claim, one that was rolled back from and not claimed again comes last, and the latest publication first. If there
    is none: `PrimaryCleared`. `leave_none`: `PrimaryCleared`. `refuse`: the command is refused while another active
    published version exists, otherwise `PrimaryCleared`; `delete_model` is never stopped by it."""

    two = (deploy("a", publish=True), deploy("b", publish=True))

    @pytest.mark.parametrize(("ending", "fact"), [(deactivate, "VersionDeactivated"), (delete, "VersionDeleted")])
    def test_the_newest_claim_follows(self, ending: Callable[..., Step], fact: str) -> None:
        story = given(deploy("c", publish=True), *self.two, promote("c"), promote("a"))
        story.when(ending("a")).then(f"{fact} a", "VersionPromoted c fallback, was a")

    def test_the_newest_claim_follows_not_the_latest_publication(self) -> None:
        story = given(*self.two, deploy("c", publish=True, promote=False), promote("a"), promote("b"))
        story.when(deactivate("b")).then("VersionDeactivated b", "VersionPromoted a fallback, was b")

    def test_without_claims_the_latest_publication_follows(self) -> None:
        story = given(deploy("x"), deploy("a"), deploy("b"), deploy("c", publish=True), policy=CLAIMLESS)
        story = story.given(publish("b"), publish("a"))
        story.when(deactivate("c")).then("VersionDeactivated c", "VersionPromoted a fallback, was c")

    def test_what_was_rolled_back_from_comes_last(self) -> None:
        story = given(deploy("old", publish=True, promote=False), *self.two, rollback())
        story.when(deactivate("a")).then("VersionDeactivated a", "VersionPromoted old fallback, was a")

    def test_but_it_follows_when_nothing_else_is_left(self) -> None:
        given(*self.two, rollback()).when(delete("a")).then("VersionDeleted a", "VersionPromoted b fallback, was a")

    def test_among_those_rolled_back_from_the_latest_publication_comes_first(self) -> None:
        story = given(*self.two, deploy("c", publish=True), rollback(), rollback())
        story.when(delete("a")).then("VersionDeleted a", "VersionPromoted c fallback, was a")

    def test_what_claimed_again_does_not_come_last(self) -> None:
        story = given(*self.two, rollback(), deploy("c", publish=True, promote=False), promote("b"), promote("a"))
        story.when(delete("a")).then("VersionDeleted a", "VersionPromoted b fallback, was a")

    def test_drafts_and_starting_versions_do_not_follow(self) -> None:
        story = given(deploy("a", publish=True), ready("a"), deploy("d"), ready("d"), policy=AWAITED)
        story = story.given(deploy("b", publish=True))
        story.when(deactivate("a")).then("VersionDeactivated a", "PrimaryCleared was a")

    def test_losing_another_version_than_the_primary_moves_nothing(self) -> None:
        story = given(*self.two)
        story.when(deactivate("a")).then("VersionDeactivated a")
        story.when(delete("a")).then("VersionDeleted a")

    @pytest.mark.parametrize(("ending", "fact"), [(deactivate, "VersionDeactivated"), (delete, "VersionDeleted")])
    def test_leave_none_leaves_none(self, ending: Callable[..., Step], fact: str) -> None:
        given(*self.two, policy=LEAVE_NONE).when(ending("b")).then(f"{fact} b", "PrimaryCleared was b")

    @pytest.mark.parametrize("ending", [deactivate, delete])
    def test_refuse_refuses_while_another_could_serve(self, ending: Callable[..., Step]) -> None:
        given(*self.two, policy=REFUSE).when(ending("b")).refused(PrimaryProtectedError)

    @pytest.mark.parametrize(("ending", "fact"), [(deactivate, "VersionDeactivated"), (delete, "VersionDeleted")])
    def test_refuse_clears_where_no_other_could_serve(self, ending: Callable[..., Step], fact: str) -> None:
        story = given(*self.two, deploy("draft_"), deactivate("a"), policy=REFUSE)
        story.when(ending("b")).then(f"{fact} b", "PrimaryCleared was b")

    def test_refuse_protects_the_primary_only(self) -> None:
        given(*self.two, policy=REFUSE).when(delete("a")).then("VersionDeleted a")

    @pytest.mark.parametrize("policy", POLICIES)
    def test_no_policy_stops_delete_model(self, policy: Policy) -> None:
        story = given(*self.two, ready("a"), ready("b"), policy=policy)
        story.when(delete_model()).then("VersionDeleted a", "VersionDeleted b", "PrimaryCleared", "ModelDeleted")


class TestR12CauseAndPrevious:
    """Every `VersionPromoted` carries `previous` (a `version_id` or none) and `cause`: `published`, `requested`,
    `rollback`, `fallback`, `default`. The former primary stays active. In a fold, `VersionDeactivated` and
    `VersionDeleted` already end the role of the version that they name; what follows in the same append fills it or
    says that nothing does."""

    two = given(deploy("a", publish=True), deploy("b", publish=True))

    def test_the_former_primary_stays_active(self) -> None:
        assert (self.two.primary, self.two.active) == ("b", ("a", "b"))
        assert [self.two.version(label).is_primary for label in "ab"] == [False, True]

    def test_previous_is_what_was_primary_before_the_append_even_when_it_goes(self) -> None:
        self.two.when(delete("b")).then("VersionDeleted b", "VersionPromoted a fallback, was b")

    @pytest.mark.parametrize("ending", [deactivate, delete])
    def test_no_prefix_shows_a_primary_that_is_not_active(self, ending: Callable[..., Step]) -> None:
        decision = self.two.when(ending("b"))
        within = self.two.given(decision.events[0])
        assert (within.primary, within.version("b").is_primary) == (None, False)
        assert decision.after.primary == "a"

    def test_the_end_of_another_version_ends_no_role(self) -> None:
        assert self.two.given(deactivate("a")).primary == "b"


class TestR13Rollback:
    """`rollback(model_name)` works like undo. The model keeps the list of its primaries and a cursor on the current
    one; a promotion of any cause but `rollback` cuts what lies after the cursor and appends (a renewal, R20, appends
    nothing). Rollback moves the cursor back to the nearest entry that is active and is not the primary, and promotes
    it. Where there is no primary, it stands just behind the entry that was current last. Nothing to go back to is an
    error. `expected_primary=` keeps two people from going back twice."""

    three = given(deploy("a", publish=True), deploy("b", publish=True), deploy("c", publish=True))

    def test_twice_goes_back_twice(self) -> None:
        story = self.three.when(rollback()).then("VersionPromoted b rollback, was c")
        story = story.when(rollback()).then("VersionPromoted a rollback, was b")
        story.when(rollback()).refused(NothingToRollBackToError)

    def test_a_promotion_cuts_what_was_undone(self) -> None:
        story = self.three.given(rollback(), deploy("d", publish=True))
        story.when(rollback()).then("VersionPromoted b rollback, was d")

    def test_a_fallback_appends_too(self) -> None:
        story = self.three.given(deactivate("c"), activate("c"))
        assert story.primary == "b"
        story.when(rollback()).then("VersionPromoted c rollback, was b")

    def test_it_skips_what_is_not_active(self) -> None:
        story = self.three.given(deactivate("b"))
        story.when(rollback()).then("VersionPromoted a rollback, was c")

    def test_it_skips_what_was_deleted(self) -> None:
        story = self.three.given(delete("b"), delete("a"))
        story.when(rollback()).refused("R13")

    def test_it_skips_the_primary_itself(self) -> None:
        story = self.three.given(promote("a"), promote("b"), delete("a"), delete("c"))
        assert story.primary == "b"
        story.when(rollback()).refused("R13")

    def test_where_there_is_no_primary_it_goes_to_the_one_that_was_last(self) -> None:
        story = self.three.under(LEAVE_NONE).given(deactivate("c"), activate("c"))
        assert story.primary is None
        story.when(rollback()).then("VersionPromoted c rollback, was none")

    def test_where_there_is_no_primary_and_the_last_is_gone_it_goes_further(self) -> None:
        story = self.three.under(LEAVE_NONE).given(delete("c"))
        story = story.when(rollback()).then("VersionPromoted b rollback, was none")
        story.when(rollback()).then("VersionPromoted a rollback, was b")

    def test_a_renewal_appends_nothing(self) -> None:
        story = given(deploy("a", publish=True), ready("a"), deploy("b", publish=True), ready("b"), policy=AWAITED)
        story = story.given(deploy("c", publish=True), promote("b"))
        story.when(rollback()).then("VersionPromoted a rollback, was b")

    def test_the_first_primary_has_nothing_to_go_back_to(self) -> None:
        given(deploy("a", publish=True)).when(rollback()).refused("nothing-to-roll-back-to")

    @pytest.mark.parametrize("story", [given(), given(deploy("a", publish=True), delete("a"))])
    def test_a_model_that_is_not_there_is_not_found(self, story: Story) -> None:
        story.when(rollback()).refused(ModelNotFoundError)

    def test_expected_primary_keeps_two_people_from_going_back_twice(self) -> None:
        story = self.three.when(rollback(expected_primary="c")).then("VersionPromoted b rollback, was c")
        story.when(rollback(expected_primary="c")).refused(PrimaryMovedError)


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
        story = given(deploy("a").at("10:00"), deploy("b").at("09:30"), deploy("c").at("10:00:01"))
        assert [f"{fact.timestamp:%H:%M:%S%z}" for fact in story.log] == [
            "10:00:00+0000", "10:00:00+0000", "10:00:01+0000"
        ]  # fmt: skip

    def test_also_over_the_lives_of_a_name(self) -> None:
        story = given(deploy("a").at("10:00"), delete("a"), deploy("b").at("09:00"))
        assert story.log[-1].timestamp == story.log[-2].timestamp

    def test_the_facts_of_one_append_are_of_one_moment(self) -> None:
        story = given(deploy("a", publish=True), delete_model())
        assert len({fact.event.at_us for fact in story.log[2:]}) == 1


# Section 4: a worked day, row by row.

WORKED_DAY = """
| 09:00 | deploy a, publish | VersionDeployed | – | – | 0.1.0 |
| 09:04 | a is ready | VersionActivated, VersionPromoted (published) | 0.1.0 | 0.1.0 | 0.1.0 |
| 09:30 | deploy b (draft) | VersionDeployed | 0.1.0 | 0.1.0 | 0.1.0 0.2.0 |
| 09:33 | b is ready | VersionActivated | 0.1.0 | 0.1.0 0.2.0 | 0.1.0 0.2.0 |
| 10:00 | publish b | VersionPublished, VersionPromoted (published) | 0.2.0 | 0.1.0 0.2.0 | 0.1.0 0.2.0 |
| 10:20 | promote a | VersionPromoted (requested) | 0.1.0 | 0.1.0 0.2.0 | 0.1.0 0.2.0 |
| 11:00 | deploy c, MAJOR, publish | VersionDeployed | 0.1.0 | 0.1.0 0.2.0 | 0.1.0 0.2.0 1.0.0 |
| 11:01 | promote a | VersionPromoted (requested) | 0.1.0 | 0.1.0 0.2.0 | 0.1.0 0.2.0 1.0.0 |
| 11:05 | c is ready | VersionActivated | 0.1.0 | 0.1.0 0.2.0 1.0.0 | 0.1.0 0.2.0 1.0.0 |
| 11:30 | promote c | VersionPromoted (requested) | 1.0.0 | 0.1.0 0.2.0 1.0.0 | 0.1.0 0.2.0 1.0.0 |
| 12:00 | deactivate c | VersionDeactivated, VersionPromoted (fallback) | 0.1.0 | 0.1.0 0.2.0 | 0.1.0 0.2.0 |
| 12:10 | activate c | VersionActivationRequested | 0.1.0 | 0.1.0 0.2.0 | 0.1.0 0.2.0 1.0.0 |
| 12:15 | c is ready | VersionActivated | 0.1.0 | 0.1.0 0.2.0 1.0.0 | 0.1.0 0.2.0 1.0.0 |
| 12:30 | deploy d, PATCH, publish | VersionDeployed | 0.1.0 | 0.1.0 0.2.0 1.0.0 | 0.1.0 0.2.0 1.0.0 1.0.1 |
| 12:34 | d fails to start | VersionActivationFailed | 0.1.0 | 0.1.0 0.2.0 1.0.0 | 0.1.0 0.2.0 1.0.0 |
| 12:40 | promote d | refused | 0.1.0 | 0.1.0 0.2.0 1.0.0 | 0.1.0 0.2.0 1.0.0 |
| 12:41 | activate d | VersionActivationRequested | 0.1.0 | 0.1.0 0.2.0 1.0.0 | 0.1.0 0.2.0 1.0.0 1.0.1 |
| 12:45 | d is ready | VersionActivated, VersionPromoted (published) | 1.0.1 | 0.1.0 0.2.0 1.0.0 1.0.1 | 0.1.0 0.2.0 1.0.0 1.0.1 |
| 13:00 | rollback | VersionPromoted (rollback) | 0.1.0 | 0.1.0 0.2.0 1.0.0 1.0.1 | 0.1.0 0.2.0 1.0.0 1.0.1 |
| 13:10 | publish a again | nothing | 0.1.0 | 0.1.0 0.2.0 1.0.0 1.0.1 | 0.1.0 0.2.0 1.0.0 1.0.1 |
| 14:00 | delete a | VersionDeleted, VersionPromoted (fallback) | 0.2.0 | 0.2.0 1.0.0 1.0.1 | 0.2.0 1.0.0 1.0.1 |
| 14:30 | delete b | VersionDeleted, VersionPromoted (fallback) | 1.0.0 | 1.0.0 1.0.1 | 1.0.0 1.0.1 |
| 14:31 | activate b | refused | 1.0.0 | 1.0.0 1.0.1 | 1.0.0 1.0.1 |
| 14:40 | deploy e, publish | VersionDeployed | 1.0.0 | 1.0.0 1.0.1 | 1.0.0 1.0.1 1.1.0 |
| 14:42 | e fails to start | VersionActivationFailed | 1.0.0 | 1.0.0 1.0.1 | 1.0.0 1.0.1 |
| 14:43 | promote c | VersionPromoted (requested) | 1.0.0 | 1.0.0 1.0.1 | 1.0.0 1.0.1 |
| 14:44 | deactivate e | VersionDeactivated | 1.0.0 | 1.0.0 1.0.1 | 1.0.0 1.0.1 |
| 14:45 | deactivate e | nothing | 1.0.0 | 1.0.0 1.0.1 | 1.0.0 1.0.1 |
| 14:46 | activate e | VersionActivationRequested | 1.0.0 | 1.0.0 1.0.1 | 1.0.0 1.0.1 1.1.0 |
| 14:48 | e is ready | VersionActivated | 1.0.0 | 1.0.0 1.0.1 1.1.0 | 1.0.0 1.0.1 1.1.0 |
| 14:50 | promote d | VersionPromoted (requested) | 1.0.1 | 1.0.0 1.0.1 1.1.0 | 1.0.0 1.0.1 1.1.0 |
| 14:51 | promote e | VersionPromoted (requested) | 1.1.0 | 1.0.0 1.0.1 1.1.0 | 1.0.0 1.0.1 1.1.0 |
| 14:52 | rollback | VersionPromoted (rollback) | 1.0.1 | 1.0.0 1.0.1 1.1.0 | 1.0.0 1.0.1 1.1.0 |
| 14:53 | deploy f, PATCH, publish | VersionDeployed | 1.0.1 | 1.0.0 1.0.1 1.1.0 | 1.0.0 1.0.1 1.1.0 1.1.1 |
| 14:55 | f is ready | VersionActivated, VersionPromoted (published) | 1.1.1 | 1.0.0 1.0.1 1.1.0 1.1.1 | 1.0.0 1.0.1 1.1.0 1.1.1 |
| 14:56 | rollback | VersionPromoted (rollback) | 1.0.1 | 1.0.0 1.0.1 1.1.0 1.1.1 | 1.0.0 1.0.1 1.1.0 1.1.1 |
| 14:57 | delete d | VersionDeleted, VersionPromoted (fallback) | 1.0.0 | 1.0.0 1.1.0 1.1.1 | 1.0.0 1.1.0 1.1.1 |
| 14:58 | deploy g, publish without a claim | VersionDeployed | 1.0.0 | 1.0.0 1.1.0 1.1.1 | 1.0.0 1.1.0 1.1.1 1.2.0 |
| 14:59 | g is ready | VersionActivated | 1.0.0 | 1.0.0 1.1.0 1.1.1 1.2.0 | 1.0.0 1.1.0 1.1.1 1.2.0 |
| 15:00 | delete c | VersionDeleted, VersionPromoted (fallback) | 1.2.0 | 1.1.0 1.1.1 1.2.0 | 1.1.0 1.1.1 1.2.0 |
| 15:01 | delete e | VersionDeleted | 1.2.0 | 1.1.1 1.2.0 | 1.1.1 1.2.0 |
| 15:02 | delete f | VersionDeleted | 1.2.0 | 1.2.0 | 1.2.0 |
| 15:03 | delete g | VersionDeleted, PrimaryCleared, ModelDeleted | – | – | – |
| 16:00 | deploy h | VersionDeployed | – | – | 0.1.0 |
"""  # noqa: E501 - the rows as SPEC.md has them

ROWS = [tuple(cell.strip() for cell in row.strip("| ").split("|")) for row in WORKED_DAY.strip().split("\n")]


def asked_in(words: str) -> Step:
    """The command that a row of the worked day means."""
    match words.replace(",", "").split():
        case ["deploy", label, *rest]:
            bump = next((word for word in rest if word.isupper()), "MINOR")
            return deploy(label, bump=bump, publish="publish" in rest, promote=False if "claim" in rest else None)
        case [label, "is", "ready"]:
            return ready(label)
        case [label, "fails", "to", "start"]:
            return fails(label)
        case ["rollback"]:
            return rollback()
        case [command, label, *_]:
            on: dict[str, Callable[[str], Step]] = {
                "publish": publish,
                "promote": promote,
                "deactivate": deactivate,
                "activate": activate,
            }
            return on.get(command, delete)(label)
    raise AssertionError(words)


def worked_day() -> Story:
    """The whole day, to fold."""
    story = given(policy=AWAITED)
    for clock, words, *_ in ROWS:
        story = story.when(asked_in(words).at(clock)).after
    return story


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


# The whole matrix: each situation of a version, each command on it.

BESIDE = given(deploy("p", publish=True), ready("p"), policy=AWAITED)
SITUATIONS = {
    "draft, activating": BESIDE.given(deploy("v")),
    "draft, active": BESIDE.given(deploy("v"), ready("v")),
    "draft, inactive": BESIDE.given(deploy("v"), ready("v"), deactivate("v")),
    "draft, failed": BESIDE.given(deploy("v"), fails("v")),
    "draft, deleted": BESIDE.given(deploy("v"), ready("v"), delete("v")),
    "published, activating": BESIDE.given(deploy("v", publish=True)),
    "published, active": BESIDE.given(deploy("v", publish=True), ready("v"), promote("p")),
    "published, primary": BESIDE.given(deploy("v", publish=True), ready("v")),
    "published, primary, another claims": BESIDE.given(
        deploy("v", publish=True), ready("v"), deploy("w", publish=True)
    ),
    "published, inactive": BESIDE.given(deploy("v", publish=True), ready("v"), deactivate("v")),
    "published, failed": BESIDE.given(deploy("v", publish=True), fails("v")),
    "published, deleted": BESIDE.given(deploy("v", publish=True), ready("v"), delete("v")),
}
ON_A_VERSION = [
    publish("v"), promote("v"), deactivate("v"), activate("v"), ready("v"), ready("v", attempt=9), fails("v"),
    fails("v", attempt=9), delete("v"),
]  # fmt: skip

MATRIX = """
draft, activating
    publish v                           VersionPublished
    promote v                           refused (R8, version-not-active)
    deactivate v                        VersionDeactivated
    activate v                          nothing
    v is ready                          VersionActivated
    v is ready, answering wait 9        nothing
    v fails to start                    VersionActivationFailed
    v fails to start, answering wait 9  nothing
    delete v                            VersionDeleted
draft, active
    publish v                           VersionPublished, VersionPromoted (published)
    promote v                           VersionPublished, VersionPromoted (requested)
    deactivate v                        VersionDeactivated
    activate v                          nothing
    v is ready                          nothing
    v is ready, answering wait 9        nothing
    v fails to start                    nothing
    v fails to start, answering wait 9  nothing
    delete v                            VersionDeleted
draft, inactive
    publish v                           refused (R8, version-not-active)
    promote v                           refused (R8, version-not-active)
    deactivate v                        nothing
    activate v                 instant  VersionActivated
                               awaited  VersionActivationRequested
    v is ready                          nothing
    v is ready, answering wait 9        nothing
    v fails to start                    nothing
    v fails to start, answering wait 9  nothing
    delete v                            VersionDeleted
draft, failed
    publish v                           refused (R8, version-not-active)
    promote v                           refused (R8, version-not-active)
    deactivate v                        nothing
    activate v                 instant  VersionActivated
                               awaited  VersionActivationRequested
    v is ready                          nothing
    v is ready, answering wait 9        nothing
    v fails to start                    nothing
    v fails to start, answering wait 9  nothing
    delete v                            VersionDeleted
draft, deleted
    publish v                           refused (R17, version-deleted)
    promote v                           refused (R17, version-deleted)
    deactivate v                        refused (R17, version-deleted)
    activate v                          refused (R17, version-deleted)
    v is ready                          nothing
    v is ready, answering wait 9        nothing
    v fails to start                    nothing
    v fails to start, answering wait 9  nothing
    delete v                            refused (R17, version-deleted)
published, activating
    publish v                           nothing
    promote v                           refused (R8, version-not-active)
    deactivate v                        VersionDeactivated
    activate v                          nothing
    v is ready                          VersionActivated, VersionPromoted (published)
    v is ready, answering wait 9        nothing
    v fails to start                    VersionActivationFailed
    v fails to start, answering wait 9  nothing
    delete v                            VersionDeleted
published, active
    publish v                           nothing
    promote v                           VersionPromoted (requested)
    deactivate v                        VersionDeactivated
    activate v                          nothing
    v is ready                          nothing
    v is ready, answering wait 9        nothing
    v fails to start                    nothing
    v fails to start, answering wait 9  nothing
    delete v                            VersionDeleted
published, primary
    publish v                           nothing
    promote v                           nothing
    deactivate v                        VersionDeactivated, VersionPromoted (fallback)
    activate v                          nothing
    v is ready                          nothing
    v is ready, answering wait 9        nothing
    v fails to start                    nothing
    v fails to start, answering wait 9  nothing
    delete v                            VersionDeleted, VersionPromoted (fallback)
published, primary, another claims
    publish v                           nothing
    promote v                           VersionPromoted (requested)
    deactivate v                        VersionDeactivated, VersionPromoted (fallback)
    activate v                          nothing
    v is ready                          nothing
    v is ready, answering wait 9        nothing
    v fails to start                    nothing
    v fails to start, answering wait 9  nothing
    delete v                            VersionDeleted, VersionPromoted (fallback)
published, inactive
    publish v                           nothing
    promote v                           refused (R8, version-not-active)
    deactivate v                        nothing
    activate v                 instant  VersionActivated
                               awaited  VersionActivationRequested
    v is ready                          nothing
    v is ready, answering wait 9        nothing
    v fails to start                    nothing
    v fails to start, answering wait 9  nothing
    delete v                            VersionDeleted
published, failed
    publish v                           nothing
    promote v                           refused (R8, version-not-active)
    deactivate v                        VersionDeactivated
    activate v                 instant  VersionActivated, VersionPromoted (published)
                               awaited  VersionActivationRequested
    v is ready                          nothing
    v is ready, answering wait 9        nothing
    v fails to start                    nothing
    v fails to start, answering wait 9  nothing
    delete v                            VersionDeleted
published, deleted
    publish v                           refused (R17, version-deleted)
    promote v                           refused (R17, version-deleted)
    deactivate v                        refused (R17, version-deleted)
    activate v                          refused (R17, version-deleted)
    v is ready                          nothing
    v is ready, answering wait 9        nothing
    v fails to start                    nothing
    v fails to start, answering wait 9  nothing
    delete v                            refused (R17, version-deleted)
"""

OF_A_NAME = {
    "never deployed": given(),
    "deleted": given(deploy("a", publish=True), delete_model()),
    "without a primary": given(deploy("a")),
    "with its first primary": given(deploy("a", publish=True)),
    "with its second primary": given(deploy("a", publish=True), deploy("b", publish=True)),
    "without its primary": given(deploy("a", publish=True), deactivate("a"), activate("a"), policy=LEAVE_NONE),
}
ON_A_NAME = [deploy("n"), deploy("n", publish=True), rollback(), delete_model()]

NAME_MATRIX = """
never deployed
    deploy n                            VersionDeployed
    deploy n, publish          instant  VersionDeployed, VersionPromoted (published)
                               awaited  VersionDeployed
    rollback                            refused (R24, model-not-found)
    delete_model                        refused (R24, model-not-found)
deleted
    deploy n                            VersionDeployed
    deploy n, publish          instant  VersionDeployed, VersionPromoted (published)
                               awaited  VersionDeployed
    rollback                            refused (R24, model-not-found)
    delete_model                        refused (R24, model-not-found)
without a primary
    deploy n                            VersionDeployed
    deploy n, publish          instant  VersionDeployed, VersionPromoted (published)
                               awaited  VersionDeployed
    rollback                            refused (R13, nothing-to-roll-back-to)
    delete_model                        VersionDeleted, ModelDeleted
with its first primary
    deploy n                            VersionDeployed
    deploy n, publish          instant  VersionDeployed, VersionPromoted (published)
                               awaited  VersionDeployed
    rollback                            refused (R13, nothing-to-roll-back-to)
    delete_model                        VersionDeleted, PrimaryCleared, ModelDeleted
with its second primary
    deploy n                            VersionDeployed
    deploy n, publish          instant  VersionDeployed, VersionPromoted (published)
                               awaited  VersionDeployed
    rollback                            VersionPromoted (rollback)
    delete_model                        VersionDeleted, VersionDeleted, PrimaryCleared, ModelDeleted
without its primary
    deploy n                            VersionDeployed
    deploy n, publish          instant  VersionDeployed, VersionPromoted (published)
                               awaited  VersionDeployed
    rollback                            VersionPromoted (rollback)
    delete_model                        VersionDeleted, ModelDeleted
"""


def outcome(decision: Decision) -> str:
    """What came of it, as the table of SPEC's worked day writes it."""
    if decision.error is not None:
        return f"refused ({decision.error.rule}, {decision.error.code})"
    causes = [f" ({cause})" if (cause := getattr(event, "cause", None)) else "" for event in decision.events]
    facts = [type(event).__name__ + cause for event, cause in zip(decision.events, causes, strict=True)]
    return ", ".join(facts) or "nothing"


def printed(situations: dict[str, Story], asked: list[Step]) -> str:
    """The matrix: one line where both modes give the same."""
    lines = []
    for situation, story in situations.items():
        lines.append(situation)
        for step in asked:
            modes = [attrs.evolve(story.policy, activation=mode) for mode in ("instant", "awaited")]
            instant, awaited = (outcome(story.under(mode).when(step)) for mode in modes)
            if instant == awaited:
                lines.append(f"    {step.words:36}{instant}")
            else:
                lines.append(f"    {step.words:27}instant  {instant}")
                lines.append(f"    {'':27}awaited  {awaited}")
    return "\n".join(lines)


def row_of(story: Story, step: Step) -> Transition | None:
    """The row of TRANSITIONS that decides."""
    command = step(story)
    assert isinstance(command, VersionCommand)
    version = story.version("v")
    case = rules.Case(story.state, version, command, story.policy)
    rows = (row for row in TRANSITIONS if (row.command, row.status) == (type(command), version.status))
    return next((row for row in rows if row.guard(case)), None)


class TestTheWholeMatrix:
    def test_every_command_on_a_version_in_every_situation(self) -> None:
        text = printed(SITUATIONS, ON_A_VERSION)
        assert text == MATRIX.strip(), f"The matrix is now\n{text}"

    def test_every_command_on_a_name_in_every_situation(self) -> None:
        text = printed(OF_A_NAME, ON_A_NAME)
        assert text == NAME_MATRIX.strip(), f"The matrix is now\n{text}"

    def test_every_row_of_the_table_is_reached_and_does_what_it_says(self) -> None:
        reached = set()
        for story in SITUATIONS.values():
            for mode in (Policy(), AWAITED):
                for step in ON_A_VERSION:
                    row = row_of(story.under(mode), step)
                    decision = story.under(mode).when(step)
                    assert (row is None) == (decision.error is not None)
                    if row is not None:
                        assert tuple(map(type, decision.events[: len(row.records)])) == row.records
                        assert decision.after.version("v").status == row.becomes
                        assert bool(row.records) == bool(decision.events)
                        reached.add(row)
        assert reached == set(TRANSITIONS)

    def test_every_status_and_every_command_is_in_it(self) -> None:
        assert {story.version("v").status for story in SITUATIONS.values()} == set(get_args(Status))
        asked = [step(story) for story in SITUATIONS.values() for step in ON_A_VERSION]
        asked += [step(story) for story in OF_A_NAME.values() for step in ON_A_NAME]
        assert {type(command) for command in asked} == set(NAMES)

    @pytest.mark.parametrize("policy", POLICIES)
    def test_a_decision_changes_nothing_by_itself(self, policy: Policy) -> None:
        cases = [(story, step) for story in SITUATIONS.values() for step in ON_A_VERSION]
        cases += [(story, step) for story in OF_A_NAME.values() for step in ON_A_NAME]
        for story, step in cases:
            told = story.under(policy)
            before = everything(told.state)
            decision = told.when(step)
            assert everything(told.state) == before
            if not decision.events:
                assert everything(decision.after.state) == before

    def test_a_later_row_is_never_hidden_by_one_that_always_holds(self) -> None:
        for index, row in enumerate(TRANSITIONS):
            earlier = [each for each in TRANSITIONS[:index] if each[:2] == row[:2]]
            assert rules.always not in {each.guard for each in earlier}

    def test_every_guard_says_which_rule_it_is_of(self) -> None:
        guards = {row.guard for row in TRANSITIONS} - {rules.always}
        assert all(re.match(r"R\d+: ", guard.__doc__ or "") for guard in guards)


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
