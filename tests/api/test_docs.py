"""The documentation under `/docs/`: every page is there, every link leads somewhere, the search finds, nothing runs."""

from __future__ import annotations

import re
from html import unescape
from importlib.resources import files

import httpx
import pytest

from recorder.api.assets import POLICY
from recorder.api.docs import ORDER, find, pages, render_page, slug, static_files
from tests.support.app import running_app
from tests.support.http import client, refused

FOLDER = files("recorder") / "docs"


def test_the_navigation_lists_every_page_of_the_folder() -> None:
    assert sorted(ORDER) == sorted(
        file.name.removesuffix(".md") for file in FOLDER.iterdir() if file.name.endswith(".md")
    )


async def test_every_page_is_served_even_while_loading() -> None:
    async with running_app(None, load=False) as app, client(app) as http:
        for name in ORDER:
            response = await http.get(f"/docs/{name}")
            assert response.status_code == 200, name
            assert response.headers["content-type"] == "text/html; charset=utf-8"
            assert response.headers["content-security-policy"] == POLICY
            assert response.text.count("aria-current=page") == 1
            raw = await http.get(f"/docs/{name}.md")
            assert raw.content == (FOLDER / f"{name}.md").read_bytes()
            assert raw.headers["content-type"] == "text/markdown; charset=utf-8"


async def test_every_link_and_picture_of_every_page_leads_somewhere() -> None:
    async with running_app(None, load=False) as app, client(app) as http:
        for name in ORDER:
            text = (await http.get(f"/docs/{name}")).text
            for target in map(unescape, re.findall(r'(?:href|src)="([^"]+)"', text)):
                if re.match(r"https?://", target):
                    continue
                where = httpx.URL(f"http://x/docs/{name}").join(target)
                found = await http.get(where.path)
                assert found.status_code == 200, (name, target)
                if where.fragment and where.path.startswith("/docs/"):
                    assert f'id="{where.fragment}"' in found.text, (name, target)


async def test_pages_work_below_the_prefix_of_a_proxy() -> None:
    async with running_app(None, load=False) as app, client(app) as http:
        for path in ("/docs/", f"/docs/{ORDER[1]}", "/docs/?q=token"):
            text = (await http.get(path)).text
            assert re.findall(r'(?:href|src|action)="/', text) == []
        moved = await http.get("/docs", follow_redirects=False)
        assert (moved.status_code, moved.headers["location"]) == (308, "docs/")


async def test_a_page_that_is_known_is_not_sent_again() -> None:
    async with running_app(None, load=False) as app, client(app) as http:
        first = await http.get("/docs/")
        again = await http.get("/docs/", headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


async def test_a_page_that_is_not_there_is_named() -> None:
    async with running_app(None, load=False) as app, client(app) as http:
        await refused(await http.get("/docs/no-such-page"), 404, "not_found")
        await refused(await http.get("/docs/..%2fstyle.css"), 404, "not_found")
        shown = await http.get("/docs/<b>", headers={"Accept": "text/html,*/*"})
        assert (shown.status_code, shown.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert "<b>" not in shown.text
        assert 'name="q"' in shown.text


async def test_the_search_finds_sections_and_marks_the_words() -> None:
    async with running_app(None, load=False) as app, client(app) as http:
        text = (await http.get("/docs/", params={"q": "SNAPSHOT interval"})).text
        assert "<mark>SNAPSHOT</mark>" in text or "<mark>snapshot</mark>" in text.lower()
        assert re.search(r'<a href="[\w-]+#[\w-]+">', text)
        for snippet in re.findall(r"<p>(… .*?)</p>", text):
            plain = unescape(re.sub("</?mark>", "", snippet)).removeprefix("… ").removesuffix(" …")
            assert any(
                f" {plain} " in f" {' '.join(s.text.split())} " for p in pages().values() for s in p.sections
            )
        nothing = (await http.get("/docs/", params={"q": "xyzzy plugh"})).text
        assert "No section contains every word" in nothing


@pytest.mark.parametrize(
    "query", ["<script>alert(1)</script>", '"><img src=x>', "a" * 5000, "%", "(*", "\x00 &amp;"]
)
async def test_what_is_typed_into_the_search_is_only_text(query: str) -> None:
    async with running_app(None, load=False) as app, client(app) as http:
        response = await http.get("/docs/", params={"q": query})
        assert response.status_code == 200
        assert "<script" not in response.text
        assert "<img" not in response.text


def test_a_heading_that_has_the_words_comes_first() -> None:
    page = render_page("p", "# Page\n\n## Other\n\ntoken token\n\n## Token\n\nx\n")
    assert [section.anchor for section in page.sections] == ["page", "other", "token"]
    found = find("subscribing")
    assert found[0].heading == "Subscribing"


def test_markup_in_a_page_is_shown_and_comments_of_generated_parts_are_left_out() -> None:
    page = render_page("p", "# A\n\n<!-- settings -->\ntext <b>x</b>\n<!-- /settings -->\n")
    assert page.body == '<h1 id="a">A</h1>\n<p>text &lt;b&gt;x&lt;/b&gt;</p>\n'


def test_equal_headings_have_different_ids() -> None:
    page = render_page("p", "# A\n\n## B\n\n## B\n\n[x](q.md#y) [z](http://x/a.md)\n")
    assert re.findall(r'id="([^"]+)"', page.body) == ["a", "b", "b-1"]
    assert re.findall(r'href="([^"]+)"', page.body) == ["q#y", "http://x/a.md"]


def test_ids_of_headings_are_those_of_github() -> None:
    assert slug("Who may connect, and how?") == "who-may-connect-and-how"
    assert slug("`DURABILITY=commit`") == "durabilitycommit"


def test_every_page_has_one_title() -> None:
    for name, page in pages().items():
        assert page.body.count("<h1") == 1, name
    assert "style.css" in static_files()
