"""One small valid file for every reader of files that somebody else made, and how it is read."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from PIL import Image
from rasterio.transform import from_origin

from railwatch.store.observation import Observation, geometry_json, observation_id

YARD = shapely.Polygon([(130.60, 42.41), (130.61, 42.41), (130.61, 42.415), (130.60, 42.415)])
WEST, NORTH = 631_700.0, 4_697_000.0


@dataclass(frozen=True)
class Reader:
    """A reader of one kind of file.

    Attributes:
        name: What it reads.
        make: Writes a valid file into a folder and returns it.
        read: Reads it as the command line does.
        text: Whether the file is text, whose numbers and words are worth exchanging.
    """

    name: str
    make: Callable[[Path], Path]
    read: Callable[[Path], object]
    text: bool = False


def observation(number: int = 0, **changes: Any) -> Observation:
    when = datetime(2023, 9, 1, 2, 15, tzinfo=UTC) + timedelta(days=7 * number)
    values: dict[str, Any] = {
        "aoi": "yard",
        "scene": f"scene-{number}",
        "datetime": when,
        "sensor": "camera",
        "method": "wagons",
        "count": 10.0 + number,
        "count_low": 8.0 + number,
        "count_high": 13.0 + number,
        "clear_fraction": 0.9,
        "zones": {"north": {"count": 4.0, "count_low": 3.0, "count_high": 6.0}},
        "provenance": {
            "file": f"{number}.tif",
            "sha256": f"{number:064x}",
            "gsd_m": 0.5,
            "created": "2023-10-06T00:00:00Z",
            "area_limitations": [],
        },
        "geometry": geometry_json(YARD),
    } | changes
    key = {"sha256": values["provenance"].get("sha256"), "review": values["provenance"].get("review")}
    values.setdefault("id", observation_id(aoi="yard", when=when, method=values["method"], key=key))
    return Observation(**values)


def ground(bands: int = 3, size: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 160, (bands, size, size), dtype=np.uint8)


def geotiff(path: Path, pixels: np.ndarray | None = None, **profile: Any) -> Path:
    pixels = ground() if pixels is None else pixels
    settings: dict[str, Any] = {
        "driver": "GTiff",
        "count": len(pixels),
        "height": pixels.shape[1],
        "width": pixels.shape[2],
        "dtype": pixels.dtype,
        "crs": "EPSG:32652",
        "transform": from_origin(WEST, NORTH, 0.5, 0.5),
    }
    with rasterio.open(path, "w", **(settings | profile)) as image:
        image.write(pixels)
        if image.driver == "GTiff":
            image.update_tags(TIFFTAG_DATETIME="2024:05:01 02:00:00")
    return path


def read_image(path: Path) -> object:
    """As `railwatch detect` does: opened, its contrast taken from a sample, a part of it read."""
    from geo import open_scene

    scene = open_scene(path, gsd_m=0.5)
    size = min(scene.width, 48), min(scene.height, 48)
    with scene.open_pixels() as pixels:
        pixels.read((0, 0, *size))
    if scene.width * scene.height < 1_000_000:
        scene.read(max_px=32)
    return scene.footprint(), scene.datetime, scene.sha256()


# ---- images --------------------------------------------------------------------------------------------


def _tiled(folder: Path) -> Path:
    return geotiff(folder / "yard.tif", tiled=True, blockxsize=32, blockysize=32, compress="deflate")


def _strips(folder: Path) -> Path:
    return geotiff(folder / "yard.tif", ground(1).astype(np.uint16) * 8, compress="lzw", nodata=0)


def _png(folder: Path) -> Path:
    Image.fromarray(np.moveaxis(ground(), 0, 2)).save(folder / "yard.png")
    (folder / "yard.pgw").write_text("0.5\n0\n0\n-0.5\n631700\n4697000\n")
    (folder / "yard.prj").write_text(rasterio.crs.CRS.from_epsg(32652).to_wkt())
    return folder / "yard.png"


def _jpeg(folder: Path) -> Path:
    Image.fromarray(np.moveaxis(ground(), 0, 2)).save(folder / "yard.jpg")
    return folder / "yard.jpg"


def _beside(make: Callable[[Path], Path], name: str) -> Callable[[Path], Path]:
    """The side file of an image, which is read with it."""

    def made(folder: Path) -> Path:
        make(folder)
        return folder / name

    return made


def _read_beside(name: str) -> Callable[[Path], object]:
    return lambda path: read_image(path.with_name(name))


def _vrt(folder: Path) -> Path:
    geotiff(folder / "part.tif")
    source = (
        '<SimpleSource><SourceFilename relativeToVRT="1">part.tif</SourceFilename>'
        "<SourceBand>{0}</SourceBand>"
        '<SrcRect xOff="0" yOff="0" xSize="64" ySize="64"/><DstRect xOff="0" yOff="0" xSize="64" ySize="64"/>'
        "</SimpleSource>"
    )
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}">{source.format(band)}</VRTRasterBand>'
        for band in (1, 2, 3)
    )
    path = folder / "mosaic.vrt"
    path.write_text(
        f'<VRTDataset rasterXSize="64" rasterYSize="64"><SRS>EPSG:32652</SRS>'
        f"<GeoTransform>{WEST},0.5,0,{NORTH},0,-0.5</GeoTransform>{bands}</VRTDataset>"
    )
    return path


def _envi(folder: Path) -> Path:
    geotiff(folder / "yard.dat", driver="ENVI")
    return folder / "yard.hdr"


def _zipped(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "order.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(_tiled(folder), "files/yard.tif")
    return folder / "order.zip"


# ---- areas and tracks -----------------------------------------------------------------------------------


def area_document(*, tracks: bool = True) -> dict[str, Any]:
    def feature(role: str, geometry: Any, **properties: Any) -> dict[str, Any]:
        return {"type": "Feature", "properties": {"role": role, **properties}, "geometry": geometry}

    line = {"type": "LineString", "coordinates": [[130.602, 42.412], [130.608, 42.4125]]}
    features = [feature("boundary", geometry_json(YARD))]
    if tracks:
        features.append(feature("track", line, id="t1", gauge_mm=1520))
        features.append(feature("zone", geometry_json(YARD.buffer(-0.001)), id="north", title="North"))
    return {
        "type": "FeatureCollection",
        "name": "yard",
        "title": "A yard",
        "sources": ["drawn for a test"],
        "features": features,
    }


def area_file(folder: Path) -> Path:
    path = folder / "area.geojson"
    path.write_text(json.dumps(area_document()))
    return path


def _read_area(path: Path) -> object:
    from aoi import load_area

    return load_area(path)


def overpass(folder: Path, **element: Any) -> Path:
    way = {
        "type": "way",
        "id": 7,
        "tags": {"railway": "rail", "gauge": "1520"},
        "geometry": [{"lon": 130.602, "lat": 42.412}, {"lon": 130.608, "lat": 42.4125}],
    } | element
    path = folder / "overpass.json"
    path.write_text(
        json.dumps({"version": 0.6, "elements": [way, {"type": "node", "id": 1, "lat": 42, "lon": 130}]})
    )
    return path


def _osm(folder: Path) -> Path:
    path = folder / "extract.osm"
    path.write_text(
        '<?xml version="1.0"?><osm version="0.6"><node id="1" lat="42.412" lon="130.602"/>'
        '<node id="2" lat="42.4125" lon="130.608"/><way id="7"><nd ref="1"/><nd ref="2"/>'
        '<tag k="railway" v="rail"/></way></osm>'
    )
    return path


def _lines() -> Any:
    import geopandas as gpd

    line = shapely.LineString([(130.602, 42.412), (130.608, 42.4125)])
    return gpd.GeoDataFrame({"id": ["a"], "railway": ["rail"]}, geometry=[line], crs="OGC:CRS84")


KML = (
    '<?xml version="1.0" encoding="UTF-8"?><kml xmlns="http://www.opengis.net/kml/2.2"><Document><Placemark>'
    "<name>Yard</name><Polygon><outerBoundaryIs><LinearRing><coordinates>130.60,42.41 130.61,42.41 "
    "130.61,42.415 130.60,42.41</coordinates></LinearRing></outerBoundaryIs></Polygon></Placemark>"
    "</Document></kml>"
)


def _import_area(path: Path) -> object:
    from aoi.area_import import area_document_of

    return area_document_of(path)


def _vector(name: str, *, area: bool = False) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        table = _lines()
        (table.set_geometry([YARD]) if area else table).to_file(folder / name, engine="pyogrio")
        return folder / name

    return made


def _parquet(folder: Path) -> Path:
    _lines().to_parquet(folder / "lines.parquet")
    return folder / "lines.parquet"


def read_tracks(path: Path) -> object:
    from aoi.railway_lines import read_railways

    return read_railways(path, YARD)


# ---- tables and settings --------------------------------------------------------------------------------


def _text(name: str, content: str) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        (folder / name).write_text(content)
        return folder / name

    return made


def _read_distances(path: Path) -> object:
    from aoi.tables import read_table

    return [row.number("gsd_m") for row in read_table(path, ("file", "gsd_m"))]


def _read_dates(path: Path) -> object:
    from railwatch.pipeline.find_scenes import read_dates

    return read_dates(path)


def _read_events(path: Path) -> object:
    from railwatch.history.history import read_events

    return read_events(path)


def _bundled_table(name: str) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        import seeds

        source = Path(str(seeds.__file__)).parent / name
        rows = list(csv.reader(io.StringIO(source.read_text("utf-8"))))[:6]
        stream = io.StringIO()
        csv.writer(stream).writerows(rows)
        (folder / name).write_text(stream.getvalue(), "utf-8")
        return folder / name

    return made


def _read_published(path: Path) -> object:
    from seeds.published import load_published

    return load_published(path=path)


def _read_claims(path: Path) -> object:
    from seeds.claims import read_claims

    return read_claims(path)


def _settings(folder: Path) -> Path:
    from importlib import resources

    (folder / "mine.toml").write_text(resources.files("configs").joinpath("vhr.toml").read_text())
    return folder / "mine.toml"


def _read_settings(path: Path) -> object:
    from railwatch.config import load_config

    return load_config(path)


def _declaration(folder: Path) -> Path:
    (folder / "sentinel2.toml").write_text(
        'level = "L2A"\nscale = 0.0001\noffset = -0.1\nbands = ["B02", "B03", "B04", "B08"]\n'
        '[[acquisition]]\nfile = "a.tif"\ndatetime = 2024-05-01T02:00:00Z\n'
    )
    return folder / "sentinel2.toml"


def _read_declaration(path: Path) -> object:
    from geo.sentinel2.formats.declaration import parse_declaration

    return parse_declaration(path.read_bytes(), path)


def _assumptions(folder: Path) -> Path:
    import configs

    source = Path(str(configs.__file__)).parent / "claims.toml"
    shutil.copy(source, folder / "mine.toml")
    return folder / "mine.toml"


def _read_assumptions(path: Path) -> object:
    from railwatch.pages.claims import load_assumptions

    return load_assumptions(path)


def _review(name: str) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        import geopandas as gpd

        boxes = [
            shapely.box(130.603 + 0.001 * each, 42.412, 130.6032 + 0.001 * each, 42.41203) for each in (0, 1)
        ]
        columns = {
            "category": ["freight", "coach"],
            "observation": ["a", "a"],
            "keep": [True, False],
            "box": [1, 2],
        }
        gpd.GeoDataFrame(columns, geometry=boxes, crs="OGC:CRS84").to_file(folder / name, engine="pyogrio")
        return folder / name

    return made


def _read_review(path: Path) -> object:
    from railwatch.review.corrections import read_corrections

    return read_corrections(path)


def _sentinel2_chip() -> Any:
    return replace(chip(), scl=np.full((24, 24), 5, np.uint8))


def _sentinel2_item(folder: Path) -> Path:
    from detector.simulators.sentinel2.products import write_item

    return write_item(folder, _sentinel2_chip(), tile="52TFN", baseline="05.11")


def _sentinel2_band(folder: Path) -> Path:
    return _sentinel2_item(folder).with_name("B04.tif")


def _safe(folder: Path) -> Path:
    from detector.simulators.sentinel2.products import write_safe

    return write_safe(folder, _sentinel2_chip(), tile="52TFN", baseline="05.11")


def _planetscope(kind: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        stem = "20231005_021001_43_2427"
        geotiff(
            folder / f"{stem}_3B_AnalyticMS.tif",
            np.full((4, 40, 40), 3000, np.uint16),
            transform=from_origin(WEST, NORTH, 3.0, 3.0),
        )
        said = {"acquired": "2023-10-05T02:10:01Z", "sun_azimuth": 158.2, "sun_elevation": 41.3}
        (folder / f"{stem}_metadata.json").write_text(json.dumps({"id": stem, "properties": said}))
        bands = "".join(
            f"<bandSpecificMetadata><bandNumber>{k}</bandNumber><reflectanceCoefficient>2.1e-5"
            "</reflectanceCoefficient></bandSpecificMetadata>"
            for k in range(1, 5)
        )
        text = f"<EarthObservation>{bands}</EarthObservation>"
        (folder / f"{stem}_3B_AnalyticMS_metadata.xml").write_text(text)
        return folder / f"{stem}{kind}"

    return make


def _read_products(path: Path) -> object:
    """As `railwatch run` does: nothing is raised for a bad product, it is a refusal with a reason."""
    from geo.sentinel2.formats.find import find_products

    products, refusals = find_products([path.parent])
    assert all(one.reason for one in refusals)
    return products


# ---- stores ---------------------------------------------------------------------------------------------


def store_of(folder: Path, number: int = 4) -> Path:
    from railwatch.store.store import Store

    store = Store.open(folder)
    for each in range(number):
        stream = io.BytesIO()
        Image.new("RGB", (8, 8), (200, 30, each)).save(stream, "PNG")
        store.add(observation(each), evidence=stream.getvalue())
    return folder


def _item(folder: Path) -> Path:
    store_of(folder)
    return sorted(folder.glob("items/*/*.json"))[1]


def read_store(path: Path) -> object:
    """As `railwatch compare` does: the store around an item, its history judged."""
    from railwatch.history.sources import read_sources
    from railwatch.store.store import Store

    store = Store.open(path.parent.parent.parent)
    found = store.observations()
    for one in found:
        store.asset(one.id, "evidence")
    assert len(found) >= 3
    return read_sources(store.path, "yard").verdicts()


def _index(folder: Path) -> Path:
    store_of(folder)
    return folder / "collection.json"


def _read_index(path: Path) -> object:
    from railwatch.store.store import Store

    found = Store.open(path.parent).observations()
    assert len(found) == 4
    return found


def chip(seed: int = 0, number: int = 0) -> Any:
    from geo.sentinel2.chip import Chip

    planes = np.random.default_rng(seed).uniform(0.02, 0.3, (4, 24, 24)).astype(np.float32)
    when = datetime(2024, 5, 1, 2, 0, tzinfo=UTC) + timedelta(days=5 * number)
    return Chip(
        id=f"S2A-R003-{when:%Y%m%d}",
        datetime=when,
        platform="S2A",
        relative_orbit=3,
        bands=("B02", "B03", "B04", "B08"),
        reflectance=planes,
        transform=from_origin(WEST, NORTH, 10.0, 10.0),
        crs=rasterio.crs.CRS.from_epsg(32652),
        scl=None,
        sun_azimuth_deg=150.0,
        sun_elevation_deg=50.0,
        level="L2A",
        baseline="05.09",
        provenance={"file": "a"},
    )


def chip_store(folder: Path) -> Any:
    from geo.grid import Grid
    from railwatch.store.chips import ChipStore

    one = chip()
    return ChipStore(folder / "chips" / "yard-00000000", Grid(one.shape, one.transform, one.crs))


def _chip(folder: Path) -> Path:
    store = chip_store(folder)
    return Path(store.add(chip(), {"name": "product"}).path)


def _read_chip(path: Path) -> object:
    store = chip_store(path.parent.parent.parent)
    return store.kept(), store.read()


def _alerts(folder: Path) -> Path:
    (folder / "alerts.json").write_text(
        json.dumps(
            {
                "version": 1,
                "sent": {"yard 2023-09-01": {"verdict": "elevated", "at": "2023-09-02T00:00:00Z"}},
                "waiting": {
                    "yard 2023-09-08": {"aoi": "yard", "datetime": "2023-09-08", "verdict": "elevated"}
                },
            }
        )
    )
    return folder / "alerts.json"


def _read_alerts(path: Path) -> object:
    from railwatch.pipeline.alerts import send_alerts

    return send_alerts([], "true", path.parent)


# ---- labels, weights --------------------------------------------------------------------------------------


def _labels(name: str, content: str, image: str = "yard.png") -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        Image.fromarray(np.moveaxis(ground(), 0, 2)).save(folder / image)
        (folder / name).write_text(content)
        return folder / name

    return made


def _read_labels(path: Path) -> object:
    from detector.labels import read_labels

    return read_labels(path, gsd_m=0.5)


COCO = json.dumps(
    {
        "images": [{"id": 1, "file_name": "yard.png", "width": 64, "height": 64}],
        "categories": [{"id": 1, "name": "freight"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "bbox": [4, 4, 30, 6],
                "segmentation": [[4, 4, 34, 4, 34, 10, 4, 10]],
            }
        ],
    }
)
VOC = (
    "<annotation><filename>yard.png</filename><size><width>64</width><height>64</height><depth>3</depth></size>"
    "<object><name>freight</name><bndbox><xmin>4</xmin><ymin>4</ymin><xmax>34</xmax><ymax>10</ymax></bndbox>"
    "</object></annotation>"
)
DOTA = "imagesource:x\ngsd:0.5\n4 4 34 4 34 10 4 10 freight 0\n"
STUDIO = json.dumps(
    [
        {
            "data": {"image": "yard.png"},
            "annotations": [
                {
                    "result": [
                        {
                            "type": "rectanglelabels",
                            "original_width": 64,
                            "original_height": 64,
                            "value": {
                                "x": 5,
                                "y": 5,
                                "width": 40,
                                "height": 9,
                                "rotation": 0,
                                "rectanglelabels": ["freight"],
                            },
                        }
                    ]
                }
            ],
        }
    ]
)


def _weights(folder: Path) -> Path:
    import detector

    source = sorted((Path(str(detector.__file__)).parent / "weights").glob("wagon*.safetensors"))[0]
    for suffix in (".safetensors", ".json"):
        shutil.copy(source.with_suffix(suffix), folder / f"mine{suffix}")
    return folder / "mine.json"


def _read_card(path: Path) -> object:
    from detector.tensor_file import read_card

    return read_card(path.with_suffix(".safetensors"))


def _safetensors(folder: Path) -> Path:
    from detector.tensor_file import save_tensors

    save_tensors(folder / "mine.safetensors", {"a": np.ones((4, 4), np.float32)}, {}, "trial")
    return folder / "mine.safetensors"


def _read_safetensors(path: Path) -> object:
    from detector.tensor_file import load_tensors

    return load_tensors(path, "trial", "trial")


READERS: tuple[Reader, ...] = (
    Reader("GeoTIFF in tiles", _tiled, read_image),
    Reader("GeoTIFF in strips", _strips, read_image),
    Reader("PNG", _png, read_image),
    Reader("world file", _beside(_png, "yard.pgw"), _read_beside("yard.png"), text=True),
    Reader("projection file", _beside(_png, "yard.prj"), _read_beside("yard.png"), text=True),
    Reader("JPEG", _jpeg, read_image),
    Reader("VRT", _vrt, read_image, text=True),
    Reader("ENVI header", _envi, _read_beside("yard.dat"), text=True),
    Reader("zip with an image", _zipped, read_image),
    Reader("area", area_file, _read_area, text=True),
    Reader("area in GeoJSON of any shape", _vector("area.geojson", area=True), _import_area, text=True),
    Reader("area in KML", _text("area.kml", KML), _import_area, text=True),
    Reader("area in WKT", _text("area.wkt", YARD.wkt), _import_area, text=True),
    Reader("area in a GeoPackage", _vector("area.gpkg", area=True), _import_area),
    Reader("Overpass answer", overpass, read_tracks, text=True),
    Reader("OpenStreetMap XML", _osm, read_tracks, text=True),
    Reader("tracks in GeoJSON", _vector("lines.geojson"), read_tracks, text=True),
    Reader("tracks in a GeoPackage", _vector("lines.gpkg"), read_tracks),
    Reader("tracks in FlatGeobuf", _vector("lines.fgb"), read_tracks),
    Reader("tracks in a Shapefile", _vector("lines.shp"), read_tracks),
    Reader("tracks in GeoParquet", _parquet, read_tracks),
    Reader(
        "table of distances",
        _text("gsd.csv", "file;gsd_m\nyard.png;0,5\nb.png;1\n"),
        _read_distances,
        text=True,
    ),
    Reader(
        "table of dates",
        _text("dates.csv", "file,datetime,sensor\nyard.png,2023-10-05T02:15:00Z,A\n"),
        _read_dates,
        text=True,
    ),
    Reader("events", _text("events.csv", "date,label\n2023-09-13,summit\n"), _read_events, text=True),
    Reader("published counts", _bundled_table("published_counts.csv"), _read_published, text=True),
    Reader("settings", _settings, _read_settings, text=True),
    Reader("declaration", _declaration, _read_declaration, text=True),
    Reader("assumptions", _assumptions, _read_assumptions, text=True),
    Reader("review in GeoJSON", _review("review.geojson"), _read_review, text=True),
    Reader("claims", _bundled_table("published_claims.csv"), _read_claims, text=True),
    Reader("STAC item of Sentinel-2", _sentinel2_item, _read_products, text=True),
    Reader("Sentinel-2 band", _sentinel2_band, _read_products),
    Reader("SAFE in a zip", _safe, _read_products),
    Reader("PlanetScope image", _planetscope("_3B_AnalyticMS.tif"), _read_products),
    Reader("PlanetScope JSON", _planetscope("_metadata.json"), _read_products, text=True),
    Reader("PlanetScope XML", _planetscope("_3B_AnalyticMS_metadata.xml"), _read_products, text=True),
    Reader("store item", _item, read_store, text=True),
    Reader("store index", _index, _read_index, text=True),
    Reader("chip", _chip, _read_chip),
    Reader("alerts", _alerts, _read_alerts, text=True),
    Reader("labels in COCO", _labels("coco.json", COCO), _read_labels, text=True),
    Reader("labels in VOC", _labels("yard.xml", VOC), _read_labels, text=True),
    Reader("labels in DOTA", _labels("yard.txt", DOTA), _read_labels, text=True),
    Reader("labels in YOLO", _labels("yard.txt", "0 0.5 0.5 0.4 0.1\n"), _read_labels, text=True),
    Reader("labels of Label Studio", _labels("studio.json", STUDIO), _read_labels, text=True),
    Reader("weights' card", _weights, _read_card, text=True),
    Reader("weights", _safetensors, _read_safetensors),
)

__all__ = ["READERS", "Reader", "os"]
