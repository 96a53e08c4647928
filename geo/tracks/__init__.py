"""Track centre lines out of what images show: wagons that stood on them, and a map of where track is.

`fit_centre_lines` gives the lines of an area from the `Evidence` of one or many looks at it. Nothing here
knows where the evidence comes from: a network's map, boxes of a store, or a drawing in a test.
"""

from geo.grid import PlaneGrid
from geo.tracks.evidence import Evidence, Sightings, TrackObservation, combine
from geo.tracks.fit import CentreLine, FitRules, fit_centre_lines

__all__ = [
    "CentreLine",
    "Evidence",
    "FitRules",
    "PlaneGrid",
    "Sightings",
    "TrackObservation",
    "combine",
    "fit_centre_lines",
]
