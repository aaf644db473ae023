"""Entries that are kept before they are stored: a start costs a write to a file, and no transaction.

What the operating system has taken survives the death of this process, and the next append stores it
in its own transaction. So a step costs one transaction instead of two, and a loop that announces a
start never waits for another process that is committing. Power loss may undo it, as it may a `NORMAL`
commit.

    <store>-staged-<run>.<generation>      entries in order, from the first that is not stored yet

The file is written from its beginning again after each append. A record is its entries as the chain hashes
them, and the last one's hash, which is made with the store's key and covers all that came before: so what was
stored meanwhile, what is left of earlier records, and what somebody else wrote, is told from what is staged.
Each holder of a lease has a file of its own: one that was paused and has been taken over spoils nothing.
"""

from __future__ import annotations

import contextlib
import glob
import hmac
import os
import struct
from pathlib import Path
from typing import Any

from jupyter_durable.store.chain import ABSENT, ENTRY
from jupyter_durable.store.drafting import Live, Prepared
from jupyter_durable.store.rows import DIGEST

MOST = 16 << 10
"""Bytes of entries that are staged; more is appended at once."""

_SIZE = struct.Struct("<i")  # of a record's entries


class Place:
    """The file of one lease, made with it.

    Raises `FileExistsError` if another store object of this process stages for the same lease.
    """

    __slots__ = ("_fd", "path")

    def __init__(self, path: Path) -> None:
        self.path = path
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


def record(proof: bytes) -> bytes:
    """What is written for entries of which `proof` is what `Live.stage` gives."""
    return _SIZE.pack(len(proof) - DIGEST) + proof


def load(path: Path, live: Live) -> list[Prepared]:
    """What is staged in `path` to follow the head of `live`; nothing if there is no such file."""
    found: list[Prepared] = []
    try:
        data = path.read_bytes()
    except OSError:
        return found
    at = 0
    seq, last = live.end()
    while at + _SIZE.size <= len(data):
        (size,) = _SIZE.unpack_from(data, at)
        at += _SIZE.size
        end = at + size
        if size <= 0 or end + DIGEST > len(data):
            break
        entries: list[Prepared] = []
        while at < end and (entry := _parse(data[at:end], seq + 1)) is not None:
            last = live.chain.seal(last, data[at : at + entry[0]], None)
            entries.append(entry[1])
            at += entry[0]
            seq += 1
        if at != end or not hmac.compare_digest(last, data[end : end + DIGEST]):
            break
        found += entries
        at = end + DIGEST
    return found


def _parse(data: bytes, seq: int) -> tuple[int, Prepared] | None:
    """The entry `seq` at the beginning of `data`, and its size; None if it is none: left of earlier records."""
    if len(data) < ENTRY.size:
        return None
    number, scope, pos, when, kind, meta, codec, packed, body, refs = ENTRY.unpack_from(data)
    at, parts = ENTRY.size, []
    for size in (kind, meta, max(codec, 0), refs, body):
        parts.append(data[at : at + size])
        at += size
        if size < 0 or at > len(data):
            return None
    if number != seq:
        return None
    try:
        texts = [part.decode() for part in parts[:3]]
    except UnicodeDecodeError:
        return None
    if codec == ABSENT:
        return at, (texts[0], scope, pos, when, texts[1], None, packed, None, None)
    return at, (*texts[:1], scope, pos, when, *texts[1:], packed, parts[4], parts[3])
