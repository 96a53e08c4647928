"""Charts of a place's history: counts over time and by zone, coverage, tracks.

Each ``draw_*`` takes values and returns a matplotlib figure; `write_chart` puts it into a file. Nothing
here touches pyplot, so that charts can be drawn in threads and servers.
"""

from __future__ import annotations

from railwatch.chart.coverage import draw_calendar
from railwatch.chart.events import Event, EventsError, read_events
from railwatch.chart.history import History, is_sentinel
from railwatch.chart.output import ChartError, format_of, to_bytes, write_chart
from railwatch.chart.series import draw_series
from railwatch.chart.style import PageStyle
from railwatch.chart.tracks import TrackLook, draw_tracks, occupied_stretches, track_lengths, track_looks
from railwatch.chart.zones import draw_zones

__all__ = [
    "ChartError",
    "Event",
    "EventsError",
    "History",
    "PageStyle",
    "TrackLook",
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
    "track_looks",
    "write_chart",
]
