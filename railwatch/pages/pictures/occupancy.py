"""Pictures that show what was answered at 10 m: this date, the place's usual appearance, what stands there.

Three panels of the same ground, north-up, every square a pixel of 10 m: this date in true colour, laid over
the others as it was for the answer; the background that it was set against, in the same colours; and where
occupied track was found, or, for a date without an answer, what hides it. Boundary and tracks are drawn on
all.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import matplotlib as mpl
import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from shapely.ops import substring

from geo.ground_metric import apply_affine
from geo.sentinel2.chip import PIXEL_M
from railwatch.pages.pictures import font, rings, scale_bar
from railwatch.pages.pictures.boxes import MAX_BYTES
from railwatch.pages.where import Coordinates, locator_image, whereabouts
from railwatch.store.georeference import Georeference

if TYPE_CHECKING:
    from aoi import AreaOfInterest
    from detector.occupancy.estimate import OccupancyEstimate
    from geo.sentinel2.site import Site
    from geo.sentinel2.time_series import DatedImage
    from railwatch.store.observation import Observation


Picture = NDArray[np.uint8]
Plane = NDArray[np.float32]

_VISIBLE = ("B04", "B03", "B02")
_RIM_CELLS = 5
_LONGEST_PX = 840
_LARGEST_ZOOM, _SMALLEST_ZOOM = 12, 2
_GAP_PX = 8
_LINE_PX = 24
_LEAST_WIDTH_PX = 560
_GAMMA = 1.5
_EMPTY = 225
_CLOUD, _SHADOW, _SNOW = (213, 94, 0), (0, 90, 160), (86, 180, 233)
_FULL_M = 20.0  # metres of occupied track in a cell that get the last colour: two tracks side by side


@dataclass(frozen=True)
class _ChipWindow:
    """The window of the chip grid that is shown, and how many picture pixels a cell gets."""

    column: int
    row: int
    columns: int
    rows: int
    zoom: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a panel."""
        return self.columns * self.zoom, self.rows * self.zoom


def render(
    image: DatedImage,
    site: Site,
    area: AreaOfInterest,
    observation: Observation,
    estimate: OccupancyEstimate | None = None,
) -> bytes:
    """Draw an image.

    Args:
        image: What was looked at.
        site: The place.
        area: The same, in longitude and latitude.
        observation: Gives the words below the picture.
        estimate: What was found, if the date was answered.

    Returns:
        A PNG file that says where its first panel lies.
    """
    lines = _outlines(site, area)
    view = _view(site, lines["boundary"])
    corner = np.array([view.column, view.row])
    boundary = [(line - corner) * view.zoom for line in lines["boundary"]]
    tracks = [(line - corner) * view.zoom for line in lines["tracks"]]
    dashes = [dash for line in boundary for dash in _dashes(line)]
    now = _date(image, view)
    usual = _from_frame(_visible_median(image), site, view)
    stretch = _stretch(now if usual is None else usual)
    shown = _colours(now, stretch)
    panels = [
        (shown, f"{observation.datetime:%Y-%m-%d}"),
        (
            _colours(usual, stretch) if usual is not None else np.full_like(shown, _EMPTY),
            f"usual ({len(image.history)} dates)" if usual is not None else "no background",
        ),
        _third(image, site, view, shown, estimate),
    ]
    drawn = [
        _drawn(picture, title, view, tracks, dashes, first=not number)
        for number, (picture, title) in enumerate(panels)
    ]
    here = Coordinates.of(area.boundary)
    caption = [*_caption(area, observation), *whereabouts(here)]
    return _page(drawn, view, site, caption, here, answered=estimate is not None)


# ---- what is shown ---------------------------------------------------------------------------------


def _outlines(site: Site, area: AreaOfInterest) -> dict[str, list[NDArray[np.float64]]]:
    """Boundary and tracks as lines in pixels of the chip grid."""
    plane = site.area_on_grid or area.to_crs(site.grid.crs)
    to_pixels = ~site.grid.transform

    def placed(shape: shapely.Geometry) -> list[NDArray[np.float64]]:
        moved = shapely.transform(shape, lambda xy: apply_affine(to_pixels, xy))
        return [shapely.get_coordinates(ring) for part in shapely.get_parts(moved) for ring in rings(part)]

    return {
        "boundary": placed(plane.boundary),
        "tracks": [line for track in plane.tracks for line in placed(track.line)],
    }


def _view(site: Site, boundary: Sequence[NDArray[np.float64]]) -> _ChipWindow:
    corners = np.concatenate(boundary)
    low = np.maximum(np.floor(corners.min(axis=0)) - _RIM_CELLS, 0).astype(int)
    high = np.minimum(np.ceil(corners.max(axis=0)) + _RIM_CELLS, site.grid.shape[::-1]).astype(int)
    columns, rows = (int(one) for one in np.maximum(high - low, 1))
    zoom = max(_SMALLEST_ZOOM, min(_LARGEST_ZOOM, _LONGEST_PX // max(columns, rows)))
    return _ChipWindow(int(low[0]), int(low[1]), columns, rows, zoom)


def _centres(view: _ChipWindow) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Grid coordinates (corner origin) of the shown cells' centres: x, y."""
    rows, columns = np.mgrid[0 : view.rows, 0 : view.columns] + 0.5
    return columns + view.column, rows + view.row


def _remapped(plane: Plane, x: NDArray[np.float64], y: NDArray[np.float64], how: int) -> Plane:
    """A plane at positions in its pixels (corner origin), NaN outside."""
    at = (x - 0.5).astype(np.float32), (y - 0.5).astype(np.float32)
    known = np.isfinite(plane).astype(np.float32)
    filled = np.where(np.isfinite(plane), plane, np.float32(0)).astype(np.float32)
    value = cv2.remap(filled, *at, how, borderMode=cv2.BORDER_REPLICATE)
    share = cv2.remap(known, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    return np.where(share > 0.99, value, np.float32(np.nan)).astype(np.float32)


def _date(image: DatedImage, view: _ChipWindow) -> Plane:
    """This date's red, green and blue (3, rows, columns), laid over the other dates."""
    x, y = _centres(view)
    place = image.registration
    east, south = (place.dx_m, place.dy_m) if place is not None and place.converged else (0.0, 0.0)
    x, y = x + east / PIXEL_M, y + south / PIXEL_M
    return np.stack([_remapped(image.chip.band(name), x, y, cv2.INTER_CUBIC) for name in _VISIBLE])


def _visible_median(image: DatedImage) -> Plane | None:
    if image.background is None:
        return None
    # The background's bands are blue, green, red and near infrared.
    return image.background.median[2::-1]


def _from_frame(planes: Plane | None, site: Site, view: _ChipWindow) -> Plane | None:
    """Planes (n, h, w) of the yard's frame, north-up."""
    if planes is None:
        return None
    x, y = _centres(view)
    placed = apply_affine(~site.frame.transform, np.column_stack([x.ravel(), y.ravel()]))
    x, y = placed[:, 0].reshape(x.shape), placed[:, 1].reshape(y.shape)
    return np.stack([_remapped(plane, x, y, cv2.INTER_LINEAR) for plane in planes.astype(np.float32)])


def _stretch(planes: Plane) -> tuple[float, float]:
    """The reflectances that become black and white, the same in all bands so that colours stay true."""
    known = planes[np.isfinite(planes)]
    if not known.size:
        return 0.0, 0.3
    low, high = np.quantile(known, [0.002, 0.995])
    return float(min(low, 0.03)), float(max(high * 1.05, low + 0.08))


def _colours(planes: Plane, stretch: tuple[float, float]) -> Picture:
    low, high = stretch
    share = np.clip((planes - low) / (high - low), 0.0, 1.0) ** (1 / _GAMMA)
    colours = np.where(np.isfinite(share), share * 255.0, _EMPTY)
    return np.asarray(np.rint(colours).transpose(1, 2, 0), dtype=np.uint8)


def _third(
    image: DatedImage, site: Site, view: _ChipWindow, shown: Picture, estimate: OccupancyEstimate | None
) -> tuple[Picture, str]:
    """Occupied track over this date in grey, or what hides a date that wasn't answered."""
    grey = np.repeat(shown.mean(axis=2, keepdims=True) * 0.75, 3, axis=2)
    if estimate is not None:
        found = _from_frame(estimate.density[None].astype(np.float32), site, view)
        assert found is not None
        metres = np.nan_to_num(found[0])
        share = np.clip(metres / _FULL_M, 0.0, 1.0)
        strength = (np.clip(metres / 2.0, 0.0, 1.0) * 0.9)[..., None]
        return _mixed(grey, _ramp(share), strength), "occupied track"
    clear = image.clear_sky
    kinds = [("cloud", clear.cloud, _CLOUD), ("shadow", clear.shadow, _SHADOW), ("snow", clear.snow, _SNOW)]
    picture = grey.astype(np.uint8)
    seen = []
    for name, mask, colour in kinds:
        found = _from_frame(np.asarray(mask, np.float32)[None], site, view)
        assert found is not None
        here = np.nan_to_num(found[0]) > 0.5
        if here.any():
            seen.append(name)
            picture = _mixed(picture, np.array(colour, float), np.where(here, 0.6, 0.0)[..., None])
    return picture, ", ".join(seen) or "nothing hides it"


def _mixed(under: NDArray[Any], over: NDArray[Any], strength: NDArray[Any]) -> Picture:
    return np.asarray(np.rint(under * (1 - strength) + over * strength), dtype=np.uint8)


def _ramp(share: NDArray[Any]) -> NDArray[np.float64]:
    """Colours (0 to 255) from dark red to bright yellow."""
    return np.asarray(mpl.colormaps["inferno"](0.35 + 0.65 * share)[..., :3] * 255.0)


# ---- drawing ---------------------------------------------------------------------------------------


def _drawn(
    picture: Picture,
    title: str,
    view: _ChipWindow,
    tracks: Sequence[NDArray[np.float64]],
    dashes: Sequence[NDArray[np.float64]],
    *,
    first: bool,
) -> Picture:
    """A panel: enlarged, with tracks, dashed boundary and a title; the first one with north and a scale."""
    large = np.ascontiguousarray(picture.repeat(view.zoom, axis=0).repeat(view.zoom, axis=1))
    over = large.copy()
    for line in tracks:
        _line(over, line, (255, 255, 255), 1)
    large = np.asarray(cv2.addWeighted(over, 0.45, large, 0.55, 0), dtype=np.uint8)
    for dash in dashes:
        _line(large, dash, (0, 0, 0), 3)
        _line(large, dash, (255, 255, 255), 1)
    image = Image.fromarray(large)
    draw = ImageDraw.Draw(image)
    _text(draw, (8, 6), title, 13)
    if first:
        _north(draw, view)
        _scale(draw, view)
    return np.asarray(image)


def _line(picture: Picture, points: NDArray[np.float64], colour: tuple[int, int, int], width: int) -> None:
    fixed = np.round(points * 16).astype(np.int32)
    cv2.polylines(picture, [fixed], False, colour, width, cv2.LINE_AA, 4)


def _dashes(points: NDArray[np.float64], on: float = 9.0, off: float = 6.0) -> list[NDArray[np.float64]]:
    line = shapely.LineString(points)
    starts = np.arange(0.0, line.length, on + off)
    parts = [substring(line, start, min(start + on, line.length)) for start in starts]
    return [shapely.get_coordinates(part) for part in parts if part.geom_type == "LineString"]


def _north(draw: ImageDraw.ImageDraw, view: _ChipWindow) -> None:
    x, y = view.size[0] - 20, 34
    draw.line([(x, y + 14), (x, y - 8)], fill="black", width=5)
    draw.polygon([(x - 7, y - 4), (x + 7, y - 4), (x, y - 19)], fill="white", outline="black")
    draw.line([(x, y + 13), (x, y - 5)], fill="white", width=3)
    _text(draw, (x, y + 15), "N", 12, anchor="ma")


def _scale(draw: ImageDraw.ImageDraw, view: _ChipWindow) -> None:
    length, label = scale_bar(view.columns * PIXEL_M / 3)
    wide = length / PIXEL_M * view.zoom
    right, y = view.size[0] - 12, view.size[1] - 12
    draw.rectangle([right - wide - 1, y - 2, right + 1, y + 3], fill="black")
    draw.rectangle([right - wide, y - 1, right, y + 2], fill="white")
    _text(draw, (right - wide / 2, y - 5), label, 12, anchor="mb")


def _text(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    size: int,
    anchor: str = "la",
    bold: bool = False,
) -> None:
    draw.text(at, text, "white", font(size, bold), anchor, stroke_width=2, stroke_fill="black")


def _page(
    panels: Sequence[Picture],
    view: _ChipWindow,
    site: Site,
    caption: Sequence[str],
    here: Coordinates,
    *,
    answered: bool,
) -> bytes:
    """Panels beside or below each other, a caption, and where the first one lies."""
    wide, high = view.size
    beside = wide * len(panels) <= high * 2.5
    steps = [
        (number * (wide + _GAP_PX), 0) if beside else (0, number * (high + _GAP_PX))
        for number in range(len(panels))
    ]
    below = round(_LINE_PX * (len(caption) + (1.5 if answered else 0.5)))
    width = max(steps[-1][0] + wide, _LEAST_WIDTH_PX)
    left = (width - steps[-1][0] - wide) // 2
    height = steps[-1][1] + high + below
    page = Image.new("RGB", (width, height), "white")
    for panel, (x, y) in zip(panels, steps, strict=True):
        page.paste(Image.fromarray(panel), (left + x, y))
    draw = ImageDraw.Draw(page)
    inset = below - 12
    page.paste(Image.fromarray(locator_image(here, inset)), (width - inset - 6, height - below + 8))
    y = height - below + _LINE_PX // 4
    for number, text in enumerate(caption):
        # About 0.6 of the font's size a letter: long lines get smaller letters rather than lose their end.
        size = max(7, min(15 if number < 2 else 12, int((width - inset - 20) / max(1, len(text)) / 0.6)))
        draw.text((10, y + _LINE_PX / 2), text, "#222222", font(size, number == 1), "lm")
        y += _LINE_PX
    if answered:
        _bar(page, draw, y)
    to_map = (
        site.grid.transform
        @ Affine.translation(view.column, view.row)
        @ Affine.scale(1 / view.zoom)
        @ Affine.translation(-left, 0)
    )
    code = site.grid.crs.to_epsg()
    georeference = Georeference(
        f"EPSG:{code}" if code is not None else site.grid.crs.to_wkt(),
        tuple(float(one) for one in to_map[:6]),
        (float(left), 0.0, float(left + wide), float(high)),
        page.size,
    )
    stream = io.BytesIO()
    page.save(stream, "PNG", compress_level=6, pnginfo=georeference.png_info())
    if stream.tell() > MAX_BYTES:
        stream = io.BytesIO()
        palette = page.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        palette.save(stream, "PNG", compress_level=6, pnginfo=georeference.png_info())
    return stream.getvalue()


def _bar(page: Image.Image, draw: ImageDraw.ImageDraw, y: int) -> None:
    """The key of the third panel's colours."""
    long = 120
    colours = _ramp(np.linspace(0.0, 1.0, long))[None].repeat(12, axis=0)
    page.paste(Image.fromarray(np.rint(colours).astype(np.uint8)), (10, y + 6))
    words = f"0 to {_FULL_M:g} m and more of occupied track in a pixel of {PIXEL_M:g} m"
    draw.text((10 + long + 8, y + 12), words, "#222222", font(12), "lm")


def _caption(area: AreaOfInterest, observation: Observation) -> list[str]:
    first = f"{area.title}  ·  {observation.datetime:%Y-%m-%d %H:%M} UTC  ·  {observation.sensor}"
    if observation.abstained:
        return [first, f"No count: {observation.reason}"]
    parts = [f"{observation.clear_fraction:.0%} of the area clear", "90% intervals"]
    if observation.hidden_fraction:
        parts.insert(0, f"{observation.hidden_fraction:.0%} of the area hidden")
    if observation.provenance.get("model"):
        parts.append(
            f"{observation.provenance['model']} {observation.provenance.get('model_version', '')}".strip()
        )
    return [first, observation.headline[:1].upper() + observation.headline[1:], "  ·  ".join(parts)]
