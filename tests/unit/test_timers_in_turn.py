"""Timers whose time comes while an outcome is being written: who is first is journaled, and first again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from runs import Bench

import jupyter_durable as durable
from jupyter_durable.journal.index import Index
from jupyter_durable.store.memory import MemoryStore

pytestmark = pytest.mark.usefixtures("others")


class SlowDisk(MemoryStore):
    """Outcomes take their time to be written."""

    def write(self, lease: Any, drafts: Any, **how: Any) -> Any:
        """As any store does."""
        if any(draft.type == "outcome" for draft in drafts):
            time.sleep(0.08)
        return super().write(lease, drafts, **how)


class SlowBench(Bench):
    """Runs in such a store."""

    def __init__(self) -> None:
        super().__init__()
        self.session.store = self.store = SlowDisk()


@durable.tool
async def answer(what: str, after: float = 0.0) -> str:
    """Takes its time when it is made."""
    await asyncio.sleep(after)
    return what


async def not_too_late() -> list[str]:
    """The time is over when the answer has come, and is yet to be written."""
    said = []
    try:
        async with asyncio.timeout(0.08):
            said.append(await answer("in time", 0.04))
    except TimeoutError:
        said.append("too late")
    return [*said, await answer("and on")]


async def cancelled_by_it() -> list[str]:
    """What the answer sets off cancels a sleep whose time has come meanwhile; another one goes on."""
    said: list[str] = []

    async def nap(name: str) -> None:
        await asyncio.sleep(0.08)
        said.append(name)

    async def ask() -> None:
        said.append(await answer("in time", 0.04))
        first.cancel()

    first, second = asyncio.create_task(nap("first")), asyncio.create_task(nap("second"))
    asking = asyncio.create_task(ask())
    await asyncio.wait([first, second], return_when=asyncio.FIRST_COMPLETED)
    said.append(await answer(f"after {said}"))
    await asyncio.gather(second, asking)
    return said


async def behind_another() -> list[str]:
    """Two answers in one commit, and a sleep whose time comes between them."""
    said: list[str] = []

    async def ask(name: str, after: float) -> None:
        said.append(await answer(name, after))

    async def nap() -> None:
        await asyncio.sleep(0.06)
        said.append("rested")

    await asyncio.gather(ask("a", 0.01), ask("b", 0.04), nap(), ask("c", 0.08))
    return [*said, await answer(f"after {said}")]


SAID = {
    not_too_late: ["in time", "and on"],
    cancelled_by_it: ["in time", "second", "after ['in time']"],
    behind_another: ["a", "b", "rested", "c", "after ['a', 'b', 'rested', 'c']"],
}


@pytest.mark.parametrize("agent", SAID)
def test_an_outcome_that_is_being_written_is_first(agent: Callable[[], Any]) -> None:
    """A timer waits for what was there before it, live as on replay."""
    bench = SlowBench()
    assert bench.new(agent) == SAID[agent]
    for _ in range(3):
        assert bench.execute_replay(agent) == SAID[agent]


@pytest.mark.slow
@pytest.mark.parametrize("agent", SAID)
@pytest.mark.parametrize("nth", range(1, 5))
def test_so_it_is_by_two_processes(agent: Callable[[], Any], nth: int) -> None:
    """Wherever the first was killed, the journal of both replays."""
    bench = SlowBench()
    try:
        bench.crash("after-outcome", nth, agent)
    except AssertionError:
        return  # it has fewer steps
    said = bench.resume(agent)
    assert bench.execute_replay(agent) == said


def test_who_waited_and_was_cancelled_is_taken_back() -> None:
    """The entry of the answer after it was written when it was still to go off."""
    bench = SlowBench()
    bench.new(cancelled_by_it)
    entries = list(bench.store.entries(bench.record.id))
    told = sum(n for entry in entries for *_, n in entry.meta.get("rung", ()))
    back = sum(len(entry.meta.get("silent", ())) for entry in entries)
    assert len(Index(entries).rung.timers()) == told - back == 1


@pytest.mark.slow
def test_what_only_beats_time_takes_few_bytes() -> None:
    """Thousands of ticks before an answer are as many as one."""

    async def agent() -> list[str]:
        async def beat(every: float) -> None:
            while True:
                await asyncio.sleep(every)

        beating = [asyncio.create_task(beat(0.001)), asyncio.create_task(beat(0.0015))]
        said = [await answer(str(n), 0.5) for n in range(2)]
        for beats in beating:
            beats.cancel()
        return said

    bench = Bench()
    assert bench.new(agent) == bench.execute_replay(agent)
    entries = list(bench.store.entries(bench.record.id))
    assert max(len(str(entry.meta)) for entry in entries) < 12_000
    timers = [timer for _, timer in Index(entries).rung.timers()]
    assert len(timers) > 500
    assert len(set(timers[: len(timers) // 4])) == 2, "they beat beside each other"
