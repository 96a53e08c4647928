"""The documentation site: links checked, notebook executed, nothing loaded from elsewhere."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("mkdocs")
pytest.importorskip("mkdocs_jupyter")
pytest.importorskip("mkdocstrings")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """The site, built as `make site` builds it: a broken link or a notebook that fails ends the build."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)],
        cwd=repository,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Loads(HTMLParser):
    """What a page loads when it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("script", "img", "iframe", "source") and given.get("src"):
            self.found.append(str(given["src"]))
        if tag == "link" and given.get("rel") in ("stylesheet", "icon", "preload", "preconnect"):
            self.found.append(str(given["href"]))


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        reader = Loads()
        reader.feed(page.read_text("utf-8"))
        strange = [url for url in reader.found if re.match(r"(https?:)?//", url)]
        assert not strange, (page.name, strange)
        missing = [
            url
            for url in reader.found
            if not url.startswith(("data:", "/")) and not (page.parent / url.partition("?")[0]).exists()
        ]
        assert not missing, (page.name, missing)


def test_the_notebook_ran(site: Path) -> None:
    page = (site / "notebook.html").read_text("utf-8")
    assert page.count("data:image/png;base64,") >= 1, "no chart"
    assert "freight" in page
    assert "observations, " in page


def test_the_python_interface_is_described(site: Path) -> None:
    page = (site / "api.html").read_text("utf-8")
    for name in ("detect", "run", "open_store", "import_counts", "StoreReader.verdicts", "StoreReader.chart"):
        assert f'id="railwatch.api.{name}"' in page, name


def test_the_notebook_is_kept_without_its_results(repository: Path) -> None:
    notebook = json.loads((repository / "docs" / "notebook.ipynb").read_text("utf-8"))
    assert all(not cell.get("outputs") for cell in notebook["cells"])


@pytest.mark.parametrize("package", ["aoi", "geo", "detector", "railwatch"])
def test_the_table_of_modules_is_that_of_the_code(repository: Path, package: str) -> None:
    """`make docs` writes it."""
    spec = importlib.util.spec_from_file_location("module_tables", repository / "docs/_site/module_tables.py")
    assert spec is not None
    assert spec.loader is not None
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    readme = (repository / package / "README.md").read_text("utf-8")
    assert tables.written(package, repository) == readme
    assert "| `" in readme
    assert "|  |\n" not in readme, "a module without a first line"
