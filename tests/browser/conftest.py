"""A browser, a page with nothing but the renderer in it, and a real JupyterLab.

Pictures of what was tested are left in the directory `JUPYTER_DURABLE_SHOTS`, if that is set.
"""

from __future__ import annotations

import http.server
import importlib.util
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cases import Case
from pages import FLAGS, Handler, Harness, Lab, Notebook, missing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of them are slow."""
    for item in items:
        if Path(item.fspath).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser. Not for longer than a module: while its loop is there, nobody else in this process can have one."""
    if importlib.util.find_spec("playwright") is None:
        missing("playwright (pip install -e '.[browser]')")
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        missing("chromium (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


# -- the renderer alone ------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def harness_url() -> Iterator[str]:
    """Where the renderer and an empty page are served."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture
def harness(chromium: Any, harness_url: str) -> Iterator[Harness]:
    """A page with nothing but the renderer. No test may end with an error in it."""
    made = Harness(chromium, harness_url)
    yield made
    made.close()
    assert made.errors == []
    assert made.dialogs == []


# -- JupyterLab --------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A running JupyterLab."""
    for name in ("jupyterlab", "nbformat"):
        if importlib.util.find_spec(name) is None:
            missing(f"{name} (pip install -e '.[browser]')")
    server = Lab(tmp_path_factory.mktemp("lab"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A running JupyterLab, and Notebook 7, with our extension: one for whoever wants it."""
    for name in ("jupyterlab", "nbformat"):
        if importlib.util.find_spec(name) is None:
            missing(f"{name} (pip install -e '.[browser]')")
    server = Lab(tmp_path_factory.mktemp("extended"), extension=True)
    yield server
    server.close()


@pytest.fixture
def case(chromium: Any, extended: Lab) -> Iterator[Callable[..., Case]]:
    """Makes cases; none may end with an error in its page."""
    made: list[Case] = []

    def make(name: str, *cells: str, **how: Any) -> Case:
        if how.get("app", "lab") != "lab" and importlib.util.find_spec("notebook") is None:
            missing("notebook (pip install -e '.[browser]')")
        made.append(Case(chromium, extended, name, *cells, **how))
        return made[-1]

    yield make
    for one in made:
        one.context.close()
        one.check()


@pytest.fixture
def notebook(chromium: Any, lab: Lab) -> Iterator[Callable[..., Notebook]]:
    """Opens notebooks."""
    contexts: list[Any] = []

    def make(name: str, *cells: str, size: tuple[int, int] = (1200, 900)) -> Notebook:
        context = chromium.new_context(viewport={"width": size[0], "height": size[1]})
        contexts.append(context)
        page = context.new_page()
        page.on("dialog", lambda dialog: dialog.dismiss())
        return Notebook(page, lab).open(lab.notebook(name, *cells))

    yield make
    for context in contexts:
        context.close()
