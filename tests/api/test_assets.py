"""The dashboard's files: what a browser is told of them, that it need not fetch them twice, what it may do."""

from __future__ import annotations

import re
from importlib.resources import files

import httpx
import pytest

from recorder.api.assets import CLIENT, POLICY, TYPES, assets
from recorder.api.assets import PARTS as PARTS_FOLDER
from tests.support.app import running_app
from tests.support.http import client, refused

FOLDER = files("recorder") / "web" / "dashboard"
SDK = files("recorder") / "web" / "sdk"
NAMES = sorted(file.name for file in FOLDER.iterdir() if file.is_file())
PARTS = sorted(file.name for file in (SDK / PARTS_FOLDER).iterdir())


async def test_the_page_is_there_even_while_loading() -> None:
    async with running_app(None, load=False) as app, client(app) as http:
        response = await http.get("/?utm_source=mail")
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        assert response.content == (FOLDER / "index.html").read_bytes()


async def test_every_file_is_served_as_what_it_is() -> None:
    async with running_app(None) as app, client(app) as http:
        for name in NAMES:
            response = await http.get(f"/assets/{name}")
            assert response.status_code == 200, name
            assert response.content == (FOLDER / name).read_bytes()
            assert response.headers["content-type"] == TYPES[name.rpartition(".")[2]]
            assert response.headers["x-content-type-options"] == "nosniff"


async def test_the_client_module_finds_its_parts_beside_it() -> None:
    async with running_app(None, load=False) as app, client(app) as http:
        served = {"/client.js": SDK / CLIENT}
        served |= {f"/client/{name}": SDK / PARTS_FOLDER / name for name in PARTS}
        for path, file in served.items():
            response = await http.get(path)
            assert (response.status_code, response.content) == (200, file.read_bytes()), path
            assert response.headers["content-type"] == TYPES["js"]
            again = await http.get(path, headers={"If-None-Match": response.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
            for found in re.findall(r"from \"(\.[^\"]+)\"", response.text):
                assert str(httpx.URL(f"http://x{path}").join(found).path) in served, (path, found)
        await refused(await http.get("/client/no.js"), 404, "not_found")
        # Where its parts would not be found, it is not.
        await refused(await http.get("/assets/client.js"), 404, "not_found")


async def test_a_file_that_a_browser_has_is_not_sent_again() -> None:
    async with running_app(None) as app, client(app) as http:
        first = await http.get("/assets/main.js")
        assert first.headers["cache-control"] == "no-cache"
        etag = first.headers["etag"]
        for named in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            again = await http.get("/assets/main.js", headers={"If-None-Match": named})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == etag
        for named in ('"other"', etag.strip('"'), ""):
            assert (await http.get("/assets/main.js", headers={"If-None-Match": named})).status_code == 200
    assert len({found.etag for found in assets().values()}) == len(assets())


@pytest.mark.parametrize("name", ["no.js", "..%2Fsettings.py", "%2e%2e%2fsettings.py", "main", "main.py", ""])
async def test_nothing_else_is_served(name: str) -> None:
    async with running_app(None) as app, client(app) as http:
        await refused(await http.get(f"/assets/{name}"), 404, "not_found")


async def test_the_page_may_run_and_show_only_what_comes_from_here() -> None:
    async with running_app(None) as app, client(app) as http:
        headers = (await http.get("/")).headers
    assert headers["content-security-policy"] == POLICY
    for open_door in ("unsafe-inline", "unsafe-eval", "data:", "http:", "https:", "*"):
        assert open_door not in POLICY
    assert headers["referrer-policy"] == "no-referrer"


def test_no_file_has_inline_code_or_names_a_foreign_address() -> None:
    page = (FOLDER / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<script(?![^>]* src=)", page) == []
    assert re.findall(r"<style|\sstyle=|\son[a-z]+=", page) == []
    for name in NAMES:
        text = (FOLDER / name).read_text(encoding="utf-8")
        foreign = [found for found in re.findall(r"https?://[^\s\"'`)<]+", text) if "www.w3.org" not in found]
        assert foreign == [], name
        # Text that came from elsewhere never becomes markup: these are the doors.
        assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text) == [], (
            name
        )
