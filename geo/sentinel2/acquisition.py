"""Products of one look at the ground: neighbouring tiles, reprocessings, levels and doubles count once."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from geo.errors import SceneError
from geo.sentinel2.constellation import constellation_of
from geo.sentinel2.formats.product import Clock, Kind, Product

if TYPE_CHECKING:
    from aoi import AreaOfInterest

log = logging.getLogger(__name__)

# Starts of one datatake in two products: the same to the second but for reprocessings.
_SAME_START = dt.timedelta(seconds=30)
# Times of neighbouring tiles: a tile takes 15 seconds.
_SAME_TILES = dt.timedelta(seconds=60)
# A datatake lasts up to half an hour, so that a tile is seen so much after its start. The next pass over the
# same ground is an orbit, 100 minutes, away.
_LONGEST_TAKE = dt.timedelta(minutes=40)
_LEVELS = {"L2A": 0, "SR": 0, "L1C": 1, "TOA": 1}
# How well the numbers of a product are known.
_TRUST: dict[Kind, int] = {"SAFE": 0, "AWS": 1, "STAC": 2, "PSScene": 2, "export": 3}
_CLOCKS: dict[Clock, int] = {"datatake": 0, "tile": 1, "day": 2}
# Products that show the area equally well but for so much are told apart by what comes next.
_SAME_SHARE = 0.01


@dataclass(frozen=True)
class Acquisition:
    """One overpass of one satellite over an area, with all products of it.

    Attributes:
        best: The product to read; all know alike when and by what they were taken.
        others: The other products, the better ones first, each with the reason why it isn't the best.
    """

    best: Product
    others: tuple[tuple[Product, str], ...]

    @property
    def id(self) -> str:
        """By platform, time and relative orbit: S2A_20231005T021001_R003."""
        return self.best.acquisition

    def candidates(self) -> tuple[Product, ...]:
        """All products, the best first: where one can't be read the next may do."""
        return (self.best, *(product for product, _ in self.others))


def group(products: Iterable[Product], area: AreaOfInterest) -> list[Acquisition]:
    """Group products into acquisitions of an area.

    Products are of one acquisition if nothing that they know of platform, relative orbit and time is at odds:
    the same satellite doesn't come back within 100 minutes. The best is the one that shows most of the area,
    then level 2A before 1C, then the highest baseline, then the tile in whose middle the area lies furthest
    from an edge. Among several tiles or halves of a tile those are read around the area that could be the
    best, since a raster may be empty there.

    Args:
        products: In any order, as `geo.sentinel2.formats.find.find_products` gives them.
        area: In longitude and latitude. Products that don't show any of it are left out.

    Returns:
        The acquisitions by time. Their products agree on id, platform, orbit and time: what one knows, all
        know.
    """
    listed = list(products)
    shares = {id(one): one.shown(area) for one in listed}
    shown = sorted(
        (one for one in listed if shares[id(one)] > 0.0), key=lambda one: (str(one.path), one.part)
    )
    acquisitions = [_settled(together, area, shares) for together in same_acquisition(shown)]
    return sorted(acquisitions, key=lambda one: (one.best.datetime, one.id))


class Sighting(Protocol):
    """What is known of when a product was taken, and by which satellite; see `Product`."""

    @property
    def datetime(self) -> dt.datetime:
        """UTC; see ``clock``."""

    @property
    def clock(self) -> Clock:
        """What the time is: the start of the "datatake", that of the "tile", or just the "day"."""

    @property
    def platform(self) -> str:
        """Such as "Sentinel-2A"; "Sentinel-2" where the unit isn't told."""

    @property
    def relative_orbit(self) -> int | None:
        """1 to 143, or None."""


_S = TypeVar("_S", bound=Sighting)


def same_acquisition(sightings: Iterable[_S]) -> list[list[_S]]:
    """Put together what is of one acquisition.

    Args:
        sightings: Products or items; of equal ones the earlier one leads.

    Returns:
        One list an acquisition, the one that knows most of it first.
    """
    overpasses: list[list[_S]] = []
    for one in sorted(sightings, key=_knowledge):
        fitting = [overpass for overpass in overpasses if _fits(overpass[0], one)]
        if fitting:
            min(fitting, key=lambda overpass: abs(overpass[0].datetime - one.datetime)).append(one)
        else:
            overpasses.append([one])
    return overpasses


def _knowledge(one: Sighting) -> tuple[int, bool, bool, dt.datetime]:
    """Those that know most come first, so that no vague one joins two that are at odds."""
    return (_CLOCKS[one.clock], _vague(one), one.relative_orbit is None, one.datetime)


def _vague(one: Sighting) -> bool:
    """Whether it isn't told which of a sensor's satellites it was."""
    return one.platform == constellation_of(one.platform).name


def _fits(first: Sighting, one: Sighting) -> bool:
    """Whether a product, which knows no more than the first one, may be of its acquisition."""
    if constellation_of(first.platform) is not constellation_of(one.platform):
        return False
    known = not _vague(first) and not _vague(one)
    if known and first.platform != one.platform:
        return False
    if None not in (first.relative_orbit, one.relative_orbit) and first.relative_orbit != one.relative_orbit:
        return False
    apart = one.datetime - first.datetime
    if one.clock == "day":
        return one.datetime.date() == first.datetime.date()
    if first.clock == one.clock == "datatake":
        return abs(apart) <= _SAME_START
    if first.clock == "datatake":
        return -_SAME_START <= apart <= _LONGEST_TAKE
    return abs(apart) <= _SAME_TILES


def _settled(products: list[Product], area: AreaOfInterest, shares: dict[int, float]) -> Acquisition:
    """The acquisition of some products; what is known of it is what the first one knows."""
    first = products[0]
    orbit = next((one.relative_orbit for one in products if one.relative_orbit is not None), None)
    seen = _seen(products, area, shares)
    edges = {id(one): one.edge_distance_m(area) for one in products}

    def rank(one: Product) -> tuple[float, int, tuple[int, ...], float, int, float, str, str]:
        return (
            -round(seen[id(one)] / _SAME_SHARE),
            _LEVELS.get(one.level, 2),
            tuple(-part for part in _baseline(one)),
            -edges[id(one)],
            _TRUST[one.kind],
            -(one.generated.timestamp() if one.generated else 0.0),
            str(one.path),
            one.part,
        )

    ranked = sorted(products, key=rank)
    best = ranked[0]

    def agreed(one: Product) -> Product:
        return replace(
            one,
            acquisition=first.acquisition,
            datetime=first.datetime,
            clock=first.clock,
            platform=first.platform,
            relative_orbit=orbit,
        )

    return Acquisition(
        best=agreed(best),
        others=tuple((agreed(one), _reason(one, best, seen, edges)) for one in ranked[1:]),
    )


def _seen(products: list[Product], area: AreaOfInterest, shares: dict[int, float]) -> dict[int, float]:
    """Share of the area that each shows: of the raster, and of its data where that may make a difference.

    Reading costs a third of a second a JP2 tile, so that only those are read that could be the best and
    differ in ground: tiles, or halves of a tile that was processed in two.
    """
    seen = {id(one): shares[id(one)] for one in products}
    most = max(seen.values())
    level = min(_LEVELS.get(one.level, 2) for one in products)
    rivals = [
        one for one in products if seen[id(one)] >= most - _SAME_SHARE and _LEVELS.get(one.level, 2) == level
    ]
    if len({one.tile for one in rivals}) > 1 or any(_halves(one, rivals) for one in rivals):
        for one in rivals:
            try:
                seen[id(one)] = min(seen[id(one)], one.filled(area))
            except SceneError as error:
                log.debug("%s", error)
                seen[id(one)] = 0.0
    return seen


def _halves(one: Product, rivals: list[Product]) -> bool:
    """Whether there is another product of the same tile and baseline: a double, or the tile's other half."""
    return any(
        other is not one and (other.tile, other.baseline) == (one.tile, one.baseline) for other in rivals
    )


def _baseline(one: Product) -> tuple[int, ...]:
    parts = (one.baseline or "").split(".")
    return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else (0, 0)


def _reason(one: Product, best: Product, seen: dict[int, float], edges: dict[int, float]) -> str:
    """Why a product isn't the best one of its acquisition."""
    same = f"it is the same acquisition as {best.name}, which"
    if round(seen[id(one)] / _SAME_SHARE) < round(seen[id(best)] / _SAME_SHARE):
        return f"{same} shows more of the area ({seen[id(best)]:.0%} against {seen[id(one)]:.0%})."
    if one.level != best.level:
        return f"{same} is of level {best.level.removeprefix('L')}."
    if best.kind == one.kind == "PSScene":
        return f"{same} shows the area as well."
    if one.baseline != best.baseline:
        return f"{same} has the newer processing baseline {best.baseline}."
    if one.tile != best.tile:
        return f"{same} shows the area further from the edge of its tile ({best.tile})."
    return f"{same} is the same tile and processing baseline."
