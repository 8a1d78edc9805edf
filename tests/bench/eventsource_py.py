"""How does eventsource-py do it? The same commands by its aggregates and its SQLite store; from Python 3.13 on."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

import eventsource
from eventsource.adapters.sqlite import SQLiteEventStore
from pydantic import BaseModel

from tests.bench.filling import ACTOR, ARTIFACT, REASON

if TYPE_CHECKING:
    from pathlib import Path

    from eventsource import DomainCommand, DomainEvent

METADATA: dict[str, Any] = {"accuracy": 0.93, "dataset": "s3://data/2026-01", "framework": "sklearn"}


@eventsource.register_event
class BenchDeployed(eventsource.DomainEvent):  # type: ignore[misc]  # an extra that mypy does not see
    aggregate_type: str = "BenchModel"
    version_id: str
    number: int
    uri: str
    about: dict[str, Any]
    actor: str
    reason: str


@eventsource.register_event
class BenchPublished(eventsource.DomainEvent):  # type: ignore[misc]  # the same
    aggregate_type: str = "BenchModel"
    version_id: str
    actor: str
    reason: str


@eventsource.register_event
class BenchPromoted(eventsource.DomainEvent):  # type: ignore[misc]  # the same
    aggregate_type: str = "BenchModel"
    version_id: str
    actor: str
    reason: str


class Ask(eventsource.DomainCommand):  # type: ignore[misc]  # the same
    what: str
    version_id: str
    model: Any


class State(BaseModel):  # type: ignore[misc]  # the same
    stages: dict[str, str] = {}
    primary: str | None = None


class BenchModel(eventsource.DeciderAggregate[State, Ask]):  # type: ignore[misc]  # the same
    aggregate_type = "BenchModel"

    @staticmethod
    def initial_state() -> State:
        return State()

    @staticmethod
    def decide(command: DomainCommand, state: State) -> list[DomainEvent]:
        facts = {"aggregate_id": command.model, "version_id": command.version_id, "actor": ACTOR, "reason": REASON}
        if command.what == "deploy":
            return [BenchDeployed(number=len(state.stages) + 1, uri=ARTIFACT, about=METADATA, **facts)]
        if command.version_id not in state.stages:
            raise LookupError(command.version_id)
        return [(BenchPublished if command.what == "publish" else BenchPromoted)(**facts)]

    @staticmethod
    def evolve(state: State, event: DomainEvent) -> State:
        if isinstance(event, BenchPromoted):
            state.primary = event.version_id
            return state
        stage = "draft" if isinstance(event, BenchDeployed) else "published"
        state.stages[event.version_id] = stage  # in place: a copy an event would be quadratic
        return state


class EventsourcePy:
    """Its repository, without snapshots."""

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        self._loop = asyncio.new_event_loop()
        self._store = SQLiteEventStore(str(path))
        self._models = eventsource.AggregateRepository(event_store=self._store, aggregate_factory=BenchModel)
        self._last: dict[str, str] = {}
        if not durable:
            self._loop.run_until_complete(self._relax())

    async def _relax(self) -> None:
        connection = await self._store._conn()
        await connection.execute("PRAGMA synchronous=NORMAL")

    def close(self) -> None:
        self._loop.run_until_complete(self._store.close())
        self._loop.close()

    async def _ask(self, name: str, what: str) -> None:
        model_id = uuid5(NAMESPACE_URL, name)
        model = await self._models.load(model_id) if name in self._last else self._models.create_new(model_id)
        ours = secrets.token_hex(16) if what == "deploy" else self._last[name]
        model.execute(Ask(what=what, version_id=ours, model=model_id))
        await self._models.save(model)
        self._last[name] = ours

    def deploy(self, name: str) -> None:
        self._loop.run_until_complete(self._ask(name, "deploy"))

    def publish(self, name: str) -> None:
        self._loop.run_until_complete(self._ask(name, "publish"))

    def promote(self, name: str) -> None:
        self._loop.run_until_complete(self._ask(name, "promote"))
