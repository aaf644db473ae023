"""Python functions as steps: `@durable.tool`, `durable.step`, and what a tool may ask about itself."""

from __future__ import annotations

import datetime as _datetime
import functools
import inspect
import time as _time
import uuid as _uuid
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import suppress
from typing import Any, TypeVar, overload

from jupyter_durable.capture.forms import SignatureForm
from jupyter_durable.codec.redaction import masked
from jupyter_durable.errors import DurableError
from jupyter_durable.journal.retry import Backoff, RetryPolicy
from jupyter_durable.model import Draft, Effect
from jupyter_durable.runtime.context import SCOPE, current_scope
from jupyter_durable.runtime.limits import Limiter
from jupyter_durable.runtime.step import Spec
from jupyter_durable.runtime.steps import perform, perform_async
from jupyter_durable.runtime.streams import stream, stream_async

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_EFFECTS = ("pure", "retryable", "unsafe")


@overload
def tool(fn: F, /) -> F: ...
@overload
def tool(
    *,
    name: str | None = None,
    retries: int = 0,
    backoff: Backoff = 0.5,
    timeout: float | None = None,
    effect: Effect = "retryable",
    reconcile: Callable[..., Any] | None = None,
    max_concurrency: int | None = None,
    rate: float | None = None,
    approval: bool | Callable[..., bool | str] = False,
) -> Callable[[F], F]: ...


def tool(
    fn: Any = None,
    /,
    *,
    name: str | None = None,
    retries: int = 0,
    backoff: Backoff = 0.5,
    timeout: float | None = None,
    effect: Effect = "retryable",
    reconcile: Callable[..., Any] | None = None,
    max_concurrency: int | None = None,
    rate: float | None = None,
    approval: bool | Callable[..., bool | str] = False,
) -> Any:
    """Make every call of a function a step of the durable run it is made in.

    Works on sync and async functions and generators, methods, and classes with `__call__`. Outside a
    durable run the function is what it was.

    `retries`: further attempts after an error, the first `backoff` seconds later, then twice that, and
    so on (or a function of the number of failures, or a tenacity wait strategy). `timeout`: seconds an
    attempt may take. `effect`: what a repeated call does. "retryable" (default): a call cut off by a
    crash is made again. "unsafe": it is not; `reconcile(*args, **kwargs)` may find out whether it
    happened (return its result, `durable.RETRY`, or `durable.UNKNOWN`), else the run waits for a
    person. "pure": it has no effect at all, and an edited run may reuse its result for equal arguments.
    `max_concurrency`: calls at once; `rate`: starts a second, both in this process. `approval`: a person must
    approve each call before it is made (and may change its arguments, or reject it, which raises
    `ApprovalRejected`); or a function of the arguments that says whether, or why (a text).

    >>> @tool
    ... def add(a: int, b: int) -> int:
    ...     return a + b
    >>> add(1, 2)
    3
    """
    if effect not in _EFFECTS:
        raise DurableError(f"effect={effect!r} is not one of {_EFFECTS}", hint='leave it out for "retryable"')
    limiter = Limiter(max_concurrency, rate) if max_concurrency is not None or rate is not None else None
    retry = RetryPolicy(retries=retries, backoff=backoff) if retries else None

    def decorate(target: Any) -> Any:
        spec = Spec(
            name or _name(target).rpartition("<locals>.")[2],
            effect=effect,
            retry=retry,
            timeout=timeout,
            reconcile=reconcile,
            limiter=limiter,
            approval=approval or None,
        )
        if inspect.isclass(target):
            type.__setattr__(target, "__call__", wrap(target.__call__, spec))
            return target
        return wrap(target, spec)

    return decorate if fn is None else decorate(fn)


def wrap(fn: Any, spec: Spec) -> Any:
    """`fn` with every call a step as `spec` says; the wrapper is of the same kind as the function."""
    call = _called(fn)
    if isinstance(fn, staticmethod | classmethod):
        return type(fn)(wrap(fn.__func__, spec))
    if spec.form is None:
        spec.form = SignatureForm(fn)
    wrapper: Any
    if inspect.isasyncgenfunction(call):

        @functools.wraps(fn)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            scope = current_scope()
            inner = fn(*args, **kwargs) if scope is None else stream_async(scope, spec, fn, args, kwargs)
            with suppress(StopAsyncIteration):
                item = await anext(inner)
                while True:
                    try:
                        sent = yield item
                    except GeneratorExit:
                        await inner.aclose()
                        raise
                    except BaseException as error:  # noqa: BLE001 - thrown in: the tool's to handle
                        item = await inner.athrow(error)
                    else:
                        item = await inner.asend(sent)

    elif inspect.isgeneratorfunction(call):

        @functools.wraps(fn)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return (yield from stream(spec, fn, args, kwargs))

    elif inspect.iscoroutinefunction(call):

        @functools.wraps(fn)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            return await perform_async(spec, fn, args, kwargs)

    else:

        @functools.wraps(fn)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return perform(spec, fn, args, kwargs)

    wrapper.__durable__ = spec
    return wrapper


def step(name: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Make one call a step: `fn(*args, **kwargs)`, awaited by the caller if `fn` is async.

    >>> step("answer", lambda: 42)
    42
    """
    spec = Spec(name, form=SignatureForm(fn))
    if inspect.iscoroutinefunction(_called(fn)):
        return perform_async(spec, fn, args, kwargs)
    return perform(spec, fn, args, kwargs)


def _name(fn: Any) -> str:
    while isinstance(fn, functools.partial):
        fn = fn.func
    return getattr(fn, "__qualname__", None) or type(fn).__qualname__


def _called(fn: Any) -> Any:
    """What a call of `fn` calls, and so what kind of call it is."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return fn if inspect.isroutine(fn) else getattr(fn, "__call__", fn)  # noqa: B004 - the bound method, not a test


def idempotency_key() -> str:
    """The key to send along with an effect, so that the other side can recognise a repeated call.

    The same for every attempt of the step it is called in, in every process. Raises `DurableError`
    outside a step.
    """
    scope = current_scope()
    attempt = scope.attempt if scope is not None else None
    if scope is None or attempt is None:
        raise DurableError(
            "idempotency_key() belongs to a step, and no step is being executed here",
            hint="call it inside a @durable.tool function that runs in a durable cell",
        )
    return scope.run.idempotency_key(attempt.scope, attempt.pos)


def now() -> _datetime.datetime:
    """The time, in UTC; on replay the time it was then.

    >>> now().tzinfo
    datetime.timezone.utc
    """
    scope = SCOPE.get()
    if scope is None or scope.run.closed:
        return _datetime.datetime.fromtimestamp(_time.time(), _datetime.UTC)
    values = scope.run.values_of(scope)
    clock = scope.run.clock
    return values.read(
        "now",
        lambda: _datetime.datetime.fromtimestamp(clock.now(), _datetime.UTC),
        _datetime.datetime.isoformat,
        _datetime.datetime.fromisoformat,
    )


def uuid4() -> _uuid.UUID:
    """A random id; on replay the same one.

    >>> uuid4().version
    4
    """
    scope = SCOPE.get()
    if scope is None or scope.run.closed:
        return _uuid.uuid4()
    with_seen = scope.run.values_of(scope)
    return with_seen.read("uuid4", _live_uuid, lambda value: value.hex, lambda text: _uuid.UUID(hex=text))


def _live_uuid() -> _uuid.UUID:
    import random

    return _uuid.UUID(int=random.SystemRandom().getrandbits(128), version=4)


def log(message: str, **fields: Any) -> None:
    """Add a line to the step's (or the run's) log, with JSON-like fields. Outside a run: nothing.

    >>> log("fetched", bytes=1024)
    """
    _note({"m": str(message), **({"f": {k: _plain(v) for k, v in fields.items()}} if fields else {})})


@overload
def progress(of: float, /) -> None: ...
@overload
def progress(of: Iterable[T], /) -> Iterator[T]: ...


def progress(of: Any, /) -> Any:
    """Report how far the step is: a fraction from 0 to 1, or an iterable to go through.

    >>> list(progress([1, 2]))
    [1, 2]
    """
    if isinstance(of, int | float):
        _note({"p": min(1.0, max(0.0, float(of)))})
        return None
    return _progress(of)


def _progress(items: Iterable[T]) -> Iterator[T]:
    total = len(items) if isinstance(items, Sized) else 0
    for done, item in enumerate(items):
        yield item
        if total:
            _note({"p": (done + 1) / total})


def _note(meta: dict[str, Any]) -> None:
    scope = SCOPE.get()
    if scope is None or scope.run.closed or scope.run.lease is None:
        return
    attempt = scope.attempt
    meta = masked(meta)
    if attempt is not None:
        scope.run.writer.put([Draft("log", attempt.scope, attempt.pos, meta)])
    elif scope.run.turns.open:
        scope.run.writer.put([Draft("log", 0, 0, meta)])


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else repr(value)[:200]
