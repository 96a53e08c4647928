"""A scene looked at tile by tile: tiles in batches, and the candidates that each tile answers for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from detector.wagons.decode import Candidates
from detector.wagons.maps import STRIDE
from geo import Tile


def batches(ordered: Iterable[Tile], size: int) -> Iterator[list[Tile]]:
    """Tiles of one shape, so many at a time."""
    pending: list[Tile] = []
    for tile in ordered:
        if pending and tile.image.shape != pending[0].image.shape:
            yield pending
            pending = []
        pending.append(tile)
        if len(pending) == size:
            yield pending
            pending = []
    if pending:
        yield pending


def owned_by(tile: Tile, candidates: Candidates) -> Candidates:
    """The candidates that a tile answers for, in work pixels of the scene.

    A wagon belongs to the tile whose core holds its centre. Two tiles may see a centre on their common border
    a little differently; each core therefore reaches one cell over its border, and what both then claim is
    one wagon in the suppression that follows.
    """
    x0, y0, x1, y1 = tile.core
    left, top = tile.window[0], tile.window[1]
    moved = candidates.moved(left, top)
    x, y = moved.boxes[:, 0], moved.boxes[:, 1]
    inside = (x >= x0 - STRIDE) & (x < x1 + STRIDE) & (y >= y0 - STRIDE) & (y < y1 + STRIDE)
    column = np.clip((x - left).astype(int), 0, tile.valid.shape[1] - 1)
    row = np.clip((y - top).astype(int), 0, tile.valid.shape[0] - 1)
    return moved.take(inside & tile.valid[row, column])
