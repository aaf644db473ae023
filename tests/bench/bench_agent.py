"""An agent of 10,000 steps in a process of its own: `record` dies at the next one, `resume` says how long it took to come there."""

from __future__ import annotations

import os
import sys
import time

# What any script that uses durable runs has imported before its first run begins.
import jupyter_durable as durable
import jupyter_durable.codec.display
import jupyter_durable.runtime.clocks
import jupyter_durable.runtime.patches
import jupyter_durable.runtime.randoms
import jupyter_durable.session
import jupyter_durable.store.sqlite

STEPS = 10_000


@durable.tool
def read(topic: int) -> dict[str, object]:
    """One of the many steps."""
    return {"topic": topic, "text": "what the reference says about it; " * 8, "score": 0.5}


@durable.tool
def after_all() -> None:
    """The first step that was not done."""
    if sys.argv[1] == "resume":
        print(time.perf_counter() - started, flush=True)
    os._exit(0)


@durable.run("ten thousand")
def main() -> None:
    """The agent."""
    for topic in range(STEPS):
        read(topic)
    after_all()


started = time.perf_counter()
main()
