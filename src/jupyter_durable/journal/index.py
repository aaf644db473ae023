"""A journal, read back: which scopes and steps it holds, and which of them still count.

Entries are folded in order. Four things take entries out of what replays, without ever removing
them from the journal:

- a `retry` reopens failed steps, and what was done while their error unwound becomes history;
- a `cut` (a fork going live in a scope) drops what its parent recorded from there on, and opens the steps
  around that place again (or the one that is to have another result);
- a cancellation that nothing survived (the cancel or interrupt that ended a process) leaves its
  steps open: it is confirmed only by a later start, outside any handler, in its own scope or an
  ancestor's (`_settle`). If the process was killed meanwhile it is doubtful: it may come again (a
  timeout), and then what was done because of it still counts; if it does not, the step is open;
- steps made inside an attempt whose step has an outcome are covered by that outcome.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Container, Iterable
from typing import Any

from jupyter_durable.journal.recorded import ARGUMENTS, MAIN, OWN, ROOT, RecordedScope, RecordedStep
from jupyter_durable.journal.rung import Rung
from jupyter_durable.model import Draft, Entry

__all__ = ["ARGUMENTS", "MAIN", "OWN", "ROOT", "Index", "RecordedScope", "RecordedStep"]


class Index:
    """Folds entries into scopes and steps. `base_seq` is the last entry a fork has from its parent.

    >>> Index([]).scopes[MAIN].steps
    []
    """

    def __init__(self, entries: Iterable[Entry] = (), *, base_seq: int = 0) -> None:
        self.scopes: dict[int, RecordedScope] = {MAIN: RecordedScope(MAIN, ROOT, "main", 0, 0)}
        self.children: dict[tuple[int, str], list[RecordedScope]] = {}
        self.below: dict[int, list[RecordedScope]] = {}  # the same by parent; bound and dropped ones stay
        self.base_seq = base_seq
        self.head = 0
        self.opened: Entry | None = None
        self.closed: Entry | None = None
        self.redacted: list[Entry] = []  # that say what must not be shown
        self.rung = Rung()
        self.resumed_at: list[int] = []  # the entries with which a process took the run up
        self.notes: list[Entry] = []
        self.outputs: list[Entry] = []
        self.decisions: dict[str, Entry] = {}
        self.abandoned: list[RecordedStep] = []
        self._by_place: dict[tuple[int, int], RecordedStep] = {}
        self._cancels: list[RecordedStep] = []
        self._unwinds: list[RecordedStep] = []
        self._last_plain: dict[int, int] = {}
        self._began = 0  # the first entry of the process whose entries are being folded
        self.extend(entries)

    def extend(self, entries: Iterable[Entry]) -> None:
        """Fold more entries in; the process that wrote them has ended, or is about to write more."""
        for entry in entries:
            self._fold(entry)
        self._settle()

    def preview(self, draft: Draft) -> None:
        """Fold an entry in that is not appended, to see what it would do."""
        self._fold(Entry(self.head, draft.type, draft.scope, draft.pos, 0.0, dict(draft.meta), None, b""))

    # -- folding ---------------------------------------------------------------------------------

    def _fold(self, entry: Entry) -> None:
        kind = entry.type
        self.head = entry.seq
        if "rung" in entry.meta or "silent" in entry.meta:
            self.rung.fold(entry)
        if kind == "start":
            self._start(entry)
        elif kind == "outcome":
            step = self._by_place[entry.scope, entry.pos]
            # Cancelled while its outcome was being committed: the caller never saw that one.
            step.unseen = step.outcome
            step.outcome = entry
            step.ended_at = entry.at
            step.reopened = False
            if entry.meta["s"] == "cancelled":
                self._cancels.append(step)
                if step.chunks:  # the last may not have been delivered any more; without `n`, none was
                    del step.chunks[entry.meta.get("n", 0) :]
        elif kind == "values":
            self.scopes[entry.scope].values.append((entry.seq, entry.payload or entry.meta["v"]))
        elif kind == "scope":
            self._add_scope(entry)
        elif kind == "taken":
            for number, n in entry.meta["n"]:
                self.scopes[number].n, self.scopes[number].sure = n, entry.seq
        elif kind == "attempt":
            self._by_place[entry.scope, entry.pos].failures += 1
        elif kind == "output":
            if entry.scope == ROOT:
                self.outputs.append(entry)
            else:
                step = self._by_place[entry.scope, entry.pos]
                step.output = [*(step.output or ()), entry]
        elif kind == "chunk":
            step = self._by_place[entry.scope, entry.pos]
            if step.chunks is None:
                step.chunks = []
            step.chunks.append(entry)
        elif kind == "mutation":
            self._by_place[entry.scope, entry.pos].mutation = entry
        elif kind == "retry":
            self._reopen(entry.meta)
        elif kind == "cut":
            self._cut(entry)
        elif kind == "resumed":
            self._take_up(entry)
            self._say_redacted(entry)
        elif kind == "closed":
            self.closed = entry
            self._say_redacted(entry)
            if entry.meta["s"] == "completed":
                # Whatever was cancelled, the run went on to its end.
                self._cancels.clear()
                self._unwinds.clear()
        elif kind == "decision":
            self.decisions[entry.meta["key"]] = entry
            if entry.scope != ROOT:
                step = self._by_place[entry.scope, entry.pos]
                step.asked += 1
                if entry.meta["action"] == ARGUMENTS:
                    step.edit = entry
        elif kind == "log":
            place = self._by_place.get((entry.scope, entry.pos))
            if place is None:
                self.notes.append(entry)
            else:
                place.notes = [*(place.notes or ()), entry]
        elif kind == "opened":
            if self.opened is not None:  # a fork takes its parent's journal up
                self._take_up(entry)
            else:
                self.rung.take_up(entry)
            if self.opened is None or entry.payload is not None:
                self.opened = entry
            self._say_redacted(entry)

    def _say_redacted(self, entry: Entry) -> None:
        if "redact" in entry.meta:
            self.redacted.append(entry)

    def _take_up(self, entry: Entry) -> None:
        self._settle()
        self.resumed_at.append(entry.seq)
        self.rung.take_up(entry)
        self._began = entry.seq
        self.closed = None

    def _start(self, entry: Entry) -> None:
        place = entry.scope, entry.pos
        step = self._by_place.get(place)
        if step is not None:  # another attempt, or another wait before one
            step.attempts = entry.meta.get("a", 1)
            step.began_at, step.began_seq = entry.at, entry.seq
            step.chunks = None
            step.wait = entry.meta.get("w")
            step.lapsed = False
            step.made = step.wait is None
            if "ok" in entry.meta:
                step.approved = entry.seq
                step.edit = entry if entry.payload is not None else None
            return
        step = self._by_place[place] = RecordedStep(entry)
        scope = self.scopes[entry.scope]
        scope.steps.append(step)
        if entry.pos >= scope.next_pos:
            scope.next_pos = entry.pos + 1
        if not step.unwinding:
            self._last_plain[entry.scope] = entry.seq
        elif step.unwinding == "c":
            self._unwinds.append(step)

    def _add_scope(self, entry: Entry) -> None:
        meta = entry.meta
        scope = RecordedScope(entry.scope, meta["p"], meta["k"], meta["i"], entry.seq)
        scope.spawned_at = meta.get("at")
        self.scopes[scope.id] = scope
        self.below.setdefault(scope.parent, []).append(scope)
        self.children.setdefault((scope.parent, scope.key), []).append(scope)

    def _settle(self) -> None:
        """A process has ended here: cancellations that it did not outlive leave their steps open."""
        killed = self.closed is None
        for step in self._cancels:
            step.doubtful = False
            if step.outcome is None or self._survived(step.scope, step.outcome.seq):
                continue
            if killed or step.outcome.seq < self._began:
                step.doubtful = True
            else:
                step.uncancel()
                if step.reopened:  # it had not been made: nothing came to pass
                    step.history = True
                    self.scopes[step.scope].steps.remove(step)
        for step in self._unwinds:
            step.doubtful = False
            if not self._survived(step.scope, step.seq):
                step.doubtful = killed or step.seq < self._began
                step.history = not step.doubtful
        self._forget_history(self._unwinds)
        self._cancels = [step for step in self._cancels if step.doubtful]
        self._unwinds = [step for step in self._unwinds if step.doubtful]

    def _forget_history(self, steps: Iterable[RecordedStep]) -> None:
        for number in {step.scope for step in steps if step.history}:
            scope = self.scopes[number]
            scope.steps = [step for step in scope.steps if not step.history]

    def _survived(self, scope: int, seq: int) -> bool:
        while scope != ROOT:
            if self._last_plain.get(scope, -1) > seq:
                return True
            scope = self.scopes[scope].parent
        return False

    def _reopen(self, meta: dict[str, Any]) -> None:
        for scope, pos in meta["steps"]:
            step = self._by_place[scope, pos]
            if meta.get("uncancelled"):
                step.uncancel()
                continue
            step.reopen()
            while scope != ROOT:
                self.scopes[scope].soft = True
                scope = self.scopes[scope].parent
        gone = set(meta.get("history", ()))
        left = [step for step in self._by_place.values() if step.seq in gone] if gone else []
        for step in left:
            step.history = True
        self._forget_history(left)

    def _cut(self, entry: Entry) -> None:
        meta = entry.meta
        upto = meta["upto"]
        for number in meta.get("ends", ()):
            self.scopes[number].ended.append(entry.seq)
        for number, since in meta["drop"]:
            scope = self.scopes[number]
            scope.values = [(seq, read) for seq, read in scope.values if not since <= seq <= upto]
            gone = [step for step in scope.steps if since <= step.seq <= upto]
            if gone:
                self.abandoned += gone
                scope.steps = [step for step in scope.steps if not since <= step.seq <= upto]
        for number in meta["scopes"]:
            self.drop_scope(self.scopes[number])
        for number, pos, failures in meta.get("open", ()):
            step = self._by_place[number, pos]
            if step.outcome is not None:  # what it had done is left behind, like the steps that are dropped
                self.abandoned.append(copy.copy(step))
            step.open_again(failures)
            for kept in (self._cancels, self._unwinds):
                if step in kept:
                    kept.remove(step)

    def close_attempts(self) -> None:
        """Take out what was done inside steps that are open: a replay that executes nothing does not come to it."""
        for step in self._by_place.values():
            if step.outcome is None and (inner := self.inside(step)) is not None:
                self.drop_scope(inner)

    def drop_scope(self, scope: RecordedScope) -> None:
        """Take an unbound scope, and all inside it, out of what replays."""
        scope.dropped = True
        self.abandoned += scope.steps
        scope.steps = []
        siblings = self.children[scope.parent, scope.key]
        if scope in siblings:
            siblings.remove(scope)
        for child in self.below.get(scope.id, ()):
            if not child.dropped:
                self.drop_scope(child)

    # -- reading ---------------------------------------------------------------------------------

    def step(self, scope: int, pos: int) -> RecordedStep | None:
        """The step at that place, history included."""
        return self._by_place.get((scope, pos))

    def unwound(self, step: RecordedStep) -> list[RecordedStep]:
        """The steps made while the doubtful cancellation of `step`, or one after it, was being handled."""
        since = step.outcome.seq if step.outcome is not None else self.head
        return [later for later in self._unwinds if later.seq > since]

    def all_steps(self) -> list[RecordedStep]:
        """Every step ever started, in journal order, history and abandoned ones included."""
        return sorted(self._by_place.values(), key=lambda step: step.seq)

    def replays(self, step: RecordedStep) -> int:
        """How often processes took the run up after the step had its outcome, and were answered from it."""
        if step.outcome is None:
            return 0
        return sum(seq > step.outcome.seq for seq in self.resumed_at)

    def took(self, step: RecordedStep) -> float | None:
        """Seconds that the step's last attempt took; None without an outcome, or with one that it did not come to itself.

        Not the time since its first: a run may have been without a process for days in between.
        """
        outcome = step.outcome
        if outcome is None or any(step.began_seq < seq < outcome.seq for seq in self.resumed_at):
            return None
        return outcome.at - step.began_at

    def attempt_key(self, step: RecordedStep) -> str:
        """The key of the scope inside the step's present attempt."""
        return f"@{step.pos}.{step.failures}"

    def active(self, scope: RecordedScope) -> bool:
        """Whether the scope's steps replay: it is not inside an attempt that is over."""
        while scope.parent != ROOT:
            if scope.dropped:
                return False
            if scope.key.startswith("@"):
                step = self._by_place.get((scope.parent, int(scope.key[1:].split(".")[0])))
                if (
                    step is None
                    or step.history
                    or step.outcome is not None
                    or self.attempt_key(step) != scope.key
                ):
                    return False
            scope = self.scopes[scope.parent]
        return True

    def leaves(self, abandoned: Container[int]) -> Callable[[RecordedStep], bool]:
        """Whether nothing comes of a step any more: a fork has left it, or the attempt that it is inside of is over.

        `abandoned` are the ids of the steps in `Index.abandoned`.
        """
        over: dict[int, bool] = {}

        def left(step: RecordedStep) -> bool:
            if step.history or id(step) in abandoned:
                return True
            if step.scope == MAIN:
                return False
            found = over.get(step.scope)
            if found is None:
                found = over[step.scope] = not self.active(self.scopes[step.scope])
            return found

        return left

    def events(self) -> list[tuple[RecordedStep, Entry | None]]:
        """What a faithful replay goes through, in journal order: (step, None) a start, else a chunk or the outcome.

        Numbers the steps' `start_at`, `chunks_at` and `outcome_at` accordingly.
        """
        found: list[tuple[float, RecordedStep, Entry | None]] = []
        for scope in self.scopes.values():
            if scope.steps and self.active(scope):
                for step in scope.steps:
                    found.append((step.seq, step, None))
                    step.chunks_at = []
                    if step.chunks and self.delivers_again(step):
                        for chunk in step.chunks:
                            found += [(at, step, chunk) for at in _delivered_at(chunk)]
                    if step.outcome is not None:
                        found.append((step.outcome.seq, step, step.outcome))
        found.sort(key=lambda event: event[0])
        for place, (_, step, entry) in enumerate(found):
            if entry is None:
                step.start_at = place
            elif entry is step.outcome:
                step.outcome_at = place
            else:
                step.chunks_at.append(place)
        return [(step, entry) for _, step, entry in found]

    def delivers_again(self, step: RecordedStep) -> bool:
        """Whether a stream's chunks replay: it has ended, or was cut off after its strand had acted on them."""
        return step.outcome is not None or self.acted_on(step)

    def acted_on(self, step: RecordedStep) -> bool:
        """Whether its strand, or one around or inside it, made a step after a stream's first chunk."""
        if not step.chunks:
            return False
        first = step.chunks[0].seq
        around: list[int] = [step.scope]
        while around[-1] != MAIN:
            around.append(self.scopes[around[-1]].parent)
        return any(
            later.seq > first
            for scope in self.scopes.values()
            if scope.id in around or self._is_inside(scope, step.scope)
            for later in scope.steps
        )

    def broke_off(self, step: RecordedStep) -> bool:
        """Whether leaving a stream was the last thing its strand did in a process, and another has taken the run up since.

        Then it may have been left because that process ended: an interrupt or an error closes what was open.
        """
        outcome = step.outcome
        if outcome is None or not outcome.meta.get("closed"):
            return False
        until = next((seq for seq in self.resumed_at if seq > outcome.seq), 0)
        began = [
            later.seq for later in self.scopes[step.scope].steps if not (later.history or later.unwinding)
        ]
        began += [scope.first_seq for scope in self.below.get(step.scope, ())]
        return not any(outcome.seq < seq < until for seq in began) and until > 0

    def _is_inside(self, scope: RecordedScope, outer: int) -> bool:
        while scope.parent not in (ROOT, outer):
            scope = self.scopes[scope.parent]
        return scope.parent == outer

    def inside(self, step: RecordedStep) -> RecordedScope | None:
        """The recorded scope inside the step's present attempt, if it has entries."""
        group = self.children.get((step.scope, self.attempt_key(step)))
        return group[0] if group else None


MOST_TURNS = 1 << 20
"""So many chunks at most are in entries that say in which order their streams took turns."""


def _delivered_at(chunk: Entry) -> Iterable[float]:
    """Places among sequence numbers: where the chunks of an entry were delivered, one place for those that came at once.

    Entries of streams that took turns were written one after another: `g` says the how manieth it is, `o` for each
    turn which chunk of all of them was its first, and how many it had.
    """
    turns = chunk.meta.get("o")
    if turns is None:
        return (chunk.seq,)
    first = chunk.seq - chunk.meta["g"]
    return [first + at / MOST_TURNS for at in turns[::2]]
