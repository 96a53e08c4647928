"""The frame of the command line: help, version, streams, exit codes and the one sentence for a fault."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import subprocess
import sys
import warnings
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
import typer

from aoi.errors import AreaError
from railwatch import __version__, cli
from railwatch.cli import _common, _options, _tables


@pytest.fixture
def trial(monkeypatch, railwatch):
    """Runs `railwatch trial`, a command whose body the test gives."""

    def run(body, *arguments):
        app = typer.Typer(cls=cli._RootGroup, pretty_exceptions_enable=False)
        app.callback(invoke_without_command=True)(cli._root)

        @app.command("trial")
        def _(as_json: _options.JsonOption = False, device: _options.DeviceOption = "auto") -> None:
            body()

        monkeypatch.setattr(cli, "app", app)
        return railwatch("trial", *arguments)

    return run


def raising(error: BaseException):
    def body() -> None:
        raise error

    return body


# ---- help and version ----------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_goes_to_stdout_and_lists_every_command(railwatch, arguments):
    outcome = railwatch(*arguments)
    assert outcome.code == 0
    assert outcome.err == ""
    commands = [name for names in cli.PANELS.values() for name in names]
    modules = {path.stem for path in Path(cli.__file__).parent.glob("[a-z]*.py")}
    assert modules == {cli.module_of(name) for name in commands}, "a command module that no panel names"
    for name in commands:
        assert f" {name} " in outcome.out


def test_every_command_explains_itself(railwatch):
    commands = typer.main.get_command(cli.app).commands
    for name, command in commands.items():
        assert command.help, f"{name} has no help"
        outcome = railwatch(name, "--help")
        assert outcome.code == 0
        assert "--help" in outcome.out


def test_version(railwatch_process):
    assert railwatch_process("--version").out == f"railwatch {__version__}\n"


def test_the_version_is_that_of_the_package(repository):
    assert f'version = "{__version__}"' in (repository / "pyproject.toml").read_text(encoding="utf-8")


# ---- bad usage -----------------------------------------------------------------------------------


def test_a_mistyped_command_gets_a_suggestion(trial):
    outcome = trial(lambda: None, "--devcie", "cpu")
    assert outcome.code == 2
    assert "--device" in outcome.error


def test_an_unknown_command_is_bad_usage(railwatch_process):
    outcome = railwatch_process("hlep")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.error == "No such command 'hlep'. See 'railwatch --help'."


def test_a_near_miss_of_a_command_names_it(railwatch):
    outcome = railwatch("detcet")
    assert outcome.code == 2
    assert "Did you mean 'detect'?" in outcome.error


def test_a_wrong_choice_names_the_choices(trial):
    outcome = trial(lambda: None, "--device", "tpu")
    assert outcome.code == 2
    assert outcome.error.startswith(
        "Invalid value for '--device': 'tpu' is not one of 'auto', 'cpu', 'cuda'."
    )


# ---- faults and their exit codes -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (AreaError("yard.geojson: no\n boundary"), 2, "yard.geojson: no boundary"),
        (OSError(errno.ENOSPC, "x", "out/a.tif"), 2, "out/a.tif: the disk is full"),
        (OSError(errno.ENOSPC, "x"), 2, "the disk is full"),
        (OSError(errno.EROFS, "x", b"out"), 2, "out: the file system is read-only"),
        (PermissionError(errno.EACCES, "x", "out"), 2, "out: permission denied"),
        (FileNotFoundError(errno.ENOENT, "x", "a", None, "b"), 2, "b: no such file or folder"),
        (MemoryError(), 70, "out of memory: try a smaller batch or tile size, or --device cpu"),
        (
            KeyError("k"),
            70,
            "a fault in railwatch itself (KeyError: 'k'); run again with --debug to see where",
        ),
        (
            ConnectionError("gone"),
            70,
            "a fault in railwatch itself (ConnectionError: gone); run again with --debug to see where",
        ),
    ],
)
def test_a_fault_gets_its_code_and_one_sentence(trial, error, code, sentence):
    outcome = trial(raising(error))
    assert (outcome.code, outcome.out, outcome.error) == (code, "", sentence)
    outcome = trial(raising(error), "--json")
    assert json.loads(outcome.out) == {"error": sentence}
    assert (outcome.code, outcome.error) == (code, sentence)


@pytest.mark.parametrize("how", ["option before", "option after", "environment"])
def test_the_traceback_is_for_those_who_ask(trial, monkeypatch, how, railwatch):
    if how == "environment":
        monkeypatch.setenv("RAILWATCH_DEBUG", "1")
        outcome = trial(raising(KeyError("k")))
    elif how == "option after":
        outcome = trial(raising(KeyError("k")), "--debug")
    else:
        trial(lambda: None)
        outcome = railwatch("--debug", "trial")
        assert outcome.code == 0
        outcome = trial(raising(KeyError("k")), "--debug")
    assert outcome.code == 70
    assert "Traceback (most recent call last)" in outcome.err
    assert outcome.err.rstrip().endswith("a fault in railwatch itself (KeyError: 'k')")


def test_below_its_threshold_is_one_and_says_nothing_more(trial):
    outcome = trial(lambda: (_common.emit_json({"passed": False}), _common.below_threshold()), "--json")
    assert (outcome.code, outcome.err) == (1, "")
    assert json.loads(outcome.out) == {"passed": False}


def test_an_error_after_the_document_leaves_one_document(trial):
    outcome = trial(lambda: (_common.emit_json([1]), _common.fail("x: late")), "--json")
    assert outcome.code == 2
    assert json.loads(outcome.out) == [1]
    assert outcome.error == "x: late"


def test_a_command_writes_one_document(trial):
    outcome = trial(lambda: (_common.emit_json([1]), _common.emit_json([2])), "--json")
    assert outcome.code == 70


@pytest.mark.parametrize("error", [KeyboardInterrupt(), typer.Abort()])
def test_interruption(trial, error):
    outcome = trial(raising(error))
    assert (outcome.code, outcome.out, outcome.err) == (130, "", "railwatch: interrupted\n")


@pytest.mark.skipif(os.name == "nt", reason="pipes of Unix")
def test_a_reader_that_leaves_is_no_fault(tmp_path):
    program = (
        "import typer; from railwatch import cli; from railwatch.cli import _common\n"
        "app = typer.Typer(cls=cli._RootGroup); app.callback(invoke_without_command=True)(cli._root)\n"
        "@app.command('trial')\n"
        "def trial():\n"
        "    while True: _common.say('x' * 1000)\n"
        "cli.app = app; raise SystemExit(cli.main(['trial']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 141
    assert process.stderr.read() == b""
    process.stderr.close()


# ---- streams -------------------------------------------------------------------------------------


def test_json_is_one_document_of_plain_values(trial):
    document = {
        "path": Path("a") / "b",
        "when": datetime(2023, 10, 5, 11, 0, tzinfo=timezone(timedelta(hours=9))),
        "utc": datetime(2023, 10, 5, 2, 30, 1, tzinfo=UTC),
        "day": date(2023, 10, 5),
        "count": np.float32(1.5),
        "n": np.int64(3),
        "array": np.array([[1.0, np.nan]]),
        "infinite": float("inf"),
        "set": {"b", "a"},
        "nested": (_common.Session(quiet=True),),
        "text": "두만강 [bold]",
    }
    outcome = trial(lambda: _common.emit_json(document), "--json")
    assert outcome.err == ""
    assert json.loads(outcome.out) == {
        "path": "a/b",
        "when": "2023-10-05T02:00:00Z",
        "utc": "2023-10-05T02:30:01Z",
        "day": "2023-10-05",
        "count": 1.5,
        "n": 3,
        "array": [[1.0, None]],
        "infinite": None,
        "set": ["a", "b"],
        "nested": [{"quiet": True, "verbosity": 0, "debug": False, "json_emitted": False}],
        "text": "두만강 [bold]",
    }


def test_what_json_cannot_hold_is_a_fault(trial):
    assert trial(lambda: _common.emit_json({"a": object()}), "--json").code == 70


def test_text_comes_out_as_it_is(trial):
    line = "[red]x[/red] " + "long/path/" * 40
    outcome = trial(lambda: _common.say(line))
    assert outcome.out == line + "\n"


def test_a_table_has_its_cells(trial):
    outcome = trial(lambda: _tables.table(["name", "count"], [["[a]", 3], ["b", None]], title="Counts"))
    lines = [line.split() for line in outcome.out.splitlines() if line.strip()]
    assert lines[0] == ["Counts"]
    assert lines[1] == ["name", "count"]
    assert lines[3:] == [["[a]", "3"], ["b", "-"]]


@pytest.mark.parametrize("columns", [10, 16])
def test_a_table_loses_nothing_on_a_narrow_terminal(trial, columns):
    """10 words of 6 letters fit into 100 characters; of 16, those that don't fit go below, each whole."""
    rows = [["first", *["wagons"] * (columns - 1)]] * 2
    outcome = trial(lambda: _tables.table([f"h{column}" for column in range(columns)], rows))
    assert outcome.out.count("wagons") == 2 * (columns - 1)
    below = [line for line in outcome.out.splitlines() if line.startswith("first: ")]
    assert bool(below) == (columns == 16)
    assert columns == 10 or below[-1] == "first: h15: wagons"


@pytest.mark.parametrize("width", [40, 60, 80, 100, 160])
def test_a_table_cuts_no_word_and_no_number(trial, monkeypatch, width):
    """What a run prints, at every width; notes go below the table where they don't fit beside it."""
    monkeypatch.setenv("COLUMNS", str(width))
    note = "Only 12% of the area is seen; the settings ask for 50%."
    rows = [
        ["2023-10-05 02:15", "WorldView-3", 73, "66 to 80", "96%", ""],
        ["2023-10-09 02:15", "WorldView-3", None, None, "12%", note],
    ]
    headings = ["date", "sensor", "freight cars", "90% interval", "seen", ""]
    outcome = trial(lambda: _tables.table(headings, rows, title="Counts"))
    words = outcome.out.split()
    for text in ("2023-10-05", "WorldView-3", "73", "80", "96%", "settings"):
        assert any(text in word for word in words), text
    lines = outcome.out.splitlines()
    if width <= 80:
        assert f"2023-10-09 02:15: {note}" in lines or f"  {note}" in lines
    long = "a-picture-with-a-very-long-name-" * 4 + ".tif"
    outcome = trial(lambda: _tables.table(["image", "cars"], [[long, 3]]))
    assert long in outcome.out.splitlines()[0] or width == 160
    assert long in outcome.out
    assert "3" in outcome.out.split()


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_sentences_broken_between_words_and_a_pipe_gets_them_whole(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    path = "/a/folder/" + "with-a-long-name/" * 6 + "counts.csv"
    sentence = f"{path}: no row could be taken: the 12 clear images are worth 9.9 independent ones"
    lines = _common.wrapped(sentence, _Terminal())
    assert len(lines) == 2
    assert lines[0] == f"{path}:"
    assert len(lines[1]) <= 80
    assert " ".join(line.strip() for line in lines) == sentence
    assert _common.wrapped(sentence, io.StringIO()) == [sentence]


@pytest.mark.parametrize("quiet", [False, True])
def test_who_waits_is_told_within_a_second_and_the_line_goes(monkeypatch, quiet):
    stream = _Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(_common, "_PATIENCE_S", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    waiting = _common.Waiting()
    waiting.start("railwatch run ...", quiet=quiet)
    if waiting._timer is not None:
        waiting._timer.join()
    assert stream.getvalue() == ("" if quiet else "railwatch run ...")
    waiting.stop()
    waiting.stop()
    assert stream.getvalue() == ("" if quiet else "railwatch run ...\r\x1b[K")


def _talk() -> None:
    logger = logging.getLogger("geo.some_module")
    logger.error("an error of [x]")
    logger.warning("a warning")
    logger.info("a note")
    logger.debug("a detail")
    logging.getLogger("rasterio").info("a note of a library")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("a warning of a library", stacklevel=1)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--quiet"], ["an error of [x]"]),
        (["-q"], ["an error of [x]"]),
        ([], ["an error of [x]", "a warning"]),
        (["-v"], ["an error of [x]", "a warning", "a note", "a warning of a library"]),
        (["-vv"], ["an error of [x]", "a warning", "a note", "a detail", "a warning of a library"]),
        (
            ["-v", "--verbose"],
            ["an error of [x]", "a warning", "a note", "a detail", "a warning of a library"],
        ),
    ],
)
def test_logs_go_to_stderr_as_loud_as_asked(trial, flags, said):
    outcome = trial(_talk, *flags)
    assert outcome.out == ""
    everything = ["an error of [x]", "a warning\n", "a note\n", "a detail", "a warning of a library"]
    heard = [text.strip() for text in everything if text in outcome.err]
    assert heard == said
    assert "a note of a library" not in outcome.err


def test_progress_is_silent_without_a_terminal(trial):
    def body() -> None:
        with _common.progress("tiles") as report:
            for done in range(4):
                report(done, 3)
                report.label("more")
                with report.bar("inner") as inner:
                    inner(1, 2)

    outcome = trial(body)
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")


@pytest.mark.skipif(os.name == "nt", reason="terminals of Unix")
@pytest.mark.parametrize(("flags", "drawn"), [([], True), (["--quiet"], False)])
def test_progress_is_drawn_on_a_terminal(tmp_path, flags, drawn):
    import pty

    program = (
        "import sys, typer; from railwatch import cli; from railwatch.cli import _common\n"
        "app = typer.Typer(cls=cli._RootGroup); app.callback(invoke_without_command=True)(cli._root)\n"
        "@app.command('trial')\n"
        "def trial():\n"
        "    with _common.progress('tiles of [a]') as report:\n"
        "        report(1, 3); report.label('files of [b]'); report(2, 3)\n"
        "        with report.bar('inner') as inner: inner(1, 7)\n"
        "    _common.say('result')\n"
        "cli.app = app; raise SystemExit(cli.main(sys.argv[1:]))"
    )
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", program, "trial", *flags],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=follower,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(follower)
    out, _ = process.communicate(timeout=60)
    try:
        shown = os.read(leader, 100_000).decode()
    except OSError:  # nothing was written before the other end closed
        shown = ""
    os.close(leader)
    assert process.returncode == 0
    assert out == b"result\n"
    assert ("files of [b]" in shown and "2/3" in shown) == drawn


# ---- tables --------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [56, 64, 72, 80, 120])
def test_a_table_cuts_nothing_at_any_width(width, monkeypatch, capsys):
    """What was cut at the right edge was the share that was seen: 100 for 100%."""
    monkeypatch.setenv("COLUMNS", str(width))
    names = ("date", "sensor", "occupied m", "90%", "freight cars", "90%", "seen", "")
    reason = "There are too few clear earlier dates to compare with."
    row = ("2023-05-23 02:10", "Sentinel-2A", 92, "152 to 170", 6, "4 to 12", "100%", reason)
    _tables.table(names, [row, (*row[:-1], "known")])
    printed = capsys.readouterr()
    lines = (printed.out + printed.err).splitlines()
    assert all(len(line) <= width or reason in line for line in lines)
    words = [word.rstrip(":") for word in " ".join(lines).split()]
    for cell in (*map(str, row), "known", *names):
        assert set(cell.split()) <= set(words), cell
    if width >= 80:  # a date and its time stand on one line
        assert any(line.startswith("2023-05-23 02:10") for line in lines)
