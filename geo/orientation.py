"""Rasters stored from south to north, mirrored or turned: seen with north up, whatever the storage.

A file may hold the same ground in eight ways: rows from the north or the south, columns from the west or the
east, and rows and columns exchanged. What a detector sees must not depend on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from affine import Affine

from geo.ground_metric import FloatArray
from geo.rendering import PixelReader, PixelSource, RawPixels
from geo.resample import Window
from geo.scene import Scene


@dataclass(frozen=True)
class _Turn:
    """How an upright picture is made of a stored one: exchange rows and columns, then mirror.

    Attributes:
        exchanged: Whether columns of the upright one are rows of the stored one.
        mirror_x: Whether the upright one's columns count from the other end.
        mirror_y: The same for its rows.
        width: Of the upright picture.
        height: Of the upright picture.
    """

    exchanged: bool
    mirror_x: bool
    mirror_y: bool
    width: int
    height: int

    @property
    def plain(self) -> bool:
        return not (self.exchanged or self.mirror_x or self.mirror_y)

    @property
    def to_stored(self) -> Affine:
        """Upright pixel coordinates (corner origin) to stored ones."""
        mirror = Affine(
            -1 if self.mirror_x else 1,
            0,
            self.width if self.mirror_x else 0,
            0,
            -1 if self.mirror_y else 1,
            self.height if self.mirror_y else 0,
        )
        return (Affine(0, 1, 0, 1, 0, 0) if self.exchanged else Affine.identity()) @ mirror

    def window(self, window: Window) -> Window:
        """The stored window of an upright one."""
        x0, y0, x1, y1 = window
        if self.mirror_x:
            x0, x1 = self.width - x1, self.width - x0
        if self.mirror_y:
            y0, y1 = self.height - y1, self.height - y0
        return (y0, x0, y1, x1) if self.exchanged else (x0, y0, x1, y1)

    def pixels(self, found: RawPixels) -> RawPixels:
        """Stored pixels as upright ones."""
        numbers, valid = found
        if self.exchanged:
            numbers, valid = numbers.swapaxes(1, 2), valid.T
        columns = slice(None, None, -1 if self.mirror_x else 1)
        rows = slice(None, None, -1 if self.mirror_y else 1)
        return np.ascontiguousarray(numbers[:, rows, columns]), np.ascontiguousarray(valid[rows, columns])


@dataclass(frozen=True)
class _TurnedSource:
    """The pixels of a source, turned."""

    source: PixelSource
    turn: _Turn

    @property
    def channels(self) -> int:
        return self.source.channels

    @property
    def gapless(self) -> bool:
        return self.source.gapless

    @contextmanager
    def open(self) -> Iterator[PixelReader]:
        with self.source.open() as reader:
            yield _TurnedReader(reader, self.turn)

    @property
    def files(self) -> tuple[Path, ...]:
        return self.source.files


@dataclass(frozen=True)
class _TurnedReader:
    reader: PixelReader
    turn: _Turn

    def read(self, window: Window, shape: tuple[int, int] | None = None) -> RawPixels:
        turned = shape if shape is None or not self.turn.exchanged else (shape[1], shape[0])
        return self.turn.pixels(self.reader.read(self.turn.window(window), turned))


@dataclass(frozen=True)
class Upright:
    """A scene with north up, and the way back to the pixels as they are stored.

    Attributes:
        scene: The scene, its x axis to the east and its y axis to the south as nearly as a turn by a multiple
            of 90 degrees and a mirror can make it.
        turn: How it was made.
    """

    scene: Scene
    turn: _Turn

    def stored_boxes(self, boxes: FloatArray) -> FloatArray:
        """Pixel boxes (N, 5) of the upright scene in the pixels as they are stored; see `geo.boxes`."""
        if self.turn.plain or not len(boxes):
            return boxes
        cx, cy, length, width, angle = np.asarray(boxes, np.float64).T
        transform = self.turn.to_stored
        a, b, c, d, e, f = tuple(transform)[:6]
        cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        turned = np.degrees(np.arctan2(d * cos + e * sin, a * cos + b * sin)) % 180.0
        return np.column_stack([a * cx + b * cy + c, d * cx + e * cy + f, length, width, turned])


def upright(scene: Scene) -> Upright:
    """A scene as it looks with north up; the scene itself if that is how it is stored, or it has no position.

    Args:
        scene: In any of the eight ways of storing a raster, or turned by any angle: the nearest counts.
    """
    turn = _turn_of(scene)
    if turn.plain:
        return Upright(scene, turn)
    x, y = scene.gsd_xy_m
    return Upright(
        replace(
            scene,
            transform=scene.transform @ turn.to_stored,
            width=turn.width,
            height=turn.height,
            gsd_xy_m=(y, x) if turn.exchanged else (x, y),
            source=_TurnedSource(scene.source, turn),
        ),
        turn,
    )


def _turn_of(scene: Scene) -> _Turn:
    if not scene.georeferenced:
        return _Turn(False, False, False, scene.width, scene.height)
    t = scene.transform
    # Columns run along (a, d), rows along (b, e); east is (1, 0), south is (0, -1). A hair in favour of the
    # storage as it is, so that a picture turned by 45 degrees isn't decided by rounding.
    exchanged = abs(t.b) + abs(t.d) > (abs(t.a) + abs(t.e)) * (1 + 1e-9)
    east, south = (t.b, -t.d) if exchanged else (t.a, -t.e)
    width, height = (scene.height, scene.width) if exchanged else (scene.width, scene.height)
    return _Turn(exchanged, east < 0, south < 0, width, height)
