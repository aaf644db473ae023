"""Budgets: how much a run may spend, as its journal has it.

The limit is what the cell asked for, or what a person raised it to since: `decision` entries, the last of
which counts. So it holds in every process that takes the run up, and in automatic forks.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jupyter_durable.journal.index import Index
from jupyter_durable.model import Entry

PREFIX = "budget:"


@dataclass(frozen=True, slots=True)
class Budget:
    """`cost` in USD, `steps` that are made (not: replayed), `deadline` in POSIX seconds; None: no limit.

    `line`: the deadline as the cell says it, "2 h" from when its run began, say.
    """

    cost: float | None = None
    steps: int | None = None
    deadline: float | None = None
    line: str | None = None

    def __str__(self) -> str:
        parts = [
            f"${self.cost:.2f}" if self.cost is not None else "",
            f"{self.steps} steps" if self.steps else "",
            f"until {at(self.deadline)}" if self.deadline is not None else "",
        ]
        return " and ".join(filter(None, parts)) or "no limit"


def parse_cost(text: str) -> float:
    """Dollars as people write them. Raises `ValueError`.

    >>> parse_cost("$2.50"), parse_cost("1,000")
    (2.5, 1000.0)
    """
    usd = float(text.strip().removeprefix("$").replace(",", ""))
    if not 0 <= usd < math.inf:
        raise ValueError(text)
    return usd


def limit(index: Index) -> Budget:
    """The budget that a journal has decided on."""
    found = Budget()
    for entry in sorted(decisions(index), key=lambda entry: entry.seq):
        found = changed(found, entry.meta)
    return found


def decisions(index: Index) -> Iterable[Entry]:
    """The entries that decide on it."""
    return (entry for key, entry in index.decisions.items() if key.startswith(PREFIX))


def changed(before: Budget, said: Mapping[str, Any]) -> Budget:
    """The budget after a decision."""
    cost, steps, deadline = said.get("cost"), said.get("steps"), said.get("deadline")
    if said.get("action") == "given":  # the cell's line says all there is
        return Budget(cost, steps, deadline, said.get("line"))
    return Budget(
        before.cost if cost is None else cost,
        before.steps if steps is None else steps,
        before.deadline if deadline is None else deadline,
        before.line,
    )


def at(time: float) -> str:
    """A time for people, in this machine's zone."""
    return datetime.datetime.fromtimestamp(time).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def money(usd: float) -> str:
    """USD for people.

    >>> money(2), money(0.0123)
    ('$2.00', '$0.0123')
    """
    return f"${usd:.2f}" if usd >= 0.1 or usd == 0 else f"${usd:.4f}"
