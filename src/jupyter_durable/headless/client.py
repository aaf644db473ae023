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
import signal
import tempfile
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jupyter_client.asynchronous import AsyncKernelClient
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat.v4 import new_output

from jupyter_durable.headless.job import JobStatus

GRACE = 10.0
"""Seconds an interrupted cell has to clean up after itself before its kernel is killed."""


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
            "user_expressions": dict(user_expressions or {}),
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

    Afterwards `restarts` and `cells_done` say how it went, `cell` (from 1) and `why` where and why it
    stopped early.
    """

    kc: Any

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
        **options: Any,
    ) -> None:
        logger = logging.getLogger("jupyter_durable.headless")
        logger.addHandler(logging.NullHandler())  # what matters is told; nbclient's own errors repeat it
        super().__init__(nb, log=logger, on_cell_error=self._look_for_parking, **options)
        self.restarts = 0
        self.cells_done = 0
        self.why: str | None = None
        self._env = dict(env)
        self._max_restarts = max_restarts
        self._progress = progress
        self._save = save
        self._tell = tell
        self._outlook = outlook
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
            self.why = end.why
            # While it is being stopped a job fails in many ways, and none of them is the reason.
            return "interrupted" if self._stops else end.status
        finally:
            if self._killer is not None:
                self._killer.cancel()
            with contextlib.suppress(Exception):  # widgets are decoration: never the reason a save fails
                self.set_widgets_metadata()
            await self._end_kernel()
            self._words.close()
            self._save()

    def stop(self) -> None:
        """Interrupt the cell that runs and end the job; called a second time, kill the kernel.

        The cell has `GRACE` seconds to clean up. Meant for a signal handler of the event loop.
        """
        self._stops += 1
        if self.km is None:
            return
        loop = asyncio.get_running_loop()
        if self._stops == 1:
            self._signalling = loop.create_task(self._signal(self.km.interrupt_kernel))
            self._killer = loop.call_later(GRACE, self.stop)
        else:
            self._signalling = loop.create_task(self._signal(self.km.signal_kernel, 9))

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
        lines = self.nb.cells[self._index].source.strip().splitlines() or [""]
        return f"cell {self.cell} ({lines[0][:40]})"

    # -- kernels ---------------------------------------------------------------------------------

    async def _start_kernel(self) -> None:
        try:
            if self.km is None:
                self.create_kernel_manager().client_factory = CellClient
                # Our own stdout and stderr belong to the report and to what is told.
                await self.async_start_new_kernel(env=self._env, stdout=self._words, stderr=self._words)
            else:
                self._close_client()
                await self.km.restart_kernel(now=True)
            await self.async_start_new_kernel_client()
            assert self.kc is not None
            info = await self.async_wait_for_reply(self.kc.kernel_info())
        except DeadKernelError:
            raise
        except RuntimeError as error:  # what jupyter_client raises for a kernel that never answers
            raise _EndError("gave_up", f"the kernel did not start: {error}{self._last_words()}") from error
        if info is not None:
            self.nb.metadata["language_info"] = info["content"]["language_info"]

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
        position = (self._progress(), self.cells_done)
        self._deaths = self._deaths + 1 if position == self._last_position else 1
        self._last_position = position
        cause = await self._cause_of_death()
        if self._deaths > self._max_restarts:
            times = "once" if self._deaths == 1 else f"{self._deaths} times"
            told = f"the kernel died in {self.where} {times} without getting any further{cause}"
            outputs = self.nb.cells[self._index].setdefault("outputs", [])
            outputs.append(new_output("error", ename="DeadKernelError", evalue=told, traceback=[told]))
            raise _EndError("gave_up", told)
        self.restarts += 1
        self._save()
        self._tell(
            f"the kernel died in {self.where}{cause}; starting it again ({self._deaths} of {self._max_restarts})"
        )
        for line in self._outlook():
            self._tell(line)

    async def _cause_of_death(self) -> str:
        try:
            name = signal.Signals(-int(await self.km.provisioner.poll())).name
        except Exception:  # noqa: BLE001 - it ended by itself, or on another machine: nothing to add
            return ""
        return f" ({name})"

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
            try:
                await self.async_execute_cell(cell, index, execution_count=self.code_cells_executed + 1)
            except CellExecutionError as error:
                what = f"{error.ename}: {error.evalue}" if error.evalue else error.ename
                raise _EndError("failed", what) from None
            except CellTimeoutError:
                raise _EndError("failed", f"TimeoutError: not done after {self.timeout} s") from None
            self.cells_done = max(self.cells_done, index + 1)
            if cell.cell_type == "code":
                self._save()

    def _look_for_parking(self, *, execute_reply: Mapping[str, Any], **_: Any) -> None:
        # A hook, because a cell tagged `raises-exception` does not raise, and a parked run is no error.
        if execute_reply["content"].get("ename") == "RunParked":
            raise _EndError("waiting", execute_reply["content"].get("evalue"))

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
