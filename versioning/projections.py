"""What the log amounts to: the current primary, the active set, the billing-eligible versions, and their usage.

The law of this room: a projection is a fold over `Recorded` and needs no registry, no store and no rule. The same code
runs live, rebuilt, as of any moment, and on any iterable of recorded events, even from several workspaces at once.

    primary = PrimaryVersions().fold(registry.history())

To add one: a class with `evolve`; the laws of the test kit run on it. All moments are UTC, periods are half-open
`[start, end)`, and lengths are whole microseconds.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import attrs

from versioning.aggregate import Stage
from versioning.events import (
    EVENTS,
    ModelDeleted,
    NothingChanged,
    PrimaryCleared,
    Recorded,
    Value,
    VersionActivated,
    VersionActivationFailed,
    VersionActivationRequested,
    VersionDeactivated,
    VersionDeleted,
    VersionDeployed,
    VersionPromoted,
    VersionPublished,
    moment_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Self

    from versioning.events import Event

    class LedgerFact(Protocol):
        """The part of an event that a ledger reads; a `Recorded` has it."""

        @property
        def event(self) -> Event: ...
        @property
        def position(self) -> int: ...
        @property
        def workspace(self) -> str: ...
        @property
        def model_name(self) -> str: ...
        @property
        def model_id(self) -> str: ...


MICROSECONDS_PER_HOUR: Final = 3_600_000_000
LEDGER_EVENTS: Final = frozenset(EVENTS.values()) - {
    VersionPromoted,
    PrimaryCleared,
    ModelDeleted,
    NothingChanged,
}
"""Events that change a ledger."""
Name: TypeAlias = tuple[str, str]
"""A workspace and the name of a model in it."""


class _Fold:
    """What all projections share: to fold is to apply one event after the other."""

    def evolve(self, recorded: Recorded) -> None:
        raise NotImplementedError

    def fold(self, log: Iterable[Recorded]) -> Self:
        """Apply all events of a log, oldest first, and return the projection."""
        for recorded in log:
            self.evolve(recorded)
        return self


class PrimaryVersions(_Fold):
    """The version_id of each primary by name; a name without a primary is absent (R12)."""

    def __init__(self) -> None:
        """Start with an empty log."""
        self.current: dict[Name, str] = {}

    def evolve(self, recorded: Recorded) -> None:
        """Apply one event."""
        name, event = (recorded.workspace, recorded.model_name), recorded.event
        if isinstance(event, VersionPromoted):
            self.current[name] = event.version_id
        elif isinstance(event, PrimaryCleared) or (
            isinstance(event, VersionDeactivated | VersionDeleted) and self.current.get(name) == event.version_id
        ):
            self.current.pop(name, None)


class _VersionSets(_Fold):
    """Sets of version_ids by name, in order of arrival; a name without any is absent."""

    def __init__(self) -> None:
        """Start with an empty log."""
        self._sets: dict[Name, dict[str, None]] = {}

    @property
    def current(self) -> Mapping[Name, tuple[str, ...]]:
        """The current sets."""
        return {name: tuple(versions) for name, versions in self._sets.items()}

    def _add(self, recorded: Recorded, version_id: str) -> None:
        self._sets.setdefault((recorded.workspace, recorded.model_name), {})[version_id] = None

    def _remove(self, recorded: Recorded, version_id: str) -> None:
        name = (recorded.workspace, recorded.model_name)
        versions = self._sets.get(name, {})
        versions.pop(version_id, None)
        if not versions:
            self._sets.pop(name, None)


class ActiveVersions(_VersionSets):
    """The active versions, which can answer invocations."""

    def evolve(self, recorded: Recorded) -> None:
        """Apply one event."""
        event = recorded.event
        if isinstance(event, VersionActivated) or (isinstance(event, VersionDeployed) and event.activation_id is None):
            self._add(recorded, event.version_id)
        elif isinstance(event, VersionDeactivated | VersionDeleted):
            self._remove(recorded, event.version_id)


class BillableVersions(_VersionSets):
    """The billing-eligible versions: those that are active or activating (R18)."""

    def evolve(self, recorded: Recorded) -> None:
        """Apply one event."""
        event = recorded.event
        if isinstance(event, VersionDeployed | VersionActivationRequested | VersionActivated):
            self._add(recorded, event.version_id)
        elif isinstance(event, VersionDeactivated | VersionActivationFailed | VersionDeleted):
            self._remove(recorded, event.version_id)


@attrs.frozen
class UsageLine(Value):
    """A period in which one version was billing-eligible in one stage."""

    workspace: str
    model_name: str
    model_id: str
    version_id: str
    number: str
    stage: Stage
    start: datetime
    end: datetime
    microseconds: int
    opened_by: int
    """Position of the event that opened the line, which may lie before the period."""
    closed_by: int | None
    """Position of the event that closed the line; None if the period or the present cuts it."""

    @property
    def hours(self) -> float:
        """Length in hours, for reading; `microseconds` is exact."""
        return self.microseconds / MICROSECONDS_PER_HOUR

    def to_dict(self) -> dict[str, Any]:
        """Return the line in JSON types, with its `hours`."""
        return {**super().to_dict(), "hours": self.hours}


@attrs.frozen
class Usage(Value):
    """Usage in `[start, end)` (R19)."""

    start: datetime
    end: datetime
    until: datetime
    """Moment up to which what is still open was counted; never before `start` or after `end`."""
    position: int
    """Last position of the log that counts; as of that position, and with the same `until`, the bill stays the same."""
    lines: tuple[UsageLine, ...]

    @property
    def total_microseconds(self) -> int:
        """Sum of the lines."""
        return sum(line.microseconds for line in self.lines)

    @property
    def total_hours(self) -> float:
        """Sum of the lines in hours, for reading; `total_microseconds` is exact."""
        return self.total_microseconds / MICROSECONDS_PER_HOUR

    def to_dict(self) -> dict[str, Any]:
        """Return the bill in JSON types, with its totals."""
        totals = {"total_microseconds": self.total_microseconds, "total_hours": self.total_hours}
        return {**super().to_dict(), **totals}


@attrs.define
class Stretch:
    """A period of billing-eligibility; open while it has no end."""

    stage: Stage
    start_us: int
    opened_by: int
    end_us: int | None = None
    closed_by: int | None = None


@attrs.define
class VersionLedger:
    """All periods in which one version was billing-eligible, in order (R18, R19)."""

    workspace: str
    model_name: str
    model_id: str
    version_id: str
    number: str
    stage: Stage
    stretches: list[Stretch] = attrs.Factory(list)

    @property
    def is_open(self) -> bool:
        """Whether the version is billing-eligible after the last event."""
        return bool(self.stretches) and self.stretches[-1].end_us is None

    def as_of(self, holds: Callable[[int, int], bool]) -> VersionLedger:
        """Return the ledger of a prefix of the log; `holds(position, at_us)` says whether an event belongs to it."""
        kept = [attrs.evolve(one) for one in self.stretches if holds(one.opened_by, one.start_us)]
        for one in kept:
            if one.closed_by is not None and one.end_us is not None and not holds(one.closed_by, one.end_us):
                one.closed_by = one.end_us = None
        return attrs.evolve(self, stage=kept[-1].stage if kept else self.stage, stretches=kept)

    def lines(self, start_us: int, end_us: int, until_us: int) -> Iterable[UsageLine]:
        """Return the lines of a period; an open stretch ends at `until_us`, which is not behind the period."""
        for stretch in self.stretches:
            from_us, to_us, closed_by = stretch.start_us, stretch.end_us, stretch.closed_by
            if to_us is None:
                to_us = until_us
            elif to_us > end_us:
                to_us, closed_by = end_us, None
            from_us = max(from_us, start_us)
            if from_us < to_us:
                yield UsageLine(  # positional arguments are faster than keywords
                    self.workspace,
                    self.model_name,
                    self.model_id,
                    self.version_id,
                    self.number,
                    stretch.stage,
                    moment_of(from_us),
                    moment_of(to_us),
                    to_us - from_us,
                    stretch.opened_by,
                    closed_by,
                )


def evolve_ledger(ledger: VersionLedger | None, recorded: LedgerFact) -> VersionLedger | None:
    """Apply one event to the ledger of its version; return None while the version is unknown."""
    event, position = recorded.event, recorded.position
    if isinstance(event, VersionDeployed):
        stage: Stage = "published" if event.published else "draft"
        return VersionLedger(
            recorded.workspace,
            recorded.model_name,
            recorded.model_id,
            event.version_id,
            event.number,
            stage,
            [Stretch(stage, event.at_us, position)],
        )
    if ledger is None:
        return None
    opens = isinstance(event, VersionActivationRequested | VersionActivated) and not ledger.is_open
    splits = isinstance(event, VersionPublished) and ledger.is_open
    if isinstance(event, VersionPublished):
        ledger.stage = "published"
    if splits or isinstance(event, VersionDeactivated | VersionActivationFailed | VersionDeleted):
        _close(ledger, event.at_us, position)
    if opens or splits:
        ledger.stretches.append(Stretch(ledger.stage, event.at_us, position))
    return ledger


def _close(ledger: VersionLedger, at_us: int, position: int) -> None:
    if ledger.is_open:
        ledger.stretches[-1].end_us = at_us
        ledger.stretches[-1].closed_by = position


class UsageLedger(_Fold):
    """The ledgers of all versions, from which `usage` draws a bill (R19)."""

    def __init__(self) -> None:
        """Start with an empty log."""
        self.ledgers: dict[str, VersionLedger] = {}
        self.position = 0

    def evolve(self, recorded: Recorded) -> None:
        """Apply one event."""
        self.position = max(self.position, recorded.position)
        version_id = recorded.version_id
        if version_id is not None:
            ledger = evolve_ledger(self.ledgers.get(version_id), recorded)
            if ledger is not None:
                self.ledgers[version_id] = ledger

    def usage(self, start_us: int, end_us: int, until_us: int) -> Usage:
        """Draw the bill of `[start, end)`; open stretches end at the earlier of `end` and `until_us`, such as now."""
        return draw_usage(self.ledgers.values(), start_us, end_us, until_us, self.position)


def draw_usage(ledgers: Iterable[VersionLedger], start_us: int, end_us: int, until_us: int, position: int) -> Usage:
    """Draw a bill from the ledgers of versions, sorted by name, start and position."""
    until_us = max(start_us, min(until_us, end_us))
    lines = [line for ledger in ledgers for line in ledger.lines(start_us, end_us, until_us)]
    lines.sort(key=lambda line: (line.workspace, line.model_name, line.start, line.opened_by, line.version_id))
    return Usage(moment_of(start_us), moment_of(end_us), moment_of(until_us), position, tuple(lines))
