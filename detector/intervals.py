"""The level of every interval that railwatch gives: nine in ten."""

from __future__ import annotations

__all__ = ["LEVEL", "Z90"]

LEVEL = 0.9
"""How often an interval should hold the truth. The calibrations of the shipped weights were made for it."""

Z90 = 1.6448536269514722
"""Half the width of a normal distribution's interval of that level, in standard deviations."""
