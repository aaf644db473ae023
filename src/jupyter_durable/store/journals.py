"""The journal of a run, over rows that a place of storage provides: appended, staged, read.

Fencing, chaining and what is refused when it does not verify are decided here, once for every store.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from pathlib import Path

from jupyter_durable.clock import Clock
from jupyter_durable.codec.secret import StoreKey
from jupyter_durable.errors import IntegrityError, StoreError
from jupyter_durable.model import (
    Chunk,
    Draft,
    Entry,
    Lease,
    Payload,
    RunStatus,
)
from jupyter_durable.store import leases, lineage
from jupyter_durable.store.chain import Seals
from jupyter_durable.store.drafting import Fields, Live, Pending, appended, prepare
from jupyter_durable.store.packing import CHUNK_FLOOR, pack, unpack
from jupyter_durable.store.rows import (
    DIGEST,
    SEQ,
    ChunkRow,
    HeadRow,
    Rows,
    RunRow,
    Transaction,
    split,
)
from jupyter_durable.store.staging import MOST, Place, load, record


class Backstop:
    """Ends a transaction once more, around it: an interrupt may hit the first line of its own `__exit__`."""

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._end()


class Journals(ABC):
    """The journals of a store, given rows. Any thread may call; writes take turns."""

    def __init__(self, url: str, key: StoreKey, clock: Clock) -> None:
        self.url = url
        self.key = key
        self._clock = clock
        self._seals = Seals(key)
        self._live: dict[str, Live] = {}
        self._make_guards()

    _backstop: Backstop
    """Made by the store: what ends its transactions, whatever became of them."""

    def _make_guards(self) -> None:
        # A plain `with` on it is the one guard that an interrupt between two bytecodes cannot leave locked.
        self._turn = threading.RLock()

    @abstractmethod
    def close(self) -> None:
        """Release files and locks. May be repeated; every other call after it raises `StoreError`."""

    @abstractmethod
    def version(self) -> int:
        """A number that changes whenever another connection has committed. Microseconds; never blocks."""

    @abstractmethod
    def _writing(self, *, durable: bool) -> Transaction:
        """A transaction, to be entered while `_turn` is held."""

    @abstractmethod
    def _flush(self) -> None:
        """Return when what was committed survives power loss."""

    @abstractmethod
    def _reading(self) -> AbstractContextManager[Rows]:
        """Committed rows."""

    @abstractmethod
    def _snapshot(self) -> AbstractContextManager[Rows]:
        """Committed rows as of one moment, told from damage as far as possible."""

    # What is staged (see `staging`): a store that has no place for it appends at once.

    def _place(self, live: Live) -> Place | None:
        """Where entries of the run may be staged."""
        return None

    def _is_ours(self, live: Live) -> bool:
        """Whether `live.head` is still the stored one. Never waits."""
        return True

    def _left_behind(self, row: RunRow) -> list[Path]:
        """The files in which holders of the run's lease have staged entries, the oldest first."""
        return []

    # -- the journal -----------------------------------------------------------------------------

    def append(
        self, lease: Lease, drafts: Sequence[Draft], *, durable: bool, status: RunStatus | None = None
    ) -> list[Entry]:
        """See `JournalStore`.

        `payload.chunks` may be any iterable: it is consumed once, chunk by chunk, inside the
        transaction. It may read this store, and must not write to it.
        """
        written = self._write(lease, drafts, durable, status)
        return [appended(draft, row) for draft, row in zip(drafts, written[-len(drafts) :], strict=False)]

    def write(
        self, lease: Lease, drafts: Sequence[Draft], *, durable: bool, status: RunStatus | None = None
    ) -> None:
        """See `JournalStore`."""
        self._write(lease, drafts, durable, status)

    def _write(
        self, lease: Lease, drafts: Sequence[Draft], durable: bool, status: RunStatus | None
    ) -> list[Fields]:
        now = self._clock.now()
        prepared = [prepare(draft, now) for draft in drafts]
        with self._turn, self._backstop, self._writing(durable=durable) as rows:
            live = self._live.get(lease.run_id)
            if live is None or live.head.generation != lease.generation:
                live = self._load(rows, lease)
            head, written = live.extend(prepared, now, status)
            # The MAC covers every column, so comparing it is the fence, and finds a view of ours that is stale.
            if not rows.advance_head(live.head.mac, head):
                stale, live = live, self._load(rows, lease)
                live.place = stale.place
                head, written = live.extend(stale.staged() + prepared, now, status)
                rows.advance_head(live.head.mac, head)
            for draft in drafts:
                if draft.payload is not None and draft.payload.chunks:
                    self._store_chunks(rows, draft.payload)
            rows.add_entries(written)
            rows.commit()
            live.head = head  # first: what is staged does not follow it, so it cannot be stored twice
            live.pending = None
            self._live[lease.run_id] = live
        if durable:
            self._flush()
        return written

    def stage(self, lease: Lease, drafts: Sequence[Draft]) -> bool:
        """See `JournalStore`."""
        with self._turn:
            live = self._live.get(lease.run_id)
            if live is None or live.head.generation != lease.generation:
                return False
            for draft in drafts:
                if draft.payload is not None and draft.payload.chunks:
                    return False
            place = live.place
            if place is None:
                place = live.place = self._place(live)
                if place is None:
                    return False
            now = self._clock.now()
            rows, proof = live.stage([prepare(draft, now) for draft in drafts])
            data, before = record(proof), live.pending
            at = before.size if before is not None else 0
            if at + len(data) > MOST or not place.keep(data, at):
                return False
            # After it was written: who takes the lease over from here on finds it there.
            if not self._is_ours(live):
                return False
            live.pending = Pending(rows if before is None else before.rows + rows, at + len(data))
            return True

    def settle(self, lease: Lease) -> None:
        """See `JournalStore`."""
        live = self._live.get(lease.run_id)
        if live is not None and live.pending is not None:
            self.write(lease, (), durable=False)

    def _store_chunks(self, rows: Transaction, payload: Payload) -> None:
        for digest, data, refs in payload.chunks:
            if len(digest) != DIGEST:
                raise StoreError(f"a chunk's digest has {DIGEST} bytes, not {len(digest)}")
            if not rows.has_chunk(digest):
                packed, kept = pack(data, CHUNK_FLOOR)
                rows.add_chunk(ChunkRow(digest, b"".join(refs), packed, kept))

    def entries(self, run_id: str, *, after: int = 0, upto: int | None = None) -> Iterator[Entry]:
        """See `JournalStore`. Entries appended after the call are not among them."""
        staged: list[Fields] = []
        with self._reading() as rows:
            row, head = self._found(rows, run_id)
            if upto is None and head.owner is not None:
                for path in self._left_behind(row):
                    live = Live(self._seals, row, head)
                    staged += live.extend(load(path, live), head.updated_at)[1]
            parts = list(lineage.parts(rows, self._found, run_id, after, head.seq if upto is None else upto))
        stored = lineage.read(parts, self._reading, self._seals, run_id)
        return chain(stored, (lineage.entry(*fields) for fields in staged if fields[0] & SEQ > after))

    def chunk(self, digest: bytes) -> Chunk:
        """See `JournalStore`."""
        with self._reading() as rows:
            row = rows.chunk(digest)
        if row is None:
            raise IntegrityError(f"chunk {digest.hex()} is missing from {self.url}", hint=lineage.RESTORE)
        try:
            data, refs = unpack(row.packed, row.data), split(row.refs)
            sound = self._seals.blob(data, refs) == digest
        except (TypeError, IntegrityError):
            sound = False
        if not sound:
            raise IntegrityError(f"chunk {digest.hex()} of {self.url} does not verify", hint=lineage.RESTORE)
        return Chunk(digest, data, refs)

    def has_chunk(self, digest: bytes) -> bool:
        """See `JournalStore`."""
        with self._reading() as rows:
            return rows.has_chunk(digest)

    def _store_staged(self, live: Live) -> None:
        """Store what earlier holders of the lease have staged, and remove their files."""
        for path in self._left_behind(live.row):
            with self._turn:
                if found := load(path, live):
                    head, written = live.extend(found, self._clock.now())
                    with self._backstop, self._writing(durable=True) as rows:
                        rows.advance_head(live.head.mac, head)
                        rows.add_entries(written)
                        rows.commit()
                        live.head = head
            path.unlink(missing_ok=True)

    # -- parts -----------------------------------------------------------------------------------

    def _checked(self, row: RunRow, head: HeadRow | None) -> tuple[RunRow, HeadRow]:
        if head is None or not self._seals.is_run(row) or not self._seals.is_head(row.id, head):
            raise lineage.broken(row.id, "its row does not verify")
        return row, head

    def _found(self, rows: Rows, run_id: str) -> tuple[RunRow, HeadRow]:
        found = rows.find(run_id)
        if found is None:
            raise lineage.no_run(run_id)
        return self._checked(*found)

    def _load(self, rows: Rows, lease: Lease) -> Live:
        row, head = self._found(rows, lease.run_id)
        if head.generation != lease.generation or head.owner is None:
            self._live.pop(lease.run_id, None)
            raise leases.lost(row, head, lease.generation)
        return Live(self._seals, row, head)

    def _settled(self, rows: Transaction, lease: Lease) -> Live:
        """What is stored of the run, read anew, after storing what is staged."""
        live, known = self._load(rows, lease), self._live.get(lease.run_id)
        if known is not None and known.head.generation == lease.generation:
            live.place = known.place
            if known.pending is not None:
                head, written = live.extend(known.staged(), self._clock.now())
                rows.advance_head(live.head.mac, head)
                rows.add_entries(written)
                live.head = head
        return live

    def _sealed_head(self, run_id: str, head: HeadRow) -> HeadRow:
        return head._replace(mac=self._seals.head(run_id, head))
