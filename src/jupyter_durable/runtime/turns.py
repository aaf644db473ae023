"""Who may go on: replayed outcomes in journal order, then live calls.

One queue for coroutines and threads. The order itself is `journal.order`; here strands wait for their
turn in it. The next outcome is delivered when what the last one set off has come to rest (a loop that
has nothing to do, threads that wait or have ended), as it was live (see `Deliveries`): so a race is won by
the same strand again, and who waits for the first of two does not find both. What never comes is given up on:

- at once, when the scope it belongs to has ended or itself waits for a later turn;
- at once in a fork whose loop has nothing else to do, and soon in one with threads, when none of them
  moves (the code was edited);
- else after the time that it took when it was recorded, twice over, and a second; but not while a
  timer of the run is to go off.

Sleeps and timeouts of the run's code have their turn among the outcomes, too: see `runtime.loop_timers`.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import threading
from collections import Counter
from collections.abc import Callable
from heapq import heappop, heappush
from time import monotonic  # what the loops' own clocks are
from typing import Literal

from jupyter_durable.clock import Clock
from jupyter_durable.journal.engine import Engine
from jupyter_durable.journal.index import RecordedStep
from jupyter_durable.runtime.live_timers import Asked, LiveTimers
from jupyter_durable.runtime.loop_timers import LoopTimer, LoopTimers, sleep_apart
from jupyter_durable.runtime.moving import BLOCKED
from jupyter_durable.runtime.quiet import is_quiet
from jupyter_durable.runtime.stirring import Stirring
from jupyter_durable.runtime.writer import cancel_again

Grant = Literal["turn", "changed", "overdue"]
"""Why a waiter goes on: it is its turn; something changed, decide again; nothing else will come."""

SLACK = 1.0
LONGEST = 60.0
_TICK = 0.05
_LATE = 0.2  # in a fork with threads, what has not come by then is taken to have been edited away
_MEASURED = 0.1  # seconds by which what a timer is measured to have been due may be too late
_LIVE = -1  # a live call
_CANCEL = -2  # a step that was cancelled, until it is again


class _Waiter:
    __slots__ = ("blocks", "event", "future", "grant", "held", "loop", "place", "scope", "thread")

    def __init__(self, place: int, scope: int, held: bool, loop: asyncio.AbstractEventLoop | None) -> None:
        self.place = place  # of the outcome waited for, or one of the two below
        self.held = held  # until its siblings have found their places
        self.scope = scope
        self.loop = loop
        self.thread = threading.get_ident()
        self.blocks = asyncio._get_running_loop() if loop is None else None
        self.future: asyncio.Future[None] | None = loop.create_future() if loop is not None else None
        self.event: threading.Event | None = None if loop is not None else threading.Event()
        self.grant: Grant | None = None

    def wake(self) -> None:
        if self.event is not None:
            self.event.set()
        elif self.future is not None and self.loop is not None:
            if asyncio._get_running_loop() is self.loop:
                self._resolve()
            else:
                try:
                    self.loop.call_soon_threadsafe(self._resolve)
                except RuntimeError:  # that loop is closed, its tasks are gone
                    return

    def _resolve(self) -> None:
        if self.future is not None and not self.future.done():
            self.future.set_result(None)


class Turns:
    """The queue of one run. `lock` is the run's: whoever calls must hold it where it says so.

    `strand_state(scope id)` says what became of a recorded scope: "ended", "live" or "unbound".
    """

    def __init__(self, engine: Engine, lock: threading.RLock, clock: Clock, stirring: Stirring) -> None:
        self._engine = engine
        self._order = engine.order
        self._lock = lock
        self._clock = clock
        # In the order in which they came: all, and those that the questions below ask for, at no cost a waiter.
        self._waiters: dict[_Waiter, None] = {}
        self._held: dict[_Waiter, None] = {}
        self._blocked: dict[_Waiter, None] = {}  # threads with a live call
        self._lives: dict[_Waiter, None] = {}  # coroutines with one
        self._outcomes: list[tuple[int, int, _Waiter]] = []  # a heap; who left stays in until it comes up
        self._strands: Counter[int] = Counter()
        self._came = 0
        self._stirring = stirring
        stirring.on_change = self._nudge
        stirring.on_rest = self._loop_rests
        self._began = self._progress_at = clock.monotonic()
        self._seen = (-1, -1)
        self._changes = -1
        self._ticking: set[asyncio.AbstractEventLoop] = set()
        self.open = engine.order.exhausted
        self.single: Callable[[], bool] = lambda: False
        self.in_run: Callable[[asyncio.TimerHandle], bool] = lambda handle: True
        self._timers = LoopTimers(
            engine.index,
            engine.order,
            waits=self._rings,
            quiet=lambda loop: not stirring.count and is_quiet(loop),
            is_live=self._in_real_time,
        )
        self._kept_back = False  # by a timer in its own time
        self.ends: float | None = None
        """When the run had ended, if it is replayed to its end: sleeps until then take no time."""
        self.lost: Callable[[], BaseException | None] = lambda: None

    @property
    def waiting(self) -> bool:
        """Whether anybody waits for a turn."""
        return bool(self._waiters)

    # -- waiting ---------------------------------------------------------------------------------

    def ready(self, place: int) -> bool:
        """Whether the outcome at `place` may be delivered now; if so, it is. Under the lock."""
        order = self._order
        if place > order.at or not self._may_go_on():
            return False
        self._consume(place)
        if self._stirring.count:
            self._stirring.goes_on(threading.get_ident(), asyncio._get_running_loop())
        if self._waiters:
            self._nudge()
        return True

    async def turn(self, place: int, scope: int, *, held: bool = False) -> Grant:
        """Wait for the turn of the outcome at `place` (-1: of a live call). Without the lock."""
        loop = asyncio.get_running_loop()
        with self._lock:
            waiter = _Waiter(place, scope, held, loop)
            self._enter(waiter)
            self._tick(loop)
            self._stirring.stir(loop)
        assert waiter.future is not None
        try:
            await waiter.future
        except asyncio.CancelledError as error:
            with self._lock:
                self._leave(waiter)
                self._stirring.stir(loop)
                if place < 0 or self.lost() is not None:
                    raise
                self._consume(place)
            # The journal has this outcome before any cancellation: a timer that ran out while others
            # were waited for is not what happened. It takes effect after the delivery, if it still stands.
            task = asyncio.current_task()
            assert task is not None
            loop.call_soon(cancel_again, task, *error.args)
        if (lost := self.lost()) is not None:
            raise lost
        return waiter.grant or "turn"

    async def cancelled(self, step: RecordedStep) -> None:
        """Wait to be cancelled again, as the journal says; returns if that does not come."""
        loop = asyncio.get_running_loop()
        with self._lock:
            waiter = _Waiter(_CANCEL, step.scope, False, loop)
            self._enter(waiter)
            self._tick(loop)
            self._stirring.stir(loop)
        assert waiter.future is not None
        try:
            await waiter.future
        except asyncio.CancelledError:
            with self._lock:
                self._leave(waiter)
                self._order.consume(
                    step.outcome_at
                )  # it was recorded with what came next: when it came, no clock says
                self._stirring.stir(loop)
            raise

    async def stopped(self, took: float | None = None) -> None:
        """Wait to be cancelled by a timer of the run's own code, which `took` so many seconds then (None: or by anybody)."""
        loop, now = asyncio.get_running_loop(), self._clock.monotonic
        with self._lock:
            self._stirring.stir(loop)
        until = now() + (LONGEST if took is None else min(LONGEST, SLACK + 2 * took))
        while (timer := self.has_timer(loop)) or took is None:
            if now() >= until and (took is not None or not timer):
                return
            await sleep_apart(_TICK)

    def turn_sync(self, place: int, scope: int, *, held: bool = False) -> Grant:
        """The same, blocking the calling thread (and the loop it runs, if it does)."""
        loop = asyncio._get_running_loop()
        with self._lock:
            self._stirring.stops(threading.get_ident())
            waiter = _Waiter(place, scope, held, None)
            self._enter(waiter)
            self._drain(waiter, loop)
            if loop is not None and not self._stirring.count:
                self._check(None, blocked=True)
                self._drain(waiter, loop)
        assert waiter.event is not None
        try:
            while not waiter.event.wait(BLOCKED if self._stirring else _TICK):
                with self._lock:
                    if (lost := self.lost()) is not None:
                        raise lost
                    if self._kept_back:
                        self.advance()
                    if waiter.grant is None:
                        self._check(None, blocked=loop is not None and not self._stirring.count)
                        self._drain(waiter, loop)
        except BaseException:
            with self._lock:
                self._leave(waiter)
            raise
        return waiter.grant or "turn"

    def _drain(self, waiter: _Waiter, loop: asyncio.AbstractEventLoop | None) -> None:
        # The caller may be blocking the very loop whose coming to rest `advance` would wait for.
        while waiter.grant is None:
            if loop is not None:
                self._stirring.passed_over(loop)
            following = self._next()
            if following is None or not self._at_rest(following):
                return
            self._grant(following, "turn")

    def _consume(self, place: int) -> None:
        self._order.consume(place)
        self._timers.delivered(place)

    def _enter(self, waiter: _Waiter) -> None:
        self._waiters[waiter] = None
        if waiter.held:
            self._held[waiter] = None
        if waiter.place >= 0:
            self._came += 1
            heappush(self._outcomes, (waiter.place, self._came, waiter))
        elif waiter.place == _LIVE:
            (self._blocked if waiter.loop is None else self._lives)[waiter] = None
        if waiter.place != _CANCEL:
            self._strands[waiter.scope] += 1

    def _leave(self, waiter: _Waiter) -> None:
        if waiter not in self._waiters:
            return
        del self._waiters[waiter]
        for kind in (self._held, self._blocked, self._lives):
            kind.pop(waiter, None)
        if waiter.place != _CANCEL:
            self._strands[waiter.scope] -= 1

    # -- going on --------------------------------------------------------------------------------

    def changed(self) -> None:
        """A call came, a scope was bound or ended: somebody may go on. Under the lock."""
        if not self._waiters:
            return
        if self._engine.changes != self._changes:
            self._changes = self._engine.changes
            for waiter in [*self._held]:
                self._grant(waiter, "changed")
        self._nudge()

    def _nudge(self) -> None:
        loop = asyncio._get_running_loop()
        if loop is None:
            self.advance()
        else:  # what it is doing now may set off more
            self._stirring.stir(loop)

    def advance(self) -> None:
        """Let go on whoever may. Under the lock."""
        while self._waiters and (waiter := self._next()) is not None and self._at_rest(waiter):
            timer = self._timers.before(waiter.place) if waiter.place >= 0 else self._timers.left(self.open)
            if timer is not None:
                self._went(timer)  # what that sets off comes first
                return
            self._grant(waiter, "turn")

    def _next(self) -> _Waiter | None:
        order, outcomes = self._order, self._outcomes
        while outcomes and outcomes[0][2] not in self._waiters:
            heappop(outcomes)
        if order.exhausted:
            if outcomes:
                return outcomes[0][2]
            # A blocked thread first: it may be the very loop that the others wait for.
            return next(iter(self._blocked or self._lives), None)
        return outcomes[0][2] if outcomes and outcomes[0][0] <= order.at else None

    # -- timers of the run's code --------------------------------------------------------------------

    def called(self, step: RecordedStep) -> None:
        """A recorded call is made again. Under the lock."""
        self._timers.called(step.start_at)

    def live_timers(self, timers: LiveTimers) -> None:
        """How those go off whose time is their own."""
        self._timers.live = timers

    def ahead(self) -> float:
        """Seconds by which the loop's clock is ahead for the run's code."""
        with self._lock:
            return self._timers.ahead()

    def set_timer(self, asked: Asked) -> asyncio.TimerHandle:
        """As `loop.call_at` does; while the run is replayed the timer goes off at its turn."""
        with self._lock:
            asked = asked._replace(when=asked.when - self._timers.ahead())
            if self._in_real_time():
                return self._timers.live.set(asked)
            self._stirring.stir(asked.loop)
            return self._timers.set(asked)

    def _in_real_time(self) -> bool:
        return self.open or (self._order.exhausted and self.ends is None)

    def _rings(self, timer: LoopTimer) -> bool:
        """The time of a timer has come: whether it waits until what was delivered before has come to rest."""
        with self._lock:
            others = self._stirring.threads or self._stirring.loops.keys() - {timer.loop}
            if others or self._in_real_time():
                self._timers.rang(timer)
                return False
            self._timers.ripen(timer)
            self._stirring.stir(timer.loop)
            return True

    def _ring(self) -> None:
        """Let the timer go off whose turn it is, if nothing else can go on. Under the lock."""
        if self._in_real_time() or self._stirring.threads:
            timer = self._timers.left(self.open) or self._timers.ripe()
        elif self._stirring.loops:
            return
        elif self._next() is not None:  # it is kept back
            timer = self._timers.ripe()
        elif (expected := self._order.expected()) is None:
            timer = self._timers.until((self.ends or -math.inf) + _MEASURED) or self._timers.ripe()
        else:
            # Nobody waits for an outcome here: what was recorded next came about by a timer (or from outside).
            outcome = expected[1]
            called = outcome is None or outcome.meta.get("s") == "cancelled"
            timer = self._timers.before(self._order.at, _MEASURED if called else 0.0)
            if timer is None or not timer.over:
                timer = self._timers.ripe() or timer
        if timer is not None:
            self._went(timer)

    def _went(self, timer: LoopTimer) -> None:
        self._kept_back = not timer.over
        if timer.over:
            self._stirring.stir(timer.loop)

    # -- coming to rest ----------------------------------------------------------------------------

    def _loop_rests(self, loop: asyncio.AbstractEventLoop) -> None:
        self.advance()
        self._ring()
        if self._waiters and not self._stirring.loops:
            self._check(loop)

    def _at_rest(self, waiter: _Waiter) -> bool:
        """Whether what was delivered before `waiter`'s turn has had its consequences."""
        # A loop may be blocked by the very threads that wait here, with its own tasks' outcomes yet to be delivered.
        return self.open or self.single() or self._stirring.all_rest(asyncio._get_running_loop())

    def _may_go_on(self) -> bool:
        """The same for a thread that asks for itself."""
        stirring = self._stirring
        return self.open or self.single() or not stirring.count or stirring.others_rest()

    def _grant(self, waiter: _Waiter, grant: Grant) -> None:
        self._leave(waiter)
        now = self._clock.monotonic()
        if waiter.place >= 0:
            self._consume(waiter.place)
        elif waiter.place == _LIVE and grant == "turn":
            self.open = True
        waiter.grant = grant
        self._progress_at = now
        waiter.wake()
        # Behind what it goes on with, if that is in a loop: one turn of it less.
        self._stirring.goes_on(waiter.thread, waiter.loop or waiter.blocks)

    # -- giving up on what does not come -----------------------------------------------------------

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop in self._ticking:
            return
        self._ticking.add(loop)
        soon = BLOCKED if self._stirring.threads else _TICK
        loop.call_later(soon, self._on_tick, loop, context=contextvars.Context())  # no timer of the run's

    def _on_tick(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            self._ticking.discard(loop)
            if not self._waiters:
                return
            if self.lost() is not None:
                for waiter in [w for w in self._waiters if w.place != _CANCEL]:
                    self._grant(waiter, "overdue")
                return
            self.advance()
            if self._stirring.loops:  # one may be blocked, and by this very one
                self._stirring.look()
            self._ring()
            if not self._stirring.loops:
                self._check(loop)
            self._tick(loop)

    def _check(self, loop: asyncio.AbstractEventLoop | None, *, blocked: bool = False) -> None:
        """Whether what is expected can still come; if not, go on without it. Under the lock.

        `blocked`: the caller blocks the loop, and nobody is outside of it.
        """
        expected = self._order.expected()
        now = self._clock.monotonic()
        mark = (self._order.at, self._engine.changes)
        if mark != self._seen:
            self._seen = mark
            self._progress_at = now
        if expected is None or not self._waiters or self._next() is not None:
            return  # somebody's turn has come, in this loop turn or the next
        step, _ = expected
        if blocked or self._stuck(step, loop, now) or self._overdue(now):
            self._give_up(step)

    def _overdue(self, now: float) -> bool:
        if now - self._progress_at <= min(LONGEST, SLACK + 2 * self._order.gap()):
            return False
        if now - self._began > SLACK + 2 * self._order.elapsed():
            return True
        return not any(self.has_timer(loop) for loop in {w.loop for w in self._waiters if w.loop is not None})

    def _stuck(self, step: RecordedStep, loop: asyncio.AbstractEventLoop | None, now: float) -> bool:
        live = self._engine.bound.get(step.scope)
        if live is not None and (live.state == "ended" or self._strands[step.scope] > 0):
            return True
        if not self._engine.soft:
            return False
        if loop is not None and not self._stirring.count:
            return self._idle(loop)
        return now - self._progress_at > _LATE and self._all_rest()

    def _all_rest(self) -> bool:
        """Whether all threads and loops seem to wait for something, and no timer of the run's is near."""
        self._stirring.look()
        if self._stirring:
            return False
        loops = {w.loop for w in self._waiters if w.loop is not None}
        return not any(self.has_timer(loop, near=True) for loop in loops)

    def _idle(self, loop: asyncio.AbstractEventLoop) -> bool:
        ready = getattr(loop, "_ready", None)
        return ready is not None and not len(ready) and not self.has_timer(loop, near=True)

    def has_timer(self, loop: asyncio.AbstractEventLoop, *, near: bool = False) -> bool:
        """Whether a timer of the run's own code is to go off in `loop`; `near`: when what is expected came after the
        event before it, or soon."""
        before = monotonic() + SLACK + min(LONGEST, self._order.gap()) if near else math.inf
        timers: list[asyncio.TimerHandle] = getattr(loop, "_scheduled", [])
        return any(
            timer.when() <= before and not timer.cancelled() and self.in_run(timer) for timer in timers
        )

    def _give_up(self, step: RecordedStep) -> None:
        self._order.overdue(step.scope)
        for waiter in self._waiters:
            if waiter.place == _CANCEL and waiter.scope == step.scope:
                self._grant(waiter, "overdue")
                return
        if self._order.exhausted or self._next() is not None:
            self.advance()
            return
        outcomes = [w for w in self._waiters if w.place >= 0]
        if outcomes:
            self._grant(min(outcomes, key=lambda w: w.place), "turn")
            return
        live = next((w for w in self._waiters if w.place == _LIVE), None)
        if live is not None:
            self._grant(live, "overdue")
