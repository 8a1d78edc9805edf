"""What the log amounts to: the current primary, the active set, the billing-eligible versions, and what they used.

The law of this room: a projection is a fold over `Recorded`, and needs no registry, no store and no rule: the same code
runs live, rebuilt, as of any moment, and on any iterable of recorded events, also of several workspaces at once.

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
        """What a ledger takes of an event; a `Recorded` has it."""

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
LEDGER_EVENTS: Final = frozenset(EVENTS.values()) - {VersionPromoted, PrimaryCleared, ModelDeleted}
"""What a ledger takes in; the others change none."""
Name: TypeAlias = tuple[str, str]
"""A workspace, and a model's name in it."""


class _Fold:
    """What all projections share: folding is evolving, one event after the other."""

    def evolve(self, recorded: Recorded) -> None:
        raise NotImplementedError

    def fold(self, log: Iterable[Recorded]) -> Self:
        """Take in all events of a log, oldest first."""
        for recorded in log:
            self.evolve(recorded)
        return self


class PrimaryVersions(_Fold):
    """The version_id that answers an invocation which names no version, by name; a name without one is absent (R12)."""

    def __init__(self) -> None:
        """Start with an empty log."""
        self.current: dict[Name, str] = {}

    def evolve(self, recorded: Recorded) -> None:
        """Take one event in."""
        name, event = (recorded.workspace, recorded.model_name), recorded.event
        if isinstance(event, VersionPromoted):
            self.current[name] = event.version_id
        elif isinstance(event, PrimaryCleared) or (
            isinstance(event, VersionDeactivated | VersionDeleted) and self.current.get(name) == event.version_id
        ):
            self.current.pop(name, None)


class _VersionSets(_Fold):
    """Sets of version_ids by name, in the order in which they came; a name without any is absent."""

    def __init__(self) -> None:
        """Start with an empty log."""
        self._sets: dict[Name, dict[str, None]] = {}

    @property
    def current(self) -> Mapping[Name, tuple[str, ...]]:
        """The sets as they are now."""
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
    """The versions that answer invocations."""

    def evolve(self, recorded: Recorded) -> None:
        """Take one event in."""
        event = recorded.event
        if isinstance(event, VersionActivated) or (isinstance(event, VersionDeployed) and event.activation_id is None):
            self._add(recorded, event.version_id)
        elif isinstance(event, VersionDeactivated | VersionDeleted):
            self._remove(recorded, event.version_id)


class BillableVersions(_VersionSets):
    """The billing-eligible versions: neither inactive nor deleted ones (R18)."""

    def evolve(self, recorded: Recorded) -> None:
        """Take one event in."""
        event = recorded.event
        if isinstance(event, VersionDeployed | VersionActivationRequested | VersionActivated):
            self._add(recorded, event.version_id)
        elif isinstance(event, VersionDeactivated | VersionActivationFailed | VersionDeleted):
            self._remove(recorded, event.version_id)


@attrs.frozen
class UsageLine(Value):
    """A stretch of time in which one version was billing-eligible in one stage."""

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
    """Position of the event that opened it, which may lie before the period."""
    closed_by: int | None
    """Position of the event that closed it; None where the period or the present cuts it."""

    @property
    def hours(self) -> float:
        """Length in hours, to be read; `microseconds` is exact."""
        return self.microseconds / MICROSECONDS_PER_HOUR

    def to_dict(self) -> dict[str, Any]:
        """Return the line in JSON types, with its `hours`."""
        return {**super().to_dict(), "hours": self.hours}


@attrs.frozen
class Usage(Value):
    """What was used in `[start, end)` (R19)."""

    start: datetime
    end: datetime
    position: int
    """Up to which position of the log it was drawn: asked again as of that position, it is the same."""
    lines: tuple[UsageLine, ...]

    @property
    def total_microseconds(self) -> int:
        """The sum of the lines."""
        return sum(line.microseconds for line in self.lines)

    @property
    def total_hours(self) -> float:
        """The sum of the lines in hours, to be read; `total_microseconds` is exact."""
        return self.total_microseconds / MICROSECONDS_PER_HOUR

    def to_dict(self) -> dict[str, Any]:
        """Return the bill in JSON types, with its totals."""
        totals = {"total_microseconds": self.total_microseconds, "total_hours": self.total_hours}
        return {**super().to_dict(), **totals}


@attrs.define
class Stretch:
    """A stretch of billing-eligibility, open while it has no end."""

    stage: Stage
    start_us: int
    opened_by: int
    end_us: int | None = None
    closed_by: int | None = None


@attrs.define
class VersionLedger:
    """All stretches in which one version was billing-eligible (R18, R19), the latest last."""

    workspace: str
    model_name: str
    model_id: str
    version_id: str
    number: str
    stage: Stage
    stretches: list[Stretch] = attrs.Factory(list)

    @property
    def is_open(self) -> bool:
        """Whether it is billing-eligible after the last event."""
        return bool(self.stretches) and self.stretches[-1].end_us is None

    def as_of(self, holds: Callable[[int, int], bool]) -> VersionLedger:
        """Give it as it was when only those events counted of which position and moment are held: a prefix."""
        kept = [attrs.evolve(one) for one in self.stretches if holds(one.opened_by, one.start_us)]
        for one in kept:
            if one.closed_by is not None and one.end_us is not None and not holds(one.closed_by, one.end_us):
                one.closed_by = one.end_us = None
        return attrs.evolve(self, stage=kept[-1].stage if kept else self.stage, stretches=kept)

    def lines(self, start_us: int, end_us: int, now_us: int) -> Iterable[UsageLine]:
        """Give the lines of a period; what is still open ends at the earlier of its end and now."""
        until_us = min(end_us, now_us)
        for stretch in self.stretches:
            from_us, to_us, closed_by = stretch.start_us, stretch.end_us, stretch.closed_by
            if to_us is None:
                to_us = until_us
            elif to_us > end_us:
                to_us, closed_by = end_us, None
            from_us = max(from_us, start_us)
            if from_us < to_us:
                yield UsageLine(  # by place, which is faster than by name
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
    """Take one event into the ledger of the version that it names; None while no version is known."""
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
    """The ledgers of all versions: `usage` draws a bill from them (R19)."""

    def __init__(self) -> None:
        """Start with an empty log."""
        self.ledgers: dict[str, VersionLedger] = {}
        self.position = 0

    def evolve(self, recorded: Recorded) -> None:
        """Take one event in."""
        self.position = max(self.position, recorded.position)
        version_id = recorded.version_id
        if version_id is not None:
            ledger = evolve_ledger(self.ledgers.get(version_id), recorded)
            if ledger is not None:
                self.ledgers[version_id] = ledger

    def usage(self, start_us: int, end_us: int, now_us: int) -> Usage:
        """Draw the bill of `[start, end)`, with what is still open up to now."""
        return draw_usage(self.ledgers.values(), start_us, end_us, now_us, self.position)


def draw_usage(ledgers: Iterable[VersionLedger], start_us: int, end_us: int, now_us: int, position: int) -> Usage:
    """Draw a bill from the ledgers of versions, ordered by name, start and position."""
    lines = [line for ledger in ledgers for line in ledger.lines(start_us, end_us, now_us)]
    lines.sort(key=lambda line: (line.workspace, line.model_name, line.start, line.opened_by, line.version_id))
    return Usage(moment_of(start_us), moment_of(end_us), position, tuple(lines))
