"""What would a command do?"""

# ruff: noqa: ANN401 - what is refused is of any type

from __future__ import annotations

import inspect
import secrets
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from tests import registry_tools, stores
from tests.registry_tools import AN_ID, NAME, URI, active_and_primary, deploy, nothing_recorded, refused
from versioning import (
    IdempotencyConflictError,
    InvalidBumpError,
    ModelNotFoundError,
    ModelRegistry,
    Policy,
    PrimaryMovedError,
    VersionNotActiveError,
)
from versioning.commands import COMMANDS
from versioning.events import VersionDeployed, VersionPromoted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.stores import Store

store = stores.store
shared_store = stores.shared_store
registry = registry_tools.registry


def _answer(registry: ModelRegistry, **how: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    version = deploy(registry, publish=True)
    return (version.version_id, version.activation_id or f"act_{version.version_id[4:]}_1"), how


class TestPreview:
    """`preview(command, …)` gives the events that would be recorded, and records nothing."""

    CASES: ClassVar[dict[str, Callable[[ModelRegistry], tuple[tuple[Any, ...], dict[str, Any]]]]] = {
        "deploy": lambda _: ((URI,), {"model_name": NAME, "publish": True, "metadata": {"a": 1}}),
        "publish": lambda registry: ((deploy(registry).version_id,), {}),
        "promote": lambda registry: ((active_and_primary(registry)[0],), {"actor": "ada"}),
        "rollback": lambda registry: ((registry.version(active_and_primary(registry)[0]).model_name,), {}),
        "deactivate": lambda registry: ((active_and_primary(registry)[1],), {}),
        "activate": lambda registry: ((registry.deactivate(deploy(registry, publish=True).version_id).version_id,), {}),
        "complete_activation": _answer,
        "fail_activation": lambda registry: _answer(registry, error="x" * 9_000),
        "delete": lambda registry: ((active_and_primary(registry)[1],), {}),
        "delete_model": lambda registry: ((registry.version(active_and_primary(registry)[0]).model_name,), {}),
        "clear_primary": lambda registry: ((registry.version(active_and_primary(registry)[0]).model_name,), {}),
    }

    @pytest.mark.parametrize("command", CASES)
    @pytest.mark.parametrize("activation", ["instant", "awaited"])
    def test_it_records_nothing_and_equals_what_is_then_recorded(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, command: str, activation: Any
    ) -> None:
        registry = store(policy=Policy(activation=activation))
        given, how = self.CASES[command](registry)
        if command == "activate" and activation == "instant":
            assert registry.primary(NAME) is None
        before = len(list(registry.history()))
        random = secrets.token_hex
        monkeypatch.setattr("secrets.token_hex", lambda size: "0a" * 4 if size == 4 else random(size))
        with nothing_recorded(registry):
            events = getattr(registry.preview, command)(*given, **how)
        getattr(registry, command)(*given, **how)
        assert tuple(recorded.event for recorded in list(registry.history())[before:]) == events
        stale = activation == "instant" and command.endswith("_activation")
        assert bool(events) != stale

    def test_it_is_the_present_though_the_cache_is_not(self, shared_store: Store) -> None:
        first, second = shared_store(), shared_store()
        version_id, primary = active_and_primary(first)
        second.promote(version_id)
        assert first.preview.promote(version_id) == ()
        (event,) = first.preview.promote(primary)
        assert event == VersionPromoted(primary, version_id, "requested", at_us=event.at_us)

    def test_it_raises_what_the_command_would_raise(self, registry: ModelRegistry) -> None:
        version = deploy(registry)
        registry.deactivate(version.version_id)
        with refused(registry, VersionNotActiveError):
            registry.preview.promote(version.version_id)
        with refused(registry, InvalidBumpError):
            registry.preview.deploy(URI, model_name=NAME, version_bump="x")
        with refused(registry, ModelNotFoundError):
            registry.preview.delete_model("chur")
        with refused(registry, PrimaryMovedError):
            registry.preview.delete(version.version_id, expected_primary=AN_ID)

    def test_it_knows_the_idempotency_key(self, registry: ModelRegistry) -> None:
        deploy(registry, idempotency_key="k")
        with nothing_recorded(registry):
            assert registry.preview.deploy(URI, model_name=NAME, idempotency_key="k") == ()
        with refused(registry, IdempotencyConflictError):
            registry.preview.deploy(URI, model_name=NAME, idempotency_key="k", publish=True)
        assert registry.preview.deploy(URI, model_name=NAME, idempotency_key="other") != ()

    def test_it_stores_no_contents(self, store: Store, tmp_path: Path) -> None:
        registry = store(artifacts=tmp_path / "contents")
        (event,) = registry.preview.deploy(b"weights", model_name=NAME)
        assert isinstance(event, VersionDeployed)
        assert not (tmp_path / "contents").exists()
        assert registry.deploy(b"weights", model_name=NAME).artifact == event.artifact

    @pytest.mark.parametrize("command", ["Deploy", "history", "close", "_do", "model"])
    def test_there_are_no_other_commands(self, registry: ModelRegistry, command: str) -> None:
        assert not hasattr(registry.preview, command)

    @pytest.mark.parametrize("command", COMMANDS)
    def test_it_takes_what_the_command_takes(self, registry: ModelRegistry, command: str) -> None:
        preview, real = (inspect.signature(getattr(one, command)) for one in (registry.preview, registry))
        assert preview == real
