"""What every test runs under: no network, no screen, a home of its own, an odd time zone, one thread.

The environment is set when this file is imported, before any test module imports a library that reads it,
and the processes that tests start inherit it.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parent.parent

_home = tempfile.TemporaryDirectory(prefix="railwatch-test-home-")
_DEAD_PROXY = "http://127.0.0.1:9"
os.environ.update(
    HOME=_home.name,
    USERPROFILE=_home.name,
    XDG_CACHE_HOME=str(Path(_home.name) / "cache"),
    XDG_CONFIG_HOME=str(Path(_home.name) / "config"),
    # No screen; and one font cache for all runs, since building it takes seconds.
    MPLBACKEND="Agg",
    MPLCONFIGDIR=str(REPOSITORY / ".pytest_cache" / "matplotlib"),
    # East of Greenwich and never UTC: code that takes local time for UTC fails here, not at a user's.
    TZ="Asia/Vladivostok",
    # Native code (GDAL's curl) and child processes know nothing of the socket guard below.
    http_proxy=_DEAD_PROXY,
    https_proxy=_DEAD_PROXY,
    HTTP_PROXY=_DEAD_PROXY,
    HTTPS_PROXY=_DEAD_PROXY,
    no_proxy="localhost,127.0.0.1,::1",
    # Several test workers share few cores; threads of each would only get into each other's way.
    OMP_NUM_THREADS="1",
    OPENBLAS_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
    # Plain help pages of one width whatever terminal the tests run in.
    COLUMNS="100",
    NO_COLOR="1",
    TERM="dumb",
)
for _name in ("RAILWATCH_DEBUG", "FORCE_COLOR"):
    os.environ.pop(_name, None)
if hasattr(time, "tzset"):
    time.tzset()

# The same examples on every run: a failure in CI is a failure at home.
settings.register_profile("railwatch", deadline=None, derandomize=True)
settings.load_profile("railwatch")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections leave this machine in no test; loopback and local sockets are allowed."""

    def guarded(real: Callable[..., Any]) -> Callable[..., Any]:
        def connect(self: socket.socket, address: Any) -> Any:
            host = address[0] if isinstance(address, tuple) else None
            if host is not None and host not in {"localhost", "::1"} and not str(host).startswith("127."):
                raise AssertionError(f"a test tried to connect to {host}")
            return real(self, address)

        return connect

    monkeypatch.setattr(socket.socket, "connect", guarded(socket.socket.connect))
    monkeypatch.setattr(socket.socket, "connect_ex", guarded(socket.socket.connect_ex))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the working copy."""
    return REPOSITORY


@pytest.fixture(scope="session")
def real_imagery() -> Path:
    """Real images that lie beside a developer's working copy; they aren't ours to pass on."""
    folder = REPOSITORY.parent / "shared" / "real"
    if not folder.is_dir():
        pytest.skip("the folder of real images isn't here")
    return folder


@dataclass(frozen=True)
class Outcome:
    """How a run of the command line ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one sentence on stderr, checked to be one and no traceback."""
        assert "Traceback" not in self.err, self.err
        lines = [line for line in self.err.splitlines() if line.startswith("railwatch: error: ")]
        assert len(lines) == 1, f"expected one error line, got: {self.err!r}"
        return lines[0].removeprefix("railwatch: error: ")


@pytest.fixture
def railwatch(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Outcome]]:
    """Runs the command line inside this process: quick, since torch is imported once for all tests."""
    from railwatch.cli import main

    root = logging.getLogger()
    handlers = list(root.handlers)
    ours = ("", "aoi", "geo", "detector", "railwatch", "seeds", "py.warnings")
    levels = {name: logging.getLogger(name).level for name in ours}

    def run(*arguments: object) -> Outcome:
        capfd.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        finally:
            logging.captureWarnings(False)
        out, err = capfd.readouterr()
        return Outcome(code, out, err)

    yield run
    root.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def railwatch_process(tmp_path: Path) -> Callable[..., Outcome]:
    """Runs the command line as its user does: a process of its own, in another folder."""

    def run(*arguments: object, cwd: Path = tmp_path, env: dict[str, str] | None = None) -> Outcome:
        done = subprocess.run(
            [sys.executable, "-m", "railwatch", *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=300,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


# ---- faults tried and survived: counted by tests/faults in one or several processes, printed at the end ----


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand a worker's count to the process that started it."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["faults_survived"] = getattr(session.config, "faults_survived", 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take a worker's count."""
    del error
    number = (getattr(node, "workeroutput", None) or {}).get("faults_survived", 0)
    node.config.faults_survived = getattr(node.config, "faults_survived", 0) + number


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the total."""
    number = getattr(config, "faults_survived", 0)
    if number:
        terminalreporter.write_line(f"faults tried and survived: {number}")
