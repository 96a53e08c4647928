"""Label files as other programs write them, against boxes worked out by hand."""

from __future__ import annotations

import itertools
import json
import logging
import math
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from labelling import Pictures, assert_same_boxes, labelled, make_pictures

from detector.labels import read_labels, write_labels
from detector.wagons.count_interval import CountModel
from detector.wagons.detections import Detections, frame_of, write
from geo import boxes_to_map

# A wagon of 40 x 8 pixels whose axis falls by 30 degrees to the right.
SLANTED = [200.0, 150.0, 40.0, 8.0, 30.0]
COS, SIN = math.cos(math.radians(30)), math.sin(math.radians(30))
CORNERS = [
    (200 + a * 20 * COS - b * 4 * SIN, 150 + a * 20 * SIN + b * 4 * COS)
    for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))
]


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    return make_pictures(tmp_path / "images")


def put(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def coco(
    *annotations: dict, images: list[dict] | None = None, categories: tuple[str, ...] = ("wagon",)
) -> dict:
    return {
        "images": images or [{"id": 7, "file_name": "plain.png", "width": 400, "height": 300}],
        "annotations": [
            {"id": i, "image_id": 7, "category_id": 1, **a} for i, a in enumerate(annotations, 1)
        ],
        "categories": [{"id": i, "name": name} for i, name in enumerate(categories, 1)],
    }


class TestCoco:
    def test_a_bare_box_is_upright(self, pictures: Pictures, caplog: pytest.LogCaptureFixture) -> None:
        path = put(pictures.folder / "c.json", coco({"bbox": [10, 20, 6, 30]}, {"bbox": [50, 60, 30, 6]}))
        with caplog.at_level(logging.WARNING):
            (image,) = read_labels(path)
        np.testing.assert_allclose(image.boxes, [[13, 35, 30, 6, 90], [65, 63, 30, 6, 0]])
        assert "2 boxes are upright rectangles" in caplog.text

    def test_an_outline_gives_an_oriented_box(
        self, pictures: Pictures, caplog: pytest.LogCaptureFixture
    ) -> None:
        flat = [v for corner in CORNERS for v in corner]
        # The outline wins over the box, which is upright.
        path = put(pictures.folder / "c.json", coco({"segmentation": [flat], "bbox": [180, 135, 40, 30]}))
        with caplog.at_level(logging.WARNING):
            (image,) = read_labels(path)
        assert_same_boxes(image.boxes, np.array([SLANTED]), 1e-6)
        assert not caplog.records

    def test_an_outline_of_many_points_gives_the_smallest_rectangle(self, pictures: Pictures) -> None:
        points = [CORNERS[0], CORNERS[1], CORNERS[2], CORNERS[3], (CORNERS[0][0], CORNERS[0][1])]
        middle = [((a + c) / 2, (b + d) / 2) for (a, b), (c, d) in itertools.pairwise(points)]
        flat = [v for pair in zip(points, middle, strict=False) for corner in pair for v in corner]
        path = put(pictures.folder / "c.json", coco({"segmentation": [flat]}))
        assert_same_boxes(read_labels(path)[0].boxes, np.array([SLANTED]), 1e-6)

    def test_cvat_turns_about_the_centre(self, pictures: Pictures) -> None:
        box = {"bbox": [180, 146, 40, 8], "attributes": {"rotation": 30}}
        (image,) = read_labels(put(pictures.folder / "c.json", coco(box)))
        np.testing.assert_allclose(image.boxes, [SLANTED])

    @pytest.mark.parametrize("packed", [False, True])
    def test_a_mask(self, pictures: Pictures, packed: bool) -> None:
        # Columns 10 to 39, rows 100 to 105, column by column: 30 runs of six.
        gap = 300 - 6
        runs = [10 * 300 + 100, *([6, gap] * 29), 6, 360 * 300 + 194]
        assert sum(runs) == 400 * 300
        counts = pack(runs) if packed else runs
        (image,) = read_labels(
            put(pictures.folder / "c.json", coco({"segmentation": {"size": [300, 400], "counts": counts}}))
        )
        np.testing.assert_allclose(image.boxes, [[25, 103, 30, 6, 0]], atol=1e-9)

    def test_ignored_boxes_and_crowds(self, pictures: Pictures) -> None:
        crowd = {
            "iscrowd": 1,
            "bbox": [100, 100, 50, 20],
            "segmentation": {"size": [300, 400], "counts": [120000]},
        }
        path = put(pictures.folder / "c.json", coco({"bbox": [10, 20, 30, 6], "ignore": 1}, crowd))
        (image,) = read_labels(path)
        assert image.ignored.tolist() == [True]
        assert image.ignore_areas[0].equals(shapely.box(100, 100, 150, 120))

    def test_images_without_annotations_are_negatives(self, pictures: Pictures) -> None:
        images = [{"id": 7, "file_name": "plain.png"}, {"id": 8, "file_name": "metric.tif"}]
        path = put(pictures.folder / "c.json", coco({"bbox": [10, 20, 30, 6]}, images=images))
        found = {image.name: image for image in read_labels(path)}
        assert (len(found["plain.png"].boxes), len(found["metric.tif"].boxes)) == (1, 0)
        assert found["metric.tif"].labelled

    def test_images_in_a_folder_of_their_own(self, pictures: Pictures) -> None:
        images = [{"id": 7, "file_name": "train/deep/plain.png"}]
        path = put(pictures.folder.parent / "annotations" / "c.json", coco(images=images))
        (image,) = read_labels(path, images=pictures.folder)
        assert image.image == pictures.plain


def pack(runs: list[int]) -> str:
    """COCO's packed runs, by its description: differences to the run two before, five bits a character."""
    text = ""
    for i, run in enumerate(runs):
        value = run - runs[i - 2] if i > 2 else run
        while True:
            bits = value & 0x1F
            value >>= 5
            more = value != (-1 if bits & 0x10 else 0)
            text += chr((bits | (0x20 if more else 0)) + 48)
            if not more:
                break
    return text


class TestVoc:
    def document(self, *objects: str, size: str = "<width>400</width><height>300</height>") -> str:
        inner = "".join(f"<object>{o}</object>" for o in objects)
        return f"<annotation><filename>plain.png</filename><size>{size}</size>{inner}</annotation>"

    def test_boxes_of_all_kinds(self, pictures: Pictures, caplog: pytest.LogCaptureFixture) -> None:
        turned = f"<cx>200</cx><cy>150</cy><w>40</w><h>8</h><angle>{math.radians(30)}</angle>"
        # The same box, its sides the other way round.
        tall = f"<cx>200</cx><cy>150</cy><w>8</w><h>40</h><angle>{math.radians(120)}</angle>"
        names = [
            f"{axis}_{c}" for c in ("left_top", "right_top", "right_bottom", "left_bottom") for axis in "xy"
        ]
        flat = [v for corner in CORNERS for v in corner]
        four = "".join(f"<{n}>{v}</{n}>" for n, v in zip(names, flat, strict=True))
        many = "".join(f"<x{i}>{x}</x{i}><y{i}>{y}</y{i}>" for i, (x, y) in enumerate(CORNERS, 1))
        text = self.document(
            f"<name>Gondola</name><robndbox>{turned}</robndbox>",
            f"<name>locomotive</name><difficult>1</difficult><robndbox>{tall}</robndbox>",
            f"<name>Passenger Car</name><robndbox>{four}</robndbox>",
            f"<name>wagon</name><polygon>{many}</polygon>",
            "<name>tank-car</name><bndbox><xmin>10</xmin><ymin>20</ymin><xmax>16</xmax><ymax>50</ymax></bndbox>",
        )
        with caplog.at_level(logging.WARNING):
            (image,) = read_labels(put(pictures.folder / "plain.xml", text))
        assert_same_boxes(image.boxes, np.array([SLANTED] * 4 + [[13, 35, 30, 6, 90]]), 1e-4)
        assert image.category.tolist() == [0, 1, 2, 0, 0]
        assert image.ignored.tolist() == [False, True, False, False, False]
        assert "1 boxes are upright" in caplog.text

    def test_degrees_are_told_from_radians_over_all_files(self, pictures: Pictures) -> None:
        for name, angle in (("plain", 3), ("metric", 120)):
            box = f"<cx>200</cx><cy>150</cy><w>40</w><h>8</h><angle>{angle}</angle>"
            put(
                pictures.folder / f"{name}.xml",
                self.document(f"<name>wagon</name><robndbox>{box}</robndbox>"),
            )
        found = {image.name: image for image in read_labels(pictures.folder)}
        assert found["plain.png"].boxes[0, 4] == pytest.approx(3)
        assert found["metric.tif"].boxes[0, 4] == pytest.approx(120)

    def test_a_sidecar_of_gdal_is_no_label(self, pictures: Pictures) -> None:
        put(pictures.folder / "plain.xml", self.document())
        put(pictures.folder / "metric.tif.aux.xml", "<PAMDataset></PAMDataset>")
        assert [image.name for image in read_labels(pictures.folder)] == ["plain.png"]

    def test_the_image_is_found_by_the_name_in_the_file(self, pictures: Pictures) -> None:
        path = put(pictures.folder.parent / "annotations" / "0001.xml", self.document())
        (image,) = read_labels(path, images=pictures.folder)
        assert image.image == pictures.plain


class TestYolo:
    def test_corners_boxes_and_outlines(self, pictures: Pictures, caplog: pytest.LogCaptureFixture) -> None:
        shares = [v / s for corner in CORNERS for v, s in zip(corner, (400, 300), strict=True)]
        middle = [(CORNERS[0][0] + CORNERS[1][0]) / 800, (CORNERS[0][1] + CORNERS[1][1]) / 600]
        lines = [
            [1, *shares],
            [0, 13 / 400, 35 / 300, 6 / 400, 30 / 300],
            [2, *shares[:2], *middle, *shares[2:]],
        ]
        put(
            pictures.folder.parent / "labels" / "plain.txt",
            "\n".join(" ".join(map(str, line)) for line in lines),
        )
        with caplog.at_level(logging.WARNING):
            (image,) = read_labels(pictures.folder.parent / "labels")
        assert_same_boxes(image.boxes, np.array([SLANTED, [13, 35, 30, 6, 90], SLANTED]), 1e-4)
        assert image.category.tolist() == [1, 0, 2]
        assert "1 boxes are upright" in caplog.text

    @pytest.mark.parametrize(
        ("file", "text"),
        [
            ("classes.txt", "locomotive\nwagon\n"),
            ("data.yaml", "train: images\nnames: [locomotive, 'wagon']\nnc: 2\n"),
            ("data.yaml", "names:\n  - locomotive\n  - wagon  # all of them\nnc: 2\n"),
            ("dataset.yaml", 'nc: 2\nnames:\n  0: locomotive\n  1: "wagon"\n'),
            ("data.yaml", "names: {0: locomotive, 1: wagon}\n"),
        ],
    )
    def test_class_names(self, pictures: Pictures, file: str, text: str) -> None:
        root = pictures.folder.parent
        put(root / file, text)
        put(root / "labels" / "plain.txt", "0 0.5 0.5 0.1 0.02\n1 0.5 0.6 0.1 0.02\n")
        (image,) = read_labels(root / "labels")
        assert image.category.tolist() == [1, 0]

    def test_an_empty_file_is_a_negative_and_no_file_is_nothing(self, pictures: Pictures) -> None:
        put(pictures.folder / "plain.txt", "")
        put(pictures.folder / "classes.txt", "wagon\n")
        (image,) = read_labels(pictures.folder)
        assert (image.image, len(image.boxes), image.labelled) == (pictures.plain, 0, True)


class TestDota:
    def test_lines_and_header(self, pictures: Pictures) -> None:
        corners = " ".join(f"{v:.6f}" for corner in CORNERS for v in corner)
        lines = [f"{corners} tank-car 0", f"{corners} locomotive 1", f"{corners} coach"]
        text = "\n".join(["imagesource:GoogleEarth", "gsd:0.31", *lines])
        put(pictures.folder.parent / "labelTxt" / "plain.txt", text)
        (image,) = read_labels(pictures.folder.parent / "labelTxt")
        assert_same_boxes(image.boxes, np.array([SLANTED] * 3), 1e-4)
        assert image.category.tolist() == [0, 1, 2]
        assert image.ignored.tolist() == [False, True, False]
        assert image.gsd_m == 0.31

    def test_empty_files_among_them_are_negatives(self, pictures: Pictures) -> None:
        corners = " ".join(f"{v:.1f}" for corner in CORNERS for v in corner)
        put(pictures.folder / "plain.txt", f"{corners} wagon 0\n")
        put(pictures.folder / "metric.txt", "")
        found = {image.name: len(image.boxes) for image in read_labels(pictures.folder)}
        assert found == {"plain.png": 1, "metric.tif": 0}

    def test_corners_in_crossing_order_are_still_a_rectangle(self, pictures: Pictures) -> None:
        crossed = " ".join(f"{v:.6f}" for i in (0, 2, 1, 3) for v in CORNERS[i])
        put(pictures.folder / "plain.txt", f"{crossed} wagon 0\n")
        assert_same_boxes(read_labels(pictures.folder)[0].boxes, np.array([SLANTED]), 1e-4)


def task(*results: dict, image: str = "/data/local-files/?d=images/plain.png", **annotation: object) -> dict:
    full = [
        {"id": f"r{i}", "type": "rectanglelabels", "original_width": 400, "original_height": 300, **r}
        for i, r in enumerate(results)
    ]
    return {"id": 1, "data": {"image": image}, "annotations": [{"result": full, **annotation}]}


class TestLabelStudio:
    def test_a_turned_rectangle(self, pictures: Pictures) -> None:
        x, y = CORNERS[0]
        value = {"x": x / 4, "y": y / 3, "width": 10, "height": 8 / 3, "rotation": 30}
        path = put(
            pictures.folder.parent / "ls.json",
            [task({"value": {**value, "rectanglelabels": ["Locomotive"]}})],
        )
        (image,) = read_labels(path)
        assert_same_boxes(image.boxes, np.array([SLANTED]), 1e-6)
        assert image.category.tolist() == [1]

    def test_polygons_remarks_and_areas(self, pictures: Pictures) -> None:
        points = [[x / 4, y / 3] for x, y in CORNERS]
        square = [[0, 0], [25, 0], [25, 25], [0, 25]]
        results = [
            {"id": "a", "type": "polygonlabels", "value": {"points": points, "polygonlabels": ["wagon"]}},
            {"id": "a", "type": "choices", "value": {"choices": ["difficult"]}},
            {"id": "b", "type": "polygonlabels", "value": {"points": square, "polygonlabels": ["ignore"]}},
            {"id": "c", "type": "choices", "value": {"choices": ["hazy picture"]}},
        ]
        (image,) = read_labels(put(pictures.folder.parent / "ls.json", [task(*results)]))
        assert_same_boxes(image.boxes, np.array([SLANTED]), 1e-6)
        assert image.ignored.tolist() == [True]
        assert image.ignore_areas[0].equals(shapely.box(0, 0, 100, 75))

    def test_what_is_labelled(self, pictures: Pictures) -> None:
        box = {"value": {"x": 10, "y": 10, "width": 10, "height": 2, "rectanglelabels": ["wagon"]}}
        empty = task(image="/data/upload/3/0a1b2c3d-metric.tif")
        nobody = {"data": {"image": "s3://bucket/images/degrees.tif"}, "annotations": []}
        cancelled = task(box, was_cancelled=True)
        path = put(pictures.folder.parent / "ls.json", [empty, nobody, cancelled])
        found = {i.name: (i.labelled, len(i.boxes)) for i in read_labels(path, images=pictures.folder)}
        assert found == {"metric.tif": (True, 0), "degrees.tif": (False, 0), "plain.png": (False, 0)}

    def test_of_several_annotations_the_latest_counts_unless_one_is_the_truth(
        self, pictures: Pictures
    ) -> None:
        def of(*counts_and_more: tuple[int, dict]) -> int:
            box = {"value": {"x": 10, "y": 10, "width": 10, "height": 2, "rectanglelabels": ["wagon"]}}
            whole = task()
            whole["annotations"] = [task(*[box] * n, **more)["annotations"][0] for n, more in counts_and_more]
            return len(read_labels(put(pictures.folder.parent / "ls.json", [whole]))[0].boxes)

        old, new = {"updated_at": "2026-01-01T00:00:00Z"}, {"updated_at": "2026-02-01T00:00:00Z"}
        assert of((1, new), (2, old)) == 1
        assert of((1, new), (2, {**old, "ground_truth": True})) == 2


class TestVector:
    def detections(self, pictures: Pictures, path: Path, image: Path) -> Path:
        scene = pictures.scene(image)
        boxes = np.array([SLANTED, [100, 80, 30, 6, 170]])
        placed = boxes_to_map(scene, boxes)
        frame = frame_of(
            placed.polygons if scene.georeferenced else [None, None],
            scene.crs,
            score=np.array([0.9, 0.8]),
            category=np.array([0, 1]),
            length_m=placed.length_m,
            width_m=placed.width_m,
            azimuth_deg=placed.azimuth_deg,
            pixel_box=boxes,
            image=str(image),
            gsd_m=scene.gsd_m,
        )
        return write([Detections(frame, frame.iloc[:0], scene.id, scene.gsd_m, 1.0, (), CountModel())], path)

    @pytest.mark.filterwarnings("ignore:'crs' was not provided")  # GeoPackage of an image without position
    @pytest.mark.parametrize("suffix", [".geojson", ".gpkg", ".parquet"])
    @pytest.mark.parametrize("which", ["plain", "metric", "degrees"])
    def test_our_own_detections(self, pictures: Pictures, tmp_path: Path, suffix: str, which: str) -> None:
        path = self.detections(pictures, tmp_path / f"found{suffix}", getattr(pictures, which))
        (image,) = read_labels(path)
        # Detections are written to 1e-8 degree, which is a millimetre.
        assert_same_boxes(image.boxes, np.array([SLANTED, [100, 80, 30, 6, 170]]), 0.02)
        assert image.category.tolist() == [0, 1]
        assert image.gsd_m == (0.5 if which == "plain" else None)

    def test_the_geometry_wins_over_the_pixel_box(self, pictures: Pictures, tmp_path: Path) -> None:
        """Somebody may have moved a box in a GIS; the pixel box is then out of date."""
        path = self.detections(pictures, tmp_path / "found.geojson", pictures.metric)
        document = json.loads(path.read_text())
        for feature in document["features"]:
            feature["properties"]["pixel_box"] = [1, 1, 1, 1, 0]
        (image,) = read_labels(put(path, document))
        assert_same_boxes(image.boxes, np.array([SLANTED, [100, 80, 30, 6, 170]]), 0.02)

    def layer(self, pictures: Pictures, crs: str = "EPSG:3857", **columns: list) -> gpd.GeoDataFrame:
        scene = pictures.scene(pictures.metric)
        placed = boxes_to_map(scene, [SLANTED, [100, 80, 30, 6, 170]])
        return gpd.GeoDataFrame(columns, geometry=list(placed.polygons), crs=scene.crs.to_wkt()).to_crs(crs)

    @pytest.mark.parametrize("name", ["yard.gpkg", "yard.shp", "yard.geojson", "yard.fgb"])
    @pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:32652"])
    def test_layers_of_any_crs(self, pictures: Pictures, tmp_path: Path, name: str, crs: str) -> None:
        # FlatGeobuf sorts its features by place: the class says which is which.
        table = self.layer(pictures, crs, Class=["Hopper car", "LOCO"], ignore=[0, 1])
        path = tmp_path / name
        table.to_file(path, engine="pyogrio")
        (image,) = read_labels(path, images=pictures.metric)
        order = np.argsort(image.category)
        assert_same_boxes(image.boxes[order], np.array([SLANTED, [100, 80, 30, 6, 170]]), 0.02)
        assert image.ignored[order].tolist() == [False, True]

    def test_a_layer_without_a_class_is_all_freight(self, pictures: Pictures) -> None:
        path = pictures.folder / "metric.gpkg"
        self.layer(pictures).to_file(path, engine="pyogrio")
        (image,) = read_labels(path)
        assert (image.image, image.category.tolist()) == (pictures.metric, [0, 0])

    def test_a_layer_over_several_images(self, pictures: Pictures, tmp_path: Path) -> None:
        scene = pictures.scene(pictures.degrees)
        far = gpd.GeoDataFrame(
            geometry=list(boxes_to_map(scene, [[50, 60, 30, 6, 40]]).polygons), crs=scene.crs.to_wkt()
        )
        both = gpd.GeoDataFrame(
            geometry=[*self.layer(pictures, "EPSG:4326").geometry, *far.to_crs("EPSG:4326").geometry],
            crs="EPSG:4326",
        )
        both.to_file(tmp_path / "all.gpkg", engine="pyogrio")
        found = {i.name: i.boxes for i in read_labels(tmp_path / "all.gpkg", images=pictures.folder)}
        assert sorted(found) == ["degrees.tif", "metric.tif"]
        assert_same_boxes(found["degrees.tif"], np.array([[50, 60, 30, 6, 40]]), 0.02)
        assert len(found["metric.tif"]) == 2

    def test_polygons_beyond_the_image_are_left_out(
        self, pictures: Pictures, caplog: pytest.LogCaptureFixture
    ) -> None:
        table = self.layer(pictures, "EPSG:32652")
        table.geometry = [table.geometry[0], shapely.transform(table.geometry[1], lambda xy: xy + 5000)]
        table.to_file(pictures.folder / "metric.gpkg", engine="pyogrio")
        with caplog.at_level(logging.WARNING):
            (image,) = read_labels(pictures.folder / "metric.gpkg")
        assert len(image.boxes) == 1
        assert "1 polygons lie outside" in caplog.text

    def test_hidden_wagons_of_the_simulator_are_ignored(self, pictures: Pictures) -> None:
        table = self.layer(pictures, "EPSG:4326", category=["freight"] * 2, visibility=[0.9, 0.2])
        table.to_file(pictures.folder / "metric.geojson", engine="pyogrio")
        assert read_labels(pictures.folder / "metric.geojson")[0].ignored.tolist() == [False, True]

    def test_an_empty_collection_is_a_negative(self, pictures: Pictures) -> None:
        path = put(pictures.folder / "metric.geojson", {"type": "FeatureCollection", "features": []})
        (image,) = read_labels(path)
        assert (image.image, len(image.boxes), image.labelled) == (pictures.metric, 0, True)

    def test_a_multipolygon_is_a_wagon_a_part(self, pictures: Pictures) -> None:
        whole = self.layer(pictures).dissolve()
        whole.to_file(pictures.folder / "metric.gpkg", engine="pyogrio")
        assert len(read_labels(pictures.folder / "metric.gpkg")[0].boxes) == 2

    def test_a_folder_of_files_beside_their_images(self, pictures: Pictures) -> None:
        self.layer(pictures, "EPSG:4326").to_file(pictures.folder / "metric.geojson", engine="pyogrio")
        put(pictures.folder / "degrees.geojson", {"type": "FeatureCollection", "features": []})
        found = {image.name: len(image.boxes) for image in read_labels(pictures.folder)}
        assert found == {"degrees.tif": 0, "metric.tif": 2}


class TestStrings:
    def test_a_row_is_split_into_equal_wagons(self, pictures: Pictures) -> None:
        row = {"x0": 100, "y0": 50, "x1": 220, "y1": 50, "n": 4, "w": 6, "kind": "freight"}
        slanted = {"x0": 0, "y0": 0, "x1": 30, "y1": 40, "n": 2, "w": 5, "kind": "locomotive"}
        area = [[0, 0], [10, 0], [10, 10]]
        path = put(
            pictures.folder / "s.json",
            {
                "plain.png": {"gsd_m": 0.4, "strings": [row, slanted], "ignore": [area]},
                "metric.tif": {"strings": []},
            },
        )
        found = {image.name: image for image in read_labels(path)}
        angle = math.degrees(math.atan2(40, 30))
        np.testing.assert_allclose(
            found["plain.png"].boxes,
            [
                [115, 50, 30, 6, 0],
                [145, 50, 30, 6, 0],
                [175, 50, 30, 6, 0],
                [205, 50, 30, 6, 0],
                [7.5, 10, 25, 5, angle],
                [22.5, 30, 25, 5, angle],
            ],
        )
        assert found["plain.png"].category.tolist() == [0, 0, 0, 0, 1, 1]
        assert found["plain.png"].gsd_m == 0.4
        assert found["plain.png"].ignore_areas[0].area == 50
        assert len(found["metric.tif"].boxes) == 0

    def test_a_row_past_the_border_loses_only_what_is_outside(self, pictures: Pictures) -> None:
        row = {"x0": 200, "y0": -70, "x1": 200, "y1": 50, "n": 4, "w": 6}
        (image,) = read_labels(put(pictures.folder / "s.json", {"plain.png": {"strings": [row]}}))
        # Wagons at -55, -25, 5 and 35; the third keeps its full length over the border.
        np.testing.assert_allclose(image.boxes, [[200, 5, 30, 6, 90], [200, 35, 30, 6, 90]])

    def test_real_labels(self, real_imagery: Path) -> None:
        path = real_imagery / "vhr" / "labels.json"
        if not path.is_file():
            pytest.skip("the labelled images aren't here")
        told = json.loads(path.read_text())
        found = read_labels(path)
        assert {i.name: int((i.category == 0).sum()) for i in found} == {
            k: v["n_freight"] for k, v in told.items()
        }
        assert {i.name: i.gsd_m for i in found} == {k: v["gsd_m"] for k, v in told.items()}


class TestDistances:
    def test_the_table_wins_over_the_argument_and_that_over_the_file(self, pictures: Pictures) -> None:
        path = put(pictures.folder / "s.json", {"plain.png": {"gsd_m": 0.4, "strings": []}})
        assert read_labels(path)[0].gsd_m == 0.4
        assert read_labels(path, gsd_m=0.6)[0].gsd_m == 0.6
        for key in ("plain.png", "images/plain.png", str(pictures.plain)):
            assert read_labels(path, gsd_m=0.6, gsd_table={key: 0.7, "other.png": 0.1})[0].gsd_m == 0.7

    def test_a_longer_path_in_the_table_wins(self, pictures: Pictures) -> None:
        path = put(pictures.folder / "s.json", {"plain.png": {"strings": []}})
        table = {"plain.png": 0.7, "images/plain.png": 0.8}
        assert read_labels(path, gsd_table=table)[0].gsd_m == 0.8


class TestClasses:
    def test_own_names(self, pictures: Pictures) -> None:
        boxes = [{"bbox": [10, 20, 30, 6], "category_id": i} for i in (1, 2, 3, 4)]
        path = put(pictures.folder / "c.json", coco(*boxes, categories=("Eaos", "Truck", "Blurred", "wagon")))
        (image,) = read_labels(
            path, classes={"eaos": "freight", "truck": "skip", "blurred": "ignore", "Wagon": "coach"}
        )
        assert image.category.tolist() == [0, 2]
        assert len(image.ignore_areas) == 1

    @pytest.mark.parametrize(
        ("name", "category"),
        [
            ("Tank cars", 0),
            ("flat_car", 0),
            ("Cargo/Container Car", 0),
            ("covered-hopper", 0),
            ("Полувагон", 0),
            ("Diesel Locomotive", 1),
            ("passenger-car", 2),
        ],
    )
    def test_names_of_other_peoples_sets(self, pictures: Pictures, name: str, category: int) -> None:
        path = put(pictures.folder / "c.json", coco({"bbox": [10, 20, 30, 6]}, categories=(name,)))
        assert read_labels(path)[0].category.tolist() == [category]


def test_negatives_are_declared_by_the_caller(pictures: Pictures) -> None:
    found = read_labels(pictures.folder, format="negatives", gsd_m=0.3)
    assert [image.name for image in found] == ["degrees.tif", "metric.tif", "plain.png"]
    assert all(image.labelled and not len(image.boxes) for image in found)


def test_names_are_sorted_and_relative(pictures: Pictures) -> None:
    sub = make_pictures(pictures.folder / "a")
    images = [labelled(sub.plain, []), labelled(pictures.plain, [])]
    path = write_labels(images, pictures.folder / "x.json", "coco")
    assert [image.name for image in read_labels(path)] == ["a/plain.png", "plain.png"]
