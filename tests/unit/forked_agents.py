"""An agent to be forked, and where its steps are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runs import Bench

from jupyter_durable.session.forking import Forked


def at(bench: Bench, name: str, nth: int = 0) -> str:
    """The id of the nth step of that name."""
    return [step.id for step in bench.steps() if step.name == name][nth]


def three(bench: Bench) -> Callable[[], list[Any]]:
    """Three calls, each of which depends on the ones before."""
    add = bench.tool(lambda total, n: total + n, name="add")

    def agent() -> list[int]:
        found = [0]
        for n in (1, 10, 100):
            found.append(add(found[-1], n))
        return found

    return agent


def go_on(bench: Bench, forked: Forked, fn: Callable[[], Any], **options: Any) -> Any:
    """Resume a fork that was made."""
    assert bench.record.id == forked.id
    return bench.resume(fn, **options)
