"""What a word on the command line names: a model, a version, a moment, an artifact.

The law of this room: **a word means one thing, whatever is in the store.** Nothing is looked up to find out what is
meant. A word that can't mean what is asked for is refused, with a hint that shows what to write instead.

    fraud               a model            fraud@0.2.0         a version, by its number
    mdl_…               a life of a model  fraud@primary       the version that answers
    ver_…               a version          fraud@^0.2          where a version is looked for: the best of a range

The last `@` counts, and only if one of these forms follows it: `team@fraud` is a name. An `@` at the end says that
everything before it is the name: `fraud@0.2.0@` is a model called "fraud@0.2.0". Ids contain no `@`.

To add a form of address: a line above, and a case of its test.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import zoneinfo
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from versioning.errors import (
    SHOWN_CHARACTERS_MAX,
    InvalidArgumentError,
    InvalidInputError,
    ModelNotFoundError,
    NotFoundError,
    shown,
    verbatim,
)
from versioning.ids import is_version_id
from versioning.numbers import exact_number, parse_range
from versioning.resolving import PRIMARY

if TYPE_CHECKING:
    from collections.abc import Iterator


_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.+|sha256:[0-9a-f]{64}", re.DOTALL)
_MONTH: Final = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")
_POSITION: Final = re.compile(r"(?:position:)?([0-9]{1,19})")
_YEAR: Final = re.compile(r"(?:19|20|21)[0-9]{2}")
"""Numbers that somebody could write for a year."""
_MONTHS: Final = 12
_YEAR_MAX: Final = 9999


@attrs.frozen
class Address:
    """Model or version that a word names."""

    name: str | None
    """Name or model_id of the model; None if a version_id implies it."""
    version: str | None
    """`primary`, a number, a range or a version_id; None if the model is meant."""


def parse_address(text: str) -> Address:
    """Split a word into a name and a version; any text is at least a name."""
    if is_version_id(text):
        return Address(None, text)
    name, at, version = text.rpartition("@")
    if at and (not version or version == PRIMARY or _names_numbers(version)):
        return Address(name, version or None)
    return Address(text, None)


def _names_numbers(text: str) -> bool:
    if exact_number(text) is not None:
        return True
    try:
        parse_range(text)
    except InvalidInputError:
        return False
    return True


def model_named(text: str) -> str:
    """Return the name or model_id that a word means if a model is expected.

    Raises:
        InvalidArgumentError: it names a version.
    """
    address = parse_address(text)
    if address.name is None or address.version is not None:
        msg = f"{shown(text)} names a version, and a model is expected."
        hint = "Write only the model's name. If the name itself ends like this, add an @ to it."
        raise InvalidArgumentError(msg, hint=hint, argument="model_name")
    return address.name


def explained(error: NotFoundError, text: str) -> NotFoundError:
    """Return an error that explains how to name a version, if the name has an @ and what follows may be a typo."""
    if parse_address(text) != Address(text, None) or "@" not in text:
        return error
    hint = f"What follows the @ is no version. Write @primary, @1.2.0 or @^1.2. {error.hint_text}"
    return type(error)(error.sentence, rule=error.rule, hint=hint, outside=error.outside, **error.facts)


@contextlib.contextmanager
def addressed(text: str) -> Iterator[None]:
    """Explain the name of a model that is not found, if it looks like a mistyped address."""
    try:
        yield
    except ModelNotFoundError as error:
        raise explained(error, text) from None


# Moments and positions.


def parse_moment(text: str, argument: str, *, hint: str = "") -> datetime:
    """Read an ISO moment with a time zone.

    Args:
        text: the word.
        argument: its name on the command line, for an error.
        hint: what else may stand there, for an error.

    Raises:
        InvalidArgumentError: the text is no moment, or has no time zone.
    """
    hint = f"Write 2026-01-31T14:03:00Z for {argument}, or an offset such as +01:00 in place of Z{hint}."
    how: dict[str, Any] = {"rule": "R23", "hint": hint, "argument": argument.lstrip("-").lower()}
    try:
        moment = datetime.fromisoformat(text)
        aware = moment.utcoffset() is not None
    except ValueError:
        msg = f"{argument} is not a moment: {shown(text)}."
        raise InvalidArgumentError(msg, **how) from None
    if not aware:
        msg = f"{argument} has no time zone: {shown(text)}."
        raise InvalidArgumentError(msg, **how)
    return moment


def parse_point(text: str, argument: str) -> int | datetime:
    """Read a position of the log, or a moment. A bare number that could be a year is neither, but `position:2025` is.

    Raises:
        InvalidArgumentError: the text is neither, or could be both.
    """
    if _YEAR.fullmatch(text):
        msg = f"{argument} could be the year {text} or position {text} of the log."
        hint = f"Write position:{text}, or a moment such as {text}-01-31T14:03:00Z."
        raise InvalidArgumentError(msg, rule="R25", hint=hint, argument=argument.lstrip("-").lower())
    if found := _POSITION.fullmatch(text):
        return int(found[1])
    return parse_moment(text, argument, hint="; or write a position of the log, as 42")


def parse_zone(text: str | None) -> tzinfo:
    """Return the time zone with a name such as `Europe/Berlin`; without one, UTC.

    Raises:
        InvalidArgumentError: this machine knows no such zone.
    """
    if text is None:
        return UTC
    try:
        return zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        msg = f"--tz is not a time zone that this machine knows: {shown(text)}."
    hint = "Write --tz Europe/Berlin, for example, or leave --tz out for UTC."
    if not zoneinfo.available_timezones():
        hint = "This machine has no time zones at all: install its package tzdata, or Python's (`pip install tzdata`)."
    raise InvalidArgumentError(msg, hint=hint, argument="tz")


def parse_place(text: str) -> int | str:
    """Read a position of the log, or leave a bookmark as it is."""
    found = _POSITION.fullmatch(text)
    return int(found[1]) if found else text


def parse_month(text: str, zone: tzinfo) -> tuple[datetime, datetime]:
    """Read a month as `2026-01`; return its start and its end.

    Raises:
        InvalidArgumentError: the text is no month.
    """
    found = _MONTH.fullmatch(text)
    if found is None or not 0 < int(found[1]) < _YEAR_MAX:
        msg = f"--month is not a month: {shown(text)}."
        raise InvalidArgumentError(msg, hint="Write --month 2026-01, or use --from and --to.", argument="month")
    return month_of(int(found[1]), int(found[2]), zone)


def month_of(year: int, month: int, zone: tzinfo) -> tuple[datetime, datetime]:
    """Return the start and the end of a month in a time zone; months in a row leave nothing out and share nothing.

    Each begins at midnight: at the first one, where the clocks go through it twice, and where they jump over it, at the
    moment of the jump. For every zone and month since 1900, that is what Python takes midnight for.
    """
    after = (year + 1, 1) if month == _MONTHS else (year, month + 1)
    return datetime(year, month, 1, tzinfo=zone), datetime(*after, 1, tzinfo=zone)


# Artifacts.


def artifact_named(text: str, *, is_reference: bool, name: str = "") -> str | Path:
    """Return a reference as text, or the path of a file whose contents are kept.

    A text with `scheme://`, or `sha256:` and a digest, is a reference. The name of an existing file is that file.
    Everything else is refused, so that a typo never becomes a reference to nothing.

    Args:
        text: the word.
        is_reference: whether any text counts as a reference.
        name: the word in the place of the model's name. If only that one could be an artifact, the two were swapped.

    Raises:
        InvalidArgumentError: the text is neither.
    """
    found = _artifact(text, is_reference=is_reference)
    if not isinstance(found, _NoArtifact):
        return found
    hint = found.hint
    if name and not isinstance(_artifact(name, is_reference=False), _NoArtifact):
        msg = f"{shown(name)} is the artifact, and stands in the place of the model's name."
        hint = f"Swap the two: `versioning deploy {verbatim(_word(text))} {verbatim(_word(name))}`."
        raise InvalidArgumentError(msg, hint=hint, argument="model_name")
    msg = f"{shown(text)} {found.problem}."
    raise InvalidArgumentError(msg, hint=hint, argument="model_or_reference")


@attrs.frozen
class _NoArtifact:
    problem: str
    hint: str = (
        "After the model's name, write a file, whose contents are kept, or a URI such as s3://bucket/model. "
        "--reference keeps any text as it is."
    )


def _artifact(text: str, *, is_reference: bool) -> str | Path | _NoArtifact:
    if is_reference or _SCHEME.fullmatch(text):
        return text
    path = Path(text)
    try:
        if path.is_file():
            return path
        if path.is_dir():
            return _NoArtifact("is a folder", "Pack it into one file first; --reference keeps its name alone.")
    except (OSError, ValueError):
        return _NoArtifact("can't be the name of a file")
    return _NoArtifact("is neither an existing file nor a URI")


def _word(text: str) -> str:
    """Return a word as a shell takes it, unless it is too long or too odd to repeat."""
    return shlex.quote(text) if text.isprintable() and len(text) <= SHOWN_CHARACTERS_MAX else "…"
