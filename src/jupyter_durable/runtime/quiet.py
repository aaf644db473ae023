"""Whether nothing from outside can wake a loop: then what it waits for are its own timers, and they need not be waited for.

Code that no step covers may wait for a socket, a process or a thread. What it waits for takes its time on replay, too, and
a timeout around it must not run out because that of the recording had passed. So it is looked for: at what the
selector watches, and at the threads of the process. What the kernel itself has is known; anything else may be waited for.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from concurrent.futures import thread as pools
from types import FrameType
from typing import Any

from jupyter_durable.runtime.frames import frames

_KERNEL = ("ipykernel", "IPython", "zmq", "tornado", "jupyter_durable", "debugpy", "_pydevd_bundle", "tqdm")
_OURS = "jupyter-durable"
_IDLE = getattr(pools, "_worker", None)


def is_quiet(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether only its own timers, or the kernel's messages, can give `loop` something to do.

    >>> is_quiet(asyncio.new_event_loop())
    True
    """
    selector = getattr(loop, "_selector", None)
    watched = selector.get_map() if selector is not None else None
    if watched is None or not all(_is_own(loop, key.data) for key in watched.values()):
        return False
    running = frames()
    return all(_is_known(thread, running) for thread in threading.enumerate())


def _is_own(loop: asyncio.AbstractEventLoop, handles: Any) -> bool:
    for handle in handles if isinstance(handles, tuple) else (handles,):
        callback = getattr(handle, "_callback", None)
        called = getattr(callback, "__func__", callback)
        own = called is None or called is getattr(type(loop), "_read_from_self", None)
        if not own and not _is_the_kernels(getattr(called, "__module__", None)):
            return False
    return True


def _is_known(thread: threading.Thread, running: Mapping[int, FrameType]) -> bool:
    if (
        thread is threading.main_thread()
        or thread is threading.current_thread()
        or thread.name.startswith(_OURS)
    ):
        return True
    target = getattr(thread, "_target", None)
    if target is not None and target is _IDLE:  # a worker of a pool: without work, or at it
        frame = running.get(thread.ident or 0)
        return frame is not None and frame.f_code is _IDLE.__code__
    owner = type(thread) if target is None else getattr(target, "__self__", target)
    module = getattr(owner, "__module__", None) or getattr(type(owner), "__module__", None)
    return _is_the_kernels(module)


def _is_the_kernels(module: Any) -> bool:
    return isinstance(module, str) and module.partition(".")[0] in _KERNEL
