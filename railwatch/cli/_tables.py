"""Tables and verdicts on a terminal: no word and no number is cut, however narrow it is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from railwatch.cli._common import console, printable, say, tell

if TYPE_CHECKING:
    from railwatch.history import Verdict


def table(columns: Iterable[str], rows: Iterable[Iterable[object]], *, title: str | None = None) -> None:
    """Prints a table on stdout; None becomes a dash, numbers are set to the right.

    No word and no number is cut. Where the terminal is too narrow for a row, the columns that say the most
    in words go below the table, a line each, after the row's first cell: first the one without a heading and
    those headed as notes, then the widest.

    Args:
        columns: The headings.
        rows: One sequence of cells a row, as many as there are headings.
        title: A line above the table.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    headings, cells = list(columns), [list(row) for row in rows]
    shown = [["-" if cell is None else printable(str(cell)) for cell in row] for row in cells]
    numeric = [
        bool(values := [row[index] for row in cells if row[index] is not None])
        and all(isinstance(value, int | float) for value in values)
        for index in range(len(headings))
    ]
    width = console(stderr=False).width
    below = _columns_below(headings, shown, numeric, width)
    kept = [index for index in range(len(headings)) if index not in below]
    words = {index: _longest_word([headings[index], *(row[index] for row in shown)]) for index in kept}
    if _room(words.values(), width) < 0:
        _print_records(headings, shown, title)  # even the first column is too wide
        return
    widths = _widened(words, headings, shown, _room(words.values(), width))
    drawn = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0))
    for index in kept:
        # Left to itself the library would cut a row that it can't fold far enough.
        drawn.add_column(
            headings[index],
            justify="right" if numeric[index] else "left",
            overflow="fold",
            width=widths[index],
        )
    for row in shown:
        drawn.add_row(*(Text(row[index]) for index in kept))
    if title:
        tell(title)
    console(stderr=False).print(drawn)
    for row in shown:
        for index in below:
            if row[index] not in ("", "-"):
                heading = f"{headings[index]}: " if headings[index] not in _NOTES else ""
                tell(f"{row[0]}: {heading}{row[index]}")


_NOTES = ("", "note", "notes", "reason")


def _print_records(headings: list[str], shown: list[list[str]], title: str | None) -> None:
    if title:
        say(title)
    for row in shown:
        say(row[0])
        for heading, text in zip(headings[1:], row[1:], strict=True):
            if text:
                say(f"  {heading}: {text}" if heading else f"  {text}")


_GAP = 2  # between two columns


def _room(widths: Collection[int], width: int) -> int:
    """What columns leave of a line, characters; negative where they don't fit."""
    return width - 1 - sum(widths) - _GAP * (len(widths) - 1)


def _widened(words: dict[int, int], headings: list[str], shown: list[list[str]], room: int) -> dict[int, int]:
    """Give columns, which are as wide as their longest words, the room that is left.

    First what lets whole cells stand on one line, the narrowest first; then the headings.
    """
    widths = dict(words)
    cells = {index: _longest_line(row[index] for row in shown) for index in words}
    for wanted in (cells, {index: len(headings[index]) for index in words}):
        for index in sorted(words, key=lambda index: (wanted[index] - widths[index], index)):
            more = wanted[index] - widths[index]
            if 0 < more <= room:
                widths[index] += more
                room -= more
    return widths


def _longest_word(texts: Iterable[str]) -> int:
    return max((len(word) for text in texts for word in text.split()), default=0)


def _longest_line(texts: Iterable[str]) -> int:
    return max((len(line) for text in texts for line in text.splitlines()), default=0)


def _columns_below(headings: list[str], shown: list[list[str]], numeric: list[bool], width: int) -> list[int]:
    """The columns that must leave a table for the rest to fit without a cut, in their order."""
    columns = [[heading, *(row[index] for row in shown)] for index, heading in enumerate(headings)]
    words = [_longest_word(column) for column in columns]
    whole = [_longest_line(column) for column in columns]
    kept = list(range(len(headings)))
    below: list[int] = []

    def leave(index: int) -> None:
        kept.remove(index)
        below.append(index)

    # Notes of several words in a narrow column are no table any more.
    if _room([whole[index] for index in kept], width) < 0:
        for index in [one for one in kept[1:] if headings[one] in _NOTES and any(row[one] for row in shown)]:
            leave(index)
    while _room([words[index] for index in kept], width) < 0:
        texts = [index for index in kept[1:] if not numeric[index]]
        if not texts:
            break
        leave(max(texts, key=lambda index: (words[index], index)))
    return sorted(below)


_MOST = 12


def telling(verdicts: Sequence[Verdict], most: int = _MOST) -> list[Verdict]:
    """The verdicts to print: of a long series those that stand out, and the newest.

    Those on images without a count are left out.

    Args:
        verdicts: Oldest first.
        most: How many at most.
    """
    counted = [one for one in verdicts if one.record.kind != "missing"]
    if len(counted) <= most:
        return counted
    chosen = [one for one in counted[:-1] if one.verdict in ("unprecedented", "elevated", "low")]
    return [*chosen[max(len(chosen) - most + 1, 0) :], counted[-1]]
