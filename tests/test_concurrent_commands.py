"""What do commands that run into each other do (R22)? Within one process; between processes: `test_concurrency.py`."""

# ruff: noqa: ANN401 - what stands in for a method takes whatever that takes

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from tests import registry_tools, stores
from tests.registry_tools import (
    AN_ID,
    KEYED,
    NAME,
    active_and_primary,
    deploy,
    noted,
    nothing_recorded,
    numbers,
    refused,
    serving,
    state_of,
)
from tests.stores import Store, check_positions, in_threads
from versioning import (
    ConcurrencyError,
    InvalidArgumentError,
    ModelNotFoundError,
    ModelRegistry,
    Policy,
    PrimaryMovedError,
    PrimaryProtectedError,
    RefusedError,
    StoreError,
    Version,
    VersionDeletedError,
)
from versioning.aggregate import ModelAggregate
from versioning.commanding import deciding
from versioning.commanding.deciding import Deciding
from versioning.events import VersionDeployed
from versioning.store.contract import AppendConflict

if TYPE_CHECKING:
    from collections.abc import Callable

    from versioning.commanding.deciding import Outcome
    from versioning.commanding.requests import Request
    from versioning.events import Event

store = stores.store
shared_store = stores.shared_store
registry = registry_tools.registry
awaited = registry_tools.awaited


class LostReply:
    """An append that commits, and whose reply is then lost; or that is lost before."""

    def __init__(self, registry: ModelRegistry, error: Exception, *, commits: bool = True, times: int = 1) -> None:
        self._append = registry._store.append
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
        monkeypatch.setattr(first._store, "append", noted(appends, first._store.append))
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
        version_id, primary = active_and_primary(first)
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
        version_id, primary = active_and_primary(first)
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
        monkeypatch.setattr(awaited._store, "append", lost)
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
        monkeypatch.setattr(registry._store, "append", LostReply(registry, error))
        assert deploy(registry, publish=True).number == "0.2.0"
        assert deploy(registry).number == "0.3.0"

    def test_a_lost_reply_is_recognised_though_others_went_on(
        self, shared_store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = shared_store(), shared_store()
        deploy(first)
        append = first._store.append

        def lose(rows: Any) -> None:
            append(rows)
            monkeypatch.setattr(first._store, "append", append)
            deploy(second)
            first.model(NAME)  # another thread of this process that has read the tail already
            deploy(second)
            msg = "no"
            raise AppendConflict(msg)

        monkeypatch.setattr(first._store, "append", lose)
        assert deploy(first, publish=True).number == "0.2.0"
        assert numbers(first.versions(NAME)) == ["0.1.0", "0.2.0", "0.3.0", "0.4.0"]
        assert deploy(first).number == "0.5.0"

    def test_what_another_thread_read_before_the_reply_came_is_not_taken_in_twice(
        self, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deploy(registry)
        append = registry._store.append

        def slow(rows: Any) -> Any:
            positions = append(rows)
            registry.model(NAME)
            return positions

        monkeypatch.setattr(registry._store, "append", slow)
        assert deploy(registry, publish=True).is_primary
        assert deploy(registry).number == "0.3.0"
        assert state_of(registry) == state_of(registry.at(4))

    def test_what_the_store_refused_is_a_store_error_and_not_recorded(
        self, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deploy(registry)
        monkeypatch.setattr(registry._store, "append", LostReply(registry, StoreError("Full."), commits=False))
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
            gone.setattr(registry._store, "append", fail)
            gone.setattr(registry._store, "tail", fail)
            with pytest.raises(StoreError, match="Whether it was recorded is not known"):
                deploy(registry)
        assert deploy(registry).number == "0.2.0"

    def test_after_bounded_retries_there_is_a_clear_error(
        self, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deploy(registry)
        monkeypatch.setattr("versioning.commanding.deciding.PAUSE_S_MAX", 0.001)
        lost = LostReply(registry, AppendConflict("no"), commits=False, times=1_000)
        with monkeypatch.context() as busy:
            busy.setattr(registry._store, "append", lost)
            with refused(registry, ConcurrencyError, "R22"):
                deploy(registry)
            assert lost.times == 1_000 - deciding.TRIES_MAX
            (live,) = registry._streams._cached.values()
            with live.turn, refused(registry, ConcurrencyError, "R22"):
                deploy(registry)
        assert deploy(registry).number == "0.2.0"

    def test_a_command_does_not_wait_for_ever_for_its_turn(
        self, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("versioning.commanding.deciding.PAUSE_S_MAX", 0.0001)
        deploy(registry)
        (live,) = registry._streams._cached.values()
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
        check_positions(store.kind, list(registry.history()), registry._store.head())
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
            assert state_of(registry, name) == state_of(registry.at(registry._store.head()), name)
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
        version_id, primary = active_and_primary(registry)
        assert command(registry, version_id, expected_primary=primary).version_id == version_id
        assert len(list(registry.history())) > 4

    @COMMANDS
    @pytest.mark.parametrize("expected", [None, AN_ID, "itself"], ids=["none", "another", "itself"])
    def test_it_is_refused_when_it_is_not(
        self, registry: ModelRegistry, command: Callable[..., Version], expected: str | None
    ) -> None:
        version_id, primary = active_and_primary(registry)
        expected = version_id if expected == "itself" else expected
        with refused(registry, PrimaryMovedError, "R22"):
            command(registry, version_id, expected_primary=expected)
        with pytest.raises(PrimaryMovedError) as caught:
            command(registry, version_id, expected_primary=expected)
        assert (caught.value.expected, caught.value.actual) == (expected, primary)

    @COMMANDS
    def test_none_expects_that_there_is_none(self, store: Store, command: Callable[..., Version]) -> None:
        registry = store(policy=Policy(losing_primary="leave_none"))
        version_id, primary = active_and_primary(registry)
        registry.deactivate(primary)
        with refused(registry, PrimaryMovedError):
            command(registry, version_id, expected_primary=primary)
        assert command(registry, version_id, expected_primary=None).version_id == version_id

    @COMMANDS
    def test_it_is_looked_at_before_what_is_already_so(
        self, registry: ModelRegistry, command: Callable[..., Version]
    ) -> None:
        stopped, primary = active_and_primary(registry)
        registry.deactivate(stopped)
        with refused(registry, PrimaryMovedError):
            command(registry, stopped, expected_primary=None)
        with refused(registry, PrimaryMovedError):
            command(registry, primary, expected_primary=stopped)

    def test_it_keeps_two_people_from_going_back_twice(self, shared_store: Store) -> None:
        first, second = shared_store(), shared_store()
        serving(first)
        middle, newest = active_and_primary(first)
        assert first.rollback(NAME, expected_primary=newest).version_id == middle
        with refused(second, PrimaryMovedError):
            second.rollback(NAME, expected_primary=newest)

    @pytest.mark.parametrize("expected", ["", "0.1.0", 1, True, b"x"])
    def test_it_is_the_id_of_a_version(self, registry: ModelRegistry, expected: Any) -> None:
        with refused(registry, InvalidArgumentError, "R5"):
            registry.rollback(NAME, expected_primary=expected)


class TestInterrupts:
    """Ctrl-C between a commit and what memory learns of it."""

    def test_the_next_command_follows_what_was_recorded(
        self, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deploy(registry)
        end_folding = ModelAggregate.end_folding

        def interrupted(_: ModelAggregate) -> None:
            monkeypatch.setattr(ModelAggregate, "end_folding", end_folding)
            raise KeyboardInterrupt

        monkeypatch.setattr(ModelAggregate, "end_folding", interrupted)
        with pytest.raises(KeyboardInterrupt):
            deploy(registry)
        assert [version.number for version in registry.versions(NAME)] == ["0.1.0", "0.2.0"]
        assert deploy(registry).number == "0.3.0"
        assert registry.verify().ok

    def test_what_was_read_halfway_is_read_again(self, shared_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        registry, other = shared_store(), shared_store()
        version = deploy(registry)
        other.deactivate(version)
        evolve = ModelAggregate.evolve

        def interrupted(state: ModelAggregate, event: Event, actor: str | None = None) -> NoReturn:
            evolve(state, event, actor)
            state.sequence -= 1  # as if it came before the number was counted
            monkeypatch.setattr(ModelAggregate, "evolve", evolve)
            raise KeyboardInterrupt

        monkeypatch.setattr(ModelAggregate, "evolve", interrupted)
        with pytest.raises(KeyboardInterrupt):
            registry.version(version.version_id)
        assert registry.activate(version).status == "active"
        assert registry.verify().ok


def test_what_a_command_returns_is_as_the_command_left_it(shared_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    registry, other = shared_store(), shared_store()
    run = Deciding.run

    def overtaken(self: Deciding, request: Request) -> Outcome:
        monkeypatch.setattr(Deciding, "run", run)
        outcome = run(self, request)
        other.deactivate(f"{NAME}@0.1.0")
        assert registry.model(NAME).active == ()
        return outcome

    monkeypatch.setattr(Deciding, "run", overtaken)
    version = deploy(registry, publish=True)
    assert (version.status, version.is_primary) == ("active", True)


@pytest.mark.parametrize("expected", ["ghost@1.0.0", "ghost@0.1.0"])
def test_an_expected_address_without_a_living_model_is_not_found(registry: ModelRegistry, expected: str) -> None:
    with refused(registry, ModelNotFoundError):
        registry.rollback("ghost", expected_primary=expected)
    version = deploy(registry, "ghost")
    registry.delete_model("ghost")
    with refused(registry, ModelNotFoundError):
        registry.delete(version.version_id, expected_primary=expected)
