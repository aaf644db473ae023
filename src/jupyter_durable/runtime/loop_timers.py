"""Timers of the run's own code, `asyncio.sleep` and timeouts: on replay they go off in the order in which they did.

The journal tells how many timers went off before a call or an outcome, and how long they took (see `journal.rung`). On
replay outcomes are there at once; so a timer does not wait for its time, but for its turn: it goes off, early, before the
event that it was told of with. So a race with a sleep is won by the same strand again, and a run that slept for an hour is
replayed in no time. Which timer it is that went off is told by what it took and by when it was due: what passed
between the call, delivery or timer before and the setting of a timer is taken to be the same as then.

Of timers inside an attempt that was cut off, where a fork has left its parent, and in journals from before 0.2 nothing is
told; there the times of the entries decide: a timer goes off before the first event that came later than it was due. Those
within milliseconds of each other may change places then.

Where something from outside may wake the loop first (see `runtime.quiet`), timers go off in their own time, and a timeout
keeps back what came after it.

For the run's own code the loop's clock is ahead by what was skipped: `loop.time() >= deadline` holds when a timeout has run
out. Once everything recorded has come to pass, timers go off in their own time.
"""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextvars import Context
from heapq import heapify, heappop, heappush
from time import monotonic  # not as it is patched while a run is live
from typing import Any, NamedTuple

from jupyter_durable.journal.index import Index
from jupyter_durable.journal.order import Order
from jupyter_durable.journal.rung import Timer
from jupyter_durable.runtime.live_timers import Asked, LiveTimers

_LATE = 1.0  # seconds after which a timer that has not gone off is in a loop that is blocked
_ROUNDED = 0.0005  # seconds: a selector wakes its loop at the next whole millisecond
_EARLY = 0.1  # seconds by which what a timer is reckoned to have been due may be too late
_FEW = 64
_SLEEP = getattr(asyncio.futures, "_set_result_unless_cancelled", None)

Loop = asyncio.AbstractEventLoop


class _Mark(NamedTuple):
    """When it is, as it was recorded, and after which entry."""

    recorded: float
    seq: int


def _same(one: Timer, other: Timer) -> bool:
    return one[1] == other[1] and abs(one[0] - other[0]) <= 1


class LoopTimer:
    """One that was set while the run is replayed. `due`, as it was recorded, if one process recorded it all."""

    __slots__ = (
        "_args",
        "_callback",
        "_of",
        "ahead",
        "due",
        "handle",
        "loop",
        "mark",
        "over",
        "ripe",
        "told",
    )

    def __init__(
        self,
        of: LoopTimers,
        loop: Loop,
        callback: Any,
        args: Any,
        mark: _Mark,
        after: float,
        told: Timer | None,
    ) -> None:
        self._of = of
        self.told = told  # what it is told by, if the journal tells of it
        self.loop = loop
        self.ahead = of.ahead()  # of the loop's clock, when it was set
        self._callback = callback
        self._args = args
        self.mark = mark
        self.due = mark.recorded + after
        self.ripe = False  # its own time has come
        self.over = False
        self.handle: asyncio.TimerHandle = None  # type: ignore[assignment]

    @property
    def gone(self) -> bool:
        """Whether it has gone off or was cancelled."""
        return self.over or self.handle.cancelled()

    def keeps_back(self, since: float) -> bool:
        """Whether it is a timeout, and its time not over since then: in a loop that is blocked it keeps nothing back."""
        return self._callback is not _SLEEP and self.handle.when() > since

    def shift(self, seconds: float) -> float:
        """It was due so much later; when that was."""
        self.due += seconds
        return self.due

    def __call__(self) -> None:
        """Its own time has come."""
        if not self.over and not self._of.waits(self):
            told = self.told if self._of.is_live() else None
            self._of.live.go_off(self.loop, self.handle, self._callback, self._args, told)

    def go_off(self) -> None:
        """At its turn, by whichever thread; in its loop, for which it is as late as it was to be."""
        context: Context = self.handle._context  # type: ignore[attr-defined]
        try:
            if asyncio._get_running_loop() is self.loop:
                self.loop.call_soon(self._go, context=context)
            else:
                self.loop.call_soon_threadsafe(self._go, context=context)
        except RuntimeError:  # the loop is closed
            return

    def _go(self) -> None:
        if not self.handle.cancelled():
            if self._of.is_live():
                self._of.live.count(self.told)
            self.handle.cancel()
            self._callback(*self._args)


class LoopTimers:
    """Those of one run. Under the run's lock.

    `waits` is asked when the time of one has come: whether it is to wait for its turn; `quiet` of a loop: whether
    nothing but its timers can wake it; `is_live`: whether timers go off in their own time.
    """

    live: LiveTimers

    def __init__(
        self,
        index: Index,
        order: Order,
        waits: Callable[[LoopTimer], bool],
        quiet: Callable[[Loop], bool],
        is_live: Callable[[], bool],
    ) -> None:
        self._index = index
        self._order = order
        self._resumed: Sequence[int] = index.resumed_at
        began = index.opened.at if index.opened is not None else None
        self.waits = waits
        self.is_live = is_live
        self._quiet = quiet
        # Those that the journal tells of, in the order in which they went off: the entry after each, and what it took.
        self._rung = index.rung.timers() if index.rung.counted else None
        self._at = 0  # the first that has not gone off again
        self._gone: set[int] = set()  # beyond that
        self._left = (0, math.inf)  # what a fork has left of its parent, and since which entry
        self._heap: list[tuple[float, int, LoopTimer]] = []  # by when they were due
        self._count = 0
        self._most = _FEW
        # Of those that take equally long, the one that was set first goes off first, as exactly as that.
        self._newest: dict[float, float] = {}
        self._ripe: deque[LoopTimer] = deque()
        self._last: int | _Mark = 0  # what was delivered, or went off
        if began is not None:
            self._last = _Mark(began, 0)
        self._since = self._began_at = monotonic()  # and when it was, now
        self._began = began
        self._called = False
        self._ahead = 0.0
        self._down = [0.0]  # seconds without a process before each time the run was taken up, and all in all
        self._measured: int | _Mark | None = None  # what that was counted at
        # When the replay came to the entry with which the run was taken up.
        self._borders: dict[int, float] = {}

    def ahead(self) -> float:
        """Seconds by which the run's time is ahead of the loop's own: those that its replay did not take."""
        if self._last is not self._measured and self._began is not None:
            mark = self._measured = self._mark()
            passed = mark.recorded - self._began - self._downtime(mark.seq)
            self._ahead = max(self._ahead, passed - (self._since - self._began_at))
        return self._ahead

    def _downtime(self, seq: int) -> float:
        """Seconds without a process up to the entry `seq`."""
        while len(self._down) <= bisect_left(self._resumed, seq):
            resumed = self._resumed[len(self._down) - 1]
            before = self._order.last_before(resumed)
            down = self._order.taken_up(resumed) - (self._began or 0.0 if before is None else before)
            self._down.append(self._down[-1] + max(0.0, down))
        return self._down[bisect_left(self._resumed, seq)]

    def called(self, place: int) -> None:
        """The call at `place` of the replay is made now. The first says when the code began, better than any entry."""
        now = monotonic()
        if not self._called:
            late = self._order.when(place) - self._mark().recorded - (now - self._since)
            self._heap = [(timer.shift(late), n, timer) for _, n, timer in self._heap]  # in the same order
            self._newest = {took: due + late for took, due in self._newest.items()}
        self._called = True
        self._last = place
        self._since = now

    def delivered(self, place: int) -> None:
        """The outcome at `place` of the replay is delivered now."""
        if self._order.is_dated(place):
            self._last = place
            self._since = monotonic()

    def set(self, asked: Asked) -> asyncio.TimerHandle:
        """Set a timer of the run's."""
        took = round(asked.when - monotonic(), 3)
        after = asked.when - self._since + _ROUNDED
        timer = LoopTimer(self, asked.loop, asked.callback, asked.args, self._mark(), after, asked.told())
        timer.due = self._newest[took] = max(timer.due, self._newest.get(took, 0.0))
        timer.handle = asked.call_at(asked.loop, asked.when, timer, context=asked.context)
        self._count += 1
        heappush(self._heap, (timer.due, self._count, timer))
        if len(self._heap) > self._most:  # most timeouts are cancelled, and hold what they would have told
            self._heap = [item for item in self._heap if not item[2].gone]
            heapify(self._heap)
            self._most = 2 * len(self._heap) + _FEW
        return timer.handle

    def ripen(self, timer: LoopTimer) -> None:
        """Its own time has come, and its turn has not."""
        timer.ripe = True
        self._ripe.append(timer)

    def rang(self, timer: LoopTimer) -> None:
        """It goes off in its own time."""
        timer.over = True
        self._last = _Mark(timer.due, timer.mark.seq)
        self._since = monotonic()
        if self._rung is not None and not self.is_live():
            for at, told in self._to_ring(None if self._order.exhausted else self._order.seq()):
                if timer.told is not None and _same(timer.told, told):
                    self._gone.add(at)
                    break

    # -- whose turn it is ----------------------------------------------------------------------------

    def before(self, place: int, slack: float = 0.0) -> LoopTimer | None:
        """The first that went off before the event at `place` was recorded.

        By the clock, if the journal does not tell: that was due by then, or at most `slack` seconds later. It goes off
        now; or, where something from outside may come first, in its own time: then it is not `over` yet.
        """
        if not self._heap or self._order.is_chunk(place):
            return None
        seq = self._order.seq(place)
        if not self._is_told(seq):
            return self._by_the_clock(place, slack, told=False)
        return self._told(seq, self._order.when(place)) or self._by_the_clock(place, slack, told=True)

    def until(self, limit: float) -> LoopTimer | None:
        """The same for a time, with everything recorded behind."""
        if self._rung is not None and self._is_told(self._index.head):
            return self._told(None, limit)
        first = self._first(limit)
        return None if first is None or not self._quiet(first.loop) else self._go_off(first, first.due)

    def left(self, live: bool) -> LoopTimer | None:
        """The first that is told of with what has all come to pass again, if the process is not yet `live`."""
        if live or not self._rung or not self._order.exhausted or not self._is_told(self._index.head):
            return None
        timer = self._told(None, self._order.when(self._order.size - 1)) if self._order.size else None
        return timer if timer is not None and timer.over else None

    def _is_told(self, seq: int) -> bool:
        """Whether the journal tells which timers went off before that entry."""
        if self._rung is None:
            return False
        left = self._index.abandoned
        if len(left) != self._left[0]:
            self._left = len(left), min(step.seq for step in left)
        return seq < self._left[1]

    def _to_ring(self, seq: int | None) -> Iterator[tuple[int, Timer]]:
        """What the journal tells of timers before that entry that have not gone off again, and the place of each."""
        rung, at = self._rung or [], self._at
        while at < len(rung) and (seq is None or rung[at][0] <= seq):
            if at in self._gone:
                if at == self._at:
                    self._gone.discard(at)
                    self._at += 1
            else:
                yield at, rung[at][1]
            at += 1

    def _told(self, seq: int | None, limit: float) -> LoopTimer | None:
        late = monotonic() - _LATE
        for at, told in self._to_ring(seq):
            found = self._which(told, limit, seq)
            if found is None:
                # It was set again by nothing: not for a loop to wait for. Or by something from outside, later.
                if all(self._quiet(timer.loop) for _, _, timer in self._heap[:1]):
                    self._gone.add(at)
                continue
            due, timer = found
            # Sleeps keep nothing back: a strand that only beats time must not make a replay as long as the run.
            if self._quiet(timer.loop) or timer.ripe:
                self._gone.add(at)
                timer.told = None  # nor is it told of again, though this process may be live by now
                return self._go_off(timer, min(due, limit), -1 if seq is None else self._taken_up(seq))
            if timer.keeps_back(late):
                return timer
        return None

    def _which(self, told: Timer, limit: float, seq: int | None) -> tuple[float, LoopTimer] | None:
        """Which timer that is, of those that are yet to go off; and when it was due."""
        up = -1 if seq is None else self._taken_up(seq)
        its = [one for one in self._standing(up) if one[2].told is not None and one[2].told[1] == told[1]]
        same = [one for one in its if one[2].told is not None and _same(one[2].told, told)]
        # What is set by a deadline takes as long as it takes to come there.
        near = same or [one for one in its if one[0] < limit + _EARLY]
        if not near:
            return None
        due, _, timer = min(near)
        return due, timer

    def _by_the_clock(self, place: int, slack: float, *, told: bool) -> LoopTimer | None:
        """`told`: but for those that the journal would have told of."""
        limit = self._order.when(place) + slack
        if self._first(limit) is None:
            return None
        seq = self._taken_up(self._order.seq(place))
        due_by_then = sorted(
            (due, n, timer)
            for due, n, timer in self._standing(seq)
            if due < limit and not (told and timer.told is not None)
        )
        if not due_by_then:
            return None
        due, _, first = due_by_then[0]
        if self._quiet(first.loop):
            return self._go_off(first, due, seq)
        late = monotonic() - _LATE
        for due, _, timer in due_by_then:
            if timer.keeps_back(late):
                return self._go_off(timer, due, seq) if timer.ripe else timer
        return None

    def _taken_up(self, seq: int) -> int:
        """The entry with which the process took the run up that wrote entry `seq`; -1: the first one."""
        at = bisect_left(self._resumed, seq)
        return self._resumed[at - 1] if at else -1

    def _standing(self, seq: int) -> Iterator[tuple[float, int, LoopTimer]]:
        """Those that are yet to go off, and when they were due as seen by the process that took the run up with `seq`."""
        return ((self._due(timer, seq), n, timer) for _, n, timer in self._heap if not timer.gone)

    def _due(self, timer: LoopTimer, seq: int) -> float:
        if timer.mark.seq >= seq:
            return timer.due
        # That process came to its first entry as fast as this one did: in its loop they stood as they do in this one.
        return self._order.taken_up(seq) - self._borders.setdefault(seq, self._since) + timer.handle.when()

    def ripe(self) -> LoopTimer | None:
        """The first whose own time has come. It goes off now."""
        while self._ripe:
            timer = self._ripe.popleft()
            if not timer.gone:
                seq = -1 if self._order.exhausted else self._taken_up(self._order.seq())
                return self._go_off(timer, self._due(timer, seq), seq)
        return None

    def _first(self, limit: float) -> LoopTimer | None:
        heap = self._heap
        while heap and heap[0][0] < limit:
            timer = heap[0][2]
            if not timer.gone:
                return timer
            heappop(heap)
        return None

    def _go_off(self, timer: LoopTimer, due: float, seq: int = -1) -> LoopTimer:
        timer.over = True
        self._ahead = max(self.ahead(), timer.ahead + timer.handle.when() - monotonic())
        self._last = self._measured = _Mark(due, max(timer.mark.seq, seq))
        self._since = monotonic()
        timer.go_off()
        return timer

    def _mark(self) -> _Mark:
        if isinstance(self._last, int):
            self._last = _Mark(self._order.when(self._last), self._order.seq(self._last))
        return self._last


async def sleep_apart(seconds: float) -> None:
    """Sleep by no timer of the run's: in real time, on replay, too."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    timer = loop.call_later(seconds, _wake, future, context=Context())
    try:
        await future
    finally:
        timer.cancel()


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
