"""What goes on where a row of the log is not what this library wrote?"""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from tests import stores
from tests.registry_tools import DAY, deploy, numbers, refused
from tests.stores import START, Store
from versioning import (
    CorruptLogError,
    InvalidArgumentError,
    ModelNotFoundError,
    ModelRegistry,
    NewerFormatError,
    VersioningError,
)
from versioning.reading.views import VIEWS

if TYPE_CHECKING:
    from collections.abc import Callable

shared_store = stores.shared_store


class TestPoison:
    """A row that is not what this library wrote is an error that says where it stands; other models go on."""

    NOT_OURS: ClassVar[dict[str, dict[str, object]]] = {
        "topic": {"topic": "os.system"},
        "empty topic": {"topic": ""},
        "topic of another type": {"topic": 7},  # in PostgreSQL, whose columns keep their types, it becomes a text
        "another event's topic": {"topic": "promoted.1"},
        "state": {"state": b"{}"},
        "text instead of bytes": {"state": "{}"},  # and this becomes bytes
        "broken json": {"state": b'{"_chain":"'},
        "nothing": {"state": b""},
    }
    """Columns, and what they are changed to."""

    @pytest.fixture
    def log(self, shared_store: Store) -> ModelRegistry:
        """Give a log of 8 events in which the row at 5, the third of `bad`, is about to be changed."""
        registry = shared_store()
        deploy(registry, "bad", publish=True)
        deploy(registry, "good", publish=True)
        deploy(registry, "bad")
        deploy(registry, "good")
        registry.publish(registry.versions("bad")[1].version_id)
        return registry

    @staticmethod
    def _located(question: Callable[[], object], error: type[VersioningError] = CorruptLogError) -> None:
        with pytest.raises(error) as caught:
            question()
        assert getattr(caught.value, "position", None) == 5
        assert "5" in str(caught.value)

    @pytest.mark.parametrize("wrong", NOT_OURS)
    def test_questions_that_need_it_name_its_position(
        self, log: ModelRegistry, shared_store: Store, wrong: str
    ) -> None:
        version_id = log.versions("bad")[0].version_id
        assert version_id
        shared_store.change(5, **self.NOT_OURS[wrong])
        with shared_store() as registry:
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
                lambda: registry.preview.rollback("bad"),
            ):
                self._located(question)

    @pytest.mark.parametrize("wrong", NOT_OURS)
    def test_its_own_model_can_not_be_changed(self, log: ModelRegistry, shared_store: Store, wrong: str) -> None:
        version_id = log.versions("bad")[0].version_id
        head = log._store.head()
        shared_store.change(5, **self.NOT_OURS[wrong])
        with shared_store() as registry:
            for command in (
                lambda: deploy(registry, "bad"),
                lambda: deploy(registry, "bad", idempotency_key="k"),
                lambda: registry.rollback("bad"),
                lambda: registry.deactivate(version_id),
                lambda: registry.delete_model("bad"),
            ):
                self._located(command)
            assert registry._store.head() == head

    @pytest.mark.usefixtures("log")
    @pytest.mark.parametrize("wrong", NOT_OURS)
    def test_all_other_models_go_on(self, shared_store: Store, wrong: str) -> None:
        shared_store.change(5, **self.NOT_OURS[wrong])
        with shared_store() as registry:
            version = deploy(registry, "good", publish=True, idempotency_key="k")
            assert deploy(registry, "good", publish=True, idempotency_key="k") == version
            assert registry.resolve("good") == registry.primary("good") == version
            assert registry.rollback("good").number == "0.1.0"
            assert deploy(registry, "new").number == "0.1.0"
            assert len(list(registry.history("good"))) == 6
            assert registry.usage(START, START + DAY, "good").position == registry._store.head()
            assert registry.at(7).model("good").versions
            assert registry.at(START).model("good").versions
            with registry.follow(after=5) as follower:
                assert next(follower).position == 6
            with pytest.raises(ModelNotFoundError) as caught:
                registry.model("goods")
            assert caught.value.suggestions == ()
            assert [model.name for model in registry.at(4).models()] == ["bad", "good"]

    def test_a_follower_gives_all_that_lies_before_it_and_stays_there(
        self, log: ModelRegistry, shared_store: Store
    ) -> None:
        shared_store.change(5, topic="x")
        with log.follow() as follower:
            assert [recorded.position for recorded in itertools.islice(follower, 4)] == [1, 2, 3, 4]
            for _ in range(2):
                self._located(lambda: next(follower))
            assert follower.position == 4

    @pytest.mark.usefixtures("log")
    def test_a_topic_of_a_newer_release_says_so(self, shared_store: Store) -> None:
        shared_store.change(5, topic="deployed.2")
        with shared_store() as registry:
            for question in (lambda: registry.model("bad"), registry.models, lambda: deploy(registry, "bad")):
                self._located(question, NewerFormatError)
            assert registry.model("good").name == "good"

    def test_a_row_that_does_not_follow_from_those_before_it(self, log: ModelRegistry, shared_store: Store) -> None:
        (row,) = log._store.log(4, 1)
        version_id = log.versions("bad")[1].version_id
        ghost = version_id[:-8] + "0" * 8
        shared_store.change(5, topic="published.1")
        state = json.loads(row[4])
        state["payload"] = {"at_us": state["payload"]["at_us"], "claims": False, "version_id": ghost}
        shared_store.change(5, state=json.dumps(state, separators=(",", ":")).encode())
        with shared_store() as registry:
            for question in (
                lambda: registry.model("bad"),
                lambda: deploy(registry, "bad"),
                registry.models,
                lambda: registry.at(7).model("bad"),
                lambda: registry.at(7).models(),
            ):
                self._located(question)
            assert deploy(registry, "good").number == "0.3.0"

    def test_the_views_say_how_far_they_are_and_what_stops_them(self, log: ModelRegistry, shared_store: Store) -> None:
        assert [(view.name, view.position, view.behind, view.stopped_by) for view in log.views()] == [
            (view.name, 8, 0, None) for view in VIEWS
        ]
        log.rebuild()
        shared_store.change(5, topic="x")
        shared_store.execute("DELETE FROM kept_views")
        for view in log.views():
            assert (view.position, view.behind, view.stopped_by) == (4, 4, 5)
            assert "position 5" in str(view.problem)
        for question in (log.models, log.rebuild):
            self._located(question)

    @pytest.mark.parametrize("batch_events", [1_000, 0])
    def test_the_views_pass_over_an_event_when_somebody_says_so(
        self, log: ModelRegistry, shared_store: Store, batch_events: int
    ) -> None:
        log._views._batch_events = batch_events
        shared_store.change(5, topic="x")
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

    def test_a_past_of_all_models_is_stopped_where_it_folds_a_stream_that_can_not_be_read(
        self, log: ModelRegistry, shared_store: Store
    ) -> None:
        whole = log.at(4).models()
        log.rebuild()
        deploy(log, "good")
        shared_store.change(5, topic="x")
        assert [model.name for model in log.models()] == ["bad", "good"]  # as it was kept before it broke
        assert log.at(8).models()[0] == log.models()[0]
        assert log.at(4).models() == whole
        for past in map(log.at, (5, 6, 7)):  # the kept row has seen more of it
            self._located(past.models)
        log.skip(5)
        assert [len(model.versions) for model in log.at(6).models()] == [1, 2]
        with pytest.raises(CorruptLogError) as caught:
            log.at(7).models()
        assert caught.value.position == 7  # it needs the one that was passed over
        shared_store.change(3, topic="x")
        log.skip(3)
        assert [model.name for model in log.at(3).models()] == ["bad"]  # nothing is left of the other one

    def test_only_what_is_there_can_be_passed_over(self, log: ModelRegistry) -> None:
        everything_else: list[Any] = [0, 9, -1, "5", None, True]
        for wrong in everything_else:
            with refused(log, InvalidArgumentError):
                log.skip(wrong)
        with refused(log, InvalidArgumentError):
            log.skip(5, actor="a\n")
        assert log.skipped() == ()

    @pytest.mark.usefixtures("log")
    def test_a_row_that_is_missing(self, shared_store: Store) -> None:
        shared_store.execute(f"DELETE FROM stored_events WHERE {shared_store.kind.position}=2")
        with shared_store() as registry:
            for question in (lambda: registry.model("bad"), lambda: deploy(registry, "bad")):
                with pytest.raises(CorruptLogError, match="missing"):
                    question()

    def test_a_row_of_a_stream_that_names_another_model(self, log: ModelRegistry, shared_store: Store) -> None:
        (row,) = log._store.log(4, 1)
        shared_store.change(5, state=row[4].replace(b'"model_name":"bad"', b'"model_name":"worse"'))
        with shared_store() as registry:
            with pytest.raises(CorruptLogError, match="names another model") as caught:
                registry.model("bad")
            assert caught.value.position == 5

    def test_what_a_registry_knows_already_serves_on(self, log: ModelRegistry, shared_store: Store) -> None:
        log.model("bad")
        shared_store.change(5, topic="x")
        assert log.model("bad").primary is not None
        assert deploy(log, "bad").number == "0.3.0"

    def test_a_model_that_broke_behind_the_cache_is_forgotten(self, log: ModelRegistry, shared_store: Store) -> None:
        with shared_store() as second:
            second.model("bad")
            deploy(log, "bad")
            head = log._store.head()
            (row,) = log._store.log(head - 1, 1)
            shared_store.change(head, topic="x")
            for question in (lambda: second.model("bad"), lambda: second.model("bad"), lambda: deploy(second, "bad")):
                with pytest.raises(CorruptLogError):
                    question()
            shared_store.change(head, topic=row[3])
            assert numbers(second.versions("bad")) == ["0.1.0", "0.2.0", "0.3.0"]
