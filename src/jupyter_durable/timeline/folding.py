"""What a feed folds entries into, and keeps of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jupyter_durable.codec.redaction import mask
from jupyter_durable.journal.index import MAIN, ROOT, Index, RecordedStep
from jupyter_durable.model import Entry
from jupyter_durable.timeline.rows import Counts, Line

TAIL = 5
"""Lines of a log, and chunks of a stream, that a row has."""
LINE = 160
"""Characters of a row's texts."""
WIRE = frozenset({"model", "http"})
"""Kinds of steps whose arguments and results are requests and responses."""


class Tolerant(Index):
    """An index of a journal's end: what belongs to steps and scopes before it is passed over."""

    def _fold(self, entry: Entry) -> None:
        if entry.scope != ROOT and entry.scope not in self.scopes and entry.type != "scope":
            self.scopes[entry.scope] = type(self.scopes[MAIN])(entry.scope, MAIN, "…", 0, entry.seq)
        needs_step = entry.type in ("outcome", "attempt", "output", "chunk", "mutation")
        if needs_step and entry.scope != ROOT and self.step(entry.scope, entry.pos) is None:
            self.head = entry.seq
            return
        if entry.type in ("retry", "cut", "taken"):
            self.head = entry.seq
            return
        super()._fold(entry)


def logged(entries: Sequence[Entry]) -> list[Line]:
    """The last lines of a log."""
    found: list[Line] = []
    for entry in entries[-TAIL:]:
        if "m" in entry.meta:
            fields: Mapping[str, Any] = entry.meta.get("f") or {}
            text = " ".join([str(entry.meta["m"]), *(f"{key}={value}" for key, value in fields.items())])
            found.append({"at": entry.at, "text": one_line(text, 500)})
    return found


def one_line(text: str, limit: int = LINE) -> str:
    """A text as a row has it: masked, on one line, cut."""
    text = mask(" ".join(text[: 8 * limit].split()))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def forget(step: RecordedStep) -> None:
    """Drop a step's values from memory: they are read again when somebody looks."""
    if step.kind not in WIRE:
        step.args = None
        if step.outcome is not None:
            step.outcome = step.outcome._replace(payload=None)


def no_counts() -> Counts:
    """None of any."""
    return {
        "completed": 0, "running": 0, "waiting": 0, "in_doubt": 0, "failed": 0, "cancelled": 0, "replayed": 0,
    }  # fmt: skip
