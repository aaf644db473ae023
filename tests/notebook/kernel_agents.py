"""What the tests of durable cells share: an agent's tools that leave a trace outside, kernels that have them, and how to read it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from kernels import Kernel, Reply

MakeKernel = Callable[..., Kernel]

LOAD = "%load_ext jupyter_durable"

TOOLS = """
import asyncio, time
import jupyter_durable as durable

def trace(line):
    with open("calls.txt", "a") as file:
        file.write(line + "\\n")

@durable.tool
def ask(question):
    trace(f"ask {question}")
    return f"answer to {question}"

@durable.tool
async def fetch(url, seconds=0):
    trace(f"fetch {url}")
    await asyncio.sleep(seconds)
    return f"page {url}"

@durable.tool
def crunch(n, seconds=0):
    trace(f"crunch {n}")
    time.sleep(seconds)
    return n * n

@durable.tool(effect="unsafe")
def send(to):
    trace(f"send {to}")
    return f"sent to {to}"
"""
"""Tools that add a line to `calls.txt` in the kernel's folder whenever they really run."""


def session(folder: Path, name: str = "nb.ipynb") -> dict[str, str | None]:
    """The environment of a kernel that JupyterLab started for a notebook: somebody is watching."""
    (folder / name).touch()
    return {"JPY_SESSION_NAME": str(folder / name)}


def ready(
    make: MakeKernel, folder: Path, *setup: str, python: str = sys.executable, **env: str | None
) -> Kernel:
    """A kernel of an interactive session in which the extension is loaded and the set-up cells ran."""
    kernel = make(env={**session(folder), **env}, python=python)
    for cell in (LOAD, *setup):
        kernel.check(cell)
    return kernel


def calls(folder: Path) -> list[str]:
    """The calls that were really made, in order."""
    path = folder / "calls.txt"
    return path.read_text().splitlines() if path.exists() else []


def counts(folder: Path) -> dict[str, int]:
    """How often each call was really made."""
    return dict(Counter(calls(folder)))


def lines(reply: Reply) -> list[str]:
    """What the cell's run said, in order: its displays as plain text, and what each update of one adds to it."""
    found: list[str] = []
    shown: dict[str, str] = {}
    for display in reply.displays:
        text = display["data"]["text/plain"]
        name = display.get("transient", {}).get("display_id", "")
        before = shown.get(name, "") if name.startswith("jupyter-durable-") else ""
        shown[name] = text
        if added := text.removeprefix(before).strip("\n"):
            found.append(added)
    return found


def said(reply: Reply) -> str:
    """The same as one text."""
    return "\n".join(lines(reply))


def until(kernel: Kernel, reply: Reply, condition: Callable[[], bool], timeout: float = 30) -> None:
    """Wait for something that the running cell does outside; fails if the cell ends before."""
    kernel._pump(condition, reply, timeout)


def moved_to(kernel: Kernel, folder: Path) -> Kernel:
    """A kernel that other tests used, in another folder and with a store of its own."""
    kernel.check(f"%cd -q {folder}\n%durable store {folder / 'journal.db'}")
    return kernel
