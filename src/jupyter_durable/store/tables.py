"""The fixed SQL: a store's rows over one SQLite connection, its errors as ours.

A run's head is the last row of its entries, with the highest sequence number there is: an append
rewrites it beside what it inserts, so one page changes and not two. In that row `codec` is the
status, `scope` the generation, `pos` the sequence number, `meta` owner and expiry, `body` the MAC.
"""

# ruff: noqa: D102 - `rows.Rows` and `rows.Transaction` say what each method does

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jupyter_durable.store.faults import FAULTS, translate
from jupyter_durable.store.rows import (
    DELETED,
    ChunkRow,
    EntryRow,
    HeadRow,
    InboxRow,
    JobRow,
    Registry,
    RunRow,
    Span,
)

_RUN_COLUMNS = ", ".join(f"r.{name}" for name in RunRow._fields)
_HEAD_COLUMNS = "h.codec, h.at, h.pos, h.hash, h.scope, h.meta, h.body"
_ENTRY_COLUMNS = ", ".join(EntryRow._fields)
_INBOX_COLUMNS = ", ".join(InboxRow._fields)
_CHUNK_COLUMNS = ", ".join(ChunkRow._fields)
_JOB_COLUMNS = ", ".join(JobRow._fields)
_HEAD = 0xFFFFFFFF
_BODY = EntryRow._fields.index("body")
_RUN_WIDTH = len(RunRow._fields)


def _marks(row: type[tuple[Any, ...]]) -> str:
    return ", ".join("?" * len(row._fields))  # type: ignore[attr-defined]


_RUNS = (
    f"SELECT {_RUN_COLUMNS}, {_HEAD_COLUMNS} FROM runs r LEFT JOIN entries h ON h.key = r.run << 32 | {_HEAD}"  # noqa: S608
)
_FIND = f"{_RUNS} WHERE r.id = ?"
# Of a deleted run's remainder that is all there is. Not JSON to SQLite, which knows no `Infinity`.
_PRESENT = f"""meta NOT LIKE '{{"{DELETED}":%'"""
_STARTING = (
    f"SELECT id FROM runs WHERE id >= ? AND substr(id, 1, length(?)) = ? AND {_PRESENT} ORDER BY id LIMIT 4"  # noqa: S608
)
_ENTRIES = f"SELECT {_ENTRY_COLUMNS} FROM entries WHERE key > ? AND key <= ? ORDER BY key LIMIT ?"  # noqa: S608
_CHUNK = f"SELECT {_CHUNK_COLUMNS} FROM chunks WHERE digest = ?"  # noqa: S608
_ATTIC = f"SELECT {_CHUNK_COLUMNS} FROM attic WHERE digest = ?"  # noqa: S608
_ALL_CHUNKS = f"SELECT {_CHUNK_COLUMNS} FROM chunks UNION ALL SELECT {_CHUNK_COLUMNS} FROM attic"  # noqa: S608
_SHELVE = f"INSERT OR REPLACE INTO attic ({_CHUNK_COLUMNS}, at) SELECT {_CHUNK_COLUMNS}, ? FROM chunks WHERE digest = ?"  # noqa: S608
_UNSHELVE = f"INSERT OR IGNORE INTO chunks ({_CHUNK_COLUMNS}) {_ATTIC}"
_SIZES = "SELECT digest, refs, length(data) + 60 FROM {}"
_USED = (
    "SELECT key >> 32, refs FROM entries WHERE refs IS NOT NULL AND length(refs) > 0"
    " UNION ALL SELECT run, refs FROM inbox WHERE refs IS NOT NULL AND length(refs) > 0"
)
_ENTRY_BYTES = "SELECT total(length(meta) + ifnull(length(body), 0) + ifnull(length(refs), 0) + 70) FROM entries WHERE key BETWEEN ? AND ?"
_INBOX = f"SELECT {_INBOX_COLUMNS} FROM inbox WHERE run = ? AND n > ? ORDER BY n"  # noqa: S608
_DECIDED = f"SELECT {_INBOX_COLUMNS} FROM inbox WHERE run = ? AND key = ?"  # noqa: S608
_ENTRY_SPANS = (
    f"SELECT key >> 32, min(key) & {_HEAD}, max(key) & {_HEAD} FROM entries WHERE key & {_HEAD} != {_HEAD}"  # noqa: S608
    " GROUP BY key >> 32"
)
_HEAD_RUNS = f"SELECT key >> 32 FROM entries WHERE key & {_HEAD} = {_HEAD}"  # noqa: S608
_INBOX_SPANS = "SELECT run, min(n), max(n) FROM inbox GROUP BY run"

_ADD_RUN = f"INSERT INTO runs ({', '.join(RunRow._fields)}) VALUES ({_marks(RunRow)})"  # noqa: S608
_PUT_RUN = "UPDATE runs SET notebook = ?, aliases = ?, meta = ?, posted = ?, mac = ? WHERE run = ?"
_SWAP_HEAD = "UPDATE entries SET codec = ?, at = ?, pos = ?, hash = ?, scope = ?, meta = ?, body = ? WHERE key = ? AND body = ?"
_ADVANCE_HEAD = "UPDATE entries SET codec = ?, at = ?, pos = ?, hash = ?, body = ? WHERE key = ? AND body = ?"
_ADD_ENTRY = f"INSERT INTO entries ({_ENTRY_COLUMNS}) VALUES ({_marks(EntryRow)})"  # noqa: S608
_ADD_CHUNK = f"INSERT INTO chunks ({_CHUNK_COLUMNS}) VALUES ({_marks(ChunkRow)})"  # noqa: S608
_ADD_INBOX = f"INSERT INTO inbox ({_INBOX_COLUMNS}) VALUES ({_marks(InboxRow)})"  # noqa: S608
_JOB = f"SELECT {_JOB_COLUMNS} FROM jobs"  # noqa: S608
_JOBS_STARTING = "SELECT id FROM jobs WHERE id >= ? AND substr(id, 1, length(?)) = ? ORDER BY id LIMIT 4"
_DUE = f"{_JOB} WHERE owner IS NULL AND due_at <= ? ORDER BY priority DESC, job LIMIT ? OFFSET ?"
_NEXT_DUE = "SELECT min(due_at) FROM jobs WHERE due_at IS NOT NULL AND owner IS NULL"
_ADD_JOB = f"INSERT OR REPLACE INTO jobs ({_JOB_COLUMNS}) VALUES ({_marks(JobRow)})"  # noqa: S608
_PUT_REGISTRY = "INSERT OR REPLACE INTO registry (one, made, kept, mac) VALUES (1, ?, ?, ?)"


class Tables:
    """`Rows`, and the writing half of `Transaction`. Not to be shared by threads unguarded."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._cursor = connection.cursor()
        self._written = 0

    def _do(self, sql: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        try:
            return self._cursor.execute(sql, values)
        except FAULTS as error:
            raise translate(error, self._path) from error

    def _all(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._cursor.execute(sql, values).fetchall()
        except FAULTS as error:
            raise translate(error, self._path) from error

    # -- reading ---------------------------------------------------------------------------------

    def find(self, run_id: str) -> tuple[RunRow, HeadRow | None] | None:
        found = self._all(_FIND, (run_id,))
        return _both(found[0]) if found else None

    def ids_starting(self, prefix: str) -> list[str]:
        return [row[0] for row in self._all(_STARTING, (prefix, prefix, prefix))]

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
        tests: list[str] = [] if deleted else [_PRESENT.replace("meta", "r.meta")]
        values: list[object] = []
        for test, value in (("h.codec = ?", status), ("r.name = ?", name), ("r.job_id = ?", job_id)):
            if value is not None:
                tests.append(test)
                values.append(value)
        if job_id == "":
            tests[-1] = "r.job_id IS NULL"
            values.pop()
        if notebook is not None:
            tests.append("(r.notebook = ? OR EXISTS (SELECT 1 FROM json_each(r.aliases) WHERE value = ?))")
            values += (notebook, notebook)
        where = f" WHERE {' AND '.join(tests)}" if tests else ""
        values.append(-1 if limit is None else limit)
        return [
            _both(r)
            for r in self._all(f"{_RUNS}{where} ORDER BY r.created_at DESC, r.run DESC LIMIT ?", values)
        ]

    def entries(self, run: int, after: int, upto: int, limit: int) -> Sequence[tuple[Any, ...]]:
        return self._all(_ENTRIES, (run << 32 | after, run << 32 | upto, limit))

    def entry_hash(self, run: int, seq: int) -> bytes | None:
        found = self._all("SELECT hash FROM entries WHERE key = ?", (run << 32 | seq,))
        return found[0][0] if found else None

    def head_mac(self, run: int) -> bytes | None:
        """The MAC of a run's head."""
        found = self._all("SELECT body FROM entries WHERE key = ?", (run << 32 | _HEAD,))
        return found[0][0] if found else None

    def data_version(self) -> int:
        """A number that changes when another connection has committed."""
        try:
            return int(self._cursor.execute("PRAGMA data_version").fetchone()[0])
        except FAULTS as error:
            raise translate(error, self._path) from error

    def chunk(self, digest: bytes) -> ChunkRow | None:
        found = self._all(_CHUNK, (digest,)) or self._all(_ATTIC, (digest,))
        return ChunkRow(*found[0]) if found else None

    def has_chunk(self, digest: bytes) -> bool:
        return bool(self._all("SELECT 1 FROM chunks WHERE digest = ?", (digest,)))

    def inbox(self, run: int, after: int) -> Sequence[InboxRow]:
        return [InboxRow(*row) for row in self._all(_INBOX, (run, after))]

    def decided(self, run: int, key: str) -> InboxRow | None:
        found = self._all(_DECIDED, (run, key))
        return InboxRow(*found[0]) if found else None

    def registry(self) -> Registry | None:
        found = self._all("SELECT made, kept, mac FROM registry")
        return Registry(*found[0]) if found else None

    def entry_spans(self) -> list[Span]:
        return [Span(*row) for row in self._all(_ENTRY_SPANS)]

    def inbox_spans(self) -> list[Span]:
        return [Span(*row) for row in self._all(_INBOX_SPANS)]

    def head_runs(self) -> list[int]:
        return [row[0] for row in self._all(_HEAD_RUNS)]

    def chunks(self) -> Iterator[ChunkRow]:
        # One at a time, by a cursor of its own: all of them may be more than memory holds.
        try:
            for row in self._connection.execute(_ALL_CHUNKS):
                yield ChunkRow(*row)
        except FAULTS as error:
            raise translate(error, self._path) from error

    def forks(self, run_id: str) -> list[str]:
        return [row[0] for row in self._all("SELECT id FROM runs WHERE forked_from = ?", (run_id,))]

    def children(self, run_id: str) -> list[str]:
        return [row[0] for row in self._all("SELECT id FROM runs WHERE parent_id = ?", (run_id,))]

    def chunk_refs(self) -> Iterator[tuple[bytes, bytes, int]]:
        for table in ("chunks", "attic"):
            yield from self._all(_SIZES.format(table))

    def used_refs(self) -> Iterator[tuple[int, bytes]]:
        yield from self._all(_USED)

    def shelved(self) -> list[tuple[bytes, float]]:
        return [(row[0], row[1]) for row in self._all("SELECT digest, at FROM attic")]

    def entry_bytes(self, run: int) -> int:
        return int(self._all(_ENTRY_BYTES, (run << 32, run << 32 | _HEAD))[0][0])

    def used_bytes(self) -> int:
        pages, free, size = (
            self._all(f"PRAGMA {name}")[0][0] for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def whole_bytes(self) -> int:
        """The size of the file, once the log is folded into it."""
        pages, size = (self._all(f"PRAGMA {name}")[0][0] for name in ("page_count", "page_size"))
        return int(pages * size)

    def job(self, job_id: str) -> JobRow | None:
        found = self._all(f"{_JOB} WHERE id = ?", (job_id,))
        return JobRow(*found[0]) if found else None

    def jobs_starting(self, prefix: str) -> list[str]:
        return [row[0] for row in self._all(_JOBS_STARTING, (prefix, prefix, prefix))]

    def jobs(
        self, *, status: str | None, batch: str | None, notebook: str | None, limit: int | None
    ) -> list[JobRow]:
        tests: list[str] = []
        values: list[object] = []
        for test, value in (("status = ?", status), ("batch = ?", batch)):
            if value is not None:
                tests.append(test)
                values.append(value)
        if notebook is not None:
            tests.append("(notebook = ? OR output = ?)")
            values += (notebook, notebook)
        where = f" WHERE {' AND '.join(tests)}" if tests else ""
        values.append(-1 if limit is None else limit)
        return [JobRow(*row) for row in self._all(f"{_JOB}{where} ORDER BY job DESC LIMIT ?", values)]

    def due_jobs(self, now: float, limit: int, skip: int) -> list[JobRow]:
        return [JobRow(*row) for row in self._all(_DUE, (now, limit, skip))]

    def next_due(self) -> float | None:
        found: float | None = self._all(_NEXT_DUE)[0][0]
        return found

    def held_jobs(self) -> list[JobRow]:
        return [JobRow(*row) for row in self._all(f"{_JOB} WHERE owner IS NOT NULL ORDER BY job")]

    def damage(self) -> list[str]:
        found = self._all("PRAGMA integrity_check(20)")
        return [row[0] for row in found if row[0] != "ok"]

    # -- writing ---------------------------------------------------------------------------------

    def put_registry(self, row: Registry) -> None:
        self._do(_PUT_REGISTRY, row)

    def add_run(self, row: RunRow, head: HeadRow) -> None:
        self._do(_ADD_RUN, row)
        _, status, updated_at, seq, last, generation, _, _, mac = head
        holder = _holder(head.owner, head.expires_at)
        key = row.run << 32 | _HEAD
        self._do(_ADD_ENTRY, (key, "head", generation, seq, updated_at, holder, status, 0, mac, None, last))

    def put_run(self, row: RunRow) -> None:
        self._do(_PUT_RUN, (row.notebook, row.aliases, row.meta, row.posted, row.mac, row.run))

    def swap_head(self, old: bytes, head: HeadRow) -> bool:
        run, status, updated_at, seq, last, generation, owner, expires_at, mac = head
        holder = _holder(owner, expires_at)
        values = (status, updated_at, seq, last, generation, holder, mac, run << 32 | _HEAD, old)
        return self._do(_SWAP_HEAD, values).rowcount == 1

    # These two run for each step: without `_do`, whose work is done where the transaction ends.

    def advance_head(self, old: bytes, head: HeadRow) -> bool:
        run, status, updated_at, seq, last, _, _, _, mac = head
        self._cursor.execute(_ADVANCE_HEAD, (status, updated_at, seq, last, mac, run << 32 | _HEAD, old))
        return self._cursor.rowcount == 1

    def add_entries(self, rows: Sequence[tuple[Any, ...]]) -> None:
        for row in rows:
            if row[_BODY] is not None:
                self._written += len(row[_BODY])
            self._cursor.execute(_ADD_ENTRY, row)

    def add_chunk(self, row: ChunkRow) -> None:
        self._written += len(row.data)
        self._do(_ADD_CHUNK, row)

    def add_inbox(self, row: InboxRow) -> None:
        self._do(_ADD_INBOX, row)

    def drop_entries(self, run: int, after: int) -> None:
        self._do("DELETE FROM entries WHERE key > ? AND key < ?", (run << 32 | after, run << 32 | _HEAD))

    def drop_inbox(self, run: int) -> None:
        self._do("DELETE FROM inbox WHERE run = ?", (run,))

    def drop_run(self, run: int) -> None:
        self._do("DELETE FROM entries WHERE key BETWEEN ? AND ?", (run << 32, run << 32 | _HEAD))
        self._do("DELETE FROM inbox WHERE run = ?", (run,))
        self._do("DELETE FROM runs WHERE run = ?", (run,))

    def shelve(self, digests: Sequence[bytes], at: float) -> None:
        for digest in digests:
            self._do(_SHELVE, (at, digest))
            self._do("DELETE FROM chunks WHERE digest = ?", (digest,))

    def unshelve(self, digests: Sequence[bytes]) -> None:
        for digest in digests:
            self._do(_UNSHELVE, (digest,))
            self._do("DELETE FROM attic WHERE digest = ?", (digest,))

    def drop_shelved(self, digests: Sequence[bytes]) -> None:
        for digest in digests:
            self._do("DELETE FROM attic WHERE digest = ?", (digest,))

    def add_job(self, row: JobRow) -> int:
        return int(self._do(_ADD_JOB, (row.job or None, *row[1:])).lastrowid or 0)

    def drop_job(self, job: int) -> None:
        self._do("DELETE FROM jobs WHERE job = ?", (job,))


def _holder(owner: str | None, expires_at: float) -> str:
    return f"{expires_at!r} {owner or ''}"


def _both(row: tuple[Any, ...]) -> tuple[RunRow, HeadRow | None]:
    run = RunRow(*row[:_RUN_WIDTH])
    status, updated_at, seq, last, generation, holder, mac = row[_RUN_WIDTH:]
    if status is None:
        return run, None
    expires_at, _, owner = str(holder).partition(" ")
    try:
        until = float(expires_at)
    except ValueError:  # altered: no MAC is right for it
        until = -1.0
    return run, HeadRow(run.run, status, updated_at, seq, last, generation, owner or None, until, mac)
