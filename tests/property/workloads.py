"""Agents as data: small trees of durable and plain work, so that hypothesis finds shapes nobody thought of.

    Node      what an agent does: call a tool, sleep, go on in order or side by side, catch, time out, nest
    World     the outside: counts what is really executed, remembers what each strand was told

`walking.agent` makes a tree a function that can be run durably.

Every call is known by its *path* in the tree, which the engine never sees (it travels beside the
arguments): so a result that turns up at another place, or a call made twice, shows, whatever the
engine believes.
"""

from __future__ import annotations

import random
import threading
import zlib
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import jupyter_durable as durable

Path = tuple[Any, ...]


# -- the trees -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    """A tool call. `arg` None: of whatever the strand has got so far, so that a wrong answer breeds another call."""

    arg: int | None = 0
    fails: bool = False
    blocking: bool = False


@dataclass(frozen=True)
class Sleep:
    """Plain `asyncio.sleep`, of which the journal knows nothing."""

    ms: int


@dataclass(frozen=True)
class Seq:
    """One after another."""

    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class Par:
    """Side by side; `kind` is how the strands are made and awaited."""

    kind: str
    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class Race:
    """The first to finish counts. The others are cancelled (`cancel`) or awaited, and forgotten."""

    nodes: tuple[Node, ...]
    cancel: bool


@dataclass(frozen=True)
class Try:
    """`except`: go on with `handler`; or `finally`: clean up with it and let the error pass."""

    node: Node
    handler: Node
    reraise: bool


@dataclass(frozen=True)
class Timeout:
    """Give up after `ms`. `kind`: wait_for, timeout, anyio."""

    kind: str
    ms: int
    node: Node


@dataclass(frozen=True)
class Nested:
    """A tool that makes the calls of `node` itself."""

    node: Node
    blocking: bool = False


@dataclass(frozen=True)
class Items:
    """A generator tool of `count` items; the consumer stops after `take` and makes a call at each if `calls`."""

    count: int
    take: int
    calls: bool


@dataclass(frozen=True)
class Grow:
    """A tool that changes its argument in place, twice, and a call that depends on it."""


@dataclass(frozen=True)
class Workers:
    """Equal workers on one queue: who takes what depends on who is done first."""

    workers: int
    jobs: int


Node = Call | Sleep | Seq | Par | Race | Try | Timeout | Nested | Items | Grow | Workers
ASYNC_KINDS = ("gather", "group", "as_completed", "wait", "shield", "tasks", "anyio")
THREAD_KINDS = ("to_thread", "anyio_thread", "pool", "thread")


class ToolError(Exception):
    """What a failing tool raises."""


# -- the outside -----------------------------------------------------------------------------------


@dataclass
class Life:
    """What one process saw: what was executed (path, idempotency key), and what strands were told."""

    executed: list[tuple[Path, str]] = field(default_factory=list)
    told: dict[Path, tuple[str, str]] = field(default_factory=dict)


class World:
    """The outside of the runs. `unique`: no two executions give equal results, as with a model."""

    def __init__(
        self, seed: int, *, unique: bool, latencies: tuple[float, ...] = (0, 0, 0.001, 0.002, 0.008)
    ) -> None:
        self.rng = random.Random(seed)
        self.unique = unique
        self.latencies = latencies
        self.lives: list[Life] = []
        self.count = 0
        self._lock = threading.Lock()

    def latency(self) -> float:
        with self._lock:
            return self.rng.choice(self.latencies)

    def execute(self, name: str, arg: Any) -> str:
        with self._lock:
            self.count += 1
            self.lives[-1].executed.append((PATH.get(), durable.idempotency_key()))
            return f"{name}({arg})#{self.count}" if self.unique else f"{name}({arg})"

    def told(self, path: Path, call: str, answer: str) -> None:
        with self._lock:
            self.lives[-1].told[path] = (call, answer)


PATH: ContextVar[Path] = ContextVar("path")
WORLD: ContextVar[World] = ContextVar("world")


def mix(value: Any) -> int:
    """A small number that differs when `value` does."""
    return zlib.crc32(repr(value).encode()) % 10_000
