"""Files of PlanetScope by their names: which are of one scene, and which scenes of one strip.

A scene is known by its name, ``20231005_021001_43_2427``: UTC time and satellite. What lies beside it in its
folder begins alike (https://docs.planet.com/data/imagery/planetscope/psscene/).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["SceneFiles", "strips"]

_FILE = re.compile(
    r"^(?P<id>(?P<time>\d{8}_\d{6})(?:_\d{1,3})?_(?P<satellite>[0-9a-f]{4}))(?P<rest>(?:_[^/]*)?)\.(?P<ending>\w+)$"
)
# What Planet's composite tool makes of a strip: 2023-07-05_strip_6625124_composite.tif
_COMPOSITE = re.compile(
    r"^(?P<id>(?P<time>\d{4}-\d\d-\d\d)_strip_(?P<satellite>\w+?)_composite)(?P<rest>(?:_[^/]*)?)\.(?P<ending>\w+)$"
)
_LEVEL = re.compile(r"_[13][AB]_|_composite", re.IGNORECASE)
_IMAGES = ("tif", "tiff")
_TIMES = ("%Y%m%d_%H%M%S", "%Y-%m-%d")
_STRIP = dt.timedelta(seconds=60)


class _SceneFile(NamedTuple):
    """A file of a scene.

    Attributes:
        name: In its tree.
        words: What its name says after the scene's id, in lower case.
        ending: In lower case.
    """

    name: str
    words: tuple[str, ...]
    ending: str


@dataclass(frozen=True)
class SceneFiles:
    """The files of one scene in one folder.

    Attributes:
        folder: In its tree.
        id: As its files' names begin.
        when: UTC, to the second; of a composite the day alone.
        satellite: Its number, in hexadecimal digits.
        files: Images, masks and metadata.
    """

    folder: str
    id: str
    when: dt.datetime
    satellite: str
    files: tuple[_SceneFile, ...]

    @property
    def composite(self) -> bool:
        """Whether it is what Planet's composite tool makes of scenes."""
        return self.id.endswith("_composite")

    def ranked(self) -> list[_SceneFile]:
        """Its images, the one to be used first; pictures only where there are no others."""
        images = self.images("analyticms") or self.images("analytic") or self.images("visual")
        if self.composite:
            images = self.images(without=("udm2", "udm"))
        return images

    @property
    def root(self) -> str:
        """The folder of its order: each scene may have one of its own below it."""
        parts = self.folder.split("/")
        return "/".join(parts[: parts.index(self.id)] if self.id in parts else parts)

    def images(self, *words: str, without: Sequence[str] = ()) -> list[_SceneFile]:
        """GeoTIFFs whose names hold some words and not others, the one to be used first."""
        found = (
            one
            for one in self.files
            if one.ending in _IMAGES and set(words) <= set(one.words) and not set(without) & set(one.words)
        )
        return sorted(found, key=_rank)


def strips(names: Sequence[str]) -> list[list[SceneFiles]]:
    """Find scenes among files, and which are of one strip: taken by one satellite within a minute.

    Args:
        names: Of files, as a tree gives them.

    Returns:
        The scenes of each strip, by satellite and time.

    Example:
        >>> one = "20231005_021001_43_2427_3B_AnalyticMS_SR.tif"
        >>> [[scene.id for scene in strip] for strip in strips([one, "yard.tif"])]
        [['20231005_021001_43_2427']]
    """
    found: dict[tuple[str, str], list[tuple[re.Match[str], _SceneFile]]] = {}
    for name in names:
        folder, _, last = name.rpartition("/")
        match = _FILE.match(last) or _COMPOSITE.match(last)
        if match and match["ending"].lower() in _IMAGES and not _LEVEL.search(last):
            continue  # somebody else's image, taken at such a time
        if match is None:
            continue
        words = tuple(word for word in match["rest"].lower().split("_") if word)
        file = _SceneFile(name, words, match["ending"].lower())
        found.setdefault((folder, match["id"]), []).append((match, file))
    scenes = []
    for (folder, id), files in found.items():
        try:
            text = files[0][0]["time"]
            when = dt.datetime.strptime(text, _TIMES["-" in text]).replace(tzinfo=dt.UTC)
        except ValueError:
            continue
        scene = SceneFiles(folder, id, when, files[0][0]["satellite"], tuple(file for _, file in files))
        if scene.ranked():
            scenes.append(scene)
    grouped: list[list[SceneFiles]] = []
    for scene in sorted(scenes, key=lambda one: (one.satellite, one.root, one.when, one.id)):
        first = grouped[-1][0] if grouped else None
        if (
            first is not None
            and (first.satellite, first.root) == (scene.satellite, scene.root)
            and grouped[-1][-1].id != scene.id
            and scene.when - first.when <= _STRIP
        ):
            grouped[-1].append(scene)
        else:
            grouped.append([scene])
    return grouped


def _rank(file: _SceneFile) -> tuple[bool, bool, bool, bool, bool, str]:
    """What is chosen of several images of a scene: surface reflectance, made alike to Sentinel-2's, first."""
    return (
        not {"3b", "3a"} & set(file.words),
        "dn" in file.words,
        "sr" not in file.words,
        "harmonized" not in file.words,
        "8b" in file.words,
        file.name,
    )
