"""Durable cells that are stopped in real kernels: interrupted, cancelled from outside, taken over, waiting for a person."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from kernel_agents import TOOLS, MakeKernel, calls, counts, lines, moved_to, ready, said, until
from kernels import Kernel, KernelDied


@pytest.fixture
def kernel(shared: Kernel, tmp_path: Path) -> Kernel:
    """The shared kernel, in the test's own folder and store."""
    return moved_to(shared, tmp_path)


# -- interrupts ------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("step", ["await fetch('x', 60)", "crunch(7, 60)"], ids=["awaiting", "blocking"])
def test_interrupt_and_resume(kernel: Kernel, tmp_path: Path, step: str) -> None:
    """The cell ends at once, its run is interrupted, and goes on with the step that was cut off."""
    cell = f"%%durable slow\nx = ask('q')\n{step}"
    running = kernel.submit(cell)
    until(kernel, running, lambda: len(calls(tmp_path)) == 2)
    before = time.monotonic()
    kernel.interrupt()
    reply = kernel.wait(running, 20)
    assert time.monotonic() - before < 10, "not the minute that the step takes (`test_interrupt` is strict)"
    assert not reply.ok
    assert lines(reply)[-1] == "■ slow interrupted: 2 executed; run the cell again to resume it"
    status = "durable.open_store().runs(name='slow')[0].status"
    assert kernel.check(status).result == "'interrupted'"

    again = kernel.submit(cell)
    until(kernel, again, lambda: len(calls(tmp_path)) == 3)
    kernel.interrupt()
    kernel.wait(again, 20)
    assert lines(again)[0].startswith("↻ resuming slow: 1 of 2 steps replayed, 1 in doubt, continues at")
    assert counts(tmp_path)["ask q"] == 1


def test_tasks_that_outlive_the_cell(kernel: Kernel, tmp_path: Path) -> None:
    """The run closes with the cell; a tool call of a task left behind raises, and calls nothing."""
    kernel.check(
        "%%durable early\nasync def later():\n    await asyncio.sleep(.1)\n    return await fetch('late')\n"
        "task = asyncio.create_task(later())\nask('q')"
    )
    late = kernel.run("await task")
    assert late.ename == "RunClosedError"
    assert calls(tmp_path) == ["ask q"]
    assert kernel.check("await fetch('outside')").result == "'page outside'"


# -- waiting for a person --------------------------------------------------------------------------------


MAIL = "%%durable mail\nask('who')\ntold = send('you')\ntold"
DECIDE = "import sys, jupyter_durable as d\ns = d.open_store(); r = s.runs(name='mail')[0]; {}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("decision", "sent", "result"),
    [
        ("s.retry(r.id, '1.1')", 2, "'sent to you'"),
        ("s.supply(r.id, '1.1', 'by hand')", 1, "'by hand'"),
        ("s.fail(r.id, '1.1', 'no such person')", 1, None),
    ],
    ids=["retry", "supply", "fail"],
)
def test_an_unsafe_step_in_doubt_waits_for_a_person(
    make_kernel: MakeKernel, tmp_path: Path, decision: str, sent: int, result: str | None
) -> None:
    """Cut off, it is not made again: the cell says what to decide and waits; another process decides."""
    dying = ready(make_kernel, tmp_path, TOOLS, JUPYTER_DURABLE_CRASH_AT="after-call:2")
    with pytest.raises(KernelDied):
        dying.run(MAIL)
    assert counts(tmp_path) == {"ask who": 1, "send you": 1}

    fresh = ready(make_kernel, tmp_path)
    waiting = fresh.submit(MAIL)
    until(fresh, waiting, lambda: "run the cell again" in said(waiting))
    assert counts(tmp_path) == {"ask who": 1, "send you": 1}
    assert "the run waits" in said(waiting)
    assert "jupyter durable supply" in said(waiting)
    subprocess.run([sys.executable, "-c", DECIDE.format(decision)], env=fresh.env, check=True)
    reply = fresh.wait(waiting, 30)

    assert counts(tmp_path) == {"ask who": 1, "send you": sent}
    if result is None:
        assert "no such person" in reply.traceback
        assert not reply.ok
    else:
        assert reply.check().result == result


@pytest.mark.slow
def test_where_nobody_watches_the_run_parks(make_kernel: MakeKernel, tmp_path: Path) -> None:
    """The cell ends quietly, as parked, and later cells do not run; decided on, it goes on."""
    env = {"JPY_SESSION_NAME": None, "JUPYTER_DURABLE_NOTEBOOK": str(tmp_path / "nb.ipynb")}
    dying = ready(make_kernel, tmp_path, TOOLS, **env, JUPYTER_DURABLE_CRASH_AT="after-call:2")
    with pytest.raises(KernelDied):
        dying.run(MAIL)
    fresh = ready(make_kernel, tmp_path, **env)

    parked = fresh.run(MAIL)

    assert (parked.status, parked.ename) == ("error", "RunParked")
    assert parked.tracebacks == []
    assert lines(parked)[-1].startswith("⏸ mail is parked")
    assert "jupyter durable retry" in lines(parked)[-1]
    store = "import jupyter_durable as durable\ndurable.open_store().runs(name='mail')[0].status"
    assert fresh.check(store).result == "'waiting'"
    fresh.check("%durable supply mail 1.1 'by ' + 'hand'")
    assert fresh.check(MAIL).result == "'by hand'"
    assert counts(tmp_path) == {"ask who": 1, "send you": 1}


@pytest.mark.slow
def test_a_parked_run_inside_a_task_group(make_kernel: MakeKernel, tmp_path: Path) -> None:
    """`RunParked` in a task reaches the front end as what it is, not as a group of exceptions."""
    env = {"JPY_SESSION_NAME": None}
    tools = (
        TOOLS + "\n@durable.tool(effect='unsafe')\nasync def post(x):\n    trace(f'post {x}')\n    return x\n"
    )
    cell = "%%durable group\nasync with asyncio.TaskGroup() as group:\n    t = [group.create_task(post(n)) for n in range(2)]\n[x.result() for x in t]"
    dying = ready(make_kernel, tmp_path, tools, **env, JUPYTER_DURABLE_CRASH_AT="after-call:1")
    with pytest.raises(KernelDied):
        dying.run(cell)

    parked = ready(make_kernel, tmp_path, **env).run(cell)

    assert (parked.status, parked.ename) == ("error", "RunParked")
    assert parked.tracebacks == []


# -- from outside ----------------------------------------------------------------------------------------


STEAL = """
import sys
from jupyter_durable.clock import SystemClock
from jupyter_durable.model import Owner
from jupyter_durable.store import connect
class Later(SystemClock):
    def now(self): return super().now() + 3600
store = connect(sys.argv[1], clock=Later())
store.acquire(store.runs(name="held")[0].id, Owner("elsewhere", 1, 1.0, "another machine"), 60)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["await fetch('x', 60)", "while not os.path.exists('go'): time.sleep(.02)"])
def test_a_holder_whose_lease_was_taken_over_can_write_nothing(
    kernel: Kernel, tmp_path: Path, how: str
) -> None:
    """The lease expired while the kernel slept, and another process took it: no further call is made or recorded."""
    kernel.check("import os, time")
    running = kernel.submit(f"%%durable held\nask('one')\n{how}\nask('two')\nask('three')")
    until(
        kernel,
        running,
        lambda: "ask one" in calls(tmp_path) and (how[0] == "w" or "fetch x" in calls(tmp_path)),
    )
    command = [sys.executable, "-c", STEAL, str(tmp_path / "journal.db")]
    subprocess.run(command, check=True, env=kernel.env)
    (tmp_path / "go").touch()
    if how[0] == "a":
        kernel.interrupt()

    reply = kernel.wait(running, 30)

    assert not reply.ok
    assert "ask two" not in calls(tmp_path)
    if how[0] == "w":
        assert "another machine" in said(reply)
        assert reply.ename == "LeaseLost"
        assert reply.tracebacks == []
    entries = "[(s.name, s.status) for s in durable.open_store().steps(durable.open_store().runs(name='held')[0].id)]"
    found = kernel.check(entries).result or ""
    assert "two" not in found
    assert kernel.check("durable.open_store().runs(name='held')[0].status").result == "'running'"


@pytest.mark.slow
def test_cancelled_from_outside(make_kernel: MakeKernel, tmp_path: Path) -> None:
    """A run cancelled by another process ends its cell at once; nothing resumes it, and a new run says so."""
    kernel = ready(make_kernel, tmp_path, TOOLS)
    cell = "%%durable long\nask('q')\nawait fetch('x', 60)"
    running = kernel.submit(cell)
    until(kernel, running, lambda: "fetch x" in calls(tmp_path))
    code = "import jupyter_durable as d; s = d.open_store(); s.cancel(s.runs(name='long')[0].id, by='me')"
    subprocess.run([sys.executable, "-c", code], env=kernel.env, check=True)
    reply = kernel.wait(running, 20)
    assert not reply.ok
    assert "long was cancelled by me" in said(reply)
    assert not reply.tracebacks
    again = kernel.submit(cell)
    until(kernel, again, lambda: calls(tmp_path).count("fetch x") == 2)
    kernel.interrupt()
    kernel.wait(again)
    assert "was cancelled" in lines(again)[0]
    assert counts(tmp_path)["ask q"] == 2
