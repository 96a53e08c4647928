"""What classes are called, and that the documentation says so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from detector.errors import LabelError
from detector.labels import READERS, SYNONYMS, read_labels
from detector.labels.names import IGNORE, SKIP, ClassNames, says_ignored
from detector.simulators.write import simulate_folder
from detector.wagons.categories import CATEGORIES


def test_the_documentation_lists_the_names_and_formats(repository: Path) -> None:
    text = (repository / "docs" / "labels.md").read_text(encoding="utf-8")
    for meaning, words in SYNONYMS.items():
        row = re.search(rf"^\| {meaning} \| (.*) \|$", text, re.MULTILINE)
        assert row is not None
        assert sorted(row[1].split(", ")) == sorted(words)
    assert set(re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE)) == set(READERS)


def test_no_name_means_two_things() -> None:
    words = [word for group in SYNONYMS.values() for word in group]
    assert len(words) == len(set(words))
    names = ClassNames()
    for meaning, group in SYNONYMS.items():
        index = IGNORE if meaning == "ignore" else CATEGORIES.index(meaning)
        assert {names.known(word) for word in group} == {index}
        assert {names.known(f"  {word.upper().replace(' ', '_')} ") for word in group} == {index}


def test_own_names_win() -> None:
    names = ClassNames({"Wagon": "coach", "lorry": "skip", "blur": "ignore"})
    assert names.known("wagons") == CATEGORIES.index("coach")
    assert (names.known("LORRY"), names.known("blur")) == (SKIP, IGNORE)


@pytest.mark.parametrize("name", ["car", "train", "truck", "", "0"])
def test_what_could_be_anything_is_unknown(name: str) -> None:
    """A whole train is no wagon, and a car in a data set of vehicles is a motor car."""
    assert ClassNames().known(name) is None
    with pytest.raises(LabelError, match="here: unknown class"):
        ClassNames().meaning(name, "here")


def test_remarks() -> None:
    assert says_ignored("Difficult")
    assert not says_ignored("snow")


def test_the_simulators_labels_are_read(tmp_path: Path) -> None:
    rows = simulate_folder(tmp_path, 2, seed=3, size_m=64, kind="yard", gsd_m=0.5)
    images = read_labels(tmp_path)
    assert [image.name for image in images] == [row.file for row in rows]
    assert sum(len(image.boxes) for image in images) > 0
    for row, image in zip(rows, images, strict=True):
        shown = image.category[~image.ignored]
        assert [int((shown == c).sum()) for c in range(3)] == [row.n_freight, row.n_locomotive, row.n_coach]
        assert int(image.ignored.sum()) == row.n_hidden
