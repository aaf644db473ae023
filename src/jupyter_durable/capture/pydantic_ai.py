"""Pydantic AI's tools as steps: functions, toolsets of every kind, tools of the user's own toolsets.

Where: `CombinedToolset.call_tool`, the public method through which every agent calls every tool, below the
`ToolManager` that validates arguments and tells the model of errors, and above the toolset a tool comes from.
`ModelRetry` (what the model is to be told) is the outcome of a call and replays; `CallDeferred` and
`ApprovalRequired` are control flow. The run context says nothing about the call.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from contextvars import ContextVar
from types import ModuleType
from typing import Any

from jupyter_durable.capture.calls import (
    Asynchronous,
    Attributes,
    Errors,
    Hidden,
    belongs_to,
    capturing,
    make_async,
)
from jupyter_durable.capture.instruments import Captures, Undo
from jupyter_durable.errors import ApprovalRejected
from jupyter_durable.journal.keys import leave_out

# The call being made: a combined toolset may hold another one, and passes the call on to it.
_call: ContextVar[str | None] = ContextVar("jupyter_durable_pydantic_ai_call", default=None)


class PydanticAI:
    """Every tool call of a `pydantic_ai.Agent`."""

    name = "Pydantic AI"
    captures: Captures = "tools"
    # Tested (tests/unit/test_framework_pydantic_ai.py) with 1.0.0 and 2.68.0.
    supported: Mapping[str, str] = {"pydantic-ai-slim": ">=1.0,<3"}
    modules = ("pydantic_ai.toolsets.combined",)

    def patch(self, module: ModuleType) -> Undo:
        """Patch `CombinedToolset`."""
        errors = importlib.import_module("pydantic_ai.exceptions")
        aside = errors.CallDeferred, errors.ApprovalRequired
        patches = Attributes()
        patches.put(module.CombinedToolset, "call_tool", functools.partial(_call_tool, aside=aside))
        patches.then(leave_out(belongs_to("pydantic_ai")))
        return patches.undo


def _call_tool(call_tool: Asynchronous, aside: Errors) -> Asynchronous:
    @functools.wraps(call_tool)
    async def patched(self: Any, name: str, tool_args: dict[str, Any], ctx: Any, tool: Any) -> Any:
        call_id = getattr(ctx, "tool_call_id", None)
        again = call_id is not None and _call.get() == call_id
        # Structured output is a tool only to the model; releases before 2 call it like one.
        if not capturing() or again or tool.tool_def.kind == "output":
            return await call_tool(self, name, tool_args, ctx, tool)

        async def changed(**wanted: Any) -> Any:
            token = _call.set(call_id)
            try:
                return await call_tool(self, name, wanted, ctx, tool)
            finally:
                _call.reset(token)

        async def call() -> Any:
            return await changed(**tool_args)

        try:
            return await make_async(name, (), tool_args, Hidden(call, changed), aside)
        except ApprovalRejected as error:  # as the framework tells of a call that was denied
            return f"The tool call was denied: {error.args[0]}"

    return patched


INSTRUMENT = PydanticAI()
