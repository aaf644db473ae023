"""Durable cells in jobs: kernels die in them, runs wait in them, and the output notebook does not show it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import nbformat
import pytest
from kernel_agents import LOAD, TOOLS, calls, counts
from nbformat.v4 import new_code_cell, new_notebook

from jupyter_durable.headless.job import open_job
from jupyter_durable.headless.runner import JobReport, run_job
from jupyter_durable.session import open_store

pytestmark = pytest.mark.slow

PLUG = """
import os, pathlib, random, signal

@durable.tool
def plug(name):
    trace(f"plug {name}")
    if not pathlib.Path(name).exists():
        pathlib.Path(name).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return name

seed = random.random()
memory = []
"""
AGENT = """%%durable agent
memory.append(seed)
found = [ask(f"{n}") for n in range(3)]
print(found[-1])
plug("first")
pages = await asyncio.gather(*(fetch(f"u{n}", .01) for n in range(3)))
plug("second")
pages, memory == [seed]
"""
AFTER = "print(len(memory), memory[0] == seed)\nfound"


def notebook(folder: Path, *cells: str) -> Path:
    """A notebook of these cells, whose kernels work in its folder."""
    nb = new_notebook(cells=[new_code_cell(cell) for cell in cells])
    for number, cell in enumerate(nb.cells):
        cell.id = f"c{number}"
    path = folder / "nb.ipynb"
    nbformat.write(nb, path)
    return path


def run(path: Path) -> tuple[JobReport, Any]:
    """The report and the output notebook of a job in its own store; where it waits, it is soon parked."""
    report = run_job(open_job(path, store=str(path.parent / "journal.db")), park_after=0.5)
    return report, nbformat.read(report.output, as_version=4)


def outputs(nb: Any) -> list[Any]:
    """What a reader of the notebook sees of its execution."""
    return [(cell.execution_count, cell.outputs) for cell in nb.cells]


def test_kernels_die_in_a_durable_cell_and_the_output_does_not_show_it(tmp_path: Path) -> None:
    """Two kernels die; no call is repeated but the ones that died; outputs are those of an undisturbed job."""
    cells = (LOAD, TOOLS, PLUG, AGENT, AFTER)
    calm = tmp_path / "calm"
    calm.mkdir()
    for name in ("first", "second"):
        (calm / name).touch()

    report, nb = run(notebook(tmp_path, *cells))
    calm_report, calm_nb = run(notebook(calm, *cells))

    assert (report.status, report.restarts, calm_report.restarts) == ("completed", 2, 0)
    made = counts(tmp_path)
    assert (made.pop("plug first"), made.pop("plug second")) == (2, 2)
    assert set(made.values()) == {1}
    assert len(made) == 6
    assert outputs(nb) == outputs(calm_nb)
    assert nb.cells[3].outputs[-1]["data"]["text/plain"] == "(['page u0', 'page u1', 'page u2'], True)"
    assert nb.cells[4].outputs[0]["text"] == "1 True\n", "seed and memory are those of the first kernel"


def test_an_unsafe_step_parks_the_job_and_a_decision_lets_it_go_on(tmp_path: Path) -> None:
    """Killed in an unsafe call the job waits: exit code 75; supplied from outside, calling it again finishes it."""
    cell = "%%durable mail\nask('who')\nos.path.exists('armed') or None\ntold = post('you')\ntold"
    post = (
        "import os, signal\n@durable.tool(effect='unsafe')\ndef post(to):\n    trace(f'post {to}')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = notebook(tmp_path, LOAD, TOOLS, post, cell, "told + '!'")

    report, _ = run(path)

    assert (report.status, report.exit_code, report.restarts) == ("waiting", 75, 1)
    assert calls(tmp_path) == ["ask who", "post you"]
    again, _ = run(path)
    assert again.exit_code == 75, "nobody has decided yet"

    with open_store(tmp_path / "journal.db") as store:
        info = store.runs(name="mail")[0]
        assert info.status == "waiting"
        (doubt,) = [s for s in store.steps(info.id) if s.status == "in_doubt"]
        store.supply(info.id, doubt.id, "by hand")
    done, nb = run(path)

    assert (done.status, done.exit_code, done.resumed) == ("completed", 0, True)
    assert nb.cells[4].outputs[0]["data"]["text/plain"] == "'by hand!'"
    assert calls(tmp_path) == ["ask who", "post you"]


def test_a_job_that_was_interrupted_goes_on(tmp_path: Path) -> None:
    """The runner is told to stop in a durable cell; called again, the job continues at the step that was cut off."""
    cell = "%%durable slow\nx = ask('q')\nif not pathlib.Path('go').exists(): stop()\ny = await fetch('p', 0)\n(x, y)"
    stop = (
        "import pathlib, os, signal, time\ndef stop():\n    pathlib.Path('go').touch()\n"
        f"    os.kill({os.getpid()}, signal.SIGINT)\n    time.sleep(60)\n"
    )
    path = notebook(tmp_path, LOAD, TOOLS, stop, cell)
    before = signal.getsignal(signal.SIGINT)

    report, _ = run(path)

    assert (report.status, report.exit_code) == ("interrupted", 130)
    assert signal.getsignal(signal.SIGINT) == before
    with open_store(tmp_path / "journal.db") as store:
        assert store.runs(name="slow")[0].status == "interrupted"
    again, nb = run(path)
    assert (again.status, again.resumed) == ("completed", True)
    assert nb.cells[3].outputs[-1]["data"]["text/plain"] == "('answer to q', 'page p')"
    assert calls(tmp_path) == ["ask q", "fetch p"]
