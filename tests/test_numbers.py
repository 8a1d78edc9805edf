"""Numbers and ranges (R1, R2, R24)."""

import enum
import sys

import pytest
import semver
from hypothesis import given
from hypothesis import strategies as st

from versioning.errors import InvalidArgumentError, InvalidBumpError
from versioning.numbers import (
    FIRST_NUMBER,
    NUMBER_CHARACTERS_MAX,
    checked_bump,
    exact_number,
    next_number,
    parse_range,
    parts_of,
)

NUMBERS = [(major, minor, patch) for major in range(4) for minor in range(5) for patch in range(5)]


class TestBumps:
    """R2: bumps are exactly these three words (any case)."""

    @pytest.mark.parametrize(
        ("word", "bump"),
        [("MAJOR", "MAJOR"), ("minor", "MINOR"), ("Patch", "PATCH"), ("mInOr", "MINOR"), ("PATCH", "PATCH")],
    )
    def test_any_case(self, word: str, bump: str) -> None:
        assert checked_bump(word) == bump

    @pytest.mark.parametrize(
        "word",
        [
            "m\u0131nor",  # without a dot: its capital is I
            "M\u0130NOR",  # with a dot
            "\uff2d\uff29\uff2e\uff2f\uff32",  # full width
            "MINOR ",
            " MINOR",
            "MINOR\n",
            "MIN",
            "PRERELEASE",
            "",
            "0.1.0",
            b"MINOR",
            None,
            True,
            1,
            1.0,
            ["MINOR"],
            semver.Version(major=True),
        ],
        ids=ascii,
    )
    def test_anything_else_is_refused(self, word: object) -> None:
        with pytest.raises(InvalidBumpError) as refused:
            checked_bump(word)
        assert (refused.value.rule, refused.value.code) == ("R2", "invalid-bump")

    def test_a_word_of_an_enumeration_of_texts_is_a_word(self) -> None:
        bump = enum.Enum("bump", {"UP": "minor"}, type=str)
        assert checked_bump(bump.UP) == "MINOR"


class TestNextNumber:
    @pytest.mark.parametrize("bump", ["MAJOR", "MINOR", "PATCH"])
    def test_the_first_one_is_always_the_same(self, bump: str) -> None:
        assert next_number(None, checked_bump(bump)) == FIRST_NUMBER == "0.1.0"

    @pytest.mark.parametrize(
        ("highest", "bump", "number"),
        [
            ("0.1.0", "MINOR", "0.2.0"),
            ("0.1.0", "PATCH", "0.1.1"),
            ("0.1.0", "MAJOR", "1.0.0"),
            ("1.2.3", "MINOR", "1.3.0"),
            ("1.2.3", "MAJOR", "2.0.0"),
            ("1.2.9", "PATCH", "1.2.10"),
            ("9.9.9", "MAJOR", "10.0.0"),
        ],
    )
    def test_lower_parts_reset(self, highest: str, bump: str, number: str) -> None:
        assert next_number(highest, checked_bump(bump)) == number

    @given(st.sampled_from(NUMBERS), st.sampled_from(["MAJOR", "MINOR", "PATCH"]))
    def test_it_is_always_higher(self, parts: tuple[int, ...], bump: str) -> None:
        highest = ".".join(map(str, parts))
        number = next_number(highest, checked_bump(bump))
        assert parts_of(number) > parts_of(highest)
        assert semver.Version.parse(number) > semver.Version.parse(highest)


class TestExactNumber:
    @pytest.mark.parametrize(
        "text",
        ["0.1.0", "1.2.3", "10.20.30", "1.0.0-rc.1", "1.0.0+build.5", "9" * (NUMBER_CHARACTERS_MAX - 4) + ".0.0"],
    )
    def test_a_semantic_version_is_one(self, text: str) -> None:
        assert exact_number(text) == text

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "v1.2.3",
            "01.2.3",
            "1.02.3",
            "1.2.03",
            "-1.2.3",
            "1.2.3\n",
            " 1.2.3",
            "\u0661.\u0662.\u0663",  # Arabic digits
            "\uff11.2.3",  # a full-width digit
            "1.2.\u00b3",  # a superscript
            "=1.2.3",
            "latest",
            "9" * (NUMBER_CHARACTERS_MAX - 3) + ".0.0",
            "9" * (sys.int_info.default_max_str_digits + 1) + ".0.0",
        ],
    )
    def test_anything_else_is_none(self, text: str) -> None:
        assert exact_number(text) is None


class TestRanges:
    """R24: `^0.1` means `>=0.1.0,<0.2.0` (as in npm and Cargo), `~1.2.3` `>=1.2.3,<1.3.0`."""

    @pytest.mark.parametrize(
        ("text", "same_as"),
        [
            ("^1.2.3", ">=1.2.3,<2.0.0"),
            ("^1.2", ">=1.2.0,<2.0.0"),
            ("^1", ">=1.0.0,<2.0.0"),
            ("^0.2.3", ">=0.2.3,<0.3.0"),
            ("^0.1", ">=0.1.0,<0.2.0"),
            ("^0.0.3", ">=0.0.3,<0.0.4"),
            ("^0.0", ">=0.0.0,<0.1.0"),
            ("^0.0.0", ">=0.0.0,<0.0.1"),
            ("^0", ">=0.0.0,<1.0.0"),
            ("~1.2.3", ">=1.2.3,<1.3.0"),
            ("~1.2", ">=1.2.0,<1.3.0"),
            ("~1", ">=1.0.0,<2.0.0"),
            ("~0", ">=0.0.0,<1.0.0"),
            ("=1.2.3", ">=1.2.3,<1.2.4"),
            ("==1.2.3", ">=1.2.3,<1.2.4"),
            (">1.2", ">=1.3.0"),
            (">0", ">=1.0.0"),
            ("<=1.2", "<1.3.0"),
            ("<=1", "<2.0.0"),
            ("=0.2", ">=0.2.0,<0.3.0"),
            ("==1", ">=1.0.0,<2.0.0"),
            (">=1.2", ">=1.2.0"),
            ("<1.2", "<1.2.0"),
            (">1.2.3", ">=1.2.4"),
            ("<=1.2.3", "<1.2.4"),
            ("^1.2,!=1.3", "^1.2,!=1.3.0,!=1.3.1,!=1.3.2,!=1.3.3,!=1.3.4"),
            (" >= 1 , < 2 ", ">=1.0.0,<2.0.0"),
        ],
    )
    def test_it_means(self, text: str, same_as: str) -> None:
        inside, same = parse_range(text), parse_range(same_as)
        assert [number for number in NUMBERS if inside(number)] == [number for number in NUMBERS if same(number)]

    @pytest.mark.parametrize(
        ("text", "number", "inside"),
        [
            (">=1.2.0,<2.0.0", (1, 2, 0), True),
            (">=1.2.0,<2.0.0", (2, 0, 0), False),
            (">=1.2.0,<2.0.0", (1, 10, 0), True),
            (">1.2.0", (1, 2, 0), False),
            ("<=2.0.0", (2, 0, 0), True),
            ("!=1.3.0", (1, 3, 0), False),
            ("!=1.3.0", (1, 3, 1), True),
            ("^1.2,!=1.3.0", (1, 3, 0), False),
            ("^1.2,!=1.3.0", (1, 4, 0), True),
            (">=2,<1", (1, 5, 0), False),
        ],
    )
    def test_its_ends(self, text: str, number: tuple[int, int, int], inside: bool) -> None:
        assert parse_range(text)(number) is inside

    @pytest.mark.parametrize(
        "text",
        [
            "",
            ",",
            ">=1.2.0,",
            "1.2",
            "latest",
            "*",
            "1.x",
            ">=v1.2.0",
            ">=01.2",
            "^\u0661.\u0662",  # Arabic digits
            ">=\uff11",  # a full-width digit
            ">=1\u00b2",  # a superscript
            ">=1.2.0 <2.0.0",
            ">=1.2.0||<1.0.0",
            "^1.2.3-rc.1",
            ">=1.2.3.4",
            "^1.2\n",
            "^-1",
            ">=" + "9" * (sys.int_info.default_max_str_digits + 1),
            ",".join([">=1.2.0"] * 40),
        ],
    )
    def test_anything_else_is_refused_with_an_example(self, text: str) -> None:
        with pytest.raises(InvalidArgumentError, match="is neither a number, nor a range") as refused:
            parse_range(text)
        assert (refused.value.rule, refused.value.facts) == ("R24", {"argument": "version"})
        assert "^1.2" in refused.value.hint

    def test_the_longest_one(self) -> None:
        assert NUMBER_CHARACTERS_MAX == 256
        longest = ">=" + "9" * (NUMBER_CHARACTERS_MAX - 2)
        assert not parse_range(longest)((1, 0, 0))
