"""Waits that code asks for by itself: `durable.sleep`, `durable.wait_for`, `durable.ask`.

One name for sync and async code: where an event loop runs in this thread for async code, a call gives something to
await; everywhere else (a sync cell, a script, a thread) it blocks. A sync cell of a notebook is executed inside
the kernel's loop, so a running loop alone does not tell: the run knows which kind its code is.
"""

from __future__ import annotations

import asyncio
import datetime as _datetime
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from types import CodeType, FrameType
from typing import Any

from jupyter_durable.capture.forms import schema_of, validated
from jupyter_durable.clock import SystemClock, duration
from jupyter_durable.errors import DurableError
from jupyter_durable.runtime.context import SCOPE, current_scope, owner_now
from jupyter_durable.runtime.steps import conduct, conduct_async
from jupyter_durable.runtime.waiting import WaitStep, Want, wait, wait_async


def sleep(seconds: float | str | _datetime.timedelta) -> Any:
    """Go on after `seconds`, or "2 h", or a `timedelta`: `await durable.sleep("2 h")`, in sync code without `await`.

    In a durable run the time at which it ends is journaled: after a restart only what is left is waited for, and a
    replay waits for nothing. Outside a run it is an ordinary sleep. Raises `DurableError` for what is no duration.

    >>> sleep(0)
    """
    try:
        length = duration(seconds)
    except ValueError as error:
        raise DurableError(str(error)) from None
    want = Want("sleep", "sleep", (length,), seconds=length)
    return _either(want, partial(asyncio.sleep, length), lambda: SystemClock.wait(length) if length else None)


def wait_for(name: str, type: Any = None, timeout: float | str | _datetime.timedelta | None = None) -> Any:  # noqa: A002
    """The next value that somebody sends under `name` (`durable.send`): awaited, in sync code without `await`.

    Signals of one name are queued, from when the run began, and each is received once. `type`: what it must be; others
    are refused with a notice. Raises `TimeoutError` after `timeout` (journaled, like `sleep`), and `DurableError`
    outside a durable run.
    """
    seconds = _timeout(timeout)
    kwargs = {"timeout": seconds} if seconds is not None else {}
    read = partial(validated, type) if type is not None else None
    return _either(
        Want("signal", name, (), kwargs, seconds, read, schema_of(type)), partial(_outside_async, "wait_for")
    )


def ask(prompt: str, type: Any = str, timeout: float | str | _datetime.timedelta | None = None) -> Any:  # noqa: A002
    """What a person answers: `await durable.ask("Which one?", Choice)`, in sync code without `await`.

    `type`: a pydantic model, an Enum, a Literal, `bool`, `list[int]`, ...: its JSON schema is journaled with the
    question, so that a front end can make a form of it, and an answer that does not fit is refused where it is given.
    Raises `TimeoutError` after `timeout`, and `DurableError` outside a durable run, or for a type without a schema.
    """
    seconds = _timeout(timeout)
    kwargs: dict[str, Any] = {"type": getattr(type, "__qualname__", str(type))} if type is not str else {}
    if seconds is not None:
        kwargs["timeout"] = seconds
    read = partial(validated, type) if type is not None else None
    want = Want("ask", "ask", (str(prompt),), kwargs, seconds, read, schema_of(type))
    return _either(want, partial(_outside_async, "ask"))


def _timeout(timeout: float | str | _datetime.timedelta | None) -> float | None:
    try:
        return duration(timeout) if timeout is not None else None
    except ValueError as error:
        raise DurableError(str(error)) from None


def _outside(name: str) -> DurableError:
    return DurableError(
        f"durable.{name}() waits for somebody to write to a run, and no run is being executed here",
        hint="call it in a %%durable cell, or inside durable.run",
    )


async def _outside_async(name: str) -> Any:
    raise _outside(name)


def _either(
    want: Want,
    outside_async: Callable[[], Coroutine[Any, Any, Any]],
    outside: Callable[[], Any] | None = None,
) -> Any:
    if in_async_code():
        return Awaited(_wait_async(want, outside_async), want)
    scope = current_scope()
    if scope is not None:
        return conduct(WaitStep(scope, want), None, wait)
    if outside is None:
        raise _outside("ask" if want.kind == "ask" else "wait_for")
    return outside()


async def _wait_async(want: Want, outside: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    scope = current_scope()
    if scope is None:
        return await outside()
    return await conduct_async(WaitStep(scope, want), None, wait_async)


def in_async_code() -> bool:
    """Whether whoever is called here must not block: a loop runs in this thread, for async code.

    >>> in_async_code()
    False
    """
    if asyncio._get_running_loop() is None:
        return False
    scope = SCOPE.get()
    if scope is None:
        return _frame_is_async()
    run = scope.run
    return not (run.blocking and owner_now() == run.main.owner)


def _frame_is_async() -> bool:
    # Outside a run, a sync cell of a notebook is executed in a loop, too.
    import inspect
    import sys

    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR):
            return True
        if frame.f_code.co_name == "<module>":
            return False
        frame = frame.f_back
    return True


class Awaited(Coroutine[Any, Any, Any]):
    """A wait that has not begun: await it, or make a task of it.

    It is a coroutine in all but one thing: asking whether it is true is an error, and not "yes", so that
    `if durable.ask("Delete it?", bool):` in async code does not go on without an answer.
    """

    def __init__(self, inner: Any, want: Want) -> None:
        self._inner = inner
        name = "wait_for" if want.kind == "signal" else str(want.kind)
        # Python warns of one that is dropped without being awaited, by this name.
        self._inner.__name__ = self.__name__ = name
        self._inner.__qualname__ = self.__qualname__ = f"durable.{name}"

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()  # type: ignore[no-any-return]

    def send(self, value: Any) -> Any:
        """See `Coroutine`."""
        return self._inner.send(value)

    def throw(self, *error: Any) -> Any:
        """See `Coroutine`."""
        return self._inner.throw(*error)

    def close(self) -> None:
        """See `Coroutine`."""
        self._inner.close()

    @property
    def cr_code(self) -> CodeType:
        """For keys of tasks (`journal.keys`), and for those who show them."""
        return self._inner.cr_code  # type: ignore[no-any-return]

    @property
    def cr_frame(self) -> FrameType | None:
        """The same."""
        return self._inner.cr_frame  # type: ignore[no-any-return]

    @property
    def cr_running(self) -> bool:
        """The same."""
        return bool(self._inner.cr_running)

    @property
    def cr_await(self) -> Any:
        """The same."""
        return self._inner.cr_await

    def __bool__(self) -> bool:
        raise DurableError(
            f"{self.__qualname__} was not awaited",
            hint="write `await` before it; in a sync function that async code calls, make that one async, or call it by "
            "`await asyncio.to_thread(...)`",
        )
