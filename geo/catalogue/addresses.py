"""Which addresses may be asked: looked at in a link's text, and again when its name has been resolved."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from geo.errors import NetworkError

_PRIVATE_NAMES = ("localhost", ".localhost", ".local", ".internal", ".lan", ".home.arpa")


@dataclass(frozen=True)
class Policy:
    """Which addresses may be asked.

    Attributes:
        allowed_hosts: Hosts (``name`` or ``name:port``) that the user vouches for: they may be private, and
            may speak plain HTTP.
    """

    allowed_hosts: frozenset[str] = frozenset()

    def check(self, url: str) -> None:
        """Refuse a link that may not be followed, as far as its text tells.

        Raises:
            NetworkError: It isn't HTTPS, holds a password, or names a private address.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise NetworkError(f"{redacted(url)} isn't a link: {error}") from None
        if parts.scheme not in ("http", "https") or not host:
            raise NetworkError(f"{redacted(url)} is refused: only https links to a host are followed")
        if parts.username is not None or parts.password is not None:
            raise NetworkError(f"{redacted(url)} is refused: it holds a user name or a password")
        if self.allows(host, port or (443 if parts.scheme == "https" else 80)):
            return
        if parts.scheme != "https":
            raise NetworkError(
                f"{redacted(url)} is refused: it isn't encrypted; --allow-host {host} permits it"
            )
        literal = _address(host)
        private = host.lower().endswith(_PRIVATE_NAMES) if literal is None else not _is_public(literal)
        if private:
            raise NetworkError(
                f"{redacted(url)} is refused: it is a private address; --allow-host {host} permits it"
            )

    def allows(self, host: str, port: int) -> bool:
        """Whether the user vouches for a host."""
        name = host.lower()
        return name in self.allowed_hosts or f"{name}:{port}" in self.allowed_hosts

    def resolved(self, host: str, port: int) -> str:
        """The address to connect to: that of a name, resolved once, so that it can't change after the check.

        Raises:
            NetworkError: The name stands for a private address.
            OSError: It can't be resolved.
        """
        if self.allows(host, port):
            return host
        addresses = [
            str(one[4][0]).partition("%")[0]
            for one in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        ]
        for text in addresses:
            address = _address(text)
            if address is None or not _is_public(address):
                raise NetworkError(
                    f"{host} is refused: its address {text} is a private one; --allow-host {host} permits it"
                )
        return addresses[0]


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        pass
    try:  # 127.1, 2130706433 and 0x7f000001 are addresses to a resolver too
        return ipaddress.ip_address(socket.inet_aton(text)) if text[:1].isdigit() else None
    except OSError:
        return None


_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return _is_public(inner)
    return address.is_global and not address.is_multicast


def redacted(url: str) -> str:
    """A link without its query, its fragment and its password, in which tokens stand."""
    bare = url.partition("?")[0].partition("#")[0]
    scheme, mark, rest = bare.partition("://")
    host, slash, path = rest.partition("/")
    shown = f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}" if mark else bare
    return "".join(one if one.isprintable() else "?" for one in shown)[:300]


class GuardedAdapter(HTTPAdapter):
    """Connects to checked addresses only."""

    def __init__(self, policy: Policy, connections: int) -> None:
        self._policy = policy
        super().__init__(pool_connections=16, pool_maxsize=connections, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools that look at addresses."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _guarded_pools(self._policy)


def _guarded_pools(policy: Policy) -> dict[str, Any]:
    """Connection pools whose connections look at the address before they open."""

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _through(policy, self, super()._new_conn)

    class Secure(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _through(policy, self, super()._new_conn)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def _through(policy: Policy, connection: Any, connect: Callable[[], socket.socket]) -> socket.socket:
    """Connect to the address that was checked; TLS still asks for the name."""
    name = connection._dns_host
    try:
        connection._dns_host = policy.resolved(name, connection.port)
    except OSError as error:
        raise urllib3.exceptions.NameResolutionError(name, connection, error) from error  # type: ignore[arg-type]
    try:
        return connect()
    finally:
        connection._dns_host = name
