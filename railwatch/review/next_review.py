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
taken at `_POINTS` equally probable values. It is the expected value of a perfect review with a loss of one a
rank.

Beside these, whatever the verdict, stand rakes whose boxes score low. What is wrong is wrong for a rake at a
time (a wall, a row of containers, a train in the shadow), so that their mean score is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.special import ndtri

from detector.wagons.rakes import rakes_of
from railwatch.history import RANK, PlaceHistory, Record, Verdict, VerdictSettings, from_observation
from railwatch.history import foremost as foremost_of
from railwatch.history.history import Gathered
from railwatch.history.judge import corrected, finished, judge, q_value
from railwatch.history.record import count_interval, errors_of
from railwatch.store.observation import Observation, current, iso
from railwatch.words import plural

if TYPE_CHECKING:
    import pandas as pd

    from railwatch.history.sources import Sources
    from railwatch.store.store import Store

__all__ = ["Proposal", "looked_for", "low_score_observations", "proposals", "reviewable"]

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
        reason: Why to look, in a sentence.
    """

    observation: Observation
    verdict: str
    own_change: float
    foremost_change: float
    outcomes: tuple[tuple[str, float], ...]
    reason: str

    @property
    def change(self) -> float:
        """Of both together."""
        return self.own_change + self.foremost_change

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        one = self.observation
        return {
            **_named(one),
            "count_low": one.count_low,
            "count_high": one.count_high,
            "verdict": self.verdict,
            "expected_change": round(self.change, 4),
            "expected_change_own": round(self.own_change, 4),
            "expected_change_foremost": round(self.foremost_change, 4),
            "outcomes": {word: round(share, 4) for word, share in self.outcomes},
            "reason": self.reason,
        }


def _named(one: Observation) -> dict[str, Any]:
    return {
        "id": one.id,
        "aoi": one.aoi,
        "datetime": iso(one.datetime),
        "file": one.provenance.get("file"),
        "count": one.count,
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
    known = Gathered.of(observations, published, chosen)
    paired = (*known.machine, *known.published)
    places: dict[str, PlaceHistory] = {}
    for aoi in sorted({one.aoi for one in known.records}):
        own = [one for one in known.records if one.aoi == aoi]
        places[aoi] = PlaceHistory(own, [one for one in paired if one.aoi == aoi], aoi, chosen)
    by_id = {one.id: one for one in known.observations}
    judged = sorted(known.own, key=lambda one: (one.when, one.aoi, one.id))
    drafts = [places[one.aoi].figures(one) for one in judged]
    verdicts = [
        finished(one, places[one.aoi].second_observation, chosen) for one in corrected(drafts, chosen)
    ]
    foremost = {aoi: foremost_of(one for one in verdicts if one.aoi == aoi) for aoi in places}
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
        if head is not None and head.verdict != "cannot say" and _bears(verdict.record, head, verdicts):
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
                reason=_reason(verdict, ordered, own_change, bearing, head),
            )
        )

    def first(proposal: Proposal) -> tuple[float, float, str]:
        one = proposal.observation
        return -proposal.change, (one.count_low or 0.0) - (one.count_high or 0.0), one.id

    found.sort(key=first)
    return found if limit is None else found[:limit]


def values_of(observation: Observation, points: int, settings: VerdictSettings) -> NDArray[np.float64]:
    """Return equally probable values of what a reviewer would count, (points,), ascending, whole cars.

    The two-piece normal distribution of the machine's interval, cut off at 0. What the scene doesn't show a
    reviewer doesn't see either.
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
        observation, method="reviewed", review_of=observation.id, count=value, count_low=low, count_high=high
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
    first = last = position
    while first and (record.day - drafts[first - 1].record.day).days < settings.family_days:
        first -= 1
    while last + 1 < len(drafts) and drafts[last + 1].record.day == record.day:
        last += 1
    others = [*drafts[first:position], *drafts[position + 1 : last + 1]]
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


def _reason(
    verdict: Verdict, outcomes: Sequence[tuple[str, float]], own: float, bearing: float, head: Verdict | None
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


MEAN_SCORE = 0.6
"""A rake whose boxes have a smaller mean score is doubtful: of five boxes two are expected to be wrong."""
LEAST_BOXES = 3
"""Fewer boxes are no rake."""


@dataclass(frozen=True)
class LowScoreRake:
    """A rake whose boxes have a low mean score.

    Attributes:
        boxes: How many boxes it has.
        mean_score: Their mean score.
        track: The track on which most of them stand, if they stand on one.
        lon: Of its middle, degrees.
        lat: Of its middle, degrees.
    """

    boxes: int
    mean_score: float
    track: str | None
    lon: float
    lat: float

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        digits = {"mean_score": 3, "lon": 6, "lat": 6}
        return asdict(self) | {name: round(getattr(self, name), number) for name, number in digits.items()}


@dataclass(frozen=True)
class LowScoreObservation:
    """A machine's observation with rakes of low scores, the longest first."""

    observation: Observation
    rakes: tuple[LowScoreRake, ...]

    @property
    def sentence(self) -> str:
        """What is doubtful, in words."""
        rake, more = self.rakes[0], len(self.rakes) - 1
        where = f" on track {rake.track}" if rake.track is not None else ""
        rest = "" if not more else f", and {more} more {'row' if more == 1 else 'rows'}"
        return (
            f"is doubtful whatever the verdict: {rake.boxes} boxes in a row{where} have a mean score of "
            f"{rake.mean_score:.2f} ({rake.lat:.5f}, {rake.lon:.5f}){rest}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return _named(self.observation) | {"doubtful_rakes": [rake.to_json() for rake in self.rakes]}


def reviewable(observations: Iterable[Observation]) -> list[Observation]:
    """Return the machine's counts that a person can check by eye and nobody has, oldest first."""
    told = current(observations, reviewed=True)
    return [one for one in told if one.method == "wagons" and one.count is not None]


def low_score_observations(
    sources: Sources, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[LowScoreObservation]:
    """Return the unreviewed observations of a store with rakes of low scores.

    Args:
        sources: The store's history.
        progress: Told of every observation.

    Returns:
        Those with the most such boxes first.

    Raises:
        StoreError: If boxes can't be read.
    """
    if sources.store is None:
        return []
    candidates = reviewable(sources.observations)
    found = []
    for number, one in enumerate(candidates):
        progress(number, len(candidates))
        if rakes := _low_score_rakes(sources.store, one):
            found.append(LowScoreObservation(one, tuple(rakes)))
    progress(len(candidates), len(candidates))
    return sorted(found, key=lambda one: (-sum(rake.boxes for rake in one.rakes), one.observation.id))


def looked_for(looked_at: int, changing: int, doubted: int) -> str:
    """Return what was looked for and found, in a sentence or two."""
    if not looked_at:
        return "No count is left to review. Images of 10 m can't be checked by eye."
    return (
        f"Of {plural(looked_at, 'count')} that nobody has reviewed, {changing or 'none'} "
        f"{'is' if changing < 2 else 'are'} expected to change a verdict when reviewed, and "
        f"{doubted or 'none'} of the others {'has' if doubted < 2 else 'have'} a row of {LEAST_BOXES} boxes "
        f"or more with a mean score under {MEAN_SCORE:g}. Images of 10 m can't be checked by eye."
    )


def _low_score_rakes(store: Store, observation: Observation) -> list[LowScoreRake]:
    """The rakes of an observation with a mean score under `MEAN_SCORE`, the longest first."""
    boxes = store.detections(observation.id)
    if boxes is None or boxes.crs is None or "counted" not in boxes:
        return []
    found = []
    for rake in rakes_of(boxes):
        rows = list(rake.rows)
        mean = float(boxes["score"].to_numpy(np.float64)[rows].mean())
        if rake.cars < LEAST_BOXES or mean >= MEAN_SCORE:
            continue
        middle = shapely.union_all(boxes.geometry.iloc[rows].to_crs("EPSG:4326").to_numpy()).centroid
        found.append(LowScoreRake(rake.cars, mean, rake.track or None, middle.x, middle.y))
    return sorted(found, key=lambda one: (-one.boxes, one.mean_score, one.lon))
