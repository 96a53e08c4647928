"""A store in the files of other people's tools: CSV, GeoPackage, GeoParquet, XLSX and GeoJSON.

All of them have the columns of `railwatch.pages.tables`. A GeoPackage and an XLSX file hold both tables, the
counts and the boxes; the others hold the one that is asked for.
"""

from __future__ import annotations

import io
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
from pyogrio.errors import DataLayerError, DataSourceError

from aoi.files import replacing, whole_archive, whole_database, whole_parquet
from railwatch.errors import StoreError
from railwatch.history.sources import read_sources
from railwatch.pages import FORMATS, Format, What
from railwatch.pages.qgis_style import Rule, SymbolStyle, rule_style, write_styles
from railwatch.pages.tables import counts_table, csv_text, detections_table
from railwatch.store.georeference import georeference_of
from railwatch.store.store import EVIDENCE, Store

if TYPE_CHECKING:
    from openpyxl.worksheet.worksheet import Worksheet


_CHECKS = {"gpkg": whole_database, "geoparquet": whole_parquet, "xlsx": whole_archive}
_BOTH: tuple[Format, ...] = ("gpkg", "xlsx")

# The colours of charts and pictures, which people with colour-blindness can tell apart as well.
_AREA_RULES = (
    Rule("unprecedented", "\"verdict\" = 'unprecedented'", SymbolStyle((213, 94, 0), 40, width_mm=0.8)),
    Rule("elevated", "\"verdict\" = 'elevated'", SymbolStyle((230, 159, 0), 30, width_mm=0.6)),
    Rule("low", "\"verdict\" = 'low'", SymbolStyle((86, 180, 233), 20, width_mm=0.5)),
    Rule("typical", "\"verdict\" = 'typical'", SymbolStyle((0, 114, 178), 0, width_mm=0.4)),
    Rule("no verdict", "ELSE", SymbolStyle((120, 120, 120), 0, "dash", 0.4)),
)
_BOX_RULES = (
    Rule("freight car, counted", '"category" = \'freight\' and "counted"', SymbolStyle((230, 159, 0), 35)),
    Rule(
        "freight car, not counted",
        '"category" = \'freight\' and not "counted"',
        SymbolStyle((240, 240, 240), 0, "dot"),
    ),
    Rule("locomotive", "\"category\" = 'locomotive'", SymbolStyle((86, 180, 233), 25, "dash")),
    Rule("passenger coach", "\"category\" = 'coach'", SymbolStyle((204, 121, 167), 25, "dot")),
)
_GEOMETRY = "geom"


def export(
    store: Store,
    path: str | Path,
    format: Format,
    *,
    aoi: str | None = None,
    what: What = "observations",
    locale: str | None = None,
) -> int:
    """Write a store's observations or detections to one file.

    An existing file is replaced, and only by a whole new one.

    Args:
        store: The store.
        path: The file.
        format: Its format. A GeoPackage has styles, and its dates are known to QGIS's time slider.
        aoi: Only this area.
        what: Which table a CSV, GeoParquet or GeoJSON file holds.
        locale: For a CSV file: a language such as ``de`` or ``fr_CA``, whose spreadsheets may want decimal
            commas, with semicolons between the cells.

    Returns:
        The number of observations or detections written (of a file with both: of observations).

    Raises:
        StoreError: If there is nothing to export, the file's name doesn't fit its format, or it can't be
            written.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS[format]:
        raise StoreError(f"{path}: the name of a {format} file ends in {' or '.join(FORMATS[format])}.")
    decimal = "." if locale is None else decimal_of(locale)
    if not any(aoi in (None, one.aoi) for one in store.observations()):
        whose = "" if aoi is None else f" of the area {aoi}"
        raise StoreError(f"The store {store.path} holds no observations{whose}: there is nothing to export.")
    if not path.absolute().parent.is_dir():
        raise StoreError(f"{path}: the folder {path.absolute().parent} doesn't exist.")
    sources = read_sources(store.path, aoi)
    tables: dict[str, gpd.GeoDataFrame] = {}
    if what == "observations" or format in _BOTH:
        tables["observations"] = counts_table(sources)
    if what == "detections" or format in _BOTH:
        words = {one.record.id: one.verdict for one in sources.verdicts()}
        tables["detections"] = detections_table(store, sources.observations, words)
    try:
        with replacing(path, _CHECKS.get(format)) as temporary:
            _write(tables, temporary, format, decimal, localised=locale is not None)
    except (OSError, DataSourceError, DataLayerError, sqlite3.Error) as error:
        raise StoreError(f"{path}: can't be written: {getattr(error, 'strerror', None) or error}.") from error
    return len(tables[what])


def decimal_of(locale: str) -> str:
    """Return the decimal sign of a language, after the Unicode CLDR.

    Raises:
        StoreError: If there is no such language.
    """
    from babel.core import UnknownLocaleError
    from babel.numbers import get_decimal_symbol

    try:
        return get_decimal_symbol(locale.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        raise StoreError(
            f"there is no language {locale!r}; --locale takes one like de, fr_CA or en"
        ) from None


def _write(
    tables: dict[str, gpd.GeoDataFrame], path: Path, format: Format, decimal: str, *, localised: bool
) -> None:
    if format == "gpkg":
        _write_geopackage(tables, path)
        return
    if format == "xlsx":
        path.write_bytes(_workbook(tables))
        return
    ((name, table),) = tables.items()
    if format == "geoparquet":
        table.to_parquet(path)
    elif format == "geojson":
        # RFC 7946: longitude and latitude, seven decimals (a centimetre), no CRS member.
        table.to_file(path, driver="GeoJSON", engine="pyogrio", layer=name, RFC7946="YES")
    else:
        flat = pd.DataFrame(table.drop(columns="geometry"))
        names = [str(name) for name in flat]
        rows = ({str(name): value for name, value in row.items()} for row in flat.to_dict("records"))
        text = csv_text(rows, names, decimal=decimal)
        # A spreadsheet of another language than English guesses wrongly without the mark.
        path.write_bytes(text.encode("utf-8-sig" if localised else "utf-8"))


def _write_geopackage(tables: dict[str, gpd.GeoDataFrame], path: Path) -> None:
    import pyogrio

    for number, (name, table) in enumerate(tables.items()):
        pyogrio.write_dataframe(
            table,
            path,
            layer=name,
            driver="GPKG",
            append=number > 0,
            geometry_type="MultiPolygon" if name == "observations" else "Polygon",
            promote_to_multi=name == "observations",
            # GDAL's newest version of the format makes QGIS 3.22 warn.
            dataset_options=None if number else {"VERSION": "1.2"},
            layer_options={"GEOMETRY_NAME": _GEOMETRY},
        )
    rules = {"observations": _AREA_RULES, "detections": _BOX_RULES}
    styles = {name: rule_style(rules[name], instant="datetime") for name in tables}
    write_styles(path, styles, dict.fromkeys(styles, _GEOMETRY))


def _workbook(tables: dict[str, gpd.GeoDataFrame]) -> bytes:
    """An XLSX file, a sheet a table: dates are dates, text is text whatever it begins with."""
    from openpyxl import Workbook

    book = Workbook()
    book.remove(book.worksheets[0])
    for name, table in tables.items():
        _fill(book.create_sheet(name), pd.DataFrame(table.drop(columns="geometry")))
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def _fill(sheet: Worksheet, table: pd.DataFrame) -> None:
    from openpyxl.styles import Font
    from openpyxl.utils import get_column_letter

    for column, name in enumerate(table.columns, start=1):
        head = sheet.cell(1, column, str(name))
        head.font = Font(bold=True)
        widest = len(str(name))
        for row, value in enumerate(table[name], start=2):
            plain = _spreadsheet_value(value, day=name == "date")
            if plain is None:
                continue
            cell = sheet.cell(row, column)
            cell.value = plain
            if isinstance(plain, str):
                cell.data_type = "s"  # not a formula, whatever it begins with
            elif name == "date":
                cell.number_format = "yyyy-mm-dd"
            elif hasattr(plain, "year"):
                cell.number_format = "yyyy-mm-dd hh:mm:ss"
            widest = max(widest, 19 if hasattr(plain, "year") else len(str(plain)))
        sheet.column_dimensions[get_column_letter(column)].width = min(widest + 2, 40)
    sheet.freeze_panes = "A2"
    sheet.auto_filter.ref = sheet.dimensions


def _spreadsheet_value(value: Any, *, day: bool) -> Any:
    """A value as a spreadsheet has it: times in UTC without a zone, which XLSX doesn't know."""
    if pd.isna(value):
        return None
    if day:
        return pd.Timestamp(str(value)).to_pydatetime().date()
    if isinstance(value, pd.Timestamp):
        return value.tz_convert("UTC").tz_localize(None).to_pydatetime()
    if isinstance(value, np.generic):
        return value.item()
    # A control character has no place in XML.
    return "".join(one for one in value if one >= " " or one in "\t\n") if isinstance(value, str) else value


def export_images(store: Store, folder: str | Path, *, aoi: str | None = None) -> list[Path]:
    """Write the evidence pictures of a store as GeoTIFFs in their places, to lay under the boxes.

    The caption under each picture is left out. A picture without a position is left out, too.

    Args:
        store: The store.
        folder: Where to; made if it isn't there.
        aoi: Only of this area.

    Returns:
        The files, named by date and observation, oldest first.

    Raises:
        StoreError: If they can't be written.
    """
    import rasterio
    from affine import Affine
    from PIL import Image

    folder = Path(folder)
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for one in store.observations(aoi):
            picture = store.asset(one.id, EVIDENCE)
            if picture is None:
                continue
            with Image.open(picture) as opened:
                place = georeference_of(opened)
                if place is None:
                    continue
                left, top, right, lower = (round(edge) for edge in place.image)
                pixels = np.asarray(opened.convert("RGB").crop((left, top, right, lower)))
            path = folder / f"{one.datetime:%Y-%m-%d}-{one.id}.tif"
            profile = {
                "driver": "GTiff",
                "count": 3,
                "height": pixels.shape[0],
                "width": pixels.shape[1],
                "dtype": "uint8",
                "crs": place.crs,
                "transform": Affine(*place.transform) @ Affine.translation(left, top),
                "compress": "deflate",
                "predictor": 2,
                "photometric": "RGB",
            }
            with replacing(path) as temporary, rasterio.open(temporary, "w", **profile) as raster:
                raster.write(pixels.transpose(2, 0, 1))
                raster.update_tags(TIFFTAG_DATETIME=f"{one.datetime:%Y:%m:%d %H:%M:%S}", RAILWATCH=one.id)
            written.append(path)
    except (OSError, rasterio.errors.RasterioError) as error:
        raise StoreError(
            f"{folder}: can't be written: {getattr(error, 'strerror', None) or error}."
        ) from error
    return written
