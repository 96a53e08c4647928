"""Scenes of PlanetScope as Planet delivers them: item type PSScene, orthorectified, 4 or 8 bands.

A scene is known by its name, ``20231005_021001_43_2427``: UTC time and satellite. What lies beside it in its
folder begins alike: the image (``_3B_AnalyticMS_SR[_8b][_harmonized][_clip].tif``, reflectance times 10,000;
``_3B_AnalyticMS`` without SR is radiance, whose XML has coefficients), the usable data mask (``_3B_udm2``),
and metadata (``_metadata.json``, a STAC item, or XML), which tell where the sun stood
(https://docs.planet.com/data/imagery/planetscope/psscene/). Scenes that a satellite took within a minute are
frames of one strip and become one product: a yard may lie across two of them.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from geo.errors import Refusal, SceneError
from geo.file_tree import FileTree
from geo.sentinel2.constellation import PLANETSCOPE, SIMULATED
from geo.sentinel2.formats.esa_xml import XmlTexts, finite_number, parsed_xml
from geo.sentinel2.formats.product import EIGHT_BITS, QUANTIFICATION, Product, build_product, lacking
from geo.sentinel2.formats.product_names import TEN_METRE_BANDS, SceneFiles, time_or_none
from geo.sentinel2.formats.raster_band import BANDS as MASK_BANDS
from geo.sentinel2.formats.raster_band import MASK, NO_DATA, Band, Header, header
from geo.sentinel2.formats.recognise import described

_ORDER = (
    "order the surface reflectance (asset ortho_analytic_4b_sr or ortho_analytic_8b_sr) with its ortho_udm2"
)
# Blue, green, red and near infrared, from 1, by the number of bands.
_BANDS = {4: (1, 2, 3, 4), 8: (2, 4, 6, 8)}


@dataclass(frozen=True)
class _SceneMetadata:
    """What a scene's metadata say beside its name."""

    sun: tuple[float | None, float | None] = (None, None)
    instrument: str | None = None
    strip: str | None = None
    simulated: bool = False
    ground_control: bool | None = None
    published: dt.datetime | None = None


def open_strip(tree: FileTree, scenes: Sequence[SceneFiles]) -> tuple[list[Product], list[Refusal]]:
    """Open the scenes of one strip as far as their metadata.

    Args:
        tree: The files.
        scenes: Of the strip, as `geo.sentinel2.formats.product_names.strips` finds them.

    Returns:
        A product with all frames, two where some are of reflectance at the ground and others at the top of
        the atmosphere; and the scenes that can't be used.
    """
    products: list[Product] = []
    refusals: list[Refusal] = []
    for scene in scenes:
        files = tuple(sorted({tree.file(one.name) for one in scene.files}))
        path = tree.file(scene.ranked()[0].name)  # stands for the scene in sentences
        try:
            products.append(_opened(tree, scene, path, files))
        except Exception as error:  # one bad scene must not stop the rest
            refusals.append(Refusal.of(path, error, files))
    joint = []
    for level in ("SR", "TOA"):
        frames = [one for one in products if one.level == level]
        if frames:
            together = {file for one in frames for file in one.files}
            joint.append(replace(frames[0], frames=tuple(frames[1:]), files=tuple(sorted(together))))
    return joint, refusals


def _opened(tree: FileTree, scene: SceneFiles, path: Path, files: tuple[Path, ...]) -> Product:
    """Put a scene's product together."""
    if scene.composite:
        raise SceneError(
            f"{path}: is a composite, which tells neither its time of day nor what its numbers mean; order "
            "the scenes themselves, clipped: those of a strip are laid together here"
        )
    images = scene.images("analyticms", without=("dn",)) or scene.images("analytic", without=("dn",))
    if not images:
        if scene.images("visual"):
            raise SceneError(f"{path}: {EIGHT_BITS}; {_ORDER}")
        raise SceneError(f"{path}: holds digital numbers without a scale; {_ORDER}")
    image = images[0]
    found = header(tree.gdal(image.name))
    if not found.georeferenced or {"1a", "1b"} & set(image.words):
        raise SceneError(
            f"{path}: has no position on the map, as a basic scene, which isn't orthorectified; {_ORDER}"
        )
    if found.dtypes[0] in ("uint8", "int8"):
        raise SceneError(f"{path}: {EIGHT_BITS}; {_ORDER}")
    if found.dtypes[0] != "uint16":
        raise SceneError(f"{path}: is of {found.dtypes[0]}, but Planet's images are of uint16")
    indexes = _indexes(found, path)
    metadata = _metadata(tree, scene)
    decisions = [] if metadata else ["no metadata lie beside it: where the sun stood isn't known"]
    metadata = metadata or _SceneMetadata()
    surface = "sr" in image.words
    if surface:
        scales = dict.fromkeys(TEN_METRE_BANDS, 1.0 / QUANTIFICATION)
    else:
        scales = _coefficients(tree, scene, indexes, path)
        decisions.append("radiance, made reflectance at the top of the atmosphere by the XML's coefficients")
    bands = {
        name: Band(name, tree.gdal(image.name), indexes[name], scales[name], 0.0, (NO_DATA,))
        for name in TEN_METRE_BANDS
    }
    mask = _mask(tree, scene)
    if mask is None:
        decisions.append("no usable data mask (udm2) lies beside it: clouds are judged by the pixels alone")
    if metadata.ground_control is False:
        decisions.append("by its metadata it wasn't placed by ground control: it may lie tens of metres off")
    simulated = SIMULATED if metadata.simulated else ""
    return build_product(
        found,
        path=path,
        part="" if path.suffix.lower() != ".zip" else scene.id,
        kind="PSScene",
        level="SR" if surface else "TOA",
        platform=f"{simulated}{PLANETSCOPE.name} {scene.satellite}",
        datetime=scene.when,
        clock="tile",
        relative_orbit=None,
        baseline=None,
        tile=None,
        bands=bands,
        classes=mask,
        sun=metadata.sun,
        files=files,
        about={
            "product": scene.id,
            "satellite": scene.satellite,
            "instrument": metadata.instrument,
            "strip": metadata.strip,
            "harmonized": "harmonized" in image.words,
            "gsd_m": round(abs(found.transform.a), 3),
            "averaged_fwhm_m": PLANETSCOPE.spread_m,
        },
        decisions=decisions,
        generated=metadata.published,
    )


def _indexes(found: Header, path: Path) -> Mapping[str, int]:
    """The bands' numbers in the file: by their names, else by how many there are."""
    named = described(found.descriptions)
    if all(len(named.get(band, ())) == 1 for band in TEN_METRE_BANDS):
        return {band: named[band][0] for band in TEN_METRE_BANDS}
    if found.count == 3:
        raise SceneError(
            f"{path}: {lacking(['B08'])}, which of PlanetScope are blue, green, red and near infrared"
        )
    if found.count not in _BANDS:
        raise SceneError(f"{path}: has {found.count} bands, but PlanetScope's scenes have 4 or 8; {_ORDER}")
    return dict(zip(TEN_METRE_BANDS, _BANDS[found.count], strict=True))


def _mask(tree: FileTree, scene: SceneFiles) -> Band | None:
    """The usable data mask, None where there is none that can be read."""
    for file in scene.images("udm2", without=("1a", "1b")):
        try:
            found = header(tree.gdal(file.name))
        except SceneError:
            continue
        if found.georeferenced and found.count == MASK_BANDS:
            return Band(MASK, found.path, nothing=())
    return None


def _metadata(tree: FileTree, scene: SceneFiles) -> _SceneMetadata | None:
    """What JSON, a STAC item or XML say; what can't be read is left out."""
    for file in scene.files:
        if file.ending == "json" and (said := _from_json(tree, file.name)) is not None:
            return said
    for file in scene.files:
        if file.ending == "xml" and "metadata" in file.words:
            try:
                texts = XmlTexts(parsed_xml(tree.read(file.name), tree.file(file.name)))
            except SceneError:
                continue
            azimuth, elevation = (
                finite_number(texts.first(f"illumination{name}Angle")) for name in ("Azimuth", "Elevation")
            )
            serial = texts.first("serialIdentifier") or ""
            return _SceneMetadata((azimuth, elevation), simulated=serial.startswith(SIMULATED))
    return None


def _from_json(tree: FileTree, name: str) -> _SceneMetadata | None:
    try:
        content = json.loads(tree.read(name))
    except (ValueError, RecursionError, SceneError):
        return None
    properties = content.get("properties") if isinstance(content, Mapping) else None
    if not isinstance(properties, Mapping):
        return None

    def said(*keys: str) -> Any:
        return next((properties[key] for key in keys if properties.get(key) is not None), None)

    def number(*keys: str) -> float | None:
        value = said(*keys)
        return finite_number(str(value)) if not isinstance(value, bool) else None

    sun = number("sun_azimuth", "view:sun_azimuth"), number("sun_elevation", "view:sun_elevation")
    if sun == (None, None) and said("acquired", "datetime") is None:
        return None  # another file, such as an order's manifest
    listed = said("instrument", "instruments")
    instrument = listed[0] if isinstance(listed, list) and listed else listed
    control, strip = said("ground_control", "pl:ground_control"), said("strip_id", "pl:strip_id")
    return _SceneMetadata(
        sun=sun,
        instrument=str(instrument) if instrument else None,
        strip=None if strip is None else str(strip),
        simulated=str(said("satellite_id", "platform") or "").startswith(SIMULATED),
        ground_control=control if isinstance(control, bool) else None,
        published=time_or_none(str(said("published", "created"))),
    )


def _coefficients(
    tree: FileTree, scene: SceneFiles, indexes: Mapping[str, int], path: Path
) -> dict[str, float]:
    """What radiances are multiplied by to become reflectance at the top of the atmosphere."""
    for file in scene.files:
        if file.ending != "xml" or "metadata" not in file.words:
            continue
        texts = XmlTexts(parsed_xml(tree.read(file.name), tree.file(file.name)))
        by_band: dict[int, float] = {}
        for element in texts.elements("bandSpecificMetadata"):
            one = XmlTexts(element)
            number = finite_number(one.first("bandNumber"))
            factor = finite_number(one.first("reflectanceCoefficient"))
            if number is not None and factor is not None and 0.0 < factor < 1e-3:
                by_band[int(number)] = factor
        if all(index in by_band for index in indexes.values()):
            return {name: by_band[index] for name, index in indexes.items()}
    raise SceneError(
        f"{path}: holds radiance, and no metadata XML beside it has the coefficients that make it "
        f"reflectance: put the asset's XML there, or {_ORDER}"
    )
