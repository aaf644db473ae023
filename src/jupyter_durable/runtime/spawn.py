"""Strands: every task, thread and submitted call inside a run gets a scope of its own, keyed at spawn.

Tasks are here, threads in `runtime.spawn_threads`. Installed while at least one run is live in this process, removed
without a trace after. Only what is spawned inside a durable scope is touched.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from functools import partial
from typing import Any

from jupyter_durable.journal.keys import coroutine_key
from jupyter_durable.runtime import spawn_threads
from jupyter_durable.runtime.context import OVER, SCOPE, Inside, Scope, current_scope
from jupyter_durable.runtime.live_timers import Asked

Factory = Callable[..., Any]

# -- tasks -----------------------------------------------------------------------------------------


def _spawned(coro: Any, context: Context | None) -> tuple[Scope, Context] | None:
    """The scope and the context of a task about to be made, if it is made inside a run."""
    scope = SCOPE.get() if context is None else context.get(SCOPE)
    if scope is None or scope.run.closed:
        return None
    parent = _spawner(scope, context)
    if parent is None:
        return None
    child = parent.run.open_scope(parent, coroutine_key(parent.run.canonical, coro))
    child.attempt = parent.attempt
    own = copy_context() if context is None else context.copy()
    own.run(SCOPE.set, child)
    return child, own


def _spawner(scope: Scope, context: Context | None) -> Scope | None:
    loop = asyncio._get_running_loop()
    if loop is not None and asyncio.current_task(loop) is None:
        return scope  # a callback of the loop: it acts for the strand whose context it runs in
    if context is None or SCOPE.get() is scope:
        return current_scope()
    try:
        return context.run(current_scope)
    except RuntimeError:  # somebody is running in it
        return scope


def _watch(task: asyncio.Task[Any], scope: Scope) -> None:
    scope.owner = task
    scope.run.stirring.task_spawned(task.get_loop())
    task.add_done_callback(partial(_task_ended, scope))


def _task_ended(scope: Scope, task: asyncio.Task[Any]) -> None:
    # Not `task.exception()`: that would mark the error as retrieved and silence asyncio's warning.
    clean = not task.cancelled() and getattr(task, "_exception", None) is None
    if not clean and scope.run.ended is not None and not task.cancelled():
        task.exception()  # a replay that has come to where it stops: nobody is to be warned of that
    scope.run.close_scope(scope, clean=clean)
    # Its context has the scope: while that has the task, all of them wait for the garbage collector.
    scope.owner = OVER


def _make_factory(before: Factory | None) -> Factory:
    def factory(loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **kwargs: Any) -> Any:
        spawned = _spawned(coro, kwargs.get("context"))
        if spawned is not None:
            kwargs["context"] = spawned[1]
        task = before(loop, coro, **kwargs) if before is not None else asyncio.Task(coro, loop=loop, **kwargs)
        if spawned is not None:
            _watch(task, spawned[0])
        return task

    return factory


def _make_eager_factory() -> Factory:
    # anyio recognises the stdlib's eager factory by its code object: it must be one made by asyncio.
    def constructor(coro: Any, **kwargs: Any) -> asyncio.Task[Any]:
        spawned = _spawned(coro, kwargs.get("context"))
        if spawned is not None:
            kwargs["context"] = spawned[1]
        task: asyncio.Task[Any] = asyncio.Task(coro, **kwargs)
        if spawned is not None:
            _watch(task, spawned[0])
        return task

    made: Factory = asyncio.create_eager_task_factory(constructor)  # type: ignore[attr-defined,unused-ignore]
    return made


_loops: dict[asyncio.AbstractEventLoop, tuple[Factory | None, Factory]] = {}


def adopt_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Give the tasks of `loop` scopes from now on. May be repeated."""
    if loop in _loops:
        return
    before = loop.get_task_factory()
    eager = getattr(asyncio, "eager_task_factory", None)
    ours = _make_eager_factory() if eager is not None and before is eager else _make_factory(before)
    loop.set_task_factory(ours)
    _loops[loop] = (before, ours)


def _leave_loops() -> None:
    for loop, (before, ours) in list(_loops.items()):
        if not loop.is_closed() and loop.get_task_factory() is ours:
            loop.set_task_factory(before)
    _loops.clear()


# -- installing ------------------------------------------------------------------------------------


class _Patches:
    """Counted: installed with the first live run, removed with the last."""

    def __init__(self) -> None:
        self._users = 0
        self._lock = threading.Lock()
        self._undo: list[Callable[[], None]] = []

    def install(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._undo = [*spawn_threads.patch(), _patch_loops()]

    def remove(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                for undo in reversed(self._undo):
                    undo()
                self._undo = []
                _leave_loops()


def _is_a_tools_own(scope: Scope) -> bool:
    """Whether that is the inside of a live attempt that has made no calls: nobody else waits for its timers."""
    return scope.run.turns.open and isinstance(scope, Inside) and not scope.used


def _patch_loops() -> Callable[[], None]:
    """A loop that is started inside a run (`asyncio.run` in a thread or a script) is adopted at once; timers are the run's."""
    cls: Any = asyncio.BaseEventLoop
    run_forever: Callable[[asyncio.BaseEventLoop], None] = cls.run_forever
    call_at: Callable[..., asyncio.TimerHandle] = cls.call_at
    clock: Callable[[asyncio.BaseEventLoop], float] = cls.time
    originals = {"run_forever": run_forever, "call_at": call_at, "time": clock}

    def adopted(self: asyncio.BaseEventLoop) -> None:
        if SCOPE.get() is not None:
            adopt_loop(self)
        run_forever(self)

    def set_timer(
        self: asyncio.BaseEventLoop, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        scope = SCOPE.get() if context is None else context.get(SCOPE)
        if scope is None or type(self).time is not now or _is_a_tools_own(scope):
            return call_at(self, when, callback, *args, context=context)
        return scope.run.turns.set_timer(Asked(call_at, self, when, callback, args, context, scope.sign))

    def now(self: asyncio.BaseEventLoop) -> float:
        scope = SCOPE.get()
        if (
            scope is None or sys._getframe(1).f_code.co_name == "_run_once"
        ):  # the loop itself, in whose context it may be
            return clock(self)
        return clock(self) + scope.run.turns.ahead()

    ours = {"run_forever": adopted, "call_at": set_timer, "time": now}
    for name, method in ours.items():
        setattr(cls, name, method)

    def undo() -> None:
        for name, method in ours.items():
            if getattr(cls, name) is method:
                setattr(cls, name, originals[name])

    return undo


patches = _Patches()
"""The process' own; `install` when a run goes live, `remove` when it ends."""
