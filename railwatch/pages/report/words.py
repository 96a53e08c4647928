"""What only the page says: its heading, figures and explanations, on top of the shared words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from railwatch import words
from railwatch.history.words import caveats, count_of, images, interval, length, quantity
from railwatch.history.words import headline as verdict_headline
from railwatch.history.words import maximum as maximum_value

if TYPE_CHECKING:
    from railwatch.history import Calibration, Record, Verdict
    from railwatch.pages.report.gather import Card, ReportedArea

CAUSES = {
    "texture": "Ground that looks like wagons",
    "drift": "Ground that has changed since",
    "contrast": "Wagons as dark or bright as the ground",
    "shadow": "Shadows",
    "registration": "Where the image lies",
    "pitch": "How long a car is",
    "unexplained": "Yards that differ from those learned from",
    "total": "All together",
}
"""Where the width of an interval of a 10 m image comes from."""

_MOST_TYPED = 12

_WEB = re.compile(r"https?://[^\s]+", re.IGNORECASE)


def types(counts: Mapping[str, int]) -> str:
    """Return counts by type as words: ``175 open (ore, coal), 66 tank, 14 type unknown``.

    Args:
        counts: Freight cars by type; types without a car are left out.
    """
    return ", ".join(
        f"{words.number(counts[name])} {said}" for name, said in words.CAR_TYPES.items() if counts.get(name)
    )


def typed_cards(place: ReportedArea) -> list[Card]:
    """Return the newest images of a place on which some car has a type, newest first, at most twelve."""
    found = [
        card
        for card in place.cards
        if any(number for name, number in (card.observation.count_by_type or {}).items() if name != "unknown")
    ]
    return found[:_MOST_TYPED]


def occupied(record: Record) -> str:
    """Return the occupied track: ``1,020 m (840 to 1,210)``, ``at least 2,190 m (...)``."""
    if record.length_m is None:
        return ""
    return length(record) + words.within(record.length_low_m, record.length_high_m)


def web_address(text: str) -> str | None:
    """Return an address that may become a link, or None: nothing but http and https does."""
    return text if _WEB.fullmatch(text) else None


# ---- the verdict ---------------------------------------------------------------------------------


def headline(place: ReportedArea) -> str:
    """Return the page's heading: what was counted when, and what the images say to it."""
    entry = place.headline
    if entry is None or entry.verdict is None:
        return f"{place.title}: nothing counted yet"
    when = words.day(entry.record.day)
    # A date isn't torn apart in a heading.
    return verdict_headline(entry.verdict).replace(when, when.replace(" ", "\u00a0"))


def caveats_of(verdict: Verdict) -> list[str]:
    """Return what a reader must know beside the heading, as sentences."""
    return [f"{words.sentence_case(one)}." for one in caveats(verdict)]


def maximum(top: Record) -> str:
    """Return who knows the highest of the window, and from when."""
    if top.kind == "ceiling":
        source = f"{top.source} gives it" if top.source else "given"
        return f"{source} as the most on any day from {words.month(top.day)} to {words.month(top.until)}"
    parts = (words.METHODS.get(top.method, top.method), top.source, words.day(top.day))
    return ", ".join(part for part in parts if part)


def maximum_figure(verdict: Verdict) -> tuple[str, str]:
    """Return the highest of the window in the unit of the count beside it: the figure, and the other unit.

    Metres of track beside metres, where both were measured; cars beside cars otherwise.
    """
    top = verdict.maximum
    if top is None:
        return "", ""
    counted = f"{maximum_value(top)} freight cars"
    if verdict.record.length_m is None or top.length_m is None:
        return maximum_value(top), "" if verdict.record.length_m is None else "freight cars; "
    bound = "at least " if top.kind == "at least" else ""
    return f"{bound}{words.metres(top.length_m)}", f"or {counted}; "


def confirmation(verdict: Verdict) -> str:
    """Return whether a second image agrees, with its count, day and verdict, for a verdict that wants one.

    Or which images give the word together, where none of them does by itself.
    """
    joint = verdict.joint
    if joint is not None:
        counts = words.listed([f"{quantity(one)} on {words.day(one.day)}" for one in joint.records])
        mean = f"{words.number(joint.mean.value or 0.0)} ({interval(joint.mean)})"
        alone = "" if verdict.alone in (None, "cannot say") else f" By itself this image is {verdict.alone}."
        return (
            f"{words.sentence_case(words.spelled(len(joint.records)))} images in a row say so together: "
            f"{counts}, on average {mean}; each is high, and what they say adds up.{alone}"
        )
    if verdict.confirmed is None:
        return ""
    other = verdict.confirmation
    if not verdict.confirmed or other is None:
        return "No second image has confirmed it yet."
    ends = f" ({interval(other)})" if interval(other) else ""
    source = f", {other.source}" if other.source else ""
    own = f"; its own verdict is {verdict.confirmation_label}" if verdict.confirmation_label else ""
    what = "A published count" if other.method == "published" else "A second image"
    return f"{what}, of {words.day(other.day)}{source}, agrees with {count_of(other)}{ends}{own}."


def expected_phrase(verdict: Verdict) -> str:
    """Return what was to be expected: ``4 to 26``; empty where nothing is."""
    return words.interval(verdict.expected_low, verdict.expected_high)


def meaning(verdict: Verdict, place: ReportedArea) -> Iterator[tuple[str, str, str]]:
    """Return the figures behind a word: name, value, what it means."""
    settings, joint = place.settings, verdict.joint
    short = round(verdict.coverage.n_effective, 1) < settings.full_looks
    # Where several images gave the word together, the figures are those of their mean.
    margin = verdict.probability_record_margin if joint is None else joint.record_margin
    chance = verdict.probability_exceedance if joint is None else joint.exceedance
    q_value = verdict.q_exceedance if joint is None else joint.q_exceedance
    if margin is not None and verdict.verdict == "unprecedented" and short:
        yield (
            f"A record by a factor of {words.ratio(settings.short_record_margin)}",
            words.percent(margin, settings.record_probability),
            f"probable. The factor is asked for because the look-back holds fewer than "
            f"{words.number(settings.full_looks)} independent images, or a published ceiling in their place.",
        )
    if chance is not None:
        corrected = ""
        if q_value is not None and verdict.family > 1:
            corrected = (
                f" Corrected for the {verdict.family} dates judged within a year: {words.percent(q_value)}."
            )
        further = "further images would show" if joint is None else "such means of images would be"
        yield (
            "So many by chance",
            words.percent(chance, settings.exceedance),
            f"of {further} as many cars or more if nothing had changed.{corrected}",
        )
    if expected_phrase(verdict):
        yield (
            "To be expected on that date",
            expected_phrase(verdict),
            "freight cars (90% range), from the images of the look-back"
            + (" and the season." if (verdict.season_weight or 0.0) >= 0.5 else "."),
        )


def coverage(verdict: Verdict) -> str:
    """Return in a few sentences what the look-back has seen, and what it hasn't."""
    seen = verdict.coverage
    start, end = verdict.window
    period = f"The look-back runs from {words.day(start)} to {words.day(end)}"
    known = verdict.ceilings
    ceilings = (
        "a published ceiling" if known == 1 else words.plural(known, "published ceiling") if known else ""
    )
    if not seen.observations:
        return f"{period} and holds {ceilings or 'no clear image'}{' only' if ceilings else ''}."
    holds = f" and holds {images(verdict)}"
    if round(seen.n_effective, 1) < 0.95 * seen.observations:
        holds += f", worth {seen.n_effective:.1f} independent ones because cars stay for days,"
    if ceilings:
        holds += f" and {ceilings}"
    said = [f"{period}{holds.rstrip(',')}."]
    if seen.first is not None and (seen.first - start).days > 0:
        before, whole = (seen.first - start).days, (end - start).days + 1
        said.append(
            f"Nothing was seen of its first {words.plural(before, 'day')} of {words.number(whole)}: "
            f"the first image is of {words.day(seen.first)}."
        )
    gaps = f"The longest time without an image is {words.plural(seen.longest_gap_days, 'day')}"
    if seen.abstained:
        gaps += f"; {words.plural(seen.abstained, 'more image')} gave no answer"
    never = seen.months_never_seen
    if 0 < len(never) <= 6:
        gaps += f"; never seen in any year: {words.months(never)}"
    elif len(never) < 12 and never:
        only = tuple(one for one in range(1, 13) if one not in never)
        gaps += f"; seen in {words.months(only)} only"
    return " ".join([*said, f"{gaps}."])


def calibration(line: Calibration) -> str:
    """Return a line between two methods in a sentence."""
    of, on = words.METHODS.get(line.method, line.method), words.METHODS.get(line.reference, line.reference)
    sign = "plus" if line.offset >= 0 else "minus"
    return (
        f"{words.sentence_case(of)} is put on the scale of “{on}” by a line fitted to {line.pairs} pairs of "
        f"images from {line.first} to {line.last}: {line.gain:.2f} (± {line.gain_sd:.2f}) times the count, "
        f"{sign} {abs(line.offset):.1f} (± {line.offset_sd:.1f}) cars."
    )


# ---- records -------------------------------------------------------------------------------------


def method(record: Record) -> str:
    """Return how a record was made, in words."""
    return words.METHODS.get(record.method, record.method)


def spoken(record: Record, verdict: Verdict | None) -> str:
    """Return a mark of the chart as it is read aloud."""
    parts = [str(record.day)]
    if record.value is None:
        parts.append(f"no count, {words.clause(record.reason)}")
    else:
        parts.append(f"{quantity(record)} {words.noun(record.value)}")
        if interval(record):
            parts.append(f"90% interval {interval(record)}" if record.kind != "range" else interval(record))
    parts.append(method(record) + (f", {record.source}" if record.source else ""))
    if verdict is not None and record.value is not None:
        parts.append(verdict.label)
    return ": ".join(parts[:2]) + "; " + "; ".join(parts[2:])


def standfirst(verdict: Verdict) -> str:
    """Return what the heading means, in one to three sentences."""
    if verdict.count is None or verdict.verdict == "cannot say":
        return f"No verdict, because {words.clause(verdict.reason)}."
    top, times = verdict.maximum, verdict.ratio_to_max
    span = words.length_of(*verdict.window)
    known = "Nothing is known of the time before."
    if top is not None:
        whose = f", {maximum(top)}" if top.kind == "ceiling" else f" ({maximum(top)})"
        known = f"the most known from the {span} before: {maximum_value(top)}{whose}"
        if verdict.verdict == "unprecedented" and times is not None and verdict.joint is None:
            known = f"That is {words.ratio(times)} times {known}."
        else:
            known = f"{words.sentence_case(known)}."
    expected = ""
    if verdict.verdict != "unprecedented" and expected_phrase(verdict):
        expected = f"To be expected were {expected_phrase(verdict)}."
    return " ".join(part for part in (expected, known, confirmation(verdict)) if part)


def short_verdict(verdict: Verdict) -> str:
    """Return a card's line on how its count compares."""
    if verdict.verdict == "cannot say":
        return f"No verdict: {words.clause(verdict.reason)}."
    parts = []
    if expected_phrase(verdict):
        parts.append(f"Expected {expected_phrase(verdict)}")
    if verdict.maximum is not None:
        parts.append(f"most known before {maximum_value(verdict.maximum)}")
    if verdict.probability_record is not None:
        parts.append(f"probability of a record {words.percent(verdict.probability_record)}")
    return words.sentence_case("; ".join(parts)) + "." if parts else ""


def alternative(place: ReportedArea, card: Card) -> str:
    """Return what a picture shows, for those who can't see it."""
    one = card.observation
    count = f"{words.cars(one.count)} counted" if one.count is not None else "no count was made"
    sensor = f" by {one.sensor_named}" if one.sensor_named else ""
    if one.method == "occupancy":
        said = one.headline if one.count is not None else count
        return (
            f"{place.title} seen{sensor} on {words.day(one.datetime.date())}, beside its background and "
            f"where track is occupied: {said}."
        )
    outlined = "; counted cars are outlined" if one.count else ""
    return f"Picture of {place.title} taken{sensor} on {words.day(one.datetime.date())}: {count}{outlined}."


def corrected(card: Card) -> str:
    """Return who corrected a machine's count and why, and what the machine had said."""
    review = card.observation.provenance.get("review")
    given = review if isinstance(review, Mapping) else {}
    who = f" by {given['reviewer']}" if given.get("reviewer") else ""
    when = f" on {given['date']}" if given.get("date") else ""
    why = f" ({given['reason']})" if given.get("reason") else ""
    machine = card.corrected.headline if card.corrected is not None else "another count"
    return f"Corrected by eye{who}{when}{why}. The machine had {machine}."
