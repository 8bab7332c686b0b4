"""What every route needs: the recorder behind the request, and its recording as of this moment."""

from __future__ import annotations

from contextlib import suppress

from starlette.requests import Request

from recorder.app import Recorder
from recorder.errors import Unavailable
from recorder.store.sqlite.store import SqliteStore


def recorder_of(request: Request) -> Recorder:
    """The recorder behind a request."""
    recorder = request.app.state.recorder
    assert isinstance(recorder, Recorder)
    return recorder


async def recording_of(request: Request) -> SqliteStore:
    """The recording, once everything that was broadcast before this request is in it.

    Whoever was shown a delta live finds it in every answer from then on, although it is recorded a moment later.

    Raises:
        NotRecording: There is none.
        Unavailable: It is still loading.
    """
    recorder = recorder_of(request)
    store = recorder.recording
    # Where recording has failed for good, what was recorded before is still there to be read.
    with suppress(Unavailable):
        await recorder.intake.until_recorded(recorder.hub.head)
    return store
