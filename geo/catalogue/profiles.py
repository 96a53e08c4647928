"""What each archive calls things, how it hands them out, and the traps that are known of it.

Earth Search v1 (``earth-search``)
    Open; COGs in AWS us-west-2. ``sentinel-2-l2a`` declares the offset -0.1 on images from which it was
    already taken off, and its flag ``earthsearch:boa_offset_applied`` is wrong now and then
    (Element84/earth-search issues 9, 66, 71): decided on the pixels. ``sentinel-2-c1-l2a`` is consistent,
    and preferred; it has gaps.
Planetary Computer (``planetary-computer``)
    Open search; COGs, signed by a token that its public route hands out. The numbers are ESA's: 1000 is
    added from baseline 04.00 on, whatever the date (microsoft/PlanetaryComputer issue 134). Halves of
    split tiles are missing (issue 256). NAIP's times are days.
Copernicus Data Space (``cdse``)
    Open search; JPEG 2000 in ``s3://eodata`` with the keys of an account. Scale and offset are declared
    and real. The images have no list of tiles, so that many small requests are needed.
Maxar open data (a catalogue's URL)
    Static files that are crawled; COGs, open, CC BY-NC 4.0. Tiles of one pass share its time; ``visual``
    is an 8-bit picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from geo.errors import NetworkError

__all__ = ["PROFILES", "Collection", "Profile", "profile_of"]

Kind = Literal["sentinel-2", "fine"]
Signing = Literal["none", "planetary-computer", "s3"]

COPERNICUS = "Contains modified Copernicus Sentinel data {year}"


@dataclass(frozen=True)
class Collection:
    """A collection of an archive.

    Attributes:
        id: Its name there.
        kind: "sentinel-2" (10 m, bands understood by `geo.sentinel2`) or "fine" (a picture of about a metre).
        attribution: What has to stand beside a picture; ``{year}`` is that of the acquisition.
        license: By its SPDX name, or "other".
        assets: Of a fine collection: names of the image, the preferred one first.
        sensor: Of a fine collection whose items don't name their platform.
    """

    id: str
    kind: Kind
    attribution: str
    license: str = "other"
    assets: tuple[str, ...] = ()
    sensor: str | None = None


@dataclass(frozen=True)
class Profile:
    """An archive.

    Attributes:
        name: As on the command line.
        url: Of its STAC API or catalogue.
        collections: Those that are searched unless others are named; of two that hold the same acquisition
            the earlier one is read.
        others: Further known ones, searched when they are named.
        signing: How links to images get their tokens.
        s3_endpoint: Where ``s3://`` links lead.
    """

    name: str
    url: str
    collections: tuple[Collection, ...]
    others: tuple[Collection, ...] = ()
    signing: Signing = "none"
    s3_endpoint: str | None = None

    def chosen(self, names: tuple[str, ...]) -> tuple[Collection, ...]:
        """The collections that a user names, or the usual ones."""
        if not names:
            return self.collections
        known = {one.id: one for one in (*self.collections, *self.others, *_KNOWN.values())}
        return tuple(known.get(name) or Collection(name, "fine", name, assets=_FINE_ASSETS) for name in names)


_FINE_ASSETS = ("visual", "image", "analytic", "data")
_C1 = Collection("sentinel-2-c1-l2a", "sentinel-2", COPERNICUS)
_L2A = Collection("sentinel-2-l2a", "sentinel-2", COPERNICUS)
_NAIP = Collection(
    "naip",
    "fine",
    "NAIP, USDA Farm Service Agency, {year} (public domain)",
    license="CC-PDDC",
    assets=("image",),
    sensor="NAIP",
)
_KNOWN = {one.id: one for one in (_C1, _L2A, _NAIP)}

PROFILES: Mapping[str, Profile] = {
    one.name: one
    for one in (
        Profile("earth-search", "https://earth-search.aws.element84.com/v1", (_C1, _L2A)),
        Profile(
            "planetary-computer",
            "https://planetarycomputer.microsoft.com/api/stac/v1",
            (_L2A,),
            (_NAIP,),
            signing="planetary-computer",
        ),
        Profile(
            "cdse",
            "https://stac.dataspace.copernicus.eu/v1",
            (_L2A,),
            signing="s3",
            s3_endpoint="https://eodata.dataspace.copernicus.eu",
        ),
    )
}
"""The archives that have a name."""

_MAXAR = Profile(
    "maxar-open-data",
    "https://maxar-opendata.s3.amazonaws.com/events/catalog.json",
    (
        Collection(
            "*",
            "fine",
            "Satellite image (c) {year} Maxar Technologies (CC BY-NC 4.0)",
            license="CC-BY-NC-4.0",
            assets=("visual",),
        ),
    ),
)


def profile_of(source: str) -> Profile:
    """Return the archive that a user means.

    Args:
        source: A name of `PROFILES`, or the URL of a STAC API or of a catalogue file.

    Raises:
        NetworkError: It is neither.

    Example:
        >>> profile_of("earth-search").collections[0].id
        'sentinel-2-c1-l2a'
    """
    if source in PROFILES:
        return PROFILES[source]
    parts = urlsplit(source)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise NetworkError(
            f"{source} is no known source; choose one of {', '.join(PROFILES)}, or give the URL of a STAC API"
        )
    for one in (*PROFILES.values(), _MAXAR):
        if parts.hostname == urlsplit(one.url).hostname:
            return Profile(one.name, source, one.collections, one.others, one.signing, one.s3_endpoint)
    if parts.path.endswith(".json"):
        anything = Collection("*", "fine", "see the item's provider", assets=_FINE_ASSETS)
        return Profile("catalogue", source, (_C1, _L2A, anything))
    return Profile("api", source, (_C1, _L2A), (_NAIP,))
