"""The difference between two pasts of the same models (R25).

The law of this room: **a difference is made of two answers and of nothing else.** Nothing here decides anything, and
nothing is remembered. Moments are aware UTC.

To compare one more attribute of a version: its name in `_COMPARED` and in `What`.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import attrs

from versioning.events import Value
from versioning.ids import parse_model_id
from versioning.sentences import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from versioning.aggregate import Model, Version

What: TypeAlias = Literal["model", "primary", "version", "stage", "status", "failure"]
"""The part of a model that is not as it was."""


@attrs.frozen
class Change(Value):
    """One thing that changed between two pasts."""

    model_name: str
    model_id: str
    what: What
    """Part of the model that changed."""
    before: str | None
    """Value in the earlier past: a number for `primary`, an id for a `model` or `version` that is no longer there."""
    after: str | None
    """Value in the later past: a number for `primary`, an id for a `model` or `version` that was not there before."""
    sentence: str
    """The change in words."""
    version_id: str | None = None
    """Version that changed; None for a change of the model."""
    number: str | None = None
    """Number of the version that changed; None for a change of the model."""


@attrs.frozen
class Difference(Value):
    """Everything that changed from one past to a later one, or to the present."""

    then: int | datetime
    """Position or moment of the earlier past."""
    now: int | datetime
    """Position or moment of the later past."""
    changes: tuple[Change, ...]
    """Changes in the order of names and numbers."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """Changes in words."""
        return tuple(change.sentence for change in self.changes)


def changes_between(then: Iterable[Model], now: Iterable[Model]) -> tuple[Change, ...]:
    """Return the changes between the models of two pasts; another life of a name is another model (R6)."""
    before, after = ({model.model_id: model for model in models} for models in (then, now))
    ids = sorted(before.keys() | after.keys(), key=lambda one: _place(before.get(one) or after[one]))
    return tuple(change for one in ids for change in _of_model(before.get(one), after.get(one)))


def _place(model: Model) -> tuple[str, int]:
    """Return where a model's changes stand: by name, an earlier life first."""
    address = parse_model_id(model.model_id)
    assert address is not None  # noqa: S101 - it is the id of a model that was read
    return model.name, address.generation


def _of_model(before: Model | None, after: Model | None) -> Iterator[Change]:
    model = after or before
    assert model is not None  # noqa: S101 - a model that is compared was there then, or is there now
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
    return "no longer has a failed start" if failure is None else f"did not start ({plain(failure)})"
