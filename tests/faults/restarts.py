"""Does every command end in time and decided, when the server is restarted, or connections end, while it runs?

Four processes give commands all the time, half of them with a key: those are sent again until they are answered, the
others once. Meanwhile the server is restarted, crashes, is away for a while, ends the connections, or falls silent. No
call may take longer than its deadline; each key has exactly one effect, each call without one has one where it was
answered, and one at most where not. A follower goes on where it was.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from tests.faults.arena import Arena, Ledger, Report, Talk, check_log, dice_of, plant, rows_of
from tests.faults.failing_calls import schema_of
from versioning import ModelRegistry
from versioning.errors import StoreError, TryAgainError
from versioning.store import postgres_connections
from versioning.store.format import decode

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.faults.arena import Child
    from versioning import Recorded

PROCESSES: Final = 4
TIMEOUTS: Final = {"connect_timeout_s": 2, "lock_timeout_s": 0.5, "statement_timeout_s": 0.5}
DEADLINE_S: Final = 7.0
"""A silent server costs a statement's 0.5 s and its grace of 2 s, then a connection; the rest is for a busy machine."""
PAUSE_S: Final = 0.002
"""Between commands, so that the log does not grow too long."""
SILENT_S: Final = 9.0
"""Longer than any call may take."""
AWAY_S: Final = 3.0
"""Longer than a connection is tried."""
SETTLED_S: Final = 30.0
"""How long it may take until every process has its next answer."""
BUGS: Final = ("takes an error for an answer", "waits without a deadline")


# A process that gives commands.


def work(talk: Talk, url: str, seed: int, number: int, bug: str | None) -> None:
    """Give commands until told to end; say of each what came of it."""
    dice = dice_of(seed, number)
    if bug == "waits without a deadline":
        plant(postgres_connections, GRACE_S=60.0)
    with ModelRegistry(url) as registry:
        talk.say("ready")
        for count in range(1_000_000):
            if talk.has_mail():
                talk.say("over")
                return
            mark = f"{number}.{count}"
            why: dict[str, Any] = {"correlation_id": mark}
            if dice.random() < 0.5:
                why["idempotency_key"] = mark
            name = dice.choice(("shared", f"own {number}"))
            tries, slowest_s, version_id = 0, 0.0, None
            while version_id is None and (tries == 0 or "idempotency_key" in why):
                tries += 1
                began = time.monotonic()
                with contextlib.suppress(StoreError, TryAgainError):
                    version_id = registry.deploy("s3://model", model_name=name, publish=True, **why).version_id
                slowest_s = max(slowest_s, time.monotonic() - began)
                if version_id is None and bug == "takes an error for an answer":
                    version_id = "the version"
                elif version_id is None:
                    time.sleep(0.05)
            talk.say((mark, "idempotency_key" in why, version_id, tries, slowest_s))
            time.sleep(PAUSE_S)


# A follower.


class Following:
    """Follows in a thread, and goes on after errors."""

    def __init__(self, registry: ModelRegistry) -> None:
        self.positions: list[int] = []
        self.errors = 0
        self._follower = registry.follow()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        while True:
            try:
                self.positions.append(next(self._follower).position)
            except StopIteration:
                return
            except StoreError:
                self.errors += 1
                time.sleep(0.05)

    def end(self, position: int) -> None:
        """Wait until it has got this far, and end it."""
        deadline = time.monotonic() + SETTLED_S
        while (not self.positions or self.positions[-1] < position) and time.monotonic() < deadline:
            time.sleep(0.01)
        self._follower.close()
        self._thread.join(SETTLED_S)


# The campaign.


def run(rounds: int, seed: int, store: str = "postgresql", bug: str | None = None) -> Report:
    """Make trouble so often: all kinds in turn, the first one chosen by the seed."""
    ledger, dice = Ledger("restarts", store, seed, bug), dice_of(seed)
    with Arena(store, TIMEOUTS) as arena:
        following = Following(arena.open())
        children = [arena.start(work, seed, number, bug) for number in range(PROCESSES)]
        for child in children:
            child.hear()
        troubles = list(TROUBLES)
        for count in range(rounds):
            _hear_some(children, dice.randint(1, 5))
            name = troubles[(count + seed) % len(troubles)]
            TROUBLES[name](arena, dice)
            ledger.count(f"times {name}")
            began = time.monotonic()
            _hear_some(children, 2)  # one may have been on its way, and the next is after the trouble
            slowest = max(round(time.monotonic() - began, 1), ledger.figures.get("s until all had answers at most", 0))
            ledger.figures["s until all had answers at most"] = slowest
        for child in children:
            child.tell("end")
        said = [each for child in children for each in child.said + list(child.rest()) if each != "over"]
        arena.end_children()
        _judge(arena, ledger, said, following)
    return ledger.report(rounds)


def _hear_some(children: list[Child], count: int) -> None:
    """Hear so many answers of each."""
    for child in children:
        while child.line.poll():
            child.said.append(child.hear())
        for _ in range(count):
            child.said.append(child.hear(SETTLED_S + DEADLINE_S))


def _restart(arena: Arena, _: random.Random) -> None:
    arena.server.restart()


def _crash(arena: Arena, _: random.Random) -> None:
    arena.server.restart(immediate=True)


def _be_away(arena: Arena, _: random.Random) -> None:
    arena.server.stop()
    time.sleep(AWAY_S)
    arena.server.start()


def _end_connections(arena: Arena, dice: random.Random) -> None:
    for _ in range(5):
        pids = arena.server.connections()
        arena.server.terminate_backends(dice.sample(pids, dice.randint(1, len(pids))) if pids else [])


def _fall_silent(arena: Arena, dice: random.Random) -> None:
    pids = arena.server.connections()
    stopped = dice.sample(pids, dice.randint(1, len(pids)))
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(SILENT_S)
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


TROUBLES: Final[dict[str, Callable[[Arena, random.Random], None]]] = {
    "restarted": _restart,
    "connections terminated": _end_connections,
    "crashed": _crash,
    "silent": _fall_silent,
    "away": _be_away,
}


def _judge(arena: Arena, ledger: Ledger, said: list[Any], following: Following) -> None:
    effects: dict[str, list[Recorded]] = {}
    with ModelRegistry(arena.url) as registry:
        ledger.find(*check_log(registry)[1])
        for recorded in (decode(*row) for row in rows_of(registry)):
            if recorded.index == 0 and recorded.correlation_id is not None:
                effects.setdefault(recorded.correlation_id, []).append(recorded)
    for mark, has_key, version_id, tries, slowest_s in said:
        count = len(effects.get(mark, []))
        ledger.count("commands")
        ledger.count("tries", tries)
        if slowest_s > DEADLINE_S:
            ledger.find(f"a call of {mark} took {slowest_s:.1f} s")
        allowed = {1} if has_key or version_id is not None else {0, 1}
        if count not in allowed:
            ledger.find(f"command {mark} has {count} effects (key: {has_key}, answered: {version_id is not None})")
        elif version_id is not None and effects[mark][0].version_id != version_id:
            ledger.find(f"command {mark} was answered with {version_id}, and made {effects[mark][0].version_id}")
        ledger.count("unanswered", version_id is None)
    ledger.figures["s the slowest call"] = round(max(each[-1] for each in said), 2)
    rows = arena.server.admin(f"SELECT position FROM {schema_of(arena.url)}.stored_events ORDER BY 1")
    there = [position for (position,) in rows]
    following.end(there[-1])
    ledger.figures["errors of the follower"] = following.errors
    if following.positions != there:
        missed, got = set(there) - set(following.positions), following.positions
        ledger.find(
            f"the follower missed {len(missed)} events, and got {len(got) - len(set(got))} twice, of {len(there)}"
        )
