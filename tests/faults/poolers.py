"""Is a pooler used where it keeps to sessions, and refused where it doesn't, before anything is lost or left in it?

Processes give commands through a real PgBouncer in session mode, beside clients that have nothing to do with us. Then
its administrator changes the mode to transaction while all of that goes on. Each command that was answered has one
effect, each one that was refused because of the pooler has none, every process is refused in the end, and so is whoever
opens a registry then. No other client loses its session, or finds our settings, locks and statements in a fresh one.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from typing import TYPE_CHECKING, Final

import psycopg

from tests import provision
from tests.faults.arena import Arena, Ledger, Report, Talk, check_log, plant, rows_of
from tests.pgbouncer import PgBouncer
from versioning import ModelRegistry
from versioning.errors import StoreError
from versioning.store import postgres_connections
from versioning.store.format import decode
from versioning.store.opening import location_of
from versioning.store.postgres_connections import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.arena import Child

PROCESSES: Final = 3
COMMANDS: Final = 5
"""How many each process gives before the mode changes."""
COMMANDS_MAX: Final = 200
"""How many it gives after that, until it is refused."""
INNOCENTS: Final = 4
SETTLED_S: Final = 30.0
REFUSED: Final = "through a pooler"
MODES: Final = ("transaction", "statement")
BUGS: Final = ("opens in any session",)
LEFT: Final = (
    "SELECT current_setting('search_path')||(SELECT count(*) FROM pg_prepared_statements)||"
    "(SELECT count(*) FROM pg_locks WHERE locktype='advisory' AND pid=pg_backend_pid())"
)
FRESH: Final = '"$user", public00'


def work(talk: Talk, url: str, number: int) -> None:
    """Give commands, and say of each what came of it, until one is refused."""
    with ModelRegistry(url) as registry:
        for count in range(COMMANDS + COMMANDS_MAX):
            if count == COMMANDS:
                talk.say("ready")
                talk.hear()
            mark = f"{number}.{count}"
            try:
                registry.deploy("s3://model", model_name=f"model {number}", correlation_id=mark)
            except StoreError as error:
                talk.say((mark, str(error)))
                return
            talk.say((mark, None))


class Innocents:
    """Clients of the pooler that have nothing to do with us: each transaction waits a little."""

    def __init__(self, pooler: PgBouncer) -> None:
        self.lost: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._go, args=(pooler,), daemon=True) for _ in range(INNOCENTS)]
        for thread in self._threads:
            thread.start()

    def _go(self, pooler: PgBouncer) -> None:
        try:
            with contextlib.closing(pooler.connect()) as connection:
                while not self._stop.is_set():
                    connection.execute("SELECT pg_sleep(0.001)")
        except psycopg.Error as error:
            self.lost.append(str(error))

    def end(self) -> list[str]:
        """Stop them; give what went wrong."""
        self._stop.set()
        for thread in self._threads:
            thread.join(SETTLED_S)
        return [f"an innocent client lost its session: {why}" for why in self.lost]


def run(
    rounds: int, seed: int, store: str = "postgresql", bug: str | None = None, program: str | None = None
) -> Report:
    """Change the mode so often, each time on a fresh pooler; `program` is that of PgBouncer."""
    ledger = Ledger("poolers", store, seed, bug)
    for count in range(rounds):
        with (
            Arena(store) as arena,
            PgBouncer(arena.server, program or provision.pgbouncer(), max_client_conn=200) as pooler,
        ):
            ModelRegistry(arena.url).close()
            mode = MODES[(count + seed) % len(MODES)]
            _change(arena, pooler, mode, ledger)
            with PgBouncer(arena.server, pooler.program, pool_mode=mode) as fresh:
                _open(fresh, arena.url, ledger, bug)
            ledger.count(f"times {mode}")
        if ledger.is_over:
            break
    return ledger.report(rounds)


def _change(arena: Arena, pooler: PgBouncer, mode: str, ledger: Ledger) -> None:
    """Change the mode of a pooler while commands are given through it; judge what came of them."""
    direct, arena.url = arena.url, _through(pooler, arena.url)
    children = [arena.start(work, number) for number in range(PROCESSES)]
    innocents = Innocents(pooler)
    for child in children:
        while (said := child.hear()) != "ready":
            child.said.append(said)
    pooler.set("server_round_robin", "1")  # else each may get what it just had, again and again
    pooler.set("pool_mode", mode)
    for child in children:
        child.tell("go on")
    for child in children:
        child.said += child.rest()
    ledger.find(*innocents.end())
    arena.end_children()
    arena.url = direct
    _judge(direct, ledger, children)


def _through(pooler: PgBouncer, url: str) -> str:
    settings = location_of(url)
    assert isinstance(settings, Settings)
    return pooler.url(settings.schema)


def _open(pooler: PgBouncer, url: str, ledger: Ledger, bug: str | None) -> None:
    """Open a registry through a pooler that does not keep to sessions; see what is left in it."""
    check = postgres_connections._check_pooler
    if bug == "opens in any session":
        plant(postgres_connections, _check_pooler=lambda *_: None)
    try:
        with contextlib.suppress(StoreError):
            ModelRegistry(_through(pooler, url)).close()
            ledger.find("a registry was opened through a pooler that does not keep to sessions")
    finally:
        plant(postgres_connections, _check_pooler=check)
    with contextlib.closing(pooler.connect()) as innocent:
        ((left,),) = innocent.execute(LEFT).fetchall()
        if left != FRESH:
            ledger.find(f"a session of others has something of ours: {left}")


def _judge(url: str, ledger: Ledger, children: Sequence[Child]) -> None:
    with ModelRegistry(url) as registry:
        ledger.find(*check_log(registry)[1])
        effects = Counter(decode(*row).correlation_id for row in rows_of(registry) if decode(*row).index == 0)
    for child in children:
        for mark, refusal in child.said:
            expected = 1 if refusal is None else 0
            if effects[mark] != expected:
                answer = refusal or "a version"
                ledger.find(f"command {mark} has {effects[mark]} effects, and was answered with {answer}")
            ledger.count("commands answered" if refusal is None else "processes refused")
        last = child.said[-1][1]
        if last is None or REFUSED not in last:
            ledger.find(f"a process was not refused because of the pooler: {last}")
