"""The command line: `python -m xai ...`."""

from __future__ import annotations

import sys

from xai.cli import main

if __name__ == "__main__":
    sys.exit(main())
