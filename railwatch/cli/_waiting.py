"""The line that says within a second what is being done, while libraries are still loaded."""

from __future__ import annotations

import os
import sys
import threading

__all__ = ["Waiting", "waiting"]

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
