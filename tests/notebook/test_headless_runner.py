"""What a job does about kernels that hang, cells that run twice, waiting, and signals; and what it says of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from jupyter_durable.errors import LeaseHeldError
from jupyter_durable.headless import deaths
from jupyter_durable.headless.deaths import Killed
from jupyter_durable.headless.job import open_job
from jupyter_durable.headless.runner import Control, JobReport, run_job
from jupyter_durable.model import Owner
from jupyter_durable.session import open_store
from jupyter_durable.store import connect

LOAD = "%load_ext jupyter_durable\nimport os, pathlib, signal, time\nimport jupyter_durable as durable\n"
TOOLS = """
@durable.tool
def ask(q):
    with open('calls', 'a') as file:
        print('ask', q, file=file)
    return f'answer to {q}'
"""


def notebook(folder: Path, *sources: str, tags: dict[int, str] | None = None) -> Path:
    """A notebook with these code cells; `tags` by their numbers, from 1."""
    cells = [new_code_cell(source) for source in sources]
    for number, cell in enumerate(cells, 1):
        cell.id = f"c{number}"
        if tags and number in tags:
            cell.metadata["tags"] = [tags[number]]
    path = folder / "nb.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    return path


def run(path: Path, **options: Any) -> tuple[JobReport, Any]:
    """The report and the output notebook of a job in its own store."""
    report = run_job(open_job(path, store=str(path.parent / "journal.db")), **options)
    return report, nbformat.read(report.output, as_version=4)


def command(path: Path, *arguments: str, verb: str = "run") -> list[str]:
    """`jupyter durable run` on a notebook, with a store beside it."""
    store = ["--store", str(path.parent / "journal.db")]
    return [sys.executable, "-m", "jupyter_durable.cli", verb, str(path), *store, *arguments]


def outputs(nb: Any) -> list[Any]:
    """What a reader of the notebook sees of its execution."""
    return [(cell.execution_count, cell.outputs) for cell in nb.cells]


def calls(folder: Path) -> list[str]:
    """The calls that were made, as a file outside says."""
    path = folder / "calls"
    return path.read_text().splitlines() if path.exists() else []


# -- why a kernel ended --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "before", "after", "says"),
    [
        (-9, Killed(3, 9), Killed(4, 10), "(out of memory: the system killed it, at 2.5 GB)"),
        (-9, Killed(3, 9), Killed(3, 10), "this machine ran out of memory meanwhile, so probably for that"),
        (-9, Killed(None, 9), Killed(None, 9), "not for want of memory, as far as this machine counts"),
        (-9, Killed(None, None), Killed(None, None), "this machine does not say which"),
        (-6, Killed(3, 9), Killed(4, 10), "(SIGABRT)"),
        (7, Killed(3, 9), Killed(3, 9), "(it exited with code 7)"),
        (None, Killed(3, 9), Killed(3, 9), ""),
    ],
)
def test_a_death_is_explained_as_far_as_the_machine_knows(
    status: int | None, before: Killed, after: Killed, says: str
) -> None:
    """Killed for want of memory, probably so, not so, or nobody knows: each is said as what it is."""
    assert says in deaths.cause(status, before, after, memory=2_500_000_000)


@pytest.mark.parametrize("version", [1, 2])
def test_the_counters_of_control_groups_are_read(tmp_path: Path, version: int) -> None:
    """Both versions of control groups, and the whole machine's."""
    proc, groups = tmp_path / "proc", tmp_path / "groups"
    (proc / "self").mkdir(parents=True)
    (proc / "vmstat").write_text("pgfault 12\noom_kill 5\n")
    if version == 2:
        (proc / "self" / "cgroup").write_text("0::/jobs/one\n")
        file = groups / "jobs" / "one" / "memory.events"
        text = "low 0\noom 3\noom_kill 2\n"
    else:
        (proc / "self" / "cgroup").write_text("7:cpu:/\n4:memory:/jobs/one\n")
        file = groups / "memory" / "jobs" / "one" / "memory.oom_control"
        text = "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"
    file.parent.mkdir(parents=True)
    file.write_text(text)

    assert deaths.killed(proc, groups) == Killed(2, 5)


@pytest.mark.slow
def test_a_kernel_that_does_not_answer_is_ended_and_started_again(tmp_path: Path) -> None:
    """One that stops itself, as one that hangs would, is noticed by its silence; the durable cell goes on."""
    stop = "if not pathlib.Path('once').exists():\n    pathlib.Path('once').touch()\n    os.kill(os.getpid(), signal.SIGSTOP)\n"
    path = notebook(tmp_path, LOAD + TOOLS, f"%%durable a\nask('q')\n{stop}ask('r')")
    told: list[str] = []

    report, _ = run(path, hang_after=4.0, tell=told.append)

    assert (report.status, report.restarts) == ("completed", 1)
    assert "(killed: it had not answered for" in told[0]
    assert calls(tmp_path) == ["ask q", "ask r"]


@pytest.mark.slow
def test_a_busy_kernel_is_not_taken_for_one_that_hangs(tmp_path: Path) -> None:
    """A cell that computes for longer than the limit, and lets no other thread of Python run, is left alone."""
    busy = (
        "import time\nend = time.monotonic() + 6\nwhile time.monotonic() < end:\n    sum(range(10_000_000))"
    )

    report, _ = run(notebook(tmp_path, busy), hang_after=3.0)

    assert (report.status, report.restarts) == ("completed", 0)


# -- cells that run twice ------------------------------------------------------------------------

DIE_ONCE = "import os, pathlib, signal\nif not pathlib.Path('died').exists():\n    pathlib.Path('died').touch(); os.kill(os.getpid(), 9)\n"


@pytest.mark.slow
def test_what_cells_did_outside_is_said_when_they_run_twice(tmp_path: Path) -> None:
    """A cell that wrote a file and started a process is named when a new kernel runs it again; a quiet one is not."""
    cells = (
        "x = 1",
        "open('out.csv', 'a').write('row\\n')\nimport subprocess; subprocess.run(['true'])",
        DIE_ONCE + "x += 1",
        "print(x)",
    )
    told: list[str] = []

    report, nb = run(notebook(tmp_path, *cells), tell=told.append)

    assert (report.status, report.restarts) == ("completed", 1)
    assert "cell 3 (import os, pathlib, signal) (SIGKILL" in told[0]
    assert "starting it again, and the cell from its beginning (1 of 5)" in told[0]
    (again,) = told[1:]
    assert again.startswith(
        "cell 2 (open('out.csv', 'a').write('row\\n')) runs again: it wrote out.csv, started true"
    )
    assert (tmp_path / "out.csv").read_text() == "row\n" * 2
    assert "seen" not in nb.metadata["jupyter_durable"], "who reads a finished notebook need not know"


@pytest.mark.slow
def test_a_cell_tagged_run_once_is_not_run_again(tmp_path: Path) -> None:
    """Not in the next kernel, nor by the next runner; outputs and execution counts are those of an undisturbed job."""
    cells = (
        "print('a')",
        "open('sent', 'a').write('x'); print('sent')",
        DIE_ONCE + "1",
        "assert os.path.exists('go')\n'end'",
    )
    tags = {2: "run-once"}

    failed, _ = run(notebook(tmp_path, *cells, tags=tags))
    (tmp_path / "go").touch()
    report, nb = run(tmp_path / "nb.ipynb")
    (tmp_path / "calm").mkdir()
    for name in ("died", "go"):
        (tmp_path / "calm" / name).touch()
    _, calm = run(notebook(tmp_path / "calm", *cells, tags=tags))

    assert (failed.status, report.status, report.resumed) == ("failed", "completed", True)
    assert (tmp_path / "sent").read_text() == "x"
    assert outputs(nb) == outputs(calm)


@pytest.mark.slow
def test_a_kernel_that_gets_no_further_is_given_time(tmp_path: Path) -> None:
    """At once the first time, later after a pause that grows; a stop does not wait for it."""
    path = notebook(tmp_path, "import os\nos._exit(3)")
    events: list[tuple[str, dict[str, Any]]] = []
    control = Control()

    def event(kind: str, **facts: Any) -> None:
        events.append((kind, facts))
        if kind == "died" and facts["times"] == 4:
            assert facts["again_in"] == 4.0
            control.stop()

    report, _ = run(path, event=event, control=control, max_restarts=9)

    died = [facts for kind, facts in events if kind == "died"]
    assert [facts["again_in"] for facts in died] == [0.0, 1.0, 2.0, 4.0]
    assert died[0]["cause"] == "it exited with code 3"
    assert report.status == "interrupted"


# -- what is said --------------------------------------------------------------------------------


@pytest.mark.slow
def test_events_are_lines_of_json_and_the_report_is_the_last(tmp_path: Path) -> None:
    """Programs read stdout line by line: the job, kernels, cells, steps, and how it ended; people read stderr."""
    gate = "while not os.path.exists('seen'): time.sleep(.02)"
    path = notebook(tmp_path, LOAD + TOOLS, f"%%durable a\nask('q')\n{gate}\nask('r')", "1")

    process = subprocess.Popen(command(path, "--json"), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    events = []
    for line in process.stdout:
        events.append(json.loads(line))
        if events[-1]["event"] == "steps" and events[-1]["done"] == 1:
            (tmp_path / "seen").touch()  # while it goes on, and not only at its end
    assert process.wait(60) == 0
    kinds = [event["event"] for event in events]
    assert kinds[0] == "job"
    assert kinds.count("cell") == kinds.count("done") == 3
    assert {event["done"] for event in events if event["event"] == "steps"} >= {1, 2}
    assert set(events[-1]) >= {
        "event",
        "job_id",
        "status",
        "exit_code",
        "output",
        "cells_done",
        "runs",
        "error",
    }
    assert (events[-1]["event"], events[-1]["status"]) == ("end", "completed")
    plain = subprocess.run(command(path, "--new"), capture_output=True, text=True, check=True, timeout=120)
    assert plain.stdout == ""
    assert [line.split(" (")[0] for line in plain.stderr.splitlines()[:-1]] == [
        "cell 1 of 3",
        "cell 2 of 3",
        "cell 3 of 3",
    ]
    quiet = subprocess.run(
        command(path, "--new", "-q"), capture_output=True, text=True, check=True, timeout=120
    )
    assert len(quiet.stderr.splitlines()) == 1


# -- one at a time -------------------------------------------------------------------------------


@pytest.mark.slow
def test_of_two_calls_at_the_same_moment_one_is_refused(tmp_path: Path) -> None:
    """Neither has written anything when the other looks, and still the notebook is run once."""
    path = notebook(
        tmp_path,
        LOAD,
        "open('began', 'a').write('x')\nwhile not os.path.exists('go'): time.sleep(.02)",
    )
    connect(str(tmp_path / "journal.db")).close()

    both = [subprocess.Popen(command(path), stderr=subprocess.PIPE, text=True) for _ in range(2)]
    while all(process.poll() is None for process in both):
        time.sleep(0.05)
    (tmp_path / "go").touch()
    said = sorted((process.wait(60), process.communicate()[1]) for process in both)

    assert [code for code, _ in said] == [0, 1]
    assert "this job is being run by jupyter durable run (pid" in said[1][1]
    assert (tmp_path / "began").read_text() == "x"


@pytest.mark.slow
def test_the_kernel_of_a_killed_runner_has_ended_before_another_begins(tmp_path: Path) -> None:
    """`kill -9` on the runner in a set-up cell, and the same command at once: the two kernels are never at it together."""
    loop = (
        "import os, time\nfor _ in range(60):\n    file = open('at', 'a'); print(os.getpid(), file=file); file.close()\n"
        "    time.sleep(.05)"
    )
    path = notebook(tmp_path, loop)
    first = subprocess.Popen(command(path), stderr=subprocess.DEVNULL)
    while not (tmp_path / "at").exists():
        assert first.poll() is None
        time.sleep(0.02)
    first.kill()
    first.wait()

    subprocess.run(command(path), check=True, capture_output=True, timeout=120)

    pids = (tmp_path / "at").read_text().split()
    turns = [pid for at, pid in enumerate(pids) if at == 0 or pids[at - 1] != pid]
    assert len(turns) == 2, turns


@pytest.mark.slow
def test_a_job_that_was_taken_away_is_left_at_once(tmp_path: Path) -> None:
    """A runner that was paused for longer than its lease, and taken over meanwhile, ends its kernel and writes nothing more."""
    path = notebook(
        tmp_path, "import time\nopen('began', 'w').close()\ntime.sleep(60)\nopen('never', 'w').close()"
    )
    store = connect(str(tmp_path / "journal.db"))
    reports: list[JobReport] = []
    thread = threading.Thread(target=lambda: reports.append(run(path)[0]))
    thread.start()
    while not (tmp_path / "began").exists():
        time.sleep(0.05)
    (job,) = store.jobs()

    with pytest.raises(LeaseHeldError):
        store.take_job(job.id, Owner("elsewhere", 1, 1.0), 30.0)
    store.leave_job(job, "cancelled", report={})

    thread.join(30)
    assert reports[0].status == "cancelled"
    assert not (tmp_path / "never").exists()
    store.close()


@pytest.mark.slow
def test_a_second_interrupt_ends_it_now(tmp_path: Path) -> None:
    """A cell that will not be interrupted is not waited for when the signal comes twice."""
    stubborn = "import time\nopen('began', 'w').close()\nwhile True:\n    try:\n        time.sleep(60)\n    except KeyboardInterrupt:\n        open('no', 'w').close()"
    path = notebook(tmp_path, stubborn)
    process = subprocess.Popen(command(path), stderr=subprocess.DEVNULL)
    for file in ("began", "no"):
        while not (tmp_path / file).exists():
            assert process.poll() is None
            time.sleep(0.05)
        if file == "began":
            process.send_signal(signal.SIGINT)
    started = time.monotonic()

    process.send_signal(signal.SIGINT)

    assert process.wait(30) == 130
    assert time.monotonic() - started < 8, "not the ten seconds of grace"
    assert not [p for p in psutil.process_iter(["cwd"]) if p.info["cwd"] == str(tmp_path)]


# -- waiting -------------------------------------------------------------------------------------

WAITS = "%%durable shop\nask('first')\nyes = await durable.ask('Buy it?', bool)\nask('last')\nyes"


@pytest.mark.slow
def test_a_job_that_waits_leaves_and_says_for_what(tmp_path: Path) -> None:
    """75, the run, what for and until when, as JSON; no kernel stays; answered, `resume` goes on by id or by path."""
    path = notebook(tmp_path, LOAD + TOOLS, WAITS, "print('end')")

    done = subprocess.run(
        command(path, "--json", "--park-after", "0.3"),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    report = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, report["status"], report["until"]) == (75, "waiting", None)
    assert report["for"] == "your answer to: Buy it?"
    assert "cell 2 waits for your answer to: Buy it?" in done.stderr
    assert not [p for p in psutil.process_iter(["cwd"]) if p.info["cwd"] == str(tmp_path)]
    with open_store(tmp_path / "journal.db") as store:
        job = store.journal.job(report["job_id"])
        assert (job.status, job.due_at, job.report["for"]) == ("waiting", None, report["for"])
        store.answer(report["run"], store.waits(report["run"])[0].key, True)
        assert store.journal.job(job.id).due_at is not None, "an answer wakes it"

    again = subprocess.run(
        [*command(Path(report["run"][:13]), verb="resume")[:5], "--store", str(tmp_path / "journal.db")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert again.returncode == 0, again.stderr
    nb = nbformat.read(tmp_path / "nb.out.ipynb", as_version=4)
    assert nb.cells[1].outputs[-1]["data"]["text/plain"] == "True"
    assert nb.cells[2].outputs[0]["text"] == "end\n"
    assert calls(tmp_path) == ["ask first", "ask last"]


@pytest.mark.slow
def test_a_short_timer_is_waited_for_and_a_long_one_says_when(tmp_path: Path) -> None:
    """Shorter than `park_after`: the kernel stays. Longer: parked at once, and due when the timer is."""
    path = notebook(tmp_path, LOAD, "%%durable t\nawait durable.sleep(1.5)\nawait durable.sleep(300)")
    started = time.time()

    report, _ = run(path, park_after=20.0)

    assert (report.status, report.exit_code) == ("waiting", 75)
    said = report.as_json()
    assert started + 290 < said["until"] < time.time() + 301
    assert said["for"] == "a timer"
    with open_store(tmp_path / "journal.db") as store:
        assert store.journal.job(report.job_id).due_at == said["until"]
    assert Path(report.output).exists()


@pytest.mark.slow
def test_a_run_begun_by_hand_goes_on_headless(tmp_path: Path) -> None:
    """Begun in a notebook whose kernel is gone: `resume NB` goes on with its cell alone, as the same run."""
    path = notebook(
        tmp_path,
        LOAD + TOOLS,
        "%%durable solo\nask('a')\nif not os.path.exists('go'): os.kill(os.getpid(), 9)\nask('b')",
    )
    lab = (
        "import jupyter_client, sys, os\n"
        "km = jupyter_client.KernelManager(); km.start_kernel(env={**os.environ, 'JPY_SESSION_NAME': sys.argv[1]})\n"
        "kc = km.client(); kc.start_channels(); kc.wait_for_ready()\n"
        "import nbformat\n"
        "for cell in nbformat.read(sys.argv[1], 4).cells: kc.execute(cell.source)\n"
        "import time\n"
        "while km.is_alive(): time.sleep(.1)\n"
    )
    store_url = str(tmp_path / "journal.db")
    env = {**os.environ, "JUPYTER_DURABLE_STORE": store_url}
    subprocess.run([sys.executable, "-c", lab, str(path)], cwd=tmp_path, env=env, check=True, timeout=120)
    (tmp_path / "go").touch()
    with open_store(store_url) as store:
        (before,) = store.runs(name="solo")
        assert before.status == "interrupted"

    done = subprocess.run(
        command(path, verb="resume"), cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )

    assert done.returncode == 0, done.stderr
    with open_store(store_url) as store:
        (after,) = store.runs(name="solo")
    assert (after.id, after.status) == (before.id, "completed")
    assert calls(tmp_path) == ["ask a", "ask b"]
    out = nbformat.read(tmp_path / "nb.solo.out.ipynb", as_version=4)
    assert "'answer to b'" in str(out.cells[1].outputs)
