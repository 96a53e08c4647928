"""The command line: which commands there are, and `main`, which turns faults into words and exit codes.

Exit codes: 0 success; 1 a result under its own threshold; 2 bad usage or bad input, with one sentence
on stderr; 69 a server that can't be reached now; 70 a fault of railwatch itself; 75 another process at the
same work; 130 stopped with Ctrl-C; 141 the reader of a pipe went away.

With ``--json`` an error also puts one document on stdout, ``{"error": "the sentence"}``, unless the
command has already written its own: a script can parse stdout without looking at the exit code first.

Heavy libraries are imported inside the commands that use them, so that help answers at once.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from aoi.errors import InputError
from railwatch import interrupt
from railwatch.cli import _common
from railwatch.version import __version__

__all__ = ["app", "main"]

EXIT_PIPE = 141

# The panels of the help page, in its order, with their commands.
PANELS: dict[str, tuple[str, ...]] = {
    "Count": ("run", "detect", "fetch", "watch"),
    "Understand": (
        "compare",
        "compare-images",
        "chart",
        "report",
        "overview",
        "review",
        "import",
        "calibrate",
        "claims",
        "export",
        "aoi",
    ),
    "Try and check": ("demo", "validate", "store"),
    "Make a detector": ("simulate", "train", "quantise", "evaluate"),
}

# These may stand anywhere on the line, not only before the command.
_GLOBAL_FLAGS = frozenset({"--quiet", "-q", "--verbose", "-v", "-vv", "--debug"})

# What the system says about an output or input that a user can mend, in words.
_SYSTEM_FAULTS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "the system doesn't permit it",
    errno.ENOENT: "no such file or folder",
    errno.EEXIST: "it exists already",
    errno.ENOTDIR: "a part of the path is not a folder",
    errno.EISDIR: "it is a folder, not a file",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EMFILE: "too many files are open",
    errno.EIO: "the disk reports an input/output error",
}
# These are the user's to mend even when the system doesn't say which path it was.
_FAULTS_WITHOUT_PATH = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE}


class _ReaderGone(Exception):
    """The process that reads our stdout has gone away (``railwatch ... | head``)."""


def module_of(command: str) -> str:
    """The module of this package that holds a command: its name, but for a keyword of Python."""
    return "import_counts" if command == "import" else command.replace("-", "_")


class _Commands(dict[str, Any]):
    """Every command by its name; its module is imported when somebody asks for the command."""

    def __init__(self, added: Mapping[str, Any]) -> None:
        super().__init__({name: panel for panel, names in PANELS.items() for name in names} | dict(added))

    def __getitem__(self, name: str) -> Any:
        command = super().__getitem__(name)
        if isinstance(command, str):  # still the name of its panel
            module = importlib.import_module(f"{__name__}.{module_of(name)}")
            part = typer.Typer()
            # A command of several parts is an app of its own, any other the function of its module's name.
            if (app := getattr(module, "app", None)) is not None:
                part.add_typer(app, name=name, rich_help_panel=command)
            else:
                part.command(name, rich_help_panel=command)(getattr(module, module_of(name)))
            command = self[name] = typer.main.get_group(part).commands[name]
        return command

    def get(self, name: str, default: Any = None) -> Any:
        try:
            return self[name]
        except KeyError:
            return default

    def items(self) -> Any:
        return [(name, self[name]) for name in self]


class _RootGroup(TyperGroup):
    """The root command: it imports the command that is asked for and no other.

    It also keeps typer from taking a closed pipe for exit status 1, which is `validate`'s.
    """

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Commands(self.commands)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise _ReaderGone from error


app = typer.Typer(
    name="railwatch",
    cls=_RootGroup,
    help="Counts freight cars in rail yards on satellite imagery, says how sure it is, and compares the "
    "count with the history of the place.",
    epilog="--quiet, --verbose and --debug may also stand after the command. "
    "Start with 'railwatch demo', or 'railwatch detect IMAGE --gsd METRES'.",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"railwatch {__version__}")
        raise typer.Exit()


@app.callback(invoke_without_command=True)
def _root(
    ctx: typer.Context,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress and no warnings on stderr, only errors.")
    ] = False,
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose",
            "-v",
            count=True,
            show_default=False,
            help="Say more on stderr; twice for everything.",
        ),
    ] = 0,
    debug: Annotated[
        bool,
        typer.Option("--debug", envvar="RAILWATCH_DEBUG", help="Show the traceback of an error."),
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    del version  # handled by its callback
    session = _common.session
    session.quiet, session.verbosity, session.debug = quiet, verbose, debug
    session.json_emitted = False  # a test runner calls the app again and again in one process
    _common.set_up_logging(quiet=quiet, verbosity=verbose)
    if ctx.invoked_subcommand is not None and not {"-h", "--help"} & set(sys.argv):
        _common.waiting.start(f"railwatch {ctx.invoked_subcommand} ...", quiet=quiet)
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help(), nl=False)


def _hoist_global_flags(arguments: Sequence[str]) -> list[str]:
    """Moves the global flags to the front, where the root command looks for them."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    before, after = arguments[:end], arguments[end:]
    flags = [argument for argument in before if argument in _GLOBAL_FLAGS]
    return [*flags, *(argument for argument in before if argument not in _GLOBAL_FLAGS), *after]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code; the console script's entry point.

    Args:
        argv: The arguments without the program's name; those of the process by default.

    Returns:
        The exit code, see the module's docstring.
    """
    arguments = _hoist_global_flags(list(sys.argv[1:] if argv is None else argv))
    _common.session = _common.Session()
    try:
        result = typer.main.get_command(app).main(arguments, prog_name="railwatch", standalone_mode=False)
        sys.stdout.flush()
    except Exception as error:
        return _explain(error, as_json="--json" in arguments)
    except SystemExit as error:  # only rich raises one, when the reader of a help page goes away
        return _explain(BrokenPipeError(), as_json=False) if error.code == 1 else _common.EXIT_BUG
    # typer hands an exit code back as the command's result; our commands themselves return None.
    code = result if isinstance(result, int) else 0
    _common.waiting.stop()
    if code == _common.EXIT_INTERRUPTED:
        _complain("interrupted")
    return code


def _explain(error: Exception, *, as_json: bool) -> int:
    """Says what went wrong in one sentence and returns the exit code for it."""
    if interrupt.interrupted():  # during an import or a callback it comes back as any kind of error
        _complain("interrupted")
        return _common.EXIT_INTERRUPTED
    if isinstance(error, _ReaderGone | BrokenPipeError):
        # Nobody reads any more: give the interpreter's last flush somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE
    if isinstance(error, typer.Abort):
        _complain("interrupted")
        return _common.EXIT_INTERRUPTED
    code, sentence = _verdict(error)
    if _common.session.debug:
        traceback.print_exception(error)
    if sentence:
        _complain(f"error: {sentence}")
    if as_json and not _common.session.json_emitted:
        _common.emit_json({"error": sentence})
    return code


def _verdict(error: Exception) -> tuple[int, str]:
    """The exit code and the sentence for an error."""
    if isinstance(error, InputError):
        return _exit_code_of(error), " ".join(str(error).split())
    if isinstance(error, typer.TyperException):
        return _common.EXIT_INPUT, _usage_sentence(error)
    if isinstance(error, OSError):
        sentence = _system_sentence(error)
        if sentence is not None:
            return _common.EXIT_INPUT, sentence
    name = type(error).__name__
    if name in {"MemoryError", "OutOfMemoryError"}:
        return _common.EXIT_BUG, "out of memory: try a smaller batch or tile size, or --device cpu"
    detail = " ".join(f"{name}: {error}".split())
    hint = "" if _common.session.debug else "; run again with --debug to see where"
    return _common.EXIT_BUG, f"a fault in railwatch itself ({detail}){hint}"


def _exit_code_of(error: InputError) -> int:
    """What a script is told of an error: whether trying again later may help."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if "UnavailableError" in names:
        return _common.EXIT_UNAVAILABLE
    return _common.EXIT_LOCKED if "LockedError" in names else _common.EXIT_INPUT


def _usage_sentence(error: typer.TyperException) -> str:
    """The message of a usage error and where to read on; empty when typer has shown the help instead."""
    # typer's converters prefix their own words with the kind of exception
    message = " ".join(error.format_message().split()).replace(": Value error, ", ": ")
    context = getattr(error, "ctx", None)
    if not message or context is None:
        return message
    stop = "" if message.endswith(("?", ".")) else "."
    return f"{message}{stop} See '{context.command_path} --help'."


def _system_sentence(error: OSError) -> str | None:
    """An error of the operating system that its user can mend, with the path; None for any other."""
    fault = _SYSTEM_FAULTS.get(error.errno or 0)
    path = error.filename2 or error.filename
    if fault is None or (path is None and error.errno not in _FAULTS_WITHOUT_PATH):
        return None
    return f"{os.fsdecode(path)}: {fault}" if isinstance(path, str | bytes) else fault


def _complain(text: str) -> None:
    _common.waiting.stop()
    for line in _common.wrapped(f"railwatch: {_common.printable(text)}", sys.stderr):
        sys.stderr.write(f"{line}\n")
