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

import datetime as dt
import json
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from geo.catalogue.addresses import redacted
from geo.catalogue.network import Network
from geo.errors import NetworkError

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
        assets: Of a fine collection: names of the image, the preferred one first.
        sensor: Of a fine collection whose items don't name their platform.
    """

    id: str
    kind: Kind
    attribution: str
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


Signer = Callable[[str], str]

_TOKEN_ROUTE = "https://planetarycomputer.microsoft.com/api/sas/v1/token"
_BLOB = re.compile(
    r"https://(?P<account>[a-z0-9]{3,24})\.blob\.core\.windows\.net/(?P<container>[a-z0-9-]{3,63})/"
)
_SPARE_S = 120.0
_S3_VALID_S = 3600


def signer_of(profile: Profile, network: Network) -> Signer:
    """Return what turns an item's link into one that can be asked for.

    Raises:
        NetworkError: The archive wants keys, and there are none.
    """
    if profile.signing == "planetary-computer":
        return PlanetaryComputerSigner(network)
    if profile.signing == "s3":
        return S3Signer.from_environment(profile.s3_endpoint or "")
    return _only_https


def _only_https(url: str) -> str:
    if url.startswith("s3://"):
        raise NetworkError(f"{redacted(url)}: this archive's s3 links can't be read")
    return url


@dataclass
class PlanetaryComputerSigner:
    """Adds a container's token to links into Azure's storage.

    Attributes:
        network: Asks for tokens.
        route: Where they are handed out.
        blob: Finds account and container in a link.
    """

    network: Network
    route: str = _TOKEN_ROUTE
    blob: re.Pattern[str] = _BLOB
    _tokens: dict[tuple[str, str], tuple[str, float]] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __call__(self, url: str) -> str:
        """Return the link with a token that is valid for some minutes; other links as they are."""
        match = self.blob.match(url)
        if match is None:
            return _only_https(url)
        key = (match["account"], match["container"])
        with self._lock:
            token, until = self._tokens.get(key, ("", 0.0))
            if time.time() + _SPARE_S > until:
                token, until = self._tokens[key] = self._ask(*key)
        return f"{url.partition('?')[0]}?{token}"

    def _ask(self, account: str, container: str) -> tuple[str, float]:
        subscription = os.environ.get("PC_SDK_SUBSCRIPTION_KEY")
        headers = {"Ocp-Apim-Subscription-Key": subscription} if subscription else {}
        answer = self.network.ask(f"{self.route}/{account}/{container}", headers=headers, limit=65536)
        try:
            said: Any = json.loads(answer.content)
            token = str(said["token"])
            until = dt.datetime.fromisoformat(str(said["msft:expiry"]).replace("Z", "+00:00")).timestamp()
        except (ValueError, KeyError, TypeError) as error:
            raise NetworkError(f"{self.route}: its answer isn't a token") from error
        return token, until


@dataclass
class S3Signer:
    """Turns ``s3://bucket/key`` into an https link that is signed for an hour.

    Attributes:
        endpoint: The server.
        access_key: Of the account.
        secret_key: Of the account.
    """

    endpoint: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    _client: Any = field(default=None, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def from_environment(cls, endpoint: str) -> S3Signer:
        """Take the keys from the environment.

        Raises:
            NetworkError: They aren't there.
        """
        access, secret = (os.environ.get(f"RAILWATCH_CDSE_{name}_KEY", "") for name in ("ACCESS", "SECRET"))
        if not access or not secret:
            raise NetworkError(
                "the Copernicus Data Space hands out images only with the S3 keys of an account; put them in "
                "RAILWATCH_CDSE_ACCESS_KEY and RAILWATCH_CDSE_SECRET_KEY"
            )
        return cls(os.environ.get("RAILWATCH_CDSE_ENDPOINT", endpoint), access, secret)

    def __call__(self, url: str) -> str:
        """Return a signed link for an s3 link; other links as they are."""
        parts = urlsplit(url)
        if parts.scheme != "s3":
            return url
        with self._lock:
            if self._client is None:
                self._client = self._made()
            signed = self._client.generate_presigned_url(
                "get_object",
                Params={"Bucket": parts.netloc, "Key": parts.path.lstrip("/")},
                ExpiresIn=_S3_VALID_S,
            )
        return str(signed)

    def _made(self) -> Any:
        try:
            from botocore.config import Config
            from botocore.session import Session
        except ImportError as error:
            raise NetworkError("s3 links need s3fs: pip install 'railwatch[s3]'") from error
        return Session().create_client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="default",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )
