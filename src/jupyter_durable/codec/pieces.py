"""Secrets in pieces: no event of a stream, no item of a generator has one, and all of them together do."""

from __future__ import annotations

import copy
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from jupyter_durable.codec.redaction import HIDDEN, settled, spans

_MOST = 4_000_000  # characters that are looked at
_DEPTH = 30


def scattered(items: Iterable[Any]) -> bool:
    """Whether the texts that stand at one place of the items, one after the other, hold a secret that no item has whole.

    Of dicts with an `index`, as streams of several answers have it, those with the same belong together.

    >>> scattered([{"delta": "key sk-abc1"}, {"delta": "23def456ghi789"}]), scattered(["a", "sk-abc123def456ghi789"])
    (True, False)
    """
    return any(_crossing(parts) for parts in _places(items).values())


def shown(items: Sequence[Any], *, live: bool = False) -> list[Any]:
    """The items with dots for secrets in pieces. `live`: more may come, so without what may be the beginning of one.

    >>> shown([{"n": 1, "delta": "key sk-abc1"}, {"n": 2, "delta": "23def456ghi789"}])
    [{'n': 1, 'delta': '•••'}, {'n': 2, 'delta': ''}]
    >>> shown(["the key ", "is sk-a"], live=True)
    ['the key ', 'is …']
    """
    found: dict[str, Iterator[str]] = {}
    for path, parts in _places(items).items():
        hidden = parts
        if live:
            hidden = _held(parts)
        for first, last in _crossing(parts):
            hidden = [*hidden[:first], HIDDEN, *[""] * (last - first), *hidden[last + 1 :]]
        found[path] = iter(hidden)
    return [_replaced(item, "", found, 0) for item in items]


def _held(parts: list[str]) -> list[str]:
    """Without what is not settled yet."""
    whole = "".join(parts)
    so_far = settled(whole)
    if so_far == whole:
        return parts
    left = len(so_far) - 1
    held: list[str] = []
    for part in parts:
        held.append(part[:left] if len(part) <= left else f"{part[:left]}…" if left >= 0 else "")
        left = left - len(part) if len(part) <= left else -1
    return held


def _crossing(parts: list[str]) -> list[tuple[int, int]]:
    """The first and the last part of each secret that is in several."""
    if len(parts) < 2:
        return []
    ends = list(accumulate(map(len, parts)))
    found: list[tuple[int, int]] = []
    for start, end in spans("".join(parts)):
        first, last = bisect_right(ends, start), bisect_left(ends, end)
        if last > first:
            found.append((first, last))
    return found


def _places(items: Iterable[Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    room = _MOST
    for item in items:
        room -= _spread(item, "", found, 0)
        if room < 0:
            break
    return found


def _below(value: Any, path: str) -> Iterable[tuple[Any, str, Any]]:
    """What is in a value, and where: (key, path, part)."""
    if isinstance(value, Mapping):
        index = value.get("index")
        path += f"[{index}]" if isinstance(index, int) else ""
        return [(key, f"{path}.{key}", part) for key, part in value.items()]
    return [(n, path, part) for n, part in enumerate(value)]


def _spread(value: Any, path: str, found: dict[str, list[str]], depth: int) -> int:
    """Put the texts in `value` where they belong; how long they are."""
    if isinstance(value, bytes | bytearray):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        found.setdefault(path, []).append(value)
        return len(value)
    value = _fields(value)
    if depth > _DEPTH or not isinstance(value, Mapping | list | tuple):
        return 0
    return sum(_spread(part, where, found, depth + 1) for _, where, part in _below(value, path))


def _replaced(value: Any, path: str, found: dict[str, Iterator[str]], depth: int) -> Any:
    if isinstance(value, bytes | bytearray):
        was = value.decode("utf-8", "replace")
        now = next(found.get(path, iter(())), HIDDEN)
        return value if now == was else now
    if isinstance(value, str):
        return next(found.get(path, iter(())), HIDDEN)  # beyond what was looked at
    inner = _fields(value)
    if depth > _DEPTH or not isinstance(inner, Mapping | list | tuple):
        return value
    parts = {key: _replaced(part, where, found, depth + 1) for key, where, part in _below(inner, path)}
    if inner is not value:
        value = copy.copy(value)
        value.fields = parts
        return value
    return (
        parts
        if isinstance(inner, Mapping)
        else type(inner)(parts.values())
        if type(inner) in (list, tuple)
        else [*parts.values()]
    )


def _fields(value: Any) -> Any:
    """Those of an object that stands for another, so that it can be looked at."""
    fields = getattr(value, "fields", None)
    return fields if isinstance(fields, Mapping) else value
