"""Rakes whose boxes score low, which a person should look at whatever the verdict.

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

from railwatch.history.rakes import rakes_of
from railwatch.store.observation import current, iso

if TYPE_CHECKING:
    from railwatch.history.sources import Sources
    from railwatch.store.observation import Observation
    from railwatch.store.store import Store

__all__ = [
    "LowScoreObservation",
    "LowScoreRake",
    "looked_for",
    "low_score_observations",
    "low_score_rakes",
    "reviewable",
]

MEAN_SCORE = 0.6
"""A rake whose boxes have a smaller mean score is doubtful: of five boxes two are expected to be wrong."""
LEAST_BOXES = 3
"""Fewer boxes are no rake."""


@dataclass(frozen=True)
class LowScoreRake:
    """A rake whose boxes have a low mean score.

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
class LowScoreObservation:
    """An observation with rakes of low scores.

    Attributes:
        observation: The machine's observation.
        rakes: The longest first.
    """

    observation: Observation
    rakes: tuple[LowScoreRake, ...]

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


def low_score_observations(
    sources: Sources, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[LowScoreObservation]:
    """Return the unreviewed observations of a store with rakes of low scores.

    Args:
        sources: The store's history.
        progress: Told of every observation.

    Returns:
        Those with the most such boxes first.
    """
    store = sources.store
    if store is None:
        return []
    candidates = reviewable(sources.observations)
    found = []
    for number, one in enumerate(candidates):
        progress(number, len(candidates))
        rakes = low_score_rakes(store, one)
        if rakes:
            found.append(LowScoreObservation(one, tuple(rakes)))
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


def low_score_rakes(store: Store, observation: Observation) -> list[LowScoreRake]:
    """Return the rakes of an observation with a mean score under `MEAN_SCORE`, the longest first.

    Args:
        store: The store that holds it.
        observation: A machine's count of an image on which wagons are seen one by one.

    Raises:
        StoreError: If its boxes can't be read.
    """
    boxes = store.detections(observation.id)
    if boxes is None or boxes.crs is None or "counted" not in boxes:
        return []
    found = []
    for rake in rakes_of(boxes):
        rows = list(rake.rows)
        mean = float(boxes["score"].to_numpy(np.float64)[rows].mean())
        if rake.cars < LEAST_BOXES or mean >= MEAN_SCORE:
            continue
        middle = shapely.union_all(boxes.geometry.iloc[rows].to_crs("EPSG:4326").to_numpy()).centroid
        found.append(LowScoreRake(rake.cars, mean, rake.track or None, middle.x, middle.y))
    return sorted(found, key=lambda one: (-one.boxes, one.mean_score, one.lon))
