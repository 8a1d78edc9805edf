"""How a version is named: by its id, by the `Version` itself, or by an address (R5).

    ver_…               a version, by its id
    fraud@1.2.0         the version of the model fraud with this number
    fraud@primary       whatever is primary at the moment of the command

The law of this room: **what a word means never depends on what is in the store.** The last `@` splits, so a name may
hold others. An address is found in a state (`find`), and a command is decided on that very state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from versioning.aggregate import Version
from versioning.commands import Expect
from versioning.errors import InvalidArgumentError, VersionNotFoundError, shown
from versioning.ids import is_version_id
from versioning.limits import checked_name
from versioning.numbers import exact_number
from versioning.resolving import PRIMARY, numbered, primary_of

if TYPE_CHECKING:
    from versioning.aggregate import ModelAggregate

VersionNamed: TypeAlias = str | Version
"""A version_id, an address, or a Version."""
_HINT: Final = "Name it by {version}; {versions} lists them."


class Address(NamedTuple):
    """A version, named by its model and a word."""

    model_name: str
    """In NFC."""
    word: str
    """A number, or `primary`."""

    def __str__(self) -> str:
        return f"{self.model_name}@{self.word}"

    def find(self, state: ModelAggregate) -> Version:
        """Return the version of the living model that the word names; deleted numbers are found.

        Raises:
            NoPrimaryVersionError: `primary`, and there is none.
            VersionNotFoundError: the number was never given, or the word is neither a number nor a role.
        """
        if self.word == PRIMARY:
            return primary_of(state)
        return numbered(state, self.word)


def target_of(version: object, argument: str = "version_id") -> str | Address:
    """Read how a version is named: return its version_id, or an address that is still to be found in a state.

    Raises:
        InvalidArgumentError: it names no version.
        InvalidNameError: what stands before the last `@` can be no model's name.
    """
    if isinstance(version, Version):
        return version.version_id
    if not isinstance(version, str):
        msg = f"{argument} is a version_id, an address or a Version, not {shown(version)}."
        raise InvalidArgumentError(msg, rule="R5", hint=_HINT, argument=argument)
    text = str.__str__(version)  # an exact text: of another class, it could not be written
    if is_version_id(text):
        return text
    name, at, word = text.rpartition("@")
    if not at or not word:
        msg = f"{argument} names no version: {shown(text)}."
        raise InvalidArgumentError(msg, rule="R5", hint=_HINT, argument=argument)
    return Address(checked_name(name), word)


Expected: TypeAlias = str | Address | Expect | None
"""What the primary is expected to be: a version_id, an address with a number, none, or anything."""


def expected_of(version: object, argument: str = "expected_primary") -> Expected:
    """Read what the primary is expected to be (R22).

    Raises:
        InvalidArgumentError: it names no version, or names it by a role.
    """
    if version is None or isinstance(version, Expect):
        return version
    target = target_of(version, argument)
    if isinstance(target, Address) and exact_number(target.word) is None:
        msg = f"{argument} names a version by its number or its id, not {shown(str(target))}."
        hint = "Name the version that you saw by {seen}."
        raise InvalidArgumentError(msg, rule="R22", hint=hint, argument=argument)
    return target


def expected_in(state: ModelAggregate, expected: Expected) -> str | Expect | None:
    """Return the version_id that is expected to be primary; one of another model never is.

    Raises:
        VersionNotFoundError: the number was never given to this model.
    """
    if not isinstance(expected, Address):
        return expected
    if expected.model_name != state.model_name:
        return str(expected)
    if expected.word not in state.by_number:
        msg = f"{shown(state.model_name)} has no version {shown(expected.word)}."
        raise VersionNotFoundError(msg, model_name=state.model_name)
    return state.by_number[expected.word]
