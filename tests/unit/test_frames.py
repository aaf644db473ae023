"""Looking at threads must not stop them."""

import gc
import subprocess
import sys

from jupyter_durable.runtime.frames import frames

COLLECTING = """
import gc, threading
from jupyter_durable.runtime.frames import frames

def go_on(phase, info):
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()

idle = threading.Event()
for _ in range(5):
    threading.Thread(target=idle.wait, daemon=True).start()
gc.callbacks.append(go_on)
gc.set_threshold(1)
for _ in range(20):
    frames()
gc.callbacks.clear()
print("fine")
"""


def test_a_collection_while_threads_are_looked_at_stops_nothing() -> None:
    """What it lets go on may need the lock that is held (CPython issue 106883): replays with threads hung so, rarely."""
    done = subprocess.run(
        [sys.executable, "-c", COLLECTING], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "fine\n"


def test_collecting_stays_as_it_was() -> None:
    """Somebody may have switched it off for good."""
    assert gc.isenabled()
    frames()
    assert gc.isenabled()
    gc.disable()
    try:
        frames()
        assert not gc.isenabled()
    finally:
        gc.enable()
