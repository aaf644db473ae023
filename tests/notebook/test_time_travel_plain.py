"""Going back in time in IPython without a kernel: debug under pdb, goto, and a fork, sync and async."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from kernels import SOURCE

SCRIPT = r"""
import builtins
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()

def run(code, error=None):
    result = shell.run_cell(code)
    found = result.error_in_exec or result.error_before_exec
    assert (type(found).__name__ if found else None) == error, (code, found)
    return result.result

builtins.made = []  # outside of the notebook's names, which go back in time
run("%load_ext jupyter_durable")
run('''
import jupyter_durable as durable

@durable.tool
def pick(numbers, at):
    made.append(at)
    return numbers[at]

@durable.tool
async def fetch(url):
    made.append(url)
    return url.upper()
''')
run('''%%durable cell
page = await fetch("u")
number = pick([1, 2], 7)
''', "IndexError")
run("%durable goto cell pick")
assert run("page, 'number' in globals()") == ("U", False)
run("page = 'mine'")
run("%durable debug cell pick")
assert run("debug.args.at, type(debug.error).__name__, debug.ns.page, page") == (7, "IndexError", "U", "mine")
assert run("made") == ["u", 7]

run("%durable debug cell pick --pdb")
run("%durable debug cell fetch --pdb")
run("%durable fork cell --at pick --set result=5")
assert run("page, number") == ("U", 5)
print("PLAIN OK")
"""


@pytest.mark.slow
def test_plain_ipython(tmp_path: Path, python: str) -> None:
    """What a kernel's users have, a terminal's have, too."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER_", "JPY_"))}
    env |= {"PYTHONPATH": str(SOURCE), "IPYTHONDIR": str(tmp_path)}
    env |= {"JUPYTER_DURABLE_STORE": str(tmp_path / "journal.db")}
    done = subprocess.run(
        [python, "-c", SCRIPT],
        env=env,
        cwd=tmp_path,
        input="p at * 100\nc\np numbers\nq\np url + '!'\nc\n",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "PLAIN OK" in done.stdout, done.stdout + done.stderr
    assert "700" in done.stdout
    assert "u!" in done.stdout
