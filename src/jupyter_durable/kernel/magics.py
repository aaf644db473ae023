"""`%durable`: look at runs, and act on them.

Verbs that execute a run's own code (`resume`, `goto`, `fork`, `debug`) are in `code_verbs`.
"""

from __future__ import annotations

import getpass
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from IPython.core.error import UsageError

from jupyter_durable.errors import DurableError, RunNotFoundError
from jupyter_durable.journal.budget import money, parse_cost
from jupyter_durable.journal.policy import ago
from jupyter_durable.kernel import display
from jupyter_durable.kernel.choosing import lookup, of_notebook, short
from jupyter_durable.kernel.host import KernelHost
from jupyter_durable.model import FINAL, RunInfo, RunRecord, StepCounts, StepInfo
from jupyter_durable.store.place import VARIABLE, resolve
from jupyter_durable.timeline.costs import STEP_HEAD, describe, step_row, total, used
from jupyter_durable.timeline.waits import ways

if TYPE_CHECKING:
    from jupyter_durable.session import Store

_MOST = 30  # runs in a list
_VERBATIM = ("supply", "approve", "reject", "answer", "signal")  # braces are JSON there, and not expanded
_CODE_VERBS = ("resume", "goto", "fork", "debug")


def run_line(host: KernelHost, line: str) -> None:
    """Execute a `%durable` line. Raises `UsageError` for a wrong one; errors of ours show no traceback."""
    verb, _, rest = line.strip().partition(" ")
    rest = rest.strip() if verb in _VERBATIM or verb == "fork" else _expanded(host, rest).strip()
    action = VERBS.get(verb)
    if action is None:
        _wrong(f"no such verb: {verb}", "one of " + ", ".join(v for v in VERBS if v))
    try:
        action(host, rest)
    except DurableError as error:
        lines = display.error_lines(error, host.shell.user_ns)
        error._render_traceback_ = lambda: lines  # type: ignore[attr-defined]
        raise


def _expanded(host: KernelHost, text: str) -> str:
    """`$name` and `{expression}` replaced by their values in the user's namespace."""
    # Past every frame there is only that namespace, and never a local of ours.
    return str(host.shell.var_expand(text, depth=1_000_000)) if "$" in text or "{" in text else text


def _wrong(message: str, hint: str) -> NoReturn:
    raise UsageError(f"%durable: {message}\n  hint: {hint}")


def _words(rest: str, usage: str, *, least: int, most: int) -> list[str]:
    try:
        words = shlex.split(rest)
    except ValueError as error:
        _wrong(f"{error} in: {rest}", f"%durable {usage}")
    if "#" in words:  # as people write it behind Python
        words = words[: words.index("#")]
    if not least <= len(words) <= most:
        _wrong("something is missing" if len(words) < least else "too many words", f"%durable {usage}")
    return words


# -- looking ---------------------------------------------------------------------------------------


def _status(host: KernelHost, rest: str) -> None:
    store = host.store()
    here = [store.run(run_id) for run_id in host.running]
    before = f"store {store.url}"
    before += f"; running here: {', '.join(run.name for run in here)}" if here else ""
    after = "verbs: " + " · ".join(verb for verb in VERBS if verb) + "; %durable? explains them"
    host.publish(_run_table(host, store, _newest(store, 5), before, after))


def _list(host: KernelHost, rest: str) -> None:
    _words(rest, "list", least=0, most=0)
    store = host.store()
    runs = _newest(store, _MOST + 1)
    after = f"and older ones: jupyter durable ls --store {store.url}" if len(runs) > _MOST else ""
    host.publish(_run_table(host, store, runs[:_MOST], "" if runs else f"no runs in {store.url}", after))


def _newest(store: Store, limit: int) -> list[RunInfo]:
    return [store.run(record.id) for record in store.journal.runs(limit=limit)]


def _run_table(
    host: KernelHost, store: Store, runs: Sequence[RunInfo], before: str, after: str
) -> display.Bundle:
    now = _now()
    rows = [
        (
            short(run.id),
            run.name,
            run.status,
            _counted(run.steps),
            ago(now - run.updated_at),
            Path(run.notebook).name if run.notebook else "",
        )
        for run in runs
    ]
    head = ("RUN", "NAME", "STATUS", "STEPS", "UPDATED", "NOTEBOOK")
    return display.table(head, rows, before=before, after=after)


def _now() -> float:
    from jupyter_durable.clock import SystemClock

    return SystemClock().now()


def _counted(steps: StepCounts) -> str:
    total = steps.completed + steps.running + steps.waiting + steps.in_doubt + steps.failed
    return f"{steps.completed}/{total}" + (f", {steps.in_doubt} in doubt" if steps.in_doubt else "")


def _show(host: KernelHost, rest: str) -> None:
    words = _words(rest, "show RUN [STEP]", least=1, most=2)
    store = host.store()
    record = _run(host, words[0])
    steps = store.steps(record.id)
    if len(words) == 2:
        step = _step(steps, words[1], record)
        talk = store.messages(record.id, step.id) if step.kind == "model" else []
        facts = [fact for fact in _facts(step) if not talk or fact[0] not in ("call", "result")]
        facts += [(message.role, message.text) for message in talk]
        host.publish(display.table(("", step.name), facts))
        return
    info = store.run(record.id)
    before = f"{info.name} {short(info.id)}: {info.status} {ago(_now() - info.updated_at)}"
    before += f"; resuming it: {store.plan(info.id)}" if info.status not in (*FINAL, "running") else ""
    rows = [(s.id, s.scope, _state(s), _took(s), display.one_line(s.arguments, 100), _end(s)) for s in steps]
    doubts = [s for s in steps if s.status == "in_doubt" and s.effect == "unsafe" and not s.history]
    said = [line for s in doubts for line in _question(s, short(info.id))]
    for wait in store.waits(record.id) if info.status != "completed" else ():
        said += ways(wait, "%durable", short(info.id)) if not wait.ready else []
    after = "\n".join(said)
    host.publish(
        display.table(("STEP", "SCOPE", "STATUS", "TIME", "CALL", "RESULT"), rows, before=before, after=after)
    )


def _state(step: StepInfo) -> str:
    return step.status.replace("_", " ") + (" (history)" if step.history else "")


def _question(step: StepInfo, run: str) -> list[str]:
    """What only a person can say about a step in doubt, as lines to copy."""
    at = f"{run} {step.id}"
    return [
        f"did step {step.id} {display.one_line(step.name, 60)} happen?",
        f"no, make the call: %durable retry {at}",
        f"yes, and this was its result: %durable supply {at} EXPR",
        f"go on with an error instead: %durable fail {at} WHY",
    ]


def _facts(step: StepInfo) -> list[tuple[str, str]]:
    facts = {
        "step": step.id,
        "kind": step.kind,
        "status": _state(step),
        "scope": step.scope,
        "effect": step.effect,
        "attempts": str(step.attempts),
        "replays": str(step.replays),
        "waits for": step.wait,
        "changed": step.edited,
        "given by": step.given,
        "took": _took(step),
        "used": used(step),
        "call": step.arguments,
        "result": step.result,
        "error": step.error,
    }
    return [(name, value) for name, value in facts.items() if value]


def _took(step: StepInfo) -> str:
    seconds = step.seconds
    if seconds is None:
        return ""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _end(step: StepInfo) -> str:
    waits = f"waits for {step.wait}" if step.wait and step.status == "waiting" else ""
    return display.one_line(step.error or step.result or waits, 60)


def _plan(host: KernelHost, rest: str) -> None:
    words = _words(rest, "plan [RUN]", least=0, most=1)
    store = host.store()
    if words:
        record = _run(host, words[0])
    else:
        found = of_notebook(store.journal, None, host.place().notebook)
        if not found:
            raise RunNotFoundError(
                "no run of this notebook yet", hint="%durable list shows those of the store"
            )
        record = found[0]
    info = store.run(record.id)
    if info.status in FINAL:
        says = f"{info.status}; nothing is left to do"
    else:
        says = f"{info.status}; resuming it: {store.plan(info.id)}"
    host.say(f"{info.name} {short(info.id)}: {says}", "start")


def _cost(host: KernelHost, rest: str) -> None:
    words = _words(rest, "cost [RUN]", least=0, most=1)
    store = host.store()
    if words:
        record = _run(host, words[0])
        spent = store.spent(record.id)
        rows = [step_row(step) for step in store.steps(record.id) if step.usage is not None]
        before = f"{record.name} {short(record.id)}: {describe(spent.cost, spent.saved, spent.usage)}"
        if spent.inherited:
            before += f"; before its fork: {money(spent.inherited)}"
        host.publish(display.table(STEP_HEAD, rows, before=before))
        return
    here = host.place().notebook
    runs = [run for run in store.runs(notebook=here) if run.usage.calls or run.saved]
    rows = [
        (
            short(run.id),
            run.name,
            money(run.cost),
            money(run.saved) if run.saved else "",
            str(run.usage.calls),
        )
        for run in runs
    ]
    before = (
        f"this notebook: {describe(*total(runs))}" if runs else "no model calls in runs of this notebook yet"
    )
    host.publish(display.table(("RUN", "NAME", "COST", "SAVED", "CALLS"), rows, before=before))


def _timeline(host: KernelHost, rest: str) -> None:
    words = _words(rest, "timeline [RUN]", least=0, most=1)
    store = host.store()
    if words:
        run_id = _run(host, words[0]).id
    else:
        found = of_notebook(store.journal, None, host.place().notebook) or store.journal.runs(limit=1)
        if not found:
            raise RunNotFoundError(
                f"no runs in {store.url}", hint="%%durable as the first line of a cell makes it one"
            )
        run_id = found[0].id
    from IPython.display import display as show

    from jupyter_durable.session.watching import Watch
    from jupyter_durable.timeline.widget import Timeline

    show(Timeline(Watch(store, run_id), by=_person()))


def _export(host: KernelHost, rest: str) -> None:
    from jupyter_durable.kernel import exporting  # here: it stands on this module

    exporting.export(host, rest)


# -- deciding --------------------------------------------------------------------------------------


def _cancel(host: KernelHost, rest: str) -> None:
    record = _run(host, _words(rest, "cancel RUN", least=1, most=1)[0])
    host.store().cancel(record.id, by=_person())
    ended = host.store().run(record.id).status == "cancelled"
    says = "is cancelled" if ended else "ends at its next step: its cancellation is recorded"
    host.say(f"{record.name} {short(record.id)} {says}", "cancelled")


def _retry(host: KernelHost, rest: str) -> None:
    words = _words(rest, "retry RUN STEP", least=2, most=2)
    record, step = _doubtful(host, *words)
    host.store().retry(record.id, step.id, by=_person())
    _decided(host, record, step, "will be made again")


def _supply(host: KernelHost, rest: str) -> None:
    words = rest.split(None, 2)  # the expression keeps its quotes and spaces
    if len(words) < 3:
        _wrong("something is missing", "%durable supply RUN STEP EXPR, where EXPR is a Python expression")
    record, step = _doubtful(host, *(_expanded(host, word) for word in words[:2]))
    value = host.shell.ev(words[2])
    host.store().supply(record.id, step.id, value, by=_person())
    _decided(host, record, step, "has its result")


def _fail(host: KernelHost, rest: str) -> None:
    words = rest.split(None, 2)
    if len(words) < 3:
        _wrong("something is missing", "%durable fail RUN STEP WHY")
    record, step = _doubtful(host, *words[:2])
    host.store().fail(record.id, step.id, words[2].strip("\"'"), by=_person())
    _decided(host, record, step, "counts as failed")


def _budget(host: KernelHost, rest: str) -> None:
    usage = "budget RUN USD, or: budget RUN --max-steps N, or: budget RUN --deadline TIME"
    words = _words(rest, usage, least=2, most=6)
    record = _run(host, words[0])
    steps = None
    if "--max-steps" in words:
        at = words.index("--max-steps")
        if at + 1 == len(words) or not words[at + 1].isdigit():
            _wrong("--max-steps needs a number", f"%durable {usage}")
        steps = int(words[at + 1])
        del words[at : at + 2]
    deadline = None
    if "--deadline" in words:
        at = words.index("--deadline")
        deadline = " ".join(words[at + 1 : at + 3]) or None
        if deadline is None:
            _wrong("--deadline needs a time", f"%durable {usage}")
        del words[at : at + 3]
    if len(words) > 2:
        _wrong("too many words", f"%durable {usage}")
    try:
        cost = parse_cost(words[1]) if len(words) == 2 else None
    except ValueError:
        _wrong(f"not an amount in USD: {words[1]}", f"%durable {usage}")
    holds = host.store().raise_budget(record.id, cost=cost, steps=steps, deadline=deadline, by=_person())
    host.say(f"{record.name} may spend {holds}: if it does not run, run its cell again")


def _people(verb: str) -> Callable[[KernelHost, str], None]:
    def say(host: KernelHost, rest: str) -> None:
        from jupyter_durable.kernel import people  # here: it needs this module

        people.show(host, rest) if verb == "waits" else people.say(host, verb, rest)

    return say


def _doubtful(host: KernelHost, run: str, step: str) -> tuple[RunRecord, StepInfo]:
    record = _run(host, run)
    return record, _step(host.store().steps(record.id), step, record)


def _decided(host: KernelHost, record: RunRecord, step: StepInfo, says: str) -> None:
    host.say(f"{record.name}: step {step.id} {step.name} {says} when the run goes on: run its cell again")


def _person() -> str:
    try:
        return f"{getpass.getuser()} (notebook)"
    except (OSError, KeyError):  # a container's user may have no name
        return "notebook"


def _store(host: KernelHost, rest: str) -> None:
    words = _words(rest, "store [URL]", least=0, most=1)
    if words:
        if host.running:
            _wrong("runs of this kernel are in the other store", "change it when their cells have ended")
        path = resolve(words[0])
        url = words[0] if path is None else str(path)
        host.store(url)  # raises before anything is changed
        # For `durable.open_store()`, `durable.run` and child processes too.
        os.environ[VARIABLE] = url
    host.say(f"store {host.store().url}")


# -- executing -------------------------------------------------------------------------------------


def _code_verb(verb: str) -> Callable[[KernelHost, str], None]:
    def refuse(host: KernelHost, rest: str) -> None:
        from jupyter_durable.kernel import code_verbs  # here: it needs this module

        code_verbs.refuse(host, verb, rest)

    return refuse


def _past(verb: str) -> Callable[[KernelHost, str], None]:
    def do(host: KernelHost, rest: str) -> None:
        from jupyter_durable.kernel import travelling  # here: it needs this module

        getattr(travelling, verb)(host, rest)

    return do


# -- names on the line -----------------------------------------------------------------------------


def _run(host: KernelHost, text: str) -> RunRecord:
    return lookup(host.store().journal, text, host.place().notebook)


def _step(steps: Sequence[StepInfo], text: str, record: RunRecord) -> StepInfo:
    """The step of that id, else the last of that name that still counts."""
    found = [s for s in steps if s.id == text] or [s for s in steps if s.name == text and not s.history]
    if not found:
        raise RunNotFoundError(
            f"run {record.name!r} has no step {text!r}",
            hint=f"%durable show {short(record.id)} lists its steps",
        )
    return found[-1]


VERBS: dict[str, Callable[[KernelHost, str], None]] = {
    "": _status,
    "list": _list,
    "show": _show,
    "plan": _plan,
    "timeline": _timeline,
    "cost": _cost,
    "export": _export,
    **{verb: _code_verb(verb) for verb in _CODE_VERBS},
    "diff": _past("diff"),
    "delete": _past("delete"),
    "cancel": _cancel,
    **{verb: _people(verb) for verb in ("waits", "approve", "reject", "answer", "signal")},
    "retry": _retry,
    "supply": _supply,
    "fail": _fail,
    "budget": _budget,
    "store": _store,
}
