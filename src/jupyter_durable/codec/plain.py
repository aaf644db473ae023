"""JSON that loses nothing: the hot path.

`plain` says whether a value is made of exact `dict` (with `str` keys), `list`, `str`, `int`, `float`,
`bool` and `None`, with no container in it twice. Such a value survives JSON as Python writes it, so
the C encoder may have it whole; anything else (a tuple, an `IntEnum`, a key that is a number, a list
that occurs twice) would be flattened silently, and goes the typed way instead.

Text is written without escaping non-ASCII and stored as UTF-8 with `surrogatepass`: two lone
surrogates that happen to form a pair would be joined by `\\u` escapes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from json import encoder as _encoder
from typing import Any

ATOMS: frozenset[type] = frozenset({str, int, float, bool, type(None)})
"""The exact types that are JSON by themselves."""


def plain(value: Any, innocent: Callable[[dict[str, Any]], bool] | None = None) -> set[int] | None:
    """The ids of all containers of `value`, an exact dict or list; None if JSON would not keep it as it is.

    `innocent`: None also if it says of one of the dicts that its keys are not.
    """
    todo = [value]
    add = todo.append
    limit = 4096
    for part in todo:  # grows as it goes
        if type(part) is dict:
            if innocent is not None and not innocent(part):
                return None
            for key, item in part.items():
                if type(key) is not str:
                    return None
                kind = type(item)
                if kind is str or kind is int:
                    continue
                if kind is dict or kind is list:
                    add(item)
                elif kind not in ATOMS:
                    return None
        else:
            for item in part:
                kind = type(item)
                if kind is str or kind is int:
                    continue
                if kind is dict or kind is list:
                    add(item)
                elif kind not in ATOMS:
                    return None
        if len(todo) > limit:  # a cycle never ends, and thirty nested pairs of one list are 2**30 lists
            if len(set(map(id, todo))) < len(todo):
                return None
            limit = 4 * len(todo)
    ids = set(map(id, todo))
    return ids if len(ids) == len(todo) else None


def _refuse(value: Any) -> Any:
    raise TypeError(f"{type(value).__name__} is not JSON")


def _writer(*, sort_keys: bool) -> Callable[[Any], str]:
    # json.dumps builds an encoder a call, which costs more than encoding 200 bytes does.
    make = getattr(_encoder, "c_make_encoder", None)
    quote = getattr(_encoder, "c_encode_basestring", None)
    if make is None or quote is None:  # an interpreter without the C accelerator
        return json.JSONEncoder(
            ensure_ascii=False, check_circular=False, separators=(",", ":"), sort_keys=sort_keys
        ).encode
    encode = make(None, _refuse, quote, None, ":", ",", sort_keys, False, True)
    join = "".join

    def write(value: Any) -> str:
        return join(encode(value, 0))

    return write


dumps: Callable[[Any], str] = _writer(sort_keys=False)
"""Compact JSON text. The caller has checked the value; raises `ValueError` for an int with too many digits."""

dumps_sorted: Callable[[Any], str] = _writer(sort_keys=True)
"""The same with the keys of every dict in order: one text for equal values."""

_scan: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]


def loads(body: bytes) -> Any:
    """The value of JSON text as `dumps` wrote it. Raises `ValueError` if it is not."""
    text = body.decode("utf-8", "surrogatepass")
    try:
        return _scan(text, 0)[0]
    except StopIteration:
        raise ValueError("not JSON") from None


def short(value: Any, limit: int = 40) -> str:
    """`value` in a few words, for the path and text of an error. Never raises."""
    try:
        text = " ".join((str(value) if isinstance(value, BaseException) else repr(value)).split())
    except Exception:  # noqa: BLE001 - a repr may raise anything
        text = f"<{type(value).__name__}>"
    return text if len(text) <= limit else text[: limit - 1] + "…"
