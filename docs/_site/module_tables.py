"""Writes the table of modules into each package's README: `make docs`; a test holds the tables to the code.

A module's line is the first of its docstring, so a table says what the code says.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

PACKAGES = ("aoi", "geo", "detector", "railwatch")
BEGIN, END = "<!-- modules: written by `make docs` -->", "<!-- end of modules -->"
ROOT = Path(__file__).resolve().parents[2]


def table(package: str, root: Path = ROOT) -> str:
    """Return the table of a package's modules as Markdown, folder by folder."""
    folders: dict[Path, list[Path]] = {}
    for path in sorted((root / package).rglob("*.py")):
        if path.name != "__main__.py":
            folders.setdefault(path.parent, []).append(path)
    parts = [BEGIN, "", "| module | what it does |", "|---|---|"]
    for folder, paths in sorted(folders.items()):
        name = folder.relative_to(root).as_posix()
        init = folder / "__init__.py"
        parts.append(f"| **`{name}/`** | {_first_line(init) if init in paths else ''} |")
        parts += [f"| `{path.name}` | {_first_line(path)} |" for path in paths if path != init]
    return "\n".join([*parts, "", END])


def _first_line(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.sub(r"``([^`]+)``", r"`\1`", paragraph).replace("|", "\\|")


def written(package: str, root: Path = ROOT) -> str:
    """Return a package's README with its table as it should be."""
    text = (root / package / "README.md").read_text(encoding="utf-8")
    found = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
    if not found.search(text):
        raise SystemExit(f"{package}/README.md has no place for the table of modules: {BEGIN} ... {END}")
    return found.sub(lambda _: table(package, root), text)


if __name__ == "__main__":
    for each in PACKAGES:
        (ROOT / each / "README.md").write_text(written(each), encoding="utf-8")
