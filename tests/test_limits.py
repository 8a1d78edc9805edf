"""What may come in (R4, R7, R15, R22, R23, R25, R28)."""

import enum
import json
import math
import sys
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, TypeAlias

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from versioning import limits
from versioning.cli.words import WORDS
from versioning.commands import Expect
from versioning.errors import InvalidArgumentError, InvalidNameError, VersioningError, shown
from versioning.events import moment_of
from versioning.ids import activation_id_of, model_id_of, stream_of, version_id_of

VERSION = version_id_of(stream_of("default", "model"), 1, "00000000")
LONE = ["\ud800", "a\udfffb", "\udc00\ud800"]
"""Halves of surrogate pairs."""
CONTROLS = ["\x00", "a\tb", "a\nb", "a\x1fb", "\x7f", "a\x85b", "a\x9fb"]


class Words(str, enum.Enum):  # noqa: UP042 - this kind, whose str() is not its value, is what can come in
    ADA = "ada"


class Missing(tzinfo):
    """A time zone that knows no offset."""

    def utcoffset(self, _moment: datetime | None) -> timedelta | None:
        return None

    dst = utcoffset

    def tzname(self, _moment: datetime | None) -> str | None:
        return None


Check: TypeAlias = Callable[[Any], object]


def refusal(check: Callable[..., object], *arguments: object, **named: object) -> VersioningError:
    """The error with which a check refuses."""
    with pytest.raises(VersioningError) as refused:
        check(*arguments, **named)
    return refused.value


class TestR4Names:
    """1 to 256 characters then, no control characters, no leading or trailing white space, not blank, nothing that has
    the form of one of our ids."""

    @pytest.mark.parametrize(
        "name",
        [
            "a",
            "My wonderful model",
            "\u6a21\u578b",
            "\U0001f600",
            "a" * 256,
            "\U0001f600" * 256,
            "ver_1",
            "0.1.0",
            "a/b?c#d%",
            "caf\u00e9",
            "a\u200bb",
        ],
    )
    def test_a_good_name_stays_what_it_is(self, name: str) -> None:
        assert limits.checked_name(name) == name

    def test_it_is_brought_to_nfc(self) -> None:
        assert limits.checked_name("cafe\u0301") == "caf\u00e9"

    def test_characters_are_counted_after_composition(self) -> None:
        assert limits.checked_name("e\u0301" * 256) == "\u00e9" * 256
        assert limits.checked_name("\u03b1\u0313\u0300\u0345" * 256) == "\u1f82" * 256
        assert "257 characters" in refusal(limits.checked_name, "e\u0301" * 257).sentence
        assert "1200 characters" in refusal(limits.checked_name, "e\u0301" * 600).sentence
        assert "1025 characters" in refusal(limits.checked_name, "a" * 1025).sentence

    def test_composition_can_make_a_name_longer(self) -> None:
        assert unicodedata.normalize("NFC", "\ufb2c") == "\u05e9\u05bc\u05c1"
        assert len(limits.checked_name("\ufb2c" * 85)) == 255
        assert "258 characters" in refusal(limits.checked_name, "\ufb2c" * 86).sentence

    def test_no_character_is_composed_of_more_than_are_let_through(self) -> None:
        composed = (chr(point) for point in range(sys.maxunicode + 1) if unicodedata.decomposition(chr(point)))
        stable = (each for each in composed if unicodedata.is_normalized("NFC", each))
        assert max(len(unicodedata.normalize("NFD", each)) for each in stable) == limits._COMPOSED_CHARACTERS_MAX

    @pytest.mark.parametrize(
        ("name", "problem"),
        [
            ("", "is blank"),
            (" ", "is blank"),
            ("\u3000\u2003", "is blank"),
            ("\n", "is blank"),
            (" a", "white space"),
            ("a ", "white space"),
            ("a\u00a0", "white space"),
            ("\u2028a", "white space"),
            ("a" * 257, "257 characters"),
            (None, "not NoneType"),
            (7, "not int"),
            (b"a", "not bytes"),
            (VERSION, "form of an id"),
            (model_id_of(stream_of("default", "x"), 1), "form of an id"),
            (activation_id_of(VERSION, 1), "form of an id"),
            *((each, "surrogate") for each in LONE),
            *((f"a{each}b", "control characters") for each in CONTROLS),
        ],
        ids=ascii,
    )
    def test_a_bad_name_is_refused(self, name: object, problem: str) -> None:
        error = refusal(limits.checked_name, name)
        assert isinstance(error, InvalidNameError)
        assert problem in error.sentence
        assert (error.rule, error.facts) == ("R4", {"argument": "model_name"})
        assert str(error).isprintable()

    def test_an_id_in_the_place_of_a_name_is_told_from_a_name_that_is_too_long(self) -> None:
        assert refusal(limits.checked_name, VERSION).hint == "Pass the model's name: no model can have such a name."
        assert "1 to 256 characters" in refusal(limits.checked_name, "a" * 257).hint

    def test_a_name_of_another_class_becomes_plain_text(self) -> None:
        name = limits.checked_name(Words.ADA)
        assert (name, type(name)) == ("ada", str)

    @given(st.text(max_size=12))
    def test_what_is_accepted_is_accepted_again_and_stays(self, text: str) -> None:
        try:
            name = limits.checked_name(text)
        except InvalidNameError:
            return
        assert limits.checked_name(name) == name == unicodedata.normalize("NFC", text)


class TestR28Texts:
    """Reason 2,000, actor, keys, correlation and workspace 200. No control characters in names, actors and keys; no
    lone surrogates anywhere. What is accepted is read back exactly."""

    each_text = pytest.mark.parametrize(
        ("check", "argument"),
        [
            (limits.checked_workspace, "workspace"),
            (limits.checked_actor, "actor"),
            (limits.checked_key, "idempotency_key"),
            (limits.checked_correlation, "correlation_id"),
            (limits.checked_reason, "reason"),
        ],
    )

    @each_text
    def test_its_length_in_characters(self, check: Check, argument: str) -> None:
        most = 2000 if argument == "reason" else 200
        assert check("\U0001f600" * most) == "\U0001f600" * most
        error = refusal(check, "a" * (most + 1))
        assert (error.rule, error.facts) == ("R28", {"argument": argument})
        assert error.sentence == f"{argument} has {most + 1} characters; the limit is {most}."
        assert error.hint == InvalidArgumentError.hint_text

    @pytest.mark.parametrize("lone", LONE, ids=ascii)
    @each_text
    def test_no_lone_surrogates(self, check: Check, argument: str, lone: str) -> None:
        assert refusal(check, lone).sentence == f"{argument} contains half of a surrogate pair."

    @pytest.mark.parametrize("control", CONTROLS, ids=ascii)
    @each_text
    def test_control_characters_in_a_reason_and_a_correlation_only(
        self, check: Check, argument: str, control: str
    ) -> None:
        if argument in {"reason", "correlation_id"}:
            assert check(f"a{control}") == f"a{control}"
        else:
            assert refusal(check, control).sentence == f"{argument} contains control characters."

    @pytest.mark.parametrize("value", [7, True, b"a", ["a"], 1.5])
    @each_text
    def test_only_text(self, check: Check, argument: str, value: object) -> None:
        assert refusal(check, value).sentence == f"{argument} must be text, not {type(value).__name__}."

    @each_text
    def test_none_is_none_except_as_a_workspace(self, check: Check, argument: str) -> None:
        if argument == "workspace":
            assert refusal(check, None).sentence == "workspace must be text, not NoneType."
        else:
            assert check(None) is None

    @pytest.mark.parametrize("blank", ["", " ", "\u3000"], ids=ascii)
    @each_text
    def test_it_is_not_blank(self, check: Check, argument: str, blank: str) -> None:
        error = refusal(check, blank)
        assert (error.sentence, error.rule) == (f"{argument} is blank.", "R28")
        assert error.hint == "Leave it out if there is nothing to say."
        assert error.hint_in(WORDS).startswith("Is a variable of the shell unset?")

    @pytest.mark.parametrize("check", [limits.checked_reason, limits.checked_correlation])
    def test_line_breaks_alone_are_blank_too(self, check: Check) -> None:
        assert "is blank" in refusal(check, "\r\n\t").sentence

    @pytest.mark.parametrize("check", [limits.checked_workspace, limits.checked_actor, limits.checked_reason])
    def test_a_text_of_another_class_becomes_plain_text(self, check: Check) -> None:
        text = check(Words.ADA)
        assert (text, type(text)) == ("ada", str)

    def test_it_is_not_normalized(self) -> None:
        assert limits.checked_actor("cafe\u0301 ") == "cafe\u0301 "


class TestR15FailureTexts:
    """A failure text beyond its limit is cut, with a mark: an answer is never refused for its length."""

    def test_a_long_one_is_cut_with_a_mark(self) -> None:
        assert limits.checked_failure("a" * 8000) == "a" * 8000
        assert limits.checked_failure("a" * 8001) == "a" * 7999 + "…"
        assert len(limits.checked_failure("a" * 10**6)) == 8000

    def test_it_may_have_several_lines_and_be_empty(self) -> None:
        assert limits.checked_failure("Traceback:\n\t\x1b[31mred") == "Traceback:\n\t\x1b[31mred"
        assert limits.checked_failure("") == ""

    def test_it_is_text(self) -> None:
        assert refusal(limits.checked_failure, None).rule == "R15"
        assert refusal(limits.checked_failure, RuntimeError("x")).sentence == "error must be text, not RuntimeError."
        failure = limits.checked_failure(Words.ADA)
        assert (failure, type(failure)) == ("ada", str)

    @pytest.mark.parametrize("lone", [*LONE, "a" * 9000 + "\ud800"], ids=lambda lone: ascii(lone[-9:]))
    def test_no_lone_surrogates(self, lone: str) -> None:
        assert refusal(limits.checked_failure, lone).sentence == "error contains half of a surrogate pair."


class TestYesAndNo:
    @pytest.mark.parametrize("value", [0, 1, None, "True", 1.0])
    def test_only_true_and_false(self, value: object) -> None:
        assert refusal(limits.checked_flag, value, "publish").facts == {"argument": "publish"}
        assert limits.checked_flag(True, "publish") is True  # noqa: FBT003 - a value that comes in
        assert limits.checked_flag(False, "publish") is False  # noqa: FBT003 - the same

    @pytest.mark.parametrize(
        ("promote", "publish", "expected"),
        [(None, False, None), (None, True, None), (True, True, True), (False, True, False), (False, False, False)],
    )
    def test_promote_says_what_publishing_claims(self, promote: object, publish: bool, expected: object) -> None:
        assert limits.checked_promote(promote, publish=publish) is expected

    def test_promote_without_publish_is_an_error(self) -> None:
        error = refusal(limits.checked_promote, True, publish=False)  # noqa: FBT003 - a value that comes in
        assert (error.rule, error.facts) == ("R7", {"argument": "promote"})
        assert refusal(limits.checked_promote, 1, publish=True).facts == {"argument": "promote"}


class TestR22Expectations:
    def test_a_version_id_none_or_nothing_expected(self) -> None:
        assert limits.checked_expectation(VERSION) == VERSION
        assert limits.checked_expectation(None) is None
        assert limits.checked_expectation(Expect.ANYTHING) is Expect.ANYTHING

    @pytest.mark.parametrize("value", ["", "0.1.0", "anything", 1, False])
    def test_anything_else_is_refused(self, value: object) -> None:
        assert refusal(limits.checked_expectation, value).facts == {"argument": "expected_primary"}


class TestPositionsLimitsAndSeconds:
    @pytest.mark.parametrize("value", [0, 1, 2**63 - 1])
    def test_a_position_is_a_whole_number(self, value: int) -> None:
        assert limits.checked_position(value, "after") == value
        assert limits.checked_limit(value) == value

    @pytest.mark.parametrize("value", [-1, 2**63, 10**5000, True, False, 1.0, "1", math.nan], ids=shown)
    def test_anything_else_is_refused(self, value: object) -> None:
        assert refusal(limits.checked_position, value, "after").rule == "R25"
        assert refusal(limits.checked_limit, value).facts == {"argument": "limit"}

    def test_none_is_no_position_but_no_limit(self) -> None:
        assert limits.checked_limit(None) is None
        assert refusal(limits.checked_position, None, "after").facts == {"argument": "after"}

    @pytest.mark.parametrize("value", [1, 0.001, 5e-324, 10**9])
    def test_a_time_is_more_than_nothing(self, value: float) -> None:
        seconds = limits.checked_seconds(value, "poll_s")
        assert (seconds, type(seconds)) == (value, float)

    @pytest.mark.parametrize(
        "value", [0, -1, 0.0, -0.0, math.inf, math.nan, 10**9 + 1, 1e300, 10**400, True, "1", None]
    )
    def test_other_times_are_refused(self, value: object) -> None:
        assert refusal(limits.checked_seconds, value, "poll_s").facts == {"argument": "poll_s"}


class TestR23Moments:
    """Naive datetimes are an error."""

    @given(st.datetimes(timezones=st.timezones()))
    @example(datetime.max.replace(tzinfo=UTC))
    @example(datetime.min.replace(tzinfo=UTC))
    def test_an_aware_one_is_kept_to_the_microsecond(self, moment: datetime) -> None:
        try:
            moment.astimezone(UTC)
        except OverflowError:
            assert refusal(limits.checked_moment, moment, "start").rule == "R23"
        else:
            assert moment_of(limits.checked_moment(moment, "start")) == moment.astimezone(UTC)

    @pytest.mark.parametrize(
        "value",
        [
            datetime(2026, 1, 1),  # noqa: DTZ001 - a naive one is what is refused
            datetime(2026, 1, 1, tzinfo=Missing()),
            datetime(2026, 1, 1, tzinfo=UTC).date(),
            "2026-01-01",
            1767225600,
            None,
            datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
            datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
        ],
        ids=str,
    )
    def test_anything_else_is_refused(self, value: object) -> None:
        error = refusal(limits.checked_moment, value, "start")
        assert (error.rule, error.facts) == ("R23", {"argument": "start"})
        assert "datetime.now(timezone.utc)" in error.hint


def nested(depth: int, innermost: object = 0) -> dict[str, object]:
    """A dict of this depth, `{}` being 1."""
    value: dict[str, object] = {} if innermost == 0 else {"x": innermost}
    for _ in range(depth - 1):
        value = {"x": value}
    return value


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


class TestR28Metadata:
    """Metadata 16,384 bytes as compact UTF-8 JSON (finite numbers, depth 8, `{}` being 1, keys are strings)."""

    @given(st.dictionaries(st.text(max_size=5), JSON, max_size=3))
    def test_what_is_accepted_is_read_back_exactly(self, value: dict[str, object]) -> None:
        try:
            text = limits.checked_metadata(value)
        except InvalidArgumentError as error:
            assert "nested deeper" in error.sentence  # noqa: PT017 - the strategy seldom goes as deep
            return
        assert json.loads(text) == value
        assert limits.checked_metadata(json.loads(text)) == text

    def test_it_is_canonical(self) -> None:
        assert limits.checked_metadata({"b": 1, "a": [True, None, "é"]}) == '{"a":[true,null,"é"],"b":1}'
        assert limits.checked_metadata(None) == limits.checked_metadata({}) == "{}"

    def test_types_are_kept(self) -> None:
        value = {"a": 1, "b": 1.0, "c": True, "d": -0.0, "e": 1e300, "f": 2**70, "g": 10**300}
        back = json.loads(limits.checked_metadata(value))
        assert {key: repr(each) for key, each in back.items()} == {key: repr(each) for key, each in value.items()}

    def test_its_size_is_in_bytes(self) -> None:
        frame = len('{"x":""}')
        fits = limits.checked_metadata({"x": "é" * ((16_384 - frame) // 2)})
        assert len(fits.encode()) == 16_384
        error = refusal(limits.checked_metadata, {"x": "a" * (16_384 - frame + 1)})
        assert error.sentence == "metadata has 16385 bytes as JSON; the limit is 16384."

    def test_what_json_escapes_counts_as_escaped(self) -> None:
        assert limits.checked_metadata({"x": "\n"}) == '{"x":"\\n"}'
        assert refusal(limits.checked_metadata, {"x": "\x00" * 3000}).rule == "R28"

    def test_its_depth(self) -> None:
        assert json.loads(limits.checked_metadata(nested(8))) == nested(8)
        assert json.loads(limits.checked_metadata(nested(8, "leaf"))) == nested(8, "leaf")
        assert json.loads(limits.checked_metadata(nested(7, []))) == nested(7, [])
        for deeper in (nested(9), nested(8, []), nested(8, [1]), nested(5000)):
            assert refusal(limits.checked_metadata, deeper).sentence == "metadata is nested deeper than 8 levels."

    def test_one_that_holds_itself_is_nested_deeper(self) -> None:
        value: dict[str, object] = {}
        value["x"] = [value]
        assert "nested deeper" in refusal(limits.checked_metadata, value).sentence

    @pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
    def test_only_finite_numbers(self, number: float) -> None:
        assert (
            refusal(limits.checked_metadata, {"x": [number]}).sentence
            == "metadata contains a number that is not finite."
        )

    def test_only_numbers_that_python_writes(self) -> None:
        most = sys.get_int_max_str_digits()
        assert json.loads(limits.checked_metadata({"x": 10 ** (most - 1)})) == {"x": 10 ** (most - 1)}
        assert "too many digits" in refusal(limits.checked_metadata, {"x": -(10**most)}).sentence

    @pytest.mark.parametrize("key", [1, None, True, 1.5, b"a", Words.ADA, ("a",)], ids=str)
    def test_only_text_as_a_key(self, key: object) -> None:
        assert "a key that is not text" in refusal(limits.checked_metadata, {"x": {key: 1}}).sentence

    @pytest.mark.parametrize("value", [(1,), {1}, b"a", object(), datetime(2026, 1, 1, tzinfo=UTC), Words.ADA, 1j])
    def test_only_what_json_gives_back(self, value: object) -> None:
        error = refusal(limits.checked_metadata, {"x": [value]})
        assert f"of type {type(value).__name__}, " in error.sentence
        assert error.hint

    @pytest.mark.parametrize("value", [[], "{}", 1, [("a", 1)], type("Sub", (dict,), {})()], ids=repr)
    def test_only_a_dict(self, value: object) -> None:
        assert refusal(limits.checked_metadata, value).facts == {"argument": "metadata"}

    @pytest.mark.parametrize("lone", LONE, ids=ascii)
    def test_no_lone_surrogates(self, lone: str) -> None:
        for value in ({lone: 1}, {"x": lone}, {"x": [{"y": lone}]}):
            assert "surrogate" in refusal(limits.checked_metadata, value).sentence
