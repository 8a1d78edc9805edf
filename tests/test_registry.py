"""What the registry promises, seen from outside and on every store: one class a rule of SPEC.md, or a question.

What needs a file that can be broken or copied behind the registry's back runs on SQLite; all else on every store.
"""

# ruff: noqa: ANN401 - what is refused is of any type, and what stands in for a method takes whatever that takes

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pickle
import secrets
import shutil
import sqlite3
import subprocess
import sys
import threading
import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

import versioning
from tests import stores
from tests.stores import START, Clock, Store, facts, in_threads
from versioning import (
    ArtifactNotFoundError,
    ArtifactUntrustedError,
    ConcurrencyError,
    CorruptLogError,
    IdempotencyConflictError,
    InvalidArgumentError,
    InvalidBumpError,
    InvalidNameError,
    Model,
    ModelNotFoundError,
    ModelRegistry,
    NewerFormatError,
    NoPrimaryVersionError,
    NothingToRollBackToError,
    Policy,
    PrimaryMovedError,
    PrimaryProtectedError,
    Recorded,
    RefusedError,
    StoreError,
    Version,
    VersionDeletedError,
    VersioningError,
    VersionNotActiveError,
    VersionNotFoundError,
)
from versioning.artifacts import load_artifact
from versioning.commands import COMMANDS
from versioning.events import VersionActivationFailed, VersionDeployed, VersionPromoted
from versioning.persistence import AppendConflict, decode
from versioning.views import LEDGERS, MODELS, VIEWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from versioning.questions import Questions
    from versioning.views import View

store = stores.store
shared_store = stores.shared_store

ROOT = Path(versioning.__file__).resolve().parent.parent
URI = "s3://bucket/model"
NAME = "churn"
DAY = timedelta(days=1)
AWAITED = Policy(activation="awaited")
NOT_TEXT: Any = 7
AN_ID = "ver_0123456789ab8def8123456789abcdef_1_01234567"


@pytest.fixture
def registry(store: Store) -> ModelRegistry:
    return store()


@pytest.fixture
def awaited(store: Store) -> ModelRegistry:
    return store(policy=AWAITED)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "models.db"


def deploy(registry: ModelRegistry, name: str = NAME, **how: Any) -> Version:
    """Deploy a draft, or what is asked for."""
    return registry.deploy(URI, model_name=name, **how)


def serving(registry: ModelRegistry, name: str = NAME, **how: Any) -> Version:
    """Deploy a published version and see it active, whatever the policy."""
    version = deploy(registry, name, publish=True, **how)
    if version.activation_id is None:
        return version
    return registry.complete_activation(version.version_id, version.activation_id)


def numbers(versions: tuple[Version, ...]) -> list[str]:
    return [version.number for version in versions]


def noted(calls: list[Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """Give the same function, which notes what it was called with."""

    def call(*given: Any, **how: Any) -> Any:
        calls.append(given)
        return function(*given, **how)

    return call


@contextlib.contextmanager
def nothing_recorded(registry: ModelRegistry) -> Iterator[None]:
    before = list(registry.history())
    yield
    assert list(registry.history()) == before


@contextlib.contextmanager
def refused(registry: ModelRegistry, error: type[VersioningError], rule: str | None = None) -> Iterator[None]:
    """See an error raised, by a rule, and nothing recorded."""
    with nothing_recorded(registry), pytest.raises(error) as caught:
        yield
    assert type(caught.value) is error
    assert rule is None or caught.value.rule == rule


BY_VERSION: dict[str, Callable[[ModelRegistry, str], object]] = {
    "publish": lambda registry, version_id: registry.publish(version_id),
    "promote": lambda registry, version_id: registry.promote(version_id),
    "deactivate": lambda registry, version_id: registry.deactivate(version_id),
    "activate": lambda registry, version_id: registry.activate(version_id),
    "complete_activation": lambda registry, version_id: registry.complete_activation(
        version_id, f"act_{version_id[4:]}_1"
    ),
    "fail_activation": lambda registry, version_id: registry.fail_activation(
        version_id, f"act_{version_id[4:]}_1", error="x"
    ),
    "delete": lambda registry, version_id: registry.delete(version_id),
    "version": lambda registry, version_id: registry.version(version_id),
    "allowed": lambda registry, version_id: registry.allowed(version_id),
    "history": lambda registry, version_id: registry.history(version_id),
    "preview": lambda registry, version_id: registry.preview("promote", version_id),
    "at": lambda registry, version_id: registry.at(START).version(version_id),
}
"""All that takes a version_id and nothing else."""

BY_NAME: dict[str, Callable[[ModelRegistry, str], object]] = {
    "rollback": lambda registry, name: registry.rollback(name),
    "delete_model": lambda registry, name: registry.delete_model(name),
    "model": lambda registry, name: registry.model(name),
    "version": lambda registry, name: registry.version(name, number="0.1.0"),
    "versions": lambda registry, name: registry.versions(name),
    "primary": lambda registry, name: registry.primary(name),
    "active": lambda registry, name: registry.active(name),
    "billable": lambda registry, name: registry.billable(name),
    "resolve": lambda registry, name: registry.resolve(name),
    "resolve_number": lambda registry, name: registry.resolve(name, "0.1.0"),
    "resolve_range": lambda registry, name: registry.resolve(name, "^0.1"),
    "resolve_id": lambda registry, name: registry.resolve(name, AN_ID),
    "history": lambda registry, name: registry.history(name),
    "usage": lambda registry, name: registry.usage(START, START + DAY, name),
    "preview": lambda registry, name: registry.preview("rollback", name),
    "at": lambda registry, name: registry.at(START).model(name),
    "load": lambda registry, name: registry.load(name),
    "invoke": lambda registry, name: registry.invoke(name, []),
}
"""All that takes the name of a model that is there."""

WHOLE: dict[str, Callable[[ModelRegistry], object]] = {
    "deploy": lambda registry: deploy(registry, "another"),
    "models": lambda registry: registry.models(),
    "active": lambda registry: registry.active(),
    "billable": lambda registry: registry.billable(),
    "history": lambda registry: list(registry.history()),
    "usage": lambda registry: registry.usage(START, START + DAY),
    "at": lambda registry: registry.at(0),
    "at_moment": lambda registry: registry.at(START).models(),
    "follow": lambda registry: next(registry.follow()),
    "rebuild": lambda registry: registry.rebuild(),
}
"""All that is asked of a whole workspace."""


class TestR1ToR3Numbers:
    @pytest.mark.parametrize("bump", ["MAJOR", "MINOR", "PATCH"])
    def test_the_first_version_of_a_model_is_0_1_0_whatever_bump_is_asked(
        self, registry: ModelRegistry, bump: str
    ) -> None:
        assert deploy(registry, version_bump=bump).number == "0.1.0"

    def test_later_numbers_bump_the_highest_number_ever_allocated(self, awaited: ModelRegistry) -> None:
        deploy(awaited)
        gone = deploy(awaited, version_bump="MAJOR")
        awaited.delete(gone.version_id)
        failed = deploy(awaited, version_bump="minor")
        assert failed.activation_id is not None
        awaited.fail_activation(failed.version_id, failed.activation_id, error="no room")
        assert failed.number == "1.1.0"
        assert deploy(awaited, version_bump="Patch").number == "1.1.1"
        assert deploy(awaited).number == "1.2.0"

    @pytest.mark.parametrize("bump", ["", "MINOR ", "micro", "m\u0131nor", None, 1, b"MINOR"])
    def test_a_bump_is_one_of_three_words(self, registry: ModelRegistry, bump: Any) -> None:
        with refused(registry, InvalidBumpError, "R2"):
            deploy(registry, version_bump=bump)

    def test_a_draft_keeps_number_and_id_when_it_is_published(self, registry: ModelRegistry) -> None:
        draft = deploy(registry)
        published = registry.publish(draft.version_id)
        assert (published.version_id, published.number) == (draft.version_id, draft.number)
        assert (draft.stage, published.stage) == ("draft", "published")
        assert published.semver.minor == 1


class TestR4Name:
    """The name is the identity: case-sensitive, fixed for ever, brought to NFC when it comes in."""

    def test_names_are_case_sensitive(self, registry: ModelRegistry) -> None:
        lower, upper = deploy(registry, "churn"), deploy(registry, "Churn")
        assert lower.model_id != upper.model_id
        assert registry.model("Churn").versions == (upper,)

    def test_names_are_stored_compared_and_given_back_in_nfc(self, registry: ModelRegistry) -> None:
        decomposed, composed = "cafe\u0301", "caf\u00e9"
        first = deploy(registry, decomposed)
        second = deploy(registry, composed)
        assert first.model_id == second.model_id
        assert first.model_name == composed
        assert registry.model(decomposed) == registry.model(composed)
        assert {recorded.model_name for recorded in registry.history(decomposed)} == {composed}
        assert numbers(registry.versions(decomposed)) == ["0.1.0", "0.2.0"]

    @pytest.mark.parametrize(
        "name",
        [
            "x",
            "n" * 256,
            "e\u0301" * 256,
            "\U0001f600" * 256,
            "a b",
            "a/b?c=d",
            "🜁 модель 模型",
            "ver_1",
            "mdl_",
            "act_x",
        ],
    )
    def test_what_has_1_to_256_characters_then_is_accepted_and_read_back(
        self, registry: ModelRegistry, name: str
    ) -> None:
        composed = unicodedata.normalize("NFC", name)
        assert deploy(registry, name).model_name == composed
        assert [model.name for model in registry.models()] == [composed]
        assert registry.model(name).name == composed

    @pytest.mark.parametrize(
        "name",
        [
            "", " ", "\u3000", "n" * 257, "e\u0301" * 257, " a", "a ", "a\u00a0", "\u2028a", "a\nb", "a\x00b", "a\x7f",
            "a\x85b", "\ud800", "a\udfff", AN_ID, "mdl_0123456789ab8def8123456789abcdef_1",
            "act_0123456789ab8def8123456789abcdef_1_01234567_1", None, 1, True, b"a", ["a"], ...,
        ],
        ids=ascii,
    )  # fmt: skip
    def test_any_other_name_is_refused(self, registry: ModelRegistry, name: Any) -> None:
        with refused(registry, InvalidNameError, "R4"):
            deploy(registry, name)
        with refused(registry, InvalidNameError, "R4"):
            registry.versions(name)

    def test_a_model_s_name_is_no_id_to_a_command(self, registry: ModelRegistry) -> None:
        deploy(registry)
        with refused(registry, InvalidArgumentError, "R5"):
            registry.publish(NAME)


class TestR5VersionIds:
    """A version_id alone is enough to find its model."""

    @pytest.mark.parametrize("use", BY_VERSION)
    def test_an_id_that_another_store_gave_is_not_found(self, registry: ModelRegistry, use: str) -> None:
        deploy(registry)
        with ModelRegistry("memory:") as other:
            foreign = deploy(other).version_id
        with refused(registry, VersionNotFoundError, "R24"):
            BY_VERSION[use](registry, foreign)
        with refused(registry, VersionNotFoundError, "R24"):
            registry.resolve(NAME, foreign)

    @pytest.mark.parametrize("use", BY_VERSION)
    def test_an_id_of_a_name_that_was_never_deployed_is_not_found(self, registry: ModelRegistry, use: str) -> None:
        with refused(registry, VersionNotFoundError, "R24"):
            BY_VERSION[use](registry, AN_ID)

    def test_an_id_of_a_fork_is_not_found(self, file: Path) -> None:
        with ModelRegistry(file) as registry:
            before = deploy(registry).version_id
        fork = file.with_name("fork.db")
        shutil.copy(file, fork)
        with ModelRegistry(file) as registry, ModelRegistry(fork) as forked:
            mine, theirs = deploy(registry), deploy(forked)
            assert forked.version(before).number == "0.1.0"
            assert mine.number == theirs.number
            with refused(registry, VersionNotFoundError):
                registry.version(theirs.version_id)

    @pytest.mark.parametrize(
        "text", ["", "0.1.0", NAME, AN_ID.upper(), AN_ID + "x", AN_ID[:-1], None, 7, AN_ID.encode()]
    )
    @pytest.mark.parametrize(
        "use", [use for use in BY_VERSION if use not in {"history", "complete_activation", "fail_activation"}]
    )
    def test_text_of_another_form_is_an_error(self, registry: ModelRegistry, use: str, text: Any) -> None:
        with refused(registry, InvalidArgumentError, "R5"):
            BY_VERSION[use](registry, text)

    def test_it_is_at_most_64_characters_and_url_safe(self, registry: ModelRegistry) -> None:
        version = deploy(registry, "a name/with ünsafe? characters")
        for text in (version.version_id, version.model_id):
            assert len(text) <= 64
            assert text.replace("_", "a").isalnum()
            assert text.isascii()

    def test_a_registry_that_has_never_seen_the_model_finds_it(self, shared_store: Store) -> None:
        version = deploy(shared_store())
        second = shared_store()
        assert second.publish(version.version_id).model_name == NAME
        assert second.version(version.version_id).stage == "published"


class TestR6Lives:
    """After a model is deleted its name is free: the next deployment is a new model."""

    def test_the_next_deployment_is_a_new_model_at_0_1_0(self, registry: ModelRegistry, store: Store) -> None:
        first = deploy(registry, publish=True)
        deploy(registry)
        store.clock.tick()
        gone = registry.delete_model(NAME)
        assert gone.deleted_at == store.clock.now
        with refused(registry, ModelNotFoundError):
            registry.model(NAME)
        store.clock.tick()
        again = deploy(registry)
        assert again.number == "0.1.0"
        assert again.model_id != first.model_id
        assert again.version_id != first.version_id
        assert registry.model(NAME).deployed_at == store.clock.now
        assert registry.model(NAME).primary is None
        assert numbers(registry.versions(NAME, include_deleted=True)) == ["0.1.0"]

    def test_the_old_model_is_found_by_its_id_only(self, registry: ModelRegistry) -> None:
        first = deploy(registry)
        registry.delete(first.version_id)
        second = deploy(registry)
        old, new = registry.model(first.model_id), registry.model(second.model_id)
        assert (old.name, old.versions, old.primary, old.active, old.billable) == (NAME, (), None, (), ())
        assert old.deleted_at is not None
        assert new == registry.model(NAME)
        assert new.deleted_at is None
        assert registry.model(first.model_id) == old
        assert [model.model_id for model in registry.models()] == [second.model_id]

    def test_a_life_that_has_not_begun_is_not_found(self, registry: ModelRegistry) -> None:
        model_id = deploy(registry).model_id
        for missing in (model_id[:-1] + "2", "mdl_0123456789ab8def8123456789abcdef_1"):
            with refused(registry, ModelNotFoundError):
                registry.model(missing)
            with refused(registry, ModelNotFoundError):
                registry.history(missing)

    def test_no_id_is_ever_given_twice(self, registry: ModelRegistry) -> None:
        versions = []
        for _ in range(5):
            versions += [deploy(registry), deploy(registry)]
            registry.delete_model(NAME)
        assert len({version.version_id for version in versions}) == 10
        assert len({version.model_id for version in versions}) == 5
        assert [registry.version(version.version_id).status for version in versions] == ["deleted"] * 10

    def test_the_history_of_each_life_stays_readable(self, registry: ModelRegistry) -> None:
        first = deploy(registry)
        registry.delete_model(NAME)
        second = deploy(registry)
        assert facts(registry.history(first.model_id)) == ["VersionDeployed", "VersionDeleted", "ModelDeleted"]
        assert facts(registry.history(second.model_id)) == ["VersionDeployed"]
        assert facts(registry.history(NAME)) == ["VersionDeployed", "VersionDeleted", "ModelDeleted", "VersionDeployed"]
        assert facts(registry.history(first.version_id)) == ["VersionDeployed", "VersionDeleted"]

    @pytest.mark.parametrize(
        "use",
        [
            use
            for use in BY_VERSION
            if use not in {"version", "history", "allowed", "at", "complete_activation", "fail_activation"}
        ],
    )
    def test_a_command_on_a_version_of_an_old_life_is_refused(self, registry: ModelRegistry, use: str) -> None:
        old = deploy(registry)
        registry.delete_model(NAME)
        deploy(registry)
        with refused(registry, VersionDeletedError, "R17"):
            BY_VERSION[use](registry, old.version_id)
        with refused(registry, VersionDeletedError, "R17"):
            registry.resolve(NAME, old.version_id)
        assert registry.allowed(old.version_id) == ()


class TestR7ToR13Primary:
    """The newest claim wins; the rules themselves are tested beside them, here that the registry passes all on."""

    def test_publishing_claims_as_the_call_or_else_the_policy_says(self, store: Store) -> None:
        registry = store(policy=Policy(publishing_claims=False))
        first = deploy(registry, publish=True)
        assert first.is_primary
        assert not deploy(registry, publish=True).is_primary
        claiming = deploy(registry, publish=True, promote=True)
        assert claiming.is_primary
        draft = deploy(registry)
        assert not registry.publish(draft.version_id).is_primary
        other = deploy(registry)
        assert registry.publish(other.version_id, promote=True).is_primary

    def test_promote_without_publish_is_an_error(self, registry: ModelRegistry) -> None:
        with refused(registry, InvalidArgumentError, "R7"):
            deploy(registry, promote=True)
        assert deploy(registry, promote=False).stage == "draft"

    def test_promoting_a_draft_publishes_it_in_the_same_append(self, registry: ModelRegistry) -> None:
        draft = deploy(registry)
        assert registry.promote(draft.version_id).is_primary
        published, promoted = list(registry.history(NAME))[1:]
        assert facts([published, promoted]) == ["VersionPublished", "VersionPromoted"]
        assert (published.command_id, published.index, published.count) == (promoted.command_id, 0, 2)
        assert promoted.ends_append
        assert not published.ends_append

    def test_promoting_what_is_not_active_is_refused(self, registry: ModelRegistry) -> None:
        version = deploy(registry)
        registry.deactivate(version.version_id)
        with refused(registry, VersionNotActiveError, "R8"):
            registry.promote(version.version_id)

    def test_losing_the_primary_follows_the_policy(self, store: Store) -> None:
        registry = store(policy=Policy(losing_primary="refuse"))
        older = deploy(registry, publish=True)
        newer = deploy(registry, publish=True)
        with refused(registry, PrimaryProtectedError, "R11"):
            registry.deactivate(newer.version_id)
        with refused(registry, PrimaryProtectedError, "R11"):
            registry.delete(newer.version_id)
        assert registry.promote(older.version_id).is_primary
        registry.delete(newer.version_id)
        assert registry.delete_model(NAME).primary is None

    def test_rollback_gives_the_version_that_it_went_back_to(self, registry: ModelRegistry) -> None:
        older, newer = deploy(registry, publish=True), deploy(registry, publish=True)
        assert registry.rollback(NAME).version_id == older.version_id
        assert registry.primary(NAME) == registry.version(older.version_id)
        with refused(registry, NothingToRollBackToError, "R13"):
            registry.rollback(NAME)
        (last,) = list(registry.history(NAME))[-1:]
        assert last.event == VersionPromoted(older.version_id, newer.version_id, "rollback", at_us=last.event.at_us)


class TestR14ToR17Activity:
    def test_a_version_is_active_at_once_where_activation_is_instant(self, registry: ModelRegistry) -> None:
        version = deploy(registry)
        assert (version.status, version.activation_id) == ("active", None)

    def test_the_service_answers_with_the_activation_id_where_it_is_awaited(self, awaited: ModelRegistry) -> None:
        waiting = deploy(awaited, publish=True)
        assert (waiting.status, waiting.is_primary) == ("activating", False)
        assert waiting.activation_id is not None
        ready = awaited.complete_activation(waiting.version_id, waiting.activation_id)
        assert (ready.status, ready.is_primary, ready.activation_id) == ("active", True, None)

    def test_a_failure_is_kept_until_the_next_start(self, awaited: ModelRegistry) -> None:
        waiting = deploy(awaited)
        assert waiting.activation_id is not None
        failed = awaited.fail_activation(waiting.version_id, waiting.activation_id, error="out of\nmemory")
        assert (failed.status, failed.failure) == ("inactive", "out of\nmemory")
        retried = awaited.activate(waiting.version_id)
        assert (retried.status, retried.failure) == ("activating", None)
        assert retried.activation_id not in {None, waiting.activation_id}

    def test_a_stale_answer_records_nothing_and_is_no_error(self, awaited: ModelRegistry) -> None:
        waiting = deploy(awaited)
        stale = waiting.activation_id
        assert stale is not None
        awaited.deactivate(waiting.version_id)
        again = awaited.activate(waiting.version_id)
        with nothing_recorded(awaited):
            assert awaited.complete_activation(waiting.version_id, stale) == again
            assert awaited.fail_activation(waiting.version_id, stale, error="late") == again
        awaited.delete(waiting.version_id)
        with nothing_recorded(awaited):
            assert awaited.complete_activation(waiting.version_id, stale).status == "deleted"
        for malformed in ("", waiting.version_id, NOT_TEXT):
            with refused(awaited, InvalidArgumentError, "R15"):
                awaited.complete_activation(waiting.version_id, malformed)

    def test_deleting_the_only_version_left_deletes_the_model_in_the_same_append(self, registry: ModelRegistry) -> None:
        version = deploy(registry, publish=True)
        registry.deactivate(version.version_id)
        assert registry.delete(version.version_id).status == "deleted"
        assert facts(registry.history(NAME))[-2:] == ["VersionDeleted", "ModelDeleted"]
        with refused(registry, VersionDeletedError, "R17"):
            registry.delete(version.version_id)
        assert registry.version(version.version_id).status == "deleted"

    def test_deleting_a_model_deletes_each_version_left_in_one_append(self, registry: ModelRegistry) -> None:
        versions = [deploy(registry, publish=publish) for publish in (True, False, True)]
        registry.delete(versions[1].version_id)
        gone = registry.delete_model(NAME)
        recorded = list(registry.history(NAME))[-4:]
        assert facts(recorded) == ["VersionDeleted", "VersionDeleted", "PrimaryCleared", "ModelDeleted"]
        assert len({one.command_id for one in recorded}) == 1
        assert isinstance(gone, Model)
        assert gone == registry.model(gone.model_id)


class TestR18Billable:
    """A version is billing-eligible while it is active or activating."""

    def test_neither_inactive_nor_deleted_versions_count(self, awaited: ModelRegistry) -> None:
        active, waiting, stopped, gone = serving(awaited), deploy(awaited), serving(awaited), serving(awaited)
        awaited.deactivate(stopped.version_id)
        awaited.delete(gone.version_id)
        other = deploy(awaited, "other")
        assert [version.version_id for version in awaited.billable(NAME)] == [active.version_id, waiting.version_id]
        assert [version.version_id for version in awaited.active(NAME)] == [active.version_id]
        assert awaited.billable() == (*awaited.billable(NAME), other)
        assert awaited.active() == awaited.active(NAME)
        assert awaited.model(NAME).billable == awaited.billable(NAME)
        assert awaited.model(NAME).active == awaited.active(NAME)
        assert waiting.is_billable
        assert not awaited.version(stopped.version_id).is_billable


class TestR19Usage:
    """Usage over `[start, end)` is made of half-open intervals in UTC, in whole microseconds."""

    @pytest.fixture
    def day(self, registry: ModelRegistry, store: Store) -> dict[str, Version]:
        """9:00 a is deployed, 10:00 published, 11:00 b, 12:00 a is stopped, 13:00 model c is deployed and deleted."""
        clock, hour = store.clock, 3_600
        a = deploy(registry)
        clock.tick(hour)
        registry.publish(a.version_id)
        clock.tick(hour)
        b = deploy(registry, publish=True)
        clock.tick(hour)
        registry.deactivate(a.version_id)
        clock.tick(hour)
        c = deploy(registry, "c")
        clock.tick(0.000_001)
        registry.delete_model("c")
        clock.tick(hour)
        return {"a": a, "b": b, "c": c}

    def test_lines_cite_what_opens_and_closes_them_and_split_where_the_stage_changes(
        self, registry: ModelRegistry, day: dict[str, Version]
    ) -> None:
        usage = registry.usage(START, START + DAY)
        hours = [
            (line.version_id, line.stage, (line.start - START) / timedelta(hours=1), line.opened_by, line.closed_by)
            for line in usage.lines
        ]
        a, b, c = (day[name].version_id for name in "abc")
        assert hours == [
            (c, "draft", 4.0, 7, 8),
            (a, "draft", 0.0, 1, 2),
            (a, "published", 1.0, 2, 6),
            (b, "published", 2.0, 4, None),
        ]
        assert usage.lines[0].microseconds == 1
        assert usage.position == 9
        assert usage.total_microseconds == 1 + 3_600_000_000 * (1 + 2 + 3) + 1

    def test_a_model_s_usage_is_its_part_of_the_whole_over_all_its_lives(
        self, registry: ModelRegistry, day: dict[str, Version]
    ) -> None:
        deploy(registry, "c")
        whole = registry.usage(START, START + DAY)
        for name in (NAME, "c"):
            part = registry.usage(START, START + DAY, name)
            assert part.lines == tuple(line for line in whole.lines if line.model_name == name)
            assert part.position == whole.position
        assert {line.model_id for line in registry.usage(START, START + DAY, "c").lines} == {day["c"].model_id}

    def test_the_parts_of_a_partition_add_up_to_the_whole(
        self, registry: ModelRegistry, day: dict[str, Version]
    ) -> None:
        assert day
        cuts = [START + timedelta(minutes=minutes) for minutes in (-30, 0, 7, 60, 61, 119, 200, 240, 300, 1440)]
        parts = [registry.usage(start, end) for start, end in itertools.pairwise(cuts)]
        whole = registry.usage(cuts[0], cuts[-1])
        assert sum(part.total_microseconds for part in parts) == whole.total_microseconds
        assert all(line.closed_by is None for line in parts[3].lines)

    def test_a_past_bill_asked_again_as_of_its_position_is_the_same(
        self, registry: ModelRegistry, store: Store, day: dict[str, Version]
    ) -> None:
        end = START + timedelta(hours=4)
        bill, part = registry.usage(START, end), registry.usage(START, end, NAME)
        store.clock.tick(3_600)
        registry.delete(day["b"].version_id)
        deploy(registry)
        assert registry.at(bill.position).usage(START, end) == bill
        assert registry.at(part.position).usage(START, end, NAME) == part

    def test_what_is_open_ends_now_and_there_are_no_empty_lines(self, registry: ModelRegistry, store: Store) -> None:
        deploy(registry)
        assert registry.usage(START, START + DAY).lines == ()
        store.clock.tick(5)
        (line,) = registry.usage(START, START + DAY).lines
        assert (line.end, line.microseconds, line.closed_by) == (store.clock.now, 5_000_000, None)
        assert registry.usage(START - DAY, START).lines == ()
        assert registry.usage(START, START).lines == ()

    def test_periods_are_aware_and_run_forward(self, registry: ModelRegistry) -> None:
        with refused(registry, InvalidArgumentError, "R23"):
            registry.usage(START.replace(tzinfo=None), START)
        with refused(registry, InvalidArgumentError, "R23"):
            registry.usage(START, NOT_TEXT)
        with refused(registry, InvalidArgumentError, "R19"):
            registry.usage(START, START - timedelta(microseconds=1))
        east = timezone(timedelta(hours=5, minutes=30))
        assert registry.usage(START.astimezone(east), START + DAY).start == START


class TestR20Repeats:
    """A command that asks for what is already so succeeds and records nothing."""

    @pytest.mark.parametrize(
        ("prepare", "command"),
        [
            (lambda registry: deploy(registry, publish=True), "publish"),
            (lambda registry: registry.deactivate(deploy(registry, publish=True).version_id), "publish"),
            (lambda registry: deploy(registry, publish=True), "promote"),
            (lambda registry: registry.deactivate(deploy(registry).version_id), "deactivate"),
            (deploy, "activate"),
        ],
    )
    def test_it_gives_the_version_as_it_is(
        self, registry: ModelRegistry, prepare: Callable[[ModelRegistry], Version], command: str
    ) -> None:
        version = prepare(registry)
        with nothing_recorded(registry):
            assert getattr(registry, command)(version.version_id) == version

    def test_activating_what_is_activating_too(self, awaited: ModelRegistry) -> None:
        version = deploy(awaited)
        with nothing_recorded(awaited):
            assert awaited.activate(version.version_id) == version

    def test_promoting_the_primary_renews_its_claim_when_another_holds_a_newer_one(
        self, awaited: ModelRegistry
    ) -> None:
        primary = serving(awaited)
        starting = deploy(awaited, publish=True)
        assert starting.activation_id is not None
        awaited.promote(primary.version_id)
        assert facts(awaited.history(NAME))[-1] == "VersionPromoted"
        assert not awaited.complete_activation(starting.version_id, starting.activation_id).is_primary

    def test_deactivating_what_failed_withdraws_its_claim(self, awaited: ModelRegistry) -> None:
        failed = deploy(awaited, publish=True)
        assert failed.activation_id is not None
        awaited.fail_activation(failed.version_id, failed.activation_id, error="x")
        awaited.deactivate(failed.version_id)
        assert facts(awaited.history(NAME))[-1] == "VersionDeactivated"
        with nothing_recorded(awaited):
            awaited.deactivate(failed.version_id)


def _two(registry: ModelRegistry) -> tuple[str, str]:
    """Give an active version and the primary."""
    return serving(registry).version_id, serving(registry).version_id


Keyed = tuple["Callable[[ModelRegistry, str], Version | Model]", "Callable[[ModelRegistry, str], object]"]


def _keyed_deploy(_: ModelRegistry) -> Keyed:
    return (
        lambda registry, key: deploy(registry, idempotency_key=key),
        lambda registry, key: deploy(registry, idempotency_key=key, version_bump="MAJOR"),
    )


def _keyed_publish(registry: ModelRegistry) -> Keyed:
    draft = deploy(registry).version_id
    return (
        lambda registry, key: registry.publish(draft, idempotency_key=key),
        lambda registry, key: registry.publish(draft, promote=False, idempotency_key=key),
    )


def _keyed_promote(registry: ModelRegistry) -> Keyed:
    version_id, primary = _two(registry)
    return (
        lambda registry, key: registry.promote(version_id, idempotency_key=key),
        lambda registry, key: registry.promote(version_id, expected_primary=primary, idempotency_key=key),
    )


def _keyed_rollback(registry: ModelRegistry) -> Keyed:
    _, primary = _two(registry)
    return (
        lambda registry, key: registry.rollback(NAME, expected_primary=primary, idempotency_key=key),
        lambda registry, key: registry.rollback(NAME, idempotency_key=key),
    )


def _keyed_deactivate(registry: ModelRegistry) -> Keyed:
    version_id, primary = _two(registry)
    return (
        lambda registry, key: registry.deactivate(version_id, idempotency_key=key),
        lambda registry, key: registry.deactivate(version_id, expected_primary=primary, idempotency_key=key),
    )


def _keyed_activate(registry: ModelRegistry) -> Keyed:
    version_id, primary = _two(registry)
    registry.deactivate(version_id)
    return (
        lambda registry, key: registry.activate(version_id, idempotency_key=key),
        lambda registry, key: registry.activate(primary, idempotency_key=key),
    )


def _keyed_complete(registry: ModelRegistry) -> Keyed:
    waiting = deploy(registry)
    activation_id = str(waiting.activation_id)
    return (
        lambda registry, key: registry.complete_activation(waiting.version_id, activation_id, idempotency_key=key),
        lambda registry, key: registry.complete_activation(
            waiting.version_id, activation_id + "0", idempotency_key=key
        ),
    )


def _keyed_fail(registry: ModelRegistry) -> Keyed:
    waiting = deploy(registry)
    activation_id = str(waiting.activation_id)
    return (
        lambda registry, key: registry.fail_activation(
            waiting.version_id, activation_id, error="x", idempotency_key=key
        ),
        lambda registry, key: registry.fail_activation(
            waiting.version_id, activation_id, error="y", idempotency_key=key
        ),
    )


def _keyed_delete(registry: ModelRegistry) -> Keyed:
    version_id, primary = _two(registry)
    return (
        lambda registry, key: registry.delete(version_id, idempotency_key=key),
        lambda registry, key: registry.delete(primary, idempotency_key=key),
    )


def _keyed_delete_model(registry: ModelRegistry) -> Keyed:
    deploy(registry)
    return (
        lambda registry, key: registry.delete_model(NAME, idempotency_key=key),
        lambda registry, key: deploy(registry, idempotency_key=key),
    )


KEYED: dict[str, Callable[[ModelRegistry], Keyed]] = {
    "deploy": _keyed_deploy,
    "publish": _keyed_publish,
    "promote": _keyed_promote,
    "rollback": _keyed_rollback,
    "deactivate": _keyed_deactivate,
    "activate": _keyed_activate,
    "complete_activation": _keyed_complete,
    "fail_activation": _keyed_fail,
    "delete": _keyed_delete,
    "delete_model": _keyed_delete_model,
}
"""What makes a model ready for a command, and gives it and another one, both with a key."""


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

    def test_a_repeat_by_another_process_is_known(self, file: Path) -> None:
        with ModelRegistry(file) as registry:
            made = deploy(registry, idempotency_key="k")
            program = (
                "import sys, versioning\n"
                "with versioning.ModelRegistry(sys.argv[1]) as registry:\n"
                f"    print(registry.deploy({URI!r}, model_name={NAME!r}, idempotency_key='k').version_id)\n"
            )
            with nothing_recorded(registry):
                process = subprocess.run(
                    [sys.executable, "-c", program, f"sqlite:///{file}"],
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
        version_id, primary = _two(registry)
        made = registry.promote(version_id, expected_primary=primary, idempotency_key="k")
        assert registry.promote(version_id, expected_primary=primary, idempotency_key="k") == made

    def test_a_key_that_another_registry_used_meanwhile_is_found_in_the_retry(
        self, shared_store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = shared_store(), shared_store()
        deploy(first)
        made: list[Version] = []
        find = type(first._recorder).find_key

        def late(recorder: Any, stream: str, key: str) -> Any:
            found = find(recorder, stream, key)
            if recorder is first._recorder and not made:
                made.append(deploy(second, idempotency_key="k"))
            return found

        monkeypatch.setattr(type(first._recorder), "find_key", late)
        assert deploy(first, idempotency_key="k") == made[0]
        assert numbers(first.versions(NAME)) == ["0.1.0", "0.2.0"]

    def test_a_key_found_behind_what_is_known_is_read_first(
        self, shared_store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = shared_store(), shared_store()
        deploy(first)
        made: list[Version] = []
        find = type(first._recorder).find_key

        def early(recorder: Any, stream: str, key: str) -> Any:
            if recorder is first._recorder and not made:
                made.append(deploy(second, idempotency_key="k"))
            return find(recorder, stream, key)

        monkeypatch.setattr(type(first._recorder), "find_key", early)
        assert deploy(first, idempotency_key="k") == made[0]


class LostReply:
    """An append that commits, and whose reply is then lost; or that is lost before."""

    def __init__(self, registry: ModelRegistry, error: Exception, *, commits: bool = True, times: int = 1) -> None:
        self._append = registry._recorder.append
        self._error = error
        self._commits = commits
        self.times = times

    def __call__(self, rows: Any) -> Any:
        if not self.times:
            return self._append(rows)
        self.times -= 1
        if self._commits:
            self._append(rows)
        raise self._error


def state_of(questions: Questions, name: str = NAME) -> list[object]:
    """Give all that one model's questions answer, or how they refuse."""

    def ask(question: Callable[[], object]) -> object:
        try:
            return question()
        except VersioningError as error:
            return type(error)

    return [
        ask(lambda: questions.model(name)),
        ask(lambda: questions.versions(name, include_deleted=True)),
        ask(lambda: questions.primary(name)),
        ask(lambda: questions.active(name)),
        ask(lambda: questions.billable(name)),
        ask(lambda: questions.resolve(name)),
        ask(lambda: questions.resolve(name, "^0.1")),
        ask(lambda: list(questions.history(name))),
        ask(questions.models),
        ask(questions.active),
        ask(questions.billable),
        ask(lambda: list(questions.history())),
    ]


class TestR22Concurrency:
    """Concurrent commands on one model behave as in some serial order."""

    def test_a_stale_registry_deploys_the_next_number(self, shared_store: Store) -> None:
        first, second = shared_store(), shared_store()
        assert deploy(first).number == "0.1.0"
        assert deploy(second).number == "0.2.0"
        assert deploy(first).number == "0.3.0"
        assert deploy(second, version_bump="MAJOR").number == "1.0.0"
        assert state_of(first) == state_of(second)

    @pytest.mark.parametrize("ahead", [1, 2, 5, 150])
    def test_whatever_was_recorded_behind_its_cache_is_read_once_and_for_all(
        self, shared_store: Store, monkeypatch: pytest.MonkeyPatch, ahead: int
    ) -> None:
        first, second = shared_store(), shared_store()
        deploy(first)
        for _ in range(ahead):
            deploy(second)
        appends: list[object] = []
        monkeypatch.setattr(first._recorder, "append", noted(appends, first._recorder.append))
        assert deploy(first).number == f"0.{ahead + 2}.0"
        assert len(appends) == 2

    def test_it_does_not_refuse_what_has_become_possible(self, shared_store: Store) -> None:
        first, second = shared_store(), shared_store()
        version_id = deploy(first).version_id
        first.deactivate(version_id)
        second.activate(version_id)
        assert first.promote(version_id).is_primary

    def test_it_does_not_allow_what_has_become_impossible(self, shared_store: Store) -> None:
        first, second = shared_store(), shared_store()
        version_id, keep = deploy(first).version_id, deploy(first)
        second.delete(version_id)
        with refused(first, VersionDeletedError):
            first.promote(version_id)
        second.delete(keep.version_id)
        with refused(first, ModelNotFoundError):
            first.rollback(NAME)
        with refused(first, ModelNotFoundError):
            first.delete_model(NAME)

    def test_it_does_not_answer_nothing_to_do_from_a_stale_state(self, shared_store: Store) -> None:
        first, second = shared_store(), shared_store()
        version_id, primary = _two(first)
        assert first.version(primary).is_primary
        second.promote(version_id)
        assert first.promote(primary).is_primary
        second.deactivate(version_id)
        assert first.deactivate(primary).status == "inactive"
        second.activate(primary)
        assert first.deactivate(primary).status == "inactive"

    def test_it_finds_what_was_deployed_behind_it(self, shared_store: Store) -> None:
        first, second = shared_store(), shared_store()
        deploy(first)
        later = deploy(second)
        assert first.promote(later.version_id).is_primary
        second.delete_model(NAME)
        newest = deploy(second)
        assert first.publish(newest.version_id).number == "0.1.0"
        assert first.version(newest.version_id).stage == "published"

    def test_questions_are_answered_as_of_now(self, shared_store: Store) -> None:
        first, second = shared_store(), shared_store()
        version_id, primary = _two(first)
        state_of(first)
        second.promote(version_id)
        second.deactivate(primary)
        deploy(second, "other")
        assert state_of(first) == state_of(second)
        assert first.primary(NAME) == second.version(version_id)
        assert first.allowed(primary) == second.allowed(primary)

    def test_a_rule_is_kept_though_the_cache_does_not_know(self, shared_store: Store) -> None:
        policy = Policy(losing_primary="refuse")
        first, second = shared_store(policy=policy), shared_store(policy=policy)
        only = deploy(first, publish=True).version_id
        heir = deploy(second, publish=True, promote=False).version_id
        with refused(first, PrimaryProtectedError):
            first.deactivate(only)
        second.deactivate(heir)
        assert first.deactivate(only).status == "inactive"

    @pytest.mark.parametrize("error", [AppendConflict("no"), StoreError("The connection broke.")], ids=repr)
    @pytest.mark.parametrize("command", KEYED)
    def test_a_command_whose_reply_was_lost_is_recorded_once_and_succeeds(
        self, awaited: ModelRegistry, monkeypatch: pytest.MonkeyPatch, error: Exception, command: str
    ) -> None:
        do, _ = KEYED[command](awaited)
        before = len(list(awaited.history()))
        lost = LostReply(awaited, error)
        monkeypatch.setattr(awaited._recorder, "append", lost)
        done = do(awaited, "k")
        assert lost.times == 0
        recorded = list(awaited.history())[before:]
        assert len({one.command_id for one in recorded}) == 1
        assert len(recorded) == recorded[0].count
        with nothing_recorded(awaited):
            assert do(awaited, "k") == done
        assert state_of(awaited) == state_of(awaited.at(recorded[-1].position))

    @pytest.mark.parametrize("error", [AppendConflict("no"), StoreError("The connection broke.")], ids=repr)
    def test_a_lost_reply_without_a_key_does_not_deploy_twice(
        self, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        deploy(registry)
        monkeypatch.setattr(registry._recorder, "append", LostReply(registry, error))
        assert deploy(registry, publish=True).number == "0.2.0"
        assert deploy(registry).number == "0.3.0"

    def test_a_lost_reply_is_recognised_though_others_went_on(
        self, shared_store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = shared_store(), shared_store()
        deploy(first)
        append = first._recorder.append

        def lose(rows: Any) -> None:
            append(rows)
            monkeypatch.setattr(first._recorder, "append", append)
            deploy(second)
            first.model(NAME)  # another thread of this process that has read the tail already
            deploy(second)
            msg = "no"
            raise AppendConflict(msg)

        monkeypatch.setattr(first._recorder, "append", lose)
        assert deploy(first, publish=True).number == "0.2.0"
        assert numbers(first.versions(NAME)) == ["0.1.0", "0.2.0", "0.3.0", "0.4.0"]
        assert deploy(first).number == "0.5.0"

    def test_what_another_thread_read_before_the_reply_came_is_not_taken_in_twice(
        self, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deploy(registry)
        append = registry._recorder.append

        def slow(rows: Any) -> Any:
            positions = append(rows)
            registry.model(NAME)
            return positions

        monkeypatch.setattr(registry._recorder, "append", slow)
        assert deploy(registry, publish=True).is_primary
        assert deploy(registry).number == "0.3.0"
        assert state_of(registry) == state_of(registry.at(4))

    def test_what_the_store_refused_is_a_store_error_and_not_recorded(
        self, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deploy(registry)
        monkeypatch.setattr(registry._recorder, "append", LostReply(registry, StoreError("Full."), commits=False))
        with refused(registry, StoreError) as _:
            deploy(registry)
        assert deploy(registry).number == "0.2.0"

    def test_where_the_store_can_not_be_asked_either_it_says_so(
        self, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deploy(registry)

        def fail(*_: object) -> Any:
            msg = "Gone."
            raise StoreError(msg)

        with monkeypatch.context() as gone:
            gone.setattr(registry._recorder, "append", fail)
            gone.setattr(registry._recorder, "tail", fail)
            with pytest.raises(StoreError, match="Whether it was recorded is not known"):
                deploy(registry)
        assert deploy(registry).number == "0.2.0"

    def test_after_bounded_retries_there_is_a_clear_error(
        self, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deploy(registry)
        monkeypatch.setattr("versioning.registry.PAUSE_S_MAX", 0.001)
        lost = LostReply(registry, AppendConflict("no"), commits=False, times=1_000)
        with monkeypatch.context() as busy:
            busy.setattr(registry._recorder, "append", lost)
            with refused(registry, ConcurrencyError, "R22"):
                deploy(registry)
            assert lost.times == 1_000 - versioning.registry.TRIES_MAX
            (live,) = registry._cached.values()
            with live.turn, refused(registry, ConcurrencyError, "R22"):
                deploy(registry)
        assert deploy(registry).number == "0.2.0"

    def test_a_command_does_not_wait_for_ever_for_its_turn(
        self, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("versioning.registry.PAUSE_S_MAX", 0.0001)
        deploy(registry)
        (live,) = registry._cached.values()
        with live.turn:
            assert deploy(registry).number == "0.2.0"

    def test_one_registry_serves_eight_threads_on_one_model(self, store: Store) -> None:
        self._threads(store, store(), [NAME])

    def test_one_registry_serves_eight_threads_on_several_models(self, store: Store) -> None:
        self._threads(store, store(), ["a", "b", "c"])

    def test_eight_registries_on_one_store_do_too(self, shared_store: Store) -> None:
        self._threads(shared_store, shared_store(), [NAME], [shared_store() for _ in range(8)])

    @staticmethod
    def _threads(
        store: Store, registry: ModelRegistry, names: list[str], others: list[ModelRegistry] | None = None
    ) -> None:
        """Deploy, promote, roll back, stop and delete side by side; then see that it was in some serial order."""
        rounds = 12

        def work(number: int) -> Callable[[], None]:
            mine = others[number] if others else registry

            def run() -> None:
                for step in range(rounds):
                    name = names[(number + step) % len(names)]
                    version = deploy(mine, name, publish=step % 3 > 0, actor=str(number))
                    assert version.deployed_by == str(number)
                    commands: list[tuple[Callable[[str], object], str]] = [
                        (mine.promote, version.version_id),
                        (mine.rollback, name),
                        (mine.deactivate, version.version_id),
                        (mine.activate, version.version_id),
                        (mine.delete, version.version_id),
                    ]
                    for command, target in commands[number % 3 : number % 3 + 1 + step % 3]:
                        with contextlib.suppress(RefusedError):
                            command(target)

            return run

        # a version that stays, so that no model is ever deleted
        for name in names:
            deploy(registry, name, publish=True)
        in_threads(*(work(number) for number in range(8)))
        assert len(list(registry.history())) == registry._recorder.head()
        for name in names:
            history = list(registry.history(name))
            assert [recorded.sequence for recorded in history] == list(range(1, len(history) + 1))
            deployed = [recorded.event for recorded in history if isinstance(recorded.event, VersionDeployed)]
            assert [event.number for event in deployed] == [f"0.{place + 1}.0" for place in range(len(deployed))]
            assert len({event.version_id for event in deployed}) == len(deployed)
            model = registry.model(name)
            assert [version for version in model.versions if version.is_primary] == [model.primary]
        assert sum(len(registry.versions(name, include_deleted=True)) for name in names) == 8 * rounds + len(names)
        for name in names:
            assert state_of(registry, name) == state_of(registry.at(registry._recorder.head()), name)
        if store.kind.shared:
            with store() as fresh:
                assert state_of(fresh) == state_of(registry)


class TestR22ExpectedPrimary:
    """`expected_primary=` refuses when someone moved the primary first; `None` expects that there is none."""

    COMMANDS = pytest.mark.parametrize(
        "command",
        [
            lambda registry, version_id, **how: registry.promote(version_id, **how),
            lambda registry, _, **how: registry.rollback(NAME, **how),
            lambda registry, version_id, **how: registry.deactivate(version_id, **how),
            lambda registry, version_id, **how: registry.delete(version_id, **how),
        ],
        ids=["promote", "rollback", "deactivate", "delete"],
    )

    @COMMANDS
    def test_it_is_done_when_the_primary_is_as_expected(
        self, registry: ModelRegistry, command: Callable[..., Version]
    ) -> None:
        version_id, primary = _two(registry)
        assert command(registry, version_id, expected_primary=primary).version_id == version_id
        assert len(list(registry.history())) > 4

    @COMMANDS
    @pytest.mark.parametrize("expected", [None, AN_ID, "itself"], ids=["none", "another", "itself"])
    def test_it_is_refused_when_it_is_not(
        self, registry: ModelRegistry, command: Callable[..., Version], expected: str | None
    ) -> None:
        version_id, primary = _two(registry)
        expected = version_id if expected == "itself" else expected
        with refused(registry, PrimaryMovedError, "R22"):
            command(registry, version_id, expected_primary=expected)
        with pytest.raises(PrimaryMovedError) as caught:
            command(registry, version_id, expected_primary=expected)
        assert (caught.value.expected, caught.value.actual) == (expected, primary)

    @COMMANDS
    def test_none_expects_that_there_is_none(self, store: Store, command: Callable[..., Version]) -> None:
        registry = store(policy=Policy(losing_primary="leave_none"))
        version_id, primary = _two(registry)
        registry.deactivate(primary)
        with refused(registry, PrimaryMovedError):
            command(registry, version_id, expected_primary=primary)
        assert command(registry, version_id, expected_primary=None).version_id == version_id

    @COMMANDS
    def test_it_is_looked_at_before_what_is_already_so(
        self, registry: ModelRegistry, command: Callable[..., Version]
    ) -> None:
        stopped, primary = _two(registry)
        registry.deactivate(stopped)
        with refused(registry, PrimaryMovedError):
            command(registry, stopped, expected_primary=None)
        with refused(registry, PrimaryMovedError):
            command(registry, primary, expected_primary=stopped)

    def test_it_keeps_two_people_from_going_back_twice(self, shared_store: Store) -> None:
        first, second = shared_store(), shared_store()
        serving(first)
        middle, newest = _two(first)
        assert first.rollback(NAME, expected_primary=newest).version_id == middle
        with refused(second, PrimaryMovedError):
            second.rollback(NAME, expected_primary=newest)

    @pytest.mark.parametrize("expected", ["", "0.1.0", 1, True, b"x"])
    def test_it_is_the_id_of_a_version(self, registry: ModelRegistry, expected: Any) -> None:
        with refused(registry, InvalidArgumentError, "R5"):
            registry.rollback(NAME, expected_primary=expected)


class TestR23Time:
    """Timestamps are aware UTC and never go back within a stream, even when the clock does."""

    def test_when_the_clock_goes_back_the_last_one_is_used_again(self, registry: ModelRegistry, store: Store) -> None:
        version = deploy(registry)
        store.clock.tick(-3_600)
        other = deploy(registry, "other")
        registry.publish(version.version_id)
        registry.activate(version.version_id)
        assert [recorded.timestamp for recorded in registry.history(NAME)] == [START] * 3
        assert other.deployed_at == START - timedelta(hours=1)
        store.clock.tick(3_601)
        registry.deactivate(version.version_id)
        assert list(registry.history(NAME))[-1].timestamp == START + timedelta(seconds=1)

    def test_a_registry_with_a_slower_clock_goes_on_from_the_last_one(self, shared_store: Store) -> None:
        version = deploy(shared_store())
        slow = shared_store(clock=Clock(START - DAY))
        assert slow.publish(version.version_id).published_at == START

    def test_what_the_clock_says_in_another_time_zone_is_kept_in_utc(self, store: Store) -> None:
        registry = store(clock=lambda: START.astimezone(timezone(timedelta(hours=-7))))
        assert deploy(registry).deployed_at == START
        assert deploy(registry).deployed_at.tzinfo is UTC

    @pytest.mark.parametrize("moment", [datetime(2026, 1, 1), 0, None, "now"], ids=str)  # noqa: DTZ001 - what is refused
    def test_a_clock_that_gives_anything_else_is_an_error(self, store: Store, moment: Any) -> None:
        given = [START]
        registry = store(clock=lambda: given[-1])
        version = deploy(registry)
        given.append(moment)
        with refused(registry, InvalidArgumentError, "R23"):
            deploy(registry)
        with refused(registry, InvalidArgumentError, "R23"):
            registry.publish(version.version_id)

    def test_without_a_clock_it_is_the_machine_s(self, store: Store) -> None:
        registry = store(clock=None)
        before = datetime.now(UTC)
        version = deploy(registry)
        assert before - timedelta(microseconds=1) < version.deployed_at <= datetime.now(UTC)
        assert registry.at(version.deployed_at).version(version.version_id) == version

    @pytest.mark.parametrize("clock", [0, "now", START, True], ids=str)
    def test_a_clock_is_a_function(self, clock: Any) -> None:
        with pytest.raises(InvalidArgumentError) as caught:
            ModelRegistry("memory:", clock=clock)
        assert (caught.value.rule, caught.value.facts["argument"]) == ("R23", "clock")


class TestR24Resolve:
    """`resolve(name)` gives the primary; a number, a version_id or a range gives that version, which must be active."""

    @pytest.fixture
    def many(self, registry: ModelRegistry) -> dict[str, Version]:
        """0.1.0, 0.1.1, 0.2.0, 1.0.0 (inactive), 1.1.0 (deleted), 1.1.1 (draft), 1.2.0 published; 0.1.1 is primary."""
        bumps = ["MINOR", "PATCH", "MINOR", "MAJOR", "MINOR", "PATCH", "MINOR"]
        versions = [deploy(registry, version_bump=bump, publish=place != 5) for place, bump in enumerate(bumps)]
        registry.deactivate(versions[3].version_id)
        registry.delete(versions[4].version_id)
        registry.promote(versions[1].version_id)
        return {version.number: registry.version(version.version_id) for version in versions}

    def test_without_a_version_it_is_the_primary(self, registry: ModelRegistry, many: dict[str, Version]) -> None:
        assert registry.resolve(NAME) == many["0.1.1"] == registry.primary(NAME)

    def test_without_a_primary_it_is_an_error(self, registry: ModelRegistry) -> None:
        deploy(registry)
        with refused(registry, NoPrimaryVersionError, "R24"):
            registry.resolve(NAME)
        assert registry.primary(NAME) is None

    @pytest.mark.parametrize("number", ["0.1.0", "0.1.1", "0.2.0", "1.1.1", "1.2.0"])
    def test_an_exact_number_or_id_gives_the_active_version_drafts_too(
        self, registry: ModelRegistry, many: dict[str, Version], number: str
    ) -> None:
        assert registry.resolve(NAME, number) == many[number]
        assert registry.resolve(NAME, many[number].version_id) == many[number]

    def test_what_is_named_exactly_must_be_active(self, registry: ModelRegistry, many: dict[str, Version]) -> None:
        for named in ("1.0.0", many["1.0.0"].version_id):
            with refused(registry, VersionNotActiveError, "R24"):
                registry.resolve(NAME, named)
        for named in ("1.1.0", many["1.1.0"].version_id):
            with refused(registry, VersionDeletedError, "R17"):
                registry.resolve(NAME, named)

    def test_what_is_starting_is_not_active(self, awaited: ModelRegistry) -> None:
        deploy(awaited, publish=True)
        with refused(awaited, VersionNotActiveError, "R24"):
            awaited.resolve(NAME, "0.1.0")
        with refused(awaited, VersionNotFoundError, "R24"):
            awaited.resolve(NAME, "^0.1")

    @pytest.mark.parametrize(
        ("wanted", "number"),
        [
            ("^0.1", "0.1.1"),
            ("^0.2.0", "0.2.0"),
            ("~0.1.0", "0.1.1"),
            (">=0.1.0", "1.2.0"),
            (">0.1.0,<0.2.0", "0.1.1"),
            (">=0.1.0, <=0.2.0", "0.2.0"),
            ("^1", "1.2.0"),
            ("^1.1", "1.2.0"),
            ("~1.2", "1.2.0"),
            ("<1.0.0", "0.2.0"),
            ("=0.1.0", "0.1.0"),
            ("!=1.2.0", "0.2.0"),
            ("~1.1.0", None),  # 1.1.0 is deleted, 1.1.1 a draft
            ("=1.0.0", None),
            ("=1.1.1", None),
            (">=2", None),
            ("^0.3", None),
        ],
    )
    def test_a_range_gives_the_highest_active_published_number_inside(
        self, registry: ModelRegistry, many: dict[str, Version], wanted: str, number: str | None
    ) -> None:
        if number is None:
            with refused(registry, VersionNotFoundError, "R24"):
                registry.resolve(NAME, wanted)
        else:
            assert registry.resolve(NAME, wanted) == many[number]

    @pytest.mark.parametrize("number", ["9.9.9", "0.1.0-rc.1", "0.1.0+build", AN_ID])
    def test_what_is_not_there_is_not_found(
        self, registry: ModelRegistry, many: dict[str, Version], number: str
    ) -> None:
        assert many
        with refused(registry, VersionNotFoundError, "R24"):
            registry.resolve(NAME, number)

    @pytest.mark.parametrize(
        "text", ["", " ", "v1.0.0", "1", "1.0", "1.*", "latest", ">=a", "^", "^1.2.3.4", 1, 1.0, b"^1", True]
    )
    def test_text_of_another_form_is_an_error(self, registry: ModelRegistry, text: Any) -> None:
        deploy(registry, publish=True)
        with refused(registry, InvalidArgumentError, "R24"):
            registry.resolve(NAME, text)

    def test_an_id_of_another_model_is_not_found(self, registry: ModelRegistry) -> None:
        deploy(registry)
        other = deploy(registry, "other")
        with refused(registry, VersionNotFoundError, "R24"):
            registry.resolve(NAME, other.version_id)

    @pytest.mark.parametrize("use", BY_NAME)
    def test_questions_and_commands_about_a_model_that_is_not_there(self, registry: ModelRegistry, use: str) -> None:
        deploy(registry, "zzz")
        with refused(registry, ModelNotFoundError, "R24"):
            BY_NAME[use](registry, NAME)


class TestVersionAndVersions:
    def test_a_version_is_found_by_its_id_or_by_name_and_number(self, registry: ModelRegistry) -> None:
        version = deploy(registry, metadata={"auc": 0.9}, actor="ada")
        assert registry.version(version.version_id) == version
        assert registry.version(NAME, number="0.1.0") == version
        assert registry.version(NAME, "0.1.0") == version
        assert version.metadata == {"auc": 0.9}
        assert version.deployed_by == "ada"

    def test_deleted_ones_too_while_the_model_is_there(self, registry: ModelRegistry) -> None:
        gone, kept = deploy(registry), deploy(registry)
        registry.delete(gone.version_id)
        assert registry.version(NAME, number="0.1.0").status == "deleted"
        assert registry.versions(NAME) == (kept,)
        assert registry.model(NAME).versions == (kept,)
        assert numbers(registry.versions(NAME, include_deleted=True)) == ["0.1.0", "0.2.0"]
        assert registry.versions(NAME, True)[0].status == "deleted"  # noqa: FBT003 - the promise is by place too

    @pytest.mark.parametrize("number", ["0.2.0", "0.1.0-a", "1.1.1"])
    def test_a_number_that_was_never_given_is_not_found(self, registry: ModelRegistry, number: str) -> None:
        deploy(registry)
        with refused(registry, VersionNotFoundError, "R24"):
            registry.version(NAME, number=number)

    @pytest.mark.parametrize(
        "number", ["", "1", "^0.1", AN_ID, 1, b"0.1.0", "0.1.0 ", "\u0660.\u0661.\u0660", "0.01.0"]
    )
    def test_a_number_is_a_semantic_version(self, registry: ModelRegistry, number: Any) -> None:
        deploy(registry)
        with refused(registry, InvalidArgumentError, "R24"):
            registry.version(NAME, number=number)

    def test_versions_are_in_the_order_of_their_numbers(self, registry: ModelRegistry) -> None:
        for bump in ["MINOR"] * 11 + ["MAJOR", "PATCH"]:
            deploy(registry, version_bump=bump)
        listed = numbers(registry.versions(NAME))
        assert listed[8:] == ["0.9.0", "0.10.0", "0.11.0", "1.0.0", "1.0.1"]


class TestR25AsOf:
    """Each read answers as of now, of a position, or of a moment: the same answers as were given then."""

    @staticmethod
    def _a_life(registry: ModelRegistry, clock: Clock) -> Iterator[None]:
        """Go through most of what can happen to two models, a pause after each command."""
        a = deploy(registry, publish=True, actor="ada", metadata={"a": 1})
        yield
        b = deploy(registry)
        yield
        registry.promote(b.version_id)
        yield
        deploy(registry, "other", publish=True)
        yield
        registry.rollback(NAME)
        yield
        registry.deactivate(a.version_id)
        yield
        clock.tick(-30)
        registry.activate(a.version_id)
        yield
        registry.delete(b.version_id)
        yield
        registry.delete_model("other")
        yield
        registry.delete(a.version_id)
        yield
        deploy(registry, version_bump="MAJOR", publish=True)
        yield
        deploy(registry, "other")
        yield

    @pytest.mark.parametrize("batch_events", [1_000, 3])
    def test_at_a_position_or_moment_it_is_what_was_answered_then(
        self, registry: ModelRegistry, store: Store, batch_events: int
    ) -> None:
        registry._views._batch_events = batch_events
        seen: dict[tuple[int, datetime], list[object]] = {}
        for _ in self._a_life(registry, store.clock):
            now = registry._recorder.head(), store.clock.now
            seen[now] = [state_of(registry), state_of(registry, "other")]
            store.clock.tick()
        for (position, moment), answers in seen.items():
            for past in (registry.at(position), registry.at(moment)):
                assert [state_of(past), state_of(past, "other")] == answers

    def test_it_answers_versions_and_what_was_allowed(self, registry: ModelRegistry, store: Store) -> None:
        draft = deploy(registry)
        store.clock.tick()
        registry.delete(draft.version_id)
        past = registry.at(START)
        assert past.version(draft.version_id) == draft
        assert past.version(NAME, number="0.1.0") == draft
        assert past.model(draft.model_id).deleted_at is None
        assert past.allowed(draft.version_id) == ("publish", "promote", "deactivate", "activate", "delete")
        assert past.resolve(NAME, "0.1.0") == draft
        assert facts(past.history(draft.version_id)) == ["VersionDeployed"]

    def test_positions_inside_an_append_are_answered_as_folded_up_to_there(self, registry: ModelRegistry) -> None:
        first, second = deploy(registry, publish=True), deploy(registry, publish=True)
        registry.deactivate(second.version_id)
        promoted, deployed, again, deactivated, fallback = range(2, 7)
        primaries = {
            position: None if (primary := registry.at(position).primary(NAME)) is None else primary.number
            for position in range(1, 7)
        }
        assert primaries == {
            1: None, promoted: "0.1.0", deployed: "0.1.0", again: "0.2.0", deactivated: None, fallback: "0.1.0",
        }  # fmt: skip
        assert registry.at(1).active(NAME) == registry.at(1).active() == (registry.at(1).version(first.version_id),)
        registry.delete_model(NAME)
        last = registry._recorder.head()
        assert facts(registry.at(last).history())[-1] == "ModelDeleted"
        assert registry.at(last - 1).model(NAME).versions == ()
        assert [model.versions for model in registry.at(last - 1).models()] == [()]
        assert registry.at(last).models() == ()

    def test_at_0_there_is_nothing_yet(self, registry: ModelRegistry) -> None:
        version = deploy(registry)
        past = registry.at(0)
        assert (past.models(), past.active(), past.billable(), list(past.history())) == ((), (), (), [])
        assert past.usage(START, START + DAY).lines == ()
        with refused(registry, ModelNotFoundError):
            past.model(NAME)
        with refused(registry, ModelNotFoundError):
            past.model(version.model_id)
        with refused(registry, VersionNotFoundError):
            past.version(version.version_id)
        with refused(registry, ModelNotFoundError):
            past.history(NAME)

    def test_a_moment_counts_the_events_up_to_and_including_it(self, registry: ModelRegistry, store: Store) -> None:
        deploy(registry)
        store.clock.tick(0.000_001)
        deploy(registry)
        assert numbers(registry.at(START).versions(NAME)) == ["0.1.0"]
        assert numbers(registry.at(store.clock.now).versions(NAME)) == ["0.1.0", "0.2.0"]
        with refused(registry, ModelNotFoundError):
            registry.at(START - timedelta(microseconds=1)).model(NAME)

    def test_a_moment_means_the_same_in_every_time_zone(self, registry: ModelRegistry) -> None:
        deploy(registry)
        tokyo = START.astimezone(timezone(timedelta(hours=9)))
        assert registry.at(tokyo).models() == registry.at(START).models() != ()

    def test_the_future_is_an_error(self, registry: ModelRegistry, store: Store) -> None:
        with refused(registry, InvalidArgumentError, "R25"):
            registry.at(1)
        deploy(registry)
        assert registry.at(1).models()
        for future in (2, START + timedelta(microseconds=1)):
            with refused(registry, InvalidArgumentError, "R25"):
                registry.at(future)
        store.clock.tick(-60)
        assert registry.at(START).models()
        with refused(registry, InvalidArgumentError, "R25"):
            registry.at(START + timedelta(microseconds=1))

    @pytest.mark.parametrize("batch_events", [1_000, 1])
    def test_an_event_of_a_fast_clock_is_no_future(self, shared_store: Store, batch_events: int) -> None:
        fast, registry = shared_store(clock=Clock(START + DAY)), shared_store()
        registry._views._batch_events = batch_events
        deploy(fast, "fast")
        deploy(fast, "fast")
        registry.models()
        assert len(registry.at(START + DAY).versions("fast")) == 2
        with refused(registry, InvalidArgumentError, "R25"):
            registry.at(START + DAY + timedelta(microseconds=1))

    @pytest.mark.parametrize("batch_events", [1_000, 1])
    def test_a_moment_is_a_prefix_of_every_stream_though_clocks_differ(
        self, shared_store: Store, batch_events: int
    ) -> None:
        fast, slow = shared_store(clock=Clock(START + DAY)), shared_store(clock=Clock(START - DAY))
        registry = shared_store()
        registry._views._batch_events = batch_events
        for each, moment in ((fast, START + DAY), (registry, START), (slow, START - DAY)):
            deploy(each, moment.isoformat(), publish=True)
            registry.models()
        deploy(slow, (START + DAY).isoformat())  # its stream has gone further already
        past, present = registry.at(START), registry.at(START - timedelta(seconds=1))
        assert [model.name for model in past.models()] == [(START - DAY).isoformat(), START.isoformat()]
        assert [model.name for model in present.models()] == [(START - DAY).isoformat()]
        assert [recorded.position for recorded in past.history()] == [3, 4, 5, 6]
        assert {line.model_name for line in past.usage(START - DAY, START).lines} == {(START - DAY).isoformat()}
        with refused(registry, ModelNotFoundError):
            past.model((START + DAY).isoformat())
        assert len(registry.at(START + DAY).versions((START + DAY).isoformat())) == 2

    @pytest.mark.parametrize("moment", [START.replace(tzinfo=None), "2026-01-01", None, 1.0, -1, True, 2**63], ids=str)
    def test_anything_else_is_an_error(self, registry: ModelRegistry, moment: Any) -> None:
        deploy(registry)
        with refused(registry, InvalidArgumentError):
            registry.at(moment)

    def test_the_past_does_not_change_when_more_is_recorded(self, registry: ModelRegistry, store: Store) -> None:
        version = deploy(registry)
        past, then = registry.at(1), registry.at(START)
        store.clock.tick()
        registry.delete_model(NAME)
        deploy(registry, "other")
        for each in (past, then):
            assert each.models()[0].versions == (version,)
            assert each.model(NAME).versions == (version,)
            with pytest.raises(ModelNotFoundError):
                each.model("other")


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
        for after in range(8):
            for limit in (None, 0, 1, 2, 100, 2**63 - 1):
                expected = [recorded for recorded in whole if recorded.position > after][:limit]
                assert list(registry.history(what, after=after, limit=limit)) == expected
                assert list(registry.history(what, after, limit)) == expected
        assert list(registry.history(what, after=2**63 - 1)) == []

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


class TestR27Workspaces:
    """A registry sees its own workspace only: a name or an id of another workspace is not found."""

    @pytest.fixture
    def two(self, shared_store: Store) -> tuple[ModelRegistry, ModelRegistry, Version]:
        """Give mine, theirs, and a version of theirs with all that can be found of it."""
        theirs = shared_store(workspace="theirs", policy=AWAITED)
        version = deploy(theirs, publish=True, idempotency_key="k")
        deploy(theirs, publish=True)
        return shared_store(workspace="mine"), theirs, version

    @pytest.mark.parametrize("use", BY_VERSION)
    def test_an_id_is_not_found(self, two: tuple[ModelRegistry, ModelRegistry, Version], use: str) -> None:
        mine, theirs, version = two
        with nothing_recorded(theirs), refused(mine, VersionNotFoundError, "R24"):
            BY_VERSION[use](mine, version.version_id)

    @pytest.mark.parametrize("use", BY_NAME)
    def test_a_name_is_not_found_nor_suggested(
        self, two: tuple[ModelRegistry, ModelRegistry, Version], use: str
    ) -> None:
        mine, theirs, _ = two
        with nothing_recorded(theirs), refused(mine, ModelNotFoundError, "R24"):
            BY_NAME[use](mine, NAME)
        with pytest.raises(ModelNotFoundError) as caught:
            mine.model(NAME + "s")
        assert caught.value.suggestions == ()

    def test_a_key_of_theirs_tells_nothing(self, two: tuple[ModelRegistry, ModelRegistry, Version]) -> None:
        mine, theirs, _ = two
        theirs.publish(deploy(theirs).version_id, idempotency_key="published")
        draft = deploy(theirs)
        theirs.publish(draft.version_id, idempotency_key="again")
        with nothing_recorded(theirs):
            for key in ("again", "published", "k"):
                with refused(mine, VersionNotFoundError, "R24"):
                    mine.publish(draft.version_id, idempotency_key=key)
                with refused(mine, VersionNotFoundError, "R24"):
                    mine.preview("publish", draft.version_id, idempotency_key=key)

    def test_a_model_id_is_not_found(self, two: tuple[ModelRegistry, ModelRegistry, Version]) -> None:
        mine, _, version = two
        for use in (mine.model, mine.history):
            with refused(mine, ModelNotFoundError, "R24"):
                use(version.model_id)

    def test_an_id_of_theirs_is_no_version_of_my_model(self, two: tuple[ModelRegistry, ModelRegistry, Version]) -> None:
        mine, _, version = two
        deploy(mine)
        with refused(mine, VersionNotFoundError, "R24"):
            mine.resolve(NAME, version.version_id)

    @pytest.mark.parametrize("batch_events", [1_000, 1])
    def test_nothing_of_it_shows(self, two: tuple[ModelRegistry, ModelRegistry, Version], batch_events: int) -> None:
        mine, theirs, _ = two
        for each in two[:2]:
            each._views._batch_events = batch_events
        assert (mine.models(), mine.active(), mine.billable(), list(mine.history())) == ((), (), (), [])
        assert mine.usage(START - DAY, START + DAY).lines == ()
        assert len(theirs.models()) == 1
        assert (mine.at(START).models(), list(mine.at(2).history())) == ((), [])

    def test_the_same_name_is_another_model(self, two: tuple[ModelRegistry, ModelRegistry, Version]) -> None:
        mine, theirs, version = two
        before = list(theirs.history())
        own = deploy(mine, idempotency_key="k")
        assert (own.number, own.workspace) == ("0.1.0", "mine")
        assert own.model_id != version.model_id
        mine.delete_model(NAME)
        assert list(theirs.history()) == before
        assert {recorded.workspace for recorded in mine.history()} == {"mine"}

    def test_a_follower_sees_its_own(self, two: tuple[ModelRegistry, ModelRegistry, Version]) -> None:
        mine, theirs, _ = two
        own = deploy(mine)
        deploy(theirs)
        follower = mine.follow()
        assert next(follower).version_id == own.version_id
        later = deploy(mine)
        assert next(follower).version_id == later.version_id
        follower.close()

    def test_a_stream_that_names_another_model_is_an_error_and_never_another_tenant_s_model(self, file: Path) -> None:
        with ModelRegistry(file, workspace="theirs") as theirs:
            deploy(theirs, "secret")
            with ModelRegistry(file) as mine:
                taken = mine._named(NAME).stream  # as if the two names had one digest
                rows = theirs._recorder.log(0, 1)
                with sqlite3.connect(file) as connection:
                    connection.execute(
                        "UPDATE stored_events SET originator_id=?, state=replace(CAST(state AS TEXT), ?, ?)",
                        (taken, rows[0][1], taken),
                    )
                    connection.execute("UPDATE stored_events SET state=CAST(state AS BLOB)")
                connection.close()
                for use in ("model", "history", "delete_model", "rollback"):
                    with pytest.raises(CorruptLogError, match="another model"):
                        BY_NAME[use](mine, NAME)
                with pytest.raises(CorruptLogError, match="another model"):
                    deploy(mine)

    @pytest.mark.parametrize("workspace", ["w" * 200, "a b", "ü", " lead"])
    def test_a_workspace_is_text_of_1_to_200_characters(self, store: Store, workspace: str) -> None:
        registry = store(workspace=workspace)
        assert deploy(registry).workspace == workspace

    @pytest.mark.parametrize("workspace", ["", " ", "w" * 201, "a\nb", "\ud800", None, 1, b"a"])
    def test_anything_else_is_an_error(self, workspace: Any) -> None:
        with pytest.raises(InvalidArgumentError) as caught:
            ModelRegistry("memory:", workspace=workspace)
        assert caught.value.rule == "R28"


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


class TestModels:
    """`models()` gives the models of the workspace in the order of their names, a page at a time."""

    NAMES = (
        "Zebra", "a", "aa", "ab", "b", "~", "é", "ö", "ß", "ÿ", "ā", "Ω", "я", "א", "ก", "あ", "一", "龥", "가",
        "\ue000", "\uff5e", "\U00010000", "\U0001f600", "\U0010fffd", "A", "B", "1", "!", "a b", "z",
    )  # fmt: skip

    @pytest.mark.parametrize("batch_events", [1_000, 7])
    def test_pages_follow_each_other_in_code_point_order(self, registry: ModelRegistry, batch_events: int) -> None:
        registry._views._batch_events = batch_events
        assert len(set(self.NAMES)) == 30
        for place, name in enumerate(self.NAMES):
            deploy(registry, name)
            if place % 4 == 0:
                registry.models()
        whole = [model.name for model in registry.models()]
        assert whole == sorted(self.NAMES)
        for size in (1, 4, 7, 29, 30, 31):
            paged: list[str] = []
            while page := registry.models(paged[-1] if paged else None, size):
                assert len(page) <= size
                paged += [model.name for model in page]
            assert paged == whole

    @pytest.mark.parametrize("batch_events", [1_000, 2])
    def test_after_need_not_be_there_and_limit_counts_what_is_left(
        self, registry: ModelRegistry, batch_events: int
    ) -> None:
        registry._views._batch_events = batch_events
        for name in "abcdef":
            deploy(registry, name)
        registry.models()
        registry.delete_model("b")
        registry.delete_model("e")
        assert [model.name for model in registry.models(after="aa", limit=2)] == ["c", "d"]
        assert [model.name for model in registry.models(limit=3)] == ["a", "c", "d"]
        assert [model.name for model in registry.models(after="d")] == ["f"]
        assert registry.models(after="f") == registry.models(limit=0) == ()
        deploy(registry, "b")
        assert [model.name for model in registry.models(limit=2)] == ["a", "b"]

    @pytest.mark.parametrize("batch_events", [1_000, 1])
    def test_the_greatest_limit_is_no_limit(self, registry: ModelRegistry, batch_events: int) -> None:
        registry._views._batch_events = batch_events
        for name in "ab":
            deploy(registry, name)
        registry.models()
        deploy(registry, "c")
        assert [model.name for model in registry.models(limit=2**63 - 1)] == ["a", "b", "c"]

    @pytest.mark.parametrize("wrong", [{"after": 1}, {"after": ""}, {"limit": -1}, {"limit": True}, {"limit": "1"}])
    def test_anything_else_is_an_error(self, registry: ModelRegistry, wrong: dict[str, Any]) -> None:
        with refused(registry, InvalidArgumentError if "limit" in wrong else InvalidNameError):
            registry.models(**wrong)

    def test_they_are_the_models_that_are_asked_for_one_by_one(self, registry: ModelRegistry) -> None:
        for name in ("b", "a"):
            serving(registry, name)
            deploy(registry, name)
        assert registry.models() == (registry.model("a"), registry.model("b"))
        for which in ("active", "billable"):
            ask = getattr(registry, which)
            assert ask() == ask("a") + ask("b") == registry.model("a").versions + registry.model("b").versions
        assert registry.model("a").primary == registry.primary("a")
        assert registry.model(registry.model("a").model_id) == registry.model("a")


class TestSuggestions:
    """A name that is not there is an error that says which names look alike."""

    def test_did_you_mean(self, registry: ModelRegistry) -> None:
        for name in ("churn", "Churn rate", "fraud"):
            deploy(registry, name)
        for name, use in BY_NAME.items():
            if name != "at":
                with pytest.raises(ModelNotFoundError) as caught:
                    use(registry, "chrun")
                assert caught.value.suggestions == ("churn",)
                assert "Did you mean 'churn'?" in str(caught.value)
                assert caught.value.to_dict()["suggestions"] == ("churn",)
        with pytest.raises(ModelNotFoundError) as caught:
            registry.primary("CHURN RATE")
        assert caught.value.suggestions == ("Churn rate",)

    def test_none_where_none_looks_alike(self, registry: ModelRegistry) -> None:
        deploy(registry, "churn")
        with pytest.raises(ModelNotFoundError) as caught:
            registry.model("something else")
        assert caught.value.suggestions == ()
        assert "Did you mean" not in str(caught.value)

    def test_neither_deleted_models_nor_later_ones(self, registry: ModelRegistry, store: Store) -> None:
        deploy(registry, "churn")
        registry.delete_model("churn")
        store.clock.tick()
        deploy(registry, "churns")
        with pytest.raises(ModelNotFoundError) as caught:
            registry.model("churn")
        assert caught.value.suggestions == ("churns",)
        with pytest.raises(ModelNotFoundError) as caught:
            registry.at(START).model("churns")
        assert caught.value.suggestions == ()


class TestAllowed:
    """`allowed(version_id)` gives the commands that would not be refused now: a host's menu."""

    @staticmethod
    def _everything(registry: ModelRegistry) -> list[str]:
        """Bring versions into every state that there is; give their ids."""
        draft, stopped, gone, starting, failed = (deploy(registry) for _ in range(5))
        published, primary, late = (deploy(registry, publish=True) for _ in range(3))
        for version in (draft, stopped, gone, published, primary):
            if version.activation_id is not None:
                registry.complete_activation(version.version_id, version.activation_id)
        registry.promote(primary.version_id)
        registry.deactivate(stopped.version_id)
        registry.delete(gone.version_id)
        registry.fail_activation(
            failed.version_id, str(failed.activation_id or f"act_{failed.version_id[4:]}_1"), error="x"
        )
        return [version.version_id for version in (draft, stopped, gone, starting, failed, published, primary, late)]

    @pytest.mark.parametrize("losing_primary", ["fall_back", "leave_none", "refuse"])
    @pytest.mark.parametrize("activation", ["instant", "awaited"])
    def test_it_is_what_trying_each_would_say(self, store: Store, losing_primary: Any, activation: Any) -> None:
        registry = store(policy=Policy(losing_primary=losing_primary, activation=activation))
        for version_id in self._everything(registry):
            would: list[str] = []
            for command in ("publish", "promote", "deactivate", "activate", "delete"):
                with contextlib.suppress(RefusedError):
                    registry.preview(command, version_id)
                    would.append(command)
            activation_id = registry.version(version_id).activation_id
            if activation_id is not None:
                would += ["complete_activation", "fail_activation"]
                assert registry.preview("complete_activation", version_id, activation_id)
                assert registry.preview("fail_activation", version_id, activation_id, error="")
            assert registry.allowed(version_id) == tuple(would)

    def test_a_draft_and_a_deleted_one(self, registry: ModelRegistry) -> None:
        version_id = deploy(registry).version_id
        assert registry.allowed(version_id) == ("publish", "promote", "deactivate", "activate", "delete")
        registry.deactivate(version_id)
        assert registry.allowed(version_id) == ("deactivate", "activate", "delete")
        registry.delete(version_id)
        assert registry.allowed(version_id) == ()


class TestPendingActivations:
    """A service that died while it started an environment finds it with the `activation_id` to answer with."""

    def test_it_gives_what_is_waited_for_in_the_order_of_names_and_numbers(
        self, awaited: ModelRegistry, store: Store
    ) -> None:
        assert awaited.pending_activations() == ()
        b, a = deploy(awaited, "b"), deploy(awaited, "a")
        serving(awaited, "a")
        store.clock.tick(60)
        later = deploy(awaited, "a")
        assert awaited.pending_activations() == (a, later, b)
        assert awaited.pending_activations(timedelta(seconds=60)) == (a, b)
        assert awaited.pending_activations(older_than=timedelta(seconds=61)) == ()
        assert (later.waiting_since, a.waiting_since) == (store.clock.now, START)

    def test_until_it_is_answered_or_stopped_and_again_from_the_next_start(
        self, awaited: ModelRegistry, store: Store
    ) -> None:
        ready, failed, stopped, gone = (deploy(awaited) for _ in range(4))
        store.clock.tick()
        awaited.complete_activation(ready.version_id, str(ready.activation_id))
        awaited.fail_activation(failed.version_id, str(failed.activation_id), error="x")
        awaited.deactivate(stopped.version_id)
        awaited.delete(gone.version_id)
        assert awaited.pending_activations() == ()
        again = awaited.activate(failed.version_id)
        assert awaited.pending_activations() == (again,)
        assert again.waiting_since == store.clock.now
        assert {one.waiting_since for one in awaited.versions(NAME)} == {None, store.clock.now}

    @pytest.mark.parametrize("older_than", [1, "1", None, START])
    def test_anything_but_a_length_of_time_is_an_error(self, registry: ModelRegistry, older_than: Any) -> None:
        with refused(registry, InvalidArgumentError):
            registry.pending_activations(older_than)


class TestPreview:
    """`preview(command, …)` gives the events that would be recorded, and records nothing."""

    CASES: ClassVar[dict[str, Callable[[ModelRegistry], tuple[tuple[Any, ...], dict[str, Any]]]]] = {
        "deploy": lambda _: ((URI,), {"model_name": NAME, "publish": True, "metadata": {"a": 1}}),
        "publish": lambda registry: ((deploy(registry).version_id,), {}),
        "promote": lambda registry: ((_two(registry)[0],), {"actor": "ada"}),
        "rollback": lambda registry: ((registry.version(_two(registry)[0]).model_name,), {}),
        "deactivate": lambda registry: ((_two(registry)[1],), {}),
        "activate": lambda registry: ((registry.deactivate(deploy(registry, publish=True).version_id).version_id,), {}),
        "complete_activation": lambda registry: _answer(registry),  # noqa: PLW0108 - it is defined below
        "fail_activation": lambda registry: _answer(registry, error="x" * 9_000),
        "delete": lambda registry: ((_two(registry)[1],), {}),
        "delete_model": lambda registry: ((registry.version(_two(registry)[0]).model_name,), {}),
    }

    @pytest.mark.parametrize("command", CASES)
    @pytest.mark.parametrize("activation", ["instant", "awaited"])
    def test_it_records_nothing_and_equals_what_is_then_recorded(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, command: str, activation: Any
    ) -> None:
        registry = store(policy=Policy(activation=activation))
        given, how = self.CASES[command](registry)
        if command == "activate" and activation == "instant":
            assert registry.primary(NAME) is None
        before = len(list(registry.history()))
        random = secrets.token_hex
        monkeypatch.setattr(
            "versioning.registry.secrets.token_hex", lambda size: "0a" * 4 if size == 4 else random(size)
        )
        with nothing_recorded(registry):
            events = registry.preview(command, *given, **how)
        getattr(registry, command)(*given, **how)
        assert tuple(recorded.event for recorded in list(registry.history())[before:]) == events
        stale = activation == "instant" and command.endswith("_activation")
        assert bool(events) != stale

    def test_it_is_the_present_though_the_cache_is_not(self, shared_store: Store) -> None:
        first, second = shared_store(), shared_store()
        version_id, primary = _two(first)
        second.promote(version_id)
        assert first.preview("promote", version_id) == ()
        (event,) = first.preview("promote", primary)
        assert event == VersionPromoted(primary, version_id, "requested", at_us=event.at_us)

    def test_it_raises_what_the_command_would_raise(self, registry: ModelRegistry) -> None:
        version = deploy(registry)
        registry.deactivate(version.version_id)
        with refused(registry, VersionNotActiveError):
            registry.preview("promote", version.version_id)
        with refused(registry, InvalidBumpError):
            registry.preview("deploy", URI, model_name=NAME, version_bump="x")
        with refused(registry, ModelNotFoundError):
            registry.preview("delete_model", "chur")
        with refused(registry, PrimaryMovedError):
            registry.preview("delete", version.version_id, expected_primary=AN_ID)

    def test_it_knows_the_idempotency_key(self, registry: ModelRegistry) -> None:
        deploy(registry, idempotency_key="k")
        with nothing_recorded(registry):
            assert registry.preview("deploy", URI, model_name=NAME, idempotency_key="k") == ()
        with refused(registry, IdempotencyConflictError):
            registry.preview("deploy", URI, model_name=NAME, idempotency_key="k", publish=True)
        assert registry.preview("deploy", URI, model_name=NAME, idempotency_key="other") != ()

    def test_it_stores_no_contents(self, store: Store, tmp_path: Path) -> None:
        registry = store(artifacts=tmp_path / "contents")
        (event,) = registry.preview("deploy", b"weights", model_name=NAME)
        assert isinstance(event, VersionDeployed)
        assert not (tmp_path / "contents").exists()
        assert registry.deploy(b"weights", model_name=NAME).artifact == event.artifact

    @pytest.mark.parametrize(
        "command", ["", "Deploy", "history", "close", "_do", "model", None, 1, ["deploy"]], ids=str
    )
    def test_there_are_no_other_commands(self, registry: ModelRegistry, command: Any) -> None:
        with refused(registry, InvalidArgumentError):
            registry.preview(command, NAME)


def _answer(registry: ModelRegistry, **how: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    version = deploy(registry, publish=True)
    return (version.version_id, version.activation_id or f"act_{version.version_id[4:]}_1"), how


class TestFollow:
    """`follow()` gives recorded events for ever, as they come: nothing missed, nothing twice."""

    @pytest.mark.parametrize("batch", [1, 3, 1_000])
    def test_nothing_is_missed_and_nothing_comes_twice_beside_writers(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, batch: int
    ) -> None:
        monkeypatch.setattr("versioning.registry.FOLLOWED_EVENTS", batch)
        registry = store()
        deploy(registry, "before")
        seen: list[Recorded] = []
        with registry.follow(poll_s=30) as follower:

            def follow() -> None:
                seen.extend(itertools.islice(follower, 121))

            def write(name: str) -> Callable[[], None]:
                def run() -> None:
                    for _ in range(20):
                        deploy(registry, name, publish=True)

                return run

            in_threads(follow, write("a"), write("b"), write("a"))
            assert seen == list(registry.history())
            assert follower.position == seen[-1].position == 121

    def test_it_begins_behind_a_position(self, registry: ModelRegistry) -> None:
        for _ in range(3):
            deploy(registry)
        with registry.follow(after=2) as follower:
            assert iter(follower) is follower
            assert next(follower).position == 3
            deploy(registry)
            assert next(follower).position == follower.position == 4

    def test_what_another_registry_records_comes_too(self, shared_store: Store) -> None:
        first, second = shared_store(), shared_store()
        seen: list[Recorded] = []
        with first.follow(poll_s=30) as follower:
            in_threads(
                lambda: seen.extend(itertools.islice(follower, 40)),
                *(lambda: [deploy(second, publish=True) for _ in range(10)] for _ in range(2)),
            )
        assert seen == list(second.history())

    def test_closing_ends_it_from_another_thread(self, registry: ModelRegistry) -> None:
        follower = registry.follow(poll_s=60)
        started = threading.Event()
        ended: list[str] = []

        def follow() -> None:
            started.set()
            ended.extend(recorded.model_name for recorded in follower)
            ended.append("ended")

        def close() -> None:
            started.wait()
            deploy(registry)
            follower.close()

        in_threads(follow, close)
        assert ended in (["ended"], [NAME, "ended"])
        assert list(follower) == []
        follower.close()

    def test_it_waits_no_longer_than_it_was_told(
        self, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        follower = registry.follow(poll_s=0.001)
        waits: list[float] = []

        def wait(timeout_s: float) -> bool:
            waits.append(timeout_s)
            if len(waits) == 3:
                deploy(registry)
            return False

        monkeypatch.setattr(follower._waiter, "wait", wait)
        assert next(follower).sequence == 1
        assert waits == [0.001] * 3
        follower.close()

    @pytest.mark.parametrize(
        "wrong", [{"after": -1}, {"after": True}, {"poll_s": 0}, {"poll_s": "1"}, {"poll_s": None}]
    )
    def test_anything_else_is_an_error(self, registry: ModelRegistry, wrong: dict[str, Any]) -> None:
        with refused(registry, InvalidArgumentError):
            registry.follow(**wrong)


def kept(registry: ModelRegistry, view: View[Any] = MODELS) -> int:
    """Give the position up to which a view is kept."""
    with registry._recorder.snapshot() as snapshot:
        found = snapshot.view_position(view.name)
    return 0 if found is None else found.position


class TestViews:
    """A kept view may lag, an answer never does."""

    @pytest.fixture
    def small(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> ModelRegistry:
        """Give a registry whose views are written back when more than 5 events are behind, 4 at once."""
        monkeypatch.setattr("versioning.views.REBUILD_EVENTS", 4)
        monkeypatch.setattr("versioning.questions.REBUILD_EVENTS", 3)
        registry = store()
        registry._views._batch_events = 5
        return registry

    @staticmethod
    def _agree(registry: ModelRegistry) -> None:
        """See that the answers across models are those of the models, and those of the log."""
        names = sorted({recorded.model_name for recorded in registry.history()})
        models = []
        for name in names:
            with contextlib.suppress(ModelNotFoundError):
                models.append(registry.model(name))
        assert list(registry.models()) == models
        assert registry.active() == tuple(version for model in models for version in model.active)
        assert registry.billable() == tuple(version for model in models for version in model.billable)
        day = START - DAY, START + DAY
        parts = [line for name in names for line in registry.usage(*day, name).lines]
        ledger = versioning.UsageLedger().fold(registry.history())
        us = [int((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1)) for moment in day]
        assert list(registry.usage(*day).lines) == parts
        assert registry.usage(*day) == ledger.usage(us[0], us[1], registry._now_us())

    def test_answers_are_right_whatever_is_behind(self, small: ModelRegistry, store: Store) -> None:
        for step in range(40):
            version = deploy(small, "abcde"[step % 5], publish=step % 2 == 0)
            store.clock.tick()
            if step % 3 == 0:
                small.deactivate(version.version_id)
            if step % 7 == 0:
                small.delete_model("abcde"[step % 4 % 5] if step % 2 else "abcde"[step % 5])
            self._agree(small)
        assert kept(small) > 0
        assert kept(small, LEDGERS) > 0

    def test_a_backlog_longer_than_a_batch(self, small: ModelRegistry, store: Store) -> None:
        for step in range(60):
            deploy(small, "abc"[step % 3], publish=True)
            store.clock.tick()
        assert kept(small) == 0
        self._agree(small)
        assert kept(small) == kept(small, LEDGERS) == 120

    def test_it_is_written_back_only_when_a_batch_is_behind(self, small: ModelRegistry) -> None:
        for _ in range(5):
            deploy(small)
        assert len(small.models()) == 1
        assert kept(small) == 0
        deploy(small)
        assert len(small.models()[0].versions) == 6
        assert kept(small) == 6
        deploy(small)
        assert len(small.models()[0].versions) == 7
        assert kept(small) == 6

    def test_what_is_kept_serves_other_registries_and_the_next_start(
        self, shared_store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = shared_store()
        first._views._batch_events = 0
        for name in "abc":
            deploy(first, name, publish=True)
        whole = first.models()
        with shared_store() as second:
            folded: list[Any] = []
            monkeypatch.setattr("versioning.views.decode", noted(folded, decode))
            assert second.models() == whole
            assert folded == []
            deploy(second, "d")
            assert second.models()[:3] == whole
            assert [row[0] for row in folded] == [7]

    def test_a_locked_writer_neither_blocks_nor_breaks_a_read(self, file: Path) -> None:
        with ModelRegistry(f"sqlite:///{file}?timeout_s=30", clock=Clock()) as registry:
            registry._views._batch_events = 0
            for name in "abc":
                deploy(registry, name, publish=True)
            other = sqlite3.connect(file, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            in_threads(lambda: self._agree(registry))
            assert kept(registry) == 0
            assert registry.at(2).models()
            assert registry.version("a", "0.1.0").is_primary
            other.execute("ROLLBACK")
            other.close()
            self._agree(registry)
            assert kept(registry) == 6

    def test_a_locked_writer_is_a_store_error_to_a_command(self, file: Path) -> None:
        with ModelRegistry(f"sqlite:///{file}?timeout_s=0.01") as registry:
            deploy(registry)
            with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                with refused(registry, StoreError):
                    deploy(registry)
                other.execute("ROLLBACK")
            assert deploy(registry).number == "0.2.0"

    def test_rebuild_builds_anew_beside_and_swaps(self, small: ModelRegistry, store: Store) -> None:
        for step in range(20):
            deploy(small, "abc"[step % 3], publish=True)
            store.clock.tick()
        before = small.models(), small.usage(START, START + DAY)
        with small._recorder.snapshot() as snapshot:
            rows = {view.name: snapshot.view_page(view.name, "default", "", None, live_only=False) for view in VIEWS}
        assert small.rebuild() == 40
        assert (small.models(), small.usage(START, START + DAY)) == before
        with small._recorder.snapshot() as snapshot:
            again = {view.name: snapshot.view_page(view.name, "default", "", None, live_only=False) for view in VIEWS}
        for name, kept_rows in rows.items():
            assert {row.key: row for row in again[name]} == {row.key: row for row in kept_rows}
        self._agree(small)

    def test_rebuild_with_nothing_recorded_or_kept(self, registry: ModelRegistry) -> None:
        assert registry.rebuild() == 0
        deploy(registry)
        assert registry.rebuild() == 1
        assert kept(registry) == kept(registry, LEDGERS) == 1
        self._agree(registry)

    def test_rebuild_beside_writers_and_readers(self, small: ModelRegistry) -> None:
        def write() -> None:
            for _ in range(15):
                deploy(small, publish=True)

        def read() -> None:
            last = 0
            for _ in range(20):
                found = sum(len(model.versions) for model in small.models())
                assert found >= last
                last = found

        in_threads(write, read, small.rebuild)
        self._agree(small)

    def test_rebuild_says_how_far_it_is(self, small: ModelRegistry) -> None:
        for _ in range(6):
            deploy(small)
        told: list[tuple[str, int, int]] = []
        small.rebuild(progress=lambda name, position, head: told.append((name, position, head)))
        assert told == [(view.name, position, 6) for view in VIEWS for position in (4, 6)]

    def test_only_one_rebuilds_at_a_time_until_its_lease_ends(
        self, shared_store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = shared_store(), shared_store()
        deploy(first)
        first._views._batch_events = 0
        seen: list[type[VersioningError]] = []

        def meanwhile(*_: object) -> None:
            with pytest.raises(ConcurrencyError) as caught:
                second.rebuild()
            seen.append(type(caught.value))
            assert len(second.models()) == 1

        assert first.rebuild(meanwhile) == 1
        assert seen == [ConcurrencyError] * len(VIEWS)
        monkeypatch.setattr("versioning.views.LEASE_US", 0)  # as if the holder had died, long ago
        versioning.views._Lease(first._views, f"{MODELS.name}+lease").take()
        assert second.rebuild() == 1

    def test_a_rebuild_that_lost_its_lease_does_not_take_it_from_its_successor(
        self, small: ModelRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for _ in range(6):
            deploy(small)
        monkeypatch.setattr("versioning.views.LEASE_US", 0)
        successor = versioning.views._Lease(small._views, f"{MODELS.name}+lease")

        def take_over(name: str, *_: object) -> None:
            if name == MODELS.name:
                successor.take()

        assert small.rebuild(take_over) == 6
        assert successor._held()[0] == successor._turn

    def test_it_tries_again_while_the_store_is_busy_and_then_gives_up(
        self, small: ModelRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for _ in range(6):
            deploy(small)
        right = small.models()
        monkeypatch.setattr("versioning.views.WRITES_TRIED_MAX", 3)
        monkeypatch.setattr("versioning.views.WRITE_PAUSE_S", 0)
        write, busy = small._recorder.write_view, [0]

        def sometimes(name: str, *given: Any) -> bool:
            busy[0] -= 1
            return busy[0] < 0 and write(name, *given)

        monkeypatch.setattr(small._recorder, "write_view", sometimes)
        busy[0] = 2
        assert small.rebuild() == 6
        busy[0] = 2
        small.skip(1)
        assert [one.position for one in small.skipped()] == [1]
        busy[0] = 1_000
        with pytest.raises(ConcurrencyError):
            small.rebuild()
        with pytest.raises(StoreError):
            small.skip(2)
        monkeypatch.setattr(
            small._recorder, "write_view", lambda name, *given: not name.endswith("+rebuild") and write(name, *given)
        )
        with pytest.raises(StoreError, match="too busy"):
            small.rebuild()
        monkeypatch.undo()
        assert small.models() == right
        assert small.rebuild() == 6

    def test_rebuild_mends_what_was_kept_wrongly(self, file: Path) -> None:
        clock = Clock()
        with ModelRegistry(file, clock=clock) as registry:
            registry._views._batch_events = 0
            for name in "abc":
                deploy(registry, name)
            clock.tick()
            right = registry.models(), registry.usage(START, START + DAY)
            with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
                other.execute("UPDATE kept_rows SET state=x'00'")
            for question in (registry.models, registry.active, lambda: registry.usage(START, START + DAY)):
                with pytest.raises(VersioningError):
                    question()
            assert registry.model("a") == right[0][0]
            registry.rebuild()
            assert (registry.models(), registry.usage(START, START + DAY)) == right


class TestPoison:
    """A row that is not what this library wrote is an error that says where it stands; other models go on."""

    NOT_OURS: ClassVar[dict[str, tuple[str, object]]] = {
        "topic": ("topic", "os.system"),
        "empty topic": ("topic", ""),
        "topic of another type": ("topic", 7),
        "another event's topic": ("topic", "promoted.1"),
        "state": ("state", b"{}"),
        "text instead of bytes": ("state", "{}"),
        "broken json": ("state", b'{"_chain":"'),
        "nothing": ("state", b""),
    }

    @pytest.fixture
    def log(self, file: Path) -> Iterator[ModelRegistry]:
        """Give a log of 8 events in which the row at 5, the third of `bad`, is about to be changed."""
        with ModelRegistry(file, clock=Clock()) as registry:
            deploy(registry, "bad", publish=True)
            deploy(registry, "good", publish=True)
            deploy(registry, "bad")
            deploy(registry, "good")
            registry.publish(registry.versions("bad")[1].version_id)
            yield registry

    @staticmethod
    def _change(file: Path, column: str, value: object, position: int = 5) -> None:
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute(f"UPDATE stored_events SET {column}=? WHERE rowid=?", (value, position))

    @staticmethod
    def _located(question: Callable[[], object], error: type[VersioningError] = CorruptLogError) -> None:
        with pytest.raises(error) as caught:
            question()
        assert getattr(caught.value, "position", None) == 5
        assert "5" in str(caught.value)

    @pytest.mark.parametrize("wrong", NOT_OURS)
    def test_questions_that_need_it_name_its_position(self, log: ModelRegistry, file: Path, wrong: str) -> None:
        version_id = log.versions("bad")[0].version_id
        assert version_id
        self._change(file, *self.NOT_OURS[wrong])
        with ModelRegistry(file, clock=log._clock) as registry:
            for question in (
                lambda: registry.model("bad"),
                lambda: registry.resolve("bad"),
                lambda: registry.version(version_id),
                lambda: registry.allowed(version_id),
                lambda: list(registry.history("bad")),
                lambda: registry.usage(START, START + DAY, "bad"),
                registry.models,
                registry.active,
                registry.billable,
                lambda: registry.usage(START, START + DAY),
                lambda: list(registry.history()),
                lambda: list(registry.follow()),
                lambda: registry.at(7).model("bad"),
                lambda: registry.at(7).models(),
                lambda: registry.at(START).models(),
                registry.rebuild,
                lambda: registry.preview("rollback", "bad"),
            ):
                self._located(question)

    @pytest.mark.parametrize("wrong", NOT_OURS)
    def test_its_own_model_can_not_be_changed(self, log: ModelRegistry, file: Path, wrong: str) -> None:
        version_id = log.versions("bad")[0].version_id
        head = log._recorder.head()
        self._change(file, *self.NOT_OURS[wrong])
        with ModelRegistry(file, clock=log._clock) as registry:
            for command in (
                lambda: deploy(registry, "bad"),
                lambda: deploy(registry, "bad", idempotency_key="k"),
                lambda: registry.rollback("bad"),
                lambda: registry.deactivate(version_id),
                lambda: registry.delete_model("bad"),
            ):
                self._located(command)
            assert registry._recorder.head() == head

    @pytest.mark.parametrize("wrong", NOT_OURS)
    def test_all_other_models_go_on(self, log: ModelRegistry, file: Path, wrong: str) -> None:
        self._change(file, *self.NOT_OURS[wrong])
        with ModelRegistry(file, clock=log._clock) as registry:
            version = deploy(registry, "good", publish=True, idempotency_key="k")
            assert deploy(registry, "good", publish=True, idempotency_key="k") == version
            assert registry.resolve("good") == registry.primary("good") == version
            assert registry.rollback("good").number == "0.1.0"
            assert deploy(registry, "new").number == "0.1.0"
            assert len(list(registry.history("good"))) == 6
            assert registry.usage(START, START + DAY, "good").position == registry._recorder.head()
            assert registry.at(7).model("good").versions
            assert registry.at(START).model("good").versions
            with registry.follow(after=5) as follower:
                assert next(follower).position == 6
            with pytest.raises(ModelNotFoundError) as caught:
                registry.model("goods")
            assert caught.value.suggestions == ()
            assert [model.name for model in registry.at(4).models()] == ["bad", "good"]

    def test_a_follower_gives_all_that_lies_before_it_and_stays_there(self, log: ModelRegistry, file: Path) -> None:
        self._change(file, "topic", "x")
        with log.follow() as follower:
            assert [recorded.position for recorded in itertools.islice(follower, 4)] == [1, 2, 3, 4]
            for _ in range(2):
                self._located(lambda: next(follower))
            assert follower.position == 4

    def test_a_topic_of_a_newer_release_says_so(self, log: ModelRegistry, file: Path) -> None:
        self._change(file, "topic", "deployed.2")
        with ModelRegistry(file, clock=log._clock) as registry:
            for question in (lambda: registry.model("bad"), registry.models, lambda: deploy(registry, "bad")):
                self._located(question, NewerFormatError)
            assert registry.model("good").name == "good"

    def test_a_row_that_does_not_follow_from_those_before_it(self, log: ModelRegistry, file: Path) -> None:
        (row,) = log._recorder.log(4, 1)
        version_id = log.versions("bad")[1].version_id
        ghost = version_id[:-8] + "0" * 8
        self._change(file, "topic", "published.1")
        state = json.loads(row[4])
        state["payload"] = {"at_us": state["payload"]["at_us"], "claims": False, "version_id": ghost}
        self._change(file, "state", json.dumps(state, separators=(",", ":")).encode())
        with ModelRegistry(file, clock=log._clock) as registry:
            for question in (
                lambda: registry.model("bad"),
                lambda: deploy(registry, "bad"),
                registry.models,
                lambda: registry.at(7).model("bad"),
                lambda: registry.at(7).models(),
            ):
                self._located(question)
            assert deploy(registry, "good").number == "0.3.0"

    def test_the_views_say_how_far_they_are_and_what_stops_them(self, log: ModelRegistry, file: Path) -> None:
        assert [(view.name, view.position, view.behind, view.stopped_by) for view in log.views()] == [
            (view.name, 8, 0, None) for view in VIEWS
        ]
        log.rebuild()
        self._change(file, "topic", "x")
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("DELETE FROM kept_views")
        for view in log.views():
            assert (view.position, view.behind, view.stopped_by) == (4, 4, 5)
            assert "position 5" in str(view.problem)
        for question in (log.models, log.rebuild):
            self._located(question)

    @pytest.mark.parametrize("batch_events", [1_000, 0])
    def test_the_views_pass_over_an_event_when_somebody_says_so(
        self, log: ModelRegistry, file: Path, batch_events: int
    ) -> None:
        log._views._batch_events = batch_events
        self._change(file, "topic", "x")
        self._located(log.models)
        log.skip(5, actor="ada", reason="a disk broke")
        (skipped,) = log.skipped()
        assert (skipped.position, skipped.at_us, skipped.actor, skipped.reason) == (
            5, log._now_us(), "ada", "a disk broke",
        )  # fmt: skip
        for position in (7, 8):  # what needs the one that was passed over
            assert log.views()[0].stopped_by == position
            log.skip(position)
        assert [(model.name, len(model.versions)) for model in log.models()] == [("bad", 1), ("good", 2)]
        assert log.rebuild() == 8
        assert log.usage(START, START + DAY).position == 8
        self._located(lambda: list(log.history()))
        log.skip(2)
        log.skip(5)
        assert [one.position for one in log.skipped()] == [2, 5, 7, 8]
        assert log.models()[0].primary is not None  # what can be folded counts as before

    def test_only_what_is_there_can_be_passed_over(self, log: ModelRegistry) -> None:
        everything_else: list[Any] = [0, 9, -1, "5", None, True]
        for wrong in everything_else:
            with refused(log, InvalidArgumentError):
                log.skip(wrong)
        with refused(log, InvalidArgumentError):
            log.skip(5, actor="a\n")
        assert log.skipped() == ()

    def test_a_row_that_is_missing(self, log: ModelRegistry, file: Path) -> None:
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("DELETE FROM stored_events WHERE rowid=2")
        with ModelRegistry(file, clock=log._clock) as registry:
            for question in (lambda: registry.model("bad"), lambda: deploy(registry, "bad")):
                with pytest.raises(CorruptLogError, match="missing"):
                    question()

    def test_a_row_of_a_stream_that_names_another_model(self, log: ModelRegistry, file: Path) -> None:
        (row,) = log._recorder.log(4, 1)
        self._change(file, "state", row[4].replace(b'"model_name":"bad"', b'"model_name":"worse"'))
        with ModelRegistry(file, clock=log._clock) as registry:
            with pytest.raises(CorruptLogError, match="names another model") as caught:
                registry.model("bad")
            assert caught.value.position == 5

    def test_what_a_registry_knows_already_serves_on(self, log: ModelRegistry, file: Path) -> None:
        log.model("bad")
        self._change(file, "topic", "x")
        assert log.model("bad").primary is not None
        assert deploy(log, "bad").number == "0.3.0"

    def test_a_model_that_broke_behind_the_cache_is_forgotten(self, log: ModelRegistry, file: Path) -> None:
        with ModelRegistry(file, clock=log._clock) as second:
            second.model("bad")
            deploy(log, "bad")
            head = log._recorder.head()
            (row,) = log._recorder.log(head - 1, 1)
            self._change(file, "topic", "x", head)
            for question in (lambda: second.model("bad"), lambda: second.model("bad"), lambda: deploy(second, "bad")):
                with pytest.raises(CorruptLogError):
                    question()
            self._change(file, "topic", row[3], head)
            assert numbers(second.versions("bad")) == ["0.1.0", "0.2.0", "0.3.0"]


class TestOpening:
    def test_context_manager_and_close(self, store: Store) -> None:
        with store() as registry:
            assert registry.models() == ()
        registry.close()
        with pytest.raises(StoreError):
            registry.models()

    @pytest.mark.parametrize("use", WHOLE)
    def test_use_after_close_is_a_store_error(self, registry: ModelRegistry, use: str) -> None:
        deploy(registry)
        registry.close()
        with pytest.raises(StoreError):
            WHOLE[use](registry)

    @pytest.mark.parametrize("use", BY_NAME)
    def test_so_for_everything_by_name(self, registry: ModelRegistry, use: str) -> None:
        deploy(registry, publish=True)
        registry.close()
        with pytest.raises(StoreError):
            BY_NAME[use](registry, NAME)

    @pytest.mark.parametrize("use", BY_VERSION)
    def test_so_for_everything_by_version(self, registry: ModelRegistry, use: str) -> None:
        version = deploy(registry)
        registry.close()
        with pytest.raises(StoreError):
            BY_VERSION[use](registry, version.version_id)

    def test_what_was_made_before_is_closed_with_it(self, registry: ModelRegistry) -> None:
        deploy(registry)
        past, follower, history = registry.at(1), registry.follow(after=1, poll_s=30), registry.history()
        registry.close()
        for use in (past.models, lambda: past.model(NAME), lambda: next(follower), lambda: next(history)):
            with pytest.raises(StoreError):
                use()
        follower.close()

    def test_a_file_is_what_it_was_after_a_restart(self, shared_store: Store) -> None:
        with shared_store() as registry:
            for _ in range(3):
                deploy(registry, publish=True)
            registry.rollback(NAME)
            before = state_of(registry)
        with shared_store() as registry:
            assert state_of(registry) == before

    def test_a_path_is_taken_literally(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        odd = tmp_path / "a%20b?c.db"
        with ModelRegistry(odd) as registry:
            deploy(registry)
        assert odd.exists()
        with ModelRegistry("sqlite:///a%2520b%3Fc.db") as registry:
            assert registry.model(NAME).name == NAME

    @pytest.mark.parametrize(
        "url", ["", "models.db", "mysql://x", "sqlite:/x", "sqlite:///", "memory", 7, b"memory:", True]
    )
    def test_any_other_url_is_an_error(self, url: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(InvalidArgumentError):
            ModelRegistry(url)
        assert list(tmp_path.iterdir()) == []

    def test_a_store_that_can_not_be_opened_is_a_store_error(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError):
            ModelRegistry(tmp_path / "no such folder" / "models.db")
        with pytest.raises(StoreError):
            ModelRegistry(tmp_path)
        (tmp_path / "text.db").write_text("not a database, but long enough to be taken for one" * 100)
        with pytest.raises(StoreError):
            ModelRegistry(tmp_path / "text.db")

    @pytest.mark.parametrize(
        ("argument", "value"),
        [
            ("policy", "refuse"), ("policy", {}), ("policy", Policy), ("artifacts", 1), ("artifacts", ""),
            ("artifacts", "a\0b"), ("artifacts", b"x"), ("serializer", "nonsense"), ("serializer", 1),
        ],
    )  # fmt: skip
    def test_arguments_are_looked_at(self, argument: str, value: Any) -> None:
        with pytest.raises(InvalidArgumentError):
            ModelRegistry("memory:", **{argument: value})

    @pytest.mark.parametrize("wrong", [{"losing_primary": "x"}, {"publishing_claims": 1}, {"activation": None}])
    def test_a_policy_is_made_of_known_words(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(InvalidArgumentError):
            Policy(**wrong)

    def test_the_cache_is_bounded(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("versioning.registry.CACHED_MODELS_MAX", 2)
        registry = store()
        first = {name: deploy(registry, name) for name in "abcd"}
        assert len(registry._cached) == 2
        for name, version in first.items():
            assert registry.publish(version.version_id).is_primary
            assert registry.model(name).primary == registry.version(version.version_id)
            assert len(registry._cached) == 2

    def test_models_that_are_not_there_are_not_cached(self, registry: ModelRegistry) -> None:
        for use in BY_NAME.values():
            with contextlib.suppress(ModelNotFoundError):
                use(registry, NAME)
        assert len(registry._cached) == 0

    def test_two_threads_that_open_one_model_share_what_is_cached(self, shared_store: Store) -> None:
        version = deploy(shared_store())
        registry = shared_store()
        in_threads(*[lambda: registry.publish(version.version_id)] * 8)
        assert facts(registry.history()) == ["VersionDeployed", "VersionPublished", "VersionPromoted"]


class TestDefaultRegistry:
    """`versioning.deploy(...)`: module level, on the default registry, as the original product called it."""

    @pytest.fixture(autouse=True)
    def _alone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr(versioning, "_defaults", {})
        monkeypatch.delenv("VERSIONING_URL", raising=False)
        monkeypatch.chdir(tmp_path)
        yield
        for registry in versioning._defaults.values():
            registry.close()

    def test_it_is_a_file_in_the_current_folder(self, tmp_path: Path) -> None:
        version = versioning.deploy(
            {"weights": [1, 2]}, model_name="My wonderful model", version_bump="MAJOR", publish=True
        )
        assert (version.number, version.is_primary) == ("0.1.0", True)
        assert (tmp_path / "versioning.db").exists()
        with ModelRegistry() as registry:
            assert registry.primary("My wonderful model") == version
            assert registry.load("My wonderful model", trusted=True) == {"weights": [1, 2]}
            assert registry.load("My wonderful model", version.version_id, trusted=True) == {"weights": [1, 2]}

    def test_it_is_what_the_environment_says(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("VERSIONING_URL", "sqlite:///other.db")
        version = versioning.deploy(URI, model_name=NAME, actor="ada", idempotency_key="k", metadata={"a": 1})
        assert not (tmp_path / "versioning.db").exists()
        with ModelRegistry("sqlite:///other.db") as registry:
            assert registry.version(version.version_id).deployed_by == "ada"
        with ModelRegistry() as registry:
            assert registry.version(version.version_id) == version
        monkeypatch.setenv("VERSIONING_URL", "")
        with ModelRegistry() as registry:
            assert registry.models() == ()
        assert (tmp_path / "versioning.db").exists()

    def test_it_is_opened_once_and_another_one_elsewhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        here = versioning.default_registry()
        assert versioning.default_registry() is here
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert versioning.default_registry() is not here
        monkeypatch.chdir(tmp_path)
        assert versioning.default_registry() is here
        monkeypatch.setenv("VERSIONING_URL", "memory:")
        assert versioning.default_registry() is not here

    def test_eight_threads_open_it_once(self) -> None:
        found: list[ModelRegistry] = []
        in_threads(*[lambda: found.append(versioning.default_registry())] * 8)
        assert len(set(found)) == 1

    def test_a_script_that_does_not_close_it_ends_quietly(self, tmp_path: Path) -> None:
        program = "import versioning; versioning.deploy('s3://a', model_name='m', publish=True)"
        subprocess.run(
            [sys.executable, "-W", "error", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {program}"],
            cwd=tmp_path, check=True, capture_output=True,
        )  # fmt: skip
        with ModelRegistry() as registry:
            assert registry.resolve("m").number == "0.1.0"


class Doubling:
    """A model object with a `predict`."""

    def predict(self, inputs: list[int]) -> list[int]:
        return [2 * value for value in inputs]


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
            assert registry.collect_artifacts() == ()

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
        monkeypatch.setattr("versioning.registry.load_artifact", noted(loads, load_artifact))
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
        assert set(registry._loaded) == {version.version_id for version in versions[1:]}
        other.delete(versions[1].version_id)
        registry.invoke(NAME, [1], trusted=True)
        assert set(registry._loaded) == {version.version_id for version in versions[2:]}
        with refused(registry, VersionNotActiveError):
            registry.invoke(NAME, [1], versions[0].version_id, trusted=True)

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
        assert registry.collect_artifacts() == ()
        for path in (tmp_path / "contents").rglob("*"):
            if path.is_file():
                os.utime(path, (0, 0))
        with nothing_recorded(registry):
            assert registry.collect_artifacts() == (gone.artifact.digest,)
        assert registry.load(NAME, kept_one.number) == b"kept"
        assert registry.version(gone.version_id).artifact == gone.artifact


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
            assert document["detail"] == error.sentence
            assert document["title"]
            assert 400 <= document["status"] < 600
            assert (document["code"], document["rule"], document["hint"]) == (error.code, error.rule, error.hint)
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
