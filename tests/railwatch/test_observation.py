from __future__ import annotations

import json
import string
from datetime import UTC, datetime, timedelta, timezone

import pystac
import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import abstained, observation
from pystac.stac_object import STACObjectType
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from railwatch.store.observation import (
    _PROVENANCE,
    FORMAT_VERSION,
    Observation,
    current,
    iso,
    observation_id,
    slug,
)

texts = st.text(max_size=30).filter(lambda text: text.isprintable())
foreign = texts.filter(lambda key: key not in _PROVENANCE)
counts = st.lists(st.floats(0, 500), min_size=3, max_size=3).map(sorted)
intervals = counts.map(lambda c: {"count_low": c[0], "count": c[1], "count_high": c[2]})
times = st.datetimes(
    min_value=datetime(1970, 1, 2),
    max_value=datetime(2100, 1, 1),
    timezones=st.integers(-12, 14).map(lambda hours: timezone(timedelta(hours=hours))),
)


@st.composite
def observations(draw: st.DrawFn) -> Observation:
    answered = draw(st.booleans())
    interval = draw(intervals) if answered else dict.fromkeys(("count", "count_low", "count_high"))
    reviewed = draw(st.booleans())
    return observation(
        aoi=draw(st.text(string.ascii_lowercase, min_size=1)),
        scene=draw(texts),
        datetime=draw(times),
        sensor=draw(texts),
        method="reviewed" if reviewed else draw(st.sampled_from(["wagons", "occupancy", "published"])),
        review_of="another" if reviewed else None,
        abstained=not answered,
        reason=None if answered else "because",
        clear_fraction=draw(st.floats(0, 1)),
        hidden_fraction=draw(st.floats(0, 1)),
        occupied_length_m=draw(st.none() | st.floats(0, 1e4)),
        warnings=tuple(draw(st.lists(texts, max_size=3))),
        zones=draw(st.dictionaries(texts, intervals, max_size=3)),
        tracks=draw(st.dictionaries(texts, intervals, max_size=3)),
        provenance=draw(
            st.dictionaries(
                texts.filter(lambda key: key not in _PROVENANCE),
                texts | st.integers() | st.none() | st.booleans(),
                max_size=4,
            )
        ),
        **interval,
    )


@given(observations())
def test_survives_the_way_to_stac_and_back(original: Observation) -> None:
    text = json.dumps(original.to_item().to_dict(), allow_nan=False)
    assert Observation.from_item(pystac.Item.from_dict(json.loads(text))) == original


@given(observations())
def test_items_satisfy_the_stac_core_schema(original: Observation) -> None:
    item = json.loads(json.dumps(original.to_item().to_dict()))
    JsonSchemaSTACValidator().validate_core(item, STACObjectType.ITEM, item["stac_version"])


def test_items_carry_the_standard_fields_where_there_are_some() -> None:
    provenance = {"created": "2024-01-01T00:00:00Z", "gsd_m": 0.31, "model": "wagons-s", "model_version": "3"}
    item = observation(provenance=provenance | {"code_version": "0.1.0"}).to_item()
    assert item.properties["gsd"] == 0.31
    assert item.properties["processing:software"] == {"railwatch": "0.1.0", "wagons-s": "3"}
    assert item.properties["created"] == "2024-01-01T00:00:00Z"
    assert item.properties["mlm:name"] == "wagons-s"
    assert item.bbox == [130.60, 42.41, 130.62, 42.42]
    assert observation(geometry=None).to_item().bbox is None


def test_json_has_the_shape_that_scripts_rely_on() -> None:
    given = observation().to_json()
    promised = (
        "id aoi scene datetime sensor method count count_low count_high occupied_length_m "
        "occupied_length_low_m occupied_length_high_m clear_fraction abstained reason warnings"
    )
    assert set(promised.split()) <= set(given)
    assert given["datetime"] == "2023-09-01T02:15:00Z"
    assert json.loads(json.dumps(given)) == given


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"datetime": datetime(2023, 1, 1)}, "time zone"),
        ({"id": "../../etc/passwd"}, "safe as a file name"),
        ({"id": ""}, "safe as a file name"),
        ({"method": "guess"}, "unknown method"),
        ({"count": 20.0}, "interval"),
        ({"count_low": -1.0}, "interval"),
        ({"count_high": float("nan")}, "interval"),
        ({"abstained": True}, "reason and no count"),
        ({"clear_fraction": 1.2}, "between 0 and 1"),
        ({"review_of": "another"}, "corrects"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, object], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        observation(**changes)


@pytest.mark.parametrize("name", ["count", "warnings", "version", "zones", "abstained"])
def test_an_item_with_a_field_missing_is_refused(name: str) -> None:
    item = observation().to_item()
    del item.properties[f"railwatch:{name}"]
    with pytest.raises(ValueError, match=f"no railwatch:{name}"):
        Observation.from_item(item)


@pytest.mark.parametrize(
    ("name", "value"),
    [("count", "many"), ("count", True), ("warnings", "one"), ("zones", []), ("aoi", None), ("abstained", 1)],
)
def test_an_item_with_a_field_of_the_wrong_type_is_refused(name: str, value: object) -> None:
    item = observation().to_item()
    item.properties[f"railwatch:{name}"] = value
    with pytest.raises(ValueError, match=f"its railwatch:{name} is a"):
        Observation.from_item(item)


def test_an_item_of_a_newer_railwatch_is_refused() -> None:
    item = observation().to_item()
    item.properties["railwatch:version"] = FORMAT_VERSION + 1
    with pytest.raises(ValueError, match="newer railwatch"):
        Observation.from_item(item)


def test_ids_are_stable_and_change_with_the_work() -> None:
    when = datetime(2023, 10, 5, 2, 15, tzinfo=UTC)
    key = {"scene": "ab", "model": "1", "settings": None}
    first = observation_id(aoi="Tumangang", when=when, method="wagons", key=key)
    assert first == observation_id(
        aoi="Tumangang", when=when, method="wagons", key=dict(reversed(key.items()))
    )
    assert first.startswith("tumangang-20231005t021500z-wagons-")
    # Another release of railwatch must find the work of this one.
    assert first == "tumangang-20231005t021500z-wagons-3412b6fecacb"
    others = [
        observation_id(aoi="Tumangang", when=when, method="wagons", key=key | {name: "other"}) for name in key
    ]
    others.append(observation_id(aoi="Tumangang", when=when, method="occupancy", key=key))
    others.append(observation_id(aoi="Khasan", when=when, method="wagons", key=key))
    others.append(observation_id(aoi="Tumangang", when=when + timedelta(seconds=1), method="wagons", key=key))
    assert len({first, *others}) == 1 + len(others)


@given(st.text())
def test_slugs_are_safe_whatever_comes_in(text: str) -> None:
    assert set(slug(text)) <= set(string.ascii_lowercase + string.digits + "-")
    assert 1 <= len(slug(text)) <= 60


@given(times)
def test_iso_times_are_utc_and_exact(when: datetime) -> None:
    assert iso(when).endswith("Z")
    assert datetime.fromisoformat(iso(when)) == when


def test_the_newest_work_on_a_scene_stands_for_it() -> None:
    old = observation(0)
    new = observation(
        0, provenance=dict(old.provenance) | {"created": "2024-01-01T00:00:00Z", "settings": "b"}, count=9.0
    )
    other = observation(1)
    assert current([other, new, old]) == [new, other]
    assert current([other, new, old], prefer=[old.id]) == [old, other]


def test_a_scene_whose_date_was_mended_counts_once() -> None:
    wrong = observation(0)
    mended = observation(
        0,
        datetime=wrong.datetime + timedelta(days=30),
        provenance=dict(wrong.provenance) | {"created": "2024-01-01T00:00:00Z"},
    )
    assert wrong.id != mended.id
    assert current([wrong, mended]) == [mended]


def test_a_review_stands_beside_the_machine_or_for_it() -> None:
    machine = observation(0)
    review = observation(0, method="reviewed", review_of=machine.id, count=11.0)
    silent = abstained(1)
    assert current([machine, review, silent]) == sorted(
        [machine, review, silent], key=lambda one: (one.datetime, one.id)
    )
    assert current([machine, review, silent], reviewed=True) == [review, silent]


def test_counts_by_type_are_kept_and_older_items_have_none() -> None:
    by_type = {"open": 3, "covered": 0, "tank": 5, "flat_or_container": 0, "unknown": 2}
    item = observation(count_by_type=by_type).to_item()
    assert Observation.from_item(item).count_by_type == by_type
    del item.properties["railwatch:count_by_type"]
    older = Observation.from_item(item)
    assert older.count_by_type is None
    assert older.to_json()["count_by_type"] is None


@pytest.mark.parametrize("wrong", [{"open": -1}, {"tank": "many"}, {"tank": True}, {"tank": 1.5}, [1, 2]])
def test_counts_by_type_that_are_none_are_refused(wrong: object) -> None:
    item = observation().to_item()
    item.properties["railwatch:count_by_type"] = wrong
    with pytest.raises(ValueError, match="its railwatch:count_by_type"):
        Observation.from_item(item)
