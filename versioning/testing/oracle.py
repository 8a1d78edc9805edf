"""The rules a second time: what each command should record, to test the real implementation against.

The law of this room: nothing is shared with the implementation, neither names nor ideas. There is no event log that is
folded, only plain mutable state, and each branch is the sentence of the rule whose number it cites. A change of a rule
is made here from the text of the rule alone, never from the code that this module judges.

Times are whole microseconds; intervals are half-open, ``[start, end)``. Versions are ordinals: 1, 2, 3 in the order
of their deployment, over all lives of the name.
"""

import copy
import enum
import functools
from collections.abc import Callable
from typing import Concatenate, Final, ParamSpec

import attrs

Arguments = ParamSpec("Arguments")


class _Anything(enum.Enum):
    ANY = "any"


ANY: Final = _Anything.ANY
"""Nothing is expected of the primary (R22), which is not the same as ``None``: that there is none."""

Expected = _Anything | int | None


@attrs.frozen
class Fact:
    """One event that a command should record."""

    name: str
    version: int | None
    """Version that it names; ``None`` for ModelDeleted and PrimaryCleared, and where NothingChanged names none."""
    cause: str | None = None
    """Cause of a VersionPromoted or PrimaryCleared; ``None`` for the others (R12)."""
    previous: int | None = None
    """Primary before the append, for VersionPromoted and PrimaryCleared (R12)."""
    command: str | None = None
    """Command that a NothingChanged names; ``None`` for the others (R21)."""


@attrs.frozen
class Outcome:
    """What a command should do: the facts that it records, none if it is repeated or refused."""

    facts: tuple[Fact, ...]
    refused: str | None = None
    """Name of the error's class."""
    version: int | None = None
    """Version that was made, changed or found to be so already; ``None`` if refused, and for a whole model."""
    branch: str = ""
    """Branch of the rule that decided, to count what a random walk has reached."""


@attrs.define
class Version:
    """One version as it is now."""

    ordinal: int
    number: str
    stage: str
    status: str
    generation: int
    """Life of the name that it belongs to: 1, 2, 3."""
    attempt: int = 0
    """Number of its newest wait for an activation (R15); 0 if it never waited."""
    claim: int = 0
    """Time of its claim: higher is newer; 0 if it has none, which is older than any (R7)."""
    rolled_back_from: bool = False
    """Whether it was rolled back from, and not claimed again (R11)."""
    publication: int = 0
    """Time of its publication: higher is later; 0 if it was never published (R11)."""
    run: int = 0
    """Number of its current stretch of eligibility: a start in the microsecond of a stop begins a new one (R19)."""


def _by_the_clock(
    command: Callable[Concatenate["Oracle", Arguments], Outcome],
) -> Callable[Concatenate["Oracle", Arguments], Outcome]:
    """R23: where the last record lies too far ahead of the clock, the command is refused if it would record anything.

    R22: that is looked at last. So the command is tried, and undone.
    """

    @functools.wraps(command)
    def decided(oracle: "Oracle", /, *given: Arguments.args, **named: Arguments.kwargs) -> Outcome:
        at_us = named["at_us"]
        if not (isinstance(at_us, int) and oracle.doubts(at_us)):
            return command(oracle, *given, **named)
        tried = copy.deepcopy(oracle)
        outcome = command(tried, *given, **named)
        return _refused("ClockError", f"R23 {command.__name__}") if outcome.facts else outcome

    return decided


class Oracle:
    """One model name in one workspace, over all its lives.

    ``at_us`` is the moment at which a command is given; if the clock went back, the moment of the last record is used
    again (R23). A refused or repeated command records nothing, and changes nothing here either. ``keyed`` is whether a
    command has an idempotency key (R21); whether the key was used before is not known here.
    """

    def __init__(
        self,
        *,
        losing_primary: str = "fall_back",
        publishing_claims: bool = True,
        activation: str = "instant",
        clock_skew_max_us: int | None = 300_000_000,
    ) -> None:
        """Start with a name that nothing was ever deployed under.

        losing_primary is ``fall_back``, ``leave_none`` or ``refuse`` (R11), activation is ``instant`` or ``awaited``
        (R14), clock_skew_max_us is how far the last record may lie ahead of a command, ``None`` for any distance (R23).
        """
        self._clock_skew_max_us = clock_skew_max_us
        self._losing_primary = losing_primary
        self._publishing_claims = publishing_claims
        self._activation = activation
        self.versions: dict[int, Version] = {}
        # The life that runs now; a first deployment begins it anew (R6).
        self.exists = False
        self.primary: int | None = None
        self._generation = 0
        self._highest = (0, 0, 0)
        self._role_was_cleared = False
        self._was_cleared_on_request = False
        self._primaries: list[int] = []
        self._cursor = -1
        # Over all lives.
        self._ticks = 0
        self._log: list[tuple[int, list[tuple[int, str, int]]]] = []

    # Commands ------------------------------------------------------------------------------------------------------

    @_by_the_clock
    def deploy(self, *, bump: str = "MINOR", publish: bool = False, promote: bool | None = None, at_us: int) -> Outcome:
        """Deploy a new version, and with it a new model if there is none."""
        # R2: exactly these three words, in any case; anything else is an error before anything happens.
        if bump.lower() not in {"major", "minor", "patch"}:
            return _refused("InvalidBumpError", "R2 deploy unknown bump")
        # R7: promote=True without publish=True is an error.
        if promote and not publish:
            return _refused("InvalidArgumentError", "R7 deploy promote a draft")
        if not self.exists:
            self._begin_life()
        ordinal = len(self.versions) + 1
        version = Version(
            ordinal=ordinal,
            number=self._allocate(bump.lower()),
            stage="draft",
            status="active",
            generation=self._generation,
            run=1,
        )
        self.versions[ordinal] = version
        facts = [Fact("VersionDeployed", ordinal)]
        if publish:
            self._publish(version, promote=promote)
        # R14: when awaited, the deployment itself begins a wait; when instant, it means active.
        if self._activation == "awaited":
            version.status = "activating"
            version.attempt = 1
            return self._recorded(facts, ordinal, "R14 deploy waits", at_us)
        return self._recorded(facts, ordinal, f"R9 deploy {self._became_active(version, facts)}", at_us)

    @_by_the_clock
    def publish(self, version: int, *, promote: bool | None = None, keyed: bool = False, at_us: int) -> Outcome:
        """Publish a draft that is active or activating."""
        refused = self._refusal("publish", version)
        if refused is not None:
            return refused
        target = self.versions[version]
        # R20: publishing a published version records nothing, whatever is asked beside it.
        if target.stage == "published":
            return self._found_so("publish", version, "R20 publish published", keyed=keyed, at_us=at_us)
        # Section 2: a draft that is active or activating.
        if target.status == "inactive":
            return _refused("VersionNotActiveError", "S2 publish inactive")
        self._publish(target, promote=promote)
        facts = [Fact("VersionPublished", version)]
        # R9 speaks of an active version that is published; one that is starting takes nothing yet.
        if target.status == "activating":
            return self._recorded(facts, version, "R9 publish activating", at_us)
        return self._recorded(facts, version, f"R9 publish {self._became_active(target, facts)}", at_us)

    @_by_the_clock
    def promote(self, version: int, *, at_us: int, expected: Expected = ANY, keyed: bool = False) -> Outcome:
        """Make an active version the primary."""
        refused = self._refusal("promote", version, expected)
        if refused is not None:
            return refused
        target = self.versions[version]
        # R8: promoting what is not active is refused.
        if target.status != "active":
            return _refused("VersionNotActiveError", "R8 promote not active")
        if version == self.primary:
            # R20: the primary's claim is renewed while another version holds a newer one, whatever that one's status
            # (a deleted version holds none).
            if any(other.claim > target.claim for other in self.versions.values()):
                self._claim(target)
                # R13: a renewal appends nothing to the list of primaries.
                renewal = Fact("VersionPromoted", version, "requested", previous=version)
                return self._recorded([renewal], version, "R20 promote renewal", at_us)
            return self._found_so("promote", version, "R20 promote primary", keyed=keyed, at_us=at_us)
        facts: list[Fact] = []
        branch = "R12 promote published"
        # R8: a draft is published first, in the same append.
        if target.stage == "draft":
            target.stage = "published"
            target.publication = self._tick()
            facts.append(Fact("VersionPublished", version))
            branch = "R8 promote draft"
        self._claim(target)
        self._make_primary(target, "requested", self.primary, facts)
        return self._recorded(facts, version, branch, at_us)

    @_by_the_clock
    def rollback(self, *, at_us: int, expected: Expected = ANY) -> Outcome:
        """Go back to the primary before, as undo would."""
        if not self.exists:
            return _refused("ModelNotFoundError", "S2 rollback no model")
        if expected is not ANY and expected != self.primary:
            return _refused("PrimaryMovedError", "R22 rollback")
        # R13: where there is no primary, the cursor stands just behind the entry that was current last.
        place = self._cursor if self.primary is not None else self._cursor + 1
        # R13: back to the nearest entry that is active and is not the primary.
        while place > 0:
            place -= 1
            target = self.versions[self._primaries[place]]
            if target.status == "active" and target.ordinal != self.primary:
                branch = "R13 rollback without primary"
                # R10: being rolled back from forfeits the claim.
                if self.primary is not None:
                    branch = "R13 rollback"
                    self.versions[self.primary].claim = 0
                    self.versions[self.primary].rolled_back_from = True
                fact = Fact("VersionPromoted", target.ordinal, "rollback", previous=self.primary)
                # R7: rolling back to a version is a claim. R13: it moves the cursor and leaves the list alone.
                self._claim(target)
                self._cursor = place
                self.primary = target.ordinal
                self._role_was_cleared = False
                self._was_cleared_on_request = False
                return self._recorded([fact], target.ordinal, branch, at_us)
        return _refused("NothingToRollBackToError", "R13 rollback nothing")

    @_by_the_clock
    def deactivate(self, version: int, *, at_us: int, expected: Expected = ANY, keyed: bool = False) -> Outcome:
        """Stop a version at once, or withdraw the claim of one that failed to start."""
        refused = self._refusal("deactivate", version, expected)
        if refused is not None:
            return refused
        target = self.versions[version]
        facts = [Fact("VersionDeactivated", version)]
        if target.status == "inactive":
            # R20: it is so already.
            if target.claim == 0:
                return self._found_so("deactivate", version, "R20 deactivate inactive", keyed=keyed, at_us=at_us)
            # R10: deactivating the version that failed to start withdraws its claim, and is recorded.
            target.claim = 0
            return self._recorded(facts, version, "R10 deactivate withdrawal", at_us)
        if self._is_protected(version):
            return _refused("PrimaryProtectedError", "R11 deactivate refuse")
        # R16: at once, and it ends a wait. R10: it forfeits the claim.
        branch = f"R16 deactivate {target.status}"
        target.status = "inactive"
        target.claim = 0
        if version == self.primary:
            branch = f"R11 deactivate {self._lost_primary(facts)}"
        return self._recorded(facts, version, branch, at_us)

    @_by_the_clock
    def activate(self, version: int, *, at_us: int, keyed: bool = False) -> Outcome:
        """Start an inactive version again."""
        refused = self._refusal("activate", version)
        if refused is not None:
            return refused
        target = self.versions[version]
        # R20: it is so already, or will be.
        if target.status != "inactive":
            return self._found_so("activate", version, f"R20 activate {target.status}", keyed=keyed, at_us=at_us)
        target.run += 1
        # R15: each wait has a fresh activation_id.
        if self._activation == "awaited":
            target.status = "activating"
            target.attempt += 1
            facts = [Fact("VersionActivationRequested", version)]
            return self._recorded(facts, version, "R14 activate waits", at_us)
        target.status = "active"
        facts = [Fact("VersionActivated", version)]
        return self._recorded(facts, version, f"R9 activate {self._became_active(target, facts)}", at_us)

    @_by_the_clock
    def complete_activation(self, version: int, attempt: int, *, at_us: int) -> Outcome:
        """Answer a version's ``attempt``-th wait: its environment is ready."""
        stale = self._stale("complete", version, attempt)
        if stale is not None:
            return stale
        target = self.versions[version]
        target.status = "active"
        facts = [Fact("VersionActivated", version)]
        return self._recorded(facts, version, f"R9 complete {self._became_active(target, facts)}", at_us)

    @_by_the_clock
    def fail_activation(self, version: int, attempt: int, *, at_us: int) -> Outcome:
        """Answer a version's ``attempt``-th wait: its environment did not start."""
        stale = self._stale("fail", version, attempt)
        if stale is not None:
            return stale
        # R10: a failed start keeps the claim.
        target = self.versions[version]
        target.status = "inactive"
        branch = "R10 fail keeps claim" if target.claim else "R10 fail without claim"
        return self._recorded([Fact("VersionActivationFailed", version)], version, branch, at_us)

    @_by_the_clock
    def delete(self, version: int, *, at_us: int, expected: Expected = ANY) -> Outcome:
        """Delete a version for ever, and with the last one the model."""
        refused = self._refusal("delete", version, expected)
        if refused is not None:
            return refused
        if self._is_protected(version):
            return _refused("PrimaryProtectedError", "R11 delete refuse")
        # R16: at once, in any status, and it ends a wait.
        target = self.versions[version]
        branch = f"R16 delete {target.status}"
        target.status = "deleted"
        target.claim = 0
        facts = [Fact("VersionDeleted", version)]
        if version == self.primary:
            branch = f"R11 delete {self._lost_primary(facts)}"
        # R17: deleting the only version left deletes the model in the same append.
        if not self._left():
            self.exists = False
            facts.append(Fact("ModelDeleted", None))
            branch = f"R17 last one, {branch}"
        return self._recorded(facts, version, branch, at_us)

    @_by_the_clock
    def delete_model(self, *, at_us: int) -> Outcome:
        """Delete every version that is left, and so the model; no policy stops it (R11)."""
        if not self.exists:
            return _refused("ModelNotFoundError", "S2 delete_model no model")
        facts: list[Fact] = []
        # Section 2: each version left, then the role, then the model. Ordinals rise as numbers do (R2).
        for version in self._left():
            version.status = "deleted"
            version.claim = 0
            facts.append(Fact("VersionDeleted", version.ordinal))
        branch = "S2 delete_model without primary"
        if self.primary is not None:
            branch = "S2 delete_model with primary"
            facts.append(Fact("PrimaryCleared", None, "lost", previous=self.primary))
            self.primary = None
        facts.append(Fact("ModelDeleted", None))
        self.exists = False
        return self._recorded(facts, None, branch, at_us)

    @_by_the_clock
    def clear_primary(self, *, at_us: int, expected: Expected = ANY, keyed: bool = False) -> Outcome:
        """Leave the model without a primary on purpose."""
        if not self.exists:
            return _refused("ModelNotFoundError", "S2 clear_primary no model")
        if expected is not ANY and expected != self.primary:
            return _refused("PrimaryMovedError", "R22 clear_primary")
        # R29: cleared on request already, and no claim is held since.
        is_claimed = any(version.claim for version in self.versions.values())
        if self._was_cleared_on_request and not is_claimed:
            return self._found_so("clear_primary", None, "R29 clear_primary again", keyed=keyed, at_us=at_us)
        branch = "R29 clear_primary" if self.primary is not None else "R29 clear_primary without primary"
        # R29: it withdraws every claim that is held; what was rolled back from stays that.
        for version in self.versions.values():
            version.claim = 0
        fact = Fact("PrimaryCleared", None, "requested", previous=self.primary)
        self.primary = None
        self._role_was_cleared = True
        self._was_cleared_on_request = True
        return self._recorded([fact], None, branch, at_us)

    # Questions -----------------------------------------------------------------------------------------------------

    def active(self) -> tuple[int, ...]:
        """Return the active versions, drafts too, in the order of their numbers."""
        return tuple(v.ordinal for v in self.versions.values() if v.status == "active")

    def billable(self) -> tuple[int, ...]:
        """Return the versions that are billed (R18), in the order of their numbers."""
        return tuple(v.ordinal for v in self.versions.values() if v.status in {"active", "activating"})

    def usage(self, start_us: int, end_us: int, until_us: int) -> list[tuple[int, str, int, int]]:
        """Return ``(version, stage, start_us, end_us)`` of each line of a bill, ordered by version and then by time.

        ``until_us`` is the moment up to which the bill is drawn: now, or an earlier one.

        What was eligible is looked at from each record to the next. Then what belongs together is joined: the same
        version in the same stage, not stopped in between (R19).
        """
        opened: dict[tuple[int, str, int], int] = {}
        closed: dict[tuple[int, str, int], int] = {}
        # R19: what is still open ends where the bill does, everything else at the record that ended it.
        moments = [at_us for at_us, _ in self._log] + [until_us]
        for (at_us, eligible), next_us in zip(self._log, moments[1:], strict=False):
            for stretch in eligible:
                opened.setdefault(stretch, at_us)
                closed[stretch] = next_us
        lines: list[tuple[int, str, int, int]] = []
        # R18: a stage changes one way, so this order is the order of time.
        for stretch in sorted(opened, key=lambda each: (each[0], each[2], opened[each])):
            version, stage, _ = stretch
            from_us = max(opened[stretch], start_us)
            to_us = min(closed[stretch], end_us)
            # R19: no empty lines.
            if from_us < to_us:
                lines.append((version, stage, from_us, to_us))
        return lines

    def doubts(self, at_us: int) -> bool:
        """Return whether the last record lies too far ahead of a moment (R23); exactly the limit is not too far."""
        if self._clock_skew_max_us is None or not self._log:
            return False
        return self._log[-1][0] > at_us + self._clock_skew_max_us

    # Rules that several commands share -----------------------------------------------------------------------------

    def _refusal(self, command: str, version: int, expected: Expected = ANY) -> Outcome | None:
        if version not in self.versions:
            return _refused("VersionNotFoundError", f"R5 {command} unknown")
        target = self.versions[version]
        # R22: before R20 and the rules. A version of an earlier life belongs to a model that has no primary (R6).
        primary = self.primary if target.generation == self._generation else None
        if expected is not ANY and expected != primary:
            return _refused("PrimaryMovedError", f"R22 {command}")
        # R17: no command on a deleted version succeeds.
        if target.status == "deleted":
            return _refused("VersionDeletedError", f"R17 {command} deleted")
        return None

    def _stale(self, command: str, version: int, attempt: int) -> Outcome | None:
        if version not in self.versions:
            return _refused("VersionNotFoundError", f"R5 {command} unknown")
        target = self.versions[version]
        # R15, R17: an answer to a version that is no longer activating is stale, no error.
        if target.status != "activating":
            return _nothing(version, f"R15 {command} stale, {target.status}")
        # R15: so is an answer to another wait.
        if target.attempt != attempt:
            return _nothing(version, f"R15 {command} stale, other wait")
        return None

    def _found_so(self, command: str, version: int | None, branch: str, *, keyed: bool, at_us: int) -> Outcome:
        # R20: it succeeds and records nothing.
        if not keyed:
            return _nothing(version, branch)
        # R21: with a key, that nothing changed is recorded, so that the key holds.
        return self._recorded(
            [Fact("NothingChanged", version, command=command)], version, f"{branch}, with a key", at_us
        )

    def _begin_life(self) -> None:
        # R6: a new model, with nothing of the old one.
        self.exists = True
        self.primary = None
        self._generation += 1
        self._highest = (0, 0, 0)
        self._role_was_cleared = False
        self._was_cleared_on_request = False
        self._primaries = []
        self._cursor = -1

    def _allocate(self, bump: str) -> str:
        major, minor, patch = self._highest
        # R1: the first version of a model is 0.1.0, whatever bump is asked.
        if self._highest == (0, 0, 0):
            self._highest = (0, 1, 0)
        # R2: later ones bump the highest ever allocated, and lower parts reset.
        elif bump == "major":
            self._highest = (major + 1, 0, 0)
        elif bump == "minor":
            self._highest = (major, minor + 1, 0)
        else:
            self._highest = (major, minor, patch + 1)
        return ".".join(str(part) for part in self._highest)

    def _publish(self, version: Version, *, promote: bool | None) -> None:
        version.stage = "published"
        version.publication = self._tick()
        # R7: promote= decides whether publishing is a claim, and where it is left out the policy does.
        if self._publishing_claims if promote is None else promote:
            self._claim(version)

    def _claim(self, version: Version) -> None:
        # R7: claims are ordered by when they were recorded. R11: "and not claimed again".
        version.claim = self._tick()
        version.rolled_back_from = False

    def _became_active(self, version: Version, facts: list[Fact]) -> str:
        # R8: a draft is never primary.
        if version.stage == "draft":
            return "draft"
        if self.primary is None:
            # R29: where it was cleared on request, only a new claim gives the role; older ones were withdrawn.
            if version.claim == 0 and self._was_cleared_on_request:
                return "cleared on request, no claim"
            # R9: under leave_none, a role that was cleared is taken by a claim only.
            if version.claim == 0 and self._losing_primary == "leave_none" and self._role_was_cleared:
                return "cleared role, no claim"
            # R9: no primary: cause published with a claim, default without.
            cause = "published" if version.claim else "default"
            self._make_primary(version, cause, None, facts)
            return f"no primary, {cause}"
        # R9: its claim is newer than the primary's.
        if version.claim > self.versions[self.primary].claim:
            self._make_primary(version, "published", self.primary, facts)
            return "newer claim"
        return "no newer claim"

    def _make_primary(self, version: Version, cause: str, previous: int | None, facts: list[Fact]) -> None:
        facts.append(Fact("VersionPromoted", version.ordinal, cause, previous))
        # R13: any cause but rollback cuts what lies after the cursor, and appends.
        self._primaries = [*self._primaries[: self._cursor + 1], version.ordinal]
        self._cursor = len(self._primaries) - 1
        self.primary = version.ordinal
        self._role_was_cleared = False
        self._was_cleared_on_request = False

    def _is_protected(self, version: int) -> bool:
        # R11: under refuse, the primary stays while another active published version exists.
        return (
            self._losing_primary == "refuse"
            and version == self.primary
            and any(other.ordinal != version for other in self._active_published())
        )

    def _lost_primary(self, facts: list[Fact]) -> str:
        previous = self.primary
        self.primary = None
        # R11: under fall_back, one that is active and published follows.
        if self._losing_primary == "fall_back":
            candidates = self._active_published()
            # R11: the newest claim; without claims, the latest publication; last, what was rolled back from.
            with_claim = sorted((v for v in candidates if v.claim), key=lambda v: -v.claim)
            without_claim = [v for v in candidates if not v.claim]
            without_claim.sort(key=lambda v: -v.publication)
            not_rolled_back = [v for v in without_claim if not v.rolled_back_from]
            rolled_back = [v for v in without_claim if v.rolled_back_from]
            for branch, choice in (
                ("fall_back claim", with_claim),
                ("fall_back publication", not_rolled_back),
                ("fall_back rolled back from", rolled_back),
            ):
                if choice:
                    self._make_primary(choice[0], "fallback", previous, facts)
                    return branch
        # R11: leave_none, and wherever nothing can follow.
        facts.append(Fact("PrimaryCleared", None, "lost", previous=previous))
        self._role_was_cleared = True
        return f"{self._losing_primary} cleared"

    def _active_published(self) -> list[Version]:
        return [v for v in self.versions.values() if v.status == "active" and v.stage == "published"]

    def _left(self) -> list[Version]:
        # R17: drafts, inactive and failed ones count as left.
        return [v for v in self.versions.values() if v.status != "deleted"]

    def _tick(self) -> int:
        self._ticks += 1
        return self._ticks

    def _recorded(self, facts: list[Fact], version: int | None, branch: str, at_us: int) -> Outcome:
        # R23: where the clock went back, the last timestamp is used again.
        if self._log:
            at_us = max(at_us, self._log[-1][0])
        # R18, R19: who is eligible from here on, in which stage, and since which start.
        eligible = [(v.ordinal, v.stage, v.run) for v in self.versions.values() if v.status in {"active", "activating"}]
        self._log.append((at_us, eligible))
        return Outcome(tuple(facts), version=version, branch=branch)


def _refused(error: str, branch: str) -> Outcome:
    return Outcome((), refused=error, branch=branch)


def _nothing(version: int | None, branch: str) -> Outcome:
    return Outcome((), version=version, branch=branch)
