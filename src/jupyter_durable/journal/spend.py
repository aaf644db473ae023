"""What a run's model calls used and cost: folded from its outcomes, and counted on while it is written.

An outcome says what its call used under `USED` (`capture.wire.Reader.summary`). As with `journal.tally`, the entry
with which a process leaves the run says the sum, under `SPENT`, so that a list of runs need not fold journals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from jupyter_durable.journal.index import Index, RecordedStep
from jupyter_durable.model import Draft, Entry, Usage

USED = "m"
"""Where an outcome has it: provider, model, tokens, and `cost` in USD or None."""
SPENT = "c"
"""Where a `closed` entry has the sum."""

Price = Callable[[Mapping[str, Any], float], float | None]
"""(what an outcome says, when) -> USD, for one that was recorded without a price; None: not known."""


def used(step: RecordedStep) -> Mapping[str, Any] | None:
    """What a step's outcome says that its call used; None: nothing, or it has none."""
    found = step.outcome.meta.get(USED) if step.outcome is not None else None
    return found if isinstance(found, dict) and "input" in found else None


def cost(said: Mapping[str, Any], at: float, price: Price | None = None) -> float | None:
    """What it cost in USD; None: not known."""
    found = said.get("cost")
    if found is None and price is not None and said.get("usage"):
        found = price(said, at)
    return float(found) if isinstance(found, int | float) else None


@dataclass(slots=True)
class Spend:
    """Sums over a run. Money in USD.

    `cost`: by the run itself; `inherited`: by the runs it was forked from, up to there; `saved`: what its
    replays would have cost; `usage`: as `cost`.
    """

    cost: float = 0.0
    inherited: float = 0.0
    saved: float = 0.0
    usage: Usage = field(default_factory=Usage)

    def add(self, said: Mapping[str, Any], money: float | None) -> None:
        """One more call of the run's own."""
        before = self.usage
        self.cost += money or 0.0
        self.usage = Usage(
            calls=before.calls + 1,
            input=before.input + (said.get("input") or 0),
            output=before.output + (said.get("output") or 0),
            cached=before.cached + (said.get("cached") or 0),
            reasoning=before.reasoning + (said.get("reasoning") or 0),
            unpriced=before.unpriced + (money is None),
        )


def spend(index: Index, price: Price | None = None) -> Spend:
    """What the run whose journal is `index` has spent.

    >>> spend(Index()).usage.calls
    0
    """
    found = Spend()
    abandoned = {id(step) for step in index.abandoned}
    for step in index.all_steps():
        said = used(step)
        if said is None or step.outcome is None:
            continue
        money = cost(said, step.outcome.at, price)
        own = step.outcome.seq > index.base_seq
        if own:
            found.add(said, money)
        else:
            found.inherited += money or 0.0
        if money and not step.history and id(step) not in abandoned:
            found.saved += money * index.replays(step)
    return found


def kept(entry: Entry | None) -> Spend | None:
    """The sum that a run's last entry has; None: it must be folded."""
    if entry is None or entry.type != "closed":
        return None
    said = entry.meta.get(SPENT)
    if not isinstance(said, dict):
        return Spend()  # no model was called
    rest = dict(said)
    return Spend(rest["cost"], rest["inherited"], rest["saved"], Usage(**rest["usage"]))


class Spending:
    """Keeps the sum for a run that this process writes, from `index` on."""

    def __init__(self, index: Index) -> None:
        steps = index.all_steps()
        self.steps = len(steps)
        self.last: dict[str, float] = {}  # what the last call of that name cost
        self.under_way: dict[tuple[int, int], str] = {}  # calls that are being made, by place
        models = [step for step in steps if step.kind == "model"]
        self.sum = spend(index) if models else Spend()
        self._names = {(step.scope, step.pos): step.name for step in models}
        for step in models:
            said = used(step)
            if said is not None and said.get("cost") is not None:
                self.last[step.name] = said["cost"]

    @property
    def total(self) -> float:
        """USD spent on this endeavour: by the run, and by those that it was forked from."""
        return self.sum.cost + self.sum.inherited

    def take(self, drafts: Sequence[Draft]) -> Sequence[Draft]:
        """Count what is being written; the same drafts, a `closed` one among them with the sum."""
        for draft in drafts:
            kind = draft.type
            if kind == "outcome":
                if self.under_way:
                    self.under_way.pop((draft.scope, draft.pos), None)
                if USED in draft.meta and "twice" not in draft.meta:
                    self._add((draft.scope, draft.pos), draft.meta[USED])
            elif kind == "start":
                if draft.meta["k"] == "model":
                    self._names[draft.scope, draft.pos] = draft.meta["n"]
            elif kind == "closed":
                return [d._replace(meta={**d.meta, **self._meta()}) if d is draft else d for d in drafts]
        return drafts

    def _add(self, place: tuple[int, int], said: Any) -> None:
        if not isinstance(said, dict) or "input" not in said:
            return
        self.sum.add(said, said.get("cost"))
        name = self._names.get(place)
        if name is not None and said.get("cost") is not None:
            self.last[name] = said["cost"]

    def _meta(self) -> dict[str, Any]:
        return {SPENT: asdict(self.sum)} if self.sum.usage.calls or self.sum.inherited else {}
