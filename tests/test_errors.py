"""The error tree: by who must act, each with a code of its own, a sentence, a rule and a hint."""

import copy
import inspect
import json
import pickle
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from versioning import errors
from versioning.errors import (
    SHOWN_CHARACTERS_MAX,
    ConcurrencyError,
    InvalidArgumentError,
    InvalidInputError,
    ModelNotFoundError,
    NotFoundError,
    PrimaryMovedError,
    RefusedError,
    StorageError,
    TryAgainError,
    VersioningError,
    VersionNotActiveError,
    shown,
)
from versioning.testing import deploy, promote
from versioning.testing import given as story_given

ALL = [error for _, error in inspect.getmembers(errors, inspect.isclass) if issubclass(error, VersioningError)]
BRANCHES = (InvalidInputError, NotFoundError, RefusedError, TryAgainError, StorageError)
LEAVES = [error for error in ALL if error not in {VersioningError, *BRANCHES}]


def pickled(error: VersioningError) -> VersioningError:
    back = pickle.loads(pickle.dumps(error))  # noqa: S301 - we wrote it ourselves
    assert isinstance(back, VersioningError)
    return back


class Unreadable:
    def __repr__(self) -> str:
        msg = "no"
        raise RuntimeError(msg)


class Long:
    def __repr__(self) -> str:
        return "<Long\n  of\tmany\r\n lines>"


class TestTheTree:
    def test_each_code_is_one_errors_own(self) -> None:
        codes = [error.code for error in ALL]
        assert len(set(codes)) == len(codes)
        assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in codes)

    @pytest.mark.parametrize("error", LEAVES)
    def test_each_says_in_one_branch_who_must_act(self, error: type[VersioningError]) -> None:
        assert sum(issubclass(error, branch) for branch in BRANCHES) == 1
        assert error.__name__.endswith("Error")
        assert "code" in vars(error)

    @pytest.mark.parametrize("error", ALL)
    def test_each_says_what_it_is(self, error: type[VersioningError]) -> None:
        assert error.__doc__
        assert error.rule is None or re.fullmatch(r"R\d+", error.rule)
        assert 400 <= error.status < 600

    @pytest.mark.parametrize("error", LEAVES)
    def test_each_says_what_to_do_next(self, error: type[VersioningError]) -> None:
        assert error.hint_text.endswith(".")

    def test_who_must_act_is_told_over_http_too(self) -> None:
        assert [branch.status for branch in BRANCHES] == [422, 404, 409, 503, 500]


class TestWhatAnErrorTells:
    def test_its_sentence_its_rule_and_its_hint(self) -> None:
        error = VersionNotActiveError("0.2.0 of 'm' is inactive.", version_id="ver_1")
        assert str(error) == "0.2.0 of 'm' is inactive. [R8] Activate it first, and wait until it is active."
        assert (error.sentence, error.args) == ("0.2.0 of 'm' is inactive.", ("0.2.0 of 'm' is inactive.",))

    def test_without_a_rule_or_a_hint_only_its_sentence(self) -> None:
        assert str(VersioningError("limit is odd.")) == "limit is odd."

    def test_a_rule_and_a_hint_of_its_own(self) -> None:
        error = InvalidArgumentError("limit is odd.", rule="R25", hint="Pass an even one.", argument="limit")
        assert str(error) == "limit is odd. [R25] Pass an even one."
        assert InvalidArgumentError("limit is odd.").hint == InvalidArgumentError.hint_text != error.hint

    def test_its_facts_are_attributes(self) -> None:
        error = PrimaryMovedError("It moved.", expected="ver_a", actual=None)
        assert (error.expected, error.actual, error.facts) == ("ver_a", None, {"expected": "ver_a", "actual": None})

    def test_attributes_are_there_without_facts(self) -> None:
        assert PrimaryMovedError("It moved.").expected is None
        assert ModelNotFoundError("No.").suggestions == ()

    def test_as_a_problem_document_of_rfc_9457(self) -> None:
        error = PrimaryMovedError("It moved.", expected="ver_a", actual=None)
        assert error.to_dict() == {
            "type": "urn:model-versioning:error:primary-moved",
            "title": "The primary moved after the caller looked at it",
            "status": 409,
            "detail": "It moved.",
            "code": "primary-moved",
            "rule": "R22",
            "hint": "Look at the primary again, then decide again.",
            "expected": "ver_a",
        }

    @pytest.mark.parametrize("error", ALL)
    def test_every_problem_document_is_json_with_the_members_of_the_rfc(self, error: type[VersioningError]) -> None:
        written = error("So it is.", argument="x", suggestions=("a", "b")).to_dict()
        document = json.loads(json.dumps(written))
        assert document == written
        assert document["type"].startswith("urn:")
        assert document["title"]
        assert not document["title"].endswith(".")
        told = error.outside or "So it is."
        assert (document["status"], document["detail"], document["argument"]) == (error.status, told, "x")

    def test_a_class_without_a_docstring_has_no_title(self) -> None:
        bare = type("Bare", (VersioningError,), {"__doc__": None})
        assert bare("So it is.").to_dict()["title"] == ""

    def test_facts_of_a_refusal_do_not_hide_a_member_of_the_rfc(self) -> None:
        error = story_given(deploy("a")).when(promote("0.1.0")).error
        assert error is None
        refused = story_given(deploy("a"), deploy("b")).when(promote("a", expected_primary="b")).error
        assert refused is not None
        assert set(refused.facts).isdisjoint({"type", "title", "status", "detail", "instance", "code", "rule", "hint"})


class TestPickling:
    @pytest.mark.parametrize("error", ALL)
    @pytest.mark.parametrize("again", [pickled, copy.copy, copy.deepcopy])
    def test_an_error_crosses_processes_whole(
        self, error: type[VersioningError], again: Callable[[VersioningError], VersioningError]
    ) -> None:
        was = error("So it is.", rule="R99", hint="Do it.", version_id="ver_a", suggestions=("x",), position=3)
        now = again(was)
        assert type(now) is error
        assert (str(now), now.to_dict(), vars(now)) == (str(was), was.to_dict(), vars(was))
        assert (vars(now)["version_id"], vars(now)["position"]) == ("ver_a", 3)

    def test_without_facts_too(self) -> None:
        now = pickled(ConcurrencyError("Too many."))
        assert (str(now), now.rule) == (str(ConcurrencyError("Too many.")), "R22")


class TestShown:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ("a", "'a'"),
            ("it's", '"it\'s"'),
            ("caf\u00e9\n\u202e\ud800", r"'caf\xe9\n\u202e\ud800'"),
            (None, "None"),
            (1.5, "1.5"),
            (10**5000, "<int>"),
            (Unreadable(), "<Unreadable>"),
            (Long(), "<Long of many lines>"),
            ("x" * 200, "'" + "x" * (SHOWN_CHARACTERS_MAX - 2) + "…"),
            (["x" * 200], "['" + "x" * (SHOWN_CHARACTERS_MAX - 3) + "…"),
        ],
        ids=lambda value: ascii(value)[:20] if isinstance(value, str) else type(value).__name__,
    )
    def test_a_callers_value_on_one_line(self, value: object, text: str) -> None:
        assert shown(value) == text

    @given(st.text() | st.binary() | st.lists(st.text()))
    def test_never_longer_and_never_of_two_lines(self, value: object) -> None:
        assert len(shown(value)) <= SHOWN_CHARACTERS_MAX
        assert len(shown(value).splitlines()) == 1
