"""Strands that are threads: their outcomes come in the order in which they were, whoever executes them."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import anyio
import anyio.to_thread
import pytest
from runs import Bench

import jupyter_durable as durable


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


@pytest.mark.slow
def test_a_loop_in_a_thread_that_another_loop_waits_for(bench: Bench) -> None:
    """The outer loop is blocked with an outcome due: that holds up neither the inner one nor the replay."""
    begun: list[int] = []

    @durable.tool
    async def look(n: int) -> int:
        begun.append(n)
        return n

    async def inner() -> list[int]:
        return await asyncio.gather(*(look(n) for n in range(5, 8)))

    async def agent() -> list[int]:
        tasks = [asyncio.create_task(look(n)) for n in range(3)]
        while len(begun) < 3:
            await asyncio.sleep(0)
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.extend(asyncio.run(inner())))
        thread.start()
        thread.join()
        return [*found, *(await asyncio.gather(*tasks))]

    assert bench.new(agent) == [5, 6, 7, 0, 1, 2]
    begun.extend(range(3))  # nothing is begun on replay
    assert bench.execute_replay(agent) == [5, 6, 7, 0, 1, 2]


def test_blocking_calls_of_a_loop_beside_its_tasks_and_a_pool(bench: Bench) -> None:
    """Who blocks the loop takes the outcomes of its tasks along, and waits for nobody who waits for it."""

    @durable.tool
    def blocking(n: int) -> int:
        return n

    @durable.tool
    async def look(n: int) -> int:
        await asyncio.sleep(0)
        return n

    async def mixed(n: int) -> int:
        return await look(n) + blocking(n)

    async def agent() -> list[int]:
        calls = [asyncio.to_thread(blocking, n) if n % 3 else mixed(n) for n in range(12)]
        return await asyncio.gather(*calls)

    told = bench.new(agent)
    assert told == [n if n % 3 else 2 * n for n in range(12)]
    assert bench.execute_replay(agent) == told


def test_a_call_that_a_worker_goes_on_with_when_nobody_waits_for_it(bench: Bench) -> None:
    """anyio's cannot be stopped: it ends as a strand of its own, and one that no worker took up has never begun."""
    look = bench.tool(lambda n: n, name="look")
    entered, leave = threading.Event(), threading.Event()

    def work(n: int) -> int:
        entered.set()
        leave.wait(10)
        return look(n)

    async def agent() -> list[int]:
        limiter = anyio.CapacityLimiter(1)
        tasks = [
            asyncio.create_task(anyio.to_thread.run_sync(work, n, abandon_on_cancel=True, limiter=limiter))
            for n in range(2)
        ]
        while not entered.is_set():
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        leave.set()
        while len(bench.steps()) < 1 or bench.steps()[0].status != "completed":
            await asyncio.sleep(0)
        return [look(7)]

    assert bench.new(agent) == [7]
    assert [step.status for step in bench.steps()] == ["completed", "completed"]


def test_a_loop_that_says_little_of_itself(bench: Bench) -> None:
    """uvloop's shows neither what it has to do nor its thread: blocked by a pool, it keeps nobody waiting for ever."""
    uvloop = pytest.importorskip("uvloop")
    look = bench.tool(lambda n: n, name="look")

    @durable.tool
    async def brief(n: int) -> int:
        await asyncio.sleep(0)
        return n

    async def agent() -> list[int]:
        task = asyncio.create_task(brief(9))
        await asyncio.sleep(0)
        with ThreadPoolExecutor(3) as pool:
            found = [future.result() for future in [pool.submit(look, n) for n in range(4)]]
        mixed = [asyncio.to_thread(look, n) if n % 2 else brief(n) for n in range(6)]
        return [*found, await task, *(await asyncio.gather(*mixed))]

    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    try:
        told = bench.new(agent)
        assert bench.execute_replay(agent) == told == [0, 1, 2, 3, 9, 0, 1, 2, 3, 4, 5]
    finally:
        asyncio.set_event_loop_policy(None)
