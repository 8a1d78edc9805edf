"""What the registry promises, seen from outside and on every store: one class a rule of SPEC.md, or a question.

What needs a file that can be broken or copied behind the registry's back runs on SQLite; all else on every store.
"""

from __future__ import annotations

import contextlib
import itertools
import json
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
from typing import TYPE_CHECKING, Any

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
from versioning.commands import COMMANDS
from versioning.events import VersionDeployed, VersionPromoted
from versioning.persistence import AppendConflict
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

    @pytest.mark.parametrize("bump", ["", "MINOR ", "micro", "mınor", None, 1, b"MINOR"])
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
        ["x", "n" * 256, "e\u0301" * 256, "\U0001f600" * 256, "a b", "a/b?c=d", "🜁 модель 模型", "ver_1", "mdl_", "act_x"],
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
            "act_0123456789ab8def8123456789abcdef_1_01234567_1", None, 1, True, b"a", ["a"], object(),
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

    @pytest.mark.parametrize("text", ["", "0.1.0", NAME, AN_ID.upper(), AN_ID + "x", AN_ID[:-1], None, 7, AN_ID.encode()])
    @pytest.mark.parametrize("use", [use for use in BY_VERSION if use not in {"history", "complete_activation", "fail_activation"}])
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
        "use", [use for use in BY_VERSION if use not in {"version", "history", "allowed", "at", "complete_activation", "fail_activation"}]
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
        for malformed in ("", waiting.version_id, None, 3):
            with refused(awaited, InvalidArgumentError, "R15"):
                awaited.complete_activation(waiting.version_id, malformed)  # type: ignore[arg-type] - what is refused

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
        """9:00 a draft of a, 10:00 published, 11:00 b, 12:00 a is deactivated, 13:00 model c is deployed and deleted."""
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
            registry.usage(START, "2026-01-01")  # type: ignore[arg-type] - what is refused
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
            (lambda registry: deploy(registry), "activate"),
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
        lambda registry, key: registry.complete_activation(waiting.version_id, activation_id + "0", idempotency_key=key),
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
    def test_a_repeat_by_another_registry_or_after_a_restart_is_known(
        self, shared_store: Store, command: str
    ) -> None:
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
            {"version_bump": "PATCH"}, {"publish": False}, {"promote": False}, {"metadata": {"a": 2}}, {"metadata": None},
            {"model_or_reference": URI + "2"},
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
