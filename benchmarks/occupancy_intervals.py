"""Level, intervals and verdicts of occupancy answers, tried in seconds on what the network said once.

    python benchmarks/occupancy_intervals.py yards FOLDER [--first 1000] [--number 24] [--split val]
    python benchmarks/occupancy_intervals.py sites FOLDER [--number 24]
    python benchmarks/occupancy_intervals.py report FOLDER [FOLDER ...] [--card FILE]
    python benchmarks/occupancy_intervals.py fit FOLDER [FOLDER ...] [--card FILE]

``yards`` makes yards as `benchmarks/sentinel2_yards.py` does, in six product forms, and lays them out by the
pipeline's own steps; ``sites`` takes yards of any size of the first simulator, as the training does. Both
keep what the network says of each date, a table a yard, and don't ask it again: some seconds a yard.
``report`` applies the calibration of a card: errors by yard, coverage by yard and by what stands there, and
the verdicts on the build-ups (with ``--exact`` on the true counts, which no estimator can beat). ``fit``
prints a calibration for a card, and how it does on halves of the yards that it wasn't fitted to; from
``--keep`` cars on the card's own is kept, since few of the yards hold so many.

Yards to fit to have the wagon designs of the split "val" and the seeds 1000 and up; those that figures are
taken from have the designs of "test" and the seeds 900 to 999. Nothing is fitted to the latter.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sentinel2_yards

from aoi import load_area
from detector.occupancy.estimate import ConformalScaling, calibration_of, fit_stretch
from detector.occupancy.estimator import OccupancyEstimator
from detector.training.occupancy_sites import simulate_series
from geo.sentinel2.constellation import constellation_of
from geo.sentinel2.formats.find import find_products
from geo.sentinel2.site import Site
from geo.sentinel2.time_series import DatedImage, dated_images
from railwatch.history import compare
from railwatch.pipeline.ingest_chips import gather
from railwatch.store.chips import ChipStore
from railwatch.store.observation import Observation
from sample_tiles.sentinel2 import make as samples

CARD = Path(__file__).parents[1] / "detector" / "weights" / "occupancy.json"
BANDS = {"0": (0, 0), "1 to 30": (1, 30), "31 to 60": (31, 60), "more": (61, 10_000)}
_SITE_SEED, _SITE_DATES = 7002, 22
_HALVES = 60


def raw(estimator: OccupancyEstimator, image: DatedImage, site: Site) -> dict[str, Any]:
    """What the network says of a date, before calibration; empty where it isn't answered."""
    if image.reason is not None:
        return {"reason": image.reason}
    said = estimator.raw(image, site)
    return {
        "reason": None,
        "said": said.length_m[0],
        "below": said.below_m[0],
        "above": said.above_m[0],
        "dates": len(image.history),
    }


def make_yards(folder: Path, first: int, number: int, split: str, form: str | None) -> None:
    """Make yards, and a table of each."""
    inner = vars(samples)
    inner["random_yard"] = partial(_yard_of, inner["random_yard"], split)
    estimator = OccupancyEstimator.load()
    for seed in range(first, first + number):
        chosen = form or list(sentinel2_yards.FORMS)[seed % len(sentinel2_yards.FORMS)]
        place = folder / f"yard{seed}"
        if (place / "raw.csv").exists():
            continue
        sentinel2_yards.make(place, seed, chosen)
        area = load_area(place / "area.geojson")
        site = Site.of(area)
        products = find_products([place / "products", place / "order"])[0]
        sensor = constellation_of(products[0].platform)
        chips = ChipStore.of(place / "store", area, site.grid, sensor)
        gather(products, area, chips, lambda done, total: None)
        dates = [chips.read_one(one) for one in chips.kept()]
        said = {
            f"{one.datetime:%Y-%m-%d}": raw(estimator, one, site)
            for one in dated_images(dates, site, prior_sd_m=sensor.prior_sd_m)
        }
        truth = pd.read_csv(place / "truth.csv")
        rows = pd.DataFrame([said.get(day, {}) for day in truth["day"]])
        pd.concat([truth, rows], axis=1).assign(place=seed, form=chosen).to_csv(
            place / "raw.csv", index=False
        )
        print(seed, chosen, int(rows["said"].notna().sum()), "answered", flush=True)


def _yard_of(random_yard: Any, split: str, rng: np.random.Generator, _: str, **options: Any) -> Any:
    return random_yard(rng, split, **options)


def make_sites(folder: Path, number: int) -> None:
    """Simulate yards of any size on clear dates, and a table of each."""
    estimator = OccupancyEstimator.load()
    for k in range(1, number + 1):
        path = folder / f"site{k}" / "raw.csv"
        if path.exists():
            continue
        series = simulate_series(_SITE_SEED, k, "val", dates=_SITE_DATES)
        rows = [
            {"day": f"{one.datetime:%Y-%m-%d}", "sky": "clear", "cars": truth.count, "metres": truth.length_m,
             "build_up": False, **raw(estimator, one, series.site), "place": 100_000 + k,
             "form": "simulated"}
            for one, truth in zip(series.images, series.truths, strict=True)
        ]  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows).to_csv(path, index=False)
        print(k, "made", flush=True)


def read(folders: Sequence[Path]) -> pd.DataFrame:
    """All tables in some folders, a row a date."""
    paths = sorted(path for folder in folders for path in folder.glob("*/raw.csv"))
    return pd.concat([pd.read_csv(path) for path in paths], ignore_index=True)


def answered(table: pd.DataFrame, card: dict[str, Any]) -> pd.DataFrame:
    """Add ``count``, ``count_low`` and ``count_high`` by the calibration of a card."""
    _, scaling, pitch = calibration_of(card)
    count = table["said"] / pitch.mean_m
    below, above = scaling.factors(count.fillna(0.0).to_numpy())
    return table.assign(
        count=count,
        count_low=(count - below * table["below"] / pitch.mean_m).clip(lower=0.0),
        count_high=count + above * table["above"] / pitch.mean_m,
    )


def words(rows: pd.DataFrame) -> list[str]:
    """The verdicts on a yard's dates."""
    said = []
    for number, row in enumerate(rows.to_dict("records")):
        gone = bool(np.isnan(row["count"]))
        count, low, high = (
            None if gone else float(row[name]) for name in ("count", "count_low", "count_high")
        )
        when = datetime.fromisoformat(str(row["day"])).replace(hour=12, tzinfo=UTC)
        said.append(
            Observation(
                id=f"yard-{number:04d}", aoi="yard", scene=f"s{number}", datetime=when, sensor="Sentinel-2A",
                method="occupancy", count=count, count_low=low, count_high=high,
                clear_fraction=1.0, abstained=gone, reason="no figure" if gone else None,
            )
        )  # fmt: skip
    called = {one.record.id: one.verdict for one in compare(said)}
    return [called.get(one.id, "cannot say") for one in said]


def coverage(table: pd.DataFrame) -> dict[str, float]:
    """Share of the intervals that hold the truth, over all and by what stands there."""
    known = table[table["count"].notna()]
    inside = (known["count_low"] <= known["cars"]) & (known["cars"] <= known["count_high"])
    found = {"all": float(inside.mean())}
    for name, (low, high) in BANDS.items():
        rows = known["cars"].between(low, high)
        found[name] = float(inside[rows].mean()) if rows.any() else float("nan")
    return found


def exact(table: pd.DataFrame) -> pd.DataFrame:
    """The truth, give or take a car, in place of each answer: what no estimator can do better."""
    known = table["count"].notna()
    truth = {
        "count": table["cars"],
        "count_low": (table["cars"] - 1).clip(lower=0),
        "count_high": table["cars"] + 1,
    }
    return table.assign(**{name: values.where(known) for name, values in truth.items()})


def report(folders: Sequence[Path], card: dict[str, Any], *, true_counts: bool = False) -> str:
    """Errors, coverage and verdicts, as tables."""
    table = answered(read(folders), card)
    if true_counts:
        table = exact(table)
    table["yard"] = table["place"]
    table["word"] = [word for _, rows in table.groupby("place") for word in words(rows)]
    table["word_before"] = table["word"]
    shares = coverage(table)
    wide = (table["count_high"] - table["count_low"]).mean()
    lines = ["coverage: " + ", ".join(f"{name} {share:.3f}" for name, share in shares.items())]
    known = table[table["count"].notna()]
    for name, (low, high) in BANDS.items():
        rows = known[known["cars"].between(low, high)]
        error = rows["count"] - rows["cars"]
        lines.append(
            f"{name}: {len(rows)} dates, bias {error.mean():.1f}, RMSE {np.sqrt((error**2).mean()):.1f}"
        )
    lines.append(f"mean width {wide:.1f} cars")
    return "\n".join([sentinel2_yards.summary(table), *lines])


def fit(folders: Sequence[Path], card: dict[str, Any], keep: float) -> str:
    """A calibration, and its coverage on halves of the yards that it wasn't fitted to."""
    table = read(folders)
    table = table[table["said"].notna()]
    rng = np.random.default_rng(0)
    places, left = table["place"].unique(), []
    for _ in range(_HALVES):
        half = table["place"].isin(rng.choice(places, len(places) // 2, replace=False))
        tried = card | {"count_stretch": _scaling(table[half], card, "cars", keep).to_json()}
        left.append(coverage(answered(table[~half], tried)))
    length, count = _scaling(table, card, "metres", keep), _scaling(table, card, "cars", keep)
    return "\n".join(
        [
            f"{len(places)} yards, {len(table)} dates",
            json.dumps({"length_stretch": length.to_json(), "count_stretch": count.to_json()}, indent=2),
            "coverage on halves left out: "
            + ", ".join(f"{name} {np.nanmean([one[name] for one in left]):.3f}" for name in left[0]),
        ]
    )


def _scaling(table: pd.DataFrame, card: dict[str, Any], truth: str, keep: float) -> ConformalScaling:
    length, count, pitch = calibration_of(card)
    old, unit = (length, 1.0) if truth == "metres" else (count, pitch.mean_m)
    said, below, above = (table[name].to_numpy(float) / unit for name in ("said", "below", "above"))
    site = table["place"].to_numpy(np.int64)
    new = fit_stretch(said, below, above, table[truth].to_numpy(float), site, car=pitch.mean_m / unit)
    kept = [k for k, at in enumerate(new.at) if at < keep], [k for k, at in enumerate(old.at) if at >= keep]

    def joined(name: str) -> tuple[float, ...]:
        one, other = getattr(new, name), getattr(old, name)
        return (*(one[k] for k in kept[0]), *(other[k] for k in kept[1]))

    return ConformalScaling(joined("at"), joined("below"), joined("above"))


def main() -> None:
    """Make tables, or look at them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("task", choices=("yards", "sites", "report", "fit"))
    parser.add_argument("folder", type=Path, nargs="+")
    parser.add_argument("--first", type=int, default=1000)
    parser.add_argument("--number", type=int, default=24)
    parser.add_argument("--split", default="val")
    parser.add_argument("--form", help="of all yards, such as PlanetScope")
    parser.add_argument("--card", type=Path, default=CARD)
    parser.add_argument("--keep", type=float, default=50.0)
    parser.add_argument("--exact", action="store_true", help="report verdicts on the true counts")
    options = parser.parse_args()
    card = json.loads(options.card.read_text("utf-8"))
    if options.task == "yards":
        make_yards(options.folder[0], options.first, options.number, options.split, options.form)
    elif options.task == "sites":
        make_sites(options.folder[0], options.number)
    elif options.task == "report":
        print(report(options.folder, card, true_counts=options.exact))
    else:
        print(fit(options.folder, card, options.keep))


if __name__ == "__main__":
    main()
