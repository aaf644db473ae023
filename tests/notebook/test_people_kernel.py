"""People in the loop where they meet it: real kernels whose cells wait, decided on from another process."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from kernels import Kernel, KernelDied, Reply

from jupyter_durable.headless.job import open_job
from jupyter_durable.headless.runner import run_job
from jupyter_durable.model import WaitInfo
from jupyter_durable.session import open_store

MakeKernel = Callable[..., Kernel]

TOOLS = """\
import asyncio, pathlib, jupyter_durable as durable
def trace(line):
    with open("calls.txt", "a") as file:
        file.write(line + "\\n")
@durable.tool(approval=True)
def send(to):
    trace(f"send {to}")
    return f"sent to {to}"
@durable.tool
async def work(n):
    trace(f"work {n}")
    return n
"""
SYNC = """\
%%durable people
colour = durable.ask("Which colour?", str)
try:
    sent = send("ann")
except durable.ApprovalRejected as error:
    sent = f"rejected: {error.args[0]}"
durable.sleep(0.2)
(colour, sent, durable.wait_for("go", int))"""
ASYNC = """\
%%durable people
async def others():
    return [await work(n) for n in range(3)]
async def mail():
    try:
        return await asyncio.to_thread(send, "ann")
    except durable.ApprovalRejected as error:
        return f"rejected: {error.args[0]}"
colour, numbers = await asyncio.gather(durable.ask("Which colour?", str), others())
sent = await mail()
await durable.sleep(0.2)
(colour, sent, await durable.wait_for("go", int))"""
CELLS = {"sync": SYNC, "async": ASYNC}


def ready(make: MakeKernel, directory: Path, **env: str | None) -> Kernel:
    """A kernel with the extension and the tools."""
    how = {"JPY_SESSION_NAME": str(directory / "nb.ipynb"), **env}
    kernel = make(directory, env=how)
    kernel.check("%load_ext jupyter_durable")
    kernel.check(TOOLS)
    return kernel


def calls(directory: Path) -> list[str]:
    """What was really called."""
    file = directory / "calls.txt"
    return file.read_text().splitlines() if file.exists() else []


def waits(kernel: Kernel, kind: str, name: str = "people", seconds: float = 30.0) -> WaitInfo:
    """What the run waits for, once it is of that kind, seen from this process."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with open_store(kernel.store) as store:
            if store.runs(name=name):
                found = [w for w in store.waits(name) if w.kind == kind and not w.ready]
                if found and store.run(name).status == "waiting":
                    return found[0]
        time.sleep(0.05)
    raise AssertionError(f"nothing of kind {kind} waits")


def command(kernel: Kernel, *words: str, fails: bool = False) -> str:
    """`jupyter durable ...` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "jupyter_durable.cli", *words], env=kernel.env, capture_output=True, text=True
    )
    assert (done.returncode != 0) is fails, done.stdout + done.stderr
    return done.stdout + done.stderr


def said(reply: Reply) -> str:
    """The lines below a cell."""
    return "\n".join(d["data"].get("text/plain", "") for d in reply.displays)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("how", ["approve", "reject", "edit"])
def test_a_cell_waits_and_is_decided_on_from_another_process(
    python: str, make_kernel: MakeKernel, tmp_path: Path, kind: str, how: str
) -> None:
    """A question, an approval, a timer and a signal: in a cell that awaits, and in one that blocks the kernel."""
    kernel = make_kernel(tmp_path, python=python, env={"JPY_SESSION_NAME": str(tmp_path / "nb.ipynb")})
    kernel.check("%load_ext jupyter_durable")
    kernel.check(TOOLS)
    reply = kernel.submit(CELLS[kind])

    ask = waits(kernel, "ask")
    assert ask.prompt == "Which colour?"
    assert "Which colour?" in command(kernel, "waits")
    command(kernel, "answer", "people", ask.step or "", "blue")
    assert "decided already" in command(kernel, "answer", "people", ask.key, "red", fails=True)
    approval = waits(kernel, "approval")
    assert (approval.name, approval.call) == ("send", "send('ann')")
    assert "send" not in str(calls(tmp_path))
    if how == "approve":
        command(kernel, "approve", "people", "send")
    elif how == "reject":
        command(kernel, "reject", "people", "send", "not today")
    else:
        wrong = command(kernel, "approve", "people", "send", "--arguments", '{"who": "bob"}', fails=True)
        assert "who" in wrong
        command(kernel, "approve", "people", "send", "--arguments", '{"to": "bob"}')
    waits(kernel, "signal")
    command(kernel, "signal", "people", "go", "7")
    result = kernel.wait(reply, 30).check().result

    sent = {"approve": "sent to ann", "reject": "rejected: not today", "edit": "sent to bob"}[how]
    assert result == f"('blue', '{sent}', 7)"
    made = [call for call in calls(tmp_path) if call.startswith("send")]
    assert made == ([] if how == "reject" else [f"send {'bob' if how == 'edit' else 'ann'}"])
    if kind == "async":
        assert calls(tmp_path)[:3] == ["work 0", "work 1", "work 2"], "others went on while it waited"
    assert "answer in a terminal" in said(reply)
    assert "jupyter durable approve" in said(reply)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_killed_while_it_waits_and_decided_meanwhile(
    make_kernel: MakeKernel, tmp_path: Path, kind: str
) -> None:
    """The decision is found when the cell is run again, in a fresh kernel that ran only that."""
    kernel = ready(make_kernel, tmp_path)
    kernel.submit(CELLS[kind])
    waits(kernel, "ask")
    kernel.kill()
    command(kernel, "answer", "people", "ask", "green")
    command(kernel, "signal", "people", "go", "1")

    second = make_kernel(tmp_path, env={"JPY_SESSION_NAME": str(tmp_path / "nb.ipynb")})
    second.check("%load_ext jupyter_durable")
    plan = said(second.check("%durable plan people"))
    assert "waits for your answer to: Which colour?" in plan
    second.submit(CELLS[kind])
    approval = waits(second, "approval")
    second.kill()
    command(second, "approve", "people", approval.key)

    third = make_kernel(tmp_path, env={"JPY_SESSION_NAME": str(tmp_path / "nb.ipynb")})
    third.check("%load_ext jupyter_durable")
    assert third.check(CELLS[kind], timeout=60).result == "('green', 'sent to ann', 1)"
    assert [call for call in calls(tmp_path) if call.startswith("send")] == ["send ann"]


@pytest.mark.slow
@pytest.mark.parametrize("point", ["before-wait", "after-wait", "before-start", "after-start"])
def test_killed_between_decision_and_start(make_kernel: MakeKernel, tmp_path: Path, point: str) -> None:
    """SIGKILL: nothing is lost, nothing is consumed twice, and nobody is asked again."""
    cell = "%%durable people\n[send('a'), send('b')]"
    env = {"JPY_SESSION_NAME": None}
    parked = ready(make_kernel, tmp_path, **env)
    assert parked.run(cell).ename == "RunParked"
    command(parked, "approve", "people", "1.0")
    dying = ready(make_kernel, tmp_path, **env, JUPYTER_DURABLE_CRASH_AT=f"{point}:1")
    with pytest.raises(KernelDied):
        dying.run(cell)
    fresh = ready(make_kernel, tmp_path, **env)
    assert fresh.run(cell).ename == "RunParked"
    assert calls(tmp_path) == ["send a"]
    command(fresh, "approve", "people", "1.1")
    assert fresh.check(cell).result == "['sent to a', 'sent to b']"
    assert calls(tmp_path) == ["send a", "send b"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "cell", ["durable.ask('?')", "await durable.ask('?')", "durable.sleep(600)", "send('x')"]
)
def test_a_wait_is_interrupted_at_once(make_kernel: MakeKernel, tmp_path: Path, cell: str) -> None:
    """By the Stop button; the run is interrupted, and goes on waiting when it is resumed."""
    kernel = ready(make_kernel, tmp_path)
    best = 9.0
    for n in range(3):
        reply = kernel.submit(f"%%durable stop{n}\n{cell}")
        end = time.monotonic() + 30
        while time.monotonic() < end:
            with open_store(kernel.store) as store:
                if store.runs(name=f"stop{n}") and store.waits(f"stop{n}"):
                    break
            time.sleep(0.05)
        time.sleep(0.2)
        began = time.monotonic()
        kernel.interrupt()
        kernel.wait(reply, 30)
        best = min(best, time.monotonic() - began)
        assert reply.ename in ("KeyboardInterrupt", "CancelledError")
        with open_store(kernel.store) as store:
            assert store.run(f"stop{n}").status == "interrupted"
            assert [w.ready for w in store.waits(f"stop{n}")] == [False]
    assert best < 0.5


@pytest.mark.slow
def test_magics_decide_about_parked_runs(make_kernel: MakeKernel, tmp_path: Path) -> None:
    """What `%durable` says and takes, in the kernel that the run left free."""
    kernel = ready(make_kernel, tmp_path)
    cell = (
        "%%durable people --park-after 0.3 --approve 'wo*'\n"
        "a = await durable.ask('Which?', dict)\nb = await work(1)\nc = await durable.wait_for('go')\n(a, b, c)"
    )
    parked = kernel.run(cell)
    assert parked.ename == "RunParked"
    assert "is parked" in said(parked)
    shown = said(kernel.check("%durable show people"))
    assert "waits for your answer to: Which?" in shown
    assert "%durable answer" in shown
    assert "1.0" in said(kernel.check("%durable waits"))
    kernel.check('%durable answer people 1.0 {"x": [1, 2]}')
    assert kernel.run(cell).ename == "RunParked"
    refused = kernel.run("%durable answer people 1.1 3")
    assert "does not end" in refused.traceback
    kernel.check("%durable approve people work --arguments {'n': 5}")
    assert kernel.run(cell).ename == "RunParked"
    kernel.check('%durable signal people go "text"')
    assert kernel.check(cell).result == "({'x': [1, 2]}, 5, 'text')"
    assert calls(tmp_path) == ["work 5"]
    assert "changed" in said(kernel.check("%durable show people 1.1"))
    assert "AlreadyDecidedError" in kernel.run("%durable reject people 1.1 no").traceback


@pytest.mark.slow
def test_a_job_parks_and_goes_on_when_somebody_has_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 75 with the reason; a short timer is waited for; called again after the decision, it finishes."""
    import nbformat

    monkeypatch.chdir(tmp_path)
    cells = (
        "%load_ext jupyter_durable",
        TOOLS,
        "%%durable people\nawait durable.sleep(0.5)\nx = send('ann')\nx",
    )
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    nbformat.write(book, tmp_path / "nb.ipynb")
    url = str(tmp_path / "journal.db")
    monkeypatch.setenv("JUPYTER_DURABLE_STORE", url)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2] / "src"))
    report = run_job(open_job(tmp_path / "nb.ipynb", store=url), park_after=2.0)
    assert (report.status, report.exit_code) == ("waiting", 75)
    assert "approval of step 1.1 send" in str(report)
    with open_store(url) as store:
        (wait,) = store.waits()
        store.approve(wait.run, wait.key)
        assert store.waits()[0].ready
    done = run_job(open_job(tmp_path / "nb.ipynb", store=url))
    assert (done.status, done.exit_code) == ("completed", 0)
    assert calls(tmp_path) == ["send ann"]
