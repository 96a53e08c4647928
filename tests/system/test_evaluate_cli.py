"""`railwatch evaluate`: figures on labels, negatives and simulated scenes, and a threshold to fail."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from painted import bright_wagons, bright_weights
from PIL import Image

CENTRES = [(42, 42), (82, 42), (122, 90)]


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return bright_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def evaluate(railwatch, weights):
    def run(*arguments: object):
        return railwatch("evaluate", *arguments, "--weights", weights, "--device", "cpu")

    return run


def label(image: Path, centres) -> list[dict]:
    return [
        {
            "type": "Feature",
            "geometry": None,
            "properties": {"image": image.name, "category": "freight", "pixel_box": [x, y, 30, 6, 0]},
        }
        for x, y in centres
    ]


@pytest.fixture
def labels(tmp_path) -> Path:
    """An image of three wagons, and one of two: of its labels one is right and one where nothing is."""
    folder = tmp_path / "labelled"
    folder.mkdir()
    Image.fromarray(bright_wagons(CENTRES)).save(folder / "all.png")
    Image.fromarray(bright_wagons(CENTRES[:2])).save(folder / "some.png")
    features = label(folder / "all.png", CENTRES) + label(folder / "some.png", CENTRES[1:])
    path = folder / "labels.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


@pytest.fixture
def negatives(tmp_path) -> Path:
    folder = tmp_path / "negatives"
    folder.mkdir()
    Image.fromarray(bright_wagons([])).save(folder / "quiet.png")
    Image.fromarray(bright_wagons(CENTRES[:1])).save(folder / "loud.png")
    return folder


def test_figures_on_labels_and_negatives(evaluate, labels, negatives, tmp_path):
    out = tmp_path / "figures"
    done = evaluate(labels, "--negatives", negatives, "--gsd", 0.5, "--out", out, "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    figures = document["figures"]
    # Found: 3 of 3; 1 of 2 and a false one; none; a false one.
    assert figures["pictures"] == 4
    assert figures["recall_0.3"] == pytest.approx(4 / 5)
    assert figures["precision_0.3"] == pytest.approx(4 / 6)
    assert figures["empty_pictures"] == 2
    assert figures["false_on_empty"] == 1
    assert figures["count_found"] == 6
    assert document["threshold"] == 0.5
    assert document["skipped"] == []
    assert set(document["groups"]) >= {"density"}
    with (out / "all.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["recall_0.3"]) == pytest.approx(4 / 5)
    assert (out / "tables.md").read_text().startswith("## all\n\n| pictures |")
    with Image.open(document["written"]["failures"]) as sheet:
        assert sheet.size[0] > 500


def test_text_for_people(evaluate, labels):
    done = evaluate("wagons", labels, "--gsd", 0.5)
    assert done.code == 0
    lines = {" ".join(line.split()) for line in done.out.splitlines()}
    assert "all pictures at threshold 0.50, IoU 0.3" in lines
    assert {"pictures 2", "wagons 5", "recall 0.8", "precision 0.8", "count bias 0"} <= lines
    # Both pictures have 1 to 5 wagons, so that there is nothing to group by.
    assert "by density" not in done.out


def test_groups_fit_a_terminal(evaluate, labels, negatives):
    done = evaluate(labels, "--negatives", negatives, "--gsd", 0.5)
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert "by density pictures wagons recall precision F1 AP50 WAPE false/km2" in lines
    assert any(line.startswith("1-6 wagons 2 5 0.8 0.8 0.8 ") for line in lines)
    assert any(line.startswith("<1 wagons 2 0 - 0 0 - - ") for line in lines)


@pytest.mark.parametrize(("least", "code"), [(0.5, 0), (0.99, 1)])
def test_under_the_threshold_the_exit_code_is_one(evaluate, labels, least, code):
    done = evaluate(labels, "--gsd", 0.5, "--minimum-f1", least, "--json")
    assert done.code == code
    assert json.loads(done.out)["figures"]["f1_0.3"] == pytest.approx(2 * 4 / (5 + 5))


def test_a_table_of_resolutions_serves_here_too(evaluate, labels, tmp_path):
    (tmp_path / "gsd.csv").write_text("file,gsd_m\nall.png,0.5\nsome.png,0.5\n")
    done = evaluate(labels, "--gsd-file", tmp_path / "gsd.csv", "--json")
    assert json.loads(done.out)["figures"]["recall_0.3"] == pytest.approx(4 / 5)


def test_simulated_scenes(evaluate, tmp_path):
    done = evaluate("--scenes", 2, "--seed", 3, "--out", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["figures"]["pictures"] == 2
    assert document["figures"]["area_km2"] == pytest.approx(2 * 0.144**2, abs=1e-3)
    again = evaluate("--scenes", 2, "--seed", 3, "--json")
    assert json.loads(again.out)["figures"] == document["figures"]


@pytest.mark.parametrize("simulator", ["collage", "relief"])
def test_scenes_of_the_other_simulators(evaluate, simulator, tmp_path):
    done = evaluate("--scenes", 2, "--simulator", simulator, "--out", tmp_path, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["figures"]["pictures"] == 2
    kinds = {row["kind"] for row in json.loads(done.out)["groups"]["kind"]}
    assert kinds <= {"yard", "line", "empty yard", "empty line", "no rail", "trains", "tracks"}


def test_an_image_that_is_too_coarse_is_skipped(evaluate, labels, negatives):
    (negatives / "gsd.csv").write_text("file,gsd_m\nquiet.png,5\nloud.png,0.5\nall.png,0.5\nsome.png,0.5\n")
    done = evaluate(labels, "--negatives", negatives, "--gsd-file", negatives / "gsd.csv", "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["figures"]["pictures"] == 3
    assert [Path(s["path"]).name for s in document["skipped"]] == ["quiet.png"]
    assert "too coarse" in document["skipped"][0]["reason"]


def test_without_a_usable_image_there_are_no_figures(evaluate, negatives):
    done = evaluate("--negatives", negatives, "--gsd", 5)
    assert done.code == 2
    assert "none of the 2 images could be used" in done.error
    assert "too coarse" in done.error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["wagons"], "nothing to score on"),
        (["--scenes", "1", "--split", "holiday"], "must be train, val or test"),
        (["--scenes", "1", "--simulator", "brush"], "must be one of main, collage, solids, relief"),
        (["nowhere.geojson"], "nowhere.geojson"),
        (["--scenes", "1", "--backgrounds", "nowhere"], "nowhere"),
    ],
)
def test_bad_usage_ends_in_a_sentence(evaluate, arguments, message):
    done = evaluate(*arguments)
    assert done.code == 2
    assert message in done.error


def test_an_output_that_is_a_file(evaluate, labels, tmp_path):
    (tmp_path / "taken").write_text("")
    done = evaluate(labels, "--gsd", 0.5, "--out", tmp_path / "taken")
    assert done.code == 2
    assert "taken: is a file" in done.error
