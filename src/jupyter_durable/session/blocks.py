"""`durable.run`: the engine outside notebooks, around a function or a block."""

from __future__ import annotations

import ast
import asyncio
import functools
import hashlib
import inspect
import math
import os
import sys
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import FrameType, TracebackType
from typing import Any

from jupyter_durable.clock import SystemClock, moment
from jupyter_durable.codec.canonical import Canonical
from jupyter_durable.errors import BudgetExceeded, DurableError, RunParked, RunWaiting, StepInDoubtError
from jupyter_durable.journal.budget import Budget, parse_cost
from jupyter_durable.model import RunRecord
from jupyter_durable.runtime.activation import Activation
from jupyter_durable.runtime.context import SCOPE, current_scope
from jupyter_durable.runtime.run import LiveRun, Options
from jupyter_durable.runtime.step import Spec
from jupyter_durable.runtime.steps import perform, perform_async
from jupyter_durable.session.opening import Session
from jupyter_durable.session.results import came_to
from jupyter_durable.store import connect


class run:  # noqa: N801 - used as a decorator and as a block, like contextlib's
    """A durable run around a function or a block.

    As a decorator, every call of the function is a run, found again by its name, the script and the
    arguments; called inside a run it is a child run, one step of it. As a block (`with`, `async with`)
    what is inside is the run. Either way: an unfinished run of that name whose process is gone is
    resumed, a finished one starts anew.

    `store`: a path or URL (default: this machine's). `resume`: "auto", "never", or a run's id.
    `park_after`: seconds to wait for a person or a signal (default: not at all; None: for ever) before `RunWaiting`
    is raised once the block is left (`StepInDoubtError` for an unsafe step that was cut off); running it again
    goes on there. Timers are waited for, unless `park_after` is a number of seconds that they exceed.
    `budget` (USD, as `2.0` or "$2.00"), `max_steps` and `deadline` ("2 h" from the beginning, "17:30"): before the
    step that would pass one, `BudgetExceeded` is raised in the same way; calling it again with more resumes there.
    `approve`: patterns of names of tools that a person must approve.

    >>> @run("double", store="memory:")
    ... def double(x: int) -> int:
    ...     return 2 * x
    >>> double(21)
    42
    """

    def __init__(
        self,
        name: str,
        *,
        store: str | None = None,
        resume: str = "auto",
        park_after: float | None = 0.0,
        budget: float | str | None = None,
        max_steps: int | None = None,
        deadline: str | None = None,
        approve: str | Iterable[str] = (),
    ) -> None:
        self.name = name
        self._store = store
        self._resume = resume
        cost = parse_cost(str(budget)) if budget is not None else None
        if deadline is not None:
            moment(deadline, 0.0)
        self._limits = Budget(cost, max_steps, None, deadline)
        self._park_after = park_after
        self._approve = (approve,) if isinstance(approve, str) else tuple(approve)
        self._open: list[_Opened | None] = []

    @property
    def _options(self) -> Options:
        limits = self._limits
        if limits.line is not None:  # from when a run begins; one that is resumed has its own
            limits = replace(limits, deadline=moment(limits.line, SystemClock().now()))
        return Options(
            park_after=self._park_after,
            timers=self._park_after or None,
            budget=limits if limits != Budget() else None,
            approve=self._approve,
        )

    # -- around a function -----------------------------------------------------------------------

    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate."""
        code = _code(fn)
        script = script_of(fn)
        if inspect.isasyncgenfunction(fn) or inspect.isgeneratorfunction(fn):
            raise DurableError(
                f"@durable.run({self.name!r}) is around a generator",
                hint="make the function return a list, or make it a @durable.tool",
            )
        if inspect.iscoroutinefunction(fn):

            @functools.wraps(fn)
            async def wrapper_async(*args: Any, **kwargs: Any) -> Any:
                if current_scope() is not None:
                    return await perform_async(
                        Spec(self.name, kind="run"), self._child_async(fn), args, kwargs
                    )
                opened = await asyncio.to_thread(self._begin, script, code, (args, kwargs))
                opened.enter(fn)
                try:
                    value = await fn(*args, **kwargs)
                except BaseException as error:
                    opened.leave(error)
                    raise
                opened.leave(None, value)
                return value

            return wrapper_async

        @functools.wraps(fn)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if current_scope() is not None:
                return perform(Spec(self.name, kind="run"), self._child(fn), args, kwargs)
            opened = self._begin(script, code, (args, kwargs))
            opened.run.blocking = True
            opened.enter(fn)
            try:
                value = fn(*args, **kwargs)
            except BaseException as error:
                opened.leave(error)
                raise
            opened.leave(None, value)
            return value

        return wrapper

    def _child(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            opened = self._begin_child()
            opened.run.blocking = True
            opened.enter(fn)
            try:
                value = fn(*args, **kwargs)
            except BaseException as error:
                opened.leave(error)
                raise
            opened.leave(None, value)
            return value

        return call

    def _child_async(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            opened = self._begin_child()
            opened.enter(fn)
            try:
                value = await fn(*args, **kwargs)
            except BaseException as error:
                opened.leave(error)
                raise
            opened.leave(None, value)
            return value

        return call

    # -- around a block --------------------------------------------------------------------------

    def __enter__(self) -> LiveRun:
        """Begin, or go on with, the run."""
        outer = SCOPE.get()
        if outer is not None and not outer.run.closed:
            self._open.append(None)  # already durable: a part of the run around it
            return outer.run
        caller = sys._getframe(1)
        opened = self._begin(script_of(caller), None, None)
        opened.run.blocking = not caller.f_code.co_flags & inspect.CO_COROUTINE
        self._open.append(opened)
        opened.enter(None)
        return opened.run

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        opened = self._open.pop()
        if opened is not None:
            opened.leave(error)

    async def __aenter__(self) -> LiveRun:
        """Begin, or go on with, the run."""
        outer = SCOPE.get()
        if outer is not None and not outer.run.closed:
            self._open.append(None)
            return outer.run
        opened = await asyncio.to_thread(self._begin, script_of(sys._getframe(1)), None, None)
        self._open.append(opened)
        opened.enter(None)
        return opened.run

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    # -- which run -------------------------------------------------------------------------------

    def _begin(self, script: str | None, code: str | None, arguments: Any) -> _Opened:
        session = Session(_connected(self._store))
        canonical = Canonical(session.store.key.derive("digest"))
        inputs = canonical.digest(arguments).value.hex() if arguments is not None else None
        found = self._find(session, script, inputs)
        plain, code = code, session.store.key.mac("digest", b"code", code.encode()).hex() if code else None
        if found is None:
            meta = {key: value for key, value in (("code", code), ("inputs", inputs)) if value is not None}
            text = written(arguments) if arguments is not None else None
            kept = {ARGUMENTS: text} if text is not None else None
            return _Opened(
                session,
                session.new(self.name, notebook=script, meta=meta, snapshot=kept, options=self._options),
            )
        if code is not None and found.meta.get("code") not in (None, code, plain):  # plain: as of 0.1.0
            return _Opened(
                session, session.fork(found, kind="edit", meta={"code": code}, options=self._options)
            )
        return _Opened(session, session.resume(found, options=self._options))

    def _find(self, session: Session, script: str | None, inputs: str | None) -> RunRecord | None:
        if self._resume == "never":
            return None
        if self._resume != "auto":
            return session.store.run(self._resume)
        for record in session.store.runs(name=self.name, notebook=script):
            if record.notebook == script and record.meta.get("inputs") == inputs and record.parent_id is None:
                return None if record.status in ("completed", "cancelled") else record
        return None

    def _begin_child(self) -> _Opened:
        scope = SCOPE.get()
        assert scope is not None
        assert scope.attempt is not None
        outer = scope.run
        session = Session(outer.store, clock=outer.clock, output=outer.output)
        step = f"{scope.attempt.scope}.{scope.attempt.pos}"
        for record in session.store.runs(name=self.name):
            if (
                record.parent_id == outer.id
                and record.meta.get("step") == step
                and record.status
                not in (
                    "completed",
                    "cancelled",
                )
            ):
                return _Opened(session, session.resume(record, options=outer.options), outer)
        child = session.new(
            self.name,
            notebook=outer.record.notebook,
            parent_id=outer.id,
            meta={"step": step},
            options=outer.options,
        )
        return _Opened(session, child, outer)


ARGUMENTS = "arguments"
"""The key of a snapshot under which the call that began a run stands, as `written`; a test of the agent repeats it."""
_PLAIN = (str, bytes, int, float, bool, type(None))
_LONGEST = 20_000  # characters


def written(arguments: tuple[tuple[Any, ...], dict[str, Any]]) -> str | None:
    """A call's arguments as Python writes them; None: they are not plain data, or too much to be written.

    >>> written((("leases", [1, 2]), {"deep": {"a": None}}))
    "'leases', [1, 2], deep={'a': None}"
    """
    args, kwargs = arguments
    todo: list[Any] = [*args, *kwargs.values()]
    seen = 0
    while todo:
        one = todo.pop()
        seen += 1
        if type(one) in (list, tuple, set):
            todo += one
        elif type(one) is dict:
            todo += (*one, *one.values())
        elif type(one) not in _PLAIN or (type(one) is float and not math.isfinite(one)):
            return None
        if seen > _LONGEST:
            return None
    text = ", ".join([*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())])
    return text if len(text) <= _LONGEST else None


class _Opened:
    """A run between its beginning and its end. `outer`: the run whose step it is."""

    def __init__(self, session: Session, live: LiveRun, outer: LiveRun | None = None) -> None:
        self.session = session
        self.run = live
        self._outer = outer
        self._activation = Activation(live)

    def enter(self, fn: Callable[..., Any] | None) -> None:
        names = getattr(fn, "__globals__", None)
        if names is not None:
            self.run.user_code = lambda found: found is names
        self._activation.enter()

    def leave(self, error: BaseException | None, value: Any = None) -> None:
        self._activation.leave()
        self.session.close_run(self.run, error, extra=came_to(self.run, value))
        parked, outer = self.run.parked, self._outer
        if parked is None:
            return
        if outer is not None:  # it goes on with the run around it
            if outer.parked is None:
                outer.parked = parked
            if not isinstance(error, RunParked):
                raise parked
            return
        said, hint = str(parked.args[0]), parked.hint
        kinds = self.run.waits.parked_for if self.run.waits is not None else frozenset()
        if kinds == {"budget"}:
            raise BudgetExceeded(said, hint=hint) from None
        if kinds == {"doubt"}:
            raise StepInDoubtError(said, run_id=self.run.id, hint=hint) from None
        raise RunWaiting(said, hint=hint) from None


@functools.lru_cache(maxsize=8)
def _shared(url: str | None, pid: int) -> Any:
    return connect(url)


def _connected(url: str | None) -> Any:
    """One connection a process and store; `memory:` included, or nothing could ever be resumed in it."""
    return _shared(url or os.environ.get("JUPYTER_DURABLE_STORE"), os.getpid())


def _code(fn: Callable[..., Any]) -> str | None:
    """What the function's code is, comments and formatting aside; None if its source is not to be had."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(fn)))
    except (OSError, TypeError, SyntaxError):
        return None
    return hashlib.blake2b(ast.dump(tree).encode(), digest_size=16).hexdigest()


def script_of(where: Any) -> str | None:
    """The absolute path of the file that a function or frame is from; None for an interactive one."""
    code = where.f_code if isinstance(where, FrameType) else getattr(inspect.unwrap(where), "__code__", None)
    name = getattr(code, "co_filename", "")
    return os.path.abspath(name) if os.path.isfile(name) else None  # noqa: PTH100, PTH113 - a plain string
