"""What the journal says about the next call: the only place that chooses.

    decide(scope, call) ─┬─ Replay     the journal has its outcome; deliver it in its turn
                         ├─ Execute    make the call (new, cut off, or reopened)
                         ├─ Wait       not yet: which recorded scope this is depends on its siblings,
                         │             or a person must say whether an unsafe step happened
                         └─ Diverged   not the call the journal recorded here

Pure: no I/O, no clock, no threads. The runtime calls it under one lock, performs what it decided,
and tells it what became of scopes (`spawn`, `end`) and live steps (`started`).

**Scopes are bound to recorded ones at their first call.** A key (parent, callable, arguments) that
only one sibling has is decisive. Equal siblings are told apart by spawn index, then by first call;
one whose first call matches nothing is held until the others have found their place.

**Within a scope the next unconsumed step must match** in kind, name and arguments digest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from jupyter_durable.journal.index import MAIN, ROOT, Index, RecordedScope, RecordedStep
from jupyter_durable.journal.order import Order
from jupyter_durable.model import Draft, Effect, StepKind


@dataclass(slots=True)
class Call:
    """A call as it was made, before any await. `digest` is the hex digest of its arguments.

    `unwinding` says that the caller is inside an exception handler: "c" of a cancellation, "e" of
    an error that came from the steps `refs`.
    """

    kind: StepKind
    name: str
    digest: str
    effect: Effect = "retryable"
    unwinding: str = ""
    refs: tuple[tuple[int, int], ...] = ()


# Named tuples, because a frozen dataclass takes three times as long to make, and every call makes one.


class Replay(NamedTuple):
    """Answer with the step's recorded outcome."""

    step: RecordedStep


class Execute(NamedTuple):
    """Make the call, as attempt `attempt` of the step at `pos`.

    `first` drafts (a fork's cut) go before its start, and are due even if it is never made.
    `abandoned` are the recorded steps that a cut has just dropped. `step` is the recorded step
    when one was cut off or reopened.
    """

    scope: int
    pos: int
    attempt: int
    failures: int
    first: tuple[Draft, ...] = ()
    step: RecordedStep | None = None
    abandoned: tuple[RecordedStep, ...] = ()


class Adopt(NamedTuple):
    """Answer a pure call from `step`, which a cut abandoned, and record it as a new step at `pos`."""

    step: RecordedStep
    scope: int
    pos: int
    first: tuple[Draft, ...] = ()


class Wait(NamedTuple):
    """Not yet. `siblings`: until equal siblings have found their place; `person`: `step` is in doubt."""

    reason: Literal["siblings", "person"]
    step: RecordedStep | None = None


class Diverged(NamedTuple):
    """The code and the journal disagree: `recorded` (None: nothing) against `call` (None: nothing)."""

    recorded: RecordedStep | None
    call: Call | None
    scope: int


Decision = Replay | Execute | Adopt | Wait | Diverged


class LiveScope:
    """One strand of the run as it executes now.

    state: `spawned` (no call yet), `held`, `bound` (to a recorded scope, or known to be new), `ended`.
    """

    __slots__ = (
        "counts",
        "cursor",
        "cut",
        "declared",
        "id",
        "index",
        "key",
        "next_pos",
        "parent",
        "recorded",
        "state",
        "steps",
    )

    def __init__(self, parent: LiveScope | None, key: str, index: int) -> None:
        self.parent = parent
        self.key = key
        self.index = index
        self.state = "spawned"
        self.id = -1  # unknown until bound
        self.declared = False  # in the journal, with the first entry
        self.recorded: RecordedScope | None = None
        self.steps: list[RecordedStep] = []
        self.cursor = 0
        self.next_pos = 0
        self.cut = False
        self.counts: dict[str, int] = {}

    def at(self) -> tuple[int, int] | None:
        """The scope and position of the step expected next here, if it is known."""
        if self.cursor < len(self.steps):
            step = self.steps[self.cursor]
            return step.scope, step.pos
        return None

    @property
    def replaying(self) -> bool:
        """Whether recorded steps are left in this scope."""
        return self.cursor < len(self.steps)


class Engine:
    """The decisions of one run. `soft` runs (forks) cut where an unedited run would diverge.

    >>> engine = Engine(Index())
    >>> engine.decide(engine.main, Call("tool", "search", "d1"))
    Execute(scope=1, pos=0, attempt=1, failures=0, first=(), step=None, abandoned=())
    """

    def __init__(self, index: Index, *, soft: bool = False) -> None:
        self.index = index
        self.soft = soft
        self.order = Order(index.events())
        self.main = LiveScope(None, "main", 0)
        self.bound: dict[int, LiveScope] = {}
        self._bind(self.main, index.scopes[MAIN])
        self._groups: dict[tuple[int, str], list[LiveScope]] = {}
        self._next_scope = max(index.scopes) + 1
        self._pure: dict[tuple[str, str, str], RecordedStep] | None = None
        self.diverged: Diverged | None = None
        self._left = False
        # Bumped whenever a held scope may find its place.
        self.changes = 0

    # -- scopes ----------------------------------------------------------------------------------

    def spawn(self, parent: LiveScope, key: str) -> LiveScope:
        """A strand begins, child of `parent`."""
        index = parent.counts.get(key, 0)
        parent.counts[key] = index + 1
        scope = LiveScope(parent, key, index)
        if parent.cut:  # it may depend on what has just been done anew
            self._fresh(scope)
        elif self.index.children or not self.order.exhausted:
            self._groups.setdefault((id(parent), key), []).append(scope)
        return scope

    def attempt(self, scope: LiveScope, decision: Execute) -> LiveScope:
        """The scope inside an attempt: its recorded children, if it was cut off, go on with it."""
        inner = LiveScope(scope, f"@{decision.pos}.{decision.failures}", 0)
        recorded = self.index.children.get((decision.scope, inner.key))
        if recorded and not scope.cut:
            self._bind(inner, recorded[0])
        else:
            self._fresh(inner)
        return inner

    def end(self, scope: LiveScope, *, clean: bool) -> Diverged | None:
        """A strand is over. `clean`: it was neither cancelled nor ended by an error."""
        if self._left:
            return None
        state, scope.state = scope.state, "ended"
        self.changes += 1
        if not clean or state != "bound" or not scope.replaying or scope.cut:
            return None
        if not self._soft(scope):
            return self._diverge(scope.steps[scope.cursor], None, scope)
        for step in scope.steps[scope.cursor :]:
            self.order.drop(step)
        return None

    def leave(self) -> None:
        """The run's own code has come to its end; what still goes on are strands that nobody waited for."""
        self._left = True

    def finish(self) -> Diverged | None:
        """The run's code has come to its end: everything recorded must have come to pass again."""
        if self.diverged is not None:
            return self.diverged
        self._left = False
        found = self.end(self.main, clean=True)
        if found is not None or self.soft:
            return found
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
            elif any(s.state in ("spawned", "held") for s in self._groups.get((id(above), scope.key), ())):
                return True
            scope = self.index.scopes[scope.parent]
        return False

    def _soft(self, scope: LiveScope | None) -> bool:
        if self.soft:
            return True
        while scope is not None:
            if scope.cut or (scope.recorded is not None and scope.recorded.soft):
                return True
            scope = scope.parent
        return False

    def _soft_recorded(self, scope: RecordedScope) -> bool:
        while True:
            if scope.soft:
                return True
            if scope.parent == ROOT:
                return False
            scope = self.index.scopes[scope.parent]

    def likely(self, scope: LiveScope) -> RecordedScope | None:
        """The recorded scope that `scope` is, or, before its first call, that its key and spawn index say."""
        if scope.state == "bound" or scope.parent is None:
            return scope.recorded
        above = self.likely(scope.parent)  # it may not have made a call either
        group = self.index.children.get((above.id, scope.key), ()) if above is not None else ()
        return next((r for r in group if r.n == scope.index), None)

    # -- binding ---------------------------------------------------------------------------------

    def _bind(self, scope: LiveScope, recorded: RecordedScope) -> None:
        scope.state = "bound"
        scope.id = recorded.id
        scope.declared = True
        scope.recorded = recorded
        self.bound[recorded.id] = scope
        scope.steps = recorded.steps
        scope.next_pos = recorded.next_pos
        recorded_children = self.index.children
        if recorded in recorded_children.get((recorded.parent, recorded.key), ()):
            recorded_children[recorded.parent, recorded.key].remove(recorded)

    def _fresh(self, scope: LiveScope) -> None:
        scope.state = "bound"
        scope.cut = scope.parent is not None and scope.parent.cut

    def _recorded(self, scope: LiveScope) -> list[RecordedScope]:
        """The recorded scopes not bound yet that `scope` could be."""
        parent = scope.parent
        if parent is None or parent.id < 0:
            return []
        return self.index.children.get((parent.id, scope.key), [])

    def _first(self, recorded: RecordedScope) -> RecordedStep | None:
        """The step a recorded scope begins with, in itself or in the strands it spawned."""
        if recorded.steps:
            return recorded.steps[0]
        inner = [c for group in self.index.children.values() for c in group if c.parent == recorded.id]
        firsts = [step for step in map(self._first, inner) if step is not None]
        return min(firsts, key=lambda step: step.seq) if firsts else None

    def _begins_with(self, recorded: RecordedScope, path: list[str], call: Call) -> bool:
        if not path and recorded.steps:
            return _matches(recorded.steps[0], call)
        if self._first(recorded) is None:
            return True  # cut off before its first call
        inner = self.index.children.get((recorded.id, path[0]), ())
        return any(self._begins_with(child, path[1:], call) for child in inner)

    def _place(self, scope: LiveScope, call: Call, path: list[str], *, final: bool) -> Wait | Diverged | None:
        """Find the recorded scope that `scope` is, or learn that it is new; None when bound."""
        parent = scope.parent
        assert parent is not None
        if parent.state in ("spawned", "held"):
            found = self._place(parent, call, [scope.key, *path], final=final)
            if found is not None:
                return found
        if scope.state == "bound":
            return None
        candidates = self._recorded(scope)
        if not candidates and (self.order.exhausted or self._soft(scope)):
            self._fresh(scope)
            return None
        own = next((r for r in candidates if r.n == scope.index), None)
        chosen = own if own is not None and self._begins_with(own, path, call) else None
        if chosen is None and (fitting := [r for r in candidates if self._begins_with(r, path, call)]):
            siblings = self._groups.get((id(parent), scope.key), ())
            pending = {s.index for s in siblings if s.state == "spawned" and s is not scope}
            chosen = next((r for r in fitting if r.n not in pending or final), None)
        if chosen is not None:
            self._bind(scope, chosen)
            self.changes += 1
            return None
        if scope.state != "held":
            scope.state = "held"
            self.changes += 1
        if not final and not self.order.exhausted:
            return Wait("siblings")
        left = candidates or self._unbound(parent)
        if left and not self._soft(scope):
            return self._diverge(self._first(own or left[0]), call, scope)
        self._fresh(scope)
        return None

    def _unbound(self, parent: LiveScope) -> list[RecordedScope]:
        """Recorded strands of `parent` that no live one has turned out to be, attempts aside."""
        return [
            scope
            for (above, key), group in self.index.children.items()
            if above == parent.id and not key.startswith("@")
            for scope in group
            if self._first(scope) is not None
        ]

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
        if call.effect == "unsafe" and not step.reopened and not decided:
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

    def _number(self, scope: LiveScope) -> None:
        if scope.id < 0:
            scope.id = self._next_scope
            self._next_scope += 1

    def declare(self, scope: LiveScope) -> tuple[Draft, ...]:
        """The entries that tell of a new scope, and of new ones around it; to be written with its first own."""
        if scope.declared or scope.parent is None:
            return ()
        above = self.declare(scope.parent)
        self._number(scope)
        scope.declared = True
        return (*above, Draft("scope", scope.id, 0, {"p": scope.parent.id, "k": scope.key, "i": scope.index}))

    def _known_pure(self, call: Call) -> RecordedStep | None:
        if self._pure is None:
            self._pure = {}
            for step in self.index.abandoned:
                if step.effect == "pure" and step.status == "completed":
                    self._pure.setdefault((step.kind, step.name, step.digest), step)
        return self._pure.get((call.kind, call.name, call.digest))

    # -- leaving the recorded path ---------------------------------------------------------------

    def go_live(
        self, scope: LiveScope, call: Call
    ) -> Diverged | tuple[tuple[RecordedStep, ...], tuple[Draft, ...]]:
        """A call that the journal does not know is about to be made in `scope`, in its turn.

        What ancestors still have recorded came after it, and may depend on it: a fork drops that (and
        says what it dropped), an unedited run has diverged.
        """
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

    def cut(self, scope: LiveScope, *, since: int | None = None) -> tuple[tuple[RecordedStep, ...], Draft]:
        """End the scope's replay here (or at sequence number `since`), and its ancestors' from here on.

        Siblings that have already been spawned go on replaying. Returns what was dropped, and the entry.
        """
        here = scope.steps[scope.cursor].seq if since is None else since
        drop: list[list[int]] = []
        scopes: list[int] = []
        dropped: list[RecordedStep] = []
        strand: LiveScope | None = scope
        while strand is not None:
            rest = [step for step in strand.steps[strand.cursor :] if step.seq >= here]
            if rest:
                drop.append([strand.id, rest[0].seq])
                strand.steps = [step for step in strand.steps if step.seq < rest[0].seq]
                if strand.recorded is not None:
                    strand.recorded.steps = strand.steps
                dropped += rest
            if not strand.replaying:
                strand.cut = True
            spawned = {s.key for s in self._waiting_children(strand)}
            for (parent, key), group in list(self.index.children.items()):
                if parent == strand.id and key not in spawned and not key.startswith("@"):
                    for child in list(group):
                        if strand is scope or child.first_seq >= here:
                            scopes.append(child.id)
                            dropped += self._all_inside(child)
                            self.index.drop_scope(child)
            strand = strand.parent
        for step in dropped:
            self.order.drop(step)
        known = set(map(id, self.index.abandoned))
        self.index.abandoned += [step for step in dropped if id(step) not in known]
        self._pure = None
        self.changes += 1
        return tuple(dropped), Draft(
            "cut", scope.id, 0, {"drop": drop, "scopes": scopes, "upto": self.index.head}
        )

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

    def _waiting_children(self, scope: LiveScope) -> Iterable[LiveScope]:
        for (parent, _), group in self._groups.items():
            if parent == id(scope):
                yield from (s for s in group if s.state in ("spawned", "held"))

    def _all_inside(self, recorded: RecordedScope) -> list[RecordedStep]:
        found = list(recorded.steps)
        for group in self.index.children.values():
            for child in group:
                if child.parent == recorded.id:
                    found += self._all_inside(child)
        return found

    def _diverge(self, recorded: RecordedStep | None, call: Call | None, scope: LiveScope) -> Diverged:
        self.diverged = Diverged(recorded, call, scope.id)
        return self.diverged


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


def _matches(step: RecordedStep, call: Call) -> bool:
    return step.digest == call.digest and step.name == call.name and step.kind == call.kind
