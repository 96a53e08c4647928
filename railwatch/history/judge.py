"""Judge the dates of one or many places against the history before each."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, cast

import numpy as np

from railwatch.history.combined import METHODS, Together, pooled
from railwatch.history.coverage import Coverage, coverage
from railwatch.history.history import Gathered
from railwatch.history.matchups import calibrate
from railwatch.history.posterior import ObservedCounts, Posterior, distributions_for
from railwatch.history.record import Record, most_precise, observations_of, stored_method
from railwatch.history.settings import VerdictSettings
from railwatch.history.verdict import (
    RANK,
    Verdict,
    Word,
    as_printed,
    basis_of,
    word_for,
)
from railwatch.history.words import sentence

if TYPE_CHECKING:
    import pandas as pd

    from railwatch.store.observation import Observation

_OPEN = {
    "at least": "a lower bound that isn't remarkable leaves open how many more there were",
    "at most": "an upper bound that isn't remarkable leaves open how many fewer there were",
}
_DAYS_A_YEAR = 365.25
_DAYS_A_MONTH = _DAYS_A_YEAR / 12.0


def compare(
    observations: Iterable[Observation] = (),
    published: pd.DataFrame | None = None,
    *,
    dates: Collection[date] | None = None,
    judge_published: bool = False,
    titles: Mapping[str, str] | None = None,
    settings: VerdictSettings | None = None,
) -> list[Verdict]:
    """Put observations against the history of their place.

    Args:
        observations: Observations of one or several areas, in any order. Reviewed ones stand in for what
            they correct; of several machine results for a scene the newest counts.
        published: Published rows of the same areas that compare with a whole-area count, as
            `seeds.comparable` gives them; they are history for the observations.
        dates: Days to return; all by default. The figures don't depend on it.
        judge_published: Return verdicts on the published counts too.
        titles: Names for people, by area name.
        settings: Window, thresholds and errors.

    Returns:
        One verdict an observation (and published count, if asked), oldest first.

    Example:
        >>> from datetime import date
        >>> from seeds import comparable
        >>> (verdict,) = compare(
        ...     published=comparable("tumangang"), judge_published=True, dates=[date(2023, 10, 5)]
        ... )
        >>> verdict.verdict, verdict.count
        ('unprecedented', 73.0)
    """
    chosen = settings or VerdictSettings()
    return verdicts_on(
        Gathered.of(observations, published, chosen),
        dates=dates,
        judge_published=judge_published,
        titles=titles,
        settings=chosen,
    )


def verdicts_on(
    gathered: Gathered,
    *,
    dates: Collection[date] | None = None,
    judge_published: bool = False,
    titles: Mapping[str, str] | None = None,
    settings: VerdictSettings,
) -> list[Verdict]:
    """Put what has been gathered of one or several areas against its history; see `compare`."""
    others = gathered.published
    candidates = [*gathered.own, *(record for record in others if record.clear and judge_published)]
    if dates is not None:
        # The family that a date is corrected with must be judged too, and no more.
        reach = sorted(dates)
        candidates = [one for one in candidates if _before(one.day, reach, settings.family_days)]
    verdicts = judge(
        [*gathered.own, *others],
        judged={record.id for record in candidates},
        paired=[*gathered.machine, *others],
        titles=titles,
        settings=settings,
    )
    return [one for one in verdicts if dates is None or one.record.day in dates]


def judge(
    records: Iterable[Record],
    *,
    judged: Collection[str] | None = None,
    paired: Iterable[Record] | None = None,
    titles: Mapping[str, str] | None = None,
    settings: VerdictSettings | None = None,
) -> list[Verdict]:
    """Judge records against the history of their place.

    Args:
        records: Records of one or several places, in any order.
        judged: Ids of those to judge; all but ceilings by default.
        paired: Records from which methods are calibrated against one another; the same by default.
        titles: Names for people, by place.
        settings: Window, thresholds and errors.

    Returns:
        One verdict a judged record, sorted by time, place and id.
    """
    chosen = settings or VerdictSettings()
    places: dict[str, list[Record]] = {}
    for record in records:
        places.setdefault(record.aoi, []).append(record)
    drafts: list[Verdict] = []
    seconds: dict[str, SecondObservation] = {}
    everything = None if paired is None else list(paired)
    for aoi, members in sorted(places.items()):
        pairs = members if everything is None else [record for record in everything if record.aoi == aoi]
        place = PlaceHistory(members, pairs, (titles or {}).get(aoi, aoi), chosen)
        for record in place.records:
            if record.kind == "ceiling" or (judged is not None and record.id not in judged):
                continue
            drafts.append(place.figures(record))
            seconds[record.id] = place.second_observation
    drafts.sort(key=lambda one: (one.record.when, one.record.aoi, one.record.id))
    verdicts = [finished(draft, seconds[draft.record.id], chosen) for draft in corrected(drafts, chosen)]
    labels = {one.record.id: one.label for one in verdicts}
    told = []
    for one in verdicts:
        if one.confirmation is not None:
            one = replace(one, confirmation_label=labels.get(one.confirmation.id, ""))
        told.append(replace(one, sentence=sentence(one)))
    return told


def _before(day: date, dates: Sequence[date], reach: int) -> bool:
    """Whether a day is one of some dates or fewer than so many days before one."""
    index = bisect_left(dates, day)
    return index < len(dates) and (dates[index] - day).days < reach


SecondObservation = Callable[[Record], Record | None]
"""Finds the observation that agrees with an unprecedented one, or None."""


@dataclass(frozen=True)
class _Window:
    """The history of one date: which observations, which ceilings, and what they amount to."""

    start: date
    end: date
    first: int
    last: int
    ceilings: tuple[tuple[Record, float], ...]
    ceiling_share: float
    coverage: Coverage
    maximum: Record | None


class PlaceHistory:
    """All records of one place, ready to judge any date against them.

    Attributes:
        title: Name of the place, for people.
        records: Its records, oldest first.
        calibrations: Lines between methods, by (method, reference).
    """

    def __init__(
        self,
        records: Iterable[Record],
        pairs: Iterable[Record],
        title: str,
        settings: VerdictSettings,
        window_step_days: int = 1,
    ) -> None:
        """Sorts the records and fits the calibrations.

        Args:
            records: What is known of the place.
            pairs: Records from which methods are calibrated against one another.
            title: Name of the place, for people.
            settings: Window, thresholds and errors.
            window_step_days: Move the window's ends in steps of so many days; more than 1 saves time in
                studies of long series.
        """
        self.title = title
        self.settings = settings
        self.step = window_step_days
        self.records = sorted(records, key=lambda record: (record.when, record.id))
        self.observations = observations_of(self.records)
        self.days = [observation[0].day for observation in self.observations]
        # Asked for again in the window of every date after it.
        self._points = [most_precise(observation) for observation in self.observations]
        self._bounded = [any(record.bounded for record in observation) for observation in self.observations]
        self.missing = sorted(
            {record.day for record in self.records if record.kind == "missing"} - set(self.days)
        )
        self.ceilings = [record for record in self.records if record.kind == "ceiling"]
        self.calibrations = calibrate(pairs, settings)
        self._tables: dict[str, ObservedCounts] = {}
        self._windows: dict[tuple[date, date], _Window] = {}
        self._fits: dict[tuple[str, int, int, tuple[tuple[str, float], ...]], Posterior] = {}
        highest = [record.value for record in self.records if record.value is not None]
        self._distributions = distributions_for(max(highest, default=0.0))

    def figures(self, record: Record, before: Sequence[Record] = ()) -> Verdict:
        """Return everything about a record but what depends on other dates: its word is still open.

        Args:
            record: Needn't be among those of the place.
            before: Images just before it, oldest first, that aren't among those of the place either.
        """
        window = self._window(record.day)
        basis = basis_of(
            window.coverage.n_effective, window.ceiling_share, window.coverage.observations, self.settings
        )
        draft = Verdict(
            record=record,
            title=self.title,
            verdict="cannot say",
            window=(window.start, window.end),
            coverage=window.coverage,
            ceilings=len(window.ceilings),
            ceiling_observations=sum(observations for _, observations in window.ceilings),
            basis=basis,
            maximum=window.maximum,
            recent=_maximum(_speaking(self.observations[window.last : bisect_left(self.days, record.day)])),
        )
        if record.kind == "missing":
            return replace(draft, reason=record.reason)
        if basis == "none":
            return replace(draft, reason=_too_short(window, self.settings))
        fit = self._fit(record.method, window)
        point = record.as_point()
        low, median, high = fit.quantiles(record.when.month, (0.05, 0.5, 0.95))
        surprise, margin = self.settings.surprise, self.settings.short_record_margin
        return replace(
            draft,
            probability_record=fit.record_probability(point, surprise),
            probability_record_margin=fit.record_probability(point, surprise, margin),
            # A bound says nothing about the side that it leaves open.
            probability_exceedance=1.0 if record.kind == "at most" else fit.exceedance(point),
            probability_exceedance_all=(
                1.0 if record.kind == "at most" else fit.exceedance(point, every_observation=True)
            ),
            probability_shortfall=1.0 if record.kind == "at least" else fit.shortfall(point),
            expected_low=low,
            expected_median=median,
            expected_high=high,
            season_weight=fit.season_weight,
            outliers=fit.outliers,
            together=self._together(record, window, before),
        )

    def _together(self, record: Record, window: _Window, before: Sequence[Record]) -> Together | None:
        """The last images of a build-up as one, the most remarkable number; None where there is but one."""
        settings = self.settings
        if record.method not in METHODS or not self._high(record, window):
            return None
        fit, run, surprise = self._fit(record.method, window), [record], settings.surprise
        found: list[Together] = []
        start = max(window.end + timedelta(days=1), record.day - timedelta(days=settings.together_days))
        first, last = bisect_left(self.days, start), bisect_left(self.days, record.day)
        observations = [
            *self.observations[first:last],
            *([one] for one in before if start <= one.day < record.day),
        ]
        for observation in reversed(observations):
            # What another method says of the same days must not speak against it.
            if len(run) == settings.together_images or not all(
                self._high(one, window) for one in observation
            ):
                break
            run = [*(one for one in observation if one.method == record.method), *run]
            if len(run) > 1:
                mean = pooled([one.as_point() for one in run], settings)
                found.append(
                    Together(
                        records=tuple(run),
                        mean=mean,
                        record=fit.record_probability(mean, surprise),
                        record_margin=fit.record_probability(mean, surprise, settings.short_record_margin),
                        exceedance=fit.exceedance(mean),
                    )
                )
        return min(found, key=lambda one: one.exceedance, default=None)

    def _high(self, record: Record, window: _Window) -> bool:
        """Whether an image by itself is higher than most that were to be expected."""
        if record.kind not in ("count", "range", "at least"):
            return False
        chance = self._fit(record.method, window).exceedance(record.as_point())
        return chance <= self.settings.together_exceedance

    def second_observation(self, record: Record) -> Record | None:
        """Return the observation that agrees that a record is above everything in its window, or None.

        That is the next clear observation, or another method's within a few days before or after.
        """
        settings = self.settings
        after = bisect_right(self.days, record.day)
        candidates: list[Record] = []
        if after < len(self.days) and (self.days[after] - record.day).days <= settings.confirm_days:
            candidates.extend(self.observations[after])
        near = timedelta(days=settings.other_method_days)
        for observation in self.observations[bisect_left(self.days, record.day - near) :]:
            if observation[0].day > record.day + near:
                break
            # One estimator on two instruments is no second opinion.
            candidates.extend(
                other for other in observation if stored_method(other.method) != stored_method(record.method)
            )
        return next((other for other in candidates if self.agrees(record, other)), None)

    def agrees(self, record: Record, other: Record) -> bool:
        """Return whether another observation, too, is likely above everything in a record's window."""
        if other.kind == "at most":
            return False
        fit = self._fit(other.method, self._window(record.day))
        chance = fit.record_probability(other.as_point(), self.settings.surprise)
        return chance >= self.settings.confirm_probability

    def _window(self, day: date) -> _Window:
        settings = self.settings
        end_ordinal = day.toordinal() - max(round(settings.gap_days), 1)
        end_ordinal -= end_ordinal % self.step
        end = date.fromordinal(end_ordinal)
        start = date.fromordinal(max(end_ordinal - round(settings.lookback_years * _DAYS_A_YEAR), 1))
        if settings.not_before is not None:
            start = min(max(start, settings.not_before), end)
        known = self._windows.get((start, end))
        if known is None:
            known = self._windows[start, end] = self._make_window(start, end)
        return known

    def _make_window(self, start: date, end: date) -> _Window:
        settings = self.settings
        first = bisect_left(self.days, start)
        last = bisect_right(self.days, end)
        ceilings, covered = [], 0
        for record in self.ceilings:
            overlap = (min(record.until.date(), end) - max(record.day, start)).days + 1
            if overlap > 0:
                assumed = overlap / _DAYS_A_MONTH * settings.ceiling_looks_per_month
                ceilings.append((record, max(assumed, 1.0)))
                covered = max(covered, overlap)
        chosen = [index for index in range(first, last) if self._bounded[index]]
        observations = [self.observations[index] for index in chosen]
        points = [self._points[index] for index in chosen]
        seen = coverage(
            [observation[0].day for observation in observations],
            np.array([np.nan if one is None else one.value for one in points], dtype=np.float64),
            np.array([np.nan if one is None else one.variance for one in points], dtype=np.float64),
            start=start,
            end=end,
            abstained=sum(start <= day <= end for day in self.missing),
            published=sum(
                all(record.method == "published" for record in observation if record.bounded)
                for observation in observations
            ),
            settings=settings,
        )
        return _Window(
            start=start,
            end=end,
            first=first,
            last=last,
            ceilings=tuple(ceilings),
            ceiling_share=covered / ((end - start).days + 1),
            coverage=seen,
            maximum=_maximum(
                [*_speaking(self.observations[first:last]), *(record for record, _ in ceilings)]
            ),
        )

    def _fit(self, method: str, window: _Window) -> Posterior:
        ceilings = tuple((record.id, observations) for record, observations in window.ceilings)
        key = (method, window.first, window.last, ceilings)
        if key not in self._fits:
            seen = window.coverage
            self._fits[key] = self._table(method).fit(
                window.first,
                window.last,
                [
                    (self._on_scale_of(method, record), observations)
                    for record, observations in window.ceilings
                ],
                seen.n_effective / seen.observations if seen.observations else 1.0,
                self.settings,
            )
        return self._fits[key]

    def _table(self, method: str) -> ObservedCounts:
        """The looks as the given method would have seen them."""
        if method not in self._tables:
            aligned = [
                [self._on_scale_of(method, record) for record in observation]
                for observation in self.observations
            ]
            self._tables[method] = ObservedCounts(aligned, self._distributions)
        return self._tables[method]

    def _on_scale_of(self, method: str, record: Record) -> Record:
        """A record on another method's scale: by the site's calibration, or with the bias unknown."""
        if record.method == method:
            return record
        line = self.calibrations.get((record.method, method))
        if line is not None:
            return line.apply(record)
        shares = (self.settings.method(name).bias_share for name in (record.method, method))
        return record.widened(math.hypot(*shares))


def _speaking(observations: Sequence[Sequence[Record]]) -> list[Record]:
    """The records that say how many there were at least."""
    return [record for observation in observations for record in observation if record.kind != "at most"]


def _maximum(records: Sequence[Record]) -> Record | None:
    # Of equal values a dated observation is the better witness; then the earlier one.
    known = [record for record in records if record.value is not None]
    return min(known, key=lambda one: (-one.cars, one.kind == "ceiling", one.when, one.id), default=None)


def _too_short(window: _Window, settings: VerdictSettings) -> str:
    seen = window.coverage
    if not seen.observations:
        return f"there is no clear image from {window.start} to {window.end}"
    if seen.observations == 1:
        return (
            f"there is only one clear image from {window.start} to {window.end}, and "
            f"{settings.min_looks:g} independent ones are needed"
        )
    worth = f"{as_printed(seen.n_effective):.1f}"
    return (
        f"the {seen.observations} clear images from {window.start} to {window.end} are worth "
        f"{worth} independent ones, and {settings.min_looks:g} are needed"
    )


def corrected(drafts: Sequence[Verdict], settings: VerdictSettings) -> list[Verdict]:
    """Return the drafts with false-discovery-corrected figures.

    The family of a date is all dates judged in the year that ends with it, over all places: so that a
    date's word doesn't change when later dates come in. Drafts must be sorted by time.
    """
    results = list(drafts)
    with_figures = [index for index, draft in enumerate(drafts) if draft.probability_exceedance is not None]
    days = [drafts[index].record.day.toordinal() for index in with_figures]
    upper = [cast(float, drafts[index].probability_exceedance) for index in with_figures]
    lower = [cast(float, drafts[index].probability_shortfall) for index in with_figures]
    for position, index in enumerate(with_figures):
        first = bisect_left(days, days[position] - settings.family_days + 1)
        # Of the same day too, whatever their order.
        last = bisect_left(days, days[position] + 1)
        together = drafts[index].together
        if together is not None:
            family = [*upper[first:position], together.exceedance, *upper[position + 1 : last]]
            together = replace(together, q_exceedance=q_value(family, position - first))
        results[index] = replace(
            drafts[index],
            together=together,
            q_exceedance=q_value(upper[first:last], position - first),
            q_shortfall=q_value(lower[first:last], position - first),
            family=last - first,
        )
    return results


def q_value(probabilities: Sequence[float], position: int) -> float:
    """Return one of some probabilities corrected for all of them (Benjamini and Hochberg 1995).

    That of `scipy.stats.false_discovery_control`, which corrects all of them where one is wanted.
    """
    ordered = np.sort(np.asarray(probabilities, dtype=np.float64))
    rank = int(np.searchsorted(ordered, probabilities[position]))
    higher = ordered[rank:] * ordered.size / np.arange(rank + 1, ordered.size + 1)
    return min(float(higher.min()), 1.0)


def finished(draft: Verdict, second_observation: SecondObservation, settings: VerdictSettings) -> Verdict:
    """Return the verdict with its word, the rule that gave it and, if `unprecedented`, what confirms it."""
    if draft.q_exceedance is None:
        return draft
    word = word_for(draft, settings)
    joint, together = _word_together(draft, settings), draft.together
    if together is not None and RANK[joint] >= RANK["elevated"] and RANK[joint] > RANK[word]:
        found = replace(draft, verdict=joint, rule="images together", alone=word)
        # The image before is part of what the word rests on.
        return _confirmed(found, together.records[-2]) if joint == "unprecedented" else found
    if word == "cannot say":
        return replace(draft, verdict=word, reason=_OPEN[draft.record.kind])
    if word != "unprecedented":
        return replace(draft, verdict=word)
    return _confirmed(replace(draft, verdict=word), second_observation(draft.record))


def _confirmed(verdict: Verdict, other: Record | None) -> Verdict:
    return replace(verdict, confirmed=other is not None, confirmation=other)


def _word_together(draft: Verdict, settings: VerdictSettings) -> Word:
    """The word of the images of a build-up as one; `cannot say` where there are none."""
    together = draft.together
    if together is None:
        return "cannot say"
    as_one = replace(
        draft,
        record=together.mean,
        probability_record=together.record,
        probability_record_margin=together.record_margin,
        probability_exceedance=together.exceedance,
        q_exceedance=together.q_exceedance,
        probability_shortfall=1.0,
        q_shortfall=1.0,
    )
    return word_for(as_one, settings)
