"""Agents made of HTTP exchanges, as data, and what each is when it runs: async, in threads, side by side."""

# ruff: noqa: D103

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import httpx2
from exchange_world import PATH, Wire, World, mix

import jupyter_durable as durable
from jupyter_durable.errors import DivergenceError

# -- what an agent does ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ask:
    """A request, made up to three times while it fails. `arg` None: of whatever the strand has got so far."""

    arg: int | None = 0
    fails: int = 0  # so many times; more than two: given up
    how: str = "503"
    caught: bool = True
    model: bool = False


@dataclass(frozen=True)
class Stream:
    """A response in `count` pieces, of which `take` are read (0: all), with a request after each if `calls`.

    Asked for once more if it `breaks` off, as it does the first time, or a crash has cut it off.
    """

    count: int
    take: int = 0
    end: str = "close"  # or hold it open, or drop it
    calls: bool = False
    model: bool = False
    breaks: bool = False


@dataclass(frozen=True)
class Seq:
    """One after another."""

    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class Par:
    """Side by side: gather, group or thread."""

    kind: str
    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class Race:
    """The first to finish counts; the others are cancelled."""

    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class Try:
    """Go on with `handler` after an error."""

    node: Node
    handler: Node


@dataclass(frozen=True)
class Timeout:
    """Give up after `ms`, and ask something else."""

    ms: int
    node: Node


@dataclass(frozen=True)
class Tool:
    """A tool that does it."""

    node: Node


Node = Ask | Stream | Seq | Par | Race | Try | Timeout | Tool


# -- walking a tree ----------------------------------------------------------------------------------------


class At:
    """Where a strand is. Compared by identity: it does not count as an argument of a tool."""

    def __init__(
        self, path: tuple[Any, ...], io: Io, got: Any = None, unsaid: dict[Any, Any] | None = None
    ) -> None:
        self.path = path
        self.io = io
        self.got = got
        self.unsaid = unsaid if unsaid is not None else {}  # read of streams that nothing depends on yet

    def to(self, *more: Any) -> At:
        return At((*self.path, *more), self.io, self.got, self.unsaid)

    def spawn(self, *more: Any) -> At:
        return At((*self.path, *more), self.io, self.got)


class Io:
    """Async requests."""

    blocking = False

    def __init__(self, world: World) -> None:
        self.world = world
        self.wire = Wire(world)
        self.client: Any = httpx2.AsyncClient(transport=self.wire)

    async def send(self, request: Any, **how: Any) -> Any:
        return await self.client.send(request, **how)

    def read(self, response: Any) -> AsyncIterator[bytes]:
        return response.aiter_raw()  # type: ignore[no-any-return]

    async def close(self, response: Any) -> None:
        await response.aclose()


class BlockingIo(Io):
    """The same interface, never suspending."""

    blocking = True

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.client = httpx2.Client(transport=self.wire)

    async def send(self, request: Any, **how: Any) -> Any:
        return self.client.send(request, **how)

    async def read(self, response: Any) -> AsyncIterator[bytes]:
        for piece in response.iter_raw():
            yield piece

    async def close(self, response: Any) -> None:
        response.close()


def drive(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Execute what never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it suspended")


@durable.tool
async def tool(node: Node, at: At) -> Any:
    return await walk(node, at)


@durable.tool
def blocking_tool(node: Node, at: At) -> Any:
    return drive(walk(node, at))


def request_of(at: At, said: dict[str, str], *, model: bool) -> Any:
    if not model:
        return at.io.client.build_request("GET", "http://api.test/ask", params=said)
    body = {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": json.dumps(said)}],
        "stream": "count" in said,
    }
    return at.io.client.build_request("POST", "https://api.openai.com/v1/chat/completions", json=body)


async def walk(node: Node, at: At) -> Any:
    match node:
        case Ask():
            return await ask(node, at)
        case Stream():
            return await stream(node, at)
        case Seq(nodes):
            found = []
            for n, child in enumerate(nodes):
                step = at.to(n)
                found.append(await walk(child, step))
                at.got = [at.got, found[-1]]
            return found
        case Par(kind, nodes):
            return await side_by_side(kind, nodes, at)
        case Race(nodes):
            tasks = [asyncio.create_task(walk(child, at.spawn("race", n))) for n, child in enumerate(nodes)]
            done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            won = [n for n, task in enumerate(tasks) if task in done]
            return [won, await ask(Ask(mix(won)), at.to("won")), [tasks[n].result() for n in won]]
        case Try(child, handler):
            try:
                return await walk(child, at.to("try"))
            except Exception as error:
                if isinstance(error, DivergenceError):
                    raise
                return ["caught", await walk(handler, at.to("except"))]
        case Timeout(ms, child):
            try:
                async with asyncio.timeout(ms / 1000):
                    return await walk(child, at.to("timed"))
            except TimeoutError:
                return ["late", await ask(Ask(7), at.to("late"))]
        case Tool(child):
            inner = at.spawn("in")
            return blocking_tool(child, inner) if at.io.blocking else await tool(child, inner)


async def ask(node: Ask, at: At) -> Any:
    given = mix(at.got) if node.arg is None else node.arg
    said = {"arg": str(given), "fails": str(node.fails), "how": node.how}
    world = at.io.world
    token = PATH.set(at.path)
    answer: Any = None
    try:
        for left in (2, 1, 0):
            try:
                response = await at.io.send(request_of(at, said, model=node.model))
            except httpx2.TransportError as error:
                answer = type(error).__name__
                if not left and not node.caught:
                    raise
                continue
            answer = [response.status_code, response.text]
            if response.status_code < 500:
                break
        if answer[0] != 200 and not node.caught:
            response.raise_for_status()
    finally:
        PATH.reset(token)
    for path, value in at.unsaid.items():
        world.told(path, value)
    at.unsaid.clear()
    world.told(at.path, (said, answer))
    return answer


async def stream(node: Stream, at: At) -> Any:
    token = PATH.set(at.path)
    said = {"arg": str(mix(at.got)), "count": str(node.count), "breaks": str(node.breaks)}
    found: list[Any] = []
    parts: list[str] = []
    try:
        for nth in range(2):
            parts, found = [], []
            response = await at.io.send(request_of(at, said, model=node.model), stream=True)
            pieces = at.io.read(response)
            try:
                while not node.take or len(parts) < node.take:
                    parts.append((await anext(pieces)).decode())
                    if node.calls:
                        at.unsaid[at.path, nth, len(parts)] = list(parts)
                        found.append(await ask(Ask(mix(parts)), at.to("call", nth, len(parts))))
            except StopAsyncIteration:
                break
            except httpx2.TransportError:
                if nth:
                    raise
            else:
                break
    finally:
        PATH.reset(token)
    at.unsaid[at.path] = (said, parts)
    if node.end == "close":
        await at.io.close(response)
    elif node.end == "hold":
        at.io.world.held += [response, pieces]
    return [parts, found]


async def side_by_side(kind: str, nodes: tuple[Node, ...], at: At) -> list[Any]:
    branches = [(child, at.spawn(kind, n)) for n, child in enumerate(nodes)]
    if kind == "gather":
        return await asyncio.gather(*(walk(*branch) for branch in branches))
    if kind == "group":
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(walk(*branch)) for branch in branches]
        return [task.result() for task in tasks]
    io = at.io if at.io.blocking else BlockingIo(at.io.world)
    results: dict[int, Any] = {}

    def strand(n: int, child: Node, where: At) -> None:
        where.io = io
        try:
            results[n] = drive(walk(child, where))
        except BaseException as error:
            results[n] = error

    if not at.io.blocking:
        await asyncio.gather(*(asyncio.to_thread(strand, n, *branch) for n, branch in enumerate(branches)))
    else:
        threads = [threading.Thread(target=strand, args=(n, *branch)) for n, branch in enumerate(branches)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for value in results.values():
        if isinstance(value, BaseException):
            raise value
    return [results[n] for n in range(len(branches))]


def agent(node: Node, world: World) -> Callable[[], Any]:
    async def main() -> Any:
        world.held.clear()
        io = Io(world)
        return await walk(node, At(("main",), io))

    return main
