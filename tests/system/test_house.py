"""The rules of the house that no linter knows: which package may import which, and what help may load."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from railwatch.config import RunConfig

# What each package may import of the others. Imports point one way, and nothing imports railwatch.
ALLOWED = {
    "aoi": set(),
    "geo": {"aoi"},
    "detector": {"aoi", "geo"},
    "railwatch": {"aoi", "geo", "detector", "seeds", "configs", "sample_tiles"},
    # the data packages hold data and, at most, its loader or its maker
    "seeds": {"aoi"},
    "configs": set(),
    "sample_tiles": {"aoi", "geo", "detector"},
}
HEAVY = {
    "cv2",
    "geopandas",
    "matplotlib",
    "numpy",
    "pandas",
    "pyarrow",
    "pyogrio",
    "pystac",
    "rasterio",
    "scipy",
    "shapely",
    "torch",
    "torchvision",
}


def imports(path: Path, *, only_at_the_top: bool = False) -> Iterator[tuple[str, int]]:
    """The absolute modules that a file imports, with the line; names under TYPE_CHECKING don't run."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
            continue
        if only_at_the_top and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Import):
            yield from ((name.name, node.lineno) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module), node.lineno
        pending += ast.iter_child_nodes(node)


def sources(repository: Path, package: str) -> list[Path]:
    found = sorted((repository / package).rglob("*.py"))
    assert found, f"no sources of {package}"
    return found


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_point_one_way(repository, package):
    offences = [
        f"{path.relative_to(repository)}:{line} imports {module}"
        for path in sources(repository, package)
        for module, line in imports(path)
        if (root := module.partition(".")[0]) in ALLOWED and root != package and root not in ALLOWED[package]
    ]
    assert not offences, "\n".join(offences)


def test_imports_are_absolute(repository):
    offences = [
        f"{path.relative_to(repository)}:{node.lineno}"
        for package in ALLOWED
        for path in sources(repository, package)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not offences, "\n".join(offences)


def test_command_modules_import_heavy_libraries_only_in_functions(repository):
    offences = [
        f"{path.relative_to(repository)}:{line} imports {module}"
        for path in sources(repository, "railwatch/cli")
        for module, line in imports(path, only_at_the_top=True)
        if module.partition(".")[0] in HEAVY
    ]
    assert not offences, "\n".join(offences)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["no-such-command"]])
def test_help_loads_no_heavy_library(arguments, tmp_path):
    """Not a stopwatch, which would only measure the machine: what costs the time is what gets loaded."""
    program = (
        "import sys; from railwatch.cli import main; main(sys.argv[1:]); "
        "sys.stderr.write('loaded:' + ','.join(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    loaded = set(done.stderr.rpartition("loaded:")[2].split(","))
    assert "typer" in loaded
    assert not loaded & HEAVY


def test_every_module_imports(repository):
    """Also those that no test uses, and without a warning (warnings are errors here)."""
    names = [
        name
        for package in ALLOWED
        for name in [
            package,
            *(found.name for found in pkgutil.walk_packages([str(repository / package)], f"{package}.")),
        ]
        if not name.endswith("__main__")
    ]
    for name in names:
        importlib.import_module(name)


def test_no_setting_is_dead(repository):
    """A setting that nothing reads is a promise that isn't kept."""
    attributes = {
        node.attr
        for package in ("detector", "railwatch")
        for path in sources(repository, package)
        if path.name != "config.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
    }
    settings = [
        f"{section.name}.{each.name}"
        for section in dataclasses.fields(RunConfig)
        if dataclasses.is_dataclass(getattr(RunConfig(), section.name))
        for each in dataclasses.fields(getattr(RunConfig(), section.name))
    ]
    assert not [name for name in settings if name.partition(".")[2] not in attributes]
