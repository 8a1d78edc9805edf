"""What was there then (R25)?"""

# ruff: noqa: ANN401 - what is refused is of any type

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import registry_tools, stores
from tests.registry_tools import DAY, NAME, deploy, numbers, refused, state_of
from tests.stores import START, Clock, Store, facts
from versioning import InvalidArgumentError, ModelNotFoundError, ModelRegistry, UsageLedger, VersionNotFoundError
from versioning.events import microseconds_of
from versioning.reading.views import MODELS, VIEWS, Past
from versioning.store.format import decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from versioning import Model, Recorded
    from versioning.aggregate import ModelAggregate

store = stores.store
shared_store = stores.shared_store
registry = registry_tools.registry


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
            now = registry._store.head(), store.clock.now
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
        assert past.version(f"{NAME}@0.1.0") == draft
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
        last = registry._store.head()
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

    @pytest.mark.parametrize("wrong", ["2026-03-14", 1.5, None])
    def test_what_is_neither_a_moment_nor_a_position_is_told_both(self, registry: ModelRegistry, wrong: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="an aware datetime or a position") as refused:
            registry.at(wrong)
        assert refused.value.hint == "For example datetime.now(timezone.utc), or 14."

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
        fast = shared_store(clock=Clock(START + DAY))
        slow = shared_store(clock=Clock(START - DAY), clock_skew_max_s=None)
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


WORKSPACES = ("default", "other")
DAYS = START - 3 * DAY, START + 3 * DAY


def act(registry: ModelRegistry, clock: Clock, step: tuple[str, str, int, int]) -> None:
    """Do something to a model at a moment, which may lie before that of the step before: clocks differ."""
    registry.workspace, name, hours, kind = step
    clock.now = START + timedelta(hours=hours)
    try:
        left = registry.versions(name)
    except ModelNotFoundError:
        left = ()
    if kind < 3 or not left:
        deploy(registry, name, publish=kind != 1)
    elif kind == 3:
        registry.delete_model(name)
    elif kind == 4:
        registry.delete(left[0].version_id)
    elif left[-1].status == "active":
        registry.deactivate(left[-1].version_id) if kind == 5 else registry.promote(left[-1].version_id)
    else:
        registry.activate(left[-1].version_id)


def expected(log: list[Recorded], workspace: str, cut: Past) -> tuple[list[Model], UsageLedger]:
    """Fold what counts, one event after the other."""
    states: dict[str, ModelAggregate] = {}
    ledger = UsageLedger()
    for recorded in log:
        if recorded.workspace == workspace and cut.holds(recorded.position, recorded.event.at_us):
            states[recorded.stream] = MODELS.evolve(states.get(recorded.stream), recorded) or states[recorded.stream]
            ledger.evolve(recorded)
    models = [state.model() for state in states.values() if state.exists]
    return sorted(models, key=lambda model: model.name), ledger


def compare(registry: ModelRegistry, log: list[Recorded], hours: Iterable[int]) -> None:
    """See that each past is the fold of its prefix, whatever the views keep by now."""
    moments = {recorded.timestamp for recorded in log}
    moments |= {moment - timedelta(microseconds=1) for moment in moments}
    head = registry.position()
    places: list[int | datetime] = [0, *(recorded.position for recorded in log), *sorted(moments)]
    for workspace in WORKSPACES:
        registry._use(workspace, registry.policy)
        for place in places:
            past = registry.at(place)
            models, ledger = expected(log, registry.workspace, past._streams.past)
            assert list(past.models()) == models
            for after in (None, *(model.name for model in models)):
                behind = [model for model in models if after is None or model.name > after]
                assert list(past.models(after, 2)) == behind[:2]
            ledger.position = place if isinstance(place, int) else head
            for start, end in (
                DAYS,
                *((START + timedelta(hours=hour), START + timedelta(hours=hour + 5)) for hour in hours),
            ):
                bill = ledger.usage(microseconds_of(start), microseconds_of(end), past._now_us())
                assert past.usage(start, end) == bill


def compare_while_views_grow(registry: ModelRegistry, batches: tuple[int, int], hours: Iterable[int]) -> None:
    """Compare with nothing kept, and each time that the views, which go at their own speed, have come further."""
    log = [decode(*row) for row in registry._store.log(0, 10_000)]
    views = registry._views
    views._batch_events = 1_000_000
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("versioning.reading.kept.PAGE", 2)
        reached = -1
        while min(positions := [views._position(view) for view in VIEWS]) > reached:
            reached = min(positions)
            patch.setattr("versioning.reading.kept.REBUILD_EVENTS", 3)
            compare(registry, log, hours)
            for view, batch in zip(VIEWS, batches, strict=True):
                patch.setattr("versioning.reading.kept.REBUILD_EVENTS", batch)
                views._advance(view, view.name)


STEPS = st.tuples(
    st.sampled_from(WORKSPACES), st.sampled_from("abc"), st.integers(-48, 48), st.integers(min_value=0, max_value=8)
)


class TestR25AnyPast:
    """A past is the fold of what counts, however far the kept views are: behind it, at it, or far beyond it."""

    @pytest.mark.untraced
    @settings(max_examples=20, deadline=None)
    @given(
        story=st.lists(STEPS, min_size=1, max_size=12),
        batches=st.tuples(st.integers(2, 9), st.integers(2, 9)),
    )
    def test_of_any_history(self, story: list[tuple[str, str, int, int]], batches: tuple[int, int]) -> None:
        clock = Clock()
        with ModelRegistry("memory:", clock=clock, clock_skew_max_s=None) as registry:
            for step in story:
                act(registry, clock, step)
            clock.now = START + 2 * DAY
            compare_while_views_grow(registry, batches, [story[0][2] - 4])  # its last hour begins with an event

    def test_on_every_store(self, store: Store) -> None:
        registry = store(clock_skew_max_s=None)
        dice = random.Random(5)
        hours = [dice.randrange(-48, 49) for _ in range(24)]
        for hour in hours:
            act(registry, store.clock, (dice.choice(WORKSPACES), dice.choice("abc"), hour, dice.randrange(9)))
        store.clock.now = START + 2 * DAY
        compare_while_views_grow(registry, (17, 13), [hours[0] - 4])
