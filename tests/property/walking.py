"""A tree as a function that can be run durably: its calls made, side by side as it says, and told to the world."""

# ruff: noqa: D103

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import anyio.to_thread
from workloads import (
    PATH,
    WORLD,
    Call,
    Grow,
    Items,
    Nested,
    Node,
    Par,
    Path,
    Race,
    Seq,
    Sleep,
    Timeout,
    ToolError,
    Try,
    Workers,
    World,
    mix,
)

import jupyter_durable as durable

# -- the tools -------------------------------------------------------------------------------------


@durable.tool
async def fetch(arg: int) -> str:
    world = WORLD.get()
    answer = world.execute("fetch", arg)
    await asyncio.sleep(world.latency())
    return answer


@durable.tool
async def fails(arg: int) -> str:
    world = WORLD.get()
    answer = world.execute("fails", arg)
    await asyncio.sleep(world.latency())
    raise ToolError(answer)


@durable.tool
def look(arg: int) -> str:
    world = WORLD.get()
    answer = world.execute("look", arg)
    time.sleep(world.latency())
    return answer


@durable.tool
def breaks(arg: int) -> str:
    raise ToolError(WORLD.get().execute("breaks", arg))


@durable.tool
async def items(count: int) -> Any:
    answer = WORLD.get().execute("items", count)
    for n in range(count):
        await asyncio.sleep(WORLD.get().latency())
        yield f"{answer}.{n}"


@durable.tool
async def grow(held: list[Any]) -> int:
    held.append(WORLD.get().execute("grow", len(held)))
    await asyncio.sleep(WORLD.get().latency())
    return len(held)


@durable.tool
async def nested(node: Node, at: At) -> Any:
    WORLD.get().execute("nested", "")
    return await walk(node, at)


@durable.tool
def nested_blocking(node: Node, at: At) -> Any:
    WORLD.get().execute("nested_blocking", "")
    return walk_blocking(node, at)


_TOOLS: dict[tuple[bool, bool], Any] = {
    (False, False): fetch,
    (False, True): fails,
    (True, False): look,
    (True, True): breaks,
}


# -- walking a tree --------------------------------------------------------------------------------


class At:
    """Where a strand is. Compared by identity: it does not count as an argument."""

    def __init__(self, path: Path, got: Any = None) -> None:
        self.path = path
        self.got = got  # what the strand has been told so far

    def to(self, *more: Any) -> At:
        return At((*self.path, *more), self.got)


@contextlib.contextmanager
def telling(at: At, call: str) -> Iterator[list[Any]]:
    token = PATH.set(at.path)
    box: list[Any] = []
    try:
        yield box
    except ToolError as error:
        WORLD.get().told(at.path, call, f"raised {error}")
        raise
    else:
        WORLD.get().told(at.path, call, f"returned {box[0]!r}")
    finally:
        PATH.reset(token)


async def walk(node: Node, at: At) -> Any:
    """Do what the tree says, in a coroutine."""
    match node:
        case Call(arg, bad, blocking):
            given = mix(at.got) if arg is None else arg
            tool = _TOOLS[blocking, bad]
            with telling(at, f"{tool.__name__}({given})") as box:
                box.append(tool(given) if blocking else await tool(given))
            return box[0]
        case Sleep(ms):
            await asyncio.sleep(ms / 1000)
            return None
        case Seq(nodes):
            found = []
            for n, child in enumerate(nodes):
                value = await walk(child, at.to(n))
                found.append(value)
                at.got = [at.got, value]
            return found
        case Par(kind, nodes):
            return await side_by_side(kind, nodes, at)
        case Race(nodes, cancel):
            return await race(nodes, cancel, at)
        case Try(child, handler, reraise):
            try:
                return await walk(child, at.to("try"))
            except Exception as error:
                if reraise or not all(isinstance(leaf, ToolError) for leaf in leaves(error)):
                    raise
                told = sorted(map(str, leaves(error)))
                return [told, await walk(handler, At((*at.path, "except"), told))]
            finally:
                if reraise:
                    await walk(handler, at.to("finally"))
        case Timeout(kind, ms, child):
            return await timed(kind, ms, child, at)
        case Nested(child, blocking):
            token = PATH.set(at.path)
            try:
                inner = at.to("in")
                return nested_blocking(child, inner) if blocking else await nested(child, inner)
            finally:
                PATH.reset(token)
        case Items(count, take, calls):
            return await consume(count, take, calls, at)
        case Grow():
            held: list[Any] = ["first"]
            for n in range(2):
                with telling(at.to(n), f"grow({held})") as box:
                    box.append(await grow(held))
            with telling(at.to(2), f"fetch({mix(held)})") as box:
                box.append(await fetch(mix(held)))
            return [held, box[0]]
        case Workers(workers, jobs):
            return await work(workers, jobs, at)


def walk_blocking(node: Node, at: At) -> Any:
    """The same in a thread; only for trees of `blocking_nodes`."""
    match node:
        case Call(arg, bad):
            given = mix(at.got) if arg is None else arg
            tool = _TOOLS[True, bad]
            with telling(at, f"{tool.__name__}({given})") as box:
                box.append(tool(given))
            return box[0]
        case Sleep(ms):
            time.sleep(ms / 1000)
            return None
        case Seq(nodes):
            found = []
            for n, child in enumerate(nodes):
                value = walk_blocking(child, at.to(n))
                found.append(value)
                at.got = [at.got, value]
            return found
        case Par(kind, nodes):
            return in_threads(kind, nodes, at)
        case Try(child, handler, reraise):
            try:
                return walk_blocking(child, at.to("try"))
            except ToolError as error:
                if reraise:
                    raise
                return [str(error), walk_blocking(handler, At((*at.path, "except"), str(error)))]
            finally:
                if reraise:
                    walk_blocking(handler, at.to("finally"))
        case Nested(child):
            token = PATH.set(at.path)
            try:
                return nested_blocking(child, at.to("in"))
            finally:
                PATH.reset(token)
    raise AssertionError(f"{node} cannot be walked in a thread")


def leaves(error: BaseException) -> list[BaseException]:
    """The errors inside groups inside groups."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


async def side_by_side(kind: str, nodes: tuple[Node, ...], at: At) -> list[Any]:
    branches = [(child, at.to(kind, n)) for n, child in enumerate(nodes)]
    match kind:
        case "gather":
            return await asyncio.gather(*(walk(*branch) for branch in branches))
        case "group":
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(walk(*branch)) for branch in branches]
            return [task.result() for task in tasks]
        case "as_completed":
            return [await done for done in asyncio.as_completed([walk(*branch) for branch in branches])]
        case "wait":
            tasks = [asyncio.create_task(walk(*branch)) for branch in branches]
            await asyncio.wait(tasks)
            return [task.result() for task in tasks]
        case "shield":
            tasks = [asyncio.create_task(walk(*branch)) for branch in branches]
            return await asyncio.gather(*(asyncio.shield(task) for task in tasks))
        case "tasks":
            tasks = [asyncio.create_task(walk(*branch)) for branch in branches]
            return [await task for task in tasks]
        case "anyio":
            found: dict[int, Any] = {}

            async def keep(n: int, child: Node, where: At) -> None:
                found[n] = await walk(child, where)

            async with anyio.create_task_group() as any_group:
                for n, branch in enumerate(branches):
                    any_group.start_soon(keep, n, *branch)
            return [found[n] for n in range(len(branches))]
        case "to_thread":
            return await asyncio.gather(*(asyncio.to_thread(walk_blocking, *branch) for branch in branches))
        case "anyio_thread":
            return await asyncio.gather(
                *(anyio.to_thread.run_sync(walk_blocking, *branch) for branch in branches)
            )
        case _:
            return in_threads(kind, nodes, at)


def in_threads(kind: str, nodes: tuple[Node, ...], at: At) -> list[Any]:
    branches = [(child, at.to(kind, n)) for n, child in enumerate(nodes)]
    if kind == "thread":
        found: dict[int, Any] = {}

        def keep(n: int, child: Node, where: At) -> None:
            try:
                found[n] = walk_blocking(child, where)
            except BaseException as error:
                found[n] = error

        threads = [threading.Thread(target=keep, args=(n, *branch)) for n, branch in enumerate(branches)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        results = [found[n] for n in range(len(branches))]  # not in the order in which the threads ended
        for value in results:
            if isinstance(value, BaseException):
                raise value
        return results
    with ThreadPoolExecutor(max_workers=len(branches)) as pool:
        futures = [pool.submit(walk_blocking, *branch) for branch in branches]
        return [future.result() for future in futures]


async def race(nodes: tuple[Node, ...], cancel: bool, at: At) -> Any:
    tasks = [asyncio.create_task(walk(child, at.to("race", n))) for n, child in enumerate(nodes)]
    done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    won = [n for n, task in enumerate(tasks) if task in done]
    if cancel:
        for task in others:
            task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    at.got = [at.got, won]
    return [won, await walk(Call(None), at.to("won")), [tasks[n].result() for n in won]]


async def timed(kind: str, ms: int, child: Node, at: At) -> Any:
    late = None
    try:
        if kind == "wait_for":
            return await asyncio.wait_for(walk(child, at.to("timed")), ms / 1000)
        if kind == "timeout":
            async with asyncio.timeout(ms / 1000):
                return await walk(child, at.to("timed"))
        try:
            with anyio.fail_after(ms / 1000) as scope:
                return await walk(child, at.to("timed"))
        except asyncio.CancelledError:
            # anyio knows its own cancellations by their message, and a cancelled `gather` has that of its last
            # task: none, if that had ended before (Python's own, without us, too).
            task = asyncio.current_task()
            if not scope.cancel_called or task is None or task.cancelling():
                raise
            raise TimeoutError from None
    except TimeoutError:
        late = await walk(Call(7), at.to("late"))
    return ["late", late]


async def consume(count: int, take: int, calls: bool, at: At) -> list[Any]:
    found: list[Any] = []
    token = PATH.set(at.path)
    try:
        async with contextlib.aclosing(items(count)) as stream:
            async for item in stream:
                found.append(item)
                if calls:
                    found.append(await walk(Call(None), At((*at.path, len(found)), item)))
                if take and len(found) >= take:
                    break
    finally:
        PATH.reset(token)
    return found


async def work(workers: int, jobs: int, at: At) -> dict[str, Any]:
    queue: asyncio.Queue[int] = asyncio.Queue()
    for job in range(jobs):
        queue.put_nowait(job)
    done: dict[str, Any] = {}

    async def worker(name: At) -> None:
        while not queue.empty():
            job = queue.get_nowait()
            # By job, not by worker: which of equal workers takes it is nobody's business.
            done[str(job)] = await walk(Seq((Call(job), Call(None))), at.to("job", job))

    await asyncio.gather(*(worker(at) for _ in range(workers)))
    return dict(sorted(done.items()))


def agent(node: Node, world: World) -> Callable[[], Any]:
    """The tree as a function to be executed in runs; one `World` sees all of its executions."""

    async def main() -> Any:
        WORLD.set(world)
        return await walk(node, At(("main",)))

    return main
