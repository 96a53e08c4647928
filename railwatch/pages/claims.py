"""What a public claim would take in wagons, beside what the counts of a place could have passed.

A claim ("about 6,700 containers") becomes wagons and trains by assumptions that are ranges (see
`Assumptions`). Beside it stands what the counts allow: if on average L cars stood in the yard and each
stayed W days, then L / W went through it a day (Little 1961, Operations Research 9:383). Every figure is a
median and a 90% interval over draws of all assumptions and of the counts' own errors at once.

Only months with a count say something; the others are named. The claim is taken to be spread evenly over
its period. None of this shows what was in the wagons, or where they went.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import Field, asdict, dataclass, replace
from datetime import date, timedelta
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aoi.settings import bind, fields_of, read_toml, setting, settings_table
from railwatch.errors import ConfigError
from railwatch.history import Record, VerdictSettings, from_observation
from railwatch.history.history import published_records
from railwatch.history.record import observations_of
from railwatch.store.observation import current

if TYPE_CHECKING:
    from railwatch.store.observation import Observation


Finding = Literal["within", "open", "beyond", "no counts", "no period"]

FINDINGS: Mapping[Finding, str] = {
    "within": "those months had room for an even share of it",
    "open": "the counts don't decide whether those months had room for an even share of it",
    "beyond": "those months had no room here for an even share of it",
    "no counts": "there is no count in its period",
    "no period": "the source doesn't say from when on",
}
"""What the comparison comes to, in words. None of them says that the claim is true or false."""

DISCLAIMER = (
    "This is arithmetic on assumptions, not evidence. Counts of freight cars don't show what is in them or "
    "where they go, months without a count stay unknown, and most of these claims name the route by sea. A "
    "claim that fits isn't thereby confirmed; one that doesn't fit here may have gone another way."
)

_BUNDLED = "claims.toml"
_DRAWS = 20_000
_SEED = 20231005
_FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class MedianInterval:
    """A median with its 90% interval.

    Attributes:
        low: 5% quantile.
        median: 50% quantile.
        high: 95% quantile.
    """

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, draws: _FloatArray) -> MedianInterval:
        """Return that of draws."""
        low, median, high = np.quantile(draws, (0.05, 0.5, 0.95)).tolist()
        return cls(low, median, high)

    @property
    def text(self) -> str:
        """The interval as ``2,500 to 5,400``, to two digits: more would feign precision."""
        low, high = _rounded(self.low), _rounded(self.high)
        return low if low == high else f"{low} to {high}"


@settings_table
class Assumption:
    """One thing that isn't known, as a range; ValueError unless 0 < low <= likely <= high.

    Attributes:
        low: The least that one would defend.
        likely: The likely value.
        high: The most.
        why: What it rests on.
    """

    low: float = setting()
    likely: float = setting()
    high: float = setting()
    why: str = setting("")

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.likely <= self.high:
            said = f"{self.low:g}, {self.likely:g}, {self.high:g}"
            raise ValueError(f"0 < low <= likely <= high doesn't hold for {said}")

    def draws(self, rng: np.random.Generator, number: int) -> _FloatArray:
        """Return draws from the triangular distribution; ``(number,)``."""
        if self.low == self.high:
            return np.full(number, self.low)
        return rng.triangular(self.low, self.likely, self.high, number)


@settings_table
class Assumptions:
    """All that is assumed; ``configs/claims.toml`` has the values and their reasons."""

    containers_per_wagon: Assumption = setting(text="Containers a wagon", most=8)
    shells_per_container: Assumption = setting(text="Shells a container", most=10_000)
    tonnes_per_wagon: Assumption = setting(text="Tonnes a wagon", most=200)
    wagons_per_train: Assumption = setting(text="Wagons a train", most=300)
    share_through_place: Assumption = setting(text="Share of it that went through this place", most=1)
    dwell_days: Assumption = setting(text="Days that a car stands here", most=365)
    outbound_share: Assumption = setting(
        text="Share of the cars counted that were laden and outbound", most=1
    )
    month_variation: Assumption = setting(text="Variation of counts within a month", most=3)
    source: str = setting(f"{_BUNDLED} (bundled)", internal=True)

    def items(self) -> list[tuple[str, str, Assumption]]:
        """Return each assumption's name, its words and its range."""
        return [
            (one.name, str(one.metadata["text"]), getattr(self, one.name)) for one, _ in fields_of(type(self))
        ]


def load_assumptions(path: str | Path | None = None) -> Assumptions:
    """Read the assumptions: the bundled ones, with those of a file in their place.

    Args:
        path: A TOML file with some of the tables of ``configs/claims.toml``.

    Raises:
        ConfigError: If it can't be read, names something unknown, or a range makes no sense.
    """
    table = tomllib.loads(resources.files("configs").joinpath(_BUNDLED).read_text("utf-8"))
    source = f"{_BUNDLED} (bundled)"
    if path is not None:
        source = str(path)
        table |= read_toml(Path(path), ConfigError)

    def within(field: Field[Any], value: Any) -> Any:
        most = field.metadata.get("most")
        if most is not None and value.high > most:
            raise ConfigError(f"{source}: {field.name}.high must be {most:g} or less, not {value.high:g}")
        return value

    return replace(bind(Assumptions, table, source, error=ConfigError, convert=within), source=source)


@dataclass(frozen=True)
class MonthPassed:
    """What could have gone through a place in a month with counts.

    Attributes:
        month: ``YYYY-MM``.
        days: Days of it inside the claim's period.
        observations: Days with a count.
        cars: Cars standing there on average.
        passed: Laden outbound cars that could have gone through on those days.
    """

    month: str
    days: int
    observations: int
    cars: MedianInterval
    passed: MedianInterval


@dataclass(frozen=True, kw_only=True)
class ClaimAssessment:
    """A claim in wagons, beside what the counts of a place could have passed.

    Attributes:
        id: Of the claim.
        made_by: Who says so.
        published: When.
        quantity: What is claimed, in words: ``about 6,700 containers``.
        unit: Its unit.
        route: How it is said to have left: ``sea``, ``rail``, ``sea_and_rail``, ``unknown``.
        url: Where it was read.
        corroboration: ``primary`` or ``secondary``.
        note: What else matters.
        start: First day of its period, or None where that isn't said.
        end: Last day.
        wagons: That it would take.
        trains: That it would take; None for a claim in trains.
        wagons_per_month: On average over its period; None without one.
        trains_per_month: The same in trains.
        months: Those with counts.
        months_unseen: Those of the period without a count, ``YYYY-MM``.
        needed: Wagons that it would take on the days of the months with counts.
        possible: Laden outbound cars that could have gone through on these days.
        ratio: ``needed`` over ``possible``: under 1 there is room.
        finding: What that comes to.
    """

    id: str
    made_by: str
    published: date
    quantity: str
    unit: str
    route: str
    url: str
    corroboration: str
    note: str
    start: date | None
    end: date
    wagons: MedianInterval
    trains: MedianInterval
    wagons_per_month: MedianInterval | None
    trains_per_month: MedianInterval | None
    months: tuple[MonthPassed, ...]
    months_unseen: tuple[str, ...]
    needed: MedianInterval | None
    possible: MedianInterval | None
    ratio: MedianInterval | None
    finding: Finding

    @property
    def finding_in_words(self) -> str:
        """What the comparison comes to, in words."""
        return FINDINGS[self.finding]

    @property
    def sentence(self) -> str:
        """The assessment in plain sentences that can be quoted together with `DISCLAIMER`."""
        when = f"until {self.end}" if self.start is None else f"from {self.start} to {self.end}"
        said = [
            f"{self.made_by}, {self.published}: {self.quantity}, {when}, would take {self.wagons.text} "
            f"wagons or {self.trains.text} trains"
        ]
        if self.wagons_per_month is not None and self.trains_per_month is not None:
            said[0] += f", which is {self.wagons_per_month.text} wagons a month"
        said[0] += "."
        if self.needed is not None and self.possible is not None:
            total = len(self.months) + len(self.months_unseen)
            named = _listed([one.month for one in self.months])
            said.append(
                f"{len(self.months)} of its {total} months {'has' if len(self.months) == 1 else 'have'} "
                f"counts ({named}): spread evenly it would take {self.needed.text} wagons there, and "
                f"{self.possible.text} laden outbound ones could have gone through, so "
                f"{self.finding_in_words}{self._bound}."
            )
        else:
            said.append(f"It can't be set against counts, because {self.finding_in_words}.")
        if self.route == "sea":
            said.append("It is said to have gone by sea, so this is a scale only.")
        return " ".join(said)

    @property
    def _bound(self) -> str:
        """What a one-sided claim leaves open."""
        if self.quantity.startswith("at least") and self.finding == "within":
            return " (for the least that is claimed)"
        if self.quantity.startswith("up to") and self.finding == "beyond":
            return " (for the most that is claimed)"
        return ""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        given = asdict(self)
        start, end = given.pop("start"), given.pop("end")
        for month in given["months"]:
            month["looks"] = month.pop("observations")
        return given | {
            "published": self.published.isoformat(),
            "period": {"start": None if start is None else start.isoformat(), "end": end.isoformat()},
            "sentence": self.sentence,
        }


def assess(
    observations: Iterable[Observation],
    published: pd.DataFrame | None,
    claims: pd.DataFrame,
    assumptions: Assumptions | None = None,
    *,
    settings: VerdictSettings | None = None,
) -> list[ClaimAssessment]:
    """Set claims beside the counts of one place.

    Args:
        observations: Of the place; reviewed ones stand in for what they correct.
        published: Published rows of the place, as `seeds.comparable` gives them, or None.
        claims: As `seeds.load_claims` gives them.
        assumptions: The bundled ones by default.
        settings: Errors of the counts.

    Returns:
        One assessment a claim, in the claims' order. The same arguments give the same figures.
    """
    chosen = assumptions or load_assumptions()
    error = settings or VerdictSettings()
    records = [from_observation(one, error) for one in current(observations, reviewed=True)]
    if published is not None:
        records += published_records(published, error)
    # A bound says too little of how many stood there on average.
    by_day = observations_of(one for one in records if one.kind in ("count", "range"))
    best = [
        min(observation, key=lambda one: (one.sd_below + one.sd_above, one.id)).as_point()
        for observation in by_day
    ]
    return [_assessed(row, best, chosen) for row in claims.to_dict("records")]


def _assessed(
    row: Mapping[Any, Any], observations: Sequence[Record], assumptions: Assumptions
) -> ClaimAssessment:
    # Each claim with draws of its own, so that its figures don't hang on what else is in the table.
    rng = np.random.default_rng(_SEED)
    drawn = {name: one.draws(rng, _DRAWS) for name, _, one in assumptions.items()}
    claimed = _quantity(row, rng)
    share = drawn["share_through_place"]
    wagons = _wagons(claimed, str(row["unit"]), drawn) * share
    trains = claimed * share if row["unit"] == "trains" else wagons / drawn["wagons_per_train"]
    start = None if pd.isna(row["period_start"]) else pd.Timestamp(row["period_start"]).date()
    end = pd.Timestamp(row["period_end"]).date()
    months: list[MonthPassed] = []
    unseen: list[str] = []
    possible, seen_days = np.zeros(_DRAWS), 0
    monthly = None
    if start is not None:
        total_days = (end - start).days + 1
        monthly = total_days / (365.25 / 12)
        for month, days in _months(start, end):
            inside = [one for one in observations if start <= one.day <= end and f"{one.day:%Y-%m}" == month]
            if not inside:
                unseen.append(month)
                continue
            cars = _standing(inside, drawn["month_variation"], rng)
            passed = cars * drawn["outbound_share"] * days / drawn["dwell_days"]
            possible += passed
            seen_days += days
            months.append(
                MonthPassed(month, days, len(inside), MedianInterval.of(cars), MedianInterval.of(passed))
            )
    needed = wagons * seen_days / total_days if start is not None and months else None
    ratio = None if needed is None else MedianInterval.of(needed / np.maximum(possible, 1e-9))
    return ClaimAssessment(
        **{name: str(row[name]) for name in _TEXTS},
        published=pd.Timestamp(row["published"]).date(),
        quantity=_said(row),
        start=start,
        end=end,
        wagons=MedianInterval.of(wagons),
        trains=MedianInterval.of(trains),
        wagons_per_month=None if monthly is None else MedianInterval.of(wagons / monthly),
        trains_per_month=None if monthly is None else MedianInterval.of(trains / monthly),
        months=tuple(months),
        months_unseen=tuple(unseen),
        needed=None if needed is None else MedianInterval.of(needed),
        possible=None if needed is None else MedianInterval.of(possible),
        ratio=ratio,
        finding=_finding(start, ratio),
    )


def _finding(start: date | None, ratio: MedianInterval | None) -> Finding:
    if start is None:
        return "no period"
    if ratio is None:
        return "no counts"
    if ratio.high < 1.0:
        return "within"
    return "beyond" if ratio.low > 1.0 else "open"


def _quantity(row: Mapping[Any, Any], rng: np.random.Generator) -> _FloatArray:
    """Draws of what is claimed; a one-sided claim is taken at its bound."""
    low, high = float(row["quantity_low"]), float(row["quantity_high"])
    if math.isnan(low) or math.isnan(high):
        return np.full(_DRAWS, high if math.isnan(low) else low)
    return rng.uniform(low, high, _DRAWS) if high > low else np.full(_DRAWS, low)


def _wagons(claimed: _FloatArray, unit: str, drawn: Mapping[str, _FloatArray]) -> _FloatArray:
    if unit == "wagons":
        return claimed
    if unit == "trains":
        return claimed * drawn["wagons_per_train"]
    if unit == "tonnes":
        return claimed / drawn["tonnes_per_wagon"]
    containers = claimed if unit == "containers" else claimed / drawn["shells_per_container"]
    return containers / drawn["containers_per_wagon"]


def _standing(
    observations: Sequence[Record], variation: _FloatArray, rng: np.random.Generator
) -> _FloatArray:
    """Draws of the average number of cars in a month from its few observations; ``(draws,)``."""
    total = np.zeros(_DRAWS)
    for one in observations:
        below, above = one.sd_below, one.sd_above
        left = rng.uniform(size=_DRAWS) < below / (below + above)
        error = np.abs(rng.standard_normal(_DRAWS)) * np.where(left, -below, above)
        total += np.maximum((one.value or 0.0) + error, 0.0)
    mean = total / len(observations)
    spread = np.sqrt(np.log1p(variation**2 / len(observations)))
    return np.asarray(mean * np.exp(spread * rng.standard_normal(_DRAWS) - spread**2 / 2), np.float64)


def _months(start: date, end: date) -> list[tuple[str, int]]:
    """The months of a period with their days inside it."""
    found: dict[str, int] = {}
    first = start
    while first <= end:
        following = (first.replace(day=1) + timedelta(days=32)).replace(day=1)
        last = min(end, following - timedelta(days=1))
        found[f"{first:%Y-%m}"] = (last - first).days + 1
        first = following
    return list(found.items())


_TEXTS = ("id", "made_by", "unit", "route", "url", "corroboration", "note")
_UNITS = {
    "containers": "containers",
    "shells_152mm": "shells of 152 mm",
    "shells": "shells",
    "tonnes": "tonnes",
    "wagons": "wagons",
    "trains": "trains",
}


def _said(row: Mapping[Any, Any]) -> str:
    low, high = row["quantity_low"], row["quantity_high"]
    unit = _UNITS[str(row["unit"])]
    form = {
        "exact": "{low:,.0f} {unit}",
        "approximate": "about {low:,.0f} {unit}",
        "interval": "{low:,.0f} to {high:,.0f} {unit}",
        "at_least": "at least {low:,.0f} {unit}",
        "up_to": "up to {high:,.0f} {unit}",
    }[str(row["statement"])]
    return form.format(low=low, high=high, unit=unit)


def _rounded(value: float) -> str:
    if value <= 0:
        return "0"
    digits = 1 - math.floor(math.log10(value))
    rounded = round(value, digits)
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:g}"


def _listed(names: Sequence[str]) -> str:
    if len(names) > 4:
        return f"{names[0]}, {names[1]} ... {names[-1]}"
    return ", ".join(names)


@dataclass(frozen=True)
class ClaimsPage:
    """A sober page about claims, for the report and for the terminal.

    Attributes:
        title: Of the page.
        assessments: One a claim.
        assumptions: What was assumed.
        disclaimer: What the page doesn't say.
    """

    title: str
    assessments: tuple[ClaimAssessment, ...]
    assumptions: Assumptions
    disclaimer: str = DISCLAIMER

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "title": self.title,
            "claims": [one.to_json() for one in self.assessments],
            "assumptions": {name: asdict(one) for name, _, one in self.assumptions.items()},
            "assumptions_source": self.assumptions.source,
            "disclaimer": self.disclaimer,
        }

    def markdown(self) -> str:
        """Return the page as Markdown, which also reads well as plain text."""
        lines = [f"# {self.title}", "", self.disclaimer, "", "## What each claim would take", ""]
        lines += [f"- {one.sentence} Source: <{one.url}>" for one in self.assessments]
        lines += [
            "",
            "## What is assumed",
            "",
            f"From {self.assumptions.source}; 90% intervals throughout.",
            "",
        ]
        lines += ["| assumption | least | likely | most | why |", "|---|---:|---:|---:|---|"]
        for _, text, one in self.assumptions.items():
            why = one.why.replace("|", "/")
            lines.append(f"| {text} | {one.low:g} | {one.likely:g} | {one.high:g} | {why} |")
        unseen = sorted({month for one in self.assessments for month in one.months_unseen})
        seen = sorted({month.month for one in self.assessments for month in one.months})
        lines += ["", "## What was seen", ""]
        lines.append(f"Months with a count: {', '.join(seen) if seen else 'none'}.")
        lines.append(f"Months without one, of which nothing is known here: {len(unseen)}.")
        return "\n".join(lines) + "\n"


def claims_page(
    title: str,
    observations: Iterable[Observation],
    published: pd.DataFrame | None,
    claims: pd.DataFrame,
    assumptions: Assumptions | None = None,
    *,
    settings: VerdictSettings | None = None,
) -> ClaimsPage:
    """Return the page about claims for one place; see `assess`.

    Args:
        title: Name of the place, for people.
        observations: Of the place.
        published: Published rows of the place, or None.
        claims: As `seeds.load_claims` gives them.
        assumptions: The bundled ones by default.
        settings: Errors of the counts.
    """
    chosen = assumptions or load_assumptions()
    found = assess(observations, published, claims, chosen, settings=settings)
    return ClaimsPage(f"{title}: public claims in wagons", tuple(found), chosen)
