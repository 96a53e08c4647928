"""Verdicts: an observation against the history of its place. See ``docs/verdicts.md``."""

from __future__ import annotations

from railwatch.baseline.calibration import Calibration, calibrate
from railwatch.baseline.judge import Place, compare, judge
from railwatch.baseline.records import Record, from_observation
from railwatch.baseline.settings import MethodError, VerdictSettings
from railwatch.baseline.verdict import RANK, HistoryMaximum, Verdict, Word

__all__ = [
    "RANK",
    "Calibration",
    "HistoryMaximum",
    "MethodError",
    "Place",
    "Record",
    "Verdict",
    "VerdictSettings",
    "Word",
    "calibrate",
    "compare",
    "from_observation",
    "judge",
]
