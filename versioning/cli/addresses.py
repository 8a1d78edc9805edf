"""What a word on the command line names: a model, a version, a moment, an artifact.

The law of this room: **a word means one thing, whatever is in the store.** Nothing is looked up to find out what is
meant; what a word can't mean is refused with a hint that shows what to write instead.

    fraud               a model            fraud@0.2.0         a version, by its number
    mdl_…               a life of a model  fraud@primary       the version that answers
    ver_…               a version          fraud@^0.2          where a version is looked for: the best of a range

The last `@` counts, and only where what follows it is one of these forms: `team@fraud` is a name. An `@` at the end
says that all before it is the name: `fraud@0.2.0@` is a model that is called "fraud@0.2.0". Ids hold no `@`.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from versioning.errors import InvalidArgumentError, InvalidInputError, NotFoundError, VersionNotFoundError, shown
from versioning.ids import parse_version_id
from versioning.numbers import exact_number, parse_range

if TYPE_CHECKING:
    from versioning.aggregate import Version
    from versioning.reading.questions import Questions

PRIMARY: Final = "primary"
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.+|sha256:[0-9a-f]{64}", re.DOTALL)
_MONTH: Final = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")
_POSITION: Final = re.compile(r"[0-9]{1,19}")
_MONTHS: Final = 12
_YEAR_MAX: Final = 9999


@attrs.frozen
class Address:
    """What a word names: a model, or a version of one."""

    name: str | None
    """The model's name or model_id; None where a version_id says it."""
    version: str | None
    """`primary`, a number, a range or a version_id; None where the model is meant."""

    @property
    def is_primary(self) -> bool:
        """Whether it names whatever answers now."""
        return self.version == PRIMARY


def parse_address(text: str) -> Address:
    """Take a word apart; any text is a name at least."""
    if parse_version_id(text) is not None:
        return Address(None, text)
    name, at, version = text.rpartition("@")
    if at and (not version or version == PRIMARY or parse_version_id(version) is not None or _names_numbers(version)):
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
    """Give the name or model_id that a word means where a model is asked for.

    Raises:
        InvalidArgumentError: it names a version.
    """
    address = parse_address(text)
    if address.name is None or address.version is not None:
        msg = f"{shown(text)} names a version, and a model is asked for."
        hint = "Write the model's name alone; where the name itself ends like this, add an @ behind it."
        raise InvalidArgumentError(msg, hint=hint, argument="model_name")
    return address.name


def version_named(questions: Questions, text: str) -> Version:
    """Find the one version that a word names, deleted or not.

    Raises:
        InvalidArgumentError: it names a model, or a range.
        NotFoundError: there is no such version.
    """
    address = parse_address(text)
    if address.version is None:
        msg = f"{shown(text)} names a model, and a version is asked for."
        hint = "Say which one: NAME@primary, NAME@1.2.0 or a version_id. `ls NAME` lists them."
        raise InvalidArgumentError(msg, rule="R5", hint=hint, argument="version_id")
    return _found(questions, address.name, address.version)


def _found(questions: Questions, name: str | None, version: str) -> Version:
    if parse_version_id(version) is not None:
        found = questions.version(version)
        if name is not None and found.model_name != unicodedata.normalize("NFC", name):
            msg = f"{shown(name)} has no version {version}."
            raise VersionNotFoundError(msg, version_id=version)
        return found
    assert name is not None  # noqa: S101 - only a version_id stands without a name
    if version == PRIMARY:
        return questions.resolve(name)
    if exact_number(version) is not None:
        return questions.version(name, number=version)
    msg = f"{shown(version)} is a range, and one version is asked for."
    hint = "`resolve` says which version a range gives; name that one."
    raise InvalidArgumentError(msg, rule="R24", hint=hint, argument="version_id")


def explained(error: NotFoundError, text: str) -> NotFoundError:
    """Say of a name with an @ that is not there how a version is named: what follows the @ may be a slip."""
    if parse_address(text) != Address(text, None) or "@" not in text:
        return error
    hint = f"What follows the @ is no version: write @primary, @1.2.0, @^1.2 or @ver_…. {error.hint}"
    return type(error)(error.sentence, rule=error.rule, hint=hint, **error.facts)


# Moments and positions.


def parse_moment(text: str, argument: str) -> datetime:
    """Read an ISO moment with a time zone.

    Raises:
        InvalidArgumentError: it is none, or has no time zone.
    """
    hint = "Write 2026-01-31T14:03:00Z, or with +01:00 in the place of Z."
    try:
        moment = datetime.fromisoformat(text)
        aware = moment.utcoffset() is not None
    except ValueError:
        msg = f"{argument} is not a moment: {shown(text)}."
        raise InvalidArgumentError(msg, rule="R23", hint=hint, argument=argument) from None
    if not aware:
        msg = f"{argument} has no time zone: {shown(text)}."
        raise InvalidArgumentError(msg, rule="R23", hint=hint, argument=argument)
    return moment


def parse_point(text: str, argument: str) -> int | datetime:
    """Read a position of the log, which is a whole number, or a moment.

    Raises:
        InvalidArgumentError: it is neither.
    """
    return int(text) if _POSITION.fullmatch(text) else parse_moment(text, argument)


def parse_month(text: str) -> tuple[datetime, datetime]:
    """Read a month as `2026-01`; give its start and its end in UTC.

    Raises:
        InvalidArgumentError: it is none.
    """
    found = _MONTH.fullmatch(text)
    if found is None or not 0 < int(found[1]) < _YEAR_MAX:
        msg = f"month is not a month: {shown(text)}."
        raise InvalidArgumentError(msg, hint="Write 2026-01, or use --from and --to.", argument="month")
    return month_of(int(found[1]), int(found[2]))


def month_of(year: int, month: int) -> tuple[datetime, datetime]:
    """Give the start and the end of a month in UTC."""
    after = (year + 1, 1) if month == _MONTHS else (year, month + 1)
    return datetime(year, month, 1, tzinfo=UTC), datetime(*after, 1, tzinfo=UTC)


# Artifacts.


def artifact_named(text: str, *, is_reference: bool) -> str | Path:
    """Give a reference as text, or the path of a file whose contents are to be kept.

    A text with `scheme://`, or `sha256:` and a digest, is a reference; the name of a file that is there is that file;
    whatever else is refused, so that a slip never becomes a reference to nothing.

    Raises:
        InvalidArgumentError: it is neither.
    """
    if is_reference or _SCHEME.fullmatch(text):
        return text
    path = Path(text)
    try:
        if path.is_file():
            return path
        problem = "is a folder" if path.is_dir() else "is neither a file that is there nor a URI"
    except (OSError, ValueError):
        problem = "can't be the name of a file"
    hint = (
        "Name a file, whose contents are kept, or a URI such as s3://bucket/model; --reference keeps any text as it is."
    )
    if problem == "is a folder":
        hint = "Pack it into one file first; or keep its name alone with --reference."
    msg = f"{shown(text)} {problem}."
    raise InvalidArgumentError(msg, hint=hint, argument="model_or_reference")
