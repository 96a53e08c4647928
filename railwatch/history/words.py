"""A verdict in words: its finding, a headline for a page or a chart, and one sentence to quote.

What the words claim is what the images can say: a highest count is the highest "in 9 images since April 2024"
and never of the years in which nobody looked. What a reader must know (a simulated image, an area seen in
part, few images) is part of the sentence.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from railwatch import words
from railwatch.history.verdict import FEW_IMAGES, Verdict

if TYPE_CHECKING:
    from railwatch.history.combined import Together
    from railwatch.history.record import Record

__all__ = [
    "caveats",
    "confirmation",
    "count_of",
    "finding",
    "headline",
    "images",
    "maximum",
    "quantity",
    "sentence",
]

_HOW = {
    "wagons": "counted by the wagon detector",
    "occupancy": "estimated from track occupancy",
    "occupancy-planetscope": "estimated from track occupancy",
    "reviewed": "counted by a reviewer",
}
_FEWEST_IN_A_ROW = 3
"""Being the highest of fewer counts than this is no finding; the ratio to the highest is."""

_RECORD_PROBABILITY = 0.9
"""Where `VerdictSettings.record_probability` draws its line; a figure beside it isn't rounded over it."""


# ---- counts --------------------------------------------------------------------------------------


def quantity(record: Record) -> str:
    """Return what a record says of the number of cars: ``73``, ``at least 8``, ``about 20``."""
    if record.value is None:
        return "no count"
    return words.quantified(record.value, record.kind, approximate=record.approximate)


def count_of(record: Record, *, within: str = "") -> str:
    """Return the count with its noun, and the occupied track first where that was measured.

    ``73 freight cars``, ``at least 2,190 m of track occupied, or at least 150 freight cars``.
    """
    if record.value is None:
        return "no count"
    counted = f"{quantity(record)} {words.noun(record.value)}"
    return counted if record.length_m is None else f"{length(record)} of track occupied{within}, or {counted}"


def length(record: Record) -> str:
    """Return the occupied track without its interval: ``1,020 m``, ``at least 2,190 m``."""
    bound = "at least " if record.kind == "at least" else ""
    return f"{bound}{words.metres(record.length_m or 0.0)}"


def interval(record: Record) -> str:
    """Return the ends of a record's count, or an empty text where they say nothing."""
    between = words.interval(record.low, record.high)
    return (
        "" if not between or words.number(record.low or 0.0) == words.number(record.high or 0.0) else between
    )


# ---- a verdict in a headline ---------------------------------------------------------------------


def headline(verdict: Verdict) -> str:
    """Return count, interval, day and finding, as a page or a chart is headed.

    ``75 freight cars (68 to 80) on 18 September 2025, the most in 9 images since April 2024``
    """
    record = verdict.record
    when = words.day(record.day)
    if record.value is None:
        return f"No count on {when}: {words.clause(record.reason)}"
    between = f" ({interval(record)})" if interval(record) else ""
    return words.sentence_case(f"{count_of(record)}{between} on {when}, {finding(verdict)}")


def finding(verdict: Verdict) -> str:
    """Return what the images say to a count, as it follows the count in a headline."""
    if verdict.joint is not None:
        return _joint_finding(verdict, verdict.joint)
    found = {
        "unprecedented": _record_finding,
        "elevated": _elevated_finding,
        "low": _low_finding,
        "typical": _typical_finding,
        "cannot say": _open_finding,
    }[verdict.verdict](verdict)
    return f"{found}, not yet confirmed by a second image" if verdict.confirmed is False else found


def _record_finding(verdict: Verdict) -> str:
    top = verdict.maximum
    seen = verdict.coverage.observations
    if top is None:
        return "with nothing to set against it"
    said = []
    if seen >= _FEWEST_IN_A_ROW:
        said.append(f"the most in {images(verdict)}{_since(verdict)}")
    if top.kind == "ceiling" and said:
        said.append(f"above the published ceiling of about {words.number(top.cars)}")
    elif not said:
        times = f"{words.ratio(verdict.ratio_to_max)} times " if verdict.ratio_to_max else "more than "
        said.append(f"{times}{_named(top, long=True)}")
    return f"{' and '.join(said)}{_recently(verdict, ', though ')}"


def _joint_finding(verdict: Verdict, joint: Together) -> str:
    before = len(joint.records) - 1
    run = f"with the {'image' if before == 1 else f'{before} images'} before it"
    said = f"{run} (mean {words.number(joint.mean.cars)})"
    if _above_maximum(verdict, joint):
        return f"{said} the most in {images(verdict)}{_since(verdict)}"
    return f"{said} more than {images(verdict)}{_since(verdict)} lead one to expect"


def _above_maximum(verdict: Verdict, joint: Together) -> bool:
    """Whether a mean that is called unprecedented is above the highest count, too."""
    top = verdict.maximum
    return verdict.verdict == "unprecedented" and top is not None and 0 < top.cars < (joint.mean.cars)


def _elevated_finding(verdict: Verdict) -> str:
    top, expected = verdict.maximum, _beyond_expected(verdict)
    usual = f"more than the {expected} to be expected" if expected else "more than usual for this place"
    if top is None or verdict.count is None:
        return usual
    if top.cars >= verdict.count:
        return f"{usual}, but not the most: {_value(top)} {_on(top)}"
    return f"{usual} from {images(verdict)}{_since(verdict)}" if verdict.coverage.observations else usual


def _low_finding(verdict: Verdict) -> str:
    expected = _beyond_expected(verdict)
    return f"fewer than the {expected} to be expected" if expected else "fewer than usual for this place"


def _typical_finding(verdict: Verdict) -> str:
    if not verdict.coverage.observations:
        return "nothing out of the ordinary for this place"
    return f"nothing out of the ordinary after {images(verdict)}{_since(verdict)}"


def _open_finding(verdict: Verdict) -> str:
    if verdict.basis == "none":
        return f"too little to compare it with ({images(verdict)} before it)"
    return "a bound that leaves the comparison open"


def _beyond_expected(verdict: Verdict) -> str:
    """Return what was expected, if the count as it is printed lies outside of it."""
    low, high, count = verdict.expected_low, verdict.expected_high, verdict.count
    if low is None or high is None or count is None or round(low) <= round(count) <= round(high):
        return ""
    return words.interval(low, high)


def images(verdict: Verdict) -> str:
    """Return what the look-back was seen in: ``9 images``, ``8 images and 1 published count``."""
    published = verdict.coverage.published
    own = verdict.coverage.observations - published
    parts = [words.plural(own, "image")] if own or not published else []
    return " and ".join([*parts, *([words.plural(published, "published count")] if published else [])])


def _since(verdict: Verdict) -> str:
    first = verdict.coverage.first
    return "" if first is None else f" since {words.month(first)}"


# ---- one sentence to quote -----------------------------------------------------------------------


def sentence(verdict: Verdict) -> str:
    """Return what a verdict says, for quoting: the count, the word, what it rests on, how sure."""
    if verdict.count is None:
        return f"{verdict.title}, {verdict.record.day}: no verdict, because {words.clause(verdict.reason)}."
    noted = caveats(verdict)
    note = f"; note that {words.listed(noted)}" if noted else ""
    return f"{_subject(verdict)}: {_predicate(verdict)}{note}."


def caveats(verdict: Verdict) -> list[str]:
    """Return what a reader of the count must know, as clauses that can follow "note that"."""
    found = list(verdict.record.caveats)
    if verdict.verdict != "cannot say" and 0 < verdict.coverage.observations < FEW_IMAGES:
        few = images(verdict)
        found.append(
            f"only {few} {'lies' if verdict.coverage.observations == 1 else 'lie'} behind the comparison"
        )
    return found


def _subject(verdict: Verdict) -> str:
    record = verdict.record
    if record.method == "published":
        source = f"published by {record.source}" if record.source else "published"
    else:
        source = _HOW.get(record.method, record.method)
        if record.source:
            source += f", {record.source}"
    between = interval(record)
    if between and record.kind != "range":
        # More may stand where nothing was seen: the interval is of what the lower bound counts.
        counted = " of what was counted" if record.kind == "at least" else ""
        between = f"90% interval{counted} {between}"
    kind = f"{between}, " if between else ""
    counted = count_of(record, within=words.within(record.length_low_m, record.length_high_m))
    return f"{verdict.title}, {record.day}: {counted} ({kind}{source})"


def _predicate(verdict: Verdict) -> str:
    if verdict.verdict == "cannot say":
        return f"no verdict, because {words.clause(verdict.reason)}"
    if verdict.joint is not None:
        return f"{verdict.verdict} {_joint_rule(verdict, verdict.joint)}"
    if verdict.verdict == "unprecedented":
        return (
            f"unprecedented, {_multiple(verdict)} in the {_window(verdict)}"
            f"{_against(verdict)}{_recently(verdict)}; {confirmation(verdict)}{_rests_on(verdict)}"
        )
    if verdict.verdict == "elevated":
        return (
            f"elevated against the {_window(verdict)}{_against(verdict)}{_recently(verdict)}; "
            f"{_not_a_record(verdict)}"
        )
    if verdict.verdict == "low":
        return f"lower than the {_window(verdict)} leads one to expect{_against(verdict)}"
    return f"typical of the {_window(verdict)}{_against(verdict)}"


def _joint_rule(verdict: Verdict, joint: Together) -> str:
    """Return what a word rests on that several images give together, their counts and the mean's figures.

    ``together with the 61 of 2024-10-03: the mean of the 2 images, 66 (50 to 82), is 3 times the 22 of ...``
    """
    others = words.listed([f"the {quantity(one)} of {one.day}" for one in joint.records[:-1]])
    mean = f"{words.number(joint.mean.cars)} ({interval(joint.mean)})"
    above = f"more than the {_window(verdict)} leads one to expect"
    if _above_maximum(verdict, joint) and verdict.maximum is not None:
        times = words.ratio((joint.mean.cars) / verdict.maximum.cars)
        above = f"{times} times {_named(verdict.maximum)}, the most known in the {_window(verdict)}"
    alone = "" if verdict.alone in (None, "cannot say") else f"; by itself this image is {verdict.alone}"
    mean = f"the mean of the {len(joint.records)} images, {mean}"
    return f"together with {others}: {mean}, is {above}{_against(verdict)}{alone}"


def _multiple(verdict: Verdict) -> str:
    top, times = verdict.maximum, verdict.ratio_to_max
    if top is None:
        return "with nothing to set against it"
    if times is None:
        return f"where no more than {_named(top)} was ever seen"
    return f"{words.ratio(times)} times {_named(top)}, the most known"


def _named(top: Record, *, long: bool = False) -> str:
    if top.kind == "ceiling":
        source = f" that {top.source} gives" if top.source else ""
        return f"the ceiling of about {words.number(top.cars)}{source} for {_period(top, long=long)}"
    about = "about " if long and top.approximate else ""
    return f"the {about}{_value(top)} {_on(top, long=long)}"


def _value(top: Record) -> str:
    return f"{'at least ' if top.kind == 'at least' else ''}{words.number(top.cars)}"


def _on(top: Record, *, long: bool = True) -> str:
    if top.kind == "ceiling":
        return f"at most, as {top.source or 'published'} gives it"
    return f"on {words.day(top.day)}" if long else f"of {top.day}"


def _period(top: Record, *, long: bool = False) -> str:
    if long:
        return f"{words.month(top.day)} to {words.month(top.until)}"
    return f"{top.day:%Y-%m} to {top.until:%Y-%m}"


def maximum(top: Record) -> str:
    """Return the highest of the window as a figure: ``20``, ``about 20``, ``at least 8``."""
    return words.quantified(
        top.cars, "range" if top.kind == "ceiling" else top.kind, approximate=top.approximate
    )


def _window(verdict: Verdict) -> str:
    start, end = verdict.window
    return f"{words.length_of(start, end)} to {end}"


def _against(verdict: Verdict) -> str:
    seen = verdict.coverage
    parts = []
    if seen.observations:
        since = "" if seen.first is None else f" since {seen.first}"
        parts.append(f"{_clear(images(verdict))}{since}")
    if verdict.ceilings and not _ceiling_named(verdict):
        parts.append("a published ceiling")
    if verdict.expected_low is not None and verdict.expected_high is not None and seen.observations:
        parts.append(f"{words.interval(verdict.expected_low, verdict.expected_high)} expected")
    return f" ({', '.join(parts)})" if parts else ""


def _clear(text: str) -> str:
    return text.replace(" image", " clear image", 1)


def _ceiling_named(verdict: Verdict) -> bool:
    named = verdict.maximum is not None and verdict.maximum.kind == "ceiling"
    return named and verdict.verdict == "unprecedented"


def confirmation(verdict: Verdict) -> str:
    """Return whether a second image agrees, with its own count, day and verdict."""
    other = verdict.confirmation
    if not verdict.confirmed or other is None:
        return "not yet confirmed by a second image"
    what = "published count" if other.method == "published" else "image"
    own = f", itself {verdict.confirmation_label}" if verdict.confirmation_label else ""
    between = f" ({interval(other)})" if interval(other) else ""
    return f"confirmed by the {what} of {other.day} with {count_of(other)}{between}{own}"


def _recently(verdict: Verdict, before: str = ", though since then ") -> str:
    """Say when there were as many or more just before: the window ends before that."""
    recent = verdict.recent
    if recent is None or verdict.count is None or round(recent.cars) < round(verdict.count):
        return ""
    were = "was" if words.number(recent.cars) == "1" else "were"
    long: date | str = words.day(recent.day) if "since" not in before else recent.day
    return f"{before}there {were} {words.number(recent.cars)} on {long}"


def _rests_on(verdict: Verdict) -> str:
    if verdict.basis == "published ceiling":
        return ", and resting on that published ceiling alone"
    return ""


def _not_a_record(verdict: Verdict) -> str:
    top, chance = verdict.maximum, verdict.probability_record
    if top is None or chance is None:
        return "whether it is a record can't be said"
    if chance < 0.5:
        return f"not a record after {_named(top)}"
    return f"a record with a probability of {words.percent(chance, _RECORD_PROBABILITY)} after {_named(top)}"
