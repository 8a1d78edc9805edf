"""Every command in every situation: the whole matrix is printed and compared."""

import re
from typing import get_args

import attrs
import pytest

from tests.stories import AWAITED, LEAVE_NONE, POLICIES, everything
from versioning import rules
from versioning.aggregate import Status
from versioning.commands import NAMES, CompleteActivation, FailActivation, VersionCommand
from versioning.rules import TRANSITIONS, Policy, Transition
from versioning.testing import (
    Decision,
    Step,
    Story,
    activate,
    clear_primary,
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

# The whole matrix: each situation of a version, each command on it.

BESIDE = given(deploy("p", publish=True), ready("p"), policy=AWAITED)
SITUATIONS = {
    "draft, activating": BESIDE.given(deploy("v")),
    "draft, active": BESIDE.given(deploy("v"), ready("v")),
    "draft, inactive": BESIDE.given(deploy("v"), ready("v"), deactivate("v")),
    "draft, failed": BESIDE.given(deploy("v"), fails("v")),
    "draft, deleted": BESIDE.given(deploy("v"), ready("v"), delete("v")),
    "published, activating": BESIDE.given(deploy("v", publish=True)),
    "published, active": BESIDE.given(deploy("v", publish=True), ready("v"), promote("p")),
    "published, primary": BESIDE.given(deploy("v", publish=True), ready("v")),
    "published, primary, another claims": BESIDE.given(
        deploy("v", publish=True), ready("v"), deploy("w", publish=True)
    ),
    "published, inactive": BESIDE.given(deploy("v", publish=True), ready("v"), deactivate("v")),
    "published, failed": BESIDE.given(deploy("v", publish=True), fails("v")),
    "published, deleted": BESIDE.given(deploy("v", publish=True), ready("v"), delete("v")),
}
ON_A_VERSION = [
    publish("v"), promote("v"), deactivate("v"), activate("v"), ready("v"), ready("v", attempt=9), fails("v"),
    fails("v", attempt=9), delete("v"),
]  # fmt: skip

MATRIX = """
draft, activating
    publish v                           VersionPublished
    promote v                           refused (R8, version-not-active)
    deactivate v                        VersionDeactivated
    activate v                          nothing
    v is ready                          VersionActivated
    v is ready, answering wait 9        nothing
    v fails to start                    VersionActivationFailed
    v fails to start, answering wait 9  nothing
    delete v                            VersionDeleted
draft, active
    publish v                           VersionPublished, VersionPromoted (published)
    promote v                           VersionPublished, VersionPromoted (requested)
    deactivate v                        VersionDeactivated
    activate v                          nothing
    v is ready                          nothing
    v is ready, answering wait 9        nothing
    v fails to start                    nothing
    v fails to start, answering wait 9  nothing
    delete v                            VersionDeleted
draft, inactive
    publish v                           refused (R8, version-not-active)
    promote v                           refused (R8, version-not-active)
    deactivate v                        nothing
    activate v                 instant  VersionActivated
                               awaited  VersionActivationRequested
    v is ready                          nothing
    v is ready, answering wait 9        nothing
    v fails to start                    nothing
    v fails to start, answering wait 9  nothing
    delete v                            VersionDeleted
draft, failed
    publish v                           refused (R8, version-not-active)
    promote v                           refused (R8, version-not-active)
    deactivate v                        nothing
    activate v                 instant  VersionActivated
                               awaited  VersionActivationRequested
    v is ready                          nothing
    v is ready, answering wait 9        nothing
    v fails to start                    nothing
    v fails to start, answering wait 9  nothing
    delete v                            VersionDeleted
draft, deleted
    publish v                           refused (R17, version-deleted)
    promote v                           refused (R17, version-deleted)
    deactivate v                        refused (R17, version-deleted)
    activate v                          refused (R17, version-deleted)
    v is ready                          nothing
    v is ready, answering wait 9        nothing
    v fails to start                    nothing
    v fails to start, answering wait 9  nothing
    delete v                            refused (R17, version-deleted)
published, activating
    publish v                           nothing
    promote v                           refused (R8, version-not-active)
    deactivate v                        VersionDeactivated
    activate v                          nothing
    v is ready                          VersionActivated, VersionPromoted (published)
    v is ready, answering wait 9        nothing
    v fails to start                    VersionActivationFailed
    v fails to start, answering wait 9  nothing
    delete v                            VersionDeleted
published, active
    publish v                           nothing
    promote v                           VersionPromoted (requested)
    deactivate v                        VersionDeactivated
    activate v                          nothing
    v is ready                          nothing
    v is ready, answering wait 9        nothing
    v fails to start                    nothing
    v fails to start, answering wait 9  nothing
    delete v                            VersionDeleted
published, primary
    publish v                           nothing
    promote v                           nothing
    deactivate v                        VersionDeactivated, VersionPromoted (fallback)
    activate v                          nothing
    v is ready                          nothing
    v is ready, answering wait 9        nothing
    v fails to start                    nothing
    v fails to start, answering wait 9  nothing
    delete v                            VersionDeleted, VersionPromoted (fallback)
published, primary, another claims
    publish v                           nothing
    promote v                           VersionPromoted (requested)
    deactivate v                        VersionDeactivated, VersionPromoted (fallback)
    activate v                          nothing
    v is ready                          nothing
    v is ready, answering wait 9        nothing
    v fails to start                    nothing
    v fails to start, answering wait 9  nothing
    delete v                            VersionDeleted, VersionPromoted (fallback)
published, inactive
    publish v                           nothing
    promote v                           refused (R8, version-not-active)
    deactivate v                        nothing
    activate v                 instant  VersionActivated
                               awaited  VersionActivationRequested
    v is ready                          nothing
    v is ready, answering wait 9        nothing
    v fails to start                    nothing
    v fails to start, answering wait 9  nothing
    delete v                            VersionDeleted
published, failed
    publish v                           nothing
    promote v                           refused (R8, version-not-active)
    deactivate v                        VersionDeactivated
    activate v                 instant  VersionActivated, VersionPromoted (published)
                               awaited  VersionActivationRequested
    v is ready                          nothing
    v is ready, answering wait 9        nothing
    v fails to start                    nothing
    v fails to start, answering wait 9  nothing
    delete v                            VersionDeleted
published, deleted
    publish v                           refused (R17, version-deleted)
    promote v                           refused (R17, version-deleted)
    deactivate v                        refused (R17, version-deleted)
    activate v                          refused (R17, version-deleted)
    v is ready                          nothing
    v is ready, answering wait 9        nothing
    v fails to start                    nothing
    v fails to start, answering wait 9  nothing
    delete v                            refused (R17, version-deleted)
"""

OF_A_NAME = {
    "never deployed": given(),
    "deleted": given(deploy("a", publish=True), delete_model()),
    "without a primary": given(deploy("a")),
    "with its first primary": given(deploy("a", publish=True)),
    "with its second primary": given(deploy("a", publish=True), deploy("b", publish=True)),
    "cleared on purpose": given(deploy("a", publish=True), deploy("b", publish=True), clear_primary()),
    "without its primary": given(deploy("a", publish=True), deactivate("a"), activate("a"), policy=LEAVE_NONE),
}
ON_A_NAME = [deploy("n"), deploy("n", publish=True), rollback(), clear_primary(), delete_model()]

NAME_MATRIX = """
never deployed
    deploy n                            VersionDeployed
    deploy n, publish          instant  VersionDeployed, VersionPromoted (published)
                               awaited  VersionDeployed
    rollback                            refused (R24, model-not-found)
    clear_primary                       refused (R24, model-not-found)
    delete_model                        refused (R24, model-not-found)
deleted
    deploy n                            VersionDeployed
    deploy n, publish          instant  VersionDeployed, VersionPromoted (published)
                               awaited  VersionDeployed
    rollback                            refused (R24, model-not-found)
    clear_primary                       refused (R24, model-not-found)
    delete_model                        refused (R24, model-not-found)
without a primary
    deploy n                            VersionDeployed
    deploy n, publish          instant  VersionDeployed, VersionPromoted (published)
                               awaited  VersionDeployed
    rollback                            refused (R13, nothing-to-roll-back-to)
    clear_primary                       PrimaryCleared (requested)
    delete_model                        VersionDeleted, ModelDeleted
with its first primary
    deploy n                            VersionDeployed
    deploy n, publish          instant  VersionDeployed, VersionPromoted (published)
                               awaited  VersionDeployed
    rollback                            refused (R13, nothing-to-roll-back-to)
    clear_primary                       PrimaryCleared (requested)
    delete_model                        VersionDeleted, PrimaryCleared (lost), ModelDeleted
with its second primary
    deploy n                            VersionDeployed
    deploy n, publish          instant  VersionDeployed, VersionPromoted (published)
                               awaited  VersionDeployed
    rollback                            VersionPromoted (rollback)
    clear_primary                       PrimaryCleared (requested)
    delete_model                        VersionDeleted, VersionDeleted, PrimaryCleared (lost), ModelDeleted
cleared on purpose
    deploy n                            VersionDeployed
    deploy n, publish          instant  VersionDeployed, VersionPromoted (published)
                               awaited  VersionDeployed
    rollback                            VersionPromoted (rollback)
    clear_primary                       nothing
    delete_model                        VersionDeleted, VersionDeleted, ModelDeleted
without its primary
    deploy n                            VersionDeployed
    deploy n, publish          instant  VersionDeployed, VersionPromoted (published)
                               awaited  VersionDeployed
    rollback                            VersionPromoted (rollback)
    clear_primary                       PrimaryCleared (requested)
    delete_model                        VersionDeleted, ModelDeleted
"""


def outcome(decision: Decision) -> str:
    """What came of it, as the table of SPEC's worked day writes it."""
    if decision.error is not None:
        return f"refused ({decision.error.rule}, {decision.error.code})"
    causes = [f" ({cause})" if (cause := getattr(event, "cause", None)) else "" for event in decision.events]
    facts = [type(event).__name__ + cause for event, cause in zip(decision.events, causes, strict=True)]
    return ", ".join(facts) or "nothing"


def printed(situations: dict[str, Story], asked: list[Step]) -> str:
    """The matrix: one line where both modes give the same."""
    lines = []
    for situation, story in situations.items():
        lines.append(situation)
        for step in asked:
            modes = [attrs.evolve(story.policy, activation=mode) for mode in ("instant", "awaited")]
            instant, awaited = (outcome(story.under(mode).when(step)) for mode in modes)
            if instant == awaited:
                lines.append(f"    {step.words:36}{instant}")
            else:
                lines.append(f"    {step.words:27}instant  {instant}")
                lines.append(f"    {'':27}awaited  {awaited}")
    return "\n".join(lines)


def row_of(story: Story, step: Step) -> Transition | None:
    """The row of TRANSITIONS that decides."""
    command = step(story)
    assert isinstance(command, VersionCommand)
    version = story.version("v")
    case = rules.Case(story.state, version, command, story.policy)
    rows = (row for row in TRANSITIONS if (row.command, row.status) == (type(command), version.status))
    return next((row for row in rows if row.guard(case)), None)


class TestTheWholeMatrix:
    def test_every_command_on_a_version_in_every_situation(self) -> None:
        text = printed(SITUATIONS, ON_A_VERSION)
        assert text == MATRIX.strip(), f"The matrix is now\n{text}"

    def test_every_command_on_a_name_in_every_situation(self) -> None:
        text = printed(OF_A_NAME, ON_A_NAME)
        assert text == NAME_MATRIX.strip(), f"The matrix is now\n{text}"

    def test_with_a_key_only_what_is_so_already_is_recorded_too(self) -> None:
        """R21: but a stale answer to an activation."""
        cases = [(story, step) for story in SITUATIONS.values() for step in ON_A_VERSION]
        cases += [(story, step) for story in OF_A_NAME.values() for step in ON_A_NAME]
        for story, step in cases:
            command = step(story)
            plain, keyed = story.when(step), story.when(step.keyed())
            if plain.events or plain.error is not None or isinstance(command, CompleteActivation | FailActivation):
                assert (outcome(keyed), keyed.events) == (outcome(plain), plain.events)
            else:
                keyed.then(f"NothingChanged {NAMES[type(command)]}")

    def test_every_row_of_the_table_is_reached_and_does_what_it_says(self) -> None:
        reached = set()
        for story in SITUATIONS.values():
            for mode in (Policy(), AWAITED):
                for step in ON_A_VERSION:
                    row = row_of(story.under(mode), step)
                    decision = story.under(mode).when(step)
                    assert (row is None) == (decision.error is not None)
                    if row is not None:
                        assert tuple(map(type, decision.events[: len(row.records)])) == row.records
                        assert decision.after.version("v").status == row.becomes
                        assert bool(row.records) == bool(decision.events)
                        reached.add(row)
        assert reached == set(TRANSITIONS)

    def test_every_status_and_every_command_is_in_it(self) -> None:
        assert {story.version("v").status for story in SITUATIONS.values()} == set(get_args(Status))
        asked = [step(story) for story in SITUATIONS.values() for step in ON_A_VERSION]
        asked += [step(story) for story in OF_A_NAME.values() for step in ON_A_NAME]
        assert {type(command) for command in asked} == set(NAMES)

    @pytest.mark.parametrize("policy", POLICIES)
    def test_a_decision_changes_nothing_by_itself(self, policy: Policy) -> None:
        cases = [(story, step) for story in SITUATIONS.values() for step in ON_A_VERSION]
        cases += [(story, step) for story in OF_A_NAME.values() for step in ON_A_NAME]
        for story, step in cases:
            told = story.under(policy)
            before = everything(told.state)
            decision = told.when(step)
            assert everything(told.state) == before
            if not decision.events:
                assert everything(decision.after.state) == before

    def test_a_later_row_is_never_hidden_by_one_that_always_holds(self) -> None:
        for index, row in enumerate(TRANSITIONS):
            earlier = [each for each in TRANSITIONS[:index] if each[:2] == row[:2]]
            assert rules.always not in {each.guard for each in earlier}

    def test_every_guard_says_which_rule_it_is_of(self) -> None:
        guards = {row.guard for row in TRANSITIONS} - {rules.always}
        assert all(re.match(r"R\d+: ", guard.__doc__ or "") for guard in guards)
