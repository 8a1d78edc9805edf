"""Random walks: a registry and the oracle run the same commands side by side, and are compared after every one.

The law of this room: **a walk is data, and the same seed and number make the same walk**, so a walk that fails can be
repeated, shortened and kept as a test. Moves name versions by the index of their deployment, so dropping a move does
not change the meaning of the others. Only the oracle knows what should come of a move, and only `Laws` what holds of
every log; nothing here knows a rule.

    run(1_000, seed=7)                      # raises DiscrepancyError with the shortest story that still fails
    run(1, seed=7, first=123)               # the walk number 123 of that seed again

To add a kind of move: its place in `Judge.asked` and `World._arguments`, and its weight in `WEIGHTS`. To add a law: a
check in `Laws.take` if it holds after every event, or in `World.finish` if it is about a whole history.

Times are whole microseconds since 1970 UTC; periods are half-open, `[start, end)`.
"""

from __future__ import annotations

import bisect
import collections
import itertools
import random
import secrets
import string
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NoReturn

import attrs

from versioning.aggregate import Model, ModelAggregate, Version, evolve
from versioning.errors import VersioningError
from versioning.events import (
    Event,
    ModelDeleted,
    NothingChanged,
    PrimaryCleared,
    Recorded,
    VersionActivationFailed,
    VersionActivationRequested,
    VersionDeleted,
    VersionDeployed,
    VersionPromoted,
    microseconds_of,
    moment_of,
)
from versioning.ids import activation_id_of, model_id_of, stream_of, version_id_of
from versioning.limits import CLOCK_SKEW_MAX_S
from versioning.numbers import parts_of
from versioning.projections import ActiveVersions, BillableVersions, PrimaryVersions, UsageLedger
from versioning.reading.views import dump_aggregate, load_aggregate
from versioning.registry import ModelRegistry
from versioning.rules import Policy
from versioning.testing.oracle import ANY, Expected, Fact, Oracle, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from versioning.projections import Usage
    from versioning.reading.questions import Questions

POLICIES: Final = tuple(
    attrs.evolve(Policy(), losing_primary=losing, publishing_claims=claims, activation=activation)
    for activation in ("awaited", "instant")
    for losing in ("fall_back", "leave_none", "refuse")
    for claims in (True, False)
)
"""All policies."""

IN_TURN: Final = (*POLICIES, *(policy for policy in POLICIES if policy.losing_primary == "fall_back"))
"""Policies of walks, by number; `fall_back` has the most rules, so it gets more turns."""

START_US: Final = microseconds_of(datetime(2026, 1, 1, 9, tzinfo=UTC))
UNKNOWN: Final = -1
"""Index of a version that was never deployed."""
FORKED: Final = -2
"""Index of a version that was deployed on a copy of the store: only the token in its id differs from ours."""
ACTORS: Final = ("ada", "grace")
REPLAYS_MAX: Final = 600
"""Most replays of a failing walk to shorten it."""

ON_A_VERSION: Final = frozenset(
    {"publish", "promote", "deactivate", "activate", "complete_activation", "fail_activation", "delete"}
)
EXPECTING: Final = frozenset({"promote", "rollback", "deactivate", "delete", "clear_primary"})
ANSWERS: Final = frozenset({"complete_activation", "fail_activation"})
UNNEEDED: Final = frozenset({"publish", "promote", "deactivate", "activate", "clear_primary"})
"""Commands that can find all as they ask (R20)."""


class DiscrepancyError(AssertionError):
    """The registry did something else than the oracle or a law says; the message tells the story so far."""


def _chance(dice: random.Random, share: float) -> bool:
    return dice.random() < share


def _differ(about: str, expected: object, got: object) -> NoReturn:
    msg = f"{about}\n    expected {expected!r}\n    got      {got!r}"
    raise DiscrepancyError(msg)


def _same(about: str, expected: object, got: object) -> None:
    if expected != got:
        _differ(about, expected, got)


# What is asked.


@attrs.frozen(repr=False)
class Move:
    """One command of a walk, and its arguments; the repr leaves out defaults, and can be pasted into a test."""

    what: str
    """Name of the registry's method."""
    version: int = 0
    """Index of the version that it makes or is about; in a story, versions are called a, b, c by it."""
    bump: str = "MINOR"
    publish: bool = False
    promote: bool | None = None
    attempt: int = 1
    """Number of the version's wait that is answered."""
    expected: Expected = ANY
    """Index of the version that is expected to be primary; None for no primary."""
    key: str | None = None
    passes_us: int = 0
    """Microseconds by which the clock moves before it; negative to move back."""
    place: int = 0
    """Index of the name that it is about."""
    process: int = 0
    """Index of the registry, of those on the same store, that is asked."""
    looks: bool = False
    """Whether `allowed` and `preview` are asked first, and compared with what then happens."""

    def __repr__(self) -> str:
        usual = {field.name: field.default for field in attrs.fields(Move)}
        said = [
            f"{name}={'ANY' if value is ANY else repr(value)}"
            for name, value in attrs.asdict(self, recurse=False).items()
            if name != "what" and value != usual[name]
        ]
        return f"Move({', '.join([repr(self.what), *said])})"

    def __str__(self) -> str:
        """Return the move in words."""
        said = [self.what]
        if self.what == "deploy" or self.what in ON_A_VERSION:
            said[0] += f" {called(self.version)}"
        if self.what == "deploy":
            said += [self.bump, *(["publish"] if self.publish else [])]
        if self.promote is not None:
            said.append(f"promote={self.promote}")
        if self.what in ANSWERS:
            said.append(f"wait {self.attempt}")
        if self.expected is not ANY:
            said.append(f"expecting {called(self.expected)} to be primary")
        if self.key is not None:
            said.append(f"key {self.key}")
        if self.process:
            said.append(f"process {self.process}")
        return ", ".join(said)


def called(index: Expected) -> str:
    """Return the word for the version with an index: a to z, then a1, b1 and so on."""
    if not isinstance(index, int):
        return "none" if index is None else "any version"
    if index < 0:
        return {UNKNOWN: "an unknown version", FORKED: "a version of a fork"}[index]
    letter = string.ascii_lowercase[index % 26]
    return letter if index == index % 26 else f"{letter}{index // 26}"


@attrs.frozen
class Walk:
    """Moves under a policy, on a fresh store."""

    policy: Policy
    moves: tuple[Move, ...]
    seed: int = 0
    number: int = 0
    """Number of the walk among those of its seed."""
    kept: int | None = None
    """Number of events after which kept views are written back; None for the usual one."""
    clock_skew_max_s: float | None = CLOCK_SKEW_MAX_S
    """Limit of the registries (R23)."""

    def dice(self, purpose: str) -> random.Random:
        """Return a random generator that makes the same choices whenever this walk is played."""
        return random.Random(f"{self.seed} {self.number} {purpose}")  # noqa: S311 - keeps no secret


# What should come of it.


class Judge:
    """What should come of each move under one name: the oracle, and the keys, which it doesn't know (R21)."""

    def __init__(self, policy: Policy, clock_skew_max_s: float | None = CLOCK_SKEW_MAX_S) -> None:
        """Start with a name that nothing was ever deployed under."""
        self.oracle = Oracle(
            losing_primary=policy.losing_primary,
            publishing_claims=policy.publishing_claims,
            activation=policy.activation,
            clock_skew_max_us=None if clock_skew_max_s is None else round(clock_skew_max_s * 1_000_000),
        )
        self.ordinals: dict[int, int] = {}
        """Ordinals of versions in the oracle, by the index of their moves."""
        self.keys: dict[str, tuple[object, int | None]] = {}
        """What was asked for with a key, and the version that it made or changed."""

    def knows(self, move: Move) -> bool:
        """Return whether the version of a move was deployed, or was never meant to be."""
        return move.what not in ON_A_VERSION or move.version < 0 or move.version in self.ordinals

    def asked(self, move: Move) -> tuple[tuple[int, ...], dict[str, Any]]:
        """Return the arguments for the oracle's command of the same name."""
        target = (self.ordinals.get(move.version, move.version),) if move.what in ON_A_VERSION else ()
        if move.what == "deploy":
            return (), {"bump": move.bump, "publish": move.publish, "promote": move.promote}
        if move.what == "publish":
            return target, {"promote": move.promote}
        if move.what in EXPECTING:
            expected = move.expected
            return target, {"expected": self.ordinals.get(expected, UNKNOWN) if isinstance(expected, int) else expected}
        return ((*target, move.attempt), {}) if move.what in ANSWERS else (target, {})

    def judge(self, move: Move, at_us: int) -> Outcome:
        """Return what should come of a move, and treat the move as done."""
        ordinals, named = self.asked(move)
        if move.key in self.keys:
            # R22: what can't be accepted on any day (R2, R7) is refused before the key is looked at, and the key is
            # looked at before the version.
            malformed = move.what == "deploy" and (
                (move.promote and not move.publish) or move.bump.upper() not in WORDS
            )
            if not malformed:
                asked, version = self.keys[move.key]
                if asked == self._signature(move, ordinals, named):
                    return Outcome((), version=version, branch=f"R21 {move.what} repeated")
                return Outcome((), refused="IdempotencyConflictError", branch=f"R21 {move.what} with another's key")
        keyed = {"keyed": move.key is not None} if move.what in UNNEEDED else {}
        outcome: Outcome = getattr(self.oracle, move.what)(*ordinals, at_us=at_us, **named, **keyed)
        if outcome.facts:
            if move.what == "deploy" and outcome.version is not None:
                self.ordinals[move.version] = outcome.version
            # R21: a refused command leaves no key behind; neither does an answer that is stale.
            if move.key is not None:
                self.keys[move.key] = (self._signature(move, ordinals, named), outcome.version)
        return outcome

    def _signature(self, move: Move, ordinals: tuple[int, ...], named: dict[str, Any]) -> object:
        """R21: return what makes another command the same: kind, target and every argument; a bump in any case."""
        canonical = {name: value.upper() if name == "bump" else value for name, value in named.items()}
        return move.what, ordinals, canonical, move.version if move.what == "deploy" else None


WORDS: Final = frozenset({"MAJOR", "MINOR", "PATCH"})
BUMPS: Final = (*sorted(WORDS), "major", "Minor", "pAtCh")
"""Accepted bumps, in several cases."""


# What holds of every log.


class Laws:
    """The invariants of the rules, checked event by event on the log of one name, however it came about.

    laws = Laws()
    for recorded in registry.history(name):
        laws.take(recorded)
    """

    def __init__(self, policy: Policy | None = None) -> None:
        """Start before the first event; the one law that depends on a policy is left out if none is given."""
        self.policy = policy
        self.log: list[Recorded] = []
        self.models: list[Model | None] = []
        """Model after each event; None if there was none."""
        self.state = ModelAggregate("")
        self.primary, self.active, self.billable = PrimaryVersions(), ActiveVersions(), BillableVersions()
        self.ledger = UsageLedger()
        self._known: set[str] = set()
        self._deleted: set[str] = set()
        self._waits: set[str] = set()
        self._commands: set[str] = set()
        self._keys: set[str] = set()
        self._primary_before: str | None = None
        self._is_withheld = False
        """Whether it was cleared on request, and no version has been primary since."""
        self._highest = (0, 0, 0)
        self._lives = 1

    @property
    def model(self) -> Model | None:
        """Model after the last event; None if there is none."""
        return self.models[-1] if self.models else None

    def take(self, recorded: Recorded) -> None:
        """Check and apply one event.

        Raises:
            DiscrepancyError: a law is broken.
        """
        if not self.log:
            self.state = ModelAggregate(recorded.stream, recorded.workspace, recorded.model_name)
        self._check_place(recorded)
        self._check_event(recorded)
        self.log.append(recorded)
        unchanged = known(self.state) if isinstance(recorded.event, NothingChanged) else None
        evolve(self.state, recorded.event, recorded.actor)
        for projection in (self.primary, self.active, self.billable, self.ledger):
            projection.evolve(recorded)
        model = self.state.model() if self.state.exists else None
        self.models.append(model)
        if unchanged is not None:
            place = (recorded.index, recorded.count, recorded.idempotency_key is not None)
            _same("R21: what keeps a key stands alone", (0, 1, True), place)
            unchanged |= {"sequence": recorded.sequence, "last_at_us": recorded.event.at_us}
            _same("R21: nothing changed", unchanged, known(self.state))
        self._check_state(recorded, model)

    def _check_place(self, recorded: Recorded) -> None:
        """Check the order of the log: sequences without gaps, whole appends, time that never goes back (R23)."""
        last = self.log[-1] if self.log else None
        _same("sequence", last.sequence + 1 if last else 1, recorded.sequence)
        if last is not None:
            if recorded.position <= last.position:
                _differ("positions rise", f"> {last.position}", recorded.position)
            if recorded.event.at_us < last.event.at_us:
                _differ("R23: timestamps never go back", f">= {last.event.at_us}", recorded.event.at_us)
        if last is None or last.ends_append:
            _same("place in its append", 0, recorded.index)
            if recorded.idempotency_key is not None:
                if recorded.idempotency_key in self._keys:  # pragma: no cover - only what has a mistake gets here
                    _differ("invariant 5: a key is recorded once", "a new one", recorded.idempotency_key)
                self._keys.add(recorded.idempotency_key)
            if recorded.command_id in self._commands:
                _differ("command_ids are unique", "a new one", recorded.command_id)
            self._commands.add(recorded.command_id)
            primary = None if self.model is None else self.model.primary
            self._primary_before = None if primary is None else primary.version_id
        else:
            _same("place in its append", last.index + 1, recorded.index)
            _same("one command_id an append", last.command_id, recorded.command_id)

    def _check_event(self, recorded: Recorded) -> None:
        event, version_id = recorded.event, recorded.version_id
        if isinstance(event, VersionDeployed):
            if self.model is None:
                self._highest = (0, 0, 0)
            if event.version_id in self._known:
                _differ("invariant 2: ids are unique for ever", "a new version_id", event.version_id)
            if parts_of(event.number) <= self._highest:
                _differ("invariant 2: numbers strictly rise", f"> {self._highest}", event.number)
            self._known.add(event.version_id)
            self._highest = parts_of(event.number)
        elif version_id is not None and (version_id not in self._known or version_id in self._deleted):
            _differ("invariant 3: deleted is final", "a version that is there", version_id)
        _same("which life of the name", self._lives, recorded.generation)
        self._lives += isinstance(event, ModelDeleted)
        if isinstance(event, VersionDeployed | VersionActivationRequested) and event.activation_id is not None:
            if event.activation_id in self._waits:
                _differ("R15: each wait has a fresh activation_id", "a new one", event.activation_id)
            self._waits.add(event.activation_id)
        if isinstance(event, VersionDeleted):
            self._deleted.add(event.version_id)
        if isinstance(event, VersionPromoted | PrimaryCleared):
            _same("invariant 7: previous is what was primary", self._primary_before, event.previous)

    def _check_state(self, recorded: Recorded, model: Model | None) -> None:
        if isinstance(recorded.event, PrimaryCleared):
            self._is_withheld = recorded.event.cause == "requested"
        elif isinstance(recorded.event, VersionPromoted | ModelDeleted):
            self._is_withheld = False
        name = (recorded.workspace, recorded.model_name)
        versions = () if model is None else model.versions
        primary = None if model is None else model.primary
        marked = [version for version in versions if version.is_primary]
        _same("invariant 1: at most one primary", [primary] if primary else [], marked)
        if primary is not None and not (primary.status == "active" and primary.stage == "published"):
            _differ("invariant 1: the primary is active and published", "active, published", primary)
        active = {version.version_id for version in versions if version.status == "active"}
        billable = {version.version_id for version in versions if version.status in {"active", "activating"}}
        _same("R18: is_billable", billable, {version.version_id for version in versions if version.is_billable})
        # Invariant 6: the folds of the log agree; with that, invariant 4 (active ⊆ billable, primary ∈ active) holds of
        # the projections as it does of the model.
        _same("invariant 6: PrimaryVersions", primary and primary.version_id, self.primary.current.get(name))
        _same("invariant 6: ActiveVersions", active, set(self.active.current.get(name, ())))
        _same("invariant 6: BillableVersions", billable, set(self.billable.current.get(name, ())))
        open_ledgers = {version_id for version_id, ledger in self.ledger.ledgers.items() if ledger.is_open}
        _same("invariant 6: open usage", billable, open_ledgers)
        if recorded.ends_append:
            left = self._known - self._deleted
            _same("invariant 3: a model is deleted exactly when its last version is", bool(left), model is not None)
            _same("invariant 3: what is left", left, {version.version_id for version in versions})
            falls_back = self.policy is not None and self.policy.losing_primary == "fall_back"
            if falls_back and primary is None and not self._is_withheld:
                could = [version for version in versions if version.is_serving]
                _same("invariant 1: there is a primary whenever a version could be", [], could)

    def fold(self, count: int) -> ModelAggregate:
        """Return the state after the first events, folded anew."""
        first = self.log[0]
        state = ModelAggregate(first.stream, first.workspace, first.model_name)
        for recorded in self.log[:count]:
            evolve(state, recorded.event, recorded.actor)
        return state

    def check_snapshot(self, count: int) -> None:
        """Check that a snapshot after the first events, and the rest, amount to what all events do (invariant 6)."""
        state = load_aggregate(dump_aggregate(self.fold(count)))
        for recorded in self.log[count:]:
            evolve(state, recorded.event, recorded.actor)
        _same(f"invariant 6: a snapshot after {count} events and the rest", known(self.state), known(state))

    def check_projections(self) -> None:
        """Check that projections that are built anew equal the live ones (invariant 6)."""
        for live in (self.primary, self.active, self.billable):
            _same(f"invariant 6: {type(live).__name__} built anew", live.current, type(live)().fold(self.log).current)
        _same("invariant 6: UsageLedger built anew", self.ledger.ledgers, UsageLedger().fold(self.log).ledgers)


def known(state: ModelAggregate) -> dict[str, object]:
    """Return everything that an aggregate knows about its model, in an order that can be compared."""
    names = [
        name for name in ModelAggregate.__slots__ if name not in {"_pending", "first_position", "link", "position"}
    ]
    held = {name: getattr(state, name) for name in names}
    return {name: list(value.items()) if isinstance(value, dict) else value for name, value in held.items()}


# Both side by side.


class Clock:
    """A clock that stands still until it is moved, forward or back."""

    def __init__(self, now_us: int = START_US) -> None:
        """Start at a moment."""
        self.now_us = now_us

    def __call__(self) -> datetime:
        return moment_of(self.now_us)


class Place:
    """One name in one workspace: what it should be, and what the registry showed."""

    def __init__(
        self, workspace: str, name: str, policy: Policy, clock_skew_max_s: float | None = CLOCK_SKEW_MAX_S
    ) -> None:
        """Start with a name that nothing was ever deployed under."""
        self.workspace = workspace
        self.name = name
        self.stream = stream_of(workspace, name)
        self.judge = Judge(policy, clock_skew_max_s)
        self.oracle = self.judge.oracle
        self.laws = Laws(policy)
        self.ids: dict[int, str] = {}
        """version_ids, by the oracle's ordinals."""
        self.ordinals: dict[str | None, int] = {}
        """Ordinals in the oracle, by version_id."""

    @property
    def log(self) -> list[Recorded]:
        """Everything that was recorded."""
        return self.laws.log

    @property
    def last_at_us(self) -> int:
        """Last timestamp; 0 before the first event."""
        return self.log[-1].event.at_us if self.log else 0

    def id(self, ordinal: int) -> str:
        """Return the version_id of one of the oracle's ordinals, or an id that was never given to a version."""
        if ordinal in self.ids:
            return self.ids[ordinal]
        if ordinal == FORKED and self.ids:
            token = "0" * 8 if self.ids[1][-1] != "0" else "1" * 8
            return version_id_of(self.stream, 1, token)
        return version_id_of(self.stream, len(self.ids) + 1, "0" * 8)

    def count_at(self, position: int) -> int:
        """Return the number of events up to a position."""
        return bisect.bisect_right(self.log, position, key=lambda recorded: recorded.position)

    def count_when(self, at_us: int) -> int:
        """Return the number of events up to a moment."""
        return bisect.bisect_right(self.log, at_us, key=lambda recorded: recorded.event.at_us)

    def model_after(self, count: int) -> Model | None:
        """Return the model after so many events."""
        return self.laws.models[count - 1] if count else None

    def facts(self, events: Iterable[Event]) -> tuple[Fact, ...]:
        """Return events as the oracle names them; a version that is not known yet is the next one."""
        following = len(self.ids) + 1

        def ordinal(version_id: str | None) -> int | None:
            return None if version_id is None else self.ordinals.get(version_id, following)

        return tuple(
            Fact(
                type(event).__name__,
                ordinal(getattr(event, "version_id", None)),
                getattr(event, "cause", None),
                ordinal(getattr(event, "previous", None)),
                getattr(event, "command", None),
            )
            for event in events
        )

    def shown(self, version: Version) -> tuple[object, ...]:
        """Return what can be compared of a version that the registry shows."""
        return (
            version.version_id, version.number, version.stage, version.status, version.is_primary, version.is_billable,
            version.activation_id, version.model_id,
        )  # fmt: skip

    def expected(self, ordinal: int) -> tuple[object, ...]:
        """Return what the oracle says about a version, in the same order."""
        version, version_id = self.oracle.versions[ordinal], self.ids[ordinal]
        waits = version.status == "activating"
        return (
            version_id,
            version.number,
            version.stage,
            version.status,
            ordinal == self.oracle.primary,
            version.status in {"active", "activating"},
            activation_id_of(version_id, version.attempt) if waits else None,
            model_id_of(self.stream, version.generation),
        )


@attrs.frozen
class Answer:
    """What a call of the registry returned, or the class of the error that refused it."""

    given: Any = None
    refused: str | None = None


def answer(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Answer:  # noqa: ANN401 - whatever is called
    """Call something, and return an error of this library as an answer."""
    try:
        return Answer(call(*args, **kwargs))
    except VersioningError as error:
        return Answer(refused=type(error).__name__)


@attrs.frozen
class Played:
    """A move, and what came of it."""

    move: Move
    at_us: int
    outcome: Outcome
    events: tuple[Event, ...] = ()
    refused: str | None = None


class World:
    """A store with some names in it, the registries that are asked, and what should be so."""

    def __init__(
        self,
        policy: Policy,
        *,
        url: str = "memory:",
        kept: int | None = None,
        clock_skew_max_s: float | None = CLOCK_SKEW_MAX_S,
    ) -> None:
        """Open a fresh store, or a fresh workspace of a store that is kept.

        Args:
            policy: the policy of all registries.
            url: the URL of the store.
            kept: the number of events after which kept views are written back.
            clock_skew_max_s: the limit of all registries.
        """
        mark = "" if url == "memory:" else f" {secrets.token_hex(8)}"
        self.policy = policy
        self.url = url
        self.clock = Clock()
        self.played: list[Played] = []
        self.clock_skew_max_s = clock_skew_max_s
        self.places = [
            Place(f"one{mark}", "model", policy, clock_skew_max_s),
            Place(f"one{mark}", "another model", policy, clock_skew_max_s),
            Place(f"two{mark}", "model", policy, clock_skew_max_s),
        ]
        self.elsewhere = f"elsewhere{mark}"
        self._registries: dict[tuple[str, int], ModelRegistry] = {}
        self._kept = kept
        self._bills: list[tuple[Place, Usage]] = []
        self.head = self.registry(self.places[0].workspace).position()

    def registry(self, workspace: str, process: int = 0) -> ModelRegistry:
        """Return a registry on the store, as a process would have it: each has a cache of its own."""
        opened = self._registries.get((workspace, process))
        if opened is None:
            if self.url == "memory:" and self._registries:
                opened = object.__new__(ModelRegistry)  # memory belongs to one registry; this is one more
                opened.__dict__.update(next(iter(self._registries.values())).__dict__)
                opened._use(workspace, self.policy)
            else:
                opened = ModelRegistry(
                    self.url,
                    workspace=workspace,
                    policy=self.policy,
                    clock=self.clock,
                    clock_skew_max_s=self.clock_skew_max_s,
                )
                if self._kept is not None:
                    opened._views._batch_events = self._kept  # noqa: SLF001 - so that short logs are written back too
            self._registries[workspace, process] = opened
        return opened

    def close(self) -> None:
        """Close the store."""
        for opened in self._registries.values():
            opened.close()

    # After every command.

    def play(self, move: Move) -> Outcome | None:
        """Run a command in the registry and in the oracle, and compare; return None if its version is not there.

        Raises:
            DiscrepancyError: they differ.
        """
        self.clock.now_us += move.passes_us
        place = self.places[move.place]
        if not place.judge.knows(move):
            return None
        registry = self.registry(place.workspace, move.process)
        arguments = self._arguments(place, move)
        looked = self._look(registry, move, arguments) if move.looks else None
        at_us = max(self.clock.now_us, place.last_at_us)
        outcome = place.judge.judge(move, self.clock.now_us)
        told = Played(move, at_us, outcome)
        self.played.append(told)
        got = answer(getattr(registry, move.what), *arguments[0], **arguments[1])
        # Another process reads, where there is one: nobody may need to have written to know.
        reader = self.registry(place.workspace, 1 - move.process) if move.process else registry
        recorded = list(reader.history(after=self.head))
        self.played[-1] = attrs.evolve(told, events=tuple(seen.event for seen in recorded), refused=got.refused)
        _same("refused with", outcome.refused, got.refused)
        _same("recorded", outcome.facts, place.facts(seen.event for seen in recorded))
        if looked is not None:
            self._compare_look(place, move, outcome, *looked)
        for seen in recorded:
            self._take(place, move, seen, at_us)
        self._compare_state(place, reader)
        self._compare_answer(place, move, outcome, got.given)
        if move.looks and place.log and place.log[0].event.at_us <= self.clock.now_us:
            # The period runs on, so what the bill counts as open depends on when it is drawn.
            end = moment_of(self.clock.now_us + 3_600_000_000)
            self._bills.append((place, reader.usage(place.log[0].timestamp, end, place.name)))
        return outcome

    def _arguments(self, place: Place, move: Move) -> tuple[tuple[str, ...], dict[str, Any]]:
        """Return the arguments for the registry's command of the same name."""
        ordinals, named = place.judge.asked(move)
        why: dict[str, Any] = {"actor": ACTORS[move.process], "correlation_id": f"after {move.passes_us}"}
        if move.key is not None:
            why |= {"idempotency_key": move.key, "reason": f"process {move.process}"}
        ids = tuple(place.id(ordinal) for ordinal in ordinals[:1])
        if move.what == "deploy":
            metadata = {"index": move.version} if move.version % 2 else None
            why |= {"model_name": place.name, "metadata": metadata, "version_bump": move.bump, "publish": move.publish}
            return (f"memory:{called(move.version)}",), why | {"promote": move.promote}
        if move.what == "publish":
            return ids, why | {"promote": move.promote}
        if move.what in ANSWERS:
            if move.what == "fail_activation":
                why["error"] = f"{called(move.version)} did not start"
            return (*ids, activation_id_of(ids[0], move.attempt)), why
        if move.what in EXPECTING and move.expected is not ANY:
            why["expected_primary"] = None if move.expected is None else place.id(named["expected"])
        return ids or (() if move.what in ON_A_VERSION else (place.name,)), why

    def _look(
        self, registry: ModelRegistry, move: Move, arguments: tuple[tuple[str, ...], dict[str, Any]]
    ) -> tuple[Answer, Answer]:
        ids, named = arguments
        menu = answer(registry.allowed, ids[0]) if move.what in ON_A_VERSION else Answer()
        preview = answer(getattr(registry.preview, move.what), *ids, **named)
        _same("a look records nothing", [], list(registry.history(after=self.head)))
        return menu, preview

    def _compare_look(self, place: Place, move: Move, outcome: Outcome, menu: Answer, preview: Answer) -> None:
        _same("preview is refused with", outcome.refused, preview.refused)
        _same("preview", outcome.facts, place.facts(preview.given or ()))
        if outcome.branch.startswith(("R21", "R22")) or move.what not in ON_A_VERSION:
            return  # what a key or an expectation decided is not the menu's
        if outcome.branch.startswith("R23") and move.key is not None:
            return  # without its key it might record nothing, and be offered
        if outcome.refused == "VersionNotFoundError":
            _same("allowed is refused with", outcome.refused, menu.refused)
        else:
            offered = outcome.refused is None
            if move.what in ANSWERS:
                offered = self._waits(place, move) and not place.oracle.doubts(self.clock.now_us)
            _same(f"allowed offers {move.what}", offered, move.what in menu.given)

    def _waits(self, place: Place, move: Move) -> bool:
        """Return whether an answer was awaited before the move."""
        versions = () if place.laws.model is None else place.laws.model.versions
        version_id = place.id(place.judge.ordinals[move.version])
        return any(each.version_id == version_id and each.status == "activating" for each in versions)

    def _take(self, place: Place, move: Move, seen: Recorded, at_us: int) -> None:
        """Apply what was recorded; compare who, why and when (R26), and the facts that the oracle doesn't tell."""
        event = seen.event
        self.head = seen.position
        if isinstance(event, VersionDeployed):
            ordinal = len(place.ids) + 1
            place.ids[ordinal] = event.version_id
            place.ordinals[event.version_id] = ordinal
            _same("number", place.oracle.versions[ordinal].number, event.number)
        expected = (
            place.workspace, place.name, ACTORS[move.process], f"after {move.passes_us}", move.key,
            None if move.key is None else f"process {move.process}", at_us,
        )  # fmt: skip
        got = (
            seen.workspace, seen.model_name, seen.actor, seen.correlation_id, seen.idempotency_key, seen.reason,
            event.at_us,
        )  # fmt: skip
        _same("who, why and when", expected, got)
        place.laws.take(seen)

    def _compare_state(self, place: Place, reader: ModelRegistry) -> None:
        """Compare status, stage, numbers, primary, active and billable with the oracle's."""
        oracle = place.oracle
        if not oracle.exists:
            _same("the model", Answer(refused="ModelNotFoundError"), answer(reader.model, place.name))
            return
        model = reader.model(place.name)
        left = [ordinal for ordinal, version in oracle.versions.items() if version.status != "deleted"]
        _same("versions", [place.expected(ordinal) for ordinal in left], [place.shown(each) for each in model.versions])
        primary = None if oracle.primary is None else place.ids[oracle.primary]
        _same("primary", primary, model.primary and model.primary.version_id)
        _same("active", [place.ids[each] for each in oracle.active()], [each.version_id for each in model.active])
        _same("billable", [place.ids[each] for each in oracle.billable()], [each.version_id for each in model.billable])
        _same("invariant 6: the registry's model and a plain fold", place.laws.model, model)

    def _compare_answer(self, place: Place, move: Move, outcome: Outcome, given: Version | Model | None) -> None:
        if isinstance(given, Model) and move.what == "clear_primary":
            # R21: a repetition gives the model of that life, as it is now.
            asked = [seen for seen in place.log if move.key is not None and seen.idempotency_key == move.key]
            model_id = asked[-1].model_id if asked else place.log[-1].model_id
            if place.laws.model is not None and place.laws.model.model_id == model_id:
                _same("answer", place.laws.model, given)
            else:  # pragma: no cover - a rare way, which the walks that are not traced go
                ended = [seen for seen in place.log if seen.model_id == model_id][-1]
                _same("answer", (model_id, (), ended.timestamp), (given.model_id, given.versions, given.deleted_at))
        elif isinstance(given, Model):
            # R21: a repetition gives the model that was deleted then, whatever life has begun since.
            deleted = [seen for seen in place.log if isinstance(seen.event, ModelDeleted)]
            if move.key is not None:
                deleted = [seen for seen in deleted if seen.idempotency_key == move.key]
            _same(
                "answer",
                (deleted[-1].model_id, (), deleted[-1].timestamp),
                (given.model_id, given.versions, given.deleted_at),
            )
        elif given is not None and outcome.version is not None:
            _same("answer", place.expected(outcome.version), place.shown(given))
            if outcome.facts and move.what == "fail_activation":
                _same("failure", f"{called(move.version)} did not start", given.failure)
            elif given.is_billable:
                _same("failure", None, given.failure)

    # At the end of a history.

    def finish(self, dice: random.Random) -> None:
        """Compare whole histories: every position, usage, questions across models, and what other workspaces see.

        Raises:
            DiscrepancyError: something differs.
        """
        told = [place for place in self.places if place.log]
        for place in told:
            registry = self.registry(place.workspace, dice.randrange(2))
            self._check_history(place, registry, dice)
            self._check_positions(place, registry)
            self._check_usage(place, registry, dice)
            place.laws.check_snapshot(dice.randint(1, len(place.log)))
            place.laws.check_projections()
            self._check_answers(place, registry, len(place.log), registry)
            if _chance(dice, 0.1):
                count = dice.randint(1, len(place.log))
                past = registry.at(place.log[count - 1].position)
                self._check_answers(place, past, count, registry)
            if _chance(dice, 0.1):
                at_us = dice.choice(place.log).event.at_us - dice.randrange(2)
                self._check_answers(place, registry.at(moment_of(at_us)), place.count_when(at_us), registry)
        for workspace, count in collections.Counter(place.workspace for place in told).items():
            if count > 1 or _chance(dice, 0.3):
                self._check_workspace(workspace, dice)
        if told and _chance(dice, 0.2):
            self._check_elsewhere(dice.choice(told))
        for place, bill in self._bills:
            if bill.until <= self.clock():  # else the clock went back behind it, and it lies in the future
                past = self.registry(place.workspace).at(bill.position)
                again = past.usage(bill.start, bill.end, place.name, until=bill.until)
                _same("R19: a bill drawn again as of its position", bill, again)

    def _check_history(self, place: Place, registry: ModelRegistry, dice: random.Random) -> None:
        """Compare the history of the name, of each life and of a version, in any portions (R26)."""
        _same("history of the name", place.log, list(registry.history(place.name)))
        life = dice.choice(place.log).model_id
        own = [seen for seen in place.log if seen.model_id == life]
        _same("history of a life", own, list(registry.history(life)))
        version_id = dice.choice(list(place.ids.values()))
        named = [seen for seen in place.log if version_id in {seen.version_id, getattr(seen.event, "previous", None)}]
        _same("history of a version", named, list(registry.history(version_id)))
        after, limit = dice.choice([0, *(seen.position for seen in place.log)]), dice.randint(0, 5)
        portion = [seen for seen in place.log if seen.position > after][:limit]
        _same("a portion of the history", portion, list(registry.history(place.name, after=after, limit=limit)))

    def _check_positions(self, place: Place, registry: ModelRegistry) -> None:
        """Compare the model, or all models of the workspace, at every position with a plain fold (R25)."""
        neighbours = sorted(
            (each for each in self.places if each.workspace == place.workspace), key=lambda each: each.name
        )
        positions = [place.log[0].position - 1, *(seen.position for seen in place.log)]
        for count, position in enumerate(positions):
            past = registry.at(position)
            if count % 3 == 1:
                model = place.model_after(count)
                expected = Answer(model) if model else Answer(refused="ModelNotFoundError")
                _same(f"model as of position {position}", expected, answer(past.model, place.name))
            else:
                models = [each.model_after(each.count_at(position)) for each in neighbours]
                expected_models = [model for model in models if model is not None]
                _same(f"models as of position {position}", expected_models, list(past.models()))

    def _check_answers(self, place: Place, asked: Questions, count: int, now: ModelRegistry) -> None:
        """Compare all questions about one name with a plain fold of its first events."""
        state = place.laws.fold(count)
        about = f"after {count} of {len(place.log)} events"
        missing = Answer(refused="ModelNotFoundError")
        left = [state.versions[version_id] for version_id in state.left]
        primary = None if state.primary is None else state.versions[state.primary]
        model = state.model() if state.exists else None
        _same(f"model {about}", Answer(model) if model else missing, answer(asked.model, place.name))
        for question, shown in (
            (asked.primary, primary),
            (asked.active, tuple(each for each in left if each.status == "active")),
            (asked.billable, tuple(each for each in left if each.status in {"active", "activating"})),
            (asked.versions, tuple(left)),
        ):
            name = getattr(question, "__name__", "")
            _same(f"{name} {about}", Answer(shown) if state.exists else missing, answer(question, place.name))
        expected_primary = Answer(primary) if primary else Answer(refused="NoPrimaryVersionError") if model else missing
        _same(f"resolve {about}", expected_primary, answer(asked.resolve, place.name))
        if state.exists:
            self._check_numbers(place, asked, state, about)
        for version_id in list(place.ids.values())[:: 1 if asked is now else 3]:
            version = state.versions.get(version_id)
            expected = Answer(version) if version else Answer(refused="VersionNotFoundError")
            _same(f"version {about}", expected, answer(asked.version, version_id))
        for generation in range(1, state.generation + 1):
            life = model_id_of(place.stream, generation)
            _same(f"an earlier life {about}", state.model(generation), asked.model(life))

    def _check_numbers(self, place: Place, asked: Questions, state: ModelAggregate, about: str) -> None:
        """Compare versions that are named by number, by id and by range (R24)."""
        for number, version_id in list(state.by_number.items())[-2:]:
            version = state.versions[version_id]
            _same(f"number {number} {about}", version, asked.version(f"{place.name}@{number}"))
            refused = {"active": None, "deleted": "VersionDeletedError"}.get(version.status, "VersionNotActiveError")
            expected = Answer(refused=refused) if refused else Answer(version)
            _same(f"resolve {number} {about}", expected, answer(asked.resolve, place.name, number))
            _same(f"resolve the id of {number} {about}", expected, answer(asked.resolve, place.name, version_id))
        low = next(reversed(state.by_number))
        inside = [
            each
            for each in state.versions.values()
            if each.model_id == state.model_id and each.is_serving and parts_of(each.number) < parts_of(low)
        ]
        expected = Answer(inside[-1]) if inside else Answer(refused="VersionNotFoundError")
        _same(f"resolve <{low} {about}", expected, answer(asked.resolve, place.name, f"<{low}"))

    # Usage.

    def _check_usage(self, place: Place, registry: ModelRegistry, dice: random.Random) -> None:
        """Compare usage with brute force, with the live ledger and with its parts, however cut (R19, invariant 8)."""
        now_us = self.clock.now_us
        moments = [seen.event.at_us for seen in place.log]
        start_us = dice.choice([moments[0] - 5, *moments]) + dice.randrange(3)
        end_us = dice.choice([*(moment for moment in moments if moment >= start_us), max(moments[-1], now_us)])
        end_us = max(start_us, end_us + dice.choice([-1, 0, 1, 3_600_000_000]))
        whole = registry.usage(moment_of(start_us), moment_of(end_us), place.name)
        self._compare_usage(place, start_us, end_us, now_us, whole)
        _same("usage of the live ledger", whole.lines, place.laws.ledger.usage(start_us, end_us, now_us).lines)
        if _chance(dice, 0.5):
            return
        until_us = dice.randint(start_us, max(start_us, now_us))
        until = moment_of(until_us)
        whole = registry.usage(moment_of(start_us), moment_of(end_us), place.name, until=until)
        self._compare_usage(place, start_us, end_us, until_us, whole)
        last_us = min(until_us, end_us)
        cuts = [start_us, *sorted(dice.randint(start_us, last_us) for _ in range(2)), end_us]
        totals: collections.Counter[tuple[str, str]] = collections.Counter()
        for from_us, to_us in itertools.pairwise(cuts):
            part = registry.usage(moment_of(from_us), moment_of(to_us), place.name, until=until)
            self._compare_usage(place, from_us, to_us, until_us, part)
            for line in part.lines:
                totals[line.version_id, line.stage] += line.microseconds
        for line in whole.lines:
            totals[line.version_id, line.stage] -= line.microseconds
        _same("invariant 8: the parts of a period add up", {}, {key: left for key, left in totals.items() if left})

    def _compare_usage(self, place: Place, start_us: int, end_us: int, until_us: int, usage: Usage) -> None:
        period = f"usage of [{moment_of(start_us)}, {moment_of(end_us)}) up to {moment_of(until_us)}"
        expected = place.oracle.usage(start_us, end_us, until_us)
        got = [
            (place.ordinals[line.version_id], line.stage, microseconds_of(line.start), microseconds_of(line.end))
            for line in usage.lines
        ]
        _same(period, sorted(expected), sorted(got))
        _same(
            f"the end of what is counted in {period}",
            max(start_us, min(end_us, until_us)),
            microseconds_of(usage.until),
        )
        _same(f"the total {period}", sum(end - start for _, _, start, end in expected), usage.total_microseconds)
        for line in usage.lines:
            opened = place.log[place.count_at(line.opened_by) - 1]
            _same("an opening event", (line.opened_by, line.version_id), (opened.position, opened.version_id))
            _same("where a line begins", max(opened.event.at_us, start_us), microseconds_of(line.start))
            if line.closed_by is None:
                cut = {microseconds_of(line.end)}
                _same("where a line is cut", cut, cut & {end_us, until_us})
                continue
            closed = place.log[place.count_at(line.closed_by) - 1]
            _same("a closing event", (line.closed_by, line.version_id), (closed.position, closed.version_id))
            _same("where a line ends", closed.event.at_us, microseconds_of(line.end))

    # Several names, several workspaces.

    def _check_workspace(self, workspace: str, dice: random.Random) -> None:
        """Compare questions across models with those about each, and with followers and rebuilt views."""
        registry = self.registry(workspace, dice.randrange(2))
        places = [place for place in self.places if place.workspace == workspace and place.log]
        present = sorted((place for place in places if place.oracle.exists), key=lambda place: place.name)
        if _chance(dice, 0.1):
            registry.rebuild()
        models = [registry.model(place.name) for place in present]
        _same("models across the workspace", models, list(registry.models()))
        _same(
            "active across the workspace", [each for model in models for each in model.active], list(registry.active())
        )
        billable = [each for model in models for each in model.billable]
        _same("billable across the workspace", billable, list(registry.billable()))
        log = sorted((seen for place in places for seen in place.log), key=lambda seen: seen.position)
        _same("history of the workspace", log, list(registry.history()))
        if _chance(dice, 0.1):
            follower = registry.follow()
            _same("what a follower gets", log, list(itertools.islice(follower, len(log))))
            follower.close()
        start = log[0].timestamp
        end = moment_of(max(self.clock.now_us, *(place.last_at_us for place in places)))
        own = [line for place in places for line in registry.usage(start, end, place.name).lines]
        _same("usage across the workspace", sorted(own, key=str), sorted(registry.usage(start, end).lines, key=str))
        position = dice.choice(log).position
        counted = UsageLedger().fold(seen for seen in log if seen.position <= position)
        bill = counted.usage(microseconds_of(start), microseconds_of(end), self.clock.now_us)
        _same(f"usage across it as of position {position}", bill, registry.at(position).usage(start, end))

    def _check_elsewhere(self, place: Place) -> None:
        """Check that another workspace finds nothing of this one, whatever is asked (R27, invariant 11)."""
        registry = self.registry(self.elsewhere)
        version_id = next(reversed(place.ids.values()))
        _same("models elsewhere", ((), [], ()), (registry.models(), list(registry.history()), registry.active()))
        hidden = Answer(refused="VersionNotFoundError")
        for question in (registry.version, registry.history, registry.allowed, registry.promote):
            _same(f"{question.__name__} elsewhere", hidden, answer(question, version_id))
        for seen in [seen for seen in place.log if seen.idempotency_key and seen.version_id][-1:]:
            for command in (registry.publish, registry.delete, registry.activate, registry.deactivate):
                got = answer(command, seen.version_id, idempotency_key=seen.idempotency_key)
                _same(f"{command.__name__} elsewhere, with a key", hidden, got)
        missing = Answer(refused="ModelNotFoundError")
        for about in (place.name, place.log[-1].model_id):
            _same(f"model {about} elsewhere", missing, answer(registry.model, about))
            _same(f"history of {about} elsewhere", missing, answer(registry.history, about))
        start, end = place.log[0].timestamp, place.log[-1].timestamp
        _same("usage elsewhere", (), registry.usage(start, end).lines)

    # How it is told.

    def story(self) -> list[str]:
        """Return what was played, a line for each move: when, where, what was asked for, and what came of it."""
        lines = []
        for told in self.played:
            place = self.places[told.move.place]
            ids = {place.id(ordinal): called(index) for index, ordinal in place.judge.ordinals.items()}
            came = [_told(event, ids) for event in told.events]
            if told.refused is not None:
                came.append(f"refused, {told.refused}")
            where = "" if told.move.place == 0 else f"[{place.workspace.split()[0]}, {place.name}] "
            moment = moment_of(told.at_us).strftime("%d %H:%M:%S.%f")
            lines.append(f"{moment}  {where}{told.move} -> {', '.join(came) or 'nothing'}")
        return lines


def _told(event: Event, ids: dict[str, str]) -> str:
    said = [type(event).__name__]
    version_id = getattr(event, "version_id", None)
    if version_id is not None:
        said.append(ids.get(version_id, version_id))
    if isinstance(event, VersionPromoted | PrimaryCleared):  # pragma: no cover - which stories fail is chance
        said.append(f"({event.cause})")
    if isinstance(event, NothingChanged):  # pragma: no cover - the same
        said.append(f"({event.command})")
    if isinstance(event, VersionActivationFailed):
        said.append(f"({event.error})")
    return " ".join(said)


# How walks are made.

STYLES: Final[tuple[dict[str, float], ...]] = (
    {},
    {"deploy": 2, "delete": 4, "delete_model": 3},
    {"rollback": 6, "promote": 3, "deactivate": 1.5, "activate": 2, "delete_model": 0},
    {"clear_primary": 5, "deploy": 1.5, "deactivate": 2, "activate": 3, "delete_model": 0.5},
    {"activate": 3, "fail_activation": 5, "deactivate": 2, "promote": 2},
)
"""Commands that a walk gives more or less often: none, many short-lived versions, back and forth, bad starts,
primaries that are cleared on purpose."""

CLAIMING: Final = ((None, None, True, False), (False, False, False, None), (None, True))
"""Values of `promote` that a walk publishes with."""

WEIGHTS: Final[dict[str, float]] = {
    "deploy": 3,
    "publish": 3,
    "promote": 3,
    "rollback": 2,
    "clear_primary": 0.7,
    "deactivate": 3,
    "activate": 3,
    "complete_activation": 7,
    "fail_activation": 2,
    "delete": 1.3,
    "delete_model": 0.3,
    "repeat": 1.5,
}
"""Weight of each command, if there is a version that it suits."""

UNSUITABLE: Final = 0.04
"""Factor on the weight of a command that suits no version."""

LENGTHS: Final = (1, 3, 5, 8, 45)
"""Approximate lengths of walks: many are short, some go far."""

LEFT_MAX: Final = 6
"""Number of versions that is enough for every rule, and for short stories."""

CLOCK_SET_BACK: Final = 0.03
"""Share of the moves before which the clock is set back by about as much as R23 allows, or more."""
_SET_BACK_US: Final = (200_000_000, 2_000_000_000)
_PASSING_US: Final = (0, 0, 1, 1, 1_000_000, 1_000_000, 60_000_000, 7_200_000_000, -30_000_000)


class _Planner:
    """Moves under one name, made in view of the oracle so that most of them do something."""

    def __init__(self, dice: random.Random, policy: Policy, place: int, processes: int) -> None:
        self.dice = dice
        self.place = place
        self.processes = processes
        self.judge = Judge(policy)
        self.deployed = 0
        self.keyed: list[Move] = []
        style = dice.choice(STYLES)
        self.published = dice.choice([0.4, 0.8])
        self.promotes = dice.choice(CLAIMING)
        self.kinds = tuple(WEIGHTS)
        self.weights = {kind: weight * style.get(kind, 1) for kind, weight in WEIGHTS.items()}

    def next(self, now_us: int) -> tuple[Move, Outcome]:
        """Make a move, with the time that passes before it, and return it with what should come of it."""
        suited = self._suited()
        weights = [self.weights[kind] * (1 if suited[kind] else UNSUITABLE) for kind in self.kinds]
        weights[0] *= max(1, len(suited["deploy"]) - 2)  # rules are about several versions: they come first
        kind = self.dice.choices(self.kinds, weights)[0]
        move = self._repeat() if kind == "repeat" and self.keyed else self._make(kind, suited)
        move = attrs.evolve(
            move,
            passes_us=self._passes(),
            place=self.place,
            process=self.dice.randrange(self.processes),
            looks=_chance(self.dice, 0.15),
        )
        outcome = self.judge.judge(move, now_us + move.passes_us)
        if move.what == "deploy" and outcome.facts:
            self.deployed = max(self.deployed, move.version + 1)
        if move.key is not None:
            self.keyed.append(move)
        return move, outcome

    def _passes(self) -> int:
        if _chance(self.dice, CLOCK_SET_BACK):
            return -self.dice.randint(*_SET_BACK_US)
        passes_us = self.dice.choice(_PASSING_US)
        return passes_us if abs(passes_us) <= 1 else self.dice.randint(*sorted((0, passes_us)))

    def _suited(self) -> dict[str, list[int]]:
        """Return the indexes of the versions that each command suits; commands on the name suit any."""
        oracle = self.judge.oracle
        versions = [(index, oracle.versions[ordinal]) for index, ordinal in self.judge.ordinals.items()]
        left = [(index, version) for index, version in versions if version.status != "deleted"]
        active = [index for index, version in left if version.status == "active"]
        starting = [index for index, version in left if version.status == "activating"]
        stopped = [index for index, version in left if version.status == "inactive"]
        primary = [index for index, version in left if version.ordinal == oracle.primary]
        challenged = primary if any(version.claim for _, version in left if version.status != "active") else []
        return {
            "deploy": [0] * (LEFT_MAX - len(left)),
            "publish": [index for index, version in left if version.stage == "draft"],
            "promote": [index for index in active if index not in primary] or challenged,
            "rollback": active if len(active) > len(primary) else [],
            "clear_primary": primary or [index for index, version in left if version.claim] or [0] * bool(left),
            "deactivate": [
                *active,
                *primary,
                *primary,
                *starting,
                *(i for i, version in left if i in stopped and version.claim),
            ],
            "activate": stopped,
            "complete_activation": starting,
            "fail_activation": starting,
            "delete": [*(index for index, _ in left), *primary, *primary],
            "delete_model": [0] if versions else [],
            "repeat": [0] if self.keyed else [],
        }

    def _make(self, kind: str, suited: dict[str, list[int]]) -> Move:
        dice = self.dice
        key = f"k{len(self.keyed)}" if _chance(dice, 0.5 if kind == "delete_model" else 0.25) else None
        if kind in {"deploy", "repeat"}:
            publish = _chance(dice, self.published)
            promote = dice.choice(self.promotes)
            if promote and not publish and _chance(dice, 0.8):
                promote = None
            bump = dice.choice(BUMPS) if _chance(dice, 0.98) else dice.choice(["", "BIG", "MINOR "])
            return Move("deploy", self.deployed, bump, publish, promote, key=key)
        version = self._version(suited[kind])
        if kind in UNNEEDED and version not in suited[kind] and _chance(dice, 0.5):
            key = f"k{len(self.keyed)}"  # what changes nothing has to keep its key too
        if kind == "publish":
            return Move(kind, version, promote=dice.choice(self.promotes), key=key)
        if kind in EXPECTING:
            return Move(kind, version if kind in ON_A_VERSION else 0, expected=self._expected(), key=key)
        if kind in ANSWERS:
            newest = self.judge.oracle.versions[self.judge.ordinals[version]].attempt if version >= 0 else 1
            stale = max(1, newest + dice.choice([-1, 1])) if _chance(dice, 0.15) else max(1, newest)
            return Move(kind, version, attempt=stale, key=key)
        return Move(kind, version if kind in ON_A_VERSION else 0, key=key)

    def _version(self, suited: Sequence[int]) -> int:
        """Choose a version: mostly one that suits, sometimes any that was deployed, seldom one that never was."""
        if suited and _chance(self.dice, 0.9):
            return self.dice.choice(suited)
        ever = list(self.judge.ordinals)
        return self.dice.choice(ever) if ever and _chance(self.dice, 0.9) else self.dice.choice([UNKNOWN, FORKED])

    def _expected(self) -> Expected:
        """Choose an expectation: mostly none, or else the primary, no primary, or any version."""
        if _chance(self.dice, 0.75):
            return ANY
        primary = self.judge.oracle.primary
        now = next((index for index, ordinal in self.judge.ordinals.items() if ordinal == primary), None)
        return self.dice.choice([now, now, now, None, self._version(())])

    def _repeat(self) -> Move:
        """Repeat an earlier command with a key: the same one, or with one argument changed."""
        dice = self.dice
        kind = dice.choice(list(dict.fromkeys(move.what for move in self.keyed)))  # deployments are most, and no better
        move = dice.choice([move for move in self.keyed if move.what == kind])
        if _chance(dice, 0.5):
            return attrs.evolve(move, bump=move.bump.swapcase())
        if move.what == "deploy":
            changes: list[dict[str, Any]] = [{"bump": "MAJOR"}, {"publish": True}, {"promote": False}]
            changes.append({"version": self.deployed})
        else:
            changes = [{"version": self._version(())}] if move.what in ON_A_VERSION else []
            changes += [{"promote": True}, {"promote": None}] if move.what == "publish" else []
            changes += [{"expected": self._expected()}] * 2 if move.what in EXPECTING else []
            changes += [{"attempt": move.attempt + 1}] if move.what in ANSWERS else []
            others = ON_A_VERSION if move.what in ON_A_VERSION else {"rollback", "delete_model", "clear_primary"}
            changes += [{"what": dice.choice(sorted(others - {move.what}))}] * 2
        return attrs.evolve(move, **dice.choice(changes))


def plan(seed: int, number: int = 0) -> Walk:
    """Return the walk with this number, the same each time; successive numbers take the policies in turn."""
    return planned(seed, number)[0]


def planned(seed: int, number: int = 0) -> tuple[Walk, list[Outcome]]:
    """Return a walk and what should come of its moves, without playing it."""
    policy = IN_TURN[number % len(IN_TURN)]
    dice = Walk(policy, (), seed, number).dice("plan")
    processes = dice.choice([1, 1, 1, 2])
    there = dice.choice([(0,), (0,), (0,), (0, 1), (0, 2), (0, 1, 2)])
    planners = [_Planner(dice, policy, place, processes) for place in there]
    now_us, moves, outcomes = START_US, list[Move](), list[Outcome]()
    for _ in range(dice.choice(LENGTHS) + dice.randrange(4) + 3 * len(there)):
        planner = dice.choice([planners[0], *planners])
        move, outcome = planner.next(now_us)
        now_us += move.passes_us
        moves.append(move)
        outcomes.append(outcome)
    return Walk(policy, tuple(moves), seed, number, dice.choice([None, 0, 1, 3, 10])), outcomes


# How walks are gone.


@attrs.frozen
class Report:
    """What a campaign did; the reports of its parts add up."""

    seed: int
    walks: int = 0
    histories: int = 0
    """Number of names that something was recorded under."""
    commands: int = 0
    events: int = 0
    seconds: float = 0.0
    """Seconds that one process took."""
    outcomes: collections.Counter[tuple[str, str]] = attrs.Factory(collections.Counter)
    """Count of each branch with what came of it: "recorded", "nothing" or the class of the error."""

    def __add__(self, other: Report) -> Report:
        return Report(
            self.seed,
            self.walks + other.walks,
            self.histories + other.histories,
            self.commands + other.commands,
            self.events + other.events,
            self.seconds + other.seconds,
            self.outcomes + other.outcomes,
        )

    def __str__(self) -> str:
        """Return the report in figures."""
        figures = f"{self.walks} walks, {self.histories} histories, {self.commands} commands, {self.events} events"
        rate = self.histories / self.seconds if self.seconds else 0
        return (
            f"seed {self.seed}: {figures}, {len(self.outcomes)} branches; {self.seconds:.1f} s, {rate:.0f} histories/s"
        )


def came_of(outcome: Outcome) -> tuple[str, str]:
    """Return the branch of the rule that decided, and what came of it."""
    return outcome.branch, outcome.refused or ("recorded" if outcome.facts else "nothing")


def play(walk: Walk, *, url: str = "memory:") -> Report:
    """Play a walk on a fresh store, and compare.

    Raises:
        DiscrepancyError: something differs, or the registry failed with an unexpected error; the message tells the
            story.
    """
    world = World(walk.policy, url=url, kept=walk.kept, clock_skew_max_s=walk.clock_skew_max_s)
    try:
        for move in walk.moves:
            world.play(move)
        world.finish(walk.dice("finish"))
    except Exception as error:  # whatever goes wrong is told with its story
        what = str(error) if isinstance(error, DiscrepancyError) else f"raised {type(error).__name__}: {error}"
        msg = "\n  ".join([f"under {walk.policy}:", *world.story(), f"What differs: {what}"])
        raise DiscrepancyError(msg) from error
    finally:
        world.close()
    told = [place for place in world.places if place.log]
    outcomes = collections.Counter(came_of(played.outcome) for played in world.played)
    events = sum(len(place.log) for place in told)
    return Report(walk.seed, 1, len(told), len(world.played), events, outcomes=outcomes)


def shrunk(walk: Walk, fails: Callable[[Walk], bool], replays_max: int = REPLAYS_MAX) -> Walk:
    """Return the shortest part of a failing walk that was found to fail still, with moves as plain as they can be.

    This is delta debugging: parts of the moves are dropped, first half of them and in the end single ones, as long as
    the rest still fails.
    """
    replays = 0

    def still(moves: Sequence[Move]) -> bool:
        nonlocal replays
        replays += 1
        return replays <= replays_max and fails(attrs.evolve(walk, moves=tuple(moves)))

    moves = list(walk.moves)
    size = max(1, len(moves) // 2)
    while True:
        before = len(moves)
        start = 0
        while start < len(moves):
            rest = moves[:start] + moves[start + size :]
            if still(rest):
                moves = rest
            else:
                start += size
        if size == 1 and len(moves) == before:
            break
        size = max(1, size // 2)
    plain = {
        name: attrs.fields_dict(Move)[name].default for name in ("looks", "process", "passes_us", "key", "expected")
    }
    for (name, usual), place in itertools.product(plain.items(), range(len(moves))):
        plainer = [*moves[:place], attrs.evolve(moves[place], **{name: usual}), *moves[place + 1 :]]
        if plainer != moves and still(plainer):
            moves = plainer
    return attrs.evolve(walk, moves=tuple(moves))


def run(
    walks: int,
    seed: int,
    *,
    first: int = 0,
    url: str = "memory:",
    shrink: bool = True,
    planning: Callable[[int, int], Walk] = plan,
) -> Report:
    """Play random walks, each on a fresh store.

    Args:
        walks: the number of walks.
        seed: the seed of all choices.
        first: the number of the first walk.
        url: the URL of the store; on a store that is kept, each walk has workspaces of its own.
        shrink: whether a walk that fails is shortened.
        planning: returns the walk with a seed and a number.

    Raises:
        DiscrepancyError: a walk failed; the message has its seed, its story as short as possible, and how to repeat it.
    """
    begun = time.perf_counter()
    report = Report(seed)
    for number in range(first, first + walks):
        walk = planning(seed, number)
        try:
            report += play(walk, url=url)
        except DiscrepancyError as error:
            raise _failed(walk, error, url=url, shrink=shrink) from error.__cause__
    return attrs.evolve(report, seconds=time.perf_counter() - begun)


def _failed(walk: Walk, error: DiscrepancyError, *, url: str, shrink: bool) -> DiscrepancyError:
    last = [error]

    def fails(shorter: Walk) -> bool:
        try:
            play(shorter, url=url)
        except DiscrepancyError as again:
            last[0] = again
            return True
        return False

    short = shrunk(walk, fails) if shrink else walk
    moves = "".join(f"\n      {move!r}," for move in short.moves)
    return DiscrepancyError(
        f"Walk {walk.number} of seed {walk.seed} fails; {len(short.moves)} of its {len(walk.moves)} moves are enough, "
        f"{last[0]}\n"
        f"To repeat it: versioning.testing.run(1, seed={walk.seed}, first={walk.number}), or what is left of it:\n"
        f"  play(Walk({short.policy!r}, seed={walk.seed}, number={walk.number}, kept={walk.kept}, "
        f"clock_skew_max_s={walk.clock_skew_max_s}, moves=({moves}\n  )))"
    )
