"""A step as it was made, in a place of its own: what `%durable debug` gives.

debug.args.url   the recorded arguments, by the names of the tool's parameters
debug.error      what it raised, with `debug.traceback` as it was recorded
debug.ns.notes   the names of the notebook as they were then; functions in it look at those of now
debug.call()     the tool called with these arguments, outside the run; `debug.pdb()` under the debugger
"""

from __future__ import annotations

import asyncio
import bdb
import inspect
import sys
from pathlib import Path
from types import CodeType, ModuleType, SimpleNamespace
from typing import Any

from jupyter_durable.codec.display import show
from jupyter_durable.errors import DurableError
from jupyter_durable.journal.index import RecordedStep
from jupyter_durable.kernel import display
from jupyter_durable.model import RunRecord
from jupyter_durable.runtime.forms import Form
from jupyter_durable.session import Session
from jupyter_durable.session.forking import tool_named
from jupyter_durable.timeline import inert, values

NAME = "debug"
"""What it is bound to."""
_OURS = "jupyter_durable"
_KEPT = ("In", "Out", "get_ipython", "exit", "quit", "open", "display")


class Moment:
    """One recorded call. `ns` is empty where nobody has gone back to it.

    `positional` and `keywords` are the arguments as the call was made (or as a person changed them).
    """

    def __init__(self, shell: Any, session: Session, record: RunRecord, step: RecordedStep) -> None:
        self._shell = shell
        self.run = record.name
        self._id = record.id[:13]
        self.step = step.id
        self.name = step.name
        self.ns = SimpleNamespace()
        self._told: set[str] = set()
        self._status = step.status
        given = _decoded(session, record, step)
        self.positional, self.keywords = given
        self.args = SimpleNamespace(**self._named())
        self.error: BaseException | None = None
        self.traceback = ""
        outcome = step.outcome
        if outcome is not None and outcome.meta["s"] == "failed" and outcome.payload is not None:
            bind = next((run for run, upto in session._lineage(record) if outcome.seq <= upto), record.id)
            load, payload = session.store.chunk, outcome.payload
            try:
                self.error = session.codec.decode(payload, bind=bind, load=load)
            except Exception:  # noqa: BLE001 - its class may not be here; the text is
                self.error = None
            shown = inert.glance(lambda: inert.look(session.codec, payload, bind=bind, load=load))
            if isinstance(shown, inert.Failure):
                shown.frames = [frame for frame in shown.frames if _OURS not in Path(frame[0]).parts]
            self.traceback = values.traceback(shown) if isinstance(shown, inert.Failure) else show(shown)

    @property
    def tool(self) -> Any:
        """The tool: this notebook's now, else that of then. Raises `DurableError` if there is none."""
        found = tool_named(self.name, self._shell.user_ns) or tool_named(self.name, vars(self.ns))
        if found is None:
            raise DurableError(
                f"the tool {self.name} is not here",
                hint="run the cell that defines it; a call of a library's has no function of yours",
            )
        return found

    def _named(self) -> dict[str, Any]:
        fn = tool_named(self.name, self._shell.user_ns) or tool_named(self.name, vars(self.ns))
        if fn is not None:
            try:
                bound = inspect.signature(inspect.unwrap(fn)).bind(*self.positional, **self.keywords)
                bound.apply_defaults()
                return dict(bound.arguments)
            except (TypeError, ValueError):
                pass  # it is another function by now
        return {**{f"arg{n}": value for n, value in enumerate(self.positional)}, **self.keywords}

    def call(self) -> Any:
        """Call the tool with these arguments, outside the run: nothing is journaled. Await it if it is async."""
        return inspect.unwrap(self.tool)(*self.positional, **self.keywords)

    def pdb(self) -> Any:
        """The same under IPython's debugger, from its first line on; after an error, where it was raised."""
        fn = inspect.unwrap(self.tool)
        debugger = self._shell.debugger_cls()
        try:
            if inspect.iscoroutinefunction(fn):
                return _awaited(fn(*self.positional, **self.keywords), debugger, fn.__code__)
            return debugger.runcall(fn, *self.positional, **self.keywords)
        except bdb.BdbQuit:
            return None
        except Exception as error:  # noqa: BLE001 - what is to be looked at
            self._shell.showtraceback((type(error), error, error.__traceback__))
            debugger.reset()
            debugger.interaction(None, display.without_ours(error.__traceback__))
        return None

    def was_restored(self, names: dict[str, Any], told: set[str]) -> None:
        """Take over the names of that moment; `told`: those that say something of the run."""
        self.ns = SimpleNamespace(**names)
        self._told = told
        self.args = SimpleNamespace(**self._named())

    def __repr__(self) -> str:
        return (
            f"{self.run} at step {self.step}: {show(self.error) if self.error is not None else self._status}"
        )

    def bundle(self) -> display.Bundle:
        """What is there to look at."""
        rows = [(f"{NAME}.args.{name}", show(value)) for name, value in vars(self.args).items()]
        rows += [
            (f"{NAME}.ns.{name}", show(value))
            for name, value in vars(self.ns).items()
            if name in self._told
            and not isinstance(value, ModuleType | type)
            and not inspect.isroutine(value)
        ]
        before = f"{self.run}, step {self.step}: {self.name} {self._status}"
        after = f"{NAME}.call() calls it again, outside the run; {NAME}.pdb() under the debugger"
        own = self._shell.user_ns
        if any(getattr(value, "__globals__", None) is own for value in vars(self.ns).values()):
            after += (
                f"\nFunctions use the names that the notebook has now, not those in {NAME}.ns: "
                f"%durable goto {self._id} {self.step} brings those of then back"
            )
        return display.table(
            ("", "VALUE"), rows, before=before, after=f"{self.traceback}\n{after}".strip("\n")
        )


def _decoded(
    session: Session, record: RunRecord, step: RecordedStep
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if step.args is None:
        return (), {}
    lineage = session._lineage(record)

    def decode(payload: Any, seq: int) -> Any:
        bind = next((run for run, upto in lineage if seq <= upto), record.id)
        return session.codec.decode(payload, bind=bind, load=session.store.chunk)

    given = decode(step.args, step.seq)
    if not isinstance(given, list | tuple) or len(given) != 2:
        return (given,), {}
    args, kwargs = tuple(given[0]), dict(given[1])
    if step.edit is not None and step.edit.payload is not None:
        fn = tool_named(step.name)
        form: Form | None = fn.__durable__.form if hasattr(fn, "__durable__") else None
        edit = decode(step.edit.payload, step.edit.seq)
        args, kwargs = form.bind(args, kwargs, edit) if form is not None else (args, {**kwargs, **edit})
    return args, kwargs


def _awaited(coroutine: Any, debugger: Any, code: CodeType) -> Any:
    """The value of a coroutine, here and now: in the thread of a loop that is running, the kernel's.

    The debugger stops at its first line: not in the loop, which calls it.
    """
    debugger.reset()
    debugger.set_break(code.co_filename, code.co_firstlineno, temporary=True, funcname=code.co_name)
    debugger.botframe = sys._getframe()
    debugger.set_continue()
    running = asyncio._get_running_loop()
    loop = asyncio.new_event_loop()
    asyncio._set_running_loop(None)
    sys.settrace(debugger.trace_dispatch)
    try:
        return loop.run_until_complete(coroutine)
    finally:
        sys.settrace(None)
        loop.close()
        asyncio._set_running_loop(running)


class Aside:
    """The names of a notebook, put aside while others stand in their place."""

    def __init__(self, names: dict[str, Any]) -> None:
        self._names = names
        self._before = self._own()

    def _own(self) -> dict[str, Any]:
        return {
            name: value
            for name, value in self._names.items()
            if not name.startswith("_") and name not in _KEPT
        }

    def put_back(self) -> dict[str, Any]:
        """Bring them back; the ones that stood there."""
        then = self._own()
        for name in then:
            if name not in self._before:
                del self._names[name]
        self._names.update(self._before)
        return then
