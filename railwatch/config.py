"""The settings of a run: one TOML file, read into frozen dataclasses, with nothing guessed.

A file may hold any of the settings below and nothing else: an unknown key, a wrong type or a value out
of its range is refused with one sentence that names the file and the key. What a file leaves out keeps
its default, so the empty file is the default run.

The bundled files are in the package `configs`, one a use, and go by their names: ``tumangang``, ``vhr``,
``sentinel2``. `docs/configuration.md` is written from this module (``python -m railwatch.config``).
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import math
import sys
import tomllib
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

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
    "bundled_text",
    "config_names",
    "load_config",
    "reference",
]

T = TypeVar("T")

# The recipes of `railwatch train` and the assumptions of `railwatch claims` lie beside the settings of runs.
_RECIPE_PREFIXES = ("train-", "finetune-", "claims")


def _setting(
    default: Any,
    text: str,
    *,
    low: float | None = None,
    high: float | None = None,
    step: int | None = None,
    changes_results: bool = True,
    later: bool = False,
    is_path: bool = False,
) -> Any:
    """A dataclass field with what its reader and its documentation need.

    Args:
        default: The value when a file leaves it out.
        text: One sentence for the reference table.
        low: The least value allowed (of each member, for lists).
        high: The greatest value allowed.
        step: What the value must be a multiple of.
        changes_results: False for what only moves files or changes the speed; it isn't in the digest.
        later: It came when stores existed; at its default it isn't in the digest, so that what they hold
            stays valid.
        is_path: The value is a path, relative to the folder of the file that it stands in.
    """
    metadata = {
        "text": text,
        "low": low,
        "high": high,
        "step": step,
        "changes_results": changes_results,
        "later": later,
        "is_path": is_path,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class DetectorSettings:
    """How the wagon detector works."""

    weights: str | None = _setting(
        None,
        "A safetensors file of ours; by default the shipped weights.",
        changes_results=False,
        is_path=True,
    )
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
    device: Literal["auto", "cpu", "cuda"] = _setting(
        "auto", "Where the network runs; `auto` takes a CUDA GPU when there is one.", changes_results=False
    )
    tile_px: int = _setting(
        2048,
        "Edge of a tile in pixels of 0.5 m; memory grows with its square.",
        low=128,
        high=8192,
        step=32,
    )
    batch_size: int = _setting(
        1, "Tiles that go through the network together.", low=1, high=256, changes_results=False
    )


@dataclass(frozen=True, slots=True)
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
    weights: str | None = _setting(
        None,
        "A safetensors file of ours; by default the shipped weights.",
        changes_results=False,
        is_path=True,
    )
    device: Literal["auto", "cpu", "cuda"] = _setting(
        "auto", "Where the network runs; `auto` takes a CUDA GPU when there is one.", changes_results=False
    )


@dataclass(frozen=True, slots=True)
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
    not_before: date | None = _setting(  # noqa: RUF009 (the linter doesn't know that days are immutable)
        None, "The window never begins before this day (of a rebuilt yard, for example)."
    )
    min_looks: float = _setting(
        5.0,
        "The fewest independent past looks for a verdict; with fewer it is `cannot say`.",
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
        mine = {name: getattr(self, name) for name in self.__slots__ if name in shared}
        return VerdictSettings(**mine)


@dataclass(frozen=True, slots=True)
class ChartSettings:
    """How the time series is drawn."""

    formats: tuple[Literal["png", "svg"], ...] = _setting(
        ("png", "svg"), "The files that a run writes.", changes_results=False
    )
    dpi: int = _setting(200, "Resolution of the PNG.", low=50, high=1200, changes_results=False)
    show_published: bool = _setting(True, "Draw the published counts beside our own.", changes_results=False)


@dataclass(frozen=True, slots=True)
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
    def digest(self) -> str:
        """The sha256 of every setting that can change a result (not of paths, device or looks)."""
        return _sha256(_content(self))

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
        return dataclasses.replace(_bind(RunConfig, changed, "options", folder=None), source=self.source)

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
        return dataclasses.replace(_bind(RunConfig, table, shown, folder=None), source=shown)


def config_names() -> list[str]:
    """The names of the bundled settings of runs, sorted."""
    found = [entry.name for entry in resources.files("configs").iterdir()]
    return sorted(
        name.removesuffix(".toml")
        for name in found
        if name.endswith(".toml") and not name.startswith(_RECIPE_PREFIXES)
    )


def bundled_text(name: str) -> str:
    """The text of a bundled file, to start one's own from.

    Raises:
        ConfigError: If there is no file of that name.
    """
    if name not in config_names():
        raise ConfigError(f"no settings named {name!r} are bundled (there are: {', '.join(config_names())})")
    return resources.files("configs").joinpath(f"{name}.toml").read_text(encoding="utf-8")


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
        text, shown, folder = bundled_text(name_or_path), f"{name_or_path}.toml (bundled)", None
    else:
        path = Path(name_or_path)
        shown, folder = str(path), path.absolute().parent
        text = _read(path)
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{shown}: not a valid TOML file: {error}") from error
    return dataclasses.replace(_bind(RunConfig, table, shown, folder=folder), source=shown)


def _read(path: Path) -> str:
    """The text of a settings file."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        names = ", ".join(config_names())
        raise ConfigError(f"{path}: no such settings file (the bundled settings are: {names})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not a TOML file: it isn't UTF-8 text") from None
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from error


# --------------------------------------------------------------------------------------------------
# From a TOML table to a dataclass


def _settings(cls: type) -> Iterator[tuple[dataclasses.Field[Any], Any]]:
    """The fields that a file may set, with their resolved types."""
    hints = get_type_hints(cls)
    for each in dataclasses.fields(cls):
        if not each.metadata.get("internal"):
            yield each, hints[each.name]


def _bind(cls: type[T], table: Mapping[str, Any], shown: str, *, folder: Path | None, prefix: str = "") -> T:
    """An instance of `cls` from a table, every key and value checked.

    Args:
        cls: A dataclass whose fields come from `_setting` or are such dataclasses.
        table: What the file says.
        shown: The file's name for messages.
        folder: What relative paths are relative to; None leaves them as they are.
        prefix: The table's own name with a dot, for messages.
    """
    fields = {each.name: (each, hint) for each, hint in _settings(cls)}
    place = f"of [{prefix.rstrip('.')}]" if prefix else "at the top level"
    for key in table:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            advice = f"did you mean {near[0]}? All" if near else "the"
            raise ConfigError(
                f"{shown}: unknown key {prefix}{key} ({advice} keys {place} are: {', '.join(fields)})"
            )
    values: dict[str, Any] = {}
    for key, value in table.items():
        each, hint = fields[key]
        name = prefix + key
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{shown}: {name} must be a table ([{name}]), not {_described(value)}")
            values[key] = _bind(hint, value, shown, folder=folder, prefix=f"{name}.")
            continue
        converted = _converted(value, hint, each.metadata, f"{shown}: {name}")
        if each.metadata["is_path"] and folder is not None and converted is not None:
            converted = str(folder / Path(converted).expanduser())
        values[key] = converted
    config = cls(**values)
    if isinstance(config, RunConfig) and folder is not None and config.aoi is not None:
        beside = folder / Path(config.aoi).expanduser()
        # An area is a bundled name or a path; only a file that is there makes it a path.
        if beside.is_file():
            config = dataclasses.replace(config, aoi=str(beside))
    return config


def _converted(value: Any, hint: Any, metadata: Mapping[str, Any], where: str) -> Any:
    """The value as the type `hint`, if it is of that type and in range."""
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    kind = next(option for option in options if option is not type(None))
    if get_origin(kind) is tuple:
        member = get_args(kind)[0]
        if not isinstance(value, list) or not value:
            raise ConfigError(f"{where} must be {_wanted(kind)}, not {_described(value)}")
        return tuple(_converted(each, member, metadata, where) for each in value)
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise ConfigError(f"{where} must be {_wanted(kind)}, not {_described(value)}")
        return value
    # TOML tells whole numbers from others; a whole number is fine where any number is.
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise ConfigError(f"{where} must be {_wanted(kind)}, not {_described(value)}")
    low, high = metadata["low"], metadata["high"]
    if (low is not None and value < low) or (high is not None and value > high):
        raise ConfigError(f"{where} must be {_range(low, high)}, not {value}")
    if metadata["step"] is not None and value % metadata["step"]:
        raise ConfigError(f"{where} must be a multiple of {metadata['step']}, not {value}")
    return value


def _wanted(kind: Any) -> str:
    """A type in the words of a message."""
    if get_origin(kind) is tuple:
        return f"a list, each member {_wanted(get_args(kind)[0])}"
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(f'"{choice}"' for choice in get_args(kind))
    return {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "text in quotes",
        date: "a day (2023-10-05)",
    }[kind]


def _described(value: object) -> str:
    """A value of a wrong type in the words of a message."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'the text "{value}"'
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return str(value)


def _range(low: float | None, high: float | None) -> str:
    """Limits in the words of a message."""
    if high is None:
        return f"{low:g} or more"
    return f"between {low:g} and {high:g}"


# --------------------------------------------------------------------------------------------------
# Out again: tables, digests, the reference page


def _as_table(config: Any) -> dict[str, Any]:
    """The settings as TOML would hold them: tuples as lists, nothing for None."""
    table: dict[str, Any] = {}
    for each, _ in _settings(type(config)):
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


def _content(config: Any) -> dict[str, Any]:
    """What of the settings can change a result."""
    content: dict[str, Any] = {}
    for each, _ in _settings(type(config)):
        value = getattr(config, each.name)
        if dataclasses.is_dataclass(value):
            content[each.name] = _content(value)
        elif each.metadata["changes_results"] and not (each.metadata["later"] and value == each.default):
            content[each.name] = value
    return content


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
    for each, hint in _settings(RunConfig):
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
    for each, hint in _settings(cls):
        if dataclasses.is_dataclass(hint):
            continue
        options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
        kind = next(option for option in options if option is not type(None))
        wanted = _wanted(kind)
        low, high = each.metadata["low"], each.metadata["high"]
        if low is not None or high is not None:
            wanted += f", {_range(low, high)}"
        if each.metadata["step"] is not None:
            wanted += f", a multiple of {each.metadata['step']}"
        default = "none" if each.default is None else f"`{_toml(each.default)}`"
        yield f"| `{each.name}` | {wanted} | {default} | {each.metadata['text']} |"


def _toml(value: object) -> str:
    """A value as TOML writes it."""
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    return json.dumps(value)


if __name__ == "__main__":
    sys.stdout.write(reference())
