"""What a fork has otherwise at one step: another result, or other arguments."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from jupyter_durable.journal.index import ARGUMENTS, RecordedStep
from jupyter_durable.model import Draft, Payload

FORKED = "fork"
"""The key of what a run's row says about how it was forked by a person: `at` (a step's id) and `how`.

`same`: nothing but that step is otherwise, its code and inputs are its parent's. `prepared`: it was made without being
executed. `step`: how the step was called, `line`: what was typed, digested.
"""

EXCHANGES = frozenset({"model", "http"})
"""Kinds of steps whose result is a response."""


class _Unset(enum.Enum):
    UNSET = enum.auto()


UNSET = _Unset.UNSET
"""No result was given: None is one."""


@dataclass(frozen=True, slots=True)
class Change:
    """`result`: what the step gives, unmade; `arguments`: those to be changed, as JSON data. `by`: who wants it.

    Of a model call or another exchange, `result` is its response as it is stored; of a generator, the list of its items.
    """

    result: Any = UNSET
    arguments: Mapping[str, Any] | None = None
    by: str = ""

    @property
    def how(self) -> Literal["result", "arguments", "again"]:
        """What is otherwise: the result, the arguments, or nothing (the step is made again)."""
        if self.result is not UNSET:
            return "result"
        return "again" if self.arguments is None else "arguments"

    def drafts(self, step: RecordedStep, encode: Callable[[Any, str], Payload]) -> list[Draft]:
        """The entries that say so, to follow the cut that has opened the step."""
        if self.result is not UNSET:  # of a generator, its items: a list, as when one in doubt is supplied
            payload = encode(self.result, f"the result of {step.name}")
            return [Draft("outcome", step.scope, step.pos, {"s": "completed", "by": self.by}, payload)]
        if self.arguments is not None:
            meta: dict[str, Any] = {"key": f"fork:{step.id}", "action": ARGUMENTS, "by": self.by}
            payload = encode(dict(self.arguments), "the arguments given")
            return [Draft("decision", step.scope, step.pos, meta, payload)]
        return []


def is_stream(step: RecordedStep) -> bool:
    """Whether a step gives items, one after the other."""
    outcome = step.outcome
    return bool(step.chunks) or (outcome is not None and "n" in outcome.meta)
