"""Does a command have exactly one effect, when what the store says of its commit is lost?

Of an append the reply is lost in one of `WAYS`, inside the recorder; on PostgreSQL also on the wire, by a proxy that
takes the server's answer and closes the connection. With an idempotency key the command is then sent again from
elsewhere: exactly one effect, and its answer. Without one it is called once: exactly one effect where it succeeds, none
where the error does not say otherwise, and one at most where it is not known.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import attrs

from tests.faults.arena import Arena, Ledger, Report, Wholeness, dice_of, plant, rows_of, use_store
from tests.faults.failing_calls import schema_of
from versioning import ModelRegistry
from versioning.errors import StoreError, VersioningError
from versioning.store.contract import AppendConflict
from versioning.store.format import decode

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from versioning import Recorded, Version
    from versioning.store.contract import Row, TailRow

WAYS: Final = (
    "and asked for",
    "and nothing answers",
    "and sent again inside",  # as recorders do that try again by themselves
    "and another is recorded before it is asked for",
    "before anything was recorded, and nothing answers",
    "on the wire",
    "on the wire, before the server got it",
)
REFUSED: Final = "it is refused"
WIRE: Final = tuple(way for way in WAYS if way.startswith("on the wire"))
DEADLINE_S: Final = 60.0
BUGS: Final = ("does not look for its own command", "sends another key")


# Losing it.


class LosingRecorder:
    """A recorder that loses the reply of an append."""

    def __init__(self, recorder: object, between: Callable[[], object]) -> None:
        self._store: Any = recorder
        self._between = between
        self.way: str | None = None
        """How the next one is lost."""
        self._is_silent = False

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the recorder has
        return getattr(self._store, name)

    def lose(self, way: str | None) -> None:
        self.way, self._is_silent = way, False

    def append(self, rows: Sequence[Row]) -> range:
        positions: range = range(0)
        if self.way is None or not self.way.startswith("before"):
            positions = self._store.append(rows)  # where others were first, there is nothing to lose
        way, self.way = self.way, None
        self._is_silent = way is not None and way.endswith("nothing answers")
        if way == "and sent again inside":
            positions = self._store.append(rows)
        if way == "and another is recorded before it is asked for":
            self._between()
            raise AppendConflict
        if way is not None:
            msg = "The reply was lost."
            raise StoreError(msg)
        return positions

    def tail(self, stream: str, after: int, upto: int | None = None, limit: int | None = None) -> list[TailRow]:
        if self._is_silent:
            msg = "Nothing answers."
            raise StoreError(msg)
        rows: list[TailRow] = self._store.tail(stream, after, upto, limit)
        return rows


class Proxy:
    """Between a registry and its server: loses replies, or requests, on the wire."""

    def __init__(self, port: int) -> None:
        """Stand before the port of a server on this machine."""
        self.way: str | None = None
        """How the next append is lost."""
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(DEADLINE_S)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            self._threads.append(threading.Thread(target=self._pump, args=(client,), daemon=True))
            self._threads[-1].start()

    def _pump(self, client: socket.socket) -> None:
        """Carry everything both ways, up to what is to be lost."""
        with client, socket.create_connection(("127.0.0.1", self._port)) as server, contextlib.suppress(OSError):
            while True:
                for ready in select.select([client, server], [], [])[0]:
                    said = ready.recv(1 << 20)
                    if not said:
                        return
                    if ready is server:
                        client.sendall(said)
                        continue
                    way = self.way if b'{"_chain":"' in said else None  # in requests, this is in appends only
                    if way is not None:
                        self.way = None
                        if way == "on the wire":
                            server.sendall(said)
                            while not server.recv(1 << 20).endswith(b"Z\x00\x00\x00\x05I"):
                                pass  # the server is idle again, so it has committed
                        return
                    server.sendall(said)


# The campaign.


def run(rounds: int, seed: int, store: str, bug: str | None = None) -> Report:
    """Lose so many replies, half of them of commands with a key."""
    ledger, dice, whole = Ledger("lost replies", store, seed, bug), dice_of(seed), Wholeness()
    options = {"durability": "checkpoint"} if store == "sqlite" else {}
    with Arena(store, options) as arena, contextlib.ExitStack() as opened:
        elsewhere = arena.open()
        proxy = None
        url = arena.url
        if store == "postgresql":
            proxy = opened.enter_context(Proxy(arena.server.port))
            tcp = arena.server.url(schema_of(arena.url), tcp=True)
            url = tcp.replace(f"127.0.0.1:{arena.server.port}", f"127.0.0.1:{proxy.port}")
        registry = opened.enter_context(ModelRegistry(url))
        losing = LosingRecorder(registry._store, lambda: elsewhere.deploy("s3://other", model_name="m"))
        use_store(registry, losing)
        if bug == "does not look for its own command":
            plant(registry._deciding, _was_recorded=lambda _: False)
        for count in range(rounds):
            way = dice.choice([each for each in WAYS if proxy is not None or each not in WIRE])
            losing.lose(None if way in WIRE else way)
            asked = _asked(elsewhere, dice, count)
            if proxy is not None:
                proxy.way = way if way in WIRE else None
            came = _call(registry, elsewhere, asked, bug)
            losing.lose(None)
            rows = list(rows_of(elsewhere, whole.position))
            effects = [decode(*row) for row in rows if decode(*row).correlation_id == asked.why["correlation_id"]]
            wrong = whole.take(rows) + _judged(asked, came, [seen for seen in effects if seen.index == 0])
            ledger.find(*(f"round {count}, lost {way}, {asked.what}: {each}" for each in wrong))
            ledger.count(f"lost {way}")
            ledger.count(came.told)
            if ledger.is_over:
                break
        ledger.find(*whole.torn())
    return ledger.report(rounds)


@attrs.frozen
class Asked:
    """A command that records something, once."""

    what: str
    about: tuple[str, ...]
    why: dict[str, Any]

    @property
    def key(self) -> str | None:
        return self.why.get("idempotency_key")

    def __call__(self, registry: ModelRegistry, **changed: str) -> Version:
        version: Version = getattr(registry, self.what)(*self.about, **self.why | changed)
        return version


class Came(NamedTuple):
    """What came of it: the first answer of each registry that was asked, and an error where there is none."""

    answers: list[Version]
    error: StoreError | None
    told: str


def _asked(elsewhere: ModelRegistry, dice: random.Random, count: int) -> Asked:
    why = {"correlation_id": f"round {count}"}
    if dice.random() < 0.5:
        why["idempotency_key"] = f"key {count}"
    what = dice.choice(("deploy", "deploy", "deactivate", "delete"))
    version = elsewhere.deploy("s3://model", model_name="m", publish=dice.random() < 0.5)
    if what == "deploy":
        return Asked(what, ("s3://model",), why | {"model_name": dice.choice(("m", f"new {count}")), "publish": True})
    return Asked(what, (version.version_id,), why)


def _call(registry: ModelRegistry, elsewhere: ModelRegistry, asked: Asked, bug: str | None) -> Came:
    """Call; with a key, and where it failed, again from elsewhere, and once more from here."""
    try:
        first = asked(registry)
    except StoreError as error:
        if asked.key is None:
            known = "is not known" not in error.hint
            return Came([], error, "known not to be recorded" if known else "unknown")
        other = {"idempotency_key": f"another {asked.key}"} if bug == "sends another key" else {}
        try:
            return Came([asked(elsewhere, **other)], error, "done elsewhere")
        except VersioningError as refusal:
            return Came([], error, f"{REFUSED} elsewhere: {refusal}")
    except VersioningError as refusal:
        return Came([], None, f"{REFUSED}: {refusal}")
    return Came([first] if asked.key is None else [first, asked(elsewhere)], None, "done")


def _judged(asked: Asked, came: Came, effects: list[Recorded]) -> list[str]:
    """Say what is wrong with so many effects."""
    count = len(effects)
    if came.told.startswith(REFUSED):
        return [f"{came.told} (key: {asked.key}), with {count} effects"]
    if asked.key is None and came.error is not None:
        allowed = {0, 1} if "is not known" in came.error.hint else {0}
    else:
        allowed = {1}
    if count not in allowed:
        return [f"{count} effects, where {came.told} (key: {asked.key})"]
    return [
        f"the answer is {answer.version_id}, and the effect on {effects[0].version_id}"
        for answer in came.answers
        if answer.version_id != effects[0].version_id
    ]
