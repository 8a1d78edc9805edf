"""Do timestamps go back, or is usage negative, when clocks go back and processes disagree by up to ten years?

Walks of `versioning.testing.walks`, in which each of two processes has a clock that is wrong by 1 µs to 10 years, and
goes back or ahead as much at times: after every command the oracle is compared, R23 among the laws, and in the end
usage, its parts, and a bill that is drawn again. Every other walk lifts the limit on clocks, so that more is recorded.
Then two real processes without that limit, whose system clock is wrong and is set while they record; on PostgreSQL what
they record carries the server's time.
"""

from __future__ import annotations

import itertools
import math
import time
from typing import TYPE_CHECKING, Any, Final

import attrs

from tests.faults.arena import Arena, Ledger, Report, Talk, check_log, dice_of, plant
from versioning import ModelRegistry
from versioning.commanding import deciding
from versioning.events import moment_of
from versioning.limits import CLOCK_SKEW_MAX_S
from versioning.rules import decide
from versioning.testing import walks
from versioning.testing.walks import DiscrepancyError, Walk

if TYPE_CHECKING:
    import random

    from versioning.aggregate import ModelAggregate

YEARS_10_US: Final = 10 * 365 * 24 * 3_600 * 1_000_000
SET_MAX: Final = 4
"""How often a clock is set in a walk at most: the calendar ends somewhere."""
WALKS_ON_A_STORE: Final = 10
"""A walk looks at the whole log at times, which must not grow too long."""
COMMANDS: Final = 12
"""Of each real process."""
PROCESSES_EVERY: Final = 50
"""How many walks there are to a round of real processes."""
SERVER_S_MAX: Final = 2.0
"""How far from the server's time something may be recorded: a machine may be busy."""
BUGS: Final = ("believes its clock",)


def wrong_by(dice: random.Random) -> int:
    """Give 1 µs to 10 years, each magnitude as often, ahead or behind."""
    return dice.choice((-1, 1)) * round(math.exp(dice.uniform(0, math.log(YEARS_10_US))))


def skewed(seed: int, number: int) -> Walk:
    """Plan a walk of two processes whose clocks are wrong, and are set now and then."""
    walk = walks.plan(seed, number)
    dice = walk.dice("clocks")
    wrong_us = [0 if dice.random() < 0.3 else wrong_by(dice) for _ in range(2)]
    sets = set(dice.sample(range(len(walk.moves)), min(len(walk.moves), dice.randint(0, SET_MAX))))
    true_us = shown_us = 0
    moves = []
    for place, move in enumerate(walk.moves):
        process = dice.randrange(2)
        if place in sets:
            wrong_us[process] = wrong_by(dice)
        true_us += abs(move.passes_us)
        now_us = true_us + wrong_us[process]
        moves.append(attrs.evolve(move, process=process, passes_us=now_us - shown_us))
        shown_us = now_us
    return attrs.evolve(walk, moves=tuple(moves), clock_skew_max_s=dice.choice((None, CLOCK_SKEW_MAX_S)))


# A process whose clock is wrong.


def record(talk: Talk, url: str, wrong_us: int) -> None:
    """Record when told to; a number sets the clock, by so many microseconds from the true time."""
    wrong, true_s, true_ns = [wrong_us], time.time, time.time_ns
    time.time = lambda: true_s() + wrong[0] / 1_000_000
    time.time_ns = lambda: true_ns() + wrong[0] * 1_000
    with ModelRegistry(url, clock_skew_max_s=None) as registry:
        talk.say("ready")
        while (said := talk.hear()) != "end":
            if isinstance(said, int):
                wrong[0] = said
                continue
            made = registry.deploy("s3://model", model_name="model", publish=True)
            if said == "stop":
                registry.deactivate(made.version_id)
            now_us = time.time_ns() // 1_000
            usage = registry.usage(moment_of(min(0, now_us)), moment_of(max(1, now_us)))
            talk.say([line.microseconds for line in usage.lines if line.microseconds <= 0])


# The campaign.


def run(rounds: int, seed: int, store: str, bug: str | None = None) -> Report:
    """Go so many walks, and let real processes record beside them."""
    ledger = Ledger("clocks", store, seed, bug)
    options = {"durability": "checkpoint"} if store == "sqlite" else {}
    try:
        if bug is not None:
            plant(deciding, decide=_believes_its_clock)
        for first in range(0, rounds, WALKS_ON_A_STORE):
            with Arena(store, options, in_memory=True) as arena:
                count = min(WALKS_ON_A_STORE, rounds - first)
                went = walks.run(count, seed, first=first, url=arena.url, shrink=False, planning=skewed)
            for name in ("walks", "histories", "commands", "events"):
                ledger.count(name, getattr(went, name))
    except DiscrepancyError as error:
        ledger.find(str(error))
    finally:
        plant(deciding, decide=decide)
    for number in range(max(1, rounds // PROCESSES_EVERY) if bug is None else 0):
        with Arena(store, options, in_memory=True) as arena:
            ledger.find(*_processes(arena, dice_of(seed, "processes", number)))
        ledger.count("rounds of real processes")
    return ledger.report(rounds)


def _believes_its_clock(state: ModelAggregate, command: Any, policy: Any, now_us: int) -> Any:  # noqa: ANN401 - as decide
    """The planted bug: the last timestamp is not looked at."""
    last_us, state.last_at_us = state.last_at_us, 0
    try:
        return decide(state, command, policy, now_us)
    finally:
        state.last_at_us = last_us


def _processes(arena: Arena, dice: random.Random) -> list[str]:
    """Let two real processes record, one after the other or at the same time; give what is wrong."""
    children = [arena.start(record, wrong_by(dice)) for _ in range(2)]
    for child in children:
        child.hear()
    began_us = time.time_ns() // 1_000
    wrong = []
    for count in range(COMMANDS):
        chosen = children if dice.random() < 0.3 else [dice.choice(children)]
        for child in chosen:
            if dice.random() < 0.3:
                child.tell(wrong_by(dice))
            child.tell(dice.choice(("start", "stop")))
        heard = [child.hear() for child in chosen]
        wrong += [f"command {count}: usage has lines of {each} µs" for each in heard if each]
    for child in children:
        child.tell("end")
    arena.end_children()
    return wrong + _judged(arena, dice, began_us)


def _judged(arena: Arena, dice: random.Random, began_us: int) -> list[str]:
    """Say what is wrong with what the processes recorded."""
    with ModelRegistry(arena.url) as registry:
        log = list(registry.history())
        wrong = check_log(registry)[1] + _parts(registry, dice, log[0].event.at_us, log[-1].event.at_us)
    wrong += [
        f"R23: {after.timestamp} comes behind {before.timestamp}"
        for before, after in itertools.pairwise(log)
        if after.timestamp < before.timestamp
    ]
    late_us = max(abs(recorded.event.at_us - began_us) for recorded in log)
    took_us = time.time_ns() // 1_000 - began_us
    if arena.store == "postgresql" and late_us > SERVER_S_MAX * 1_000_000 + took_us:
        wrong.append(f"something was recorded {late_us / 1_000_000} s away from the server's time")
    return wrong


def _parts(registry: ModelRegistry, dice: random.Random, start_us: int, end_us: int) -> list[str]:
    """Invariant 8, over the whole history and three parts of it."""
    cuts = sorted([start_us - 1, *(dice.randint(start_us, end_us) for _ in range(2)), end_us + 1])
    asked = [(cuts[0], cuts[-1]), *itertools.pairwise(cuts)]
    now = registry.at(registry.position())  # the log may end in the future, and what is open ends at the present
    whole, *parts = (now.usage(moment_of(start), moment_of(end)).total_microseconds for start, end in asked)
    return [] if whole == sum(parts) and whole >= 0 else [f"usage is {whole} µs, and its parts {parts}"]
