"""`nest_asyncio` in notebooks: `asyncio.run` inside a running loop, applied above the cell or in it; killed, and resumed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from kernel_agents import LOAD
from kernels import Kernel, KernelDied

APPLY = "import nest_asyncio2; nest_asyncio2.apply()"
SET_UP = """
import asyncio, jupyter_durable as durable

@durable.tool
async def page(q):
    with open("calls", "a") as file:
        print(q, file=file)
    await asyncio.sleep(0.02)
    return f"page {q}"

async def agent(name):
    found = await asyncio.gather(*(page(f"{name}{n}") for n in range(3)))
    for coming in asyncio.as_completed([page(f"{name}x{n}") for n in range(3)]):
        found.append(await coming)
    return sorted(found)
"""
CELL = """%%durable nested
{apply}
async def outer():
    first = asyncio.run(agent("a"))
    return first + await agent("b")

await outer() + asyncio.get_event_loop().run_until_complete(agent("c"))
"""


@pytest.mark.parametrize("inside", [False, True], ids=["above", "inside"])
def test_killed_in_a_loop_in_a_loop(inside: bool, make_kernel: Callable[..., Kernel], tmp_path: Path) -> None:
    """The same result, and no call with an outcome is made again."""
    pytest.importorskip("nest_asyncio2")
    cell = CELL.format(apply=APPLY if inside else "pass")
    lines = tmp_path / "calls"

    def ready(**env: str) -> Kernel:
        kernel = make_kernel(env=env)
        for code in (LOAD, SET_UP, *([] if inside else [APPLY])):
            kernel.check(code)
        return kernel

    dying = ready(JUPYTER_DURABLE_CRASH_AT="after-outcome:8")
    with pytest.raises(KernelDied):
        dying.run(cell)
    made = lines.read_text().split()
    reply = ready().check(cell)

    wanted = [f"page {name}{x}{n}" for name in "abc" for x in ("", "x") for n in range(3)]
    assert eval(reply.result or "") == wanted
    calls = Counter(lines.read_text().split())
    assert len(calls) == 18
    assert calls.total() <= 18 + len(made) - 8, "what was under way is made once more, and nothing else"
