"""The analyst's hand: export a count for correction, take the correction back, say where to look first.

A correction never overwrites anything. It is an observation of its own, of method ``reviewed``, that
stands beside the machine's and is preferred to it wherever the history is told; see ``docs/review.md``.
"""

from __future__ import annotations

from railwatch.errors import ReviewError
from railwatch.review.apply import Applied, apply_review, set_count
from railwatch.review.corrections import Changes
from railwatch.review.find import find_observation
from railwatch.review.geopackage import Exported, export_review
from railwatch.review.next_review import Proposal, proposals

__all__ = [
    "Applied",
    "Changes",
    "Exported",
    "Proposal",
    "ReviewError",
    "apply_review",
    "export_review",
    "find_observation",
    "proposals",
    "set_count",
]
