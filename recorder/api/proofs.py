"""Routes for whoever wants to prove later what was recorded: the signed head, and receipts of what was taken away."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from recorder.api.context import recording_of
from recorder.api.params import check_names
from recorder.api.responses import json_response
from recorder.core.errors import NotFound
from recorder.wire.statements import signed_members


async def head(request: Request) -> Response:
    """`GET /api/head`: where the recording ends, signed."""
    check_names(request.query_params, ())
    signed = await (await recording_of(request)).head()
    if signed is None:
        raise NotFound("nothing is signed here", hint="KEY_FILE names the key that signs")
    return json_response(signed_members(signed))


async def receipts(request: Request) -> Response:
    """`GET /api/receipts`: what was pruned and what was erased, and the epochs there have been."""
    check_names(request.query_params, ())
    found = await (await recording_of(request)).receipts()
    return json_response(
        {
            "epochs": [{"epoch": name, "firstSeq": first} for name, first in found.epochs],
            "prunes": [signed_members(receipt) for receipt in found.prunes],
            "erasures": [signed_members(receipt) for receipt in found.erasures],
        }
    )
