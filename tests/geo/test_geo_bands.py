from __future__ import annotations

import pytest

from geo.opening import choose_bands

GREY = ["gray", "undefined", "undefined", "undefined"]


@pytest.mark.parametrize(
    ("interpretations", "descriptions", "stem", "expected"),
    [
        (["gray"], [None], "x", (1,)),
        (["gray", "alpha"], [None, None], "x", (1,)),
        (["gray", "undefined"], [None, None], "x", (1,)),
        (["red", "green", "blue"], [None] * 3, "x", (1, 2, 3)),
        (["blue", "green", "red", "undefined"], [None] * 4, "x", (3, 2, 1)),
        (["alpha", "red", "green", "blue"], [None] * 4, "x", (2, 3, 4)),
        (GREY, [None] * 4, "x", (1, 2, 3)),
        (["alpha", "gray", "undefined", "undefined"], [None] * 4, "x", (2, 3, 4)),
        # Planet: by description, and by name for older files.
        (GREY, ["blue", "green", "red", "nir"], "x", (3, 2, 1)),
        (GREY, [None] * 4, "20231005_021001_12_2413_3B_AnalyticMS_SR", (3, 2, 1)),
        (["gray"] * 8, [None] * 8, "20231005_021001_12_2413_3B_AnalyticMS_8b", (6, 4, 2)),
        (
            ["gray"] * 8,
            ["coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir"],
            "x",
            (6, 4, 2),
        ),
        # Sentinel-2 and Earth Engine.
        (GREY, ["B02", "B03", "B04", "B08"], "x", (3, 2, 1)),
        (GREY, ["B4, central wavelength 665 nm", "B3, 560 nm", "B2, 490 nm", "B8"], "x", (1, 2, 3)),
        (GREY, ["B04_10m", "B03_10m", "B02_10m", "B08_10m"], "x", (1, 2, 3)),
        # Names that say only part of it decide nothing.
        (GREY, ["red", "panchromatic", None, None], "x", (1, 2, 3)),
    ],
)
def test_bands_are_found_by_what_the_image_says(
    interpretations: list[str], descriptions: list[str | None], stem: str, expected: tuple[int, ...]
) -> None:
    assert choose_bands(interpretations, descriptions, stem) == expected
