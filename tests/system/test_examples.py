"""The examples in docstrings say what really happens."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest
from test_house import ALLOWED, module_name, sources

REPOSITORY = Path(__file__).resolve().parents[2]

WITH_EXAMPLES = [
    module_name(path, REPOSITORY)
    for package in ALLOWED
    for path in sources(REPOSITORY, package)
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert tried
    assert not failed


def test_there_are_examples():
    assert len(WITH_EXAMPLES) >= 10
