"""`railwatch detect`: wagons in any image, no area needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aoi.files import write_bytes
from detector.wagons import TILE_PX
from railwatch.cli import _common, _tables
from railwatch.cli._options import BackendOption, CarefulOption, DeviceOption, JsonOption, WeightsOption

if TYPE_CHECKING:
    from collections.abc import Callable

    from aoi.tables import FileTable, Row
    from detector.wagons.detections import Detections
    from detector.wagons.detector import WagonDetector

# The detector ends with the process: to take its network apart before takes a twentieth of a second.
_kept: list[WagonDetector] = []


def detect(
    images: Annotated[
        list[Path], typer.Argument(help="Images: GeoTIFF, COG, VRT, MBTiles, JPEG, PNG.", metavar="IMAGE")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Write the wagons to FILE: .geojson (WGS84), .gpkg or .parquet.", metavar="FILE"
        ),
    ] = None,
    gsd: Annotated[
        float | None,
        typer.Option(
            "--gsd", help="Ground sampling distance in metres, for images without position.", metavar="METRES"
        ),
    ] = None,
    gsd_file: Annotated[
        Path | None,
        typer.Option("--gsd-file", help="CSV with columns file and gsd_m, a row an image.", metavar="CSV"),
    ] = None,
    overlay: Annotated[
        Path | None,
        typer.Option("--overlay", help="Write a picture with the boxes drawn for each image.", metavar="DIR"),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", min=0.01, max=0.99, help="Probability from which a box is drawn."),
    ] = None,
    careful: CarefulOption = False,
    tile_px: Annotated[
        int, typer.Option("--tile-px", min=128, help="Tile size in 0.5 m pixels, a multiple of 32.")
    ] = TILE_PX,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Tiles that go through the network at once.")
    ] = 1,
    device: DeviceOption = "auto",
    backend: BackendOption = "auto",
    weights: WeightsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find [bold]wagons in images[/bold] of 1 m and finer and count the freight cars.

    With several images, one that can't be used is reported and the rest goes on; the exit code is 2 if none
    could.
    """
    # Whatever is wrong with the options or the names is said before the work and before heavy imports.
    if gsd is not None and gsd_file is not None:
        _common.fail("--gsd and --gsd-file exclude each other")
    if tile_px % 32:
        _common.fail(f"--tile-px {tile_px}: must be a multiple of 32")
    if out is not None:
        from detector.wagons import check_target

        check_target(out)
    if weights is not None and not weights.is_file():
        _common.fail(f"{weights}: no such weights file")
    # The declared ground sampling distance of each image; none where it must know by itself.
    distance = (lambda _: gsd) if gsd_file is None else distance_table(gsd_file).of
    with _common.progress("starting") as report:
        report(0, len(images))
        found, skipped = _found(
            images,
            distance,
            overlay,
            report,
            load={"path": weights, "device": device, "backend": backend},
            threshold=threshold,
            careful=careful,
            tile_px=tile_px,
            batch_size=batch_size,
        )
    rows = [_row(image, result) for image, result in found]
    if not found:
        reasons = "; ".join(s["reason"] for s in skipped[:3])
        _common.fail(f"none of the {len(images)} images could be used: {reasons}")
    if out is not None:
        from detector.wagons.detections import write

        write([result for _, result in found], out)
    if as_json:
        _common.emit_json({"images": rows, "out": str(out) if out else None, "skipped": skipped})
        return
    _tables.table(
        ["image", "m/px", "freight cars", "90% interval", "boxes", "notes"],
        [
            [
                Path(r["image"]).name,
                f"{r['gsd_m']:.2f}",
                str(r["count"]),
                f"{r['count_low']} to {r['count_high']}",
                str(r["detections"]),
                "; ".join(r["warnings"]),
            ]
            for r in rows
        ],
    )
    for item in skipped:
        _common.tell(f"skipped: {item['reason']}")
    if out is not None:
        _common.say(f"wagons written to {out}")
    if overlay is not None:
        _common.say(f"pictures written to {overlay}")


def _found(
    images: list[Path],
    distance: Callable[[Path], float | None],
    overlay: Path | None,
    report: _common.Reporter,
    *,
    load: dict[str, Any],
    **settings: Any,
) -> tuple[list[tuple[Path, Detections]], list[dict[str, str]]]:
    """The wagons of each image, and the images that can't be used.

    Raises:
        InputError: The only image can't be used, or the detector can't be loaded.
    """
    from aoi.errors import InputError
    from detector.errors import WeightsError

    found: list[tuple[Path, Detections]] = []
    skipped: list[dict[str, str]] = []
    detector: WagonDetector | None = None

    def skip(image: Path, error: InputError) -> None:
        if len(images) == 1:
            raise error
        skipped.append({"path": str(image), "reason": " ".join(str(error).split())})

    for number, (image, picture) in enumerate(zip(images, _picture_names(images), strict=True)):
        report.label(image.name)
        report(number, len(images))
        try:
            _check_exists(image)
            from geo.opening import open_scene

            scene = open_scene(image, gsd_m=distance(image))
        except InputError as error:
            skip(image, error)
            continue
        if detector is None:
            # Only now: an image that can't be opened is refused before the network is loaded.
            from detector.wagons.detector import WagonDetector

            detector = WagonDetector.load(**load, later=True)
            _kept[:] = [detector]
        try:
            result = detector.detect(scene, **settings)
            if overlay is not None:
                from railwatch.pages.pictures.boxes import render

                overlay.mkdir(parents=True, exist_ok=True)
                write_bytes(overlay / f"{picture}.png", render(scene, result))
        except WeightsError:
            raise
        except InputError as error:
            skip(image, error)
        else:
            found.append((image, result))
    report(len(images), len(images))
    return found, skipped


def _check_exists(image: Path) -> None:
    """Refuse a file that isn't there, which needs no image library; it may lie in a zip.

    Raises:
        InputError: There is no such file.
    """
    if not image.exists() and not any(one.suffix.lower() == ".zip" for one in image.parents):
        _common.fail(f"{image}: there is no such file")


def _picture_names(images: list[Path]) -> list[str]:
    """A name for each image's picture: the image's own, with its folder's and a number where two share it."""
    stems = [image.stem for image in images]
    names = [
        stem if stems.count(stem) == 1 else f"{image.absolute().parent.name}-{stem}"
        for image, stem in zip(images, stems, strict=True)
    ]
    return [
        name if names.count(name) == 1 else f"{name}-{names[:number].count(name) + 1}"
        for number, name in enumerate(names)
    ]


def _row(image: Path, result: Any) -> dict[str, Any]:
    interval = result.interval
    return {
        "image": str(image),
        "gsd_m": round(result.gsd_m, 4),
        "count": interval.count,
        "count_low": interval.low,
        "count_high": interval.high,
        "count_by_type": result.count_by_type,
        "detections": len(result),
        "valid_fraction": round(result.valid_fraction, 4),
        "warnings": list(result.warnings),
    }


def distance_table(path: Path) -> FileTable[float]:
    """The table of ground sampling distances: columns ``file`` and ``gsd_m``, a row an image.

    Raises:
        InputError: The table can't be read or lacks a column or a number.
    """
    from aoi.tables import FileTable

    def metres(row: Row) -> float:
        value = row.number("gsd_m")
        if value <= 0:
            raise row.error(f"{row.where}: gsd_m is {row['gsd_m']!r}, not a number of metres")
        return value

    return FileTable.read(path, "gsd_m", metres)
