"""Jobs by the hundred: submitted together, waited for, repeated, read as a table."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from jupyter_durable.clock import Clock, SystemClock
from jupyter_durable.errors import DurableError, RunNotFoundError
from jupyter_durable.headless import parameters as params
from jupyter_durable.headless import save
from jupyter_durable.headless.job import kinds, no_memory, runs_of
from jupyter_durable.headless.runner import Options
from jupyter_durable.journal.ports import JournalStore
from jupyter_durable.model import FINAL, JobRecord, JobStatus, RunRecord, new_id
from jupyter_durable.store.place import MEMORY

ENDED: frozenset[JobStatus] = frozenset({"completed", "failed", "gave_up", "cancelled", "interrupted"})
"""Statuses of jobs that do not go on by themselves."""
_PATIENCE = 10.0  # seconds for a run that is cancelled to end by itself
FAILED: tuple[JobStatus, ...] = ("failed", "gave_up", "interrupted")
"""Those that `retry --failed` takes up again."""


def submit(
    store: JournalStore,
    notebook: Path,
    *,
    parameters: Mapping[str, Any] | None = None,
    many: Sequence[Mapping[str, Any]] | None = None,
    output: Path | None = None,
    priority: int = 0,
    limits: Mapping[str, int] | None = None,
    options: Options | None = None,
    clock: Clock | None = None,
) -> list[JobRecord]:
    """Put a notebook in the queue: once, or once for each of `many` (with `parameters` for what these do not say).

    `output` is a file, or for `many` a folder. All or none are submitted. Raises `DurableError` for a notebook that cannot
    be read and for parameters that are not JSON data.
    """
    if store.url == MEMORY:
        raise no_memory()
    notebook = notebook.resolve()
    save.read(notebook)
    now = (clock or SystemClock()).now()
    batch = new_id(now)
    short = batch[:13].replace("-", "")
    sets = [dict(parameters or {})] if many is None else [{**(parameters or {}), **one} for one in many]
    if many is not None and not sets:
        raise DurableError(
            "there are no parameters to run it with", hint="the file needs a line for each job"
        )
    folder = (output or notebook.with_name(f"{notebook.stem}.{short}")).resolve()
    digits = max(4, len(str(len(sets))))
    jobs = []
    for number, values in enumerate(sets, 1):
        job_id = f"{new_id(now) if many is not None else batch}.{kinds(values, store)[0]}"
        if many is not None:
            out = folder / f"{number:0{digits}}.ipynb"
        else:
            out = output.resolve() if output else notebook.with_name(f"{notebook.stem}.{short}.out.ipynb")
        if out == notebook:
            raise DurableError(
                "the output would overwrite the notebook itself", hint="choose another: -o OUT"
            )
        spec = {
            "options": (options or Options()).as_json(),
            **({"limits": dict(limits)} if limits else {}),
            **params.sealed(values, store.key, job_id),
        }
        jobs.append(
            JobRecord(
                job_id,
                str(notebook),
                str(out),
                now,
                now,
                spec=spec,
                batch=batch,
                priority=priority,
                due_at=now,
            )
        )
    store.put_jobs(jobs)
    return jobs


def read_many(path: Path) -> list[dict[str, Any]]:
    """The parameters of many jobs: a line of a CSV file for each, named by the first line. Empty cells are left out.

    Raises `DurableError`.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows, first = list(reader), reader.fieldnames or ()
    except (OSError, ValueError, csv.Error) as error:
        raise DurableError(
            f"cannot read the parameters in {path}: {error}", hint="give a .csv file with a line of names"
        ) from error
    for name, times in Counter(name.strip() for name in first if name.strip()).items():
        if times > 1 or not params.is_name(name):
            what = "stands twice" if times > 1 else "is no name of a variable"
            raise DurableError(
                f"{name!r} {what} in the first line of {path}",
                hint="that line names the parameters: a variable of the notebook each",
            )
    for number, row in enumerate(rows, 2):
        if None in row:
            raise DurableError(
                f"line {number} of {path} has more values than there are names", hint="quote commas"
            )
    return [
        {name.strip(): params.parse(text) for name, text in row.items() if name and text not in (None, "")}
        for row in rows
    ]


def select(store: JournalStore, what: Sequence[str]) -> list[JobRecord]:
    """The jobs that are meant, the oldest first: ids of jobs or batches, their beginnings, or paths; nothing: all.

    Raises `RunNotFoundError`.
    """
    if not what:
        return store.jobs()[::-1]
    found: dict[str, JobRecord] = {}
    for text in what:
        for record in _meant(store, text):
            found[record.id] = record
    return sorted(found.values(), key=lambda record: record.id)


def _meant(store: JournalStore, text: str) -> list[JobRecord]:
    if text.endswith(".ipynb"):
        if by_path := store.jobs(notebook=str(Path(text).resolve())):
            return by_path
    elif in_batch := store.jobs(batch=text):
        return in_batch
    try:
        return [store.job(text)]
    except RunNotFoundError:
        batches = {record.batch for record in store.jobs() if record.batch and record.batch.startswith(text)}
        if len(batches) != 1:
            raise
        return store.jobs(batch=batches.pop())


def wait(
    store: JournalStore,
    what: Sequence[str],
    *,
    timeout: float | None = None,
    seen: Callable[[list[JobRecord]], None] = lambda jobs: None,
    clock: Clock | None = None,
) -> tuple[list[JobRecord], bool]:
    """The jobs as they are when all have ended, and True; or after `timeout` seconds, and False.

    `seen` is called with them each time something has changed.
    """
    clock = clock or SystemClock()
    end = None if timeout is None else clock.monotonic() + timeout
    version = -1
    while True:
        if (now := store.version()) != version:
            version = now
            jobs = select(store, what)
            seen(jobs)
            if all(job.status in ENDED and job.due_at is None for job in jobs):
                return jobs, True
        if end is not None and clock.monotonic() >= end:
            return jobs, False
        clock.wait(0.2)


def retry(store: JournalStore, jobs: Sequence[JobRecord], *, clock: Clock | None = None) -> list[JobRecord]:
    """Put jobs that have failed in the queue again; those for which it was done. What they have completed is not done twice."""
    now = (clock or SystemClock()).now()
    return [job for job in jobs if store.wake_job(job.id, now, only=FAILED, status="queued")]


def cancel(store: JournalStore, what: str, *, by: str = "") -> list[str] | None:
    """End a job, or those of a batch, for good, with their runs; the ids of those that had not ended. None: `what` is none.

    Whoever is at one notices that it is not theirs any more, and ends its kernel.
    """
    try:
        jobs = select(store, [what])
    except RunNotFoundError:
        return None
    return [job.id for job in jobs if job.status not in FINAL and _cancel(store, job, by)]


def _cancel(store: JournalStore, job: JobRecord, by: str) -> bool:
    from jupyter_durable.session import Store

    reader = Store(store)

    def unfinished() -> list[RunRecord]:
        return [run for run in runs_of(store, job.id) if run.status not in FINAL]

    def settle(done: Callable[[], bool]) -> None:
        end = SystemClock.monotonic() + _PATIENCE
        while not done() and SystemClock.monotonic() < end:
            SystemClock.wait(0.1)

    for run in unfinished():  # a live one ends itself, and its job with it: its cell may clean up
        with suppress(DurableError):  # it has ended meanwhile, or another has cancelled it
            reader.cancel(run.id, by=by)
    settle(lambda: not unfinished() or store.job(job.id).owner is None)
    ended = store.cancel_job(job.id) or store.job(job.id).status == "cancelled"
    settle(lambda: not any(reader._session.alive(run) for run in unfinished()))
    for run in unfinished():  # its process was ended before it could say so
        with suppress(DurableError):
            reader.close_cancelled(run.id, by=by)
    return ended


def table(store: JournalStore, jobs: Sequence[JobRecord]) -> Iterator[dict[str, Any]]:
    """A row for each job: its parameters, and what became of it. Secrets are masked."""
    from jupyter_durable.codec.redaction import masked

    for job in jobs:
        said = job.report
        yield {
            "job": job.id,
            "batch": job.batch,
            "status": job.status,
            "notebook": job.notebook,
            "output": job.output,
            "parameters": masked(params.opened(job.spec, store.key, job.id)),
            "result": said.get("result"),
            "error": said.get("error") if job.status != "waiting" else None,
            "for": said.get("for") if job.status == "waiting" else None,
            "until": said.get("until") if job.status == "waiting" else None,
            "cost": said.get("cost", 0.0),
            "seconds": said.get("seconds"),
            "owner": str(job.owner) if job.owner is not None else None,
            "created_at": job.created_at,
            "updated_at": job.updated_at,
        }
