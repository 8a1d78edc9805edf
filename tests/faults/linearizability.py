"""Does some serial order explain what eight processes saw of one model, some of them killed?

Each process gives commands and asks questions about the same name, and says when each call began and returned, and what
it got. A killed process leaves a call whose outcome is not known. The checker of `tests.linearizability`
looks for a serial order of all calls that the oracle agrees with, answers and errors included.
"""

from __future__ import annotations

import collections
import copy
import math
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.faults.arena import Arena, Ledger, Report, Talk, check_log, dice_of, plant
from tests.linearizability import Call, linearizable
from versioning import ModelRegistry, Policy
from versioning.errors import ConcurrencyError, ModelNotFoundError, StoreError, VersioningError
from versioning.ids import activation_id_of, parse_version_id
from versioning.store.contract import AppendConflict
from versioning.testing.oracle import ANY, Expected, Oracle
from versioning.testing.walks import POLICIES

if TYPE_CHECKING:
    import random
    from collections.abc import Hashable, Sequence

    from tests.faults.arena import Child
    from versioning import Version
    from versioning.reading.streams import CachedStream
    from versioning.store.contract import Row
    from versioning.store.format import Fact

PROCESSES: Final = 8
CALLS: Final = 7
"""Of each process: the checker is for some sixty calls."""
KILLED: Final = 2
"""How many of the processes are killed in each round."""
NAME: Final = "model"
COMMANDS: Final = (
    "deploy", "deploy", "deploy", "publish", "promote", "promote", "rollback", "deactivate", "activate", "answer",
    "answer", "delete", "delete_model", "clear_primary", "look", "look", "look",
)  # fmt: skip
ON_A_NAME: Final = frozenset({"deploy", "rollback", "delete_model", "clear_primary"})
BUGS: Final = ("appends without a sequence", "answers from its cache")


class Asked(NamedTuple):
    """A call, with versions named by their ordinals; said without what is usual."""

    what: str
    version: int = 0
    bump: str = "MINOR"
    publish: bool = False
    promote: bool | None = None
    attempt: int = 1
    expected: Expected = ANY
    key: str | None = None

    def __str__(self) -> str:
        usual = Asked(self.what)._asdict()
        said = [f"{name}={value}" for name, value in self._asdict().items() if value != usual[name]]
        return " ".join([self.what, *said])


# What the calls would do one after the other.


class State:
    """A state of the oracle, and the keys that were used (R21)."""

    def __init__(self, policy: Policy) -> None:
        self.oracle = Oracle(
            losing_primary=policy.losing_primary,
            publishing_claims=policy.publishing_claims,
            activation=policy.activation,
        )
        self.keys: dict[str, tuple[Asked, int | None]] = {}

    def copy(self) -> State:
        """Give one that can be changed by itself."""
        other = copy.copy(self)
        oracle = other.oracle = copy.copy(self.oracle)
        oracle.versions = {ordinal: copy.copy(version) for ordinal, version in oracle.versions.items()}
        oracle._primaries = list(oracle._primaries)
        oracle._log = []  # when usage began is not compared here, and would tell equal states apart
        other.keys = dict(self.keys)
        return other


class SerialOracle:
    """The oracle as the checker takes it."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def initial(self) -> State:
        return State(self._policy)

    def step(self, state: State, asked: Asked) -> tuple[State, object]:
        if asked.what == "look":
            return state, _looked(state.oracle)
        if asked.key in state.keys:
            same, version = state.keys[asked.key]
            return state, _shown(state.oracle, version) if same == asked else "IdempotencyConflictError"
        after = state.copy()
        outcome = _done(after.oracle, asked)
        if outcome.refused is not None:
            return state, outcome.refused
        if not outcome.facts:
            return state, _shown(state.oracle, outcome.version)
        if asked.key is not None:
            after.keys[asked.key] = (asked, outcome.version)
        return after, _shown(after.oracle, outcome.version)

    def key(self, state: State) -> Hashable:
        """Claims and publications count by their order only, so that what differs in nothing else is one state."""
        oracle = state.oracle
        versions = oracle.versions.values()
        claims, publications = (
            {tick: rank for rank, tick in enumerate(sorted(ticks))}
            for ticks in ([each.claim for each in versions], [each.publication for each in versions])
        )
        return (
            tuple(
                (
                    each.number, each.stage, each.status, each.generation, each.attempt, each.rolled_back_from,
                    each.claim and claims[each.claim], each.publication and publications[each.publication],
                )
                for each in versions
            ),
            oracle.exists, oracle.primary, oracle._generation, oracle._highest, oracle._role_was_cleared,
            oracle._was_cleared_on_request,
            oracle._cursor, tuple(oracle._primaries),
            frozenset(state.keys.items()),
        )  # fmt: skip


def _done(oracle: Oracle, asked: Asked) -> Any:  # noqa: ANN401 - an Outcome
    keyed = {"keyed": asked.key is not None}
    expecting = {"expected": asked.expected}
    named: dict[str, dict[str, Any]] = {
        "deploy": {"bump": asked.bump, "publish": asked.publish, "promote": asked.promote},
        "publish": {"promote": asked.promote, **keyed},
        "promote": expecting | keyed,
        "rollback": expecting,
        "clear_primary": expecting | keyed,
        "deactivate": expecting | keyed,
        "activate": keyed,
        "delete": expecting,
    }
    target = () if asked.what in ON_A_NAME else (asked.version,)
    answered = (asked.attempt,) if asked.what in {"complete_activation", "fail_activation"} else ()
    return getattr(oracle, asked.what)(*target, *answered, at_us=0, **named.get(asked.what, {}))


def _shown(oracle: Oracle, ordinal: int | None) -> object:
    """What a caller gets of a version."""
    if ordinal is None:
        return "deleted"
    version = oracle.versions[ordinal]
    attempt = version.attempt if version.status == "activating" else 0
    return ordinal, version.number, version.stage, version.status, ordinal == oracle.primary, attempt


def _looked(oracle: Oracle) -> object:
    """What a caller gets of the model."""
    if not oracle.exists:
        return "ModelNotFoundError"
    return tuple(_shown(oracle, ordinal) for ordinal, each in oracle.versions.items() if each.status != "deleted")


# A process that calls.


def shown(version: Version | None) -> tuple[int, str, str, str, bool, int] | str:
    """Tell what the registry gives as `_shown` does."""
    if version is None:
        return "deleted"
    address = parse_version_id(version.version_id)
    assert address is not None, "a registry gives ids of versions"
    attempt = 0 if version.activation_id is None else int(version.activation_id.rpartition("_")[2])
    return address.ordinal, version.number, version.stage, version.status, version.is_primary, attempt


def looked(registry: ModelRegistry) -> object:
    """Tell what the registry gives as `_looked` does."""
    try:
        return tuple(shown(version) for version in registry.model(NAME).versions)
    except ModelNotFoundError as error:
        return type(error).__name__


class Caller:
    """Calls the registry, and tells it as the oracle would."""

    def __init__(self, talk: Talk, registry: ModelRegistry, dice: random.Random) -> None:
        self._talk = talk
        self._registry = registry
        self._dice = dice
        self._ids: dict[int, str] = {}
        self._attempts: dict[int, int] = {}

    def call(self, asked: Asked) -> None:
        self._talk.say((time.monotonic(), asked))
        try:
            got = looked(self._registry) if asked.what == "look" else self._shown(self._command(asked))
        except StoreError as error:
            self._talk.say((None, str(error)))
            return
        except Exception as error:  # noqa: BLE001 - whatever a caller gets; the oracle knows the errors that may be
            got = type(error).__name__
        self._talk.say((time.monotonic(), got))

    def _shown(self, version: Version | None) -> object:
        told = shown(version)
        if version is not None and not isinstance(told, str):
            self._ids[told[0]], self._attempts[told[0]] = version.version_id, told[-1]
        return told

    def _command(self, asked: Asked) -> Version | None:
        registry = self._registry
        why: dict[str, Any] = {} if asked.key is None else {"idempotency_key": asked.key}
        if asked.what in {"delete_model", "clear_primary"}:
            getattr(registry, asked.what)(NAME, **why)
            return None
        expected: dict[str, Any] = {}
        if asked.expected is not ANY:
            expected = {"expected_primary": self._ids[asked.expected] if isinstance(asked.expected, int) else None}
        if asked.what == "deploy":
            return registry.deploy(
                "s3://model",
                model_name=NAME,
                version_bump=asked.bump,
                publish=asked.publish,
                promote=asked.promote,
                **why,
            )
        if asked.what == "rollback":
            return registry.rollback(NAME, **expected, **why)
        version_id = self._ids[asked.version]
        if asked.what == "publish":
            return registry.publish(version_id, promote=asked.promote, **why)
        if asked.what in {"complete_activation", "fail_activation"}:
            error = {"error": "it did not start"} if asked.what == "fail_activation" else {}
            activation_id = activation_id_of(version_id, asked.attempt)
            answered: Version = getattr(registry, asked.what)(version_id, activation_id, **error, **why)
            return answered
        changed: Version = getattr(registry, asked.what)(version_id, **expected, **why)
        return changed

    def next(self, policy: Policy) -> Asked:
        """Choose the next call, about versions that this process knows."""
        dice = self._dice
        what = dice.choice(COMMANDS)
        if what in {"look", "delete_model", "clear_primary", "rollback"}:
            return Asked(what, key=self._key(what))
        if what == "deploy" or not self._ids:
            publish = dice.random() < 0.7
            promote = dice.choice([None, None, True, False]) if publish else None
            asked = Asked("deploy", bump=dice.choice(("MINOR", "MAJOR", "PATCH")), publish=publish, promote=promote)
            # Two processes may send the same: that is a retry from elsewhere.
            return asked._replace(key=f"{asked} {dice.randrange(2)}") if dice.random() < 0.4 else asked
        version = dice.choice(list(self._ids))
        if what == "answer":
            what = (
                dice.choice(("complete_activation", "fail_activation")) if policy.activation == "awaited" else "promote"
            )
            attempt = self._attempts.get(version, 0) or 1
            return Asked(what, version, attempt=attempt if what != "promote" else 1)
        promote = dice.choice([None, True, False]) if what == "publish" else None
        return Asked(what, version, promote=promote, expected=self._expected(what), key=self._key(what))

    def _key(self, what: str) -> str | None:
        """Choose a key, at times one that another process uses meanwhile, for the same command or for another."""
        return f"{what} {self._dice.randrange(8)}" if what != "look" and self._dice.random() < 0.3 else None

    def _expected(self, what: str) -> Expected:
        if what not in {"promote", "deactivate", "delete"} or self._dice.random() < 0.7:
            return ANY
        return self._dice.choice([None, *self._ids])


class Plan(NamedTuple):
    """Of one round."""

    seed: int
    workspace: str
    policy: Policy
    bug: str | None


def call(talk: Talk, url: str, plan: Plan, number: int) -> None:
    """Call when told to; say each call when it begins and when it returns."""
    with ModelRegistry(url, workspace=plan.workspace, policy=plan.policy) as registry:
        _plant(registry, plan.bug)
        caller = Caller(talk, registry, dice_of(plan.seed, plan.workspace, number))
        talk.say("ready")
        talk.hear()
        for _ in range(CALLS):
            caller.call(caller.next(plan.policy))


def _plant(registry: ModelRegistry, bug: str | None) -> None:
    if bug == "answers from its cache":
        catch_up = registry._streams.catch_up

        def lazy(cached: CachedStream, after: tuple[int, bytes] | None = None) -> list[Fact]:
            return catch_up(cached, after) if cached.aggregate.sequence == 0 or after else []

        plant(registry._streams, catch_up=lazy)
    if bug == "appends without a sequence":
        append = registry._store.append

        def blind(rows: Sequence[Row]) -> range:
            try:
                return append(rows)
            except AppendConflict:
                last = registry._store.tail(rows[0].stream, 0)[-1][1]
                return append(
                    [row._replace(sequence=last + 1 + place, key=None, follows=None) for place, row in enumerate(rows)]
                )

        plant(registry._store, append=blind)


# The campaign.


def run(rounds: int, seed: int, store: str, bug: str | None = None) -> Report:
    """Look at so many histories."""
    ledger, dice = Ledger("linearizability", store, seed, bug), dice_of(seed)
    outcomes: collections.Counter[str] = collections.Counter()
    options = {"durability": "checkpoint"} if store == "sqlite" else {}
    with Arena(store, options) as arena:
        arena.open().close()
        for count in range(rounds):
            policy = dice.choice(POLICIES)
            workspace = f"round {count}"
            began = time.monotonic()
            history = _history(arena, ledger, dice, Plan(seed, workspace, policy, bug))
            took_s = round(time.monotonic() - began, 2)
            ledger.figures["s a round at most"] = max(took_s, ledger.figures.get("s a round at most", 0))
            began = time.monotonic()
            verdict = linearizable(history, SerialOracle(policy))
            slowest = max(round(time.monotonic() - began, 2), ledger.figures.get("s to check at most", 0))
            ledger.figures["s to check at most"] = slowest
            outcomes.update(str(one.got) if isinstance(one.got, str) else one.asked.what for one in history)
            if not verdict.ok:
                ledger.find(f"round {count}, {policy}: no serial order explains\n{_told(history, verdict.stuck)}")
            if bug is None:
                with ModelRegistry(arena.url, workspace=workspace) as registry:
                    ledger.find(*check_log(registry)[1])
            if ledger.is_over:
                break
    ledger.figures["outcomes"] = dict(sorted(outcomes.items()))
    return ledger.report(rounds)


def _told(history: list[Call], stuck: Sequence[Call]) -> str:
    """Tell a history in the order in which its calls began, in milliseconds; those that none explains are marked."""
    history = sorted(history, key=lambda one: one.began)
    zero = history[0].began
    return "\n".join(
        f"    {'?' if one in stuck else ' '} {(one.began - zero) * 1_000:8.3f} to "
        f"{math.inf if one.returned is None else (one.returned - zero) * 1_000:8.3f}: {one.asked} -> {one.got}"
        for one in history
    )


def _history(arena: Arena, ledger: Ledger, dice: random.Random, plan: Plan) -> list[Call]:
    """Let the processes call; give all calls, and a last look of this process."""
    children = [arena.start(call, plan, number) for number in range(PROCESSES)]
    for child in children:
        child.hear()
    for child in children:
        child.tell("go")
    killed = dict.fromkeys(dice.sample(children, KILLED), 0)
    for child in killed:
        for _ in range(dice.randrange(CALLS)):
            if (said := child.hear()) is None:
                break
            child.said.append(said)
        child.kill()
    history: list[Call] = []
    for child in children:
        child.said += child.rest()
        history += _calls(child)
    arena.end_children()
    ledger.count("calls", len(history))
    ledger.count("calls with an unknown outcome", sum(one.returned is None for one in history))
    with ModelRegistry(arena.url, workspace=plan.workspace, policy=plan.policy) as registry:
        began = time.monotonic()
        try:
            got: object = looked(registry)
        except VersioningError as error:  # of a log that no serial order explains either
            got = type(error).__name__
        history.append(Call(Asked("look"), began, time.monotonic(), got))
    return history


def _calls(child: Child) -> list[Call]:
    """Make calls out of what a process said."""
    calls = []
    for place in range(0, len(child.said), 2):
        began, asked = child.said[place]
        returned, got = child.said[place + 1] if place + 1 < len(child.said) else (None, None)
        if got != ConcurrencyError.__name__:  # then nothing was recorded, as the log shows
            calls.append(Call(asked, began, returned, got))
    return calls
