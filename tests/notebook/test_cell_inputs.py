"""What a durable cell reads, in real kernels: inputs it changes itself, names the user changed, a fresh kernel that has none."""

from __future__ import annotations

from pathlib import Path

import pytest
from kernel_agents import TOOLS, MakeKernel, calls, counts, lines, moved_to, ready, said, until
from kernels import Kernel, KernelDied


@pytest.fixture
def kernel(shared: Kernel, tmp_path: Path) -> Kernel:
    """The shared kernel, in the test's own folder and store."""
    return moved_to(shared, tmp_path)


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


@pytest.mark.slow
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


@pytest.mark.slow
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
