"""LangChain's tools as steps, in LangGraph's graphs and anywhere else.

Where: between `BaseTool.run` (or `arun`), which validates what the model said and handles errors
(`handle_tool_error`, callbacks), and the tool's own `_run` (`_arun`). So it is the tool's bare result that is
journaled; the `ToolMessage` around it is LangChain's own on replay, too, and tracing sees every call.
What LangGraph injects (state, store, runtime) and `config` say nothing about the call.

An `interrupt()` inside a tool is control flow: it replays as such, and the tool is called again when the
graph is given the answer.

LangGraph also spawns a thread or a task for every node, and `ToolNode` one for every call. They are keyed by
what they are for: their arguments hold a checkpoint's ids and the whole state. Ids that the two libraries
make from the clock (runs, checkpoints) are read through the run, like all others.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any
from uuid import UUID

import wrapt

from jupyter_durable.capture.calls import (
    Asynchronous,
    Attributes,
    Errors,
    Hidden,
    capturing,
    make,
    make_async,
)
from jupyter_durable.capture.instruments import Captures, Undo
from jupyter_durable.errors import ApprovalRejected
from jupyter_durable.journal.keys import leave_out, name_strands
from jupyter_durable.runtime.context import SCOPE

_INJECTED = ("run_manager", "callbacks")


class LangChain:
    """Tools made of `langchain_core.tools.BaseTool`, whoever calls them, and the strands of LangGraph."""

    name = "LangChain"
    captures: Captures = "tools"
    # Tested (tests/unit/test_framework_langchain.py) with the lower ends and with 1.8.3 and 1.2.24.
    supported: Mapping[str, str] = {"langchain-core": ">=0.3.28,<2", "langgraph": ">=0.3.1,<2"}
    modules = (
        *("langchain_core.tools.base", "langchain_core.runnables.config", "langchain_core.utils.uuid"),
        *("langgraph.checkpoint.base.id", "langgraph.checkpoint.base", "langgraph.pregel._checkpoint"),
        "langgraph._internal._future",
    )

    def patch(self, module: ModuleType) -> Undo:
        """Patch one of `modules`."""
        name, patches = module.__name__, Attributes()
        if name == "langchain_core.tools.base":
            patches.put(module.BaseTool, "run", _run)
            patches.put(module.BaseTool, "arun", _arun)
        elif name == "langchain_core.runnables.config":
            patches.then(leave_out(_is_context))
            for function, key in _STRANDS.items():
                patches.then(name_strands(function, key))
        for made in ("_uuid_utils_uuid7", "uuid6"):
            if hasattr(module, made):
                patches.put(module, made, _recorded)
        if hasattr(module, "EAGER_NOT_SUPPORTED"):
            # Its shortcut to eager tasks (Python 3.12) goes past the loop's task factory, and so past ours.
            patches.put(module, "EAGER_NOT_SUPPORTED", lambda _: True)
        return patches.undo


def _node(task: Any, *_: Any, **__: Any) -> Any:
    return task.name, task.path


def _name(runnable: Any, *_: Any, **__: Any) -> Any:
    return runnable.name


def _asked(model: Any, messages: Any, *_: Any, **__: Any) -> Any:
    """What a model is asked: another model, or another key, is no other strand."""
    return [(type(message).__name__, getattr(message, "content", None)) for message in messages]


# By the names of this and of earlier releases.
_STRANDS: dict[str, Callable[..., Any]] = {
    "langgraph._internal._runnable:RunnableCallable.ainvoke": _name,
    "langgraph.utils.runnable:RunnableCallable.ainvoke": _name,
    "langchain_core.language_models.chat_models:BaseChatModel._agenerate_with_cache": _asked,
    "langgraph.pregel._retry:run_with_retry": _node,
    "langgraph.pregel._retry:arun_with_retry": _node,
    "langgraph.pregel.retry:run_with_retry": _node,
    "langgraph.pregel.retry:arun_with_retry": _node,
}
_CONFIG = frozenset(
    (
        *("tags", "metadata", "callbacks", "run_name", "run_id"),
        *("max_concurrency", "recursion_limit", "configurable"),
    )
)


def _is_context(value: Any) -> bool:
    """Whether an argument is a `RunnableConfig`, or what LangGraph makes of one for a node or a tool."""
    if type(value) is dict:
        return ("callbacks" in value or "configurable" in value) and _CONFIG.issuperset(value)
    return type(value).__name__ in ("Runtime", "ToolRuntime") and type(value).__module__.startswith(
        "langgraph."
    )


def _recorded(make_id: Callable[..., UUID]) -> Callable[..., UUID]:
    """An id made from the clock, in a durable scope the recorded one."""

    @functools.wraps(make_id)
    def recorded(*args: Any, **kwargs: Any) -> UUID:
        scope = SCOPE.get()
        if scope is None or scope.run.closed:
            return make_id(*args, **kwargs)
        return scope.run.values_of(scope).read(
            f"{make_id.__name__}@{make_id.__module__.partition('.')[0]}",
            lambda: make_id(*args, **kwargs),
            lambda value: value.hex,
            lambda text: UUID(hex=text),
        )

    return recorded


# -- tools -------------------------------------------------------------------------------------------


class _Tool(wrapt.ObjectProxy):  # type: ignore[type-arg]
    """A tool for the time of one call: its `_run` and `_arun` are a step, everything else is the tool's."""

    def __init__(self, tool: Any, tool_input: Any) -> None:
        super().__init__(tool)
        self._self_input = tool_input

    @property
    def _run(self) -> Callable[..., Any]:
        tool, run = self.__wrapped__, self.__wrapped__._run

        @functools.wraps(run)
        def step(*args: Any, **kwargs: Any) -> Any:
            data = _data(tool, self._self_input, kwargs)

            def again(*args: Any, **wanted: Any) -> Any:
                return run(*args, **{**kwargs, **wanted})

            return make(tool.name, args, data, functools.partial(run, *args, **kwargs), _aside(), again)

        return step

    @property
    def _arun(self) -> Asynchronous:
        tool, run = self.__wrapped__, self.__wrapped__._arun

        # Not a coroutine function: LangChain makes a task of what it returns, and its arguments key the strand.
        @functools.wraps(run)
        def step(*args: Any, **kwargs: Any) -> Any:
            data = _data(tool, self._self_input, kwargs)

            async def again(*args: Any, **wanted: Any) -> Any:
                return await run(*args, **{**kwargs, **wanted})

            once = functools.partial(run, *args, **kwargs)
            return make_async(tool.name, args, data, Hidden(once, again), _aside())

        return step


def _run(run: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(run)
    def patched(self: Any, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        if not capturing():
            return run(self, tool_input, *args, **kwargs)
        try:
            return run(_Tool(self, tool_input), tool_input, *args, **kwargs)
        except ApprovalRejected as error:
            return _denied(self, error, kwargs.get("tool_call_id"))

    return patched


def _denied(tool: Any, error: ApprovalRejected, call_id: str | None) -> Any:
    """A rejection as the model is told of it. Raises it where no model called the tool."""
    if call_id is None:
        raise error
    from langchain_core.messages import ToolMessage

    said = f"The tool call was rejected: {error.args[0]}"
    return ToolMessage(said, name=tool.name, tool_call_id=call_id, status="error")


def _arun(run: Asynchronous) -> Asynchronous:
    @functools.wraps(run)
    async def patched(self: Any, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        if not capturing():
            return await run(self, tool_input, *args, **kwargs)
        try:
            return await run(_Tool(self, tool_input), tool_input, *args, **kwargs)
        except ApprovalRejected as error:
            return _denied(self, error, kwargs.get("tool_call_id"))

    return patched


def _data(tool: Any, tool_input: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Of the arguments that `_run` gets, those that the model said (or a default did for it)."""
    if not isinstance(tool_input, dict):
        return {}
    said = _without_injected(tool, tool_input)
    return {name: kwargs.get(name, value) for name, value in said.items()}


def _without_injected(tool: Any, tool_input: dict[str, Any]) -> dict[str, Any]:
    own = getattr(tool, "_filter_injected_args", None)
    if own is not None:
        return own(tool_input)  # type: ignore[no-any-return]
    # Before langchain-core 1.1: what the full schema has and the one for the model has not.
    shown, full = tool.tool_call_schema, tool.get_input_schema()
    if isinstance(shown, dict) or isinstance(full, dict):
        return {k: v for k, v in tool_input.items() if k not in _INJECTED}
    hidden = {*_INJECTED, *_fields(full)} - set(_fields(shown))
    return {k: v for k, v in tool_input.items() if k not in hidden}


def _fields(schema: Any) -> Any:
    return getattr(schema, "model_fields", None) or getattr(schema, "__fields__", {})


def _aside() -> Errors:
    import sys

    errors = sys.modules.get("langgraph.errors")
    if errors is None:
        return ()
    return (getattr(errors, "GraphBubbleUp", None) or errors.GraphInterrupt,)  # the wider one since 0.2.50


INSTRUMENT = LangChain()
