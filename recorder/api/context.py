"""What every route needs: the recorder behind the request, and its recording as of this moment."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from starlette.requests import Request

from recorder.app import Recorder
from recorder.auth.grants import Grant
from recorder.core.errors import NotAuthenticated, Unavailable
from recorder.store.contract import Query
from recorder.store.sqlite.store import SqliteStore
from recorder.wire.events import without_hash


def recorder_of(request: Request) -> Recorder:
    """The recorder behind a request."""
    recorder = request.app.state.recorder
    assert isinstance(recorder, Recorder)
    return recorder


def grant_of(request: Request) -> Grant:
    """What the request's token grants. Raises NotAuthenticated."""
    grant = request.state.grant
    if isinstance(grant, NotAuthenticated):
        raise grant
    assert isinstance(grant, Grant)
    return grant


def narrowed(request: Request, query: Query) -> Query:
    """What of a query the request's token may see. Raises NotAllowed where it names a session that it may not."""
    asked = query.sessions
    assert asked is None or isinstance(asked, frozenset)
    return replace(query, sessions=grant_of(request).narrow(asked))


def shown(request: Request, items: list[bytes]) -> list[bytes]:
    """Items as the request's token may see them: without the chain's hashes where it is for some sessions only."""
    return items if grant_of(request).sessions is None else [without_hash(item) for item in items]


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
