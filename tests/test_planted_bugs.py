"""The walks would notice: each of these bugs, planted into the rules, a fold, a view or the registry, makes them fail.

Each is a mistake that somebody could make, and says with its docstring what is so then. To add one: a function that is
marked with `@bug`.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs
import pytest

from versioning import aggregate, projections, rules
from versioning.aggregate import ModelAggregate
from versioning.commanding import deciding
from versioning.commanding.deciding import Deciding
from versioning.commanding.requests import Request
from versioning.commands import (
    Activate,
    Command,
    CompleteActivation,
    Deactivate,
    Delete,
    Expect,
    FailActivation,
    Promote,
)
from versioning.events import (
    Event,
    ModelDeleted,
    NothingChanged,
    PrimaryCleared,
    Recorded,
    VersionActivated,
    VersionActivationFailed,
    VersionDeactivated,
    VersionDeleted,
    VersionPromoted,
    VersionPublished,
)
from versioning.ids import activation_id_of
from versioning.limits import CLOCK_SKEW_MAX_S, checked_clock_skew
from versioning.projections import UsageLine, VersionLedger
from versioning.reading import kept, questions, streams, views
from versioning.reading.streams import CachedStreams
from versioning.registry import ModelRegistry
from versioning.rules import Policy, Transition, always
from versioning.store import sqlite
from versioning.store.contract import KeptRow
from versioning.store.format import link_of
from versioning.testing import DiscrepancyError, run

pytestmark = pytest.mark.slow

SEED = 1
WALKS_MAX = 1_000
"""How many walks a bug may escape; most are caught by the first ten."""

Plant = Callable[[pytest.MonkeyPatch], None]
BUGS: list[Plant] = []


def bug(plant: Plant) -> Plant:
    BUGS.append(plant)
    return plant


def folds(patch: pytest.MonkeyPatch, event: type[Event], wrong: Callable[[ModelAggregate, Any, Any], None]) -> None:
    """Let an event be folded wrongly."""
    patch.setitem(aggregate._EVOLVE, event, wrong)


def rows(patch: pytest.MonkeyPatch, *wrong: Transition) -> None:
    """Replace the rows of a command and status."""
    patch.setitem(rules._ROWS, (wrong[0].command, wrong[0].status), list(wrong))


def decides(patch: pytest.MonkeyPatch, wrong: Callable[..., Sequence[Event]]) -> None:
    """Let the registry decide otherwise."""
    patch.setattr(deciding, "decide", wrong)


# In the rules.


@bug
def the_highest_number_follows(patch: pytest.MonkeyPatch) -> None:
    """R11: the active published version with the highest number follows, whoever claimed."""

    def heir(state: ModelAggregate, leaving: str) -> str | None:
        others = [each for each in state.left if each != leaving and state.versions[each].is_serving]
        return others[-1] if others else None

    patch.setattr(rules, "_heir", heir)


@bug
def the_one_rolled_back_from_follows(patch: pytest.MonkeyPatch) -> None:
    """R11: a version that was rolled back from comes as if it had not been."""
    original = ModelAggregate._on_promoted

    def promoted(state: ModelAggregate, event: VersionPromoted, actor: str | None) -> None:
        original(state, event, actor)
        state.undone.clear()

    folds(patch, VersionPromoted, promoted)


@bug
def the_primary_is_not_protected(patch: pytest.MonkeyPatch) -> None:
    """R11: `refuse` refuses nothing."""
    patch.setattr(rules, "primary_not_needed", lambda *_: None)


@bug
def fallback_forgets_previous(patch: pytest.MonkeyPatch) -> None:
    """R12: a fallback says that there was no primary before."""
    original = rules._losing_primary

    def forgetful(event: Event) -> Event:
        return attrs.evolve(event, previous=None) if isinstance(event, VersionPromoted) else event

    def losing(case: rules.Case, at_us: int) -> list[Event]:
        return [forgetful(each) for each in original(case, at_us)]

    patch.setattr(rules, "_losing_primary", losing)


@bug
def the_loss_of_the_last_primary_is_not_said(patch: pytest.MonkeyPatch) -> None:
    """R12: no `PrimaryCleared` where a model is deleted."""
    patch.setattr(rules, "_cleared", lambda *_: ())


@bug
def no_renewal(patch: pytest.MonkeyPatch) -> None:
    """R20: promoting the primary never renews its claim."""
    draft, _, promotes = rules._ROWS[Promote, "active"]
    nothing = Transition(Promote, "active", lambda case: case.version.is_primary, (), "active")
    rows(patch, draft, nothing, promotes)


@bug
def no_withdrawal(patch: pytest.MonkeyPatch) -> None:
    """R10: deactivating a version that failed to start withdraws nothing."""
    rows(patch, Transition(Deactivate, "inactive", always, (), "inactive"))


@bug
def stale_answers_count(patch: pytest.MonkeyPatch) -> None:
    """R15: any answer completes a wait."""
    rows(patch, Transition(CompleteActivation, "activating", always, (VersionActivated,), "active"))


@bug
def late_failures_count(patch: pytest.MonkeyPatch) -> None:
    """R15: a version that is active can fail to start."""
    rows(patch, Transition(FailActivation, "active", always, (VersionActivationFailed,), "inactive"))


@bug
def waits_share_an_id(patch: pytest.MonkeyPatch) -> None:
    """R15: the second wait of a version has the id of the first."""
    patch.setattr(rules, "activation_id_of", lambda version_id, _attempt: activation_id_of(version_id, 1))


@bug
def a_draft_is_promoted_unpublished(patch: pytest.MonkeyPatch) -> None:
    """R8: promoting a draft doesn't publish it."""
    _, *others = rules._ROWS[Promote, "active"]
    rows(patch, Transition(Promote, "active", rules.a_draft, (VersionPromoted,), "active"), *others)


@bug
def a_draft_keeps_its_stage_on_activation(patch: pytest.MonkeyPatch) -> None:
    """R8: a draft that becomes active takes the role where there is no primary."""
    original = rules._activated

    def activated(case: rules.Case, activation_id: str | None, at_us: int) -> tuple[Event, ...]:
        events = original(case, activation_id, at_us)
        if case.version.stage == "draft" and case.state.primary is None:
            return (*events, VersionPromoted(case.version.version_id, None, "default", at_us=at_us))
        return events

    patch.setattr(rules, "_activated", activated)


@bug
def a_slow_start_always_takes_over(patch: pytest.MonkeyPatch) -> None:
    """R9: a claim takes the role when its version is ready, though a newer one came in between."""

    def becoming(state: ModelAggregate, version_id: str, claim: int, policy: Policy, at_us: int) -> tuple[Event, ...]:
        taken = original(state, version_id, claim, policy, at_us)
        if claim and not taken:
            return (VersionPromoted(version_id, state.primary, "published", at_us=at_us),)
        return taken

    original = rules._becoming_active
    patch.setattr(rules, "_becoming_active", becoming)


@bug
def promote_false_is_overlooked(patch: pytest.MonkeyPatch) -> None:
    """R7: publishing claims as the policy says, whatever the call says."""
    patch.setattr(rules, "_claims", lambda _promote, policy: policy.publishing_claims)


@bug
def the_last_deletion_leaves_the_model(patch: pytest.MonkeyPatch) -> None:
    """R17: deleting the only version left doesn't delete the model."""
    original = rules._delete

    def delete(case: rules.Case, row: Transition, at_us: int) -> list[Event]:
        return [event for event in original(case, row, at_us) if not isinstance(event, ModelDeleted)]

    patch.setitem(rules._DECISIONS, Delete, delete)


@bug
def the_deleted_can_be_activated(patch: pytest.MonkeyPatch) -> None:
    """R17: a deleted version can be started again."""
    rows(patch, Transition(Activate, "deleted", always, (VersionActivated,), "active"))


@bug
def expectations_come_late(patch: pytest.MonkeyPatch) -> None:
    """R22: `expected_primary` is looked at behind R20, so only where something would be recorded."""

    def late(
        state: ModelAggregate, command: Command, policy: Policy, now_us: int, *, has_key: bool
    ) -> tuple[Event, ...]:
        if isinstance(command, Promote | Deactivate | Delete):
            unasked = attrs.evolve(command, expected_primary=Expect.ANYTHING)
            if not rules.decide(state, unasked, policy, now_us):
                return rules.decide(state, unasked, policy, now_us, has_key=has_key)
        return rules.decide(state, command, policy, now_us, has_key=has_key)

    decides(patch, late)


@bug
def time_goes_back(patch: pytest.MonkeyPatch) -> None:
    """R23: timestamps are what the clock says."""

    def punctual(
        state: ModelAggregate, command: Command, policy: Policy, now_us: int, *, has_key: bool
    ) -> tuple[Event, ...]:
        events = rules.decide(state, command, policy, now_us, has_key=has_key)
        return tuple(attrs.evolve(each, at_us=now_us) for each in events)

    decides(patch, punctual)


@bug
def a_key_is_kept_for_changes_only(patch: pytest.MonkeyPatch) -> None:
    """R21: a command that finds all as it asks leaves no key, so it does something when it is sent again later."""
    patch.setattr(rules, "_kept_key", lambda *_: ())


@bug
def stale_answers_keep_keys(patch: pytest.MonkeyPatch) -> None:
    """R15: with a key, a stale answer is recorded."""
    patch.setattr(
        rules,
        "_kept_key",
        lambda command, at_us: (NothingChanged("activate", getattr(command, "version_id", None), at_us=at_us),),
    )


@bug
def what_changed_nothing_names_the_primary(patch: pytest.MonkeyPatch) -> None:
    """R21: the version that is kept with a key is the primary, whatever version was asked for."""

    def decided(
        state: ModelAggregate, command: Command, policy: Policy, now_us: int, *, has_key: bool
    ) -> tuple[Event, ...]:
        events = rules.decide(state, command, policy, now_us, has_key=has_key)
        if events and isinstance(events[0], NothingChanged) and state.primary is not None:
            return (attrs.evolve(events[0], version_id=state.primary),)
        return events

    decides(patch, decided)


@bug
def a_default_takes_what_was_cleared_on_purpose(patch: pytest.MonkeyPatch) -> None:
    """R29: where the primary was cleared on request, a version without a claim takes the role, as after a loss."""
    original = rules._becoming_active

    def becoming(state: ModelAggregate, version_id: str, claim: int, policy: Policy, at_us: int) -> tuple[Event, ...]:
        open_to_all = state.fork()
        open_to_all.withheld = False
        return original(open_to_all, version_id, claim, policy, at_us)

    patch.setattr(rules, "_becoming_active", becoming)


@bug
def clearing_again_is_recorded_again(patch: pytest.MonkeyPatch) -> None:
    """R29: what was cleared on request already is cleared once more."""

    def cleared(state: ModelAggregate, at_us: int) -> tuple[Event, ...]:
        return (PrimaryCleared(state.primary, "requested", at_us=at_us),)

    patch.setattr(rules, "_clear_primary", cleared)


@bug
def a_claim_made_since_is_not_withdrawn(patch: pytest.MonkeyPatch) -> None:
    """R29: clearing again does nothing, though a version that is starting has claimed the role since."""
    original = rules._clear_primary

    def cleared(state: ModelAggregate, at_us: int) -> tuple[Event, ...]:
        return () if state.withheld else original(state, at_us)

    patch.setattr(rules, "_clear_primary", cleared)


# In the fold.


@bug
def claims_outlive_a_clearing(patch: pytest.MonkeyPatch) -> None:
    """R29: a claim that was held when the primary was cleared on request gives the role later."""
    original = ModelAggregate._on_cleared

    def cleared(state: ModelAggregate, event: PrimaryCleared, actor: str | None) -> None:
        claims = dict(state.claims)
        original(state, event, actor)
        state.claims = claims

    folds(patch, PrimaryCleared, cleared)


@bug
def a_cleared_version_looks_primary(patch: pytest.MonkeyPatch) -> None:
    """R29: the version that was primary still says so."""

    def cleared(state: ModelAggregate, event: PrimaryCleared, _actor: str | None) -> None:
        state.primary, state.cleared = None, True
        if event.cause == "requested":
            state.claims.clear()
            state.withheld = True

    folds(patch, PrimaryCleared, cleared)


@bug
def kept_models_forget_that_it_was_on_purpose(patch: pytest.MonkeyPatch) -> None:
    """R29: a model that was kept has forgotten that its primary was cleared on request."""
    decoder = views._model_decoder

    class Forgetful:
        def decode(self, kept: bytes) -> views._Kept:
            held = decoder.decode(kept)
            held.withheld = False
            return held

    patch.setattr(views, "_model_decoder", Forgetful())


@bug
def what_changed_nothing_claims(patch: pytest.MonkeyPatch) -> None:
    """R21: a command that changed nothing renews the claim of its version."""

    def claimed(state: ModelAggregate, event: NothingChanged, _actor: str | None) -> None:
        if event.version_id is not None:
            state._claim(event.version_id)

    folds(patch, NothingChanged, claimed)


@bug
def deactivating_keeps_the_claim(patch: pytest.MonkeyPatch) -> None:
    """R10: a claim outlives deactivation."""
    original = ModelAggregate._on_deactivated

    def deactivated(state: ModelAggregate, event: VersionDeactivated, actor: str | None) -> None:
        claims = dict(state.claims)
        original(state, event, actor)
        state.claims = claims

    folds(patch, VersionDeactivated, deactivated)


@bug
def a_failed_start_loses_its_claim(patch: pytest.MonkeyPatch) -> None:
    """R10: a start that fails forfeits the claim."""
    original = ModelAggregate._on_failed

    def failed(state: ModelAggregate, event: VersionActivationFailed, actor: str | None) -> None:
        original(state, event, actor)
        state.claims.pop(event.version_id, None)

    folds(patch, VersionActivationFailed, failed)


@bug
def being_rolled_back_from_keeps_the_claim(patch: pytest.MonkeyPatch) -> None:
    """R10: a version that was rolled back from still holds its claim, older than the new one."""
    original = ModelAggregate._on_promoted

    def promoted(state: ModelAggregate, event: VersionPromoted, actor: str | None) -> None:
        claims = dict(state.claims)
        original(state, event, actor)
        if event.cause == "rollback":
            state.claims = claims | {event.version_id: state.claims_made}

    folds(patch, VersionPromoted, promoted)


@bug
def rolling_back_claims_nothing(patch: pytest.MonkeyPatch) -> None:
    """R7: the target of a rollback has no claim."""
    original = ModelAggregate._on_promoted

    def promoted(state: ModelAggregate, event: VersionPromoted, actor: str | None) -> None:
        original(state, event, actor)
        if event.cause == "rollback":
            del state.claims[event.version_id]

    folds(patch, VersionPromoted, promoted)


@bug
def promotions_cut_nothing(patch: pytest.MonkeyPatch) -> None:
    """R13: what was undone can be rolled back to after another promotion."""
    original = ModelAggregate._on_promoted

    def promoted(state: ModelAggregate, event: VersionPromoted, actor: str | None) -> None:
        if event.cause != "rollback":
            state.cursor = len(state.trail)
        original(state, event, actor)

    folds(patch, VersionPromoted, promoted)


@bug
def a_cleared_role_is_taken_by_default(patch: pytest.MonkeyPatch) -> None:
    """R9: under `leave_none`, a version without a claim takes a role that was cleared."""

    def cleared(state: ModelAggregate, _event: PrimaryCleared, _actor: str | None) -> None:
        state.primary = None

    folds(patch, PrimaryCleared, cleared)


@bug
def numbers_come_back(patch: pytest.MonkeyPatch) -> None:
    """R2: the next number bumps the highest that is left."""
    original = ModelAggregate._on_deleted

    def deleted(state: ModelAggregate, event: VersionDeleted, actor: str | None) -> None:
        original(state, event, actor)
        state.highest = state.versions[next(reversed(state.left))].number if state.left else None

    folds(patch, VersionDeleted, deleted)


@bug
def publishing_again_is_not_later(patch: pytest.MonkeyPatch) -> None:
    """R11: among those without a claim, the latest deployment follows, and not the latest publication."""
    original = ModelAggregate._on_published

    def published(state: ModelAggregate, event: VersionPublished, actor: str | None) -> None:
        original(state, event, actor)
        state.published = {each: None for each in state.left if each in state.published}

    folds(patch, VersionPublished, published)


@bug
def a_primary_outlives_its_deactivation(patch: pytest.MonkeyPatch) -> None:
    """R12: deactivating ends the role only with what follows in the same append."""
    patch.setattr(ModelAggregate, "_end_role", lambda *_: None)


@bug
def starting_is_free(patch: pytest.MonkeyPatch) -> None:
    """R18: an activating version is not billing-eligible."""
    patch.setattr(aggregate, "BILLABLE_STATUSES", frozenset({"active"}))


@bug
def no_clock_is_doubted(patch: pytest.MonkeyPatch) -> None:
    """R23: whatever the clock shows, the command is recorded."""
    patch.setattr(deciding, "clock_agrees", lambda *_: None)


@bug
def the_clock_is_looked_at_first(patch: pytest.MonkeyPatch) -> None:
    """R22: a command that would record nothing, or is refused anyway, is refused by the clock."""
    decide, limit_us = rules.decide, checked_clock_skew(CLOCK_SKEW_MAX_S)

    def decided(state: ModelAggregate, command: Command, policy: Policy, now_us: int) -> Sequence[Event]:
        rules.clock_agrees(state, now_us, limit_us)
        return decide(state, command, policy, now_us)

    decides(patch, decided)


@bug
def the_menu_doubts_no_clock(patch: pytest.MonkeyPatch) -> None:
    """R23: `allowed` offers what the clock refuses."""
    patch.setattr(questions, "clock_agrees", lambda *_: None)


# In projections and usage.


@bug
def a_failed_start_stays_billable(patch: pytest.MonkeyPatch) -> None:
    """R18: the projection keeps versions that failed to start."""
    original = projections.BillableVersions.evolve

    def evolve(projection: projections.BillableVersions, recorded: Recorded) -> None:
        if not isinstance(recorded.event, VersionActivationFailed):
            original(projection, recorded)

    patch.setattr(projections.BillableVersions, "evolve", evolve)


@bug
def usage_is_not_split(patch: pytest.MonkeyPatch) -> None:
    """R19: a line goes on where its version is published."""
    original = projections.evolve_ledger

    def evolve(ledger: VersionLedger | None, recorded: Recorded) -> VersionLedger | None:
        return ledger if isinstance(recorded.event, VersionPublished) else original(ledger, recorded)

    patch.setattr(projections, "evolve_ledger", evolve)


@bug
def usage_runs_into_the_future(patch: pytest.MonkeyPatch) -> None:
    """R19: what is still open ends with the period, though that lies in the future."""
    original = VersionLedger.lines

    def lines(ledger: VersionLedger, start_us: int, end_us: int, _now_us: int) -> Iterable[UsageLine]:
        return original(ledger, start_us, end_us, end_us)

    patch.setattr(VersionLedger, "lines", lines)


@bug
def usage_has_empty_lines(patch: pytest.MonkeyPatch) -> None:
    """R19: a line that begins and ends at once is a line."""
    original = VersionLedger.lines

    def lines(ledger: VersionLedger, start_us: int, end_us: int, now_us: int) -> list[UsageLine]:
        drawn = list(original(ledger, start_us, end_us, now_us))
        return drawn + [attrs.evolve(line, start=line.end, microseconds=0) for line in drawn[:1]]

    patch.setattr(VersionLedger, "lines", lines)


@bug
def a_bill_is_always_drawn_up_to_now(patch: pytest.MonkeyPatch) -> None:
    """R19: `until` is taken and not used."""
    patch.setattr(questions.Questions, "_checked_until", lambda asked, _until, _start_us: asked._now_us())


@bug
def a_bill_does_not_say_up_to_when(patch: pytest.MonkeyPatch) -> None:
    """R19: `until` is the end of the period, whenever the bill was drawn."""
    original = projections.draw_usage

    def draw_usage(
        ledgers: Iterable[VersionLedger], start_us: int, end_us: int, until_us: int, position: int
    ) -> projections.Usage:
        bill = original(ledgers, start_us, end_us, until_us, position)
        return attrs.evolve(bill, until=bill.end)

    patch.setattr(questions, "draw_usage", draw_usage)


# In the views, and as of a past.


@bug
def the_past_is_one_event_short(patch: pytest.MonkeyPatch) -> None:
    """R25: as of a position, the event there doesn't count."""
    original = views.Past.holds

    def holds(past: views.Past, position: int, at_us: int) -> bool:
        return original(past, position, at_us) and position != past.position

    patch.setattr(views.Past, "holds", holds)


@bug
def a_moment_excludes_itself(patch: pytest.MonkeyPatch) -> None:
    """R25: as of a moment, what happened at that very microsecond doesn't count."""
    original = views.Past.holds

    def holds(past: views.Past, position: int, at_us: int) -> bool:
        return original(past, position, at_us) and at_us != past.at_us

    patch.setattr(views.Past, "holds", holds)


@bug
def deleted_models_are_listed(patch: pytest.MonkeyPatch) -> None:
    """R17: `models()` shows what was deleted."""
    patch.setattr(questions, "MODELS", attrs.evolve(views.MODELS, is_live=lambda _: True))


@bug
def kept_views_miss_an_event(patch: pytest.MonkeyPatch) -> None:
    """A kept view says that it holds one event more than it does."""
    original = sqlite.SQLiteRecorder.write_view

    def write(recorder: sqlite.SQLiteRecorder, name: str, after: int, reached: int, *kept: Any) -> bool:  # noqa: ANN401 - as it comes
        return original(recorder, name, after, reached + 1, *kept)

    patch.setattr(sqlite.SQLiteRecorder, "write_view", write)


@bug
def a_past_shows_what_the_kept_rows_have_seen_since(patch: pytest.MonkeyPatch) -> None:
    """R25: a row that was kept later than the position asked about is taken as it is."""

    def taken_back(reading: kept.Reading[Any], late: dict[str, KeptRow]) -> dict[str, Any]:
        return {key: reading.view.read(row) for key, row in late.items()}

    patch.setattr(kept.Reading, "_taken_back", taken_back)


@bug
def a_bill_of_the_past_knows_what_ended_since(patch: pytest.MonkeyPatch) -> None:
    """R25: as of a position, a version that was stopped later has stopped already."""
    patch.setattr(questions, "LEDGERS", attrs.evolve(views.LEDGERS, as_of=lambda ledger, _: ledger))


@bug
def kept_models_forget(patch: pytest.MonkeyPatch) -> None:
    """A model that was kept has forgotten who was rolled back from."""
    decoder = views._model_decoder

    class Forgetful:
        def decode(self, kept: bytes) -> views._Kept:
            held = decoder.decode(kept)
            held.undone = []
            return held

    patch.setattr(views, "_model_decoder", Forgetful())


# In the registry.


@bug
def the_cache_is_filled_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    """What was decided is cached although another process was first."""
    original = Deciding._append

    def append(self: Deciding, rows: list[Any], planned: dict[str, Any]) -> bool:
        for one in planned.values():
            for each in one.appends:
                for event in each.events:
                    one.cached.aggregate.evolve(event, each.actor)
        done = original(self, rows, planned)
        if done:
            for stream, one in planned.items():
                if one.appends:
                    last = self._streams.store.tail(stream, one.cached.aggregate.sequence - 1)[0][-1]
                    one.cached.aggregate.link = link_of(last)
        return done

    patch.setattr(Deciding, "_append", append)


@bug
def the_cache_refuses(patch: pytest.MonkeyPatch) -> None:
    """A refusal, or that there is nothing to do, is answered from the cache."""
    original = Deciding._believed

    def hasty(self: Deciding, batch: Sequence[Request], *, is_single: bool) -> dict[str, Any]:
        planned = original(self, batch, is_single=is_single)
        for one in planned.values():
            one.is_final = one.is_final or batch[0].why.idempotency_key is None
        return planned

    patch.setattr(Deciding, "_believed", hasty)


@bug
def the_cache_answers(patch: pytest.MonkeyPatch) -> None:
    """Questions are answered from the cache, without a look at the tail."""
    patch.setattr(CachedStreams, "ask", lambda self, stream, question: question(self.current(stream)[0].aggregate))


@bug
def keys_are_not_looked_up(patch: pytest.MonkeyPatch) -> None:
    """R21: a key is kept, and never found again."""
    patch.setattr(deciding, "TRIES_MAX", 3)
    patch.setattr(sqlite.SQLiteRecorder, "find_key", lambda *_: None)


@bug
def a_key_answers_any_command(patch: pytest.MonkeyPatch) -> None:
    """R21: the same key with another command gives the first answer."""
    patch.setattr(Request, "fingerprint", "0" * 64)


@bug
def a_key_remembers_who_asked(patch: pytest.MonkeyPatch) -> None:
    """R21: the same command by another actor is another command."""
    original: Callable[[Request], str] = vars(Request)["fingerprint"].fget

    def fingerprint(request: Request) -> str:
        return original(request)[:-1] + str(len(request.why.actor or ""))

    patch.setattr(Request, "fingerprint", property(fingerprint))


@bug
def workspaces_leak(patch: pytest.MonkeyPatch) -> None:
    """R27: a version of another workspace is found by its id."""
    patch.setattr(streams.Streams, "is_ours", lambda _self, state, _ref: bool(state.sequence))


@pytest.mark.untraced
@pytest.mark.parametrize("plant", BUGS, ids=lambda plant: plant.__name__)
def test_the_walks_notice(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    with pytest.raises(DiscrepancyError, match=f"^Walk [0-9]+ of seed {SEED} fails"):
        run(WALKS_MAX, SEED, shrink=False)


def test_without_a_bug_they_notice_nothing() -> None:
    run(60, SEED)


class TestAFailureIsToldShort:
    def test_with_its_story_and_how_to_repeat_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        no_withdrawal(monkeypatch)
        with pytest.raises(DiscrepancyError) as failed:
            run(WALKS_MAX, SEED)
        told = str(failed.value)
        number = re.match(rf"Walk ([0-9]+) of seed {SEED} fails; ([0-9]+) of its ([0-9]+) moves are enough", told)
        assert number is not None
        assert int(number[2]) == 3 < int(number[3])
        assert re.search(r"fail_activation (.), wait 1 -> VersionActivationFailed \1 \(\1 did not start\)\n", told)
        assert "What differs: recorded" in told
        assert f"versioning.testing.run(1, seed={SEED}, first={number[1]})" in told
        with pytest.raises(DiscrepancyError, match=f"^Walk {number[1]} "):
            run(1, SEED, first=int(number[1]), shrink=False)

    def test_what_a_registry_raises_by_mistake_is_told_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ModelRegistry, "delete", lambda *_args, **_named: 1 / 0)
        with pytest.raises(DiscrepancyError, match="What differs: raised ZeroDivisionError: division by zero"):
            run(WALKS_MAX, SEED)
