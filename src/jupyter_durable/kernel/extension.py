"""`%load_ext jupyter_durable`: puts `%%durable` and `%durable` into a shell, and takes them out again.

What they do is imported when they are first used.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from IPython.core.completer import SimpleCompletion, context_matcher
from IPython.core.magic import no_var_expand

from jupyter_durable.kernel import bracket
from jupyter_durable.runtime.kill_points import arm_from_environment

if TYPE_CHECKING:
    from jupyter_durable.kernel.bracket import CellInfo
    from jupyter_durable.kernel.host import KernelHost

_ATTRIBUTE = "__durable_extension__"


class _Extension:
    """What is loaded into one shell; the bracket's host, until and after the real one is made."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.undo: list[Callable[[], None]] = []
        self._host: KernelHost | None = None

    @property
    def host(self) -> KernelHost:
        """The real host, made on first use."""
        if self._host is None:
            from jupyter_durable.kernel.host import KernelHost

            self._host = KernelHost(self.shell)
        return self._host

    # -- bracket.Host ------------------------------------------------------------------------------

    def begin(self, header: str, cell: CellInfo) -> None:
        self.host.begin(header, cell)

    def finish(self, cell: CellInfo, result: Any, error: BaseException | None) -> None:
        self.host.finish(cell, result, error)

    def tool(self, cell: CellInfo, name: str, fn: Any) -> Any:
        return self.host.tool(cell, name, fn)

    def replace_error(self, cell: CellInfo, error: BaseException) -> Sequence[str] | None:
        return self.host.replace_error(cell, error)

    # -- coming and going --------------------------------------------------------------------------

    def install(self) -> None:
        shell = self.shell
        # Before the bracket's own transformer, which then sees an ordinary `%%durable` cell.
        shell.input_transformers_cleanup.append(self._transform)
        self.undo.append(lambda: shell.input_transformers_cleanup.remove(self._transform))
        self.undo.append(bracket.install(shell, self))

        def durable(line: str) -> None:
            from jupyter_durable.kernel.magics import run_line

            run_line(self.host, line)

        durable.__doc__ = _HELP
        no_var_expand(durable)  # what stands in braces may be the value that a step is supplied with
        shell.register_magic_function(durable, "line", "durable")
        self.undo.append(lambda: shell.magics_manager.magics["line"].pop("durable", None))
        shell.Completer.custom_matchers.append(match := self._matcher())
        self.undo.append(lambda: shell.Completer.custom_matchers.remove(match))

    def uninstall(self) -> None:
        for undo in reversed(self.undo):
            undo()
        self.undo.clear()
        if self._host is not None:
            self._host.close()

    def _transform(self, lines: list[str]) -> list[str]:
        if not any(line.lstrip().startswith("%durable") for line in lines):
            return lines
        from jupyter_durable.kernel.code_verbs import as_cell

        return as_cell(self.host, lines)

    # IPython leaves such transformers out when it asks whether typed input is complete.
    _transform.has_side_effects = True  # type: ignore[attr-defined]

    def _matcher(self) -> Any:
        # And not a `complete_command` hook: what that offers comes after all of Python's names and
        # keywords, and is cut at every `-` of a run's id.
        def match(context: Any) -> dict[str, Any]:
            line = context.text_until_cursor
            found: list[str] = []
            word = ""
            if _LINE.match(line) and not (line.lstrip().startswith("%%") and context.cursor_line):
                word = re.split(r"\s", line)[-1]
                with contextlib.suppress(Exception):  # completion never fails
                    from jupyter_durable.kernel.completing import offers

                    found = [offer for offer in offers(self.host, line) if offer.startswith(word)]
            return {
                "completions": [SimpleCompletion(offer, type="magic") for offer in found],
                "matched_fragment": word,
                "ordered": True,
                "suppress": True,  # of what others offer; it counts only if there is something here
            }

        return context_matcher(priority=1000, identifier="jupyter_durable")(match)


_LINE = re.compile(r"\s*%%?durable\s")
_HELP = """Look at durable runs and act on them.

%durable                      what this kernel and the store are doing
%durable list                 the runs in the store, newest first
%durable show RUN [STEP]      a run step by step, or one step in full
%durable timeline [RUN]       a run as it goes on, live: lanes, values, and what it waits for you to say
%durable plan [RUN]           what resuming would replay and execute
%durable resume RUN           go on with a run here, in this cell
%durable goto RUN STEP        the namespace as it was when the run came to STEP
%durable fork RUN [--at STEP] the same, and a cell below to go on from there with other code
%durable fork RUN --at STEP --set result=EXPR      go on from there, where that step has another result
%durable fork RUN --at STEP --arguments JSON       go on from there, where it is made with other arguments
%durable debug [RUN] STEP     a failed step as it was made, in a place of its own; with --pdb: in the debugger
%durable diff RUN RUN         where two runs part, and each step that differs, with values
%durable delete RUN           delete a run for good; what its forks need stays
%durable cancel RUN           end a run for good
%durable retry RUN STEP       a step in doubt did not happen: make the call
%durable supply RUN STEP EXPR it happened, and this is its result (a Python expression)
%durable fail RUN STEP WHY    it failed
%durable export RUN           a report; or --format json, otel, pytest [-o FILE]
%durable store [URL]          where the journal is; with a path or URL: use another

RUN is an id, its beginning, or a name (the newest run of that name); STEP an id or a name. `$name` and
`{expression}` are replaced by their values, except in EXPR and JSON.
"""


def load(shell: Any) -> None:
    """Make `%%durable` and `%durable` work in `shell`; loading again changes nothing.

    Raises `ValueError` if `JUPYTER_DURABLE_CRASH_AT` names no kill point.
    """
    if getattr(shell, _ATTRIBUTE, None) is not None:
        return
    arm_from_environment()
    extension = _Extension(shell)
    extension.install()
    setattr(shell, _ATTRIBUTE, extension)


def unload(shell: Any) -> None:
    """Leave the shell as it was found. Cells that are being executed end as ordinary cells."""
    extension = getattr(shell, _ATTRIBUTE, None)
    if extension is not None:
        extension.uninstall()
        delattr(shell, _ATTRIBUTE)
