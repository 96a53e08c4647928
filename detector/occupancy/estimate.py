"""What one image says about how much of a yard is occupied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class FigureInterval(NamedTuple):
    """A figure with its 90% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Pitch:
    """Track length that a freight car takes, coupler to coupler, metres.

    Cars of 12 to 15 m dominate the 1520 mm network, cars of 15 to 20 m Europe's and China's, longer ones
    North America's; which ones stand in a yard can't be seen at 10 m. A yard's own pitch is declared in the
    settings or comes from its fine images.

    Attributes:
        mean_m: Of a yard's cars.
        sd_m: How much yards differ from each other.
    """

    mean_m: float
    sd_m: float


@dataclass(frozen=True)
class OccupancyEstimate:
    """How much of a yard is occupied on one date.

    Attributes:
        length: Occupied track length, metres.
        count: Freight cars, by the pitch.
        at_least: Whether the figures are lower bounds: above the range in which counts can be trusted.
        trusted_to: Count from which they are.
        zones: By zone id, freight cars.
        zone_lengths: By zone id, metres.
        pitch: That the count rests on.
        budget: Standard deviation in freight cars by cause: where the width of the interval comes from.
        density: (h, w) metres of occupied track in each cell of the yard's frame.
        used_tracks: Whether track lines were used.
        warnings: Sentences for whoever reads the figures.
        uninformative: Why the figures say nothing (their interval is as wide as the yard), a sentence; None
            if they do.
    """

    length: FigureInterval
    count: FigureInterval
    at_least: bool
    trusted_to: float
    zones: Mapping[str, FigureInterval]
    zone_lengths: Mapping[str, FigureInterval]
    pitch: Pitch
    budget: Mapping[str, float]
    density: NDArray[np.float32] = field(repr=False)
    used_tracks: bool = True
    warnings: tuple[str, ...] = ()
    uninformative: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The figures as plain JSON values, without the density."""
        return {
            "length_m": [round(v, 1) for v in self.length],
            "count": [round(v, 1) for v in self.count],
            "at_least": self.at_least,
            "trusted_to": self.trusted_to,
            "pitch_m": [self.pitch.mean_m, self.pitch.sd_m],
            "budget": {name: round(sd, 2) for name, sd in self.budget.items()},
            "used_tracks": self.used_tracks,
        }
