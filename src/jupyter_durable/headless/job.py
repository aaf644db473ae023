"""Which job is this? One headless execution of a notebook, across as many calls as it takes.

A job's id stands in its output notebook (metadata `jupyter_durable`) and in the rows of its runs.
A call with the same notebook and parameters finds the unfinished job by either: also between two
durable cells, and also if the output was thrown away or the store was moved to another machine.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_durable.clock import Clock, SystemClock
from jupyter_durable.errors import DurableError, LeaseHeldError
from jupyter_durable.headless import parameters as params
from jupyter_durable.headless import save
from jupyter_durable.model import FINAL, JobStatus, Owner, RunRecord, new_id
from jupyter_durable.store.jobs import CLAIM
from jupyter_durable.store.place import resolve

if TYPE_CHECKING:
    from jupyter_durable.journal.ports import JournalStore

METADATA = "jupyter_durable"


@dataclass(frozen=True)
class Job:
    """One headless execution of `notebook`.

    `id` is a UUIDv7, a dot and the digest of the parameters, of which `kinds` are all that jobs had, the newest
    first. `nb` is the notebook's content, and `store` what `--store` was given (None: the default store); `journal` is
    that store, if it is open. `runs_too`: runs that were begun elsewhere and go on in this job.
    """

    id: str
    notebook: Path
    output: Path
    nb: Any = field(repr=False, compare=False)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    store: str | None = None
    resumed: bool = False
    kinds: tuple[str, ...] = ()
    journal: JournalStore | None = field(default=None, repr=False, compare=False)
    runs_too: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """What stands for the parameters."""
        return self.id.rpartition(".")[2]

    def is_like(self, job_id: str | None) -> bool:
        """Whether a job of that id has the same parameters."""
        return job_id is not None and job_id.rpartition(".")[2] in self.kinds

    def metadata(
        self,
        status: JobStatus,
        *,
        cells_done: int = 0,
        seen: Mapping[str, Any] | None = None,
        kernel: Owner | None = None,
    ) -> dict[str, Any]:
        """What the output notebook says about the job. No absolute paths: notebooks are shared."""
        said: dict[str, Any] = {
            "job": self.id,
            "notebook": os.path.relpath(self.notebook, self.output.parent),
            "status": status,
            "runner": asdict(this_runner()) if status == "running" else None,
        }
        if status != "completed":  # whoever takes it up must know; nobody else needs to
            said |= {"cells_done": cells_done, "seen": dict(seen or {})}
        if status == "running" and kernel is not None:
            said["kernel"] = asdict(kernel)
        return said

    @contextmanager
    def open_store(self) -> Iterator[JournalStore]:
        """The job's store, closed at the end of the block."""
        if self.journal is not None:
            yield self.journal
            return
        from jupyter_durable.store import connect

        store = connect(self.store)
        try:
            yield store
        finally:
            store.close()


def open_job(
    notebook: Path,
    output: Path | None = None,
    *,
    parameters: Mapping[str, Any] | None = None,
    store: str | None = None,
    new: bool = False,
    clock: Clock | None = None,
) -> Job:
    """The unfinished job of this notebook and these parameters, or (also if `new`) another.

    A job is finished when it has completed: one that failed is resumed, too. Raises
    `LeaseHeldError` if a live process of this machine is at it, `DurableError` if the notebook is
    none or the parameters are not JSON data.

    >>> open_job(Path("research.ipynb"), parameters={"topic": "with"}).resumed  # doctest: +SKIP
    False
    """
    notebook = notebook.resolve()
    output = (output or default_output(notebook)).resolve()
    if output == notebook:
        raise DurableError(
            "the output would overwrite the notebook itself",
            hint=f"choose another: -o {default_output(notebook).name}",
        )
    parameters = parameters or {}
    if resolve(store) is None:
        raise no_memory()
    job = Job("", notebook, output, save.read(notebook), parameters, store)
    with job.open_store() as opened:
        known = kinds(parameters, opened)
        nb = save.read(notebook, opened)
    job_id = f"{new_id((clock or SystemClock()).now())}.{known[0]}"
    job = replace(job, id=job_id, kinds=known, nb=nb)
    if (unfinished := _unfinished(job)) is None or new:
        return job
    return replace(job, id=unfinished, resumed=True)


def no_memory() -> DurableError:
    """What to raise for a store in memory: a job's kernels and workers are processes of their own."""
    return DurableError(
        "a store in memory ends with this process, and a job needs one that outlives its kernels",
        hint="name a file: --store journal.db",
    )


def kinds(parameters: Mapping[str, Any], store: JournalStore) -> tuple[str, ...]:
    """What stands for parameters in the ids of jobs of a store, the newest way first."""
    plain = params.digest(parameters)
    # Under its key: a short parameter could be guessed from a plain digest.
    return store.key.mac("digest", b"parameters", plain.encode()).hex()[:16], plain


def default_output(notebook: Path) -> Path:
    """Where a job writes unless told otherwise: beside the notebook, `nb.ipynb` → `nb.out.ipynb`.

    >>> default_output(Path("research.ipynb")).name
    'research.out.ipynb'
    """
    return notebook.with_name(f"{notebook.stem}.out{notebook.suffix or '.ipynb'}")


def _unfinished(job: Job) -> str | None:
    found, status, runner = _in_output(job)
    if found is not None:
        from jupyter_durable.store.leases import is_gone, is_same

        if status == "running" and runner and not (is_same(runner, this_runner()) or is_gone(runner)):
            raise LeaseHeldError(
                f"this job is being run by {runner}",
                owner=str(runner),
                hint="let it finish or stop it; to run the notebook beside it give another -o and --new",
            )
        return None if status in FINAL else found
    with job.open_store() as store:
        for known in store.jobs(notebook=str(job.notebook)):
            # What was submitted is a job of its own, and its workers' business.
            if known.batch is None and job.is_like(known.id):
                return None if known.status in FINAL else known.id
        for run in store.runs(notebook=str(job.notebook)):
            if run.job_id is not None and job.is_like(run.job_id):
                return run.job_id if _is_unfinished(runs_of(store, run.job_id)) else None
    return None


def _in_output(job: Job) -> tuple[str | None, str, Owner | None]:
    """The id, status and runner of the job that wrote the output, if that is of the same kind as `job`."""
    try:
        said = json.loads(job.output.read_text("utf-8"))["metadata"][METADATA]
        found, status = str(said["job"]), str(said["status"])
        runner = Owner(**said["runner"]) if said["runner"] else None
        same = said["notebook"] == job.metadata("running")["notebook"] and job.is_like(found)
    except (OSError, ValueError, KeyError, TypeError):
        return None, "", None  # no output yet, or not one of ours
    return (found, status, runner) if same else (None, "", None)


def _is_unfinished(runs: list[RunRecord]) -> bool:
    left_behind = {run.forked_from for run in runs}  # its fork goes on in its place
    return any(run.status not in FINAL and run.id not in left_behind for run in runs)


def this_runner() -> Owner:
    """This process, at a job."""
    from jupyter_durable.store.leases import this_owner

    return this_owner("jupyter durable run")


# -- what the runner needs from the store ----------------------------------------------------------


def marker(job_id: str) -> str:
    """The alias by which a run that was begun elsewhere is found as one of the job's.

    >>> marker("0199")
    'job:0199'
    """
    return f"{CLAIM}{job_id}"


def runs_of(store: JournalStore, job_id: str) -> list[RunRecord]:
    """The runs of a job, newest first, child runs left out; also one that was begun in a notebook and goes on here."""
    found = [*store.runs(job_id=job_id), *store.runs(notebook=marker(job_id))]
    return [run for run in found if run.parent_id is None]


def last_word(job: Job) -> dict[str, Any]:
    """What the output notebook says about an earlier call of this job; empty if there was none."""
    try:
        said: dict[str, Any] = json.loads(job.output.read_text("utf-8"))["metadata"][METADATA]
        return said if said["job"] == job.id else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def progress(job: Job) -> object:
    """What the job has got done: how many outcomes each of its runs holds.

    Not the length of the journals: each resumption writes an entry, whether it gets further or not.
    """
    with job.open_store() as store:
        return {
            run.id: sum(entry.type == "outcome" for entry in store.entries(run.id))
            for run in runs_of(store, job.id)
        }


def outlook(job: Job) -> list[str]:
    """What resuming its unfinished runs will do, a line each, oldest first: what a cell says in a notebook of its own."""
    from jupyter_durable.session import Store

    with job.open_store() as store:
        reader = Store(store)
        found = runs_of(store, job.id)
        left_behind = {run.forked_from for run in found}
        return [
            f"resuming {run.name}: {reader.plan(run.id)}"
            for run in reversed(found)
            if run.status not in FINAL and run.id not in left_behind and run.parent_id is None
        ]


def wait_for_orphans(
    job: Job, *, kernel: Mapping[str, Any] | None = None, patience: float = 10.0, clock: Clock | None = None
) -> None:
    """Return when no process of an earlier call holds a run of this job, nor its `kernel` is there, or after `patience` seconds.

    A kernel outlives its killed runner by a second or so, and a supervisor calls again at once.
    """
    from jupyter_durable.store.leases import is_gone, this_host

    clock = clock or SystemClock()
    end = clock.monotonic() + patience
    with job.open_store() as store:
        owners = [run.owner for run in runs_of(store, job.id) if run.owner]
    if kernel:
        with suppress(TypeError):  # somebody has edited the notebook
            owners.append(Owner(**kernel))
    while any(o.host == this_host() and not is_gone(o) for o in owners) and clock.monotonic() < end:
        clock.wait(0.05)


def remember_output(job: Job) -> None:
    """Let the runs of this job be found from its output notebook, too."""
    with job.open_store() as store:
        for run in runs_of(store, job.id):
            store.add_alias(run.id, str(job.output))


def runs(job: Job) -> tuple[dict[str, Any], ...]:
    """The runs of this job, oldest first: id, name and status."""
    with job.open_store() as store:
        found = runs_of(store, job.id)
    return tuple({"id": run.id, "name": run.name, "status": run.status} for run in reversed(found))
