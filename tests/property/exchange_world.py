"""The outside of agents made of HTTP exchanges: a server without a socket, which answers in pieces and remembers."""

# ruff: noqa: D103

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import httpx2

from jupyter_durable.runtime.context import SCOPE
from jupyter_durable.runtime.run import LiveRun


@dataclass
class Life:
    """What one process saw: requests that reached the transport (path, key, attempt), and what strands were told."""

    sent: list[tuple[Any, str, int]] = field(default_factory=list)
    told: dict[Any, Any] = field(default_factory=dict)


PATH: ContextVar[tuple[Any, ...]] = ContextVar("path")


def mix(value: Any) -> int:
    return zlib.crc32(repr(value).encode()) % 10_000


class World:
    """The other end of all requests. `unique`: no two answers are equal, as with a model."""

    def __init__(self, seed: int, *, unique: bool) -> None:
        self.rng = random.Random(seed)
        self.unique = unique
        self.lives: list[Life] = []
        self.hits: Counter[Any] = Counter()
        self.count = 0
        self.held: list[Any] = []
        self.run: LiveRun | None = None  # of the present life
        self._lock = threading.Lock()

    def latency(self) -> float:
        with self._lock:
            return self.rng.choice((0, 0, 0.001, 0.002, 0.006))

    def told(self, path: Any, what: Any) -> None:
        if self.run is not None and self.run.lost is not None:
            return  # a thread that outlives the crash, as none does
        with self._lock:
            self.lives[-1].told[path] = what

    def receive(self, request: httpx2.Request) -> tuple[int, list[bytes], bool]:
        """Status, pieces (an empty one: the connection breaks), and whether they are one body of known length."""
        scope = SCOPE.get()
        if request.method == "POST":
            said = json.loads(json.loads(request.content)["messages"][0]["content"])
        else:
            said = dict(request.url.params)
        with self._lock:
            self.count += 1
            path = PATH.get()
            self.hits[path] += 1
            nth = self.hits[path]
            text = f"{said['arg']}#{self.count}" if self.unique else said["arg"]
            if scope is not None and scope.attempt is not None:
                key = scope.run.idempotency_key(scope.attempt.scope, scope.attempt.pos)
                within = (
                    scope.attempt.kind == "tool"
                )  # which may repeat it: it is covered by the tool's outcome
                self.lives[-1].sent.append((path, key, -self.count if within else scope.attempt.number))
        if nth <= int(said.get("fails", 0)):
            if said["how"] == "error":
                raise httpx2.ConnectError("nobody there")
            return int(said["how"]), [b"no"], True
        count = int(said.get("count", 0))
        if not count:
            return 200, [json.dumps({"said": text}).encode()], True
        pieces = [f"{text}.{n}".encode() for n in range(count)]
        if request.method == "POST":
            pieces = [
                b"data: "
                + json.dumps({"choices": [{"index": 0, "delta": {"content": p.decode()}}]}).encode()
                + b"\n\n"
                for p in pieces
            ]
            pieces.append(b"data: [DONE]\n\n")
        if said["breaks"] == "True" and nth == 1:
            pieces[-1] = b""
        return 200, pieces, False


class Body(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A response on its way, piece by piece."""

    def __init__(self, world: World, pieces: list[bytes]) -> None:
        self.world = world
        self.pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.pieces:
            time.sleep(self.world.latency())
            yield self.unbroken(piece)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            await asyncio.sleep(self.world.latency())
            yield self.unbroken(piece)

    def unbroken(self, piece: bytes) -> bytes:
        if not piece:
            raise httpx2.ReadError("broken")
        return piece


class Wire(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    """A transport that ends in the world."""

    def __init__(self, world: World) -> None:
        self.world = world

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        status, pieces, whole = self.world.receive(request)
        if whole:
            return httpx2.Response(status, content=b"".join(pieces))
        kind = "text/event-stream" if request.method == "POST" else "text/plain"
        return httpx2.Response(status, headers={"content-type": kind}, stream=Body(self.world, pieces))

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        time.sleep(self.world.latency())
        return self._answer(request)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await asyncio.sleep(self.world.latency())
        return self._answer(request)
