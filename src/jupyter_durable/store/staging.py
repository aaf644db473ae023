"""Entries that are kept before they are stored: a start costs a write to a file, and no transaction.

What the operating system has taken survives the death of this process, and the next append stores it
in its own transaction. So a step costs one transaction instead of two, and a loop that announces a
start never waits for another process that is committing. Power loss may undo it, as it may a `NORMAL`
commit.

    <store>-staged-<run>.<generation>      entries in order, from the first that is not stored yet

The file is written from its beginning again after each append. Each record carries a MAC with the
store's key over itself, its place in the file and the hash of the last stored entry: so what was stored
meanwhile, what is left of earlier records, and what somebody else wrote, is told from what is staged.
Each holder of a lease has a file of its own: one that was paused and has been taken over spoils nothing.
"""

from __future__ import annotations

import contextlib
import glob
import hmac
import os
import struct
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from jupyter_durable.store.chain import Seals
from jupyter_durable.store.drafting import Prepared
from jupyter_durable.store.rows import DIGEST, HeadRow, RunRow

MOST = 16 << 10
"""Bytes of entries that are staged; more is appended at once."""

_RECORD = struct.Struct(f"<qi{DIGEST}s")  # where it is, the size of its entries, their MAC
_ENTRY = struct.Struct("<qqdqiiiii")
_ABSENT = -1


class Place:
    """The file of one lease, made with it. key: the state of the MACs over its records.

    Raises `FileExistsError` if another store object of this process stages for the same lease.
    """

    __slots__ = ("_fd", "key", "path")

    def __init__(self, path: Path, key: blake2b) -> None:
        self.path = path
        self.key = key
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def keep(self, data: bytes, at: int) -> bool:
        """Write behind the first `at` bytes; False where that is not possible (no room)."""
        try:
            return os.pwrite(self._fd, data, at) == len(data)
        except OSError:
            return False

    def remove(self) -> None:
        """Nothing is staged any more, nor will be."""
        self.path.unlink(missing_ok=True)

    def __del__(self, suppress: Any = contextlib.suppress, close: Any = os.close) -> None:
        # Bound here: when the interpreter ends, the names of this module may be gone before its objects.
        with suppress(AttributeError, OSError):
            close(self._fd)


def path_of(store: Path, run: int, generation: int) -> Path:
    """Where the holder of that generation stages."""
    return store.with_name(f"{store.name}-staged-{run}.{generation}")


def left_behind(store: Path, run: int) -> list[Path]:
    """The files of every holder of the run, the oldest first."""
    found = store.parent.glob(f"{glob.escape(store.name)}-staged-{run}.*")
    return sorted(
        (path for path in found if path.suffix[1:].isdigit()), key=lambda path: int(path.suffix[1:])
    )


def dump(prepared: Sequence[Prepared], head: HeadRow, at: int, key: blake2b) -> bytes:
    """A record, to be written at `at`: entries that are to follow those before it, and these the stored `head`."""
    parts: list[bytes] = []
    for kind, scope, pos, when, meta, codec, packed, body, refs in prepared:
        sort, text = kind.encode(), meta.encode()
        name = codec.encode() if codec is not None else b""
        value, links = body or b"", refs or b""
        sizes = (
            len(sort),
            len(text),
            len(name) if codec is not None else _ABSENT,
            len(value) if body is not None else _ABSENT,
            len(links) if refs is not None else _ABSENT,
        )
        parts += (_ENTRY.pack(scope, pos, when, packed, *sizes), sort, text, name, value, links)
    data = b"".join(parts)
    return _RECORD.pack(at, len(data), _mac(key, head, at, data)) + data


def _mac(key: blake2b, head: HeadRow, at: int, data: bytes) -> bytes:
    state = key.copy()
    state.update(b"%d %d " % (head.seq, at) + head.hash)
    state.update(data)
    return state.digest()


def load(path: Path, seals: Seals, row: RunRow, head: HeadRow) -> list[Prepared]:
    """What is staged in `path` to follow `head`; nothing if there is no such file."""
    found: list[Prepared] = []
    try:
        data = path.read_bytes()
    except OSError:
        return found
    key, at = seals.staged(row.id, int(path.suffix[1:])), 0
    while at + _RECORD.size <= len(data):
        place, size, mac = _RECORD.unpack_from(data, at)
        entries = data[at + _RECORD.size : at + _RECORD.size + size] if size > 0 else b""
        if place != at or len(entries) != size or not hmac.compare_digest(mac, _mac(key, head, at, entries)):
            break
        found += _parse(entries)
        at += _RECORD.size + size
    return found


def _parse(data: bytes) -> Iterator[Prepared]:
    at = 0
    while at < len(data):
        scope, pos, when, packed, *sizes = _ENTRY.unpack_from(data, at)
        at += _ENTRY.size
        parts: list[bytes | None] = []
        for size in sizes:
            parts.append(data[at : at + size] if size != _ABSENT else None)
            at += max(size, 0)
        kind, meta, codec, body, refs = parts
        assert kind is not None
        assert meta is not None
        name = codec.decode() if codec is not None else None
        yield kind.decode(), scope, pos, when, meta.decode(), name, packed, body, refs
