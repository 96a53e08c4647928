"""railwatch from Python: what the command line does, with the same defaults, as values.

    >>> import railwatch
    >>> wagons = railwatch.detect("yard.tif")  # doctest: +SKIP
    >>> railwatch.run("images", aoi="yard.geojson", store="my_store")  # doctest: +SKIP
    >>> railwatch.open_store("my_store").verdicts()  # doctest: +SKIP

A mistake in the input raises a subclass of `aoi.errors.InputError` whose message is one sentence. Nothing
here prints, and nothing touches the network.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aoi import AreaOfInterest, area_names, load_area
from aoi.errors import InputError
from detector.wagons import TILE_PX
from railwatch.config import Backend, Device, RunConfig, load_config
from railwatch.pages.charts import ChartKind
from railwatch.store import DEFAULT_STORE
from railwatch.store.areas import ChosenSettings, choose_settings

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd
    from matplotlib.figure import Figure

    from railwatch.history import Verdict
    from railwatch.history.sources import Sources
    from railwatch.pipeline import Progress
    from railwatch.pipeline.run import RunResult
    from railwatch.review.import_counts import ImportResult
    from railwatch.store.store import Store

__all__ = ["Chart", "StoreReader", "detect", "import_counts", "open_store", "run", "run_areas"]

AnyPath = str | PathLike[str]
_SAID_OF_AN_IMAGE = ("gsd_m", "count", "count_low", "count_high", "count_by_type", "valid_fraction")


def detect(
    images: AnyPath | Iterable[AnyPath],
    *,
    gsd_m: float | None = None,
    threshold: float | None = None,
    careful: bool = False,
    tile_px: int = TILE_PX,
    batch_size: int = 1,
    device: Device = "auto",
    backend: Backend = "auto",
    weights: AnyPath | None = None,
) -> gpd.GeoDataFrame:
    """Find the wagons in one or several images of 1 m and finer, as ``railwatch detect`` does.

    Args:
        images: A GeoTIFF, COG, VRT, MBTiles, JPEG or PNG, or several.
        gsd_m: Ground sampling distance in metres, for images without a position.
        threshold: Probability from which a candidate is a wagon; the weights' own by default.
        careful: Look at each tile and its three mirror images: a little better, four times as slow.
        tile_px: Size of a tile in pixels of 0.5 m, a multiple of 32.
        batch_size: Tiles that go through the network at once.
        device: Where the network runs; ``auto`` takes a CUDA GPU when there is one.
        backend: What runs it: ``openvino`` (CPU) or ``torch`` (GPU, CPU); ``auto`` takes the fastest.
        weights: A safetensors file of ours; the shipped weights by default.

    Returns:
        A row a wagon: ``score`` (0 to 1), ``category`` (``freight``, ``locomotive``, ``coach``),
        ``car_type`` of freight cars (``open``, ``covered``, ``tank``, ``flat_or_container``, ``unknown``),
        ``length_m``, ``width_m``, ``azimuth_deg`` (clockwise from grid north), ``image``, ``gsd_m``,
        ``pixel_box``, and the oriented rectangle as geometry: in the image's CRS, in longitude and latitude
        where several images differ, and none for an image without a position. ``attrs["images"]`` has the
        count of freight cars of each image with its 90 % interval, by type, and its warnings.

    Raises:
        InputError: An image can't be read, is too coarse, or needs ``gsd_m``.

    Example:
        >>> from railwatch.selftest.samples import bundled
        >>> with bundled() as samples:
        ...     wagons = detect(samples.tiles[0].path, device="cpu")
        >>> wagons.attrs["images"][0]["count"] == (wagons["category"] == "freight").sum()
        np.True_
    """
    from detector.wagons.detections import joined
    from detector.wagons.detector import WagonDetector
    from geo import open_scene

    given = [Path(images)] if isinstance(images, str | PathLike) else [Path(each) for each in images]
    if not given:
        raise InputError("which images? None was given")
    if tile_px % 32:
        raise InputError(f"tile_px {tile_px}: must be a multiple of 32")
    detector = WagonDetector.load(None if weights is None else Path(weights), device, backend)
    found = [
        detector.detect(
            open_scene(path, gsd_m=gsd_m),
            threshold=threshold,
            careful=careful,
            tile_px=tile_px,
            batch_size=batch_size,
        )
        for path in given
    ]
    table = joined(found)
    table.attrs["images"] = [
        {
            "image": path.name,
            **{name: getattr(one, name) for name in _SAID_OF_AN_IMAGE},
            "warnings": list(one.warnings),
        }
        for path, one in zip(given, found, strict=True)
    ]
    return table


def run(
    scenes: AnyPath | Iterable[AnyPath],
    *,
    aoi: AnyPath | AreaOfInterest | None = None,
    store: AnyPath | None = None,
    config: AnyPath | RunConfig | None = None,
    dates: AnyPath | None = None,
    gsd_m: float | None = None,
    device: Device | None = None,
    backend: Backend | None = None,
    weights: AnyPath | None = None,
    hindcast: bool = False,
    progress: Progress | None = None,
) -> RunResult:
    """Count an area's freight cars on every scene, store, compare, draw and report: ``railwatch run``.

    Run again, it counts only what is new; stopped half-way, it goes on where it was. A scene that can't be
    read is in the result's ``skipped`` and doesn't stop the rest.

    Args:
        scenes: Images, Sentinel-2 products, and folders that are searched for both at any depth.
        aoi: The area: a bundled name, an area file, or an area; by default the one that the store keeps.
        store: The folder that holds the observations; ``railwatch-store`` by default.
        config: A settings file, a bundled name, or settings; by default those that the store keeps.
        dates: A CSV file for images that don't tell when they were taken: columns file and datetime.
        gsd_m: Metres a pixel of images without a position: all freight cars in them are counted.
        device: Where the network runs; by default what the settings say.
        backend: What runs it: ``openvino`` or ``torch``; by default what the settings say.
        weights: A safetensors file of ours; the shipped weights by default.
        hindcast: Sentinel-2: set a date against clear dates after it, too.
        progress: Told of every scene.

    Returns:
        The observations, their verdicts, what was skipped, and where chart and report are.

    Raises:
        InputError: No area is known, or the settings, the area or the store can't be used.
    """
    (result,) = run_areas(
        scenes,
        aoi=aoi,
        store=store,
        config=config,
        dates=dates,
        gsd_m=gsd_m,
        device=device,
        backend=backend,
        weights=weights,
        hindcast=hindcast,
        progress=progress,
    )
    return result


def run_areas(
    scenes: AnyPath | Iterable[AnyPath],
    *,
    aoi: AnyPath | AreaOfInterest | Sequence[AreaOfInterest] | None = None,
    store: AnyPath | None = None,
    config: AnyPath | RunConfig | None = None,
    dates: AnyPath | None = None,
    gsd_m: float | None = None,
    device: Device | None = None,
    backend: Backend | None = None,
    weights: AnyPath | None = None,
    hindcast: bool = False,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> list[RunResult]:
    """Do what `run` does for one or several areas, on as many workers as the work is worth.

    The arguments are those of `run`. Scenes and store may also be fsspec URLs such as ``s3://bucket/store``.
    ``workers`` are processes on this machine, by default as many as its cores and the work ask for;
    ``scheduler`` is the address of a Dask scheduler, whose workers have to reach scenes and store.

    Returns:
        What came of each area.

    Raises:
        InputError: As of `run`; or the workers can't be reached.
    """
    from railwatch.pipeline import many
    from railwatch.pipeline.find_scenes import Dates, read_dates
    from railwatch.store.remote import is_url
    from railwatch.store.store import Store

    given = [Path(scenes)] if isinstance(scenes, str | PathLike) else [Path(each) for each in scenes]
    base = config if isinstance(config, RunConfig) else load_config(_text(config))
    location = Path(store or base.store or DEFAULT_STORE)
    kept = Store.open(location) if is_url(location) else None
    folder = location if kept is None else kept.path
    areas = None if aoi is None or isinstance(aoi, str | PathLike) else _several(aoi)
    chosen = choose_settings(
        base if isinstance(config, RunConfig) else _text(config),
        store=folder,
        aoi=areas[0].name if areas else str(aoi) if isinstance(aoi, str | PathLike) else None,
        scenes__gsd_m=gsd_m,
        detector__device=device,
        detector__backend=backend,
        detector__weights=_text(weights),
        occupancy__device=device,
        occupancy__backend=backend,
        occupancy__hindcast=hindcast or None,
    )
    declared = read_dates(Path(dates)) if dates is not None else Dates()
    return many.run_areas(
        given,
        areas or [_area(chosen, folder)],
        chosen.config,
        kept or Store.open(folder),
        scheduler=scheduler,
        workers=workers,
        dates=declared,
        progress=progress,
    )


def _several(aoi: AreaOfInterest | Sequence[AreaOfInterest]) -> list[AreaOfInterest]:
    return [aoi] if isinstance(aoi, AreaOfInterest) else list(aoi)


def import_counts(
    file: AnyPath,
    *,
    store: AnyPath | None = None,
    aoi: AnyPath | AreaOfInterest | None = None,
    reviewer: str | None = None,
    date_format: str | None = None,
) -> ImportResult:
    """Take a person's own counts from a spreadsheet into a store, as ``railwatch import`` does.

    Args:
        file: A CSV or XLSX file; see `railwatch.review.import_counts`.
        store: The folder that holds the observations; ``railwatch-store`` by default, made if need be.
        aoi: What was counted; by default the area that the store keeps.
        reviewer: Who counted, where no column says it.
        date_format: How dates are written that aren't ISO 8601, such as ``%d/%m/%Y``.

    Raises:
        InputError: The file can't be read, no area is known, or the store can't be written.
    """
    from railwatch.review.import_counts import import_counts as keep_counts
    from railwatch.store.store import Store

    folder = Path(store or DEFAULT_STORE)
    chosen = choose_settings(store=folder, aoi=aoi.name if isinstance(aoi, AreaOfInterest) else _text(aoi))
    area = aoi if isinstance(aoi, AreaOfInterest) else _area(chosen, folder)
    result = keep_counts(Store.open(folder), Path(file), area, reviewer=reviewer, date_format=date_format)
    if result.new and area.name not in chosen.kept:
        Store.open(folder).keep_area(area, chosen.config)
    return result


def _text(path: AnyPath | None) -> str | None:
    return None if path is None else str(path)


def _area(chosen: ChosenSettings, store: Path) -> AreaOfInterest:
    """The area of a run: a file or a bundled area as it is now, else what the store keeps."""
    aoi = chosen.config.aoi
    if aoi is None:
        if len(chosen.kept) == 1:
            return next(iter(chosen.kept.values())).area
        if chosen.kept:
            raise InputError(
                f"which area? {store} keeps {', '.join(chosen.kept)}; choose one with --aoi NAME"
            )
        raise InputError(
            "which area? Give --aoi FILE (an outline from QGIS or Google Earth as KML, GeoJSON, ...) "
            "or --aoi NAME, one of 'railwatch aoi list'"
        )
    if aoi in chosen.kept and aoi not in area_names() and not Path(aoi).is_file():
        return chosen.kept[aoi].area
    return load_area(aoi)


def open_store(path: AnyPath = DEFAULT_STORE) -> StoreReader:
    """Open a store that a run has written, to read it.

    Args:
        path: The store's folder.

    Raises:
        StoreError: There is none, or a newer railwatch wrote it.

    Example:
        >>> open_store("no-such-store")
        Traceback (most recent call last):
        railwatch.errors.StoreError: There is no store at no-such-store; 'railwatch run' makes one.
    """
    from railwatch.store.store import Store

    return StoreReader(Store.open(Path(path), create=False))


@dataclass(frozen=True)
class Chart:
    """A drawn chart; a notebook shows it.

    Attributes:
        figure: The matplotlib figure.
        title: What it shows.
    """

    figure: Figure
    title: str
    _style: Any

    def save(self, path: AnyPath) -> Path:
        """Write it as a .png, .svg or .pdf file.

        Raises:
            ChartError: The ending is another one, or the file can't be written.
        """
        from railwatch.pages.charts.style import write_chart

        return write_chart(self.figure, Path(path), self._style, title=self.title)

    def _repr_png_(self) -> bytes:
        from railwatch.pages.charts.style import to_bytes

        return to_bytes(self.figure, "png", self._style, title=self.title)


@dataclass(frozen=True)
class StoreReader:
    """A store as tables, verdicts and charts; `open_store` gives one.

    The areas, titles and settings are those that the store keeps, so that the verdicts are those of the run
    that wrote it. Each call reads the store anew.

    Attributes:
        store: The store itself, with its STAC Items.
    """

    store: Store

    @property
    def path(self) -> Path:
        """The store's folder."""
        return self.store.path

    @property
    def areas(self) -> tuple[str, ...]:
        """The names of its areas, in alphabetical order."""
        return tuple(sorted({one.aoi for one in self.store.observations()}))

    def counts(self, aoi: str | None = None, *, reviewed: bool = True) -> pd.DataFrame:
        """Return the counts, a row an observation, oldest first.

        Args:
            aoi: Only of this area.
            reviewed: Let a person's count stand in for the machine's; otherwise both are there.

        Returns:
            The columns of ``railwatch export``; see `railwatch.pages.tables`.
        """
        from railwatch.pages.tables import counts_table
        from railwatch.store.observation import current

        sources = self._sources(aoi, None)
        if reviewed:
            sources = replace(sources, observations=tuple(current(sources.observations, reviewed=True)))
        import pandas as pd

        return pd.DataFrame(counts_table(sources).drop(columns="geometry"))

    def detections(self, aoi: str | None = None) -> gpd.GeoDataFrame:
        """Return the boxes behind the counts in longitude and latitude, a row a box.

        Args:
            aoi: Only of this area.
        """
        from railwatch.pages.tables import detections_table

        words = {one.record.id: one.verdict for one in self._verdicts(aoi, None)}
        return detections_table(self.store, self.store.observations(aoi), words)

    def verdicts(self, aoi: str | None = None, *, published: bool | None = None) -> pd.DataFrame:
        """Return what the history says to each count, as ``railwatch compare`` does, oldest first.

        Args:
            aoi: Only of this area.
            published: Take the published counts into the history; by default as in the run.

        Returns:
            The fields of ``railwatch compare --json`` as columns, such as ``datetime``, ``verdict``,
            ``count``, ``history_max``, ``probability_record`` and ``sentence``.
        """
        rows = [one.to_json() for one in self._verdicts(aoi, published)]
        import pandas as pd

        table = pd.DataFrame(rows)
        if rows:
            table["datetime"] = pd.to_datetime(table["datetime"], utc=True)
        return table

    def chart(
        self,
        path: AnyPath | None = None,
        *,
        aoi: str | None = None,
        kind: ChartKind = "series",
        since: date | None = None,
        until: date | None = None,
        published: bool | None = None,
    ) -> Chart:
        """Draw an area's history, as ``railwatch chart`` does.

        Args:
            path: Write it here, too, as .png, .svg or .pdf.
            aoi: The area; not needed where the store has only one.
            kind: ``series``, ``zones``, ``calendar``, ``tracks`` or ``types``.
            since: First day to draw.
            until: Last day to draw.
            published: Take the published counts into the history; by default as in the run.

        Raises:
            ChartError: It can't be drawn from this store, or the file can't be written.
            StoreError: The store has several areas and none is named.
        """
        from railwatch.pages.charts.draw import draw_chart
        from railwatch.pages.charts.style import PageStyle

        chosen = self._chosen(aoi, published)
        style = PageStyle(dpi=chosen.config.chart.dpi)
        drawn = draw_chart(
            self._sources(aoi, published),
            kind,
            style,
            since=since,
            until=until,
            show_published=chosen.config.chart.show_published,
        )
        chart = Chart(drawn.figure, drawn.history.title, style)
        if path is not None:
            chart.save(path)
        return chart

    def report(self, path: AnyPath, *, aoi: str | None = None, published: bool | None = None) -> Path:
        """Write the whole history as one HTML file, as ``railwatch report`` does.

        Args:
            path: The file to write or replace.
            aoi: Only of this area.
            published: Take the published counts into the history; by default as in the run.
        """
        from railwatch.pages.report import write_report

        chosen = self._chosen(aoi, published)
        return write_report(self._sources(aoi, published), Path(path), config=chosen.config).path

    def _chosen(self, aoi: str | None, published: bool | None) -> ChosenSettings:
        return choose_settings(store=self.path, aoi=aoi, baseline__use_published=published)

    def _sources(self, aoi: str | None, published: bool | None) -> Sources:
        from railwatch.history.sources import read_sources

        return read_sources(self.path, aoi, chosen=self._chosen(aoi, published))

    def _verdicts(self, aoi: str | None, published: bool | None) -> Sequence[Verdict]:
        return self._sources(aoi, published).verdicts()

    def _repr_html_(self) -> str:
        counts = self.counts()
        shown = counts[["datetime", "aoi", "sensor", "count", "count_low", "count_high", "clear_fraction"]]
        return str(shown.to_html(index=False, na_rep="", max_rows=20))
