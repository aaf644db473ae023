"""Durable execution for agents that live in notebooks.

The tour, in reading order:

    %load_ext jupyter_durable       then `%%durable NAME` as the first line of a cell makes it a run
    tool, step                      what becomes a step of it
    sleep, wait_for, ask            what it may wait for: timers, signals (which `send` sends), people
    Toolset, ToolResult             tools from anywhere (functions, MCP servers, frameworks) behind one API
    idempotency_key, now, uuid4     what a tool may ask; log, progress: what it may say
    redact                          what else is a secret: stored encrypted, shown as dots
    run                             the same engine around a function or a block, outside notebooks
    timeline                        a run as a live widget; `%durable timeline` shows it
    diff                            two runs, step by step: where they part
    open_store                      the runs of a store, exporting them, and deciding about them from another process
    testing                         prove that your agent survives: crash points, shuffled schedules
    DurableError, ...               every error carries `.hint`, the exact next step
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jupyter_durable.capture.functions import idempotency_key, log, now, progress, step, tool, uuid4
    from jupyter_durable.capture.people import ask, sleep, wait_for
    from jupyter_durable.capture.toolset import ToolResult, Toolset
    from jupyter_durable.codec.redaction import redact
    from jupyter_durable.errors import (
        AlreadyDecidedError,
        ApprovalRejected,
        BudgetExceeded,
        DivergenceError,
        DurableError,
        EncodingError,
        IntegrityError,
        LeaseHeldError,
        LeaseLost,
        RunClosedError,
        RunNotFoundError,
        RunParked,
        RunWaiting,
        StepInDoubtError,
        StoreError,
    )
    from jupyter_durable.runtime.doubt import RETRY, UNKNOWN
    from jupyter_durable.session import open_store, run, send
    from jupyter_durable.session.diffing import diff
    from jupyter_durable.session.watching import timeline

__all__ = [
    "RETRY",
    "UNKNOWN",
    "AlreadyDecidedError",
    "ApprovalRejected",
    "BudgetExceeded",
    "DivergenceError",
    "DurableError",
    "EncodingError",
    "IntegrityError",
    "LeaseHeldError",
    "LeaseLost",
    "RunClosedError",
    "RunNotFoundError",
    "RunParked",
    "RunWaiting",
    "StepInDoubtError",
    "StoreError",
    "ToolResult",
    "Toolset",
    "ask",
    "diff",
    "idempotency_key",
    "load_ipython_extension",
    "log",
    "now",
    "open_store",
    "progress",
    "redact",
    "run",
    "send",
    "sleep",
    "step",
    "timeline",
    "tool",
    "unload_ipython_extension",
    "uuid4",
    "wait_for",
]

_HOMES = {
    **dict.fromkeys(
        ("idempotency_key", "log", "now", "progress", "step", "tool", "uuid4"),
        "jupyter_durable.capture.functions",
    ),
    "redact": "jupyter_durable.codec.redaction",
    "diff": "jupyter_durable.session.diffing",
    **dict.fromkeys(("ToolResult", "Toolset"), "jupyter_durable.capture.toolset"),
    **dict.fromkeys(("ask", "sleep", "wait_for"), "jupyter_durable.capture.people"),
    **dict.fromkeys(("run", "open_store", "send"), "jupyter_durable.session"),
    **dict.fromkeys(("RETRY", "UNKNOWN"), "jupyter_durable.runtime.doubt"),
}


def __getattr__(name: str) -> Any:
    # Looked up on first use: `%load_ext` must not pay for the engine.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "timeline":  # a package that can be called: see its docstring
        return importlib.import_module("jupyter_durable.timeline")
    value = getattr(importlib.import_module(_HOMES.get(name, "jupyter_durable.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext jupyter_durable`."""
    from jupyter_durable.kernel.extension import load

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """`%unload_ext jupyter_durable`."""
    from jupyter_durable.kernel.extension import unload

    unload(shell)
