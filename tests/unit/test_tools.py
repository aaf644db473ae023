"""What can be a tool, and what a tool can declare and ask."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest
from runs import Bench

import jupyter_durable as durable
from jupyter_durable.errors import DivergenceError, DurableError
from jupyter_durable.runtime.streams import StreamCutOff


class Shelf:
    """Tools as methods of every kind."""

    made = 0

    @durable.tool
    def read(self, title: str) -> str:
        """A method."""
        Shelf.made += 1
        return title.upper()

    @staticmethod
    @durable.tool
    def static(n: int) -> int:
        """A static method."""
        Shelf.made += 1
        return n

    @classmethod
    @durable.tool
    def named(cls) -> str:
        """A class method."""
        Shelf.made += 1
        return cls.__name__


@durable.tool
class Doubler:
    """A tool that is an object."""

    made = 0

    def __call__(self, n: int) -> int:
        """Double."""
        Doubler.made += 1
        return 2 * n


def test_methods_and_callable_objects(bench: Bench) -> None:
    """Methods, static and class methods and instances with `__call__` are steps, and replay."""
    look = bench.tool(lambda: None, name="look")
    Shelf.made = Doubler.made = 0

    def agent() -> tuple[object, ...]:
        shelf = Shelf()
        got = shelf.read("a"), shelf.static(2), Shelf.named(), Doubler()(21)
        look()
        return got

    expected = ("A", 2, "Shelf", 42)
    assert agent() == expected, "outside a run they are ordinary"
    Shelf.made = Doubler.made = 0
    bench.crash("after-start", 5, agent)
    assert bench.resume(agent) == expected
    assert (Shelf.made, Doubler.made) == (3, 1)
    assert [step.name for step in bench.steps()] == [
        "Shelf.read",
        "Shelf.static",
        "Shelf.named",
        "Doubler",
        "look",
    ]


def test_the_wrapper_is_of_the_same_kind_and_keeps_its_name() -> None:
    """Frameworks inspect functions: signature, docstring and kind must survive."""
    import inspect

    @durable.tool
    async def search(q: str, n: int = 3) -> list[str]:
        """Search."""
        return [q] * n

    @durable.tool
    def items(n: int) -> Iterator[int]:
        yield from range(n)

    assert inspect.iscoroutinefunction(search)
    assert str(inspect.signature(search)) == "(q: 'str', n: 'int' = 3) -> 'list[str]'"
    assert search.__doc__ == "Search."
    assert inspect.isgeneratorfunction(items)
    assert list(items(2)) == [0, 1]
    assert asyncio.run(search("x", 2)) == ["x", "x"]


def test_a_stream_replays_item_by_item(bench: Bench) -> None:
    """A generator that came to its end is not run again."""
    made: list[int] = []
    look = bench.tool(lambda n: n, name="look")

    @durable.tool
    def count(n: int) -> Iterator[int]:
        for i in range(n):
            made.append(i)
            yield i

    def agent() -> list[int]:
        got = list(count(3))
        look(sum(got))
        return got

    bench.crash("after-start", 2, agent)
    assert bench.resume(agent) == [0, 1, 2]
    assert made == [0, 1, 2]


def test_a_stream_cut_off_is_issued_again_if_nothing_depends_on_it(bench: Bench) -> None:
    """No step came after it: the prefix is forgotten, all of it is made again."""
    made: list[int] = []

    @durable.tool
    async def count(n: int) -> AsyncIterator[int]:
        for i in range(n):
            made.append(i)
            yield i

    async def agent() -> list[int]:
        return [i async for i in count(3)]

    bench.crash("after-chunk", 2, agent)
    assert bench.resume(agent) == [0, 1, 2]
    assert made == [0, 1, 0, 1, 2]


def test_a_stream_cut_off_breaks_where_it_broke_if_a_step_depends_on_it(bench: Bench) -> None:
    """The consumer acted on the first items: they are delivered again, then the connection breaks."""
    look = bench.tool(lambda n: n, name="look")

    @durable.tool
    def count(n: int) -> Iterator[int]:
        yield from range(n)

    def agent() -> list[int]:
        got: list[int] = []
        try:
            for i in count(5):
                got.append(look(i))  # noqa: PERF401 - what came before the error counts
        except ConnectionError:
            got.append(-1)
        return got

    bench.crash("after-chunk", 3, agent)
    assert bench.resume(agent) == [0, 1, -1]
    assert bench.effects == {"look(0,)": 1, "look(1,)": 1}
    assert issubclass(StreamCutOff, ConnectionError)


def test_a_stream_closed_early_is_finished(bench: Bench) -> None:
    """What the consumer did not ask for is not made on replay either."""
    made: list[int] = []
    look = bench.tool(lambda n: n, name="look")

    @durable.tool
    def count() -> Iterator[int]:
        for i in range(100):
            made.append(i)
            yield i

    def agent() -> int:
        for i in count():
            if i == 2:
                break
        return int(look(i))

    bench.crash("after-call", 2, agent)
    assert bench.resume(agent) == 2
    assert made == [0, 1, 2]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_edit_that_takes_more_of_a_stream(bench: Bench, kind: str) -> None:
    """It breaks where it was left, and is made again when the cell is run again, with what came after it: as a response."""
    wanted, made = 2, []
    look = bench.tool(lambda n: n, name="look")

    @durable.tool
    def count() -> Iterator[int]:
        for i in range(9):
            made.append(i)
            yield i

    @durable.tool
    async def count_async() -> AsyncIterator[int]:
        for i in range(9):
            made.append(i)
            yield i

    async def agent() -> list[int]:
        look("before")
        got: list[int] = []
        if kind == "sync":
            for i in count():
                got.append(i)
                if len(got) == wanted:
                    break
        else:
            items = count_async()
            while len(got) < wanted:
                got.append(await anext(items))
            await items.aclose()
        look("after")
        return got

    assert bench.new(agent) == [0, 1]
    wanted = 4
    with pytest.raises(StreamCutOff, match="2 items of this stream were taken before the code was edited"):
        bench.fork(agent)
    assert made == [0, 1]
    assert bench.resume(agent) == [0, 1, 2, 3]
    assert made == [0, 1, 0, 1, 2, 3]
    assert bench.effects == {"look('before',)": 1, "look('after',)": 2}
    assert bench.execute_replay(agent) == [0, 1, 2, 3]
    wanted = 5  # unedited, and yet it differs
    with pytest.raises(DivergenceError, match="closed this stream after 4 items"):
        bench.execute_replay(agent)


def test_closing_an_async_stream_reaches_its_tool(bench: Bench) -> None:
    """As do values and errors that its consumer sends; nothing waits for a collection, nor for the end of the loop."""
    told: list[Any] = []

    @durable.tool
    async def talk() -> AsyncIterator[Any]:
        try:
            told.append((yield 1))
            try:
                yield 2
            except KeyError as error:
                told.append(error)
            yield 3
        finally:
            told.append("closed")

    async def agent() -> list[Any]:
        items = talk()
        got = [await anext(items), await items.asend("sent"), await items.athrow(KeyError("x"))]
        await items.aclose()
        return [*got, *map(str, told)]

    assert asyncio.run(agent()) == [1, 2, 3, "sent", "'x'", "closed"]
    told.clear()
    assert bench.new(agent) == [1, 2, 3, "sent", "'x'", "closed"]
    (step,) = bench.steps()
    assert step.status == "completed"


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("why", ["interrupt", "error", "step"])
def test_a_stream_that_is_left_because_the_run_ends(bench: Bench, kind: str, why: str) -> None:
    """What ended the run closed it: resumed, it breaks there, as after a crash, and is made again when the cell is run again."""
    made: list[int] = []
    ended: list[str] = []
    look = bench.tool(lambda n: n, name="look")

    @durable.tool
    def count() -> Iterator[int]:
        for i in range(4):
            made.append(i)
            yield i

    @durable.tool
    async def count_async() -> AsyncIterator[int]:
        for i in range(4):
            made.append(i)
            yield i

    def fails() -> None:
        if not ended:
            ended.append(why)
            raise KeyboardInterrupt if why == "interrupt" else ValueError("once")

    def use(i: int) -> int:
        if i == 1:
            durable.step("fails", fails) if why == "step" else fails()
        return int(look(i))

    async def agent() -> list[int]:
        if kind == "sync":
            return [use(i) for i in count()]
        return [use(i) async for i in count_async()]

    with pytest.raises(KeyboardInterrupt if why == "interrupt" else ValueError):
        bench.new(agent)
    with pytest.raises(StreamCutOff, match="after 2 items"):
        bench.resume(agent)
    assert made == [0, 1]
    assert bench.resume(agent) == [0, 1, 2, 3]
    assert made == [0, 1, 0, 1, 2, 3]
    assert bench.execute_replay(agent) == [0, 1, 2, 3]


@pytest.mark.slow
def test_a_stream_whose_consumer_was_stopped_by_a_timer(bench: Bench) -> None:
    """While it did something else than wait for an item: on replay nothing of that takes time, and it waits for the timer."""
    look = bench.tool(lambda n: n, name="look")

    @durable.tool
    async def count() -> AsyncIterator[int]:
        for i in range(100):
            yield i

    async def agent() -> list[int]:
        got: list[int] = []
        items = count()
        with suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                async for i in items:
                    got.append(i)
                    await asyncio.sleep(pause)
        await items.aclose()
        return [*got, look(len(got))]

    pause = 0.06
    got = bench.new(agent)
    pause = 0
    assert 2 <= len(got) < 7
    assert bench.execute_replay(agent) == got
    assert bench.effects == {f"look({len(got) - 1},)": 1}


def test_max_concurrency_and_rate(bench: Bench) -> None:
    """No more calls at once than declared, no more starts a second than declared."""
    now, most = 0, 0

    @durable.tool(max_concurrency=2)
    async def busy(n: int) -> int:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.005)
        now -= 1
        return n

    starts: list[float] = []

    @durable.tool(rate=100)
    async def paced(n: int) -> None:
        starts.append(time.monotonic())

    async def agent() -> list[int]:
        starts.append(time.monotonic())
        await asyncio.gather(*(paced(n) for n in range(4)))
        return list(await asyncio.gather(*(busy(n) for n in range(6))))

    assert bench.new(agent) == list(range(6))
    assert most == 2
    assert starts[-1] - starts[0] >= 0.028


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_timeout(bench: Bench, kind: str) -> None:
    """An attempt that takes too long fails with TimeoutError, and may be retried."""
    tries: list[int] = []
    release = threading.Event()

    if kind == "async":

        @durable.tool(timeout=0.05, retries=1, backoff=0.0)
        async def slow() -> str:
            tries.append(1)
            await asyncio.sleep(30 if len(tries) == 1 else 0)
            return "second"

        assert bench.new(slow) == "second"
    else:

        @durable.tool(timeout=0.05, retries=1, backoff=0.0)
        def slow_sync() -> str:
            tries.append(1)
            if len(tries) == 1:
                release.wait(30)
            return "second"

        assert bench.new(slow_sync) == "second"
        release.set()
    assert len(tries) == 2


def test_step_makes_one_call_a_step(bench: Bench) -> None:
    """`durable.step` takes sync and async functions, with arguments."""
    made: list[str] = []

    async def fetch(q: str) -> str:
        made.append(q)
        return q * 2

    async def agent() -> tuple[int, str]:
        return durable.step("len", len, "four"), await durable.step("fetch", fetch, q="ab")

    bench.crash("after-outcome", 2, agent)
    assert bench.resume(agent) == (4, "abab")
    assert made == ["ab"]
    assert [(step.name, step.arguments) for step in bench.steps()] == [
        ("len", "len('four')"),
        ("fetch", "fetch(q='ab')"),
    ]


def test_log_and_progress_belong_to_their_step(bench: Bench) -> None:
    """They are journaled with the step that says them, and change nothing."""

    def body() -> list[int]:
        durable.log("begin", size=3)
        return list(durable.progress([1, 2, 3]))

    work = bench.tool(body, name="work")
    assert bench.new(work) == [1, 2, 3]
    step = bench.session.index(bench.record.id).step(1, 0)
    assert step is not None
    assert (step.notes or [])[0].meta == {"m": "begin", "f": {"size": 3}}
    assert [entry.meta["p"] for entry in (step.notes or ())[1:]] == pytest.approx([1 / 3, 2 / 3, 1.0])


def test_idempotency_key_outside_a_step_says_where_it_belongs() -> None:
    """The error's hint is the next step."""
    with pytest.raises(DurableError) as caught:
        durable.idempotency_key()
    assert "@durable.tool" in caught.value.hint


def test_a_forked_child_cannot_write_its_parents_run(bench: Bench) -> None:
    """After `os.fork` a durable call in the child raises with a hint, and the parent goes on."""
    look = bench.tool(lambda n: n, name="look")

    def agent() -> str:
        look(1)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                look(2)
                said = "no error"
            except BaseException as error:
                said = f"{type(error).__name__}: {error}"
            os.write(write, said.encode())
            os._exit(0)
        os.waitpid(child, 0)
        look(3)
        return os.read(read, 10_000).decode()

    said = bench.new(agent)
    assert "fork" in said
    assert "hint" in said
    assert [step.arguments for step in bench.steps()] == ["look(1)", "look(3)"]
