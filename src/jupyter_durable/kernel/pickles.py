"""Snapshot data as one pickle stream that refers to the notebook's own things by name.

What plain cloudpickle would get wrong in a notebook: a restored function keeps globals of its own (so
that rebinding `CFG` does not reach it), and a class is a copy (so that `isinstance` fails). Here

- what statements make again (definitions, clients) is referred to by name;
- other functions (closures, lambdas) are stored by value but live in the namespace they are restored to,
  and share the closure cells they shared.

Records follow one another in one stream and share its memo: what two names alias stays one object.
Writing calls `__reduce__` of the user's objects; `_loads` is the only place that reads a pickle.
"""

from __future__ import annotations

import io
import pickle
import types
from collections.abc import Collection, Mapping, MutableMapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from jupyter_durable.errors import DurableError
from jupyter_durable.kernel.statements import Namespace, is_notebook_class, is_notebook_function, named


class TooLargeError(Exception):
    """More bytes than allowed were written."""


class _Sink(io.BytesIO):
    def __init__(self, limit: int) -> None:
        super().__init__()
        self._left = limit

    def write(self, data: Any, /) -> int:
        written = super().write(data)
        self._left -= written
        if self._left < 0:
            raise TooLargeError
        return written


class Writer:
    """Writes values one after another into one stream of at most `limit` bytes.

    `by_name` maps ids of values that statements make again to their names; `data` are the names of the
    values written here, which therefore cannot be referred to.
    """

    def __init__(self, ns: Namespace, by_name: Mapping[int, str], data: Collection[str], limit: int) -> None:
        self._sink = _Sink(limit)
        self._pickler = _pickler_class()(self._sink, ns, by_name, data)

    def write(self, value: object) -> tuple[int, list[str]]:
        """Append a record; its size in bytes, and the names it is the first to refer to.

        Raises `TooLargeError`, or whatever storing the value raises; nothing may be written after that.
        """
        start = self._sink.tell()
        self._pickler.references = {}
        self._pickler.dump(value)
        return self._sink.tell() - start, list(self._pickler.references)

    def getvalue(self) -> bytes:
        """The stream so far."""
        return self._sink.getvalue()


@lru_cache(maxsize=1)
def _pickler_class() -> Any:
    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def __init__(
            self, file: io.BytesIO, ns: Namespace, by_name: Mapping[int, str], data: Collection[str]
        ) -> None:
            super().__init__(file, protocol=5)
            self.ns, self.by_name, self.data = ns, by_name, data
            self.references: dict[str, None] = {}
            # Cells are numbered, and kept so that no other takes an id: a function must exist before
            # what its cells hold is stored, for that may be the function.
            self.cells: dict[int, tuple[int, types.CellType]] = {}

        def reducer_override(self, obj: Any) -> Any:
            name = self.by_name.get(id(obj))
            if name is None and (is_notebook_class(obj, self.ns) or is_notebook_function(obj, self.ns)):
                name = named(obj, self.ns)
                name = None if name is None or name.partition(".")[0] in self.data else name
            if name is not None:
                self.references[name.partition(".")[0]] = None
                return _by_name, (name,)
            if is_notebook_function(obj, self.ns):
                numbers = [
                    self.cells.setdefault(id(c), (len(self.cells), c))[0] for c in obj.__closure__ or ()
                ]
                return (
                    _new_function,
                    (obj.__code__, tuple(numbers)),
                    _state(obj, numbers),
                    None,
                    None,
                    _fill_function,
                )
            return super().reducer_override(obj)

    return Pickler


def _state(function: types.FunctionType, numbers: list[int]) -> dict[str, Any]:
    contents = {}
    for number, cell in zip(numbers, function.__closure__ or (), strict=True):
        try:
            contents[number] = cell.cell_contents
        except ValueError:  # not filled yet
            continue
    names = (
        "__defaults__",
        "__kwdefaults__",
        "__annotations__",
        "__name__",
        "__qualname__",
        "__module__",
        "__doc__",
    )
    return {"cells": contents, "dict": function.__dict__, **{name: getattr(function, name) for name in names}}


class _MissingType(type):
    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if _loading.get(None) is None:
            raise _missing_error(cls)
        return super().__call__(*args, **kwargs)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise _missing_error(cls)


def _missing_error(cls: type) -> DurableError:
    name, why = cls.__dict__["_name"], cls.__dict__["_why"]
    return DurableError(
        f"{name} could not be restored: {why}", hint=f"bind {name} again, then run this cell again"
    )


class Missing(metaclass=_MissingType):
    """Stands, inside restored data, for something that could not be restored; raises when it is used."""

    _name, _why = "", ""

    def __new__(cls: Any, *args: Any, **kwargs: Any) -> Any:
        """Rebuilding never fails; using what was rebuilt does."""
        return object.__new__(cls)

    def __setstate__(self, state: Any) -> None: ...

    def __setitem__(self, key: Any, value: Any) -> None:
        if _loading.get(None) is None:
            raise _missing_error(type(self))

    def append(self, value: Any) -> None:
        """Accept an element while the data around it is rebuilt."""
        self[None] = value

    def extend(self, values: Any) -> None:
        """Accept elements while the data around them is rebuilt."""
        self[None] = values

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise _missing_error(type(self))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Raise, saying what is missing."""
        raise _missing_error(type(self))

    def __repr__(self) -> str:
        return f"<missing {type(self)._name}: {type(self)._why}>"


def missing(name: str, why: str) -> Any:
    """A placeholder class for `name`."""
    return _MissingType("Missing", (Missing,), {"_name": name, "_why": why})


def is_missing(value: object) -> bool:
    """Whether `value` is a placeholder."""
    return isinstance(value, _MissingType | Missing)


class _Loading:
    def __init__(self, ns: MutableMapping[str, Any], absent: Mapping[str, str]) -> None:
        self.ns, self.absent = ns, absent
        self.cells: dict[int, types.CellType] = {}


_loading: ContextVar[_Loading] = ContextVar("_loading")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return super().find_class(module, name)
        except (ImportError, AttributeError) as error:
            return missing(f"{module}.{name}", f"{type(error).__name__}: {error}")


class Reader:
    """Reads the records of a stream, in the order they were written, into the namespace `ns`.

    `absent` says, by name, why something referred to by name is not there; it may grow between reads.
    Loading a pickle executes code: `blob` must come from a journal whose chain has been verified.
    """

    def __init__(self, blob: bytes, ns: MutableMapping[str, Any], absent: Mapping[str, str]) -> None:
        self._unpickler = _Unpickler(io.BytesIO(blob))
        self._loading = _Loading(ns, absent)

    def read(self) -> Any:
        """The next value. Raises what rebuilding it raises; nothing can be read after that."""
        token = _loading.set(self._loading)
        try:
            return _loads(self._unpickler)
        finally:
            _loading.reset(token)


def _loads(unpickler: pickle.Unpickler) -> Any:
    return unpickler.load()


def _by_name(name: str) -> Any:
    loading = _loading.get()
    root, *rest = name.split(".")
    if root not in loading.ns:
        return missing(name, loading.absent.get(root, "nothing binds it"))
    found = loading.ns[root]
    for part in rest:
        found = getattr(found, part)
    return found


def _new_function(code: types.CodeType, cells: tuple[int, ...]) -> types.FunctionType:
    loading = _loading.get()
    closure = tuple(loading.cells.setdefault(number, types.CellType()) for number in cells)
    # A namespace is a plain dict wherever code runs in it: types.FunctionType accepts nothing else.
    return types.FunctionType(code, loading.ns, code.co_name, None, closure)  # type: ignore[arg-type]


def _fill_function(function: types.FunctionType, state: dict[str, Any]) -> None:
    cells = _loading.get().cells
    for number, value in state.pop("cells").items():
        cells[number].cell_contents = value
    function.__dict__.update(state.pop("dict"))
    for name, value in state.items():
        setattr(function, name, value)
