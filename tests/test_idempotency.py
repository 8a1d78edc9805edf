"""What does a command that comes again do (R21)?"""

# ruff: noqa: ANN401 - what stands in for a method takes whatever that takes

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import attrs
import pytest

import versioning
from tests import registry_tools, stores
from tests.registry_tools import (
    AWAITED,
    DAY,
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
from tests.stores import START
from versioning import (
    IdempotencyConflictError,
    ModelRegistry,
    NothingChanged,
    PrimaryMovedError,
    Version,
    VersionNotActiveError,
    VersionPromoted,
)
from versioning.commands import COMMANDS
from versioning.events import Unneeded

if TYPE_CHECKING:
    from collections.abc import Callable

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


FOUND_SO: dict[str, tuple[Callable[[ModelRegistry], Version], Callable[[ModelRegistry, str], Version]]] = {
    "publish": (serving, lambda registry, version_id: registry.delete(version_id)),
    "promote": (serving, lambda registry, _: serving(registry)),
    "deactivate": (
        lambda registry: registry.deactivate(serving(registry).version_id),
        lambda registry, version_id: registry.activate(version_id),
    ),
    "activate": (serving, lambda registry, version_id: registry.deactivate(version_id)),
}
"""For each command that can find all as it asks: what makes it so, and what changes that later."""


class TestR21NothingChanged:
    """A key holds whatever it was used for: a command that finds all as it asks is recorded, and so is its key."""

    def test_they_are_all_commands_that_can_be_unneeded(self) -> None:
        assert {*FOUND_SO, "clear_primary"} == set(get_args(Unneeded))

    def test_two_promotions_from_a_queue_that_delivers_twice(self, registry: ModelRegistry) -> None:
        first = serving(registry)
        registry.promote(first.version_id, idempotency_key="1")  # which is primary already
        second = deploy(registry)
        registry.promote(second.version_id, idempotency_key="2")
        with nothing_recorded(registry):
            registry.promote(first.version_id, idempotency_key="1")
            registry.promote(second.version_id, idempotency_key="2")
            assert registry.resolve(NAME).version_id == second.version_id

    @pytest.mark.parametrize("command", FOUND_SO)
    def test_it_records_that_nothing_changed_and_does_nothing_ever_after(
        self, registry: ModelRegistry, command: str
    ) -> None:
        prepare, change = FOUND_SO[command]
        version_id = prepare(registry).version_id
        do = getattr(registry, command)
        was = registry.model(NAME)
        with nothing_recorded(registry):
            (would_be,) = getattr(registry.preview, command)(version_id, idempotency_key="k")
            assert do(version_id).recorded == ()
        found = do(version_id, idempotency_key="k", actor="ada", reason="twice", correlation_id="c")
        (kept,) = found.recorded
        assert kept.event == NothingChanged(command, version_id, at_us=kept.event.at_us)  # type: ignore[arg-type]  # one of them
        assert attrs.evolve(would_be, at_us=kept.event.at_us) == kept.event
        assert (kept.actor, kept.reason, kept.correlation_id, kept.idempotency_key) == ("ada", "twice", "c", "k")
        assert (kept.version_id, kept.index, kept.count, found.repeated) == (version_id, 0, 1, False)
        assert registry.model(NAME) == was == registry.at(kept.position).model(NAME)
        assert list(registry.history())[-1] == list(registry.history(version_id))[-1] == kept
        change(registry, version_id)
        with nothing_recorded(registry):
            again = do(version_id, idempotency_key="k", actor="bob")
            assert (again.recorded, again.repeated) == ((), True)
            assert again == registry.version(version_id)
            assert getattr(registry.preview, command)(version_id, idempotency_key="k") == ()
            with refused(registry, IdempotencyConflictError, "R21"):
                registry.delete(version_id, idempotency_key="k")
        assert registry.verify().findings == ()

    def test_clearing_what_was_cleared(self, registry: ModelRegistry) -> None:
        version = serving(registry)
        registry.clear_primary(NAME)
        (kept,) = registry.clear_primary(NAME, idempotency_key="k").recorded
        assert kept.event == NothingChanged("clear_primary", None, at_us=kept.event.at_us)
        assert registry.sentence(kept) == "somebody asked to clear the primary of the model, which changed nothing"
        registry.promote(version.version_id)
        with nothing_recorded(registry):
            again = registry.clear_primary(NAME, idempotency_key="k")
            assert (again.repeated, again) == (True, registry.model(NAME))
            assert again.primary is not None
        registry.delete_model(NAME)
        serving(registry)
        assert registry.clear_primary(NAME, idempotency_key="k").deleted_at is not None

    def test_promoting_an_address_that_names_another_version_by_now(self, registry: ModelRegistry) -> None:
        first = serving(registry)
        kept = registry.promote(f"{NAME}@primary", idempotency_key="k")
        second = serving(registry)
        again = registry.promote(f"{NAME}@primary", idempotency_key="k")
        assert (kept.version_id, again.version_id, again.is_primary) == (first.version_id, first.version_id, False)
        with refused(registry, IdempotencyConflictError, "R21"):
            registry.promote(second.version_id, idempotency_key="k")

    def test_the_expectation_is_looked_at_first(self, registry: ModelRegistry) -> None:
        version_id, primary = active_and_primary(registry)
        registry.deactivate(version_id)
        with refused(registry, PrimaryMovedError, "R22"):
            registry.deactivate(version_id, expected_primary=version_id, idempotency_key="k")
        found = registry.deactivate(version_id, expected_primary=primary, idempotency_key="k")
        assert [type(one.event) for one in found.recorded] == [NothingChanged]

    def test_a_stale_answer_stays_stale_without_a_record(self, awaited: ModelRegistry) -> None:
        version = deploy(awaited)
        activation_id = str(version.activation_id)
        awaited.complete_activation(version.version_id, activation_id)
        with nothing_recorded(awaited):
            awaited.complete_activation(version.version_id, activation_id, idempotency_key="k")
            awaited.fail_activation(version.version_id, activation_id, error="late", idempotency_key="k")
        awaited.deactivate(version.version_id, idempotency_key="k")

    def test_it_moves_the_clock_of_the_name_on(self, shared_store: Store) -> None:
        ahead, behind = shared_store(clock=lambda: START + DAY / 86_400), shared_store(clock=lambda: START)
        version = deploy(behind)
        behind.activate(version.version_id, idempotency_key="a")
        (kept,) = ahead.activate(version.version_id, idempotency_key="b").recorded
        (later,) = behind.activate(version.version_id, idempotency_key="c").recorded
        assert later.timestamp == kept.timestamp == START + DAY / 86_400

    def test_bills_and_the_model_are_as_they_were(self, registry: ModelRegistry) -> None:
        version = serving(registry)
        before = registry.usage(START - DAY, START + DAY).lines
        for key in "abc":
            registry.publish(version.version_id, idempotency_key=key)
        assert registry.usage(START - DAY, START + DAY).lines == before
        registry.rebuild()
        assert registry.usage(START - DAY, START + DAY).lines == before
        assert registry.models() == (registry.model(NAME),)

    def test_a_name_that_moves_meanwhile_is_decided_again(
        self, shared_store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = shared_store(), shared_store()
        version = serving(first)
        append = first._store.append
        moved: list[Version] = []

        def late(rows: Any) -> Any:
            if not moved:
                moved.append(serving(second))
            return append(rows)

        monkeypatch.setattr(first._store, "append", late)
        promoted = first.promote(version.version_id, idempotency_key="k")
        (fact,) = promoted.recorded
        assert isinstance(fact.event, VersionPromoted)
        assert fact.event.previous == moved[0].version_id

    def test_of_two_processes_that_send_it_at_once_one_records_it(self, shared_store: Store) -> None:
        registry = shared_store(clock=None)
        version = serving(registry)
        program = (
            "import sys, versioning\n"
            "with versioning.ModelRegistry(sys.argv[1]) as registry:\n"
            "    registry.models()\n"
            "    print('ready', flush=True)\n"
            "    input()\n"
            "    found = registry.promote(sys.argv[2], idempotency_key='k')\n"
            "    print(len(found.recorded), found.repeated, found.is_primary)\n"
        )
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", program, shared_store.url, version.version_id],
                cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for _ in range(2)
        ]  # fmt: skip
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        told = sorted(process.communicate(timeout=60)[0] for process in processes)
        assert told == ["0 True True\n", "1 False True\n"]
        assert [type(one.event) for one in registry.history()].count(NothingChanged) == 1
        serving(registry)
        with shared_store() as restarted, nothing_recorded(restarted):
            assert not restarted.promote(version.version_id, idempotency_key="k").is_primary
