"""What is known of a place, turned into records once: verdicts, charts, pages and calibrations rest on it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from railwatch.history.published import published_records
from railwatch.history.record import Record, from_observation
from railwatch.history.settings import VerdictSettings
from railwatch.store.observation import Observation, current

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Gathered"]


@dataclass(frozen=True)
class Gathered:
    """Observations and published counts of one or several places as records.

    Attributes:
        observations: What is held to be true of our own, oldest first: of several results for a scene the
            newest, and reviewed ones in the place of what they correct.
        own: Their records, in the same order.
        machine: Records of the newest results by machine and of the reviewed ones beside them: a machine's
            count and its reviewed one are the best pairs to calibrate methods on.
        published: Records of the published counts.
    """

    observations: tuple[Observation, ...]
    own: tuple[Record, ...]
    machine: tuple[Record, ...]
    published: tuple[Record, ...]

    @classmethod
    def of(
        cls,
        observations: Iterable[Observation],
        published: pd.DataFrame | None,
        settings: VerdictSettings,
    ) -> Gathered:
        """Turn observations, in any order, and published rows (of `seeds.comparable`) into records."""
        given = list(observations)
        held = tuple(current(given, reviewed=True))
        records = {one.id: from_observation(one, settings) for one in given}
        return cls(
            observations=held,
            own=tuple(records[one.id] for one in held),
            machine=tuple(records[one.id] for one in current(given)),
            published=() if published is None else tuple(published_records(published, settings)),
        )

    @property
    def records(self) -> tuple[Record, ...]:
        """Our own records and the published ones, oldest first."""
        return tuple(sorted((*self.own, *self.published), key=lambda one: (one.when, one.id)))
