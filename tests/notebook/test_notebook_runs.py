"""What was begun by hand in a notebook and left behind there: which of it a worker goes on with, and which it leaves alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kernels import Kernel

from jupyter_durable.headless import queue
from jupyter_durable.headless.resuming import id_of
from jupyter_durable.headless.worker import Worker
from jupyter_durable.journal.ports import JournalStore
from jupyter_durable.session import open_store
from jupyter_durable.store import connect

pytestmark = pytest.mark.slow

SET_UP = """%load_ext jupyter_durable
import os, time
import jupyter_durable as durable

@durable.tool
def ask(q):
    with open('calls', 'a') as file:
        print('ask', q, file=file)
    return f'answer to {q}'

def gate():
    print('at the gate', flush=True)
    while not os.path.exists('go'):
        time.sleep(.02)
"""
STOPS = "%%durable talk\na = ask('one')\ngate()\nb = ask('two')\n(a, b)"
WAITS = "%%durable talk --park-after 0\na = ask('one')\nx = await durable.wait_for('go')\nb = ask(x)\n(a, b)"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JournalStore]:
    """The store that notebook and worker share."""
    opened = connect(str(tmp_path / "journal.db"))
    yield opened
    opened.close()


@pytest.fixture
def notebook(tmp_path: Path, make_kernel: Callable[..., Kernel]) -> Callable[[], Kernel]:
    """A kernel of `nb.ipynb`, as JupyterLab starts it, in which the set-up has run."""

    def start() -> Kernel:
        kernel = make_kernel(tmp_path, env={"JPY_SESSION_NAME": str(tmp_path / "nb.ipynb")})
        kernel.check(SET_UP)
        return kernel

    return start


def calls(folder: Path) -> list[str]:
    """What was really called."""
    return [line.removeprefix("ask ") for line in (folder / "calls").read_text().splitlines()]


def command(folder: Path, verb: str, *words: str) -> list[str]:
    """`jupyter durable ...` on the store."""
    return [sys.executable, "-m", "jupyter_durable.cli", verb, *words, "--store", str(folder / "journal.db")]


def worker(folder: Path, *words: str) -> dict[str, int]:
    """A worker in a process of its own, until nothing is due; what it has done."""
    done = subprocess.run(
        command(folder, "worker", "--once", "--json", *words), capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])["done"]
    return found


def test_a_run_whose_kernel_died_goes_on_in_a_worker_that_was_told_so(
    tmp_path: Path, notebook: Callable[[], Kernel]
) -> None:
    """Only with --notebook-runs; at the step that was cut off; and the notebook has its result, and calls nothing."""
    kernel = notebook()
    cell = kernel.submit(STOPS)
    kernel.wait_for(cell, "at the gate")
    assert worker(tmp_path, "--notebook-runs") == {}, "its kernel is there"
    kernel.kill()
    (tmp_path / "go").touch()

    assert worker(tmp_path) == {}, "nobody said so"
    assert worker(tmp_path, "--notebook-runs") == {"completed": 1}

    assert calls(tmp_path) == ["one", "two"]
    reply = notebook().check(STOPS)
    assert reply.result == "('answer to one', 'answer to two')"
    assert calls(tmp_path) == ["one", "two"]
    assert worker(tmp_path, "--notebook-runs") == {}
    with open_store(tmp_path / "journal.db") as reader:
        (run,) = reader.runs()
        assert run.status == "completed"


@pytest.mark.parametrize("how", ["stop", "restart"])
def test_what_a_person_stopped_is_left_to_that_person(
    tmp_path: Path, store: JournalStore, notebook: Callable[[], Kernel], how: str
) -> None:
    """The Stop button, and a kernel that is shut down or restarted as servers do it: no worker goes on behind their back."""
    kernel = notebook()
    cell = kernel.submit(STOPS)
    kernel.wait_for(cell, "at the gate")
    if how == "stop":
        kernel.interrupt()
        kernel.wait(cell)
    else:
        kernel.manager.shutdown_kernel(now=False, restart=True)
    (tmp_path / "go").touch()

    assert Worker(store, notebook_runs=True).run(once=True) == {}

    assert [run.status for run in store.runs()] == ["interrupted"]
    assert calls(tmp_path) == ["one"]
    assert store.jobs() == []


def test_a_parked_run_goes_on_when_it_need_not_wait_any_more(
    tmp_path: Path, store: JournalStore, notebook: Callable[[], Kernel]
) -> None:
    """Two workers, a signal and a timer: each run goes on once, as soon as it may, whether its kernel is still there or not."""
    kernel = notebook()
    signalled = kernel.run(WAITS)
    timed = kernel.run("%%durable nap --park-after 0\nawait durable.sleep(2)\nask('three')")
    assert (signalled.ename, timed.ename) == ("RunParked", "RunParked")
    start = command(tmp_path, "worker", "--notebook-runs")
    both = [subprocess.Popen(start, stderr=subprocess.DEVNULL) for _ in range(2)]
    try:
        end = time.monotonic() + 100
        while not any(job.status == "completed" for job in store.jobs()):
            assert time.monotonic() < end
            time.sleep(0.05)
        assert calls(tmp_path) == ["one", "three"], "the timer came, the signal did not"
        with open_store(tmp_path / "journal.db") as reader:
            reader.signal("talk", "go", "two")
        jobs, ended = queue.wait(store, [], timeout=100)
    finally:
        for process in both:
            process.terminate()
        assert [process.wait(60) for process in both] == [0, 0]

    assert ended
    assert [job.status for job in jobs] == ["completed", "completed"]
    assert sorted(calls(tmp_path)) == ["one", "three", "two"]
    assert kernel.check(WAITS).result == "('answer to one', 'answer to two')"
    assert len(calls(tmp_path)) == 3


def test_only_what_running_the_cell_would_mean_goes_on(
    tmp_path: Path, store: JournalStore, notebook: Callable[[], Kernel]
) -> None:
    """A run that was left behind for a newer one stays where it is; one that came to its end in the notebook is over."""
    kernel = notebook()
    assert kernel.run(WAITS).ename == "RunParked"
    assert kernel.run(WAITS.replace("talk", "talk --new")).ename == "RunParked"
    newer, older = store.runs()
    at_work = Worker(store, notebook_runs=True)
    assert at_work.run(once=True) == {}
    assert [job.id for job in store.jobs()] == [id_of(newer)]
    with open_store(tmp_path / "journal.db") as reader:
        reader.signal(older.id, "go", "never")
        reader.signal(newer.id, "go", "two")
    assert kernel.check(WAITS).result == "('answer to one', 'answer to two')"

    assert at_work.run(once=True) == {}

    assert store.job(id_of(newer)).status == "completed", "it has come to its end elsewhere"
    assert calls(tmp_path) == ["one", "one", "two"]


def test_a_run_that_resume_has_parked_is_woken_by_what_comes_for_it(
    tmp_path: Path, store: JournalStore, make_kernel: Callable[..., Kernel]
) -> None:
    """`resume` makes a job of it, also where its notebook's folder is not: any worker goes on when the signal has come."""
    laptop = tmp_path / "laptop"
    laptop.mkdir()
    kernel = make_kernel(tmp_path, env={"JPY_SESSION_NAME": str(laptop / "nb.ipynb")}, cwd=laptop)
    kernel.check(SET_UP)
    assert kernel.run(WAITS).ename == "RunParked"
    kernel.close()
    assert calls(laptop) == ["one"]
    shutil.rmtree(laptop)
    resume = command(tmp_path, "resume", "talk", "--park-after", "0.2")
    done = subprocess.run(resume, capture_output=True, text=True, cwd=tmp_path, timeout=200)
    assert done.returncode == 75, done.stderr
    assert Worker(store).run(once=True) == {}
    with open_store(tmp_path / "journal.db") as reader:
        reader.signal("talk", "go", "two")

    assert Worker(store).run(once=True) == {"completed": 1}

    (run,) = store.runs()
    assert (run.status, store.job(id_of(run)).status) == ("completed", "completed")
    assert (tmp_path / "nb.talk.out.ipynb").exists()
    assert calls(tmp_path) == ["two"]
    assert not laptop.exists()
