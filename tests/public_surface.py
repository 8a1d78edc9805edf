"""The types of the public surface, as a user's checker sees them: checked by mypy and basedpyright, and never run.

`assert_type` fails where a type is not exactly the one that is named; an `ignore` fails where a mistake is not one any
more. To add a method: a line in its section; `test_public.py` finds those that are missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, assert_type

import versioning
from versioning import (
    AsOf,
    Backup,
    Change,
    Checkpoint,
    Collection,
    Deployment,
    Difference,
    Expect,
    Finding,
    Follower,
    History,
    LogFile,
    Model,
    ModelRegistry,
    Policy,
    Preview,
    Recorded,
    Replayed,
    Skipped,
    SkopsSerializer,
    Usage,
    UsageLine,
    Verification,
    Version,
    VersionPromoted,
    ViewStatus,
)
from versioning.events import Event

if TYPE_CHECKING:
    from pathlib import Path


def opening(path: Path) -> None:
    policy = Policy(losing_primary="leave_none", publishing_claims=False, activation="awaited")
    with ModelRegistry(
        path, workspace="acme", policy=policy, artifacts=path.parent, serializer=None, objects_max=8
    ) as registry:
        assert_type(registry, ModelRegistry)
        assert_type(registry.workspace, str)
        assert_type(registry.policy, Policy)
        assert_type(registry.closed, bool)
    registry.close()
    assert_type(versioning.default_registry(), ModelRegistry)
    assert_type(versioning.deploy(b"weights", model_name="fraud", version_bump="MAJOR", publish=True), Version)
    ModelRegistry(url=7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def commanding(registry: ModelRegistry, version: Version) -> None:
    said = {"actor": "u-1", "reason": "it is better", "idempotency_key": "k-1", "correlation_id": "c-1"}
    deployed = registry.deploy(
        object(), SkopsSerializer(trusted_types=["a.B"]), model_name="fraud", version_bump="PATCH", publish=True,
        promote=False, metadata={"commit": "4f2a"}, **said,
    )  # fmt: skip
    assert_type(deployed, Version)
    assert_type(registry.publish(version, promote=True, **said), Version)
    assert_type(registry.promote("fraud@1.2.0", expected_primary=None, **said), Version)
    assert_type(registry.rollback("fraud", expected_primary=version, **said), Version)
    assert_type(registry.deactivate(version.version_id, expected_primary=Expect.ANYTHING, **said), Version)
    assert_type(registry.activate(version, **said), Version)
    assert_type(registry.complete_activation(version, "activation", **said), Version)
    assert_type(registry.fail_activation(version, "activation", error="no memory", **said), Version)
    assert_type(registry.delete(version, expected_primary="fraud@primary", **said), Version)
    assert_type(registry.delete_model("fraud", **said), Model)
    assert_type(registry.clear_primary("fraud", expected_primary=version, **said), Model)
    deployments: list[Deployment] = [{"model_or_reference": b"weights", "model_name": "fraud", "idempotency_key": "k"}]
    many = registry.deploy_many(deployments, actor="u-1", reason="nightly", correlation_id="c-1", progress=told)
    assert_type(many, tuple[Version, ...])
    registry.promote(version, actorr="u-1")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    registry.deploy(b"weights", "fraud")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def told(task: str, done: int, of: int) -> None:
    pass


def previewing(registry: ModelRegistry, version: Version) -> None:
    preview = registry.preview
    assert_type(preview, Preview)
    assert_type(preview.deploy(b"weights", model_name="fraud", publish=True), tuple[Event, ...])
    assert_type(preview.publish(version, promote=False), tuple[Event, ...])
    assert_type(preview.promote(version, expected_primary="fraud@1.2.0", actor="u-1"), tuple[Event, ...])
    assert_type(preview.rollback("fraud"), tuple[Event, ...])
    assert_type(preview.deactivate(version), tuple[Event, ...])
    assert_type(preview.activate(version), tuple[Event, ...])
    assert_type(preview.complete_activation(version, "activation"), tuple[Event, ...])
    assert_type(preview.fail_activation(version, "activation", error="no memory"), tuple[Event, ...])
    assert_type(preview.delete(version), tuple[Event, ...])
    assert_type(preview.delete_model("fraud"), tuple[Event, ...])
    assert_type(preview.clear_primary("fraud", expected_primary=None), tuple[Event, ...])
    preview.promote(version, actorr="u-1")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def asking(registry: ModelRegistry | AsOf, version: Version, moment: datetime) -> None:
    assert_type(registry.model("fraud"), Model)
    assert_type(registry.models(after_name="fraud", limit=10), tuple[Model, ...])
    assert_type(registry.version("fraud@primary"), Version)
    assert_type(registry.versions("fraud", include_deleted=True), tuple[Version, ...])
    assert_type(registry.primary("fraud"), Version | None)
    assert_type(registry.active("fraud"), tuple[Version, ...])
    assert_type(registry.billable(), tuple[Version, ...])
    assert_type(registry.pending_activations(timedelta(minutes=10)), tuple[Version, ...])
    assert_type(registry.resolve("fraud", version), Version)
    assert_type(registry.resolve("fraud", "^1.2"), Version)
    assert_type(registry.allowed(version), tuple[str, ...])
    assert_type(registry.usage(moment, moment, "fraud", until=moment), Usage)
    assert_type(registry.replay(name_model_id_or_version_id="fraud"), Iterator[Replayed])
    assert_type(registry.position(), int)
    assert_type(registry.history(name_model_id_or_version_id="fraud", after=0, limit=10), History)
    assert_type(registry.timeline("fraud", "timeline.svg", format="svg"), str)
    assert_type(registry.history(after="pos_7_0"), History)
    for recorded in registry.history("fraud"):
        assert_type(recorded.bookmark, str)
        assert_type(recorded, Recorded)
        assert_type(registry.sentence(recorded, named=True), str)
    assert_type(registry.rows("fraud", after=0, limit=10), Iterator[dict[str, str | int | bool | datetime]])
    assert_type(registry.cloud_events("fraud", after=0, limit=10), Iterator[dict[str, Any]])
    registry.timeline("fraud", format="png")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def asking_the_present(registry: ModelRegistry, moment: datetime) -> None:
    assert_type(registry.resolve("fraud", max_staleness_s=1.0), Version)
    assert_type(registry.at(moment), AsOf)
    assert_type(registry.at(7), AsOf)
    assert_type(registry.diff(7, now=moment, model_name="fraud"), Difference)
    with registry.follow(after="pos_7_0", poll_s=0.5) as follower:
        assert_type(follower.bookmark, str | None)
        assert_type(follower, Follower)
        assert_type(next(follower), Recorded)
    assert_type(registry.load("fraud", "1.2.0", trusted=True, serializer="skops"), object)
    assert_type(registry.invoke("fraud", [[1.0]], trusted=True, serializer=None), Any)
    assert_type(registry.fetch("fraud@1.2.0", "model.bin", overwrite=True), Version)
    assert_type(registry.collect_artifacts(dry_run=True), Collection)
    registry.adopt_artifacts()


def auditing(registry: ModelRegistry, path: Path) -> None:
    assert_type(registry.views(), tuple[ViewStatus, ...])
    assert_type(registry.skip(7, actor="u-1", reason="it can't be read"), None)
    assert_type(registry.skipped(), tuple[Skipped, ...])
    assert_type(registry.rebuild(progress=told), int)
    checkpoint = registry.checkpoint(progress=told)
    assert_type(checkpoint, Checkpoint)
    verification = registry.verify([checkpoint, path], public_key=path, views=False, progress=told)
    assert_type(verification, Verification)
    assert_type(verification.findings, tuple[Finding, ...])
    assert_type(registry.backup(path, progress=told), Backup)
    assert_type(registry.export(path, "fraud", progress=told), LogFile)
    assert_type(registry.import_log(path, progress=told, dry_run=True), LogFile)


def values(model: Model, version: Version, difference: Difference, usage: Usage, recorded: Recorded) -> None:
    assert_type(model.versions, tuple[Version, ...])
    assert_type(model.primary, Version | None)
    assert_type(version.recorded, tuple[Recorded, ...])
    assert_type(version.repeated, bool)
    assert_type(version.to_dict(), dict[str, Any])
    changes: Sequence[Change] = difference.changes
    lines: Sequence[UsageLine] = usage.lines
    assert_type([change.to_dict() for change in changes], list[dict[str, Any]])
    assert_type([line.to_dict() for line in lines], list[dict[str, Any]])
    if isinstance(recorded.event, VersionPromoted):
        assert_type(recorded.event.previous, str | None)
