"""What happens, as it happens?"""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests import registry_tools, stores
from tests.registry_tools import NAME, deploy, refused
from tests.stores import Store, in_threads
from versioning import InvalidArgumentError, ModelRegistry, Recorded

if TYPE_CHECKING:
    from collections.abc import Callable

store = stores.store
shared_store = stores.shared_store
registry = registry_tools.registry


class TestFollow:
    """`follow()` gives recorded events for ever, as they come: nothing missed, nothing twice."""

    @pytest.mark.parametrize("batch", [1, 3, 1_000])
    def test_nothing_is_missed_and_nothing_comes_twice_beside_writers(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, batch: int
    ) -> None:
        monkeypatch.setattr("versioning.reading.follower.FOLLOWED_EVENTS", batch)
        registry = store()
        deploy(registry, "before")
        seen: list[Recorded] = []
        with registry.follow(poll_s=30) as follower:

            def follow() -> None:
                seen.extend(itertools.islice(follower, 121))

            def write(name: str) -> Callable[[], None]:
                def run() -> None:
                    for _ in range(20):
                        deploy(registry, name, publish=True)

                return run

            in_threads(follow, write("a"), write("b"), write("a"))
            assert seen == list(registry.history())
            assert follower.position == seen[-1].position == registry.position()

    def test_it_begins_behind_a_position(self, registry: ModelRegistry) -> None:
        for _ in range(3):
            deploy(registry)
        with registry.follow(after=2) as follower:
            assert iter(follower) is follower
            assert next(follower).position == 3
            deploy(registry)
            assert next(follower).position == follower.position == 4

    def test_what_another_registry_records_comes_too(self, shared_store: Store) -> None:
        first, second = shared_store(), shared_store()
        seen: list[Recorded] = []
        with first.follow(poll_s=30) as follower:
            in_threads(
                lambda: seen.extend(itertools.islice(follower, 40)),
                *(lambda: [deploy(second, publish=True) for _ in range(10)] for _ in range(2)),
            )
        assert seen == list(second.history())

    def test_closing_ends_it_from_another_thread(self, registry: ModelRegistry) -> None:
        follower = registry.follow(poll_s=60)
        started = threading.Event()
        ended: list[str] = []

        def follow() -> None:
            started.set()
            ended.extend(recorded.model_name for recorded in follower)
            ended.append("ended")

        def close() -> None:
            started.wait()
            deploy(registry)
            follower.close()

        in_threads(follow, close)
        assert ended in (["ended"], [NAME, "ended"])
        assert list(follower) == []
        follower.close()

    def test_it_waits_no_longer_than_it_was_told(
        self, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        follower = registry.follow(poll_s=0.001)
        waits: list[float] = []

        def wait(timeout_s: float) -> bool:
            waits.append(timeout_s)
            if len(waits) == 3:
                deploy(registry)
            return False

        monkeypatch.setattr(follower._waiter, "wait", wait)
        assert next(follower).sequence == 1
        assert waits == [0.001] * 3
        follower.close()

    @pytest.mark.parametrize(
        "wrong", [{"after": -1}, {"after": True}, {"poll_s": 0}, {"poll_s": "1"}, {"poll_s": None}]
    )
    def test_anything_else_is_an_error(self, registry: ModelRegistry, wrong: dict[str, Any]) -> None:
        with refused(registry, InvalidArgumentError):
            registry.follow(**wrong)
