"""Training material of the occupancy network: simulated images on disk, drawn at random, turned and cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detector.errors import LabelError
from detector.occupancy.inputs import CHANNELS, FIRST_MASK, PastBands, make_inputs, past_planes
from detector.occupancy.network import Past
from geo.sentinel2.composite import MOST_COMPARED

CAR_M = 15.0
"""Metres of track that losses count as one car."""

F32 = NDArray[np.float32]
FIGURES = (
    "count",
    "length_m",
    "dates",
    "shadow_along",
    "shadow_across",
    "past_shadow_along",
    "past_shadow_across",
    "wet",
    "sun_elevation_deg",
    "residual_m",
)
"""Columns of a site's table of images."""

# Numbers of cars that are drawn equally often, whatever the simulated yards hold: an estimator that has
# seen few empty or full yards answers the middle.
_BANDS = (0.5, 5.5, 20.5, 50.5, 100.5, 150.5, 220.5)
_SHARES = np.array([0.16, 0.12, 0.16, 0.17, 0.15, 0.10, 0.08, 0.06])
_PAINTED = 0.7
"""Share of the samples whose bands are mixed anew: yards differ from each other far more than dates."""


_WEATHER = 0.4
"""Share of the dates that get more weather than they had."""
_CONTRAST_SD = 0.2
_GAPS = 0.12
"""Share of the dates of which a part wasn't seen."""

_LEAST_COMPARED, _TRAINED_COMPARED = 3, 6  # fewer in training: they cost time, and others come each time


@dataclass(frozen=True)
class StoredSite:
    """A simulated site as `detector.training.occupancy_sites.write_site` keeps it."""

    path: Path
    images: NDArray[np.float16]  # (images, 17, h, w), on disk
    figures: F32  # (images, len(FIGURES))
    tracks: F32
    region: F32
    boundary: F32
    early_sun: F32  # (dates, 2) shadows of the dates that had too little history to be answered

    @classmethod
    def open(cls, path: Path) -> StoredSite:
        """Open one; its images stay on disk."""
        with np.load(path) as stored:
            return cls(
                path,
                np.load(path.with_suffix(".npy"), mmap_mode="r"),
                stored["figures"],
                stored["tracks"].astype(np.float32),
                stored["region"].astype(np.float32),
                stored["boundary"].astype(np.float32),
                stored["early_sun"] if "early_sun" in stored else np.zeros((0, 2), np.float32),
            )

    def early(self) -> NDArray[np.float16]:
        """(dates, 4, h, w) reflectance of the first dates."""
        with np.load(self.path) as stored:
            return np.asarray(stored["early"])

    def figure(self, name: str) -> F32:
        """One column of the table."""
        return np.asarray(self.figures[:, FIGURES.index(name)])


def stored_sites(folder: Path, split: str) -> list[StoredSite]:
    """All sites of a split in a folder, by name."""
    found = sorted(p for p in folder.glob(f"{split}-*.npz") if not p.name.endswith(".part.npz"))
    return [StoredSite.open(path) for path in found]


class Sample(NamedTuple):
    """One look for the network: planes, region, metres of occupied track a cell; the dates before it."""

    planes: F32
    region: F32
    cells: F32
    past: PastBands


def sample_of(
    site: StoredSite,
    row: int,
    *,
    tracks: bool = True,
    paint: NDArray[np.float32] | None = None,
    past: Callable[[int], Sequence[int]] = lambda before: range(before - MOST_COMPARED, before),
    weather: np.random.Generator | None = None,
) -> Sample:
    """An image of a stored site, whole.

    Args:
        site: The site.
        row: Of the image.
        tracks: Whether the track lines are shown.
        paint: (4, 4) by which the bands of all reflectances are mixed, or None.
        past: Chooses among the dates before, by how many there are; numbers below 0 are none. The latest by
            default.
        weather: Draws moisture and light of each date anew (`weathered`), or None to leave them.
    """
    stored = np.asarray(site.images[row], dtype=np.float32)
    if paint is not None:
        # The date and its background alike: another yard of the same shape, in other materials.
        planes = stored[:16].reshape(4, 4, -1)
        stored = np.concatenate([(paint @ planes).reshape(16, *stored.shape[1:]), stored[16:]])
    current, low, median, high = stored[0:4], stored[4:8], stored[8:12], stored[12:16]
    f = dict(zip(FIGURES, site.figures[row].tolist(), strict=True))
    numbers = [n for n in past(len(site.early_sun) + row) if n >= 0]
    before, suns = _before(site, numbers)
    values = before if paint is None else np.einsum("ij,kjhw->kihw", paint, before, optimize=True)
    if weather is not None:
        # How much wagons stand out from the ground, and how uneven it is, differs between yards, too.
        contrast = np.float32(np.exp(weather.normal(0.0, _CONTRAST_SD)))
        low, high, current, values = (median + contrast * (x - median) for x in (low, high, current, values))
        current, values = (weathered(x, weather) for x in (current, values))
    given = make_inputs(
        current,
        low,
        median,
        high,
        site.tracks if tracks else np.zeros_like(site.tracks),
        site.region if tracks else site.boundary,
        has_tracks=tracks,
        shadow=(f["shadow_along"], f["shadow_across"]),
        past_shadow=(f["past_shadow_along"], f["past_shadow_across"]),
        dates=int(f["dates"]),
        past=past_planes(values if numbers else None, suns, median),
    )
    return Sample(given.planes, given.region, stored[16], given.past)


def _before(site: StoredSite, numbers: Sequence[int]) -> tuple[F32, list[tuple[float, float]]]:
    """Reflectances (K, 4, h, w) of dates, and their shadows; the first had too little history."""
    few = len(site.early_sun)
    early = site.early() if any(n < few for n in numbers) else None
    columns = [FIGURES.index("shadow_along"), FIGURES.index("shadow_across")]
    stack = np.zeros((len(numbers), 4, *site.region.shape), np.float32)
    suns = []
    for k, n in enumerate(numbers):
        if n < few:
            assert early is not None
            stack[k], (along, across) = early[n], site.early_sun[n]
        else:
            stack[k] = site.images[n - few, :4]
            along, across = site.figures[n - few, columns]
        suns.append((float(along), float(across)))
    return stack, suns


def random_paint(rng: np.random.Generator) -> NDArray[np.float32]:
    """A mixing of bands by chance: brighter or darker, each on its own, and a little of one in another."""
    gain = np.exp(rng.normal(0.0, 0.12) + rng.normal(0.0, 0.07, 4))
    mixed = np.eye(4)
    if rng.random() < 0.5:
        share = rng.uniform(0.0, 0.3)
        mixed = (1 - share) * mixed + share * np.eye(4)[rng.permutation(4)]
    return (gain[:, None] * mixed).astype(np.float32)


def weathered(values: F32, rng: np.random.Generator) -> F32:
    """Dates (..., 4, h, w) under more weather: one simulator's moisture isn't another's, nor is it wagons.

    Patches of moisture, and light that wasn't quite brought to the composite's.
    """
    out = values.copy()
    for date in out.reshape(-1, *values.shape[-3:]):
        if rng.random() < _WEATHER:
            light = 1.0 + rng.normal(0.0, 0.02) + rng.normal(0.0, 0.01, 4)
            depth = rng.normal(0.0, 0.07) * (1.0 + rng.normal(0.0, 0.2, 4))
            patches = _smooth(values.shape[-2:], rng.uniform(2.0, 8.0), rng)
            for band, one in enumerate(date):
                one *= np.float32(light[band]) + np.float32(depth[band]) * patches
    return out


def _smooth(size: tuple[int, int], grain: float, rng: np.random.Generator) -> F32:
    """A field (h, w) of standard deviation about 1 that changes over so many cells."""
    h, w = size
    coarse = 1.2 * rng.standard_normal((int(h / grain) + 3, int(w / grain) + 3), dtype=np.float32)
    fine = cv2.resize(coarse, None, fx=grain, fy=grain, interpolation=cv2.INTER_LINEAR)
    top, left = (int(rng.integers(0, n - m + 1)) for n, m in zip(fine.shape, size, strict=True))
    return np.asarray(fine[top : top + h, left : left + w])


_ALONG = tuple(CHANNELS.index(name) for name in ("shadow_along", "past_shadow_along"))
_ACROSS = tuple(CHANNELS.index(name) for name in ("shadow_across", "past_shadow_across"))
_QUARTERS = tuple(
    CHANNELS.index(f"track_{name}") for name in ("upper_left", "upper_right", "lower_left", "lower_right")
)


def turned(sample: Sample, *, along: bool, across: bool) -> Sample:
    """The same yard seen in a mirror."""
    planes, region, cells, past = sample
    planes, shadow = planes.copy(), past.shadow.copy()
    ul, ur, ll, lr = _QUARTERS
    if along:
        planes, region, cells = planes[..., ::-1].copy(), region[:, ::-1], cells[:, ::-1]
        planes[[ul, ur, ll, lr]] = planes[[ur, ul, lr, ll]]
        planes[list(_ALONG)] *= -1
        shadow[:, 0] *= -1
        past = PastBands(past.change[..., ::-1], past.known[..., ::-1], shadow)
    if across:
        planes, region, cells = planes[:, ::-1].copy(), region[::-1], cells[::-1]
        planes[[ul, ur, ll, lr]] = planes[[ll, lr, ul, ur]]
        planes[list(_ACROSS)] *= -1
        shadow[:, 1] *= -1
        past = PastBands(past.change[..., ::-1, :], past.known[..., ::-1, :], shadow)
    return Sample(planes, region, cells, past)


def cut(sample: Sample, size: tuple[int, int], rng: np.random.Generator) -> Sample:
    """A window of a fixed size; what is missing is filled with zeros (constant planes keep their value)."""
    h, w = sample.region.shape
    top = int(rng.integers(0, max(h - size[0], 0) + 1))
    left = int(rng.integers(0, max(w - size[1], 0) + 1))
    rows, columns = slice(top, top + size[0]), slice(left, left + size[1])
    planes = sample.planes[:, rows, columns]
    region, cells = sample.region[rows, columns], sample.cells[rows, columns]
    past = sample.past.window(rows, columns)
    missing = size[0] - region.shape[0], size[1] - region.shape[1]
    if missing == (0, 0):
        return Sample(planes, region, cells, past)
    above, before = (int(rng.integers(0, m + 1)) for m in missing)
    room = ((above, missing[0] - above), (before, missing[1] - before))

    def padded(x: NDArray[Any]) -> NDArray[Any]:
        return np.pad(x, (*((0, 0),) * (x.ndim - 2), *room))

    out = padded(planes)
    first = CHANNELS.index("has_tracks")
    out[first:] = planes[first:, :1, :1]
    past = PastBands(padded(past.change), padded(past.known), past.shadow)
    return Sample(out, padded(region), padded(cells), past)


def with_gaps(sample: Sample, rng: np.random.Generator) -> Sample:
    """The same with ground that wasn't seen on the date or on some before it: clouds, the swath's edge.

    What stands where nobody has seen it isn't to be found.
    """
    planes, region, cells, past = sample
    if rng.random() < _GAPS:
        seen = _patch(region.shape, rng)
        planes, cells = planes.copy(), np.where(seen, cells, np.float32(0))
        planes[:FIRST_MASK, ~seen] = 0.0
    known = past.known.copy()
    for k in np.flatnonzero(rng.random(len(known)) < _GAPS):
        known[k] &= _patch(region.shape, rng)
    change = np.where(known[:, None], past.change, np.float32(0))
    return Sample(planes, region, cells, PastBands(change, known, past.shadow))


def _patch(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.bool_]:
    """What of a picture is seen beside one round gap, or one straight edge."""
    y, x = np.mgrid[: size[0], : size[1]]
    at = rng.uniform(0, size)
    if rng.random() < 0.3:
        turn = rng.uniform(0, 2 * np.pi)
        return np.asarray((y - at[0]) * np.sin(turn) + (x - at[1]) * np.cos(turn) < 0)
    across, along = rng.uniform(3.0, 20.0, 2)
    return np.asarray(((y - at[0]) / across) ** 2 + ((x - at[1]) / along) ** 2 > 1.0)


@dataclass(frozen=True)
class SampleBatch:
    """Samples for one step: planes (B, C, h, w), region and cells (B, h, w), and the past."""

    planes: Tensor
    region: Tensor
    cells: Tensor
    past: Past | None


class Batches:
    """Seeded batches of samples; sites that appear meanwhile are taken up.

    Args:
        folder: With stored sites.
        split: Of the sites to draw from.
        batch_size: Samples a step.
        size: Rows and columns of a sample.
        seed: Of the draws.
        trackless: Fraction of samples shown without their track lines.
    """

    def __init__(
        self,
        folder: Path,
        split: str = "train",
        *,
        batch_size: int,
        size: tuple[int, int],
        seed: int,
        trackless: float = 0.25,
    ) -> None:
        self.folder, self.split = folder, split
        self.batch_size, self.size, self.seed, self.trackless = batch_size, size, seed, trackless
        self.sites: list[StoredSite] = []
        self._by_band: list[NDArray[np.int64]] = []
        self._search_at = 0

    def _search(self, step: int) -> None:
        if self.sites and step < self._search_at:
            return
        self._search_at = step + 200
        known = {site.path for site in self.sites}
        found = sorted(self.folder.glob(f"{self.split}-*.npz"))
        self.sites += [
            StoredSite.open(p) for p in found if p not in known and not p.name.endswith(".part.npz")
        ]
        if not self.sites:
            raise LabelError(f"{self.folder}: no simulated sites here")
        rows = [
            (i, row, band)
            for i, site in enumerate(self.sites)
            for row, band in enumerate(np.searchsorted(_BANDS, site.figure("count")))
        ]
        table = np.array(rows, dtype=np.int64)
        self._by_band = [table[table[:, 2] == band, :2] for band in range(len(_SHARES))]

    def batch(self, step: int) -> SampleBatch:
        """Return the batch of a step: the same sites, step and seed give the same one.

        Raises:
            LabelError: There are no sites.
        """
        self._search(step)
        rng = np.random.default_rng([self.seed, step])
        samples = [self._sample(rng) for _ in range(self.batch_size)]
        planes, region, cells, past = zip(*samples, strict=True)
        whole = [torch.from_numpy(np.stack(field).astype(np.float32)) for field in (planes, region, cells)]
        return SampleBatch(whole[0], whole[1], whole[2], Past.of(past))

    def _sample(self, rng: np.random.Generator) -> Sample:
        filled = np.array([len(rows) > 0 for rows in self._by_band])
        shares = _SHARES * filled
        band = int(rng.choice(len(shares), p=shares / shares.sum()))
        rows = self._by_band[band]
        number, row = rows[int(rng.integers(len(rows)))]
        paint = random_paint(rng) if rng.random() < _PAINTED else None
        tracks = bool(rng.random() >= self.trackless)

        def some(before: int) -> list[int]:
            wanted = int(rng.integers(_LEAST_COMPARED, _TRAINED_COMPARED + 1))
            return sorted(int(n) for n in rng.permutation(before)[:wanted])

        sample = sample_of(self.sites[number], int(row), tracks=tracks, paint=paint, past=some, weather=rng)
        sample = turned(sample, along=bool(rng.random() < 0.5), across=bool(rng.random() < 0.5))
        return with_gaps(cut(sample, self.size, rng), rng)
