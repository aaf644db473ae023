"""The widget in marimo, another kind of notebook: its rows, and values asked for from its kernel."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import ROOT, missing, shot

APP = """
import marimo

app = marimo.App()


@app.cell
def _():
    import jupyter_durable as durable

    @durable.tool
    def fetch(url: str) -> dict:
        return {"url": url, "text": "a page " * 3}

    @durable.run("in-marimo")
    def agent():
        return [fetch(f"u{n}") for n in range(12)]

    result = agent()
    return durable, result


@app.cell
def _(durable, result):
    assert len(result) == 12
    timeline = durable.timeline("in-marimo")
    timeline
    return
"""


@pytest.fixture
def app_url(tmp_path: Path) -> Iterator[str]:
    """Where marimo serves the app."""
    if importlib.util.find_spec("marimo") is None:
        missing("marimo (pip install -e '.[browser]')")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "app.py").write_text(APP)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "PYTEST_", "XDG_"))} | {
        "HOME": str(tmp_path),
        "JUPYTER_DURABLE_STORE": str(tmp_path / "journal.db"),
        "PYTHONPATH": str(ROOT / "src"),
    }
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "marimo", "run", "app.py", "--headless", "--no-token",
             "--host", "127.0.0.1", "--port", str(port)],
            cwd=tmp_path, env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and process.poll() is None:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            else:
                raise RuntimeError((tmp_path / "log").read_text()[-3000:])
            yield f"http://127.0.0.1:{port}/"
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_a_run_in_marimo(chromium: Any, app_url: str) -> None:
    """Every step is there; a value that is asked for comes."""
    page = chromium.new_page()
    page.goto(app_url)
    page.locator(".row", has_text="fetch('u11')").wait_for(timeout=60_000)
    page.get_by_text("12 steps").first.wait_for()
    page.locator(".row", has_text="fetch('u3')").click()
    page.locator(".details .body pre", has_text="a page a page").first.wait_for(timeout=20_000)
    shot(page, "marimo")
    page.close()
