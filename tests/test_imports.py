"""What the package gives to whoever imports it, and what it loads for that."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import recorder

HEAVY = {
    "apscheduler",
    "cryptography",
    "httpx",
    "jwt",
    "loguru",
    "prometheus_client",
    "pydantic",
    "pydantic_settings",
    "rich",
    "starlette",
    "typer",
    "uvicorn",
    "websockets",
}
"""What the server, the command line and reading over HTTP need, and a client that has not connected yet does not."""


def loaded(program: str) -> set[str]:
    """The top-level modules that a program has loaded when it is done."""
    tell = "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\n{tell}"], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_the_package_alone_loads_nothing() -> None:
    assert loaded("import recorder") - set(sys.stdlib_module_names) <= loaded("") | {"recorder"}


@pytest.mark.parametrize(
    "program",
    [
        "import recorder.client",
        "from recorder import Client, Delta, NewDelta, Position, PublishRefused, RawJson, RecorderError",
        "import recorder; recorder.Client('http://127.0.0.1:9').subscribe('s')",
    ],
)
def test_the_client_loads_nothing_of_the_server(program: str) -> None:
    assert loaded(program) & HEAVY == set()


def test_the_client_loads_what_it_connects_with_at_its_first_connection() -> None:
    program = """
import asyncio, recorder

async def main():
    async with recorder.Client("http://127.0.0.1:9", options=recorder.ClientOptions(open_timeout_s=1)) as client:
        reading = asyncio.create_task(anext(client.subscribe("s")))
        while "websockets.asyncio.client" not in __import__("sys").modules:
            await asyncio.sleep(0.01)
        reading.cancel()

asyncio.run(main())
"""
    assert loaded(program) & HEAVY == {"websockets"}


def test_every_name_can_be_imported() -> None:
    for name in recorder.__all__:
        assert getattr(recorder, name) is not None
    assert set(recorder.__all__) <= set(dir(recorder))


def test_every_name_is_known_to_type_checkers_and_at_run_time_alike() -> None:
    assert {*recorder._HOMES, "__version__"} == set(recorder.__all__)


def test_what_there_is_not_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = recorder.nothing
    with pytest.raises(ImportError):
        exec("from recorder import nothing")


def test_folders_can_be_reached_as_attributes() -> None:
    assert "Client" in loaded_text("import recorder; print(recorder.client.Client)")


def loaded_text(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_recorder_itself_is_silent_until_its_log_is_configured() -> None:
    program = """
from recorder import Recorder
from loguru import logger
exec(compile("from loguru import logger; logger.warning('loud')", "x", "exec"), {"__name__": "recorder.engine.x"})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "loud" not in done.stderr
