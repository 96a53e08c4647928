"""Where the words beside a chart's marks stand: on no other mark, on no other words, inside the drawing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

__all__ = ["Box", "PlacedLabel", "place_labels", "text_width"]

_GAP = 4.0
_STEPS = 16
"""So many lines up and down, and to either side, a label may stand away from its mark."""


@dataclass(frozen=True)
class Box:
    """A rectangle on the page, in points from its lower left corner."""

    left: float
    bottom: float
    right: float
    top: float

    def meets(self, other: Box) -> bool:
        """Return whether two rectangles share ground."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.bottom < other.top
            and other.bottom < self.top
        )

    def holds(self, other: Box) -> bool:
        """Return whether the other one lies inside."""
        return (
            self.left <= other.left
            and other.right <= self.right
            and self.bottom <= other.bottom
            and other.top <= self.top
        )


@dataclass(frozen=True)
class PlacedLabel:
    """A label with its place.

    Attributes:
        index: Of the label among those asked for.
        dx: From the mark to the text's anchor, points to the right.
        dy: Points up, to the middle of the text.
        align: ``left``, ``right`` or ``center``: which side of the text the anchor is.
        far: Whether it stands so far off that a line must lead to it.
    """

    index: int
    dx: float
    dy: float
    align: str
    far: bool


@lru_cache(maxsize=2048)  # a page draws the same labels at four widths
def text_width(text: str, points: float) -> float:
    """Return how wide a text is in the charts' font, in points."""
    font = FontProperties(family="DejaVu Sans", size=points)
    return float(TextPath((0.0, 0.0), text, prop=font).get_extents().width) + 1.0


def place_labels(
    anchors: Sequence[tuple[float, float, float]],
    texts: Sequence[str],
    points: float,
    marks: Sequence[Box],
    lines: Sequence[Box],
    frame: Box,
) -> list[PlacedLabel]:
    """Place labels, the first one first; one that finds no place is left out.

    Args:
        anchors: Place of each mark in points, and its radius.
        texts: What is written beside each.
        points: Size of the type.
        marks: What no label may cover: marks, intervals, flags.
        lines: What no label should cover, if it can be helped.
        frame: Inside of which labels must lie.

    Returns:
        The labels that have a place, in the order of the texts.
    """
    taken: list[Box] = []
    placed = []
    height = points * 1.35
    for index, ((x, y, radius), text) in enumerate(zip(anchors, texts, strict=True)):
        width = text_width(text, points)
        for strict in (True, False):
            found = _first_free(
                x, y, radius, width, height, [*marks, *taken, *(lines if strict else ())], frame
            )
            if found is not None:
                label, box = found
                taken.append(box)
                placed.append(PlacedLabel(index, *label))
                break
    return placed


def _first_free(
    x: float, y: float, radius: float, width: float, height: float, obstacles: Sequence[Box], frame: Box
) -> tuple[tuple[float, float, str, bool], Box] | None:
    for dx, dy, align in _candidates(radius + _GAP, width, height):
        left = {"left": x + dx, "right": x + dx - width, "center": x + dx - width / 2.0}[align]
        box = Box(left, y + dy - height / 2.0, left + width, y + dy + height / 2.0)
        if frame.holds(box) and not any(box.meets(other) for other in obstacles):
            far = abs(dy) > radius + 1.2 * height or abs(dx) > radius + _GAP + 1.0
            return (dx, dy, align, far), box
    return None


def _candidates(reach: float, width: float, height: float) -> Iterator[tuple[float, float, str]]:
    """Places around a mark, the nearest first: left, right, above, below, then further off."""
    yield -reach, 0.0, "right"
    yield reach, 0.0, "left"
    yield 0.0, reach + height / 2.0, "center"
    yield 0.0, -reach - height / 2.0, "center"
    offsets = [
        (side * (reach + aside * width / 4.0), up * height / 2.0, "right" if side < 0 else "left")
        for side in (-1, 1)
        for aside in range(_STEPS // 2)
        for up in range(-_STEPS, _STEPS + 1)
    ]
    offsets += [
        (0.0, up * (reach + height * step / 2.0), "center") for up in (-1, 1) for step in range(2, _STEPS)
    ]
    yield from sorted(offsets, key=lambda one: (one[0] ** 2 + (2.0 * one[1]) ** 2, one))
