"""Compressed bytes, looked into: gzip, zlib, raw deflate, bzip2, xz and lzma, zip archives; zstandard and brotli, if a
library for them is installed.

Bounded: of each layer the first 16 MB, four layers deep; what only unpacks with more memory than that is left alone.
"""

from __future__ import annotations

import bz2
import importlib
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

LIMIT = 16 << 20
"""Bytes that are looked at of what was compressed."""

_LAYERS = 4
_MEMORY = 128 << 20  # bytes; what `xz -9` needs is 65 MB
_MEMBERS = 200
_GLANCE = 256
_CONTROLS = bytes({*range(9), 11, *range(14, 27), 28, 29, 30, 31, 127})


def unpacked(data: bytes | memoryview, layers: int = _LAYERS) -> Iterator[bytes]:
    """The beginnings of what `data` is the compressed form of; nothing if it is none. Never raises.

    >>> [bytes(text) for text in unpacked(zlib.compress(b"four score and seven"))]
    [b'four score and seven']
    """
    head = bytes(data[:_GLANCE])
    if layers == 0 or len(head) < 8 or _is_text(head):
        return
    for unpack in _ways(head):
        try:
            found = unpack(data)
        except Exception:  # noqa: BLE001, S112 - not that, after all; each library has errors of its own
            continue
        if not found:
            continue
        for plain in found if isinstance(found, list) else [found]:
            yield plain
            yield from unpacked(plain, layers - 1)
        return


def _is_text(head: bytes) -> bool:
    try:
        head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # else a character is cut off
            return False
    return head.translate(None, _CONTROLS) == head


def _ways(head: bytes) -> list[Callable[[Any], bytes | list[bytes]]]:
    """What it may be, the likeliest first."""
    if head.startswith(b"\x1f\x8b"):
        return [lambda data: _streams(lambda: zlib.decompressobj(31), data)]
    if head.startswith(b"BZh"):
        return [lambda data: _streams(bz2.BZ2Decompressor, data)]
    if head.startswith((b"\xfd7zXZ\0", b"]\0\0")):
        return [lambda data: _streams(lambda: lzma.LZMADecompressor(memlimit=_MEMORY), data)]
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return [_zstd]
    if head.startswith(b"PK\x03\x04"):
        return [_zip]
    zlibs = head[0] & 15 == 8 and int.from_bytes(head[:2], "big") % 31 == 0
    return [*([_zlib] if zlibs else []), _deflated, _brotli]


def _streams(make: Callable[[], Any], data: Any) -> bytes:
    """What is compressed in several pieces, one after the other, as `cat a.gz b.gz` makes them."""
    found = b""
    while len(data) and len(found) < LIMIT:
        state = make()
        try:
            found += state.decompress(data, LIMIT - len(found))
        except Exception:  # what follows is something else
            if not found:
                raise
            break
        data = state.unused_data
    return found


def _zlib(data: Any) -> bytes:
    return zlib.decompressobj(15).decompress(data, LIMIT)


def _deflated(data: Any) -> bytes:
    """Without any header: by chance, next to nothing else unpacks so far."""
    state = zlib.decompressobj(-15)
    found = state.decompress(data, LIMIT)
    return found if state.eof or len(found) >= _GLANCE else b""


def _zstd(data: Any) -> bytes:
    with_own = _library("compression.zstd")
    if with_own is not None:
        found: bytes = with_own.ZstdDecompressor().decompress(data, LIMIT)
        return found
    library = _library("zstandard")
    if library is None:
        return b""
    with library.ZstdDecompressor(max_window_size=_MEMORY).stream_reader(io.BytesIO(data)) as reader:
        parts: list[bytes] = []
        size = 0
        while size < LIMIT and (part := reader.read(1 << 16)):
            parts.append(part)
            size += len(part)
    return b"".join(parts)


def _brotli(data: Any) -> bytes:
    """Only by a library that can stop: the others unpack a bomb whole."""
    for name in ("brotli", "brotlicffi"):
        library = _library(name)
        if library is None:
            continue
        try:
            found: bytes = library.Decompressor().process(bytes(data), output_buffer_limit=LIMIT)
        except TypeError:
            continue
        return found
    return b""


def _zip(data: Any) -> list[bytes]:
    found: list[bytes] = []
    left = LIMIT
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for member in archive.infolist()[:_MEMBERS]:
            try:
                with archive.open(member) as file:
                    found.append(file.read(left))
            except (RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error, struct.error):
                continue  # encrypted; by a method of its own
            left -= len(found[-1])
            if left <= 0:
                break
    return found


_libraries: dict[str, Any] = {}


def _library(name: str) -> Any:
    if name not in _libraries:
        try:
            _libraries[name] = importlib.import_module(name)
        except ImportError:
            _libraries[name] = None
    return _libraries[name]
