"""Charts: what is on them, not only that they are drawn; events, credits, files."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import geopandas as gpd
import matplotlib.dates as mdates
import numpy as np
import pytest
from making import history_of
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from shapely import LineString, Polygon, box

import seeds
from aoi import AreaOfInterest, Track
from railwatch.history import compare
from railwatch.history.history import Event, EventsError, History, is_sentinel, read_events
from railwatch.pages.charts.calendar import draw_calendar
from railwatch.pages.charts.series import draw_series
from railwatch.pages.charts.style import ChartError, PageStyle, to_bytes, write_chart
from railwatch.pages.charts.tracks import TrackOccupation, draw_tracks, occupied_stretches, track_lengths
from railwatch.pages.charts.types import draw_types
from railwatch.pages.charts.zones import draw_zones
from railwatch.store.observation import Observation
from railwatch.words import CAR_TYPES

START = datetime(2023, 1, 1, 2, tzinfo=UTC)


def observation(day: float, count: float | None, **changes: Any) -> Observation:
    fields: dict[str, Any] = {
        "id": f"yard-{day:07.2f}-{changes.get('method', 'wagons')}",
        "aoi": "yard",
        "scene": f"scene-{day:07.2f}",
        "datetime": START + timedelta(days=day),
        "sensor": "SkySat",
        "method": "wagons",
        "count": count,
        "count_low": None if count is None else max(count - 2.0, 0.0),
        "count_high": None if count is None else count + 3.0,
        "clear_fraction": 1.0,
        "abstained": count is None,
        "reason": None if count is not None else "cloud",
    }
    return Observation(**(fields | changes))


def history(observations: Iterable[Observation], **options: Any) -> History:
    own = list(observations)
    return history_of("A yard", own, None, compare(own) if options.pop("judged", False) else (), **options)


def texts(figure: Figure) -> list[str]:
    """All that is written on a figure, legends and axes included."""
    found = [text.get_text() for text in figure.texts]
    for legend in figure.legends:
        found += [text.get_text() for text in legend.get_texts()]
    for axes in figure.axes:
        found += [text.get_text() for text in axes.texts]
        found += [text.get_text() for text in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    return found


def lines_of(figure: Figure, colour: str) -> list[np.ndarray]:
    """The y values of the joined lines of a colour on the main axes."""
    return [
        np.asarray(line.get_ydata(), dtype=float)
        for line in figure.axes[0].lines
        if line.get_color() == colour and line.get_linestyle() == "-" and len(line.get_xdata()) > 1
    ]


# --------------------------------------------------------------------------------------------------
# Series


def test_published_counts_have_their_publishers_the_ceiling_and_the_verdicts() -> None:
    rows = seeds.comparable("tumangang")
    verdicts = compare([], rows, judge_published=True)
    figure = draw_series(history_of("Tumangang", [], rows, verdicts))
    written = texts(figure)
    assert "published: CSIS Beyond Parallel" in written
    assert "at most about 20 on any day (CSIS Beyond Parallel)" in written
    assert "73  unprecedented (unconfirmed)" in written
    assert "225  elevated" in written
    assert "Five years that 17 June 2024 is compared with" in written
    assert any("Published counts: 38 North, ASIAPRESS, CSIS Beyond Parallel" in text for text in written)


def test_a_chart_says_where_the_place_is_with_a_map_of_the_countries_around() -> None:
    placed = replace(history([observation(0, 5.0)]), middle=(130.6081, 42.4214))
    figure = draw_series(placed)
    (inset,) = (axes for axes in figure.axes if axes.get_gid() == "locator")
    assert {"China", "North Korea", "Russia"} <= {text.get_text() for text in inset.texts}
    said = " ".join(text.get_text() for text in figure.texts)
    for part in ("42.4214° N, 130.6081° E", "42°25\u203217\u2033 N", "MGRS 52T FM 32298 97818"):
        assert part in said
    nowhere = draw_series(history([observation(0, 5.0)]))
    assert not [axes for axes in nowhere.axes if axes.get_gid() == "locator"]


def test_no_line_crosses_a_long_gap_or_joins_two_methods() -> None:
    observations = [observation(day, float(day)) for day in (0, 10, 20, 60, 70)]
    observations += [observation(15, 50.0, method="occupancy", sensor="Sentinel-2A")]
    figure = draw_series(history(observations))
    (line,) = lines_of(figure, "#0072b2")
    assert np.array_equal(line, [0.0, 10.0, 20.0, np.nan, 60.0, 70.0], equal_nan=True)
    assert lines_of(figure, "#d55e00") == []
    (unbroken,) = lines_of(draw_series(history(observations), gap_days=40), "#0072b2")
    assert not np.isnan(unbroken).any()


def test_methods_differ_in_shape_and_not_only_in_colour() -> None:
    observations = [
        observation(0, 5.0),
        observation(10, 6.0, method="occupancy", sensor="Sentinel-2A"),
        observation(20, 7.0, method="reviewed", review_of="yard-0020.00-wagons"),
    ]
    figure = draw_series(history(observations))
    shapes = {line.get_marker() for line in figure.axes[0].lines if len(line.get_xdata()) == 1}
    assert shapes >= {"o", "s", "D"}
    assert {"wagon detector", "track occupancy (10 m)", "reviewed by eye"} <= set(texts(figure))


def test_abstained_dates_are_crosses_at_the_foot_and_no_counts() -> None:
    figure = draw_series(history([observation(0, 5.0), observation(10, None), observation(20, 6.0)]))
    main, strip = figure.axes
    crosses = [line for line in strip.lines if line.get_marker() == "x"]
    assert [len(line.get_xdata()) for line in crosses] == [1]
    assert float(crosses[0].get_xdata()[0]) == pytest.approx(mdates.date2num(START + timedelta(days=10)))
    counted = [line for line in main.lines if line.get_marker() == "o"]
    assert len(counted) == 2
    assert any("1 image without an answer" in text for text in texts(figure))


def test_a_day_with_one_clear_observation_isnt_without_an_answer() -> None:
    figure = draw_series(history([observation(0, 5.0), observation(0.1, None, method="occupancy")]))
    strip = figure.axes[1]
    assert all(len(line.get_xdata()) == 0 for line in strip.lines if line.get_marker() == "x")


def test_the_axis_starts_at_nothing_and_has_iso_dates() -> None:
    figure = draw_series(history([observation(30 * i, 12.0 + i) for i in range(20)]))
    main, strip = figure.axes
    assert main.get_ylim()[0] == 0.0
    assert main.get_ylim()[1] > 34.0
    labels = [label.get_text() for label in strip.get_xticklabels()]
    assert 3 <= len(labels) <= 9
    assert all(date.fromisoformat(f"{label}-01") for label in labels)


@pytest.mark.parametrize("span", [2, 14, 60, 200, 400, 1500, 5000, 14000])
def test_any_span_has_a_few_dates_inside_the_page(span: int) -> None:
    figure = draw_series(history([observation(0, 1.0), observation(span, 2.0)]))
    strip = figure.axes[1]
    labels = [label.get_text() for label in strip.get_xticklabels() if label.get_text()]
    assert 2 <= len(labels) <= 10
    figure.canvas.draw()
    edge = figure.bbox.width
    for label in strip.get_xticklabels():
        extent = label.get_window_extent()
        assert extent.x0 >= 0
        assert extent.x1 <= edge


def test_events_are_numbered_and_explained() -> None:
    events = [
        Event(date(2023, 1, 20), "a summit"),
        Event(date(2023, 4, 1), "a treaty"),
        Event(date(1999, 1, 1), "old"),
    ]
    figure = draw_series(history([observation(day, 5.0) for day in range(0, 200, 20)], events=events))
    written = texts(figure)
    assert {"1", "2"} <= set(written)
    key = next(text for text in written if text.startswith("[1]"))
    assert key == "[1] 2023-01-20 a summit     [2] 2023-04-01 a treaty"
    assert not any("old" in text for text in written)


def test_nothing_to_draw_says_so() -> None:
    assert "no dated count in this period" in texts(draw_series(history([])))
    later = history([observation(0, 5.0)], since=date(2025, 1, 1), until=date(2025, 6, 1))
    assert "no dated count in this period" in texts(draw_series(later))


@pytest.mark.parametrize(
    "observations",
    [
        [observation(0, 0.0)],
        [observation(30 * i, 21000.0 + i, count_low=None, count_high=None) for i in range(3)],
        [observation(2 * i, float(i % 17)) for i in range(400)],
    ],
    ids=["one", "huge", "many"],
)
def test_everything_written_lies_on_the_page(observations: list[Observation]) -> None:
    figure = draw_series(
        history_of(
            "A yard with a name so long that it must be broken to fit, because nobody shortened it " * 2,
            observations,
        )
    )
    figure.canvas.draw()
    for text in figure.texts:
        extent = text.get_window_extent()
        assert extent.x0 >= 0
        assert extent.x1 <= figure.bbox.width, text.get_text()
        assert extent.y0 >= 0


# --------------------------------------------------------------------------------------------------
# Credits and events


@pytest.mark.parametrize(
    ("sensor", "answer"),
    [
        ("Sentinel-2A", True),
        ("sentinel-1", True),
        ("S2B", True),
        ("S2B_MSI", True),
        ("simulated Sentinel-2A", False),
        ("SkySat", False),
        ("", False),
    ],
)
def test_sentinel_data_are_known_by_their_name(sensor: str, answer: bool) -> None:
    assert is_sentinel(sensor) is answer


def test_credits_name_the_years_of_sentinel_data() -> None:
    days = [0, 400, 1500]
    observations = [observation(day, 5.0, sensor="Sentinel-2A") for day in days] + [observation(9, 5.0)]
    line = history(observations).credits()
    assert "Imagery: Sentinel-2A, SkySat." in line
    assert "Contains modified Copernicus Sentinel data 2023-2024, 2027." in line
    assert "Copernicus" not in history([observation(0, 5.0)]).credits()


def test_events_are_read_from_a_csv(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text(
        '\ufeffDate,Label\n2024-06-19," Putin in Pyongyang "\n2023-09-13,summit\n\n2023-09-13,summit\n',
        "utf-8",
    )
    assert read_events(path) == [
        Event(date(2023, 9, 13), "summit"),
        Event(date(2024, 6, 19), "Putin in Pyongyang"),
    ]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("when,what\n2023-01-01,x\n", "no column date and no label"),
        ("date,label\n13.9.2023,summit\n", "line 2: '13.9.2023' isn't a date"),
        ("date,label\n2023-09-13,\n", "line 2: the event of 2023-09-13 has no label"),
        ("", "is empty"),
    ],
)
def test_bad_events_name_the_file_and_the_line(tmp_path: Path, content: str, fault: str) -> None:
    path = tmp_path / "events.csv"
    path.write_text(content, "utf-8")
    with pytest.raises(EventsError, match=fault) as caught:
        read_events(path)
    assert str(path) in str(caught.value)


def test_events_that_arent_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(EventsError, match="can't be read"):
        read_events(tmp_path / "none.csv")
    path = tmp_path / "picture.csv"
    path.write_bytes(b"date,\xff\x81")
    with pytest.raises(EventsError, match="UTF-8"):
        read_events(path)


# --------------------------------------------------------------------------------------------------
# Zones, calendar, tracks


def test_zones_get_a_panel_each_on_one_scale() -> None:
    def zones(north: float, south: float) -> dict[str, dict[str, float]]:
        return {
            name: {"count": count, "count_low": count, "count_high": count + 1}
            for name, count in (("n", north), ("s", south))
        }

    observations = [observation(day, 30.0, zones=zones(5.0 + day, 25.0)) for day in range(0, 60, 10)]
    figure = draw_zones(history(observations), {"n": "North yard", "s": "South yard"})
    panels = figure.axes
    assert {"North yard", "South yard"} <= set(texts(figure))
    assert panels[0].get_ylim() == panels[1].get_ylim()
    assert "no counts by zone" in texts(draw_zones(history([observation(0, 5.0)])))


def test_the_calendar_counts_days_and_names_months_never_seen() -> None:
    observations = [
        observation(0, 5.0),
        observation(0.2, 6.0, method="occupancy"),
        observation(3, 4.0),
        observation(40, None),
    ]
    written = texts(draw_calendar(history(observations)))
    assert "2" in written  # two days in January 2023
    assert "1\u00d7" in written
    assert any("2 in all, 1 without an answer" in text for text in written)
    assert any(text.startswith("Months never seen in any year: 02, 03") for text in written)


def test_lower_bounds_arent_coverage() -> None:
    written = texts(draw_calendar(history_of("Tumangang", [], seeds.comparable("tumangang"))))
    assert any("Days with a clear image in each month: 3 in all" in text for text in written)


TYPES = {"open": 200, "covered": 0, "tank": 99, "flat_or_container": 1, "unknown": 120}


def test_types_get_a_bar_an_image_newest_first_as_long_as_the_count() -> None:
    other = {"open": 0, "covered": 70, "tank": 0, "flat_or_container": 0, "unknown": 30}
    given = [
        observation(0, 420.0, count_by_type=TYPES),
        observation(5, 100.0, count_by_type=other),
        observation(9, 8.0),  # of an older version
        observation(12, None),
        observation(15, 0.0, count_by_type=dict.fromkeys(TYPES, 0)),
    ]
    figure = draw_types(history(given))
    axes = figure.axes[-1]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["2023-01-06", "2023-01-01"]
    bars = [one for one in axes.patches if isinstance(one, Rectangle)]
    assert [(bar.get_x(), bar.get_width()) for bar in bars] == [
        (0, 70), (70, 30), (0, 200), (200, 99), (299, 1), (300, 120)
    ]  # fmt: skip
    rows = [round(bar.get_y() + bar.get_height() / 2, 6) for bar in bars]
    assert rows == [0, 0, 1, 1, 1, 1]
    written = texts(figure)
    assert {"200", "99", "120", "70", "30"} <= set(written)
    assert "1" not in [text.get_text() for text in axes.texts]  # no room for it
    assert "Freight cars by type on 2 images" in written
    assert set(CAR_TYPES.values()) <= set(written)


def test_types_of_the_newest_forty_images_are_drawn() -> None:
    given = [observation(day, 420.0, count_by_type=TYPES) for day in range(45)]
    figure = draw_types(history(given))
    assert "Freight cars by type on the newest 40 of 45 images" in texts(figure)
    assert len(figure.axes[-1].get_yticklabels()) == 40
    alone = draw_types(history(given, since=date(2023, 1, 3), until=date(2023, 1, 3)))
    assert "Freight cars by type on one image" in texts(alone)


def area_with_track() -> AreaOfInterest:
    """A straight track of about 822 m from west to east, at the equator where degrees are simple."""
    line = LineString([(0.0, 0.0), (0.00738, 0.0)])
    return AreaOfInterest(
        name="yard", title="Yard", boundary=box(-0.01, -0.01, 0.02, 0.01), tracks=(Track("t1", line),)
    )


def wagon(begin_m: float, length_m: float, *, counted: bool = True) -> dict[str, Any]:
    metre = 1.0 / 111_319.49
    west, east = begin_m * metre, (begin_m + length_m) * metre
    half = 1.5 / 110_574.0
    return {
        "geometry": Polygon([(west, -half), (east, -half), (east, half), (west, half)]),
        "track": "t1",
        "counted": counted,
    }


def test_boxes_become_stretches_of_track() -> None:
    boxes = gpd.GeoDataFrame(
        [wagon(100, 14), wagon(115, 14), wagon(300, 14), wagon(500, 14, counted=False)], crs=4326
    )
    area = area_with_track()
    assert track_lengths(area)["t1"] == pytest.approx(821.5, abs=1.0)
    (first, second) = occupied_stretches(area, boxes.to_crs(32631))["t1"]
    assert first == pytest.approx((100.0, 129.0), abs=0.2)
    assert second == pytest.approx((300.0, 314.0), abs=0.2)
    assert occupied_stretches(area, boxes.iloc[:0]) == {"t1": ()}


def test_tracks_are_drawn_with_their_stretches() -> None:
    observations = [
        TrackOccupation(START, {"t1": ((10.0, 50.0),)}),
        TrackOccupation(START + timedelta(days=5), None),
        TrackOccupation(START + timedelta(days=9), {"t1": ()}),
    ]
    figure = draw_tracks(history([]), {"t1": 400.0}, observations)
    bars = [path.get_extents() for bar in figure.axes[0].collections for path in bar.get_paths()]
    assert any((extent.x0, extent.x1) == (10.0, 50.0) for extent in bars)
    assert {"2023-01-01", "2023-01-06", "2023-01-10"} <= set(texts(figure))
    assert "the area has no track lines" in texts(draw_tracks(history([]), {}, observations))
    assert "no image in this period" in texts(draw_tracks(history([]), {"t1": 400.0}, []))


def test_more_observations_than_fit_are_left_out_and_it_is_said() -> None:
    observations = [
        TrackOccupation(START + timedelta(days=i), {f"t{k}": () for k in range(12)}) for i in range(90)
    ]
    written = texts(draw_tracks(history([]), {f"t{k}": 500.0 for k in range(12)}, observations))
    assert any(text.startswith("The latest ") and "of 90 images are drawn" in text for text in written)


# --------------------------------------------------------------------------------------------------
# Files


@pytest.mark.parametrize("draw", [draw_series, draw_zones, draw_calendar, draw_types])
def test_a_chart_has_the_width_asked_for(draw: Callable[..., Figure]) -> None:
    style = PageStyle(width_mm=120.0, dpi=100)
    picture = Image.open(
        io.BytesIO(to_bytes(draw(history([observation(0, 5.0)]), style=style), "png", style))
    )
    assert picture.width == pytest.approx(120 / 25.4 * 100, abs=1)


def test_the_same_chart_is_the_same_file(tmp_path: Path) -> None:
    observations = [observation(day, 5.0) for day in range(0, 100, 10)]
    for name in ("png", "svg", "pdf"):
        one, other = (to_bytes(draw_series(history(observations)), name) for _ in range(2))
        assert one == other, name


def test_letters_of_an_svg_are_shapes_or_text() -> None:
    observations = [observation(0, 5.0)]
    shapes = to_bytes(draw_series(history(observations)), "svg")
    style = PageStyle(svg_text="text")
    letters = to_bytes(draw_series(history(observations), style), "svg", style)
    name = "{http://www.w3.org/2000/svg}text"
    assert not list(ElementTree.fromstring(shapes).iter(name))
    assert any("A yard" in "".join(node.itertext()) for node in ElementTree.fromstring(letters).iter(name))


def test_a_chart_goes_only_where_it_can(tmp_path: Path) -> None:
    figure = draw_series(history([]))
    with pytest.raises(ChartError, match=r"chart\.jpg: a chart is written as"):
        write_chart(figure, tmp_path / "chart.jpg")
    (tmp_path / "file").write_text("")
    with pytest.raises(ChartError, match="can't be written"):
        write_chart(figure, tmp_path / "file" / "chart.png")
    assert write_chart(figure, tmp_path / "new" / "chart.png").stat().st_size > 1000
