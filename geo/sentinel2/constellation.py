"""The constellations whose images are answered on 10 m cells, and in what they differ.

Each is compared with its own past alone: two instruments see the colours and edges of one ground differently,
and that would pass for cars.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Constellation:
    """Satellites with one kind of sensor.

    Attributes:
        name: The beginning of its satellites' names, and the platform where no product tells the unit.
        short: The same in ids of acquisitions.
        prior_sd_m: How far a date usually lies from the place's others before looking, metres an axis.
        spread_m: Full width at half maximum of the Gaussian that brings its pixels to 10 m cells; 0 where
            they are of 10 m.
        units_apart: Whether its satellites are told apart in the names of sensors.
    """

    name: str
    short: str
    prior_sd_m: float
    spread_m: float = 0.0
    units_apart: bool = True

    def named(self, platform: str) -> str:
        """What a platform is called where images are listed: the sensor alone if it has hundreds of units."""
        if self.units_apart:
            return platform
        return f"{SIMULATED if platform.startswith(SIMULATED) else ''}{self.name}"


SIMULATED = "simulated "

SENTINEL2 = Constellation("Sentinel-2", "S2", prior_sd_m=4.0)
"""Products agree within 5 m (95 %) on one orbit with the global reference image, 12 m without it (ESA,
CNES/CESBIO)."""

PLANETSCOPE = Constellation("PlanetScope", "PS", prior_sd_m=7.0, spread_m=10.4, units_apart=False)
"""Ortho scenes lie within 10 m (root mean square of both axes) by Planet's specification. A point spread of
6.5 m, of which 5 to 8 m are usual, becomes one of 12.3 m, the middle of Sentinel-2's."""

CONSTELLATIONS = (SENTINEL2, PLANETSCOPE)


def constellation_of(platform: str) -> Constellation:
    """The kind of sensor of a platform, which may be a simulated one.

    Example:
        >>> constellation_of("simulated PlanetScope 2427").name
        'PlanetScope'
    """
    return PLANETSCOPE if platform.removeprefix(SIMULATED).startswith(PLANETSCOPE.name) else SENTINEL2
