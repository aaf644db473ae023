"""A kernel that the system really kills for want of memory, in a control group made for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

pytestmark = pytest.mark.slow

LIMIT = 600 << 20
GROUPS = Path("/sys/fs/cgroup")
SET_UP = """%load_ext jupyter_durable
import os, pathlib, signal
import jupyter_durable as durable

@durable.tool
def note(what):
    with open('calls', 'a') as file:
        print(what, file=file)
    return what
"""
EATS = """%%durable eats
note('before')
if not pathlib.Path('full').exists():
    pathlib.Path('full').touch()
    kept = []
    while True:
        kept.append(b'x' * 20_000_000)
note('after')"""
KILLED = """%%durable killed
note('before')
if not pathlib.Path('dead').exists():
    pathlib.Path('dead').touch(); os.kill(os.getpid(), signal.SIGKILL)
note('after')"""


def _place() -> tuple[Path, str] | None:
    """Where this process's own group of memory is, and the file there that limits one."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return GROUPS / "memory" / path.lstrip("/"), "memory.limit_in_bytes"
        if not controllers and (GROUPS / "cgroup.controllers").exists():
            return GROUPS / path.lstrip("/"), "memory.max"
    return None


@pytest.fixture
def group() -> Iterator[Path]:
    """A group below this process's own that has little memory; gone afterwards."""
    place = _place() if sys.platform == "linux" else None
    if place is None:
        pytest.skip("no control groups of memory here")
    made = place[0] / f"jupyter-durable-{os.getpid()}"
    try:
        made.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made: {error}")
    try:
        (made / place[1]).write_text(str(LIMIT))
    except OSError as error:
        made.rmdir()
        pytest.skip(f"a group's memory cannot be limited: {error}")
    yield made
    made.rmdir()


def job(folder: Path, group: Path, cell: str) -> list[dict[str, Any]]:
    """A job that lives in the group with its kernels; its events."""
    cells = [new_code_cell(SET_UP, id="s"), new_code_cell(cell, id="c")]
    nbformat.write(new_notebook(cells=cells), folder / "nb.ipynb")
    run = [sys.executable, "-m", "jupyter_durable.cli", "run", "nb.ipynb", "--json"]
    joins = ["/bin/sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(group)]
    done = subprocess.run(
        [*joins, *run, "--store", str(folder / "journal.db")],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_kernel_that_ran_out_of_memory_is_told_from_one_that_was_killed(
    tmp_path: Path, group: Path
) -> None:
    """Both end by SIGKILL, and both go on at the next step; why each died is said as what it was."""
    said = {}
    for name, cell in (("eats", EATS), ("killed", KILLED)):
        (tmp_path / name).mkdir()
        events = job(tmp_path / name, group, cell)
        (died,) = (event for event in events if event["event"] == "died")
        said[name] = died["cause"]
        assert (events[-1]["status"], events[-1]["restarts"]) == ("completed", 1)
        assert (tmp_path / name / "calls").read_text().split() == ["before", "after"]

    assert said["eats"].startswith(
        "out of memory: the system killed it"
    )  # and at how much, if it took a second
    assert said["killed"].startswith("SIGKILL")
    assert "not for want of memory" in said["killed"]
