"""An HTTP server with range requests, faults and a log of what it was asked, in a process of its own.

Run as a program, it serves a folder. A path may begin with ``/fault/<name>/``; the fault then happens to
the file behind it. ``/log`` answers what was asked since the last ``/log``.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FOLDER = Path()
LOG: list[dict[str, Any]] = []
SEEN: Counter[str] = Counter()
LOCK = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.do_GET()

    def do_GET(self) -> None:
        if self.path == "/log":
            with LOCK:
                found, LOG[:] = list(LOG), []
            return self.answer(200, json.dumps(found).encode(), "application/json")
        path, _, query = self.path.partition("?")
        with LOCK:
            SEEN[path] += 1
            times = SEEN[path]
            LOG.append(
                {
                    "path": path,
                    "query": query,
                    "range": self.headers.get("Range"),
                    "authorization": self.headers.get("Authorization"),
                    "agent": self.headers.get("User-Agent"),
                }
            )
        fault, number, file = None, 0, path
        match = re.match(r"/fault/([a-z-]+)(\d*)(/.*)$", path)
        if match:
            fault, number, file = match[1], int(match[2] or 0), match[3]
        return self.serve(fault, number, times, file)

    def serve(self, fault: str | None, number: int, times: int, file: str) -> None:
        if fault == "status":  # /fault/status429/...: always
            return self.answer(number, b"no")
        if fault == "busy" and times <= number:  # /fault/busy2/...: the first two times
            return self.answer(429, b"slowly", extra={"Retry-After": "0"})
        if fault == "fails" and times <= number:
            return self.answer(503, b"not now")
        if fault == "hang" and times <= (number or 10**9):
            time.sleep(5)
            return None
        if fault == "html":
            return self.answer(200, b"<!doctype html><title>Please log in</title>" * 10, "text/html")
        if fault == "html-range":
            return self.ranged(b"<!doctype html><title>Please log in</title>" * 10)
        if fault == "loop":
            return self.answer(302, b"", extra={"Location": self.path})
        if fault == "private":
            return self.answer(302, b"", extra={"Location": "http://169.254.169.254/latest/meta-data/"})
        if fault == "local-file":
            return self.answer(302, b"", extra={"Location": "file:///etc/passwd"})
        if fault == "port":  # /fault/port8080/...: the same file of another server
            return self.answer(307, b"", extra={"Location": f"http://127.0.0.1:{number}{file}"})
        if fault == "onward":
            return self.answer(307, b"", extra={"Location": file})
        if fault == "bomb":
            body = gzip.compress(b"0" * 20_000_000, 9)
            return self.answer(200, body, "application/json", extra={"Content-Encoding": "gzip"})
        target = (FOLDER / file.lstrip("/")).resolve()
        if not target.is_relative_to(FOLDER.resolve()) or not target.is_file():
            return self.answer(404, b"there is none")
        content = target.read_bytes()
        if fault == "norange":
            return self.answer(200, content, "image/tiff")
        if fault == "other":
            return self.ranged(content, shift=7)
        if fault == "packed":
            return self.answer(206, gzip.compress(content), extra={"Content-Encoding": "gzip"})
        if fault == "cut" and times <= (number or 10**9):
            return self.ranged(content, cut=True)
        if target.suffix == ".json":
            return self.answer(200, content, "application/json")
        return self.ranged(content)

    def ranged(self, content: bytes, *, shift: int = 0, cut: bool = False) -> None:
        match = re.match(r"bytes=(\d+)-(\d+)$", self.headers.get("Range") or "")
        if match is None:
            return self.answer(200, content)
        first, last = int(match[1]), min(int(match[2]), len(content) - 1)
        if first > last:
            return self.answer(416, b"")
        body = content[first + shift : last + shift + 1]
        said = {"Content-Range": f"bytes {first + shift}-{first + shift + len(body) - 1}/{len(content)}"}
        return self.answer(206, body, "image/tiff", extra=said, cut=cut)

    def answer(
        self,
        status: int,
        body: bytes,
        kind: str = "text/plain",
        *,
        extra: dict[str, str] | None = None,
        cut: bool = False,
    ) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            for name, value in (extra or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if cut else body)
            if cut:
                self.close_connection = True
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True


class RangeServer:
    """A running server: where it is, and what it was asked."""

    def __init__(self, port: int) -> None:
        self.host = f"127.0.0.1:{port}"
        self.url = f"http://{self.host}"

    def asked(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{self.url}/log", timeout=10) as answer:
            return list(json.load(answer))


@contextmanager
def range_server(folder: Path) -> Iterator[RangeServer]:
    """Serve a folder from a process of its own until the block ends."""
    with subprocess.Popen(
        [sys.executable, str(Path(__file__)), str(folder)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield RangeServer(int(process.stdout.readline()))
        finally:
            process.kill()


def main() -> None:
    global FOLDER
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    FOLDER = given.folder
    server = ThreadingHTTPServer(("127.0.0.1", given.port), Handler)
    server.daemon_threads = True
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
