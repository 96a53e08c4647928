"""Requests to servers that nobody vouches for.

An archive's answers name further addresses (pages, redirects, images), so every one of them is checked, also
after the name has been resolved: only HTTPS, and only public addresses, unless the user has allowed a host by
name. Answers are limited in size and time. Faults that pass (429, 5xx, time-outs, cut bodies) are tried again
with growing waits; what is said in errors and logs never holds a link's query, where tokens stand.
"""

from __future__ import annotations

import email.utils
import logging
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from geo.catalogue.addresses import GuardedAdapter, Policy, redacted
from geo.errors import NetworkError, UnavailableError

log = logging.getLogger(__name__)

USER_AGENT = "railwatch (+https://pypi.org/project/railwatch)"
_REDIRECTS = 5
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST_WAIT_S = 120.0
_CHUNK = 65536
_LARGEST_ANSWER = 64 * 2**20


@dataclass
class RequestTally:
    """What was asked of servers.

    Attributes:
        requests: Number of requests, those tried again too.
        bytes: Number of bytes of bodies.
        retries: How many of the requests were repetitions.
    """

    requests: int = 0
    bytes: int = 0
    retries: int = 0

    def __add__(self, other: RequestTally) -> RequestTally:
        """The sum of two."""
        return RequestTally(
            self.requests + other.requests, self.bytes + other.bytes, self.retries + other.retries
        )


@dataclass(frozen=True)
class ServerAnswer:
    """A server's answer that was read whole.

    Attributes:
        url: Where it came from, after redirects.
        status: 200 to 399.
        headers: By lower-case name.
        content: The body.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass
class Network:
    """Asks servers within limits; one may be used by several threads.

    Attributes:
        policy: Which addresses may be asked.
        connections: Requests at one time, at most.
        attempts: How often one request is tried.
        connect_s: Seconds to wait for a connection.
        read_s: Seconds to wait for the next bytes.
        whole_s: Seconds that a whole answer may take.
        backoff_s: First wait before another attempt; each further one is twice as long.
        traffic: All that was asked.
    """

    policy: Policy = field(default_factory=Policy)
    connections: int = 8
    attempts: int = 6
    connect_s: float = 10.0
    read_s: float = 30.0
    whole_s: float = 180.0
    backoff_s: float = 0.5
    traffic: RequestTally = field(default_factory=RequestTally)

    def __post_init__(self) -> None:
        """Open the session."""
        self._gate = threading.BoundedSemaphore(self.connections)
        self._lock = threading.Lock()
        self._not_before: dict[str, float] = {}
        self._session = requests.Session()
        self._session.headers.update({"User-Agent": USER_AGENT})
        adapter = GuardedAdapter(self.policy, self.connections)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def ask(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        limit: int = _LARGEST_ANSWER,
        traffic: RequestTally | None = None,
    ) -> ServerAnswer:
        """Ask a server, again if the fault may pass.

        Args:
            url: The link, with its tokens.
            method: GET or POST.
            headers: Further ones.
            params: Added to the link's query.
            json: Body of a POST.
            limit: The most bytes of a body that are read.
            traffic: Counts the requests and bytes too.

        Raises:
            NetworkError: The address is refused, the server says no, or its answer is too large.
            UnavailableError: It couldn't be reached, or still fails after all attempts.
        """
        asked = {"method": method, "params": params, "json": json}
        asked["headers"] = {"Accept-Encoding": "identity", **(headers or {})}
        host = urlsplit(url).netloc
        for attempt in range(1, self.attempts + 1):
            self._wait_for(host)
            try:
                answer = self._once(url, asked, limit, traffic, again=attempt > 1)
            except _Passing as fault:
                reason, wait = str(fault), None
            else:
                if answer.status not in _PASSING:
                    if answer.status >= 400:
                        raise NetworkError(f"{redacted(answer.url)}: {_status(answer)}")
                    return answer
                reason, wait = _status(answer), _retry_after(answer.headers)
            if attempt == self.attempts:
                break
            pause = self.backoff_s * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)
            pause = min(max(pause, wait or 0.0), _LONGEST_WAIT_S)
            log.info("%s: %s; tried again in %.1f s", redacted(url), reason, pause)
            if wait is None:
                time.sleep(pause)
            else:  # the server asks for patience: all who ask it wait
                self._hold(host, pause)
        times = "once" if self.attempts == 1 else f"{self.attempts} times"
        raise UnavailableError(f"{redacted(url)}: {reason} (tried {times})")

    def _once(
        self,
        url: str,
        asked: Mapping[str, Any],
        limit: int,
        traffic: RequestTally | None,
        *,
        again: bool,
    ) -> ServerAnswer:
        """One attempt, with its redirects."""
        asked = dict(asked)
        for _ in range(_REDIRECTS + 1):
            self.policy.check(url)
            with self._gate:
                self._count(traffic, again=again)
                answer = self._read(url, asked, limit, traffic)
            target = answer.headers.get("location")
            if answer.status not in (301, 302, 303, 307, 308) or not target:
                return answer
            onward = urljoin(url, target)
            if urlsplit(onward).netloc != urlsplit(url).netloc:
                sent = asked["headers"].items()
                asked["headers"] = {name: value for name, value in sent if name.lower() in _HARMLESS}
            if answer.status in (301, 302, 303):
                asked |= {"method": "GET", "json": None}
            url, asked["params"] = onward, None
        raise NetworkError(f"{redacted(url)}: it redirects in a loop")

    def _read(
        self, url: str, asked: Mapping[str, Any], limit: int, traffic: RequestTally | None
    ) -> ServerAnswer:
        ends = time.monotonic() + self.whole_s
        try:
            with self._session.request(
                url=url,
                **asked,
                stream=True,
                timeout=(self.connect_s, self.read_s),
                allow_redirects=False,
                auth=_no_netrc,
            ) as response:
                body = bytearray()
                if not 300 <= response.status_code < 400:
                    for chunk in response.iter_content(_CHUNK):
                        body += chunk
                        self._count(traffic, len(chunk))
                        if len(body) > limit:
                            raise NetworkError(
                                f"{redacted(url)}: the answer has more than {limit:,} bytes and isn't read"
                            )
                        if time.monotonic() > ends:
                            raise _Passing(f"the answer took more than {self.whole_s:.0f} s")
                found = {name.lower(): value for name, value in response.headers.items()}
                return ServerAnswer(url, response.status_code, found, bytes(body))
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            refusal = _refusal_in(error)
            if refusal is not None:
                raise refusal from None
            # What these errors say themselves holds the whole link, and so its tokens.
            raise _Passing(_fault(error)) from None

    def _count(self, traffic: RequestTally | None, size: int | None = None, *, again: bool = False) -> None:
        with self._lock:
            for one in (self.traffic, traffic):
                if one is None:
                    continue
                if size is None:
                    one.requests += 1
                    one.retries += again
                else:
                    one.bytes += size

    def _hold(self, host: str, seconds: float) -> None:
        with self._lock:
            self._not_before[host] = max(self._not_before.get(host, 0.0), time.monotonic() + seconds)

    def _wait_for(self, host: str) -> None:
        while True:
            with self._lock:
                left = self._not_before.get(host, 0.0) - time.monotonic()
            if left <= 0.0:
                return
            time.sleep(left)


class _Passing(Exception):
    """A fault that may pass."""


# Headers that may go on to another host.
_HARMLESS = frozenset({"accept", "accept-encoding", "range", "user-agent", "content-type"})


def _no_netrc(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep requests from taking passwords out of the user's .netrc."""
    return request


def _status(answer: ServerAnswer) -> str:
    said = {
        401: "it asks for a login",
        403: "it refuses access",
        404: "it isn't there",
        410: "it isn't there any more",
        416: "it has no such bytes",
        429: "too many requests",
    }
    text = said.get(answer.status)
    return f"{text} (status {answer.status})" if text else f"the server fails with status {answer.status}"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait, by number or by date."""
    text = headers.get("retry-after", "").strip()
    if text.isdigit():
        return min(float(text), _LONGEST_WAIT_S)
    if not text:
        return None
    try:
        when = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return min(max(when.timestamp() - time.time(), 0.0), _LONGEST_WAIT_S)


def _refusal_in(error: BaseException) -> NetworkError | None:
    """A refusal of ours that a library has wrapped."""
    pending: list[Any] = [error]
    seen: set[int] = set()
    while pending:
        one = pending.pop()
        if isinstance(one, NetworkError):
            return one
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        pending += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
    return None


def _fault(error: Exception) -> str:
    if isinstance(error, (requests.Timeout, TimeoutError, urllib3.exceptions.TimeoutError)):
        return "it doesn't answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate isn't valid"
    if isinstance(
        error, (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError)
    ):
        return "its answer was cut or garbled"
    if isinstance(error, requests.ConnectionError):
        return "it can't be reached"
    return f"the connection failed ({type(error).__name__})"
