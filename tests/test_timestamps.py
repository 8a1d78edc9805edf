"""When was it (R23)?"""

# ruff: noqa: ANN401 - what is refused is of any type

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from tests import registry_tools, stores
from tests.registry_tools import DAY, NAME, deploy, refused
from tests.stores import START, Clock, Store
from versioning import InvalidArgumentError, ModelRegistry

store = stores.store
shared_store = stores.shared_store
registry = registry_tools.registry


class TestR23Time:
    """Timestamps are aware UTC and never go back within a stream, even when the clock does."""

    def test_when_the_clock_goes_back_the_last_one_is_used_again(self, registry: ModelRegistry, store: Store) -> None:
        version = deploy(registry)
        store.clock.tick(-300)
        other = deploy(registry, "other")
        registry.publish(version.version_id)
        registry.activate(version.version_id)
        assert [recorded.timestamp for recorded in registry.history(NAME)] == [START] * 3
        assert other.deployed_at == START - timedelta(minutes=5)
        store.clock.tick(301)
        registry.deactivate(version.version_id)
        assert list(registry.history(NAME))[-1].timestamp == START + timedelta(seconds=1)

    def test_a_registry_with_a_slower_clock_goes_on_from_the_last_one(self, shared_store: Store) -> None:
        version = deploy(shared_store())
        slow = shared_store(clock=Clock(START - DAY), clock_skew_max_s=None)
        assert slow.publish(version.version_id).published_at == START

    def test_what_the_clock_says_in_another_time_zone_is_kept_in_utc(self, store: Store) -> None:
        registry = store(clock=lambda: START.astimezone(timezone(timedelta(hours=-7))))
        assert deploy(registry).deployed_at == START
        assert deploy(registry).deployed_at.tzinfo is UTC

    @pytest.mark.parametrize("moment", [datetime(2026, 1, 1), 0, None, "now"], ids=str)  # noqa: DTZ001 - what is refused
    def test_a_clock_that_gives_anything_else_is_an_error(self, store: Store, moment: Any) -> None:
        given = [START]
        registry = store(clock=lambda: given[-1])
        version = deploy(registry)
        given.append(moment)
        with refused(registry, InvalidArgumentError, "R23"):
            deploy(registry)
        with refused(registry, InvalidArgumentError, "R23"):
            registry.publish(version.version_id)

    def test_without_a_clock_it_is_the_machine_s(self, store: Store) -> None:
        registry = store(clock=None)
        before = datetime.now(UTC)
        version = deploy(registry)
        assert before - timedelta(microseconds=1) < version.deployed_at <= datetime.now(UTC)
        assert registry.at(version.deployed_at).version(version.version_id) == version

    @pytest.mark.parametrize("clock", [0, "now", START, True], ids=str)
    def test_a_clock_is_a_function(self, clock: Any) -> None:
        with pytest.raises(InvalidArgumentError) as caught:
            ModelRegistry("memory:", clock=clock)
        assert (caught.value.rule, caught.value.facts["argument"]) == ("R23", "clock")
