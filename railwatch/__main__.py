"""The process that is the `railwatch` command; also `python -m railwatch`."""

from __future__ import annotations

import gc
import os
import sys

from railwatch import interrupt


def main() -> int:
    """Run the command line in a process of its own and return its exit code; see `railwatch.cli`."""
    interrupt.expect()
    # Imports make some 100,000 objects that all stay. Every 700 of them Python would search for cycles.
    gc.set_threshold(50_000, 10, 10)
    try:
        from aoi.gdal import set_variables, shut_gdal

        shut_gdal()
        if "OPENBLAS_NUM_THREADS" not in os.environ:
            # numpy's products here are small. Its threads would help with none of them, and wait by spinning.
            set_variables({"OPENBLAS_NUM_THREADS": "1"})
        from railwatch.cli import main as command

        code = command()
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = 130
        sys.stderr.write("railwatch: interrupted\n")
    except BrokenPipeError:
        code = 141
    interrupt.ignore()
    gc.freeze()  # they end with the process, and needn't be searched once more
    if code == 141:  # nobody reads any more: the interpreter's last flush goes nowhere
        for stream in (sys.stdout, sys.stderr):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return code


if __name__ == "__main__":
    sys.exit(main())
