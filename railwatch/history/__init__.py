"""Verdicts: an observation against the history of its place. See ``docs/verdicts.md``."""

from __future__ import annotations

from railwatch.history.judge import PlaceHistory, compare, judge
from railwatch.history.matchups import Calibration, calibrate
from railwatch.history.record import Record, from_observation
from railwatch.history.settings import MethodError, VerdictSettings
from railwatch.history.verdict import RANK, Verdict, Word, foremost

__all__ = [
    "RANK",
    "Calibration",
    "MethodError",
    "PlaceHistory",
    "Record",
    "Verdict",
    "VerdictSettings",
    "Word",
    "calibrate",
    "compare",
    "foremost",
    "from_observation",
    "judge",
]
