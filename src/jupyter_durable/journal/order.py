"""The order in which a replay goes through a journal.

A replayed outcome may be delivered when everything the journal recorded before it has come to pass
again: earlier calls made, earlier outcomes delivered, earlier cancellations arrived. So races,
`as_completed` and `wait(FIRST_COMPLETED)` go the same way again, whatever the schedule is now. Live
calls come after the whole journal: that is when they happened, or would have.

What is expected but does not come (the code was edited, or its own timing changed) must not hold up
the rest for ever: the runtime then calls `overdue`, and the expected scope no longer holds anybody.
"""

from __future__ import annotations

from jupyter_durable.journal.index import RecordedStep
from jupyter_durable.model import Entry

_PASSED, _OVERDUE = 1, 2


class Order:
    """A cursor over `Index.events`. Pure bookkeeping; not thread-safe by itself."""

    __slots__ = ("_done", "_taken_up", "at", "events", "size")

    def __init__(self, events: list[tuple[RecordedStep, Entry | None]]) -> None:
        self.events = events
        self.size = len(events)
        self._done = bytearray(self.size)
        self._taken_up: dict[int, float] = {}
        self.at = 0

    @property
    def exhausted(self) -> bool:
        """Whether nothing recorded is expected any more."""
        return self.at >= self.size

    def expected(self) -> tuple[RecordedStep, Entry | None] | None:
        """The earliest recorded event that has not come to pass."""
        return self.events[self.at] if self.at < self.size else None

    def seq(self, place: int | None = None) -> int:
        """The sequence number of the event at `place` (None: the expected one; not when the order is exhausted)."""
        step, entry = self.events[self.at if place is None else place]
        return step.seq if entry is None else entry.seq

    def when(self, place: int) -> float:
        """When the event at `place` was recorded."""
        return _when(self.events[place])

    def is_chunk(self, place: int) -> bool:
        """Whether the event at `place` is the delivery of a part of a stream."""
        entry = self.events[place][1]
        return entry is not None and entry.type == "chunk"

    def is_dated(self, place: int) -> bool:
        """Whether the event at `place` was recorded when it came: chunks, and what was left or cancelled, are with what comes next."""
        entry = self.events[place][1]
        if entry is None:
            return True
        meta = entry.meta
        return entry.type == "outcome" and meta["s"] != "cancelled" and not meta.get("closed")

    def taken_up(self, seq: int) -> float:
        """When the process that took the run up with the entry `seq` did so: that of the first thing it recorded."""
        at = self._taken_up.get(seq)
        if at is None:
            times = [_when(event) for place, event in enumerate(self.events) if self.seq(place) > seq]
            times += [step.began_at for step, _ in self.events if step.began_seq > seq]
            at = self._taken_up[seq] = min(times)
        return at

    def last_before(self, seq: int) -> float | None:
        """When the last event before the entry `seq` was recorded; None if there was none."""
        times = [self.when(place) for place in range(self.size) if self.seq(place) < seq]
        return max(times, default=None)

    def consume(self, place: int) -> None:
        """The event at `place` has come to pass (again)."""
        if place < 0:
            return
        done = self._done
        done[place] = _PASSED
        at = self.at
        if place == at:
            size = self.size
            at += 1
            while at < size and done[at]:
                at += 1
            self.at = at

    def came(self, place: int) -> bool:
        """Whether the event at `place` has come to pass again."""
        return self._done[place] == _PASSED

    def elapsed(self) -> float:
        """Seconds from the first recorded event to the expected one."""
        return max(0.0, _when(self.events[self.at]) - _when(self.events[0])) if self.at < self.size else 0.0

    def drop(self, step: RecordedStep) -> None:
        """The step will not be replayed: nobody waits for its call or its outcome."""
        for place in (step.start_at, *step.chunks_at, step.outcome_at):
            self.consume(place)

    def overdue(self, scope: int) -> None:
        """Nobody waits for this scope's events any more; they still count when they come."""
        for place in range(self.at, self.size):
            if self.events[place][0].scope == scope and not self._done[place]:
                self._done[place] = _OVERDUE
        while self.at < self.size and self._done[self.at]:
            self.at += 1

    def missing(self) -> list[RecordedStep]:
        """The steps whose calls were recorded and have not been made, in journal order."""
        done = self._done
        return [
            step
            for place, (step, outcome) in enumerate(self.events)
            if outcome is None and done[place] != _PASSED
        ]

    def gap(self) -> float:
        """Seconds that passed, when recorded, between the expected event and the one before it."""
        if not 0 < self.at < self.size:
            return 0.0
        return max(0.0, _when(self.events[self.at]) - _when(self.events[self.at - 1]))


def _when(event: tuple[RecordedStep, Entry | None]) -> float:
    step, entry = event
    return step.opened_at if entry is None else entry.at
