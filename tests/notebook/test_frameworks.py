"""Agents of frameworks in real kernels, over a provider on the wire: killed again and again, same answer, nothing twice.

`JUPYTER_DURABLE_TEST_PYTHONS` repeats it with other releases of the frameworks.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kernels import Kernel, KernelDied

from jupyter_durable.journal.keys import idempotency_key, parse_step_id
from jupyter_durable.session import open_store
from jupyter_durable.testing import FakeProvider, call, reply, slow
from jupyter_durable.testing.provider import Request

TOOLS = """
import json
import jupyter_durable as durable

def note():
    with open("lines.jsonl", "a") as file:
        file.write(json.dumps(durable.idempotency_key()) + "\\n")
"""

# All of the cell's code is new to a fresh kernel: the frameworks are imported while the run is live.
CELLS = {
    "LangGraph": (
        "import langgraph, langchain_openai",
        """
from typing import Annotated, TypedDict
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

@tool
async def fetch(n: int) -> str:
    "Fetch page n."
    note()
    return f"page {n}"

@tool
def crunch(n: int) -> int:
    "Square n."
    note()
    if n == 13:
        raise ValueError("unlucky")
    return n * n

model = ChatOpenAI(model="fake-model").bind_tools([fetch, crunch])

async def ask(state: MessagesState):
    return {"messages": [await model.ainvoke(state["messages"])]}

graph = StateGraph(MessagesState)
graph.add_node("model", ask)
graph.add_node("tools", ToolNode([fetch, crunch], handle_tool_errors=True))
graph.add_edge(START, "model")
graph.add_conditional_edges("model", lambda s: "tools" if s["messages"][-1].tool_calls else END)
graph.add_edge("tools", "model")
seen = []
async for kind, part in graph.compile().astream(
        {"messages": [HumanMessage("go")]}, stream_mode=["updates", "messages"]):
    if kind == "updates":
        seen += [(name, [(type(m).__name__, m.content) for m in update["messages"]]) for name, update in part.items()]
repr(seen)
""",
    ),
    "Pydantic AI": (
        "import pydantic_ai",
        """
from pydantic import BaseModel
from pydantic_ai import Agent, ModelRetry
from pydantic_ai.models.openai import OpenAIChatModel

agent = Agent(OpenAIChatModel("fake-model"))

@agent.tool_plain
async def fetch(n: int) -> str:
    note()
    return f"page {n}"

@agent.tool_plain(retries=3)
def crunch(n: int) -> int:
    note()
    if n == 13:
        raise ModelRetry("unlucky")
    return n * n

seen = []

async def look(ctx, events):
    async for event in events:
        seen.append(type(event).__name__)

result = await agent.run("go", event_stream_handler=look)
repr((result.output, [(type(p).__name__, getattr(p, "content", None)) for m in result.all_messages() for p in m.parts
      if type(p).__name__ != "UserPromptPart"]))
""",
    ),
    "OpenAI Agents": (
        "import agents",
        """
from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI

set_tracing_disabled(True)

@function_tool
async def fetch(n: int) -> str:
    "Fetch page n."
    note()
    return f"page {n}"

@function_tool
def crunch(n: int) -> int:
    "Square n."
    note()
    if n == 13:
        raise ValueError("unlucky")
    return n * n

model = OpenAIChatCompletionsModel(model="fake-model", openai_client=AsyncOpenAI())
result = Runner.run_streamed(Agent(name="helper", model=model, tools=[fetch, crunch]), "go")
events = [event.type async for event in result.stream_events()]
repr((events, result.final_output, [str(getattr(item, "output", "")) for item in result.new_items]))
""",
    ),
    "smolagents": (
        # Older ones tell the model of their calls in other words than the script understands.
        "import openai; from smolagents.models import ChatMessageToolCallFunction",
        """
import os
from smolagents import OpenAIServerModel, ToolCallingAgent, tool

@tool
def fetch(n: int) -> str:
    \"\"\"Fetch page n.

    Args:
        n: which
    \"\"\"
    note()
    return f"page {n}"

@tool
def crunch(n: int) -> int:
    \"\"\"Square n.

    Args:
        n: which
    \"\"\"
    note()
    if n == 13:
        raise ValueError("unlucky")
    return n * n

model = OpenAIServerModel("fake-model", api_base=os.environ["OPENAI_BASE_URL"], api_key="fake")
agent = ToolCallingAgent(tools=[fetch, crunch], model=model, verbosity_level=0)
answer = agent.run("go")
repr((answer, [str(getattr(step, "observations", "")) for step in agent.memory.steps]))
""",
    ),
}
SCRIPT = [
    reply(tool_calls=[call("fetch", n=1)]),
    reply(tool_calls=[call("fetch", n=2), call("crunch", n=3), call("fetch", n=4), call("crunch", n=5)]),
    reply(tool_calls=[call("crunch", n=13)]),
    reply("That is all there is to say about it."),
]
SMOLAGENTS = [*SCRIPT[:3], reply(tool_calls=[call("final_answer", answer="all there is")])]
KILLS = [
    "after-start:2",
    "after-call:2",
    "after-outcome:2",
    "before-start:1",
    "after-call:1",
    "after-chunk:3",
]


@pytest.fixture
def provider(request: pytest.FixtureRequest) -> Iterator[FakeProvider]:
    """It lives in the test's process: a killed kernel does not take it along."""
    smolagents = "smolagents" in request.node.name

    def script(asked: Request) -> list[Any]:
        if smolagents:  # it tells the model of its calls as text, and of an error without the call
            said = json.dumps(asked.body["messages"])
            turn = said.count("Calling tools:") + said.count("Now let's retry")
            return [slow(delay=0.001), SMOLAGENTS[turn]]
        return [slow(delay=0.001), SCRIPT[asked.turn]]

    with FakeProvider(script) as running:
        yield running


def executed(directory: Path) -> Counter[str]:
    """How often each tool call was really made, by idempotency key."""
    path = directory / "lines.jsonl"
    text = path.read_text() if path.exists() else ""
    return Counter(json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n"))


def asked(provider: FakeProvider) -> Counter[str]:
    """How often each question was answered to its end."""
    return Counter(
        json.dumps(r.body["messages"]) for r in provider.requests if r.api and r.outcome == "answered"
    )


def outcomes(store: Path) -> tuple[set[str], int]:
    """The idempotency keys of the tool calls that have an outcome; how many model calls have one."""
    with open_store(str(store)) as opened:
        run = opened.runs(name="agent")[0]
        done = [s for s in opened.steps(run.id) if s.status in ("completed", "failed")]
        root = opened.journal.run(run.id).root_id or run.id
        key = opened.journal.key
        tools = {idempotency_key(key, root, *parse_step_id(s.id)) for s in done if s.kind == "tool"}
        return tools, sum(s.kind == "model" for s in done)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("framework", CELLS)
def test_an_agent_survives_one_kill_after_another(
    framework: str,
    python: str,
    provider: FakeProvider,
    make_kernel: Callable[..., Kernel],
    tmp_path: Path,
) -> None:
    """Sync tools, async tools, parallel ones, one that raises; streamed answers. One run, six processes."""
    needs, code = CELLS[framework]
    found = subprocess.run([python, "-c", needs], capture_output=True, check=False)
    if found.returncode:
        pytest.skip(f"{framework} is not installed there")
    cell = f"%%durable agent\n{TOOLS}{code}"

    def environment(point: str | None) -> dict[str, str | None]:
        return {
            "OPENAI_BASE_URL": provider.openai_base,
            "OPENAI_API_KEY": "fake",
            "JUPYTER_DURABLE_CRASH_AT": point,
            "HF_HUB_OFFLINE": "1",
        }

    bare = tmp_path / "bare"
    kernel = make_kernel(bare, python=python, env=environment(None))
    kernel.check("%load_ext jupyter_durable")
    expected = kernel.check(cell, allow_stdin=True, timeout=120).result
    kernel.close()
    calls, questions = executed(bare), asked(provider)
    assert set(calls.values()) == set(questions.values()) == {1}
    assert len(questions) >= 3
    provider.reset()

    killed = tmp_path / "killed"
    died = 0
    for point in [*KILLS, None]:
        kernel = make_kernel(killed, python=python, env=environment(point))
        kernel.check("%load_ext jupyter_durable")
        before, done = executed(killed), outcomes(kernel.store)[0] if died else set()
        try:
            result = kernel.check(cell, allow_stdin=True, timeout=120).result
        except KernelDied:
            died += 1
        else:
            assert result == expected
        finally:
            kernel.close()
        assert {key: executed(killed)[key] for key in done} == {key: before[key] for key in done}, point
    assert died >= 4, "the moments must fall inside the run"
    assert len(executed(killed)) == len(calls)
    assert outcomes(kernel.store) == (set(executed(killed)) | outcomes(kernel.store)[0], len(questions))
    assert len(asked(provider)) == len(questions)
    assert asked(provider).total() <= len(questions) + died, "at most the one that was open at each kill"
