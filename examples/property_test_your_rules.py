"""Test a rule of your own on random stories, and read the shortest one that breaks it.

You learn how the test kit tells stories without a registry, a store or a clock, and how Hypothesis looks for a story
that breaks your rule. The rule here: traffic moves to an older version only if somebody asks for that. Under the
default policy it does not hold, as three commands show; under `losing_primary="leave_none"` it does.

It needs the extra `testing`. In a test suite, `check_my_rule` would be the body of a test.
"""

import tempfile

from hypothesis import configuration, settings, strategies
from hypothesis import given as for_all

from versioning import Policy, VersionPromoted
from versioning.testing import Step, Story, activate, deactivate, delete, deploy, given, promote, publish, rollback

BY_ITSELF = ("fallback", "default")
"""Causes of promotions that no command asked for."""
ON_A_VERSION = (publish, promote, deactivate, activate, delete)


def check_my_rule(story: Story) -> None:
    """Check that traffic never moved to an older version without anybody asking for it."""
    for recorded in story.log:
        event = recorded.event
        if isinstance(event, VersionPromoted) and event.previous and event.cause in BY_ITSELF:
            old, new = (story.version(version_id) for version_id in (event.previous, event.version_id))
            assert new.semver > old.semver, f"Traffic moved from {old.number} to {new.number} by itself.\n{story}"  # noqa: S101 - the rule under test


def what_can_be_asked(story: Story) -> list[Step]:
    """Return every command that makes sense in a story."""
    steps = [deploy(publish=True), deploy(), rollback()]
    numbers = [] if story.model is None else [version.number for version in story.model.versions]
    return steps + [ask(number) for number in numbers for ask in ON_A_VERSION]


def counterexample(policy: Policy) -> str | None:
    """Return the shortest story that breaks the rule under a policy, or None if hundreds of stories keep it."""

    @settings(max_examples=300, deadline=None, database=None, derandomize=True)
    @for_all(strategies.data())
    def rule_holds(data: strategies.DataObject) -> None:
        story = given(policy=policy)
        for _ in range(data.draw(strategies.integers(1, 8))):
            step = data.draw(strategies.sampled_from(what_can_be_asked(story)))
            story = story.when(step).after  # a refusal is part of the story
        check_my_rule(story)

    try:
        rule_holds()
    except AssertionError as error:
        return str(error)
    return None


def main() -> None:
    """Look for a counterexample under two policies."""
    with tempfile.TemporaryDirectory() as folder:
        configuration.set_hypothesis_home_dir(folder)  # otherwise it keeps what it learns in .hypothesis
        try:
            for policy in (Policy(), Policy(losing_primary="leave_none")):
                print(f"losing_primary={policy.losing_primary}: {counterexample(policy) or 'the rule holds'}")
        finally:
            configuration.set_hypothesis_home_dir(None)


if __name__ == "__main__":
    main()
