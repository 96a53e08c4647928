"""What the marks of a series mean, in plain words: the legend of the chart and of the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.path import Path as Outline

from railwatch import words
from railwatch.history.words import maximum
from railwatch.pages.charts.style import (
    BLACK,
    GREY,
    LIGHT,
    METHOD_MARKS,
    OTHER_METHOD,
    PALE,
    PUBLISHED_COLOUR,
    SKY,
    VERMILION,
    MarkerStyle,
)

if TYPE_CHECKING:
    from railwatch.history import Verdict
    from railwatch.history.history import History

__all__ = ["Key", "keys_of"]

_UP = Outline([(0, -6), (0, 6), (-3, 2), (0, 6), (3, 2)], [1, 2, 1, 2, 2])


@dataclass(frozen=True)
class Key:
    """An entry of the legend.

    Attributes:
        handle: How it is drawn; its label says what it means.
        hides: The kind of marks that a reader can hide with it, or an empty text: a method, a publisher
            (``published.0`` and so on) or ``filtered``.
    """

    handle: Line2D | Patch
    hides: str = ""

    @property
    def label(self) -> str:
        """What it means."""
        return str(self.handle.get_label())


def keys_of(history: History, publishers: Mapping[str, MarkerStyle], opening: Verdict | None) -> list[Key]:
    """Return the legend of a history.

    Args:
        history: What is drawn.
        publishers: The marks of published counts.
        opening: The headline's verdict, if it has a look-back.
    """
    return [
        *_marks(history, publishers),
        *_verdict_words(history),
        *(_look_back(opening) if opening is not None else ()),
        *_ceilings(history),
        *_unseen(history),
    ]


def _marks(history: History, publishers: Mapping[str, MarkerStyle]) -> Iterator[Key]:
    records = history.shown()
    methods = dict.fromkeys(one.method for one in records if one.clear and one.method != "published")
    for method in methods:
        yield Key(_point(METHOD_MARKS.get(method, OTHER_METHOD)), method)
    for number, mark in enumerate(publishers.values()):
        yield Key(_point(mark), f"published.{number}")
    combined = history.combined()
    if combined:
        colour = METHOD_MARKS[combined[0].method].colour
        line = Line2D([], [], color=colour, linewidth=1.0, label="estimate from several images together")
        yield Key(line, "filtered")
    if any(one.kind == "at least" for one in records):
        yield Key(_point(MarkerStyle(_UP, GREY, "none", 9.0, "at least so many")))
    if any(one.kind == "missing" for one in records):
        yield Key(_point(MarkerStyle("x", VERMILION, VERMILION, 4.0, "image without an answer")))


def _point(mark: MarkerStyle) -> Line2D:
    return Line2D(
        [],
        [],
        linestyle="none",
        marker=mark.marker,
        color=mark.colour,
        markerfacecolor=mark.face,
        markersize=mark.size,
        label=mark.label,
    )


def _verdict_words(history: History) -> Iterator[Key]:
    said = {one.verdict for one in history.verdicts if one.count is not None}
    if "unprecedented" in said:
        ring = MarkerStyle("o", BLACK, "none", 7.5, "unprecedented (two rings)")
        handle = _point(ring)
        handle.set_markeredgewidth(2.2)
        yield Key(handle)
    if "elevated" in said:
        yield Key(_point(MarkerStyle("o", BLACK, "none", 7.5, "elevated (one ring)")))
    if "low" in said:
        yield Key(_point(MarkerStyle("o", GREY, "none", 7.5, "low (a dashed ring)")))


def _look_back(verdict: Verdict) -> Iterator[Key]:
    start, end = verdict.window
    span = words.sentence_case(words.length_of(start, end))
    day = words.day(verdict.record.day)
    yield Key(
        Patch(facecolor=PALE, edgecolor=LIGHT, linewidth=0.4, label=f"{span} that {day} is compared with")
    )
    if verdict.maximum is not None:
        label = f"most known in that time: {maximum(verdict.maximum)}"
        yield Key(Line2D([], [], color=BLACK, linewidth=0.8, linestyle=(0, (5, 2)), label=label))
    if verdict.expected_low is not None and verdict.expected_high is not None:
        label = f"to be expected on that day: {words.interval(verdict.expected_low, verdict.expected_high)}"
        yield Key(Patch(facecolor=SKY, alpha=0.7, linewidth=0, label=label))


def _ceilings(history: History) -> Iterator[Key]:
    for ceiling in history.ceilings()[:2]:
        source = f" ({ceiling.source})" if ceiling.source else ""
        yield Key(
            Patch(
                facecolor="none",
                edgecolor=PUBLISHED_COLOUR,
                hatch="////",
                linewidth=0.8,
                label=f"at most about {words.number(ceiling.value or 0.0)} on any day{source}",
            )
        )


def _unseen(history: History) -> Iterator[Key]:
    if history.unseen():
        yield Key(
            Patch(
                facecolor=PALE,
                edgecolor=LIGHT,
                hatch="\\\\\\",
                linewidth=0.4,
                label="no image for half a year or more",
            )
        )
