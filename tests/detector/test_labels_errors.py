"""Faults in labels: one sentence that names the file and the fault."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from labelling import Pictures, labelled, make_pictures
from PIL import Image

from detector.errors import LabelError
from detector.labels import LabelledImage, read_labels, write_labels


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    return make_pictures(tmp_path / "images")


def put(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def refuse(source: Path, **options: object) -> str:
    """The one sentence that reading ends with."""
    with pytest.raises(LabelError) as caught:
        read_labels(source, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def coco(annotation: dict, **image: object) -> dict:
    return {
        "images": [{"id": 1, "file_name": "plain.png", **image}],
        "annotations": [{"id": 5, "image_id": 1, "category_id": 1, **annotation}],
        "categories": [{"id": 1, "name": "wagon"}],
    }


def feature(geometry: object, **properties: object) -> dict:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def collection(*features: dict, **more: object) -> dict:
    return {"type": "FeatureCollection", "features": list(features), **more}


SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]]}
VOC = "<annotation><object><name>wagon</name>{}</object></annotation>"
TASK = {
    "type": "rectanglelabels",
    "value": {"x": 1, "y": 1, "width": 9, "height": 2, "rectanglelabels": ["wagon"]},
}


@pytest.mark.parametrize(
    ("annotation", "image", "fault"),
    [
        (
            {"bbox": [1000, 20, 30, 6]},
            {},
            "annotation 5: lies outside the image plain.png (400 x 300 pixels)",
        ),
        ({"bbox": [10, 20, 0, 6]}, {}, "annotation 5: has no area"),
        ({"bbox": [10, 20, 30]}, {}, "bbox: needs 4 numbers, not 3"),
        ({"bbox": [10, 20, "x", 6]}, {}, "is not a list of numbers"),
        ({"bbox": [10, 20, float("nan"), 6]}, {}, "needs at least three points of finite numbers"),
        ({}, {}, "annotation 5: has no 'bbox'"),
        ({"bbox": [10, 20, 30, 6], "category_id": 9}, {}, "category 9 isn't listed"),
        ({"bbox": [10, 20, 30, 6], "image_id": 9}, {}, "belongs to image 9, which isn't listed"),
        ({"bbox": [10, 20, 30, 6]}, {"file_name": "gone.png"}, "the image 'gone.png' is not there"),
        ({"bbox": [10, 20, 30, 6]}, {"width": 800, "height": 600}, "was labelled at 800 x 600 pixels"),
        ({"segmentation": [[1, 2, 3]]}, {}, "an odd count of numbers"),
        ({"segmentation": [[1, 2, 3, 4]]}, {}, "at least three points"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6]]}, {}, "has no area"),
        ({"segmentation": {"size": [9, 9], "counts": [81]}}, {}, "doesn't fit plain.png"),
        ({"segmentation": {"size": [300, 400], "counts": [81]}}, {}, "don't fill 400 x 300 pixels"),
    ],
)
def test_coco(pictures: Pictures, annotation: dict, image: dict, fault: str) -> None:
    path = put(pictures.folder / "c.json", coco(annotation, **image))
    message = refuse(path)
    assert str(path) in message
    assert fault in message


def test_an_unknown_class_comes_with_the_way_out(pictures: Pictures) -> None:
    document = coco({"bbox": [10, 20, 30, 6]})
    document["categories"][0]["name"] = "Small Car"
    message = refuse(put(pictures.folder / "c.json", document))
    assert "unknown class 'Small Car'" in message
    assert "skip if it is of no interest" in message


def test_an_own_meaning_must_be_one(pictures: Pictures) -> None:
    path = put(pictures.folder / "c.json", coco({"bbox": [10, 20, 30, 6]}))
    assert "can't mean 'lorry'" in refuse(path, classes={"truck": "lorry"})


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("<annotation><object>", "is not whole XML"),
        ("", "is not whole XML"),
        ("<kml></kml>", "its root is <kml>"),
        (VOC.format(""), "object 1: has neither bndbox nor robndbox nor polygon"),
        (VOC.format("<bndbox><xmin>1</xmin></bndbox>"), "object 1: ymin: None is not a number"),
        (VOC.format("").replace("wagon", ""), "object 1: has no name"),
        (
            '<!DOCTYPE a [<!ENTITY x "boom">]><annotation><object><name>&x;</name></object></annotation>',
            "declares entities",
        ),
        (
            VOC.format("<bndbox><xmin>900</xmin><ymin>1</ymin><xmax>930</xmax><ymax>9</ymax></bndbox>"),
            "object 1: lies outside the image plain.png",
        ),
        (
            "<annotation><size><width>9</width><height>9</height></size></annotation>",
            "labelled at 9 x 9 pixels",
        ),
    ],
)
def test_voc(pictures: Pictures, text: str, fault: str) -> None:
    path = put(pictures.folder / "plain.xml", text)
    message = refuse(path)
    assert str(path) in message
    assert fault in message


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("0 0.5 0.5 0.1", "needs a class and 4 or 8 numbers"),
        ("0 0.5 0.5 0.1 0.1 0.93", "needs a class and 4 or 8 numbers"),
        ("0 200 150 30 6", "is no share of the image"),
        ("0 0.5 0.5 0 0.1", "has no area"),
        ("0 0.5 0.5 x 0.1", "is not a list of numbers"),
        ("wagon 0.5 0.5 0.1 0.1", "starts with 'wagon'"),
        ("7 0.5 0.5 0.1 0.1", "class 7 has no name"),
        ("0 1.8 0.5 0.1 0.1", "lies outside the image"),
    ],
)
def test_yolo(pictures: Pictures, line: str, fault: str) -> None:
    path = put(pictures.folder / "plain.txt", f"\n{line}\n")
    message = refuse(path)
    assert f"{path}: line 2: " in message
    assert fault in message


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("0 0 30 0 30 6 0 6", "needs eight numbers, a class and 0 or 1, not 8 words"),
        ("0 0 30 0 30 6 0 x wagon 0", "is not a list of numbers"),
        ("0 0 30 0 30 6 0 6 wagon maybe", "is not a number"),
        ("0 0 30 0 30 6 0 6 plane 0", "unknown class 'plane'"),
        ("1 1 1 1 1 1 1 1 wagon 0", "has no area"),
    ],
)
def test_dota(pictures: Pictures, line: str, fault: str) -> None:
    path = put(pictures.folder / "plain.txt", f"gsd:0.5\n{line}\n")
    message = refuse(path, format="dota")
    assert f"{path}: line 2: " in message
    assert fault in message


@pytest.mark.parametrize(
    ("task", "fault"),
    [
        ({"data": {"image": "plain.png"}}, "has no 'annotations'"),
        ({"data": {"text": "hello"}, "annotations": []}, "its data names no image file"),
        (
            {"data": {"image": "images/gone.png"}, "annotations": []},
            "the image 'images/gone.png' is not there",
        ),
        ({**TASK, "original_width": 9, "original_height": 9}, "was labelled at 9 x 9 pixels"),
        ({**TASK, "image_rotation": 90}, "turned view of the image"),
        ({**TASK, "type": "brushlabels"}, "is a brush; use rectangles or polygons"),
        ({**TASK, "value": {"x": 1, "y": 1, "width": 9, "height": 2}}, "has no label"),
        ({**TASK, "value": {"x": 1, "width": 9, "rectanglelabels": ["wagon"]}}, "has no 'y'"),
        ({**TASK, "value": {**TASK["value"], "x": 130}}, "lies outside the image"),
    ],
)
def test_label_studio(pictures: Pictures, task: dict, fault: str) -> None:
    if "value" in task:
        task = {"data": {"image": "plain.png"}, "annotations": [{"result": [task]}]}
    path = put(pictures.folder / "ls.json", [task])
    message = refuse(path)
    assert str(path) in message
    assert fault in message


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ({"type": "FeatureCollection"}, "is no GeoJSON FeatureCollection"),
        (
            collection(feature({"type": "Point", "coordinates": [0, 0]})),
            "feature 1: is a Point; a label is a polygon",
        ),
        (collection(feature({"type": "Polygon", "coordinates": 5})), "feature 1: its geometry is malformed"),
        (collection(feature(None)), "feature 1: has neither a geometry nor a pixel_box"),
        (collection(feature(SQUARE, category="freight"), feature(SQUARE)), "feature 2: has no category"),
        (collection(feature(SQUARE)), "none of its 1 polygons lies in"),
        (collection(feature(None, pixel_box=[1, 2, 3])), "pixel_box: needs 5 numbers, not 3"),
        (collection(feature(None, pixel_box=[9, 9, 0, 6, 0])), "feature 1: has no area"),
        (collection(feature(SQUARE, image="gone.tif")), "the image 'gone.tif' is not there"),
        (
            collection(feature(SQUARE), crs={"type": "name", "properties": {"name": "nonsense"}}),
            "can't be understood",
        ),
    ],
)
def test_geojson(pictures: Pictures, document: dict, fault: str) -> None:
    path = put(pictures.folder / "metric.geojson", document)
    message = refuse(path)
    assert str(path) in message
    assert fault in message


def test_a_map_needs_an_image_with_a_position(pictures: Pictures) -> None:
    path = put(pictures.folder / "plain.geojson", collection(feature(SQUARE)))
    assert "has no position to lay it on" in refuse(path)


def test_a_shapefile_without_its_prj(pictures: Pictures) -> None:
    table = gpd.GeoDataFrame(geometry=[shapely.box(640_010, 4_699_900, 640_040, 4_699_906)], crs="EPSG:32652")
    path = pictures.folder / "metric.shp"
    table.to_file(path, engine="pyogrio")
    path.with_suffix(".prj").unlink()
    assert "has no coordinate reference system" in refuse(path)


def test_a_layer_that_lies_in_two_images(pictures: Pictures, tmp_path: Path) -> None:
    (pictures.folder / "again.tif").write_bytes(pictures.metric.read_bytes())
    table = gpd.GeoDataFrame(geometry=[shapely.box(640_060, 4_699_930, 640_080, 4_699_935)], crs="EPSG:32652")
    table.to_file(tmp_path / "all.gpkg", engine="pyogrio")
    assert "a column 'image' must say which is meant" in refuse(tmp_path / "all.gpkg", images=pictures.folder)


def test_a_damaged_layer(pictures: Pictures) -> None:
    path = pictures.folder / "metric.gpkg"
    path.write_bytes(b"SQLite format 3\0" + bytes(50))
    assert f"{path}: can't be read as a layer of polygons" in refuse(path)


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"x0": 1, "y0": 1, "x1": 40, "y1": 1, "w": 6}, "string 1: has no 'n'"),
        ({"x0": 1, "y0": 1, "x1": 40, "y1": 1, "w": 6, "n": 1.5}, "a row of 1.5 vehicles makes no sense"),
        ({"x0": 1, "y0": 1, "x1": 1, "y1": 1, "w": 6, "n": 1}, "string 1: has no area"),
        (
            {"x0": 1, "y0": -90, "x1": 40, "y1": -90, "w": 6, "n": 1},
            "string 1: lies outside the image plain.png",
        ),
        ({"x0": 1, "y0": 1, "x1": 40, "y1": 1, "w": 6, "n": 1, "kind": "tram"}, "unknown class 'tram'"),
    ],
)
def test_strings(pictures: Pictures, row: dict, fault: str) -> None:
    path = put(pictures.folder / "s.json", {"plain.png": {"strings": [row]}})
    message = refuse(path)
    assert str(path) in message
    assert fault in message


class TestSources:
    def test_what_is_missing(self, tmp_path: Path, pictures: Pictures) -> None:
        assert "there is no such file or folder" in refuse(tmp_path / "gone")
        assert "there is no such file or folder" in refuse(tmp_path / "gone", format="coco")
        path = put(tmp_path / "c.json", coco({"bbox": [10, 20, 30, 6]}))
        assert "there is no such image or folder" in refuse(path, images=tmp_path / "gone")

    def test_what_is_no_label(self, tmp_path: Path, pictures: Pictures) -> None:
        assert "is an image, not a label file" in refuse(pictures.plain)
        assert "aren't read from .csv" in refuse(put(tmp_path / "x.csv", "file\n"))
        assert "is no label file" in refuse(put(tmp_path / "x.json", {"a": 1}))
        assert "is not JSON (" in refuse(put(tmp_path / "y.json", "{"))
        assert "y.json: is empty" in refuse(put(tmp_path / "y.json", ""))
        (tmp_path / "z.json").write_bytes(b"\xff\xfe{")
        assert "is not text in UTF-8" in refuse(tmp_path / "z.json")
        assert "holds no labels" in refuse(pictures.folder)
        assert "holds no file that ends in .xml" in refuse(pictures.folder, format="voc")

    def test_other_json_in_a_folder_of_labels_is_passed_over(self, pictures: Pictures) -> None:
        put(pictures.folder / "manifest.json", {"made": "today"})
        assert "manifest.json: is no label file" in refuse(pictures.folder)
        put(pictures.folder / "labels.json", coco({"bbox": [10, 20, 30, 6]}))
        assert len(read_labels(pictures.folder)) == 1

    def test_an_unknown_format(self, tmp_path: Path) -> None:
        assert "there is no label format 'pdf'" in refuse(tmp_path, format="pdf")

    def test_several_formats_in_a_folder(self, pictures: Pictures) -> None:
        put(pictures.folder / "plain.txt", "")
        put(pictures.folder / "metric.xml", "<annotation></annotation>")
        assert "voc (metric.xml), yolo-obb (plain.txt)" in refuse(pictures.folder)
        assert [image.name for image in read_labels(pictures.folder, format="voc")] == ["metric.tif"]

    def test_an_image_labelled_twice(self, pictures: Pictures) -> None:
        put(pictures.folder / "a.json", coco({"bbox": [10, 20, 30, 6]}))
        put(pictures.folder / "b.json", coco({"bbox": [10, 20, 30, 6]}))
        assert "plain.png is labelled twice" in refuse(pictures.folder)

    def test_no_image_of_that_name(self, pictures: Pictures) -> None:
        assert "no image called other" in refuse(put(pictures.folder / "other.txt", ""))

    def test_two_images_of_one_name(self, pictures: Pictures) -> None:
        Image.fromarray(np.zeros((9, 9), np.uint8)).save(pictures.folder / "plain.bmp")
        assert "two images have its name" in refuse(put(pictures.folder / "plain.txt", ""))

    def test_a_damaged_image(self, pictures: Pictures) -> None:
        pictures.plain.write_bytes(b"not an image")
        message = refuse(put(pictures.folder / "c.json", coco({"bbox": [10, 20, 30, 6]})))
        assert f"{pictures.plain}: can't be read as an image" in message

    def test_labels_of_another_image_than_the_one_given(self, pictures: Pictures) -> None:
        path = put(pictures.folder / "c.json", coco({"bbox": [10, 20, 30, 6]}))
        assert "speaks of 'plain.png', not of metric.tif" in refuse(path, images=pictures.metric)


class TestWriting:
    def write(self, images: list[LabelledImage], path: Path, format: str) -> str:
        with pytest.raises(LabelError) as caught:
            write_labels(images, path, format)
        return str(caught.value)

    def test_faults(self, pictures: Pictures, tmp_path: Path) -> None:
        images = [labelled(pictures.plain, [])]
        assert "there is no label format 'strings'" in self.write(images, tmp_path / "x.json", "strings")
        assert "doesn't exist" in self.write(images, tmp_path / "gone" / "x.json", "coco")
        assert "coco labels are one file" in self.write(images, tmp_path, "coco")
        put(tmp_path / "file", "")
        assert "voc labels are a folder" in self.write(images, tmp_path / "file", "voc")

    def test_two_images_that_would_share_a_file(self, pictures: Pictures, tmp_path: Path) -> None:
        other = make_pictures(tmp_path / "other")
        images = [labelled(pictures.plain, []), labelled(other.plain, [])]
        assert "would share the label file plain.xml" in self.write(images, tmp_path / "out", "voc")

    def test_arrays_that_do_not_fit(self, pictures: Pictures) -> None:
        with pytest.raises(ValueError, match="2 boxes, 1 categories, 2 ignore flags"):
            labelled(pictures.plain, [[1, 1, 9, 3, 0], [1, 1, 9, 3, 0]], [0])
