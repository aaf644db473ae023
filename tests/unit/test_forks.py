"""Forks with something else at a step, in one process: what is made anew, and what is refused."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from forked_agents import at, go_on, three
from runs import Bench

import jupyter_durable as durable
from jupyter_durable.errors import DurableError, RunParked
from jupyter_durable.session import forking
from jupyter_durable.testing import Crash, crash_at


def test_a_step_has_another_result_and_what_follows_is_made_anew(bench: Bench) -> None:
    """The step itself is not made; its parent stays what it was."""
    agent = three(bench)
    assert bench.new(agent) == [0, 1, 11, 111]
    parent = bench.record
    made = sum(bench.effects.values())

    forked = bench.facade.fork("run", "1.1", result=50)

    assert (forked.at, forked.step, forked.how, forked.replayed) == ("1.1", "add", "result", 2)
    assert forked.repeats == {"add": 1}
    assert "1 whose effects have already happened may be made again (add)" in str(forked)
    assert bench.facade.run(forked.id).status == "interrupted"
    assert go_on(bench, forked, agent) == [0, 1, 50, 150]
    assert any("leaves behind 1 step whose effects" in notice for notice in bench.notices)
    assert sum(bench.effects.values()) == made + 1
    assert bench.effects["add(50, 100)"] == 1
    assert [(s.id, s.result, s.history) for s in bench.steps()] == [
        ("1.0", "1", False), ("1.1", "50", False), ("1.2", "111", True), ("1.3", "150", False),
    ]  # fmt: skip
    assert bench.execute_replay(agent) == [0, 1, 50, 150]
    assert bench.store.run(parent.id).head_hash == parent.head_hash
    assert bench.store.verify() == []


def test_other_arguments_reach_the_tool(bench: Bench) -> None:
    """The call stays the one that the code makes. Also in a fork of the fork whose code was edited because it failed there."""
    seen: list[tuple[str, int]] = []
    fails = [False]

    @durable.tool
    def fetch(url: str, n: int = 3) -> str:
        seen.append((url, n))
        if fails[0]:
            raise ConnectionError("down")
        return f"{url} {n}"

    def agent() -> list[str]:
        return [fetch("a"), fetch("b", n=4), fetch("c")]

    bench.new(agent)
    forked = bench.facade.fork("run", "1.1", arguments={"url": "x"})
    assert go_on(bench, forked, agent) == ["a 3", "x 4", "c 3"]
    assert seen[3:] == [("x", 4), ("c", 3)]
    assert bench.execute_replay(agent) == ["a 3", "x 4", "c 3"]
    assert "x" in str(bench.steps()[1].edited)

    fails[0] = True
    with pytest.raises(ConnectionError):
        go_on(bench, bench.facade.fork("run", "1.0", arguments={"n": 9}), agent)
    fails[0] = False
    assert bench.fork(lambda: [*agent(), "edited"]) == ["a 9", "b 4", "c 3", "edited"]
    assert seen[5:] == [("a", 9), ("a", 9), ("b", 4), ("c", 3)]


def test_in_gathered_strands_only_what_follows_is_made_anew(bench: Bench) -> None:
    """Siblings do not depend on the step, and replay; what was awaited after them does."""
    made: list[str] = []

    @durable.tool
    async def work(name: str, n: int) -> str:
        made.append(f"{name}{n}")
        await asyncio.sleep(0.001)
        return f"{name}{n}"

    async def strand(name: str) -> list[str]:
        first = await work(name, 0)
        return [first, await work(first, 1)]

    async def agent() -> list[Any]:
        found = await asyncio.gather(*(strand(name) for name in "abc"))
        return [*found, await work("+".join(each for pair in found for each in pair), 9)]

    def run() -> Any:
        return asyncio.run(agent())

    bench.new(run)
    (step,) = (s.id for s in bench.steps() if s.result == "'b0'")
    forked = bench.facade.fork("run", step, result="B")
    made.clear()
    assert go_on(bench, forked, run) == [["a0", "a01"], ["B", "B1"], ["c0", "c01"], "a0+a01+B+B1+c0+c019"]
    assert made == ["B1", "a0+a01+B+B1+c0+c019"]
    assert bench.execute_replay(run)[1] == ["B", "B1"]


def test_beside_a_strand_that_was_running(bench: Bench) -> None:
    """Strands were spawned and joined while that of the step went on: what was joined by then replays."""
    look = bench.tool(lambda what: what, name="look")

    async def slow(go: asyncio.Event) -> list[str]:
        first = look("slow")
        await go.wait()
        return [first, look("slow, later")]

    async def one(what: str) -> str:
        return look(what)

    async def agent() -> list[Any]:
        go = asyncio.Event()
        running = asyncio.create_task(slow(go))
        found = [await asyncio.create_task(one("joined")), await asyncio.create_task(one("after"))]
        go.set()
        return [*found, await running]

    ended = bench.new(agent)
    forked = bench.facade.fork("run", at(bench, "look"))
    assert go_on(bench, forked, agent) == ended
    made = {call: n for call, n in bench.effects.items() if n > 1}
    assert made.keys() <= {"look('slow',)", "look('slow, later',)", "look('after',)"}


def test_inside_a_step_that_one_goes_on_from_there(bench: Bench) -> None:
    """What it had done before replays, what it does from there on is made anew, and so is what follows it."""
    outside: list[str] = []
    inner = bench.tool(lambda n: n, name="inner")

    @durable.tool
    def outer(n: int) -> list[int]:
        outside.append("outer")
        first = inner(n)
        return [first, inner(first + 1), inner(first + 2)]

    def agent() -> list[Any]:
        return [inner(0), outer(10), inner(99)]

    bench.new(agent)
    made = dict(bench.effects)
    forked = bench.facade.fork("run", at(bench, "inner", 2), result=1000)
    assert forked.repeats == {"inner": 2, "outer": 1}
    assert go_on(bench, forked, agent) == [0, [10, 1000, 12], 99]
    assert outside == ["outer", "outer"]
    assert {k: n - made.get(k, 0) for k, n in bench.effects.items() if n > made.get(k, 0)} == {
        "inner(12,)": 1,
        "inner(99,)": 1,
    }
    assert bench.execute_replay(agent) == [0, [10, 1000, 12], 99]
    again = bench.facade.fork("run", at(bench, "inner", 2))
    assert go_on(bench, again, agent) == [0, [10, 11, 12], 99]


def test_in_threads(bench: Bench) -> None:
    """As among tasks."""
    add = bench.tool(lambda a, b: a + b, name="add")

    def strand(n: int) -> int:
        first: int = add(n, 1)
        return int(add(first, 10))

    def agent() -> list[int]:
        with ThreadPoolExecutor(3) as pool:
            found = list(pool.map(strand, (100, 200, 300)))
        return [*found, add(sum(found), 0)]

    bench.new(agent)
    (step,) = (s.id for s in bench.steps() if s.result == "201")
    made = dict(bench.effects)
    assert go_on(bench, bench.facade.fork("run", step, result=5), agent) == [111, 15, 311, 437]
    assert {k for k, n in bench.effects.items() if n > made.get(k, 0)} == {"add(5, 10)", "add(437, 0)"}


def test_a_failed_step_has_a_result_and_the_run_goes_on(bench: Bench) -> None:
    """The commonest wish of all."""
    agent = three(bench)
    fails = bench.tool(lambda: 1 / 0, name="fails")

    def whole() -> Any:
        return [agent(), fails(), agent()]

    with pytest.raises(ZeroDivisionError):
        bench.new(whole)
    forked = bench.facade.fork("run", "fails", result="fine")
    assert forked.repeats == {}
    assert go_on(bench, forked, whole) == [[0, 1, 11, 111], "fine", [0, 1, 11, 111]]


@pytest.mark.parametrize(
    "point", ["after-open", "after-start", "after-call", "after-outcome", "before-close"]
)
@pytest.mark.parametrize("change", [{"result": 50}, {"arguments": {"n": 49}}, {}])
def test_a_fork_that_is_killed_resumes_as_itself(bench: Bench, point: str, change: dict[str, Any]) -> None:
    """What was changed stays changed, what the fork did stays done."""
    made: list[tuple[int, int]] = []

    @durable.tool
    def add(total: int, n: int) -> int:
        made.append((total, n))
        return total + n

    def agent() -> list[int]:
        found = [0]
        for n in (1, 10, 100):
            found.append(add(found[-1], n))
        return found

    bench.new(agent)
    bench.facade.fork("run", "1.1", **change)
    with crash_at(point, 1), pytest.raises(Crash):
        bench.resume(agent)
    assert bench.resume(agent) == [0, 1, *((50, 150) if change else (11, 111))]
    twice = {"after-start": 0, "after-call": 1}.get(point, 0)
    assert len(made) == 3 + (1 if "result" in change else 2) + twice
    assert bench.store.verify() == []


def test_nothing_unsafe_is_repeated_unasked(bench: Bench) -> None:
    """With other arguments, too: a person says so."""
    sent: list[str] = []

    @durable.tool(effect="unsafe")
    def send(to: str) -> str:
        sent.append(to)
        return f"sent to {to}"

    def agent() -> list[str]:
        return [send("ann")]

    bench.new(agent)
    forked = bench.facade.fork("run", "send", arguments={"to": "bob"})
    with pytest.raises(RunParked, match="send is about to be repeated"):
        go_on(bench, forked, agent, park_after=0.0)
    assert sent == ["ann"]
    bench.facade.retry(forked.id, "send")
    assert bench.resume(agent) == ["sent to bob"]
    assert sent == ["ann", "bob"]


def test_what_needs_approval_needs_it_again(bench: Bench) -> None:
    """And whoever approves sees the arguments that the call will have; they hold after a crash."""
    sent: list[str] = []
    asked: list[str] = []

    @durable.tool(approval=lambda to: asked.append(to) or True)
    def send(to: str) -> str:
        sent.append(to)
        return to

    def agent() -> list[str]:
        return [send("ann")]

    with pytest.raises(RunParked):
        bench.new(agent, park_after=0.0)
    bench.facade.approve("run", "send")
    bench.resume(agent)
    forked = bench.facade.fork("run", "send", arguments={"to": "bob"})
    with pytest.raises(RunParked):
        go_on(bench, forked, agent, park_after=0.0)
    assert (sent, asked[-1]) == (["ann"], "bob")
    bench.facade.approve(forked.id, "send")
    with crash_at("after-start"), pytest.raises(Crash):
        bench.resume(agent)
    assert bench.resume(agent) == ["bob"]
    assert sent == ["ann", "bob"]


def test_generators_and_questions(bench: Bench) -> None:
    """The items of a generator are a list; an answer must fit the question."""

    @durable.tool
    def count(n: int) -> Any:
        yield from range(n)

    def agent() -> Any:
        return [list(count(3)), durable.ask("Which?", Literal["warm", "dry"])]

    with pytest.raises(RunParked):
        bench.new(agent, park_after=0.0)
    bench.facade.answer("run", "ask", "warm")
    assert bench.resume(agent) == [[0, 1, 2], "warm"]
    with pytest.raises(DurableError, match="list of its items"):
        bench.facade.fork("run", "count", result=7)
    assert go_on(bench, bench.facade.fork("run", "ask", result="dry"), agent) == [[0, 1, 2], "dry"]
    with pytest.raises(DurableError, match="does not fit"):
        forking.fork(bench.facade, "run", at="ask", result="wet", as_json=True)
    with pytest.raises(RunParked):
        go_on(bench, bench.facade.fork("run", "count", result=[7, 8]), agent, park_after=0.0)
    bench.facade.answer("run", "ask", "warm")
    assert bench.resume(agent) == [[7, 8], "warm"]


@dataclass
class Page:
    """A value that JSON does not have."""

    title: str
    score: float = 0.0


def test_json_becomes_what_the_step_gave(bench: Bench) -> None:
    """A dataclass, where the class is at hand."""
    read = bench.tool(lambda title: Page(title, 0.5), name="read")

    def agent() -> Any:
        return read("a")

    bench.new(agent)
    forked = forking.fork(bench.facade, "run", at="read", result={"title": "b", "score": 1}, as_json=True)
    assert go_on(bench, forked, agent) == Page("b", 1.0)
    with pytest.raises(DurableError, match="score"):
        forking.fork(bench.facade, "run", at="read", result={"title": "b", "score": "x"}, as_json=True)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"at": "9.9"}, "has no step '9.9'"),
        ({"at": "nope"}, "has no step 'nope'"),
        ({"at": "1.0", "result": 1, "arguments": {"n": 1}}, "needs no arguments"),
        ({"at": "1.0", "arguments": {}}, "given by name"),
        ({"at": "1.0", "arguments": {"m": 1}}, "'m' was unexpected"),
        ({"at": "1.0", "arguments": {"n": "x"}}, "does not fit"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_hint(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], says: str
) -> None:
    """And no fork is made."""
    import __main__

    @durable.tool(name="add")
    def add(total: int, n: int) -> int:
        return total + n

    monkeypatch.setattr(__main__, "add", add, raising=False)
    bench.new(lambda: add(0, 1))
    with pytest.raises(DurableError, match=says) as caught:
        forking.fork(bench.facade, "run", **change)
    assert caught.value.hint
    assert len(bench.store.runs()) == 1


def test_a_run_in_flight_is_not_forked(bench: Bench) -> None:
    """What it is about to do is not known yet; the hint says how to stop it."""
    call = bench.tool(lambda: bench.facade.fork("run", "1.0", result=1), name="call")
    with pytest.raises(DurableError, match="is being executed") as caught:
        bench.new(call)
    assert "cancel" in caught.value.hint
