"""Every value that users get can be written as JSON, under the names of its attributes."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from versioning import ModelRegistry, Policy
from versioning.events import EVENTS, ArtifactRef, Value, as_json, rfc3339

NOW = datetime(2026, 3, 14, 14, 3, tzinfo=UTC)


@pytest.fixture
def registry() -> ModelRegistry:
    registry = ModelRegistry("memory:", clock=lambda: NOW, policy=Policy(activation="awaited"))
    deployed = registry.deploy("s3://x", model_name="fraud", publish=True, actor="ada", metadata={"auc": 0.9})
    assert deployed.activation_id is not None
    registry.complete_activation(deployed.version_id, deployed.activation_id)
    registry.deploy("s3://y", model_name="fraud")
    return registry


def read_back(value: Value) -> dict[str, Any]:
    """What a client reads."""
    members = json.loads(json.dumps(value.to_dict(), allow_nan=False))
    assert members == value.to_dict()
    return dict(members)


def test_a_version(registry: ModelRegistry) -> None:
    version = registry.primary("fraud")
    assert version is not None
    assert read_back(version) == {
        "version_id": version.version_id, "model_id": version.model_id, "workspace": "default", "model_name": "fraud",
        "number": "0.1.0", "stage": "published", "status": "active", "is_primary": True, "is_billable": True,
        "artifact": {"uri": "s3://x", "digest": None, "size_bytes": None, "media_type": None},
        "deployed_at": "2026-03-14T14:03:00Z", "deployed_by": "ada", "published_at": "2026-03-14T14:03:00Z",
        "activation_id": None, "waiting_since": None, "attempts": 1, "failure": None, "metadata": {"auc": 0.9},
    }  # fmt: skip


def test_a_model(registry: ModelRegistry) -> None:
    model = registry.model("fraud")
    members = read_back(model)
    assert (members["name"], members["deleted_at"]) == ("fraud", None)
    assert members["primary"] == model.versions[0].to_dict()
    assert members["versions"] == [version.to_dict() for version in model.versions]
    assert (members["active"], members["billable"]) == (["0.1.0"], ["0.1.0", "0.2.0"])


def test_an_event_of_the_log_says_who_what_and_when(registry: ModelRegistry) -> None:
    deployed, _, promoted, _ = registry.history("fraud")
    assert read_back(deployed)["facts"]["metadata"] == {"auc": 0.9}
    assert read_back(promoted) == {
        "position": 3, "bookmark": f"pos_3_{promoted.chain[:32]}", "timestamp": "2026-03-14T14:03:00Z",
        "workspace": "default", "model_name": "fraud", "model_id": promoted.model_id,
        "version_id": promoted.version_id, "sequence": 3, "event": "VersionPromoted",
        "facts": {"version_id": promoted.version_id, "previous": None, "cause": "published"}, "actor": None,
        "reason": None, "correlation_id": None, "idempotency_key": None, "event_id": promoted.event_id,
    }  # fmt: skip


def test_every_event_is_written_without_its_clock(registry: ModelRegistry) -> None:
    assert all(issubclass(event, Value) for event in EVENTS.values())
    written = [read_back(recorded.event) for recorded in registry.history()]
    assert [one["event"] for one in written] == [
        "VersionDeployed", "VersionActivated", "VersionPromoted", "VersionDeployed"
    ]  # fmt: skip
    assert {one["timestamp"] for one in written} == {"2026-03-14T14:03:00Z"}
    assert not any("at_us" in one for one in written)


def test_a_bill_has_real_numbers(registry: ModelRegistry) -> None:
    registry._clock = lambda: NOW + timedelta(minutes=90)
    usage = registry.usage(NOW, NOW + timedelta(hours=1))
    members = read_back(usage)
    assert (members["total_hours"], members["total_microseconds"]) == (2.0, 7_200_000_000)
    assert [line["hours"] for line in members["lines"]] == [1.0, 1.0]
    assert members["lines"][0]["closed_by"] is None


def test_moments_are_in_utc() -> None:
    assert rfc3339(datetime(2026, 3, 14, 16, 3, 0, 5, timezone(timedelta(hours=2)))) == "2026-03-14T14:03:00.000005Z"


def test_what_json_can_not_hold_is_refused() -> None:
    assert as_json({"artifact": ArtifactRef("s3://x")}) == {"artifact": ArtifactRef("s3://x").to_dict()}
    with pytest.raises(TypeError, match="JSON has no form for a bytes"):
        as_json(b"x")


def test_what_the_views_are_and_pass_over_and_what_a_policy_chooses(registry: ModelRegistry) -> None:
    models = registry.views()[0]
    assert read_back(models) == {
        "name": models.name, "position": models.position, "behind": 4 - models.position, "stopped_by": None,
        "problem": None,
    }  # fmt: skip
    registry.skip(2, actor="ada", reason="damaged")
    (skipped,) = registry.skipped()
    assert read_back(skipped) == {
        "position": 2, "skipped_at": rfc3339(skipped.skipped_at), "actor": "ada", "reason": "damaged"
    }  # fmt: skip
    assert read_back(registry.policy) == {
        "losing_primary": "fall_back", "publishing_claims": True, "activation": "awaited"
    }  # fmt: skip
