"""The rules of the house that no linter knows: which package may import which, and what help may load."""

from __future__ import annotations

import ast
import collections
import dataclasses
import graphlib
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
# Inside a package a wing may import those before it, and none beside or after it.
WINGS = {
    "detector": (("wagons", "occupancy"), ("simulators", "labels"), ("training",)),
    "railwatch": (
        ("store",),
        ("history",),
        ("pages",),
        ("pipeline",),
        ("fetch",),
        ("review", "selftest", "studies"),
        ("cli",),
    ),
}
MOST_LINES = 400
# Why a module is longer than that. A simulator's drawing is a catalogue: many small functions, each a thing
# that lies in or beside a yard, which nobody reads from one end to the other.
LONG = {
    "aoi/area_import.py": "one import of every vector format, whose shapes are sorted alike",
    "aoi/check.py": "one checker whose steps share what they have found so far",
    "detector/simulators/collage/scene.py": "a catalogue of what stands in a collage",
    "detector/simulators/procedural/layout.py": "a catalogue of track layouts",
    "detector/simulators/procedural/render.py": "one drawing, back to front, of everything a scene may hold",
    "detector/simulators/procedural/roofs.py": "a catalogue of roofs",
    "detector/simulators/procedural/scenes.py": "a catalogue of kinds of scenes",
    "detector/simulators/procedural/surroundings.py": "a catalogue of what lies beside railways",
    "detector/simulators/relief.py": "a whole simulator that shares nothing with the others, on purpose",
    "detector/simulators/sentinel2/renderer.py": "one rendering of a yard at 10 m and its conditions",
    "geo/sentinel2/formats/export.py": "one decision, step by step, of what an exported image means",
    "geo/sentinel2/formats/stac_item.py": "three catalogues' dialects of one item, side by side",
    "geo/sentinel2/time_series.py": "one pass over the dates of a place, which keeps its state",
    "geo/tracks/fit.py": "one fit whose steps hand on their drafts",
    "railwatch/api.py": "the functions for Python, each with its documentation",
    "railwatch/config.py": "the settings of a run, each with its sentence",
    "railwatch/history/judge.py": "one judging, from records to verdicts",
    "railwatch/pages/claims.py": "one assessment with its data classes",
    "railwatch/pages/pictures/boxes.py": "one picture, layer by layer",
    "railwatch/pipeline/run.py": "the main job from end to end",
    "railwatch/pipeline/sentinel2.py": "the main job of Sentinel-2 dates from end to end",
    "railwatch/store/observation.py": "one value and its two forms, STAC item and JSON",
    "railwatch/store/store.py": "the store's one class, whose reading, writing and sweeping belong together",
    "railwatch/studies/verdict_study.py": "one simulation study",
}
# Class names that occur more than once, each with the reason.
TWINS: dict[str, str] = {}
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


def module_name(path: Path, repository: Path) -> str:
    parts = path.relative_to(repository).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.fixture(scope="module")
def import_graph(repository) -> dict[str, set[str]]:
    """Which of our modules imports which, type hints and imports inside functions included."""
    paths = {module_name(p, repository): p for package in ALLOWED for p in sources(repository, package)}
    graph: dict[str, set[str]] = {}
    for name, path in paths.items():
        found = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                found |= {
                    full if (full := f"{node.module}.{each.name}") in paths else node.module
                    for each in node.names
                }
            elif isinstance(node, ast.Import):
                found |= {each.name for each in node.names}
        graph[name] = (found & set(paths)) - {name}
    return graph


def test_there_is_no_circle_of_imports(import_graph):
    try:
        graphlib.TopologicalSorter(import_graph).prepare()
    except graphlib.CycleError as circle:
        pytest.fail(" -> ".join(circle.args[1]))


@pytest.mark.parametrize("package", WINGS)
def test_wings_stand_in_order(import_graph, package):
    rank = {wing: number for number, group in enumerate(WINGS[package]) for wing in group}

    def wing(module: str) -> str | None:
        found = module.split(".")[1:2] if module.startswith(f"{package}.") else []
        return found[0] if found and found[0] in rank else None

    offences = [
        f"{module} imports {other}"
        for module, others in import_graph.items()
        for other in others
        if (mine := wing(module)) and (theirs := wing(other)) and mine != theirs
        if rank[theirs] >= rank[mine]
    ]
    assert not offences, "\n".join(sorted(offences))


def test_modules_are_short_or_say_why(repository):
    long = {
        str(path.relative_to(repository))
        for package in ALLOWED
        for path in sources(repository, package)
        if len(path.read_text(encoding="utf-8").splitlines()) > MOST_LINES
    }
    assert sorted(long - set(LONG)) == [], "longer than 400 lines without a reason on the list"
    assert sorted(set(LONG) - long) == [], "on the list without need"


def test_no_class_name_occurs_twice(repository):
    homes = collections.defaultdict(list)
    for package in ALLOWED:
        for path in sources(repository, package):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    homes[node.name.lstrip("_")].append(f"{path.relative_to(repository)}:{node.lineno}")
    twins = {name: where for name, where in homes.items() if len(where) > 1}
    assert not set(twins) - set(TWINS), twins
    assert not set(TWINS) - set(twins), "on the list without need"


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
