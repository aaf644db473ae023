"""An interrupt ends a durable cell at once, whatever the cell is doing."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pytest
from kernels import Kernel, KernelDied, Reply

HOST = """
import asyncio, signal, threading, time, concurrent.futures
from jupyter_durable.kernel import bracket

ended = []

class Host:
    def begin(self, header, cell): pass
    def finish(self, cell, result, error): ended.append(type(error).__name__)
    def replace_error(self, cell, error): return None

uninstall = bracket.install(get_ipython(), Host())
async def nap(): await asyncio.sleep(20)
async def block(): time.sleep(20)
def handler(): return signal.getsignal(signal.SIGINT)
"""
BOUND = 0.5  # seconds; the promise is 0.2, and the machine may be busy
TRIES = 5  # the quickest counts: what must not be waited for takes longer than the bound every time


@pytest.fixture(scope="module", autouse=True)
def installed(kernel: Kernel) -> None:
    """A host that notes how each cell ended."""
    kernel.check(HOST)


def interrupt(kernel: Kernel, body: str) -> tuple[float, Reply]:
    """Run a durable cell, interrupt it in the middle of `body`: seconds until it ended, and the reply."""
    reply = kernel.submit(f"%%durable\nprint('go', flush=True)\n{body}")
    kernel.wait_for(reply, "go")
    time.sleep(0.15)  # let it get into the middle of waiting
    at = time.monotonic()
    kernel.interrupt()
    kernel.wait(reply)
    return time.monotonic() - at, reply


def quickest(kernel: Kernel, body: str) -> tuple[float, Reply]:
    """The same, again while it takes longer than the bound; the quickest, if all do."""
    tries: list[tuple[float, Reply]] = []
    while len(tries) < TRIES and not (tries and tries[-1][0] < BOUND):
        tries.append(interrupt(kernel, body))
    return min(tries, key=lambda one: one[0])


def how_it_ended(kernel: Kernel) -> str:
    """The type of the error that the host was told."""
    return kernel.check("print(ended[-1])").stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize(
    "body",
    [
        "await asyncio.sleep(20)",
        "await asyncio.gather(nap(), nap())",
        "async with asyncio.TaskGroup() as g:\n    g.create_task(nap()); g.create_task(nap())",
        "await asyncio.to_thread(time.sleep, 1.5)",
        "time.sleep(20)\nawait nap()",
        "while True: pass\nawait nap()",
        "await asyncio.gather(block(), block(), block())",
    ],
    ids=["sleep", "gather", "group", "thread", "blocking", "spinning", "blocking-tasks"],
)
def test_async_cell(kernel: Kernel, body: str) -> None:
    """An async cell that awaits, or blocks its own loop, in itself or in its tasks, is cancelled at once."""
    seconds, reply = quickest(kernel, body)
    assert (reply.status, reply.ename, len(reply.tracebacks)) == ("error", "CancelledError", 1)
    assert seconds < BOUND
    assert how_it_ended(kernel) == "CancelledError"
    assert kernel.check("%%durable\nawait asyncio.sleep(0, 'alive')").result == "'alive'"


@pytest.mark.parametrize(
    "body",
    [
        "time.sleep(20)",
        "while True: pass",
        "concurrent.futures.ThreadPoolExecutor(1).submit(time.sleep, 1.5).result()",
        "t = threading.Thread(target=time.sleep, args=(1.5,)); t.start(); t.join()",
    ],
    ids=["sleep", "spinning", "future", "join"],
)
def test_sync_cell(kernel: Kernel, body: str) -> None:
    """A sync cell that sleeps, computes, or waits for a tool's thread ends with KeyboardInterrupt at once."""
    seconds, reply = quickest(kernel, body)
    assert (reply.status, reply.ename) == ("error", "KeyboardInterrupt")
    assert seconds < BOUND
    assert how_it_ended(kernel) == "KeyboardInterrupt"


@pytest.mark.slow
def test_latency(kernel: Kernel, record_property: pytest.RecordProperty) -> None:
    """The median latency in an awaiting cell stays far below what the kernel's own loop would take."""
    seconds = [interrupt(kernel, "await asyncio.sleep(20)")[0] for _ in range(5)]
    record_property("median_interrupt_seconds", statistics.median(seconds))
    print(f"interrupt latency: median {statistics.median(seconds):.3f} s, worst {max(seconds):.3f} s")
    assert min(seconds) < BOUND / 2


@pytest.mark.slow
def test_cleanup_is_not_cut_short(kernel: Kernel) -> None:
    """Code that cleans up after the interrupt, blocking a while, is not interrupted again."""
    _, reply = interrupt(kernel, "try:\n    await nap()\nfinally:\n    time.sleep(0.4); print('cleaned')")
    assert reply.stdout == "go\ncleaned\n"
    _, reply = interrupt(
        kernel, "try:\n    time.sleep(20)\nfinally:\n    time.sleep(0.4); print('cleaned')\nawait nap()"
    )
    assert reply.stdout == "go\ncleaned\n"


def test_interrupt_survived(kernel: Kernel) -> None:
    """A cell that catches the cancellation goes on, and can be interrupted again."""
    reply = kernel.submit(
        "%%durable\nfor i in range(2):\n    try: print('go', i, flush=True); await nap()\n"
        "    except asyncio.CancelledError: pass\nprint('end')"
    )
    for i in range(2):
        kernel.wait_for(reply, f"go {i}")
        kernel.interrupt()
    kernel.wait(reply, 15).check()
    assert reply.stdout == "go 0\ngo 1\nend\n"


@pytest.mark.slow
def test_undone_after_the_cell(kernel: Kernel) -> None:
    """The kernel's own signal handler is back after the cell, however it ended, and no thread is left."""
    before = kernel.check("print(handler())").stdout
    for body in ("await asyncio.sleep(0)", "await asyncio.sleep(0); 1 / 0", "1"):
        kernel.run(f"%%durable\n{body}")
        assert kernel.check("print(handler())").stdout == before
    interrupt(kernel, "time.sleep(20)\nawait nap()")
    assert kernel.check("print(handler())").stdout == before
    assert kernel.check("[t.name for t in threading.enumerate() if 'durable' in t.name]").result == "[]"
    assert kernel.check("print(signal.set_wakeup_fd(-1))").stdout.strip() == "-1"


def test_ordinary_cells_are_left_alone(kernel: Kernel) -> None:
    """While no durable cell runs, nothing of ours handles signals."""
    reply = kernel.check(
        "print(handler().__module__ if hasattr(handler(), '__module__') else '')\nawait asyncio.sleep(0)"
    )
    assert "jupyter_durable" not in reply.stdout


def test_subshell(kernel: Kernel) -> None:
    """A durable async cell in a subshell runs to its end: signals never reach it, and none are handled there."""
    if kernel.check("import ipykernel; ipykernel.version_info[0]").result == "6":
        pytest.skip("ipykernel 6 has no subshells")
    reply = kernel.submit(
        "%%durable\nawait asyncio.sleep(0.05, threading.current_thread() is threading.main_thread())",
        subshell=kernel.subshell(),
    )
    assert kernel.wait(reply, 10).check().result == "False"


@pytest.mark.slow
def test_killed_kernel(make_kernel: Callable[..., Kernel], python: str) -> None:
    """A kernel killed in the middle of a cell is noticed at once, and a fresh one takes its place."""
    kernel = make_kernel(python=python)
    kernel.check(HOST + "\nx = 1")
    reply = kernel.submit("%%durable\nprint('go', flush=True)\nawait asyncio.sleep(30)")
    kernel.wait_for(reply, "go")
    kernel.kill()
    with pytest.raises(KernelDied) as death:
        kernel.wait(reply)
    assert death.value.reply.stdout == "go\n"
    kernel.restart()
    assert kernel.run("x").ename == "NameError"
    assert kernel.check("import os; os.environ['JUPYTER_DURABLE_STORE']").result == repr(str(kernel.store))
