"""The extension in a real JupyterLab: runs outlive the kernel, the page, the server, and the notebook's being open."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pages import Lab, Notebook, shot

SETUP = """%load_ext jupyter_durable
import asyncio, time
import jupyter_durable as durable

@durable.tool
def fetch(n: int) -> dict:
    with open("effects-{name}", "a") as file:
        file.write(f"fetch {n}\\n")
    return {"n": n, "title": f"page {n}"}

@durable.tool
async def slow(n: int) -> int:
    with open("effects-{name}", "a") as file:
        file.write(f"slow {n}\\n")
    await asyncio.sleep(0 if __import__("os").path.exists("go-{name}") else 600)
    return n

@durable.tool(approval=True)
async def mail(to: str) -> str:
    with open("effects-{name}", "a") as file:
        file.write(f"mail {to}\\n")
    return f"mailed {to}"
"""
CUT = "%%durable {name}\nfound = [fetch(n) for n in range(5)]\nfound.append(await slow(7))\nlen(found)"


class Case:
    """One notebook in one browser context, and what its cells did, counted outside."""

    def __init__(self, browser: Any, lab: Lab, name: str, *cells: str, dark: bool = False, app: str = "lab") -> None:
        self.lab = lab
        self.name = name
        self.app = app
        context = browser.new_context(
            viewport={"width": 1280, "height": 860}, color_scheme="dark" if dark else "light"
        )
        self.context = context
        self.page = context.new_page()
        self.page.on("dialog", lambda dialog: dialog.accept())
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.url = lab.notebook(f"{name}.ipynb", *(cell.replace("{name}", name) for cell in cells))
        self.nb = Notebook(self.page, lab)
        self.open()

    def open(self) -> None:
        """Open it (again), in a page that remembers nothing."""
        self.page.goto(self.url)
        self.nb.connected()

    def effects(self) -> list[str]:
        """What was really done."""
        path = self.lab.work / f"effects-{self.name}"
        return path.read_text().split("\n")[:-1] if path.exists() else []

    def go(self) -> None:
        """Let `slow` be quick from now on."""
        (self.lab.work / f"go-{self.name}").touch()

    def kill(self) -> None:
        """Kill the notebook's kernel, as a machine does."""
        pid = self.pid()
        os.kill(pid, signal.SIGKILL)

    def pid(self) -> int:
        """Its kernel's process."""
        import psutil

        for pid in self.lab.kernel_pids():
            with contextlib.suppress(psutil.Error):
                if psutil.Process(pid).environ().get("JPY_SESSION_NAME", "").endswith(f"{self.name}.ipynb"):
                    return pid
        raise AssertionError("it has no kernel")

    def until_cut(self) -> None:
        """Run the cells until the durable one is in its long step, and kill the kernel there."""
        self.nb.run(0)
        self.nb.run(1, wait=False)
        self.badge(1, "running")
        deadline = time.monotonic() + 60
        while "slow 7" not in self.effects():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        self.go()

    def badge(self, cell: int, says: str) -> Any:
        """The badge of a cell, when it says that."""
        found = self.page.locator(".jp-Notebook .jp-CodeCell").nth(cell).locator(".jp-durable-badge", has_text=says)
        found.wait_for(timeout=60_000)
        return found

    def notice(self, says: str) -> Any:
        """The notice above the notebook."""
        found = self.page.locator(".jp-durable-banner .jp-durable-line", has_text=says)
        found.wait_for(timeout=60_000)
        return found

    def settle(self) -> None:
        """Lab's own dialog about the kernel, if it shows one."""
        with contextlib.suppress(Exception):
            self.page.locator(".jp-Dialog button.jp-mod-accept").click(timeout=1500)

    def finished(self) -> None:
        """The cell is done, nothing was repeated but the step that was cut off."""
        self.badge(1, "done")
        self.nb.output(1).locator(".jp-OutputArea-executeResult", has_text="6").wait_for(timeout=60_000)
        done = self.effects()
        assert [line for line in done if line.startswith("fetch")] == [f"fetch {n}" for n in range(5)]
        assert done.count("slow 7") == 2


@pytest.fixture
def case(chromium: Any, extended: Lab) -> Iterator[Callable[..., Case]]:
    """Makes cases; none may end with an error in its page."""
    made: list[Case] = []

    def make(name: str, *cells: str, **how: Any) -> Case:
        made.append(Case(chromium, extended, name, *cells, **how))
        return made[-1]

    yield make
    for one in made:
        one.context.close()
        assert one.errors == []


def test_a_killed_kernel_is_noticed_and_resumed_by_a_click(case: Callable[..., Case]) -> None:
    """Run, kill, notice, click: the cell finishes, and its steps are not made again."""
    it = case("killed", SETUP, CUT)
    it.badge(1, "not run")
    it.until_cut()
    it.kill()
    notice = it.notice("killed stopped at step 6")
    it.settle()
    shot(it.page, "ext-notice")
    notice.get_by_role("button", name="Resume").click()
    it.finished()
    it.page.locator(".jp-durable-banner .jp-durable-line").wait_for(state="detached")
    shot(it.page, "ext-resumed")


def test_resumed_after_a_reload(case: Callable[..., Case]) -> None:
    """The page knows it from the server: nothing of it was in the notebook's file."""
    it = case("reloaded", SETUP, CUT)
    it.until_cut()
    it.kill()
    it.notice("reloaded stopped at step 6")
    it.open()
    it.notice("reloaded stopped at step 6").get_by_role("button", name="Resume").click()
    it.finished()
