"""What the commands share: output on the right stream, progress, logging, exit codes.

The rule for streams: stdout carries the result and nothing else (with ``--json`` exactly one JSON
document), stderr carries progress, warnings and errors. So ``railwatch ... --json | jq`` always works.

Nothing here imports a heavy library; rich is imported by the functions that draw with it.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import logging
import math
import os
import shutil
import sys
import textwrap
import threading
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from aoi.errors import InputError
from aoi.files import safe_name

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


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


def plain(value: object) -> object:
    """The value in types that JSON has."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str | Path):
        return safe_name(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        moment = value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
        return moment.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {safe_name(str(key)): plain(member) for key, member in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [plain(member) for member in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(member) for member in value), key=str)
    # numpy scalars and arrays, without importing numpy
    as_list = getattr(value, "tolist", None)
    if callable(as_list):
        return plain(as_list())
    raise TypeError(f"{type(value).__name__} has no JSON form")


_PATIENCE_S = 0.6


class Waiting:
    """A line on stderr for whoever waits while libraries are loaded; gone with the first output.

    It stands there within a second, in a terminal only, and not with ``--quiet``.
    """

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None
        self._shown = False
        self._lock = threading.Lock()

    def start(self, text: str, *, quiet: bool = False) -> None:
        """Announces what is being done, unless something else is said before."""
        self.stop()
        if quiet or not sys.stderr.isatty():
            return
        self._timer = threading.Timer(_PATIENCE_S, self._show, (text,))
        self._timer.daemon = True
        self._timer.start()

    def stop(self) -> None:
        """Takes the line away, so that the next one stands at the margin."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._shown:
                self._shown = False
                plain = os.environ.get("TERM") == "dumb"
                sys.stderr.write("\n" if plain else "\r\x1b[K")
                sys.stderr.flush()

    def _show(self, text: str) -> None:
        with self._lock:
            if self._timer is not None:
                self._shown = True
                sys.stderr.write(text)
                sys.stderr.flush()


waiting = Waiting()
