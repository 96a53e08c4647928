"""Track centre lines out of evidence.

Wagons give a line exactly where they stood; a map of likelihood fills in where a track was empty. Both are
heaped on one grid, the ridges in it are followed, and what was followed is smoothed, drawn to the wagons on
it, held against the evidence metre by metre, cut where there is none, and joined over gaps that the map
bridges. A line in the wrong place is worse than a missing one: in doubt a stretch is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from geo.tracks.evidence import Evidence, heap
from geo.tracks.polylines import angles, axis_difference, beside, normals, resampled, runs, smoothed, stations
from geo.tracks.ridges import Ridges, find_ridges, trace

Float = NDArray[np.float64]

# Shorter scraps than this aren't worth carrying on.
_SCRAP_M = 12
# How strongly a sure wagon draws a line to its middle, against 1 of an ideal ridge.
_WAGON_PULL = 1.5
# The bend of a line is measured over this many metres.
_BEND_M = 20
# A line's end is judged by its last stretch of this many metres.
_END_M = 30


@dataclass(frozen=True)
class FitRules:
    """When a line is believed.

    Attributes:
        ridge: weakest ridge that is followed; an ideal line answers with 1.
        seed: weakest ridge that begins a line.
        score: from which a sighting counts as one.
        bare_ridge: weakest ridge that holds a stretch of a line without wagons.
        bare_line: mean ridge of a line without enough wagons, below which it isn't believed: the rim of a
            surface that is track all over is a weak ridge, and no line.
        likelihood: of the map, below which a stretch without wagons is no track.
        bare_likelihood: mean of the map along a line without enough wagons, below which it isn't believed.
        doubtful_likelihood: the same for a line with wagons; one wagon where the map says less than this
            counts for less.
        dominance: share of the strongest ridge on the same spot, whatever its direction, below which a ridge
            is dropped.
        shortest_m: shortest line without wagons.
        shortest_rake_m: shortest line with wagons.
        rake: how many wagons that takes.
        gap_m: longest stretch without evidence inside a line.
        bridge_m: longest one if the map shows track there.
        blind_bridge_m: longest one if there is no map.
        beside_m: how far beside a line the wagons on it may be.
        turned_deg: how far they may be turned against it.
        tightest_m: radius below which a line is no track.
        spacing_m: tracks that run along each other are nowhere nearer than this.
        many_observations: number of observations from which on one of them alone doesn't make a line.
        group_m: length of the longest line of a group of neighbours, below which none of them is believed:
            rows of parked lorries are short, a railway goes on.
        group_likelihood: mean of the map along a group, below which none of its lines is believed.
        group_reach_m: how far apart neighbours are.
        sure_likelihood: mean of the map along a group that is believed however short.
    """

    ridge: float = 0.12
    seed: float = 0.35
    score: float = 0.3
    bare_ridge: float = 0.25
    bare_line: float = 0.45
    likelihood: float = 0.35
    bare_likelihood: float = 0.5
    doubtful_likelihood: float = 0.2
    dominance: float = 0.5
    shortest_m: float = 40.0
    shortest_rake_m: float = 30.0
    rake: int = 4
    gap_m: float = 14.0
    bridge_m: float = 90.0
    blind_bridge_m: float = 40.0
    beside_m: float = 1.6
    turned_deg: float = 6.0
    tightest_m: float = 130.0
    spacing_m: float = 2.6
    many_observations: int = 4
    group_m: float = 150.0
    group_likelihood: float = 0.45
    group_reach_m: float = 30.0
    sure_likelihood: float = 0.75


@dataclass(frozen=True)
class CentreLine:
    """One line with what speaks for it.

    Attributes:
        xy: (N, 2) in the grid's frame, metres, a point a metre.
        sightings: wagons on it.
        observations: images or observations that saw wagons on it, ascending.
        occupied_share: share of its length where a wagon stood at any time.
        bridged_share: share of its length that was drawn across a gap.
        likelihood: mean of the map along it, or None without a map.
        scatter_m: standard deviation of the wagons' middles across it, or None with fewer than 3.
        uncertainty_m: within which the track lies, nine times in ten.
    """

    xy: Float
    sightings: int
    observations: tuple[int, ...]
    occupied_share: float
    bridged_share: float
    likelihood: float | None
    scatter_m: float | None
    uncertainty_m: float

    @property
    def length_m(self) -> float:
        """Along the line."""
        return float(stations(self.xy)[-1])


class _Draft(NamedTuple):
    """A line in the making: a point a metre, and the strength of the ridge there (0 in a gap)."""

    xy: Float
    ridge: Float

    @property
    def shape(self) -> shapely.LineString:
        return shapely.LineString(self.xy)

    def cut(self, first: int, last: int) -> _Draft:
        return _Draft(self.xy[first:last], self.ridge[first:last])


def fit_centre_lines(evidence: Evidence, rules: FitRules | None = None) -> list[CentreLine]:
    """Fit the centre lines of all tracks that the evidence shows.

    Returns:
        The lines, the longest first.
    """
    return _CentreLineFit(evidence, rules or FitRules()).lines()


class _CentreLineFit:
    """The evidence in the forms that the steps need, and the steps."""

    def __init__(self, evidence: Evidence, rules: FitRules):
        self.rules, self.grid = rules, evidence.grid
        self.map, self.seen = evidence.likelihood, evidence.seen
        self.sightings, self.observations = evidence.sightings, len(evidence.moved_m)
        if self.map is not None:
            # what stands where nothing looks like track is no wagon
            trust = np.clip(self._likelihood(self.sightings.xy) / rules.doubtful_likelihood, 0.0, 1.0)
            self.sightings = self.sightings._replace(score=self.sightings.score * trust)
        wagons = np.log1p(heap(self.sightings, self.grid)) / math.log(2.0)
        self.heap = wagons if self.map is None else wagons + self.map

    def lines(self) -> list[CentreLine]:
        """All steps."""
        ridges = self._dominant(self._seen(find_ridges(self.heap, self.grid.cell_m, self.rules.ridge)))
        traces = trace(ridges, self.rules.seed, self.rules.gap_m)
        followed = (_draft(one.xy, one.strength) for one in traces if stations(one.xy)[-1] >= _SCRAP_M)
        held = [part for one in followed for part in self._held(self._drawn(one))]
        drafts = self._joined(self._apart(held))
        found = [line for one in drafts if (line := self._weighed(self._drawn(one))) is not None]
        return sorted(self._grouped(found), key=lambda one: (-one.length_m, *one.xy[0]))

    def _likelihood(self, xy: Float) -> Float:
        """The map at places in the frame."""
        assert self.map is not None
        at = (xy / self.grid.cell_m - 0.5).T[::-1]
        return np.asarray(ndimage.map_coordinates(self.map, at, order=1, mode="nearest"))

    # -- ridges ------------------------------------------------------------------------------------

    def _cells(self, ridges: Ridges) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        cell = np.floor(ridges.xy / self.grid.cell_m).astype(np.int64)
        rows, columns = self.grid.shape
        return np.clip(cell[:, 1], 0, rows - 1), np.clip(cell[:, 0], 0, columns - 1)

    def _seen(self, ridges: Ridges) -> Ridges:
        """Those where something was seen: the evidence beyond is made up."""
        return ridges if self.seen is None else ridges.take(self.seen[self._cells(ridges)])

    def _dominant(self, ridges: Ridges) -> Ridges:
        """Without those far weaker than what another direction shows on the same spot.

        Wagons on parallel tracks also line up aslant, like the vines of a vineyard.
        """
        best = np.zeros(self.grid.shape)
        cells = self._cells(ridges)
        np.maximum.at(best, cells, ridges.strength)
        best = ndimage.maximum_filter(best, size=3)
        return ridges.take(ridges.strength >= self.rules.dominance * best[cells])

    # -- one line ----------------------------------------------------------------------------------

    def _drawn(self, draft: _Draft) -> _Draft:
        """A line smoothed, and drawn to the wagons on it."""
        xy, ridge = draft
        now = smoothed(xy, ridge)
        for _ in range(2):
            pull, pulled = self._pull(now, self._on(now))
            normal = normals(now)
            # across the line its own points and the wagons count; along it nothing moves
            aside = np.sum((xy - now) * normal, axis=1)
            mixed = (aside * ridge + pull) / np.maximum(ridge + pulled, 1e-6)
            now = smoothed(now + normal * mixed[:, None], ridge + pulled)
        return _draft(now, ridge)

    def _on(self, xy: Float, *, across: bool = False) -> NDArray[np.int64]:
        """The sightings on a line; or those that lie across it."""
        near, number, _ = beside(xy, self.sightings.xy, self.rules.beside_m)
        turned = np.abs(axis_difference(self.sightings.angle[near], angles(xy)[number]))
        on = turned <= math.radians(self.rules.turned_deg)
        return near[~on if across else on]

    def _under(self, xy: Float, row: int) -> tuple[int, int]:
        """First point of a line under a wagon, and one past the last."""
        middle = int(np.hypot(*(xy - self.sightings.xy[row]).T).argmin())
        half = max(1, round(float(self.sightings.length_m[row]) / 2))
        return max(0, middle - half), min(len(xy), middle + half + 1)

    def _pull(self, xy: Float, on: NDArray[np.int64]) -> tuple[Float, Float]:
        """How far the wagons draw each point of a line aside, and how strongly."""
        pull, pulled = np.zeros(len(xy)), np.zeros(len(xy))
        normal = normals(xy)
        for row in on.tolist():
            first, last = self._under(xy, row)
            middle = (first + last) // 2
            strength = _WAGON_PULL * float(self.sightings.score[row])
            pull[first:last] += strength * float((self.sightings.xy[row] - xy[middle]) @ normal[middle])
            pulled[first:last] += strength
        return pull, pulled

    def _covered(self, xy: Float, on: NDArray[np.int64]) -> Float:
        """How many wagons stood over each point of a line, by score."""
        out = np.zeros(len(xy))
        for row in on.tolist():
            first, last = self._under(xy, row)
            out[first:last] += self.sightings.score[row]
        return out

    def _held(self, draft: _Draft) -> Iterator[_Draft]:
        """The stretches of a line that the evidence holds."""
        good = self._covered(draft.xy, self._on(draft.xy)) >= self.rules.score
        if self.map is not None:
            level = ndimage.uniform_filter1d(self._likelihood(draft.xy), 15, mode="nearest")
            good |= (level >= self.rules.likelihood) & (draft.ridge >= self.rules.bare_ridge)
        straight = ~self._bent(draft.xy)
        for start, end in runs(straight):
            for first, last in runs(good[start:end], round(self.rules.gap_m)):
                if last - first >= _SCRAP_M:
                    yield draft.cut(start + first, start + last)

    def _bent(self, xy: Float) -> NDArray[np.bool_]:
        """Where a line turns more sharply than a wagon could."""
        half = _BEND_M // 2
        out = np.zeros(len(xy), bool)
        if len(xy) > _BEND_M:
            way = angles(xy)
            turn = np.abs(axis_difference(way[_BEND_M:], way[:-_BEND_M]))
            out[half : len(xy) - (_BEND_M - half)] = turn > _BEND_M / self.rules.tightest_m
        return out

    # -- lines among each other --------------------------------------------------------------------

    def _apart(self, drafts: list[_Draft]) -> list[_Draft]:
        """Lines that keep their distance: where two run along each other, the stronger one stays."""
        kept: list[_Draft] = []
        for one in sorted(drafts, key=lambda draft: -float(draft.ridge.sum())):
            free = np.ones(len(one.xy), bool)
            way = angles(one.xy)
            for other in kept:
                near, number, aside = beside(other.xy, one.xy, self.rules.spacing_m)
                turned = np.abs(axis_difference(way[near], angles(other.xy)[number]))
                # a track that leaves at a switch may come near, it doesn't stay there
                free[near[(np.abs(aside) < 1.0) | (turned < math.radians(3.0))]] = False
            kept.extend(one.cut(first, last) for first, last in runs(free) if last - first >= _SCRAP_M)
        return kept

    def _joined(self, drafts: list[_Draft]) -> list[_Draft]:
        """Lines that go on in each other, drawn as one; the shortest gaps are closed first."""
        drafts = list(drafts)
        while (joint := self._joint(drafts)) is not None:
            *taken, whole = joint
            drafts = [*(one for number, one in enumerate(drafts) if number not in taken), whole]
        return drafts

    def _joint(self, drafts: list[_Draft]) -> tuple[int, int, _Draft] | None:
        """The shortest gap that can be closed: two lines, by number, and what they make as one."""
        reach = self.rules.blind_bridge_m if self.map is None else self.rules.bridge_m
        ends = np.array([one.xy[[0, -1]] for one in drafts]).reshape(-1, 2)
        if not len(ends):
            return None
        pairs = cKDTree(ends).query_pairs(reach, output_type="ndarray")
        pairs = pairs[pairs[:, 0] // 2 != pairs[:, 1] // 2]
        gap = np.hypot(*(ends[pairs[:, 0]] - ends[pairs[:, 1]]).T)
        for row in np.lexsort((pairs[:, 1], pairs[:, 0], gap)).tolist():
            a, b = pairs[row].tolist()
            # the one runs to the gap, the other from it
            one = drafts[a // 2] if a % 2 else _turned(drafts[a // 2])
            other = _turned(drafts[b // 2]) if b % 2 else drafts[b // 2]
            bridge = _bridge(one, other)
            if bridge is None:
                continue
            rest = [draft for number, draft in enumerate(drafts) if number not in (a // 2, b // 2)]
            if self._bears(bridge, rest):
                ridge = np.concatenate([one.ridge, np.zeros(len(bridge)), other.ridge])
                whole = _draft(np.concatenate([one.xy, bridge, other.xy]), ridge)
                return a // 2, b // 2, whole._replace(xy=smoothed(*whole))
        return None

    def _bears(self, bridge: Float, others: list[_Draft]) -> bool:
        """Whether the map shows track all along a bridge, and no other line is in its way."""
        if not len(bridge):
            return True
        low, high = bridge.min(axis=0) - self.rules.spacing_m, bridge.max(axis=0) + self.rules.spacing_m
        for other in others:
            near = other.xy[((other.xy >= low) & (other.xy <= high)).all(axis=1)]
            if len(near) and cKDTree(near).query(bridge)[0].min() < self.rules.spacing_m:
                return False
        if self.map is None:
            return True
        level = ndimage.uniform_filter1d(self._likelihood(bridge), 15, mode="nearest")
        return bool(level.min() >= self.rules.likelihood)

    # -- what is believed --------------------------------------------------------------------------

    def _weighed(self, draft: _Draft) -> CentreLine | None:
        """A line with its evidence, or None if that isn't enough."""
        length = float(stations(draft.xy)[-1])
        on = self._on(draft.xy)
        firm = on[self.sightings.score[on] >= self.rules.score]
        across = self._on(draft.xy, across=True)
        rake = len(firm) >= self.rules.rake and length >= self.rules.shortest_rake_m
        level = 0.0 if self.map is None else float(self._likelihood(draft.xy).mean())
        if self.sightings.score[across].sum() > 0.5 * self.sightings.score[on].sum() + 0.5:
            return None
        if self.map is not None and level < self.rules.doubtful_likelihood:
            return None
        if not rake and (
            length < self.rules.shortest_m
            or level < self.rules.bare_likelihood
            or draft.ridge.mean() < self.rules.bare_line
        ):
            return None
        occupied = float((self._covered(draft.xy, firm) > 0).mean())
        bridged = float((draft.ridge <= 0.0).mean())
        observations = tuple(sorted({int(observation) for observation in self.sightings.observation[firm]}))
        if len(observations) == 1 and self.observations >= self.rules.many_observations and occupied > 0.5:
            # wagons come and go: what only one of many observations shows is more often its mistake
            return None
        scatter = None
        if len(firm) >= 3:
            _, _, aside = beside(draft.xy, self.sightings.xy[firm], self.rules.beside_m)
            scatter = float(np.sqrt(np.mean(aside**2)))
        return CentreLine(
            draft.xy,
            len(firm),
            observations,
            occupied,
            bridged,
            None if self.map is None else level,
            scatter,
            _uncertainty(scatter, len(firm), len(observations), occupied),
        )

    def _grouped(self, lines: list[CentreLine]) -> list[CentreLine]:
        """Those with neighbours that make a railway together."""
        if not lines:
            return []
        shapes = np.array([shapely.LineString(line.xy) for line in lines], dtype=object)
        first, second = shapely.STRtree(shapes).query(
            shapes, predicate="dwithin", distance=self.rules.group_reach_m
        )
        size = len(lines)
        graph = sparse.coo_matrix((np.ones(len(first)), (first, second)), (size, size))
        _, group = connected_components(graph, directed=False)
        # in a small area no line is long
        enough = min(self.rules.group_m, 0.3 * max(self.grid.shape) * self.grid.cell_m)
        kept = []
        for number in range(int(group.max()) + 1):
            members = [line for line, own in zip(lines, group, strict=True) if own == number]
            length = np.array([line.length_m for line in members])
            level = float(np.average([_level(line) for line in members], weights=length))
            railway = length.max() >= enough and level >= self.rules.group_likelihood
            if railway or (self.map is not None and level >= self.rules.sure_likelihood):
                kept.extend(members)
        return kept


def _draft(xy: Float, ridge: Float) -> _Draft:
    """A line with its points a metre apart again."""
    step = np.hypot(*np.diff(xy, axis=0).T)
    placed, strength = resampled(xy, ridge)
    # where the follower stepped over a gap there is no ridge
    station = stations(xy)
    inside = np.clip(np.searchsorted(station, stations(placed), side="right") - 1, 0, len(step) - 1)
    return _Draft(placed, np.where(step[inside] > 3.5, 0.0, strength))


def _turned(draft: _Draft) -> _Draft:
    return _Draft(draft.xy[::-1], draft.ridge[::-1])


def _bridge(one: _Draft, other: _Draft) -> Float | None:
    """Points a metre apart from the end of a line to the start of another, or None if it doesn't go on there.

    Both ends are drawn on as straight lines to the middle of the gap. On an arc they miss each other by a
    little, on tracks beside each other by half their distance.
    """
    (end, way), (start, back) = _end(one), _end(_turned(other))
    chord = start - end
    gap = float(np.hypot(*chord))
    if gap < 1.5:
        return np.zeros((0, 2)) if way @ -back > math.cos(math.radians(3.0)) else None
    along = chord / gap
    cosines = (float(way @ along), float(-back @ along), float(way @ -back))
    if min(cosines[:2]) < math.cos(math.radians(6.0)) or cosines[2] < math.cos(math.radians(8.0)):
        return None
    if float(np.hypot(*((end + way * gap / 2) - (start + back * gap / 2)))) > 0.7 + 0.006 * gap:
        return None
    t = np.arange(1.0, max(1.5, gap - 0.5)) / gap
    t = t[:, None]
    # cubic of Hermite
    return np.asarray(
        (2 * t**3 - 3 * t**2 + 1) * end
        + (t**3 - 2 * t**2 + t) * gap * way
        + (3 * t**2 - 2 * t**3) * start
        + (t**3 - t**2) * gap * -back
    )


def _end(draft: _Draft) -> tuple[Float, Float]:
    """Last point of a line and the direction in which it leaves."""
    last = draft.xy[-_END_M:]
    middle = last.mean(axis=0)
    _, _, axes = np.linalg.svd(last - middle)
    way = axes[0] if axes[0] @ (last[-1] - last[0]) > 0 else -axes[0]
    return last[-1], way


def _level(line: CentreLine) -> float:
    """The map along a line; without one nothing speaks against it."""
    return 1.0 if line.likelihood is None else line.likelihood


def _uncertainty(scatter_m: float | None, sightings: int, observations: int, occupied: float) -> float:
    """Within how many metres a track lies of its line, nine times in ten.

    The parts, as standard deviations: what is left in any line; what one look as a whole is off, by its
    lean and its place on the map, and the mean of several is off less; the scatter of the wagons; and the
    map alone where no wagon stood. The constants are fitted to simulated yards, none of which was displaced
    on the map as a whole: by how much all images together are, no image tells.
    """
    variance = 0.25**2 + 0.6**2 / max(1, observations) + 1.3**2 * (1.0 - occupied)
    if scatter_m is not None:
        variance += scatter_m**2 / sightings
    return 1.64 * math.sqrt(variance)
