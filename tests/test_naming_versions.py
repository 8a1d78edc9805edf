"""R5: a version is named by its id, by the `Version`, or by an address."""

import pytest

from versioning import (
    InvalidArgumentError,
    InvalidNameError,
    ModelRegistry,
    NoPrimaryVersionError,
    VersionNotFoundError,
)
from versioning.addresses import Address, expected_in, expected_of, target_of
from versioning.aggregate import ModelAggregate
from versioning.commands import Expect


@pytest.fixture
def registry() -> ModelRegistry:
    return ModelRegistry("memory:")


def state_of(registry: ModelRegistry, name: str) -> ModelAggregate:
    events = list(registry.history(name))
    state = ModelAggregate(events[0].stream, events[0].workspace, name)
    state.take(recorded.event for recorded in events)
    return state


def test_an_id_and_a_version_are_themselves(registry: ModelRegistry) -> None:
    version = registry.deploy("s3://x", model_name="fraud")
    assert target_of(version.version_id) == target_of(version) == version.version_id


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("fraud@0.1.0", Address("fraud", "0.1.0")),
        ("fraud@primary", Address("fraud", "primary")),
        ("team@fraud@0.1.0", Address("team@fraud", "0.1.0")),
        ("cafe\u0301@0.1.0", Address("caf\u00e9", "0.1.0")),
        ("fraud@whatever", Address("fraud", "whatever")),
    ],
)
def test_the_last_at_splits(text: str, address: Address) -> None:
    assert target_of(text) == address


@pytest.mark.parametrize("text", ["fraud", "0.1.0", "", "fraud@", 7, None, b"fraud@0.1.0"])
def test_what_names_no_version_is_an_input_error(text: object) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        target_of(text)
    assert refused.value.rule == "R5"


@pytest.mark.parametrize("text", ["@0.1.0", " fraud@0.1.0", "a\nb@primary"])
def test_the_name_before_it_has_to_be_one(text: str) -> None:
    with pytest.raises(InvalidNameError):
        target_of(text)


def test_an_address_is_found_in_a_state(registry: ModelRegistry) -> None:
    first = registry.deploy("s3://x", model_name="fraud")
    assert Address("fraud", "0.1.0").find(state_of(registry, "fraud")) == first
    with pytest.raises(NoPrimaryVersionError):
        Address("fraud", "primary").find(state_of(registry, "fraud"))
    for word in ("0.2.0", "latest", "^0.1", "Primary"):
        with pytest.raises(VersionNotFoundError):
            Address("fraud", word).find(state_of(registry, "fraud"))
    published = registry.publish(first.version_id)
    assert Address("fraud", "primary").find(state_of(registry, "fraud")) == published


def test_deleted_numbers_are_found(registry: ModelRegistry) -> None:
    first = registry.deploy("s3://x", model_name="fraud")
    registry.deploy("s3://y", model_name="fraud")
    registry.delete(first.version_id)
    assert Address("fraud", "0.1.0").find(state_of(registry, "fraud")).status == "deleted"


def test_what_is_expected_to_be_primary(registry: ModelRegistry) -> None:
    version = registry.deploy("s3://x", model_name="fraud")
    state = state_of(registry, "fraud")
    assert expected_of(None) is None
    assert expected_of(Expect.ANYTHING) is Expect.ANYTHING
    assert expected_in(state, expected_of(version)) == version.version_id
    assert expected_in(state, expected_of("fraud@0.1.0")) == version.version_id
    assert expected_in(state, expected_of("other@0.1.0")) == "other@0.1.0"
    with pytest.raises(VersionNotFoundError):
        expected_in(state, expected_of("fraud@0.9.0"))


@pytest.mark.parametrize("text", ["fraud@primary", "fraud@staging"])
def test_an_expectation_is_a_version_and_no_role(text: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        expected_of(text)
    assert refused.value.rule == "R22"
