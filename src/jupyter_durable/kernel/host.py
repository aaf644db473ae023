"""What joins the bracket to the session: durable cells of one kernel, from the marker to their end.

    begin ── parse ── Launch (decide, perform) ── tools wrapped ── run current
    finish ── run left and closed ── how its names were left is remembered ── one line

Imported at the first durable cell, not by `%load_ext`.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import shlex
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from jupyter_durable.errors import DivergenceError, DurableError, LeaseLost, RunParked
from jupyter_durable.journal.edits import outermost
from jupyter_durable.kernel import arguments, display
from jupyter_durable.kernel.bracket import CellInfo
from jupyter_durable.kernel.choosing import short
from jupyter_durable.kernel.launching import (
    Launch,
    Launched,
    bound_by,
    digester,
    rewind,
    stored_cell,
)
from jupyter_durable.kernel.moments import NAME, Aside
from jupyter_durable.kernel.namespace import StatementLog, fingerprint
from jupyter_durable.kernel.outputs import OutputRecorder
from jupyter_durable.kernel.showing import CellDisplay, can_update
from jupyter_durable.kernel.where import Place, where
from jupyter_durable.kernel.wrapping import WrappedTools
from jupyter_durable.runtime.activation import Activation
from jupyter_durable.runtime.run import LiveRun, ReplayEnd, RunCancelled
from jupyter_durable.session import Session, Store, open_store
from jupyter_durable.session.opening import END
from jupyter_durable.session.results import came_to
from jupyter_durable.store.place import VARIABLE

RESUME, GOTO, FORK, FORK_WITH, DEBUG = "@resume", "@goto", "@fork", "@fork-with", "@debug"
"""What these verbs of `%durable` turn their cell's first line into; see `kernel.code_verbs`."""

_QUIET = (RunParked, LeaseLost, RunCancelled, ReplayEnd)
_MARKER_CALL = "get_ipython().__durable__("


class Voice:
    """Says lines below one cell, whichever thread they come from. Until `first` they are kept."""

    def __init__(self, host: KernelHost) -> None:
        self._host = host
        # The cell's own context: a line is not recorded with the step it is about.
        self._context = contextvars.copy_context()
        self._kept: list[str] | None = []

    def __call__(self, text: str) -> None:
        """Say a line, or several."""
        if self._kept is not None:
            self._kept.append(text)
            return
        for line in text.split("\n"):
            self._context.copy().run(self._host.say, line)

    def first(self, text: str = "", kind: str = "notice") -> None:
        """Say this, then all that was kept; from here on lines are said at once."""
        if text:
            self._host.say(text, kind)
        kept, self._kept = self._kept or (), None
        for line in kept:
            self(line)


class PlanOnly(BaseException):
    """`--plan`: the cell ends before its code."""


@dataclass(slots=True)
class _Cell:
    """A durable cell that is being executed."""

    launched: Launched
    activation: Activation
    place: Place
    goto: str = ""
    next_input: str = ""
    aside: Aside | None = None  # the notebook's own names, while those of the run stand there
    tools: WrappedTools | None = None
    shown: CellDisplay | None = None

    @property
    def run(self) -> LiveRun:
        return self.launched.run

    def put_back(self) -> None:
        if self.tools is not None:
            self.tools.put_back()
        if self.shown is not None:
            self.shown.stop()


class KernelHost:
    """The `bracket.Host` of one shell, and what `%durable` asks about its kernel.

    running: ids of the runs being executed here. executed: those that were (not: restored), with the id
    of their cell. generations: that of the lease with which each was. left: how each run left its inputs when it stopped.
    """

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.executed: dict[str, str | None] = {}
        self.generations: dict[str, int] = {}
        self.left: dict[str, dict[str, Any]] = {}
        self._cells: dict[int, _Cell] = {}
        self._lock = threading.RLock()  # cells of subshells begin in threads of their own
        self._stores: dict[tuple[int, str], Store] = {}
        self._closing = False
        self._log = StatementLog()
        self._logged = 0
        self._recorder = OutputRecorder(shell)

    # -- what is known here ------------------------------------------------------------------------

    @property
    def running(self) -> set[str]:
        """The ids of the runs that cells of this kernel are executing, restored ones left out."""
        return {cell.run.id for cell in self._cells.values() if not cell.launched.restored}

    def store(self, url: str | None = None) -> Store:
        """The store of this URL (default: `JUPYTER_DURABLE_STORE`, else this machine's), opened once."""
        # A forked child must not use its parent's connections.
        key = os.getpid(), url or os.environ.get(VARIABLE, "")
        with self._lock:
            if key not in self._stores:
                self._stores[key] = open_store(url or None)
            return self._stores[key]

    def place(self, cell_id: str | None = None) -> Place:
        """Where this kernel's cells run."""
        return where(self.shell, cell_id)

    def statements(self) -> StatementLog:
        """Every top-level statement this kernel has executed, the running cell left out."""
        with self._lock:
            cells = self.shell.user_ns.get("In", [])
            upto = len(cells) - bool(cells and str(cells[-1]).startswith(_MARKER_CALL))
            if upto < self._logged:  # %reset
                self._logged = 0
            for cell in cells[self._logged : upto]:
                self._log.record(str(cell), self.shell.transform_cell)
            self._logged = upto
            return self._log

    def say(self, text: str, kind: str = "notice") -> None:
        """One line below the cell."""
        self.publish(display.line(text, kind))

    def publish(self, bundle: display.Bundle) -> None:
        """Show a MIME bundle below the cell."""
        self.shell.display_pub.publish(dict(bundle), {})

    # -- the bracket's calls -----------------------------------------------------------------------

    def begin(self, header: str, cell: CellInfo) -> None:
        """See `bracket.Host`."""
        voice = Voice(self)
        try:
            with self._lock:
                self._cells[id(cell)] = self._open(header, cell, voice)
        finally:
            voice.first()

    def _open(self, header: str, cell: CellInfo, voice: Voice) -> _Cell:
        verb, _, rest = header.partition(" ")
        if verb in (GOTO, FORK, DEBUG):
            return self._goto(verb, *rest.split(), cell=cell, voice=voice)
        if verb == FORK_WITH:
            from jupyter_durable.kernel.travelling import forked  # here: it needs this module

            verb, rest = RESUME, forked(self, rest, voice)
        place = self.place(cell.cell_id)
        source = cell.source
        if verb == RESUME:
            given = replace(arguments.recorded(self.store().journal.run(rest).meta), resume=rest)
        else:
            given = arguments.parse(header, self.shell)
        journal = self.store(given.store).journal
        session = self._session(journal, place, voice, given.store)
        if verb == RESUME:
            source = stored_cell(session, journal.run(rest))[1]
        launch = Launch(self, session, place, given, source, voice)
        decision = launch.decide()
        if given.plan:
            self.say(launch.plan(decision), "start")
            raise PlanOnly
        return self._enter(
            launch.perform(decision), place, voice, given.tools, source, is_async=cell.is_async
        )

    def _goto(self, verb: str, run_id: str, step: str = "", *, cell: CellInfo, voice: Voice) -> _Cell:
        """Everything as it was when the run came to `step` (none: to its end).

        `FORK`: and a cell to go on from there. `DEBUG`: in a place of its own, with the step's arguments.
        """
        journal = self.store().journal
        place = self.place(cell.cell_id)
        session = self._session(journal, place, voice)
        record = journal.run(run_id)
        snapshot, source, index = stored_cell(session, record)
        if step:
            at = session.place(index, step, record)  # a typo must not cost the namespace
            inside = outermost(index, *at)
            if inside != at:
                voice(
                    f"step {step} was made inside step {inside[0]}.{inside[1]}: this is when that one was made"
                )
        aside = Aside(self.shell.user_ns) if verb == DEBUG else None
        try:
            rewind(self.shell, snapshot, source, self.statements(), voice)
            run = session.replay(record, until=step or END)
            line = (
                f"{record.name}: replaying up to {f'step {step}' if step else 'its end'}; nothing is executed"
            )
            launched = Launched(run, session, snapshot, line, "resume", restored=True)
            given = arguments.recorded(record.meta)
            opened = self._enter(
                launched, place, voice, given.tools, source, is_async=cell.is_async, goto=step or "its end"
            )
        except BaseException:
            if aside is not None:
                aside.put_back()
            raise
        opened.aside = aside
        if verb == FORK:
            header = (
                f"%%durable {shlex.quote(record.name)} --resume {short(record.id)} --rerun-from {step or END}"
                f"{arguments.flags(given)}"
            )
            opened.next_input = f"{header}\n{source}"
        return opened

    def _session(self, journal: Any, place: Place, voice: Voice, url: str | None = None) -> Session:
        flags = f"--store {shlex.quote(url)}" if url else ""
        return Session(journal, output=self._recorder, label=place.label, on_notice=voice, flags=flags)

    def _enter(
        self,
        launched: Launched,
        place: Place,
        voice: Voice,
        patterns: Sequence[str],
        source: str,
        *,
        is_async: bool,
        goto: str = "",
    ) -> _Cell:
        run = launched.run
        opened = _Cell(launched, Activation(run), place, goto)
        attached = False
        try:
            opened.tools = WrappedTools(self.shell, patterns, source)
            run.user_code = lambda names: names is self.shell.user_ns
            if place.job_id is None:
                # The notebook of a job that was cut off must not differ from that of one that was not.
                opened.shown = self._show(run, launched)
                voice.first("" if opened.shown else launched.line, launched.kind)
            run.blocking = not is_async
            self._recorder.attach()
            attached = True
            opened.activation.enter()
        except BaseException:
            if attached:
                self._recorder.detach()
            opened.put_back()
            # None of the cell's code has run: whatever this was, it is not how the run ended.
            launched.session.close_run(run, ReplayEnd())
            raise
        return opened

    def _show(self, run: LiveRun, launched: Launched) -> CellDisplay | None:
        """The display that the cell's run is shown in; None where one that was made cannot change."""
        if not can_update(self.shell):
            return None
        shown = CellDisplay(self.shell, self._recorder, run)
        shown.begin(launched.line, launched.kind)
        return shown

    def finish(self, cell: CellInfo, result: Any, error: BaseException | None) -> None:
        """See `bracket.Host`."""
        opened = self._cells.get(id(cell))
        if opened is None:
            if result is not None and isinstance(error, PlanOnly):
                result.error_in_exec = None
            return
        run, launched = opened.run, opened.launched
        try:
            leaf = _control_flow(error)
            if leaf is None and not isinstance(error, KeyboardInterrupt):
                leaf = run.parked or run.ended  # its code was ended for that, or has swallowed it
            opened.activation.leave()
            self._recorder.detach()
            opened.put_back()
            extra = came_to(run, getattr(result, "result", None)) if error is None else None
            status = launched.session.close_run(run, leaf or error, extra=extra)
        except BaseException as failure:  # what was recorded did not come, or could not be written
            self._report(opened, "interrupted", None, failure)
            raise
        finally:
            self._cells.pop(id(cell), None)
            if opened.aside is None:
                self._remember(opened)
            else:
                assert launched.snapshot is not None
                told = bound_by(self.shell, launched.snapshot, cell.source)
                then = opened.aside.put_back()
            if self._closing:
                self.close()
        self._report(opened, status, leaf, error)
        if opened.aside is not None and (error is None or isinstance(leaf, ReplayEnd)):
            from jupyter_durable.kernel import travelling  # here: it needs this module

            found = travelling.moment(self, run.record, opened.goto)
            found.was_restored(then, told)
            travelling.present(self, found)
        if opened.next_input:
            self.shell.set_next_input(opened.next_input)
            self.say("the cell below goes on from there as a run of its own: change it, and run it", "fork")
        if result is not None:
            if isinstance(leaf, ReplayEnd):
                result.error_in_exec = None
            elif run.lost is not None:
                result.error_in_exec = run.lost
            elif leaf is not None:
                result.error_in_exec = leaf  # out of its group: whoever reads the reply looks at its type

    def tool(self, cell: CellInfo, name: str, fn: Any) -> Any:
        """See `bracket.Host`."""
        opened = self._cells.get(id(cell))
        return opened.tools.take(name, fn) if opened is not None and opened.tools is not None else fn

    def replace_error(self, cell: CellInfo, error: BaseException) -> Sequence[str] | None:
        """See `bracket.Host`."""
        if isinstance(error, PlanOnly) or _control_flow(error) is not None:
            return []
        run = opened.run if (opened := self._cells.get(id(cell))) is not None else None
        if run is not None and isinstance(error, asyncio.CancelledError) and run.stopping():
            return []  # not the user's: the run was taken over, cancelled or parked, while the cell awaited something
        if isinstance(error, DurableError):
            return display.error_lines(error, self.shell.user_ns)
        display.hide_frames(error)
        return None

    # -- the end of a cell -------------------------------------------------------------------------

    def _remember(self, opened: _Cell) -> None:
        launched, run = opened.launched, opened.run
        if launched.snapshot is not None:
            digest = digester(run.store)
            self.left[run.id] = fingerprint(launched.snapshot.state, self.shell.user_ns, digest)
        if not launched.restored:
            self.executed[run.id] = opened.place.cell_id if opened.place.has_cell_id else None
            self.generations[run.id] = run.lease.generation if run.lease is not None else 0

    def _report(
        self, opened: _Cell, status: str, leaf: BaseException | None, error: BaseException | None
    ) -> None:
        run, place = opened.run, opened.place
        say = self.say if opened.shown is None else opened.shown.end
        done = display.done(run.stats.replayed, run.stats.executed)
        if run.lost is not None:
            say(f"{run.name}: {display.one_line(str(run.lost))}", "interrupted")
        elif isinstance(leaf, RunParked):
            say(f"{run.name} is parked ({done}): {display.one_line(str(leaf))}", "waiting")
        elif status == "cancelled":
            say(f"{run.name} was cancelled by {run.cancelled_by or 'somebody'} ({done})", "cancelled")
        elif opened.goto:
            where = f"at step {opened.goto}" if isinstance(leaf, ReplayEnd) else "at the end of its cell"
            kept = f"see {NAME}" if opened.aside is not None else "the namespace is as it was then"
            say(f"{run.name} {where}: {done}; {kept}", "completed")
        elif place.job_id is not None:
            return
        elif opened.launched.restored:
            how = "restored" if error is None else "replayed up to its error"
            say(f"{run.name} {how}: {done}", "completed" if error is None else "failed")
        elif status == "completed":
            say(f"{run.name} completed: {done}", status)
        elif _diverged(error):
            say(f"{run.name} stopped: {done}; nothing was lost", "interrupted")
        elif status == "interrupted":
            say(f"{run.name} interrupted: {done}; run the cell again to resume it", status)
        else:
            say(f"{run.name} {status}: {done}; run the cell again to go on where it {status}", status)

    # -- the end -----------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the stores, once no run needs them any more."""
        self._closing = True
        if self._cells:
            return
        for store in self._stores.values():
            store.close()
        self._stores.clear()


def _diverged(error: BaseException | None) -> bool:
    """Whether the run took another path than its journal; a task group wraps that."""
    if isinstance(error, BaseExceptionGroup):
        return any(map(_diverged, error.exceptions))
    return isinstance(error, DivergenceError)


def _control_flow(error: BaseException | None) -> BaseException | None:
    """The error of ours that ends a cell quietly; task groups wrap it, with what it did to their other tasks."""
    if isinstance(error, _QUIET):
        return error
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            found = _control_flow(inner)
            if found is not None:
                return found
    return None
