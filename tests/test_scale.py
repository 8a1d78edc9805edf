"""A model with 10,000 versions: the next command costs what it cost with ten.

Not a matter of seconds: what is counted is work, which is the same on every machine. `python -m tests.test_scale`
prints what it comes to in time.
"""

from __future__ import annotations

import collections
import contextlib
import gc
import sqlite3
import statistics
import sys
import tempfile
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from tests.registry_tools import DAY, noted
from tests.stores import START, STORES, Clock
from versioning import ModelRegistry
from versioning.ids import stream_of
from versioning.reading import kept, views
from versioning.reading.streams import FIRST_EVENTS
from versioning.store.format import read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.stores import Kind

FEW, MANY = 10, 10_000
NAME = "big"
URI = "s3://bucket/model"
COPIED_BYTES = 40_000
"""Half of what a list of so many versions would take: whatever goes through all of them for a command takes more."""

Work = collections.Counter[str]

pytestmark = pytest.mark.untraced


def grow(registry: ModelRegistry, versions: int) -> None:
    """Deploy and publish until there are so many; every fifth one is stopped, so that not all are alike."""
    for number in range(versions):
        version = registry.deploy(URI, model_name=NAME, publish=True)
        if number % 5 == 4:
            registry.deactivate(version.version_id)


def commands(registry: ModelRegistry) -> Iterator[tuple[str, Callable[[], object]]]:
    """Give commands and questions on one version of many, each to be done before the next is taken."""
    newest = registry.deploy(URI, model_name=NAME).version_id
    oldest = registry.version(f"{NAME}@0.1.0").version_id
    yield "deploy a draft", lambda: registry.deploy(URI, model_name=NAME)
    yield "deploy", lambda: registry.deploy(URI, model_name=NAME, publish=True, idempotency_key="k")
    yield "deploy again", lambda: registry.deploy(URI, model_name=NAME, publish=True, idempotency_key="k")
    yield "publish", lambda: registry.publish(newest, promote=False)
    yield "promote", lambda: registry.promote(newest)
    yield "promote again", lambda: registry.promote(newest)
    yield "rollback", lambda: registry.rollback(NAME)
    yield "promote the oldest", lambda: registry.promote(oldest)
    yield "deactivate the primary", lambda: registry.deactivate(oldest)
    yield "activate", lambda: registry.activate(oldest)
    yield "delete", lambda: registry.delete(newest)
    yield "preview", lambda: registry.preview.promote(oldest)
    yield "primary", lambda: registry.primary(NAME)
    yield "resolve", lambda: registry.resolve(NAME)
    yield "resolve a number", lambda: registry.resolve(NAME, "0.1.0")
    yield "resolve a range", lambda: registry.resolve(NAME, ">=0.1.0")
    yield "version", lambda: registry.version(oldest)
    yield "allowed", lambda: registry.allowed(oldest)


@contextlib.contextmanager
def asked_of_the_store(registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    """Count what is asked of the store, and the rows that it gives and takes."""
    work: Work = collections.Counter()
    recorder = registry._store

    def counting(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **how: Any) -> Any:  # noqa: ANN401 - whatever the method takes and gives
            work[name] += 1
            answer = method(*given, **how)
            if isinstance(answer, list):
                work[f"rows of {name}"] += len(answer)
            if name == "append":
                work["rows to append"] += len(given[0])
            return answer

        return call

    with monkeypatch.context() as patch:
        for name in ("append", "tail", "ranges", "log", "head", "find_key", "snapshot", "write_view"):
            patch.setattr(recorder, name, counting(name, getattr(recorder, name)))
        yield work


@contextlib.contextmanager
def called_in_python() -> Iterator[Work]:
    """Count the calls of functions."""
    work: Work = collections.Counter()

    def note(_: object, event: str, __: object) -> None:
        if event in {"call", "c_call"}:
            work[event] += 1

    sys.setprofile(note)
    try:
        yield work
    finally:
        sys.setprofile(None)


@pytest.fixture(params=STORES, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
def few_and_many(kind: Kind, tmp_path: Path) -> Iterator[list[ModelRegistry]]:
    """Give a registry with few versions and one with many."""
    with contextlib.ExitStack() as opened:
        registries = []
        for versions in (FEW, MANY):
            folder = tmp_path / str(versions)
            folder.mkdir()
            registries.append(opened.enter_context(ModelRegistry(kind.url(folder), clock=Clock())))
            grow(registries[-1], versions)
        yield registries


def test_a_command_does_the_same_work_with_ten_versions_and_with_ten_thousand(
    kind: Kind, few_and_many: list[ModelRegistry], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Work]] = []
    called: list[dict[str, Work]] = []
    copied: list[dict[str, int]] = []
    for registry in few_and_many:
        asked.append({})
        called.append({})
        copied.append({})
        for name, command in commands(registry):
            with asked_of_the_store(registry, monkeypatch) as asked[-1][name]:
                command()
        gc.disable()
        try:
            for name, command in commands(registry):
                with called_in_python() as called[-1][name]:
                    command()
            tracemalloc.start()
            for name, command in commands(registry):
                tracemalloc.reset_peak()
                before, _ = tracemalloc.get_traced_memory()
                command()
                copied[-1][name] = tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()
            gc.enable()
    assert asked[0] == asked[1]
    if kind.name != "postgresql":  # there, how often the client looks depends on when the answer comes
        assert called[0] == called[1]
    assert {name: size for name, size in copied[1].items() if size - copied[0][name] > COPIED_BYTES} == {}


def test_sqlite_does_the_same_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work: Work = collections.Counter()
    connect = sqlite3.connect

    def step() -> None:
        work["steps"] += 1

    def counted(*given: Any, **how: Any) -> sqlite3.Connection:  # noqa: ANN401 - whatever it takes
        connection: sqlite3.Connection = connect(*given, **how)
        connection.set_trace_callback(lambda _: work.update(["statements"]))
        connection.set_progress_handler(step, 1)
        return connection

    monkeypatch.setattr("sqlite3.connect", counted)
    seen: list[dict[str, Work]] = []
    for versions in (FEW, MANY // 10):
        url = f"sqlite:///{tmp_path}/{versions}.db?durability=checkpoint"
        with ModelRegistry(url, clock=Clock()) as registry:
            grow(registry, versions)
            seen.append({})
            for name, command in commands(registry):
                work.clear()
                command()
                seen[-1][name] = work.copy()
    assert seen[0] == seen[1]


def test_a_cold_start_reads_a_model_once(few_and_many: list[ModelRegistry], monkeypatch: pytest.MonkeyPatch) -> None:
    registry = few_and_many[1]
    registry._streams._cached.clear()
    with asked_of_the_store(registry, monkeypatch) as work:
        registry.primary(NAME)
        first = work.copy()
        registry.primary(NAME)
        registry.deploy(URI, model_name=NAME)
    events = first["rows of tail"]
    assert events > 2 * MANY
    assert first == {"tail": 2, "rows of tail": events, "snapshot": 1}
    assert work - first == {"tail": 1, "rows of tail": 1, "append": 1, "rows to append": 1}  # the last that is known
    registry.views()
    registry.deploy(URI, model_name=NAME)
    registry._streams._cached.clear()
    with asked_of_the_store(registry, monkeypatch) as work:
        assert len(registry.versions(NAME)) == MANY + 2
    assert work == {"tail": 2, "rows of tail": FIRST_EVENTS + 2, "snapshot": 1}
    with asked_of_the_store(registry, monkeypatch) as work:
        assert len(registry.at(registry.position()).versions(NAME)) == MANY + 2
    assert work == {"head": 2, "tail": 2, "rows of tail": FIRST_EVENTS + 2, "snapshot": 1}


def test_a_page_of_models_does_not_read_them_all(kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ModelRegistry(kind.url(tmp_path), clock=Clock()) as registry:
        for number in range(1_500):
            registry.deploy(URI, model_name=f"m{number:05}")
        registry.models(limit=1)
        loads: list[bytes] = []
        monkeypatch.setattr(views, "_model_decoder", _Counting(views._model_decoder, loads))
        assert [model.name for model in registry.models(after_name="m00100", limit=3)] == ["m00101", "m00102", "m00103"]
        assert len(loads) == 3


def test_a_page_of_a_past_reads_the_log_of_those_only_that_went_on_since(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    with ModelRegistry(kind.url(tmp_path), clock=clock) as registry:
        for number in range(1_500):
            registry.deploy(URI, model_name=f"m{number:05}")
        clock.tick()
        past = registry.at(registry.position())
        page = past.models(after_name="m00100", limit=3)
        for name in ("m00102", "m01000"):
            registry.deploy(URI, model_name=name)
        registry.views()
        seen: list[Any] = []
        monkeypatch.setattr(kept, "read", noted(seen, read))
        assert past.models(after_name="m00100", limit=3) == page
        assert [stream for _, stream, *_ in seen] == [stream_of("default", "m00102")]
        seen.clear()
        assert len(past.usage(START, START + DAY).lines) == 1_500
        assert seen == []


class _Counting:
    """A decoder that counts what it decodes."""

    def __init__(self, decoder: Any, seen: list[bytes]) -> None:  # noqa: ANN401 - any decoder
        self._decoder = decoder
        self._seen = seen

    def decode(self, kept: bytes) -> object:
        self._seen.append(kept)
        return self._decoder.decode(kept)


def measure(tries: int = 300) -> None:
    """Print what the next deployment costs with ten versions and with 10,000, side by side, and a cold start."""
    with tempfile.TemporaryDirectory() as folder:
        for place, url in {
            "memory": "memory:",
            "sqlite, durability=checkpoint": f"sqlite:///{folder}/checkpoint.db?durability=checkpoint",
            "sqlite, durability=commit": f"sqlite:///{folder}/commit.db",
        }.items():
            with ModelRegistry(url) as registry:
                grow(registry, MANY)
                for number in range(tries):
                    for _ in range(FEW - 1):
                        registry.deploy(URI, model_name=f"small {number}", publish=True)
                pairs = [
                    (_seconds_of(registry, f"small {number}"), _seconds_of(registry, NAME)) for number in range(tries)
                ]
                few_us, many_us = (statistics.median(times) * 1e6 for times in zip(*pairs, strict=True))
                registry._streams._cached.clear()
                begun = time.perf_counter()
                versions = len(registry.versions(NAME))
                cold_s = time.perf_counter() - begun
                events = sum(1 for _ in registry.history(NAME))
            sys.stdout.write(
                f"{place}\n  the deployment behind {FEW - 1} versions {few_us:.0f} us, behind {MANY} {many_us:.0f} us: "
                f"{many_us / few_us:.2f} times (medians of {tries})\n"
                f"  a cold start of {versions} versions, {events} events: {cold_s * 1e3:.0f} ms\n"
            )


def _seconds_of(registry: ModelRegistry, name: str) -> float:
    begun = time.perf_counter()
    registry.deploy(URI, model_name=name, publish=True)
    return time.perf_counter() - begun


if __name__ == "__main__":
    measure()
