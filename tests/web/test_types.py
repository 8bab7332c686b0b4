"""The JavaScript client is typed: by JSDoc, checked by TypeScript's compiler as strictly as it can."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CLIENT = HERE.parents[1] / "recorder" / "web" / "sdk" / "client.js"
COMPILER = Path(sys.prefix) / "node" / "node_modules" / "typescript" / "bin" / "tsc"
"""Where scripts/test puts it."""

pytestmark = pytest.mark.timeout(600)  # a busy machine takes minutes

MISUSE = """
const events = subscribe({ sessions: 7, onStatus: (status) => status.sort });
for await (const event of events) if (event.event === "delta") event.delta.typo.length;
"""


def faults(folder: Path, *include: str) -> list[str]:
    """What the compiler finds wrong in files; skips, saying so, where there is none."""
    node = shutil.which("node")
    if node is None or not COMPILER.exists():
        pytest.skip("the types of the JavaScript are not checked: no node, or no TypeScript in .venv/node")
    project = folder / "tsconfig.json"
    project.write_text(json.dumps({"extends": str(HERE / "tsconfig.json"), "include": include}))
    done = subprocess.run(
        [node, str(COMPILER), "-p", str(project)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return [line for line in done.stdout.splitlines() if ": error TS" in line]


def test_the_client_has_no_fault_of_type_and_whoever_misuses_it_is_told(tmp_path: Path) -> None:
    misuse = tmp_path / "misuse.ts"
    misuse.write_text(f"import {{ subscribe }} from {json.dumps(str(CLIENT))};{MISUSE}")
    parts = [str(path) for path in (CLIENT.parent / "client").glob("*.js")]
    found = faults(tmp_path, str(CLIENT), *parts, str(misuse))
    assert [line for line in found if not line.startswith("misuse.ts")] == []
    for fault in ("'number' is not assignable", "'sort' does not exist", "'typo' does not exist"):
        assert any(fault in line for line in found), found


def test_the_dashboard_has_no_fault_of_type(tmp_path: Path) -> None:
    assert faults(tmp_path, str(CLIENT.parents[1] / "dashboard" / "*.js")) == []
