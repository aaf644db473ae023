"""Budgets: a run stops before the step that would pass one, and waits for a person to raise it.

What was spent is the journal's to say (`journal.spend`), so a budget holds across processes and automatic
forks. The limit is, too: a `decision` entry has what the cell asked for, and each raise, which is a row in the
inbox, written by any process, before or while the run waits. The last one counts.

What a call will cost is not known before it is made: it is taken to be what the last call of its name cost,
as are the calls under way. A call whose price is never known (a local model) counts as a step, not as money.
"""

from __future__ import annotations

import asyncio
from typing import Any

from jupyter_durable.errors import RunParked
from jupyter_durable.journal.budget import PREFIX, Budget, changed, decisions, limit, money
from jupyter_durable.journal.engine import Execute
from jupyter_durable.journal.index import ROOT
from jupyter_durable.model import Draft
from jupyter_durable.runtime.run import LiveRun, RunCancelled
from jupyter_durable.runtime.step import Step

_POLL = 0.1
_GIVEN = f"{PREFIX}given"


class Guard:
    """Keeps one live run to its budget."""

    def __init__(self, run: LiveRun, given: Budget | None) -> None:
        self._run = run
        self._seen = {entry.meta["key"] for entry in decisions(run.index)}
        self._steps = run.spending.steps
        self.stopped = False  # it parked the run
        self.limit = limit(run.index)
        before = run.index.decisions.get(_GIVEN)
        was = Budget(before.meta.get("cost"), before.meta.get("steps")) if before is not None else None
        self._unwritten: list[Draft] = []
        if given is not None and given != was:
            self.limit = given
            self._unwritten = [
                _draft(_GIVEN, {"action": "given", "cost": given.cost, "steps": given.steps}, "the cell")
            ]

    # -- the check -------------------------------------------------------------------------------

    def over(self, step: Step, decision: Execute) -> str:
        """What making the call would pass, as a sentence; empty if it may be made."""
        cost, steps = self.limit.cost, self.limit.steps
        if steps is not None and decision.step is None and self._steps >= steps:
            return f"has made {self._steps} steps of {steps}"
        if cost is None or step.call.kind != "model":
            return ""
        spending = self._run.spending
        expected = spending.last.get(step.call.name, 0.0)
        waiting = sum(spending.last.get(name, 0.0) for name in list(spending.under_way.values()))
        spent = spending.total
        if spent + waiting + expected <= cost and spent < cost:
            return ""
        says = f"has spent {money(spent)} of {money(cost)}"
        if spent < cost:
            says += f", and a {step.call.name} like the last one ({money(expected)}) would pass it"
        return says

    def made(self, step: Step, decision: Execute) -> None:
        """The call is about to be made."""
        if self._unwritten:
            self._run.writer.put(self._unwritten)
            self._unwritten = []
        if decision.step is None:
            self._steps += 1
        if step.call.kind == "model":
            self._run.spending.under_way[decision.scope, decision.pos] = step.call.name
            if self.limit.cost is not None and self._run.spending.sum.usage.unpriced:
                self._run.notice("the price of some model calls is not known: the budget does not count them")

    # -- waiting ---------------------------------------------------------------------------------

    def hold(self, step: Step, decision: Execute) -> None:
        """Block until the call may be made. Raises `RunParked` after `park_after`."""
        wait = _Wait(self, step, decision)
        while not wait.over():
            self._run.clock.wait(_POLL)

    async def hold_async(self, step: Step, decision: Execute) -> None:
        """The same without blocking the loop."""
        wait = _Wait(self, step, decision)
        while True:
            if wait.over():
                return
            await asyncio.sleep(_POLL)

    def look(self) -> None:
        """Take up what people have decided since. Raises `RunCancelled`."""
        run = self._run
        for item in run.store.inbox(run.id):
            if item.kind == "cancel":
                run.cancelled_by = item.by
                raise RunCancelled(f"run {run.name!r} was cancelled by {item.by}")
            if item.kind == "decision" and item.key.startswith(PREFIX) and item.key not in self._seen:
                self._seen.add(item.key)
                self.limit = changed(self.limit, item.value)
                self._unwritten.append(_draft(item.key, item.value, item.by))
                run.notice(f"the budget of run {run.name!r} is {self.limit} (said {item.by})")


class _Wait:
    """One call held back."""

    def __init__(self, guard: Guard, step: Step, decision: Execute) -> None:
        self._guard, self._step, self._decision = guard, step, decision
        self._run: LiveRun = step.run
        self._version = -1
        self._waited = -_POLL

    def over(self) -> bool:
        """Whether it may be made. Raises `RunParked`."""
        run = self._run
        if (stopping := run.stopping()) is not None:
            raise stopping
        says = self._guard.over(self._step, self._decision)
        version = run.store.version()
        if says and version != self._version:
            self._version = version
            self._guard.look()
            says = self._guard.over(self._step, self._decision)
        if not says:
            if self._waited >= 0:
                run.set_status("running")
            return True
        if self._waited < 0:
            more = f"jupyter durable budget {run.id[:13]} AMOUNT{run.flags}"
            if run.options.park_after != 0:
                run.notice(
                    f"run {run.name!r} {says}, so it waits for you to raise its budget, in a terminal:\n{more}"
                )
                run.set_status("waiting")
        self._waited += _POLL
        if run.options.park_after is not None and self._waited >= run.options.park_after:
            self._guard.stopped = True
            run.parked = RunParked(
                f"run {run.name!r} {says}",
                hint=f"jupyter durable budget {run.id[:13]} AMOUNT{run.flags}, then run it again",
            )
            raise run.parked
        return False


def _draft(key: str, said: Any, by: str) -> Draft:
    kept = {name: said[name] for name in ("action", "cost", "steps") if said.get(name) is not None}
    return Draft("decision", ROOT, 0, {"key": key, **kept, "by": by})
