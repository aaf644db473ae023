"""Chunks of responses on their way to the journal: many of them, one entry a stream.

An entry for every token would be a lot; an entry for a whole stream would lose what was delivered before what.
So chunks are queued in groups, of one or several streams, each of which gets one entry of it. A chunk joins the group
that was queued last, as long as nobody has taken that to write it: the queue itself says where a group ends. Where
streams took turns, their entries say how: they replay in the order in which all chunks were delivered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

from jupyter_durable.journal.index import MOST_TURNS
from jupyter_durable.model import Draft, Payload

LARGEST = 256 * 1024
"""Bytes after which an entry is full."""

Encode = Callable[[bytes], Payload]


class _Entry:
    """What becomes one entry. `turns`: the place of a chunk in its group, and how many followed it at once; and so on."""

    __slots__ = ("encode", "first", "ms", "parts", "payload", "place", "size", "turns")

    def __init__(self, place: tuple[int, int], first: int) -> None:
        self.place = place
        self.first = first
        self.payload: Payload | None = None  # of a head
        self.encode: Encode | None = None
        self.parts: list[bytes] = []
        self.ms: list[int] = []
        self.size = 0
        self.turns: list[int] = []

    def take_turn(self, at: int) -> None:
        turns = self.turns
        if turns and turns[-2] + turns[-1] == at:
            turns[-1] += 1
        else:
            turns += (at, 1)

    def draft(self, meta: dict[str, Any]) -> Draft:
        if self.encode is None:
            return Draft("chunk", *self.place, {"i": self.first, **meta}, self.payload)
        sizes = [len(part) for part in self.parts]
        payload = self.encode(b"".join(self.parts))
        return Draft("chunk", *self.place, {"i": self.first, "z": sizes, "t": self.ms, **meta}, payload)


class Pieces(Sequence[Draft]):
    """One group in the making; a sequence of drafts, made when it is first looked at."""

    __slots__ = ("_count", "_drafts", "_entries", "_lock", "_open")

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._open: dict[object, _Entry] = {}
        self._count = 0
        self._drafts: list[Draft] | None = None
        self._lock = threading.Lock()

    def begin(self, place: tuple[int, int], payload: Payload) -> bool:
        """Add the head of the stream whose step is at `place`; False if the group is full or taken."""
        with self._lock:
            if self._over():
                return False
            entry = _Entry(place, 0)
            entry.payload = payload
            self._append(entry)
            return True

    def add(
        self, owner: object, place: tuple[int, int], first: int, data: bytes, ms: int, encode: Encode
    ) -> bool:
        """Add a chunk of `owner`, its `first`th, that came `ms` milliseconds after the head. False as above."""
        with self._lock:
            if self._over():
                return False
            entry = self._open.get(owner)
            if entry is None:
                entry = self._open[owner] = _Entry(place, first)
                entry.encode = encode
                self._append(entry)
            elif entry.size > LARGEST:
                return False
            else:
                entry.take_turn(self._count)
                self._count += 1
            entry.parts.append(data)
            entry.ms.append(ms)
            entry.size += len(data)
            return True

    def _over(self) -> bool:
        return self._drafts is not None or self._count >= MOST_TURNS

    def _append(self, entry: _Entry) -> None:
        entry.take_turn(self._count)
        self._count += 1
        self._entries.append(entry)

    def _made(self) -> list[Draft]:
        with self._lock:
            if self._drafts is None:
                entries = self._entries
                alike = all(len(entry.turns) == 2 for entry in entries)  # none was interrupted
                self._drafts = [
                    entry.draft({} if alike else {"g": n, "o": entry.turns})
                    for n, entry in enumerate(entries)
                ]
            return self._drafts

    def __len__(self) -> int:
        return len(self._made())

    def __iter__(self) -> Iterator[Draft]:
        return iter(self._made())

    @overload
    def __getitem__(self, index: int) -> Draft: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Draft]: ...
    def __getitem__(self, index: int | slice) -> Draft | Sequence[Draft]:
        return self._made()[index]
