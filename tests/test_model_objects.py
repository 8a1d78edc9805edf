"""What becomes of a model object that was deployed?"""

from __future__ import annotations

import os
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from tests import registry_tools, stores
from tests.registry_tools import NAME, deploy, noted, nothing_recorded, refused
from versioning import (
    ArtifactNotFoundError,
    ArtifactUntrustedError,
    InvalidArgumentError,
    ModelRegistry,
    SkopsSerializer,
    VersionDeletedError,
    VersionNotActiveError,
)
from versioning.artifacts.loading import load_artifact
from versioning.artifacts.objects import _named

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stores import Store

store = stores.store
shared_store = stores.shared_store
registry = registry_tools.registry


class Doubling:
    """A model object with a `predict`."""

    def predict(self, inputs: list[int]) -> list[int]:
        return [2 * value for value in inputs]


def held(registry: ModelRegistry) -> set[str]:
    """Return the versions whose objects are in memory."""
    return {version_id for version_id, _ in registry._objects._held}


class TestModelObjects:
    """What was deployed is given back, and called."""

    @pytest.fixture
    def registry(self, store: Store, tmp_path: Path) -> ModelRegistry:
        return store(artifacts=tmp_path / "contents")

    def test_the_object_of_the_primary_or_of_a_version_is_loaded(self, registry: ModelRegistry) -> None:
        registry.deploy({"a": 1}, model_name=NAME, publish=True)
        registry.deploy({"a": 2}, model_name=NAME)
        assert registry.load(NAME, trusted=True) == {"a": 1}
        assert registry.load(NAME, "0.2.0", trusted=True) == {"a": 2}
        assert registry.load(NAME, "0.2.0", trusted=True, serializer="bytes") == pickle.dumps({"a": 2}, protocol=5)
        with refused(registry, ArtifactUntrustedError):
            registry.load(NAME)

    def test_contents_are_kept_beside_a_file_or_in_the_folder_that_was_named(self, tmp_path: Path) -> None:
        with ModelRegistry(tmp_path / "m.db") as registry:
            registry.deploy(b"weights", model_name=NAME, publish=True)
            assert registry.load(NAME) == b"weights"
        assert (tmp_path / "m.db.artifacts").is_dir()
        with ModelRegistry(tmp_path / "n.db", artifacts=str(tmp_path / "named")) as registry:
            registry.deploy(b"weights", model_name=NAME)
        assert (tmp_path / "named").is_dir()
        assert not (tmp_path / "n.db.artifacts").exists()
        with ModelRegistry("memory:") as registry:
            with refused(registry, InvalidArgumentError):
                registry.deploy(b"weights", model_name=NAME)
            assert registry.collect_artifacts().erased == ()

    def test_of_a_reference_nothing_can_be_loaded(self, registry: ModelRegistry) -> None:
        deploy(registry, publish=True)
        with refused(registry, ArtifactNotFoundError):
            registry.load(NAME)

    def test_a_registry_may_have_another_default_serializer(self, store: Store, tmp_path: Path) -> None:
        registry = store(artifacts=tmp_path, serializer=None)
        with refused(registry, InvalidArgumentError):
            registry.deploy({"a": 1}, model_name=NAME)
        assert registry.deploy({"a": 1}, "pickle", model_name=NAME).artifact.media_type is not None

    def test_the_primary_is_called(self, registry: ModelRegistry) -> None:
        registry.deploy(Doubling(), model_name=NAME, publish=True)
        registry.deploy(sorted, model_name=NAME)
        assert registry.invoke(NAME, [2, 1], trusted=True) == [4, 2]
        assert registry.invoke(NAME, [2, 1], "0.2.0", trusted=True) == [1, 2]

    def test_it_is_loaded_once_a_version_and_trusted_every_time(
        self, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        registry.deploy(Doubling(), model_name=NAME, publish=True)
        loads: list[object] = []
        monkeypatch.setattr("versioning.artifacts.objects.load_artifact", noted(loads, load_artifact))
        for _ in range(3):
            assert registry.invoke(NAME, [1], trusted=True) == [2]
        assert len(loads) == 1
        with refused(registry, ArtifactUntrustedError):
            registry.invoke(NAME, [1])

    def test_it_is_dropped_when_it_is_no_longer_active(self, shared_store: Store, tmp_path: Path) -> None:
        registry, other = shared_store(artifacts=tmp_path / "c"), shared_store(artifacts=tmp_path / "c")
        versions = [registry.deploy(Doubling(), model_name=NAME, publish=True) for _ in range(4)]
        for version in versions:
            registry.invoke(NAME, [1], version.version_id, trusted=True)
        registry.deactivate(versions[0].version_id)
        assert held(registry) == {version.version_id for version in versions[1:]}
        other.delete(versions[1].version_id)
        with refused(registry, VersionDeletedError):
            registry.invoke(NAME, [1], versions[1].version_id, trusted=True)
        assert held(registry) == {version.version_id for version in versions[2:]}
        with refused(registry, VersionNotActiveError):
            registry.invoke(NAME, [1], versions[0].version_id, trusted=True)

    def test_it_is_dropped_when_its_model_is_deleted_here_or_elsewhere(
        self, shared_store: Store, tmp_path: Path
    ) -> None:
        registry, other = shared_store(artifacts=tmp_path / "c"), shared_store(artifacts=tmp_path / "c")
        for name in ("here", "elsewhere", "left"):
            registry.deploy(Doubling(), model_name=name, publish=True)
        for name in ("here", "elsewhere"):
            registry.invoke(name, [1], trusted=True)
        registry.delete_model("here")
        assert held(registry) == {one.version_id for one in registry.active("elsewhere")}
        other.delete_model("elsewhere")
        registry.invoke("left", [1], trusted=True)
        assert held(registry) == {one.version_id for one in registry.active("left")}

    def test_a_call_with_a_wrong_serializer_changes_no_later_call(self, registry: ModelRegistry) -> None:
        registry.deploy(Doubling(), model_name=NAME, publish=True)
        for _ in range(2):
            with refused(registry, InvalidArgumentError):
                registry.invoke(NAME, [1], trusted=True, serializer="bytes")
            assert not registry._objects._held
        assert registry.invoke(NAME, [1], trusted=True) == [2]
        with refused(registry, InvalidArgumentError):
            registry.invoke(NAME, [1], trusted=True, serializer="bytes")
        assert registry.invoke(NAME, [1], trusted=True, serializer="pickle") == [2]
        with refused(registry, ArtifactUntrustedError):
            registry.invoke(NAME, [1], serializer="pickle")
        assert len(registry._objects._held) == 2

    def test_so_many_are_held_and_the_one_invoked_longest_ago_goes_first(self, store: Store, tmp_path: Path) -> None:
        registry = store(artifacts=tmp_path, objects_max=2)
        versions = [registry.deploy(Doubling(), model_name=NAME, publish=True).version_id for _ in range(3)]
        for index in (0, 1, 0, 2):
            registry.invoke(NAME, [1], versions[index], trusted=True)
        assert held(registry) == {versions[0], versions[2]}

    @pytest.mark.parametrize(("objects_max", "count"), [(0, 0), (1, 1), (None, 40)])
    def test_none_may_be_held_or_all(self, store: Store, tmp_path: Path, objects_max: int | None, count: int) -> None:
        registry = store(artifacts=tmp_path, objects_max=objects_max)
        for _ in range(40):
            version = registry.deploy(Doubling(), model_name=NAME, publish=True)
            assert registry.invoke(NAME, [1], version.version_id, trusted=True) == [2]
        assert len(held(registry)) == count

    def test_serializers_of_skops_are_told_apart_by_what_they_trust(self) -> None:
        one, same, other = SkopsSerializer(["a"]), SkopsSerializer(["a"]), SkopsSerializer(["b"])
        assert _named(one) == _named(same) != _named(other)

    def test_what_can_not_be_called_is_an_error(self, registry: ModelRegistry) -> None:
        registry.deploy(b"weights", model_name=NAME, publish=True)
        with refused(registry, InvalidArgumentError):
            registry.invoke(NAME, [1])

    def test_an_invocation_s_arguments_are_looked_at(self, registry: ModelRegistry) -> None:
        registry.deploy(b"weights", model_name=NAME, publish=True)
        everything_else: list[Any] = [None, 1, "yes"]
        for wrong in everything_else:
            with refused(registry, InvalidArgumentError):
                registry.load(NAME, trusted=wrong)
            with refused(registry, InvalidArgumentError):
                registry.invoke(NAME, [1], trusted=wrong)

    def test_contents_that_no_undeleted_version_refers_to_are_collected_after_a_day(
        self, registry: ModelRegistry, tmp_path: Path
    ) -> None:
        kept_one = registry.deploy(b"kept", model_name=NAME)
        gone = registry.deploy(b"gone", model_name=NAME)
        deploy(registry)
        registry.delete(gone.version_id)
        assert registry.collect_artifacts().erased == ()
        for path in (tmp_path / "contents").rglob("*"):
            if path.is_file():
                os.utime(path, (0, 0))
        with nothing_recorded(registry):
            assert registry.collect_artifacts().erased == (gone.artifact.digest,)
        assert registry.load(NAME, kept_one.number) == b"kept"
        assert registry.version(gone.version_id).artifact == gone.artifact
