"""The bundled Sentinel-2 products: whole, made anew to the byte, and what is measured on them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from aoi import check_area, load_area
from aoi.errors import InputError
from geo.sentinel2.formats.find import find_products
from railwatch.selftest.samples import ProductSamples, bundled_products
from railwatch.selftest.validate import SampleEstimate
from railwatch.selftest.validate import _occupancy_figures as _figures
from sample_tiles.sentinel2 import make


@pytest.fixture(scope="module")
def samples() -> ProductSamples:
    with bundled_products() as found:
        return found


def test_they_are_what_users_download(samples: ProductSamples) -> None:
    products, refusals = find_products([samples.products])
    assert refusals == []
    # One acquisition lies there in two processing baselines.
    assert len(products) == len(samples.dates) + 1
    assert {one.kind for one in products} == {"STAC", "SAFE"}
    # They say of themselves that no satellite took them, and their ids are those of the satellite's.
    assert {one.platform for one in products} == {"simulated Sentinel-2A", "simulated Sentinel-2B"}
    assert all(one.acquisition.startswith(("S2A_2", "S2B_2")) for one in products)
    assert {one.datetime.replace(microsecond=0) for one in products} == {
        one.datetime for one in samples.dates
    }
    assert all(one.shown(samples.area) > 0.999 for one in products)
    size = sum(path.stat().st_size for path in samples.products.rglob("*") if path.is_file())
    assert size < 6e6
    assert {one.sky for one in samples.dates} == {"clear", "cloud", "veil", "snow"}


def test_both_forms_hold_the_same_reflectance(samples: ProductSamples, tmp_path: Path) -> None:
    from geo.sentinel2.chip import chip_grid

    dates = [make.DATES[0], replace(make.DATES[0], form="safe")]
    for number, date in enumerate(dates):
        make.make(tmp_path / str(number), [date])
    chips = []
    for number in range(2):
        (product,), _ = find_products([tmp_path / str(number) / "products"])
        chips.append(product.read(chip_grid(load_area(tmp_path / str(number) / "area.geojson"))))
    one, other = chips
    assert one.reflectance == pytest.approx(other.reflectance, abs=1e-6, nan_ok=True)
    assert 0.01 < one.reflectance[0, 50, 50] < 0.5
    assert (one.scl == other.scl).all()
    assert one.sun_elevation_deg == pytest.approx(other.sun_elevation_deg, abs=1e-3)
    assert one.provenance["resampled"] == other.provenance["resampled"] == []
    problems = check_area(tmp_path / "0" / "area.geojson").problems
    assert [one for one in problems if one.level == "error"] == []


def test_they_can_be_made_anew(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make.make(tmp_path / name, make.DATES[:1])
    first, second = (
        {
            path.relative_to(tmp_path / name).as_posix(): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in ("one", "two")
    )
    assert first == second
    assert len(first) == 8  # five images, their item, the area, the manifest


def test_what_is_missing_is_named(samples: ProductSamples, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(samples.products.parent, tmp_path / "samples"))
    assert ProductSamples.read(folder).thresholds == make.THRESHOLDS
    lost = folder / json.loads((folder / "manifest.json").read_text())["dates"][5]["products"][0]
    lost.unlink()
    with pytest.raises(InputError, match=f"{lost.name}: this part of the samples is missing"):
        ProductSamples.read(folder)
    (folder / "manifest.json").write_text('{"dates": 3}')
    with pytest.raises(InputError, match="isn't a manifest of Sentinel-2 samples"):
        ProductSamples.read(folder)


def test_each_fault_is_seen_in_its_figure(samples: ProductSamples) -> None:
    def said(**faults: object) -> dict[str, float]:
        dates = [
            SampleEstimate(
                date.datetime.isoformat(),
                date.sky,
                date.cars,
                *(
                    (float(date.cars), date.cars - 5.0, date.cars + 5.0)
                    if date.sky == "clear"
                    else (None,) * 3
                ),
                "elevated" if date.datetime >= samples.build_up else "typical",
                None,
            )
            for date in samples.dates
        ]
        number = int(faults.pop("number", 0))  # type: ignore[call-overload]
        dates[number] = replace(dates[number], **faults)  # type: ignore[arg-type]
        return _figures(samples, dates)

    good = said()
    assert set(good) == set(samples.thresholds)
    clear = sum(one.sky == "clear" for one in samples.dates)
    assert good["occupancy_answered"] == clear
    assert (good["occupancy_error_share"], good["occupancy_interval_coverage"]) == (0.0, 1.0)
    assert (good["occupancy_hidden_answered"], good["occupancy_build_up_seen"]) == (0.0, 1.0)
    assert said(count=None, count_low=None, count_high=None)["occupancy_answered"] == clear - 1
    assert said(count=200.0)["occupancy_error_share"] > 0.2
    assert said(count_low=190.0)["occupancy_interval_coverage"] < 1
    cloudy = next(k for k, one in enumerate(samples.dates) if one.sky == "cloud")
    assert said(number=cloudy, count=3.0, count_low=0.0, count_high=9.0)["occupancy_hidden_answered"] == 1
    assert said(number=3, verdict="elevated")["occupancy_build_up_seen"] == 0
    late = replace(samples, build_up=samples.build_up + timedelta(days=400))
    assert _figures(late, [])["occupancy_build_up_seen"] == 0
