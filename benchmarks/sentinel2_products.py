"""Sentinel-2 products at full size: what a date costs to read, and an archive to list.

    python benchmarks/sentinel2_products.py FOLDER [--size 10980] [--products 700]

Makes one L2A product as ESA packs it (JP2, lossless, tiles of 1024 pixels; all four bands one image of
noise) as a folder, a stored and a deflated zip, and reads the window of an area of 1.2 x 0.3 km from each in
a process of its own: seconds and the peak of its memory, and the seconds of a bare rasterio read of the same
windows. Then an archive of as many products as wanted,
their images linked, is listed: without a store, with a new one, and with the one that has seen it before.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS

from detector.simulators.sentinel2.products import write_safe
from geo.sentinel2.chip import Chip

WEST, NORTH = 600_000.0, 4_700_040.0  # of tile 52TFM
START = datetime(2017, 1, 3, 2, 10, 1, tzinfo=UTC)
READ = """
import json, resource, sys, time
from pathlib import Path
import shapely
from pyproj import Transformer
from aoi import AreaOfInterest
from geo.sentinel2.chip import chip_grid
from geo.sentinel2.formats.find import find_products
back = Transformer.from_crs(32652, "OGC:CRS84", always_xy=True).transform
box = shapely.segmentize(shapely.box(632_000, 4_655_000, 633_200, 4_655_300), 100.0)
area = AreaOfInterest("yard", "Yard", shapely.transform(box, back, interleaved=False))
import rasterio
from rasterio.windows import from_bounds
def bare(chip):
    west, north = chip.transform * (0, 0)
    east, south = chip.transform * chip.shape[::-1]
    for band in filter(None, (*product.bands.values(), product.classes)):
        with rasterio.open(band.path) as image:
            window = from_bounds(west, south, east, north, image.transform)
            image.read(band.index, window=window.round_offsets().round_lengths())
def timed(work, *given):
    begun, cpu = time.perf_counter(), time.process_time()
    found = work(*given)
    return found, round(time.perf_counter() - begun, 3), round(time.process_time() - cpu, 3)
(found, refused), list_s, _ = timed(find_products, [Path(sys.argv[1])])
product, = found
grid = chip_grid(area)
chip, read_s, read_cpu_s = timed(product.read, grid)
times = [(timed(product.read, grid)[1:], timed(bare, chip)[1:]) for _ in range(5)]
(again_s, again_cpu_s), (bare_s, bare_cpu_s) = (min(one) for one in zip(*times))
print(json.dumps({
    "list_s": list_s, "read_s": read_s, "read_cpu_s": read_cpu_s, "again_s": again_s,
    "again_cpu_s": again_cpu_s, "bare_s": bare_s, "bare_cpu_s": bare_cpu_s,
    "shape": chip.shape, "known": float(chip.valid.mean()),
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
}))
"""
LIST = """
import json, resource, sys, time
from pathlib import Path
from geo.sentinel2.formats.find import find_products
from geo.sentinel2.formats.metadata_cache import MetadataCache
begun, work = time.perf_counter(), time.process_time()
cache = MetadataCache(Path(sys.argv[2]) if len(sys.argv) > 2 else None)
products, refused = find_products([Path(sys.argv[1])], cache=cache)
print(json.dumps({
    "products": len(products), "refused": len(refused), "list_s": round(time.perf_counter() - begun, 2),
    "cpu_s": round(time.process_time() - work, 2),
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
}))
"""


def small(folder: Path, when: datetime) -> Path:
    """A product of 64 x 64 pixels: its XML and names are what the large one has."""
    chip = Chip(
        id="x",
        datetime=when,
        platform="Sentinel-2A",
        relative_orbit=3,
        bands=("B02", "B03", "B04", "B08"),
        reflectance=np.full((4, 64, 64), 0.1, np.float32),
        transform=Affine(10, 0, WEST, 0, -10, NORTH),
        crs=CRS.from_epsg(32652),
        scl=np.full((64, 64), 5, np.uint8),
        sun_azimuth_deg=160.0,
        sun_elevation_deg=41.0,
    )
    packed = write_safe(folder, chip, tile="52TFM", baseline="05.09")
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(folder)
    packed.unlink()
    return folder / packed.name.removesuffix(".zip")


def image(path: Path, size: int, metres: int) -> None:
    """Noise of the size of a tile, as ESA packs it."""
    rng = np.random.default_rng(metres)
    piece = rng.normal(2200, 180, (1098, 1098)).clip(1, 9999).astype(np.uint16)
    if metres == 20:
        piece = rng.integers(4, 7, (1098, 1098)).astype(np.uint8)
    repeat = -(-size // 1098)
    whole = np.tile(piece, (repeat, repeat))[:size, :size]
    options = {"QUALITY": "100", "REVERSIBLE": "YES", "YCBCR420": "NO"}
    with rasterio.open(
        path,
        "w",
        driver="JP2OpenJPEG",
        count=1,
        height=size,
        width=size,
        dtype=whole.dtype,
        crs=CRS.from_epsg(32652),
        transform=Affine(metres, 0, WEST, 0, -metres, NORTH),
        blockxsize=1024,
        blockysize=1024,
        **options,
    ) as out:
        out.write(whole, 1)


def full(folder: Path, size: int) -> dict[str, Path]:
    """The full-size product in its three forms."""
    root = small(folder, START)
    large: dict[int, Path] = {}
    for one in sorted(root.rglob("*.jp2")):
        metres = 20 if "_20m" in one.name else 10
        one.unlink()
        if metres not in large:
            image(one, size * 10 // metres, metres)
            large[metres] = one
        else:
            os.link(large[metres], one)
    forms = {"folder": root}
    for name, kind in (("stored zip", zipfile.ZIP_STORED), ("deflated zip", zipfile.ZIP_DEFLATED)):
        place = folder / name.split()[0]
        place.mkdir()
        forms[name] = place / f"{root.name}.zip"
        with zipfile.ZipFile(forms[name], "w", kind) as archive:
            for one in sorted(root.rglob("*")):
                if one.is_file():
                    archive.write(one, str(one.relative_to(folder)))
    return forms


def archive_of(folder: Path, number: int) -> Path:
    """An archive of products, their images linked to those of the first."""
    folder.mkdir()
    first = small(folder, START)
    begun = first.name.split("_")[2]
    for k in range(1, number):
        when = START + timedelta(days=3 * k)
        stamp = f"{when:%Y%m%dT%H%M%S}"
        for one in first.rglob("*"):
            if not one.is_file():
                continue
            to = folder / first.name.replace(begun, stamp) / str(one.relative_to(first)).replace(begun, stamp)
            to.parent.mkdir(parents=True, exist_ok=True)
            if one.suffix == ".jp2":
                os.link(one, to)
            else:
                text = one.read_text(encoding="utf-8").replace(begun, stamp)
                text = text.replace(f"{START:%Y-%m-%d}", f"{when:%Y-%m-%d}")
                to.write_text(text, encoding="utf-8")
        for k in range(60):  # masks, auxiliary data: names that a listing passes over
            (to.parents[0] / f"extra{k}.xml").touch()
    return folder


def run(program: str, *arguments: str) -> dict[str, object]:
    """What a process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=10_980)
    parser.add_argument("--products", type=int, default=700)
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    begun = time.perf_counter()
    forms = full(options.folder, options.size)
    print(f"made in {time.perf_counter() - begun:.0f} s")
    for name, path in forms.items():
        print(name, run(READ, str(path)))
    if options.products:
        archive = str(archive_of(options.folder / "archive", options.products))
        known = str(options.folder / "products.json")
        for name, more in (("archive", ()), ("its first listing", (known,)), ("its second", (known,))):
            print(name, run(LIST, archive, *more))


if __name__ == "__main__":
    main()
