"""What can be wrong with a review."""

from __future__ import annotations

from aoi.errors import InputError


class ReviewError(InputError):
    """A review that can't be exported, read or kept."""
