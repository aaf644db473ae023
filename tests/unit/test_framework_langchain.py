"""LangChain's tools as steps, and LangGraph's strands."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated, Any

import pytest
from framework_runs import effects, forget, hit, survives_kills
from runs import Bench

pytest.importorskip("langgraph.prebuilt")

import langchain_agents as agents
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import BaseTool, ToolException, tool
from langgraph.checkpoint.memory import MemorySaver
from langgraph.prebuilt import InjectedState
from langgraph.types import Command, interrupt

import jupyter_durable as durable


@pytest.fixture(autouse=True)
def _counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EFFECTS", str(tmp_path / "effects"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("agent", "steps"),
    [
        (agents.sync_agent, [name if name != "later" else "add" for name in agents.STEPS]),
        (agents.async_agent, agents.STEPS),
        (agents.streaming_agent, agents.STEPS),
        (agents.chain_agent, ["add", "add", "shout", "add", "add"]),
    ],
)
def test_an_agent_survives_a_kill_at_every_point(agent: Any, steps: list[str]) -> None:
    """Sync (threads), async (tasks), streamed, and without a graph."""
    survives_kills(agent, steps=steps)


@pytest.mark.slow
def test_what_a_tool_raises_reaches_the_model_as_langchain_does_it() -> None:
    """The error is the step's; the message that tells of it is the framework's, on replay, too."""
    result, bench = survives_kills(
        lambda: agents.shown(
            agents.graph(
                (agents.say(("fails", {"q": "x"})), AIMessage("so be it")), [agents.fails], asynchronous=False
            ).invoke({"messages": [HumanMessage("go")]})["messages"]
        ),
        steps=["fails"],
    )
    kind, content, _, status = result[2]
    assert (kind, status) == ("ToolMessage", "error")
    assert "no x" in content
    assert (bench.steps()[0].status, bench.steps()[0].error) == ("failed", "ValueError: no x")


def test_handled_errors_and_callbacks_are_outside_the_step() -> None:
    """`handle_tool_error` and tracing see every call, replayed or not."""
    started: list[str] = []

    class Trace(BaseCallbackHandler):
        def on_tool_start(self, serialized: Any, input_str: str, **kwargs: Any) -> None:
            started.append(input_str)

    @tool
    def picky(q: str) -> str:
        """Raise what LangChain handles."""
        hit("picky", q=q)
        raise ToolException("not like that")

    picky.handle_tool_error = True

    def agent() -> Any:
        return picky.invoke({"q": "x"}, {"callbacks": [Trace()]})

    bench = Bench()
    assert bench.new(agent) == "not like that"
    assert bench.execute_replay(agent) == "not like that"
    assert len(started) == 2
    assert [s.status for s in bench.steps()] == ["failed"]


@pytest.mark.slow
def test_what_is_injected_says_nothing_about_the_call() -> None:
    """State, call id and config reach the tool, and are not its arguments."""
    got: list[Any] = []

    @tool
    def note(text: str, state: Annotated[dict[str, Any], InjectedState]) -> str:
        """Look at the state."""
        hit("note", text=text)
        got.append(len(state["messages"]))
        return text

    def agent() -> Any:
        made = agents.graph(
            (agents.say(("note", {"text": "t"})), AIMessage("done")), [note], asynchronous=False
        )
        return agents.shown(made.invoke({"messages": [HumanMessage("go")]})["messages"])

    _, bench = survives_kills(agent, steps=["note"])
    assert got[0] == 2
    assert bench.steps()[0].arguments == "note(text='t')"


@pytest.mark.slow
@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_interrupt_is_no_failure(asynchronous: bool) -> None:
    """It replays as an interrupt; the tool is called again with the answer, and both calls replay."""

    @tool
    def send(to: str) -> str:
        """Ask first."""
        hit("send", to=to)
        answer = interrupt(f"send to {to}?")
        return f"{answer}: sent to {to}"

    def made() -> Any:
        script = (agents.say(("send", {"to": "ann"})), AIMessage("done"))
        return agents.graph(script, [send], asynchronous=asynchronous, checkpointer=MemorySaver())

    config = {"configurable": {"thread_id": "1"}}

    def agent() -> Any:
        graph = made()
        graph.invoke({"messages": [HumanMessage("go")]}, config)
        asked = [i.value for task in graph.get_state(config).tasks for i in task.interrupts]
        return asked, agents.shown(graph.invoke(Command(resume="yes"), config)["messages"])

    async def later() -> Any:
        graph = made()
        await graph.ainvoke({"messages": [HumanMessage("go")]}, config)
        asked = [i.value for task in (await graph.aget_state(config)).tasks for i in task.interrupts]
        return asked, agents.shown((await graph.ainvoke(Command(resume="yes"), config))["messages"])

    (asked, messages), bench = survives_kills(later if asynchronous else agent, steps=["send", "send"])
    assert asked == ["send to ann?"]
    assert messages[2][1] == "yes: sent to ann"
    assert [s.status for s in bench.steps()] == ["completed", "completed"]


def test_a_durable_tool_inside_is_a_child() -> None:
    """What completed inside an attempt that was cut off is not done again."""
    bench = Bench()
    inner = bench.tool(lambda n: n + 1, name="inner")

    @tool
    def outer(n: int) -> int:
        """Make two durable calls."""
        return int(inner(n) + inner(n + 1))

    def agent() -> Any:
        return outer.invoke({"n": 1})

    bench.crash("after-outcome", 1, agent)
    assert bench.resume(agent) == 5
    assert bench.effects == {"inner(1,)": 1, "inner(2,)": 1}


def test_a_result_that_cannot_be_stored_is_said_to_the_person_too() -> None:
    """The framework would tell only the model."""

    @tool
    def lock() -> Any:
        """Give what has no stored form."""
        return threading.Lock()

    def agent() -> Any:
        made = agents.graph((agents.say(("lock", {})), AIMessage("done")), [lock], asynchronous=False)
        return agents.shown(made.invoke({"messages": [HumanMessage("go")]})["messages"])

    bench = Bench()
    assert bench.new(agent)[2][3] == "error"
    assert any("lock" in text for text in bench.notices)


def test_the_messages_are_langchains_own() -> None:
    """Their type, id and artifact, from a replay."""

    def agent() -> Any:
        return agents.fetch.invoke({"name": "fetch", "args": {"url": "u"}, "id": "c1", "type": "tool_call"})

    bench = Bench()
    bench.new(agent)
    message = bench.execute_replay(agent)
    assert type(message) is ToolMessage
    assert (message.content, message.tool_call_id, message.artifact) == ("text of u", "c1", {"status": 200})


def test_nothing_is_patched_outside_a_run() -> None:
    """And a run that captures no tools makes none a step."""
    before = BaseTool.run, BaseTool.arun
    inside: list[Any] = []

    def agent() -> Any:
        inside.append(BaseTool.run)
        return agents.add.invoke({"a": 1, "b": 2})

    forget()
    bench = Bench()
    assert bench.new(agent, capture=frozenset()) == 3
    assert inside[0] is not before[0]
    assert bench.steps() == []
    assert (BaseTool.run, BaseTool.arun) == before
    assert agents.add.invoke({"a": 1, "b": 2}) == 3
    assert effects() == {"add(a=1, b=2)": 2}
    assert durable.step("one", lambda: 1) == 1
