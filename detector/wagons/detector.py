"""Wagons in a scene: tiles through the network, candidates through the judge, boxes to the map."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aoi import AreaOfInterest
from detector.errors import ResolutionError, WeightsError
from detector.wagons import TILE_PX
from detector.wagons.boxes import Boxes, suppress
from detector.wagons.categories import FREIGHT, NOT_TYPED
from detector.wagons.count_interval import CountModel
from detector.wagons.decode import F32, STRIDE, Candidates, Maps, decode, mirrored, owned_by
from detector.wagons.detections import BoxTable, Detections, image_name
from detector.wagons.rakes import FreightOdds, category_probability
from detector.wagons.rescoring import Rescorer, features
from detector.wagons.track_sight import RailwayWatch
from detector.wagons.type_network import CandidateCuts, shipped_types
from detector.wagons.weights import MapNetwork, Weights, WeightsHead, load_network, torch_maps
from geo import Scene, Tile, TileGrid, boxes_to_map, tiles, valid_fraction
from geo.orientation import upright
from geo.sentinel2 import OCCUPANCY_PRODUCTS
from geo.tiles import HALO_PX, WORK_GSD_M, batches

logger = logging.getLogger(__name__)

MINIMUM_CENTRE_SCORE = 0.06
MINIMUM_PROBABILITY = 0.02
SAME_WAGON_IOU = 0.25
# Two wagons can't stand closer than 8 m along and 4 m across: a tile with more candidates than that is noise.
SMALLEST_PLOT_M2 = 32.0
NO_RAILWAY = "no railway is seen on the image: clouds, snow or darkness may hide one"
GSD_RANGE_M = (0.1, 1.2)
TRAINED_GSD_M = (0.28, 1.05)
MIRRORS: tuple[tuple[int, ...], ...] = ((), (2,), (3,), (2, 3))
"""Axes of the maps along which a test-time augmentation (`careful`) turns a tile over."""

Watch = Callable[[Tile, Maps[F32]], None]
"""Sees the maps of each tile as they come."""


class RescoredCandidates(NamedTuple):
    """Candidates of a picture with their probabilities, in work pixels, best first."""

    boxes: Boxes
    category: NDArray[np.int64]
    probability: NDArray[np.float64]
    features: NDArray[np.float64]
    categories: NDArray[np.float64]  # (N, 3) probability of each category, if it is a rail vehicle
    row: NDArray[np.int64]  # (N,) which of the given candidates each was

    @property
    def freight(self) -> NDArray[np.float64]:
        """Probability that each is a freight car, if it is a rail vehicle."""
        return self.categories[:, 0]


class WagonDetector:
    """The shipped detector, or one with other weights.

    Attributes:
        name: Of the weights.
        version: Of the weights.
        checksum: SHA-256 of the weights file.
        card: Data, training and figures of the weights.
        threshold: Probability from which a candidate is drawn as a wagon.
        gsd_range_m: Ground sampling distances that are accepted, metres.

    Args:
        loaded: Weights; without their network where one is given.
        device: Where torch runs the network, unless one is given.
        network: What runs the network, as `load` chooses it.
    """

    def __init__(self, loaded: WeightsHead, device: str = "auto", *, network: MapNetwork | None = None):
        self.card: dict[str, Any] = loaded.card
        self.name = str(loaded.card.get("name", loaded.path.stem))
        self.version = str(loaded.card.get("version", "0"))
        self.checksum = loaded.checksum
        try:
            self.threshold = float(loaded.card.get("threshold", 0.5))
            self.count_model = CountModel.from_json(loaded.card.get("count_model", {}))
            low, high = loaded.card.get("gsd_range_m", GSD_RANGE_M)
            self.gsd_range_m = (float(low), float(high))
            self.freight_calibrated = "freight_odds" in loaded.card
            self.freight_odds = FreightOdds(*map(float, loaded.card.get("freight_odds", FreightOdds())))
        except (TypeError, ValueError, AttributeError) as error:
            raise WeightsError(f"{loaded.path}: its card holds a wrong figure ({error})") from error
        if network is None:
            if not isinstance(loaded, Weights):
                raise TypeError("a detector needs a network: whole weights, or something that runs it")
            network = torch_maps(loaded, device)
        self._network = network
        self._judge: Rescorer = loaded.judge

    @classmethod
    def load(
        cls,
        path: str | Path | None = None,
        device: str = "auto",
        backend: str = "auto",
        *,
        later: bool = False,
    ) -> WagonDetector:
        """The shipped weights, or those of a .safetensors file with its card beside it.

        Args:
            path: The file; None for the shipped weights.
            device: auto, cpu or cuda.
            backend: auto, openvino (with a form of the network beside the weights) or torch.
            later: Let OpenVINO load its form while the first scene is read, and `detect` say what is wrong
                with it.

        Raises:
            WeightsError: The weights are missing, damaged or not ours.
            InputError: The device or the backend isn't there.

        Example:
            >>> from importlib.resources import files
            >>> from geo import open_scene
            >>> scene = open_scene(files("sample_tiles") / "sample-yard_20250308T103500Z.tif")
            >>> WagonDetector.load(device="cpu").detect(scene).frame.columns.tolist()[:2]
            ['score', 'category']
        """
        head, network = load_network(path, device, backend, later=later)
        return cls(head, network=network)

    @property
    def backend(self) -> str:
        """What runs the network, for the record: "openvino int8"."""
        return self._network.name

    @property
    def types_checksum(self) -> str:
        """SHA-256 of the weights that tell the types of freight cars."""
        return shipped_types().checksum

    def check_resolution(self, scene: Scene) -> None:
        """Refuse a scene on which wagons can't be told apart.

        Raises:
            ResolutionError: The ground sampling distance is outside ``gsd_range_m``.
        """
        low, high = self.gsd_range_m
        if scene.gsd_m > high:
            raise ResolutionError(
                f"{scene.path}: {scene.gsd_m:.3g} m a pixel is too coarse to see wagons one by one "
                f"(a wagon is about {14 / scene.gsd_m:.2g} x {3 / scene.gsd_m:.1g} pixels; the detector "
                f"needs {high:g} m or finer); how much of a yard's track is occupied can be told from "
                f"series of {OCCUPANCY_PRODUCTS} (railwatch run)"
            )
        if scene.gsd_m < low:
            raise ResolutionError(
                f"{scene.path}: {scene.gsd_m:.3g} m a pixel is finer than the {low:g} m this detector knows; "
                "check the ground sampling distance, or resample the image"
            )

    def detect(
        self,
        scene: Scene,
        area: AreaOfInterest | None = None,
        *,
        tile_px: int = TILE_PX,
        batch_size: int = 1,
        threshold: float | None = None,
        careful: bool = False,
        progress: Callable[[int, int], None] | None = None,
        watch: Watch | None = None,
    ) -> Detections:
        """Wagons of a scene, or of an area in it.

        Args:
            scene: An opened scene of 1.2 m or finer.
            area: Only tiles that touch its boundary are looked at; wagons just outside may be among the
                answer.
            tile_px: Core of a tile in work pixels (0.5 m), a multiple of 32.
            batch_size: Tiles that go through the network at once.
            threshold: Probability from which a candidate is a wagon; the weights' own by default.
            careful: Look at each tile and its three mirror images, which takes four times as long.
            progress: Called with tiles done and tiles in all.
            watch: Called with each tile and the network's maps of it (a batch of one), for those who want
                more of the same pass than wagons. Tiles are those of the scene with north up
                (`geo.orientation.upright`).

        Raises:
            ResolutionError: The scene is too coarse or too fine.
            SceneError: The scene can't be read, or the area doesn't touch it.
        """
        self.check_resolution(scene)
        # The network sees north up, however a file stores its rows and columns.
        view = upright(scene)
        grid = TileGrid.over(view.scene, gsd_m=WORK_GSD_M, core_px=tile_px, halo_px=HALO_PX, area=area)
        parts: list[Candidates] = []
        cuts = CandidateCuts()
        notes: list[str] = []
        railways = RailwayWatch(view.scene, grid, area if scene.georeferenced else None)
        watchers = [railways.take] if watch is None else [railways.take, watch]
        for candidates, tile, capped in self._tiles(
            view.scene, grid, batch_size, progress, watchers, careful
        ):
            if capped:
                notes.append(
                    "a tile held more candidates than wagons have room: counts there are not to be trusted"
                )
            parts.append(owned_by(tile, candidates))
            cuts.add(
                tile.image, parts[-1].moved(-tile.window[0], -tile.window[1]).boxes, parts[-1].centre_logit
            )
        found = self.judge(Candidates.joined(parts), scene.gsd_m)
        covered = valid_fraction(view.scene, area)
        if scene.gsd_m > TRAINED_GSD_M[1] or scene.gsd_m < TRAINED_GSD_M[0]:
            notes.append(
                f"the image has {scene.gsd_m:.2f} m a pixel, the detector was trained on "
                f"{TRAINED_GSD_M[0]:g} to {TRAINED_GSD_M[1]:g} m: the interval is widened"
            )
        if covered < 0.95:
            place = "the area" if area is not None else "the image"
            notes.append(f"only {covered:.0%} of {place} has valid pixels: wagons elsewhere are not counted")
        limit = self.threshold if threshold is None else threshold
        railway = railways.found or bool((found.probability >= limit).any())
        if not railway:
            notes.append(NO_RAILWAY)
        outside = max(0.0, np.log(scene.gsd_m / TRAINED_GSD_M[1]), np.log(TRAINED_GSD_M[0] / scene.gsd_m))
        boxes = view.stored_boxes(grid.work_to_source(found.boxes))
        table = self._table(scene, found, boxes, self._car_types(found, cuts, limit))
        sure = found.probability >= limit
        return Detections(
            frame=table.take(sure),
            below_threshold=table.take((found.probability >= MINIMUM_PROBABILITY) & ~sure),
            scene_id=scene.id,
            gsd_m=scene.gsd_m,
            valid_fraction=covered,
            warnings=tuple(dict.fromkeys(notes)),
            count_model=self.count_model,
            widening=1.0 + 2.0 * outside,
            railway=railway,
            tracks=railways.tracks(),
        )

    def judge(self, candidates: Candidates, source_gsd_m: float) -> RescoredCandidates:
        """Probabilities of one picture's candidates; of those in one place only the best stays."""
        if not len(candidates.boxes):
            none, seen = np.zeros(0, np.int64), features(candidates, source_gsd_m)
            return RescoredCandidates(candidates.boxes, none, np.zeros(0), seen, candidates.category, none)
        kept = suppress(candidates.boxes, candidates.centre_logit, 2 * SAME_WAGON_IOU)
        candidates = candidates.take(kept)
        seen = features(candidates, source_gsd_m)
        probability = self._judge.probability(seen)
        best = suppress(candidates.boxes, probability, SAME_WAGON_IOU)
        boxes, probability = candidates.boxes[best], probability[best]
        categories = category_probability(boxes, probability, candidates.category[best], self.freight_odds)
        return RescoredCandidates(
            boxes, categories.argmax(axis=1).astype(np.int64), probability, seen[best], categories, kept[best]
        )

    def _car_types(
        self, found: RescoredCandidates, cuts: CandidateCuts, threshold: float
    ) -> NDArray[np.int64]:
        """The type of each freight car that is drawn, ``(N,)``, and `NOT_TYPED` for all else."""
        out = np.full(len(found.boxes), NOT_TYPED, np.int64)
        drawn = np.flatnonzero((found.category == FREIGHT) & (found.probability >= threshold))
        if len(drawn):
            out[drawn] = cuts.types(shipped_types(), found.row[drawn], found.boxes[drawn])
        return out

    def candidates(
        self,
        images: list[NDArray[np.uint8]],
        minimum_centre_score: float = MINIMUM_CENTRE_SCORE,
        *,
        careful: bool = False,
    ) -> tuple[list[Candidates], bool]:
        """Candidates of images of one shape ``(H, W, 3)`` at 0.5 m, H and W multiples of 32."""
        return self._decoded(self.maps(images, careful=careful), minimum_centre_score)

    def maps(self, images: Sequence[NDArray[np.uint8]], *, careful: bool = False) -> Maps[F32]:
        """What the network says of images of one shape ``(H, W, 3)`` at 0.5 m, H and W multiples of 32.

        Args:
            images: The images.
            careful: The mean of what it says of them and of their three mirror images.
        """
        batch = images[0][None] if len(images) == 1 else np.stack(images)
        if not careful:
            return self._network.maps(batch)
        views = []
        for axes in MIRRORS:
            turned = np.flip(batch, tuple(axis - 1 for axis in axes))  # the pictures have their channels last
            views.append(mirrored(self._network.maps(np.ascontiguousarray(turned)), *axes))
        return Maps(*(np.asarray(np.mean(fields, axis=0), np.float32) for fields in zip(*views, strict=True)))

    def _decoded(
        self, maps: Maps[F32], minimum_centre_score: float = MINIMUM_CENTRE_SCORE
    ) -> tuple[list[Candidates], bool]:
        cells = maps.heatmap.shape[-2] * maps.heatmap.shape[-1]
        room = int(cells * (STRIDE * WORK_GSD_M) ** 2 / SMALLEST_PLOT_M2)
        return decode(maps, minimum_centre_score=minimum_centre_score, maximum=max(50, room))

    def _tiles(
        self,
        scene: Scene,
        grid: TileGrid,
        batch_size: int,
        progress: Callable[[int, int], None] | None,
        watchers: Sequence[Watch] = (),
        careful: bool = False,
    ) -> Iterator[tuple[Candidates, Tile, bool]]:
        total = len(grid)

        def finished(answer: Future[Maps[F32]], batch: list[Tile]) -> Iterator[tuple[Candidates, Tile, bool]]:
            maps = answer.result()
            for number, tile in enumerate(batch):
                one = Maps(*(field[number : number + 1] for field in maps))
                for watch in watchers:
                    watch(tile, one)
            found, capped = self._decoded(maps)
            for candidates, tile in zip(found, batch, strict=True):
                yield candidates, tile, capped
            if progress is not None:
                progress(batch[-1].index + 1, total)

        # Three things go on at once: a thread reads tiles ahead, the network has one batch at work, and here
        # the batch before it becomes candidates. The network is made ready while the first tile is read.
        with ThreadPoolExecutor(1, "network") as worker:
            worker.submit(self._network.prepare)
            at_work: tuple[Future[Maps[F32]], list[Tile]] | None = None
            for batch in batches(tiles(scene, grid, ahead=batch_size), batch_size):
                begun = worker.submit(self.maps, [tile.image for tile in batch], careful=careful), batch
                if at_work is not None:
                    yield from finished(*at_work)
                at_work = begun
            if at_work is not None:
                yield from finished(*at_work)
        if progress is not None:
            progress(total, total)

    def _table(
        self, scene: Scene, found: RescoredCandidates, boxes: Boxes, car_type: NDArray[np.int64]
    ) -> BoxTable:
        """The candidates, ``boxes`` in pixels of the image, with their measures on the map."""
        placed = boxes_to_map(scene, boxes)
        polygons = np.full(len(boxes), None, dtype=object)
        if scene.georeferenced:
            polygons[:] = placed.polygons
        # What a network says of freight and coach widens the count only where it was calibrated.
        freight = found.freight if self.freight_calibrated else (found.category == FREIGHT).astype(np.float64)
        return BoxTable(
            polygons,
            scene.crs if scene.georeferenced else None,
            score=found.probability,
            category=found.category,
            freight_score=freight,
            car_type=car_type,
            length_m=placed.length_m,
            width_m=placed.width_m,
            azimuth_deg=placed.azimuth_deg,
            pixel_box=boxes,
            image=image_name(scene.path),
            gsd_m=scene.gsd_m,
        )
