"""What may come in, and is it read back exactly (R28)? On every store; the limits themselves: `test_limits.py`."""

# ruff: noqa: ANN401 - what is refused is of any type

from __future__ import annotations

from typing import Any

import pytest

from tests import registry_tools, stores
from tests.registry_tools import NAME, deploy, nothing_recorded, refused
from tests.stores import START
from versioning import InvalidArgumentError, ModelRegistry
from versioning.events import VersionActivationFailed

store = stores.store
registry = registry_tools.registry
awaited = registry_tools.awaited


def why(argument: str, text: str) -> Any:
    """Give one of actor, reason, idempotency_key and correlation_id."""
    return {argument: text}


def nested(depth: int) -> dict[str, Any]:
    """Give metadata of so many levels, `{}` being 1."""
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


class TestR28Limits:
    """Limits, refused before anything is recorded; what is accepted is read back exactly."""

    @pytest.mark.parametrize("character", ["x", "é", "\U0001f600"])
    @pytest.mark.parametrize(
        ("argument", "most"),
        [("reason", 2_000), ("actor", 200), ("idempotency_key", 200), ("correlation_id", 200)],
    )
    def test_who_why_and_key(self, registry: ModelRegistry, argument: str, most: int, character: str) -> None:
        text = character * most
        version = deploy(registry, **{argument: text})
        (recorded,) = registry.history()
        assert getattr(recorded, argument) == text
        with refused(registry, InvalidArgumentError, "R28"):
            deploy(registry, **{argument: text + character})
        with refused(registry, InvalidArgumentError, "R28"):
            registry.publish(version.version_id, promote=None, **why(argument, text + character))

    @pytest.mark.parametrize("argument", ["actor", "idempotency_key"])
    def test_no_control_characters_in_actors_and_keys(self, registry: ModelRegistry, argument: str) -> None:
        for text in ("a\nb", "\x00", "a\x7f", "\x9f"):
            with refused(registry, InvalidArgumentError, "R28"):
                deploy(registry, **{argument: text})

    @pytest.mark.parametrize("argument", ["actor", "reason", "idempotency_key", "correlation_id"])
    def test_no_lone_surrogates_anywhere(self, registry: ModelRegistry, argument: str) -> None:
        with refused(registry, InvalidArgumentError, "R28"):
            deploy(registry, **{argument: "a\ud800"})

    @pytest.mark.parametrize("argument", ["actor", "reason", "idempotency_key", "correlation_id"])
    def test_blank_is_not_left_out(self, registry: ModelRegistry, argument: str) -> None:
        for text in ("", " ", "\u3000"):
            with refused(registry, InvalidArgumentError, "R28"):
                deploy(registry, **{argument: text})

    @pytest.mark.parametrize("argument", ["reason", "correlation_id"])
    def test_reasons_and_correlations_may_have_any_other_character(
        self, registry: ModelRegistry, argument: str
    ) -> None:
        text = "a\x00\t\r\n\x1f\x7f\u202e\ufeff\uffff\U0010ffff \u2028\"'\\"
        deploy(registry, **{argument: text})
        (recorded,) = registry.history()
        assert getattr(recorded, argument) == text

    def test_a_uri(self, registry: ModelRegistry) -> None:
        uri = "s3://" + "ü" * 1_995
        assert registry.deploy(uri, model_name=NAME).artifact.uri == uri
        for wrong in (uri + "x", "", " ", "a\nb", "\ud800"):
            with refused(registry, InvalidArgumentError, "R28"):
                registry.deploy(wrong, model_name=NAME)

    def test_a_failure_text_is_cut_with_a_mark_and_never_refused_for_its_length(self, awaited: ModelRegistry) -> None:
        for text, kept in (
            ("x" * 8_000, "x" * 8_000),
            ("x" * 8_001, "x" * 7_999 + "…"),
            ("\U0001f600" * 20_000, "\U0001f600" * 7_999 + "…"),
            ("", ""),
            ("a\x00\n", "a\x00\n"),
        ):
            waiting = deploy(awaited)
            failed = awaited.fail_activation(waiting.version_id, str(waiting.activation_id), error=text)
            assert failed.failure == kept
            assert awaited.version(waiting.version_id).failure == kept
            (recorded,) = list(awaited.history(waiting.version_id))[-1:]
            assert isinstance(recorded.event, VersionActivationFailed)
            assert recorded.event.error == kept
        waiting = deploy(awaited)
        everything_else: list[Any] = ["\ud800", None, 1, b"x", Exception("x")]
        for wrong in everything_else:
            with refused(awaited, InvalidArgumentError):
                awaited.fail_activation(waiting.version_id, str(waiting.activation_id), error=wrong)

    @pytest.mark.parametrize(
        "metadata",
        [
            {"a": "x" * (16_384 - 8)},
            {"a": "é" * ((16_384 - 8) // 2)},
            {"a": "\U0001f600" * ((16_384 - 8) // 4)},
            nested(8),
            {"a": [[[[[[[]]]]]]]},
            {"z": 1, "a": [None, True, False, 0, -1, 10**100, 1.5, 1e300, -0.0, "\x00\n\u2028"], "": {"b": {}}},
            {},
        ],
    )
    def test_metadata_is_read_back_exactly(self, registry: ModelRegistry, metadata: dict[str, Any]) -> None:
        version = deploy(registry, metadata=metadata)
        for read in (version, registry.version(version.version_id), registry.at(1).version(version.version_id)):
            assert read.metadata == metadata
            assert repr(read.metadata) == repr({key: metadata[key] for key in sorted(metadata)})
        read = registry.version(version.version_id)
        read.metadata["changed"] = True
        assert read.metadata == metadata

    @pytest.mark.parametrize(
        "metadata",
        [
            {"a": "x" * (16_384 - 7)},
            {"a": "é" * ((16_384 - 8) // 2) + "x"},
            nested(9),
            {"a": [[[[[[[[]]]]]]]]},
            {"a": float("nan")}, {"a": float("inf")}, {"a": 10**5_000}, {1: 2}, {None: 1}, {"a": {2: 3}},
            {"a": "\ud800"}, {"\udfff": 1}, {"a": b"x"}, {"a": (1, 2)}, {"a": {1, 2}}, {"a": START},
            {"a": object()}, {"a": 1j}, [], "{}", 1, b"{}",
        ],
    )  # fmt: skip
    def test_metadata_that_can_not_be_given_back_is_refused(self, registry: ModelRegistry, metadata: Any) -> None:
        with refused(registry, InvalidArgumentError, "R28"):
            deploy(registry, metadata=metadata)

    def test_metadata_that_holds_itself_is_refused(self, registry: ModelRegistry) -> None:
        metadata: dict[str, Any] = {}
        metadata["self"] = metadata
        with refused(registry, InvalidArgumentError, "R28"):
            deploy(registry, metadata=metadata)

    @pytest.mark.parametrize("flag", [None, 1, 0, "True", "", []])
    def test_a_flag_is_true_or_false(self, registry: ModelRegistry, flag: Any) -> None:
        version = deploy(registry)
        with refused(registry, InvalidArgumentError):
            deploy(registry, publish=flag)
        if flag is not None:
            with refused(registry, InvalidArgumentError):
                deploy(registry, publish=True, promote=flag)
            with refused(registry, InvalidArgumentError):
                registry.publish(version.version_id, promote=flag)

    def test_an_unknown_keyword_is_a_type_error(self, registry: ModelRegistry) -> None:
        version = deploy(registry)
        with nothing_recorded(registry):
            for call in (deploy, lambda registry, **how: registry.publish(version.version_id, **how)):
                with pytest.raises(TypeError):
                    call(registry, why="x")
