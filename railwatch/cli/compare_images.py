"""`railwatch compare-images`: two dates of a place as one picture, before and after."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from railwatch.cli import _common
from railwatch.cli._common import AoiOption, ConfigOption, JsonOption, StoreOption


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compare-images")(compare_images)


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
    from aoi.files import write_bytes
    from railwatch.history.sources import read_sources
    from railwatch.pages.pictures.before_after import before_after
    from railwatch.store.areas import choose_settings

    if out.suffix.lower() != ".png":
        _common.fail(f"{out}: two dates are written as a PNG file, so its name ends in .png")
    given = choose_settings(config, store=_common.history_of(store, config), aoi=aoi)
    settings = given.config
    sources = read_sources(Path(settings.store) if settings.store else None, settings.aoi, chosen=given)
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
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(out, content)
    except OSError as error:
        _common.fail(f"{out} can't be written ({error.strerror or error})")
    if as_json:
        _common.emit_json({"out": out, "verdicts": [one.to_json() for one in chosen]})
        return
    for one in chosen:
        _common.tell(one.sentence)
    _common.say(f"both on one picture: {out}")
