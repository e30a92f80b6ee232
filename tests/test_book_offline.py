"""The built book needs no network, and none of its links leads nowhere.

Run after `jupyter-book build .`. Without a built book the tests are skipped, unless BOOK_BUILT=1 promises one.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytestmark = pytest.mark.book

HTML = Path(__file__).resolve().parents[1] / "_build" / "html"
# What a browser fetches by itself when it shows a page; `link` also covers icons, fonts and preloads.
FETCHED = {
    "script": ("src",),
    "link": ("href",),
    "img": ("src", "srcset"),
    "source": ("src", "srcset"),
    "iframe": ("src",),
    "video": ("src", "poster"),
    "audio": ("src",),
    "embed": ("src",),
    "object": ("data",),
}
FOLLOWED = {"a": ("href",)}
STYLE_ADDRESS = re.compile(r"""(?:url\(\s*|@import\s+)["']?((?:https?:)?//[^"')\s]+)""")


@dataclass
class Page(HTMLParser):
    """The addresses, anchors and inline styles of one HTML file."""

    path: Path
    fetched: list[str] = field(default_factory=list)
    followed: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    styles: list[str] = field(default_factory=list)
    in_style: bool = False

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.feed(self.path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attributes if value}
        self.anchors.update(given[name] for name in ("id", "name") if name in given)
        self.styles.extend([given["style"]] if "style" in given else [])
        self.in_style = tag == "style"
        for name in FETCHED.get(tag, ()):
            self.fetched.extend(_addresses(name, given.get(name)))
        for name in FOLLOWED.get(tag, ()):
            self.followed.extend(_addresses(name, given.get(name)))
        if tag == "meta" and given.get("http-equiv", "").lower() == "refresh":
            self.followed.append(given["content"].partition("url=")[2])

    def handle_data(self, data: str) -> None:
        if self.in_style:
            self.styles.append(data)

    def handle_endtag(self, tag: str) -> None:
        self.in_style = False


def _addresses(name: str, value: str | None) -> list[str]:
    """The addresses in one attribute; `srcset` holds several, each with a size."""
    if value is None or value.startswith("data:"):
        return []
    return [part.split()[0] for part in value.split(",") if part.strip()] if name == "srcset" else [value]


def is_external(address: str) -> bool:
    return address.startswith("//") or urlsplit(address).scheme in ("http", "https", "ftp")


@cache
def pages() -> dict[Path, Page]:
    """Every page of the built book; the sources and the theme's own templates are none."""
    found = (path for path in HTML.rglob("*.html") if not {"_sources", "_static"} & set(path.relative_to(HTML).parts))
    return {path: Page(path) for path in sorted(found)}


@pytest.fixture(autouse=True)
def built() -> None:
    if not (HTML / "index.html").is_file():
        if os.environ.get("BOOK_BUILT") == "1":
            pytest.fail(f"BOOK_BUILT=1, but there is no {HTML / 'index.html'}")
        pytest.skip("no built book; `make book` makes one")


def test_there_are_pages():
    assert len(pages()) > 5


def test_no_page_fetches_anything_from_the_network():
    assert _report(lambda page: [address for address in page.fetched if is_external(address)]) == []


def test_no_style_fetches_anything_from_the_network():
    inline = _report(lambda page: STYLE_ADDRESS.findall("\n".join(page.styles)))
    sheets = [
        f"{path.relative_to(HTML)}: {address}"
        for path in sorted(HTML.rglob("*.css"))
        for address in STYLE_ADDRESS.findall(path.read_text(encoding="utf-8"))
    ]
    assert inline + sheets == []


def test_mathematics_is_served_from_the_book():
    with_maths = [page for page in pages().values() if 'class="math notranslate' in page.path.read_text("utf-8")]
    assert with_maths
    for page in with_maths:
        scripts = [address for address in page.fetched if "tex-svg" in address]
        assert scripts and not any(map(is_external, scripts)), page.path.relative_to(HTML)


def test_every_file_that_a_page_fetches_is_there():
    assert _report(lambda page: _broken(page, page.fetched)) == []


def test_every_link_inside_the_book_leads_somewhere():
    assert _report(lambda page: _broken(page, page.followed)) == []


def _report(complaints) -> list[str]:
    """`page: address` for each address that `complaints(page)` returns."""
    return [f"{path.relative_to(HTML)}: {address}" for path, page in pages().items() for address in complaints(page)]


def _broken(page: Page, addresses: list[str]) -> list[str]:
    inside = [address for address in addresses if not is_external(address) and not urlsplit(address).scheme]
    return [address for address in inside if not _exists(page, address)]


def _exists(page: Page, address: str) -> bool:
    """Whether the file is there and, where it is a page, the anchor too. A bare # is the top of a page."""
    parts = urlsplit(address)
    target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
    if target.is_dir():
        target = target / "index.html"
    if not target.is_file() or not target.is_relative_to(HTML):
        return False
    other = pages().get(target)
    return other is None or not parts.fragment or unquote(parts.fragment) in other.anchors
