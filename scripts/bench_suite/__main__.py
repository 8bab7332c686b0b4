"""`python -m bench_suite`: what scripts/bench runs."""

import sys

from bench_suite.cli import main

if __name__ == "__main__":
    sys.exit(main())
