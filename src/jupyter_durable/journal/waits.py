"""What a run waits for, as its journal has it: people, signals, timers.

A wait is an entry like any other: the start of a step that is nothing but one (`sleep`, `signal`, `ask`), a start
ahead of a step's own (an approval), an unsafe step without an outcome (in doubt), or a `decision` that says that
a budget was reached. What ends it is a row in the inbox under the wait's key, of which there is one: the
key names the step, how often it was asked before, and (for an approval) the arguments it was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from jupyter_durable.journal.index import ROOT, Index, RecordedStep
from jupyter_durable.model import Draft

WaitKind = Literal["approval", "ask", "signal", "sleep", "doubt", "budget"]

ACTIONS: dict[WaitKind, tuple[str, ...]] = {
    "approval": ("approve", "reject"),
    "ask": ("answer",),
    "signal": ("signal",),
    "sleep": (),
    "doubt": ("retry", "supply", "fail"),
    "budget": ("raise",),
}
"""What can be said about a wait."""

LIMIT = "wait:budget"
"""The key of the `decision` entries that say that a budget holds the run up, and that it does not any more."""


class Wait(NamedTuple):
    """One open wait. `step` is None where the run as a whole waits; times are POSIX seconds."""

    key: str
    kind: WaitKind
    step: RecordedStep | None
    prompt: str
    since: float
    until: float | None = None
    schema: dict[str, Any] | None = None
    editable: bool = False


def approval_key(scope: int, pos: int, asked: int, digest: str) -> str:
    """The key of an approval: for this step, these arguments, and once.

    >>> approval_key(1, 4, 0, "0123456789abcdef")
    'approval:1.4:0:0123456789ab'
    """
    return f"approval:{scope}.{pos}:{asked}:{digest[:12]}"


def answer_key(scope: int, pos: int, asked: int) -> str:
    """The key of an answer.

    >>> answer_key(1, 4, 0)
    'ask:1.4:0'
    """
    return f"ask:{scope}.{pos}:{asked}"


def doubt_key(step: RecordedStep) -> str:
    """The key of the decision about a step in doubt: one decision an attempt."""
    return f"doubt:{step.id}:{step.attempts}"


def of_step(step: RecordedStep) -> Wait | None:
    """What an open step waits for; None: nothing that is to be said about it."""
    if step.outcome is not None:
        return None
    said = step.wait
    if said is None:
        if step.effect != "unsafe" or not step.made:
            return None
        return Wait(doubt_key(step), "doubt", step, f"did {step.name} happen?", step.began_at)
    kind: WaitKind = said["k"]
    key = {
        "approval": approval_key(step.scope, step.pos, step.asked, step.digest),
        "ask": answer_key(step.scope, step.pos, step.asked),
        "signal": f"signal:{step.name}",
        "sleep": f"sleep:{step.id}",
    }[kind]
    return Wait(
        key,
        kind,
        step,
        str(said.get("prompt", "")),
        step.began_at,
        said.get("until"),
        said.get("schema"),
        bool(said.get("edit")),
    )


def waits(index: Index, *, doubts: bool = True) -> Iterator[Wait]:
    """Everything that a run waits for, in journal order. `doubts`: also unsafe steps without an outcome.

    >>> list(waits(Index()))
    []
    """
    open_steps = (
        step
        for scope in index.scopes.values()
        if scope.steps and index.active(scope)
        for step in scope.steps
        if step.outcome is None
    )
    for step in sorted(open_steps, key=lambda step: step.seq):
        found = of_step(step)
        if found is not None and (doubts or found.kind != "doubt"):
            yield found
    limit = index.decisions.get(LIMIT)
    if limit is not None and limit.meta["action"] == "waits":
        yield Wait(LIMIT, "budget", None, str(limit.meta.get("x", "")), limit.at)


def limited(says: str) -> Draft:
    """The entry that says that a budget holds the run up; `says` is empty when it does not any more."""
    meta = {"key": LIMIT, "action": "waits" if says else "over", "by": "the run"}
    return Draft("decision", ROOT, 0, {**meta, "x": says} if says else meta)


def describe(wait: Wait) -> str:
    """What is waited for, as a few words.

    >>> describe(Wait("signal:go", "signal", None, "", 0.0))
    'the signal go'
    """
    name = wait.step.name if wait.step is not None else wait.key.partition(":")[2]
    match wait.kind:
        case "approval":
            return f"your approval of {name}" + (f" ({wait.prompt})" if wait.prompt else "")
        case "ask":
            return f"your answer to: {wait.prompt}"
        case "signal":
            return f"the signal {name}"
        case "sleep":
            return "a timer"
        case "doubt":
            return f"you to say whether {name} happened"
    return wait.prompt
