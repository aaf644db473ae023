"""Stable names: of scopes at spawn, of steps, of a step's effect in the world."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import Context
from inspect import CO_VARARGS, CO_VARKEYWORDS
from types import CodeType
from typing import Any

from jupyter_durable.codec.canonical import Canonical
from jupyter_durable.codec.secret import StoreKey


def step_id(scope: int, pos: int) -> str:
    """`scope.position`, as people type it.

    >>> step_id(1, 4)
    '1.4'
    """
    return f"{scope}.{pos}"


def parse_step_id(text: str) -> tuple[int, int]:
    """The scope and position of a step id. Raises `ValueError`.

    >>> parse_step_id("1.4")
    (1, 4)
    """
    scope, _, pos = text.partition(".")
    return int(scope), int(pos)


def idempotency_key(key: StoreKey, root_id: str, scope: int, pos: int) -> str:
    """The same for every attempt of a step, in every process and automatic fork; 32 hex digits."""
    return key.mac("idempotency", root_id.encode(), step_id(scope, pos).encode()).hex()


def _name(fn: Any) -> str:
    name = getattr(fn, "__qualname__", None) or type(fn).__qualname__
    return f"{getattr(fn, '__module__', None) or ''}:{name}"


# A library spawns its strands with what is another in every process: contexts with ids and times in them.
_NAMED: dict[str, Callable[..., Any]] = {}
_LEFT_OUT: list[Callable[[Any], bool]] = []


def name_strands(function: str, key: Callable[..., Any]) -> Callable[[], None]:
    """Let `key(*args, **kwargs)` say which strand it is, of those that run `function` ("module:qualname").

    Returns what forgets it again.

    >>> forget = name_strands("lib.core:run_task", lambda task, *rest: task.name)
    >>> forget()
    """
    _NAMED[function] = key

    def forget() -> None:
        _NAMED.pop(function, None)

    return forget


def leave_out(is_context: Callable[[Any], bool]) -> Callable[[], None]:
    """Leave arguments of which `is_context` is true out of every strand's key. Returns what forgets it again."""
    _LEFT_OUT.append(is_context)

    def forget() -> None:
        _LEFT_OUT.remove(is_context)

    return forget


def _telling(
    function: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Of a strand's arguments, those that say which one it is."""
    key = _NAMED.get(function)
    try:
        if key is not None:
            return (key(*args, **kwargs),), {}
        if _LEFT_OUT:
            kwargs = {
                name: value for name, value in kwargs.items() if not any(out(value) for out in _LEFT_OUT)
            }
            args = tuple([value for value in args if not any(out(value) for out in _LEFT_OUT)])
    except Exception:  # noqa: BLE001, S110 - another version's function, somebody's property: all arguments, then
        pass
    return args, kwargs


def callable_key(
    canonical: Canonical, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> str:
    """The key of a strand that runs `fn(*args, **kwargs)` in a thread.

    Wrappers that say nothing about the work are looked through: `functools.partial`, and the
    `Context.run` that `asyncio.to_thread` submits.
    """
    while True:
        if isinstance(fn, functools.partial):
            inner: functools.partial[Any] = fn
            fn, args, kwargs = inner.func, (*inner.args, *args), {**inner.keywords, **kwargs}
        elif args and isinstance(getattr(fn, "__self__", None), Context) and fn.__name__ == "run":
            fn, args = args[0], args[1:]
        else:
            break
    name = _name(fn)
    if _NAMED or _LEFT_OUT:
        args, kwargs = _telling(name, args, kwargs)
    return f"{name}~{canonical.identify(args, kwargs)[0]}"


def coroutine_key(canonical: Canonical, coro: Any) -> str:
    """The key of a task that runs `coro`, which has not started: its function and its arguments."""
    code: CodeType | None = getattr(coro, "cr_code", None)
    frame = getattr(coro, "cr_frame", None)
    if code is None or frame is None:
        return f"{type(coro).__qualname__}~"
    names, count = code.co_varnames, code.co_argcount + code.co_kwonlyargcount
    values = frame.f_locals
    args: tuple[Any, ...] = tuple([values.get(name) for name in names[:count]])
    kwargs: dict[str, Any] = {}
    if code.co_flags & CO_VARARGS:
        args += values.get(names[count], ())
        count += 1
    if code.co_flags & CO_VARKEYWORDS:
        kwargs = values.get(names[count], kwargs)
    if _NAMED or _LEFT_OUT:
        args, kwargs = _telling(f"{frame.f_globals.get('__name__')}:{coro.__qualname__}", args, kwargs)
    return f"{coro.__qualname__}~{canonical.identify(args, kwargs)[0]}"
