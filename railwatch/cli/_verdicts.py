"""Which verdicts a command prints: all of a few, of many those that stand out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from railwatch.history import Verdict

__all__ = ["telling"]

_MOST = 12


def telling(verdicts: Sequence[Verdict], most: int = _MOST) -> list[Verdict]:
    """The verdicts to print: of a long series those that stand out, and the newest.

    Those on images without a count are left out.

    Args:
        verdicts: Oldest first.
        most: How many at most.
    """
    counted = [one for one in verdicts if one.record.kind != "missing"]
    if len(counted) <= most:
        return counted
    chosen = [one for one in counted[:-1] if one.verdict in ("unprecedented", "elevated", "low")]
    return [*chosen[max(len(chosen) - most + 1, 0) :], counted[-1]]
