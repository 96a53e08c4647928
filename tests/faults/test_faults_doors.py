"""Files come and go through one door each: GDAL's in `aoi.gdal`, whole files in `aoi.files`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("aoi", "geo", "detector", "railwatch", "seeds", "sample_tiles")
DOORS = {"aoi/gdal.py", "aoi/files.py"}
OPENING = {"DatasetReader", "read_dataframe", "list_layers", "read_info", "read_arrow", "open_arrow"}
WRITING = {"write_text", "write_bytes", "replace"}
# Where GDAL opens something else than a file that somebody made, or a library writes what isn't kept.
EXCEPTIONS = {
    "aoi/area_import.py": "a copy in a temporary folder, for GDAL alone to read",
    "geo/catalogue/cut.py": "in a temporary folder beside, whose finished files are renamed",
    "geo/catalogue/cut_sentinel2.py": "in the same temporary folder",
    "geo/catalogue/range_file.py": "ranges of a remote file, in the same temporary folder",
}


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Attribute):
                yield f"{ast.unparse(function.value)}.{function.attr}", node
            elif isinstance(function, ast.Name):
                yield function.id, node


def mode(call: ast.Call) -> str:
    """The mode of a call of ``open``: "r" where it says nothing."""
    given = [*call.args, *(word.value for word in call.keywords if word.arg == "mode")]
    texts = [one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return next((text for text in texts if text and set(text) <= set("rwaxbt+")), "r")


def test_gdal_opens_others_files_through_one_door(repository):
    offences = []
    for package in PACKAGES:
        for path in sorted((repository / package).rglob("*.py")):
            name = str(path.relative_to(repository))
            if name in DOORS:
                continue
            for function, call in calls(path):
                owner, _, last = function.rpartition(".")
                reads = last in OPENING and owner in {"", "pyogrio"} and "aoi.gdal" not in path.read_text()
                reads = reads or (function == "rasterio.open" and "w" not in mode(call))
                reads = reads or (last == "read_file" and owner in {"gpd", "geopandas", "pyogrio"})
                if reads:
                    offences.append(f"{name}:{call.lineno} {function}")
    remote = [one for one in offences if not one.startswith(tuple(REMOTE))]
    assert not remote, remote


# Modules that open a remote file, by the user's wish.
REMOTE: tuple[str, ...] = ("geo/stac", "geo/remote", "railwatch/fetch", "geo/catalogue")


def test_whole_files_are_written_by_one_writer(repository):
    offences = []
    for package in PACKAGES:
        for path in sorted((repository / package).rglob("*.py")):
            name = str(path.relative_to(repository))
            if name in DOORS or name in EXCEPTIONS:
                continue
            for function, call in calls(path):
                owner, _, last = function.rpartition(".")
                # What `replacing` gives is called a temporary; a format's own writer gets it as its path.
                safe = (
                    "temporary" in owner or owner in {"", "files", "text"} or name.endswith("pages/export.py")
                )
                if last in {"write_text", "write_bytes"} and not safe:
                    offences.append(f"{name}:{call.lineno} {function}")
                if last == "replace" and function in {"os.replace", "shutil.move"}:
                    offences.append(f"{name}:{call.lineno} {function}")
                others = {"rasterio.open", "zipfile.ZipFile", "archive.open"}
                opened = last == "open" and function not in others and "w" in mode(call)
                if opened and "temporary" not in ast.unparse(call):
                    offences.append(f"{name}:{call.lineno} {function}")
    assert not offences, offences
