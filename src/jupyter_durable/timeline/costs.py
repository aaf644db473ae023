"""What was spent and saved, in words: for the command line and `%durable cost`."""

from __future__ import annotations

from collections.abc import Sequence

from jupyter_durable.journal.budget import money
from jupyter_durable.model import RunInfo, StepInfo, Usage

STEP_HEAD = ("STEP", "COST", "SAVED", "IN", "CACHED", "OUT", "MODEL")


def describe(spent: float, saved: float, usage: Usage) -> str:
    """One line about what was spent.

    >>> describe(0.5, 0.0, Usage(calls=2, input=900, output=100))
    '$0.50 for 2 model calls (900 tokens in, 100 out)'
    """
    calls = f"{usage.calls} model call{'s' if usage.calls != 1 else ''}"
    says = f"{money(spent)} for {calls} ({usage.input:,} tokens in, {usage.output:,} out)"
    if usage.unpriced:
        says += f", {usage.unpriced} of unknown price"
    return says + (f"; replay saved {money(saved)}" if saved else "")


def used(step: StepInfo) -> str:
    """What a model call used, on one line; empty for other steps."""
    usage = step.usage
    if usage is None:
        return ""
    says = [f"{usage[name]:,} tokens {what}" for name, what in _TOKENS if usage.get(name)]
    says.append(money(step.cost) if step.cost is not None else "price unknown")
    asked = f"; asks for {', '.join(usage['tools'])}" if usage.get("tools") else ""
    return f"{usage.get('model') or usage.get('provider') or 'a model'}: {', '.join(says)}{asked}"


_TOKENS = (
    ("input", "in"),
    ("cached", "of them cached"),
    ("output", "out"),
    ("reasoning", "of them reasoning"),
)


def step_row(step: StepInfo) -> tuple[str, ...]:
    """A step's cells in the table of a run."""
    usage = step.usage or {}
    counts = (
        str(usage.get(name) if usage.get(name) is not None else "") for name in ("input", "cached", "output")
    )
    model = f"{step.name} {usage.get('model') or ''}".rstrip()
    price = money(step.cost) if step.cost is not None else "unknown"
    return step.id, price, money(step.saved) if step.saved else "", *counts, model


def by_notebook(runs: Sequence[RunInfo]) -> dict[str | None, list[RunInfo]]:
    """The runs of each notebook, in their order."""
    found: dict[str | None, list[RunInfo]] = {}
    for run in runs:
        found.setdefault(run.notebook, []).append(run)
    return found


def total(runs: Sequence[RunInfo]) -> tuple[float, float, Usage]:
    """Cost, saved, usage of several runs."""
    fields = Usage.__dataclass_fields__
    usage = Usage(**{name: sum(getattr(run.usage, name) for run in runs) for name in fields})
    return sum(run.cost for run in runs), sum(run.saved for run in runs), usage
