"""The report as a file: what is in it, what can't get in, and that it is the same every time."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import shutil
import zlib
from dataclasses import replace
from datetime import UTC, date, datetime
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image
from report_stores import HOSTILE, hostile_store, observation, picture, yard_store

from railwatch.history import RANK
from railwatch.history.history import Event
from railwatch.history.sources import read_sources
from railwatch.pages.claims import DISCLAIMER, load_assumptions
from railwatch.pages.report import ReportError, build, write_report
from railwatch.pages.report import graphics as pictures
from railwatch.pages.report.build import WARN_BYTES, generated_at
from railwatch.pages.report.gather import gather
from railwatch.pages.report.parts import csv_text
from railwatch.pages.tables import COUNT_COLUMNS
from railwatch.store.areas import choose_settings
from railwatch.store.store import Store
from seeds import load_claims

VOID = {"meta", "link", "img", "input", "br"}


def own_counts(store):
    """A store's history without the published counts."""
    chosen = choose_settings(store=store.path, baseline__use_published=False)
    return read_sources(store.path, chosen=chosen)


class Page(HTMLParser):
    """The page as a browser's parser sees it: elements with attributes, texts, and what isn't closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag):
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        hidden = ("script", "style")
        return " ".join(
            " ".join("".join(parts).split()) for tag, parts in self.texts.items() if tag not in hidden
        )

    @property
    def data(self) -> dict:
        return json.loads(self.texts["script"][0])


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return yard_store(tmp_path_factory.mktemp("report") / "store")


def copied(store: Store, folder: Path) -> Store:
    """The same store to change."""
    return Store.open(shutil.copytree(store.path, folder / "store"))


@pytest.fixture(scope="module")
def sources(store):
    return read_sources(store.path)


@pytest.fixture(scope="module")
def html(sources, tmp_path_factory) -> str:
    out = tmp_path_factory.mktemp("report") / "report.html"
    write_report(sources, out, events=[Event(date(2023, 9, 13), "The summit")])
    return out.read_text("utf-8")


@pytest.fixture(scope="module")
def page(html) -> Page:
    return Page(html)


# ---- what is in it -------------------------------------------------------------------------------


def test_the_headline_says_what_was_counted_and_what_it_means(page):
    (heading,) = page.texts["h1"]
    assert heading == (
        "73 freight cars (62 to 85) on 5\xa0October\xa02023, the most in 22 images since November 2021 and "
        "above the published ceiling of about 20"
    )
    assert "2023-10-05: 73 freight cars (90% interval 62 to 85" in page.text
    assert (
        "A second image, of 14 October 2023, Pléiades, agrees with 66 freight cars (56 to 77); its own "
        "verdict is unprecedented (unconfirmed)." in page.text
    )
    assert "The summit" in page.text


def test_every_observation_has_a_card_a_mark_and_a_row(page, store):
    ids = {attributes.get("id") for _, attributes in page.elements}
    marks = [attributes for attributes in page.all("a") if attributes.get("class", "").startswith("mark ")]
    own = [one for one in store.observations() if one.method != "reviewed"]
    cards = [attributes["id"] for attributes in page.all("article") if "card" in attributes.get("class", "")]
    assert len(cards) == len(own)  # the reviewed one stands in for the machine's
    published = [attributes for attributes in marks if "published" in attributes["class"].split()]
    widths = 3  # the chart is drawn for a phone, a tablet and a desk
    assert len(marks) == widths * (len(cards) + len(published) // widths)
    assert len(published) == widths * 10
    for mark in marks:
        key = mark["data-key"]
        assert mark["href"].removeprefix("#") in ids
        assert f"row-{key}" in ids
        assert re.match(r"\d{4}-\d\d-\d\d: ", mark["aria-label"])
    assert len(ids - {None}) == sum("id" in attributes for _, attributes in page.elements), "an id twice"


def test_cards_hold_the_numbers_the_warnings_and_the_provenance(page):
    assert "A tenth of the area lies under cloud." in page.text
    assert "Clouds hide the yard." in page.text
    for value in ("20231005" * 8, "ab" * 32, "cd" * 32, "ef" * 32, "0.5 m", "Weights SHA-256"):
        assert value in page.text


def test_types_of_cars_are_told_on_the_card_and_in_a_table_of_the_newest_images(page, html):
    assert "40 open (ore, coal), 21 tank, 12 type unknown" in page.text
    assert "What kind of freight cars stood there on the newest image" in page.text
    assert "A car that can't be told is counted as unknown" in page.text
    table = html[html.index('<table class="types">') :]
    rows = re.findall(r"<tr><th scope=\"row\">.*?</tr>", table[: table.index("</table>")], re.DOTALL)
    assert len(rows) == 1  # no other image has types
    assert re.findall(r'<td class="num">(\d+)</td>', rows[0]) == ["73", "40", "0", "21", "0", "12"]
    bar = re.findall(r'<rect class="type-(\w+)" x="(\d+)" y="0" width="(\d+)"', rows[0])
    assert bar == [("open", "0", "40"), ("tank", "40", "21"), ("unknown", "61", "12")]


def test_a_reviewed_count_names_its_reviewer_and_what_the_machine_had(page):
    assert (
        "Corrected by eye by A. Analyst on 2023-07-01 (two flat cars were missed). The machine had"
        in page.text
    )
    cards = {attributes["id"]: attributes for attributes in page.all("article")}
    shown = [image for image in page.all("img") if "25 June 2023" in image.get("alt", "")]
    assert len(shown) == 1  # the machine's picture, since the reviewer gave none
    assert f"scene-{shown[0]['data-card']}" in cards


def test_sources_and_attributions(page):
    assert "Contains modified Copernicus Sentinel data 2023." in page.text
    assert "ODbL" in page.text
    addresses = [attributes["href"] for attributes in page.all("a")]
    assert any(address.startswith("https://beyondparallel.csis.org/") for address in addresses)


def test_pictures_are_small_with_words_for_those_who_dont_see_them(page):
    shown = [attributes for attributes in page.all("img") if attributes.get("src")]
    assert len(shown) == 14
    kinds = set()
    for image in shown:
        kind, content = image["src"].split(",")
        # A browser prints a JPEG as it is, a WebP without loss: those of the key dates are printed.
        wanted = "webp" if image.get("loading") == "lazy" else "jpeg"
        assert kind == f"data:image/{wanted};base64"
        kinds.add(wanted)
        with Image.open(io.BytesIO(base64.b64decode(content))) as opened:
            assert opened.format == wanted.upper()
            assert opened.size == (int(image["width"]), int(image["height"]))
        assert "Tumangang" in image["alt"]
        assert re.search(r"\d{4}: (\d+ freight cars? counted|no count was made)", image["alt"])
    assert kinds == {"jpeg", "webp"}


def test_without_published_counts_the_page_knows_only_the_store(store, tmp_path):
    out = tmp_path / "own.html"
    write_report(own_counts(store), out)
    page = Page(out.read_text("utf-8"))
    assert "published by" not in page.text
    assert "Published counts" not in page.text


def test_published_counts_alone_make_a_page(tmp_path):
    out = tmp_path / "published.html"
    written = write_report(read_sources(None, "tumangang", seeds_only=True), out)
    page = Page(out.read_text("utf-8"))
    assert (written.observations, written.pictures) == (0, 0)
    assert page.texts["h1"][0].startswith("About 255 freight cars on 17\xa0June\xa02024, 3.49 times")
    assert not [one for one in page.all("article") if "card" in one["class"]]


def test_public_claims_stand_on_the_page_of_the_place_that_they_are_about(store, sources, tmp_path):
    out = tmp_path / "page.html"
    write_report(sources, out)
    html = out.read_text("utf-8")
    assert DISCLAIMER in unescape(html)
    assert "about 6,700 containers" in html
    assert '<a href="#claims-tumangang">Claims</a>' in html
    assert "Two Russian coal trains" in html  # why an assumption is what it is
    assert "claims-tumangang" not in _written(own_counts(store), out)
    elsewhere = replace(sources, names=("yard",), observations=_renamed(sources.observations, "yard"))
    assert "claims-yard" not in _written(elsewhere, out)


def test_claims_and_assumptions_of_ones_own_make_the_figures(sources, tmp_path):
    mine = load_claims().iloc[[4]].assign(site="")
    lines = "containers_per_wagon", "wagons_per_train", "share_through_place"
    table = tmp_path / "mine.toml"
    table.write_text(
        "".join(f"[{name}]\nlow = 1\nlikely = 1\nhigh = 1\nwhy = 'to see'\n" for name in lines), "utf-8"
    )
    out = tmp_path / "page.html"
    write_report(sources, out, claims=mine, assumptions=load_assumptions(table))
    html = out.read_text("utf-8")
    row = html[html.index("about 6,700 containers") :]
    assert row[: row.index("</tr>")].count('<td class="num">6,700</td>') == 2  # wagons, trains
    assert "about 5,000 containers" not in html
    assert "mine.toml" in html


def _written(sources, out: Path) -> str:
    write_report(sources, out)
    return out.read_text("utf-8")


def _renamed(observations, name: str):
    return tuple(replace(one, aoi=name) for one in observations)


def test_observations_without_a_store_have_cards_without_pictures(sources, tmp_path):
    out = tmp_path / "report.html"
    written = write_report(replace(sources, store=None), out)
    page = Page(out.read_text("utf-8"))
    cards = {one["id"] for one in page.all("article") if "card" in one["class"]}
    marks = {one["href"][1:] for one in page.all("a") if one.get("class", "").startswith("mark wagons")}
    assert marks <= cards
    assert written.pictures == 0


def test_several_areas_share_a_page(store, tmp_path):
    both = copied(store, tmp_path)
    for day in (1, 2):
        when = datetime(2023, 1, day, 2, tzinfo=UTC)
        both.add(observation(when, 3.0, aoi="other yard"), evidence=picture("other"))
    out = tmp_path / "both.html"
    written = write_report(read_sources(both.path), out)
    page = Page(out.read_text("utf-8"))
    assert written.places == ("other yard", "tumangang")
    assert page.texts["h1"] == ["Freight cars at two places"]
    assert len([one for one in page.all("article") if "place" in one["class"].split()]) == 2
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert set(page.data) == {"other-yard", "tumangang"}


def test_an_empty_store_has_nothing_to_report(tmp_path):
    Store.open(tmp_path / "empty")
    with pytest.raises(ReportError, match=r"nothing to report: .*empty has no observation"):
        write_report(read_sources(tmp_path / "empty"), tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


# ---- what can't get in or out --------------------------------------------------------------------


def test_nothing_is_loaded_from_anywhere(page, html):
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "poster", "action", "data", "background"):
            address = attributes.get(name, "")
            if not address or name == "data":
                continue
            if tag == "a" and "download" in attributes:
                assert address.startswith(("data:image/png;base64,", "data:image/svg+xml;base64,"))
            elif tag == "a":
                assert address.startswith(("#", "https://", "http://")), address[:80]
                if not address.startswith("#"):
                    assert "noreferrer" in attributes["rel"]
            else:
                assert address.startswith(("data:", "#")), (tag, address[:80])
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
    style = "".join(page.texts["style"])
    assert "@import" not in style
    used = re.findall(r"url\(([^)]*)", style + html.split("</style>")[1].split("<script")[0])
    assert used
    assert all(
        re.fullmatch(r"#(clip|loose|hatch|unseen)-tumangang-(narrow|medium|wide)", one) for one in used
    )


def test_the_policy_forbids_the_network_and_every_script_but_ours(page, html):
    (policy,) = [
        one["content"] for one in page.all("meta") if one.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(part.split(" ", 1) for part in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert not {"connect-src", "font-src", "frame-src", "media-src"} & set(rules)
    assert "unsafe" not in policy
    for name, pattern in (
        ("style-src", r"<style>(.*?)</style>"),
        ("script-src", r"<script>(.*?)</script>"),
    ):
        (text,) = re.findall(pattern, html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[name] == f"'sha256-{digest}'"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> tuple[str, Store]:
    folder = tmp_path_factory.mktemp("hostile")
    store = hostile_store(folder / "store")
    write_report(read_sources(store.path), folder / "report.html", events=[Event(date(2022, 1, 1), HOSTILE)])
    return (folder / "report.html").read_text("utf-8"), store


def test_texts_of_a_foreign_store_stay_texts(hostile, page):
    html, store = hostile
    seen = Page(html)
    assert seen.open == page.open == []
    assert {tag for tag, _ in seen.elements} <= {tag for tag, _ in page.elements}
    assert [one.get("type") for one in seen.all("script")] == ["application/json", None]
    assert not [one for one in seen.all("img") if one.get("src", "").startswith("x")]
    assert not [name for _, one in seen.elements for name in one if name.startswith("on")]
    assert "{{ 7*7 }}" in seen.text
    assert " 49 " not in seen.text
    (place,) = seen.data.values()
    assert {mark["source"] for mark in place["marks"]} == {HOSTILE}
    assert store.observations()[0].warnings[1].startswith("\ud800")
    assert "? a letter" in seen.text


def test_addresses_that_are_no_web_addresses_become_no_links(sources, monkeypatch, tmp_path):
    published = sources.published.copy()
    published["url"] = ["javascript:alert(1)", "data:text/html,x", *published["url"][2:]]
    out = tmp_path / "report.html"
    write_report(replace(sources, published=published), out)
    assert not [one for one in Page(out.read_text("utf-8")).all("a") if "script" in one["href"][:12]]


def test_items_with_malformed_details_are_named_and_left_out(tmp_path):
    store = Store.open(tmp_path / "store")
    when = datetime(2022, 3, 1, 2, tzinfo=UTC)
    store.add(observation(when, 5.0, aoi="yard"))
    for day, odd in enumerate(({"zones": {"a": {}}}, {"provenance": {"gsd_m": "half"}}), start=2):
        store.add(observation(when.replace(day=day), 7.0, aoi="yard", **odd))
    written = write_report(read_sources(store.path), tmp_path / "report.html")
    assert written.observations == 1
    assert sum("zones has no count" in one or "gsd_m that is a str" in one for one in written.warnings) == 2


def test_a_damaged_item_is_named_and_the_rest_is_reported(store, tmp_path):
    damaged = copied(store, tmp_path)
    broken = sorted((damaged.path / "items").iterdir())[0]
    next(broken.glob("*.json")).write_text("{", "utf-8")
    written = write_report(read_sources(damaged.path), tmp_path / "report.html")
    assert written.observations == 25
    assert any(broken.name in warning for warning in written.warnings)


# ---- the same every time -------------------------------------------------------------------------


def test_the_same_store_gives_the_same_file(store, sources, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    first, second = tmp_path / "one.html", tmp_path / "two.html"
    write_report(sources, first)
    write_report(read_sources(store.path), second)
    assert first.read_bytes() == second.read_bytes()
    assert "on <time" in first.read_text("utf-8")
    assert "14 November 2023, 22:13 UTC" in first.read_text("utf-8")


def test_only_the_declared_time_differs(sources, tmp_path, monkeypatch):
    texts = []
    for seconds in ("1700000000", "1800000000"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", seconds)
        write_report(sources, tmp_path / "report.html")
        text = (tmp_path / "report.html").read_text("utf-8")
        texts.append(re.sub(r'<time datetime="[^"]*">[^<]*</time>\. This file', "", text))
    assert texts[0] == texts[1]


def test_a_wrong_source_date_is_refused(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(ReportError, match="SOURCE_DATE_EPOCH is 'yesterday'"):
        generated_at()


# ---- pictures within a budget --------------------------------------------------------------------


@pytest.fixture
def evidence(tmp_path) -> dict[str, Path]:
    files = {}
    for number in range(6):
        files[f"scene-{number}"] = tmp_path / f"{number}.png"
        files[f"scene-{number}"].write_bytes(picture(f"{number}", (1000, 600), seed=number))
    return files


def test_pictures_shrink_together_until_they_fit(evidence):
    large = pictures.encode(evidence, 50_000_000, sorted(evidence))
    total = sum(len(one.uri) for one in large.values())
    assert {(one.width, one.height) for one in large.values()} == {(1000, 600)}
    small = pictures.encode(evidence, total // 2, sorted(evidence))
    assert len(small) == 6
    assert len({one.width for one in small.values()}) == 1
    assert 640 <= small["scene-0"].width < 1000
    assert sum(len(one.uri) for one in small.values()) <= total // 2


def test_when_even_small_pictures_dont_fit_the_last_ones_go(evidence):
    order = ["scene-4", "scene-1", "scene-0", "scene-2", "scene-3", "scene-5"]
    one = pictures.encode({"scene-4": evidence["scene-4"]}, 1, order)
    assert one == {}
    small = pictures.encode(evidence, 30_000, order)
    assert 0 < len(small) < 6
    assert list(small) == order[: len(small)]
    assert {picture.width for picture in small.values()} == {640}
    assert sum(len(picture.uri) for picture in small.values()) <= 30_000


def test_what_is_no_picture_is_left_out_with_one_warning(evidence, caplog):
    evidence["scene-2"].write_bytes(evidence["scene-2"].read_bytes()[:4000])
    evidence["scene-3"].write_text("<svg onload='alert(1)'/>")
    evidence["scene-5"].write_bytes(_claims_to_be_huge())
    shown = pictures.encode(evidence, 100_000, sorted(evidence))
    assert set(shown) == {"scene-0", "scene-1", "scene-4"}
    assert len([one for one in caplog.records if "isn't a picture" in one.message]) == 3


def _claims_to_be_huge() -> bytes:
    content = bytearray(picture("", (8, 8)))
    content[16:24] = (60_000).to_bytes(4, "big") * 2  # the size in the header
    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
    return bytes(content)


def test_pictures_left_out_are_said_on_the_page_and_in_the_result(store, sources, tmp_path, monkeypatch):
    monkeypatch.setattr("railwatch.pages.report.build._PICTURE_BYTES", 700_000)
    written = write_report(sources, tmp_path / "report.html")
    assert written.pictures + written.pictures_left_out == 14
    assert written.pictures_left_out > 0
    assert f"{written.pictures_left_out} pictures are left out to keep the file small." in written.warnings
    page = Page((tmp_path / "report.html").read_text("utf-8"))
    assert "To keep this file small" in page.text
    kept = " ".join(image.get("alt", "") for image in page.all("img"))
    assert "5 October 2023" in kept  # the headline's own
    assert "14 October 2023" in kept  # the latest


def test_the_rest_of_a_page_of_fifty_scenes_leaves_room_for_its_pictures(tmp_path):
    store = Store.open(tmp_path / "store")
    for number in range(50):
        when = datetime(2016 + number // 12, 1 + number % 12, 3, 2, tzinfo=UTC)
        store.add(observation(when, 5.0, aoi="yard"))
    written = write_report(read_sources(store.path), tmp_path / "report.html")
    assert written.observations == 50
    assert written.size_bytes + build._PICTURE_BYTES < WARN_BYTES
    assert not written.warnings


# ---- the table as CSV ----------------------------------------------------------------------------


def test_the_csv_has_every_count_with_its_figures(sources, page):
    (place,) = gather(sources)
    rows = list(csv.DictReader(io.StringIO(csv_text(place), newline="")))
    assert page.data["tumangang"]["csv"] == csv_text(place)
    assert len(rows) == len(place.entries) + len(place.ceilings)
    assert list(rows[0])[: len(COUNT_COLUMNS)] == list(COUNT_COLUMNS)
    event = next(row for row in rows if row["id"].startswith("tumangang-20231005t022000z"))
    assert (event["count"], event["count_low"], event["count_high"]) == ("73", "62", "85")
    assert event["datetime"] == "2023-10-05T02:20:00Z"
    assert event["verdict"] == "unprecedented"
    assert event["confirmed"] == "True"
    assert event["sha256"] == "20231005" * 8
    assert float(event["probability_record"]) > 0.9
    assert event["warnings"] == "A tenth of the area lies under cloud."
    silent = [row for row in rows if row["kind"] == "missing"]
    assert {row["count"] for row in silent} == {""}
    assert {row["reason"] for row in silent} == {"Clouds hide the yard."}


def test_a_spreadsheet_runs_nothing(hostile):
    html, _ = hostile
    (place,) = Page(html).data.values()
    rows = list(csv.DictReader(io.StringIO(place["csv"], newline="")))
    assert rows[0]["source"] == HOSTILE
    assert rows[0]["file"] == '\'=HYPERLINK("http://example.org")'
    for row in rows:
        assert not [value for value in row.values() if value.startswith(("=", "+", "-", "@"))]


# ---- what is chosen ------------------------------------------------------------------------------


def test_the_page_opens_with_our_own_confirmed_record(sources):
    (place,) = gather(sources)
    assert place.headline.record.day == date(2023, 10, 5)
    assert place.headline.verdict.confirmed
    assert place.latest.record.day == date(2023, 10, 14)
    assert [RANK[one.verdict.verdict] for one in place.notable] == sorted(
        (RANK[one.verdict.verdict] for one in place.notable), reverse=True
    )


def test_a_quiet_place_opens_with_its_latest_observation(sources):
    quiet = tuple(one for one in sources.observations if one.datetime.date() < date(2023, 9, 1))
    (place,) = gather(replace(sources, observations=quiet, published=None))
    assert place.headline.record.day == max(one.datetime.date() for one in quiet if one.count is not None)
    assert place.headline.verdict.verdict == "typical"


# ---- the command ---------------------------------------------------------------------------------


def test_the_command_writes_the_report(railwatch, store, tmp_path):
    events = tmp_path / "events.csv"
    events.write_text("date,label\n2023-09-13,The summit\n", "utf-8")
    out = tmp_path / "new" / "report.html"
    outcome = railwatch("report", "--store", store.path, "--out", out, "--events", events, "--json")
    assert outcome.code == 0, outcome.err
    result = json.loads(outcome.out)
    assert result["out"] == str(out)
    assert result["bytes"] == out.stat().st_size
    assert (result["areas"], result["observations"], result["pictures"]) == (["tumangang"], 26, 14)
    assert "The summit" in out.read_text("utf-8")
    spoken = railwatch("report", "--store", store.path, "--out", out, "--no-seeds")
    assert spoken.code == 0
    assert "26 observations, 14 with pictures" in spoken.out
    assert "published by" not in out.read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--store", "{store}", "--out", "report.pdf"], "report.pdf: a report is an HTML file"),
        (["--store", "nowhere", "--out", "report.html"], "There is no store at nowhere"),
        (["--out", "report.html"], "which history?"),
        (
            ["--store", "{store}", "--aoi", "khasan", "--no-seeds", "--out", "a.html"],
            "no observation of khasan",
        ),
        (["--store", "{store}", "--events", "none.csv", "--out", "a.html"], "none.csv: can't be read"),
        (["--store", "{store}", "--out", "{store}/collection.json/a.html"], "can't be written"),
    ],
)
def test_the_command_says_what_is_wrong(railwatch, store, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    outcome = railwatch("report", *(one.format(store=store.path) for one in arguments))
    assert outcome.code == 2
    assert said in outcome.error
