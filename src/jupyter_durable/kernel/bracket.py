"""`%%durable` in the shell: where a durable cell begins and ends.

Line 1, and only line 1, of a `%%durable` cell is replaced by a call of a marker, so the rest of the
cell stays an ordinary cell: top-level `await`, `Out[n]`, `!shell`, `%time`, line numbers and
tracebacks are IPython's own. The marker runs *inside* the cell, in its context and task, and tells
the host to begin; a bracket around the shell's `run_cell_async`, which sync cells go through too,
tells it to finish, in the same context.

What was tried instead, and failed: a cell magic that runs its body (no `await` in a running loop),
nesting `run_cell_async` in the cell (every result and traceback twice), `pre_run_cell` and
`post_run_cell` (another context for async cells, and an error does not stop the cell), and
`post_execute` (fires for comm messages in the middle of a cell).
"""

from __future__ import annotations

import ast
import functools
import os
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

from IPython.core.error import UsageError
from IPython.core.inputtransformer2 import cell_magic, make_tokens_by_line

from jupyter_durable.kernel import arguments
from jupyter_durable.kernel.decorating import Decorating
from jupyter_durable.kernel.interrupt import prompt_interrupts

_MARKER = "__durable__"
_LINE_1 = re.compile(r"%%durable(?=\s|$)(.*)", re.DOTALL)
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_SHOWN_MARKER = re.compile(rf"^(\W*1\W+)get_ipython\(\)\.{_MARKER}\((.*)\)\s*$")


@dataclass(frozen=True, slots=True)
class CellInfo:
    """The cell that is being run.

    `source` is the cell without its `%%durable` line, dedented; `header` is what follows `%%durable`
    on that line, as written. `cell_id` is what the front end sent: an nbformat id, a document URI
    (VS Code), or None (nbclient). `execution_count` is the number the cell shows as `In [n]`.
    """

    source: str
    header: str
    cell_id: str | None
    execution_count: int
    is_async: bool


class Host(Protocol):
    """What a durable cell needs from the rest of the product."""

    def begin(self, header: str, cell: CellInfo) -> None:
        """Open the run. Called inside the cell, in its context and task, before its second line.

        An error raised here ends the cell before any of its code has run.
        """
        ...

    def finish(self, cell: CellInfo, result: Any, error: BaseException | None) -> None:
        """Close the run. Called once for each `begin`, also if that raised, in the same context.

        `result` is IPython's `ExecutionResult`, or None if the shell itself was torn down;
        `error` is what ended the cell (`CancelledError` or `KeyboardInterrupt` for an interrupt).
        To end the cell as a success, set `result.error_in_exec = None`.
        An error raised here is shown, and becomes the cell's.
        """
        ...

    def tool(self, cell: CellInfo, name: str, fn: Any) -> Any:
        """What stands for `fn`, which the cell has just defined as `name`; asked if its line names tools."""
        ...

    def replace_error(self, cell: CellInfo, error: BaseException) -> Sequence[str] | None:
        """What to show instead of `error`'s traceback, before `finish`: lines, or None for the traceback.

        Empty: nothing is shown, and the cell still counts as failed, so cells queued behind it do
        not run: right for a run that parked.
        """
        ...


@dataclass(slots=True, eq=False)
class _Frame:
    """One execution of a cell, durable or not."""

    raw_cell: str
    cell_id: str | None
    execution_count: int
    transformed_cell: str | None
    parent: _Frame | None
    cell: CellInfo | None = None
    host: Host | None = None
    inner_error: BaseException | None = None
    open: bool = True
    undo: Callable[[], None] = field(default=lambda: None)


# The innermost cell that runs in this context; contexts copied from it (tasks, tool threads) see it too.
_frame: ContextVar[_Frame | None] = ContextVar("durable_cell", default=None)


def _durable_frame() -> _Frame | None:
    # A magic such as %%capture runs the body below it as a cell of its own, inside the durable one.
    frame = _frame.get()
    while frame is not None and not (frame.open and frame.cell):
        frame = frame.parent
    return frame


def _running_header() -> str | None:
    frame = _durable_frame()
    return frame.cell.header if frame is not None and frame.cell is not None else None


def transform(lines: list[str]) -> list[str]:
    """The input transformer: replaces a first line `%%durable ...` by the marker's call.

    Pure, for IPython transforms a sync cell twice. Raises `UsageError` for a `%%durable` that is
    not line 1 and not below another cell magic.
    """
    if not any("%%durable" in line for line in lines):
        return lines
    match = _LINE_1.match(lines[0])
    if match is None:
        if not lines[0].startswith("%%"):  # else that magic transforms its body by itself
            _refuse_misplaced(lines, first=True)
        return lines
    rest = lines[1:]
    body = next((i for i, line in enumerate(rest) if not line.isspace()), len(rest))
    if body < len(rest) and rest[body].startswith("%%"):
        if _LINE_1.match(rest[body]):
            _refuse("%%durable stands twice", "a cell is one run: keep one of the lines")
        rest = cell_magic(rest[body:])
    else:
        _refuse_misplaced(rest, first=False)
    if os.environ.get("JUPYTER_DURABLE", "").lower() == "off":
        return [f"# {lines[0]}", *rest]
    return [f"get_ipython().{_MARKER}({match[1].strip()!r})\n", *rest]


# IPython leaves such transformers out when it asks whether typed input is complete: it then sees a
# cell magic, and waits for a blank line instead of running the header alone.
transform.has_side_effects = True  # type: ignore[attr-defined]


def _durable_line(lines: Sequence[str]) -> int | None:
    """The index of the first `%%durable` line that is code, not text inside a string."""
    if not any(_LINE_1.match(line.lstrip()) for line in lines):
        return None
    for tokens in make_tokens_by_line(lines):
        for first, second, third in zip(tokens, tokens[1:], tokens[2:], strict=False):
            if (first.string, second.string, third.string) == ("%", "%", "durable"):
                index = int(first.start[0]) - 1
                if _LINE_1.match(lines[index].lstrip()):
                    return index
    return None


def _refuse_misplaced(lines: Sequence[str], *, first: bool) -> None:
    index = _durable_line(lines)
    if index is None:
        return
    if not first:
        _refuse("%%durable stands twice", "a cell is one run: keep line 1, or split the cell")
    if all(line.isspace() or line.lstrip().startswith("#") for line in lines[:index]):
        _refuse("%%durable must be line 1 of the cell", "move the comment above it below it")
    _refuse("%%durable must be line 1 of the cell", "move it to the top; the whole cell is the run")


def _refuse(message: str, hint: str) -> NoReturn:
    raise UsageError(f"{message}\n  hint: {hint}")


def _source(raw_cell: str) -> str:
    lines = textwrap.dedent(raw_cell).splitlines(keepends=True)
    for index, line in enumerate(lines):
        if _LINE_1.match(line):
            return "".join(lines[index + 1 :])
    return raw_cell  # run through another magic, or with prompts before its lines


class _Bracket:
    """What is installed on one shell; calling it is the marker."""

    def __init__(self, shell: Any, host: Host) -> None:
        self.shell = shell
        self.host = host
        self.patches: list[tuple[str, Any, Any]] = []
        self.decorating = Decorating(_MARKER, _running_header)

    # -- inside the cell -----------------------------------------------------------------------------

    def __call__(self, header: str) -> None:
        __tracebackhide__ = True
        frame = _frame.get()
        if frame is None or not frame.open:
            _refuse("%%durable works on line 1 of a cell only", "outside a notebook use durable.run")
        if frame.cell is not None:
            _refuse("%%durable was already given for this cell", "a cell is one run: keep one of the lines")
        is_async = self.shell.should_run_async(frame.raw_cell, transformed_cell=frame.transformed_cell)
        frame.cell = cell = CellInfo(
            _source(frame.raw_cell), header, frame.cell_id, frame.execution_count, bool(is_async)
        )
        frame.host = self.host
        if is_async:
            frame.undo = prompt_interrupts()
        frame.host.begin(header, cell)

    def tool(self, name: str) -> Callable[[Any], Any]:
        """The decorator that `kernel.decorating` puts on a function."""

        def decorate(fn: Any) -> Any:
            frame = _durable_frame()
            if frame is None or frame.cell is None or frame.host is None:
                return fn
            return frame.host.tool(frame.cell, name, fn)

        return decorate

    # -- around the cell -----------------------------------------------------------------------------

    def wrap_run(self, run_cell_async: Callable[..., Any]) -> Callable[..., Any]:
        # ipykernel looks at the signature to decide what to pass: `wraps` keeps it.
        @functools.wraps(run_cell_async)
        async def bracketed(raw_cell: str, *args: Any, **kwargs: Any) -> Any:
            frame = _Frame(
                raw_cell,
                kwargs.get("cell_id"),
                self.shell.execution_count,
                kwargs.get("transformed_cell"),
                _frame.get(),
            )
            token = _frame.set(frame)
            try:
                result = await run_cell_async(raw_cell, *args, **kwargs)
            except BaseException as error:
                self.finish(frame, None, error)
                raise
            else:
                self.finish(frame, result, result.error_in_exec or result.error_before_exec)
                return result
            finally:
                # A sync cell runs in the kernel's own context: what is not reset here leaks into later cells.
                _frame.reset(token)

        return bracketed

    def finish(self, frame: _Frame, result: Any, error: BaseException | None) -> None:
        if frame.cell is None or frame.host is None:
            outer = _durable_frame()
            if outer is not None and error is not None:
                outer.inner_error = error
            return
        if error is None and frame.cell.source.lstrip().startswith("%%"):
            # %%capture runs the rest as a cell of its own, and says nothing of how it ended.
            error = frame.inner_error
        try:
            frame.undo()
            frame.host.finish(frame.cell, result, error)
        except BaseException as failure:
            if result is None:
                raise
            # Raised on, it would end the kernel's loop (KeyboardInterrupt) or leave the cell without a reply.
            result.error_in_exec = failure
            self.shell.showtraceback((type(failure), failure, failure.__traceback__))
        finally:
            frame.open = False
        if result is not None:
            self.shell.last_execution_succeeded = result.success

    def wrap_showtraceback(self, showtraceback: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(showtraceback)
        def shown(exc_tuple: Any = None, *args: Any, **kwargs: Any) -> None:
            frame = _durable_frame()
            kind, error, _ = exc_tuple or sys.exc_info()
            if frame is not None and frame.cell and frame.host and error is not None:
                lines = frame.host.replace_error(frame.cell, error)
                if lines is not None:
                    if lines:
                        self.shell._showtraceback(kind, error, list(lines))
                    return
            showtraceback(exc_tuple, *args, **kwargs)

        return shown

    def wrap_print(self, show: Callable[..., None]) -> Callable[..., None]:
        # Not through `linecache`: text that does not parse there would cost every traceback of
        # the cell the highlighting of the expression that failed.
        @functools.wraps(show)
        def shown(etype: Any, evalue: Any, stb: list[str]) -> None:
            show(etype, evalue, [_unmark(part) for part in stb])

        return shown

    # -- coming and going ----------------------------------------------------------------------------

    def install(self) -> None:
        shell = self.shell
        setattr(shell, _MARKER, self)
        shell.input_transformers_cleanup.append(transform)
        shell.ast_transformers.append(self.decorating)
        for name, wrap in (
            ("run_cell_async", self.wrap_run),
            ("showtraceback", self.wrap_showtraceback),
            ("_showtraceback", self.wrap_print),
        ):
            before = shell.__dict__.get(name)
            wrapper = wrap(getattr(shell, name))
            self.patches.append((name, wrapper, before))
            setattr(shell, name, wrapper)

        def durable(line: str, cell: str = "") -> None:
            _refuse("%%durable works on line 1 of a cell only", "outside a notebook use durable.run")

        durable.__doc__ = arguments.help_text()
        shell.register_magic_function(durable, "cell", "durable")

    def uninstall(self) -> None:
        shell = self.shell
        if getattr(shell, _MARKER, None) is not self:
            return
        delattr(shell, _MARKER)
        if transform in shell.input_transformers_cleanup:
            shell.input_transformers_cleanup.remove(transform)
        if self.decorating in shell.ast_transformers:
            shell.ast_transformers.remove(self.decorating)
        shell.magics_manager.magics["cell"].pop("durable", None)
        for name, wrapper, before in reversed(self.patches):
            if shell.__dict__.get(name) is not wrapper:
                continue  # somebody wrapped ours since: it stays, and does nothing without the marker
            if before is None:
                delattr(shell, name)
            else:
                setattr(shell, name, before)
        self.patches.clear()


def _unmark(part: str) -> str:
    """`part` of a shown traceback with the marker written as what the user wrote on line 1."""
    if _MARKER not in part:
        return part
    lines = part.split("\n")
    for index, line in enumerate(lines):
        match = _SHOWN_MARKER.match(_ANSI.sub("", line))
        if match:
            lines[index] = f"{match[1]}%%durable {ast.literal_eval(match[2])}".rstrip()
    return "\n".join(lines)


def install(shell: Any, host: Host) -> Callable[[], None]:
    """Make `%%durable` work in `shell` (an IPython `InteractiveShell`); returns what undoes all of it.

    Installing again only exchanges the host.

    >>> uninstall = install(get_ipython(), host)  # doctest: +SKIP
    """
    bracket = getattr(shell, _MARKER, None)
    if isinstance(bracket, _Bracket):
        bracket.host = host
    else:
        bracket = _Bracket(shell, host)
        bracket.install()
    return bracket.uninstall
