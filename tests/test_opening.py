"""What is a registry opened with, and what is it after closing?"""

# ruff: noqa: ANN401 - what is refused is of any type

from __future__ import annotations

import contextlib
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import registry_tools, stores
from tests.registry_tools import BY_NAME, BY_VERSION, DAY, NAME, deploy, state_of
from tests.stores import START, Store, facts, in_threads
from versioning import InvalidArgumentError, ModelNotFoundError, ModelRegistry, Policy, StoreError
from versioning.store.opening import holds_store

if TYPE_CHECKING:
    from collections.abc import Callable

store = stores.store
shared_store = stores.shared_store
registry = registry_tools.registry

WHOLE: dict[str, Callable[[ModelRegistry], object]] = {
    "deploy": lambda registry: deploy(registry, "another"),
    "models": lambda registry: registry.models(),
    "active": lambda registry: registry.active(),
    "billable": lambda registry: registry.billable(),
    "history": lambda registry: list(registry.history()),
    "usage": lambda registry: registry.usage(START, START + DAY),
    "at": lambda registry: registry.at(0),
    "at_moment": lambda registry: registry.at(START).models(),
    "follow": lambda registry: next(registry.follow()),
    "rebuild": lambda registry: registry.rebuild(),
}
"""All that is asked of a whole workspace."""


class TestWhetherThereIsAStore:
    def test_it_is_told_and_none_is_made(self, shared_store: Store) -> None:
        assert holds_store(shared_store.url) is False
        assert holds_store(shared_store.url) is False
        with shared_store():
            pass
        assert holds_store(shared_store.url) is True

    def test_of_files_that_are_empty_or_none_and_of_memory(self, tmp_path: Path) -> None:
        (tmp_path / "empty.db").touch()
        (tmp_path / "there.db").write_bytes(b"x")
        places = (tmp_path / "empty.db", tmp_path / "no.db", tmp_path / "there.db" / "x", "memory:", Path("x" * 5_000))
        assert [holds_store(place) for place in places] == [False] * 5
        assert holds_store(tmp_path / "there.db") is True

    @pytest.mark.parametrize("place", ["", "x.db", "sqlite://x", "mysql://x", "postgresql://h/d/e", None, 1])
    def test_what_is_no_place_is_refused_as_opening_does(self, place: Any) -> None:
        with pytest.raises(InvalidArgumentError):
            holds_store(place)

    def test_a_server_that_can_not_be_reached_is_a_store_error(self) -> None:
        with pytest.raises(StoreError):
            holds_store("postgresql://nobody@127.0.0.1:1/x?connect_timeout_s=1")


class TestOpening:
    def test_context_manager_and_close(self, store: Store) -> None:
        with store() as registry:
            assert registry.models() == ()
        registry.close()
        with pytest.raises(StoreError):
            registry.models()

    @pytest.mark.parametrize("use", WHOLE)
    def test_use_after_close_is_a_store_error(self, registry: ModelRegistry, use: str) -> None:
        deploy(registry)
        registry.close()
        with pytest.raises(StoreError):
            WHOLE[use](registry)

    @pytest.mark.parametrize("use", BY_NAME)
    def test_so_for_everything_by_name(self, registry: ModelRegistry, use: str) -> None:
        deploy(registry, publish=True)
        registry.close()
        with pytest.raises(StoreError):
            BY_NAME[use](registry, NAME)

    @pytest.mark.parametrize("use", BY_VERSION)
    def test_so_for_everything_by_version(self, registry: ModelRegistry, use: str) -> None:
        version = deploy(registry)
        registry.close()
        with pytest.raises(StoreError):
            BY_VERSION[use](registry, version.version_id)

    def test_what_was_made_before_is_closed_with_it(self, registry: ModelRegistry) -> None:
        deploy(registry)
        past, follower, history = registry.at(1), registry.follow(after=1, poll_s=30), registry.history()
        registry.close()
        for use in (past.models, lambda: past.model(NAME), lambda: next(follower), lambda: next(history)):
            with pytest.raises(StoreError):
                use()
        follower.close()

    def test_a_store_is_what_it_was_after_a_restart(self, shared_store: Store) -> None:
        with shared_store() as registry:
            for _ in range(3):
                deploy(registry, publish=True)
            registry.rollback(NAME)
            before = state_of(registry)
        with shared_store() as registry:
            assert state_of(registry) == before

    def test_a_path_is_taken_literally(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        odd = tmp_path / "a%20b?c.db"
        with ModelRegistry(odd) as registry:
            deploy(registry)
        assert odd.exists()
        with ModelRegistry("sqlite:///a%2520b%3Fc.db") as registry:
            assert registry.model(NAME).name == NAME

    @pytest.mark.parametrize(
        "url", ["", "models.db", "mysql://x", "sqlite:/x", "sqlite:///", "memory", 7, b"memory:", True]
    )
    def test_any_other_url_is_an_error(self, url: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(InvalidArgumentError):
            ModelRegistry(url)
        assert list(tmp_path.iterdir()) == []

    def test_a_store_that_can_not_be_opened_is_a_store_error(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError):
            ModelRegistry(tmp_path / "no such folder" / "models.db")
        with pytest.raises(StoreError):
            ModelRegistry(tmp_path)
        (tmp_path / "text.db").write_text("not a database, but long enough to be taken for one" * 100)
        with pytest.raises(StoreError):
            ModelRegistry(tmp_path / "text.db")

    @pytest.mark.parametrize(
        ("argument", "value"),
        [
            ("policy", "refuse"), ("policy", {}), ("policy", Policy), ("artifacts", 1), ("artifacts", ""),
            ("artifacts", "a\0b"), ("artifacts", b"x"), ("serializer", "nonsense"), ("serializer", 1),
        ],
    )  # fmt: skip
    def test_arguments_are_looked_at(self, argument: str, value: Any) -> None:
        with pytest.raises(InvalidArgumentError):
            ModelRegistry("memory:", **{argument: value})

    @pytest.mark.parametrize("wrong", [{"losing_primary": "x"}, {"publishing_claims": 1}, {"activation": None}])
    def test_a_policy_is_made_of_known_words(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(InvalidArgumentError):
            Policy(**wrong)

    def test_the_cache_is_bounded(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("versioning.reading.streams.CACHED_MODELS_MAX", 2)
        registry = store()
        first = {name: deploy(registry, name) for name in "abcd"}
        assert len(registry._streams._cached) == 2
        for name, version in first.items():
            assert registry.publish(version.version_id).is_primary
            assert registry.model(name).primary == registry.version(version.version_id)
            assert len(registry._streams._cached) == 2

    def test_models_that_are_not_there_are_not_cached(self, registry: ModelRegistry) -> None:
        for use in BY_NAME.values():
            with contextlib.suppress(ModelNotFoundError):
                use(registry, NAME)
        assert len(registry._streams._cached) == 0

    def test_two_threads_that_open_one_model_share_what_is_cached(self, shared_store: Store) -> None:
        version = deploy(shared_store())
        registry = shared_store()
        in_threads(*[lambda: registry.publish(version.version_id)] * 8)
        assert facts(registry.history()) == ["VersionDeployed", "VersionPublished", "VersionPromoted"]


class TestOneInAProgram:
    """What a programmer meets who looks at a registry, or hands it to another process."""

    def test_its_repr_has_the_place_and_no_secret(self, tmp_path: Path) -> None:
        with ModelRegistry(tmp_path / "models.db", workspace="ours") as registry:
            assert repr(registry).endswith("models.db') workspace='ours'>")

    def test_pickling_it_says_what_to_do_instead(self, registry: ModelRegistry) -> None:
        with pytest.raises(TypeError, match="pass its URL, and open a registry where it is needed"):
            pickle.dumps(registry)
