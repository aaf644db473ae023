"""One run, two homes: begun headless and finished in a notebook, or the other way round; and what a terminal shows."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from kernels import Kernel
from nbformat.v4 import new_code_cell, new_notebook

from jupyter_durable.headless.job import open_job
from jupyter_durable.headless.runner import run_job
from jupyter_durable.session import open_store

pytestmark = pytest.mark.slow

SET_UP = """%load_ext jupyter_durable
import jupyter_durable as durable

@durable.tool
def ask(q):
    with open('calls', 'a') as file:
        print('ask', q, file=file)
    return f'answer to {q}'
"""
CELL = "%%durable talk\na = ask(topic)\nword = await durable.ask('Which word?', str)\nb = ask(word)\n(a, b)"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A notebook that waits for a word in its durable cell."""
    cells = [
        new_code_cell("topic = 'nothing'", id="p", metadata={"tags": ["parameters"]}),
        new_code_cell(SET_UP, id="s"),
        new_code_cell(CELL, id="c"),
        new_code_cell("b.upper()", id="e"),
    ]
    nbformat.write(new_notebook(cells=cells), tmp_path / "nb.ipynb")
    return tmp_path / "nb.ipynb"


def calls(folder: Path) -> list[str]:
    """What was really called."""
    return (folder / "calls").read_text().splitlines()


def say(url: Path, word: str) -> str:
    """Answer the question; the run's id."""
    with open_store(url) as store:
        (wait,) = store.waits()
        store.answer(wait.run, wait.key, word)
        return wait.run


def test_begun_headless_it_goes_on_in_a_notebook_and_ends_headless(
    path: Path, tmp_path: Path, make_kernel: Callable[..., Kernel]
) -> None:
    """The output of a job that waits, opened in a notebook: its cell is the same run. The job then has no more to do there."""
    url = tmp_path / "journal.db"
    first = run_job(open_job(path, store=str(url), parameters={"topic": "leases"}), park_after=0.2)
    assert first.status == "waiting"
    run = say(url, "fence")
    kernel = make_kernel(tmp_path, env={"JPY_SESSION_NAME": first.output, "JUPYTER_DURABLE_STORE": str(url)})
    for cell in nbformat.read(first.output, as_version=4).cells[:3]:
        kernel.run(cell.source).check()

    reply = kernel.run(CELL).check()

    assert reply.result == "('answer to leases', 'answer to fence')"
    with open_store(url) as store:
        (only,) = store.runs()
        assert (only.id, only.status) == (run, "completed")
    assert calls(tmp_path) == ["ask leases", "ask fence"]
    kernel.close()
    last = run_job(open_job(path, store=str(url), parameters={"topic": "leases"}))
    assert (last.status, last.resumed, last.result) == ("completed", True, "'ANSWER TO FENCE'")
    assert calls(tmp_path) == ["ask leases", "ask fence"]


def test_begun_in_a_notebook_it_goes_on_headless_and_the_notebook_has_its_result(
    path: Path, tmp_path: Path, make_kernel: Callable[..., Kernel]
) -> None:
    """Its kernel dies while it waits; `resume` goes on with the run; the cell run again has the result, and calls nothing."""
    url = tmp_path / "journal.db"
    env = {"JPY_SESSION_NAME": str(path), "JUPYTER_DURABLE_STORE": str(url)}
    kernel = make_kernel(tmp_path, env=env)
    kernel.run("topic = 'leases'").check()
    kernel.run(SET_UP).check()
    cell = threading.Thread(target=lambda: _swallow(lambda: kernel.run(CELL)))
    cell.start()
    with open_store(url) as store:
        while not store.waits():
            pass
    resume = [sys.executable, "-m", "jupyter_durable.cli", "resume", str(path), "--store", str(url)]
    early = subprocess.run(resume, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert early.returncode == 1
    assert "this is being advanced by Jupyter kernel for nb.ipynb" in early.stderr
    kernel.kill()
    cell.join(60)
    run = say(url, "fence")

    done = subprocess.run(resume, capture_output=True, text=True, cwd=tmp_path, timeout=120)

    assert done.returncode == 0, done.stderr
    with open_store(url) as store:
        (only,) = store.runs()
        assert (only.id, only.status) == (run, "completed")
    again = make_kernel(tmp_path, env=env)
    again.run("topic = 'leases'").check()
    again.run(SET_UP).check()
    reply = again.run(CELL).check()
    assert reply.result == "('answer to leases', 'answer to fence')"
    assert calls(tmp_path) == ["ask leases", "ask fence"]


def _swallow(call: Callable[[], Any]) -> None:
    try:
        call()
    except Exception:
        return


def terminal(folder: Path, *words: str) -> tuple[int, str]:
    """A command on a terminal of its own: its exit code and what it showed."""
    pytest.importorskip("rich")
    master, slave = pty.openpty()
    env = {k: v for k, v in os.environ.items() if k != "CI"} | {
        "TERM": "xterm-256color",
        "COLUMNS": "100",
        "LINES": "30",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "jupyter_durable.cli", *words, "--store", str(folder / "journal.db")],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=env,
        cwd=folder,
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # its other end is closed
            break
        if not part:
            break
        shown += part
    os.close(master)
    return process.wait(60), shown.decode(errors="replace")


def test_a_terminal_shows_a_job_as_it_goes_and_a_run_as_a_timeline(tmp_path: Path) -> None:
    """One line that changes while it runs, cells above it; `watch` draws the steps."""
    cells = [
        new_code_cell(SET_UP, id="s"),
        new_code_cell("%%durable a\nimport time\nask('q'); time.sleep(1.5)", id="c"),
    ]
    nbformat.write(new_notebook(cells=cells), tmp_path / "nb.ipynb")

    code, shown = terminal(tmp_path, "run", "nb.ipynb")

    assert code == 0
    assert "cell 2 of 2 (%%durable a)" in shown
    assert "a, 1 steps" in shown
    assert "done: " in shown
    code, shown = terminal(tmp_path, "watch", "a")
    assert code == 0
    assert "ask('q')" in shown
    assert "completed" in shown
