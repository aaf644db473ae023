"""How a function of Python's own is made to read through a scope, and put back without a trace.

A patched attribute holds a stand-in that passes every call through unless a durable scope is current
*and* the caller's frame is one whose readings matter. Three places a function can be found in:

- an attribute of a module (`time.time`): `Attribute`;
- an attribute of a C type (`datetime.now`), immutable from Python: `TypeAttribute` writes the
  type's own dictionary and invalidates its caches. The class stays itself, so isinstance, pickle,
  pydantic and `from datetime import datetime` are none the wiser. (Putting a substitute class
  where names are imported, as test libraries do, breaks all four; overwriting the C function
  pointer would also reach bound methods taken earlier, but a ctypes callback swallows exceptions,
  and with them an interrupt.)
- a name of the user's modules (`from time import time`): `Names`.
"""

from __future__ import annotations

import functools
import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from jupyter_durable.runtime.values import Values

# Modules that read a clock or random bytes only for their caller.
THROUGH = frozenset(
    (
        *("os", "uuid", "secrets", "random", "datetime", "_pydatetime", "dataclasses", "functools"),
        *("attr", "attrs", "pydantic", "pendulum", "arrow", "pandas"),
    )
)
# Modules whose ids and keys belong to this process: replaying them would be wrong or useless. LlamaIndex's workflows
# refuse to begin under an id that an interrupted life has left in their register.
NEVER = frozenset(
    (
        *("jupyter_durable", "zmq", "jupyter_client", "ipykernel", "IPython", "traitlets", "comm", "debugpy"),
        *("ipywidgets", "anywidget", "tempfile", "ssl", "multiprocessing", "websockets", "wsproto"),
        "workflows",
    )
)


class Reader:
    """Finds out on whose behalf a stand-in was called.

    Both methods are called by a stand-in that was called by the code in question.
    """

    def __init__(
        self, current: Callable[[], Values | None], is_user_code: Callable[[Mapping[str, Any]], bool]
    ) -> None:
        self._current = current
        self._is_user_code = is_user_code

    def clock(self) -> Values | None:
        """The scope's values if the notebook's own code reads the clock."""
        values = self._current()
        if values is None:
            return None
        frame = sys._getframe(2)
        while frame is not None:
            names = frame.f_globals
            if self._is_user_code(names):
                return values
            if _top(names) not in THROUGH:
                return None
            frame = frame.f_back  # type: ignore[assignment]
        return None

    def entropy(self) -> tuple[Values, str] | None:
        """The scope's values, and the suffix that keeps one module's readings apart from another's.

        A library's readings are recorded too, since an id it makes may end up in a call. They have
        sequences of their own: one more of them must not shift the user's.
        """
        values = self._current()
        if values is None:
            return None
        frame = sys._getframe(2)
        while frame is not None:
            names = frame.f_globals
            if self._is_user_code(names):
                return values, ""
            top = _top(names)
            if top in NEVER:
                return None
            if top not in THROUGH:
                return values, f"@{names.get('__name__')}"
            frame = frame.f_back  # type: ignore[assignment]
        return values, ""


def _top(names: Mapping[str, Any]) -> str:
    return str(names.get("__name__")).partition(".")[0]


class StandIn:
    """Base of the callables that take a built-in function's place.

    Not a function, which would bind where a built-in does not (`class A: now = time.time`); it has
    the original's name and module, so it is pickled as what it stands for.
    """

    __name__: str
    __wrapped__: Callable[..., Any]

    def __init__(self, original: Callable[..., Any], reader: Reader) -> None:
        functools.update_wrapper(cast("Callable[..., Any]", self), original)
        self._live = original
        self._reader = reader

    def __reduce__(self) -> str:
        return self.__name__

    def __repr__(self) -> str:
        return repr(self.__wrapped__)


class Patch(Protocol):
    """One change that can be made and unmade, any number of times."""

    what: str
    """What it records, as the user calls it."""

    def names(self) -> list[tuple[Any, Any]]:
        """What a user's name for it may hold, and what it shall hold instead."""
        ...

    def apply(self) -> bool:
        """Make the change; False if this Python does not allow it."""
        ...

    def undo(self) -> None:
        """Unmake it, unless somebody else has changed the same thing since."""
        ...


class Attribute:
    """A module's or Python class's attribute. `by_name`: also where the user's modules have imported it."""

    def __init__(self, owner: Any, name: str, replacement: Any, *, by_name: bool = True) -> None:
        self.what = f"{getattr(owner, '__name__', owner)}.{name}"
        self._owner = owner
        self._name = name
        self._original = vars(owner)[name]
        self._replacement = replacement
        self._by_name = by_name

    def names(self) -> list[tuple[Any, Any]]:
        """What a user's name for it may hold, and what it shall hold instead."""
        return [(self._original, self._replacement)] if self._by_name else []

    def apply(self) -> bool:
        """Make the change; False if this Python does not allow it."""
        self._write(self._replacement)
        return vars(self._owner)[self._name] is self._replacement

    def undo(self) -> None:
        """Unmake it, unless somebody else has changed the same thing since."""
        if vars(self._owner).get(self._name) is self._replacement:
            self._write(self._original)

    def _write(self, value: Any) -> None:
        setattr(self._owner, self._name, value)


class TypeAttribute(Attribute):
    """An attribute of a C type.

    The original stays referenced by us, so that an inline cache which holds it unowned can never
    see it freed, and so does the stand-in; `PyType_Modified` makes all caches look again. (CPython
    3.12+ numbers such a change from a pool of 65,535 for C types; when it is used up, calls are
    slower, never wrong.)
    """

    def names(self) -> list[tuple[Any, Any]]:
        """What a user's name for it may hold (`now = datetime.now`), and what it shall hold instead."""
        return [(self._original.__get__(None, self._owner), self._replacement.__get__(None, self._owner))]

    def apply(self) -> bool:
        """Make the change; False if this Python does not allow it."""
        if sys.implementation.name != "cpython" or not getattr(sys, "_is_gil_enabled", lambda: True)():
            return False
        try:
            return super().apply()
        except (ImportError, AttributeError, TypeError, IndexError):
            return False

    def _write(self, value: Any) -> None:
        from ctypes import py_object, pythonapi

        real = gc.get_referents(vars(self._owner))[0]
        if type(real) is not dict:
            raise TypeError(f"{self._owner} has no dictionary")
        real[self._name] = value
        pythonapi.PyType_Modified(py_object(self._owner))


class Names:
    """The user's own names for patched functions (`from time import time`), in both directions.

    Names bound while the patches are in place (by an import in the cell, or in a library it is the
    first to import) hold the stand-in, and are given the original back. A stand-in that was put
    elsewhere meanwhile (a default argument, a closure) stays there and passes through.
    """

    def __init__(self, pairs: Sequence[tuple[Any, Any]]) -> None:
        self._forward = dict(pairs)
        self._back = {new: old for old, new in pairs}
        self._swapped: list[tuple[dict[str, Any], str, Any]] = []
        self._stand_ins = [getattr(new, "__func__", new) for new in self._back]
        self._counts: list[int] = []

    def count(self) -> None:
        """Nothing is patched yet: more references to a stand-in when all is undone mean a name somewhere."""
        self._counts = [sys.getrefcount(new) for new in self._stand_ins]

    def swap_in(self, is_user_code: Callable[[Mapping[str, Any]], bool]) -> None:
        """Swap originals for stand-ins in the modules that are the user's."""
        self._swapped += _swap(self._forward, is_user_code)

    def swap_out(self) -> None:
        """Swap stand-ins for originals, wherever a module holds one. The patches are out already."""
        while self._swapped:
            names, name, old = self._swapped.pop()  # a bound method equals another and is not it
            held, new = names.get(name), self._forward[old]
            if type(held) is type(new) and held == new:
                names[name] = old
            del held, new
        if [sys.getrefcount(new) for new in self._stand_ins] != self._counts:
            _swap(self._back, lambda names: True)


def _swap(
    pairs: dict[Any, Any], among: Callable[[Mapping[str, Any]], bool]
) -> list[tuple[dict[str, Any], str, Any]]:
    # Only values of these types are compared: hashing or comparing others may run anybody's code.
    kinds = {type(old) for old in pairs}
    swapped = []
    for module in list(sys.modules.values()):
        try:  # past a lazy module's __getattribute__, which would load it
            names = object.__getattribute__(module, "__dict__")
        except AttributeError:
            continue
        if type(names) is dict and among(names):
            for name, value in list(names.items()):
                if type(value) in kinds and value in pairs:
                    names[name] = pairs[value]
                    swapped.append((names, name, value))
    return swapped
