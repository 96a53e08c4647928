"""The numbers behind a verdict, in one place, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType

from railwatch.errors import ConfigError


@dataclass(frozen=True)
class MethodError:
    """How far a method's count may be from the truth when its own interval doesn't say.

    Attributes:
        sd_cars: Part of the standard deviation that doesn't depend on the count; also the least that an
            observation's own interval may claim.
        sd_share: Part that grows with the count (a share of it).
        bias_share: Standard deviation, as a share of the count, of the method's unknown systematic error.
            It is added where observations of different methods meet without a calibration.
        growth: How an observation's own error grows with the true count; see `Record.growth`.
    """

    sd_cars: float
    sd_share: float
    bias_share: float
    growth: float = 0.0

    def sd(self, count: float) -> float:
        """Return the standard deviation at a count, in cars."""
        return float((self.sd_cars**2 + (self.sd_share * count) ** 2) ** 0.5)


_METHODS: Mapping[str, MethodError] = MappingProxyType(
    {
        # An analyst's corrected count: miscounts by a car or two, no known systematic error.
        "reviewed": MethodError(sd_cars=0.5, sd_share=0.02, bias_share=0.0),
        # The detector's interval is calibrated on held-out scenes; the floor keeps "0 (0 to 0)" from
        # claiming certainty.
        "wagons": MethodError(sd_cars=0.5, sd_share=0.05, bias_share=0.1),
        # Publishers write "approximately", and don't draw the yard's boundary in the same place.
        "published": MethodError(sd_cars=1.0, sd_share=0.05, bias_share=0.1),
        # From 10 m pixels: the contrast of unknown wagons alone is uncertain by 20 to 30%.
        # Errors on simulated yards are about 7 cars where hardly any stand and a third of the count in
        # full yards (docs/occupancy.md).
        "occupancy": MethodError(sd_cars=3.0, sd_share=0.2, bias_share=0.3, growth=0.33 / 7.0),
        # The same estimator on PlanetScope scenes; see `railwatch.history.record.method_of`.
        "occupancy-planetscope": MethodError(sd_cars=3.0, sd_share=0.2, bias_share=0.3, growth=0.33 / 7.0),
    }
)


CAR_LENGTH_M = (14.6, 11.0, 20.0)
"""Track length a car, couplers included: central value and the ends of a 90% interval."""


@dataclass(frozen=True)
class VerdictSettings:
    """What a verdict is measured against. See ``docs/verdicts.md`` for the rule in words.

    Attributes:
        lookback_years: Length of the window before the date judged.
        gap_days: Days between the end of the window and the date judged, so that the build-up to an event
            doesn't become its own history.
        not_before: The window never begins before this date (the yard was rebuilt, say).
        record_probability: `unprecedented` wants at least this probability of a record.
        false_discovery_rate: Expected share of false ones among the dates called `unprecedented` in a
            year of looks over all areas compared together (Benjamini-Hochberg).
        exceedance: `unprecedented` also wants an exceedance probability no higher than this.
        elevated_exceedance: Largest exceedance probability that is called `elevated`; the same for `low`
            on the other side.
        elevated_false_discovery_rate: The false discovery rate for `elevated` and `low`.
        family_days: The dates corrected together: those judged in so many days up to each date.
        full_looks: Effective observations from which a record counts by itself. A new value is the highest of
            n + 1 exchangeable ones with probability 1 / (n + 1): 0.02 at the default.
        min_looks: Fewest effective observations for a verdict at all, unless a published ceiling stands in.
        short_record_margin: With fewer than ``full_looks``, or with a published ceiling in their place, the
            maximum must be beaten by this factor.
        ceiling_share: Share of the window that a published ceiling must cover to stand in for observations.
        ceiling_looks_per_month: Observations assumed behind a published ceiling that doesn't give their
            number.
        ceiling_sd_share: Standard deviation of a ceiling, as a share of it ("about 20").
        surprise: Prior probability that the date judged has nothing to do with the past's distribution. High,
            because whether the past's distribution allows the count is what the exceedance asks: the record
            probability asks whether the measurement does.
        past_surprise: The same for each observation of the past.
        outlier_z: Past observations with a larger residual are down-weighted by its square (Noufaily and
            others 2013, Statistics in Medicine 32:1206).
        dwell_days: How long a state of the yard lasts, as expected before seeing the series.
        season_looks: Fewest observations for a seasonal term to be considered.
        season_months: Fewest different months of the year for it.
        confirm_days: A second observation counts as one up to so many days after the first.
        other_method_days: Another method's observation confirms up to so many days before or after.
        confirm_probability: Probability of a record that a second observation needs in order to agree.
        together_images: Most images of a build-up at 10 m that are judged as one.
        together_days: Between the first and the last of them lie no more than so many days.
        together_exceedance: Each of them must by itself be so unlikely to be reached by chance.
        common_error_share: Share of the error variance that such images have in common: that of 80 simulated
            yards, which differ by 9.9 cars where their dates differ by 18.4 (``docs/occupancy.md``).
        calibration_days: Longest time between two methods' observations that are taken to see the same cars.
        calibration_pairs: Fewest such pairs for a calibration between the methods.
        car_length_m: Track length a car (`CAR_LENGTH_M`), used where only a length was reported.
        methods: The error of each method.
    """

    lookback_years: float = 5.0
    gap_days: float = 30.0
    not_before: date | None = None
    record_probability: float = 0.9
    false_discovery_rate: float = 0.1
    exceedance: float = 0.01
    elevated_exceedance: float = 0.025
    elevated_false_discovery_rate: float = 0.25
    family_days: int = 365
    full_looks: float = 49.0
    min_looks: float = 5.0
    short_record_margin: float = 1.25
    ceiling_share: float = 0.5
    ceiling_looks_per_month: float = 1.0
    ceiling_sd_share: float = 0.1
    surprise: float = 0.5
    past_surprise: float = 0.005
    outlier_z: float = 2.58
    dwell_days: float = 3.0
    season_looks: int = 24
    season_months: int = 6
    confirm_days: int = 30
    other_method_days: int = 3
    confirm_probability: float = 0.5
    together_images: int = 3
    together_days: int = 30
    together_exceedance: float = 0.1
    common_error_share: float = 0.22
    calibration_days: float = 3.0
    calibration_pairs: int = 8
    car_length_m: tuple[float, float, float] = CAR_LENGTH_M
    methods: Mapping[str, MethodError] = field(default_factory=lambda: _METHODS)

    def __post_init__(self) -> None:
        if not 0 < self.lookback_years <= 100:
            raise ConfigError(f"a look-back of {self.lookback_years:g} years isn't between 0 and 100 years")
        if not 0 <= self.gap_days <= 3660:
            raise ConfigError(f"a gap of {self.gap_days:g} days isn't between 0 and 3660 days")

    def method(self, name: str) -> MethodError:
        """Return a method's error; an unknown method is taken to be as poor as the poorest known."""
        return self.methods.get(name, _METHODS["occupancy"])
