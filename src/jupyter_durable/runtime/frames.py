"""Where the threads of this process are, for those who must know whether one moves."""

from __future__ import annotations

import gc
import sys
import threading
from types import FrameType

_lock = threading.Lock()


def frames() -> dict[int, FrameType]:
    """The frame that each thread, by its id, executes now.

    Up to Python 3.11 `sys._current_frames` makes frame objects while it holds a lock of the interpreter's, and that may
    set off a collection. What it runs may wait for that lock, or let a thread go on that does: nothing moves any more
    (CPython issue 106883). So none takes place meanwhile.
    """
    if sys.version_info >= (3, 12):
        return sys._current_frames()
    with _lock:
        collects = gc.isenabled()
        try:
            gc.disable()
            return sys._current_frames()
        finally:
            if collects:
                gc.enable()
