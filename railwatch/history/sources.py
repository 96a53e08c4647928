"""What the commands that look back work on: a store's observations and the published counts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from shapely.geometry import shape

from aoi import AreaOfInterest, area_names, load_area
from aoi.errors import InputError
from railwatch.errors import StoreError
from railwatch.history.history import Gathered, History
from railwatch.history.judge import verdicts_on
from railwatch.history.matchups import Matchup, matchups
from railwatch.history.settings import VerdictSettings
from railwatch.history.verdict import Verdict
from railwatch.store.areas import ChosenSettings, choose_settings
from railwatch.store.observation import Observation
from railwatch.store.store import Store

__all__ = ["Sources", "nearest", "published_of", "read_sources"]


@dataclass(frozen=True)
class Sources:
    """The history of one or several areas, gathered and judged once, when first asked for.

    Attributes:
        names: The areas, in alphabetical order.
        areas: Their geometry, where it is known: that of the store, or that of a bundled area.
        observations: Of all of them, superseded ones left out.
        published: Comparable published rows of all of them, or None without seeds.
        store: The store they come from, or None.
        settings: What the verdicts of each area are made with, where that is known.
        headings: Titles that a store keeps, by area.
        notes: What differs from what the store keeps, a sentence each.
    """

    names: tuple[str, ...]
    areas: Mapping[str, AreaOfInterest]
    observations: tuple[Observation, ...]
    published: pd.DataFrame | None
    store: Store | None = field(default=None, compare=False)
    settings: Mapping[str, VerdictSettings] = field(default_factory=dict)
    headings: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def titles(self) -> dict[str, str]:
        """Names for people, by area."""
        known = {name: area.title for name, area in self.areas.items()} | dict(self.headings)
        return {name: known.get(name, name) for name in self.names}

    def settings_of(self, name: str) -> VerdictSettings:
        """Return what the verdicts of one of the areas are made with."""
        return self.settings.get(name) or VerdictSettings()

    def published_of(self, name: str) -> pd.DataFrame | None:
        """Published rows about one of the areas, or None without seeds."""
        if self.published is None:
            return None
        return self.published[[name in str(site).split(";") for site in self.published["site"]]]

    @cached_property
    def _gathered(self) -> dict[str, Gathered]:
        """The records of each area."""
        return {
            name: Gathered.of(
                (one for one in self.observations if one.aoi == name),
                self.published_of(name),
                self.settings_of(name),
            )
            for name in self.names
        }

    @cached_property
    def _judged(self) -> dict[str, list[Verdict]]:
        """The verdicts of each area, judged by itself: they don't change with the other areas of a store."""
        return self._judge(None)

    def _judge(self, days: Collection[date] | None) -> dict[str, list[Verdict]]:
        return {
            name: verdicts_on(
                gathered,
                dates=days,
                judge_published=True,
                titles=self.titles,
                settings=self.settings_of(name),
            )
            for name, gathered in self._gathered.items()
        }

    def verdicts(self, days: Collection[date] | None = None) -> list[Verdict]:
        """Return a verdict on each observation and published count, oldest first; judged once.

        Args:
            days: Only those on these days, in less time: of long series few are judged for them.
        """
        judged = self._judged if days is None else self._judge(days)
        found = [verdict for verdicts in judged.values() for verdict in verdicts]
        return sorted(found, key=lambda one: (one.datetime, one.aoi, one.record.id))

    def verdicts_on(self, day: date) -> list[Verdict]:
        """Return the verdicts on a day.

        Raises:
            InputError: If nothing was counted on it; the message names the nearest days.
        """
        verdicts = self.verdicts()
        found = [one for one in verdicts if one.record.day == day]
        if not found:
            place = " and ".join(self.names) or "this store"
            near = [str(one) for one in nearest([one.record.day for one in verdicts], day)]
            hint = f"; the nearest are those of {', '.join(near)}" if near else ""
            raise InputError(f"there is no count of {place} on {day}{hint}")
        return found

    @cached_property
    def histories(self) -> dict[str, History]:
        """The whole history of each area, judged: what charts and pages are made from."""
        return {
            name: replace(
                History.of(self.titles[name], gathered, self._judged[name], self.settings_of(name)),
                middle=self._middle(name, gathered.observations),
            )
            for name, gathered in self._gathered.items()
        }

    def _middle(self, name: str, observations: Sequence[Observation]) -> tuple[float, float] | None:
        """The middle of an area, or of what the newest observation with a place shows."""
        area = self.areas.get(name)
        shapes = [one.geometry for one in reversed(observations) if one.geometry is not None]
        if area is None and not shapes:
            return None
        point = (shape(dict(shapes[0])) if area is None else area.boundary).centroid
        return float(point.x), float(point.y)

    def calibrations(self) -> list[dict[str, Any]]:
        """Return the lines between methods that the areas' matchups support, as plain JSON values."""
        return [{"aoi": name, **one.line.to_json()} for name, one in self.matchups() if one.line is not None]

    def matchups(self) -> list[tuple[str, Matchup]]:
        """Return by area where two methods have seen it within a few days, with the line between them.

        The less precise method stands against the more precise one. A machine's count and its reviewed one
        make a pair too.
        """
        found = []
        for name, gathered in self._gathered.items():
            records = [*gathered.machine, *gathered.published]
            found += [(name, one) for one in matchups(records, self.settings_of(name))]
        return found


def read_sources(
    store: Path | None,
    aoi: str | None = None,
    *,
    seeds_only: bool = False,
    chosen: ChosenSettings | None = None,
) -> Sources:
    """Read what there is about an area, or about every area of a store.

    The areas' geometry, titles and settings are those that the store keeps, so that the verdicts are those
    of the run that wrote it.

    Args:
        store: The store's folder; not needed with ``seeds_only``.
        aoi: A bundled area's name, an area file, or the name of an area in the store.
        seeds_only: Published counts alone.
        chosen: The settings; by default those that the store keeps.

    Raises:
        StoreError: If the store can't be read, or holds nothing of the area.
        AreaError: If the area file can't be read.
        InputError: If ``seeds_only`` names no area, or one that nobody has published about.
    """
    if seeds_only:
        if aoi is None:
            raise InputError("--seeds-only needs --aoi: whose published counts?")
        area = load_area(aoi)
        counts = published_of((area.name,))
        if counts.empty:
            raise InputError(f"there are no published counts of {area.name} to compare")
        made_with = {} if chosen is None else {area.name: chosen.config.baseline.verdict_settings()}
        return Sources((area.name,), {area.name: area}, (), counts, settings=made_with)
    if store is None:
        raise InputError("which history? Give --store DIR, or --seeds-only with --aoi NAME")
    opened = Store.open(store, create=False)
    known = chosen or choose_settings(store=store, aoi=aoi)
    # Most often the option is the name of an area that is there: of many, only its observations are read.
    everything = opened.observations(aoi) if aoi is not None else []
    everything = everything or opened.observations()
    stored = tuple(sorted({one.aoi for one in everything}))
    notes = list(known.notes)
    if aoi is None:
        names = stored
        areas = {name: load_area(name) for name in set(names) & set(area_names())}
        areas |= {name: one.area for name, one in known.kept.items() if name in names}
    else:
        name, areas = _named(aoi, stored, known, notes)
        names = (name,)
    settings = {name: known.areas.get(name, known.config).baseline for name in names}
    wanted = tuple(name for name, one in settings.items() if one.use_published)
    published = published_of(wanted) if wanted else None
    held = tuple(one for one in everything if one.aoi in names)
    if aoi is not None and not held and (published is None or published.empty):
        others = f"; it has {', '.join(stored)}" if stored else ""
        raise StoreError(f"The store {store} has no observation of {names[0]}{others}.")
    return Sources(
        names,
        areas,
        held,
        published,
        opened,
        settings={name: one.verdict_settings() for name, one in settings.items()},
        headings={
            name: known.areas[name].title or one.title for name, one in known.kept.items() if name in names
        },
        notes=tuple(notes),
    )


def _named(
    aoi: str, stored: tuple[str, ...], known: ChosenSettings, notes: list[str]
) -> tuple[str, dict[str, AreaOfInterest]]:
    """The name that an option means and, if it is known, the area: the store's, unless a file is given."""
    if aoi in known.kept:
        return aoi, {aoi: known.kept[aoi].area}
    if aoi in stored and aoi not in area_names():
        return aoi, {}
    area = load_area(aoi)
    kept = known.kept.get(area.name)
    if kept is not None and kept.area.digest != area.digest:
        notes.append(
            f"{aoi} differs from the area {area.name} that the store keeps and its counts rest on; the file "
            "is taken here."
        )
    return area.name, {area.name: area}


def published_of(names: tuple[str, ...]) -> pd.DataFrame:
    """Return the published counts that compare with whole-area counts of some areas."""
    from seeds import comparable

    frames = [comparable(name) for name in names]
    if not frames:
        return comparable("none")
    return pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]


def nearest(days: list[date], wanted: date) -> list[date]:
    """Return the three days nearest to one, in order of time."""
    return sorted(sorted(set(days), key=lambda day: (abs((day - wanted).days), day))[:3])
