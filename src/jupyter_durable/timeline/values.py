"""One value in full, as a `Detail` that a front end can draw without trusting it: text, a table, a picture.

Large ones come in pages. Everything is text by then, with secrets masked *before* it is cut: half a secret
would not be known as one.
"""

from __future__ import annotations

import base64
import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jupyter_durable.codec.display import show
from jupyter_durable.codec.kinds import Omitted
from jupyter_durable.codec.reader import Hidden
from jupyter_durable.codec.redaction import HIDDEN, mask, masked
from jupyter_durable.codec.shapes import is_secret
from jupyter_durable.timeline.inert import Failure, Named, Shown
from jupyter_durable.timeline.rows import Detail

TEXT = 16_000
"""Characters of a page of text."""
ROWS = 100
"""Rows of a page of a table."""

_MOST = 4_000_000  # characters of one value that are looked at
_IMAGE = 4_000_000  # bytes
_COLUMNS = 50
_DEPTH = 12
_IMAGES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"RIFF": "image/webp",
}
_MARKDOWN = re.compile(r"(?m)^(#{1,6} \S|[-*] \S|\d+\. \S|```|> \S|\|.+\|$)|\*\*\S|`\S|\]\(https?:")


def detail(value: Any, offset: int = 0) -> Detail:
    """`value` from `offset` on: a character of a text, a row of a table.

    >>> detail({"a": [1, "x"]})["text"]
    '{\\n  "a": [\\n    1,\\n    "x"\\n  ]\\n}'
    """
    kind = _kind(value)
    if isinstance(value, bytes | bytearray) and len(value) <= _IMAGE:
        for start, mime in _IMAGES.items():
            if value[: len(start)] == start and (mime != "image/webp" or value[8:12] == b"WEBP"):
                data = base64.b64encode(value).decode()
                return {
                    "form": "image",
                    "type": kind,
                    "size": len(value),
                    "offset": 0,
                    "mime": mime,
                    "data": data,
                }
    if (shown := _picture(value)) is not None:
        return shown
    if (table := _table(value)) is not None:
        columns, count, rows = table
        return _rows("table", kind, columns, count, rows, offset)
    text = masked(_text(value)) if not isinstance(value, str) else mask(value[:_MOST])
    found = page(text, kind, offset)
    if isinstance(value, str) and _MARKDOWN.search(text[:TEXT]):
        found["markdown"] = True
    return found


def page(text: str, kind: str, offset: int = 0) -> Detail:
    """A page of a text that is masked already."""
    offset = max(0, min(offset, len(text)))
    part = text[offset : offset + TEXT]
    found: Detail = {"form": "text", "type": kind, "size": len(text), "offset": offset, "text": part}
    if offset + len(part) < len(text):
        found["next"] = offset + len(part)
    return found


def nothing(why: str = "") -> Detail:
    """There is no value; `why` says why not."""
    return {"form": "none", "type": why, "size": 0, "offset": 0}


def conversation(messages: Sequence[tuple[str, str]], offset: int = 0) -> Detail:
    """Messages of a model call, masked already."""
    rows = ([role, text[:TEXT] + ("…" if len(text) > TEXT else "")] for role, text in messages[offset:])
    return _rows("messages", "messages", [], len(messages), rows, offset)


def _rows(
    form: Any, kind: str, columns: list[str], count: int, rows: Iterator[list[str]], offset: int
) -> Detail:
    offset = max(0, min(offset, count))
    taken: list[list[str]] = []
    room = 8 * TEXT
    for row in rows if form == "messages" else _skip(rows, offset):
        taken.append(row)
        room -= sum(map(len, row))
        if len(taken) == ROWS or room < 0:
            break
    found: Detail = {"form": form, "type": kind, "size": count, "offset": offset, "rows": taken}
    if columns:
        found["columns"] = columns
    if offset + len(taken) < count:
        found["next"] = offset + len(taken)
    return found


def _skip(rows: Iterator[list[str]], count: int) -> Iterator[list[str]]:
    for n, row in enumerate(rows):
        if n >= count:
            yield row


# -- what it is ------------------------------------------------------------------------------------


def _kind(value: Any) -> str:
    if isinstance(value, Shown):
        return value.name
    shape = getattr(value, "shape", None)
    size = f" {' × '.join(map(str, shape))}" if isinstance(shape, tuple) and shape else ""
    if not size and hasattr(value, "__len__") and not isinstance(value, Shown):
        size = f" {len(value):,}"
    return f"{type(value).__name__}{size}"


def _picture(value: Any) -> Detail | None:
    """A MIME bundle, or a base64 image as MCP and model APIs give them."""
    if not isinstance(value, Mapping):
        return None
    mime, data = value.get("mimeType") or value.get("media_type"), value.get("data")
    if not isinstance(mime, str):
        mime = next((m for m in _IMAGES.values() if isinstance(value.get(m), str)), None)
        data = value.get(mime) if mime else None
    if mime is None or mime not in _IMAGES.values() or not isinstance(data, str) or len(data) > 2 * _IMAGE:
        return None
    if not re.fullmatch(r"[A-Za-z0-9+/\s]+=*\s*", data):
        return None
    return {
        "form": "image",
        "type": mime,
        "size": len(data),
        "offset": 0,
        "mime": mime,
        "data": "".join(data.split()),
    }


def _table(value: Any) -> tuple[list[str], int, Iterator[list[str]]] | None:
    """Column names, number of rows, and the rows as text; None: not one."""
    root = type(value).__module__.partition(".")[0]
    if root in ("pandas", "polars") and hasattr(value, "columns") and hasattr(value, "shape"):
        names = [_cell(name) for name in list(value.columns)[:_COLUMNS]]
        pandas = root == "pandas"
        rows = value.iloc[:, :_COLUMNS].itertuples(index=True) if pandas else value.iter_rows()
        return (
            ([_cell(getattr(value.index, "name", None) or "")] if pandas else []) + names,
            value.shape[0],
            ([_cell(cell) for cell in row[: _COLUMNS + pandas]] for row in rows),
        )
    if root == "numpy" and getattr(value, "ndim", 0) == 2:
        columns = [str(n) for n in range(min(value.shape[1], _COLUMNS))]
        return columns, value.shape[0], ([_cell(cell) for cell in row[:_COLUMNS].tolist()] for row in value)
    if root == "numpy" and getattr(value, "ndim", 0) == 1:
        return ["value"], value.shape[0], ([_cell(cell)] for cell in value.tolist())
    if isinstance(value, list) and len(value) >= 2 and all(type(row) is dict for row in value):
        keys = list(dict.fromkeys(key for row in value[:ROWS] for key in row))[:_COLUMNS]
        flat = all(not isinstance(cell, dict | list | Shown) for row in value[:ROWS] for cell in row.values())
        if keys and flat and all(isinstance(key, str) for key in keys):
            cells = (
                [HIDDEN if is_secret(k, row.get(k)) else _cell(row.get(k, "")) for k in keys] for row in value
            )
            return [mask(key) for key in keys], len(value), cells
    return None


def _cell(value: Any) -> str:
    return mask(value[:2000])[:500] if isinstance(value, str) else show(value, 500)


# -- as text ---------------------------------------------------------------------------------------


def _text(value: Any) -> str:
    if isinstance(value, Failure):
        return traceback(value)
    if isinstance(value, bytes | bytearray):
        data = bytes(value[: _MOST // 4])
        try:
            return data.decode()
        except UnicodeDecodeError:
            return "\n".join(
                f"{at:08x}  {data[at : at + 16].hex(' ')}" for at in range(0, min(len(data), 64_000), 16)
            )
    try:
        return json.dumps(
            _plain(value, 0), indent=2, ensure_ascii=False, default=lambda rest: _Bare(rest).text
        )[:_MOST]
    except (ValueError, TypeError, RecursionError):
        return show(value, TEXT)


class _Bare:
    def __init__(self, value: Any) -> None:
        self.text = show(value, 2000)


def plain(value: Any) -> Any:
    """`value` as JSON data, secrets masked; what JSON cannot say as text."""
    return masked(_plain(value, 0))


def _plain(value: Any, depth: int) -> Any:
    """What JSON can say of it; instances as objects with their class's name first."""
    if depth > _DEPTH:
        return "…"
    if isinstance(value, Shown) and not isinstance(value, Failure):
        head: dict[str, Any] = {"": value.name}
        if value.items:
            head["items"] = [_plain(item, depth + 1) for item in value.items]
        return head | {key: _guarded(key, item, depth) for key, item in value.fields.items()}
    if isinstance(value, Mapping):
        return {_key(key): _guarded(key, item, depth) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, str):
        return mask(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else repr(value)
    if isinstance(value, Hidden | Named | Omitted):
        return repr(value)
    return show(value, 2000)


def _key(key: Any) -> str:
    return mask(key) if isinstance(key, str) else show(key, 80)


def _guarded(key: Any, value: Any, depth: int) -> Any:
    return HIDDEN if isinstance(value, str | bytes) and is_secret(key, value) else _plain(value, depth + 1)


def traceback(failure: Failure, depth: int = 0) -> str:
    """An exception as Python prints it, from what was recorded of it."""
    lines: list[str] = []
    cause = failure.cause
    if isinstance(cause, Failure) and depth < 10:
        lines += [traceback(cause, depth + 1), "", "which led to:", ""]
    if failure.frames:
        lines.append("Traceback (most recent call last):")
        for file, name, number, line in failure.frames:
            lines.append(f'  File "{file}", line {number}, in {name}')
            if line:
                lines.append(f"    {line}")
    lines.append(repr(failure))
    lines += [
        textwrap.indent(traceback(part, depth + 1), "  | ")
        for part in failure.members
        if isinstance(part, Failure)
    ]
    return mask("\n".join(lines))
