"""Where the application tests run: every store that a registry can have, each time a fresh one.

To add a store: a line in `STORES`, and every test that asks for `store` runs on it; those that ask for `shared_store`
run where several registries can open the same one. A test module takes the fixtures over by name:

    store = stores.store

Where there is no PostgreSQL, or with VERSIONING_TEST_NO_PG=1, what would run on it is skipped.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from tests import postgres_server
from versioning import ModelRegistry, Recorded
from versioning.ids import stream_of
from versioning.store.contract import Row
from versioning.store.opening import SQLiteLocation, location_of
from versioning.store.postgres import PostgresRecorder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from versioning.store.postgres_connections import Settings

START = datetime(2026, 1, 1, 9, 0, tzinfo=UTC)
"""When every test begins."""
STREAM = stream_of("default", "m")
"""Where `row` is appended, if nothing else is said."""
OTHER = stream_of("default", "n")
"""Another stream."""


def row(
    sequence: int,
    stream: str = STREAM,
    key: str | None = None,
    state: bytes = b"{}",
    follows: bytes | None = None,
) -> Row:
    return Row(stream, sequence, "deleted.1", state, key, follows)


def linked(link: bytes) -> bytes:
    """Return a state that begins as ours do, with a link of 64 letters."""
    return b'{"_chain":"' + link + b'"}'


def rows(count: int, stream: str = STREAM, after: int = 0) -> list[Row]:
    return [row(sequence, stream) for sequence in range(after + 1, after + count + 1)]


def positions(found: Sequence[tuple[Any, ...]]) -> list[int]:
    """Return the positions of rows that were read."""
    return [one[0] for one in found]


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def tick(self, seconds: float = 60) -> datetime:
        """Move on, or back; give the moment reached."""
        self.now += timedelta(seconds=seconds)
        return self.now


def settings_of(url: str) -> Settings:
    """Return what the URL of a PostgreSQL store says."""
    location = location_of(url)
    assert not isinstance(location, SQLiteLocation)
    return location


def postgres_recorder(url: str) -> PostgresRecorder:
    """Open a PostgreSQL store without a registry."""
    return PostgresRecorder(settings_of(url))


def _in_sqlite(url: str, statement: str, values: Sequence[object]) -> None:
    path = url.removeprefix("sqlite:///").partition("?")[0]
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement, values)


def _in_postgresql(url: str, statement: str, values: Sequence[object]) -> None:
    with postgres_server.server().connect() as connection:
        connection.execute(f"SET search_path TO {settings_of(url).schema}".encode())
        connection.execute(statement.replace("?", "%s").encode(), values)


def _nowhere(*_: object) -> None:
    msg = "a store of this kind belongs to its registry alone: take shared_store"
    raise AssertionError(msg)


@attrs.frozen
class Kind:
    """A kind of store: how a fresh one is named, and what is so on it."""

    name: str
    url: Callable[[Path], str]
    shared: bool
    """Whether several registries can open the same one."""
    execute: Callable[[str, str, Sequence[object]], None] = _nowhere
    """Runs an SQL statement in the store of a URL, whatever its registries think."""
    position: str = "rowid"
    """How SQL names the position of an event."""
    hurried: str = ""
    """What a URL has at its end so that nobody waits long for others."""
    gapless: bool = True
    """Whether no position is missing: one that is drawn before the commit is lost with a command that came too late."""

    def __str__(self) -> str:
        return self.name


STORES = (
    Kind("memory", lambda _: "memory:", shared=False),
    Kind(
        "sqlite",
        lambda folder: f"sqlite:///{folder}/models.db?durability=checkpoint",
        shared=True,
        execute=_in_sqlite,
        hurried="&timeout_s=0.05",
    ),
    Kind(
        "postgresql",
        postgres_server.fresh_url,
        shared=True,
        execute=_in_postgresql,
        position="position",
        hurried="&lock_timeout_s=0.3",
        gapless=False,
    ),
)

GAPLESS = tuple(kind for kind in STORES if kind.shared and kind.gapless)
"""The kinds on which a missing position means a missing row, for `shared_store`."""
WITH_GAPS = tuple(kind for kind in STORES if kind.shared and not kind.gapless)
"""The kinds on which a rollback leaves a position out, for `shared_store`."""
TRIED = tuple(kind for kind in STORES if kind.name != "postgresql" or not postgres_server.missing())
"""The kinds that this run tries, for a test that compares them."""


class Store:
    """One fresh store, and the registries that a test opens on it."""

    def __init__(self, kind: Kind, folder: Path) -> None:
        self.kind = kind
        self.url = kind.url(folder)
        self.clock = Clock()
        self._opened = contextlib.ExitStack()
        self._count = 0

    def __call__(self, **options: Any) -> ModelRegistry:  # noqa: ANN401 - whatever a registry takes
        """Open a registry, or one more; on the store's clock, if no other is given."""
        self._count += 1
        assert self.kind.shared or self._count == 1, "a store of this kind belongs to one registry: take shared_store"
        return self._opened.enter_context(ModelRegistry(self.url, **{"clock": self.clock} | options))

    def execute(self, statement: str, *values: object) -> None:
        """Run an SQL statement behind the registries' back; `?` stands for a value."""
        self.kind.execute(self.url, statement, values)

    def change(self, position: int, **columns: object) -> None:
        """Change the row of an event behind the registries' back."""
        assigned = ", ".join(f"{name}=?" for name in columns)
        self.execute(f"UPDATE stored_events SET {assigned} WHERE {self.kind.position}=?", *columns.values(), position)

    def close(self) -> None:
        self._opened.close()


def _fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    fresh = Store(request.param, tmp_path)
    with contextlib.closing(fresh):
        yield fresh


store = pytest.fixture(params=STORES, ids=str)(_fresh)
"""A fresh store of every kind, which opens registries."""

shared_store = pytest.fixture(params=[kind for kind in STORES if kind.shared], ids=str)(_fresh)
"""The same, of the kinds that several registries can open."""


def check_positions(kind: Kind, recorded: Sequence[Recorded], head: int) -> None:
    """See that this is the whole log, in order: no position twice, and none missing on a store without gaps."""
    positions = [one.position for one in recorded]
    assert positions == sorted(set(positions))
    assert positions[-1] == head
    assert positions == list(range(1, head + 1)) or not kind.gapless


def facts(recorded: Iterable[Recorded]) -> list[str]:
    """Name recorded events as SPEC section 2 does."""
    return [type(one.event).__name__ for one in recorded]


def in_threads(*tasks: Callable[[], object]) -> None:
    """Run tasks side by side, all starting at once; raise what the first of them that failed raised."""
    gate = threading.Barrier(len(tasks))
    failures: list[BaseException] = []

    def run(task: Callable[[], object]) -> None:
        gate.wait()
        try:
            task()
        except BaseException as failure:  # noqa: BLE001 - it is raised again in the thread of the test
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(task,), daemon=True) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a thread hangs"
    if failures:
        raise failures[0]
