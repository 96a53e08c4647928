"""`railwatch store`: look after the folder that holds the observations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from railwatch.cli import _common
from railwatch.cli._options import JsonOption

app = typer.Typer(no_args_is_help=True, help="Look after the folder that holds the observations.")


@app.command()
def check(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="The folder that holds the observations.")],
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Set what is damaged aside (nothing is deleted), remove what killed writers left, and make "
            "the index anew.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Read every item, box, picture and chip of a store and [bold]list what is damaged[/bold].

    Exit code 1 tells that something damaged is still in its place.
    """
    from railwatch.store.check import check_store

    found = check_store(store, repair=repair)
    if as_json:
        _common.emit_json(found.to_json())
    else:
        for one in found.faults:
            aside = "" if one.aside is None else f"; set aside as {one.aside.name}"
            _common.say(f"damaged: {one.path}: {one.reason}{aside}")
        for path in found.swept:
            _common.say(f"removed: {path}")
        nouns = (
            f"{found.items} observation{'s' * (found.items != 1)}",
            f"{found.chips} chip{'s' * (found.chips != 1)}",
        )
        _common.say(f"{' and '.join(nouns)} are as they were written; {len(found.faults)} damaged")
    if not found.sound:
        _common.below_threshold()
