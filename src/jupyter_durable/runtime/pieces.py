"""Chunks of a response on their way to the journal: many of them, one entry.

An entry for every token would be a lot; an entry for the whole stream would lose what was delivered
before what. So a chunk joins the entry that was queued last, as long as that is of the same stream and
nobody has taken it to write it: the queue itself says where one entry ends.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

from jupyter_durable.model import Draft, Payload

LARGEST = 256 * 1024
"""Bytes after which an entry is full."""


class Pieces(Sequence[Draft]):
    """One chunk entry in the making; a sequence of one draft, made when it is first looked at."""

    __slots__ = ("_draft", "_encode", "_lock", "_ms", "_parts", "_place", "_size", "first", "owner")

    def __init__(
        self, owner: object, scope: int, pos: int, first: int, encode: Callable[[bytes], Payload]
    ) -> None:
        self.owner = owner
        self.first = first
        self._place = scope, pos
        self._encode = encode
        self._parts: list[bytes] = []
        self._ms: list[int] = []
        self._size = 0
        self._draft: Draft | None = None
        self._lock = threading.Lock()

    def add(self, data: bytes, ms: int) -> bool:
        """Add a chunk that came `ms` milliseconds after the head; False if the entry is full or taken."""
        with self._lock:
            if self._draft is not None or self._size > LARGEST:
                return False
            self._parts.append(data)
            self._ms.append(ms)
            self._size += len(data)
            return True

    def _made(self) -> Draft:
        with self._lock:
            if self._draft is None:
                meta: dict[str, Any] = {
                    "i": self.first,
                    "z": [len(part) for part in self._parts],
                    "t": self._ms,
                }
                self._draft = Draft("chunk", *self._place, meta, self._encode(b"".join(self._parts)))
            return self._draft

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Draft]:
        yield self._made()

    @overload
    def __getitem__(self, index: int) -> Draft: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Draft]: ...
    def __getitem__(self, index: int | slice) -> Draft | Sequence[Draft]:
        return (self._made(),)[index]
