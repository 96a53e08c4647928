"""What rail vehicles are called: three categories, and the types of freight cars that are told from above."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

CATEGORIES = ("freight", "locomotive", "coach")
FREIGHT, LOCOMOTIVE, COACH = range(3)
"""Indices of the categories."""

TYPES = ("open", "covered", "tank", "flat_or_container")
"""Ore, coal and other open cars; box cars, covered hoppers, autoracks and what lies under a tarpaulin; tank
cars; flat and well cars, empty or loaded, with their containers."""
UNKNOWN = "unknown"
TYPE_NAMES = (*TYPES, UNKNOWN)
"""What the type of a car can be called; a column of indices uses this order."""
NOT_TYPED = -1
"""Index of what is no counted freight car and has no type."""


def type_names(numbers: NDArray[np.int64]) -> list[str | None]:
    """The name of each type, None for `NOT_TYPED`.

    >>> type_names(np.array([2, -1, 4]))
    ['tank', None, 'unknown']
    """
    return [None if number == NOT_TYPED else TYPE_NAMES[number] for number in numbers]


def count_by_type(names: Iterable[str | None]) -> dict[str, int]:
    """How many cars of each type, every type named, unknown last; whatever has no name of a type is unknown.

    >>> count_by_type(["tank", "open", "tank"])
    {'open': 1, 'covered': 0, 'tank': 2, 'flat_or_container': 0, 'unknown': 0}
    """
    given = Counter(name if isinstance(name, str) and name in TYPES else UNKNOWN for name in names)
    return {name: given[name] for name in TYPE_NAMES}
