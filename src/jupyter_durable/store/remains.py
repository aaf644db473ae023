"""Runs that are deleted while others are based on them: what these need of the journal stays, and nothing else.

What remains is the run's row, marked as deleted, its entries up to the last one that a fork starts from, and, for a fork
that goes on with the same endeavour, its inbox. Nobody finds it, takes it up or writes to it; readers of its forks go through
it as before, and every hash still verifies. It goes with the last of its forks.
"""

from __future__ import annotations

from collections.abc import Sequence

from jupyter_durable.errors import LeaseHeldError
from jupyter_durable.store.retention import Retention, is_held
from jupyter_durable.store.rows import DELETED, Rows, RunRow, Transaction, is_deleted, to_json, to_owner


class Remains(Retention):
    """Deleting with respect for forks, given rows."""

    def forget_run(self, run_id: str) -> bool:
        """See `JournalStore`."""
        with self._turn, self._backstop, self._writing(durable=True) as rows:
            family = self._family(rows, [self._present(rows, run_id).id])
            for each in family:
                self._check_free(rows, each)
            kept = self._forget(rows, family)
            rows.commit()
        self._flush()
        return kept

    def _check_free(self, rows: Rows, run_id: str) -> None:
        row, head = self._found(rows, run_id)
        if is_held(head):
            holder, _ = to_owner(str(head.owner))
            raise LeaseHeldError(
                f"run {row.name!r} is being advanced by {holder}",
                owner=str(holder),
                hint=f"stop its cell first, or `jupyter durable cancel {row.id[:13]}`",
            )

    def _forget(self, rows: Transaction, family: Sequence[str]) -> bool:
        left = list(family)
        while free := [run_id for run_id in left if not rows.forks(run_id)]:
            for run_id in free:  # forks before what they are based on
                left.remove(run_id)
                if rows.find(run_id) is not None:
                    self._drop(rows, run_id)
        for run_id in left:
            self._trim(rows, run_id)
        return bool(left)

    def _trim(self, rows: Transaction, run_id: str) -> None:
        row, head = self._found(rows, run_id)
        forks = [self._found(rows, fork)[0] for fork in rows.forks(run_id)]
        # A fork may start below this run's own base: then it needs none of its own entries.
        upto = max([row.base_seq, *(fork.base_seq for fork in forks)])
        last = rows.entry_hash(row.run, upto) if upto > row.base_seq else row.base_hash
        posted = row.posted
        if not any(fork.fork_kind == "edit" for fork in forks):
            rows.drop_inbox(row.run)
            posted = 0
        rows.drop_entries(row.run, upto)
        now = self._clock.now()
        meta = to_json({DELETED: now})
        kept = row._replace(notebook=None, aliases="[]", meta=meta, posted=posted)
        rows.put_run(kept._replace(mac=self._seals.run(kept)))
        rows.swap_head(
            head.mac,
            self._sealed_head(
                row.id,
                head._replace(
                    updated_at=now,
                    seq=upto,
                    hash=last or b"",
                    generation=head.generation + 1,
                    owner=None,
                    expires_at=0.0,
                ),
            ),
        )
        for path in self._left_behind(row):
            path.unlink(missing_ok=True)
        self._live.pop(run_id, None)

    def _present(self, rows: Rows, run_id: str) -> RunRow:
        """A run's row; raises `RunNotFoundError` for one that was deleted, too."""
        row, _ = self._found(rows, run_id)
        self._check_present(row)
        return row


__all__ = ["Remains", "is_deleted"]
