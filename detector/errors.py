"""Errors about weights, labels and images that a detector can't take."""

from __future__ import annotations

from aoi.errors import InputError


class WeightsError(InputError):
    """A weights file that is missing, damaged or not ours."""


class ResolutionError(InputError):
    """An image too coarse or too fine for the detector."""


class LabelError(InputError):
    """Labels that can't be read or don't fit their image."""
