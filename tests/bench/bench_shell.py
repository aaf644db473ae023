"""A shell with everything a kernel has imported, and how long our part of it takes: `load` or `first`."""

from __future__ import annotations

import json
import sys
import time

import ipykernel.ipkernel
import ipykernel.kernelapp  # noqa: F401
from bench_yardstick import lookup
from IPython.core.interactiveshell import InteractiveShell

_FORBIDDEN = {
    "jupyter_server",
    "jupyterlab",
    "anywidget",
    "ipywidgets",
    "nbclient",
    "pydantic",
    "sqlite_utils",
} | {*("cloudpickle", "httpx", "tenacity", "numpy", "pandas")}
CELL = """%%durable first
import time
import jupyter_durable as durable

@durable.tool
def now() -> float:
    return time.perf_counter()

reached = now()
"""


def main(what: str) -> None:
    """Print one line of JSON."""
    shell = InteractiveShell.instance()
    shell.run_cell("1 + 1")
    before = set(sys.modules)
    start = time.perf_counter()
    shell.run_line_magic("load_ext", "jupyter_durable")
    took = time.perf_counter() - start
    assert "jupyter_durable" in shell.extension_manager.loaded
    forbidden = sorted({name.partition(".")[0] for name in set(sys.modules) - before} & _FORBIDDEN)
    if what == "first":
        start = time.perf_counter()
        shell.run_cell(CELL).raise_error()
        took = shell.user_ns["reached"] - start
    print(json.dumps({"seconds": took, "lookup": min(lookup() for _ in range(5)), "forbidden": forbidden}))


main(sys.argv[1])
