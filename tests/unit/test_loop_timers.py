"""Sleeps and timeouts of the run's code: on replay they go off before what came after them, and take no time."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from runs import Bench

import jupyter_durable as durable
from jupyter_durable.testing import Crash, crash_at

pytestmark = pytest.mark.usefixtures("others")


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


async def sleeping() -> list[str]:
    """A sleep between any two steps, before the first and after the last."""
    said = []
    for n in range(3):
        await asyncio.sleep(0.3)
        said.append(await answer(str(n)))
    await asyncio.sleep(0.3)
    return said


async def race_with_a_sleep() -> list[str]:
    """Won by the sleep, and then by the step."""
    won = []
    for took in (0.6, 0.1):
        tasks = [asyncio.create_task(answer("step", took)), asyncio.create_task(asyncio.sleep(0.3, "sleep"))]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        won += [task.result() for task in done]
        await asyncio.gather(*tasks)
    return won


async def over_a_stream() -> list[Any]:
    """A timeout around a whole stream, which is too long for the first."""
    said: list[Any] = []
    for most in (0.5, 5):
        try:
            async with asyncio.timeout(most):
                async for n in counting(4):
                    said.append(n)  # noqa: PERF401 - those that come in time
        except TimeoutError:
            said.append("timeout")
    return [*said, await answer("and on")]


async def by_the_clock_of_the_loop() -> list[Any]:
    """Deadlines, set before what comes first: the clock agrees when they are over."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 0.5
    said: list[Any] = [await answer("in time", 0.3)]
    try:
        async with asyncio.timeout_at(deadline):
            said.append(await answer("late", 0.6))
    except TimeoutError:
        said.append(loop.time() >= deadline)
    try:
        with anyio.fail_after(0.3):  # looks at the clock
            await answer("late", 0.6)
    except TimeoutError:
        said.append("timeout")
    before = loop.time()
    await asyncio.gather(*(asyncio.sleep(0.1 * n) for n in range(1, 4)))  # beside each other
    said.append(round(loop.time() - before, 1))
    while loop.time() < deadline + 0.9:  # as a limiter does
        await asyncio.sleep(deadline + 0.9 - loop.time())
    return [*said, await answer("and on")]


@durable.tool
async def counting(count: int) -> AsyncIterator[int]:
    """A stream that takes its time."""
    for n in range(count):
        await asyncio.sleep(0.2)
        yield n


async def workers_that_pause() -> list[str]:
    """Who takes which job is told by who wakes up first: all of them sleep equally long."""
    jobs = [str(n) for n in range(12)]
    said: list[str] = []

    async def worker(name: str, first: float) -> None:
        await answer(f"{name} is ready", first)
        while jobs:
            job = jobs.pop(0)
            said.append(await answer(f"{name} does {job}", 0.001))
            await asyncio.sleep(0.3)

    await asyncio.gather(*(worker(name, n * 0.002) for n, name in enumerate("abc")))
    return said


QUICK = (sleeping, workers_that_pause, race_with_a_sleep, over_a_stream, by_the_clock_of_the_loop)
AGENTS = {shielded: 1, wait_for_some: 3, as_they_come: 2, event_in_time: 1, idle_now_and_then: 2}
"""And how many steps each has."""


@pytest.fixture
def somebody(others: None) -> Iterator[None]:
    """A thread of which nobody knows what it does: it may be what code waits for."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("agent", AGENTS)
def test_a_timeout_that_ran_out_runs_out_again(agent: Callable[[], Any]) -> None:
    """Before the outcomes that came after it, though on replay they are there at once."""
    bench = Bench()
    live = bench.new(agent)
    assert bench.execute_replay(agent) == live


@pytest.mark.slow
@pytest.mark.usefixtures("somebody")
@pytest.mark.parametrize("agent", AGENTS)
def test_it_does_so_in_its_own_time(agent: Callable[[], Any]) -> None:
    """Where something else may come first: what came after it is kept back until then."""
    bench = Bench()
    live = bench.new(agent)
    assert bench.execute_replay(agent) == live


@pytest.mark.slow
@pytest.mark.usefixtures("somebody")
def test_a_sleep_has_its_time_beside_what_is_kept_back() -> None:
    """What a timeout keeps back does not keep sleeps from going off."""

    async def rest() -> list[str]:
        return [await answer(f"after {await asyncio.sleep(0.1, n)}") for n in range(2)]

    async def agent() -> list[Any]:
        task = asyncio.create_task(answer("late", 0.9))
        other = asyncio.create_task(rest())
        done, _ = await asyncio.wait([task], timeout=0.6)
        return [len(done), other.done(), await task, await other]

    bench = Bench()
    live = bench.new(agent)
    assert live[:2] == [0, True]
    assert bench.execute_replay(agent) == live


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("agent", AGENTS)
def test_inside_of_a_tool_the_clock_decides(agent: Callable[[], Any]) -> None:
    """Killed when the last answer inside had come: the journal does not tell of the timers there."""

    @durable.tool
    async def whole() -> Any:
        return await agent()

    undisturbed = Bench().new(whole)
    bench = Bench()
    with crash_at("after-call", AGENTS[agent]), pytest.raises(Crash):
        bench.new(whole)
    assert bench.resume(whole) == undisturbed
    assert bench.execute_replay(whole) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("agent", AGENTS)
def test_a_fork_times_out_as_its_parent_did(agent: Callable[[], Any]) -> None:
    """Of a run that has not ended, with something after it that was edited."""

    async def edited() -> Any:
        return [await agent(), await answer("edited")]

    async def failing() -> Any:
        return [await agent(), await answer("first"), 1 / 0]

    bench = Bench()
    with pytest.raises(ZeroDivisionError):
        bench.new(failing)
    live = bench.fork(edited)
    assert live == [bench.execute_replay(edited)[0], "edited"]
    assert live[0] == Bench().new(agent)


@pytest.mark.slow
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


SERVER = """
import asyncio
async def answer(reader, writer):
    await asyncio.sleep(float(await reader.readline()))
    writer.write(b"served\\n")
    await writer.drain()
    writer.close()
async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a server whose answers no step covers."""
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.kill()


async def by_a_socket(port: int, after: float) -> str:
    """Something to wait for that no step covers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{after}\n".encode())
    line = await reader.readline()
    writer.close()
    return line.decode()


async def by_a_thread(_: int, after: float) -> str:
    """The same."""
    await asyncio.to_thread(time.sleep, after)
    return "slept"


async def by_a_process(_: int, after: float) -> str:
    """The same."""
    process = await asyncio.create_subprocess_exec("sleep", str(after))
    return str(await process.wait())


@pytest.mark.slow
@pytest.mark.parametrize("wait", [by_a_socket, by_a_thread, by_a_process])
def test_what_no_step_covers_has_its_time(wait: Callable[[int, float], Any], port: int) -> None:
    """A timeout that was not needed is not needed on replay either, though what was recorded next came long after it."""

    async def agent() -> list[str]:
        said = [await answer("a")]
        async with asyncio.timeout(0.6):
            said.append(await wait(port, 0.2))
        said.append(await wait(port, 0.8))
        return [*said, await answer("b")]

    bench = Bench()
    live = bench.new(agent)
    assert bench.execute_replay(agent) == live


@pytest.mark.slow
def test_what_no_step_covers_has_its_time_beside_steps(port: int) -> None:
    """The outcome of a step that took longer than the timeout waits for what the timeout is around."""

    async def guarded() -> str:
        async with asyncio.timeout(0.6):
            return await by_a_socket(port, 0.2)

    async def agent() -> list[str]:
        return await asyncio.gather(answer("long", 1.0), guarded())

    bench = Bench()
    live = bench.new(agent)
    assert bench.execute_replay(agent) == live


@pytest.mark.slow
@pytest.mark.parametrize("agent", QUICK)
def test_a_replay_takes_no_time(agent: Callable[[], Any]) -> None:
    """Of more than a second when it was recorded."""
    clock = asyncio.BaseEventLoop.time
    bench = Bench()
    began = time.monotonic()
    live = bench.new(agent)
    took = time.monotonic() - began
    began = time.monotonic()
    assert bench.execute_replay(agent) == live
    assert time.monotonic() - began < took / 3
    assert asyncio.BaseEventLoop.time is clock, "loops have their own clock back"


def test_timers_that_are_due_at_once_go_off_one_by_one() -> None:
    """Who waits for the first of them finds one, live and on replay."""

    async def agent() -> list[list[int]]:
        loop = asyncio.get_running_loop()
        at = loop.time() + 0.05
        futures = [loop.create_future() for _ in range(3)]
        for n, future in enumerate(futures):
            loop.call_at(at, future.set_result, n)
        pending, said = set(futures), []
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            said.append(sorted(future.result() for future in done))
        await answer("and on")
        return said

    bench = Bench()
    assert bench.new(agent) == [[0], [1], [2]]
    assert bench.execute_replay(agent) == [[0], [1], [2]]


@pytest.mark.slow
def test_the_time_of_others_is_their_own(tmp_path: Path) -> None:
    """A loop keeps its time for tasks outside of the run that is replayed in it."""
    beats: list[tuple[float, float]] = []

    async def beat() -> None:
        while True:
            await asyncio.sleep(0.05)
            beats.append((asyncio.get_running_loop().time(), time.monotonic()))

    async def work(*, fails: bool) -> float:
        async with durable.run("naps", store=str(tmp_path / "journal.db")):
            await answer("x")
            await asyncio.sleep(1)
            began = asyncio.get_running_loop().time()
            await answer("y")
            await asyncio.sleep(0.3)
            if fails:
                raise ValueError
            return began

    async def main() -> None:
        beating = asyncio.create_task(beat())
        with pytest.raises(ValueError):
            await work(fails=True)
        beats.clear()
        began = time.monotonic()
        ahead = await work(fails=False) - began
        took = time.monotonic() - began
        assert 0.9 < ahead < 1.3, "the run's own clock is ahead by what it did not sleep"
        assert took < 1, "nothing is recorded after its last sleep, which is slept again"
        assert beats, "others go on"
        beating.cancel()

    asyncio.run(main())
    assert all(abs(loops - real) < 0.05 for loops, real in beats)
