"""What the tests of the registry have in common: how to get a model into a state, and how to see a refusal.

These tests run on every store; what is about SQLite or about files says so. A test module takes the fixtures over by
name, and the one that they ask for:

    store = stores.store
    registry = registry_tools.registry
"""

# ruff: noqa: ANN401 - what stands in for a method or a command takes whatever that takes

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.stores import START, Store
from versioning import Model, ModelRegistry, Policy, Version, VersioningError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from versioning.reading.questions import Questions

URI = "s3://bucket/model"
NAME = "churn"
DAY = timedelta(days=1)
AWAITED = Policy(activation="awaited")
NOT_TEXT: Any = 7
AN_ID = "ver_0123456789ab8def8123456789abcdef_1_01234567"
"""Of the right form, and of no version."""


@pytest.fixture
def registry(store: Store) -> ModelRegistry:
    return store()


@pytest.fixture
def awaited(store: Store) -> ModelRegistry:
    return store(policy=AWAITED)


def deploy(registry: ModelRegistry, name: str = NAME, **how: Any) -> Version:
    """Deploy a draft, or what is asked for."""
    return registry.deploy(URI, model_name=name, **how)


def serving(registry: ModelRegistry, name: str = NAME, **how: Any) -> Version:
    """Deploy a published version and see it active, whatever the policy."""
    version = deploy(registry, name, publish=True, **how)
    if version.activation_id is None:
        return version
    return registry.complete_activation(version.version_id, version.activation_id)


def active_and_primary(registry: ModelRegistry) -> tuple[str, str]:
    """Give an active version and the primary."""
    return serving(registry).version_id, serving(registry).version_id


def numbers(versions: tuple[Version, ...]) -> list[str]:
    return [version.number for version in versions]


def noted(calls: list[Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """Give the same function, which notes what it was called with."""

    def call(*given: Any, **how: Any) -> Any:
        calls.append(given)
        return function(*given, **how)

    return call


@contextlib.contextmanager
def nothing_recorded(registry: ModelRegistry) -> Iterator[None]:
    before = list(registry.history())
    yield
    assert list(registry.history()) == before


@contextlib.contextmanager
def refused(registry: ModelRegistry, error: type[VersioningError], rule: str | None = None) -> Iterator[None]:
    """See an error raised, by a rule, and nothing recorded."""
    with nothing_recorded(registry), pytest.raises(error) as caught:
        yield
    assert type(caught.value) is error
    assert rule is None or caught.value.rule == rule


def state_of(questions: Questions, name: str = NAME) -> list[object]:
    """Give all that one model's questions answer, or how they refuse."""

    def ask(question: Callable[[], object]) -> object:
        try:
            return question()
        except VersioningError as error:
            return type(error)

    return [
        ask(lambda: questions.model(name)),
        ask(lambda: questions.versions(name, include_deleted=True)),
        ask(lambda: questions.primary(name)),
        ask(lambda: questions.active(name)),
        ask(lambda: questions.billable(name)),
        ask(lambda: questions.resolve(name)),
        ask(lambda: questions.resolve(name, "^0.1")),
        ask(lambda: list(questions.history(name))),
        ask(questions.models),
        ask(questions.active),
        ask(questions.billable),
        ask(lambda: list(questions.history())),
    ]


BY_VERSION: dict[str, Callable[[ModelRegistry, str], object]] = {
    "publish": lambda registry, version_id: registry.publish(version_id),
    "promote": lambda registry, version_id: registry.promote(version_id),
    "deactivate": lambda registry, version_id: registry.deactivate(version_id),
    "activate": lambda registry, version_id: registry.activate(version_id),
    "complete_activation": lambda registry, version_id: registry.complete_activation(
        version_id, f"act_{version_id[4:]}_1"
    ),
    "fail_activation": lambda registry, version_id: registry.fail_activation(
        version_id, f"act_{version_id[4:]}_1", error="x"
    ),
    "delete": lambda registry, version_id: registry.delete(version_id),
    "version": lambda registry, version_id: registry.version(version_id),
    "allowed": lambda registry, version_id: registry.allowed(version_id),
    "history": lambda registry, version_id: registry.history(version_id),
    "preview": lambda registry, version_id: registry.preview.promote(version_id),
    "at": lambda registry, version_id: registry.at(START).version(version_id),
}
"""All that takes a version_id and nothing else."""

BY_NAME: dict[str, Callable[[ModelRegistry, str], object]] = {
    "rollback": lambda registry, name: registry.rollback(name),
    "delete_model": lambda registry, name: registry.delete_model(name),
    "clear_primary": lambda registry, name: registry.clear_primary(name),
    "model": lambda registry, name: registry.model(name),
    "version": lambda registry, name: registry.version(f"{name}@0.1.0"),
    "versions": lambda registry, name: registry.versions(name),
    "primary": lambda registry, name: registry.primary(name),
    "active": lambda registry, name: registry.active(name),
    "billable": lambda registry, name: registry.billable(name),
    "resolve": lambda registry, name: registry.resolve(name),
    "resolve_number": lambda registry, name: registry.resolve(name, "0.1.0"),
    "resolve_range": lambda registry, name: registry.resolve(name, "^0.1"),
    "resolve_id": lambda registry, name: registry.resolve(name, AN_ID),
    "history": lambda registry, name: registry.history(name),
    "usage": lambda registry, name: registry.usage(START, START + DAY, name),
    "preview": lambda registry, name: registry.preview.rollback(name),
    "at": lambda registry, name: registry.at(START).model(name),
    "load": lambda registry, name: registry.load(name),
    "invoke": lambda registry, name: registry.invoke(name, []),
}
"""All that takes the name of a model that is there."""


Keyed = tuple["Callable[[ModelRegistry, str], Version | Model]", "Callable[[ModelRegistry, str], object]"]


def _keyed_deploy(_: ModelRegistry) -> Keyed:
    return (
        lambda registry, key: deploy(registry, idempotency_key=key),
        lambda registry, key: deploy(registry, idempotency_key=key, version_bump="MAJOR"),
    )


def _keyed_publish(registry: ModelRegistry) -> Keyed:
    draft = deploy(registry).version_id
    return (
        lambda registry, key: registry.publish(draft, idempotency_key=key),
        lambda registry, key: registry.publish(draft, promote=False, idempotency_key=key),
    )


def _keyed_promote(registry: ModelRegistry) -> Keyed:
    version_id, primary = active_and_primary(registry)
    return (
        lambda registry, key: registry.promote(version_id, idempotency_key=key),
        lambda registry, key: registry.promote(version_id, expected_primary=primary, idempotency_key=key),
    )


def _keyed_rollback(registry: ModelRegistry) -> Keyed:
    _, primary = active_and_primary(registry)
    return (
        lambda registry, key: registry.rollback(NAME, expected_primary=primary, idempotency_key=key),
        lambda registry, key: registry.rollback(NAME, idempotency_key=key),
    )


def _keyed_deactivate(registry: ModelRegistry) -> Keyed:
    version_id, primary = active_and_primary(registry)
    return (
        lambda registry, key: registry.deactivate(version_id, idempotency_key=key),
        lambda registry, key: registry.deactivate(version_id, expected_primary=primary, idempotency_key=key),
    )


def _keyed_activate(registry: ModelRegistry) -> Keyed:
    version_id, primary = active_and_primary(registry)
    registry.deactivate(version_id)
    return (
        lambda registry, key: registry.activate(version_id, idempotency_key=key),
        lambda registry, key: registry.activate(primary, idempotency_key=key),
    )


def _keyed_complete(registry: ModelRegistry) -> Keyed:
    waiting = deploy(registry)
    activation_id = str(waiting.activation_id)
    return (
        lambda registry, key: registry.complete_activation(waiting.version_id, activation_id, idempotency_key=key),
        lambda registry, key: registry.complete_activation(
            waiting.version_id, activation_id + "0", idempotency_key=key
        ),
    )


def _keyed_fail(registry: ModelRegistry) -> Keyed:
    waiting = deploy(registry)
    activation_id = str(waiting.activation_id)
    return (
        lambda registry, key: registry.fail_activation(
            waiting.version_id, activation_id, error="x", idempotency_key=key
        ),
        lambda registry, key: registry.fail_activation(
            waiting.version_id, activation_id, error="y", idempotency_key=key
        ),
    )


def _keyed_delete(registry: ModelRegistry) -> Keyed:
    version_id, primary = active_and_primary(registry)
    return (
        lambda registry, key: registry.delete(version_id, idempotency_key=key),
        lambda registry, key: registry.delete(primary, idempotency_key=key),
    )


def _keyed_delete_model(registry: ModelRegistry) -> Keyed:
    deploy(registry)
    return (
        lambda registry, key: registry.delete_model(NAME, idempotency_key=key),
        lambda registry, key: deploy(registry, idempotency_key=key),
    )


def _keyed_clear_primary(registry: ModelRegistry) -> Keyed:
    _, primary = active_and_primary(registry)
    return (
        lambda registry, key: registry.clear_primary(NAME, expected_primary=primary, idempotency_key=key),
        lambda registry, key: registry.clear_primary(NAME, idempotency_key=key),
    )


KEYED: dict[str, Callable[[ModelRegistry], Keyed]] = {
    "deploy": _keyed_deploy,
    "publish": _keyed_publish,
    "promote": _keyed_promote,
    "rollback": _keyed_rollback,
    "deactivate": _keyed_deactivate,
    "activate": _keyed_activate,
    "complete_activation": _keyed_complete,
    "fail_activation": _keyed_fail,
    "delete": _keyed_delete,
    "delete_model": _keyed_delete_model,
    "clear_primary": _keyed_clear_primary,
}
"""What makes a model ready for a command, and gives it and another one, both with a key."""
