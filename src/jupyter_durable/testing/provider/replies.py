"""What a script is made of: replies, and the troubles that may come before them.

    Reply    what the model says        reply("text"), reply(tool_calls=[call("search", q="x")]), reply(json={...})
    Trouble  what goes wrong with it    fault(429, times=2), cut(after=3), drop(), slow(delay=0.05)

Both are plain frozen values: a script can be written down once and shared.
"""

from __future__ import annotations

import json as _json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

Finish = Literal["stop", "length", "content_filter"]


@dataclass(frozen=True)
class ToolCall:
    """The model asks for a call of the tool `name`. `id` is given when it is served."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    id: str = ""

    @property
    def json(self) -> str:
        """The arguments as the model writes them."""
        return _json.dumps(self.arguments, ensure_ascii=False)


@dataclass(frozen=True)
class Usage:
    """Tokens. `cached` and `cache_write` are parts of `input`, `reasoning` of `output`.

    Every format says the same in its own way: where input excludes what was cached (Anthropic, Bedrock), or
    output excludes thoughts (Gemini), it is subtracted.
    """

    input: int
    output: int
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0

    @property
    def fresh(self) -> int:
        """Input tokens that no cache had to do with."""
        return self.input - self.cached - self.cache_write


@dataclass(frozen=True)
class Reply:
    """One answer of the model. Made by `reply`."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    thinking: str = ""
    is_json: bool = False
    usage: Usage | None = None
    finish: Finish = "stop"
    pieces: tuple[str, ...] = ()

    @property
    def chunks(self) -> tuple[str, ...]:
        """The text in the pieces in which it is streamed."""
        return self.pieces or words(self.text)


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


def reply(
    text: str = "",
    *,
    tool_calls: Iterable[ToolCall] = (),
    json: Any = None,
    thinking: str = "",
    usage: Usage | None = None,
    finish: Finish = "stop",
    pieces: Iterable[str] = (),
) -> Reply:
    """The model says `text`, asks for `tool_calls` (several are parallel calls), or both.

    `json` is for structured output: its text is that value, and if the request forces a tool to be called instead, as
    some SDKs do for structured output, the value becomes the arguments of that call. `thinking` comes
    before the text, where the format has a place for it. `usage` is counted from the words if it is left out.
    `finish="length"` says that the model ran out of tokens. `pieces` are the chunks of a stream, by
    default the words; if given, they are the text.

    >>> reply("Hello there").chunks
    ('Hello ', 'there')
    >>> reply(json={"n": 1}).text
    '{"n": 1}'
    """
    given = tuple(pieces)
    if json is not None:
        text = _json.dumps(json, ensure_ascii=False)
    elif given:
        text = "".join(given)
    return Reply(text, tuple(tool_calls), thinking, json is not None, usage, finish, given)


def call(name: str, /, **arguments: Any) -> ToolCall:
    """One tool call in a reply: `call("search", q="leases")`."""
    return ToolCall(name, arguments)


def usage(
    input: int,  # noqa: A002 - the word every provider uses
    output: int,
    *,
    cached: int = 0,
    cache_write: int = 0,
    reasoning: int = 0,
) -> Usage:
    """Token counts of a reply; `cached` and `cache_write` are parts of `input`, `reasoning` of `output`."""
    return Usage(input, output, cached, cache_write, reasoning)


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


def words(text: str) -> tuple[str, ...]:
    """`text` in words, each with the space after it.

    >>> words("one  two")
    ('one  ', 'two')
    """
    return tuple(re.findall(r"\s*\S+\s*|\s+", text))


def fragments(text: str, size: int = 8) -> list[str]:
    """`text` in pieces of `size` characters, as tool arguments are streamed."""
    return [text[at : at + size] for at in range(0, len(text), size)]
