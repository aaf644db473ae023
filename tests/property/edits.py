"""Agents that are edited: trees of calls whose answers depend on everything that was done before them.

    Act, Seq, Par, Spawn, Nested    what an agent does
    edited()                        the tree with a node deleted, inserted, changed or swapped
    agent()                         a tree as a function; run plainly it says what is right

The outside remembers, for each strand, what was done so far in it, before it in the strands around it, and
in the strands that were joined (`PAST`): an answer is a digest of that. So a recorded answer is right in an
edited agent exactly if nothing that it may depend on has changed. The engine sees none of it.
"""

# ruff: noqa: D103

from __future__ import annotations

import asyncio
import random
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field, replace
from typing import Any

import jupyter_durable as durable
from jupyter_durable.runtime.context import SCOPE


@dataclass(frozen=True)
class Act:
    """A call. `depends`: its argument is what was done so far, which the engine does see."""

    name: str
    depends: bool = False


@dataclass(frozen=True)
class Seq:
    """One after another."""

    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class Par:
    """Side by side, and joined. `kind`: gather, group, to_thread, pool (of blocking nodes)."""

    kind: str
    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class Spawn:
    """A task that is joined when its strand ends."""

    node: Node


@dataclass(frozen=True)
class Nested:
    """A tool that makes the calls of `node` itself. Its argument says which: a step that has ended is not looked into."""

    node: Node


Node = Act | Seq | Par | Spawn | Nested


@dataclass
class World:
    """The outside. `labels`: what strands are called, by their place, by what they begin with, or all alike."""

    labels: str = "place"
    seed: int = 0
    executed: list[tuple[tuple[Any, ...], str]] = field(default_factory=list)  # path, idempotency key
    latencies: tuple[float, ...] = (0, 0, 0, 0.001, 0.003)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)
        self._lock = threading.Lock()

    def answer(self, name: str, arg: int) -> str:
        with self._lock:
            at = AT.get()
            self.executed.append((at.path, durable.idempotency_key() if SCOPE.get() else ""))
            return f"{name}:{mix(at.past, name, arg)}"

    def latency(self) -> float:
        with self._lock:
            return self._rng.choice(self.latencies)


_NOW = threading.Event()
_NOW.set()


class At:
    """Where a strand is, and what was done before. Compared by identity: it does not count as an argument."""

    def __init__(self, path: tuple[Any, ...], past: int, node: Node) -> None:
        self.path = path
        self.past = self.began = past
        self.node = node
        self.go = _NOW
        self.tasks: list[tuple[asyncio.Task[Any], At]] = []

    def did(self, what: Any) -> None:
        self.past = mix(self.past, what)

    def strand(self, n: Any, node: Node) -> At:
        return At((*self.path, n), self.past, node)

    def joined(self, strands: list[At]) -> None:
        if pasts := sorted(strand.past for strand in strands if strand.past != strand.began):
            self.did(pasts)


AT: ContextVar[At] = ContextVar("at")
WORLD: ContextVar[World] = ContextVar("world")


def mix(*values: Any) -> int:
    return zlib.crc32(repr(values).encode())


@durable.tool
async def act(name: str, arg: int) -> str:
    world = WORLD.get()
    answer = world.answer(name, arg)
    await asyncio.sleep(world.latency())
    return answer


@durable.tool
def act_blocking(name: str, arg: int) -> str:
    world = WORLD.get()
    answer = world.answer(name, arg)
    time.sleep(world.latency())
    return answer


@durable.tool
async def nested(node: Node, at: At) -> Any:
    # What is spawned in there is joined in there.
    inner = At((*at.path, "in"), at.past, node)
    return await run_strand("in", inner), inner.past


async def walk(node: Node, at: At) -> Any:
    match node:
        case Act(name, depends):
            AT.set(at)
            answer = await act(name, at.past if depends else 0)
            at.did(answer)
            return answer
        case Seq(nodes):
            return [await walk(child, at) for child in nodes]
        case Nested(inner):
            found, at.past = await nested(inner, at)
            return found
        case Spawn(inner):
            strand = at.strand(len(at.tasks), inner)
            at.tasks.append((asyncio.create_task(run_strand(label(inner, "bg"), strand)), strand))
            return None
        case Par(kind, nodes):
            strands = [at.strand((kind, n), child) for n, child in enumerate(nodes)]
            work = [(label(strand.node, n), strand) for n, strand in enumerate(strands)]
            if kind == "gather":
                found = await asyncio.gather(*(run_strand(*it) for it in work))
            elif kind == "group":
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(run_strand(*it)) for it in work]
                found = [task.result() for task in tasks]
            elif kind == "to_thread":
                found = await asyncio.gather(*(asyncio.to_thread(run_blocking, *it) for it in work))
            else:
                found = in_pool(work)
            at.joined(strands)
            return list(found)


async def run_strand(name: Any, at: At) -> Any:
    found = await walk(at.node, at)
    for task, _ in at.tasks:
        found = [found, await task]
    at.joined([strand for _, strand in at.tasks])
    return found


def walk_blocking(node: Node, at: At) -> Any:
    match node:
        case Act(name, depends):
            AT.set(at)
            answer = act_blocking(name, at.past if depends else 0)
            at.did(answer)
            return answer
        case Seq(nodes):
            return [walk_blocking(child, at) for child in nodes]
        case Par(kind, nodes):
            strands = [at.strand((kind, n), child) for n, child in enumerate(nodes)]
            found = in_pool([(label(strand.node, n), strand) for n, strand in enumerate(strands)])
            at.joined(strands)
            return found
    raise AssertionError(f"{node} cannot be walked in a thread")


def run_blocking(name: Any, at: At) -> Any:
    at.go.wait()
    return walk_blocking(at.node, at)


def in_pool(work: list[tuple[Any, At]]) -> list[Any]:
    """Strands in threads. They begin when all are spawned: one that had ended before might have been waited for."""
    spawned = threading.Event()
    for _, at in work:
        at.go = spawned
    with ThreadPoolExecutor(max_workers=max(1, len(work))) as pool:
        futures = [pool.submit(copy_context().run, run_blocking, *it) for it in work]
        spawned.set()
        return [future.result() for future in futures]


def label(node: Node, place: Any) -> Any:
    match WORLD.get().labels:
        case "place":
            return place
        case "alike":
            return ""
        case _:
            return first(node)


def first(node: Node) -> str:
    match node:
        case Act(name):
            return name
        case Seq(nodes) | Par(nodes=nodes):
            return first(nodes[0]) if nodes else ""
        case Spawn(inner) | Nested(inner):
            return first(inner)


def agent(node: Node, world: World) -> Callable[[], Any]:
    """The tree as a function, to be executed in runs or plainly."""

    async def main() -> Any:
        WORLD.set(world)
        at = At((), 0, node)
        return await run_strand("main", at), at.past

    return main


def blocking_agent(node: Node, world: World) -> Callable[[], Any]:
    """The same without a loop."""

    def main() -> Any:
        WORLD.set(world)
        at = At((), 0, node)
        return walk_blocking(node, at), at.past

    return main


# -- edits -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Edit:
    """What is done to the `where`th place (modulo how many there are) where a node can be so edited."""

    what: str  # delete, insert, change, swap
    where: int
    node: Node
    other: int = 0


def edited(tree: Node, edit: Edit) -> Node:
    """The tree after the edit."""
    places = list(lists(tree))
    if edit.what != "insert":
        places = [(path, nodes) for path, nodes in places if len(nodes) > (edit.what == "swap")]
    if not places:
        return tree
    path, nodes = places[edit.where % len(places)]
    at = edit.other % (len(nodes) + (edit.what == "insert"))
    new = list(nodes)
    match edit.what:
        case "delete":
            del new[at]
        case "insert":
            new.insert(at, edit.node)
        case "change":
            new[at] = edit.node
        case _:
            other = (at + 1 + edit.where % (len(nodes) - 1)) % len(nodes)
            new[at], new[other] = new[other], new[at]
    return put(tree, path, tuple(new))


def lists(node: Node, path: tuple[int, ...] = ()) -> Any:
    """The lists of nodes in a tree, and where they are."""
    if isinstance(node, Seq | Par):
        yield path, node.nodes
        for n, child in enumerate(node.nodes):
            yield from lists(child, (*path, n))
    elif isinstance(node, Spawn | Nested):
        yield from lists(node.node, (*path, 0))


def put(node: Node, path: tuple[int, ...], nodes: tuple[Node, ...]) -> Node:
    if not path:
        return replace(node, nodes=nodes)  # type: ignore[call-arg]
    if isinstance(node, Spawn | Nested):
        return replace(node, node=put(node.node, path[1:], nodes))
    assert isinstance(node, Seq | Par)
    inner = list(node.nodes)
    inner[path[0]] = put(inner[path[0]], path[1:], nodes)
    return replace(node, nodes=tuple(inner))


def steady_threads(node: Node, inside: bool = False) -> bool:
    """Whether what runs in threads can: calls, sequences and pools."""
    match node:
        case Act():
            return True
        case Seq(nodes):
            return all(steady_threads(n, inside) for n in nodes)
        case Par(kind, nodes):
            inner = inside or kind in ("to_thread", "pool")
            return (not inside or kind == "pool") and all(steady_threads(n, inner) for n in nodes)
        case Spawn(inner) | Nested(inner):
            return not inside and steady_threads(inner)
