"""Every rule, word and error code that a user can meet is explained, and every example runs."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import versioning
from tests.pages import matches, run_page
from versioning import InvalidArgumentError, ModelRegistry
from versioning.events import EVENTS
from versioning.output.explain import Explanation, explain, short_rules, subjects

PACKAGE = Path(versioning.__file__).parent
RULES = [f"R{number}" for number in range(1, 30)]
SUBJECTS = {one.word: one for one in subjects()}


def test_there_are_the_rules_in_order_and_then_words_and_codes() -> None:
    assert [one.word for one in subjects() if one.kind == "rule"] == RULES == list(short_rules())
    assert [one.kind for one in subjects()] == sorted(
        (one.kind for one in subjects()), key=["rule", "word", "error"].index
    )
    assert len(SUBJECTS) == len(subjects())


def test_every_rule_that_the_package_quotes_is_explained() -> None:
    source = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    assert set(re.findall(r"\bR[1-9][0-9]?\b", source)) - set(RULES) == set()


def test_every_event_is_explained() -> None:
    names = {event.__name__ for event in EVENTS.values()}
    assert {one.word for one in subjects() if one.kind == "word"} >= names


@pytest.mark.parametrize("one", subjects(), ids=lambda one: one.word)
def test_an_explanation_is_whole(one: Explanation) -> None:
    assert one.title
    assert one.text
    assert not one.title.endswith(".")
    assert "\n" not in one.title + one.what_to_do
    assert [word for word in one.see if explain(word).word not in SUBJECTS] == []
    if one.kind == "rule":
        assert one.example
        assert one.what_to_do
    assert one.to_dict()["see"] == list(one.see)
    for part in (one.title, one.text, one.what_to_do, *one.see):
        assert part in str(one)


@pytest.mark.parametrize("one", [one for one in subjects() if one.example], ids=lambda one: one.word)
def test_an_example_does_what_its_comments_say(one: Explanation) -> None:
    with ModelRegistry("memory:") as registry:
        names = {"registry": registry, **{name: getattr(versioning, name) for name in versioning.__all__}}
        moments = {"UTC": UTC, "datetime": datetime, "timedelta": timedelta}
        run_page(one.example, f"the example of {one.word}", {**names, **moments})


def test_a_page_that_is_wrong_is_noticed() -> None:
    run_page("print(1)  # 1\nprint('a\\nb')\n# a\n# b\nprint('ver_12')  # ver_…", "page", {})
    for wrong in ("print(1)  # 2", "print(1)", "print(1)\n# 2", "print('a\\nb')\n# a"):
        with pytest.raises(AssertionError, match="line 1"):
            run_page(wrong, "page", {})
    assert not matches("1.2", "112")


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ("r13", "R13"),
        (" R13 ", "R13"),
        ("Claim", "claim"),
        ("claims", "claim"),
        ("idempotency_key", "idempotency key"),
        ("idempotency-key", "idempotency key"),
        ("version_id", "version"),
        ("PrimaryMovedError", "primary-moved"),
    ],
)
def test_a_subject_is_found_however_it_is_written(asked: str, word: str) -> None:
    assert explain(asked).word == word


@pytest.mark.parametrize(
    ("asked", "near"),
    [("primry", "primary"), ("R2B", "R2"), ("primary moved eror", "primary-moved"), ("clam", "claim")],
)
def test_a_word_that_is_not_known_is_answered_with_similar_ones(asked: str, near: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        explain(asked)
    assert near in refused.value.to_dict()["suggestions"]
    assert near in refused.value.hint


@pytest.mark.parametrize("asked", ["", "R99", "qqqqqqqq", 13, None])
def test_what_is_like_nothing_is_answered_with_what_can_be_asked(asked: object) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        explain(asked)  # type: ignore[arg-type]
    assert "R13" in refused.value.hint or refused.value.to_dict()["suggestions"]
