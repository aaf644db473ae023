"""What becomes of a strand when it is over, and when a loop is at rest."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

from runs import Bench

import jupyter_durable as durable
from jupyter_durable.runtime.deliveries import at_rest


@durable.tool
async def double(n: int) -> int:
    """A step."""
    return 2 * n


def test_a_task_that_has_ended_is_free_at_once(bench: Bench) -> None:
    """Recorded or replayed, it does not wait for the garbage collector, nor does what it was about to do."""
    seen: list[weakref.ref[asyncio.Task[int]]] = []

    async def agent() -> list[int]:
        tasks = [asyncio.create_task(double(n)) for n in range(3)]
        seen.extend(map(weakref.ref, tasks))
        return await asyncio.gather(*tasks)

    async def main() -> list[int]:
        found = await agent()
        await asyncio.sleep(0)
        assert [ref() for ref in seen] == [None] * len(seen)
        return found

    gc.disable()
    try:
        assert bench.new(main) == [0, 2, 4]
        assert bench.execute_replay(main) == [0, 2, 4]
    finally:
        gc.enable()


def test_emptying_its_own_pipe_is_nothing_to_a_loop() -> None:
    """A loop that another thread woke is at rest in what it was woken for; with something to do it is not."""
    found: list[bool] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        woken = asyncio.Event()

        def look() -> None:
            found.append(at_rest(loop))
            loop.call_soon(woken.set)
            found.append(at_rest(loop))

        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(look,))
        thread.start()
        await woken.wait()
        thread.join()

    asyncio.run(main())
    assert found == [True, False]


def test_an_attempt_that_went_on_need_not_come_to_what_a_crash_left_of_it(bench: Bench) -> None:
    """It is made anew, and slower this time: that the call in it was begun then is no divergence now."""
    slow = False
    look = bench.tool(lambda: "looked", name="look")

    @durable.tool(timeout=0.1)
    async def research() -> str:
        await asyncio.sleep(5 if slow else 0)
        return look()

    async def agent() -> str:
        try:
            return await research()
        except TimeoutError:
            return f"late, {look()}"

    bench.crash("after-start", 2, agent)
    slow = True
    assert bench.resume(agent) == "late, looked"
    assert bench.execute_replay(agent) == "late, looked"
