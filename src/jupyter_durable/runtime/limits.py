"""`max_concurrency` and `rate` of a tool, shared by its sync and async callers in this process."""

from __future__ import annotations

import asyncio
import threading
from collections import deque

from jupyter_durable.clock import Clock
from jupyter_durable.runtime.loop_timers import sleep_apart


class Limiter:
    """At most `concurrency` calls at once, and at most `rate` starts a second (evenly spaced).

    Callers are served in the order in which they came.
    """

    def __init__(self, concurrency: int | None = None, rate: float | None = None) -> None:
        if concurrency is not None and concurrency < 1:
            raise ValueError(f"max_concurrency must be at least 1, not {concurrency}")
        if rate is not None and rate <= 0:
            raise ValueError(f"rate must be above 0 calls a second, not {rate}")
        self._free = concurrency
        self._spacing = 1 / rate if rate is not None else 0.0
        self._next_start = 0.0
        self._lock = threading.Lock()
        self._waiting: deque[threading.Event | asyncio.Future[None]] = deque()

    def acquire(self, clock: Clock) -> None:
        """Block until the call may start. Every `acquire` needs a `release`."""
        turn: threading.Event | None = None
        with self._lock:
            if not self._take():
                turn = threading.Event()
                self._waiting.append(turn)
        if turn is not None:
            try:
                turn.wait()
            except BaseException:
                self._withdraw(turn)
                raise
        pause = self._pause(clock)
        if pause > 0:
            clock.wait(pause)

    async def acquire_async(self, clock: Clock) -> None:
        """The same without blocking the loop."""
        turn: asyncio.Future[None] | None = None
        with self._lock:
            if not self._take():
                turn = asyncio.get_running_loop().create_future()
                self._waiting.append(turn)
        if turn is not None:
            try:
                await turn
            except BaseException:
                self._withdraw(turn)
                raise
        pause = self._pause(clock)
        if pause > 0:
            try:
                await sleep_apart(pause)
            except BaseException:
                self.release()
                raise

    def release(self) -> None:
        """The call is over."""
        with self._lock:
            if self._free is None:
                return
            while self._waiting:
                turn = self._waiting.popleft()
                if isinstance(turn, threading.Event):
                    turn.set()
                    return
                if not turn.done():
                    turn.get_loop().call_soon_threadsafe(_grant, turn)
                    return
            self._free += 1

    def _take(self) -> bool:
        if self._free is None:
            return True
        if self._free > 0:
            self._free -= 1
            return True
        return False

    def _withdraw(self, turn: threading.Event | asyncio.Future[None]) -> None:
        with self._lock:
            if turn in self._waiting:
                self._waiting.remove(turn)
                return
        self.release()  # it had just been granted

    def _pause(self, clock: Clock) -> float:
        if not self._spacing:
            return 0.0
        with self._lock:
            now = clock.monotonic()
            start = max(now, self._next_start)
            self._next_start = start + self._spacing
            return start - now


def _grant(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)
