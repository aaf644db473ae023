"""Jobs with durable cells: what the runner and the journal promise together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest
from click.testing import CliRunner
from nbformat.v4 import new_code_cell, new_notebook

from jupyter_durable.cli import main
from jupyter_durable.headless.job import open_job
from jupyter_durable.headless.runner import JobReport, run_job

pytestmark = pytest.mark.slow

SET_UP = """
%load_ext jupyter_durable
import os, pathlib, signal, time
import jupyter_durable as durable

def line(text):
    with open("calls", "a") as file:
        file.write(text + "\\n")

def once(name):
    marker = pathlib.Path(name)
    if marker.exists():
        return False
    marker.touch()
    return True

def die(name):
    if once(name):
        os.kill(os.getpid(), signal.SIGKILL)

@durable.tool
def work(n):
    line(f"work {n}")
    return n * n
"""


def notebook(folder: Path, *sources: str) -> Path:
    """A notebook that loads the extension and has these cells."""
    cells = [new_code_cell(source) for source in (SET_UP, *sources)]
    for number, cell in enumerate(cells):
        cell.id = f"c{number}"
    path = folder / "nb.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    return path


def run(path: Path, **options: Any) -> tuple[JobReport, Any]:
    """The report and the output notebook of a job with a store beside the notebook."""
    report = run_job(open_job(path, store=str(path.parent / "journal.db")), **options)
    return report, nbformat.read(report.output, as_version=4)


def calls(folder: Path) -> list[str]:
    """The calls really made."""
    path = folder / "calls"
    return path.read_text().splitlines() if path.exists() else []


def results(nb: Any) -> list[Any]:
    """All that a reader of the notebook sees of its execution."""
    return [(cell.execution_count, cell.outputs) for cell in nb.cells]


def start(path: Path) -> subprocess.Popen[str]:
    """`jupyter durable run` on the notebook, in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "jupyter_durable.cli",
        "run",
        path.name,
        "--json",
        "--store",
        "journal.db",
    ]
    return subprocess.Popen(
        command,
        cwd=path.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Return when the file exists; fail if the process ends before."""
    for _ in range(1200):
        if path.exists():
            return
        assert process.poll() is None, "the runner ended early"
        time.sleep(0.05)
    raise AssertionError(f"{path} did not appear in a minute")


def test_a_durable_cell_goes_on_where_its_kernel_died(tmp_path: Path) -> None:
    """Kernels die inside a step, between two and after the last; each call is made once, the outputs are calm."""
    second = """%%durable second
import asyncio

@durable.tool
async def slow(n):
    die('inside')
    line(f'slow {n}')
    return -n

c = await asyncio.gather(slow(1), slow(2))
c"""
    cells = (
        "%%durable first\na = work(1)\nprint('got', a)\ndie('between')\nb = work(2)\nb",
        second,
        "die('after')\na, b, c",
    )
    (tmp_path / "calm").mkdir()
    for marker in ("between", "inside", "after"):
        (tmp_path / "calm" / marker).touch()

    told: list[str] = []
    report, nb = run(notebook(tmp_path, *cells), tell=told.append)
    calm_report, calm = run(notebook(tmp_path / "calm", *cells))

    assert (report.status, report.restarts, calm_report.restarts) == ("completed", 3, 0)
    assert (
        sorted(calls(tmp_path))
        == sorted(calls(tmp_path / "calm"))
        == ["slow 1", "slow 2", "work 1", "work 2"]
    )
    # The notebook is calm; who watches the terminal is told what each new kernel goes on with.
    assert len(told) == 5
    assert told[0].endswith("starting it again (1 of 5)")
    assert told[1] == "resuming first: 1 of 1 step replayed, continues after them"
    assert told[2].endswith("starting it again (1 of 5)")
    assert told[3].startswith("resuming second: 0 of 2 steps replayed, 2 in doubt, continues at slow(1)")
    assert told[4].endswith("starting it again, and the cell from its beginning (1 of 5)"), (
        "nothing is unfinished"
    )
    assert results(nb) == results(calm)
    assert nb.cells[3].outputs[-1].data["text/plain"] == "(1, 4, [-1, -2])"
    assert [(r["name"], r["status"]) for r in report.runs] == [
        ("first", "completed"),
        ("second", "completed"),
    ]


@pytest.mark.parametrize("where", ["between the durable cells", "inside the second"])
def test_a_killed_runner_is_called_again(tmp_path: Path, where: str) -> None:
    """`kill -9` on the runner; the same command at once afterwards finishes the same job."""
    hold = "if once('ready'):\n    time.sleep(60)"
    between, inside = (hold, "") if where.startswith("between") else ("", hold)
    path = notebook(
        tmp_path,
        "%%durable first\nwork(1)",
        between,
        f"%%durable second\nx = work(2)\n{inside}\nx + work(3)",
    )
    process = start(path)
    wait_for(tmp_path / "ready", process)
    process.kill()
    process.wait()

    again = start(path)
    out, err = again.communicate(timeout=120)

    report = json.loads(out.splitlines()[-1])
    if where.startswith("inside"):
        assert "resuming second: 1 of 1 step replayed, continues after them" in err
    assert (again.returncode, report["status"], report["resumed"]) == (0, "completed", True)
    assert calls(tmp_path) == ["work 1", "work 2", "work 3"]
    assert {r["name"]: r["status"] for r in report["runs"]} == {"first": "completed", "second": "completed"}


def test_a_job_whose_output_is_gone_is_found_in_the_store(tmp_path: Path) -> None:
    """Delete the output of an unfinished job: its runs still name it, and it is resumed; finished, it is not."""
    path = notebook(tmp_path, "%%durable one\nwork(1)\nassert not once('failed')\nwork(2)")
    failed, _ = run(path)
    Path(failed.output).unlink()

    report, _ = run(path)
    Path(report.output).unlink()
    another, _ = run(path)

    assert (failed.status, report.status, report.job_id) == ("failed", "completed", failed.job_id)
    assert (another.resumed, another.status) == (False, "completed")
    assert calls(tmp_path) == ["work 1", "work 2", "work 1", "work 2"]


def test_new_starts_afresh(tmp_path: Path) -> None:
    """`--new` leaves the unfinished job alone and makes every call again."""
    path = notebook(tmp_path, "%%durable one\nwork(1)\nassert not once('failed')\nwork(2)")
    failed, _ = run(path)

    report = run_job(open_job(path, store=str(tmp_path / "journal.db"), new=True))

    assert report.job_id != failed.job_id
    assert calls(tmp_path) == ["work 1", "work 1", "work 2"]


def test_only_the_step_that_failed_is_made_again(tmp_path: Path) -> None:
    """A tool raises; called again, the job repeats that call and no other."""
    path = notebook(
        tmp_path,
        "%%durable one\n"
        "@durable.tool\ndef flaky():\n    line('flaky')\n    assert not once('failed'), 'not yet'\n    return 7\n"
        "work(1) + flaky() + work(2)",
    )

    failed, _ = run(path)
    report, nb = run(path)

    assert (failed.exit_code, failed.error) == (1, "AssertionError: not yet")
    assert report.status == "completed"
    assert calls(tmp_path) == ["work 1", "flaky", "flaky", "work 2"]
    assert nb.cells[1].outputs[-1].data["text/plain"] == "12" or "12" in str(nb.cells[1].outputs)


def test_progress_resets_the_count_of_restarts_inside_a_durable_cell(tmp_path: Path) -> None:
    """A kernel that dies at four different steps passes a cap of one; at the same step it does not."""
    path = notebook(tmp_path, "%%durable one\nfor n in range(4):\n    work(n)\n    die(f'died{n}')\n'done'")
    report, _ = run(path, max_restarts=1)

    stuck = tmp_path / "stuck"
    stuck.mkdir()
    path = notebook(stuck, "%%durable one\nwork(1)\nos.kill(os.getpid(), signal.SIGKILL)")
    stuck_report, _ = run(path, max_restarts=2)

    assert (report.status, report.restarts) == ("completed", 4)
    assert calls(tmp_path) == [f"work {n}" for n in range(4)]
    assert (stuck_report.status, stuck_report.exit_code, stuck_report.restarts) == ("gave_up", 3, 2)
    assert calls(stuck) == ["work 1"]


def test_a_job_that_waits_exits_with_75_and_goes_on_when_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unsafe step cut off: the job waits with no process; `supply`, call again, done; the call is made once."""
    path = notebook(
        tmp_path,
        "%%durable mail\n"
        '@durable.tool(effect="unsafe")\ndef send(to):\n    line(f"send {to}")\n    die("cut off")\n    return "now"\n'
        "x = work(1), send('me')\nx",
    )
    waiting, nb = run(path, park_after=0.5)

    assert (waiting.status, waiting.exit_code, waiting.restarts) == ("waiting", 75, 1)
    assert [r["status"] for r in waiting.runs] == ["waiting"]
    assert nb.metadata["jupyter_durable"]["status"] == "waiting"

    monkeypatch.setenv("JUPYTER_DURABLE_STORE", str(tmp_path / "journal.db"))
    (listed,) = json.loads(CliRunner().invoke(main, ["ls", "--json"]).stdout)
    shown = json.loads(CliRunner().invoke(main, ["show", listed["id"], "--json"]).stdout)
    step = next(s["id"] for s in shown["steps"] if s["status"] == "in_doubt")
    assert CliRunner().invoke(main, ["supply", listed["id"], step, "before"]).exit_code == 0

    report, nb = run(path)

    assert (report.status, report.resumed) == ("completed", True)
    assert calls(tmp_path) == ["work 1", "send me"]
    assert "(1, 'before')" in str(nb.cells[1].outputs)
