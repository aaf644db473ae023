"""Time, injected: nothing else in the package reads a clock.

Times are POSIX seconds as `float`, durations are seconds.
"""

from __future__ import annotations

import time as _time
from collections.abc import Callable
from typing import Protocol

# Bound at import: while a run is live, the names in the `time` module may be the run's own.
_now = _time.time
_monotonic = _time.monotonic
_sleep = _time.sleep


class Clock(Protocol):
    """What the runtime needs to know about time."""

    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        ...

    def wait(self, seconds: float) -> None:
        """Block the calling thread for `seconds`."""
        ...


class SystemClock:
    """The machine's clocks."""

    now: Callable[[], float] = staticmethod(_now)
    monotonic: Callable[[], float] = staticmethod(_monotonic)
    wait: Callable[[float], None] = staticmethod(_sleep)
