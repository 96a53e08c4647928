"""What the commands that look back work on: a store's observations and the published counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

from aoi import AreaOfInterest, area_names, load_area
from aoi.errors import InputError
from railwatch.errors import StoreError
from railwatch.history import Verdict, VerdictSettings, compare, from_observation
from railwatch.history.matchups import Matchup, meetings
from railwatch.history.published import published_records
from railwatch.store.observation import Observation
from railwatch.store.store import Store

__all__ = ["Sources", "nearest", "published_of", "read_sources"]


@dataclass(frozen=True)
class Sources:
    """The history of one or several areas.

    Attributes:
        names: The areas, in alphabetical order.
        areas: Their geometry, where it is known (a store keeps only the name).
        observations: Of all of them, superseded ones left out.
        published: Comparable published rows of all of them, or None without seeds.
        store: The store they come from, or None.
    """

    names: tuple[str, ...]
    areas: Mapping[str, AreaOfInterest]
    observations: tuple[Observation, ...]
    published: pd.DataFrame | None
    store: Store | None = field(default=None, compare=False)

    @property
    def titles(self) -> dict[str, str]:
        """Names for people, by area."""
        return {name: self.areas[name].title if name in self.areas else name for name in self.names}

    def published_of(self, name: str) -> pd.DataFrame | None:
        """Published rows about one of the areas, or None without seeds."""
        if self.published is None:
            return None
        return self.published[[name in str(site).split(";") for site in self.published["site"]]]

    def verdicts(self, settings: VerdictSettings | None = None) -> list[Verdict]:
        """Return a verdict on each observation and published count, oldest first."""
        return compare(
            self.observations, self.published, judge_published=True, titles=self.titles, settings=settings
        )

    def calibrations(self, settings: VerdictSettings | None = None) -> list[dict[str, Any]]:
        """Return the lines between methods that the areas' pairs of looks support, as plain JSON values."""
        return [
            {"aoi": name, **one.line.to_json()}
            for name, one in self.meetings(settings)
            if one.line is not None
        ]

    def meetings(self, settings: VerdictSettings | None = None) -> list[tuple[str, Matchup]]:
        """Return by area where two methods have seen it within a few days, with the line between them.

        The less precise method stands against the more precise one. A machine's count and its reviewed one
        make a pair too.
        """
        chosen = settings or VerdictSettings()
        found = []
        for name in self.names:
            records = [from_observation(one, chosen) for one in self.observations if one.aoi == name]
            rows = self.published_of(name)
            if rows is not None:
                records += published_records(rows, chosen)
            found += [(name, one) for one in meetings(records, chosen)]
        return found


def read_sources(
    store: Path | None, aoi: str | None = None, *, seeds_only: bool = False, with_seeds: bool = True
) -> Sources:
    """Read what there is about an area, or about every area of a store.

    Args:
        store: The store's folder; not needed with ``seeds_only``.
        aoi: A bundled area's name, an area file, or the name of an area in the store.
        seeds_only: Published counts alone.
        with_seeds: Published counts too.

    Raises:
        StoreError: If the store can't be read, or holds nothing of the area.
        AreaError: If the area file can't be read.
        InputError: If ``seeds_only`` names no area, or one that nobody has published about.
    """
    if seeds_only:
        if aoi is None:
            raise InputError("--seeds-only needs --aoi: whose published counts?")
        name, areas = _named(aoi, ())
        counts = published_of((name,))
        if counts.empty:
            raise InputError(f"there are no published counts of {name} to compare")
        return Sources((name,), areas, (), counts)
    if store is None:
        raise InputError("which history? Give --store DIR, or --seeds-only with --aoi NAME")
    opened = Store.open(store, create=False)
    everything = opened.observations()
    stored = tuple(sorted({one.aoi for one in everything}))
    if aoi is None:
        names, areas = stored, _bundled(stored)
    else:
        name, areas = _named(aoi, stored)
        names = (name,)
    published = published_of(names) if with_seeds else None
    chosen = tuple(one for one in everything if one.aoi in names)
    if aoi is not None and not chosen and (published is None or published.empty):
        known = f"; it has {', '.join(stored)}" if stored else ""
        raise StoreError(f"The store {store} has no observation of {names[0]}{known}.")
    return Sources(names, areas, chosen, published, opened)


def _named(aoi: str, stored: tuple[str, ...]) -> tuple[str, dict[str, AreaOfInterest]]:
    """The name that an option means and, if it is known, the area."""
    if aoi in stored and aoi not in area_names():
        return aoi, {}
    area = load_area(aoi)
    return area.name, {area.name: area}


def _bundled(names: tuple[str, ...]) -> dict[str, AreaOfInterest]:
    bundled = set(area_names())
    return {name: load_area(name) for name in names if name in bundled}


def published_of(names: tuple[str, ...]) -> pd.DataFrame:
    """Return the published counts that compare with whole-area counts of some areas."""
    from seeds import comparable

    frames = [comparable(name) for name in names]
    if not frames:
        return comparable("none")
    return pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]


def nearest(days: list[date], wanted: date, number: int = 3) -> list[date]:
    """Return the days nearest to one, in order of time."""
    near = sorted(set(days), key=lambda day: (abs((day - wanted).days), day))[:number]
    return sorted(near)
