"""A shell that makes 200 calls by the OpenAI SDK for every line it reads, and says how many seconds
of processor they took: `never` or `after` a durable run."""

from __future__ import annotations

import sys
import time

from bench_capture import _ask, _in_memory
from IPython.core.interactiveshell import InteractiveShell

CELL = """%%durable before
ask(client)
"""


def main(what: str) -> None:
    """Serve until standard input is closed."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what a cell says is not an answer
    shell = InteractiveShell.instance()
    client = _in_memory()
    shell.push({"client": client, "ask": _ask})
    if what == "after":
        shell.run_line_magic("load_ext", "jupyter_durable")
        shell.run_cell(CELL).raise_error()
    _ask(client)
    for _ in sys.stdin:
        start = time.process_time()
        for topic in range(200):
            _ask(client, topic)
        print(time.process_time() - start, file=answers, flush=True)


main(sys.argv[1])
