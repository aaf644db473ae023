"""The rules of identity, divergence and failures, one by one, as a user meets them."""

from __future__ import annotations

import asyncio
import functools
import threading
import uuid
from typing import Any

import pytest
from runs import Bench

import jupyter_durable as durable
from jupyter_durable.errors import DivergenceError, DurableError, EncodingError


def test_a_nondeterministic_argument_stops_with_both_calls_side_by_side(bench: Bench) -> None:
    """An unedited agent that makes another call than recorded executes nothing and shows the difference."""
    search = bench.tool(lambda q, n=1: q, name="search")
    tries = iter("ab")

    def agent() -> None:
        search("first")
        search(next(tries), n=2)
        search("last")

    bench.crash("after-start", 3, agent)
    before = bench.effects.copy()
    with pytest.raises(DivergenceError) as caught:
        bench.resume(agent)
    assert (caught.value.recorded, caught.value.current) == ("search('a', n=2)", "search('b', n=2)")
    assert "'a' recorded, 'b' now" in caught.value.difference
    assert "fork" in caught.value.hint
    assert bench.effects == before


def test_a_recorded_call_that_is_not_made_is_a_divergence(bench: Bench) -> None:
    """Code that ends before its journal does has not done the same thing."""
    look = bench.tool(lambda n: n, name="look")
    count = iter([3, 2])

    def agent() -> None:
        for n in range(next(count)):
            look(n)

    def shorter() -> int:
        return sum(look(n) for n in range(2))

    def longer() -> None:
        for n in range(3):
            look(n)
        raise ValueError("not from a step")

    with pytest.raises(ValueError, match="not from a step"):
        bench.new(longer)
    with pytest.raises(DivergenceError, match="nothing more"):
        bench.resume(shorter)
    assert bench.record.status == "interrupted"


def test_a_call_swallowing_a_divergence_cannot_go_on(bench: Bench) -> None:
    """`except Exception` around a diverging call does not let the agent continue on a wrong path."""
    look = bench.tool(lambda n: n, name="look")
    turn = iter([1, 2])

    def agent() -> str:
        first = next(turn)
        try:
            look(first)
        except Exception:
            look("anything")
        look("second")
        return "done"

    bench.crash("after-start", 2, agent)
    with pytest.raises(DivergenceError):
        bench.resume(agent)
    assert bench.effects["look('anything',)"] == 0


def test_an_error_that_ended_the_run_is_tried_again_and_nothing_else(bench: Bench) -> None:
    """Resuming a failed run reopens exactly the step the error came from, also through `raise … from`."""
    up = threading.Event()

    def body(n: int) -> int:
        if n == 2 and not up.is_set():
            raise ConnectionError("down")
        return n

    fetch = bench.tool(body, name="fetch")
    note = bench.tool(lambda text: text, name="note")

    def agent() -> list[int]:
        out = []
        for n in range(4):
            try:
                out.append(fetch(n))
            except ConnectionError as error:
                note("cleaning up")
                raise RuntimeError("agent failed") from error
        return out

    with pytest.raises(RuntimeError):
        bench.new(agent)
    up.set()
    assert bench.resume(agent) == [0, 1, 2, 3]
    assert bench.effects == {
        "fetch(0,)": 1,
        "fetch(1,)": 1,
        "fetch(2,)": 2,
        "fetch(3,)": 1,
        "note('cleaning up',)": 1,
    }


def test_errors_collected_in_a_group_are_all_tried_again(bench: Bench) -> None:
    """Members of an ExceptionGroup are found; steps between them are not repeated."""
    up = threading.Event()

    def body(n: int) -> int:
        if n % 2 and not up.is_set():
            raise ValueError(n)
        return n

    fetch = bench.tool(body, name="fetch")

    def agent() -> list[int]:
        out, errors = [], []
        for n in range(5):
            try:
                out.append(fetch(n))
            except ValueError as error:
                errors.append(error)
        if errors:
            raise ExceptionGroup("some failed", errors)
        return out

    with pytest.raises(ExceptionGroup):
        bench.new(agent)
    up.set()
    assert bench.resume(agent) == [0, 1, 2, 3, 4]
    assert bench.effects == {f"fetch({n},)": 1 + n % 2 for n in range(5)}


def test_a_run_that_failed_outside_steps_says_that_there_is_nothing_to_retry(bench: Bench) -> None:
    """The error is raised again, no call is made, and the user is told why."""
    look = bench.tool(lambda n: n, name="look")

    def agent() -> None:
        look(1)
        raise KeyError("mine")

    for go in (bench.new, bench.resume):
        with pytest.raises(KeyError):
            go(agent)
    assert bench.effects["look(1,)"] == 1
    assert any("came from no step" in notice for notice in bench.notices)


def test_a_caught_error_is_a_checkpoint(bench: Bench) -> None:
    """Replay raises an equal error: type, arguments, notes."""

    def body() -> None:
        error = LookupError("gone", 404)
        error.add_note("seen at noon")
        raise error

    fail = bench.tool(body, name="fail")
    look = bench.tool(lambda n: n, name="look")

    def agent() -> tuple[str, object, list[str]]:
        try:
            fail()
        except LookupError as error:
            found = type(error).__name__, error.args, error.__notes__
        look(1)
        return found

    bench.crash("after-start", 2, agent)
    assert bench.resume(agent) == ("LookupError", ("gone", 404), ["seen at noon"])
    assert bench.effects["fail()"] == 1


def test_a_result_that_cannot_be_stored_is_an_error_that_names_the_path(bench: Bench) -> None:
    """The call happened; the error says what in its result cannot be kept."""
    make = bench.tool(lambda: {"rows": [1, threading.Lock()]}, name="make")
    with pytest.raises(EncodingError) as caught:
        bench.new(make)
    assert "['rows'][1]" in str(caught.value)
    assert bench.effects["make()"] == 1


def test_a_partial_is_of_the_kind_of_its_function(bench: Bench) -> None:
    """Async, if that is; as a step, and as a tool that is called like it."""
    made: list[str] = []

    async def fetch(q: str, times: int = 1) -> str:
        made.append(q)
        return q * times

    twice = durable.tool(functools.partial(functools.partial(fetch, times=3), times=2))

    async def agent() -> list[str]:
        return [
            await durable.step("part", functools.partial(fetch, "ab")),
            durable.step("int", functools.partial(int, base=2), "11"),
            await twice("cd"),
        ]

    bench.crash("after-outcome", 2, agent)
    assert bench.resume(agent) == ["ab", 3, "cdcd"]
    assert made == ["ab", "cd"]
    assert [step.name for step in bench.steps()] == ["part", "int", "fetch"]


def test_a_coroutine_that_nothing_awaited_says_so(bench: Bench) -> None:
    """A sync wrapper around an async function returns one: the error says what to do, not what pickle says."""

    async def fetch() -> str:
        return "page"

    made = fetch()
    with pytest.raises(EncodingError) as caught:
        bench.new(bench.tool(lambda: made, name="fetch"))
    made.close()
    assert "async def" in (caught.value.hint or "")


def test_arguments_changed_in_place_are_changed_again_on_replay(bench: Bench) -> None:
    """Lists, dicts and sets keep their identity and get what the tool put into them."""

    def body(messages: list[str], seen: set[int], memory: dict[str, list[int]]) -> int:
        messages.append("answer")
        seen.add(7)
        memory["notes"].append(1)
        return len(messages)

    ask = bench.tool(body, name="ask")
    look = bench.tool(lambda n: n, name="look")

    def agent() -> tuple[list[str], set[int], list[int]]:
        messages, seen, notes = ["question"], {1}, [0]
        memory = {"notes": notes}
        ask(messages, seen, memory=memory)
        look(1)
        assert memory["notes"] is notes
        return messages, seen, notes

    expected = ["question", "answer"], {1, 7}, [0, 1]
    assert bench.new(agent) == expected
    bench.crash("after-start", 2, agent)
    assert bench.resume(agent) == expected


class Memory:
    """An agent's own state, changed by its tools."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.inside: dict[str, Memory] = {}
        self.asked = 0
        self._cache = 0

    @durable.tool
    def look(self, what: str) -> str:
        """Changes nothing that counts."""
        self._cache += 1
        self.asked += 0
        return what

    @durable.tool
    async def ask(self, what: str) -> str:
        """Changes a number, and a list inside of another object."""
        self.asked += 1
        self.inside["more"].log.append(what)
        return what


def test_what_a_tool_changes_in_objects_is_said(bench: Bench) -> None:
    """Of the user's own, and arrays: it is not made again, so an agent that reads it goes another way."""

    @durable.tool
    def fill(values: Any, into: list[int]) -> None:
        values[0] = 1

    async def agent() -> Any:
        memory = Memory()
        memory.inside["more"] = Memory()
        return memory.look("a"), await memory.ask("b"), await memory.ask("c"), fill(bytearray(2), into=[])

    bench.new(agent)

    said = "\n".join(bench.notices)
    assert "Memory.ask changed Memory.log, Memory.asked in place; replay does not repeat that" in said
    assert "fill changed its argument 0 (a bytearray) in place; replay does not repeat that" in said
    assert len(bench.notices) == 2


def test_readings_replay(bench: Bench) -> None:
    """`now`, `uuid4` and what the code reads by itself are the same after a crash."""
    import random
    import uuid

    look = bench.tool(lambda *args: len(args), name="look")

    def agent() -> tuple[object, ...]:
        got = durable.now(), durable.uuid4(), uuid.uuid4(), random.random()
        look(*got)
        look("again")
        return got

    first: list[tuple[object, ...]] = []
    bench.crash("after-start", 2, lambda: first.append(agent()))
    seen = [step.arguments for step in bench.steps()]
    bench.resume(agent)
    assert [step.arguments for step in bench.steps()] == seen
    assert sum(bench.effects.values()) == 2


def test_a_task_that_outlives_its_run_is_refused(bench: Bench) -> None:
    """Its calls raise; nothing is journaled after the end."""
    look = bench.tool(lambda n: n, name="look")
    caught: list[BaseException] = []

    def late(go: threading.Event) -> None:
        go.wait(5)
        try:
            look(1)
        except durable.RunClosedError as error:
            caught.append(error)

    go = threading.Event()
    thread = threading.Thread(target=late, args=(go,))
    bench.new(lambda: thread.start())
    go.set()
    thread.join()
    assert len(caught) == 1
    assert "outlived" in str(caught[0])
    assert not bench.effects


def test_cancelled_by_another_process(bench: Bench) -> None:
    """A cancel ends a waiting coroutine, and the run for good."""
    started = threading.Event()

    @durable.tool
    async def wait() -> None:
        started.set()
        await asyncio.sleep(30)

    async def agent() -> None:
        await wait()

    def person() -> None:
        started.wait(5)
        bench.facade.cancel(bench.record.id, by="the boss")

    threading.Thread(target=person).start()
    with pytest.raises(BaseException):  # noqa: B017 - CancelledError, of asyncio.run
        bench.new(agent)
    assert bench.record.status == "cancelled"
    with pytest.raises(DurableError, match="cancelled"):
        bench.session.resume(bench.record)


def test_goto_stops_at_a_step_whatever_the_call_is_now(bench: Bench) -> None:
    """Looking back must work when the code has diverged there: nothing is compared, nothing executed."""
    from jupyter_durable.runtime.run import ReplayEnd
    from jupyter_durable.testing import execute

    look = bench.tool(lambda n: n, name="look")
    bench.new(lambda: [look(1), look(2)])
    seen: list[int] = []
    with pytest.raises(ReplayEnd):
        execute(
            bench.session,
            bench.session.replay(bench.record, until="1.1"),
            lambda: (seen.append(look(1)), look(99)),
        )
    assert seen == [1]
    assert sum(bench.effects.values()) == 2


def test_a_store_finds_runs_by_name(bench: Bench) -> None:
    """People type names; the newest run of that name is meant."""
    bench.new(lambda: None)
    bench.new(lambda: None)
    assert bench.facade.run("run").id == bench.record.id
    with pytest.raises(DurableError, match="no run"):
        bench.facade.run("rum")


def test_prove_answers_for_unsafe_steps() -> None:
    """A proof does not wait for a person for ever."""
    from jupyter_durable.testing import prove

    send = durable.tool(effect="unsafe")(lambda: "sent")
    assert prove(lambda: [send(), send()], schedules=10).result == ["sent", "sent"]


def test_what_a_strand_reads_before_its_first_call_is_the_same_again() -> None:
    """Also where the strands around it make no call of their own: frameworks nest tasks many deep."""
    bench = Bench()
    ask = bench.tool(lambda number: number, name="ask")

    async def innermost(number: str) -> str:
        return ask(number)

    async def middle(number: str) -> list[str]:
        own = uuid.uuid4().hex
        return [own, await asyncio.create_task(innermost(number + own))]

    async def outer() -> list[str]:
        return await asyncio.create_task(middle(uuid.uuid4().hex))

    async def agent() -> list[list[str]]:
        return [await asyncio.create_task(outer()) for _ in range(3)]

    value = bench.new(agent)
    assert bench.execute_replay(agent) == value


def test_which_of_equal_strands_goes_on_may_be_chance() -> None:
    """Frameworks take their workers from sets: another of them makes the call now, and it is answered all the same."""
    bench = Bench()
    ask = bench.tool(lambda text: text.upper(), name="ask")
    chosen = [2]

    async def worker(turn: list[int]) -> str | None:
        uuid.uuid4()  # so that all of them are in the journal
        turn[0] += 1
        await asyncio.sleep(0)
        return ask("a") if turn[0] == 5 and asyncio.current_task() is workers[chosen[0]] else None

    workers: list[asyncio.Task[str | None]] = []

    async def agent() -> list[str]:
        turn = [0]
        workers[:] = [asyncio.create_task(worker(turn)) for _ in range(5)]
        found = [text for text in await asyncio.gather(*workers) if text is not None]
        return [*found, ask("b")]

    assert bench.new(agent) == ["A", "B"]
    for other in (0, 4, 1, 3, 2):
        chosen[0] = other
        assert bench.execute_replay(agent) == ["A", "B"]
    assert bench.effects.total() == 2
