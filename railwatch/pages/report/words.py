"""The page's words: numbers, dates and figures in plain language."""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from railwatch.history import Calibration, HistoryMaximum, Record, Verdict
    from railwatch.pages.report.gather import Card, ReportedArea

METHODS = {
    "wagons": "wagon detector",
    "occupancy": "track occupancy (10 m)",
    "reviewed": "reviewed by eye",
    "published": "published",
}

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
"""Where the width of an interval of a 10 m look comes from."""

_MONTHS = tuple(calendar.month_name)  # English: the C locale's, whatever the machine speaks
_SMALL = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_WEB = re.compile(r"https?://[^\s]+", re.IGNORECASE)


# ---- numbers and dates ---------------------------------------------------------------------------


def number(count: float) -> str:
    """Return a count in whole cars, thousands set apart by a narrow no-break space."""
    return f"{count:,.0f}".replace(",", "\u202f")


def cars(count: float) -> str:
    """Return ``73 freight cars``."""
    return f"{number(count)} freight {'car' if round(count) == 1 else 'cars'}"


def quantity(record: Record) -> str:
    """Return what a record says of the number of cars: ``73``, ``at least 8``, ``about 20``."""
    if record.value is None:
        return "no count"
    before = {"at least": "at least ", "at most": "at most ", "range": "about ", "ceiling": "at most about "}
    return f"{before.get(record.kind, '')}{number(record.value)}"


def occupied(record: Record) -> str:
    """Return the occupied track: ``1,020 m (840 to 1,210)``, ``at least 2,190 m (...)``."""
    if record.length_m is None:
        return ""
    between = interval(record.length_low_m, record.length_high_m)
    return length(record) + (f" ({between})" if between else "")


def length(record: Record) -> str:
    """Return the occupied track without its interval: ``1,020 m``, ``at least 2,190 m``."""
    bound = "at least " if record.kind == "at least" else ""
    return f"{bound}{number(record.length_m or 0.0)}\u00a0m"


def interval(low: float | None, high: float | None) -> str:
    """Return ``66 to 80``, or an empty text where there is no interval."""
    if low is None or high is None:
        return ""
    return f"{number(low)} to {number(high)}"


def percent(share: float) -> str:
    """Return a probability without calling anything impossible or certain."""
    if share > 0.99:
        return "over 99%"
    if share < 0.001:
        return "under 0.1%"
    return f"{100 * share:.1f}%" if share < 0.1 else f"{100 * share:.0f}%"


def share_seen(share: float) -> str:
    """Return how much was seen, without rounding what is missing to nothing."""
    if 0.0 < share < 0.01:
        return "under 1%"
    return "over 99%" if 0.99 < share < 1.0 else f"{100 * share:.0f}%"


def day(when: date) -> str:
    """Return ``5 October 2023``."""
    return f"{when.day} {_MONTHS[when.month]} {when.year}"


def moment(when: datetime) -> str:
    """Return ``5 October 2023, 02:15 UTC``; midnight sharp means that only the day is known."""
    clock = "" if (when.hour, when.minute, when.second) == (0, 0, 0) else f", {when:%H:%M} UTC"
    return day(when.date()) + clock


def month(when: date) -> str:
    """Return ``October 2023``."""
    return f"{_MONTHS[when.month]} {when.year}"


def months(numbers: tuple[int, ...]) -> str:
    """Return the names of months of the year, joined."""
    return ", ".join(_MONTHS[one] for one in numbers)


def spelled(count: int) -> str:
    """Return small numbers as words."""
    return _SMALL[count] if 0 <= count < len(_SMALL) else number(count)


def plural(count: int, noun: str) -> str:
    """Return ``1 look``, ``2 looks``."""
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"


def length_of(start: date, end: date) -> str:
    """Return how long a window is: ``five years``, ``18 months``."""
    years = (end - start).days / 365.25
    if round(years) >= 1 and abs(years - round(years)) < 0.05:
        whole = round(years)
        return "year" if whole == 1 else f"{spelled(whole)} years"
    whole = max(round(years * 12), 1)
    return "month" if whole == 1 else f"{number(whole)} months"


def length_of_years(years: float) -> str:
    """Return a number of years in words: ``five years``, ``18 months``."""
    if years >= 1 and years == round(years):
        return "year" if years == 1 else f"{spelled(round(years))} years"
    return plural(max(round(years * 12), 1), "month")


def web_address(text: str) -> str | None:
    """Return an address that may become a link, or None: nothing but http and https does."""
    return text if _WEB.fullmatch(text) else None


def clause(reason: str | None) -> str:
    """Return a reason as the end of a sentence: without its full stop, small at the beginning."""
    text = (reason or "there is no count").strip().rstrip(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def sentence_case(text: str) -> str:
    """Return a text with its first letter as a capital."""
    return text[:1].upper() + text[1:]


# ---- the verdict ---------------------------------------------------------------------------------


def headline(place: ReportedArea) -> str:
    """Return the page's heading: what was counted when, and what that means."""
    entry = place.headline
    if entry is None or entry.verdict is None:
        return f"{place.title}: nothing counted yet"
    record, verdict = entry.record, entry.verdict
    when = day(record.day).replace(" ", "\u00a0")  # a date isn't torn apart in a heading
    if record.value is None:
        return f"No count on {when}: {clause(record.reason)}"
    if record.length_m is not None:
        noun = "car" if round(record.value) == 1 else "cars"
        count = sentence_case(f"{length(record)} of track occupied, or {quantity(record)} freight {noun},")
    elif record.kind in ("at least", "at most", "range"):
        count = sentence_case(f"{quantity(record)} freight {'car' if round(record.value) == 1 else 'cars'}")
    else:
        count = cars(record.value)
    span = length_of(*verdict.window)
    meaning = {
        "unprecedented": f"unprecedented in the {span} before",
        "elevated": "more than usual for this place",
        "typical": "nothing out of the ordinary",
        "low": "fewer than usual for this place",
        "cannot say": "too little history for a verdict",
    }[verdict.verdict]
    return f"{count} on {when}: {meaning}"


def maximum(verdict: Verdict) -> str:
    """Return who knows the highest of the window, and from when."""
    top = verdict.maximum
    if top is None:
        return "nothing is known of the years before"
    if top.kind == "ceiling":
        source = f"{top.source} gives it" if top.source else "given"
        return f"{source} as the most on any day from {month(top.day)} to {month(top.until)}"
    parts = (METHODS.get(top.method, top.method), top.source, day(top.day))
    return ", ".join(part for part in parts if part)


def maximum_value(top: HistoryMaximum) -> str:
    """Return the highest of the window as a figure."""
    before = {"ceiling": "about ", "at least": "at least "}.get(top.kind, "")
    return before + number(top.value)


def confirmation(verdict: Verdict) -> str:
    """Return whether a second look agrees, for a verdict that wants one."""
    if verdict.confirmed is None:
        return ""
    if verdict.confirmed and verdict.confirmed_on is not None:
        return f"A second look, of {day(verdict.confirmed_on)}, agrees."
    return "No second look has confirmed it yet."


def meaning(verdict: Verdict, place: ReportedArea) -> list[tuple[str, str, str]]:
    """Return the figures behind a word: name, value, what it means."""
    rows: list[tuple[str, str, str]] = []
    settings = place.settings
    short = verdict.coverage.n_effective < settings.full_looks
    if verdict.probability_record_margin is not None and verdict.verdict == "unprecedented" and short:
        rows.append(
            (
                f"A record by a factor of {settings.short_record_margin:g}",
                percent(verdict.probability_record_margin),
                "probable. The factor is asked for because the look-back holds few looks, or a published "
                "ceiling in their place.",
            )
        )
    if verdict.probability_exceedance is not None:
        corrected = ""
        if verdict.q_exceedance is not None and verdict.family > 1:
            corrected = (
                f" Corrected for the {verdict.family} dates judged within a year: "
                f"{percent(verdict.q_exceedance)}."
            )
        rows.append(
            (
                "So many by chance",
                percent(verdict.probability_exceedance),
                f"of further looks would show as many cars or more if nothing had changed.{corrected}",
            )
        )
    if verdict.expected_low is not None and verdict.expected_high is not None:
        rows.append(
            (
                "To be expected on that date",
                interval(verdict.expected_low, verdict.expected_high),
                "freight cars (90% range), from the looks of the look-back"
                + (" and the season." if (verdict.season_weight or 0.0) >= 0.5 else "."),
            )
        )
    return rows


def coverage(verdict: Verdict) -> str:
    """Return in one or two sentences what the look-back has seen."""
    seen = verdict.coverage
    start, end = verdict.window
    period = f"The look-back runs from {day(start)} to {day(end)}"
    ceilings = ""
    if verdict.ceilings:
        ceilings = (
            "a published ceiling" if verdict.ceilings == 1 else plural(verdict.ceilings, "published ceiling")
        )
    if not seen.looks:
        return f"{period} and holds {ceilings or 'no clear look'}{' only' if ceilings else ''}."
    holds = f" and holds {plural(seen.looks, 'clear look')}"
    if seen.n_effective < 0.95 * seen.looks:
        holds += f", worth {seen.n_effective:.1f} independent ones because cars stay for days,"
    if ceilings:
        holds += f" and {ceilings}"
    gaps = f"The longest time without a look is {number(seen.longest_gap_days)} days"
    if seen.abstained:
        gaps += f"; {plural(seen.abstained, 'more look')} gave no answer"
    never = seen.months_never_seen
    if 0 < len(never) <= 6:
        gaps += f"; never seen in any year: {months(never)}"
    elif len(never) < 12 and never:
        only = tuple(one for one in range(1, 13) if one not in never)
        gaps += f"; seen in {months(only)} only"
    return f"{period}{holds.rstrip(',')}. {gaps}."


def calibration(line: Calibration) -> str:
    """Return a line between two methods in a sentence."""
    of, on = METHODS.get(line.method, line.method), METHODS.get(line.reference, line.reference)
    sign = "plus" if line.offset >= 0 else "minus"
    return (
        f"{sentence_case(of)} is put on the scale of “{on}” by a line fitted to {line.pairs} pairs of "
        f"looks from {line.first} to {line.last}: {line.gain:.2f} (± {line.gain_sd:.2f}) times the count, "
        f"{sign} {abs(line.offset):.1f} (± {line.offset_sd:.1f}) cars."
    )


# ---- records -------------------------------------------------------------------------------------


def method(record: Record) -> str:
    """Return how a record was made, in words."""
    return METHODS.get(record.method, record.method)


def spoken(record: Record, verdict: Verdict | None) -> str:
    """Return a mark of the chart as it is read aloud."""
    parts = [str(record.day)]
    if record.value is None:
        parts.append(f"no count, {clause(record.reason)}")
    else:
        parts.append(f"{quantity(record)} freight {'car' if round(record.value) == 1 else 'cars'}")
        between = interval(record.low, record.high)
        if between and record.low != record.high:
            parts.append(f"90% interval {between}" if record.kind != "range" else between)
    parts.append(method(record) + (f", {record.source}" if record.source else ""))
    if verdict is not None and record.value is not None:
        parts.append(verdict.label)
    return ": ".join(parts[:2]) + "; " + "; ".join(parts[2:])


def standfirst(verdict: Verdict) -> str:
    """Return what the heading means, in one to three sentences."""
    if verdict.count is None or verdict.verdict == "cannot say":
        return f"No verdict, because {clause(verdict.reason)}."
    top, ratio = verdict.maximum, verdict.ratio_to_max
    span = length_of(*verdict.window)
    known = "Nothing is known of the time before."
    if top is not None:
        whose = f", {maximum(verdict)}" if top.kind == "ceiling" else f" ({maximum(verdict)})"
        known = f"the most known in the {span} before: {maximum_value(top)}{whose}"
        if verdict.verdict == "unprecedented" and ratio is not None:
            known = f"That is {ratio:.1f} times {known}."
        else:
            known = f"{sentence_case(known)}."
    expected = ""
    if verdict.verdict != "unprecedented" and verdict.expected_low is not None:
        between = interval(verdict.expected_low, verdict.expected_high).replace(" to ", " and ")
        expected = f"Between {between} were to be expected."
    return " ".join(part for part in (expected, known, confirmation(verdict)) if part)


def short_verdict(verdict: Verdict) -> str:
    """Return a card's line on how its count compares."""
    if verdict.verdict == "cannot say":
        return f"No verdict: {clause(verdict.reason)}."
    parts = []
    if verdict.expected_low is not None:
        parts.append(f"Expected {interval(verdict.expected_low, verdict.expected_high)}")
    if verdict.maximum is not None:
        parts.append(f"most known before {maximum_value(verdict.maximum)}")
    if verdict.probability_record is not None:
        parts.append(f"probability of a record {percent(verdict.probability_record)}")
    return sentence_case("; ".join(parts)) + "." if parts else ""


def alternative(place: ReportedArea, card: Card) -> str:
    """Return what a picture shows, for those who can't see it."""
    one = card.observation
    count = f"{cars(one.count)} counted" if one.count is not None else "no count was made"
    sensor = f" by {one.sensor}" if one.sensor else ""
    if one.method == "occupancy":
        said = one.headline if one.count is not None else count
        return (
            f"{place.title} seen{sensor} on {day(one.datetime.date())}, beside its background and where "
            f"track is occupied: {said}."
        )
    outlined = "; counted cars are outlined" if one.count else ""
    return f"Picture of {place.title} taken{sensor} on {day(one.datetime.date())}: {count}{outlined}."


def corrected(card: Card) -> str:
    """Return who corrected a machine's count and why, and what the machine had said."""
    review = card.observation.provenance.get("review")
    given = review if isinstance(review, Mapping) else {}
    who = f" by {given['reviewer']}" if given.get("reviewer") else ""
    when = f" on {given['date']}" if given.get("date") else ""
    why = f" ({given['reason']})" if given.get("reason") else ""
    machine = card.corrected.headline if card.corrected is not None else "another count"
    return f"Corrected by eye{who}{when}{why}. The machine had {machine}."
