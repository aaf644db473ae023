"""Tool calls of frameworks as steps: what their instruments share.

    capturing() ── whether a tool called here is to be a step
    make, make_async ── make it one: named, with the arguments that are data
    Attributes ── patches attributes, and puts back what was there

A framework's tool gets more than the model said: contexts, stores, callbacks. Those are other objects in
every process, so a step is told which arguments *identify* it, and a function without arguments that makes
the call with all of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from jupyter_durable.capture.forms import JsonForm
from jupyter_durable.errors import EncodingError
from jupyter_durable.runtime.context import SCOPE
from jupyter_durable.runtime.step import Spec
from jupyter_durable.runtime.steps import perform, perform_async

Errors = tuple[type[BaseException], ...]
Asynchronous = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Aside:
    """Control flow that a tool raised on purpose (an interrupt for a person): its outcome, and no failure.

    Replay raises it again, as the framework expects of a tool that is asked the first time.
    """

    error: BaseException


class Hidden:
    """A function as an argument that says nothing about which strand it is (`journal.keys.coroutine_key`).

    With it, what `make` calls `again` and `approval`.
    """

    __slots__ = ("again", "approval", "fn")

    def __init__(
        self, fn: Callable[[], Any], again: Asynchronous | None = None, *, approval: Any = None
    ) -> None:
        self.fn = fn
        self.again = again
        self.approval = approval


def capturing() -> bool:
    """Whether a tool called here is to be a step: a durable scope is current, and its run captures tools.

    >>> capturing()
    False
    """
    scope = SCOPE.get()
    return scope is not None and "tools" in scope.run.options.capture


def make(
    name: str,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    fn: Callable[[], Any],
    aside: Errors = (),
    again: Callable[..., Any] | None = None,
    *,
    approval: Any = None,
) -> Any:
    """Make the call `fn()` as the step `name` that `args` and `kwargs` identify, or answer it from the journal.

    Errors of the types `aside` are control flow (`Aside`). `again(*args, **kwargs)` makes the call with other
    arguments, if a person who must approve it (`approval`) wants that.

    >>> make("add", (1, 2), {}, lambda: 3)
    3
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return again(*args, **kwargs) if again is not None and _edited() else fn()
        except aside as error:
            return Aside(error)

    try:
        value = perform(_spec(name, again, approval), call, args, dict(kwargs))
    except EncodingError as error:
        raise _told(error) from None
    return _given(value)


async def make_async(
    name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], fn: Hidden, aside: Errors = ()
) -> Any:
    """The same where `fn.fn()` is awaited. As the coroutine of a task, its strand is keyed by name and arguments."""

    async def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return await (fn.again(*args, **kwargs) if fn.again is not None and _edited() else fn.fn())
        except aside as error:
            return Aside(error)

    try:
        value = await perform_async(_spec(name, fn.again, fn.approval), call, args, dict(kwargs))
    except EncodingError as error:
        raise _told(error) from None
    return _given(value)


ASK: ContextVar[Any] = ContextVar("jupyter_durable_ask", default=None)
"""Whether a person must approve the framework's tool that is being called in this context, as `Spec.approval`."""


def _spec(name: str, again: Any, approval: Any) -> Spec:
    if approval is None:
        approval = ASK.get()
        ASK.set(None)  # for this tool, and not for those that it calls
    return Spec(name, approval=approval, form=JsonForm() if again is not None else None)


def _edited() -> bool:
    scope = SCOPE.get()
    return scope is not None and scope.attempt is not None and scope.attempt.edited


def _told(error: EncodingError) -> EncodingError:
    # Said to the person, too: most frameworks tell the model what a tool raised, and go on.
    scope = SCOPE.get()
    if scope is not None:
        scope.run.notice(str(error))
    return error


def _given(value: Any) -> Any:
    if type(value) is Aside:
        raise value.error
    return value


_BEFORE = "__jupyter_durable_before__"


class Attributes:
    """Patches that are put back in one go.

    >>> import types
    >>> module = types.SimpleNamespace(f=len)
    >>> patches = Attributes()
    >>> patches.put(module, "f", lambda before: lambda value: before(value) + 1)
    >>> module.f("ab")
    3
    >>> patches.undo()
    >>> module.f is len
    True
    """

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []

    def then(self, undo: Callable[[], None]) -> None:
        """Something else that is to be undone with the patches."""
        self._undo.append(undo)

    def put(self, owner: Any, name: str, replace: Callable[[Any], Any]) -> None:
        """Replace `owner.name` by `replace(what it is)`. Raises `AttributeError` if there is nothing to replace.

        A function that `owner` has imported from where it was patched already is not patched twice.
        """
        own = name in vars(owner)
        before = vars(owner)[name] if own else getattr(owner, name)
        after = before
        if isinstance(before, FunctionType) and _BEFORE in vars(before):
            before = vars(before)[_BEFORE]
        else:
            after = replace(before)
            setattr(owner, name, after)
            if isinstance(after, FunctionType):
                setattr(after, _BEFORE, before)

        def undo() -> None:
            if vars(owner).get(name) is after:  # unless somebody else has patched it since
                if own:
                    setattr(owner, name, before)
                else:
                    delattr(owner, name)

        self._undo.append(undo)

    def undo(self) -> None:
        """Put everything back, the last first."""
        while self._undo:
            self._undo.pop()()


def belongs_to(package: str) -> Callable[[Any], bool]:
    """Whether a value, or the first of a list, is of a class of the package (or one derived from it), or a function of it.

    >>> belongs_to("decimal")([__import__("decimal").Decimal(1)])
    True
    """

    def inside(module: str) -> bool:
        return module.partition(".")[0] == package

    def belongs(value: Any) -> bool:
        kind = type(value)
        if kind is list or kind is tuple:
            return bool(value) and belongs(value[0])
        if kind is FunctionType:
            return inside(value.__module__)
        return any(inside(base.__module__) for base in kind.__mro__)

    return belongs
