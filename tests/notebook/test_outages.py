"""What a real kernel meets besides its own death: it is paused and taken over, and the store's disk is full."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from kernel_agents import LOAD, calls, counts, said, session, until
from kernels import Kernel

from jupyter_durable.session import open_store

HOLDING = {
    "awaiting": """%%durable held
import asyncio, os
import jupyter_durable as durable

@durable.tool
async def work(n):
    with open("calls.txt", "a") as file:
        file.write(f"work {n}\\n")
    while n == 3 and not os.path.exists("go"):
        await asyncio.sleep(0.005)
    return n

sum([await work(n) for n in range(8)])
""",
    "blocking": """%%durable held
import os, time
import jupyter_durable as durable

@durable.tool
def work(n):
    with open("calls.txt", "a") as file:
        file.write(f"work {n}\\n")
    while n == 3 and not os.path.exists("go"):
        time.sleep(0.005)
    return n

sum(work(n) for n in range(8))
""",
}
"""Eight steps, of which the fourth waits for a file."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "still"), [("awaiting", False), ("awaiting", True), ("blocking", False)], ids=str
)
def test_a_paused_kernel_that_wakes_after_takeover_writes_nothing(
    how: str, still: bool, make_kernel: Callable[..., Kernel], tmp_path: Path
) -> None:
    """SIGSTOP, lease expired, another kernel goes on to the end, SIGCONT: LeaseLost, and not an entry or a call more.

    `still`: what it awaits does not end, so that only its heartbeat can tell.
    """
    cell = HOLDING[how]
    env = {"JUPYTER_DURABLE_LEASE": "1", **session(tmp_path)}
    first, second = make_kernel(env=env), make_kernel(env=env)
    first.check(LOAD)
    second.check(LOAD)
    held = first.submit(cell)
    until(first, held, lambda: len(calls(tmp_path)) == 4)
    refused = second.run(cell)
    assert refused.ename == "LeaseHeldError"
    assert str(first.pid) in refused.evalue
    first.signal(signal.SIGSTOP)
    wait_for(lambda: psutil.Process(first.pid).status() == psutil.STATUS_STOPPED)
    with open_store(first.store) as store:
        wait_for(lambda: store.journal.runs()[0].expires_at < time.time())
        (tmp_path / "go").touch()
        assert second.check(cell).result == "28"
        run = store.journal.runs()[0]
        journal, made = list(store.journal.entries(run.id)), counts(tmp_path)
        if still:
            (tmp_path / "go").unlink()
        first.signal(signal.SIGCONT)
        lost = first.wait(held)
        assert (lost.status, lost.ename) == ("error", "LeaseLost")
        assert "another process took it over" in said(lost)
        assert "what was committed is safe; run the cell again" in said(lost)
        assert not lost.tracebacks, "a line says it, and no traceback of ours"
        assert lost.result is None
        assert list(store.journal.entries(run.id)) == journal
        assert (store.run(run.id).status, store.verify()) == ("completed", [])
        assert counts(tmp_path) == made
        assert made == {f"work {n}": 2 if n == 3 else 1 for n in range(8)}
        assert first.check("1 + 1").result == "2"
        # As the line says: the other's end is taken up, and nothing is made again.
        assert first.check(f"{cell.replace('held', 'held --resume held', 1)}").result == "28"
        assert counts(tmp_path) == made


def wait_for(condition: Callable[[], bool]) -> None:
    """Return when it holds; fails after a minute."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.01)


# -- a full disk -----------------------------------------------------------------------------------

BULKY = """%%durable bulky
import asyncio, random
import jupyter_durable as durable

@durable.tool
async def bulky(n):
    with open("calls.txt", "a") as file:
        file.write(f"bulky {n}\\n")
    return random.Random(n).randbytes(15_000).hex()

seen = []
for n in range(12):
    a, b = await asyncio.gather(bulky(n), bulky(100 + n))
    seen.append(len(a) + len(b))
    print("seen", n)
sum(seen)
"""
"""24 steps of 30 KB, two at a time; what it prints it has seen."""

SCRIPT = """
import random, sys
import jupyter_durable as durable

@durable.tool
def bulky(n):
    with open("calls.txt", "a") as file:
        file.write(f"bulky {n}\\n")
    return random.Random(n).randbytes(15_000).hex()

with durable.run("bulky"):
    total = 0
    for n in range(24):
        total += len(bulky(n))
        print("seen", n, flush=True)
print(total)
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB, of which there is soon no more (`ballast`)."""
    place = tmp_path / "small"
    place.mkdir()
    mount = shutil.which("mount")
    if (
        mount is None
        or subprocess.run([mount, "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], check=False).returncode
    ):
        pytest.skip("may not mount a file system here: run as root, or with CAP_SYS_ADMIN")
    (place / "ballast").write_bytes(bytes(1_300_000))
    yield place
    # Whoever has a file open there is gone, or about to go.
    with contextlib.suppress(AssertionError):
        wait_for(lambda: subprocess.run(["umount", place], check=False, capture_output=True).returncode == 0)


def finished(store: Path) -> set[str]:
    """The calls that have an outcome on disk."""
    with open_store(store) as opened:
        steps = opened.steps(opened.runs()[0].id)
        assert opened.verify() == []
        return {step.arguments.replace("(", " ").rstrip(")") for step in steps if step.status == "completed"}


@pytest.mark.slow
@pytest.mark.parametrize("fresh", [False, True], ids=["same-kernel", "fresh-kernel"])
def test_a_cell_whose_disk_is_full_goes_on_when_there_is_room(
    fresh: bool, disk: Path, make_kernel: Callable[..., Kernel], tmp_path: Path
) -> None:
    """A StoreError that says what is safe and what to do; with room again, the undisturbed result, and no call twice."""
    env = {"JUPYTER_DURABLE_STORE": str(disk / "journal.db"), **session(tmp_path)}
    kernel = make_kernel(env=env)
    kernel.check(LOAD)
    full = kernel.run(BULKY)
    assert full.ename == "StoreError"
    assert "database or disk is full" in full.traceback
    assert "make room on that disk and run the cell again" in full.traceback
    assert "safe" in full.traceback
    assert "site-packages" not in full.traceback
    before, done = calls(tmp_path), finished(disk / "journal.db")
    assert 0 < len(done) < 24
    shown = [int(line.split()[1]) for line in full.stdout.splitlines()]
    assert {f"bulky {n}" for n in shown} | {f"bulky {100 + n}" for n in shown} <= done, (
        "seen, and not on disk"
    )
    assert kernel.check("1 + 1").result == "2", "a full disk is no reason to lose the kernel"
    again = kernel.run(BULKY)
    assert again.ename == "StoreError", "it is still full"
    (disk / "ballast").unlink()
    if fresh:
        kernel.close()
        kernel = make_kernel(env=env)
        kernel.check(LOAD)
    before_last = calls(tmp_path)
    reply = kernel.check(BULKY)
    assert reply.result == str(24 * 30_000)
    assert reply.stdout.splitlines() == [f"seen {n}" for n in range(12)]
    assert "resuming bulky" in said(reply)
    assert set(calls(tmp_path)) == {f"bulky {n + more}" for n in range(12) for more in (0, 100)}
    made_later = calls(tmp_path)[len(before) :]
    assert not done & set(made_later), "what has an outcome is not done again"
    assert len(calls(tmp_path)) - 24 <= 2 + (len(before_last) - len(before)), (
        "what was under way, once more each time"
    )
    assert finished(disk / "journal.db") == set(calls(tmp_path))
    kernel.close()


@pytest.mark.slow
def test_a_script_whose_disk_is_full_goes_on_when_there_is_room(disk: Path, tmp_path: Path) -> None:
    """The same for `durable.run` in a script."""
    store = disk / "journal.db"
    (tmp_path / "script.py").write_text(SCRIPT)

    def script() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "script.py"],
            cwd=tmp_path,
            env=os.environ | {"JUPYTER_DURABLE_STORE": str(store)},
            capture_output=True,
            text=True,
            check=False,
        )

    full = script()
    assert full.returncode == 1
    assert "StoreError" in full.stderr
    assert "hint: make room" in full.stderr
    before, done = calls(tmp_path), finished(store)
    seen = {f"bulky {line.split()[1]}" for line in full.stdout.splitlines()}
    assert seen <= done
    assert 0 < len(done) < 24
    (disk / "ballast").unlink()
    went_on = script()
    assert went_on.stdout.splitlines()[-1] == str(24 * 30_000)
    assert not done & set(calls(tmp_path)[len(before) :])
    assert set(calls(tmp_path)) == {f"bulky {n}" for n in range(24)}
    assert len(calls(tmp_path)) <= 25
