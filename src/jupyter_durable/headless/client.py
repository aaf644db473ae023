"""A notebook client that outlives its kernels.

nbclient gives up when a kernel dies. This one starts another and runs the cells again from the
first: set-up cells really run, durable cells replay what their journal holds and go on from there.
The notebook ends up as if nothing had happened, because each cell's outputs and execution count
are those of the kernel that finished it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from jupyter_client.asynchronous import AsyncKernelClient
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat.v4 import new_output

from jupyter_durable.clock import SystemClock
from jupyter_durable.headless import deaths
from jupyter_durable.headless.repeats import BEGIN, EXPRESSIONS, ONCE, Repeats, is_durable
from jupyter_durable.headless.vitals import Vitals
from jupyter_durable.model import JobStatus, Owner
from jupyter_durable.store.leases import process_of

GRACE = 10.0
"""Seconds an interrupted cell has to clean up after itself before its kernel is killed."""
HANG = 120.0
"""Seconds for which a kernel may be silent before it is killed and started again."""
_BACKOFF = (
    0.0,
    1.0,
    2.0,
    4.0,
    8.0,
    16.0,
    30.0,
)  # seconds before a kernel is started again that got no further
_PORT_TAKEN = ("Address already in use", "Address in use")
_WAITS = {"RunParked": "waiting", "RunWaiting": "waiting", "RunCancelled": "cancelled"}


class _EndError(Exception):
    """The job ends here, with this status."""

    def __init__(self, status: JobStatus, why: str | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


class CellClient(AsyncKernelClient):  # type: ignore[misc]
    """A kernel client that says which cell the code comes from, as JupyterLab does."""

    cell_id: str | None = None

    def execute(  # noqa: D102 - the base class documents it
        self,
        code: str,
        silent: bool = False,
        store_history: bool = True,
        user_expressions: Mapping[str, Any] | None = None,
        allow_stdin: bool | None = None,
        stop_on_error: bool = True,
    ) -> str:
        content = {
            "code": code,
            "silent": silent,
            "store_history": store_history,
            "user_expressions": {**(user_expressions or {}), **({} if silent else EXPRESSIONS)},
            "allow_stdin": bool(allow_stdin),
            "stop_on_error": stop_on_error,
        }
        metadata = {"cellId": self.cell_id} if self.cell_id else {}
        message = self.session.msg("execute_request", content, metadata=metadata)
        self.shell_channel.send(message)
        return str(message["header"]["msg_id"])


class JobClient(NotebookClient):  # type: ignore[misc]
    """Runs every cell of a notebook, in as many kernels as it takes.

    - env: the kernels' environment
    - max_restarts: how often a kernel may be started again without the job getting any further
    - progress: what the job has got done, as any value that can be compared
    - save: called whenever the notebook should be on disk
    - tell: called with one line for the person who watches
    - outlook: lines for that person, about what a kernel that is started again will go on with
    - event: called with a word and facts about it, for programs
    - hang: seconds of silence after which a kernel counts as hung
    - silent: for how many seconds the lease of a run that a process holds has been over
    - repeats: what is known of what cells did in earlier kernels
    - done_before: how many cells an earlier call of the job has come past

    `process` is the kernel's, if it is on this machine. Afterwards `restarts` and `cells_done` say how it went, `cell` (from 1) and `why` where and why it
    stopped early.
    """

    kc: Any
    km: Any

    def __init__(
        self,
        nb: Any,
        *,
        env: Mapping[str, str],
        max_restarts: int,
        progress: Callable[[], object],
        save: Callable[[], None],
        tell: Callable[[str], None],
        outlook: Callable[[], Iterable[str]] = tuple,
        event: Callable[..., None] = lambda kind, **facts: None,
        hang: float = HANG,
        silent: Callable[[int], float] = lambda pid: 0.0,
        repeats: Repeats | None = None,
        done_before: int = 0,
        **options: Any,
    ) -> None:
        logger = logging.getLogger("jupyter_durable.headless")
        logger.addHandler(logging.NullHandler())  # what matters is told; nbclient's own errors repeat it
        super().__init__(
            nb, log=logger, on_cell_error=self._look_for_parking, on_cell_executed=self._note, **options
        )
        self.restarts = 0
        self.cells_done = 0
        self.why: str | None = None
        self._env = dict(env)
        self._max_restarts = max_restarts
        self._progress = progress
        self._save = save
        self._tell = tell
        self._outlook = outlook
        self._event = event
        self._hang = hang
        self._silent = silent
        self.repeats = repeats or Repeats()
        self._past = done_before  # cells before this one have run in some kernel of the job
        self._vitals: Vitals | None = None
        self._process: Any = None
        self.process: Owner | None = None
        self._ours = ""
        self._killed = deaths.killed()
        self._awake: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._abandoned: JobStatus | None = None
        self._stops = 0
        self._index = 0
        self._deaths = 0
        self._last_position: object = None
        self._killer: asyncio.TimerHandle | None = None
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end of `run`
        self._signalling: asyncio.Task[None] | None = None  # a task nothing refers to may be collected

    # -- the job ---------------------------------------------------------------------------------

    async def run(self) -> JobStatus:
        """Execute the notebook to its end, starting the kernel again each time it dies.

        However it ends, the notebook has been saved as far as it got.
        """
        self.begin(asyncio.get_running_loop())
        self._awake = asyncio.Event()
        try:
            while True:
                self.reset_execution_trackers()
                try:
                    await self._start_kernel()
                    await self._execute_cells()
                except DeadKernelError:
                    await self._after_death()
                else:
                    return "completed"
        except _EndError as end:
            self.why = end.why if self._abandoned is None else self.why
            if self._abandoned is not None:
                return self._abandoned
            # While it is being stopped a job fails in many ways, and none of them is the reason.
            return "interrupted" if self._stops else end.status
        finally:
            if self._killer is not None:
                self._killer.cancel()
            self._unwatch()
            with contextlib.suppress(Exception):  # widgets are decoration: never the reason a save fails
                self.set_widgets_metadata()
            await self._end_kernel()
            self._words.close()
            self._save()

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop in which it is going to run: from here on it may be stopped from elsewhere."""
        self._loop = loop

    def stop_soon(self) -> None:
        """The same as `stop`, for any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.stop)

    def stop(self) -> None:
        """Interrupt the cell that runs and end the job; called a second time, kill the kernel.

        The cell has `GRACE` seconds to clean up. Meant for a signal handler of the event loop.
        """
        self._stops += 1
        if self._awake is not None:
            self._awake.set()
        if self.km is None:
            return
        loop = asyncio.get_running_loop()
        if self._stops == 1:
            self._signalling = loop.create_task(self._signal(self.km.interrupt_kernel))
            self._killer = loop.call_later(GRACE, self.stop)
        else:
            self._signalling = loop.create_task(self._signal(self.km.signal_kernel, 9))

    def abandon(self, status: JobStatus, why: str) -> None:
        """End at once, without a grace: the job is somebody else's now. Any thread may call."""

        def end() -> None:
            self._abandoned, self.why, self._stops = status, why, max(self._stops, 1)
            self.stop()

        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(end)

    async def _signal(self, send: Callable[..., Any], *args: Any) -> None:
        with contextlib.suppress(Exception):  # the kernel may be gone already, which is as good
            await send(*args)

    @property
    def cell(self) -> int:
        """The number of the cell that runs or ran last, from 1."""
        return self._index + 1

    @property
    def where(self) -> str:
        """The same for people, with the cell's first line."""
        return f"cell {self.cell} ({_first_line(self.nb.cells[self._index].source)})"

    # -- kernels ---------------------------------------------------------------------------------

    async def _start_kernel(self) -> None:
        for attempt in range(4):
            try:
                await self._try_to_start()
            except DeadKernelError:
                raise
            except RuntimeError as error:  # what jupyter_client raises for a kernel that never answers
                if self._stops:
                    raise _EndError("interrupted") from error
                if (self._exit_status() or 0) < 0:  # somebody killed it: that says nothing about the next
                    raise DeadKernelError("killed while it started") from error
                words = self._last_words()
                if attempt < 3 and any(text in words for text in _PORT_TAKEN):
                    await self._end_kernel()  # another program was quicker: ports are found, not reserved
                    self.km = None
                    continue
                raise _EndError("gave_up", f"the kernel did not start: {error}{words}") from error
            return

    async def _try_to_start(self) -> None:
        self._unwatch()
        self._ours, self._killed = "", deaths.killed()
        if self.km is None:
            self.create_kernel_manager().client_factory = CellClient
            # Our own stdout and stderr belong to the report and to what is told.
            await self.async_start_new_kernel(env=self._env, stdout=self._words, stderr=self._words)
        else:
            self._close_client()
            await self.km.restart_kernel(now=True)
        # Kept here, for a client that fails to start forgets it.
        self._process = getattr(self.km.provisioner, "process", None)
        await self.async_start_new_kernel_client()
        assert self.kc is not None
        info = await self.async_wait_for_reply(self.kc.kernel_info())
        if info is not None:
            self.nb.metadata["language_info"] = info["content"]["language_info"]
        self.kc.execute(BEGIN, silent=True, store_history=False)
        pid = getattr(self.km.provisioner, "pid", None)
        self.process = process_of(pid, "kernel") if pid is not None else None
        self._save()  # whoever takes the job up must know which kernel may still be at it
        self._vitals = Vitals(self.kc, pid, self._hang, self._end_hung, self._silent)
        self._event("kernel", pid=pid, restarts=self.restarts)

    async def _end_hung(self, why: str) -> None:
        self._ours = why
        await self._signal(self.km.signal_kernel, 9)

    def _unwatch(self) -> None:
        if self._vitals is not None:
            self._vitals.stop()

    def _close_client(self) -> None:
        if self.kc is not None:
            self.kc.stop_channels()
            self.kc = None

    async def _end_kernel(self) -> None:
        if self.km is not None:
            with contextlib.suppress(Exception):  # a kernel that is gone cannot be ended twice
                await self._async_cleanup_kernel()

    async def _after_death(self) -> None:
        if self._stops:
            raise _EndError("interrupted")
        self._past = max(self._past, self._index)
        position = (self._progress(), self.cells_done)
        self._deaths = self._deaths + 1 if position == self._last_position else 1
        self._last_position = position
        cause = self._cause_of_death()
        if self._deaths > self._max_restarts:
            times = "once" if self._deaths == 1 else f"{self._deaths} times"
            told = f"the kernel died in {self.where} {times} without getting any further{cause}"
            outputs = self.nb.cells[self._index].setdefault("outputs", [])
            outputs.append(new_output("error", ename="DeadKernelError", evalue=told, traceback=[told]))
            raise _EndError("gave_up", told)
        self.restarts += 1
        self._save()
        pause = _BACKOFF[min(self._deaths - 1, len(_BACKOFF) - 1)]
        self._event("died", cell=self.cell, cause=cause.strip(" ()"), again_in=pause, times=self._deaths)
        when = f" in {pause:g} s" if pause else ""
        whole = "" if is_durable(self.nb.cells[self._index].source) else ", and the cell from its beginning"
        self._tell(
            f"the kernel died in {self.where}{cause}; starting it again{when}{whole} "
            f"({self._deaths} of {self._max_restarts})"
        )
        for line in self._outlook():
            self._tell(line)
        if pause and self._awake is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._awake.wait(), pause)
        if self._stops:
            raise _EndError("interrupted")

    def _cause_of_death(self) -> str:
        status = self._exit_status()
        memory = self._vitals.memory if self._vitals is not None else 0
        return deaths.cause(status, self._killed, deaths.killed(), memory=memory, ours=self._ours)

    def _exit_status(self) -> int | None:
        """How the kernel's process ended; None if it has not, or was on another machine."""
        try:
            found: int | None = self._process.poll()
        except Exception:  # noqa: BLE001 - no process of ours
            return None
        return found

    def _last_words(self) -> str:
        """What the kernel wrote to its own stderr before it took that over: why it did not start."""
        self._words.seek(0)
        lines = self._words.read().decode(errors="replace").splitlines()
        kept = [line for line in lines if line.strip() and "IPKernelApp" not in line][-20:]
        return "".join(f"\n  | {line}" for line in kept)

    # -- cells -----------------------------------------------------------------------------------

    async def _execute_cells(self) -> None:
        for index, cell in enumerate(self.nb.cells):
            if self._stops:
                raise _EndError("interrupted")
            self._index = index
            assert self.kc is not None
            self.kc.cell_id = cell.get("id")
            started = SystemClock.monotonic()
            code = cell.cell_type == "code" and bool(cell.source.strip())
            if code:
                self._event("cell", cell=self.cell, of=len(self.nb.cells), source=_first_line(cell.source))
            if code and index < self._past:
                if ONCE in cell.metadata.get("tags", ()):
                    await self._pass(cell)
                    self.cells_done = max(self.cells_done, index + 1)
                    continue
                self._warn(index, cell)
            try:
                await self.async_execute_cell(cell, index, execution_count=self.code_cells_executed + 1)
            except CellExecutionError as error:
                what = f"{error.ename}: {error.evalue}" if error.evalue else error.ename
                raise _EndError("failed", what) from None
            except CellTimeoutError:
                raise _EndError("failed", f"TimeoutError: not done after {self.timeout} s") from None
            self.cells_done = max(self.cells_done, index + 1)
            self._past = max(self._past, index + 1)
            if cell.cell_type == "code":
                self._save()
            if code:
                seconds = round(SystemClock.monotonic() - started, 3)
                self._event("done", cell=self.cell, of=len(self.nb.cells), seconds=seconds)

    def _warn(self, index: int, cell: Any) -> None:
        """Say of a cell that runs again what it did the first time."""
        seen = self.repeats.seen.get(index)
        if seen and not is_durable(cell.source):
            self._event("again", cell=self.cell, seen=seen)
            self._tell(f"{self.where} runs again: it {', '.join(seen)} (tag it {ONCE} if it must not)")

    async def _pass(self, cell: Any) -> None:
        """A cell that is not to run again keeps its outputs; its number is used up, so that later cells keep theirs."""
        await self.async_wait_for_reply(self.kc.execute("pass"))
        self.code_cells_executed += 1
        cell["execution_count"] = self.code_cells_executed

    def _note(self, *, cell_index: int, execute_reply: Mapping[str, Any], **_: Any) -> None:
        self.repeats.note(cell_index, execute_reply)

    def _look_for_parking(self, *, execute_reply: Mapping[str, Any], **_: Any) -> None:
        # A hook, because a cell tagged `raises-exception` does not raise, and a parked run is no error.
        if (status := _WAITS.get(execute_reply["content"].get("ename", ""))) is not None:
            raise _EndError(cast("JobStatus", status), execute_reply["content"].get("evalue"))

    def output(self, outs: list[Any], msg: Mapping[str, Any], display_id: str | None, cell_index: int) -> Any:
        """Append an output; text that continues the stream before it is joined to it.

        How a kernel cuts its streams depends on timing, and outputs of a resumed job must equal
        those of an undisturbed one.
        """
        out = super().output(outs, msg, display_id, cell_index)
        if out is not None and out.output_type == "stream" and len(outs) > 1:
            before = outs[-2]
            if before.output_type == "stream" and before.name == out.name:
                before.text += outs.pop().text
                return before
        return out


def _first_line(source: str) -> str:
    return (source.strip().splitlines() or [""])[0][:40]
