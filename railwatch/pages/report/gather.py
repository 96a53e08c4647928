"""What a report is about: the places of a store, each with its history, verdicts and sources."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

import pandas as pd

from railwatch.history import RANK, Calibration, Record, Verdict, calibrate, from_observation
from railwatch.history.history import Event, History
from railwatch.history.matchups import METHODS_BY_PRECISION
from railwatch.history.sources import Sources
from railwatch.store.observation import Observation, slug
from railwatch.store.store import EVIDENCE, Store

if TYPE_CHECKING:
    from aoi import AreaOfInterest
    from railwatch.history import VerdictSettings


@dataclass(frozen=True)
class Publication:
    """A published statement that is part of the history.

    Attributes:
        id: The row's id in the table of published counts.
        publisher: Who counted.
        via: Who reported it, where the original wasn't read.
        title: Of the publication.
        published: When, as far as it is known.
        start: First day that it is about.
        end: Last day.
        statement: What it says, in words: ``about 73 cars``.
        url: Where it was read.
        note: What else matters.
    """

    id: str
    publisher: str
    via: str
    title: str
    published: str
    start: date
    end: date
    statement: str
    url: str
    note: str


@dataclass(frozen=True)
class Entry:
    """A mark on the chart and a row of the table.

    Attributes:
        key: Unique in the report; part of element ids.
        record: What was said about the place.
        observation: Our own observation behind it, if it is ours.
        verdict: What the history says to it, if it was judged.
        publication: The publication behind it, if it is published.
    """

    key: str
    record: Record
    observation: Observation | None
    verdict: Verdict | None
    publication: Publication | None

    @property
    def card_id(self) -> str | None:
        """Id of the element that shows the evidence, if there is any."""
        return f"scene-{self.key}" if self.observation is not None else None

    @property
    def rank(self) -> int:
        """How high its verdict stands, for sorting; -2 for none."""
        return -2 if self.verdict is None or self.record.value is None else RANK[self.verdict.verdict]

    @property
    def target(self) -> str:
        """Id of the element that a click on the mark leads to: the evidence, or the row of the table."""
        return self.card_id or f"row-{self.key}"


@dataclass(frozen=True)
class Card:
    """The evidence of one scene.

    Attributes:
        entry: The observation with its verdict.
        observation: What it is about.
        corrected: The machine's observation, if this one is a reviewer's.
        picture_of: Id of the observation whose picture belongs here: the reviewer's own, or the machine's.
    """

    entry: Entry
    observation: Observation
    corrected: Observation | None
    picture_of: str | None


@dataclass(frozen=True)
class ReportedArea:
    """One area of a store with all that the report says about it.

    Attributes:
        key: Unique in the report; part of element ids.
        name: The area's name in the store.
        title: For people.
        history: What the chart is drawn from.
        entries: Marks of the chart and rows of the table, oldest first.
        ceilings: Published ceilings, each as an entry of its own.
        numbered: Both together, in the order of the history's records.
        cards: The evidence, newest first.
        headline: The entry that the page opens with, or None if there is nothing to judge.
        latest: The newest entry of our own with a count, or None.
        calibrations: Lines between methods that were fitted at this place.
        publications: Published statements used.
        area: The area, where its file is known.
        settings: What the verdicts were made with.
    """

    key: str
    name: str
    title: str
    history: History
    entries: tuple[Entry, ...]
    ceilings: tuple[Entry, ...]
    numbered: tuple[Entry, ...]
    cards: tuple[Card, ...]
    headline: Entry | None
    latest: Entry | None
    calibrations: tuple[Calibration, ...]
    publications: tuple[Publication, ...]
    area: AreaOfInterest | None
    settings: VerdictSettings

    @property
    def observations(self) -> tuple[Observation, ...]:
        """Our own observations, oldest first."""
        return self.history.observations

    @property
    def notable(self) -> list[Entry]:
        """Entries that stand out upwards, the foremost first."""
        found = [one for one in self.entries if one.rank >= RANK["elevated"]]
        return sorted(found, key=lambda one: (-one.rank, -(one.record.value or 0.0), one.record.when))


def gather(sources: Sources, events: Sequence[Event] = (), day: date | None = None) -> list[ReportedArea]:
    """Collect what there is to say about each area.

    Args:
        sources: Observations and published counts.
        events: What happened when.
        day: What the page is about; by default each area's foremost date.

    Returns:
        The areas of which anything is known, in the order of the sources.
    """
    places = []
    for name, history in sources.histories.items():
        place = _place(
            name,
            sources,
            replace(history, events=tuple(sorted(events)), day=day),
            sources.published_of(name),
            sources.settings_of(name),
        )
        if place.entries or place.ceilings:
            places.append(place)
    return places


def _place(
    name: str, sources: Sources, history: History, published: pd.DataFrame | None, settings: VerdictSettings
) -> ReportedArea:
    observations = [one for one in sources.observations if one.aoi == name]
    publications = _publications(published)
    entries = _entries(slug(name), history, {one.id: one for one in publications})
    dated = tuple(one for one in entries if one.record.kind != "ceiling")
    foremost = history.foremost()
    return ReportedArea(
        key=slug(name),
        name=name,
        title=history.title,
        history=history,
        entries=dated,
        ceilings=tuple(one for one in entries if one.record.kind == "ceiling"),
        numbered=tuple(entries),
        cards=_cards(dated, sources.store),
        headline=next((one for one in dated if one.verdict and one.verdict is foremost), None),
        latest=next((one for one in reversed(dated) if one.observation and one.record.clear), None),
        calibrations=_calibrations(observations, history, settings),
        publications=publications,
        area=sources.areas.get(name),
        settings=settings,
    )


def _entries(key: str, history: History, publications: Mapping[str, Publication]) -> list[Entry]:
    own = {one.id: one for one in history.observations}
    verdicts = {one.record.id: one for one in history.verdicts}
    keys = _keys(key, history.records)
    return [
        Entry(
            keys[record.id],
            record,
            own.get(record.id),
            verdicts.get(record.id),
            publications.get(record.id) if record.method == "published" else None,
        )
        for record in history.records
    ]


def _keys(place: str, records: Sequence[Record]) -> dict[str, str]:
    """Return a key for each record that stays its own when others come in: place, day, and whose it is.

    Our own record of a day is ``yard-2023-10-05``; of several the later ones carry their time, and a
    published one its publisher.
    """
    keys: dict[str, str] = {}
    taken: set[str] = set()
    for record in records:
        published = slug(record.source) if record.method == "published" else ""
        day = f"{place}-{record.day}"
        options = [day, f"{day}-{record.when:%H%M}", f"{place}-{record.id}"]
        if published or record.kind == "ceiling":
            options = [f"{day}-{published or 'published'}", f"{place}-{slug(record.id)}"]
        numbered = (f"{options[0]}-{number}" for number in itertools.count(2))
        key = next(one for one in itertools.chain(options, numbered) if one not in taken)
        taken.add(key)
        keys[record.id] = key
    return keys


def _cards(entries: Sequence[Entry], store: Store | None) -> tuple[Card, ...]:
    cards = []
    for entry in entries:
        one = entry.observation
        if one is None:
            continue
        corrected = store.get(one.review_of) if store is not None and one.review_of else None
        with_picture = [
            other.id
            for other in (one, corrected)
            if other is not None and store is not None and store.asset(other.id, EVIDENCE) is not None
        ]
        cards.append(Card(entry, one, corrected, with_picture[0] if with_picture else None))
    return tuple(reversed(cards))


def _calibrations(
    observations: Sequence[Observation], history: History, settings: VerdictSettings
) -> tuple[Calibration, ...]:
    """Return each line between two methods once, on the scale of the more precise one."""
    known = {one.id for one in history.records}
    machine = [from_observation(one, settings) for one in observations if one.id not in known]
    lines = calibrate([*history.records, *machine], settings)
    order = {method: number for number, method in enumerate(METHODS_BY_PRECISION)}
    return tuple(line for (method, reference), line in lines.items() if order[reference] < order[method])


_STATEMENTS = {
    "exact": "{low}",
    "approximate": "about {low}",
    "interval": "{low} to {high}",
    "at_least": "at least {low}",
    "at_most": "at most {high}",
    "ceiling": "at most about {high} on any day",
}


_TEXTS = ("id", "publisher", "via", "title", "published", "url", "note")


def _publications(rows: pd.DataFrame | None) -> tuple[Publication, ...]:
    if rows is None:
        return ()
    found = []
    for row in rows.to_dict("records"):
        form = _STATEMENTS.get(str(row["statement"]))
        if form is None or pd.isna(row["image_date_start"]) or pd.isna(row["image_date_end"]):
            continue
        said = form.format(low=_whole(row["count_low"]), high=_whole(row["count_high"]))
        found.append(
            Publication(
                **{name: str(row[name]) for name in _TEXTS},
                start=pd.Timestamp(row["image_date_start"]).date(),
                end=pd.Timestamp(row["image_date_end"]).date(),
                statement=f"{said} {'car' if said in ('1', 'about 1') else 'cars'}",
            )
        )
    return tuple(found)


def _whole(value: Any) -> str:
    return "" if pd.isna(value) else f"{float(value):.0f}"
