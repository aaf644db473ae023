"""Approvals where agents of frameworks make the calls: held back, changed, rejected, and the model is told."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mcp_server
import pytest
from framework_runs import effects, forget
from runs import Bench

import jupyter_durable as durable
from jupyter_durable.errors import RunParked

PARK: dict[str, Any] = {"park_after": 0.0, "timers": 0.0}
CALLS = ({"a": 1, "b": 2}, {"a": 3, "b": 4})


@pytest.fixture(autouse=True)
def _counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EFFECTS", str(tmp_path / "effects"))


def decided(
    agent: Callable[[], Any], *, name: str = "add", approve: tuple[str, ...] = ("add",)
) -> tuple[Any, Bench]:
    """Execute an agent that calls `add` twice: the first call is changed, the second rejected. Its result, replayed too."""
    forget()
    bench = Bench()
    with pytest.raises(RunParked):
        bench.new(agent, approve=approve, **PARK)
    assert not effects()
    (wait,) = bench.facade.waits(bench.record.id)
    assert (wait.kind, wait.name) == ("approval", name)
    assert wait.editable
    bench.facade.approve(bench.record.id, wait.key, arguments={"a": 10}, by="ann")
    with pytest.raises(RunParked):
        bench.resume(agent, approve=approve, **PARK)
    (wait,) = bench.facade.waits(bench.record.id)
    bench.facade.reject(bench.record.id, wait.key, "no more of that", by="ann")
    result = bench.resume(agent, approve=approve, **PARK)
    done = effects()
    assert bench.execute_replay(agent) == result
    assert effects() == done
    first, second = [s for s in bench.steps() if s.name == name]
    assert "ann" in (first.edited or "")
    assert second.error == "ApprovalRejected: no more of that"
    return result, bench


@pytest.mark.slow
@pytest.mark.parametrize("asynchronous", [False, True])
def test_langgraph(asynchronous: bool) -> None:
    """A rejection is a `ToolMessage` of status error, also where a graph handles no errors."""
    pytest.importorskip("langgraph")
    import langchain_agents as made
    from langchain_core.messages import AIMessage, HumanMessage

    script = (*(made.say(("add", call)) for call in CALLS), AIMessage("done"))

    def build() -> Any:
        return made.graph(script, [made.add], asynchronous=asynchronous)

    def sync_agent() -> Any:
        return made.shown(build().invoke({"messages": [HumanMessage("go")]})["messages"])

    async def async_agent() -> Any:
        return made.shown((await build().ainvoke({"messages": [HumanMessage("go")]}))["messages"])

    messages, _ = decided(async_agent if asynchronous else sync_agent)
    told = [(text, status) for kind, text, _, status in messages if kind == "ToolMessage"]
    assert told == [("12", "success"), ("The tool call was rejected: no more of that", "error")]
    assert effects() == {"add(a=10, b=2)": 1}


@pytest.mark.slow
def test_openai_agents() -> None:
    """What the SDK makes of a tool's error reaches the model; a tool made by hand tells it as well."""
    pytest.importorskip("agents")
    import openai_agents_agents as made
    from agents import Runner

    async def agent() -> Any:
        turns = (*([("add", call)] for call in CALLS), '{"total": 7}')
        return made.shown(await Runner.run(made.made(*turns), "go"))

    (_, items), _ = decided(agent)
    told = [output for kind, output in items if kind == "ToolCallOutputItem"]
    assert told[0] == 12
    assert "no more of that" in str(told[1])
    assert effects() == {"add(a=10, b=2)": 1}

    async def by_hand() -> Any:
        turns = ([("by_hand", {"q": "x"})], [("by_hand", {"q": "y"})], '{"total": 7}')
        return made.shown(await Runner.run(made.made(*turns), "go"))

    bench = Bench()
    forget()
    for act in (
        lambda run: bench.facade.approve(run, "by_hand", arguments={"q": "z"}),
        lambda run: bench.facade.reject(run, "by_hand", "not y"),
    ):
        with pytest.raises(RunParked):
            (bench.resume if bench.store.runs() else bench.new)(by_hand, approve=("by_*",), **PARK)
        act(bench.record.id)
    _, items = bench.resume(by_hand, approve=("by_*",), **PARK)
    told = [output for kind, output in items if kind == "ToolCallOutputItem"]
    assert told == ['by hand {"q": "z"}', "The tool call was rejected: not y"]
    assert effects() == {"by_hand(q='z')": 1}


@pytest.mark.slow
def test_pydantic_ai() -> None:
    """As the framework's own denials are told."""
    pytest.importorskip("pydantic_ai")
    import pydantic_ai_agents as made

    async def agent() -> Any:
        turns = (*([("add", call)] for call in CALLS), [("final_result", {"total": 7})])
        return made.shown(await made.made(*turns).run("go"))

    (_, said), _ = decided(agent)
    told = [content for kind, content in said if kind == "ToolReturnPart"]
    assert told[:2] == [12, "The tool call was denied: no more of that"]
    assert effects() == {"add(a=10, b=2)": 1}


def test_smolagents() -> None:
    """An error of a tool is an observation of the agent's."""
    pytest.importorskip("smolagents")
    import smolagents_agents as made
    from smolagents import ToolCallingAgent

    def agent() -> Any:
        script = [
            *(made.say(("add", call)) for call in CALLS),
            made.say(("final_answer", {"answer": "done"})),
        ]
        helper = ToolCallingAgent(tools=[made.add], model=made.Scripted(script), verbosity_level=0)
        return made.shown(helper, helper.run("go"))

    (result, observations, errors), _ = decided(agent)
    assert result == "done"
    assert any("12" in text for text in observations)
    assert any("no more of that" in text for text in errors)
    assert effects() == {"add(a=10, b=2)": 1}


def add(a: int, b: int) -> int:
    """Add two numbers."""
    from framework_runs import hit

    hit("add", a=a, b=b)
    return a + b


async def add_later(a: int, b: int) -> int:
    """Add two numbers, asynchronously."""
    return add(a, b)


@pytest.mark.slow
@pytest.mark.parametrize(
    "rule", [True, "add*", ["add", "add_later"], lambda name, arguments: arguments["a"] > 0]
)
@pytest.mark.parametrize("fn", [add, add_later, durable.tool(add)])
def test_toolsets(rule: Any, fn: Any) -> None:
    """`approval=`, by name or by what is called; the result tells the model what was changed, and that it was rejected."""
    name = fn.__name__

    async def agent() -> list[tuple[str, bool]]:
        tools = durable.Toolset(fn, approval=rule)
        results = [await tools.call(name, call) for call in CALLS]
        return [(result.content, result.is_error) for result in results]

    result, _ = decided(agent, name=name, approve=())
    changed = '(A person changed arguments of this call before it was made: {"a": 10})'
    assert result == [(f"{changed}\n12", False), ("ApprovalRejected: no more of that", True)]
    assert effects() == {"add(a=10, b=2)": 1}


@pytest.mark.slow
def test_langchain_tools_in_a_toolset() -> None:
    """One step each, whoever makes it one."""
    pytest.importorskip("langchain_core")
    import langchain_agents as made

    async def agent() -> list[tuple[str, bool]]:
        tools = durable.Toolset(langchain=[made.add], approval=lambda name, arguments: "sums are dangerous")
        results = [await tools.call("add", call) for call in CALLS]
        return [(result.content, result.is_error) for result in results]

    result, bench = decided(agent, approve=())
    assert [is_error for _, is_error in result] == [False, True]
    assert result[0][0].endswith("\n12")
    assert [step.name for step in bench.steps()] == ["add", "add"]


@pytest.mark.slow
def test_mcp(tmp_path: Path) -> None:
    """Patterns are for `server.tool`, and never for what the protocol needs besides."""
    pytest.importorskip("mcp")
    done = tmp_path / "done"
    config = {"mcpServers": {"here": {"command": sys.executable, "args": mcp_server.command(done)[1:]}}}

    async def agent() -> list[tuple[str, bool]]:
        async with durable.Toolset(mcp=config) as tools:
            results = [await tools.call("here_add", call) for call in CALLS]
            return [(result.content, result.is_error) for result in results]

    bench = Bench()
    waits = []
    for act in (
        lambda run, key: bench.facade.approve(run, key, arguments={"a": 10}),
        lambda run, key: bench.facade.reject(run, key, "no"),
    ):
        with pytest.raises(RunParked):
            (bench.resume if bench.store.runs() else bench.new)(agent, approve=("*",), **PARK)
        waits += bench.facade.waits(bench.record.id)
        act(bench.record.id, waits[-1].key)
    assert [wait.name for wait in waits] == ["here.add", "here.add"]
    assert waits[0].schema is not None
    result = bench.resume(agent, approve=("*",), **PARK)
    assert result[0][0].endswith("\n12")
    assert result[1] == ("ApprovalRejected: no", True)
    assert [n for line, n in mcp_server.lines(done).items() if line.startswith("add")] == [1]


def test_a_rejection_outside_a_model_call_is_raised() -> None:
    """A LangChain tool that the user's own code invokes."""
    pytest.importorskip("langchain_core")
    import langchain_agents as made

    def agent() -> Any:
        try:
            return made.add.invoke({"a": 1, "b": 2})
        except durable.ApprovalRejected as error:
            return error.args[0]

    bench = Bench()
    with pytest.raises(RunParked):
        bench.new(agent, approve=("add",), **PARK)
    bench.facade.reject(bench.record.id, "add", "never")
    assert bench.resume(agent) == "never"
