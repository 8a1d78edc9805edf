"""Is anything that was acknowledged lost, or anything torn, when a process is killed while it appends?

Two processes of three threads append for ever, single events and more than a hundred at once, and tell each
acknowledged command. At a random moment they are killed, or the server is, or the process of the server that serves one
of them. Then a registry opens, everything acknowledged must be there once, at most one command of each thread beyond
it, every append whole, the chain too, and the next command works.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import signal
import threading
import time
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Final

from tests.faults.arena import PATIENCE_S, Arena, Ledger, Report, Talk, Wholeness, check_log, dice_of, plant, rows_of
from versioning import ModelRegistry
from versioning.aggregate import NO_LINK
from versioning.errors import StoreError
from versioning.events import ArtifactRef, Meta, VersionDeployed
from versioning.ids import stream_of, version_id_of
from versioning.store.format import encode

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Generator, Sequence
    from typing import TypeAlias

    from tests.faults.arena import Child
    from versioning import Version
    from versioning.store.contract import Row

    Mark: TypeAlias = Callable[[str], Any]
    """A command that takes its mark, and gives the version where it makes one."""

WRITERS: Final = 2
THREADS: Final = 3
"""Of each writer: on SQLite, their appends share transactions."""
ACKNOWLEDGED_MAX: Final = 12
"""How many commands are acknowledged at most before the kill."""
DELAY_S_MAX: Final = 0.004
"""How long after the last of them it comes at most: about as long as an append takes."""
WIDE: Final = 110
"""Events of a large append: more than one statement holds."""
RECOVERY_S: Final = 30.0
"""How long a server may take until it answers again."""
BUGS: Final = ("acknowledges first", "appends row by row")


# A process that appends.


def row_by_row(append: Callable[[Sequence[Row]], range]) -> Callable[[Sequence[Row]], range]:
    """Return an append that is not one transaction."""

    def torn(rows: Sequence[Row]) -> range:
        positions = [append([row]).start for row in rows]
        return range(positions[0], positions[-1] + 1)

    return torn


def write(talk: Talk, url: str, seed: int, numbers: tuple[str, ...], bug: str | None) -> None:
    """Append until killed, in a thread for each number; say that number for each command that was acknowledged."""
    with contextlib.suppress(StoreError), ModelRegistry(url) as registry:  # the server was killed
        if bug == "appends row by row":
            plant(registry._store, append=row_by_row(registry._store.append))
        talk.say("ready")
        saying = threading.Lock()

        def say(number: str) -> None:
            with saying:
                talk.say(number)

        tasks = [functools.partial(_tell, say, registry, seed, number, bug) for number in numbers]
        threads = [threading.Thread(target=task) for task in tasks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _tell(say: Callable[[str], None], registry: ModelRegistry, seed: int, number: str, bug: str | None) -> None:
    with contextlib.suppress(StoreError):
        story, version = commands(registry, dice_of(seed, number), number), None
        command = next(story)
        for count in range(100_000):
            if bug == "acknowledges first":
                say(number)
            version = command(f"{number}.{count}")
            if bug != "acknowledges first":
                say(number)
            command = story.send(version)


def commands(registry: ModelRegistry, dice: random.Random, number: str) -> Generator[Mark, Any, None]:
    """Give commands that each record something, for ever; each takes its mark."""
    for count in range(100_000):
        if dice.random() < 0.15:
            name = f"wide {number}.{count}"
            yield functools.partial(append_wide, registry, name)
            yield functools.partial(_change, registry, "delete_model", name)
            continue
        name, publish = dice.choice(["shared", f"own {number}"]), dice.random() < 0.7
        version = yield functools.partial(_deploy, registry, name, publish)
        for what in dice.choice([(), ("deactivate",), ("deactivate", "activate", "delete")]):
            yield functools.partial(_change, registry, what, version.version_id)


def _deploy(registry: ModelRegistry, name: str, publish: bool, mark: str) -> Version:
    return registry.deploy("s3://model", model_name=name, publish=publish, correlation_id=mark)


def _change(registry: ModelRegistry, what: str, about: str, mark: str) -> object:
    return getattr(registry, what)(about, correlation_id=mark)


def append_wide(registry: ModelRegistry, name: str, mark: str) -> None:
    """Deploy many versions in one append."""
    stream = stream_of(registry.workspace, name)
    events = [
        VersionDeployed(
            version_id_of(stream, count, f"{count:08x}"), f"0.{count}.0", ArtifactRef("s3://model"), at_us=count
        )
        for count in range(1, WIDE + 1)
    ]
    meta = Meta(registry.workspace, name, 1, f"{mark:>032}", correlation_id=mark)
    registry._store.append(encode(stream, 0, NO_LINK, events, meta))


# The campaign.


def run(rounds: int, seed: int, store: str, bug: str | None = None) -> Report:
    """Kill and look, so many times."""
    ledger, dice = Ledger("kills", store, seed, bug), dice_of(seed)
    whole, acknowledged = Wholeness(), dict[str, int]()
    with Arena(store) as arena:
        arena.open().close()  # the tables are there: what is killed here are appends
        for count in range(rounds):
            kind = dice.choice(("writers", "server", "backend")) if store == "postgresql" else "writers"
            groups = [tuple(f"{count}.{each}.{one}" for one in range(THREADS)) for each in range(WRITERS)]
            children = [arena.start(write, seed, numbers, bug) for numbers in groups]
            known = dict.fromkeys((number for numbers in groups for number in numbers), 0)
            _kill(arena, children, known, kind, dice)
            acknowledged |= known
            arena.end_children()
            ledger.count(f"kills of {kind}")
            _look(arena, ledger, whole, known)
            if ledger.is_over:
                break
        with _opened(arena, ledger) as registry:
            again, wrong = check_log(registry)
            ledger.find(*wrong)
            if not whole.appends.items() <= again.appends.items():
                ledger.find("what was in the log is not there any more")
    ledger.count("acknowledged", sum(acknowledged.values()))
    ledger.count("events", whole.events)
    return ledger.report(rounds)


def _kill(arena: Arena, children: list[Child], known: dict[str, int], kind: str, dice: random.Random) -> None:
    """Let them append, and kill; count in `known` how many commands of each thread were acknowledged."""
    ready = [child.hear() for child in children]
    assert ready == ["ready"] * WRITERS
    by_line: dict[Any, Child] = {child.line: child for child in children}
    for _ in range(dice.randint(0, ACKNOWLEDGED_MAX)):
        for line in wait(list(by_line), PATIENCE_S):
            if (number := by_line[line].hear()) is not None:
                known[number] += 1
    time.sleep(dice.uniform(0, DELAY_S_MAX))
    if kind == "server":
        arena.server.restart(immediate=True)
    elif kind == "backend":
        for pid in dice.sample(arena.server.connections(), 1):
            os.kill(pid, signal.SIGKILL)
        time.sleep(dice.uniform(0, DELAY_S_MAX))
    for child in children:  # a registry survives its server
        child.kill()
    for number in itertools.chain.from_iterable(child.rest() for child in children):
        known[number] += 1


@contextlib.contextmanager
def _opened(arena: Arena, ledger: Ledger) -> Generator[ModelRegistry, None, None]:
    """Open a registry; a server that was killed may take a while."""
    began = time.monotonic()
    registry = None
    while registry is None:
        try:
            registry = ModelRegistry(arena.url)
        except StoreError:
            if arena.store == "sqlite" or time.monotonic() > began + RECOVERY_S:
                raise
            time.sleep(0.01)
    took_ms = round((time.monotonic() - began) * 1_000)
    ledger.figures["ms to open at most"] = max(took_ms, ledger.figures.get("ms to open at most", 0))
    with registry:
        yield registry


def _look(arena: Arena, ledger: Ledger, whole: Wholeness, known: dict[str, int]) -> None:
    with _opened(arena, ledger) as registry:
        ledger.find(*whole.take(rows_of(registry, whole.position)), *whole.torn())
        marks = [mark for mark in whole.appends.values() if mark is not None and mark.rpartition(".")[0] in known]
        for number, said in known.items():
            recorded = sorted(int(mark.rpartition(".")[2]) for mark in marks if mark.rpartition(".")[0] == number)
            lost = set(range(said)) - set(recorded)
            if lost:
                ledger.find(f"of thread {number}, {len(lost)} acknowledged commands are lost")
            elif recorded not in (list(range(said)), list(range(said + 1))):
                ledger.find(f"thread {number} acknowledged {said} commands, and recorded {recorded}")
            ledger.count("recorded and not acknowledged", len(recorded) - said if not lost else 0)
        if registry.deploy("s3://model", model_name="shared").model_name != "shared" or not registry.models():
            ledger.find("the registry does not work")
