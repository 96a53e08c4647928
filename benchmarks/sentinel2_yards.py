"""Sentinel-2 yards that nothing was fitted to, in six product forms, from the files to the verdicts.

    python benchmarks/sentinel2_yards.py FOLDER [--yards 6] [--first 900] [--form NAME]

Each yard is one of the simulator's test yards, a seed of its own, on 36 dates: 24 ordinary ones (three of
them empty; a third of the yards are always well filled), three under clouds, a veil and snow between them,
and in the end six of a build-up from about 20 to about 73 cars in two steps. Every form comes once in six
yards. Products, stores and the table of dates stay in FOLDER; what is there is not made again, so that code
can be compared on one set. ``--form PlanetScope`` sees the same yards with the same cars on the same dates on
pixels of 3 m instead, as the scenes of an order of Planet's, every fourth date cut into two scenes of one
strip.

Printed are, by yard, the dates answered, the error, the slope of the answers on the truth (all dates,
build-up included), the mean answer on empty dates, the intervals' coverage, the build-up dates of the
second step that are called elevated or higher, and the dates before it that are called so: by this code's
rules, and by single images with an error that is the same for all true counts, as the rule was until
2026-11-30.
"""

from __future__ import annotations

import argparse
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
import pandas as pd
import rasterio
from affine import Affine
from rasterio.crs import CRS

from aoi import load_area
from detector.simulators.procedural.yards import Traffic
from detector.simulators.sentinel2.planetscope import PIXEL_M, conditions_of, render_fine, write_scene
from detector.simulators.sentinel2.products import write_item, write_safe
from geo.sentinel2.chip import Chip
from railwatch.config import load_config
from railwatch.history import VerdictSettings, compare
from railwatch.pipeline.run import run
from railwatch.store.observation import Observation
from railwatch.store.store import Store
from sample_tiles.sentinel2.make import EPSG, SEED, TILE, YardDate, _overcast, _Place, _write_json

ALARMS = ("elevated", "unprecedented")


def items(folder: Path, chip: Chip) -> None:
    """COGs with the items of Earth Search."""
    write_item(folder, chip, tile=TILE, baseline="05.11")


def items_bare(folder: Path, chip: Chip) -> None:
    """The same without a scene classification."""
    path = write_item(folder, chip, tile=TILE, baseline="05.11")
    item = json.loads(path.read_text("utf-8"))
    del item["assets"]["scl"]
    (path.parent / "SCL.tif").unlink()
    path.write_text(json.dumps(item), "utf-8")


def safe_zip(folder: Path, chip: Chip) -> None:
    """ESA's zip."""
    write_safe(folder, chip, tile=TILE, baseline="05.11")


def safe_folder(folder: Path, chip: Chip) -> None:
    """The same unpacked."""
    path = write_safe(folder, chip, tile=TILE, baseline="05.11")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    path.unlink()


def _tiff(path: Path, planes: np.ndarray, chip: Chip, names: Sequence[str], tags: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", count=len(planes), height=planes.shape[1], width=planes.shape[2],
        dtype=planes.dtype, crs=chip.crs, transform=chip.transform, compress="deflate",
    ) as out:  # fmt: skip
        out.write(planes)
        out.descriptions = tuple(names)
        out.update_tags(**tags)


def earth_engine(folder: Path, chip: Chip) -> None:
    """Earth Engine's export of the harmonized collection, with its classification."""
    assert chip.scl is not None
    numbers = np.nan_to_num(np.rint(chip.reflectance * 10_000.0)).clip(0, 65_535).astype(np.uint16)
    name = f"{chip.datetime:%Y%m%dT%H%M%S}_{chip.datetime:%Y%m%dT%H%M%S}_T{TILE}"
    tags = {"system_id": f"COPERNICUS/S2_SR_HARMONIZED/{name}"}
    stack = np.concatenate([numbers, chip.scl[None].astype(np.uint16)])
    _tiff(folder / f"{name}.tif", stack, chip, ("B2", "B3", "B4", "B8", "SCL"), tags)


def declared(folder: Path, chip: Chip) -> None:
    """Reflectance as it is, declared in railwatch-sentinel2.toml; neither sun nor classification."""
    _tiff(
        folder / f"s2_{chip.datetime:%Y%m%dT%H%M%S}.tif",
        chip.reflectance,
        chip,
        ("B02", "B03", "B04", "B08"),
        {},
    )
    text = 'scale = 1.0\noffset = 0.0\nbands = ["B02", "B03", "B04", "B08"]\nlevel = "L2A"\n'
    (folder / "railwatch-sentinel2.toml").write_text(text, "utf-8")


FORMS: dict[str, Callable[[Path, Chip], None]] = {
    "STAC items": items,
    "SAFE zip": safe_zip,
    "SAFE folder": safe_folder,
    "Earth Engine": earth_engine,
    "declared TIFF": declared,
    "items, no classes": items_bare,
}


PLANETSCOPE = "PlanetScope"


def planetscope(folder: Path, place: _Place, date: YardDate, number: int) -> tuple[int, float]:
    """The date as PlanetScope sees it; what truly stands there, as `_Place.date` gives it."""
    consists = place.traffic.next(float(date.cars))
    rng = np.random.default_rng([SEED, number, 3])
    snow = 0.9 if date.sky == "snow" else 0.0
    sky = conditions_of(rng, place.coarse.parameters, date.when, snow=snow)
    image = render_fine(place.coarse, consists, sky)
    cloud = None
    if date.sky in ("cloud", "veil"):
        image, cloud = _over_fine(image, place.coarse.lattice.shape, date, number)
    left = place.transform
    transform = Affine(PIXEL_M, 0.0, left.c, 0.0, -PIXEL_M, left.f)
    satellite = f"24{number % 90:02x}"
    half, lap = image.shape[1] // 2, 40
    rows = (
        (slice(None),) if number % 4 else (slice(0, half + lap), slice(half - lap, None))
    )  # two scenes of a strip
    for k, part in enumerate(rows):
        write_scene(
            folder, image[:, part], transform @ Affine.translation(0, part.start or 0), CRS.from_epsg(EPSG),
            sky, hidden=date.sky, cloud=None if cloud is None else cloud[part], satellite=satellite,
            eight=number % 2 == 1, later_s=2 * k,
        )  # fmt: skip
    return place._truth(consists, sky)


def _over_fine(
    image: np.ndarray, coarse: tuple[int, int], date: YardDate, number: int
) -> tuple[np.ndarray, np.ndarray]:
    """The sky of 10 m pixels over an image of 3 m: what it takes from the light, and what it adds."""
    seen = [
        _overcast(np.full((4, *coarse), level, np.float32), date, np.random.default_rng([SEED, number, 4]))
        for level in (0.0, 1.0)
    ]
    size = image.shape[2], image.shape[1]
    black, white = (np.stack([cv2.resize(plane, size) for plane in one]) for one, _ in seen)
    cloud = cv2.resize((seen[0][1] == 9).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    return (image * (white - black) + black).astype(np.float32), cloud


def plan(rng: np.random.Generator, usual: float) -> list[YardDate]:
    """The dates of a yard."""
    when, dates = datetime(2022, 3, 4, 12, 41, 9, tzinfo=UTC), []
    skies = rng.permutation(["clear"] * 24 + ["cloud", "cloud", "cloud", "veil", "veil", "snow"]).tolist()
    empty = set(rng.choice([k for k in range(6, 30) if skies[k] == "clear"], 3, replace=False).tolist())
    for number, sky in enumerate(skies):
        cars = 0 if number in empty else int(np.clip(rng.gamma(6.0, usual / 6.0), 2, 60))
        dates.append(YardDate(when, cars, sky))
        when += timedelta(days=int(rng.integers(3, 9)) * 5)
    for cars in (20, 22, 73, 75, 70, 74):
        dates.append(YardDate(when, cars))
        when += timedelta(days=5)
    return dates


def make(folder: Path, seed: int, form: str) -> None:
    """Write a yard's products, area and truth."""
    if (folder / "truth.csv").exists():
        return
    rng = np.random.default_rng([seed, 7])
    usual = 30.0 if seed % 3 == 0 else 12.0
    place = _Place.by_chance(seed)
    place = replace(place, traffic=Traffic(place.yard, place.rng, usual, 0.5))
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "area.geojson", place.area())
    rows = []
    dates = plan(rng, usual)
    for number, date in enumerate(dates):
        if form == PLANETSCOPE:
            cars, metres = planetscope(folder / "order" / "PSScene", place, date, number + 1000 * seed)
        else:
            chip, cars, metres = place.date(date, number + 1000 * seed)
            FORMS[form](folder / "products", chip)
        rows.append({"day": f"{date.when:%Y-%m-%d}", "sky": date.sky, "cars": cars, "metres": metres,
                     "build_up": number >= len(dates) - 4})  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "truth.csv", index=False)


def answered(folder: Path) -> list[Observation]:
    """What railwatch says of a yard."""
    area = load_area(folder / "area.geojson")
    config = load_config("sentinel2").override(baseline__use_published=False)
    store = Store.open(folder / "store")
    run([one for one in (folder / "products", folder / "order") if one.is_dir()], area, config, store)
    return [one for one in store.observations(area.name) if one.method == "occupancy"]


def single_images() -> VerdictSettings:
    """The rules as they were: one image at a time, with one error for all true counts."""
    settings = VerdictSettings(together_images=1)
    methods = {name: replace(one, growth=0.0) for name, one in settings.methods.items()}
    return replace(settings, methods=MappingProxyType(methods))


def words(observations: Sequence[Observation], settings: VerdictSettings) -> dict[str, str]:
    """The verdicts by day."""
    return {str(one.record.day): one.verdict for one in compare(observations, settings=settings)}


def main() -> None:
    """Make, answer, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--yards", type=int, default=6)
    parser.add_argument("--first", type=int, default=900)
    parser.add_argument("--form", choices=(*FORMS, PLANETSCOPE), help="all yards in one form")
    options = parser.parse_args()
    tables = []
    for number in range(options.yards):
        form = options.form or list(FORMS)[number % len(FORMS)]
        folder = options.folder / f"yard{options.first + number}"
        make(folder, options.first + number, form)
        said = answered(folder)
        table = pd.read_csv(folder / "truth.csv").assign(yard=options.first + number, form=form)
        figures = {f"{one.datetime:%Y-%m-%d}": one for one in said}
        for name in ("count", "count_low", "count_high", "reason"):
            table[name] = [getattr(figures.get(day), name, None) for day in table["day"]]
        now, before = words(said, VerdictSettings()), words(said, single_images())
        table["word"] = [now.get(day, "cannot say") for day in table["day"]]
        table["word_before"] = [before.get(day, "cannot say") for day in table["day"]]
        tables.append(table)
    whole = pd.concat(tables, ignore_index=True)
    whole.to_csv(options.folder / "dates.csv", index=False)
    print(summary(whole))


def summary(whole: pd.DataFrame) -> str:
    """The table by yard, and over all."""
    groups = [*whole.groupby(["yard", "form"]), (("all", ""), whole)]
    columns = ("yard", "form", "answered of clear", "under clouds", "RMSE", "slope", "mean at 0", "coverage")
    columns += ("build-up called, single images", "false, single images")
    lines = [f"| {' | '.join(columns)} |", "|---|---" + "|---:" * (len(columns) - 2) + "|"]
    for (yard, form), rows in groups:
        clear = rows[rows["sky"] == "clear"]
        known = clear[clear["count"].notna()]
        count, cars = known["count"].to_numpy(float), known["cars"].to_numpy(float)
        slope = np.polyfit(cars, count, 1)[0]
        inside = (known["count_low"] <= known["cars"]) & (known["cars"] <= known["count_high"])
        hidden = int(rows[rows["sky"] != "clear"]["count"].notna().sum())
        zero = count[cars == 0]
        calls = [rows[name].isin(ALARMS) for name in ("word", "word_before")]
        event = rows["build_up"]
        lines.append(
            f"| {yard} | {form} | {len(known)} of {len(clear)} | {hidden} | "
            f"{np.sqrt(np.mean((count - cars) ** 2)):.1f} | {slope:.2f} | {zero.mean():.1f} | "
            f"{inside.mean():.2f} | "
            f"{(calls[0] & event).sum()}, {(calls[1] & event).sum()} of {event.sum()} | "
            f"{(calls[0] & ~event).sum()}, {(calls[1] & ~event).sum()} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
