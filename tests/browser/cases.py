"""One notebook in one browser context, in JupyterLab or Notebook 7: run, killed, looked at; its effects counted outside."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Any

from pages import Lab, Notebook

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
ASKS = "%%durable {name}\nfetch(1)\nawait mail('ada@example.org')"


class Case:
    """One notebook in one browser context, and what its cells did, counted outside."""

    def __init__(
        self, browser: Any, lab: Lab, name: str, *cells: str, dark: bool = False, app: str = "lab"
    ) -> None:
        self.lab = lab
        self.name = name = name if app == "lab" else f"{name}7"
        self.app = app
        context = browser.new_context(
            viewport={"width": 1280, "height": 860}, color_scheme="dark" if dark else "light"
        )
        self.context = context
        self.errors: list[str] = []
        context.on("page", self._attend)
        self.page = context.new_page()
        self.url = lab.notebook(f"{name}.ipynb", *(cell.replace("{name}", name) for cell in cells), app=app)
        self.nb = Notebook(self.page, lab)
        self.open()

    def _attend(self, page: Any) -> None:
        page.on("dialog", lambda dialog: dialog.accept())
        page.on("pageerror", lambda error: self.errors.append(f"{error}\n{error.stack}"))
        close_when_in_the_way(page, "Server Connection Error")

    def open(self) -> None:
        """Open it (again), in a page that remembers nothing."""
        self.page.goto(self.url)
        self.nb.connected()

    def reopen(self) -> None:
        """Shut its kernel down, close it, and open it from the file browser: Notebook's is a page of its own."""
        self.page.evaluate(
            """async () => { const notebook = window.jupyterapp.shell.currentWidget;
                             await notebook.sessionContext.shutdown(); notebook.close(); }"""
        )
        item = ".jp-DirListing-item"
        if self.app == "lab":
            self.page.locator(".jp-Notebook").wait_for(state="detached")
            self.page.locator(item, has_text=f"{self.name}.ipynb").dblclick()
        else:
            self.page.goto(self.url.replace(f"/notebooks/{self.name}.ipynb", "/tree"))
            with self.context.expect_page() as opened:
                self.page.locator(item, has_text=f"{self.name}.ipynb").dblclick()
            self.page.close()
            self.page = opened.value
            self.nb = Notebook(self.page, self.lab)
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
        os.kill(self.pid(), signal.SIGKILL)

    def settle(self) -> None:
        """Close Lab's own dialog about it, which comes when the server has noticed."""
        dialog = self.page.locator(".jp-Dialog", has_text="Kernel Restarting")
        dialog.locator("button.jp-mod-accept").click(timeout=60_000)
        dialog.wait_for(state="detached")

    def pid(self) -> int:
        """Its kernel's process."""
        import psutil

        for pid in self.lab.kernel_pids():
            with contextlib.suppress(psutil.Error):
                if psutil.Process(pid).environ().get("JPY_SESSION_NAME", "").endswith(f"{self.name}.ipynb"):
                    return pid
        raise AssertionError("it has no kernel")

    def until_cut(self, cell: int = 1) -> None:
        """Run the cells until the durable one is in its long step, where its kernel is to be killed."""
        for before in range(cell):
            self.nb.run(before)
        self.nb.run(cell, wait=False)
        self.badge(cell, "running")
        deadline = time.monotonic() + 60
        while "slow 7" not in self.effects():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        self.go()

    def badge(self, cell: int, says: str) -> Any:
        """The badge of a cell, when it says that."""
        found = (
            self.page.locator(".jp-Notebook .jp-CodeCell")
            .nth(cell)
            .locator(".jp-durable-badge", has_text=says)
        )
        found.wait_for(timeout=60_000)
        return found

    def notice(self, says: str) -> Any:
        """The notice above the notebook."""
        found = self.page.locator(".jp-durable-banner .jp-durable-line", has_text=says)
        found.wait_for(timeout=60_000)
        return found

    def check(self) -> None:
        """No error in the page that comes from us: Lab has some of its own, and more when its server goes."""
        ours = [error for error in self.errors if "jupyter-durable" in error]  # its stack names the bundle
        assert not ours, "\n".join(ours)

    def finished(self) -> None:
        """The cell is done, nothing was repeated but the step that was cut off."""
        self.badge(1, "done")
        self.nb.output(1).locator(".jp-OutputArea-executeResult", has_text="6").wait_for(timeout=60_000)
        done = self.effects()
        assert [line for line in done if line.startswith("fetch")] == [f"fetch {n}" for n in range(5)]
        assert done.count("slow 7") == 2


def close_when_in_the_way(page: Any, title: str) -> None:
    """Close a dialog of the front end's own, whenever it comes."""
    page.add_locator_handler(
        page.locator(".jp-Dialog", has_text=title),
        lambda dialog: dialog.locator(".jp-Dialog-footer button").last.click(),
    )


def panel(page: Any) -> Any:
    """The panel of runs, open."""
    page.wait_for_function(
        "() => window.jupyterapp?.commands.hasCommand('jupyter-durable:show-panel')", timeout=60_000
    )
    page.evaluate("() => window.jupyterapp.restored")  # which may close what was opened before
    found = page.locator("#jupyter-durable-runs")
    if not found.is_visible():
        page.evaluate("() => window.jupyterapp.commands.execute('jupyter-durable:show-panel')")
    found.wait_for()
    return found
