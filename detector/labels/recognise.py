"""Which format some labels are in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from detector.errors import LabelError
from detector.labels import vector
from detector.labels.dota import HEADERS
from detector.labels.files import read_json, read_text
from detector.labels.find_images import SUFFIXES as IMAGE_SUFFIXES

# Text files that lie about in data sets and hold no labels.
_NO_LABELS = frozenset(
    {"classes", "train", "val", "valid", "test", "readme", "license", "licence", "notes", "obj", "names"}
)
_KINDS = frozenset({".xml", ".txt", ".json", *vector.SUFFIXES})


class UnknownFormatError(LabelError):
    """A file that may be anything, but no label file."""


def recognise(source: Path) -> dict[str, list[Path]]:
    """The label files of a file or folder (its sub-folders included), by format, in the order of their names.

    Raises:
        LabelError: There are none, or a file is of no known format.
    """
    if not source.exists():
        raise LabelError(f"{source}: there is no such file or folder")
    if source.suffix.lower() in {".yaml", ".yml"}:  # the description of a YOLO data set
        source = source.parent
    if source.is_file():
        return {format_of(source): [source]}
    formats: dict[str, list[Path]] = {}
    strangers: list[LabelError] = []
    for path in label_files(source):
        try:
            name = _text_format(path) if path.suffix.lower() == ".txt" else format_of(path)
        except UnknownFormatError as error:  # a manifest, settings, metadata
            strangers.append(error)
            continue
        formats.setdefault(name, []).append(path)
    blank = formats.pop("", [])
    if blank:  # empty text files are of the format of the others
        name = next((name for name in ("dota", "yolo-obb") if name in formats), "yolo-obb")
        formats[name] = sorted([*formats.get(name, []), *blank])
    if not formats and strangers:
        raise strangers[0]
    if not formats:
        raise LabelError(f"{source}: holds no labels (.geojson, .gpkg, .shp, .json, .xml or .txt)")
    return formats


def label_files(folder: Path, suffixes: frozenset[str] = _KINDS) -> list[Path]:
    """Files under a folder that can hold labels, sorted."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in suffixes
        and path.is_file()
        and not path.name.startswith(".")
        and not path.name.lower().endswith(".aux.xml")
        and not (path.suffix.lower() == ".txt" and path.stem.lower() in _NO_LABELS)
    )


def format_of(path: Path) -> str:
    """The format of one label file.

    Raises:
        LabelError: It is of none that is known here.
    """
    suffix = path.suffix.lower()
    if suffix in vector.SUFFIXES:
        return "geojson"
    if suffix == ".xml":
        return "voc"
    if suffix == ".txt":
        return _text_format(path) or "yolo-obb"
    if suffix == ".json":
        return _json_format(path)
    if suffix in IMAGE_SUFFIXES:
        raise LabelError(f"{path}: is an image, not a label file")
    raise LabelError(f"{path}: labels aren't read from {suffix or 'a file without an ending'}")


def _text_format(path: Path) -> str:
    """YOLO's lines are all numbers, DOTA's have a name in the ninth place; "" for a file without lines."""
    for line in read_text(path).splitlines():
        fields = line.split()
        if line.strip().lower().startswith(HEADERS) or (len(fields) in (9, 10) and not _number(fields[8])):
            return "dota"
        if fields:
            return "yolo-obb"
    return ""


def _number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _json_format(path: Path) -> str:
    document = read_json(path)
    if isinstance(document, list):
        if all(isinstance(task, Mapping) and "data" in task for task in document):
            return "label-studio"
    elif isinstance(document, Mapping):
        if document.get("type") in {"FeatureCollection", "Feature"}:
            return "geojson"
        if "images" in document and ("annotations" in document or "categories" in document):
            return "coco"
        if all(isinstance(entry, Mapping) and "strings" in entry for entry in document.values()):
            return "strings"
    raise UnknownFormatError(
        f"{path}: is no label file: neither GeoJSON nor COCO nor Label Studio's JSON export "
        "nor our strings of wagons"
    )
