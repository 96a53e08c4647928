"""What railwatch meets in the world, on this machine: a public archive, a Dask cluster, an S3 server.

The STAC API is rustac's server, the images lie behind `range_server`, the buckets behind moto's server. All
of them run in processes of their own, and end with the block that started them.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import shapely
from range_server import RangeServer, range_server
from rasterio.warp import transform_bounds

ROOT = Path(__file__).resolve().parent.parent
RUSTAC = Path(sysconfig.get_path("scripts")) / "rustac"

needs_rustac = pytest.mark.skipif(not RUSTAC.exists(), reason="rustac, the STAC server, isn't installed")


@dataclass(frozen=True)
class Archive:
    """Where it is.

    Attributes:
        api: URL of the STAC API.
        images: The server of images.
        items: What it holds.
    """

    api: str
    images: RangeServer
    items: list[dict[str, Any]]

    @property
    def hosts(self) -> list[str]:
        return [self.images.host, self.api.removeprefix("http://")]

    @property
    def options(self) -> list[str]:
        """What `railwatch fetch` has to be told."""
        return [
            "--source",
            self.api,
            *(word for host in self.hosts for word in ("--allow-host", host)),
        ]


def served(path: Path, folder: Path, images: RangeServer, **changes: Any) -> dict[str, Any]:
    """The item of a product that `write_stac` wrote, with links to the server of images and its outline."""
    import rasterio

    item: dict[str, Any] = json.loads(path.read_text())
    for asset in item["assets"].values():
        file = path.parent / asset["href"].rpartition("/")[2]
        asset["href"] = f"{images.url}/{file.relative_to(folder)}"
    with rasterio.open(file) as image:
        bounds = transform_bounds(image.crs, "OGC:CRS84", *image.bounds, densify_pts=21)
    item["bbox"] = list(bounds)
    item["geometry"] = json.loads(shapely.to_geojson(shapely.box(*bounds)))
    item["links"] = [{"rel": "self", "href": f"https://example.org/items/{item['id']}?token=secret"}]
    item["properties"] |= {"eo:cloud_cover": 5.0, **changes}
    return item


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def stac_api(items: Sequence[dict[str, Any]], folder: Path) -> Iterator[str]:
    """Serve items by rustac until the block ends; gives the URL."""
    source = folder / "items.json"
    source.write_text(json.dumps({"type": "FeatureCollection", "features": list(items)}))
    address = f"127.0.0.1:{free_port()}"
    command = [str(RUSTAC), "serve", str(source), "--create-collections", "--addr", address]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(f"http://{address}/")
            yield f"http://{address}"
        finally:
            process.kill()


def wait_for(url: str, patience_s: float = 30.0) -> None:
    """Wait until a server answers."""
    ends = time.monotonic() + patience_s
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.05)


@contextmanager
def archive(folder: Path, products: Callable[[Path], Sequence[Path]], **changes: Any) -> Iterator[Archive]:
    """An archive of products.

    Args:
        folder: For images and items.
        products: Writes them below a folder and returns their item files.
        **changes: Properties of all items.
    """
    images = folder / "images"
    images.mkdir(parents=True)
    paths = products(images)
    with range_server(images) as server:
        items = [served(path, images, server, **changes) for path in paths]
        with stac_api(items, folder) as api:
            yield Archive(api, server, items)


@contextmanager
def dask_cluster(folder: Path, workers: int = 2) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A Dask scheduler and workers of one thread, each a process; gives its address and the workers."""
    port, dashboard = free_port(), free_port()
    address = f"tcp://127.0.0.1:{port}"
    quiet: dict[str, Any] = {
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "start_new_session": True,
        "cwd": folder,
        "env": {**os.environ, "PYTHONPATH": str(ROOT)},
    }
    scheduler = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1"]
    scheduler += ["--port", str(port), "--dashboard-address", f"127.0.0.1:{dashboard}"]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--host", "127.0.0.1"]
    worker += ["--nthreads", "1", "--no-dashboard", "--no-nanny", "--local-directory", str(folder)]
    started = [subprocess.Popen(scheduler, **quiet)]
    try:
        wait_for(f"http://127.0.0.1:{dashboard}/health")
        started += [subprocess.Popen(worker, **quiet) for _ in range(workers)]
        yield address, started[1:]
    finally:
        for process in started:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def s3_server(folder: Path) -> Iterator[dict[str, str]]:
    """An S3 server; gives the environment that clients find it by, with a bucket ``railwatch``."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(f"http://127.0.0.1:{port}/moto-api/")
            request = urllib.request.Request(f"http://127.0.0.1:{port}/railwatch", method="PUT")
            with urllib.request.urlopen(request, timeout=10):
                pass
            yield {
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_DEFAULT_REGION": "us-east-1",
            }
        finally:
            process.kill()
