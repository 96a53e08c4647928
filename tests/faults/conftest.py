"""Counts the faults that were tried and survived; the total is printed at the end of the run."""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.fixture
def survived(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Say that one fault (or several) was tried and survived."""

    def count(number: int = 1) -> None:
        request.config.faults_survived = getattr(request.config, "faults_survived", 0) + number

    return count
