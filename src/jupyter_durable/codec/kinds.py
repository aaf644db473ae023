"""The registry of typed values: how each kind is split into parts and joined again.

A kind has a tag, which stands in the stored text (`{"$": tag, "v": parts}`) and whose `join` never
changes: a kind that must be written differently gets a new tag and keeps the old `join`. Parts (an atom, a
list or a dict) are encoded in turn, so a kind says only what is particular to it. `split` returns None for a value the
kind cannot keep; that value is pickled.

Kinds of numpy, pandas, polars and pydantic live in modules of their own, imported when a value of
theirs is met or stored text names their tag, never before.
"""

from __future__ import annotations

import datetime as dt
import importlib
import ipaddress
import pathlib
import re
import types
import weakref
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo


class Kind(NamedTuple):
    """A typed value. `join` gets the decoded parts, and before them the class if the kind is `typed`.

    `tracked`: the value can change, so occurring twice in one value must stay one object.
    `canonical`: the same parts identify the value, so the digest may use them.
    """

    tag: str
    split: Callable[[Any], Any]
    join: Callable[..., Any]
    typed: bool = False
    tracked: bool = False
    canonical: bool = True


class Raw(NamedTuple):
    """A part that is bytes. `immutable`: nothing can change the buffer; `grows`: appending is likely.

    scan: how to tell whether secrets are in it. "text": it may be text; "packed": texts may be in it,
    without borders, or a letter in four bytes; "": it is numbers; "always": nobody can tell.
    """

    buffer: Any
    immutable: bool = True
    grows: bool = False
    scan: Literal["text", "packed", "", "always"] = "text"


class Plain(NamedTuple):
    """A part that is a list or dict made for the occasion: its identity means nothing to anyone."""

    items: list[Any] | dict[str, Any]


class Lenient(NamedTuple):
    """A part that becomes a placeholder if it cannot be stored, rather than make its owner unstorable."""

    value: Any


class Omitted:
    """Stands for a value that was not stored; `type` names what it was.

    >>> Omitted("Lock")
    <Lock, not stored>
    """

    __slots__ = ("type",)

    def __init__(self, type: str) -> None:  # noqa: A002 - reads as what it is
        self.type = type

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Omitted) and other.type == self.type

    def __hash__(self) -> int:
        return hash(self.type)

    def __repr__(self) -> str:
        return f"<{self.type}, not stored>"


class RawParts:
    """Stored bytes, loaded piece by piece when asked for. `sealed`: there is a secret in them."""

    __slots__ = ("_load", "_pieces", "sealed")

    def __init__(
        self, pieces: Sequence[bytes], load: Callable[[bytes], bytes] | None = None, *, sealed: bool = False
    ) -> None:
        self._pieces = pieces
        self._load = load
        self.sealed = sealed

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces) if self._load is None else map(self._load, self._pieces)

    def join(self) -> bytes:
        """All of it."""
        return b"".join(self)

    def fill(self, view: memoryview) -> None:
        """Copy into `view`, holding one piece at a time. Raises `ValueError` if the size differs."""
        start = 0
        for piece in self:
            view[start : start + len(piece)] = piece
            start += len(piece)
        if start != len(view):
            raise ValueError(f"{start} bytes stored for {len(view)}")


def _sorted(values: Iterable[Any]) -> list[Any]:
    # The order of a set differs between processes; equal sets should be equal bytes.
    items = list(values)
    if all(type(item) in (str, int, float, bytes) for item in items):
        items.sort(key=lambda item: (type(item).__name__, repr(item)))
    return items


def _flat(value: Any) -> list[Any]:
    return [part for pair in value.items() for part in pair]


def _pairs(parts: list[Any]) -> Iterable[tuple[Any, Any]]:
    return zip(parts[::2], parts[1::2], strict=True)


def _zone(value: ZoneInfo) -> str | None:
    return value.key or None


def _moment(value: dt.datetime | dt.time) -> list[Any]:
    return [value.replace(tzinfo=None, fold=0).isoformat(), value.tzinfo, value.fold]


def _timezone(value: dt.timezone) -> list[Any]:
    return list(value.__getinitargs__())  # type: ignore[attr-defined]


def _address(value: Any) -> list[str]:
    return [type(value).__name__, str(value)]


def _path(value: pathlib.PurePath) -> list[str]:
    return [type(value).__name__, str(value)]


def _join_path(parts: list[str]) -> pathlib.PurePath:
    name, text = parts
    try:
        return getattr(pathlib, name)(text)  # type: ignore[no-any-return]
    except NotImplementedError:  # a WindowsPath read on POSIX, or the other way round
        return getattr(pathlib, "Pure" + name)(text)  # type: ignore[no-any-return]


_SIMPLE: list[tuple[type | tuple[type, ...], Kind]] = [
    (complex, Kind("complex", lambda v: [v.real, v.imag], lambda p: complex(*p))),
    (range, Kind("range", lambda v: [v.start, v.stop, v.step], lambda p: range(*p))),
    (slice, Kind("slice", lambda v: [v.start, v.stop, v.step], lambda p: slice(*p))),
    (types.EllipsisType, Kind("ellipsis", lambda v: 0, lambda p: Ellipsis)),
    (types.NotImplementedType, Kind("notimplemented", lambda v: 0, lambda p: NotImplemented)),
    (bytes, Kind("bytes", lambda v: Raw(v, True, True), lambda p: p.join())),
    (
        bytearray,
        Kind("bytearray", lambda v: Raw(v, False, True), lambda p: bytearray(p.join()), tracked=True),
    ),
    (set, Kind("set", _sorted, set, tracked=True)),
    (frozenset, Kind("frozenset", _sorted, frozenset)),
    (
        dt.datetime,
        Kind("datetime", _moment, lambda p: dt.datetime.fromisoformat(p[0]).replace(tzinfo=p[1], fold=p[2])),
    ),
    (dt.date, Kind("date", dt.date.isoformat, dt.date.fromisoformat)),
    (dt.time, Kind("time", _moment, lambda p: dt.time.fromisoformat(p[0]).replace(tzinfo=p[1], fold=p[2]))),
    (
        dt.timedelta,
        Kind("timedelta", lambda v: [v.days, v.seconds, v.microseconds], lambda p: dt.timedelta(*p)),
    ),
    (dt.timezone, Kind("timezone", _timezone, lambda p: dt.timezone(*p))),
    (ZoneInfo, Kind("zoneinfo", _zone, ZoneInfo)),
    (Decimal, Kind("decimal", str, Decimal)),
    (Fraction, Kind("fraction", lambda v: [v.numerator, v.denominator], lambda p: Fraction(*p))),
    (UUID, Kind("uuid", lambda v: v.hex, UUID)),
    (re.Pattern, Kind("pattern", lambda v: [v.pattern, v.flags], lambda p: re.compile(*p))),
    (
        (
            ipaddress.IPv4Address,
            ipaddress.IPv6Address,
            ipaddress.IPv4Network,
            ipaddress.IPv6Network,
            ipaddress.IPv4Interface,
            ipaddress.IPv6Interface,
        ),
        Kind("ip", _address, lambda p: getattr(ipaddress, p[0])(p[1])),
    ),
    (
        (pathlib.PurePosixPath, pathlib.PureWindowsPath, pathlib.PosixPath, pathlib.WindowsPath),
        Kind("path", _path, _join_path),
    ),
    (deque, Kind("deque", lambda v: [v.maxlen, *v], lambda p: deque(p[1:], p[0]), tracked=True)),
    (
        defaultdict,
        Kind(
            "defaultdict",
            lambda v: [v.default_factory, *_flat(v)],
            lambda p: defaultdict(p[0], _pairs(p[1:])),
            tracked=True,
            canonical=False,
        ),
    ),
    (OrderedDict, Kind("ordereddict", _flat, lambda p: OrderedDict(_pairs(p)), tracked=True)),
    (Counter, Kind("counter", _flat, lambda p: Counter(dict(_pairs(p))), tracked=True, canonical=False)),
    (
        types.MappingProxyType,
        Kind("mappingproxy", lambda v: [dict(v)], lambda p: types.MappingProxyType(p[0])),
    ),
    (Omitted, Kind("omitted", lambda v: v.type, Omitted)),
]

BY_TYPE: dict[type, Kind] = {}
BY_TAG: dict[str, Kind] = {}


def register(kind: Kind, *classes: type) -> None:
    """Add a kind; `classes` are met exactly, not their subclasses."""
    BY_TAG[kind.tag] = kind
    for cls in classes:
        BY_TYPE[cls] = kind


for _classes, _kind in _SIMPLE:
    register(_kind, *(_classes if isinstance(_classes, tuple) else (_classes,)))
BIG_INT = Kind("int", hex, lambda p: int(p, 16))  # JSON digits are quadratic, and the interpreter limits them
BY_TAG["int"] = BIG_INT

_PROVIDERS = {"numpy": "arrays", "pandas": "frames", "polars": "frames", "pydantic": "models"}
_TAGS = {
    "nd": "arrays", "ndobj": "arrays", "npscalar": "arrays",
    "pandas": "frames", "pandas.scalar": "frames", "polars": "frames",
    "model": "models", "generic": "models", "secret": "models",
}  # fmt: skip
_found: weakref.WeakKeyDictionary[type, Kind | None] = weakref.WeakKeyDictionary()


def _provider(name: str) -> Any:
    return importlib.import_module(f"jupyter_durable.codec.{name}")


def kind_of(cls: type) -> Kind | None:
    """The kind of values of exactly this class; None if there is no typed way to keep them."""
    kind = BY_TYPE.get(cls)
    if kind is not None:
        return kind
    if cls in _found:
        return _found[cls]
    from jupyter_durable.codec import failures, objects

    for base in cls.__mro__:
        provider = _PROVIDERS.get(base.__module__.partition(".")[0])
        if provider is not None:
            kind = _provider(provider).find(cls)
            if kind is not None:
                break
    else:
        kind = failures.find(cls) or objects.find(cls)
    _found[cls] = kind
    return kind


def kind_tagged(tag: str) -> Kind | None:
    """The kind of this tag; None if this version does not know it."""
    kind = BY_TAG.get(tag)
    if kind is None:
        _provider(_TAGS.get(tag, "objects"))
        _provider("failures")
        kind = BY_TAG.get(tag)
    return kind
