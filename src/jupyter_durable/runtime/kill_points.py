"""Named moments at which a test may kill the process, as a power cut would.

`JUPYTER_DURABLE_CRASH_AT="after-call:3"` kills this process with SIGKILL the third time it comes to
that point (`:1` if left out). In a product run a kill point is one global read.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

KILL_POINTS = (
    "before-open",  # nothing of this run is in the store
    "after-open",  # the run's row, lease and first entry are
    "before-wait",  # a wait is committed, nobody can have decided on it
    "after-wait",  # what was waited for has come, and is not consumed
    "before-start",  # a call was decided, its start not committed
    "after-start",  # its start is committed, the call not made
    "after-call",  # the call was made, its outcome not committed
    "after-outcome",  # its outcome is committed, the caller has not seen it
    "after-attempt",  # a failed attempt is committed, the next not started
    "after-chunk",  # an item of a stream was handed to the writer, the consumer has not seen it
    "before-close",  # the code has ended, the run is not closed
    "after-close",  # the run is closed, the lease not released
)
"""Every kill point, in the order in which a run comes to them."""

OF_WAITS = ("before-wait", "after-wait")
"""Those that only a run that waits comes to."""

_trigger: Callable[[str], None] | None = None


def kill_point(name: str) -> None:
    """Here a test may end the process."""
    if _trigger is not None:
        _trigger(name)


def arm(trigger: Callable[[str], None] | None) -> Callable[[str], None] | None:
    """Call `trigger(name)` at every kill point from now on; returns the one before."""
    global _trigger
    before, _trigger = _trigger, trigger
    return before


def arm_from_environment() -> None:
    """Arm what `JUPYTER_DURABLE_CRASH_AT` says. Raises `ValueError` for an unknown point."""
    wanted = os.environ.get("JUPYTER_DURABLE_CRASH_AT")
    if not wanted:
        return
    name, _, nth = wanted.partition(":")
    if name not in KILL_POINTS:
        raise ValueError(
            f"JUPYTER_DURABLE_CRASH_AT: no kill point {name!r}; there are {', '.join(KILL_POINTS)}"
        )
    left = int(nth or 1)

    def trigger(reached: str) -> None:
        nonlocal left
        if reached == name:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    arm(trigger)


arm_from_environment()  # whatever this process is: a script, a worker; a kernel does so again when it loads the extension
