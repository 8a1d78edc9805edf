"""What changed: event by event (replay with the model before and after, transitions without), and between two pasts.

The law of this room: **nothing here decides or remembers anything**: the models before and after an event are what `at`
gives at the positions around it, and a difference is made of two answers, and of nothing else.

Moments are aware UTC, as everywhere.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import attrs

from versioning.sentences import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from versioning.aggregate import Model, Version

What: TypeAlias = Literal["model", "primary", "version", "stage", "status", "failure"]
"""What of a model is another than it was."""


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
