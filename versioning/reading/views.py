"""The two kept views, models and ledgers: how each is folded, stored and asked for a past.

The law of this room: **a kept view may lag, an answer never does.** So everybody reads their own writes, on any store,
without a daemon; `kept.py` explains how.

A view's name carries the version of its code: if you change what a fold keeps, raise the number. To add a view: a
`View` and its line in `VIEWS`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

import attrs
import msgspec

from versioning.aggregate import ModelAggregate, Version
from versioning.errors import (
    StoreError,
)
from versioning.events import Recorded, moment_of
from versioning.limits import INTEGER_MAX
from versioning.projections import LEDGER_EVENTS, VersionLedger, evolve_ledger
from versioning.store.contract import KeptRow, RowFilter
from versioning.store.format import Fact

if TYPE_CHECKING:
    from datetime import datetime

State = TypeVar("State")
Seen: TypeAlias = Recorded | Fact
"""An event, as a fold gets it."""

Span: TypeAlias = tuple[int, int, int, int]
"""Position and moment of the first and of the last event that a state holds."""


@attrs.frozen
class Past:
    """A prefix of the log: all of it, up to a position, or up to a moment in each stream (R25)."""

    position: int | None = None
    at_us: int | None = None

    def holds(self, position: int, at_us: int) -> bool:
        """Return whether an event belongs to the prefix."""
        return (self.position is None or position <= self.position) and (self.at_us is None or at_us <= self.at_us)

    @property
    def point(self) -> int | datetime:
        """Position or moment at which the prefix ends; the present ends at the last position that there can be."""
        if self.at_us is not None:
            return moment_of(self.at_us)
        return INTEGER_MAX if self.position is None else self.position

    @property
    def among(self) -> RowFilter:
        """Filter for kept rows that could be live at that point: begun by then, and still live or changed since."""
        position = INTEGER_MAX if self.position is None else self.position
        at_us = INTEGER_MAX if self.at_us is None else self.at_us
        return RowFilter(position, at_us, position, at_us)


PRESENT: Final = Past()


def _nothing(_: object) -> None:
    """Do nothing."""


@attrs.frozen
class View(Generic[State]):
    """A fold with one row for each key, and how a row is stored."""

    name: str
    key: Callable[[Seen], str | None]
    evolve: Callable[[State | None, Seen], State | None]
    is_live: Callable[[State], bool]
    """Tells whether a question about the present needs the row."""
    dump: Callable[[State], bytes]
    load: Callable[[bytes], State]
    name_of: Callable[[State], tuple[str, str]]
    """Returns the workspace and the model's name that the row belongs to."""
    span: Callable[[State], Span]
    copy: Callable[[State], State]
    """Returns a copy that can be folded on, while the state itself stays as it is."""
    own: Callable[[State], object] = _nothing
    """Marks a state as private, so that it may be changed in place."""
    as_of: Callable[[State, Past], State] | None = None
    """Returns what a state was as of an earlier past; None if the state itself can't tell."""

    def read(self, kept: KeptRow) -> State:
        """Return the state of a kept row.

        Raises:
            StoreError: the row is not readable.
        """
        try:
            return self.load(kept.state)
        except msgspec.MsgspecError as error:
            msg = f"A row of the kept view {self.name} is not readable."
            raise StoreError(msg, hint="The log is not affected: {rebuild} builds the views from it again.") from error

    def row(self, key: str, state: State) -> KeptRow:
        """Return the row that keeps a state."""
        return KeptRow(*self.name_of(state), key, self.is_live(state), self.dump(state), *self.span(state))


class _Kept(msgspec.Struct):
    """A ModelAggregate as it is kept: everything that its fold needs to continue."""

    stream: str
    workspace: str
    model_name: str
    sequence: int
    first_position: int
    position: int
    link: bytes
    last_at_us: int
    generation: int
    exists: bool
    lives: list[tuple[int, int | None]]
    versions: list[Version]
    left: list[str]
    by_number: dict[str, str]
    highest: str | None
    published: list[str]
    claims: list[tuple[str, int]]
    claims_made: int
    undone: list[str]
    primary: str | None
    cleared: bool
    withheld: bool
    trail: list[str]
    cursor: int


_encoder = msgspec.msgpack.Encoder()
_model_decoder = msgspec.msgpack.Decoder(_Kept)
_ledger_decoder = msgspec.msgpack.Decoder(VersionLedger)


def dump_aggregate(aggregate: ModelAggregate) -> bytes:
    """Return everything that an aggregate knows, so that `load_aggregate` can continue from there."""
    held: dict[str, Any] = {name: getattr(aggregate, name) for name in _Kept.__struct_fields__}
    held |= {name: list(held[name]) for name in ("left", "published", "undone")}
    held |= {"claims": list(aggregate.claims.items()), "versions": list(aggregate.versions.values())}
    return _encoder.encode(_Kept(**held))


def load_aggregate(kept: bytes) -> ModelAggregate:
    """Return the aggregate that `dump_aggregate` was given."""
    held = _model_decoder.decode(kept)
    aggregate = ModelAggregate(held.stream)
    for name in _Kept.__struct_fields__:
        setattr(aggregate, name, getattr(held, name))
    aggregate.left = dict.fromkeys(held.left)
    aggregate.allocated = list(held.by_number.values())
    aggregate.published = dict.fromkeys(held.published)
    aggregate.claims = dict(held.claims)
    aggregate.undone = set(held.undone)
    aggregate.versions = {version.version_id: version for version in held.versions}
    return aggregate


def _evolve_model(aggregate: ModelAggregate | None, recorded: Seen) -> ModelAggregate:
    if aggregate is None:
        aggregate = ModelAggregate(recorded.stream, recorded.workspace, recorded.model_name)
        aggregate.first_position = recorded.position
    aggregate.evolve(recorded.event, recorded.actor)
    aggregate.link, aggregate.position = bytes.fromhex(recorded.chain), recorded.position
    return aggregate


def _span_of_model(aggregate: ModelAggregate) -> Span:
    first_us = aggregate.lives[0][0] if aggregate.lives else aggregate.last_at_us
    return aggregate.first_position, first_us, aggregate.position, aggregate.last_at_us


def _span_of_ledger(ledger: VersionLedger) -> Span:
    first, last = ledger.stretches[0], ledger.stretches[-1]
    if last.closed_by is None or last.end_us is None:
        return first.opened_by, first.start_us, last.opened_by, last.start_us
    return first.opened_by, first.start_us, last.closed_by, last.end_us


MODELS: Final = View[ModelAggregate](
    name="models.2",
    key=operator.attrgetter("stream"),
    evolve=_evolve_model,
    is_live=lambda aggregate: aggregate.exists,
    dump=dump_aggregate,
    load=load_aggregate,
    name_of=lambda aggregate: (aggregate.workspace, aggregate.model_name),
    span=_span_of_model,
    copy=ModelAggregate.fork,
    own=ModelAggregate.begin_folding,
)
"""View of all models: what exists, is primary, active and billed."""

LEDGERS: Final = View[VersionLedger](
    name="ledgers.1",
    key=lambda recorded: recorded.event.version_id if type(recorded.event) in LEDGER_EVENTS else None,  # type: ignore[union-attr]  # of these events
    evolve=evolve_ledger,
    is_live=lambda ledger: ledger.is_open,
    dump=_encoder.encode,
    load=_ledger_decoder.decode,
    name_of=lambda ledger: (ledger.workspace, ledger.model_name),
    span=_span_of_ledger,
    copy=lambda ledger: ledger.as_of(PRESENT.holds),
    as_of=lambda ledger, past: ledger.as_of(past.holds),
)
"""View of the usage of every version (R19)."""

VIEWS: Final[tuple[View[Any], ...]] = (MODELS, LEDGERS)
