"""Agents made with smolagents, over a scripted model."""

from typing import Any

import smolagents
from framework_runs import hit
from smolagents import ChatMessage, CodeAgent, Model, Tool, ToolCallingAgent, tool
from smolagents.models import ChatMessageToolCall, MessageRole

try:
    from smolagents.models import ChatMessageToolCallFunction as Function
except ImportError:  # before 1.16
    from smolagents.models import ChatMessageToolCallDefinition as Function

_VERSION = tuple(map(int, smolagents.__version__.split(".")[:2]))
PARALLEL = _VERSION >= (1, 20)
"""Whether a `ToolCallingAgent` makes all the calls that a model asks for at once."""
_OPEN, _CLOSE = ("<code>", "</code>") if _VERSION >= (1, 20) else ("```py", "```<end_code>")


@tool
def add(a: int, b: int) -> int:
    """Add two numbers.

    Args:
        a: one
        b: the other
    """
    hit("add", a=a, b=b)
    return a + b


class Shy(Tool):
    """A tool that is a class, and does not like x."""

    name = "shy"
    description = "Say it."
    inputs = {"q": {"type": "string", "description": "what"}}  # noqa: RUF012 - as smolagents wants it
    output_type = "string"

    def forward(self, q: str) -> str:
        hit("shy", q=q)
        if q == "x":
            raise ValueError("not x")
        return q


class Scripted(Model):
    """Says one message after the other."""

    def __init__(self, script: list[ChatMessage]) -> None:
        super().__init__(model_id="scripted")
        self.script = script

    def generate(self, *args: Any, **kwargs: Any) -> ChatMessage:
        return self.script.pop(0)

    __call__ = generate


def say(*calls: tuple[str, dict[str, Any]]) -> ChatMessage:
    """What a model says that wants tools called."""
    made = [
        ChatMessageToolCall(id=f"c{n}{name}", type="function", function=Function(name=name, arguments=args))
        for n, (name, args) in enumerate(calls)
    ]
    return ChatMessage(role=MessageRole.ASSISTANT, content="", tool_calls=made)


def write(code: str) -> ChatMessage:
    """What a model says that writes code."""
    return ChatMessage(role=MessageRole.ASSISTANT, content=f"Thought: so\n{_OPEN}\n{code}\n{_CLOSE}")


def shown(agent: Any, result: Any) -> Any:
    """The answer, and what the agent remembers of every step."""
    steps = agent.memory.steps
    return (
        result,
        [str(getattr(s, "observations", "")) for s in steps],
        [str(getattr(s, "error", "")) for s in steps],
    )


def tool_calling_agent() -> Any:
    """Calls by name, in threads."""
    many = [("add", {"a": 1, "b": 2}), ("add", {"a": 3, "b": 4}), ("shy", {"q": "z"})]
    script = [
        say(("add", {"a": 1, "b": 2})),
        say(*(many if PARALLEL else many[:1])),
        say(("shy", {"q": "x"})),
        say(("final_answer", {"answer": "done"})),
    ]
    agent = ToolCallingAgent(tools=[add, Shy()], model=Scripted(script), verbosity_level=0)
    return shown(agent, agent.run("go"))


# Earlier releases do not call the tool that says the final answer.
ANSWER = ["final_answer"] if PARALLEL else []
TOOL_CALLING_STEPS = ["add", "add", *(["add", "shy"] if PARALLEL else []), "shy", *ANSWER]


def code_agent() -> Any:
    """Calls from code that the model writes."""
    script = [
        write("x = add(a=1, b=2)\ny = [add(a=i, b=4) for i in range(3)]\nprint(x, y)"),
        write("shy(q='x')"),
        write("final_answer(answer=str(y))"),
    ]
    agent = CodeAgent(tools=[add, Shy()], model=Scripted(script), verbosity_level=0)
    return shown(agent, agent.run("go"))


CODE_STEPS = ["add", "add", "add", "add", "shy", "final_answer"]


def streaming_agent() -> Any:
    """Its steps one by one."""
    script = [
        say(("add", {"a": 1, "b": 2})),
        say(("shy", {"q": "z"})),
        say(("final_answer", {"answer": "done"})),
    ]
    agent = ToolCallingAgent(tools=[add, Shy()], model=Scripted(script), verbosity_level=0)
    return [type(step).__name__ for step in agent.run("go", stream=True)]
