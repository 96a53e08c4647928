"""Several images of one build-up judged as one: their mean, with its smaller error, against the same history.

At 10 m one image of 70 cars errs by 20 and more, so that it may be no more than remarkable by itself; three
such images in a row are another matter. What is joined are images of one method within a month, each of them
high by itself; how much their errors have in common (the yard, its cars' colours) doesn't shrink with their
number. The study in ``docs/verdict-study.md`` counts the false alarms of this rule with those of single
images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from detector import Z90
from railwatch.history.record import OCCUPANCY, PLANETSCOPE_OCCUPANCY, Record
from railwatch.history.settings import VerdictSettings

__all__ = ["METHODS", "Together", "pooled"]

METHODS = (OCCUPANCY, PLANETSCOPE_OCCUPANCY)
"""Only images of one of these methods are joined: their errors are large and their dates near."""


@dataclass(frozen=True)
class Together:
    """The mean of a run of images that ends with the date judged, and what the history says to it.

    Attributes:
        records: The images, oldest first, the date's own last.
        mean: Their mean count as a record of the date, with the mean's error.
        record: Probability that the true count is above the window's true maximum.
        record_margin: That it is above it by the factor asked of a short record.
        exceedance: Probability that a mean of so many images is as high, if nothing has changed.
        q_exceedance: The same, corrected for the dates of its family; None until that is done.
    """

    records: tuple[Record, ...]
    mean: Record
    record: float
    record_margin: float
    exceedance: float
    q_exceedance: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values (days ISO, counts in cars)."""
        return {
            "ids": [one.id for one in self.records],
            "dates": [one.day.isoformat() for one in self.records],
            "counts": [one.value for one in self.records],
            "mean": _rounded(self.mean.value, 1),
            "mean_low": _rounded(self.mean.low, 1),
            "mean_high": _rounded(self.mean.high, 1),
            "probability_record": _rounded(self.record),
            "probability_record_margin": _rounded(self.record_margin),
            "probability_exceedance": _rounded(self.exceedance),
            "q_exceedance": _rounded(self.q_exceedance),
        }


def pooled(records: Sequence[Record], settings: VerdictSettings) -> Record:
    """Return the mean of some images as one record of the last one's date.

    Args:
        records: Counts with errors (see `Record.as_point`), oldest first.
        settings: Gives the share of the error variance that the images have in common.
    """
    common, number = settings.common_error_share, len(records)
    shrunk = math.sqrt(common + (1.0 - common) / number)

    def error(sds: Sequence[float]) -> float:
        return shrunk * math.sqrt(math.fsum(sd * sd for sd in sds) / number)

    value = math.fsum(one.value or 0.0 for one in records) / number
    below, above = error([one.sd_below for one in records]), error([one.sd_above for one in records])
    return replace(
        records[-1],
        kind="count",
        value=value,
        low=max(value - Z90 * below, 0.0),
        high=value + Z90 * above,
        sd_below=below,
        sd_above=above,
    )


def _rounded(value: float | None, digits: int = 6) -> float | None:
    return None if value is None else round(float(value), digits)
