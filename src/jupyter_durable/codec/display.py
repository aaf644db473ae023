"""Values as one line for people: shortened, secrets hidden, never an error."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from jupyter_durable.codec.redaction import HIDDEN, Concealed, mask
from jupyter_durable.codec.shapes import is_secret

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_AHEAD = 4096  # characters looked at beyond where a text is cut: half a secret is none any more


class _Full(Exception):  # noqa: N818 - internal control flow
    pass


class _Line:
    """Collects text up to a limit."""

    def __init__(self, limit: int) -> None:
        self.parts: list[str] = []
        self._left = limit
        self._depth = 0

    def add(self, text: str) -> None:
        self.parts.append(text)
        self._left -= len(text)
        if self._left < 0:
            raise _Full

    def value(self, value: Any) -> None:
        self._depth += 1
        try:
            if self._depth > 8:
                self.add("…")
            else:
                self._value(value)
        finally:
            self._depth -= 1

    def _value(self, value: Any) -> None:
        kind = type(value)
        if kind is str:
            self.add(_quoted(value, max(self._left, 8)))
        elif kind is int and value.bit_length() > 1000:
            self.add(f"<int of {value.bit_length()} bits>")
        elif value is None or kind in (int, float, bool, complex):
            self.add(repr(value))
        elif kind in (bytes, bytearray):
            self.add(mask(repr(value)) if len(value) <= 40 else f"<{len(value):,} bytes>")
        elif kind is dict:
            self.several("{", value.items(), "}", lambda pair: self._entry(pair))
        elif kind in (list, tuple, set, frozenset):
            left, right = "[]" if kind is list else "()" if kind is tuple else "{}"
            self.several(left, value, ",)" if kind is tuple and len(value) == 1 else right, self.value)
        elif kind is Concealed:
            self.add(HIDDEN)
        elif isinstance(value, enum.Enum):
            self.add(f"{kind.__name__}.{value.name}")
        elif isinstance(value, BaseException):
            self.several(f"{kind.__name__}(", value.args, ")", self.value)
        elif isinstance(value, type):
            self.add(value.__qualname__)
        elif hasattr(kind, "get_secret_value"):
            self.add(f"{kind.__name__}({HIDDEN})")
        elif (hasattr(kind, "shape") and hasattr(kind, "dtype")) or hasattr(kind, "dtypes"):
            self.add(_table(value))
        else:
            fields = _fields(value)
            if fields is None:
                self.add(_repr(value))
            else:
                self.several(f"{kind.__name__}(", fields, ")", self._keyword)

    def several(self, left: str, items: Iterable[Any], right: str, write: Callable[[Any], None]) -> None:
        self.add(left)
        for n, item in enumerate(items):
            if n:
                self.add(", ")
            write(item)
        self.add(right)

    def _entry(self, pair: tuple[Any, Any]) -> None:
        key, value = pair
        self.value(key)
        self.add(": ")
        self._guarded(key, value)

    def _keyword(self, pair: tuple[str, Any]) -> None:
        self.add(f"{pair[0]}=")
        self._guarded(*pair)

    def _guarded(self, name: Any, value: Any) -> None:
        if isinstance(value, str | bytes) and is_secret(name, value):
            self.add(HIDDEN)
        else:
            self.value(value)

    def call(self, name: str, args: Iterable[Any], kwargs: dict[str, Any]) -> None:
        self.add(f"{name}(")
        first = True
        for arg in args:
            self.add("" if first else ", ")
            self.value(arg)
            first = False
        for pair in kwargs.items():
            self.add("" if first else ", ")
            self._keyword(pair)
            first = False
        self.add(")")


def _quoted(text: str, room: int) -> str:
    whole = len(text) <= room
    text = mask(text[: room + _AHEAD])
    cut = repr(text[:room])
    return cut if whole else f"{cut[:-1]}…{cut[-1]}"


def _table(value: Any) -> str:
    name = type(value).__name__
    shape = getattr(value, "shape", None)
    if shape == () and not hasattr(value, "columns"):
        return f"{name}({value!r})" if name == "ndarray" else repr(value)
    size = " × ".join(str(n) for n in shape or ())
    dtype = getattr(value, "dtype", None)
    return f"{name}({size}{f' {dtype}' if dtype is not None else ''})"


def _fields(value: Any) -> Iterator[tuple[str, Any]] | None:
    kind = type(value)
    if hasattr(kind, "__pydantic_fields__") or hasattr(kind, "__dataclass_fields__"):
        names = getattr(kind, "__pydantic_fields__", None) or kind.__dataclass_fields__
        return (
            (name, getattr(value, name))
            for name, field in names.items()
            if getattr(field, "repr", True) and hasattr(value, name)
        )
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return zip(kind._fields, value, strict=False)
    return None


def _repr(value: Any) -> str:
    kind = type(value)
    if kind.__repr__ == object.__repr__:  # type: ignore[comparison-overlap]
        return f"<{kind.__name__}>"
    return mask(" ".join(_ADDRESS.sub("", repr(value)).split()))


def _finish(line: _Line, limit: int, write: Callable[[], None]) -> str:
    try:
        write()
        text = "".join(line.parts)
    except _Full:
        text = "".join(line.parts)
    except Exception as error:  # noqa: BLE001 - a property or repr of the user's may raise anything
        text = "".join(line.parts) + f"<{type(error).__name__} while shown>"
    text = mask(text)
    return text if len(text) <= limit else text[: max(limit - 1, 0)] + "…"


def show(value: Any, limit: int = 200) -> str:
    """`value` on one line of at most `limit` characters. Never raises.

    >>> show({"q": "durable", "api_key": "abc"})
    "{'q': 'durable', 'api_key': •••}"
    """
    line = _Line(limit)
    return _finish(line, limit, lambda: line.value(value))


def show_call(name: str, args: Iterable[Any], kwargs: dict[str, Any], limit: int = 200) -> str:
    """A call on one line.

    >>> show_call("fetch", (), {"url": "https://example.org", "n": 3})
    "fetch(url='https://example.org', n=3)"
    """
    line = _Line(limit)
    return _finish(line, limit, lambda: line.call(name, args, kwargs))


def difference(recorded: Any, current: Any) -> str:
    """Where two argument structures differ first, and how; empty if they are the same call.

    >>> difference({"q": "a", "n": 1}, {"q": "b", "n": 1})
    "q: 'a' recorded, 'b' now"
    """
    return next(iter(differences(recorded, current, 1)), "")


def differences(recorded: Any, current: Any, most: int = 5) -> list[str]:
    """All places where they do, but no more than `most`; what is said of the rest is how many there are.

    >>> differences({"messages": [{"role": "user", "content": "a"}], "n": 1}, {"messages": [{"role": "user", "content": "b"}]})
    ["messages[0].content: 'a' recorded, 'b' now", 'n: 1 recorded, nothing now']
    """
    try:
        found = _differ(recorded, current, "", 0)
        lines = [
            f"{path.lstrip('.') or 'value'}: {was} recorded, {now} now"
            for path, was, now in islice(found, most)
        ]
        more = sum(1 for _ in found) if len(lines) == most > 1 else 0
    except Exception:  # noqa: BLE001 - this only explains an error that is being raised
        return []
    return [*lines, f"and {more} more"] if more else lines


_Found = tuple[str, str, str]


def _differ(a: Any, b: Any, path: str, depth: int) -> Iterator[_Found]:
    from jupyter_durable.codec.canonical import canonical_text

    if type(a) is type(b) is Concealed:
        if canonical_text(a.value) != canonical_text(b.value):
            yield path, HIDDEN, f"another {HIDDEN}"
        return
    if a is b or canonical_text(a) == canonical_text(b):
        return
    if type(a) is type(b) and depth < 30:
        inside: Iterator[_Found] = iter(())
        if isinstance(a, dict):
            inside = _differ_dicts(a, b, path, depth)
        elif isinstance(a, list | tuple):
            inside = _differ_items(a, b, path, depth)
        else:
            mine, its = _fields(a), _fields(b)
            if mine is not None and its is not None:
                inside = _differ_dicts(dict(mine), dict(its), path, depth)
        first = next(inside, None)
        if first is not None:
            yield first
            yield from inside
            return
    was, now = show(a, 80), show(b, 80)
    if was == now:
        was, now = f"{was} ({type(a).__name__})", f"{now} ({type(b).__name__})"
    if was == now and isinstance(a, str) and isinstance(b, str):
        a, b = mask(a), mask(b)  # before they are cut: half a secret is not known as one any more
        if a == b:
            yield path, show(a, 80), f"another {show(b, 80)}"
            return
        start = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        start = max(start - 20, 0)
        was, now = f"…{show(a[start:], 60)}", f"…{show(b[start:], 60)}"
    yield path, was, now


def _differ_dicts(a: dict[Any, Any], b: dict[Any, Any], path: str, depth: int) -> Iterator[_Found]:
    for key in [*a, *(key for key in b if key not in a)]:
        named = isinstance(key, str) and (not path or key.isidentifier())
        step = f"{path}.{key}" if named else f"{path}[{show(key, 40)}]"
        if key not in a:
            yield step, "nothing", show(b[key], 80)
        elif key not in b:
            yield step, show(a[key], 80), "nothing"
        else:
            hidden = is_secret(key, a[key]) or is_secret(key, b[key])
            for inside in _differ(a[key], b[key], step, depth + 1):
                yield (inside[0], HIDDEN, f"another {HIDDEN}") if hidden else inside


def _differ_items(a: Any, b: Any, path: str, depth: int) -> Iterator[_Found]:
    for n, (mine, its) in enumerate(zip(a, b, strict=False)):
        yield from _differ(mine, its, f"{path}[{n}]", depth + 1)
    if len(a) != len(b):
        yield path, f"{len(a)} items", f"{len(b)} items"
