"""The report: one HTML file with the verdict, the chart, the evidence and the numbers of a place.

The file holds all it needs (pictures as data URIs, one style sheet, one script, both pinned by hash in its
content security policy), so that it opens from a USB stick, and nothing leaves it. The chart is SVG that
is drawn here, complete and readable without JavaScript; `static/report.js` only moves what is there when a
reader zooms. That is why no plotting library is inlined: it would weigh more than the pictures of ten
scenes, draw nothing without JavaScript, and give neither print, nor keyboard, nor dark mode by itself.
"""

from __future__ import annotations

from railwatch.errors import ReportError
from railwatch.pages.report.build import Written, write_report

__all__ = ["ReportError", "Written", "write_report"]
