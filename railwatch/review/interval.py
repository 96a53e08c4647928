"""How sure a reviewer's count is, where the reviewer doesn't say."""

from __future__ import annotations

import math

from detector import Z90
from railwatch.history.settings import VerdictSettings

__all__ = ["count_interval"]

_ERROR = VerdictSettings().method("reviewed")


def count_interval(count: float) -> tuple[float, float]:
    """Return the 90% interval of a reviewer's count: what the verdicts hold a reviewer's error to be."""
    half = Z90 * _ERROR.sd(count)
    return float(max(0, math.ceil(count - half - 0.5))), float(math.floor(count + half + 0.5))
