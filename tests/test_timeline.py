"""The picture of a history: what is drawn, and that what users wrote stays text.

What the page does in a browser is in test_timeline_page.py.
"""

from __future__ import annotations

import base64
import hashlib
import html
import itertools
import json
import re
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import given as hypothesis_given
from hypothesis import settings
from hypothesis import strategies as st

from tests import timeline_tools
from tests.stores import START, Clock
from tests.stories import LEAVE_NONE, stories, worked_day
from tests.timeline_tools import (
    CONTROLS,
    HOSTILE,
    HOUR_US,
    NAME,
    SVG,
    Elements,
    drawn,
    many_versions,
    marks_of,
    parsed,
    with_class,
)
from versioning import (
    InvalidArgumentError,
    InvalidNameError,
    ModelNotFoundError,
    ModelRegistry,
    UsageLedger,
    VersionNotFoundError,
    answers,
)
from versioning.aggregate import ModelAggregate
from versioning.events import EVENTS, microseconds_of
from versioning.output.timeline import layout, svg
from versioning.output.timeline.layout import kept_lanes, rows_of, scale_of
from versioning.output.timeline.page import in_script, table_of
from versioning.output.timeline.story import Story
from versioning.output.timeline.svg import said_length
from versioning.sentences import sentence_of
from versioning.testing import (
    activate,
    deactivate,
    delete,
    delete_model,
    deploy,
    given,
    promote,
    publish,
    rollback,
)
from versioning.testing import recorded as log_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from versioning import Recorded
    from versioning.testing import Story as Told

busy = timeline_tools.busy


class TestTheStory:
    def test_every_event_has_a_mark_of_its_own_shape(self) -> None:
        assert set(svg.MARKS) == set(EVENTS.values())
        shapes = [mark.shape for mark in svg.MARKS.values()]
        kinds = [mark.kind for mark in svg.MARKS.values()]
        assert len(set(shapes)) == len(set(kinds)) == len(EVENTS)

    @hypothesis_given(stories())
    @settings(max_examples=40)
    def test_its_changes_add_up_to_what_the_aggregate_knows_after_every_event(self, told: Told) -> None:
        story = Story(told.log)
        shown: dict[int, tuple[str, str, bool]] = {}
        state = ModelAggregate("")
        for index, recorded in enumerate(told.log):
            state.evolve(recorded.event)
            shown |= {change.lane: change[1:] for change in story.changes[index]}
            known = {
                story.lane_of(version.version_id): (version.status, version.stage, version_id == state.primary)
                for version_id, version in state.versions.items()
            }
            assert shown == known
            assert story.exists[index] == state.exists

    @hypothesis_given(stories())
    @settings(max_examples=40)
    def test_its_stretches_are_what_was_so_between_the_appends(self, told: Told) -> None:
        story = Story(told.log)
        state = ModelAggregate("")
        for append in range(len(story.appends_us)):
            for index, recorded in enumerate(told.log):
                if story.append_of[index] == append:
                    state.evolve(recorded.event)
            bars = {bar.lane: (bar.status, bar.stage) for bar in story.bars if bar.start <= append < bar.end}
            there = [version for version in state.versions.values() if version.status != "deleted"]
            assert bars == {story.lane_of(one.version_id): (one.status, one.stage) for one in there}
            billed = {one.lane for one in story.billed if one.start <= append < one.end}
            assert billed == {story.lane_of(one.version_id) for one in there if one.is_billable}
            primaries = [span.lane for span in story.primaries if span.start <= append < span.end]
            assert primaries == ([story.lane_of(state.primary)] if state.exists else [])

    def test_what_opens_a_stretch_is_cited(self) -> None:
        log = given(deploy("a", publish=True), deploy("b", publish=True), deactivate("b")).log
        story = Story(log)
        assert [(span.lane, log[span.event].version_id) for span in story.primaries] == [
            (0, log[1].version_id), (1, log[3].version_id), (0, log[5].version_id),
        ]  # fmt: skip
        assert (story.primary, story.since) == (0, 5)

    def test_what_lasts_no_longer_than_its_append_is_not_drawn(self) -> None:
        deployed, published, _ = given(deploy("a"), publish("a", promote=False)).log
        log = log_of([deployed.event, attrs.evolve(published.event, at_us=deployed.event.at_us)])
        story = Story(log)
        assert [(bar.start, bar.end, bar.stage) for bar in story.bars] == [(0, 1, "published")]
        assert [(one.event, one.start, one.end) for one in story.billed] == [(1, 0, 1)]

    def test_a_history_that_begins_in_a_later_life_is_drawn_too(self) -> None:
        log = given(deploy("a"), delete("a"), deploy("b")).log
        assert [lane.life for lane in Story(log[3:]).lanes] == [2]

    def test_a_version_that_the_history_does_not_tell_of_has_no_lane(self) -> None:
        story = Story(given(deploy("a")).log)
        assert (story.lane_of(None), story.lane_of("ver_x"), story.number_of("ver_x")) == (-1, -1, None)


class TestTheAxis:
    def test_time_is_as_long_as_it_was(self) -> None:
        places = scale_of([0, 2 * HOUR_US, 3 * HOUR_US], 6 * HOUR_US).places
        first, second, third = (later - earlier for earlier, later in itertools.pairwise(places))
        assert first == pytest.approx(2 * second)
        assert third == pytest.approx(3 * second)

    def test_idle_time_is_cut(self) -> None:
        busy = [index * HOUR_US for index in range(5)]
        scale = scale_of([*busy, *(at_us + 900 * HOUR_US for at_us in busy)], 5_000 * HOUR_US)
        assert scale.cuts == {4, 9}
        widths = [later - earlier for earlier, later in itertools.pairwise(scale.places)]
        assert widths[4] == widths[9] == layout.CUT_WIDE
        assert sorted(widths)[2] > layout.CUT_WIDE

    def test_steady_time_is_not_cut(self) -> None:
        assert scale_of([0, 10 * HOUR_US], 20 * HOUR_US).cuts == frozenset()
        assert scale_of([0], 10**15).cuts == frozenset()

    @hypothesis_given(
        st.lists(st.one_of(st.integers(0, 3), st.integers(0, 10**15)), min_size=1, max_size=60), st.integers(0, 10**16)
    )
    def test_no_two_appends_are_at_one_place_and_all_fit(self, gaps: list[int], more_us: int) -> None:
        times = list(itertools.accumulate(gaps))
        scale = scale_of(times, times[0] + more_us)
        widths = [later - earlier for earlier, later in itertools.pairwise(scale.places)]
        assert len(widths) == len(times)
        assert min(widths) >= layout.APART_MIN
        assert sum(widths) <= layout.PLOT_MAX * 1.01
        assert len(scale.cuts) < len(times)

    def test_two_thousand_appends_at_one_moment_are_apart(self) -> None:
        widths = [later - earlier for earlier, later in itertools.pairwise(scale_of([5] * 2_000, 5).places)]
        assert min(widths) >= layout.APART_MIN

    @pytest.mark.parametrize(
        ("length_us", "said"),
        [
            (0, "0 µs"), (789_593, "789.5 ms"),
            (999_999, "999.9 ms"), (999, "999 µs"), (1_000_000, "1 s"), (90_000_000, "1.5 min"),
            (HOUR_US, "1 h"), (21 * 24 * HOUR_US, "21 d"), (2 * 365 * 24 * HOUR_US, "2 y"),
        ],
    )  # fmt: skip
    def test_a_length_is_said_in_one_unit(self, length_us: int, said: str) -> None:
        assert said_length(length_us) == said

    @pytest.mark.parametrize(
        ("span", "said"),
        [
            (timedelta(seconds=2), "09:00:00.000"),
            (timedelta(minutes=2), "09:00:00"), (timedelta(hours=9), "09:00"), (timedelta(days=40), "01-01 09:00"),
            (timedelta(days=900), "2026-01-01"),
        ],
    )  # fmt: skip
    def test_ticks_are_as_fine_as_the_span_needs(self, span: timedelta, said: str) -> None:
        root = parsed(drawn(given(deploy("a")).log, microseconds_of(START + span)).svg())
        assert [tick.text for tick in with_class(root, "tick") if tick.tag == f"{SVG}text"] == [said, "now"]

    def test_the_first_append_after_a_cut_has_a_tick(self) -> None:
        story = given(*(deploy(f"v{index}") for index in range(30)))
        story = story.when(deploy("late").at(START + timedelta(days=30))).after
        root = parsed(drawn(story.log, story.now_us + 10_000_000).svg())
        assert "01-31 09:00" in [tick.text for tick in with_class(root, "start")]
        assert [length.text for length in with_class(root, "length")] == ["29.9 d"]


class TestTheLanes:
    def test_forty_versions_have_each_a_lane(self) -> None:
        story = Story(many_versions(40).log)
        rows, headings, _ = rows_of(story, kept_lanes(story))
        assert [row.lanes for row in rows] == [(lane,) for lane in range(40)]
        assert headings == []

    def test_of_three_hundred_the_latest_primaries_and_the_newest_keep_theirs(self) -> None:
        told = many_versions(300).given(promote("v3"), promote("v290"))
        story = Story(told.log)
        kept = kept_lanes(story)
        assert len(kept) == layout.LANES_KEPT
        assert {3, 290, 299, 298} <= kept
        rows, _, bottom = rows_of(story, kept)
        assert sorted(lane for row in rows for lane in row.lanes) == list(range(300))
        assert bottom < 1_500
        assert all(row.is_folded == (len(row.lanes) > 1) for row in rows)
        assert max(len(row.lanes) for row in rows) <= layout.FOLDED_MAX
        assert all(row.top < row.middle_of(lane) < row.top + row.height for row in rows for lane in row.lanes)

    def test_lives_of_the_name_have_headings_and_are_never_folded_together(self) -> None:
        told = many_versions(60).given(delete_model(), *(deploy(f"w{index}") for index in range(30)))
        story = Story(told.log)
        rows, headings, _ = rows_of(story, kept_lanes(story))
        assert [life for _, life in headings] == [1, 2]
        assert all(len({story.lanes[lane].life for lane in row.lanes}) == 1 for row in rows)
        root = parsed(drawn(told.log).svg())
        assert [text.text for text in with_class(root, "life")] == ["life 1 of the name", "life 2 of the name"]

    def test_a_page_holds_the_folded_and_the_unfolded_drawing(self) -> None:
        page = drawn(many_versions(60).log).html()
        assert page.count("<svg ") == 2
        assert "Show all 60 lanes" in page
        assert len(re.findall(r'data-lane="\d+"', page)) == layout.LANES_KEPT + 60
        assert drawn(many_versions(3).log).html().count("<svg ") == 1


class TestTheDrawing:
    @pytest.mark.parametrize("count", [0, 3, 300])
    def test_every_event_has_one_mark_that_says_it(self, count: int) -> None:
        told = many_versions(count) if count else worked_day()
        picture = drawn(told.log)
        marks = marks_of(parsed(picture.svg()))
        assert [mark.get("data-i") for mark in marks] == [str(index) for index in range(len(told.log))]
        for index, (mark, recorded) in enumerate(zip(marks, told.log, strict=True)):
            title = mark.findtext(f"{SVG}title", "")
            said = sentence_of(recorded, picture.story.number_of)
            assert title == f"{said} ({recorded.timestamp:%Y-%m-%d %H:%M:%S} UTC, position {recorded.position})"
            assert mark.get("tabindex") == "0"
            assert svg.MARKS[type(recorded.event)].kind in mark.get("class", "")
            assert picture.told(index) == title

    def test_every_hand_over_is_a_step_and_every_gap_is_shown(self) -> None:
        told = given(
            deploy("a", publish=True), deploy("b", publish=True), rollback(), deactivate("a"), activate("a"),
            deactivate("a"), promote("b"), policy=LEAVE_NONE,
        )  # fmt: skip
        picture = drawn(told.log, told.now_us + 5_000_000)
        root = parsed(picture.svg())
        bands = with_class(root, "gap")
        gaps = [span for span in picture.story.primaries if span.lane == -1]
        assert (
            len(bands)
            == len(gaps)
            == len([one for one in with_class(root, "role") if "none" in one.get("class", "")]) - 1
        )
        assert [band.get("data-i") for band in bands] == [str(span.event) for span in gaps]
        paths = [one.get("d", "") for one in with_class(root, "primary") if one.get("data-i")]
        assert len(paths) == len(picture.story.primaries) - len(gaps)
        assert [bool(re.match(r"M[\d.]+ [\d.]+V", path)) for path in paths] == [False, True, True, False]
        assert [path.count("v16") for path in paths] == [1, 0, 1, 1]

    def test_bars_and_hatching_are_those_of_the_story(self) -> None:
        told = worked_day()
        picture = drawn(told.log, told.now_us + HOUR_US)
        root = parsed(picture.svg())
        bars = [bar for bar in with_class(root, "bar") if bar.get("data-i")]
        assert [bar.get("class") for bar in bars] == [f"bar {bar.status} {bar.stage}" for bar in picture.story.bars]
        hatched = [one for one in with_class(root, "billed") if one.get("data-i")]
        ledger = UsageLedger().fold(told.log)
        stretches = [stretch for kept in ledger.ledgers.values() for stretch in kept.stretches]
        assert len(hatched) == len([one for one in stretches if one.end_us is None or one.end_us > one.start_us])
        assert {one.get("fill") for one in hatched} == {"url(#hatch)"}

    def test_what_is_deleted_or_primary_is_said_by_its_label(self) -> None:
        root = parsed(drawn(given(deploy("a", publish=True), deploy("b", publish=True), delete("a")).log).svg())
        labels = {label.text: label.get("class") for label in with_class(root, "label") if label.get("data-lane")}
        assert labels == {"0.1.0": "label is-deleted", "0.2.0": "label is-primary"}

    def test_the_same_history_gives_the_same_bytes(self) -> None:
        told = worked_day()
        assert drawn(told.log).html() == drawn(worked_day().log).html()
        assert drawn(told.log).svg() == drawn(worked_day().log).svg()

    @hypothesis_given(stories())
    @settings(max_examples=15)
    def test_any_history_is_a_well_formed_drawing_and_page(self, told: Told) -> None:
        if told.log:
            picture = drawn(told.log, told.now_us)
            assert len(marks_of(parsed(picture.svg()))) == len(told.log)
            assert len(re.findall(r"<tr data-i=", picture.html())) == len(told.log)

    @pytest.mark.parametrize(
        ("told", "said"),
        [
            (given(deploy("a", publish=True)), "0.1.0 is primary"),
            (given(deploy("a")), "No version is primary"),
            (given(deploy("a"), delete("a")), "There is no model of this name"),
        ],
    )
    def test_the_card_says_what_is_primary(self, told: Told, said: str) -> None:
        page = drawn(told.log).html()
        assert f'<p id="primary">{said}</p>' in page
        assert f'<p id="since">{html.escape(drawn(told.log).told(Story(told.log).since))}</p>' in page


class TestNothingThatUsersWroteIsMoreThanText:
    @pytest.fixture(params=[*HOSTILE, CONTROLS])
    def log(self, request: pytest.FixtureRequest) -> list[Recorded]:
        """All texts that an event can carry, each hostile; the reader has only what it finds in the log."""
        text = request.param
        told = given(deploy("a", publish=True), deploy("b"), promote("b"), workspace=text, model_name=text)
        return [attrs.evolve(one, actor=text, reason=text, correlation_id=text) for one in told.log]

    def test_a_page_has_the_elements_and_attributes_that_it_always_has(self, log: list[Recorded]) -> None:
        expected = [attrs.evolve(one, actor="x", reason="x", workspace="x", model_name="x") for one in log]
        hostile, harmless = Elements(drawn(log).html()), Elements(drawn(expected).html())
        assert [(tag, [*named]) for tag, named in hostile.found] == [(tag, [*named]) for tag, named in harmless.found]
        assert not [name for _, named in hostile.found for name in named if name.startswith("on") or name == "style"]
        assert not [name for _, named in hostile.found for name in named if name in {"src", "href"}]
        assert [named for tag, named in hostile.found if tag == "script"] == [
            {"type": "application/json", "id": "data"}, {},
        ]  # fmt: skip

    def test_a_drawing_too(self, log: list[Recorded]) -> None:
        expected = [attrs.evolve(one, actor="x", reason="x", workspace="x", model_name="x") for one in log]
        hostile, harmless = parsed(drawn(log).svg()), parsed(drawn(expected).svg())
        assert [(one.tag, list(one.attrib)) for one in hostile.iter()] == [
            (one.tag, list(one.attrib)) for one in harmless.iter()
        ]

    def test_no_control_or_bidi_character_comes_through(self, log: list[Recorded]) -> None:
        for made in (drawn(log).html(), drawn(log).svg(), drawn(log).frame(), table_of(log, 10)):
            categories = {unicodedata.category(one) for one in html.unescape(made) if one != "\n"}
            assert not categories & {"Cc", "Cf", "Zl", "Zp"}

    def test_a_script_element_can_hold_any_json(self) -> None:
        value = {"<!--<script>": ["</script>", "&amp;", "\u2028", 'quotes "', "\\u003c"]}
        assert not set("<>&") & set(in_script(value))
        assert json.loads(in_script(value)) == value

    def test_the_policy_names_the_one_script_and_the_one_style(self) -> None:
        elements = Elements(drawn(given(deploy("a")).log).html())
        (policy,) = [named["content"] or "" for _, named in elements.found if named.get("http-equiv") is not None]
        digests = {
            kind: base64.b64encode(hashlib.sha256(elements.raw[kind][-1].encode()).digest()).decode()
            for kind in ("script", "style")
        }
        assert policy.split("; ") == [
            "default-src 'none'", f"script-src 'sha256-{digests['script']}'", f"style-src 'sha256-{digests['style']}'",
            "base-uri 'none'", "form-action 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'",
        ]  # fmt: skip

    def test_style_and_script_can_stand_in_a_page_and_in_a_drawing(self) -> None:
        style, script = svg.asset("timeline.css"), svg.asset("timeline.js")
        assert not re.search(r"</|<!--|\r", style + script)
        assert not re.search("[<&]", style)  # it stands in an SVG as it is, which is XML
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval|Function|fetch|https?:", script)
        assert not re.search(r"@import|url\((?!#)|https?:", style)


class TestAskingForIt:
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def registry(self, clock: Clock) -> Iterator[ModelRegistry]:
        with ModelRegistry("memory:", clock=clock) as registry:
            registry.deploy("s3://a", model_name=NAME, publish=True, actor="ada")
            clock.tick()
            registry.deploy("s3://o", model_name="Other")
            clock.tick()
            registry.deploy("s3://b", model_name=NAME, publish=True, actor="raj", reason="beats it on AUC")
            clock.tick()
            yield registry

    def test_a_page_is_given_and_written(self, registry: ModelRegistry, tmp_path: Path) -> None:
        for path in (tmp_path / "timeline.html", str(tmp_path / "again.html")):
            page = registry.timeline(NAME, path)
            assert page.startswith("<!doctype html>")
            with open(path, "rb") as file:  # noqa: PTH123 - a path as text is what this is about
                assert file.read() == page.encode()

    def test_a_drawing_too(self, registry: ModelRegistry, tmp_path: Path) -> None:
        svg = registry.timeline(NAME, tmp_path / "timeline.svg", format="svg")
        assert svg.startswith("<svg ")
        assert (tmp_path / "timeline.svg").read_text("utf-8") == svg

    def test_a_model_or_a_version_may_be_named_by_its_id(self, registry: ModelRegistry) -> None:
        version = registry.resolve(NAME)
        assert registry.timeline(version.model_id) == registry.timeline(version.version_id) == registry.timeline(NAME)

    def test_all_lives_of_a_name_or_one(self, registry: ModelRegistry) -> None:
        first = registry.delete_model(NAME).model_id
        registry.deploy("s3://c", model_name=NAME)
        assert "life 2 of the name" in registry.timeline(NAME)
        assert "There is no model of this name" in registry.timeline(first)
        assert "life 2 of the name" not in registry.timeline(first)

    def test_as_of_a_position_it_ends_there(self, registry: ModelRegistry) -> None:
        page = registry.at(4).timeline(NAME)
        assert "As of position 4" in page
        assert "up to position 4" in page
        assert page.count("<tr data-i=") == 3
        assert "09:02:00 UTC, up to" in page

    def test_as_of_a_moment_it_ends_then(self, registry: ModelRegistry) -> None:
        page = registry.at(START + timedelta(seconds=90)).timeline(NAME)
        assert "As of 2026-01-01 09:01:30 UTC" in page
        assert page.count("<tr data-i=") == 2

    def test_what_is_not_there_and_other_formats_are_refused(self, registry: ModelRegistry, tmp_path: Path) -> None:
        with pytest.raises(ModelNotFoundError):
            registry.timeline("nobody", tmp_path / "timeline.html")
        with pytest.raises(ModelNotFoundError):
            registry.at(0).timeline(NAME)
        with pytest.raises(VersionNotFoundError):
            registry.timeline(registry.resolve(NAME).version_id[:-8] + "00000000")
        with pytest.raises(InvalidNameError):
            registry.timeline("")
        for wrong in ("png", None, ["html"]):
            with pytest.raises(InvalidArgumentError, match="format is html or svg"):
                registry.timeline(NAME, tmp_path / "timeline.html", format=wrong)  # type: ignore[arg-type]
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_is_not_there_is_the_callers(self, registry: ModelRegistry, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            registry.timeline(NAME, tmp_path / "missing" / "timeline.html")

    def test_a_history_is_still_an_iterator(self, registry: ModelRegistry) -> None:
        history = registry.history(NAME)
        assert iter(history) is history
        assert next(history).position == 1
        assert [recorded.position for recorded in history] == [2, 4, 5]
        assert list(history) == []

    def test_a_notebook_shows_the_picture_of_a_history_and_takes_nothing_for_it(self, registry: ModelRegistry) -> None:
        history = registry.history(NAME)
        ((tag, named),) = Elements(history._repr_html_()).found
        assert (tag, named["sandbox"]) == ("iframe", "allow-scripts")
        assert named["srcdoc"] == registry.timeline(NAME)
        assert len(list(history)) == 4
        model_id = registry.model(NAME).model_id
        assert registry.history(model_id)._repr_html_() == history._repr_html_()

    def test_and_a_table_of_any_other(self, registry: ModelRegistry) -> None:
        version_id = registry.resolve(NAME).version_id
        for history in (registry.history(), registry.history(version_id), registry.history(NAME, after=1, limit=2)):
            shown = history._repr_html_()
            positions = [int(found) for found in re.findall(r"<tr><td>(\d+)</td>", shown)]
            assert positions == [recorded.position for recorded in history]
            assert "<iframe" not in shown
        assert "raj deployed and published 0.2.0 of Fraud: beats it on AUC" in registry.history()._repr_html_()

    def test_a_long_history_is_a_table_of_its_beginning(
        self, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(answers, "EVENTS_DRAWN_MAX", 3)
        monkeypatch.setattr(answers, "EVENTS_LISTED_MAX", 2)
        shown = registry.history(NAME)._repr_html_()
        assert (shown.count("<tr><td>"), "These are the first 2; there are more." in shown) == (2, True)
        monkeypatch.setattr(answers, "EVENTS_DRAWN_MAX", 4)
        assert "<iframe" in registry.history(NAME)._repr_html_()

    def test_a_notebook_shows_a_model(self, registry: ModelRegistry) -> None:
        shown = registry.model(NAME)._repr_html_()
        assert (
            "<td>0.2.0</td><td>published</td><td>active</td><td>primary</td><td>2026-01-01 09:02:00 UTC</td>" in shown
        )
        assert "<td>0.1.0</td><td>published</td><td>active</td><td></td>" in shown
        deleted = registry.delete_model(NAME)
        assert "'Fraud', deleted 2026-01-01 09:03:00 UTC" in html.unescape(deleted._repr_html_())

    @pytest.mark.parametrize("name", HOSTILE)
    def test_a_hostile_name_of_a_model_stays_text(self, registry: ModelRegistry, name: str) -> None:
        registry.deploy("s3://x", model_name=name)
        shown = Elements(registry.model(name)._repr_html_())
        assert {tag for tag, _ in shown.found} == {"table", "caption", "thead", "tr", "th", "tbody", "td"}
        assert all(not named or named == {"scope": "col"} for _, named in shown.found)
        assert "".join(shown.texts).isprintable()


def test_a_moment_is_said_with_its_microseconds_where_it_has_some() -> None:
    moment = datetime(2026, 1, 2, 14, 3, tzinfo=UTC)
    assert svg.said_moment(moment) == "2026-01-02 14:03:00 UTC"
    assert svg.said_moment(moment + timedelta(microseconds=7)) == "2026-01-02 14:03:00.000007 UTC"


def test_only_a_picture_is_written_over(tmp_path: Path) -> None:
    path, drawn = tmp_path / "models.db", tmp_path / "timeline.html"
    with ModelRegistry(path) as registry:
        registry.deploy("s3://models/1", model_name="fraud")
        before = path.read_bytes()
        with pytest.raises(InvalidArgumentError, match="is not a picture of ours"):
            registry.timeline("fraud", path)
        assert path.read_bytes() == before
        drawn.touch()
        for form in ("html", "svg", "html"):
            assert registry.timeline("fraud", drawn, format=form) == drawn.read_text()
