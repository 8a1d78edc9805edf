"""Which number comes next, and which numbers a range names (R1, R2, R24).

Numbers are semantic versions with three parts. Only a `str` of at most 256 characters is ever parsed: `semver` accepts
floats and booleans as parts, and very long digits raise an error that is not its own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import semver

from versioning.errors import InvalidArgumentError, InvalidBumpError, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from versioning.commands import Bump

FIRST_NUMBER: Final = "0.1.0"
"""Number of the first version, whatever bump is asked for (R1)."""

NUMBER_CHARACTERS_MAX: Final = 256

_BUMPS: Final[dict[Bump, Callable[[Parts], Parts]]] = {
    "MAJOR": lambda parts: (parts[0] + 1, 0, 0),
    "MINOR": lambda parts: (parts[0], parts[1] + 1, 0),
    "PATCH": lambda parts: (parts[0], parts[1], parts[2] + 1),
}

Parts = tuple[int, int, int]

_PART = r"(?:0|[1-9][0-9]*)"
_COMPARATOR = re.compile(rf"(\^|~|>=|<=|==|!=|=|>|<)\s*({_PART})(?:\.({_PART}))?(?:\.({_PART}))?")
_PLAIN = re.compile(rf"{_PART}\.{_PART}\.{_PART}")


def checked_bump(bump: object) -> Bump:
    """Return one of the three words, given in any case (R2).

    Raises:
        InvalidBumpError: anything else.
    """
    if isinstance(bump, str) and bump.isascii():  # not every letter whose capital is I is an i
        for known in _BUMPS:
            if bump.upper() == known:
                return known
    msg = f"A version bump is MAJOR, MINOR or PATCH, not {shown(bump)}."
    raise InvalidBumpError(msg)


def next_number(highest: str | None, bump: Bump) -> str:
    """Bump the highest number ever allocated, or return the first one."""
    if highest is None:
        return FIRST_NUMBER
    return ".".join(map(str, _BUMPS[bump](parts_of(highest))))


def parts_of(number: str) -> Parts:
    """Split one of our own numbers into its parts."""
    major, minor, patch = number.split(".")
    return int(major), int(minor), int(patch)


def exact_number(text: str) -> str | None:
    """Return the number that a text names, or None if it is not a semantic version.

    A semantic version with a pre-release or build part is accepted, although such a number is never allocated.
    """
    if len(text) <= NUMBER_CHARACTERS_MAX and (_PLAIN.fullmatch(text) or semver.Version.is_valid(text)):
        return text
    return None


class Range(NamedTuple):
    """A test whether a number lies inside, and the bounds of those that can."""

    tests: tuple[Callable[[Parts], bool], ...]
    low: Parts
    high: Parts | None
    """Upper bound, inclusive like `low`; None for an open end."""

    def __call__(self, number: Parts) -> bool:
        """Return whether a number lies inside."""
        return all(test(number) for test in self.tests)


def parse_range(text: str) -> Range:
    """Parse a range such as `>=1.2.0,<2.0.0`, `^1.2` or `~1.2.3` (R24).

    All comparators of a comma-separated list must hold. One with parts left out is about all numbers that begin so:
    `=0.2` means `>=0.2.0,<0.3.0`, `<=0.2` `<0.3.0`, and `>0.2` `>=0.3.0`. `^` keeps the leftmost part that is not 0
    (`^0.1` means `>=0.1.0,<0.2.0`). `~` keeps the minor part, or the major part if only that is given.

    Raises:
        InvalidArgumentError: the text is malformed.
    """
    tests: list[Callable[[Parts], bool]] = []
    lows: list[Parts] = [(0, 0, 0)]
    highs: list[Parts] = []
    for item in text.split(",") if len(text) <= NUMBER_CHARACTERS_MAX else [text]:
        found = _COMPARATOR.fullmatch(item.strip(" "))
        if found is None or len(text) > NUMBER_CHARACTERS_MAX:
            msg = f"{shown(text)} is neither a number, nor a range, nor a version_id."
            hint = 'Name a version as "1.2.0", a version_id, ">=1.2.0,<2.0.0", "^1.2" or "~1.2.3".'
            raise InvalidArgumentError(msg, rule="R24", hint=hint, argument="version")
        sign, given = found[1], [int(part) for part in found.groups()[1:] if part is not None]
        number: Parts = (*given, 0, 0)[:3]  # type: ignore[assignment]
        end = _raised(number, _kept(sign, given))
        """First number behind all those that the comparator names."""
        if sign == "!=":
            tests.append(lambda tested, low=number, end=end: not low <= tested < end)  # type: ignore[misc]  # bound here
        if sign in _BOUNDED_BELOW:
            lows.append(end if sign == ">" else number)
            tests.append(lows[-1].__le__)
        if sign in _BOUNDED_ABOVE:
            highs.append(number if sign == "<" else end)
            tests.append(highs[-1].__gt__)
    return Range(tuple(tests), max(lows), min(highs, default=None))


_BOUNDED_BELOW: Final = frozenset({">=", ">", "=", "==", "^", "~"})
_BOUNDED_ABOVE: Final = frozenset({"<=", "<", "=", "==", "^", "~"})


def _kept(sign: str, given: list[int]) -> int:
    """Return the place of the last part that a range keeps."""
    if sign == "~":
        return min(len(given) - 1, 1)
    if sign != "^":
        return len(given) - 1
    return next((place for place, part in enumerate(given) if part), len(given) - 1)


def _raised(low: Parts, place: int) -> Parts:
    parts = [part if index < place else part + 1 if index == place else 0 for index, part in enumerate(low)]
    return parts[0], parts[1], parts[2]
