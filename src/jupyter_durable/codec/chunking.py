"""From pieces of text, and bytes, to chunks: stored once, wrapped where a secret is in them."""

from __future__ import annotations

import sys
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from jupyter_durable.codec.kinds import Raw
from jupyter_durable.codec.spine import KB, MB, Pieces, Ref, bracket, cuts, join, link, size
from jupyter_durable.model import Chunk

if TYPE_CHECKING:
    from jupyter_durable.codec import Codec

LARGE = KB
"""Elements, dict values and strings from this size on become chunks."""
_REFS = (
    2  # a list with more elements than this that are chunks is linked, or it would repeat all its references
)
_INLINE_RAW = 512
_LAZY = 8 * MB


class Chunker:
    """The chunks of one value. `inline`: there are none. `wrapped`: all of them are encrypted."""

    def __init__(
        self, codec: Codec, has_chunk: Callable[[bytes], bool], *, inline: bool, wrapped: bool
    ) -> None:
        self._codec = codec
        self._has_chunk = has_chunk
        self._inline = inline
        self._large = sys.maxsize if inline else LARGE
        self._wrapped = wrapped
        self._pending: dict[bytes, Chunk] = {}
        self._lazy = 0

    def items(self, tag: str, items: list[Pieces]) -> Pieces:
        """The node of a sequence: in itself, or linked when it is long."""
        chunked = sum([type(item) is list for item in items])
        if chunked > _REFS or (len(items) > 1 and sum(map(size, items)) >= self._large):
            heads: list[str | Ref] = [f'{{"$":"{tag}","l":[']
            for n, head in enumerate(link(items, self.store)):
                heads += ["," if n else "", "null" if head is None else head]
            return [*heads, "]}"]
        text = bracket(items)
        return text if tag == "list" else join([f'{{"$":"{tag}","v":', text, "}"])

    # -- bytes -----------------------------------------------------------------------------------

    def raw(self, raw: Raw, *, wrapped: bool = False) -> Pieces:
        """The content of a node of bytes, `wrapped` for one of the tag `sraw`."""
        view = memoryview(raw.buffer)
        if view.nbytes <= _INLINE_RAW or self._inline:
            data = self._codec.sealer.wrap(view.tobytes()) if wrapped else view.tobytes()
            return f'"{b2a_base64(data, newline=False).decode()}"'
        if view.format != "B" or view.ndim != 1:
            view = view.cast("B")
        borders = cuts(len(view), grows=raw.grows)
        return self.items(
            "list",
            [['{"$":"r","i":', self._piece(view[a:b], raw.immutable, wrapped), "}"] for a, b in borders],
        )

    def _piece(self, view: memoryview, immutable: bool, wrapped: bool) -> Ref:
        if wrapped or self._wrapped:
            return Ref(self._keep(self._codec.sealer.wrap(view.tobytes()), ()))
        # Copy before hashing: a buffer that changes in between would be stored under a digest not its own.
        data: Any = view if immutable else view.tobytes()
        digest = self._codec.digest(data, ())
        if digest not in self._pending and (immutable or not self._has_chunk(digest)):
            self._pending[digest] = Chunk(digest, data)
            self._lazy += len(view) if immutable else 0
        return Ref(digest)

    def store(self, data: bytes, refs: tuple[bytes, ...]) -> bytes:
        """Make a chunk; its digest."""
        return self._keep(self._codec.sealer.wrap(data) if self._wrapped else data, refs)

    def _keep(self, data: bytes, refs: tuple[bytes, ...]) -> bytes:
        digest = self._codec.digest(data, refs)
        self._pending[digest] = Chunk(digest, data, refs)
        return digest

    def chunks(self, roots: Iterable[bytes]) -> Sequence[Chunk]:
        """The chunks below `roots` that are not stored yet, what others refer to first.

        A stored chunk is not looked into: chunks are stored with all they refer to, or not at all.
        """
        found: dict[bytes, Chunk] = {}
        stack = [(digest, False) for digest in roots]
        known: set[bytes] = set()
        while stack:
            digest, done = stack.pop()
            chunk = self._pending.get(digest)
            if chunk is None or digest in found or digest in known:
                continue
            if done:
                found[digest] = chunk
            elif self._has_chunk(digest):
                known.add(digest)
            else:
                stack.append((digest, True))
                stack.extend((ref, False) for ref in chunk.refs)
        if self._lazy > _LAZY:
            return LazyChunks(list(found.values()))
        return tuple(solid(chunk) for chunk in found.values())


class LazyChunks(Sequence[Chunk]):
    """Chunks whose bytes are copied out of the value one at a time, each time they are asked for."""

    __slots__ = ("_chunks",)

    def __init__(self, chunks: list[Chunk]) -> None:
        self._chunks = chunks

    def __len__(self) -> int:
        return len(self._chunks)

    def __iter__(self) -> Iterator[Chunk]:
        return map(solid, self._chunks)

    @overload
    def __getitem__(self, index: int) -> Chunk: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Chunk]: ...
    def __getitem__(self, index: int | slice) -> Chunk | Sequence[Chunk]:
        if isinstance(index, slice):
            return LazyChunks(self._chunks[index])
        return solid(self._chunks[index])


def solid(chunk: Chunk) -> Chunk:
    """The chunk with bytes of its own."""
    return chunk if type(chunk.data) is bytes else chunk._replace(data=bytes(chunk.data))
