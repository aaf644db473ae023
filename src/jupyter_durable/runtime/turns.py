"""Who may go on: replayed outcomes in journal order, then live calls.

One queue for coroutines and threads. The order itself is `journal.order`; here strands wait for their
turn in it, are woken one per loop turn, and what never comes is given up on:

- at once, when the scope it belongs to has ended or itself waits for a later turn;
- at once in a fork whose loop has nothing else to do (the code was edited);
- else after the time that it took when it was recorded, twice over, and a second.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Literal

from jupyter_durable.clock import Clock
from jupyter_durable.journal.engine import Engine
from jupyter_durable.journal.index import RecordedStep

Grant = Literal["turn", "changed", "overdue"]
"""Why a waiter goes on: it is its turn; something changed, decide again; nothing else will come."""

SLACK = 1.0
LONGEST = 60.0
_TICK = 0.05
_SETTLE_TURNS = 64
_LIVE = -1  # a live call
_CANCEL = -2  # a step that was cancelled, until it is again


class _Waiter:
    __slots__ = ("event", "future", "grant", "held", "loop", "place", "scope")

    def __init__(self, place: int, scope: int, held: bool, loop: asyncio.AbstractEventLoop | None) -> None:
        self.place = place  # of the outcome waited for, or one of the two below
        self.held = held  # until its siblings have found their places
        self.scope = scope
        self.loop = loop
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

    def __init__(self, engine: Engine, lock: threading.RLock, clock: Clock) -> None:
        self._engine = engine
        self._order = engine.order
        self._lock = lock
        self._clock = clock
        self._waiters: list[_Waiter] = []
        self._progress_at = clock.monotonic()
        self._seen = (-1, -1)
        self._changes = -1
        self._ticking: set[asyncio.AbstractEventLoop] = set()
        self._settling = 0
        self.open = engine.order.exhausted
        self.single: Callable[[], bool] = lambda: False
        self.in_run: Callable[[asyncio.TimerHandle], bool] = lambda handle: True

    @property
    def waiting(self) -> bool:
        """Whether anybody waits for a turn."""
        return bool(self._waiters)

    # -- waiting ---------------------------------------------------------------------------------

    def ready(self, place: int) -> bool:
        """Whether the outcome at `place` may be delivered now; if so, it is. Under the lock."""
        order = self._order
        if place > order.at:
            return False
        order.consume(place)
        if self._waiters:
            self.advance()
        return True

    async def turn(self, place: int, scope: int, *, held: bool = False) -> Grant:
        """Wait for the turn of the outcome at `place` (-1: of a live call). Without the lock."""
        loop = asyncio.get_running_loop()
        with self._lock:
            waiter = _Waiter(place, scope, held, loop)
            self._waiters.append(waiter)
            self._tick(loop)
            self._later(loop)
        assert waiter.future is not None
        try:
            await waiter.future
        except asyncio.CancelledError:
            with self._lock:
                self._leave(waiter)
                if waiter.grant is None or place < 0:
                    self._later(loop)
            raise
        return waiter.grant or "turn"

    async def cancelled(self, step: RecordedStep) -> None:
        """Wait to be cancelled again, as the journal says; returns if that does not come."""
        loop = asyncio.get_running_loop()
        with self._lock:
            waiter = _Waiter(_CANCEL, step.scope, False, loop)
            self._waiters.append(waiter)
            self._tick(loop)
            self._later(loop)
        assert waiter.future is not None
        try:
            await waiter.future
        except asyncio.CancelledError:
            with self._lock:
                self._leave(waiter)
                self._order.consume(step.outcome_at)
                self._later(loop)
            raise

    def turn_sync(self, place: int, scope: int, *, held: bool = False) -> Grant:
        """The same, blocking the calling thread (and the loop it runs, if it does)."""
        with self._lock:
            waiter = _Waiter(place, scope, held, None)
            self._waiters.append(waiter)
            self._drain(waiter)
        assert waiter.event is not None
        try:
            while not waiter.event.wait(_TICK):
                with self._lock:
                    if waiter.grant is None:
                        self._check(None)
                        self._drain(waiter)
        except BaseException:
            with self._lock:
                self._leave(waiter)
            raise
        return waiter.grant or "turn"

    def _drain(self, waiter: _Waiter) -> None:
        # The caller may be blocking the very loop whose turns `advance` would wait for.
        while waiter.grant is None and (following := self._next()) is not None:
            self._grant(following, "turn")

    def _leave(self, waiter: _Waiter) -> None:
        if waiter in self._waiters:
            self._waiters.remove(waiter)

    # -- going on --------------------------------------------------------------------------------

    def changed(self) -> None:
        """A call came, a scope was bound or ended: somebody may go on. Under the lock."""
        if not self._waiters:
            return
        if self._engine.changes != self._changes:
            self._changes = self._engine.changes
            for waiter in [w for w in self._waiters if w.held]:
                self._grant(waiter, "changed")
        self.advance()
        if self._waiters:
            self._check(asyncio._get_running_loop(), patient=True)

    def advance(self) -> None:
        """Let go on whoever may; at most one coroutine, the next one a loop turn later. Under the lock."""
        while self._waiters:
            waiter = self._next()
            if waiter is None:
                return
            self._grant(waiter, "turn")
            if waiter.loop is not None:
                self._later(waiter.loop)
                return

    def _later(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            if asyncio._get_running_loop() is loop:
                loop.call_soon(self._pump)
            else:
                loop.call_soon_threadsafe(self._pump)
        except RuntimeError:
            return

    def _pump(self) -> None:
        with self._lock:
            self.advance()
            if self._waiters:
                self._check(asyncio._get_running_loop())

    def _next(self) -> _Waiter | None:
        order = self._order
        if order.exhausted:
            late = next((w for w in self._waiters if w.place >= 0), None)
            if late is not None:
                return late
            # A blocked thread first: it may be the very loop that the others wait for.
            lives = sorted((w for w in self._waiters if w.place == _LIVE), key=lambda w: w.loop is not None)
            live = lives[0] if lives else None
            if live is None or self.open or live.loop is None or self.single():
                if live is not None:
                    self.open = True
                return live
            return self._settled(live)
        at = order.at
        return next((w for w in self._waiters if 0 <= w.place <= at), None)

    def _settled(self, live: _Waiter) -> _Waiter | None:
        # The last replayed outcome may still be on its way through the user's tasks (a race's winner
        # about to cancel its losers): nothing live starts before they have come to rest.
        loop = live.loop
        assert loop is not None
        self._settling += 1
        ready = getattr(loop, "_ready", ())
        if self._settling > _SETTLE_TURNS or (self._settling > 3 and len(ready) == 0):
            self.open = True
            return live
        self._later(loop)
        return None

    def _grant(self, waiter: _Waiter, grant: Grant) -> None:
        self._waiters.remove(waiter)
        if waiter.place >= 0:
            self._order.consume(waiter.place)
        waiter.grant = grant
        self._progress_at = self._clock.monotonic()
        waiter.wake()

    # -- giving up on what does not come -----------------------------------------------------------

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop in self._ticking:
            return
        self._ticking.add(loop)
        loop.call_later(_TICK, self._on_tick, loop)

    def _on_tick(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            self._ticking.discard(loop)
            if not self._waiters:
                return
            self._check(loop)
            self._tick(loop)

    def _check(self, loop: asyncio.AbstractEventLoop | None, *, patient: bool = False) -> None:
        """Whether what is expected can still come; if not, go on without it. Under the lock.

        `patient`: the caller's strand is still running, so an empty loop means nothing.
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
        if self._stuck(step, None if patient else loop) or now - self._progress_at > min(
            LONGEST, SLACK + 2 * self._order.gap()
        ):
            self._give_up(step)

    def _stuck(self, step: RecordedStep, loop: asyncio.AbstractEventLoop | None) -> bool:
        live = self._engine.bound.get(step.scope)
        if live is not None and (
            live.state == "ended" or any(w.scope == step.scope and w.place != _CANCEL for w in self._waiters)
        ):
            return True
        return self._engine.soft and loop is not None and self._idle(loop)

    def _idle(self, loop: asyncio.AbstractEventLoop) -> bool:
        ready = getattr(loop, "_ready", None)
        if ready is None or len(ready):
            return False
        soon = loop.time() + SLACK
        timers: list[asyncio.TimerHandle] = getattr(loop, "_scheduled", [])
        return not any(t.when() <= soon and not t.cancelled() and self.in_run(t) for t in timers)

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
