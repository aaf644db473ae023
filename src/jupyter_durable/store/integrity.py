"""Finding every edit, deletion, insertion, swap and truncation in a store's rows."""

from __future__ import annotations

from collections.abc import Iterator

from jupyter_durable.errors import IntegrityError
from jupyter_durable.model import Problem
from jupyter_durable.store.chain import Seals
from jupyter_durable.store.lineage import no_run
from jupyter_durable.store.packing import unpack
from jupyter_durable.store.rows import ChunkRow, EntryRow, HeadRow, InboxRow, Rows, RunRow, Span, split

_BATCH = 256


def verify(rows: Rows, seals: Seals, run_id: str | None = None) -> list[Problem]:
    """Check one run with what it refers to, or everything. `rows` must be a snapshot.

    Raises `RunNotFoundError` for a run that is not there, and nothing for what is wrong.
    """
    found: list[Problem] = []
    try:
        found.extend(_everything(rows, seals) if run_id is None else _one(rows, seals, run_id))
    except IntegrityError as error:  # the medium itself gave up half-way
        found.append(Problem(run_id, "file", str(error.args[0])))
    return found


def _one(rows: Rows, seals: Seals, run_id: str) -> Iterator[Problem]:
    both = rows.find(run_id)
    if both is None:
        raise no_run(run_id)
    entries = {span.run: span for span in rows.entry_spans()}
    inboxes = {span.run: span for span in rows.inbox_spans()}
    digests: set[bytes] = set()
    seen: set[str] = set()
    while both is not None and both[0].id not in seen:
        row, head = both
        seen.add(row.id)
        yield from _run(rows, seals, row, head, entries.get(row.run), inboxes.get(row.run), digests)
        both = rows.find(row.forked_from) if row.forked_from is not None else None
    yield from _reachable(rows, seals, digests)


def _everything(rows: Rows, seals: Seals) -> Iterator[Problem]:
    for what in rows.damage():
        yield Problem(None, "file", what)
    runs = rows.select(status=None, name=None, notebook=None, job_id=None, limit=None)
    registry = rows.registry()
    if registry is None or not seals.is_registry(registry):
        yield Problem(None, "registry", "was altered, or the key is not this store's")
    elif registry.kept != len(runs):
        yield Problem(
            None, "runs", f"there are {len(runs)} of {registry.kept}: some were deleted or inserted"
        )
    entries = {span.run: span for span in rows.entry_spans()}
    inboxes = {span.run: span for span in rows.inbox_spans()}
    heads = set(rows.head_runs())
    digests: set[bytes] = set()
    for row, head in runs:
        heads.discard(row.run)
        try:
            yield from _run(
                rows, seals, row, head, entries.pop(row.run, None), inboxes.pop(row.run, None), digests
            )
        except IntegrityError as error:  # pages of this run cannot be read; those of others may
            yield Problem(row.id, "file", str(error.args[0]))
    for number, span in entries.items():
        yield Problem(
            None, f"entries {span.first}-{span.last}", f"belong to run number {number}, which is gone"
        )
    for number, span in inboxes.items():
        yield Problem(
            None, f"inbox rows {span.first}-{span.last}", f"belong to run number {number}, which is gone"
        )
    for number in heads:
        yield Problem(None, f"head {number}", "belongs to a run that is gone")
    for job in rows.jobs(status=None, batch=None, notebook=None, limit=None):
        if not seals.is_job(job):
            yield Problem(None, f"job {job.id}", "was altered")
    yield from _chunks(rows, seals, digests)


def _run(
    rows: Rows,
    seals: Seals,
    row: RunRow,
    head: HeadRow | None,
    entries: Span | None,
    inbox: Span | None,
    digests: set[bytes],
) -> Iterator[Problem]:
    whose = str(row.id)
    if not seals.is_run(row):
        yield Problem(whose, "run", "its row was altered")
        return  # the chain hangs on what it says
    if row.forked_from is not None:
        yield from _base(rows, row)
    if head is None or not seals.is_head(row.id, head):
        yield Problem(whose, "head", "is missing" if head is None else "was altered")
        end, anchor = entries.last if entries else row.base_seq, None
    else:
        end, anchor = head.seq, head.hash if head.seq > row.base_seq else None
    yield from _entries(rows, seals, row, end, anchor, digests)
    if entries is not None and (entries.last > end or entries.first <= row.base_seq):
        yield Problem(whose, f"entries {entries.first}-{entries.last}", f"are more than were written ({end})")
    yield from _inbox(rows, seals, row, digests)
    if inbox is not None and (inbox.last > row.posted or inbox.first < 1):
        yield Problem(
            whose, f"inbox rows {inbox.first}-{inbox.last}", f"are more than were written ({row.posted})"
        )


def _base(rows: Rows, row: RunRow) -> Iterator[Problem]:
    origin: str | None = row.forked_from
    seen: set[str] = set()  # an edited row may name itself
    while origin is not None and origin not in seen:
        seen.add(origin)
        found = rows.find(origin)
        if found is None:
            yield Problem(row.id, "parent", f"run {origin} is missing")
            return
        if type(found[0].base_seq) is not int:
            return  # damage of the parent's own row, reported there
        if row.base_seq > found[0].base_seq:
            if rows.entry_hash(found[0].run, row.base_seq) != row.base_hash:
                yield Problem(
                    row.id,
                    "parent",
                    f"entry {row.base_seq} of run {origin} is not the one it was forked from",
                )
            return
        origin = found[0].forked_from


def _entries(
    rows: Rows, seals: Seals, row: RunRow, end: int, anchor: bytes | None, digests: set[bytes]
) -> Iterator[Problem]:
    chain = seals.chain(row)
    at, before, sound = row.base_seq, chain.start, True
    while at < end:
        batch = rows.entries(row.run, at, end, _BATCH)
        if not batch:
            yield Problem(row.id, _named(at + 1, end), "missing: deleted or cut off")
            return
        for one in map(EntryRow._make, batch):
            seq = one.key & 0xFFFFFFFF
            if seq <= at:  # a damaged tree may lead anywhere, and round in circles
                yield Problem(row.id, f"entry {seq}", "is out of order")
                return
            if seq != at + 1:
                yield Problem(row.id, _named(at + 1, seq - 1), "missing: deleted")
            elif not chain.follows(before, one):
                yield Problem(row.id, f"entry {seq}", "was altered, or is not the one written there")
                sound = False
            elif one.refs:
                digests.update(split(one.refs))
            # From the stored hash on, so that one edit is one problem.
            at, before = seq, one.hash
    if sound and anchor is not None and before != anchor:
        yield Problem(row.id, f"entry {at}", "is not the last one written")


def _named(first: int, last: int) -> str:
    return f"entry {first}" if first == last else f"entries {first}-{last}"


def _inbox(rows: Rows, seals: Seals, row: RunRow, digests: set[bytes]) -> Iterator[Problem]:
    at = 0
    one: InboxRow
    for one in rows.inbox(row.run, 0):
        if one.n > row.posted:
            return
        if one.n > at + 1:
            yield Problem(row.id, f"inbox row {at + 1}", "missing: deleted")
        if not seals.is_inbox(row.id, one):
            yield Problem(row.id, f"inbox row {one.n}", "was altered")
        elif one.refs:
            digests.update(split(one.refs))
        at = one.n
    if at < row.posted:
        yield Problem(row.id, f"inbox row {at + 1}", "missing: deleted")


def _sound(seals: Seals, row: ChunkRow) -> bool:
    try:
        return seals.blob(unpack(row.packed, row.data), split(row.refs)) == row.digest
    except (TypeError, ValueError, IntegrityError):
        return False


def _chunks(rows: Rows, seals: Seals, wanted: set[bytes]) -> Iterator[Problem]:
    stored: set[bytes] = set()
    for row in rows.chunks():
        if _sound(seals, row):
            stored.add(row.digest)
            wanted.update(split(row.refs))
        else:
            yield Problem(None, f"chunk {_hex(row.digest)}", "was altered")
            stored.add(row.digest)
    for digest in sorted(wanted - stored):
        yield Problem(None, f"chunk {_hex(digest)}", "missing, though something refers to it")


def _reachable(rows: Rows, seals: Seals, wanted: set[bytes]) -> Iterator[Problem]:
    seen: set[bytes] = set()
    while wanted:
        digest = wanted.pop()
        seen.add(digest)
        row = rows.chunk(digest)
        if row is None:
            yield Problem(None, f"chunk {_hex(digest)}", "missing, though something refers to it")
        elif not _sound(seals, row):
            yield Problem(None, f"chunk {_hex(digest)}", "was altered")
        else:
            wanted |= set(split(row.refs)) - seen


def _hex(digest: object) -> str:
    return digest.hex() if isinstance(digest, bytes) else repr(digest)
