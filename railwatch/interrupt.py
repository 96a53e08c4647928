"""Ctrl-C: one line and exit code 130, at whatever moment it comes.

Python raises `KeyboardInterrupt` wherever it happens to be: in the middle of an import, where libraries turn
it into errors of their own, or in a destructor, where it is printed and lost. So the signal is remembered,
and what looks like another error after it is taken for what it is.
"""

from __future__ import annotations

import _thread
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

__all__ = ["expect", "ignore", "interrupted"]

_seen = False


def expect() -> None:
    """Remember from now on that Ctrl-C was pressed, besides raising `KeyboardInterrupt`."""
    signal.signal(signal.SIGINT, _note)
    usual = sys.unraisablehook

    def unraisable(found: Any) -> None:
        if issubclass(found.exc_type, KeyboardInterrupt):
            _thread.interrupt_main()  # lost in a destructor or a callback: once more
        else:
            usual(found)

    sys.unraisablehook = unraisable


def ignore() -> None:
    """Take no more signals: the process is about to end anyway."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def interrupted() -> bool:
    """Whether Ctrl-C was pressed since `expect`."""
    return _seen


def _note(signum: int, frame: FrameType | None) -> None:
    global _seen
    _seen = True
    raise KeyboardInterrupt
