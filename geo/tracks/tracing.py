"""From ridge points to polylines: each line is followed from its strongest point both ways."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geo.tracks.ridges import Ridges

__all__ = ["Trace", "TraceRules", "trace"]

Float = NDArray[np.float64]


@dataclass(frozen=True)
class TraceRules:
    """How a line is followed.

    Attributes:
        seed: strength of a point at which a line may begin.
        step_m: how far ahead the next point is looked for.
        aside_m: how far beside the way ahead it may lie.
        turn_deg: how much its direction may differ.
        gap_m: longest stretch without a point that is stepped over.
        memory: how many of the last points say where a line heads.
        own_m: points this near a line, and in its direction, are part of it.
    """

    seed: float = 0.35
    step_m: float = 1.6
    aside_m: float = 0.7
    turn_deg: float = 6.0
    gap_m: float = 12.0
    own_m: float = 1.6
    memory: int = 24


class Trace(NamedTuple):
    """A line as followed: points about a step apart, with the strength of each."""

    xy: Float
    strength: Float


def trace(ridges: Ridges, rules: TraceRules | None = None) -> list[Trace]:
    """Follow all lines, the strongest first.

    A point belongs to one line. Where a line runs into another it ends at it, as a track does at a switch.
    """
    rules = rules or TraceRules()
    if not len(ridges.strength):
        return []
    follower = _Follower(ridges, rules)
    found = []
    for seed in range(len(ridges.strength)):
        if ridges.strength[seed] < rules.seed:
            break
        if follower.free[seed]:
            found.append(follower.line(seed))
    return [one for one in found if len(one.xy) > 1]


class _Follower:
    """The points that no line has taken yet."""

    def __init__(self, ridges: Ridges, rules: TraceRules):
        self.ridges, self.rules = ridges, rules
        self.tree = cKDTree(ridges.xy)
        self.way = np.column_stack([np.cos(ridges.angle), np.sin(ridges.angle)])
        self.free = np.ones(len(ridges.strength), bool)
        self.turn = math.cos(math.radians(rules.turn_deg))

    def line(self, seed: int) -> Trace:
        """The line through a point."""
        ahead = self._follow([seed], self.way[seed])
        # the other half begins with what the first one has learned about the direction
        chain = self._follow(ahead[::-1], -self.way[seed])
        self._take(chain)
        return Trace(self.ridges.xy[chain], self.ridges.strength[chain])

    def _follow(self, chain: list[int], way: Float) -> list[int]:
        """A line drawn out at its end, which heads about the given way."""
        chain = list(chain)
        reach = self.rules.step_m
        while reach <= self.rules.gap_m:
            here, heading = self._ahead(chain, way)
            following = self._next(here, heading, reach)
            if following is None or following in chain[-8:]:
                reach *= 1.6
                continue
            if not self.free[following]:
                break
            chain.append(following)
            reach = self.rules.step_m
        return chain

    def _ahead(self, chain: list[int], way: Float) -> tuple[Float, Float]:
        """Where the last stretch of a line ends and heads, by a parabola through its points.

        The way of a single point wavers, and a line that believes every one of them changes tracks.
        """
        last = chain[-self.rules.memory :]
        points = self.ridges.xy[last]
        if len(last) < 4:
            own = self.way[last[-1]]
            return points[-1], own if own @ way > 0 else -own
        axis = points[-1] - points[0]
        axis /= np.hypot(*axis)
        normal = np.array([-axis[1], axis[0]])
        u, v = (points - points[-1]) @ axis, (points - points[-1]) @ normal
        slopes = np.tan(_wrapped(self.ridges.angle[last] - math.atan2(axis[1], axis[0])))
        # positions and directions together; a short stretch says nothing about how it bends
        bend = min(1.0, len(last) / self.rules.memory) ** 2
        place = np.column_stack([np.ones_like(u), u, u**2 * bend])
        turn = np.column_stack([np.zeros_like(u), np.ones_like(u), 2 * u * bend])
        weight = 4.0
        design = np.vstack([place, weight * turn, [[0.0, 0.0, 60.0]]])
        goal = np.concatenate([v, weight * slopes, [0.0]])
        (offset, slope, _), *_ = np.linalg.lstsq(design, goal, rcond=None)
        heading = axis + slope * normal
        return points[-1] + offset * normal, heading / np.hypot(*heading)

    def _next(self, here: Float, way: Float, reach: float) -> int | None:
        """The best point about so far ahead."""
        near = np.asarray(self.tree.query_ball_point(here + reach * way, 0.75 * reach + 0.3), np.int64)
        if not len(near):
            return None
        offset = self.ridges.xy[near] - here
        along = offset @ way
        aside = np.abs(offset @ np.array([-way[1], way[0]]))
        agreement = np.abs(self.way[near] @ way)
        fits = (along > 0.4) & (aside < self.rules.aside_m) & (agreement > self.turn)
        if not fits.any():
            return None
        near, along, aside, agreement = near[fits], along[fits], aside[fits], agreement[fits]
        worth = self.ridges.strength[near] - 0.6 * aside - 4.0 * (1.0 - agreement) - 0.05 * along
        return int(near[int(worth.argmax())])

    def _take(self, chain: list[int]) -> None:
        own = self.tree.query_ball_point(self.ridges.xy[chain], self.rules.own_m)
        for here, others in zip(chain, own, strict=True):
            near = np.asarray(others, np.int64)
            alike = np.abs(self.way[near] @ self.way[here]) > math.cos(math.radians(2 * self.rules.turn_deg))
            self.free[near[alike]] = False


def _wrapped(angle: Float) -> Float:
    """Angles of axes in [-pi/2, pi/2)."""
    return np.asarray((angle + math.pi / 2) % math.pi - math.pi / 2)
