"""Real pictures as ground and as negatives, from a folder the user names; never needed and never bundled.

Written for the UC Merced land-use pictures (US Geological Survey, public domain): `<class><number>.jpg`, 256
px at 0.3 m. Any folder of pictures named so, with the same scale, will do.

Neighbouring numbers often show one place, so whole blocks of ten numbers go to one split, and the numbers at
the edges of validation and test blocks are left out. Pictures that the project's own evaluation uses, and
their neighbours, never enter training.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from aoi.tables import read_table
from detector.errors import LabelError
from detector.simulators.procedural.spec import BackgroundPatch, SceneSpec

PICTURE_GSD_M = 0.3
_NAME = re.compile(r"^([a-z_]+?)(\d+)$")
_BLOCK = 10

# Pictures that evaluation looks at: class and number.
RESERVED: tuple[tuple[str, int], ...] = (
    ("buildings", 25), ("buildings", 83), ("harbor", 10), ("intersection", 20), ("mobilehomepark", 5),
    ("overpass", 10), ("parkinglot", 75), ("river", 22), ("river", 23), ("river", 66), ("runway", 20),
    ("storagetanks", 3), ("storagetanks", 15), ("storagetanks", 40), ("storagetanks", 89),
)  # fmt: skip

# Classes that can lie under or beside a railway; the rest (planes, beach ...) serve as negatives only.
_GROUND = frozenset(
    {"agricultural", "baseballdiamond", "buildings", "chaparral", "denseresidential", "forest", "freeway"}
    | {"golfcourse", "intersection", "mediumresidential", "mobilehomepark", "overpass", "parkinglot", "river"}
    | {"runway", "sparseresidential", "storagetanks", "tenniscourt"}
)


@dataclass(frozen=True)
class BackgroundPicture:
    """One picture of the folder."""

    file: str
    kind: str
    number: int
    has_rail: bool


def split_of(kind: str, number: int) -> str | None:
    """The split a picture belongs to; None: in no split, since it borders on another one's block."""
    block = number // _BLOCK
    slot = zlib.crc32(f"{kind}/{block}".encode()) % 20
    split = "train" if slot < 14 else "val" if slot < 16 else "test"
    if split != "train" and number % _BLOCK in {0, _BLOCK - 1}:
        return None
    if split == "train" and is_reserved(kind, number):
        return None
    return split


def is_reserved(kind: str, number: int) -> bool:
    """Whether a picture, or one within two numbers of it, serves evaluation."""
    return any(kind == k and abs(number - n) <= 2 for k, n in RESERVED)


class BackgroundLibrary:
    """The pictures of a folder, by split."""

    def __init__(self, folder: Path) -> None:
        """Read the folder's list of files (and `rail.csv`, which names pictures that show tracks).

        Raises:
            LabelError: the folder isn't there or holds no such picture.
        """
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise LabelError(f"The backgrounds folder {self.folder} doesn't exist or is no folder.")
        rail: set[str] = set()
        listing = self.folder / "rail.csv"
        if listing.is_file():
            rail = {
                Path(row["image"]).stem for row in read_table(listing, ["image"], LabelError) if row["image"]
            }
        found = []
        for path in sorted(self.folder.iterdir()):
            match = _NAME.match(path.stem)
            if path.suffix.lower() in {".jpg", ".jpeg", ".png", ".tif"} and match:
                found.append(BackgroundPicture(path.name, match[1], int(match[2]), path.stem in rail))
        if not found:
            raise LabelError(
                f"The backgrounds folder {self.folder} holds no pictures named like 'freeway07.jpg'."
            )
        self.pictures = tuple(found)

    @lru_cache(maxsize=16)  # noqa: B019 - a library lives as long as the process
    def of(
        self, split: str, *, ground: bool = False, rail: bool | None = None
    ) -> tuple[BackgroundPicture, ...]:
        """Pictures of a split; `ground` only those fit to lie under tracks; `rail` with or without tracks."""
        return tuple(
            p
            for p in self.pictures
            if split_of(p.kind, p.number) == split
            and (not ground or p.kind in _GROUND)
            and (rail is None or p.has_rail == rail)
        )

    @lru_cache(maxsize=192)  # noqa: B019
    def load(self, file: str) -> NDArray[np.uint8]:
        """A picture as (H, W, 3) RGB.

        Raises:
            LabelError: the file can't be read.
        """
        image = cv2.imread(str(self.folder / file), cv2.IMREAD_COLOR)
        if image is None:
            raise LabelError(f"The background picture {self.folder / file} can't be read.")
        return np.ascontiguousarray(image[..., ::-1])


def mosaic(
    rng: np.random.Generator,
    library: BackgroundLibrary,
    split: str,
    size_m: tuple[float, float],
    *,
    ground: bool,
) -> tuple[BackgroundPatch, ...]:
    """Pictures of one class laid edge over edge until they cover a scene; none if the split has none."""
    options = library.of(split, ground=ground, rail=False)
    if not options:
        return ()
    first = options[int(rng.integers(len(options)))]
    # Neighbouring numbers look alike and make seams less of a clue.
    same = sorted((p for p in options if p.kind == first.kind), key=lambda p: abs(p.number - first.number))[
        :8
    ]
    side = 256 * PICTURE_GSD_M * rng.uniform(0.97, 1.1)
    step = side - 6.0
    turns = int(rng.integers(4))
    x0, y0 = -rng.uniform(0, step), -rng.uniform(0, step)
    out: list[BackgroundPatch] = []
    y = y0
    while y < size_m[1]:
        x = x0
        while x < size_m[0]:
            p = first if not out else same[int(rng.integers(len(same)))]
            out.append(BackgroundPatch(p.file, x, y, side, turns, bool(rng.random() < 0.5)))
            x += step
        y += step
    return tuple(out)


def lay(
    canvas: NDArray[np.uint8], spec: SceneSpec, metres_per_px: float, library: BackgroundLibrary | None
) -> None:
    """Draw a scene's background pictures into (H, W, 3) drawing values, feathered where they overlap.

    Raises:
        LabelError: no library is given.
    """
    if library is None:
        raise LabelError("The scene lies on background pictures: name their folder to draw it.")
    # Displayed pictures are near the square-root scale; their white is a bright roof, not a mirror.
    gain = float(np.random.default_rng([spec.seed, 9]).uniform(0.62, 0.85))
    h, w = canvas.shape[:2]
    for patch in spec.backgrounds:
        n = round(patch.size_m / metres_per_px)
        x, y = round(patch.x_m / metres_per_px), round(patch.y_m / metres_per_px)
        x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + n, w), min(y + n, h)
        if x1 <= x0 or y1 <= y0:
            continue
        image = library.load(patch.file)
        if patch.flipped:
            image = image[:, ::-1]
        image = np.ascontiguousarray(np.rot90(image, patch.turns))
        big = cv2.resize(image, (n, n), interpolation=cv2.INTER_CUBIC)[y0 - y : y1 - y, x0 - x : x1 - x]
        big = cv2.convertScaleAbs(np.ascontiguousarray(big), alpha=gain)
        ramp = np.clip(np.arange(n) / (6.0 / metres_per_px), 0.0, 1.0).astype(np.float32)
        wx = ramp[x0 - x : x1 - x] if x > 0 else np.ones(x1 - x0, np.float32)
        wy = ramp[y0 - y : y1 - y] if y > 0 else np.ones(y1 - y0, np.float32)
        weight = np.outer(wy, wx)
        part = canvas[y0:y1, x0:x1]
        part[:] = cv2.blendLinear(big, np.ascontiguousarray(part), weight, np.float32(1.0) - weight)
