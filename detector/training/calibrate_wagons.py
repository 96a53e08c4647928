"""From a trained network to weights that can be shipped: the judge, the threshold and the count model.

All three are fitted to tiles the network was not trained on: half of them to the judge, the other half to the
threshold and the intervals, so that each stage is judged on scenes the stage before hasn't seen.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor, nn

from detector.intervals import LEVEL
from detector.training.label_tiles import ignore_areas
from detector.training.metrics import Scored, clip_boxes, counting_rows, judge_picture, summarise
from detector.training.shards import LabelledTile
from detector.wagons.boxes import match, rotated_iou
from detector.wagons.categories import COACH, FREIGHT, LOCOMOTIVE
from detector.wagons.count_interval import CountModel, fit_count_model
from detector.wagons.decode import Candidates
from detector.wagons.detector import WagonDetector
from detector.wagons.rakes import FreightOdds
from detector.wagons.rescoring import FEATURES, Rescorer, features
from detector.wagons.weights import Weights
from geo.tiles import WORK_GSD_M

logger = logging.getLogger(__name__)

MATCH_IOU = 0.4
AS_GOOD_F1 = 0.002
"""Thresholds whose F1 is this near to the best can't be told from it."""


class Pictured(NamedTuple):
    """A labelled tile with the network's candidates on it."""

    tile: LabelledTile
    candidates: Candidates


def detect_tiles(
    detector: WagonDetector, labelled: Iterable[LabelledTile], *, careful: bool = False
) -> list[Pictured]:
    """Candidates of labelled tiles, one tile a time; tiles are cropped to multiples of 32 pixels.

    Args:
        detector: Whose network looks.
        labelled: Tiles of any size.
        careful: As in `WagonDetector.detect`.
    """
    out: list[Pictured] = []
    for tile in labelled:
        found, _ = detector.candidates([whole_cells(tile.image)], careful=careful)
        out.append(Pictured(tile, found[0]))
    return out


def whole_cells(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An image cut to sides that are multiples of 32, as the network wants them."""
    height, width = (side // 32 * 32 for side in image.shape[:2])
    return np.ascontiguousarray(image[:height, :width])


def truth_of(pictured: Pictured) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which candidates are wagons, and which should teach nothing (on ignored boxes)."""
    tile, candidates = pictured
    h, w = whole_cells(tile.image).shape[:2]
    predicted, true = clip_boxes(candidates.boxes, w, h), clip_boxes(tile.boxes, w, h)
    wanted = ~tile.ignored
    hits = match(predicted, candidates.centre_logit, true[wanted], MATCH_IOU)
    real = np.zeros(len(predicted), bool)
    real[hits.predicted] = True
    skip = (rotated_iou(predicted, true[~wanted]) > 0.1).any(axis=1)
    return real, skip & ~real


def fit(pictured: Sequence[Pictured], *, seed: int = 0) -> Rescorer:
    """The judge fitted to the candidates of labelled tiles."""
    x, y, scene = [], [], []
    for number, item in enumerate(pictured):
        real, skip = truth_of(item)
        seen = features(item.candidates, _gsd(item.tile))
        x.append(seen[~skip])
        y.append(real[~skip])
        scene.append(np.full(int((~skip).sum()), number))
    judge, quality = fit_judge(np.concatenate(x), np.concatenate(y), np.concatenate(scene), seed=seed)
    logger.info("judge: log loss %.4f, held out %.4f", quality.loss, quality.held_out_loss)
    return judge


def score(detector: WagonDetector, pictured: Iterable[Pictured]) -> list[Scored]:
    """Predictions beside truth, with the detector's judge and count model."""
    return [_scored(detector, number, item) for number, item in enumerate(pictured)]


def _scored(detector: WagonDetector, number: int, item: Pictured) -> Scored:
    tile, candidates = item
    width, height = tile.meta.get("size_px", (tile.image.shape[1], tile.image.shape[0]))
    inside = np.zeros(len(candidates.boxes), bool)
    if len(inside):
        x, y = candidates.boxes[:, 0], candidates.boxes[:, 1]
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    found = detector.judge(candidates.take(inside), _gsd(tile))
    # A wagon whose centre lies outside the frame belongs to the next tile; here it is neither hit nor miss.
    x, y = tile.boxes.reshape(-1, 5)[:, 0], tile.boxes.reshape(-1, 5)[:, 1]
    outside = (x < 0) | (x >= width) | (y < 0) | (y >= height)
    scored = Scored(
        name=str(tile.meta.get("name", number)),
        boxes=found.boxes,
        probability=found.probability,
        category=found.category,
        true_boxes=tile.boxes,
        true_category=tile.category,
        ignored=tile.ignored | outside,
        size_px=(float(width), float(height)),
        gsd_m=WORK_GSD_M,
        ignore_areas=ignore_areas(tile),
        meta=tile.meta,
        freight=found.freight,
    )
    counting = counting_rows(scored)
    drawn = (found.category == 0) & (found.probability >= detector.threshold)
    probability = found.probability * found.freight
    interval = detector.count_model.interval(probability[counting & drawn], probability[counting & ~drawn])
    return replace(scored, interval=(interval.low, interval.high))


def freight_odds_of(detector: WagonDetector, pictured: Iterable[Pictured]) -> FreightOdds:
    """How the odds of freight car against coach of a network become probabilities (Platt scaling).

    Fitted by maximum likelihood to the boxes that are found freight cars or coaches, with a weak pull to what
    the network says by itself. J. Platt, "Probabilistic outputs for support vector machines", 1999.

    Args:
        detector: With an uncalibrated card.
        pictured: Labelled tiles that the network was not trained on.
    """
    odds, freight = [np.zeros(0)], [np.zeros(0)]
    for tile, candidates in pictured:
        found = detector.judge(candidates, _gsd(tile))
        hits = match(found.boxes, found.probability, tile.boxes, MATCH_IOU)
        true = tile.category[hits.true]
        rows = (true != LOCOMOTIVE) & ~tile.ignored[hits.true]
        chosen = np.clip(found.categories[hits.predicted[rows]], 1e-6, 1.0)
        odds.append(np.log(chosen[:, FREIGHT]) - np.log(chosen[:, COACH]))
        freight.append((true[rows] == FREIGHT).astype(np.float64))
    x, y = np.concatenate(odds), np.concatenate(freight)
    if not 0 < y.sum() < len(y):
        return FreightOdds()

    def loss(v: NDArray[np.float64]) -> float:
        logit = v[0] * x + v[1]
        return float(np.logaddexp(0.0, np.where(y > 0, -logit, logit)).sum() + (v[0] - 1) ** 2 + v[1] ** 2)

    scale, bias = minimize(loss, np.array([1.0, 0.0]), method="L-BFGS-B", bounds=[(0.05, 5.0), (-5, 5)]).x
    return FreightOdds(float(scale), float(bias))


def best_threshold(scored: Sequence[Scored], minimum_iou: float = 0.4) -> float:
    """The probability at which F1 of all pictures together is highest, among 0.20, 0.22 ... 0.80.

    The curve is flat at its top. Of those within `AS_GOOD_F1` of the best it is the highest: false boxes are
    more common on real ground than on simulated.
    """
    judged = [judge_picture(s, minimum_iou) for s in scored]
    probability = np.concatenate([j.probability for j in judged])
    hit = np.concatenate([j.hit for j in judged])
    true = sum(j.true for j in judged)
    steps = np.arange(0.20, 0.801, 0.02)
    f1 = [2 * (hit & (probability >= t)).sum() / max(1, (probability >= t).sum() + true) for t in steps]
    good = np.flatnonzero(np.array(f1) >= max(f1) - AS_GOOD_F1)
    return round(float(steps[good[-1]]), 2)


def count_model_of(scored: Sequence[Scored]) -> CountModel:
    """The count model fitted to scored pictures."""
    scenes = []
    for item in scored:
        true = int(((item.true_category == 0) & ~item.ignored).sum())
        freight = (item.category == 0).astype(np.float64) if item.freight is None else item.freight
        scenes.append(((item.probability * freight)[counting_rows(item)], true))
    return fit_count_model(scenes, LEVEL)


def finish(
    network: Weights,
    for_judge: Iterable[LabelledTile],
    for_counts: Iterable[LabelledTile],
    *,
    for_odds: Iterable[LabelledTile] = (),
    device: str = "auto",
    seed: int = 0,
    report: Callable[[str], None] = logger.info,
) -> tuple[Weights, dict[str, Any]]:
    """Fit judge, threshold and count model of a network.

    Args:
        network: Weights whose judge and card are replaced.
        for_judge: Tiles for the judge.
        for_counts: Other tiles, for threshold and intervals.
        for_odds: Tiles of a simulator that the network didn't learn from, for the odds of freight car against
            coach: on those it learned from it is surer than it is right. Without any, ``for_counts``.
        device: Where to run.
        seed: Of the judge's start.
        report: Told what is going on.

    Returns:
        The weights with the new judge and a card with ``threshold`` and ``count_model``, and the figures on
        ``for_counts`` (slightly optimistic: the threshold was chosen there).
    """
    torch.manual_seed(seed)
    plain = {key: value for key, value in network.card.items() if key != "freight_odds"}
    network = replace(network, card=plain)
    detector = WagonDetector(network, device)
    report("looking at the tiles for the judge")
    judge = fit(detect_tiles(detector, for_judge), seed=seed)
    judged = replace(network, judge=judge)
    detector = WagonDetector(judged, device)
    report("looking at the tiles for threshold and intervals")
    pictured = detect_tiles(detector, for_counts)
    odds = freight_odds_of(detector, detect_tiles(detector, for_odds) or pictured)
    judged = replace(judged, card={**plain, "freight_odds": list(odds)})
    scored = score(WagonDetector(judged, device), pictured)
    card = {
        **judged.card,
        "threshold": best_threshold(scored),
        "count_model": count_model_of(scored).to_json(),
    }
    finished = replace(judged, card=card)
    final = score(WagonDetector(finished, device), pictured)
    return finished, summarise(final, card["threshold"])


def _gsd(tile: LabelledTile) -> float:
    return float(tile.meta.get("gsd_m", 0.5))


HIDDEN = 16  # units of one re-scorer's hidden layer
MEMBERS = 8  # re-scorers fitted to different parts of the scenes, whose mean is kept


class RescorerNet(nn.Module):
    """A `Rescorer` that can be fitted.

    Args:
        hidden: Units of the hidden layer.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(len(FEATURES)))
        self.register_buffer("deviation", torch.ones(len(FEATURES)))
        self.layers = nn.Sequential(nn.Linear(len(FEATURES), hidden), nn.Tanh(), nn.Linear(hidden, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(N,)`` of features ``(N, F)``."""
        return torch.as_tensor(self.layers((x - self.mean) / self.deviation)[:, 0])

    def finished(self) -> Rescorer:
        """What counting uses of it."""
        return Rescorer.from_arrays({k: v.detach().cpu().numpy() for k, v in self.state_dict().items()})


def untrained(hidden: int = HIDDEN, seed: int = 0) -> Rescorer:
    """A re-scorer that has learned nothing, for drafts of weights."""
    torch.manual_seed(seed)
    return RescorerNet(hidden).finished()


def mean_judge(judges: Sequence[Rescorer]) -> Rescorer:
    """One re-scorer whose logits are the mean of several ones' (all standardise alike).

    Their hidden layers stand side by side, so that it is a re-scorer like any other, only wider.
    """
    return Rescorer(
        judges[0].mean,
        judges[0].deviation,
        np.concatenate([one.hidden_weight for one in judges]),
        np.concatenate([one.hidden_bias for one in judges]),
        (np.concatenate([one.weight for one in judges], axis=1) / len(judges)).astype(np.float32),
        np.stack([one.bias for one in judges]).mean(axis=0).astype(np.float32),
    )


class RescorerFit(NamedTuple):
    """How well judges fit what they were fitted to and what they weren't, on average."""

    loss: float
    held_out_loss: float


def fit_judge(
    x: NDArray[np.float64],
    y: NDArray[np.bool_],
    scene: NDArray[np.int64],
    *,
    weight: NDArray[np.float64] | None = None,
    seed: int = 0,
    epochs: int = 400,
    members: int = MEMBERS,
) -> tuple[Rescorer, RescorerFit]:
    """Fit judges by maximum likelihood and take their mean.

    Each holds out another fifth of the scenes, to stop in time. One judge's start and held-out scenes move
    the counts of single pictures by some wagons; the mean of several is steadier.

    Args:
        x: Features ``(N, F)``.
        y: Whether each candidate is a wagon.
        scene: Scene of each candidate: candidates of one scene are never split.
        weight: Weight of each candidate.
        seed: Of the splits and the starts.
        epochs: Full-batch steps at most.
        members: How many judges.
    """
    if not len(x):
        # An untrained network raises no candidates to learn from: every score is then close to 0.
        torch.manual_seed(seed)
        blank = RescorerNet()
        slopes, bias = blank.layers[-1].parameters()
        nn.init.zeros_(slopes)
        nn.init.constant_(bias, -5.0)
        return blank.finished(), RescorerFit(float("nan"), float("nan"))
    inputs, wanted = torch.from_numpy(x).float(), torch.from_numpy(y).float()
    share = torch.ones(len(y)) if weight is None else torch.from_numpy(weight).float()
    mean, deviation = torch.from_numpy(x.mean(axis=0)), torch.from_numpy(x.std(axis=0) + 1e-3)
    scenes = np.unique(scene)
    judges, fits = [], []
    for member in range(members):
        torch.manual_seed(1000 * seed + member)
        rng = np.random.default_rng(1000 * seed + member)
        judge = RescorerNet()
        judge.mean.copy_(mean)
        judge.deviation.copy_(deviation)
        apart = rng.choice(scenes, len(scenes) // 5 or int(len(scenes) > 1), replace=False)
        fits.append(_descend(judge, inputs, wanted, share, np.isin(scene, apart), epochs))
        judges.append(judge.finished())
    loss, held_out = np.mean(fits, axis=0)
    return mean_judge(judges), RescorerFit(float(loss), float(held_out))


def _descend(
    judge: RescorerNet, inputs: Tensor, wanted: Tensor, share: Tensor, held: NDArray[np.bool_], epochs: int
) -> RescorerFit:
    """Train a judge on the rows that aren't held out, and leave it where the held-out ones fit best."""
    fit_rows, held_rows = torch.from_numpy(~held), torch.from_numpy(held)

    def loss(rows: Tensor) -> Tensor:
        each = nn.functional.binary_cross_entropy_with_logits(
            judge(inputs[rows]), wanted[rows], reduction="none"
        )
        return (each * share[rows]).sum() / share[rows].sum()

    optimiser = torch.optim.AdamW(judge.parameters(), lr=0.02, weight_decay=1e-3)
    best, best_state = np.inf, {k: v.clone() for k, v in judge.state_dict().items()}
    for _ in range(epochs):
        optimiser.zero_grad()
        value = loss(fit_rows)
        value.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        with torch.no_grad():
            now = float(loss(held_rows)) if held.any() else float(value)
        if now < best:
            best, best_state = now, {k: v.clone() for k, v in judge.state_dict().items()}
    judge.load_state_dict(best_state)
    with torch.no_grad():
        return RescorerFit(float(loss(fit_rows)), best)
