"""What goes round the code: the lock file, the container, the workflow, and the package's metadata."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PACKAGES = ("aoi", "geo", "detector", "railwatch", "seeds", "configs", "sample_tiles")


@pytest.fixture(scope="module")
def project(repository: Path) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))["project"]
    return found


@pytest.fixture(scope="module")
def locked(repository: Path) -> list[Requirement]:
    lines = (repository / "requirements.lock").read_text("utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_the_lock_file_holds_what_is_needed_in_versions_that_will_do(
    project: dict[str, Any], locked: list[Requirement]
) -> None:
    """`make lock` after a change of pyproject.toml."""
    versions: dict[str, list[str]] = {}
    for one in locked:
        (pin,) = one.specifier
        assert pin.operator == "=="
        versions.setdefault(canonicalize_name(one.name), []).append(pin.version)
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    wanted += [each for extra in project["optional-dependencies"].values() for each in extra]
    faults = []
    for text in wanted:
        needed = Requirement(text)
        name = canonicalize_name(needed.name)
        if name == "railwatch":
            continue
        pinned = versions.get(name, [])
        if not pinned or not all(needed.specifier.contains(version) for version in pinned):
            faults.append(f"{text}: {', '.join(pinned) or 'not there'}")
    assert not faults, faults


def test_the_lock_file_is_for_every_system(locked: list[Requirement]) -> None:
    for system in ("linux", "darwin", "win32"):
        for python in ("3.11", "3.13"):
            environment = {"sys_platform": system, "python_full_version": f"{python}.0", "extra": ""}
            names = [
                canonicalize_name(one.name)
                for one in locked
                if one.marker is None or one.marker.evaluate({**environment, "platform_machine": "x86_64"})
            ]
            assert {"torch", "rasterio", "geopandas", "typer"} <= set(names)
            assert len(names) == len(set(names)), "two versions of one package"


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
def test_the_locked_versions_fit_each_other(locked: list[Requirement], python: str) -> None:
    """As far as the packages are installed here in their locked versions, by what they say they need."""
    environment = {"python_full_version": f"{python}.6", "python_version": python, "extra": ""}
    here = [one for one in locked if one.marker is None or one.marker.evaluate(environment)]
    pins = {canonicalize_name(one.name): next(iter(one.specifier)).version for one in here}
    asked, faults = 0, []
    for name, version in pins.items():
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        if found.version != version:
            continue
        for needed in map(Requirement, found.requires or ()):
            if needed.marker is not None and not needed.marker.evaluate(environment):
                continue
            pinned = pins.get(canonicalize_name(needed.name))
            asked += 1
            if pinned is None or not needed.specifier.contains(pinned, prereleases=True):
                faults.append(f"{name} {version} needs {needed}: {pinned or 'not there'}")
    assert asked > 100
    assert not faults, faults


def test_every_dependency_has_a_lower_bound(project: dict[str, Any]) -> None:
    everything = [
        *project["dependencies"],
        *(each for one in project["optional-dependencies"].values() for each in one),
    ]
    bare = [text for text in everything if not Requirement(text).specifier and "railwatch[" not in text]
    assert not bare


def test_the_metadata_are_ready_for_an_index(project: dict[str, Any]) -> None:
    assert {
        "name",
        "version",
        "description",
        "readme",
        "license",
        "authors",
        "keywords",
        "classifiers",
    } <= set(project)
    assert len(project["description"]) < 512
    pythons = [
        one
        for one in project["classifiers"]
        if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", one)
    ]
    assert pythons[0].endswith(project["requires-python"].removeprefix(">="))
    assert not [
        one for one in project["classifiers"] if one.startswith("License ::")
    ]  # PEP 639 has an expression
    assert metadata.version("packaging")


def test_the_container_gets_every_package_and_nothing_else(repository: Path) -> None:
    docker = (repository / "Dockerfile").read_text("utf-8")
    copied = re.findall(r"^COPY (\w+) \1$", docker, re.MULTILINE)
    assert sorted(copied) == sorted(PACKAGES)
    kept = re.findall(r"^!(\S+)$", (repository / ".dockerignore").read_text("utf-8"), re.MULTILINE)
    single = re.search(r"^COPY (.+) \./$", docker, re.MULTILINE)
    assert single is not None
    assert sorted(kept) == sorted([*copied, *single[1].split()])
    assert docker.count("--constraint requirements.lock") == 2
    assert "USER railwatch" in docker


def test_the_workflow_runs_what_there_is(repository: Path) -> None:
    workflow = yaml.safe_load((repository / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    targets = set(re.findall(r"^([a-z]+):", (repository / "Makefile").read_text("utf-8"), re.MULTILINE))
    systems = set()
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 40, name
        systems |= {job["runs-on"], *job.get("strategy", {}).get("matrix", {}).get("os", [])}
        for step in job["steps"]:
            command = step.get("run", "")
            if command.startswith("make "):
                assert command.split()[1] in targets
            if command.startswith("."):
                assert (repository / command).is_file()
    assert {"ubuntu-latest", "macos-latest", "windows-latest"} <= systems
