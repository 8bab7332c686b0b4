"""What every test gets: a place of its own, no settings from outside, real data where there is some.

Kept true: a run leaves the project's folder as it was. Tests run in a temporary directory, so that a path
like `data/sessions.sqlite` is not ours, and the run fails when `data/` or the top level differ at its end.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from recorder.cli import main
from recorder.config.settings import Settings
from recorder.config.sources import CONFIG_VARIABLE, PREFIX
from recorder.core.deprecated import SETTINGS

ROOT = Path(__file__).resolve().parents[1]
# Made by the tools that check, in any run.
BY_TOOLS = {"dist", "build", "htmlcov"}
LEFT = pytest.StashKey[dict[str, tuple[int, int]]]()

# A deadline measures the machine, not the code. On CI the same examples come every time.
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")


def _left_in_project() -> dict[str, tuple[int, int]]:
    """Size and time of change of what is in `data/`; of the top level the names alone."""
    names = (path.name for path in ROOT.iterdir())
    left = {name: (0, 0) for name in names if not name.startswith(".") and name not in BY_TOOLS}
    for path in (ROOT / "data").rglob("*"):
        status = path.lstat()
        left[str(path.relative_to(ROOT))] = (status.st_size, status.st_mtime_ns)
    return left


def pytest_make_parametrize_id(val: object) -> str | None:
    """Of bytes by their length: frames carry random masks, and all workers must call a test by one name."""
    return f"{len(val)}-bytes" if isinstance(val, bytes) else None


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.stash[LEFT] = _left_in_project()


def pytest_sessionfinish(session: pytest.Session) -> None:
    before, after = session.config.stash[LEFT], _left_in_project()
    changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    if changed:
        writer = session.config.get_terminal_writer()
        writer.line()
        writer.line(
            f"ERROR: not as it was before the tests (is a recorder running here?): {changed}", red=True
        )
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session", autouse=True)
def _elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Away from the project's folder, and deaf to settings in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(PREFIX) or name in SETTINGS or name.lower() in Settings.model_fields:
                patch.delenv(name)
        # Never the key of whoever runs the tests.
        patch.setenv(f"{PREFIX}KEY_FILE", str(tmp_path_factory.mktemp("key") / "signing.key"))
        # Nor the settings.
        patch.setenv(CONFIG_VARIABLE, "none")
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        yield


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The folder that holds pyproject.toml."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real logs beside the project; skips, saying so, where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real logs: ../shared/data, beside the project, is absent")
    return folder


@pytest.fixture
def invoke(capfdbinary: pytest.CaptureFixture[bytes]) -> Callable[..., tuple[int, bytes, str]]:
    """Return `invoke("stats")`: runs a command inside this process; gives its exit code, stdout and stderr."""

    def call(*arguments: str) -> tuple[int, bytes, str]:
        capfdbinary.readouterr()
        code = main(arguments)
        caught = capfdbinary.readouterr()
        return code, caught.out, caught.err.decode()

    return call


@pytest.fixture(autouse=True, scope="session")
def _no_word_of_slow_callbacks() -> None:
    """Silence what asyncio's debugging says of callbacks that took long: a busy machine is no finding."""
    logging.getLogger("asyncio").setLevel(logging.ERROR)
