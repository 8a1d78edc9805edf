"""Is `deploy_many` the same as `deploy` one after the other, in fewer transactions?"""

# ruff: noqa: ANN401 - what stands in for a method takes whatever that takes

from __future__ import annotations

import inspect
import itertools
import re
import time
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import versioning
from tests import registry_tools, stores
from tests.faults.arena import STORES, Arena, check_log, dice_of
from tests.registry_tools import AWAITED, NAME, URI, deploy, noted, nothing_recorded, refused, state_of
from tests.stores import Store, check_positions, facts, in_threads
from versioning import (
    ConcurrencyError,
    CorruptLogError,
    Deployment,
    IdempotencyConflictError,
    InvalidArgumentError,
    InvalidBumpError,
    InvalidNameError,
    ModelRegistry,
    Policy,
    StoreError,
    Version,
)
from versioning.commanding.deciding import BATCH_REQUESTS, TRIES_MAX
from versioning.store.contract import AppendConflict
from versioning.store.format import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.faults.arena import Talk
    from versioning.store.contract import Row

store = stores.store
shared_store = stores.shared_store
registry = registry_tools.registry


def of(name: str = NAME, **how: Any) -> Deployment:
    """Give what `deploy_many` takes for one version."""
    deployment: Deployment = {"model_or_reference": URI, "model_name": name}
    deployment.update(how)  # type: ignore[typeddict-item]
    return deployment


def many(count: int, name: str = "model {}", **how: Any) -> list[Deployment]:
    """Give deployments with a key each."""
    return [of(name.format(place), idempotency_key=f"k{place}", **how) for place in range(count)]


def small_batches(monkeypatch: pytest.MonkeyPatch, size: int = 3) -> None:
    monkeypatch.setattr("versioning.commanding.deciding.BATCH_REQUESTS", size)


# The same as one by one.

NAMES = ("a", "b", "c")
TEXTS = st.sampled_from([None, "u-17", "ticket é"])


@st.composite
def deployments(draw: st.DrawFn) -> Deployment:
    """Give the arguments of a deployment; what has the same key is the same but for who and why."""
    key, publish = draw(st.sampled_from([None, None, None, "k1", "k2", "k3"])), draw(st.booleans())
    made = of(draw(st.sampled_from(NAMES)))
    if key is None:
        made["version_bump"] = draw(st.sampled_from(["MAJOR", "minor", "Patch"]))
        made["publish"] = publish
        made["promote"] = draw(st.sampled_from([None, True, False] if publish else [None, False]))
        made["metadata"] = draw(st.sampled_from([None, {}, {"b": [1, None], "a": "é"}]))
    else:
        made["idempotency_key"], made["publish"] = key, key != "k1"
    for name in draw(st.sets(st.sampled_from(["actor", "reason", "correlation_id"]))):
        made[name] = draw(TEXTS)  # type: ignore[literal-required]
    return made


def plain(value: Any, prefix: str) -> str:
    """Show an answer without what differs from call to call: the drawn parts of ids, the streams, where it stands."""
    text = re.sub(r"[0-9a-f]{32}(_[0-9]+)_[0-9a-f]{8}", r"\1", repr(value))
    text = re.sub(r"(mdl_)[0-9a-f]{32}", r"\1", text)
    return text.replace(f"{prefix} ", "")


def told(registry: ModelRegistry, prefix: str, after: int) -> list[str]:
    """Tell the log behind a position, without what differs from call to call."""
    commands: dict[str, int] = {}
    log = []
    for one in registry.history(after=after):
        command = str(commands.setdefault(one.command_id, len(commands)))
        same = attrs.evolve(one, position=0, stream="", chain="", command_id=command)
        log.append(plain(same, prefix))
    return log


POLICIES = [Policy(), AWAITED, Policy(losing_primary="leave_none", publishing_claims=False)]


class TestEquivalence:
    """The same events, results and refusals as of calls one after the other."""

    @pytest.mark.untraced
    @pytest.mark.parametrize("policy", POLICIES, ids=["default", "awaited", "leave none"])
    def test_it_records_and_gives_the_same(self, store: Store, monkeypatch: pytest.MonkeyPatch, policy: Policy) -> None:
        registry = store(policy=policy)
        other = store(policy=policy) if store.kind.shared else registry
        numbers = itertools.count()

        @given(
            st.lists(deployments(), max_size=4),
            st.lists(deployments(), max_size=9),
            st.sampled_from([1, 2, 4, 500]),
            TEXTS,
        )
        def holds(before: list[Deployment], asked: list[Deployment], size: int, actor: str | None) -> None:
            small_batches(monkeypatch, size)
            logs, answers, made = [], [], []
            for way in ("one by one", "many"):
                prefix = f"{way} {next(numbers)}"

                def named(deployments: list[Deployment], prefix: str = prefix) -> list[dict[str, Any]]:
                    return [{**one, "model_name": f"{prefix} {one['model_name']}"} for one in deployments]

                for one in named(before):
                    other.deploy(**one)  # so that what the registry knows of them is old
                head = registry.position()
                made.append([
                    plain(version, prefix)
                    for version in (
                        registry.deploy_many(named(asked), actor=actor, reason="r", correlation_id="c")  # type: ignore[arg-type]
                        if way == "many"
                        else [
                            registry.deploy(**{"actor": actor, "reason": "r", "correlation_id": "c", **one})
                            for one in named(asked)
                        ]
                    )
                ])  # fmt: skip
                logs.append(told(registry, prefix, head))
                names = sorted({one["model_name"] for one in named([*before, *asked])})
                answers.append([plain(registry.model(name), prefix) for name in names])
                past = registry.at(registry.position())
                assert [past.model(name) for name in names] == [registry.model(name) for name in names]
            assert logs[0] == logs[1]
            assert made[0] == made[1]
            assert answers[0] == answers[1]

        holds()
        assert registry.verify().ok

    def test_a_repeat_is_answered_as_before_the_next_of_its_batch(
        self, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        small_batches(monkeypatch, 2)
        first: Deployment = {"model_or_reference": URI, "model_name": "a", "idempotency_key": "k", "publish": True}
        draft: Deployment = {"model_or_reference": URI, "model_name": "a"}
        versions = registry.deploy_many([first, draft, first, {**draft, "publish": True}])
        assert [version.is_primary for version in versions] == [True, False, True, True]
        assert versions[2].repeated

    def test_a_repeat_at_the_end_of_a_batch_changes_nothing_in_memory(
        self, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        small_batches(monkeypatch, 2)
        first: Deployment = {"model_or_reference": URI, "model_name": "a", "idempotency_key": "k"}
        draft: Deployment = {"model_or_reference": URI, "model_name": "a"}
        registry.deploy_many([first, draft, {**draft, "publish": True}, first])
        assert registry.model("a") == registry.at(registry.position()).model("a")
        assert registry.deploy(URI, model_name="a").number == "0.4.0"

    def test_several_of_one_name_get_one_number_after_the_other(self, registry: ModelRegistry) -> None:
        first, second, third = registry.deploy_many([
            of(publish=True), of(version_bump="MAJOR", publish=True), of(version_bump="PATCH")
        ])  # fmt: skip
        assert [first.number, second.number, third.number] == ["0.1.0", "1.0.0", "1.0.1"]
        assert (first.is_primary, second.is_primary, third.is_primary) == (True, True, False)  # each as it then was
        assert registry.primary(NAME) == second
        assert registry.version(third.version_id) == third
        assert facts(registry.history()) == [
            "VersionDeployed", "VersionPromoted", "VersionDeployed", "VersionPromoted", "VersionDeployed"
        ]  # fmt: skip

    def test_the_type_of_an_item_has_the_arguments_of_deploy(self) -> None:
        hints = Deployment.__annotations__
        assert hints.keys() == inspect.signature(ModelRegistry.deploy).parameters.keys() - {"self"}
        assert Deployment.__required_keys__ == {"model_or_reference", "model_name"}

    def test_nothing_is_nothing(self, registry: ModelRegistry) -> None:
        with nothing_recorded(registry):
            assert registry.deploy_many([]) == registry.deploy_many(iter(())) == ()

    def test_who_and_why_are_those_of_the_call_where_a_deployment_has_none_of_its_own(
        self, registry: ModelRegistry
    ) -> None:
        registry.deploy_many(
            [of("a"), of("b", actor="b", correlation_id=None), of("c", reason="of c")],
            actor="all", reason="of all", correlation_id="one",
        )  # fmt: skip
        assert [(one.actor, one.reason, one.correlation_id) for one in registry.history()] == [
            ("all", "of all", "one"), ("b", "of all", None), ("all", "of c", "one"),
        ]  # fmt: skip

    def test_contents_are_stored_as_deploy_stores_them(self, store: Store, tmp_path: Any) -> None:
        registry = store(artifacts=tmp_path / "contents")
        (tmp_path / "model").write_bytes(b"of a file")
        asked: list[Deployment] = [
            of("a", model_or_reference=b"weights"),
            of("b", model_or_reference=tmp_path / "model"),
            of("c", model_or_reference={"an": "object"}, serializer="pickle"),
        ]
        registry.deploy_many([{**one, "publish": True} for one in asked])
        assert [registry.load(name, trusted=True) for name in "abc"] == [b"weights", b"of a file", {"an": "object"}]
        assert len(registry.collect_artifacts().erased) == 0

    def test_a_repetition_in_another_registry_finds_each_by_its_key(self, shared_store: Store) -> None:
        first, second = shared_store(), shared_store()
        made = first.deploy_many(many(5, publish=True))
        with nothing_recorded(first):
            assert second.deploy_many(many(5, publish=True)) == made
            assert first.deploy_many(many(5, publish=True)) == made
        assert first.deploy("s3://bucket/model", model_name="model 3", publish=True, idempotency_key="k3") == made[3]
        assert [one.number for one in second.deploy_many(many(7, publish=True))] == ["0.1.0"] * 7

    def test_a_key_that_comes_twice_in_one_call_makes_one_version(self, registry: ModelRegistry) -> None:
        first, _, again = registry.deploy_many([
            of(idempotency_key="k", publish=True), of(publish=True), of(idempotency_key="k", publish=True)
        ])  # fmt: skip
        assert (first.is_primary, again.is_primary) == (True, False)
        assert again == registry.version(first.version_id)
        assert len(registry.versions(NAME)) == 2


# What can't be accepted.


class TestR28Limits:
    """All is looked at before anything is recorded, and the error says which one it is about."""

    @pytest.mark.parametrize(
        ("wrong", "error", "argument"),
        [
            ({"model_name": " "}, InvalidNameError, "model_name"),
            ({"version_bump": "BIG"}, InvalidBumpError, None),
            ({"promote": True}, InvalidArgumentError, "promote"),
            ({"metadata": {1: 2}}, InvalidArgumentError, "metadata"),
            ({"actor": "x" * 201}, InvalidArgumentError, "actor"),
            ({"idempotency_key": ""}, InvalidArgumentError, "idempotency_key"),
            ({"model_or_reference": None}, InvalidArgumentError, "model_or_reference"),
            ({"model": "x"}, InvalidArgumentError, "deployments"),
        ],
    )
    def test_the_error_has_the_index(
        self, registry: ModelRegistry, wrong: dict[str, Any], error: type[Any], argument: str | None
    ) -> None:
        asked = [of(), of("b"), of("c", **wrong), of("d", model_name="")]
        with refused(registry, error):
            registry.deploy_many(asked)
        with pytest.raises(error, match=r"^Deployment 2: ") as caught:
            registry.deploy_many(asked)
        assert caught.value.index == 2
        assert caught.value.to_dict()["index"] == 2
        assert getattr(caught.value, "argument", None) == argument

    @pytest.mark.parametrize(
        "items", [None, 1, "", "ab", b"ab", {}, of(), object(), [1], ["ab"], [{}], [{1: 2}], [{"model_name": "a"}]]
    )
    def test_they_are_mappings(self, registry: ModelRegistry, items: Any) -> None:
        with refused(registry, InvalidArgumentError):
            registry.deploy_many(items)

    @pytest.mark.parametrize("argument", ["actor", "reason", "correlation_id", "progress"])
    def test_the_arguments_of_the_call_are_looked_at_too(self, registry: ModelRegistry, argument: str) -> None:
        how: Any = {argument: 1}
        with refused(registry, InvalidArgumentError):
            registry.deploy_many([of()], **how)

    def test_what_fails_while_it_gives_them_is_the_callers_own(self, registry: ModelRegistry) -> None:
        def failing() -> Iterator[Deployment]:
            yield of()
            raise EOFError

        with nothing_recorded(registry), pytest.raises(EOFError):
            registry.deploy_many(failing())

    def test_one_key_for_two_commands_is_refused_before_anything_is_recorded(self, registry: ModelRegistry) -> None:
        with refused(registry, IdempotencyConflictError, "R21"):
            registry.deploy_many([of(idempotency_key="k"), of("b"), of(idempotency_key="k", publish=True)])

    def test_a_key_that_was_used_for_another_command_is_refused_and_its_batch_not_recorded(
        self, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        small_batches(monkeypatch, 2)
        deploy(registry, "c", idempotency_key="k", publish=True)
        with pytest.raises(IdempotencyConflictError, match=r"^Deployment 3: ") as caught:
            registry.deploy_many([of("a"), of("b"), of("a"), of("c", idempotency_key="k"), of("d")])
        assert (caught.value.rule, caught.value.facts["index"]) == ("R21", 3)
        assert [model.name for model in registry.models()] == ["a", "b", "c"]
        assert [len(registry.versions(name)) for name in "abc"] == [1, 1, 1]

    def test_a_stream_that_holds_another_model_is_found(
        self, shared_store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deploy(shared_store())
        other = shared_store()
        with monkeypatch.context() as patched:
            patched.setattr(
                "versioning.reading.streams.stream_of", lambda *_: versioning.ids.stream_of("default", NAME)
            )
            with pytest.raises(CorruptLogError, match="two names have the same digest"):
                other.deploy_many([of("of the same digest")])


# Batches.


class TestBatches:
    """Each is recorded whole or not at all."""

    def test_a_batch_is_one_append_and_progress_is_told_after_each(
        self, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        small_batches(monkeypatch, 3)
        appends: list[tuple[list[Row]]] = []
        monkeypatch.setattr(registry._store, "append", noted(appends, registry._store.append))
        heard: list[tuple[object, ...]] = []
        registry.deploy_many(many(8, publish=True), progress=lambda *said: heard.append((*said, registry.position())))
        assert [len(rows) for (rows,) in appends] == [6, 6, 4]
        assert [said[:3] for said in heard] == [("deploy", 3, 8), ("deploy", 6, 8), ("deploy", 8, 8)]
        assert [one.model_name for one in registry.history()] == [
            f"model {place}" for place in range(8) for _ in range(2)
        ]

    @pytest.mark.parametrize("commits", [False, True])
    def test_where_an_append_fails_the_batches_before_are_there_and_a_repetition_makes_the_rest(
        self, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch, commits: bool
    ) -> None:
        small_batches(monkeypatch)
        append, turns = registry._store.append, itertools.count()

        def failing(rows: Any) -> Any:
            if next(turns) != 1:
                return append(rows)
            if commits:
                append(rows)
            monkeypatch.setattr(registry._store, "tail", unreachable)
            raise unreachable_error

        unreachable_error = StoreError("The disk is full.", hint="Make room.")

        def unreachable(*_: Any) -> Any:
            raise unreachable_error

        tail = registry._store.tail
        monkeypatch.setattr(registry._store, "append", failing)
        with pytest.raises(StoreError, match=r"The disk is full\. Whether it was recorded is not known"):
            registry.deploy_many(many(8, publish=True))
        monkeypatch.setattr(registry._store, "tail", tail)
        assert len(registry.models()) == (6 if commits else 3)
        made = registry.deploy_many(many(8, publish=True))
        assert [version.number for version in made] == ["0.1.0"] * 8
        assert facts(registry.history()) == ["VersionDeployed", "VersionPromoted"] * 8

    @pytest.mark.parametrize("error", [AppendConflict("lost"), StoreError("The connection was lost.")])
    def test_a_lost_reply_is_recognised(
        self, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        small_batches(monkeypatch)
        append = registry._store.append

        def losing(rows: Any) -> Any:
            append(rows)
            raise error

        monkeypatch.setattr(registry._store, "append", losing)
        asked = [of(f"model {place % 5}", publish=True) for place in range(8)]
        made = registry.deploy_many(asked)
        assert facts(registry.history()) == ["VersionDeployed", "VersionPromoted"] * 8
        assert [version.number for version in made] == ["0.1.0"] * 5 + ["0.2.0"] * 3

    def test_what_failed_is_not_remembered(self, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
        deploy(registry, "known", publish=True)
        asked = [of("known", publish=True), of("new", publish=True), of("new")]
        error = StoreError("The disk is full.")
        with monkeypatch.context() as patched, nothing_recorded(registry):

            def failing(_: Any) -> Any:
                raise error

            patched.setattr(registry._store, "append", failing)
            with pytest.raises(StoreError):
                registry.deploy_many(asked)
        assert state_of(registry, "known") == state_of(registry.at(registry.position()), "known")
        assert [version.number for version in registry.deploy_many(asked)] == ["0.2.0", "0.1.0", "0.2.0"]
        assert registry.verify().ok

    def test_a_closed_registry_says_so(self, registry: ModelRegistry) -> None:
        registry.close()
        with pytest.raises(StoreError, match="is closed"):
            registry.deploy_many([of()])


class TestR22Concurrency:
    """A batch that meets others is decided again from fresh state."""

    def test_what_others_recorded_meanwhile_counts(self, shared_store: Store) -> None:
        first, second = shared_store(), shared_store()
        deploy(first, "a")
        deploy(second, "a")
        deploy(second, "b", publish=True)
        made = first.deploy_many([of("a"), of("b"), of("c"), of("a")])
        assert [version.number for version in made] == ["0.3.0", "0.2.0", "0.1.0", "0.4.0"]
        assert state_of(first, "a") == state_of(second, "a")

    def test_it_gives_up_after_bounded_tries_of_ever_fewer(
        self, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tries: list[int] = []
        first = AppendConflict("Somebody else was first.")

        def conflicting(rows: Any) -> Any:
            tries.append(len(rows))
            raise first

        monkeypatch.setattr("versioning.commanding.deciding.PAUSE_S_MAX", 0.0001)
        monkeypatch.setattr(registry._store, "append", conflicting)
        with nothing_recorded(registry), pytest.raises(ConcurrencyError, match="deploy_many"):
            registry.deploy_many([of() for _ in range(9)])
        assert tries == [9, 9, 4, 2] + [1] * (TRIES_MAX - 3)

    def test_a_turn_that_does_not_come_is_not_waited_for_for_ever(
        self, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("versioning.commanding.deciding.PAUSE_S_MAX", 0.0001)
        live = registry._streams._cached[deploy(registry).version_id[4:36]]
        with live.turn:
            (version,) = registry.deploy_many([of()])
            assert live.turn.locked()
        assert version.number == "0.2.0"

    def test_what_is_read_while_a_batch_is_decided_makes_it_decide_again(
        self, shared_store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        registry, other = shared_store(), shared_store()
        deploy(registry)

        def read_meanwhile(*args: Any, **options: Any) -> Any:
            monkeypatch.setattr("versioning.commanding.deciding.encode", encode)
            deploy(other)
            assert len(registry.versions(NAME)) == 2  # a question of another thread
            return encode(*args, **options)

        monkeypatch.setattr("versioning.commanding.deciding.encode", read_meanwhile)
        made = registry.deploy_many([of(), of()])
        assert [version.number for version in made] == ["0.3.0", "0.4.0"]
        assert [version.number for version in registry.versions(NAME)] == ["0.1.0", "0.2.0", "0.3.0", "0.4.0"]
        assert registry.verify().ok

    def test_an_interrupt_while_it_waits_for_its_turn_holds_up_nobody(self, registry: ModelRegistry) -> None:
        class Interrupted:
            def acquire(self, **_: object) -> bool:
                raise KeyboardInterrupt

        deploy(registry, "a"), deploy(registry, "b")
        streams = sorted(registry._streams.ref(name).stream for name in "ab")
        first, second = (registry._streams.shared(stream) for stream in streams)
        assert first is not None
        assert second is not None
        turn, second.turn = second.turn, Interrupted()  # type: ignore[assignment]  # in its place
        with pytest.raises(KeyboardInterrupt):
            registry.deploy_many([of("a"), of("b")])
        assert not first.turn.locked()
        second.turn = turn
        assert [version.number for version in registry.deploy_many([of("a"), of("b")])] == ["0.2.0", "0.2.0"]

    def test_commands_of_other_threads_on_its_models_wait_their_turn(self, store: Store) -> None:
        registry = store(clock=None)
        names, each, threads = ["a", "b", "c"], 6, 4
        made: list[tuple[Version, ...]] = []

        def bulk(number: int) -> Callable[[], object]:
            asked = [of(names[(number + place) % 3], publish=True, actor=str(number)) for place in range(3 * each)]
            return lambda: made.append(registry.deploy_many(asked))

        def single() -> None:
            made.extend((deploy(registry, names[place % 3], publish=True),) for place in range(each * 3))

        in_threads(*(bulk(number) for number in range(threads)), single, single)
        check_positions(store.kind, list(registry.history()), registry.position())
        for name in names:
            versions = registry.versions(name)
            assert [one.number for one in versions] == [f"0.{place}.0" for place in range(1, each * (threads + 2) + 1)]
            assert registry.primary(name) == versions[-1]
            for call in made:  # in the order in which they were asked for
                mine = [int(one.number.split(".")[1]) for one in call if one.model_name == name]
                assert mine == sorted(mine)
        assert len({one.version_id for call in made for one in call}) == len(names) * each * (threads + 2)
        assert registry.verify().ok


# A real kill.

KILLED = 3 * BATCH_REQUESTS + 100


def keep_deploying(talk: Talk, url: str) -> None:
    with ModelRegistry(url) as registry:
        talk.say("ready")
        registry.deploy_many(many(KILLED, publish=True), progress=lambda _, done, __: talk.say(done))
        talk.hear()


@pytest.mark.parametrize("kind", STORES)
def test_a_process_that_is_killed_leaves_whole_batches_and_a_repetition_makes_the_rest(kind: str) -> None:
    dice = dice_of(7, kind)
    for _ in range(4):
        with Arena(kind) as arena:
            arena.open().close()
            child = arena.start(keep_deploying)
            assert child.hear() == "ready"
            said = [child.hear() for _ in range(dice.randint(0, 2))]
            time.sleep(dice.uniform(0, 0.04))
            child.kill()
            said += child.rest()
            arena.end_children()
            registry = arena.open()
            there = len(registry.models())
            assert there in (KILLED, *range(0, KILLED, BATCH_REQUESTS))
            assert there >= max(said, default=0)
            assert [model.name for model in registry.models()] == sorted(f"model {place}" for place in range(there))
            assert check_log(registry)[1] == []
            made = registry.deploy_many(many(KILLED, publish=True))
            assert [version.model_name for version in made] == [f"model {place}" for place in range(KILLED)]
            assert {version.number for version in made} == {"0.1.0"}
            assert facts(registry.history()) == ["VersionDeployed", "VersionPromoted"] * KILLED
            assert check_log(registry)[1] == []
