"""The JavaScript client as an npm package, made from the repository and tried in a bare folder."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import recorder
from tests.support.app import delta, running_app
from tests.support.node import node, running
from tests.web.test_types import COMPILER

HERE = Path(__file__).parent
SDK = HERE.parents[1] / "recorder" / "web" / "sdk"

USE = """
import { ClientError, reader, subscribe } from "session-recorder";
const url = process.argv[2];
try {
  subscribe();
} catch (error) {
  console.log(JSON.stringify({ event: "refused", known: error instanceof ClientError, message: error.message }));
}
for await (const event of subscribe({ url, since: "earliest" })) {
  console.log(JSON.stringify({ event: event.event, seq: event.seq }));
  if (event.event === "live") break;
}
for await (const session of reader({ url }).sessions()) console.log(JSON.stringify({ event: "session", ...session }));
"""

TYPED = """
import { reader, subscribe } from "session-recorder";
const events = subscribe({ url: "http://127.0.0.1:8765", token: async () => "t" });
for await (const event of events) if (event.event === "delta") event.delta.sessionId.length;
(await reader({ url: "http://127.0.0.1:8765" }).state("s")).rawState.length;
subscribe({ sessions: 7 });
"""


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that has the package and nothing else."""
    node()
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("the npm package is not tried: there is no npm here")
    folder = tmp_path_factory.mktemp("npm")
    packed = json.loads(run(npm, "pack", SDK, "--json", "--pack-destination", folder, cwd=folder))
    (folder / "package.json").write_text('{"name":"bare","private":true,"type":"module"}')
    run(npm, "install", "--offline", "--no-audit", "--no-fund", f"./{packed[0]['filename']}", cwd=folder)
    return folder


async def test_the_package_works_in_a_bare_folder(installed: Path, tmp_path: Path) -> None:
    (installed / "use.mjs").write_text(USE)
    async with running_app(tmp_path) as app:
        await app.publish(delta("a"), delta("b"))
        async with running(installed / "use.mjs", app.url) as script:
            said = await script.end()
    assert said[0]["known"]
    assert "not the URL of a recorder" in said[0]["message"]
    assert [(one["event"], one.get("seq")) for one in said[1:]] == [
        ("delta", 1),
        ("delta", 2),
        ("live", 2),
        ("session", 2),
        ("session", 1),
    ]


def test_the_package_holds_the_client_and_its_types_alone(installed: Path) -> None:
    root = installed / "node_modules" / "session-recorder"
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    modules = {"client.js", *(f"client/{path.name}" for path in (SDK / "client").glob("*.js"))}
    types = {f"types/{name.removesuffix('.js')}.d.ts" for name in modules}
    assert found == {"package.json", "README.md", *modules, *types}


def test_the_package_has_the_version_of_the_recorder() -> None:
    assert json.loads((SDK / "package.json").read_text())["version"] == recorder.__version__


def test_the_types_are_those_of_the_source(tmp_path: Path) -> None:
    if not COMPILER.exists():
        pytest.skip("the types of the npm package are not made anew: there is no TypeScript in .venv/node")
    run(*node(), COMPILER, "-p", HERE / "tsconfig.types.json", "--outDir", tmp_path, cwd=tmp_path)
    made = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*.ts")}
    kept = {str(path.relative_to(SDK / "types")): path.read_text() for path in (SDK / "types").rglob("*.ts")}
    assert kept == made, (
        "make them anew: tsc -p tests/web/tsconfig.types.json --outDir recorder/web/sdk/types"
    )


def test_whoever_misuses_the_package_in_typescript_is_told(installed: Path) -> None:
    if not COMPILER.exists():
        pytest.skip("the types of the npm package are not tried: there is no TypeScript in .venv/node")
    (installed / "typed.mts").write_text(TYPED)
    flags = (
        "--noEmit",
        "--strict",
        "--target",
        "es2022",
        "--module",
        "nodenext",
        "--lib",
        "es2024,dom,dom.iterable",
    )
    done = subprocess.run(
        [*node(), str(COMPILER), *flags, "typed.mts"],
        cwd=installed,
        capture_output=True,
        text=True,
        timeout=100,
    )
    faults = [line for line in done.stdout.splitlines() if ": error TS" in line]
    assert len(faults) == 1, done.stdout
    assert "'number' is not assignable" in faults[0]
