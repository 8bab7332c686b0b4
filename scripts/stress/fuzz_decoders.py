"""atheris on one target: `python -m stress.fuzz_decoders NAME …`, the rest being libFuzzer's arguments.

Run by `scripts/fuzz`, in an environment that has atheris. `seeds FOLDER` in the place of a name writes down what each
target begins with, and the dictionary.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

# What the targets read with, too: else a byte that matters there looks like one that does not.
INSTRUMENTED = ["recorder", "websockets", "jwt"]

with atheris.instrument_imports(include=INSTRUMENTED):
    from stress.fuzz_seeds import dictionary, seeds
    from stress.fuzz_targets import TARGETS


def write_seeds(folder: Path) -> None:
    """Write a folder of inputs for each target, and `words.dict`."""
    for name in TARGETS:
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(seeds(name)):
            (place / f"{number:03}").write_bytes(seed)
    (folder / "words.dict").write_text(dictionary())


def main() -> None:
    """Run from the command line."""
    program, name, *rest = sys.argv
    if name == "seeds":
        write_seeds(Path(rest[0]))
        return
    atheris.Setup([program, *rest], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
