"""Where a campaign takes place: a fresh store, the processes that work on it, what the log must be, and the report.

The law of this room: **what is killed was started here**, by its pid, and is over when the block ends; nothing runs
without a bound. Children come from a server of forks that has loaded everything and opened nothing, so that each costs
a few milliseconds.

    with Arena("sqlite") as arena:
        child = arena.start(work, 1, 2)   # work(talk, arena.url, 1, 2) in a process of its own
        child.hear()                      # what it says with talk.say(...)
        child.kill()                      # kill -9
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import random
import shutil
import signal
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import attrs

from tests import postgres_server
from versioning import ModelRegistry
from versioning.aggregate import NO_LINK
from versioning.store.format import body_of, computed_link, decode, link_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from multiprocessing.connection import Connection

    from versioning.events import Recorded
    from versioning.store.contract import LogRow

STORES: Final = ("sqlite", "postgresql")
MEMORY: Final = "/dev/shm"  # noqa: S108 - the folders in it are private
"""Linux has a file system in memory there."""
PATIENCE_S: Final = 60.0
"""How long a child may be silent before that is a failure of the campaign."""
FINDINGS_MAX: Final = 5
"""How many findings are told; what comes after the first ones only repeats them."""

logging.getLogger("versioning").addHandler(logging.NullHandler())  # several processes write: on purpose
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.faults.arena", "versioning.testing", "versioning.store.postgres"])


# What comes of it.


@attrs.frozen
class Report:
    """What a campaign did, in figures, and what it found; nothing, if all is well."""

    campaign: str
    store: str
    rounds: int
    seed: int
    figures: dict[str, object]
    findings: tuple[str, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether all held that must hold."""
        return not self.findings

    def __str__(self) -> str:
        figures = ", ".join(f"{value} {name}" for name, value in self.figures.items())
        found = "".join(f"\n  FOUND: {finding}" for finding in self.findings) or " Nothing found."
        about = f"{self.campaign} on {self.store}: {self.rounds} rounds, seed {self.seed}, {self.seconds:.1f} s"
        return f"{about}: {figures}.{found}"


class Ledger:
    """What is counted and found while a campaign runs."""

    def __init__(self, campaign: str, store: str, seed: int, bug: str | None = None) -> None:
        self._campaign = campaign if bug is None else f"{campaign} with the bug {bug!r}"
        self._store, self._seed = store, seed
        self._enough = FINDINGS_MAX if bug is None else 1
        self._began = time.monotonic()
        self.figures: dict[str, Any] = {}
        self.findings: list[str] = []

    def count(self, what: str, times: int = 1) -> None:
        self.figures[what] = self.figures.get(what, 0) + times

    def find(self, *findings: str) -> None:
        self.findings += findings

    @property
    def is_over(self) -> bool:
        """Whether enough was found."""
        return len(self.findings) >= self._enough

    def report(self, rounds: int) -> Report:
        found = tuple(self.findings[:FINDINGS_MAX])
        seconds = time.monotonic() - self._began
        return Report(self._campaign, self._store, rounds, self._seed, self.figures, found, seconds)


# The processes.


class Talk:
    """A child's end of the line to the campaign."""

    def __init__(self, line: Connection) -> None:
        self._line = line

    def say(self, said: object) -> None:
        """Tell the campaign; where that is gone, so is this process."""
        try:
            self._line.send(said)
        except OSError:
            os._exit(1)

    def hear(self) -> Any:  # noqa: ANN401 - whatever the campaign says
        try:
            return self._line.recv()
        except (EOFError, OSError):
            os._exit(1)

    def has_mail(self) -> bool:
        """Say whether the campaign has said something."""
        return self._line.poll()


@attrs.frozen
class Failed:
    """What a child says that ends by an error which it does not expect."""

    story: str


def _child(work: Callable[..., None], line: Connection, arguments: tuple[Any, ...]) -> None:
    talk = Talk(line)
    try:
        work(talk, *arguments)
    except BaseException:  # noqa: BLE001 - it is told, and fails the campaign
        talk.say(Failed(traceback.format_exc()))
        os._exit(1)


class Child:
    """A process that was started here."""

    def __init__(self, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self.said: list[Any] = []
        """What the campaign keeps of what it said."""
        self.line, theirs = _context.Pipe()
        self._process = _context.Process(target=_child, args=(work, theirs, arguments), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None, "the child was started"
        return self._process.pid

    def hear(self, timeout_s: float = PATIENCE_S) -> Any:  # noqa: ANN401 - whatever the child says
        """Give what it says next; None when it is over.

        Raises:
            AssertionError: it failed, or is silent for too long.
        """
        try:
            assert self.line.poll(timeout_s), f"child {self.pid} is silent for {timeout_s} s"
            said = self.line.recv()
        except (EOFError, OSError):
            return None  # also where it was killed in the middle of a word
        assert not isinstance(said, Failed), f"child {self.pid} failed:\n{said.story}"
        return said

    def rest(self) -> Iterator[Any]:
        """Give what it says until it is over."""
        while (said := self.hear()) is not None:
            yield said

    def tell(self, said: object) -> None:
        with contextlib.suppress(OSError):  # it is over
            self.line.send(said)

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as kill -9 does."""
        self.signal(signal.SIGKILL)

    def end(self) -> None:
        """See that it is over."""
        if self._process.is_alive():
            self.kill()
        self._process.join(PATIENCE_S)
        self._process.close()
        self.line.close()


class Arena:
    """A fresh store, and what runs on it."""

    def __init__(self, store: str, options: Mapping[str, Any] | None = None, *, in_memory: bool = False) -> None:
        """Name a fresh store; `options` go into its URL.

        `in_memory`: its file need not be on a disk, where that saves waiting for it.
        """
        assert store in STORES, store
        options = options or {}
        self.store = store
        memory = MEMORY if in_memory and Path(MEMORY).is_dir() else None
        self.folder = Path(tempfile.mkdtemp(prefix="versioning-faults-", dir=memory))
        if store == "sqlite":
            query = "&".join(f"{name}={value}" for name, value in options.items())
            self.url = f"sqlite:///{self.file}?{query}"
        else:
            self.url = self.server.fresh_url(**options)
        self._children: list[Child] = []
        self._opened = contextlib.ExitStack()

    @property
    def file(self) -> Path:
        """The SQLite file."""
        return self.folder / "models.db"

    @property
    def server(self) -> postgres_server.PostgresServer:
        return postgres_server.server()

    def open(self, **options: Any) -> ModelRegistry:  # noqa: ANN401 - whatever a registry takes
        """Open a registry in this process."""
        return self._opened.enter_context(ModelRegistry(self.url, **options))

    def start(self, work: Callable[..., None], *arguments: object) -> Child:
        """Start work(talk, url, *arguments) in a process of its own."""
        child = Child(work, (self.url, *arguments))
        self._children.append(child)
        return child

    def end_children(self) -> None:
        """See that all are over."""
        while self._children:
            self._children.pop().end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end_children()
        self._opened.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def plant(where: object, **changes: object) -> None:
    """Put something else in its place, which must be there: a planted bug, a watch, or a smaller measure."""
    for name, value in changes.items():
        getattr(where, name)
        setattr(where, name, value)


def use_store(registry: ModelRegistry, store: Any) -> None:  # noqa: ANN401 - whatever stands in for a store
    """Let a registry work on another store, with nothing in memory."""
    registry._store = registry._views._store = store
    registry._use(registry.workspace, registry.policy)


def dice_of(seed: int, *purpose: object) -> random.Random:
    """Give a source of choices that is the same for the same seed and purpose."""
    return random.Random(f"{seed} {purpose}")


# The log.


def rows_of(registry: ModelRegistry, after: int = 0) -> Iterator[LogRow]:
    """Give the rows of the log as they are stored."""
    while rows := registry._store.log(after, 10_000):
        after = rows[-1][0]
        yield from rows


class Wholeness:
    """Takes the log in as it grows, and says what is not whole: chain, sequences, appends."""

    def __init__(self) -> None:
        self.position = 0
        self.events = 0
        self._last: dict[str, tuple[int, bytes, Recorded]] = {}
        self.appends: dict[str, str | None] = {}
        """The correlation of every append, by its command_id."""

    def take(self, rows: Iterable[LogRow]) -> list[str]:
        """Take rows in, oldest first; give what is wrong."""
        wrong = []
        for position, stream, sequence, topic, state in rows:
            recorded = decode(position, stream, sequence, topic, state)
            before = self._last.get(stream)
            last, link = (0, NO_LINK) if before is None else before[:2]
            if position <= self.position:
                wrong.append(f"position {position} comes behind {self.position}")
            if sequence != last + 1:
                wrong.append(f"sequence {sequence} comes behind {last} in {stream}")
            if link_of(state) != computed_link(link, stream, sequence, topic, body_of(state)):
                wrong.append(f"the chain of {stream} is broken at sequence {sequence}")
            if before is None or before[2].ends_append:
                if recorded.command_id in self.appends:
                    wrong.append(f"command {recorded.command_id} was recorded twice")
                if recorded.index != 0:
                    wrong.append(f"an append at position {position} begins with its event {recorded.index}")
            elif (recorded.command_id, recorded.index) != (before[2].command_id, before[2].index + 1):
                wrong.append(f"the append before position {position} is torn")
            self.appends[recorded.command_id] = recorded.correlation_id
            self._last[stream] = sequence, link_of(state), recorded
            self.position, self.events = position, self.events + 1
        return wrong

    def torn(self) -> list[str]:
        """Say which streams end in the middle of an append."""
        return [
            f"the append at position {recorded.position} is torn: {recorded.index + 1} of {recorded.count} events"
            for _, _, recorded in self._last.values()
            if not recorded.ends_append
        ]


def check_log(registry: ModelRegistry) -> tuple[Wholeness, list[str]]:
    """Look at the whole log; give what was seen and what is wrong."""
    seen = Wholeness()
    return seen, seen.take(rows_of(registry)) + seen.torn()
