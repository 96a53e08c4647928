"""Rows of boxes that a person should look at whatever the verdict: those that the detector itself doubts.

A score is a calibrated probability that a box is a wagon. Wagons stand coupled in rakes, and what is wrong is
wrong for a rake at a time (a wall, a row of containers, a train in the shadow); so rakes are judged,
by the mean of their scores, and not single boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from aoi.geodesy import local_metres
from railwatch.store.observation import current, iso

if TYPE_CHECKING:
    import geopandas as gpd

    from railwatch.history.sources import Sources
    from railwatch.store.observation import Observation
    from railwatch.store.store import Store

__all__ = [
    "DoubtedObservation",
    "DoubtfulRake",
    "doubted_observations",
    "doubtful_rakes",
    "looked_for",
    "rakes",
    "reviewable",
]

MEAN_SCORE = 0.6
"""A rake whose boxes have a smaller mean score is doubtful: of five boxes two are expected to be wrong."""
LEAST_BOXES = 3
"""Fewer boxes are no rake."""
COUPLED_M = 3.0
"""Boxes with a smaller gap end to end stand in one rake: two couplers, and boxes that are a little short."""
_ASIDE_M = 1.0  # how far out of line two coupled wagons may be, on a curve


@dataclass(frozen=True)
class DoubtfulRake:
    """A rake that the detector doubts.

    Attributes:
        boxes: How many boxes it has.
        mean_score: Their mean score.
        track: The track on which most of them stand, if they stand on one.
        lon: Of its middle, degrees.
        lat: Of its middle, degrees.
    """

    boxes: int
    mean_score: float
    track: str | None
    lon: float
    lat: float

    @property
    def sentence(self) -> str:
        """The rake in words."""
        where = f" on track {self.track}" if self.track is not None else ""
        return (
            f"{self.boxes} boxes in a row{where} have a mean score of {self.mean_score:.2f}"
            f" ({self.lat:.5f}, {self.lon:.5f})"
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "boxes": self.boxes,
            "mean_score": round(self.mean_score, 3),
            "track": self.track,
            "lon": round(self.lon, 6),
            "lat": round(self.lat, 6),
        }


@dataclass(frozen=True)
class DoubtedObservation:
    """An observation with rakes that the detector doubts.

    Attributes:
        observation: The machine's observation.
        rakes: The longest first.
    """

    observation: Observation
    rakes: tuple[DoubtfulRake, ...]

    @property
    def sentence(self) -> str:
        """What is doubtful, in words."""
        more = len(self.rakes) - 1
        rest = "" if not more else f", and {more} more {'row' if more == 1 else 'rows'}"
        return f"is doubtful whatever the verdict: {self.rakes[0].sentence}{rest}"

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "id": self.observation.id,
            "aoi": self.observation.aoi,
            "datetime": iso(self.observation.datetime),
            "file": self.observation.provenance.get("file"),
            "count": self.observation.count,
            "doubtful_rakes": [one.to_json() for one in self.rakes],
        }


def reviewable(observations: Iterable[Observation]) -> list[Observation]:
    """Return the machine's counts that a person can check by eye and nobody has, oldest first."""
    told = current(observations, reviewed=True)
    return [one for one in told if one.method == "wagons" and one.count is not None]


def doubted_observations(
    sources: Sources, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[DoubtedObservation]:
    """Return the unreviewed observations of a store with rakes that the detector doubts.

    Args:
        sources: The store's history.
        progress: Told of every observation.

    Returns:
        Those with the most doubtful boxes first.
    """
    store = sources.store
    if store is None:
        return []
    candidates = reviewable(sources.observations)
    found = []
    for number, one in enumerate(candidates):
        progress(number, len(candidates))
        rakes = doubtful_rakes(store, one)
        if rakes:
            found.append(DoubtedObservation(one, tuple(rakes)))
    progress(len(candidates), len(candidates))
    return sorted(found, key=lambda one: (-sum(rake.boxes for rake in one.rakes), one.observation.id))


def looked_for(looked_at: int, changing: int, doubted: int) -> str:
    """Return what was looked for and found, in a sentence or two."""
    noun = "count" if looked_at == 1 else "counts"
    change = str(changing) if changing else "none"
    have = "has" if doubted == 1 else "have"
    more = "no other has" if not doubted else f"{doubted} more {have}"
    return (
        f"Of {looked_at} {noun} that nobody has reviewed, a look at {change} is expected to change a "
        f"verdict; {more} a row of {LEAST_BOXES} boxes or more with a mean score under {MEAN_SCORE:g}. "
        "Images of 10 m can't be checked by eye."
    )


def doubtful_rakes(store: Store, observation: Observation) -> list[DoubtfulRake]:
    """Return the rakes of an observation that the detector doubts, the longest first.

    Args:
        store: The store that holds it.
        observation: A machine's count of an image on which wagons are seen one by one.

    Raises:
        StoreError: If its boxes can't be read.
    """
    boxes = store.detections(observation.id)
    if boxes is None or boxes.crs is None or "counted" not in boxes:
        return []
    counted = boxes[boxes["counted"].astype(bool)]
    found = []
    for rows in rakes(counted):
        scores = counted["score"].to_numpy(np.float64)[rows]
        if len(rows) < LEAST_BOXES or scores.mean() >= MEAN_SCORE:
            continue
        middle = shapely.union_all(counted.geometry.iloc[rows].to_crs("EPSG:4326").to_numpy()).centroid
        found.append(
            DoubtfulRake(
                len(rows), float(scores.mean()), _track(counted["track"].iloc[rows]), middle.x, middle.y
            )
        )
    return sorted(found, key=lambda one: (-one.boxes, one.mean_score, one.lon))


def rakes(boxes: gpd.GeoDataFrame) -> list[list[int]]:
    """Return which boxes stand coupled in one row, as positions in the table.

    Args:
        boxes: Rectangles with a CRS.

    Returns:
        Every box is in one rake; a rake's positions ascend, and rakes are in the order of their first box.
    """
    if boxes.empty:
        return []
    plane = boxes.geometry.to_crs(
        local_metres(boxes.geometry.iloc[[0]].to_crs("EPSG:4326").iloc[0]).target_crs
    )
    reaching = [_reaching(shape) for shape in plane]
    one, other = shapely.STRtree(reaching).query(reaching, predicate="intersects")
    links = coo_array((np.ones(len(one)), (one, other)), shape=(len(boxes), len(boxes)))
    _, labels = connected_components(links, directed=False)
    groups: dict[int, list[int]] = {}
    for position, label in enumerate(labels):
        groups.setdefault(int(label), []).append(position)
    return list(groups.values())


def _reaching(shape: shapely.Polygon) -> shapely.Polygon:
    """A thin strip along a box's middle line that reaches half a gap beyond both of its ends."""
    corners = np.asarray(shapely.minimum_rotated_rectangle(shape).exterior.coords)[:4]
    sides = corners[1:3] - corners[:2]
    lengths = np.hypot(*sides.T)
    along = sides[int(lengths.argmax())] / max(float(lengths.max()), 1e-9)
    middle = corners.mean(axis=0)
    half = along * (lengths.max() + COUPLED_M) / 2.0
    return shapely.buffer(
        shapely.linestrings([middle - half, middle + half]), _ASIDE_M / 2.0, cap_style="flat"
    )


def _track(names: Iterable[Any]) -> str | None:
    known = [str(name) for name in names if isinstance(name, str) and name]
    return max(sorted(set(known)), key=known.count) if known else None
