"""Waiting and parking, in one process: what keeps a run from parking, and all kinds of waits together."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from people import PARK, parked, person, sender, until
from runs import Bench

import jupyter_durable as durable
from jupyter_durable.errors import ApprovalRejected, DurableError, RunParked, RunWaiting
from jupyter_durable.model import WaitInfo
from jupyter_durable.testing import prove
from jupyter_durable.testing.proving import execute

# -- waiting and parking -------------------------------------------------------------------------------


def test_a_sync_run_waits_and_goes_on(bench: Bench) -> None:
    """It blocks politely: the run is `waiting` meanwhile, and `running` after."""
    send = sender(bench)

    def decide() -> None:
        until(bench)
        bench.facade.approve(bench.record.id, "1.0")

    with person(decide):
        assert bench.new(lambda: send("a")) == "a x1"
    assert bench.record.status == "completed"


@pytest.mark.slow
def test_others_go_on_while_one_waits(bench: Bench) -> None:
    """And the run parks only when every strand waits."""
    done: list[int] = []

    @durable.tool
    async def work(n: int) -> int:
        await asyncio.sleep(0.05)
        done.append(n)
        return n

    async def worker() -> None:
        for n in range(6):
            await work(n)
            await asyncio.sleep(0.01)

    async def agent() -> Any:
        answers = await asyncio.gather(durable.ask("one?"), durable.ask("two?"), worker())
        return answers[:2]

    waits = parked(bench, agent)
    assert done == list(range(6))
    assert [w.prompt for w in waits] == ["one?", "two?"]
    run = bench.record.id
    with pytest.raises(DurableError, match="several steps 'ask' wait"):
        bench.facade.answer(run, "ask", "x")
    bench.facade.answer(run, waits[0].key, "1")
    (left,) = parked(bench, agent, resume=True)
    bench.facade.answer(run, left.key, "2")
    assert bench.resume(agent) == ["1", "2"]
    assert done == list(range(6))


@pytest.mark.slow
def test_a_task_in_the_background_parks_a_run_that_waits_for_it(bench: Bench) -> None:
    """Also where the code would wait for ever for what the parked strand does not do any more."""

    async def agent() -> Any:
        asked = asyncio.Event()

        async def background() -> None:
            await durable.ask("?")
            asked.set()

        task = asyncio.create_task(background())
        await asked.wait()
        await task
        return "done"

    (wait,) = parked(bench, agent)
    bench.facade.answer(bench.record.id, wait.key, "x")
    assert bench.resume(agent) == "done"


@pytest.mark.slow
def test_a_consumer_without_work_and_an_idle_thread_keep_nobody_from_parking(bench: Bench) -> None:
    """What waits for who waits, waits; what sleeps or works does not."""
    idle: queue.Queue[int] = queue.Queue()

    async def agent() -> Any:
        items: asyncio.Queue[str] = asyncio.Queue()
        got: list[str] = []

        async def consume() -> None:
            while (item := await items.get()) != "end":
                got.append(item)

        consumer = asyncio.create_task(consume())
        threading.Thread(target=idle.get, daemon=True).start()
        await items.put(await durable.ask("?"))
        await asyncio.sleep(0.3)
        await items.put("end")
        await consumer
        idle.put(1)
        return got

    (wait,) = parked(bench, agent)
    bench.facade.answer(bench.record.id, wait.key, "x")
    assert bench.resume(agent) == ["x"]


@pytest.mark.slow
def test_threads_wait_too(bench: Bench) -> None:
    """Each blocks on its own; all park."""
    send = sender(bench)

    async def agent() -> list[str]:
        return list(await asyncio.gather(*(asyncio.to_thread(send, to) for to in "abc")))

    waits = parked(bench, agent)
    assert len(waits) == 3
    for wait in waits:
        bench.facade.approve(bench.record.id, wait.key)
    assert bench.resume(agent) == ["a x1", "b x1", "c x1"]


@pytest.mark.slow
def test_sync_code_that_blocks_a_loop_parks_with_what_it_blocks(bench: Bench) -> None:
    """Tasks of that loop cannot go on, and so nobody waits for them; a thread that works is waited for."""
    send = sender(bench)
    slow = bench.tool(lambda: time.sleep(0.3) or "slow", name="slow")

    async def other() -> str:
        await asyncio.sleep(0)
        return "other"

    def work() -> Any:  # what a function refers to tells strands apart, and must not change
        return slow()

    async def agent() -> Any:
        tasks = [asyncio.create_task(other()), asyncio.create_task(asyncio.to_thread(work))]
        await asyncio.sleep(0.1)
        tasks.append(asyncio.create_task(other()))
        return send("a"), await asyncio.gather(*tasks)

    waits = parked(bench, agent)
    assert bench.effects == {"slow()": 1}
    bench.facade.approve(bench.record.id, waits[0].key)
    assert bench.resume(agent) == ("a x1", ["other", "slow", "other"])


def test_code_that_swallows_everything_is_parked_all_the_same(bench: Bench) -> None:
    """Later calls raise again, unjournaled."""
    send = sender(bench)
    calls: list[str] = []

    def agent() -> str:
        for to in "ab":
            try:
                send(to)
            except BaseException as error:
                calls.append(type(error).__name__)
        return "swallowed"

    parked(bench, agent)
    assert calls == ["RunParked", "RunParked"]
    assert len(bench.steps()) == 1


@pytest.mark.slow
def test_park_after_lets_it_wait_for_a_while(bench: Bench) -> None:
    """An answer that comes in time is taken, and the clock begins anew with each wait."""
    began = time.monotonic()
    with person(lambda: bench.facade.answer((until(bench)[0]).run, "1.0", "x")), pytest.raises(RunParked):
        bench.new(lambda: (durable.ask("one?"), durable.ask("two?")), park_after=0.5)
    assert time.monotonic() - began > 0.5
    assert [s.status for s in bench.steps()] == ["completed", "waiting"]


def test_in_scripts(tmp_path: Path) -> None:
    """`durable.run` does not wait for people unless it is told to, and says what it waits for."""
    url = str(tmp_path / "journal.db")

    @durable.run("script", store=url, approve="send*")
    def script() -> str:
        durable.sleep(0.01)
        return str(durable.step("send_it", lambda: "sent"))

    with pytest.raises(RunWaiting, match=r"approval of step 1\.1 send_it") as caught:
        script()
    assert "jupyter durable approve" in caught.value.hint
    with durable.open_store(url) as store:
        store.approve("script", "send_it")
    assert script() == "sent"


def test_a_child_run_parks_the_run_around_it(bench: Bench) -> None:
    """And goes on with it."""

    @durable.run("child")
    def child() -> str:
        return str(durable.ask("?"))

    def agent() -> str:
        try:
            return child() + "!"
        except Exception:
            return "swallowed"

    with pytest.raises(RunParked):
        bench.new(agent, **PARK)
    outer = next(r for r in bench.store.runs() if r.parent_id is None)
    assert outer.status == "waiting"
    inner = next(r for r in bench.store.runs() if r.parent_id is not None)
    bench.facade.answer(inner.id, "1.0", "yes")
    run = bench.session.resume(bench.store.run(outer.id))
    assert execute(bench.session, run, agent) == ("returned", "yes!")


def test_a_cancelled_run_stops_waiting(bench: Bench) -> None:
    """At once."""

    def stop() -> None:
        until(bench)
        bench.facade.cancel(bench.record.id)

    with person(stop), pytest.raises(BaseException, match="was cancelled"):
        bench.new(lambda: durable.ask("?"))
    assert bench.record.status == "cancelled"


# -- all together ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_agent_with_every_kind_of_wait_is_proven() -> None:
    """Crashes at every kind of moment, people and timers in between: one result."""

    @durable.tool(approval=lambda to: to != "nobody")
    async def send(to: str) -> str:
        return f"sent to {to}"

    @durable.tool(effect="unsafe", approval=True)
    def pay(amount: int) -> int:
        return amount

    async def talk(n: int) -> Any:
        answer = await durable.ask(f"question {n}?", int)
        await durable.sleep("1 h")
        return answer

    async def agent() -> Any:
        sent = [await send("nobody")]
        for to in ("ann", "bob", "eve"):
            try:
                sent.append(await send(to))
            except ApprovalRejected as error:
                sent.append(str(error.args[0]))
        answers = await asyncio.gather(talk(1), talk(2), durable.wait_for("go"))
        return sent, answers, await asyncio.to_thread(pay, 3)

    def people(wait: WaitInfo) -> Any:
        if wait.kind == "ask":
            return int(wait.prompt.split()[1].rstrip("?")) * 10
        if wait.kind == "signal":
            return "went"
        call = wait.call or ""
        return {"to": "max"} if "bob" in call else "not her" if "eve" in call else True

    proof = prove(agent, schedules=10, crashes=3, people=people)
    assert proof.result == (
        ["sent to nobody", "sent to ann", "sent to max", "not her"],
        [10, 20, "went"],
        3,
    )
    assert proof.crashes > 3
