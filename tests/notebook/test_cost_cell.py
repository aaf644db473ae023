"""`%%durable --budget`, `%durable cost` and `%durable budget` in a real kernel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from kernel_agents import LOAD, calls, said, session
from kernels import Kernel

SETUP = """
import httpx

def answer(request):
    with open("calls.txt", "a") as file:
        file.write("ask\\n")
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
    return httpx.Response(200, json={"model": "gpt-4o", "choices": [choice], "usage": usage})

def ask(n):
    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": str(n)}]}
        return client.post("https://api.openai.com/v1/chat/completions", json=body).json()["model"]
"""

CELL = """%%durable research --budget "$0.0088" --park-after 0
[ask(n) for n in range(4)]
"""


@pytest.mark.slow
def test_a_cell_waits_for_its_budget(make_kernel: Callable[..., Kernel], tmp_path: Path) -> None:
    """It parks before the third call; a raise lets it go on, in a new kernel; what was paid is not paid again."""
    kernel = make_kernel(env=session(tmp_path))
    kernel.check(LOAD)
    kernel.check(SETUP)
    parked = kernel.run(CELL)
    assert not parked.ok
    assert "is parked" in said(parked)
    assert "would pass it" in said(parked)
    assert len(calls(tmp_path)) == 2
    kernel.restart()
    kernel.check(LOAD)
    assert "2 model calls" in said(kernel.check("%durable cost"))
    assert "may spend $1.00" in said(kernel.check("%durable budget research 1"))
    kernel.check(SETUP)
    assert kernel.check(CELL).result == "['gpt-4o', 'gpt-4o', 'gpt-4o', 'gpt-4o']"
    assert len(calls(tmp_path)) == 4
    shown = said(kernel.check("%durable cost research"))
    assert "replay saved" in shown
    assert "openai.chat gpt-4o" in shown
    talk = said(kernel.check("%durable show research 1.3"))
    assert "user" in talk
    assert "assistant" in talk
    assert "1,000 tokens in" in talk


@pytest.mark.slow
def test_a_budget_must_be_money(make_kernel: Callable[..., Kernel], tmp_path: Path) -> None:
    """A wrong line says so, and runs nothing."""
    kernel = make_kernel(env=session(tmp_path))
    kernel.check(LOAD)
    reply = kernel.run("%%durable x --budget much\n1")
    assert not reply.ok
    assert "number of dollars" in reply.stderr
    reply = kernel.run("%durable budget x --max-steps many")
    assert "RunNotFoundError" in reply.traceback
