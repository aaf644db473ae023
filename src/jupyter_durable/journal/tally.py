"""How many of a run's steps are in which state: counted while entries are written, kept with the last one.

A list of runs must not fold every journal there is. So the entry with which a process leaves a run
(`closed`) says how many steps stand how, under `TALLY`; a reader needs to fold only what has no such
entry at its end: a run that is going on, and one whose process was killed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from jupyter_durable.journal.index import Index, RecordedStep
from jupyter_durable.model import Draft, Entry

TALLY = "t"
"""Where a `closed` entry has it."""

_HARMLESS = frozenset({"taken", "values", "chunk", "output", "mutation", "decision", "log"})


def state_of(step: RecordedStep) -> str:
    """What a step counts as: its outcome's status, else what kind of call is open, `kind/effect`; with `/w` if it waits."""
    if step.outcome is not None:
        return str(step.outcome.meta["s"])
    return f"{step.kind}/{step.effect}" + ("/w" if step.wait is not None else "")


def tally(index: Index) -> dict[str, int]:
    """How many of the present steps of a run (not: history) are in which state.

    >>> tally(Index())
    {}
    """
    left = index.leaves(())
    return dict(
        Counter(
            "cancelled" if step.outcome is None and left(step) else state_of(step)
            for scope in index.scopes.values()
            for step in scope.steps
        )
    )


def kept(entry: Entry | None) -> dict[str, int] | None:
    """The tally that a run's last entry has, if it has one."""
    found = entry.meta.get(TALLY) if entry is not None and entry.type == "closed" else None
    return found if isinstance(found, dict) else None


class Tally:
    """Keeps count of a run that this process writes, from `index` on, which must not have changed since it was folded.

    What only folding can tell (history, cancellations, cuts) makes it inexact, until it is set anew.
    """

    def __init__(self, index: Index) -> None:
        self._set(index)
        self.exact = not any(step.doubtful for step in self._steps(index))

    def _set(self, index: Index) -> None:
        self._counts = Counter(tally(index))
        left = index.leaves(())
        self._open = {
            (step.scope, step.pos): state_of(step)
            for step in self._steps(index)
            if step.outcome is None and not left(step)
        }
        self._around: dict[int, tuple[int, int]] = {}  # the steps that scopes are inside of
        for scope in index.scopes.values():
            self._scope(scope.id, scope.parent, scope.key)
        self.exact = True

    def _scope(self, number: int, parent: int, key: str) -> None:
        if key.startswith("@"):
            self._around[number] = parent, int(key[1:].partition(".")[0])
        elif parent in self._around:
            self._around[number] = self._around[parent]

    def _covers(self, place: tuple[int, int]) -> bool:
        """Whether open steps are inside of the one at `place`: only folding tells what becomes of them."""
        for scope, _ in self._open:
            around = self._around.get(scope)
            while around is not None:
                if around == place:
                    return True
                around = self._around.get(around[0])
        return False

    @staticmethod
    def _steps(index: Index) -> Iterable[RecordedStep]:
        return (step for scope in index.scopes.values() for step in scope.steps)

    @property
    def counts(self) -> dict[str, int]:
        """How many steps are in which state now."""
        return dict(self._counts)

    def recount(self, entries: Iterable[Entry], status: str, base_seq: int) -> None:
        """Set it anew: by folding all the run's entries, as if a `closed` one with this status came after them."""
        closed = Entry(0, "closed", 0, 0, 0.0, {"s": status}, None, b"")
        self._set(Index(chain(entries, [closed]), base_seq=base_seq))

    def take(self, drafts: Sequence[Draft]) -> Sequence[Draft]:
        """Count what is being written; the same drafts, a `closed` one among them with the tally."""
        for draft in drafts:
            kind = draft.type
            if kind == "start":
                self._start(draft)
            elif kind == "outcome":
                self._end(draft)
            elif kind == "scope":
                self._scope(draft.scope, draft.meta["p"], draft.meta["k"])
            elif kind == "attempt":
                self.exact = self.exact and not (self._around and self._covers((draft.scope, draft.pos)))
            elif kind == "closed":
                return [self._closed(d) if d is draft else d for d in drafts]
            elif kind not in _HARMLESS:
                self.exact = False
        return drafts

    def _start(self, draft: Draft) -> None:
        meta, place = draft.meta, (draft.scope, draft.pos)
        if "u" in meta:
            self.exact = False
            return
        before = self._open.get(place)
        state = f"{meta['k']}/{meta.get('e', 'retryable')}" + ("/w" if "w" in meta else "")
        if state != before:  # else: another attempt
            self._open[place] = state
            self._counts[state] += 1
            if before is not None:
                self._counts[before] -= 1

    def _end(self, draft: Draft) -> None:
        state = self._open.pop((draft.scope, draft.pos), None)
        if (
            state is None
            or draft.meta["s"] == "cancelled"
            or (self._around and self._covers((draft.scope, draft.pos)))
        ):
            self.exact = False
        else:
            self._counts[state] -= 1
            self._counts[draft.meta["s"]] += 1

    def _closed(self, draft: Draft) -> Draft:
        if not self.exact:
            return draft
        meta: Mapping[str, Any] = {**draft.meta, TALLY: {key: n for key, n in self._counts.items() if n}}
        return draft._replace(meta=meta)
