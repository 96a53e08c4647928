"""`railwatch review`: correct counts by hand, and see where a review is worth most."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from railwatch.cli import _common, _tables
from railwatch.cli._options import AoiOption, ConfigOption, JsonOption, SeedsOption, StoreOption
from railwatch.store import DEFAULT_STORE

if TYPE_CHECKING:
    from railwatch.review import Applied
    from railwatch.store.store import Store

app = typer.Typer(
    help="Correct counts by hand; a correction stands beside the machine's count, never over it.",
    no_args_is_help=True,
)

ObservationArgument = Annotated[
    str, typer.Argument(metavar="OBSERVATION", help="Its id, or as much of the beginning as is unique.")
]
ReviewerOption = Annotated[
    str | None,
    typer.Option("--reviewer", metavar="NAME", envvar="RAILWATCH_REVIEWER", help="Who reviewed it."),
]
ReasonOption = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Why, in a sentence; kept with the count.")
]
DateOption = Annotated[
    datetime | None,
    typer.Option(
        "--date", metavar="YYYY-MM-DD", formats=["%Y-%m-%d"], help="When it was reviewed; today by default."
    ),
]
ScenesOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--scene",
        metavar="FILE_OR_FOLDER",
        help="The image, or a folder in which it lies at any depth; it is known by its content.",
    ),
]


@app.command("export")
def export_boxes(
    observation: ObservationArgument,
    out: Annotated[Path, typer.Option("--out", metavar="FILE.gpkg", help="The GeoPackage to write.")],
    store: StoreOption = None,
    aoi: AoiOption = None,
    scene: ScenesOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that is there already.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write an observation's boxes and picture to [bold]correct in QGIS[/bold]."""
    from railwatch.review import export_review

    done = export_review(_opened(store), observation, out, aoi=aoi, scenes=scene or (), overwrite=overwrite)
    if as_json:
        _common.emit_json(done.to_json())
        return
    noun = "box" if done.boxes == 1 else "boxes"
    _common.say(f"{done.path}: {done.boxes} {noun} of {done.boxes_of}")
    if done.image is not None:
        place = (
            "in its place" if done.georeferenced else "without a position; give --scene for one that has it"
        )
        _common.say(f"{done.image}: the picture, {place}")
    kept = store or DEFAULT_STORE
    _common.say(
        f"Correct the layer 'boxes', then: railwatch review apply {done.path} --store {kept} --reviewer NAME"
    )


@app.command("apply")
def apply_boxes(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The corrected GeoPackage, or its boxes as GeoJSON.")
    ],
    store: StoreOption = None,
    reviewer: ReviewerOption = None,
    reason: ReasonOption = None,
    date: DateOption = None,
    observation: Annotated[
        str | None,
        typer.Option("--observation", metavar="ID", help="Which one, for a GeoJSON file that doesn't tell."),
    ] = None,
    aoi: AoiOption = None,
    scene: ScenesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count the corrected boxes by the machine's rules and keep them [bold]beside its count[/bold]."""
    from railwatch.review import apply_review

    done = apply_review(
        _opened(store),
        file,
        reviewer=reviewer,
        reason=reason,
        day=_day(date),
        observation=observation,
        aoi=aoi,
        scenes=scene or (),
    )
    _say_applied(done, as_json)


@app.command("set")
def set_by_eye(
    observation: ObservationArgument,
    count: Annotated[float, typer.Option("--count", metavar="N", help="Freight cars in the area.")],
    low: Annotated[
        float | None, typer.Option("--low", metavar="N", help="The least that there may be (90% interval).")
    ] = None,
    high: Annotated[float | None, typer.Option("--high", metavar="N", help="The most.")] = None,
    store: StoreOption = None,
    reviewer: ReviewerOption = None,
    reason: ReasonOption = None,
    date: DateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep a count made by eye, without boxes."""
    from railwatch.review import set_count

    done = set_count(
        _opened(store),
        observation,
        count,
        reviewer=reviewer,
        reason=reason,
        low=low,
        high=high,
        day=_day(date),
    )
    _say_applied(done, as_json)


@app.command("next")
def propose(
    store: StoreOption = None,
    aoi: AoiOption = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, help="Show at most so many scenes.")
    ] = 10,
    seeds: SeedsOption = True,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say which scenes to look at first: where a review by eye would [bold]change the verdict most[/bold]."""
    from railwatch.config import load_config
    from railwatch.history.sources import read_sources
    from railwatch.review import proposals
    from railwatch.review.next_review import looked_for, low_score_observations, reviewable
    from railwatch.store.areas import choose_settings

    base = load_config(config).store if store is None and config is not None else store
    folder = Path(base or DEFAULT_STORE)
    given = choose_settings(config, store=folder, aoi=aoi, baseline__use_published=None if seeds else False)
    sources = read_sources(folder, given.config.aoi, chosen=given)
    found = proposals(
        sources.observations, sources.published, given.config.baseline.verdict_settings(), limit=limit
    )
    with _common.progress("boxes") as report:
        doubted = low_score_observations(sources, report)
    named = {one.observation.id for one in found}
    others = [one for one in doubted if one.observation.id not in named][: max(limit - len(found), 0)]
    if as_json:
        rakes = {one.observation.id: one.to_json()["doubtful_rakes"] for one in doubted}
        _common.emit_json(
            {
                "proposals": [
                    one.to_json() | {"doubtful_rakes": rakes.get(one.observation.id, [])} for one in found
                ],
                "doubted": [one.to_json() for one in others],
                "looked_at": len(reviewable(sources.observations)),
                "store": folder,
                "notes": list(sources.notes),
            }
        )
        return
    _common.notes(sources.notes)
    if found:
        _tables.table(
            ("date", "freight cars", "verdict now", "expected change", "image", "observation"),
            (
                (
                    f"{one.observation.datetime:%Y-%m-%d %H:%M}",
                    one.observation.headline.replace(" freight cars", "").replace(" freight car", ""),
                    one.verdict,
                    f"{one.change:.2f}",
                    one.observation.provenance.get("file"),
                    one.observation.id,
                )
                for one in found
            ),
        )
        for one in found:
            _common.tell(f"{one.observation.datetime:%Y-%m-%d} {one.reason}.")
        _common.tell("Expected change: in steps from low over typical and elevated to unprecedented.")
    for each in others:
        _common.tell(f"{each.observation.datetime:%Y-%m-%d %H:%M} {each.sentence}: {each.observation.id}")
    _common.tell(looked_for(len(reviewable(sources.observations)), len(found), len(others)))


def _opened(store: Path | None) -> Store:
    from railwatch.store.store import Store

    return Store.open(store or DEFAULT_STORE, create=False)


def _day(given: datetime | None) -> date | None:
    return None if given is None else given.date()


def _say_applied(done: Applied, as_json: bool) -> None:
    if as_json:
        _common.emit_json(done.to_json())
        return
    machine = done.machine.headline if done.machine.count is not None else "no count"
    _common.say(f"{done.observation.id}: {done.observation.headline}; the machine had {machine}")
    if done.changes is not None:
        _common.say(f"boxes: {done.changes.sentence}")
    for warning in done.observation.warnings:
        _common.tell(f"note: {warning}")
    if not done.written:
        _common.say("This review is there already; nothing was written.")
    elif done.supersedes is not None:
        _common.say(f"It takes the place of {done.supersedes}, which stays in the store.")
