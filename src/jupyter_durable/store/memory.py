"""A store in memory: what tests use, and what ends with the process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jupyter_durable.clock import Clock, SystemClock
from jupyter_durable.codec.secret import StoreKey
from jupyter_durable.errors import StoreError
from jupyter_durable.store.base import RowStore
from jupyter_durable.store.journals import Backstop
from jupyter_durable.store.rows import (
    ChunkRow,
    EntryRow,
    HeadRow,
    InboxRow,
    JobRow,
    Registry,
    Rows,
    RunRow,
    Span,
    Transaction,
    from_json,
    is_deleted,
)


class _Tables:
    """The rows, and how to take back what an open transaction did to them."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], object]] = []
        self.commits = 0
        self._runs: dict[str, RunRow] = {}
        self._heads: dict[int, HeadRow] = {}
        self._entries: dict[int, dict[int, EntryRow]] = {}
        self._chunks: dict[bytes, ChunkRow] = {}
        self._attic: dict[bytes, tuple[ChunkRow, float]] = {}
        self._inbox: dict[int, dict[int, InboxRow]] = {}
        self._jobs: dict[int, JobRow] = {}
        self._registry: Registry | None = None

    def __enter__(self) -> _Tables:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.end()

    def end(self) -> None:
        while self._undo:
            self._undo[-1]()
            self._undo.pop()

    def commit(self) -> None:
        self._undo.clear()
        self.commits += 1

    # -- reading ---------------------------------------------------------------------------------

    def find(self, run_id: str) -> tuple[RunRow, HeadRow | None] | None:
        row = self._runs.get(run_id)
        return None if row is None else (row, self._heads.get(row.run))

    def ids_starting(self, prefix: str) -> list[str]:
        found = (row.id for row in self._runs.values() if row.id.startswith(prefix) and not is_deleted(row))
        return sorted(found)[:4]

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
        found: list[tuple[RunRow, HeadRow | None]] = []
        for row in sorted(self._runs.values(), key=lambda r: (r.created_at, r.run), reverse=True):
            head = self._heads.get(row.run)
            if (
                (status is None or (head is not None and head.status == status))
                and (name is None or row.name == name)
                and (notebook is None or row.notebook == notebook or notebook in from_json(row.aliases))
                and (job_id is None or row.job_id == (job_id or None))
                and (deleted or not is_deleted(row))
            ):
                found.append((row, head))
        return found if limit is None else found[:limit]

    def entries(self, run: int, after: int, upto: int, limit: int) -> Sequence[EntryRow]:
        own = self._entries.get(run, {})
        return [own[seq] for seq in range(after + 1, min(upto, after + limit) + 1) if seq in own]

    def entry_hash(self, run: int, seq: int) -> bytes | None:
        row = self._entries.get(run, {}).get(seq)
        return None if row is None else row.hash

    def chunk(self, digest: bytes) -> ChunkRow | None:
        return self._chunks.get(digest) or self._attic.get(digest, (None,))[0]

    def has_chunk(self, digest: bytes) -> bool:
        return digest in self._chunks

    def inbox(self, run: int, after: int) -> Sequence[InboxRow]:
        return [row for n, row in sorted(self._inbox.get(run, {}).items()) if n > after]

    def decided(self, run: int, key: str) -> InboxRow | None:
        return next((row for row in self._inbox.get(run, {}).values() if row.key == key), None)

    def registry(self) -> Registry | None:
        return self._registry

    def entry_spans(self) -> list[Span]:
        return [Span(run, min(own), max(own)) for run, own in self._entries.items() if own]

    def inbox_spans(self) -> list[Span]:
        return [Span(run, min(own), max(own)) for run, own in self._inbox.items() if own]

    def head_runs(self) -> list[int]:
        return list(self._heads)

    def chunks(self) -> Iterator[ChunkRow]:
        yield from self._chunks.values()
        yield from (row for row, _ in self._attic.values())

    def damage(self) -> list[str]:
        return []

    def forks(self, run_id: str) -> list[str]:
        return [row.id for row in self._runs.values() if row.forked_from == run_id]

    def children(self, run_id: str) -> list[str]:
        return [row.id for row in self._runs.values() if row.parent_id == run_id]

    def chunk_refs(self) -> Iterator[tuple[bytes, bytes, int]]:
        return ((row.digest, row.refs, len(row.data)) for row in self.chunks())

    def used_refs(self) -> Iterator[tuple[int, bytes]]:
        for run, entries in self._entries.items():
            yield from ((run, row.refs) for row in entries.values() if row.refs)
        for run, items in self._inbox.items():
            yield from ((run, item.refs) for item in items.values() if item.refs)

    def shelved(self) -> list[tuple[bytes, float]]:
        return [(digest, at) for digest, (_, at) in self._attic.items()]

    def entry_bytes(self, run: int) -> int:
        return sum(len(row.meta) + len(row.body or b"") for row in self._entries.get(run, {}).values())

    def used_bytes(self) -> int:
        return sum(size for _, _, size in self.chunk_refs()) + sum(map(self.entry_bytes, self._entries))

    def job(self, job_id: str) -> JobRow | None:
        return next((row for row in self._jobs.values() if row.id == job_id), None)

    def jobs_starting(self, prefix: str) -> list[str]:
        return sorted(row.id for row in self._jobs.values() if row.id.startswith(prefix))[:4]

    def jobs(
        self, *, status: str | None, batch: str | None, notebook: str | None, limit: int | None
    ) -> list[JobRow]:
        found = [
            row
            for row in sorted(self._jobs.values(), reverse=True)
            if (status is None or row.status == status)
            and (batch is None or row.batch == batch)
            and (notebook is None or notebook in (row.notebook, row.output))
        ]
        return found if limit is None else found[:limit]

    def due_jobs(self, now: float, limit: int, skip: int) -> list[JobRow]:
        due = [row for row in self._jobs.values() if row.owner is None and (row.due_at or now + 1) <= now]
        return sorted(due, key=lambda row: (-row.priority, row.job))[skip : skip + limit]

    def next_due(self) -> float | None:
        times = [row.due_at for row in self._jobs.values() if row.owner is None and row.due_at is not None]
        return min(times, default=None)

    def held_jobs(self) -> list[JobRow]:
        return sorted(row for row in self._jobs.values() if row.owner is not None)

    # -- writing ---------------------------------------------------------------------------------

    def put_registry(self, row: Registry) -> None:
        was, self._registry = self._registry, row
        self._undo.append(lambda: setattr(self, "_registry", was))

    def add_run(self, row: RunRow, head: HeadRow) -> None:
        self._runs[row.id] = row
        self._heads[row.run] = head
        self._undo.append(lambda: (self._runs.pop(row.id), self._heads.pop(row.run)))

    def put_run(self, row: RunRow) -> None:
        was, self._runs[row.id] = self._runs[row.id], row
        self._undo.append(lambda: self._runs.update({row.id: was}))

    def swap_head(self, old: bytes, head: HeadRow) -> bool:
        was = self._heads[head.run]
        if was.mac != old:
            return False
        self._heads[head.run] = head
        self._undo.append(lambda: self._heads.update({head.run: was}))
        return True

    def advance_head(self, old: bytes, head: HeadRow) -> bool:
        return self.swap_head(old, head)

    def add_entries(self, rows: Sequence[tuple[Any, ...]]) -> None:
        for row in map(EntryRow._make, rows):
            own, seq = self._entries.setdefault(row.key >> 32, {}), row.key & 0xFFFFFFFF
            own[seq] = row
            self._undo.append(lambda own=own, seq=seq: own.pop(seq))  # type: ignore[misc]

    def add_chunk(self, row: ChunkRow) -> None:
        self._chunks[row.digest] = row
        self._undo.append(lambda: self._chunks.pop(row.digest))

    def add_inbox(self, row: InboxRow) -> None:
        own = self._inbox.setdefault(row.run, {})
        own[row.n] = row
        self._undo.append(lambda: own.pop(row.n))

    def drop_entries(self, run: int, after: int) -> None:
        own = self._entries.get(run, {})
        gone = {seq: own.pop(seq) for seq in [*own] if seq > after}
        self._undo.append(lambda: own.update(gone))

    def drop_inbox(self, run: int) -> None:
        was = self._inbox.pop(run, {})
        self._undo.append(lambda: self._inbox.update({run: was}))

    def drop_run(self, run: int) -> None:
        row = next(row for row in self._runs.values() if row.run == run)
        was = (self._heads.pop(run), self._entries.pop(run, {}), self._inbox.pop(run, {}))
        del self._runs[row.id]

        def back() -> None:
            self._runs[row.id] = row
            self._heads[run], self._entries[run], self._inbox[run] = was

        self._undo.append(back)

    def shelve(self, digests: Sequence[bytes], at: float) -> None:
        for digest in digests:
            self._attic[digest] = self._chunks.pop(digest), at
            self._undo.append(lambda digest=digest: self._chunks.update({digest: self._attic.pop(digest)[0]}))  # type: ignore[misc]

    def unshelve(self, digests: Sequence[bytes]) -> None:
        for digest in digests:
            was = self._attic.pop(digest)
            self._chunks.setdefault(digest, was[0])
            self._undo.append(lambda digest=digest, was=was: self._attic.update({digest: was}))  # type: ignore[misc]

    def drop_shelved(self, digests: Sequence[bytes]) -> None:
        for digest in digests:
            was = self._attic.pop(digest)
            self._undo.append(lambda digest=digest, was=was: self._attic.update({digest: was}))  # type: ignore[misc]

    def add_job(self, row: JobRow) -> int:
        number = row.job or max(self._jobs, default=0) + 1
        was, self._jobs[number] = self._jobs.get(number), row._replace(job=number)
        self._undo.append(lambda: self._jobs.update({number: was}) if was else self._jobs.pop(number))
        return number

    def drop_job(self, job: int) -> None:
        was = self._jobs.pop(job)
        self._undo.append(lambda: self._jobs.update({job: was}))


class MemoryStore(RowStore):
    """A `JournalStore` that keeps everything in this process.

    It keeps the same rows, hashes and rules as the file does; only durability is missing.

    >>> store = MemoryStore()
    >>> store.runs()
    []
    """

    def __init__(self, *, key: StoreKey | None = None, clock: Clock | None = None) -> None:
        super().__init__("memory:", key or StoreKey.generate(), clock or SystemClock())
        self._closed = False
        self._tables = _Tables()
        self._backstop = Backstop(self._tables.end)
        registry = Registry(0, 0, b"")
        with self._writing(durable=True) as rows:
            rows.put_registry(registry._replace(mac=self._seals.registry(registry)))
            rows.commit()

    def close(self) -> None:
        """Every other call after it raises `StoreError`. May be repeated."""
        self._closed = True

    def shrink(self) -> tuple[int, int]:
        """See `JournalStore`: there is no file."""
        self._check_open()
        return 0, 0

    def backup(self, path: Path) -> None:
        """See `JournalStore`."""
        raise StoreError("a store in memory has no backup", hint="name a file with --store")

    def version(self) -> int:
        """See `JournalStore`."""
        self._check_open()
        return self._tables.commits

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("this store is closed", hint="open it again")

    def _writing(self, *, durable: bool) -> Transaction:
        self._check_open()
        return self._tables

    def _flush(self) -> None:
        pass

    @contextmanager
    def _reading(self) -> Iterator[Rows]:
        self._check_open()
        with self._turn:
            yield self._tables

    _snapshot = _reading
