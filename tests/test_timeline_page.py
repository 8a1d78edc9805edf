"""What the page of a timeline does in a real Chromium.

The browser is one that tests/provision.py finds or fetches; without one, these tests are skipped.
"""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pytest
from playwright.sync_api import Browser, Dialog, Page, sync_playwright

from tests import timeline_tools
from tests.stores import Clock
from tests.stories import AWAITED
from tests.timeline_tools import (
    CONTROLS,
    HOSTILE,
    NAME,
    Elements,
    drawn,
    many_versions,
)
from versioning import (
    ModelNotFoundError,
    ModelRegistry,
)
from versioning.sentences import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Show: TypeAlias = Callable[..., "Shown"]

busy = timeline_tools.busy

QUIET: Final = [
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
"""Without these, the browser itself tries to reach its maker."""


@pytest.fixture(scope="module", name="browser")
def _browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        yield browser
        browser.close()


class Shown:
    """A page in the browser, and what it complained about and asked for meanwhile."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.url = url
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", self._complain)
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(url)

    def _complain(self, dialog: Dialog) -> None:
        self.complaints.append(dialog.message)
        dialog.dismiss()

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()

    def is_quiet(self) -> bool:
        """Say whether it complained about nothing, and asked for nothing but itself."""
        return (self.complaints, self.requests) == ([], [self.url])


@pytest.fixture(name="show")
def _show(browser: Browser, tmp_path: Path) -> Iterator[Show]:
    contexts = []

    def show(made: str, name: str = "timeline.html", **options: Any) -> Shown:  # noqa: ANN401 - those of playwright
        (tmp_path / name).write_text(made, encoding="utf-8")
        context = browser.new_context(viewport={"width": 1300, "height": 900}, **options)
        contexts.append(context)
        return Shown(context.new_page(), (tmp_path / name).as_uri())

    yield show
    for context in contexts:
        context.close()


class TestInABrowser:
    def test_the_slider_answers_as_the_registry_does_at_every_position(self, show: Show, busy: ModelRegistry) -> None:
        shown = show(busy.timeline(NAME))
        events = {recorded.position: index for index, recorded in enumerate(busy.history(NAME))}
        assert len(events) < busy.position()
        for position in range(busy.position() + 1):
            past = busy.at(position)
            try:
                model = past.model(NAME)
            except ModelNotFoundError:
                primary, active, billed, left = "There is no model of this name", "none", "none", "none"
            else:
                primary = "No version is primary" if model.primary is None else f"{model.primary.number} is primary"
                active, billed, left = (
                    ", ".join(version.number for version in versions) or "none"
                    for versions in (model.active, model.billable, model.versions)
                )
            shown.page.locator("#position").fill(str(position))
            expected = [primary, active, billed, left]
            assert [shown.text(f"#{key}") for key in ("primary", "active", "billed", "left")] == expected, position
            if position in events:
                shown.page.locator("#slider").fill(str(events[position] + 1))
                assert shown.page.locator("#position").input_value() == str(
                    busy.position() if events[position] + 1 == len(events) else position
                )
                assert [shown.text(f"#{key}") for key in ("primary", "active", "billed", "left")] == expected, position
            counted = sum(1 for other in events if other <= position)
            assert shown.page.locator(".marks .mark:not(.later)").count() == counted
            assert shown.page.locator("tbody tr:not(.later)").count() == counted
        assert shown.is_quiet()

    def test_since_when_is_what_the_registry_says(self, show: Show, busy: ModelRegistry) -> None:
        shown = show(busy.timeline(NAME))
        at_the_end = shown.text("#since")
        for recorded in busy.history(NAME):
            shown.page.locator("#position").fill(str(recorded.position))
            static = Elements(busy.at(recorded.position).timeline(NAME))
            assert shown.text("#since") in static.texts
        shown.page.locator("#position").fill("0")
        assert shown.text("#since") == ""
        assert shown.text("#when") == "As of position 0, before all events"
        shown.page.locator("#now").click()
        assert (shown.text("#since"), shown.text("#when")) == (at_the_end, "Now")
        for typed, used in (("999999", str(busy.position())), ("-5", "0")):
            shown.page.locator("#position").fill(typed)
            assert shown.page.locator("#position").input_value() == used
        assert shown.is_quiet()

    def test_the_slider_cuts_the_picture(self, show: Show, busy: ModelRegistry) -> None:
        shown = show(busy.timeline(NAME))
        past, slider = shown.page.locator("rect.past"), shown.page.locator("#slider")
        widths = []
        for count in range(int(slider.get_attribute("max") or "0") + 1):
            slider.fill(str(count))
            widths.append(float(past.get_attribute("width") or "0"))
        assert widths == sorted(widths)
        assert shown.page.locator("line.cut.on").count() == 0
        slider.fill("3")
        assert shown.page.locator("line.cut.on").count() == 1
        assert shown.page.locator(".label.is-primary").all_text_contents() == ["0.1.0"]
        assert shown.page.locator(".label.is-not-yet").count() == 3
        assert "position 3" in (slider.get_attribute("aria-valuetext") or "")

    @pytest.mark.parametrize("hostile", [*HOSTILE, CONTROLS], ids=range(len(HOSTILE) + 1))
    def test_hostile_texts_do_nothing(self, show: Show, hostile: str) -> None:
        name = "controls" if hostile == CONTROLS else hostile
        with ModelRegistry("memory:", clock=Clock(), workspace=name, policy=AWAITED) as registry:
            first = registry.deploy("s3://x", model_name=name, publish=True, actor=name, reason=hostile)
            registry.fail_activation(first.version_id, first.activation_id or "", error=hostile, actor=name)
            page, svg = registry.timeline(name), registry.timeline(name, format="svg")
        shown = show(page)
        for mark in shown.page.locator(".marks .mark").all():
            mark.focus()
            shown.page.locator("#tip").hover()
        for select in ("#by-actor", "#by-version", "#by-kind"):
            shown.page.locator(select).select_option(index=1)
        shown.page.locator("#slider").fill("1")
        assert shown.page.locator("h1").inner_text() == plain(name)
        assert shown.page.evaluate("window.pwned") is None
        assert shown.page.evaluate("[document.scripts.length, document.images.length]") == [2, 0]
        assert shown.is_quiet()
        alone = show(svg, "timeline.svg")
        alone.page.locator(".marks .mark").first.focus()
        assert alone.page.evaluate("window.pwned") is None
        assert alone.is_quiet()

    def test_the_policy_is_in_force(self, show: Show, busy: ModelRegistry, request: pytest.FixtureRequest) -> None:
        shown = show(busy.timeline(NAME))
        somewhere = socket.create_server(("127.0.0.1", 0))
        request.addfinalizer(somewhere.close)
        somewhere.settimeout(0)
        tried = shown.page.evaluate(
            """async (url) => {
                const tried = {};
                const broken = [];
                document.addEventListener("securitypolicyviolation", (event) => broken.push(event.effectiveDirective));
                try { document.body.innerHTML = "<p>"; tried.html = "done"; } catch (error) { tried.html = error.name; }
                const script = document.createElement("script");
                try { script.text = "window.ran = 1"; } catch (error) { tried.script = error.name; }
                document.body.append(script);
                const onclick = () => document.body.setAttribute("onclick", "window.ran = 1");
                try { onclick(); } catch (error) { tried.handler = error.name; }
                document.body.click();
                const style = document.createElement("style");
                style.textContent = "body { opacity: .5 }";
                document.head.append(style);
                const image = document.createElement("img");
                image.src = url;
                document.body.append(image);
                await fetch(url).catch((error) => { tried.fetch = error.name; });
                await new Promise((resolve) => setTimeout(resolve, 100));
                tried.ran = window.ran;
                tried.opacity = getComputedStyle(document.body).opacity;
                tried.broken = Array.from(new Set(broken)).sort();
                return tried;
            }""",
            f"http://127.0.0.1:{somewhere.getsockname()[1]}/x.png",
        )
        assert {tried[way] for way in ("html", "script", "handler", "fetch")} == {"TypeError"}
        assert (tried.get("ran"), tried["opacity"]) == (None, "1")
        assert {"connect-src", "img-src", "require-trusted-types-for", "style-src-elem"} <= set(tried["broken"])
        with pytest.raises(BlockingIOError):  # nobody knocked
            somewhere.accept()

    def test_the_keyboard_goes_from_event_to_event_and_each_says_itself(self, show: Show, busy: ModelRegistry) -> None:
        shown = show(busy.timeline(NAME))
        keyboard, tip = shown.page.keyboard, shown.page.locator("#tip")
        shown.page.locator("#now").focus()
        keyboard.press("Tab")
        history = list(busy.history(NAME))
        for index, recorded in enumerate(history):
            assert shown.page.evaluate("document.activeElement.dataset.i") == str(index)
            assert tip.is_visible()
            said = tip.inner_text()
            assert f"{recorded.timestamp:%Y-%m-%d %H:%M:%S} UTC" in said
            assert f"Who: {recorded.actor or 'not said'}" in said
            assert f"Why: {recorded.reason or 'not said'}" in said
            assert f"{type(recorded.event).__name__}" in said
            sentence = shown.page.locator("tbody tr").nth(index).locator(".s").inner_text()
            assert said.splitlines()[0] == sentence.removesuffix(f": {recorded.reason}")
            assert sentence in (shown.page.evaluate("document.activeElement.getAttribute('aria-label')"))
            keyboard.press("ArrowRight")
        keyboard.press("Home")
        assert shown.page.evaluate("document.activeElement.dataset.i") == "0"
        keyboard.press("ArrowLeft")
        assert shown.page.evaluate("document.activeElement.dataset.i") == "0"
        keyboard.press("End")
        assert shown.page.evaluate("document.activeElement.dataset.i") == str(len(history) - 1)
        keyboard.press("ArrowUp")
        assert shown.page.evaluate("document.activeElement.dataset.i") == str(len(history) - 2)
        keyboard.press("Escape")
        assert tip.is_hidden()
        assert shown.page.locator('.marks .mark[tabindex="0"]').count() == 1
        keyboard.press("Tab")
        assert shown.page.evaluate("document.activeElement.closest('svg')") is None
        assert shown.is_quiet()

    def test_the_pointer_shows_the_same_and_may_go_into_it(self, show: Show, busy: ModelRegistry) -> None:
        shown = show(busy.timeline(NAME))
        shown.page.locator(".marks .mark.failed").hover()
        tip = shown.page.locator("#tip")
        assert "MemoryError" in tip.inner_text()
        tip.hover()
        shown.page.wait_for_timeout(300)
        assert tip.is_visible()
        shown.page.mouse.move(5, 5)
        tip.wait_for(state="hidden")
        box = shown.page.locator("svg.timeline").bounding_box()
        assert box is not None
        assert shown.is_quiet()

    def test_the_filters_narrow_the_table_the_marks_and_the_arrow_keys(self, show: Show, busy: ModelRegistry) -> None:
        history = list(busy.history(NAME))
        shown = show(busy.timeline(NAME))
        page = shown.page

        def positions() -> list[int]:
            rows = page.locator("tbody tr:not([hidden]) td:first-child").all_inner_texts()
            marks = page.locator(".marks .mark:not(.other)").evaluate_all(
                "of => of.map(mark => Number(mark.dataset.i))"
            )
            assert [history[index].position for index in marks] == [int(row) for row in rows]
            assert page.locator("#count").inner_text() == f"{len(rows)} of {len(history)} events"
            return [int(row) for row in rows]

        assert positions() == [one.position for one in history]
        page.locator("#by-actor").select_option(label="raj")
        assert positions() == [one.position for one in history if one.actor == "raj"]
        page.locator("#by-actor").select_option(label="not said")
        assert positions() == [one.position for one in history if one.actor is None]
        page.locator("#clear").click()
        page.locator("#by-version").select_option(label="0.2.0 (life 1)")
        (second,) = [one.version_id for one in history if getattr(one.event, "number", None) == "0.2.0"]
        wanted = [one.position for one in busy.history(second)]
        assert any(one.version_id != second for one in busy.history(second))
        assert positions() == wanted
        page.locator("#by-kind").select_option(label="VersionPromoted (rollback)")
        (rolled_back,) = [one for one in history if getattr(one.event, "cause", None) == "rollback"]
        assert positions() == [rolled_back.position]
        page.locator('.marks .mark[tabindex="0"]').focus()
        page.keyboard.press("ArrowRight")
        assert page.evaluate("document.activeElement.dataset.i") == str(history.index(rolled_back))
        page.locator("#by-actor").select_option(label="ada")
        assert positions() == []
        page.locator("#clear").click()
        assert positions() == [one.position for one in history]
        assert shown.is_quiet()

    def test_folded_lanes_unfold(self, show: Show) -> None:
        shown = show(drawn(many_versions(60).log).html())
        assert shown.page.locator("#unfolded").is_hidden()
        shown.page.locator("#unfold").click()
        assert shown.page.locator("#unfolded").is_visible()
        assert shown.page.locator("#folded").is_hidden()
        last = shown.page.locator("#unfolded .marks .mark").nth(5)
        last.focus()
        assert shown.page.locator("#tip").is_visible()
        assert "v" not in (last.get_attribute("aria-label") or "v")[:1]
        shown.page.locator("#unfold").click()
        assert shown.page.locator("#folded").is_visible()
        assert shown.is_quiet()

    def test_without_a_script_picture_card_and_table_are_there(self, show: Show, busy: ModelRegistry) -> None:
        shown = show(busy.timeline(NAME), java_script_enabled=False)
        for there in ("#card", "svg.timeline", "table"):
            assert shown.page.locator(there).is_visible()
        for useless in ("#controls", "#filters", "#tip"):
            assert shown.page.locator(useless).is_hidden()

    def test_a_bare_drawing_says_at_its_foot_what_has_the_focus(self, show: Show, busy: ModelRegistry) -> None:
        shown = show(busy.timeline(NAME, format="svg"), "timeline.svg")
        tips = shown.page.locator(".tip")
        assert [tip.is_visible() for tip in tips.all()[:3]] == [False] * 3
        shown.page.locator(".marks .mark").nth(1).focus()
        assert [tip.is_visible() for tip in tips.all()[:3]] == [False, True, False]
        shown.page.locator(".marks .mark").nth(0).hover()
        assert tips.nth(0).is_visible()
        drawing, tip = shown.page.locator("svg").bounding_box(), tips.nth(0).bounding_box()
        assert drawing is not None
        assert tip is not None
        assert tip["x"] >= drawing["x"]
        assert tip["y"] + tip["height"] <= drawing["y"] + drawing["height"]
        assert shown.is_quiet()

    def test_in_a_notebook_it_works_inside_its_frame(self, show: Show, busy: ModelRegistry) -> None:
        shown = show(f"<!doctype html><title>Notebook</title>{busy.history(NAME)._repr_html_()}")
        frame = shown.page.frame_locator("iframe")
        frame.locator("#slider").fill("2")
        assert frame.locator("#primary").inner_text() == "No version is primary"
        assert shown.complaints == []

    def test_light_dark_and_printed(self, show: Show, busy: ModelRegistry) -> None:
        page = busy.timeline(NAME)
        paper = "getComputedStyle(document.body).backgroundColor"
        light, dark = show(page, color_scheme="light"), show(page, color_scheme="dark")
        assert light.page.evaluate(paper) == "rgb(255, 255, 255)"
        assert dark.page.evaluate(paper) == "rgb(18, 22, 29)"
        dark.page.emulate_media(media="print", color_scheme="dark")
        assert dark.page.evaluate(paper) == "rgb(255, 255, 255)"
        assert dark.page.locator("#controls").is_hidden()
        assert dark.page.locator("table").is_visible()
        assert dark.page.pdf(prefer_css_page_size=True).startswith(b"%PDF")

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_texts_and_shapes_stand_out_from_their_ground(self, show: Show, busy: ModelRegistry, scheme: str) -> None:
        shown = show(busy.timeline(NAME), color_scheme=scheme)

        def luminance(name: str) -> float:
            value = shown.page.evaluate(f"getComputedStyle(document.documentElement).getPropertyValue('--{name}')")
            parts = [int(value.strip()[at : at + 2], 16) / 255 for at in (1, 3, 5)]
            linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
            return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

        def contrast(one: str, other: str) -> float:
            low, high = sorted([luminance(one), luminance(other)])
            return (high + 0.05) / (low + 0.05)

        for behind in ("paper", "stripe", "fold"):
            assert contrast("ink", behind) > 7
            assert contrast("mute", behind) > 4.5
            for shape in ("active-edge", "starting-edge", "gap", "focus"):
                assert contrast(shape, behind) > 3, (shape, behind)
        assert contrast("stopped", "paper") > 3
        assert contrast("ink", "active") > 3
        assert contrast("ink", "starting") > 3
        assert contrast("gap", "gap-paper") > 3

    def test_everything_has_a_name_for_those_who_listen(self, show: Show, busy: ModelRegistry) -> None:
        shown = show(busy.timeline(NAME))
        for element in ("#slider", "#position", "#by-actor", "#by-version", "#by-kind"):
            assert shown.page.locator(element).evaluate("element => element.labels.length") == 1
        assert shown.page.locator(".marks .mark:not([aria-label])").count() == 0
        assert shown.page.get_by_role("group", name=re.compile("The life of Fraud")).count() == 1
        assert shown.page.get_by_role("img", name=re.compile("on-call rolled back to 0.1.0")).count() == 1
        assert shown.page.get_by_role("columnheader").count() == 6
        assert shown.page.locator("html").get_attribute("lang") == "en"
