"""Function tools of the OpenAI Agents SDK as steps; its hosted tools run at the provider and are model calls.

Where: what `@function_tool` makes is called through an invoker that turns errors into text for the model
(`failure_error_function`); the step is what it invokes, below that. A `FunctionTool` made by hand has an
`on_invoke_tool` of its own: that is the step. Guardrails, hooks and tracing are outside and see every call.
The context says nothing about the call; the arguments are the JSON that the model wrote.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Awaitable, Callable, Mapping
from types import ModuleType
from typing import Any

import wrapt

from jupyter_durable.capture.calls import Asynchronous, Attributes, Hidden, belongs_to, capturing, make_async
from jupyter_durable.capture.instruments import Captures, Undo
from jupyter_durable.errors import ApprovalRejected
from jupyter_durable.journal.keys import leave_out

_INVOKE = ("_invoke_function_tool_with_metadata", "invoke_function_tool")


class OpenAIAgents:
    """Every `agents.FunctionTool`, agents as tools and tools of MCP servers included."""

    name = "OpenAI Agents"
    captures: Captures = "tools"
    # Tested (tests/unit/test_framework_openai_agents.py) with 0.10.5, the first with such an invoker, and 0.24.0.
    supported: Mapping[str, str] = {"openai-agents": ">=0.10.5,<1"}
    # The second imports by name what the first defines.
    modules = ("agents.tool", "agents.run_internal.tool_execution")

    def patch(self, module: ModuleType) -> Undo:
        """Patch one of `modules`."""
        patches = Attributes()
        if module.__name__ == "agents.tool":
            patches.put(module._FailureHandlingFunctionToolInvoker, "__call__", _invoker)
            patches.then(leave_out(belongs_to("agents")))
        for name in _INVOKE:
            if hasattr(module, name):
                patches.put(module, name, _invoke)
        return patches.undo


class _Invoker(wrapt.ObjectProxy):  # type: ignore[type-arg]
    """An invoker for the time of one call: what it invokes is a step."""

    def __init__(self, invoker: Any, name: str) -> None:
        super().__init__(invoker)
        self._self_name = name

    @property
    def _invoke_tool_impl(self) -> Callable[[Any, str], Awaitable[Any]]:
        return _step(self._self_name, self.__wrapped__._invoke_tool_impl)


class _Tool(wrapt.ObjectProxy):  # type: ignore[type-arg]
    """A tool made by hand, for the time of one call."""

    @property
    def on_invoke_tool(self) -> Asynchronous:
        return _step(self.__wrapped__.name, self.__wrapped__.on_invoke_tool)


def _step(name: str, invoke: Asynchronous) -> Asynchronous:
    @functools.wraps(invoke)
    def step(ctx: Any, arguments: str) -> Awaitable[Any]:
        args, kwargs = _said(arguments)

        async def again(*_: Any, **wanted: Any) -> Any:
            return await invoke(ctx, json.dumps(wanted))

        once = functools.partial(invoke, ctx, arguments)
        return _make(name, args, kwargs, Hidden(once, None if args else again))

    return step


async def _make(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], fn: Hidden) -> Any:
    try:
        return await make_async(name, args, kwargs, fn)
    except ApprovalRejected as error:  # not "please try again", which is what the SDK says of errors
        return f"The tool call was rejected: {error.args[0]}"


def _said(arguments: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    try:
        value = json.loads(arguments) if arguments else {}
    except ValueError:
        value = arguments  # the tool will say so to the model
    return ((), value) if isinstance(value, dict) else ((value,), {})


def _invoker(call: Asynchronous) -> Asynchronous:
    @functools.wraps(call)
    async def patched(self: Any, ctx: Any, input: str) -> Any:  # noqa: A002 - as the SDK has it
        if not capturing():
            return await call(self, ctx, input)
        name = getattr(ctx, "tool_name", None) or getattr(self._function_tool, "name", "tool")
        return await call(_Invoker(self, str(name)), ctx, input)

    return patched


def _invoke(invoke: Asynchronous) -> Asynchronous:
    @functools.wraps(invoke)
    async def patched(*, function_tool: Any, **rest: Any) -> Any:
        if capturing() and type(function_tool) is not _Tool and not _handled(function_tool.on_invoke_tool):
            function_tool = _Tool(function_tool)
        return await invoke(function_tool=function_tool, **rest)

    return patched


def _handled(invoker: Any) -> bool:
    return type(invoker).__name__ == "_FailureHandlingFunctionToolInvoker"


INSTRUMENT = OpenAIAgents()
