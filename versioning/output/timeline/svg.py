"""The drawing: one SVG of a story, with a mark for each event whose shape tells what happened.

The law of this room: **what users wrote stays text.** Every text goes through `plain` and is escaped.

To draw a new event: add its mark to `MARKS`; a test complains until each event has one. The style is in `timeline.css`.
"""

from __future__ import annotations

import functools
import html
import importlib.resources
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

import attrs

from versioning.events import (
    Event,
    ModelDeleted,
    NothingChanged,
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
from versioning.output.timeline.layout import BAR_HEIGHTS, RIGHT_WIDE, TOP, kept_lanes, rows_of, scale_of
from versioning.output.timeline.story import NO_MODEL, NOBODY, Story
from versioning.sentences import plain, sentence_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from versioning.events import Recorded
    from versioning.output.timeline.story import Bar, Billed, PrimarySpan

_TICK_APART: Final = 104.0
_KEY_HIGH: Final = 28.0
_STACKED: Final = 9.0
"""Distance of two marks of one append in one lane."""
_LABEL_CHARACTERS: Final = 16
_TIP_CHARACTERS: Final = 150


class Mark(NamedTuple):
    """How an event is drawn; its shape tells it apart, not its colour."""

    kind: str
    shape: str
    meaning: str


_CROSS: Final = "M-6-3.5-3.5-6 0-2.5 3.5-6 6-3.5 2.5 0 6 3.5 3.5 6 0 2.5-3.5 6-6 3.5-2.5 0z"
MARKS: Final[Mapping[type[Event], Mark]] = {
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
    NothingChanged: Mark("nothing", "M-6-2.5H6V2.5H-6z", "nothing changed"),
}


# Words and measures.


def text_of(text: str) -> str:
    """Return a text as a page or an SVG may hold it: printable and escaped."""
    return html.escape(plain(text))


def _short(text: str, characters_max: int) -> str:
    said = plain(text)
    return html.escape(said if len(said) <= characters_max else said[: characters_max - 1] + "…")


def units(value: float) -> str:
    """Return a measure as the drawing writes it, with one decimal at most."""
    return f"{value + 0.0:.1f}".removesuffix(".0")  # a zero without a sign


def said_moment(moment: datetime) -> str:
    """Return a moment as "2026-01-02 14:03:00 UTC", with microseconds only if it has some."""
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
    """Return a length of time in one unit."""
    for unit, unit_us in _UNITS:
        if length_us >= unit_us:
            return f"{units(length_us // (unit_us / 10) / 10)} {unit}"
    return f"{length_us} µs"


def _said_tick(at_us: int, span_us: int) -> str:
    """Return a moment as finely as the span of the picture needs."""
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

    def __init__(self, timeline: Picture, kept: frozenset[int], prefix: str, *, bare: bool, titled: bool) -> None:
        self._timeline = timeline
        self._story = timeline.story
        self._places = timeline.scale.places
        self._prefix = prefix
        """Prefix of all ids, because a page may hold two drawings."""
        self._bare = bare
        self._titled = titled
        """Whether each mark holds its own sentence; else the script adds it."""
        self._rows, self._headings, self._bottom = rows_of(self._story, kept)
        self._row_of = {lane: row for row in self._rows for lane in row.lanes}
        self._right = self._places[-1]
        self._width = self._right + RIGHT_WIDE
        self._foot = self._bottom

    def draw(self) -> str:
        """Return the SVG."""
        legend, legend_high = self._legend(self._bottom + 44)
        top, tips = (54.0, 26.0) if self._bare else (0.0, 0.0)
        self._foot = height = self._bottom + 34 + legend_high
        size = f'viewBox="0 {units(-top)} {units(self._width)} {units(top + height + tips)}"'
        label = f"The life of {text_of(self._timeline.name)}: a lane a version, a mark an event"
        if self._bare:
            namespace = ' xmlns="http://www.w3.org/2000/svg"'
            size += f' width="{units(self._width)}" height="{units(top + height + tips)}"'
            head = f"<title>{label}</title><style>{asset('timeline.css')}</style>"
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
            f'<line class="cut" x1="0" x2="0" y1="{units(TOP - 8)}" y2="{units(self._bottom)}"/>',
            legend,
            "</svg>",
        ]
        return "".join(parts)

    def _heading(self, top: float) -> str:
        timeline = self._timeline
        said = html.escape(f"{timeline.said_primary()} · {timeline.said_span()}")
        return (
            f'<rect class="paper" x="0" y="{units(-top)}" width="100%" height="100%"/>'
            f'<text class="name" x="12" y="-30">{_short(timeline.name, 90)}</text>'
            f'<text class="span" x="12" y="-10">{said}</text>'
        )

    def _definitions(self) -> str:
        return (
            f'<defs><pattern id="{self._prefix}hatch" width="6" height="6" patternUnits="userSpaceOnUse" '
            'patternTransform="rotate(45)"><line class="hatch" x1="0" y1="0" x2="0" y2="6"/></pattern>'
            f'<clipPath id="{self._prefix}past"><rect class="past" x="0" y="0" width="{units(self._width)}" '
            f'height="{units(self._bottom + 10)}"/></clipPath></defs>'
        )

    def _rect(self, kind: str, stretch: Bar | Billed | PrimarySpan, top: float, height: float, more: str = "") -> str:
        left, right = self._places[stretch.start], self._places[stretch.end]
        return (
            f'<rect class="{kind}" x="{units(left)}" y="{units(top)}" '
            f'width="{units(max(right - left, 0.5))}" height="{units(height)}" data-i="{stretch.event}"{more}/>'
        )

    def _stripes(self) -> str:
        drawn = []
        for index, row in enumerate(self._rows):
            kind = "fold" if row.is_folded else ("even" if index % 2 else "odd")
            drawn.append(
                f'<rect class="stripe {kind}" x="0" y="{units(row.top)}" width="{units(self._width)}" '
                f'height="{units(row.height)}"/>'
            )
        for base, life in self._headings:
            drawn.append(f'<text class="life" x="12" y="{units(base)}">life {life} of the name</text>')
        return "".join(drawn)

    def _axis(self) -> str:
        """Draw the moments of some appends, the cuts through idle time, and the end."""
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
            zigzag = "".join(f"l{4 if step % 2 else -4} 6" for step in range(int((self._bottom - TOP) / 6)))
            drawn.append(
                f'<rect class="idle" x="{units(left)}" y="{units(TOP)}" width="{units(right - left)}" '
                f'height="{units(self._bottom - TOP)}"/>'
                f'<path class="zigzag" d="M{units(left)} {units(TOP)}{zigzag}"/>'
                f'<path class="zigzag" d="M{units(right)} {units(TOP)}{zigzag}"/>'
                f'<text class="length" x="{units((left + right) / 2)}" y="{units(self._bottom + 14)}">'
                f"{said_length(length_us)}</text>"
            )
        return "".join(drawn)

    def _tick(self, place: float, said: str, kind: str = "start") -> str:
        return (
            f'<line class="tick" x1="{units(place)}" x2="{units(place)}" y1="{units(TOP - 10)}" '
            f'y2="{units(self._bottom)}"/><text class="tick {kind}" x="{units(place)}" y="{units(TOP - 14)}">'
            f"{text_of(said)}</text>"
        )

    def _gaps(self) -> str:
        """Mark where there was a model without a primary; all the way down, so that a short gap is seen too."""
        return "".join(
            self._rect("gap", span, TOP, self._bottom - TOP) for span in self._story.primaries if span.lane == NOBODY
        )

    def _bars(self) -> str:
        drawn = []
        for bar in self._story.bars:
            row = self._row_of[bar.lane]
            high = row.share * BAR_HEIGHTS[bar.status]
            kind = f"bar {bar.status} {bar.stage}{' thin' if row.is_folded else ''}"
            drawn.append(self._rect(kind, bar, row.middle_of(bar.lane) - high / 2, high))
        for billed in self._story.billed:
            row = self._row_of[billed.lane]
            high = row.share * BAR_HEIGHTS["active"]
            more = f' fill="url(#{self._prefix}hatch)"'
            kind = f"billed{' thin' if row.is_folded else ''}"
            drawn.append(self._rect(kind, billed, row.middle_of(billed.lane) - high / 2, high, more))
        return "".join(drawn)

    def _line(self) -> str:
        """Draw the primary: one bold step line through the lanes, and a row of numbers on top."""
        halo: list[str] = []
        line: list[str] = []
        top: list[str] = []
        goes_on = {span.start for span in self._story.primaries if span.lane != NOBODY} | {len(self._story.appends_us)}
        before: PrimarySpan | None = None
        for span in self._story.primaries:
            left, right = self._places[span.start], self._places[span.end]
            more = f' data-i="{span.event}"'
            if span.lane == NOBODY:
                top.append(self._rect("role none", span, TOP + 3, 18))
                top.append(self._said_primary("none", "none", span))
                before = span
                continue
            row, number = self._row_of[span.lane], self._story.lanes[span.lane].number
            middle, thin = row.middle_of(span.lane), " thin" if row.is_folded else ""
            cap = 4 if row.is_folded else 8
            kind = "role even" if span.lane % 2 else "role odd"
            top += [self._rect(kind, span, TOP + 3, 18), self._said_primary("who", number, span)]
            if before is not None and before.end == span.start and before.lane != NOBODY:
                path = f"M{units(left)} {units(self._row_of[before.lane].middle_of(before.lane))}V{units(middle)}"
            else:
                path = f"M{units(left)} {units(middle - cap)}v{2 * cap}M{units(left)} {units(middle)}"
            path += f"H{units(right)}"
            if span.end not in goes_on:
                path += f"M{units(right)} {units(middle - cap)}v{2 * cap}"
            halo.append(f'<path class="halo{thin}" d="{path}"{more}/>')
            line.append(f'<path class="primary{thin}" d="{path}"{more}/>')
            before = span
        return "".join(top + halo + line)

    def _said_primary(self, kind: str, said: str, span: PrimarySpan) -> str:
        left, right = self._places[span.start], self._places[span.end]
        if right - left < 7 * len(said) + 8:
            return ""
        return (
            f'<text class="{kind}" x="{units((left + right) / 2)}" y="{units(TOP + 16)}" '
            f'data-i="{span.event}">{html.escape(said)}</text>'
        )

    def _labels(self) -> str:
        story, drawn = self._story, [f'<text class="label what" x="12" y="{units(TOP + 16)}">primary</text>']
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
                    f'<text class="{kind}" data-lane="{lane}" x="12" y="{units(middle + 4)}">'
                    f"{_short(story.lanes[lane].number, _LABEL_CHARACTERS)}</text>"
                )
                continue
            first, last = story.lanes[row.lanes[0]].number, story.lanes[row.lanes[-1]].number
            drawn.append(
                f'<text class="label folded" x="12" y="{units(middle - 3)}">{len(row.lanes)} versions</text>'
                f'<text class="label folded range" x="12" y="{units(middle + 11)}">'
                f"{_short(first, _LABEL_CHARACTERS // 2)} – {_short(last, _LABEL_CHARACTERS // 2)}</text>"
            )
        return "".join(drawn)

    def _marks(self) -> str:
        story, drawn = self._story, ['<g class="marks">']
        stacked: dict[tuple[int, int], int] = {}
        for index, recorded in enumerate(story.events):
            mark, lane = MARKS[type(recorded.event)], story.lane_of(recorded.version_id)
            append = story.append_of[index]
            row = self._row_of.get(lane)
            before = stacked[append, lane] = stacked.get((append, lane), -1) + 1
            place = self._places[append]
            place += before * min(_STACKED, max(1.0, (self._places[append + 1] - place) / 2))
            height = TOP + 12 if row is None else row.middle_of(lane)
            small = row is not None and row.is_folded
            scale = ' transform="scale(.45)"' if small else ""
            drawn.append(
                f'<g class="mark {mark.kind}{" small" if small else ""}" data-i="{index}" tabindex="0" role="img" '
                f'transform="translate({units(place)} {units(height)})">{self._title(index)}'
                f'<circle class="hit" r="{3 if small else 10}"/><path d="{mark.shape}"'
                f"{scale}/>{self._tip(index, place, height)}</g>"
            )
        return "".join(drawn) + "</g>"

    def _title(self, index: int) -> str:
        return f"<title>{html.escape(self._timeline.told(index))}</title>" if self._titled else ""

    def _tip(self, index: int, place: float, height: float) -> str:
        """Return the sentence that the foot of a bare drawing shows, without a script, for the mark pointed at."""
        if not self._bare:
            return ""
        return (
            f'<text class="tip" x="{units(12 - place)}" y="{units(self._foot - height)}">'
            f"{_short(self._timeline.told(index), _TIP_CHARACTERS)}</text>"
        )

    def _legend(self, top: float) -> tuple[str, float]:
        """Return the legend of the shapes, in as many lines as it takes, and its height."""
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
            for mark in MARKS.values()
        ]
        drawn, base = [], top + 12 - _KEY_HIGH
        for line, shape_wide in ((keys, 40), (marks, 18)):
            left, base = 12.0, base + _KEY_HIGH
            for shape, said in line:
                wide = shape_wide + 7 * len(said) + 10
                if left + wide > self._width:
                    left, base = 12.0, base + _KEY_HIGH
                drawn.append(
                    f'<g transform="translate({units(left)} {units(base)})">{shape}'
                    f'<text class="key" x="{shape_wide}" y="0">{said}</text></g>'
                )
                left += wide
        return f'<g class="legend" aria-hidden="true">{"".join(drawn)}</g>', base - top + _KEY_HIGH


class Picture:
    """The picture of the history of a name, of all its lives or of one.

    Args:
        log: all of its events, oldest first, and at least one.
        until_us: the moment at which the picture ends; that of the last event, if later.
        position: the position of the whole log up to which it is drawn.
        ending: the label of the end.
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
        self.kept = kept_lanes(self.story)

    # In words.

    def sentence(self, index: int, *, why: bool = True) -> str:
        """Return an event as a sentence, with its reason or without."""
        recorded = self.story.events[index]
        return sentence_of(recorded if why else attrs.evolve(recorded, reason=None), self.story.number_of)

    def told(self, index: int) -> str:
        """Return an event as a sentence, with its moment and its position."""
        recorded = self.story.events[index]
        return f"{self.sentence(index)} ({said_moment(recorded.timestamp)}, position {recorded.position})"

    def said_span(self) -> str:
        """Return the span of the picture in words."""
        began, until = self.story.events[0].timestamp, moment_of(self.until_us)
        return f"{said_moment(began)} to {said_moment(until)}, up to position {self.position}"

    def said_primary(self) -> str:
        """Return in words which version is primary at the end."""
        primary = self.story.primary
        if primary == NO_MODEL:
            return "There is no model of this name"
        return "No version is primary" if primary == NOBODY else f"{self.story.lanes[primary].number} is primary"

    # As an SVG.

    def svg(self) -> str:
        """Return the drawing alone: folded lanes stay folded, and the foot shows what the mark pointed at means."""
        return self.draw(self.kept, "", bare=True, titled=True)

    def draw(self, kept: frozenset[int], prefix: str, *, bare: bool = False, titled: bool) -> str:
        """Return a drawing, alone or for a page, in which the given versions have rows of their own."""
        return _Drawing(self, kept, prefix, bare=bare, titled=titled).draw()


@functools.cache
def asset(name: str) -> str:
    """Return a file that goes into the page; a test checks that nothing in it could end its element."""
    return importlib.resources.files(__package__).joinpath(name).read_text("utf-8")
