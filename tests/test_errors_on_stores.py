"""What does an error that a user gets say? The tree of errors itself: `test_errors.py`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests import registry_tools, stores
from tests.registry_tools import AN_ID, NAME, deploy
from versioning import ModelRegistry, VersioningError, VersionNotActiveError

if TYPE_CHECKING:
    from collections.abc import Iterator

store = stores.store
registry = registry_tools.registry


class TestErrors:
    """Each error has a code, the rule, a sentence and a hint, and a form for machines (RFC 9457)."""

    def _raised(self, registry: ModelRegistry) -> Iterator[VersioningError]:
        version = deploy(registry, idempotency_key="k")
        stopped = registry.deactivate(deploy(registry).version_id)
        gone = registry.delete(deploy(registry).version_id)
        for call in (
            lambda: registry.model("chur"),
            lambda: registry.model(AN_ID.replace("ver", "mdl")[:-9]),
            lambda: registry.version(AN_ID),
            lambda: registry.resolve(NAME),
            lambda: registry.resolve(NAME, "9.9.9"),
            lambda: registry.promote(stopped.version_id),
            lambda: registry.promote(gone.version_id),
            lambda: registry.promote(version.version_id, expected_primary=AN_ID),
            lambda: registry.rollback(NAME),
            lambda: deploy(registry, " "),
            lambda: deploy(registry, version_bump="x"),
            lambda: deploy(registry, actor=7),
            lambda: deploy(registry, publish=True, idempotency_key="k"),
            lambda: registry.at(99),
            registry.models,
        ):
            if call == registry.models:
                registry.close()
            with pytest.raises(VersioningError) as caught:
                call()
            yield caught.value

    def test_to_dict_can_be_sent(self, registry: ModelRegistry) -> None:
        codes = set()
        for error in self._raised(registry):
            document = json.loads(json.dumps(error.to_dict()))
            assert document["type"] == f"urn:model-versioning:error:{error.code}"
            assert document["detail"] == (error.outside or error.sentence)
            assert document["title"]
            assert 400 <= document["status"] < 600
            assert (document["code"], document["rule"]) == (error.code, error.rule)
            assert document["hint"]
            assert error.sentence in str(error)
            assert error.sentence.endswith(".")
            codes.add(error.code)
        assert len(codes) >= 11

    def test_each_has_a_hint_that_says_what_to_do_next(self, registry: ModelRegistry) -> None:
        assert [str(error) for error in self._raised(registry) if not error.hint] == []

    def test_the_facts_are_members_and_attributes(self, registry: ModelRegistry) -> None:
        version = deploy(registry)
        registry.deactivate(version.version_id)
        with pytest.raises(VersionNotActiveError) as caught:
            registry.promote(version.version_id)
        assert caught.value.to_dict()["version_id"] == version.version_id
        assert caught.value.to_dict()["version_status"] == "inactive"
        assert vars(caught.value)["version_id"] == version.version_id

    def test_who_must_act_is_a_branch_of_the_tree(self, registry: ModelRegistry) -> None:
        seen: set[type[VersioningError]] = set()
        for error in self._raised(registry):
            (branch,) = [kind for kind in type(error).__mro__ if VersioningError in kind.__bases__]
            seen.add(branch)
        assert {kind.__name__ for kind in seen} == {
            "NotFoundError", "RefusedError", "InvalidInputError", "StorageError",
        }  # fmt: skip
