"""A remote file, of which only the asked-for bytes are fetched and kept in a sparse local one."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from geo.catalogue.addresses import redacted
from geo.catalogue.network import Network, RequestTally
from geo.errors import NetworkError, UnavailableError

FIRST_BYTES = 32768
"""Fetched at the start: the header of most COGs."""

_GAP = 65536  # bytes between two wanted ranges that cost less than a request of their own
_LARGEST_RANGE = 32 * 2**20
_MOST_FETCHED = 256 * 2**20
_SMALL_FILE = 4 * 2**20  # a server without range requests may send a file of this size whole
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)$")

Range = tuple[int, int]
"""First byte and the one after the last."""


class RangeFile(io.RawIOBase):
    """Reads like an open file; what isn't there yet is fetched by one request for each gap.

    The bytes lie at their own places in a sparse file of the full length, so that GDAL can open that file and
    read from it whatever has been fetched.

    Args:
        network: Asks the server.
        url: The file's link.
        path: The local file that is made.
        sign: Gives the link with a valid token.
        traffic: Counts requests and bytes.

    Raises:
        NetworkError: It isn't there, is refused, or the server doesn't know range requests.
        UnavailableError: The server can't be reached.
    """

    def __init__(
        self,
        network: Network,
        url: str,
        path: Path,
        *,
        sign: Callable[[str], str],
        traffic: RequestTally,
    ) -> None:
        super().__init__()
        self._network, self._url, self._sign = network, url, sign
        self._traffic = traffic
        self._have: list[Range] = []
        self._position = 0
        self._etag: str | None = None
        self.path = path
        self.fetched = 0
        self.length = 0
        self._file = path.open("w+b")
        try:
            self._first()
        except BaseException:
            self._file.close()
            raise

    def _first(self) -> None:
        content = self._ask(0, FIRST_BYTES)
        if len(content) > self.length:
            raise NetworkError(f"{redacted(self._url)}: it sends more bytes than it says it has")
        self._file.truncate(self.length)
        self._keep(0, content)

    def fetch(self, ranges: Iterable[Range]) -> None:
        """Bring ranges of bytes here: near ones by one request.

        Args:
            ranges: Inside the file.

        Raises:
            NetworkError: They lie outside of it, are too many, or can't be had.
        """
        for start, stop in self.gaps(ranges):
            self._keep(start, self._ask(start, stop))

    def gaps(self, ranges: Iterable[Range]) -> list[Range]:
        """The requests that ranges of bytes would take: what is missing of them, near ones joined.

        Raises:
            NetworkError: They lie outside of the file.
        """
        wanted = sorted({one for one in ranges if one[0] < one[1]})
        if any(start < 0 or stop > self.length for start, stop in wanted):
            raise NetworkError(f"{redacted(self._url)}: it points to bytes beyond its end")
        gaps = [gap for one in wanted for gap in self._missing(one)]
        joined: list[list[int]] = []
        for start, stop in sorted(gaps):
            near = joined and start <= joined[-1][1] + _GAP
            if near and max(stop, joined[-1][1]) - joined[-1][0] <= _LARGEST_RANGE:
                joined[-1][1] = max(stop, joined[-1][1])
            else:
                joined.append([start, stop])
        return [(start, stop) for start, stop in joined]

    def _ask(self, start: int, stop: int) -> bytes:
        if self.fetched + stop - start > _MOST_FETCHED:
            raise NetworkError(
                f"{redacted(self._url)}: more than {_MOST_FETCHED / 2**20:.0f} MB of it would be needed; it "
                "isn't laid out for reading in parts"
            )
        for attempt in (1, 2):
            answer = self._network.ask(
                self._sign(self._url),
                headers={"Range": f"bytes={start}-{stop - 1}"},
                limit=max(stop - start, _SMALL_FILE),
                traffic=self._traffic,
            )
            if "content-encoding" in answer.headers:
                raise NetworkError(f"{redacted(self._url)}: it sends packed bytes, which nobody asked for")
            if answer.status == 200:
                return self._whole(answer.content, start, stop)
            match = _CONTENT_RANGE.match(answer.headers.get("content-range", ""))
            if answer.status != 206 or match is None:
                raise NetworkError(f"{redacted(self._url)}: the server doesn't know range requests")
            first, last, length = (int(one) for one in match.groups())
            if self.length in (0, length) and first == start and last == min(stop, length) - 1:
                etag = answer.headers.get("etag")
                if self._etag not in (None, etag):
                    raise NetworkError(f"{redacted(self._url)}: it changed while it was being read")
                if len(answer.content) == last - first + 1:
                    self._etag, self.length = etag, length
                    self.fetched += len(answer.content)
                    return answer.content
                fault = f"the answer was cut after {len(answer.content):,} of {last - first + 1:,} bytes"
            else:
                fault = "the server sends other bytes than it was asked for"
            if attempt == 2:
                raise UnavailableError(f"{redacted(self._url)}: {fault}")
        raise AssertionError  # the loop returns or raises

    def _whole(self, content: bytes, start: int, stop: int) -> bytes:
        """A server without range requests has sent everything, which is accepted of a small file."""
        if len(content) > _SMALL_FILE:
            raise NetworkError(f"{redacted(self._url)}: the server doesn't know range requests")
        if self.length == 0:
            self.length = len(content)
            self._file.truncate(self.length)
            self._keep(0, content)
        self.fetched += len(content)
        return content[start:stop]

    def _missing(self, wanted: Range) -> list[Range]:
        start, stop = wanted
        gaps = []
        for first, end in self._have:
            if end <= start:
                continue
            if first >= stop:
                break
            if first > start:
                gaps.append((start, first))
            start = max(start, end)
        if start < stop:
            gaps.append((start, stop))
        return gaps

    def _keep(self, start: int, content: bytes) -> None:
        self._file.seek(start)
        self._file.write(content)
        self._file.flush()
        merged: list[Range] = []
        for first, end in sorted([*self._have, (start, start + len(content))]):
            if merged and first <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((first, end))
        self._have = merged

    # ---- what makes it a file ----------------------------------------------------------------------

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.length}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read into a buffer, fetching what is missing, at least a block at a time."""
        stop = min(self._position + len(buffer), self.length)
        if stop <= self._position:
            return 0
        if self._missing((self._position, stop)):
            ahead = min(max(stop, self._position + FIRST_BYTES), self.length)
            self.fetch([(self._position, ahead)])
        self._file.seek(self._position)
        content = self._file.read(stop - self._position)
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)

    def close(self) -> None:
        """Close the local file, which stays."""
        if not self.closed:
            self._file.close()
        super().close()
