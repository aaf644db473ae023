"""Jobs: what is to be run headless, who is at it, and when somebody may be.

A job is held like a run is: by an owner, for a time, with a generation above every earlier one, and taken
from one who is known to be gone. So however many workers look, one of them gets it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from jupyter_durable.errors import (
    IntegrityError,
    LeaseHeldError,
    LeaseLost,
    RunNotFoundError,
    StoreError,
)
from jupyter_durable.model import FINAL, JobRecord, JobStatus, Owner
from jupyter_durable.store import leases, lineage
from jupyter_durable.store.journals import Journals
from jupyter_durable.store.rows import (
    JobRow,
    Rows,
    RunRow,
    Transaction,
    from_json,
    owner_json,
    to_job,
    to_json,
    to_owner,
)

_PAGE = 100
ABANDONED = "abandoned"
"""In the report of a job: how often those who held it have been gone, since it was left last."""
DUE = "due"
"""In the report of a job that somebody has taken: when it was due."""
CLAIM = "job:"
"""How the alias of a run begins that a job goes on with which did not begin it; the job's id follows."""


class Jobs(Journals):
    """The jobs of a store, given rows."""

    def put_jobs(self, jobs: Sequence[JobRecord]) -> None:
        """See `JournalStore`."""
        with self._turn, self._backstop, self._writing(durable=True) as rows:
            for job in jobs:
                if rows.job(job.id) is not None:
                    raise StoreError(f"there is a job {job.id} already", hint="make a new id")
                self._put(rows, _row(job))
            rows.commit()
        self._flush()

    def job(self, job_id: str) -> JobRecord:
        """See `JournalStore`."""
        with self._reading() as rows:
            return to_job(self._job(rows, job_id))

    def jobs(
        self,
        *,
        status: JobStatus | None = None,
        batch: str | None = None,
        notebook: str | None = None,
        limit: int | None = None,
    ) -> list[JobRecord]:
        """See `JournalStore`."""
        with self._reading() as rows:
            found = rows.jobs(status=status, batch=batch, notebook=notebook, limit=limit)
        return [to_job(self._genuine(row)) for row in found]

    def next_due(self) -> float | None:
        """See `JournalStore`."""
        with self._reading() as rows:
            return rows.next_due()

    def abandoned_jobs(self) -> list[JobRecord]:
        """See `JournalStore`."""
        now = self._clock.now()
        with self._reading() as rows:
            held = rows.held_jobs()
        return [to_job(self._genuine(row)) for row in held if not holds(row, now)]

    # -- being at it -----------------------------------------------------------------------------

    def next_job(self, owner: Owner, ttl: float, *, skip: Collection[str] = ()) -> JobRecord | None:
        """See `JournalStore`."""
        with self._reading() as rows:  # looking costs no transaction
            now = self._clock.now()
            due = rows.next_due()
            if (due is None or due > now) and all(holds(row, now) for row in rows.held_jobs()):
                return None
        with self._turn, self._backstop, self._writing(durable=True) as rows:
            now = self._clock.now()
            found = self._choose(rows, now, skip)
            if found is None:
                return None
            taken = self._take(rows, found, owner, now, ttl)
            rows.commit()
        self._flush()
        return to_job(taken)

    def _choose(self, rows: Transaction, now: float, skip: Collection[str]) -> JobRow | None:
        held = rows.held_jobs()
        busy: Counter[str] = Counter()
        for row in held:
            if holds(row, now):
                busy.update(list(_limits(row)))
        for row in held:  # what somebody left behind goes on first: it has begun
            if not holds(row, now) and row.id not in skip and _fits(row, busy):
                return self._genuine(row)
        at = 0
        while found := rows.due_jobs(now, _PAGE, at):
            at += len(found)
            for row in found:
                if row.id not in skip and _fits(row, busy):
                    return self._genuine(row)
        return None

    def take_job(self, job_id: str, owner: Owner, ttl: float) -> JobRecord:
        """See `JournalStore`."""
        with self._turn, self._backstop, self._writing(durable=True) as rows:
            row, now = self._job(rows, job_id), self._clock.now()
            if row.owner is not None and holds(row, now):
                holder, _ = to_owner(row.owner)
                if not leases.is_same(holder, owner):
                    raise LeaseHeldError(
                        f"this job is being run by {holder}",
                        owner=str(holder),
                        hint="let it finish or stop it; to run the notebook beside it give another -o and --new",
                    )
            taken = self._take(rows, row, owner, now, ttl)
            rows.commit()
        self._flush()
        return to_job(taken)

    def _take(self, rows: Transaction, row: JobRow, owner: Owner, now: float, ttl: float) -> JobRow:
        report = dict(to_job(row).report)
        # Whoever held it is gone: a job that ends its runners must not do so for ever.
        if row.owner is not None:
            report[ABANDONED] = report.get(ABANDONED, 0) + 1
        if row.due_at is not None:
            report[DUE] = row.due_at
        return self._put(
            rows,
            row._replace(
                status="running",
                report=to_json(report),
                updated_at=now,
                due_at=None,
                generation=row.generation + 1,
                owner=owner_json(owner, now),
                expires_at=now + ttl,
            ),
        )

    def renew_job(self, job: JobRecord, ttl: float) -> JobRecord:
        """See `JournalStore`."""
        return self._held(job, durable=False, expires_at=self._clock.now() + ttl)

    def leave_job(
        self, job: JobRecord, status: JobStatus, *, due_at: float | None = None, report: Mapping[str, Any]
    ) -> JobRecord:
        """See `JournalStore`."""
        return self._held(
            job,
            durable=True,
            status=status,
            due_at=due_at,
            report=to_json(dict(report)),
            owner=None,
            expires_at=0.0,
        )

    def _held(self, job: JobRecord, *, durable: bool, **fields: Any) -> JobRecord:
        with self._turn, self._backstop, self._writing(durable=durable) as rows:
            row = self._job(rows, job.id)
            if row.generation != job.generation or row.owner is None:
                who = f": {to_owner(row.owner)[0]} has taken it over" if row.owner is not None else ""
                raise LeaseLost(
                    f"this process does not hold job {job.id[:13]} any more{who}",
                    hint=f"see what became of it with `jupyter durable jobs {job.id[:13]}`",
                )
            row = self._put(rows, row._replace(updated_at=self._clock.now(), **fields))
            rows.commit()
        if durable:
            self._flush()
        return to_job(row)

    # -- without being at it ---------------------------------------------------------------------

    def wake_job(
        self, job_id: str, at: float | None, *, only: Collection[JobStatus], status: JobStatus | None = None
    ) -> bool:
        """See `JournalStore`."""
        with self._turn, self._backstop, self._writing(durable=True) as rows:
            row = self._job(rows, job_id)
            if row.status not in only or (row.owner is not None and holds(row, self._clock.now())):
                return False
            self._put(
                rows,
                row._replace(
                    due_at=at, status=status or row.status, owner=None, updated_at=self._clock.now()
                ),
            )
            rows.commit()
        self._flush()
        return True

    def cancel_job(self, job_id: str) -> bool:
        """See `JournalStore`."""
        with self._turn, self._backstop, self._writing(durable=True) as rows:
            row = self._job(rows, job_id)
            if row.status in FINAL:
                return False
            gone = row._replace(status="cancelled", due_at=None, owner=None, expires_at=0.0)
            self._put(rows, gone._replace(generation=row.generation + 1, updated_at=self._clock.now()))
            rows.commit()
        self._flush()
        return True

    def delete_jobs(self, job_ids: Collection[str]) -> int:
        """See `JournalStore`."""
        with self._turn, self._backstop, self._writing(durable=True) as rows:
            now, gone = self._clock.now(), 0
            for job_id in job_ids:
                row = rows.job(job_id)
                if row is not None and not (row.owner is not None and holds(row, now)):
                    rows.drop_job(row.job)
                    gone += 1
            rows.commit()
        self._flush()
        return gone

    # -- parts -----------------------------------------------------------------------------------

    def _wake(self, rows: Transaction, row: RunRow, at: float) -> None:
        """Something has come for a run: its job, if that waits, is due."""
        while row.job_id is None and row.parent_id is not None:  # a child run's inbox is for its job, too
            row, _ = self._found(rows, row.parent_id)
        claims = [alias.removeprefix(CLAIM) for alias in from_json(row.aliases) if alias.startswith(CLAIM)]
        for job_id in [*([row.job_id] if row.job_id is not None else []), *claims]:
            job = rows.job(job_id)
            if job is None or job.status != "waiting" or job.owner is not None:
                continue
            if (job.due_at or at + 1) > at:
                self._put(rows, self._genuine(job)._replace(due_at=at))

    def _put(self, rows: Transaction, row: JobRow) -> JobRow:
        row = row._replace(mac=self._seals.job(row))
        return row._replace(job=rows.add_job(row))

    def _genuine(self, row: JobRow) -> JobRow:
        # What a job runs is code: nobody without the key may say which.
        if not self._seals.is_job(row):
            raise IntegrityError(f"job {row.id} was altered or is damaged", hint=lineage.RESTORE)
        return row

    def _job(self, rows: Rows, job_id: str) -> JobRow:
        row = rows.job(job_id) if job_id else None
        if row is None:
            ids = rows.jobs_starting(job_id) if job_id else []
            if len(ids) > 1:
                raise RunNotFoundError(
                    f"{job_id!r} is the beginning of several jobs' ids",
                    hint="write more of it: " + ", ".join(ids),
                )
            row = rows.job(ids[0]) if ids else None
        if row is None:
            raise RunNotFoundError(
                f"there is no job {job_id!r}", hint="list them with `jupyter durable jobs`"
            )
        return self._genuine(row)


def _row(job: JobRecord) -> JobRow:
    return JobRow(
        0,
        job.id,
        job.notebook,
        job.output,
        to_json(dict(job.spec)),
        job.batch,
        job.priority,
        float(job.created_at),
        job.status,
        float(job.updated_at),
        None if job.due_at is None else float(job.due_at),
        job.generation,
        owner_json(job.owner, job.updated_at) if job.owner is not None else None,
        float(job.expires_at),
        to_json(dict(job.report)),
        b"",
    )


def holds(row: JobRow, now: float) -> bool:
    """Whether whoever holds the job is still at it."""
    return row.owner is not None and row.expires_at > now and not leases.is_gone(to_owner(row.owner)[0])


def _limits(row: JobRow) -> Mapping[str, int]:
    found: Mapping[str, int] = to_job(row).spec.get("limits", {})
    return found


def _fits(row: JobRow, busy: Mapping[str, int]) -> bool:
    """Whether one more of its kind may run."""
    return all(busy.get(key, 0) < most for key, most in _limits(row).items())
