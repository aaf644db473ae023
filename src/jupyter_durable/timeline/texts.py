"""What rows say of values: a call, what came of it, and a stream so far; made when somebody looks, and kept.

What is folded of a large run has no payloads: they are read again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from jupyter_durable.codec.redaction import mask
from jupyter_durable.journal import spend
from jupyter_durable.journal.index import Index, RecordedStep
from jupyter_durable.journal.ports import JournalStore
from jupyter_durable.model import Payload, RunRecord
from jupyter_durable.timeline.folding import TAIL, WIRE, one_line
from jupyter_durable.timeline.rows import Relative, Wait


@dataclass(frozen=True, slots=True)
class Sight:
    """How values of a run are shown: what `feed` needs from layers above it.

    render: (payload, sequence number, name to show as a call or "") -> a line. answer: what an HTTP step's
    response said, None for other steps. items: the last ones of a generator that is running, a line each. alive:
    whether a process advances the run. now: the time. waits: what it waits for. relatives: parent and forks. price: of calls recorded without one.
    tallied: steps by state and what was spent, where somebody counts them, for a feed that has skipped some.
    """

    render: Callable[[Payload, int, str], str]
    alive: Callable[[RunRecord], bool]
    now: Callable[[], float]
    answer: Callable[[RecordedStep], str | None] = lambda step: None
    items: Callable[[RecordedStep, int], Sequence[str]] = lambda step, most: ()
    waits: Callable[[RunRecord, Index], Sequence[Wait]] = lambda record, index: ()
    relatives: Callable[[RunRecord], tuple[Relative | None, list[Relative]]] = lambda record: (None, [])
    price: spend.Price | None = None
    tallied: Callable[[], tuple[Mapping[str, int], spend.Spend]] | None = None


class Text(NamedTuple):
    """`state` changes when it must be made again; `says` is None while there is no outcome."""

    state: int
    call: str
    says: str | None
    stream: str


class Texts:
    """Those of one run's steps, by the numbers of their rows."""

    def __init__(self, store: JournalStore, run_id: str, sight: Sight) -> None:
        self._store = store
        self._run_id = run_id
        self._sight = sight
        self._made: dict[int, Text] = {}

    def clear(self) -> None:
        """Forget them."""
        self._made.clear()

    def get(self, n: int) -> Text | None:
        """That of row `n`, if it was made."""
        return self._made.get(n)

    def make(self, n: int, step: RecordedStep) -> None:
        """Make that of row `n`, unless nothing of it has changed."""
        outcome = step.outcome
        state = (outcome.seq if outcome is not None else 0) * 1_000_000 + len(step.chunks or ())
        known = self._made.get(n)
        if known is not None and known.state == state:
            return
        call = known.call if known is not None else self._call(step)
        self._made[n] = Text(state, call, self._says(step), self._stream(step))

    def _call(self, step: RecordedStep) -> str:
        payload = step.args if step.args is not None else self.payload(step.seq)
        return (
            one_line(self._sight.render(payload, step.seq, step.name))
            if payload is not None
            else f"{step.name}(…)"
        )

    def _says(self, step: RecordedStep) -> str | None:
        outcome = step.outcome
        if outcome is None:
            return None
        if (error := str(outcome.meta.get("x", ""))) or outcome.meta["s"] != "completed":
            return one_line(error or str(outcome.meta["s"]))
        if step.kind in WIRE and (answered := self._sight.answer(self.whole(step))) is not None:
            return one_line(answered)
        payload = outcome.payload or self.payload(outcome.seq)
        return one_line(self._sight.render(payload, outcome.seq, "")) if payload is not None else None

    def _stream(self, step: RecordedStep) -> str:
        if not step.chunks or step.outcome is not None:
            return ""
        if step.kind in WIRE:
            return mask((self._sight.answer(step) or "")[-2000:])
        return mask("\n".join(self._sight.items(step, TAIL)))[-2000:]

    def payload(self, seq: int) -> Payload | None:
        """That of an entry, read again: what is folded of a large run has none."""
        entry = next(iter(self._store.entries(self._run_id, after=seq - 1, upto=seq)), None)
        return entry.payload if entry is not None else None

    def whole(self, step: RecordedStep) -> RecordedStep:
        """The step with the payloads that it had."""
        if step.args is None:
            step.args = self.payload(step.seq)
        if step.outcome is not None and step.outcome.payload is None:
            step.outcome = step.outcome._replace(payload=self.payload(step.outcome.seq))
        return step
