"""smolagents' tools as steps, called by a `ToolCallingAgent` or from the code that a `CodeAgent` runs.

Where: between `Tool.__call__`, which makes its inputs and outputs what an agent handles, and the tool's own
`forward`. What a tool raises is the step's outcome, and reaches the model as smolagents does it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import wrapt

from jupyter_durable.capture.calls import Attributes, capturing, make
from jupyter_durable.capture.instruments import Captures, Undo


class SmolAgents:
    """Every `smolagents.Tool`. Code that runs elsewhere (Docker, E2B) calls its tools there, unseen."""

    name = "smolagents"
    captures: Captures = "tools"
    # Tested (tests/unit/test_framework_smolagents.py) with 1.10.0 and 1.26.0.
    supported: Mapping[str, str] = {"smolagents": ">=1.10,<2"}
    modules = ("smolagents.tools",)

    def patch(self, module: ModuleType) -> Undo:
        """Patch `Tool`."""
        patches = Attributes()
        patches.put(module.Tool, "__call__", _call)
        return patches.undo


class _Tool(wrapt.ObjectProxy):  # type: ignore[type-arg]
    """A tool for the time of one call: its `forward` is a step, everything else is the tool's."""

    @property
    def forward(self) -> Callable[..., Any]:
        tool, forward = self.__wrapped__, self.__wrapped__.forward

        @functools.wraps(forward)
        def step(*args: Any, **kwargs: Any) -> Any:
            return make(tool.name, args, kwargs, functools.partial(forward, *args, **kwargs), again=forward)

        return step


def _call(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def patched(self: Any, *args: Any, **kwargs: Any) -> Any:
        return call(_Tool(self) if capturing() else self, *args, **kwargs)

    return patched


INSTRUMENT = SmolAgents()
