"""`python -m benchlib`: what scripts/bench runs."""

import sys

from benchlib.cli import main

if __name__ == "__main__":
    sys.exit(main())
