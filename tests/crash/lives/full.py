"""`python full.py STORE LINES [BYTES]`: 20 steps whose results are 30 KB each; no file may grow beyond so many bytes."""

# ruff: noqa: D103

from __future__ import annotations

import random
import resource
import sys
from pathlib import Path

import jupyter_durable as durable

STORE, LINES, *LIMIT = sys.argv[1:]


@durable.tool
def bulky(number: int) -> str:
    with Path(LINES).open("a") as file:
        file.write(f"{number}\n")
    return random.Random(number).randbytes(15_000).hex()


with durable.run("full", store=STORE):
    if LIMIT:  # the disk is full from here on
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(LIMIT[0]), resource.RLIM_INFINITY))
    print(sum(len(bulky(number)) for number in range(20)))
