"""Which version an invocation gets: R24, as a function of a state.

The law of this room: **what a word means never depends on what is in the store.** `wanted_of` reads the words once and
looks at no state; `Wanted.find` finds the version in a state, or raises.

To add a form: a class with `find`, and its line in `wanted_of`.
"""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import attrs

from versioning.aggregate import Version
from versioning.errors import (
    InvalidArgumentError,
    NoPrimaryVersionError,
    VersionDeletedError,
    VersionNotActiveError,
    VersionNotFoundError,
    shown,
)
from versioning.ids import is_version_id
from versioning.numbers import Range, exact_number, parse_range, parts_of

if TYPE_CHECKING:
    from versioning.aggregate import ModelAggregate
    from versioning.numbers import Parts

PRIMARY: Final = "primary"
"""The one role that invocations follow."""


class Wanted(Protocol):
    """What an invocation asks of a model."""

    def find(self, state: ModelAggregate) -> Version:
        """Return the version that answers.

        Raises:
            NotFoundError: there is none.
            RefusedError: the version that is named exactly can't answer.
        """


@attrs.frozen
class ThePrimary:
    """Whatever is primary."""

    def find(self, state: ModelAggregate) -> Version:
        return primary_of(state)


@attrs.frozen
class TheNumber:
    """The version with exactly this number."""

    number: str

    def find(self, state: ModelAggregate) -> Version:
        return _answering(numbered(state, self.number))


@attrs.frozen
class TheVersion:
    """The version with this id."""

    version_id: str

    def find(self, state: ModelAggregate) -> Version:
        version = state.versions.get(self.version_id)
        if version is None:
            msg = f"{shown(state.model_name)} has no version {self.version_id}."
            raise VersionNotFoundError(msg, model_name=state.model_name, version_id=self.version_id)
        return _answering(version)


@attrs.frozen
class TheHighestIn:
    """The active published version with the highest number inside a range."""

    text: str
    inside: Range

    def find(self, state: ModelAggregate) -> Version:
        def number_of(version_id: str) -> Parts:
            return parts_of(state.versions[version_id].number)

        ours, inside = state.allocated, self.inside
        end = len(ours) if inside.high is None else bisect.bisect_right(ours, inside.high, key=number_of)
        for place in range(end - 1, -1, -1):
            number, candidate = number_of(ours[place]), state.versions[ours[place]]
            if number < inside.low:
                break
            if candidate.is_serving and inside(number):
                return candidate
        msg = f"No active published version of {shown(state.model_name)} is inside {shown(self.text)}."
        raise VersionNotFoundError(msg, model_name=state.model_name)


THE_PRIMARY: Final = ThePrimary()
VersionWanted: TypeAlias = str | Version | None
"""A number, a version_id, a range, `@primary`, or a Version; None for the primary."""


def wanted_of(version: object) -> Wanted:
    """Read what an invocation asks for, without looking at any state (R24).

    Raises:
        InvalidArgumentError: it is none of the forms.
    """
    if version is None:
        return THE_PRIMARY
    if isinstance(version, Version):
        return TheVersion(version.version_id)
    if not isinstance(version, str):
        msg = f"version is text, not {type(version).__name__}."
        raise InvalidArgumentError(msg, rule="R24", hint='For example "1.2.0" or "^1.2".', argument="version")
    text = str.__str__(version)
    if text == f"@{PRIMARY}":
        return THE_PRIMARY
    if is_version_id(text):
        return TheVersion(text)
    exact = exact_number(text)
    return TheHighestIn(text, parse_range(text)) if exact is None else TheNumber(exact)


def primary_of(state: ModelAggregate) -> Version:
    """Return the primary.

    Raises:
        NoPrimaryVersionError: the model has none.
    """
    if state.primary is None:
        msg = f"{shown(state.model_name)} has no primary version."
        raise NoPrimaryVersionError(msg, model_name=state.model_name)
    return state.versions[state.primary]


def numbered(state: ModelAggregate, number: str) -> Version:
    """Return the version of this life with a number, deleted or not.

    Raises:
        VersionNotFoundError: the number was never given.
    """
    version_id = state.by_number.get(number)
    if version_id is None:
        msg = f"{shown(state.model_name)} has no version {shown(number)}."
        raise VersionNotFoundError(msg, model_name=state.model_name)
    return state.versions[version_id]


def _answering(version: Version) -> Version:
    """R24: a version that is named exactly must be active; drafts answer too."""
    if version.status == "active":
        return version
    facts = {"version_id": version.version_id, "version_status": version.status}
    if version.status == "deleted":
        msg = f"{version.number} of {shown(version.model_name)} was deleted."
        raise VersionDeletedError(msg, **facts)
    msg = f"{version.number} of {shown(version.model_name)} is {version.status}, so it can't be invoked."
    raise VersionNotActiveError(msg, rule="R24", **facts)
