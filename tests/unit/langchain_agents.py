"""Agents made with LangChain and LangGraph, over a scripted model."""

from typing import Any

from framework_runs import hit
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    hit("add", a=a, b=b)
    return a + b


@tool
async def later(a: int, b: int) -> int:
    """Add two numbers, asynchronously."""
    hit("later", a=a, b=b)
    return a + b


@tool
def fails(q: str) -> str:
    """Never works."""
    hit("fails", q=q)
    raise ValueError(f"no {q}")


@tool(response_format="content_and_artifact")
def fetch(url: str) -> tuple[str, dict[str, int]]:
    """Give the model the text, and the program an artifact."""
    hit("fetch", url=url)
    return f"text of {url}", {"status": 200}


class Shout(BaseTool):
    """A tool that is a class."""

    name: str = "shout"
    description: str = "Shout."

    def _run(self, text: str, run_manager: Any = None) -> str:
        hit("shout", text=text)
        return text.upper()


def say(*calls: tuple[str, dict[str, Any]]) -> AIMessage:
    """What a model says that wants tools called."""
    return AIMessage(
        "",
        tool_calls=[
            {"name": name, "args": args, "id": f"call-{n}-{name}", "type": "tool_call"}
            for n, (name, args) in enumerate(calls)
        ],
    )


SCRIPT = (
    say(("add", {"a": 1, "b": 2})),
    say(
        ("add", {"a": 1, "b": 2}),
        ("later", {"a": 3, "b": 4}),
        ("add", {"a": 1, "b": 2}),
        ("add", {"a": 5, "b": 6}),
    ),
    say(("fails", {"q": "x"}), ("fetch", {"url": "u"})),
    say(("shout", {"text": "hi"})),
    AIMessage("done"),
)
STEPS = ["add", "add", "later", "add", "add", "fails", "fetch", "shout"]
SYNC = tuple(
    say(*[("add" if c["name"] == "later" else c["name"], c["args"]) for c in m.tool_calls])
    if m.tool_calls
    else m
    for m in SCRIPT
)


def graph(script: tuple[AIMessage, ...], tools: list[Any], *, asynchronous: bool, **compile_with: Any) -> Any:
    """A model that follows `script`, and its tools."""
    model = GenericFakeChatModel(messages=iter([m.model_copy() for m in script]))

    def ask(state: MessagesState, config: RunnableConfig) -> Any:
        return {"messages": [model.invoke(state["messages"], config)]}

    async def ask_later(state: MessagesState, config: RunnableConfig) -> Any:
        return {"messages": [await model.ainvoke(state["messages"], config)]}

    def after(state: MessagesState) -> str:
        return "tools" if state["messages"][-1].tool_calls else END

    built = StateGraph(MessagesState)
    built.add_node("model", ask_later if asynchronous else ask)
    built.add_node("tools", ToolNode(tools, handle_tool_errors=True))
    built.add_edge(START, "model")
    built.add_conditional_edges("model", after)
    built.add_edge("tools", "model")
    return built.compile(**compile_with)


def shown(messages: list[Any]) -> list[Any]:
    """Everything about messages but their ids."""
    return [
        (type(m).__name__, m.content, getattr(m, "artifact", None), getattr(m, "status", None))
        for m in messages
    ]


TOOLS = [add, later, fails, fetch, Shout()]


def sync_agent() -> Any:
    """Sync, parallel calls in LangGraph's threads."""
    made = graph(SYNC, TOOLS, asynchronous=False).invoke({"messages": [HumanMessage("go")]})
    return shown(made["messages"])


async def async_agent() -> Any:
    """Async, parallel calls in tasks."""
    made = await graph(SCRIPT, TOOLS, asynchronous=True).ainvoke({"messages": [HumanMessage("go")]})
    return shown(made["messages"])


async def streaming_agent() -> Any:
    """Async, its updates streamed."""
    seen = []
    async for update in graph(SCRIPT, TOOLS, asynchronous=True).astream(
        {"messages": [HumanMessage("go")]}, stream_mode="updates"
    ):
        for node, changed in update.items():
            seen.append((node, shown(changed["messages"])))
    return seen


def chain_agent() -> Any:
    """No graph: tools called by hand, as messages and as functions."""
    message = add.invoke({"name": "add", "args": {"a": 1, "b": 2}, "id": "c1", "type": "tool_call"})
    return (
        shown([message]),
        add.invoke({"a": 3, "b": 4}),
        Shout().run({"text": "hi"}),
        add.batch([{"a": 5, "b": 6}] * 2),
    )
