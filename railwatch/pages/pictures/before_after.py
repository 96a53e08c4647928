"""Two dates of a place in one picture: the same ground at the same scale, side by side."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from affine import Affine
from PIL import Image, ImageDraw

from railwatch import words
from railwatch.errors import StoreError
from railwatch.history.history import is_sentinel
from railwatch.history.words import count_of, interval
from railwatch.pages.pictures import font, scale_bar
from railwatch.pages.report.evidence import EvidenceFile, evidence_file, metres_and_north, reviewer_of
from railwatch.pages.where import Coordinates, locator_image, whereabouts

if TYPE_CHECKING:
    import geopandas as gpd

    from railwatch.history import Verdict
    from railwatch.store.georeference import Georeference
    from railwatch.store.store import Store


_LONGEST_PX = 1600
_BAND_PX, _GAP_PX, _MARGIN_PX, _WHERE_PX = 76, 16, 20, 72
_ORANGE, _HALO = (230, 159, 0), (20, 20, 20)


def before_after(store: Store, first: Verdict, second: Verdict, *, outlines: bool = True) -> bytes:
    """Return a picture of two dates on the same ground, each with its date, count and credit.

    Args:
        store: Where the pictures and boxes are.
        first: The verdict on the earlier date.
        second: On the later one.
        outlines: Outline what was counted.

    Returns:
        A PNG file. The ground is that of the first picture; one above the other where it is wider than high.

    Raises:
        StoreError: If a date has no picture, or one that doesn't say where it lies.
    """
    files = [_file(store, one) for one in (first, second)]
    frame = files[0][1]
    left, top, right, below = frame.image
    scale = min(1.0, _LONGEST_PX / max(right - left, below - top))
    size = max(1, round((right - left) * scale)), max(1, round((below - top) * scale))
    to_map = Affine(*frame.transform) @ Affine.translation(left, top) @ Affine.scale(1.0 / scale)
    panels = []
    for verdict, (file, georeference) in zip((first, second), files, strict=True):
        panel = _panel(file, georeference, to_map, frame.crs, size)
        if outlines and file.clean:
            _outline(panel, store.detections(verdict.record.id), to_map, frame.crs)
        panels.append(_captioned(panel, verdict, _reviewed(store, verdict)))
    stacked = size[0] > 1.6 * size[1]
    wide = size[0] if stacked else 2 * size[0] + _GAP_PX
    high = 2 * panels[0].height + _GAP_PX if stacked else panels[0].height
    page = Image.new("RGB", (wide + 2 * _MARGIN_PX, high + 2 * _MARGIN_PX + _WHERE_PX), "white")
    _say_where(page, _middle(to_map, frame.crs, size))
    _draw_scale(page, replace(frame, transform=to_map[:6], image=(0.0, 0.0, *size), size=size))
    for number, panel in enumerate(panels):
        step = (0, number * (panel.height + _GAP_PX)) if stacked else (number * (size[0] + _GAP_PX), 0)
        page.paste(panel, (_MARGIN_PX + step[0], _MARGIN_PX + step[1]))
    stream = io.BytesIO()
    page.save(stream, "PNG", compress_level=6)
    return stream.getvalue()


def _file(store: Store, verdict: Verdict) -> tuple[EvidenceFile, Georeference]:
    observation = store.get(verdict.record.id)
    ids = [verdict.record.id, *([observation.review_of] if observation and observation.review_of else [])]
    for id in ids:
        file = evidence_file(store, id)
        if file is not None and file.georeference is not None:
            return file, file.georeference
    raise StoreError(
        f"The store {store.path} has no picture of {verdict.record.day} that says where it lies."
    )


def _panel(
    file: EvidenceFile, georeference: Georeference, to_map: Affine, crs: str, size: tuple[int, int]
) -> Image.Image:
    """A picture laid on the ground that is shown; light grey where it has none."""
    from pyproj import Transformer

    with Image.open(file.path, formats=("PNG", "WEBP")) as opened:
        image = opened.convert("RGB")
    left, top, right, bottom = (round(one) for one in georeference.image)
    image = image.crop((left, top, right, bottom))
    inner = Affine(*georeference.transform) @ Affine.translation(*georeference.image[:2])
    if georeference.crs == crs:
        back = ~inner @ to_map
    else:
        # Three corners say how one picture lies in the other's plane; over a yard that is exact to a pixel.
        transform = Transformer.from_crs(crs, georeference.crs, always_xy=True).transform
        corners = [~inner @ transform(*(to_map @ at)) for at in ((0, 0), (size[0], 0), (0, size[1]))]
        (x, y), (x1, y1), (x2, y2) = corners
        back = Affine((x1 - x) / size[0], (x2 - x) / size[1], x, (y1 - y) / size[0], (y2 - y) / size[1], y)
    return image.transform(
        size, Image.Transform.AFFINE, tuple(back[:6]), Image.Resampling.BICUBIC, fillcolor=(225, 225, 225)
    )


def _outline(panel: Image.Image, boxes: gpd.GeoDataFrame | None, to_map: Affine, crs: str) -> None:
    if boxes is None or not len(boxes):
        return
    counted = boxes[boxes["counted"].astype(bool)] if "counted" in boxes else boxes
    placed = counted.to_crs(crs) if counted.crs is not None else counted
    draw = ImageDraw.Draw(panel)
    back = ~to_map
    for shape in placed.geometry:
        points = [tuple(back @ (float(x), float(y))) for x, y in np.asarray(shape.exterior.coords)]
        draw.line(points, fill=_HALO, width=3)
        draw.line(points, fill=_ORANGE, width=1)


def _middle(to_map: Affine, crs: str, size: tuple[int, int]) -> Coordinates:
    """The middle of the ground that is shown."""
    from pyproj import Transformer

    x, y = to_map @ (size[0] / 2.0, size[1] / 2.0)
    longitude, latitude = Transformer.from_crs(crs, "OGC:CRS84", always_xy=True).transform(x, y)
    return Coordinates(float(longitude), float(latitude))


def _say_where(page: Image.Image, here: Coordinates) -> None:
    """A map of the countries and the coordinates along the lower edge."""
    top = page.height - _MARGIN_PX - _WHERE_PX + 4
    page.paste(Image.fromarray(locator_image(here, _WHERE_PX)), (_MARGIN_PX, top))
    draw = ImageDraw.Draw(page)
    for number, text in enumerate(whereabouts(here)):
        draw.text((_MARGIN_PX + _WHERE_PX + 12, top + 12 + 24 * number), text, "#222222", font(15))


def _draw_scale(page: Image.Image, panel: Georeference) -> None:
    """A scale bar, and an arrow to the north, in the lower right corner."""
    metres_a_pixel, up = metres_and_north(panel)
    length, label = scale_bar(panel.size[0] * metres_a_pixel / 5.0)
    draw, base = ImageDraw.Draw(page), page.height - _MARGIN_PX - 14
    right = page.width - _MARGIN_PX - 40
    left = right - length / metres_a_pixel
    draw.line([(left, base), (right, base)], fill="#222222", width=4)
    draw.text(((left + right) / 2.0, base - 8), label, "#222222", font(15), "mb")
    middle, side = np.array([page.width - _MARGIN_PX - 12.0, base - 14.0]), np.array([-up[1], up[0]])
    head = middle + 18.0 * up
    draw.line([tuple(middle - 18.0 * up), tuple(head)], fill="#222222", width=2)
    draw.polygon([tuple(head), *(tuple(head - 11.0 * up + 5.0 * one * side) for one in (1, -1))], "#222222")
    draw.text(tuple(head + 10.0 * up), "N", "#222222", font(13), "mm")


def _reviewed(store: Store, verdict: Verdict) -> str:
    observation = store.get(verdict.record.id)
    return "" if observation is None else reviewer_of(observation)


def _captioned(panel: Image.Image, verdict: Verdict, reviewed: str) -> Image.Image:
    record = verdict.record
    whole = Image.new("RGB", (panel.width, panel.height + _BAND_PX), "white")
    whole.paste(panel, (0, 0))
    draw = ImageDraw.Draw(whole)
    between = f" ({interval(record)})" if interval(record) else ""
    counted = "no count" if record.value is None else f"{count_of(record)}{between}: {verdict.label}"
    credit = [record.source]
    if is_sentinel(record.source):
        credit.append(f"contains modified Copernicus Sentinel data {record.day.year}")
    lines = (
        (f"{verdict.title}, {words.moment(record.when)}", 20, True),
        (words.sentence_case(counted), 18, False),
        ("  ·  ".join([*(one for one in (*credit, reviewed) if one), "counted with railwatch"]), 13, False),
    )
    y = panel.height + 6
    for text, points, bold in lines:
        fitted = max(9, min(points, int((panel.width - 4) / max(len(text), 1) / 0.56)))
        draw.text((2, y), text, "#222222", font(fitted, bold))
        y += fitted + 5
    return whole
