"""R22 between processes: concurrent commands on one model behave as in some serial order.

Eight processes, started once, run into each other in a new place each round.
"""

from __future__ import annotations

import contextlib
import multiprocessing
from typing import TYPE_CHECKING, Any

import pytest

from tests.stores import STORES, Kind, check_positions, facts
from versioning import Deployment, ModelRegistry, RefusedError, VersioningError
from versioning.events import VersionDeployed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Barrier
    from pathlib import Path

PROCESSES = 8
ROUNDS = 20
DEPLOYED = 3
"""By each process in each round."""
NAME = "churn"
TOGETHER_S = 60

Task = tuple[str, str]
"""What to do, and the URL of the store."""


def _deploying(registry: ModelRegistry, me: str) -> list[tuple[str, str]]:
    """Deploy; give the ids and numbers that were answered."""
    versions = [registry.deploy(f"s3://{me}", model_name=NAME, publish=True, actor=me) for _ in range(DEPLOYED)]
    return [(version.version_id, version.number) for version in versions]


def _living(registry: ModelRegistry, me: str) -> list[tuple[str, str]]:
    """Do all that can be done, whatever the others do; give what was deployed."""
    versions = []
    for step in range(DEPLOYED):
        version = registry.deploy(f"s3://{me}", model_name=NAME, publish=step % 2 == 0, actor=me)
        versions.append((version.version_id, version.number))
        for command, target in (
            (registry.promote, version.version_id),
            (registry.rollback, NAME),
            (registry.deactivate, version.version_id),
            (registry.activate, version.version_id),
            (registry.delete, version.version_id),
        )[step : 3 + step]:
            with contextlib.suppress(RefusedError):
                command(target, actor=me)
    return versions


def _retrying(registry: ModelRegistry, _: str) -> list[tuple[str, str]]:
    """Send the same command as everybody else, with the same key."""
    version = registry.deploy("s3://same", model_name=NAME, publish=True, idempotency_key="k")
    return [(version.version_id, version.number)]


def _deploying_many(registry: ModelRegistry, me: str) -> list[tuple[str, str]]:
    """Deploy some at once, between others one by one, and some of another model."""
    some: list[Deployment] = [
        {"model_or_reference": f"s3://{me}", "model_name": name, "publish": True}
        for name in (NAME, f"own {me}", NAME, "shared")
    ]
    versions = registry.deploy_many(some, actor=me)
    version = registry.deploy(f"s3://{me}", model_name=NAME, publish=True, actor=me)
    return [(one.version_id, one.number) for one in (*versions, version) if one.model_name == NAME]


def _retrying_many(registry: ModelRegistry, _: str) -> list[tuple[str, str]]:
    """Send the same commands as everybody else, with the same keys."""
    some: list[Deployment] = [
        {"model_or_reference": "s3://same", "model_name": f"model {place % 7}", "idempotency_key": f"k{place}"}
        for place in range(20)
    ]
    return [(version.version_id, version.number) for version in registry.deploy_many(some)]


TASKS = {
    "deploying": _deploying,
    "living": _living,
    "retrying": _retrying,
    "deploying many": _deploying_many,
    "retrying many": _retrying_many,
}


def _work(number: int, gate: Barrier, connection: Connection) -> None:
    """Do a task whenever one comes, all at once; answer with what was deployed, or with what went wrong."""
    while (task := connection.recv()) is not None:
        gate.wait(TOGETHER_S)
        try:
            with ModelRegistry(task[1]) as registry:
                connection.send(TASKS[task[0]](registry, str(number)))
        except VersioningError as error:
            connection.send(repr(error))


@pytest.fixture(scope="module")
def team() -> Iterator[list[Connection]]:
    """Start the processes once."""
    context = multiprocessing.get_context("spawn")
    gate = context.Barrier(PROCESSES)
    ours: list[Connection] = []
    processes = []
    for number in range(PROCESSES):
        mine, theirs = context.Pipe()
        ours.append(mine)
        processes.append(context.Process(target=_work, args=(number, gate, theirs), daemon=True))
        processes[-1].start()
        theirs.close()
    yield ours
    for connection in ours:
        connection.send(None)
    for process in processes:
        process.join(TOGETHER_S)
        process.close()
    for connection in ours:
        connection.close()


@pytest.fixture(params=[kind for kind in STORES if kind.shared], ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
def urls(kind: Kind, tmp_path: Path) -> list[str]:
    """Name a new place for each round."""
    folders = [tmp_path / str(number) for number in range(ROUNDS)]
    for folder in folders:
        folder.mkdir()
    return [kind.url(folder) for folder in folders]


def together(team: list[Connection], task: Task) -> list[list[tuple[str, str]]]:
    """Let all do a task at once."""
    for connection in team:
        connection.send(task)
    answers: list[Any] = [connection.recv() for connection in team if connection.poll(TOGETHER_S)]
    assert len(answers) == PROCESSES, "a process hangs"
    assert [answer for answer in answers if isinstance(answer, str)] == []
    return answers


def check(kind: Kind, registry: ModelRegistry, answered: list[tuple[str, str]]) -> None:
    """See that what was answered is what is there: numbers unique and without gaps, one primary, nothing lost."""
    history = list(registry.history(NAME))
    assert [recorded.sequence for recorded in history] == list(range(1, len(history) + 1))
    check_positions(kind, history, registry.position())
    deployed = [recorded.event for recorded in history if isinstance(recorded.event, VersionDeployed)]
    assert [event.number for event in deployed] == [f"0.{place}.0" for place in range(1, len(deployed) + 1)]
    assert sorted((event.version_id, event.number) for event in deployed) == sorted(set(answered))
    model = registry.model(NAME)
    assert [version for version in model.versions if version.is_primary] == [model.primary]
    assert registry.models() == (model,) == registry.at(registry.position()).models()


class TestEightProcesses:
    def test_deploying_to_one_new_model_in_one_new_store(
        self, team: list[Connection], kind: Kind, urls: list[str]
    ) -> None:
        for url in urls:
            answers = together(team, ("deploying", url))
            with ModelRegistry(url) as registry:
                check(kind, registry, [version for answer in answers for version in answer])
                assert len(registry.versions(NAME)) == PROCESSES * DEPLOYED
                newest = registry.versions(NAME)[-1]
                assert registry.primary(NAME) == newest  # the newest claim wins
                for number, answer in enumerate(answers):
                    mine = [one for one in registry.versions(NAME) if one.deployed_by == str(number)]
                    assert [(one.version_id, one.number) for one in mine] == answer

    def test_living_side_by_side(self, team: list[Connection], kind: Kind, urls: list[str]) -> None:
        for url in urls[:5]:
            with ModelRegistry(url) as registry:
                first = registry.deploy("s3://first", model_name=NAME, publish=True)  # the model never goes
                answers = together(team, ("living", url))
                check(
                    kind, registry, [(first.version_id, first.number), *(one for answer in answers for one in answer)]
                )

    def test_one_command_sent_by_all_with_one_key_is_done_once(self, team: list[Connection], urls: list[str]) -> None:
        for url in urls[:5]:
            answers = together(team, ("retrying", url))
            with ModelRegistry(url) as registry:
                assert facts(registry.history()) == ["VersionDeployed", "VersionPromoted"]
                (version,) = registry.versions(NAME)
            assert answers == [[(version.version_id, "0.1.0")]] * PROCESSES

    def test_deploying_many_beside_each_other(self, team: list[Connection], kind: Kind, urls: list[str]) -> None:
        for url in urls[:5]:
            answers = together(team, ("deploying many", url))
            with ModelRegistry(url) as registry:
                history = list(registry.history(NAME))
                deployed = [one.event for one in history if isinstance(one.event, VersionDeployed)]
                assert [event.number for event in deployed] == [f"0.{one}.0" for one in range(1, 3 * PROCESSES + 1)]
                answered = {version for answer in answers for version in answer}
                assert {(event.version_id, event.number) for event in deployed} == answered
                check_positions(kind, list(registry.history()), registry.position())
                assert len(registry.versions("shared")) == PROCESSES
                for number, answer in enumerate(answers):
                    mine = [one for one in registry.versions(NAME) if one.deployed_by == str(number)]
                    assert [(one.version_id, one.number) for one in mine[:2]] == answer[:2]
                assert registry.verify().ok

    def test_many_sent_by_all_with_the_same_keys_are_done_once(self, team: list[Connection], urls: list[str]) -> None:
        for url in urls[:5]:
            answers = together(team, ("retrying many", url))
            with ModelRegistry(url) as registry:
                assert facts(registry.history()) == ["VersionDeployed"] * 20
                assert registry.verify().ok
            assert len(answers[0]) == 20
            assert answers == [answers[0]] * PROCESSES
