"""Signs of life of a kernel: whether it answers, and how much memory it uses.

That its process is there does not say that it lives: a stopped one, or one that waits for a lock that nobody will
give back, is there for ever. Two things beat as long as a kernel does, however busy a cell keeps it: its heartbeat
channel, and the lease of the run that it advances.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from jupyter_durable.clock import SystemClock

_EVERY = 1.0
_LEASES = 5  # ticks


class Vitals:
    """Watches one kernel until it is stopped.

    - client: its kernel client, with the heartbeat channel started
    - pid: its process, if it is on this machine
    - limit: seconds of silence after which `hung(why)` is awaited, once
    - silent: for how many seconds the lease of a run that this kernel advances has been over, if one has

    `memory` is what it used when last seen, in bytes.
    """

    def __init__(
        self,
        client: Any,
        pid: int | None,
        limit: float,
        hung: Callable[[str], Awaitable[None]],
        silent: Callable[[int], float] = lambda pid: 0.0,
    ) -> None:
        self.memory = 0
        self._client = client
        self._pid = pid
        self._limit = limit
        self._hung = hung
        self._silent = silent
        self._task = asyncio.get_running_loop().create_task(self._watch())

    def stop(self) -> None:
        """End watching."""
        self._task.cancel()

    async def _watch(self) -> None:
        now = SystemClock.monotonic
        beaten, ticks = now(), 0
        with contextlib.suppress(Exception):  # what watches must not be what ends the job
            self._client.hb_channel.unpause()
        while True:
            await asyncio.sleep(_EVERY)
            ticks += 1
            with contextlib.suppress(Exception):
                self._weigh()
                quiet = 0.0
                if self._client.hb_channel.is_beating():
                    beaten = now()
                else:
                    quiet = now() - beaten
                if self._pid is not None and ticks % _LEASES == 0:
                    quiet = max(quiet, self._silent(self._pid))
                if quiet >= self._limit:
                    await self._hung(f"killed: it had not answered for {quiet:.0f} s")
                    return

    def _weigh(self) -> None:
        if self._pid is not None:
            import psutil

            self.memory = int(psutil.Process(self._pid).memory_info().rss)
