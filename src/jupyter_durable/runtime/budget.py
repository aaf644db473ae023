"""Budgets: a run stops before the step that would pass one, and waits for a person to raise it.

What was spent is the journal's to say (`journal.spend`), so a budget holds across processes and automatic
forks. The limit is, too: a `decision` entry has what the cell asked for, and each raise, which is a row in the
inbox, written by any process, before or while the run waits. The last one counts.

What a call will cost is not known before it is made: it is taken to be what the last call of its name cost,
as are the calls under way. A call whose price is never known (a local model) counts as a step, not as money.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from jupyter_durable.journal.budget import PREFIX, Budget, at, changed, decisions, limit, money
from jupyter_durable.journal.engine import Execute
from jupyter_durable.journal.index import ROOT
from jupyter_durable.journal.waits import LIMIT, limited
from jupyter_durable.model import Draft
from jupyter_durable.runtime.run import LiveRun
from jupyter_durable.runtime.step import Step
from jupyter_durable.runtime.waits import Pending, waits_of

_GIVEN = f"{PREFIX}given"


class Guard:
    """Keeps one live run to its budget."""

    def __init__(self, run: LiveRun, given: Budget | None) -> None:
        self._run = run
        self._seen = {entry.meta["key"] for entry in decisions(run.index)}
        self._steps = run.spending.steps
        self._told = False  # the journal says that it holds the run up
        self.limit = limit(run.index)
        before = run.index.decisions.get(_GIVEN)
        was = changed(Budget(), before.meta) if before is not None else None
        if given is not None and was is not None and given.line is not None and given.line == was.line:
            given = replace(
                given, deadline=was.deadline
            )  # as long as the line says the same, it is the same moment
        self._unwritten: list[Draft] = []
        if given is not None and given != was:
            self.limit = given
            self._unwritten = [_draft(_GIVEN, {"action": "given", **asdict(given)}, "the cell")]
        waits = run.index.decisions.get(LIMIT)
        if waits is not None and waits.meta["action"] == "waits":
            self._unwritten.append(limited(""))

    # -- the check -------------------------------------------------------------------------------

    def over(self, step: Step, decision: Execute) -> str:
        """What making the call would pass, as a sentence; empty if it may be made."""
        cost, steps, deadline = self.limit.cost, self.limit.steps, self.limit.deadline
        if deadline is not None and self._run.clock.now() >= deadline:
            return f"has come to its deadline ({at(deadline)})"
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
        if (stopping := self._run.stopping()) is not None:
            raise stopping
        if says := self._says(step, decision):
            waits_of(self._run).hold(self._pending(step, says), self._found(step, decision))

    async def hold_async(self, step: Step, decision: Execute) -> None:
        """The same without blocking the loop."""
        if (stopping := self._run.stopping()) is not None:
            raise stopping
        if says := self._says(step, decision):
            await waits_of(self._run).hold_async(self._pending(step, says), self._found(step, decision))

    def _says(self, step: Step, decision: Execute) -> str:
        says = self.over(step, decision)
        if says:
            waits_of(self._run).look()
            self.look()
            says = self.over(step, decision)
        if says and not self._told:
            self._told = True
            self._run.writer.put([*self._unwritten, limited(says)])
            self._unwritten = []
            self._run.writer.flush()
        return says

    def _found(self, step: Step, decision: Execute) -> Callable[[], bool | None]:
        def found() -> bool | None:
            self.look()
            if self.over(step, decision):
                return None
            if self._told:
                self._told = False
                self._unwritten.append(limited(""))
            return True

        return found

    def _pending(self, step: Step, says: str) -> Pending:
        run = self._run
        amount = "--deadline TIME" if "deadline" in says else "AMOUNT"
        command = f"jupyter durable budget {run.id[:13]} {amount}{run.flags}"
        notice = (
            f"run {run.name!r} {says}, so it waits for you to raise its budget, in a terminal:\n{command}"
        )
        return Pending(step.scope, "budget", f"you to raise its budget: it {says}", command, notice=notice)

    def look(self) -> None:
        """Take up what people have decided since."""
        run = self._run
        for item in list(waits_of(run).rows.values()):
            if item.kind == "decision" and item.key.startswith(PREFIX) and item.key not in self._seen:
                self._seen.add(item.key)
                self.limit = changed(self.limit, item.value)
                self._unwritten.append(_draft(item.key, item.value, item.by))
                run.notice(f"the budget of run {run.name!r} is {self.limit} (said {item.by})")


def _draft(key: str, said: Any, by: str) -> Draft:
    names = ("action", "cost", "steps", "deadline", "line")
    kept = {name: said[name] for name in names if said.get(name) is not None}
    return Draft("decision", ROOT, 0, {"key": key, **kept, "by": by})
