"""Calls that a person must approve: held back before their start, until somebody has said so.

    call ── its turn ── announced (a start that waits) ── approve ── decision + start, in one transaction ── call
                                                       ── reject ─── decision + outcome, in one transaction ── raise

The announcement has the call's place and arguments, so a resume finds the step there and waits under the same
key. An approval is a row under that key: for this run, step and arguments, and once. It covers the
attempts of the step, also those after a crash, except that of an `unsafe` one, for which a person is asked again
(as for every step in doubt), and those of a fork.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from jupyter_durable.codec.redaction import mask
from jupyter_durable.errors import ApprovalRejected, DurableError
from jupyter_durable.journal.waits import approval_key
from jupyter_durable.model import Draft, InboxItem
from jupyter_durable.runtime.context import SCOPE
from jupyter_durable.runtime.forms import edited_by, tell
from jupyter_durable.runtime.kill_points import kill_point
from jupyter_durable.runtime.origins import mark
from jupyter_durable.runtime.run import LiveRun
from jupyter_durable.runtime.step import Step
from jupyter_durable.runtime.waits import Pending, decoded, waits_of

_KINDS = ("tool", "mcp", "run")


def needed(step: Step) -> bool:
    """Whether a person must approve the call. Applies what was changed about it when one did."""
    recorded = step.decision.step
    if recorded is not None:
        if recorded.edit is not None and recorded.edit.type == "decision":
            take_edit(step)  # a fork is for it: whoever approves the call sees it as it will be made
        if recorded.wait is not None:
            step.announced = True
            return True
        inherited = recorded.approved <= step.run.index.base_seq
        if recorded.approved >= 0 and not inherited and (step.call.effect != "unsafe" or step.permitted):
            take_edit(step)
            return False
    if step.permitted:
        take_edit(step)
        return False
    return _reason(step) is not None


def _reason(step: Step) -> str | None:
    """Why it must be approved, which may be empty; None: it need not."""
    spec, run = step.spec, step.run
    if spec.approval is True:
        return ""
    patterned = spec.kind in _KINDS and not spec.housekeeping
    if patterned and any(fnmatchcase(step.call.name, pattern) for pattern in run.options.approve):
        return ""
    if not callable(spec.approval):
        return None
    context = contextvars.copy_context()
    context.run(SCOPE.set, None)  # what it looks up is not part of the run
    try:
        said = context.run(spec.approval, *step.args, **step.kwargs)
    except Exception as error:  # noqa: BLE001 - whoever cannot tell must not let it pass
        return f"whether it is needed could not be told: {type(error).__name__}: {error}"
    if isinstance(said, str):
        return said or None
    return "" if said else None


def _why(step: Step) -> str:
    recorded = step.decision.step
    if recorded is not None and recorded.wait is not None:
        return str(recorded.wait.get("prompt", ""))
    reason, run = _reason(step) or "", step.run
    left = run.engine.soft and any(
        s.name == step.call.name and s.status == "completed" for s in run.index.abandoned
    )
    also = "the part that this fork left behind has completed one already" if left else ""
    return "; ".join(filter(None, (reason, also)))


# -- arguments ---------------------------------------------------------------------------------------


def change(step: Step, edit: Mapping[str, Any], by: str) -> None:
    """Make the call with the arguments that a person wants instead. Raises `ValueError`."""
    form = step.spec.form
    if form is None:
        raise ValueError(f"the arguments of {step.call.name} cannot be changed")
    step.args, step.kwargs = form.bind(step.args, step.kwargs, edit)
    step.edit = dict(edit)
    step.fixed = True  # what the call changes in place is not the caller's
    tell(edit, by)


def take_edit(step: Step) -> None:
    """What was changed about a step when it was approved in this run holds for every attempt that follows.

    What a fork was made for holds in its own forks, too.
    """
    recorded = step.decision.step
    entry = recorded.edit if recorded is not None else None
    if entry is None or step.edit is not None:
        return
    if entry.type == "decision" or entry.seq > step.run.index.base_seq:
        edit = step.run.decode(entry.payload, entry.seq)
        try:
            change(step, edit, edited_by(entry))
        except ValueError as error:
            if entry.type != "decision":
                raise
            at = f"{step.decision.scope}.{step.decision.pos}"
            raise DurableError(
                f"this fork was to make {step.call.name} with other arguments, and cannot: {error}",
                hint=f"%durable fork {step.run.id[:13]} --at {at} --arguments JSON, with others",
            ) from None


# -- waiting -----------------------------------------------------------------------------------------


def hold(step: Step) -> None:
    """Block until the call may be made. Raises `ApprovalRejected`, and `RunParked` when it is time to."""
    run = step.run
    drafts = _announcement(step)
    if drafts:
        run.writer.commit(drafts, durable=True)
    kill_point("before-wait")
    ask = _Approval(step)
    waits_of(run).hold(ask.pending(), ask.found)
    kill_point("after-wait")
    if ask.error is not None:
        run.writer.commit(ask.drafts, durable=True)
        _reject(step, ask.error)


async def hold_async(step: Step) -> None:
    """The same without blocking the loop."""
    run = step.run
    try:
        drafts = _announcement(step)
        if drafts:
            await run.writer.commit_async(drafts, durable=True)
        kill_point("before-wait")
        ask = _Approval(step)
        await waits_of(run).hold_async(ask.pending(), ask.found)
        kill_point("after-wait")
        if ask.error is not None:
            await run.writer.commit_async(ask.drafts, durable=True)
    except asyncio.CancelledError:
        step.cancelled()
        raise
    if ask.error is not None:
        _reject(step, ask.error)


def _reject(step: Step, error: ApprovalRejected) -> None:
    step.delivered()
    raise error


def _announcement(step: Step) -> tuple[Draft, ...]:
    """The entries that say that the call waits; none if the journal has them."""
    if step.announced:
        return ()
    form = step.spec.form
    schema = form.schema() if form is not None else None
    wait: dict[str, Any] = {"k": "approval", "prompt": mask(_why(step))}
    if form is not None:
        wait["edit"] = True
    if schema is not None:
        wait["schema"] = dict(schema)
    made = step.decision
    step.decision = made._replace(attempt=made.attempt - 1)
    step.extra = {"w": wait}
    try:
        drafts = step.start()
    finally:
        step.decision = made
    step.announced = True
    return drafts


class _Approval:
    """One call held back."""

    def __init__(self, step: Step) -> None:
        self.step = step
        recorded = step.decision.step
        self.asked = recorded.asked if recorded is not None else 0
        self.drafts: list[Draft] = []
        self.error: ApprovalRejected | None = None

    def pending(self) -> Pending:
        step, run = self.step, self.step.run
        at = f"{step.decision.scope}.{step.decision.pos}"
        place = f"{run.id[:13]} {at}"
        change = f"\nyes, with other arguments: jupyter durable approve {place} --arguments JSON{run.flags}"
        reason = mask(_why(step))
        notice = (
            f"step {at} {step.call.name} waits for your approval{f' ({reason})' if reason else ''}, in a terminal:\n"
            f"yes: jupyter durable approve {place}{run.flags}"
            f"{change if step.spec.form is not None else ''}\n"
            f"no: jupyter durable reject {place} WHY{run.flags}"
        )
        return Pending(
            step.scope,
            "approval",
            f"approval of step {at} {step.call.name}",
            f"jupyter durable approve {place}{run.flags} (or reject)",
            notice=notice,
        )

    def found(self) -> bool | None:
        """Whether somebody has decided; then `step` is ready to start, or `error` says why it must not."""
        step, run = self.step, self.step.run
        decision = step.decision
        key = approval_key(decision.scope, decision.pos, self.asked, step.call.digest)
        item = waits_of(run).rows.get(key)
        if item is None:
            return None
        if item.value["action"] == "reject":
            self.error = error = ApprovalRejected(str(item.value.get("message") or "not approved"))
            error.by = item.by
            mark(error, run.id, decision.scope, decision.pos)
            payload = run.encode(error, "an error")
            text = f"ApprovalRejected: {error.args[0]}"
            self.drafts = [
                self._decision(item, "reject"),
                step.outcome("failed", payload, by=item.by, x=text),
            ]
            return True
        try:
            if item.payload is not None:
                change(step, decoded(run, item), item.by)
            else:
                take_edit(step)
        except ValueError as error:
            refuse(run, self._decision(item, "refused"), item, step.call.name, str(error))
            self.asked += 1
            return None
        step.preface = [self._decision(item, "approve")]
        step.extra = {"ok": item.by}
        return True

    def _decision(self, item: InboxItem, action: str) -> Draft:
        decision = self.step.decision
        return Draft(
            "decision", decision.scope, decision.pos, {"key": item.key, "action": action, "by": item.by}
        )


def refuse(run: LiveRun, draft: Draft, item: InboxItem, name: str, why: str) -> None:
    """What somebody said cannot be used: note it, say so, and go on waiting."""
    run.writer.commit([draft], durable=True)
    run.notice(f"what {item.by} said about {name} cannot be used: {why}")
