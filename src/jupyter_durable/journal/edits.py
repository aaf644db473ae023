"""Leaving a recorded path on purpose: what `--rerun-from` and `fork --at` cut off."""

from __future__ import annotations

from jupyter_durable.journal.index import ROOT, Index, RecordedScope, RecordedStep
from jupyter_durable.model import Draft


def cut_at(index: Index, scope: int, pos: int, *, keep: bool = False) -> Draft:
    """The entry that drops a step, what its scope did after it, and what the scopes around it did after that.

    Strands that were spawned before it keep what they did: they do not depend on it. A step around this one, in
    whose attempt it was made, is open again, with what it had done in that attempt up to here. `keep`: the step
    itself stays, open, to be given another result or other arguments. Raises `KeyError`.
    """
    step = index.step(scope, pos)
    if step is None:
        raise KeyError((scope, pos))
    drop = [[scope, step.seq + keep]]
    opened = [[scope, pos, 0]] if keep else []
    around = [scope]
    while (above := index.scopes[around[-1]].parent) != ROOT:
        since = step.seq
        outer = outer_step(index, around[-1])
        if outer is not None:
            if any(outer is left for left in index.scopes[above].steps):
                opened.append([above, outer.pos, int(index.scopes[around[-1]].key.split(".")[1])])
            else:  # it does not count any more: what came after it does not, either
                since = min(since, outer.seq)
        drop.append([above, since])
        around.append(above)
    scopes = [
        child.id
        for n, number in enumerate(around)
        for child in index.below.get(number, ())
        if child.id not in around and not child.dropped and child.first_seq > step.seq
        if _depends(index, child, step.seq, around[n - 1] if n else None)
    ]
    return Draft("cut", scope, 0, {"drop": drop, "scopes": scopes, "upto": index.head, "open": opened})


def _depends(index: Index, strand: RecordedScope, since: int, beside: int | None) -> bool:
    """Whether a strand that made its first call after `since` may depend on what is dropped from there on.

    Not if it had been spawned by then: before any call of its parent that is dropped, and before the strand `beside`
    (None: there is none) could have been joined, which has that place in it.
    """
    at = strand.spawned_at
    if strand.key[0] in "@~" or at is None:
        return True
    pos, scopes, *running = at
    made = any(step.seq >= since and step.pos < pos for step in index.scopes[strand.parent].steps)
    return made or (beside is not None and beside < scopes and beside not in running)


def outer_step(index: Index, scope: int) -> RecordedStep | None:
    """The step whose attempt a scope is the inside of, if it is that."""
    recorded = index.scopes[scope]
    if not recorded.key.startswith("@"):
        return None
    return index.step(recorded.parent, int(recorded.key[1:].split(".")[0]))


def outermost(index: Index, scope: int, pos: int) -> tuple[int, int]:
    """The place of the step that a replay comes to when it comes to that one: itself, or the outermost around it.

    A replay answers a step from its outcome, and does not go through what was done inside it.
    """
    found = scope, pos
    while scope != ROOT:
        outer = outer_step(index, scope)
        if outer is not None:
            found = outer.scope, outer.pos
        scope = index.scopes[scope].parent
    return found


def is_left(index: Index, step: RecordedStep) -> bool:
    """Whether an abandoned step may be made again: not one whose result was given."""
    now = index.step(step.scope, step.pos)
    return now is step or now is None or now.outcome is None
