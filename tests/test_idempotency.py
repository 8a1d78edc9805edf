"""What does a command that comes again do (R21)?"""

# ruff: noqa: ANN401 - what stands in for a method takes whatever that takes

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import versioning
from tests import registry_tools, stores
from tests.registry_tools import (
    AWAITED,
    KEYED,
    NAME,
    URI,
    active_and_primary,
    deploy,
    nothing_recorded,
    numbers,
    refused,
    serving,
)
from versioning import IdempotencyConflictError, ModelRegistry, Version, VersionNotActiveError
from versioning.commands import COMMANDS

if TYPE_CHECKING:
    from tests.stores import Store

store = stores.store
shared_store = stores.shared_store
registry = registry_tools.registry
awaited = registry_tools.awaited

ROOT = Path(versioning.__file__).resolve().parent.parent


class TestR21IdempotencyKeys:
    """The same command again gives the version that it then made or changed, as it is now, and records nothing."""

    def test_the_table_has_all_commands(self) -> None:
        assert list(KEYED) == list(COMMANDS)

    @pytest.mark.parametrize("command", KEYED)
    def test_a_repeat_records_nothing_and_anything_else_is_an_error(self, awaited: ModelRegistry, command: str) -> None:
        serving(awaited, "other")
        do, do_otherwise = KEYED[command](awaited)
        before = list(awaited.history())
        first = do(awaited, "k")
        assert len(list(awaited.history())) > len(before)
        with nothing_recorded(awaited):
            assert do(awaited, "k") == first
        with refused(awaited, IdempotencyConflictError, "R21"):
            do_otherwise(awaited, "k")

    @pytest.mark.parametrize("command", KEYED)
    def test_a_repeat_by_another_registry_or_after_a_restart_is_known(self, shared_store: Store, command: str) -> None:
        with shared_store(policy=AWAITED) as first, shared_store(policy=AWAITED) as second:
            second.models()
            do, do_otherwise = KEYED[command](first)
            made = do(first, "k")
            with nothing_recorded(second):
                assert do(second, "k") == made
        with shared_store(policy=AWAITED) as restarted:
            with nothing_recorded(restarted):
                assert do(restarted, "k") == made
            with refused(restarted, IdempotencyConflictError, "R21"):
                do_otherwise(restarted, "k")

    def test_a_repeat_by_another_process_is_known(self, shared_store: Store) -> None:
        with shared_store() as registry:
            made = deploy(registry, idempotency_key="k")
            program = (
                "import sys, versioning\n"
                "with versioning.ModelRegistry(sys.argv[1]) as registry:\n"
                f"    print(registry.deploy({URI!r}, model_name={NAME!r}, idempotency_key='k').version_id)\n"
            )
            with nothing_recorded(registry):
                process = subprocess.run(
                    [sys.executable, "-c", program, shared_store.url],
                    cwd=ROOT, check=True, capture_output=True, text=True,
                )  # fmt: skip
        assert process.stdout.strip() == made.version_id

    def test_it_gives_the_version_as_it_is_now(self, registry: ModelRegistry) -> None:
        made = deploy(registry, publish=True, idempotency_key="k")
        registry.deactivate(made.version_id)
        again = deploy(registry, publish=True, idempotency_key="k")
        assert (again.version_id, again.status) == (made.version_id, "inactive")

    def test_who_why_and_correlation_may_differ(self, registry: ModelRegistry) -> None:
        made = deploy(registry, idempotency_key="k", actor="ada", reason="first", correlation_id="1")
        with nothing_recorded(registry):
            assert deploy(registry, idempotency_key="k", actor="bob", correlation_id="2") == made

    @pytest.mark.parametrize(
        "other",
        [
            {"version_bump": "PATCH"}, {"publish": False}, {"promote": False}, {"metadata": {"a": 2}},
            {"metadata": None}, {"model_or_reference": URI + "2"},
        ],
    )  # fmt: skip
    def test_every_other_argument_counts(self, registry: ModelRegistry, other: dict[str, Any]) -> None:
        given: dict[str, Any] = {"model_or_reference": URI, "publish": True, "metadata": {"a": 1}}
        registry.deploy(model_name=NAME, idempotency_key="k", **given)
        with refused(registry, IdempotencyConflictError, "R21"):
            registry.deploy(model_name=NAME, idempotency_key="k", **{**given, **other})

    def test_an_artifact_counts_by_its_digest(self, store: Store, tmp_path: Path) -> None:
        registry = store(artifacts=tmp_path / "contents")
        made = registry.deploy(b"weights", model_name=NAME, idempotency_key="k")
        assert made.artifact.digest is not None
        assert registry.deploy(b"weights", model_name=NAME, idempotency_key="k") == made
        reference = versioning.ArtifactRef("s3://elsewhere", made.artifact.digest)
        assert registry.deploy(reference, model_name=NAME, idempotency_key="k") == made
        with refused(registry, IdempotencyConflictError):
            registry.deploy(b"other", model_name=NAME, idempotency_key="k")

    def test_none_expected_is_another_argument_than_nothing_expected(self, registry: ModelRegistry) -> None:
        draft = deploy(registry)
        registry.promote(draft.version_id, idempotency_key="k")
        with refused(registry, IdempotencyConflictError):
            registry.promote(draft.version_id, expected_primary=None, idempotency_key="k")

    def test_keys_belong_to_the_model_s_name(self, registry: ModelRegistry) -> None:
        one = deploy(registry, "one", idempotency_key="k")
        other = deploy(registry, "other", idempotency_key="k")
        assert one.model_name != other.model_name

    def test_a_key_is_kept_beyond_the_life_of_the_model(self, registry: ModelRegistry) -> None:
        made = deploy(registry, idempotency_key="k")
        gone = registry.delete_model(NAME, idempotency_key="gone")
        with nothing_recorded(registry):
            assert deploy(registry, idempotency_key="k") == registry.version(made.version_id)
        second = deploy(registry)
        assert second.model_id != made.model_id
        with nothing_recorded(registry):
            assert deploy(registry, idempotency_key="k").status == "deleted"
            assert registry.delete_model(NAME, idempotency_key="gone") == gone
        assert registry.model(NAME).versions == (second,)

    def test_a_command_that_changed_nothing_leaves_no_key_behind(self, registry: ModelRegistry) -> None:
        version = deploy(registry, publish=True)
        with nothing_recorded(registry):
            registry.activate(version.version_id, idempotency_key="k")
        registry.deactivate(version.version_id)
        assert registry.activate(version.version_id, idempotency_key="k").status == "active"
        assert deploy(registry, idempotency_key="l").number == "0.2.0"

    def test_a_refused_command_leaves_no_key_behind(self, registry: ModelRegistry) -> None:
        version = deploy(registry)
        registry.deactivate(version.version_id)
        with refused(registry, VersionNotActiveError):
            registry.promote(version.version_id, idempotency_key="k")
        registry.activate(version.version_id, idempotency_key="k")

    def test_the_key_is_looked_at_before_what_is_expected(self, registry: ModelRegistry) -> None:
        version_id, primary = active_and_primary(registry)
        made = registry.promote(version_id, expected_primary=primary, idempotency_key="k")
        assert registry.promote(version_id, expected_primary=primary, idempotency_key="k") == made

    def test_a_key_that_another_registry_used_meanwhile_is_found_in_the_retry(
        self, shared_store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = shared_store(), shared_store()
        deploy(first)
        made: list[Version] = []
        append = first._store.append

        def late(rows: Any) -> Any:
            if not made:
                made.append(deploy(second, idempotency_key="k"))
            return append(rows)

        monkeypatch.setattr(first._store, "append", late)
        assert deploy(first, idempotency_key="k") == made[0]
        assert numbers(first.versions(NAME)) == ["0.1.0", "0.2.0"]

    def test_a_key_found_behind_what_is_known_is_read_first(
        self, shared_store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = shared_store(), shared_store()
        deploy(first)
        made: list[Version] = []
        find = type(first._store).find_key

        def early(recorder: Any, stream: str, key: str) -> Any:
            if recorder is first._store and not made:
                made.append(deploy(second, idempotency_key="k"))
            return find(recorder, stream, key)

        monkeypatch.setattr(type(first._store), "find_key", early)
        deploy(second)  # so that the first attempt, which believes the cache, conflicts
        assert deploy(first, idempotency_key="k") == made[0]
