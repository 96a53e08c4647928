"""The settings of a run: one TOML file, bound strictly (`aoi.settings`).

A file may hold any of the settings below and nothing else: an unknown key, a wrong type or a value out
of its range is refused with one sentence that names the file and the key. What a file leaves out keeps
its default, so the empty file is the default run.

The bundled files are in the package `configs`, one a use, and go by their names: ``tumangang``, ``vhr``,
``sentinel2``. `docs/configuration.md` is written from this module (``python -m railwatch.config``).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import field
from datetime import date
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from aoi.settings import bind, fields_of, kind_of, range_words, read_toml, setting, settings_table, wanted
from detector.wagons import TILE_PX
from railwatch.errors import ConfigError

if TYPE_CHECKING:
    from railwatch.history.settings import VerdictSettings

__all__ = [
    "BaselineSettings",
    "ChartSettings",
    "DetectorSettings",
    "OccupancySettings",
    "RunConfig",
    "SceneSettings",
    "config_names",
    "load_config",
    "reference",
]

# The recipes of `railwatch train` and the assumptions of `railwatch claims` lie beside the settings of runs.
_RECIPE_PREFIXES = ("train-", "finetune-", "claims")


_setting = partial(setting, changes_results=True, later=False, is_path=False)
"""A setting of a run, with what `RunConfig` wants to know of it besides.

``changes_results`` is False for what only moves files or changes the speed: it isn't in the digest. ``later``
marks what came when stores existed: at its default it isn't in the digest, so that what they hold stays
valid. ``is_path``: the value is a path, relative to the folder of the file that it stands in.
"""


Device = Literal["auto", "cpu", "cuda"]
Backend = Literal["auto", "openvino", "torch"]


def _weights() -> Any:
    text = "A safetensors file of ours; by default the shipped weights."
    return _setting(None, text, changes_results=False, is_path=True)


def _device() -> Any:
    text = "Where the network runs; `auto` takes a CUDA GPU when there is one."
    return _setting("auto", text, changes_results=False)


def _backend() -> Any:
    text = "What runs the network: `openvino` (CPU) or `torch` (GPU, CPU); `auto` takes the fastest."
    return _setting("auto", text, changes_results=False)


@settings_table
class SceneSettings:
    """How images are read and which are good enough to count on."""

    gsd_m: float | None = _setting(
        None,
        "Ground sampling distance of images that carry no position (PNG, JPEG), in metres.",
        low=0.05,
        high=60,
    )
    bands: tuple[int, ...] | None = _setting(
        None,
        "The 1-based numbers of the one or three bands to look at; by default chosen by the file.",
        low=1,
    )
    sensor: str | None = _setting(None, "Name of the sensor for images that don't say it.")
    min_valid_fraction: float = _setting(
        0.5,
        "The share of the area that an image must show; under it the observation is kept, but abstains.",
        low=0,
        high=1,
    )
    min_tracks_seen: float = _setting(
        0.25,
        "The share of the tracks' length along which a railway must be seen on an image (clouds, snow or "
        "darkness hide it); under it the observation is kept, but abstains.",
        low=0,
        high=1,
    )


@settings_table
class DetectorSettings:
    """How the wagon detector works."""

    weights: str | None = _weights()
    threshold: float | None = _setting(
        None,
        "The least score of a wagon that counts; by default that of the weights' card.",
        low=0.01,
        high=0.99,
    )
    careful: bool = _setting(
        False,
        "Look at each tile and its three mirror images: a little better, four times as slow.",
        later=True,
    )
    device: Device = _device()
    backend: Backend = _backend()
    tile_px: int = _setting(
        TILE_PX,
        "Edge of a tile in pixels of 0.5 m; memory grows with its square.",
        low=128,
        high=8192,
        step=32,
    )
    batch_size: int = _setting(
        1, "Tiles that go through the network together.", low=1, high=256, changes_results=False
    )


@settings_table
class OccupancySettings:
    """How Sentinel-2 scenes (10 m) are answered."""

    hindcast: bool = _setting(
        False,
        "Set a date against clear dates after it, too; by default only against those before it, as one who "
        "looked that day would have had to.",
    )
    min_clear_fraction: float = _setting(
        0.8,
        "The share of the area that must be clear; under it the observation is kept, but abstains. Less than "
        "0.8 is never answered.",
        low=0.8,
        high=1,
    )
    pitch_mean_m: float | None = _setting(
        None,
        "Track length that a freight car of this yard takes, coupler to coupler, in metres; by default that "
        "of the weights.",
        low=8,
        high=30,
    )
    pitch_sd_m: float | None = _setting(
        None,
        "How unsure that length is (standard deviation, metres); by default as unsure as the weights say.",
        low=0,
        high=8,
    )
    weights: str | None = _weights()
    device: Device = _device()
    backend: Backend = _backend()


@settings_table
class BaselineSettings:
    """What a count is compared with.

    The thresholds behind the words of a verdict aren't settings: they hold a known rate of false
    alarms, which a changed one would silently give up.
    """

    lookback_years: float = _setting(
        5.0, "Length of the window of history before the date that is judged.", low=0.25, high=100
    )
    gap_days: float = _setting(
        30.0,
        "Days between the end of that window and the date, so that one long stay isn't compared with itself.",
        low=0,
        high=3650,
    )
    not_before: date | None = _setting(
        None, "The window never begins before this day (of a rebuilt yard, for example)."
    )
    min_looks: float = _setting(
        5.0,
        "The fewest independent past images for a verdict; with fewer it is `cannot say`.",
        low=1,
        high=1000,
    )
    use_published: bool = _setting(
        True, "Take the published counts that ship with railwatch into the history."
    )

    def verdict_settings(self) -> VerdictSettings:
        """These settings as the comparison takes them; what isn't a setting of a run keeps its value."""
        from railwatch.history.settings import VerdictSettings

        shared = {each.name for each in dataclasses.fields(VerdictSettings)}
        mine = {
            each.name: getattr(self, each.name) for each in dataclasses.fields(self) if each.name in shared
        }
        return VerdictSettings(**mine)


@settings_table
class ChartSettings:
    """How the time series is drawn."""

    formats: tuple[Literal["png", "svg"], ...] = _setting(
        ("png", "svg"), "The files that a run writes.", changes_results=False
    )
    dpi: int = _setting(200, "Resolution of the PNG.", low=50, high=1200, changes_results=False)
    show_published: bool = _setting(True, "Draw the published counts beside our own.", changes_results=False)


@settings_table
class RunConfig:
    """All settings of a run.

    The values are as the file gives them, but for paths, which are made absolute: a relative path in a
    file is relative to that file's folder.
    """

    title: str = _setting("", "A line for charts and reports.", changes_results=False)
    aoi: str | None = _setting(
        None, "The area: a bundled name (`railwatch aoi list`) or the path of a GeoJSON file."
    )
    store: str | None = _setting(
        None, "The folder that keeps the observations.", changes_results=False, is_path=True
    )
    scenes: SceneSettings = field(default_factory=SceneSettings)
    detector: DetectorSettings = field(default_factory=DetectorSettings)
    occupancy: OccupancySettings = field(default_factory=OccupancySettings)
    baseline: BaselineSettings = field(default_factory=BaselineSettings)
    chart: ChartSettings = field(default_factory=ChartSettings)
    source: str | None = field(default=None, compare=False, metadata={"internal": True})
    """The file that the settings were read from, or None for the defaults."""

    @property
    def counting_digest(self) -> str:
        """The sha256 of the settings that a count depends on: provenance of an observation."""
        return _sha256({"scenes": _content(self.scenes), "detector": _content(self.detector)})

    @property
    def occupancy_digest(self) -> str:
        """The sha256 of the settings that the answer to a 10 m scene depends on."""
        return _sha256({"occupancy": _content(self.occupancy)})

    def override(self, **values: object) -> RunConfig:
        """These settings with some replaced, as options of the command line do.

        Args:
            values: New values by key; a key of a table is written with two underscores
                (``detector__device="cpu"``). None leaves a setting as it is.

        Returns:
            The new settings, checked like those of a file.

        Raises:
            ConfigError: If a key is unknown or a value isn't allowed.
        """
        changed = _as_table(self)
        for name, value in values.items():
            if value is None:
                continue
            *tables, key = name.split("__")
            target = changed
            for table in tables:
                target = target.setdefault(table, {})
            target[key] = _toml_value(value)
        return dataclasses.replace(_bound(changed, "options", None), source=self.source)

    def to_table(self) -> dict[str, Any]:
        """These settings as the tables of a settings file would hold them; what isn't set is left out."""
        return _as_table(self)

    @classmethod
    def from_table(cls, table: Mapping[str, Any], shown: str) -> RunConfig:
        """The settings of such tables, checked like those of a file.

        Args:
            table: As `to_table` gives it.
            shown: Where it was read, for messages.

        Raises:
            ConfigError: If a key is unknown or a value isn't allowed.
        """
        return dataclasses.replace(_bound(table, shown, None), source=shown)


def config_names() -> list[str]:
    """The names of the bundled settings of runs, sorted."""
    found = [entry.name for entry in resources.files("configs").iterdir()]
    return sorted(
        name.removesuffix(".toml")
        for name in found
        if name.endswith(".toml") and not name.startswith(_RECIPE_PREFIXES)
    )


def load_config(name_or_path: str | Path | None = None) -> RunConfig:
    """Reads the settings of a run.

    Args:
        name_or_path: A bundled name, the path of a TOML file, or None for the defaults.

    Returns:
        The settings, checked.

    Raises:
        ConfigError: If the file can't be found or read, isn't TOML, or holds an unknown key or a value
            that isn't allowed; the message names the file and the key.
    """
    if name_or_path is None:
        return RunConfig()
    if isinstance(name_or_path, str) and name_or_path in config_names():
        text = resources.files("configs").joinpath(f"{name_or_path}.toml").read_text(encoding="utf-8")
        table, shown, folder = tomllib.loads(text), f"{name_or_path}.toml (bundled)", None
    else:
        path = Path(name_or_path)
        shown, folder = str(path), path.absolute().parent
        if not path.exists():
            names = ", ".join(config_names())
            raise ConfigError(f"{path}: no such settings file (the bundled settings are: {names})")
        table = read_toml(path, ConfigError)
    return dataclasses.replace(_bound(table, shown, folder), source=shown)


def _bound(table: Mapping[str, Any], shown: str, folder: Path | None) -> RunConfig:
    """The settings in a table; relative paths are taken from a folder, or left as they are without one."""

    def placed(field: dataclasses.Field[Any], value: Any) -> Any:
        if folder is None or value is None:
            return value
        if field.metadata.get("is_path"):
            return str(folder / Path(value).expanduser())
        if field.name == "aoi":
            # An area is a bundled name or a path; only a file that is there makes it a path.
            beside = folder / Path(value).expanduser()
            return str(beside) if beside.is_file() else value
        return value

    return bind(RunConfig, table, shown, error=ConfigError, convert=placed)


# --------------------------------------------------------------------------------------------------
# Out again: tables, digests, the reference page


def _as_table(config: Any) -> dict[str, Any]:
    """The settings as TOML would hold them: tuples as lists, nothing for None."""
    table: dict[str, Any] = {}
    for each, _ in fields_of(type(config)):
        value = getattr(config, each.name)
        if dataclasses.is_dataclass(value):
            table[each.name] = _as_table(value)
        elif value is not None:
            table[each.name] = _toml_value(value)
    return table


def _toml_value(value: object) -> object:
    """The value in the types that a TOML file would give."""
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _content(table: Any) -> dict[str, Any]:
    """What of a table can change a result."""
    values = [(each, getattr(table, each.name)) for each, _ in fields_of(type(table))]
    return {
        each.name: value
        for each, value in values
        if each.metadata["changes_results"] and not (each.metadata["later"] and value == each.default)
    }


def _sha256(content: object) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def reference() -> str:
    """The reference page of all settings, as Markdown."""
    parts = [
        "# Settings of a run",
        "",
        "`railwatch run --config FILE` reads a TOML file; `--config NAME` takes a bundled one: "
        + ", ".join(f"`{name}`" for name in config_names())
        + ".",
        "What a file leaves out keeps its default. An unknown key, a wrong type or a value out of range is",
        "refused before anything is read. Options of the command line win over the file. A relative path in",
        "a file is relative to that file's folder.",
        "",
        "This page is written by `python -m railwatch.config > docs/configuration.md`; a test holds it to",
        "the code.",
        "",
        *_reference_table("Top level", RunConfig),
    ]
    for each, hint in fields_of(RunConfig):
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            parts += ["", *_reference_table(f"`[{each.name}]`", hint)]
    return "\n".join(parts) + "\n"


def _reference_table(heading: str, cls: type) -> Iterator[str]:
    yield f"## {heading}"
    yield ""
    if cls is not RunConfig:
        yield str(cls.__doc__).splitlines()[0]
        yield ""
    yield "| key | type | default | what it does |"
    yield "|---|---|---|---|"
    for each, hint in fields_of(cls):
        if dataclasses.is_dataclass(hint):
            continue
        kind = wanted(kind_of(hint))
        low, high = each.metadata["low"], each.metadata["high"]
        if low is not None or high is not None:
            kind += f", {range_words(low, high)}"
        if each.metadata["step"] is not None:
            kind += f", a multiple of {each.metadata['step']}"
        default = "none" if each.default is None else f"`{_toml(each.default)}`"
        yield f"| `{each.name}` | {kind} | {default} | {each.metadata['text']} |"


def _toml(value: object) -> str:
    """A value as TOML writes it."""
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    return json.dumps(value)


if __name__ == "__main__":
    sys.stdout.write(reference())
