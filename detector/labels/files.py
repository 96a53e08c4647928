"""Reading and writing label files, with faults told in one sentence."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aoi import files
from detector.errors import LabelError


def read_text(path: Path) -> str:
    """A text file.

    Raises:
        LabelError: It can't be read or isn't UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise LabelError(f"{path}: can't be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise LabelError(f"{path}: is not text in UTF-8") from error


def read_json(path: Path) -> Any:
    """A JSON document.

    Raises:
        LabelError: It can't be read or isn't JSON.
    """
    text = read_text(path)
    if not text.strip():
        raise LabelError(
            f"{path}: is empty; a picture without wagons is written as a document without features"
        )
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise LabelError(
            f"{path}: is not JSON ({error.msg} at line {error.lineno}, column {error.colno})"
        ) from error
    except RecursionError as error:
        raise LabelError(f"{path}: is not JSON (nested too deep)") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all.

    Raises:
        LabelError: It can't be written.
    """
    try:
        files.write_text(path, text)
    except OSError as error:
        raise LabelError(f"{path}: can't be written ({error.strerror})") from error


def write_json(path: Path, document: Any) -> None:
    """Write a JSON document, whole or not at all.

    Raises:
        LabelError: It can't be written.
    """
    write_text(path, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def relative(image: Path, folder: Path) -> str:
    """An image's path as seen from the folder of its labels, with forward slashes."""
    try:
        return Path(os.path.relpath(image.absolute(), folder.absolute())).as_posix()
    except ValueError:  # another drive
        return image.absolute().as_posix()


def member(record: Any, key: str, where: str) -> Any:
    """A member that a JSON object must have.

    Raises:
        LabelError: It hasn't, or it is no object.
    """
    if not isinstance(record, Mapping):
        raise LabelError(f"{where}: is no JSON object")
    if key not in record:
        raise LabelError(f"{where}: has no {key!r}")
    return record[key]


def numbers(values: Any, where: str, count: int | None = None) -> list[float]:
    """A list of numbers.

    Args:
        values: What should be one.
        where: The file and the place in it, for the error.
        count: How many there must be.

    Raises:
        LabelError: It isn't.
    """
    try:
        out = [float(value) for value in values]
    except (TypeError, ValueError):
        raise LabelError(f"{where}: {_short(values)} is not a list of numbers") from None
    if count is not None and len(out) != count:
        raise LabelError(f"{where}: needs {count} numbers, not {len(out)}")
    return out


def number(value: Any, where: str) -> float:
    """A number.

    Raises:
        LabelError: It isn't one.
    """
    try:
        return float(value)
    except (TypeError, ValueError):
        raise LabelError(f"{where}: {_short(value)} is not a number") from None


def optional(value: Any, where: str) -> float | None:
    """A number, or None where there is none.

    Raises:
        LabelError: It is something else.
    """
    return None if value is None else number(value, where)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
