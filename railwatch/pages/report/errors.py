"""What can be wrong with a report that a user asks for."""

from __future__ import annotations

from aoi.errors import InputError


class ReportError(InputError):
    """A report that can't be made or written as asked."""
