"""The items of an archive that show an area in some time: by a STAC API, or by crawling a catalogue."""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import pystac
import shapely
from pystac_client import Client
from pystac_client import warnings as client_warnings
from pystac_client.exceptions import APIError, ParametersError
from pystac_client.stac_api_io import StacApiIO

from geo.catalogue.addresses import redacted
from geo.catalogue.network import Network
from geo.errors import NetworkError

if TYPE_CHECKING:
    from aoi import AreaOfInterest
    from geo.catalogue.profiles import Collection, Profile


log = logging.getLogger(__name__)

_PAGE = 100
_MOST_ITEMS = 20_000
_MOST_FILES = 20_000
_DEEPEST = 6

Item = dict[str, Any]


class GuardedIO(StacApiIO):
    """pystac-client's way to servers, led through a `Network`."""

    def __init__(self, network: Network, headers: Mapping[str, str] | None = None) -> None:
        """Take the network; ``headers`` go to the API and nowhere else."""
        super().__init__()
        self.session.close()
        self._network, self._own_headers = network, dict(headers or {})

    def request(
        self,
        href: str,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:
        """Ask for one document; see `pystac_client.stac_api_io.StacApiIO.request`."""
        post = (method or "GET").upper() == "POST"
        answer = self._network.ask(
            str(href),
            method="POST" if post else "GET",
            headers={"Accept-Encoding": "gzip", **self._own_headers, **_harmless(headers)},
            params=None if post else parameters,
            json=parameters if post else None,
        )
        return answer.content.decode("utf-8", errors="replace")

    def read_text(self, source: Any, *args: Any, **kwargs: Any) -> str:
        """Read a document; no local file is opened, whatever a server's link says."""
        if isinstance(source, pystac.Link):
            return str(super().read_text(source, *args, **kwargs))
        return self.request(str(source), *args, **kwargs)


def _harmless(headers: Mapping[str, str] | None) -> dict[str, str]:
    """What a server's "next" link may ask to be sent back to it: nothing that carries rights."""
    refused = ("authorization", "cookie", "host", "proxy")
    return {
        str(name): str(value)
        for name, value in (headers or {}).items()
        if not str(name).lower().startswith(refused)
    }


def search(
    profile: Profile,
    collections: Sequence[Collection],
    area: AreaOfInterest,
    since: dt.datetime,
    until: dt.datetime,
    network: Network,
    *,
    cloud: float | None = None,
    headers: Mapping[str, str] | None = None,
) -> list[Item]:
    """Find the items that touch an area's boundary.

    Args:
        profile: The archive.
        collections: Of it.
        area: In longitude and latitude.
        since: UTC, included.
        until: UTC, included.
        network: Asks the server.
        cloud: The most per cent of cloud over the whole item; items that don't tell are kept.
        headers: For the API, such as an authorization.

    Returns:
        The items as JSON, by time and id; each has the member ``collection``. Those that don't say when
        or where they were taken are among them, since the archive offers them: who reads them refuses
        them aloud.

    Raises:
        NetworkError: The server says no, or what it says isn't STAC.
        UnavailableError: It can't be reached.
    """
    try:
        with client_warnings.ignore():
            client = Client.open(profile.url, stac_io=GuardedIO(network, headers))
            if client.conforms_to("ITEM_SEARCH"):
                found = list(_by_api(client, profile, collections, area, since, until, cloud))
            else:
                found = list(_by_crawling(profile, area, since, until, network))
    except NetworkError:
        raise
    except APIError as error:
        raise NetworkError(f"{redacted(profile.url)}: the search failed: {_short(error)}") from None
    except (ParametersError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise NetworkError(f"{redacted(profile.url)}: it isn't a STAC API or catalogue") from error
    boundary = area.boundary
    kept: dict[tuple[str, str], Item] = {}
    for item in found:
        when, shape = time_of(item), footprint(item)
        if when is not None and not since <= when <= until:
            continue
        if shape is not None and not shape.intersects(boundary):
            continue
        covered = item["properties"].get("eo:cloud_cover", item["properties"].get("cloud_cover"))
        if cloud is not None and isinstance(covered, (int, float)) and covered > cloud:
            continue
        kept.setdefault((str(item.get("collection")), str(item.get("id"))), item)
    return sorted(kept.values(), key=lambda one: (str(time_of(one)), str(one.get("id"))))


def _by_api(
    client: Client,
    profile: Profile,
    collections: Sequence[Collection],
    area: AreaOfInterest,
    since: dt.datetime,
    until: dt.datetime,
    cloud: float | None,
) -> Iterator[Item]:
    names = [one.id for one in collections if one.id != "*"]
    query = {"eo:cloud_cover": {"lte": cloud}} if cloud is not None and client.conforms_to("QUERY") else None
    asked = client.search(
        method="POST" if _has_post(client) else "GET",
        collections=names or None,
        bbox=list(area.boundary.bounds),
        datetime=[since, until],
        query=query,
        limit=_PAGE,
        max_items=_MOST_ITEMS,
    )
    seen: set[tuple[str, str]] = set()
    for page in asked.pages_as_dicts():
        listed = page.get("features")
        if not isinstance(listed, list) or (listed and not any(_is_item(one) for one in listed)):
            raise NetworkError(f"{redacted(profile.url)}: its answer to the search isn't a list of items")
        keys = {(str(one.get("collection")), str(one.get("id"))) for one in listed if isinstance(one, dict)}
        if keys and keys <= seen:
            raise NetworkError(f"{redacted(profile.url)}: its pages repeat themselves without end")
        seen |= keys
        yield from (one for one in listed if _is_item(one))


def _has_post(client: Client) -> bool:
    return any(
        link.rel == "search" and str(link.extra_fields.get("method", "")).upper() == "POST"
        for link in client.links
    )


def _by_crawling(
    profile: Profile, area: AreaOfInterest, since: dt.datetime, until: dt.datetime, network: Network
) -> Iterator[Item]:
    """Follow a static catalogue's links, but not into parts of the world or of time that don't matter."""
    pending: list[tuple[str, int]] = [(profile.url, 0)]
    seen: set[str] = set()
    while pending:
        url, depth = pending.pop()
        if url in seen or depth > _DEEPEST:
            continue
        seen.add(url)
        if len(seen) > _MOST_FILES:
            raise NetworkError(
                f"{redacted(profile.url)}: the catalogue has too many files; name a part of it"
            )
        try:
            found = json.loads(network.ask(url, headers={"Accept-Encoding": "gzip"}).content)
        except (ValueError, RecursionError) as error:
            raise NetworkError(f"{redacted(url)}: it isn't STAC JSON") from error
        if not isinstance(found, dict):
            raise NetworkError(f"{redacted(url)}: it isn't STAC JSON")
        if _is_item(found):
            assets = found["assets"].values()
            for asset in assets:
                if isinstance(asset, dict) and isinstance(asset.get("href"), str):
                    asset["href"] = urljoin(url, asset["href"])
            yield found
            continue
        if not _reaches(found, area, since, until):
            continue
        for link in found.get("links") or ():
            if (
                isinstance(link, dict)
                and link.get("rel") in ("child", "item")
                and isinstance(link.get("href"), str)
            ):
                pending.append((urljoin(url, link["href"]), depth + 1))


def _reaches(found: Item, area: AreaOfInterest, since: dt.datetime, until: dt.datetime) -> bool:
    """Whether a collection's extent meets the area and the time, as far as it tells."""
    extent = found.get("extent")
    if not isinstance(extent, dict):
        return True
    boxes = (extent.get("spatial") or {}).get("bbox") or []
    shapes = [_box(one) for one in boxes]
    if shapes and not any(one is None or one.intersects(area.boundary) for one in shapes):
        return False
    spans = (extent.get("temporal") or {}).get("interval") or []
    for start, stop in (one for one in spans if isinstance(one, list) and len(one) == 2):
        first, last = _moment(start), _moment(stop)
        if (first is None or first <= until) and (last is None or last >= since):
            return True
    return not spans


def footprint(item: Mapping[str, Any]) -> shapely.Geometry | None:
    """The ground that an item says it shows, in longitude and latitude; None where it doesn't tell."""
    given = item.get("geometry")
    if isinstance(given, Mapping):
        try:
            shape = shapely.geometry.shape(given)
            shape = shape if shape.is_valid else shapely.make_valid(shape)
            if not shape.is_empty:
                return shape
        except (ValueError, TypeError, KeyError, AttributeError, shapely.errors.ShapelyError):
            pass
    return _box(item.get("bbox"))


def _box(given: Any) -> shapely.Geometry | None:
    if not isinstance(given, list) or len(given) not in (4, 6):
        return None
    try:
        west, south, east, north = (float(one) for one in (given[:2] + given[len(given) // 2 :][:2]))
    except (TypeError, ValueError):
        return None
    return shapely.box(west, south, east, north)


def _is_item(found: Any) -> bool:
    return (
        isinstance(found, dict)
        and found.get("type") == "Feature"
        and isinstance(found.get("properties"), dict)
        and isinstance(found.get("assets"), dict)
    )


def time_of(item: Mapping[str, Any]) -> dt.datetime | None:
    """When an item says it was taken, UTC; None where it doesn't tell."""
    said = item["properties"]
    return _moment(said.get("datetime") or said.get("start_datetime"))


def _moment(text: Any) -> dt.datetime | None:
    if not isinstance(text, str):
        return None
    try:
        when = dt.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return when.replace(tzinfo=dt.UTC) if when.tzinfo is None else when.astimezone(dt.UTC)


def _short(error: Exception) -> str:
    """An error's words without links in them."""
    words = [redacted(word) if "://" in word else word for word in str(error).split()]
    return " ".join(words)[:200] or type(error).__name__
