"""The report in headless Chromium: what a reader does with it, at a desk, on a phone, by keyboard, on paper.

Needs Playwright's Python package, Chromium and axe-core (``.ci/browser`` gets the latter two); without
them the tests skip and say which is missing. No test here opens a connection.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from report_stores import hostile_store, observation, yard_store

from railwatch.history.history import Event
from railwatch.history.sources import read_sources
from railwatch.pages.report import write_report
from railwatch.store.georeference import Georeference
from railwatch.store.store import Store

api = pytest.importorskip("playwright.sync_api", reason="Playwright's Python package isn't installed")

REPOSITORY = Path(__file__).resolve().parents[2]
AXE = REPOSITORY / ".pytest_cache" / "browser" / "node_modules" / "axe-core" / "axe.min.js"
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
WIDTHS = (360, 768, 1280, 1920)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    names = ("chromium", "chromium-browser", "google-chrome")
    path = os.environ.get("RAILWATCH_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("no Chromium here; '.ci/browser' installs it, or RAILWATCH_CHROMIUM names one")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    store = yard_store(folder / "store")
    events = [Event(date(2023, 9, 13), "The summit"), Event(date(2023, 9, 17), "The visit ends")]
    write_report(read_sources(store.path), folder / "report.html", events=events)
    return folder / "report.html"


class Reader:
    """A page with what it asked for and complained about."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
        self.asked: list[str] = []
        self.complaints: list[str] = []
        # Chromium may read the file itself; anything else is recorded and goes nowhere.
        self.context.route("**/*", self._route)
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))
        self.page.goto(path.as_uri())

    def _route(self, route: Any) -> None:
        if route.request.url.startswith("file:"):
            route.continue_()
        else:
            self.asked.append(route.request.url)
            route.abort()

    def mark(self, day: str) -> Any:
        return self.page.locator(f"a.mark.wagons[aria-label^='{day}']")

    def middle(self, locator: Any) -> tuple[float, float]:
        locator.scroll_into_view_if_needed()
        box = locator.locator(".halo").bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def range(self) -> tuple[date, date]:
        first, last = self.page.locator(".chart-range").inner_text().split(" to ")
        return date.fromisoformat(first), date.fromisoformat(last)

    def settle(self) -> None:
        """Wait until nothing glides any more."""
        self.page.wait_for_function(
            """() => {
                const now = scrollY + document.querySelector('.chart-range').textContent;
                const same = window.before === now;
                window.before = now;
                return same;
            }""",
            polling=150,
        )


@pytest.fixture
def read(browser, report) -> Iterator[Any]:
    readers: list[Reader] = []

    def opened(path: Path = report, **options: Any) -> Reader:
        readers.append(Reader(browser, path, **options))
        return readers[-1]

    yield opened
    for one in readers:
        one.context.close()


# ---- alone ---------------------------------------------------------------------------------------


def test_nothing_leaves_the_page_and_nothing_is_wrong_with_it(read):
    reader = read()
    page = reader.page
    page.mouse.move(*reader.middle(reader.mark("2023-10-05")))
    page.locator(".compare select").first.select_option(index=0)
    page.locator("thead button").first.click()
    page.locator(".evidence button").first.click()
    page.keyboard.press("Escape")
    page.locator("[data-do=in]").first.click()
    assert reader.asked == []
    assert reader.complaints == []


def test_even_a_script_of_the_page_could_not_reach_the_network(read):
    reader = read()
    outcome = reader.page.evaluate(
        "fetch('https://example.org/').then(() => 'reached', (error) => error.name)"
    )
    assert outcome == "TypeError"
    reader.page.evaluate(
        """() => {
            document.body.insertAdjacentHTML('beforeend', '<img src="https://example.org/a.png">');
            const script = document.createElement('script');
            script.textContent = 'window.ran = 1';
            document.body.append(script);
        }"""
    )
    assert reader.page.evaluate("window.ran") is None
    assert reader.asked == []
    assert sum("Content Security Policy" in text for text in reader.complaints) >= 3


def test_a_foreign_store_does_no_harm(read, tmp_path):
    store = hostile_store(tmp_path / "store")
    write_report(read_sources(store.path), tmp_path / "report.html")
    reader = read(tmp_path / "report.html")
    page = reader.page
    for mark in page.locator("a.mark:not(.missing)").all():
        page.mouse.move(*reader.middle(mark))
    assert "onerror" in page.locator(".tip").inner_text()
    page.locator(".compare select").first.select_option(index=0)
    assert page.evaluate("window.harmed") is None
    assert page.locator("script").count() == 2
    assert reader.complaints == []
    assert reader.asked == []


# ---- the chart -----------------------------------------------------------------------------------


def test_pointing_at_a_mark_shows_its_figures(read):
    reader = read()
    reader.page.mouse.move(*reader.middle(reader.mark("2023-10-05")))
    text = reader.page.locator(".tip").inner_text()
    for part in (
        "5 October 2023, 02:20 UTC",
        "73 freight cars",
        "90% interval 62 to 85",
        "wagon detector",
        "WorldView-3",
        "scene-20231005",
        "unprecedented",
    ):
        assert part in text
    reader.page.mouse.move(10, 10)
    assert reader.page.locator(".tip").is_hidden()


def test_pointing_at_another_verdict_shows_the_look_back_that_it_was_judged_against(read):
    reader = read()
    label = reader.page.locator(".window-label")
    assert label.text_content() == "look-back of 2023-10-05"
    reader.page.mouse.move(*reader.middle(reader.mark("2023-02-25")))
    # It begins before the drawing does, which is told.
    assert label.text_content() == "look-back of 2023-02-25, from 2018-01-26 on"


def test_clicking_a_mark_leads_to_its_evidence_and_back(read):
    reader = read(reduced_motion="reduce")
    page = reader.page
    page.mouse.click(*reader.middle(reader.mark("2023-10-05")))
    card = page.locator("article.card:focus")
    assert card.locator("time").inner_text() == "5 October 2023, 02:20 UTC"
    assert card.locator("img").get_attribute("alt").startswith("Picture of Tumangang")
    box = card.bounding_box()
    assert 0 <= box["y"] < 300
    card.get_by_role("link", name="Back to the chart").click()
    assert page.locator("a.mark:focus").get_attribute("aria-label").startswith("2023-10-05: 73")
    assert 0 <= page.locator("a.mark:focus").bounding_box()["y"] < 900


def test_a_published_count_leads_to_its_row_and_that_to_its_source(read):
    reader = read(reduced_motion="reduce")
    page = reader.page
    page.mouse.click(*reader.middle(page.locator("a.mark[aria-label^='2024-06-17']")))
    row = page.locator("tr:focus")
    assert "255" in row.inner_text()
    row.get_by_role("link").click()
    assert "255 cars" in page.locator("li:target").inner_text()


def test_the_keyboard_does_it_all(read):
    reader = read(reduced_motion="reduce")
    page = reader.page
    page.keyboard.press("Tab")
    skip = page.locator(":focus")
    assert skip.inner_text() == "Skip to the finding"
    assert skip.bounding_box()["y"] >= 0
    page.locator(".plot a.mark[tabindex='0']").focus()
    assert page.locator(".plot a.mark[tabindex='0']").count() == 1
    assert "73 freight cars" in page.locator(".tip").inner_text()
    page.keyboard.press("ArrowRight")
    assert page.locator("a.mark:focus").get_attribute("aria-label").startswith("2023-10-14: 66")
    assert "66 freight cars" in page.locator(".tip").inner_text()
    ring = page.locator("a.mark:focus .halo")
    assert ring.evaluate("(node) => getComputedStyle(node).strokeWidth") == "3px"
    before = reader.range()
    page.keyboard.press("+")
    after = reader.range()
    assert (after[1] - after[0]) < 0.6 * (before[1] - before[0])
    assert after[0] <= date(2023, 10, 14) <= after[1]
    page.keyboard.press("Shift+ArrowLeft")
    assert reader.range()[0] < after[0]
    page.keyboard.press("Home")
    assert page.locator("a.mark:focus").get_attribute("aria-label").startswith("2021-11-02")
    assert reader.range()[0] <= date(2021, 11, 2)
    page.keyboard.press("0")
    assert reader.range() == before
    page.keyboard.press("Escape")
    assert page.locator(".tip").is_hidden()
    page.keyboard.press("Enter")
    assert page.locator("article.card:focus time").inner_text().startswith("2 November 2021")


def test_the_chart_is_one_stop_for_the_tab_key(read):
    reader = read()
    reader.page.locator(".plot a.mark[tabindex='0']").focus()
    reader.page.keyboard.press("Tab")
    assert not reader.page.evaluate("document.activeElement.closest('.plot')")


def test_the_wheel_zooms_with_ctrl_and_scrolls_without(read):
    reader = read(reduced_motion="reduce")
    page = reader.page
    before = reader.range()
    page.mouse.move(*reader.middle(reader.mark("2023-10-05")))
    page.mouse.wheel(0, 120)
    reader.settle()
    assert reader.range() == before
    page.mouse.move(*reader.middle(reader.mark("2023-10-05")))
    page.keyboard.down("Control")
    for _ in range(5):
        page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    reader.settle()
    first, last = reader.range()
    assert (last - first).days < 0.4 * (before[1] - before[0]).days
    assert first <= date(2023, 10, 5) <= last
    assert page.evaluate("visualViewport.scale") == 1
    visible = page.locator("a.mark:not([display='none'])").count()
    assert 0 < visible < page.locator("a.mark").count()
    x, y = reader.middle(reader.mark("2023-10-05"))
    page.mouse.move(x - 60, y + 90)
    page.mouse.down()
    page.mouse.move(x + 60, y + 90, steps=4)
    page.mouse.up()
    assert reader.range()[0] < first
    assert "scene-" not in page.evaluate("location.hash")  # a drag is no click
    page.locator("[data-do=all]").first.click()
    assert reader.range() == before


def test_the_strip_below_chooses_the_time(read):
    reader = read(reduced_motion="reduce")
    page = reader.page
    before = reader.range()
    strip = page.locator(".chart-overview svg")
    strip.scroll_into_view_if_needed()
    box = strip.bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 20, steps=5)
    page.mouse.up()
    first, last = reader.range()
    share = (last - first) / (before[1] - before[0])
    assert 0.25 < share < 0.35


def test_zoomed_in_the_counts_fill_the_height(read):
    reader = read(reduced_motion="reduce")
    top = """() => Math.max(
        ...[...document.querySelectorAll('.y-axis .tick text')].map((one) => Number(one.textContent)))"""
    assert reader.page.evaluate(top) == 250
    reader.page.locator(".plot a.mark[tabindex='0']").focus()
    for _ in range(5):
        reader.page.keyboard.press("+")
    assert reader.page.evaluate(top) == 80


def test_a_method_can_be_hidden(read):
    reader = read()
    box = reader.page.get_by_role("checkbox", name="wagon detector")
    box.uncheck()
    assert reader.mark("2023-10-05").is_hidden()
    assert reader.page.locator("a.mark.occupancy").first.is_visible()
    box.check()
    assert reader.mark("2023-10-05").is_visible()


def test_fingers_tap_drag_and_pinch(read):
    reader = read(
        viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True, reduced_motion="reduce"
    )
    page = reader.page
    before = reader.range()
    x, y = reader.middle(reader.mark("2023-10-05"))
    page.touchscreen.tap(x, y)
    tip = page.locator(".tip")
    assert tip.is_visible()
    assert "Open the evidence" in tip.inner_text()
    assert page.evaluate("location.hash") == ""
    box = tip.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    fingers = reader.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        given = [{"x": px, "y": py, "id": number} for number, (px, py) in enumerate(points)]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": given})

    touch("touchStart", (x - 20, y), (x + 20, y))
    for step in range(1, 6):
        touch("touchMove", (x - 20 - 12 * step, y), (x + 20 + 12 * step, y))
    touch("touchEnd")
    first, last = reader.range()
    assert (last - first) < 0.5 * (before[1] - before[0])
    tip.get_by_role("link").click()
    assert page.locator("article.card:focus time").inner_text().startswith("5 October 2023")


def test_the_chart_is_the_one_that_fits_with_and_without_javascript(read):
    """The drawing is matplotlib's at three widths; the script takes the one that the style sheet shows."""
    collect = """() => {
        const plot = [...document.querySelectorAll('.plot')].find((one) => one.getClientRects().length);
        const all = (selector, ...names) => [...plot.querySelectorAll(selector)].map(
            (one) => [one.textContent.trim(), ...names.map((name) => one.getAttribute(name))]);
        return {
            view: plot.getAttribute('viewBox'),
            marks: all('a.mark', 'data-key', 'transform'),
            ticks: all('.x-axis .tick, .y-axis .tick', 'transform'),
            labels: all('.label:not([display])', 'x', 'y', 'text-anchor'),
        };
    }"""
    for width in WIDTHS[:3]:
        screen = {"width": width, "height": 900}
        alive = read(viewport=screen).page.evaluate(collect)
        # Scripts of the page don't run in the second reader, but the test's own may look at it.
        still = read(viewport=screen, java_script_enabled=False).page.evaluate(collect)
        assert _texts(alive) == _texts(still)
        assert _numbers(alive) == pytest.approx(_numbers(still), abs=0.06)
        assert len(still["marks"]) == 36
        assert still["labels"][0][0].startswith("73")  # the headline's, at every width


def test_a_chart_that_was_zoomed_out_again_is_as_it_was(read):
    reader = read(reduced_motion="reduce")
    content = "document.querySelector('.plot').outerHTML"
    before = reader.page.evaluate(content)
    for _ in range(4):
        reader.page.locator("[data-do=in]").first.click()
    assert reader.page.evaluate(content) != before
    reader.page.locator("[data-do=all]").first.click()
    after = reader.page.evaluate(content)
    assert _numbers(after) == pytest.approx(_numbers(before), abs=0.02)


_NUMBER = re.compile(r"-?\d+\.?\d*")


def _numbers(value: Any) -> list[float]:
    return [float(one) for one in _NUMBER.findall(json.dumps(value))]


def _texts(value: Any) -> str:
    return _NUMBER.sub("#", json.dumps(value))


# ---- table, comparison, pictures -----------------------------------------------------------------


def test_the_table_is_downloaded_as_csv(read):
    reader = read(accept_downloads=True)
    with reader.page.expect_download() as pending:
        reader.page.get_by_role("button", name="Download as CSV").click()
    assert pending.value.suggested_filename == "railwatch-tumangang-2024-12-03.csv"
    content = Path(pending.value.path()).read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert len(rows) == reader.page.locator("table.numbers tbody tr").count()
    event = next(row for row in rows if row["datetime"] == "2023-10-05T02:20:00Z")
    assert (event["count"], event["verdict"], event["source"]) == ("73", "unprecedented", "WorldView-3")
    assert reader.asked == []


def test_sentence_citation_link_and_chart_can_be_taken_along(read):
    reader = read(accept_downloads=True, permissions=["clipboard-read", "clipboard-write"])
    page = reader.page

    def copied(name: str) -> str:
        page.get_by_role("button", name=name).click()
        page.locator(".copied", has_text="Copied.").wait_for()
        return str(page.evaluate("navigator.clipboard.readText()"))

    assert copied("Copy the sentence") == page.locator(".quote p").inner_text()
    assert re.search(r"railwatch [0-9.]+, data to .*; store [0-9a-f]{16}", copied("Copy the citation"))
    address, _, anchor = copied("Copy a link to this date").partition("#")
    assert address == page.url.partition("#")[0]
    assert page.locator(f"[id='{anchor}']").count() == 1
    for kind, begins in (("PNG", b"\x89PNG"), ("SVG", b"<?xml")):
        with page.expect_download() as pending:
            page.get_by_role("link", name=f"Chart as {kind}").click()
        assert Path(pending.value.path()).read_bytes().startswith(begins)
    assert (reader.asked, reader.complaints) == ([], [])


def test_the_address_of_a_day_unfolds_its_card(read, report):
    page = read().page
    card = page.locator("article.card", has=page.locator("[id='2022-03-02']"))
    assert card.is_hidden()
    page.goto("about:blank")
    page.goto(f"{report.as_uri()}#2022-03-02")
    card.wait_for(state="visible")
    assert "2 March 2022" in card.inner_text()


def test_outlines_are_switched_off_and_on(read, tmp_path):
    placed = Georeference("EPSG:32652", (2.0, 0, 632e3, 0, -2.0, 4_698_000.0), (0, 0, 640, 360), (640, 400))
    drawn, clean = io.BytesIO(), io.BytesIO()
    Image.new("RGB", placed.size, (90, 90, 90)).save(drawn, "PNG", pnginfo=placed.png_info())
    Image.new("RGB", (640, 360), (90, 90, 90)).save(clean, "WEBP")
    store = Store.open(tmp_path / "store")
    when = datetime(2023, 10, 9, 2, 20, tzinfo=UTC)
    store.add(observation(when, 8.0), evidence=drawn.getvalue(), image=clean.getvalue())
    write_report(read_sources(store.path), tmp_path / "report.html")
    page = read(tmp_path / "report.html").page
    outlines, credit = page.locator(".evidence .overlay .area"), page.locator(".evidence .overlay .credit")
    switch = page.get_by_label("Outlines")
    shown = "(one) => getComputedStyle(one).display !== 'none'"
    assert outlines.evaluate(shown)
    switch.uncheck()
    assert not outlines.evaluate(shown)
    assert credit.evaluate(shown)
    page.locator(".evidence button").click()
    assert not page.locator(".lightbox .overlay .area").evaluate(shown)
    page.keyboard.press("Escape")
    switch.check()
    assert outlines.evaluate(shown)


def test_the_table_sorts(read):
    page = read().page
    counts = """() => [...document.querySelectorAll('table.numbers tbody tr')].map(
        (row) => Number(row.cells[1].dataset.sort))"""
    heading = page.locator("table.numbers thead th", has_text="Cars")
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert page.evaluate(counts) == sorted(page.evaluate(counts))
    heading.get_by_role("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert page.evaluate(counts) == sorted(page.evaluate(counts), reverse=True)
    assert (
        page.locator("th[aria-sort]:not([aria-sort=none])").count() == page.locator("table.numbers").count()
    )


def test_two_dates_are_compared(read):
    reader = read()
    page = reader.page
    section = page.locator(".compare")
    captions = section.locator("figcaption")
    assert captions.nth(1).inner_text().startswith("2023-10-05: 73")
    images = section.locator(".pane img")
    assert images.nth(0).evaluate("(image) => image.naturalWidth") == 640
    assert images.nth(0).get_attribute("src") != images.nth(1).get_attribute("src")
    section.locator("select").nth(1).select_option(label="2023-10-14: 66, Pléiades")
    assert captions.nth(1).inner_text().startswith("2023-10-14")
    assert "14 October 2023" in images.nth(1).get_attribute("alt")
    section.locator("[data-do=in]").click()
    moved = [images.nth(number).evaluate("(image) => image.style.transform") for number in (0, 1)]
    assert moved[0] == moved[1]
    assert "scale(1.6)" in moved[0]
    section.locator("[data-do=all]").click()
    section.get_by_label("Slider").check()
    slide = section.get_by_role("slider")
    slide.focus()
    for _ in range(10):
        slide.press("ArrowRight")
    assert (
        section.locator(".stage").nth(1).evaluate("(stage) => stage.style.clipPath")
        == "inset(0px 0px 0px 60%)"
    )
    assert reader.asked == []


def test_two_pictures_of_different_windows_meet_on_the_ground(read, tmp_path):
    """One shows 640 m at 1 m, the other 320 m at 0.5 m from 80 m further east and 60 m further south."""
    windows = {
        9: Georeference("EPSG:32652", (1.0, 0, 632e3, 0, -1.0, 4_698_000.0), (0, 0, 640, 360), (640, 400)),
        12: Georeference(
            "EPSG:32652", (0.5, 0, 632_080.0, 0, -0.5, 4_697_940.0), (0, 0, 640, 360), (640, 400)
        ),
    }
    store = Store.open(tmp_path / "store")
    for day, placed in windows.items():
        stream = io.BytesIO()
        Image.new("RGB", placed.size, (90, 90, 90)).save(stream, "PNG", pnginfo=placed.png_info())
        when = datetime(2023, 10, day, 2, 20, tzinfo=UTC)
        store.add(observation(when, 8.0), evidence=stream.getvalue())
    write_report(read_sources(store.path), tmp_path / "report.html")
    section = read(tmp_path / "report.html").page.locator(".compare")
    section.get_by_label("Slider").check()
    assert "by their position on the ground" in section.locator(".compare-note").inner_text()
    section.locator("[data-do=in]").click()
    boxes = [section.locator(".pane img").nth(number).bounding_box() for number in (0, 1)]
    # A point 200 m east and 150 m south of the first picture's corner is pixel (200, 150) of it, and
    # pixel (240, 180) of the second.
    (left, right) = (
        (box["x"] + at[0] / 640 * box["width"], box["y"] + at[1] / 400 * box["height"])
        for box, at in zip(boxes, ((200, 150), (240, 180)), strict=True)
    )
    assert boxes[0]["width"] == pytest.approx(2 * boxes[1]["width"], rel=0.01)
    assert left == pytest.approx(right, abs=3)


def test_a_picture_opens_in_full_size_and_closes_again(read):
    page = read().page
    button = page.locator(".evidence button").first
    button.click()
    box = page.locator("dialog[open]")
    assert box.locator("img").evaluate("(image) => image.naturalWidth") == 640
    box.get_by_role("button", name="Actual size").click()
    assert box.locator("img").bounding_box()["width"] == 640
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    assert button.evaluate("(node) => node === document.activeElement")


# ---- screens, light, paper, nothing --------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_screen_scrolls_sideways(read, scheme):
    page = read(viewport={"width": WIDTHS[0], "height": 800}, color_scheme=scheme).page
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_function("(width) => innerWidth === width", arg=width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        wide = page.evaluate(
            """(width) => [...document.querySelectorAll('main *, header *')]
                .filter((one) => !one.closest('.scroll, svg, dialog, .visually-hidden'))
                .filter((one) => one.getBoundingClientRect().right > width + 1)
                .map((one) => one.outerHTML.slice(0, 80))""",
            width,
        )
        assert wide == []
        letters = page.evaluate(
            """() => Math.min(...[...document.querySelectorAll('.plot text')]
                .map((one) => one.getBoundingClientRect().height).filter((height) => height > 0))"""
        )
        assert letters > 9  # the chart is drawn for the width, not shrunk to it


def test_dark_mode_is_dark(read):
    colours = """() => [
        getComputedStyle(document.body).backgroundColor,
        getComputedStyle(document.querySelector('h1')).color,
    ]"""
    values = {}
    for scheme in ("light", "dark"):
        paper, ink = (
            sum(map(int, re.findall(r"\d+", colour)[:3]))
            for colour in read(color_scheme=scheme).page.evaluate(colours)
        )
        values[scheme] = (paper, ink)
    assert values["light"][0] > 700 > 150 > values["light"][1]
    assert values["dark"][0] < 150 < 600 < values["dark"][1]


def test_without_javascript_chart_cards_and_table_are_there(read):
    reader = read(java_script_enabled=False, viewport={"width": 360, "height": 800})
    page = reader.page
    assert page.locator(".js-only").evaluate_all("(all) => all.every((one) => !one.offsetParent)")
    assert page.locator(".plot:visible a.mark").count() == 36
    assert page.locator("table.numbers tbody tr").count() == 37
    assert page.locator(".card img").first.is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.locator(".plot:visible a.mark.wagons[aria-label^='2022-03-02']").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.querySelector(':target').textContent").strip().startswith("2 March 2022")


def test_on_paper_the_key_dates_are_unfolded(read):
    reader = read()
    page = reader.page
    page.emulate_media(media="print")
    content = page.pdf(prefer_css_page_size=True, print_background=True)
    assert content.startswith(b"%PDF-")
    assert 100_000 < len(content) < 8_000_000
    assert 5 < len(re.findall(rb"/Type\s*/Page\b", content)) <= 12
    hidden = page.evaluate("getComputedStyle(document.querySelector('.masthead nav')).display")
    assert hidden == "none"
    assert page.locator(".compare").is_hidden()
    assert page.locator(".plot").is_visible()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    # The less notable dates stay folded: their counts are in the table.
    assert page.locator("details:not([open]):not(.more-cards, .more-cards *)").count() == 0
    assert page.locator(".more-cards:not([open])").count() == 1
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0
    printed = page.evaluate(
        "getComputedStyle(document.querySelector('a[href^=\"https://beyondparallel\"]'), '::after').content"
    )
    assert "https://beyondparallel.csis.org/" in printed


def test_the_chart_in_print_has_a_size_of_its_own(read):
    page = read(viewport={"width": 360, "height": 800}).page
    narrow = page.locator(".plot").get_attribute("viewBox")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".plot").get_attribute("viewBox") != narrow
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator(".plot").get_attribute("viewBox") == narrow


def test_what_glides_stands_still_for_those_who_ask(read):
    page = read(reduced_motion="reduce").page
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
    changed = page.evaluate(
        """() => { const range = document.querySelector('.chart-range'); const before = range.textContent;
                   document.querySelector('[data-do=in]').click(); return range.textContent !== before; }"""
    )
    assert changed


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (360, "light")])
def test_axe_finds_nothing(read, width, scheme):
    path = Path(os.environ.get("RAILWATCH_AXE") or AXE)
    if not path.is_file():
        pytest.skip("no axe-core here; '.ci/browser' fetches it, or RAILWATCH_AXE names its axe.min.js")
    page = read(viewport={"width": width, "height": 900}, color_scheme=scheme).page
    page.evaluate(path.read_text("utf-8"))
    states = ("as it opens", "with a tip", "with a picture") if width == 1280 else ("as it opens",)
    for state in states:
        if state == "with a tip":
            page.locator(".plot a.mark[tabindex='0']").focus()
        if state == "with a picture":
            page.locator(".evidence button").first.click()
        found = page.evaluate(
            "axe.run(document, {resultTypes: ['violations']}).then((one) => one.violations)"
        )
        named = [(one["impact"], one["id"], one["nodes"][0]["html"][:120]) for one in found]
        assert named == [], state


def test_landmarks_title_and_language(read):
    page = read().page
    assert page.evaluate("document.documentElement.lang") == "en"
    assert "Tumangang" in page.title()
    assert [
        page.locator(name).count() for name in ("main", "body > header", "nav", "body > footer", "h1")
    ] == [1] * 5
    levels = [
        int(one[1])
        for one in page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map((one) => one.tagName)")
    ]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
