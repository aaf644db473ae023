"""Durable cells in real kernels: what survives, what is said, what is left as it was."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kernel_agents import LOAD, TOOLS, calls, counts, lines, moved_to, said, session, until
from kernels import Kernel, KernelDied

from jupyter_durable.runtime.kill_points import KILL_POINTS, OF_WAITS

MakeKernel = Callable[..., Kernel]


def ready(
    make: MakeKernel, folder: Path, *setup: str, python: str = sys.executable, **env: str | None
) -> Kernel:
    """A kernel of an interactive session in which the extension is loaded and the set-up cells ran."""
    kernel = make(env={**session(folder), **env}, python=python)
    for cell in (LOAD, *setup):
        kernel.check(cell)
    return kernel


@pytest.fixture(scope="module")
def shared(python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """One kernel with the tools for all tests that need no death: starting one costs a second."""
    folder = tmp_path_factory.mktemp("shared")
    with Kernel(folder, python=python, env=session(folder)) as kernel:
        kernel.check(LOAD)
        kernel.check(TOOLS)
        yield kernel


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


# -- inputs ----------------------------------------------------------------------------------------------

GROWING = """%%durable chat
messages.append(question)
agent.seen.append(question)
for n in range(3):
    messages.append(ask(f"{len(messages)} {messages[-1]}"))
    agent.seen.append(n)
page = await fetch("slow", 0 if go() else 60)
(len(messages), agent.seen)
"""
GROWING_SETUP = """
import os
class Agent:
    def __init__(self): self.seen = []
agent = Agent()
messages = []
question = "why?"
@durable.tool
def go():
    return os.path.exists("go")
"""


def test_inputs_that_the_cell_itself_changes(kernel: Kernel, tmp_path: Path) -> None:
    """`messages.append(...)` first, interrupted, run again: nothing is paid twice, nothing counts as an edit."""
    kernel.check(GROWING_SETUP)
    running = kernel.submit(GROWING)
    until(kernel, running, lambda: "fetch slow" in calls(tmp_path))
    kernel.interrupt()
    stopped = kernel.wait(running)
    assert stopped.status == "error"
    assert stopped.seconds < 20
    assert lines(stopped)[-1].startswith("■ chat interrupted: 5 executed")
    assert kernel.check("len(messages)").result == "4"

    # `go()` is in the journal as False: it is an answer like any other, so the run would wait again.
    again = kernel.submit(GROWING)
    until(kernel, again, lambda: calls(tmp_path).count("fetch slow") == 2)
    kernel.interrupt()
    kernel.wait(again)
    assert "as they were when the run began" in said(again)
    assert "resuming chat: 4 of 5 steps replayed, 1 in doubt, continues at fetch('slow', 60)" in said(again)
    assert counts(tmp_path).pop("ask 1 why?") == 1

    edited = kernel.check(GROWING.replace("60", "0"))
    assert edited.result == "(4, ['why?', 0, 1, 2])"
    assert "forking chat: the cell changed" in said(edited)
    made = counts(tmp_path)
    assert made.pop("fetch slow") == 3
    assert set(made.values()) == {1}
    assert len(made) == 3


def test_names_the_user_changed_are_the_users(kernel: Kernel, tmp_path: Path) -> None:
    """After an interrupt the user gives another question: the run goes on as an edit that asks that one."""
    cell = "%%durable chat\nmessages.append(question)\nx = ask(messages[-1])\nawait fetch('slow', wait)\nx"
    kernel.check("messages = []; question = 'one'; wait = 60")
    running = kernel.submit(cell)
    until(kernel, running, lambda: "fetch slow" in calls(tmp_path))
    kernel.interrupt()
    kernel.wait(running)
    kernel.check("question = 'two'; wait = 0")

    reply = kernel.check(cell)

    assert reply.result == "'answer to two'"
    assert "resuming chat as an edit: question, wait changed" in said(reply)
    assert kernel.check("messages").result == "['two']"


@pytest.mark.slow
def test_a_fresh_kernel_needs_only_the_cell(make_kernel: MakeKernel, tmp_path: Path, python: str) -> None:
    """Imports, functions, classes, data and a lock come back; what cannot is named, and nothing is called twice."""
    setup = """
import json, threading
from dataclasses import dataclass
RATE = 3
@dataclass
class Hit:
    text: str
    def score(self): return len(self.text) * RATE
lock = threading.Lock()
stream = (n for n in range(3))
@durable.tool
def search(q):
    with lock:
        trace("search " + q)
    return [Hit(q), Hit(q + q)]
unrelated = object()
"""
    cell = "%%durable find\nhits = search('ab')\nfor hit in hits: crunch(hit.score())\nif False: next(stream)\njson.dumps([h.text for h in hits])"
    dying = ready(
        make_kernel, tmp_path, TOOLS, setup, python=python, JUPYTER_DURABLE_CRASH_AT="after-start:3"
    )
    with pytest.raises(KernelDied):
        dying.run(cell)

    fresh = ready(make_kernel, tmp_path, python=python)
    reply = fresh.check(cell)

    assert reply.result == '\'["ab", "abab"]\''
    assert calls(tmp_path) == ["search ab", "crunch 6", "crunch 12"]
    assert "made again: lock = threading.Lock()" in said(reply)
    assert "not restored: stream:" in said(reply)
    assert fresh.check("isinstance(hits[0], Hit), 'unrelated' in globals()").result == "(True, False)"


def test_the_first_line_says_arguments_whose_classes_are_yet_to_come_back(
    make_kernel: MakeKernel, tmp_path: Path
) -> None:
    """What the notebook defines is restored when the run is taken up; what will happen is said before."""
    setup = """
from dataclasses import dataclass
from enum import Enum
Colour = Enum("Colour", "RED GREEN")
@dataclass
class Wall:
    colours: set
    height: int = 3
@durable.tool
def paint(wall, colour):
    trace(f"paint {colour.name}")
    return wall.height
"""
    cell = "%%durable house\npaint(Wall({Colour.RED}), colour=Colour.GREEN)"
    dying = ready(make_kernel, tmp_path, TOOLS, setup, JUPYTER_DURABLE_CRASH_AT="after-call:1")
    with pytest.raises(KernelDied):
        dying.run(cell)

    reply = ready(make_kernel, tmp_path).check(cell)

    assert lines(reply)[0].endswith(
        "1 in doubt, continues at paint(Wall(colours={Colour.RED}, height=3), colour=Colour.GREEN)"
    )
    assert calls(tmp_path) == ["paint GREEN", "paint GREEN"]


# -- interrupts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["await fetch('x', 60)", "crunch(7, 60)"], ids=["awaiting", "blocking"])
def test_interrupt_and_resume(kernel: Kernel, tmp_path: Path, step: str) -> None:
    """The cell ends at once, its run is interrupted, and goes on with the step that was cut off."""
    cell = f"%%durable slow\nx = ask('q')\n{step}"
    running = kernel.submit(cell)
    until(kernel, running, lambda: len(calls(tmp_path)) == 2)
    before = time.monotonic()
    kernel.interrupt()
    reply = kernel.wait(running, 20)
    assert time.monotonic() - before < 10, "not the minute that the step takes (`test_interrupt` is strict)"
    assert not reply.ok
    assert lines(reply)[-1] == "■ slow interrupted: 2 executed; run the cell again to resume it"
    status = "durable.open_store().runs(name='slow')[0].status"
    assert kernel.check(status).result == "'interrupted'"

    again = kernel.submit(cell)
    until(kernel, again, lambda: len(calls(tmp_path)) == 3)
    kernel.interrupt()
    kernel.wait(again, 20)
    assert lines(again)[0].startswith("↻ resuming slow: 1 of 2 steps replayed, 1 in doubt, continues at")
    assert counts(tmp_path)["ask q"] == 1


def test_tasks_that_outlive_the_cell(kernel: Kernel, tmp_path: Path) -> None:
    """The run closes with the cell; a tool call of a task left behind raises, and calls nothing."""
    kernel.check(
        "%%durable early\nasync def later():\n    await asyncio.sleep(.1)\n    return await fetch('late')\n"
        "task = asyncio.create_task(later())\nask('q')"
    )
    late = kernel.run("await task")
    assert late.ename == "RunClosedError"
    assert calls(tmp_path) == ["ask q"]
    assert kernel.check("await fetch('outside')").result == "'page outside'"


# -- waiting for a person --------------------------------------------------------------------------------

MAIL = "%%durable mail\nask('who')\ntold = send('you')\ntold"
DECIDE = "import sys, jupyter_durable as d\ns = d.open_store(); r = s.runs(name='mail')[0]; {}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("decision", "sent", "result"),
    [
        ("s.retry(r.id, '1.1')", 2, "'sent to you'"),
        ("s.supply(r.id, '1.1', 'by hand')", 1, "'by hand'"),
        ("s.fail(r.id, '1.1', 'no such person')", 1, None),
    ],
    ids=["retry", "supply", "fail"],
)
def test_an_unsafe_step_in_doubt_waits_for_a_person(
    make_kernel: MakeKernel, tmp_path: Path, decision: str, sent: int, result: str | None
) -> None:
    """Cut off, it is not made again: the cell says what to decide and waits; another process decides."""
    dying = ready(make_kernel, tmp_path, TOOLS, JUPYTER_DURABLE_CRASH_AT="after-call:2")
    with pytest.raises(KernelDied):
        dying.run(MAIL)
    assert counts(tmp_path) == {"ask who": 1, "send you": 1}

    fresh = ready(make_kernel, tmp_path)
    waiting = fresh.submit(MAIL)
    until(fresh, waiting, lambda: "run the cell again" in said(waiting))
    assert counts(tmp_path) == {"ask who": 1, "send you": 1}
    assert "the run waits" in said(waiting)
    assert "jupyter durable supply" in said(waiting)
    subprocess.run([sys.executable, "-c", DECIDE.format(decision)], env=fresh.env, check=True)
    reply = fresh.wait(waiting, 30)

    assert counts(tmp_path) == {"ask who": 1, "send you": sent}
    if result is None:
        assert "no such person" in reply.traceback
        assert not reply.ok
    else:
        assert reply.check().result == result


@pytest.mark.slow
def test_where_nobody_watches_the_run_parks(make_kernel: MakeKernel, tmp_path: Path) -> None:
    """The cell ends quietly, as parked, and later cells do not run; decided on, it goes on."""
    env = {"JPY_SESSION_NAME": None, "JUPYTER_DURABLE_NOTEBOOK": str(tmp_path / "nb.ipynb")}
    dying = ready(make_kernel, tmp_path, TOOLS, **env, JUPYTER_DURABLE_CRASH_AT="after-call:2")
    with pytest.raises(KernelDied):
        dying.run(MAIL)
    fresh = ready(make_kernel, tmp_path, **env)

    parked = fresh.run(MAIL)

    assert (parked.status, parked.ename) == ("error", "RunParked")
    assert parked.tracebacks == []
    assert lines(parked)[-1].startswith("⏸ mail is parked")
    assert "jupyter durable retry" in lines(parked)[-1]
    store = "import jupyter_durable as durable\ndurable.open_store().runs(name='mail')[0].status"
    assert fresh.check(store).result == "'waiting'"
    fresh.check("%durable supply mail 1.1 'by ' + 'hand'")
    assert fresh.check(MAIL).result == "'by hand'"
    assert counts(tmp_path) == {"ask who": 1, "send you": 1}


@pytest.mark.slow
def test_a_parked_run_inside_a_task_group(make_kernel: MakeKernel, tmp_path: Path) -> None:
    """`RunParked` in a task reaches the front end as what it is, not as a group of exceptions."""
    env = {"JPY_SESSION_NAME": None}
    tools = (
        TOOLS + "\n@durable.tool(effect='unsafe')\nasync def post(x):\n    trace(f'post {x}')\n    return x\n"
    )
    cell = "%%durable group\nasync with asyncio.TaskGroup() as group:\n    t = [group.create_task(post(n)) for n in range(2)]\n[x.result() for x in t]"
    dying = ready(make_kernel, tmp_path, tools, **env, JUPYTER_DURABLE_CRASH_AT="after-call:1")
    with pytest.raises(KernelDied):
        dying.run(cell)

    parked = ready(make_kernel, tmp_path, **env).run(cell)

    assert (parked.status, parked.ename) == ("error", "RunParked")
    assert parked.tracebacks == []


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
    assert calls(tmp_path) == ["ask q", "ask 1"]


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
    assert counts(tmp_path) == {"ask 0": 1, "ask 1": 1}


STEAL = """
import sys
from jupyter_durable.clock import SystemClock
from jupyter_durable.model import Owner
from jupyter_durable.store import connect
class Later(SystemClock):
    def now(self): return super().now() + 3600
store = connect(sys.argv[1], clock=Later())
store.acquire(store.runs(name="held")[0].id, Owner("elsewhere", 1, 1.0, "another machine"), 60)
"""


@pytest.mark.parametrize("how", ["await fetch('x', 60)", "while not os.path.exists('go'): time.sleep(.02)"])
def test_a_holder_whose_lease_was_taken_over_can_write_nothing(
    kernel: Kernel, tmp_path: Path, how: str
) -> None:
    """The lease expired while the kernel slept, and another process took it: no further call is made or recorded."""
    kernel.check("import os, time")
    running = kernel.submit(f"%%durable held\nask('one')\n{how}\nask('two')\nask('three')")
    until(
        kernel,
        running,
        lambda: "ask one" in calls(tmp_path) and (how[0] == "w" or "fetch x" in calls(tmp_path)),
    )
    command = [sys.executable, "-c", STEAL, str(tmp_path / "journal.db")]
    subprocess.run(command, check=True, env=kernel.env)
    (tmp_path / "go").touch()
    if how[0] == "a":
        kernel.interrupt()

    reply = kernel.wait(running, 30)

    assert not reply.ok
    assert "ask two" not in calls(tmp_path)
    if how[0] == "w":
        assert "another machine" in said(reply)
        assert reply.ename == "LeaseLost"
        assert reply.tracebacks == []
    entries = "[(s.name, s.status) for s in durable.open_store().steps(durable.open_store().runs(name='held')[0].id)]"
    found = kernel.check(entries).result or ""
    assert "two" not in found
    assert kernel.check("durable.open_store().runs(name='held')[0].status").result == "'running'"


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


@pytest.mark.slow
def test_cancelled_from_outside(make_kernel: MakeKernel, tmp_path: Path) -> None:
    """A run cancelled by another process ends its cell at once; nothing resumes it, and a new run says so."""
    kernel = ready(make_kernel, tmp_path, TOOLS)
    cell = "%%durable long\nask('q')\nawait fetch('x', 60)"
    running = kernel.submit(cell)
    until(kernel, running, lambda: "fetch x" in calls(tmp_path))
    code = "import jupyter_durable as d; s = d.open_store(); s.cancel(s.runs(name='long')[0].id, by='me')"
    subprocess.run([sys.executable, "-c", code], env=kernel.env, check=True)
    reply = kernel.wait(running, 20)
    assert not reply.ok
    assert "long was cancelled by me" in said(reply)
    assert not reply.tracebacks
    again = kernel.submit(cell)
    until(kernel, again, lambda: calls(tmp_path).count("fetch x") == 2)
    kernel.interrupt()
    kernel.wait(again)
    assert "was cancelled" in lines(again)[0]
    assert counts(tmp_path)["ask q"] == 2
