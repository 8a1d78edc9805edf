"""Does this fact follow from the state before it? This is the one place that answers.

The law of this room: **what can't have been recorded after the events before it is found here**, and named by its
position, because a log is read as it is, and `evolve` never refuses. The cache, the kept views, answers as of a past,
replay, verification, import and the test kit all fold through here.

There are two doors. `apply` asks of every fact what the fold itself has to know, for everybody. `broken` asks besides
whether the rules could have recorded it (SPEC, section 3): verification and import ask, once for each event, whatever
policy the log was recorded under.

To add a law: a line in `apply` or in `broken`, with a log that breaks it in the tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from versioning.errors import CorruptLogError
from versioning.events import (
    ModelDeleted,
    NothingChanged,
    PrimaryCleared,
    VersionActivated,
    VersionActivationFailed,
    VersionActivationRequested,
    VersionDeployed,
    VersionPromoted,
    VersionPublished,
)
from versioning.numbers import parts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from versioning.aggregate import ModelAggregate, Version
    from versioning.events import Event

    class Fact(Protocol):
        """An event of a stream, as it was read from the log."""

        @property
        def position(self) -> int: ...
        @property
        def stream(self) -> str: ...
        @property
        def sequence(self) -> int: ...
        @property
        def workspace(self) -> str: ...
        @property
        def model_name(self) -> str: ...
        @property
        def event(self) -> Event: ...
        @property
        def actor(self) -> str | None: ...
        @property
        def chain(self) -> str: ...

    class Placed(Fact, Protocol):
        """The same with its place in its append and the key of its command."""

        @property
        def generation(self) -> int: ...
        @property
        def idempotency_key(self) -> str | None: ...
        @property
        def index(self) -> int: ...
        @property
        def ends_append(self) -> bool: ...


UNFOLDABLE: Final = (LookupError, TypeError, ValueError)
"""What a fold raises when an event names what the state has not got."""


def apply(state: ModelAggregate, fact: Fact) -> None:
    """Fold the next fact of a stream into its state, but for its link; the first one names the model.

    Raises:
        CorruptLogError: a fact is missing before it, it names another model, or it does not follow.
    """
    if fact.sequence != state.sequence + 1:
        raise missing(state.sequence + 1, fact.stream, fact.position)
    if fact.model_name != state.model_name or fact.workspace != state.workspace:
        if state.sequence:
            raise misnamed(fact.sequence, fact.stream, fact.position)
        state.workspace, state.model_name = fact.workspace, fact.model_name
    try:
        state.evolve(fact.event, fact.actor)
    except UNFOLDABLE as error:
        raise unfoldable(fact.position) from error


def fold(state: ModelAggregate, facts: Iterable[Fact]) -> None:
    """Apply facts that follow each other, oldest first; the link of the last one is the state's.

    Nothing of the state may be handed out until this returns, as versions are changed in place.

    Raises:
        CorruptLogError: as `apply`; what was folded before stays folded.
    """
    chain: str | None = None
    state.begin_folding()
    try:
        for fact in facts:
            apply(state, fact)
            chain = fact.chain
    finally:  # also where a fact can't be read: the link is always that of the sequence
        state.end_folding()
        if chain is not None:
            state.link = bytes.fromhex(chain)


def broken(state: ModelAggregate, fact: Placed, led_by: str | None) -> str | None:
    """Return which rule an event breaks, as what is said of the event; None where the rules could have recorded it.

    What the fold itself refuses (see `apply`) is not looked for, so an event that changes an unknown version passes.

    Args:
        state: what the events before it fold to.
        fact: the event, with its place in its append.
        led_by: the version that was primary before its append, or None.
    """
    event = fact.event
    if event.at_us < state.last_at_us:
        return "is earlier than the one before it (R23)"
    if not state.exists and not isinstance(event, VersionDeployed):
        return "is about a model that is not there"
    if fact.generation != state.generation + (not state.exists):
        return "belongs to another life of its name"
    if isinstance(event, VersionPromoted | PrimaryCleared) and event.previous != led_by:
        return "names another version than the one that was primary before (R12)"
    return _LAWS.get(type(event), _of_version)(state, event, fact)


def unended(state: ModelAggregate) -> str | None:
    """Return which rule an append breaks with its last event, as what is said of that event, or None."""
    return "leaves a model without a version (R17)" if state.exists and not state.left else None


def _deployed(state: ModelAggregate, event: VersionDeployed, _fact: Placed) -> str | None:
    if event.version_id in state.versions:
        return "deploys a version that was deployed before (R6)"
    if state.highest is not None and parts_of(event.number) <= parts_of(state.highest):
        return f"gives a number that is not above {state.highest} (R2)"
    return None


def _cleared(state: ModelAggregate, event: PrimaryCleared, fact: Placed) -> str | None:
    if event.cause == "lost":
        if event.previous is None or state.primary is not None:
            return "says that a primary was lost which was not (R12)"
        return None
    if fact.index or not fact.ends_append:
        return "clears a primary on request beside other events (R29)"
    return "clears what was cleared on request already (R29)" if state.withheld and not state.claims else None


def _nothing_changed(state: ModelAggregate, event: NothingChanged, fact: Placed) -> str | None:
    if fact.idempotency_key is None or fact.index or not fact.ends_append:
        return "keeps no idempotency key, or does not stand alone (R21)"
    if event.command == "clear_primary" and event.version_id is None:
        is_so = state.withheld and not state.claims
        return None if is_so else "says that clear_primary found all as it asks, but it did not (R29)"
    version = state.versions.get(event.version_id or "")
    if version is None or event.command not in _FOUND_SO:
        return f"is about no version that {event.command} could find (R21)"
    if version.version_id not in state.left:
        return "is about a version that was deleted (R17)"
    if _FOUND_SO[event.command](state, version):
        return None
    return f"says that {event.command} found all as it asks, but it did not (R20)"


_FOUND_SO: Final[dict[str, Callable[[ModelAggregate, Version], bool]]] = {
    "publish": lambda _, version: version.stage == "published",
    "promote": lambda state, version: version.is_primary and state.newest_claim in {None, version.version_id},
    "deactivate": lambda state, version: version.status == "inactive" and version.version_id not in state.claims,
    "activate": lambda _, version: version.status in {"activating", "active"},
}


def _ended(state: ModelAggregate, _event: ModelDeleted, _fact: Placed) -> str | None:
    return "deletes a model that has versions left (R17)" if state.left else None


_LAWS: Final[dict[type[Event], Callable[[ModelAggregate, Any, Placed], str | None]]] = {
    VersionDeployed: _deployed,
    PrimaryCleared: _cleared,
    NothingChanged: _nothing_changed,
    ModelDeleted: _ended,
}
"""Laws of the events that are not about a version that was deployed before them."""


def _of_version(state: ModelAggregate, event: Any, _fact: Placed) -> str | None:  # noqa: ANN401 - of all other types
    version = state.versions.get(event.version_id)
    if version is None:
        return None
    if version.version_id not in state.left:
        return "is about a version that was deleted (R17)"
    law = _OF_VERSIONS.get(type(event))
    return None if law is None else law(state, version, event)


def _published(_state: ModelAggregate, version: Version, _event: VersionPublished) -> str | None:
    return None if version.stage == "draft" else "publishes a version that is published (R3)"


def _promoted(state: ModelAggregate, version: Version, event: VersionPromoted) -> str | None:
    if not version.is_serving:
        return f"makes a version primary that is {version.status}, {version.stage} (R8)"
    if state.withheld and event.cause in {"fallback", "default"}:
        return "gives a role without a claim that was cleared on request (R29)"
    return None


def _requested(_state: ModelAggregate, version: Version, _event: VersionActivationRequested) -> str | None:
    return None if version.status == "inactive" else f"starts a version that is {version.status} (R20)"


def _answered(
    _state: ModelAggregate, version: Version, event: VersionActivated | VersionActivationFailed
) -> str | None:
    if version.status == "active":
        return "ends the start of a version that is active (R15)"
    return None if event.activation_id == version.activation_id else "answers another start than the last one (R15)"


_OF_VERSIONS: Final[dict[type[Event], Callable[[ModelAggregate, Version, Any], str | None]]] = {
    VersionPublished: _published,
    VersionPromoted: _promoted,
    VersionActivationRequested: _requested,
    VersionActivated: _answered,
    VersionActivationFailed: _answered,
}


def missing(sequence: int, stream: str, position: int) -> CorruptLogError:
    """Return the error for a fact that is not there, before the one at a position."""
    return CorruptLogError(f"Event {sequence} of the stream {stream} is missing.", position=position)


def unchained(sequence: int, stream: str, position: int) -> CorruptLogError:
    """Return the error for a fact whose link was not made from that of the one before it."""
    msg = f"Event {sequence} of the stream {stream} does not continue the chain of the one before it."
    return CorruptLogError(msg, position=position)


def misnamed(sequence: int, stream: str, position: int) -> CorruptLogError:
    """Return the error for a fact that names another model than those before it."""
    return CorruptLogError(f"Event {sequence} of the stream {stream} names another model.", position=position)


def unfoldable(position: int) -> CorruptLogError:
    """Return the error for a fact that does not follow from the state before it."""
    return CorruptLogError(f"The event at position {position} does not follow from those before it.", position=position)
