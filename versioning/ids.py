"""How an id names its place: every id is an address, so nothing has to be looked up (R5).

`stream` is the SHA-256 of (workspace, name) cut to a UUID: the place of one model name in any store.

    ver_<stream>_<ordinal>_<token>              a version: the ordinal counts the name's deployments, over all its lives
    mdl_<stream>_<generation>                   a model: one life of the name
    act_<stream>_<ordinal>_<token>_<attempt>    one wait for a version's serving environment
    pos_<position>_<link>                       a bookmark: one event of one log, and so all before it in its stream

The token is 32 random bits that the registry draws for each deployment, so an id from another store is not found here.
The link is the first half of the event's own, so a bookmark of another log, or of one that was restored, is told apart.
All ids are URL-safe and at most 64 characters long.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple, TypeGuard

from versioning.errors import InvalidArgumentError, shown

ID_CHARACTERS_MAX = 64

_STREAM = r"[0-9a-f]{32}"
_COUNT = r"[1-9][0-9]*"
_TOKEN = r"[0-9a-f]{8}"  # noqa: S105 - a pattern, no secret
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""Each digit with its two upper bits set to 10, as a UUID has it in that place."""
_VERSION = re.compile(rf"ver_({_STREAM})_({_COUNT})_({_TOKEN})")
_MODEL = re.compile(rf"mdl_({_STREAM})_({_COUNT})")
_BOOKMARK = re.compile(rf"pos_({_COUNT})_({_STREAM})")
_ACTIVATION = re.compile(rf"act_({_STREAM})_({_COUNT})_({_TOKEN})_({_COUNT})")


class VersionAddress(NamedTuple):
    """The parts of a version_id."""

    stream: str
    ordinal: int
    token: str


class Bookmark(NamedTuple):
    """A place in a log: behind the event at a position."""

    position: int
    link: str = ""
    """First half of the event's link, as 32 hexadecimal digits; empty where only a position is known."""


class ModelAddress(NamedTuple):
    """The parts of a model_id."""

    stream: str
    generation: int


def stream_of(workspace: str, model_name: str) -> str:
    """Return the stream of a name in a workspace: 32 hexadecimal digits, those of a UUID of version 8."""
    space, name = workspace.encode(), model_name.encode()
    digits = hashlib.sha256(b"%d:%s%d:%s" % (len(space), space, len(name), name)).hexdigest()
    return f"{digits[:12]}8{digits[13:16]}{_VARIANT[digits[16]]}{digits[17:32]}"


def version_id_of(stream: str, ordinal: int, token: str) -> str:
    """Build the id of a version."""
    return f"ver_{stream}_{ordinal}_{token}"


def model_id_of(stream: str, generation: int) -> str:
    """Build the id of one life of a name."""
    return f"mdl_{stream}_{generation}"


def activation_id_of(version_id: str, attempt: int) -> str:
    """Build the id of a version's wait number `attempt`, counted from 1."""
    return f"act_{version_id[4:]}_{attempt}"


def bookmark_of(position: int, chain: str) -> str:
    """Build the bookmark of the event at a position, from its link as 64 hexadecimal digits."""
    return f"pos_{position}_{chain[:32]}"


def parse_bookmark(text: str) -> Bookmark | None:
    """Split a bookmark into its parts; return None if it is malformed."""
    found = _BOOKMARK.fullmatch(text) if len(text) <= ID_CHARACTERS_MAX else None
    return None if found is None else Bookmark(int(found[1]), found[2])


def stream_in(version_id: str) -> str:
    """Return the stream that a well-formed version_id holds."""
    return version_id[4:36]


def is_stream(value: object) -> TypeGuard[str]:
    """Return whether a value is text in the form of a stream."""
    return type(value) is str and re.fullmatch(_STREAM, value) is not None


def looks_like_id(text: object) -> bool:
    """Return whether a text has the form of one of our ids, which no name may have (R4)."""
    return (
        isinstance(text, str)
        and len(text) <= ID_CHARACTERS_MAX
        and text.startswith(("ver_", "mdl_", "act_", "pos_"))
        and any(form.fullmatch(text) for form in (_VERSION, _MODEL, _ACTIVATION, _BOOKMARK))
    )


def is_version_id(text: object) -> bool:
    """Return whether a text has the form of a version_id."""
    return isinstance(text, str) and len(text) <= ID_CHARACTERS_MAX and _VERSION.fullmatch(text) is not None


def parse_version_id(text: object) -> VersionAddress | None:
    """Split a version_id into its parts; return None if it is malformed."""
    if isinstance(text, str) and len(text) <= ID_CHARACTERS_MAX and (found := _VERSION.fullmatch(text)):
        return VersionAddress(found[1], int(found[2]), found[3])
    return None


def parse_model_id(text: object) -> ModelAddress | None:
    """Split a model_id into its parts; return None if it is malformed."""
    if isinstance(text, str) and len(text) <= ID_CHARACTERS_MAX and (found := _MODEL.fullmatch(text)):
        return ModelAddress(found[1], int(found[2]))
    return None


def checked_version_id(text: object, argument: str = "version_id") -> str:
    """Return a well-formed version_id as an exact `str`.

    Raises:
        InvalidArgumentError: it is malformed, for example a name or a number.
    """
    if not (isinstance(text, str) and is_version_id(text)):
        msg = f"{argument} is not the id of a version: {shown(text)}."
        hint = "A version_id starts with ver_; {number} finds a version by its number."
        raise InvalidArgumentError(msg, rule="R5", hint=hint, argument=argument)
    return str.__str__(text)  # str() of a (str, Enum) member would return its name


def checked_activation_id(text: object) -> str:
    """Return a well-formed activation_id, current or stale, as an exact `str` (R15).

    Raises:
        InvalidArgumentError: it is malformed.
    """
    if isinstance(text, str) and len(text) <= ID_CHARACTERS_MAX and _ACTIVATION.fullmatch(text):
        return str.__str__(text)  # a subclass of str could not be written to the log
    msg = f"activation_id is not the id of an activation: {shown(text)}."
    hint = "Answer with the activation_id that the version carries while it is activating."
    raise InvalidArgumentError(msg, rule="R15", hint=hint, argument="activation_id")
