"""Pydantic AI's tools as steps."""

from pathlib import Path
from typing import Any

import pytest
from framework_runs import effects, forget, hit, survives_kills
from runs import Bench

pytest.importorskip("pydantic_ai")

import pydantic_ai_agents as agents
from pydantic_ai import Agent, ApprovalRequired, DeferredToolRequests, DeferredToolResults, RunContext
from pydantic_ai.toolsets import CombinedToolset, FunctionToolset


@pytest.fixture(autouse=True)
def _counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EFFECTS", str(tmp_path / "effects"))


@pytest.mark.slow
@pytest.mark.parametrize("agent", [agents.sync_agent, agents.async_agent, agents.streaming_agent])
def test_an_agent_survives_a_kill_at_every_point(agent: Any) -> None:
    """Sync, async and streamed; the output is the user's own type, and so are the results of tools."""
    result, _ = survives_kills(agent, steps=agents.STEPS)
    output, said = result if agent is not agents.streaming_agent else result[0]
    assert output == agents.Total(total=7)
    assert ("ToolReturnPart", agents.Total(total=7)) in said


@pytest.mark.slow
def test_a_retry_that_the_model_is_asked_for_replays() -> None:
    """`ModelRetry` is what the call came to; the model is told of it again."""
    result, bench = survives_kills(
        lambda: agents.shown(agents.made(*agents.SCRIPT[2:]).run_sync("go")), steps=["shy", "shy"]
    )
    assert "not x" in str(result)
    assert [(s.status, s.error) for s in bench.steps()] == [
        ("failed", "ModelRetry: not x"),
        ("completed", None),
    ]


@pytest.mark.slow
def test_an_approval_that_a_tool_asks_for_is_no_failure() -> None:
    """It replays as a request; the approved call is another one."""

    def made() -> Agent[None, Any]:
        agent: Agent[None, Any] = Agent(
            agents.scripted([("send", {"to": "ann"})], [("final_result", {"total": 1})]),
            output_type=[agents.Total, DeferredToolRequests],
        )

        @agent.tool
        def send(ctx: RunContext[None], to: str) -> str:
            hit("send", to=to)
            if not ctx.tool_call_approved:
                raise ApprovalRequired
            return f"sent to {to}"

        return agent

    async def agent() -> Any:
        asked = await made().run("go")
        assert isinstance(asked.output, DeferredToolRequests)
        calls = asked.output.approvals
        results = DeferredToolResults(approvals={call.tool_call_id: True for call in calls})
        done = await made().run(message_history=asked.all_messages(), deferred_tool_results=results)
        return [call.tool_name for call in calls], agents.shown(done)

    (asked, (output, said)), bench = survives_kills(agent, steps=["send", "send"])
    assert (asked, output) == (["send"], agents.Total(total=1))
    assert ("ToolReturnPart", "sent to ann") in said
    assert [s.status for s in bench.steps()] == ["completed", "completed"]


def test_toolsets_in_toolsets_make_one_step_and_delegates_their_own() -> None:
    """Named as the model names it; a tool that runs another agent has that one's tools as children."""

    def double(n: int) -> int:
        hit("double", n=n)
        return 2 * n

    nested = CombinedToolset([CombinedToolset([FunctionToolset([double]).prefixed("my")])])

    async def agent() -> Any:
        outer: Agent[None, Any] = Agent(
            agents.scripted([("delegate", {"n": 2})], [("final_result", {"total": 4})]),
            output_type=agents.Total,
        )

        @outer.tool_plain
        async def delegate(n: int) -> int:
            turns = [("my_double", {"n": n})], [("final_result", {"total": 4})]
            helper: Agent[None, Any] = Agent(
                agents.scripted(*turns), output_type=agents.Total, toolsets=[nested]
            )
            return int((await helper.run("go")).output.total)

        return (await outer.run("go")).output

    forget()
    bench = Bench()
    bench.crash("after-outcome", 1, agent)
    assert bench.resume(agent) == agents.Total(total=4)
    assert effects() == {"double(n=2)": 1}
    assert sorted(s.name for s in bench.steps()) == ["delegate", "my_double"]


def test_nothing_is_patched_outside_a_run() -> None:
    """And a run that captures no tools makes none a step."""
    before = CombinedToolset.__dict__["call_tool"]
    inside: list[Any] = []

    def agent() -> Any:
        inside.append(CombinedToolset.__dict__["call_tool"])
        return agents.made(*agents.SCRIPT[:1], agents.SCRIPT[-1]).run_sync("go").output

    bench = Bench()
    assert bench.new(agent, capture=frozenset()) == agents.Total(total=7)
    assert inside[0] is not before
    assert bench.steps() == []
    assert CombinedToolset.__dict__["call_tool"] is before
