"""The verbs of `%durable` that execute a run's own code: `resume`, `goto`, `fork`, `debug`.

Alone in a cell they become that code before IPython sees it (`as_cell`), so it runs as the cell it is: top-level
`await`, interrupts, outputs and `Out[n]` work as ever. Calling the code from inside a line magic could do none of
that (the kernel's loop is busy with the magic's own cell), and code scheduled for later has no cell.
"""

from __future__ import annotations

import os
import re

from IPython.core.error import UsageError

from jupyter_durable.errors import DurableError
from jupyter_durable.kernel import travelling
from jupyter_durable.kernel.host import DEBUG, FORK, FORK_WITH, GOTO, RESUME, KernelHost
from jupyter_durable.kernel.launching import stored_cell
from jupyter_durable.kernel.magics import _expanded, _run, _step, _words, _wrong
from jupyter_durable.model import RunRecord

_HEADERS = {"resume": RESUME, "goto": GOTO, "fork": FORK, "debug": DEBUG}


def _as_header(host: KernelHost, verb: str, rest: str) -> tuple[str, str]:
    """The first line and the rest of the cell that does what the verb says. Raises for a wrong one."""
    if verb == "resume":
        record = _run(host, _words(rest, "resume RUN", least=1, most=1)[0])
        what = record.id
    elif verb == "goto":
        words = _words(rest, "goto RUN STEP", least=2, most=2)
        record = _run(host, words[0])
        step = _step(host.store().steps(record.id), words[1], record).id
        record = travelling.made_by(host, record, step)
        what = f"{record.id} {step}"
    elif verb == "debug":
        record, step = travelling.debugged(host, rest)
        record = travelling.made_by(host, record, step)
        what = f"{record.id} {step}"
    else:
        head, how, text = travelling.split_change(rest)
        words = _words(head, travelling.FORK_USAGE, least=1, most=3)
        if (
            len(words) == 2
            or (len(words) == 3 and words[1] != "--at")
            or (how and (len(words) < 3 or not text))
        ):
            wrong = words[1] if len(words) > 1 else f"--{how.replace('result', 'set')} without --at STEP"
            _wrong(f"what is {wrong}?", f"%durable {travelling.FORK_USAGE}")
        record = _run(host, words[0])
        what = record.id
        if len(words) == 3:
            what += f" {_step(host.store().steps(record.id), words[2], record).id}"
        if how:
            return f"%%durable {FORK_WITH} {what} {how} {text}\n", _source(host, record)
    return f"%%durable {_HEADERS[verb]} {what}\n", _source(host, record)


def _source(host: KernelHost, record: RunRecord) -> str:
    """The cell that began a run."""
    from jupyter_durable.session import Session

    return stored_cell(Session(host.store().journal), record)[1]


def _unless_given(host: KernelHost, verb: str, text: str) -> str:
    """The same, up to values that are given: braces are JSON there, and Python."""
    if verb != "fork":
        return _expanded(host, text)
    head, option, value = [*re.split(r"(\s--(?:set|arguments)\b)", text, maxsplit=1), "", ""][:3]
    return _expanded(host, head) + option + value


def as_cell(host: KernelHost, lines: list[str]) -> list[str]:
    """A cell that consists of `%durable resume|goto|fork|debug ...` becomes the durable cell it asks for.

    Anything else is returned as it is; so is a line that is wrong, which then says so when it is executed.
    """
    code = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if len(code) != 1 or not code[0].startswith("%durable ") or _is_off():
        return lines
    verb, _, rest = code[0].removeprefix("%durable").strip().partition(" ")
    if verb not in _HEADERS or (verb == "debug" and travelling.wants_pdb(rest)):
        return lines
    try:
        header, source = _as_header(host, verb, _unless_given(host, verb, rest).strip())
    except (DurableError, UsageError):
        return lines
    return [header, *source.splitlines(keepends=True)]


def _is_off() -> bool:
    return os.environ.get("JUPYTER_DURABLE", "").lower() == "off"


def refuse(host: KernelHost, verb: str, rest: str) -> None:
    """Execute such a verb where it is not alone in its cell: say what is wrong with it, if anything, else that."""
    if verb == "debug" and travelling.wants_pdb(rest):
        travelling.run_debugger(host, rest)
        return
    if verb == "fork":
        rest = _unless_given(host, verb, rest).strip()
    _as_header(host, verb, rest)
    if _is_off():
        _wrong("JUPYTER_DURABLE=off: durable cells are ordinary cells", "unset it and restart the kernel")
    _wrong(
        f"{verb} executes the run's own code, as a cell", f"put `%durable {verb} {rest}` alone into a cell"
    )
