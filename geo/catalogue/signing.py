"""Links to images with the tokens or keys that an archive asks for, which never leave this module in text.

The Planetary Computer hands out read tokens for each storage container by a public route; a subscription
key in ``PC_SDK_SUBSCRIPTION_KEY`` (the name that its own library reads) raises the limits. The Copernicus
Data Space wants the S3 keys of an account, from ``RAILWATCH_CDSE_ACCESS_KEY`` and
``RAILWATCH_CDSE_SECRET_KEY``.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from geo.catalogue.network import Network, redacted
from geo.catalogue.profiles import Profile
from geo.errors import NetworkError

__all__ = ["PlanetaryComputerSigner", "S3Signer", "signer_of"]

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
