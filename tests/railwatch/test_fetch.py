"""`railwatch fetch` and `watch` against a STAC API of an independent implementation, on loopback."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import filelock
import pystac
import pytest
import rasterio
import ten_metres as tm
from local_archive import archive, free_port, needs_rustac, served, stac_api
from range_server import range_server

from aoi import load_area
from geo.catalogue.network import Network, Policy
from geo.catalogue.profiles import PlanetaryComputerSigner, S3Signer
from geo.errors import NetworkError
from railwatch.cli._tables import telling
from railwatch.cli.watch import _news as news
from railwatch.config import load_config
from railwatch.fetch import watch
from railwatch.fetch.fetch import fetch
from railwatch.fetch.plan import FetchOptions, parse_time, plan
from railwatch.fetch.watch import CountAhead
from railwatch.pipeline.run import run
from railwatch.store.store import Store

# Python's filters of warnings are one for all threads: what a thread silences while it opens an image may be
# loud again in its middle, since another thread has put back what it found.
quiet = pytest.mark.filterwarnings("default::rasterio.errors.NotGeoreferencedWarning")
pytestmark = [needs_rustac, quiet]
DATES = 8


def products(folder):
    made = [tm.write(folder, number, 10, how="c1") for number in range(DATES)]
    # The same observations in the older collection, and one that only this one has.
    made += [tm.write(folder, number, 10, how="cog") for number in (2, 3, DATES)]
    return made


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    with archive(tmp_path_factory.mktemp("archive"), products) as running:
        yield running


@pytest.fixture
def yard(tmp_path):
    return tm.write_area(tmp_path / "siding.geojson")


def arguments(there, yard, tmp_path, *more):
    span = ("--since", "2023-01-01", "--until", "2023-12-31")
    return ("fetch", "--aoi", yard, *span, "--out", tmp_path / "scenes", *there.options, *more, "--json")


def test_fetch_takes_each_observation_once_and_again_nothing(there, yard, tmp_path, railwatch):
    foreseen = railwatch(*arguments(there, yard, tmp_path, "--dry-run"))
    assert foreseen.code == 0, foreseen.err
    estimate = json.loads(foreseen.out)
    assert not (tmp_path / "scenes").exists()
    there.images.asked()

    first = json.loads(railwatch(*arguments(there, yard, tmp_path)).out)
    assert (first["found"], len(first["scenes"]), len(first["skipped"])) == (DATES + 3, DATES + 1, 2)
    assert all("better collection sentinel-2-c1-l2a" in one["reason"] for one in first["skipped"])
    asked = there.images.asked()
    pixels = sum(one["requests"] for one in first["scenes"])
    assert len(asked) == pixels
    assert estimate["scenes"] == DATES + 1
    assert abs(estimate["requests"] - pixels) <= 0.3 * pixels
    for one in first["scenes"]:
        assert one["requests"] <= 18
        assert one["bytes"] < 300_000
        assert one["size"] < 200_000

    files = {path: path.read_bytes() for path in sorted((tmp_path / "scenes").rglob("*.*"))}
    assert len(files) == 2 * (DATES + 1)
    assert not [path for path, content in files.items() if b"secret" in content]
    for path in files:
        if path.suffix == ".json":
            item = pystac.Item.from_file(str(path))
            assert item.properties["attribution"] == "Contains modified Copernicus Sentinel data 2023"
    again = json.loads(railwatch(*arguments(there, yard, tmp_path)).out)
    assert (again["held"], again["scenes"], again["failed"]) == (DATES + 1, [], [])
    assert there.images.asked() == []
    assert files == {path: path.read_bytes() for path in sorted((tmp_path / "scenes").rglob("*.*"))}


def test_what_is_fetched_is_what_run_reads(there, yard, tmp_path, railwatch):
    railwatch(*arguments(there, yard, tmp_path, "--limit", 3))
    done = railwatch(
        "run",
        "--config",
        "sentinel2",
        "--aoi",
        yard,
        "--store",
        tmp_path / "store",
        tmp_path / "scenes",
        "--json",
    )
    found = json.loads(done.out)
    assert found["skipped"] == []
    assert [one["datetime"][:10] for one in found["observations"]] == [
        "2023-05-03",
        "2023-05-08",
        "2023-05-13",
    ]
    assert found["observations"][0]["scene"] == "S2A_20230503T021001_R003"


def test_a_killed_fetch_goes_on_where_it_was(there, yard, tmp_path, railwatch):
    command = [
        sys.executable,
        "-m",
        "railwatch",
        *map(str, arguments(there, yard, tmp_path)),
        "--connections",
        "1",
    ]
    for number in (1, 3):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            ends = time.monotonic() + 60
            while len(list((tmp_path / "scenes").glob("*/S2*.json"))) < number and time.monotonic() < ends:
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
    done = json.loads(railwatch(*arguments(there, yard, tmp_path)).out)
    assert done["held"] >= 3
    assert done["held"] + len(done["scenes"]) == DATES + 1
    for path in (tmp_path / "scenes").glob("*/S2*.tif"):
        with rasterio.open(path) as image:
            assert image.read().any()


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["--source", "nowhere"], 2, "no known source"),
        (["--source", "ftp://x/y"], 2, "no known source"),
        (["--since", "2024-01-01"], 2, "later than"),
        (["--since", "soon"], 2, "isn't a date"),
        (["--source", "http://127.0.0.1:9/"], 2, "--allow-host"),
        (
            ["--source", "http://127.0.0.1:9/", "--allow-host", "127.0.0.1:9", "--attempts", 1],
            69,
            "can't be reached",
        ),
        (["--allow-host", "http://x/"], 2, "wants a host"),
    ],
)
def test_mistakes_are_one_sentence(yard, tmp_path, railwatch, more, code, said):
    done = railwatch("fetch", "--aoi", yard, "--until", "2023-12-31", "--out", tmp_path / "scenes", *more)
    assert done.code == code
    assert said in done.error


def test_a_server_that_stops_answering(yard, tmp_path, railwatch):
    """The API still answers, the images are gone: what is missing is left for another run, with code 69."""
    folder = tmp_path / "archive"
    folder.mkdir()
    paths = [tm.write(folder, number, how="c1") for number in range(7)]
    with range_server(folder) as images:
        items = [served(path, folder, images) for path in paths]
    port = images.host.partition(":")[2]
    with stac_api(items, tmp_path) as api:
        options = ["--source", api, "--allow-host", "127.0.0.1", "--attempts", 1]
        span = ["--since", "2023-01-01", "--until", "2023-12-31"]
        done = railwatch("fetch", "--aoi", yard, *span, "--out", tmp_path / "scenes", *options, "--json")
    assert done.code == 69
    found = json.loads(done.out)
    assert len(found["failed"]) == 7
    assert all(one["temporary"] for one in found["failed"])
    assert any(one["reason"] == "it wasn't asked for." for one in found["failed"])
    assert port in found["failed"][0]["reason"] or "wasn't asked" in found["failed"][0]["reason"]


def test_one_bad_scene_stops_nothing(yard, tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    paths = [tm.write(folder, number, how="c1") for number in range(4)]
    with range_server(folder) as images:
        items = [served(path, folder, images) for path in paths]
        for asset in items[1]["assets"].values():
            asset["href"] = asset["href"].replace(images.url, f"{images.url}/fault/html")
        for asset in items[2]["assets"].values():
            asset["href"] = asset["href"].replace(images.url, f"{images.url}/fault/cut1")
        with stac_api(items, tmp_path) as api:
            hosts = frozenset({images.host, api.removeprefix("http://")})
            span = (parse_time("2023-01-01"), parse_time("2023-12-31", end=True))
            options = FetchOptions(api, *span, allowed_hosts=hosts, backoff_s=0.001, attempts=3)
            result = fetch(plan(tm.area(), options, tmp_path / "scenes"))
    assert [one.reason is None for one in result.scenes] == [True, False, True, True]
    assert "a web page" in str(result.scenes[1].reason)
    assert not result.unavailable


def test_what_an_archive_offers_and_nobody_can_place_is_said(yard, tmp_path, railwatch):
    """A static catalogue: an item is whole, one has no time of its own, one no place, one no images."""
    folder = tmp_path / "archive"
    folder.mkdir()
    paths = [tm.write(folder, number, how="c1") for number in range(4)]
    with range_server(folder) as images:
        items = [served(path, folder, images) for path in paths]
        items[1]["properties"]["datetime"] = None  # its product's name tells it
        items[2]["geometry"], items[2]["bbox"] = None, [1, "x", 3, 4]
        items[3]["assets"] = {"thumbnail": {"href": f"{images.url}/none.jpg"}}
        links = []
        for number, item in enumerate(items):
            (folder / f"item{number}.json").write_text(json.dumps(item))
            links.append({"rel": "item", "href": f"./item{number}.json"})
        catalogue = {
            "type": "Catalog",
            "id": "c",
            "description": "c",
            "stac_version": "1.0.0",
            "links": links,
        }
        (folder / "catalog.json").write_text(json.dumps(catalogue))
        (folder / "empty.json").write_text(json.dumps(catalogue | {"links": links[2:]}))
        (folder / "nothing.json").write_text(json.dumps(catalogue | {"links": []}))
        span = ("--since", "2023-01-01", "--until", "2023-12-31", "--allow-host", images.host)

        def fetched(name, *more):
            where = ("--source", f"{images.url}/{name}.json", "--out", tmp_path / name)
            return railwatch("fetch", "--aoi", yard, *span, *where, *more)

        found = json.loads(fetched("catalog", "--json").out)
        neither, nothing = fetched("empty"), fetched("nothing")
    assert len(found["scenes"]) == 2, (found["skipped"], found["failed"])
    reasons = [one["reason"] for one in found["skipped"]]
    assert any("doesn't say where it lies" in reason for reason in reasons)
    assert any("has no image of B02" in reason for reason in reasons)
    assert neither.out.count("left out") == 3  # two items, and the line of sums
    assert "doesn't say where it lies" in neither.out
    assert "the archive has no scene of 2023-01-01 to 2023-12-31 with at most 80% cloud" in nothing.out


# ---- watch -----------------------------------------------------------------------------------------


def watching(there, yard, tmp_path, until, *more):
    where = ("--store", tmp_path / "store", "--scenes", tmp_path / "scenes", "--log", tmp_path / "log.jsonl")
    return ("watch", "--aoi", yard, *where, "--until", until, *there.options, *more, "--json")


def test_watch_observations_again_from_where_it_was(there, yard, tmp_path, railwatch):
    first = railwatch(*watching(there, yard, tmp_path, "2023-04-14", "--since", "2023-01-01"))
    assert first.code == 0, first.err
    (one,) = json.loads(first.out)["areas"]
    assert (len(one["fetch"]["scenes"]), len(one["run"]["observations"])) == (3, 3)
    second = json.loads(railwatch(*watching(there, yard, tmp_path, "2023-04-19")).out)["areas"][0]
    assert (len(second["fetch"]["scenes"]), second["fetch"]["held"]) == (1, 3)
    assert len(second["run"]["observations"]) == 4
    assert second["fetch"]["since"].startswith("2023-03-15")
    events = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [each["event"] for each in events] == ["start", "fetched", "counted", "done"] * 2
    assert all({"time", "aoi"} <= set(each) for each in events)
    lock = filelock.FileLock(tmp_path / "store" / ".watch.lock", timeout=0)
    with lock:
        refused = railwatch(*watching(there, yard, tmp_path, "2023-04-19"))
    assert refused.code == 75
    assert "another 'railwatch watch'" in json.loads(refused.out)["error"]


def test_watch_counts_what_has_come_while_the_rest_is_fetched(there, yard, tmp_path, railwatch, monkeypatch):
    """The same observations as of a run after the fetch, each made once, and all of them new."""
    monkeypatch.setattr(watch, "_WORTH", 4)
    monkeypatch.setattr(watch, "_AT_ONCE", 3)
    sent, answer = [], CountAhead._answer
    monkeypatch.setattr(
        CountAhead, "_answer", lambda self, before: (sent.append(before), answer(self, before))
    )
    done = railwatch(*watching(there, yard, tmp_path, "2023-12-31", "--since", "2023-01-01", "--workers", 2))
    assert done.code == 0, done.err
    assert sent
    (one,) = json.loads(done.out)["areas"]
    made = one["run"]["observations"]
    assert len(made) == DATES + 1
    assert all(each["new"] for each in made)
    after = Store.open(tmp_path / "after")
    run([tmp_path / "scenes"], load_area(yard), load_config("sentinel2"), after)
    store = Store.open(tmp_path / "store", create=False)
    assert {each.id for each in store.observations(superseded=True)} == {
        each.id for each in after.observations(superseded=True)
    }
    # What lies before dates that are known already would be answered again with every scene.
    planned = plan(load_area(yard), options_of(there), tmp_path / "elsewhere")
    assert CountAhead(planned, load_config("sentinel2"), Store.open(tmp_path / "empty"))._waiting
    assert not CountAhead(planned, load_config("sentinel2"), store)._waiting


def test_watch_tells_what_is_new_and_why_the_newest_has_no_count():
    kinds = ["count", "count", "count", "missing"]
    words = ["typical", "unprecedented", "typical", "cannot say"]
    verdicts = [
        SimpleNamespace(record=SimpleNamespace(id=str(number), kind=kind), verdict=word)
        for number, (kind, word) in enumerate(zip(kinds, words, strict=True))
    ]
    old, called, usual, none = verdicts
    assert news(verdicts, {"1", "2", "3"}) == [called, usual, none]
    assert news(verdicts, set()) == [usual, none]
    assert news([old, none], {"3"}) == [old, none]
    assert telling([old, called, usual] * 9, 3) == [called, called, usual]
    assert telling([old, called, usual] * 9, 1) == [usual]


def options_of(there):
    source, *hosts = (str(one) for one in there.options if not str(one).startswith("--"))
    span = (parse_time("2023-01-01"), parse_time("2023-12-31", end=True))
    return FetchOptions(source, *span, allowed_hosts=frozenset(hosts))


def test_watch_says_when_a_server_is_gone(yard, tmp_path, railwatch):
    source = f"http://127.0.0.1:{free_port()}"
    done = railwatch(
        *("watch", "--aoi", yard, "--store", tmp_path / "store", "--attempts", 1, "--json"),
        *("--source", source, "--allow-host", "127.0.0.1"),
    )
    assert done.code == 69
    assert "can't be reached" in json.loads(done.out)["areas"][0]["error"]


# ---- tokens ----------------------------------------------------------------------------------------


def test_the_planetary_computers_tokens(tmp_path):
    """A token is asked for once for a container, put on links into it, and shown nowhere."""
    import re

    folder = tmp_path / "sas" / "account"
    folder.mkdir(parents=True)
    (folder / "container.json").write_text(
        json.dumps({"token": "sig=SECRET", "msft:expiry": "2999-01-01T00:00:00Z"})
    )
    with range_server(tmp_path) as server:
        pattern = re.compile(r"https://(?P<account>\w+)\.blob\.example/(?P<container>[a-z.]+)/")
        network = Network(Policy(frozenset({server.host})))
        sign = PlanetaryComputerSigner(network, f"{server.url}/sas", pattern)
        for name in ("a.tif", "b.tif"):
            signed = sign(f"https://account.blob.example/container.json/{name}")
            assert signed == f"https://account.blob.example/container.json/{name}?sig=SECRET"
        assert len(server.asked()) == 1
        assert sign("https://elsewhere.example/a.tif") == "https://elsewhere.example/a.tif"
    assert "SECRET" not in repr(sign)


def test_keys_stay_in_the_environment(monkeypatch):
    for name in ("RAILWATCH_CDSE_ACCESS_KEY", "RAILWATCH_CDSE_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(NetworkError, match="RAILWATCH_CDSE_ACCESS_KEY"):
        S3Signer.from_environment("https://eodata.example")
    monkeypatch.setenv("RAILWATCH_CDSE_ACCESS_KEY", "ACCESS")
    monkeypatch.setenv("RAILWATCH_CDSE_SECRET_KEY", "SECRET")
    sign = S3Signer.from_environment("https://eodata.example")
    signed = sign("s3://eodata/Sentinel-2/B02.jp2")
    assert signed.startswith("https://eodata.example/eodata/Sentinel-2/B02.jp2?")
    assert "X-Amz-Signature" in signed
    assert "SECRET" not in signed + repr(sign)
