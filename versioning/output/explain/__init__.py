"""What does a rule, a word or an error code mean?

The law of this room: **every rule that an error or a docstring quotes can be read by the user who met it.** Rules and
words are data: `rules.toml` and `glossary.toml`. What is known of an error is its own docstring and hint, so there is
no second list of errors.

To add a rule or a word: an entry in one of the two files. The tests run its example and look for what it refers to.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import tomllib
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import attrs

from versioning import errors
from versioning.errors import PYTHON, InvalidArgumentError, VersioningError, shown, worded
from versioning.events import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Kind: TypeAlias = Literal["rule", "word", "error"]

NEAR_MAX: Final = 3
"""Number of similar words that an error suggests."""
_NEAR_ENOUGH: Final = 0.6
"""Similarity from 0 to 1 that a suggestion needs: the default of difflib."""
_URN: Final = "urn:model-versioning:error:"
"""Beginning of the `type` in a problem document, so that it can be looked up as it stands there."""


@attrs.frozen
class Explanation(Value):
    """What is known about one rule, word or error code."""

    kind: Kind
    word: str
    """The rule's number, the word, or the error's code."""
    title: str
    """One line without a full stop."""
    text: str
    """Paragraphs, each on one line, with an empty line between them."""
    example: str = ""
    """Lines of Python on a registry; what a line prints, or the error that it raises, follows it as a comment."""
    what_to_do: str = ""
    """The next step for somebody who has just met it in an error."""
    see: tuple[str, ...] = ()
    """Other subjects that help to understand it."""

    def __str__(self) -> str:
        """The whole explanation as text for a terminal."""
        example = "\n".join(f"    {line}".rstrip() for line in self.example.splitlines())
        see = f"See also: {', '.join(self.see)}." if self.see else ""
        parts = (f"{self.word}: {self.title}", self.text, example, self.what_to_do, see)
        return "\n\n".join(part for part in parts if part)


def explain(word: str, words: Mapping[str, str] = PYTHON) -> Explanation:
    """Return what a rule (`R13`), a word (`claim`) or an error code (`primary-moved`) means.

    Case does not count, spaces, hyphens and underscores are alike, and an error is found by the name of its class too.

    Args:
        word: the rule, word or code.
        words: the face that the advice is worded for.

    Raises:
        InvalidArgumentError: nothing is known under this word; `suggestions` holds similar ones.
    """
    if not isinstance(word, str):
        msg = f"word must be text, not {type(word).__name__}."  # type: ignore[unreachable]  # a caller may pass anything
        raise InvalidArgumentError(msg, hint=_EXAMPLES, argument="word")
    known = _index()
    found = known.get(_key(word))
    if found is not None:
        return attrs.evolve(found, what_to_do=worded(found.what_to_do, words))
    near = difflib.get_close_matches(_key(word), known, NEAR_MAX, _NEAR_ENOUGH)
    suggestions = tuple(dict.fromkeys(known[one].word for one in near))
    hint = f"Did you mean {' or '.join(suggestions)}?" if suggestions else _EXAMPLES
    msg = f"There is no rule, word or error code {shown(word)}."
    raise InvalidArgumentError(msg, hint=hint, argument="word", suggestions=suggestions)


_EXAMPLES: Final = "Ask for a rule such as R13, a word such as claim, or an error code such as primary-moved."


def subjects(words: Mapping[str, str] = PYTHON) -> tuple[Explanation, ...]:
    """Return all explanations: the rules by number, then the words and the error codes in alphabetical order."""
    return tuple(attrs.evolve(one, what_to_do=worded(one.what_to_do, words)) for one in _everything())


def _key(word: str) -> str:
    """Return the form in which words are compared."""
    bare = word.strip().removeprefix(_URN).casefold()
    return "-".join(bare.replace("_", " ").replace("-", " ").split())


@functools.cache
def _everything() -> tuple[Explanation, ...]:
    words = sorted(_written("glossary.toml", "word"), key=lambda one: one.word.casefold())
    return (*_written("rules.toml", "rule"), *words, *sorted(_errors(), key=lambda one: one.word))


@functools.cache
def _index() -> dict[str, Explanation]:
    """Return every explanation under each spelling that finds it; what a subject is called itself comes first."""
    found = {_key(one.word): one for one in _everything()}
    for spelling, word in _spellings():
        found.setdefault(_key(spelling), found[_key(word)])
    return found


def _spellings() -> Iterator[tuple[str, str]]:
    for word, entry in _read("glossary.toml").items():
        yield from ((spelling, word) for spelling in entry.get("also", ()))
    yield from ((kind.__name__, kind.code) for kind in _kinds())


@functools.cache
def _read(name: str) -> dict[str, dict[str, Any]]:
    return tomllib.loads(resources.files(__name__).joinpath(name).read_text(encoding="utf-8"))


def _written(name: str, kind: Kind) -> Iterator[Explanation]:
    for word, entry in _read(name).items():
        yield Explanation(
            kind,
            word,
            entry["title"],
            _unwrapped(entry["text"]),
            entry.get("example", "").strip("\n"),
            _unwrapped(entry.get("what_to_do", "")),
            tuple(entry["see"]),
        )


def _kinds() -> list[type[VersioningError]]:
    found = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    return [kind for kind in found if issubclass(kind, VersioningError)]


def _errors() -> Iterator[Explanation]:
    """Explain each error from its own docstring, hint and rule."""
    kinds = _kinds()
    for kind in kinds:
        title, _, rest = inspect.cleandoc(kind.__doc__ or "").partition("\n")
        raised_as = f"Raised as {kind.__name__}; over HTTP it is a {kind.status}."
        text = "\n\n".join(part for part in (_unwrapped(rest), raised_as) if part)
        below = sorted(child.code for child in kinds if kind in child.__bases__)
        see = (kind.rule,) if kind.rule else tuple(below)
        yield Explanation("error", kind.code, title.rstrip("."), text, "", kind.hint_text, see)


def _unwrapped(text: str) -> str:
    """Join the lines of each paragraph, so that a face can wrap them to its own width."""
    return "\n\n".join(" ".join(part.split()) for part in text.strip().split("\n\n"))


def short_rules() -> dict[str, str]:
    """Return each rule in one sentence, as README.md lists them."""
    return {number: entry["short"] for number, entry in _read("rules.toml").items()}
