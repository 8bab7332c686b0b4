"""One real recording for all tests here; each gets a copy of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from recorder.verify.file import verify_file
from recorder.verify.report import Report
from tests.support.tampering import Recording, make_recording

Doctor = Callable[..., Report]


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """The recording as it was made. Not to be touched."""
    return asyncio.run(make_recording(tmp_path_factory.mktemp("original")))


@pytest.fixture
def recording(original: Recording, tmp_path: Path) -> Recording:
    """A copy of it."""
    tmp_path.chmod(0o700)
    return original.copied(tmp_path)


@pytest.fixture
def doctor() -> Doctor:
    """`doctor(recording, expect=True)`: what verification finds."""

    def verify(recording: Recording, *, expect: bool = False) -> Report:
        return verify_file(recording.path, recording.keys, recording.heads if expect else None)

    return verify
