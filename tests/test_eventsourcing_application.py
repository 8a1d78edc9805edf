"""An `Application` of eventsourcing loads and saves `ModelAggregate` on the log that a registry writes."""

from pathlib import Path
from uuid import UUID

import pytest
from eventsourcing.application import Application
from eventsourcing.persistence import IntegrityError, Mapper

from versioning import ModelRegistry, Policy
from versioning.aggregate import ModelAggregate, project
from versioning.commands import Deploy, Promote
from versioning.events import ArtifactRef, Meta
from versioning.ids import stream_of
from versioning.rules import decide
from versioning.store.format import VersioningMapper, computed_link, link_of
from versioning.store.sqlite import SQLiteRecorder

NOON_US = 1_750_000_000_000_000


class Models(Application[UUID]):
    def __init__(self, recorder: SQLiteRecorder) -> None:
        self.sqlite = recorder
        super().__init__(env={"PERSISTENCE_MODULE": "eventsourcing.popo"})

    def construct_mapper(self) -> Mapper[UUID]:
        return VersioningMapper()

    def construct_recorder(self) -> SQLiteRecorder:
        return self.sqlite


def meta(key: str | None = None) -> Meta:
    return Meta("default", "fraud", 1, "0" * 32, actor="ada", idempotency_key=key)


def loaded(app: Models) -> ModelAggregate:
    found: ModelAggregate = app.repository.get(
        UUID(stream_of("default", "fraud")),
        projector_func=project,
    )
    return found


def test_an_application_goes_on_where_a_registry_stopped(tmp_path: Path) -> None:
    path = tmp_path / "models.db"
    with ModelRegistry(path) as registry, Models(SQLiteRecorder(path)) as app:
        first = registry.deploy("s3://models/1", model_name="fraud", publish=True, actor="ada")
        second = registry.deploy("s3://models/2", model_name="fraud", publish=True, actor="ada")

        aggregate = loaded(app)
        aggregate.record(decide(aggregate, Promote(first.version_id), Policy(), NOON_US), meta())
        app.save(aggregate)

        assert registry.primary("fraud") == registry.version(first.version_id)
        event = list(registry.history("fraud"))[-1].event
        assert (type(event).__name__, getattr(event, "previous", None)) == ("VersionPromoted", second.version_id)
        app.sqlite.close()


def test_a_new_model_with_several_events_and_a_key_is_chained_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "models.db"
    recorder = SQLiteRecorder(path)
    with Models(recorder) as app:
        stream = stream_of("default", "fraud")
        aggregate = ModelAggregate(stream, "default", "fraud")
        command = Deploy(ArtifactRef("s3://models/1"), "00c0ffee", publish=True)
        aggregate.record(decide(aggregate, command, Policy(), NOON_US), meta("deploy-1"))
        app.save(aggregate)

        assert recorder.find_key(stream, "deploy-1") is not None
        link = bytes(32)
        for _, sequence, topic, state in recorder.tail(stream, 0):
            link = computed_link(link, stream, sequence, topic, b"{" + state[77:])
            assert link_of(state) == link
        assert loaded(app).primary == aggregate.primary
    with ModelRegistry(path) as registry:
        assert registry.resolve("fraud").number == "0.1.0"
    recorder.close()


def test_of_two_who_decided_on_the_same_state_one_is_told(tmp_path: Path) -> None:
    path = tmp_path / "models.db"
    with ModelRegistry(path) as registry, Models(SQLiteRecorder(path)) as app:
        first = registry.deploy("s3://models/1", model_name="fraud", publish=True)
        registry.deploy("s3://models/2", model_name="fraud", publish=True)
        aggregate = loaded(app)
        aggregate.record(decide(aggregate, Promote(first.version_id), Policy(), NOON_US), meta())
        registry.promote(first.version_id)
        with pytest.raises(IntegrityError):
            app.save(aggregate)
        assert len(list(registry.history("fraud"))) == 5
        app.sqlite.close()
