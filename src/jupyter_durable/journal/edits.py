"""Leaving a recorded path on purpose: what `--rerun-from` and `fork --at` cut off."""

from __future__ import annotations

from jupyter_durable.journal.index import ROOT, Index
from jupyter_durable.model import Draft


def cut_at(index: Index, scope: int, pos: int) -> Draft:
    """The entry that drops a step, what its scope did after it, and what the scopes around it did after that.

    Strands that were spawned before it keep what they did: they do not depend on it.
    """
    step = index.step(scope, pos)
    if step is None:
        raise KeyError((scope, pos))
    drop = [[scope, step.seq]]
    around = [scope]
    above = index.scopes[scope].parent
    while above != ROOT:
        drop.append([above, step.seq])
        around.append(above)
        above = index.scopes[above].parent
    path = set(around)
    scopes = [
        child.id
        for child in index.scopes.values()
        if child.parent in path and child.id not in path and child.first_seq > step.seq and not child.dropped
    ]
    # A step around this one, whose attempt it was made in, is made again too.
    for place in around:
        recorded = index.scopes[place]
        if recorded.key.startswith("@"):
            outer = index.step(recorded.parent, int(recorded.key[1:].split(".")[0]))
            if outer is not None:
                drop[around.index(recorded.parent)][1] = min(
                    drop[around.index(recorded.parent)][1], outer.seq
                )
    return Draft("cut", scope, 0, {"drop": drop, "scopes": scopes, "upto": index.head})
