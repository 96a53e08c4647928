"""Drawing and sensors: labels lie on what is drawn, shadows and lean fall the right way, all repeatable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from detector.errors import LabelError
from detector.simulators import (
    GSD_RANGE_M,
    KINDS,
    SPLITS,
    BackgroundLibrary,
    SceneSpec,
    degrade,
    pictures,
    random_scene,
    render,
    render_scene,
    sensors,
)
from detector.simulators.procedural.roofs import wagon_patch
from detector.simulators.procedural.spec import (
    Consist,
    Prop,
    Sun,
    Surface,
    TrackSpec,
    ViewGeometry,
    Wagon,
    Weather,
)

SURFACE = Surface(("gravel", "gravel"), 0.1, 0.5, None, (1.0, 1.0, 1.0), 5)


def wagon(x: float, y: float, angle: float = 0.0, **more: object) -> Wagon:
    white = (0.6, 0.6, 0.6)
    base = Wagon("box", 0, x, y, angle, 14.0, 3.0, 4.0, white, "white", "none", white, 11, 12)
    return replace(base, **more)  # type: ignore[arg-type]


def stage(
    *wagons: Wagon, sun: Sun | None = None, view: ViewGeometry | None = None, props: tuple[Prop, ...] = ()
) -> SceneSpec:
    """Wagons on plain gravel, 60 m square."""
    return SceneSpec(
        "yard",
        "train",
        9,
        (60.0, 60.0),
        SURFACE,
        consists=tuple(Consist(0, (w,)) for w in wagons),
        props=props,
        sun=sun or Sun(180.0, 60.0),
        view=view or ViewGeometry(0.0, 0.0),
        weather=Weather("dry", 0.0, 0.0, 0.0),
    )


def outline(length: float, width: float, angle: float) -> np.ndarray:
    """A kernel of a box's shape."""
    n = 2 * int(length / 2 + 2) + 1
    mask = np.zeros((n, n), np.float32)
    corners = cv2.boxPoints(((n // 2, n // 2), (length, width), angle))
    cv2.fillPoly(mask, [np.rint(corners * 16).astype(np.int32)], 1.0, cv2.LINE_8, 4)
    return mask / mask.sum()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of background pictures like the real one's, small."""
    out = tmp_path_factory.mktemp("backgrounds")
    rng = np.random.default_rng(4)
    for kind in ("freeway", "buildings", "beach"):
        for number in range(100):
            low = rng.integers(40, 200, (8, 8, 3), dtype=np.uint8)
            cv2.imwrite(str(out / f"{kind}{number:02d}.jpg"), cv2.resize(low, (64, 64)))
    (out / "rail.csv").write_text("image,rail,n_railcars,note\nbuildings05.tif,yes,0,a siding\n")
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_renders_at_every_resolution(kind: str, folder: Path) -> None:
    library = BackgroundLibrary(folder)
    for split, gsd_m in zip(SPLITS, (GSD_RANGE_M[0], 0.6, GSD_RANGE_M[1]), strict=True):
        rng = np.random.default_rng([3, 17])
        spec = random_scene(rng, split=split, size_m=44.0, kind=kind, backgrounds=library)
        fine = render_scene(spec, backgrounds=library)
        for wanted in (gsd_m, 0.45):
            seen = degrade(fine, rng, gsd_m=wanted)
            assert seen.gsd_m == pytest.approx(wanted, rel=0.01)
            assert seen.image.dtype == np.uint8
            assert seen.image.shape == (int(44 / wanted + 1e-6), int(44 / wanted + 1e-6), 3)
            assert seen.image.std() > 1.0
            n = len(seen.boxes)
            assert n == len(seen.category) == len(seen.wagon_type) == len(seen.visibility)
            assert ((seen.visibility >= 0) & (seen.visibility <= 1)).all()
            assert ((seen.boxes[:, 4] >= 0) & (seen.boxes[:, 4] < 180)).all()
            assert (seen.boxes[:, 2] > seen.boxes[:, 3]).all()
            # Only a picture that is known to show tracks, shown as it is, leaves tracks undrawn.
            assert seen.meta["track_labels_complete"] or kind == "background"
            assert len(seen.tracks) == len(seen.track_gauge) == len(spec.tracks)


def test_equal_seeds_make_equal_pictures() -> None:
    one, two = (
        pictures(np.random.default_rng(8), size_m=60.0, kind="yard", gsd_m=(0.5, None)) for _ in range(2)
    )
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(a.image, b.image)
        assert np.array_equal(a.boxes, b.boxes)
        assert a.meta == b.meta
    assert not np.array_equal(one[0].image, one[1].image)


@pytest.mark.parametrize("gsd_m", [0.3, 0.5, 1.0])
@pytest.mark.parametrize("angle", [0.0, 33.0, 90.0, 140.0])
def test_boxes_lie_on_their_wagons(gsd_m: float, angle: float) -> None:
    spec = stage(wagon(22.3, 31.9, angle, type="flat", height_m=1.2))  # flat: evenly bright, hardly a shadow
    sensor = next(s for s in sensors("train") if s.name == "satellite-pan")
    seen = render(spec, np.random.default_rng(1), gsd_m, sensor)
    cx, cy, length, width, turned = seen.boxes[0]
    assert [cx * seen.gsd_m, cy * seen.gsd_m] == pytest.approx([22.3, 31.9], abs=0.02)
    assert [length * seen.gsd_m, width * seen.gsd_m] == pytest.approx([14.0, 3.0], rel=1e-3)
    assert turned == pytest.approx(angle)
    # Moving the outline about, it holds the most light where the label says.
    light = cv2.filter2D(seen.image.mean(axis=2), -1, outline(length, width, angle))
    y, x = np.unravel_index(np.argmax(light), light.shape)
    assert [x + 0.5, y + 0.5] == pytest.approx([cx, cy], abs=max(1.0, 0.4 / gsd_m))


@pytest.mark.parametrize(("azimuth", "dx", "dy"), [(180, 0, -1), (90, -1, 0), (0, 0, 1), (270, 1, 0)])
def test_shadows_fall_away_from_the_sun(azimuth: float, dx: int, dy: int) -> None:
    fine = render_scene(stage(wagon(30, 30), sun=Sun(azimuth, 45.0)))
    values = fine.rgb.mean(axis=2)

    def at(x_m: float, y_m: float) -> float:
        x, y = round(x_m / fine.metres_per_px), round(y_m / fine.metres_per_px)
        return float(values[y - 2 : y + 3, x - 2 : x + 3].mean())

    reach_x, reach_y = 7.0 + 2.0, 1.5 + 2.0  # two metres beyond the body; the shadow is four metres long
    shaded = at(30 + dx * reach_x, 30 + dy * reach_y)
    sunny = at(30 - dx * reach_x, 30 - dy * reach_y)
    assert shaded < 0.75 * sunny
    beyond = at(30 + dx * (reach_x + 4), 30 + dy * (reach_y + 4))
    assert beyond == pytest.approx(sunny, rel=0.1)


def test_a_shadow_reaches_the_neighbouring_string() -> None:
    alone = render_scene(stage(wagon(30, 30), sun=Sun(180.0, 22.0)))
    beside = render_scene(stage(wagon(30, 30), wagon(30, 34.5, height_m=6.5), sun=Sun(180.0, 22.0)))
    row = np.s_[round(30.8 / 0.2) : round(31.2 / 0.2), round(27 / 0.2) : round(33 / 0.2)]
    assert beside.rgb[row].mean() < 0.8 * alone.rgb[row].mean()


@pytest.mark.parametrize("towards", [0.0, 90.0, 225.0])
def test_tall_things_lean_as_the_view_says(towards: float) -> None:
    straight = render_scene(stage(wagon(30, 30, height_m=5.0)))
    oblique = render_scene(stage(wagon(30, 30, height_m=5.0), view=ViewGeometry(30.0, towards)))
    lean = np.array([np.sin(np.radians(towards)), -np.cos(np.radians(towards))]) * np.tan(np.radians(30.0))
    assert oblique.lean_m == pytest.approx(tuple(lean))

    def roof(values: np.ndarray) -> np.ndarray:
        grey = values.mean(axis=2)
        y, x = np.nonzero(grey > np.percentile(grey, 99.2))
        return np.array([x.mean(), y.mean()]) * 0.2

    moved = roof(oblique.rgb) - roof(straight.rgb)
    assert moved == pytest.approx(5.0 * lean, abs=0.7)
    seen = degrade(oblique, np.random.default_rng(2), gsd_m=0.5)
    assert seen.boxes[0, :2] * seen.gsd_m == pytest.approx(np.array([30, 30]) + 2.5 * lean, abs=0.02)


def test_visibility_tells_what_the_border_and_bridges_hide() -> None:
    bridge = Prop("overpass", 30, 45, 0.0, 70.0, 12.0, 7.0, (0.3, 0.3, 0.3), "concrete", 3, over=True)
    spec = stage(
        wagon(30, 10),
        wagon(0.0, 20),
        wagon(30, 45),
        wagon(57.0, 30, 0.0),
        props=(bridge,),
        sun=Sun(180.0, 70.0),
    )
    seen = render(spec, np.random.default_rng(3), 0.4)
    assert seen.visibility[0] > 0.97
    assert seen.visibility[1] == pytest.approx(0.5, abs=0.06)
    assert seen.visibility[2] < 0.2
    assert seen.visibility[3] == pytest.approx(10 / 14, abs=0.06)
    # The border shortens no box.
    assert seen.boxes[1, 2] * seen.gsd_m == pytest.approx(14.0, rel=1e-3)


def test_an_empty_gondola_is_darker_inside_than_on_its_rim() -> None:
    spec = stage(wagon(30, 30, type="gondola_empty", height_m=3.6), sun=Sun(180.0, 35.0))
    grey = render_scene(spec).rgb.mean(axis=2)
    middle = grey[round(30.4 / 0.2), round(26 / 0.2) : round(34 / 0.2)].mean()
    rim = grey[round(28.6 / 0.2), round(26 / 0.2) : round(34 / 0.2)].mean()
    assert middle < 0.75 * rim


def test_a_livery_changes_the_paint_but_neither_place_nor_height() -> None:
    plain = wagon_patch(wagon(30.0, 30.0), Sun(180.0, 60.0))
    for livery in range(1, 12):
        worn = wagon_patch(wagon(30.0, 30.0, livery=livery), Sun(180.0, 60.0))
        again = wagon_patch(wagon(30.0, 30.0, livery=livery), Sun(180.0, 60.0))
        np.testing.assert_array_equal(worn.rgb, again.rgb)
        np.testing.assert_array_equal(worn.height, plain.height)
        assert np.abs(worn.rgb.astype(int) - plain.rgb).mean() > 1.0


def test_a_shrunk_picture_keeps_its_boxes() -> None:
    fine = render_scene(stage(wagon(30.0, 24.0, 0.0, colour=(0.9, 0.9, 0.9)), sun=Sun(180.0, 88.0)))
    shrunk = next(s for s in sensors("train") if s.kernel == "shrunk")
    seen = degrade(fine, np.random.default_rng(3), gsd_m=0.8, sensor=shrunk)
    x, y, length, width, _ = seen.boxes[0]
    inside = seen.image[
        int(y - width / 4) : int(y + width / 4) + 1, int(x - length / 3) : int(x + length / 3)
    ]
    assert inside.mean() > np.median(seen.image) + 15


def test_rails_and_beds_show() -> None:
    track = TrackSpec(
        0,
        ((0.0, 30.0), (60.0, 30.0)),
        1520,
        replace(SURFACE, ramp=("coal",)),
        3.5,
        "concrete",
        0.3,
        "shiny",
        0.1,
        0.0,
    )
    grey = render_scene(replace(stage(), tracks=(track,))).rgb.mean(axis=2)
    profile = grey[:, 60:240].mean(axis=1)
    bed = profile[round(28.4 / 0.2) : round(31.6 / 0.2)]
    assert bed.mean() < 0.75 * profile[50]
    rails = [round((30 + side * 0.795) / 0.2) for side in (-1, 1)]
    for rail in rails:
        assert profile[rail - 1 : rail + 2].max() > np.median(bed) * 1.1


def test_scenes_on_pictures(folder: Path) -> None:
    library = BackgroundLibrary(folder)
    rng = np.random.default_rng(6)
    spec = random_scene(
        rng, split="train", size_m=60.0, kind="yard", backgrounds=library, background_share=1.0
    )
    train = {p.file for p in library.of("train", ground=True, rail=False)}
    assert spec.backgrounds
    assert {p.file for p in spec.backgrounds} <= train
    assert not any("beach" in f for f in train)
    assert "buildings05.jpg" not in train
    assert train.isdisjoint({p.file for p in library.of("test")})
    plain = render_scene(replace(spec, backgrounds=()))
    assert not np.array_equal(render_scene(spec, backgrounds=library).rgb, plain.rgb)
    with pytest.raises(LabelError, match="name their folder"):
        render_scene(spec)


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="holds no pictures"):
        BackgroundLibrary(tmp_path)
    with pytest.raises(LabelError, match="doesn't exist"):
        BackgroundLibrary(tmp_path / "none")
