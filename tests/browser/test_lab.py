"""The timeline where people meet it: in a real JupyterLab, live, after a reload and after the kernel's death."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pages import shot

SETUP = """%load_ext jupyter_durable
import asyncio, time
import jupyter_durable as durable

@durable.tool
def fetch(url: str, n: int = 1) -> dict:
    time.sleep(0.15)
    durable.log("fetched", bytes=n)
    return {"url": url, "n": n}

@durable.tool(effect="unsafe")
async def send(to: str) -> str:
    await asyncio.sleep(60)
    return "sent"

@durable.tool
async def slow(n: int) -> int:
    await asyncio.sleep(0.2)
    return n
"""


def test_a_running_cell_shows_its_steps_while_it_runs(notebook: Callable[..., Any]) -> None:
    """The display of the cell fills before the cell has ended, and says how it ended."""
    nb = notebook("live.ipynb", SETUP, "%%durable live\n[fetch(f'u{n}', n) for n in range(30)][-1]")
    nb.run(0)
    nb.run(1, wait=False)
    area = nb.output(1)
    area.get_by_text("running").first.wait_for(timeout=20_000)
    area.get_by_text("live completed: 30 executed").wait_for(timeout=30_000)
    assert "30 steps: 30 completed" in area.inner_text()
    area.locator("summary").click()
    area.get_by_text("fetch('u29', 29)").wait_for()
    shot(nb.page, "lab-cell")


def test_the_widget_follows_a_running_cell(notebook: Callable[..., Any]) -> None:
    """Lanes and rows come while the cell blocks the kernel; values when it is free."""
    nb = notebook(
        "widget.ipynb",
        SETUP,
        "%%durable wide\nasync def strand(n):\n    return [await slow(n * 10 + k) for k in range(8)]\n"
        "sum(map(len, await asyncio.gather(*(strand(n) for n in range(5)))))",
        "%durable timeline wide",
        "%%durable wide --new\nasync def strand(n):\n    return [await slow(n * 10 + k) for k in range(12)]\n"
        "await asyncio.gather(*(strand(n) for n in range(4))); fetch('end')",
        "%durable timeline wide",
    )
    nb.run(0)
    nb.run(1)
    nb.run(2)
    rows = nb.output(2).locator(".row")
    rows.first.wait_for(timeout=20_000)
    nb.output(2).locator(".badge.completed").first.wait_for()
    rows.nth(3).click()
    nb.output(2).locator(".details .body pre").first.wait_for(timeout=20_000)
    shot(nb.page, "lab-widget")
    nb.output(2).get_by_text("Lanes", exact=True).click()
    assert nb.output(2).locator(".lane:not([hidden])").count() >= 6
    shot(nb.page, "lab-widget-lanes")


def test_another_process_advances_it(notebook: Callable[..., Any], lab: Any) -> None:
    """The store is the source: rows come from a run that this kernel has nothing to do with."""
    nb = notebook(
        "other.ipynb",
        SETUP,
        "import subprocess, sys, textwrap\n"
        "code = textwrap.dedent('''\n"
        "    import time, jupyter_durable as durable\n"
        "    @durable.tool\n"
        "    def far(n):\n"
        "        time.sleep(0.3)\n"
        "        return n\n"
        "    with durable.run('elsewhere'):\n"
        "        for n in range(12): far(n)\n"
        "''')\n"
        "child = subprocess.Popen([sys.executable, '-c', code])\n"
        "while not any(r.name == 'elsewhere' for r in durable.open_store().runs()): time.sleep(0.1)",
        "durable.timeline('elsewhere')",
    )
    nb.run(0)
    nb.run(1)
    nb.run(2)
    nb.output(2).locator(".badge.running").first.wait_for(timeout=20_000)
    nb.output(2).locator(".badge.completed").first.wait_for(timeout=30_000)
    nb.output(2).locator(".chip.completed b", has_text="12").wait_for()


def test_reload_and_a_dead_kernel_lose_nothing(notebook: Callable[..., Any], lab: Any) -> None:
    """What the cell displayed is still there, and the widget's place says it too."""
    nb = notebook(
        "dead.ipynb",
        SETUP,
        "%%durable mortal\nfetch('before')\nawait send('ada@example.org')",
        "%durable timeline mortal",
    )
    nb.run(0)
    nb.run(1, wait=False)
    area = nb.output(1)
    area.get_by_text("1 completed, 1 running").wait_for(timeout=20_000)
    nb.save()
    for pid in lab.kernel_pids():
        os.kill(pid, signal.SIGKILL)
    nb.page.wait_for_timeout(500)
    nb.page.goto(nb.page.url.split("?")[0] + "?token=test-token&reset")
    area.get_by_text("mortal").first.wait_for(timeout=60_000)
    assert "2 steps: 1 completed, 1 running" in area.inner_text()
    nb.connected()
    nb.run(0)
    nb.run(2)
    widget = nb.output(2)
    widget.locator(".badge.interrupted").first.wait_for(timeout=20_000)
    assert widget.locator(".row.in_doubt").count() == 1
    widget.get_by_role("button", name="Resume").click()
    assert "%durable resume" in widget.locator(".note").inner_text()
    shot(nb.page, "lab-interrupted")
    # The decision is taken here, and honoured by the resume.
    widget.get_by_role("button", name="Yes: supply its result").click()
    widget.locator(".wait textarea").fill('"by hand"')
    widget.get_by_role("button", name="Supply", exact=True).click()
    widget.get_by_text("Recorded").wait_for(timeout=20_000)
    nb.run(1)
    area.get_by_text("mortal completed").wait_for(timeout=20_000)
    assert "'by hand'" in area.inner_text()


def test_nbconvert_shows_what_the_cell_displayed(tmp_path: Path) -> None:
    """Offline, without our extension: the inert form."""
    nbconvert = pytest.importorskip("nbconvert")
    import nbformat
    import synthetic

    from jupyter_durable.timeline.bundle import bundle

    data = bundle(synthetic.page(20, status="completed"), "✓ research completed")  # type: ignore[arg-type]
    output = nbformat.v4.new_output("display_data", data=data)
    cell = nbformat.v4.new_code_cell("%%durable research", outputs=[output])
    html, _ = nbconvert.HTMLExporter().from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    assert "20 steps" in html
    assert "Leases and fencing tokens" in html
    text, _ = nbconvert.MarkdownExporter().from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    assert "research" in text
