"""What `ls` counts is what folding the whole journal counts, and costs one entry a run."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runs import Bench

import jupyter_durable as durable
from jupyter_durable.journal.tally import kept, tally
from jupyter_durable.session import Session, Store
from jupyter_durable.session.watching import Watch
from jupyter_durable.store import connect
from jupyter_durable.timeline import view


def folded(store: Store, run: str) -> Any:
    """The counts as the journal itself has them."""
    session = Session(store.journal)
    record = store.journal.run(run)
    return view.counts(
        tally(session.index(run)), alive=session.alive(record), waiting=record.status == "waiting"
    )


def is_kept(store: Store, run: str) -> bool:
    """Whether the run's last entry has the tally, so that nothing needs to be folded."""
    return kept(list(store.journal.entries(run))[-1]) is not None


def rows(bench: Bench) -> list[Any]:
    """The newest run's timeline."""
    watch = Watch(bench.facade, bench.record.id)
    watch.read()
    return [row for page in watch.pages() for row in page["rows"]]


def check(bench: Bench, *, keeps: bool = True) -> Any:
    """The newest run's counts, which are right, and kept (or not)."""
    run = bench.record.id
    info = bench.facade.run(run)
    assert info.steps == folded(bench.facade, run)
    assert is_kept(bench.facade, run) is keeps
    return info.steps


def test_a_completed_run_and_one_of_nothing(bench: Bench) -> None:
    """Completed and failed steps, nested ones and several attempts count as they stand."""
    fetch = bench.tool(lambda n: n, name="fetch")
    outer = bench.tool(lambda n: fetch(n) + fetch(n + 1), name="outer")
    tries = iter((ConnectionError("no"), None))

    @bench.tool(retries=1, backoff=0.001)
    def flaky() -> int:
        if error := next(tries):
            raise error
        return 1

    @bench.tool
    def broken() -> None:
        raise ValueError("no")

    def agent() -> int:
        with pytest.raises(ValueError, match="no"):
            broken()
        return sum(fetch(n) for n in range(3)) + outer(5) + flaky()

    bench.new(agent)
    counted = check(bench)
    assert (counted.completed, counted.failed) == (7, 1)
    bench.new(lambda: None)
    assert check(bench).completed == 0


def test_a_run_that_was_killed_is_folded(bench: Bench) -> None:
    """A run without an end has no tally; taken up again, it has one that counts all of it."""
    fetch = bench.tool(lambda n: n, name="fetch")

    def agent() -> int:
        return sum(fetch(n) for n in range(5))

    bench.crash("after-start", 3, agent)
    counted = check(bench, keeps=False)
    assert (counted.completed, counted.running + counted.in_doubt) == (2, 1)
    bench.crash("after-call", 2, agent, resume=True)
    check(bench, keeps=False)
    bench.resume(agent)
    assert check(bench).completed == 5


def test_a_failed_run_and_its_retry(bench: Bench) -> None:
    """A reopened step counts once, and what was made while unwinding is history."""
    answers: list[Any] = [RuntimeError("down"), "up"]

    @bench.tool
    def call() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    note = bench.tool(lambda: None, name="note")

    def agent() -> Any:
        try:
            return call()
        except RuntimeError:
            note()
            raise

    with pytest.raises(RuntimeError):
        bench.new(agent)
    assert check(bench).failed == 1
    assert bench.resume(agent) == "up"
    counted = check(bench)
    assert (counted.completed, counted.failed) == (1, 0)


def test_forks(bench: Bench) -> None:
    """What a fork has left behind is not its own; its parent's tally stays."""
    fetch = bench.tool(lambda n: n, name="fetch")
    bench.new(lambda: [fetch(n) for n in range(6)])
    parent = bench.record.id
    bench.fork(lambda: [fetch(n) for n in (0, 1, 2, 9)])
    assert check(bench).completed == 4
    bench.fork(lambda: [fetch(n) for n in (0, 1, 7)], at="1.2", kind="user")
    assert check(bench).completed == 3
    assert bench.facade.run(parent).steps.completed == 6


def test_cancellations(bench: Bench) -> None:
    """Cancelled steps, those that the run survives and those that end it, count as replay takes them."""

    @durable.tool
    async def slow(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    async def survives() -> float:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(slow(60), 0.01)
        return await slow(0)

    bench.new(survives)
    assert check(bench).completed == 1

    async def ends() -> None:
        async with asyncio.timeout(0.05):
            await asyncio.gather(slow(0), slow(60))

    with pytest.raises(TimeoutError):
        bench.new(ends)
    check(bench)


def test_a_step_that_waits_for_a_person(bench: Bench) -> None:
    """A parked run's step is in doubt, in its tally too; cancelled without a process, the run is folded."""
    send = bench.tool(lambda: "sent", name="send", effect="unsafe")
    bench.crash("after-call", 1, send)
    with pytest.raises(durable.RunParked):
        bench.resume(send, park_after=0.0)
    assert check(bench).in_doubt == 1
    bench.facade.cancel(bench.record.id)
    check(bench, keeps=False)


@pytest.mark.slow
def test_two_hundred_runs_cost_an_entry_each(tmp_path: Path) -> None:
    """Listing a store does not depend on how long its runs' journals are."""

    @durable.tool
    def work(number: int) -> int:
        return number

    def fill(url: Path, steps: int) -> Store:
        session = Session(connect(url))
        for number in range(200):
            run = session.new(f"run {number}")
            drive(run, lambda: [work(n) for n in range(steps)])
            session.close_run(run, None)
        return Store(session.store)

    def drive(run: Any, body: Callable[[], Any]) -> None:
        from jupyter_durable.runtime.activation import Activation

        activation = Activation(run)
        activation.enter()
        try:
            body()
        finally:
            activation.leave()

    def seconds(what: Callable[[], Any]) -> float:
        best = float("inf")
        for _ in range(10):
            began = time.perf_counter()
            what()
            best = min(best, time.perf_counter() - began)
        return best

    with fill(tmp_path / "short.db", 2) as short, fill(tmp_path / "long.db", 40) as long:
        infos = long.runs()
        assert [info.steps for info in infos] == [folded(long, info.id) for info in infos]
        assert {info.steps.completed for info in infos} == {40}
        listed, folding = seconds(long.runs), seconds(lambda: [folded(long, i.id) for i in infos])
        assert listed < folding / 3, f"{listed:.3f} s, folding takes {folding:.3f} s"
        assert listed < seconds(short.runs) * 3, "a long journal is not read"


def test_an_open_step_that_a_fork_leaves_is_cancelled(bench: Bench) -> None:
    """Nothing comes of it any more: it is not in doubt, neither in the list nor among the steps nor in the timeline."""
    fetch, write = (bench.tool(lambda n: n, name=name) for name in ("fetch", "write"))
    edited = False

    def agent() -> Any:
        return [fetch(1), write(2) if edited else fetch(2)]

    bench.crash("after-start", 2, agent)
    assert bench.steps()[1].status in ("running", "in_doubt")
    edited = True
    assert bench.fork(agent) == [1, 2]
    counts = check(bench)
    assert (counts.completed, counts.in_doubt, counts.running) == (2, 0, 0)
    assert [(s.name, s.status, s.history) for s in bench.steps()] == [
        ("fetch", "completed", False),
        ("fetch", "cancelled", True),
        ("write", "completed", False),
    ]
    assert [row["status"] for row in rows(bench)] == ["completed", "cancelled", "completed"]


def test_an_open_step_inside_one_that_is_over_is_cancelled(bench: Bench) -> None:
    """A call that a tool leaves under way when it fails, in a run that fails by it."""
    under_way: list[asyncio.Task[Any]] = []

    @durable.tool
    async def slow() -> None:
        await asyncio.sleep(60)

    @durable.tool
    async def hasty() -> None:
        under_way.append(asyncio.ensure_future(slow()))
        while not any(step.name == "slow" for step in bench.steps()):
            await asyncio.sleep(0.001)
        raise ValueError("too late")

    async def agent() -> None:
        with contextlib.suppress(ValueError):
            await hasty()
        raise KeyError("stop")

    with pytest.raises(KeyError):
        bench.new(agent)
    counts = check(bench)
    assert (counts.failed, counts.in_doubt) == (1, 0)
    assert [(s.name, s.status) for s in bench.steps()] == [("hasty", "failed"), ("slow", "cancelled")]
    assert [row["status"] for row in rows(bench)] == ["failed", "cancelled"]
