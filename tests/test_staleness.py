"""`resolve(..., max_staleness_s=)`: an answer may be old, but never older than asked, nor than one's own commands."""

import time

import pytest

from tests import stores
from versioning import InvalidArgumentError, ModelRegistry, StoreError, VersionNotActiveError
from versioning.reading.recent import ANSWERS_MAX

store = stores.store
shared_store = stores.shared_store


def number(registry: ModelRegistry, seconds: float = 60.0, version: str | None = None) -> str:
    return registry.resolve("fraud", version, max_staleness_s=seconds).number


def test_within_the_time_the_store_is_not_asked(store: stores.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = store()
    registry.deploy("s3://1", model_name="fraud", publish=True)
    assert number(registry) == "0.1.0"
    monkeypatch.setattr(registry._store, "tail", None)
    assert number(registry) == "0.1.0"


def test_afterwards_it_is(store: stores.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = store()
    registry.deploy("s3://1", model_name="fraud", publish=True)
    number(registry)
    asked: list[object] = []
    tail, now_s = registry._store.tail, time.monotonic()

    def counted(stream: str, after: int, upto: int | None = None) -> object:
        asked.append(stream)
        return tail(stream, after, upto)

    monkeypatch.setattr(registry._store, "tail", counted)
    monkeypatch.setattr(time, "monotonic", lambda: now_s + 61)
    assert number(registry) == "0.1.0"
    assert len(asked) == 1


def test_what_others_recorded_may_be_missing_for_that_long_only(shared_store: stores.Store) -> None:
    ours, theirs = shared_store(), shared_store()
    ours.deploy("s3://1", model_name="fraud", publish=True)
    assert number(ours) == "0.1.0"
    theirs.deploy("s3://2", model_name="fraud", publish=True)
    assert (number(ours), number(ours, 0), number(ours)) == ("0.1.0", "0.2.0", "0.2.0")


def test_own_commands_are_never_missing(store: stores.Store) -> None:
    registry = store()
    for count in range(1, 4):
        registry.deploy("s3://1", model_name="fraud", publish=True)
        assert number(registry) == f"0.{count}.0"
    assert number(registry, version="0.1.0") == "0.1.0"
    registry.deactivate("fraud@0.1.0")
    with pytest.raises(VersionNotActiveError):
        number(registry, version="0.1.0")


def test_a_model_that_left_the_cache_is_read_again(store: stores.Store) -> None:
    registry = store()
    registry.deploy("s3://1", model_name="fraud", publish=True)
    number(registry)
    registry._streams._cached.clear()
    registry.deploy("s3://2", model_name="fraud", publish=True)
    assert number(registry) == "0.2.0"


def test_what_is_known_by_heart_is_bounded(store: stores.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("versioning.reading.recent.NAMES_KEPT_MAX", 3)
    registry = store()
    for place in range(7):
        registry.deploy("s3://1", model_name=f"m{place}", publish=True)
        registry.resolve(f"m{place}", max_staleness_s=60)
    assert len(registry._recent._answers) <= 3
    for patch in range(ANSWERS_MAX * 2):
        registry.resolve("m6", f">=0.0.{patch}", max_staleness_s=60)
    assert len(registry._recent._answers["m6"][1]) <= ANSWERS_MAX


@pytest.mark.parametrize("seconds", [-1, float("nan"), True, "1", [], 10**12])
def test_anything_else_than_a_time_is_refused(store: stores.Store, seconds: float) -> None:
    registry = store()
    registry.deploy("s3://1", model_name="fraud", publish=True)
    number(registry)
    with pytest.raises(InvalidArgumentError):
        registry.resolve("fraud", max_staleness_s=seconds)


def test_after_closing_there_is_no_answer(store: stores.Store) -> None:
    registry = store()
    registry.deploy("s3://1", model_name="fraud", publish=True)
    number(registry)
    registry.close()
    with pytest.raises(StoreError):
        number(registry)
