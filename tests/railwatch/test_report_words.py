"""The report's words and the chart's geometry."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_stores import yard_store

from railwatch import words
from railwatch.history.sources import read_sources
from railwatch.pages.charts.labels import text_width
from railwatch.pages.charts.series import draw_series
from railwatch.pages.charts.style import number_of
from railwatch.pages.report import words as page_words
from railwatch.pages.report.chart_svg import legend_of, plots_of
from railwatch.pages.report.gather import gather


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    store = yard_store(tmp_path_factory.mktemp("words") / "store")
    (place,) = gather(read_sources(store.path))
    return place


# ---- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "under 0.1%"),
        (0.0004, "under 0.1%"),
        (0.012, "1.2%"),
        (0.5, "50%"),
        (0.991, "over 99%"),
        (1.0, "over 99%"),
    ],
)
def test_nothing_is_impossible_or_certain(share, text):
    assert words.percent(share) == text


@given(st.floats(0, 1))
def test_a_share_says_all_or_nothing_only_when_it_is(share):
    text = words.fraction_seen(share)
    assert (text == "0%") == (share == 0.0)
    assert (text == "100%") == (share == 1.0)


def test_counts_and_dates():
    assert words.cars(1.0) == "1 freight car"
    assert words.cars(1234.0) == "1,234 freight cars"
    assert words.day(date(2023, 10, 5)) == "5 October 2023"
    assert words.moment(datetime(2023, 10, 5, 2, 5, tzinfo=UTC)) == "5 October 2023, 02:05 UTC"
    assert words.moment(datetime(2023, 10, 5, tzinfo=UTC)) == "5 October 2023"
    assert words.interval(None, 3.0) == ""


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [
        (date(2018, 9, 5), date(2023, 9, 5), "five years"),
        (date(2022, 9, 5), date(2023, 9, 5), "year"),
        (date(2022, 3, 5), date(2023, 9, 5), "18 months"),
        (date(2023, 9, 1), date(2023, 9, 20), "month"),
    ],
)
def test_a_window_has_a_length(start, end, text):
    assert words.length_of(start, end) == text


@pytest.mark.parametrize(
    "text", ["javascript:alert(1)", "data:text/html,x", "//example.org", "http://", "https://a b", "ftp://a"]
)
def test_only_the_web_can_be_linked(text):
    assert page_words.web_address(text) is None


def test_every_verdict_has_a_heading_and_an_explanation(place):
    headings = {page_words.headline(_opening_with(place, entry)) for entry in place.entries if entry.verdict}
    meanings = (
        "the most in",
        "more than",
        "out of the ordinary",
        "No count on",
        "leaves the comparison open",
    )
    assert all(any(meaning in heading for heading in headings) for meaning in meanings)
    for entry in place.entries:
        if entry.verdict is not None:
            assert page_words.standfirst(entry.verdict).endswith(".")
            assert "None" not in page_words.standfirst(entry.verdict) + page_words.coverage(entry.verdict)
            assert "None" not in "".join("".join(row) for row in page_words.meaning(entry.verdict, place))


def _opening_with(place, entry):
    return replace(place, headline=entry)


# ---- the chart -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plots(place) -> dict[str, ElementTree.Element]:
    """The drawings on the page by width."""
    drawn = ElementTree.fromstring(f"<div>{plots_of(place)}</div>")
    return {one.get("class").split("-")[1]: one for one in drawn}


def marks_of(plot: ElementTree.Element) -> dict[str, ElementTree.Element]:
    return {one.get("data-key"): one for one in plot.iter("a")}


def number(plot: ElementTree.Element, name: str) -> float:
    return float(plot.get(f"data-{name}"))


def test_marks_stand_where_their_numbers_say_at_every_width(place, plots):
    assert set(plots) == {"narrow", "medium", "wide"}
    for plot in plots.values():
        left, right, floor, top = (number(plot, name) for name in ("left", "right", "floor", "top"))
        first, last, most = (number(plot, name) for name in ("first", "last", "max"))
        marks = marks_of(plot)
        assert set(marks) == {one.key for one in place.entries}
        for entry in place.entries:
            mark, record = marks[entry.key], entry.record
            share = (number_of(record.when) - first) / (last - first)
            assert float(mark.get("data-x")) == pytest.approx(left + share * (right - left), abs=0.05)
            if record.value is None:
                assert float(mark.get("data-y")) > floor
            else:
                height = record.value / most * (floor - top)
                assert float(mark.get("data-y")) == pytest.approx(floor - height, abs=0.05)


def test_methods_differ_in_shape_and_publishers_too(place, plots):
    shapes = {}
    for key, mark in marks_of(plots["wide"]).items():
        entry = next(one for one in place.entries if one.key == key)
        if entry.record.kind in ("count", "range"):
            shape = next(one for one in mark.iter("path") if one.get("class") == "shape")
            shapes[mark.get("data-kind")] = (shape.get("d"), shape.get("fill"))
    assert {"wagons", "occupancy", "reviewed", "published.4"} <= set(shapes)
    assert len(set(shapes.values())) == len(shapes)
    assert {one.hides for _, one in legend_of(place) if one.hides} >= set(shapes)


def test_lines_join_only_near_images_of_one_method(plots):
    joins = [one for one in plots["wide"].iter("path") if one.get("class") == "join"]
    # Monthly images are too far apart; the surge and the image after it aren't.
    assert [one.get("data-kind") for one in joins] == ["wagons"]
    assert joins[0].get("d").count("L") == 1


def test_a_place_seen_for_months_fills_most_of_its_chart(place):
    """The unseen years before the first image take half the room of the images; their beginning is told."""
    early = place.headline.verdict.window[0]
    dated = [one for one in place.history.records if one.kind != "ceiling" and one.day >= date(2023, 1, 1)]
    short = replace(place.history, records=tuple(dated), observations=())
    first, _ = short.span()
    opens, ends = (pick(one.day for one in dated) for pick in (min, max))
    assert early < first < opens
    assert (opens - first).days == pytest.approx((ends - opens).days / 2, rel=0.3)
    assert short.unseen()[0][0] == short.foremost().window[0]
    figure = draw_series(short)
    texts = [one for axes in figure.axes for one in axes.texts]
    (label,) = [one for one in texts if one.get_gid() == "window.label"]
    opening = short.foremost()
    assert label.get_text() == f"look-back of {opening.record.day}, from {opening.window[0]} on"
    # What is published about the years before shows them.
    ceilings = tuple(one for one in place.history.records if one.kind == "ceiling")
    assert replace(short, records=(*ceilings, *dated)).span()[0] <= early


def test_the_look_back_is_shown_whole_with_what_was_not_seen(place, plots):
    verdict = place.headline.verdict
    first, _ = place.history.span()
    assert first <= verdict.window[0]
    # A published ceiling speaks of the years before our first image; without it they are unseen.
    assert place.history.unseen() == []
    alone = replace(
        place.history, records=tuple(one for one in place.history.records if one.kind != "ceiling")
    )
    ((begin, until),) = alone.unseen()
    assert (begin, until) == (verdict.window[0], date(2021, 11, 2))
    label = next(one for one in plots["wide"].iter("text") if "window-label" in one.get("class", ""))
    assert label.text == "look-back of 2023-10-05"


@pytest.mark.parametrize(("width", "most"), [("narrow", 1), ("medium", 3), ("wide", 6)])
def test_labels_name_the_headline_first_and_cover_no_mark(place, plots, width, most):
    marks = marks_of(plots[width])
    labels = {
        named.get("data-key"): text
        for named in plots[width].iter("g")
        if named.get("class") == "named"
        for text in named.iter("text")
    }
    assert place.headline.key in labels
    assert 1 <= len(labels) <= most
    for key, label in labels.items():
        x, y = (float(marks[key].get(f"data-{axis}")) + float(label.get(axis)) for axis in "xy")
        wide = text_width(label.text, float(label.get("font-size")))
        left = {"start": x, "middle": x - wide / 2, "end": x - wide}[label.get("text-anchor", "start")]
        for other, mark in marks.items():
            at = (float(mark.get("data-x")), float(mark.get("data-y")))
            assert not (left < at[0] < left + wide and y - 6 < at[1] < y + 1), (width, label.text, other)
