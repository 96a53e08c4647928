"""From a trained type network to odds and a threshold, and how often its types are right.

All of it is measured on the boxes that the shipped wagon detector draws, with its errors, not on true ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from detector.training.calibrate_wagons import MATCH_IOU, detect_tiles
from detector.training.shards import LabelledTile
from detector.wagons.boxes import Boxes, match
from detector.wagons.categories import FREIGHT, NOT_TYPED, TYPE_NAMES, TYPES
from detector.wagons.detector import WagonDetector
from detector.wagons.type_network import TypeNetwork, TypeOdds, cut_outs, decided, of_rakes, probabilities

GSD_EDGES_M = (0.0, 0.5, 0.7, 0.9, 1.2)
THRESHOLDS = np.round(np.arange(0.30, 0.996, 0.01), 2)


TYPE_OF: dict[str, str] = {
    # the main simulator
    **dict.fromkeys(("gondola_empty", "gondola_loaded", "hopper"), "open"),
    **dict.fromkeys(("box", "autorack", "covered_hopper", "tarp"), "covered"),
    **dict.fromkeys(("flat", "container_flat", "well"), "flat_or_container"),
    "tank": "tank",
    # the collage, and the relief, which is for scoring only
    **dict.fromkeys(("tub", "heap"), "open"),
    **dict.fromkeys(("van", "long van", "hatches", "sheet"), "covered"),
    **dict.fromkeys(("deck", "boxes"), "flat_or_container"),
    "cylinder": "tank",
    "load": "open",
    "saddle": "covered",
    "barrel": "tank",
    "crates": "flat_or_container",
    # the solids, which are drawn by type
    **{name: name for name in TYPES},
}
"""The type of each freight car that the simulators of the training draw."""


def type_numbers(names: Sequence[str], types: dict[str, str] = TYPE_OF) -> NDArray[np.int64]:
    """The index of the type of each of a simulator's vehicles, `NOT_TYPED` for what is no freight car."""
    return np.array([TYPES.index(types[n]) if n in types else NOT_TYPED for n in names], np.int64)


class TypedScene(NamedTuple):
    """The freight cars that the detector draws on one picture, with what the type network says of each.

    Attributes:
        boxes: ``(N, 5)`` in work pixels.
        logs: ``(N, 4)`` log probabilities of each car by itself.
        true: ``(N,)`` index of its true type, `NOT_TYPED` where the box is on no freight car of a known type.
        gsd_m: Of the picture.
    """

    boxes: Boxes
    logs: NDArray[np.float64]
    true: NDArray[np.int64]
    gsd_m: float


def typed_scenes(
    detector: WagonDetector, network: TypeNetwork, labelled: Iterable[LabelledTile]
) -> list[TypedScene]:
    """What detector and type network say of labelled tiles whose ``meta["types"]`` names each vehicle."""
    out = []
    for tile, candidates in detect_tiles(detector, labelled):
        gsd_m = float(tile.meta["gsd_m"])
        found = detector.judge(candidates, gsd_m)
        drawn = (found.category == FREIGHT) & (found.probability >= detector.threshold)
        boxes = found.boxes[drawn]
        hits = match(boxes, found.probability[drawn], tile.boxes, MATCH_IOU)
        true = np.full(len(boxes), NOT_TYPED, np.int64)
        kinds = np.where(tile.ignored, NOT_TYPED, type_numbers(tile.meta["types"]))
        true[hits.predicted] = kinds[hits.true]
        logs = network.log_probabilities(cut_outs(tile.image, boxes), boxes)
        out.append(TypedScene(boxes, logs, true, gsd_m))
    return out


def fit_odds(scenes: Sequence[TypedScene], accuracy: float) -> TypeOdds:
    """The weights of car and rake by maximum likelihood, and the lowest threshold that is right often enough.

    Args:
        scenes: That the network was not trained on.
        accuracy: Fraction of the typed cars that are to be right.
    """
    own = np.concatenate([s.logs for s in scenes])
    rake = np.concatenate([of_rakes(s.logs, s.boxes) for s in scenes])
    true = np.concatenate([s.true for s in scenes])
    known = true != NOT_TYPED
    own, rake, true = own[known], rake[known], true[known]
    # Every type counts alike: how often each stands in a yard differs from yard to yard.
    weight = 1.0 / np.maximum(1, np.bincount(true, minlength=len(TYPES)))[true]

    def loss(v: NDArray[np.float64]) -> float:
        logits = v[0] * own + v[1] * rake
        logits = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
        return float(-(weight * logits[np.arange(len(true)), true]).sum())

    found = minimize(loss, np.array([1.0, 0.5]), method="L-BFGS-B", bounds=[(0.0, 5.0), (0.0, 5.0)]).x
    odds = TypeOdds(round(float(found[0]), 3), round(float(found[1]), 3), 0.0)
    sure = np.concatenate([probabilities(s.logs, s.boxes, odds) for s in scenes])[known]
    right = sure.argmax(axis=1) == true
    sure = sure.max(axis=1)
    good = [t for t in THRESHOLDS if (sure >= t).any() and right[sure >= t].mean() >= accuracy]
    return odds._replace(threshold=float(good[0] if good else THRESHOLDS[-1]))


def figures(scenes: Sequence[TypedScene], odds: TypeOdds) -> dict[str, Any]:
    """How often types are right, and how often they are told.

    Returns:
        ``cars``; ``typed`` the fraction that is not unknown, ``right`` the fraction of those that is right;
        the same ``by_gsd``, and ``confusion``: true types by what they are called.
    """
    true = np.concatenate([s.true for s in scenes])
    said = np.concatenate([decided(s.logs, s.boxes, odds) for s in scenes])
    gsd = np.concatenate([np.full(len(s.true), s.gsd_m) for s in scenes])
    known = true != NOT_TYPED
    by_gsd = {}
    for low, high in pairwise(GSD_EDGES_M):
        rows = known & (gsd >= low) & (gsd < high)
        if rows.any():
            by_gsd[f"{low:g} to {high:g} m"] = _shares(true[rows], said[rows])
    return {
        **_shares(true[known], said[known]),
        "no_car": _shares(true[~known], said[~known])["typed"] if (~known).any() else None,
        "by_gsd": by_gsd,
        "confusion": {
            name: {called: int((said[true == k] == c).sum()) for c, called in enumerate(TYPE_NAMES)}
            for k, name in enumerate(TYPES)
        },
    }


def _shares(true: NDArray[np.int64], said: NDArray[np.int64]) -> dict[str, Any]:
    typed = said < len(TYPES)
    return {
        "cars": len(true),
        "typed": round(float(typed.mean()), 3) if len(true) else None,
        "right": round(float((said == true)[typed].mean()), 3) if typed.any() else None,
    }
