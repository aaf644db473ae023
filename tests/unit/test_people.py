"""People in the loop, in one process: approvals, answers, signals, timers; what is refused, and what a crash may not lose."""

from __future__ import annotations

import asyncio
import enum
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydantic
import pytest
from runs import Bench

import jupyter_durable as durable
from jupyter_durable.clock import duration, moment
from jupyter_durable.errors import AlreadyDecidedError, ApprovalRejected, DurableError, RunParked, RunWaiting
from jupyter_durable.model import WaitInfo
from jupyter_durable.session import Session, Store
from jupyter_durable.store import connect
from jupyter_durable.testing import Crash, ManualClock, crash_at, prove
from jupyter_durable.testing.proving import execute

PARK: dict[str, Any] = {"park_after": 0.0, "timers": 0.0}


class Choice(pydantic.BaseModel):
    """What a person chooses."""

    name: str
    times: int = pydantic.Field(ge=1, default=1)


class Colour(enum.Enum):
    """One of two."""

    RED = "red"
    BLUE = "blue"


@pytest.fixture
def bench() -> Bench:
    """A store of its own."""
    return Bench()


@contextmanager
def person(act: Callable[[], Any]) -> Iterator[None]:
    """Somebody who does `act` while the block executes, in a thread of their own."""
    failed: list[BaseException] = []

    def do() -> None:
        try:
            act()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=do)
    thread.start()
    yield
    thread.join(20)
    assert not thread.is_alive()
    if failed:
        raise failed[0]


def until(
    bench: Bench, ready: Callable[[list[WaitInfo]], Any] = bool, seconds: float = 20.0
) -> list[WaitInfo]:
    """What the newest run waits for, once that is `ready`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if bench.store.runs():
            waits = bench.facade.waits(bench.record.id)
            if ready(waits) and bench.record.status == "waiting":
                return waits
        time.sleep(0.01)
    raise AssertionError("nothing waits")


def parked(bench: Bench, fn: Callable[[], Any], **options: Any) -> list[WaitInfo]:
    """Execute `fn` (as a new run, or the newest one) until it parks; what it waits for then."""
    go = bench.resume if options.pop("resume", False) else bench.new
    with pytest.raises(RunParked):
        go(fn, **{**PARK, **options})
    assert bench.facade.run(bench.record.id).status == "waiting"
    return bench.facade.waits(bench.record.id)


# -- timers ----------------------------------------------------------------------------------------


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


# -- signals -----------------------------------------------------------------------------------------


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


# -- questions ---------------------------------------------------------------------------------------


def test_a_question_with_a_form(bench: Bench) -> None:
    """Its schema is with it; an answer that does not fit is refused where it is given; the value is of the type."""

    async def agent() -> Any:
        return await durable.ask("Which one?", Choice)

    (wait,) = parked(bench, agent)
    assert (wait.kind, wait.prompt, wait.actions) == ("ask", "Which one?", ("answer",))
    assert wait.schema is not None
    assert wait.schema["properties"]["times"]["minimum"] == 1
    run = bench.record.id
    for wrong, why in (
        ({"name": 1}, "name: 1 is not of type 'string'"),
        ({"name": "a", "times": 0}, "minimum"),
        ("a", "object"),
    ):
        with pytest.raises(DurableError, match=why):
            bench.facade.answer(run, wait.key, wrong)
    with pytest.raises(DurableError, match="which approve does not end"):
        bench.facade.approve(run, "1.0")
    bench.facade.answer(run, "1.0", Choice(name="a", times=2), by="ann")
    with pytest.raises(AlreadyDecidedError) as caught:
        bench.facade.answer(run, "ask", {"name": "b"})
    assert caught.value.decided_by == "ann"
    assert bench.facade.waits(run)[0].decided_by == "ann"
    assert bench.resume(agent) == Choice(name="a", times=2)
    assert bench.execute_replay(agent) == Choice(name="a", times=2)
    with pytest.raises(AlreadyDecidedError, match="by ann"):
        bench.facade.answer(run, "1.0", {"name": "c"})


class Even(pydantic.BaseModel):
    """What a schema cannot say."""

    n: int

    @pydantic.field_validator("n")
    @classmethod
    def check(cls, n: int) -> int:
        if n % 2:
            raise ValueError("odd")
        return n


def test_an_answer_that_only_the_code_can_refuse_is_asked_for_again(bench: Bench) -> None:
    """What the schema cannot say is checked by the run, which goes on waiting, under a new key."""

    def agent() -> int:
        return int(durable.ask("n?", Even).n)

    (first,) = parked(bench, agent)
    bench.facade.answer(bench.record.id, first.key, {"n": 1}, by="ann")
    (second,) = parked(bench, agent, resume=True)
    assert second.key != first.key
    assert any("what ann said" in notice and "odd" in notice for notice in bench.notices)
    bench.facade.answer(bench.record.id, second.key, {"n": 2})
    assert bench.resume(agent) == 2


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        (str, "x", "x"),
        (bool, True, True),
        (Colour, "red", Colour.RED),
        (list[int], [1], [1]),
        (None, {"a": 1}, {"a": 1}),
    ],
)
def test_types_of_answers(bench: Bench, kind: Any, given: Any, value: Any) -> None:
    """Plain types, enums and lists; None takes anything that is JSON."""

    def agent() -> Any:
        return durable.ask("?", kind)

    parked(bench, agent)
    bench.facade.answer(bench.record.id, "1.0", given)
    assert bench.resume(agent) == value


def test_a_question_can_time_out_and_be_asked_again(bench: Bench) -> None:
    """The error is a checkpoint; if it ended the run, the resumed one waits anew."""
    clock = bench.session.clock = ManualClock()

    def agent() -> Any:
        return durable.ask("?", timeout="1 min")

    with pytest.raises(TimeoutError, match="within 1 min"):
        bench.new(agent)
    (wait,) = parked(bench, agent, resume=True)
    assert wait.until == pytest.approx(clock.now() + 60)
    parked(bench, agent, resume=True)
    bench.facade.answer(bench.record.id, "1.0", "in time")
    assert bench.resume(agent) == "in time"


def test_an_answer_given_before_an_edit_counts(bench: Bench) -> None:
    """And so do signals that are queued: an edited cell is the same endeavour. A fork of one's own is not."""

    def agent(last: str) -> Callable[[], Any]:
        def run() -> Any:
            return durable.ask("?"), durable.wait_for("go"), last

        return run

    parked(bench, agent("a"))
    bench.facade.answer(bench.record.id, "1.0", "yes")
    bench.facade.signal(bench.record.id, "go", 1)
    assert bench.fork(agent("b"), **PARK) == ("yes", 1, "b")
    with pytest.raises(RunParked):
        bench.fork(agent("c"), at="1.0", kind="user", **PARK)


# -- approvals ---------------------------------------------------------------------------------------


def sender(bench: Bench, **how: Any) -> Any:
    """A tool that needs approval."""

    def send(to: str, times: int = 1) -> str:
        return f"{to} x{times}"

    def counted(to: str, times: int = 1) -> str:
        bench.effects[f"{to} x{times}"] += 1
        return send(to, times)

    counted.__name__ = counted.__qualname__ = "send"
    return durable.tool(**{"approval": True, **how})(counted)


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


def test_an_awaitable_that_is_not_awaited_is_no_yes(bench: Bench) -> None:
    """In async code, a question is not answered by being asked."""

    async def agent() -> Any:
        asked = durable.ask("Delete it?", bool)
        try:
            return "deleted" if asked else "kept"
        except DurableError as error:
            asked.close()
            return error.hint

    assert "await" in bench.new(agent)
    with pytest.raises(DurableError, match="no run is being executed"):
        durable.ask("?")


def test_a_wait_that_is_dropped_is_warned_of(bench: Bench) -> None:
    """In sync code that async code calls, nothing may block: Python says which wait did not happen."""

    async def agent() -> str:
        durable.sleep(5)
        return "went on"

    with pytest.warns(RuntimeWarning, match=r"durable\.sleep.* was never awaited"):
        assert bench.new(agent) == "went on"


def test_a_cancelled_run_stops_waiting(bench: Bench) -> None:
    """At once."""

    def stop() -> None:
        until(bench)
        bench.facade.cancel(bench.record.id)

    with person(stop), pytest.raises(BaseException, match="was cancelled"):
        bench.new(lambda: durable.ask("?"))
    assert bench.record.status == "cancelled"


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


# -- all together ------------------------------------------------------------------------------------


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
