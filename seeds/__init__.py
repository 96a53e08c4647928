"""The published observations that the history starts from.

``seeds/README.md`` describes the table, its columns and where the published figures contradict each other.
"""

from __future__ import annotations

from seeds.errors import PublishedError
from seeds.published import comparable, load_published, read_rows
from seeds.row import COLUMNS, PublishedRow

__all__ = ["COLUMNS", "PublishedError", "PublishedRow", "comparable", "load_published", "read_rows"]
