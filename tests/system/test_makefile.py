"""The two commands of the README: which Python they take, what they say without one, and what they repeat."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("make") is None or os.name == "nt", reason="needs make")


@pytest.fixture
def make(repository, tmp_path):
    """Runs make with an environment folder of its own."""

    def make(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", "--no-print-directory", "-C", str(repository), f"VENV={tmp_path / 'env'}", *arguments],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    return make


def interpreter(path: Path, body: str) -> Path:
    """A stand-in for a Python that is found on some machines."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_without_python_it_says_what_to_install(make, tmp_path):
    done = make("demo", f"PYTHON={tmp_path / 'none'}")
    assert done.returncode != 0
    assert "no Python found; install Python 3.11 or newer" in done.stderr
    assert not (tmp_path / "env").exists()


def test_with_an_old_python_only_it_says_so(make, tmp_path):
    old = interpreter(tmp_path / "oldpython", 'case "$2" in *version_info*) exit 1;; esac')
    done = make("demo", f"PYTHON={old}")
    assert done.returncode != 0
    assert f"found only older ones ({old})" in done.stderr


def test_without_the_venv_module_it_names_the_package(make, tmp_path):
    bare = interpreter(tmp_path / "barepython", 'case "$2" in *ensurepip*) exit 1;; esac')
    done = make("test", f"PYTHON={bare}")
    assert done.returncode != 0
    assert "apt install python3-venv" in done.stderr


def test_a_python_that_does_not_run_is_passed_over(make, tmp_path):
    broken = interpreter(tmp_path / "broken", "exit 127")
    good = interpreter(tmp_path / "good", f'case "$2" in venv) mkdir "{tmp_path}/env";; esac')
    done = make(str(tmp_path / "env" / ".created"), f"PYTHON={broken} {good}")
    assert done.returncode == 0, done.stderr
    assert f"with {good}" in done.stdout


def test_what_is_installed_is_not_installed_again(make, tmp_path, repository):
    environment = tmp_path / "env"
    environment.mkdir()
    for stamp in (".created", ".installed", ".installed-dev"):
        (environment / stamp).touch()
    demo = make("--dry-run", "demo").stdout
    assert "pip install" not in demo
    assert f"{environment}/bin/railwatch demo" in demo
    test = make("--dry-run", "test").stdout
    assert "pip install" not in test
    for step in ("ruff check", "ruff format --check", "mypy", "pytest", "railwatch validate"):
        assert step in test
    # what the project needs has changed since
    older = (repository / "pyproject.toml").stat().st_mtime - 10
    for stamp in (".installed", ".installed-dev"):
        os.utime(environment / stamp, (older, older))
    assert "pip install" in make("--dry-run", "demo").stdout
    assert "[dev]" in make("--dry-run", "test").stdout
