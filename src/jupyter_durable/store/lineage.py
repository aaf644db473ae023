"""A run's entries, those it inherits included: verified while they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple, cast

from jupyter_durable.errors import IntegrityError, RunNotFoundError
from jupyter_durable.model import Entry, EntryType, RunRecord
from jupyter_durable.store.chain import Seals
from jupyter_durable.store.rows import SEQ, HeadRow, Rows, RunRow, from_json, to_payload

RESTORE = "see how far the damage goes with `jupyter durable verify`, then restore the file and its key from a backup"

_BATCH = 256  # entries read in one go: a reader that stops half-way must not pin the write-ahead log

Find = Callable[[Rows, str], tuple[RunRow, HeadRow]]
"""A run's rows by id, verified; raises `RunNotFoundError`."""


class Part(NamedTuple):
    """What one run contributes: its own entries with `first < seq <= last`, the last with hash `anchor` if known."""

    row: RunRow
    first: int
    last: int
    anchor: bytes | None


def parts(rows: Rows, find: Find, run_id: str, after: int, upto: int | None) -> Iterator[Part]:
    """The runs whose own entries make up this one's, from it to its first ancestor."""
    row, head = find(rows, run_id)
    end, anchor = head.seq, head.hash
    last = end if upto is None else min(upto, end)
    while True:
        first = max(row.base_seq, after)
        if last > first:
            yield Part(row, first, last, anchor if last == end else None)
        if row.base_seq <= after or row.forked_from is None:
            return
        # A fork may start below its parent's own base: then its own base stays the anchor.
        if row.base_seq < end:
            end, anchor = row.base_seq, row.base_hash
            last = min(last, end)
        try:
            row, _ = find(rows, row.forked_from)
        except RunNotFoundError as error:
            raise broken(run_id, f"its parent, run {row.forked_from}, is gone") from error


def read(
    found: list[Part], reading: Callable[[], AbstractContextManager[Rows]], seals: Seals, run_id: str
) -> Iterator[Entry]:
    """The entries of `found`, the first ancestor's first. Raises `IntegrityError` where they do not verify."""
    for row, at, last, anchor in reversed(found):
        chain = seals.chain(row)
        link, run, before = chain.link, row.run, chain.start
        if at > row.base_seq:
            with reading() as rows:
                before = rows.entry_hash(run, at) or b""
        while at < last:
            with reading() as rows:
                batch = rows.entries(run, at, last, _BATCH)
            if not batch:
                raise broken(run_id, f"entry {at + 1} is missing, though {last} were written")
            for key, kind, scope, pos, when, meta, codec, packed, body, refs, mark in batch:
                at += 1
                if key & SEQ != at:
                    raise broken(run_id, f"entry {at} is missing")
                try:
                    before = link(before, at, kind, scope, pos, when, meta, codec, packed, body, refs)
                except Exception as error:  # a column that changed its type raises anything
                    raise broken(run_id, f"entry {at} does not verify") from error
                if before != mark:
                    raise broken(run_id, f"entry {at} does not verify")
                yield entry(key, kind, scope, pos, when, meta, codec, packed, body, refs, mark)
        if anchor is not None and before != anchor:
            raise broken(run_id, f"entry {last} is not the last one written")


def entry(
    key: int,
    kind: str,
    scope: int,
    pos: int,
    at: float,
    meta: str,
    codec: str | None,
    packed: int,
    body: bytes | None,
    refs: bytes | None,
    mark: bytes,
) -> Entry:
    """The fields of an `EntryRow` as an entry."""
    payload = to_payload(codec, packed, body, refs) if codec is not None else None
    return Entry(key & SEQ, cast("EntryType", kind), scope, pos, at, from_json(meta), payload, mark)


def check_base(rows: Rows, find: Find, run: RunRecord) -> None:
    """Whether the entry a new run is to be based on exists. Raises `IntegrityError`."""
    if run.base_seq == 0 and not run.base_hash:
        return
    origin = run.forked_from
    while origin is not None:
        try:
            row, head = find(rows, origin)
        except RunNotFoundError:
            break
        if run.base_seq > row.base_seq:
            if run.base_seq <= head.seq and rows.entry_hash(row.run, run.base_seq) == run.base_hash:
                return
            break
        origin = row.forked_from
    raise IntegrityError(
        f"run {run.forked_from} has no entry {run.base_seq} with the given hash to fork from",
        hint="fork from an entry that `entries` returned for that run",
    )


def no_run(run_id: str) -> RunNotFoundError:
    """What to raise for an id that no run has."""
    return RunNotFoundError(f"there is no run {run_id!r}", hint="list the runs with `jupyter durable ls`")


def broken(run_id: str, what: str) -> IntegrityError:
    """What to raise for a run whose rows do not verify."""
    return IntegrityError(f"run {run_id} was altered or is damaged: {what}", hint=RESTORE)
