"""Compression, where it pays: raw deflate at its fastest level, never on what does not shrink.

Small values get a small window, because setting up the usual one costs more (about 10 us) than
compressing them does.
"""

from __future__ import annotations

import zlib

from jupyter_durable.errors import IntegrityError

BODY_FLOOR = 1280
"""Bytes below which an entry's body is kept as it is: a step with a 1 KB result must not pay 25 us for this."""
CHUNK_FLOOR = 256
"""Bytes below which a chunk is kept as it is."""

_SMALL = 8192
_PROBE = 1024
_WORTH = 0.9
_WORTH_LARGE = 0.75  # compressing is slower than the disk: a large value must gain more by it


def _deflate(data: bytes) -> bytes:
    window, memory = (-12, 5) if len(data) <= _SMALL else (-15, 8)
    state = zlib.compressobj(1, zlib.DEFLATED, window, memory)
    return state.compress(data) + state.flush()


def pack(data: bytes, floor: int) -> tuple[int, bytes]:
    """`(size, compressed)`, or `(0, data)` where compressing does not pay.

    >>> pack(b"to be or not to be " * 100, 512)[0]
    1900
    >>> pack(b"short", 512)
    (0, b'short')
    """
    size = len(data)
    if size < floor:
        return 0, data
    worth = _WORTH
    if size > 4 * _PROBE:
        # From the beginning and the middle: headers are often unlike what follows.
        middle = size // 2
        sample = data[:_PROBE] + data[middle : middle + _PROBE]
        worth = _WORTH if size <= 64 * _PROBE else _WORTH_LARGE
        if len(_deflate(sample)) > worth * len(sample):
            return 0, data
    packed = _deflate(data)
    return (size, packed) if len(packed) < worth * size else (0, data)


def unpack(size: int, data: bytes) -> bytes:
    """What `pack` was given. Raises `IntegrityError` if it does not come back as it was."""
    if size == 0:
        return data
    try:
        state = zlib.decompressobj(-15)
        # One byte more than expected, so that a bomb is noticed and not inflated.
        plain = state.decompress(data, size + 1)
    except (zlib.error, ValueError, OverflowError, TypeError) as error:
        raise IntegrityError(f"compressed data is damaged: {error}") from error
    if len(plain) != size or not state.eof:
        raise IntegrityError("compressed data is damaged: its length is not what it was")
    return plain
