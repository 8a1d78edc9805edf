"""Logs made of plain events, to fold projections with.

The law of this room: what it makes is shaped as a registry would have recorded it. Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from versioning.events import Event, ModelDeleted, NothingChanged, Recorded, VersionDeployed
from versioning.ids import stream_of


def recorded(
    *appends: Event | Sequence[Event],
    workspace: str = "default",
    model_name: str = "model",
    after: int = 0,
    actor: str | None = None,
) -> list[Recorded]:
    """Return the log that plain events of one name would leave, to fold projections with.

    Each argument is one append: an event, or a sequence of events that were recorded together. Positions continue from
    `after`, sequences begin at 1, and a deployment after a deletion begins a new life of the name. Each
    `NothingChanged` has a key of its own.
    """
    stream, log, generation, exists = stream_of(workspace, model_name), list[Recorded](), 0, False
    for append in appends:
        events = append if isinstance(append, Sequence) else (append,)
        first = len(log) + 1
        for index, event in enumerate(events):
            if isinstance(event, VersionDeployed) and not exists:
                generation, exists = generation + 1, True
            exists = exists and not isinstance(event, ModelDeleted)
            log.append(
                Recorded(
                    position=after + len(log) + 1,
                    sequence=len(log) + 1,
                    stream=stream,
                    workspace=workspace,
                    model_name=model_name,
                    generation=generation,
                    event=event,
                    actor=actor,
                    idempotency_key=f"key {first}" if isinstance(event, NothingChanged) else None,
                    command_id=f"{stream}.{first}",
                    index=index,
                    count=len(events),
                )
            )
    return log


def merged(*logs: Iterable[Recorded]) -> list[Recorded]:
    """Merge several logs into one, in the order of timestamps, with positions of its own; appends stay together."""
    appends: list[list[Recorded]] = []
    for log in logs:
        for fact in log:
            if fact.index == 0:
                appends.append([])
            appends[-1].append(fact)
    appends.sort(key=lambda append: append[0].event.at_us)
    facts = [fact for append in appends for fact in append]
    return [attrs.evolve(fact, position=position) for position, fact in enumerate(facts, 1)]
