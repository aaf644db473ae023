"""Agents made with the OpenAI Agents SDK, over a scripted model."""

import json
from typing import Any

from agents import (
    Agent,
    FunctionTool,
    Model,
    ModelResponse,
    RunContextWrapper,
    Runner,
    Usage,
    function_tool,
    set_tracing_disabled,
)
from framework_runs import hit
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
)
from pydantic import BaseModel

set_tracing_disabled(True)


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
    [("fails", {"q": "x"}), ("by_hand", {"q": "y"})],
    '{"total": 7}',
)
STEPS = ["add", "add", "later", "add", "add", "fails", "by_hand"]


class Scripted(Model):
    """Says one turn after the other, whole or streamed."""

    def __init__(self, turns: tuple[Any, ...]) -> None:
        self.turns = list(turns)

    def _next(self) -> list[Any]:
        left, said = len(self.turns), self.turns.pop(0)
        if isinstance(said, str):
            text = ResponseOutputText(annotations=[], text=said, type="output_text")
            return [
                ResponseOutputMessage(
                    id="m", content=[text], role="assistant", status="completed", type="message"
                )
            ]
        return [
            ResponseFunctionToolCall(
                arguments=json.dumps(args),
                call_id=f"c{left}-{n}",
                name=name,
                type="function_call",
                id=f"f{left}-{n}",
            )
            for n, (name, args) in enumerate(said)
        ]

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        return ModelResponse(output=self._next(), usage=Usage(), response_id=None)

    async def stream_response(self, *args: Any, **kwargs: Any) -> Any:
        response = Response(
            id="r",
            created_at=0,
            model="scripted",
            object="response",
            output=self._next(),
            tool_choice="auto",
            tools=[],
            parallel_tool_calls=True,
        )
        yield ResponseCompletedEvent(response=response, type="response.completed", sequence_number=0)


@function_tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    hit("add", a=a, b=b)
    return a + b


@function_tool
async def later(ctx: RunContextWrapper[Any], a: int, b: int) -> Total:
    """Add two numbers, asynchronously."""
    hit("later", a=a, b=b)
    return Total(total=a + b)


@function_tool
def fails(q: str) -> str:
    """Never works."""
    hit("fails", q=q)
    raise ValueError(f"no {q}")


async def _by_hand(ctx: Any, arguments: str) -> str:
    hit("by_hand", **json.loads(arguments))
    return f"by hand {arguments}"


_SCHEMA = {
    "type": "object",
    "properties": {"q": {"type": "string"}},
    "required": ["q"],
    "additionalProperties": False,
}
by_hand = FunctionTool(name="by_hand", description="d", params_json_schema=_SCHEMA, on_invoke_tool=_by_hand)


def made(*turns: Any) -> Agent[Any]:
    """An agent with tools of every kind."""
    tools: list[Any] = [add, later, fails, by_hand]
    return Agent(name="helper", model=Scripted(turns or SCRIPT), tools=tools, output_type=Total)


def shown(result: Any) -> Any:
    """The output, and all items."""
    return result.final_output, [(type(i).__name__, getattr(i, "output", None)) for i in result.new_items]


async def async_agent() -> Any:
    """Async, parallel calls in tasks, structured output."""
    return shown(await Runner.run(made(), "go"))


def sync_agent() -> Any:
    """The same, called from sync code."""
    return shown(Runner.run_sync(made(), "go"))


async def streaming_agent() -> Any:
    """Its events one by one."""
    result = Runner.run_streamed(made(), "go")
    events = [event.type async for event in result.stream_events()]
    return shown(result), events
