"""The published observations that the history starts from, and public claims to set beside them.

``seeds/README.md`` describes the tables, their columns and where the published figures contradict each other.
"""

from __future__ import annotations

from seeds.claims import ClaimRow, load_claims, read_claims
from seeds.published import COLUMNS, PublishedRow, comparable, load_published, read_rows
from seeds.tables import PublishedError

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
