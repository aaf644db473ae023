"""`%%durable` in IPython without a kernel."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from kernels import SOURCE

SCRIPT = r"""
import asyncio, os, signal, threading, time
from IPython.core.interactiveshell import InteractiveShell
from jupyter_durable.kernel import bracket

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored
log = []

class Host:
    def begin(self, header, cell): log.append(("begin", header, cell.is_async))
    def finish(self, cell, result, error): log.append(("finish", cell.header, type(error).__name__))
    def replace_error(self, cell, error): return None

shell = InteractiveShell.instance()
shell.user_ns.update(asyncio=asyncio, time=time)
uninstall = bracket.install(shell, Host())

def run(code, interrupt=None):
    log.clear()
    if interrupt:
        threading.Timer(interrupt, os.kill, (os.getpid(), signal.SIGINT)).start()
    started = time.monotonic()
    result = shell.run_cell(code)
    return result, time.monotonic() - started, list(log)

result, _, seen = run("%%durable a\n1 + 1")
assert (result.result, seen) == (2, [("begin", "a", False), ("finish", "a", "NoneType")]), seen
result, _, seen = run("%%durable b\nawait asyncio.sleep(0, 'v')")
assert (result.result, seen) == ("v", [("begin", "b", True), ("finish", "b", "NoneType")]), seen
result, seconds, seen = run("%%durable c\nawait asyncio.sleep(20)", interrupt=0.3)
assert seen == [("begin", "c", True), ("finish", "c", "CancelledError")] and seconds < 2, (seen, seconds)
result, seconds, seen = run("%%durable d\ntime.sleep(20)", interrupt=0.3)
assert seen == [("begin", "d", False), ("finish", "d", "KeyboardInterrupt")] and seconds < 2, (seen, seconds)
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

complete = shell.input_transformer_manager.check_complete
assert complete("%%durable x")[0] == "incomplete", "the header alone must not run while the cell is typed"
assert complete("%%durable x\ny = 1\n")[0] == "incomplete"
assert complete("%%durable x\ny = 1\n\n")[0] == "complete"

uninstall()
assert "run_cell_async" not in shell.__dict__
assert run("1")[0].result == 1
print("PLAIN OK")
"""


@pytest.mark.slow
def test_plain_ipython(tmp_path: Path, python: str) -> None:
    """Sync and async cells, interrupts and typed input work in IPython without a kernel."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER_", "JPY_"))}
    done = subprocess.run(
        [python, "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={**env, "IPYTHONDIR": str(tmp_path), "PYTHONPATH": str(SOURCE)},
        check=False,
    )
    assert "PLAIN OK" in done.stdout, done.stdout + done.stderr
