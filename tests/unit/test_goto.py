"""Back in time, in one process: replays that stop at a step, the namespace as it was then."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest
from forked_agents import at
from runs import Bench

import jupyter_durable as durable
from jupyter_durable.runtime.run import ReplayEnd
from jupyter_durable.testing import execute


def goto(bench: Bench, step: str, fn: Callable[[], Any]) -> None:
    """Replay the newest run up to a step: it must end there, with nothing executed or written."""
    made, head = dict(bench.effects), bench.record.head_seq
    with pytest.raises(BaseException) as caught:
        execute(bench.session, bench.session.replay(bench.record, until=step), fn)
    error = caught.value
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ReplayEnd | asyncio.CancelledError)
    assert dict(bench.effects) == made
    assert bench.record.head_seq == head


def test_a_sequential_run_stops_before_each_step(bench: Bench) -> None:
    """What was assigned by then is there, and nothing that came later."""
    look = bench.tool(lambda n: n, name="look")
    seen: list[int] = []

    def agent() -> None:
        seen.clear()
        for n in range(4):
            value = look(n)
            seen.append(value)

    bench.new(agent)
    for n in (3, 0, 2, 1):
        goto(bench, f"1.{n}", agent)
        assert seen == list(range(n))


def test_gathered_strands_stand_where_they_stood(bench: Bench) -> None:
    """Each has what the journal had for it when the step was made, whoever awaits the strand of that step."""
    seen: dict[str, list[int]] = {}
    made: list[str] = []

    async def work(name: str, n: int) -> int:
        made.append(f"{name}{n}")
        await asyncio.sleep({"a": 0.004, "b": 0.001, "c": 0.002}[name])
        return n

    tool = durable.tool(name="work")(work)

    async def strand(name: str) -> None:
        seen[name] = []
        for n in range(3):
            seen[name].append(await tool(name, n))

    async def agent() -> list[Any]:
        seen.clear()
        return await asyncio.gather(*(strand(name) for name in "abc"), return_exceptions=True)

    bench.new(lambda: asyncio.run(agent()))
    index = bench.session.index(bench.record.id)
    steps = index.all_steps()
    names = {s.scope: made[n][0] for n, s in enumerate(s for s in steps if s.pos == 0)}
    for step in steps:
        goto(bench, step.id, lambda: asyncio.run(agent()))
        counts = {
            name: sum(bool(s.outcome and s.outcome.seq < step.seq) for s in steps if names[s.scope] == name)
            for name in "abc"
        }
        assert {name: len(seen.get(name, ())) for name in "abc"} == counts, step.id
    assert len(made) == 9, "nothing was executed"


def test_a_step_inside_another_stops_at_the_outermost(bench: Bench) -> None:
    """A replay answers steps from their outcomes; what was done inside one is not gone through again."""
    seen: list[str] = []
    inner = bench.tool(lambda n: f"inner {n}", name="inner")
    outer = bench.tool(lambda n: [inner(n), inner(n + 1)], name="outer")

    def agent() -> None:
        seen.clear()
        seen.append(inner(0))
        seen.append(outer(1))
        seen.append(inner(9))

    bench.new(agent)
    goto(bench, at(bench, "inner", 2), agent)
    assert seen == ["inner 0"]
    goto(bench, at(bench, "inner", 3), agent)
    assert seen == ["inner 0", ["inner 1", "inner 2"]]


def test_a_group_around_a_thread_ends_with_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the thread that comes to the step takes to say so, the group does not go on without its child."""
    went_on: list[str] = []
    tool = bench.tool(lambda n: n, name="look")

    async def agent() -> list[int]:
        found: dict[int, int] = {}

        async def keep(n: int) -> None:
            found[n] = await asyncio.to_thread(tool, n)

        async with anyio.create_task_group() as group:
            for n in range(2):
                group.start_soon(keep, n)
        went_on.append("the group has ended")
        return [found[n] for n in range(2)]

    def slowly(self: asyncio.BaseEventLoop, callback: Any, *args: Any, context: Any = None) -> Any:
        handle = said(self, callback, *args, context=context)
        time.sleep(0.02)  # so that the loop has gone round before this thread's next line
        return handle

    bench.new(lambda: asyncio.run(agent()))
    said = asyncio.BaseEventLoop.call_soon_threadsafe
    monkeypatch.setattr(asyncio.BaseEventLoop, "call_soon_threadsafe", slowly)
    for n in range(2):
        went_on.clear()
        goto(bench, at(bench, "look", n), lambda: asyncio.run(agent()))
        assert went_on == []


@pytest.mark.parametrize("pooled", [True, False])
def test_threads_stand_where_they_stood(bench: Bench, pooled: bool) -> None:
    """A thread that comes to the step is no error of that thread, and the others go no further."""
    seen: dict[int, list[int]] = {}
    gates = [threading.Event() for _ in range(4)]

    def work(strand: int, n: int) -> int:
        if (strand, n) != (0, 0):
            gates[strand * 2 + n - 1].wait(20)
        gates[strand * 2 + n].set()
        return n

    tool = bench.tool(work, name="work")

    def strand(number: int) -> None:
        seen[number] = []
        for n in range(2):
            seen[number].append(tool(number, n))

    def agent() -> None:
        seen.clear()
        if pooled:
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(strand, range(2)))
        else:
            threads = [threading.Thread(target=strand, args=(n,)) for n in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        tool(1, 1)

    bench.new(agent)
    ids = {s.arguments: s.id for s in bench.steps()[::-1]}
    goto(bench, ids["work(1, 1)"], agent)
    assert (seen[0], seen[1]) == ([0, 1], [0])
    goto(bench, ids["work(0, 1)"], agent)
    assert (seen[0], seen.get(1, [])) == ([0], [])


def test_what_a_retry_made_history_of_can_be_gone_to(bench: Bench) -> None:
    """The journal up to there counts, whatever became of it later."""
    seen: list[str] = []
    fails = [True]

    def book(n: int) -> str:
        if fails[0]:
            raise ConnectionError("full")
        return f"booked {n}"

    tool = bench.tool(book, name="book")
    undo = bench.tool(lambda n: "undone", name="undo")

    def agent() -> None:
        seen.clear()
        try:
            seen.append(tool(1))
        except ConnectionError:
            seen.append("failed")
            seen.append(undo(1))
            raise

    with pytest.raises(ConnectionError):
        bench.new(agent)
    fails[0] = False
    bench.resume(agent)
    assert seen == ["booked 1"]
    goto(bench, at(bench, "undo"), agent)
    assert seen == ["failed"]
