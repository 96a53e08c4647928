from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import rasterio
import shapely
from making import abstained, history_of, observation
from yards import NORTH, WEST, BrightDetector, Yard

from aoi import Mask
from aoi.io import area_document, area_from_document, write_document
from railwatch.config import RunConfig
from railwatch.history import compare
from railwatch.history.record import count_interval, from_observation
from railwatch.history.settings import VerdictSettings
from railwatch.pipeline.run import run
from railwatch.review import (
    ReviewError,
    apply_review,
    export_review,
    find_observation,
    proposals,
    set_count,
)
from railwatch.review.corrections import BOXES, FACTS
from railwatch.review.geopackage import pixel_transform
from railwatch.review.next_review import as_reviewed, values_of
from railwatch.store.observation import Observation, current
from railwatch.store.store import Store

YARD = Yard()


def held_true(store: Store) -> list[str]:
    """Ids of what is held to be true of a store's observations."""
    return [one.id for one in current(store.observations(superseded=True), reviewed=True)]


AREA = YARD.area(
    masks=(Mask(shapely.box(270, 8, 300, 50), "a roof", start=date(2023, 1, 1)),)  # type: ignore[arg-type]
)
CONFIG = RunConfig().override(baseline__use_published=False)


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one scene of 4, 3 and 2 wagons on three tracks; the scene lies beside it."""
    folder = tmp_path_factory.mktemp("review")
    write_document(area_document(AREA), folder / "yard.geojson")
    YARD.write(folder / "scenes" / "20231005_021500.tif", (4, 3, 2))
    run([folder / "scenes"], AREA, CONFIG, Store.open(folder / "store"), BrightDetector())
    return folder


@pytest.fixture
def place(counted: Path, tmp_path: Path) -> Path:
    """A copy of it to write to."""
    shutil.copytree(counted, tmp_path / "place")
    return tmp_path / "place"


def machine_of(place: Path) -> Observation:
    (only,) = [one for one in store_of(place).observations(superseded=True) if one.review_of is None]
    return only


def store_of(place: Path) -> Store:
    return Store.open(place / "store", create=False)


def exported(place: Path, **options: Any) -> Path:
    path = place / "review.gpkg"
    export_review(store_of(place), machine_of(place).id, path, aoi=place / "yard.geojson", **options)
    return path


def edit(path: Path, change: Any) -> Path:
    """Change the boxes as QGIS would: rows with their fids, written back into the same layer."""
    frame = gpd.read_file(path, layer=BOXES)
    frame = change(frame)
    pyogrio.write_dataframe(frame, path, layer=BOXES, driver="GPKG", geometry_type="Polygon")
    return path


def box(x_m: float, y_m: float, length_m: float = 14.0, width_m: float = 3.0) -> shapely.Polygon:
    """A box on the yard's map, from metres right of and below its corner."""
    x, y = WEST + x_m, NORTH - y_m
    return shapely.box(x - length_m / 2, y - width_m / 2, x + length_m / 2, y + width_m / 2)


def with_box(frame: gpd.GeoDataFrame, shape: Any, **values: Any) -> gpd.GeoDataFrame:
    row = gpd.GeoDataFrame({"keep": [None], **{k: [v] for k, v in values.items()}}, geometry=[shape])
    return gpd.GeoDataFrame(
        pd.concat([frame.astype(object), row.astype(object)], ignore_index=True),
        geometry="geometry",
        crs=frame.crs,
    )


def without(frame: gpd.GeoDataFrame, *rows: int) -> gpd.GeoDataFrame:
    return frame.drop(index=list(rows))


# --------------------------------------------------------------------------------------------------
# Export


def test_an_export_holds_boxes_area_facts_and_styles(place: Path) -> None:
    path = exported(place)
    layers = {str(name) for name in pyogrio.list_layers(path)[:, 0]}
    assert {BOXES, FACTS, "boundary", "zones", "tracks", "masks", "layer_styles"} <= layers
    boxes = gpd.read_file(path, layer=BOXES)
    assert len(boxes) == 9
    assert boxes.crs == "EPSG:32652"
    assert boxes["keep"].all()
    assert boxes["box"].tolist() == list(range(1, 10))
    stored = store_of(place).detections(machine_of(place).id)
    assert stored is not None
    assert shapely.equals_exact(boxes.geometry.to_numpy(), stored.geometry.to_numpy(), 1e-6).all()
    facts = dict(pyogrio.read_dataframe(path, layer=FACTS)[["key", "value"]].to_numpy().tolist())
    assert facts["observation"] == machine_of(place).id
    assert area_from_document(json.loads(facts["area"]), path).digest == AREA.digest


def test_qgis_finds_a_style_for_every_layer_with_a_shape(place: Path) -> None:
    path = exported(place)
    with closing(sqlite3.connect(path)) as database:
        styles = {
            name: (column, qml, default)
            for name, column, qml, default in database.execute(
                "SELECT f_table_name, f_geometry_column, styleQML, useAsDefault FROM layer_styles"
            )
        }
        shaped = dict(database.execute("SELECT table_name, column_name FROM gpkg_geometry_columns"))
        registered = {name for (name,) in database.execute("SELECT table_name FROM gpkg_contents")}
    assert {name: column for name, (column, _, _) in styles.items()} == shaped
    assert "layer_styles" in registered
    assert all(default == 1 for _, _, default in styles.values())
    columns = set(gpd.read_file(path, layer=BOXES).columns)
    for name, (_, qml, _) in styles.items():
        root = ElementTree.fromstring(qml)
        assert root.tag == "qgis"
        symbols = {one.get("name") for one in root.iter("symbol")}
        assert symbols
        assert {one.get("symbol") for one in root.iter("rule")} <= symbols
        if name == BOXES:
            named = {one.get("name") for one in root.findall("fieldConfiguration/field")}
            named |= {one.get("field") for one in root.findall("defaults/default")}
            named |= {one.get("name") for one in root.findall("editable/field")}
            assert {"keep", "category"} <= named <= columns


def test_the_picture_beside_it_lies_where_the_boxes_lie(place: Path) -> None:
    done = export_review(
        store_of(place),
        machine_of(place).id,
        place / "review.gpkg",
        aoi=place / "yard.geojson",
        scenes=[place / "scenes"],
    )
    assert done.georeferenced
    assert done.image == place / "review.tif"
    boxes = gpd.read_file(done.path, layer=BOXES)
    with rasterio.open(done.image) as raster:
        assert raster.crs == boxes.crs
        assert raster.transform.a == YARD.gsd_m
        values = [raster.read(1)[raster.index(c.x, c.y)] for c in boxes.geometry.centroid]
        ground = raster.read(1)[raster.index(WEST + 160, NORTH - 60)]
    assert min(values) > ground + 50


def test_without_the_scene_the_evidence_lies_beside_it(place: Path) -> None:
    path = exported(place)
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_a_scene_is_known_by_its_content(place: Path) -> None:
    YARD.write(place / "other" / "20231005_021500.tif", (1, 1, 1), seed=5)
    with pytest.raises(ReviewError, match="not the scene"):
        exported(place, scenes=[place / "other"])
    shutil.copy(place / "scenes" / "20231005_021500.tif", place / "other" / "renamed.tif")
    assert exported(place, scenes=[place / "other"]).with_suffix(".tif").exists()


def test_corrections_are_not_overwritten(place: Path) -> None:
    path = exported(place)
    before = path.read_bytes()
    with pytest.raises(ReviewError, match="may hold corrections"):
        exported(place)
    assert path.read_bytes() == before
    exported(place, overwrite=True)


def test_an_unknown_observation_names_near_ones(place: Path) -> None:
    store, machine = store_of(place), machine_of(place)
    assert find_observation(store, machine.id[:-4]) == machine
    with pytest.raises(ReviewError, match=f"did you mean {machine.id}"):
        find_observation(store, machine.id[:-4] + "zzzz")
    with pytest.raises(ReviewError, match="no observation 'nonsense'; it has"):
        find_observation(store, "nonsense")


def test_the_store_knows_the_area_and_an_older_one_asks_for_it(place: Path) -> None:
    export_review(store_of(place), machine_of(place).id, place / "known.gpkg")
    shutil.rmtree(place / "store" / "areas")
    with pytest.raises(ReviewError, match="give it with --aoi"):
        export_review(store_of(place), machine_of(place).id, place / "review.gpkg")


def test_the_map_of_the_pixels_is_read_off_the_boxes(place: Path) -> None:
    transform = pixel_transform(store_of(place).detections(machine_of(place).id))
    assert transform is not None
    # The pixel grid isn't quite square on the ground, and boxes are.
    assert transform == pytest.approx((0.5, 0, WEST, 0, -0.5, NORTH), abs=2e-2)


# --------------------------------------------------------------------------------------------------
# Apply


def test_an_untouched_export_gives_the_machines_count(place: Path) -> None:
    done = apply_review(store_of(place), exported(place), reviewer="Ada", day=date(2023, 10, 6))
    machine = machine_of(place)
    assert done.changes is not None
    assert done.changes.to_json() == {"kept": 9, "moved": 0, "relabelled": 0, "removed": 0, "added": 0}
    assert done.observation.count == machine.count == 9
    assert done.observation.occupied_length_m == machine.occupied_length_m
    assert {k: v["count"] for k, v in done.observation.tracks.items()} == {
        k: v["count"] for k, v in machine.tracks.items()
    }
    before = store_of(place).detections(machine.id)
    after = store_of(place).detections(done.observation.id)
    assert before is not None
    assert after is not None
    assert done.observation.count_by_type == machine.count_by_type
    assert machine.count_by_type is not None
    assert machine.count_by_type["open"] == 9
    shared = ["category", "car_type", "length_m", "width_m", "azimuth_deg", "track", "counted", "pixel_box"]
    pd.testing.assert_frame_equal(
        pd.DataFrame(before[shared]), pd.DataFrame(after[shared]), check_index_type=False
    )


def test_a_correction_is_counted_by_the_machines_rules(place: Path) -> None:
    def change(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        frame.loc[0, "keep"] = False
        frame.loc[1, "category"] = "locomotive"
        frame.loc[2, "geometry"] = shapely.transform(frame.geometry[2], lambda xy: xy + np.array([3.0, 0.0]))
        frame = without(frame, 3)
        frame = with_box(frame, box(200, 30), category="freight")
        frame = with_box(frame, box(220, 30))  # as digitized with everything left empty
        frame = with_box(frame, box(285, 30), category="freight")  # under the roof
        return with_box(frame, box(200, 55), category="freight")  # on no track

    machine = machine_of(place)
    done = apply_review(store_of(place), edit(exported(place), change), reviewer="Ada", reason="haze")
    assert done.changes is not None
    assert done.changes.to_json() == {"kept": 5, "moved": 1, "relabelled": 1, "removed": 2, "added": 4}
    found = done.observation
    assert found.count == 9 - 2 - 1 + 2
    assert found.tracks["t2"]["count"] - machine.tracks["t2"]["count"] in (1, 2)
    assert sum(one["count"] for one in found.tracks.values()) == found.count
    assert found.zones["east"]["count"] == 2
    assert any("none of its tracks" in warning for warning in found.warnings)
    assert any("hidden" in warning for warning in found.warnings)
    assert found.method == "reviewed"
    assert found.review_of == machine.id
    review = found.provenance["review"]
    assert (review["reviewer"], review["reason"], review["machine_count"]) == ("Ada", "haze", 9.0)
    assert review["date"] == datetime.now(UTC).date().isoformat()
    boxes = store_of(place).detections(found.id)
    assert boxes is not None
    drawn = boxes[boxes["box"].isna()]
    # A car that the reviewer drew has no type, one that was moved keeps its own.
    assert set(drawn["car_type"]) == {"unknown"}
    assert set(boxes.loc[boxes["box"].notna() & (boxes["category"] == "freight"), "car_type"]) == {"open"}
    assert boxes.loc[boxes["category"] == "locomotive", "car_type"].isna().all()
    assert found.count_by_type is not None
    assert sum(found.count_by_type.values()) == found.count
    assert drawn["length_m"].to_numpy() == pytest.approx(14.0, abs=0.05)
    assert drawn["azimuth_deg"].to_numpy() == pytest.approx(90.0, abs=0.01)
    pixels = np.array(drawn["pixel_box"].tolist())
    assert pixels[0] == pytest.approx([400, 60, 28, 6, 0], abs=0.2)
    # the machine's own is as it was
    assert store_of(place).get(machine.id) == machine


def test_copies_of_a_box_are_new_boxes(place: Path) -> None:
    def change(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        copied = frame.iloc[[0]].assign(geometry=[box(200, 20)])
        return gpd.GeoDataFrame(pd.concat([frame, copied], ignore_index=True), crs=frame.crs)

    done = apply_review(store_of(place), edit(exported(place), change), reviewer="Ada")
    assert done.changes is not None
    assert (done.changes.added, done.changes.removed, done.changes.kept) == (1, 0, 9)
    assert done.observation.count == 10


def test_boxes_as_geojson_do_as_well(place: Path) -> None:
    frame = gpd.read_file(exported(place), layer=BOXES)
    path = place / "boxes.geojson"
    without(frame, 0, 1).to_crs("OGC:CRS84").to_file(path, driver="GeoJSON")
    done = apply_review(store_of(place), path, reviewer="Ada", aoi=place / "yard.geojson")
    assert done.changes is not None
    assert (done.changes.kept, done.changes.removed) == (7, 2)
    assert done.observation.count == 7


def test_everything_taken_out_is_a_count_of_zero(place: Path) -> None:
    path = edit(exported(place), lambda frame: frame.assign(keep=False))
    done = apply_review(store_of(place), path, reviewer="Ada")
    assert (done.observation.count, done.observation.count_low, done.observation.count_high) == (0, 0, 1)


def test_a_second_review_takes_the_place_of_the_first_and_keeps_it(place: Path) -> None:
    store = store_of(place)
    path = edit(exported(place), lambda frame: without(frame, 0))
    first = apply_review(store, path, reviewer="Ada")
    again = apply_review(store, path, reviewer="Ada")
    assert first.written
    assert not again.written
    assert again.observation.id == first.observation.id
    # the next export starts from the first correction, and still says what the machine had
    second_path = place / "second.gpkg"
    export_review(store, first.observation.id, second_path, aoi=place / "yard.geojson")
    edit(second_path, lambda frame: with_box(frame, box(200, 30), category="freight"))
    second = apply_review(store, second_path, reviewer="Bo")
    assert second.supersedes == first.observation.id
    assert second.changes is not None
    assert second.changes.to_json() == {"kept": 8, "moved": 0, "relabelled": 0, "removed": 1, "added": 1}
    ids = {one.id for one in store_of(place).observations(superseded=True)}
    assert {machine_of(place).id, first.observation.id, second.observation.id} == ids
    assert held_true(store) == [second.observation.id]
    # back to the first view: said anew, so it is the last word
    third = apply_review(store, path, reviewer="Ada")
    assert third.written
    assert third.supersedes == second.observation.id
    assert held_true(store) == [third.observation.id]


def test_a_review_may_bring_its_picture(place: Path) -> None:
    done = apply_review(store_of(place), exported(place), reviewer="Ada", scenes=[place / "scenes"])
    assert store_of(place).asset(done.observation.id, "evidence") is not None


def test_nothing_of_the_exports_moves_by_reading_it_back_in_degrees(place: Path) -> None:
    frame = gpd.read_file(exported(place), layer=BOXES).to_crs("EPSG:3857")
    path = place / "boxes.geojson"
    frame.to_crs("OGC:CRS84").to_file(path, driver="GeoJSON", COORDINATE_PRECISION=7)
    done = apply_review(store_of(place), path, reviewer="Ada", aoi=place / "yard.geojson")
    assert done.changes is not None
    assert done.changes.kept == 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: with_box(f, box(200, 30, 120.0)), "is 120.* m long"),
        (lambda f: with_box(f, box(200, 30, 14.0, 9.0)), "9.0 m wide"),
        (lambda f: with_box(f, box(500, 30)), "1 box that you drew or moved lies outside the area yard"),
        (lambda f: with_box(f, None), "has no outline"),
        (lambda f: with_box(f, box(200, 30), category="tram"), "category 'tram'"),
        (
            lambda f: with_box(
                f,
                shapely.Polygon([(WEST, NORTH), (WEST + 9, NORTH - 9), (WEST + 9, NORTH), (WEST, NORTH - 9)]),
            ),
            r"invalid outline \(self-intersection\)",
        ),
    ],
)
def test_boxes_that_make_no_sense_are_refused(place: Path, change: Any, message: str) -> None:
    path = edit(exported(place), change)
    with pytest.raises(ReviewError, match=message) as refused:
        apply_review(store_of(place), path, reviewer="Ada")
    assert str(path) in str(refused.value)
    assert len(store_of(place).observations(superseded=True)) == 1


def test_files_that_are_no_review_are_refused(place: Path) -> None:
    store = store_of(place)
    other = place / "other.gpkg"
    gpd.GeoDataFrame({"a": [1]}, geometry=[box(0, 0)], crs="EPSG:32652").to_file(other, layer=BOXES)
    torn = place / "torn.gpkg"
    torn.write_bytes(b"SQLite format 3\0 and then nothing")
    plain = place / "plain.geojson"
    gpd.GeoDataFrame({"a": [1]}, geometry=[shapely.Point(1, 2)], crs="OGC:CRS84").to_file(plain)
    for path, message in (
        (other, "isn't a review that"),
        (torn, "can't be read"),
        (plain, "isn't a review that"),
        (place / "gone.gpkg", "there is no such file"),
        (place, "is a folder"),
        (place / "yard.geojson", "isn't a review that"),
    ):
        with pytest.raises(ReviewError, match=message):
            apply_review(store, path, reviewer="Ada")


def test_a_review_needs_a_name_and_a_day_that_has_come(place: Path) -> None:
    path = exported(place)
    for reviewer in (None, "", "  "):
        with pytest.raises(ReviewError, match="--reviewer"):
            apply_review(store_of(place), path, reviewer=reviewer)
    tomorrow = datetime.now(UTC).date() + timedelta(days=2)
    with pytest.raises(ReviewError, match="future"):
        apply_review(store_of(place), path, reviewer="Ada", day=tomorrow)


def test_an_area_that_changed_is_said(place: Path) -> None:
    path = exported(place)
    smaller = area_document(YARD.area())  # without its mask
    write_document(smaller, place / "yard.geojson")
    done = apply_review(store_of(place), path, reviewer="Ada", aoi=place / "yard.geojson")
    assert any("has changed" in warning for warning in done.observation.warnings)


# --------------------------------------------------------------------------------------------------
# A count by eye, and what prefers it


def test_a_count_by_eye(place: Path) -> None:
    store, machine = store_of(place), machine_of(place)
    done = set_count(store, machine.id[:-2], 12, reviewer="Ada", reason="two hidden by haze")
    assert (done.observation.count, done.changes) == (12, None)
    assert (done.observation.count_low, done.observation.count_high) == count_interval(12)
    wide = set_count(store, machine.id, 12, low=10, high=20, reviewer="Ada")
    assert (wide.observation.count_low, wide.observation.count_high) == (10, 20)
    assert wide.supersedes == done.observation.id
    for options, message in (
        ({"count": -1}, "can't be"),
        ({"count": float("nan")}, "can't be"),
        ({"count": 5, "low": 6}, "doesn't lie between"),
        ({"count": 5, "high": 4}, "doesn't lie between"),
    ):
        with pytest.raises(ReviewError, match=message):
            set_count(store, machine.id, **options, reviewer="Ada")  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [0, 1, 7, 73, 400])
def test_a_reviewers_interval_is_what_the_verdicts_hold_it_to_be(count: int) -> None:
    low, high = count_interval(count)
    assert low <= count <= high
    sd = VerdictSettings().method("reviewed").sd(count)
    assert (high - low) / 2 == pytest.approx(1.645 * sd, abs=1.0)


def test_a_scene_that_the_machine_gave_up_can_be_counted_by_eye(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    silent = abstained(3)
    store.add(silent)
    done = set_count(store, silent.id, 5, reviewer="Ada")
    assert not done.observation.abstained
    assert current(store.observations(), reviewed=True) == [done.observation]


def test_verdicts_and_charts_prefer_the_reviewers_count(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    # A month's gap before the date judged, and twelve observations before it.
    for number in range(12):
        store.add(observation(number * 7, count=10.0, count_low=9.0, count_high=12.0))
    last = observation(140, count=80.0, count_low=70.0, count_high=90.0)
    store.add(last)
    before = compare(store.observations())[-1]
    done = set_count(store, last.id, 11, reviewer="Ada")
    everything = store.observations()
    after = compare(everything)[-1]
    assert before.verdict == "unprecedented"
    assert after.record.id == done.observation.id
    assert after.verdict == "typical"
    assert after.to_json()["method"] == "reviewed"
    history = history_of("yard", everything)
    assert [one.id for one in history.observations] == [one.id for one in current(everything, reviewed=True)]
    assert last.id not in {one.id for one in history.observations}


def test_run_gives_the_verdict_on_the_review(place: Path) -> None:
    done = set_count(store_of(place), machine_of(place).id, 3, reviewer="Ada")
    result = run([place / "scenes"], AREA, CONFIG, store_of(place), BrightDetector())
    assert not result.new
    assert [one.record.id for one in result.verdicts] == [done.observation.id]


# --------------------------------------------------------------------------------------------------
# Where to look first


def series(last: dict[str, float]) -> list[Observation]:
    rng = np.random.default_rng(4)
    quiet = [
        observation(
            number * 20,
            count=float(count),
            count_low=max(0.0, count - 2.0),
            count_high=count + 3.0,
            provenance={"sha256": f"{number:064x}", "created": "2024"},
        )
        for number, count in enumerate(rng.integers(8, 14, 60))
    ]
    return [*quiet, observation(1300, **last)]


def test_the_doubtful_record_is_proposed_first() -> None:
    found = proposals(series({"count": 20.0, "count_low": 12.0, "count_high": 34.0}))
    assert found[0].observation.count == 20
    assert found[0].change == pytest.approx(found[0].own_change + found[0].foremost_change)
    assert sum(share for _, share in found[0].outcomes) == pytest.approx(1.0)
    assert len({word for word, _ in found[0].outcomes}) > 1
    assert "a review could make it" in found[0].reason
    assert [one.change for one in found] == sorted((one.change for one in found), reverse=True)


def test_a_sure_count_needs_no_look() -> None:
    sure = proposals(series({"count": 100.0, "count_low": 97.0, "count_high": 103.0}))
    assert not [one for one in sure if one.observation.count == 100]
    doubtful = {"count": 20.0, "count_low": 12.0, "count_high": 34.0}
    everything = series(doubtful)
    reviewed = observation(1300, method="reviewed", review_of=everything[-1].id, **doubtful)
    assert all(one.observation.id != everything[-1].id for one in proposals([*everything, reviewed]))


def test_what_an_review_could_lead_to_is_what_the_verdicts_would_say() -> None:
    """Each outcome is made as the verdict on such a review would be: tried out with real reviews."""
    everything = series({"count": 20.0, "count_low": 12.0, "count_high": 34.0})
    last = everything[-1]
    (found,) = [one for one in proposals(everything) if one.observation.id == last.id]
    rules = VerdictSettings()
    said: dict[str, float] = {}
    values = values_of(last, 20, rules)
    for value in np.unique(values):
        low, high = count_interval(value)
        review = observation(
            1300, method="reviewed", review_of=last.id, count=value, count_low=low, count_high=high
        )
        word = compare([*everything, review], dates=[last.datetime.date()])[0].verdict
        said[word] = said.get(word, 0.0) + float((values == value).mean())
    assert dict(found.outcomes) == pytest.approx(said)


def test_the_law_of_what_an_review_would_find() -> None:
    rules = VerdictSettings()
    machine = observation(0, count=50.0, count_low=40.0, count_high=80.0, clear_fraction=1.0)
    record = from_observation(machine, rules)
    values = values_of(machine, 4000, rules)
    assert (np.diff(values) >= 0).all()
    below = float((values < 50).mean())
    assert below == pytest.approx(record.sd_below / (record.sd_below + record.sd_above), abs=0.05)
    upper = values[values >= 50] - 50
    assert np.sqrt((upper**2).mean()) == pytest.approx(record.sd_above, rel=0.05)
    assert values_of(observation(0, count=1.0, count_low=0.0, count_high=9.0), 50, rules).min() == 0
    assert as_reviewed(machine, 60.0, rules).sd_above < record.sd_above
    # what clouds hide, a reviewer doesn't see either
    cloudy = observation(0, count=50.0, count_low=40.0, count_high=80.0, clear_fraction=0.5)
    assert (values_of(cloudy, 100, rules) == values_of(machine, 100, rules)).all()
    assert as_reviewed(cloudy, 60.0, rules).sd_above > as_reviewed(machine, 60.0, rules).sd_above


# --------------------------------------------------------------------------------------------------
# The command line


def test_the_round_trip_on_the_command_line(place: Path, railwatch: Any) -> None:
    machine = machine_of(place)
    common = ("--store", place / "store")
    area = ("--aoi", place / "yard.geojson")
    path = place / "mine.gpkg"
    done = railwatch("review", "export", machine.id, "--out", path, *area, *common, "--json")
    assert (done.code, json.loads(done.out)["boxes"]) == (0, 9)
    edit(path, lambda frame: without(frame, 0))
    done = railwatch("review", "apply", path, *common, "--reviewer", "Ada", "--date", "2023-10-09", "--json")
    answer = json.loads(done.out)
    assert answer["changes"]["removed"] == 1
    assert answer["observation"]["provenance"]["review"]["date"] == "2023-10-09"
    done = railwatch("review", "set", machine.id, "--count", 8, *common, "--reviewer", "Bo")
    assert done.code == 0
    assert "8 freight cars" in done.out
    assert "stays in the store" in done.out
    done = railwatch("review", "next", *common, *area, "--json")
    assert json.loads(done.out)["proposals"] == []


def test_mistakes_on_the_command_line_are_one_sentence(place: Path, railwatch: Any) -> None:
    machine = machine_of(place)
    common = ("--store", place / "store")
    outcome = railwatch("review", "apply", exported(place), *common)
    assert outcome.code == 2
    assert "--reviewer" in outcome.error
    outcome = railwatch("review", "set", machine.id[:-3] + "xyz", "--count", 3, *common, "--reviewer", "Ada")
    assert outcome.code == 2
    assert f"did you mean {machine.id}" in outcome.error
    outcome = railwatch("review", "export", machine.id, "--out", place / "a.shp", *common)
    assert outcome.code == 2
    assert "name it .gpkg" in outcome.error
    outcome = railwatch("review", "next", "--store", place / "nowhere")
    assert outcome.code == 2
