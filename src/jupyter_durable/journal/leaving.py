"""Leaving the recorded path: what an edit, a new call or a reopened step takes out of what replays.

A fork goes on from its parent's journal with other code. What was recorded may answer a call only if
nothing was changed before it that it may depend on: in its own strand, and in those around it. So

- a call that is not the recorded one ends the replay of its scope there, and of the scopes around it
  from that entry on (`cut`);
- so do a strand that ends before its recorded calls are used up, and one that was recorded and is left out;
- a new call, when it is made at last, ends it altogether in its scope and in those around it (`go_live`).

Siblings that had been spawned by then do not depend on it, and go on replaying.
"""

from __future__ import annotations

from collections.abc import Iterable

from jupyter_durable.journal.decisions import Call, Cut, Diverged
from jupyter_durable.journal.index import ROOT, Index, RecordedScope, RecordedStep
from jupyter_durable.journal.strands import LiveScope, Strands
from jupyter_durable.model import Draft


class Leaving(Strands):
    """The strands of a run, and how they leave what was recorded."""

    def go_live(
        self, scope: LiveScope, call: Call
    ) -> Diverged | tuple[tuple[RecordedStep, ...], tuple[Draft, ...]]:
        """A call that the journal does not know is about to be made in `scope`, in its turn.

        What ancestors still have recorded came after it, and may depend on it: a fork drops that (and says
        what it dropped) and what its own scope has left, calls and strands alike; an unedited run has diverged.
        """
        if self.soft:
            return self._leave_all(scope)
        if self.order.exhausted:
            return (), ()
        strand = scope.parent
        while strand is not None:
            if strand.replaying:
                if not self._soft(scope):
                    return self._diverge(strand.steps[strand.cursor], call, scope)
                dropped, draft = self.cut(strand)
                return dropped, (draft,)
            strand = strand.parent
        return (), ()

    def _leave_all(self, scope: LiveScope) -> tuple[tuple[RecordedStep, ...], tuple[Draft, ...]]:
        strand: LiveScope | None = scope
        if scope.left:
            return (), ()
        leaving = _Leaving(self, scope)
        while strand is not None and not strand.left:
            strand.left = True
            leaving.ends(strand)
            leaving.steps(strand, 0)
            leaving.strands(strand, 0)
            strand = strand.parent
        if not (leaving.dropped or leaving.scopes or leaving.kept):
            return (), ()
        cut = leaving.done()
        return cut.dropped, (cut.draft,)

    def cut(self, scope: LiveScope, *, since: int | None = None) -> Cut:
        """End the scope's replay here (or at sequence number `since`), and its ancestors' from here on.

        Siblings that have already been spawned go on replaying. Returns what was dropped, and the entry.
        """
        here = scope.steps[scope.cursor].seq if since is None else since
        leaving = _Leaving(self, scope)
        strand: LiveScope | None = scope
        while strand is not None:
            leaving.steps(strand, here)
            earlier = leaving.strands(strand, 0 if strand is scope else here)
            if strand is scope or not (strand.replaying or earlier):
                leaving.ends(strand)
            strand = strand.parent
        return leaving.done()

    def left_out(self, scope: LiveScope) -> Cut | None:
        """A fork's strand has come to its end: what it has not done again, those around it may depend on."""
        steps = [scope.steps[scope.cursor].seq] if scope.replaying else []
        if (strand := self._skipped(scope)) is not None:
            steps.append(strand.first_seq)
        return self.cut(scope, since=min(steps)) if steps else None

    def uncancel(self, step: RecordedStep) -> Draft:
        """A doubtful cancellation does not come again: the step was cut off; what was done because of it is history."""
        history = [later for later in self.index.unwound(step) if not self.order.came(later.start_at)]
        for later in history:
            self.order.drop(later)
        meta = {
            "steps": [[step.scope, step.pos]],
            "history": [later.seq for later in history],
            "uncancelled": True,
        }
        draft = Draft("retry", ROOT, 0, meta)
        self.index.preview(draft)
        for later in history:
            if (live := self.bound.get(later.scope)) is not None:
                live.steps = self.index.scopes[later.scope].steps
        return draft

    def forget_inside(self, step: RecordedStep) -> None:
        """An attempt that went on after a crash was cancelled or has failed: what it had not come to again is history."""
        key = self.index.attempt_key(step)

        def inside(scope: RecordedScope) -> bool:
            while scope.parent != ROOT:
                if scope.parent == step.scope and scope.key == key:
                    return True
                scope = self.index.scopes[scope.parent]
            return False

        for missed in self.order.missing():
            if inside(self.index.scopes[missed.scope]):
                self.order.drop(missed)


class _Leaving:
    """One cut in the making, for a call or an end in `scope`."""

    def __init__(self, engine: Leaving, scope: LiveScope) -> None:
        self.engine = engine
        self.index = engine.index
        self.scope = scope
        self.dropped: list[RecordedStep] = []
        self.drop: list[list[int]] = []
        self.scopes: list[int] = []
        self.ended: list[int] = []
        self.kept = False  # strands whose place is still to be found

    def steps(self, strand: LiveScope, here: int) -> None:
        """Drop the steps that `strand` has left from sequence number `here` on."""
        rest = [step for step in strand.steps[strand.cursor :] if step.seq >= here]
        if not rest:
            return
        since = rest[0].seq
        self.drop.append([strand.id, since])
        strand.steps = [step for step in strand.steps if step.seq < since]
        if strand.recorded is not None:
            strand.recorded.steps = strand.steps
        self.dropped += rest
        for step in rest:
            if (inner := self.index.inside(step)) is not None:
                self._strand(inner)

    def strands(self, strand: LiveScope, here: int) -> bool:
        """Drop the strands begun from `here` on that it has not spawned yet; whether it has earlier ones left."""
        earlier = False
        spawned: dict[str, list[LiveScope]] = {}
        for scope in strand.pending():
            spawned.setdefault(scope.key, []).append(scope)
        for child in self.index.below.get(strand.id, ()) if strand.recorded is not None else ():
            if child.dropped or child.id in self.engine.bound or child.key.startswith("@"):
                continue
            if any(self.engine.may_be(scope, child) for scope in spawned.get(child.key, ())):
                self.kept = True
            elif child.first_seq >= here:
                self._strand(child)
            else:
                earlier = True
        return earlier

    def _strand(self, recorded: RecordedScope) -> None:
        self.scopes.append(recorded.id)
        self.dropped += self._inside(recorded)
        self.index.drop_scope(recorded)

    def _inside(self, recorded: RecordedScope) -> list[RecordedStep]:
        found = list(recorded.steps)
        for child in self.index.below.get(recorded.id, ()):
            found += self._inside(child)
        return found

    def ends(self, strand: LiveScope) -> None:
        """Nothing recorded of `strand` counts from here on."""
        strand.cut = True
        if strand.recorded is not None:
            self.ended.append(strand.id)

    def done(self) -> Cut:
        """What was dropped, and the entry that says so."""
        engine, index = self.engine, self.index
        for step in self.dropped:
            engine.order.drop(step)
        known = set(map(id, index.abandoned))
        index.abandoned += [step for step in self.dropped if id(step) not in known]
        engine.changes += 1
        meta = {"drop": self.drop, "scopes": self.scopes, "upto": index.head, "ends": self.ended}
        return Cut(tuple(self.dropped), Draft("cut", max(self.scope.id, ROOT), 0, meta))


def reopen(index: Index, origins: Iterable[tuple[int, int]]) -> Draft | None:
    """The `retry` entry that reopens the steps an error came from; None if they are not failed steps.

    What was started while those errors were being handled becomes history.
    """
    steps = [(s, p) for s, p in origins if (step := index.step(s, p)) is not None and step.status == "failed"]
    if not steps:
        return None
    wanted = set(steps)
    history = [
        step.seq
        for step in index.all_steps()
        if step.unwinding == "e" and not step.history and any(tuple(ref) in wanted for ref in step.refs or ())
    ]
    return Draft("retry", ROOT, 0, {"steps": [list(place) for place in steps], "history": history})
