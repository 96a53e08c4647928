"""Detections: the wagons of one scene as a table, and the files they are written to."""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np
import shapely
from numpy.typing import NDArray

from aoi.errors import InputError
from aoi.files import replacing, whole_database, whole_parquet, write_text
from detector.wagons import check_target
from detector.wagons.boxes import Boxes, as_boxes
from detector.wagons.categories import CATEGORIES, UNKNOWN, count_by_type, type_names
from detector.wagons.count_interval import CountInterval, CountModel
from detector.wagons.track_sight import TrackSight
from geo.boxes import box_corners

if TYPE_CHECKING:
    import geopandas as gpd

COLUMNS = (
    "score", "category", "freight_score", "car_type", "length_m", "width_m", "azimuth_deg", "track", "image",
    "gsd_m", "pixel_box",
)  # fmt: skip
_DIGITS = {"score": 4, "freight_score": 4, "length_m": 2, "width_m": 2, "azimuth_deg": 2}
"""Of figures in a GeoJSON."""
_ARRAYS = ("score", "category", "freight_score", "length_m", "width_m", "azimuth_deg", "pixel_box")
"""Fields of a `BoxTable` with a value a box that stand in the table as they are."""


@dataclass(frozen=True, eq=False)
class BoxTable:
    """The boxes of one scene as arrays: the table that `Detections.frame` gives, before anybody asks for it.

    Geopandas takes longer to import than a small image to count, and a count doesn't need it.

    Attributes:
        polygons: The oriented rectangles in ``crs``, ``(N,)`` of shapely's; all None without position.
        crs: Of the scene, None without position.
        score: ``(N,)``, best first.
        category: ``(N,)``, indices of `CATEGORIES`.
        freight_score: ``(N,)``, probability that each is a freight car, if it is a rail vehicle.
        car_type: ``(N,)``, indices of `TYPE_NAMES`, `NOT_TYPED` for what isn't counted.
        length_m: ``(N,)``, on the ground.
        width_m: ``(N,)``, on the ground.
        azimuth_deg: ``(N,)``.
        pixel_box: ``(N, 5)`` in source pixels.
        image: The scene's file.
        gsd_m: Its ground sampling distance.
    """

    polygons: NDArray[np.object_]
    crs: Any
    score: NDArray[np.float64]
    category: NDArray[np.int64]
    freight_score: NDArray[np.float64]
    car_type: NDArray[np.int64]
    length_m: NDArray[np.float64]
    width_m: NDArray[np.float64]
    azimuth_deg: NDArray[np.float64]
    pixel_box: Boxes
    image: str
    gsd_m: float

    @classmethod
    def none(cls) -> BoxTable:
        """No boxes of no image."""
        real, whole, boxes = np.zeros(0), np.zeros(0, np.int64), np.zeros((0, 5))
        return cls(np.zeros(0, object), None, real, whole, real, whole, real, real, real, boxes, "", 0.0)

    def take(self, rows: NDArray[np.bool_]) -> BoxTable:
        """Some of the boxes."""
        return replace(
            self, **{name: getattr(self, name)[rows] for name in ("polygons", "car_type", *_ARRAYS)}
        )

    def __len__(self) -> int:
        """Number of boxes."""
        return len(self.score)

    def frame(self) -> gpd.GeoDataFrame:
        """The table with its documented columns."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        types = type_names(self.car_type)
        return frame_of(self.polygons, self.crs, **arrays, car_type=types, image=self.image, gsd_m=self.gsd_m)

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows as `frame` has them, with the geometry in longitude and latitude."""
        polygons = self.polygons
        if self.crs is not None and len(polygons):
            from pyproj import Transformer

            there = Transformer.from_crs(self.crs, "OGC:CRS84", always_xy=True)
            polygons = shapely.transform(polygons, there.transform, interleaved=False)
        for number, car_type in enumerate(type_names(self.car_type)):
            row = {name: getattr(self, name)[number] for name in _ARRAYS}
            row |= {"geometry": polygons[number], "category": CATEGORIES[self.category[number]]}
            yield row | {"car_type": car_type, "track": None, "image": self.image, "gsd_m": self.gsd_m}


def image_name(path: Path) -> str:
    """How a table names an image: as it was given, but no more than its name of a path from the root.

    A table that is passed on shall not tell how its maker's disk is laid out.
    """
    return path.name if path.is_absolute() else path.as_posix()


class _TableOnDemand:
    """A field that is given as a `BoxTable` or a GeoDataFrame and read as a GeoDataFrame."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = f"_{name}"

    @overload
    def __get__(self, instance: None, owner: type) -> _TableOnDemand: ...

    @overload
    def __get__(self, instance: object, owner: type) -> gpd.GeoDataFrame: ...

    def __get__(self, instance: object | None, owner: type) -> Any:
        if instance is None:
            raise AttributeError(self._name)  # the field has no default
        if isinstance(value := vars(instance)[self._name], BoxTable):
            vars(instance)[self._name] = value = value.frame()
        return value

    def __set__(self, instance: object, value: gpd.GeoDataFrame | BoxTable) -> None:
        vars(instance)[self._name] = value

    @staticmethod
    def raw(instance: object, name: str) -> gpd.GeoDataFrame | BoxTable:
        """What a field was given as, or has become."""
        return cast("gpd.GeoDataFrame | BoxTable", vars(instance)[f"_{name}"])


@dataclass(frozen=True, eq=False)
class Detections:
    """What the detector found in one scene.

    Attributes:
        frame: One row a wagon (see COLUMNS); geometry is the oriented rectangle in the scene's CRS, or null
            for a scene without position. Sorted by score, best first. Made when first asked for.
        below_threshold: The same table of the other candidates: not wagons, but part of the interval.
        scene_id: The scene's id.
        gsd_m: Ground sampling distance of the picture, metres.
        valid_fraction: Share of the area (or of the scene) with valid pixels.
        warnings: What a reader should know before trusting the count.
        count_model: How probabilities become intervals.
        widening: Factor on the interval's half-width (unsure ground sampling distance...).
        railway: Whether the image shows a railway, or wagons, at all; None if nobody looked.
        tracks: What is seen of the tracks of the area that was looked at; None without any.
    """

    frame: _TableOnDemand = _TableOnDemand()
    below_threshold: _TableOnDemand = _TableOnDemand()
    scene_id: str = ""
    gsd_m: float = 0.0
    valid_fraction: float = 1.0
    warnings: tuple[str, ...] = ()
    count_model: CountModel = field(default_factory=CountModel)
    widening: float = 1.0
    railway: bool | None = None
    tracks: TrackSight | None = None

    def __len__(self) -> int:
        """Number of wagons: the rows of `frame`, counted without making it."""
        return len(_TableOnDemand.raw(self, "frame"))

    @property
    def interval(self) -> CountInterval:
        """Freight cars of the whole scene, with the 90% interval."""
        return self.count_in()

    @property
    def count(self) -> int:
        """Freight cars."""
        return self.interval.count

    @property
    def count_low(self) -> int:
        """Lower end of the 90% interval of the freight cars."""
        return self.interval.low

    @property
    def count_high(self) -> int:
        """Upper end of the 90% interval of the freight cars."""
        return self.interval.high

    @property
    def count_by_type(self) -> dict[str, int]:
        """Freight cars of each type, "unknown" last; they add up to `count`."""
        table = _TableOnDemand.raw(self, "frame")
        if isinstance(table, BoxTable):
            return count_by_type(type_names(table.car_type[table.category == CATEGORIES.index("freight")]))
        return count_by_type(table.loc[table["category"] == "freight", "car_type"])

    def count_in(
        self, rows: NDArray[np.bool_] | None = None, below_threshold: NDArray[np.bool_] | None = None
    ) -> CountInterval:
        """Freight cars among some rows, such as those of a zone.

        Args:
            rows: ``(len(frame),)`` mask; None for all rows of both tables.
            below_threshold: ``(len(below_threshold),)`` mask of the same place; without it those of the
                scene count in proportion to the rows chosen.
        """
        probability, freight = _scores(_TableOnDemand.raw(self, "frame"))
        unsure, _ = _scores(_TableOnDemand.raw(self, "below_threshold"))
        chosen = np.ones(len(freight), bool) if rows is None else np.asarray(rows, bool)
        if below_threshold is not None:
            unsure = unsure[np.asarray(below_threshold, bool)]
        elif rows is not None:
            unsure = unsure * min(1.0, int((chosen & freight).sum()) / max(1, int(freight.sum())))
        # A coach that may be a freight car is as doubtful as a box that may be none.
        others = probability[chosen & ~freight]
        return self.count_model.interval(
            probability[chosen & freight], np.concatenate([others, unsure]), widening=self.widening
        )

    def write(self, path: str | Path) -> Path:
        """Write the wagons to a file; see :func:`write`."""
        return write([self], path)


def _scores(table: gpd.GeoDataFrame | BoxTable) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Probability of each row to be a freight car, and which rows are counted as such."""
    if isinstance(table, BoxTable):
        return table.score * table.freight_score, table.category == CATEGORIES.index("freight")
    score, share = (table[name].to_numpy(np.float64) for name in ("score", "freight_score"))
    return np.asarray(score * share), (table["category"] == "freight").to_numpy()


def frame_of(
    geometry: Iterable[Any],
    crs: Any,
    *,
    score: NDArray[np.float64],
    category: NDArray[np.int64],
    length_m: NDArray[np.float64],
    width_m: NDArray[np.float64],
    azimuth_deg: NDArray[np.float64],
    pixel_box: Boxes,
    image: str,
    gsd_m: float,
    freight_score: NDArray[np.float64] | None = None,
    car_type: Sequence[str | None] | None = None,
) -> gpd.GeoDataFrame:
    """The table of detections with its documented columns; an empty one has them too.

    Args:
        geometry: The rectangles.
        crs: Of the geometry, None for none.
        score: ``(N,)`` probability that each is a rail vehicle.
        category: ``(N,)`` index into CATEGORIES.
        length_m: ``(N,)``.
        width_m: ``(N,)``.
        azimuth_deg: ``(N,)``.
        pixel_box: ``(N, 5)`` in the image's pixels.
        image: Its path.
        gsd_m: Its ground sampling distance, metres.
        freight_score: ``(N,)`` probability that each rail vehicle is a freight car; by category if not given.
        car_type: ``(N,)`` name of each freight car's type, None for other vehicles; unknown if not given.
    """
    import geopandas as gpd
    import pandas as pd

    n = len(score)
    if freight_score is None:
        freight_score = (np.asarray(category) == CATEGORIES.index("freight")).astype(np.float64)
    if car_type is None:
        car_type = [UNKNOWN if CATEGORIES[c] == "freight" else None for c in category]
    return gpd.GeoDataFrame(
        {
            "score": np.asarray(score, np.float64),
            "category": pd.Series([CATEGORIES[c] for c in category], dtype=object),
            "freight_score": np.asarray(freight_score, np.float64),
            "car_type": pd.Series(list(car_type), dtype=object),
            "length_m": np.asarray(length_m, np.float64),
            "width_m": np.asarray(width_m, np.float64),
            "azimuth_deg": np.asarray(azimuth_deg, np.float64),
            "track": pd.Series([None] * n, dtype=object),
            "image": pd.Series([image] * n, dtype=object),
            "gsd_m": np.full(n, gsd_m),
            "pixel_box": pd.Series([[float(v) for v in box] for box in as_boxes(pixel_box)], dtype=object),
        },
        geometry=gpd.GeoSeries(list(geometry), crs=crs),
        crs=crs,
    )


def write(detections: Sequence[Detections], path: str | Path) -> Path:
    """Write the wagons of one or more scenes.

    GeoJSON is in WGS84 longitude and latitude; GeoPackage and GeoParquet keep the images' CRS (WGS84 when the
    images differ). Wagons of images without position have a null geometry, and in a GeoPackage or GeoParquet
    file of such images alone that of the picture: see `joined`.

    Raises:
        InputError: The ending isn't one of .geojson, .json, .gpkg, .parquet, .geoparquet, or the file can't
            be written; what was there before is still there then.
    """
    path = check_target(path)
    suffix = path.suffix.lower()
    try:
        if suffix in {".geojson", ".json"}:
            write_text(path, _geojson(detections))
        else:
            _write_table(joined(detections), path)
    except OSError as error:
        raise InputError(f"{path}: can't be written ({error.strerror or error})") from error
    return path


def _write_table(table: gpd.GeoDataFrame, path: Path) -> None:
    """Write a GeoPackage or GeoParquet; OSError if it can't be written."""
    from pyogrio.errors import DataLayerError, DataSourceError

    try:
        if path.suffix != ".gpkg":
            with replacing(path, whole_parquet) as temporary:
                table.to_parquet(temporary)
            return
        flat = table.assign(pixel_box=table["pixel_box"].map(json.dumps).astype(str))
        with replacing(path, whole_database) as temporary, warnings.catch_warnings():
            # Images without position have no CRS to give.
            warnings.filterwarnings("ignore", "'crs' was not provided", UserWarning)
            flat.to_file(temporary, layer="detections", driver="GPKG", engine="pyogrio")
    except (DataSourceError, DataLayerError) as error:
        raise OSError(str(error)) from error


def joined(detections: Sequence[Detections]) -> gpd.GeoDataFrame:
    """Return the wagons of one or more scenes as one table.

    Args:
        detections: Of any scenes.

    Returns:
        In the images' CRS, in longitude and latitude where they differ. Where no image has a position, the
        rectangles are in pixels, x to the right and -y down, which is how QGIS lays such a picture out, and
        there is no CRS; among images with a position, they have no geometry.
    """
    import geopandas as gpd
    import pandas as pd

    frames = [d.frame for d in detections]
    systems = {f.crs.to_wkt() for f in frames if f.crs is not None}
    if len(systems) > 1:
        frames = [f if f.crs is None else f.to_crs("OGC:CRS84") for f in frames]
    crs = next((f.crs for f in frames if f.crs is not None), None)
    frames = [f if f.crs is not None or crs is None else f.set_crs(crs) for f in frames]
    filled = [f for f in frames if len(f)] or frames[:1] or [BoxTable.none().frame()]
    table = gpd.GeoDataFrame(pd.concat(filled, ignore_index=True), geometry="geometry", crs=crs)
    if crs is None and len(table):
        corners = box_corners(np.array(table["pixel_box"].to_list(), np.float64)) * (1.0, -1.0)
        table = table.set_geometry(list(shapely.polygons(corners)))
    return table


def _rows(detections: Detections) -> Iterable[dict[str, Any]]:
    """The rows of `Detections.frame`, their geometry in longitude and latitude."""
    table = _TableOnDemand.raw(detections, "frame")
    if isinstance(table, BoxTable):
        return table.rows()
    turned = table if table.crs is None else table.to_crs("OGC:CRS84")
    return cast(list[dict[str, Any]], turned.to_dict("records"))


def _geojson(detections: Sequence[Detections]) -> str:
    """RFC 7946 text: longitude and latitude to 1e-8 degree (a millimetre)."""
    features = []
    for row in itertools.chain.from_iterable(map(_rows, detections)):
        geometry = None
        if row["geometry"] is not None:
            # RFC 7946 wants outer rings counter-clockwise.
            outline = shapely.orient_polygons(row["geometry"]).exterior
            ring = np.round(np.asarray(outline.coords)[:, :2], 8).tolist()
            geometry = {"type": "Polygon", "coordinates": [ring]}
        properties = {name: row[name] for name in COLUMNS}
        properties |= {name: round(float(row[name]), digits) for name, digits in _DIGITS.items()}
        properties |= {
            # A table read from a file has other marks of nothing than None.
            "car_type": row["car_type"] if isinstance(row["car_type"], str) else None,
            "gsd_m": float(row["gsd_m"]),
            "pixel_box": [round(float(v), 3) for v in row["pixel_box"]],
        }
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    return json.dumps({"type": "FeatureCollection", "features": features}, indent=1, ensure_ascii=False)
