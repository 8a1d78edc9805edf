"""Could psycopg's own connection and pool take the place of our loop on libpq and of our pool?

Asked by `store/postgres_libpq.py` and `store/postgres_connections.py`, whose heads say what came of it. The contenders
do the same commands with the same statements; only who sends them differs. psycopg's cursors get every advantage that
its documentation knows: one raw, binary cursor for each statement, always prepared, with dumpers that have nothing to
choose, and a snapshot that ends with COMMIT, because a ROLLBACK would drop all that is prepared.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import os
import secrets
import select
import time
from typing import TYPE_CHECKING, Any, Final, cast

import psycopg
import psycopg.types.bool
import psycopg.types.numeric
import psycopg.types.string

from tests.bench.contenders import NOT_INSTALLED, Ours, has
from tests.bench.filling import names
from tests.bench.measure import Benchmark, Table, microseconds, spread
from tests.bench.processing import Crew, Server
from tests.postgres_server import PostgresServer, the_server
from versioning import ModelRegistry
from versioning.errors import StoreError
from versioning.store.postgres_errors import store_error
from versioning.store.postgres_libpq import OURS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from multiprocessing.connection import Connection as Pipe

    from tests.bench.measure import Run
    from versioning.store.postgres_connections import Pool

ASKED: Final = ("promote", "deploy", "deploy, publish, promote", "resolve")
VERSIONS: Final = 5
"""How many a model gets, before the next model."""


HAS_DEADLINE: Final = "timeout" in inspect.signature(psycopg.Connection.wait).parameters
"""Since release 3.3.6 of psycopg."""


class _AnyBinary(psycopg.types.string.BytesBinaryDumper):
    """A value in binary form, a text of bytes or an array, whose type the statement says."""

    oid = 0


class CursorConnection(psycopg.Connection[Any]):
    """A connection of psycopg, behind the names that our store calls."""

    answer_s = 30.0

    @classmethod
    def of(cls, pool: Pool) -> CursorConnection:
        """Open one for the store of a pool."""
        own = cls.connect(pool.settings.conninfo.text, autocommit=True, cursor_factory=psycopg.RawCursor)
        own.set_up(pool.settings.where, pool._statements)
        return own

    def set_up(self, where: str, statements: Mapping[str, bytes]) -> None:
        self.where = where
        self.statements = {name: text.replace(OURS.encode(), b"true") for name, text in statements.items()}
        self.is_broken = self.was_lost = self.is_shared = False
        self.backend = ""
        for kind, dumper in (
            (str, psycopg.types.string.StrBinaryDumper),
            (int, psycopg.types.numeric.Int8BinaryDumper),
            (bytes, _AnyBinary),
            (bool, psycopg.types.bool.BoolBinaryDumper),
        ):
            self.adapters.register_dumper(kind, dumper)
        self._text = self.cursor()
        self._named: dict[str, psycopg.Cursor[Any]] = {}
        self._text.execute("SELECT set_config('search_path','pg_catalog',false)", prepare=False)
        self._text.execute(b"PREPARE settle AS " + self.statements["settle"], prepare=False)

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:  # noqa: ANN401 - as psycopg has it
        limit = {"timeout": timeout or self.answer_s} if HAS_DEADLINE else {}
        return super().wait(gen, interval, **limit)

    def _run(
        self, cursor: psycopg.Cursor[Any], text: bytes, values: tuple[object, ...] | None, *, prepare: bool
    ) -> None:
        try:
            cursor.execute(text, values, prepare=prepare, binary=values is not None)
        except psycopg.Error as error:
            self.was_lost = self.is_broken = self.broken
            raise store_error(
                self.where, error.sqlstate or "08006", error.diag.message_primary or "", error.diag.constraint_name
            ) from error

    def ask(self, name: str, *values: object) -> list[Any]:
        cursor = self._named.get(name)
        if cursor is None:
            cursor = self._named[name] = self.cursor(binary=True)
        self._run(cursor, self.statements[name], values, prepare=True)
        return cursor.fetchall()

    def ask_text(self, text: str) -> list[Any]:
        self._run(self._text, text.encode(), None, prepare=False)
        return self._text.fetchall()

    def run(self, text: str) -> None:
        self._run(self._text, text.encode(), None, prepare=False)

    def begin_snapshot(self, settled: int, counted_max: int, link: bytes) -> tuple[int, str | None, bytes]:
        settle = f"EXECUTE settle({settled},{counted_max},'\\x{link.hex()}')"
        self.run(f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {settle}")
        self._text.nextset()
        position, holders, found, _ = cast("tuple[int, str | None, bytes, int]", self._text.fetchone())
        return position, holders, found

    def roll_back(self) -> None:
        self.run("COMMIT")

    @property
    def is_idle(self) -> bool:
        return not self.is_broken and self.pgconn.transaction_status == psycopg.pq.TransactionStatus.IDLE

    def is_alive(self) -> bool:
        poll = select.poll()
        poll.register(self.pgconn.socket, select.POLLIN)
        return not poll.poll(0)

    def finish(self) -> None:
        self.close()


def _pooled(pool: Pool) -> Callable[[], contextlib.AbstractContextManager[Any]]:
    """Lend connections from a pool of psycopg, checking each without a round trip to the server."""
    from psycopg_pool import ConnectionPool  # noqa: PLC0415 - need not be there

    def check(connection: CursorConnection) -> None:
        if not connection.is_alive():
            raise psycopg.OperationalError

    lent = ConnectionPool(
        pool.settings.conninfo.text,
        connection_class=CursorConnection,
        kwargs={"autocommit": True, "cursor_factory": psycopg.RawCursor},
        configure=lambda connection: connection.set_up(pool.settings.where, pool._statements),
        check=check,
        min_size=1,
        max_size=pool.settings.connections,
        open=True,
    )
    owner = os.getpid()

    @contextlib.contextmanager
    def use() -> Iterator[CursorConnection]:
        if os.getpid() != owner:
            msg = "This pool belongs to another process."
            raise StoreError(msg)
        connection = lent.getconn(pool.settings.lock_timeout_s)
        try:
            yield connection
        finally:
            lent.putconn(connection)

    return use


def _by_loop(_: Pool) -> None:
    """Leave everything as it is."""


def _by_cursors(pool: Pool) -> None:
    pool.drop_idle()
    cast("Any", pool).connect = lambda **_: CursorConnection.of(pool)


def _by_pool(pool: Pool) -> None:
    pool.drop_idle()
    cast("Any", pool).use = _pooled(pool)


WAYS: Final[dict[str, Callable[[Pool], None]]] = {
    "our loop": _by_loop,
    "psycopg's cursors": _by_cursors,
    "cursors and psycopg_pool": _by_pool,
}


class _Worker:
    """The commands, on models of its own."""

    def __init__(self, url: str, change: Callable[[Pool], None]) -> None:
        ours = Ours(url)
        change(cast("Any", ours.registry._store)._pool)
        own = secrets.token_hex(8)
        fresh = itertools.chain.from_iterable([f"{name} {own}"] * VERSIONS for name in names(10_000))
        two = f"two {own}"
        versions = []
        for _ in range(2):
            ours.deploy(two)
            ours.publish(two)
            versions.append(ours._last[two])
        turns = itertools.cycle(versions)

        def all_three() -> None:
            name = next(fresh)
            ours.deploy(name)
            ours.publish(name)
            ours.promote(name)

        self.calls: dict[str, Callable[[], object]] = {
            "promote": lambda: ours.registry.promote(next(turns)),
            "deploy": lambda: ours.deploy(next(fresh)),
            "deploy, publish, promote": all_three,
            "resolve": lambda: ours.registry.resolve(two),
        }


def _ways() -> dict[str, Callable[[Pool], None]]:
    return {name: way for name, way in WAYS.items() if way is not _by_pool or has("psycopg_pool")}


def work(server: Server, asked: Pipe) -> None:
    """Serve the parent: a command in all ways by turns, for so many seconds; answer with the times of each."""
    made = {name: _Worker(server.url, change) for name, change in _ways().items()}
    for worker in made.values():
        for call in worker.calls.values():
            for _ in range(20):
                call()
    asked.send(None)
    with contextlib.suppress(EOFError):
        while True:
            what, seconds = asked.recv()
            asked.send(_by_turns({way: worker.calls[what] for way, worker in made.items()}, seconds))
    os._exit(0)  # without a farewell of the pool's threads


def _by_turns(calls: dict[str, Callable[[], object]], seconds: float) -> dict[str, list[tuple[float, float]]]:
    """Do each once by turns, beginning with another one each time; give the seconds on the clock and of the CPU."""
    took: dict[str, list[tuple[float, float]]] = {way: [] for way in calls}
    order = list(calls)
    deadline = time.monotonic() + seconds
    while True:
        for way in order:
            cpu, began = time.process_time(), time.perf_counter()
            calls[way]()
            took[way].append((time.perf_counter() - began, time.process_time() - cpu))
        order.append(order.pop(0))
        if time.monotonic() > deadline:
            return took


def _table(title: str, answers: list[dict[str, list[tuple[float, float]]]]) -> Table:
    table = Table(title, ["", "times", "µs each", "quartiles", "speed kept", "µs of CPU", "CPU time kept"])
    first: tuple[float, float] | None = None
    for way in WAYS:
        if way not in answers[0]:
            table.rows.append((way, NOT_INSTALLED))
            continue
        walls, cpus = zip(*(pair for answer in answers for pair in answer[way]), strict=True)
        lower, wall, upper = spread(walls)
        cpu = spread(cpus)[1]
        first = first or (wall, cpu)
        kept = [f"{old / new:.2f}" for old, new in zip(first, (wall, cpu), strict=True)]
        quartiles = f"{microseconds(lower)}–{microseconds(upper)}"
        table.rows.append((way, f"{len(walls):,}", microseconds(wall), quartiles, kept[0], microseconds(cpu), kept[1]))
    return table


def _cursors(run: Run) -> Iterator[Table]:
    for durable in (True, False):
        server = the_server() if run.size == "tiny" else run.open(PostgresServer(durable=durable))
        url = server.fresh_url()
        with ModelRegistry(url):
            pass  # makes the tables
        for processes in run.pick((1,), (1, 4), (1, 4)):
            with contextlib.closing(Crew(Server(url, {}, ""), processes, work)) as crew:
                for what in ASKED:
                    title = f"{what}: {processes} process{'es' * (processes > 1)}, {'with' if durable else 'no'} fsync"
                    yield _table(title, crew.ask(what, run.pick(0.1, 3.0, 20.0)))


BENCHMARKS = {"cursors": Benchmark("psycopg's own connection and pool in the place of ours", _cursors)}
