"""Tables on a terminal: no word and no number is cut, however narrow it is."""

from __future__ import annotations

from collections.abc import Iterable

from railwatch.cli._common import console, printable, say, show, tell

__all__ = ["table"]


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
    drawn = Table(box=box.SIMPLE_HEAD)
    kept = [index for index in range(len(headings)) if index not in below]
    if sum(_longest_word(headings, shown, index) + 3 for index in kept) >= width:
        _print_records(headings, shown, title)  # even the first column is too wide
        return
    for index in kept:
        drawn.add_column(
            headings[index],
            justify="right" if numeric[index] else "left",
            overflow="fold",
            min_width=_longest_word(headings, shown, index),
        )
    for row in shown:
        drawn.add_row(*(Text(row[index]) for index in kept))
    if title:
        tell(title)
    show(drawn)
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


def _longest_word(headings: list[str], shown: list[list[str]], index: int) -> int:
    return max(
        len(word)
        for text in (headings[index], *(row[index] for row in shown))
        for word in (*text.split(), "")
    )


def _columns_below(headings: list[str], shown: list[list[str]], numeric: list[bool], width: int) -> list[int]:
    """The columns that must leave a table for the rest to fit without a cut, in their order."""
    words = [_longest_word(headings, shown, index) for index in range(len(headings))]
    whole = [
        max(
            len(line)
            for text in (headings[index], *(row[index] for row in shown))
            for line in (*text.splitlines(), "")
        )
        for index in range(len(headings))
    ]
    kept = list(range(len(headings)))
    below: list[int] = []

    def leave(index: int) -> None:
        kept.remove(index)
        below.append(index)

    # Notes of several words in a narrow column are no table any more.
    if sum(whole[index] + 3 for index in kept) >= width:
        for index in [one for one in kept[1:] if headings[one] in _NOTES and any(row[one] for row in shown)]:
            leave(index)
    while sum(words[index] + 3 for index in kept) >= width:
        texts = [index for index in kept[1:] if not numeric[index]]
        if not texts:
            break
        leave(max(texts, key=lambda index: (words[index], index)))
    return sorted(below)
