"""Values of any kind as JSON has them, without a heavy library."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path

from aoi.files import safe_name

__all__ = ["plain"]


def plain(value: object) -> object:
    """The value in types that JSON has."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str | Path):
        return safe_name(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        moment = value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
        return moment.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {safe_name(str(key)): plain(member) for key, member in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [plain(member) for member in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(member) for member in value), key=str)
    # numpy scalars and arrays, without importing numpy
    as_list = getattr(value, "tolist", None)
    if callable(as_list):
        return plain(as_list())
    raise TypeError(f"{type(value).__name__} has no JSON form")
