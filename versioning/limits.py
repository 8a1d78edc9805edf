"""What may come in: every argument is checked here, once, before anything is recorded (R4, R23, R28).

The law of this room: whatever is accepted is read back exactly, on every store. Anything else is refused with the name
of the argument, the rule and a hint. Nothing here looks at the state.

To add one: a function `checked_…` that returns the argument in its exact form, or raises.
"""

from __future__ import annotations

import contextlib
import json
import math
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from versioning.commands import Expect, ExpectedPrimary
from versioning.errors import InvalidArgumentError, InvalidNameError, shown
from versioning.events import microseconds_of
from versioning.ids import Bookmark, checked_version_id, looks_like_id, parse_bookmark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Set as AbstractSet

NAME_CHARACTERS_MAX: Final = 256
REASON_CHARACTERS_MAX: Final = 2_000
LABEL_CHARACTERS_MAX: Final = 200
"""Limit of actors, keys, correlations and workspaces."""
FAILURE_CHARACTERS_MAX: Final = 8_000
METADATA_BYTES_MAX: Final = 16_384
METADATA_DEPTH_MAX: Final = 8
INTEGER_MAX: Final = 2**63 - 1
"""Largest whole number that every store keeps."""
SECONDS_MAX: Final = 1_000_000_000
"""About thirty years. Clocks and locks of the platform accept no time that is much longer."""
CLOCK_SKEW_MAX_S: Final = 300
"""Seconds by which the last event of a stream may lie ahead of the clock, unless a registry says otherwise (R23)."""
MICROSECONDS: Final = 1_000_000
_COMPOSED_CHARACTERS_MAX: Final = 4
"""Largest number of characters that NFC can compose into one."""


def _refuse(argument: str, sentence: str, *, rule: str | None = "R28", hint: str = "") -> NoReturn:
    msg = f"{argument} {sentence}."
    raise InvalidArgumentError(msg, rule=rule, hint=hint, argument=argument)


def exact(value: object) -> object:
    """Return a text or number of a subclass as its plain value, whatever the subclass does to its methods.

    `str()` of a member of an enumeration of texts, for example, returns a different text.
    """
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int.__index__(value)
    return float.__float__(value) if isinstance(value, float) else value


def is_plain(text: str) -> bool:
    """Return whether a text is printable ASCII, as most are: then nothing else has to be checked."""
    return text.isascii() and text.isprintable()


def has_controls(text: str) -> bool:
    """Return whether a text has control characters (Unicode category Cc)."""
    if str.isascii(text):  # in ASCII, every unprintable character is a control character
        return not str.isprintable(text)
    return any(unicodedata.category(character) == "Cc" for character in text)


def has_lone_surrogates(text: str) -> bool:
    """Return whether a text has halves of surrogate pairs, which no encoding can hold."""
    try:
        str.encode(text)
    except UnicodeEncodeError:
        return True
    return False


def checked_name(name: object) -> str:
    """Return a model's name in NFC (R4).

    Raises:
        InvalidNameError: the name is malformed.
    """
    problem, hint = None, ""
    name = exact(name)
    if not isinstance(name, str):
        problem = f"must be text, not {type(name).__name__}"
    elif has_lone_surrogates(name):
        problem = "contains half of a surrogate pair"
    elif len(name) > NAME_CHARACTERS_MAX * _COMPOSED_CHARACTERS_MAX:
        problem = f"has {len(name)} characters; the limit is {NAME_CHARACTERS_MAX}"
    else:
        name = unicodedata.normalize("NFC", name)
        if not name.strip():
            problem = "is blank"
        elif len(name) > NAME_CHARACTERS_MAX:
            problem = f"has {len(name)} characters; the limit is {NAME_CHARACTERS_MAX}"
        elif has_controls(name):
            problem = "contains control characters"
        elif name != name.strip():
            problem = "begins or ends with white space"
        elif looks_like_id(name):
            problem, hint = "has the form of an id", "Pass the model's name: no model can have such a name."
        else:
            return name
    msg = f"A model's name {problem}: {shown(name)}."
    raise InvalidNameError(msg, hint=hint, argument="model_name")


def checked_text(
    value: object, argument: str, characters_max: int, *, controls: bool = False, blank: bool = True
) -> str:
    """Return a text within its limits (R28).

    Raises:
        InvalidArgumentError: it is of another type, too long, or contains control characters or half a surrogate pair.
    """
    if type(value) is str and len(value) <= characters_max and is_plain(value) and (blank or value.strip()):
        return value
    text = exact(value)
    if problem := text_problem(text, characters_max, controls=controls, blank=blank):
        hint = "{blank} if there is nothing to say." if problem == BLANK else ""
        _refuse(argument, problem, hint=hint)
    return cast("str", text)


def text_problem(value: object, characters_max: int, *, controls: bool = False, blank: bool = True) -> str | None:
    """Return what is wrong with a text, or None (R28).

    Args:
        value: what should be text.
        characters_max: the limit of its length.
        controls: whether it may have control characters, line breaks included.
        blank: whether it may consist of white space alone, or of nothing.
    """
    if not isinstance(value, str):
        return f"must be text, not {type(value).__name__}"
    if len(value) > characters_max:
        return f"has {len(value)} characters; the limit is {characters_max}"
    if has_lone_surrogates(value):
        return "contains half of a surrogate pair"
    if not controls and has_controls(value):
        return "contains control characters"
    return None if blank or value.strip() else BLANK


BLANK: Final = "is blank"
"""Problem of a text that consists of white space alone, or of nothing; that is not the same as leaving it out."""


def checked_workspace(value: object) -> str:
    """Return the name of a workspace."""
    return checked_text(value, "workspace", LABEL_CHARACTERS_MAX, blank=False)


def checked_actor(value: object) -> str | None:
    """Return the actor, if there is one."""
    return None if value is None else checked_text(value, "actor", LABEL_CHARACTERS_MAX, blank=False)


def checked_reason(value: object) -> str | None:
    """Return the reason, if there is one; it may have several lines."""
    if value is None:
        return None
    return checked_text(value, "reason", REASON_CHARACTERS_MAX, controls=True, blank=False)


def checked_key(value: object) -> str | None:
    """Return the idempotency key, if there is one."""
    return None if value is None else checked_text(value, "idempotency_key", LABEL_CHARACTERS_MAX, blank=False)


def checked_correlation(value: object) -> str | None:
    """Return the correlation, if there is one."""
    if value is None:
        return None
    return checked_text(value, "correlation_id", LABEL_CHARACTERS_MAX, controls=True, blank=False)


def checked_failure(value: object) -> str:
    """Return the failure text, cut and marked if it is too long (R15)."""
    if not isinstance(value, str):
        _refuse("error", f"must be text, not {type(value).__name__}", rule="R15")
    if has_lone_surrogates(value):
        _refuse("error", "contains half of a surrogate pair")
    text = str.__str__(value)  # as above
    return text if len(text) <= FAILURE_CHARACTERS_MAX else text[: FAILURE_CHARACTERS_MAX - 1] + "…"


def checked_flag(value: object, argument: str) -> bool:
    """Return a yes or no."""
    if isinstance(value, bool):
        return value
    _refuse(argument, f"must be True or False, not {shown(value)}", rule=None)


def checked_promote(promote: object, *, publish: bool) -> bool | None:
    """Return what the call says about the claim (R7)."""
    if promote is None:
        return None
    if checked_flag(promote, "promote") and not publish:
        _refuse("promote", "needs publish, because a draft can't be primary", rule="R7", hint="Pass {publish} as well.")
    return bool(promote)


def checked_progress(progress: object) -> None:
    """Check that progress can be reported to it."""
    if progress is not None and not callable(progress):
        sentence = f"must be a function of a word and two numbers, not {shown(progress)}"
        _refuse("progress", sentence, rule=None, hint="Pass progress=print, or leave it out.")


def checked_items(items: object, argument: str) -> Iterator[object]:
    """Return an iterator over the items; errors that it raises later are the caller's own."""
    if not isinstance(items, str | bytes | bytearray | memoryview | Mapping):
        with contextlib.suppress(Exception):  # a caller's object can fail in any way, and is then no iterable
            return iter(items)  # type: ignore[call-overload,no-any-return]
    _refuse(argument, f"must be an iterable of mappings, not {shown(items)}", rule=None, hint="Pass a list of dicts.")


def checked_members(given: object, required: AbstractSet[str], taken: AbstractSet[str]) -> dict[str, Any]:
    """Return a mapping from names to arguments as a dict of our own."""
    members: dict[str, Any] | None = None
    if isinstance(given, Mapping):
        with contextlib.suppress(Exception):  # the same
            members = dict(given)
    if members is None or not {*map(type, members)} <= {str}:
        _refuse("deployments", f"has an item that is not a mapping from names to arguments: {shown(given)}", rule=None)
    if not required <= members.keys() <= taken:
        hint = f"Required: {', '.join(sorted(required))}. Optional: {', '.join(sorted(taken - required))}."
        wrong = ", ".join(sorted((required - members.keys()) | (members.keys() - taken)))
        _refuse("deployments", f"has an item with missing or unknown arguments: {shown(wrong)}", rule=None, hint=hint)
    return members


def checked_expectation(value: object) -> ExpectedPrimary:
    """Return what the primary is expected to be (R22)."""
    if value is None or isinstance(value, Expect):
        return value
    return checked_version_id(value, "expected_primary")


def checked_position(value: object, argument: str) -> int:
    """Return a position, counted from 1; 0 stands before the first event."""
    value = exact(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= INTEGER_MAX:
        return value
    _refuse(argument, f"must be a position, a whole number from 0, not {shown(value)}", rule="R25")


def checked_place(value: object, argument: str) -> Bookmark:
    """Return a place in the log: a position, or the bookmark of an event."""
    if not isinstance(value, str):
        return Bookmark(checked_position(value, argument))
    place = parse_bookmark(str.__str__(value))
    if place is not None and place.position <= INTEGER_MAX:
        return place
    msg = f"{argument} is no position and no bookmark: {shown(value)}."
    raise InvalidArgumentError(msg, rule="R25", hint="A bookmark is what {bookmark} says.", argument=argument)


def checked_limit(value: object, argument: str = "limit") -> int | None:
    """Return the largest number of items wanted; None means all."""
    value = exact(value)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= INTEGER_MAX):
        return value
    _refuse(argument, f"must be a whole number from 0, or None, not {shown(value)}", rule=None)


def checked_seconds(value: object, argument: str) -> float:
    """Return a time above 0, in seconds."""
    value = exact(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= SECONDS_MAX:
        return float(value)
    _refuse(argument, f"must be above 0 and at most {SECONDS_MAX} seconds, not {shown(value)}", rule=None)


def checked_staleness(value: object) -> float:
    """Return how old an answer may be, in seconds; 0 allows no staleness."""
    value = exact(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= SECONDS_MAX:
        return float(value)
    sentence = f"must be 0 to {SECONDS_MAX} seconds, not {shown(value)}"
    _refuse("max_staleness_s", sentence, rule=None)


def checked_moment(value: object, argument: str) -> int:
    """Return an aware moment as microseconds since 1970 (R23)."""
    hint = "Use a moment with a time zone, for example {now}."
    if not isinstance(value, datetime):
        _refuse(argument, f"must be a datetime, not {shown(value)}", rule="R23", hint=hint)
    try:
        at_us = None if datetime.utcoffset(value) is None else microseconds_of(datetime.astimezone(value, UTC))
    except OverflowError:
        _refuse(argument, "must lie within the years 1 to 9999 in UTC", rule="R23", hint=hint)
    except Exception as error:  # noqa: BLE001 - a caller's time zone can fail in any way
        _refuse(argument, f"has a time zone that raises an error: {shown(error)}", rule="R23", hint=hint)
    if at_us is None:
        _refuse(argument, "has no time zone", rule="R23", hint=hint)
    return at_us


def checked_clock(value: object) -> Callable[[], datetime] | None:
    """Return the clock of a registry, if it has one of its own (R23)."""
    if value is None or callable(value):
        return cast("Callable[[], datetime] | None", value)
    hint = "Pass {clock}, or none."
    _refuse("clock", f"is a function without arguments, not {shown(value)}", rule="R23", hint=hint)


def checked_clock_skew(value: object) -> int:
    """Return how far the last event of a stream may lie ahead of the clock, in microseconds; None is no limit (R23)."""
    value = exact(value)
    if value is None:
        return INTEGER_MAX
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= SECONDS_MAX:
        return round(value * MICROSECONDS)
    sentence = f"must be 0 to {SECONDS_MAX} seconds, or None, not {shown(value)}"
    _refuse("clock_skew_max_s", sentence, rule="R23")


def checked_metadata(value: object) -> str:
    """Return metadata as canonical JSON: sorted keys, no white space, no escapes where none are needed.

    Raises:
        InvalidArgumentError: it is not a `dict` of JSON values, or exceeds the limits of R28.
    """
    if value is None:
        return "{}"
    if type(value) is not dict:
        _refuse("metadata", f"must be a dict, not {type(value).__name__}")
    _check_json(value, METADATA_DEPTH_MAX)
    text = _canonical(value)
    size_bytes = len(text.encode())
    if size_bytes > METADATA_BYTES_MAX:
        _refuse("metadata", f"has {size_bytes} bytes as JSON; the limit is {METADATA_BYTES_MAX}")
    return text


_encode: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def _canonical(value: object) -> str:
    try:
        return _encode(value)
    except ValueError:  # more digits than Python converts to text
        pass
    _refuse("metadata", "contains a number with too many digits")


def _check_json(value: object, depth_left: int) -> None:
    if type(value) is not dict and type(value) is not list:
        _check_plain(value)
        return
    if depth_left == 0:
        _refuse("metadata", f"is nested deeper than {METADATA_DEPTH_MAX} levels")
    if type(value) is dict:
        for key in value:
            if type(key) is not str:
                _refuse("metadata", f"contains a key that is not text: {shown(key)}")
            if not key.isascii():
                _check_plain(key)
    for item in value.values() if type(value) is dict else value:
        if type(item) is not str or not item.isascii():
            _check_json(item, depth_left - 1)


def _check_plain(value: object) -> None:
    if type(value) not in {str, float, int, bool, type(None)}:
        hint = "Use text, numbers, True, False, None, and lists and dicts of them."
        _refuse("metadata", f"contains a value of type {type(value).__name__}, which JSON can't represent", hint=hint)
    if isinstance(value, str) and has_lone_surrogates(value):
        _refuse("metadata", "contains half of a surrogate pair")
    if isinstance(value, float) and not math.isfinite(value):
        _refuse("metadata", "contains a number that is not finite")
