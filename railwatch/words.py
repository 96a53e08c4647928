"""Numbers, dates and small phrases: how page, charts, sentences and tables write them, in one place.

Counts have commas between thousands (``1,343``) everywhere, a ratio has at most three significant digits
(``3.75``), a day is ISO in tables and in sentences to quote and spelled out in prose (``5 October 2023``).
A figure that a rule compares with a limit is never rounded onto the other side of it (`beside`).
"""

from __future__ import annotations

import calendar
from datetime import date, datetime

__all__ = [
    "CAR_TYPES",
    "METHODS",
    "beside",
    "cars",
    "clause",
    "day",
    "fraction_seen",
    "interval",
    "length_of",
    "length_of_years",
    "listed",
    "metres",
    "moment",
    "month",
    "months",
    "noun",
    "number",
    "percent",
    "plural",
    "quantified",
    "ratio",
    "sentence_case",
    "spelled",
    "within",
]

METHODS = {
    "wagons": "wagon detector",
    "occupancy": "track occupancy (10 m)",
    "occupancy-planetscope": "track occupancy (PlanetScope)",
    "reviewed": "reviewed by eye",
    "published": "published",
}
"""What each method of counting is called."""

CAR_TYPES = {
    "open": "open (ore, coal)",
    "covered": "covered (box)",
    "tank": "tank",
    "flat_or_container": "flat or container",
    "unknown": "type unknown",
}
"""What the types of freight cars are called, in the order in which they are told."""

BOUNDS = {"at least": "at least ", "at most": "at most ", "range": "about ", "ceiling": "at most about "}
"""What stands before the number of a statement of each kind that isn't a plain count."""

_MONTHS = tuple(calendar.month_name)  # English: the C locale's, whatever the machine speaks
_SMALL = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_MOST_DIGITS = 6


def number(count: float) -> str:
    """Return a number in whole units, with commas between thousands.

    >>> number(1343.2)
    '1,343'
    """
    return f"{count + 0.0:,.0f}"


def noun(count: float, one: str = "freight car") -> str:
    """Return a noun as it stands after a number.

    >>> noun(1), noun(73)
    ('freight car', 'freight cars')
    """
    return one if number(count) == "1" else f"{one}s"


def cars(count: float) -> str:
    """Return a count with its noun.

    >>> cars(73)
    '73 freight cars'
    """
    return f"{number(count)} {noun(count)}"


def plural(count: int, one: str) -> str:
    """Return a number with any noun.

    >>> plural(1, "image"), plural(2, "image")
    ('1 image', '2 images')
    """
    return f"{number(count)} {noun(count, one)}"


def quantified(count: float, kind: str, *, approximate: bool = False) -> str:
    """Return a number as the statement that it is.

    >>> quantified(8, "at least"), quantified(20, "ceiling"), quantified(73, "count", approximate=True)
    ('at least 8', 'at most about 20', 'about 73')
    """
    return f"{BOUNDS.get(kind, 'about ' if approximate else '')}{number(count)}"


def interval(low: float | None, high: float | None) -> str:
    """Return ``66 to 80``, or an empty text where there is no interval.

    >>> interval(65.7, 80)
    '66 to 80'
    """
    return "" if low is None or high is None else f"{number(low)} to {number(high)}"


def within(low: float | None, high: float | None) -> str:
    """Return an interval in brackets after a space, or an empty text.

    >>> within(66, 80)
    ' (66 to 80)'
    """
    between = interval(low, high)
    return f" ({between})" if between else ""


def metres(length: float) -> str:
    """Return a length of track in whole metres.

    >>> metres(1343.2)
    '1,343 m'
    """
    return f"{number(length)} m"


def ratio(value: float) -> str:
    """Return how many times, to three significant digits.

    >>> ratio(3.75), ratio(12.3456), ratio(2.0)
    ('3.75', '12.3', '2')
    """
    return number(value) if value >= 100 else f"{value:.3g}"


def percent(fraction: float, limit: float | None = None) -> str:
    """Return a probability without calling anything impossible or certain.

    Args:
        fraction: Between 0 and 1.
        limit: What a rule compares it with: the text never lies on the other side.

    >>> percent(0.9999), percent(0.0004), percent(0.034), percent(0.42), percent(0.8996, 0.9)
    ('over 99%', 'under 0.1%', '3.4%', '42%', '89.96%')
    """
    if fraction > 0.99:
        return "over 99%"
    if fraction < 0.001:
        return "under 0.1%"
    digits = 1 if fraction < 0.1 else 0
    text = f"{100 * fraction:.{digits}f}" if limit is None else beside(100 * fraction, 100 * limit, digits)
    return f"{text}%"


def beside(value: float, limit: float, digits: int = 1) -> str:
    """Return a number with as many decimals as it takes to stand on its own side of a limit.

    >>> beside(4.97, 5.0), beside(5.0, 5.0), beside(12.34, 5.0)
    ('4.97', '5.0', '12.3')
    """
    for places in range(digits, _MOST_DIGITS):
        text = f"{value:.{places}f}"
        if (float(text) < limit) == (value < limit) and (float(text) > limit) == (value > limit):
            return text
    return f"{value:.{_MOST_DIGITS}g}"


def fraction_seen(fraction: float) -> str:
    """Return how much was seen, without rounding what is missing to nothing.

    >>> fraction_seen(0.004), fraction_seen(0.62), fraction_seen(0.998), fraction_seen(1.0)
    ('under 1%', '62%', 'over 99%', '100%')
    """
    if 0.0 < fraction < 0.01:
        return "under 1%"
    return "over 99%" if 0.99 < fraction < 1.0 else f"{100 * fraction:.0f}%"


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
    return listed([_MONTHS[one] for one in numbers])


def listed(parts: list[str]) -> str:
    """Return parts as a list in a sentence.

    >>> listed(["May", "June", "July"])
    'May, June and July'
    """
    return " and ".join(part for part in (", ".join(parts[:-1]), *parts[-1:]) if part)


def spelled(count: int) -> str:
    """Return small numbers as words."""
    return _SMALL[count] if 0 <= count < len(_SMALL) else number(count)


def length_of(start: date, end: date) -> str:
    """Return how long a time is: ``five years``, ``18 months``, ``year``."""
    years = (end - start).days / 365.25
    whole = round(years)
    if whole >= 1 and abs(years - whole) < 0.05:
        return length_of_years(whole)
    whole = max(round(years * 12), 1)
    return "month" if whole == 1 else f"{number(whole)} months"


def length_of_years(years: float) -> str:
    """Return a number of years in words: ``five years``, ``18 months``."""
    if years >= 1 and years == round(years):
        return "year" if years == 1 else f"{spelled(round(years))} years"
    return plural(max(round(years * 12), 1), "month")


def clause(reason: str | None) -> str:
    """Return a reason as the end of a sentence: without its full stop, small at the beginning."""
    text = (reason or "there is no count").strip().rstrip(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def sentence_case(text: str) -> str:
    """Return a text with its first letter as a capital."""
    return text[:1].upper() + text[1:]
