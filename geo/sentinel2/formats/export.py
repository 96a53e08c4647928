"""Images that Google Earth Engine, Sentinel Hub and the like export: bands without ESA's metadata.

Their numbers mean what the exporter made of them. They are used where a declaration says what that is (see
`geo.sentinel2.formats.declaration`), where the file itself does, or where a well-known habit can be
recognised; all others are refused with the way out.
"""

from __future__ import annotations

import datetime as dt
import logging
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from geo.errors import Refusal, SceneError
from geo.file_tree import FileTree, ZipFileTree, parent
from geo.filename_metadata import acquisition_time, sensor_name
from geo.ground_metric import apply_affine, doubt_at
from geo.sentinel2.formats.declaration import Declaration, Declared, parse_declaration
from geo.sentinel2.formats.product import EIGHT_BITS, QUANTIFICATION, Clock, Product, build_product, lacking
from geo.sentinel2.formats.product_names import (
    CLASSES,
    DECLARATION,
    SHIFT,
    TEN_METRE_BANDS,
    ProductMetadata,
    compact_time,
    platform_of,
    tile_in,
)
from geo.sentinel2.formats.radiometric_offset import decide, floors
from geo.sentinel2.formats.raster_band import SATURATED, Band, header, sample
from geo.sentinel2.formats.recognise import (
    ENGINE_INDEX,
    TEN_METRES,
    ExportImage,
    band_name,
    described,
    last_band,
    pixel_m,
    product_tags,
    stacked,
)

log = logging.getLogger(__name__)

_ENGINE_BANDS = re.compile(r"^B[2348]$")
# 2023-10-05-00_00_2023-10-05-23_59_Sentinel-2_L2A_B02_(Raw)
_BROWSER = re.compile(r"(\d{4}-\d\d-\d\d)-\d\d[:_]\d\d_(\d{4}-\d\d-\d\d)-\d\d[:_]\d\d")
# The collection that the file's own metadata name; a word in its path may stand for anything.
_HARMONIZED = re.compile(r"(?<![A-Za-z0-9])S2(?:_SR)?_HARMONIZED(?![A-Za-z0-9])")
# Half a pixel.
_LARGEST_ERROR_M = 5.0
_HIGHEST_REFLECTANCE = 2.5
"""No more than a hundredth of a scene is brighter, with the sun low on snow or glass."""

HOW = (
    f"declare it in a file {DECLARATION} beside it (scale, offset, bands, datetime; geo/README.md has an "
    "example)"
)


@dataclass(frozen=True)
class _ExportSource:
    """What one export is put together from: bands, each a file and an index in it."""

    part: str
    images: Mapping[str, tuple[ExportImage, int]]
    declared: Declared
    declared_by: Path | None
    moment: str = ""
    """What the names of the bands tell of the time."""

    @property
    def tags(self) -> ProductMetadata | None:
        """What the file's metadata say of ESA's product that it is a clip of."""
        return product_tags(self.images["B04"][0].header.tags) if "B04" in self.images else None


def open_exports(
    tree: FileTree, names: Sequence[str], images: Mapping[str, ExportImage]
) -> tuple[list[Product], list[Refusal]]:
    """Open the exports among files.

    Args:
        tree: The files.
        names: Those to look among: none of a product in another format.
        images: Those of them that are Sentinel-2's: see `geo.sentinel2.formats.recognise`.

    Returns:
        The products, and what is refused.
    """
    products: list[Product] = []
    refusals: list[Refusal] = []
    declarations: dict[str, Declaration] = {}
    for name in names:
        if name.rpartition("/")[2] == DECLARATION:
            path = tree.file(name)
            try:
                declarations[parent(name)] = parse_declaration(tree.read(name), path)
            except SceneError as error:
                refusals.append(Refusal.of(path, error, (path,)))
                declarations[parent(name)] = Declaration(path)
    done: set[str] = set()
    for folder, stated in declarations.items():
        for file, declared in stated.acquisitions:
            used, outcome = _declared_acquisition(tree, images, folder, stated.path, file, declared)
            done |= used
            if isinstance(outcome, Product):
                products.append(outcome)
            else:
                refusals.append(outcome)
    groups: dict[tuple[str, str], list[ExportImage]] = {}
    for name, image in images.items():
        if name in done:
            continue
        key, match = (name, ""), last_band(image.stem)
        if image.header.count == 1 and match is not None:
            key = parent(name), image.stem[: match.start()] + image.stem[match.end() :]
        groups.setdefault(key, []).append(image)
    for together in groups.values():
        first = together[0].name
        declaration = _declaration_for(tree, declarations, first)
        path = tree.file(first)
        by = {declaration.path} if declaration is not None else set()
        files = tuple(sorted({*by, *(tree.file(image.name) for image in together)}))
        try:
            for source in _undeclared_sources(together, declaration, path):
                products.append(_assembled(tree, path, source, files))
        except Exception as error:  # one bad export must not stop the rest
            refusals.append(Refusal.of(path, error, files))
    return products, refusals


def _declaration_for(
    tree: FileTree, declarations: Mapping[str, Declaration], name: str
) -> Declaration | None:
    """The declaration in a file's folder or in the one above it, be that above the place that was named."""
    folder = parent(name)
    for one in dict.fromkeys((folder, parent(folder))):
        if one in declarations:
            return declarations[one]
    above = tree.path.parent / DECLARATION
    try:
        return parse_declaration(above.read_bytes(), above) if not folder and above.is_file() else None
    except (OSError, SceneError) as error:
        log.debug("%s", error)
    return None


def _declared_acquisition(
    tree: FileTree,
    images: Mapping[str, ExportImage],
    folder: str,
    by: Path,
    file: str,
    declared: Declared,
) -> tuple[set[str], Product | Refusal]:
    """One acquisition that a declaration lists."""

    def named(name: str) -> str:
        return posixpath.normpath(posixpath.join(folder, name))

    place = {band: (named(name or file), index) for band, (name, index) in declared.bands.items()}
    used = {name for name, _ in place.values()} or {named(file)}
    first = named(file) if file else sorted(used)[0]
    path = tree.file(first)
    moment = f"{declared.datetime:%Y%m%d}" if declared.day_only else f"{declared.datetime:%Y%m%dT%H%M%S}"
    files = tuple(sorted({by, *(tree.file(name) for name in used)}))
    try:
        missing = [name for name in sorted(used) if not tree.has(name)]
        if missing:
            raise SceneError(f"{by}: names {missing[0]}, which isn't there")
        opened = {
            name: images.get(name) or ExportImage(name, header(tree.gdal(name))) for name in sorted(used)
        }
        if place:
            bands = {band: (opened[name], index) for band, (name, index) in place.items()}
        else:
            found = described(opened[first].header.descriptions)
            bands = {band: (opened[first], indexes[0]) for band, indexes in found.items()}
        source = _ExportSource(moment, bands, declared, by)
        return used, _assembled(tree, path, source, files)
    except Exception as error:  # one bad acquisition must not stop the rest
        refused = by if str(error).startswith(f"{by}: ") else path
        return used, Refusal.of(refused, error, files)


def _undeclared_sources(
    images: Sequence[ExportImage], declaration: Declaration | None, path: Path
) -> Iterator[_ExportSource]:
    """Bands of one image with several, or of several with one each, as they are named; one source a date."""
    declared = declaration.folder if declaration is not None else Declared()
    by = declaration.path if declaration is not None else None
    found: dict[str, tuple[ExportImage, int]] = {}
    if len(images) == 1 and images[0].header.count > 1:
        image = images[0]
        if declared.bands:
            found = {band: (image, index) for band, (_, index) in declared.bands.items()}
        else:
            try:
                dates = stacked(image.header.descriptions)
            except SceneError as error:
                raise SceneError(f"{path}: {error}; {HOW}") from error
            for moment, bands in dates.items():
                found = {band: (image, index) for band, index in bands.items()}
                yield _ExportSource(moment if len(dates) > 1 else "", found, declared, by, moment)
            if dates:
                return
    else:
        for image in images:
            match = last_band(image.stem)
            band = band_name(match[1]) if match else None
            if band is None:
                named = described(image.header.descriptions)
                found.update({name: (image, indexes[0]) for name, indexes in named.items()})
            elif band not in found:
                found[band] = (image, 1)
            else:
                raise SceneError(f"{path}: has band {band} twice ({found[band][0].name} and {image.name})")
    if not found:
        if images[0].eight_bits:
            raise SceneError(f"{path}: {EIGHT_BITS}")
        count = images[0].header.count
        many = f"{count} bands" if count > 1 else "one band"
        raise SceneError(
            f"{path}: has {many} of 10 m pixels, but nothing says which they are, how they are scaled and "
            f"when they were taken; {HOW}"
        )
    yield _ExportSource("", found, declared, by)


def _assembled(tree: FileTree, path: Path, source: _ExportSource, files: tuple[Path, ...]) -> Product:
    """Put a product together."""
    missing = [band for band in TEN_METRE_BANDS if band not in source.images]
    ten = [source.images[band] for band in TEN_METRE_BANDS if band in source.images]
    if any(image.eight_bits for image, _ in ten):
        raise SceneError(f"{path}: {EIGHT_BITS}")
    if missing:
        raise SceneError(f"{path}: {lacking(missing)}")
    reference = source.images["B04"][0]
    for band, (image, index) in source.images.items():
        if not image.header.georeferenced:
            raise SceneError(f"{path}: its images have no position on the map")
        if index > image.header.count:
            raise SceneError(
                f"{path}: has {image.header.count} bands, so band {band} can't be number {index}"
            )
    side_m = pixel_m(reference.header)
    if side_m is None or not TEN_METRES[0] <= side_m <= TEN_METRES[1]:
        size = f"{side_m:.3g} m" if side_m else "unknown size"
        raise SceneError(
            f"{path}: has pixels of {size}, but wagons need those of 10 m: export it again with a scale of 10"
        )
    centre = apply_affine(
        reference.header.transform, [(reference.header.shape[1] / 2, reference.header.shape[0] / 2)]
    )
    assert reference.header.crs is not None  # placed
    doubt = doubt_at(reference.header.crs, centre[0], path)
    if doubt is not None and doubt.error_m > _LARGEST_ERROR_M:
        raise SceneError(f"{path}: {doubt.sentence}, which is too far to lay it over other dates")
    when, clock = _when(tree, path, reference, source)
    bare = {
        band: Band(band, tree.gdal(image.name), index)
        for band, (image, index) in source.images.items()
        if band != CLASSES
    }
    bands, decisions = _scaled(path, reference, source, bare)
    _check_reflectance(path, bands["B04"], source)
    classes = source.images.get(CLASSES)
    declared, tags = source.declared, source.tags
    baseline = declared.baseline or (tags.baseline if tags else None)
    tile = tile_in(reference.stem) or tile_in(source.moment) or (tile_in(tags.name) if tags else None)
    names = f"{reference.name} {path.name}"
    return build_product(
        reference.header,
        path=path,
        part=source.part or ("" if not isinstance(tree, ZipFileTree) else reference.name),
        kind="export",
        level=declared.level or (tags.level if tags else _level(names, classes is not None)),
        platform=declared.platform
        or (tags.platform if tags else platform_of(sensor_name(reference.stem, reference.header.tags))),
        datetime=when,
        clock=clock,
        relative_orbit=declared.relative_orbit or (tags.relative_orbit if tags else None),
        baseline=baseline,
        tile=tile,
        bands=bands,
        classes=Band(CLASSES, tree.gdal(classes[0].name), classes[1]) if classes is not None else None,
        sun=(declared.sun_azimuth_deg, declared.sun_elevation_deg),
        files=files,
        about={
            "declaration": str(source.declared_by) if source.declared_by is not None else None,
            "product": tags.name if tags else None,
            "scale": {name: band.scale for name, band in bands.items()},
            "reflectance_offset": {name: band.offset for name, band in bands.items()},
            "band_numbers": {name: [Path(band.path).name, band.index] for name, band in bands.items()},
        },
        decisions=decisions,
    )


def _scaled(
    path: Path, reference: ExportImage, source: _ExportSource, bare: Mapping[str, Band]
) -> tuple[dict[str, Band], list[str]]:
    """What the numbers mean: by declaration, by the file itself, or by a habit that can be recognised."""
    declared = source.declared
    floating = reference.header.dtypes[0].startswith("float")
    nodata = declared.nodata if declared.nodata is not None else reference.header.nodata
    nothing: tuple[float, ...] = (0.0,) if nodata is None else (nodata,)
    if not floating:
        nothing = (*nothing, SATURATED)

    def meant(scale: float, offset: float, why: str) -> tuple[dict[str, Band], list[str]]:
        return {
            name: replace(band, scale=scale, offset=offset, nothing=nothing) for name, band in bare.items()
        }, [why]

    if declared.scale is not None:
        offset = declared.offset if declared.offset is not None else 0.0
        said = f"scale {declared.scale:g} and offset {offset:g} as declared"
        return meant(declared.scale, offset, said)
    tags = source.tags
    if tags is not None and not floating:
        found = floors({name: bare[name] for name in TEN_METRE_BANDS})
        offset, why = tags.offsets["B04"], f"by baseline {tags.baseline}, as the file's metadata say"
        if offset and found.removed:
            offset, why = 0.0, f"since 1000 was taken off: {found.say()}"
        said = f"scale 1/{tags.quantification:g} and offset {offset:g} {why}"
        return meant(1.0 / tags.quantification, offset / tags.quantification, said)
    own = {
        name: (image.header.scales[index - 1], image.header.offsets[index - 1])
        for name, (image, index) in source.images.items()
        if name in bare
    }
    if all(scale != 1.0 for scale, _ in own.values()):
        return {
            name: replace(band, scale=own[name][0], offset=own[name][1], nothing=nothing)
            for name, band in bare.items()
        }, ["scale and offset as the file itself declares"]
    numbers = sample(bare["B04"])
    seen = numbers[np.isfinite(numbers) & ~np.isin(numbers, nothing)]
    if not seen.size:
        raise SceneError(f"{path}: holds no data")
    high = float(np.percentile(seen, 99.0))
    if floating and high <= _HIGHEST_REFLECTANCE and float(np.percentile(seen, 1.0)) >= -0.2:
        return meant(1.0, 0.0, "floating-point numbers between 0 and 1 are reflectance")
    if _by_earth_engine(reference, source) and high > _HIGHEST_REFLECTANCE:
        scale = 1.0 / QUANTIFICATION
        found = floors({name: bare[name] for name in TEN_METRE_BANDS})
        harmonized = _HARMONIZED.search(" ".join(reference.header.tags.values())) is not None
        if harmonized and decide(found, said_removed=True, declared=None).offset != -SHIFT:
            said = "harmonized numbers of Google Earth Engine by the file's metadata: scale 0.0001, offset 0"
            return meant(scale, 0.0, said)
        if found.removed:
            said = f"numbers of Google Earth Engine: scale 0.0001; no 1000 is in them, since {found.say()}"
            return meant(scale, 0.0, said)
        raise SceneError(
            f"{path}: comes from Google Earth Engine, but whether from a harmonized collection isn't known, "
            f"and {found.say()}; {HOW}"
        )
    raise SceneError(
        f"{path}: what its numbers ({reference.header.dtypes[0]}) are multiplied by isn't known; {HOW}"
    )


def _by_earth_engine(reference: ExportImage, source: _ExportSource) -> bool:
    """Whether an export is Earth Engine's: named by its index, with bands as only it writes them."""
    if ENGINE_INDEX.search(reference.stem):
        return True
    written = [image.header.descriptions[index - 1] for image, index in source.images.values()]
    return any(_ENGINE_BANDS.match(name) or ENGINE_INDEX.search(name) for name in written)


def _check_reflectance(path: Path, band: Band, source: _ExportSource) -> None:
    """Hold a declared scale against the pixels: a wrong one is worse than a refusal."""
    numbers = sample(band)
    seen = numbers[np.isfinite(numbers) & ~np.isin(numbers, band.nothing)]
    if not seen.size:
        return
    middle = float(np.median(seen)) * band.scale + band.offset
    low = float(np.percentile(seen, 1.0)) * band.scale + band.offset
    if not (0.0 < middle <= 1.6 and low >= -0.1):
        by = source.declared_by.name if source.declared_by is not None else "the file"
        raise SceneError(
            f"{path}: with the scale and offset that {by} declares half of band B04 would be below "
            f"{middle:.3g} and a hundredth below {low:.3g}, which aren't reflectances"
        )


def _when(tree: FileTree, path: Path, image: ExportImage, source: _ExportSource) -> tuple[dt.datetime, Clock]:
    declared, clip = source.declared, source.tags
    if declared.datetime is not None:
        return declared.datetime.replace(microsecond=0), "day" if declared.day_only else "tile"
    if clip is not None and not source.moment:
        return clip.start.replace(microsecond=0), "datatake"
    texts = [image.stem, parent(image.name).rpartition("/")[2] or tree.path.stem]
    if source.moment:
        texts = [source.moment]
    for text in texts:
        match = ENGINE_INDEX.search(text)
        if match is not None:
            return compact_time(match[1]), "datatake"
    spans = [match for text in texts if (match := _BROWSER.search(text)) is not None]
    if spans and spans[0][1] != spans[0][2]:
        raise SceneError(f"{path}: is made of several days ({spans[0][1]} to {spans[0][2]})")
    tags = image.header.tags
    for text, inside in zip(texts, (tags if not source.moment else {}, {}), strict=False):
        found = acquisition_time(text, inside)
        if found.fault is not None:
            raise SceneError(f"{path}: when it was taken can't be told: {found.fault}; {HOW}")
        if found.composite:
            raise SceneError(f"{path}: {found.doubt}, and each date is judged by itself; {HOW}")
        if found.when is not None:
            return found.when.replace(microsecond=0), "day" if found.day_only else "tile"
    raise SceneError(f"{path}: neither its name nor its tags tell when it was taken; {HOW}")


def _level(text: str, classified: bool) -> str:
    upper = text.upper()
    if "L2A" in upper or "S2_SR" in upper or classified:
        return "L2A"
    if "L1C" in upper or "S2_HARMONIZED" in upper:
        return "L1C"
    return "unknown"
