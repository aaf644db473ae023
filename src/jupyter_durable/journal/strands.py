"""Which recorded scope a strand is: found at its first call.

A key (parent, callable, arguments) that only one sibling has is decisive. Equal siblings are told apart
by spawn index, then by first call; one whose first call matches nothing is held until the others have
found their place.

In a fork that is not enough: a strand may have the key and the calls that were recorded, and yet come
after something that the edit took away or put in. So a recorded strand is taken only where its parent
has come as far as when it was recorded: the same calls of its own made, and no other strand of it left
out that had made calls by then.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from jupyter_durable.journal.decisions import Call, Diverged, Wait
from jupyter_durable.journal.index import MAIN, Index, RecordedScope, RecordedStep
from jupyter_durable.journal.order import Order


class Spawned(NamedTuple):
    """How far a fork's strand had come when it spawned another.

    `made` and `following` are positions: of its last recorded call that was made again, and of the one
    after it. `joined` is the highest number of its recorded strands that had ended by then, `skipped` the
    lowest of those that had not begun, `running` are those that had not ended.
    """

    made: int
    following: float
    joined: int
    skipped: float
    running: tuple[RecordedScope, ...]

    def fits(self, pos: int, scopes: int) -> bool:
        """Whether that is where the recorded parent was (`RecordedScope.spawned_at`)."""
        return self.made < pos <= self.following and self.joined < max(scopes, 1) <= self.skipped


# Most strands spawn none, and many live as long as the run: these are replaced before anything is put into them.
_NONE: list[Any] = []
_NOTHING: dict[Any, Any] = {}


class LiveScope:
    """One strand of the run as it executes now.

    state: `spawned` (no call yet), `held`, `bound` (to a recorded scope, or known to be new), `ended`.
    `cut`: what is recorded of it no longer counts. `left`: nor does what is recorded of those around it.
    """

    __slots__ = (
        "after",
        "alive",
        "counts",
        "cursor",
        "cut",
        "declared",
        "groups",
        "id",
        "index",
        "joined",
        "key",
        "left",
        "next_pos",
        "parent",
        "passed",
        "recorded",
        "scopes",
        "spawned",
        "spawned_at",
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
        self.steps: list[RecordedStep] = _NONE
        self.cursor = 0
        self.next_pos = 0
        self.cut = False
        self.left = False
        self.counts: dict[str, int] = _NOTHING
        self.groups: dict[str, list[LiveScope]] = _NOTHING  # the strands it spawned that may be recorded ones
        self.alive: dict[int, RecordedScope] = _NOTHING  # those of a fork that have begun again and not ended
        self.spawned_at: tuple[int, int] | None = None  # as in `RecordedScope`
        self.spawned: Spawned | None = None  # in a fork
        self.scopes = 0  # the number that the next new scope was to get when the last strand it spawned ended
        self.joined = 0  # the highest number of recorded strands that it spawned and that have ended
        self.passed = 0.0  # the last sequence number of those strands
        self.after = 0  # the cut, by sequence number, that its parent had come to

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

    def pending(self, key: str | None = None) -> Iterator[LiveScope]:
        """The strands it spawned (with that key) that have yet to find their place."""
        groups = self.groups.values() if key is None else (self.groups.get(key, ()),)
        return (scope for group in groups for scope in group if scope.state in ("spawned", "held"))


class Strands:
    """The strands of one run, as they execute and as they were recorded.

    `same`: a fork's code is that of its parent, so a recorded strand is where it was, however the schedule differs.
    """

    def __init__(self, index: Index, *, soft: bool = False, same: bool = False) -> None:
        self.index = index
        self.soft = soft
        self.order = Order(index.events())
        self.main = LiveScope(None, "main", 0)
        self.bound: dict[int, LiveScope] = {}
        self.diverged: Diverged | None = None
        # Bumped whenever a held scope may find its place.
        self.changes = 0
        self._next_scope = max(index.scopes) + 1
        known = sorted((scope.first_seq, scope.id) for scope in index.scopes.values())
        self._known = [seq for seq, _ in known], [number for _, number in known]
        self._due: dict[int, deque[RecordedScope]] = {}
        # What a fork has of its parent need not be what it does; when it has ended, it is all that it did.
        closed = index.closed
        ended = closed is not None and closed.seq > index.base_seq and closed.meta["s"] == "completed"
        self._unsure = 0 if ended or same or not soft else index.base_seq
        self._bind(self.main, index.scopes[MAIN])

    def spawn(self, parent: LiveScope, key: str) -> LiveScope:
        """A strand begins, child of `parent`."""
        if parent.counts is _NOTHING:
            parent.counts, parent.groups = {}, {}
        index = parent.counts.get(key, 0)
        parent.counts[key] = index + 1
        scope = LiveScope(parent, key, index)
        scope.spawned_at = self._where(parent)
        if parent.cut:  # it may depend on what has just been done anew
            self._fresh(scope)
        elif self.index.children or not self.order.exhausted:
            parent.groups.setdefault(key, []).append(scope)
            if self.soft and parent.recorded is not None:
                scope.after = self._cuts_passed(parent, parent.recorded)
                scope.spawned = self._so_far(scope, parent)
        return scope

    def likely(self, scope: LiveScope) -> RecordedScope | None:
        """The recorded scope that `scope` is, or, before its first call, that its key and spawn index say."""
        if scope.state == "bound" or scope.parent is None:
            return scope.recorded
        above = self.likely(scope.parent)  # it may not have made a call either
        group = self.index.children.get((above.id, scope.key), ()) if above is not None else ()
        return next((r for r in group if r.n == scope.index and self.may_be(scope, r)), None)

    # -- how far a strand has come -----------------------------------------------------------------

    def _where(self, parent: LiveScope) -> tuple[int, int]:
        return parent.steps[parent.cursor].pos if parent.replaying else parent.next_pos, parent.scopes

    def _joinable(self, scope: LiveScope, parent: LiveScope) -> None:
        """A strand of `parent` has ended: what `parent` does next may depend on it."""
        parent.scopes = self._number_now(parent)
        if scope.recorded is not None:
            parent.joined = max(parent.joined, scope.id)
            parent.alive.pop(scope.id, None)
            if parent.recorded is not None and parent.recorded.ended:
                parent.passed = max(parent.passed, self._last(scope.recorded))

    def _number_now(self, parent: LiveScope) -> int:
        """The number that the next new scope gets; in the middle of a replay, the one that it got then."""
        if parent.left or self.order.exhausted:
            return self._next_scope
        seqs, numbers = self._known
        place = bisect_left(seqs, self.order.seq())
        return numbers[place] if place < len(numbers) else self._next_scope

    def _so_far(self, scope: LiveScope, parent: LiveScope) -> Spawned:
        cursor, steps = parent.cursor, parent.steps
        latest = max((r.spawned_at[1] for r in self._recorded(scope) if r.spawned_at), default=0)
        skipped = math.inf
        for recorded in self._left_out(parent):
            if recorded.id >= latest:
                break
            if not self._held(parent, recorded):
                skipped = recorded.id
                break
        return Spawned(
            steps[cursor - 1].pos if cursor else -1,
            steps[cursor].pos if cursor < len(steps) else math.inf,
            parent.joined,
            skipped,
            tuple(r for r in parent.alive.values() if r.id < latest),
        )

    def _at_first(self, parent: RecordedScope) -> Spawned:
        """The same for what was spawned before its parent, or another strand of it, had made a call."""
        steps, below = parent.steps, self.index.below.get(parent.id, ())
        first = min((r.id for r in below if r.key[0] != "@"), default=math.inf)
        return Spawned(-1, steps[0].pos if steps else math.inf, 0, first, ())

    def _left_out(self, parent: LiveScope) -> Iterator[RecordedScope]:
        """The recorded strands of a fork's `parent` that have not begun again, in the order in which they had."""
        if parent.recorded is None or parent.cut or (below := self.index.below.get(parent.id)) is None:
            return
        due = self._due.get(parent.id)
        if due is None:
            inherited = [r for r in below if r.first_seq <= self._unsure and r.key[0] != "@"]
            due = self._due[parent.id] = deque(sorted(inherited, key=lambda r: r.first_seq))
        while due and self._settled(due[0]):
            due.popleft()
        yield from (recorded for recorded in due if not self._settled(recorded))

    def _skipped(self, parent: LiveScope, seq: float = math.inf) -> RecordedScope | None:
        """The first recorded strand that a fork's `parent` must have left out to make a call recorded at `seq` now."""
        for recorded in self._left_out(parent):
            if recorded.first_seq >= seq:
                return None
            # One that is yet to begin may be late; but not one that had ended by then.
            if not self._pending(parent, recorded) or self._last(recorded) < seq:
                return recorded
        return None

    def _last(self, recorded: RecordedScope) -> float:
        """The sequence number of the last entry of a strand; infinite if it was cut off."""
        last: float = 0
        for step in recorded.steps:
            last = max(last, step.outcome.seq if step.outcome is not None else math.inf)
        return max([last, *map(self._last, self.index.below.get(recorded.id, ()))])

    def _settled(self, recorded: RecordedScope) -> bool:
        return recorded.dropped or recorded.id in self.bound or self._first(recorded) is None

    def _held(self, parent: LiveScope, recorded: RecordedScope) -> bool:
        """Whether a strand that has begun, and waits to find its place, may be this one."""
        return any(strand.state == "held" for strand in parent.pending(recorded.key))

    def _pending(self, parent: LiveScope, recorded: RecordedScope) -> bool:
        """Whether a strand that waits to find its place, or is yet to begin, may be this one."""
        group = parent.groups.get(recorded.key)
        if group is None:
            return False
        if recorded.n < len(group) and group[recorded.n].state in ("spawned", "held"):
            return True
        unbound = self.index.children.get((parent.id, recorded.key), ())
        return len(unbound) <= sum(1 for _ in parent.pending(recorded.key))

    def _cuts_passed(self, parent: LiveScope, recorded: RecordedScope) -> int:
        """The last cut of that strand that it has come past."""
        if not recorded.ended:
            return 0
        made = parent.steps[parent.cursor - 1].seq if parent.cursor else 0
        now = math.inf if self.order.exhausted else max(self.order.seq(), made, parent.passed)
        return max((seq for seq in recorded.ended if seq < now), default=0)

    # -- binding ---------------------------------------------------------------------------------

    def _bind(self, scope: LiveScope, recorded: RecordedScope) -> None:
        scope.state = "bound"
        scope.id = recorded.id
        scope.declared = True
        scope.recorded = recorded
        self.bound[recorded.id] = scope
        if scope.parent is not None and recorded.first_seq <= self._unsure:
            if scope.parent.alive is _NOTHING:
                scope.parent.alive = {}
            scope.parent.alive[recorded.id] = recorded
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
        found = self.index.children.get((parent.id, scope.key), [])
        return [r for r in found if self.may_be(scope, r)] if self.soft and found else found

    def may_be(self, scope: LiveScope, recorded: RecordedScope) -> bool:
        """Whether a strand of a fork is where that recorded one was spawned, as far as can be told."""
        if recorded.first_seq <= scope.after:
            return False
        return recorded.first_seq > self._unsure or self._fits(scope, recorded)

    def _fits(self, scope: LiveScope, recorded: RecordedScope) -> bool:
        """Whether it was spawned where `scope` is now; what the run recorded itself may be a little off, in threads."""
        now, then = scope.spawned, recorded.spawned_at
        if now is None or then is None:
            return True
        # One that was over by then may have been joined: it must be over now.
        joined = (r for r in now.running if r.id < then[1] and self._last(r) < recorded.first_seq)
        return now.fits(*then) and not any(joined)

    def _first(self, recorded: RecordedScope) -> RecordedStep | None:
        """The step a recorded scope begins with, in itself or in the strands it spawned."""
        if recorded.steps:
            return recorded.steps[0]
        inner = [child for child in self.index.below.get(recorded.id, ()) if child.id not in self.bound]
        firsts = [step for step in map(self._first, inner) if step is not None]
        return min(firsts, key=lambda step: step.seq) if firsts else None

    def _begins_with(self, recorded: RecordedScope, path: list[str], call: Call) -> bool:
        if not path and recorded.steps:
            return call.is_recorded_as(recorded.steps[0])
        if self._first(recorded) is None:
            return True  # cut off before its first call
        inner = self.index.children.get((recorded.id, path[0]), ()) if path else ()
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
        if self.soft and scope.spawned is None and parent.recorded is not None:
            scope.spawned = self._at_first(parent.recorded)
        candidates = self._recorded(scope)
        if not candidates and (self.order.exhausted or self._soft(scope)):
            self._fresh(scope)
            return None
        own = next((r for r in candidates if r.n == scope.index), None)
        chosen = own if own is not None and self._begins_with(own, path, call) else None
        if chosen is not None and len(candidates) > 1 and not self._fits(scope, chosen):
            chosen = None
        if chosen is None and (fitting := [r for r in candidates if self._begins_with(r, path, call)]):
            fitting = [r for r in fitting if self._fits(scope, r)] or fitting
            others = {
                s.index for s in parent.groups.get(scope.key, ()) if s.state == "spawned" and s is not scope
            }
            chosen = next((r for r in fitting if r.n not in others or final), None)
        if chosen is not None:
            self._bind(scope, chosen)
            self.changes += 1
            return None
        if scope.state != "held":
            scope.state = "held"
            self.changes += 1
        if not final and not self.order.exhausted and self._may_yet_fit(scope, parent):
            return Wait("siblings")
        left = candidates or self._unbound(parent)
        if left and not self._soft(scope):
            return self._diverge(self._first(own or left[0]), call, scope)
        self._fresh(scope)
        return None

    def _may_yet_fit(self, scope: LiveScope, parent: LiveScope) -> bool:
        # A fork need not wait for siblings that are not there: it may be new.
        return not self.soft or any(other is not scope for other in parent.pending(scope.key))

    def _unbound(self, parent: LiveScope) -> list[RecordedScope]:
        """Recorded strands of `parent` that no live one has turned out to be, attempts aside."""
        return [
            scope
            for scope in self.index.below.get(parent.id, ())
            if scope.id not in self.bound and not scope.dropped
            if not scope.key.startswith("@") and self._first(scope) is not None
        ]

    # -- what is not strict -------------------------------------------------------------------------

    def _soft(self, scope: LiveScope | None) -> bool:
        """Whether another call than the recorded one may be made there: in a fork, or after a step reopened."""
        if self.soft:
            return True
        while scope is not None:
            if scope.cut or (scope.recorded is not None and scope.recorded.soft):
                return True
            scope = scope.parent
        return False

    def _diverge(self, recorded: RecordedStep | None, call: Call | None, scope: LiveScope) -> Diverged:
        self.diverged = Diverged(recorded, call, scope.id)
        return self.diverged
