"""Function tools of the OpenAI Agents SDK as steps."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from framework_runs import effects, forget, hit, survives_kills
from runs import Bench

pytest.importorskip("agents")

import agents.tool as sdk
import openai_agents_agents as made
from agents import Runner, function_tool


@pytest.fixture(autouse=True)
def _counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EFFECTS", str(tmp_path / "effects"))


@pytest.mark.slow
@pytest.mark.parametrize("agent", [made.sync_agent, made.async_agent, made.streaming_agent])
def test_an_agent_survives_a_kill_at_every_point(agent: Any) -> None:
    """Sync, async and streamed; parallel calls; a tool made by hand; an error told to the model."""
    if agent is made.sync_agent:
        asyncio.set_event_loop(asyncio.new_event_loop())  # the SDK keeps one for sync callers
    result, bench = survives_kills(agent, steps=made.STEPS)
    output, items = result if agent is not made.streaming_agent else result[0]
    assert output == made.Total(total=7)
    assert ("ToolCallOutputItem", made.Total(total=7)) in items
    told = [text for kind, text in items if kind == "ToolCallOutputItem" and "rror" in str(text)]
    assert len(told) == 1
    assert {s.name: s.error for s in bench.steps() if s.error} == {"fails": "ValueError: no x"}


def test_an_error_that_is_not_told_to_the_model_ends_the_run_and_is_retried() -> None:
    """`failure_error_function=None`: what the tool raised reaches the caller; a resume calls it again."""
    broken = [True]

    @function_tool(failure_error_function=None)
    def flaky(q: str) -> str:
        """Works the second time."""
        hit("flaky", q=q)
        if broken:
            raise ValueError("down")
        return q

    async def agent() -> Any:
        helper = made.made([("add", {"a": 1, "b": 2})], [("flaky", {"q": "x"})], '{"total": 1}')
        helper.tools.append(flaky)
        return (await Runner.run(helper, "go")).final_output

    forget()
    bench = Bench()
    with pytest.raises(Exception, match="down"):
        bench.new(agent)
    broken.clear()
    assert bench.resume(agent) == made.Total(total=1)
    assert effects() == {"add(a=1, b=2)": 1, "flaky(q='x')": 2}


def test_an_agent_as_a_tool_has_its_tools_as_children() -> None:
    """Cut off inside, it goes on with what it has."""

    async def agent() -> Any:
        helper = made.made([("add", {"a": 1, "b": 2})], [("add", {"a": 3, "b": 4})], '{"total": 7}')
        boss = made.made([("ask", {"input": "sum"})], '{"total": 7}')
        boss.tools = [helper.as_tool("ask", "Ask the helper.")]
        return (await Runner.run(boss, "go")).final_output

    forget()
    bench = Bench()
    bench.crash("after-outcome", 1, agent)
    assert bench.resume(agent) == made.Total(total=7)
    assert effects() == {"add(a=1, b=2)": 1, "add(a=3, b=4)": 1}
    assert sorted(s.name for s in bench.steps()) == ["add", "add", "ask"]


def test_nothing_is_patched_outside_a_run() -> None:
    """And a run that captures no tools makes none a step."""
    invoker = sdk._FailureHandlingFunctionToolInvoker
    before = invoker.__call__, sdk.invoke_function_tool
    inside: list[Any] = []

    async def agent() -> Any:
        inside.append(invoker.__call__)
        return (await Runner.run(made.made([("add", {"a": 1, "b": 2})], '{"total": 3}'), "go")).final_output

    bench = Bench()
    assert bench.new(agent, capture=frozenset()) == made.Total(total=3)
    assert inside[0] is not before[0]
    assert bench.steps() == []
    assert (invoker.__call__, sdk.invoke_function_tool) == before
