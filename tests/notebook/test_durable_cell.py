"""Durable cells in real kernels: what survives, what is said, what is left as it was."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from kernel_agents import LOAD, TOOLS, MakeKernel, calls, counts, lines, moved_to, ready, said, until
from kernels import Kernel, KernelDied

from jupyter_durable.runtime.kill_points import KILL_POINTS, OF_WAITS


@pytest.fixture
def kernel(shared: Kernel, tmp_path: Path) -> Kernel:
    """The shared kernel, in the test's own folder and store."""
    return moved_to(shared, tmp_path)


# -- an ordinary cell, durable ---------------------------------------------------------------------------


MIXED = """%%durable mixed
import asyncio
from concurrent.futures import ThreadPoolExecutor
class Memory(list): pass
memory = Memory(start)
memory.append(ask("first"))
memory += await asyncio.gather(*(fetch(f"u{n}", .01 * (3 - n)) for n in range(3)))
with ThreadPoolExecutor(2) as pool:
    memory += list(pool.map(crunch, range(2)))
try:
    bad("x")
except ValueError as error:
    memory.append(str(error))
memory.append(wobbly())
memory += list(words("a b"))
memory.append(send("me"))
print("done", len(memory))
list(memory)
"""
BAD = """
@durable.tool
def bad(x):
    trace("bad " + x)
    raise ValueError("no " + x)
@durable.tool(retries=2, backoff=0.01)
def wobbly():
    trace("wobbly")
    if open("calls.txt").read().count("wobbly") < 2:
        raise OSError("down")
    return "up"
@durable.tool
def words(text):
    trace("words " + text)
    yield from text.split()
start = ["hello"]
"""
RESULT = [
    "hello",
    "answer to first",
    "page u0",
    "page u1",
    "page u2",
    0,
    1,
    "no x",
    "up",
    "a",
    "b",
    "sent to me",
]
MIXED_CALLS = {
    "ask first",
    "fetch u0",
    "fetch u1",
    "fetch u2",
    "crunch 0",
    "crunch 1",
    "bad x",
    "wobbly",
    "words a b",
}
MIXED_CALLS |= {"send me"}


@pytest.mark.slow
@pytest.mark.parametrize("point", [p for p in KILL_POINTS if p not in OF_WAITS])
def test_killed_anywhere_the_run_ends_as_if_nothing_had_happened(
    make_kernel: MakeKernel, tmp_path: Path, point: str
) -> None:
    """At each kill point: a fresh kernel that ran only the cell finishes with the undisturbed result."""
    nth = 1 if point.endswith(("open", "close", "attempt", "chunk")) else 5
    dying = ready(make_kernel, tmp_path, TOOLS, BAD, JUPYTER_DURABLE_CRASH_AT=f"{point}:{nth}")
    with pytest.raises(KernelDied):
        dying.run(MIXED)

    fresh = ready(make_kernel, tmp_path, *([TOOLS, BAD] if point == "before-open" else []))
    reply = fresh.check(MIXED)

    assert ast.literal_eval(reply.result or "") == RESULT
    assert reply.stdout == "done 12\n"
    made = counts(tmp_path)
    assert set(made) == MIXED_CALLS
    assert made.pop("wobbly") <= 3, "it fails once, and may have been under way"
    assert sum(made.values()) <= len(made) + 3, "only what was under way may be repeated"
    assert made["ask first"] == made["send me"] == 1


@pytest.mark.slow
def test_it_is_an_ordinary_cell(kernel: Kernel, tmp_path: Path) -> None:
    """Result, output, names, `Out`, line numbers of errors and the tools outside the cell are what they always are."""
    reply = kernel.check("%%durable a\nx = ask('q')\nprint('said', x)\nx.upper()")
    assert reply.result == "'ANSWER TO Q'"
    assert reply.stdout == "said answer to q\n"
    assert kernel.check("x, _ == 'ANSWER TO Q'").result == "('answer to q', True)"
    assert kernel.check("ask('outside')").result == "'answer to outside'"
    assert len(calls(tmp_path)) == 2

    failed = kernel.run("%%durable b\ny = ask('q')\n\n1 / 0")
    assert failed.ename == "ZeroDivisionError"
    assert "----> 4 1 / 0" in failed.traceback
    assert "✗ b failed: 1 executed" in said(failed)

    inside = kernel.run("%%durable c\n@durable.tool\ndef broken():\n    return {}['k']\nbroken()")
    assert "return {}['k']" in inside.traceback
    assert "jupyter_durable" not in inside.traceback, "no frames of ours"

    html = reply.displays[0]["data"]["text/html"]
    assert "var(--jp-" in html
    assert "<script" not in html


def test_failed_is_resumed_at_the_step_that_failed(kernel: Kernel, tmp_path: Path) -> None:
    """The failing tool is called again, the others are not; what was wrong outside may have been mended."""
    kernel.check(
        "@durable.tool\ndef flaky():\n    trace('flaky')\n    import os\n    if not os.path.exists('mended'): raise OSError('down')\n    return 'up'"
    )
    cell = "%%durable job\nx = ask('q')\nflaky()"
    assert kernel.run(cell).ename == "OSError"
    (tmp_path / "mended").touch()

    reply = kernel.check(cell)

    assert reply.result == "'up'"
    assert lines(reply)[0] == "↻ resuming job: 1 of 2 steps replayed, 1 tried again, continues at flaky()"
    assert calls(tmp_path) == ["ask q", "flaky", "flaky"]


# -- switches --------------------------------------------------------------------------------------------


def test_tools_of_the_line(kernel: Kernel, tmp_path: Path) -> None:
    """`--tool` makes plain functions steps for the cell, and puts them back; a pattern that fits nothing is refused."""
    kernel.check(
        "def plain_one(x):\n    trace(f'plain {x}')\n    return x + 1\ndef plain_two(x):\n    return plain_one(x) * 2\nbefore = plain_one"
    )
    cell = (
        "%%durable wrapped --tool 'plain_o*' --tool crunch\nvalues = [plain_one(1), plain_two(2)]\n1 / zero"
    )
    assert kernel.run(cell).ename == "NameError"
    assert kernel.check("plain_one is before").result == "True"
    kernel.check("zero = 1")

    reply = kernel.check(cell)

    assert "2 of 2 steps replayed" in said(reply)
    assert kernel.check("values").result == "[2, 6]"
    assert calls(tmp_path) == ["plain 1", "plain 2"]
    refused = kernel.run("%%durable other --tool 'nothing_*'\n1")
    assert refused.ename == "UsageError"
    assert "matches no function" in refused.traceback + refused.stderr


@pytest.mark.slow
def test_divergence_shows_both_calls(kernel: Kernel, tmp_path: Path) -> None:
    """An unedited cell that calls otherwise stops before it calls: the two calls side by side, no frames of ours."""
    kernel.check("import itertools, os\ndef impure():\n    return len(open('calls.txt').readlines())")
    cell = "%%durable strange\nx = ask('q')\nask(impure())\nopen(os.devnull if os.path.exists('ok') else '/nowhere/x')"
    assert kernel.run(cell).ename == "FileNotFoundError"

    reply = kernel.run(cell)

    assert reply.ename == "DivergenceError"
    assert "recorded: ask(1)" in reply.traceback
    assert "now:      ask(2)" in reply.traceback
    assert "at:   line 3: ask(impure())" in reply.traceback
    assert "hint:" in reply.traceback
    assert "/jupyter_durable/" not in reply.traceback
    assert lines(reply)[-1] == "■ strange stopped: 1 replayed; nothing was lost"
    assert calls(tmp_path) == ["ask q", "ask 1"]


@pytest.mark.slow
def test_a_fresh_kernel_does_not_sleep_again(make_kernel: MakeKernel, tmp_path: Path) -> None:
    """What a cell slept and waited in vain for takes no time when its run is resumed; other tasks of the kernel keep theirs."""
    cell = (
        "%%durable patient\nfor n in range(5):\n    await fetch(n)\n    await asyncio.sleep(1)\n"
        "try:\n    await asyncio.wait_for(fetch('slow', 30), 1)\nexcept TimeoutError: pass\ncrunch(7, 1)"
    )
    first = ready(make_kernel, tmp_path, TOOLS)
    running = first.submit(cell)
    until(first, running, lambda: "crunch 7" in calls(tmp_path))
    first.kill()
    beating = (
        "beats = []\nasync def beat():\n    loop = asyncio.get_running_loop()\n    while True:\n"
        "        await asyncio.sleep(.02)\n        beats.append(loop.time() - time.monotonic())\nbeating = asyncio.create_task(beat())"
    )
    again = ready(make_kernel, tmp_path, TOOLS, beating)

    again.check("began = time.monotonic()")
    reply = again.check(cell)

    assert "6 of 7 steps replayed" in said(reply)
    assert reply.result == "49"
    took = float(again.check("time.monotonic() - began").result)
    assert took < 1 + 3, "of the six seconds that it had slept, and the one of the step that was cut off"
    assert float(again.check("max(map(abs, beats))").result) < 0.05
    assert counts(tmp_path)["fetch 0"] == 1
    assert counts(tmp_path)["crunch 7"] == 2


def test_fewer_calls_than_recorded_is_a_divergence_too(kernel: Kernel, tmp_path: Path) -> None:
    """The cell ends without a call that the journal has: its value is not passed off as the run's."""
    cell = "%%durable fewer\nfor n in range(most()): ask(n)\nundefined_yet"
    kernel.check("def most():\n    import os\n    return 1 if os.path.exists('few') else 2")
    assert kernel.run(cell).ename == "NameError"
    (tmp_path / "few").touch()
    kernel.check("undefined_yet = 0")

    reply = kernel.run(cell)

    assert reply.ename == "DivergenceError"
    assert "recorded: ask(1)" in reply.traceback
    assert "now:      nothing more" in reply.traceback
    assert "jupyter_durable/" not in reply.traceback
    assert lines(reply)[-1] == "■ fewer stopped: 1 replayed; nothing was lost"
    assert counts(tmp_path) == {"ask 0": 1, "ask 1": 1}


def test_output_of_steps_is_shown_again(kernel: Kernel) -> None:
    """What a tool printed and displayed is there again on replay, in order, once."""
    kernel.check(
        "from IPython.display import display, Markdown\n@durable.tool\ndef loud(n):\n    print('loud', n)\n    display(Markdown(f'*{n}*'))\n    return n"
    )
    cell = "%%durable noisy\nfor n in range(2): loud(n)\nnot_yet"
    assert kernel.run(cell).ename == "NameError"
    kernel.check("not_yet = 0")
    reply = kernel.check(cell)
    assert reply.stdout == "loud 0\nloud 1\n"
    markdown = [d["data"]["text/markdown"] for d in reply.displays if "text/markdown" in d["data"]]
    assert markdown == ["*0*", "*1*"]


def test_loading_twice_unloading_and_loading_again(kernel: Kernel, tmp_path: Path) -> None:
    """Loading is idempotent, unloading undoes it, and a run of before is still found after."""
    kernel.check(LOAD)
    kernel.check("%%durable keep\nask('q')")
    kernel.check("%unload_ext jupyter_durable")
    gone = kernel.run("%%durable keep\nask('q')")
    assert not gone.ok
    assert (
        "durable"
        not in kernel.check(
            "%lsmagic\n[m for m in get_ipython().magics_manager.magics['line'] if 'durable' in m]"
        ).results[-1]
    )
    kernel.check(LOAD)
    reply = kernel.check("%%durable keep\nask('q')")
    assert "restored from" in said(reply)
    assert calls(tmp_path) == ["ask q"]


@pytest.mark.slow
def test_off(make_kernel: MakeKernel, tmp_path: Path) -> None:
    """`JUPYTER_DURABLE=off` makes it an ordinary cell: no store, no line."""
    kernel = ready(make_kernel, tmp_path, TOOLS, JUPYTER_DURABLE="off")
    for _ in range(2):
        reply = kernel.check("%%durable x\nask('q')")
        assert reply.result == "'answer to q'"
        assert reply.displays == []
    assert calls(tmp_path) == ["ask q", "ask q"]
    assert not kernel.store.exists()


@pytest.mark.slow
def test_plain_ipython(tmp_path: Path) -> None:
    """IPython without a kernel: the run is resumed by another process, with plain lines."""
    cells = [
        "%load_ext jupyter_durable",
        TOOLS,
        "%%durable script\nx = ask('q')\ny = crunch(3)\nprint(x, y)\n",
    ]
    program = (
        "import sys, json\nfrom IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "for cell in json.loads(sys.argv[1]):\n    shell.run_cell(cell, store_history=True).raise_error()\n"
    )
    env = {
        **os.environ,
        "JUPYTER_DURABLE_STORE": str(tmp_path / "journal.db"),
        "IPYTHONDIR": str(tmp_path),
        "PYTHONPATH": str(Path(__file__).parents[2] / "src"),
    }

    def run(cells: list[str], **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program, json.dumps(cells)]
        return subprocess.run(
            command, env={**env, **more}, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    first = run(cells, JUPYTER_DURABLE_CRASH_AT="after-outcome:1")
    assert first.returncode == -9, first.stderr
    second = run([cells[0], cells[2]])
    assert second.returncode == 0, second.stderr
    assert "↻ resuming script: 1 of 1 step replayed, continues after them" in second.stdout
    assert "answer to q 9" in second.stdout
    assert "✓ script completed: 1 replayed, 1 executed" in second.stdout
    assert calls(tmp_path) == ["ask q", "crunch 3"]
