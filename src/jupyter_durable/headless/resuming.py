"""Going on with what was begun elsewhere: a job by its id, its run or its notebook; a run that no job has.

A job reads its notebook and goes through all of it. A run that somebody began by hand in a notebook needs none: its
cell is in its journal, as is what the cell needs. A notebook is made of it that has no other cell.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jupyter_durable.clock import SystemClock
from jupyter_durable.errors import DurableError, LeaseHeldError, RunNotFoundError
from jupyter_durable.headless import parameters as params
from jupyter_durable.headless import save
from jupyter_durable.headless.job import METADATA, Job, default_output, marker
from jupyter_durable.headless.parking import parked
from jupyter_durable.headless.runner import Options
from jupyter_durable.journal.ports import JournalStore
from jupyter_durable.model import FINAL, JobRecord, RunRecord


def find(store: JournalStore, what: str, *, output: Path | None = None, url: str | None = None) -> Job:
    """The job that `what` means: see `jupyter durable resume`.

    Raises `RunNotFoundError`, `DurableError`, and `LeaseHeldError` if another process advances one of its runs.
    """
    job = _find(store, what, output=output, url=url)
    if beside := parked(store, job.id).beside:
        raise LeaseHeldError(
            f"this is being advanced by {beside}",
            owner=beside,
            hint="let it finish, or end it there; then give the same command again",
        )
    return job


def _find(store: JournalStore, what: str, *, output: Path | None, url: str | None) -> Job:
    path = Path(what)
    if path.suffix == ".ipynb" or path.is_file():  # a folder may have a run's name
        return _of_notebook(store, path.resolve(), output, url)
    try:
        record = store.job(what)
    except RunNotFoundError:
        return _of_run(store, _run(store, what), output, url)
    return stored(store, record, url)


def stored(
    store: JournalStore,
    record: JobRecord,
    url: str | None = None,
    *,
    notebook: Path | None = None,
    taken: bool = False,
) -> Job:
    """A job as its row says; `taken`: by this process. Raises `DurableError` if its notebook cannot be read."""
    if record.status in FINAL:
        raise DurableError(
            f"job {record.id[:13]} is {record.status}",
            hint=f"its notebook is {record.output}; `jupyter durable run --new` runs it again",
        )
    values = params.opened(record.spec, store.key, record.id)
    runs = tuple(record.spec.get("runs", ()))
    where = notebook or Path(record.notebook)
    output = Path(record.output)
    nb = _of_cell(runs[0]) if runs else save.read(where, store)
    begun = record.generation > int(taken)
    return Job(record.id, where, output, nb, values, url or store.url, begun, journal=store, runs_too=runs)


def options_of(record: JobRecord) -> Options:
    """How a job is to be run.

    >>> options_of(JobRecord("j", "nb.ipynb", "out.ipynb", 0.0, 0.0, spec={"options": {"timeout": 5}})).timeout
    5
    """
    known = {
        name: value for name, value in record.spec.get("options", {}).items() if hasattr(Options(), name)
    }
    return Options(**known)


def _run(store: JournalStore, what: str) -> RunRecord:
    from jupyter_durable.session import Store

    return Store(store)._record(what)


def _of_run(store: JournalStore, run: RunRecord, output: Path | None, url: str | None) -> Job:
    while run.parent_id is not None and run.job_id is None:
        run = store.run(run.parent_id)
    if run.job_id is not None:
        try:
            return stored(store, store.job(run.job_id), url)
        except RunNotFoundError:
            notebook = run.notebook or "NOTEBOOK"
            raise DurableError(
                f"run {run.name!r} belongs to a job that this store knows nothing more of",
                hint=f"run its command again: jupyter durable run {notebook}, with its parameters",
            ) from None
    if run.status in FINAL:
        raise DurableError(
            f"run {run.name!r} is {run.status}",
            hint=f"`jupyter durable show {run.id[:13]}` has its steps; run its cell again for its result",
        )
    try:
        record = store.job(id_of(run))
    except RunNotFoundError:
        record = alone(run, SystemClock().now(), output=output)
        store.add_alias(run.id, marker(record.id))
    return stored(store, record, url)


def id_of(run: RunRecord) -> str:
    """The id of the job that goes on with a run which was begun elsewhere: whoever makes it makes the same."""
    return f"{run.id}.{params.digest({})}"


def alone(run: RunRecord, now: float, *, output: Path | None = None) -> JobRecord:
    """A job that goes on with one run, and does nothing else. Raises `DurableError` for one that no cell began."""
    if run.meta.get("code") is None:
        raise DurableError(
            f"run {run.name!r} was not begun by a cell",
            hint=f"call it where it was defined: {run.notebook or 'the script with durable.run'}",
        )
    notebook = Path(run.notebook or f"{_file_name(run.name)}.ipynb")
    if not notebook.parent.is_dir() or not run.notebook:  # it came from another machine
        notebook = Path.cwd() / notebook.name
    out = output or notebook.with_name(f"{notebook.stem}.{_file_name(run.name)}.out.ipynb")
    return JobRecord(id_of(run), str(notebook), str(out.resolve()), now, now, spec={"runs": [run.id]})


def _file_name(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in text)[:60]


def _of_cell(run_id: str) -> Any:
    from nbformat.v4 import new_code_cell, new_notebook

    cells = [
        new_code_cell("%load_ext jupyter_durable", id="load"),
        new_code_cell(f"%durable resume {run_id}", id="resume"),
    ]
    return new_notebook(cells=cells)


def _of_notebook(store: JournalStore, path: Path, output: Path | None, url: str | None) -> Job:
    for record in store.jobs(notebook=str(path)):
        if record.status not in FINAL and not record.spec.get("runs"):
            return stored(store, record, url)
    if (said := _job_of_output(path)) is not None:  # it was moved, or this is another machine
        record = store.job(said[0])
        notebook = path.parent / said[1]
        job = stored(store, record, url, notebook=notebook if notebook.exists() else path)
        return Job(**{**vars(job), "output": path})
    runs = [
        run
        for run in store.runs(notebook=str(path))
        if run.parent_id is None and run.status not in FINAL and run.meta.get("code") is not None
    ]
    left = {run.forked_from for run in store.runs(notebook=str(path)) if run.fork_kind == "edit"}
    runs = [run for run in runs if run.id not in left]
    if not runs:
        raise RunNotFoundError(
            f"nothing of {path.name} is unfinished in this store",
            hint=f"`jupyter durable run {default_output(path).name.replace('.out', '')}` begins it; "
            "`jupyter durable ls` lists what there is",
        )
    return _of_run(store, runs[0], output, url)


def _job_of_output(path: Path) -> tuple[str, str] | None:
    import json

    try:
        said = json.loads(path.read_text("utf-8"))["metadata"][METADATA]
        return (str(said["job"]), str(said["notebook"])) if said["status"] not in FINAL else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
