"""`jupyter durable run`: a notebook from its first cell to its last, whatever happens to its kernels.

    read → parameters → job → held → client (kernels, cells) → left → report

Each step of that line is a module of its own; this one puts them together.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from jupyter_durable.clock import Clock, SystemClock
from jupyter_durable.codec.redaction import mask
from jupyter_durable.errors import DurableError, LeaseLost
from jupyter_durable.headless import parameters as params
from jupyter_durable.headless import save
from jupyter_durable.headless.following import Following
from jupyter_durable.headless.holding import Hold, take
from jupyter_durable.headless.job import (
    METADATA,
    Job,
    last_word,
    no_memory,
    outlook,
    progress,
    remember_output,
    runs,
    runs_of,
    this_runner,
    wait_for_orphans,
)
from jupyter_durable.headless.parking import BESIDE, Parked, parked
from jupyter_durable.headless.repeats import Repeats
from jupyter_durable.model import JobRecord, JobStatus

if TYPE_CHECKING:
    from jupyter_durable.headless.client import JobClient
    from jupyter_durable.journal.ports import JournalStore

EXIT_CODES: Mapping[JobStatus, int] = {
    "completed": 0,
    "failed": 1,
    "gave_up": 3,
    "cancelled": 4,
    "waiting": 75,  # EX_TEMPFAIL of sysexits.h: call again later
    "interrupted": 130,
}
TERMINATED = 143
"""The exit code of a job that was interrupted by SIGTERM: 128 and its number, as shells have it."""
PARK_AFTER = 30.0
"""Seconds for which a job waits with its kernel alive."""
PARK_VARIABLE = "JUPYTER_DURABLE_PARK_AFTER"


@dataclass(frozen=True, slots=True)
class Options:
    """How a job is run.

    - max_restarts: how often a kernel is started again that gets no further
    - timeout: seconds for each cell (None: as long as it takes)
    - kernel: the name of another kernel than the notebook's
    - park_after: seconds for which it waits with its kernel alive (None: for ever)
    - hang_after: seconds of silence after which a kernel is ended and started again
    """

    max_restarts: int = 5
    timeout: int | None = None
    kernel: str | None = None
    park_after: float | None = PARK_AFTER
    hang_after: float = 120.0

    def as_json(self) -> dict[str, Any]:
        """What a job's row says of them: those that are not as usual."""
        return {name: value for name, value in asdict(self).items() if value != getattr(Options(), name)}


@dataclass(frozen=True)
class JobReport:
    """How a call of a job ended.

    `cell` (counted from 1) and `where` (for people) say where it stopped early, `error` why; `seconds`
    is the time this call took. `cost` (USD) is that of its runs, in all calls, and `result` what the last cell
    showed as its value, as text. One that waits says for what, until when, and which run (`waits`).
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
    cost: float = 0.0
    result: str | None = None
    parked: Parked | None = field(default=None, repr=False)

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints last, and that is kept with the job."""
        said = {name: value for name, value in vars(self).items() if name != "parked"}
        return said | (self.parked.as_json() if self.parked is not None else {})


class Control:
    """How others stop a job that runs: once lets its cell clean up, twice does not. Any thread may call."""

    def __init__(self) -> None:
        self.stopped_by: str = ""
        self._client: JobClient | None = None
        self._calls = 0

    def stop(self, by: str = "") -> None:
        """Interrupt the cell and end; called again: at once."""
        self.stopped_by = self.stopped_by or by
        self._calls += 1
        if self._client is not None:
            self._client.stop_soon()

    def attach(self, client: JobClient) -> None:
        """What has been said before there was a client counts, too."""
        self._client = client
        for _ in range(self._calls):
            client.stop_soon()


def run_job(
    job: Job,
    *,
    max_restarts: int = 5,
    timeout: int | None = None,
    kernel: str | None = None,
    park_after: float | None = PARK_AFTER,
    hang_after: float = 120.0,
    tell: Callable[[str], None] = lambda line: None,
    event: Callable[..., None] = lambda kind, **facts: None,
    control: Control | None = None,
    hold: Hold | None = None,
    requeue: bool = False,
    clock: Clock | None = None,
) -> JobReport:
    """Execute the job and say how it ended.

    See `Options` for what is not said here. `tell` gets one line each time something happens that a person should
    know, `event` a word and facts for programs. SIGINT and SIGTERM (in a main thread) and `control` interrupt the cell
    that runs, save, and end the job as `interrupted`; `requeue`: for a worker to go on with. `hold`: the
    job is held already. Raises `LeaseHeldError` if another process is at it, and
    `DurableError` for what is wrong before the first cell: no such kernel, an output that cannot be written.

    >>> run_job(open_job(Path("research.ipynb"))).exit_code  # doctest: +SKIP
    0
    """
    clock = clock or SystemClock()
    options = Options(max_restarts, timeout, kernel, park_after, hang_after)
    with job.open_store() as store:
        call = _Call(replace(job, journal=store), store, options, tell, event, control or Control(), clock)
        return call.run(hold, requeue=requeue)


class _Call:
    """One call of a job."""

    def __init__(
        self,
        job: Job,
        store: JournalStore,
        options: Options,
        tell: Callable[[str], None],
        event: Callable[..., None],
        control: Control,
        clock: Clock,
    ) -> None:
        self.job = job
        self.store = store
        self.options = options
        self.tell = tell
        self.event = event
        self.control = control
        self.clock = clock
        self.client: JobClient | None = None
        self.hold: Hold | None = None
        self.unsaved: str | None = None
        self.last = last_word(job)
        self.repeats = Repeats(self.last.get("seen"))

    def run(self, hold: Hold | None, *, requeue: bool) -> JobReport:
        job, nb = self.job, self.job.nb
        started = self.clock.monotonic()
        name = _kernel_name(nb, self.options.kernel)
        params.inject(nb, job.parameters)
        self._carry_over()
        if hold is None:
            hold = Hold(self.store, take(self.store, self._record(), this_runner()))
        hold.on_lost = self._lost
        self.hold = hold
        status: JobStatus = "failed"
        report: dict[str, Any] = {}
        due: float | None = None
        try:
            if not hold.is_lost():
                self._write("running")
            status = self._execute(name, hold)
            self._keep(status)
            with contextlib.suppress(DurableError):  # another way to find the runs; they are found without it
                remember_output(job)
            if self.unsaved is not None and status == "completed":
                status = "failed"
            found = self._report(status, self.clock.monotonic() - started)
            report = found.as_json()
            due = found.parked.until if found.parked is not None else None
            if requeue and status == "interrupted":
                due = self.clock.now()
            return found
        except DurableError as error:
            report = {"status": "failed", "error": str(error), "output": str(job.output)}
            raise
        finally:
            hold.leave(status, due_at=due, report=report)
            if status == "waiting" and hold.lost is None:
                # What came between parking and leaving has woken nobody.
                now = parked(self.store, job.id)
                if now.ready or now.beside:
                    at = self.clock.now() + (BESIDE if now.beside else 0.0)
                    self.store.wake_job(job.id, at, only=["waiting"])

    def _record(self) -> JobRecord:
        job, now = self.job, self.clock.now()
        spec: dict[str, Any] = {"options": self.options.as_json()}
        spec |= params.sealed(job.parameters, self.store.key, job.id)
        if job.runs_too:
            spec["runs"] = list(job.runs_too)
        return JobRecord(job.id, str(job.notebook), str(job.output), now, now, spec=spec)

    def _carry_over(self) -> None:
        """What an earlier call has saved stays in the output until the cell has run again."""
        before: dict[tuple[Any, str], Any] = {}
        if self.job.resumed:
            with contextlib.suppress(DurableError):
                before = {(c.get("id"), c.source): c for c in save.read(self.job.output).cells}
        for cell in self.job.nb.cells:
            if cell.cell_type == "code":
                old = before.get((cell.get("id"), cell.source))
                cell.outputs = old.outputs if old is not None else []
                cell.execution_count = old.execution_count if old is not None else None

    def _execute(self, kernel: str, hold: Hold) -> JobStatus:
        from jupyter_durable.headless.client import JobClient

        job = self.job
        if job.resumed:
            wait_for_orphans(job, kernel=self.last.get("kernel"), clock=self.clock)
            for line in self._outlook():
                self.tell(line)
        client = self.client = JobClient(
            job.nb,
            env=environment(job, park_after=self.options.park_after),
            max_restarts=self.options.max_restarts,
            progress=lambda: progress(job),
            save=self._keep,
            tell=self.tell,
            outlook=self._outlook,
            event=self.event,
            hang=self.options.hang_after,
            silent=self._silent,
            repeats=self.repeats,
            done_before=int(self.last.get("cells_done", 0)) if job.resumed else 0,
            timeout=self.options.timeout,
            kernel_name=kernel,
            resources={"metadata": {"path": str(job.notebook.parent)}},
        )
        if hold.lost is not None:
            raise LeaseLost(f"job {job.id[:13]} is not this process's any more: {hold.lost}")
        self.event("job", job=job.id, notebook=str(job.notebook), output=str(job.output), resumed=job.resumed)
        following = Following(self.store, job.id, self.event)
        try:
            status = asyncio.run(_with_signals(client, self.control))
        finally:
            following.stop()
        if status != "completed":
            for cell in job.nb.cells[client.cell :]:  # of an earlier call, and not what came after this one
                if cell.cell_type == "code":
                    cell.outputs, cell.execution_count = [], None
        return status

    def _report(self, status: JobStatus, seconds: float) -> JobReport:
        job, client = self.job, self.client
        assert client is not None
        code = EXIT_CODES[status]
        if status == "interrupted" and self.control.stopped_by == "SIGTERM":
            code = TERMINATED
        early = status != "completed"
        return JobReport(
            job_id=job.id,
            status=status,
            exit_code=code,
            notebook=str(job.notebook),
            output=str(job.output),
            resumed=job.resumed,
            restarts=client.restarts,
            cells_done=client.cells_done,
            cells=len(job.nb.cells),
            seconds=round(seconds, 3),
            cell=client.cell if early else None,
            where=client.where if early else None,
            error=mask(why) if (why := client.why or self.unsaved) else why,
            runs=runs(job),
            cost=self._cost(),
            result=_result(job.nb) if not early else None,
            parked=parked(self.store, job.id) if status == "waiting" else None,
        )

    def _cost(self) -> float:
        from jupyter_durable.session import Store

        reader = Store(self.store)
        return round(sum(reader.run(run.id).cost for run in runs_of(self.store, self.job.id)), 9)

    # -- what the client asks for ----------------------------------------------------------------

    def _write(self, status: JobStatus) -> None:
        done = self.client.cells_done if self.client is not None else int(self.last.get("cells_done", 0))
        self.job.nb.metadata[METADATA] = self.job.metadata(
            status,
            cells_done=done,
            seen=self.repeats.as_json(),
            kernel=self.client.process if self.client is not None else None,
        )
        save.write(self.job.nb, self.job.output)

    def _keep(self, status: JobStatus = "running") -> None:
        # The journal is what matters: a full disk here must not end a job that may still finish.
        before = self.unsaved
        try:
            if self.hold is not None and self.hold.is_lost():
                return  # whoever has it writes there
            self._write(status)
            self.unsaved = None
        except DurableError as error:
            self.unsaved = str(error)
            if before is None:
                self.tell(f"warning: {self.unsaved}")

    def _outlook(self) -> list[str]:
        try:
            return outlook(self.job)
        except DurableError:  # decoration; whoever resumes the run meets what is wrong, and says so
            return []

    def _silent(self, pid: int) -> float:
        held = [run for run in runs_of(self.store, self.job.id) if run.owner and run.owner.pid == pid]
        return max((self.clock.now() - run.expires_at for run in held), default=0.0)

    def _lost(self, why: str) -> None:
        if self.client is not None:
            status: JobStatus = "cancelled" if why == "it was cancelled" else "interrupted"
            self.client.abandon(status, why)


def _result(nb: Any) -> str | None:
    for cell in reversed(nb.cells):
        if cell.cell_type == "code" and cell.source.strip():
            for output in reversed(cell.outputs):
                if output.output_type == "execute_result" and "text/plain" in output.data:
                    text = mask("".join(output.data["text/plain"]))
                    return text if len(text) <= 500 else f"{text[:499]}…"
            return None
    return None


async def _with_signals(client: JobClient, control: Control) -> JobStatus:
    loop = asyncio.get_running_loop()
    # Only a main thread takes signals, and Windows' loops take none: there Ctrl-C stays what it was.
    with contextlib.ExitStack() as undo:
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(number, control.stop, number.name)
                undo.callback(loop.remove_signal_handler, number)
        client.begin(loop)
        control.attach(client)
        return await client.run()


def environment(job: Job, *, park_after: float | None = PARK_AFTER) -> dict[str, str]:
    """A kernel's environment: ours, less a surrounding Jupyter session's, plus which job it works for."""
    from jupyter_durable.store.place import VARIABLE, resolve

    store = resolve(job.store)
    if store is None:
        raise no_memory()
    inherited = {k: v for k, v in os.environ.items() if k not in {"JPY_SESSION_NAME", "JPY_PARENT_PID"}}
    return inherited | {
        "JUPYTER_DURABLE_RUNNER": "1",
        "JUPYTER_DURABLE_JOB": job.id,
        "JUPYTER_DURABLE_NOTEBOOK": str(job.notebook),
        PARK_VARIABLE: "" if park_after is None else f"{park_after:g}",
        VARIABLE: str(store),  # absolute: the kernel works in another folder
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
