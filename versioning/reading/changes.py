"""What changed: event by event (replay with the model before and after, transitions without), and between two pasts.

The law of this room: **nothing here decides or remembers anything**: the models before and after an event are what `at`
gives at the positions around it, and a difference is made of two answers, and of nothing else.

Moments are aware UTC, as everywhere.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import attrs

from versioning.aggregate import Model, ModelAggregate, Version
from versioning.errors import CorruptLogError
from versioning.events import Event, PrimaryCleared, Recorded, VersionPromoted, VersionPublished
from versioning.sentences import plain, sentence_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

What: TypeAlias = Literal["model", "primary", "version", "stage", "status", "failure"]
"""What of a model is another than it was."""


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


# Between two pasts.


@attrs.frozen
class Change:
    """One thing that is not as it was."""

    model_name: str
    model_id: str
    what: What
    before: str | None
    """The value then: a number for `primary`, a model_id or version_id where something was or is there at all."""
    after: str | None
    """The value now."""
    sentence: str
    version_id: str | None = None
    """The version that it is about; None where it is about the model."""
    number: str | None = None


@attrs.frozen
class Difference:
    """What changed from one past to a later one, or to now, in the order of names and numbers."""

    then: int | datetime
    """The position or moment that was compared with."""
    now: int | datetime
    changes: tuple[Change, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """The changes, each in words."""
        return tuple(change.sentence for change in self.changes)


def changes_between(then: Iterable[Model], now: Iterable[Model]) -> tuple[Change, ...]:
    """Compare the models of two pasts; another life of a name is another model (R6)."""
    before, after = ({model.model_id: model for model in models} for models in (then, now))
    ids = sorted(before.keys() | after.keys(), key=lambda one: _place(before.get(one) or after[one]))
    return tuple(change for one in ids for change in _of_model(before.get(one), after.get(one)))


def _place(model: Model) -> tuple[str, int]:
    """Say where a model's changes stand: by name, an earlier life first."""
    return model.name, int(model.model_id.rpartition("_")[2])


def _of_model(before: Model | None, after: Model | None) -> Iterator[Change]:
    model = after or before
    assert model is not None  # noqa: S101 - what is compared was there then, or is there now
    name = plain(model.name)
    if before is None:
        yield Change(model.name, model.model_id, "model", None, model.model_id, f"{name} is new")
    if after is None:
        yield Change(model.name, model.model_id, "model", model.model_id, None, f"{name} was deleted")
    was, is_now = (None if one is None or one.primary is None else one.primary.number for one in (before, after))
    if was != is_now:
        said = f"the primary of {name} {_was_is(was, is_now)}"
        yield Change(model.name, model.model_id, "primary", was, is_now, said)
    then, now = ({one.version_id: one for one in held.versions} if held else {} for held in (before, after))
    for version_id in (*then, *(one for one in now if one not in then)):
        yield from _of_version(then.get(version_id), now.get(version_id))


def _of_version(before: Version | None, after: Version | None) -> Iterator[Change]:
    version = after or before
    assert version is not None  # noqa: S101 - as above
    of = f"{version.number} of {plain(version.model_name)}"

    def change(what: What, was: str | None, is_now: str | None, said: str) -> Change:
        name, number = version.model_name, version.number
        return Change(name, version.model_id, what, was, is_now, f"{of} {said}", version.version_id, number)

    if before is None:
        yield change("version", None, version.version_id, f"is new: {version.stage}, {version.status}")
    elif after is None:
        yield change("version", version.version_id, None, "was deleted")
    else:
        for what in _COMPARED:
            was, is_now = getattr(before, what), getattr(after, what)
            if was != is_now:
                yield change(what, was, is_now, _was_is(was, is_now) if what != "failure" else _failed(is_now))


_COMPARED: Final[tuple[Literal["stage", "status", "failure"], ...]] = ("stage", "status", "failure")


def _was_is(was: str | None, is_now: str | None) -> str:
    return f"was {was or 'none'} and is {is_now or 'none'}"


def _failed(failure: str | None) -> str:
    return "has no failed start any more" if failure is None else f"did not start ({plain(failure)})"


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
