"""Timeouts that run out over steps and cancel none: on replay they run out again before what came after them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from runs import Bench

import jupyter_durable as durable
from jupyter_durable.testing import Crash, crash_at


@durable.tool
async def answer(what: str, after: float = 0.0) -> str:
    """Takes its time when it is made, and none on replay."""
    await asyncio.sleep(after)
    return what


async def shielded() -> list[str]:
    """A timeout that leaves what it waited for going on."""
    task = asyncio.create_task(answer("late", 0.3))
    said = []
    try:
        await asyncio.wait_for(asyncio.shield(task), 0.02)
    except TimeoutError:
        said.append("timeout")
    return [*said, await task]


async def wait_for_some() -> list[Any]:
    """Those that are done in time, then the others."""
    tasks = [asyncio.create_task(answer(str(n), n * 0.5)) for n in range(3)]
    done, pending = await asyncio.wait(tasks, timeout=0.2)
    first = sorted(task.result() for task in done)
    done, pending = await asyncio.wait(pending, timeout=0.5)
    return [first, sorted(task.result() for task in done), await asyncio.gather(*pending)]


async def as_they_come() -> list[str]:
    """What has come when the time is over."""
    tasks = [asyncio.create_task(answer(str(n), n * 0.4)) for n in range(2)]
    said = []
    try:
        for each in asyncio.as_completed(tasks, timeout=0.1):
            said += [await each]
    except TimeoutError:
        said += ["timeout"]
    return [*said, *await asyncio.gather(*tasks)]


async def event_in_time() -> list[Any]:
    """anyio's own timeout, over something that a step's strand sets."""
    came = anyio.Event()

    async def strand() -> None:
        await answer("late", 0.3)
        came.set()

    async with anyio.create_task_group() as group:
        group.start_soon(strand)
        with anyio.move_on_after(0.02) as scope:
            await came.wait()
    return [scope.cancelled_caught, came.is_set()]


async def idle_now_and_then() -> list[str]:
    """A queue that is asked before anything has come."""
    queue: asyncio.Queue[str] = asyncio.Queue()

    async def produce() -> None:
        for n in range(2):
            queue.put_nowait(await answer(str(n), 0.5))

    said: list[str] = []
    async with asyncio.TaskGroup() as group:
        group.create_task(produce())
        while "1" not in said:
            try:
                said += [await asyncio.wait_for(queue.get(), 0.3)]
            except TimeoutError:
                said += ["idle"]
    return said


AGENTS = {shielded: 1, wait_for_some: 3, as_they_come: 2, event_in_time: 1, idle_now_and_then: 2}
"""And how many steps each has."""


@pytest.mark.parametrize("agent", AGENTS)
def test_a_timeout_that_ran_out_runs_out_again(agent: Callable[[], Any]) -> None:
    """Before the outcomes that came after it, though on replay they are there at once."""
    bench = Bench()
    live = bench.new(agent)
    assert bench.execute_replay(agent) == live


@pytest.mark.parametrize("agent", AGENTS)
def test_the_time_without_a_process_is_none(agent: Callable[[], Any]) -> None:
    """Killed when the last answer had come, resumed later than any timeout here: each process had its own time."""
    undisturbed = Bench().new(agent)
    bench = Bench()
    with crash_at("after-call", AGENTS[agent]), pytest.raises(Crash):
        bench.new(agent)
    time.sleep(0.5)
    assert bench.resume(agent) == undisturbed
    assert bench.execute_replay(agent) == undisturbed


def test_what_did_not_run_out_keeps_nothing_back() -> None:
    """A replay takes neither the time of a timeout that was not needed, nor that of a strand that only beats time."""

    async def agent() -> list[str]:
        beats: list[str] = []

        async def beat() -> None:
            while True:
                await asyncio.sleep(0.9)
                beats.append("beat")

        heart = asyncio.create_task(beat())
        async with asyncio.timeout(30):
            said = await asyncio.gather(answer("a"), answer("b", 1.0))
        heart.cancel()
        return said

    bench = Bench()
    live = bench.new(agent)
    began = time.monotonic()
    assert bench.execute_replay(agent) == live
    assert time.monotonic() - began < 0.8
