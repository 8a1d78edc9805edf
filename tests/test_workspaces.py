"""What does a registry see of other workspaces (R27)? Nothing."""

# ruff: noqa: ANN401 - what is refused is of any type

from __future__ import annotations

from typing import Any

import pytest

from tests import stores
from tests.registry_tools import AWAITED, BY_NAME, BY_VERSION, DAY, NAME, deploy, nothing_recorded, refused
from tests.stores import START, Store
from versioning import (
    CorruptLogError,
    InvalidArgumentError,
    ModelNotFoundError,
    ModelRegistry,
    Version,
    VersionNotFoundError,
)

store = stores.store
shared_store = stores.shared_store


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
                    mine.preview.publish(draft.version_id, idempotency_key=key)

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

    def test_a_stream_that_names_another_model_is_an_error_and_never_another_tenant_s_model(
        self, shared_store: Store
    ) -> None:
        theirs, mine = shared_store(workspace="theirs"), shared_store()
        deploy(theirs, "secret")
        ((_, stream, _, _, state),) = theirs._store.log(0, 1)
        taken = mine._streams.ref(NAME).stream  # as if the two names had one digest
        shared_store.change(1, originator_id=taken, state=state.replace(stream.encode(), taken.encode()))
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
