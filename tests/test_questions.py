"""What is there now (R24)?"""

# ruff: noqa: ANN401 - what is refused is of any type

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import Any

import pytest

from tests import registry_tools, stores
from tests.registry_tools import AN_ID, BY_NAME, NAME, deploy, numbers, refused, serving
from tests.stores import START, Store
from versioning import (
    InvalidArgumentError,
    InvalidNameError,
    ModelNotFoundError,
    ModelRegistry,
    NoPrimaryVersionError,
    Policy,
    RefusedError,
    Version,
    VersionDeletedError,
    VersionNotActiveError,
    VersionNotFoundError,
)

store = stores.store
registry = registry_tools.registry
awaited = registry_tools.awaited


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

    def test_a_name_of_another_class_of_text_is_that_text(self, registry: ModelRegistry) -> None:
        class Name(str):
            __slots__ = ()

            def __str__(self) -> str:
                return "another"

        version = deploy(registry, publish=True)
        assert registry.resolve(Name(NAME)) == version
        assert registry.resolve(NAME, Name("0.1.0")) == version

    def test_at_primary_is_the_primary(self, registry: ModelRegistry) -> None:
        version = deploy(registry, publish=True)
        deploy(registry)
        assert registry.resolve(NAME, "@primary") == version

    def test_a_version_is_text(self, registry: ModelRegistry) -> None:
        deploy(registry, publish=True)
        with refused(registry, InvalidArgumentError):
            registry.resolve(NAME, 7)  # type: ignore[arg-type]  # refused

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
        assert registry.resolve(NAME, many[number]) == many[number]

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
        assert registry.version(f"{NAME}@0.1.0") == version
        assert registry.version(registry.version(f"{NAME}@0.1.0")) == version
        assert version.metadata == {"auc": 0.9}
        assert version.deployed_by == "ada"

    def test_deleted_ones_too_while_the_model_is_there(self, registry: ModelRegistry) -> None:
        gone, kept = deploy(registry), deploy(registry)
        registry.delete(gone.version_id)
        assert registry.version(f"{NAME}@0.1.0").status == "deleted"
        assert registry.versions(NAME) == (kept,)
        assert registry.model(NAME).versions == (kept,)
        assert numbers(registry.versions(NAME, include_deleted=True)) == ["0.1.0", "0.2.0"]
        assert registry.versions(NAME, True)[0].status == "deleted"  # noqa: FBT003 - the promise is by place too

    @pytest.mark.parametrize("number", ["0.2.0", "0.1.0-a", "1.1.1"])
    def test_a_number_that_was_never_given_is_not_found(self, registry: ModelRegistry, number: str) -> None:
        deploy(registry)
        with refused(registry, VersionNotFoundError, "R24"):
            registry.version(f"{NAME}@{number}")

    @pytest.mark.parametrize(
        "word", ["1", "^0.1", AN_ID, "0.1.0 ", "\u0660.\u0661.\u0660", "0.01.0", "Primary", "latest"]
    )
    def test_any_other_word_names_no_version(self, registry: ModelRegistry, word: str) -> None:
        deploy(registry)
        with refused(registry, VersionNotFoundError, "R24"):
            registry.version(f"{NAME}@{word}")

    @pytest.mark.parametrize("text", [f"{NAME}@", NAME, "", 1, b"churn@0.1.0"])
    def test_what_names_no_version_is_an_input_error(self, registry: ModelRegistry, text: Any) -> None:
        deploy(registry)
        with refused(registry, InvalidArgumentError, "R5"):
            registry.version(text)

    def test_versions_are_in_the_order_of_their_numbers(self, registry: ModelRegistry) -> None:
        for bump in ["MINOR"] * 11 + ["MAJOR", "PATCH"]:
            deploy(registry, version_bump=bump)
        listed = numbers(registry.versions(NAME))
        assert listed[8:] == ["0.9.0", "0.10.0", "0.11.0", "1.0.0", "1.0.1"]


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
        assert [model.name for model in registry.models(after_name="aa", limit=2)] == ["c", "d"]
        assert [model.name for model in registry.models(limit=3)] == ["a", "c", "d"]
        assert [model.name for model in registry.models(after_name="d")] == ["f"]
        assert registry.models(after_name="f") == registry.models(limit=0) == ()
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

    @pytest.mark.parametrize(
        "wrong", [{"after_name": 1}, {"after_name": ""}, {"limit": -1}, {"limit": True}, {"limit": "1"}]
    )
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
                assert caught.value.to_dict()["suggestions"] == ["churn"]
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
                    getattr(registry.preview, command)(version_id)
                    would.append(command)
            activation_id = registry.version(version_id).activation_id
            if activation_id is not None:
                would += ["complete_activation", "fail_activation"]
                assert registry.preview.complete_activation(version_id, activation_id)
                assert registry.preview.fail_activation(version_id, activation_id, error="")
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
