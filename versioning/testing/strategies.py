"""Hypothesis strategies for what this library takes and gives: names, metadata, commands, histories, logs.

The law of this room: what a strategy gives is valid, by the limits and by the rules, and shrinks to the plainest of its
kind; for what is refused, tests name their own examples.

    @given(recorded_logs(Policy(losing_primary="refuse")))
    def test_my_projection_is_never_negative(log):
        assert MyProjection().fold(log).balance >= 0

To add one: a function that gives a strategy, and a test that what it gives is accepted.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any, Final

import attrs
from hypothesis import strategies as st

from versioning.aggregate import ModelAggregate, evolve
from versioning.commands import (
    Activate,
    Bump,
    Command,
    CompleteActivation,
    Deactivate,
    Delete,
    DeleteModel,
    Deploy,
    Expect,
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
from versioning.testing.given import merged, recorded
from versioning.testing.walks import POLICIES, START_US

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

HISTORY_COMMANDS_MAX: Final = 20
"""How many commands a history is made of at most, where nothing else is said."""
_passing_us: Final = st.sampled_from([1_000_000, 0, 1, 3_600_000_000, -60_000_000])
_claims: Final = st.sampled_from([None, True, False])
_BUMPS: Final[tuple[Bump, ...]] = ("MINOR", "MAJOR", "PATCH")


def names() -> SearchStrategy[str]:
    """Give names that a model can have, in NFC as they are stored (R4)."""
    text = st.text(
        st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=NAME_CHARACTERS_MAX
    )
    composed = text.map(lambda name: unicodedata.normalize("NFC", name.strip()).strip())
    return composed.filter(lambda name: 0 < len(name) <= NAME_CHARACTERS_MAX and not looks_like_id(name))


def metadata() -> SearchStrategy[dict[str, Any]]:
    """Give metadata that is accepted, and read back exactly (R28)."""
    text = st.text(st.characters(codec="utf-8"), max_size=20)
    numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    values: SearchStrategy[Any] = st.recursive(
        st.none() | st.booleans() | numbers | text,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
        max_leaves=6,
    )
    return st.dictionaries(text, values, max_size=4)


def bumps() -> SearchStrategy[str]:
    """Give the three words, in any case (R2)."""
    return st.sampled_from([*_BUMPS, "minor", "Major", "pAtCh"])


def policies() -> SearchStrategy[Policy]:
    """Give all that a policy can be, the default first."""
    return st.sampled_from(sorted(POLICIES, key=lambda policy: policy != Policy()))


def commands(state: ModelAggregate) -> SearchStrategy[Command]:
    """Give commands that make sense in a state, most of which the rules allow: on versions that are known, if any."""
    ordinal = len(state.versions) + 1
    artifact, token = ArtifactRef(f"memory:{ordinal}"), f"{ordinal:08x}"
    contents = (st.just({}) | metadata()).map(checked_metadata)
    drafts = st.builds(Deploy, st.just(artifact), st.just(token), st.sampled_from(_BUMPS), metadata=contents)
    published = drafts.flatmap(
        lambda draft: _claims.map(lambda claims: attrs.evolve(draft, publish=True, promote=claims))
    )
    if not state.versions:
        return drafts | published
    version_ids = st.sampled_from(list(state.versions))
    waits = version_ids.map(lambda one: (one, state.versions[one].activation_id or activation_id_of(one, 1)))
    expected = st.sampled_from([Expect.ANYTHING, state.primary])
    return st.one_of(
        drafts,
        published,
        st.builds(Publish, version_ids, _claims),
        st.builds(Promote, version_ids, expected),
        st.builds(Rollback, expected),
        st.builds(Deactivate, version_ids, expected),
        st.builds(Activate, version_ids),
        waits.map(lambda wait: CompleteActivation(*wait)),
        waits.map(lambda wait: FailActivation(*wait, error="out of memory")),
        st.builds(Delete, version_ids, expected),
        st.just(DeleteModel()),
    )


@st.composite
def histories(
    draw: st.DrawFn,
    policy: Policy | None = None,
    *,
    workspace: str = "default",
    model_name: str = "model",
    commands_max: int = HISTORY_COMMANDS_MAX,
) -> list[tuple[Event, ...]]:
    """Give what could have happened under one name: appends, each a tuple of events; a deployment comes first.

    Args:
        draw: Hypothesis passes it.
        policy: whose rules hold; any, if none is given.
        workspace: of the name.
        model_name: the name.
        commands_max: how many commands are tried at most; those that record nothing leave no append.
    """
    rules = draw(policies()) if policy is None else policy
    state = ModelAggregate(stream_of(workspace, model_name), workspace, model_name)
    appends: list[tuple[Event, ...]] = []
    now_us = START_US
    for _ in range(draw(st.integers(1, commands_max))):
        command = draw(commands(state))
        now_us += draw(_passing_us)
        try:
            events = decide(state, command, rules, now_us)
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
    """Give logs that a registry could have recorded, of one name or of several: what projections fold.

    Args:
        draw: Hypothesis passes it.
        policy: whose rules hold; any, if none is given.
        workspace: of all names.
        model_names: each has a history of its own, side by side in the order of time.
        commands_max: how many commands are tried at most under each name.
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
