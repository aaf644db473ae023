"""Timers of the run's own code that have gone off, as the entries after them tell.

Timers have no entries of their own: an agent that only beats time would write nothing else. What is written next says in
`rung` which went off since the entry before, in their order: how long they took, in milliseconds, the sign of the strand
that had set them, and how many such in a row. So a replay knows which side of every call and outcome they were on.

One that was in the queue behind an outcome, and was cancelled by what that set off, is taken back by its number
(`silent`): each process counts its timers from 1. Timers inside an attempt are not told of: a replay makes none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from jupyter_durable.model import Entry

Timer = tuple[int, int]
"""What it is told by: how many milliseconds it took, and the sign of its strand."""

COUNTED: Mapping[str, Any] = {"rings": 1}
"""In the entry with which a process takes a run up: it tells of its timers."""
_LONGEST = 256  # runs of equal timers before one entry: beyond that only how many of which (`mixed`)


def counted(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What the meta of such an entry says of that."""
    return {name: meta[name] for name in COUNTED if name in meta}


def tell(timers: Iterable[Timer], silent: Iterable[int]) -> dict[str, Any]:
    """What an entry says of the timers before it.

    >>> tell([(20, 7), (20, 7), (5, 8)], [3])
    {'rung': [[20, 7, 2], [5, 8, 1]], 'silent': [3]}
    """
    rung = [(timer, sum(1 for _ in equal)) for timer, equal in groupby(timers)]
    mixed: dict[str, Any] = {}
    if len(rung) > _LONGEST:
        many: Counter[Timer] = Counter()
        for timer, n in rung:
            many[timer] += n
        rung, mixed = [*many.items()], {"mixed": 1}
    return {
        **({"rung": [[*timer, n] for timer, n in rung]} if rung else {}),
        **mixed,
        **({"silent": given} if (given := [*silent]) else {}),
    }


def together(meta: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """The meta of an entry that may tell of timers already, for it was not written then, and of `more`.

    >>> together({"s": "completed", "rung": [[20, 7, 1]]}, {"rung": [[5, 8, 1]]})
    {'s': 'completed', 'rung': [[20, 7, 1], [5, 8, 1]]}
    """
    lists = {name: [*meta[name], *more[name]] for name in ("rung", "silent") if name in meta and name in more}
    return {**meta, **more, **lists}


def _spread(rung: Iterable[tuple[Timer, int]]) -> list[Timer]:
    """So many of each, as evenly as they go off that only beat time."""
    placed = sorted(((k + 1) / n, at, timer) for at, (timer, n) in enumerate(rung) for k in range(n))
    return [timer for *_, timer in placed]


class Rung:
    """Folds what the entries of a journal say.

    >>> rung = Rung()
    >>> rung.fold(Entry(9, "start", 1, 0, 0.0, {"rung": [[20, 7, 2]]}, None, b""))
    >>> rung.timers()
    [(9, (20, 7)), (9, (20, 7))]
    """

    def __init__(self) -> None:
        self.counted = True
        """Whether every process told of its timers: none did before 0.2."""
        self._timers: list[tuple[int, Timer] | None] = []
        self._process = 0  # the first that it told of

    def take_up(self, entry: Entry) -> None:
        """Another process goes on with the run."""
        self._process = len(self._timers)
        self.counted = self.counted and "rings" in entry.meta

    def fold(self, entry: Entry) -> None:
        """What one entry says."""
        meta = entry.meta
        rung = [((ms, strand), n) for ms, strand, n in meta.get("rung", ())]
        timers = _spread(rung) if "mixed" in meta else (timer for timer, n in rung for _ in range(n))
        self._timers += [(entry.seq, timer) for timer in timers]
        for number in meta.get("silent", ()):
            if (at := self._process + number - 1) < len(self._timers):
                self._timers[at] = None

    def timers(self) -> list[tuple[int, Timer]]:
        """Those that went off, in order, and the entry that followed each."""
        return [timer for timer in self._timers if timer is not None]
