"""Who has the primary role: rules R7 to R13, and R29, one class each.

The docstring of a class is the sentence, its tests are what follows from it.
"""

from collections.abc import Callable

import pytest

from tests.stories import AWAITED, CLAIMLESS, LEAVE_NONE, POLICIES, REFUSE
from versioning import aggregate
from versioning.aggregate import ModelAggregate
from versioning.errors import (
    ModelNotFoundError,
    NothingToRollBackToError,
    PrimaryMovedError,
    PrimaryProtectedError,
    VersionNotActiveError,
)
from versioning.events import PrimaryCleared
from versioning.rules import Policy
from versioning.testing import (
    Step,
    Story,
    activate,
    clear_primary,
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


class TestR29ClearingOnPurpose:
    """`clear_primary(model_name)` leaves the model without a primary on purpose: `PrimaryCleared`, cause `requested`.
    It withdraws every claim that is held. From then on, until a version is primary again, and under every policy, only
    a new claim gives the role."""

    two = given(deploy("a", publish=True), deploy("b", publish=True))
    cleared = two.given(clear_primary())
    undone = two.given(rollback(), clear_primary(), deploy("c", publish=True))

    @pytest.mark.parametrize("policy", POLICIES)
    def test_it_is_recorded_under_every_policy(self, policy: Policy) -> None:
        story = self.two.under(policy).when(clear_primary()).then("PrimaryCleared requested, was b")
        assert (story.primary, story.active, story.state.claims) == (None, ("a", "b"), {})
        assert not story.version("b").is_primary
        assert story.model is not None
        assert story.model.primary is None

    def test_where_there_is_no_primary_previous_is_none(self) -> None:
        given(deploy("a")).when(clear_primary()).then("PrimaryCleared requested, was none")
        lost = given(deploy("a", publish=True), deactivate("a"))
        lost.when(clear_primary()).then("PrimaryCleared requested, was none")

    def test_again_it_records_nothing_unless_a_claim_is_held_since(self) -> None:
        self.cleared.when(clear_primary()).nothing_happened()
        self.cleared.when(clear_primary().keyed()).then("NothingChanged clear_primary")
        waits = self.cleared.under(AWAITED).given(deploy("c", publish=True))
        waits = waits.when(clear_primary()).then("PrimaryCleared requested, was none")
        waits.when(ready("c")).then("VersionActivated c")

    @pytest.mark.parametrize("policy", POLICIES)
    def test_neither_default_nor_fallback_gives_it_back(self, policy: Policy) -> None:
        story = self.cleared.under(policy).when(deactivate("b")).then("VersionDeactivated b")
        step = activate("b")
        story = story.when(step).after
        if policy.activation == "awaited":
            story = story.when(ready("b")).then("VersionActivated b")
        story = story.given(deploy("c", publish=True, promote=False))
        assert story.primary is None
        assert story.when(delete("b")).then("VersionDeleted b").primary is None

    @pytest.mark.parametrize(("step", "primary"), [(promote("a"), "a"), (rollback(), "b"), (deploy("c"), None)])
    def test_a_new_claim_gives_it(self, step: Step, primary: str | None) -> None:
        assert self.cleared.when(step).after.primary == primary

    def test_publishing_with_a_claim_does_and_then_the_usual_rules_hold_again(self) -> None:
        story = self.cleared.when(deploy("c", publish=True)).then(
            "VersionDeployed c", "VersionPromoted c published, was none"
        )
        story.when(deactivate("c")).then("VersionDeactivated c", "VersionPromoted b fallback, was c")
        story.when(deactivate("c")).after.when(rollback()).then("VersionPromoted a rollback, was b")

    def test_a_slow_start_that_claimed_before_is_withdrawn(self) -> None:
        story = given(deploy("a", publish=True), ready("a"), deploy("b", publish=True), policy=AWAITED)
        story = story.given(clear_primary())
        story.when(ready("b")).then("VersionActivated b")
        failed = given(deploy("a", publish=True), fails("a"), clear_primary(), policy=AWAITED)
        failed.when(deactivate("a")).nothing_happened()

    def test_what_was_rolled_back_from_keeps_its_last_place(self) -> None:
        step = self.undone.when(deactivate("c"))
        step.then("VersionDeactivated c", "VersionPromoted a fallback, was c")

    def test_that_place_would_be_missed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Planted bug: clearing forgets who was rolled back from."""
        original = ModelAggregate._on_cleared

        def forgetful(state: ModelAggregate, event: PrimaryCleared, actor: str | None) -> None:
            original(state, event, actor)
            state.undone.clear()

        monkeypatch.setitem(aggregate._EVOLVE, PrimaryCleared, forgetful)
        undone = self.two.given(rollback(), clear_primary(), deploy("c", publish=True))
        undone.when(deactivate("c")).then("VersionDeactivated c", "VersionPromoted b fallback, was c")

    def test_an_expected_primary_is_looked_at_first(self) -> None:
        self.two.when(clear_primary(expected_primary="a")).refused("R22")
        self.cleared.when(clear_primary(expected_primary="b")).refused("R22")
        self.two.when(clear_primary(expected_primary="b")).then("PrimaryCleared requested, was b")
        self.cleared.when(clear_primary(expected_primary=None)).nothing_happened()

    def test_a_day_on_which_it_was_cleared_twice(self) -> None:
        story = given(deploy("a", publish=True), deploy("b", bump="MAJOR"))
        story = story.when(clear_primary()).then("PrimaryCleared requested, was a")
        story = story.when(publish("b", promote=False)).then("VersionPublished b, without claim")
        story = story.when(rollback()).then("VersionPromoted a rollback, was none")
        story = story.when(clear_primary()).then("PrimaryCleared requested, was a")
        story = story.when(deactivate("a")).then("VersionDeactivated a")
        story = story.when(activate("a")).then("VersionActivated a")
        assert story.primary is None
        step = deploy("d", bump="PATCH", publish=True)
        story = story.when(step).then("VersionDeployed d", "VersionPromoted d published, was none")
        story.when(delete_model()).then(
            "VersionDeleted a", "VersionDeleted b", "VersionDeleted d", "PrimaryCleared lost, was d", "ModelDeleted"
        )

    def test_a_model_that_is_not_there(self) -> None:
        given().when(clear_primary()).refused("R24")
        self.cleared.given(delete_model()).when(clear_primary()).refused("R24")

    def test_a_new_life_knows_nothing_of_it(self) -> None:
        story = self.cleared.when(delete_model()).then("VersionDeleted a", "VersionDeleted b", "ModelDeleted")
        story = story.given(deploy("c", publish=True, promote=False))
        assert story.primary == "c"
