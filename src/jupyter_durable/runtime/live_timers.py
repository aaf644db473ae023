"""Timers of the run's own code, live: each goes off in its turn among the outcomes, one at a time.

As on replay (see `runtime.loop_timers`): one whose time comes while an outcome is being committed goes off after what that
sets off; and who waits for the first of two that are due at the same time finds one. Of threads only the outcomes
before it are waited for: a timeout must not be late because they are busy.

What is written next says which have gone off (see `journal.rung`), but for those inside an attempt: a replay does not make it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context
from time import monotonic  # not as it is patched while a run is live
from typing import Any, NamedTuple

from jupyter_durable.journal.rung import Timer, tell, together
from jupyter_durable.model import Draft
from jupyter_durable.runtime.deliveries import Delivery
from jupyter_durable.runtime.stirring import RESTLESS

_TURNS = 16  # of a loop that is to come to rest; after that it is waited for
_PATIENCE = 0.005  # seconds: so much later may a timer be than it is anyway

CallAt = Callable[..., asyncio.TimerHandle]


class Asked(NamedTuple):
    """A timer to be set, by the loop's own `call_at`. `strand`: the sign of the one that sets it (see `Scope.sign`)."""

    call_at: CallAt
    loop: asyncio.AbstractEventLoop
    when: float
    callback: Any
    args: Any
    context: Context | None
    strand: int | None

    def told(self) -> Timer | None:
        """What it is told by, if it is set now; None if nobody is told of it."""
        return None if self.strand is None else (round((self.when - monotonic()) * 1000), self.strand)


class Ring(Delivery):
    """A timer; once its time has come it waits for its turn."""

    __slots__ = ("_args", "_callback", "_gone", "_late", "_timers", "handle", "number", "told")

    def __init__(
        self,
        timers: LiveTimers,
        loop: asyncio.AbstractEventLoop,
        callback: Any,
        args: Any,
        told: Timer | None,
    ) -> None:
        super().__init__(in_turn=True)
        self._timers = timers
        self.loop = loop
        self._callback = callback
        self._args = args
        self.told = told
        self.number = 0  # once somebody was
        self._gone = False
        self._late = 0.0
        self.handle: asyncio.TimerHandle = None  # type: ignore[assignment]

    def __call__(self) -> None:
        """Its time has come. In its loop, in its context."""
        self._late = monotonic() + _PATIENCE
        self._timers.ring(self)

    def go_off(self) -> None:
        """It is its turn. In its loop, in its context."""
        if self.handle.cancelled():
            self._timers.cancelled(self)
            return
        self._gone = True
        self._callback(*self._args)

    @property
    def silent(self) -> bool:
        """Whether it was cancelled before its turn came."""
        return not self._gone and self.handle.cancelled()

    @property
    def alone(self) -> bool:
        """Threads and other loops are not waited for."""
        return True

    def patient(self, turns: int) -> bool:
        """For a few turns, for most of what can be set off, however slow they are; else by the clock."""
        return turns < _TURNS or (turns < RESTLESS and monotonic() < self._late)

    def tell(self) -> None:
        """In the loop's own thread."""
        assert self.loop is not None
        # Not at once: a blocking call of this loop's may be what hands it over.
        self.loop.call_soon(self.go_off, context=self.handle._context)  # type: ignore[attr-defined]


class LiveTimers:
    """Those of one run. `ring` is what their time having come means: they are handed over at their turn.

    >>> timers = LiveTimers(lambda ring: None)
    >>> timers.count((20, 7))
    >>> timers.stamp([Draft("outcome", 1, 0, {"s": "completed"})])[0].meta
    {'s': 'completed', 'rung': [[20, 7, 1]]}
    """

    def __init__(self, ring: Callable[[Ring], None]) -> None:
        self.ring = ring
        self._rung: deque[Ring | Timer] = deque()  # since the last entry
        self._silent: deque[int] = deque()  # of those that entries have told of
        self._told = 0

    def set(self, asked: Asked) -> asyncio.TimerHandle:
        """As `loop.call_at` does."""
        ring = Ring(self, asked.loop, asked.callback, asked.args, asked.told())
        ring.handle = asked.call_at(asked.loop, asked.when, ring, context=asked.context)
        return ring.handle

    def go_off(
        self,
        loop: asyncio.AbstractEventLoop,
        handle: asyncio.TimerHandle,
        callback: Any,
        args: Any,
        told: Timer | None,
    ) -> None:
        """The time of a timer has come that was set on replay. In the loop, in the timer's context."""
        ring = Ring(self, loop, callback, args, told)
        ring.handle = handle
        ring()

    # -- what is told of them ----------------------------------------------------------------------

    def count(self, ring: Ring | Timer | None) -> None:
        """It has gone off, or will when what is in the queue before it has been delivered."""
        if ring is not None and not (isinstance(ring, Ring) and ring.told is None):
            self._rung.append(ring)

    def cancelled(self, ring: Ring) -> None:
        """It does not go off after all."""
        if ring.number:
            self._silent.append(ring.number)

    def stamp(self, drafts: Sequence[Draft]) -> Sequence[Draft]:
        """The same entries; the last says which have gone off since what was written before."""
        if not (self._rung or self._silent) or not drafts:
            return drafts
        rung: list[Timer] = []
        silent: list[int] = []
        while self._rung:
            ring = self._rung.popleft()
            if not isinstance(ring, Ring):
                rung.append(ring)
            elif ring.told is not None and not ring.silent:
                rung.append(ring.told)
                ring.number = self._told + len(rung)
        self._told += len(rung)
        while self._silent:
            silent.append(self._silent.popleft())
        last = drafts[-1]
        return [*drafts[:-1], last._replace(meta=together(last.meta, tell(rung, silent)))]
