"""The environment of this process: what programs of ours set in it, and what it was before."""

from __future__ import annotations

import os
from collections.abc import Mapping

_before: dict[str, str | None] = {}


def set_variables(values: Mapping[str, str]) -> None:
    """Set variables that libraries read when they are loaded.

    What they were before is kept for other programs that are started from here (`outer_environment`).

    Example:
        >>> set_variables({"RAILWATCH_EXAMPLE": "1"})
        >>> os.environ["RAILWATCH_EXAMPLE"], "RAILWATCH_EXAMPLE" in outer_environment()
        ('1', False)
    """
    for name, value in values.items():
        _before.setdefault(name, os.environ.get(name))
        os.environ[name] = value


def outer_environment() -> dict[str, str]:
    """The environment as it was before `set_variables`, for programs of the user's own."""
    outer = dict(os.environ)
    for name, value in _before.items():
        if value is None:
            outer.pop(name, None)
        else:
            outer[name] = value
    return outer
