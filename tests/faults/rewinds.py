"""Is the log whole, and every answer right, when an older copy of it takes its place beneath processes that write?

Four processes give commands all the time. Meanwhile a copy is made, and they go on; then the copy takes over, and what
was recorded in between is gone. On SQLite the copy is a backup that is restored into the file; on PostgreSQL it is an
asynchronous standby that is cut off for a while and then promoted, at the same address, when the first server dies.

After each time all stand still and say what they see, which must be what a registry sees that has just been opened:
what is lost shows nowhere, and what came since is there. The log has no hole and no fork, and `verify` finds nothing.
Every command that was answered after the last copy took over is in the log, once.
"""

from __future__ import annotations

import collections
import contextlib
import os
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from tests.faults.arena import Arena, Ledger, Report, Talk, check_log, dice_of, plant
from tests.postgres_server import PLACE, PREFIX, PostgresServer
from versioning import ModelRegistry
from versioning.commanding import deciding
from versioning.errors import CorruptLogError, NotFoundError, RefusedError, StoreError, TryAgainError
from versioning.reading import streams
from versioning.store.format import encode

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.faults.arena import Child
    from versioning import Version
    from versioning.store.contract import Row

PROCESSES: Final = 4
TIMEOUTS: Final[dict[str, Any]] = {"connect_timeout_s": 10, "lock_timeout_s": 2, "statement_timeout_s": 2}
PAUSE_S: Final = 0.002
"""Between commands, so that the log does not grow too long."""
SETTLED_S: Final = 30.0
"""How long it may take until every process has its next answer."""
KEPT_EVERY: Final = 20
"""Events after which a view is written back, so that views are kept and go back with the log."""
UNREADABLE: Final = -1
"""What a process says of a command that failed because the log can't be read."""
BUGS: Final = ("follows a number", "believes what it remembers")


# A process that gives commands.


def _names(number: int) -> tuple[str, ...]:
    return ("shared", f"own {number}")


def work(talk: Talk, url: str, seed: int, number: int, bug: str | None) -> None:
    """Give commands until told to end, and say what came of each; stand still when told, and say what is seen."""
    dice = dice_of(seed, number)
    _plant(bug)
    with ModelRegistry(url) as registry:
        registry._views._batch_events = KEPT_EVERY
        talk.say("ready")
        for count in range(1_000_000):
            if talk.has_mail():
                if talk.hear() == "end":
                    talk.say("over")
                    return
                talk.say("standing")
                talk.hear()
                talk.say(_seen(registry))
                talk.hear()
            mark, appends = f"{number}.{count}", 0
            with contextlib.suppress(StoreError, TryAgainError, RefusedError, NotFoundError):
                try:
                    appends = _give(registry, dice, dice.choice(_names(number)), mark)
                except CorruptLogError:
                    appends = UNREADABLE
            talk.say((mark, appends))
            time.sleep(PAUSE_S)


def _give(registry: ModelRegistry, dice: random.Random, name: str, mark: str) -> int:
    """Give a command; return how many commands are then in the log."""
    kind = dice.random()
    if kind < 0.4:
        return _recorded(registry.deploy("s3://model", model_name=name, publish=True, correlation_id=mark))
    if kind < 0.5:
        names = ("shared", name, name)
        made = registry.deploy_many(
            [
                {"model_or_reference": "s3://model", "model_name": each, "publish": True, "correlation_id": mark}
                for each in names
            ]
        )
        return sum(map(_recorded, made))
    if kind < 0.6:
        registry.models()
        return 0
    command = registry.promote if kind < 0.9 else registry.delete
    return _recorded(command(dice.choice(registry.versions(name)), correlation_id=mark))


def _recorded(version: Version) -> int:
    return int(bool(version.recorded))


def _seen(registry: ModelRegistry) -> dict[str, Any]:
    """Say what a registry sees: each model by itself, from memory too, and all models at once."""
    deadline = time.monotonic() + SETTLED_S
    while True:
        try:
            return {
                name: [
                    [(version.version_id, version.is_primary, version.status) for version in versions]
                    for versions in (registry.versions(name), model.versions)
                ]
                for name, model in [(model.name, model) for model in registry.models()]
            }
        except CorruptLogError as error:
            return {"unreadable": error.sentence}
        except (StoreError, TryAgainError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _plant(bug: str | None) -> None:
    if bug == "follows a number":

        def blind(*args: Any, **how: Any) -> list[Row]:  # noqa: ANN401 - whatever it takes
            return [row._replace(follows=None) for row in encode(*args, **how)]

        plant(deciding, encode=blind)
    elif bug == "believes what it remembers":
        plant(streams, carries=lambda *_: True)


# What a copy takes the place of.


class SQLiteFile:
    """A file, and a backup of it."""

    def __init__(self) -> None:
        self._arena = Arena("sqlite", {"durability": "checkpoint"}, in_memory=True)
        self.url = self._arena.url
        self.start = self._arena.start
        self._backup = self._arena.folder / "backup.db"

    def __enter__(self) -> Self:
        self._arena.open().close()
        return self

    def __exit__(self, *_: object) -> None:
        self._arena.__exit__()

    def copy(self) -> None:
        """Make a backup."""
        self._backup.unlink(missing_ok=True)
        _copy(self._arena.file, self._backup)

    def take_over(self) -> None:
        """Restore the backup, while the processes have the file open."""
        _copy(self._backup, self._arena.file)


def _copy(source: Path, target: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(source, timeout=30)) as there,
        contextlib.closing(sqlite3.connect(target, timeout=30)) as here,
    ):
        there.backup(here)


class Servers:
    """A server, and a standby of it that takes over its address."""

    def __init__(self) -> None:
        self._opened = contextlib.ExitStack()
        self._arena = Arena("sqlite")  # for its processes
        self._address = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=PLACE))
        """Folder of the socket that processes connect to: a link to the socket of whoever is the server now."""
        self._address.chmod(0o755)

    def __enter__(self) -> Self:
        with self._opened:
            self._opened.callback(shutil.rmtree, self._address, ignore_errors=True)
            self._opened.enter_context(self._arena)
            self._first = self._opened.enter_context(PostgresServer())
            self._serving, self._standby = self._first, self._first
            self._point()
            self.url = self._first.url("rewinds", **{"host": self._address} | TIMEOUTS)
            self._arena.url = self.url
            ModelRegistry(self.url).close()
            self._opened = self._opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        for server in {self._serving, self._standby} - {self._first}:
            server.close()
        self._opened.close()

    def start(self, work: Callable[..., None], *arguments: object) -> Child:
        return self._arena.start(work, *arguments)

    def _point(self) -> None:
        """Let the address lead to who serves now."""
        link, name = self._address / "next", f".s.PGSQL.{self._first.port}"
        link.symlink_to(self._serving.folder / f".s.PGSQL.{self._serving.port}")
        link.replace(self._address / name)

    def copy(self) -> None:
        """Start a standby, let it come close, and cut it off."""
        self._standby = standby = PostgresServer(standby_of=self._serving)
        (there,) = self._serving.admin("SELECT pg_current_wal_lsn()::text")[0]
        deadline = time.monotonic() + SETTLED_S
        while standby.admin(f"SELECT pg_last_wal_replay_lsn()<'{there}'::pg_lsn") != [(False,)]:
            assert time.monotonic() < deadline, "the standby does not follow"
            time.sleep(0.005)
        standby.admin("ALTER SYSTEM SET primary_conninfo=''", "SELECT pg_reload_conf()")
        while standby.admin("SELECT count(*) FROM pg_stat_wal_receiver") != [(0,)]:
            assert time.monotonic() < deadline, "the standby is not cut off"
            time.sleep(0.005)

    def take_over(self) -> None:
        """End the server, promote the standby, and give it the address."""
        over, self._serving = self._serving, self._standby
        over.stop(immediate=True)
        self._serving.admin("SELECT pg_promote(true, 30)")
        self._point()
        if over is not self._first:  # whose programs all use
            over.close()


PLACES: Final[dict[str, Callable[[], SQLiteFile | Servers]]] = {"sqlite": SQLiteFile, "postgresql": Servers}


# The campaign.


def run(rounds: int, seed: int, store: str, bug: str | None = None) -> Report:
    """Let a copy take over so often."""
    ledger, dice = Ledger("rewinds", store, seed, bug), dice_of(seed)
    with PLACES[store]() as place:
        children = [place.start(work, seed, number, bug) for number in range(PROCESSES)]
        for child in children:
            child.hear()
        for _ in range(rounds):
            _hear_some(children, dice.choice((1, 5)))
            place.copy()
            _hear_some(children, dice.choice((1, 2, 20)))
            before = _head(place.url)
            place.take_over()
            for child in children:
                _hear_some([child], 0)
                child.said.clear()
            ledger.count("events lost", max(0, before - _head(place.url)))
            _hear_some(children, dice.choice((3, 15)))
            _look(place.url, children, ledger)
            if ledger.is_over:
                break
            for child in children:
                child.said.clear()
        for child in children:
            child.tell("end")
        for child in children:
            assert "over" in list(child.rest()), "a process ended early"
    return ledger.report(rounds)


def _hear_some(children: list[Child], count: int) -> None:
    """Hear so many answers of each, and those that are waiting."""
    for child in children:
        while child.line.poll():
            child.said.append(child.hear())
        child.said += [child.hear(SETTLED_S) for _ in range(count)]


def _head(url: str) -> int:
    with ModelRegistry(url) as registry:
        return registry.position()


def _look(url: str, children: list[Child], ledger: Ledger) -> None:
    """Let all stand still, and compare what each sees with what is there."""
    for child in children:
        child.tell("stand")
        while (said := child.hear(SETTLED_S)) != "standing":
            child.said.append(said)
    with ModelRegistry(url) as registry:
        whole, wrong = check_log(registry)
        ledger.find(*wrong, *(finding.sentence for finding in registry.verify().findings[:3]))
        there = _seen(registry)
    for number, child in enumerate(children):
        child.tell("say")
        if child.hear(SETTLED_S + 10) != there:
            ledger.find(f"process {number} sees something else than the log has")
    recorded = collections.Counter(whole.appends.values())
    for number, child in enumerate(children):
        for mark, appends in child.said[1:]:  # the first command may have been given before the change
            ledger.count("commands")
            if appends == UNREADABLE:
                ledger.find(f"process {number} can't read the log")
            elif recorded[mark] != appends and appends:
                ledger.find(f"command {mark} was recorded {recorded[mark]} times instead of {appends}")
        child.tell("go on")
    ledger.figures["events"] = whole.events
