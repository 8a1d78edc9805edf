"""How questions across models are answered: folds that are kept in the database, and catch up when asked.

The law of this room: **a kept view may lag, an answer never does.** A reading takes the kept rows, their position and
the rest of the log from one snapshot, and folds the rest on top in memory; only when the rest has grown to a batch is
it written back, with the position and in one transaction, and never by waiting for somebody else's lock. So everybody
reads their own writes, on any store, without a daemon.

A view's name carries the version of its code: change what a fold keeps, and raise the number.
"""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import attrs
import msgspec

from versioning.aggregate import ModelAggregate, Version
from versioning.persistence import KeptRow, decode
from versioning.projections import Stretch, VersionLedger, evolve_ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from versioning.events import Recorded
    from versioning.persistence import LogRow
    from versioning.sqlite import Snapshot, SQLiteRecorder

State = TypeVar("State")

BATCH_EVENTS: Final = 1_000
"""How long the rest of the log may be before it is written back."""
REBUILD_EVENTS: Final = 10_000
"""How many events are folded and written back at once where many are behind."""


@attrs.frozen
class Cut:
    """As of when: everything, or what lies up to a position, or up to a moment in each stream (R25)."""

    position: int | None = None
    at_us: int | None = None

    def holds(self, position: int, at_us: int) -> bool:
        """Say whether an event counts."""
        return (self.position is None or position <= self.position) and (self.at_us is None or at_us <= self.at_us)


NOW: Final = Cut()


@attrs.frozen
class View(Generic[State]):
    """A fold with a row a key, and how a row is stored."""

    name: str
    key: Callable[[Recorded], str | None]
    evolve: Callable[[State | None, Recorded], State | None]
    is_live: Callable[[State], bool]
    """Whether a question about what is there now needs the row."""
    dump: Callable[[State], bytes]
    load: Callable[[bytes], State]
    name_of: Callable[[State], tuple[str, str]]
    """The workspace and the model's name that the row belongs to."""


class _Kept(msgspec.Struct):
    """A ModelAggregate as it is kept: all that its fold needs to go on."""

    stream: str
    workspace: str
    model_name: str
    sequence: int
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
    trail: list[str]
    cursor: int


_encoder = msgspec.msgpack.Encoder()
_model_decoder = msgspec.msgpack.Decoder(_Kept)
_ledger_decoder = msgspec.msgpack.Decoder(dict[str, Any])


def dump_aggregate(aggregate: ModelAggregate) -> bytes:
    """Give all that an aggregate knows, so that `load_aggregate` can go on from there."""
    held: dict[str, Any] = {name: getattr(aggregate, name) for name in _Kept.__struct_fields__}
    held |= {name: list(held[name]) for name in ("left", "published", "undone")}
    held |= {"claims": list(aggregate.claims.items()), "versions": list(aggregate.versions.values())}
    return _encoder.encode(_Kept(**held))


def load_aggregate(kept: bytes) -> ModelAggregate:
    """Give back the aggregate that `dump_aggregate` was given."""
    held = _model_decoder.decode(kept)
    aggregate = ModelAggregate(held.stream)
    for name in _Kept.__struct_fields__:
        setattr(aggregate, name, getattr(held, name))
    aggregate.left = dict.fromkeys(held.left)
    aggregate.published = dict.fromkeys(held.published)
    aggregate.claims = dict(held.claims)
    aggregate.undone = set(held.undone)
    aggregate.versions = {version.version_id: version for version in held.versions}
    return aggregate


def load_ledger(kept: bytes) -> VersionLedger:
    """Give back the ledger of a version."""
    held = _ledger_decoder.decode(kept)
    stretches = [Stretch(**stretch) for stretch in held.pop("stretches")]
    return VersionLedger(**held, stretches=stretches)


def _evolve_model(aggregate: ModelAggregate | None, recorded: Recorded) -> ModelAggregate:
    if aggregate is None:
        aggregate = ModelAggregate(recorded.stream, recorded.workspace, recorded.model_name)
    aggregate.evolve(recorded.event, recorded.actor)
    aggregate.link = bytes.fromhex(recorded.chain)
    return aggregate


MODELS: Final = View[ModelAggregate](
    name="models.1",
    key=lambda recorded: recorded.stream,
    evolve=_evolve_model,
    is_live=lambda aggregate: aggregate.exists,
    dump=dump_aggregate,
    load=load_aggregate,
    name_of=lambda aggregate: (aggregate.workspace, aggregate.model_name),
)
"""All models: what is there, primary, active, billing-eligible."""

LEDGERS: Final = View[VersionLedger](
    name="ledgers.1",
    key=lambda recorded: recorded.version_id,
    evolve=evolve_ledger,
    is_live=lambda ledger: ledger.is_open,
    dump=_encoder.encode,
    load=load_ledger,
    name_of=lambda ledger: (ledger.workspace, ledger.model_name),
)
"""What every version used (R19)."""

VIEWS: Final[tuple[View[Any], ...]] = (MODELS, LEDGERS)


@attrs.frozen
class Reading(Generic[State]):
    """A view as of one moment: the kept rows, and on top what the rest of the log made of those that it touches."""

    view: View[State]
    snapshot: Snapshot
    kept: bool
    """Whether the kept rows count."""
    over: dict[str, State]
    position: int
    """Of the last event that counts."""

    def states(self, workspace: str, *, after: str = "", limit: int | None = None, live: bool = False) -> list[State]:
        """Give the states of a workspace whose model's name lies behind `after`, in the order of names."""
        rows: list[tuple[str, str, State]] = []
        if self.kept:
            most = None if limit is None else limit + len(self.over)
            kept = self.snapshot.view_page(self.view.name, workspace, after, most, live)
            rows += [(row.model_name, row.key, self.view.load(row.state)) for row in kept if row.key not in self.over]
        for key, state in self.over.items():
            space, name = self.view.name_of(state)
            if space == workspace and name > after and (not live or self.view.is_live(state)):
                rows.append((name, key, state))
        rows.sort(key=lambda row: row[:2])
        return [state for _, _, state in rows[:limit]]


class Views:
    """The views of one store."""

    def __init__(self, recorder: SQLiteRecorder, *, batch_events: int = BATCH_EVENTS) -> None:
        """Answer from the recorder's log and kept rows."""
        self._recorder = recorder
        self._batch_events = batch_events

    @contextlib.contextmanager
    def reading(self, view: View[State], cut: Cut = NOW) -> Iterator[Reading[State]]:
        """Give a view as of now, of a position or of a moment, all from one snapshot."""
        if cut == NOW and self._recorder.head() - self._position(view) > self._batch_events:
            self.catch_up(view)
        with self._recorder.snapshot() as snapshot:
            kept = snapshot.view_position(view.name)
            usable = kept is not None and cut.holds(kept.position, kept.latest_us)
            after = kept.position if kept is not None and usable else 0
            over: dict[str, State] = {}

            def base(keys: list[str]) -> Iterable[tuple[str, State]]:
                found = snapshot.view_rows(view.name, keys) if usable else ()
                return ((row.key, view.load(row.state)) for row in found)

            last = after
            while rows := snapshot.log(last, REBUILD_EVENTS, cut.position):
                last = rows[-1][0]
                _fold(view, rows, cut, over, base)
            yield Reading(view, snapshot, usable, over, last)

    def _position(self, view: View[Any]) -> int:
        with self._recorder.snapshot() as snapshot:
            kept = snapshot.view_position(view.name)
            return 0 if kept is None else kept.position

    def catch_up(self, view: View[Any], *, into: str | None = None) -> int:
        """Fold what is behind and write it back; give the position reached, which a busy writer may keep low."""
        name = into or view.name
        while True:
            with self._recorder.snapshot() as snapshot:
                kept = snapshot.view_position(name)
                position, latest_us = (0, 0) if kept is None else (kept.position, kept.latest_us)
                rows = snapshot.log(position, REBUILD_EVENTS, None)
                if not rows:
                    return position
                over: dict[str, Any] = {}

                def base(keys: list[str], snapshot: Snapshot = snapshot) -> Iterable[tuple[str, Any]]:
                    return ((row.key, view.load(row.state)) for row in snapshot.view_rows(name, keys))

                latest_us = max(latest_us, _fold(view, rows, NOW, over, base))
            changed = [
                KeptRow(*view.name_of(state), key, view.is_live(state), view.dump(state)) for key, state in over.items()
            ]
            if not self._recorder.write_view(name, position, rows[-1][0], latest_us, changed):
                return position

    def rebuild(self, view: View[Any]) -> int:
        """Build a view anew beside the kept one, from the first event, and swap; give the position reached."""
        beside = f"{view.name}+{secrets.token_hex(4)}"
        position = -1
        while (reached := self.catch_up(view, into=beside)) != position or reached < self._recorder.head():
            position = reached
        self._recorder.swap_view(beside, view.name)
        return position


def _fold(
    view: View[State],
    rows: list[LogRow],
    cut: Cut,
    over: dict[str, State],
    base: Callable[[list[str]], Iterable[tuple[str, State]]],
) -> int:
    """Fold log rows into `over`, taking the states that they go on from out of `base`; give the latest timestamp."""
    latest_us = 0
    touched: list[tuple[str, Recorded]] = []
    for row in rows:
        recorded = decode(*row)
        latest_us = max(latest_us, recorded.event.at_us)
        key = view.key(recorded)
        if key is not None and cut.holds(recorded.position, recorded.event.at_us):
            touched.append((key, recorded))
    over.update(base([key for key in dict.fromkeys(key for key, _ in touched) if key not in over]))
    for key, recorded in touched:
        state = view.evolve(over.get(key), recorded)
        if state is not None:
            over[key] = state
    return latest_us
