"""Which steps an error came from.

An exception that a step raised is marked with the step. The mark is looked for through `__cause__`,
`__context__` and the members of exception groups, because agents wrap what they catch.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

_MARK = "__durable_step__"


def mark(error: Any, run_id: str, scope: int, pos: int) -> None:
    """Remember that this step raised `error` (or returned this response). The outermost step wins."""
    try:
        setattr(error, _MARK, (run_id, scope, pos))
    except AttributeError:  # a class with __slots__; its steps are not found, which `finish` says
        return


def origins(error: BaseException | None, run_id: str) -> list[tuple[int, int]]:
    """The steps of this run that `error` came from, as (scope, position), without duplicates."""
    found: dict[tuple[int, int], None] = {}
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        current = todo.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        # An SDK's error has the response it was made from: that may be a step's.
        for holder in (current, vars(current).get("response")):
            marked = getattr(holder, _MARK, None)
            if marked is not None and marked[0] == run_id:
                found[marked[1], marked[2]] = None
        todo += [current.__cause__, current.__context__]
        if isinstance(current, BaseExceptionGroup):
            todo += current.exceptions
    return list(found)


def unwinding(run_id: str) -> tuple[str, tuple[tuple[int, int], ...]]:
    """What the caller is cleaning up after: ("c", ()) a cancel, ("e", steps) errors of steps, or ("", ())."""
    error = sys.exc_info()[1]
    if error is None:
        return "", ()
    if isinstance(error, asyncio.CancelledError | KeyboardInterrupt):
        return "c", ()
    steps = tuple(origins(error, run_id))
    return ("e", steps) if steps else ("", ())


def first_line(error: BaseException) -> str:
    """What an error says, in a line of at most 300 characters; empty if it cannot say anything."""
    try:
        text = str(error.args[0]) if error.args else str(error)
    except Exception:  # noqa: BLE001 - a user's __str__ may fail, closing the run must not
        return ""
    return text.splitlines()[0][:300] if text else ""
