"""How long sequences become chunks, so that appending stores only what is new.

A sequence is cut into *groups*, and the groups are linked:

    list  --group-->  [m1] [m2 m3] [m4] ...          a group closes at a size, at an element with chunks,
                                                     or early at some elements
    level 0           n1 <- n2 <- n3 | n4 <- n5 ...  each node: its group, and a reference to the node before
    level 1           the ends of the closed segments (n3, ...), linked the same way; and so on
    the value itself  one head per level

Everything is a function of the content alone: no history, no cache, nothing to lose with the
process. Appending an element makes one node and, once in `_SEGMENT` times, one a level up; the value
holds one reference a level. A node refers only to nodes of its own segment, and where a segment or a
group ends is decided by the content there, not by its index: a changed system prompt or a window
that slides makes new nodes for about one segment, not for the rest of the list.

Sizes grow with the offset (`group_size`, `piece_size`), never with the length, so that the groups
of a prefix are a prefix of the groups: a conversation is cut finely, ten million rows are not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias
from zlib import crc32

KB, MB = 1 << 10, 1 << 20


class Ref(bytes):
    """The digest of a chunk, among pieces of text; rendered as its index into the node's refs."""

    __slots__ = ()


Pieces: TypeAlias = "str | list[str | Ref]"
"""Encoded text, with references where it has any."""

_SEGMENT = 4  # longer segments: fewer nodes when appending; shorter: fewer when the front changes


def size(pieces: Pieces) -> int:
    """About how many bytes `pieces` takes when stored."""
    return len(pieces) if type(pieces) is str else sum(map(len, pieces))


def render(pieces: Pieces) -> tuple[bytes, tuple[bytes, ...]]:
    """The text of a node, and the digests its indices refer to."""
    if type(pieces) is str:
        return pieces.encode("utf-8", "surrogatepass"), ()
    refs: dict[bytes, int] = {}
    text = "".join([str(refs.setdefault(p, len(refs))) if isinstance(p, Ref) else p for p in pieces])
    return text.encode("utf-8", "surrogatepass"), tuple(refs)


def join(parts: Iterable[Pieces]) -> Pieces:
    """Pieces one after another."""
    flat: list[str | Ref] = []
    refs = False
    for part in parts:
        if type(part) is str:
            flat.append(part)
        else:
            flat.extend(part)
            refs = True
    return flat if refs else "".join(flat)  # type: ignore[arg-type]


def bracket(items: list[Pieces]) -> Pieces:
    """Pieces as a JSON array."""
    if not items:
        return "[]"
    parts: list[Pieces] = []
    for item in items:
        parts += ["," if parts else "[", item]
    return join([*parts, "]"])


def group_size(offset: int) -> int:
    """The size in bytes at which a group that starts at `offset` closes."""
    if offset < 256 * KB:
        return 256
    return 512 if offset < MB else 4 * KB if offset < 16 * MB else 64 * KB


def piece_size(offset: int) -> int:
    """How many bytes of a string or of bytes go into the piece that starts at `offset`."""
    if offset < 64 * KB:
        return 4 * KB
    return 16 * KB if offset < MB else 256 * KB if offset < 16 * MB else MB


def cuts(length: int, *, grows: bool) -> Iterator[tuple[int, int]]:
    """The borders of the pieces of `length` bytes; 1 MB each unless they may grow by appending.

    What is left at the end, less than a piece, is cut into quarters of pieces, and quarters of
    those: a prompt that grows by a kilobyte a turn stores a few kilobytes a turn, not half a piece.
    """
    start = 0
    while start < length:
        step = piece_size(start) if grows else MB
        while grows and step > length - start and step > 4 * KB:
            step //= 4
        yield start, min(length, start + step)
        start += step


def _marker(pieces: Pieces) -> int:
    if type(pieces) is str:
        return crc32(pieces.encode("utf-8", "surrogatepass"))
    value = 0
    for piece in pieces:
        value = crc32(piece.encode("utf-8", "surrogatepass") if isinstance(piece, str) else piece, value)
    return value


def groups(items: Sequence[Pieces]) -> Iterator[tuple[list[Pieces], int]]:
    """Cut `items` into groups, each with a number made from its content."""
    offset = length = mark = 0
    group: list[Pieces] = []
    for item in items:
        group.append(item)
        length += size(item)
        limit = group_size(offset)
        if length * 4 < limit and type(item) is str:
            continue
        mark = _marker(item)
        if length >= limit or mark & 3 == 0 or type(item) is list:
            yield group, mark >> 2
            offset, length, group = offset + length, 0, []
    if group:
        yield group, _marker(group[-1]) >> 2


def link(items: Sequence[Pieces], store: Callable[[bytes, tuple[bytes, ...]], bytes]) -> list[Ref | None]:
    """Store `items` as linked nodes with `store(data, refs) -> digest`; the head of each level."""
    heads: list[Ref | None] = []
    closed: list[Ref] = []
    previous: Ref | None = None
    length = 0
    for group, mark in groups(items):
        pieces: list[str | Ref] = [] if previous is None else [previous]  # rendered first, so it is refs[0]
        pieces.append("[")
        for n, item in enumerate(group):
            if n:
                pieces.append(",")
            if type(item) is str:
                pieces.append(item)
            else:
                pieces.extend(item)
        pieces.append("]")
        previous = Ref(store(*render(pieces)))
        length += 1
        if mark % _SEGMENT == 0 or length == 2 * _SEGMENT:
            closed.append(previous)
            previous, length = None, 0
    heads.append(previous)
    while closed:
        level, closed, previous, length = closed, [], None, 0
        for ref in level:
            previous = Ref(store(b"", (ref,) if previous is None else (ref, previous)))
            length += 1
            if ref[0] % _SEGMENT == 0 or length == 2 * _SEGMENT:
                closed.append(previous)
                previous, length = None, 0
        heads.append(previous)
    return heads
