"""The report stands alone, says what its pictures show, and fits every width."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from datatrust.demo import run_demo
from datatrust.demo.report import ReportTable, drawn, render
from datatrust.demo.words import Words
from tests.conftest import missing

CHROMIUM = Path("/usr/bin/chromium")
_VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """Elements with their attributes; the texts of an element by its id; unclosed elements are an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self._open: list[str] = []
        self.ids: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.elements.append((tag, found))
        if "id" in found:
            self.ids.append(found["id"])
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def all(self, *tags: str) -> Iterator[dict[str, str]]:
        return (attributes for tag, attributes in self.elements if tag in tags)


@pytest.fixture(scope="module", params=["en", "fr"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Language and path of a report."""
    folder = tmp_path_factory.mktemp(request.param)
    assert run_demo(out=folder, as_json=True, lang=request.param) == 0
    return request.param, folder / "report.html"


@pytest.fixture(scope="module")
def page(report: tuple[str, Path]) -> Page:
    return Page(report[1].read_text("utf-8"))


def test_it_asks_no_host_for_anything(report: tuple[str, Path], page: Page) -> None:
    text = report[1].read_text("utf-8")
    assert "//" not in re.sub(r"/\*.*?\*/", "", text)
    assert not list(page.all("script", "link", "img", "iframe", "object", "embed", "image", "base"))
    assert "@import" not in text
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))
    for _, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes)
        assert all(attributes.get(name, "#").startswith("#") for name in ("src", "href", "xlink:href"))


def test_it_names_no_path_of_the_machine(report: tuple[str, Path]) -> None:
    assert str(report[1].parent) not in report[1].read_text("utf-8")


def test_language_title_and_headings(report: tuple[str, Path], page: Page) -> None:
    lang, path = report
    assert next(page.all("html"))["lang"] == lang
    assert f"<title>{Words(lang)('title')}</title>" in path.read_text("utf-8")
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_every_picture_says_what_it_shows(report: tuple[str, Path], page: Page) -> None:
    text = report[1].read_text("utf-8")
    pictures = list(page.all("svg"))
    assert len(pictures) == 3
    for picture in pictures:
        assert picture["role"] == "img"
        for name in picture["aria-labelledby"].split():
            said = re.search(rf'id="{name}">([^<]+)<', text)
            assert said is not None
            assert len(said[1]) > 20


def test_ids_are_unique_and_every_reference_has_one(report: tuple[str, Path], page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))
    for _, attributes in page.elements:
        named = [*attributes.get("aria-labelledby", "").split(), attributes.get("href", "").lstrip("#")]
        assert set(named) - {""} <= set(page.ids)
    for target in re.findall(r"url\(#([^)]*)\)", report[1].read_text("utf-8")):
        assert target in page.ids


def test_tables_have_names_and_headers(page: Page) -> None:
    assert all(table["aria-labelledby"] in page.ids for table in page.all("table"))
    assert {header["scope"] for header in page.all("th")} == {"col", "row", "rowgroup"}
    assert any(cell.get("class") == "hidden" for cell in page.all("td"))


def test_it_says_where_the_example_is_from(report: tuple[str, Path]) -> None:
    text = report[1].read_text("utf-8")
    assert "Occitanie Data" in text
    assert {"en": "it is not the original data", "fr": "ce ne sont pas les données d’origine"}[report[0]] in text
    charter = {
        "en": "“research” refuses it: a place here has 3 to 7 people (rule “persons”)",
        "fr": "« research » le refuse : un lieu compte ici 3 à 7 personnes (règle « persons »)",
    }
    assert charter[report[0]] in text.replace("\N{NO-BREAK SPACE}", " ")


def test_each_refusal_is_explained_in_its_language(report: tuple[str, Path]) -> None:
    text = report[1].read_text("utf-8").replace("\N{NO-BREAK SPACE}", " ")
    said = {
        "en": ("does not permit the purpose", "Article 2.1", "set persons to 11", "at least 11 persons differ"),
        "fr": ("ne permet pas la finalité", "Article 2.1", "fixez persons à 11", "au moins 11 personnes diffèrent"),
    }
    for words in (*said[report[0]], "ResearchAndDevelopment", "differencing", "no-permit", "floor/persons"):
        assert words in text


def test_it_says_how_to_verify_the_result(report: tuple[str, Path]) -> None:
    text = re.sub(r"</?span>", "", report[1].read_text("utf-8"))
    for file in ("result.json", "result-changed.json"):
        assert f"datatrust verify {file} --root root.json" in text
        assert (report[1].parent / file).exists()


def test_every_section_is_in_the_contents(page: Page) -> None:
    named = [section["aria-labelledby"] for section in page.all("section")]
    assert [link["href"] for link in page.all("a")] == [f"#{name}" for name in named]
    assert len(named) == 9


@pytest.mark.slow
def test_it_is_small_and_the_same_each_time(report: tuple[str, Path], tmp_path: Path) -> None:
    lang, path = report
    assert path.stat().st_size < 100_000
    run_demo(out=tmp_path, as_json=True, lang=lang)
    assert (tmp_path / "report.html").read_bytes() == path.read_bytes()


def test_texts_are_escaped() -> None:
    def draw(ax: Any) -> None:
        ax.set_xlabel("a < b & c")

    svg = drawn(draw, title="<b>", description='"&"', name="x")
    assert '<title id="x-title">&lt;b&gt;</title>' in svg
    assert "a &lt; b &amp; c" in svg
    assert "xmlns" not in svg
    assert "<script>" not in render("page.html.j2", Words(), title="<script>")


def test_a_label_stands_for_the_rows_below_it() -> None:
    rows = (("a", "x", "1"), ("a", "y", None), ("b", "x", "2"))
    assert [span for _, span in ReportTable("", (), rows, labels=2).spanned] == [2, 0, 1]
    assert [span for _, span in ReportTable("", (), rows).spanned] == [1, 1, 1]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_every_width(report: tuple[str, Path], scheme: Any) -> None:
    """In a browser: no sideways scroll, nothing asked of the network, text that stands out from its ground."""
    if not CHROMIUM.exists():
        missing("Chromium")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        for width in (320, 768, 1280):
            tab = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
            asked: list[str] = []
            tab.on("request", lambda request, to=asked: to.append(request.url))
            tab.goto(report[1].as_uri())
            assert asked == [report[1].as_uri()]
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            wide = tab.evaluate(_OUTSIDE)
            assert wide == []
            assert min(tab.evaluate(_CONTRASTS)) >= 4.5
            tab.close()
        browser.close()


_OUTSIDE = """() => [...document.querySelectorAll("body *")]
  .filter(e => !e.closest(".scroll, svg") && e.getBoundingClientRect().right > innerWidth + 1)
  .map(e => e.tagName + " " + e.textContent.slice(0, 40))"""
_CONTRASTS = """() => {
  const light = rgb => { const [r, g, b] = rgb.match(/[\\d.]+/g).map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if (c !== "rgba(0, 0, 0, 0)") return c; } return "rgb(255, 255, 255)"; };
  const texts = [...document.querySelectorAll("p, h1, h2, h3, a, dt, dd, th, td, code, figcaption, svg text")];
  return texts.filter(e => e.textContent.trim()).map(e => { const style = getComputedStyle(e);
    const ink = light(e.closest("svg") ? style.fill : style.color), back = light(ground(e));
    return (Math.max(ink, back) + 0.05) / (Math.min(ink, back) + 0.05); });
}"""
