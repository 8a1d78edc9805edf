"""Does this fact follow from the state before it? This is the one place that answers.

The law of this room: **what can't have been recorded after the events before it is found here**, and named by its
position, because a log is read as it is, and `evolve` never refuses. The cache, the kept views, answers as of a past,
replay, verification, import and the test kit all fold through here.

To add a law: a line in `apply`, with a log that breaks it in the tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from versioning.errors import CorruptLogError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from versioning.aggregate import ModelAggregate
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


def missing(sequence: int, stream: str, position: int) -> CorruptLogError:
    """Return the error for a fact that is not there, before the one at a position."""
    return CorruptLogError(f"Event {sequence} of the stream {stream} is missing.", position=position)


def misnamed(sequence: int, stream: str, position: int) -> CorruptLogError:
    """Return the error for a fact that names another model than those before it."""
    return CorruptLogError(f"Event {sequence} of the stream {stream} names another model.", position=position)


def unfoldable(position: int) -> CorruptLogError:
    """Return the error for a fact that does not follow from the state before it."""
    return CorruptLogError(f"The event at position {position} does not follow from those before it.", position=position)
