"""Stores for the tests of the report: a made-up yard over two years, and one that means harm."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from PIL import Image, ImageDraw

from railwatch.store.observation import Observation, geometry_json, observation_id
from railwatch.store.store import Store

YARD = shapely.Polygon([(130.60, 42.41), (130.62, 42.41), (130.62, 42.42), (130.60, 42.42)])
START = datetime(2021, 11, 2, 2, 15, tzinfo=UTC)
EVENT = date(2023, 10, 5)

HOSTILE = (
    '</script></style><img src=x onerror="window.harmed=1">"\'><svg onload=window.harmed=1> {{ 7*7 }} =1+1'
)


def picture(text: str, size: tuple[int, int] = (640, 400), seed: int = 0) -> bytes:
    """A picture like evidence: noise with outlines and a caption."""
    noise = np.random.default_rng(seed).integers(70, 110, (size[1], size[0], 3)).astype(np.uint8)
    image = Image.fromarray(noise)
    draw = ImageDraw.Draw(image)
    for number in range(6):
        draw.rectangle((30 + 90 * number, 180, 105 + 90 * number, 198), outline=(230, 159, 0), width=2)
    draw.rectangle((0, size[1] - 40, size[0], size[1]), fill=(255, 255, 255))
    draw.text((8, size[1] - 30), text, fill=(20, 20, 20))
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def observation(when: datetime, count: float | None, **changes: Any) -> Observation:
    """One look at the yard."""
    values: dict[str, Any] = {
        "aoi": "tumangang",
        "scene": f"scene-{when:%Y%m%d}",
        "datetime": when,
        "sensor": "WorldView-3",
        "method": "wagons",
        "count": count,
        "count_low": None if count is None else float(max(round(count * 0.85), 0)),
        "count_high": None if count is None else float(round(count * 1.15) + 1),
        "clear_fraction": 0.96,
        "zones": {} if count is None else {"north": {"count": count, "count_low": 0.0, "count_high": count}},
        "provenance": {
            "file": f"{when:%Y%m%d}.tif",
            "sha256": f"{when:%Y%m%d}" * 8,
            "gsd_m": 0.5,
            "model": "wagon",
            "model_version": "1.0.0",
            "model_checksum": "ab" * 32,
            "settings": "cd" * 32,
            "area": "ef" * 32,
            "code_version": "0.1.0",
            "created": "2024-01-01T00:00:00Z",
        },
        "geometry": geometry_json(YARD),
        "abstained": count is None,
        "reason": "Clouds hide the yard." if count is None else None,
    } | changes
    key = {"scene": values["provenance"].get("sha256"), "created": values["provenance"].get("created")}
    values.setdefault(
        "id", observation_id(aoi=values["aoi"], when=values["datetime"], method=values["method"], key=key)
    )
    return Observation(**values)


def yard_store(path: Path) -> Store:
    """Two quiet years and a surge: two observations give no answer, one is Sentinel-2's, one is reviewed."""
    store = Store.open(path)
    counts = np.random.default_rng(4).poisson(9, 23)
    for number, count in enumerate(counts):
        when = START + timedelta(days=30 * number)
        given = None if number in (7, 15) else float(count)
        shown = picture(f"{when:%Y-%m-%d}", seed=number) if number % 2 == 0 else None
        store.add(observation(when, given), evidence=shown)
    surge = datetime(2023, 10, 5, 2, 20, tzinfo=UTC)
    warnings = ("A tenth of the area lies under cloud.",)
    by_type = {"open": 40, "covered": 0, "tank": 21, "flat_or_container": 0, "unknown": 12}
    event = observation(surge, 73.0, warnings=warnings, count_by_type=by_type)
    store.add(event, evidence=picture("the surge", seed=99))
    store.add(
        observation(surge + timedelta(days=9), 66.0, sensor="Pléiades"), evidence=picture("after", seed=98)
    )
    sentinel = {"sha256": "12" * 32, "gsd_m": 10.0, "created": "2024-01-01T00:00:00Z"}
    store.add(
        observation(
            datetime(2023, 3, 3, 2, 17, tzinfo=UTC),
            8.6,
            method="occupancy",
            sensor="Sentinel-2 MSI",
            count_low=0.0,
            count_high=19.0,
            provenance=sentinel,
            zones={},
        )
    )
    machine = next(one for one in store.observations() if one.datetime.date() == date(2023, 6, 25))
    review = {"reviewer": "A. Analyst", "date": "2023-07-01", "reason": "two flat cars were missed"}
    store.review(
        observation(
            machine.datetime,
            14.0,
            scene=machine.scene,
            method="reviewed",
            count_low=13.0,
            count_high=15.0,
            review_of=machine.id,
            provenance={
                "sha256": machine.provenance["sha256"],
                "review": review,
                "created": "2024-02-01T00:00:00Z",
            },
        )
    )
    return store


def hostile_store(path: Path) -> Store:
    """Every text that a store of somebody else's can carry holds markup, script and a formula."""
    store = Store.open(path)
    for number, count in enumerate((6.0, None, 9.0)):
        when = START + timedelta(days=40 * number)
        store.add(
            observation(
                when,
                count,
                aoi=HOSTILE,
                scene=f"{HOSTILE} {number}",
                sensor=HOSTILE,
                reason=HOSTILE if count is None else None,
                warnings=(HOSTILE, "HALF a letter"),
                zones={HOSTILE: {"count": 1.0, "count_low": 0.0, "count_high": 2.0}},
                tracks={HOSTILE: {"count": 1.0, "count_low": 0.0, "count_high": 2.0}},
                provenance={
                    "sha256": f"{number:064x}",
                    "model": HOSTILE,
                    HOSTILE: HOSTILE,
                    "area_limitations": [HOSTILE],
                    "file": '=HYPERLINK("http://example.org")',
                    "review": {"reviewer": HOSTILE},
                },
            ),
            evidence=picture("quiet", seed=number),
        )
    # JSON can say half a letter (a lone surrogate), which no file of ours holds.
    for item in (path / "items").glob("*/*.json"):
        item.write_text(item.read_text("utf-8").replace("HALF", "\\ud800"), "utf-8")
    return Store.open(path)
