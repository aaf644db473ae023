"""Runs that were begun by hand in notebooks and left behind there, made jobs of: a worker goes on with them.

    parked, and it need not wait any more    ──> due at once, as soon as it need not
    its kernel is gone without a word        ──> due at once
    interrupted, failed                      ──> nobody's but the person's who did it

Which run of a cell is meant is what running the cell would mean: the newest of its notebook and name. The job's id is
made of the run's, so that of many workers that see it one makes the job, and the same that `resume RUN` goes on with.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from jupyter_durable.clock import Clock
from jupyter_durable.errors import DurableError, RunNotFoundError
from jupyter_durable.headless.job import marker
from jupyter_durable.headless.resuming import alone, id_of
from jupyter_durable.journal.ports import JournalStore
from jupyter_durable.model import FINAL, JobRecord, JobStatus, RunRecord

_EVERY = 1.0


class Adopting:
    """Looks for such runs, once a second at most.

    >>> from jupyter_durable.clock import SystemClock
    >>> from jupyter_durable.store import connect
    >>> Adopting(connect("memory:"), SystemClock()).look()
    """

    def __init__(self, store: JournalStore, clock: Clock) -> None:
        from jupyter_durable.session import Store

        self._store = store
        self._reader = Store(store)
        self._clock = clock
        self._version = -1
        self._looked = float("-inf")
        self._held: list[RunRecord] = []
        self._known: dict[str, int] = {}  # the generation of each run that was seen to

    def look(self, *, sure: bool = False) -> None:
        """Make jobs of what there is; `sure`: whenever the last look was."""
        moment = self._clock.monotonic()
        if not sure and moment - self._looked < _EVERY:
            return
        self._looked = moment
        if (version := self._store.version()) != self._version:
            self._version = version
            self._held = [
                run
                for status in ("waiting", "running")
                for run in self._store.runs(status=status, job_id="")
                if run.parent_id is None and run.meta.get("code") is not None
            ]
        held, self._held = self._held, []
        for run in held:
            if self._reader._session.alive(run):
                self._held.append(run)
            elif self._known.get(run.id) != run.generation:
                with suppress(DurableError):  # another was quicker; or the next look will tell
                    self._adopt(run)
                    self._known[run.id] = run.generation

    def _adopt(self, run: RunRecord) -> None:
        if not self._is_newest(run):
            return
        now = self._clock.now()
        waits = self._reader.waits(run.id)
        due: float | None = now
        if waits and not any(wait.ready for wait in waits):
            due = min((wait.until for wait in waits if wait.until is not None), default=None)
        try:
            known = self._store.job(id_of(run))
        except RunNotFoundError:
            record = alone(run, now)
            self._store.add_alias(run.id, marker(record.id))
            self._store.put_jobs(
                [replace(record, status="waiting", due_at=due, report={"status": "waiting"})]
            )
            return
        if due is not None and (known.due_at is None or known.due_at > due):
            self._store.wake_job(known.id, due, only=["waiting"])

    def _is_newest(self, run: RunRecord) -> bool:
        same = self._store.runs(name=run.name, notebook=run.notebook, job_id="")
        meant = (other for other in same if other.parent_id is None and (run.notebook or not other.notebook))
        return next(meant, run).id == run.id


def over(store: JournalStore, record: JobRecord) -> JobStatus | None:
    """How a job that goes on with a run of a notebook has ended where somebody else has come to the run's end; else None."""
    for run_id in record.spec.get("runs", ()):
        try:
            run = store.run(run_id)
        except RunNotFoundError:  # deleted
            return "cancelled"
        if run.status in FINAL:
            return "completed" if run.status == "completed" else "cancelled"
        if any(
            other.forked_from == run.id and other.fork_kind == "edit" for other in store.runs(name=run.name)
        ):
            return "cancelled"  # its cell was edited, and goes on as another run
    return None
