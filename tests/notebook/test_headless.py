"""Jobs on real kernels, with notebooks that kill them: what the runner itself promises."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from jupyter_durable.errors import DurableError, LeaseHeldError
from jupyter_durable.headless.job import Job, open_job
from jupyter_durable.headless.runner import JobReport, run_job

DIE_ONCE = """
import os, pathlib, signal
marker = pathlib.Path("died")
if not marker.exists():
    marker.touch()
    print("about to die", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def notebook(folder: Path, *sources: str, name: str = "nb.ipynb", **tags: str) -> Path:
    """A notebook with these code cells; `tags` maps "c1" to the tag of the first cell, and so on."""
    cells = [new_code_cell(source) for source in sources]
    for number, cell in enumerate(cells, 1):
        cell.id = f"c{number}"
        if tag := tags.get(cell.id):
            cell.metadata["tags"] = [tag]
    path = folder / name
    nbformat.write(new_notebook(cells=cells), path)
    return path


def run(path: Path, **options: Any) -> tuple[JobReport, Any]:
    """The report and the output notebook of a job in its own store."""
    job_options = {k: options.pop(k) for k in ("output", "parameters", "new") if k in options}
    store = str(path.parent / "journal.db")
    report = run_job(open_job(path, store=store, **job_options), **options)
    return report, nbformat.read(report.output, as_version=4) if Path(report.output).exists() else None


def outputs(nb: Any) -> list[Any]:
    """Execution counts and outputs: what a reader of the notebook sees of its execution."""
    return [(c.execution_count, c.outputs) for c in nb.cells if c.cell_type == "code"]


def text(nb: Any, cell: int) -> str:
    """What the cell (from 1) printed."""
    return "".join(o.get("text", "") for o in nb.cells[cell - 1].outputs)


@pytest.mark.slow
def test_a_job_survives_its_kernel_and_its_output_does_not_show_it(tmp_path: Path) -> None:
    """Two kernels die; outputs and execution counts are those of a run in which none did."""
    cells = (
        "print('set up')\nx = 41",
        "",
        DIE_ONCE,
        "x += 1\nx",
        DIE_ONCE.replace("died", "died2") + "x + 1",
    )
    (tmp_path / "calm").mkdir()
    for marker in ("died", "died2"):
        (tmp_path / "calm" / marker).touch()

    told: list[str] = []
    report, nb = run(notebook(tmp_path, *cells), tell=told.append)
    calm_report, calm = run(notebook(tmp_path / "calm", *cells))

    assert (report.status, report.exit_code, report.restarts) == ("completed", 0, 2)
    assert calm_report.restarts == 0
    assert outputs(nb) == outputs(calm)
    assert nb.cells[3].outputs[0].data["text/plain"] == "42"
    assert [line[:25] for line in told] == ["the kernel died in cell 3", "the kernel died in cell 5"]


@pytest.mark.slow
def test_restarts_are_capped_at_one_place(tmp_path: Path) -> None:
    """A cell that kills every kernel ends the job with its own code, and the notebook says why."""
    path = notebook(tmp_path, "print('hello')", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")

    report, nb = run(path, max_restarts=1)

    assert (report.status, report.exit_code, report.restarts, report.cell) == ("gave_up", 3, 1, 2)
    assert nb.cells[1].outputs[-1].ename == "DeadKernelError"
    assert text(nb, 1) == "hello\n"


@pytest.mark.slow
def test_a_crash_is_named(tmp_path: Path) -> None:
    """A crash in native code ends with 3 and its signal's name, and nothing of the kernel's own chatter."""
    notebook(tmp_path, "import ctypes\nctypes.string_at(0)")

    done = start(tmp_path / "nb.ipynb", "--max-restarts", "0", stderr=subprocess.PIPE)
    out, err = done.communicate(timeout=60)

    assert (done.returncode, json.loads(out.splitlines()[-1])["status"]) == (3, "gave_up")
    assert err.startswith(
        "error: the kernel died in cell 1 (import ctypes) once without getting any further (SIGSEGV)"
    )
    assert "IPKernelApp" not in err


@pytest.mark.slow
def test_a_kernel_that_does_not_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel wrote to its stderr is in the error."""
    path = notebook(tmp_path, "1")
    (tmp_path / "ipykernel_launcher.py").write_text("raise SystemExit('no kernel today')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    report, _ = run(path)

    assert (report.status, report.exit_code) == ("gave_up", 3)
    assert "did not start" in str(report.error)
    assert "| no kernel today" in str(report.error)


@pytest.mark.slow
def test_getting_further_resets_the_count_of_restarts(tmp_path: Path) -> None:
    """Three deaths in three different cells pass a cap of one."""
    path = notebook(tmp_path, *(DIE_ONCE.replace("died", f"died{n}") for n in range(3)))

    report, _ = run(path, max_restarts=1)

    assert (report.status, report.restarts) == ("completed", 3)


@pytest.mark.slow
def test_a_failing_cell_is_saved_and_the_job_goes_on_when_called_again(tmp_path: Path) -> None:
    """The first call ends with 1 and leaves the cells before it saved; the second finishes the same job."""
    path = notebook(
        tmp_path, "print('one')", "assert __import__('pathlib').Path('fixed').exists()", "print('end')"
    )
    before = path.read_bytes()

    report, nb = run(path)

    assert (report.status, report.exit_code, report.cell, report.cells_done) == ("failed", 1, 2, 1)
    assert report.error == "AssertionError"
    assert text(nb, 1) == "one\n"
    assert nb.cells[1].outputs[0].ename == "AssertionError"
    assert nb.cells[2].outputs == []

    (tmp_path / "fixed").touch()
    again, nb = run(path)

    assert (again.status, again.resumed, again.job_id) == ("completed", True, report.job_id)
    assert text(nb, 3) == "end\n"
    assert path.read_bytes() == before, "the input notebook is never modified"


@pytest.mark.slow
def test_kernels_are_told_their_job_cell_and_parameters(tmp_path: Path) -> None:
    """The environment, the injected cell and the cell id of each request reach the kernel."""
    path = notebook(
        tmp_path,
        "who = 'nobody'; depth = 1",
        "import os\nprint(who, depth, os.environ['JUPYTER_DURABLE_JOB'], os.environ['JUPYTER_DURABLE_NOTEBOOK'])",
        "print(get_ipython().kernel.get_parent()['metadata']['cellId'], 'JPY_SESSION_NAME' in os.environ, os.getcwd())",
        c1="parameters",
    )

    report, nb = run(path, parameters={"who": "me", "depth": [2, None]})

    assert nb.cells[1].source == "# Parameters\nwho = 'me'\ndepth = [2, None]"
    assert nb.cells[1].metadata["tags"] == ["injected-parameters"]
    assert text(nb, 3) == f"me [2, None] {report.job_id} {path}\n"
    assert text(nb, 4) == f"c3 False {tmp_path}\n"


@pytest.mark.slow
def test_a_cell_that_takes_too_long_is_interrupted_and_fails(tmp_path: Path) -> None:
    """`timeout` ends the cell by an interrupt, so that what cleans up can clean up."""
    sleep = "import time, pathlib\ntry:\n    time.sleep(60)\nfinally:\n    pathlib.Path('cleaned').touch()"

    report, _ = run(notebook(tmp_path, sleep), timeout=1)

    assert (report.status, report.error) == ("failed", "TimeoutError: not done after 1 s")
    assert (tmp_path / "cleaned").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts_the_cell_saves_and_ends(tmp_path: Path, number: int) -> None:
    """A supervisor's signal ends the job as interrupted, with outputs saved and the cell cleaned up."""
    path = notebook(
        tmp_path,
        "print('one')",
        "import pathlib, time\nprint('two', flush=True)\npathlib.Path('ready').touch()\n"
        "try:\n    time.sleep(60)\nfinally:\n    pathlib.Path('cleaned').touch()",
        "print('never')",
    )
    process = start(path)
    wait_for(tmp_path / "ready", process)

    process.send_signal(number)
    out, _ = process.communicate(timeout=30)

    report, nb = json.loads(out.splitlines()[-1]), nbformat.read(tmp_path / "nb.out.ipynb", as_version=4)
    assert (process.returncode, report["status"], report["cell"]) == (128 + number, "interrupted", 2)
    assert (text(nb, 1), text(nb, 2), nb.cells[2].outputs) == ("one\n", "two\n", [])
    assert nb.cells[1].outputs[-1].ename == "KeyboardInterrupt"
    assert (tmp_path / "cleaned").exists()
    assert nb.metadata["jupyter_durable"]["status"] == "interrupted"


@pytest.mark.slow
def test_a_job_whose_runner_was_killed_is_found_again_and_refused_while_it_lives(tmp_path: Path) -> None:
    """While a runner lives its job is refused to others; killed, the next call takes the job up."""
    path = notebook(
        tmp_path,
        "print('one')",
        "import pathlib, time\npathlib.Path('ready').touch()\ntime.sleep(60 * (not pathlib.Path('go').exists()))",
    )
    process = start(path)
    wait_for(tmp_path / "ready", process)

    with pytest.raises(LeaseHeldError, match=str(process.pid)):
        open_job(path, store=str(tmp_path / "journal.db"))
    assert text(nbformat.read(tmp_path / "nb.out.ipynb", as_version=4), 1) == "one\n", "saved after each cell"
    first = nbformat.read(tmp_path / "nb.out.ipynb", as_version=4).metadata["jupyter_durable"]["job"]
    process.kill()
    process.wait()
    (tmp_path / "go").touch()

    other = open_job(path, store=str(tmp_path / "journal.db"), parameters={"x": 1})
    report, _ = run(path)

    assert not other.resumed, "other parameters are another job"
    assert (report.status, report.resumed, report.job_id) == ("completed", True, first)
    assert not open_job(path, store=str(tmp_path / "journal.db")).resumed, "a finished job is finished"


@pytest.mark.slow
def test_an_output_that_cannot_be_saved_does_not_end_the_job(tmp_path: Path) -> None:
    """The folder of the output goes away for a while: a warning, and the job ends saved and completed."""
    swap = "import pathlib\npathlib.Path('out').rename('away'); pathlib.Path('out').touch()"
    back = "pathlib.Path('out').unlink(); pathlib.Path('away').rename('out')"
    path = notebook(tmp_path, swap, "print('meanwhile')", back)
    told: list[str] = []

    report, nb = run(path, output=tmp_path / "out" / "nb.ipynb", tell=told.append)
    lost, _ = run(notebook(tmp_path, swap, name="lost.ipynb"), output=tmp_path / "out" / "nb.ipynb")

    assert (report.status, text(nb, 2)) == ("completed", "meanwhile\n")
    assert len(told) == 1
    assert told[0].startswith("warning: cannot write ")
    assert (lost.status, lost.exit_code) == ("failed", 1)
    assert "cannot write " in str(lost.error)


@pytest.mark.slow
def test_streams_are_joined_and_displays_updated_in_place(tmp_path: Path) -> None:
    """However the kernel cut its stdout, the notebook has one stream output between two displays."""
    path = notebook(
        tmp_path,
        "import sys, time\nfrom IPython.display import display\nh = display('a', display_id=True)\n"
        "for i in range(3):\n    print(i, flush=True); time.sleep(.02)\ndisplay('b')\nh.update('c')\nprint(3)",
    )

    _, nb = run(path)

    found = [o.get("text") or o.data["text/plain"] for o in nb.cells[0].outputs]
    assert found == ["'c'", "0\n1\n2\n", "'b'", "3\n"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "no valid notebook"),
        ("{}", "no valid notebook"),
        ('{"cells": [{}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}', "no valid notebook"),
        (None, "cannot read"),
    ],
)
def test_what_is_no_notebook_is_said_so(tmp_path: Path, content: str | None, says: str) -> None:
    """A missing, empty or malformed notebook is one clear error with a hint, and nothing is written."""
    path = tmp_path / "nb.ipynb"
    if content is not None:
        path.write_text(content)

    with pytest.raises(DurableError, match=says) as caught:
        run_job(open_job(path, store=str(tmp_path / "journal.db")))

    assert caught.value.hint
    assert not (tmp_path / "nb.out.ipynb").exists()


def test_an_unknown_kernel_is_named_with_those_there_are(tmp_path: Path) -> None:
    """The error for a kernelspec that is not installed lists the ones that are."""
    path = notebook(tmp_path, "1")

    with pytest.raises(DurableError, match="no kernel called 'nope'") as caught:
        run_job(open_job(path, store=str(tmp_path / "journal.db")), kernel="nope")

    assert "python3" in caught.value.hint


def test_the_output_is_never_the_input(tmp_path: Path) -> None:
    """`-o` naming the notebook itself is refused."""
    path = notebook(tmp_path, "1")

    with pytest.raises(DurableError, match="overwrite the notebook itself"):
        open_job(path, path, store=str(tmp_path / "journal.db"))


def test_cells_without_ids_get_the_same_ones_each_time(tmp_path: Path) -> None:
    """A notebook whose cells lack ids (old tools) has stable ones, distinct also for equal cells."""
    from jupyter_durable.headless import save

    path = notebook(tmp_path, "x", "x", "y")
    data = json.loads(path.read_text())
    for cell in data["cells"]:
        del cell["id"]
    path.write_text(json.dumps(data))

    ids = [[cell.id for cell in save.read(path).cells] for _ in range(2)]

    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 3


@pytest.mark.slow
def test_saving_is_all_or_nothing(tmp_path: Path) -> None:
    """When the disk refuses, the old file is as it was and no temporary file stays."""
    from jupyter_durable.headless import save

    out = tmp_path / "out.ipynb"
    save.write(new_notebook(cells=[new_markdown_cell("old")]), out)
    before = out.read_bytes()
    limit = f"""
import resource
from pathlib import Path
from nbformat.v4 import new_markdown_cell, new_notebook
from jupyter_durable.headless import save
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
save.write(new_notebook(cells=[new_markdown_cell("x" * 5000)]), Path({str(out)!r}))
"""

    done = subprocess.run([sys.executable, "-c", limit], capture_output=True, text=True, check=False)

    assert "cannot write" in done.stderr
    assert "hint:" in done.stderr
    assert out.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["out.ipynb"]


def start(path: Path, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """`jupyter durable run --json` on the notebook, in a process of its own."""
    command = [sys.executable, "-m", "jupyter_durable.cli", "run", str(path), "--json", *arguments]
    store = ["--store", str(path.parent / "journal.db")]
    return subprocess.Popen(
        [*command, *store], stdout=subprocess.PIPE, text=True, env=dict(os.environ), **options
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Return when the file exists; fail if the process ends before."""
    for _ in range(1200):
        if path.exists():
            return
        assert process.poll() is None, "the runner ended early"
        time.sleep(0.05)
    raise AssertionError(f"{path} did not appear in a minute")


def test_a_job_is_identified_without_absolute_paths(tmp_path: Path) -> None:
    """What a job writes into its output names no folder of this machine."""
    job: Job = open_job(notebook(tmp_path, "1"), store=str(tmp_path / "journal.db"))

    assert str(tmp_path) not in json.dumps(job.metadata("completed"))
