"""The names that a review's GeoPackage is made of."""

from __future__ import annotations

__all__ = ["AREA_LAYERS", "BOXES", "FACTS", "FORMAT", "GEOMETRY"]

BOXES = "boxes"
"""The layer to correct."""

FACTS = "facts"
"""The table that says which observation it is, in two columns ``key`` and ``value``."""

AREA_LAYERS = ("boundary", "zones", "tracks", "masks")
"""The layers of the area, to look at."""

GEOMETRY = "geom"
"""Name of the geometry column of all layers."""

FORMAT = 1
"""Version of this layout. A reader refuses higher ones."""
