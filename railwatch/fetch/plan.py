"""What a search of an archive has found for an area, what of it is to be fetched, at what cost, and where to.

Scenes lie in ``OUT/<area>-<window>/<acquisition>_<tile>_<level>.tif`` with a ``.json`` beside each; OUT is a
path or an fsspec URL such as ``s3://bucket/scenes``. The window's digest changes with the area's boundary. A
scene is there when its ``.json`` is. ``.empty`` marks one that has no pixel in the area, so that it isn't
asked for again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from aoi.errors import InputError
from aoi.files import write_text
from geo.catalogue.addresses import Policy
from geo.catalogue.cog import EmptyScene
from geo.catalogue.cut import Cut, cut_scene, measure_scene, sweep, window_key
from geo.catalogue.network import Network, RequestTally
from geo.catalogue.profiles import profile_of, signer_of
from geo.catalogue.remote_scene import LeftOut, RemoteScene, choose, scenes_of
from geo.catalogue.stac_search import search
from railwatch.errors import StoreError, said
from railwatch.store.observation import slug
from railwatch.store.remote import filesystem, is_url

if TYPE_CHECKING:
    from aoi import AreaOfInterest

__all__ = ["FetchOptions", "Plan", "SceneFolder", "estimate", "parse_hosts", "parse_time", "plan"]

TOKEN = "RAILWATCH_STAC_TOKEN"
"""Environment variable with a bearer token for the STAC API of ``--source URL``."""


@dataclass(frozen=True)
class FetchOptions:
    """What to fetch, and how gently.

    Attributes:
        source: A name of `geo.catalogue.profiles.PROFILES`, or a URL.
        since: UTC, included.
        until: UTC, included.
        cloud: The most per cent of cloud over a whole item.
        collections: Names; the archive's usual ones if there are none.
        allowed_hosts: Hosts that may be private and speak plain HTTP.
        connections: Requests at one time.
        attempts: How often a request is tried.
        backoff_s: First wait between two attempts.
        read_s: Seconds to wait for a server's next bytes.
        limit: The most scenes; None for all.
    """

    source: str
    since: datetime
    until: datetime
    cloud: float | None = 80.0
    collections: tuple[str, ...] = ()
    allowed_hosts: frozenset[str] = frozenset()
    connections: int = 8
    attempts: int = 6
    backoff_s: float = 0.5
    read_s: float = 30.0
    limit: int | None = None

    def network(self) -> Network:
        """A way to servers within these limits."""
        return Network(
            Policy(self.allowed_hosts),
            connections=self.connections,
            attempts=self.attempts,
            backoff_s=self.backoff_s,
            read_s=self.read_s,
        )


@dataclass(frozen=True)
class Plan:
    """What a search has found.

    Attributes:
        area: The area.
        options: Of the search.
        folder: Where the scenes go.
        found: Number of items that the archive has.
        scenes: What is to be fetched, by time: the items of one acquisition each.
        held: Stems of those that are there already.
        left: Items that aren't fetched.
        traffic: What the search took.
    """

    area: AreaOfInterest
    options: FetchOptions
    folder: SceneFolder
    found: int
    scenes: tuple[tuple[RemoteScene, ...], ...]
    held: tuple[str, ...]
    left: tuple[LeftOut, ...]
    traffic: RequestTally = field(default_factory=RequestTally)


def plan(area: AreaOfInterest, options: FetchOptions, out: str | Path) -> Plan:
    """Search an archive, and say what is to be fetched; no pixel is read.

    Args:
        area: In longitude and latitude.
        options: What and how.
        out: A folder or an fsspec URL.

    Raises:
        NetworkError: The source is unknown, is refused, or says no.
        UnavailableError: It can't be reached.
        StoreError: The folder can't be listed.
    """
    network = options.network()
    profile = profile_of(options.source)
    collections = profile.chosen(options.collections)
    folder = SceneFolder.of(out, area)
    token = os.environ.get(TOKEN)
    items = search(
        profile,
        collections,
        area,
        options.since,
        options.until,
        network,
        cloud=options.cloud,
        headers={"Authorization": f"Bearer {token}"} if token else {},
    )
    scenes, odd = scenes_of(items, collections, area)
    chosen, doubles = choose(scenes, collections)
    stems = folder.held()
    acquisitions = {_acquisition(stem) for stem in stems}

    def is_held(first: RemoteScene) -> bool:
        return first.stem in stems or first.acquisition in acquisitions

    held = [one for one in chosen if is_held(one[0])]
    wanted = [one for one in chosen if not is_held(one[0])]
    if options.limit is not None:
        wanted = wanted[-options.limit :] if options.limit else []
    return Plan(
        area=area,
        options=options,
        folder=folder,
        found=len(items),
        scenes=tuple(wanted),
        held=tuple(one[0].stem for one in held),
        left=(*odd, *doubles),
        traffic=network.traffic,
    )


def _acquisition(stem: str) -> str:
    """S2A_20231005T021001_R003 of S2A_20231005T021001_R003_52TFN_L2A."""
    return "_".join(stem.split("_")[:3]) if stem.startswith("S2") else stem


def parse_period(since: str | None, until: str | None) -> tuple[datetime | None, datetime]:
    """Read the period of the command line, UTC: its first moment, if one is given, and its last (or now).

    Raises:
        InputError: One is no time, or the first is later than the last.
    """
    last = parse_time(until, end=True) if until is not None else datetime.now(UTC).replace(microsecond=0)
    first = None if since is None else parse_time(since)
    if first is not None and first > last:
        raise InputError(f"--since {since} is later than --until {until or 'today'}")
    return first, last


def parse_time(text: str, *, end: bool = False) -> datetime:
    """Read a date or a time of the command line, UTC; a date means its first or its last second.

    Raises:
        InputError: It is neither.
    """
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InputError(f"{text!r} isn't a date such as 2023-10-05") from None
    if len(text.strip()) <= 10 and end:
        when = when.replace(hour=23, minute=59, second=59)
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def parse_hosts(given: Sequence[str]) -> frozenset[str]:
    """Read hosts of the command line, ``name`` or ``name:port``.

    Raises:
        InputError: One of them is a URL or empty.
    """
    hosts = frozenset(one.strip().lower() for one in given)
    for one in hosts:
        if not one or "/" in one or "@" in one:
            raise InputError(f"--allow-host wants a host or host:port, not {one!r}")
    return hosts


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
            raise StoreError(f"{self.location} can't be listed: {said(error)}.") from error

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
            raise StoreError(f"{self.location} can't be written: {said(error)}.") from error

    def _mark_empty(self, stem: str) -> None:
        if is_url(self.location):
            fs, path = filesystem(self.location)
            fs.pipe_file(f"{path}/{stem}{_EMPTY}", b"no pixel in the area\n")
        else:
            write_text(Path(self.location) / f"{stem}{_EMPTY}", "no pixel in the area\n")


def estimate(planned: Plan) -> dict[str, Any]:
    """Estimate requests and bytes; the headers of the latest scene are read, and none of its pixels.

    Args:
        planned: By `railwatch.fetch.plan`.

    Returns:
        ``scenes``, and about how many ``requests`` and ``bytes``; None where the images have no list of
        tiles.

    Raises:
        NetworkError: The headers can't be had.
    """
    number = len(planned.scenes)
    if not number:
        return {"scenes": 0, "requests": 0, "bytes": 0}
    network = planned.options.network()
    sign = signer_of(profile_of(planned.options.source), network)
    with TemporaryDirectory(prefix="railwatch-fetch-") as name:
        one = measure_scene(network, planned.scenes[-1][0], planned.area, Path(name), sign=sign)
    if one is None:
        return {"scenes": number, "requests": None, "bytes": None}
    return {"scenes": number, "requests": one.requests * number, "bytes": one.bytes * number}
