"""Strands that are threads: their outcomes come in the order in which they were, whoever executes them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import anyio.to_thread
import pytest
from runs import Bench

import jupyter_durable as durable


@pytest.fixture
def bench() -> Bench:
    """An empty store."""
    return Bench()


def test_outcomes_that_came_while_threads_blocked_the_loop_replay(bench: Bench) -> None:
    """A task's outcome was journaled while a pool held its loop: the replay gives it, though the loop cannot take it."""
    look = bench.tool(lambda *what: what, name="look")

    ran: list[bool] = []

    @durable.tool
    async def quick() -> None:
        ran.append(True)

    def work(n: int) -> object:
        while bench.steps()[0].status != "completed":
            pass
        return look(n)

    async def agent() -> list[object]:
        task = asyncio.create_task(quick())
        await asyncio.sleep(0)
        while not ran:  # its outcome is on its way then, while the pool holds the loop
            await asyncio.sleep(0)
        with ThreadPoolExecutor(2) as pool:
            found = [future.result() for future in [pool.submit(work, n) for n in range(2)]]
        await task
        return [*found, look("last")]

    bench.crash("after-start", 4, agent)
    assert bench.resume(agent) == [(0,), (1,), ("last",)]


def test_which_worker_of_a_pool_takes_a_call_makes_no_difference(bench: Bench) -> None:
    """anyio starts a worker if none is idle; in the next process one may be."""
    look = bench.tool(lambda n: n, name="look")
    idle = False

    async def agent() -> list[int]:
        if idle:
            await anyio.to_thread.run_sync(int)
        found = await asyncio.gather(*(anyio.to_thread.run_sync(look, n) for n in range(2)))
        return [*found, look(2)]

    bench.crash("after-start", 3, agent)
    idle = True
    assert bench.resume(agent) == [0, 1, 2]
    assert bench.effects == {"look(0,)": 1, "look(1,)": 1, "look(2,)": 1}
