"""What is drawn: the history of a name, cut into stretches by version and by append.

The law of this room: **nothing is decided here.** States come from `ModelAggregate`, billed stretches from
`UsageLedger`. A lane is a version; a place on the axis is the index of an append.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import attrs

from versioning.aggregate import ModelAggregate
from versioning.events import VersionDeployed
from versioning.projections import UsageLedger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from versioning.aggregate import Stage, Status
    from versioning.events import Recorded

NO_MODEL: Final = -2
"""Stands for a lane where there is no model, so that nothing could be primary."""
NOBODY: Final = -1
"""Stands for a lane where there is a model, and no version is primary."""


class Lane(NamedTuple):
    """A version, as one of the lanes of the drawing."""

    version_id: str
    number: str
    life: int
    """Life of the name that it belongs to, counted from 1."""


class Bar(NamedTuple):
    """A stretch in which a version had one status and one stage, from one append to another."""

    lane: int
    event: int
    """Index of the event that opened it."""
    start: int
    end: int
    status: Status
    stage: Stage


class Billed(NamedTuple):
    """A stretch in which a version was billing-eligible (R18)."""

    lane: int
    event: int
    start: int
    end: int


class PrimarySpan(NamedTuple):
    """A stretch in which one version was primary, or none was."""

    lane: int
    event: int
    start: int
    end: int


class LaneState(NamedTuple):
    """The state of a version after an event that changed it."""

    lane: int
    status: Status
    stage: Stage
    is_primary: bool


@attrs.define
class _Since:
    """A stretch that has begun and not ended yet."""

    event: int
    start: int
    what: Any


class Story:
    """A history as lanes and stretches; the end of the picture is the number of appends."""

    def __init__(self, log: Iterable[Recorded]) -> None:
        """Fold the whole history of one name, or of one of its lives."""
        self.events: list[Recorded] = []
        self.lanes: list[Lane] = []
        self.appends_us: list[int] = []
        """Moment of each append, in microseconds since 1970 UTC."""
        self.append_of: list[int] = []
        """Append that each event belongs to."""
        self.changes: list[list[LaneState]] = []
        """States that each event changed."""
        self.exists: list[bool] = []
        """Whether there is a model, after each event."""
        self.bars: list[Bar] = []
        self.billed: list[Billed] = []
        self.primaries: list[PrimarySpan] = []
        self.states: dict[int, LaneState] = {}
        """State of each version at the end, by lane."""
        self.primary = NO_MODEL
        """Lane of the primary at the end; or NOBODY, or NO_MODEL."""
        self.since = 0
        """Index of the event since which `primary` is so."""
        self._lane_of: dict[str, int] = {}
        self._bar: dict[int, _Since] = {}
        self._primary_since = _Since(0, 0, NO_MODEL)
        ledger = UsageLedger()
        state: ModelAggregate | None = None
        for recorded in log:
            if state is None:
                state = ModelAggregate(recorded.stream, recorded.workspace, recorded.model_name)
            self._add(recorded, state)
            ledger.evolve(recorded)
        self._end(ledger)

    def number_of(self, version_id: str) -> str | None:
        """Return the number of a version, or None if this history does not deploy it."""
        lane = self._lane_of.get(version_id)
        return None if lane is None else self.lanes[lane].number

    def lane_of(self, version_id: str | None) -> int:
        """Return the lane of a version, or NOBODY."""
        return NOBODY if version_id is None else self._lane_of.get(version_id, NOBODY)

    def _add(self, recorded: Recorded, state: ModelAggregate) -> None:
        event, index = recorded.event, len(self.events)
        if recorded.index == 0 or not self.appends_us:
            self.appends_us.append(event.at_us)
        append = len(self.appends_us) - 1
        self.events.append(recorded)
        self.append_of.append(append)
        if isinstance(event, VersionDeployed):
            self._lane_of[event.version_id] = len(self.lanes)
            self.lanes.append(Lane(event.version_id, event.number, recorded.generation))
        before = state.primary
        state.evolve(event, recorded.actor)
        touched = dict.fromkeys(named for named in (recorded.version_id, before, state.primary) if named is not None)
        changes: list[LaneState] = []
        for version_id in touched:
            version, lane = state.versions[version_id], self._lane_of[version_id]
            change = LaneState(lane, version.status, version.stage, version_id == state.primary)
            if change != self.states.get(lane):
                self.states[lane] = change
                changes.append(change)
                self._draw_bar(change, index, append)
        self.changes.append(changes)
        self.exists.append(state.exists)
        nobody = NOBODY if state.exists else NO_MODEL
        self._draw_primary(nobody if state.primary is None else self._lane_of[state.primary], index, append)

    def _draw_bar(self, change: LaneState, index: int, append: int) -> None:
        open_bar = self._bar.get(change.lane)
        if open_bar is not None and open_bar.what == (change.status, change.stage):
            return
        self._close_bar(change.lane, append)
        if change.status != "deleted":
            self._bar[change.lane] = _Since(index, append, (change.status, change.stage))

    def _close_bar(self, lane: int, append: int) -> None:
        was = self._bar.pop(lane, None)
        if was is not None and was.start < append:
            self.bars.append(Bar(lane, was.event, was.start, append, *was.what))

    def _draw_primary(self, lane: int, index: int, append: int) -> None:
        was = self._primary_since
        if lane != was.what:
            if was.start < append and was.what != NO_MODEL:
                self.primaries.append(PrimarySpan(was.what, was.event, was.start, append))
            self._primary_since = _Since(index, append, lane)

    def _end(self, ledger: UsageLedger) -> None:
        end = len(self.appends_us)
        for lane in list(self._bar):
            self._close_bar(lane, end)
        self.primary, self.since = self._primary_since.what, self._primary_since.event
        self._draw_primary(NO_MODEL, len(self.events), end)
        index_at = {recorded.position: index for index, recorded in enumerate(self.events)}
        for kept in ledger.ledgers.values():
            for stretch in kept.stretches:
                opened = index_at[stretch.opened_by]
                start = self.append_of[opened]
                closed = end if stretch.closed_by is None else self.append_of[index_at[stretch.closed_by]]
                if start < closed:
                    self.billed.append(Billed(self._lane_of[kept.version_id], opened, start, closed))
