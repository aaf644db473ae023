"""What Tab offers after `%durable` and `%%durable`: verbs, runs, steps, options."""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING

from jupyter_durable.kernel import arguments
from jupyter_durable.kernel.choosing import lookup, of_notebook, short

if TYPE_CHECKING:
    from jupyter_durable.kernel.host import KernelHost

MOST = 30  # runs among the offers
_TAKE_RUN = {
    "show",
    "timeline",
    "plan",
    "cost",
    "export",
    "resume",
    "goto",
    "fork",
    "debug",
    "diff",
    "delete",
    "cancel",
    "retry",
    "supply",
    "fail",
    "budget",
    "waits",
    "approve",
    "reject",
    "answer",
    "signal",
}
_REPEATED = {"--tool", "--approve", "--capture", "--no-capture", "--ignore-host"}
_TAKE_STEP = {"show", "goto", "debug", "retry", "supply", "fail"}
_TAKE_WAIT = {"approve": "approval", "reject": "approval", "answer": "ask", "signal": "signal"}


def offers(host: KernelHost, line: str) -> list[str]:
    """The words that may stand at the end of `line`, whatever of it is there already."""
    words = line.split()
    if line[-1:].isspace():
        words.append("")
    # The word being typed is left out: it may be anything.
    before = words[:-1]
    return _of_cell(host, before) if line.lstrip().startswith("%%") else _of_line(host, before)


def _of_line(host: KernelHost, before: list[str]) -> list[str]:
    from jupyter_durable.kernel.magics import VERBS

    match before:
        case [_]:
            return [verb for verb in VERBS if verb]
        case [_, verb] if verb in _TAKE_RUN:
            return _runs(host)
        case [_, "fork", _]:
            return ["--at"]
        case [_, verb, run] if verb in _TAKE_STEP:
            return _steps(host, run)
        case [_, verb, run] if verb in _TAKE_WAIT:
            return _waiting(host, run, _TAKE_WAIT[verb])
        case [_, "approve", _, _]:
            return ["--arguments"]
        case [_, "fork", run, "--at"]:
            return _steps(host, run)
        case [_, "fork", _, "--at", _]:
            return ["--set", "--arguments"]
        case [_, "fork", _, "--at", _, "--set"]:
            return ["result="]
        case [_, "diff", _]:
            return _runs(host)
        case [_, "supply", _, _]:
            return [name for name in host.shell.user_ns if not name.startswith("_")]
    return []


def _of_cell(host: KernelHost, before: list[str]) -> list[str]:
    named = [word for word in before[1:2] if not word.startswith("-")]
    match before[-1]:
        case "--resume" | "--replay":
            return _runs(host)
        case "--rerun-from":
            return _steps(host, named[0]) if named else []
        case "--tool":
            return [
                name
                for name, value in host.shell.user_ns.items()
                if isinstance(value, FunctionType) and not name.startswith("_")
            ]
    takes_value = arguments.options()
    if takes_value.get(before[-1]):
        return []
    options = [option for option in takes_value if option not in before or option in _REPEATED]
    if len(before) > 1:
        return options
    own = of_notebook(host.store().journal, None, host.place().notebook)[:MOST]
    return [*dict.fromkeys(run.name for run in own), *options]


def _runs(host: KernelHost) -> list[str]:
    runs = host.store().journal.runs(limit=MOST)
    return [*dict.fromkeys(run.name for run in runs), *(short(run.id) for run in runs)]


def _waiting(host: KernelHost, run: str, kind: str) -> list[str]:
    record = lookup(host.store().journal, run, host.place().notebook)
    found = [wait for wait in host.store().waits(record.id) if wait.kind == kind]
    return [wait.name if kind == "signal" else wait.step or "" for wait in found]


def _steps(host: KernelHost, run: str) -> list[str]:
    from jupyter_durable.session import Session

    journal = host.store().journal
    record = lookup(journal, run, host.place().notebook)
    return [step.id for step in Session(journal).index(record.id).all_steps()]
