"""Unsafe steps in doubt: they may or may not have happened, and the journal cannot know.

A `reconcile=` callable may answer; else the run waits for a person, whose `retry`, `supply` or `fail`
is a row in the inbox, written by any process, before or while the run waits.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from jupyter_durable.errors import DurableError, RunParked
from jupyter_durable.journal.engine import Call, Decision, Replay
from jupyter_durable.journal.index import RecordedStep
from jupyter_durable.model import Draft, Entry, InboxItem, Payload
from jupyter_durable.runtime.context import SCOPE, Scope
from jupyter_durable.runtime.run import LiveRun, RunCancelled

RETRY = object()
"""What `reconcile=` returns when it knows that the effect did not happen."""
UNKNOWN = object()
"""What `reconcile=` returns when it cannot tell: the run waits for a person."""

_POLL = 0.1
OWN = 1 << 60
"""A sequence number beyond every forebear's entries: what has it is this run's own."""


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


def decision_key(step: RecordedStep) -> str:
    """The inbox key of the decision about a step's present attempt: one decision an attempt."""
    return f"doubt:{step.id}:{step.attempts}"


def answer(
    run: LiveRun,
    step: RecordedStep,
    reconcile: Callable[..., Any] | None,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Verdict | None:
    """The verdict that is known already, or that `reconcile` gives; None if a person must say."""
    known = _posted(run, step)
    if known is not None or reconcile is None:
        return known
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
    wanted = decision_key(step)
    for item in run.store.inbox(run.id):
        if item.kind == "cancel":
            run.cancelled_by = item.by
            raise RunCancelled(f"run {run.name!r} was cancelled by {item.by}")
        if item.key == wanted:
            return _verdict(item)
    return None


def _verdict(item: InboxItem) -> Verdict:
    action = item.value["action"]
    return Verdict(action, item.by, item.payload, str(item.value.get("message", "")), item.key)


def _ask(run: LiveRun, step: RecordedStep) -> None:
    place = f"{run.id[:13]} {step.id}"
    if step.seq == OWN:  # announced by a fork, not made
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
    run.notice(
        f"step {step.id} {step.name} {what} and is declared unsafe, so the run waits for you to say, in a terminal:\n"
        f"{again}: jupyter durable retry {place}{run.flags}\n"
        f"{done}: jupyter durable supply {place} VALUE{run.flags}\n"
        f"go on with an error instead: jupyter durable fail {place} WHY{run.flags}\n"
        f"or stop the cell, say it here with %durable, and run the cell again"
    )
    run.set_status("waiting")


def _park(run: LiveRun, step: RecordedStep) -> RunParked:
    place = f"{run.id[:13]} {step.id}"
    run.parked = RunParked(
        f"run {run.name!r} waits for a person: step {step.id} {step.name} may or may not have happened",
        hint=f"jupyter durable retry {place}{run.flags} (or supply, or fail), then run it again",
    )
    return run.parked


def wait(run: LiveRun, step: RecordedStep) -> Verdict:
    """Block until a person has said what became of the step. Raises `RunParked` after `park_after`."""
    _ask(run, step)
    waited = 0.0
    seen = -1
    while True:
        version = run.store.version()
        if version != seen:
            seen = version
            found = _posted(run, step)
            if found is not None:
                run.set_status("running")
                return found
        if run.options.park_after is not None and waited >= run.options.park_after:
            raise _park(run, step)
        run.clock.wait(_POLL)
        waited += _POLL


async def wait_async(run: LiveRun, step: RecordedStep) -> Verdict:
    """The same without blocking the loop."""
    _ask(run, step)
    waited = 0.0
    seen = -1
    while True:
        version = run.store.version()
        if version != seen:
            seen = version
            found = await asyncio.to_thread(_posted, run, step)
            if found is not None:
                run.set_status("running")
                return found
        if run.options.park_after is not None and waited >= run.options.park_after:
            raise _park(run, step)
        await asyncio.sleep(_POLL)
        waited += _POLL


def settle(run: LiveRun, scope: Scope, call: Call, step: RecordedStep, verdict: Verdict) -> Decision:
    """Journal the verdict and turn it into a decision."""
    done = {"retry": "make the call", "supply": "it happened, with the result given", "fail": "it failed"}
    run.notice(f"step {step.id} {step.name}: {done[verdict.action]} (said {verdict.by})")
    drafts = [
        Draft(
            "decision",
            step.scope,
            step.pos,
            {"key": verdict.key or decision_key(step), "action": verdict.action, "by": verdict.by},
        )
    ]
    if verdict.action == "retry":
        run.writer.commit(drafts, durable=True)
        with run.lock:
            return run.engine.resume(scope.state, step, call, decided=True)
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
