"""Agents made with Pydantic AI, over a scripted model."""

import re
from collections.abc import AsyncIterator
from typing import Any

from framework_runs import hit
from pydantic import BaseModel
from pydantic_ai import Agent, ModelRetry, RunContext
from pydantic_ai.messages import ModelResponse, ToolCallPart
from pydantic_ai.models.function import DeltaToolCall, FunctionModel


class Total(BaseModel):
    """What the agent is asked for."""

    total: int


SCRIPT = (
    [("add", {"a": 1, "b": 2})],
    [
        ("add", {"a": 1, "b": 2}),
        ("later", {"a": 3, "b": 4}),
        ("add", {"a": 1, "b": 2}),
        ("add", {"a": 5, "b": 6}),
    ],
    [("shy", {"q": "x"})],
    [("shy", {"q": "y"})],
    [("final_result", {"total": 7})],
)
STEPS = ["add", "add", "later", "add", "add", "shy", "shy"]


def scripted(*turns: Any) -> FunctionModel:
    """A model that says `turns`, one after the other, whole or streamed."""

    def parts(messages: list[Any]) -> list[ToolCallPart]:
        said = turns[sum(type(m) is ModelResponse for m in messages)]
        return [
            ToolCallPart(name, args, tool_call_id=f"call-{n}-{name}") for n, (name, args) in enumerate(said)
        ]

    def whole(messages: list[Any], info: Any) -> ModelResponse:
        return ModelResponse(parts=parts(messages))

    async def streamed(messages: list[Any], info: Any) -> AsyncIterator[dict[int, DeltaToolCall]]:
        for n, part in enumerate(parts(messages)):
            yield {n: DeltaToolCall(name=part.tool_name, tool_call_id=part.tool_call_id)}
            for piece in re.findall("..?", part.args_as_json_str()):
                yield {n: DeltaToolCall(json_args=piece)}

    return FunctionModel(whole, stream_function=streamed)


def made(*turns: Any) -> Agent[None, Total]:
    """An agent with tools of every kind."""
    agent: Agent[None, Total] = Agent(scripted(*(turns or SCRIPT)), output_type=Total)

    @agent.tool_plain
    def add(a: int, b: int) -> int:
        hit("add", a=a, b=b)
        return a + b

    @agent.tool
    async def later(ctx: RunContext[None], a: int, b: int) -> Total:
        hit("later", a=a, b=b)
        return Total(total=a + b)

    @agent.tool_plain(retries=3)
    def shy(q: str) -> str:
        hit("shy", q=q)
        if q == "x":
            raise ModelRetry("not x")
        return q

    return agent


def shown(result: Any) -> Any:
    """The output, and all that was said."""
    said = [(type(p).__name__, getattr(p, "content", None)) for m in result.all_messages() for p in m.parts]
    return result.output, said


async def async_agent() -> Any:
    """Async, parallel calls in tasks, structured output."""
    return shown(await made().run("go"))


def sync_agent() -> Any:
    """The same, called from sync code."""
    return shown(made().run_sync("go"))


async def streaming_agent() -> Any:
    """Its nodes and the model's parts one by one."""
    events = []
    async with made().iter("go") as run:
        async for node in run:
            if Agent.is_model_request_node(node) or Agent.is_call_tools_node(node):
                async with node.stream(run.ctx) as stream:
                    events += [type(event).__name__ async for event in stream]
    return shown(run.result), events
