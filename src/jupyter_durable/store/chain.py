"""The keyed hash chain over a run's entries, and the MACs over the other rows.

An entry's hash is BLAKE2b, keyed with the store's key, over the run's id, the previous entry's hash
and every field of the entry, lengths first, so that no border can move. The chain of a run starts
at a MAC over the run's identity; a fork's identity contains its parent's hash at the base. Without
the key nobody can make a row that verifies, and no row verifies in another place or run.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Callable, Sequence

from jupyter_durable.codec.secret import Purpose, StoreKey
from jupyter_durable.store.rows import DIGEST, EntryRow, HeadRow, InboxRow, JobRow, Registry, RunRow

Field = str | bytes | int | float | None

ENTRY = struct.Struct("<qqqdqqqqqq")
"""Sequence number, scope, position, time; the sizes of type, meta and codec; packed; the sizes of body and refs."""
ABSENT = -1
"""The size of a codec that is None."""

_ENTRY = ENTRY.pack
_HEAD = struct.Struct("<qdq").pack
_BAD = (struct.error, TypeError, AttributeError, ValueError, OverflowError)
"""What a row raises whose columns have changed their type."""


def frame(fields: Sequence[Field]) -> bytes:
    """Fields as bytes, unambiguously: a type, a length and the value each."""
    parts: list[bytes] = []
    for field in fields:
        if field is None:
            parts.append(b"-")
            continue
        if isinstance(field, float):
            tag, data = b"f", struct.pack("<d", field)
        elif isinstance(field, int):
            tag, data = b"i", struct.pack("<q", field)
        elif isinstance(field, str):
            tag, data = b"s", field.encode()
        else:
            tag, data = b"b", field
        parts += (tag, len(data).to_bytes(8, "little"), data)
    return b"".join(parts)


def pack_entry(
    seq: int,
    type: str,  # noqa: A002 - an entry's own word
    scope: int,
    pos: int,
    at: float,
    meta: str,
    codec: str | None,
    packed: int,
    body: bytes | None,
    refs: bytes | None,
) -> bytes:
    """What is hashed of an entry, its body apart, which follows it."""
    kind, data, links = type.encode(), meta.encode(), refs or b""
    name = codec.encode() if codec is not None else b""
    named, size = len(name) if codec is not None else ABSENT, len(body) if body else 0
    sizes = _ENTRY(seq, scope, pos, at, len(kind), len(data), named, packed, size, len(links))
    return b"".join((sizes, kind, data, name, links))


class Chain:
    """One run's hash chain. `start` stands for the hash before its first own entry."""

    __slots__ = ("_state", "start")

    def __init__(self, state: hashlib.blake2b, row: RunRow) -> None:
        self._state = state.copy()
        self._state.update(b"entry" + frame((row.id,)))
        state = state.copy()
        state.update(b"start")
        state.update(
            frame(
                (
                    row.id,
                    row.name,
                    row.created_at,
                    row.parent_id,
                    row.root_id,
                    row.forked_from,
                    row.fork_kind,
                    row.base_seq,
                    row.base_hash,
                )
            )
        )
        self.start = state.digest()

    def seal(self, before: bytes, packed: bytes, body: bytes | None) -> bytes:
        """The hash of an entry that follows the one with hash `before`, from what `pack_entry` gives and its body."""
        state = self._state.copy()
        state.update(before + packed)
        if body:
            state.update(body)
        return state.digest()

    def link(
        self,
        before: bytes,
        seq: int,
        type: str,  # noqa: A002 - an entry's own word
        scope: int,
        pos: int,
        at: float,
        meta: str,
        codec: str | None,
        packed: int,
        body: bytes | None,
        refs: bytes | None,
    ) -> bytes:
        """The same from its fields."""
        return self.seal(before, pack_entry(seq, type, scope, pos, at, meta, codec, packed, body, refs), body)

    def follows(self, before: bytes, row: EntryRow) -> bool:
        """Whether `row` is unaltered and follows the entry with hash `before`."""
        key, *fields, mark = row
        try:
            return self.link(before, key & 0xFFFFFFFF, *fields) == mark  # type: ignore[arg-type]
        except _BAD:
            return False


class Seals:
    """The keyed states of one store, made once."""

    def __init__(self, key: StoreKey) -> None:
        self.key = key
        self._chain = self._state("chain")
        self._run = self._state("head", b"run")
        self._head = self._state("head", b"head")
        self._registry = self._state("head", b"registry")
        self._inbox = self._state("inbox")
        self._blob = self._state("blob")
        self._job = self._state("head", b"job")

    def _state(self, purpose: Purpose, *first: bytes) -> hashlib.blake2b:
        state = hashlib.blake2b(key=self.key.derive(purpose), digest_size=DIGEST)
        for part in first:
            state.update(part)
        return state

    def chain(self, row: RunRow) -> Chain:
        """The chain of a run."""
        return Chain(self._chain, row)

    def run(self, row: RunRow) -> bytes:
        """The MAC of a run's row."""
        return _mac(self._run, row[:-1])

    def registry(self, row: Registry) -> bytes:
        """The MAC of the registry."""
        return _mac(self._registry, row[:-1])

    def inbox(self, run_id: str, row: InboxRow) -> bytes:
        """The MAC of an inbox row."""
        return _mac(self._inbox, (run_id, *row[:-1]))

    def job(self, row: JobRow) -> bytes:
        """The MAC of a job. Its number is not in it: whoever adds a job does not know that yet."""
        return _mac(self._job, row[1:-1])

    def tenure(self, run_id: str, generation: int, owner: str | None, expires_at: float) -> hashlib.blake2b:
        """The part of a head's MAC that stays the same while a lease does."""
        state = self._head.copy()
        state.update(frame((run_id, generation, owner, expires_at)))
        return state

    def is_head(self, run_id: str, row: HeadRow) -> bool:
        """Whether a head row verifies as that of this run."""
        try:
            return hmac.compare_digest(self.head(run_id, row), row.mac)
        except _BAD:
            return False

    def head(self, run_id: str, row: HeadRow) -> bytes:
        """The MAC of a head row."""
        tenure = self.tenure(run_id, row.generation, row.owner, row.expires_at)
        return seal_head(tenure, row.status, row.updated_at, row.seq, row.hash)

    def blob(self, data: bytes, refs: Sequence[bytes]) -> bytes:
        """A chunk's digest: `StoreKey.mac("blob", data, *refs)`."""
        state = self._blob.copy()
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
        for ref in refs:
            state.update(len(ref).to_bytes(8, "little"))
            state.update(ref)
        return state.digest()

    def is_run(self, row: RunRow) -> bool:
        """Whether a run's row verifies."""
        return _same(self.run, row, mac=row.mac)

    def is_registry(self, row: Registry) -> bool:
        """Whether the registry verifies."""
        return _same(self.registry, row, mac=row.mac)

    def is_job(self, row: JobRow) -> bool:
        """Whether a job verifies."""
        return _same(self.job, row, mac=row.mac)

    def is_inbox(self, run_id: str, row: InboxRow) -> bool:
        """Whether an inbox row verifies."""
        return _same(self.inbox, run_id, row, mac=row.mac)


def seal_head(tenure: hashlib.blake2b, status: str, updated_at: float, seq: int, last: bytes) -> bytes:
    """The MAC of a head row, given its tenure: one is made for each append."""
    state = tenure.copy()
    state.update(_HEAD(seq, updated_at, len(last)) + last + status.encode())
    return state.digest()


def _mac(state: hashlib.blake2b, fields: Sequence[Field]) -> bytes:
    state = state.copy()
    state.update(frame(fields))
    return state.digest()


def _same(mac_of: Callable[..., bytes], *row: object, mac: bytes) -> bool:
    try:
        return hmac.compare_digest(mac_of(*row), mac)
    except _BAD:
        return False
