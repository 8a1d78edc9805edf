"""Ten thousand random histories: the registry does after every command what the oracle says, and the laws hold.

All walks of a run come from the seed in pytest's header; what fails says how to repeat it.
"""

import collections
import hashlib
import itertools
import unicodedata
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, run_state_machine_as_test

from tests import campaign
from versioning import ModelRegistry, Policy, Recorded
from versioning.aggregate import ModelAggregate
from versioning.events import ModelDeleted, VersionDeployed
from versioning.limits import checked_metadata, checked_name
from versioning.numbers import checked_bump
from versioning.projections import ActiveVersions, BillableVersions, PrimaryVersions, UsageLedger
from versioning.testing import (
    ANY,
    FORKED,
    POLICIES,
    UNKNOWN,
    DiscrepancyError,
    Laws,
    Move,
    RegistryMachine,
    Report,
    Walk,
    World,
    bumps,
    histories,
    merged,
    metadata,
    names,
    plan,
    play,
    policies,
    recorded,
    recorded_logs,
    run,
    shrunk,
)
from versioning.testing.walks import IN_TURN, Judge, came_of, planned

CHUNKS = 25
"""So that xdist can spread them."""
WALKS_A_CHUNK = 252
HISTORIES_MIN = 10_000
REACHED_MIN = 6
"""How often the rarest branch of all must be reached in all chunks together."""

BRANCHES = """
    R10 deactivate withdrawal -> recorded
    R10 fail keeps claim -> recorded
    R10 fail without claim -> recorded
    R11 deactivate fall_back claim -> recorded
    R11 deactivate fall_back cleared -> recorded
    R11 deactivate fall_back publication -> recorded
    R11 deactivate fall_back rolled back from -> recorded
    R11 deactivate leave_none cleared -> recorded
    R11 deactivate refuse -> PrimaryProtectedError
    R11 deactivate refuse cleared -> recorded
    R11 delete fall_back claim -> recorded
    R11 delete fall_back cleared -> recorded
    R11 delete fall_back publication -> recorded
    R11 delete fall_back rolled back from -> recorded
    R11 delete leave_none cleared -> recorded
    R11 delete refuse -> PrimaryProtectedError
    R11 delete refuse cleared -> recorded
    R12 promote published -> recorded
    R13 rollback -> recorded
    R13 rollback nothing -> NothingToRollBackToError
    R13 rollback without primary -> recorded
    R14 activate waits -> recorded
    R14 deploy waits -> recorded
    R15 complete stale, active -> nothing
    R15 complete stale, deleted -> nothing
    R15 complete stale, inactive -> nothing
    R15 complete stale, other wait -> nothing
    R15 fail stale, active -> nothing
    R15 fail stale, deleted -> nothing
    R15 fail stale, inactive -> nothing
    R15 fail stale, other wait -> nothing
    R16 deactivate activating -> recorded
    R16 deactivate active -> recorded
    R16 delete activating -> recorded
    R16 delete active -> recorded
    R16 delete inactive -> recorded
    R17 activate deleted -> VersionDeletedError
    R17 deactivate deleted -> VersionDeletedError
    R17 delete deleted -> VersionDeletedError
    R17 last one, R11 delete fall_back cleared -> recorded
    R17 last one, R11 delete leave_none cleared -> recorded
    R17 last one, R11 delete refuse cleared -> recorded
    R17 last one, R16 delete activating -> recorded
    R17 last one, R16 delete active -> recorded
    R17 last one, R16 delete inactive -> recorded
    R17 promote deleted -> VersionDeletedError
    R17 publish deleted -> VersionDeletedError
    R2 deploy unknown bump -> InvalidBumpError
    R20 activate activating -> nothing
    R20 activate activating, with a key -> recorded
    R20 activate active -> nothing
    R20 activate active, with a key -> recorded
    R20 deactivate inactive -> nothing
    R20 deactivate inactive, with a key -> recorded
    R20 promote primary -> nothing
    R20 promote primary, with a key -> recorded
    R20 promote renewal -> recorded
    R20 publish published -> nothing
    R20 publish published, with a key -> recorded
    R21 activate repeated -> nothing
    R21 activate with another's key -> IdempotencyConflictError
    R21 clear_primary repeated -> nothing
    R21 clear_primary with another's key -> IdempotencyConflictError
    R21 complete_activation repeated -> nothing
    R21 complete_activation with another's key -> IdempotencyConflictError
    R21 deactivate repeated -> nothing
    R21 deactivate with another's key -> IdempotencyConflictError
    R21 delete repeated -> nothing
    R21 delete with another's key -> IdempotencyConflictError
    R21 delete_model repeated -> nothing
    R21 delete_model with another's key -> IdempotencyConflictError
    R21 deploy repeated -> nothing
    R21 deploy with another's key -> IdempotencyConflictError
    R21 fail_activation repeated -> nothing
    R21 fail_activation with another's key -> IdempotencyConflictError
    R21 promote repeated -> nothing
    R21 promote with another's key -> IdempotencyConflictError
    R21 publish repeated -> nothing
    R21 publish with another's key -> IdempotencyConflictError
    R21 rollback repeated -> nothing
    R21 rollback with another's key -> IdempotencyConflictError
    R22 clear_primary -> PrimaryMovedError
    R22 deactivate -> PrimaryMovedError
    R22 delete -> PrimaryMovedError
    R22 promote -> PrimaryMovedError
    R22 rollback -> PrimaryMovedError
    R23 activate -> ClockError
    R23 clear_primary -> ClockError
    R23 complete_activation -> ClockError
    R23 deactivate -> ClockError
    R23 delete -> ClockError
    R23 delete_model -> ClockError
    R23 deploy -> ClockError
    R23 fail_activation -> ClockError
    R23 promote -> ClockError
    R23 publish -> ClockError
    R23 rollback -> ClockError
    R29 clear_primary -> recorded
    R29 clear_primary again -> nothing
    R29 clear_primary again, with a key -> recorded
    R29 clear_primary without primary -> recorded
    R5 activate unknown -> VersionNotFoundError
    R5 complete unknown -> VersionNotFoundError
    R5 deactivate unknown -> VersionNotFoundError
    R5 delete unknown -> VersionNotFoundError
    R5 fail unknown -> VersionNotFoundError
    R5 promote unknown -> VersionNotFoundError
    R5 publish unknown -> VersionNotFoundError
    R7 deploy promote a draft -> InvalidArgumentError
    R8 promote draft -> recorded
    R8 promote not active -> VersionNotActiveError
    R9 activate cleared on request, no claim -> recorded
    R9 activate cleared role, no claim -> recorded
    R9 activate draft -> recorded
    R9 activate no newer claim -> recorded
    R9 activate no primary, default -> recorded
    R9 complete cleared on request, no claim -> recorded
    R9 complete cleared role, no claim -> recorded
    R9 complete draft -> recorded
    R9 complete newer claim -> recorded
    R9 complete no newer claim -> recorded
    R9 complete no primary, default -> recorded
    R9 complete no primary, published -> recorded
    R9 deploy cleared on request, no claim -> recorded
    R9 deploy cleared role, no claim -> recorded
    R9 deploy draft -> recorded
    R9 deploy newer claim -> recorded
    R9 deploy no newer claim -> recorded
    R9 deploy no primary, default -> recorded
    R9 deploy no primary, published -> recorded
    R9 publish activating -> recorded
    R9 publish cleared on request, no claim -> recorded
    R9 publish cleared role, no claim -> recorded
    R9 publish newer claim -> recorded
    R9 publish no newer claim -> recorded
    R9 publish no primary, default -> recorded
    R9 publish no primary, published -> recorded
    S2 clear_primary no model -> ModelNotFoundError
    S2 delete_model no model -> ModelNotFoundError
    S2 delete_model with primary -> recorded
    S2 delete_model without primary -> recorded
    S2 publish inactive -> VersionNotActiveError
    S2 rollback no model -> ModelNotFoundError
"""
"""Every branch of every rule, as the oracle names them, and what comes of it."""


@pytest.fixture(scope="session")
def seed(pytestconfig: pytest.Config) -> int:
    """Of this run's walks; the same for all workers."""
    text = f"{pytestconfig.getoption('hypothesis_seed')}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


@pytest.mark.slow
@pytest.mark.untraced
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_the_registry_does_what_the_oracle_says_in_ten_thousand_histories(chunk: int, seed: int) -> None:
    assert run(WALKS_A_CHUNK, seed, first=chunk * WALKS_A_CHUNK).walks == WALKS_A_CHUNK


@pytest.mark.slow
@pytest.mark.untraced
def test_the_walks_reach_every_branch_of_every_rule(seed: int) -> None:
    histories, reached = 0, collections.Counter[str]()
    for number in range(CHUNKS * WALKS_A_CHUNK):
        walk, outcomes = planned(seed, number)
        reached.update(" -> ".join(came_of(outcome)) for outcome in outcomes)
        pairs = zip(walk.moves, outcomes, strict=True)
        histories += len({move.place for move, outcome in pairs if outcome.facts})
    assert set(reached) == {line.strip() for line in BRANCHES.strip().splitlines()}
    assert {branch: count for branch, count in reached.items() if count < REACHED_MIN} == {}
    assert histories >= HISTORIES_MIN


def test_walks_go_through_every_policy(seed: int) -> None:
    assert {plan(seed, number).policy for number in range(len(IN_TURN))} == set(POLICIES)
    assert len(POLICIES) == 12


def test_walks_can_be_gone_on_a_store_that_is_kept(seed: int, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/models.db?durability=checkpoint"
    assert run(16, seed, url=url).walks == 16
    with ModelRegistry(url) as registry:
        assert list(registry.history()) == []  # each walk has workspaces of its own
        assert registry.at(registry.position()).models() == ()
        assert registry.position() > 0


def test_the_same_seed_gives_the_same_walk(seed: int) -> None:
    assert plan(seed, 5) == plan(seed, 5)
    assert plan(seed, 5) != plan(seed + 1, 5)
    again = [run(8, seed, first=3) for _ in range(2)]
    assert attrs.evolve(again[0], seconds=0) == attrs.evolve(again[1], seconds=0)


def test_the_parts_of_a_campaign_add_up(seed: int) -> None:
    parts = run(5, seed) + run(5, seed, first=5)
    assert attrs.evolve(parts, seconds=0) == attrs.evolve(run(10, seed), seconds=0)
    assert f"seed {seed}: 10 walks, {parts.histories} histories, {parts.commands} commands" in str(parts)
    assert "0 histories/s" in str(Report(seed))


class TestMoves:
    def test_a_move_can_be_pasted_into_a_test(self, seed: int) -> None:
        known = {"Move": Move, "ANY": ANY}
        moves = [move for number in range(20) for move in plan(seed, number).moves]
        assert [eval(repr(move), known) for move in moves] == moves  # noqa: S307 - our own repr

    @pytest.mark.parametrize(
        ("move", "words"),
        [
            (Move("deploy"), "deploy a, MINOR"),
            (Move("deploy", 27, "MAJOR", publish=True, promote=False), "deploy b1, MAJOR, publish, promote=False"),
            (Move("publish", 2, key="k"), "publish c, key k"),
            (Move("promote", UNKNOWN, expected=None), "promote an unknown version, expecting none to be primary"),
            (Move("rollback", expected=1, process=1), "rollback, expecting b to be primary, process 1"),
            (Move("fail_activation", FORKED, attempt=2), "fail_activation a version of a fork, wait 2"),
            (Move("delete_model"), "delete_model"),
            (Move("clear_primary", expected=0), "clear_primary, expecting a to be primary"),
        ],
    )
    def test_a_move_in_words(self, move: Move, words: str) -> None:
        assert str(move) == words

    def test_a_move_on_what_was_never_deployed_is_passed_over(self) -> None:
        played = play(Walk(Policy(), (Move("promote", 3), Move("deploy", 1), Move("promote", 1))))
        assert played.commands == 2

    def test_a_repetition_of_a_malformed_command_stays_malformed(self) -> None:
        judge = Judge(Policy())
        judge.judge(Move("deploy", key="k"), 0)
        assert judge.judge(Move("deploy", bump="BIG", key="k"), 1).refused == "InvalidBumpError"
        assert judge.judge(Move("deploy", promote=True, key="k"), 1).refused == "InvalidArgumentError"


class TestShrinking:
    def test_the_shortest_part_that_fails_is_found(self) -> None:
        moves = tuple(Move("deploy", index, key=f"k{index}", passes_us=5) for index in range(20))
        short = shrunk(Walk(Policy(), moves), lambda walk: {3, 11} <= {move.version for move in walk.moves})
        assert short.moves == (Move("deploy", 3), Move("deploy", 11))

    def test_it_ends_after_so_many_replays(self) -> None:
        replays = []

        def fails(walk: Walk) -> bool:
            replays.append(walk)
            return len(walk.moves) > 9

        moves = tuple(Move("deploy", index) for index in range(20))
        assert len(shrunk(Walk(Policy(), moves), fails, replays_max=3).moves) > 9
        assert len(replays) == 3


class TestLaws:
    """Each law, on a log that breaks it."""

    DEPLOYED = Move("deploy", publish=True)

    def log(self, *moves: Move, policy: Policy | None = None) -> list[Recorded]:
        world = World(policy or Policy())
        for move in moves:
            world.play(move)
        world.close()
        return world.places[0].log

    def taken(self, log: list[Recorded], policy: Policy | None = None) -> Laws:
        laws = Laws(policy)
        for seen in log:
            laws.take(seen)
        return laws

    def broken(self, log: list[Recorded], law: str, policy: Policy | None = None) -> None:
        with pytest.raises(DiscrepancyError, match=law):
            self.taken(log, policy)

    def changed(self, log: list[Recorded], place: int, **changes: Any) -> list[Recorded]:  # noqa: ANN401 - any field
        seen = log[place]
        ours = {name: changes.pop(name) for name in list(changes) if name in attrs.fields_dict(Recorded)}
        return [*log[:place], attrs.evolve(seen, event=attrs.evolve(seen.event, **changes), **ours), *log[place + 1 :]]

    def test_they_hold_of_what_a_registry_records(self) -> None:
        log = self.log(self.DEPLOYED, Move("deploy", 1, publish=True), Move("rollback"), Move("delete_model"))
        laws = self.taken(log)
        assert laws.model is None
        assert [model and len(model.versions) for model in laws.models] == [1, 1, 2, 2, 2, 1, 0, 0, None]

    def test_nothing_is_so_before_the_first_event(self) -> None:
        assert Laws().model is None

    def test_sequences_have_no_gaps(self) -> None:
        self.broken(self.log(self.DEPLOYED)[1:], "sequence")

    def test_appends_are_whole(self) -> None:
        log = self.log(self.DEPLOYED)
        self.broken(self.changed(log, 1, index=0), "place in its append")
        self.broken(self.changed(log, 1, command_id="another"), "one command_id an append")

    def test_command_ids_are_unique(self) -> None:
        log = self.log(Move("deploy"), Move("deploy", 1))
        self.broken(self.changed(log, 1, command_id=log[0].command_id), "command_ids are unique")

    def test_positions_rise(self) -> None:
        self.broken(self.changed(self.log(self.DEPLOYED), 1, position=1), "positions rise")

    def test_time_never_goes_back(self) -> None:
        self.broken(self.changed(self.log(self.DEPLOYED), 1, at_us=1), "R23")

    def test_ids_are_unique(self) -> None:
        log = self.log(Move("deploy"), Move("deploy", 1))
        self.broken(self.changed(log, 1, version_id=log[0].version_id), "invariant 2: ids")

    def test_numbers_rise(self) -> None:
        log = self.log(Move("deploy"), Move("deploy", 1))
        self.broken(self.changed(log, 1, number="0.1.0"), "invariant 2: numbers")

    def test_deleted_is_final(self) -> None:
        log = self.log(Move("deploy"), Move("deploy", 1), Move("delete", 0), Move("promote", 1))
        self.broken(self.changed(log, 3, version_id=log[0].version_id), "invariant 3: deleted")

    def test_lives_are_counted(self) -> None:
        self.broken(self.changed(self.log(Move("deploy")), 0, generation=2), "which life")

    def test_waits_are_fresh(self) -> None:
        policy = Policy(activation="awaited")
        log = self.log(Move("deploy"), Move("fail_activation"), Move("activate"), policy=policy)
        first = log[0].event
        assert isinstance(first, VersionDeployed)
        self.broken(self.changed(log, 2, activation_id=first.activation_id), "R15")

    def test_previous_is_what_was_primary(self) -> None:
        log = self.log(self.DEPLOYED)
        self.broken(self.changed(log, 1, previous=log[0].version_id), "invariant 7")

    def test_the_primary_is_active_and_published(self) -> None:
        log = self.log(Move("deploy"), Move("promote"))
        self.broken([log[0], attrs.evolve(log[2], sequence=2, index=0, count=1)], "invariant 1: the primary is")

    def test_a_model_is_deleted_with_its_last_version(self) -> None:
        log = self.log(Move("deploy"), Move("delete"))
        self.broken([log[0], attrs.evolve(log[1], count=1)], "invariant 3: a model")
        log = self.log(Move("deploy"), Move("deactivate"), Move("activate"))
        deleted = attrs.evolve(log[2], event=ModelDeleted(at_us=log[2].event.at_us))
        self.broken([*log[:2], deleted], "invariant 3: a model")

    def test_under_fall_back_somebody_answers(self) -> None:
        log = self.log(Move("deploy", publish=True, promote=False))
        lonely = [attrs.evolve(log[0], count=1)]
        self.broken(lonely, "invariant 1: there is a primary", Policy())
        self.taken(lonely)
        self.taken(lonely, Policy(losing_primary="leave_none"))


class Answering(RegistryMachine):
    """The example of the machine's docstring."""

    policy = Policy(losing_primary="refuse")
    clear_primary = None  # type: ignore[assignment]  # a command that this service never gives

    @invariant()
    def somebody_answers(self) -> None:
        if self.model and any(version.is_serving for version in self.model.versions):
            assert self.model.primary is not None


class Leaving(Answering):
    policy = Policy(losing_primary="leave_none")


class Kept(RegistryMachine):
    """Sees what a user's machine can see."""

    @invariant()
    def the_registry_shows_what_was_recorded(self) -> None:
        assert list(self.registry.history()) == self.log
        assert self.oracle.exists == (self.model is not None)
        if self.model is not None:
            assert self.registry.model(self.model_name) == self.model


STEPS = settings(stateful_step_count=30)

TestRegistryMachine = RegistryMachine.TestCase
TestRegistryMachine.settings = STEPS
TestAnswering = Answering.TestCase
TestAnswering.settings = settings(STEPS, max_examples=20)
TestKept = Kept.TestCase
TestKept.settings = settings(STEPS, max_examples=20)


def test_a_machine_of_your_own_finds_a_story_that_breaks_your_rule() -> None:
    quickly = settings(STEPS, max_examples=500, database=None, phases=[Phase.generate], print_blob=False)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Leaving, settings=quickly)


def test_a_machine_closes_its_store_where_a_command_went_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[World] = []
    monkeypatch.setattr(World, "play", lambda *_: 1 / 0)
    monkeypatch.setattr(World, "finish", lambda *_: pytest.fail("what went wrong must not be hidden"))
    monkeypatch.setattr(World, "close", lambda world: closed.extend([world]))
    machine = RegistryMachine()
    machine.teardown()
    machine.open(Policy())
    with pytest.raises(ZeroDivisionError):
        machine.delete_model(None, 0)
    machine.teardown()
    assert closed == [machine.world]


class TestStrategies:
    @given(names())
    def test_names_are_accepted_and_in_nfc(self, name: str) -> None:
        assert checked_name(name) == name == unicodedata.normalize("NFC", name)

    @given(metadata())
    def test_metadata_is_accepted(self, value: dict[str, Any]) -> None:
        assert checked_metadata(value)

    @given(bumps())
    def test_bumps_are_accepted(self, bump: str) -> None:
        assert checked_bump(bump) == bump.upper()

    @given(policies())
    def test_policies_are_all_that_there_are(self, policy: Policy) -> None:
        assert policy in POLICIES

    @given(histories())
    def test_a_history_is_of_whole_appends_that_hold_the_laws(self, history: list[tuple[Any, ...]]) -> None:
        laws = Laws()
        for seen in recorded(*history):
            laws.take(seen)
        assert isinstance(history[0][0], VersionDeployed)

    @given(recorded_logs(Policy(), model_names=("one", "another"), commands_max=8))
    def test_a_log_is_what_projections_fold(self, log: list[Recorded]) -> None:
        laws = {"one": Laws(Policy()), "another": Laws(Policy())}
        for seen in log:
            laws[seen.model_name].take(seen)
        for projection in (PrimaryVersions, ActiveVersions, BillableVersions):
            whole = projection().fold(log).current
            parts = [projection().fold(law.log).current for law in laws.values()]
            assert whole == {name: current for part in parts for name, current in part.items()}
        assert [seen.position for seen in log] == list(range(1, len(log) + 1))
        assert merged(*(law.log for law in laws.values())) == log

    @given(recorded_logs(), st.data())
    def test_any_partition_of_a_period_adds_up(self, log: list[Recorded], data: st.DataObject) -> None:
        ledger = UsageLedger().fold(log)
        start_us, end_us = log[0].event.at_us, log[-1].event.at_us + 1
        cuts = sorted(data.draw(st.lists(st.integers(start_us, end_us), max_size=4)))
        bounds = [start_us, *cuts, end_us]
        parts = [ledger.usage(*pair, end_us).total_microseconds for pair in itertools.pairwise(bounds)]
        assert sum(parts) == ledger.usage(start_us, end_us, end_us).total_microseconds


class TestCampaign:
    def test_without_a_name_it_lists_what_there_is(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert campaign.main([]) == 0
        assert "walks" in capsys.readouterr().out

    def test_it_prints_its_seed_and_figures(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert campaign.main(["walks", "--walks", "6", "--seed", "3", "--processes", "1"]) == 0
        shown = capsys.readouterr().out
        assert "seed 3: 6 walks" in shown
        assert "rarest" in shown

    def test_it_runs_in_several_processes(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert campaign.main(["walks", "--walks", "9", "--seed", "3", "--processes", "2", "--chunk", "4"]) == 0
        assert "seed 3: 9 walks" in capsys.readouterr().out

    def test_it_fails_where_a_walk_does(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ModelAggregate, "claim_of", lambda *_: 0)
        monkeypatch.setattr(ModelRegistry, "deploy", lambda *_args, **_named: None)
        assert campaign.main(["walks", "--walks", "6", "--seed", "3", "--processes", "1"]) == 1
        shown = capsys.readouterr().out
        assert "seed 3" in shown
        assert "python3 tests campaign walks --seed 3 --first" in shown
