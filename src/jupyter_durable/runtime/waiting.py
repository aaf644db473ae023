"""Steps that are nothing but a wait: `sleep`, `signal`, `ask`.

    start (until when, which form) ── what it waits for comes ── decision + outcome, in one transaction

The start is not repeated by a resume: the timer goes on, the question is the same one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jupyter_durable.codec.redaction import mask
from jupyter_durable.journal.waits import answer_key
from jupyter_durable.model import Draft, InboxItem, StepKind
from jupyter_durable.runtime.approvals import refuse
from jupyter_durable.runtime.context import Scope
from jupyter_durable.runtime.kill_points import kill_point
from jupyter_durable.runtime.origins import mark
from jupyter_durable.runtime.step import Spec, Step
from jupyter_durable.runtime.waits import Pending, decoded, waits_of

_LONG = 60.0  # seconds of sleep that somebody who looks at it should know of


@dataclass(frozen=True, slots=True)
class Want:
    """What a step waits for. `args` and `kwargs` identify it.

    `seconds`: how long at most (a sleep: exactly). `read` makes the value of what somebody sent or answered; it raises
    `ValueError` for what will not do. `schema`: its JSON schema, with which any surface can make a form.
    """

    kind: StepKind
    name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] | None = None
    seconds: float | None = None
    read: Callable[[Any], Any] | None = None
    schema: Mapping[str, Any] | None = None


class WaitStep(Step):
    """One wait being answered."""

    __slots__ = ("asked", "drafts", "error", "value", "want", "wanted")

    def __init__(self, scope: Scope, want: Want) -> None:
        super().__init__(scope, Spec(want.name, kind=want.kind), want.args, dict(want.kwargs or {}))
        self.want = want
        self.wanted: Mapping[str, Any] = {}
        self.asked = 0
        self.value: Any = None
        self.error: TimeoutError | None = None
        self.drafts: list[Draft] = []

    def asks(self) -> bool:
        """A wait needs no approval."""
        return False

    # -- waiting -----------------------------------------------------------------------------------

    def begin(self) -> tuple[Draft, ...]:
        """The entries that say that it waits; none if the journal has them."""
        recorded, want = self.decision.step, self.want
        if recorded is not None:
            self.asked = recorded.asked
            if recorded.wait is not None and not recorded.lapsed:
                self.wanted = recorded.wait
                return ()
        wanted: dict[str, Any] = {"k": want.kind}
        if want.seconds is not None:
            wanted["until"] = self.run.clock.now() + want.seconds
        if want.kind == "ask":
            wanted["prompt"] = mask(str(want.args[0]))
        if want.schema is not None:
            wanted["schema"] = dict(want.schema)
        self.wanted = wanted
        self.extra = {"w": wanted}
        return self.start()

    def pending(self) -> Pending:
        """For `runtime.waits`, and for people."""
        run, want, decision = self.run, self.want, self.decision
        at = f"{decision.scope}.{decision.pos}"
        until: float | None = self.wanted.get("until")
        if want.kind == "sleep":
            assert until is not None
            left = max(0.0, until - run.clock.now())
            notice = f"step {at} sleeps for another {_span(left)}" if left >= _LONG else ""
            return Pending(self.scope, "sleep", f"a timer, another {_span(left)}", "", until, notice)
        if want.kind == "signal":
            command = f"jupyter durable signal {run.id[:13]} {self.call.name} VALUE{run.flags}"
            what = f"the signal {self.call.name}"
            return Pending(
                self.scope, "signal", what, command, until, f"step {at} waits for {what}:\n{command}"
            )
        prompt = str(self.wanted.get("prompt", ""))
        command = f"jupyter durable answer {run.id[:13]} {at} VALUE{run.flags}"
        notice = f"{prompt}\nanswer in a terminal: {command}"
        return Pending(self.scope, "ask", f"an answer to: {prompt}", command, until, notice)

    def found(self) -> bool | None:
        """Whether it is over; then `drafts` end it with `value`, or `error`."""
        item = self._item() if self.want.kind != "sleep" else None
        until = self.wanted.get("until")
        if item is None:
            if until is None or self.run.clock.now() < until:
                return None
            if self.want.kind == "sleep":
                self.drafts = [self.outcome("completed", self.run.encode(None, "nothing"))]
                return True
            return self._timeout()
        try:
            value = decoded(self.run, item)
            self.value = self.want.read(value) if self.want.read is not None else value
            payload = self.run.encode(self.value, f"the value of {self.call.name}")
        except ValueError as error:
            self.asked += 1  # a signal stays claimed: what was refused is consumed, too
            refuse(self.run, self._decision(item, "refused"), item, self.call.name, str(error))
            return None
        action = "answer" if self.want.kind == "ask" else "signal"
        self.drafts = [self._decision(item, action), self.outcome("completed", payload, by=item.by)]
        return True

    def _timeout(self) -> bool:
        name = self.call.name if self.want.kind == "signal" else "an answer"
        self.error = TimeoutError(f"nobody sent {name} within {_span(self.want.seconds or 0.0)}")
        mark(self.error, self.run.id, self.decision.scope, self.decision.pos)
        payload = self.run.encode(self.error, "an error")
        self.drafts = [self.outcome("failed", payload, x=f"TimeoutError: {self.error}")]
        return True

    def _item(self) -> InboxItem | None:
        waits, decision = waits_of(self.run), self.decision
        if self.want.kind == "ask":
            key = answer_key(decision.scope, decision.pos, self.asked)
            item = waits.rows.get(key)
            if item is None and decision.step is not None and decision.step.seq <= self.run.index.base_seq:
                item = waits.inherited.get(key)
            return item
        with self.run.lock:
            for item in waits.signals.get(self.call.name, ()):
                if item.key not in waits.claimed and item.key not in self.run.index.decisions:
                    waits.claimed.add(item.key)
                    return item
        return None

    def _decision(self, item: InboxItem, action: str) -> Draft:
        decision = self.decision
        return Draft(
            "decision", decision.scope, decision.pos, {"key": item.key, "action": action, "by": item.by}
        )

    def end(self) -> Any:
        """The outcome is committed: the value, or the error, raised."""
        self.run.stats.executed += 1
        self.delivered()
        if self.error is not None:
            raise self.error
        return self.value


def wait(step: Step, _: Any = None) -> Any:
    """Block until what the step waits for has come."""
    assert isinstance(step, WaitStep)
    run = step.run
    if drafts := step.begin():
        run.writer.commit(drafts, durable=True)
    kill_point("before-wait")
    waits_of(run).hold(step.pending(), step.found)
    kill_point("after-wait")
    run.writer.commit(step.drafts, durable=True)
    return step.end()


async def wait_async(step: Step, _: Any = None) -> Any:
    """The same without blocking the loop."""
    assert isinstance(step, WaitStep)
    run = step.run
    try:
        if drafts := step.begin():
            await run.writer.commit_async(drafts, durable=True)
        kill_point("before-wait")
        await waits_of(run).hold_async(step.pending(), step.found)
    except asyncio.CancelledError:
        step.cancelled()
        raise
    kill_point("after-wait")
    # What was consumed is never lost to a cancellation: that comes after.
    await run.writer.commit_first(step.drafts)
    return step.end()


def _span(seconds: float) -> str:
    """A time as people say it.

    >>> _span(5400), _span(0.25)
    ('1 h 30 min', '0.25 s')
    """
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    parts = (f"{days} d" if days else "", f"{hours} h" if hours else "", f"{minutes} min" if minutes else "")
    return " ".join(filter(None, parts[:2] if days else parts))
