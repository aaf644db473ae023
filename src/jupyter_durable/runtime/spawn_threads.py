"""Strands in threads: what is submitted to an executor or to a worker of anyio's, and threads that are started.

Each gets a scope of its own, keyed when it is spawned, and `runtime.stirring` is told when it begins and ends.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context, copy_context
from functools import partial
from typing import Any

import wrapt

from jupyter_durable.journal.keys import callable_key
from jupyter_durable.runtime.context import SCOPE, Scope, current_scope, here
from jupyter_durable.runtime.local import is_importing
from jupyter_durable.runtime.run import LiveRun, ReplayEnd


def _submit(
    original: Callable[..., Future[Any]], pool: ThreadPoolExecutor, fn: Any, args: Any, kwargs: Any
) -> Future[Any]:
    parent = current_scope()
    assert parent is not None
    run = parent.run
    fn = _uninstrumented(fn)
    child = run.open_scope(parent, callable_key(run.canonical, fn, args, kwargs))
    child.attempt = parent.attempt
    idle = getattr(pool, "_idle_semaphore", None)  # a worker that waits for work, or room for another
    soon = len(pool._threads) < pool._max_workers or getattr(idle, "_value", 0) > 0
    run.stirring.thread_spawned(soon=soon)
    context, fn, args, kwargs = _look_through(fn, args, kwargs)

    def work() -> Any:
        child.owner = threading.get_ident()
        run.stirring.thread_begins(soon=soon)
        token = context.run(SCOPE.set, child)
        before, here.strand = getattr(here, "strand", None), child
        clean = False
        try:
            value = context.run(fn, *args, **kwargs)
            clean = True
            return value
        finally:
            here.strand = before
            context.run(SCOPE.reset, token)
            run.close_scope(child, clean=clean)

    def ended(future: Future[Any]) -> None:
        if future.cancelled():  # before any thread had taken it up
            run.close_scope(child, clean=False)
        run.stirring.thread_ends(child.owner, soon=soon)

    # The pool may start a worker now; that thread outlives this call and is nobody's strand.
    token = SCOPE.set(None)
    try:
        future = original(pool, work)
    except BaseException:
        run.close_scope(child, clean=False)
        run.stirring.thread_ends(None, soon=soon)
        raise
    finally:
        SCOPE.reset(token)
    # After the callbacks of whoever awaits it, which asyncio adds when this has returned.
    loop = asyncio._get_running_loop()
    if loop is None:
        future.add_done_callback(ended)
    else:
        loop.call_soon(future.add_done_callback, ended)
    return future


def _uninstrumented(fn: Any) -> Any:
    """What OpenTelemetry's threading instrumentor was given, if `fn` is what it submits instead.

    Whether it stands around us or we around it depends on which came first in this process, and a strand's key must
    not. What it adds, its own context, is in the context that the strand has anyway.
    """
    code = getattr(fn, "__code__", None)
    if code is None or fn.__module__ != "opentelemetry.instrumentation.threading":
        return fn
    if "original_func" not in code.co_freevars:
        return fn
    return fn.__closure__[code.co_freevars.index("original_func")].cell_contents


def _look_through(fn: Any, args: Any, kwargs: Any) -> tuple[Context, Any, Any, Any]:
    """`asyncio.to_thread` submits `partial(context.run, fn, …)`: use that context, not one around it.

    Of several, one in the other (LangGraph's executor), the innermost is the one `fn` runs in.
    """
    context: Context | None = None
    while True:
        if isinstance(fn, partial):
            fn, args, kwargs = fn.func, (*fn.args, *args), {**fn.keywords, **kwargs}
        elif args and isinstance(getattr(fn, "__self__", None), Context) and fn.__name__ == "run":
            context, fn, args = fn.__self__, args[0], args[1:]
        else:
            return context or copy_context(), fn, args, kwargs


def _start(original: Callable[[threading.Thread], None], thread: threading.Thread) -> None:
    parent = current_scope()
    assert parent is not None
    run = parent.run
    target = getattr(thread, "_target", None) or type(thread).run
    args = getattr(thread, "_args", ())
    child = run.open_scope(parent, callable_key(run.canonical, target, args, getattr(thread, "_kwargs", {})))
    child.attempt = parent.attempt
    run.stirring.thread_spawned(soon=True)
    context = copy_context()
    body = thread.run

    def work() -> None:
        child.owner = threading.get_ident()
        run.stirring.thread_begins(soon=True)
        context.run(SCOPE.set, child)
        here.strand = child
        clean = False
        try:
            context.run(body)
            clean = True
        except ReplayEnd:  # no error of the thread's
            return
        finally:
            run.close_scope(child, clean=clean)
            run.stirring.thread_ends(child.owner, soon=True)

    thread.run = work  # type: ignore[method-assign]
    try:
        original(thread)
    except BaseException:
        run.close_scope(child, clean=False)
        run.stirring.thread_ends(None, soon=True)
        raise


def _patch_submit() -> Callable[[], None]:
    original = ThreadPoolExecutor.submit

    def submit(self: ThreadPoolExecutor, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        scope = SCOPE.get()
        if scope is None or scope.run.closed:
            return original(self, fn, *args, **kwargs)
        if is_importing():
            return Context().run(original, self, fn, *args, **kwargs)
        return _submit(original, self, fn, args, kwargs)

    ThreadPoolExecutor.submit = submit  # type: ignore[method-assign,assignment]

    def undo() -> None:
        if ThreadPoolExecutor.submit is submit:
            ThreadPoolExecutor.submit = original  # type: ignore[method-assign]

    return undo


def _patch_thread() -> Callable[[], None]:
    original = threading.Thread.start

    def start(self: threading.Thread) -> None:
        scope = SCOPE.get()
        if scope is None or scope.run.closed or self.name.startswith("jupyter-durable"):
            original(self)
        elif type(self).__module__.startswith("anyio.") or is_importing():
            # A worker of its pool, which takes up later calls, too: whether one is idle must make no difference.
            # And what a library does in threads while it is imported is nobody's, as what it does here is.
            Context().run(original, self)
        else:
            _start(original, self)

    threading.Thread.start = start  # type: ignore[method-assign]

    def undo() -> None:
        if threading.Thread.start is start:
            threading.Thread.start = original  # type: ignore[method-assign]

    return undo


class _Submitted:
    """A call in a worker of anyio's: one thread takes up many, and goes on with a call that nobody waits for any more."""

    def __init__(self, run: LiveRun, child: Scope, fn: Any, soon: bool) -> None:
        self._run, self._child, self._fn, self._soon = run, child, fn, soon
        self._lock = threading.Lock()
        self._state = "waits"  # then it "runs", and may be "abandoned"; then it is "over"

    def __call__(self, *args: Any) -> Any:
        child = self._child
        with self._lock:
            self._state = "runs"
        child.owner = threading.get_ident()
        self._run.stirring.thread_begins(soon=self._soon)
        token = SCOPE.set(child)
        before, here.strand = getattr(here, "strand", None), child
        clean = False
        try:
            value = self._fn(*args)
            clean = True
            return value
        finally:
            here.strand = before
            SCOPE.reset(token)
            self._run.close_scope(child, clean=clean)
            with self._lock:
                abandoned, self._state = self._state == "abandoned", "over"
                if not abandoned:
                    self._run.stirring.hands_over()
            if abandoned:
                self._run.stirring.thread_ends(child.owner, soon=self._soon)

    def left(self) -> None:
        """Whoever waited for it has what it handed over, or waits no more."""
        with self._lock:
            before, self._state = self._state, "abandoned"
        if before == "waits":  # no worker took it up before it was cancelled
            self._run.close_scope(self._child, clean=False)
        if before != "runs":
            self._run.stirring.thread_ends(self._child.owner, soon=self._soon, handed=before == "over")


async def _in_worker(
    original: Callable[..., Any], fn: Any, args: tuple[Any, ...], more: tuple[Any, ...], named: dict[str, Any]
) -> Any:
    parent = current_scope()
    assert parent is not None
    run = parent.run
    child = run.open_scope(parent, callable_key(run.canonical, fn, args, {}))
    child.attempt = parent.attempt
    limiter = named.get("limiter") or (more[1] if len(more) > 1 else None)
    soon = limiter is None or limiter.available_tokens > 0
    run.stirring.thread_spawned(soon=soon)
    work = _Submitted(run, child, fn, soon)
    try:
        return await original(work, args, *more, **named)
    finally:
        work.left()


def _patch_anyio(backend: Any) -> Callable[[], None]:
    name = "run_sync_in_worker_thread"
    found = vars(backend).get(name)
    if not isinstance(found, classmethod):
        return lambda: None  # another anyio than any we know: calls there are told by their order
    original = getattr(backend, name)

    async def run_sync_in_worker_thread(cls: Any, func: Any, args: Any, *more: Any, **named: Any) -> Any:
        scope = SCOPE.get()
        if scope is None or scope.run.closed:
            return await original(func, args, *more, **named)
        return await _in_worker(original, func, args, more, named)

    ours = classmethod(run_sync_in_worker_thread)
    setattr(backend, name, ours)

    def undo() -> None:
        if vars(backend).get(name) is ours:
            setattr(backend, name, found)

    return undo


class _Anyio:
    """anyio's workers, from when it is imported, which may be while a run is live."""

    MODULE = "anyio._backends._asyncio"

    def __init__(self) -> None:
        self._hooked = self._installed = False
        self._undo: Callable[[], None] | None = None

    def install(self) -> Callable[[], None]:
        self._installed = True
        if not self._hooked:
            self._hooked = True
            wrapt.register_post_import_hook(self._imported, self.MODULE)  # at once, if it is already
        elif (module := sys.modules.get(self.MODULE)) is not None:
            self._imported(module)
        return self._remove

    def _imported(self, module: Any) -> None:
        backend = getattr(module, "AsyncIOBackend", None)
        if self._installed and self._undo is None and backend is not None:
            self._undo = _patch_anyio(backend)

    def _remove(self) -> None:
        self._installed = False
        if self._undo is not None:
            self._undo()
            self._undo = None


_anyio = _Anyio()


def patch() -> list[Callable[[], None]]:
    """Give what is started in threads scopes from now on; returns what takes that back."""
    return [_patch_submit(), _patch_thread(), _anyio.install()]
