"""The main job: find the scenes of an area, count, store, compare with history.

Images of 1 m and finer are counted wagon by wagon; products of Sentinel-2 and PlanetScope are answered by
`railwatch.pipeline.sentinel2`, each acquisition against the place's own past. Each scene is finished and
stored before the next one is begun, under an id that says which work it was. So a run that was stopped goes
on where it was, and a second run of the same work writes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from aoi import AreaOfInterest
from aoi.errors import InputError
from geo import Scene, valid_fraction
from geo.file_tree import FolderFileTree, real_paths
from railwatch.config import RunConfig
from railwatch.pipeline import Model, Progress, Silent, hidden_warning, key_of, provenance_of
from railwatch.pipeline.count_area import ALL_SEEN, count_area, hidden_fraction, visible_area
from railwatch.pipeline.find_scenes import (
    Candidate,
    Dates,
    Skipped,
    find_scenes,
    is_safe,
    select,
    unexpected,
    without_path,
)
from railwatch.store.observation import (
    Observation,
    current,
    geometry_json,
    interval_json,
    observation_id,
)
from railwatch.store.store import PRODUCTS, Store
from railwatch.version import __version__

if TYPE_CHECKING:
    from detector.wagons.detections import Detections
    from geo.sentinel2.formats.product import Product
    from railwatch.history import Verdict
    from railwatch.history.sources import Sources
    from railwatch.pipeline.sentinel2 import Answered, Estimator

__all__ = [
    "Detector",
    "FoundInputs",
    "RunResult",
    "look_for",
    "run",
]

log = logging.getLogger(__name__)

METHOD = "wagons"


class Detector(Model, Protocol):
    """What counts wagons; `detector.wagons.detector.WagonDetector` is one."""

    threshold: float

    def detect(
        self,
        scene: Scene,
        area: AreaOfInterest | None = None,
        *,
        tile_px: int = ...,
        batch_size: int = ...,
        threshold: float | None = None,
        careful: bool = ...,
        progress: Callable[[int, int], None] | None = None,
    ) -> Detections:
        """Find the wagons of a scene that lie in or near an area."""


@dataclass(frozen=True)
class RunResult:
    """What a run found.

    Attributes:
        area: The area's name.
        observations: Of the given scenes, by time: those made now and those that were there already.
        new: Ids of those made now.
        verdicts: Of these observations, oldest first.
        skipped: Inputs that weren't counted.
        scenes: How many scenes were found.
        store: The store's folder.
        warnings: What concerns the run as a whole.
        charts: The drawings of the area's history.
        report: The page with its verdict, chart, pictures and numbers, or None if there is nothing to report.
    """

    area: str
    observations: tuple[Observation, ...]
    new: frozenset[str]
    verdicts: tuple[Verdict, ...]
    skipped: tuple[Skipped, ...]
    scenes: int
    store: Path
    warnings: tuple[str, ...]
    charts: tuple[Path, ...] = ()
    report: Path | None = None

    @property
    def read(self) -> bool:
        """Whether any of the inputs was of use: counted now, or counted before."""
        return bool(self.observations) or any(one.known for one in self.skipped)

    def to_json(self) -> dict[str, Any]:
        """Return it as ``railwatch run --json`` prints it."""
        return {
            "observations": [one.to_json() | {"new": one.id in self.new} for one in self.observations],
            "verdicts": [one.to_json() for one in self.verdicts],
            "skipped": [one.to_json() for one in self.skipped],
            "store": str(self.store),
            "charts": [str(path) for path in self.charts],
            "report": None if self.report is None else str(self.report),
            "warnings": list(self.warnings),
        }


def run(
    paths: Iterable[str | Path],
    area: AreaOfInterest,
    config: RunConfig,
    store: Store,
    detector: Detector | None = None,
    *,
    estimator: Estimator | None = None,
    dates: Dates | None = None,
    progress: Progress | None = None,
    inputs: FoundInputs | None = None,
    conclude: bool = True,
) -> RunResult:
    """Count the freight cars of an area on every scene that shows it.

    Args:
        paths: Images, products of Sentinel-2 and PlanetScope, and folders, which are searched at any depth.
        area: In longitude and latitude.
        config: The settings.
        store: Where observations are kept.
        detector: The wagon detector; by default that of the settings, loaded when a scene needs it.
        estimator: What answers dates at 10 m; by default that of the settings, loaded when one needs it.
        dates: Acquisition times for images that don't tell theirs.
        progress: Told of every scene.
        inputs: What `look_for` has found under the paths, where that is known already.
        conclude: Judge the history and draw it; a worker that does one scene of many leaves that to the end.

    Returns:
        The observations, their verdicts, and what was left out. A scene that can't be read or counted is
        left out with its reason and doesn't stop the others.

    Raises:
        StoreError: If the store can't be written. What it holds stays.
        WeightsError: If the detector's weights can't be used.
    """
    report = progress or Silent()
    declared = dates or Dates()
    report.label("looking")
    given = inputs or look_for(paths, store)
    products, found, skipped = given.products, given.images, list(given.skipped)
    if conclude:
        sides = (file for product in products for file in (product.path, *product.files))
        declared.check([*found, *sides])
    stored = store.observations(area.name, superseded=True)
    candidates, unfit = select(found, area, config.scenes, declared, stored, report)
    changed = store.keep_area(area, config) if candidates or products else ()
    skipped += unfit
    observations: list[Observation] = []
    new: set[str] = set()
    job: _RunJob | None = None
    for number, candidate in enumerate(candidates):
        report.label(candidate.path.name)
        report(number, len(candidates))
        if job is None:
            job = _RunJob(area, config, detector or _load(config))
        try:
            id = job.id(candidate)
            known = store.get(id)
            if known is not None:
                observations.append(known)
                continue
            with report.bar("tiles") as tiles, candidate.scene.held_open():
                work = job.count(candidate, id, tiles)
        except InputError as error:
            reason = without_path(error, candidate.path)
            skipped += [Skipped(path, reason) for path in candidate.paths]
        except Exception as error:  # one scene must not end a night's work
            log.debug("%s", candidate.path, exc_info=True)
            skipped.append(Skipped(candidate.path, unexpected(error)))
        else:
            store.add(
                work.observation,
                detections=work.detections,
                evidence=work.picture,
                image=work.image,
                refresh=False,
            )
            observations.append(work.observation)
            new.add(id)
    report(len(candidates), len(candidates))
    renewed = 0
    if products:
        answered = _answered(products, area, config, store, estimator, report)
        observations += answered.observations
        new |= answered.new
        skipped += answered.skipped
        renewed = answered.renewed
    result = RunResult(
        area=area.name,
        observations=tuple(sorted(observations, key=lambda one: (one.datetime, one.id))),
        new=frozenset(new),
        verdicts=(),
        skipped=tuple(sorted(skipped, key=lambda one: one.path)),
        scenes=len(found) + len(products),
        store=store.path,
        warnings=(*area.limitations, *changed, *_renewed(renewed)),
    )
    return _concluded(result, area, config, store, report) if conclude else result


def _concluded(
    result: RunResult, area: AreaOfInterest, config: RunConfig, store: Store, report: Progress
) -> RunResult:
    """Judge the history, draw it and write its page."""
    from railwatch.history.sources import Sources, published_of

    if result.new:
        store.refresh()
    ids = [one.id for one in result.observations]
    history = current(store.observations(area.name, superseded=True), prefer=ids)
    sources = Sources(
        (area.name,),
        {area.name: area},
        tuple(history),
        published_of((area.name,)) if config.baseline.use_published else None,
        store,
        settings={area.name: config.baseline.verdict_settings()},
        headings={area.name: config.title or area.title},
    )
    # A reviewed count stands in for the machine's, so its verdict is the one on that scene.
    shown = {(one.datetime, one.scene) for one in result.observations}
    judged = {one.id for one in history if (one.datetime, one.scene) in shown}
    damaged = (f"{one.path} is left out: {one.reason}." for one in store.damaged)
    result = replace(
        result,
        verdicts=tuple(one for one in sources.verdicts() if one.record.id in judged),
        warnings=(*result.warnings, *_other_weights(history, result.new), *damaged),
    )
    if not history:
        return result
    from railwatch.pages.report import write_report

    charts = _drawn(sources, config, store.charts)
    with report.bar("pictures of the report") as pictures:
        page = write_report(sources, store.reports / f"{area.name}.html", config=config, progress=pictures)
    return replace(result, charts=charts, report=page.path)


@dataclass(frozen=True)
class FoundInputs:
    """What lies under the paths that a user gives.

    Attributes:
        products: Of Sentinel-2 and PlanetScope.
        images: Files that may be images of a metre or finer.
        skipped: What can't be used.
    """

    products: tuple[Product, ...] = ()
    images: tuple[Path, ...] = ()
    skipped: tuple[Skipped, ...] = ()


def look_for(paths: Iterable[str | Path], store: Store | None = None) -> FoundInputs:
    """Find the products answered at 10 m and the images under some paths.

    Args:
        paths: Files, and folders that are searched at any depth.
        store: Keeps what the products' metadata say, so that those that haven't changed aren't opened again.

    Returns:
        Each once; what can't be used is listed with its reason.
    """
    listed = [Path(path) for path in paths]
    trees = {path: FolderFileTree(path) for path in listed if path.is_dir()}
    products, refused, taken = _products(listed, trees, store)
    images, passed_over = find_scenes(listed, taken, trees)
    return FoundInputs(tuple(products), tuple(images), (*refused, *passed_over))


def _products(
    paths: Sequence[Path], trees: Mapping[Path, FolderFileTree], store: Store | None
) -> tuple[list[Product], list[Skipped], set[Path]]:
    """Return the products answered at 10 m, those that can't be used, and the files of both."""
    from geo.sentinel2.formats.find import find_products
    from geo.sentinel2.formats.metadata_cache import MetadataCache

    kept = MetadataCache(None if store is None else store.path / PRODUCTS, __version__)
    products, refusals = find_products(paths, trees, kept)
    # What stands before the reason names the path, which a list names anyway.
    skipped = []
    for one in refusals:
        reason = without_path(InputError(one.reason), one.path)
        subject = "it " if reason.startswith(_VERBS) else ""
        skipped.append(Skipped(one.path, f"{subject}{reason}", readable=_is_image(one.path)))
    used = [(one.path, one.files) for one in products] + [(one.path, one.files) for one in refusals]
    # What lies in a SAFE folder belongs to it as a whole.
    files = [file for path, own in used for file in ((path,) if is_safe(path) else (path, *own))]
    return products, skipped, real_paths(files)


_VERBS = ("is ", "has ", "names ", "holds ", "lies ", "can't ", "needs ", "lacks ")


def _is_image(path: Path) -> bool:
    """Whether a file can be read as an image, whatever it shows."""
    from rasterio.errors import RasterioError

    from aoi.gdal import open_raster

    try:
        with open_raster(path):
            return True
    except (RasterioError, OSError, InputError):
        return False


def _answered(
    products: Sequence[Product],
    area: AreaOfInterest,
    config: RunConfig,
    store: Store,
    estimator: Estimator | None,
    report: Progress,
) -> Answered:
    """Answer the dates at 10 m; the code for them is entered here and nowhere before."""
    from railwatch.pipeline.sentinel2 import answer

    report.label("dates at 10 m")
    with report.bar("acquisitions") as reading, report.bar("dates") as looking:
        return answer(
            products,
            area,
            config,
            store,
            lambda: estimator or _load_estimator(config),
            reading=reading,
            progress=looking,
        )


def _renewed(number: int) -> tuple[str, ...]:
    if not number:
        return ()
    noun = "date was" if number == 1 else "dates were"
    return (
        f"{number} {noun} answered anew, because there now are other acquisitions to set them against; the "
        "older answers stay in the store.",
    )


def _other_weights(history: Sequence[Observation], new: Set[str]) -> tuple[str, ...]:
    """Say it where a history now holds counts of two sets of weights: they aren't quite alike."""
    said = []
    for method in sorted({one.method for one in history if one.id in new}):
        own = [one for one in history if one.method == method]
        checksums = {one.provenance.get("model_checksum") for one in own if one.id in new}
        others = [one for one in own if one.provenance.get("model_checksum") not in checksums]
        if others:
            noun = "date was" if len(others) == 1 else "dates were"
            said.append(
                f"{len(others)} earlier {noun} counted with other weights ({method}): run on their images "
                "again to compare like with like."
            )
    return tuple(said)


def _drawn(sources: Sources, config: RunConfig, folder: Path) -> tuple[Path, ...]:
    """Draw the history of one area into a folder, one file a format."""
    from railwatch.pages.charts.series import draw_series
    from railwatch.pages.charts.style import PageStyle, write_chart

    (name,) = sources.names
    title, whole = sources.titles[name], sources.histories[name]
    style = PageStyle(dpi=config.chart.dpi)
    figure = draw_series(whole if config.chart.show_published else whole.without_published(), style)
    return tuple(
        write_chart(figure, folder / f"{name}.{format}", style, title=title)
        for format in config.chart.formats
    )


@dataclass(frozen=True)
class _SceneResult:
    """What is stored of one scene."""

    observation: Observation
    detections: Detections | None
    picture: bytes | None
    image: bytes | None = None


@dataclass(frozen=True)
class _RunJob:
    """The work that every scene of a run goes through."""

    area: AreaOfInterest
    config: RunConfig
    detector: Detector

    def id(self, candidate: Candidate) -> str:
        """Return the id of this work on a scene: it changes with the scene, area, settings and model."""
        key = key_of(candidate.content(), self.detector, self.area, self.config.counting_digest)
        return observation_id(aoi=self.area.name, when=candidate.datetime, method=METHOD, key=key)

    def count(self, candidate: Candidate, id: str, progress: Callable[[int, int], None]) -> _SceneResult:
        """Count one scene.

        Raises:
            InputError: If it can't be read or counted.
        """
        scene = candidate.scene
        if not scene.georeferenced:
            return self._count_not_georeferenced(candidate, id, progress)
        day = candidate.datetime.date()
        hidden = hidden_fraction(self.area, day)
        visible = visible_area(self.area, day)
        clear = 0.0 if visible is None else valid_fraction(scene, visible)
        if visible is not None and clear == 0.0:
            raise InputError(f"it has no valid pixel in the area {self.area.name}.")
        wanted = self.config.scenes.min_valid_fraction
        if visible is None or clear < wanted:
            reason = (
                "All of the area is hidden on that day."
                if visible is None
                else f"Only {_percent(clear)} of the area is seen; the settings ask for {_percent(wanted)}."
            )
            return self._abstained(candidate, clear, hidden, id, reason)
        detections = self._detect(scene, visible, progress)
        counted = count_area(detections, self.area, day)
        if counted.seen is not None and counted.seen < ALL_SEEN:
            clear *= counted.seen
            if counted.seen < self.config.scenes.min_tracks_seen:
                return self._abstained(candidate, clear, hidden, id, _unseen_reason(counted.seen, self.area))
        total = counted.total
        masked = hidden_warning(self.area, day, _percent(hidden)) if hidden else ()
        observation = self._observation(
            candidate,
            id,
            clear,
            hidden,
            count=float(total.count),
            count_low=float(total.low),
            count_high=float(total.high),
            occupied_length_m=round(counted.length_m, 1),
            count_by_type=counted.by_type,
            zones={id: interval_json(one.count, one.low, one.high) for id, one in counted.zones.items()},
            tracks={id: interval_json(one.count, one.low, one.high) for id, one in counted.tracks.items()},
            warnings=(*_sentences(scene), *counted.warnings, *masked),
        )
        frame = counted.detections.frame.assign(image=candidate.path.name)
        picture = _picture(scene, counted.detections, self.area, observation)
        image = _image(scene, picture, self.area)
        return _SceneResult(observation, replace(counted.detections, frame=frame), picture, image)

    def _detect(
        self, scene: Scene, area: AreaOfInterest | None, progress: Callable[[int, int], None]
    ) -> Detections:
        settings = self.config.detector
        return self.detector.detect(
            scene,
            area,
            tile_px=settings.tile_px,
            batch_size=settings.batch_size,
            threshold=settings.threshold,
            careful=settings.careful,
            progress=progress,
        )

    def _abstained(
        self, candidate: Candidate, clear: float, hidden: float, id: str, reason: str
    ) -> _SceneResult:
        """An observation without a count, and the picture that shows why."""
        scene = candidate.scene
        nothing = self._observation(
            candidate, id, clear, hidden, abstained=True, reason=reason, warnings=_sentences(scene)
        )
        picture = _picture(scene, None, self.area, nothing)
        return _SceneResult(nothing, None, picture, _image(scene, picture, self.area))

    def _count_not_georeferenced(
        self, candidate: Candidate, id: str, progress: Callable[[int, int], None]
    ) -> _SceneResult:
        """Count all freight cars of an image without a position: nobody knows which lie in the area."""
        scene = candidate.scene
        detections = self._detect(scene, None, progress)
        freight = (detections.frame["category"] == "freight").to_numpy()
        total = detections.interval
        observation = self._observation(
            candidate,
            id,
            detections.valid_fraction,
            0.0,
            count=float(total.count),
            count_low=float(total.low),
            count_high=float(total.high),
            occupied_length_m=round(float(detections.frame.loc[freight, "length_m"].sum()), 1),
            count_by_type=detections.count_by_type,
            warnings=(
                "The image has no position: all freight cars in it are counted, whether or not it shows just "
                f"the area, none for zones and tracks, at {scene.gsd_m:g} m a pixel as declared.",
                *_sentences(scene),
                *detections.warnings,
            ),
        )
        frame = detections.frame.assign(image=candidate.path.name, counted=freight)
        found = replace(detections, frame=frame)
        return _SceneResult(observation, found, _picture(scene, found, self.area, observation))

    def _observation(
        self, candidate: Candidate, id: str, clear: float, hidden: float, **values: Any
    ) -> Observation:
        settings = self.config.detector
        provenance = {
            "file": candidate.path.name,
            "sha256": candidate.content(),
            "gsd_m": candidate.gsd_m,
            **provenance_of(self.detector, self.area, self.config.counting_digest),
            "types_checksum": getattr(self.detector, "types_checksum", None),
            "backend": getattr(self.detector, "backend", None),
            "threshold": settings.threshold or self.detector.threshold,
            **_of_parts(candidate),
        }
        counts: dict[str, Any] = dict.fromkeys(("count", "count_low", "count_high"))
        return Observation(
            id=id,
            aoi=self.area.name,
            scene=candidate.id,
            datetime=candidate.datetime,
            sensor=candidate.sensor,
            method="wagons",
            clear_fraction=round(min(1.0, clear), 4),
            hidden_fraction=round(hidden, 4),
            provenance=provenance,
            geometry=geometry_json(self.area.boundary),
            **(counts | values),
        )


def _unseen_reason(seen: float, area: AreaOfInterest) -> str:
    where = f"along {_percent(seen)} of the tracks' length" if area.tracks and seen else "in the area"
    return (
        f"{'A' if seen else 'No'} railway is seen {where}{' only' if seen else ''}: clouds, snow or darkness "
        "hide it, or the image lies elsewhere."
    )


def _sentences(scene: Scene) -> tuple[str, ...]:
    """Return what is doubtful about a scene as sentences of an observation."""
    return tuple(f"{text[0].upper()}{text[1:]}." for text in scene.warnings)


def _of_parts(candidate: Candidate) -> dict[str, Any]:
    """Return what a count rests on that was made on several files, and which older ones it stands for."""
    before = candidate.instead_of
    if not candidate.parts:
        return {}
    aliases = [part.content() for part in candidate.parts]
    if before is not None:
        aliases.append(str(before.provenance.get("acquisition") or before.provenance.get("sha256")))
    return {
        "files": [part.path.name for part in candidate.parts],
        "acquisition": candidate.content(),
        "acquisition_aliases": list(dict.fromkeys(aliases)),
    }


def _picture(*given: Any) -> bytes | None:
    """The picture that shows what was counted; matplotlib is imported when there is something to show."""
    from railwatch.pages.pictures.boxes import render

    return render(*given)


def _image(scene: Scene, picture: bytes | None, area: AreaOfInterest) -> bytes | None:
    """The ground of a picture without drawings, or None where there is no picture."""
    if picture is None:
        return None
    from railwatch.pages.pictures.boxes import without_drawings

    return without_drawings(scene, picture, area)


def _percent(fraction: float) -> str:
    """Return a share in per cent, without rounding what is there to nothing or what is missing to all."""
    if 0.0 < fraction < 0.01:
        return "less than 1%"
    return "more than 99%" if 0.99 < fraction < 1.0 else f"{fraction:.0%}"


def _load(config: RunConfig) -> Detector:
    from detector.wagons.detector import WagonDetector

    settings = config.detector
    return WagonDetector.load(_path(settings.weights), settings.device, settings.backend)


def _load_estimator(config: RunConfig) -> Estimator:
    from detector.occupancy.estimator import OccupancyEstimator

    settings = config.occupancy
    return OccupancyEstimator.load(_path(settings.weights), settings.device, settings.backend)


def _path(given: str | None) -> Path | None:
    return None if given is None else Path(given)
