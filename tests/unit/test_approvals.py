"""Approvals, in one process: what is held back, who decides, and what a crash or a fork does to a decision."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from people import PARK, parked, sender
from runs import Bench

import jupyter_durable as durable
from jupyter_durable.errors import AlreadyDecidedError, ApprovalRejected, DurableError, RunParked
from jupyter_durable.session import Session
from jupyter_durable.store import connect
from jupyter_durable.testing.proving import execute

# -- approvals ---------------------------------------------------------------------------------------


def test_approve_reject_and_edit(bench: Bench) -> None:
    """Nothing is called before somebody said so; a rejection is the tool's error; changed arguments are those used."""
    send = sender(bench)

    def agent() -> list[str]:
        out = []
        for name in "abc":
            try:
                out.append(send(name, times=2))
            except ApprovalRejected as error:
                out.append(f"no: {error.args[0]} ({error.by})")
        return out

    (wait,) = parked(bench, agent)
    run = bench.record.id
    assert (wait.kind, wait.step, wait.name, wait.call) == ("approval", "1.0", "send", "send('a', times=2)")
    assert wait.schema is not None
    assert wait.schema["properties"]["times"]["type"] == "integer"
    step = bench.steps()[0]
    assert (step.status, step.attempts, step.kind, step.wait) == (
        "waiting",
        0,
        "tool",
        "your approval of send",
    )
    assert bench.facade.run(run).steps.waiting == 1
    assert not bench.effects
    with pytest.raises(DurableError, match="times: 'x' is not of type 'integer'"):
        bench.facade.approve(run, "1.0", arguments={"times": "x"})
    with pytest.raises(DurableError, match="Additional properties"):
        bench.facade.approve(run, "1.0", arguments={"who": "x"})
    bench.facade.approve(run, "1.0", by="ann")
    with pytest.raises(AlreadyDecidedError, match="ann"):
        bench.facade.reject(run, "1.0", "late")

    parked(bench, agent, resume=True)
    assert bench.effects == {"a x2": 1}
    bench.facade.reject(run, "send", "not b", by="bob")
    parked(bench, agent, resume=True)
    bench.facade.approve(run, "1.2", arguments={"to": "d"}, by="ann")
    expected = ["a x2", "no: not b (bob)", "d x2"]
    assert bench.resume(agent) == expected
    assert bench.effects == {"a x2": 1, "d x2": 1}
    assert bench.execute_replay(agent) == expected
    steps = bench.steps()
    assert steps[2].arguments == "send('c', times=2)", "identity is the call as it was made"
    assert steps[2].edited == "{'to': 'd'} (said ann)"
    assert steps[1].error == "ApprovalRejected: not b"
    with pytest.raises(AlreadyDecidedError, match="by ann"):
        bench.facade.approve(run, "1.0")
    assert bench.facade.verify() == []


POINTS = ("before-wait", "after-wait", "before-start", "after-start", "after-call", "after-outcome")


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("is_async", [False, True])
def test_a_crash_between_decision_and_start_loses_nothing(bench: Bench, point: str, is_async: bool) -> None:
    """The approval holds, and for one call: whenever the process dies, nobody is asked again, and nothing else passes."""
    send = sender(bench)

    def agent() -> tuple[str, str]:
        return send("a"), send("b")

    async def agent_async() -> tuple[str, str]:
        return await asyncio.to_thread(send, "a"), await asyncio.to_thread(send, "b")

    fn: Any = agent_async if is_async else agent
    (wait,) = parked(bench, fn)
    bench.facade.approve(bench.record.id, wait.key, arguments={"to": "z"})
    bench.crash(point, 1, fn, resume=True)
    (second,) = parked(bench, fn, resume=True)
    assert second.key != wait.key
    assert bench.effects["z x1"] == (2 if point == "after-call" else 1), "the edit holds for the retry"
    assert set(bench.effects) == {"z x1"}
    bench.facade.approve(bench.record.id, second.key)
    assert bench.resume(fn) == ("z x1", "b x1")


def test_an_approval_covers_further_attempts_and_a_resumed_failure(bench: Bench) -> None:
    """Retries of the tool, and the retry of the step after it had ended the run."""
    up: list[str] = []

    def body(n: int) -> int:
        up.append("try")
        if len(up) < 3:
            raise ConnectionError("down")
        return n

    call = bench.tool(body, name="call", approval=True, retries=1, backoff=0.001)
    parked(bench, lambda: call(1))
    bench.facade.approve(bench.record.id, "1.0")
    with pytest.raises(ConnectionError):
        bench.resume(lambda: call(1), **PARK)
    assert len(up) == 2
    assert bench.resume(lambda: call(1), **PARK) == 1
    assert len(up) == 3


def test_a_rejection_that_ended_the_run_is_asked_about_again(bench: Bench) -> None:
    """Under a new key: the old decision is not used again."""
    send = sender(bench)
    (first,) = parked(bench, lambda: send("a"))
    bench.facade.reject(bench.record.id, first.key, "no")
    with pytest.raises(ApprovalRejected, match="no"):
        bench.resume(lambda: send("a"), **PARK)
    (second,) = parked(bench, lambda: send("a"), resume=True)
    assert second.key != first.key
    bench.facade.approve(bench.record.id, second.key)
    assert bench.resume(lambda: send("a")) == "a x1"


def test_an_unsafe_step_cut_off_is_asked_about_again(bench: Bench) -> None:
    """Approved once, it may have happened: a person says so; and if `reconcile` knows that it did not, one approves anew."""
    answers: list[Any] = [durable.UNKNOWN]
    send = sender(bench, effect="unsafe", reconcile=lambda to, times=1: answers[0])

    def agent() -> str:
        return str(send("a"))

    parked(bench, agent)
    run = bench.record.id
    bench.facade.approve(run, "1.0")
    bench.crash("after-call", 1, agent, resume=True)
    (wait,) = parked(bench, agent, resume=True)
    assert wait.kind == "doubt"
    answers[0] = durable.RETRY
    (wait,) = parked(bench, agent, resume=True)
    assert wait.kind == "approval"
    assert bench.effects == {"a x1": 1}
    parked(bench, agent, resume=True)
    bench.facade.approve(run, wait.key)
    bench.crash("after-call", 1, agent, resume=True)
    answers[0] = durable.UNKNOWN
    parked(bench, agent, resume=True)
    bench.facade.retry(run, "1.0")
    assert bench.resume(agent, **PARK) == "a x1", (
        "whoever said that it is to be made again need not approve it, too"
    )
    assert bench.effects == {"a x1": 3}


def test_a_fork_asks_again(bench: Bench) -> None:
    """Neither what was approved in the run that it left, nor what is posted there later, counts."""
    send = sender(bench)

    def agent(n: int) -> Callable[[], Any]:
        return lambda: (send("a"), n)

    parked(bench, agent(1))
    parent = bench.record.id
    bench.facade.approve(parent, "1.0")
    bench.crash("after-start", 1, agent(1), resume=True)
    with pytest.raises(RunParked):
        bench.fork(agent(2), **PARK)
    assert not bench.effects
    bench.facade.approve(bench.record.id, "1.0")
    assert bench.resume(agent(2)) == ("a x1", 2)
    with pytest.raises(RunParked):
        bench.fork(agent(3), at="1.0", kind="user", **PARK)
    assert "has completed one already" in bench.facade.waits(bench.record.id)[0].prompt


def test_an_approval_is_for_these_arguments(bench: Bench) -> None:
    """One for another call of the same step's place is refused, where it is given and where it would be used."""
    send = sender(bench)
    (first,) = parked(bench, lambda: send("a"))
    run = bench.record.id
    other = first.key[:-12] + "0" * 12
    with pytest.raises(DurableError):
        bench.facade.approve(run, other)
    bench.store.post(run, "decision", other, {"action": "approve"}, by="somebody")
    parked(bench, lambda: send("a"), resume=True)
    assert not bench.effects


@pytest.mark.slow
def test_predicates_and_patterns(bench: Bench) -> None:
    """A predicate says whether, or why; one that fails lets nothing pass; patterns are for names of any tool."""
    reasons = iter((False, "it is expensive", True, ZeroDivisionError()))

    def rule(to: str, times: int = 1) -> Any:
        if isinstance(rules[to], Exception):
            raise rules[to]
        return rules[to]

    rules = dict(zip("abcd", reasons, strict=True))
    send = sender(bench, approval=rule)
    plain = bench.tool(lambda n: n, name="plain.one")

    def agent() -> list[Any]:
        return [send("a"), *(asyncio.run(gathered()))]

    async def gathered() -> list[Any]:
        return await asyncio.gather(
            *(asyncio.to_thread(send, to) for to in "bcd"), asyncio.to_thread(plain, 1)
        )

    waits = parked(bench, agent, approve=("plain*",))
    assert bench.effects == {"a x1": 1}
    assert sorted(w.prompt for w in waits) == [
        "",
        "",
        "it is expensive",
        "whether it is needed could not be told: ZeroDivisionError: ",
    ]
    assert {w.name for w in waits} == {"send", "plain.one"}


def test_streams_and_methods_are_held_back_too(bench: Bench) -> None:
    """Generators, sync and async, and what can only be approved as it is."""

    class Mailer:
        @durable.tool(approval=True)
        def send(self, to: str) -> str:
            return f"sent {to}"

        def __reduce__(self) -> Any:
            return (Mailer, ())

    @durable.tool(approval=True)
    def words(text: str) -> Iterator[str]:
        yield from text.split()

    @durable.tool(approval=True)
    async def letters(text: str) -> Any:
        for letter in text:
            yield letter

    async def agent() -> Any:
        return Mailer().send("a"), [w async for w in letters("xy")], list(words("c d"))

    run = ""
    for step, edit in (("1.0", {"to": "b"}), ("1.1", {"text": "zz"}), ("1.2", {"text": "e f g"})):
        waits = parked(bench, agent, resume=bool(run))
        run = bench.record.id
        assert [w.step for w in waits] == [step]
        assert waits[0].schema is not None
        assert list(waits[0].schema["properties"]) == list(edit)
        bench.facade.approve(run, step, arguments=edit)
    expected = ("sent b", ["z", "z"], ["e", "f", "g"])
    assert bench.resume(agent) == expected
    assert bench.execute_replay(agent) == expected


# -- deciding ------------------------------------------------------------------------------------------


DECIDER = """
import sys, time
from jupyter_durable.errors import AlreadyDecidedError
from jupyter_durable.session import open_store
store = open_store(sys.argv[1])
run = store.waits()[0]
print("ready", flush=True)
sys.stdin.readline()
try:
    store.approve(run.run, run.key, by=sys.argv[2])
    print("first")
except AlreadyDecidedError as error:
    print("second", error.decided_by)
"""


@pytest.mark.slow
def test_two_processes_decide_at_once(tmp_path: Path) -> None:
    """One is first; the other is told who."""
    url = str(tmp_path / "journal.db")
    store = connect(url)
    session = Session(store)

    @durable.tool(approval=True)
    def send() -> str:
        return "sent"

    from jupyter_durable.runtime.run import Options

    with pytest.raises(RunParked):
        execute(session, session.new("run", options=Options(**PARK)), send)
    people = {
        name: subprocess.Popen(
            [sys.executable, "-c", DECIDER, url, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("ann", "bob")
    }
    for process in people.values():
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in people.values():
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = {name: process.communicate(timeout=30)[0].strip() for name, process in people.items()}
    first = next(name for name, text in said.items() if text == "first")
    assert said == {first: "first", ({"ann", "bob"} - {first}).pop(): f"second {first}"}
    assert execute(session, session.resume(store.runs()[0]), send) == ("returned", "sent")
    store.close()


def test_what_nothing_waits_for_is_refused(bench: Bench) -> None:
    """With what the step is doing instead."""
    send = sender(bench)

    def agent() -> Any:
        return durable.step("look", lambda: 1), send("a")

    parked(bench, agent)
    run = bench.record.id
    for step, why in (("1.0", "completed"), ("nobody", "nothing in run"), ("9.9", "nothing in run")):
        with pytest.raises(DurableError, match=why):
            bench.facade.approve(run, step)
    assert [w.run for w in bench.facade.waits()] == [run]
