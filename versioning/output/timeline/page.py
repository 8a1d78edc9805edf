"""The page: one file of HTML that opens anywhere and needs nothing, with the drawing, a table, filters and a slider.

The law of this room: **the page loads nothing**, and its own policy (CSP) forbids it. Its script only adds up data from
the page itself, and decides nothing. The style is in `timeline.css`, the script in `timeline.js`. Both are copied into
the page, whose policy allows them by their digests.

    page = Timeline(registry.history("Fraud"), until_us=now_us, position=registry.position()).html()
"""

from __future__ import annotations

import base64
import hashlib
import html
import itertools
import json
from typing import TYPE_CHECKING, Any

from versioning.events import VersionDeployed
from versioning.output.timeline.layout import RIGHT_WIDE
from versioning.output.timeline.svg import Picture, asset, said_moment, text_of
from versioning.sentences import plain, sentence_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from versioning.events import Recorded


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def policy_of(style: str, script: str) -> str:
    """Return the content security policy of the page: this one style, this one script, and nothing else."""
    return (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; base-uri 'none'; "
        "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def in_script(value: object) -> str:
    """Return a value as JSON for a script element: nothing in it can end the element or open a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


class Timeline(Picture):
    """The picture of the history of a name, and the page around it."""

    def frame(self) -> str:
        """Return the page in a frame of its own, for a notebook: neither can reach into the other."""
        return (
            f'<iframe sandbox="allow-scripts" title="{text_of(self.name)}" width="100%" height="640" '
            f'style="border:0" srcdoc="{html.escape(self.html())}"></iframe>'
        )

    def html(self) -> str:
        """Return the page."""
        style, script = asset("timeline.css"), asset("timeline.js")
        policy = html.escape(policy_of(style, script), quote=False)  # apostrophes belong to its grammar
        span = f"Workspace <bdi>{text_of(self.workspace)}</bdi> · {self.said_span()} · times are UTC"
        return "".join(
            [
                '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
                f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
                '<meta name="viewport" content="width=device-width, initial-scale=1">',
                '<meta name="referrer" content="no-referrer">',
                f"<title>{text_of(self.name)}: timeline</title><style>{style}</style></head>\n<body>",
                f"<header><h1><bdi>{text_of(self.name)}</bdi></h1>",
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
        """Return what is so at the end; the script shows the same as of any position."""
        story = self.story
        there = [lane for lane, state in sorted(story.states.items()) if state.status != "deleted"]
        active = [lane for lane in there if story.states[lane].status == "active"]
        billed = [lane for lane in there if story.states[lane].status in {"active", "activating"}]
        lines = [("active", "Active", active), ("billed", "Billed", billed), ("left", "Not deleted", there)]
        listed = ""
        for key, said, lanes in lines:
            numbers = text_of(", ".join(story.lanes[lane].number for lane in lanes)) or "none"
            count = f'<span id="{key}-count">{len(lanes)}</span>'
            listed += f'<div><dt>{said} ({count})</dt><dd id="{key}">{numbers}</dd></div>'
        ending = text_of("Now" if self.ending == "now" else f"As of {self.ending}")
        return (
            f'<section id="card" aria-labelledby="when"><h2 id="when" data-end="{ending}">{ending}</h2>'
            f'<p id="primary">{html.escape(self.said_primary())}</p>'
            f'<p id="since">{html.escape(self.told(story.since))}</p>'
            f"<dl>{listed}</dl></section>\n"
        )

    def _pictures(self) -> str:
        everything = frozenset(range(len(self.story.lanes)))
        drawings = self._drawing("folded", "Picture", self.draw(self.kept, "f-", titled=True))
        button = ""
        if self.kept != everything:
            unfolded = self.draw(everything, "u-", titled=False)
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

    def _drawing(self, key: str, label: str, drawing: str, more: str = "") -> str:
        about = f'role="region" aria-label="{label}" aria-describedby="help"{more}'
        return f'<div class="scroll" id="{key}" {about}>{drawing}</div>\n'

    def _table(self) -> str:
        rows = []
        for index, recorded in enumerate(self.story.events):
            actor = '<i class="nobody">not said</i>'
            if recorded.actor is not None:
                actor = f"<bdi>{text_of(recorded.actor)}</bdi>"
            number = self.story.number_of(recorded.version_id or "") or "–"
            when = said_moment(recorded.timestamp).removesuffix(" UTC")
            rows.append(
                f'<tr data-i="{index}"><td class="n">{recorded.position}</td>'
                f'<td class="t"><time datetime="{recorded.timestamp.isoformat()}">{when}</time></td>'
                f'<td class="v">{text_of(number)}</td><td>{_kind(recorded)}</td><td>{actor}</td>'
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
        """Return the data that the script adds up: what each event changed, and where the past ends in the picture."""
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
        """Return where the picture ends as of each number of events: what they changed lasts until the next append."""
        places, append_of = self.scale.places, self.story.append_of
        ends = [places[0] - 8]
        for before, after in itertools.pairwise(append_of):
            inside = places[before] + 0.5
            ends.append(inside if before == after else places[after] - 0.5)
        return [*ends, places[-1] + RIGHT_WIDE]


def _kind(recorded: Recorded) -> str:
    cause = getattr(recorded.event, "cause", None)
    return type(recorded.event).__name__ + ("" if cause is None else f" ({cause})")


def _tabled(heads: Sequence[str], rows: Sequence[str]) -> str:
    head = "".join(f'<th scope="col">{said}</th>' for said in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def table_of(log: Iterable[Recorded], events_max: int) -> str:
    """Return events as a bare table, for a notebook; they may be of several names, and from anywhere in the log."""
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
