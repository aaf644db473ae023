"""What still goes on by what was delivered last: the loops and the threads in which a run has strands.

Live and on replay the next outcome is handed over when all of that has come to rest: a loop that has nothing to do, a
thread that waits or has ended (see `runtime.moving`), or makes a live call, whose outcome is yet to come. A loop
that is blocked by what its own thread waits for rests, too: it may be the next outcome that it waits for.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from types import FrameType

from jupyter_durable.runtime.frames import frames
from jupyter_durable.runtime.moving import LONGEST, Moving, Threads

RESTLESS = 64
"""Turns of a loop after which it is not waited for to come to rest: some task of the user's keeps it busy."""
_BLIND_TURNS = 4  # of a loop that does not say whether it has something to do

Loop = asyncio.AbstractEventLoop


def _awaits_events(frame: FrameType | None) -> bool:
    """Whether that is a loop between two of its turns: it has only not got a processor yet if something is to be done."""
    above = frame.f_back if frame is not None else None
    return above is not None and above.f_code is _TURN


_TURN = asyncio.BaseEventLoop._run_once.__code__  # type: ignore[attr-defined]


class Stirring:
    """The loops and threads of one run that go on. `lock` is the run's."""

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self.count = 0
        """How many strands of the run are threads."""
        self.loops: dict[Loop, int] = {}  # at work, and for how many turns
        self.threads = Threads()  # that were let go on and have not come to rest
        self._homes: dict[Loop, int] = {}  # in which there are strands, and the threads they run in
        self._blocking: dict[
            Loop, Moving
        ] = {}  # the threads of loops at work, once somebody has looked at them
        self._blocked: set[Loop] = set()  # loops whose thread waits for something else
        self.on_change: Callable[[], None] = lambda: None
        self.on_rest: Callable[[Loop], None] = lambda loop: None
        self.rested: Callable[[], None] = lambda: None

    def __bool__(self) -> bool:
        return bool(self.loops or self.threads)

    # -- strands ---------------------------------------------------------------------------------

    def task_spawned(self, loop: Loop) -> None:
        """There is a strand in that loop."""
        self._homes[loop] = threading.get_ident()

    def thread_spawned(self, *, soon: bool) -> None:
        """A strand that is a thread will begin; the caller goes on beside it. `soon`: nothing keeps it from that."""
        with self._lock:
            self.count += 1
            if soon:
                self.threads.spawned()
            if (loop := asyncio._get_running_loop()) is not None:
                self._homes[loop] = threading.get_ident()
            self.goes_on(threading.get_ident(), loop)

    def thread_begins(self, *, soon: bool) -> None:
        """The calling thread is a strand of the run, and about to do something. `soon`: as was said of it."""
        with self._lock:
            if soon:
                self.threads.born()
            self.threads.goes_on(threading.get_ident())

    def thread_calls(self) -> None:
        """The calling thread makes a live call now: it sets off nothing by itself until that is over."""
        if self.threads:
            self.stops(threading.get_ident())
            self.rested()

    def hands_over(self) -> None:
        """The calling thread has something for a loop, which will say so by `thread_ends(handed=True)`."""
        with self._lock:
            self.threads.spawned()

    def thread_ends(self, thread: int | None, *, soon: bool, handed: bool = False) -> None:
        """That thread (None: one that never began) has handed over what it had to say."""
        with self._lock:
            self.count -= 1
            if handed:
                self.threads.born()
            if thread is not None:
                self.threads.stops(thread)
            elif soon:
                self.threads.born()
            for loop in [*self._homes]:  # somebody in it may have waited for that
                self.stir(loop)
            self.on_change()
        self.rested()

    # -- going on --------------------------------------------------------------------------------

    def delivered(self, loop: Loop | None) -> None:
        """A live outcome was handed over, to somebody in that loop or to the calling thread."""
        if self.count or len(self._homes) > 1:
            with self._lock:
                self.goes_on(threading.get_ident(), loop)

    def goes_on(self, thread: int, loop: Loop | None) -> None:
        """That loop, or else that thread, does. Under the lock."""
        if loop is None:
            self.threads.goes_on(thread)
        else:
            self.stir(loop)

    def stops(self, thread: int) -> None:
        """That thread waits for what is still to come."""
        with self._lock:
            self.threads.stops(thread)

    def passed_over(self, loop: Loop) -> None:
        """That loop is not waited for: it is blocked by whoever asks. Under the lock."""
        self.loops.pop(loop, None)
        self._blocking.pop(loop, None)

    def stir(self, loop: Loop) -> None:
        """The loop has something to do; when it has no more, `on_rest`. Under the lock."""
        if loop in self.loops:
            return
        own = asyncio._get_running_loop() is loop
        if not own and not loop.is_running():
            return
        self.loops[loop] = 0
        try:
            if own:
                loop.call_soon(self._pump, loop)
            else:
                loop.call_soon_threadsafe(self._pump, loop)
        except RuntimeError:  # closed: nobody in it waits for anything any more
            del self.loops[loop]

    def _pump(self, loop: Loop) -> None:
        with self._lock:
            if self._blocked:
                self._blocked.discard(loop)
            turns = self.loops.get(loop)
            if turns is not None:
                ready = getattr(loop, "_ready", None)
                if turns < (_BLIND_TURNS if ready is None else RESTLESS if ready else 0):
                    self.loops[loop] = turns + 1
                    loop.call_soon(self._pump, loop)
                    return
                del self.loops[loop]
            if self._blocking:
                self._blocking.pop(loop, None)
            self.on_rest(loop)
        self.rested()

    # -- coming to rest --------------------------------------------------------------------------

    def all_rest(self, own: Loop | None) -> bool:
        """Whether nothing goes on. `own`: the loop of who asks, which may be at work by that. Under the lock."""
        if self.threads or (self.loops and own not in self.loops):
            self.look()
        return not self

    def others_rest(self) -> bool:
        """Whether nothing goes on but the calling thread and the loop that runs in it."""
        if not self:
            return True
        thread, own = threading.get_ident(), {asyncio._get_running_loop()}
        with self._lock:
            if self.threads.others(thread) or self.loops.keys() - own:
                self.look()
            return not self.threads.others(thread) and not self.loops.keys() - own

    def blocked(self, loop: Loop) -> bool:
        """Whether that loop does not run on, for its thread waits for something else."""
        with self._lock:
            if loop in self._blocked:
                return True
            self.stir(loop)
            self.look()
            return loop in self._blocked

    def look(self) -> None:
        """Forget what has come to rest, as the threads' frames say. Under the lock."""
        found = frames()
        self.threads.look(found)
        now = time.monotonic()
        for loop in [*self.loops]:
            moving = self._blocking.get(loop)
            if moving is None:
                # One whose thread is not told (0) is not waited for.
                thread: int = self._homes.get(loop) or getattr(loop, "_thread_id", None) or 0
                moving = self._blocking[loop] = Moving(thread)
            # By what it runs: it may wait for the very thread that asks.
            frame = found.get(moving.thread)
            if _awaits_events(frame) and now - moving.since < LONGEST:
                continue  # and `_pump` is one
            if moving.rests(frame, now):
                del self.loops[loop], self._blocking[loop]
                self._blocked.add(loop)
