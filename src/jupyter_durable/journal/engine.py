"""What the journal says about the next call: the only place that chooses.

    decide(scope, call) ─┬─ Replay     the journal has its outcome; deliver it in its turn
                         ├─ Execute    make the call (new, cut off, or reopened)
                         ├─ Wait       not yet: which recorded scope this is depends on its siblings,
                         │             or a person must say whether an unsafe step happened
                         └─ Diverged   not the call the journal recorded here

Pure: no I/O, no clock, no threads. The runtime calls it under one lock, performs what it decided,
and tells it what became of scopes (`spawn`, `end`) and live steps (`started`).

**Within a scope the next unconsumed step must match** in kind, name and arguments digest. Which recorded
scope a strand is, is found at its first call (`journal.strands`); what an edit ends, in `journal.leaving`.
"""

from __future__ import annotations

from typing import Any

from jupyter_durable.journal.decisions import (
    Adopt,
    Call,
    Cut,
    Decision,
    Diverged,
    Execute,
    Replay,
    Wait,
)
from jupyter_durable.journal.index import MAIN, ROOT, Index, RecordedScope, RecordedStep
from jupyter_durable.journal.leaving import Leaving, reopen
from jupyter_durable.journal.strands import LiveScope
from jupyter_durable.model import Draft

__all__ = [
    "Adopt",
    "Call",
    "Cut",
    "Decision",
    "Diverged",
    "Engine",
    "Execute",
    "LiveScope",
    "Replay",
    "Wait",
    "reopen",
]


class Engine(Leaving):
    """The decisions of one run. `soft` runs (forks) cut where an unedited run would diverge; `same`: see `Strands`.

    >>> engine = Engine(Index())
    >>> engine.decide(engine.main, Call("tool", "search", "d1"))
    Execute(scope=1, pos=0, attempt=1, failures=0, first=(), step=None, abandoned=())
    """

    def __init__(self, index: Index, *, soft: bool = False, same: bool = False) -> None:
        super().__init__(index, soft=soft, same=same)
        self._pure: dict[tuple[str, str, str], RecordedStep] | None = None
        self._abandoned = 0
        self._over = False

    # -- scopes ----------------------------------------------------------------------------------

    def attempt(self, scope: LiveScope, decision: Execute) -> LiveScope:
        """The scope inside an attempt: its recorded children, if it was cut off, go on with it."""
        inner = LiveScope(scope, f"@{decision.pos}.{decision.failures}", 0)
        recorded = self.index.children.get((decision.scope, inner.key))
        if recorded and not scope.cut:
            self._bind(inner, recorded[0])
        else:
            self._fresh(inner)
        return inner

    def end(self, scope: LiveScope, *, clean: bool) -> Diverged | Cut | None:
        """A strand is over. `clean`: it was neither cancelled nor ended by an error."""
        if self._over:
            return None
        state, scope.state = scope.state, "ended"
        self.changes += 1
        if scope.parent is not None:
            self._joinable(scope, scope.parent)
        if not clean or state != "bound" or scope.cut:
            return None
        if self.soft and scope is not self.main:
            return self.left_out(scope)
        if not scope.replaying:
            return None
        if not self._soft(scope):
            return self._diverge(scope.steps[scope.cursor], None, scope)
        for step in scope.steps[scope.cursor :]:
            self.order.drop(step)
        return None

    def leave(self) -> None:
        """The run's own code has come to its end; what still goes on are strands that nobody waited for."""
        self._over = True

    def finish(self) -> Diverged | None:
        """The run's code has come to its end: everything recorded must have come to pass again."""
        if self.diverged is not None:
            return self.diverged
        self._over = False
        found = self.end(self.main, clean=True)
        if isinstance(found, Diverged):
            return found
        if self.soft:
            return None
        for step in self.order.missing():
            scope = self.index.scopes[step.scope]
            if not self._soft_recorded(scope) and not self._outlived(scope):
                return self._diverge(step, None, self.main)
        return None

    def _outlived(self, scope: RecordedScope) -> bool:
        """Whether a strand that nobody waited for could still do what is recorded there."""
        while scope.id != MAIN:
            live, above = self.bound.get(scope.id), self.bound.get(scope.parent)
            if live is not None:
                if live.state != "ended" and scope.key != "~":
                    return True
            elif above is not None and any(above.pending(scope.key)):
                return True
            scope = self.index.scopes[scope.parent]
        return False

    def _soft_recorded(self, scope: RecordedScope) -> bool:
        while True:
            if scope.soft:
                return True
            if scope.parent == ROOT:
                return False
            scope = self.index.scopes[scope.parent]

    # -- the decision ----------------------------------------------------------------------------

    def decide(self, scope: LiveScope, call: Call, *, final: bool = False) -> Decision:
        """What to do about `call`, made in `scope`. `final`: no more siblings will show up in time."""
        if self.diverged is not None:
            return self.diverged
        if scope.state != "bound":
            found = self._place(scope, call, [], final=final)
            if found is not None:
                return found
        steps = scope.steps
        cursor = scope.cursor
        if cursor >= len(steps) or scope.cut:
            return self._new(scope, call)
        step = steps[cursor]
        if step.digest == call.digest and step.name == call.name and step.kind == call.kind:
            if steps[-1].seq <= self._unsure:  # else the fork itself has come past it
                skipped = self._skipped(scope, step.seq)
                # Strands that came before it are not spawned any more, or one has ended that had not then.
                if skipped is not None or scope.passed > step.seq:
                    dropped, cut = self.cut(scope, since=skipped.first_seq if skipped is not None else None)
                    return self._new(scope, call, first=(cut,), abandoned=dropped)
            scope.cursor = cursor + 1
            self.order.consume(step.start_at)
            if step.outcome is not None:
                return Replay(step)
            return self.resume(scope, step, call)
        if call.unwinding == "e" and any(self._reopened(ref) for ref in call.refs):
            # Cleaning up after a reopened step that failed again: recorded steps come after it.
            return self._new(scope, call)
        if self._soft(scope):
            dropped, cut = self.cut(scope)
            return self._new(scope, call, first=(cut,), abandoned=dropped)
        return self._diverge(step, call, scope)

    def resume(self, scope: LiveScope, step: RecordedStep, call: Call, *, decided: bool = False) -> Decision:
        """Take an open step up again. Whether an unsafe one happened is not ours to guess."""
        if call.effect == "unsafe" and step.made and not decided:
            return Wait("person", step)
        return Execute(step.scope, step.pos, step.attempts + 1, step.failures, step=step)

    def _reopened(self, ref: tuple[int, int]) -> bool:
        step = self.index.step(*ref)
        return step is not None and step.failures > 0

    def _new(
        self,
        scope: LiveScope,
        call: Call,
        first: tuple[Draft, ...] = (),
        abandoned: tuple[RecordedStep, ...] = (),
    ) -> Execute | Adopt:
        self._number(scope)
        pos = scope.next_pos
        scope.next_pos = pos + 1
        if call.effect == "pure" and (scope.cut or self.soft):
            known = self._known_pure(call)
            if known is not None:
                return Adopt(known, scope.id, pos, first)
        return Execute(scope.id, pos, 1, 0, first, abandoned=abandoned)

    def declare(self, scope: LiveScope) -> tuple[Draft, ...]:
        """The entries that tell of a new scope, and of new ones around it; to be written with its first own."""
        if scope.declared or scope.parent is None:
            return ()
        above = self.declare(scope.parent)
        self._number(scope)
        scope.declared = True
        meta: dict[str, Any] = {"p": scope.parent.id, "k": scope.key, "i": scope.index}
        if scope.spawned_at is not None:
            meta["at"] = list(scope.spawned_at)
        return (*above, Draft("scope", scope.id, 0, meta))

    def took(self) -> tuple[Draft, ...]:
        """The entry that says which of its parent's strands a fork has taken up since the last one, and as which.

        To be written with what it does itself: from then on nothing about them is guessed any more.
        """
        if not self.taken:
            return ()
        taken, self.taken = self.taken, []
        return (Draft("taken", ROOT, 0, {"n": taken}),)

    def _known_pure(self, call: Call) -> RecordedStep | None:
        if self._pure is None or self._abandoned != len(self.index.abandoned):
            self._pure, self._abandoned = {}, len(self.index.abandoned)
            for step in self.index.abandoned:
                if step.effect == "pure" and step.status == "completed":
                    self._pure.setdefault((step.kind, step.name, step.digest), step)
        return self._pure.get((call.kind, call.name, call.digest))
