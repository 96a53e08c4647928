"""What the commands share: options, output on the right stream, progress, logging.

The rule for streams: stdout carries the result and nothing else (with ``--json`` exactly one JSON
document), stderr carries progress, warnings and errors. So ``railwatch ... --json | jq`` always works.

Nothing here imports a heavy library; rich is imported by the functions that draw with it.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from aoi.errors import InputError
from aoi.files import safe_name
from railwatch.cli._json import plain
from railwatch.cli._waiting import waiting
from railwatch.store import DEFAULT_STORE

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

__all__ = [
    "EXIT_BELOW_THRESHOLD",
    "EXIT_BUG",
    "EXIT_INPUT",
    "EXIT_INTERRUPTED",
    "EXIT_LOCKED",
    "EXIT_UNAVAILABLE",
    "AoiOption",
    "ConfigOption",
    "DayOption",
    "Device",
    "DeviceOption",
    "JsonOption",
    "Reporter",
    "StoreOption",
    "WeightsOption",
    "below_threshold",
    "emit_json",
    "fail",
    "notes",
    "progress",
    "say",
    "show",
    "tell",
    "waiting",
]

EXIT_BELOW_THRESHOLD = 1
"""A result that fails its own threshold (``validate``, ``evaluate``)."""
EXIT_INPUT = 2
"""Bad usage or bad input: one sentence on stderr, no traceback."""
EXIT_UNAVAILABLE = 69
"""A server that can't be reached or fails: later it may work (``EX_UNAVAILABLE`` of sysexits.h)."""
EXIT_LOCKED = 75
"""Another process does this work already (``EX_TEMPFAIL`` of sysexits.h)."""
EXIT_BUG = 70
"""A fault of railwatch itself (``EX_SOFTWARE`` of sysexits.h)."""
EXIT_INTERRUPTED = 130
"""Stopped with Ctrl-C (128 + SIGINT, as shells report it)."""

_WIDTH_OF_FILES = 160
_LEAST_WIDTH = 40
_OUR_PACKAGES = ("aoi", "geo", "detector", "railwatch", "seeds")

# --------------------------------------------------------------------------------------------------
# Options that several commands have. Use them as parameter types, with the default as usual:
#     def detect(..., as_json: JsonOption = False, device: DeviceOption = "auto") -> None:

Device = Literal["auto", "cpu", "cuda"]

JsonOption = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON document on stdout instead of text."),
]
DeviceOption = Annotated[
    Device,
    typer.Option("--device", help="Where the network runs; auto takes a CUDA GPU when there is one."),
]
Backend = Literal["auto", "openvino", "torch"]
BackendOption = Annotated[
    Backend,
    typer.Option(
        "--backend", help="What runs the network: openvino (CPU) or torch (GPU, CPU); auto takes the fastest."
    ),
]
AoiOption = Annotated[
    str | None,
    typer.Option(
        "--aoi",
        metavar="NAME_OR_FILE",
        help="The area: a bundled name (see 'railwatch aoi list'), an area file, or an outline in GeoJSON, "
        "KML, GeoPackage, Shapefile, WKT, ...",
    ),
]
StoreOption = Annotated[
    Path | None,
    typer.Option(
        "--store", metavar="DIR", help=f"The folder that holds the observations; {DEFAULT_STORE} by default."
    ),
]
DayOption = Annotated[
    datetime | None,
    typer.Option(
        "--date",
        metavar="YYYY-MM-DD",
        formats=["%Y-%m-%d"],
        help="The day that it is about; by default the foremost one.",
    ),
]
ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="NAME_OR_FILE",
        help="Settings of the run: a bundled name (tumangang, vhr, sentinel2) or a TOML file.",
    ),
]
CarefulOption = Annotated[
    bool,
    typer.Option(
        "--careful",
        help="Look at each tile and its three mirror images: a little better, four times as slow.",
    ),
]
WeightsOption = Annotated[
    Path | None,
    typer.Option("--weights", metavar="FILE", help="Other weights (safetensors) than the shipped ones."),
]


def history_of(store: Path | None, config: str | None) -> Path | None:
    """The store that a command looks back on: without --store and --config that of a run without them."""
    known = store is not None or config is not None or not Path(DEFAULT_STORE).is_dir()
    return store if known else Path(DEFAULT_STORE)


# --------------------------------------------------------------------------------------------------
# The session: what the options before the command say, for the life of the process.


@dataclass
class Session:
    """How this process talks to its user; set once by the root command."""

    quiet: bool = False
    verbosity: int = 0
    debug: bool = False
    json_emitted: bool = False


session = Session()


class _StderrHandler(logging.Handler):
    """Writes records through the stderr console, so that they don't tear a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = printable(f"railwatch: {record.levelname.lower()}: {self.format(record)}")
            console().print(text, markup=False, highlight=False, soft_wrap=True)
        except BrokenPipeError:
            raise
        except Exception:
            self.handleError(record)


def set_up_logging(*, quiet: bool, verbosity: int) -> None:
    """Sends log records to stderr: warnings by default, errors when quiet, more with ``-v`` and ``-vv``.

    Only railwatch's own packages follow ``-v``; libraries stay at warnings, and Python warnings of
    libraries appear from ``-v`` on, since they rarely tell a user what to do.
    """
    level = logging.ERROR if quiet else (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbosity, 2)]
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h, _StderrHandler)]:
        root.removeHandler(handler)
    root.addHandler(_StderrHandler())
    root.setLevel(logging.ERROR if quiet else logging.WARNING)
    for package in _OUR_PACKAGES:
        logging.getLogger(package).setLevel(level)
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").setLevel(logging.WARNING if verbosity else logging.ERROR)


# --------------------------------------------------------------------------------------------------
# Ending


def fail(message: str) -> NoReturn:
    """Ends the command because of its user's input: exit status 2 and the message.

    Args:
        message: One sentence that names the file and the fault.

    Raises:
        InputError: Always; ``main`` turns it into the message and the status.
    """
    raise InputError(message)


def below_threshold() -> NoReturn:
    """Ends the command with status 1: it did its job, and the result fails its own threshold."""
    raise typer.Exit(EXIT_BELOW_THRESHOLD)


# --------------------------------------------------------------------------------------------------
# Output


def printable(text: str) -> str:
    r"""Text that a terminal shows and doesn't obey: control characters become ``\x1b`` in four letters.

    A file's name may hold any byte but two; colours, a new title or a cleared screen are none of its
    business. Bytes that aren't UTF-8 are shown in the same way.
    """
    return "".join(map(_escaped, safe_name(text)))


def _escaped(character: str) -> str:
    category = unicodedata.category(character)
    # A soft hyphen or a joiner belongs to words; what turns the direction of a line around doesn't.
    harmless = (
        character in "\n\t" or category[0] != "C" or (category == "Cf" and character not in _DIRECTIONS)
    )
    return character if harmless else character.encode("unicode_escape", "backslashreplace").decode()


_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")


def console(*, stderr: bool = True) -> Console:
    """The console of a stream; the same object every time, so that bars and lines don't collide."""
    from rich.console import Console

    waiting.stop()

    class PipeAwareConsole(Console):
        def on_broken_pipe(self) -> None:
            # rich would exit with 1 here, which is `validate`'s code; main knows better
            raise BrokenPipeError(errno.EPIPE, "the reader of the output went away")

    stream = sys.stderr if stderr else sys.stdout
    # Tests and shells may swap the streams, so the cache holds the stream that it was made for.
    cached = _consoles.get(stderr)
    if cached is None or cached[0] is not stream:
        # A file or a pipe has no width to fit into; rich would take it for an old terminal of 80 columns.
        width = None if stream.isatty() or "COLUMNS" in os.environ else _WIDTH_OF_FILES
        cached = _consoles[stderr] = (stream, PipeAwareConsole(file=stream, width=width))
    return cached[1]


_consoles: dict[bool, tuple[Any, Console]] = {}


def say(text: str = "", *, style: str | None = None) -> None:
    """Prints a line of the result on stdout, as it is (no markup, no wrapping of long paths)."""
    console(stderr=False).print(printable(text), style=style, markup=False, highlight=False, soft_wrap=True)


def tell(sentence: str) -> None:
    """Prints a sentence of the result on stdout; in a terminal it is broken between words."""
    for line in wrapped(printable(sentence), sys.stdout):
        say(line)


def wrapped(text: str, stream: Any) -> list[str]:
    """A sentence in lines for a stream: those of a terminal's width, and one for a file or a pipe.

    Words stay whole, however long, so that a path can be copied; lines after the first are indented.
    """
    width = shutil.get_terminal_size().columns if stream.isatty() else 0
    if len(text) <= width or width < _LEAST_WIDTH:
        return [text]
    lines = textwrap.wrap(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return lines or [text]


def notes(sentences: Iterable[str]) -> None:
    """Prints what the reader of a result should know, a line each, on stdout."""
    for sentence in sentences:
        tell(f"note: {sentence}")


def show(renderable: Any) -> None:
    """Prints anything that rich can draw on stdout."""
    console(stderr=False).print(renderable)


def emit_json(document: object) -> None:
    """Writes the command's one JSON document on stdout.

    Dates become ISO 8601 (times in UTC with ``Z``), paths strings, numpy values Python ones, and
    numbers that JSON hasn't got (NaN, infinity) null.

    Args:
        document: Anything made of the above, mappings, sequences and dataclasses.

    Raises:
        RuntimeError: If the command has already written its document.
    """
    if session.json_emitted:
        raise RuntimeError("a command writes one JSON document, this is its second")
    session.json_emitted = True
    waiting.stop()
    text = json.dumps(plain(document), indent=2, ensure_ascii=False, allow_nan=False)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


# --------------------------------------------------------------------------------------------------
# Progress


class Reporter:
    """Takes progress as ``report(done, total)`` and draws it, or ignores it when nobody looks.

    The call fits every ``progress=`` parameter of the libraries, which know nothing of terminals.
    """

    def __init__(self, bars: RichProgress | None, label: str, *, at_once: bool = False) -> None:
        self._bars = bars
        self._task: TaskID | None = None
        self._label = label
        if bars is not None and at_once:
            self._task = bars.add_task(label, total=None)  # moves until the number of steps is known

    def __call__(self, done: int, total: int) -> None:
        """Sets the bar: `done` of `total` steps."""
        if self._bars is None:
            return
        if self._task is None:
            self._task = self._bars.add_task(self._label, total=total)
        self._bars.update(self._task, completed=done, total=total)

    def label(self, text: str) -> None:
        """Renames the bar (to the file at work, for example)."""
        self._label = text
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, description=text)

    @contextmanager
    def bar(self, label: str) -> Iterator[Callable[[int, int], None]]:
        """A further bar below this one, for the steps inside one step; it goes when it is done."""
        inner = Reporter(self._bars, label)
        try:
            yield inner
        finally:
            if inner._bars is not None and inner._task is not None:
                inner._bars.remove_task(inner._task)


@contextmanager
def progress(label: str) -> Iterator[Reporter]:
    """A progress bar on stderr while the block runs; silent with ``--quiet`` or without a terminal.

    Args:
        label: What the steps are, for example "tiles".

    Yields:
        The reporter: call it with (done, total) as often as you like.
    """
    if session.quiet or not sys.stderr.isatty():
        yield Reporter(None, label)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=console(), transient=True) as bars:
        yield Reporter(bars, label, at_once=True)
