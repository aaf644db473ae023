"""Pools that OpenTelemetry has instrumented: before a run, in it, or not, their strands are the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest
import wrapt
from runs import Bench


def _submit(call_wrapped: Callable[..., Future[Any]], instance: Any, args: Any, kwargs: Any) -> Future[Any]:
    """As `opentelemetry.instrumentation.threading` has it, with the names that it is known by."""
    original_func = args[0]

    def wrapped_func(*func_args: Any, **func_kwargs: Any) -> Any:
        return original_func(*func_args, **func_kwargs)

    wrapped_func.__module__ = "opentelemetry.instrumentation.threading"
    return call_wrapped(wrapped_func, *args[1:], **kwargs)


@pytest.fixture
def instrument() -> Iterator[Callable[[], None]]:
    """Instruments the pools when it is called; afterwards they are as they were."""
    before = ThreadPoolExecutor.submit
    yield lambda: wrapt.wrap_function_wrapper(ThreadPoolExecutor, "submit", _submit)
    ThreadPoolExecutor.submit = before  # type: ignore[method-assign]


def strands(bench: Bench) -> list[tuple[int, str]]:
    """The run's strands: the parent of each, and what of its key does not depend on the store."""
    entries = bench.store.entries(bench.record.id)
    return [
        (entry.meta["p"], entry.meta["k"].partition("~")[0]) for entry in entries if entry.type == "scope"
    ]


def test_a_framework_instruments_pools_in_the_middle_of_a_run(
    bench: Bench, instrument: Callable[[], None]
) -> None:
    """As Strands does when it is imported; the next life finds them instrumented."""
    instruments = False

    async def inside(ask: Callable[[str], str]) -> str:
        return ask("a") + ask("b")

    def agent() -> str:
        if instruments and not hasattr(ThreadPoolExecutor.submit, "__wrapped__"):
            instrument()
        with ThreadPoolExecutor() as pool:
            return pool.submit(copy_context().run, lambda: asyncio.run(inside(ask))).result()

    plain = Bench()
    ask = plain.tool(lambda text: text.upper(), name="ask")
    assert plain.new(agent) == "AB"
    instruments = True
    ask = bench.tool(lambda text: text.upper(), name="ask")
    assert bench.new(agent) == "AB"
    assert hasattr(ThreadPoolExecutor.submit, "__wrapped__")
    assert strands(bench) == strands(plain)
    assert bench.execute_replay(agent) == "AB"
    assert bench.effects.total() == 2
