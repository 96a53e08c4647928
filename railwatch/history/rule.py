"""From figures to a word. ``docs/verdicts.md`` says the same in plain language; change both together."""

from __future__ import annotations

from dataclasses import dataclass

from railwatch.history.settings import VerdictSettings
from railwatch.history.verdict import Basis, Word


@dataclass(frozen=True)
class Figures:
    """What the rule looks at.

    Attributes:
        kind: Kind of the record judged (``count``, ``range``, ``at least``, ``at most``).
        basis: What the history rests on; ``none`` when it is too short for a verdict.
        n_effective: Effective clear observations of the window.
        record: Probability that the true count is above the window's true maximum.
        record_margin: Probability that it is above it by the factor asked of a short record.
        exceedance: Probability of such a count or a higher one under the past's distribution; 1 for ``at
            most``.
        q_exceedance: The same, corrected for the family of dates.
        shortfall: Probability of such a count or a lower one; 1 for ``at least``.
        q_shortfall: The same, corrected.
    """

    kind: str
    basis: Basis
    n_effective: float
    record: float
    record_margin: float
    exceedance: float
    q_exceedance: float
    shortfall: float
    q_shortfall: float


def basis_of(n_effective: float, ceiling_share: float, observations: int, settings: VerdictSettings) -> Basis:
    """Return what a verdict may rest on.

    Args:
        n_effective: Effective clear observations of the window.
        ceiling_share: Share (0-1) of the window that published ceilings cover.
        observations: Clear observations of the window.
        settings: The least that is asked.
    """
    enough = as_printed(n_effective) >= settings.min_looks
    ceiling = ceiling_share >= settings.ceiling_share
    if enough:
        return "counts and published ceiling" if ceiling_share > 0 else "counts"
    if ceiling:
        return "counts and published ceiling" if observations else "published ceiling"
    return "none"


def as_printed(n_effective: float) -> float:
    """Return an effective sample size to one decimal, as it is printed and compared with what is asked.

    So that no page says "worth 5.0 of the 5 that are needed, and too few".
    """
    return round(n_effective, 1)


def word_for(figures: Figures, settings: VerdictSettings) -> Word:
    """Return the word for a date.

    A higher count never lowers the word: every figure moves one way with the count, and what doesn't
    depend on the count (the basis, the length of the record) decides only how much is asked.
    """
    if figures.basis == "none":
        return "cannot say"
    long_record = as_printed(figures.n_effective) >= settings.full_looks
    record = figures.record if long_record else figures.record_margin
    if (
        record >= settings.record_probability
        and figures.exceedance <= settings.exceedance
        and figures.q_exceedance <= settings.false_discovery_rate
    ):
        return "unprecedented"
    if (
        figures.exceedance <= settings.elevated_exceedance
        and figures.q_exceedance <= settings.elevated_false_discovery_rate
    ):
        return "elevated"
    if (
        figures.basis != "published ceiling"
        and figures.shortfall <= settings.elevated_exceedance
        and figures.q_shortfall <= settings.elevated_false_discovery_rate
    ):
        return "low"
    # A bound that isn't remarkable leaves open how much more, or less, there was.
    return "typical" if figures.kind in ("count", "range") else "cannot say"
