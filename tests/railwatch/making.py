"""Small real values for the tests of stores and what sits on them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import shapely
from PIL import Image

from railwatch.history import Verdict, VerdictSettings
from railwatch.history.history import Gathered, History
from railwatch.store.observation import Observation, geometry_json, observation_id

YARD = shapely.Polygon([(130.60, 42.41), (130.62, 42.41), (130.62, 42.42), (130.60, 42.42)])
START = datetime(2023, 9, 1, 2, 15, tzinfo=UTC)


def observation(number: int = 0, **changes: Any) -> Observation:
    """The `number`-th observation of a made-up series."""
    values: dict[str, Any] = {
        "aoi": "yard",
        "scene": f"scene-{number}",
        "datetime": START + timedelta(days=number),
        "sensor": "test camera",
        "method": "wagons",
        "count": 10.0 + number,
        "count_low": 8.0 + number,
        "count_high": 13.0 + number,
        "clear_fraction": 0.75,
        "warnings": ("a quarter of the area isn't seen.",),
        "zones": {"north": {"count": 4.0, "count_low": 3.0, "count_high": 6.0}},
        "provenance": {"sha256": f"{number:064x}", "gsd_m": 0.5, "created": "2023-10-06T00:00:00Z"},
        "geometry": geometry_json(YARD),
    } | changes
    key = {"scene": values["provenance"].get("sha256"), "settings": values["provenance"].get("settings")}
    values.setdefault(
        "id", observation_id(aoi=values["aoi"], when=values["datetime"], method=values["method"], key=key)
    )
    return Observation(**values)


def abstained(number: int = 0, **changes: Any) -> Observation:
    """An observation without a count."""
    nothing = dict.fromkeys(("count", "count_low", "count_high"))
    return observation(number, abstained=True, reason="Too little is seen.", zones={}, **nothing, **changes)


def picture(kind: str = "PNG") -> bytes:
    """A tiny picture."""
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 30, 30)).save(stream, kind)
    return stream.getvalue()


def history_of(
    title: str,
    observations: Iterable[Observation] = (),
    published: Any = None,
    verdicts: Sequence[Verdict] = (),
    **changes: Any,
) -> History:
    """The history of a place, ready to be drawn."""
    settings = VerdictSettings()
    gathered = Gathered.of(observations, published, settings)
    return replace(History.of(title, gathered, verdicts, settings), **changes)
