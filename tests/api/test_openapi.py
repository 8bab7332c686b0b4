"""The API's description: valid, complete, and true of what a running recorder answers."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.routing import Route

from recorder.api.app import ROUTES
from recorder.api.openapi import description
from recorder.core.errors import BY_CODE
from tests.support.app import App, running_app
from tests.support.http import NDJSON, client

DOCUMENT = description()
OPERATIONS = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods]
# An answer that is read to its end must have one.
READS = [
    path for path, method in OPERATIONS if method == "get" and path not in ("/api/stream", "/ws", "/publish")
]
# Probes and browsers add what they like.
SOCKETS = {"/ws", "/publish"}
ANY_QUERY = {
    *SOCKETS,
    "/",
    "/docs",
    "/docs/",
    "/docs/{name}",
    "/assets/{file}",
    "/client.js",
    "/client/{part}",
    "/healthz",
    "/readyz",
    "/metrics",
}


def described_path(route: Route) -> str:
    return route.path.replace("{session_id:path}", "{sessionId}")


def filled(path: str, session: str = "a") -> str:
    """A path with something in the place of its parameters."""
    return (
        path.replace("{sessionId}", session)
        .replace("{file}", "main.js")
        .replace("{part}", "resume.js")
        .replace("{name}", "wire")
    )


def parameters(path: str, method: str) -> dict[str, Any]:
    """An operation's parameters by name."""
    references = DOCUMENT["paths"][path][method].get("parameters", [])
    items = [
        DOCUMENT["components"]["parameters"][reference["$ref"].rpartition("/")[2]] for reference in references
    ]
    return {item["name"]: item for item in items}


def closed(schema: Any) -> Any:
    """A schema that refuses every member it does not name."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: closed(value) for name, value in schema.items()}
    if schema.get("type") == "object" and "properties" in schema:
        found.setdefault("additionalProperties", False)
    return found


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": closed(DOCUMENT["components"])})


def check(response: httpx.Response, path: str, method: str) -> Any:
    """That an answer is as described: its status, its type, its members and no others; the JSON."""
    described = DOCUMENT["paths"][path][method]["responses"]
    assert str(response.status_code) in described, response.text
    content = described[str(response.status_code)].get("content")
    if content is None:
        assert response.content == b""
        return None
    assert response.headers["content-type"] in content
    if "json" not in response.headers["content-type"].replace("x-ndjson", ""):
        return None
    schema = content[response.headers["content-type"]]["schema"]
    errors = [
        f"{error.json_path}: {error.message}" for error in validator(schema).iter_errors(response.json())
    ]
    assert errors == []
    return response.json()


@asynccontextmanager
async def recorded(folder: Path) -> AsyncIterator[tuple[App, httpx.AsyncClient]]:
    """A recorder that has seen one of everything."""
    async with running_app(folder) as app, client(app) as http:
        body = b"""{"type":"created","sessionId":"a","after":{"n":1},"id":"one"}
            {"type":"updated","sessionId":"a","before":{"n":7},"after":[2],"timestamp":"2026-11-20T12:00:00+01:00"}
            {"type":"deleted","sessionId":"a"}
            {"type":"created","sessionId":"b/\xc3\xa4?%","after":0}"""
        response = await http.post("/api/deltas", content=body, headers=NDJSON)
        assert response.status_code == 201, response.text
        yield app, http


def test_it_is_valid_openapi_and_every_schema_is_valid_json_schema() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_every_route_and_method_is_described_and_nothing_else() -> None:
    served = {
        (described_path(route), method.lower())
        for route in ROUTES
        for method in route.methods or ()
        if method != "HEAD"
    }
    assert set(OPERATIONS) == served


async def test_exactly_the_parameters_that_a_route_takes_are_described(tmp_path: Path) -> None:
    async with recorded(tmp_path) as (_, http):
        for path, method in OPERATIONS:
            target = filled(path)
            response = await http.request(method, target, params={"nonsense": "1"})
            if path in ANY_QUERY:
                assert response.status_code in ((426,) if path in SOCKETS else (200, 308))
                continue
            assert check(response, path, method)["place"] == "nonsense"
            taken = re.sub("^this route takes (none)?", "", response.json()["hint"])
            named = [name for name, item in parameters(path, method).items() if item["in"] == "query"]
            assert taken == ", ".join(named)


def test_the_parameters_of_a_path_are_described() -> None:
    for path, method in OPERATIONS:
        in_path = {name for name, item in parameters(path, method).items() if item["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path))


def test_every_parameter_and_schema_is_used() -> None:
    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            yield from [value["$ref"]] if "$ref" in value else []
            value = list(value.values())
        if isinstance(value, list):
            for item in value:
                yield from references(item)

    used = set(references(DOCUMENT))
    made = {
        f"#/components/{kind}/{name}"
        for kind, items in DOCUMENT["components"].items()
        for name in items
        if kind != "securitySchemes"
    }
    assert used == made


def test_statuses_and_codes_of_errors_are_those_of_the_tree() -> None:
    for path, method in OPERATIONS:
        for status, response in DOCUMENT["paths"][path][method]["responses"].items():
            if status < "400":
                continue
            schema = response["content"]["application/problem+json"]["schema"]
            codes = schema["allOf"][1]["properties"]["code"]["enum"]
            assert codes
            assert {BY_CODE[code].http_status for code in codes} == {int(status)}


async def test_real_answers_are_as_described(tmp_path: Path) -> None:
    async with recorded(tmp_path) as (_, http):
        assert (await http.post("/api/admin/snapshot")).status_code == 200
        for path in READS:
            for session in ("a", "b%2F%C3%A4%3F%25") if "{sessionId}" in path else ("",):
                response = await http.get(filled(path, session))
                assert response.status_code in (200, 308), path
                check(response, path, "get")


async def test_an_export_is_as_described_in_every_format(tmp_path: Path) -> None:
    async with recorded(tmp_path) as (_, http):
        for format_ in ("ndjson", "json", "csv"):
            response = await http.get("/api/export", params={"format": format_})
            check(response, "/api/export", "get")
            assert response.headers["content-disposition"] == f'attachment; filename="deltas.{format_}"'


async def test_pages_and_deleted_sessions_are_as_described(tmp_path: Path) -> None:
    async with recorded(tmp_path) as (_, http):
        for query in ("?limit=1", "?limit=1&order=asc&type=created", "?lineage=broken", "?type=deleted"):
            page = check(await http.get(f"/api/deltas{query}"), "/api/deltas", "get")
            assert len(page["deltas"]) == 1
        page = check(await http.get("/api/sessions?limit=1"), "/api/sessions", "get")
        assert page["next"] is not None
        state = check(await http.get("/api/sessions/a"), "/api/sessions/{sessionId}", "get")
        assert state == {"sessionId": "a", "seq": 3, "state": None, "deleted": True}


async def test_writes_are_as_described(tmp_path: Path) -> None:
    async with recorded(tmp_path) as (_, http):
        again = {"type": "created", "sessionId": "a", "after": {"n": 1}, "id": "one"}
        assert check(await http.post("/api/deltas", json=again), "/api/deltas", "post")["duplicates"] == 1
        check(await http.post("/api/admin/snapshot"), "/api/admin/snapshot", "post")
        for body in ({}, {"olderThan": None}, {"olderThan": "2026-01-01T00:00:00Z"}):
            check(await http.post("/api/admin/prune", json=body), "/api/admin/prune", "post")
        jobs = check(await http.get("/api/jobs"), "/api/jobs", "get")["jobs"]
        assert {job["name"] for job in jobs} == {"snapshot", "prune"}


ERRORS = [
    ("get", "/api/deltas?limit=0", "/api/deltas", None),
    ("get", "/api/deltas?cursor=x", "/api/deltas", None),
    ("get", "/api/deltas/nobody", "/api/deltas/{sessionId}", None),
    ("get", "/api/sessions/nobody", "/api/sessions/{sessionId}", None),
    ("get", "/api/sessions/a?at=soon", "/api/sessions/{sessionId}", None),
    ("get", "/api/export?format=xml", "/api/export", None),
    ("post", "/api/deltas", "/api/deltas", b"{"),
    ("post", "/api/deltas", "/api/deltas", b'[{"type":"updated","sessionId":"a"}]'),
    ("post", "/api/deltas", "/api/deltas", b'{"type":"created","sessionId":"a","after":9,"id":"one"}'),
    ("post", "/api/deltas", "/api/deltas", b"[" + b" " * 300_000 + b"]"),
    ("post", "/api/admin/prune", "/api/admin/prune", b"[]"),
]


async def test_real_errors_are_as_described(tmp_path: Path) -> None:
    async with recorded(tmp_path) as (_, http):
        for method, path, described, body in ERRORS:
            response = await http.request(method, path, content=body)
            assert response.status_code >= 400, path
            check(response, described, method)


async def test_answers_without_a_recording_are_as_described() -> None:
    async with running_app(None) as app, client(app) as http:
        assert check(await http.get("/api/stats"), "/api/stats", "get")["enabled"] is False
        for path in READS:
            check(await http.get(filled(path)), path, "get")
        for path in ("/api/admin/snapshot", "/api/admin/prune"):
            assert check(await http.post(path), path, "post")["code"] == "not_recording"


async def test_answers_while_loading_are_as_described(tmp_path: Path) -> None:
    async with running_app(tmp_path, load=False) as app, client(app) as http:
        for path, method in OPERATIONS:
            check(await http.request(method, filled(path)), path, method)
