"""Being at a job: its lease is kept while this process works on it, so that nobody else does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from jupyter_durable.errors import LeaseHeldError, LeaseLost, RunNotFoundError, StoreError
from jupyter_durable.journal.ports import JournalStore
from jupyter_durable.model import JobRecord, JobStatus, Owner
from jupyter_durable.runtime.heartbeat import ttl

_WATCH = 0.5  # seconds between looks whether somebody has taken it away


class Hold:
    """A job that this process holds, until `leave`. `on_lost(why)` is called in a thread if it is taken away.

    To be made as soon as the job is taken: what follows may take longer than its lease, on a machine that is busy.

    >>> from jupyter_durable.store import connect
    >>> from jupyter_durable.store.leases import this_owner
    >>> store = connect("memory:")
    >>> store.put_jobs([JobRecord("j", "nb.ipynb", "nb.out.ipynb", 0.0, 0.0)])
    >>> hold = Hold(store, store.take_job("j", this_owner("test"), ttl()))
    >>> hold.leave("completed", report={}).status
    'completed'
    """

    def __init__(
        self, store: JournalStore, record: JobRecord, on_lost: Callable[[str], None] = lambda why: None
    ) -> None:
        self.record = record
        self.lost: str | None = None
        self._store = store
        self.on_lost = on_lost
        self._ttl = ttl()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="jupyter-durable-job", daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        beats = max(1, round(self._ttl / 3 / _WATCH))
        wait = min(_WATCH, self._ttl / 6)
        tick, seen = 0, -1
        while not self._stop.wait(wait):
            tick += 1
            try:
                if (version := self._store.version()) != seen:
                    seen = version
                    now = self._store.job(self.record.id)
                    if now.generation != self.record.generation or now.owner is None:
                        self._lose("it was cancelled" if now.status == "cancelled" else f"{now.owner} has it")
                        return
                if tick % beats == 0:
                    self._store.renew_job(self.record, self._ttl)
            except (LeaseLost, RunNotFoundError) as error:
                self._lose(str(error.args[0]))
                return
            except StoreError:  # full or locked: the next time
                continue

    def _lose(self, why: str) -> None:
        self.lost = why
        self.on_lost(why)

    def is_lost(self) -> bool:
        """Whether somebody else has it, as of now: then nothing of it is to be written any more."""
        if self.lost is None and self._store.job(self.record.id).generation != self.record.generation:
            return True
        return self.lost is not None

    def leave(
        self, status: JobStatus, *, due_at: float | None = None, report: Mapping[str, Any]
    ) -> JobRecord | None:
        """End it; None if it was taken away before."""
        self.stop()
        try:
            return self._store.leave_job(self.record, status, due_at=due_at, report=report)
        except (LeaseLost, RunNotFoundError):
            return None

    def stop(self) -> None:
        """Do not renew it any more."""
        self._stop.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=10)


def take(store: JournalStore, record: JobRecord, owner: Owner) -> JobRecord:
    """Take a job, putting it in the store if it is not there. Raises `LeaseHeldError`.

    Of two calls that begin the same job at the same moment, each with an id of its own, one is refused: they
    write to the same place.
    """
    try:
        store.job(record.id)
    except RunNotFoundError:
        store.put_jobs([record])
    taken = store.take_job(record.id, owner, ttl())
    now = taken.updated_at
    for other in store.jobs(status="running", notebook=record.output):
        if other.id != taken.id and other.output == record.output and other.expires_at > now:
            from jupyter_durable.store.leases import is_gone

            if other.owner is not None and not is_gone(other.owner) and other.id < taken.id:
                store.leave_job(taken, "cancelled", report={})
                store.delete_jobs([taken.id])
                raise LeaseHeldError(
                    f"this job is being run by {other.owner}",
                    owner=str(other.owner),
                    hint="let it finish or stop it; to run the notebook beside it give another -o and --new",
                )
    return taken
