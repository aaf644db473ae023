"""From drafts to rows: what can be done before a transaction, and what a run's head is needed for."""

from __future__ import annotations

from typing import Any, NamedTuple

from jupyter_durable.codec.redaction import concerns, masked
from jupyter_durable.errors import StoreError
from jupyter_durable.model import Draft, Entry, Payload, RunStatus
from jupyter_durable.store.chain import Seals, pack_entry, seal_head
from jupyter_durable.store.packing import BODY_FLOOR, pack
from jupyter_durable.store.rows import DIGEST, SEQ, HeadRow, RunRow, as_dict, to_json

Fields = tuple[int, str, int, int, float, str, str | None, int, bytes | None, bytes | None, bytes]
"""An `EntryRow`."""
Prepared = tuple[str, int, int, float, str, str | None, int, bytes | None, bytes | None]
"""An `EntryRow` without its place: neither key nor hash."""

# Entries whose meta says something to people: the text of an error, a line of a log, what a model counted.
_SAYS = frozenset({"outcome", "attempt", "log", "closed", "decision"})
_FIXED = ("s", "key", "action")
_COMPLETED = {"s": "completed"}  # what nearly every outcome says
_COMPLETED_TEXT = to_json(_COMPLETED)


class Pending(NamedTuple):
    """What is staged of a run, linked to its head, and where its file ends."""

    rows: list[Fields]
    size: int


class Live:
    """What an append needs to know about a run without reading it again.

    head: as it is stored. pending: what is to follow it, and is only staged. version: the store's, when
    `head` was last known to be the stored one.
    """

    __slots__ = ("_seals", "_tenure", "chain", "head", "pending", "place", "row", "version")

    def __init__(self, seals: Seals, row: RunRow, head: HeadRow) -> None:
        self._seals = seals
        self.row = row
        self.chain = seals.chain(row)
        self.pending: Pending | None = None
        self.place: Any = None
        self.version = -1
        self.lead(head)

    def lead(self, head: HeadRow) -> None:
        """Go on from a head whose lease may be another."""
        # The head last: an interrupt in between leaves a head that the next write finds to be stale.
        self._tenure = self._seals.tenure(self.row.id, head.generation, head.owner, head.expires_at)
        self.head = head

    def end(self) -> tuple[int, bytes]:
        """The last sequence number there is, staged or stored, and the hash that the next entry is to follow."""
        if self.pending is not None and self.pending.rows:
            last = self.pending.rows[-1]
            return last[0] & SEQ, last[-1]
        head = self.head
        return head.seq, head.hash if head.seq > self.row.base_seq else self.chain.start

    def staged(self) -> list[Prepared]:
        """What is staged, to be linked to another head."""
        return [row[1:-1] for row in self.pending.rows] if self.pending is not None else []

    def stage(self, prepared: list[Prepared]) -> tuple[list[Fields], bytes]:
        """The rows after what there is, and what proves them (see `staging`). Changes nothing."""
        seal, high = self.chain.seal, self.row.run << 32
        seq, last = self.end()
        rows: list[Fields] = []
        parts: list[bytes] = []
        for kind, scope, pos, at, meta, codec, packed, body, refs in prepared:
            seq += 1
            data = pack_entry(seq, kind, scope, pos, at, meta, codec, packed, body, refs)
            last = seal(last, data, body)
            rows.append((high | seq, kind, scope, pos, at, meta, codec, packed, body, refs, last))
            parts += (data, body or b"")
        return rows, b"".join((*parts, last))

    def extend(
        self, prepared: list[Prepared], now: float, status: RunStatus | None = None
    ) -> tuple[HeadRow, list[Fields]]:
        """The head and the rows after appending, what is staged first. Changes nothing."""
        run, was, _, _, _, generation, owner, expires_at, _ = self.head
        seq, last = self.end()
        seal, high = self.chain.seal, run << 32
        written = [*self.pending.rows] if self.pending is not None else []
        for kind, scope, pos, at, meta, codec, packed, body, refs in prepared:
            seq += 1
            last = seal(last, pack_entry(seq, kind, scope, pos, at, meta, codec, packed, body, refs), body)
            # Plain tuples: `EntryRow` would cost a call for each.
            written.append((high | seq, kind, scope, pos, at, meta, codec, packed, body, refs, last))
        if not written:
            last = self.head.hash
        is_now = status or was
        mac = seal_head(self._tenure, is_now, now, seq, last)
        return HeadRow(run, is_now, now, seq, last, generation, owner, expires_at, mac), written


def pack_payload(payload: Payload | None) -> tuple[str | None, int, bytes | None, bytes | None]:
    """A payload as the columns `codec`, `packed`, `body` and `refs`. Its chunks are left out."""
    if payload is None:
        return None, 0, None, None
    codec, body, parts, _ = payload
    if not parts and len(body) < BODY_FLOOR:
        return codec, 0, body, b""
    packed, body = pack(body, BODY_FLOOR)
    refs = b"".join(parts)
    if len(refs) != DIGEST * len(parts):
        raise StoreError(f"the digests a payload refers to have {DIGEST} bytes each")
    return codec, packed, body, refs


def prepare(draft: Draft, at: float) -> Prepared:
    """What of a draft does not depend on where it is appended. Raises `TypeError` for meta that is not JSON."""
    kind, scope, pos, meta, payload = draft
    if meta == _COMPLETED:
        text = _COMPLETED_TEXT
    else:
        text = to_json(as_dict(meta))
        if kind in _SAYS and (len(meta) > 1 or kind != "outcome") and concerns(text):
            text = to_json({**masked(meta), **{name: meta[name] for name in _FIXED if name in meta}})
    if payload is None:
        return kind, scope, pos, at, text, None, 0, None, None
    return kind, scope, pos, at, text, *pack_payload(payload)


def appended(draft: Draft, row: Fields) -> Entry:
    """A draft as the entry it has become."""
    kind, scope, pos, meta, payload = draft
    if payload is not None and payload.chunks != ():
        payload = Payload(payload.codec, payload.body, payload.refs)
    return Entry(row[0] & SEQ, kind, scope, pos, row[4], dict(meta), payload, row[-1])
