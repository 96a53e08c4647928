"""Write a figure to a file, whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aoi.errors import InputError
from railwatch.pages.charts.style import PageStyle, drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")


class ChartError(InputError):
    """A chart that can't be drawn or written as asked."""


def format_of(path: Path) -> str:
    """Return the format that a file's name asks for.

    Raises:
        ChartError: If it is none that charts are written in.
    """
    name = path.suffix.lower().lstrip(".")
    if name not in FORMATS:
        raise ChartError(f"{path}: a chart is written as .png, .svg or .pdf")
    return name


def to_bytes(figure: Figure, name: str, style: PageStyle | None = None, *, title: str = "") -> bytes:
    """Return a figure as a file's content; the same figure gives the same bytes.

    Args:
        figure: The figure.
        name: ``png``, ``svg`` or ``pdf``.
        style: As it was drawn with.
        title: For the file's metadata.
    """
    chosen = style or PageStyle()
    by_format: dict[str, dict[str, Any]] = {
        "png": {"Title": title, "Software": "railwatch"},
        "svg": {"Title": title, "Creator": "railwatch", "Date": None},
        "pdf": {"Title": title, "Creator": "railwatch", "CreationDate": None, "ModDate": None},
    }
    content = io.BytesIO()
    with drawing(chosen):
        figure.savefig(content, format=name, dpi=chosen.dpi, metadata=by_format[name])
    return content.getvalue()


def write_chart(figure: Figure, path: Path, style: PageStyle | None = None, *, title: str = "") -> Path:
    """Write a figure.

    Args:
        figure: The figure.
        path: Where to; the suffix gives the format.
        style: As it was drawn with.
        title: For the file's metadata.

    Returns:
        The path.

    Raises:
        ChartError: If the suffix is none of png, svg, pdf, or the file can't be written.
    """
    from aoi.files import write_bytes

    content = to_bytes(figure, format_of(path), style, title=title)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content)
    except OSError as error:
        raise ChartError(f"{path} can't be written ({error.strerror or error})") from error
    return path
