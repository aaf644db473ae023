"""Unsafe steps in doubt: they may or may not have happened, and the journal cannot know.

A `reconcile=` callable may answer; else the run waits for a person, whose `retry`, `supply` or `fail`
is a row in the inbox, written by any process, before or while the run waits.
"""

from __future__ import annotations

import asyncio
import contextvars
from dataclasses import dataclass
from typing import Literal

from jupyter_durable.errors import DurableError
from jupyter_durable.journal.engine import Decision, Replay
from jupyter_durable.journal.index import OWN, RecordedStep
from jupyter_durable.journal.waits import doubt_key
from jupyter_durable.model import Draft, Entry, InboxItem, Payload
from jupyter_durable.runtime.context import SCOPE, Scope
from jupyter_durable.runtime.run import LiveRun
from jupyter_durable.runtime.step import Step
from jupyter_durable.runtime.waits import Pending, waits_of

RETRY = object()
"""What `reconcile=` returns when it knows that the effect did not happen."""
UNKNOWN = object()
"""What `reconcile=` returns when it cannot tell: the run waits for a person."""


decision_key = doubt_key
"""The inbox key of the decision about a step's present attempt."""


class StepFailed(DurableError):  # noqa: N818 - what happened, as users read it
    """A person said that a step in doubt failed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a step in doubt, and who said so."""

    action: Literal["retry", "supply", "fail"]
    by: str
    payload: Payload | None = None
    message: str = ""
    key: str = ""


def answer(live: Step, step: RecordedStep) -> Verdict | None:
    """The verdict that is known already, or that `reconcile` gives; None if a person must say."""
    run, reconcile = live.run, live.spec.reconcile
    waits_of(run).look()
    known = _posted(run, step)
    if known is not None or reconcile is None:
        return known
    args, kwargs = live.args, live.kwargs
    if step.edit is not None and live.spec.form is not None:  # what was called is not what the code says
        args, kwargs = live.spec.form.bind(args, kwargs, run.decode(step.edit.payload, step.edit.seq))
    context = contextvars.copy_context()
    context.run(SCOPE.set, None)  # looking whether it happened is not part of the run
    value = context.run(reconcile, *args, **kwargs)
    if asyncio.iscoroutine(value):
        value = context.run(asyncio.run, value)
    if value is RETRY:
        return Verdict("retry", "reconcile")
    if value is UNKNOWN:
        return None
    return Verdict("supply", "reconcile", run.encode(value, "what reconcile returned"))


def _posted(run: LiveRun, step: RecordedStep) -> Verdict | None:
    item = waits_of(run).rows.get(doubt_key(step))
    return _verdict(item) if item is not None else None


def _verdict(item: InboxItem) -> Verdict:
    action = item.value["action"]
    return Verdict(action, item.by, item.payload, str(item.value.get("message", "")), item.key)


def _pending(run: LiveRun, scope: Scope, step: RecordedStep) -> Pending:
    place = f"{run.id[:13]} {step.id}"
    unsure = "may or may not have happened"
    if step.seq == OWN or step.again:  # by a fork: what its parent did is known
        unsure = "is about to be repeated"
        what, again, done = (
            "is about to be repeated",
            "make the call",
            "leave it, and take this as its result",
        )
    else:
        what, again, done = (
            "was cut off",
            "it did not happen, make the call",
            "it did, and this was its result",
        )
    # A terminal first: this process is busy waiting.
    notice = (
        f"step {step.id} {step.name} {what} and is declared unsafe, so the run waits for you to say, in a terminal:\n"
        f"{again}: jupyter durable retry {place}{run.flags}\n"
        f"{done}: jupyter durable supply {place} VALUE{run.flags}\n"
        f"go on with an error instead: jupyter durable fail {place} WHY{run.flags}\n"
        f"or stop the cell, say it here with %durable, and run the cell again"
    )
    return Pending(
        scope,
        "doubt",
        f"a person: step {step.id} {step.name} {unsure}",
        f"jupyter durable retry {place}{run.flags} (or supply, or fail)",
        notice=notice,
    )


def wait(run: LiveRun, scope: Scope, step: RecordedStep) -> Verdict:
    """Block until a person has said what became of the step. Raises `RunParked` after `park_after`."""
    return waits_of(run).hold(_pending(run, scope, step), lambda: _posted(run, step))


async def wait_async(run: LiveRun, scope: Scope, step: RecordedStep) -> Verdict:
    """The same without blocking the loop."""
    return await waits_of(run).hold_async(_pending(run, scope, step), lambda: _posted(run, step))


def settle(live: Step, step: RecordedStep, verdict: Verdict) -> Decision:
    """Journal the verdict and turn it into a decision."""
    run = live.run
    # Somebody was asked about this very call: no approval is needed besides.
    live.permitted = verdict.action == "retry" and verdict.by != "reconcile"
    done = {"retry": "make the call", "supply": "it happened, with the result given", "fail": "it failed"}
    run.notice(f"step {step.id} {step.name}: {done[verdict.action]} (said {verdict.by})")
    drafts = [
        Draft(
            "decision",
            step.scope,
            step.pos,
            {"key": verdict.key or doubt_key(step), "action": verdict.action, "by": verdict.by},
        )
    ]
    if verdict.action == "retry":
        run.writer.commit(drafts, durable=True)
        with run.lock:
            return run.engine.resume(live.scope.state, step, live.call, decided=True)
    if verdict.action == "supply":
        # Supplied values are signed by whoever wrote the row; as an outcome it is the run's.
        value = run.decode(verdict.payload, OWN)
        drafts.append(
            Draft(
                "outcome",
                step.scope,
                step.pos,
                {"s": "completed", "by": verdict.by},
                run.encode(value, step.name),
            )
        )
    else:
        error = StepFailed(
            f"step {step.id} {step.name}: {verdict.message or 'failed'} (said {verdict.by})",
            hint="rerun the cell to make the call again",
        )
        drafts.append(
            Draft(
                "outcome",
                step.scope,
                step.pos,
                {"s": "failed", "by": verdict.by, "x": str(error.args[0])},
                run.encode(error, "an error"),
            )
        )
    run.writer.commit(drafts, durable=True)
    made = drafts[-1]
    step.outcome = Entry(
        OWN, "outcome", step.scope, step.pos, run.clock.now(), dict(made.meta), made.payload, b""
    )
    return Replay(step)
