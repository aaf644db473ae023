"""`python holder.py STORE LINES SECONDS`: eight steps under a lease of so many seconds, a line each; the fourth waits for LINES.go."""

# ruff: noqa: D103

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import jupyter_durable as durable

STORE, LINES, SECONDS = sys.argv[1:4]
os.environ["JUPYTER_DURABLE_LEASE"] = SECONDS


@durable.tool
def work(number: int) -> int:
    with Path(LINES).open("a") as file:
        file.write(f"{number}\n")
    while number == 3 and not Path(f"{LINES}.go").exists():
        time.sleep(0.005)
    return number


with durable.run("held", store=STORE):
    print(sum(work(number) for number in range(8)))
