"""A verdict: one observation against the history before it, the figures behind the word and the rule for it.

``docs/verdicts.md`` says the rule in plain language; change both together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal, cast

from railwatch.history.combined import Together
from railwatch.history.coverage import Coverage
from railwatch.history.record import Record, rounded, stored_method
from railwatch.history.settings import VerdictSettings

Word = Literal["unprecedented", "elevated", "typical", "low", "cannot say"]
Basis = Literal["counts", "published ceiling", "counts and published ceiling", "none"]
Rule = Literal["one image", "images together"]

FEW_IMAGES = 20
"""With fewer images behind a comparison a reader is told that they are few."""

RANK: dict[Word, int] = {"cannot say": -1, "low": 0, "typical": 1, "elevated": 2, "unprecedented": 3}
"""The words in order of how high a count they speak of."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One observation against the history of its place.

    Attributes:
        record: What is judged.
        title: Name of the place, for people.
        verdict: The word, from the rule in ``docs/verdicts.md``.
        window: First and last day of the history used.
        coverage: What the observations of the window cover.
        ceilings: Published ceilings used.
        ceiling_observations: Observations assumed behind them inside the window, since publishers don't say.
        basis: What the verdict rests on.
        maximum: The highest of the window, or None when it holds nothing.
        recent: The highest since the window's end, before the date; not part of the history.
        probability_record: That the true count is above the window's true maximum.
        probability_record_margin: That it is above it by the factor asked of a short record.
        probability_exceedance: That one more observation of this kind gives such a count or a higher one.
        probability_exceedance_all: The same with past anomalies at full weight.
        probability_shortfall: That it gives such a count or a lower one.
        q_exceedance: Exceedance corrected for the dates of its family (Benjamini-Hochberg).
        q_shortfall: The same for the shortfall.
        family: Dates in that family.
        expected_low: 5% quantile of the true count expected on the date.
        expected_median: Its median.
        expected_high: 95% quantile.
        season_weight: Posterior probability that the place has a season (0-1).
        outliers: Past observations that were down-weighted.
        together: The date with the images just before it as one, where each of them is high by itself.
        rule: Which rule gave the word: the date's own image, or the images together, where these say more.
        alone: What the date's own image says by itself, where the images together gave the word.
        confirmed: For `unprecedented`, whether a second observation agrees; else None.
        confirmation: The record that agrees.
        confirmation_label: What the verdict on that record is, if it was judged.
        reason: Why the word is `cannot say`, if it is.
        sentence: One plain sentence that an analyst can quote; `railwatch.history.words` writes it.
    """

    record: Record
    title: str
    verdict: Word
    window: tuple[date, date]
    coverage: Coverage
    ceilings: int
    ceiling_observations: float
    basis: Basis
    maximum: Record | None
    recent: Record | None = None
    probability_record: float | None = None
    probability_record_margin: float | None = None
    probability_exceedance: float | None = None
    probability_exceedance_all: float | None = None
    probability_shortfall: float | None = None
    q_exceedance: float | None = None
    q_shortfall: float | None = None
    family: int = 0
    expected_low: float | None = None
    expected_median: float | None = None
    expected_high: float | None = None
    season_weight: float | None = None
    outliers: int = 0
    together: Together | None = None
    rule: Rule = "one image"
    alone: Word | None = None
    confirmed: bool | None = None
    confirmation: Record | None = None
    confirmation_label: str = ""
    reason: str | None = None
    sentence: str = ""

    @property
    def aoi(self) -> str:
        """Name of the area."""
        return self.record.aoi

    @property
    def datetime(self) -> datetime:
        """Time of what is judged, UTC."""
        return self.record.when

    @property
    def count(self) -> float | None:
        """The count judged, or None."""
        return self.record.value

    @property
    def ratio_to_max(self) -> float | None:
        """The count as a multiple of the window's maximum; None where there is none or it is 0."""
        if self.count is None or self.maximum is None or self.maximum.cars <= 0:
            return None
        return self.count / self.maximum.cars

    @property
    def joint(self) -> Together | None:
        """The images together, where they gave the word."""
        return self.together if self.rule == "images together" else None

    @property
    def label(self) -> str:
        """The word, with ``(unconfirmed)`` where a second observation is wanted."""
        return f"{self.verdict} (unconfirmed)" if self.confirmed is False else self.verdict

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as plain JSON values (times ISO 8601 with Z, days ISO, counts in cars)."""
        record, coverage, maximum, other = self.record, self.coverage, self.maximum, self.confirmation
        return {
            "datetime": _iso(record.when),
            "aoi": record.aoi,
            "id": record.id,
            "scene": record.scene,
            "source": record.source,
            "method": stored_method(record.method),
            "kind": record.kind,
            "verdict": self.verdict,
            "rule": self.rule,
            "alone": self.alone,
            "together": None if self.together is None else self.together.to_json(),
            "confirmed": self.confirmed,
            "confirmed_by": None if other is None else other.id,
            "confirmed_on": None if other is None else other.day.isoformat(),
            "confirmed_count": None if other is None else other.value,
            "confirmed_verdict": self.confirmation_label or None,
            "caveats": list(self.record.caveats),
            "reason": self.reason,
            "sentence": self.sentence,
            "basis": self.basis,
            "count": record.value,
            "count_low": record.low,
            "count_high": record.high,
            "lower_bound": record.kind == "at least",
            "occupied_length_m": record.length_m,
            "occupied_length_low_m": record.length_low_m,
            "occupied_length_high_m": record.length_high_m,
            "history_max": None if maximum is None else maximum.value,
            "history_max_kind": None if maximum is None else maximum.kind,
            "history_max_date": None if maximum is None else maximum.day.isoformat(),
            "history_max_source": None if maximum is None else maximum.source,
            "history_max_length_m": None if maximum is None else maximum.length_m,
            "recent_max": None if self.recent is None else self.recent.value,
            "recent_max_date": None if self.recent is None else self.recent.day.isoformat(),
            "history_n": coverage.observations,
            "history_published": coverage.published,
            "history_first": None if coverage.first is None else coverage.first.isoformat(),
            "history_ceilings": self.ceilings,
            "ceiling_looks_assumed": rounded(self.ceiling_observations, 1),
            "n_effective": rounded(coverage.n_effective, 1),
            "ratio_to_max": rounded(self.ratio_to_max, 4),
            "probability_record": rounded(self.probability_record),
            "probability_record_margin": rounded(self.probability_record_margin),
            "probability_exceedance": rounded(self.probability_exceedance),
            "probability_exceedance_all": rounded(self.probability_exceedance_all),
            "probability_shortfall": rounded(self.probability_shortfall),
            "q_exceedance": rounded(self.q_exceedance),
            "q_shortfall": rounded(self.q_shortfall),
            "family": self.family,
            "expected_low": self.expected_low,
            "expected_median": self.expected_median,
            "expected_high": self.expected_high,
            "season_weight": rounded(self.season_weight, 3),
            "outliers_down_weighted": self.outliers,
            "window": {"start": self.window[0].isoformat(), "end": self.window[1].isoformat()},
            "coverage": {
                "looks": coverage.observations,
                "n_effective": rounded(coverage.n_effective, 1),
                "record_chance": rounded(coverage.record_chance, 4),
                "dwell_days": rounded(coverage.dwell_days, 2),
                "longest_gap_days": coverage.longest_gap_days,
                "months_never_seen": list(coverage.months_never_seen),
                "abstained": coverage.abstained,
            },
        }


def foremost(verdicts: Iterable[Verdict], day: date | None = None) -> Verdict | None:
    """Return the verdict that a page or a chart opens with.

    The foremost date that stands out, else the latest that was judged. Our own observations go first;
    published counts open a page without any. Of several that stand out equally, one that a second image
    confirms goes first, then the highest.

    Args:
        verdicts: Of one place, in any order.
        day: The day that it must be about, if a reader asks for one.

    Returns:
        None if there is none (of that day).
    """
    judged = [one for one in verdicts if day is None or one.record.day == day]
    judged = [one for one in judged if one.record.method != "published"] or judged
    notable = [one for one in judged if RANK[one.verdict] >= RANK["elevated"]]
    if notable:
        return max(
            notable,
            key=lambda one: (RANK[one.verdict], one.confirmed is True, one.count or 0.0, one.record.when),
        )
    said = [one for one in judged if RANK[one.verdict] >= RANK["low"]]
    counted = [one for one in judged if one.record.clear]
    return max(said or counted or judged, key=lambda one: one.record.when, default=None)


def _iso(when: datetime) -> str:
    return when.isoformat().replace("+00:00", "Z")


def basis_of(n_effective: float, ceiling_share: float, observations: int, settings: VerdictSettings) -> Basis:
    """Return what a verdict may rest on.

    Args:
        n_effective: Effective clear observations of the window.
        ceiling_share: Share (0-1) of the window that published ceilings cover.
        observations: Clear observations of the window.
        settings: The least that is asked.
    """
    if as_printed(n_effective) >= settings.min_looks:
        return "counts and published ceiling" if ceiling_share > 0 else "counts"
    if ceiling_share >= settings.ceiling_share:
        return "counts and published ceiling" if observations else "published ceiling"
    return "none"


def as_printed(n_effective: float) -> float:
    """Return an effective sample size to one decimal, as it is printed and compared with what is asked.

    So that no page says "worth 5.0 of the 5 that are needed, and too few".
    """
    return round(n_effective, 1)


def word_for(draft: Verdict, settings: VerdictSettings) -> Word:
    """Return the word for a date from its figures, those corrected for the dates of its family included.

    A higher count never lowers the word: every figure moves one way with the count, and what doesn't
    depend on the count (the basis, the length of the record) decides only how much is asked.
    """
    if draft.basis == "none":
        return "cannot say"
    long_record = as_printed(draft.coverage.n_effective) >= settings.full_looks
    record = draft.probability_record if long_record else draft.probability_record_margin
    figures = (record, draft.probability_exceedance, draft.q_exceedance)
    record, exceedance, q_exceedance = (cast(float, figure) for figure in figures)
    if (
        record >= settings.record_probability
        and exceedance <= settings.exceedance
        and q_exceedance <= settings.false_discovery_rate
    ):
        return "unprecedented"
    if exceedance <= settings.elevated_exceedance and q_exceedance <= settings.elevated_false_discovery_rate:
        return "elevated"
    if (
        draft.basis != "published ceiling"
        and cast(float, draft.probability_shortfall) <= settings.elevated_exceedance
        and cast(float, draft.q_shortfall) <= settings.elevated_false_discovery_rate
    ):
        return "low"
    # A bound that isn't remarkable leaves open how much more, or less, there was.
    return "typical" if draft.record.kind in ("count", "range") else "cannot say"
