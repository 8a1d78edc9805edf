"""The picture of a history: one page, or one bare SVG, that opens anywhere and needs nothing.

The law of this room: **a picture is a fold over `Recorded`, and what users wrote stays text.** The states that the
slider shows are those of `ModelAggregate`, the hatching is that of `UsageLedger`, the sentences are those of
`sentences.py`; the script of the page only adds up what stands in it, and decides nothing. Every text goes through
`plain` and is escaped; nothing is loaded, and the page's own policy (CSP) forbids it.

    page = Timeline(registry.history("Fraud"), until_us=now_us, position=registry.position()).html()

A lane is a version, an append is a place on the axis: two of them are never drawn at the same place, and idle time is
cut. To draw a new event: its mark in `_MARKS`; a test complains until each event has one. The looks are in
`timeline.css`, what moves is in `timeline.js`; both go into the page, known to its policy by their digests.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import importlib.resources
import itertools
import json
import statistics
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import attrs

from versioning.aggregate import ModelAggregate
from versioning.events import (
    Event,
    ModelDeleted,
    PrimaryCleared,
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
from versioning.projections import UsageLedger
from versioning.sentences import plain, sentence_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from versioning.aggregate import Stage, Status
    from versioning.events import Recorded

LANES_MAX: Final = 40
"""How many versions have each a lane of their own, before some are folded."""
LANES_KEPT: Final = 24
"""How many keep their own lane then."""

_NO_MODEL: Final = -2
"""In the place of a lane: there is no model, so nothing could be primary."""
_NOBODY: Final = -1
"""In the place of a lane: there is a model, and nothing is primary."""

# Measures of the drawing, in its own units, which are pixels on a screen.
_LABELS: Final = 132.0
_RIGHT: Final = 22.0
_PLOT_MIN: Final = 900.0
_PLOT_MAX: Final = 1_200.0
_PER_APPEND: Final = 3.0
"""From how many appends on the plot grows: one for each of so many units."""
_APART_MIN, _APART_MAX = 1.0, 16.0
"""How far apart two appends are drawn at least, where there are many and where there are few."""
_LAST_MIN: Final = 28.0
"""How long the time since the last append is drawn at least."""
_CUT: Final = 46.0
"""How wide a cut through idle time is drawn."""
_IDLE_SHARE: Final = 0.35
"""A gap is idle, and cut, when it would take more than this share of the plot …"""
_IDLE_TIMES: Final = 6
"""… and is so many times as long as the median gap."""
_TICK_APART: Final = 104.0
_TOP: Final = 34.0
_LANE: Final = 24.0
_HEIGHTS: Final[Mapping[Status, float]] = {"active": 14.0, "activating": 10.0, "inactive": 4.0}
"""Of bars, by status."""
_LIFE: Final = 20.0
_FOLD_MIN, _FOLD_MAX = 32.0, 52.0
_FOLDED_MAX: Final = 50
"""How many versions share a folded lane at most."""
_KEY_HIGH: Final = 28.0
_STACKED: Final = 9.0
"""How far apart marks of one append in one lane are."""
_LABEL_CHARACTERS: Final = 16
_TIP_CHARACTERS: Final = 150


class Mark(NamedTuple):
    """How an event is drawn: its shape tells it apart, not its colour."""

    kind: str
    shape: str
    meaning: str


_CROSS: Final = "M-6-3.5-3.5-6 0-2.5 3.5-6 6-3.5 2.5 0 6 3.5 3.5 6 0 2.5-3.5 6-6 3.5-2.5 0z"
_MARKS: Final[Mapping[type[Event], Mark]] = {
    VersionDeployed: Mark("deployed", "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0z", "deployed"),
    VersionPublished: Mark("published", "M0-6.5 6.5 0 0 6.5-6.5 0z", "published"),
    VersionPromoted: Mark("promoted", "M0-7 6.5 5.5H-6.5z", "promoted"),
    PrimaryCleared: Mark("cleared", "M0 7 6.5-5.5H-6.5z", "primary cleared"),
    VersionDeactivated: Mark("deactivated", "M-5-5H5V5H-5z", "deactivated"),
    VersionActivationRequested: Mark("requested", "M-2-6h4v4h4v4h-4v4h-4v-4h-4v-4h4z", "asked to start"),
    VersionActivated: Mark("activated", "M-5-6.5 7 0-5 6.5z", "activated"),
    VersionActivationFailed: Mark("failed", "M2-8-6 1h4.5L-3 8 6-2H1z", "failed to start"),
    VersionDeleted: Mark("deleted", _CROSS, "deleted"),
    ModelDeleted: Mark("ended", "M-7-7H7V7H-7zM-4-4 4 4M4-4-4 4", "model deleted"),
}


# What there is to draw.


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
        self.primary = _NO_MODEL
        """The lane of the primary at the end."""
        self.since = 0
        """The event that made it so."""
        self._lane_of: dict[str, int] = {}
        self._bar: dict[int, _Since] = {}
        self._role = _Since(0, 0, _NO_MODEL)
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
        return _NOBODY if version_id is None else self._lane_of.get(version_id, _NOBODY)

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
        nobody = _NOBODY if state.exists else _NO_MODEL
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
            if was.start < append and was.what != _NO_MODEL:
                self.roles.append(Role(was.what, was.event, was.start, append))
            self._role = _Since(index, append, lane)

    def _end(self, ledger: UsageLedger) -> None:
        end = len(self.appends_us)
        for lane in list(self._bar):
            self._close_bar(lane, end)
        self.primary, self.since = self._role.what, self._role.event
        self._draw_role(_NO_MODEL, len(self.events), end)
        index_at = {recorded.position: index for index, recorded in enumerate(self.events)}
        for kept in ledger.ledgers.values():
            for stretch in kept.stretches:
                opened = index_at[stretch.opened_by]
                start = self.append_of[opened]
                closed = end if stretch.closed_by is None else self.append_of[index_at[stretch.closed_by]]
                if start < closed:
                    self.billed.append(Billed(self._lane_of[kept.version_id], opened, start, closed))


# Where it goes.


class Scale(NamedTuple):
    """Where on the axis each append and, last, the end is; and which gaps are cut, by the append before them."""

    places: tuple[float, ...]
    cuts: frozenset[int]


def scale_of(appends_us: Sequence[int], until_us: int) -> Scale:
    """Lay out the axis: as long as the time, but no two appends at one place, and idle time cut."""
    times = [*appends_us, max(until_us, appends_us[-1])]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    plot = min(_PLOT_MAX, max(_PLOT_MIN, len(appends_us) * _PER_APPEND))
    least = [min(_APART_MAX, max(_APART_MIN, plot / (2 * len(gaps))))] * (len(gaps) - 1) + [_LAST_MIN]
    typical = statistics.median(gaps)
    cuts: set[int] = set()
    widths = _widths(gaps, least, cuts, plot)
    while len(gaps) > 1:
        longest = max((index for index in range(len(gaps)) if index not in cuts), key=lambda index: widths[index])
        if widths[longest] <= _IDLE_SHARE * plot or gaps[longest] <= _IDLE_TIMES * typical or len(cuts) + 2 > len(gaps):
            break
        cuts.add(longest)
        widths = _widths(gaps, least, cuts, plot)
    places = [_LABELS + _APART_MAX]
    for width in widths:
        places.append(places[-1] + width)
    return Scale(tuple(places), frozenset(cuts))


def _widths(gaps: Sequence[int], least: Sequence[float], cuts: set[int], plot: float) -> list[float]:
    """Share the plot among the gaps by their lengths, each at least as wide as it must be."""
    pinned = dict.fromkeys(cuts, _CUT)
    pinned |= {index: least[index] for index in range(len(gaps)) if index not in cuts and not gaps[index]}
    while True:
        free = [index for index in range(len(gaps)) if index not in pinned]
        rest, time_us = plot - sum(pinned.values()), sum(gaps[index] for index in free)
        narrow = [index for index in free if rest * gaps[index] < least[index] * time_us]
        if not narrow:
            return [pinned[index] if index in pinned else rest * gaps[index] / time_us for index in range(len(gaps))]
        pinned |= {index: least[index] for index in narrow}


class Row(NamedTuple):
    """A stripe of the drawing: one version, or several that are folded."""

    top: float
    height: float
    lanes: tuple[int, ...]
    is_folded: bool

    @property
    def share(self) -> float:
        """How high a version's bar is here, as a share of what it is in a lane of its own."""
        return self.height / len(self.lanes) / _HEIGHTS["active"] if self.is_folded else 1.0

    def middle_of(self, lane: int) -> float:
        """Say at which height a version is drawn."""
        return self.top + self.height * (self.lanes.index(lane) + 0.5) / len(self.lanes)


def kept_lanes(story: Story) -> frozenset[int]:
    """Say which versions keep lanes of their own: the latest primaries, then what is there, then the newest."""
    lanes = range(len(story.lanes))
    if len(lanes) <= LANES_MAX:
        return frozenset(lanes)
    last_primary = {role.lane: role.end for role in story.roles if role.lane != _NOBODY}
    primaries = sorted(last_primary, key=lambda lane: last_primary[lane], reverse=True)[: LANES_KEPT // 2]
    others = [lane for lane in lanes if lane not in primaries]
    others.sort(key=lambda lane: (story.states[lane].status != "deleted", lane), reverse=True)
    return frozenset(primaries + others[: LANES_KEPT - len(primaries)])


def rows_of(story: Story, kept: frozenset[int]) -> tuple[list[Row], list[tuple[float, int]], float]:
    """Stack the versions in the order of their deployment; give the rows, the heights of headings of lives, the end."""
    several = len({lane.life for lane in story.lanes}) > 1
    rows: list[Row] = []
    headings: list[tuple[float, int]] = []
    top, life = _TOP + _LANE + 6, 0
    for run in _runs(story, kept):
        if several and story.lanes[run[0]].life != life:
            life = story.lanes[run[0]].life
            headings.append((top + _LIFE - 6, life))
            top += _LIFE
        height = _LANE if len(run) == 1 else min(_FOLD_MAX, max(_FOLD_MIN, 2.0 * len(run)))
        rows.append(Row(top, height, run, len(run) > 1))
        top += height + (4 if len(run) > 1 else 0)
    return rows, headings, top


def _runs(story: Story, kept: frozenset[int]) -> list[tuple[int, ...]]:
    """Put neighbours that are not kept, of one life, together."""
    runs: list[list[int]] = []
    for index, lane in enumerate(story.lanes):
        before = runs[-1][-1] if runs else None
        is_alike = before is not None and before not in kept and story.lanes[before].life == lane.life
        if is_alike and index not in kept and len(runs[-1]) < _FOLDED_MAX:
            runs[-1].append(index)
        else:
            runs.append([index])
    return [tuple(run) for run in runs]


# How it is said.


def _text(text: str) -> str:
    """Give a text as what a page or an SVG holds: printable, and escaped."""
    return html.escape(plain(text))


def _short(text: str, characters_max: int) -> str:
    said = plain(text)
    return html.escape(said if len(said) <= characters_max else said[: characters_max - 1] + "…")


def _number(value: float) -> str:
    return f"{value + 0.0:.1f}".removesuffix(".0")  # a zero without a sign


def said_moment(moment: datetime) -> str:
    """Say a moment: "2026-01-02 14:03:00 UTC", with its microseconds where it has some."""
    fraction = f".{moment.microsecond:06}" if moment.microsecond else ""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}{fraction} UTC"


_UNITS: Final = (
    ("y", 365 * 86_400_000_000),
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("min", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
)


def said_length(length_us: int) -> str:
    """Say how long something took, in one unit."""
    for unit, unit_us in _UNITS:
        if length_us >= unit_us:
            return f"{_number(length_us // (unit_us / 10) / 10)} {unit}"
    return f"{length_us} µs"


def _said_tick(at_us: int, span_us: int) -> str:
    """Say a moment as finely as the span of the picture needs."""
    moment = moment_of(at_us)
    if span_us < 20 * 1_000_000:
        return f"{moment:%H:%M:%S}.{moment.microsecond // 1_000:03}"
    if span_us < 3_600 * 1_000_000:
        return f"{moment:%H:%M:%S}"
    if span_us < 20 * 3_600 * 1_000_000:
        return f"{moment:%H:%M}"
    return f"{moment:%m-%d %H:%M}" if span_us < 300 * 86_400 * 1_000_000 else f"{moment:%Y-%m-%d}"


# The drawing.


class _Drawing:
    """One SVG of a story."""

    def __init__(self, timeline: Timeline, kept: frozenset[int], prefix: str, *, bare: bool, titled: bool) -> None:
        self._timeline = timeline
        self._story = timeline.story
        self._places = timeline.scale.places
        self._prefix = prefix
        """Before all ids, because a page may hold two drawings."""
        self._bare = bare
        self._titled = titled
        """Whether each mark holds its sentence itself; where it doesn't, the script gives it."""
        self._rows, self._headings, self._bottom = rows_of(self._story, kept)
        self._row_of = {lane: row for row in self._rows for lane in row.lanes}
        self._right = self._places[-1]
        self._width = self._right + _RIGHT
        self._foot = self._bottom

    def draw(self) -> str:
        """Give the SVG."""
        legend, legend_high = self._legend(self._bottom + 44)
        top, tips = (54.0, 26.0) if self._bare else (0.0, 0.0)
        self._foot = height = self._bottom + 34 + legend_high
        size = f'viewBox="0 {_number(-top)} {_number(self._width)} {_number(top + height + tips)}"'
        label = f"The life of {_text(self._timeline.name)}: a lane a version, a mark an event"
        if self._bare:
            namespace = ' xmlns="http://www.w3.org/2000/svg"'
            size += f' width="{_number(self._width)}" height="{_number(top + height + tips)}"'
            head = f"<title>{label}</title><style>{_asset('timeline.css')}</style>"
        else:
            namespace, head = "", ""
        parts = [
            f'<svg{namespace} class="timeline" {size} role="group" aria-label="{label}">{head}',
            self._definitions(),
            self._heading(top) if self._bare else "",
            self._stripes(),
            self._axis(),
            f'<g clip-path="url(#{self._prefix}past)">{self._gaps()}{self._bars()}{self._line()}</g>',
            self._labels(),
            self._marks(),
            f'<line class="cut" x1="0" x2="0" y1="{_number(_TOP - 8)}" y2="{_number(self._bottom)}"/>',
            legend,
            "</svg>",
        ]
        return "".join(parts)

    def _heading(self, top: float) -> str:
        timeline = self._timeline
        said = html.escape(f"{timeline.said_primary()} · {timeline.said_span()}")
        return (
            f'<rect class="paper" x="0" y="{_number(-top)}" width="100%" height="100%"/>'
            f'<text class="name" x="12" y="-30">{_short(timeline.name, 90)}</text>'
            f'<text class="span" x="12" y="-10">{said}</text>'
        )

    def _definitions(self) -> str:
        return (
            f'<defs><pattern id="{self._prefix}hatch" width="6" height="6" patternUnits="userSpaceOnUse" '
            'patternTransform="rotate(45)"><line class="hatch" x1="0" y1="0" x2="0" y2="6"/></pattern>'
            f'<clipPath id="{self._prefix}past"><rect class="past" x="0" y="0" width="{_number(self._width)}" '
            f'height="{_number(self._bottom + 10)}"/></clipPath></defs>'
        )

    def _rect(self, kind: str, stretch: Bar | Billed | Role, top: float, height: float, more: str = "") -> str:
        left, right = self._places[stretch.start], self._places[stretch.end]
        return (
            f'<rect class="{kind}" x="{_number(left)}" y="{_number(top)}" '
            f'width="{_number(max(right - left, 0.5))}" height="{_number(height)}" data-i="{stretch.event}"{more}/>'
        )

    def _stripes(self) -> str:
        drawn = []
        for index, row in enumerate(self._rows):
            kind = "fold" if row.is_folded else ("even" if index % 2 else "odd")
            drawn.append(
                f'<rect class="stripe {kind}" x="0" y="{_number(row.top)}" width="{_number(self._width)}" '
                f'height="{_number(row.height)}"/>'
            )
        for base, life in self._headings:
            drawn.append(f'<text class="life" x="12" y="{_number(base)}">life {life} of the name</text>')
        return "".join(drawn)

    def _axis(self) -> str:
        """The moments of some appends, the cuts through idle time, and the end."""
        times, places = self._story.appends_us, self._places
        until_us = self._timeline.until_us
        span_us = until_us - times[0]
        ticked: list[float] = []
        drawn = []
        for index in [0, *(cut + 1 for cut in sorted(self._timeline.scale.cuts)), *range(len(times))]:
            place = places[index]
            is_free = index == 0 or place + _TICK_APART <= self._right
            if is_free and all(abs(place - other) >= _TICK_APART for other in ticked):
                ticked.append(place)
                drawn.append(self._tick(place, _said_tick(times[index], span_us)))
        drawn.append(self._tick(self._right, self._timeline.ending, "end"))
        for index in sorted(self._timeline.scale.cuts):
            left, right = places[index] + 10, places[index + 1] - 10
            length_us = (*times, until_us)[index + 1] - times[index]
            zigzag = "".join(f"l{4 if step % 2 else -4} 6" for step in range(int((self._bottom - _TOP) / 6)))
            drawn.append(
                f'<rect class="idle" x="{_number(left)}" y="{_number(_TOP)}" width="{_number(right - left)}" '
                f'height="{_number(self._bottom - _TOP)}"/>'
                f'<path class="zigzag" d="M{_number(left)} {_number(_TOP)}{zigzag}"/>'
                f'<path class="zigzag" d="M{_number(right)} {_number(_TOP)}{zigzag}"/>'
                f'<text class="length" x="{_number((left + right) / 2)}" y="{_number(self._bottom + 14)}">'
                f"{said_length(length_us)}</text>"
            )
        return "".join(drawn)

    def _tick(self, place: float, said: str, kind: str = "start") -> str:
        return (
            f'<line class="tick" x1="{_number(place)}" x2="{_number(place)}" y1="{_number(_TOP - 10)}" '
            f'y2="{_number(self._bottom)}"/><text class="tick {kind}" x="{_number(place)}" y="{_number(_TOP - 14)}">'
            f"{_text(said)}</text>"
        )

    def _gaps(self) -> str:
        """Where there was a model, and no primary; all the way down, so that a short one is seen too."""
        return "".join(
            self._rect("gap", role, _TOP, self._bottom - _TOP) for role in self._story.roles if role.lane == _NOBODY
        )

    def _bars(self) -> str:
        drawn = []
        for bar in self._story.bars:
            row = self._row_of[bar.lane]
            high = row.share * _HEIGHTS[bar.status]
            kind = f"bar {bar.status} {bar.stage}{' thin' if row.is_folded else ''}"
            drawn.append(self._rect(kind, bar, row.middle_of(bar.lane) - high / 2, high))
        for billed in self._story.billed:
            row = self._row_of[billed.lane]
            high = row.share * _HEIGHTS["active"]
            more = f' fill="url(#{self._prefix}hatch)"'
            kind = f"billed{' thin' if row.is_folded else ''}"
            drawn.append(self._rect(kind, billed, row.middle_of(billed.lane) - high / 2, high, more))
        return "".join(drawn)

    def _line(self) -> str:
        """The primary: one bold step line through the lanes, and a row of numbers on top."""
        halo: list[str] = []
        line: list[str] = []
        top: list[str] = []
        goes_on = {role.start for role in self._story.roles if role.lane != _NOBODY} | {len(self._story.appends_us)}
        before: Role | None = None
        for role in self._story.roles:
            left, right = self._places[role.start], self._places[role.end]
            more = f' data-i="{role.event}"'
            if role.lane == _NOBODY:
                top.append(self._rect("role none", role, _TOP + 3, 18))
                top.append(self._said_role("none", "none", role))
                before = role
                continue
            row, number = self._row_of[role.lane], self._story.lanes[role.lane].number
            middle, thin = row.middle_of(role.lane), " thin" if row.is_folded else ""
            cap = 4 if row.is_folded else 8
            kind = "role even" if role.lane % 2 else "role odd"
            top += [self._rect(kind, role, _TOP + 3, 18), self._said_role("who", number, role)]
            if before is not None and before.end == role.start and before.lane != _NOBODY:
                path = f"M{_number(left)} {_number(self._row_of[before.lane].middle_of(before.lane))}V{_number(middle)}"
            else:
                path = f"M{_number(left)} {_number(middle - cap)}v{2 * cap}M{_number(left)} {_number(middle)}"
            path += f"H{_number(right)}"
            if role.end not in goes_on:
                path += f"M{_number(right)} {_number(middle - cap)}v{2 * cap}"
            halo.append(f'<path class="halo{thin}" d="{path}"{more}/>')
            line.append(f'<path class="primary{thin}" d="{path}"{more}/>')
            before = role
        return "".join(top + halo + line)

    def _said_role(self, kind: str, said: str, role: Role) -> str:
        left, right = self._places[role.start], self._places[role.end]
        if right - left < 7 * len(said) + 8:
            return ""
        return (
            f'<text class="{kind}" x="{_number((left + right) / 2)}" y="{_number(_TOP + 16)}" '
            f'data-i="{role.event}">{html.escape(said)}</text>'
        )

    def _labels(self) -> str:
        story, drawn = self._story, [f'<text class="label what" x="12" y="{_number(_TOP + 16)}">primary</text>']
        for row in self._rows:
            middle = row.top + row.height / 2
            if not row.is_folded:
                (lane,) = row.lanes
                state = story.states[lane]
                kind = (
                    "label"
                    + (" is-primary" if state.is_primary else "")
                    + (" is-deleted" if state.status == "deleted" else "")
                )
                drawn.append(
                    f'<text class="{kind}" data-lane="{lane}" x="12" y="{_number(middle + 4)}">'
                    f"{_short(story.lanes[lane].number, _LABEL_CHARACTERS)}</text>"
                )
                continue
            first, last = story.lanes[row.lanes[0]].number, story.lanes[row.lanes[-1]].number
            drawn.append(
                f'<text class="label folded" x="12" y="{_number(middle - 3)}">{len(row.lanes)} versions</text>'
                f'<text class="label folded range" x="12" y="{_number(middle + 11)}">'
                f"{_short(first, _LABEL_CHARACTERS // 2)} – {_short(last, _LABEL_CHARACTERS // 2)}</text>"
            )
        return "".join(drawn)

    def _marks(self) -> str:
        story, drawn = self._story, ['<g class="marks">']
        stacked: dict[tuple[int, int], int] = {}
        for index, recorded in enumerate(story.events):
            mark, lane = _MARKS[type(recorded.event)], story.lane_of(recorded.version_id)
            append = story.append_of[index]
            row = self._row_of.get(lane)
            before = stacked[append, lane] = stacked.get((append, lane), -1) + 1
            place = self._places[append]
            place += before * min(_STACKED, max(1.0, (self._places[append + 1] - place) / 2))
            height = _TOP + 12 if row is None else row.middle_of(lane)
            small = row is not None and row.is_folded
            scale = ' transform="scale(.45)"' if small else ""
            drawn.append(
                f'<g class="mark {mark.kind}{" small" if small else ""}" data-i="{index}" tabindex="0" role="img" '
                f'transform="translate({_number(place)} {_number(height)})">{self._title(index)}'
                f'<circle class="hit" r="{3 if small else 10}"/><path d="{mark.shape}"'
                f"{scale}/>{self._tip(index, place, height)}</g>"
            )
        return "".join(drawn) + "</g>"

    def _title(self, index: int) -> str:
        return f"<title>{html.escape(self._timeline.told(index))}</title>" if self._titled else ""

    def _tip(self, index: int, place: float, height: float) -> str:
        """Without a script: what the mark that is pointed at says, at the foot of the drawing."""
        if not self._bare:
            return ""
        return (
            f'<text class="tip" x="{_number(12 - place)}" y="{_number(self._foot - height)}">'
            f"{_short(self._timeline.told(index), _TIP_CHARACTERS)}</text>"
        )

    def _legend(self, top: float) -> tuple[str, float]:
        """What the shapes mean, in as many lines as it takes; and how high that is."""
        hatched = f'<rect class="billed" x="0" y="-11" width="34" height="14" fill="url(#{self._prefix}hatch)"/>'
        keys = [
            ('<rect class="bar active published" x="0" y="-11" width="34" height="14"/>', "active"),
            ('<rect class="bar active draft" x="0" y="-11" width="34" height="14"/>', "draft"),
            ('<rect class="bar activating published" x="0" y="-9" width="34" height="10"/>', "starting"),
            ('<rect class="bar inactive published" x="0" y="-6" width="34" height="4"/>', "inactive"),
            (f'<rect class="frame" x="0" y="-11" width="34" height="14"/>{hatched}', "billed"),
            ('<path class="primary" d="M0 2h17v-10h17"/>', "primary"),
            ('<rect class="role none" x="0" y="-12" width="34" height="16"/>', "no primary"),
            ('<path class="zigzag" d="M9-13l4 6-4 6 4 6M21-13l4 6-4 6 4 6"/>', "idle time, cut"),
        ]
        marks = [
            (f'<g class="mark {mark.kind}" transform="translate(6 -4)"><path d="{mark.shape}"/></g>', mark.meaning)
            for mark in _MARKS.values()
        ]
        drawn, base = [], top + 12 - _KEY_HIGH
        for line, shape_wide in ((keys, 40), (marks, 18)):
            left, base = 12.0, base + _KEY_HIGH
            for shape, said in line:
                wide = shape_wide + 7 * len(said) + 10
                if left + wide > self._width:
                    left, base = 12.0, base + _KEY_HIGH
                drawn.append(
                    f'<g transform="translate({_number(left)} {_number(base)})">{shape}'
                    f'<text class="key" x="{shape_wide}" y="0">{said}</text></g>'
                )
                left += wide
        return f'<g class="legend" aria-hidden="true">{"".join(drawn)}</g>', base - top + _KEY_HIGH


# The page.


@functools.cache
def _asset(name: str) -> str:
    """Give a file that goes into the page; it holds nothing that could end its element, and a test says so."""
    return importlib.resources.files(__package__).joinpath(name).read_text("utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def policy_of(style: str, script: str) -> str:
    """Give what the page lets a browser do: this one style, this one script, and nothing else (CSP)."""
    return (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; base-uri 'none'; "
        "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def in_script(value: object) -> str:
    """Give a value as JSON that can stand in a script element: nothing in it ends the element or opens a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


class Timeline:
    """The picture of the history of a name, of all its lives or of one.

    Args:
        log: all of its events, oldest first, and at least one.
        until_us: the moment up to which it is drawn; the last event's, if that is later.
        position: up to which position of the whole log it was drawn.
        ending: how the end is said.
    """

    def __init__(self, log: Iterable[Recorded], *, until_us: int, position: int, ending: str = "now") -> None:
        """Fold the log."""
        self.story = Story(log)
        first, last = self.story.events[0], self.story.events[-1]
        self.name = first.model_name
        self.workspace = first.workspace
        self.until_us = max(until_us, last.event.at_us)
        self.position = position
        self.ending = ending
        self.scale = scale_of(self.story.appends_us, self.until_us)
        self._kept = kept_lanes(self.story)

    # What is said of it.

    def sentence(self, index: int, *, why: bool = True) -> str:
        """Say an event, with its reason or without."""
        recorded = self.story.events[index]
        return sentence_of(recorded if why else attrs.evolve(recorded, reason=None), self.story.number_of)

    def told(self, index: int) -> str:
        """Say an event, when it was, and where it stands."""
        recorded = self.story.events[index]
        return f"{self.sentence(index)} ({said_moment(recorded.timestamp)}, position {recorded.position})"

    def said_span(self) -> str:
        """Say from when to when it is drawn."""
        began, until = self.story.events[0].timestamp, moment_of(self.until_us)
        return f"{said_moment(began)} to {said_moment(until)}, up to position {self.position}"

    def said_primary(self) -> str:
        """Say what answers at the end."""
        primary = self.story.primary
        if primary == _NO_MODEL:
            return "There is no model of this name"
        return "No version is primary" if primary == _NOBODY else f"{self.story.lanes[primary].number} is primary"

    # What it looks like.

    def svg(self) -> str:
        """Give the bare drawing: what is folded stays folded, and a mark says at the foot what it means."""
        return _Drawing(self, self._kept, "", bare=True, titled=True).draw()

    def frame(self) -> str:
        """Give the page in a frame of its own, for a notebook: neither reaches into the other."""
        return (
            f'<iframe sandbox="allow-scripts" title="{_text(self.name)}" width="100%" height="640" '
            f'style="border:0" srcdoc="{html.escape(self.html())}"></iframe>'
        )

    def html(self) -> str:
        """Give the page."""
        style, script = _asset("timeline.css"), _asset("timeline.js")
        policy = html.escape(policy_of(style, script), quote=False)  # apostrophes belong to its grammar
        span = f"Workspace <bdi>{_text(self.workspace)}</bdi> · {self.said_span()} · times are UTC"
        return "".join(
            [
                '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
                f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
                '<meta name="viewport" content="width=device-width, initial-scale=1">',
                '<meta name="referrer" content="no-referrer">',
                f"<title>{_text(self.name)}: timeline</title><style>{style}</style></head>\n<body>",
                f"<header><h1><bdi>{_text(self.name)}</bdi></h1>",
                f'<p class="span">{span}</p></header>\n<main>',
                self._card(),
                self._pictures(),
                self._table(),
                '</main>\n<div id="tip" role="tooltip" hidden></div>\n',
                f'<script type="application/json" id="data">{in_script(self._data())}</script>\n',
                f"<script>{script}</script></body></html>\n",
            ]
        )

    def _card(self) -> str:
        """What is so at the end; the script shows the same as of any position."""
        story = self.story
        there = [lane for lane, state in sorted(story.states.items()) if state.status != "deleted"]
        active = [lane for lane in there if story.states[lane].status == "active"]
        billed = [lane for lane in there if story.states[lane].status in {"active", "activating"}]
        lines = [("active", "Active", active), ("billed", "Billed", billed), ("left", "Not deleted", there)]
        listed = ""
        for key, said, lanes in lines:
            numbers = _text(", ".join(story.lanes[lane].number for lane in lanes)) or "none"
            count = f'<span id="{key}-count">{len(lanes)}</span>'
            listed += f'<div><dt>{said} ({count})</dt><dd id="{key}">{numbers}</dd></div>'
        ending = "Now" if self.ending == "now" else f"As of {self.ending}"
        return (
            f'<section id="card" aria-labelledby="when"><h2 id="when" data-end="{_text(ending)}">{_text(ending)}</h2>'
            f'<p id="primary">{html.escape(self.said_primary())}</p>'
            f'<p id="since">{html.escape(self.told(story.since))}</p>'
            f"<dl>{listed}</dl></section>\n"
        )

    def _pictures(self) -> str:
        everything = frozenset(range(len(self.story.lanes)))
        drawings = self._drawing("folded", "Picture", _Drawing(self, self._kept, "f-", bare=False, titled=True))
        button = ""
        if self._kept != everything:
            unfolded = _Drawing(self, everything, "u-", bare=False, titled=False)
            drawings += self._drawing("unfolded", "Picture, all lanes", unfolded, " hidden")
            button = f'<button type="button" id="unfold" aria-pressed="false">Show all {len(everything)} lanes</button>'
        events, position = len(self.story.events), self.position
        return (
            '<section aria-labelledby="picture"><h2 id="picture">Picture</h2>\n'
            '<div id="controls" hidden><label for="slider">As of</label>'
            f'<input type="range" id="slider" min="0" max="{events}" value="{events}" step="1">'
            f'<label>position <input type="number" id="position" min="0" max="{position}" value="{position}"></label>'
            f'<button type="button" id="now">Back to the end</button>{button}'
            '<p class="help" id="help">In the picture, the arrow keys go from event to event.</p></div>\n'
            f"{drawings}</section>\n"
        )

    def _drawing(self, key: str, label: str, drawing: _Drawing, more: str = "") -> str:
        about = f'role="region" aria-label="{label}" aria-describedby="help"{more}'
        return f'<div class="scroll" id="{key}" {about}>{drawing.draw()}</div>\n'

    def _table(self) -> str:
        rows = []
        for index, recorded in enumerate(self.story.events):
            actor = '<i class="nobody">not said</i>'
            if recorded.actor is not None:
                actor = f"<bdi>{_text(recorded.actor)}</bdi>"
            number = self.story.number_of(recorded.version_id or "") or "–"
            when = said_moment(recorded.timestamp).removesuffix(" UTC")
            rows.append(
                f'<tr data-i="{index}"><td class="n">{recorded.position}</td>'
                f'<td class="t"><time datetime="{recorded.timestamp.isoformat()}">{when}</time></td>'
                f'<td class="v">{_text(number)}</td><td>{_kind(recorded)}</td><td>{actor}</td>'
                f'<td class="s">{html.escape(self.sentence(index))}</td></tr>\n'
            )
        table = _tabled(("Position", "When (UTC)", "Version", "Kind", "Actor", "What happened, and why"), rows)
        filters = "".join(
            f'<label>{said} <select id="by-{said.lower()}"><option value="">all</option></select></label>'
            for said in ("Actor", "Version", "Kind")
        )
        return (
            '<section aria-labelledby="events"><h2 id="events">Events</h2>\n'
            f'<div id="filters" hidden>{filters}<button type="button" id="clear">Show all</button>'
            '<p id="count" role="status"></p></div>\n'
            '<div class="scroll" role="region" aria-labelledby="events" tabindex="0">'
            f"{table}</div></section>\n"
        )

    def _data(self) -> dict[str, Any]:
        """What the script adds up: after each event, what changed; and where the past ends in the picture."""
        story = self.story
        actors = list(dict.fromkeys(recorded.actor for recorded in story.events))
        several = len({lane.life for lane in story.lanes}) > 1
        return {
            "actors": ["not said" if actor is None else plain(actor) for actor in actors],
            "versions": [
                {"number": number, "label": f"{number} (life {life})" if several else number}
                for number, life in ((plain(lane.number), lane.life) for lane in story.lanes)
            ],
            "events": [
                {
                    "position": recorded.position,
                    "when": said_moment(recorded.timestamp),
                    "kind": _kind(recorded),
                    "lanes": [
                        lane
                        for lane in (
                            story.lane_of(recorded.version_id),
                            story.lane_of(getattr(recorded.event, "previous", None)),
                        )
                        if lane >= 0
                    ],
                    "actor": actors.index(recorded.actor),
                    "said": self.sentence(index, why=False),
                    "why": None if recorded.reason is None else plain(recorded.reason),
                    "exists": story.exists[index],
                    "changes": [[*change] for change in story.changes[index]],
                }
                for index, recorded in enumerate(story.events)
            ],
            "cuts": [round(place, 1) for place in self._past_ends()],
        }

    def _past_ends(self) -> list[float]:
        """Where the picture as of each number of events ends: what they made lasts until the next append."""
        places, append_of = self.scale.places, self.story.append_of
        ends = [places[0] - 8]
        for before, after in itertools.pairwise(append_of):
            inside = places[before] + 0.5
            ends.append(inside if before == after else places[after] - 0.5)
        return [*ends, places[-1] + _RIGHT]


def _kind(recorded: Recorded) -> str:
    cause = getattr(recorded.event, "cause", None)
    return type(recorded.event).__name__ + ("" if cause is None else f" ({cause})")


def _tabled(heads: Sequence[str], rows: Sequence[str]) -> str:
    head = "".join(f'<th scope="col">{said}</th>' for said in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def table_of(log: Iterable[Recorded], events_max: int) -> str:
    """Give some events as a bare table, for a notebook: of whatever names, from wherever in the log."""
    numbers: dict[str, str] = {}
    rows, more = [], ""
    for count, recorded in enumerate(log):
        if count == events_max:
            more = f"<p>These are the first {events_max}; there are more.</p>"
            break
        if isinstance(recorded.event, VersionDeployed):
            numbers[recorded.event.version_id] = recorded.event.number
        rows.append(
            f"<tr><td>{recorded.position}</td><td>{said_moment(recorded.timestamp)}</td><td>{_kind(recorded)}</td>"
            f"<td>{html.escape(sentence_of(recorded, numbers.get, named=True))}</td></tr>"
        )
    return _tabled(("Position", "When", "Kind", "What happened"), rows) + more
