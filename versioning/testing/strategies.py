"""Hypothesis strategies for what this library accepts and returns: names, metadata, commands, histories, logs.

The law of this room: whatever a strategy makes is valid, by the limits and by the rules, and shrinks to the plainest of
its kind. For what is refused, tests name their own examples.

    @given(recorded_logs(Policy(losing_primary="refuse")))
    def test_my_projection_is_never_negative(log):
        assert MyProjection().fold(log).balance >= 0

To add one: a function that returns a strategy, and a test that what it makes is accepted.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any, Final

from hypothesis import strategies as st

from versioning.aggregate import ModelAggregate, evolve
from versioning.commands import (
    COMMANDS,
    Activate,
    Bump,
    ClearPrimary,
    Command,
    CompleteActivation,
    Deactivate,
    Delete,
    DeleteModel,
    Deploy,
    Expect,
    ExpectedPrimary,
    FailActivation,
    Promote,
    Publish,
    Rollback,
)
from versioning.errors import VersioningError
from versioning.events import ArtifactRef, Event, Recorded
from versioning.ids import activation_id_of, looks_like_id, stream_of
from versioning.limits import NAME_CHARACTERS_MAX, checked_metadata
from versioning.rules import Policy, decide
from versioning.testing.plain_events import merged, recorded
from versioning.testing.walks import POLICIES, START_US

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import SearchStrategy

HISTORY_COMMANDS_MAX: Final = 20
"""Most commands that a history is made of by default."""
_WORDS: Final[tuple[Bump, ...]] = ("MINOR", "MAJOR", "PATCH")
_bumps: Final = st.sampled_from(_WORDS)
_has_key: Final = st.sampled_from([False, False, False, True])
_claims: Final = st.sampled_from([None, True, False])
_commands: Final = st.sampled_from(list(COMMANDS))
_passing_us: Final = st.sampled_from([1_000_000, 0, 1, 3_600_000_000, -60_000_000])


def names() -> SearchStrategy[str]:
    """Return a strategy for names that a model can have, in NFC as they are stored (R4)."""
    text = st.text(
        st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=NAME_CHARACTERS_MAX
    )
    composed = text.map(lambda name: unicodedata.normalize("NFC", name.strip()).strip())
    return composed.filter(lambda name: 0 < len(name) <= NAME_CHARACTERS_MAX and not looks_like_id(name))


def metadata() -> SearchStrategy[dict[str, Any]]:
    """Return a strategy for metadata that is accepted, and read back exactly (R28)."""
    text = st.text(st.characters(codec="utf-8"), max_size=20)
    numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    values: SearchStrategy[Any] = st.recursive(
        st.none() | st.booleans() | numbers | text,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
        max_leaves=6,
    )
    return st.dictionaries(text, values, max_size=4)


_contents: Final = (st.just({}) | metadata()).map(checked_metadata)


def bumps() -> SearchStrategy[str]:
    """Return a strategy for the three bumps, in any case (R2)."""
    return st.sampled_from([*_WORDS, "minor", "Major", "pAtCh"])


def policies() -> SearchStrategy[Policy]:
    """Return a strategy for all policies, the default first."""
    return st.sampled_from(sorted(POLICIES, key=lambda policy: policy != Policy()))


@st.composite
def commands(draw: st.DrawFn, state: ModelAggregate) -> Command:
    """Make commands that make sense in a state, on versions that are known; the rules allow most of them.

    Args:
        draw: Hypothesis passes it.
        state: what is known of the name.
    """
    known = list(state.versions)
    asked = COMMANDS[draw(_commands)] if known else Deploy
    if asked is Deploy:
        publish = draw(st.booleans())
        return Deploy(
            artifact=ArtifactRef(f"memory:{len(known) + 1}"),
            token=f"{len(known) + 1:08x}",
            bump=draw(_bumps),
            publish=publish,
            promote=draw(_claims) if publish else None,
            metadata=draw(_contents),
        )
    version_id = draw(st.sampled_from(known))
    activation_id = state.versions[version_id].activation_id or activation_id_of(version_id, 1)

    def expected() -> ExpectedPrimary:
        return Expect.ANYTHING if draw(st.booleans()) else state.primary

    others: dict[type[Command], Callable[[], Command]] = {
        Publish: lambda: Publish(version_id, draw(_claims)),
        Promote: lambda: Promote(version_id, expected()),
        Rollback: lambda: Rollback(expected()),
        Deactivate: lambda: Deactivate(version_id, expected()),
        Activate: lambda: Activate(version_id),
        CompleteActivation: lambda: CompleteActivation(version_id, activation_id),
        FailActivation: lambda: FailActivation(version_id, activation_id, "out of memory"),
        Delete: lambda: Delete(version_id, expected()),
        DeleteModel: DeleteModel,
        ClearPrimary: lambda: ClearPrimary(expected()),
    }
    return others[asked]()


@st.composite
def histories(
    draw: st.DrawFn,
    policy: Policy | None = None,
    *,
    workspace: str = "default",
    model_name: str = "model",
    commands_max: int = HISTORY_COMMANDS_MAX,
) -> list[tuple[Event, ...]]:
    """Make what could have happened under one name: appends, each a tuple of events; a deployment comes first.

    Args:
        draw: Hypothesis passes it.
        policy: the policy to decide by; any, if none is given.
        workspace: the workspace of the name.
        model_name: the name.
        commands_max: the most commands that are tried; those that record nothing leave no append.
            A quarter of them has an idempotency key.
    """
    rules = draw(policies()) if policy is None else policy
    state = ModelAggregate(stream_of(workspace, model_name), workspace, model_name)
    appends: list[tuple[Event, ...]] = []
    now_us = START_US
    for _ in range(draw(st.integers(1, commands_max))):
        command = draw(commands(state))
        now_us += draw(_passing_us)
        try:
            events = decide(state, command, rules, now_us, has_key=draw(_has_key))
        except VersioningError:
            continue
        for event in events:
            evolve(state, event)
        if events:
            appends.append(events)
    return appends


@st.composite
def recorded_logs(
    draw: st.DrawFn,
    policy: Policy | None = None,
    *,
    workspace: str = "default",
    model_names: tuple[str, ...] = ("model",),
    commands_max: int = HISTORY_COMMANDS_MAX,
) -> list[Recorded]:
    """Make logs that a registry could have recorded, of one name or of several, to fold projections with.

    Args:
        draw: Hypothesis passes it.
        policy: the policy to decide by; any, if none is given.
        workspace: the workspace of all names.
        model_names: the names; each has a history of its own, and they are merged in the order of time.
        commands_max: the most commands that are tried under each name.
    """
    logs = [
        recorded(
            *draw(histories(policy, workspace=workspace, model_name=name, commands_max=commands_max)),
            workspace=workspace,
            model_name=name,
        )
        for name in model_names
    ]
    return merged(*logs)
