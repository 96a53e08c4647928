"""The published observations that the history starts from, and public claims to set beside them.

``seeds/README.md`` describes the tables, their columns and where the published figures contradict each other.
"""

from __future__ import annotations

from seeds.claims import ClaimRow, load_claims, read_claims
from seeds.errors import PublishedError
from seeds.published import comparable, load_published, read_rows
from seeds.row import COLUMNS, PublishedRow

__all__ = [
    "COLUMNS",
    "ClaimRow",
    "PublishedError",
    "PublishedRow",
    "comparable",
    "load_claims",
    "load_published",
    "read_claims",
    "read_rows",
]
