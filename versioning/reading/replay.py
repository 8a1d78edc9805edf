"""The log event by event: with the models before and after each event (`replayed`), or only what each one changed.

The law of this room: **nothing here decides or remembers anything.** The models before and after an event are those
that `at` gives at the positions around it.

To tell the effect of a new event: a case in `_turned`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

from versioning import laws
from versioning.aggregate import Model, ModelAggregate, Version
from versioning.events import Event, NothingChanged, PrimaryCleared, Recorded, Value, VersionPromoted, VersionPublished
from versioning.sentences import sentence_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


@attrs.frozen
class Replayed(Value):
    """One event, with the model before and after it."""

    recorded: Recorded
    """The event."""
    before: Model | None
    """Model before the event; None if there was no model with this name."""
    after: Model | None
    """Model after the event; None if there is no model with this name any more."""
    sentence: str
    """The event in words."""


def replayed(log: Iterable[Recorded], is_asked: Callable[[Recorded], bool], *, named: bool) -> Iterator[Replayed]:
    """Fold whole streams, oldest event first, and yield the events that are asked for.

    Args:
        log: events of one stream or of several, from their beginning.
        is_asked: returns whether an event is to be yielded.
        named: whether the sentences name the model.

    Raises:
        CorruptLogError: an event does not follow from those before it.
    """
    states: dict[str, ModelAggregate] = {}
    for recorded in log:
        state = _state_of(states, recorded)
        asked = is_asked(recorded)
        before = _model(state) if asked else None
        laws.apply(state, recorded)
        if asked:
            sentence = sentence_of(recorded, numbers_of(state), named=named)
            yield Replayed(recorded, before, _model(state), sentence)


def _state_of(states: dict[str, ModelAggregate], recorded: Recorded) -> ModelAggregate:
    """Return the state of an event's stream, an empty one before its first event."""
    state = states.get(recorded.stream)
    if state is None:
        state = states[recorded.stream] = ModelAggregate(recorded.stream, recorded.workspace, recorded.model_name)
    return state


def _model(state: ModelAggregate) -> Model | None:
    return state.model() if state.exists else None


def numbers_of(state: ModelAggregate) -> Callable[[str], str | None]:
    """Return a function from a version_id to its number, or to None if the version is not known."""
    known = state.versions
    return lambda version_id: known[version_id].number if version_id in known else None


# Event by event, without the models: what a log shows.

Axis: TypeAlias = Literal["model", "version", "stage", "status", "primary", "nothing"]
"""The part of a model that an event changes."""


@attrs.frozen
class Transition(Value):
    """One event and what it changed; unlike `Replayed`, it costs the same however many versions there are."""

    recorded: Recorded
    """The event."""
    what: Axis
    """Part of the model that it changed."""
    before: str | None
    """Stage, status, or number of the primary before the event; None if there was none."""
    after: str | None
    """Stage, status, or number of the primary after the event; None if there is none."""
    number: str | None
    """Number of the version that the event names."""
    primary: str | None
    """version_id that is primary after the event."""
    sentence: str
    """The event in words."""


def transitions(log: Iterable[Recorded], *, named: bool = True) -> Iterator[Transition]:
    """Fold whole streams, oldest event first, and yield what each event changed.

    Raises:
        CorruptLogError: an event does not follow from those before it.
    """
    states: dict[str, ModelAggregate] = {}
    for recorded in log:
        state = _state_of(states, recorded)
        version_id = recorded.version_id
        was = state.versions.get(version_id) if version_id else None
        laws.apply(state, recorded)
        number_of = numbers_of(state)
        what, before, after = _turned(recorded.event, was, state.versions.get(version_id or ""), number_of)
        number = None if version_id is None else number_of(version_id)
        sentence = sentence_of(recorded, number_of, named=named)
        yield Transition(recorded, what, before, after, number, state.primary, sentence)


def _turned(
    event: Event, was: Version | None, now: Version | None, number_of: Callable[[str], str | None]
) -> tuple[Axis, str | None, str | None]:
    """Return what an event changed, and its value before and after."""

    def number(version_id: str | None) -> str | None:
        return None if version_id is None else number_of(version_id) or version_id

    if isinstance(event, VersionPromoted | PrimaryCleared):
        return "primary", number(event.previous), number(getattr(event, "version_id", None))
    if isinstance(event, NothingChanged):
        return "nothing", None, None
    if now is None:
        return "model", "there", "deleted"
    if was is None:
        return "version", None, f"{now.stage}, {now.status}"
    if isinstance(event, VersionPublished):
        return "stage", was.stage, now.stage
    return "status", was.status, now.status
