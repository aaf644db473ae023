"""The error for "the code and the journal disagree", as a diff with ways on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jupyter_durable.codec.display import differences, show_call
from jupyter_durable.errors import DivergenceError
from jupyter_durable.journal.engine import Diverged
from jupyter_durable.journal.index import RecordedStep

_CAUSES = (
    "Likely causes: a clock, random number or id read where it is not recorded (a library, a tool's caller), "
    "the name of a temporary file, the order of a set, state left over from another cell, an answer that was not journaled"
)


def _rendered(name: str, arguments: Any) -> str:
    if isinstance(arguments, tuple | list) and len(arguments) == 2:
        args, kwargs = arguments
        if isinstance(args, tuple | list) and isinstance(kwargs, dict):
            return show_call(name, tuple(args), kwargs)
    return f"{name}(…)"


def _named(arguments: Any) -> Any:
    """Arguments by the names a person would use for them."""
    if isinstance(arguments, tuple | list) and len(arguments) == 2 and isinstance(arguments[1], dict):
        return {**{f"argument {n}": value for n, value in enumerate(arguments[0], 1)}, **arguments[1]}
    return arguments


def explain(
    found: Diverged,
    run: str,
    run_id: str,
    recorded: Any,
    current: Any,
    compared: Callable[[Any], Any] = _named,
) -> DivergenceError:
    """Recorded and current call side by side; `recorded` and `current` are (args, kwargs), or None if unknown.

    `compared` gives what calls are told apart by, of such a pair: what is shown of them may be more.
    """
    step: RecordedStep | None = found.recorded
    call = found.call
    was = _rendered(step.name, recorded) if step is not None else "nothing more"
    now = _rendered(call.name, current) if call is not None else "nothing more"
    lines = [f"run {run!r} took another path than its journal recorded"]
    lines.append(f"  recorded: {was}" + (f"   (step {step.id})" if step is not None else ""))
    lines.append(f"  now:      {now}")
    what = ""
    if step is not None and call is not None:
        if step.kind != call.kind:
            what = f"kind: {step.kind} recorded, {call.kind} now"
        elif step.name != call.name:
            what = f"name: {step.name} recorded, {call.name} now"
        elif recorded is not None and current is not None:
            what = "\n".join(differences(compared(recorded), compared(current)))
    if what:
        lines.append("  differs:  " + what.replace("\n", "\n            "))
    lines.append(f"Nothing was executed and all that was recorded is safe. {_CAUSES}.")
    place = step.id if step is not None else "STEP"
    return DivergenceError(
        "\n".join(lines),
        recorded=was,
        current=now,
        difference=what,
        hint=f"make that argument the same again and rerun the cell; or go on from there with new calls: "
        f"%durable fork {run_id[:13]} --at {place} (or %%durable {run} --rerun-from {place})",
    )
