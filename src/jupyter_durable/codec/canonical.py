"""One digest for equal values: how a call is recognised when its cell runs again.

The digest is a keyed BLAKE2b over a canonical text. What makes two values the same:

| value | same when |
|---|---|
| `None`, `bool`, `int`, `str` | same type and value: `1`, `1.0`, `True` and `"1"` are four values |
| `float` | same digits; `0.0` and `-0.0` differ (they divide differently), every nan is the same nan |
| `bytes`, `bytearray`, `memoryview` | same type and content |
| `dict`, `Counter`, `defaultdict`, dict subclasses | same type, keys and values, in any order; keys distinguished like values |
| `list`, `tuple`, `deque`, `OrderedDict` | same type and items in order: a list is not a tuple |
| `set`, `frozenset` | same type and elements |
| dates, `Decimal`, `UUID`, paths, patterns, ranges | same type and parts: `Decimal("1.0")` is not `Decimal("1.00")`, 12:00 UTC is not 14:00+02:00 |
| `Enum` | same class and member |
| dataclass | same class and fields (those with `compare=False` left out, as `==` leaves them out) |
| pydantic model | same class, fields and extras |
| secrets | same content (the digest is keyed) |
| exception | same class and args |
| numpy array, scalar | same dtype, shape and elements, however they lie in memory |
| pandas, polars | same class, labels, dtypes and values |
| class, function | same module and qualified name; a lambda or an inner function: the same code, defaults and captured values |
| `partial`, bound method | same function and arguments; same method of the same object |
| another object | same class and state, if its class compares by value (defines `__eq__`) |
| everything else | left out: only the type counts |

What is left out (a client, a lock, a generator, any object compared by identity) has no canonical
form: an `id` or an address differs in every process. It is listed in `Digest.omitted`, so that it
can be shown. Cyclic values are fine. Nothing raises: what fails while it is looked at is left out.
"""

from __future__ import annotations

import functools
import hashlib
import sys
import types
from collections import Counter, OrderedDict, defaultdict
from dataclasses import fields
from enum import Enum
from typing import Any, NamedTuple

from jupyter_durable.codec.plain import ATOMS, dumps, dumps_sorted, plain


class Digest(NamedTuple):
    """16 bytes, and what of the value they do not cover, like `"client: <OpenAI>"`."""

    value: bytes
    omitted: tuple[str, ...]


class Canonical:
    """Digests under one key (`StoreKey.derive("digest")`).

    >>> canonical = Canonical(b"k" * 32)
    >>> canonical.digest({"a": 1, "b": 2}) == canonical.digest({"b": 2, "a": 1})
    True
    >>> canonical.digest([1, 2]) == canonical.digest((1, 2))
    False
    """

    def __init__(self, key: bytes) -> None:
        self._state = hashlib.blake2b(key=key, digest_size=16, person=b"canonical1")

    def digest(self, value: Any) -> Digest:
        """The digest of any value. Never raises."""
        kind = type(value)
        try:
            if kind in ATOMS or ((kind is dict or kind is list) and plain(value) is not None):
                return Digest(self._hash(dumps_sorted(value)), ())
        except (ValueError, RecursionError):
            pass
        walk = _Walk()
        return Digest(self._hash(walk.text(value)), tuple(walk.omitted))

    def digest_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Digest:
        """The digest of a call's arguments, as passed: `f(1)` and `f(x=1)` differ."""
        call = [list(args), kwargs]
        try:
            if plain(call) is not None:
                return Digest(self._hash(dumps_sorted(call)), ())
        except (ValueError, RecursionError):
            pass
        walk = _Walk()
        positional = [walk.at(f"args[{n}]", arg) for n, arg in enumerate(args)]
        named = [f"{dumps(name)}:{walk.at(name, kwargs[name])}" for name in sorted(kwargs)]
        return Digest(self._hash(f"[[{','.join(positional)}],{{{','.join(named)}}}]"), tuple(walk.omitted))

    def identify(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, str | None, bool]:
        """`digest_call` in hex; the call's JSON text if it is JSON; whether no argument can ever change.

        >>> Canonical(b"k" * 32).identify((1, "a"), {})[1:]
        ('[[1,"a"],{}]', True)
        """
        fixed = ATOMS.issuperset(map(type, args)) and (
            not kwargs or ATOMS.issuperset(map(type, kwargs.values()))
        )
        try:
            if fixed or plain([list(args), kwargs]) is not None:
                text = dumps_sorted((args, kwargs))
                return self._hash(text).hex(), text, fixed
        except (ValueError, RecursionError):
            pass
        return self.digest_call(args, kwargs).value.hex(), None, fixed

    def _hash(self, text: str) -> bytes:
        state = self._state.copy()
        state.update(text.encode("utf-8", "surrogatepass"))
        return state.digest()


def canonical_text(value: Any) -> str:
    """The text that is digested; equal texts are equal values."""
    return _Walk().text(value)


def _type_name(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _content(data: Any) -> str:
    view = memoryview(data)
    return f"{view.nbytes}#{hashlib.blake2b(view, digest_size=16).hexdigest()}"


class _Walk:
    """Writes the text of one value."""

    def __init__(self) -> None:
        self.omitted: list[str] = []
        self._path: list[str] = []
        self._open: list[int] = []

    def at(self, step: str, value: Any) -> str:
        self._path.append(step)
        try:
            return self.text(value)
        finally:
            self._path.pop()

    def text(self, value: Any) -> str:
        kind = type(value)
        if kind in ATOMS:
            try:
                return dumps(value)
            except ValueError:  # more digits than the interpreter writes
                return f"<int {value:x}>"
        key = id(value)
        if key in self._open:  # by how far up it leads back: the same in every process
            return f"<cycle {len(self._open) - self._open.index(key)}>"
        self._open.append(key)
        omitted = len(self.omitted)
        try:
            return self._structure(kind, value)
        except Exception:  # noqa: BLE001 - a property or __eq__ of the user's may raise anything
            del self.omitted[omitted:]
            return self._omit(kind)
        finally:
            self._open.pop()

    def _structure(self, kind: type, value: Any) -> str:
        if kind is dict:
            return self._dict(value)
        if kind is list:
            return f"[{self._items(value)}]"
        if kind is tuple:
            return f"({self._items(value)})"
        if kind is set or kind is frozenset:
            return f"<{kind.__name__} {','.join(sorted(map(self.text, value)))}>"
        if isinstance(value, set | frozenset):
            return f"<{_type_name(kind)} {','.join(sorted(map(self.text, value)))} {self.text(vars(value))}>"
        if kind is bytes or kind is bytearray:
            return f"<{kind.__name__} {_content(value)}>"
        if isinstance(value, dict) and not isinstance(value, OrderedDict):
            factory = self.text(value.default_factory) if isinstance(value, defaultdict) else ""
            state = self.text(vars(value)) if kind not in (defaultdict, Counter) and vars(value) else ""
            return f"<{_type_name(kind)} {factory}{self._dict(value)}{state}>"
        if isinstance(value, type):
            return f"<type {_type_name(value)}>"
        if isinstance(value, Enum):
            return f"<{_type_name(kind)} {value.name} {'' if value.name else self.text(value.value)}>"
        if isinstance(value, BaseException):
            return f"<{_type_name(kind)} {self._items(value.args)}>"
        fields_of = kind.__dict__.get("__dataclass_fields__")
        if fields_of is not None:
            named = {
                f.name: getattr(value, f.name) for f in fields(value) if f.compare and hasattr(value, f.name)
            }
            return f"<{_type_name(kind)} {self._attributes(named)}>"
        return self._callable(value) or self._library(kind, value) or self._object(kind, value)

    def _items(self, values: Any) -> str:
        return ",".join([self.at(f"[{n}]", value) for n, value in enumerate(values)])

    def _dict(self, value: dict[Any, Any]) -> str:
        if all(type(key) is str for key in value):
            top = not self._path
            return (
                "{"
                + ",".join(
                    [
                        f"{dumps(key)}:{self.at(key if top else f'[{key!r}]', value[key])}"
                        for key in sorted(value)
                    ]
                )
                + "}"
            )
        pairs = [f"{self.text(key)}:{self.at(f'[{_label(key)}]', item)}" for key, item in value.items()]
        return "{" + ",".join(sorted(pairs)) + "}"

    def _attributes(self, named: dict[str, Any]) -> str:
        return ",".join([f"{dumps(name)}:{self.at('.' + name, named[name])}" for name in sorted(named)])

    def _omit(self, kind: type) -> str:
        path = "".join(self._path).lstrip(".") or "value"
        self.omitted.append(f"{path}: <{kind.__name__}>")
        return f"<omitted {kind.__name__}>"

    def _callable(self, value: Any) -> str | None:
        if isinstance(value, types.FunctionType):
            if "<" not in value.__qualname__:
                return f"<function {value.__module__}:{value.__qualname__}>"
            cells = [_cell(cell) for cell in value.__closure__ or ()]
            rest = [value.__defaults__, value.__kwdefaults__, cells]
            return f"<function {value.__qualname__} {self._code(value.__code__)} {self._items(rest)}>"
        if isinstance(value, types.MethodType):
            return f"<method {value.__func__.__qualname__} {self.text(value.__self__)}>"
        if isinstance(value, functools.partial):
            return f"<partial {self._items([value.func, value.args, value.keywords])}>"
        if isinstance(value, types.BuiltinFunctionType | types.MethodWrapperType):
            owner = value.__self__
            bound = "" if owner is None or isinstance(owner, types.ModuleType) else self.text(owner)
            return f"<function {getattr(value, '__module__', '')}:{value.__qualname__} {bound}>"
        if isinstance(value, types.ModuleType):
            return f"<module {value.__name__}>"
        return None

    def _code(self, code: types.CodeType) -> str:
        constants = [
            self._code(const) if isinstance(const, types.CodeType) else self.text(const)
            for const in code.co_consts
        ]
        names = [code.co_names, code.co_varnames, code.co_freevars, code.co_flags]
        return f"<code {code.co_code.hex()} {','.join(constants)} {self._items(names)}>"

    def _library(self, kind: type, value: Any) -> str | None:
        root = kind.__module__.partition(".")[0]
        numpy = sys.modules.get("numpy")
        if numpy is not None and isinstance(value, numpy.ndarray):
            if value.dtype.hasobject or value.dtype.kind == "T":
                return (
                    f"<{_type_name(kind)} {value.dtype} {value.shape} {self._items(value.ravel().tolist())}>"
                )
            data = numpy.ascontiguousarray(value)
            content = _content(data.reshape(-1).view(numpy.uint8)) if data.size and data.itemsize else "0"
            return f"<{_type_name(kind)} {self.text(value.dtype.descr)} {value.shape} {content}>"
        if numpy is not None and isinstance(value, numpy.generic):
            return f"<{_type_name(kind)} {value.dtype.str} {value.tobytes().hex()}>"
        if root == "pandas" and kind.__name__ in ("DataFrame", "Series"):
            frame = value if kind.__name__ == "DataFrame" else value.to_frame()
            columns = [[str(frame.dtypes.iloc[n]), _column(frame.iloc[:, n])] for n in range(frame.shape[1])]
            axes = [[str(a.dtype), list(a.names), a.tolist()] for a in (frame.index, frame.columns)]
            return f"<{_type_name(kind)} {self.text(axes)} {self.text(columns)}>"
        if root == "polars" and kind.__name__ in ("DataFrame", "Series"):
            series = value.get_columns() if kind.__name__ == "DataFrame" else [value]
            return f"<{_type_name(kind)} {self.text([[s.name, str(s.dtype), s.to_list()] for s in series])}>"
        if hasattr(kind, "__pydantic_fields__") and hasattr(value, "__pydantic_extra__"):
            return f"<{_type_name(kind)} {self._attributes({**value.__dict__, **(value.__pydantic_extra__ or {})})}>"
        return None

    def _object(self, kind: type, value: Any) -> str:
        # Imported here: a plain call needs none of it.
        from jupyter_durable.codec.kinds import Omitted, Plain, Raw, kind_of
        from jupyter_durable.codec.objects import is_value

        if kind is Omitted:  # so that stored arguments have the digest of the live ones
            return f"<omitted {value.type}>"
        found = kind_of(kind)
        if found is None or found.tag == "obj":
            if not is_value(kind):
                return self._omit(kind)
            reduced = value.__reduce_ex__(4)
            parts = (
                [part if n < 3 or part is None else list(part) for n, part in enumerate(reduced)]
                if isinstance(reduced, tuple)
                else reduced
            )
            return f"<{_type_name(kind)} {self.text(parts)}>"
        parts = found.split(value)
        if parts is None:
            return self._omit(kind)
        if isinstance(parts, Raw):
            return f"<{_type_name(kind)} {_content(parts.buffer)}>"
        if isinstance(parts, dict):
            parts = {key: part.items if isinstance(part, Plain) else part for key, part in parts.items()}
        return f"<{_type_name(kind)} {self.text(parts)}>"


def _column(series: Any) -> Any:
    values = series.to_numpy()
    return series.tolist() if values.dtype == object else values


def _cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not bound yet
        return None


def _label(key: Any) -> str:
    try:
        return repr(key)[:40]
    except Exception:  # noqa: BLE001 - a repr may raise anything
        return f"<{type(key).__name__}>"
