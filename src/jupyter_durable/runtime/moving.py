"""Threads of a run that go on: until they have come to rest, what they read may be what was there before the next outcome.

A router of LangGraph's, a callback, `asyncio.to_thread(render, state)`: code in a thread that makes no call of its own, and
reads what other strands have written. Whether it does so before or after the next outcome is delivered would be the
scheduler's whim. So the next outcome waits, live as on replay, until the threads that were started have ended, or
wait for something. That is seen from outside: a thread that has not moved for a while waits. One that goes on for
long is not waited for.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from time import monotonic  # and no other clock: threads take real time
from types import FrameType

BLOCKED = 0.002
"""Seconds after which a thread that has not moved waits for something, if it was also looked at `LOOKS` times."""
LOOKS = 4
"""Between two looks whoever looks sleeps: a thread that only waits for the interpreter gets it then."""
PATIENCE = 0.05
"""Seconds after which a thread that still goes on is not waited for any more: of its own, if they can be told."""
LONGEST = 1.0
"""Seconds for which a thread is waited for at most that gets no processor."""


class Moving:
    """A thread that was let go on: where it was seen last, and since when it has been there."""

    __slots__ = ("_looks", "_ran", "_used", "place", "seen", "since", "thread")

    def __init__(self, thread: int) -> None:
        self.thread = thread
        self.place: tuple[int, int] | None = None
        self.seen = self.since = monotonic()
        self._looks = 0
        self._ran = b""
        self._used: float | None = None

    def rests(self, frame: FrameType | None, now: float) -> bool:
        """Whether it waits, as its frame says (None: it has ended), or has gone on for long. `now`: as `time.monotonic`."""
        if frame is None:
            return True
        place, ran = (id(frame), frame.f_lasti), _ran(self.thread)
        # One that waits for the interpreter stands still, too, but it runs whenever somebody lets go of it.
        if place != self.place or ran != self._ran:
            self.place, self._ran, self.seen, self._looks = place, ran, now, 0
        self._looks += 1
        waits = self._looks >= LOOKS and now - self.seen >= BLOCKED
        if not waits and now - self.since <= PATIENCE:
            return False
        told = _told(self.thread)
        if told is None or not told[0]:
            return True
        # It would go on if it could: this machine has more to do than processors.
        self._used = told[1] if self._used is None else self._used
        return told[1] - self._used > PATIENCE or now - self.since > LONGEST


def _ran(thread: int) -> bytes:
    """How much of a processor the thread has had, to compare; empty: not told here."""
    native = getattr(threading._active.get(thread), "native_id", None)  # type: ignore[attr-defined]
    try:
        with open(f"/proc/self/task/{native}/schedstat", "rb") as file:  # noqa: PTH123 - often
            return file.read().partition(b" ")[0]
    except OSError:
        return b""


def _told(thread: int) -> tuple[bool, float] | None:
    """Whether the thread runs, or waits for a processor, and the seconds of one that it has used; None: not told here."""
    native = getattr(threading._active.get(thread), "native_id", None)  # type: ignore[attr-defined]
    try:
        with open(f"/proc/self/task/{native}/stat", "rb") as file:  # noqa: PTH123 - often
            said = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return said[0] == b"R", (int(said[11]) + int(said[12])) / _TICKS


_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


class Threads:
    """Those of one run that move. Not thread-safe by itself."""

    __slots__ = ("_moving", "_unborn", "_until")

    def __init__(self) -> None:
        self._moving: dict[int, Moving] = {}
        self._unborn = 0
        self._until = 0.0

    def __bool__(self) -> bool:
        return bool(self._moving) or self._expects()

    def _expects(self) -> bool:
        return self._unborn > 0 and monotonic() <= self._until

    def spawned(self) -> None:
        """One is about to begin, or to be heard of."""
        self._unborn += 1
        self._until = monotonic() + LONGEST

    def born(self) -> None:
        """One that was about to has begun, or never will."""
        self._unborn -= 1

    def goes_on(self, thread: int) -> None:
        """It was let go on."""
        self._moving[thread] = Moving(thread)

    def stops(self, thread: int) -> None:
        """It waits, or has ended."""
        self._moving.pop(thread, None)

    def others(self, thread: int) -> bool:
        """Whether any but this one moves."""
        return len(self._moving) > (thread in self._moving) or self._expects()

    def look(self, found: Mapping[int, FrameType]) -> None:
        """Forget those that have come to rest, by their frames."""
        now = monotonic()
        for thread, moving in list(self._moving.items()):
            if moving.rests(found.get(thread), now):
                del self._moving[thread]
