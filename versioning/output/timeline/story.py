"""What is drawn: the stretches of a history in lanes and appends, as the aggregate and the ledger have them.

The law of this room: nothing is decided here. States are those of `ModelAggregate`, billed stretches those of
`UsageLedger`. A lane is a version, and a place on the axis is the index of an append.
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
"""In the place of a lane: there is no model, so nothing could be primary."""
NOBODY: Final = -1
"""In the place of a lane: there is a model, and nothing is primary."""


class Lane(NamedTuple):
    """A version."""

    version_id: str
    number: str
    life: int
    """Of the name, counted from 1."""


class Bar(NamedTuple):
    """A stretch of a version in one status and stage, from an append up to another."""

    lane: int
    event: int
    """Which one opened it."""
    start: int
    end: int
    status: Status
    stage: Stage


class Billed(NamedTuple):
    """A stretch of a version in which it was billing-eligible (R18)."""

    lane: int
    event: int
    start: int
    end: int


class Role(NamedTuple):
    """A stretch in which one version was primary, or nothing was."""

    lane: int
    event: int
    start: int
    end: int


class Change(NamedTuple):
    """What a version is after an event that changed it."""

    lane: int
    status: Status
    stage: Stage
    is_primary: bool


@attrs.define
class _Since:
    """Since when something is so."""

    event: int
    start: int
    what: Any


class Story:
    """What a history amounts to, in lanes and appends; `len(appends)` is the end of the picture."""

    def __init__(self, log: Iterable[Recorded]) -> None:
        """Fold the whole history of one name, or of one of its lives."""
        self.events: list[Recorded] = []
        self.lanes: list[Lane] = []
        self.appends_us: list[int] = []
        """When each append was made."""
        self.append_of: list[int] = []
        """Of each event."""
        self.changes: list[list[Change]] = []
        """Of each event."""
        self.exists: list[bool] = []
        """After each event, whether there is a model."""
        self.bars: list[Bar] = []
        self.billed: list[Billed] = []
        self.roles: list[Role] = []
        self.states: dict[int, Change] = {}
        """What each version is at the end."""
        self.primary = NO_MODEL
        """The lane of the primary at the end."""
        self.since = 0
        """The event that made it so."""
        self._lane_of: dict[str, int] = {}
        self._bar: dict[int, _Since] = {}
        self._role = _Since(0, 0, NO_MODEL)
        ledger = UsageLedger()
        state: ModelAggregate | None = None
        for recorded in log:
            if state is None:
                state = ModelAggregate(recorded.stream, recorded.workspace, recorded.model_name)
            self._take_in(recorded, state)
            ledger.evolve(recorded)
        self._end(ledger)

    def number_of(self, version_id: str) -> str | None:
        """Say a version, for a sentence."""
        lane = self._lane_of.get(version_id)
        return None if lane is None else self.lanes[lane].number

    def lane_of(self, version_id: str | None) -> int:
        """Say where a version is drawn."""
        return NOBODY if version_id is None else self._lane_of.get(version_id, NOBODY)

    def _take_in(self, recorded: Recorded, state: ModelAggregate) -> None:
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
        changes: list[Change] = []
        for version_id in touched:
            version, lane = state.versions[version_id], self._lane_of[version_id]
            change = Change(lane, version.status, version.stage, version_id == state.primary)
            if change != self.states.get(lane):
                self.states[lane] = change
                changes.append(change)
                self._draw_bar(change, index, append)
        self.changes.append(changes)
        self.exists.append(state.exists)
        nobody = NOBODY if state.exists else NO_MODEL
        self._draw_role(nobody if state.primary is None else self._lane_of[state.primary], index, append)

    def _draw_bar(self, change: Change, index: int, append: int) -> None:
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

    def _draw_role(self, lane: int, index: int, append: int) -> None:
        was = self._role
        if lane != was.what:
            if was.start < append and was.what != NO_MODEL:
                self.roles.append(Role(was.what, was.event, was.start, append))
            self._role = _Since(index, append, lane)

    def _end(self, ledger: UsageLedger) -> None:
        end = len(self.appends_us)
        for lane in list(self._bar):
            self._close_bar(lane, end)
        self.primary, self.since = self._role.what, self._role.event
        self._draw_role(NO_MODEL, len(self.events), end)
        index_at = {recorded.position: index for index, recorded in enumerate(self.events)}
        for kept in ledger.ledgers.values():
            for stretch in kept.stretches:
                opened = index_at[stretch.opened_by]
                start = self.append_of[opened]
                closed = end if stretch.closed_by is None else self.append_of[index_at[stretch.closed_by]]
                if start < closed:
                    self.billed.append(Billed(self._lane_of[kept.version_id], opened, start, closed))
