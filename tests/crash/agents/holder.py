"""`python holder.py STORE LINES SECONDS STEPS`: steps of 20 ms under a lease of so many seconds, a line each."""

# ruff: noqa: D103

from __future__ import annotations

import sys
import time
from pathlib import Path

import jupyter_durable as durable
from jupyter_durable.runtime import heartbeat
from jupyter_durable.session import opening

STORE, LINES, SECONDS, STEPS = sys.argv[1:5]
heartbeat.TTL = opening.TTL = float(SECONDS)


@durable.tool
def work(number: int) -> int:
    with Path(LINES).open("a") as file:
        file.write(f"{number}\n")
    time.sleep(0.02)
    return number


with durable.run("held", store=STORE):
    print(sum(work(number) for number in range(int(STEPS))))
