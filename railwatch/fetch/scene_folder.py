"""The folder that fetched scenes are kept in: a path, or an fsspec URL such as ``s3://bucket/scenes``.

Layout: ``OUT/<area>-<window>/<acquisition>_<tile>_<level>.tif`` and ``.json`` beside it; the window's
digest changes when the area's boundary does. A scene is there when its ``.json`` is. ``.empty`` marks one
that has no pixel in the area, so that it isn't asked for again.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from aoi.files import write_text
from geo.catalogue.cog import EmptyScene
from geo.catalogue.cut import Cut, cut_scene, sweep, window_key
from railwatch.errors import StoreError
from railwatch.store.observation import slug
from railwatch.store.remote import filesystem, is_url

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aoi import AreaOfInterest
    from geo.catalogue.network import Network
    from geo.catalogue.remote_scene import RemoteScene

__all__ = ["SceneFolder"]

log = logging.getLogger(__name__)

_EMPTY = ".empty"


@dataclass(frozen=True)
class SceneFolder:
    """Where the scenes of one area are kept.

    Attributes:
        location: A path or an fsspec URL.
    """

    location: str

    @classmethod
    def of(cls, out: str | Path, area: AreaOfInterest) -> SceneFolder:
        """The folder of an area below the one that a user names."""
        return cls(f"{str(out).rstrip('/')}/{slug(area.name)}-{window_key(area)[:8]}")

    def held(self) -> frozenset[str]:
        """Stems of the scenes that are there, and of those that are known to be empty.

        Raises:
            StoreError: The folder can't be listed.
        """
        names = self._names()
        stems = {name.removesuffix(".json") for name in names if name.endswith(".json")}
        whole = {stem for stem in stems if f"{stem}.tif" in names}
        return frozenset(whole | {name.removesuffix(_EMPTY) for name in names if name.endswith(_EMPTY)})

    def _names(self) -> set[str]:
        try:
            if not is_url(self.location):
                return {path.name for path in Path(self.location).glob("[!.]*")}
            fs, path = filesystem(self.location)
            fs.invalidate_cache()
            return {str(one).rpartition("/")[2] for one in fs.ls(path, detail=False)}
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise StoreError(f"{self.location} can't be listed: {_said(error)}.") from error

    def take(
        self,
        network: Network,
        scenes: Sequence[RemoteScene],
        area: AreaOfInterest,
        sign: Callable[[str], str],
    ) -> Cut:
        """Fetch a scene and keep it.

        Raises:
            NetworkError, SceneError: It can't be had or used.
            EmptyScene: It has no pixel in the area, which is kept in mind.
            StoreError: The folder can't be written.
        """
        try:
            if not is_url(self.location):
                sweep(Path(self.location))
                return cut_scene(network, scenes, area, Path(self.location), sign=sign)
            with TemporaryDirectory(prefix="railwatch-fetch-") as name:
                cut = cut_scene(network, scenes, area, Path(name), sign=sign)
                fs, path = filesystem(self.location)
                for file in (cut.image, cut.item):
                    fs.put_file(str(file), f"{path}/{file.name}")
                return cut
        except EmptyScene:
            self._mark_empty(scenes[0].stem)
            raise
        except OSError as error:
            raise StoreError(f"{self.location} can't be written: {_said(error)}.") from error

    def _mark_empty(self, stem: str) -> None:
        if is_url(self.location):
            fs, path = filesystem(self.location)
            fs.pipe_file(f"{path}/{stem}{_EMPTY}", b"no pixel in the area\n")
        else:
            write_text(Path(self.location) / f"{stem}{_EMPTY}", "no pixel in the area\n")


def _said(error: Any) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__).rstrip(".")
