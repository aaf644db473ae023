"""`jupyter durable run`: a notebook from its first cell to its last, whatever happens to its kernels.

    read → parameters → job → client (kernels, cells) → report

Each step of that line is a module of its own; this one puts them together.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from jupyter_durable.clock import Clock, SystemClock
from jupyter_durable.codec.redaction import mask
from jupyter_durable.errors import DurableError
from jupyter_durable.headless import parameters as params
from jupyter_durable.headless import save
from jupyter_durable.headless.job import (
    METADATA,
    Job,
    JobStatus,
    outlook,
    progress,
    remember_output,
    runs,
    wait_for_orphans,
)

if TYPE_CHECKING:
    from jupyter_durable.headless.client import JobClient

EXIT_CODES: Mapping[JobStatus, int] = {
    "completed": 0,
    "failed": 1,
    "gave_up": 3,
    "waiting": 75,  # EX_TEMPFAIL of sysexits.h: call again later
    "interrupted": 130,
}


@dataclass(frozen=True)
class JobReport:
    """How a call of a job ended.

    `cell` (counted from 1) and `where` (for people) say where it stopped early, `error` why; `seconds`
    is the time this call took.
    """

    job_id: str
    status: JobStatus
    exit_code: int
    notebook: str
    output: str
    resumed: bool
    restarts: int
    cells_done: int
    cells: int
    seconds: float
    cell: int | None = None
    where: str | None = None
    error: str | None = None
    runs: tuple[dict[str, Any], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return asdict(self)


def run_job(
    job: Job,
    *,
    max_restarts: int = 5,
    timeout: int | None = None,
    kernel: str | None = None,
    tell: Callable[[str], None] = lambda line: None,
    clock: Clock | None = None,
) -> JobReport:
    """Execute the job and say how it ended.

    `timeout` is in seconds for each cell (None: as long as it takes). `tell` gets one line each
    time something happens that a person should know. SIGINT and SIGTERM interrupt the cell that
    runs, save, and end the job as `interrupted`. Raises `DurableError` for what is wrong before
    the first cell: no such kernel, an output that cannot be written.

    >>> run_job(open_job(Path("research.ipynb"))).exit_code  # doctest: +SKIP
    0
    """
    clock = clock or SystemClock()
    started = clock.monotonic()
    nb = job.nb
    name = _kernel_name(nb, kernel)
    params.inject(nb, job.parameters)
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None

    unsaved: str | None = None

    def write(status: JobStatus) -> None:
        nb.metadata[METADATA] = job.metadata(status)
        save.write(nb, job.output)

    def keep(status: JobStatus = "running") -> None:
        # The journal is what matters: a full disk here must not end a job that may still finish.
        nonlocal unsaved
        before = unsaved
        try:
            write(status)
            unsaved = None
        except DurableError as error:
            unsaved = str(error)
            if before is None:
                tell(f"warning: {unsaved}")

    from jupyter_durable.headless.client import JobClient

    write("running")
    if job.resumed:
        wait_for_orphans(job, clock=clock)
        for line in _outlook(job):
            tell(line)
    client = JobClient(
        nb,
        env=environment(job),
        max_restarts=max_restarts,
        progress=lambda: progress(job),
        save=keep,
        tell=tell,
        outlook=lambda: _outlook(job),
        timeout=timeout,
        kernel_name=name,
        resources={"metadata": {"path": str(job.notebook.parent)}},
    )
    status = asyncio.run(_with_signals(client))
    keep(status)
    with contextlib.suppress(DurableError):  # another way to find the runs; they are found without it
        remember_output(job)
    if unsaved is not None and status == "completed":
        status = "failed"
    return JobReport(
        job_id=job.id,
        status=status,
        exit_code=EXIT_CODES[status],
        notebook=str(job.notebook),
        output=str(job.output),
        resumed=job.resumed,
        restarts=client.restarts,
        cells_done=client.cells_done,
        cells=len(nb.cells),
        seconds=round(clock.monotonic() - started, 3),
        cell=None if status == "completed" else client.cell,
        where=None if status == "completed" else client.where,
        error=mask(why) if (why := client.why or unsaved) else why,
        runs=runs(job),
    )


def _outlook(job: Job) -> list[str]:
    try:
        return outlook(job)
    except DurableError:  # decoration; whoever resumes the run meets what is wrong, and says so
        return []


async def _with_signals(client: JobClient) -> JobStatus:
    loop = asyncio.get_running_loop()
    # Only a main thread takes signals, and Windows' loops take none: there Ctrl-C stays what it was.
    with contextlib.ExitStack() as undo:
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(number, client.stop)
                undo.callback(loop.remove_signal_handler, number)
        return await client.run()


def environment(job: Job) -> dict[str, str]:
    """A kernel's environment: ours, less a surrounding Jupyter session's, plus which job it works for."""
    from jupyter_durable.store.place import VARIABLE, resolve

    inherited = {k: v for k, v in os.environ.items() if k not in {"JPY_SESSION_NAME", "JPY_PARENT_PID"}}
    return inherited | {
        "JUPYTER_DURABLE_RUNNER": "1",
        "JUPYTER_DURABLE_JOB": job.id,
        "JUPYTER_DURABLE_NOTEBOOK": str(job.notebook),
        VARIABLE: str(resolve(job.store)),  # absolute: the kernel works in another folder
    }


def _kernel_name(nb: Any, wanted: str | None) -> str:
    from jupyter_client.kernelspec import KernelSpecManager

    spec = nb.metadata.get("kernelspec", {})
    name = wanted or spec.get("name") or "python3"
    known = sorted(KernelSpecManager().find_kernel_specs())
    if name not in known:
        have = ", ".join(known) or "none: pip install ipykernel"
        raise DurableError(
            f"there is no kernel called {name!r} here",
            hint=f"choose one with --kernel NAME (installed: {have})",
        )
    language = spec.get("language", "python") if name == spec.get("name") else "python"
    if language != "python":
        raise DurableError(f"{name!r} is a {language} kernel", hint="durable cells need a Python kernel")
    return str(name)
