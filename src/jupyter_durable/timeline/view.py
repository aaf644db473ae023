"""A journal as rows for people: pure; feeds `store.steps()`, the command line and the timeline."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from jupyter_durable.codec.redaction import mask
from jupyter_durable.journal.budget import money
from jupyter_durable.journal.index import MAIN, ROOT, Index, RecordedStep
from jupyter_durable.journal.spend import Price, Spend, cost, used
from jupyter_durable.journal.tally import state_of
from jupyter_durable.journal.waits import describe, of_step
from jupyter_durable.model import Payload, RunInfo, RunRecord, RunStatus, StepCounts, StepInfo, StepStatus

Render = Callable[[Payload, int, str], str]
"""(payload, sequence number of its entry, name to show as a call or "") -> one line of text."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What resuming a run will do.

    `at` is the call it continues with, rendered; empty if that is not recorded (it comes after
    the last recorded step). `saved` is what the replayed calls cost, in USD. `waits` is what it waits for.
    """

    replayed: int
    total: int
    in_doubt: int
    reopened: int
    at: str
    saved: float = 0.0
    waits: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"{self.replayed} of {self.total} step{'s' if self.total != 1 else ''} replayed"]
        if self.in_doubt:
            parts.append(f"{self.in_doubt} in doubt")
        if self.reopened:
            parts.append(f"{self.reopened} tried again")
        if self.waits:
            more = f" and {len(self.waits) - 1} more" if len(self.waits) > 1 else ""
            parts.append(f"waits for {self.waits[0]}{more}")
        parts.append(f"continues at {self.at}" if self.at else "continues after them")
        return ", ".join(parts) + (f"; {money(self.saved)} saved" if self.saved else "")


def plan(index: Index, render: Render) -> Plan:
    """The plan of a run whose journal is `index`."""
    steps = [
        step for scope in index.scopes.values() if scope.steps and index.active(scope) for step in scope.steps
    ]
    open_steps = sorted((s for s in steps if s.outcome is None), key=lambda s: s.seq)
    done = len(steps) - len(open_steps)
    waiting = [what for step in open_steps if (what := _waits_for(step)) is not None]
    reopened = sum((s.failures > 0 or s.again) and s.wait is None for s in open_steps)
    at = ""
    if open_steps and (args := open_steps[0].args) is not None:
        at = brief(render(args, open_steps[0].seq, open_steps[0].name))
    saved = sum(said.get("cost") or 0.0 for step in steps if (said := used(step)) is not None)
    in_doubt = len(open_steps) - reopened - len(waiting)
    return Plan(done, len(steps), in_doubt, reopened, at, saved, tuple(waiting))


_QUOTED = re.compile(r"""(['"])((?:\\.|(?!\1).)*)(\1|$)""")
_MOST = 24  # characters of a string that a line about something else has room for


def brief(call: str, limit: int = 80) -> str:
    """A call as it fits into a line about something else: long strings, then long argument lists, cut.

    >>> brief("summarise('A lease is the right to write the journal', 3)")
    "summarise('A lease is the right to…', 3)"
    """

    def cut(found: re.Match[str]) -> str:
        quote, text, end = found.groups()
        if len(text) <= _MOST and end:
            return found[0]
        # Without an end it was cut before, and whatever follows it with it.
        return f"{quote}{text[: _MOST - 1].rstrip(' …')}…{quote}" + ("" if end else ", …)")

    call = _QUOTED.sub(cut, call)
    return call if len(call) <= limit else call[: limit - 2].rstrip(" ,…") + "…)"


def step_status(step: RecordedStep, *, alive: bool, waiting: bool, left: bool = False) -> StepStatus:
    """`alive`: a process advances the run; `waiting`: it waits for a person.

    `left`: nothing comes of the step any more (see `Index.leaves`). If it is open, it has been cancelled by that.
    """
    if step.outcome is None and (left or step.history):
        return "cancelled"
    return status_of(state_of(step), alive=alive, waiting=waiting)


def status_of(state: str, *, alive: bool, waiting: bool) -> StepStatus:
    """The status of a present step in this state (see `journal.tally`).

    >>> status_of("completed", alive=False, waiting=False), status_of("tool/unsafe", alive=True, waiting=True)
    ('completed', 'in_doubt')
    """
    _, is_open, effect = state.partition("/")
    if not is_open:
        return cast("StepStatus", state)
    if effect.endswith("/w"):
        return "waiting"
    if waiting and effect == "unsafe":
        return "in_doubt"
    return "running" if alive else "in_doubt"


def scope_path(index: Index, number: int) -> str:
    """A scope as people see it: `main`, `main/worker`, `main/worker/fetch`."""
    names: list[str] = []
    while number not in (ROOT, MAIN):
        scope = index.scopes[number]
        if scope.key.startswith("@"):
            step = index.step(scope.parent, int(scope.key[1:].split(".")[0]))
            names.append(step.name if step is not None else "?")
        else:
            name = scope.key.partition("~")[0].rpartition(":")[2] or "thread"
            names.append(f"{name}#{scope.n}" if scope.n else name)
        number = scope.parent
    return "/".join(["main", *reversed(names)])


def steps(
    index: Index,
    render: Render,
    *,
    alive: bool,
    waiting: bool,
    price: Price | None = None,
    answer: Callable[[RecordedStep], str | None] = lambda step: None,
) -> list[StepInfo]:
    """Every step of the run in journal order, those left behind by retries and forks included.

    `price` prices calls that were recorded without one; `answer` renders the response of an HTTP step.
    """
    abandoned = {id(step) for step in index.abandoned}
    left = index.leaves(abandoned)
    return [
        StepInfo(
            id=step.id,
            scope=scope_path(index, step.scope),
            kind=step.kind,
            name=step.name,
            status=step_status(step, alive=alive, waiting=waiting, left=left(step)),
            attempts=step.attempts,
            arguments=render(step.args, step.seq, step.name) if step.args is not None else f"{step.name}(…)",
            result=answer(step) or _result(step, render),
            error=str(step.outcome.meta.get("x", "")) or None if step.outcome is not None else None,
            started_at=step.opened_at,
            ended_at=step.ended_at,
            replays=index.replays(step),
            effect=step.effect,
            history=step.history or id(step) in abandoned,
            seconds=index.took(step),
            wait=_waits_for(step),
            edited=_edited(step, render),
            given=given(step),
            **_spent(index, step, price),
        )
        for step in index.all_steps()
    ]


def given(step: RecordedStep) -> str | None:
    """Who gave the outcome of a step: a person, in doubt or in a fork. None: the call did."""
    outcome = step.outcome
    return mask(str(outcome.meta["by"])) if outcome is not None and outcome.meta.get("by") else None


def _waits_for(step: RecordedStep) -> str | None:
    wait = of_step(step) if step.wait is not None and not step.history else None
    return describe(wait) if wait is not None else None


def _edited(step: RecordedStep, render: Render) -> str | None:
    entry = step.edit
    if entry is None or entry.payload is None:
        return None
    return f"{render(entry.payload, entry.seq, '')} (said {entry.meta.get('ok') or entry.meta.get('by')})"


def _spent(index: Index, step: RecordedStep, price: Price | None) -> dict[str, Any]:
    said = used(step)
    if said is None or step.outcome is None:
        return {}
    money = cost(said, step.outcome.at, price)
    shown = {name: value for name, value in said.items() if name in _USAGE}
    return {"usage": shown, "cost": money, "saved": (money or 0.0) * index.replays(step)}


_USAGE = ("provider", "model", "input", "output", "cached", "reasoning", "finish", "tools", "error")


def _result(step: RecordedStep, render: Render) -> str | None:
    outcome = step.outcome
    if outcome is None or outcome.payload is None or outcome.meta["s"] != "completed":
        return None
    return render(outcome.payload, outcome.seq, "")


def counts(tally: Mapping[str, int], *, alive: bool, waiting: bool) -> StepCounts:
    """How many of the run's present steps have which status."""
    found: dict[str, int] = {}
    for state, number in tally.items():
        status = status_of(state, alive=alive, waiting=waiting)
        found[status] = found.get(status, 0) + number
    return StepCounts(
        completed=found.get("completed", 0),
        running=found.get("running", 0),
        waiting=found.get("waiting", 0),
        in_doubt=found.get("in_doubt", 0),
        failed=found.get("failed", 0),
    )


def run_status(record: RunRecord, *, alive: bool) -> RunStatus:
    """A run whose process is gone without a word was interrupted."""
    return "interrupted" if record.status == "running" and not alive else record.status


def run_info(record: RunRecord, tally: Mapping[str, int], spent: Spend, *, alive: bool) -> RunInfo:
    """The run's row for people."""
    return RunInfo(
        id=record.id,
        name=record.name,
        status=run_status(record, alive=alive),
        notebook=record.notebook,
        cell_id=record.cell_id,
        created_at=record.created_at,
        updated_at=record.updated_at,
        steps=counts(tally, alive=alive, waiting=record.status == "waiting"),
        parent_id=record.parent_id or record.forked_from,
        forked_at=record.base_seq if record.forked_from else None,
        usage=spent.usage,
        cost=spent.cost,
        saved=spent.saved,
    )
