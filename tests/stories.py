"""Stories that several test modules tell: the worked day of SPEC.md, random ones, and the policies to try them under.

`everything` is what two states are compared by.
"""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from versioning.aggregate import ModelAggregate
from versioning.events import moment_of
from versioning.rules import Policy
from versioning.testing import (
    Step,
    Story,
    activate,
    deactivate,
    delete,
    delete_model,
    deploy,
    fails,
    given,
    promote,
    publish,
    ready,
    rollback,
)

if TYPE_CHECKING:
    from collections.abc import Callable

AWAITED = Policy(activation="awaited")
LEAVE_NONE = Policy(losing_primary="leave_none")
REFUSE = Policy(losing_primary="refuse")
CLAIMLESS = Policy(publishing_claims=False)
POLICIES = [
    Policy(losing, claims, activation)
    for losing in ("fall_back", "leave_none", "refuse")
    for claims in (True, False)
    for activation in ("instant", "awaited")
]


def everything(state: ModelAggregate) -> dict[str, object]:
    """All that a state holds, to compare it with itself later."""
    return {name: copy.deepcopy(getattr(state, name)) for name in ModelAggregate.__slots__}


ON_A_VERSION = [publish, promote, deactivate, activate, ready, fails, delete]


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Random histories under random policies; the clock stands, goes on, or goes back."""
    story, deployed = given(policy=draw(st.sampled_from(POLICIES))), 0
    kinds = st.sampled_from(["deploy", "deploy published", "rollback", "delete_model", *ON_A_VERSION, *ON_A_VERSION])
    for kind, which, seconds in draw(
        st.lists(st.tuples(kinds, st.integers(0, 5), st.sampled_from([-60, 0, 0, 60])), max_size=16)
    ):
        step: Step
        if deployed == 0 or kind in {"deploy", "deploy published"}:
            bump = ("MINOR", "MAJOR", "PATCH")[which % 3]
            step = deploy(f"v{deployed}", bump=bump, publish=kind != "deploy", promote=None if which < 3 else False)
            deployed += 1
        elif kind == "rollback":
            step = rollback()
        elif kind == "delete_model":
            step = delete_model()
        else:
            assert callable(kind)
            step = kind(f"v{which % deployed}")
        story = story.when(step.at(moment_of(story.now_us) + timedelta(seconds=seconds))).after
    return story


# Section 4: a worked day, row by row.

WORKED_DAY = """
| 09:00 | deploy a, publish | VersionDeployed | – | – | 0.1.0 |
| 09:04 | a is ready | VersionActivated, VersionPromoted (published) | 0.1.0 | 0.1.0 | 0.1.0 |
| 09:30 | deploy b (draft) | VersionDeployed | 0.1.0 | 0.1.0 | 0.1.0 0.2.0 |
| 09:33 | b is ready | VersionActivated | 0.1.0 | 0.1.0 0.2.0 | 0.1.0 0.2.0 |
| 10:00 | publish b | VersionPublished, VersionPromoted (published) | 0.2.0 | 0.1.0 0.2.0 | 0.1.0 0.2.0 |
| 10:20 | promote a | VersionPromoted (requested) | 0.1.0 | 0.1.0 0.2.0 | 0.1.0 0.2.0 |
| 11:00 | deploy c, MAJOR, publish | VersionDeployed | 0.1.0 | 0.1.0 0.2.0 | 0.1.0 0.2.0 1.0.0 |
| 11:01 | promote a | VersionPromoted (requested) | 0.1.0 | 0.1.0 0.2.0 | 0.1.0 0.2.0 1.0.0 |
| 11:05 | c is ready | VersionActivated | 0.1.0 | 0.1.0 0.2.0 1.0.0 | 0.1.0 0.2.0 1.0.0 |
| 11:30 | promote c | VersionPromoted (requested) | 1.0.0 | 0.1.0 0.2.0 1.0.0 | 0.1.0 0.2.0 1.0.0 |
| 12:00 | deactivate c | VersionDeactivated, VersionPromoted (fallback) | 0.1.0 | 0.1.0 0.2.0 | 0.1.0 0.2.0 |
| 12:10 | activate c | VersionActivationRequested | 0.1.0 | 0.1.0 0.2.0 | 0.1.0 0.2.0 1.0.0 |
| 12:15 | c is ready | VersionActivated | 0.1.0 | 0.1.0 0.2.0 1.0.0 | 0.1.0 0.2.0 1.0.0 |
| 12:30 | deploy d, PATCH, publish | VersionDeployed | 0.1.0 | 0.1.0 0.2.0 1.0.0 | 0.1.0 0.2.0 1.0.0 1.0.1 |
| 12:34 | d fails to start | VersionActivationFailed | 0.1.0 | 0.1.0 0.2.0 1.0.0 | 0.1.0 0.2.0 1.0.0 |
| 12:40 | promote d | refused | 0.1.0 | 0.1.0 0.2.0 1.0.0 | 0.1.0 0.2.0 1.0.0 |
| 12:41 | activate d | VersionActivationRequested | 0.1.0 | 0.1.0 0.2.0 1.0.0 | 0.1.0 0.2.0 1.0.0 1.0.1 |
| 12:45 | d is ready | VersionActivated, VersionPromoted (published) | 1.0.1 | 0.1.0 0.2.0 1.0.0 1.0.1 | 0.1.0 0.2.0 1.0.0 1.0.1 |
| 13:00 | rollback | VersionPromoted (rollback) | 0.1.0 | 0.1.0 0.2.0 1.0.0 1.0.1 | 0.1.0 0.2.0 1.0.0 1.0.1 |
| 13:10 | publish a again | nothing | 0.1.0 | 0.1.0 0.2.0 1.0.0 1.0.1 | 0.1.0 0.2.0 1.0.0 1.0.1 |
| 14:00 | delete a | VersionDeleted, VersionPromoted (fallback) | 0.2.0 | 0.2.0 1.0.0 1.0.1 | 0.2.0 1.0.0 1.0.1 |
| 14:30 | delete b | VersionDeleted, VersionPromoted (fallback) | 1.0.0 | 1.0.0 1.0.1 | 1.0.0 1.0.1 |
| 14:31 | activate b | refused | 1.0.0 | 1.0.0 1.0.1 | 1.0.0 1.0.1 |
| 14:40 | deploy e, publish | VersionDeployed | 1.0.0 | 1.0.0 1.0.1 | 1.0.0 1.0.1 1.1.0 |
| 14:42 | e fails to start | VersionActivationFailed | 1.0.0 | 1.0.0 1.0.1 | 1.0.0 1.0.1 |
| 14:43 | promote c | VersionPromoted (requested) | 1.0.0 | 1.0.0 1.0.1 | 1.0.0 1.0.1 |
| 14:44 | deactivate e | VersionDeactivated | 1.0.0 | 1.0.0 1.0.1 | 1.0.0 1.0.1 |
| 14:45 | deactivate e | nothing | 1.0.0 | 1.0.0 1.0.1 | 1.0.0 1.0.1 |
| 14:46 | activate e | VersionActivationRequested | 1.0.0 | 1.0.0 1.0.1 | 1.0.0 1.0.1 1.1.0 |
| 14:48 | e is ready | VersionActivated | 1.0.0 | 1.0.0 1.0.1 1.1.0 | 1.0.0 1.0.1 1.1.0 |
| 14:50 | promote d | VersionPromoted (requested) | 1.0.1 | 1.0.0 1.0.1 1.1.0 | 1.0.0 1.0.1 1.1.0 |
| 14:51 | promote e | VersionPromoted (requested) | 1.1.0 | 1.0.0 1.0.1 1.1.0 | 1.0.0 1.0.1 1.1.0 |
| 14:52 | rollback | VersionPromoted (rollback) | 1.0.1 | 1.0.0 1.0.1 1.1.0 | 1.0.0 1.0.1 1.1.0 |
| 14:53 | deploy f, PATCH, publish | VersionDeployed | 1.0.1 | 1.0.0 1.0.1 1.1.0 | 1.0.0 1.0.1 1.1.0 1.1.1 |
| 14:55 | f is ready | VersionActivated, VersionPromoted (published) | 1.1.1 | 1.0.0 1.0.1 1.1.0 1.1.1 | 1.0.0 1.0.1 1.1.0 1.1.1 |
| 14:56 | rollback | VersionPromoted (rollback) | 1.0.1 | 1.0.0 1.0.1 1.1.0 1.1.1 | 1.0.0 1.0.1 1.1.0 1.1.1 |
| 14:57 | delete d | VersionDeleted, VersionPromoted (fallback) | 1.0.0 | 1.0.0 1.1.0 1.1.1 | 1.0.0 1.1.0 1.1.1 |
| 14:58 | deploy g, publish without a claim | VersionDeployed | 1.0.0 | 1.0.0 1.1.0 1.1.1 | 1.0.0 1.1.0 1.1.1 1.2.0 |
| 14:59 | g is ready | VersionActivated | 1.0.0 | 1.0.0 1.1.0 1.1.1 1.2.0 | 1.0.0 1.1.0 1.1.1 1.2.0 |
| 15:00 | delete c | VersionDeleted, VersionPromoted (fallback) | 1.2.0 | 1.1.0 1.1.1 1.2.0 | 1.1.0 1.1.1 1.2.0 |
| 15:01 | delete e | VersionDeleted | 1.2.0 | 1.1.1 1.2.0 | 1.1.1 1.2.0 |
| 15:02 | delete f | VersionDeleted | 1.2.0 | 1.2.0 | 1.2.0 |
| 15:03 | delete g | VersionDeleted, PrimaryCleared, ModelDeleted | – | – | – |
| 16:00 | deploy h | VersionDeployed | – | – | 0.1.0 |
"""  # noqa: E501 - the rows as SPEC.md has them

ROWS = [tuple(cell.strip() for cell in row.strip("| ").split("|")) for row in WORKED_DAY.strip().split("\n")]


def asked_in(words: str) -> Step:
    """The command that a row of the worked day means."""
    match words.replace(",", "").split():
        case ["deploy", label, *rest]:
            bump = next((word for word in rest if word.isupper()), "MINOR")
            return deploy(label, bump=bump, publish="publish" in rest, promote=False if "claim" in rest else None)
        case [label, "is", "ready"]:
            return ready(label)
        case [label, "fails", "to", "start"]:
            return fails(label)
        case ["rollback"]:
            return rollback()
        case [command, label, *_]:
            on: dict[str, Callable[[str], Step]] = {
                "publish": publish,
                "promote": promote,
                "deactivate": deactivate,
                "activate": activate,
            }
            return on.get(command, delete)(label)
    raise AssertionError(words)


def worked_day() -> Story:
    """The whole day, to fold."""
    story = given(policy=AWAITED)
    for clock, words, *_ in ROWS:
        story = story.when(asked_in(words).at(clock)).after
    return story
