"""How is a store filled quickly? By the rules and the format of the library, many events an append.

A version is three commands of one event each: deployed as a draft, published without a claim, promoted.
The first published one becomes primary by itself, so that its promotion records nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from versioning.aggregate import ModelAggregate
from versioning.commands import Deploy, Promote, Publish
from versioning.events import ArtifactRef, Meta
from versioning.ids import stream_of, version_id_of
from versioning.numbers import checked_bump
from versioning.rules import Policy, decide
from versioning.store.format import encode, link_of, stored_link

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from versioning.commands import Command
    from versioning.store.contract import Row, Store

START_US = 1_700_000_000_000_000
"""When every log begins: in November 2023."""
STEP_US = 1_000_000
TOGETHER = 1_000
"""How many models get their versions by turns, so that their events lie between each other."""
APPENDED = 5_000
METADATA = '{"accuracy":0.93,"dataset":"s3://data/2026-01","framework":"sklearn"}'
ARTIFACT = "s3://models/fraud/1"
ACTOR = "ada"
REASON = "the weekly training"


def names(count: int) -> list[str]:
    """Give the names of models."""
    return [name_of(number) for number in range(count)]


def name_of(number: int) -> str:
    """Give the name of one of them."""
    return f"model {number:06}"


def fill(
    store: Store,
    model_names: Sequence[str],
    versions: int,
    *,
    workspace: str = "default",
    step_us: int = STEP_US,
) -> int:
    """Append the versions of all models; give how many events that were."""
    waiting: list[Row] = []
    count = 0
    for first in range(0, len(model_names), TOGETHER):
        for row in _rows(
            model_names[first : first + TOGETHER], versions, workspace, START_US + count * step_us, step_us
        ):
            waiting.append(row)
            count += 1
            if len(waiting) == APPENDED:
                store.append(_following(waiting))
                waiting = []
    store.append(_following(waiting))
    return count


def _following(rows: Sequence[Row]) -> list[Row]:
    """Ask for the row before it only where that is not among these."""
    seen: set[str] = set()
    following = []
    for row in rows:
        following.append(row._replace(follows=None) if row.stream in seen else row)
        seen.add(row.stream)
    return following


def _rows(model_names: Sequence[str], versions: int, workspace: str, start_us: int, step_us: int) -> Iterator[Row]:
    policy, at_us, bump = Policy(), start_us, checked_bump("MINOR")
    states = [ModelAggregate(stream_of(workspace, name), workspace, name) for name in model_names]
    for ordinal in range(1, versions + 1):
        for place, state in enumerate(states):
            token = f"{place:08x}"
            ours = version_id_of(state.stream, ordinal, token)
            deploy = Deploy(ArtifactRef(ARTIFACT), token, bump, publish=False, promote=False, metadata=METADATA)
            commands: list[Command] = [deploy, Publish(ours, promote=False), Promote(ours)]
            for number, command in enumerate(commands):
                events = decide(state, command, policy, at_us)
                if not events:  # the first one was made primary by publishing it
                    continue
                meta = Meta(workspace, state.model_name, 1, f"{number:032x}", actor=ACTOR, reason=REASON)
                rows = encode(state.stream, state.sequence, state.link, events, meta)
                link = state.link.hex().encode()
                for event in events:
                    state.evolve(event, ACTOR)
                state.link = link_of(rows[-1].state)
                at_us += step_us * len(rows)
                for row in rows:
                    yield row._replace(follows=link if row.sequence > 1 else None)
                    link = stored_link(row.state)
