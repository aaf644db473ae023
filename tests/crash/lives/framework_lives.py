"""One life of an agent made with a framework, over a provider on the wire, as a durable run; see `nursery`.

The file `tokens` gets a line for every tool call that is really made.
"""

# ruff: noqa: D103

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import os
from collections.abc import Callable
from types import FunctionType
from typing import Any

from framework_runs import hit
from pydantic import BaseModel

import jupyter_durable as durable
from jupyter_durable.runtime import kill_points

GO = "What is the sum?"


class Total(BaseModel):
    """What agents are asked for that can be asked."""

    total: int


def add(a: int, b: int) -> int:
    """Add two numbers.

    Args:
        a: one
        b: the other
    """
    hit("add", a=a, b=b)
    if a == 13:
        raise ValueError("unlucky")
    return a + b


async def later(a: int, b: int) -> int:
    """Add two numbers, asynchronously."""
    hit("later", a=a, b=b)
    await asyncio.sleep(0.001)
    return a + b


# -- LangGraph ---------------------------------------------------------------------------------------------


def _graph(url: str, *, asynchronous: bool) -> Any:
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI
    from langgraph.graph import END, START, MessagesState, StateGraph
    from langgraph.prebuilt import ToolNode

    tools = [tool(add), tool(later) if asynchronous else tool("later")(_now)]
    model = ChatOpenAI(model="fake-model", base_url=f"{url}/v1", api_key="fake", max_retries=0).bind_tools(
        tools
    )

    def ask(state: Any) -> Any:
        return {"messages": [model.invoke(state["messages"])]}

    async def ask_later(state: Any) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    built = StateGraph(MessagesState)
    built.add_node("model", ask_later if asynchronous else ask)
    built.add_node("tools", ToolNode(tools, handle_tool_errors=True))
    built.add_edge(START, "model")
    built.add_conditional_edges("model", lambda state: "tools" if state["messages"][-1].tool_calls else END)
    built.add_edge("tools", "model")
    return built.compile()


def _now(a: int, b: int) -> int:
    """Add two numbers."""
    hit("later", a=a, b=b)
    return a + b


def _messages(found: list[Any]) -> list[str]:
    return [
        f"{type(m).__module__}.{type(m).__qualname__} {m.content} {getattr(m, 'tool_calls', '')}"
        for m in found
    ]


def langgraph_sync(url: str) -> Any:
    return _messages(_graph(url, asynchronous=False).invoke({"messages": [("user", GO)]})["messages"])


async def langgraph_async(url: str) -> Any:
    return _messages((await _graph(url, asynchronous=True).ainvoke({"messages": [("user", GO)]}))["messages"])


async def langgraph_streaming(url: str) -> Any:
    seen, text = [], ""
    graph = _graph(url, asynchronous=True)
    async for kind, part in graph.astream({"messages": [("user", GO)]}, stream_mode=["updates", "messages"]):
        if kind == "messages":
            text += str(part[0].content) if part[0].type.startswith("AI") else ""
        else:
            seen += [(node, _messages(update["messages"])) for node, update in part.items()]
    return seen, text


# -- Pydantic AI -------------------------------------------------------------------------------------------


def _pydantic(url: str) -> Any:
    from pydantic_ai import Agent, ModelRetry, models
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    def told(a: int, b: int) -> int:
        """Add two numbers."""
        try:
            return add(a, b)
        except ValueError as error:
            raise ModelRetry(str(error)) from error

    for cached in ("_cached_async_http_client", "_cached_async_http_transport"):
        if hasattr(models, cached):  # 1.0 shares them, with the connections of a loop that may have ended
            getattr(models, cached).cache_clear()
    model = OpenAIChatModel("fake-model", provider=OpenAIProvider(base_url=f"{url}/v1", api_key="fake"))
    agent: Any = Agent(model, output_type=Total)
    agent.tool_plain(name="add", retries=3)(told)
    agent.tool_plain(later)
    return agent


def _parts(result: Any) -> Any:
    return repr(result.output if hasattr(result, "output") else None), [
        (f"{type(part).__module__}.{type(part).__qualname__}", str(getattr(part, "content", "")))
        for message in result.all_messages()
        for part in message.parts
    ]


def pydantic_ai_sync(url: str) -> Any:
    return _parts(_pydantic(url).run_sync(GO))


async def pydantic_ai_async(url: str) -> Any:
    return _parts(await _pydantic(url).run(GO))


async def pydantic_ai_streaming(url: str) -> Any:
    async with _pydantic(url).run_stream(GO) as result:
        outputs = [repr(output) async for output in result.stream_output(debounce_by=None)]
        return outputs[-1], repr(await result.get_output()), _parts(result)


# -- OpenAI Agents -----------------------------------------------------------------------------------------


def _helper(url: str) -> Any:
    from agents import Agent, OpenAIChatCompletionsModel, function_tool, set_tracing_disabled
    from openai import AsyncOpenAI

    set_tracing_disabled(True)
    client = AsyncOpenAI(base_url=f"{url}/v1", api_key="fake")
    model = OpenAIChatCompletionsModel(model="fake-model", openai_client=client)
    tools: list[Any] = [function_tool(add), function_tool(later)]
    return Agent(name="helper", model=model, tools=tools, output_type=Total)


def _items(result: Any) -> Any:
    items = [(type(item).__qualname__, str(getattr(item, "output", ""))) for item in result.new_items]
    return repr(result.final_output), items


def openai_agents_sync(url: str) -> Any:
    from agents import Runner

    asyncio.set_event_loop(asyncio.new_event_loop())
    return _items(Runner.run_sync(_helper(url), GO))


async def openai_agents_async(url: str) -> Any:
    from agents import Runner

    return _items(await Runner.run(_helper(url), GO))


async def openai_agents_streaming(url: str) -> Any:
    from agents import Runner

    result = Runner.run_streamed(_helper(url), GO)
    events = [event.type async for event in result.stream_events()]
    return events, _items(result)


# -- smolagents --------------------------------------------------------------------------------------------


def _smol(url: str, **how: Any) -> Any:
    from smolagents import OpenAIServerModel, ToolCallingAgent, tool

    @tool
    def later(a: int, b: int) -> int:
        """Add two numbers.

        Args:
            a: one
            b: the other
        """
        return _now(a, b)

    model = OpenAIServerModel("fake-model", api_base=f"{url}/v1", api_key="fake")
    if "stream_outputs" not in inspect.signature(ToolCallingAgent).parameters:
        how.pop("stream_outputs", None)  # in 1.10 only an agent's steps are a stream
    mine = FunctionType(add.__code__, globals(), "add")  # 1.10 changes the signature of what it is given
    mine.__doc__, mine.__annotations__ = add.__doc__, add.__annotations__
    return ToolCallingAgent(tools=[tool(mine), later], model=model, verbosity_level=0, **how)


def _remembered(agent: Any, answer: Any) -> Any:
    return str(answer), [
        (type(step).__qualname__, str(getattr(step, "observations", "")), str(getattr(step, "error", "")))
        for step in agent.memory.steps
    ]


def smolagents_sync(url: str) -> Any:
    agent = _smol(url)
    return _remembered(agent, agent.run(GO))


def smolagents_streaming(url: str) -> Any:
    agent = _smol(url, stream_outputs=True)
    events = list(agent.run(GO, stream=True))
    answer = getattr(events[-1], "output", events[-1])
    return [type(event).__qualname__ for event in events], _remembered(agent, answer)


AGENTS: dict[str, Callable[..., Any]] = {
    found.__name__: found
    for found in (
        langgraph_sync,
        langgraph_async,
        langgraph_streaming,
        pydantic_ai_sync,
        pydantic_ai_async,
        pydantic_ai_streaming,
        openai_agents_sync,
        openai_agents_async,
        openai_agents_streaming,
        smolagents_sync,
        smolagents_streaming,
    )
}
_NEEDED = {
    "langgraph": ("langgraph", "langchain_openai"),
    "pydantic_ai": ("pydantic_ai", "openai"),
    "openai_agents": ("agents",),
    "smolagents": ("smolagents", "openai"),
}


def prepare(name: str, url: str) -> Callable[..., Any] | None:
    """What lives, its provider being at `url`; None if the framework is not installed."""
    if any(importlib.util.find_spec(module) is None for module in _NEEDED[name]):
        return None
    os.environ.update(HF_HUB_OFFLINE="1", EFFECTS=os.devnull)

    def live(*, agent: str, url: str, store: str, run: str, crash: str, tokens: str) -> dict[str, Any]:
        points: list[str] = []
        os.environ["JUPYTER_DURABLE_CRASH_AT"] = crash
        kill_points.arm(points.append) if not crash else kill_points.arm_from_environment()
        if not agent:
            for one in (f"{name}_sync", f"{name}_streaming"):  # one loop: langchain_openai keeps its client
                live(agent=one, url=url, store=store, run=one, crash="", tokens=os.devnull)
            return {}
        os.environ["EFFECTS"] = tokens
        answer = _lived(durable.run(run, store=store), AGENTS[agent], url)
        return {"answer": answer, "points": points}

    return live


def _lived(run: Any, agent: Callable[..., Any], url: str) -> Any:
    if asyncio.iscoroutinefunction(agent):

        async def main_async() -> Any:
            async with run:
                return await agent(url)

        return asyncio.run(main_async())
    with run:
        return agent(url)
