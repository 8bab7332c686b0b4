"""The documentation under `/docs/`: the Markdown files of `recorder/docs`, rendered once, with a search over them.

Every link is relative, so the pages work below any prefix of a proxy. Pages need no script: the search is a form that
this module answers. What a reader types is shown as text, never as markup, and the dashboard's Content-Security-Policy
holds here too. `GET /docs/NAME.md` is a page as Markdown, for programs that read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any, NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from recorder.api.assets import TYPES, Asset, answer
from recorder.core.errors import NotFound

ORDER = (
    "first-steps",
    "concepts",
    "wire",
    "http",
    "clients",
    "dashboard",
    "cli",
    "settings",
    "limits",
    "operations",
    "security",
    "verifying",
    "crash-testing",
    "benchmarks",
    "architecture",
)
"""The pages, as the navigation lists them. The first is also the page of `/docs/`."""

FILES = {**TYPES, "md": "text/markdown; charset=utf-8", "png": "image/png"}
"""The media type of a file, by the end of its name; other files are not served."""

MAX_QUERY = 200
"""Characters of a search; the rest is left out."""
MAX_WORDS = 8
"""Words of a search; the rest is left out."""
MAX_RESULTS = 30
SNIPPET = 160
"""Characters of text shown of a section that was found."""

MARKER = re.compile(r"^<!--[^\n]*-->\n", re.MULTILINE)
"""A comment on a line of its own: it marks a part that is generated or tested."""
LOCAL = re.compile(r"^([\w-]+)\.md(#.*)?$")


class Section(NamedTuple):
    """A part of a page under one heading.

    Args:
        page: The page's name.
        title: The page's title.
        heading: The heading's text.
        anchor: Its id on the page.
        text: The text below it, without markup.
    """

    page: str
    title: str
    heading: str
    anchor: str
    text: str


class Page(NamedTuple):
    """A page of the documentation.

    Args:
        name: Its name in addresses.
        title: Its first heading.
        body: Its HTML, without the frame around it.
        sections: Its parts, for the search.
    """

    name: str
    title: str
    body: str
    sections: tuple[Section, ...]


def slug(heading: str) -> str:
    """Return the id of a heading, as GitHub makes it, so that links work in both places."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def render_page(name: str, markdown: str) -> Page:
    """Render a page.

    Args:
        name: Its name in addresses.
        markdown: Its text. Its first heading is its title.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(MARKER.sub("", markdown))
    anchors: dict[str, int] = {}
    for place, token in enumerate(tokens):
        if token.type == "heading_open":
            anchor = slug(_text(tokens[place + 1]))
            count = anchors[anchor] = anchors.get(anchor, -1) + 1
            token.attrSet("id", f"{anchor}-{count}" if count else anchor)
        for child in token.children or ():
            _make_local(child)
    sections = tuple(_sections(name, tokens))
    body: Any = parser.renderer.render(tokens, parser.options, {})
    return Page(name, sections[0].title if sections else name, body, sections)


@cache
def pages() -> dict[str, Page]:
    """Return every page by its name, in the order of the navigation."""
    folder = files("recorder") / "docs"
    return {name: render_page(name, (folder / f"{name}.md").read_text(encoding="utf-8")) for name in ORDER}


@cache
def static_files() -> dict[str, Asset]:
    """Return what is served as it is: pictures, the style sheet and the Markdown of each page."""
    found = {}
    for file in (files("recorder") / "docs").iterdir():
        media_type = FILES.get(file.name.rpartition(".")[2])
        if media_type is not None:
            found[file.name] = _asset(file.read_bytes(), media_type)
    return found


@cache
def rendered(name: str) -> Asset:
    """Return a whole page. Raises KeyError where there is none of that name."""
    page = pages()[name]
    return _asset(_frame(page.title, page.body, name).encode(), TYPES["html"])


def find(query: str) -> list[Section]:
    """Return the sections that contain every word of a query, those with the word in the heading first.

    Args:
        query: What a reader typed; at most `MAX_WORDS` words of it count.
    """
    words = query.lower().split()[:MAX_WORDS]
    found = [
        (-_score(section, words), place, section)
        for place, section in enumerate(section for page in pages().values() for section in page.sections)
        if words
        and all(word in f"{section.title} {section.heading} {section.text}".lower() for word in words)
    ]
    return [section for _, _, section in sorted(found)[:MAX_RESULTS]]


async def to_index(request: Request) -> Response:
    """`GET /docs`: the same with a slash, relative to where a proxy has put it."""
    return RedirectResponse("docs/", status_code=308)


async def index(request: Request) -> Response:
    """`GET /docs/`: the first page, or with `?q=` the sections that contain these words."""
    query = request.query_params.get("q", "")[:MAX_QUERY].strip()
    if not query:
        return answer(request, rendered(ORDER[0]))
    return answer(
        request, _asset(_frame(f"Search: {query}", _results(query), "", query).encode(), TYPES["html"])
    )


async def page(request: Request) -> Response:
    """`GET /docs/{name}`: a page, a picture, or a page's Markdown."""
    name = request.path_params["name"]
    if name in pages():
        return answer(request, rendered(name))
    found = static_files().get(name)
    if found is not None:
        return answer(request, found)
    if "text/html" not in request.headers.get("accept", ""):
        raise NotFound(f"the documentation has no page {name[:80]!r}", hint="it begins at /docs/")
    said = f"The documentation has no page “{escape(name[:80])}”. Search for it, or choose one of the list."
    body = f"<h1>No such page</h1><p>{said}</p>"
    missing = answer(request, _asset(_frame("No such page", body, "").encode(), TYPES["html"]))
    missing.status_code = 404
    return missing


def _asset(body: bytes, media_type: str) -> Asset:
    return Asset(body, media_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def _text(token: Token) -> str:
    """Return the text of an inline token, without markup."""
    return "".join(
        " " if child.type in ("softbreak", "hardbreak") else child.content for child in token.children or ()
    )


def _make_local(token: Token) -> None:
    """Rewrite a link to another page's file to point to that page."""
    target = token.attrGet("href") if token.type == "link_open" else None
    if isinstance(target, str) and (match := LOCAL.match(target)):
        token.attrSet("href", match[1] + (match[2] or ""))


def _sections(name: str, tokens: list[Token]) -> Iterator[Section]:
    title = heading = anchor = ""
    texts: list[str] = []
    for place, token in enumerate(tokens):
        if token.type == "heading_open":
            if heading:
                yield Section(name, title, heading, anchor, " ".join(texts))
            heading, anchor, texts = _text(tokens[place + 1]), str(token.attrGet("id")), []
            title = title or heading
        elif token.type in ("fence", "code_block"):
            texts.append(token.content)
        elif token.type == "inline" and tokens[place - 1].type != "heading_open":
            texts.append(_text(token))
    if heading:
        yield Section(name, title, heading, anchor, " ".join(texts))


def _score(section: Section, words: list[str]) -> int:
    heading, text = section.heading.lower(), section.text.lower()
    return sum(20 * (word in heading) + min(text.count(word), 5) for word in words)


def _results(query: str) -> str:
    found = find(query)
    if not found:
        return f"<h1>Nothing found</h1><p>No section contains every word of “{escape(query)}”.</p>"
    words = query.lower().split()[:MAX_WORDS]
    items = "".join(
        f'<li><a href="{section.page}#{escape(section.anchor)}">{escape(section.title)}'
        f"{' – ' + escape(section.heading) if section.heading != section.title else ''}</a>"
        f"<p>{_snippet(section.text, words)}</p></li>"
        for section in found
    )
    return f'<h1>Sections about “{escape(query)}”</h1><ol class="results">{items}</ol>'


def _snippet(text: str, words: list[str]) -> str:
    """Return the text around the first word that is found in it, with every word marked."""
    flat = " ".join(text.split())
    places = [place for word in words if (place := flat.lower().find(word)) >= 0]
    begin = max(min(places, default=0) - SNIPPET // 3, 0)
    begin = flat.find(" ", begin) + 1 if begin else 0  # no word is cut at the beginning, nor at the end
    part = flat[begin : begin + SNIPPET]
    if begin + SNIPPET < len(flat):
        part = part.rpartition(" ")[0]
    marked = re.split(f"({'|'.join(map(re.escape, words))})", part, flags=re.IGNORECASE)
    inner = "".join(
        f"<mark>{escape(one)}</mark>" if odd % 2 else escape(one) for odd, one in enumerate(marked)
    )
    return f"{'… ' if begin else ''}{inner}{' …' if begin + SNIPPET < len(flat) else ''}"


def _frame(title: str, body: str, current: str, query: str = "") -> str:
    """Return a whole HTML page around a body."""
    links = "".join(
        f'<li><a href="{name}"{" aria-current=page" if name == current else ""}>{escape(one.title)}</a></li>'
        for name, one in pages().items()
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{escape(title)} – Recorder</title>\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<link rel="icon" href="../assets/icon.svg" type="image/svg+xml">\n'
        '<link rel="stylesheet" href="style.css">\n</head>\n<body>\n'
        '<a class="skip" href="#main">Skip to the content</a>\n'
        '<header><a class="brand" href="../">Recorder</a>'
        '<form role="search" action="./"><input type="search" name="q" aria-label="Search the documentation" '
        f'placeholder="Search the documentation" maxlength="{MAX_QUERY}" value="{escape(query)}"></form></header>\n'
        f'<div class="columns"><nav aria-label="Pages"><ul>{links}</ul></nav>\n'
        f'<main id="main" tabindex="-1">\n{body}</main></div>\n</body>\n</html>\n'
    )
