r"""How an event is put into words: one English sentence, for a terminal, a page or a table (R26).

The law of this room: **whatever users wrote comes out as printable characters.** Each control, bidi or escape
character, line break and half of a surrogate pair is shown as its escape (`\x1b`, `\u202e`). Nothing else is changed,
and nothing is cut.

To add an event: its sentence here and its line in `_SENTENCES`; a test fails until every event has one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from versioning.events import (
    ModelDeleted,
    NothingChanged,
    PrimaryCleared,
    VersionActivated,
    VersionActivationFailed,
    VersionActivationRequested,
    VersionDeactivated,
    VersionDeleted,
    VersionDeployed,
    VersionPromoted,
    VersionPublished,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from versioning.events import Event, Recorded

NOBODY: Final = "somebody"
"""Subject of the sentence if no actor is known."""


def plain(text: str) -> str:
    """Return a text with every unprintable character as its escape; a space is printable."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


class _Words(NamedTuple):
    """Phrases that every sentence is built from."""

    number: Callable[[str], str]
    """Names a version."""
    model: str
    """Phrase for the model."""

    def before(self, previous: str | None) -> str:
        """Return the remark about the previous primary."""
        return " (was none)" if previous is None else f" (was {self.number(previous)})"


def sentence_of(recorded: Recorded, number_of: Callable[[str], str | None], *, named: bool = False) -> str:
    """Describe an event: "raj promoted 1.0.0 to primary (was 0.2.0): beats it on AUC".

    Args:
        recorded: the event to describe.
        number_of: returns the number of a version_id, or None if it is unknown.
        named: name the model too, for lists with events of several models.
    """
    name = plain(recorded.model_name)

    def number(version_id: str) -> str:
        said = plain(number_of(version_id) or version_id)
        return f"{said} of {name}" if named and version_id == recorded.version_id else said

    words = _Words(number, name if named else "the model")
    did = _SENTENCES[type(recorded.event)](words, recorded.event)
    who = NOBODY if recorded.actor is None or not recorded.actor.strip() else plain(recorded.actor)
    why = "" if recorded.reason is None or not recorded.reason.strip() else f": {plain(recorded.reason)}"
    return f"{who} {did}{why}"


_UNCLAIMING: Final = " without claiming the primary role"


def _deployed(words: _Words, event: VersionDeployed) -> str:
    number = words.number(event.version_id)
    deployed = f"deployed and published {number}" if event.published else f"deployed {number} as a draft"
    unclaiming = _UNCLAIMING if event.published and not event.claims else ""
    starting = "" if event.activation_id is None else "; it is starting"
    return f"{deployed}{unclaiming}{starting}"


def _published(words: _Words, event: VersionPublished) -> str:
    unclaiming = "" if event.claims else _UNCLAIMING
    return f"published {words.number(event.version_id)}{unclaiming}"


def _promoted(words: _Words, event: VersionPromoted) -> str:
    number, before = words.number(event.version_id), words.before(event.previous)
    if event.previous == event.version_id:
        return f"renewed the claim of {number}, the primary"
    return {
        "published": f"made {number} primary{before} because it was published",
        "requested": f"promoted {number} to primary{before}",
        "rollback": f"rolled back to {number}{before}",
        "fallback": f"made {number} primary{before} as the fallback",
        "default": f"made {number} primary{before} because there was no other",
    }[event.cause]


def _cleared(words: _Words, event: PrimaryCleared) -> str:
    on_purpose = " on purpose" if event.cause == "requested" else ""
    return f"left {words.model} without a primary{on_purpose}{words.before(event.previous)}"


def _failed(words: _Words, event: VersionActivationFailed) -> str:
    error = f" ({plain(event.error)})" if event.error.strip() else ""
    return f"reported that {words.number(event.version_id)} did not start{error}"


def _activated(words: _Words, event: VersionActivated) -> str:
    number = words.number(event.version_id)
    return f"activated {number}" if event.activation_id is None else f"reported that {number} is ready"


def _nothing(words: _Words, event: NothingChanged) -> str:
    if event.command == "clear_primary":
        return f"asked to clear the primary of {words.model}, which changed nothing"
    about = words.model if event.version_id is None else words.number(event.version_id)
    return f"asked to {event.command} {about}, which changed nothing"


_SENTENCES: Final[Mapping[type[Event], Callable[[_Words, Any], str]]] = {
    VersionDeployed: _deployed,
    VersionPublished: _published,
    VersionPromoted: _promoted,
    PrimaryCleared: _cleared,
    VersionDeactivated: lambda words, event: f"deactivated {words.number(event.version_id)}",
    VersionActivationRequested: lambda words, event: f"asked {words.number(event.version_id)} to start again",
    VersionActivated: _activated,
    VersionActivationFailed: _failed,
    VersionDeleted: lambda words, event: f"deleted {words.number(event.version_id)}",
    ModelDeleted: lambda words, _: f"deleted {words.model} with its last version",
    NothingChanged: _nothing,
}
