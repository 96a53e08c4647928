"""Charts of a place's history: counts over time and by zone, coverage, tracks, types of cars.

Each ``draw_*`` takes values and returns a matplotlib figure; `write_chart` puts it into a file. Nothing
here touches pyplot, so that charts can be drawn in threads and servers.
"""

from typing import Literal

ChartKind = Literal["series", "zones", "calendar", "tracks", "types"]
"""The charts that `railwatch chart --kind` draws."""
