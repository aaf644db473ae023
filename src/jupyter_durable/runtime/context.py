"""Where the caller is: the current scope, by context variable, and who owns it.

A scope is one *sequential* strand. Context variables are inherited by tasks and copied into threads,
so a scope also knows its owner, the task or thread it belongs to; a call made by anybody else opens a
scope of its own.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from zlib import crc32

from jupyter_durable.errors import DurableError, RunClosedError

if TYPE_CHECKING:
    from jupyter_durable.journal.engine import Execute, LiveScope
    from jupyter_durable.runtime.run import LiveRun
    from jupyter_durable.runtime.values import Values

OVER = "over"
"""The owner of a strand whose task has ended: nobody."""

_running_loop = asyncio._get_running_loop
_current_task = asyncio.current_task
_thread_id = threading.get_ident
_getpid = os.getpid


class Scope:
    """A strand of a live run. `owner` is its task, or its thread's id; None until the first call.

    `attempt` is the step this scope is inside of (its kind, scope and position), if it is; `inner` the scope
    inside the attempt that is being made here.
    """

    __slots__ = ("_sign", "attempt", "inner", "owner", "parent", "run", "state", "values")

    def __init__(self, run: LiveRun, state: LiveScope, parent: Scope | None = None) -> None:
        self.run = run
        self.parent = parent
        self.state = state
        self.owner: Any = None
        self.values: Values | None = None
        self.attempt: Attempt | None = None
        self.inner: Scope | None = None
        self._sign: int | None = None

    @property
    def sign(self) -> int | None:
        """What its timers are told by, live and on replay: how it was spawned. None inside an attempt: a replay makes none."""
        if self.attempt is not None:
            return None
        if self._sign is None:
            keys, strand = [], self.state
            while strand.parent is not None:
                keys.append(strand.key)
                strand = strand.parent
            self._sign = crc32("/".join(keys).encode())
        return self._sign

    def forget_readings(self, *, cut: bool) -> None:
        """The replay of this strand, and of those around it, has ended: what changes by itself is live again."""
        strand: Scope | None = self
        while strand is not None:
            if strand.values is not None:
                strand.values.close_recorded(cut=cut)
            strand = strand.parent


class Inside(Scope):
    """The inside of an attempt. Its state is made when something asks for it: most attempts make no calls."""

    __slots__ = ("_decision", "_state")

    def __init__(self, run: LiveRun, parent: Scope, decision: Execute) -> None:
        self.run = run
        self.parent = parent
        self._decision = decision
        self._state: LiveScope | None = None
        self.owner = None
        self.values = None
        self.attempt = None
        self.inner = None

    @property
    def state(self) -> LiveScope:  # type: ignore[override]
        """As any scope's."""
        if self._state is None:
            assert self.parent is not None
            with self.run.lock:
                self._state = self.run.engine.attempt(self.parent.state, self._decision)
        return self._state

    @property
    def used(self) -> bool:
        """Whether something has asked for its state."""
        return self._state is not None


class Attempt:
    """The step whose attempt is being made, for `idempotency_key`, `log` and `progress`.

    `edited`: with other arguments than the call's, as a person wanted it.
    """

    __slots__ = ("edited", "kind", "number", "pos", "scope")

    def __init__(self, kind: str, scope: int, pos: int, number: int) -> None:
        self.kind = kind
        self.scope = scope
        self.pos = pos
        self.number = number
        self.edited = False


SCOPE: ContextVar[Scope | None] = ContextVar("jupyter_durable_scope", default=None)

here = threading.local()
"""`here.strand`: the scope this thread's present work was spawned with. A library that runs the work in a context
which it copied in the spawning thread (LangChain's executors do) leads it back to the parent's scope."""

OWNED: ContextVar[Scope | None] = ContextVar("jupyter_durable_owned", default=None)
"""The scope on whose behalf an instrument is at work in this context, or None.

What happens below it (its requests, its connection, the tasks it leaves in the background) belongs to
the call it makes and is no step of its own: an instrument further down passes through where this is set.
"""


@contextmanager
def owned(scope: Scope | None) -> Iterator[None]:
    """An instrument takes over: inside, no durable scope is current, and `OWNED` names the one that was."""
    outer = SCOPE.set(None), OWNED.set(scope)
    try:
        yield
    finally:
        SCOPE.reset(outer[0])
        OWNED.reset(outer[1])


def owner_now() -> Any:
    """The running task, else this thread's id."""
    loop = _running_loop()
    if loop is None:
        return _thread_id()
    return _current_task(loop) or _thread_id()


def current_scope() -> Scope | None:
    """The scope that a call made here belongs to; None outside durable runs.

    Raises `RunClosedError` in a task or thread that outlived its run.
    """
    scope = SCOPE.get()
    if scope is None:
        return None
    run = scope.run
    if run.pid != _getpid():
        raise DurableError(
            f"run {run.name!r} belongs to the process that this one was forked from (pid {run.pid})",
            hint="make durable calls in the parent; in the child call functions that are no tools, or use "
            "multiprocessing with the 'spawn' method",
        )
    if run.closed:
        run.refuse_late_call()
        raise RunClosedError(
            f"run {run.name!r} has ended, and this task or thread outlived it",
            hint="await the task inside the durable cell, or start it in a cell of its own",
        )
    owner = owner_now()
    if scope.owner is owner or scope.owner == owner:
        return scope
    if scope.owner is None:
        scope.owner = owner
        return scope
    strand = getattr(here, "strand", None)
    if strand is not None and strand.owner == owner and strand.parent is scope:
        SCOPE.set(strand)
        return strand  # type: ignore[no-any-return]
    child = run.open_scope(scope, "~")
    child.owner = owner
    if isinstance(owner, int):
        run.stirring.thread_spawned(soon=False)  # and will never be seen to end: it is not ours
    child.attempt = scope.attempt
    SCOPE.set(child)
    return child


def cancel_around(scope: Scope, *, apart: Scope | None) -> None:
    """Cancel the tasks of the strands around `scope`, in whichever loops they are.

    `apart`: a strand that blocks its loop, and is ended in another way. Those of one loop are cancelled in one go:
    a task group whose child has ended as cancelled goes on, unless it has been cancelled, too.
    """
    loop_here = _running_loop()
    around: dict[asyncio.AbstractEventLoop, list[asyncio.Task[Any]]] = {}
    strand = scope.parent
    while strand is not None:
        task = strand.owner
        if isinstance(task, asyncio.Task) and task is not scope.owner:
            loop = task.get_loop()
            if loop is loop_here or not (loop.is_closed() or strand is apart):
                around.setdefault(loop, []).append(task)
        strand = strand.parent
    for loop, tasks in around.items():
        if loop is loop_here:
            _cancel(tasks)
        else:
            loop.call_soon_threadsafe(_cancel, tasks)


def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
