"""What a script is made of: replies, and the troubles that may come before them.

    Reply    what the model says        reply("text"), reply(tool_calls=[call("search", q="x")]), reply(json={...})
    Trouble  what goes wrong with it    fault(429, times=2), cut(after=3), drop(), slow(delay=0.05)

Both are plain frozen values: a script can be written down once and shared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from jupyter_durable.capture.wire.writing.replies import Reply


@dataclass(frozen=True)
class Trouble:
    """Something that the same request meets `times` times before the reply that follows. See `fault` and the rest."""

    kind: Literal["fault", "cut", "drop", "slow"]
    times: float | None = None
    status: int = 500
    message: str = ""
    retry_after: float | None = None
    after: int | None = None
    reset: bool = False
    delay: float = 0.0
    first: float = 0.0


Item = Reply | Trouble | str
"""What may stand in a script; a string is a reply."""
Chain = tuple[Reply | Trouble, ...]
"""What one request gets: troubles, then a reply."""


def fault(
    status: int,
    message: str = "",
    *,
    times: float | None = None,
    retry_after: float | None = None,
    after: int | None = None,
) -> Trouble:
    """An error as the provider would send it: its status, JSON, headers.

    `times`: how often the same request meets it, by default once if something follows it in the script,
    else always. `retry_after`: seconds, in the header SDKs look at. `after`: a streamed answer begins
    well and the error comes as an event after so many chunks of content.
    """
    return Trouble("fault", times, status, message, retry_after, after)


def cut(after: int = 1, *, times: float = 1, reset: bool = False) -> Trouble:
    """The connection breaks off after `after` chunks of content of the next reply; not streamed, in the middle of the body.

    With `reset` it is not closed but reset. `math.inf` times: always.
    """
    return Trouble("cut", times, after=after, reset=reset)


def drop(*, times: float | None = None) -> Trouble:
    """The connection is closed without a word of an answer. `times` as for `fault`."""
    return Trouble("drop", times)


def slow(
    *, delay: float = 0.0, tokens_per_second: float | None = None, first: float = 0.0, times: float = math.inf
) -> Trouble:
    """The next reply takes its time: `first` seconds before it begins, `delay` between chunks of content."""
    return Trouble("slow", times, delay=1 / tokens_per_second if tokens_per_second else delay, first=first)
