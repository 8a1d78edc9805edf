"""What do the commands do (R1 to R17, R20)? Seen from outside, on every store."""

# ruff: noqa: ANN401 - what is refused is of any type

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

import pytest

from tests import registry_tools, stores
from tests.registry_tools import AN_ID, BY_VERSION, NAME, NOT_TEXT, deploy, nothing_recorded, numbers, refused, serving
from tests.stores import Store, facts
from versioning import (
    InvalidArgumentError,
    InvalidBumpError,
    InvalidNameError,
    Model,
    ModelNotFoundError,
    ModelRegistry,
    NothingToRollBackToError,
    Policy,
    PrimaryProtectedError,
    Version,
    VersionDeletedError,
    VersionNotActiveError,
    VersionNotFoundError,
)
from versioning.events import VersionPromoted
from versioning.store.contract import Row

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

store = stores.store
shared_store = stores.shared_store
registry = registry_tools.registry
awaited = registry_tools.awaited


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

    def test_an_id_of_a_fork_is_not_found(self, registry: ModelRegistry, store: Store, tmp_path: Path) -> None:
        before = deploy(registry).version_id
        (fork := tmp_path / "fork").mkdir()
        with ModelRegistry(store.kind.url(fork)) as forked:
            forked._store.append([Row(*row[1:], None) for row in registry._store.log(0, 10)])
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
