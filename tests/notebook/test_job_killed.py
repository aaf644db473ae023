"""A whole notebook as a job whose kernels and runners are killed at random moments: nobody sees it afterwards."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from jupyter_durable.errors import AlreadyDecidedError, DurableError
from jupyter_durable.session import open_store

SET_UP = """%load_ext jupyter_durable
import asyncio, os, time
import jupyter_durable as durable
from IPython.display import HTML, display

def effect(name):
    line = f'{name} {durable.idempotency_key()}' + chr(10)
    file = os.open('effects', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, line.encode())
    os.close(file)

@durable.tool
async def fetch(n):
    await asyncio.sleep(.05)
    effect(f'fetch {n}')
    print('fetched', n)
    return {'n': n, 'text': f'page {n}'}

@durable.tool
def store(n):
    time.sleep(.03)
    effect(f'store {n}')
    return n * n

@durable.tool(approval=True)
def send(to):
    effect(f'send {to}')
    return f'sent to {to}'
"""


def ten_cells(folder: Path, seconds: float) -> Path:
    """Ten code cells, three of them durable: 60 steps, of which 20 gathered and 8 in threads, two approvals, a timer."""
    cells = [
        new_markdown_cell("# Ten cells"),
        new_code_cell(SET_UP),
        new_code_cell("topics = [f't{n}' for n in range(5)]\nprint(len(topics), 'topics')"),
        new_code_cell(
            "%%durable research\npages = [await fetch(t) for t in topics]\n"
            "pages += await asyncio.gather(*(fetch(n) for n in range(20)))\n"
            "display(HTML(f'<b>{len(pages)}</b>'))\nlen(pages)"
        ),
        new_code_cell("texts = [page['text'] for page in pages]\ntexts[-1]"),
        new_code_cell(
            "%%durable outreach\nfor n in range(10):\n    store(n)\n"
            "first = send('ann')\nasync def both():\n    return await asyncio.gather(fetch('x'), fetch('y'))\n"
            "extra = await both()\nsecond = send('bob')\n(first, second)"
        ),
        new_code_cell("print(first, '/', second)"),
        new_code_cell("total = sum(range(10))"),
        new_code_cell(
            f"%%durable later\nawait durable.sleep({seconds})\nfor n in range(10, 20):\n    store(n)\n"
            "squares = await asyncio.gather(*(asyncio.to_thread(store, n) for n in range(20, 28)))\nsum(squares)"
        ),
        new_code_cell("open('report.txt', 'w').write(str(sum(squares) + total))"),
        new_code_cell("sorted(squares)[-1], len(texts), first"),
    ]
    for number, cell in enumerate(cells):
        cell.id = f"c{number}"
    path = folder / "nb.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    return path


def seen(nb: Any) -> list[Any]:
    """Outputs, displays and the order of execution: all but timings."""
    return [(cell.get("execution_count"), cell.get("outputs")) for cell in nb.cells]


class Supervisor:
    """Calls the job until it is done, as cron would; decides about it, and kills."""

    def __init__(self, path: Path, kernels: int, runners: int, seed: int) -> None:
        self.path = path
        self.store = str(path.parent / "journal.db")
        self.rng = random.Random(seed)
        self.left = ["kernel"] * kernels + ["runner"] * runners
        self.rng.shuffle(self.left)
        self.killed: list[str] = []
        self.codes: list[int] = []
        self.over = threading.Event()
        self.process: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        """Until it has completed."""
        helpers = [threading.Thread(target=self._decide), threading.Thread(target=self._kill)]
        for helper in helpers:
            helper.start()
        command = [
            sys.executable,
            "-m",
            "jupyter_durable.cli",
            "run",
            str(self.path),
            "--store",
            self.store,
            "-q",
        ]
        end = time.monotonic() + 900
        try:
            while not self.codes or self.codes[-1] != 0:
                assert time.monotonic() < end
                with (self.path.parent / "log").open("a") as log:
                    self.process = subprocess.Popen(
                        [*command, "--park-after", "0.5", "--max-restarts", "60"], stderr=log
                    )
                    self.codes.append(self.process.wait())
                assert self.codes[-1] in (0, 75, -signal.SIGKILL), (self.path.parent / "log").read_text()
                if self.codes[-1] == 75:
                    time.sleep(0.5)
        finally:
            self.over.set()
            for helper in helpers:
                helper.join()

    def _decide(self) -> None:
        while not self.over.wait(0.3):
            try:
                with open_store(self.store) as store:
                    for wait in store.waits():
                        if wait.kind == "approval" and not wait.ready:
                            store.approve(wait.run, wait.key)
            except (AlreadyDecidedError, DurableError):
                continue

    def _kill(self) -> None:
        while self.left and not self.over.wait(self.rng.uniform(0.2, 3.0)):
            runner = self.process
            if runner is None or runner.poll() is not None:
                continue
            victim = runner.pid
            if self.left[-1] == "kernel":
                try:
                    kernels = psutil.Process(runner.pid).children()
                except psutil.Error:
                    continue
                if not kernels:
                    continue
                victim = kernels[0].pid
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                continue
            self.killed.append(self.left.pop())


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    ("kernels", "runners", "seconds"),
    [
        pytest.param(3, 1, 4, id="some"),
        pytest.param(
            30,
            10,
            60,
            id="many",
            marks=pytest.mark.skipif(
                "JUPYTER_DURABLE_FULL" not in os.environ, reason="minutes: JUPYTER_DURABLE_FULL=1"
            ),
        ),
    ],
)
def test_whatever_is_killed_the_notebook_is_that_of_an_undisturbed_job(
    tmp_path: Path, kernels: int, runners: int, seconds: float
) -> None:
    """Outputs, displays and order are equal; each effect happened, under one key, and twice only where a kill cut it off."""
    (tmp_path / "calm").mkdir()
    (tmp_path / "storm").mkdir()
    calm = Supervisor(ten_cells(tmp_path / "calm", 1), 0, 0, seed=0)
    calm.run()
    # The killing goes on for as long as there is something to kill: the job may be done before.
    storm = Supervisor(ten_cells(tmp_path / "storm", seconds), kernels, runners, seed=kernels)
    storm.run()

    wanted, found = (
        nbformat.read(tmp_path / side / "nb.out.ipynb", as_version=4) for side in ("calm", "storm")
    )
    assert seen(found) == seen(wanted)
    keys: dict[str, set[str]] = defaultdict(set)
    lines = (tmp_path / "storm" / "effects").read_text().splitlines()
    for line in lines:
        name, _, key = line.rpartition(" ")
        keys[name].add(key)
    calls = [line.rpartition(" ")[0] for line in (tmp_path / "calm" / "effects").read_text().splitlines()]
    assert (
        len(calls) == len(set(calls)) == 57
    )  # 60 steps with the timer and the two approvals, which have no effect
    assert set(keys) == set(calls)
    assert {len(found) for found in keys.values()} == {1}, (
        "whoever makes a call again says that it is the same one"
    )
    assert len(lines) - len(calls) <= 20 * len(storm.killed)
    assert (tmp_path / "storm" / "report.txt").read_text() == (tmp_path / "calm" / "report.txt").read_text()
    with open_store(tmp_path / "storm" / "journal.db") as store:
        assert store.verify() == []
        steps = [step for run in store.runs() for step in store.steps(run.id) if not step.history]
        assert len(store.runs()) == 3
        assert {step.status for step in steps} == {"completed"}
    print(
        {
            "killed": {k: storm.killed.count(k) for k in ("kernel", "runner")},
            "calls": len(storm.codes),
            "again": len(lines) - len(calls),
        }
    )
