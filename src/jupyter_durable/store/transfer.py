"""A run from one store into another that has the same key: as it is, with all that its journal needs.

What a journal says is bound to its store's key: hashes, signatures, what is sealed, and the digests by which a
replay finds its steps. The last could not be made anew under another key: a strand's is over arguments that are stored
nowhere. So a run moves with its key, or not at all; it is copied row by row and nothing of it is decoded.
"""

from __future__ import annotations

from typing import NamedTuple

from jupyter_durable.errors import IntegrityError, StoreError
from jupyter_durable.store import leases
from jupyter_durable.store.base import RowStore
from jupyter_durable.store.rows import (
    SEQ,
    ChunkRow,
    EntryRow,
    HeadRow,
    InboxRow,
    JobRow,
    Rows,
    RunRow,
    Transaction,
    split,
    to_owner,
)

_MOST = 1 << 30


class _Whole(NamedTuple):
    row: RunRow
    head: HeadRow
    entries: list[EntryRow]
    inbox: list[InboxRow]


def copy(source: RowStore, target: RowStore, run_id: str) -> list[str]:
    """Copy a run, those it was forked from, its child runs and its job; the ids of the runs that were not there yet, or not
    as far.

    The source stays as it is. A run that a process is advancing is copied as far as it has got, and is nobody's in the
    target. One that has gone on elsewhere goes on in the target, whose job that waits for it is due. Raises `StoreError` for another key and for a run that has gone on differently there, `RunNotFoundError`.
    """
    if source.key != target.key:
        short = source.run(run_id).id[:13]
        raise StoreError(
            f"{target.url} has another key than {source.url}, and a run's journal is bound to its key",
            hint=f"`jupyter durable copy {short} one.db` makes a store of its own with the key of {source.url}: take one.db and "
            f"one.key along, and go on there with `jupyter durable resume {short} --store one.db`",
        )
    first = source.run(run_id).id
    with source._snapshot() as rows:
        wanted = _relatives(source, rows, first)
        found = [_read(source, rows, one) for one in wanted]
        chunks = _chunks(rows, found)
        job_id = found[0].row.job_id
        job = rows.job(job_id) if job_id is not None else None
    with target._turn, target._backstop, target._writing(durable=True) as into:
        made = [whole.row.id for whole in reversed(found) if _write(target, into, whole)]
        for chunk in chunks:
            if not into.has_chunk(chunk.digest):
                into.add_chunk(chunk)
        if job is not None and into.job(job.id) is None:
            free = job._replace(job=0, owner=None, expires_at=0.0)
            into.add_job(_sealed_job(target, free))
        into.commit()
    target._flush()
    return made


def _sealed_job(target: RowStore, row: JobRow) -> JobRow:
    return row._replace(mac=target._seals.job(row))


def _relatives(source: RowStore, rows: Rows, first: str) -> list[str]:
    """The run, its children and theirs, and whatever each of them was forked from: bases after what is based on them."""
    found = [first]
    for run_id in found:
        row, _ = source._found(rows, run_id)
        more = [*rows.children(run_id), *([row.forked_from] if row.forked_from else [])]
        for other in more:
            if other in found:
                found.remove(other)
            found.append(other)
    return found


def _read(source: RowStore, rows: Rows, run_id: str) -> _Whole:
    row, head = source._found(rows, run_id)
    if head.owner is not None and leases.is_gone(to_owner(head.owner)[0]) and source._left_behind(row):
        raise StoreError(
            f"run {row.name!r} was cut off, and its last words are not in the store yet",
            hint=f"resume it first: jupyter durable resume {row.id[:13]}",
        )
    entries = [EntryRow(*entry) for entry in rows.entries(row.run, row.base_seq, head.seq, _MOST)]
    return _Whole(row, head, entries, list(rows.inbox(row.run, 0)))


def _chunks(rows: Rows, found: list[_Whole]) -> list[ChunkRow]:
    refs = [entry.refs for whole in found for entry in whole.entries]
    refs += [item.refs for whole in found for item in whole.inbox]
    todo = [digest for links in refs for digest in split(links)]
    chunks: dict[bytes, ChunkRow] = {}
    while todo:
        digest = todo.pop()
        if digest in chunks:
            continue
        row = rows.chunk(digest)
        if row is None:
            raise IntegrityError(
                f"chunk {digest.hex()} is missing", hint="see how far the damage goes: jupyter durable verify"
            )
        chunks[digest] = row
        todo += split(row.refs)
    return list(chunks.values())


def _goes_on(target: RowStore, into: Transaction, row: RunRow, head: HeadRow, whole: _Whole) -> bool:
    """Add what a run has got done since it was here, and say so; False if what is here is no beginning of that."""
    made = {entry.key & SEQ: entry.hash for entry in whole.entries} | {row.base_seq: row.base_hash}
    posted = list(into.inbox(row.run, 0))
    same = [(item.n, item.key, item.by) for item in whole.inbox[: len(posted)]]
    if made.get(head.seq) != head.hash or same != [(item.n, item.key, item.by) for item in posted]:
        return False
    if target._left_behind(row) or (head.owner is not None and not leases.is_gone(to_owner(head.owner)[0])):
        return False
    # Its paths are those of this machine, and whoever held it here before must not write any more.
    row = target._sealed(row._replace(meta=whole.row.meta, posted=whole.row.posted))
    generation = max(head.generation, whole.head.generation) + 1
    further = whole.head._replace(run=row.run, generation=generation, owner=None, expires_at=0.0)
    into.put_run(row)
    into.swap_head(head.mac, target._sealed_head(row.id, further))
    later = [entry for entry in whole.entries if entry.key & SEQ > head.seq]
    into.add_entries([entry._replace(key=row.run << 32 | entry.key & SEQ) for entry in later])
    for item in whole.inbox[len(posted) :]:
        moved = item._replace(run=row.run)
        into.add_inbox(moved._replace(mac=target._seals.inbox(row.id, moved)))
    target._live.pop(row.id, None)
    target._wake(into, row, target._clock.now())
    return True


def _write(target: RowStore, into: Transaction, whole: _Whole) -> bool:
    there = into.find(whole.row.id)
    if there is not None:
        row, head = target._checked(*there)
        if head.seq >= whole.head.seq and into.entry_hash(row.run, whole.head.seq) in (whole.head.hash, None):
            return False
        if _goes_on(target, into, row, head, whole):
            return True
        raise StoreError(
            f"run {row.name!r} ({row.id[:13]}) is in {target.url} already, and not as it is here",
            hint="delete it there first, or leave it as it is",
        )
    registry = target._registry(into)
    number = registry.made + 1
    row = target._sealed(whole.row._replace(run=number))
    head = target._sealed_head(row.id, whole.head._replace(run=number, owner=None, expires_at=0.0))
    into.add_run(row, head)
    into.add_entries([entry._replace(key=number << 32 | entry.key & SEQ) for entry in whole.entries])
    for item in whole.inbox:
        moved = item._replace(run=number)
        into.add_inbox(moved._replace(mac=target._seals.inbox(row.id, moved)))
    registry = registry._replace(made=number, kept=registry.kept + 1)
    into.put_registry(registry._replace(mac=target._seals.registry(registry)))
    return True
