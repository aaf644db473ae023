"""Timers, in one process: durations, moments, deadlines; what is left of them after a restart."""

from __future__ import annotations

import asyncio
import time

import pytest
from people import PARK, parked
from runs import Bench

import jupyter_durable as durable
from jupyter_durable.clock import duration, moment
from jupyter_durable.errors import DurableError
from jupyter_durable.testing import ManualClock


def test_durations_and_moments_as_people_write_them() -> None:
    """What is no time is refused."""
    assert [duration(t) for t in ("2 h", "90s", "1 day, 2 hours", "250 ms", "1.5 min")] == [
        7200,
        90,
        93600,
        0.25,
        90,
    ]
    now = 1_700_000_000.0
    for text in ("17:30", "00:00:01"):
        assert now < moment(text, now) <= now + 86400
    for wrong in ("", "soon", "2 x", "-1", "nan", "2 h and"):
        with pytest.raises(ValueError):
            duration(wrong)
    with pytest.raises(ValueError):
        moment("yesterday", now)
    with pytest.raises(DurableError, match="no duration"):
        durable.sleep("soon")


def test_a_timer_survives_restarts(bench: Bench) -> None:
    """What is left is waited for; one that is due returns at once; a replay waits for nothing."""
    clock = bench.session.clock = ManualClock()
    bench.facade._session.clock = clock
    tool = bench.tool(lambda n: n, name="tool")

    def agent() -> list[int]:
        first = tool(1)
        durable.sleep("2 h")
        return [first, tool(2)]

    began = clock.now()
    (wait,) = parked(bench, agent)
    assert (wait.kind, wait.until, wait.ready) == ("sleep", began + 7200, False)
    assert [step.status for step in bench.steps()] == ["completed", "waiting"]
    assert "waits for a timer" in str(bench.facade.plan(bench.record.id))

    clock.advance(3600)
    (wait,) = parked(bench, agent, resume=True)
    assert wait.until == began + 7200, "the timer goes on"
    assert bench.resume(agent) == [1, 2], "a sync run on a clock that moves"
    assert clock.now() == pytest.approx(began + 7200, abs=1)
    slept = clock.now()
    assert bench.execute_replay(agent) == [1, 2]
    assert clock.now() == slept
    assert bench.effects == {"tool(1,)": 1, "tool(2,)": 1}


@pytest.mark.slow
def test_a_timer_that_is_due_returns_at_once(bench: Bench) -> None:
    """Also in async code, where others go on meanwhile."""
    clock = bench.session.clock = ManualClock()
    log: list[str] = []

    async def other() -> None:
        log.append("other")

    async def agent() -> str:
        await asyncio.gather(durable.sleep(3600), other())
        return "done"

    parked(bench, agent)
    clock.advance(3600)
    assert bench.resume(agent, **PARK) == "done"
    assert log == ["other", "other"]


def test_a_brief_sleep_is_just_slept(bench: Bench) -> None:
    """It parks nobody who may wait for timers."""

    async def agent() -> float:
        began = time.monotonic()
        await durable.sleep(0.15)
        return time.monotonic() - began

    assert 0.14 < bench.new(agent, park_after=0.0) < 2
    durable.sleep(0.001)  # outside a run: an ordinary one
    asyncio.run(durable_sleep_outside())


async def durable_sleep_outside() -> None:
    """The same, awaited."""
    await durable.sleep(0.001)


def test_a_wait_that_is_dropped_is_warned_of(bench: Bench) -> None:
    """In sync code that async code calls, nothing may block: Python says which wait did not happen."""

    async def agent() -> str:
        durable.sleep(5)
        return "went on"

    with pytest.warns(RuntimeWarning, match=r"durable\.sleep.* was never awaited"):
        assert bench.new(agent) == "went on"


def test_a_deadline_waits_for_a_person_and_survives_a_resume(bench: Bench) -> None:
    """ "2 h" counts from the run's beginning, whatever the resumed cell says again; a person gives more time."""
    from jupyter_durable.journal.budget import Budget

    clock = bench.session.clock = ManualClock()
    bench.facade._session.clock = clock
    look = bench.tool(lambda n: n, name="look")

    def line() -> Budget:
        return Budget(None, None, moment("2 h", clock.now()), "2 h")

    def agent() -> list[int]:
        out = []
        for n in range(3):
            out.append(look(n))
            clock.advance(3600)
        return out

    (wait,) = parked(bench, agent, budget=line())
    assert wait.kind == "budget"
    assert "deadline" in wait.prompt
    parked(bench, agent, resume=True, budget=line())
    holds = bench.facade.raise_budget(bench.record.id, deadline="5 h")
    assert "until" in str(holds)
    assert bench.resume(agent, budget=line()) == [0, 1, 2]
    assert bench.effects == {"look(0,)": 1, "look(1,)": 1, "look(2,)": 1}
