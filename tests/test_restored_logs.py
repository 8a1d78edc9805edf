"""What is so when an older copy of the log takes its place beneath a running registry? (SPEC, invariant 13)

A backup is restored, or a standby takes over that had not heard of the last events: the log is shorter all of a sudden,
and others may go on from there. Whatever the registry remembers of the lost events must then show in no answer, and
whatever it records must follow what is there now: no hole in a stream, and no event chained to one that is not there.

Each scenario says what is right; each bug is a guard that is left out, and the scenarios that name it then fail.
"""

# ruff: noqa: ANN401 - what stands in for a method takes whatever that takes

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import pytest
from eventsourcing.application import Application
from eventsourcing.persistence import IntegrityError

from tests import stores
from tests.forking import answer_of_child, each_fork, needs_fork
from tests.registry_tools import DAY, URI, numbers
from tests.stores import START, Store, facts
from versioning import ConcurrencyError, CorruptLogError, ModelNotFoundError, ModelRegistry, StoreError, Version
from versioning.aggregate import NO_LINK, ModelAggregate
from versioning.audit import log_file
from versioning.commanding import deciding
from versioning.commanding.deciding import Outcome
from versioning.commands import Promote
from versioning.events import Meta
from versioning.ids import stream_of
from versioning.reading import kept, streams
from versioning.reading.streams import CachedStream, CachedStreams
from versioning.rules import Policy, decide
from versioning.store import framework
from versioning.store.format import body_of, computed_link, stored_link

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from versioning.commanding.requests import Deployment
    from versioning.store.contract import Row
    from versioning.store.framework import LoadedModel

shared_store = stores.shared_store
store = stores.store

SLOW: Final = 3_600.0
"""Staleness in seconds, longer than any test."""


def deploy(registry: ModelRegistry, name: str = "m", **how: Any) -> Version:
    return registry.deploy(URI, model_name=name, **how)


def primary(registry: ModelRegistry) -> str | None:
    version = registry.primary("m")
    return None if version is None else version.number


def rewind(store: Store, position: int) -> None:
    """Take the log back to a position behind the registries' back."""
    store.execute(f"DELETE FROM stored_events WHERE {store.kind.position}>?", position)


def check(store: Store) -> None:
    """See that the log is whole: every stream counts on from 1 and is chained, and another process can read it."""
    with store() as fresh:
        for model in fresh.models():
            sequences = [one.sequence for one in fresh.history(model.name)]
            assert sequences == list(range(1, len(sequences) + 1))
        verified = fresh.verify()
        assert verified.ok, verified.findings


# Scenarios.

SCENARIOS: list[Callable[[Store], None]] = []


def scenario(run: Callable[[Store], None]) -> Callable[[Store], None]:
    SCENARIOS.append(run)
    return run


def three(store: Store) -> ModelRegistry:
    """Open a registry that knows three published versions, of which the log is about to lose the last: 6 events."""
    registry = store()
    for _ in range(3):
        deploy(registry, publish=True)
    assert primary(registry) == "0.3.0"
    return registry


@scenario
def a_question_does_not_answer_with_what_was_lost(store: Store) -> None:
    registry = three(store)
    rewind(store, 4)
    assert primary(registry) == "0.2.0"
    assert numbers(registry.versions("m")) == ["0.1.0", "0.2.0"]
    rewind(store, 0)
    with pytest.raises(ModelNotFoundError):
        registry.primary("m")
    assert deploy(registry).number == "0.1.0"


@scenario
def a_command_follows_what_is_there(store: Store) -> None:
    registry = three(store)
    rewind(store, 4)
    version = deploy(registry, publish=True)
    assert (version.number, registry.primary("m")) == ("0.3.0", version)
    assert facts(registry.history("m")) == ["VersionDeployed", "VersionPromoted"] * 3
    check(store)


@scenario
def a_command_of_one_event_does_too(store: Store) -> None:
    registry = store()
    first = deploy(registry, publish=True)
    deploy(registry, publish=True)
    registry.promote(first)
    rewind(store, 4)
    assert registry.deactivate(first).status == "inactive"
    assert facts(registry.history("m"))[4:] == ["VersionDeactivated"]
    check(store)


@scenario
def a_refusal_and_a_repeat_are_decided_on_what_is_there(store: Store) -> None:
    registry = store()
    first = deploy(registry, publish=True)
    second = deploy(registry, publish=True, idempotency_key="k")
    registry.deactivate(first)
    rewind(store, 2)
    with pytest.raises(ModelNotFoundError):
        registry.rollback("other")
    assert not registry.deactivate(first).repeated
    again = deploy(registry, publish=True, idempotency_key="k")
    assert (again.number, again.repeated) == ("0.2.0", False)
    assert again.version_id != second.version_id
    check(store)


@scenario
def another_history_of_the_same_length_is_noticed(store: Store) -> None:
    registry, other = three(store), store()
    rewind(store, 4)
    theirs = deploy(other, publish=True)
    assert registry.primary("m") == theirs
    assert registry.resolve("m", max_staleness_s=0) == theirs
    assert deploy(registry, publish=True).number == "0.4.0"
    check(store)


@scenario
def a_command_on_another_history_of_the_same_length_follows_it(store: Store) -> None:
    registry, other = three(store), store()
    rewind(store, 4)
    theirs = deploy(other, publish=True)
    assert registry.deactivate(theirs).status == "inactive"
    check(store)
    rewind(store, 4)
    deploy(other)
    other.publish("m@0.3.0")
    assert deploy(registry, publish=True).number == "0.4.0"
    check(store)


@scenario
def many_deployments_at_once_follow_what_is_there(store: Store) -> None:
    registry = store()
    for name in ("a", "b"):
        deploy(registry, name)
        deploy(registry, name)
    rewind(store, 3)
    made = registry.deploy_many({"model_or_reference": "s3://x", "model_name": name} for name in ("a", "b", "c", "b"))
    assert numbers(made) == ["0.3.0", "0.2.0", "0.1.0", "0.3.0"]
    check(store)


@scenario
def a_large_batch_follows_what_is_there(store: Store) -> None:
    registry = three(store)
    rewind(store, 4)
    of: list[Deployment] = [{"model_or_reference": "s3://x", "model_name": "m", "publish": True}] * 150
    assert registry.deploy_many(of)[-1].number == "0.152.0"
    check(store)


@scenario
def questions_across_models_forget_what_was_lost(store: Store) -> None:
    registry, other = three(store), store()
    deploy(registry, "other")
    assert [model.name for model in registry.models()] == ["m", "other"]
    assert len(registry.usage(START, START + DAY).lines) == 0
    rewind(store, 4)
    assert [model.name for model in registry.models()] == ["m"]
    assert registry.models()[0].primary == registry.primary("m")
    theirs = deploy(other, publish=True)
    store.clock.tick()
    assert registry.models()[0].primary == theirs
    assert {line.version_id for line in registry.usage(START, START + DAY).lines} == {
        version.version_id for version in other.versions("m")
    }


@scenario
def an_import_follows_what_is_there(store: Store) -> None:
    registry = three(store)
    copy = io.BytesIO()
    registry.export(copy)
    rewind(store, 2)
    done: list[str] = []

    def lose(what: str, *_: object) -> None:
        done.append(what)
        if what == "import" and done.count("import") == 1:
            rewind(store, 0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_file, "BATCH_EVENTS", 2)
        with pytest.raises(ConcurrencyError):
            registry.import_log(copy, progress=lose)
    assert registry.import_log(copy).imported == 6
    assert primary(registry) == "0.3.0"
    check(store)


@scenario
def the_framework_can_not_save_behind_what_was_lost(store: Store) -> None:
    three(store)
    environment = {"PERSISTENCE_MODULE": framework.__name__, "VERSIONING_URL": store.url}
    with Application[UUID](environment) as app:
        model: LoadedModel = app.repository.get(UUID(stream_of("default", "m")))
        oldest = next(iter(model.versions))
        rewind(store, 4)
        model.record(decide(model, Promote(oldest), Policy(), model.last_at_us), Meta("default", "m", 1, "0" * 32))
        with pytest.raises(IntegrityError):
            app.save(model)
    check(store)


@scenario
def an_answer_that_may_be_old_is_of_this_log(store: Store) -> None:
    registry, other = three(store), store()
    assert registry.resolve("m", max_staleness_s=SLOW).number == "0.3.0"
    rewind(store, 4)
    deploy(other)
    other.deactivate("m@0.2.0")
    deploy(other)
    ours = registry.publish("m@0.4.0")  # the log has as many events as the registry knew
    assert registry.resolve("m", max_staleness_s=SLOW) == ours


@pytest.mark.parametrize("run", SCENARIOS, ids=lambda run: run.__name__)
def test_what_is_right(run: Callable[[Store], None], shared_store: Store) -> None:
    run(shared_store)


# Guards that are left out.


def no_link_is_asked_for(patch: pytest.MonkeyPatch) -> None:
    """An append follows a number."""
    for module in (deciding, framework):
        patch.setattr(module, "encode", _unlinked(module.encode))


def _unlinked(encode: Callable[..., list[Row]]) -> Callable[..., list[Row]]:
    return lambda *args, **options: [row._replace(follows=None) for row in encode(*args, **options)]


def an_import_asks_for_no_link(patch: pytest.MonkeyPatch) -> None:
    """An import follows a number, and does not look whether what it follows is there."""
    patch.setattr(log_file, "_following", lambda new, _there: new)


def a_tail_is_believed(patch: pytest.MonkeyPatch) -> None:
    """The last row that is known may be any row."""
    patch.setattr(streams, "carries", lambda *_: True)


def what_is_gone_is_kept(patch: pytest.MonkeyPatch) -> None:
    """A state is kept although its last row is not in the log."""
    patch.setattr(CachedStreams, "_read_anew", lambda _self, _cached, link: link != NO_LINK)


def what_was_read_ahead_is_believed(patch: pytest.MonkeyPatch) -> None:
    """What readings made of the log is kept as long as the kept view stands still."""
    behind = kept._behind

    def believing(snapshot: Any, position: int, link: bytes, upto: int | None) -> Any:
        found = behind(snapshot, position, link, upto)
        return snapshot.log(position, 1_000, upto) if found is None else found

    patch.setattr(kept, "_behind", believing)


NOTICED: Final[list[tuple[Callable[[pytest.MonkeyPatch], None], Callable[[Store], None]]]] = [
    (no_link_is_asked_for, a_command_follows_what_is_there),
    (no_link_is_asked_for, a_command_of_one_event_does_too),
    (no_link_is_asked_for, a_command_on_another_history_of_the_same_length_follows_it),
    (no_link_is_asked_for, many_deployments_at_once_follow_what_is_there),
    (no_link_is_asked_for, a_large_batch_follows_what_is_there),
    (no_link_is_asked_for, the_framework_can_not_save_behind_what_was_lost),
    (an_import_asks_for_no_link, an_import_follows_what_is_there),
    (a_tail_is_believed, another_history_of_the_same_length_is_noticed),
    (what_is_gone_is_kept, a_question_does_not_answer_with_what_was_lost),
    (what_is_gone_is_kept, a_refusal_and_a_repeat_are_decided_on_what_is_there),
    (what_was_read_ahead_is_believed, questions_across_models_forget_what_was_lost),
]


@pytest.mark.parametrize(("plant", "run"), NOTICED, ids=lambda one: one.__name__ if callable(one) else str(one))
def test_a_guard_that_is_left_out_is_noticed(
    plant: Callable[[pytest.MonkeyPatch], None],
    run: Callable[[Store], None],
    shared_store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch)
    with pytest.raises((AssertionError, CorruptLogError, ConcurrencyError, StoreError, pytest.fail.Exception)):
        run(shared_store)


# Kept views.


class TestAViewThatHoldsWhatTheLogDoesNot:
    """It stops, says so, and is made anew by a rebuild; questions about one model go on."""

    @pytest.fixture
    def registry(self, shared_store: Store) -> ModelRegistry:
        registry = three(shared_store)
        registry.rebuild()
        return registry

    @pytest.mark.parametrize("regrown", [False, True])
    def test_it_stops_until_it_is_rebuilt(self, registry: ModelRegistry, shared_store: Store, *, regrown: bool) -> None:
        rewind(shared_store, 4)
        if regrown:
            deploy(registry, publish=True)
        status = registry.views()[0]
        assert status.stopped_by == 6
        assert "an event at position 6 that the log does not hold" in str(status.problem)
        for question in (
            registry.models,
            lambda: registry.at(2).models(),
            lambda: registry.usage(START, START + DAY),
        ):
            with pytest.raises(CorruptLogError) as caught:
                question()
            assert caught.value.position == 6
        assert primary(registry) == ("0.3.0" if regrown else "0.2.0")
        registry.rebuild()
        assert registry.models()[0].primary == registry.primary("m")
        assert registry.views()[0].stopped_by is None
        assert registry.verify().ok

    def test_it_is_shown_where_it_is_behind_and_goes_on(self, registry: ModelRegistry) -> None:
        deploy(registry, "other")
        assert registry.at(2).models()
        assert [status.stopped_by for status in registry.views()] == [None, None]
        assert [status.position for status in registry.views()] == [7, 7]


class TestAHole:
    """A view stops in front of an event whose predecessor is not there, or is another one."""

    def test_a_missing_event_stops_every_view(self, shared_store: Store) -> None:
        registry = three(shared_store)
        deploy(registry, "other")
        shared_store.execute(f"DELETE FROM stored_events WHERE {shared_store.kind.position}=?", 3)
        with shared_store() as fresh:
            for status in fresh.views():
                assert status.stopped_by == 4
                assert "Event 3 of the stream" in str(status.problem)
                assert "is missing" in str(status.problem)
            for question in (fresh.models, lambda: fresh.usage(START, START + DAY), lambda: fresh.at(6).models()):
                with pytest.raises(CorruptLogError, match="is missing"):
                    question()
            fresh.skip(4, actor="ada", reason="a test")
            assert [model.name for model in fresh.models()] == ["m", "other"]

    def test_it_is_noticed_where_the_view_goes_on(self, shared_store: Store) -> None:
        registry = three(shared_store)
        registry.rebuild()
        deploy(registry, publish=True)
        shared_store.execute(f"DELETE FROM stored_events WHERE {shared_store.kind.position}=?", 7)
        with shared_store() as fresh:
            assert [status.stopped_by for status in fresh.views()] == [8, 8]

    @pytest.mark.parametrize("at_once", [1, 2, 100])
    def test_an_event_behind_one_that_is_passed_over_counts(
        self, shared_store: Store, monkeypatch: pytest.MonkeyPatch, at_once: int
    ) -> None:
        registry = three(shared_store)
        for _ in range(2):
            deploy(registry, "other")
        registry.publish("other@0.1.0")
        shared_store.change(8, state=b"nothing" * 20)
        monkeypatch.setattr(kept, "REBUILD_EVENTS", at_once)
        with shared_store() as fresh:
            assert [status.stopped_by for status in fresh.views()] == [8, 8]
            fresh.skip(8)
            assert [status.stopped_by for status in fresh.views()] == [None, None]
            assert numbers(fresh.models()[1].versions) == ["0.1.0"]
            assert fresh.models()[1].primary is not None

    def test_another_predecessor_is_noticed(self, shared_store: Store) -> None:
        registry = three(shared_store)
        registry.rebuild()
        deploy(registry)
        stream = stream_of("default", "m")
        ((position, sequence, topic, state),) = registry._store.tail(stream, 6)
        link = computed_link(NO_LINK, stream, sequence, topic, body_of(state)).hex().encode()
        shared_store.change(position, state=state.replace(stored_link(state), link))
        with shared_store() as fresh:
            for status in fresh.views():
                assert status.stopped_by == position
                assert "does not continue the chain" in str(status.problem)


# What this registry itself recorded.


class TestRecentAnswers:
    """`resolve(max_staleness_s=…)` never misses what this registry recorded, whatever the call."""

    def test_an_import(self, store: Store) -> None:
        registry = store()
        deploy(registry, publish=True)
        deploy(registry, publish=True)
        copy = io.BytesIO()
        registry.export(copy)
        with ModelRegistry("memory:", clock=store.clock) as target:
            short = io.BytesIO()
            first = registry.at(2)
            assert first.models()
            target.import_log(copy)
            assert target.resolve("m", max_staleness_s=SLOW).number == "0.2.0"
            deploy(registry, publish=True)
            registry.export(short)
            target.import_log(short)
            assert target.resolve("m", max_staleness_s=SLOW).number == "0.3.0"

    def test_an_import_that_fails_behind_its_first_batch(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(log_file, "BATCH_EVENTS", 2)
        registry = store()
        deploy(registry, publish=True)
        with ModelRegistry("memory:", clock=store.clock) as target:
            copy = io.BytesIO()
            registry.export(copy)
            target.import_log(copy)
            assert target.resolve("m", max_staleness_s=SLOW).number == "0.1.0"
            deploy(registry, publish=True)
            deploy(registry, publish=True)
            longer = io.BytesIO()
            registry.export(longer)

            def stop(what: str, *_: object) -> None:
                if what == "import" and target._store.head() == 4:
                    raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                target.import_log(longer, progress=stop)
            assert target.resolve("m", max_staleness_s=SLOW).number == "0.2.0"

    def test_many_deployments(self, store: Store) -> None:
        registry = store()
        deploy(registry, publish=True)
        registry.resolve("m", max_staleness_s=SLOW)
        registry.deploy_many([{"model_or_reference": "s3://x", "model_name": "m", "publish": True}])
        assert registry.resolve("m", max_staleness_s=SLOW).number == "0.2.0"

    @pytest.mark.parametrize("many", [False, True])
    def test_a_command_whose_model_is_evicted_and_read_again_meanwhile(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, *, many: bool
    ) -> None:
        monkeypatch.setattr(streams, "CACHED_MODELS_MAX", 1)
        registry = store()
        deploy(registry, publish=True)
        deploy(registry, "other", publish=True)
        append = registry._store.append

        def slow(rows: Sequence[Row]) -> range:
            registry.resolve("other", max_staleness_s=SLOW)  # what other threads ask while this one waits for the disk
            registry._recent.clear()
            registry.resolve("m", max_staleness_s=SLOW)
            return append(rows)

        registry.resolve("m")
        monkeypatch.setattr(registry._store, "append", slow)
        if many:
            registry.deploy_many([{"model_or_reference": "s3://x", "model_name": "m", "publish": True}])
        else:
            deploy(registry, publish=True)
        assert registry.resolve("m", max_staleness_s=SLOW).number == "0.2.0"

    def test_a_command_that_is_interrupted_behind_its_commit(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        registry = store()
        deploy(registry, publish=True)
        registry.resolve("m", max_staleness_s=SLOW)
        append = registry._store.append

        def interrupted(rows: Sequence[Row]) -> range:
            append(rows)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(registry._store, "append", interrupted)
            with pytest.raises(KeyboardInterrupt):
                deploy(registry, publish=True)
        assert registry.resolve("m", max_staleness_s=SLOW).number == "0.2.0"

    @needs_fork
    @each_fork
    def test_a_child_of_the_process(self, shared_store: Store, fork: Callable[[], int]) -> None:
        registry = shared_store()
        deploy(registry, publish=True)
        registry.resolve("m", max_staleness_s=SLOW)

        def in_child() -> str:
            deploy(registry, publish=True)
            return registry.resolve("m", max_staleness_s=SLOW).number

        assert answer_of_child(in_child, fork) == "0.2.0"


class TestStatesAreShared:
    def test_who_reads_first_is_who_the_others_share_with(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        registry = store()
        deploy(registry, publish=True)
        registry._streams._cached.clear()
        state = registry._streams.state
        other: list[CachedStream] = []

        def slow(stream: str) -> ModelAggregate:
            found = state(stream)
            monkeypatch.setattr(registry._streams, "state", state)
            deploy(registry, publish=True)  # another thread, while this one has read and not stored yet
            other.append(registry._streams.current(stream)[0])
            return found

        monkeypatch.setattr(registry._streams, "state", slow)
        cached, is_fresh = registry._streams.current(stream_of("default", "m"))
        assert (cached, is_fresh) == (other[0], False)
        assert primary(registry) == "0.2.0"

    @pytest.mark.parametrize("forgets", [False, True])
    def test_a_question_while_the_first_command_is_recorded_takes_nothing_from_it(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, *, forgets: bool
    ) -> None:
        registry = store()
        append, stream = registry._store.append, stream_of("default", "m")

        def slow(rows: Sequence[Row]) -> range:
            with pytest.raises(ModelNotFoundError):
                registry.model("m")
            if forgets:
                registry._streams.forget(registry._streams.shared(stream))
            return append(rows)

        monkeypatch.setattr(registry._store, "append", slow)
        version = deploy(registry)
        assert registry.version(version.version_id) == version

    def test_facts_that_a_dropped_state_lacks_are_read_with_the_rest(
        self, shared_store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        registry, other = shared_store(), shared_store()
        deploy(registry)
        deploy(other)
        cached, _ = registry._streams.current(stream_of("default", "m"))
        tail = registry._store.tail

        def slow(*args: Any) -> Any:
            rows = tail(*args)
            monkeypatch.setattr(registry._store, "tail", tail)
            registry._streams.forget(cached)  # another thread was interrupted
            return rows

        monkeypatch.setattr(registry._store, "tail", slow)
        assert numbers(registry.versions("m")) == ["0.1.0", "0.2.0"]

    def test_what_is_gone_before_it_is_returned_is_said_to_be_gone(self) -> None:
        gone = Outcome(CachedStream(ModelAggregate(stream_of("default", "m"))), "ver_x", 1)
        for ask in (lambda: gone.version, lambda: gone.model):
            with pytest.raises(StoreError, match="is not in the log any more"):
                ask()
