"""What a class is called in other people's labels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from detector.errors import LabelError
from detector.wagons.categories import CATEGORIES

IGNORE: Final = -1
"""Meaning of a class that marks an area in which nothing is known."""
SKIP: Final = -2
"""Meaning of a class that is of no interest, such as the cars of a data set of vehicles."""

SYNONYMS: Final[Mapping[str, tuple[str, ...]]] = {
    "freight": (
        "freight", "freight car", "freight wagon", "wagon", "waggon", "railcar", "rail car", "railroad car",
        "railway car", "railway wagon", "railway vehicle", "rail vehicle", "rolling stock", "cargo car",
        "cargo wagon", "cargo container car", "goods wagon", "boxcar", "box car", "covered wagon", "gondola",
        "gondola car", "open wagon", "open car", "coal car", "coal wagon", "hopper", "hopper car",
        "hopper wagon", "covered hopper", "tank car", "tank wagon", "flat car", "flatcar", "flat wagon",
        "well car", "container car", "container wagon", "autorack", "auto rack", "reefer", "caboose",
        "güterwagen", "kesselwagen", "wagon de marchandises", "вагон", "грузовой вагон", "крытый вагон",
        "полувагон", "цистерна", "хоппер", "화차",
    ),
    "locomotive": (
        "locomotive", "loco", "engine", "shunter", "switcher", "diesel locomotive", "electric locomotive",
        "lokomotive", "локомотив", "тепловоз", "электровоз", "기관차",
    ),
    "coach": (
        "coach", "passenger coach", "passenger car", "passenger wagon", "passenger railcar", "carriage",
        "passenger carriage", "reisezugwagen", "пассажирский вагон", "객차",
    ),
    "ignore": (
        "ignore", "ignored", "ignore area", "difficult", "dont care", "unsure", "uncertain", "unknown",
        "crowd",
    ),
}  # fmt: skip
_UNSURE: Final = frozenset({"difficult", "ignore", "ignored", "unsure", "occluded", "hidden"})
_MEANINGS: Final = {**{name: index for index, name in enumerate(CATEGORIES)}, "ignore": IGNORE, "skip": SKIP}
_TABLE: Final = {word: _MEANINGS[meaning] for meaning, words in SYNONYMS.items() for word in words}


def _plain(name: str) -> str:
    """A name without case, punctuation and runs of blanks."""
    return re.sub(r"[\s_/.-]+", " ", re.sub(r"['\u2019]", "", name)).strip().casefold()


def says_ignored(word: str) -> bool:
    """Whether a remark beside a class ("difficult") means that its box should be ignored."""
    return _plain(word) in _UNSURE


class ClassNames:
    """From a class's name to its meaning.

    Args:
        own: Meanings of further names, which win over the built-in ones: ``freight``, ``locomotive``,
            ``coach``, ``ignore`` (an area in which nothing is known) or ``skip`` (of no interest).

    Raises:
        LabelError: An own meaning is none of these.
    """

    def __init__(self, own: Mapping[str, str] | None = None) -> None:
        self._own: dict[str, int] = {}
        for name, meaning in (own or {}).items():
            if meaning not in _MEANINGS:
                raise LabelError(f"class {name!r} can't mean {meaning!r}; use one of {', '.join(_MEANINGS)}")
            self._own[_plain(name)] = _MEANINGS[meaning]

    def known(self, name: str) -> int | None:
        """Index into CATEGORIES, IGNORE or SKIP; None if the name says nothing."""
        plain = _plain(name)
        for word in (plain, plain.removesuffix("s")):
            for table in (self._own, _TABLE):
                if word in table:
                    return table[word]
        return None

    def meaning(self, name: str, where: str) -> int:
        """The same, for a name that has to be known.

        Args:
            name: The class's name.
            where: The file and the place in it, for the error.

        Raises:
            LabelError: It isn't.
        """
        meaning = self.known(name)
        if meaning is None:
            raise LabelError(
                f"{where}: unknown class {name!r}; say what it means: "
                f"{', '.join(CATEGORIES)}, ignore, or skip if it is of no interest"
            )
        return meaning
