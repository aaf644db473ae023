"""Which recorded scope a strand is: found at its first call.

A key (parent, callable, arguments) that only one sibling has is decisive. Equal siblings are told apart
by spawn index, then by first call; one whose first call matches nothing is held until the others have
found their place.

In a fork that is not enough: a strand may have the key and the calls that were recorded, and yet come
after something that the edit took away, put in or waits for now. So a recorded strand is taken only where
its parent has come as far as when it was recorded: the same calls of its own made, and the same strands
of it ended. Which ones it took, and as which of equal siblings, a fork writes into its own journal
(`Engine.took`): whoever takes the fork up again goes by that, and guesses nothing.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, takewhile
from typing import Any, NamedTuple

from jupyter_durable.journal.decisions import Call, Diverged, Wait
from jupyter_durable.journal.index import MAIN, Index, RecordedScope, RecordedStep
from jupyter_durable.journal.order import Order

MOST = 16
"""Running strands that are recorded with one that is spawned beside them: the first to have begun."""


class Spawned(NamedTuple):
    """How far a fork's strand had come when it spawned another.

    `made` and `following` are positions: of its last recorded call that was made again, and of the one
    after it. `joined` is the highest number of its recorded strands that had ended by then; `open` are the first
    of those that had not, or had not even begun.
    """

    made: int
    following: float
    joined: int
    open: tuple[int, ...]

    def fits(self, at: Sequence[int]) -> bool:
        """Whether that (`RecordedScope.spawned_at`) is where the recorded parent was: the same calls made, the
        same strands ended."""
        if not self.made < at[0] <= self.following or self.joined >= max(at[1], 1):
            return False
        return [*takewhile(at[1].__gt__, self.open)] == [*at[2:]]


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
        # The numbers of the strands it spawned that have begun and not ended, in order.
        self.alive: dict[int, None] = _NOTHING
        self.spawned_at: tuple[int, ...] | None = None  # as in `RecordedScope`
        self.spawned: Spawned | None = None  # in a fork
        self.scopes = 0  # the number that the next new scope was to get when the last strand it spawned ended
        self.joined = 0  # the highest number of recorded strands that it spawned and that have ended
        self.passed = 0.0  # the last sequence number of those strands, in a fork
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

    def began(self, number: int) -> None:
        """A strand that it spawned has that number now."""
        alive = self.alive
        if alive and number < next(reversed(alive)):
            self.alive = dict.fromkeys(sorted((*alive, number)))
        else:
            alive[number] = None

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
        self.taken: list[
            tuple[int, int]
        ] = []  # recorded strands of a fork's parent, and which siblings they are now
        self._known = [seq for seq, _ in known], [number for _, number in known]
        self._due: dict[int, deque[RecordedScope]] = {}
        self._firsts: dict[int, tuple[int, ...]] = {}
        self._latest: dict[tuple[int, str], int] = {}  # how far the last strand of a group looks back
        self._mine: dict[tuple[int, str], set[int]] = {}  # which of a group this fork knows to be its own
        for place, group in index.children.items() if soft else ():
            self._latest[place] = max((r.spawned_at[1] for r in group if r.spawned_at), default=0)
            if mine := {r.n for r in group if r.sure > index.base_seq}:
                self._mine[place] = mine
        # What a fork has of its parent need not be what it does; when it has ended, it is all that it did.
        closed = index.closed
        ended = closed is not None and closed.seq > index.base_seq and closed.meta["s"] == "completed"
        self._unsure = 0 if ended or same or not soft else index.base_seq
        self._bind(self.main, index.scopes[MAIN])

    def spawn(self, parent: LiveScope, key: str) -> LiveScope:
        """A strand begins, child of `parent`."""
        if parent.counts is _NOTHING:
            parent.counts, parent.groups, parent.alive = {}, {}, {}
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
        return self._own(scope, [r for r in group if self.may_be(scope, r)] if self.soft else group)

    # -- how far a strand has come -----------------------------------------------------------------

    def _where(self, parent: LiveScope) -> tuple[int, ...]:
        pos = parent.steps[parent.cursor].pos if parent.replaying else parent.next_pos
        before = parent.scopes
        if not before or not parent.alive:
            return pos, before
        return (pos, before, *islice(takewhile(before.__gt__, parent.alive), MOST))

    def _joinable(self, scope: LiveScope, parent: LiveScope) -> None:
        """A strand of `parent` has ended: what `parent` does next may depend on it."""
        if scope.key[0] != "@":  # else `parent` has the outcome
            parent.scopes = self._number_now(parent)
            parent.alive.pop(scope.id, None)
            if scope.recorded is not None:
                parent.joined = max(parent.joined, scope.id)
        above = parent.recorded
        if (
            self.soft
            and scope.recorded is not None
            and above is not None
            and (parent.replaying or above.ended)
        ):
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
        unbegun: Iterable[int] = ()
        if self._latest.get((parent.id, scope.key)):
            unbegun = islice((r.id for r in self._left_out(parent)), MOST)
        return Spawned(
            steps[cursor - 1].pos if cursor else -1,
            steps[cursor].pos if cursor < len(steps) else math.inf,
            parent.joined,
            tuple(sorted((*unbegun, *islice(parent.alive, MOST))))[:MOST],
        )

    def _at_first(self, parent: RecordedScope) -> Spawned:
        """The same for what was spawned before its parent, or another strand of it, had made a call."""
        steps, below = parent.steps, self.index.below.get(parent.id, ())
        known = self._firsts.get(parent.id)
        if known is None:
            known = self._firsts[parent.id] = tuple(sorted(r.id for r in below if r.key[0] != "@"))[:MOST]
        return Spawned(-1, steps[0].pos if steps else math.inf, 0, known)

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
        if scope.parent is not None and scope.key[0] != "@":  # what is inside an attempt ends with it
            scope.parent.began(recorded.id)
            if self.soft and recorded.sure <= self.index.base_seq:
                self.taken.append((recorded.id, scope.index))
        scope.steps = recorded.steps
        scope.next_pos = recorded.next_pos
        recorded_children = self.index.children
        if recorded in recorded_children.get((recorded.parent, recorded.key), ()):
            recorded_children[recorded.parent, recorded.key].remove(recorded)

    def _number(self, scope: LiveScope) -> None:
        if scope.id < 0:
            scope.id = self._next_scope
            self._next_scope += 1
            if scope.parent is not None and scope.key[0] != "@":
                scope.parent.began(scope.id)

    def _fresh(self, scope: LiveScope) -> None:
        scope.state = "bound"
        scope.cut = scope.parent is not None and scope.parent.cut

    def _recorded(self, scope: LiveScope) -> list[RecordedScope]:
        """The recorded scopes not bound yet that `scope` could be."""
        parent = scope.parent
        if parent is None or parent.id < 0:
            return []
        found = self.index.children.get((parent.id, scope.key), [])
        if not self.soft or not found:
            return found
        # Forks of 0.1.0 did not write down what they had taken up; one that has ended had it all.
        return [r for r in found if self.may_be(scope, r)] or (found if not self._unsure else [])

    def _own(self, scope: LiveScope, group: Sequence[RecordedScope]) -> RecordedScope | None:
        """The one of these that was the same among its siblings as `scope` is; in a fork, that it knows to have been."""
        if not self.soft:
            return next((r for r in group if r.n == scope.index), None)
        return max((r for r in group if r.n == scope.index), key=lambda r: r.sure, default=None)

    def may_be(self, scope: LiveScope, recorded: RecordedScope) -> bool:
        """Whether a strand of a fork is that recorded one, as far as can be told."""
        if recorded.sure > self.index.base_seq:
            if recorded.n == scope.index:
                return True
            # What the fork made of it, or of another: unless its strands have no order, that is another.
            mine = self._mine.get((recorded.parent, recorded.key), ())
            return scope.index in mine and recorded.first_seq > scope.after
        return recorded.first_seq > scope.after and self._fits(scope, recorded)

    def _fits(self, scope: LiveScope, recorded: RecordedScope) -> bool:
        """Whether it was spawned where `scope` is now; what the run recorded itself may be a little off, in threads."""
        at = recorded.spawned_at
        return scope.spawned is None or at is None or scope.spawned.fits(at)

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
        own = candidates[0] if candidates and not self.soft else None
        if own is None or own.n != scope.index:
            own = self._own(scope, candidates)
        chosen = own if own is not None and self._begins_with(own, path, call) else None
        if chosen is None or self._open_to_others(chosen):
            others = {
                s.index for s in parent.groups.get(scope.key, ()) if s.state == "spawned" and s is not scope
            }
            fitting = self._fitting(scope, call, path, candidates, chosen)
            if fitting:
                # Where nothing is expected any more, nobody is waited for: then it is the one that its index says.
                otherwise = chosen if self.order.exhausted else None
                chosen = next((r for r in fitting if r.n not in others or final), otherwise)
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

    def _open_to_others(self, recorded: RecordedScope) -> bool:
        """Whether the call of a strand may yet be another's than that one's, of which no call is recorded.

        Where a library takes its workers from a set, it is by chance which of them goes on.
        """
        return not self.soft and self._first(recorded) is None

    def _fitting(
        self,
        scope: LiveScope,
        call: Call,
        path: list[str],
        candidates: Sequence[RecordedScope],
        own: RecordedScope | None,
    ) -> list[RecordedScope]:
        """The others that begin with this call; those of which none is recorded only if there are none with it."""
        found = [r for r in candidates if r is not own and self._begins_with(r, path, call)]
        if not self.soft:
            certain = [r for r in found if self._first(r) is not None]
            found = certain or (found if own is None else [])
        return [r for r in found if self._fits(scope, r)] or found

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
