"""A worker: does the jobs that are due, a few at a time, until it is told to stop.

    look → take (the store says who gets it) → is there anything to go on with? → run, in a thread

Looking costs microseconds and no transaction, so a worker that has nothing to do costs nothing. What becomes due
is noticed by `store.version()`, by the clock, and, for what a dead worker left behind, once a second.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from typing import Any

from jupyter_durable.clock import Clock, SystemClock
from jupyter_durable.errors import DurableError, LeaseHeldError, LeaseLost
from jupyter_durable.headless.adopting import Adopting, over
from jupyter_durable.headless.holding import Hold
from jupyter_durable.headless.parking import BESIDE, parked
from jupyter_durable.headless.resuming import options_of, stored
from jupyter_durable.headless.runner import Control, JobReport, run_job
from jupyter_durable.journal.ports import JournalStore
from jupyter_durable.model import JobRecord
from jupyter_durable.runtime.heartbeat import ttl
from jupyter_durable.store.jobs import ABANDONED, DUE
from jupyter_durable.store.leases import this_owner

_TICK = 0.2
_NEEDED = ("nbformat", "jupyter_durable.headless.client", "jupyter_durable.session")
_ABANDONED_EVERY = 1.0
_MOST_ABANDONED = 10
"""How many workers a job may take with it before it is given up."""


class Worker:
    """Does jobs of one store. `event(kind, job=…, **facts)` and `tell(line)` say what happens; any thread may call them.

    `notebook_runs`: also what was begun by hand in notebooks, and left behind there; see `adopting`.

    `done` counts the calls of jobs that ended, by how they ended.

    >>> from jupyter_durable.store import connect
    >>> Worker(connect("memory:")).run(once=True)
    {}
    """

    def __init__(
        self,
        store: JournalStore,
        *,
        concurrency: int = 1,
        notebook_runs: bool = False,
        event: Callable[..., None] = lambda kind, **facts: None,
        tell: Callable[[str], None] = lambda line: None,
        clock: Clock | None = None,
    ) -> None:
        self.done: dict[str, int] = {}
        self._store = store
        self._concurrency = concurrency
        self._event = event
        self._tell = tell
        self._clock = clock or SystemClock()
        self._adopting = Adopting(store, self._clock) if notebook_runs else None
        self._owner = this_owner("jupyter durable worker")
        self._lock = threading.Lock()
        self._at: dict[str, tuple[threading.Thread, Control]] = {}
        self._wake = threading.Event()
        self._stops = 0
        self._version = -1
        self._looked = 0.0
        self._due: float | None = None

    def stop(self, by: str = "") -> None:
        """Take no more jobs, and interrupt those that run: others may go on with them. Again: at once."""
        self._stops += 1
        for _, control in list(self._at.values()):
            control.stop(by)
        self._wake.set()

    def run(self, *, once: bool = False) -> dict[str, int]:
        """Do jobs until `stop`; `once`: until none is due and none runs. What became of them, by status."""
        for (
            module
        ) in _NEEDED:  # before the first job is taken: on a busy machine it takes longer than a lease
            import_module(module)
        while True:
            taken = (
                not self._stops
                and len(self._at) < self._concurrency
                and self._look(sure=once)
                and self._begin()
            )
            if not taken:
                if not self._at and (self._stops or once):
                    return self.done
                self._wake.wait(_TICK)
                self._wake.clear()

    def _look(self, *, sure: bool) -> bool:
        """Whether something may be to be done."""
        if self._adopting is not None:
            self._adopting.look(sure=sure)
        version, now, moment = self._store.version(), self._clock.now(), self._clock.monotonic()
        if version != self._version:
            self._version = version
            self._due = self._store.next_due()
        elif (self._due is None or self._due > now) and moment - self._looked < _ABANDONED_EVERY and not sure:
            return False
        self._looked = moment
        return True

    def _begin(self) -> bool:
        """Take a job and begin it; whether there was one."""
        with self._lock:
            skip = list(self._at)
        record = self._store.next_job(self._owner, ttl(), skip=skip)
        if record is None:
            self._due = self._store.next_due()
            return False
        self._version = -1
        if self._settled(record):
            return True
        control = Control()
        hold = Hold(self._store, record)
        thread = threading.Thread(
            target=self._work, args=(record, control, hold), name=f"job-{record.id[:13]}"
        )
        with self._lock:
            self._at[record.id] = thread, control
        thread.start()
        return True

    def _settled(self, record: JobRecord) -> bool:
        """Whether nothing is to be done for it now, which is then said in its row."""
        report, now = dict(record.report), self._clock.now()
        if report.get(ABANDONED, 0) > _MOST_ABANDONED:
            why = f"{report[ABANDONED]} workers have ended while they were at it"
            self._leave(record, "gave_up", {**report, "status": "gave_up", "error": why})
            return True
        if (ended := over(self._store, record)) is not None:
            self._leave(record, ended, {**report, "status": ended})
            return True
        found = parked(self._store, record.id)
        if found.beside:  # in a notebook, say: it is in good hands
            self._leave(record, "waiting", report, now + BESIDE)
            return True
        if report.get("status") == "waiting" and not found.ready:
            self._leave(record, "waiting", report, found.until)
            return True
        return False

    def _leave(self, record: JobRecord, status: Any, report: Any, due: float | None = None) -> None:
        with suppress(LeaseLost):
            self._store.leave_job(record, status, due_at=due, report=report)

    def _work(self, record: JobRecord, control: Control, hold: Hold) -> None:
        late = max(0.0, record.updated_at - float(record.report.get(DUE, record.updated_at)))
        name = f"job {record.id[:13]} ({record.notebook.rpartition('/')[2]})"
        self._event(
            "began", job=record.id, notebook=record.notebook, resumed=record.generation > 1, late=late
        )
        self._tell(f"{name}: {'resumed' if record.generation > 1 else 'begun'}")
        status = "failed"
        try:
            report = run_job(
                stored(self._store, record, self._store.url, taken=True),
                tell=lambda line: self._tell(f"{name}: {line}"),
                event=lambda kind, **facts: self._event(kind, **{"job": record.id, **facts}),
                control=control,
                hold=hold,
                requeue=True,
                clock=self._clock,
                **asdict(options_of(record)),
            )
            status = report.status
            self._tell(f"{name}: {_ending(report)}")
            self._event("ended", job=record.id, **report.as_json())
        except (LeaseLost, LeaseHeldError) as error:
            self._tell(f"{name}: {error.args[0]}")
        except Exception as error:  # noqa: BLE001 - one job must not end the others
            said = str(error) if isinstance(error, DurableError) else f"{type(error).__name__}: {error}"
            hold.leave("failed", report={"status": "failed", "error": said, "output": record.output})
            self._tell(f"{name}: error: {said}")
            self._event("ended", job=record.id, status="failed", error=said)
        finally:
            hold.stop()
            with self._lock:
                self._at.pop(record.id, None)
                self.done[status] = self.done.get(status, 0) + 1
            self._wake.set()


def _ending(report: JobReport) -> str:
    if report.status == "waiting" and report.parked is not None:
        return f"waits for {report.parked.what}" if report.parked.what else "waits"
    if report.status == "completed":
        return f"completed in {report.seconds:.1f} s"
    see = f"; see {report.output}" if report.status in ("failed", "gave_up") else ""
    return f"{report.status.replace('_', ' ')}: {report.error or report.where}{see}"
