"""What may come in: every argument is looked at here, once, before anything is recorded (R4, R23, R28).

The law of this room: what is accepted is read back exactly, on every store; what can't be is refused with the
argument's name, the rule and a hint. Nothing here looks at the state.
"""

from __future__ import annotations

import contextlib
import json
import math
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NoReturn

from versioning.commands import Expect, ExpectedPrimary
from versioning.errors import InvalidArgumentError, InvalidNameError, shown
from versioning.events import microseconds_of
from versioning.ids import checked_version_id, looks_like_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

NAME_CHARACTERS_MAX: Final = 256
REASON_CHARACTERS_MAX: Final = 2_000
LABEL_CHARACTERS_MAX: Final = 200
"""Actors, keys, correlations and workspaces."""
FAILURE_CHARACTERS_MAX: Final = 8_000
METADATA_BYTES_MAX: Final = 16_384
METADATA_DEPTH_MAX: Final = 8
POSITION_MAX: Final = 2**63 - 1
SECONDS_MAX: Final = 1_000_000_000
"""About thirty years; clocks and locks take no time that is much longer."""
_COMPOSED_CHARACTERS_MAX: Final = 4
"""How many characters can become one in NFC."""


def _refuse(argument: str, sentence: str, *, rule: str | None = "R28", hint: str = "") -> NoReturn:
    msg = f"{argument} {sentence}."
    raise InvalidArgumentError(msg, rule=rule, hint=hint, argument=argument)


def exact(value: object) -> object:
    """Give a text or number of a derived class as what it is, whatever that class makes of its methods.

    `str()` of a member of an enumeration of texts, for example, is another text.
    """
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int.__index__(value)
    return float.__float__(value) if isinstance(value, float) else value


def is_plain(text: str) -> bool:
    """Say whether a text is printable ASCII, as most are: then there is nothing else to look for."""
    return text.isascii() and text.isprintable()


def has_controls(text: str) -> bool:
    """Say whether a text has control characters (Unicode's category Cc)."""
    if str.isascii(text):  # there, what can't be printed is a control character
        return not str.isprintable(text)
    return any(unicodedata.category(character) == "Cc" for character in text)


def has_lone_surrogates(text: str) -> bool:
    """Say whether a text has halves of surrogate pairs, which no encoding can hold."""
    try:
        str.encode(text)
    except UnicodeEncodeError:
        return True
    return False


def checked_name(name: object) -> str:
    """Give a model's name in NFC (R4).

    Raises:
        InvalidNameError: it has another form.
    """
    problem = None
    name = exact(name)
    if not isinstance(name, str):
        problem = f"is text, not {type(name).__name__}"
    elif has_lone_surrogates(name):
        problem = "has half of a surrogate pair"
    elif len(name) > NAME_CHARACTERS_MAX * _COMPOSED_CHARACTERS_MAX:
        problem = f"has {len(name)} characters, and {NAME_CHARACTERS_MAX} is the most"
    else:
        name = unicodedata.normalize("NFC", name)
        if not name.strip():
            problem = "is blank"
        elif len(name) > NAME_CHARACTERS_MAX:
            problem = f"has {len(name)} characters, and {NAME_CHARACTERS_MAX} is the most"
        elif has_controls(name):
            problem = "has control characters"
        elif name != name.strip():
            problem = "begins or ends with white space"
        elif looks_like_id(name):
            problem = "has the form of an id"
        else:
            return name
    msg = f"A model's name {problem}: {shown(name)}."
    raise InvalidNameError(msg, argument="model_name")


def checked_text(
    value: object, argument: str, characters_max: int, *, controls: bool = False, blank: bool = True
) -> str:
    """Give a text that is not too long (R28).

    Raises:
        InvalidArgumentError: another type, too long, control characters, half a surrogate pair.
    """
    if type(value) is str and len(value) <= characters_max and is_plain(value) and (blank or value.strip()):
        return value
    value = exact(value)
    if not isinstance(value, str):
        _refuse(argument, f"is text, not {type(value).__name__}")
    if len(value) > characters_max:
        _refuse(argument, f"has {len(value)} characters, and {characters_max} is the most")
    if has_lone_surrogates(value):
        _refuse(argument, "has half of a surrogate pair")
    if not controls and has_controls(value):
        _refuse(argument, "has control characters")
    if not blank and not value.strip():
        _refuse(argument, "is blank")
    return value


def checked_workspace(value: object) -> str:
    """Give the name of a workspace."""
    return checked_text(value, "workspace", LABEL_CHARACTERS_MAX, blank=False)


def checked_actor(value: object) -> str | None:
    """Give the actor, if there is one."""
    return None if value is None else checked_text(value, "actor", LABEL_CHARACTERS_MAX)


def checked_reason(value: object) -> str | None:
    """Give the reason, if there is one; it may have several lines."""
    return None if value is None else checked_text(value, "reason", REASON_CHARACTERS_MAX, controls=True)


def checked_key(value: object) -> str | None:
    """Give the idempotency key, if there is one."""
    return None if value is None else checked_text(value, "idempotency_key", LABEL_CHARACTERS_MAX, blank=False)


def checked_correlation(value: object) -> str | None:
    """Give the correlation, if there is one."""
    return None if value is None else checked_text(value, "correlation_id", LABEL_CHARACTERS_MAX, controls=True)


def checked_failure(value: object) -> str:
    """Give the failure text, cut with a mark where it is too long (R15)."""
    if not isinstance(value, str):
        _refuse("error", f"is text, not {type(value).__name__}", rule="R15")
    if has_lone_surrogates(value):
        _refuse("error", "has half of a surrogate pair")
    text = str.__str__(value)  # as above
    return text if len(text) <= FAILURE_CHARACTERS_MAX else text[: FAILURE_CHARACTERS_MAX - 1] + "…"


def checked_flag(value: object, argument: str) -> bool:
    """Give a yes or no."""
    if isinstance(value, bool):
        return value
    _refuse(argument, f"is True or False, not {shown(value)}", rule=None)


def checked_promote(promote: object, *, publish: bool) -> bool | None:
    """Give what the call says of the claim (R7)."""
    if promote is None:
        return None
    if checked_flag(promote, "promote") and not publish:
        _refuse("promote", "can't be True without publish=True", rule="R7", hint="Pass publish=True as well.")
    return bool(promote)


def checked_progress(progress: object) -> None:
    """See that whoever is told how far something has come can be called."""
    if progress is not None and not callable(progress):
        sentence = f"is a function of a word and two numbers, not {shown(progress)}"
        _refuse("progress", sentence, rule=None, hint="Pass progress=print, or none.")


def checked_items(items: object, argument: str) -> Iterator[object]:
    """Give the items of an iterable; what fails while it gives them is the caller's own."""
    if not isinstance(items, str | bytes | bytearray | memoryview | Mapping):
        with contextlib.suppress(Exception):  # a caller's object can fail in any way, and then it is none
            return iter(items)  # type: ignore[call-overload,no-any-return]
    _refuse(argument, f"is an iterable of mappings, not {shown(items)}", rule=None, hint="Pass a list of dicts.")


def checked_members(given: object, required: AbstractSet[str], taken: AbstractSet[str]) -> dict[str, Any]:
    """Give a mapping from names to arguments as a dict of its own."""
    members: dict[str, Any] | None = None
    if isinstance(given, Mapping):
        with contextlib.suppress(Exception):  # the same
            members = dict(given)
    if members is None or not {*map(type, members)} <= {str}:
        _refuse("deployments", f"has an item that is no mapping of names to arguments: {shown(given)}", rule=None)
    if not required <= members.keys() <= taken:
        hint = f"It has {', '.join(sorted(required))}, and may have {', '.join(sorted(taken - required))}."
        wrong = ", ".join(sorted((required - members.keys()) | (members.keys() - taken)))
        _refuse("deployments", f"has an item where these are missing or too much: {shown(wrong)}", rule=None, hint=hint)
    return members


def checked_expectation(value: object) -> ExpectedPrimary:
    """Give what the primary is expected to be (R22)."""
    if value is None or isinstance(value, Expect):
        return value
    return checked_version_id(value, "expected_primary")


def checked_position(value: object, argument: str) -> int:
    """Give a position, counted from 1; 0 stands before the first."""
    value = exact(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= POSITION_MAX:
        return value
    _refuse(argument, f"is a position, a whole number from 0, not {shown(value)}", rule="R25")


def checked_limit(value: object) -> int | None:
    """Give how many are wanted at the most; None is all."""
    value = exact(value)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= POSITION_MAX):
        return value
    _refuse("limit", f"is a whole number from 0, or None, not {shown(value)}", rule=None)


def checked_seconds(value: object, argument: str) -> float:
    """Give a time of more than nothing, in seconds."""
    value = exact(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= SECONDS_MAX:
        return float(value)
    _refuse(argument, f"is a time of more than 0 and at most {SECONDS_MAX} seconds, not {shown(value)}", rule=None)


def checked_staleness(value: object) -> float:
    """Give how old an answer may be, in seconds; 0 is not at all."""
    value = exact(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= SECONDS_MAX:
        return float(value)
    sentence = f"is a time of 0 to {SECONDS_MAX} seconds, not {shown(value)}"
    _refuse("max_staleness_s", sentence, rule=None)


def checked_moment(value: object, argument: str) -> int:
    """Give an aware moment in microseconds since 1970 (R23)."""
    hint = "Pass an aware datetime, for example datetime.now(timezone.utc)."
    if not isinstance(value, datetime):
        _refuse(argument, f"is a moment, not {shown(value)}", rule="R23", hint=hint)
    try:
        at_us = None if datetime.utcoffset(value) is None else microseconds_of(datetime.astimezone(value, UTC))
    except OverflowError:
        _refuse(argument, "is not within the years 1 to 9999 in UTC", rule="R23", hint=hint)
    except Exception as error:  # noqa: BLE001 - a caller's time zone can fail in any way
        _refuse(argument, f"has a time zone that fails: {shown(error)}", rule="R23", hint=hint)
    if at_us is None:
        _refuse(argument, "has no time zone", rule="R23", hint=hint)
    return at_us


def checked_metadata(value: object) -> str:
    """Give metadata as canonical JSON: sorted keys, no white space, in the characters themselves.

    Raises:
        InvalidArgumentError: not a `dict` of JSON values, or beyond the limits of R28.
    """
    if value is None:
        return "{}"
    if type(value) is not dict:
        _refuse("metadata", f"is a dict, not {type(value).__name__}")
    _check_json(value, METADATA_DEPTH_MAX)
    text = _canonical(value)
    size_bytes = len(text.encode())
    if size_bytes > METADATA_BYTES_MAX:
        _refuse("metadata", f"has {size_bytes} bytes as JSON, and {METADATA_BYTES_MAX} is the most")
    return text


_encode: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def _canonical(value: object) -> str:
    try:
        return _encode(value)
    except ValueError:  # more digits than Python turns into text
        pass
    _refuse("metadata", "has a number with too many digits")


def _check_json(value: object, depth_left: int) -> None:
    if type(value) is not dict and type(value) is not list:
        _check_plain(value)
        return
    if depth_left == 0:
        _refuse("metadata", f"is nested deeper than {METADATA_DEPTH_MAX}")
    if type(value) is dict:
        for key in value:
            if type(key) is not str:
                _refuse("metadata", f"has a key that is not text: {shown(key)}")
            if not key.isascii():
                _check_plain(key)
    for item in value.values() if type(value) is dict else value:
        if type(item) is not str or not item.isascii():
            _check_json(item, depth_left - 1)


def _check_plain(value: object) -> None:
    if type(value) not in {str, float, int, bool, type(None)}:
        hint = "Use text, numbers, True, False, None, and lists and dicts of them."
        _refuse("metadata", f"has a value of the type {type(value).__name__}, which JSON can't give back", hint=hint)
    if isinstance(value, str) and has_lone_surrogates(value):
        _refuse("metadata", "has half of a surrogate pair")
    if isinstance(value, float) and not math.isfinite(value):
        _refuse("metadata", "has a number that is not finite")
