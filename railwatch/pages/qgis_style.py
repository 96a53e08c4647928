"""How the layers look in QGIS, and what its forms offer: QGIS styles (QML), kept inside the GeoPackage.

QGIS looks for a table ``layer_styles`` in a GeoPackage when it opens one of its layers, and takes the row
with ``useAsDefault`` for that layer and geometry column.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as xml

_VERSION = "3.22.0-Bia\u0142owie\u017ca"
_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
_TABLE = """
CREATE TABLE IF NOT EXISTS layer_styles (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    f_table_catalog TEXT(256),
    f_table_schema TEXT(256),
    f_table_name TEXT(256),
    f_geometry_column TEXT(256),
    styleName TEXT(30),
    styleQML TEXT,
    styleSLD TEXT,
    useAsDefault BOOLEAN,
    description TEXT,
    owner TEXT(30),
    ui TEXT(30),
    update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
)
"""
_REGISTER = """
INSERT OR IGNORE INTO gpkg_contents (table_name, data_type, identifier, description)
VALUES ('layer_styles', 'attributes', 'layer_styles', 'QGIS styles of the layers')
"""
_INSERT = """
INSERT INTO layer_styles
    (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName, styleQML, styleSLD,
     useAsDefault, description, owner)
VALUES ('', '', ?, ?, ?, ?, '', 1, ?, '')
"""


@dataclass(frozen=True)
class SymbolStyle:
    """The outline and filling of a symbol.

    Attributes:
        colour: Of the line, red, green, blue, 0-255.
        fill_alpha: Opacity of the same colour inside, 0-255; 0 leaves the image free.
        line: QGIS pen style: ``solid``, ``dash``, ``dot``.
        width_mm: Of the line.
        brush: QGIS brush style of the filling: ``solid``, ``no``, ``f_diagonal``, ``diagonal_x``.
    """

    colour: tuple[int, int, int]
    fill_alpha: int = 0
    line: str = "solid"
    width_mm: float = 0.5
    brush: str = "solid"


@dataclass(frozen=True)
class Rule:
    """Which features have a look.

    Attributes:
        label: In the layer tree.
        filter: A QGIS expression.
        look: Of those features.
    """

    label: str
    filter: str
    look: SymbolStyle


# The colours of the evidence pictures, which people with colour-blindness can tell apart as well.
_KEPT = 'coalesce("keep", true)'
_BOX_RULES = (
    Rule("taken out", f"not {_KEPT}", SymbolStyle((120, 120, 120), 0, "dot", 0.4, "diagonal_x")),
    Rule(
        "freight car, yours",
        f'{_KEPT} and "category" = \'freight\' and "box" is null',
        SymbolStyle((0, 158, 115), 50, width_mm=0.7),
    ),
    Rule(
        "freight car, counted",
        f'{_KEPT} and "category" = \'freight\' and "box" is not null and coalesce("counted", true)',
        SymbolStyle((230, 159, 0), 35),
    ),
    Rule(
        "freight car, not counted",
        f'{_KEPT} and "category" = \'freight\' and "box" is not null and not coalesce("counted", true)',
        SymbolStyle((240, 240, 240), 0, "dot"),
    ),
    Rule(
        "locomotive (not counted)",
        f"{_KEPT} and \"category\" = 'locomotive'",
        SymbolStyle((86, 180, 233), 25, "dash"),
    ),
    Rule(
        "coach (not counted)", f"{_KEPT} and \"category\" = 'coach'", SymbolStyle((204, 121, 167), 25, "dot")
    ),
    Rule(
        "category missing",
        f"{_KEPT} and coalesce(\"category\", '') not in ('freight', 'locomotive', 'coach')",
        SymbolStyle((213, 0, 0), 60, width_mm=0.9),
    ),
)
_CATEGORIES = {"freight car": "freight", "locomotive": "locomotive", "passenger coach": "coach"}
_ALIASES = {
    "keep": "stands here",
    "category": "category",
    "note": "note",
    "box": "machine's box",
    "score": "machine's score",
    "counted": "counted by the machine",
}
_READ_ONLY = ("box", "score", "length_m", "width_m", "azimuth_deg", "track", "counted", "observation")
_DEFAULTS = {"keep": "true", "category": "'freight'"}


def box_style(observation: str) -> str:
    """Return the style and the form of the layer of boxes.

    A box drawn by hand needs no typing: it starts as a freight car that stands there.

    Args:
        observation: Id of the observation, filled into new boxes.
    """
    root = _root()
    _renderer(root, _BOX_RULES, "fill")
    form = xml.SubElement(root, "fieldConfiguration")
    category = _widget(form, "category", "ValueMap")
    choices = xml.SubElement(category, "Option", type="List", name="map")
    for shown, value in _CATEGORIES.items():
        choice = xml.SubElement(choices, "Option", type="Map")
        xml.SubElement(choice, "Option", type="QString", name=shown, value=value)
    _widget(form, "keep", "CheckBox")
    note = _widget(form, "note", "TextEdit")
    xml.SubElement(note, "Option", type="bool", name="IsMultiline", value="false")
    aliases = xml.SubElement(root, "aliases")
    for name, alias in _ALIASES.items():
        xml.SubElement(aliases, "alias", field=name, name=alias)
    defaults = xml.SubElement(root, "defaults")
    for name, expression in {**_DEFAULTS, "observation": f"'{observation}'"}.items():
        xml.SubElement(defaults, "default", field=name, expression=expression, applyOnUpdate="0")
    editable = xml.SubElement(root, "editable")
    for name in _READ_ONLY:
        xml.SubElement(editable, "field", name=name, editable="0")
    return _text(root)


def plain_style(look: SymbolStyle, kind: str) -> str:
    """Return the style of a layer whose features look alike.

    Args:
        look: Of its features.
        kind: ``fill`` for polygons, ``line`` for lines.
    """
    root = _root()
    renderer = xml.SubElement(root, "renderer-v2", type="singleSymbol", symbollevels="0", forceraster="0")
    _symbol(xml.SubElement(renderer, "symbols"), "0", kind, look)
    return _text(root)


def rule_style(rules: Sequence[Rule], *, instant: str) -> str:
    """Return the style of a layer of polygons, by rules, whose features QGIS's time slider shows by day.

    Args:
        rules: Which features look how.
        instant: The field with each feature's time.
    """
    root = _root()
    # Mode 1: a feature is an instant, read from a field; it is shown for a day.
    temporal = xml.SubElement(
        root,
        "temporal",
        enabled="1",
        mode="1",
        startField=instant,
        endField="",
        durationField="",
        durationUnit="d",
        fixedDuration="1",
        accumulate="0",
        startExpression="",
        endExpression="",
    )
    fixed = xml.SubElement(temporal, "fixedRange")
    xml.SubElement(fixed, "start")
    xml.SubElement(fixed, "end")
    _renderer(root, rules, "fill")
    return _text(root)


def write_styles(path: Path, styles: Mapping[str, str], geometry_columns: Mapping[str, str]) -> None:
    """Add the table of styles to a GeoPackage.

    Args:
        path: The GeoPackage.
        styles: QML by layer.
        geometry_columns: Name of the geometry column by layer.

    Raises:
        sqlite3.Error: If it can't be written.
    """
    rows: Sequence[tuple[str, str, str, str, str]] = [
        (layer, geometry_columns[layer], "railwatch", qml, f"railwatch: {layer}")
        for layer, qml in styles.items()
    ]
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(_TABLE)
        database.execute(_REGISTER)
        database.executemany(_INSERT, rows)


def _root() -> xml.Element:
    return xml.Element("qgis", version=_VERSION, styleCategories="AllStyleCategories")


def _text(root: xml.Element) -> str:
    xml.indent(root, space=" ")
    return _DOCTYPE + xml.tostring(root, encoding="unicode")


def _renderer(root: xml.Element, rules: Sequence[Rule], kind: str) -> None:
    renderer = xml.SubElement(root, "renderer-v2", type="RuleRenderer", symbollevels="0", forceraster="0")
    tree = xml.SubElement(renderer, "rules", key=_key("root"))
    symbols = xml.SubElement(renderer, "symbols")
    for number, rule in enumerate(rules):
        xml.SubElement(
            tree, "rule", key=_key(rule.label), label=rule.label, filter=rule.filter, symbol=str(number)
        )
        _symbol(symbols, str(number), kind, rule.look)


def _symbol(symbols: xml.Element, name: str, kind: str, look: SymbolStyle) -> None:
    symbol = xml.SubElement(symbols, "symbol", type=kind, name=name, alpha="1", clip_to_extent="1")
    colour = ",".join(map(str, look.colour))
    line = f"{colour},255"
    simple, edge = ("SimpleFill", "outline") if kind == "fill" else ("SimpleLine", "line")
    layer = xml.SubElement(symbol, "layer", {"class": simple, "enabled": "1", "pass": "0"})
    values = {
        f"{edge}_color": line,
        f"{edge}_style": look.line,
        f"{edge}_width": f"{look.width_mm:g}",
        f"{edge}_width_unit": "MM",
    }
    if kind == "fill":
        hatched = look.brush != "solid"
        filling = {
            "color": line if hatched else f"{colour},{look.fill_alpha}",
            "style": look.brush if hatched or look.fill_alpha else "no",
        }
        values = {**filling, **values, "joinstyle": "miter"}
    options = xml.SubElement(layer, "Option", type="Map")
    for key, value in values.items():
        xml.SubElement(options, "Option", type="QString", name=key, value=value)
    for key, value in values.items():  # what QGIS before 3.26 reads
        xml.SubElement(layer, "prop", k=key, v=value)


def _widget(form: xml.Element, field: str, kind: str) -> xml.Element:
    """Add a field's widget; returns the map of its settings."""
    entry = xml.SubElement(form, "field", name=field, configurationFlags="None")
    config = xml.SubElement(xml.SubElement(entry, "editWidget", type=kind), "config")
    return xml.SubElement(config, "Option", type="Map")


def _key(text: str) -> str:
    """Return an id for a rule: QGIS wants one each, and the same style shall be the same text."""
    return f"{{{uuid.uuid5(uuid.NAMESPACE_URL, f'railwatch:review:{text}')}}}"
