"""Puts the long looks at the doors where tests can import them: they belong to scripts/, not to the package."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))
