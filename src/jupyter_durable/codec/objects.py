"""Instances of classes: enums, dataclasses, named tuples and every class that leaves pickling to `object`.

Such an instance is its class, by name, and its state; making it again runs no `__init__` and calls
nothing that the stored text could choose. Classes that bring a `__reduce__` of their own are pickled.
"""

from __future__ import annotations

import copyreg
import enum
import types
from typing import Any

from jupyter_durable.codec.kinds import Kind, Plain, register


def _split(value: Any) -> Any:
    reduced = value.__reduce_ex__(2)
    if not isinstance(reduced, tuple) or reduced[0] is not copyreg.__newobj__:  # type: ignore[attr-defined]
        return None
    args, state, items, pairs = (*reduced[1:], None, None, None)[:4]
    cls = type(value)
    if args[0] is not cls:
        return None
    parts: dict[str, Any] = {}
    if len(args) > 1:
        parts["a"] = list(args[1:])
    if state is None:
        pass
    elif hasattr(cls, "__setstate__"):
        parts["x"] = state
    else:
        fields, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
        if not isinstance(fields, dict | None) or not isinstance(slots, dict | None):
            return None
        if fields:
            parts["s"] = fields
        if slots:
            parts["z"] = slots
    if items is not None:
        parts["l"] = list(items)
    if pairs is not None:
        parts["d"] = [part for pair in pairs for part in pair]
    risky = "x" in parts or isinstance(
        cls.__new__, types.FunctionType
    )  # theirs to run again: see that it works
    if risky and not same(value, _join(cls, parts)):
        return None
    return {key: part if key == "x" else Plain(part) for key, part in parts.items()}


def _join(cls: type, parts: dict[str, Any]) -> Any:
    value = cls.__new__(cls, *parts.get("a", ()))
    if "x" in parts:
        value.__setstate__(parts["x"])
    if "s" in parts:
        value.__dict__.update(parts["s"])
    for name, slot in parts.get("z", {}).items():
        object.__setattr__(value, name, slot)  # past a frozen dataclass's own
    for item in parts.get("l", ()):
        list.append(value, item)  # past an override: what is stored is what was in it
    pairs = parts.get("d", ())
    for key, item in zip(pairs[::2], pairs[1::2], strict=True):
        dict.__setitem__(value, key, item)
    return value


def _split_enum(value: enum.Enum) -> Any:
    cls = type(value)
    if value.name is not None and cls.__members__.get(value.name) is value:
        return value.name
    return [value.value] if isinstance(value, enum.Flag) and cls(value.value) == value else None


def _join_enum(cls: type[enum.Enum], parts: Any) -> enum.Enum:
    return cls[parts] if isinstance(parts, str) else cls(parts[0])


OBJECT = Kind("obj", _split, _join, typed=True, tracked=True, canonical=False)
DATACLASS = OBJECT._replace(canonical=True)
ENUM = Kind("enum", _split_enum, _join_enum, typed=True)
NAMESPACE = Kind("namespace", lambda v: dict(vars(v)), lambda p: types.SimpleNamespace(**p), tracked=True)
register(OBJECT)
register(ENUM)
register(NAMESPACE, types.SimpleNamespace)


def is_value(cls: type) -> bool:
    """Whether instances are compared by what they hold, and so are data rather than somebody."""
    return "__dataclass_fields__" in cls.__dict__ or not _same_method(cls.__eq__, object.__eq__)


def find(cls: type) -> Kind | None:
    """The kind of values of `cls`."""
    if issubclass(cls, enum.Enum):
        return ENUM
    if cls.__reduce_ex__ is not object.__reduce_ex__ or cls.__reduce__ is not object.__reduce__:
        return None
    if issubclass(cls, type | types.FunctionType | types.BuiltinFunctionType | types.ModuleType):
        return None
    return DATACLASS if is_value(cls) else OBJECT


def _same_method(a: object, b: object) -> bool:
    return a is b


def same(a: Any, b: Any, depth: int = 0) -> bool:
    """Whether `b` came back as `a`: same types and content, as far as can be told.

    Equality is asked first; a class that compares by identity is compared by its state, unless it
    pickles itself: what a response or a stream leaves out of its own pickle, it does without.
    """
    if a is b or depth > 40:
        return True
    cls = type(a)
    if cls is not type(b) and (cls.__module__, cls.__qualname__) != (
        type(b).__module__,
        type(b).__qualname__,
    ):
        return False
    if cls is list or cls is tuple:
        return len(a) == len(b) and all(same(x, y, depth + 1) for x, y in zip(a, b, strict=True))
    if cls is dict:
        return list(a) == list(b) and all(same(a[key], b[key], depth + 1) for key in a)
    try:
        if bool(a == b):
            return True
    except Exception:  # noqa: BLE001 - arrays refuse a truth value, other classes anything
        return True
    if cls is float:
        return bool(a != a and b != b)
    if cls in (str, bytes, int, bool, bytearray, set, frozenset, complex):
        return False
    if _same_method(cls.__eq__, object.__eq__) and not (
        _same_method(cls.__reduce_ex__, object.__reduce_ex__)
        and _same_method(cls.__reduce__, object.__reduce__)
        and _same_method(cls.__getstate__, object.__getstate__)
    ):
        return True
    try:
        mine, its = vars(a), vars(b)
    except TypeError:
        return _same_method(cls.__eq__, object.__eq__)
    return same(mine, its, depth + 1)
