"""Puts the benchmark where tests can import it: it belongs to scripts/, not to the package."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))
