"""The exported report in a browser, from a file: it works, it is inert, it asks nobody for anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attacks import ATTACKS
from pages import missing, shot

import jupyter_durable as durable
from jupyter_durable.export import export
from jupyter_durable.session import Session, Store
from jupyter_durable.store.memory import MemoryStore
from jupyter_durable.testing import execute


class Report:
    """A report open in a browser, and what it did there."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.asked: list[str] = []
        self.errors: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        page.on("dialog", lambda dialog: (self.errors.append(dialog.message), dialog.dismiss()))

    def open(self, path: Path) -> None:
        self.page.goto(path.as_uri())
        self.page.wait_for_function("document.documentElement.className === 'js'")
        self.page.wait_for_timeout(100)


@pytest.fixture
def report(chromium: Any) -> Iterator[Report]:
    """A browser page for a report. Neither an error nor a violation of its policy may happen in it."""
    context = chromium.new_context(viewport={"width": 1100, "height": 800})
    made = Report(context.new_page())
    yield made
    context.close()
    assert made.errors == []
    assert [url for url in made.asked if not url.startswith(("file:", "data:"))] == []


def _exported(folder: Path, name: str, agent: Any) -> Path:
    store = MemoryStore()
    session = Session(store)
    execute(session, session.new(name), agent)
    return export(Store(store), name, "html").write(folder / "report.html")[0]


def test_a_report_works_from_a_file(report: Report, tmp_path: Path) -> None:
    """Values on demand, in pages; no buttons for what a file cannot do."""
    long = "line\n" * 30_000

    def agent() -> None:
        durable.step("search", lambda question: [f"all about {question}"], "leases")
        durable.step("read", lambda: long)

    report.open(_exported(tmp_path, "research", agent))
    page = report.page
    page.get_by_role("row").filter(has_text="search").first.click()
    page.locator("#live .details pre", has_text="all about leases").wait_for()
    page.get_by_role("row").filter(has_text="read").first.click()
    more = page.get_by_role("button", name="more characters")
    more.click()
    page.wait_for_function(
        "document.getElementById('live').shadowRoot.querySelectorAll('.details pre').length >= 2"
    )
    # Nothing can be done to the run from here.
    for name in ("Resume", "Cancel", "Fork"):
        assert page.get_by_role("button", name=name, exact=True).count() == 0
    height = page.evaluate(
        "getComputedStyle(document.getElementById('live').shadowRoot.querySelector('.row')).position"
    )
    assert height == "absolute"  # the renderer's style sheet is allowed
    shot(page, "report")


def test_print_and_no_script_have_it_as_text(chromium: Any, report: Report, tmp_path: Path) -> None:
    """What is drawn is there as text, too."""

    def agent() -> None:
        durable.step("search", lambda question: [f"all about {question}"], "leases")

    path = _exported(tmp_path, "research", agent)
    report.open(path)
    assert not report.page.locator("#plain").is_visible()
    report.page.emulate_media(media="print")
    assert report.page.locator("#plain").is_visible()
    assert not report.page.locator("#live").is_visible()
    shot(report.page, "report-print")
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    assert "all about leases" in page.locator("#plain").inner_text()
    context.close()


def test_every_string_in_a_report_is_inert(report: Report, tmp_path: Path) -> None:
    """The corpus in names, arguments, results, tables, Markdown, errors and the run's name."""

    class Hostile(Exception):
        pass

    def fail(text: str) -> None:
        raise Hostile(text)

    def agent() -> None:
        for text in ATTACKS:
            durable.step(text.replace("\x00", ""), lambda text: {text: [text], "again": text}, text)
            durable.step("table", lambda text: [{text: text}, {text: text}], {text: text})
            durable.step("markdown", lambda text: f"# {text}\n\n- {text}", text)
            with pytest.raises(Hostile):
                durable.step("fails", fail, text)

    path = _exported(tmp_path, "</title><script>window.pwned=1</script>", agent)
    report.open(path)
    page = report.page
    rows = page.evaluate(
        "async () => { const t = document.getElementById('live').shadowRoot; return t.querySelectorAll('.row').length; }"
    )
    assert rows > 0
    grid = page.get_by_role("grid")
    grid.focus()
    page.keyboard.press("Home")
    for _ in range(len(ATTACKS) * 4):
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        page.keyboard.press("Escape")
    page.emulate_media(media="print")
    page.wait_for_timeout(200)
    assert page.evaluate("window.pwned") is None
    bad = page.evaluate(
        """() => {
            const found = [];
            for (const root of [document.getElementById('plain'), document.getElementById('live').shadowRoot]) {
              for (const el of root.querySelectorAll('*')) {
                if (/^(script|iframe|object|embed|svg|math|base|form|meta|link)$/i.test(el.tagName)) found.push(el.tagName);
                for (const one of el.attributes) {
                  if (/^on/i.test(one.name) || one.name === 'srcdoc') found.push(one.name);
                  if (one.name === 'href' && !/^https?:/.test(one.value)) found.push(one.value);
                  if (one.name === 'src' && !/^data:image/.test(one.value)) found.push(one.value);
                }
              }
            }
            return found; }"""
    )
    assert bad == []


def test_a_script_that_got_into_a_report_is_not_executed(report: Report, tmp_path: Path) -> None:
    """The policy stands behind the escaping."""

    def agent() -> None:
        durable.step("search", lambda: 1)

    path = _exported(tmp_path, "research", agent)
    text = path.read_text().replace(
        '<div id="live">',
        '<img src="data:,x" onerror="window.pwned=1"><script>window.pwned=1</script><div id="live">',
    )
    path.write_text(text)
    report.open(path)
    assert report.page.evaluate("window.pwned") is None
    refused = [said for said in report.errors if "Content Security Policy" in said]
    assert len(refused) >= 2
    report.errors.clear()


def test_axe_finds_nothing_serious_in_a_report(report: Report, tmp_path: Path) -> None:
    """As drawn, as text, in the light and in the dark."""
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        missing("axe-playwright-python (pip install -e '.[browser]')")

    def fail() -> None:
        raise ValueError("no")

    def agent() -> None:
        durable.step("search", lambda question: [f"all about {question}"], "leases")
        with pytest.raises(ValueError, match="no"):
            durable.step("fails", fail)

    path = _exported(tmp_path, "research", agent)
    for how in ({"color_scheme": "light"}, {"color_scheme": "dark"}, {"media": "print"}):
        report.open(path)
        report.page.emulate_media(**how)
        report.page.wait_for_timeout(100)
        found = Axe().run(report.page).response["violations"]
        assert [one for one in found if one["impact"] in ("serious", "critical")] == []
