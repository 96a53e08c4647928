"""`railwatch compare-images`: two dates of a place in one picture."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from railwatch.cli import _common
from railwatch.cli._options import (
    AoiOption,
    ConfigOption,
    JsonOption,
    StoreOption,
    history_of,
)


def compare_images(
    before: Annotated[
        datetime, typer.Argument(metavar="BEFORE", formats=["%Y-%m-%d"], help="The earlier day.")
    ],
    after: Annotated[datetime, typer.Argument(metavar="AFTER", formats=["%Y-%m-%d"], help="The later day.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.png", help="The file to write or replace.")],
    store: StoreOption = None,
    aoi: AoiOption = None,
    outlines: Annotated[
        bool, typer.Option("--outlines/--no-outlines", help="Outline what was counted.")
    ] = True,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write two dates on the [bold]same ground at the same scale[/bold], with counts and credits, as PNG."""
    from aoi.errors import InputError
    from railwatch.pages import write_page
    from railwatch.pages.pictures.before_after import before_after

    if out.suffix.lower() != ".png":
        _common.fail(f"{out}: two dates are written as a PNG file, so its name ends in .png")
    _, sources = history_of(store, aoi, config)
    if len(sources.names) != 1 or sources.store is None:
        listed = ", ".join(sources.names) or "none yet"
        _common.fail(f"two dates of one area are compared; choose it with --aoi (the store has {listed})")
    chosen = []
    for day in (before.date(), after.date()):
        own = [one for one in sources.verdicts_on(day) if one.record.method != "published"]
        if not own:
            _common.fail(f"{day} has a published count but no image in the store {sources.store.path}")
        chosen.append(own[0])
    content = before_after(sources.store, chosen[0], chosen[1], outlines=outlines)
    write_page(out, content, InputError)
    if as_json:
        _common.emit_json({"out": out, "verdicts": [one.to_json() for one in chosen]})
        return
    for one in chosen:
        _common.tell(one.sentence)
    _common.say(f"both on one picture: {out}")
