"""What can't have been recorded behind the events before it is found, wherever a log is folded."""

from types import SimpleNamespace
from typing import Any

import pytest

from versioning import CorruptLogError, laws
from versioning.aggregate import ModelAggregate
from versioning.events import ArtifactRef, VersionActivated, VersionDeployed

STREAM = "0" * 12 + "8000" + "8000" + "0" * 12
FIRST, UNKNOWN = f"ver_{STREAM}_1_00000000", f"ver_{STREAM}_2_00000000"


def fact(sequence: int, event: object, **other: Any) -> Any:  # noqa: ANN401 - a fact as laws see it
    place = {
        "stream": STREAM,
        "workspace": "default",
        "model_name": "fraud",
        "actor": None,
        "chain": f"{sequence:064x}",
        **other,
    }
    return SimpleNamespace(position=10 + sequence, sequence=sequence, event=event, **place)


DEPLOYED = fact(1, VersionDeployed(FIRST, "0.1.0", ArtifactRef("s3://x"), at_us=0))


@pytest.fixture
def state() -> ModelAggregate:
    state = ModelAggregate(STREAM)
    laws.apply(state, DEPLOYED)
    return state


def test_the_first_fact_names_the_model(state: ModelAggregate) -> None:
    assert (state.workspace, state.model_name, state.sequence) == ("default", "fraud", 1)


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (fact(3, VersionActivated(FIRST, at_us=0)), "Event 2 of the stream .* is missing"),
        (fact(1, VersionActivated(FIRST, at_us=0)), "Event 2 of the stream .* is missing"),
        (fact(2, VersionActivated(FIRST, at_us=0), model_name="other"), "Event 2 .* names another model"),
        (fact(2, VersionActivated(FIRST, at_us=0), workspace="other"), "Event 2 .* names another model"),
        (fact(2, VersionActivated(UNKNOWN, at_us=0)), "does not follow from those before it"),
    ],
)
def test_what_does_not_follow_is_named_by_its_position(state: ModelAggregate, broken: Any, sentence: str) -> None:  # noqa: ANN401 - as above
    with pytest.raises(CorruptLogError, match=sentence) as refused:
        laws.apply(state, broken)
    assert refused.value.position == broken.position
    assert state.sequence == 1


def test_a_fold_keeps_what_came_before_the_fault() -> None:
    state = ModelAggregate(STREAM)
    with pytest.raises(CorruptLogError):
        laws.fold(state, [DEPLOYED, fact(2, VersionActivated(UNKNOWN, at_us=0))])
    assert (state.sequence, state.link) == (1, bytes.fromhex(DEPLOYED.chain))
    before = state.versions[FIRST]
    laws.apply(state, fact(2, VersionActivated(FIRST, at_us=0)))
    assert state.versions[FIRST] is not before
