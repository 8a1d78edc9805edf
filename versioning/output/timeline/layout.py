"""Where it is drawn: places on the axis, lanes, and which versions share one.

The law of this room: no two appends are drawn at the same place, and idle time is cut. Measures are in the
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
"""How many versions have each a lane of their own, before some are folded."""
LANES_KEPT: Final = 24
"""How many keep their own lane then."""

# Measures of the drawing, in its own units, which are pixels on a screen.
LABELS_WIDE: Final = 132.0
RIGHT_WIDE: Final = 22.0
PLOT_MIN: Final = 900.0
PLOT_MAX: Final = 1_200.0
_PER_APPEND: Final = 3.0
"""From how many appends on the plot grows: one for each of so many units."""
APART_MIN, APART_MAX = 1.0, 16.0
"""How far apart two appends are drawn at least, where there are many and where there are few."""
_LAST_MIN: Final = 28.0
"""How long the time since the last append is drawn at least."""
CUT_WIDE: Final = 46.0
"""How wide a cut through idle time is drawn."""
_IDLE_SHARE: Final = 0.35
"""A gap is idle, and cut, when it would take more than this share of the plot …"""
_IDLE_TIMES: Final = 6
"""… and is so many times as long as the median gap."""
TOP: Final = 34.0
LANE_HIGH: Final = 24.0
BAR_HEIGHTS: Final[Mapping[Status, float]] = {"active": 14.0, "activating": 10.0, "inactive": 4.0}
"""Of bars, by status."""
LIFE_HIGH: Final = 20.0
_FOLD_MIN, _FOLD_MAX = 32.0, 52.0
FOLDED_MAX: Final = 50
"""How many versions share a folded lane at most."""


class Scale(NamedTuple):
    """Where on the axis each append and, last, the end is; and which gaps are cut, by the append before them."""

    places: tuple[float, ...]
    cuts: frozenset[int]


def scale_of(appends_us: Sequence[int], until_us: int) -> Scale:
    """Lay out the axis: as long as the time, but no two appends at one place, and idle time cut."""
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
    """Share the plot among the gaps by their lengths, each at least as wide as it must be."""
    pinned = dict.fromkeys(cuts, CUT_WIDE)
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
        return self.height / len(self.lanes) / BAR_HEIGHTS["active"] if self.is_folded else 1.0

    def middle_of(self, lane: int) -> float:
        """Say at which height a version is drawn."""
        return self.top + self.height * (self.lanes.index(lane) + 0.5) / len(self.lanes)


def kept_lanes(story: Story) -> frozenset[int]:
    """Say which versions keep lanes of their own: the latest primaries, then what is there, then the newest."""
    lanes = range(len(story.lanes))
    if len(lanes) <= LANES_MAX:
        return frozenset(lanes)
    last_primary = {role.lane: role.end for role in story.roles if role.lane != NOBODY}
    primaries = sorted(last_primary, key=lambda lane: last_primary[lane], reverse=True)[: LANES_KEPT // 2]
    others = [lane for lane in lanes if lane not in primaries]
    others.sort(key=lambda lane: (story.states[lane].status != "deleted", lane), reverse=True)
    return frozenset(primaries + others[: LANES_KEPT - len(primaries)])


def rows_of(story: Story, kept: frozenset[int]) -> tuple[list[Row], list[tuple[float, int]], float]:
    """Stack the versions in the order of their deployment; give the rows, the heights of headings of lives, the end."""
    several = len({lane.life for lane in story.lanes}) > 1
    rows: list[Row] = []
    headings: list[tuple[float, int]] = []
    top, life = TOP + LANE_HIGH + 6, 0
    for run in _runs(story, kept):
        if several and story.lanes[run[0]].life != life:
            life = story.lanes[run[0]].life
            headings.append((top + LIFE_HIGH - 6, life))
            top += LIFE_HIGH
        height = LANE_HIGH if len(run) == 1 else min(_FOLD_MAX, max(_FOLD_MIN, 2.0 * len(run)))
        rows.append(Row(top, height, run, len(run) > 1))
        top += height + (4 if len(run) > 1 else 0)
    return rows, headings, top


def _runs(story: Story, kept: frozenset[int]) -> list[tuple[int, ...]]:
    """Put neighbours that are not kept, of one life, together."""
    runs: list[list[int]] = []
    for index, lane in enumerate(story.lanes):
        before = runs[-1][-1] if runs else None
        is_alike = before is not None and before not in kept and story.lanes[before].life == lane.life
        if is_alike and index not in kept and len(runs[-1]) < FOLDED_MAX:
            runs[-1].append(index)
        else:
            runs.append([index])
    return [tuple(run) for run in runs]
