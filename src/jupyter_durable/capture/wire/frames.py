"""A response's bytes as events, fed as they come: decompression, then one of four framings.

Inflater ───── gzip, deflate, br, zstd; what cannot be decompressed yields nothing
SseFrames ──── server-sent events: (event, data)
LineFrames ─── one JSON document a line
EventStream ── AWS event streams: (event type, payload)
Document ───── one JSON document, or a JSON list whose items are events (Gemini without `alt=sse`)
frames ─────── the framing of a content type
"""

from __future__ import annotations

import codecs
import importlib
import json
import zlib
from collections.abc import Callable, Iterable
from typing import Any, Protocol

LIMIT = 1 << 27
"""Bytes of one answer that are looked at; what comes after them is kept all the same, but not understood."""


class Unreadable(Exception):  # noqa: N818 - internal control flow
    """The bytes cannot be understood; the answer is recorded, and its tokens are not known."""


class _Decompressor(Protocol):
    def decompress(self, data: bytes, /) -> bytes: ...


class Inflater:
    """Undoes `content-encoding`, as far as the libraries at hand can."""

    def __init__(self, encoding: str) -> None:
        self._head: bytes | None = None
        self._inner: _Decompressor | None = None
        encoding = encoding.strip().lower()
        if encoding in ("gzip", "x-gzip"):
            self._inner = zlib.decompressobj(31)
        elif encoding == "deflate":
            self._head = b""  # some send it without zlib's two bytes
        elif encoding == "br":
            self._inner = _brotli()
        elif encoding == "zstd":
            self._inner = _zstd()
        elif encoding not in ("", "identity"):
            raise Unreadable(encoding)

    def feed(self, data: bytes) -> bytes:
        """What `data` adds to the plain bytes. Raises `Unreadable`."""
        if self._head is not None:
            data = self._head + data
            if len(data) < 2:
                self._head = data
                return b""
            self._head = None
            zlib_head = data[0] & 15 == 8 and int.from_bytes(data[:2], "big") % 31 == 0
            self._inner = zlib.decompressobj(15 if zlib_head else -15)
        if self._inner is None or not data:
            return data
        try:
            return self._inner.decompress(data)
        except Exception as error:  # noqa: BLE001 - each library has errors of its own
            raise Unreadable(type(error).__name__) from None


def _brotli() -> _Decompressor:
    for name in ("brotli", "brotlicffi"):
        try:
            inner = importlib.import_module(name).Decompressor()
        except ImportError:
            continue
        return _Brotli(inner.process)
    raise Unreadable("br")


class _Brotli:
    """Its libraries have another name for it, and objects that take no other."""

    def __init__(self, process: Callable[[bytes], bytes]) -> None:
        self._process = process

    def decompress(self, data: bytes, /) -> bytes:
        return self._process(data)


def _zstd() -> _Decompressor:
    for module, name in (("compression.zstd", "ZstdDecompressor"), ("zstandard", "ZstdDecompressor")):
        try:
            made = getattr(importlib.import_module(module), name)()
        except (ImportError, AttributeError):
            continue
        found: _Decompressor = made.decompressobj() if hasattr(made, "decompressobj") else made
        return found
    raise Unreadable("zstd")


class Frames(Protocol):
    """Bytes in, events out."""

    def feed(self, data: bytes) -> Iterable[tuple[str, Any]]:
        """The events that `data` completes: (type or "", JSON data or text)."""
        ...

    def end(self) -> Iterable[tuple[str, Any]]:
        """The events that the end completes."""
        ...


class _Lines:
    """Splits at `\\n`, `\\r\\n` or `\\r`."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        text = self._rest + data
        # A `\r` at the very end may be the first half of a `\r\n`.
        held = b"\r" if text.endswith(b"\r") else b""
        lines = (text[:-1] if held else text).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = lines.pop() + held
        return lines

    def end(self) -> list[bytes]:
        rest, self._rest = self._rest.rstrip(b"\r"), b""
        return [rest] if rest else []


class SseFrames:
    """Server-sent events (WHATWG HTML, section 9.2.6). An event that the end cuts off is dropped."""

    def __init__(self) -> None:
        self._lines = _Lines()
        self._event = ""
        self._data: list[bytes] = []

    def feed(self, data: bytes) -> Iterable[tuple[str, Any]]:
        """See `Frames`."""
        for line in self._lines.feed(data):
            if not line:
                if self._data:
                    yield self._event, _json(b"\n".join(self._data))
                self._event, self._data = "", []
                continue
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                self._data.append(value)
            elif field == b"event":
                self._event = value.decode("utf-8", "replace")

    def end(self) -> Iterable[tuple[str, Any]]:
        """See `Frames`."""
        return ()


class LineFrames:
    """One JSON document a line."""

    def __init__(self) -> None:
        self._lines = _Lines()

    def feed(self, data: bytes) -> Iterable[tuple[str, Any]]:
        """See `Frames`."""
        return [("", _json(line)) for line in self._lines.feed(data) if line.strip()]

    def end(self) -> Iterable[tuple[str, Any]]:
        """See `Frames`."""
        return [("", _json(line)) for line in self._lines.end() if line.strip()]


class EventStream:
    """`application/vnd.amazon.eventstream`: length-prefixed messages with typed headers.

    Checksums are left to the SDK, which reads the same bytes.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterable[tuple[str, Any]]:
        """See `Frames`."""
        self._rest += data
        while len(self._rest) >= 12:
            total = int.from_bytes(self._rest[:4], "big")
            head = int.from_bytes(self._rest[4:8], "big")
            if not 16 <= total <= LIMIT or head > total - 16:
                raise Unreadable("event stream")
            if len(self._rest) < total:
                return
            message, self._rest = self._rest[:total], self._rest[total:]
            headers = _aws_headers(message[12 : 12 + head])
            yield (
                headers.get(":event-type", headers.get(":exception-type", "")),
                _json(message[12 + head : -4]),
            )

    def end(self) -> Iterable[tuple[str, Any]]:
        """See `Frames`."""
        return ()


_WIDTHS = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}


def _aws_headers(block: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    while at < len(block):
        size = block[at]
        name = block[at + 1 : at + 1 + size].decode("utf-8", "replace")
        at += 1 + size
        kind = block[at] if at < len(block) else 0
        at += 1
        if kind in (6, 7):
            width = int.from_bytes(block[at : at + 2], "big")
            at += 2
        else:
            width = _WIDTHS.get(kind, len(block))
        if kind == 7:
            found[name] = block[at : at + width].decode("utf-8", "replace")
        at += width
    return found


class Document:
    """One JSON document. A list's items are events of their own, as soon as they are whole."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._is_list: bool | None = None
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._rest = ""

    def feed(self, data: bytes) -> Iterable[tuple[str, Any]]:
        """See `Frames`."""
        if self._is_list is None and (start := (bytes(self._bytes[:64]) + data).lstrip()):
            self._is_list = start.startswith(b"[")
            if self._is_list:
                data = start[1:]
                self._bytes.clear()
        if self._is_list:
            self._rest += self._decode(data)
            if len(self._rest) > LIMIT:
                raise Unreadable("too long")
            # An item ends with a brace: until one comes, no attempt is made.
            return self._items() if b"}" in data else ()
        self._bytes += data
        if len(self._bytes) > LIMIT:
            raise Unreadable("too long")
        return ()

    def _items(self) -> Iterable[tuple[str, Any]]:
        while True:
            self._rest = self._rest.lstrip(" \t\r\n,")
            try:
                item, at = _DECODER.raw_decode(self._rest)
            except ValueError:
                return
            self._rest = self._rest[at:]
            yield "", item

    def end(self) -> Iterable[tuple[str, Any]]:
        """See `Frames`."""
        data, self._bytes = bytes(self._bytes), bytearray()
        return [("", _json(data))] if data.strip() else ()


def frames(content_type: str) -> Frames:
    """What takes a response of that type apart."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "text/event-stream":
        return SseFrames()
    if kind == "application/vnd.amazon.eventstream":
        return EventStream()
    if kind in ("application/x-ndjson", "application/jsonl", "application/x-jsonlines"):
        return LineFrames()
    return Document()


_DECODER = json.JSONDecoder()


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return data.decode("utf-8", "replace")
