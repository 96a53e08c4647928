"""What MkDocs doesn't do by itself: pages that lie beside the code, and links to what isn't on the site.

The README of a package, the model cards and the change log stay where their readers look for them in the
repository; on the site they are under ``repo/``. A link between pages works in both. A link to something
that is in the repository but not on the site (a settings file, a module) becomes its name.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

BESIDE_THE_CODE = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "aoi/README.md",
    "detector/MODEL_CARD.md",
    "detector/OCCUPANCY_CARD.md",
    "detector/README.md",
    "geo/README.md",
    "railwatch/README.md",
    "sample_tiles/README.md",
    "seeds/README.md",
)
_LINK = re.compile(r"(!?)\[([^\]\n]*(?:\n[^\]\n]+)?)\]\(([^)\s]+)\)")
_CODE = re.compile(r"```.*?```|`[^`\n]*`|^(?: {4}|\t)[^\n]*$", re.DOTALL | re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie beside the code."""
    root = Path(config.config_file_path).parent
    for name in BESIDE_THE_CODE:
        path = root / name
        if path.is_file():
            files.append(File.generated(config, f"repo/{name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make links relative to the site, and names of what isn't on it."""
    root = Path(config.config_file_path).parent
    source = page.file.src_uri
    here = source.removeprefix("repo/") if source.startswith("repo/") else f"docs/{source}"
    folder = posixpath.dirname(here)
    kept = [found.span() for found in _CODE.finditer(markdown)]

    def moved(found: re.Match[str]) -> str:
        image, text, target = found.groups()
        if "://" in target or target.startswith(("#", "mailto:")):
            return found[0]
        if any(start <= found.start() and found.end() <= end for start, end in kept):
            return found[0]
        path, _, anchor = target.partition("#")
        wanted = posixpath.normpath(posixpath.join(folder, path))
        if not (root / wanted).exists():
            raise PluginError(f"{here}: the link to {target} leads nowhere")
        uri = wanted.removeprefix("docs/") if wanted.startswith("docs/") else f"repo/{wanted}"
        if wanted == "README.md":
            uri = "index.md"
        if files.get_file_from_path(uri) is None:
            return text
        relative = posixpath.relpath(uri, posixpath.dirname(source) or ".")
        return f"{image}[{text}]({relative}{'#' if anchor else ''}{anchor})"

    return _LINK.sub(moved, markdown)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Refuse a page that would load something from elsewhere when it is read."""
    del config
    loads: Any = re.findall(
        r"<(?:script|img|iframe|link)\b[^>]*?\b(?:src|href)=\"(https?://[^\"]+)\"", output
    )
    strange = [url for url in loads if 'rel="canonical"' not in url]
    if strange:
        raise PluginError(f"{page.file.src_uri}: loads {strange[0]}")
    return output
