"""What is allowed, and what it records: everything that affects a transition lives here.

The law of this room: `decide(state, command, policy, now_us)` looks at its arguments and nothing else, and changes
nothing. It returns the events of one atomic append, or raises. The events name every change of state, so no reader of
the log ever has to know a rule or a policy.

To add a rule: a row in `TRANSITIONS`, or a guard whose docstring begins with its number; the test of the whole matrix
fails until it is tested. Its words for users go into `output/explain/rules.toml`. The table in README.md is made from
this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import attrs

from versioning.commands import (
    NAMES,
    Activate,
    ClearPrimary,
    Command,
    CompleteActivation,
    Deactivate,
    Delete,
    DeleteModel,
    Deploy,
    Expect,
    FailActivation,
    Promote,
    Publish,
    Rollback,
    VersionCommand,
)
from versioning.errors import (
    ClockError,
    InvalidArgumentError,
    ModelNotFoundError,
    NothingToRollBackToError,
    PrimaryMovedError,
    PrimaryProtectedError,
    VersionDeletedError,
    VersioningError,
    VersionNotActiveError,
    VersionNotFoundError,
    shown,
)
from versioning.events import (
    Event,
    ModelDeleted,
    NothingChanged,
    PrimaryCleared,
    Unneeded,
    Value,
    VersionActivated,
    VersionActivationFailed,
    VersionActivationRequested,
    VersionDeactivated,
    VersionDeleted,
    VersionDeployed,
    VersionPromoted,
    VersionPublished,
    moment_of,
)
from versioning.ids import activation_id_of, version_id_of
from versioning.numbers import next_number

if TYPE_CHECKING:
    from collections.abc import Callable

    from versioning.aggregate import ModelAggregate, Status, Version

Events = tuple[Event, ...]


def _one_of(*allowed: str) -> Callable[[Any, attrs.Attribute[Any], object], None]:
    def check(_policy: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if not (isinstance(value, str) and value in allowed):
            msg = f"The policy {attribute.name} must be one of {', '.join(allowed)}, not {shown(value)}."
            raise InvalidArgumentError(msg, hint=f"Pass {attribute.name}={allowed[0]!r}.", argument=attribute.name)

    return check


def _yes_or_no(_policy: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, bool):
        msg = f"The policy {attribute.name} must be True or False, not {shown(value)}."
        raise InvalidArgumentError(msg, hint=f"Pass {attribute.name}=True.", argument=attribute.name)


@attrs.frozen
class Policy(Value):
    """Choices of the service that embeds the registry. Reading the log never depends on them.

    Raises:
        InvalidArgumentError: a value that is not listed.
    """

    losing_primary: Literal["fall_back", "leave_none", "refuse"] = attrs.field(
        default="fall_back", validator=_one_of("fall_back", "leave_none", "refuse")
    )
    """Reaction to the primary being deactivated or deleted (R11)."""
    publishing_claims: bool = attrs.field(default=True, validator=_yes_or_no)
    """Whether publishing claims the primary role if the call does not say (R7)."""
    activation: Literal["instant", "awaited"] = attrs.field(default="instant", validator=_one_of("instant", "awaited"))
    """Whether a version is active immediately, or once the service reports that its environment is ready (R14)."""


def checked_policy(policy: object) -> Policy:
    """Return the policy of a registry; without one, the defaults.

    Raises:
        InvalidArgumentError: it is no Policy.
    """
    if policy is None:
        return Policy()
    if isinstance(policy, Policy):
        return policy
    msg = f"policy is a Policy, not {shown(policy)}."
    raise InvalidArgumentError(msg, hint="For example {policy}.", argument="policy")


class Case(NamedTuple):
    """Everything that a guard looks at: a command on a version, in a state."""

    state: ModelAggregate
    version: Version
    command: VersionCommand
    policy: Policy


# Guards. Each states what must hold for its row.


def always(_case: Case) -> bool:
    """No condition."""
    return True


def a_draft(case: Case) -> bool:
    """R7: only a draft can be published."""
    return case.version.stage == "draft"


def already_published(case: Case) -> bool:
    """R20: publishing a published version changes nothing."""
    return case.version.stage == "published"


def primary_unrivalled(case: Case) -> bool:
    """R20: promoting the primary changes nothing, unless another version holds a newer claim."""
    return case.version.is_primary and case.state.newest_claim in {None, case.version.version_id}


def claim_pending(case: Case) -> bool:
    """R10: a failed start keeps its claim until it is withdrawn."""
    return case.version.version_id in case.state.claims


def awaited(case: Case) -> bool:
    """R14: the service starts an environment and reports the outcome."""
    return case.policy.activation == "awaited"


def answers_open_wait(case: Case) -> bool:
    """R15: an answer is stale if it has another id, or if nothing waits for one."""
    command = case.command
    assert isinstance(command, CompleteActivation | FailActivation)  # noqa: S101 - the table pairs them so
    return case.version.activation_id == command.activation_id


class Transition(NamedTuple):
    """One row: a command on a version of this status, under this guard, records these events and leads to a status."""

    command: type[VersionCommand]
    status: Status
    guard: Callable[[Case], bool]
    records: tuple[type[Event], ...]
    becomes: Status


NOTHING: tuple[type[Event], ...] = ()
"""R20: what was asked for already holds."""

# The first row whose guard holds is taken. A pair of command and status without one is refused:
# on a deleted version for ever (R17), on any other because it is not active (R8).
# fmt: off
TRANSITIONS: tuple[Transition, ...] = (
    Transition(Publish,            "active",     a_draft,            (VersionPublished,),                 "active"),
    Transition(Publish,            "active",     already_published,  NOTHING,                             "active"),
    Transition(Publish,            "activating", a_draft,            (VersionPublished,),                 "activating"),
    Transition(Publish,            "activating", already_published,  NOTHING,                             "activating"),
    Transition(Publish,            "inactive",   already_published,  NOTHING,                             "inactive"),
    Transition(Promote,            "active",     a_draft,            (VersionPublished, VersionPromoted), "active"),
    Transition(Promote,            "active",     primary_unrivalled, NOTHING,                             "active"),
    Transition(Promote,            "active",     always,             (VersionPromoted,),                  "active"),
    Transition(Deactivate,         "active",     always,             (VersionDeactivated,),               "inactive"),
    Transition(Deactivate,         "activating", always,             (VersionDeactivated,),               "inactive"),
    Transition(Deactivate,         "inactive",   claim_pending,      (VersionDeactivated,),               "inactive"),
    Transition(Deactivate,         "inactive",   always,             NOTHING,                             "inactive"),
    Transition(Activate,           "inactive",   awaited,            (VersionActivationRequested,),       "activating"),
    Transition(Activate,           "inactive",   always,             (VersionActivated,),                 "active"),
    Transition(Activate,           "activating", always,             NOTHING,                             "activating"),
    Transition(Activate,           "active",     always,             NOTHING,                             "active"),
    Transition(CompleteActivation, "activating", answers_open_wait,  (VersionActivated,),                 "active"),
    Transition(CompleteActivation, "activating", always,             NOTHING,                             "activating"),
    Transition(CompleteActivation, "active",     always,             NOTHING,                             "active"),
    Transition(CompleteActivation, "inactive",   always,             NOTHING,                             "inactive"),
    Transition(CompleteActivation, "deleted",    always,             NOTHING,                             "deleted"),
    Transition(FailActivation,     "activating", answers_open_wait,  (VersionActivationFailed,),          "inactive"),
    Transition(FailActivation,     "activating", always,             NOTHING,                             "activating"),
    Transition(FailActivation,     "active",     always,             NOTHING,                             "active"),
    Transition(FailActivation,     "inactive",   always,             NOTHING,                             "inactive"),
    Transition(FailActivation,     "deleted",    always,             NOTHING,                             "deleted"),
    Transition(Delete,             "active",     always,             (VersionDeleted,),                   "deleted"),
    Transition(Delete,             "activating", always,             (VersionDeleted,),                   "deleted"),
    Transition(Delete,             "inactive",   always,             (VersionDeleted,),                   "deleted"),
)
# fmt: on

_ROWS: dict[tuple[type[VersionCommand], Status], list[Transition]] = {}
for _row in TRANSITIONS:
    _ROWS.setdefault((_row.command, _row.status), []).append(_row)


def decide(state: ModelAggregate, command: Command, policy: Policy, now_us: int, *, has_key: bool = False) -> Events:
    """Return the events that the command records in this state, in one append; none if all of it already holds (R20).

    Their moment is `now_us`, or that of the last event if it is later: time never goes back within a stream (R23).

    Args:
        state: what is known of the name.
        command: what is asked for.
        policy: the choices of the service.
        now_us: the present, in microseconds since 1970.
        has_key: whether the command has an idempotency key, which is kept even if all already holds (R21).

    Raises:
        NotFoundError: there is no such version or model.
        RefusedError: a rule forbids it.
    """
    at_us = max(now_us, state.last_at_us)
    events = _decided(state, command, policy, at_us)
    return events if events or not has_key else _kept_key(command, at_us)


def _decided(state: ModelAggregate, command: Command, policy: Policy, at_us: int) -> Events:
    if isinstance(command, Deploy):
        return _deploy(state, command, policy, at_us)
    if isinstance(command, Rollback | DeleteModel | ClearPrimary):
        if not state.exists:
            msg = f"There is no model {shown(state.model_name)}."
            raise ModelNotFoundError(msg, model_name=state.model_name)
        if isinstance(command, DeleteModel):
            return _delete_model(state, at_us)
        expects_primary(state.primary, command.expected_primary)
        return _rollback(state, at_us) if isinstance(command, Rollback) else _clear_primary(state, at_us)
    version = state.versions.get(command.version_id)
    if version is None:
        msg = f"There is no version {command.version_id}."
        raise VersionNotFoundError(msg, version_id=command.version_id)
    if isinstance(command, Promote | Deactivate | Delete):
        primary = state.primary if version.model_id == state.model_id else None  # a deleted model has none
        expects_primary(primary, command.expected_primary)
    case = Case(state, version, command, policy)
    for row in _ROWS.get((type(command), version.status), ()):
        if row.guard(case):
            return _DECISIONS[type(command)](case, row, at_us) if row.records else ()
    raise _refusal(version, NAMES[type(command)])


def _kept_key(command: Command, at_us: int) -> Events:
    """R21: keep the key of a command that changes nothing; a stale answer needs none, as it stays stale (R15)."""
    if isinstance(command, CompleteActivation | FailActivation):
        return ()
    name = cast("Unneeded", NAMES[type(command)])
    return (NothingChanged(name, getattr(command, "version_id", None), at_us=at_us),)


# Guards that refuse.


def expects_primary(primary: str | None, expected: object) -> None:
    """R22: refuse if somebody moved the primary first."""
    if expected is not Expect.ANYTHING and expected != primary:
        msg = f"The primary is {primary or 'none'}, but {expected or 'none'} was expected."
        raise PrimaryMovedError(msg, expected=expected, actual=primary)


def primary_not_needed(state: ModelAggregate, version: Version, policy: Policy) -> None:
    """R11: under `refuse`, keep the primary while another version could take over."""
    if policy.losing_primary == "refuse" and version.is_primary and _heir(state, version.version_id) is not None:
        msg = f"{version.number} of {shown(version.model_name)} is the primary, and another version could take over."
        raise PrimaryProtectedError(msg, version_id=version.version_id)


def clock_agrees(state: ModelAggregate, now_us: int, skew_max_us: int) -> None:
    """R23: refuse to record if the last event lies so far ahead of the clock that some clock must be wrong.

    This is looked at behind `decide`, and only for a command that records something.
    """
    if state.last_at_us - now_us > skew_max_us:
        event_at, clock_at = moment_of(state.last_at_us), moment_of(now_us)
        msg = f"The last event of {shown(state.model_name)} is of {event_at}, but the clock shows {clock_at}."
        raise ClockError(msg, event_at=event_at, clock_at=clock_at)


def _refusal(version: Version, command: str) -> VersioningError:
    facts = {"version_id": version.version_id, "version_status": version.status}
    if version.status == "deleted":
        msg = f"{version.number} of {shown(version.model_name)} was deleted, so {command} is refused."
        return VersionDeletedError(msg, **facts)
    msg = f"{version.number} of {shown(version.model_name)} is {version.status}, so {command} is refused."
    return VersionNotActiveError(msg, **facts)


# Commands on the name.


def _deploy(state: ModelAggregate, command: Deploy, policy: Policy, at_us: int) -> Events:
    """R1, R2, R14: allocate a number and an id, then record what becoming active brings."""
    version_id = version_id_of(state.stream, len(state.versions) + 1, command.token)
    waits = policy.activation == "awaited"
    claims = command.publish and _claims(command.promote, policy)
    deployed = VersionDeployed(
        version_id=version_id,
        number=next_number(state.highest, command.bump),
        artifact=command.artifact,
        published=command.publish,
        claims=claims,
        activation_id=activation_id_of(version_id, 1) if waits else None,
        metadata=command.metadata,
        at_us=at_us,
    )
    if waits or not command.publish:
        return (deployed,)
    return (deployed, *_becoming_active(state, version_id, state.claims_made + 1 if claims else 0, policy, at_us))


def _rollback(state: ModelAggregate, at_us: int) -> Events:
    """R13: go back to the nearest earlier primary that is still active."""
    index = state.rollback_index()
    if index is None:
        msg = f"No earlier primary of {shown(state.model_name)} is active."
        raise NothingToRollBackToError(msg, model_name=state.model_name)
    return (VersionPromoted(state.trail[index], state.primary, "rollback", at_us=at_us),)


def _clear_primary(state: ModelAggregate, at_us: int) -> Events:
    """R29: leave the model without a primary, and withdraw every claim; no policy prevents it."""
    if state.withheld and not state.claims:
        return ()
    return (PrimaryCleared(state.primary, "requested", at_us=at_us),)


def _delete_model(state: ModelAggregate, at_us: int) -> Events:
    """R17: delete all remaining versions in one append; no policy prevents it (R11)."""
    deleted = tuple(VersionDeleted(version_id, at_us=at_us) for version_id in state.left)
    return (*deleted, *_cleared(state, at_us), ModelDeleted(at_us=at_us))


# Commands on a version. The table names the events; here they get their content, and what follows is added.


def _publish(case: Case, row: Transition, at_us: int) -> Events:
    state, version = case.state, case.version
    assert isinstance(case.command, Publish)  # noqa: S101 - _DECISIONS pairs them so
    claims = _claims(case.command.promote, case.policy)
    published = VersionPublished(version.version_id, claims, at_us=at_us)
    if row.becomes != "active":
        return (published,)
    claim = state.claims_made + 1 if claims else 0
    return (published, *_becoming_active(state, version.version_id, claim, case.policy, at_us))


def _promote(case: Case, row: Transition, at_us: int) -> Events:
    """R8: publish a draft first, in the same append; R20: promoting the primary itself renews its claim."""
    version_id = case.version.version_id
    published = (VersionPublished(version_id, at_us=at_us),) if VersionPublished in row.records else ()
    return (*published, VersionPromoted(version_id, case.state.primary, "requested", at_us=at_us))


def _deactivate(case: Case, _row: Transition, at_us: int) -> Events:
    primary_not_needed(case.state, case.version, case.policy)
    deactivated = VersionDeactivated(case.version.version_id, at_us=at_us)
    return (deactivated, *_losing_primary(case, at_us))


def _activate(case: Case, row: Transition, at_us: int) -> Events:
    version = case.version
    if VersionActivationRequested in row.records:
        activation_id = activation_id_of(version.version_id, version.attempts + 1)
        return (VersionActivationRequested(version.version_id, activation_id, at_us=at_us),)
    return _activated(case, None, at_us)


def _complete_activation(case: Case, _row: Transition, at_us: int) -> Events:
    return _activated(case, case.version.activation_id, at_us)


def _activated(case: Case, activation_id: str | None, at_us: int) -> Events:
    state, version = case.state, case.version
    activated = VersionActivated(version.version_id, activation_id, at_us=at_us)
    if version.stage == "draft":
        return (activated,)
    claim = state.claim_of(version.version_id)
    return (activated, *_becoming_active(state, version.version_id, claim, case.policy, at_us))


def _fail_activation(case: Case, _row: Transition, at_us: int) -> Events:
    assert isinstance(case.command, FailActivation)  # noqa: S101 - _DECISIONS pairs them so
    return (
        VersionActivationFailed(case.version.version_id, case.command.activation_id, case.command.error, at_us=at_us),
    )


def _delete(case: Case, _row: Transition, at_us: int) -> Events:
    """R17: deleting the last remaining version deletes the model in the same append."""
    state, version = case.state, case.version
    primary_not_needed(state, version, case.policy)
    deleted = VersionDeleted(version.version_id, at_us=at_us)
    if len(state.left) > 1:
        return (deleted, *_losing_primary(case, at_us))
    return (deleted, *_cleared(state, at_us), ModelDeleted(at_us=at_us))


_DECISIONS: dict[type[VersionCommand], Callable[[Case, Transition, int], Events]] = {
    Publish: _publish,
    Promote: _promote,
    Deactivate: _deactivate,
    Activate: _activate,
    CompleteActivation: _complete_activation,
    FailActivation: _fail_activation,
    Delete: _delete,
}


# What follows.


def _claims(promote: bool | None, policy: Policy) -> bool:  # noqa: FBT001 - the command's own three-valued argument
    """R7: whether to claim, as the call says, else as the policy says."""
    return policy.publishing_claims if promote is None else promote


def _becoming_active(state: ModelAggregate, version_id: str, claim: int, policy: Policy, at_us: int) -> Events:
    """R9: a published version that becomes active takes the role with a newer claim, or if there is no primary.

    R29: where it was cleared on request, only a claim gives the role; the older ones were withdrawn then.
    """
    if state.primary is None:
        takes = claim > 0 or not (state.withheld or (policy.losing_primary == "leave_none" and state.cleared))
    else:
        takes = claim > state.claim_of(state.primary)
    if not takes:
        return ()
    return (VersionPromoted(version_id, state.primary, "published" if claim else "default", at_us=at_us),)


def _losing_primary(case: Case, at_us: int) -> Events:
    """R11: record what follows when the primary goes."""
    if not case.version.is_primary:
        return ()
    leaving = case.version.version_id
    heir = _heir(case.state, leaving) if case.policy.losing_primary == "fall_back" else None
    if heir is None:
        return (PrimaryCleared(leaving, "lost", at_us=at_us),)
    return (VersionPromoted(heir, leaving, "fallback", at_us=at_us),)


def _heir(state: ModelAggregate, leaving: str) -> str | None:
    """R11: pick the newest claim, else the latest publication; versions that were rolled back from come last."""

    def could_serve(version_id: str) -> bool:
        return version_id != leaving and state.versions[version_id].is_serving

    claimant = next(filter(could_serve, reversed(state.claims)), None)
    if claimant is not None:
        return claimant
    undone: str | None = None
    for version_id in filter(could_serve, reversed(state.published)):
        if version_id not in state.undone:
            return version_id
        undone = undone or version_id
    return undone


def _cleared(state: ModelAggregate, at_us: int) -> Events:
    """R12: record that nothing fills the role."""
    return () if state.primary is None else (PrimaryCleared(state.primary, "lost", at_us=at_us),)
