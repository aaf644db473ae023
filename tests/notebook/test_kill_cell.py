"""The main promise, in real kernels: kill the kernel at any moment, run the cell again, nothing is lost or repeated."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from kernel_agents import moved_to
from kernels import Kernel, KernelDied

from jupyter_durable.journal.keys import idempotency_key, parse_step_id
from jupyter_durable.runtime.kill_points import KILL_POINTS, OF_WAITS
from jupyter_durable.session import open_store

CELL = """%%durable mixed
import asyncio, json
import jupyter_durable as durable

def note(label):
    with open("lines.jsonl", "a") as file:
        file.write(json.dumps([durable.idempotency_key(), label]) + "\\n")

@durable.tool
async def fetch(x):
    note(f"fetch {x}")
    await asyncio.sleep(0.004)
    return {"page": x}

@durable.tool
def crunch(x):
    note(f"crunch {x}")
    return x * x

@durable.tool
async def outer(x):
    note(f"outer {x}")
    first = await fetch(f"{x}/1")
    rest = await asyncio.gather(fetch(f"{x}/2"), fetch(f"{x}/3"))
    return [first, *rest]

@durable.tool
async def fails(x):
    note(f"fails {x}")
    await asyncio.sleep(0.002)
    raise ValueError(x)

async def branch(x):
    page = await fetch(x)
    return page["page"], crunch(len(x))

result = []
for n in range(5):
    result.append(await fetch(n))
result += await asyncio.gather(*(fetch(10 + n) for n in range(6)))
result += await outer("nested")
for n in range(3):
    try:
        await fails(n)
    except ValueError as error:
        result.append(str(error))
async with asyncio.TaskGroup() as group:
    tasks = [group.create_task(branch(name)) for name in ("a", "bb", "ccc")]
result += [task.result() for task in tasks]
result += await asyncio.gather(*(asyncio.to_thread(crunch, 20 + n) for n in range(3)))
result += await asyncio.gather(*(fetch("same") for _ in range(3)))
json.dumps(result)
"""
CALLS = 30


def lines(directory: Path) -> Counter[str]:
    """How often each step was really executed, by idempotency key."""
    path = directory / "lines.jsonl"
    if not path.exists():
        return Counter()
    # A line that a kill cut in two never was: the tool had not got further than writing it.
    whole = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return Counter(json.loads(line)[0] for line in whole)


def wait_for_lines(directory: Path, number: int) -> None:
    """Return once so many calls have been made, whatever the machine's speed."""
    deadline = time.monotonic() + 30
    while lines(directory).total() < number and time.monotonic() < deadline:
        time.sleep(0.001)


def finished(store: Path) -> set[str]:
    """The idempotency keys of the steps that have an outcome."""
    if not store.exists():
        return set()
    with open_store(str(store)) as opened:
        runs = opened.runs(name="mixed")
        if not runs:
            return set()
        record = opened.journal.run(runs[0].id)
        done = [step for step in opened.steps(record.id) if step.status in ("completed", "failed")]
        root = record.root_id or record.id
        return {idempotency_key(opened.journal.key, root, *parse_step_id(step.id)) for step in done}


def resume(kernel: Kernel) -> str:
    """A fresh kernel runs nothing but the extension and the cell, as a person would."""
    kernel.check("%load_ext jupyter_durable")
    result = kernel.check(CELL, allow_stdin=True).result
    assert result is not None
    return result


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the cell gives when nobody kills anything."""
    directory = tmp_path_factory.mktemp("undisturbed")
    with Kernel(directory) as kernel:
        kernel.check("%load_ext jupyter_durable")
        result = kernel.check(CELL, allow_stdin=True).result
    executed = lines(directory)
    assert len(executed) == CALLS
    assert set(executed.values()) == {1}
    assert result is not None
    return result


def check(directory: Path, store: Path, before: Counter[str], done: set[str]) -> None:
    """Nothing that was finished was executed again, nothing under way more than once more, nothing is missing."""
    after = lines(directory)
    assert len(after) == CALLS
    assert {key: after[key] for key in done} == {key: before[key] for key in done}
    assert all(after[key] - before[key] <= 1 for key in after)
    assert finished(store) == set(after)


@pytest.mark.slow
@pytest.mark.parametrize("nth", [1, 4])
@pytest.mark.parametrize(
    "point", [p for p in KILL_POINTS if p not in ("after-attempt", "after-chunk", *OF_WAITS)]
)
def test_killed_at_a_kill_point(
    point: str, nth: int, undisturbed: str, make_kernel: Callable[..., Kernel], tmp_path: Path
) -> None:
    """SIGKILL at each named moment of the protocol."""
    if nth > 1 and point.endswith(("open", "close")):
        pytest.skip("a run comes to this point once")
    kernel = make_kernel(tmp_path, env={"JUPYTER_DURABLE_CRASH_AT": f"{point}:{nth}"})
    kernel.check("%load_ext jupyter_durable")
    with pytest.raises(KernelDied):
        kernel.run(CELL, allow_stdin=True)
    before, done = lines(tmp_path), finished(kernel.store)
    assert resume(make_kernel(tmp_path)) == undisturbed
    check(tmp_path, kernel.store, before, done)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_killed_at_random_moments(
    undisturbed: str, make_kernel: Callable[..., Kernel], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """SIGKILL at 100 random moments, each in a run of its own.

    The kernel that took up the last run begins the next one: starting one takes longer than a run. The one that takes a
    run up is always a fresh one.
    """
    rng = random.Random(20261123)
    interrupted = 0
    kernel = None
    for trial in range(100):
        directory = tmp_path_factory.mktemp(f"kill{trial}")
        if kernel is None:
            kernel = make_kernel(directory)
            kernel.check("%load_ext jupyter_durable")
        else:
            moved_to(kernel, directory)
        store = directory / "journal.db"
        reply = kernel.submit(CELL, allow_stdin=True)
        wait_for_lines(directory, rng.randrange(CALLS))
        time.sleep(rng.uniform(0.0, 0.01))  # the random moment itself
        kernel.kill()
        before, done = lines(directory), finished(store)
        interrupted += 0 < len(done) < CALLS
        assert not reply.ename
        kernel = None
        if len(done) == CALLS:
            continue  # killed after the end
        kernel = make_kernel(directory)
        assert resume(kernel) == undisturbed, f"trial {trial}"
        check(directory, store, before, done)
    assert interrupted >= 60, "the moments must fall inside the run"
