"""`python -m railwatch` is the `railwatch` command."""

from __future__ import annotations

import sys

from railwatch.cli import main

if __name__ == "__main__":
    sys.exit(main())
