"""TODO: what this room answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

from versioning.aggregate import Model, ModelAggregate, Version
from versioning.errors import CorruptLogError
from versioning.events import Event, PrimaryCleared, Recorded, VersionPromoted, VersionPublished
from versioning.sentences import sentence_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


@attrs.frozen
class Replayed:
    """One event, the model before and after it, and the event as a sentence."""

    recorded: Recorded
    before: Model | None
    """None where there was no model of this name."""
    after: Model | None
    """None where there is no model of this name any more."""
    sentence: str


def replayed(log: Iterable[Recorded], is_asked: Callable[[Recorded], bool], *, named: bool) -> Iterator[Replayed]:
    """Fold whole streams, oldest event first, and give those events that are asked for.

    Args:
        log: the events of one stream or of several, from their beginning.
        is_asked: says whether an event is to be given.
        named: whether the sentences name the model.

    Raises:
        CorruptLogError: an event does not follow from those before it.
    """
    states: dict[str, ModelAggregate] = {}
    for recorded in log:
        state = _state_of(states, recorded)
        asked = is_asked(recorded)
        before = _model(state) if asked else None
        evolve_checked(state, recorded)
        if asked:
            sentence = sentence_of(recorded, numbers_of(state), named=named)
            yield Replayed(recorded, before, _model(state), sentence)


def _state_of(states: dict[str, ModelAggregate], recorded: Recorded) -> ModelAggregate:
    """Give the state of the stream that an event is of, an empty one before the first."""
    state = states.get(recorded.stream)
    if state is None:
        state = states[recorded.stream] = ModelAggregate(recorded.stream, recorded.workspace, recorded.model_name)
    return state


def evolve_checked(state: ModelAggregate, recorded: Recorded) -> None:
    """Take one event in.

    Raises:
        CorruptLogError: it does not follow from those before it.
    """
    try:
        state.evolve(recorded.event, recorded.actor)
    except (LookupError, TypeError, ValueError) as error:
        msg = f"The event at position {recorded.position} does not follow from those before it."
        raise CorruptLogError(msg, position=recorded.position) from error


def _model(state: ModelAggregate) -> Model | None:
    return state.model() if state.exists else None


def numbers_of(state: ModelAggregate) -> Callable[[str], str | None]:
    """Give what says the number of a version_id, None where the version is not known."""
    known = state.versions
    return lambda version_id: known[version_id].number if version_id in known else None


# Event by event, without the models: what a log shows.

Axis: TypeAlias = Literal["model", "version", "stage", "status", "primary"]
"""What of a model an event changes."""


@attrs.frozen
class Transition:
    """One event, and what it made of what; unlike `Replayed` it costs the same however many versions there are."""

    recorded: Recorded
    what: Axis
    before: str | None
    """The stage, the status, or the number of the primary; None where there was none."""
    after: str | None
    number: str | None
    """Of the version that the event names."""
    primary: str | None
    """The version_id that is primary after it."""
    sentence: str


def transitions(log: Iterable[Recorded], *, named: bool = True) -> Iterator[Transition]:
    """Fold whole streams, oldest event first, and say of each event what it made of what.

    Raises:
        CorruptLogError: an event does not follow from those before it.
    """
    states: dict[str, ModelAggregate] = {}
    for recorded in log:
        state = _state_of(states, recorded)
        version_id = recorded.version_id
        was = state.versions.get(version_id) if version_id else None
        evolve_checked(state, recorded)
        number_of = numbers_of(state)
        what, before, after = _turned(recorded.event, was, state.versions.get(version_id or ""), number_of)
        number = None if version_id is None else number_of(version_id)
        sentence = sentence_of(recorded, number_of, named=named)
        yield Transition(recorded, what, before, after, number, state.primary, sentence)


def _turned(
    event: Event, was: Version | None, now: Version | None, number_of: Callable[[str], str | None]
) -> tuple[Axis, str | None, str | None]:
    """Say what an event made of what."""

    def number(version_id: str | None) -> str | None:
        return None if version_id is None else number_of(version_id) or version_id

    if isinstance(event, VersionPromoted | PrimaryCleared):
        return "primary", number(event.previous), number(getattr(event, "version_id", None))
    if now is None:
        return "model", "there", "deleted"
    if was is None:
        return "version", None, f"{now.stage}, {now.status}"
    if isinstance(event, VersionPublished):
        return "stage", was.stage, now.stage
    return "status", was.status, now.status
