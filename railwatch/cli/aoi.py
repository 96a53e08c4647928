"""``railwatch aoi``: the known areas, what is in them, whether a file is right, and their tracks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from railwatch.cli._common import emit_json, fail, progress, say
from railwatch.cli._options import DeviceOption, JsonOption, WeightsOption
from railwatch.cli._tables import table

if TYPE_CHECKING:
    from aoi import AreaOfInterest
    from aoi.track_import import TrackImport
    from railwatch.pipeline.fit_tracks import TrackFit


AreaArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME_OR_FILE", help="A bundled name (see 'aoi list') or a file: GeoJSON, KML, Shapefile, ..."
    ),
]

app = typer.Typer(
    help="Areas of interest: list, make, show, check, and bring in track lines.", no_args_is_help=True
)


@app.command("list")
def list_areas(as_json: JsonOption = False) -> None:
    """List the bundled areas."""
    from aoi import area_names, load_area

    areas = [load_area(name) for name in area_names()]
    if as_json:
        emit_json({"areas": [_as_document(area) for area in areas]})
        return
    table(
        ("name", "title", "km2", "tracks", "zones", "masks"),
        (
            (area.name, area.title, _km2(area), len(area.tracks), len(area.zones), len(area.masks))
            for area in areas
        ),
    )
    say("'railwatch aoi show NAME' tells more; any command also takes a GeoJSON file of your own.")


@app.command("new")
def new_area_file(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The area's name: a-z, 0-9 and hyphens.")],
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="An outline in any vector format: GeoJSON of any shape, KML, KMZ, GeoPackage, Shapefile, "
            "WKT, ... Polygons become the boundary, lines become tracks.",
        ),
    ] = None,
    bbox: Annotated[
        str | None, typer.Option("--bbox", metavar="W,S,E,N", help="A box in degrees, instead of a file.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="The file to write; NAME.geojson here by default."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make an area file of an outline in any format, or of a box."""
    from aoi import new_area

    area, path = new_area(name, source=source, bbox=bbox, out=out)
    if as_json:
        emit_json(_as_document(area) | {"path": path})
        return
    say(f"{path}: {_contents(area)}")
    for limitation in area.limitations:
        say(limitation)


@app.command("show")
def show_area(
    name_or_file: AreaArgument,
    as_json: JsonOption = False,
    as_geojson: Annotated[
        bool, typer.Option("--geojson", help="Print the area file itself, to make your own from it.")
    ] = False,
) -> None:
    """Show what an area holds, where it comes from and what it lacks."""
    from aoi import load_area
    from aoi.io import area_document, is_area_file

    area = load_area(name_or_file)
    if as_geojson and area.path is not None and is_area_file(area.path):
        # the file as it is, whose lay-out is easier to edit than one member a line
        typer.echo(area.path.read_text("utf-8-sig"), nl=False)
    elif as_geojson:
        typer.echo(json.dumps(area_document(area), indent=2, ensure_ascii=False))
    elif as_json:
        emit_json(_as_document(area))
    else:
        _say_details(area)


@app.command("check")
def check_areas(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Area files, or names of bundled areas.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Check area files and name everything that is wrong with them; exit 2 if one can't be used."""
    from aoi import check_area

    results = {file: check_area(file) for file in files}
    if as_json:
        documents = [
            {
                "file": file,
                "ok": result.area is not None,
                "problems": list(result.problems),
                "area": None if result.area is None else _as_document(result.area),
            }
            for file, result in results.items()
        ]
        emit_json({"files": documents})
    else:
        for file, result in results.items():
            for problem in result.problems:
                say(f"{file}: {problem.level}: {problem}")
            if result.area is not None:
                say(f"{file}: usable: {_contents(result.area)}")
    bad = [file for file, result in results.items() if result.area is None]
    if bad:
        number = sum(len(results[file].errors) for file in bad)
        errors = "1 error" if number == 1 else f"{number} errors"
        fail(f"{', '.join(bad)}: {errors}; can't be used as an area")


@app.command("tracks")
def import_area_tracks(
    name_or_file: AreaArgument,
    more: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[IMAGE...]", help="Further images after --from-image.", show_default=False),
    ] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Railway lines: an OpenStreetMap extract (.osm, .osm.pbf), an Overpass answer in JSON, or "
            "any vector file. Repeat it for several, such as the extracts on both sides of a border.",
        ),
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(
            "--from-image",
            metavar="IMAGE",
            help="Fit lines to the wagons and tracks on an image of 1 m or finer; name several, of different "
            "days, for more and better lines.",
        ),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(
            "--from-store",
            metavar="DIR",
            help="Fit lines to the wagons that a store remembers, over all its observations of the area.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="The area file to write; by default the file given, or NAME.geojson in the current folder "
            "for a bundled area.",
        ),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(
            "--include",
            metavar="STATE",
            help="Also take lines of --from that are left out: disused, abandoned, construction, tunnel, ... "
            "Repeat it for several.",
        ),
    ] = None,
    device: DeviceOption = "auto",
    weights: WeightsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put track lines into an area file: railway lines from a file, or lines fitted to wagons.

    Lines are cut at the boundary. Those of an earlier import from the same origin are replaced (all fitted
    lines have one origin), all other tracks stay, and where one of these runs no line is fitted.
    """
    given = [
        name
        for name, value in (("--from", files), ("--from-image", images), ("--from-store", store))
        if value
    ]
    if len(given) != 1:
        few = "give one of" if not given else f"{' and '.join(given)} exclude each other: give one of"
        fail(f"aoi tracks: {few} --from FILE, --from-image IMAGE and --from-store DIR")
    if more and not images:
        fail(f"{more[0]}: a further file is taken after --from-image only; repeat {given[0]} instead")
    if include and not files:
        fail(f"--include goes with --from, not with {given[0]}")
    if images:
        from aoi import load_area
        from detector.wagons.detector import WagonDetector
        from railwatch.pipeline.fit_tracks import tracks_from_images

        load_area(name_or_file)  # a wrong area is said before the network is loaded
        with progress("looking") as report:
            detector = WagonDetector.load(weights, device)
            named = [*images, *(more or ())]
            fit = tracks_from_images(name_or_file, named, detector, out=out, progress=report)
        _show_fit(fit, as_json)
    elif store is not None:
        from railwatch.pipeline.fit_tracks import tracks_from_store
        from railwatch.store.store import Store

        _show_fit(tracks_from_store(name_or_file, Store.open(store, create=False), out=out), as_json)
    else:
        _from_files(name_or_file, files or [], out, include or [], as_json)


def _from_files(
    name_or_file: str, files: list[Path], out: Path | None, include: list[str], as_json: bool
) -> None:
    from aoi.track_import import import_tracks

    done = import_tracks(name_or_file, files, out=out, include=include)
    if as_json:
        emit_json(_import_summary(done))
        return
    _say_written(done)
    for path in done.unfiltered:
        say(f"{path} doesn't say which of its lines are railways: all were taken.")
    if done.left_out:
        states = ", ".join(f"{number} {state}" for state, number in done.left_out.items())
        say(f"Left out: {states} (see --include).")
    for credit in sorted({str(source) for source in done.credits if source.licence}):
        say(f"Credit to keep with the file: {credit}.")


def _show_fit(fit: TrackFit, as_json: bool) -> None:
    if as_json:
        emit_json(_fit_summary(fit))
        return
    _say_written(fit.done)
    table(
        ("track", "length", "wagons on it", "of images", "track likelihood", "within"),
        (
            (
                track.id,
                f"{track.line.length_m:.0f} m",
                track.line.sightings,
                f"{len(track.line.observations)} of {len(fit.sources)}",
                "-" if track.line.likelihood is None else f"{track.line.likelihood:.2f}",
                f"{track.line.uncertainty_m:.1f} m",
            )
            for track in fit.tracks
        ),
    )
    for one in fit.skipped:
        say(f"skipped: {one.path}: {one.reason}")
    if fit.known_m >= 1.0:
        say(f"{fit.known_m:.0f} m of fitted line were left out: tracks of another origin run there.")
    say("Look at the lines on an image before you count along them.")


def _say_written(done: TrackImport) -> None:
    kilometres = done.length_m / 1000
    tracks = "1 track" if done.added == 1 else f"{done.added} tracks"
    replaced = f"{done.replaced} of the same origin replaced" if done.replaced else "none replaced"
    say(f"{done.out}: {tracks} ({kilometres:.2f} km) in {done.area.name}, {replaced}, {done.kept} kept.")


def _as_document(area: AreaOfInterest) -> dict[str, Any]:
    from aoi import geodesy as ground

    return {
        "name": area.name,
        "title": area.title,
        "path": area.path,
        "bounds": list(area.boundary.bounds),
        "area_km2": _km2(area),
        "tracks": [
            {"id": track.id, "length_m": round(ground.length_m(track.line), 1), "gauge_mm": track.gauge_mm}
            for track in area.tracks
        ],
        "zones": [
            {"id": zone.id, "title": zone.title, "uncertainty_m": zone.uncertainty_m} for zone in area.zones
        ],
        "masks": [
            {
                "reason": mask.reason,
                "from": mask.start,
                "to": mask.end,
                "area_m2": round(ground.area_m2(mask.polygon), 1),
                "uncertainty_m": mask.uncertainty_m,
            }
            for mask in area.masks
        ],
        "sources": list(area.sources),
        "limitations": list(area.limitations),
        "digest": area.digest,
    }


def _import_summary(done: TrackImport) -> dict[str, Any]:
    return {**vars(done), "area": done.area.name, "length_m": round(done.length_m, 1)}


def _fit_summary(fit: TrackFit) -> dict[str, Any]:
    return {
        **_import_summary(fit.done),
        "known_m": round(fit.known_m, 1),
        "looks": [source.to_json() for source in fit.sources],
        "skipped": [one.to_json() for one in fit.skipped],
        "tracks": [
            {
                "id": track.id,
                "length_m": round(track.line.length_m, 1),
                "sightings": track.line.sightings,
                "looks": [fit.sources[number].name for number in track.line.observations],
                "occupied_share": round(track.line.occupied_share, 2),
                "track_likelihood": None
                if track.line.likelihood is None
                else round(track.line.likelihood, 2),
                "uncertainty_m": round(track.line.uncertainty_m, 1),
            }
            for track in fit.tracks
        ],
    }


def _km2(area: AreaOfInterest) -> float:
    from aoi import geodesy as ground

    return round(ground.area_m2(area.boundary) / 1e6, 3)


def _contents(area: AreaOfInterest) -> str:
    counts = ((area.tracks, "track"), (area.zones, "zone"), (area.masks, "mask"))
    parts = (f"{len(items)} {noun}{'' if len(items) == 1 else 's'}" for items, noun in counts)
    return f"{_km2(area)} km2, {', '.join(parts)}"


def _say_details(area: AreaOfInterest) -> None:
    from aoi import geodesy as ground

    width, height = ground.extent_m(area.boundary)
    say(f"{area.title} ({area.name})", style="bold")
    say(f"{area.path}")
    west, south, east, north = area.boundary.bounds
    say(
        f"Boundary  {west:.4f} to {east:.4f} E, {south:.4f} to {north:.4f} N; {width:.0f} m by {height:.0f} m"
    )
    if area.tracks:
        total = sum(ground.length_m(track.line) for track in area.tracks)
        say(f"Tracks    {len(area.tracks)}, {total / 1000:.2f} km")
    for zone in area.zones:
        say(f"Zone      {zone.title} ({zone.id}){_doubt(zone.uncertainty_m)}")
    for mask in area.masks:
        say(f"Mask      {mask.reason}, {_dates(mask.start, mask.end)}{_doubt(mask.uncertainty_m)}")
    for limitation in area.limitations:
        say(f"Limit     {limitation}")
    for source in area.sources:
        used_for = f": {source.used_for}" if source.used_for else ""
        say(f"Source    {source}{used_for}")
    say(f"Digest    {area.digest}")


def _doubt(uncertainty_m: float | None) -> str:
    return f", position within {uncertainty_m:g} m" if uncertainty_m else ""


def _dates(start: object, end: object) -> str:
    if start is None and end is None:
        return "always"
    return " ".join(f"{word} {day}" for word, day in (("from", start), ("to", end)) if day is not None)
