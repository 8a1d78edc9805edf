"""Where things are drawn: places on the axis, rows of lanes, and which versions share a row.

The law of this room: **no two appends are drawn at the same place, and idle time is cut.** Measures are in the
drawing's own units, which are pixels on a screen.
"""

from __future__ import annotations

import itertools
import statistics
from typing import TYPE_CHECKING, Final, NamedTuple

from versioning.output.timeline.story import NOBODY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from versioning.aggregate import Status
    from versioning.output.timeline.story import Story

LANES_MAX: Final = 40
"""Number of versions up to which each has a row of its own."""
LANES_KEPT: Final = 24
"""Number of versions that keep a row of their own where there are more."""

# Measures of the drawing, in its own units, which are pixels on a screen.
LABELS_WIDE: Final = 132.0
RIGHT_WIDE: Final = 22.0
PLOT_MIN: Final = 900.0
PLOT_MAX: Final = 1_200.0
_PER_APPEND: Final = 3.0
"""Units of the plot for each append, where there are many; then the plot grows."""
APART_MIN, APART_MAX = 1.0, 16.0
"""Smallest distance of two appends, where there are many and where there are few."""
_LAST_MIN: Final = 28.0
"""Smallest width of the time since the last append."""
CUT_WIDE: Final = 46.0
"""Width of a cut through idle time."""
_IDLE_SHARE: Final = 0.35
"""Share of the plot above which a gap counts as idle and is cut, if it is also …"""
_IDLE_TIMES: Final = 6
"""… longer than this many times the median gap."""
TOP: Final = 34.0
LANE_HIGH: Final = 24.0
BAR_HEIGHTS: Final[Mapping[Status, float]] = {"active": 14.0, "activating": 10.0, "inactive": 4.0}
"""Heights of bars, by status."""
LIFE_HIGH: Final = 20.0
_FOLD_MIN, _FOLD_MAX = 32.0, 52.0
FOLDED_MAX: Final = 50
"""Largest number of versions that share a row."""


class Scale(NamedTuple):
    """The axis."""

    places: tuple[float, ...]
    """Place of each append and, last, of the end."""
    cuts: frozenset[int]
    """Gaps that are cut, by the append before them."""


def scale_of(appends_us: Sequence[int], until_us: int) -> Scale:
    """Lay out the axis: in proportion to time, but with no two appends at one place, and idle time cut."""
    times = [*appends_us, max(until_us, appends_us[-1])]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    plot = min(PLOT_MAX, max(PLOT_MIN, len(appends_us) * _PER_APPEND))
    least = [min(APART_MAX, max(APART_MIN, plot / (2 * len(gaps))))] * (len(gaps) - 1) + [_LAST_MIN]
    typical = statistics.median(gaps)
    cuts: set[int] = set()
    widths = _widths(gaps, least, cuts, plot)
    while len(gaps) > 1:
        longest = max((index for index in range(len(gaps)) if index not in cuts), key=lambda index: widths[index])
        if widths[longest] <= _IDLE_SHARE * plot or gaps[longest] <= _IDLE_TIMES * typical or len(cuts) + 2 > len(gaps):
            break
        cuts.add(longest)
        widths = _widths(gaps, least, cuts, plot)
    places = [LABELS_WIDE + APART_MAX]
    for width in widths:
        places.append(places[-1] + width)
    return Scale(tuple(places), frozenset(cuts))


def _widths(gaps: Sequence[int], least: Sequence[float], cuts: set[int], plot: float) -> list[float]:
    """Return the widths of gaps: in proportion to their lengths, but none below its least width."""
    pinned = dict.fromkeys(cuts, CUT_WIDE)
    pinned |= {index: least[index] for index in range(len(gaps)) if index not in cuts and not gaps[index]}
    while True:
        free = [index for index in range(len(gaps)) if index not in pinned]
        rest, time_us = plot - sum(pinned.values()), sum(gaps[index] for index in free)
        narrow = [index for index in free if rest * gaps[index] < least[index] * time_us]
        if not narrow:
            return [pinned[index] if index in pinned else rest * gaps[index] / time_us for index in range(len(gaps))]
        pinned |= {index: least[index] for index in narrow}


class LaneRow(NamedTuple):
    """A row of the drawing: the lane of one version, or the folded lanes of several."""

    top: float
    height: float
    lanes: tuple[int, ...]
    is_folded: bool

    @property
    def share(self) -> float:
        """Height of a bar in this row, as a share of its height in a row of its own."""
        return self.height / len(self.lanes) / BAR_HEIGHTS["active"] if self.is_folded else 1.0

    def middle_of(self, lane: int) -> float:
        """Return the height at which a version is drawn."""
        return self.top + self.height * (self.lanes.index(lane) + 0.5) / len(self.lanes)


def kept_lanes(story: Story) -> frozenset[int]:
    """Return the versions that keep rows of their own: the latest primaries, then undeleted ones, the newest first."""
    lanes = range(len(story.lanes))
    if len(lanes) <= LANES_MAX:
        return frozenset(lanes)
    last_primary = {span.lane: span.end for span in story.primaries if span.lane != NOBODY}
    primaries = sorted(last_primary, key=lambda lane: last_primary[lane], reverse=True)[: LANES_KEPT // 2]
    others = [lane for lane in lanes if lane not in primaries]
    others.sort(key=lambda lane: (story.states[lane].status != "deleted", lane), reverse=True)
    return frozenset(primaries + others[: LANES_KEPT - len(primaries)])


def rows_of(story: Story, kept: frozenset[int]) -> tuple[list[LaneRow], list[tuple[float, int]], float]:
    """Stack the lanes in the order of deployment.

    Returns:
        The rows; the height and the number of each heading of a life; and the height of the end.
    """
    several = len({lane.life for lane in story.lanes}) > 1
    rows: list[LaneRow] = []
    headings: list[tuple[float, int]] = []
    top, life = TOP + LANE_HIGH + 6, 0
    for run in _runs(story, kept):
        if several and story.lanes[run[0]].life != life:
            life = story.lanes[run[0]].life
            headings.append((top + LIFE_HIGH - 6, life))
            top += LIFE_HIGH
        height = LANE_HIGH if len(run) == 1 else min(_FOLD_MAX, max(_FOLD_MIN, 2.0 * len(run)))
        rows.append(LaneRow(top, height, run, len(run) > 1))
        top += height + (4 if len(run) > 1 else 0)
    return rows, headings, top


def _runs(story: Story, kept: frozenset[int]) -> list[tuple[int, ...]]:
    """Group neighbouring lanes of one life that have no row of their own."""
    runs: list[list[int]] = []
    for index, lane in enumerate(story.lanes):
        before = runs[-1][-1] if runs else None
        is_alike = before is not None and before not in kept and story.lanes[before].life == lane.life
        if is_alike and index not in kept and len(runs[-1]) < FOLDED_MAX:
            runs[-1].append(index)
        else:
            runs.append([index])
    return [tuple(run) for run in runs]
