"""`durable.diff`: two runs of a store, step by step, with values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_durable.codec.display import show, show_call
from jupyter_durable.codec.pieces import shown
from jupyter_durable.codec.redaction import mask
from jupyter_durable.journal.index import RecordedStep
from jupyter_durable.model import Payload, RunRecord
from jupyter_durable.timeline import inert, values, view
from jupyter_durable.timeline.differences import RunDiff, StepDiff, align, beside, unified

if TYPE_CHECKING:
    from jupyter_durable.session.reading import Store

__all__ = ["RunDiff", "StepDiff", "compare", "diff"]

_WIRE = ("model", "http")


class _Side:
    """One of the two runs, as people may see it: nothing that is stored is imported, unpickled or called."""

    def __init__(self, store: Store, record: RunRecord) -> None:
        self.store = store
        self.session = store._session
        self.record = record
        self.index = self.session.index(record.id)
        self.lineage = self.session._lineage(record)
        self.status = view.run_status(record, alive=self.session.alive(record))

    def _look(self, payload: Payload | None, seq: int) -> Any:
        if payload is None:
            return None
        bind = next((run for run, upto in self.lineage if seq <= upto), self.record.id)
        load = self.store.journal.chunk
        return inert.glance(lambda: inert.look(self.session.codec, payload, bind=bind, load=load))

    def arguments(self, step: RecordedStep) -> Any:
        """(args, kwargs), what a person changed among them; None: not known."""
        given = self._look(step.args, step.seq)
        if not (isinstance(given, list | tuple) and len(given) == 2 and isinstance(given[1], dict)):
            return None
        args, kwargs = list(given[0]), dict(given[1])
        if step.edit is not None and step.edit.payload is not None:
            kwargs |= {"changed to": self._look(step.edit.payload, step.edit.seq)}
        return args, kwargs

    def call(self, step: RecordedStep) -> str:
        """The call on one line."""
        given = self.arguments(step) if step.kind != "model" else None  # its request says nothing on one line
        return f"{step.name}(…)" if given is None else show_call(step.name, tuple(given[0]), given[1], 120)

    def said(self, step: RecordedStep) -> list[tuple[str, str]]:
        """The messages of a model call."""
        return [(m.role, m.text) for m in self.store.messages(self.record.id, step.id)]

    def asked(self, step: RecordedStep) -> str:
        """The arguments as text."""
        given = self.arguments(step)
        if given is None:
            return ""
        args, kwargs = given
        return _text({**{f"argument {n}": value for n, value in enumerate(args, 1)}, **kwargs})

    def gave(self, step: RecordedStep) -> str:
        """The outcome as text."""
        outcome = step.outcome
        if outcome is None:
            return "no outcome"
        if outcome.meta["s"] != "completed":
            return mask(f"{outcome.meta['s']}: {outcome.meta.get('x', '')}".rstrip(": "))
        if step.kind in _WIRE:
            from jupyter_durable.session import exchanged  # here: few runs have any

            said = exchanged.response(step, self.session.decoder(self.record))
            if said is not None:
                return _text(said)
        if step.chunks and "by" not in outcome.meta:
            return _text(shown([self._look(chunk.payload, chunk.seq) for chunk in step.chunks]))
        return _text(self._look(outcome.payload, outcome.seq))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return mask(value)
    try:
        return json.dumps(values.plain(value), indent=2, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return show(value, 4000)


def compare(store: Store, a: str, b: str) -> RunDiff:
    """Two runs of a store, compared. Raises `RunNotFoundError`."""
    first, second = _Side(store, store._record(a)), _Side(store, store._record(b))
    upto = _shared(first, second)
    equal = shared = 0
    steps: list[StepDiff] = []
    for x, y in align(first.index, second.index):
        if x is None or y is None:
            side, step = (first, x) if x is not None else (second, y)
            assert step is not None
            sign = "-" if x is not None else "+"
            gave = tuple(f"{sign}{line}" for line in side.gave(step).splitlines()[:40])
            steps.append(
                StepDiff(
                    change="missing" if x is not None else "added",
                    a=step.id if x is not None else None,
                    b=step.id if x is None else None,
                    kind=step.kind,
                    name=step.name,
                    call=side.call(step),
                    result=gave,
                )
            )
            continue
        found = _changed(first, second, x, y, upto)
        if found is None:
            equal += 1
            shared += x.seq == y.seq <= upto
        else:
            steps.append(found)
    names = mask(first.record.name), mask(second.record.name)
    statuses = first.status, second.status
    return RunDiff(first.record.id, second.record.id, names, statuses, equal, shared, tuple(steps))


def _shared(a: _Side, b: _Side) -> int:
    """Up to which entry the two have one journal."""
    chains = [
        [*side.lineage, (side.record.id, max(side.record.head_seq, side.index.head))] for side in (a, b)
    ]
    found = 0
    for (run, upto), (other, until) in zip(*chains, strict=False):
        if run != other:
            break
        found = min(upto, until)
        if upto != until:
            break
    return found


def _changed(a: _Side, b: _Side, x: RecordedStep, y: RecordedStep, upto: int) -> StepDiff | None:
    same_start = x.seq == y.seq <= upto and x.edit is y.edit is None
    if same_start and x.outcome and y.outcome and x.outcome.seq == y.outcome.seq <= upto:
        return None
    arguments: tuple[str, ...] = ()
    result: tuple[str, ...] = ()
    if x.kind == "model":
        one, other = a.said(x), b.said(y)
        split = tuple(
            len(talk) - (talk[-1:] != [] and talk[-1][0].startswith("assistant")) for talk in (one, other)
        )
        if x.digest != y.digest:
            arguments = beside(one[: split[0]], other[: split[1]]) or unified(a.asked(x), b.asked(y))
        result = beside(one[split[0] :], other[split[1] :])
        if not result and x.status != y.status:
            result = unified(a.gave(x), b.gave(y))
    else:
        if x.digest != y.digest or x.edit is not None or y.edit is not None:
            arguments = unified(a.asked(x), b.asked(y))
        if not _equal(x, y):
            result = unified(a.gave(x), b.gave(y))
    if not arguments and not result:
        if x.digest == y.digest:
            return None
        arguments = (" they differ in what is not shown",)  # a secret, or what has no readable form
    return StepDiff("changed", x.id, y.id, y.kind, y.name, b.call(y), arguments, result)


def _equal(x: RecordedStep, y: RecordedStep) -> bool:
    one, other = x.outcome, y.outcome
    if one is None or other is None or x.chunks or y.chunks:
        return False
    return one.payload == other.payload and one.meta["s"] == other.meta["s"] == "completed"


def diff(a: str, b: str, *, store: Store | str | Path | None = None) -> RunDiff:
    """Two runs, by id, the beginning of one, or name: where they part, and every step that differs, with values.

    In a notebook the result shows itself; `.first`, `.steps` and `.same` are for programs. Raises `RunNotFoundError`.

    >>> diff("0192ab12-3c4d", "research")  # doctest: +SKIP
    """
    from jupyter_durable.session.reading import Store, open_store

    if isinstance(store, Store):
        return compare(store, a, b)
    with open_store(store) as opened:
        return compare(opened, a, b)
