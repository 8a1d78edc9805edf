"""Does a kept view count every event exactly once, when the process that catches it up or builds it anew is killed?

While this process records, another one folds what is new into the kept views, a few events a transaction, and now and
then builds them anew; it is killed at random and started again. After each kill every kept row must be what the fold of
the log up to the view's position gives, and in the end the answers too.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from tests.faults.arena import Arena, Ledger, Report, Talk, dice_of, plant, rows_of
from tests.faults.kills import commands
from versioning import ModelRegistry
from versioning.errors import ConcurrencyError, StoreError
from versioning.events import moment_of
from versioning.projections import UsageLedger
from versioning.reading import kept, views
from versioning.store.contract import EVERY, KeptRow
from versioning.store.format import decode
from versioning.testing.walks import known

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from versioning import Recorded
    from versioning.reading.views import View

BATCH_EVENTS: Final = 7
"""Of one transaction: so few that a kill often falls between two."""
ALIVE_S_MAX: Final = 0.1
BUGS: Final = ("rows and position in two transactions",)


def keep(talk: Talk, url: str, seed: int, number: int, bug: str | None) -> None:
    """Catch the views up, or build them anew, until killed."""
    plant(kept, REBUILD_EVENTS=BATCH_EVENTS)
    dice = dice_of(seed, number)
    with ModelRegistry(url) as registry:
        if bug is not None:
            _plant(registry)
        talk.say("ready")
        while True:
            try:
                registry.rebuild() if dice.random() < 0.1 else registry.views()
            except (StoreError, ConcurrencyError):
                talk.say("busy")


def _plant(registry: ModelRegistry) -> None:
    write_view = registry._store.write_view

    def twice(
        name: str, expected: int, new: int, latest_us: int, rows: Sequence[KeptRow], *, link: bytes = b""
    ) -> bool:
        with registry._store.snapshot() as snapshot:
            before = snapshot.view_position(name)
        if not write_view(name, expected, expected, latest_us, rows, link=b"" if before is None else before.link):
            return False
        time.sleep(0.002)
        return write_view(name, expected, new, latest_us, [], link=link)

    plant(registry._store, write_view=twice)


# The campaign.


def run(rounds: int, seed: int, store: str, bug: str | None = None) -> Report:
    """Kill so often."""
    ledger, dice = Ledger("view kills", store, seed, bug), dice_of(seed)
    options = {"durability": "checkpoint"} if store == "sqlite" else {}
    log: list[Recorded] = []
    with Arena(store, options) as arena:
        registry = arena.open()
        story = commands(registry, dice, "writer")
        command: Any = next(story)
        for count in range(rounds):
            child = arena.start(keep, seed, count, bug)
            child.hear()
            until = time.monotonic() + dice.uniform(0, ALIVE_S_MAX)
            while time.monotonic() < until:
                command = story.send(command(f"mark {count}"))
                ledger.count("commands")
            child.kill()
            ledger.count("times busy", sum(1 for _ in child.rest()))
            arena.end_children()
            log += [decode(*row) for row in rows_of(registry, log[-1].position if log else 0)]
            for view in views.VIEWS:
                ledger.find(*(f"kill {count}: {each}" for each in _compare(registry, view, log, ledger)))
            if ledger.is_over:
                break
        if bug is None:
            ledger.find(*_answers(registry, log, dice))
    ledger.count("events", len(log))
    return ledger.report(rounds)


def _fold(view: View[Any], log: list[Recorded]) -> dict[str, Any]:
    states: dict[str, Any] = {}
    for recorded in log:
        key = view.key(recorded)
        if key is not None:
            states[key] = view.evolve(states.get(key), recorded)
    return states


def _compare(registry: ModelRegistry, view: View[Any], log: list[Recorded], ledger: Ledger) -> list[str]:
    """Compare the kept rows with the fold up to the position that is kept beside them."""
    with registry._store.snapshot() as snapshot:
        kept = snapshot.view_position(view.name)
        rows = snapshot.view_page(view.name, registry.workspace, EVERY)
    position = 0 if kept is None else kept.position
    ledger.count("times in the middle of the log" if 0 < position < log[-1].position else "times at an end of the log")
    expected = _fold(view, [recorded for recorded in log if recorded.position <= position])
    if {row.key for row in rows} != expected.keys():
        return [f"{view.name} at position {position} has {len(rows)} rows and not {len(expected)}"]
    return [
        f"{view.name} at position {position} has another row for {row.key} than the fold of the log"
        for row in rows
        if _plain(view.read(row)) != _plain(expected[row.key])
    ]


def _plain(state: Any) -> object:  # noqa: ANN401 - of any view
    return known(state) if hasattr(state, "stream") and hasattr(state, "left") else state


def _answers(registry: ModelRegistry, log: list[Recorded], dice: random.Random) -> list[str]:
    """Compare the answers across models with the fold of the log; and once more when the views are built anew."""
    states = _fold(views.MODELS, log).values()
    models = sorted((state.model() for state in states if state.exists), key=lambda model: model.name)
    end_us = max(recorded.event.at_us for recorded in log)
    start, end = moment_of(dice.randrange(log[0].event.at_us, end_us)), moment_of(end_us)
    usage = UsageLedger().fold(log).usage(log[0].event.at_us, end_us, end_us)
    wrong = []
    for _ in range(2):
        if list(registry.models()) != models:
            wrong.append("models() is not the fold of the log")
        if registry.usage(moment_of(log[0].event.at_us), end).total_microseconds != usage.total_microseconds:
            wrong.append("usage() is not the fold of the log")
        whole, parts = (
            registry.usage(moment_of(log[0].event.at_us), until).total_microseconds for until in (end, start)
        )
        if whole != parts + registry.usage(start, end).total_microseconds:
            wrong.append("usage of two parts does not add up")
        registry.rebuild()  # the last one was killed, perhaps while building
    return wrong
