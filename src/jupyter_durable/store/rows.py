"""The rows a journal is kept as, whatever keeps them, and what they mean as types of the vocabulary.

A run is two rows, because one of them is rewritten by every append and must stay small: `RunRow`
(who it is; rarely changes) and `HeadRow` (how far it got, who holds its lease).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, cast

from jupyter_durable.codec.plain import dumps
from jupyter_durable.model import (
    ForkKind,
    InboxItem,
    JobRecord,
    JobStatus,
    Lease,
    Owner,
    Payload,
    RunRecord,
    RunStatus,
)
from jupyter_durable.store.packing import unpack

DIGEST = 16
"""Bytes of a hash, a MAC and a chunk's digest."""
SEQ = 0xFFFFFFFF
"""The part of an entry's key that is its sequence number."""
DELETED = "deleted"
"""The key in a run's `meta` that says that it was, and since when: it is kept for its forks."""

_ascii = json.JSONEncoder(separators=(",", ":")).encode
_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # without `decode`'s search for white space


class RunRow(NamedTuple):
    """Who a run is. `aliases` and `meta` are JSON; `posted` counts its inbox."""

    run: int
    id: str
    name: str
    created_at: float
    notebook: str | None
    cell_id: str | None
    job_id: str | None
    parent_id: str | None
    root_id: str | None
    forked_from: str | None
    fork_kind: str | None
    base_seq: int
    base_hash: bytes
    aliases: str
    meta: str
    posted: int
    mac: bytes


def is_deleted(row: RunRow) -> bool:
    """Whether only what its forks need is left of the run."""
    return DELETED in row.meta and DELETED in from_json(row.meta)


class HeadRow(NamedTuple):
    """How far a run got, and who may take it further. `owner` is JSON, or None if nobody may."""

    run: int
    status: str
    updated_at: float
    seq: int
    hash: bytes
    generation: int
    owner: str | None
    expires_at: float
    mac: bytes


class EntryRow(NamedTuple):
    """An entry. `key` is `run << 32 | seq`: one integer clusters a run's entries without an index."""

    key: int
    type: str
    scope: int
    pos: int
    at: float
    meta: str
    codec: str | None
    packed: int
    body: bytes | None
    refs: bytes | None
    hash: bytes


class ChunkRow(NamedTuple):
    """A chunk. `packed` is the size of its data before compression, 0 if it is not compressed."""

    digest: bytes
    refs: bytes
    packed: int
    data: bytes


class InboxRow(NamedTuple):
    """An inbox row; `n` counts from 1 in its run. `value` is JSON."""

    run: int
    n: int
    kind: str
    key: str
    value: str
    codec: str | None
    packed: int
    body: bytes | None
    refs: bytes | None
    by: str
    at: float
    mac: bytes


class JobRow(NamedTuple):
    """A job; `job` counts them in the order in which they were made. `spec`, `owner` and `report` are JSON."""

    job: int
    id: str
    notebook: str
    output: str
    spec: str
    batch: str | None
    priority: int
    created_at: float
    status: str
    updated_at: float
    due_at: float | None
    generation: int
    owner: str | None
    expires_at: float
    report: str
    mac: bytes


class Registry(NamedTuple):
    """How many runs the store ever made and how many it has: what a deleted run is missed by."""

    made: int
    kept: int
    mac: bytes


class Span(NamedTuple):
    """What is stored of one run's entries or inbox: from which number to which."""

    run: int
    first: int
    last: int


class Rows(Protocol):
    """What a place of storage provides. Reading sees committed rows; writing happens in a transaction."""

    def find(self, run_id: str) -> tuple[RunRow, HeadRow | None] | None:
        """The rows of exactly this id."""
        ...

    def ids_starting(self, prefix: str) -> list[str]:
        """Up to four ids that start with `prefix`."""
        ...

    def select(
        self,
        *,
        status: str | None,
        name: str | None,
        notebook: str | None,
        job_id: str | None,
        limit: int | None,
        deleted: bool = True,
    ) -> list[tuple[RunRow, HeadRow | None]]:
        """Matching runs, newest first; `deleted`: also those that are kept for their forks."""
        ...

    def entries(self, run: int, after: int, upto: int, limit: int) -> Sequence[tuple[Any, ...]]:
        """The first `limit` rows with `after < seq <= upto`: the fields of an `EntryRow` each."""
        ...

    def entry_hash(self, run: int, seq: int) -> bytes | None:
        """The hash stored with an entry."""
        ...

    def chunk(self, digest: bytes) -> ChunkRow | None:
        """The row of this digest."""
        ...

    def has_chunk(self, digest: bytes) -> bool:
        """Whether there is a row of this digest."""
        ...

    def inbox(self, run: int, after: int) -> Sequence[InboxRow]:
        """The rows with `n > after`."""
        ...

    def decided(self, run: int, key: str) -> InboxRow | None:
        """The row of this key."""
        ...

    def registry(self) -> Registry | None:
        """The store's registry."""
        ...

    def entry_spans(self) -> list[Span]:
        """What is stored of each run's entries, known or not."""
        ...

    def inbox_spans(self) -> list[Span]:
        """What is stored of each run's inbox, known or not."""
        ...

    def head_runs(self) -> list[int]:
        """The runs that have a head."""
        ...

    def chunks(self) -> Iterator[ChunkRow]:
        """Every chunk."""
        ...

    def damage(self) -> list[str]:
        """What the medium itself finds wrong."""
        ...

    def forks(self, run_id: str) -> list[str]:
        """The runs that were forked from this one."""
        ...

    def children(self, run_id: str) -> list[str]:
        """The runs whose parent this one is."""
        ...

    def chunk_refs(self) -> Iterator[tuple[bytes, bytes, int]]:
        """Digest, refs and size of every chunk, those put aside included."""
        ...

    def used_refs(self) -> Iterator[tuple[int, bytes]]:
        """Number of its run and refs of each entry and inbox row that has any."""
        ...

    def shelved(self) -> list[tuple[bytes, float]]:
        """The chunks that were put aside, and when."""
        ...

    def entry_bytes(self, run: int) -> int:
        """About how much a run's entries take."""
        ...

    def used_bytes(self) -> int:
        """How much of the store is in use."""
        ...

    def job(self, job_id: str) -> JobRow | None:
        """The job of exactly this id."""
        ...

    def jobs_starting(self, prefix: str) -> list[str]:
        """Up to four ids of jobs that start with `prefix`."""
        ...

    def jobs(
        self, *, status: str | None, batch: str | None, notebook: str | None, limit: int | None
    ) -> list[JobRow]:
        """Matching jobs, newest first. `notebook` also matches where a job writes."""
        ...

    def due_jobs(self, now: float, limit: int, skip: int) -> list[JobRow]:
        """Jobs that nobody holds and whose time has come, the first to be done first."""
        ...

    def next_due(self) -> float | None:
        """When the next job is due that nobody holds."""
        ...

    def held_jobs(self) -> list[JobRow]:
        """Jobs that somebody holds."""
        ...


class Transaction(Rows, Protocol):
    """Rows that may be written: all at `commit`, or none."""

    def __enter__(self) -> Transaction: ...

    def __exit__(self, kind: object, error: object, trace: object) -> None: ...

    def commit(self) -> None:
        """Make it so. Leaving the `with` without it undoes everything."""
        ...

    def put_registry(self, row: Registry) -> None:
        """Replace the registry."""
        ...

    def add_run(self, row: RunRow, head: HeadRow) -> None:
        """Insert a run."""
        ...

    def put_run(self, row: RunRow) -> None:
        """Replace a run's row."""
        ...

    def swap_head(self, old: bytes, head: HeadRow) -> bool:
        """Replace a run's head if its MAC is still `old`; whether it was."""
        ...

    def advance_head(self, old: bytes, head: HeadRow) -> bool:
        """The same where owner, generation and expiry stay what they are."""
        ...

    def add_entries(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert entries: the fields of an `EntryRow` each."""
        ...

    def add_chunk(self, row: ChunkRow) -> None:
        """Insert a chunk that is not stored yet."""
        ...

    def add_inbox(self, row: InboxRow) -> None:
        """Insert an inbox row."""
        ...

    def drop_entries(self, run: int, after: int) -> None:
        """Delete a run's entries from there on."""
        ...

    def drop_inbox(self, run: int) -> None:
        """Delete a run's inbox."""
        ...

    def drop_run(self, run: int) -> None:
        """Delete a run: its row, head, entries and inbox."""
        ...

    def shelve(self, digests: Sequence[bytes], at: float) -> None:
        """Put chunks aside: `chunk` still finds them, `has_chunk` does not."""
        ...

    def unshelve(self, digests: Sequence[bytes]) -> None:
        """Put chunks back."""
        ...

    def drop_shelved(self, digests: Sequence[bytes]) -> None:
        """Delete chunks that were put aside."""
        ...

    def add_job(self, row: JobRow) -> int:
        """Insert a job, or replace the one with its number (0: a new one, which is returned)."""
        ...

    def drop_job(self, job: int) -> None:
        """Delete a job."""
        ...


def to_json(value: Any) -> str:
    """Compact JSON. Text stays readable, unless it holds lone surrogates, which UTF-8 cannot."""
    text = dumps(value)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return _ascii(value)
    return text


def from_json(text: str) -> Any:
    """The value of what `to_json` wrote (no white space around it)."""
    return _scan(text, 0)[0]


def split(refs: bytes | None) -> tuple[bytes, ...]:
    """Digests out of their concatenation."""
    if not refs:
        return ()
    return tuple(refs[at : at + DIGEST] for at in range(0, len(refs), DIGEST))


def to_payload(codec: str | None, packed: int, body: bytes | None, refs: bytes | None) -> Payload | None:
    """The payload kept in an entry or inbox row."""
    if codec is None:
        return None
    data = body or b""
    return Payload(codec, unpack(packed, data) if packed else data, split(refs) if refs else ())


def owner_json(owner: Owner, since: float) -> str:
    """An owner as a head row keeps it."""
    return to_json([owner.host, owner.pid, owner.started, owner.label, since])


def to_owner(text: str) -> tuple[Owner, float]:
    """An owner out of a head row, and since when it holds the lease."""
    host, pid, started, label, since = from_json(text)
    return Owner(host, pid, started, label), since


def to_record(row: RunRow, head: HeadRow) -> RunRecord:
    """A run's two rows as one record."""
    return RunRecord(
        id=row.id,
        name=row.name,
        status=cast("RunStatus", head.status),
        created_at=row.created_at,
        updated_at=head.updated_at,
        notebook=row.notebook,
        cell_id=row.cell_id,
        job_id=row.job_id,
        parent_id=row.parent_id,
        root_id=row.root_id,
        forked_from=row.forked_from,
        fork_kind=cast("ForkKind | None", row.fork_kind),
        base_seq=row.base_seq,
        base_hash=row.base_hash,
        head_seq=head.seq,
        head_hash=head.hash,
        owner=to_owner(head.owner)[0] if head.owner is not None else None,
        generation=head.generation,
        expires_at=head.expires_at,
        meta=from_json(row.meta),
    )


def to_lease(row: RunRow, head: HeadRow, owner: Owner) -> Lease:
    """The lease a head row grants."""
    return Lease(row.id, head.generation, owner, head.expires_at)


def to_item(run_id: str, row: InboxRow) -> InboxItem:
    """An inbox row as an item."""
    payload = to_payload(row.codec, row.packed, row.body, row.refs)
    return InboxItem(row.n, run_id, row.kind, row.key, from_json(row.value), payload, row.by, row.at)


def to_job(row: JobRow) -> JobRecord:
    """A job's row as a record."""
    return JobRecord(
        id=row.id,
        notebook=row.notebook,
        output=row.output,
        created_at=row.created_at,
        updated_at=row.updated_at,
        status=cast("JobStatus", row.status),
        spec=from_json(row.spec),
        batch=row.batch,
        priority=row.priority,
        due_at=row.due_at,
        owner=to_owner(row.owner)[0] if row.owner is not None else None,
        generation=row.generation,
        expires_at=row.expires_at,
        report=from_json(row.report),
    )


def as_dict(meta: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping as JSON can write it."""
    return meta if type(meta) is dict else dict(meta)
