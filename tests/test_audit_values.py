"""What verification, checkpoints, log files, differences and replays give can be written as JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from versioning import ModelRegistry
from versioning.audit.log_check import ExportedVersion
from versioning.audit.verify import Finding
from versioning.reading.replay import transitions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from versioning.events import Value

NOW = datetime(2026, 3, 14, 14, 3, tzinfo=UTC)


@pytest.fixture
def registry() -> Iterator[ModelRegistry]:
    with ModelRegistry("memory:", clock=lambda: NOW) as registry:
        registry.deploy("s3://x", model_name="fraud", actor="ada")
        registry.deploy("s3://y", model_name="fraud", publish=True)
        yield registry


def written(value: Value) -> dict[str, Any]:
    """What a client reads; its names are those of attributes, and numbers, null and truth are what they are."""
    members: dict[str, Any] = json.loads(json.dumps(value.to_dict(), allow_nan=False))
    assert members == value.to_dict()
    for name, member in members.items():
        held = getattr(value, name)
        if held is None or isinstance(held, str | int):
            assert (type(member), member) == (type(held), held)
    return members


def test_a_verification(registry: ModelRegistry) -> None:
    found = registry.verify()
    assert written(found) == {
        "ok": True, "position": 3, "count": 3, "findings": [], "not_proven": list(found.not_proven),
    }  # fmt: skip


def test_a_finding() -> None:
    finding = Finding("changed", "At position 3, event 2 of fraud is not what its link was made from.", 3, None, 2)
    assert written(finding) == {
        "kind": "changed", "sentence": finding.sentence, "position": 3, "stream": None, "sequence": 2,
        "model_name": None,
    }  # fmt: skip


def test_a_checkpoint(registry: ModelRegistry) -> None:
    checkpoint = registry.checkpoint()
    assert written(checkpoint) == {
        "position": 3, "count": 3, "head": checkpoint.head, "moment": "2026-03-14T14:03:00Z",
        "marks": [list(mark) for mark in checkpoint.marks], "signature": None,
    }  # fmt: skip
    assert len(checkpoint.marks) == 2


def test_a_log_file(registry: ModelRegistry, tmp_path: Path) -> None:
    model_id = registry.model("fraud").model_id
    members = written(registry.export(tmp_path / "log.ndjson"))
    versions = members.pop("versions")
    assert members == {"workspace": "default", "model_name": None, "events": 3, "imported": 0}
    assert versions[1] == {
        "model": "fraud", "model_id": model_id, "number": "0.2.0", "stage": "published", "status": "active",
        "is_primary": True,
    }  # fmt: skip
    assert ExportedVersion(**versions[1]).to_dict() == versions[1]


def test_an_import_counts_what_it_recorded_and_a_dry_run_what_it_would_record(
    registry: ModelRegistry, tmp_path: Path
) -> None:
    registry.export(tmp_path / "log.ndjson")
    with ModelRegistry("memory:") as other:
        assert other.import_log(tmp_path / "log.ndjson", dry_run=True).imported == 3
        assert other.position() == 0
        assert other.import_log(tmp_path / "log.ndjson").imported == 3
        assert other.import_log(tmp_path / "log.ndjson", dry_run=True).imported == 0
        assert other.import_log(tmp_path / "log.ndjson").imported == 0


def test_a_difference_and_its_changes(registry: ModelRegistry) -> None:
    difference = registry.diff(1)
    members = written(difference)
    assert (members["then"], members["changes"]) == (1, [change.to_dict() for change in difference.changes])
    primary = difference.changes[0]
    assert written(primary) == {
        "model_name": "fraud", "model_id": primary.model_id, "what": "primary", "before": None, "after": "0.2.0",
        "sentence": "the primary of fraud was none and is 0.2.0", "version_id": None, "number": None,
    }  # fmt: skip
    assert written(registry.diff(NOW))["then"] == "2026-03-14T14:03:00Z"


def test_a_replayed_event_has_the_models_around_it(registry: ModelRegistry) -> None:
    first, *_, last = registry.replay("fraud")
    assert written(first)["before"] is None
    members = written(last)
    assert (members["recorded"], members["sentence"]) == (last.recorded.to_dict(), last.sentence)
    assert members["before"]["primary"] is None
    assert members["after"]["primary"]["number"] == "0.2.0"


def test_a_transition_where_nothing_changed(registry: ModelRegistry) -> None:
    registry.promote("fraud@primary", idempotency_key="k")
    *_, last = transitions(registry.history())
    assert (last.what, last.before, last.after, last.number) == ("nothing", None, None, "0.2.0")
    assert last.sentence == "somebody asked to promote 0.2.0 of fraud, which changed nothing"
    assert last.recorded.event.to_dict() == {
        "event": "NothingChanged", "command": "promote", "version_id": last.recorded.version_id,
        "timestamp": "2026-03-14T14:03:00Z",
    }  # fmt: skip


def test_a_transition(registry: ModelRegistry) -> None:
    *_, last = transitions(registry.history())
    assert written(last) == {
        "recorded": last.recorded.to_dict(), "what": "primary", "before": None, "after": "0.2.0", "number": "0.2.0",
        "primary": last.primary, "sentence": last.sentence,
    }  # fmt: skip
