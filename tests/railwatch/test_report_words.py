"""The report's words and the chart's geometry."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_stores import yard_store

from railwatch.history.sources import read_sources
from railwatch.pages.report import words
from railwatch.pages.report.gather import gather
from railwatch.pages.report.plot import CROWDED, count_ticks, days_of, plot_of, time_ticks

DAYS = st.floats(-20_000, 60_000)


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
    text = words.share_seen(share)
    assert (text == "0%") == (share == 0.0)
    assert (text == "100%") == (share == 1.0)


def test_counts_and_dates():
    assert words.cars(1.0) == "1 freight car"
    assert words.cars(1234.0) == "1\u202f234 freight cars"
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
    assert words.web_address(text) is None


def test_every_verdict_has_a_heading_and_an_explanation(place):
    headings = {words.headline(_opening_with(place, entry)) for entry in place.entries if entry.verdict}
    meanings = ("unprecedented in the", "more than usual", "out of the ordinary", "No count on", "too little")
    assert all(any(meaning in heading for heading in headings) for meaning in meanings)
    for entry in place.entries:
        if entry.verdict is not None:
            assert words.standfirst(entry.verdict).endswith(".")
            assert "None" not in words.standfirst(entry.verdict) + words.coverage(entry.verdict)
            assert "None" not in "".join("".join(row) for row in words.meaning(entry.verdict, place))


def _opening_with(place, entry):
    from dataclasses import replace

    return replace(place, headline=entry)


# ---- the chart -----------------------------------------------------------------------------------


@given(st.floats(5, 1e6))
def test_count_ticks_are_few_round_and_inside(top):
    ticks = count_ticks(top)
    assert ticks[0] == 0.0
    assert ticks[-1] <= top
    assert 3 <= len(ticks) <= 6
    assert all(tick == int(tick) for tick in ticks)


@given(DAYS, st.floats(5, 20_000), st.floats(200, 1500))
def test_time_ticks_are_inside_in_order_and_have_room(first, span, room):
    ticks = time_ticks(first, first + span, room)
    times = [t for t, _ in ticks]
    assert times == sorted(set(times))
    assert all(first <= t <= first + span for t in times)
    width = {4: 50.0, 7: 66.0, 10: 84.0}
    assert all(len(ticks) * width[len(label)] <= room for _, label in ticks)
    assert ticks or span < 15 or room < 300


def test_marks_stand_where_their_numbers_say(place):
    plot = plot_of(place)
    counted = [one for one in plot.marks if not one.missing]
    for mark in plot.marks:
        assert plot.left <= mark.x <= plot.width - plot.right
        assert mark.t == pytest.approx(days_of(mark.record.when))
        if mark.missing:
            assert mark.y > plot.height - plot.bottom
        else:
            assert plot.top <= mark.y <= plot.height - plot.bottom
            assert mark.y == pytest.approx(plot.y(mark.record.value))
    high, low = (sorted(counted, key=lambda one: one.record.value)[index] for index in (-1, 0))
    assert high.y < low.y
    assert [one.x for one in plot.marks] == sorted(one.x for one in plot.marks)


def test_methods_differ_in_shape_and_publishers_too(place):
    plot = plot_of(place)
    shapes = {
        (one.kind, one.record.source if one.kind == "published" else ""): one.shape for one in plot.marks
    }
    assert len(set(shapes.values())) == len(shapes) >= 6
    assert {one.shape for one in plot.keys} == set(shapes.values())


def test_lines_join_only_near_looks_of_one_method(place):
    plot = plot_of(place)
    joins = dict(plot.joins)
    assert set(joins) == {"wagons"}  # monthly looks are too far apart; the surge and the look after aren't
    assert joins["wagons"].count("L") == 1


def test_the_window_is_that_of_the_headline(place):
    plot = plot_of(place)
    verdict = place.headline.verdict
    assert plot.window.start == days_of(verdict.window[0])
    assert plot.window.value == verdict.maximum.value
    assert plot.expected == (days_of(verdict.datetime), verdict.expected_low, verdict.expected_high)
    assert plot.window_label == "look-back of 2023-10-05"
    assert (plot.crowding != "") == (len(plot.marks) > (plot.width - plot.left - plot.right) / CROWDED)


def test_labels_cover_neither_marks_nor_each_other(place):
    labels = [one for one in plot_of(place).labels if one.anchor is not None]
    assert labels
    for label in labels:
        assert label.mark.label.split(" ", 1)[1] in ("unprecedented", "elevated")
        wide = 7.2 * len(label.mark.label)
        left = {"start": label.x, "middle": label.x - wide / 2, "end": label.x - wide}[label.anchor]
        for mark in plot_of(place).marks:
            inside = left < mark.x < left + wide and label.y - 12 < mark.y < label.y + 4
            assert mark.missing or not inside
