"""The root of every error that a user can cause and mend."""

from __future__ import annotations


class InputError(ValueError):
    """A mistake in the input or the usage, said in one sentence that names the file and the fault.

    The command line prints the message and exits with status 2; it never shows a traceback for one.
    """


class AreaError(InputError):
    """An area of interest that can't be found, read or trusted."""
