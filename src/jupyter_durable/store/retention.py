"""What is not needed any more: which runs may go, and which chunks nothing refers to.

A run goes with its children, unless somebody advances it, it waits, or a run that stays was forked from it. A chunk
is not deleted when nothing refers to it: a process may have asked a moment ago whether it is stored, and be about to
refer to it. It is put aside first, where it counts as not stored and can still be read; it goes when nothing has
referred to it for `PATIENCE`, and no process is left that was advancing a run when it was put aside.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from jupyter_durable.errors import IntegrityError, LeaseHeldError, RunNotFoundError
from jupyter_durable.model import FINAL, Collected
from jupyter_durable.store import leases, lineage
from jupyter_durable.store.jobs import Jobs, holds
from jupyter_durable.store.rows import (
    HeadRow,
    Registry,
    Rows,
    RunRow,
    Transaction,
    is_deleted,
    split,
    to_owner,
)

PATIENCE = 600.0
_FEW = 20  # runs or so deleted in one transaction: others write meanwhile
_SOME = 200
_ENDED = ("completed", "cancelled", "failed", "interrupted")


class Found(NamedTuple):
    """What is known of the chunks: those referred to, and what those that may be refer to in turn."""

    wanted: set[bytes]
    refs: dict[bytes, tuple[bytes, ...]]
    sizes: dict[bytes, int]
    own: dict[int, set[bytes]]


class Retention(Jobs):
    """Deleting, given rows."""

    def delete_runs(self, run_ids: Collection[str]) -> list[str]:
        """See `JournalStore`."""
        with self._reading() as rows:
            family = self._family(rows, [self._found(rows, run_id)[0].id for run_id in run_ids])
        gone: list[str] = []
        with self._turn, self._backstop, self._writing(durable=True) as rows:
            for run_id in family:
                self._check_deletable(rows, run_id, family)
            for run_id in family:
                gone += self._drop(rows, run_id)
            rows.commit()
        self._flush()
        return gone

    def _check_deletable(self, rows: Rows, run_id: str, family: Collection[str]) -> None:
        row, head = self._found(rows, run_id)
        if is_held(head):
            holder, _ = to_owner(str(head.owner))
            raise LeaseHeldError(
                f"run {row.name!r} is being advanced by {holder}", owner=str(holder), hint="stop it first"
            )
        based = [other for other in rows.forks(run_id) if other not in family]
        if based:
            raise LeaseHeldError(
                f"run {row.name!r} cannot go: {len(based)} other(s) were forked from it and need its journal",
                owner=based[0],
                hint=f"delete those, too: {', '.join(other[:13] for other in based[:5])}",
            )

    def _family(self, rows: Rows, run_ids: Sequence[str]) -> list[str]:
        """The runs and their children, and the children's."""
        found = list(dict.fromkeys(run_ids))
        for run_id in found:
            found += [child for child in rows.children(run_id) if child not in found]
        return found

    def _drop(self, rows: Transaction, run_id: str) -> list[str]:
        row, _ = self._found(rows, run_id)
        rows.drop_run(row.run)
        registry = self._registry(rows)
        registry = registry._replace(kept=registry.kept - 1)
        rows.put_registry(registry._replace(mac=self._seals.registry(registry)))
        for path in self._left_behind(row):
            path.unlink(missing_ok=True)
        self._live.pop(run_id, None)
        base = rows.find(row.forked_from) if row.forked_from is not None else None
        if base is not None and is_deleted(base[0]) and not rows.forks(base[0].id):
            self._drop(rows, base[0].id)  # what was kept of it was kept for this one
        return [run_id]

    def _check_present(self, row: RunRow) -> None:
        if is_deleted(row):
            raise RunNotFoundError(
                f"run {row.id[:13]} was deleted, but for what its forks need",
                hint="list the runs with `jupyter durable ls`",
            )

    def _registry(self, rows: Rows) -> Registry:
        registry = rows.registry()
        if registry is None or not self._seals.is_registry(registry):
            raise IntegrityError(f"the registry of {self.url} does not verify", hint=lineage.RESTORE)
        return registry

    # -- by age and size -------------------------------------------------------------------------

    def gc(
        self,
        *,
        older_than: float | None = None,
        keep_failed: bool = False,
        max_bytes: int | None = None,
        dry_run: bool = False,
    ) -> Collected:
        """See `JournalStore`."""
        now = self._clock.now()
        with self._reading() as rows:
            before = rows.used_bytes()
        # First: who takes a lease later knows nothing of what is put aside now.
        horizon = self._horizon(now)
        with self._snapshot() as rows:
            everything = [
                (row, head)
                for row, head in rows.select(status=None, name=None, notebook=None, job_id=None, limit=None)
                if head is not None
            ]
            found = self._mark(rows, everything)
        statuses = _ENDED if not keep_failed else ("completed", "cancelled")
        may = [both for both in everything if both[1].status in statuses and not is_held(both[1])]
        may.sort(key=lambda both: both[1].updated_at)
        chosen: list[RunRow] = []
        if older_than is not None:
            chosen = [row for row, head in may if head.updated_at < now - older_than]
        if max_bytes is not None:
            rest = [row for row, _ in may if row not in chosen]
            chosen += self._until(rest, chosen, found, before - max_bytes)
        free = _free([row for row, _ in everything], chosen)
        kept = len(chosen) - len(free)
        jobs = self._old_jobs(older_than, keep_failed, everything, {row.id for row in free}, now)
        estimate = self._weight(free, found)
        if dry_run:
            after = max(before - estimate, 0)
            going = tuple(row.id for row in free)
            return Collected(going, tuple(jobs), kept, before, after, file_bytes=self._file_bytes())
        gone: list[str] = []
        for at in range(0, len(free), _FEW):
            gone += self._delete_some([row.id for row in free[at : at + _FEW]])
        self.delete_jobs(jobs)
        aside, dropped = self._sweep(now, horizon)
        with self._reading() as rows:
            after = rows.used_bytes()
        return Collected(tuple(gone), tuple(jobs), kept, before, after, aside, dropped, self._file_bytes())

    def _file_bytes(self) -> int:
        """The size of the store's file, if it has one."""
        return 0

    def _check_idle(self, rows: Rows) -> None:
        """Raise `LeaseHeldError` if somebody advances a run, or is at a job."""
        now = self._clock.now()
        heads = rows.select(status=None, name=None, notebook=None, job_id=None, limit=None)
        held = [head for _, head in heads if head is not None and head.expires_at > now and is_held(head)]
        owners = [head.owner for head in held] + [row.owner for row in rows.held_jobs() if holds(row, now)]
        if not owners:
            return
        holder, _ = to_owner(str(owners[0]))
        raise LeaseHeldError(
            f"the file cannot shrink now: {holder} is at work in the store, and would have to wait",
            owner=str(holder),
            hint="stop your workers and let what runs come to its end; then `jupyter durable gc --vacuum`",
        )

    def _delete_some(self, run_ids: Sequence[str]) -> list[str]:
        gone: list[str] = []
        with self._turn, self._backstop, self._writing(durable=True) as rows:
            for run_id in run_ids:
                try:
                    _, head = self._found(rows, run_id)
                except RunNotFoundError:  # another was quicker
                    continue
                # What has happened since it was chosen counts: taken up, or forked from.
                if is_held(head) or head.status not in _ENDED or rows.forks(run_id):
                    continue
                gone += self._drop(rows, run_id)
            rows.commit()
        self._flush()
        return gone

    def _old_jobs(
        self,
        older_than: float | None,
        keep_failed: bool,
        everything: Sequence[tuple[RunRow, HeadRow]],
        gone: Collection[str],
        now: float,
    ) -> list[str]:
        if older_than is None:
            return []
        runs: dict[str, list[str]] = {}
        for row, _ in everything:
            if row.job_id is not None:
                runs.setdefault(row.job_id, []).append(row.id)
        ended = FINAL if keep_failed else FINAL | {"failed", "gave_up", "interrupted"}
        return [
            job.id
            for job in self.jobs()
            if job.status in ended
            and job.owner is None
            and job.updated_at < now - older_than
            and all(run_id in gone for run_id in runs.get(job.id, ()))
        ]

    # -- chunks ----------------------------------------------------------------------------------

    def _horizon(self, now: float) -> float:
        """What was put aside before is not known as stored by anybody."""
        with self._reading() as rows:
            heads = rows.select(status=None, name=None, notebook=None, job_id=None, limit=None)
        since = [
            to_owner(head.owner)[1] for _, head in heads if head is not None and head.owner and is_held(head)
        ]
        return min([now - PATIENCE, *since])

    def _mark(self, rows: Rows, runs: Sequence[tuple[RunRow, HeadRow]]) -> Found:
        refs: dict[bytes, tuple[bytes, ...]] = {}
        sizes: dict[bytes, int] = {}
        for digest, links, size in rows.chunk_refs():
            refs[digest], sizes[digest] = split(links), size
        own: dict[int, set[bytes]] = {}
        for run, links in rows.used_refs():
            own.setdefault(run, set()).update(split(links))
        for row, head in runs:
            if head.owner is not None:  # what is staged refers to chunks as well
                for entry in self.entries(row.id, after=head.seq):
                    if entry.payload is not None:
                        own.setdefault(row.run, set()).update(entry.payload.refs)
        return Found(_closure((d for found in own.values() for d in found), refs), refs, sizes, own)

    def _until(
        self, candidates: Sequence[RunRow], chosen: Sequence[RunRow], found: Found, excess: int
    ) -> list[RunRow]:
        """The oldest runs that must go for so many bytes to be free, beside those that are chosen."""
        more: list[RunRow] = []
        for row in candidates:
            if self._weight([*chosen, *more], found) >= excess:
                break
            more.append(row)
        return more

    def _weight(self, gone: Sequence[RunRow], found: Found) -> int:
        """Bytes that are free without these runs, as far as can be told beforehand."""
        numbers = {row.run for row in gone}
        stays = _closure((d for run, own in found.own.items() if run not in numbers for d in own), found.refs)
        with self._reading() as rows:
            entries = sum(rows.entry_bytes(number) for number in numbers)
        return entries + sum(size for digest, size in found.sizes.items() if digest not in stays)

    def _sweep(self, now: float, horizon: float) -> tuple[int, int]:
        """Put aside what nothing refers to, and delete what was put aside long ago: how many chunks each."""
        with self._snapshot() as rows:
            runs = rows.select(status=None, name=None, notebook=None, job_id=None, limit=None)
            found = self._mark(rows, [(row, head) for row, head in runs if head is not None])
            aside = dict(rows.shelved())
            young = _closure((d for d, at in aside.items() if at >= horizon), found.refs)
        loose = [d for d in found.refs if d not in found.wanted and d not in aside]
        back = [d for d in aside if d in found.wanted]
        old = [d for d, at in aside.items() if at < horizon and d not in found.wanted and d not in young]
        for digests, what in ((loose, "shelve"), (back, "unshelve"), (old, "drop")):
            for at in range(0, len(digests), _SOME):
                with self._turn, self._backstop, self._writing(durable=True) as rows:
                    some = digests[at : at + _SOME]
                    if what == "shelve":
                        rows.shelve(some, now)
                    elif what == "unshelve":
                        rows.unshelve(some)
                    else:
                        rows.drop_shelved(some)
                    rows.commit()
        self._flush()
        return len(loose), len(old)


def is_held(head: HeadRow) -> bool:
    """Whether somebody may yet write to the run: one of this machine that is there, or one elsewhere, who knows."""
    return head.owner is not None and not leases.is_gone(to_owner(head.owner)[0])


def _closure(roots: Iterable[bytes], refs: dict[bytes, tuple[bytes, ...]]) -> set[bytes]:
    found: set[bytes] = set()
    todo = list(roots)
    while todo:
        digest = todo.pop()
        if digest not in found:
            found.add(digest)
            todo += refs.get(digest, ())
    return found


def _free(everything: Sequence[RunRow], chosen: Sequence[RunRow]) -> list[RunRow]:
    """Those of the chosen that nothing which stays is forked from, children with their parents, forks before their bases."""
    going = {row.id for row in chosen}
    by_id = {row.id: row for row in everything}
    while True:
        needed = {row.forked_from for row in everything if row.id not in going and row.forked_from in going}
        needed |= {row.parent_id for row in everything if row.id not in going and row.parent_id in going}
        if not needed:
            break
        going -= needed
    depth: Callable[[RunRow], int] = lambda row: _depth(row, by_id)  # noqa: E731
    return sorted((row for row in chosen if row.id in going), key=depth, reverse=True)


def _depth(row: RunRow, by_id: dict[str, RunRow]) -> int:
    return sum(1 for _ in _ancestors(row, by_id))


def _ancestors(row: RunRow, by_id: dict[str, RunRow]) -> Iterator[RunRow]:
    seen = {row.id}
    while (before := by_id.get(row.forked_from or row.parent_id or "")) is not None and before.id not in seen:
        seen.add(before.id)
        yield before
        row = before
