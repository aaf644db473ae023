"""Interrupts that take effect at once in an awaiting cell.

ipykernel answers SIGINT by scheduling the cell's cancellation on its loop, with `call_soon`: called
from the signal handler inside the loop's own thread, that does not wake the selector, so a cell that
awaits something for an hour is cancelled after an hour. IPython without a kernel abandons the cell's
task instead, half done. And a blocking call inside an async cell notices nothing at all.

`prompt_interrupts` puts a handler before theirs, for as long as a durable async cell runs: it
cancels the cell's task through `call_soon_threadsafe`, which does wake the loop (no file descriptor
and no heartbeat, so nothing that tornado or a subshell relies on changes), and if the loop does not
come round because the cell's code blocks it, raises `CancelledError` in that code. Sync cells need
nothing: Python raises `KeyboardInterrupt` there by itself, also while they wait for a tool's thread.
"""

from __future__ import annotations

import asyncio
import contextvars
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

_PATIENCE = 0.1  # seconds the loop may take to come round before the code that blocks it is interrupted

_running: contextvars.ContextVar[_Watch | None] = contextvars.ContextVar("durable_interrupt", default=None)


class _Watch:
    """The SIGINT handler of one async cell."""

    def __init__(self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[object]) -> None:
        self.loop = loop
        self.task = task
        self.thread = threading.get_ident()
        self.seen = threading.Event()
        self.seen.set()
        self.poked = False
        self.hit: set[asyncio.Task[object] | None] = set()
        self.insister: threading.Thread | None = None
        self.beat: asyncio.TimerHandle | None = None

    def handle(self, signum: int, frame: FrameType | None) -> None:
        if self.poked:
            self.poked = False
            # Only code of this cell: a callback of the kernel that happens to run must not be hurt, and
            # KeyboardInterrupt inside a task would end the kernel's loop. Each task once: it may clean up.
            task = asyncio.current_task()
            if not self.seen.is_set() and _running.get() is self and task not in self.hit:
                self.hit.add(task)
                raise asyncio.CancelledError("interrupted")
            return
        if self.seen.is_set():
            self.seen.clear()
            self.hit.clear()
            self.insister = threading.Thread(target=self.insist, name="durable-interrupt", daemon=True)
            self.insister.start()
        self.loop.call_soon_threadsafe(self.cancel)

    def cancel(self) -> None:
        self.seen.set()
        self.task.cancel("interrupted")

    def insist(self) -> None:
        while not self.seen.wait(_PATIENCE):
            self.poked = True
            if sys.platform == "win32":
                signal.raise_signal(signal.SIGINT)
            else:
                signal.pthread_kill(self.thread, signal.SIGINT)

    def tick(self) -> None:
        apart = contextvars.Context()  # on replay a timer of the run's does not wait
        self.beat = self.loop.call_later(_PATIENCE, self.tick, context=apart)

    def close(self) -> None:
        self.seen.set()
        if self.beat is not None:
            self.beat.cancel()
        if self.insister is not None:
            self.insister.join()
            if sys.platform != "win32":
                # A poke that is under way must find this handler, not the one about to come back:
                # a system call lets it arrive, and this one runs the Python handlers before it returns.
                signal.pthread_sigmask(signal.SIG_BLOCK, ())


def prompt_interrupts() -> Callable[[], None]:
    """Make SIGINT cancel the current task at once; returns what undoes it, to be called by that task.

    For async cells: in a sync cell the current task is the kernel's own. Outside the main thread,
    where a signal never arrives (the cell of a subshell), and without a task it does nothing.
    """
    task = asyncio.current_task()
    if task is None or threading.current_thread() is not threading.main_thread():
        return lambda: None
    watch = _Watch(asyncio.get_running_loop(), task)
    handler = watch.handle  # one object: a bound method is made anew at each access
    token = _running.set(watch)
    previous = signal.signal(signal.SIGINT, handler)
    if sys.platform == "win32":
        # There a signal does not end `select`: the handler runs when the loop next wakes.
        watch.tick()

    def undo() -> None:
        watch.close()
        _running.reset(token)
        if signal.getsignal(signal.SIGINT) is handler:
            signal.signal(signal.SIGINT, previous)

    return undo
