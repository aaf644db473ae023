"""Jobs in a queue: what is submitted, who does it, what wakes it, and that nothing is done twice."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from jupyter_durable.errors import DurableError
from jupyter_durable.headless import queue
from jupyter_durable.headless.worker import Worker
from jupyter_durable.journal.ports import JournalStore
from jupyter_durable.model import JobRecord
from jupyter_durable.session import open_store
from jupyter_durable.store import connect

LOAD = """%load_ext jupyter_durable
import os, pathlib, signal, time
import jupyter_durable as durable

def line(text):
    file = os.open('calls', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, (text + chr(10)).encode())
    os.close(file)

@durable.tool
def ask(q):
    line(f'ask {q}')
    return f'answer to {q}'
"""


IDLE = 5.0  # seconds over which is measured what a worker without work uses


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JournalStore]:
    """The store beside the notebooks."""
    opened = connect(str(tmp_path / "journal.db"))
    yield opened
    opened.close()


def notebook(folder: Path, *sources: str, name: str = "nb.ipynb", parameters: str = "") -> Path:
    """A notebook of these code cells, after one with the defaults of its parameters."""
    cells = [new_code_cell(source) for source in ((parameters, *sources) if parameters else sources)]
    for number, cell in enumerate(cells, 1):
        cell.id = f"c{number}"
    if parameters:
        cells[0].metadata["tags"] = ["parameters"]
    path = folder / name
    nbformat.write(new_notebook(cells=cells), path)
    return path


def calls(folder: Path) -> list[str]:
    """The calls that were made, as a file outside says."""
    path = folder / "calls"
    return path.read_text().splitlines() if path.exists() else []


def cli(folder: Path, *words: str, ok: int = 0) -> str:
    """`jupyter durable ...` in a process of its own; its stdout."""
    done = subprocess.run(command(folder, *words), capture_output=True, text=True, timeout=280, cwd=folder)
    assert done.returncode == ok, (done.returncode, done.stdout, done.stderr)
    return done.stdout


def command(folder: Path, verb: str, *words: str) -> list[str]:
    """The same as a list."""
    return [sys.executable, "-m", "jupyter_durable.cli", verb, *words, "--store", str(folder / "journal.db")]


@contextmanager
def workers(folder: Path, count: int, *words: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Workers as processes; ended with the block."""
    start = command(folder, "worker", *words)
    found = [subprocess.Popen(start, stderr=subprocess.PIPE, text=True) for _ in range(count)]
    try:
        yield found
    finally:
        for process in found:
            process.terminate()
        for process in found:
            process.communicate(timeout=60)


def until(condition: Any, seconds: float = 120) -> None:
    """Return when it holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)


def looks(pid: int, store: Path) -> bool:
    """Whether a process has the store open."""
    return any(file.path == str(store) for file in psutil.Process(pid).open_files())


# -- the queue -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_many_are_submitted_done_and_read_as_a_table(tmp_path: Path) -> None:
    """A line of the file is a job, with a notebook of its own; `wait` waits; `jobs --csv` is the table."""
    notebook(
        tmp_path,
        LOAD,
        "%%durable a\nx = ask(city)",
        "x.upper() if n else 1 / 0",
        parameters="city = ''; n = 1",
    )
    (tmp_path / "cities.csv").write_text('city,n\nOslo,1\nRiga,0\n"New York, NY",3\n')

    said = json.loads(cli(tmp_path, "submit", "nb.ipynb", "--many", "cities.csv", "-o", "out", "--json"))
    assert len(said["jobs"]) == 3
    end = cli(tmp_path, "worker", "--once", "-c", "2", "--json").splitlines()[-1]
    assert json.loads(end) == {"event": "end", "done": {"completed": 2, "failed": 1}}
    waited = json.loads(cli(tmp_path, "wait", said["batch"], "--json", ok=1))
    table = list(csv.DictReader(io.StringIO(cli(tmp_path, "jobs", said["batch"][:13], "--csv"))))

    assert (waited["ended"], waited["completed"]) == (True, False)
    assert [row["status"] for row in waited["jobs"]] == ["completed", "failed", "completed"]
    assert [(row["city"], row["n"], row["status"], row["result"]) for row in table] == [
        ("Oslo", "1", "completed", "'ANSWER TO OSLO'"),
        ("Riga", "0", "failed", ""),
        ("New York, NY", "3", "completed", "'ANSWER TO NEW YORK, NY'"),
    ]
    assert table[1]["error"] == "ZeroDivisionError: division by zero"
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == [
        "0001.ipynb",
        "0002.ipynb",
        "0003.ipynb",
    ]
    assert sorted(calls(tmp_path)) == ["ask New York, NY", "ask Oslo", "ask Riga"]

    assert "1 job is in the queue again" in cli(tmp_path, "retry", "--failed", said["batch"])
    cli(tmp_path, "worker", "--once")
    assert len(calls(tmp_path)) == 3, "what it had completed is not done twice"


def test_what_cannot_be_submitted_is_said_and_nothing_is(tmp_path: Path, store: JournalStore) -> None:
    """A notebook that is none, parameters that are none, a file without lines; and parameters are not readable in the store."""
    path = notebook(tmp_path, "1")
    with pytest.raises(DurableError, match="cannot read"):
        queue.submit(store, tmp_path / "missing.ipynb")
    with pytest.raises(DurableError, match="no name of a variable"):
        queue.submit(store, path, many=[{"x": 1}, {"not a name": 2}])
    with pytest.raises(DurableError, match="no parameters"):
        queue.submit(store, path, many=[])
    (tmp_path / "bad.csv").write_text("a,b\n1,2,3\n")
    with pytest.raises(DurableError, match=r"line 2 of .* has more values"):
        queue.read_many(tmp_path / "bad.csv")
    for names, says in (
        ("a,a", "'a' stands twice"),
        ("a b,c", "'a b' is no name"),
        ("class,c", "'class' is no name"),
    ):
        (tmp_path / "bad.csv").write_text(f"{names}\n1,2\n")
        with pytest.raises(DurableError, match=f"{says}.* in the first line"):
            queue.read_many(tmp_path / "bad.csv")
    assert store.jobs() == []

    (job,) = queue.submit(store, path, parameters={"password": "hunter2-hunter2"})
    assert (
        b"hunter2" not in (tmp_path / "journal.db").read_bytes() + (tmp_path / "journal.db-wal").read_bytes()
    )
    (row,) = queue.table(store, [job])
    assert row["parameters"] == {"password": "•••"}


@pytest.mark.slow
def test_a_job_whose_notebook_is_gone_fails_and_others_go_on(tmp_path: Path, store: JournalStore) -> None:
    """What is wrong with one job is its report; the worker does the next."""
    gone = notebook(tmp_path, "1", name="gone.ipynb")
    queue.submit(store, gone, priority=1)
    queue.submit(store, notebook(tmp_path, "'fine'"))
    gone.unlink()

    done = Worker(store).run(once=True)

    assert done == {"failed": 1, "completed": 1}
    assert "cannot read" in str(store.jobs(status="failed")[0].report["error"])


@pytest.mark.slow
def test_limits_hold_across_workers(tmp_path: Path, store: JournalStore) -> None:
    """Three workers, six jobs of a key that allows two: never more than two at once."""
    together = (  # each stays until it has company: two at once there must be
        "line('in')\ndef inside(): return pathlib.Path('calls').read_text().split().count('in')\n"
        "mine = inside()\nwhile inside() < mine + mine % 2: time.sleep(.02)\nline('out')"
    )
    path = notebook(tmp_path, LOAD, together)
    queue.submit(store, path, many=[{"n": n} for n in range(6)], limits={"api": 2})

    with workers(tmp_path, 3, "-c", "2"):
        _, ended = queue.wait(store, [], timeout=200)

    assert ended
    level, most = 0, 0
    for word in calls(tmp_path):
        level += 1 if word == "in" else -1
        most = max(most, level)
    assert (most, level) == (2, 0)


@pytest.mark.slow
def test_a_job_is_cancelled_while_it_runs(tmp_path: Path, store: JournalStore) -> None:
    """From another process, within a moment; its kernel ends, its run is cancelled, and nobody takes it up."""
    path = notebook(
        tmp_path, LOAD, "%%durable a\nask('a')\nimport asyncio\nawait asyncio.sleep(60)\nask('never')"
    )
    (job,) = queue.submit(store, path)
    with workers(tmp_path, 1):
        until(lambda: calls(tmp_path))

        assert "1 job is cancelled" in cli(tmp_path, "cancel", job.id[:13])

        until(lambda: not [p for p in psutil.process_iter(["cwd"]) if p.info["cwd"] == str(tmp_path)], 30)
    assert Worker(store).run(once=True) == {}
    assert store.job(job.id).status == "cancelled"
    assert [run.status for run in store.runs(job_id=job.id)] == ["cancelled"]
    assert calls(tmp_path) == ["ask a"]


# -- park and wake -------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_worker_goes_on_when_a_timer_a_signal_or_an_answer_has_come(
    tmp_path: Path, store: JournalStore
) -> None:
    """Each is parked, no kernel stays, and each is taken up when its time has come, and not before."""
    sources = {
        "timer": "%%durable timer\nask('t1')\nawait durable.sleep(2)\nask('t2')",
        "go": "%%durable go\nask('s1')\nx = await durable.wait_for('go')\nask(f's2 {x}')",
        "person": "%%durable person\nask('p1')\nx = await durable.ask('Well?', bool)\nask(f'p2 {x}')",
    }
    for name, source in sources.items():
        queue.submit(
            store,
            notebook(tmp_path, LOAD, source, name=f"{name}.ipynb"),
            options=queue.Options(park_after=0.2),
        )
    with workers(tmp_path, 2):
        until(lambda: all(f"ask {c}1" in calls(tmp_path) for c in "tsp"))
        until(lambda: not store.jobs(status="running"))
        with open_store(tmp_path / "journal.db") as reader:
            (go,) = store.jobs(notebook=str(tmp_path / "go.ipynb"))
            reader.signal("go", "other", 1)
            until(
                lambda: store.job(go.id).generation > go.generation
            )  # somebody has been woken, and has looked
            until(lambda: store.job(go.id).owner is None)
            assert store.job(go.id).status == "waiting"
            assert "ask s2 7" not in calls(tmp_path)
            reader.signal("go", "go", 7)
            reader.answer("person", reader.waits("person")[0].key, True)
        _, ended = queue.wait(store, [], timeout=200)

    assert ended
    assert Counter(calls(tmp_path)) == Counter(
        ["ask t1", "ask t2", "ask s1", "ask s2 7", "ask p1", "ask p2 True"]
    )
    assert {job.status for job in store.jobs()} == {"completed"}


@pytest.mark.slow
def test_a_worker_leaves_a_run_alone_that_goes_on_in_a_notebook(tmp_path: Path, store: JournalStore) -> None:
    """Parked headless and taken up elsewhere: a worker that is woken looks again later, and the run has one writer."""
    path = notebook(tmp_path, LOAD, "%%durable both\nawait durable.wait_for('go')\nask('end')")
    (job,) = queue.submit(store, path, options=queue.Options(park_after=0.2))
    assert Worker(store).run(once=True) == {"waiting": 1}
    (run,) = store.runs(job_id=job.id)
    hold = (
        "from jupyter_durable.session import Session\nfrom jupyter_durable.store import connect\nimport sys\n"
    )
    hold += "s = connect(sys.argv[1]); live = Session(s, label='somebody else').resume(s.run(sys.argv[2]))\nprint('held', flush=True)\nsys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path / "journal.db"), run.id],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    with open_store(tmp_path / "journal.db") as reader:
        reader.signal(run.id, "go")

    assert Worker(store).run(once=True) == {}, "it is in good hands"
    assert store.job(job.id).status == "waiting"
    other.communicate("")
    with workers(tmp_path, 1):
        _, ended = queue.wait(store, [], timeout=100)

    assert ended
    assert calls(tmp_path) == ["ask end"]


@pytest.mark.slow
def test_a_worker_that_is_told_to_stop_leaves_its_jobs_to_others(tmp_path: Path, store: JournalStore) -> None:
    """SIGTERM interrupts, saves and gives back; the next worker goes on at the step that was cut off."""
    path = notebook(
        tmp_path, LOAD, "%%durable a\nask('a')\nwhile not os.path.exists('go'): time.sleep(.05)\nask('b')"
    )
    (job,) = queue.submit(store, path)
    with workers(tmp_path, 1) as (first,):
        until(lambda: calls(tmp_path))
        first.terminate()
        assert first.wait(60) == 0
    left = store.job(job.id)
    assert (left.status, left.owner, left.due_at is not None) == ("interrupted", None, True)
    (tmp_path / "go").touch()

    assert Worker(store).run(once=True) == {"completed": 1}
    assert calls(tmp_path) == ["ask a", "ask b"]


# -- nothing twice -------------------------------------------------------------------------------

STEPS = "%%durable agent\nimport asyncio\nfor k in range(3):\n    ask(f'{n}.{k}')\nawait asyncio.gather(*(asyncio.to_thread(ask, f'{n}.g{k}') for k in range(2)))\nn"


def storm(folder: Path, store: JournalStore, jobs: int, count: int, kills: int, seed: int) -> dict[str, Any]:
    """Submit `jobs`, do them with `count` workers, kill `kills` of these at random; what there is to be said about it."""
    rng = random.Random(seed)
    path = notebook(folder, LOAD, STEPS, parameters="n = 0")
    queue.submit(store, path, many=[{"n": n} for n in range(jobs)])
    started = time.monotonic()
    start = command(folder, "worker", "-c", "2", "--json")
    found = [
        subprocess.Popen(start, stdout=(folder / f"w{n}").open("w"), stderr=subprocess.DEVNULL)
        for n in range(count)
    ]
    used, killed = count, 0
    peaks: list[JobRecord] = []
    while True:
        peaks = store.jobs()
        ended = sum(job.status == "completed" for job in peaks)
        if ended == jobs:
            break
        assert time.monotonic() - started < 60 + 20 * jobs
        if killed < kills and ended >= (killed + 1) * jobs // (kills + 1):
            victim = rng.randrange(count)
            found[victim].send_signal(signal.SIGKILL)
            found[victim].wait()
            found[victim] = subprocess.Popen(
                start, stdout=(folder / f"w{used}").open("w"), stderr=subprocess.DEVNULL
            )
            used, killed = used + 1, killed + 1
        time.sleep(0.1)
    seconds = time.monotonic() - started
    for process in found:
        process.terminate()
    for process in found:
        process.wait(60)
    events = [
        json.loads(text)
        for n in range(used)
        for text in (folder / f"w{n}").read_text().splitlines()
        if text.endswith("}")
    ]
    waits = sorted(e["late"] for e in events if e["event"] == "began" and e["resumed"])
    return {
        "seconds": seconds,
        "per_minute": 60 * jobs / seconds,
        "killed": killed,
        "events": events,
        "waits": waits,
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("jobs", "count", "kills"),
    [
        pytest.param(12, 3, 2, id="some"),
        pytest.param(
            500,
            4,
            12,
            id="many",
            marks=pytest.mark.skipif(
                "JUPYTER_DURABLE_FULL" not in os.environ,
                reason="a quarter of an hour: JUPYTER_DURABLE_FULL=1",
            ),
        ),
    ],
)
@pytest.mark.timeout(3600)
def test_whoever_is_killed_all_jobs_end_and_none_twice(
    tmp_path: Path, store: JournalStore, jobs: int, count: int, kills: int
) -> None:
    """Workers die at random: every job completes, every call is made once, but for those a worker died in."""
    seen = storm(tmp_path, store, jobs, count, kills, seed=7)

    made = Counter(calls(tmp_path))
    wanted = {f"ask {n}.{k}" for n in range(jobs) for k in (0, 1, 2, "g0", "g1")}
    assert set(made) == wanted
    assert seen["killed"] == kills
    ended = Counter(event["job"] for event in seen["events"] if event["event"] == "ended")
    assert max(ended.values()) == 1, "no job is done by two of them"
    # A call that was cut off is made again, and a worker that is killed cuts off what its two kernels are at.
    assert sum(made.values()) - len(wanted) <= kills * 2 * 2
    assert {job.status for job in store.jobs()} == {"completed"}
    assert len({job.output for job in store.jobs()}) == jobs
    for job in store.jobs():
        nb = nbformat.read(job.output, as_version=4)
        assert nb.cells[-1].outputs[-1].data["text/plain"] == str(nb.cells[1].source.split()[-1])
    assert store.verify() == []
    print({k: v for k, v in seen.items() if k not in ("events", "waits")})


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 10])
def test_however_many_workers_look_one_gets_it(tmp_path: Path, store: JournalStore, count: int) -> None:
    """One due job, and workers that look all the time: one kernel runs its cell, once."""
    path = notebook(tmp_path, LOAD, "line(f'began in {os.getpid()}')")
    with workers(tmp_path, count) as there:
        until(lambda: all(looks(process.pid, tmp_path / "journal.db") for process in there), 240)
        for n in range(2):
            queue.submit(store, path, output=tmp_path / f"out{n}.ipynb")
        _, ended = queue.wait(store, [], timeout=150)

    assert ended
    assert len(calls(tmp_path)) == 2


@pytest.mark.slow
def test_a_worker_without_work_costs_nothing_and_a_due_job_begins_at_once(
    tmp_path: Path, store: JournalStore
) -> None:
    """10,000 parked jobs are rows; an idle worker uses less than half a percent of a core; one that is due begins within a second."""
    path = notebook(tmp_path, "1")
    now = time.time()
    parked = [
        JobRecord(
            f"p{n}",
            str(path),
            f"/o/{n}.ipynb",
            now,
            now,
            status="waiting",
            due_at=now + 9000 + n % 7 if n % 2 else None,
        )
        for n in range(10_000)
    ]
    store.put_jobs(parked)
    began: list[float] = []
    worker = Worker(store, event=lambda kind, **facts: began.append(time.time()) if kind == "began" else None)
    thread = threading.Thread(target=worker.run)
    thread.start()
    until(lambda: worker._looked > 0)
    at = thread.native_id
    process = psutil.Process()
    before = next(t for t in process.threads() if t.id == at)
    time.sleep(IDLE)
    after = next(t for t in process.threads() if t.id == at)

    queue.submit(store, path)
    submitted = time.time()
    until(lambda: began, 30)
    worker.stop()
    worker.stop()
    thread.join(60)

    busy = (after.user_time + after.system_time - before.user_time - before.system_time) / IDLE
    assert busy < 0.02, busy  # of which clock ticks of 10 ms are most: see tests/bench
    assert began[0] - submitted < 2.0
