"""`%durable fork --set | --arguments`, `debug`, `diff`, `delete`: what the verbs do that look at or change the past."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from jupyter_durable.errors import DurableError, RunNotFoundError
from jupyter_durable.kernel import magics
from jupyter_durable.kernel.choosing import of_notebook, short
from jupyter_durable.kernel.launching import rewind, stored_cell
from jupyter_durable.kernel.moments import NAME, Moment
from jupyter_durable.model import RunRecord
from jupyter_durable.session import forking
from jupyter_durable.session.change import FORKED, UNSET
from jupyter_durable.timeline.view import run_status

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_durable.kernel.host import KernelHost

FORK_USAGE = "fork RUN [--at STEP [--set result=EXPR | --arguments JSON]]"
_CHANGE = re.compile(r"^(?P<head>.*?)\s--(?P<how>set|arguments)(?:\s+|=)(?P<text>.*)$", re.DOTALL)
_RESULT = re.compile(r"""^(['"]?)result\s*=\s*(?P<text>.+?)\1$""", re.DOTALL)


def split_change(rest: str) -> tuple[str, str, str]:
    """What follows `fork`, in front of `--set` or `--arguments`; which of them (or nothing); what follows that.

    >>> split_change("research --at 1.4 --set result={'a': 1}")
    ('research --at 1.4', 'result', "{'a': 1}")
    """
    found = _CHANGE.match(rest)
    if found is None:
        return rest, "", ""
    head, how, text = found["head"].strip(), found["how"], found["text"].strip()
    if how == "set":
        given = _RESULT.match(text)
        if given is None:
            magics._wrong(f"what is {text or '--set'}?", f"%durable {FORK_USAGE}")
        return head, "result", given["text"].strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]  # as a terminal needs it
    return head, how, text


def unfinished(host: KernelHost, store: Any, record: RunRecord, line: str) -> RunRecord | None:
    """A fork of that run which the same line has made, and which has not come to its end: running the cell again means it."""
    for other in store.journal.runs(name=record.name):
        forked = other.meta.get(FORKED, {})
        if record.id not in (other.id, other.forked_from) or forked.get("line") != line:
            continue  # by its name, the newest is meant: that is the fork itself
        alive = store._session.alive(other)
        ended = run_status(other, alive=alive) not in ("interrupted", "failed", "waiting")
        return None if ended or alive or other.id in host.running else other
    return None


def forked(host: KernelHost, rest: str, say: Callable[[str], None]) -> str:
    """Make the fork that a line asks for, or find the one it has made; its id. The namespace is as its run found it."""
    run_id, step, how, text = rest.split(None, 3)
    store = host.store()
    record = store.journal.run(run_id)
    line = store.journal.key.mac("digest", b"fork", f"{step} {how} {text}".encode()).hex()
    made = unfinished(host, store, record, line)
    if made is not None:
        say(
            f"the fork {short(made.id)} that this line has made goes on; to make another one, cancel it first"
        )
    else:
        value = _value(host, how, text)
        result, arguments = (value, None) if how == "result" else (UNSET, value)
        found = forking.fork(
            store,
            run_id,
            at=step,
            result=result,
            arguments=arguments,
            by=magics._person(),
            line=line,
            job_id=host.place().job_id,
        )
        say(found.head if found.repeats else str(found))  # what it leaves behind, the run says as it begins
        made = store.journal.run(found.id)
    snapshot, source, _ = stored_cell(store._session, made)
    rewind(host.shell, snapshot, source, host.statements(), say)
    return made.id


def _value(host: KernelHost, how: str, text: str) -> Any:
    if how == "arguments":
        try:
            return json.loads(text)
        except ValueError:
            pass  # as Python writes it
    value = host.shell.ev(text)
    if how == "arguments" and not isinstance(value, dict):
        raise DurableError("arguments are given by name", hint="""--arguments '{"name": value}'""")
    return value


# -- looking at a step as it was made ----------------------------------------------------------------

_DEBUG_USAGE = "debug [RUN] STEP [--pdb]"


def wants_pdb(rest: str) -> bool:
    """Whether a `%durable debug` line asks for the debugger at once."""
    return "--pdb" in rest.split()


def made_by(host: KernelHost, record: RunRecord, step: str) -> RunRecord:
    """The run whose code made a step: a forebear, where a fork has left it behind."""
    session = host.store()._session
    while record.forked_from is not None:
        index = session.index(record.id)
        found = index.step(*session.place(index, step, record))
        if found is None or found.seq > record.base_seq or not any(found is s for s in index.abandoned):
            return record
        record = session.store.run(record.forked_from)
    return record


def debugged(host: KernelHost, rest: str) -> tuple[RunRecord, str]:
    """The run and the step that a `debug` line means; without a run: this notebook's newest."""
    words = [
        word for word in magics._words(rest, _DEBUG_USAGE, least=1, most=3) if word not in ("--pdb", "--at")
    ]
    if not 1 <= len(words) <= 2:
        magics._wrong("something is missing", f"%durable {_DEBUG_USAGE}")
    store = host.store()
    if len(words) == 2:
        record = magics._run(host, words[0])
    else:
        found = of_notebook(store.journal, None, host.place().notebook) or store.journal.runs(limit=1)
        if not found:
            raise RunNotFoundError(
                f"no runs in {store.url}", hint="%%durable as the first line of a cell makes it one"
            )
        record = found[0]
    return record, magics._step(store.steps(record.id), words[-1], record).id


def moment(host: KernelHost, record: RunRecord, step_id: str) -> Moment:
    """The step as it was made."""
    session = host.store()._session
    index = session.index(record.id)
    step = index.step(*session.place(index, step_id, record))
    assert step is not None
    return Moment(host.shell, session, record, step)


def present(host: KernelHost, found: Moment) -> None:
    """Bind it, and say what there is to look at."""
    host.shell.user_ns[NAME] = found
    host.publish(found.bundle())


def run_debugger(host: KernelHost, rest: str) -> None:
    """`%durable debug STEP --pdb`: the tool under the debugger, with the arguments of that step."""
    record, step = debugged(host, rest)
    found = moment(host, record, step)
    tool = found.tool  # raises before anything is said
    present(host, found)
    host.say(f"{getattr(tool, '__name__', found.name)} with these arguments, outside the run")
    found.pdb()


# -- two runs, and one run less ----------------------------------------------------------------------


def diff(host: KernelHost, rest: str) -> None:
    """`%durable diff RUN RUN`."""
    words = magics._words(rest, "diff RUN RUN", least=2, most=2)
    a, b = (magics._run(host, word).id for word in words)
    found = host.store().diff(a, b)
    host.publish({"text/plain": str(found), "text/html": found.html()})


def delete(host: KernelHost, rest: str) -> None:
    """`%durable delete RUN`."""
    record = magics._run(host, magics._words(rest, "delete RUN", least=1, most=1)[0])
    kept = host.store().delete(record.id)
    also = "; what its forks need stays" if kept else ""
    host.say(f"{record.name} {short(record.id)} is deleted{also}", "cancelled")
