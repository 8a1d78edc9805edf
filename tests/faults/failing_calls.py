"""Is the state what the oracle says, whichever call to the store fails, and however?

Each scenario is played once to count its calls to the store, and then once for each of them and each way to fail:
before it does anything, after it has done all, with the next call failing too, by hanging at somebody else's lock, and
by Ctrl-C. An error of the store must mean that nothing was recorded, or say that it is not known; the same command
again works at once, from another process too; no lock stays taken; and the oracle agrees after every command.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

import attrs
import psycopg

from tests.faults.arena import Arena, Ledger, Report, check_log, plant, use_store
from versioning import ModelRegistry, Policy
from versioning.commands import COMMANDS
from versioning.errors import StoreError
from versioning.events import moment_of
from versioning.testing.walks import DiscrepancyError, Move, World

if TYPE_CHECKING:
    from collections.abc import Iterator

WAYS: Final = ("before", "after", "after and the next", "hangs", "interrupted")
TIMEOUT_S: Final = 0.05
"""How long the store waits for somebody else's lock."""
SLACK_S: Final = 2.0
"""How much longer an answer may take on a busy machine."""
PLAYED_ON_A_STORE: Final = 20
"""Questions across models read the whole log, so that it must not grow too long."""
CALLS: Final = frozenset(
    {"append", "tail", "ranges", "last", "log", "head", "find_key", "snapshot", "write_view", "swap_view", "drop_view"}
)
LOCKED: Final = CALLS - {"snapshot"}
"""What can hang at a lock."""
BUGS: Final = ("does not look for its own command", "keeps its turn")

SCENARIOS: Final = {
    "a life": (
        Policy(),
        (
            Move("deploy", 0, publish=True), Move("deploy", 1), Move("promote", 1, expected=0), Move("rollback"),
            Move("rollback"), Move("publish", 1), Move("deactivate", 0), Move("activate", 0),
            Move("delete", 1, expected=None), Move("delete", 0), Move("deploy", 2),
        ),
    ),
    "awaited, with keys": (
        Policy(activation="awaited"),
        (
            Move("deploy", 0, publish=True, key="a"), Move("complete_activation", 0),
            Move("deploy", 1, publish=True, key="b"), Move("fail_activation", 1), Move("activate", 1, key="c"),
            Move("deploy", 0, publish=True, key="a"),
            Move("complete_activation", 1, attempt=2), Move("activate", 1, key="a"), Move("delete_model", key="d"),
            Move("delete_model", key="d"),
        ),
    ),
    "across models": (
        Policy(losing_primary="leave_none"),
        (
            Move("deploy", 0, publish=True), Move("deploy", 0, publish=True, place=1), Move("rebuild"),
            Move("deactivate", 0), Move("delete_model", place=1),
        ),
    ),
}  # fmt: skip
"""Moves as in versioning.testing.walks; `rebuild` stands for the questions across models, and building their views."""


# A recorder whose calls fail.


class PlantedError(StoreError):
    """The failure that was planned."""

    code = "planted"


@attrs.define
class Fault:
    """Which call fails, and how; the first is number 0."""

    number: int
    way: str
    lock: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext
    calls: int = 0
    """How many there were so far."""
    struck: list[str] = attrs.Factory(list)
    """The calls that failed."""

    def call(self, name: str, call: Callable[..., Any], *args: Any, **how: Any) -> Any:  # noqa: ANN401 - whatever the store is asked
        """Make a call, or let it fail."""
        place, self.calls = self.calls - self.number, self.calls + 1
        if place == 0 or (place == 1 and self.way == "after and the next"):
            self.struck.append(name)
            return self._fail(name, call, *args, **how)
        return call(*args, **how)

    def end(self) -> None:
        """Let no further call fail."""
        self.number = -9

    def _fail(self, name: str, call: Callable[..., Any], *args: Any, **how: Any) -> Any:  # noqa: ANN401 - the same
        if self.way == "hangs":
            with self.lock() if name in LOCKED else contextlib.nullcontext():
                began = time.monotonic()
                try:
                    return call(*args, **how)
                finally:
                    took_s = time.monotonic() - began
                    assert took_s < TIMEOUT_S + SLACK_S, f"{name} hung for {took_s:.1f} s"
        if self.way != "before" and name != "snapshot":
            call(*args, **how)
        if self.way == "interrupted":
            raise KeyboardInterrupt
        msg = f"The planted failure of {name}."
        raise PlantedError(msg)


class FailingRecorder:
    """A recorder, of which a call fails."""

    def __init__(self, recorder: object, fault: Fault) -> None:
        self._store = recorder
        self._fault = fault

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the recorder has
        real = getattr(self._store, name)
        if name == "snapshot":
            return self._snapshot
        return functools.partial(self._fault.call, name, real) if name in CALLS else real

    @contextlib.contextmanager
    def _snapshot(self) -> Iterator[FailingRecorder]:
        self._fault.call("snapshot", lambda: None)
        with cast("Any", self._store).snapshot() as snapshot:
            yield FailingSnapshot(snapshot, self._fault)


class FailingSnapshot(FailingRecorder):
    """A snapshot, of which a call fails."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the snapshot has
        real = getattr(self._store, name)
        return functools.partial(self._fault.call, name, real) if callable(real) else real


# A caller who is unlucky once.


class Unlucky:
    """A registry on a failing store, whose caller looks and tries again."""

    def __init__(self, registry: ModelRegistry, clean: ModelRegistry, fault: Fault) -> None:
        self.registry = registry
        self.clean = clean
        self.fault = fault
        self.wrong: list[str] = []

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a registry has
        real = getattr(self.registry, name)
        return functools.partial(self.command, name, real) if name in COMMANDS else real

    def command(self, name: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the same
        """Give a command; where the store failed, see what came of it, and give it again if nothing did."""
        head, struck = self.clean.position(), len(self.fault.struck)
        try:
            return call(*args, **kwargs)
        except (StoreError, KeyboardInterrupt) as error:
            if len(self.fault.struck) == struck:
                raise
            recorded = list(self.clean.history(after=head))
            if not recorded:
                return self._again(name, call, *args, **kwargs)
            if isinstance(error, StoreError) and "is not known" not in error.hint:
                self.wrong.append(f"{name} was recorded, but said: {error}")
            if name == "delete_model":
                return self.clean.model(recorded[-1].model_id)
            return self.clean.version(str(recorded[0].version_id))

    def _again(self, name: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the same
        self.fault.end()
        began = time.monotonic()
        try:
            return call(*args, **kwargs)
        finally:
            took_s = time.monotonic() - began
            if took_s > SLACK_S:
                self.wrong.append(f"the next {name} took {took_s:.1f} s: a lock is stuck")

    def question(self, name: str, *args: object) -> None:
        """Ask both, the unlucky one again where the store failed."""
        asked = functools.partial(getattr(self.registry, name), *args)
        struck = len(self.fault.struck)
        try:
            answer = asked()
        except (StoreError, KeyboardInterrupt):
            if len(self.fault.struck) == struck:
                raise
            answer = self._again(name, asked)
        if name not in {"views", "rebuild"} and answer != getattr(self.clean, name)(*args):
            self.wrong.append(f"{name} gives {answer}")


# The campaign.


def run(rounds: int, seed: int, store: str, bug: str | None = None, stride: int = 1) -> Report:
    """Play all scenarios, so many times; of all the faults there are, each `stride`-th."""
    ledger = Ledger("failing calls", store, seed, bug)
    for _ in range(rounds):
        for name in SCENARIOS:
            faults: list[Fault] = [Fault(-1, "before")]
            while faults and not ledger.is_over:
                some, faults = faults[:PLAYED_ON_A_STORE], faults[PLAYED_ON_A_STORE:]
                for fault in _play_some(store, ledger, name, some, bug):
                    ledger.count("calls", fault.calls)
                    every = [Fault(number, way) for number in range(fault.calls) for way in WAYS]
                    faults += every[seed % stride :: stride]
    return ledger.report(rounds)


def _play_some(store: str, ledger: Ledger, name: str, faults: list[Fault], bug: str | None) -> list[Fault]:
    """Play a scenario with each of the faults, on one fresh store; give those that failed nothing, to count calls."""
    timeout = (
        {"timeout_s": TIMEOUT_S, "durability": "checkpoint"} if store == "sqlite" else {"lock_timeout_s": TIMEOUT_S}
    )
    with Arena(store, timeout, in_memory=True) as arena, contextlib.ExitStack() as held:
        lock = _locks(arena, held)
        for fault in faults:
            if ledger.is_over:
                break
            fault.lock = lock
            _play(arena, ledger, fault, name, bug)
            ledger.count("failures", len(fault.struck))
        ledger.find(*check_log(arena.open())[1])
    return [fault for fault in faults if fault.number == -1]


def _locks(arena: Arena, held: contextlib.ExitStack) -> Callable[[], contextlib.AbstractContextManager[None]]:
    """Give what holds the lock that everybody who writes, or on PostgreSQL reads, must wait for."""
    arena.open().close()
    connection: Any
    if arena.store == "sqlite":
        connection = held.enter_context(
            contextlib.closing(sqlite3.connect(arena.file, isolation_level=None, timeout=30))
        )
        begin = ["BEGIN IMMEDIATE"]
    else:
        connection = held.enter_context(contextlib.closing(arena.server.connect()))
        schema = schema_of(arena.url)
        connection.execute("SET lock_timeout='50ms'")
        begin = ["BEGIN", f"LOCK TABLE {schema}.stored_events,{schema}.kept_views,{schema}.kept_rows"]

    @contextlib.contextmanager
    def lock() -> Iterator[None]:
        # Inside a snapshot on PostgreSQL, nobody else gets this lock.
        with contextlib.suppress(psycopg.errors.LockNotAvailable):
            for statement in begin:
                connection.execute(statement)
        try:
            yield
        finally:
            connection.execute("ROLLBACK")

    return lock


def schema_of(url: str) -> str:
    """Give the schema that a URL names."""
    return url.partition("schema=")[2].partition("&")[0]


def _play(arena: Arena, ledger: Ledger, fault: Fault, name: str, bug: str | None) -> None:
    """Play a scenario with one fault."""
    policy, moves = SCENARIOS[name]
    world = World(policy, url=arena.url, kept=1)
    about = f"{name}, call {fault.number}, {fault.way}"
    workspace = world.places[0].workspace
    clean = world.registry(workspace)
    with (
        contextlib.closing(world),
        ModelRegistry(arena.url, workspace=workspace, policy=policy, clock=world.clock) as registry,
    ):
        failing: Any = FailingRecorder(registry._store, fault)
        use_store(registry, failing)
        registry._views._batch_events = 1
        if bug == "does not look for its own command":
            plant(registry._deciding, _was_recorded=lambda _: False)
        unlucky = Unlucky(registry, clean, fault)
        if bug == "keeps its turn":
            _keep_turns(registry)
        world._registries[workspace, 1] = cast("ModelRegistry", unlucky)
        try:
            for move in moves:
                if move.what == "rebuild":
                    _ask(unlucky, world)
                else:
                    world.play(attrs.evolve(move, process=1, passes_us=1_000))
                if unlucky.wrong:
                    break
            # Another process goes on, and the unlucky one knows.
            world.play(Move("deploy", 20, publish=True))
            world.play(Move("deploy", 21, publish=True, process=1))
        except DiscrepancyError as error:
            ledger.find(f"{about} ({', '.join(fault.struck)}): {error}")
        ledger.find(*(f"{about} ({', '.join(fault.struck)}): {each}" for each in unlucky.wrong))
        ledger.find(*(f"{about}: {each}" for each in _stuck(arena, registry)))


def _keep_turns(registry: ModelRegistry) -> None:
    """The planted bug: a command that fails does not give its turn back."""
    attempt = registry._deciding._attempt

    def tries(batch: Any, ids: Any, planned: Any, first: Any) -> Any:  # noqa: ANN401 - the registry's own
        try:
            return attempt(batch, ids, planned, first)
        except PlantedError:
            for one in planned.values():
                one.cached.turn = threading.Lock()
                one.cached.turn.acquire()
            raise

    plant(registry._deciding, _attempt=tries)


def _ask(unlucky: Unlucky, world: World) -> None:
    start, end = moment_of(0), moment_of(world.clock.now_us + 1)
    for name, *args in (["models"], ["usage", start, end], ["rebuild"], ["views"], ["position"]):
        unlucky.question(str(name), *args)


def _stuck(arena: Arena, registry: ModelRegistry) -> list[str]:
    """Say which locks are still taken."""
    held = [
        f"the lock {lock!r} of a model is stuck"
        for live in registry._streams._cached.values()
        for lock in (live.turn, live.lock)
        if lock.locked()
    ]
    if registry._streams._lock.locked():
        held.append("the cache's lock is stuck")
    if arena.store == "sqlite":
        with contextlib.closing(sqlite3.connect(arena.file, isolation_level=None, timeout=0)) as other:
            try:
                other.execute("BEGIN IMMEDIATE").execute("ROLLBACK")
            except sqlite3.OperationalError as error:
                held.append(f"the file is still locked: {error}")
    else:
        rows = arena.server.admin(
            "SELECT state FROM pg_stat_activity WHERE usename='ada' AND state LIKE 'idle in transaction%'"
        )
        held += [f"a connection is {state}" for (state,) in rows]
    return held
