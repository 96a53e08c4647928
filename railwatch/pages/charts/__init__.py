"""Charts of a place's history: counts over time and by zone, coverage, tracks.

Each ``draw_*`` takes values and returns a matplotlib figure; `write_chart` puts it into a file. Nothing
here touches pyplot, so that charts can be drawn in threads and servers.
"""

from __future__ import annotations

from railwatch.history.events import Event, EventsError, read_events
from railwatch.history.history import History, is_sentinel
from railwatch.pages.charts.coverage import draw_calendar
from railwatch.pages.charts.output import ChartError, format_of, to_bytes, write_chart
from railwatch.pages.charts.series import draw_series
from railwatch.pages.charts.style import PageStyle
from railwatch.pages.charts.tracks import (
    TrackOccupation,
    draw_tracks,
    occupied_stretches,
    track_lengths,
    track_occupations,
)
from railwatch.pages.charts.zones import draw_zones

__all__ = [
    "ChartError",
    "Event",
    "EventsError",
    "History",
    "PageStyle",
    "TrackOccupation",
    "draw_calendar",
    "draw_series",
    "draw_tracks",
    "draw_zones",
    "format_of",
    "is_sentinel",
    "occupied_stretches",
    "read_events",
    "to_bytes",
    "track_lengths",
    "track_occupations",
    "write_chart",
]
