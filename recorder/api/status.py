"""Routes that tell how the recorder is, what can be asked of it, and what proves later what was recorded."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from recorder.api import health
from recorder.api.context import gateway_of, grant_of, recording_of
from recorder.api.openapi import description
from recorder.api.params import check_names
from recorder.api.responses import json_response
from recorder.auth.grants import Grant
from recorder.core.errors import NotFound, NotReady
from recorder.core.metrics import CONTENT_TYPE
from recorder.wire.statements import signed_members


async def stats(request: Request) -> Response:
    """Answer `GET /api/stats`."""
    check_names(request.query_params, ())
    return json_response(await health.stats(gateway_of(request), grant_of(request).sessions))


async def healthz(request: Request) -> Response:
    """Answer `GET /healthz`: the process answers. What probes add to the query does not matter, here and below."""
    return PlainTextResponse("ok\n")


async def readyz(request: Request) -> Response:
    """Answer `GET /readyz`: 200, or 503 with the reason; strangers are told no reason, which may speak of files."""
    gateway = gateway_of(request)
    reason = gateway.not_ready()
    if reason is not None:
        raise NotReady(reason if isinstance(request.state.grant, Grant) else "not ready")
    # A recorder that does not record is ready, but must be distinguishable from one that does.
    return json_response({"ready": True, "recording": gateway.is_recording})


async def metrics(request: Request) -> Response:
    """Answer `GET /metrics`."""
    return Response(gateway_of(request).metrics.render(), headers={"Content-Type": CONTENT_TYPE})


async def openapi(request: Request) -> Response:
    """Answer `GET /api/openapi.json`."""
    check_names(request.query_params, ())
    return json_response(description())


async def head(request: Request) -> Response:
    """Answer `GET /api/head`: where the recording ends, signed."""
    check_names(request.query_params, ())
    signed = await (await recording_of(request)).head()
    if signed is None:
        raise NotFound("nothing is signed here", hint="KEY_FILE names the key that signs")
    return json_response(signed_members(signed))


async def receipts(request: Request) -> Response:
    """Answer `GET /api/receipts`: what was pruned and what was erased, and the epochs there have been."""
    check_names(request.query_params, ())
    found = await (await recording_of(request)).receipts()
    return json_response(
        {
            "epochs": [{"epoch": name, "firstSeq": first} for name, first in found.epochs],
            "prunes": [signed_members(receipt) for receipt in found.prunes],
            "erasures": [signed_members(receipt) for receipt in found.erasures],
        }
    )
