"""The verdict in one plain sentence."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from railwatch.history.record import Record
    from railwatch.history.verdict import HistoryMaximum, Verdict

_HOW = {
    "wagons": "counted by the wagon detector",
    "occupancy": "estimated from track occupancy",
    "reviewed": "counted by a reviewer",
}
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def with_sentence(verdict: Verdict) -> Verdict:
    """Return a verdict together with its sentence."""
    return replace(verdict, sentence=sentence(verdict))


def sentence(verdict: Verdict) -> str:
    """Return what a verdict says, for quoting: the count, the word, what it rests on, how sure."""
    if verdict.count is None:
        return f"{verdict.title}, {verdict.record.day}: no verdict, because {_clause(verdict.reason)}."
    return f"{_subject(verdict)}: {_predicate(verdict)}."


def _subject(verdict: Verdict) -> str:
    record = verdict.record
    quantity = {"count": "", "at least": "at least ", "at most": "at most "}.get(record.kind, "about ")
    if record.method == "published":
        source = f"published by {record.source}" if record.source else "published"
        quantity = quantity or "about "
    else:
        source = _HOW.get(record.method, record.method)
        if record.source:
            source += f", {record.source}"
    count = f"{_length(record, quantity)}{quantity}{_cars(verdict.count or 0.0)}"
    return f"{verdict.title}, {record.day}: {count} ({_interval(verdict)}{source})"


def _length(record: Record, quantity: str) -> str:
    """Return the occupied track where that is what was measured, since the count only follows from it."""
    if record.length_m is None:
        return ""
    low, high = record.length_low_m, record.length_high_m
    between = "" if low is None or high is None else f" ({low:,.0f} to {high:,.0f})"
    return f"{quantity}{record.length_m:,.0f} m of track occupied{between}, or "


def _interval(verdict: Verdict) -> str:
    low, high = verdict.record.low, verdict.record.high
    if low is None or high is None or round(low) == round(high):
        return ""
    if verdict.record.kind == "range":
        return f"{low:.0f} to {high:.0f}, "
    return f"90% interval {low:.0f} to {high:.0f}, "


def _predicate(verdict: Verdict) -> str:
    if verdict.verdict == "cannot say":
        return f"no verdict, because {_clause(verdict.reason)}"
    if verdict.verdict == "unprecedented":
        return (
            f"unprecedented, {_multiple(verdict)} in the {_window(verdict)}"
            f"{_against(verdict)}{_recently(verdict)}; {_confirmation(verdict)}{_rests_on(verdict)}"
        )
    if verdict.verdict == "elevated":
        return (
            f"elevated against the {_window(verdict)}{_against(verdict)}{_recently(verdict)}; "
            f"{_not_a_record(verdict)}"
        )
    if verdict.verdict == "low":
        return f"lower than the {_window(verdict)} leads one to expect{_against(verdict)}"
    return f"typical of the {_window(verdict)}{_against(verdict)}"


def _multiple(verdict: Verdict) -> str:
    maximum, ratio = verdict.maximum, verdict.ratio_to_max
    if maximum is None:
        return "with nothing to set against it"
    if ratio is None:
        return f"where no more than {_named(maximum)} was ever seen"
    factor = f"{ratio:.2f}".rstrip("0").rstrip(".")
    return f"{factor} times {_named(maximum)}, the most known"


def _named(maximum: HistoryMaximum) -> str:
    if maximum.kind == "ceiling":
        source = f" that {maximum.source} gives" if maximum.source else ""
        return f"the ceiling of about {maximum.value:.0f}{source} for {_period(maximum)}"
    prefix = "at least " if maximum.kind == "at least" else ""
    return f"the {prefix}{maximum.value:.0f} of {maximum.day}"


def _period(maximum: HistoryMaximum) -> str:
    return f"{maximum.day:%Y-%m} to {maximum.until:%Y-%m}"


def _window(verdict: Verdict) -> str:
    start, end = verdict.window
    years = (end - start).days / 365.25
    if abs(years - round(years)) < 0.05 and round(years) >= 1:
        whole = round(years)
        span = "year" if whole == 1 else f"{_NUMBERS[whole] if whole <= 10 else whole} years"
    else:
        months = max(round(years * 12), 1)
        span = "month" if months == 1 else f"{months} months"
    return f"{span} to {end}"


def _against(verdict: Verdict) -> str:
    looks = verdict.coverage.looks
    parts = []
    if looks:
        parts.append(f"{looks} clear {'look' if looks == 1 else 'looks'}")
    if verdict.ceilings and not _ceiling_named(verdict):
        parts.append("a published ceiling")
    if verdict.expected_low is not None and verdict.expected_high is not None and looks:
        parts.append(f"{verdict.expected_low:.0f} to {verdict.expected_high:.0f} expected")
    return f" ({', '.join(parts)})" if parts else ""


def _ceiling_named(verdict: Verdict) -> bool:
    named = verdict.maximum is not None and verdict.maximum.kind == "ceiling"
    return named and verdict.verdict == "unprecedented"


def _confirmation(verdict: Verdict) -> str:
    if verdict.confirmed and verdict.confirmed_on is not None:
        return f"confirmed by the look of {verdict.confirmed_on}"
    return "not yet confirmed by a second look"


def _recently(verdict: Verdict) -> str:
    """Say when there were as many or more just before: the window ends before that."""
    recent = verdict.recent
    if recent is None or verdict.count is None or recent.value < verdict.count:
        return ""
    return f", though since then there were {recent.value:.0f} on {recent.day}"


def _rests_on(verdict: Verdict) -> str:
    if verdict.basis == "published ceiling":
        return ", and resting on that published ceiling alone"
    return ""


def _not_a_record(verdict: Verdict) -> str:
    maximum, chance = verdict.maximum, verdict.probability_record
    if maximum is None or chance is None:
        return "whether it is a record can't be said"
    if chance < 0.5:
        return f"not a record after {_named(maximum)}"
    return f"a record with a probability of {_percent(chance)} after {_named(maximum)}"


def _percent(share: float) -> str:
    if share > 0.99:
        return "over 99%"
    return f"{100 * share:.0f}%"


def _cars(count: float) -> str:
    return f"{count:.0f} freight {'car' if round(count) == 1 else 'cars'}"


def _clause(reason: str | None) -> str:
    text = (reason or "there is no count").strip().rstrip(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text
