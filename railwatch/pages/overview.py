"""One page for many yards: what is remarkable first, each with a small chart and a link to its report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from aoi.files import write_text
from railwatch.errors import StoreError
from railwatch.history import RANK, Verdict
from railwatch.history.sources import read_sources
from railwatch.store.observation import slug
from railwatch.words import day, moment, plural

if TYPE_CHECKING:
    from railwatch.history import VerdictSettings


_WIDTH, _HEIGHT = 220, 44
_SHOWN = 80
"""Counts in a small chart, at most: the latest."""

_COLOURS = {
    "unprecedented": "#b3261e",
    "elevated": "#c77700",
    "typical": "#3f6f3f",
    "low": "#4a6a8a",
    "cannot say": "#777777",
}


@dataclass(frozen=True)
class YardSummary:
    """A yard in one line.

    Attributes:
        store: The store's location.
        area: Its name there.
        title: For people.
        latest: The latest verdict, or None without any.
        foremost: The verdict that stands out most in the last days.
        observations: Number of observations.
        counts: (time, count, low, high) of those with a count, oldest first.
        report: The store's page on it, if there is one.
    """

    store: str
    area: str
    title: str
    latest: Verdict | None
    foremost: Verdict | None
    observations: int
    counts: tuple[tuple[datetime, float, float, float], ...]
    report: Path | None

    @property
    def rank(self) -> tuple[int, float, str]:
        """What it is sorted by: the word first, then how new it is."""
        if self.foremost is None:
            return (-2, 0.0, self.title)
        return (RANK[self.foremost.verdict], self.foremost.datetime.timestamp(), self.title)

    def to_json(self) -> dict[str, Any]:
        """Return it as ``railwatch overview --json`` prints it."""
        return {
            "aoi": self.area,
            "title": self.title,
            "store": self.store,
            "observations": self.observations,
            "verdict": None if self.foremost is None else self.foremost.to_json(),
            "latest": None if self.latest is None else self.latest.to_json(),
            "report": None if self.report is None else str(self.report),
        }


def gather_yards(
    stores: Sequence[str | Path],
    *,
    days: int = 90,
    until: datetime | None = None,
    settings: VerdictSettings | None = None,
) -> list[YardSummary]:
    """Read stores and judge their yards.

    Args:
        stores: Folders or fsspec URLs.
        days: How far back a verdict may lie to be the one that a yard is sorted by.
        until: The day that this is counted from; now by default.
        settings: Of the verdicts.

    Returns:
        The yards, the most remarkable first.

    Raises:
        StoreError: A store can't be read.
    """
    now = until or datetime.now(UTC)
    begin = now - timedelta(days=days)
    found = []
    for store in stores:
        sources = read_sources(Path(store))
        for name in sources.names:
            observations = tuple(one for one in sources.observations if one.aoi == name)
            published = sources.published_of(name)
            # Rows of an empty table lose its columns.
            published = None if published is None or published.empty else published
            alone = replace(
                sources,
                names=(name,),
                observations=observations,
                published=published,
                settings={name: settings or sources.settings_of(name)},
            )
            own = {one.id for one in observations}
            recent = {one.datetime.date() for one in observations if begin <= one.datetime <= now}
            newest = {max(one.datetime for one in observations).date()} if observations else set()
            verdicts = [one for one in alone.verdicts(recent | newest) if one.record.id in own]
            verdicts.sort(key=lambda one: one.datetime)
            late = [one for one in verdicts if begin <= one.datetime <= now]
            page = None if alone.store is None else alone.store.reports / f"{name}.html"
            found.append(
                YardSummary(
                    store=str(store),
                    area=name,
                    title=alone.titles[name],
                    latest=verdicts[-1] if verdicts else None,
                    foremost=max(late, key=lambda one: (RANK[one.verdict], one.datetime), default=None),
                    observations=len(observations),
                    counts=tuple(
                        (one.datetime, one.count, one.count_low or one.count, one.count_high or one.count)
                        for one in sorted(observations, key=lambda one: one.datetime)
                        if one.count is not None
                    ),
                    report=page if page is not None and page.is_file() else None,
                )
            )
    return sorted(found, key=lambda one: one.rank, reverse=True)


def write_overview(
    yards: Sequence[YardSummary], path: Path, *, days: int = 90, until: datetime | None = None
) -> Path:
    """Write the page: one file without scripts, whose links lead to the stores' own reports.

    Args:
        yards: As `gather_yards` gives them.
        path: The file.
        days: As they were gathered.
        until: As they were gathered.

    Raises:
        StoreError: It can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, _overview_html(yards, path.parent, days, until))
    except OSError as error:
        raise StoreError(f"{path} can't be written: {error.strerror or error}.") from error
    return path


def _overview_html(yards: Sequence[YardSummary], folder: Path, days: int, until: datetime | None) -> str:
    """Return the page as HTML; its links lead from the folder in which it will lie."""

    def link(page: Path) -> str:
        return quote(Path(os.path.relpath(page.resolve(), folder.resolve())).as_posix())

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    made = datetime.now(UTC)
    text = resources.files("railwatch.pages").joinpath("overview.html").read_text("utf-8")
    return environment.from_string(text).render(
        yards=yards,
        notable=sum(one.rank[0] >= RANK["elevated"] for one in yards),
        period=f"{plural(days, 'day')} to {day((until or made).date())}",
        places=plural(len(yards), "place"),
        made=moment(made),
        colours=_COLOURS,
        slug=slug,
        link=link,
        sparkline=_sparkline,
    )


def _sparkline(one: YardSummary) -> Markup:
    """The latest counts over time with their intervals, as inline SVG."""
    shown = one.counts[-_SHOWN:]
    if not shown:
        return Markup('<span class="quiet">no count</span>')
    first, last = shown[0][0], shown[-1][0]
    span = max((last - first).total_seconds(), 1.0)
    top = max(max(high for *_, high in shown), 1.0)

    def x(when: datetime) -> float:
        return 3.0 + (_WIDTH - 6.0) * (when - first).total_seconds() / span

    def y(cars: float) -> float:
        return _HEIGHT - 3.0 - (_HEIGHT - 6.0) * min(cars, top) / top

    bars = "".join(f"M{x(when):.1f} {y(low):.1f}V{y(high):.1f}" for when, _, low, high in shown)
    line = "L".join(f"{x(when):.1f} {y(count):.1f}" for when, count, *_ in shown)
    when, count, *_ = shown[-1]
    label = (
        f"{len(shown)} counts from {first:%Y-%m-%d} to {last:%Y-%m-%d}, the highest upper end {top:.0f}, "
        f"the last {count:.0f}"
    )
    return Markup(
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="{label}"><title>{label}</title>'
        f'<path d="{bars}" stroke="#9bb0c4" stroke-width="1.2" fill="none"/>'
        f'<path d="M{line}" stroke="#2b5d8a" stroke-width="1.4" fill="none"/>'
        f'<circle cx="{x(when):.1f}" cy="{y(count):.1f}" r="2.6" fill="#b3261e"/></svg>'
    )
