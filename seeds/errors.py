"""What can be wrong with a table of published counts."""

from __future__ import annotations

from aoi.errors import InputError


class PublishedError(InputError):
    """A table of published counts that can't be read or contradicts itself."""
