"""Signals, in one process: queued, received once each, refused where they do not fit, sent from run to run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from people import parked, person, until
from runs import Bench

import jupyter_durable as durable
from jupyter_durable.errors import DurableError, RunParked
from jupyter_durable.session import Session, Store
from jupyter_durable.store import connect
from jupyter_durable.testing import Crash, crash_at
from jupyter_durable.testing.proving import execute


def test_signals_are_queued_and_received_once_each_in_order(bench: Bench) -> None:
    """Whenever they were sent, and whatever dies between."""

    async def agent() -> list[Any]:
        return [await durable.wait_for("go") for _ in range(4)]

    parked(bench, agent)
    for value in (1, {"two": 2}):
        bench.facade.signal(bench.record.id, "go", value)
    (wait,) = parked(bench, agent, resume=True)
    assert wait.what == "the signal go"
    bench.facade.signal(bench.record.id, "other", "not this one")
    bench.facade.signal(bench.record.id, "go", 3)
    bench.facade.signal(bench.record.id, "go", [4])
    assert bench.facade.waits(bench.record.id)[0].ready
    assert bench.resume(agent) == [1, {"two": 2}, 3, [4]]
    assert bench.execute_replay(agent) == [1, {"two": 2}, 3, [4]]
    with pytest.raises(DurableError, match="is completed"):
        bench.facade.signal(bench.record.id, "go", 5)


@pytest.mark.parametrize("point", ["before-wait", "after-wait", "after-outcome", "before-close"])
@pytest.mark.parametrize("nth", [1, 2])
def test_no_signal_is_lost_or_received_twice(bench: Bench, point: str, nth: int) -> None:
    """A crash at every moment of a wait."""
    if point == "before-close" and nth == 2:
        pytest.skip("once only")

    def agent() -> list[Any]:
        return [durable.wait_for("go"), durable.wait_for("go")]

    parked(bench, agent)
    for value in "ab":
        bench.facade.signal(bench.record.id, "go", value)
    bench.crash(point, nth, agent, resume=True)
    assert bench.resume(agent) == ["a", "b"]


def test_two_tasks_wait_for_one_name(bench: Bench) -> None:
    """Each gets another one; a timeout that comes while one is received loses none."""

    async def agent() -> list[Any]:
        got = await asyncio.gather(durable.wait_for("go"), durable.wait_for("go"))
        try:
            got.append(await durable.wait_for("go", timeout=0.05))
        except TimeoutError as error:
            got.append(str(error))
        return sorted(map(str, got))

    def send() -> None:
        until(bench, lambda waits: len(waits) == 2)
        for value in "ab":
            bench.facade.signal(bench.record.id, "go", value)

    with person(send):
        value = bench.new(agent)
    assert value == ["a", "b", "nobody sent go within 0.05 s"]
    assert bench.execute_replay(agent) == value


def test_a_timeout_outside_cancels_the_wait(bench: Bench) -> None:
    """On replay it is cancelled again; the signal that comes later goes to who waits then."""

    async def agent() -> Any:
        try:
            return await asyncio.wait_for(durable.wait_for("go"), 0.05)
        except TimeoutError:
            return "late", await durable.wait_for("go")

    def send() -> None:
        until(bench, lambda waits: waits and waits[0].step == "1.0")
        bench.facade.signal(bench.record.id, "go", "x")

    with person(send):
        value = bench.new(agent)
    assert value == ("late", "x")
    assert bench.execute_replay(agent) == value


def test_what_a_signal_must_be(bench: Bench) -> None:
    """While somebody waits, the sender is told; what was queued before is refused with a notice."""

    def agent() -> Any:
        durable.step("begin", lambda: None)
        return durable.wait_for("n", int)

    with crash_at("after-outcome"), pytest.raises(Crash):
        bench.new(agent)
    bench.facade.signal(bench.record.id, "n", "no number")
    parked(bench, agent, resume=True)
    assert any("cannot be used" in notice and "integer" in notice for notice in bench.notices)
    with pytest.raises(DurableError, match="not of type 'integer'"):
        bench.facade.signal(bench.record.id, "n", "still none")
    bench.facade.signal(bench.record.id, "n", 7)
    assert bench.resume(agent) == 7


def test_one_run_sends_to_another(tmp_path: Path) -> None:
    """As a step of its own: once, however often it is made."""
    store = connect(str(tmp_path / "journal.db"))
    session, facade = Session(store), Store(store)
    waiting = session.new("waiting")
    session.close_run(waiting, RunParked("later"))

    def agent() -> None:
        durable.send("waiting", "go", {"n": 1})

    run = session.new("sending")
    with crash_at("after-call"), pytest.raises(Crash):
        execute(session, run, agent)
    store.release(run.lease)
    execute(session, session.resume(store.run(run.id)), agent)
    sent = store.inbox(waiting.id)
    assert len(sent) == 1
    assert facade.steps(run.id)[0].status == "completed"
    store.close()
