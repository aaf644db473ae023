"""What the browser tests hold on to: a page with the renderer in it, a JupyterLab server, a notebook open in it."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "src" / "jupyter_durable" / "labextension"
SCRIPT = ROOT / "src" / "jupyter_durable" / "timeline" / "timeline.js"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TOKEN = "test-token"  # of a server on loopback that lives as long as the tests


def shot(page: Any, name: str) -> None:
    """Keep a picture, if somebody wants to look at it."""
    folder = os.environ.get("JUPYTER_DURABLE_SHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


def missing(what: str) -> None:
    """Skip, saying why; in CI, where everything must be there, fail."""
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(f"{what} is needed here (CI)")
    pytest.skip(f"{what} is not installed")


# -- the renderer alone ---

_PAGE = b"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Timeline</title>
<body style="margin:12px"><main id="main"></main>"""
_MOUNT = """async ({page, values}) => {
  const {mount} = await import('/timeline.js');
  window.asked = []; window.commands = []; window.pwned = 0;
  const source = {
    subscribe: (tell) => { window.tell = tell; if (page) tell(page); return () => {}; },
    ask: async (request) => {
      window.asked.push(request);
      if (request.type === 'value') return (values && values[request.what]) || {form: 'none', type: '', size: 0, offset: 0};
      if (request.type === 'decide' && window.refuse) throw new Error(window.refuse);
      return {rows: []};
    },
    command: (id, args) => { window.commands.push([id, args]); return Boolean(window.has_commands); },
  };
  const began = performance.now();
  window.view = mount(document.getElementById('main'), source);
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
  return performance.now() - began;
}"""


class Harness:
    """Mounts pages of rows in an otherwise empty document."""

    def __init__(self, browser: Any, url: str) -> None:
        self._browser = browser
        self._url = url
        self._contexts: list[Any] = []
        self.page: Any = None
        self.errors: list[str] = []
        self.dialogs: list[str] = []

    def mount(
        self,
        page: dict[str, Any] | None,
        *,
        values: dict[str, Any] | None = None,
        size: tuple[int, int] = (1100, 760),
        dark: bool = False,
    ) -> float:
        """Show `page`; the milliseconds until it was drawn."""
        context = self._browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if dark else "light"
        )
        self._contexts.append(context)
        self.page = context.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        self.page.goto(self._url)
        if dark:
            self.page.evaluate("document.body.style.background = '#101418'")
        return float(self.page.evaluate(_MOUNT, {"page": page, "values": values}))

    def tell(self, page: dict[str, Any]) -> None:
        """One more page of rows."""
        self.page.evaluate(
            "async (page) => { window.tell(page); await new Promise((d) => requestAnimationFrame(() => setTimeout(d, 0))); }",
            page,
        )

    def asked(self, kind: str) -> list[dict[str, Any]]:
        """What the renderer has asked its source for."""
        return [one for one in self.page.evaluate("window.asked") if one["type"] == kind]

    def close(self) -> None:
        for context in self._contexts:
            context.close()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves the renderer, and an empty page."""

    def do_GET(self) -> None:
        """Either of them."""
        script = self.path == "/timeline.js"
        body = SCRIPT.read_bytes() if script else _PAGE
        self.send_response(200)
        self.send_header("content-type", "text/javascript" if script else "text/html")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


# -- JupyterLab ---


class Lab:
    """A JupyterLab server on loopback, with directories of its own.

    extension: whether ours is there, as the source tree has it, whatever is installed; server: its server part, too.
    """

    def __init__(self, folder: Path, *, extension: bool = False, server: bool = True) -> None:
        self.folder = folder
        self.work = folder / "work"
        self.store = folder / "journal.db"
        self.work.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.env = {
            k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "JPY_", "IPYTHON", "PYTEST_"))
        }
        for name in (
            "JUPYTER_CONFIG_DIR",
            "JUPYTER_DATA_DIR",
            "JUPYTER_RUNTIME_DIR",
            "IPYTHONDIR",
            "JUPYTERLAB_SETTINGS_DIR",
            "JUPYTERLAB_WORKSPACES_DIR",
        ):
            (folder / name.lower()).mkdir()
            self.env[name] = str(folder / name.lower())
        self.env |= {
            "JUPYTER_DURABLE_STORE": str(self.store),
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
            "PYTHONPATH": str(ROOT / "src"),
        }
        self._set_up(extension, server)
        settings = folder / "jupyterlab_settings_dir" / "@jupyterlab" / "apputils-extension"
        settings.mkdir(parents=True)
        (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false"}')
        self.start()

    def _set_up(self, extension: bool, with_server: bool) -> None:
        # Before what is installed beside this Python, which in a virtual environment comes before the user's.
        config, data = self.folder / "site", self.folder / "path"
        self.env["JUPYTER_CONFIG_PATH"] = str(config)
        (config / "jupyter_server_config.d").mkdir(parents=True)
        (config / "labconfig").mkdir()
        server = {"jpserver_extensions": {"jupyter_durable.server": extension and with_server}}
        (config / "jupyter_server_config.d" / "jupyter_durable.json").write_text(
            json.dumps({"ServerApp": server})
        )
        off = {"disabledExtensions": {"jupyter-durable": not extension}}
        (config / "labconfig" / "page_config.json").write_text(json.dumps(off))
        (data / "labextensions").mkdir(parents=True)
        if extension:
            (data / "labextensions" / "jupyter-durable").symlink_to(BUNDLE)
            self.env["JUPYTER_PATH"] = str(data)

    def start(self) -> None:
        """Start the server (again, on the same port), and wait until it answers."""
        self._log = (self.folder / "lab.log").open("ab")
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1",
                f"--ServerApp.port={self.port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={self.work}",
                f"--IdentityProvider.token={TOKEN}", "--LabApp.expose_app_in_browser=True", "--LabApp.news_url=",
                "--JupyterNotebookApp.expose_app_in_browser=True",
            ],
            env=self.env, cwd=self.work, stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError((self.folder / "lab.log").read_text()[-2000:])
            try:
                self.get("/api/status")
            except (OSError, http.client.HTTPException):
                time.sleep(0.1)
            else:
                return
        raise TimeoutError("JupyterLab did not start")

    def get(self, path: str) -> Any:
        """An answer of the server's REST interface."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", path, headers={"Authorization": f"token {TOKEN}"})
        return json.loads(connection.getresponse().read())

    def kernel_pids(self) -> list[int]:
        """The processes of its kernels."""
        import psutil

        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):  # it has just ended
                if any("ipykernel" in part for part in child.cmdline()):
                    found.append(child.pid)
        return found

    def notebook(self, name: str, *cells: str, app: str = "lab", kernel: str = "python3") -> str:
        """Write a notebook; its URL in `lab`, or in Notebook (`notebooks`)."""
        import nbformat

        made = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
            metadata={"kernelspec": {"name": kernel, "display_name": kernel, "language": "python"}},
        )
        nbformat.write(made, self.work / name)
        place = "lab/tree" if app == "lab" else app
        return f"http://127.0.0.1:{self.port}/{place}/{name}?token={TOKEN}&reset"

    def close(self) -> None:
        # A server that was told to end while a kernel restarts may never: the whole group goes.
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                os.killpg(self.process.pid, number)
                try:
                    self.process.wait(10)
                except subprocess.TimeoutExpired:
                    continue
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self._log.close()


class Notebook:
    """A notebook open in Lab."""

    def __init__(self, page: Any, lab: Lab) -> None:
        self.page = page
        self.lab = lab

    def open(self, url: str) -> Notebook:
        """Open it and wait until its kernel answers: before that, Shift+Enter is swallowed."""
        self.page.goto(url)
        self.connected()
        return self

    def connected(self) -> None:
        """Wait for the kernel."""
        self.page.wait_for_function(
            """() => { const s = window.jupyterapp?.shell.currentWidget?.sessionContext?.session;
                       return s?.kernel?.connectionStatus === 'connected' && s.kernel.status === 'idle'; }""",
            timeout=60_000,
        )

    def run(self, number: int, *, wait: bool = True) -> None:
        """Run cell `number` (from 0)."""
        cell = self.page.locator(".jp-Notebook .jp-CodeCell").nth(number)
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Shift+Enter")
        if wait:
            self.page.wait_for_function(
                """(n) => { const cell = document.querySelectorAll('.jp-Notebook .jp-CodeCell')[n];
                            const prompt = cell?.querySelector('.jp-InputPrompt')?.textContent || '';
                            return /\\[\\d+\\]/.test(prompt); }""",
                arg=number,
                timeout=60_000,
            )

    def output(self, number: int) -> Any:
        """The output area of cell `number`."""
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(number).locator(".jp-OutputArea")

    def save(self) -> None:
        """Save it."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
