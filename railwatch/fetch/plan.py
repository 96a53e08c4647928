"""What a search of an archive has found for an area, and what of it is to be fetched."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from aoi.errors import InputError
from geo.catalogue.addresses import Policy
from geo.catalogue.network import Network, RequestTally
from geo.catalogue.profiles import profile_of
from geo.catalogue.remote_scene import LeftOut, RemoteScene, choose, scenes_of
from geo.catalogue.stac_search import search
from railwatch.fetch.scene_folder import SceneFolder

if TYPE_CHECKING:
    from aoi import AreaOfInterest

__all__ = ["FetchOptions", "Plan", "parse_hosts", "parse_time", "plan"]

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


def plan(
    area: AreaOfInterest, options: FetchOptions, out: str | Path, network: Network | None = None
) -> Plan:
    """Search an archive, and say what is to be fetched; no pixel is read.

    Args:
        area: In longitude and latitude.
        options: What and how.
        out: A folder or an fsspec URL.
        network: Asks the server.

    Raises:
        NetworkError: The source is unknown, is refused, or says no.
        UnavailableError: It can't be reached.
        StoreError: The folder can't be listed.
    """
    used = network or options.network()
    profile = profile_of(options.source)
    collections = profile.chosen(options.collections)
    folder = SceneFolder.of(out, area)
    before = replace(used.traffic)
    items = search(
        profile,
        collections,
        area,
        options.since,
        options.until,
        used,
        cloud=options.cloud,
        headers=_authorization(),
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
        traffic=RequestTally(
            used.traffic.requests - before.requests,
            used.traffic.bytes - before.bytes,
            used.traffic.retries - before.retries,
        ),
    )


def _acquisition(stem: str) -> str:
    """S2A_20231005T021001_R003 of S2A_20231005T021001_R003_52TFN_L2A."""
    return "_".join(stem.split("_")[:3]) if stem.startswith("S2") else stem


def _authorization() -> Mapping[str, str]:
    token = os.environ.get(TOKEN)
    return {"Authorization": f"Bearer {token}"} if token else {}


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
        when = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
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
