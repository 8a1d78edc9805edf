"""What happened, who did it and why (R26)?"""

from __future__ import annotations

from typing import Any

import pytest

from tests import registry_tools, stores
from tests.registry_tools import AN_ID, NAME, NOT_TEXT, deploy, refused
from tests.stores import START, Store, facts
from versioning import InvalidArgumentError, InvalidNameError, ModelNotFoundError, ModelRegistry, VersionNotFoundError

store = stores.store
registry = registry_tools.registry


class TestR26History:
    """Every event tells who, why, when, with what key and correlation; the whole story of any version can be read."""

    def test_every_event_tells_who_why_when_and_with_what_key(self, registry: ModelRegistry, store: Store) -> None:
        why = {"actor": "ada", "reason": "better\nAUC", "idempotency_key": "k", "correlation_id": "c"}
        version = deploy(registry, publish=True, **why)
        store.clock.tick()
        registry.deactivate(version.version_id)
        deployed, promoted, deactivated, cleared = registry.history()
        for place, recorded in enumerate((deployed, promoted)):
            assert recorded.actor == "ada"
            assert recorded.reason == "better\nAUC"
            assert recorded.idempotency_key == "k"
            assert recorded.correlation_id == "c"
            assert recorded.timestamp == START
            assert (recorded.position, recorded.sequence, recorded.index) == (place + 1, place + 1, place)
            assert (recorded.workspace, recorded.model_name) == ("default", NAME)
            assert recorded.model_id == version.model_id
            assert recorded.version_id == version.version_id
        assert deployed.event_id != promoted.event_id
        for recorded in (deactivated, cleared):
            assert recorded.timestamp == store.clock.now
            nothing = (recorded.actor, recorded.reason, recorded.idempotency_key, recorded.correlation_id)
            assert nothing == (None, None, None, None)
        assert cleared.version_id is None

    def test_a_version_s_history_includes_the_events_that_name_it_as_previous(self, registry: ModelRegistry) -> None:
        first, second = deploy(registry, publish=True), deploy(registry, publish=True)
        registry.deactivate(second.version_id)
        registry.deactivate(first.version_id)
        assert facts(registry.history(first.version_id)) == [
            "VersionDeployed", "VersionPromoted", "VersionPromoted", "VersionPromoted", "VersionDeactivated",
            "PrimaryCleared",
        ]  # fmt: skip
        assert [recorded.position for recorded in registry.history(second.version_id)] == [3, 4, 5, 6]

    def test_a_name_s_history_spans_all_its_lives(self, registry: ModelRegistry) -> None:
        for _ in range(3):
            deploy(registry)
            registry.delete_model(NAME)
        deploy(registry, "other")
        assert [recorded.generation for recorded in registry.history(NAME)] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
        assert len(list(registry.history())) == 10

    def test_deleting_does_not_take_facts_away(self, registry: ModelRegistry) -> None:
        version = deploy(registry, actor="ada", metadata={"a": [1]})
        before = list(registry.history())
        registry.delete(version.version_id)
        assert list(registry.history())[: len(before)] == before
        gone = registry.version(version.version_id)
        assert (gone.metadata, gone.artifact, gone.deployed_by) == ({"a": [1]}, version.artifact, "ada")

    @pytest.mark.parametrize("about", ["workspace", "name", "model_id", "version_id"])
    def test_after_and_limit(self, registry: ModelRegistry, about: str) -> None:
        version = deploy(registry, publish=True)
        deploy(registry, "other")
        registry.deactivate(version.version_id)
        registry.activate(version.version_id)
        what = {
            "workspace": None, "name": NAME, "model_id": version.model_id, "version_id": version.version_id,
        }[about]  # fmt: skip
        whole = list(registry.history(what))
        for after in range(registry.position() + 1):
            for limit in (None, 0, 1, 2, 100, 2**63 - 1):
                expected = [recorded for recorded in whole if recorded.position > after][:limit]
                assert list(registry.history(what, after=after, limit=limit)) == expected
                assert list(registry.history(what, after, limit)) == expected

    @pytest.mark.parametrize("wrong", [{"after": -1}, {"after": "1"}, {"after": None}, {"limit": -1}, {"limit": 1.5}])
    def test_after_is_a_position_and_limit_a_count(self, registry: ModelRegistry, wrong: dict[str, Any]) -> None:
        with refused(registry, InvalidArgumentError):
            registry.history(**wrong)

    def test_what_never_was_is_not_found_at_once(self, registry: ModelRegistry) -> None:
        deploy(registry)
        for missing, error in ((AN_ID, VersionNotFoundError), ("other", ModelNotFoundError)):
            with refused(registry, error):
                registry.history(missing)
        with refused(registry, InvalidNameError):
            registry.history(NOT_TEXT)

    def test_events_are_read_as_they_are_taken(self, registry: ModelRegistry) -> None:
        deploy(registry)
        seen = registry.history()
        deploy(registry)
        assert len(list(seen)) == 2
