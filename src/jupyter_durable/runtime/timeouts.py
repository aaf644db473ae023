"""Timeouts that ran out over steps and cancelled none: `asyncio.wait(tasks, timeout=1)`, `wait_for(shield(task), 1)`.

The journal does not know them, but it knows when outcomes came. On replay outcomes are there at once, so one that
came after a timeout of the run's own code had run out is kept back until it has run out again. What passed
between the delivery (or timeout) before and the setting of a timer is taken to be the same as then. Sleeps keep
nothing back: a strand that only beats time must not make a replay as long as the run.
"""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from time import monotonic  # not as it is patched while a run is live
from typing import NamedTuple
from weakref import WeakKeyDictionary

from jupyter_durable.journal.order import Order

_LATE = 1.0  # seconds after which a timer that has not gone off is in a loop that is blocked: it keeps nothing back
_SLEEP = getattr(asyncio.futures, "_set_result_unless_cancelled", None)


class _Mark(NamedTuple):
    """When it is, as it was recorded, and after which entry."""

    recorded: float
    seq: int


class Timeouts:
    """Those of one run. `resumed`: the entries with which a process took the run up. Under the run's lock."""

    def __init__(
        self, order: Order, resumed: Sequence[int], in_run: Callable[[asyncio.TimerHandle], bool]
    ) -> None:
        self._order = order
        self._resumed = resumed
        self._in_run = in_run
        self._set: WeakKeyDictionary[asyncio.TimerHandle, tuple[_Mark, float]] = WeakKeyDictionary()
        self._keeping: list[asyncio.TimerHandle] = []
        self._last: int | _Mark = 0  # what was delivered, or ran out
        self._at = -math.inf  # and when it was now; first of all a call is made

    def called(self) -> None:
        """Somebody waits for an outcome: if nobody did before, the first call that was recorded has been made."""
        if self._at < 0:
            self._at = monotonic()

    def delivered(self, place: int) -> None:
        """The outcome at `place` of the replay is delivered now."""
        self._last = place
        self._at = monotonic()

    def first(self, loop: asyncio.AbstractEventLoop, place: int) -> bool:
        """Whether one that is yet to run out in `loop` ran out before the outcome at `place` came."""
        timers = [
            timer
            for timer in getattr(loop, "_scheduled", ())
            if getattr(timer, "_callback", _SLEEP) is not _SLEEP
            and self._in_run(timer)
            and not timer.cancelled()
        ]
        if not timers and not self._keeping:
            return False
        now = loop.time()
        for timer in self._keeping:
            if not timer.cancelled() and timer.when() <= now and timer.when() > self._at:
                mark, after = self._set[timer]
                self._last, self._at = _Mark(mark.recorded + after, mark.seq), timer.when()
        self._keeping = [
            timer
            for timer in timers
            if self._due(timer, place) < self._order.when(place) and now < timer.when() + _LATE
        ]
        return bool(self._keeping)

    def _due(self, timer: asyncio.TimerHandle, place: int) -> float:
        """When it ran out, as seen by the process that recorded the outcome at `place`."""
        found = self._set.get(timer)
        if found is None:
            found = self._set[timer] = self._mark(), timer.when() - self._at
        mark, after = found
        resumed = bisect_left(self._resumed, self._order.seq(place))
        if resumed and (seq := self._resumed[resumed - 1]) > mark.seq:
            return max(mark.recorded, self._order.taken_up(seq)) + after
        return mark.recorded + after

    def _mark(self) -> _Mark:
        if isinstance(self._last, int):
            self._last = _Mark(self._order.when(self._last), self._order.seq(self._last))
        return self._last
