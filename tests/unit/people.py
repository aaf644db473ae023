"""People who act while a run waits for them, in one process; and how to wait until it does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from runs import Bench

import jupyter_durable as durable
from jupyter_durable.errors import RunParked
from jupyter_durable.model import WaitInfo

PARK: dict[str, Any] = {"park_after": 0.0, "timers": 0.0}


@contextmanager
def person(act: Callable[[], Any]) -> Iterator[None]:
    """Somebody who does `act` while the block executes, in a thread of their own."""
    failed: list[BaseException] = []

    def do() -> None:
        try:
            act()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=do)
    thread.start()
    yield
    thread.join(20)
    assert not thread.is_alive()
    if failed:
        raise failed[0]


def until(
    bench: Bench, ready: Callable[[list[WaitInfo]], Any] = bool, seconds: float = 20.0
) -> list[WaitInfo]:
    """What the newest run waits for, once that is `ready`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if bench.store.runs():
            waits = bench.facade.waits(bench.record.id)
            if ready(waits) and bench.record.status == "waiting":
                return waits
        time.sleep(0.01)
    raise AssertionError("nothing waits")


def parked(bench: Bench, fn: Callable[[], Any], **options: Any) -> list[WaitInfo]:
    """Execute `fn` (as a new run, or the newest one) until it parks; what it waits for then."""
    go = bench.resume if options.pop("resume", False) else bench.new
    with pytest.raises(RunParked):
        go(fn, **{**PARK, **options})
    assert bench.facade.run(bench.record.id).status == "waiting"
    return bench.facade.waits(bench.record.id)


def sender(bench: Bench, **how: Any) -> Any:
    """A tool that needs approval."""

    def send(to: str, times: int = 1) -> str:
        return f"{to} x{times}"

    def counted(to: str, times: int = 1) -> str:
        bench.effects[f"{to} x{times}"] += 1
        return send(to, times)

    counted.__name__ = counted.__qualname__ = "send"
    return durable.tool(**{"approval": True, **how})(counted)
