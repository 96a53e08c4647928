"""The classical estimator: matched filters on the change, and boosted trees on what they say.

It sees what the network sees and shares none of its weights, so that where the two disagree something is odd.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.occupancy.inputs import Inputs

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

FEATURES = (
    "energy",  # whitened change on the tracks beyond that beside them, cells
    "energy_local",  # the same after taking away what is smooth over 100 m
    "matched",  # change along the yard's usual contrast, in units of it
    "matched_local",
    "brighter",  # share of track cells beyond two deviations, by sign
    "darker",
    "change_B02",  # mean change on the tracks less that beside them, hundredths of reflectance
    "change_B03",
    "change_B04",
    "change_B08",
    "position",  # where the date stands between the yard's outer quantiles
    "position_high",
    "usual_spread",  # what the tracks' cells vary by from date to date, over what those beside them do
    "usual_contrast",
    "noise",  # change beside the tracks, hundredths
    "track_m",  # length of track, hundreds of metres
    "region_cells",  # hundreds of cells
    "has_tracks",
    "dates",
    "shadow_across",
    "shadow_change",
    "along_steps",  # ends of strings: steps of the change along the tracks
)


def features(current: F32, low: F32, median: F32, high: F32, given: Inputs) -> F64:
    """What filters say of a look, (len(FEATURES),).

    Args:
        current: (4, h, w) reflectance of the date.
        low: The background's lower quantile.
        median: Its middle.
        high: Its upper quantile.
        given: The look's planes, region and known cells.
    """
    known = given.known
    region = np.where(known, given.region, 0.0)
    tracks = given.planes[20:24].mean(axis=0)
    on = np.where(known, region * (tracks + (0.0 if tracks.any() else 1.0)), 0.0)
    beside = known & (region == 0)
    if beside.sum() < 50:
        beside = known
    change = np.where(known[None], current - median, 0.0).astype(np.float64)
    level = np.median(change[:, beside], axis=1)
    change = (change - level[:, None, None]) * known
    smooth = np.stack([_blur(plane, known, 5.0) for plane in change])
    local = change - smooth
    total = max(float(on.sum()), 1e-6)

    def energy(planes: F64) -> float:
        covariance = np.cov(planes[:, beside]) + 1e-6 * np.eye(4)
        white = np.linalg.solve(np.linalg.cholesky(covariance), planes.reshape(4, -1)).reshape(planes.shape)
        each = np.minimum((white**2).sum(axis=0), 60.0)
        return float((each * on).sum() - each[beside].mean() * total)

    spread = np.where(known[None], (high - low) / 2, 0.0)
    usual = (spread * on).sum(axis=(1, 2)) / total
    around = spread[:, beside].mean(axis=1) + 1e-4
    # The yard's contrast: how far the rarer outer quantile lies from the middle on its tracks, by band.
    skew = np.where(known[None], high + low - 2 * median, 0.0)
    contrast = (skew * on).sum(axis=(1, 2)) / total
    contrast = contrast + np.sign(contrast + 1e-9) * 0.3 * usual
    noise = change[:, beside].std(axis=1) + 1e-3

    def matched(planes: F64) -> float:
        weight = contrast / noise**2
        along = np.tensordot(weight, planes, axes=1) / max(float((contrast**2 / noise**2).sum()), 1e-6)
        return float((np.clip(along, -4, 4) * on).sum())

    grey = change.mean(axis=0) / max(float(change.mean(axis=0)[beside].std()), 1e-3)
    width = np.maximum(spread.mean(axis=0), 0.003)
    position = np.where(known, (current - median).mean(axis=0) / width, 0.0)
    steps = np.abs(np.diff(local, axis=2)).mean(axis=0)
    constant = given.planes[25:, 0, 0]
    mean = (change * on).sum(axis=(1, 2)) / total
    values = [
        energy(change) / 100,
        energy(local) / 100,
        matched(change) / 10,
        matched(local) / 10,
        float(((grey > 2) * on).sum()),
        float(((grey < -2) * on).sum()),
        *(mean * 100),
        float((np.clip(position, -5, 5) * on).sum() / total),
        float((np.clip(np.abs(position), 0, 5) * on).sum() / total),
        float(np.log(usual.mean() + 1e-4) - np.log(around.mean())),
        float(usual.mean() * 100),
        float(noise.mean() * 100),
        float(tracks.sum() / 100),
        float(region.sum() / 100),
        float(constant[0]),
        float(np.exp(constant[5])),
        float(abs(constant[2])),
        float(np.hypot(constant[1] - constant[3], constant[2] - constant[4])),
        float((steps * on[:, 1:]).sum() / max(float(steps[beside[:, 1:]].mean()), 1e-4) / 100),
    ]
    return np.nan_to_num(np.array(values, dtype=np.float64))


def _blur(plane: F64, known: NDArray[np.bool_], sigma: float) -> F64:
    weight = cv2.GaussianBlur(known.astype(np.float64), (0, 0), sigma)
    blurred = cv2.GaussianBlur(plane * known, (0, 0), sigma)
    return np.asarray(blurred / np.maximum(weight, 1e-3), dtype=np.float64)


@dataclass(frozen=True)
class Trees:
    """Boosted regression trees as plain arrays: (trees, nodes), children -1 at leaves.

    Attributes:
        feature: Index of the feature that a node splits on.
        threshold: Values up to it go left; of 32 bits, as the features that it is compared with.
        left: Node on the left.
        right: Node on the right.
        value: What a leaf adds.
        base: Where the sum begins.
    """

    feature: NDArray[np.int64]
    threshold: F64
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    value: F64
    base: float

    def predict(self, x: F64) -> F64:
        """Answers (N,) to features (N, F); never below 0."""
        x = x.astype(np.float32).astype(np.float64)
        trees = np.arange(len(self.feature))[None]
        node = np.zeros((len(x), len(self.feature)), np.int64)
        rows = np.arange(len(x))[:, None]
        while True:
            left = self.left[trees, node]
            inner = left >= 0
            if not inner.any():
                break
            goes_left = x[rows, self.feature[trees, node]] <= self.threshold[trees, node]
            node = np.where(inner, np.where(goes_left, left, self.right[trees, node]), node)
        total = self.base + self.value[trees, node].sum(axis=1)
        return np.asarray(np.maximum(total, 0.0), dtype=np.float64)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The arrays by name, all floating point, for a weights file."""
        names = ("feature", "threshold", "left", "right", "value")
        return {name: np.asarray(getattr(self, name), dtype=np.float64) for name in names} | {
            "base": np.array([self.base])
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.generic]]) -> Trees:
        """Back from `arrays`."""
        integers = {name: np.asarray(arrays[name], dtype=np.int64) for name in ("feature", "left", "right")}
        return cls(
            threshold=np.asarray(arrays["threshold"], dtype=np.float64),
            value=np.asarray(arrays["value"], dtype=np.float64),
            base=float(np.asarray(arrays["base"], dtype=np.float64)[0]),
            **integers,
        )


def metres(trees: Trees, x: F64) -> F64:
    """Metres of occupied track (N,) by trees that were fitted to its square root, from features (N, F).

    The root, because errors grow with what stands there: without it full yards decide what is said of empty
    ones.
    """
    return np.asarray(trees.predict(x) ** 2)


def fit_trees(x: F64, y: F64, *, seed: int = 0, trees: int = 300, depth: int = 4) -> Trees:
    """Fit boosted trees (J. H. Friedman 2001, with random halves of the data a tree).

    Args:
        x: Features (N, F).
        y: What they are to say (N,), nowhere below 0.
        seed: Of the halves.
        trees: How many.
        depth: Of each.
    """
    from sklearn.ensemble import GradientBoostingRegressor

    model = GradientBoostingRegressor(
        n_estimators=trees, max_depth=depth, learning_rate=0.06, subsample=0.5, random_state=seed
    ).fit(x, y)
    single = [one.tree_ for one in model.estimators_[:, 0]]
    nodes = max(tree.node_count for tree in single)

    def padded(values: list[NDArray[np.generic]], fill: float) -> F64:
        out = np.full((len(values), nodes), fill, dtype=np.float64)
        for row, one in zip(out, values, strict=True):
            row[: len(one)] = one
        return out

    return Trees(
        feature=np.maximum(padded([t.feature for t in single], 0), 0).astype(np.int64),
        threshold=_down_to_single(padded([t.threshold for t in single], 0.0)),
        left=padded([t.children_left for t in single], -1).astype(np.int64),
        right=padded([t.children_right for t in single], -1).astype(np.int64),
        value=padded([t.value[:, 0, 0] for t in single], 0.0) * model.learning_rate,
        base=float(np.mean(y)),
    )


def _down_to_single(values: F64) -> F64:
    """The largest 32-bit numbers up to some values: they split 32-bit features alike, and can be stored."""
    single = values.astype(np.float32)
    below = np.nextafter(single, np.float32(-np.inf))
    return np.asarray(np.where(single > values, below, single), dtype=np.float64)
