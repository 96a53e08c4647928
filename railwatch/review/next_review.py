"""Where a review by eye would change the verdicts most.

For each machine count that nobody has reviewed, let w be the rank of its verdict (low 0, typical 1,
elevated 2, unprecedented 3; cannot say counts as typical, which neither raises nor calms). If a reviewer
looked, the count would be some N. How probable each N is, the machine's own interval says: a normal
distribution with a scale for either side, cut off at 0. So

    own change  =  sum over N of  P(N) |rank(verdict on N) - rank(verdict now)|

with the verdict on N made as for a reviewed count of N, all else equal. A past count also bears on what
comes after it: the foremost verdict (the one that the report opens with) is judged against a window whose
highest observations matter most, so for the few highest of that window

    change of the foremost verdict  =  sum over N of  P(N) |rank(foremost with N in its history) - rank(now)|

is added. The sum is the expected change in ranks; ties go to the wider interval. The distribution of N is
taken at
`_POINTS` equally probable values. It is the expected value of a perfect review with a loss of one a rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from railwatch.history import RANK, PlaceHistory, Record, Verdict, VerdictSettings, from_observation
from railwatch.history import foremost as foremost_of
from railwatch.history.judge import corrected, finished, judge, q_value
from railwatch.history.published import published_records
from railwatch.history.record import errors_of
from railwatch.review.find import preferred
from railwatch.review.interval import count_interval
from railwatch.store.observation import Observation, current, iso

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Proposal", "proposals"]

_POINTS = 20
_BEARING = 3
"""So many of the highest observations in the window of the foremost verdict are tried, at fewer values."""
_BEARING_POINTS = 5
_LEAST = 0.005


@dataclass(frozen=True)
class Proposal:
    """A scene to look at by eye.

    Attributes:
        observation: The machine's observation.
        verdict: The word for it now.
        own_change: Expected change of its own verdict, in ranks.
        foremost_change: Expected change of the foremost verdict, in ranks.
        outcomes: The words that a review could lead to, with their probabilities, most probable first.
        foremost: The verdict that the second figure is about, if it isn't 0.
        reason: Why to look, in a sentence.
    """

    observation: Observation
    verdict: str
    own_change: float
    foremost_change: float
    outcomes: tuple[tuple[str, float], ...]
    foremost: Verdict | None
    reason: str

    @property
    def change(self) -> float:
        """Expected change in ranks, both together."""
        return self.own_change + self.foremost_change

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        one = self.observation
        return {
            "id": one.id,
            "aoi": one.aoi,
            "datetime": iso(one.datetime),
            "file": one.provenance.get("file"),
            "count": one.count,
            "count_low": one.count_low,
            "count_high": one.count_high,
            "verdict": self.verdict,
            "expected_change": round(self.change, 4),
            "expected_change_own": round(self.own_change, 4),
            "expected_change_foremost": round(self.foremost_change, 4),
            "outcomes": {word: round(share, 4) for word, share in self.outcomes},
            "reason": self.reason,
        }


def proposals(
    observations: Sequence[Observation],
    published: pd.DataFrame | None = None,
    settings: VerdictSettings | None = None,
    *,
    limit: int | None = 10,
) -> list[Proposal]:
    """Rank the unreviewed scenes by what a review would change.

    Args:
        observations: Of one or several areas.
        published: Their published rows, as `seeds.comparable` gives them.
        settings: What the verdicts are made with.
        limit: At most so many.

    Returns:
        The scenes where a review is expected to change something, most first.
    """
    chosen = settings or VerdictSettings()
    told = preferred(observations)
    records = [from_observation(one, chosen) for one in told]
    others = [] if published is None else published_records(published, chosen)
    records += others
    # As for the verdicts: a machine's count and its reviewed one are pairs to calibrate with.
    paired = [*(from_observation(one, chosen) for one in current(observations)), *others]
    places: dict[str, PlaceHistory] = {}
    for aoi in sorted({one.aoi for one in records}):
        own = [one for one in records if one.aoi == aoi]
        places[aoi] = PlaceHistory(own, [one for one in paired if one.aoi == aoi], aoi, chosen, 1)
    by_id = {one.id: one for one in told}
    judged = sorted((one for one in records if one.id in by_id), key=lambda one: (one.when, one.aoi, one.id))
    drafts = [places[one.aoi].figures(one) for one in judged]
    verdicts = [
        finished(one, places[one.aoi].second_observation, chosen) for one in corrected(drafts, chosen)
    ]
    foremost = {aoi: _said(foremost_of(one for one in verdicts if one.aoi == aoi)) for aoi in places}
    found = []
    for position, verdict in enumerate(verdicts):
        observation = by_id[verdict.record.id]
        # At 10 m there is nothing that a person could count by eye.
        if observation.method in ("reviewed", "occupancy") or verdict.count is None:
            continue
        outcomes = _outcomes(observation, position, drafts, places[verdict.aoi], chosen)
        own_change = sum(
            share * abs(_rank(word) - _rank(verdict.verdict)) for word, share in outcomes.items()
        )
        head = foremost[verdict.aoi]
        bearing = 0.0
        if head is not None and _bears(verdict.record, head, verdicts):
            bearing = _bearing(observation, verdict.record, head, places[verdict.aoi], chosen)
        if own_change + bearing < _LEAST:
            continue
        ordered = tuple(sorted(outcomes.items(), key=lambda item: (-item[1], item[0])))
        found.append(
            Proposal(
                observation=observation,
                verdict=verdict.label,
                own_change=own_change,
                foremost_change=bearing,
                outcomes=ordered,
                foremost=head if bearing > 0 else None,
                reason=_reason(verdict, ordered, own_change, bearing, head),
            )
        )
    found.sort(key=lambda one: (-one.change, -_width(one.observation), one.observation.id))
    return found if limit is None else found[:limit]


def values_of(observation: Observation, points: int, settings: VerdictSettings) -> NDArray[np.float64]:
    """Return equally probable values of what a reviewer would count, given the machine's count.

    The two-piece normal distribution of the machine's interval, cut off at 0, at the middles of ``points``
    equal shares; ``(points,)``, ascending, whole cars. What the scene doesn't show a reviewer doesn't see
    either.
    """
    value = observation.count or 0.0
    error = settings.method(observation.method)
    below, above = errors_of(value, observation.count_low, observation.count_high, error)
    left = below / (below + above)
    share = (np.arange(points) + 0.5) / points
    lower = below * ndtri(np.clip(share / (2 * left), 1e-12, 0.5))
    upper = above * ndtri(np.clip(0.5 + (share - left) / (2 * (1 - left)), 0.5, 1 - 1e-12))
    values = np.maximum(np.rint(value + np.where(share < left, lower, upper)), 0.0)
    return np.asarray(values, np.float64)


def as_reviewed(observation: Observation, value: float, settings: VerdictSettings) -> Record:
    """Return the record that a reviewer's count of a scene would be."""
    low, high = count_interval(value)
    review = replace(
        observation,
        method="reviewed",
        review_of=observation.id,
        count=value,
        count_low=low,
        count_high=high,
    )
    return from_observation(review, settings)


def _outcomes(
    observation: Observation,
    position: int,
    drafts: Sequence[Verdict],
    place: PlaceHistory,
    settings: VerdictSettings,
) -> dict[str, float]:
    """The words that a look at one date could lead to, with their probabilities."""
    record = drafts[position].record
    # The correction for many dates looks at no later one, and back no further than a year.
    first = position
    while first and (record.day - drafts[first - 1].record.day).days < settings.family_days:
        first -= 1
    last = position
    while last + 1 < len(drafts) and drafts[last + 1].record.day == record.day:
        last += 1
    others = [one for one in drafts[first : last + 1] if one is not drafts[position]]
    upper = [one.probability_exceedance for one in others if one.probability_exceedance is not None]
    lower = [one.probability_shortfall for one in others if one.probability_shortfall is not None]
    outcomes: dict[str, float] = {}
    values, counts = np.unique(values_of(observation, _POINTS, settings), return_counts=True)
    for value, count in zip(values, counts, strict=True):
        draft = place.figures(as_reviewed(observation, float(value), settings))
        if draft.probability_exceedance is not None and draft.probability_shortfall is not None:
            draft = replace(
                draft,
                q_exceedance=q_value([draft.probability_exceedance, *upper], 0),
                q_shortfall=q_value([draft.probability_shortfall, *lower], 0),
            )
        word = finished(draft, place.second_observation, settings).verdict
        outcomes[word] = outcomes.get(word, 0.0) + float(count) / _POINTS
    return outcomes


def _said(verdict: Verdict | None) -> Verdict | None:
    return None if verdict is None or verdict.verdict == "cannot say" else verdict


def _bears(record: Record, head: Verdict, verdicts: Sequence[Verdict]) -> bool:
    """Whether an observation is among the highest in the window of the foremost verdict."""
    start, end = head.window
    inside = [
        one.record
        for one in verdicts
        if one.aoi == head.aoi and one.count is not None and start <= one.record.day <= end
    ]
    highest = sorted(inside, key=lambda one: (-((one.value or 0.0) + one.sd_above), one.id))[:_BEARING]
    return any(one.id == record.id for one in highest)


def _bearing(
    observation: Observation, record: Record, head: Verdict, place: PlaceHistory, settings: VerdictSettings
) -> float:
    """Expected change of the foremost verdict if one observation of its history were reviewed."""
    others = [one for one in place.records if one.id != record.id]

    def word(one: Record) -> str:
        return judge([*others, one], judged={head.record.id}, settings=settings)[0].verdict

    now = _rank(word(record))
    values = values_of(observation, _BEARING_POINTS, settings)
    return sum(
        abs(_rank(word(as_reviewed(observation, float(value), settings))) - now) for value in values
    ) / len(values)


def _rank(word: str) -> int:
    return RANK["typical"] if word == "cannot say" else RANK[word]  # type: ignore[index]


def _width(observation: Observation) -> float:
    if observation.count_low is None or observation.count_high is None:
        return 0.0
    return observation.count_high - observation.count_low


def _reason(
    verdict: Verdict,
    outcomes: Sequence[tuple[str, float]],
    own: float,
    bearing: float,
    head: Verdict | None,
) -> str:
    others = [f"{word} {share:.0%}" for word, share in outcomes if word != verdict.verdict]
    said = []
    if own >= _LEAST and others:
        said.append(f"is {verdict.verdict}, and a review could make it {' or '.join(others)}")
    if bearing >= _LEAST and head is not None:
        said.append(
            f"is among the highest before {head.record.day}, whose verdict ({head.verdict}) rests on it"
        )
    return "; ".join(said)
