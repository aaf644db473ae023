"""Strands that wait, for people, signals or timers: they look into the inbox, and park the run.

Every wait is polled by its own strand (a blocked thread, or a coroutine), ten times a second, so that a sync
cell waits as politely as an async one and each is interrupted where it stands. A look costs one
`store.version()`; rows are read when that has changed.

A run parks when every live strand waits, or waits for strands that do, and has for `park_after` (`timers`, if one
of them is a timer): then the next look raises `RunParked` in each of them, and so does every later call.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from jupyter_durable.errors import RunClosedError, RunParked
from jupyter_durable.model import InboxItem
from jupyter_durable.runtime.context import Scope
from jupyter_durable.runtime.frames import frames
from jupyter_durable.runtime.run import LiveRun, RunCancelled

T = TypeVar("T")

_POLL = 0.1
_CROWD = 50  # strands that poll at once before they take turns
_CALM = 3  # looks at strands that all wait, before they are believed to
_LONG_CALM = 20  # the same where some only seem to: nobody knows what they wait for
_LOCKS = ("threading.py", "queue.py", "thread.py", "_base.py")  # where a thread is that waits for another one
_BRIEF = 1.0  # a timer that goes off sooner is not worth telling
_LEAVE = 0.5  # seconds that a parked run's own task has to end by itself


@dataclass(slots=True, eq=False)
class Pending:
    """One strand that waits. `what` it waits for, and the `command` that ends it, are for people.

    `until`: when it ends by itself, in POSIX seconds; `kind` as in `journal.waits`. `blocks`: a loop that stands still
    meanwhile, as sync code in a task blocks it.
    """

    scope: Scope
    kind: str
    what: str
    command: str = ""
    until: float | None = None
    notice: str = ""
    calm: int = 0
    told: bool = False
    blocks: asyncio.AbstractEventLoop | None = None


class Waits:
    """What strands of one live run wait for."""

    def __init__(self, run: LiveRun) -> None:
        self._run = run
        self._lock = threading.RLock()
        self._pending: dict[Pending, None] = {}
        self._told = False
        self._version = -1
        self._read = 0
        self._since: float | None = None
        self._mark: tuple[int, ...] = ()
        self.rows: dict[str, InboxItem] = {}  # decisions and answers, by key
        self.signals: dict[str, list[InboxItem]] = {}  # by name, in order
        self.inherited: dict[str, InboxItem] = {}
        self.claimed: set[str] = set()  # signals that a strand is about to consume
        self.parked_for: frozenset[str] = frozenset()
        record = run.record
        forebears = []
        while record.fork_kind == "edit" and record.forked_from is not None:
            record = run.store.run(record.forked_from, deleted=True)
            forebears.append(record.id)
        for run_id in reversed(forebears):  # the same endeavour: what was sent to it is not lost
            for item in run.store.inbox(run_id):
                if item.kind == "signal":
                    self.signals.setdefault(item.value["name"], []).append(item)
                elif item.kind == "answer":
                    self.inherited[item.key] = item

    # -- the inbox -------------------------------------------------------------------------------

    def look(self) -> None:
        """Read what was written since. Raises `RunCancelled`, and whatever else stops the run."""
        run = self._run
        if (stopping := run.stopping()) is not None:
            raise stopping
        if run.closed:
            raise RunClosedError(
                f"run {run.name!r} has ended", hint="await its tasks inside the durable cell"
            )
        with self._lock:
            version = run.store.version()
            if version == self._version:
                return
            self._version = version
            for item in run.store.inbox(run.id, after=self._read):
                self._read = item.id
                if item.kind == "cancel":
                    run.cancelled_by = item.by
                elif item.kind == "signal":
                    self.signals.setdefault(item.value["name"], []).append(item)
                else:
                    self.rows[item.key] = item
        if run.cancelled_by is not None:
            raise RunCancelled(f"run {run.name!r} was cancelled by {run.cancelled_by}")

    # -- waiting ---------------------------------------------------------------------------------

    def hold(self, pending: Pending, found: Callable[[], T | None]) -> T:
        """Block until `found()` is not None. Raises `RunParked`."""
        clock = self._run.clock
        pending.blocks = asyncio._get_running_loop()
        with self._waiting(pending):
            while True:
                self.look()
                value = found()
                if value is not None:
                    return value
                self._park(pending)
                clock.wait(self._slice(pending))

    async def hold_async(self, pending: Pending, found: Callable[[], T | None]) -> T:
        """The same without blocking the loop."""
        loop = asyncio.get_running_loop()
        with self._waiting(pending):
            while True:
                self.look()
                value = found()
                if value is not None:
                    return value
                self._park(pending)
                await _pause(loop, self._slice(pending))

    @contextmanager
    def _waiting(self, pending: Pending) -> Iterator[None]:
        run = self._run
        with self._lock:
            self._pending[pending] = None
        try:
            yield
        finally:
            with self._lock:
                del self._pending[pending]
                over = self._told and not self._pending
                if over:
                    self._told = False
            if over and not run.closed and run.stopping() is None:
                run.set_status("running")

    def _tell(self, pending: Pending) -> None:
        """Say that it waits, to people here and to other processes; once, and not if it ends in a moment."""
        run = self._run
        if pending.told or (pending.kind == "sleep" and self._left(pending) < _BRIEF):
            return
        pending.told = True
        if pending.notice:
            run.notice(pending.notice)
        with self._lock:
            told, self._told = self._told, True
        if not told:
            run.set_status("waiting")

    def _left(self, pending: Pending) -> float:
        return max(0.0, pending.until - self._run.clock.now()) if pending.until is not None else _BRIEF

    def _slice(self, pending: Pending) -> float:
        poll = _POLL * max(1.0, len(self._pending) / _CROWD)
        return min(poll, max(self._left(pending), 0.001)) if pending.until is not None else poll

    # -- parking ---------------------------------------------------------------------------------

    def _park(self, pending: Pending) -> None:
        """Nothing has come. Raises `RunParked` if it is time to, else says that the run waits."""
        run, options = self._run, self._run.options
        pending.calm += 1
        with self._lock:
            timers = [self._left(p) for p in self._pending if p.kind == "sleep"]
            limit = options.timers if timers else options.park_after
            if limit is not None and self._due(pending, limit, timers):
                self._leave(pending)
                assert run.parked is not None
                raise run.parked
        if limit != 0 or pending.kind == "doubt" or pending.calm > _CALM:  # else it parks in a moment
            self._tell(pending)

    def _due(self, pending: Pending, limit: float, timers: list[float]) -> bool:
        run = self._run
        sure = self._all_wait(sure=True)
        if not sure and not self._all_wait(sure=False):
            self._since = None
            return False
        mark = (run.stats.executed, run.stats.replayed, len(self._pending), len(run.strands))
        now = run.clock.monotonic()
        if self._since is None or mark != self._mark:
            self._since, self._mark = now, mark
            for other in self._pending:
                other.calm = 0
        waited = now - self._since
        if waited < limit and not (
            len(timers) == len(self._pending) and timers and waited + min(timers) > limit
        ):
            return False
        return not run.strands or pending.calm >= (_CALM if sure else _LONG_CALM)

    def _all_wait(self, *, sure: bool) -> bool:
        """Whether every strand waits, or waits for strands that do. Not `sure`: or does nothing that could be seen."""
        waiting = {pending.scope for pending in self._pending}
        blocked = {pending.blocks for pending in self._pending} - {None}
        inside: dict[Scope, list[Scope]] = {}
        for strand in list(self._run.strands):
            if strand.parent is not None and not _is_over(strand, waiting):
                inside.setdefault(strand.parent, []).append(strand)

        def waits(scope: Scope) -> bool:
            parts = inside.get(scope, [])
            if scope in waiting:
                return all(map(waits, parts))
            if scope.inner is not None:
                parts = [*parts, scope.inner]
            if isinstance(scope.owner, asyncio.Task) and scope.owner.get_loop() in blocked:
                return all(map(waits, parts))  # it cannot go on, whatever it is about to do
            return (bool(parts) or (not sure and self._rests(scope))) and all(map(waits, parts))

        return waits(self._run.main)

    def _rests(self, strand: Scope) -> bool:
        """Whether a strand, outside of any step, seems to wait for another one: a worker or a consumer without work."""
        owner = strand.owner
        if strand.attempt is not None or owner is None:
            return False
        if isinstance(owner, asyncio.Task):
            return not self._run.turns.has_timer(owner.get_loop())
        frame = frames().get(owner)
        return frame is None or frame.f_code.co_filename.endswith(_LOCKS)

    def _leave(self, pending: Pending) -> None:
        run = self._run
        others = [p for p in self._pending if p is not pending]
        self.parked_for = frozenset(p.kind for p in self._pending)
        also = f", and {len(others)} more wait" if others else ""
        then = "then run it again" if pending.command else "run it again then"
        hint = f"{pending.command}, {then}" if pending.command else f"it goes on by itself: {then}"
        run.parked = RunParked(f"run {run.name!r} waits for {pending.what}{also}", hint=hint)
        task = run.main.owner
        if isinstance(task, asyncio.Task) and not run.blocking and pending.scope is not run.main:
            # It may wait for something that a parked strand does not do any more.
            loop = task.get_loop()

            def end() -> None:
                if not run.closed and not task.done():
                    task.cancel()

            if not loop.is_closed():
                loop.call_soon_threadsafe(lambda: loop.call_later(_LEAVE, end, context=contextvars.Context()))


def _is_over(strand: Scope, waiting: set[Scope]) -> bool:
    """Whether a strand that nobody has closed does nothing any more, as far as can be known."""
    owner = strand.owner
    if isinstance(owner, asyncio.Task):
        return owner.done()
    # A thread of somebody else's that made a call once: it is idle, or belongs to nobody that waits.
    foreign = owner is not None and strand.state.key == "~"
    return foreign and strand.inner is None and strand not in waiting


async def _pause(loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    future: asyncio.Future[None] = loop.create_future()

    def go_on() -> None:
        if not future.done():
            future.set_result(None)

    # In a context of its own: it is no timer of the run's code (`runtime.turns`).
    timer = loop.call_later(seconds, go_on, context=contextvars.Context())
    try:
        await future
    finally:
        timer.cancel()


def waits_of(run: LiveRun) -> Waits:
    """The run's waits, made when first asked for."""
    if run.waits is None:
        with run.lock:
            if run.waits is None:
                run.waits = Waits(run)
    return run.waits


def decoded(run: LiveRun, item: InboxItem) -> Any:
    """The value of a row: signed for the run that it was written for."""
    if item.payload is None:
        return None
    return run.codec.decode(item.payload, bind=item.run_id, load=run.store.chunk)
