"""Labels of your own: read and written in the formats people keep them in.

`read_labels` reads GeoJSON, GeoPackage, Shapefile, COCO, Pascal VOC, YOLO, DOTA, Label Studio and our strings
of wagons into `LabelledImage`, whichever it is; `write_labels` writes them.
`detector.training.label_tiles` cuts them into tiles.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from detector.errors import LabelError
from detector.labels import coco, dota, label_studio, strings, vector, voc, yolo
from detector.labels.dota import HEADERS
from detector.labels.files import SUFFIXES, LabelImages, read_json, read_text
from detector.labels.image import Context, LabelledImage
from detector.labels.names import SYNONYMS, ClassNames

__all__ = ["READERS", "SYNONYMS", "WRITERS", "LabelledImage", "read_labels", "write_labels"]

logger = logging.getLogger(__name__)

Read = Callable[[Sequence[Path], Context], list[LabelledImage]]
Write = Callable[[Sequence[LabelledImage], Path], None]


def _negatives(files: Sequence[Path], context: Context) -> list[LabelledImage]:
    """Every image is said to be without rail vehicles."""
    return [context.image(context.pictures.picture(path), []) for path in files]


# A new format is one module with `read` (and `write`) and a line here, and how to recognise it.
READERS: Final[Mapping[str, Read]] = {
    "geojson": vector.read,
    "coco": coco.read,
    "voc": voc.read,
    "yolo-obb": yolo.read,
    "dota": dota.read,
    "label-studio": label_studio.read,
    "strings": strings.read,
    "negatives": _negatives,
}
WRITERS: Final[Mapping[str, Write]] = {
    "geojson": vector.write,
    "coco": coco.write,
    "voc": voc.write,
    "yolo-obb": yolo.write,
    "dota": dota.write,
    "label-studio": label_studio.write,
}
_ALSO: Final = {
    "yolo": "yolo-obb",
    "vector": "geojson",
    "gpkg": "geojson",
    "shp": "geojson",
    "labelstudio": "label-studio",
}
_FOLDERS: Final = frozenset({"voc", "yolo-obb", "dota"})
_SUFFIXES: Final = {
    "geojson": vector.SUFFIXES | {".json"},
    "voc": frozenset({".xml"}),
    "yolo-obb": frozenset({".txt"}),
    "dota": frozenset({".txt"}),
    "negatives": SUFFIXES,
}


def read_labels(
    source: str | Path,
    *,
    images: str | Path | None = None,
    gsd_m: float | None = None,
    gsd_table: Mapping[str, float] | None = None,
    format: str | None = None,
    classes: Mapping[str, str] | None = None,
) -> list[LabelledImage]:
    """Read labels in any format we know; which one is recognised by what is in the files.

    Args:
        source: A label file, or a folder of them (sub-folders included).
        images: The image, or the folder with the images; by default they are looked for beside the labels.
        gsd_m: Ground sampling distance in metres of images without position; wins over one in the label file.
        gsd_table: The same for single images, by path or by the end of a path; wins over ``gsd_m``.
        format: One of READERS, where recognition fails or ``source`` holds several. ``negatives`` reads no
            labels: every image in ``source`` is said to be without rail vehicles.
        classes: Meanings of class names beyond the built-in ones: freight, locomotive, coach, ignore or skip.

    Returns:
        One entry an image, sorted by name; images without a rail vehicle are among them where the labels list
        them.

    Raises:
        LabelError: The labels are missing, malformed or of no known format; a class is unknown; an image is
            missing, unreadable or of another size; a box has no area or lies outside its image; an image is
            labelled twice.
    """
    source = Path(source)
    pictures = LabelImages(source, None if images is None else Path(images), gsd_m, gsd_table)
    context = Context(pictures, ClassNames(classes))
    found: dict[Path, LabelledImage] = {}
    for name, files in _files(source, None if format is None else _format(format, READERS)).items():
        for image in READERS[name](files, context):
            if image.image in found:
                raise LabelError(f"{source}: {image.image} is labelled twice")
            found[image.image] = image
    if context.upright:
        logger.warning(
            "%s: %d boxes are upright rectangles: around wagons that stand at a slant they are too fat; "
            "oriented boxes or outlines train and score better",
            source,
            context.upright,
        )
    out = sorted(found.values(), key=lambda image: (image.name, str(image.image)))
    logger.info("%s: %d boxes in %d images", source, sum(len(image.boxes) for image in out), len(out))
    return out


def write_labels(images: Sequence[LabelledImage], path: str | Path, format: str) -> Path:
    """Write labels in one of the formats of WRITERS.

    ``voc``, ``yolo-obb`` and ``dota`` are folders with a file an image, the others one file.

    Args:
        images: What to write.
        path: The file or folder.
        format: One of WRITERS.

    Returns:
        The path.

    Raises:
        LabelError: The format is unknown, or the labels can't be written.
    """
    path = Path(path)
    name = _format(format, WRITERS)
    if not path.absolute().parent.is_dir():
        raise LabelError(f"{path}: the folder {path.absolute().parent} doesn't exist")
    if path.is_dir() is not (name in _FOLDERS) and path.exists():
        raise LabelError(f"{path}: {name} labels are {'a folder' if name in _FOLDERS else 'one file'}")
    WRITERS[name](images, path)
    return path


def _files(source: Path, name: str | None) -> dict[str, list[Path]]:
    if name is None:
        formats = recognise(source)
        if len(formats) > 1:
            examples = ", ".join(f"{key} ({files[0].name})" for key, files in sorted(formats.items()))
            raise LabelError(f"{source}: holds labels of several formats: {examples}; say which one to read")
        return formats
    if not source.exists():
        raise LabelError(f"{source}: there is no such file or folder")
    if source.is_file():
        return {name: [source]}
    suffixes = _SUFFIXES.get(name, frozenset({".json"}))
    files = label_files(source, suffixes)
    if not files:
        raise LabelError(f"{source}: holds no file that ends in {', '.join(sorted(suffixes))}")
    return {name: files}


def _format(name: str, known: Mapping[str, object]) -> str:
    plain = name.strip().lower().replace("_", "-")
    plain = _ALSO.get(plain, plain)
    if plain not in known:
        raise LabelError(f"there is no label format {name!r} here; use one of {', '.join(known)}")
    return plain


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
    if suffix in SUFFIXES:
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
